/* Elementwise work: element i of the target is made of element i of each source. A functor says how:
 *     struct add { TD_HD float operator()(float a, float b) const { return a + b; } };
 *     td_map<add, float, float, float>(launch.out[0], {&launch.in[0], &launch.in[1]});
 * Operands whose rows lie in the target's order are read in words of 16 bytes; all others where their strides say.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_MAP_H
#define TD_KERNELS_CUDA_MAP_H

#include <utility>

#include "kernels/cuda/internal.h"

#define TD_SOURCES_MAX 4

/* What a kernel is told of the target (0) and its sources. */
struct td_map_plan {
    int rank;
    uint32_t steps; /* threads at work: each takes an element, or a word of them along the innermost dimension */
    uint32_t row;   /* elements of the innermost dimension */
    uint32_t shape[TD_RANK_MAX];                      /* in steps; the last dimension is the innermost */
    uint32_t factor[TD_RANK_MAX], shift[TD_RANK_MAX]; /* what divides by it: td_map_quotient */
    int64_t stride[1 + TD_SOURCES_MAX][TD_RANK_MAX];  /* of a step */
    char *data[1 + TD_SOURCES_MAX];                   /* NULL: value is all there is */
    uint64_t value[1 + TD_SOURCES_MAX];
    bool repeats[1 + TD_SOURCES_MAX]; /* one element stands for all of a row */
};

/* i / shape[d], for an i below 2^31: by a product, since the device has no division. */
__device__ static inline uint32_t td_map_quotient(const td_map_plan &plan, int d, uint32_t i)
{
    return (uint32_t)(((uint64_t)i * plan.factor[d] >> 32) + i) >> plan.shift[d];
}

/* Where each operand's step number i lies; returns its place in the innermost dimension. */
template <int OPERANDS>
__device__ static inline uint32_t td_map_seek(const td_map_plan &plan, uint32_t i, int64_t *offset)
{
    uint32_t place = i;
    for (int k = 0; k < OPERANDS; k++)
        offset[k] = 0;
    for (int d = plan.rank - 1; d > 0; d--) {
        uint32_t outer = td_map_quotient(plan, d, i), at = i - outer * plan.shape[d];
        for (int k = 0; k < OPERANDS; k++)
            offset[k] += plan.stride[k][d] * at;
        place = d == plan.rank - 1 ? at : place;
        i = outer;
    }
    for (int k = 0; k < OPERANDS; k++)
        offset[k] += plan.stride[k][0] * i;
    return place;
}

template <class X> __device__ static inline X td_map_load(const td_map_plan &plan, int k, int64_t offset)
{
    if (plan.data[k])
        return ((const X *)plan.data[k])[offset];
    X x;
    memcpy(&x, &plan.value[k], sizeof x);
    return x;
}

/* ---- any strides: a thread an element ---- */

template <class F, class Y, class... X, size_t... K>
__device__ static inline void td_map_element(const td_map_plan &plan, const F &f, uint32_t i, std::index_sequence<K...>)
{
    int64_t offset[1 + sizeof...(X)];
    td_map_seek<1 + sizeof...(X)>(plan, i, offset);
    ((Y *)plan.data[0])[offset[0]] = f(td_map_load<X>(plan, 1 + (int)K, offset[1 + K])...);
}

template <class F, class Y, class... X> __global__ void td_map_strided(td_map_plan plan, F f)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < plan.steps)
        td_map_element<F, Y, X...>(plan, f, i, std::index_sequence_for<X...>());
}

/* ---- rows that lie one element behind the other: a thread some neighbours ---- */

template <class T, int N> struct alignas(sizeof(T) * N) td_word {
    T v[N];
};

/* At the end of a row left elements are left, and the last one stands for those beyond it. */
template <class X, int N>
__device__ static inline td_word<X, N> td_map_word(const td_map_plan &plan, int k, int64_t offset, uint32_t left)
{
    if (left >= N && !plan.repeats[k])
        return *(const td_word<X, N> *)((const X *)plan.data[k] + offset);
    td_word<X, N> word;
    X first = td_map_load<X>(plan, k, offset);
    for (int j = 0; j < N; j++)
        word.v[j] =
            plan.repeats[k] ? first : ((const X *)plan.data[k])[offset + ((uint32_t)j < left ? j : (int)left - 1)];
    return word;
}

template <class F, class Y, int N, class... Words>
__device__ static inline void td_map_words(const F &f, Y *y, uint32_t left, const Words &...words)
{
    td_word<Y, N> result;
    for (int j = 0; j < N; j++)
        result.v[j] = f(words.v[j]...);
    if (left >= N) {
        *(td_word<Y, N> *)y = result;
        return;
    }
    for (int j = 0; j < N; j++)
        if ((uint32_t)j < left)
            y[j] = result.v[j];
}

template <class F, int N, class Y, class... X, size_t... K>
__device__ static inline void td_map_run(const td_map_plan &plan, const F &f, uint32_t i, std::index_sequence<K...>)
{
    int64_t offset[1 + sizeof...(X)];
    uint32_t left = plan.row - td_map_seek<1 + sizeof...(X)>(plan, i, offset) * N;
    td_map_words<F, Y, N>(f, (Y *)plan.data[0] + offset[0], left,
                          td_map_word<X, N>(plan, 1 + (int)K, offset[1 + K], left)...);
}

template <class F, int N, class Y, class... X> __global__ void td_map_rows(td_map_plan plan, F f)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < plan.steps)
        td_map_run<F, N, Y, X...>(plan, f, i, std::index_sequence_for<X...>());
}

/* ---- the plan ---- */

/* All operands have the target's shape. Dimensions of size 1 go, those that lie densely inside each other become one,
 * and the target's strides say which is the innermost. False if there is nothing to do. map.cu */
struct td_map_shape {
    int rank, operands;
    int64_t shape[TD_RANK_MAX], stride[1 + TD_SOURCES_MAX][TD_RANK_MAX];
    const struct td_operand *operand[1 + TD_SOURCES_MAX];
};
bool td_map_shape_of(struct td_map_shape *shape, int operands, const struct td_operand *const *operand);
/* The same with the dimensions in their own order. */
bool td_map_shape_in_order(struct td_map_shape *shape, int operands, const struct td_operand *const *operand);
/* Whether all rows lie one element behind the other, or repeat one, and can be read in words of width elements. */
bool td_map_is_dense(const struct td_map_shape *shape, const size_t *element_bytes, int width);
/* What a kernel needs whose threads take width elements each. */
void td_map_plan_of(const struct td_map_shape *shape, int width, td_map_plan *plan);

/* Elements a thread takes: 16 bytes of the largest, but no more than the compiler is patient with. */
constexpr int td_map_width(std::initializer_list<size_t> bytes)
{
    size_t most = 2;
    for (size_t each : bytes)
        most = each > most ? each : most;
    return (int)(16 / most);
}

template <class F, class Y, class... X> static void td_map_part(const td_map_shape &shape, const F &f)
{
    constexpr int width = td_map_width({sizeof(Y), sizeof(X)...});
    const size_t bytes[] = {sizeof(Y), sizeof(X)...};
    bool dense = td_map_is_dense(&shape, bytes, width);
    td_map_plan plan;
    td_map_plan_of(&shape, dense ? width : 1, &plan);
    td_enqueue(dense ? td_map_rows<F, width, Y, X...> : td_map_strided<F, Y, X...>,
               td_blocks(plan.steps, 1, TD_THREADS), TD_THREADS, plan, f);
}

/* Calls f with shape, or with parts of it where there is more than 32 bits can count. */
template <class G> static void td_map_each_part(const td_map_shape &shape, const G &f)
{
    double count = 1;
    int longest = 0;
    for (int d = 0; d < shape.rank; d++) {
        count *= (double)shape.shape[d];
        longest = shape.shape[d] > shape.shape[longest] ? d : longest;
    }
    if (count < 2147483648.0) {
        f(shape);
        return;
    }
    struct td_operand moved[1 + TD_SOURCES_MAX];
    td_map_shape first = shape, second = shape;
    int64_t half = shape.shape[longest] / 2;
    first.shape[longest] = half;
    second.shape[longest] -= half;
    for (int k = 0; k < shape.operands; k++) {
        moved[k] = *shape.operand[k];
        if (!moved[k].immediate)
            moved[k].data =
                (char *)moved[k].data + half * shape.stride[k][longest] * (int64_t)td_dtype_size(moved[k].dtype);
        second.operand[k] = &moved[k];
    }
    td_map_each_part(first, f);
    td_map_each_part(second, f);
}

template <class F, class Y, class... X>
static void td_map(const F &f, const struct td_operand &target,
                   std::initializer_list<const struct td_operand *> sources)
{
    const struct td_operand *operand[1 + TD_SOURCES_MAX] = {&target};
    int operands = 1;
    for (const struct td_operand *source : sources)
        operand[operands++] = source;
    td_map_shape shape;
    if (td_map_shape_of(&shape, operands, operand))
        td_map_each_part(shape, [&](const td_map_shape &part) { td_map_part<F, Y, X...>(part, f); });
}

/* A launch's result of its inputs. */
template <class F, class Y, class... X, size_t... K>
static void td_map_inputs(struct td_launch *launch, const F &f, std::index_sequence<K...>)
{
    td_map<F, Y, X...>(f, launch->out[0], {&launch->in[K]...});
}
template <class F, class Y, class... X> static void td_map_launch(struct td_launch *launch, const F &f = F())
{
    td_map_inputs<F, Y, X...>(launch, f, std::index_sequence_for<X...>());
}

/* ---- whether any element of source is one that f finds: waits for the answer ---- */

template <class F, class X> __global__ void td_map_any(td_map_plan plan, F f, int *found)
{
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < plan.steps; i += gridDim.x * blockDim.x) {
        int64_t offset[1];
        td_map_seek<1>(plan, i, offset);
        if (f(td_map_load<X>(plan, 0, offset[0])))
            *found = 1;
    }
}

#define TD_FINDING_BLOCKS 2048 /* at most; each thread then goes on with another element */

/* False with a fault if there is no memory for the answer. */
template <class F, class X>
static bool td_map_finds(struct td_launch *launch, const struct td_operand &source, const F &f = F())
{
    struct td_operand some = source;
    for (int d = 0; d < some.rank; d++) /* what is read again and again is looked at once */
        some.shape[d] = (some.immediate || some.stride[d] == 0) && some.shape[d] ? 1 : some.shape[d];
    const struct td_operand *operand = &some;
    td_map_shape shape;
    if (!td_map_shape_of(&shape, 1, &operand))
        return false;
    if (some.immediate) {
        X number;
        memcpy(&number, some.data, sizeof number);
        return f(number);
    }
    int found = 0, *there = (int *)td_cuda_scratch(sizeof *there);
    if (!there) {
        launch->fault.code = TD_E_MEMORY;
        return false;
    }
    td_cuda_check(cudaMemsetAsync(there, 0, sizeof *there, td_stream), "a check of data");
    td_map_each_part(shape, [&](const td_map_shape &part) {
        td_map_plan plan;
        td_map_plan_of(&part, 1, &plan);
        int64_t blocks = td_blocks(plan.steps, 1, TD_THREADS);
        td_enqueue(td_map_any<F, X>, blocks < TD_FINDING_BLOCKS ? blocks : TD_FINDING_BLOCKS, TD_THREADS, plan, f,
                   there);
    });
    td_cuda_check(cudaMemcpyAsync(&found, there, sizeof found, cudaMemcpyDeviceToHost, td_stream), "a check of data");
    td_cuda_settle();
    return found != 0;
}

#endif
