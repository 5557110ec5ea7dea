/* sort, argsort, topk, kthvalue, median and mode: all by the sorted order of each row. Elements become keys, unsigned
 * numbers of the same order (nan the greatest, both zeros the same), which are sorted together with their places, so
 * that no two are equal and equal elements keep their order. Tiles are sorted in shared memory, as many short rows or
 * as much of a long one as it holds; then runs are merged pairwise, each block making a tile of what comes out.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/elements.h"
#include "kernels/cuda/reduce.h"

#define TILE_BYTES 16384

enum take { ALL, MIDDLE, MOST };

struct sorting {
    struct td_loop x_rows, out_rows; /* where rows begin */
    struct td_loop along;            /* the elements of a row */
    int64_t count, out_step;         /* of a row */
    const void *x;
    uint8_t dtype;
    bool descending;
    enum take take;
    int64_t first, taken; /* ALL: which of the sorted ones come out */
    void *values;         /* NULL: not wanted */
    int64_t *places;      /* so, too */
    int64_t tiles;        /* of a row */
    int segment;          /* elements of a tile that are sorted together: a power of two */
};

/* ---- keys and places ---- */

/* A key of 32 bits above a place of 32. */
typedef uint64_t narrow;
struct wide {
    uint64_t key;
    int64_t place;
};

TD_HD static inline bool comes_before(narrow a, narrow b)
{
    return a < b;
}
TD_HD static inline bool comes_before(const wide &a, const wide &b)
{
    return a.key < b.key || (a.key == b.key && a.place < b.place);
}
TD_HD static inline int64_t place_of(narrow x)
{
    return (int64_t)(x & UINT32_MAX);
}
TD_HD static inline int64_t place_of(const wide &x)
{
    return x.place;
}
/* The same key in place 0, before which all smaller ones come. */
TD_HD static inline narrow without_place(narrow x)
{
    return x & ~(narrow)UINT32_MAX;
}
TD_HD static inline wide without_place(const wide &x)
{
    return {x.key, 0};
}
TD_HD static inline bool is_nan(const sorting &s, narrow x)
{
    return s.dtype == TD_F32 && x >> 32 == UINT32_MAX;
}
TD_HD static inline bool is_nan(const sorting &s, const wide &x)
{
    return (s.dtype == TD_F32 || s.dtype == TD_F64) && x.key == UINT64_MAX;
}
/* Behind all others. */
TD_HD static inline void nothing(narrow *to)
{
    *to = UINT64_MAX;
}
TD_HD static inline void nothing(wide *to)
{
    *to = {UINT64_MAX, INT64_MAX};
}

/* Adding 0 makes -0 the other zero. */
TD_HD static inline uint32_t key_of_f32(float x)
{
    uint32_t bits = td_bits_of_f32(x + 0.0f);
    return x != x ? UINT32_MAX : bits >> 31 ? ~bits : bits | TD_SIGN_F32;
}
TD_HD static inline uint64_t key_of_f64(double x)
{
    uint64_t bits = td_bits_of_f64(x + 0.0);
    return x != x ? UINT64_MAX : bits >> 63 ? ~bits : bits | TD_SIGN_F64;
}

__device__ static inline uint64_t key_of(const sorting &s, int64_t at)
{
    switch (s.dtype) {
    case TD_BOOL:
        return ((const uint8_t *)s.x)[at];
    case TD_I32:
        return (uint32_t)((const int32_t *)s.x)[at] ^ TD_SIGN_F32;
    case TD_I64:
        return (uint64_t)((const int64_t *)s.x)[at] ^ TD_SIGN_F64;
    case TD_F32:
        return key_of_f32(((const float *)s.x)[at]);
    }
    return key_of_f64(((const double *)s.x)[at]);
}

__device__ static inline void read(const sorting &s, int64_t at, int64_t place, narrow *to)
{
    uint32_t key = (uint32_t)key_of(s, at);
    *to = (uint64_t)(s.descending ? ~key : key) << 32 | (uint64_t)place;
}
__device__ static inline void read(const sorting &s, int64_t at, int64_t place, wide *to)
{
    uint64_t key = s.dtype == TD_F32 && key_of(s, at) == UINT32_MAX ? UINT64_MAX : key_of(s, at);
    *to = {s.descending ? ~key : key, place};
}

/* Element place of a row comes out as element i. */
__device__ static inline void put(const sorting &s, int64_t row, int64_t i, int64_t place)
{
    int64_t to = td_offset(s.out_rows, row) + i * s.out_step;
    int64_t from = td_offset(s.x_rows, row) + td_offset(s.along, place);
    if (s.places)
        s.places[to] = place;
    if (!s.values)
        return;
    if (s.dtype == TD_BOOL)
        ((uint8_t *)s.values)[to] = ((const uint8_t *)s.x)[from];
    else if (s.dtype == TD_I32 || s.dtype == TD_F32)
        ((uint32_t *)s.values)[to] = ((const uint32_t *)s.x)[from];
    else
        ((uint64_t *)s.values)[to] = ((const uint64_t *)s.x)[from];
}

/* ---- tiles ---- */

/* A bitonic network on each segment of a tile. sorted is NULL where these are whole rows of which some elements come
 * out. */
template <class P> __global__ void __launch_bounds__(TD_THREADS) sort_tiles(sorting s, P *sorted)
{
    enum { TILE = TILE_BYTES / sizeof(P) };
    __shared__ P tile[TILE];
    int segments = TILE / s.segment, thread = (int)threadIdx.x, threads = (int)blockDim.x;
    int64_t slots = s.x_rows.count * s.tiles, first = (int64_t)blockIdx.x * segments;
    int used = (int)(slots - first < segments ? slots - first : segments) * s.segment;
    for (int i = thread; i < used; i += threads) {
        int64_t slot = first + i / s.segment, row = td_quotient(slot, s.tiles, 1 / (double)s.tiles);
        int64_t place = (slot - row * s.tiles) * s.segment + i % s.segment;
        if (place < s.count)
            read(s, td_offset(s.x_rows, row) + td_offset(s.along, place), place, &tile[i]);
        else
            nothing(&tile[i]);
    }
    for (int run = 2; run <= s.segment; run *= 2)
        for (int apart = run / 2; apart > 0; apart /= 2) {
            __syncthreads();
            for (int i = thread; i < used / 2; i += threads) {
                int low = 2 * i - (i & (apart - 1)), high = low + apart;
                bool rises = run == s.segment || !(low & run);
                P a = tile[low], b = tile[high];
                if (comes_before(b, a) != rises)
                    continue;
                tile[low] = b;
                tile[high] = a;
            }
        }
    __syncthreads();
    for (int i = thread; i < used; i += threads) {
        int64_t slot = first + i / s.segment, row = td_quotient(slot, s.tiles, 1 / (double)s.tiles);
        int64_t place = (slot - row * s.tiles) * s.segment + i % s.segment;
        if (sorted && place < s.count)
            sorted[row * s.count + place] = tile[i];
        else if (!sorted && place >= s.first && place < s.first + s.taken)
            put(s, row, place - s.first, place_of(tile[i]));
    }
}

/* ---- merging ---- */

/* How many of count sorted ones come before x. */
template <class P> __device__ static inline int64_t how_many_before(const P *sorted, int64_t count, const P &x)
{
    int64_t from = 0, to = count;
    while (from < to) {
        int64_t middle = (from + to) / 2;
        if (comes_before(sorted[middle], x))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* How many of the first `both` of what a and b make together are a's. */
template <class P>
__device__ static inline int64_t part_of(const P *a, int64_t a_count, const P *b, int64_t b_count, int64_t both)
{
    int64_t from = both > b_count ? both - b_count : 0, to = both < a_count ? both : a_count;
    while (from < to) {
        int64_t middle = (from + to) / 2;
        if (comes_before(a[middle], b[both - 1 - middle]))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Makes runs of 2 * run elements of those of run. */
template <class P>
__global__ void __launch_bounds__(TD_THREADS)
    merge_runs(const P *sorted, P *merged, int64_t count, int64_t run, int64_t tiles)
{
    enum { TILE = TILE_BYTES / sizeof(P) };
    __shared__ P tile[TILE];
    __shared__ int64_t split[2];
    int thread = (int)threadIdx.x;
    int64_t row = td_quotient(blockIdx.x, tiles, 1 / (double)tiles), at = (blockIdx.x - row * tiles) * TILE;
    int64_t start = at & ~(2 * run - 1), left = count - start;
    int64_t a_count = left < run ? left : run, b_count = left < 2 * run ? left - a_count : run;
    const P *a = sorted + row * count + start, *b = a + a_count;
    int64_t first = at - start, end = first + TILE < a_count + b_count ? first + TILE : a_count + b_count;
    if (thread < 2)
        split[thread] = part_of(a, a_count, b, b_count, thread ? end : first);
    __syncthreads();
    int all = (int)(end - first), of_a = (int)(split[1] - split[0]), of_b = all - of_a;
    a += split[0];
    b += first - split[0];
    for (int i = thread; i < all; i += TD_THREADS)
        tile[i] = i < of_a ? a[i] : b[i - of_a];
    __syncthreads();
    for (int i = thread; i < all; i += TD_THREADS) {
        P x = tile[i];
        int64_t to = i < of_a ? i + how_many_before(tile + of_a, of_b, x) : i - of_a + how_many_before(tile, of_a, x);
        merged[row * count + at + to] = x;
    }
}

/* ---- what comes out ---- */

/* The middle one, or the first nan. */
template <class P> __device__ static inline int64_t middle_of(const sorting &s, const P *sorted)
{
    P last = sorted[s.count - 1];
    return is_nan(s, last) ? how_many_before(sorted, s.count, without_place(last)) : (s.count - 1) / 2;
}

template <class P> __global__ void __launch_bounds__(TD_THREADS) put_sorted(sorting s, const P *sorted)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= s.x_rows.count * s.taken)
        return;
    int64_t row = td_quotient(i, s.taken, 1 / (double)s.taken), k = i - row * s.taken;
    sorted += row * s.count;
    put(s, row, k, place_of(sorted[s.take == MIDDLE ? middle_of(s, sorted) : s.first + k]));
}

/* What a key is replaced by: how often it has come so far. */
TD_HD static inline void times(int64_t count, narrow *to)
{
    *to = (uint64_t)count;
}
TD_HD static inline void times(int64_t count, wide *to)
{
    *to = {(uint64_t)count, 0};
}
TD_HD static inline int64_t times_of(narrow x)
{
    return (int64_t)x;
}
TD_HD static inline int64_t times_of(const wide &x)
{
    return (int64_t)x.key;
}

/* Of the most frequent key the last place, and of several the smallest; each nan is a key of its own. How often a key
 * has come up to an element is told by where its first one stands. */
template <class P> struct most_frequent {
    typedef P held;
    struct state {
        int64_t times, at;
    };
    struct sorting s;
    const P *sorted;

    TD_HD state start() const
    {
        return {0, 0};
    }
    TD_HD void join(state &s, const state &other) const
    {
        if (other.times > s.times || (other.times == s.times && other.at < s.at))
            s = other;
    }
    TD_HD void take(state &s, const P &x, int64_t at) const
    {
        join(s, {times_of(x), at});
    }
    __device__ void store(int64_t row, const state &best) const
    {
        put(s, row, 0, place_of(sorted[row * s.count + best.at]));
    }
};
template <class P> struct td_elements<most_frequent<P>> {
    enum { words = false };
    __device__ static P read(const most_frequent<P> &r, const P *row, const td_loop &, int64_t i)
    {
        P x = row[i];
        times(is_nan(r.s, x) ? 1 : i + 1 - how_many_before(row, i, without_place(x)), &x);
        return x;
    }
};

/* ---- the launch ---- */

template <class P> static void put_all(const struct sorting &s, const P *sorted, void *partials)
{
    if (s.take != MOST) {
        td_enqueue(put_sorted<P>, td_blocks(s.x_rows.count * s.taken, 1, TD_THREADS), TD_THREADS, s, sorted);
        return;
    }
    struct td_operand rows = {};
    rows.data = (void *)(uintptr_t)sorted;
    rows.rank = 2;
    rows.shape[0] = s.x_rows.count;
    rows.shape[1] = rows.stride[0] = s.count;
    rows.stride[1] = 1;
    struct td_reduce_plan plan = td_reduce_plan_of(&rows, 1u << 1);
    plan.partials = partials;
    td_reduce(plan, most_frequent<P>{s, sorted});
}

template <class P> static void sort_rows(struct td_launch *launch, struct sorting s)
{
    const int64_t tile = TILE_BYTES / sizeof(P);
    int64_t rows = s.x_rows.count;
    for (s.segment = 1; s.segment < s.count && s.segment < tile; s.segment *= 2)
        ;
    s.tiles = (s.count + s.segment - 1) / s.segment;
    int64_t elements = rows * s.tiles * s.segment, blocks = td_blocks(elements, 1, (int)tile), threads = 32;
    while (threads < TD_THREADS && threads < elements / 2)
        threads *= 2;
    if (s.tiles == 1 && s.take == ALL) {
        td_enqueue(sort_tiles<P>, blocks, (int)threads, s, (P *)NULL);
        return;
    }
    size_t bytes = (size_t)(rows * s.count) * sizeof(P);
    size_t partials = TD_PARTIALS * sizeof(typename most_frequent<P>::state);
    char *scratch = (char *)td_cuda_scratch(2 * bytes + partials);
    if (!scratch) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    P *sorted = (P *)(scratch + partials), *other = sorted + rows * s.count;
    td_enqueue(sort_tiles<P>, blocks, (int)threads, s, sorted);
    for (int64_t run = tile; run < s.count; run *= 2) {
        td_enqueue(merge_runs<P>, rows * s.tiles, TD_THREADS, sorted, other, s.count, run, s.tiles);
        std::swap(sorted, other);
    }
    put_all(s, sorted, scratch);
}

static void sort_laid_out(struct td_launch *launch, struct sorting s)
{
    if (s.x_rows.count == 0 || s.count == 0)
        return;
    if (s.take == ALL && s.taken < 0)
        s.taken = s.count;
    if (td_dtype_size(s.dtype) <= 4 && s.count < UINT32_MAX)
        sort_rows<narrow>(launch, s);
    else
        sort_rows<wide>(launch, s);
}

/* By the rows along dim, which the results may lack. */
static void sort(struct td_launch *launch, struct sorting s, int64_t dim)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    int d = td_wrap_dim(dim, x->rank);
    bool there = x->rank && out->rank == x->rank;
    s.x = x->data;
    s.dtype = x->dtype;
    s.count = x->rank ? x->shape[d] : 1;
    s.out_step = there ? out->stride[d] : 1;
    s.x_rows = td_loop_beside(x, d);
    s.out_rows = td_loop_beside(out, there ? d : -1);
    s.along.count = 1;
    if (s.count)
        td_loop_add(&s.along, s.count, x->rank ? x->stride[d] : 1);
    sort_laid_out(launch, s);
}

void TD_CUDA(sort)(struct td_launch *launch)
{
    const struct td_sort_attrs *a = (const struct td_sort_attrs *)launch->attrs;
    struct sorting s = {};
    s.taken = -1;
    s.descending = a->descending;
    s.values = launch->out[0].data;
    s.places = (int64_t *)launch->out[1].data;
    sort(launch, s, a->dim);
}

void TD_CUDA(argsort)(struct td_launch *launch)
{
    const struct td_argsort_attrs *a = (const struct td_argsort_attrs *)launch->attrs;
    struct sorting s = {};
    s.taken = -1;
    s.descending = a->descending;
    s.places = (int64_t *)launch->out[0].data;
    sort(launch, s, a->dim);
}

/* Without dimensions there is one element, whatever k is. */
void TD_CUDA(topk)(struct td_launch *launch)
{
    const struct td_topk_attrs *a = (const struct td_topk_attrs *)launch->attrs;
    struct sorting s = {};
    s.taken = launch->in[0].rank ? a->k : 1;
    s.descending = a->largest;
    s.values = launch->out[0].data;
    s.places = (int64_t *)launch->out[1].data;
    sort(launch, s, a->dim);
}

/* One element of each row. */
static void pick(struct td_launch *launch, int64_t dim, enum take take, int64_t first)
{
    struct sorting s = {};
    s.take = take;
    s.first = first;
    s.taken = 1;
    s.values = launch->out[0].data;
    s.places = (int64_t *)launch->out[1].data;
    sort(launch, s, dim);
}

void TD_CUDA(kthvalue)(struct td_launch *launch)
{
    const struct td_kthvalue_attrs *a = (const struct td_kthvalue_attrs *)launch->attrs;
    pick(launch, a->dim, ALL, a->k - 1);
}

void TD_CUDA(median_dim)(struct td_launch *launch)
{
    pick(launch, ((const struct td_median_dim_attrs *)launch->attrs)->dim, MIDDLE, 0);
}

void TD_CUDA(mode)(struct td_launch *launch)
{
    pick(launch, ((const struct td_mode_attrs *)launch->attrs)->dim, MOST, 0);
}

/* nan as x86 converts it. */
static void put_median_of_nothing(const struct td_operand *out)
{
    struct td_number nan = {}, least = {};
    uint64_t value = 0;
    nan.category = TD_FLOATING;
    nan.f = (double)NAN;
    least.category = TD_INTEGER;
    least.i = INT32_MIN;
    td_number_store(out->dtype == TD_I32 ? least : nan, out->dtype, &value);
    struct td_operand number = *out;
    number.data = &value;
    number.immediate = true;
    td_cuda_copy(*out, number);
}

/* All of x is one row. */
void TD_CUDA(median)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    struct sorting s = {};
    s.x = x->data;
    s.dtype = x->dtype;
    s.take = MIDDLE;
    s.taken = 1;
    s.values = launch->out[0].data;
    s.count = td_operand_numel(x);
    s.along = td_loop_beside(x, -1);
    s.x_rows.count = s.out_rows.count = 1;
    if (s.count == 0)
        put_median_of_nothing(&launch->out[0]);
    else
        sort_laid_out(launch, s);
}
