/* The rest of the functions of single elements. Their f32 forms are computed in f64 with exp and log of scalar.h, where
 * one rounding at the end is all, and are vectorised; the f64 forms, and those here without a formula, are libm's,
 * called element by element: correct to 2 ulp, the same bits for every vector width, but libm's own from one system to
 * another. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_FUNCTIONS_H
#define TD_KERNELS_FUNCTIONS_H

#include <math.h>

#include "kernels/scalar.h"
#include "kernels/special.h"

/* ---- in f64, good enough for f32: near 0, where 1 and x do not go together, a series ---- */

TD_HD static inline double td_magnitude(double x)
{
    return td_f64_of_bits(td_bits_of_f64(x) & ~TD_SIGN_F64);
}
TD_HD static inline double td_signed_as(double x, double sign)
{
    return td_f64_of_bits((td_bits_of_f64(x) & ~TD_SIGN_F64) | (td_bits_of_f64(sign) & TD_SIGN_F64));
}
TD_HD static inline double td_expm1_short(double x)
{
    double y = td_exp_f64(x) - 1.0, near = x * (1.0 + x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24))));
    return td_magnitude(x) < 1e-4 ? near : y;
}
TD_HD static inline double td_log1p_short(double x)
{
    double y = td_log_f64(1.0 + x), near = x * (1.0 - x * (0.5 - x * (1.0 / 3 - x * 0.25)));
    return td_magnitude(x) < 1e-4 ? near : y;
}
TD_HD static inline double td_sinh_short(double x)
{
    double e = td_exp_f64(x), z = x * x;
    double near = x * (1.0 + z * (1.0 / 6 + z * (1.0 / 120 + z * (1.0 / 5040))));
    return td_magnitude(x) < 0.02 ? near : 0.5 * (e - 1.0 / e);
}
TD_HD static inline double td_cosh_short(double x)
{
    double e = td_exp_f64(x);
    return 0.5 * (e + 1.0 / e);
}
TD_HD static inline double td_asinh_short(double x)
{
    double a = td_magnitude(x), z = a * a, y = td_log_f64(a + __builtin_sqrt(z + 1.0));
    double near = a * (1.0 - z * (1.0 / 6 - z * (3.0 / 40 - z * (15.0 / 336))));
    return td_signed_as(a < 0.01 ? near : y, x);
}
TD_HD static inline double td_acosh_short(double x)
{
    double t = x - 1.0, y = td_log_f64(1.0 + (t + __builtin_sqrt(t * (x + 1.0))));
    return x < 1.0 ? td_f64_of_bits(TD_NAN_BITS_F64) : y;
}
TD_HD static inline double td_atanh_short(double x)
{
    double z = x * x, y = 0.5 * td_log_f64((1.0 + x) / (1.0 - x));
    double near = x * (1.0 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7))));
    return td_magnitude(x) < 0.01 ? near : y;
}
/* log(1 + e^-|x|). */
TD_HD static inline double td_softlog_short(double x)
{
    return td_log1p_short(td_exp_f64(-td_magnitude(x)));
}
TD_HD static inline double td_softlog(double x)
{
    return log1p(td_exp_f64(-td_magnitude(x)));
}

/* ---- the functions ---- */

#define TD_FUNCTION(name, in_f32, in_f64)                  \
    TD_HD static inline float td_##name##_f32(float given) \
    {                                                      \
        double x = (double)given;                          \
        return (float)(in_f32);                            \
    }                                                      \
    TD_HD static inline double td_##name##_f64(double x)   \
    {                                                      \
        return in_f64;                                     \
    }

TD_FUNCTION(exp2, td_exp_f64(x * 6.93147180559945309417e-01), exp2(x))
TD_FUNCTION(expm1, td_expm1_short(x), expm1(x))
TD_FUNCTION(log2, td_log_f64(x) * 1.44269504088896340736, log2(x))
TD_FUNCTION(log10, td_log_f64(x) * 4.34294481903251827651e-01, log10(x))
TD_FUNCTION(log1p, td_log1p_short(x), log1p(x))
TD_FUNCTION(tan, td_sin_f64(x) / td_cos_f64(x), td_sin_f64(x) / td_cos_f64(x))
TD_FUNCTION(asin, asin(x), asin(x))
TD_FUNCTION(acos, acos(x), acos(x))
TD_FUNCTION(atan, atan(x), atan(x))
TD_FUNCTION(sinh, td_sinh_short(x), sinh(x))
TD_FUNCTION(cosh, td_cosh_short(x), cosh(x))
TD_FUNCTION(asinh, td_asinh_short(x), asinh(x))
TD_FUNCTION(acosh, td_acosh_short(x), acosh(x))
TD_FUNCTION(atanh, td_atanh_short(x), atanh(x))
TD_FUNCTION(erfc, erfc(x), erfc(x))
TD_FUNCTION(logsigmoid, td_min_f64(x, 0.0) - td_softlog_short(x), td_min_f64(x, 0.0) - td_softlog(x))
TD_FUNCTION(sinc, x == 0.0 ? 1.0 : td_sin_f64(x * M_PI) / (x * M_PI),
            x == 0.0 ? 1.0 : td_sin_f64(x * M_PI) / (x * M_PI))

/* tanh(log(1 + e)) = n / (n + 2) with n = e * (e + 2), e = exp(x); 1 from x = 40 on. */
TD_HD static inline double td_mish_f64(double x)
{
    double e = td_exp_f64(x > 40.0 ? 40.0 : x), n = e * (e + 2.0);
    return x * (n / (n + 2.0));
}
TD_HD static inline float td_mish_f32(float x)
{
    return (float)td_mish_f64((double)x);
}

TD_HD static inline float td_log_sum_f32(float given_a, float given_b)
{
    double a = (double)given_a, b = (double)given_b;
    return (float)(a == b ? a + M_LN2 : td_max_f64(a, b) + td_softlog_short(a - b));
}
/* Equal ones aside, since inf - inf is none. */
TD_HD static inline double td_log_sum_f64(double a, double b)
{
    return a == b ? a + M_LN2 : td_max_f64(a, b) + td_softlog(a - b);
}

/* A rational start (Giles), then two steps of Halley, on erfc where erf has lost its digits. */
TD_HD static inline double td_erfinv_f64(double y)
{
    double a = td_magnitude(y), rest = 1.0 - a, x;
    if (!(a < 1.0))
        return a == 1.0 ? td_signed_as(td_f64_of_bits(TD_INF_BITS_F64), y) : td_f64_of_bits(TD_NAN_BITS_F64);
    if (a <= 0.7) {
        double z = a * a;
        x = a * (((-0.140543331 * z + 0.914624893) * z - 1.645349621) * z + 0.886226899) /
            ((((0.012229801 * z - 0.329097515) * z + 1.442710462) * z - 2.118377725) * z + 1.0);
    } else {
        double z = __builtin_sqrt(-td_log_f64(rest * 0.5));
        x = (((1.641345311 * z + 3.429567803) * z - 1.624906493) * z - 1.970840454) /
            ((1.637067800 * z + 3.543889200) * z + 1.0);
    }
    for (int k = 0; k < 2; k++) {
        double slope = M_2_SQRTPI * td_exp_f64(-x * x);
        double beyond = (a <= 0.5 ? erf(x) - a : rest - erfc(x)) / slope;
        x -= beyond / (1.0 + x * beyond);
    }
    return td_signed_as(x, y);
}
TD_HD static inline float td_erfinv_f32(float y)
{
    return (float)td_erfinv_f64((double)y);
}

/* log2(2^a + 2^b). */
TD_HD static inline float td_log2_sum_f32(float given_a, float given_b)
{
    double a = (double)given_a, b = (double)given_b;
    return (float)(a == b ? a + 1 : td_max_f64(a, b) + td_softlog_short((a - b) * M_LN2) * M_LOG2E);
}
TD_HD static inline double td_log2_sum_f64(double a, double b)
{
    return a == b ? a + 1 : td_max_f64(a, b) + td_softlog((a - b) * M_LN2) * M_LOG2E;
}

/* Of a probability and its target. A logarithm is not let below -100: 0 * log(0) is 0 then. */
#define TD_BOUNDED(log) ((log) < -100 ? -100 : (log))
TD_HD static inline float td_bce_f32(float x, float target)
{
    return -(target * TD_BOUNDED(td_log_f32(x)) + (1 - target) * TD_BOUNDED(td_log_f32(1 - x)));
}
TD_HD static inline double td_bce_f64(double x, double target)
{
    return -(target * TD_BOUNDED(td_log_f64(x)) + (1 - target) * TD_BOUNDED(td_log_f64(1 - x)));
}

/* Which of so many equal parts of from to to, which are not equal, an x between them lies in. */
TD_HD static inline int64_t td_bin_f32(float x, float from, float to, int64_t bins)
{
    float place = (x - from) * (float)bins / (to - from);
    int64_t bin = place < (float)bins ? (int64_t)place : bins - 1;
    return bin < bins ? bin : bins - 1;
}
TD_HD static inline int64_t td_bin_f64(double x, double from, double to, int64_t bins)
{
    double place = (x - from) * (double)bins / (to - from);
    int64_t bin = place < (double)bins ? (int64_t)place : bins - 1;
    return bin < bins ? bin : bins - 1;
}

/* ---- division with a remainder: those of floats are libm's, which are exact ---- */

TD_HD static inline float td_floor_quotient_f32(float a, float b)
{
    float rest = fmodf(a, b), quotient = (a - rest) / b;
    quotient -= rest != 0 && (b < 0) != (rest < 0);
    float whole = floorf(quotient);
    whole += quotient - whole > 0.5f;
    whole = quotient != 0 ? whole : copysignf(0.0f, a / b);
    return b == 0 ? a / b : whole;
}
TD_HD static inline double td_floor_quotient_f64(double a, double b)
{
    double rest = fmod(a, b), quotient = (a - rest) / b;
    quotient -= rest != 0 && (b < 0) != (rest < 0);
    double whole = floor(quotient);
    whole += quotient - whole > 0.5;
    whole = quotient != 0 ? whole : copysign(0.0, a / b);
    return b == 0 ? a / b : whole;
}
TD_HD static inline float td_remainder_f32(float a, float b)
{
    float rest = fmodf(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}
TD_HD static inline double td_remainder_f64(double a, double b)
{
    double rest = fmod(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}

#endif
