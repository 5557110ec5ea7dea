/* layer_norm and rms_norm as all devices see them: dense rows. C and C++. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_NORM_H
#define TD_KERNELS_NORM_H

#include <float.h>

#include "kernels/kernels.h"

struct td_norm {
    const void *x, *weight, *bias; /* weight and bias: NULL if left out */
    void *out;
    int64_t rows, count; /* elements of a row */
    double eps;
    bool centred; /* the mean is taken off */
};

static inline struct td_norm td_norm_of(const struct td_launch *launch, const struct td_dims *normalized)
{
    struct td_norm n;
    const struct td_operand *x = &launch->in[0];
    n.x = x->data;
    n.weight = launch->in[1].data;
    n.bias = NULL;
    n.out = launch->out[0].data;
    n.rows = n.count = 1;
    for (int d = 0; d < x->rank; d++)
        *(d < x->rank - normalized->count ? &n.rows : &n.count) *= x->shape[d];
    n.eps = 0;
    n.centred = false;
    return n;
}

static inline struct td_norm td_layer_norm_of(const struct td_launch *launch)
{
    const struct td_layer_norm_attrs *a = (const struct td_layer_norm_attrs *)launch->attrs;
    struct td_norm n = td_norm_of(launch, &a->normalized_shape);
    n.bias = launch->in[2].data;
    n.eps = a->eps;
    n.centred = true;
    return n;
}

/* eps below 0: the distance of 1 to the next number. */
static inline struct td_norm td_rms_norm_of(const struct td_launch *launch)
{
    const struct td_rms_norm_attrs *a = (const struct td_rms_norm_attrs *)launch->attrs;
    struct td_norm n = td_norm_of(launch, &a->normalized_shape);
    double step = launch->in[0].dtype == TD_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    n.eps = a->eps < 0 ? step : a->eps;
    return n;
}

#endif
