/* nonzero, masked_select, masked_scatter and bincount. The elements that are found are counted before anything is
 * written, and have to be as many as the size says. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/indices.h"
#include "kernels/cuda/places.h"
#include "kernels/cuda/radix.h"

#define TILE 2048 /* elements that a block looks through */

/* ---- what is not 0 ---- */

/* Elements seen row by row in one shape; the first operand's are looked at. */
struct search {
    td_grid<2> at;
    const void *x;
    int size, shift; /* bytes of an element, and bits that do not count: the sign of a real */
};

static struct search search_of(const struct td_operand *x)
{
    bool real = td_dtype_category(x->dtype) == TD_FLOATING;
    struct search s = {td_grid_begin<2>(), x->data, (int)td_dtype_size(x->dtype), real};
    return s;
}

__device__ static bool is_there(const search &s, int64_t offset)
{
    uint64_t bits = s.size == 1   ? (uint64_t)((const uint8_t *)s.x)[offset] << 56
                    : s.size == 2 ? (uint64_t)((const uint16_t *)s.x)[offset] << 48
                    : s.size == 4 ? (uint64_t)((const uint32_t *)s.x)[offset] << 32
                                  : ((const uint64_t *)s.x)[offset];
    return bits << s.shift != 0;
}

/* How many there are in each tile. */
__global__ void count_tiles(search s, uint64_t *counters)
{
    __shared__ unsigned count;
    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    unsigned mine = 0;
    uint64_t tile = (uint64_t)blockIdx.x * TILE;
    for (uint64_t i = tile + threadIdx.x; i < tile + TILE && i < s.at.count; i += TD_THREADS) {
        int64_t offset[2] = {0};
        td_grid_seek(s.at, i, offset);
        mine += is_there(s, offset[0]);
    }
    if (mine)
        atomicAdd(&count, mine);
    __syncthreads();
    if (threadIdx.x == 0)
        counters[blockIdx.x] = count;
}

/* Counts in tiles, as what comes before each, and then all; NULL where there was no memory. */
static uint64_t *count(const struct search &s)
{
    uint64_t tiles = (s.at.count + TILE - 1) / TILE;
    uint64_t *counters = (uint64_t *)td_cuda_scratch((size_t)(tiles + 1) * sizeof *counters);
    if (!counters)
        return NULL;
    td_enqueue(count_tiles, (int64_t)tiles, TD_THREADS, s, counters);
    td_cuda_running(counters, tiles, counters + tiles);
    return counters;
}

/* Counters where as many are found as least to most say; if not, or without memory, nothing is done. */
static uint64_t *as_many(struct td_launch *launch, const struct search &s, int64_t least, int64_t most)
{
    uint64_t *counters = count(s), found;
    if (counters) {
        td_cuda_fetch(&found, counters + (s.at.count + TILE - 1) / TILE, sizeof found);
        if ((int64_t)found < least || (int64_t)found > most) {
            launch->fault.code = TD_E_SHAPE;
            launch->fault.value = (int64_t)found;
            launch->fault.size = most;
            return NULL;
        }
        counters = count(s); /* others have had the scratch */
    }
    if (!counters)
        launch->fault.code = TD_E_MEMORY;
    return counters;
}

/* ---- finding: f(n, i, offset) for the n-th that is there, the i-th of all ---- */

/* The n of this thread's first one of neighbours, of which so many are there. */
__device__ static uint64_t number_of(uint64_t before, unsigned there)
{
    __shared__ unsigned sums[TD_THREADS];
    unsigned self = threadIdx.x;
    sums[self] = there;
    __syncthreads();
    if (self % 16 == 0)
        for (unsigned k = self + 1; k < self + 16; k++)
            sums[k] += sums[k - 1];
    __syncthreads();
    for (unsigned k = 15; k < self / 16 * 16; k += 16)
        before += sums[k];
    return before + sums[self] - there;
}

#define EACH (TILE / TD_THREADS)
template <class F> __global__ void find(search s, const uint64_t *counters, const __grid_constant__ F f)
{
    uint64_t first = (uint64_t)blockIdx.x * TILE + threadIdx.x * EACH;
    unsigned there = 0, found = 0;
    for (unsigned k = 0; k < EACH && first + k < s.at.count; k++) {
        int64_t offset[2] = {0};
        td_grid_seek(s.at, first + k, offset);
        bool is = is_there(s, offset[0]);
        there |= (unsigned)is << k;
        found += is;
    }
    uint64_t n = number_of(counters[blockIdx.x], found);
    for (unsigned k = 0; k < EACH; k++)
        if (there >> k & 1) {
            int64_t offset[2] = {0};
            td_grid_seek(s.at, first + k, offset);
            f(n++, first + k, offset[1]);
        }
}

template <class F> static void find_all(const struct search &s, const uint64_t *counters, const F &f)
{
    td_enqueue(find<F>, (int64_t)((s.at.count + TILE - 1) / TILE), TD_THREADS, s, counters, f);
}

/* ---- nonzero ---- */

struct noting {
    int rank;
    uint64_t shape[TD_RANK_MAX];
    int64_t row, column; /* steps in the result */
    int64_t *to;
    __device__ void operator()(uint64_t n, uint64_t i, int64_t) const
    {
        for (int d = rank - 1; d >= 0; d--)
            to[(int64_t)n * row + d * column] = (int64_t)td_split(&i, shape[d]);
    }
};

void TD_CUDA(nonzero)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct search s = search_of(x);
    noting note = {x->rank, {0}, out->stride[0], out->stride[1], (int64_t *)out->data};
    for (int d = 0; d < x->rank; d++) {
        td_grid_add(s.at, x->shape[d], {x->stride[d], 0});
        note.shape[d] = (uint64_t)x->shape[d];
    }
    const uint64_t *counters = as_many(launch, s, out->shape[0], out->shape[0]);
    if (counters && x->rank && out->shape[0])
        find_all(s, counters, note);
}

/* ---- masks ---- */

/* mask, and x beside it, in the shape that both are broadcast to. */
static struct search masked(const struct td_operand *mask, const struct td_operand *x)
{
    struct search s = search_of(mask);
    const struct td_operand *both[2] = {mask, x};
    int64_t shape[TD_RANK_MAX];
    int rank;
    td_broadcast(x->rank, x->shape, mask->rank, mask->shape, &rank, shape);
    for (int d = 0; d < rank; d++) {
        int64_t stride[2];
        for (int k = 0; k < 2; k++) {
            int from = d - (rank - both[k]->rank);
            stride[k] = from < 0 || (both[k]->shape[from] == 1 && shape[d] != 1) ? 0 : both[k]->stride[from];
        }
        td_grid_add(s.at, shape[d], stride);
    }
    return s;
}

template <class T> struct selecting {
    const T *x;
    T *to;
    __device__ void operator()(uint64_t n, uint64_t, int64_t offset) const
    {
        to[n] = x[offset];
    }
};
template <class T> struct spreading {
    const T *x;
    T *to;
    __device__ void operator()(uint64_t n, uint64_t, int64_t offset) const
    {
        to[offset] = x[n];
    }
};

template <template <class> class F> struct by_size {
    const struct search &s;
    const uint64_t *counters;
    const void *x;
    void *to;
    template <class T> void with() const
    {
        find_all(s, counters, F<T>{(const T *)x, (T *)to});
    }
};

void TD_CUDA(masked_select)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct search s = masked(&launch->in[1], x);
    const uint64_t *counters = as_many(launch, s, out->shape[0], out->shape[0]);
    if (counters)
        td_for_bytes(td_dtype_size(x->dtype), by_size<selecting>{s, counters, x->data, out->data});
}

void TD_CUDA(masked_scatter)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct search s = masked(&launch->in[1], out);
    const uint64_t *counters = as_many(launch, s, 0, td_operand_numel(&launch->in[2]));
    if (!counters)
        return;
    struct td_operand seen = *out; /* x in the result's shape */
    seen.data = x->data;
    for (int d = 0; d < out->rank; d++) {
        int from = d - (out->rank - x->rank);
        seen.stride[d] = from < 0 || (x->shape[from] == 1 && out->shape[d] != 1) ? 0 : x->stride[from];
    }
    td_cuda_copy(*out, seen);
    td_for_bytes(td_dtype_size(out->dtype), by_size<spreading>{s, counters, launch->in[2].data, out->data});
}

/* ---- bincount ---- */

void TD_CUDA(bincount)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *weights = &launch->in[1], *out = &launch->out[0];
    if (!td_cuda_indices_fit(launch, x, 0, out->shape[0]))
        return;
    if (out->shape[0])
        td_cuda_check(cudaMemsetAsync(out->data, 0, (size_t)out->shape[0] * td_dtype_size(out->dtype), td_stream),
                      "bincount");
    struct td_placing p = td_placing_begin(out, weights);
    p.keys = out->shape[0];
    td_placing_index(&p, x->data, 0, 1, 1);
    td_placing_item(&p, x->shape[0], {0, weights->stride[0], x->stride[0], 0, 1});
    if (!td_cuda_join_places(&p, TD_BY_SUM, false))
        launch->fault.code = TD_E_MEMORY;
}
