/* layer_norm and rms_norm: a row is read from memory once, and what its mean and its squares are taken of lies in
 * cache by then. Sums are taken in the order of lanes.h. SPDX-License-Identifier: Apache-2.0 */
#include <float.h>

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"

/* Squares made before they are summed. */
#define CHUNK 512

struct norm {
    const void *x, *weight, *bias; /* weight and bias: NULL if left out */
    void *out;
    int64_t count; /* elements of a row */
    double eps;
    bool centred; /* the mean is taken off */
};

#define NORM(word) word##_f32
#define NORM_SUM(word) td_##word##_sum_f32
#define NORM_T float
#define NORM_SQRT __builtin_sqrtf
#include "kernels/cpu/norm.inc"

#define NORM(word) word##_f64
#define NORM_SUM(word) td_##word##_sum_f64
#define NORM_T double
#define NORM_SQRT __builtin_sqrt
#include "kernels/cpu/norm.inc"

static void norm(struct td_launch *launch, struct norm *n)
{
    const struct td_operand *x = &launch->in[0];
    int64_t numel = td_operand_numel(x);
    int normalized = (int)((const struct td_layer_norm_attrs *)launch->attrs)->normalized_shape.count;
    if (numel == 0)
        return;
    n->x = x->data;
    n->weight = launch->in[1].data;
    n->out = launch->out[0].data;
    n->count = 1;
    for (int d = x->rank - normalized; d < x->rank; d++)
        n->count *= x->shape[d];
    td_parallel(numel / n->count, td_grain(n->count), 0, x->dtype == TD_F32 ? norm_part_f32 : norm_part_f64, n);
}

void TD_CPU(layer_norm)(struct td_launch *launch)
{
    const struct td_layer_norm_attrs *a = launch->attrs;
    norm(launch, &(struct norm){.bias = launch->in[2].data, .eps = a->eps, .centred = true});
}

void TD_CPU(rms_norm)(struct td_launch *launch)
{
    const struct td_rms_norm_attrs *a = launch->attrs;
    double step = launch->in[0].dtype == TD_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    norm(launch, &(struct norm){.eps = a->eps < 0 ? step : a->eps});
}
