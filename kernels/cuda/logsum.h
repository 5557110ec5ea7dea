/* Of rows of logits the greatest and the sum of e^(x - greatest), which is scaled anew when a greater one comes: x is
 * read once. Equal ones aside, since inf - inf is none. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_LOGSUM_H
#define TD_KERNELS_CUDA_LOGSUM_H

#include <math.h>

#include "kernels/cuda/reduce.h"
#include "kernels/scalar.h"

TD_HD static inline float td_exp_below(float x)
{
    return td_exp_below_f32(x);
}
TD_HD static inline double td_exp_below(double x)
{
    return td_exp_below_f64(x);
}
TD_HD static inline float td_log_of(float x)
{
    return td_log_f32(x);
}
TD_HD static inline double td_log_of(double x)
{
    return td_log_f64(x);
}

/* Exponentials are made in T and added in f64. */
template <class T> struct td_logsum {
    T most;
    double sum;

    TD_HD static td_logsum none()
    {
        return {(T)-INFINITY, 0};
    }
    TD_HD void add(const td_logsum &other)
    {
        bool greater = other.most > most;
        T high = greater ? other.most : most, low = greater ? most : other.most;
        double scale = low == high ? 1 : (double)td_exp_below(low - high);
        sum = greater ? sum * scale + other.sum : sum + other.sum * scale;
        most = high;
    }
};

#endif
