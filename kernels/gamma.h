/* The gamma function's logarithm and its derivatives, element by element in f64; f32 is rounded once.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_GAMMA_H
#define TD_KERNELS_GAMMA_H

#include <math.h>

#include "kernels/scalar.h"

TD_HD static inline double td_lgamma_f64(double x)
{
#ifdef __CUDA_ARCH__
    return lgamma(x); /* which writes no sign anywhere there */
#else
    int sign;
    return lgamma_r(x, &sign);
#endif
}

/* The coefficients B(2k) / (2k)! of Euler and Maclaurin, from k = 1 on. */
#define TD_EULER_TERMS 10
#define TD_EULER                                                                                     \
    {                                                                                                \
        1.0 / 12, -1.0 / 720, 1.0 / 30240, -1.0 / 1209600, 1.0 / 47900160, -691.0 / 1307674368000.0, \
            1.0 / 74724249600.0, -3617.0 / 10670622842880000.0, 43867.0 / 5109094217170944000.0,     \
            -174611.0 / 802857662698291200000.0                                                      \
    }

/* The sum of (x + k)^-s over k = 0, 1, ... for x > 0 and a whole s > 1: the first terms, then Euler's series. */
TD_HD static inline double td_zeta_above(double s, double x)
{
    static const double euler[TD_EULER_TERMS] = TD_EULER;
    double sum = 0, term, step;
    for (; x < 10; x += 1)
        sum += pow(x, -s);
    term = pow(x, -s);
    sum += x * term / (s - 1) + term * 0.5;
    step = s * term / x;
    for (int k = 0; k < TD_EULER_TERMS && fabs(step * euler[k]) > fabs(sum) * 0x1p-54; k++) {
        sum += step * euler[k];
        step *= (s + 2 * k + 1) * (s + 2 * k + 2) / (x * x);
    }
    return sum;
}

/* The same for any x: below 0 the terms of all whole distances from x, less those beyond it. The distance from the
 * nearest pole is exact; from the other one it need not be. */
TD_HD static inline double td_zeta(double s, double x)
{
    double beside = x - rint(x), below = beside < 0 ? 1 + beside : beside, above = beside < 0 ? -beside : 1 - beside;
    if (x > 0 || x != x)
        return isinf(x) ? 0 : td_zeta_above(s, x);
    if (beside == 0 || isinf(x))
        return isinf(x) ? td_f64_of_bits(TD_NAN_BITS_F64) : td_f64_of_bits(TD_INF_BITS_F64);
    double rest = td_zeta_above(s, above) - td_zeta_above(s, 1 - x);
    return td_zeta_above(s, below) + (fmod(s, 2.0) == 0 ? rest : -rest);
}

TD_HD static inline double td_digamma_above(double x)
{
    double sum = 0;
    for (; x < 10; x += 1)
        sum -= 1 / x;
    double z = 1 / (x * x);
    double series =
        z *
        (1.0 / 12 -
         z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z * (1.0 / 12)))))));
    return sum + log(x) - 0.5 / x - series;
}
TD_HD static inline double td_digamma_f64(double x)
{
    if (x == 0)
        return -copysign(td_f64_of_bits(TD_INF_BITS_F64), x);
    if (x > 0 || x != x)
        return td_digamma_above(x);
    if (x == floor(x))
        return td_f64_of_bits(TD_NAN_BITS_F64);
    return td_digamma_above(1 - x) - M_PI / tan(M_PI * (x - rint(x))); /* exact beside a pole */
}

/* (-1)^(n + 1) * n! * zeta(n + 1, x) */
TD_HD static inline double td_polygamma_f64(int64_t n, double x)
{
    if (n == 0)
        return td_digamma_f64(x);
    double size = tgamma((double)n + 1) * td_zeta((double)n + 1, x);
    return n % 2 ? size : -size;
}

TD_HD static inline float td_lgamma_f32(float x)
{
    return (float)td_lgamma_f64((double)x);
}
TD_HD static inline float td_digamma_f32(float x)
{
    return (float)td_digamma_f64((double)x);
}

#endif
