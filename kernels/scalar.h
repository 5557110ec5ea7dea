/* The maths of single elements, shared by both floors: exp, log, tanh, sigmoid, sine and cosine of a turn, and Philox.
 * Polynomials of our own and not libm, because only these are inlined into loops that the compiler vectorises, and
 * only these give the same bits at every vector width and on every processor. Whoever includes this compiles without
 * contraction to FMA (-ffp-contract=off, nvcc -fmad=false). No branch: each `?:` is a select. Errors against the true
 * value, measured over 10^6 points: at most 2 ulp. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_SCALAR_H
#define TD_KERNELS_SCALAR_H

#include <stdint.h>
#include <string.h>

#include "protocol/dtype.h"

TD_HD static inline uint32_t td_bits_of_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
TD_HD static inline float td_f32_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
TD_HD static inline uint64_t td_bits_of_f64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
TD_HD static inline double td_f64_of_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Adding one of these rounds to an integer, which then stands in the low bits: no level has to have an instruction
 * for it (SSE2 cannot round, AVX2 has no conversion between f64 and i64). */
#define TD_ROUND_F32 12582912.0f        /* 1.5 * 2^23 */
#define TD_ROUND_F64 6755399441055744.0 /* 1.5 * 2^52 */
#define TD_INF_BITS_F32 UINT32_C(0x7f800000)
#define TD_NAN_BITS_F32 UINT32_C(0x7fc00000)
#define TD_INF_BITS_F64 UINT64_C(0x7ff0000000000000)
#define TD_NAN_BITS_F64 UINT64_C(0x7ff8000000000000)
#define TD_SIGN_F32 UINT32_C(0x80000000)
#define TD_SIGN_F64 UINT64_C(0x8000000000000000)

/* ---- f32 ---- */

/* e^x = 2^n e^r with |r| <= ln 2 / 2; polynomial of Cephes' expf. Returns e^r; n stands in the low bits of shifted. */
TD_HD static inline float td_exp_parts_f32(float x, float *shifted)
{
    *shifted = x * 1.44269504088896341f + TD_ROUND_F32;
    float n = *shifted - TD_ROUND_F32;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * (r * r) + r) + 1.0f;
}

/* The power of two is applied in two halves, so that results near both ends of the range are right, denormal ones too.
 * Comparisons let nan through. */
TD_HD static inline float td_exp_f32(float x)
{
    float t = x < -104.0f ? -104.0f : x, shifted;
    t = t > 89.0f ? 89.0f : t;
    float p = td_exp_parts_f32(t, &shifted);
    uint32_t k = td_bits_of_f32(shifted) - UINT32_C(0x4b400000);
    uint32_t half = (uint32_t)((int32_t)k >> 1);
    return p * td_f32_of_bits((half + 127) << 23) * td_f32_of_bits((k - half + 127) << 23);
}

/* The same bits for an x of at most 0, or nan, which is what subtracting a maximum leaves. */
TD_HD static inline float td_exp_below_f32(float x)
{
    float shifted, p = td_exp_parts_f32(x < -104.0f ? -104.0f : x, &shifted);
    uint32_t k = td_bits_of_f32(shifted) - UINT32_C(0x4b400000);
    uint32_t half = (uint32_t)((int32_t)k >> 1);
    return p * td_f32_of_bits((half + 127) << 23) * td_f32_of_bits((k - half + 127) << 23);
}

/* x = 2^k m with m in [sqrt(1/2), sqrt(2)); the series of fdlibm's logf in s = (m - 1) / (m + 1). */
TD_HD static inline float td_log_f32(float x)
{
    float tiny = x < 1.17549435e-38f ? 8388608.0f : 1.0f; /* denormals are lifted by 2^23 */
    float lifted = x < 1.17549435e-38f ? 23.0f : 0.0f;
    uint32_t bits = td_bits_of_f32(x * tiny) + (UINT32_C(0x3f800000) - UINT32_C(0x3f3504f3));
    float k = (float)((int32_t)(bits >> 23) - 127) - lifted;
    float f = td_f32_of_bits((bits & UINT32_C(0x007fffff)) + UINT32_C(0x3f3504f3)) - 1.0f;
    float s = f / (2.0f + f), z = s * s, w = z * z;
    float even = w * (0.40000972152f + w * 0.24279078841f);
    float odd = z * (0.66666662693f + w * 0.28498786688f);
    float half = 0.5f * f * f;
    float y = s * (half + (odd + even)) + k * 9.0580006145e-06f - half + f + k * 6.9313812256e-01f;
    y = x == 0.0f ? td_f32_of_bits(TD_INF_BITS_F32 | TD_SIGN_F32) : y;
    y = x < 0.0f ? td_f32_of_bits(TD_NAN_BITS_F32) : y;
    return x < td_f32_of_bits(TD_INF_BITS_F32) ? y : x; /* inf and nan are their own logarithm */
}

/* Below 0.625 an odd polynomial (Cephes), above 1 - 2 / (e^2x + 1), which is 1 from x = 9.1 on. */
TD_HD static inline float td_tanh_f32(float x)
{
    uint32_t sign = td_bits_of_f32(x) & TD_SIGN_F32;
    float a = td_f32_of_bits(td_bits_of_f32(x) ^ sign), z = a * a;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = p * z * a + a;
    float shifted, e = td_exp_parts_f32(a > 10.0f ? 20.0f : a + a, &shifted);
    e = td_f32_of_bits(td_bits_of_f32(e) +
                       (td_bits_of_f32(shifted) << 23)); /* times 2^n: no end of the range is near */
    float large = 1.0f - 2.0f / (e + 1.0f);
    float y = a < 0.625f ? small : large;
    y = a != a ? a : y;
    return td_f32_of_bits(td_bits_of_f32(y) | sign);
}

/* Of -|x|, so that the exponential never overflows and tiny results keep their digits. */
TD_HD static inline float td_sigmoid_f32(float x)
{
    float e = td_exp_f32(x < 0.0f ? x : -x);
    float top = x < 0.0f ? e : 1.0f;
    return top / (1.0f + e);
}

/* Sine and cosine of u turns (2 pi u), u in [0, 1]: the quadrant is taken off exactly. */
TD_HD static inline void td_turn_f32(float u, float *sine, float *cosine)
{
    float shifted = u * 4.0f + TD_ROUND_F32;
    float r = (u - (shifted - TD_ROUND_F32) * 0.25f) * 6.28318530717958648f, z = r * r;
    uint32_t quadrant = td_bits_of_f32(shifted), swap = 0 - (quadrant & 1);
    float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
    float c = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z;
    uint32_t sb = td_bits_of_f32(s), cb = td_bits_of_f32(c + 1.0f);
    *sine = td_f32_of_bits(((sb & ~swap) | (cb & swap)) ^ ((quadrant & 2) << 30));
    *cosine = td_f32_of_bits(((cb & ~swap) | (sb & swap)) ^ (((quadrant + 1) & 2) << 30));
}

/* ---- f64: the same, with more terms ---- */

/* e^(x + rest), where rest is small beside x or both are: Cephes' rational form of e^r. */
TD_HD static inline double td_exp_sum_f64(double x, double rest)
{
    double t = x < -746.0 ? -746.0 : x;
    t = t > 710.0 ? 710.0 : t;
    rest = t == x ? rest : 0.0;
    double n = ((t + rest) * 1.4426950408889634073599 + TD_ROUND_F64) - TD_ROUND_F64;
    double r = ((t - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6) + rest, z = r * r;
    double p = r * ((1.26177193074810590878e-4 * z + 3.02994407707441961300e-2) * z + 9.99999999999999999910e-1);
    double q = ((3.00198505138664455042e-6 * z + 2.52448340349684104192e-3) * z + 2.27265548208155028766e-1) * z + 2.0;
    double y = 1.0 + 2.0 * (p / (q - p));
    double half = n * 0.5 + TD_ROUND_F64;
    double left = (n - (half - TD_ROUND_F64)) + TD_ROUND_F64;
    return y * td_f64_of_bits((td_bits_of_f64(half) + 1023) << 52) *
           td_f64_of_bits((td_bits_of_f64(left) + 1023) << 52);
}
TD_HD static inline double td_exp_f64(double x)
{
    return td_exp_sum_f64(x, 0.0);
}

TD_HD static inline double td_exp_below_f64(double x)
{
    return td_exp_f64(x);
}

/* fdlibm's log. */
TD_HD static inline double td_log_f64(double x)
{
    double tiny = x < 2.2250738585072014e-308 ? 18014398509481984.0 : 1.0; /* 2^54 */
    double lifted = x < 2.2250738585072014e-308 ? 54.0 : 0.0;
    const uint64_t root = UINT64_C(0x3fe6a09e667f3bcd); /* sqrt(1/2) */
    uint64_t bits = td_bits_of_f64(x * tiny) + (UINT64_C(0x3ff0000000000000) - root);
    /* The exponent becomes a double by standing in the low bits of 2^52. */
    double k = (td_f64_of_bits((bits >> 52) | UINT64_C(0x4330000000000000)) - (4503599627370496.0 + 1023.0)) - lifted;
    double f = td_f64_of_bits((bits & UINT64_C(0x000fffffffffffff)) + root) - 1.0;
    double s = f / (2.0 + f), z = s * s, w = z * z;
    double even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    double odd = z * (6.666666666666735130e-01 +
                      w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    double half = 0.5 * f * f;
    double y = s * (half + (odd + even)) + k * 1.90821492927058770002e-10 - half + f + k * 6.93147180369123816490e-01;
    y = x == 0.0 ? td_f64_of_bits(TD_INF_BITS_F64 | TD_SIGN_F64) : y;
    y = x < 0.0 ? td_f64_of_bits(TD_NAN_BITS_F64) : y;
    return x < td_f64_of_bits(TD_INF_BITS_F64) ? y : x;
}

/* Both forms end in one division. */
TD_HD static inline double td_tanh_f64(double x)
{
    uint64_t sign = td_bits_of_f64(x) & TD_SIGN_F64;
    double a = td_f64_of_bits(td_bits_of_f64(x) ^ sign), z = a * a;
    double p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3;
    double q = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3;
    double e = td_exp_f64(a + a) + 1.0;
    double quotient = (a < 0.625 ? p : 2.0) / (a < 0.625 ? q : e);
    double y = a < 0.625 ? a + a * z * quotient : 1.0 - quotient;
    return td_f64_of_bits(td_bits_of_f64(y) | sign);
}

TD_HD static inline double td_sigmoid_f64(double x)
{
    double e = td_exp_f64(x < 0.0 ? x : -x);
    double top = x < 0.0 ? e : 1.0;
    return top / (1.0 + e);
}

TD_HD static inline void td_turn_f64(double u, double *sine, double *cosine)
{
    double shifted = u * 4.0 + TD_ROUND_F64;
    double r = (u - (shifted - TD_ROUND_F64) * 0.25) * 6.283185307179586476925, z = r * r;
    uint64_t quadrant = td_bits_of_f64(shifted), swap = 0 - (quadrant & 1);
    double s = 1.58962301576546568060e-10;
    s = s * z - 2.50507477628578072866e-8;
    s = s * z + 2.75573136213857245213e-6;
    s = s * z - 1.98412698295895385996e-4;
    s = s * z + 8.33333333332211858878e-3;
    s = (s * z - 1.66666666666666307295e-1) * z * r + r;
    double c = -1.13585365213876817300e-11;
    c = c * z + 2.08757008419747316778e-9;
    c = c * z - 2.75573141792967388112e-7;
    c = c * z + 2.48015872888517045348e-5;
    c = c * z - 1.38888888888730564116e-3;
    c = (c * z + 4.16666666666665929218e-2) * z * z - 0.5 * z;
    uint64_t sb = td_bits_of_f64(s), cb = td_bits_of_f64(c + 1.0);
    *sine = td_f64_of_bits(((sb & ~swap) | (cb & swap)) ^ ((quadrant & 2) << 62));
    *cosine = td_f64_of_bits(((cb & ~swap) | (sb & swap)) ^ (((quadrant + 1) & 2) << 62));
}

/* ---- other elements ---- */

/* !(x <= 0), so that nan stays nan. */
TD_HD static inline float td_relu_f32(float x)
{
    return !(x <= 0.0f) ? x : 0.0f;
}
TD_HD static inline double td_relu_f64(double x)
{
    return !(x <= 0.0) ? x : 0.0;
}

/* The greater; nan wins over everything. */
TD_HD static inline float td_max_f32(float a, float b)
{
    return ((a > b) | (a != a)) ? a : b;
}
TD_HD static inline double td_max_f64(double a, double b)
{
    return ((a > b) | (a != a)) ? a : b;
}

/* The smaller. */
TD_HD static inline float td_min_f32(float a, float b)
{
    return ((a < b) | (a != a)) ? a : b;
}
TD_HD static inline double td_min_f64(double a, double b)
{
    return ((a < b) | (a != a)) ? a : b;
}

TD_HD static inline float td_sqrt_f32(float x)
{
    return __builtin_sqrtf(x);
}
TD_HD static inline double td_sqrt_f64(double x)
{
    return __builtin_sqrt(x);
}
TD_HD static inline float td_rsqrt_f32(float x)
{
    return 1.0f / __builtin_sqrtf(x);
}
TD_HD static inline double td_rsqrt_f64(double x)
{
    return 1.0 / __builtin_sqrt(x);
}
TD_HD static inline float td_reciprocal_f32(float x)
{
    return 1.0f / x;
}
TD_HD static inline double td_reciprocal_f64(double x)
{
    return 1.0 / x;
}
TD_HD static inline float td_frac_f32(float x)
{
    return x - __builtin_truncf(x);
}
TD_HD static inline double td_frac_f64(double x)
{
    return x - __builtin_trunc(x);
}

/* As td_number_integer: cut towards 0; nan and what does not fit give INT64_MIN. */
TD_HD static inline int64_t td_i64_of_f64(double x)
{
    return x >= -9223372036854775808.0 && x < 9223372036854775808.0 ? (int64_t)x : INT64_MIN;
}

/* a / b rounded down, for b > 0. */
TD_HD static inline int64_t td_quotient_down(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Element i of count numbers from start to end, step apart: from the nearer end, so that both are met. */
TD_HD static inline double td_linspace_at(double start, double end, double step, int64_t i, int64_t count)
{
    double up = start + (double)i * step, down = end - (double)(count - 1 - i) * step;
    return i < count / 2 || count == 1 ? up : down;
}

/* ---- divisors, of magnitudes: that of the least number wraps ---- */

#define TD_DIVISORS(name, type, signed_type)                                           \
    TD_HD static inline signed_type td_gcd_##name(signed_type a, signed_type b)        \
    {                                                                                  \
        type x = a < 0 ? 0 - (type)a : (type)a, y = b < 0 ? 0 - (type)b : (type)b;     \
        while (y) {                                                                    \
            type rest = x % y;                                                         \
            x = y;                                                                     \
            y = rest;                                                                  \
        }                                                                              \
        return (signed_type)x;                                                         \
    }                                                                                  \
    TD_HD static inline signed_type td_lcm_##name(signed_type a, signed_type b)        \
    {                                                                                  \
        type x = a < 0 ? 0 - (type)a : (type)a, y = b < 0 ? 0 - (type)b : (type)b;     \
        type least = x && y ? x / (type)td_gcd_##name(a, b) * y : 0;                   \
        return (signed_type)least < 0 ? (signed_type)(0 - least) : (signed_type)least; \
    }
TD_DIVISORS(i32, uint32_t, int32_t)
TD_DIVISORS(i64, uint64_t, int64_t)

/* ---- random numbers: Philox4x32-10, key seed, counter the number of the block ---- */

struct td_words {
    uint32_t w0, w1, w2, w3;
};

TD_HD static inline struct td_words td_philox_round(struct td_words c, uint32_t k0, uint32_t k1)
{
    uint64_t low = UINT64_C(0xd2511f53) * c.w0, high = UINT64_C(0xcd9e8d57) * c.w2;
    struct td_words next = {(uint32_t)(high >> 32) ^ c.w1 ^ k0, (uint32_t)high, (uint32_t)(low >> 32) ^ c.w3 ^ k1,
                            (uint32_t)low};
    return next;
}

TD_HD static inline struct td_words td_philox(uint64_t seed, uint64_t block)
{
    const uint32_t a = UINT32_C(0x9e3779b9), b = UINT32_C(0xbb67ae85);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    struct td_words c = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
    /* Written out, since a loop in here would keep the loop around it from being vectorised. */
    c = td_philox_round(c, k0, k1);
    c = td_philox_round(c, k0 + a, k1 + b);
    c = td_philox_round(c, k0 + 2 * a, k1 + 2 * b);
    c = td_philox_round(c, k0 + 3 * a, k1 + 3 * b);
    c = td_philox_round(c, k0 + 4 * a, k1 + 4 * b);
    c = td_philox_round(c, k0 + 5 * a, k1 + 5 * b);
    c = td_philox_round(c, k0 + 6 * a, k1 + 6 * b);
    c = td_philox_round(c, k0 + 7 * a, k1 + 7 * b);
    c = td_philox_round(c, k0 + 8 * a, k1 + 8 * b);
    return td_philox_round(c, k0 + 9 * a, k1 + 9 * b);
}

/* [0, 1) in steps of 2^-24. */
TD_HD static inline float td_uniform_f32(uint32_t word)
{
    return (float)(int32_t)(word >> 8) * 5.9604644775390625e-8f;
}
/* [0, 1) in steps of 2^-53: 27 bits of one word, 26 of the other. */
TD_HD static inline double td_uniform_f64(uint32_t high, uint32_t low)
{
    return ((int32_t)(high >> 5) * 67108864.0 + (int32_t)(low >> 6)) * 1.1102230246251565404e-16;
}

/* Number i of those that begin with block counter. */
TD_HD static inline double td_uniform_at_f64(uint64_t seed, uint64_t counter, int64_t i)
{
    struct td_words words = td_philox(seed, counter + (uint64_t)i / 2);
    return i % 2 ? td_uniform_f64(words.w2, words.w3) : td_uniform_f64(words.w0, words.w1);
}

/* Box-Muller on two uniform numbers; 1 - u is exact and never 0. */
TD_HD static inline void td_normal_f32(float u, float turn, float *first, float *second)
{
    float radius = __builtin_sqrtf(-2.0f * td_log_f32(1.0f - u)), s, c;
    td_turn_f32(turn, &s, &c);
    *first = radius * c;
    *second = radius * s;
}
TD_HD static inline void td_normal_f64(double u, double turn, double *first, double *second)
{
    double radius = __builtin_sqrt(-2.0 * td_log_f64(1.0 - u)), s, c;
    td_turn_f64(turn, &s, &c);
    *first = radius * c;
    *second = radius * s;
}

/* low + floor(range * word pair / 2^64); range is high - low, which may pass INT64_MAX. The high half of the product
 * is made of 32-bit parts, since CUDA and the vector units have no other. */
TD_HD static inline int64_t td_integer_between(int64_t low, uint64_t range, uint32_t w0, uint32_t w1)
{
    uint64_t r0 = range & UINT32_MAX, r1 = range >> 32;
    uint64_t middle = r0 * w1 + (r0 * w0 >> 32);
    uint64_t cross = r1 * w0 + (middle & UINT32_MAX);
    return (int64_t)((uint64_t)low + r1 * w1 + (middle >> 32) + (cross >> 32));
}

#endif
