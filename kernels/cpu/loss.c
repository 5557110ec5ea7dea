/* Losses: cross_entropy, nll_loss, bce and mse_loss. Terms are made a chunk at a time, row by row, and summed in the
 * order of lanes.h. SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/functions.h"

#define CHUNK 256
/* Terms of cross_entropy that are made before they are summed. */
#define TERMS 16384
/* Sums of chunks, waiting to be joined. */
#define SUMS 1024

/* Two tensors broadcast together. */
struct pairs {
    int rank;
    int64_t count, shape[TD_RANK_MAX], stride[2][TD_RANK_MAX];
    const void *data[2];
    int64_t chunk; /* terms that are summed together */
    void *sums;
};

/* cross_entropy and nll_loss, whose rows are the classes of one target. */
struct entropy {
    const void *x, *weight; /* weight: NULL if left out */
    const int64_t *target;
    int64_t classes, x_step, weight_step; /* steps from one class to the next */
    /* All other dimensions are the targets'. */
    int rank;
    const int64_t *shape;
    int64_t x_stride[TD_RANK_MAX], target_stride[TD_RANK_MAX], count;
    int64_t ignored;
    double smoothing; /* the part of a target that is spread over all classes */
    bool logarithms;  /* x holds them already: nll_loss */
    int64_t first;    /* the rows at hand, and where their terms go */
    void *terms;
};

#define LOSS(word) word##_f32
#define LOSS_SUM(word) td_##word##_sum_f32
#define LOSS_T float
#include "kernels/cpu/loss.inc"

#define LOSS(word) word##_f64
#define LOSS_SUM(word) td_##word##_sum_f64
#define LOSS_T double
#include "kernels/cpu/loss.inc"

/* Whether each target is a class or the one to ignore. */
static bool targets_fit(struct td_launch *launch, const struct entropy *e)
{
    const int64_t *stride = e->target_stride;
    struct td_walk w;
    int64_t position = 0;
    if (!e->count)
        return true;
    for (td_walk_start(&w, e->rank, e->shape, 1, &stride, 0, e->count); w.run; td_walk_next(&w))
        for (int64_t i = 0; i < w.run; i++, position++) {
            int64_t class = e->target[w.at[0] + i * w.step[0]];
            if ((class >= 0 && class < e->classes) || class == e->ignored)
                continue;
            launch->fault =
                (struct td_fault){.code = TD_E_INDEX, .value = class, .size = e->classes, .position = position};
            return false;
        }
    return true;
}

static void entropy(struct td_launch *launch, struct entropy *e, int64_t reduction)
{
    const struct td_operand *x = &launch->in[0], *target = &launch->in[1], *weight = &launch->in[2];
    int class_dim = x->rank > 1; /* a tensor of one dimension is one row */
    e->x = x->data;
    e->target = target->data;
    e->weight = weight->data;
    e->weight_step = weight->data ? weight->stride[0] : 0;
    e->classes = x->shape[class_dim];
    e->x_step = x->stride[class_dim];
    e->rank = target->rank;
    e->shape = target->shape;
    e->count = td_operand_numel(target);
    for (int d = 0; d < target->rank; d++) {
        e->x_stride[d] = x->stride[d + (d >= class_dim)];
        e->target_stride[d] = target->stride[d];
    }
    if (!targets_fit(launch, e))
        return;
    if (launch->out[0].dtype == TD_F32)
        entropy_f32(launch, e, reduction);
    else
        entropy_f64(launch, e, reduction);
}

void TD_CPU(cross_entropy)(struct td_launch *launch)
{
    const struct td_cross_entropy_attrs *a = launch->attrs;
    entropy(launch, &(struct entropy){.ignored = a->ignore_index, .smoothing = a->label_smoothing}, a->reduction);
}

void TD_CPU(nll_loss)(struct td_launch *launch)
{
    const struct td_nll_loss_attrs *a = launch->attrs;
    entropy(launch, &(struct entropy){.ignored = a->ignore_index, .logarithms = true}, a->reduction);
}

TD_BINARY_INNER(bce_f32, float, float, td_bce_f32(a, b))
TD_BINARY_INNER(bce_f64, double, double, td_bce_f64(a, b))

/* Where the first element is that is no probability; INT64_MAX: nowhere. */
struct improbable {
    const struct td_operand *x;
    _Atomic int64_t *first;
};

static void improbable_part(const void *data, int64_t from, int64_t to)
{
    const struct improbable *p = data;
    const int64_t *stride = p->x->stride;
    struct td_walk w;
    for (td_walk_start(&w, p->x->rank, p->x->shape, 1, &stride, from, to); w.run; from += w.run, td_walk_next(&w))
        for (int64_t i = 0; i < w.run; i++) {
            int64_t at = w.at[0] + i * w.step[0], known = *p->first;
            double x =
                p->x->dtype == TD_F32 ? (double)((const float *)p->x->data)[at] : ((const double *)p->x->data)[at];
            if (x >= 0 && x <= 1)
                continue;
            while (from + i < known && !atomic_compare_exchange_weak(p->first, &known, from + i))
                ;
            return;
        }
}

void TD_CPU(bce)(struct td_launch *launch)
{
    _Atomic int64_t first = INT64_MAX;
    struct improbable improbable = {&launch->in[0], &first};
    td_parallel(td_operand_numel(&launch->out[0]), TD_GRAIN, 0, improbable_part, &improbable);
    if (first != INT64_MAX)
        launch->fault = (struct td_fault){.code = TD_E_ARGUMENT, .position = first};
    else
        TD_CPU(iterate_launch)(launch->out[0].dtype == TD_F32 ? bce_f32 : bce_f64, launch);
}

/* Strides of in, seen in the shape of both together. */
static void broadcast(const struct td_operand *in, int rank, const int64_t *shape, int64_t *stride)
{
    for (int d = 0; d < rank; d++) {
        int from = d - (rank - in->rank);
        stride[d] = from < 0 || (in->shape[from] == 1 && shape[d] != 1) ? 0 : in->stride[from];
    }
}

TD_BINARY_INNER(each_square_f32, float, float, (a - b) * (a - b))
TD_BINARY_INNER(each_square_f64, double, double, (a - b) * (a - b))

/* Unreduced it is elementwise, and the output has any dense strides. */
static void each_square(struct td_launch *launch)
{
    struct td_operand seen[2] = {launch->out[0], launch->out[0]};
    for (int k = 0; k < 2; k++) {
        seen[k].data = launch->in[k].data;
        broadcast(&launch->in[k], launch->out[0].rank, launch->out[0].shape, seen[k].stride);
    }
    TD_CPU(iterate)
    (launch->out[0].dtype == TD_F32 ? each_square_f32 : each_square_f64, 3,
     (const struct td_operand *[]){&launch->out[0], &seen[0], &seen[1]});
}

void TD_CPU(mse_loss)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *target = &launch->in[1];
    struct pairs pairs;
    if (((const struct td_mse_loss_attrs *)launch->attrs)->reduction == TD_NONE) {
        each_square(launch);
        return;
    }
    td_broadcast(x->rank, x->shape, target->rank, target->shape, &pairs.rank, pairs.shape);
    broadcast(x, pairs.rank, pairs.shape, pairs.stride[0]);
    broadcast(target, pairs.rank, pairs.shape, pairs.stride[1]);
    pairs.count = 1;
    for (int d = 0; d < pairs.rank; d++)
        pairs.count *= pairs.shape[d];
    /* Dense in both: one row. */
    bool dense = pairs.count > 0;
    int64_t step = 1;
    for (int d = pairs.rank - 1; d >= 0; step *= pairs.shape[d--])
        dense &= pairs.shape[d] == 1 || (pairs.stride[0][d] == step && pairs.stride[1][d] == step);
    if (dense || pairs.rank == 0) {
        pairs.rank = 1;
        pairs.shape[0] = pairs.count;
        pairs.stride[0][0] = pairs.stride[1][0] = 1;
    }
    pairs.data[0] = x->data;
    pairs.data[1] = target->data;
    pairs.chunk = TD_GRAIN; /* a power of two of blocks */
    while (pairs.chunk * SUMS < pairs.count)
        pairs.chunk *= 2;
    if (launch->out[0].dtype == TD_F32)
        mse_loss_f32(launch, &pairs);
    else
        mse_loss_f64(launch, &pairs);
}
