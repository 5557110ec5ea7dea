/* Positions of a shape, counted row by row, and where several operands have each.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_GRID_H
#define TD_KERNELS_CUDA_GRID_H

#include "kernels/cuda/internal.h"

#define TD_GRID_RANK (TD_RANK_MAX + 1) /* repetitions have a dimension more than tensors */

/* N operands; the last dimension is the innermost. Dimensions of size 1 are not in it, and those that lie densely
 * inside each other are one. */
template <int N> struct td_grid {
    int rank;
    uint64_t count;
    uint64_t shape[TD_GRID_RANK];
    int64_t stride[N][TD_GRID_RANK];
};

template <int N> static td_grid<N> td_grid_begin(void)
{
    td_grid<N> grid;
    memset(&grid, 0, sizeof grid);
    grid.count = 1;
    return grid;
}

/* One more dimension, inside of the others. */
template <int N> static void td_grid_add(td_grid<N> &grid, int64_t size, const int64_t (&stride)[N])
{
    grid.count *= (uint64_t)size;
    if (size <= 1)
        return;
    bool merges = grid.rank > 0;
    for (int k = 0; k < N && merges; k++)
        merges = grid.stride[k][grid.rank - 1] == stride[k] * size;
    int d = merges ? grid.rank - 1 : grid.rank++;
    grid.shape[d] = merges ? grid.shape[d] * (uint64_t)size : (uint64_t)size;
    for (int k = 0; k < N; k++)
        grid.stride[k][d] = stride[k];
}

/* *at becomes the quotient; the rest is returned. Most counts fit 32 bits, whose division takes a fifth of the time. */
__device__ static inline uint64_t td_split(uint64_t *at, uint64_t size)
{
    uint64_t whole = *at;
    if ((whole | size) >> 32 == 0)
        *at = (uint32_t)whole / (uint32_t)size;
    else
        *at = whole / size;
    return whole - *at * size;
}

/* Adds the offsets of position i. */
template <int N> __device__ static inline void td_grid_seek(const td_grid<N> &grid, uint64_t i, int64_t (&offset)[N])
{
    for (int d = grid.rank - 1; d >= 0; d--) {
        int64_t at = (int64_t)(d ? td_split(&i, grid.shape[d]) : i);
        for (int k = 0; k < N; k++)
            offset[k] += at * grid.stride[k][d];
    }
}

/* The number of the thread that runs. */
__device__ static inline uint64_t td_thread(void)
{
    return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* A word of so many bytes. */
template <int BYTES> struct td_bytes;
template <> struct td_bytes<1> {
    typedef uint8_t type;
};
template <> struct td_bytes<2> {
    typedef uint16_t type;
};
template <> struct td_bytes<4> {
    typedef uint32_t type;
};
template <> struct td_bytes<8> {
    typedef uint64_t type;
};
template <> struct td_bytes<16> {
    struct alignas(16) type {
        uint64_t half[2];
    };
};

/* Calls f.with<T>() for an element of bytes. */
template <class F> static void td_for_bytes(size_t bytes, const F &f)
{
    switch (bytes) {
    case 1:
        return f.template with<td_bytes<1>::type>();
    case 2:
        return f.template with<td_bytes<2>::type>();
    case 4:
        return f.template with<td_bytes<4>::type>();
    case 8:
        return f.template with<td_bytes<8>::type>();
    }
}

/* The same for a word of several elements. */
template <class F> static void td_for_words(size_t bytes, const F &f)
{
    if (bytes == 16)
        f.template with<td_bytes<16>::type>();
    else
        td_for_bytes(bytes, f);
}

#endif
