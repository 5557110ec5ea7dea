/* sum, mean, max and min over any dimensions. Rows are read as they lie: where the kept elements are neighbours many
 * results are built at once (columns), otherwise one after the other (rows); the order of additions is the same.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"
#include "protocol/ops.h"

/* With fewer elements than this to a result, building many at once wins whatever the strides. */
#define FEW 32

/* Dimensions of the input, row by row, merged where they lie densely inside each other. */
struct dims {
    int rank;
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
    int64_t count; /* positions of all */
};

/* Bytes of neighbouring results that are built together where more would leave threads without any. */
#define PIECE_BYTES 1024
/* Pieces from which on the results alone are cut; below it what each is made of is cut too, into chunks. */
#define FEW_PIECES 16
/* Results of chunks, waiting to be joined. */
#define PARTIALS 4096

struct reduction {
    struct dims kept, gone;
    const char *from;
    char *out;
    bool columns;
    int64_t pieces; /* a piece is a row, or width columns that are done together */
    int64_t width;
    int64_t chunk; /* elements of each result that are reduced together: a power of two of blocks, or all */
    int64_t chunks;
    char *partials; /* chunks times all results */
};

static void add_dim(struct dims *dims, int64_t shape, int64_t stride)
{
    dims->count *= shape;
    if (shape == 1)
        return;
    int last = dims->rank - 1;
    if (dims->rank && dims->stride[last] == stride * shape) {
        dims->shape[last] *= shape;
        dims->stride[last] = stride;
        return;
    }
    dims->shape[dims->rank] = shape;
    dims->stride[dims->rank++] = stride;
}

static void plan(struct reduction *r, const struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    uint32_t mask = td_reduced_dims(&((const struct td_sum_attrs *)launch->attrs)->dims, x->rank);
    *r = (struct reduction){.kept.count = 1, .gone.count = 1, .from = x->data, .out = launch->out[0].data};
    for (int d = 0; d < x->rank; d++)
        add_dim(mask & 1u << d ? &r->gone : &r->kept, x->shape[d], x->stride[d]);
    struct dims *kept = &r->kept, *gone = &r->gone;
    if (gone->count == 1) { /* each result is one element: a run of one */
        gone->rank = 1;
        gone->shape[0] = gone->stride[0] = 1;
    }
    if (kept->rank)
        r->columns = gone->count < FEW || kept->stride[kept->rank - 1] < gone->stride[gone->rank - 1];
    r->columns &= launch->out[0].dtype == x->dtype; /* what is true is counted row by row */
}

/* Cuts the work. Chunks are whole subtrees of the order of additions (lanes.h), so that the results of chunks joined
 * in their order are those of one pass. size: of an element of the output. */
static void cut(struct reduction *r, int64_t size)
{
    struct dims *kept = &r->kept;
    int64_t row = kept->rank ? kept->shape[kept->rank - 1] : 1;
    bool whole = kept->count > PARTIALS / 2; /* then threads find nothing but pieces */
    r->width = TD_COLUMN_BYTES / size;
    while (whole && r->width * size > PIECE_BYTES && kept->count / r->width < 2 * td_threads())
        r->width /= 2;
    r->pieces = r->columns ? kept->count / row * ((row + r->width - 1) / r->width) : kept->count;
    r->chunk = r->gone.count;
    r->chunks = 1;
    if (r->pieces >= FEW_PIECES || whole)
        return;
    int64_t chunk = TD_BLOCK, count;
    while (count = (r->gone.count + chunk - 1) / chunk,
           count * kept->count > PARTIALS || (count > 2 && chunk * kept->count / r->pieces < TD_GRAIN))
        chunk *= 2;
    r->chunk = chunk;
    r->chunks = count;
}

#define REDUCE(word) td_##word##_sum_f32
#define REDUCE_T float
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_sum_f64
#define REDUCE_T double
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_sum_i64
#define REDUCE_T uint64_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_f32
#define REDUCE_T float
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_f64
#define REDUCE_T double
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_i32
#define REDUCE_T int32_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_i64
#define REDUCE_T int64_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_bool
#define REDUCE_T uint8_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_f32
#define REDUCE_T float
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_f64
#define REDUCE_T double
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_i32
#define REDUCE_T int32_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_i64
#define REDUCE_T int64_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_bool
#define REDUCE_T uint8_t
#include "kernels/cpu/reduce.inc"

/* Counts what is true; integers add up in any order. */
static void count_true(const struct reduction *r, int64_t chunk, int64_t from, int64_t to)
{
    const uint8_t *x = (const uint8_t *)r->from;
    int64_t *out = (int64_t *)(void *)r->partials + chunk * r->kept.count, index[TD_RANK_MAX] = {0}, offset = 0;
    int64_t first = chunk * r->chunk, end = r->gone.count - first < r->chunk ? r->gone.count : first + r->chunk;
    const int64_t *kept_stride = r->kept.stride, *gone_stride = r->gone.stride;
    struct td_walk w;
    td_seek_index(r->kept.rank, r->kept.shape, from, index, 1, &offset, &kept_stride);
    for (int64_t result = from; result < to; result++) {
        int64_t sum = 0;
        for (td_walk_start(&w, r->gone.rank, r->gone.shape, 1, &gone_stride, first, end); w.run; td_walk_next(&w))
            for (int64_t i = 0; i < w.run; i++)
                sum += x[offset + w.at[0] + i * w.step[0]] != 0;
        out[result] = sum;
        td_step_index(r->kept.rank, r->kept.shape, index, 1, &offset, &kept_stride);
    }
}

/* How one operation reduces one type. */
struct reducer {
    /* Pieces from up to to of one chunk. */
    void (*pieces)(const struct reduction *r, int64_t chunk, int64_t from, int64_t to);
    /* Results of chunks into those of all. */
    void (*all)(const struct reduction *r);
};

struct cut_work {
    struct reduction r;
    const struct reducer *reducer;
};

/* Items are pieces of one chunk, then those of the next. */
static void reduce_part(const void *data, int64_t from, int64_t to)
{
    const struct cut_work *work = data;
    for (int64_t pieces = work->r.pieces, end; from < to; from = end) {
        int64_t chunk = from / pieces;
        end = (chunk + 1) * pieces < to ? (chunk + 1) * pieces : to;
        work->reducer->pieces(&work->r, chunk, from - chunk * pieces, end - chunk * pieces);
    }
}

static void reduce(struct td_launch *launch, const struct reducer *by_dtype)
{
    struct cut_work work = {.reducer = &by_dtype[launch->in[0].dtype]};
    struct reduction *r = &work.r;
    size_t size = td_dtype_size(launch->out[0].dtype);
    plan(r, launch);
    if (r->kept.count == 0)
        return;
    if (r->gone.count == 0) {
        memset(r->out, 0, (size_t)r->kept.count * size);
        return;
    }
    uint64_t partials[PARTIALS];
    cut(r, (int64_t)size);
    r->partials = r->chunks > 1 ? (char *)partials : r->out;
    td_parallel(r->pieces * r->chunks, td_grain(r->chunk * (r->kept.count / r->pieces)), 0, reduce_part, &work);
    if (r->chunks > 1)
        work.reducer->all(r);
}

#define REDUCER(word)                   \
    {                                   \
        td_pieces_##word, td_all_##word \
    }
static const struct reducer sums[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = {count_true, td_all_sum_i64},
    [TD_I64] = REDUCER(sum_i64),
    [TD_F32] = REDUCER(sum_f32),
    [TD_F64] = REDUCER(sum_f64),
};
static const struct reducer maxima[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = REDUCER(max_bool), [TD_I32] = REDUCER(max_i32), [TD_I64] = REDUCER(max_i64),
    [TD_F32] = REDUCER(max_f32),   [TD_F64] = REDUCER(max_f64),
};
static const struct reducer minima[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = REDUCER(min_bool), [TD_I32] = REDUCER(min_i32), [TD_I64] = REDUCER(min_i64),
    [TD_F32] = REDUCER(min_f32),   [TD_F64] = REDUCER(min_f64),
};

void TD_CPU(sum)(struct td_launch *launch)
{
    reduce(launch, sums);
}

void TD_CPU(max)(struct td_launch *launch)
{
    reduce(launch, maxima);
}

void TD_CPU(min)(struct td_launch *launch)
{
    reduce(launch, minima);
}

/* 0 / 0 makes the mean of nothing nan. */
void TD_CPU(mean)(struct td_launch *launch)
{
    int64_t results = td_operand_numel(&launch->out[0]), count = 1;
    const struct td_operand *x = &launch->in[0];
    uint32_t mask = td_reduced_dims(&((const struct td_mean_attrs *)launch->attrs)->dims, x->rank);
    for (int d = 0; d < x->rank; d++)
        count *= mask & 1u << d ? x->shape[d] : 1;
    reduce(launch, sums);
    float *floats = launch->out[0].data;
    double *doubles = launch->out[0].data;
    for (int64_t i = 0; i < results && launch->out[0].dtype == TD_F32; i++)
        floats[i] /= (float)count;
    for (int64_t i = 0; i < results && launch->out[0].dtype == TD_F64; i++)
        doubles[i] /= (double)count;
}
