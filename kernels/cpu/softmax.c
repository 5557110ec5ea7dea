/* log_softmax and softmax, and the row statistics that cross_entropy shares. x - max - log(sum(exp(x - max))): no
 * exponential is above 1. The sum is taken in the order of lanes.h. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"
#include "protocol/ops.h"

/* Exponentials made at once; a multiple of the lanes and small beside L1. */
#define CHUNK 256
/* Elements of a row that is not worth a loop of its own. */
#define SHORT_ROW 32

struct softmax {
    int64_t count, x_step, out_step;   /* of the dimension itself */
    int64_t inner, x_inner, out_inner; /* rows done together, and the way from one to the next; not BY_ROW */
    enum { BY_ROW, BY_COLUMNS, BY_SHORT_ROWS } way;
    bool exponential; /* softmax itself, not its logarithm */
};

#define SOFTMAX(word) word##_f32
#define SOFTMAX_SUM(word) td_##word##_sum_f32
#define SOFTMAX_MAX(word) td_##word##_max_f32
#define SOFTMAX_T float
#include "kernels/cpu/softmax.inc"

#define SOFTMAX(word) word##_f64
#define SOFTMAX_SUM(word) td_##word##_sum_f64
#define SOFTMAX_MAX(word) td_##word##_max_f64
#define SOFTMAX_T double
#include "kernels/cpu/softmax.inc"

static void softmax(struct td_launch *launch, bool exponential)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct softmax s = {.x_step = 1, .out_step = 1, .count = 1, .exponential = exponential};
    int dim = td_wrap_dim(((const struct td_log_softmax_attrs *)launch->attrs)->dim, x->rank), rank = 0;
    int64_t shape[TD_RANK_MAX], x_stride[TD_RANK_MAX], out_stride[TD_RANK_MAX];
    if (td_operand_numel(out) == 0)
        return;
    if (x->rank) {
        s.count = x->shape[dim];
        s.x_step = x->stride[dim];
        s.out_step = out->stride[dim];
    }
    /* The last other dimension goes by neighbours where the dimension itself is not the dense one. */
    for (int d = 0; d < x->rank; d++) {
        if (d == dim || x->shape[d] == 1)
            continue;
        shape[rank] = x->shape[d];
        x_stride[rank] = x->stride[d];
        out_stride[rank++] = out->stride[d];
    }
    if (rank && x_stride[rank - 1] == 1 && out_stride[rank - 1] == 1 && s.x_step != 1)
        s.way = BY_COLUMNS;
    else if (rank && s.x_step == 1 && s.out_step == 1 && s.count <= SHORT_ROW && shape[rank - 1] > 1)
        s.way = BY_SHORT_ROWS;
    if (s.way != BY_ROW) {
        s.inner = shape[--rank];
        s.x_inner = x_stride[rank];
        s.out_inner = out_stride[rank];
    }
    int64_t index[TD_RANK_MAX] = {0}, offset[2] = {0};
    const int64_t *stride[] = {x_stride, out_stride};
    const float *floats = x->data;
    const double *doubles = x->data;
    do {
        if (x->dtype == TD_F32)
            softmax_f32(&s, floats + offset[0], (float *)out->data + offset[1]);
        else
            softmax_f64(&s, doubles + offset[0], (double *)out->data + offset[1]);
    } while (td_step_index(rank, shape, index, 2, offset, stride));
}

void TD_CPU(log_softmax)(struct td_launch *launch)
{
    softmax(launch, false);
}

void TD_CPU(softmax)(struct td_launch *launch)
{
    softmax(launch, true);
}
