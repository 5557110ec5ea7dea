/* Many small tensors in few launches: the parameters of a step, each with its gradient and states. A block does a chunk
 * of one parameter, which it finds by its number. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_BATCH_H
#define TD_KERNELS_CUDA_BATCH_H

#include "kernels/cuda/elements.h"
#include "kernels/cuda/map.h"

#define TD_BATCH 56 /* as many as a launch's 4 KiB of arguments hold */
#define TD_BATCH_STATES 3
#define TD_BATCH_WIDTH 4 /* elements that a thread loads at once */
#define TD_BATCH_GRADIENTS (UINT32_C(1) << TD_BATCH_STATES)
#define TD_BATCH_CHUNK 4096 /* elements of a block */

/* A parameter: elements lie one behind the other, but for those of a parameter with strides, whose batch is its own. */
struct td_batched {
    char *param, *grad, *state[TD_BATCH_STATES]; /* NULL: it has none */
    int64_t count;
};

struct td_batch {
    int count;
    int rank; /* of a parameter with strides; -1: there is none */
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
    uint32_t first[TD_BATCH + 1]; /* block of each, and how many there are */
    uint16_t number[TD_BATCH];    /* in the list */
    uint8_t dtype[TD_BATCH];
    bool aligned[TD_BATCH]; /* for loads of TD_BATCH_WIDTH elements */
    struct td_batched v[TD_BATCH];
};
static_assert(sizeof(struct td_batch) < 3900, "it is passed by value, with a little beside it");

/* Which of them this block works on. */
__device__ static inline int td_batch_find(const td_batch &batch)
{
    int low = 0, high = batch.count;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (batch.first[middle] <= blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Elements from i on, as what they are computed in, and back; those from count on are left alone. */
template <class A, class T>
__device__ static inline void td_four_load(const void *data, int64_t i, int64_t count, bool word, T *v)
{
    typedef typename A::held held;
    const held *x = (const held *)data + i;
    if (word && i + TD_BATCH_WIDTH <= count) {
        td_word<held, TD_BATCH_WIDTH> all = *(const td_word<held, TD_BATCH_WIDTH> *)x;
        for (int j = 0; j < TD_BATCH_WIDTH; j++)
            v[j] = A::wide(all.v[j]);
        return;
    }
    for (int j = 0; j < TD_BATCH_WIDTH; j++)
        v[j] = i + j < count ? A::wide(x[j]) : 0;
}
template <class A, class T>
__device__ static inline void td_four_store(void *data, int64_t i, int64_t count, bool word, const T *v)
{
    typedef typename A::held held;
    held *x = (held *)data + i;
    if (word && i + TD_BATCH_WIDTH <= count) {
        td_word<held, TD_BATCH_WIDTH> all;
        for (int j = 0; j < TD_BATCH_WIDTH; j++)
            all.v[j] = A::of(v[j]);
        *(td_word<held, TD_BATCH_WIDTH> *)x = all;
        return;
    }
    for (int j = 0; j < TD_BATCH_WIDTH; j++)
        if (i + j < count)
            x[j] = A::of(v[j]);
}

/* The same of any dtype that is computed in T: halves in float. */
__device__ static inline void td_load(uint8_t dtype, const void *data, int64_t i, int64_t count, bool word, float *v)
{
    if (dtype == TD_F32)
        td_four_load<td_as_real<float>>(data, i, count, word, v);
    else if (dtype == TD_F16)
        td_four_load<td_as_f16>(data, i, count, word, v);
    else
        td_four_load<td_as_bf16>(data, i, count, word, v);
}
__device__ static inline void td_load(uint8_t, const void *data, int64_t i, int64_t count, bool word, double *v)
{
    td_four_load<td_as_real<double>>(data, i, count, word, v);
}
__device__ static inline void td_store(uint8_t dtype, void *data, int64_t i, int64_t count, bool word, const float *v)
{
    if (dtype == TD_F32)
        td_four_store<td_as_real<float>>(data, i, count, word, v);
    else if (dtype == TD_F16)
        td_four_store<td_as_f16>(data, i, count, word, v);
    else
        td_four_store<td_as_bf16>(data, i, count, word, v);
}
__device__ static inline void td_store(uint8_t, void *data, int64_t i, int64_t count, bool word, const double *v)
{
    td_four_store<td_as_real<double>>(data, i, count, word, v);
}

/* ---- on the host; batch.cu ---- */

/* The next batch of the parameters that launch steps from *next on, with those lists of states that have their bit in
 * states, or of its gradients alone; false after the last. Those of f64 have batches of their own. A
 * list may name the same memory twice: then one update comes after the other, in another batch. */
bool td_batch_next(const struct td_launch *launch, uint32_t states, int *next, struct td_batch *batch);

#endif
