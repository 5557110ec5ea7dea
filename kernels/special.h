/* More maths of single elements, on the terms of scalar.h: sine and cosine of any number, erf, gelu, silu and powers.
 * Errors against the true value, measured over 10^6 points: at most 2 ulp, silu 3.2; gelu's are relative to x, and so
 * is what 1 + erf loses below 0. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_SPECIAL_H
#define TD_KERNELS_SPECIAL_H

#include "kernels/scalar.h"

/* ---- sine and cosine ---- */

/* Up to here a multiple of pi / 2 has 20 bits, and three parts of pi / 2 of 33 bits each are taken off exactly; beyond
 * it td_sin_far. */
#define TD_TURN_FAST 1.6e6

/* x less the nearest multiple of pi / 2, as a sum of two; the multiple stands in the low bits of *quadrant. */
TD_HD static inline double td_reduce_f64(double x, double *rest, uint64_t *quadrant)
{
    double shifted = x * 6.36619772367581382433e-01 + TD_ROUND_F64, n = shifted - TD_ROUND_F64;
    double far = x - n * 1.57079632673412561417e+00, part = n * 6.07710050630396597660e-11, near = far - part;
    /* What the subtraction lost, whichever is greater. */
    double back = near - far, lost = (far - (near - back)) - (part + back);
    double tail = n * 2.02226624879595063154e-21 - lost, r = near - tail;
    *rest = (near - r) - tail;
    *quadrant = td_bits_of_f64(shifted);
    return r;
}

/* fdlibm's kernels on [-pi / 4, pi / 4]. */
TD_HD static inline double td_sin_near_f64(double x, double rest)
{
    double z = x * x, w = z * z, v = z * x;
    double r = 8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 + z * 2.75573137070700676789e-06) +
               z * w * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10);
    return x - ((z * (0.5 * rest - v * r) - rest) - v * -1.66666666666666324348e-01);
}
TD_HD static inline double td_cos_near_f64(double x, double rest)
{
    double z = x * x, w = z * z, half = 0.5 * z, most = 1.0 - half;
    double r =
        z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * 2.48015872894767294178e-05)) +
        w * w * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11));
    return most + (((1.0 - most) - half) + (z * r - x * rest));
}

/* Sine of quadrant quarters of a turn and x more. */
TD_HD static inline double td_sin_quarter_f64(double x, double rest, uint64_t quadrant)
{
    uint64_t s = td_bits_of_f64(td_sin_near_f64(x, rest)), c = td_bits_of_f64(td_cos_near_f64(x, rest));
    uint64_t swap = 0 - (quadrant & 1);
    return td_f64_of_bits(((s & ~swap) | (c & swap)) ^ ((quadrant & 2) << 62));
}
TD_HD static inline double td_sin_fast_f64(double x)
{
    double rest;
    uint64_t quadrant;
    double r = td_reduce_f64(x, &rest, &quadrant);
    return x == 0.0 ? x : td_sin_quarter_f64(r, rest, quadrant);
}
TD_HD static inline double td_cos_fast_f64(double x)
{
    double rest;
    uint64_t quadrant;
    double r = td_reduce_f64(x, &rest, &quadrant);
    return td_sin_quarter_f64(r, rest, quadrant + 1);
}

/* In f64 throughout, where one rounding at the end is all; musl's kernels. */
TD_HD static inline float td_sin_quarters_f32(float x, uint64_t added)
{
    double shifted = x * 6.36619772367581382433e-01 + TD_ROUND_F64, n = shifted - TD_ROUND_F64;
    double r = (x - n * 1.57079632673412561417e+00) - n * 6.07710050650619224932e-11, z = r * r, w = z * z;
    double s = (r + z * r * (-0.166666666416265235595 + z * 0.0083333293858894631756)) +
               z * r * w * (-0.000198393348360966317347 + z * 0.0000027183114939898219064);
    double c = ((1.0 + z * -0.499999997251031003120) + w * 0.0416666233237390631894) +
               w * z * (-0.00138867637746099294692 + z * 0.0000243904487962774090654);
    uint64_t quadrant = td_bits_of_f64(shifted) + added, swap = 0 - (quadrant & 1);
    uint64_t bits = (td_bits_of_f64(s) & ~swap) | (td_bits_of_f64(c) & swap);
    return (float)td_f64_of_bits(bits ^ ((quadrant & 2) << 62));
}
TD_HD static inline float td_sin_fast_f32(float x)
{
    return x == 0.0f ? x : td_sin_quarters_f32(x, 0);
}
TD_HD static inline float td_cos_fast_f32(float x)
{
    return td_sin_quarters_f32(x, 1);
}

/* Sine of x and added quarters of a turn, for any x: the fraction of x times 2 / pi by whole numbers (Payne and
 * Hanek), of which 192 bits are enough for every f64. For single elements; inf and nan give nan. */
TD_HD static inline double td_sin_far(double x, uint64_t added)
{
    /* The bits of 2 / pi behind the point, after one word of zeros, which small exponents reach. */
    static const uint64_t two_over_pi[] = {0,
                                           UINT64_C(0xa2f9836e4e441529),
                                           UINT64_C(0xfc2757d1f534ddc0),
                                           UINT64_C(0xdb6295993c439041),
                                           UINT64_C(0xfe5163abdebbc561),
                                           UINT64_C(0xb7246e3a424dd2e0),
                                           UINT64_C(0x06492eea09d1921c),
                                           UINT64_C(0xfe1deb1cb129a73e),
                                           UINT64_C(0xe88235f52ebb4484),
                                           UINT64_C(0xe99c7026b45f7e41),
                                           UINT64_C(0x3991d639835339f4),
                                           UINT64_C(0x9c845f8bbdf9283b),
                                           UINT64_C(0x1ff897ffde05980f),
                                           UINT64_C(0xef2f118b5a0a6d1f),
                                           UINT64_C(0x6d367ecf27cb09b7),
                                           UINT64_C(0x4f463f669e5fea2d),
                                           UINT64_C(0x7527bac7ebe5f17b),
                                           UINT64_C(0x3d0739f78a5292ea),
                                           UINT64_C(0x6bfb5fb11f8d5d08),
                                           UINT64_C(0x56033046fc7b6bab)};
    uint64_t bits = td_bits_of_f64(x), mantissa = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x0010000000000000);
    int exponent = (int)(bits >> 52 & 2047) - 1075; /* |x| = mantissa * 2^exponent */
    if (exponent == 972)
        return td_f64_of_bits(TD_NAN_BITS_F64);
    /* Bits of 2 / pi in front of first make whole turns. The product's top two bits are quarters. */
    int first = 64 + exponent - 2, word = first / 64, shift = first % 64;
    uint64_t w[3];
    for (int k = 0; k < 3; k++)
        w[k] =
            shift ? two_over_pi[word + k] << shift | two_over_pi[word + k + 1] >> (64 - shift) : two_over_pi[word + k];
    unsigned __int128 low = (unsigned __int128)mantissa * w[2], middle = (unsigned __int128)mantissa * w[1];
    middle += low >> 64;
    uint64_t high = mantissa * w[0] + (uint64_t)(middle >> 64), next = (uint64_t)middle;
    uint64_t quadrant = high >> 62;
    high = high << 2 | next >> 62;
    next = next << 2 | (uint64_t)low >> 62;
    uint64_t up = high >> 63; /* more than half a quarter: from the next one back */
    quadrant += up;
    high = up ? ~high : high;
    next = up ? ~next : next;
    int zeros = high ? __builtin_clzll(high) : 63;
    uint64_t top = zeros ? high << zeros | next >> (64 - zeros) : high;
    double scale = td_f64_of_bits((uint64_t)(1023 - 64 - zeros) << 52);
    double whole = (double)(top >> 11) * 2048.0, part = (double)(top & 2047);
    double rest = (whole * 6.123233995736766e-17 + part * 1.5707963267948966) * scale;
    /* whole has 53 bits, so its product with pi / 2 is taken in two parts. */
    double a = (double)(top >> 38) * 274877906944.0, b = whole - a, head = 1.5707963407039642,
           foot = -1.3909067675399456e-08;
    double r = whole * 1.5707963267948966;
    double lost = ((a * head - r) + a * foot + b * head) + b * foot;
    r *= scale;
    rest += lost * scale;
    double sum = r + rest;
    rest = rest - (sum - r);
    uint64_t negative = bits >> 63; /* an odd function of |x|: both parts change their sign */
    sum = up != negative ? -sum : sum;
    rest = up != negative ? -rest : rest;
    quadrant = negative ? 0 - quadrant : quadrant;
    return td_sin_quarter_f64(sum, rest, quadrant + added);
}
TD_HD static inline double td_sin_f64(double x)
{
    return x < TD_TURN_FAST && x > -TD_TURN_FAST ? td_sin_fast_f64(x) : td_sin_far(x, 0);
}
TD_HD static inline double td_cos_f64(double x)
{
    return x < TD_TURN_FAST && x > -TD_TURN_FAST ? td_cos_fast_f64(x) : td_sin_far(x, 1);
}
TD_HD static inline float td_sin_f32(float x)
{
    return x < (float)TD_TURN_FAST && x > (float)-TD_TURN_FAST ? td_sin_fast_f32(x) : (float)td_sin_far(x, 0);
}
TD_HD static inline float td_cos_f32(float x)
{
    return x < (float)TD_TURN_FAST && x > (float)-TD_TURN_FAST ? td_cos_fast_f32(x) : (float)td_sin_far(x, 1);
}

/* ---- erf and what is made of it ---- */

/* Below 0.93 an odd polynomial, above 1 - e^p (N. Juffa's fits). */
TD_HD static inline float td_erf_f32(float x)
{
    uint32_t sign = td_bits_of_f32(x) & TD_SIGN_F32;
    float a = td_f32_of_bits(td_bits_of_f32(x) ^ sign), t = a > 4.0f ? 4.0f : a, s = t * t;
    float p = (-1.72853470e-5f * t + 3.83197126e-4f) * s + (-3.88396438e-3f * t + 2.42546219e-2f);
    p = ((p * t - 1.06777877e-1f) * t - 6.34846687e-1f) * t - 1.28717512e-1f;
    float large = 1.0f - td_exp_f32(p * t - t);
    float q = -5.96761703e-4f * s + 4.99119423e-3f;
    q = ((q * s - 2.67681349e-2f) * s + 1.12819925e-1f) * s - 3.76125336e-1f;
    float small = (q * s + 1.28379166e-1f) * t + t;
    float y = a > 0.927734375f ? large : small;
    y = a != a ? a : y;
    return td_f32_of_bits(td_bits_of_f32(y) | sign);
}

TD_HD static inline double td_erf_pick(double t, double c0, double c1, double c2, double c3)
{
    double c = t < 1 / 0.35 ? c2 : c3;
    c = t < 1.25 ? c1 : c;
    return t < 0.84375 ? c0 : c;
}

/* fdlibm's, whose four ranges share one quotient of polynomials, each coefficient chosen by range: in x^2 below
 * 0.84375, in x - 1 below 1.25, in 1 / x^2 below 2.857 and above. */
TD_HD static inline double td_erf_f64(double x)
{
    uint64_t sign = td_bits_of_f64(x) & TD_SIGN_F64;
    double a = td_f64_of_bits(td_bits_of_f64(x) ^ sign);
    double t = a > 6.0 ? 6.0 : a, u = 1.0 / (t * t);
    u = t < 1.25 ? t - 1.0 : u;
    u = t < 0.84375 ? t * t : u;
#define TD_ERF_PICK(c0, c1, c2, c3) td_erf_pick(t, c0, c1, c2, c3)
    double p = TD_ERF_PICK(0.0, 0.0, -9.81432934416914548592e+00, 0.0);
    p = p * u + TD_ERF_PICK(0.0, -2.16637559486879084300e-03, -8.12874355063065934246e+01, -4.83519191608651397019e+02);
    p = p * u + TD_ERF_PICK(0.0, 3.54783043256182359371e-02, -1.84605092906711035994e+02, -1.02509513161107724954e+03);
    p = p * u + TD_ERF_PICK(-2.37630166566501626084e-05, -1.10894694282396677476e-01, -1.62396669462573470355e+02,
                            -6.37566443368389627722e+02);
    p = p * u + TD_ERF_PICK(-5.77027029648944159157e-03, 3.18346619901161753674e-01, -6.23753324503260060396e+01,
                            -1.60636384855821916062e+02);
    p = p * u + TD_ERF_PICK(-2.84817495755985104766e-02, -3.72207876035701323847e-01, -1.05586262253232909814e+01,
                            -1.77579549177547519889e+01);
    p = p * u + TD_ERF_PICK(-3.25042107247001499370e-01, 4.14856118683748331666e-01, -6.93858572707181764372e-01,
                            -7.99283237680523006574e-01);
    p = p * u + TD_ERF_PICK(1.28379167095512558561e-01, -2.36211856075265944077e-03, -9.86494403484714822705e-03,
                            -9.86494292470009928597e-03);
    double q = TD_ERF_PICK(0.0, 0.0, -6.04244152148580987438e-02, 0.0);
    q = q * u + TD_ERF_PICK(0.0, 0.0, 6.57024977031928170135e+00, -2.24409524465858183362e+01);
    q = q * u + TD_ERF_PICK(0.0, 1.19844998467991074170e-02, 1.08635005541779435134e+02, 4.74528541206955367215e+02);
    q = q * u + TD_ERF_PICK(-3.96022827877536812320e-06, 1.36370839120290507362e-02, 4.29008140027567833386e+02,
                            2.55305040643316442583e+03);
    q = q * u + TD_ERF_PICK(1.32494738004321644526e-04, 1.26171219808761642112e-01, 6.45387271733267880336e+02,
                            3.19985821950859553908e+03);
    q = q * u + TD_ERF_PICK(5.08130628187576562776e-03, 7.18286544141962662868e-02, 4.34565877475229228821e+02,
                            1.53672958608443695994e+03);
    q = q * u + TD_ERF_PICK(6.50222499887672944485e-02, 5.40397917702171048937e-01, 1.37657754143519042600e+02,
                            3.25792512996573918826e+02);
    q = q * u + TD_ERF_PICK(3.97917223959155352819e-01, 1.06420880400844228286e-01, 1.96512716674392571292e+01,
                            3.03380607434824582924e+01);
#undef TD_ERF_PICK
    double quotient = p / (q * u + 1.0);
    double cut = td_f64_of_bits(td_bits_of_f64(t) & UINT64_C(0xffffffff00000000)); /* its square is exact */
    double tail = td_exp_sum_f64(-cut * cut - 0.5625, (cut - t) * (cut + t) + quotient) / t;
    double y = t < 1.25 ? 8.45062911510467529297e-01 + quotient : 1.0 - tail;
    y = t < 0.84375 ? a + a * quotient : y;
    y = a >= 6.0 ? 1.0 : y;
    y = a != a ? a : y;
    return td_f64_of_bits(td_bits_of_f64(y) | sign);
}

TD_HD static inline float td_gelu_f32(float x)
{
    return 0.5f * x * (1.0f + td_erf_f32(x * 0.70710678118654752440f));
}
TD_HD static inline double td_gelu_f64(double x)
{
    return 0.5 * x * (1.0 + td_erf_f64(x * 0.70710678118654752440));
}
/* (1 + tanh(u)) / 2 is 1 / (1 + exp(-2 u)), which loses nothing below 0. */
TD_HD static inline float td_gelu_tanh_f32(float x)
{
    float u = -1.59576912160573071176f * (x + 0.044715f * x * x * x), shifted;
    float t = u < -87.0f ? -87.0f : u; /* where 1 is added to it, a smaller exponential is none */
    float e = td_exp_parts_f32(t > 88.0f ? 88.0f : t, &shifted);
    e = td_f32_of_bits(td_bits_of_f32(e) + (td_bits_of_f32(shifted) << 23));
    return x / (1.0f + (u > 88.0f ? td_f32_of_bits(TD_INF_BITS_F32) : e));
}
TD_HD static inline double td_gelu_tanh_f64(double x)
{
    return x / (1.0 + td_exp_f64(-1.59576912160573071176 * (x + 0.044715 * x * x * x)));
}
TD_HD static inline float td_silu_f32(float x)
{
    return x * td_sigmoid_f32(x);
}
TD_HD static inline double td_silu_f64(double x)
{
    return x * td_sigmoid_f64(x);
}

/* ---- powers ---- */

/* What C's pow says of signs, zeros, infinities and nan; size is |x|^y where those are not in play. */
TD_HD static inline double td_pow_rules(double x, double y, double size)
{
    const double two52 = 4503599627370496.0, inf = td_f64_of_bits(TD_INF_BITS_F64);
    const double nan = td_f64_of_bits(TD_NAN_BITS_F64);
    double a = td_f64_of_bits(td_bits_of_f64(x) & ~TD_SIGN_F64), b = td_f64_of_bits(td_bits_of_f64(y) & ~TD_SIGN_F64);
    /* Added to 2^52 what is no integer rounds to one; from there on all are, and 2^53 is where they end being odd. */
    double whole_b = b >= two52 ? b : (b + two52) - two52, half = b * 0.5;
    double whole_half = half >= two52 ? half : (half + two52) - two52;
    double up = y > 0.0 ? inf : 0.0, down = y > 0.0 ? 0.0 : inf;
    size = a == 0.0 ? down : size;
    size = a == inf ? up : size;
    double sign = td_f64_of_bits((td_bits_of_f64(x) & TD_SIGN_F64) | UINT64_C(0x3ff0000000000000));
    double odd = whole_half == half ? 1.0 : sign; /* of whole y only */
    double result = size * (whole_b == b ? odd : 1.0);
    double fraction = a == inf ? result : nan, below = x < 0.0 ? fraction : result;
    result = whole_b == b ? result : below;
    result = x != x ? nan : result;
    result = y != y ? nan : result;
    result = y == 0.0 ? 1.0 : result;
    return x == 1.0 ? 1.0 : result;
}

/* In f64, which has more than the digits it takes. Beyond 2^65 every power of anything but 1 is 0 or inf. */
TD_HD static inline float td_pow_f32(float x, float y)
{
    float a = td_f32_of_bits(td_bits_of_f32(x) & ~TD_SIGN_F32), b = y > 3e19f ? 3e19f : y;
    b = b < -3e19f ? -3e19f : b;
    return (float)td_pow_rules(x, y, td_exp_f64((double)b * td_log_f64((double)a)));
}

/* a * b in two parts (Dekker). */
TD_HD static inline double td_product_f64(double a, double b, double *rest)
{
    double ta = a * 134217729.0, tb = b * 134217729.0, a1 = ta - (ta - a), b1 = tb - (tb - b);
    double a2 = a - a1, b2 = b - b1, p = a * b;
    *rest = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2;
    return p;
}

/* e^(y log x) with a logarithm of two parts: log x = k log 2 + 2 atanh((m - 1) / (m + 1)), the first two terms of
 * whose series are summed in two parts too. */
TD_HD static inline double td_pow_f64(double x, double y)
{
    double a = td_f64_of_bits(td_bits_of_f64(x) & ~TD_SIGN_F64), b = y > 3e19 ? 3e19 : y;
    b = b < -3e19 ? -3e19 : b;
    double tiny = a < 2.2250738585072014e-308 ? 18014398509481984.0 : 1.0, lifted = tiny > 1.0 ? 54.0 : 0.0;
    const uint64_t root = UINT64_C(0x3fe6a09e667f3bcd);
    uint64_t bits = td_bits_of_f64(a * tiny) + (UINT64_C(0x3ff0000000000000) - root);
    double k = (td_f64_of_bits((bits >> 52) | UINT64_C(0x4330000000000000)) - (4503599627370496.0 + 1023.0)) - lifted;
    double f = td_f64_of_bits((bits & UINT64_C(0x000fffffffffffff)) + root) - 1.0;
    double d = f + 2.0, d_rest = f - (d - 2.0), e, z_rest, c_rest, t_rest;
    double s = f / d, sd = td_product_f64(s, d, &e), s_rest = (((f - sd) - e) - s * d_rest) / d;
    double z = td_product_f64(s, s, &z_rest);
    z_rest += 2.0 * s * s_rest;
    /* 1/5 + z/7 + ...: z is at most 0.0295. */
    double q = 1.0 / 25;
    q = q * z + 1.0 / 23;
    q = q * z + 1.0 / 21;
    q = q * z + 1.0 / 19;
    q = q * z + 1.0 / 17;
    q = q * z + 1.0 / 15;
    q = q * z + 1.0 / 13;
    q = q * z + 1.0 / 11;
    q = q * z + 1.0 / 9;
    q = q * z + 1.0 / 7;
    q = q * z + 1.0 / 5;
    double third = 1.0 / 3, more = q * z + 1.850371707708594e-17, p = third + more, p_rest = more - (p - third);
    double c = td_product_f64(s, z, &c_rest);
    c_rest += s * z_rest + s_rest * z;
    double t = td_product_f64(c, p, &t_rest);
    t_rest += c * p_rest + c_rest * p;
    /* k log 2 + 2 s + 2 t, the greater first. */
    double log2 = k * 6.93147180369123816490e-01, s2 = 2.0 * s, sum = log2 + s2, back = sum - log2;
    double rest = (log2 - (sum - back)) + (s2 - back), t2 = 2.0 * t, total = sum + t2;
    rest += (t2 - (total - sum)) + 2.0 * s_rest + 2.0 * t_rest + k * 1.90821492927058770002e-10;
    double log = total + rest, log_rest = rest - (log - total), e_rest;
    double power = td_product_f64(b, log, &e_rest);
    return td_pow_rules(x, y, td_exp_sum_f64(power, e_rest + b * log_rest));
}

/* By squaring; wraps. A negative power is 0 but of 1 and -1. */
TD_HD static inline uint64_t td_pow_i64(uint64_t base, int64_t exponent)
{
    uint64_t result = 1;
    if (exponent < 0)
        return base == 1 ? 1 : base == UINT64_MAX ? (exponent % 2 ? base : 1) : 0;
    for (; exponent; exponent >>= 1) {
        result *= exponent & 1 ? base : 1;
        base *= base;
    }
    return result;
}

#endif
