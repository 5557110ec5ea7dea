/* searchsorted and histc. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/reduce.h"
#include "kernels/functions.h"

/* ---- searchsorted ---- */

struct searching {
    struct td_loop values, rows; /* where each value lies, and the row that it belongs into */
    const void *sorted, *value;  /* value: NULL where number is the only one */
    uint64_t number;
    int64_t *out;
    int64_t count, step; /* of a row */
    bool right;
};

/* What compares with nothing belongs at the end. */
template <class T> __global__ void __launch_bounds__(TD_THREADS) search_sorted(searching s)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, from = 0, to = s.count;
    if (i >= s.values.count)
        return;
    const T *row = (const T *)s.sorted + td_offset(s.rows, i);
    T value;
    memcpy(&value, &s.number, sizeof value);
    if (s.value)
        value = ((const T *)s.value)[td_offset(s.values, i)];
    while (from < to) {
        int64_t middle = from + (to - from) / 2;
        T at = row[middle * s.step];
        if (s.right ? !(at > value) : !(at >= value))
            from = middle + 1;
        else
            to = middle;
    }
    s.out[i] = from;
}

void TD_CUDA(searchsorted)(struct td_launch *launch)
{
    const struct td_operand *sorted = &launch->in[0], *values = &launch->in[1];
    struct td_operand rows = *values;
    int last = sorted->rank - 1;
    for (int d = 0; d < rows.rank; d++)
        rows.stride[d] = d < last ? sorted->stride[d] : 0;
    struct searching s;
    memset(&s, 0, sizeof s);
    s.values = td_loop_beside(values, -1);
    s.rows = td_loop_beside(&rows, -1);
    s.sorted = sorted->data;
    s.out = (int64_t *)launch->out[0].data;
    s.count = sorted->shape[last];
    s.step = sorted->stride[last];
    s.right = ((const struct td_searchsorted_attrs *)launch->attrs)->right != 0;
    if (values->immediate)
        memcpy(&s.number, values->data, td_dtype_size(values->dtype));
    else
        s.value = values->data;
    int64_t blocks = td_blocks(s.values.count, 1, TD_THREADS);
    switch (sorted->dtype) {
    case TD_I32:
        return td_enqueue(search_sorted<int32_t>, blocks, TD_THREADS, s);
    case TD_I64:
        return td_enqueue(search_sorted<int64_t>, blocks, TD_THREADS, s);
    case TD_F32:
        return td_enqueue(search_sorted<float>, blocks, TD_THREADS, s);
    case TD_F64:
        return td_enqueue(search_sorted<double>, blocks, TD_THREADS, s);
    }
}

/* ---- histc ---- */

/* Bins that a block counts for itself, and the blocks that are worth it. */
#define BINS 2048
#define BLOCKS 1024
/* Elements that are worth a thread. */
#define EACH 16

struct histogram {
    struct td_loop elements;
    const void *x;
    void *out;
    int64_t bins;
    double from, to;
    unsigned long long *counts;
};

template <class T> struct range_of {
    typedef T held;
    struct state {
        T from, to;
        bool nan;
    };
    state *out;

    TD_HD state start() const
    {
        return {(T)INFINITY, (T)-INFINITY, false};
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        join(s, {x, x, x != x});
    }
    TD_HD void join(state &s, const state &other) const
    {
        s.from = other.from < s.from ? other.from : s.from;
        s.to = other.to > s.to ? other.to : s.to;
        s.nan |= other.nan;
    }
    __device__ void store(int64_t, const state &s) const
    {
        *out = s;
    }
};

__device__ static inline int64_t bin_of(float x, float from, float to, int64_t bins)
{
    return td_bin_f32(x, from, to, bins);
}
__device__ static inline int64_t bin_of(double x, double from, double to, int64_t bins)
{
    return td_bin_f64(x, from, to, bins);
}

/* Counts are integers, so that it does not matter in which order they are made. */
template <class T> __global__ void __launch_bounds__(TD_THREADS) count_bins(histogram h)
{
    __shared__ unsigned counts[BINS];
    bool here = h.bins <= BINS;
    T from = (T)h.from, to = (T)h.to;
    for (int k = (int)threadIdx.x; here && k < h.bins; k += TD_THREADS)
        counts[k] = 0;
    __syncthreads();
    int64_t step = (int64_t)gridDim.x * TD_THREADS;
    for (int64_t i = (int64_t)blockIdx.x * TD_THREADS + threadIdx.x; i < h.elements.count; i += step) {
        T x = ((const T *)h.x)[td_offset(h.elements, i)];
        if (!(x >= from && x <= to))
            continue;
        int64_t bin = bin_of(x, from, to, h.bins);
        if (here)
            atomicAdd(&counts[bin], 1u);
        else
            atomicAdd(&h.counts[bin], 1ull);
    }
    __syncthreads();
    for (int k = (int)threadIdx.x; here && k < h.bins; k += TD_THREADS)
        if (counts[k])
            atomicAdd(&h.counts[k], (unsigned long long)counts[k]);
}

/* f32 counts up to what the CPU's counters hold. */
template <class T> __global__ void __launch_bounds__(TD_THREADS) put_counts(histogram h)
{
    int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= h.bins)
        return;
    unsigned long long count = h.counts[k];
    ((T *)h.out)[k] = (T)(sizeof(T) == 4 && count > UINT32_MAX ? UINT32_MAX : count);
}

/* The least and the greatest element. False without memory for it. */
template <class T> static bool find_range(const struct td_operand *x, struct histogram *h, bool *nan)
{
    typedef typename range_of<T>::state state;
    size_t partials = TD_PARTIALS * sizeof(state);
    char *scratch = (char *)td_cuda_scratch(partials + sizeof(state));
    if (!scratch)
        return false;
    struct td_reduce_plan plan = td_reduce_plan_of(x, ~0u);
    state range;
    plan.partials = scratch;
    td_reduce(plan, range_of<T>{(state *)(scratch + partials)});
    td_cuda_check(cudaMemcpyAsync(&range, scratch + partials, sizeof range, cudaMemcpyDeviceToHost, td_stream),
                  "a range");
    td_cuda_settle();
    h->from = (double)range.from;
    h->to = (double)range.to;
    *nan = range.nan;
    return true;
}

template <class T> static void count(struct td_launch *launch, struct histogram h)
{
    bool nan = false, none = h.from == h.to && h.elements.count && !find_range<T>(&launch->in[0], &h, &nan);
    if (!none && (nan || !isfinite((T)h.from) || !isfinite((T)h.to))) {
        launch->fault.code = TD_E_ARGUMENT;
        launch->fault.why = "the elements have no finite range";
        return;
    }
    size_t bytes = (size_t)h.bins * sizeof *h.counts;
    h.counts = none ? NULL : (unsigned long long *)td_cuda_scratch(bytes);
    if (!h.counts) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    bool empty = (T)h.from == (T)h.to;
    h.from = (double)((T)h.from - (empty ? 1 : 0));
    h.to = (double)((T)h.to + (empty ? 1 : 0));
    td_cuda_check(cudaMemsetAsync(h.counts, 0, bytes, td_stream), "zeroing");
    int64_t blocks = td_blocks(h.elements.count, EACH, TD_THREADS);
    td_enqueue(count_bins<T>, blocks < BLOCKS ? blocks : BLOCKS, TD_THREADS, h);
    td_enqueue(put_counts<T>, td_blocks(h.bins, 1, TD_THREADS), TD_THREADS, h);
}

void TD_CUDA(histc)(struct td_launch *launch)
{
    const struct td_histc_attrs *a = (const struct td_histc_attrs *)launch->attrs;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct histogram h = {td_loop_beside(x, -1), x->data, out->data, out->shape[0], a->min, a->max, NULL};
    if (out->dtype == TD_F32)
        count<float>(launch, h);
    else
        count<double>(launch, h);
}
