/* Elementwise work: element i of the target is made of element i of each source. A functor says how:
 *     struct add { TD_HD float operator()(float a, float b) const { return a + b; } };
 *     td_map<add, float, float, float>(launch.out[0], {&launch.in[0], &launch.in[1]});
 * Operands that lie in the target's order are read in words of 16 bytes; all others where their strides say.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_MAP_H
#define TD_KERNELS_CUDA_MAP_H

#include <utility>

#include "kernels/cuda/internal.h"

#define TD_SOURCES_MAX 4

/* What a kernel is told of the target (0) and its sources. */
struct td_map_plan {
    int rank;
    uint32_t count;
    uint32_t shape[TD_RANK_MAX]; /* the last dimension is the innermost */
    int64_t stride[1 + TD_SOURCES_MAX][TD_RANK_MAX];
    char *data[1 + TD_SOURCES_MAX]; /* NULL: value is all there is */
    uint64_t value[1 + TD_SOURCES_MAX];
    bool repeats[1 + TD_SOURCES_MAX]; /* one element stands for all */
};

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
    int64_t offset[1 + sizeof...(X)] = {0};
    for (int d = plan.rank - 1; d >= 0; d--) {
        uint32_t size = plan.shape[d], outer = i / size, at = i - outer * size;
        for (size_t k = 0; k <= sizeof...(X); k++)
            offset[k] += plan.stride[k][d] * at;
        i = outer;
    }
    ((Y *)plan.data[0])[offset[0]] = f(td_map_load<X>(plan, 1 + (int)K, offset[1 + K])...);
}

template <class F, class Y, class... X> __global__ void td_map_strided(td_map_plan plan, F f)
{
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < plan.count)
        td_map_element<F, Y, X...>(plan, f, i, std::index_sequence_for<X...>());
}

/* ---- one after the other: a thread some neighbours ---- */

template <class T, int N> struct alignas(sizeof(T) * N) td_word {
    T v[N];
};

template <class X, int N> __device__ static inline td_word<X, N> td_map_word(const td_map_plan &plan, int k, uint32_t i)
{
    if (!plan.repeats[k])
        return *(const td_word<X, N> *)((const X *)plan.data[k] + i);
    td_word<X, N> word;
    X x = td_map_load<X>(plan, k, 0);
    for (int j = 0; j < N; j++)
        word.v[j] = x;
    return word;
}

template <class F, class Y, int N, class... Words>
__device__ static inline void td_map_words(const F &f, Y *y, const Words &...words)
{
    td_word<Y, N> result;
    for (int j = 0; j < N; j++)
        result.v[j] = f(words.v[j]...);
    *(td_word<Y, N> *)y = result;
}

template <class F, int N, class Y, class... X, size_t... K>
__device__ static inline void td_map_run(const td_map_plan &plan, const F &f, uint32_t i, std::index_sequence<K...> all)
{
    Y *y = (Y *)plan.data[0];
    if (i + N <= plan.count) {
        td_map_words<F, Y, N>(f, y + i, td_map_word<X, N>(plan, 1 + (int)K, i)...);
        return;
    }
    for (; i < plan.count; i++)
        y[i] = f(td_map_load<X>(plan, 1 + (int)K, plan.repeats[1 + K] ? 0 : i)...);
    (void)all;
}

template <class F, int N, class Y, class... X> __global__ void td_map_dense(td_map_plan plan, F f)
{
    uint32_t i = (blockIdx.x * blockDim.x + threadIdx.x) * N;
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
/* The part of it from offset elements on that a plan can count. */
void td_map_plan_of(const struct td_map_shape *shape, td_map_plan *plan);
/* Whether all operands lie in one row, or repeat one element, and can be read in words of width elements. */
bool td_map_is_dense(const td_map_plan *plan, int operands, const size_t *element_bytes, int width);

template <class F, class Y, class... X> static void td_map_part(const td_map_shape &shape, const F &f)
{
    const int width = 16 / sizeof(Y) < 1 ? 1 : (int)(16 / sizeof(Y)); /* 16 bytes of results a thread */
    const size_t bytes[] = {sizeof(Y), sizeof(X)...};
    td_map_plan plan;
    td_map_plan_of(&shape, &plan);
    if (td_map_is_dense(&plan, shape.operands, bytes, width))
        td_enqueue(td_map_dense<F, width, Y, X...>, td_blocks(plan.count, width, TD_THREADS), TD_THREADS, plan, f);
    else
        td_enqueue(td_map_strided<F, Y, X...>, td_blocks(plan.count, 1, TD_THREADS), TD_THREADS, plan, f);
}

/* Halves what is more than 32 bits can count. */
template <class F, class Y, class... X> static void td_map_parts(td_map_shape &shape, const F &f)
{
    double count = 1;
    int longest = 0;
    for (int d = 0; d < shape.rank; d++) {
        count *= (double)shape.shape[d];
        longest = shape.shape[d] > shape.shape[longest] ? d : longest;
    }
    if (count < 2147483648.0) {
        td_map_part<F, Y, X...>(shape, f);
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
    td_map_parts<F, Y, X...>(first, f);
    td_map_parts<F, Y, X...>(second, f);
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
        td_map_parts<F, Y, X...>(shape, f);
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

#endif
