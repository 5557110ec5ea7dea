/* Modified Bessel functions, element by element in f64; f32 is rounded once. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_BESSEL_H
#define TD_KERNELS_BESSEL_H

#include <math.h>

#include "kernels/scalar.h"

/* Up to here the power series takes at most 40 terms; beyond it the terms of Hankel's become less than 2^-54. */
#define TD_BESSEL_NEAR 20

/* The sum of (a / 2)^(2k + order) / (k! (k + order)!), none of which is negative. */
TD_HD static inline double td_bessel_near(int order, double a)
{
    double square = a * a * 0.25, term = order ? a * 0.5 : 1.0, sum = term;
    for (int k = 1; term > sum * 0x1p-54; k++) {
        term *= square / (double)(k * (k + order));
        sum += term;
    }
    return sum;
}

/* exp(a) / sqrt(2 pi a) times the sum of the products of ((2j - 1)^2 - 4 order^2) / (8 a j), j being 1 to k. exp(a)
 * comes in two halves, since it is inf before the result is. */
TD_HD static inline double td_bessel_far(int order, double a)
{
    double term = 1.0, sum = 1.0;
    for (int k = 1; fabs(term) > 0x1p-54; k++) {
        term *= (double)((2 * k - 1) * (2 * k - 1) - 4 * order) / (8.0 * a * k);
        sum += term;
    }
    double half = td_exp_f64(a * 0.5);
    return half * (half * (sum / __builtin_sqrt(2 * M_PI * a)));
}

/* Of order 0 or 1. */
TD_HD static inline double td_bessel(int order, double x)
{
    double a = fabs(x);
    double y = !(a > TD_BESSEL_NEAR) ? td_bessel_near(order, a)
               : a > 720.0           ? td_f64_of_bits(TD_INF_BITS_F64)
                                     : td_bessel_far(order, a);
    return order && x < 0 ? -y : y;
}

TD_HD static inline double td_i0_f64(double x)
{
    return td_bessel(0, x);
}
TD_HD static inline float td_i0_f32(float x)
{
    return (float)td_bessel(0, (double)x);
}
TD_HD static inline double td_i1_f64(double x)
{
    return td_bessel(1, x);
}
TD_HD static inline float td_i1_f32(float x)
{
    return (float)td_bessel(1, (double)x);
}

#endif
