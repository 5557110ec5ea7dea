/* cross_entropy and mse_loss. Terms are made a chunk at a time, row by row, and summed in the order of lanes.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"

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

/* Rows of cross_entropy that are done together. */
struct entropy {
    const struct td_launch *launch;
    int64_t first;
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

void TD_CPU(cross_entropy)(struct td_launch *launch)
{
    int64_t reduction = ((const struct td_cross_entropy_attrs *)launch->attrs)->reduction;
    if (!TD_CPU(indices_fit)(launch, &launch->in[1], launch->in[0].shape[1]))
        return;
    if (launch->out[0].dtype == TD_F32)
        cross_entropy_f32(launch, reduction);
    else
        cross_entropy_f64(launch, reduction);
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
