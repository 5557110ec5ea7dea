/* Ops that draw for each element of a tensor, counted row by row wherever it lies: a thread has a block of Philox,
 * whose words are for EACH elements. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_DRAW_H
#define TD_KERNELS_CUDA_DRAW_H

#include "kernels/cuda/map.h"
#include "kernels/scalar.h"

/* Of the target (0) and its source. */
struct td_draw_plan {
    int rank;
    bool dense; /* one element behind the other, in whole words */
    int64_t count, shape[TD_RANK_MAX], stride[2][TD_RANK_MAX];
    void *y;
    const void *x;
    uint64_t seed, counter;
};

__device__ static inline void td_draw_seek(const td_draw_plan &plan, int64_t i, int64_t *y, int64_t *x)
{
    bool small = plan.count <= INT32_MAX;
    *y = *x = 0;
    for (int d = plan.rank - 1; d >= 0; d--) {
        int64_t size = plan.shape[d], outer = small ? (int64_t)((uint32_t)i / (uint32_t)size) : i / size;
        int64_t at = i - outer * size;
        *y += at * plan.stride[0][d];
        *x += at * plan.stride[1][d];
        i = outer;
    }
}

template <class F, class T, int EACH> __global__ void td_draw_blocks(td_draw_plan plan, F f)
{
    int64_t block = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, i = block * EACH;
    if (i >= plan.count)
        return;
    int64_t at[EACH], from;
    td_word<T, EACH> x, y;
    bool whole = plan.dense && i + EACH <= plan.count;
    if (whole)
        x = *(const td_word<T, EACH> *)((const T *)plan.x + i);
    for (int j = 0; j < EACH && !whole; j++) {
        td_draw_seek(plan, i + j < plan.count ? i + j : plan.count - 1, &at[j], &from);
        x.v[j] = ((const T *)plan.x)[from];
    }
    f(td_philox(plan.seed, plan.counter + (uint64_t)block), x.v, y.v);
    if (whole)
        *(td_word<T, EACH> *)((T *)plan.y + i) = y;
    for (int j = 0; j < EACH && !whole; j++)
        if (i + j < plan.count)
            ((T *)plan.y)[at[j]] = y.v[j];
}

/* f(words, x, y) makes EACH elements of as many. */
template <class F, class T, int EACH> static void td_draw(struct td_launch *launch, const F &f = F())
{
    const struct td_operand *operand[] = {&launch->out[0], &launch->in[0]};
    td_map_shape shape;
    if (!td_map_shape_in_order(&shape, 2, operand))
        return;
    td_draw_plan plan = {shape.rank,   shape.rank == 0, 1, {0}, {{0}}, operand[0]->data, operand[1]->data,
                         launch->seed, launch->counter};
    for (int d = 0; d < shape.rank; d++) {
        plan.count *= plan.shape[d] = shape.shape[d];
        plan.stride[0][d] = shape.stride[0][d];
        plan.stride[1][d] = shape.stride[1][d];
    }
    plan.dense = shape.rank == 1 && shape.stride[0][0] == 1 && shape.stride[1][0] == 1 &&
                 ((uintptr_t)plan.x | (uintptr_t)plan.y) % sizeof(td_word<T, EACH>) == 0;
    td_enqueue(td_draw_blocks<F, T, EACH>, td_blocks(plan.count, EACH, TD_THREADS), TD_THREADS, plan, f);
}

#endif
