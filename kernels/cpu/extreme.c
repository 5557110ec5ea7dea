/* argmax, argmin, max_dim and min_dim: the greatest or smallest element and where it stands. Where the dimension is
 * dense a row is searched in blocks that stay in L1: first for the best value, by vectors, and only if it beats what
 * came before for its place. Otherwise neighbouring rows are searched together.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"

/* Elements of a block: 16 KiB of f64. */
#define BLOCK 2048
/* Up to here one by one. */
#define SHORT_RUN 32
/* Neighbouring rows searched together: their best values and places stay in L1. */
#define WIDTH 512

/* Pieces from which on the results alone are cut; below it what each is found in is cut too, into chunks. */
#define FEW_PIECES 16
/* Results of chunks, waiting to be compared. */
#define PARTIALS 2048

/* The search for all results. values is NULL where only the place is wanted. */
struct search {
    int kept_rank, gone_rank;
    int64_t kept_shape[TD_RANK_MAX], kept_stride[TD_RANK_MAX];
    int64_t gone_shape[TD_RANK_MAX], gone_stride[TD_RANK_MAX];
    const void *x;
    void *values;
    int64_t *places;
    bool columns; /* the last kept dimension is the dense one */
    int64_t kept_count, gone_count;
    int64_t pieces; /* a piece is a row, or the columns that are searched together */
    int64_t chunk;  /* elements that each result is searched for in at once */
    int64_t chunks;
    void *chunk_values; /* chunks times all results */
    int64_t *chunk_places;
};

/* The elements of a result that make a chunk: from *first up to the returned one. */
static int64_t chunk_of(const struct search *s, int64_t chunk, int64_t *first)
{
    *first = chunk * s->chunk;
    return s->gone_count - *first < s->chunk ? s->gone_count : *first + s->chunk;
}

#define EXTREME(word) word##_max_f32
#define EXTREME_V td_vector_f32
#define EXTREME_MASK td_mask_i32
#define EXTREME_T float
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_NAN_V(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_f32
#define EXTREME_V td_vector_f32
#define EXTREME_MASK td_mask_i32
#define EXTREME_T float
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_NAN_V(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_f64
#define EXTREME_V td_vector_f64
#define EXTREME_MASK td_mask_i64
#define EXTREME_T double
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_NAN_V(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_f64
#define EXTREME_V td_vector_f64
#define EXTREME_MASK td_mask_i64
#define EXTREME_T double
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_NAN_V(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_i32
#define EXTREME_V td_mask_i32
#define EXTREME_MASK td_mask_i32
#define EXTREME_T int32_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_NAN_V(x) ((x)&0)
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_i32
#define EXTREME_V td_mask_i32
#define EXTREME_MASK td_mask_i32
#define EXTREME_T int32_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_NAN_V(x) ((x)&0)
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_i64
#define EXTREME_V td_mask_i64
#define EXTREME_MASK td_mask_i64
#define EXTREME_T int64_t
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_NAN_V(x) ((x)&0)
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_i64
#define EXTREME_V td_mask_i64
#define EXTREME_MASK td_mask_i64
#define EXTREME_T int64_t
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_NAN_V(x) ((x)&0)
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_bool
#define EXTREME_V td_vector_bool
#define EXTREME_MASK td_vector_bool
#define EXTREME_T uint8_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_NAN_V(x) ((x)&0)
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_bool
#define EXTREME_V td_vector_bool
#define EXTREME_MASK td_vector_bool
#define EXTREME_T uint8_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_NAN_V(x) ((x)&0)
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"

/* How one direction searches one type. */
struct searcher {
    /* Pieces from up to to of one chunk. */
    void (*pieces)(const struct search *s, int64_t chunk, int64_t from, int64_t to);
    /* The best of the chunks, in their order. */
    void (*join)(const struct search *s);
};
#define SEARCHER(word)             \
    {                              \
        pieces_##word, join_##word \
    }
static const struct searcher greatest[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = SEARCHER(max_bool), [TD_I32] = SEARCHER(max_i32), [TD_I64] = SEARCHER(max_i64),
    [TD_F32] = SEARCHER(max_f32),   [TD_F64] = SEARCHER(max_f64),
};
static const struct searcher smallest[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = SEARCHER(min_bool), [TD_I32] = SEARCHER(min_i32), [TD_I64] = SEARCHER(min_i64),
    [TD_F32] = SEARCHER(min_f32),   [TD_F64] = SEARCHER(min_f64),
};

static void add_dim(int *rank, int64_t *shapes, int64_t *strides, int64_t shape, int64_t stride)
{
    int last = *rank - 1;
    if (shape == 1)
        return;
    if (*rank && strides[last] == stride * shape) {
        shapes[last] *= shape;
        strides[last] = stride;
        return;
    }
    shapes[*rank] = shape;
    strides[(*rank)++] = stride;
}

static void cut(struct search *s)
{
    int64_t row = s->kept_rank ? s->kept_shape[s->kept_rank - 1] : 1;
    s->pieces = s->columns ? s->kept_count / row * ((row + WIDTH - 1) / WIDTH) : s->kept_count;
    s->chunk = s->gone_count;
    s->chunks = 1;
    if (s->pieces >= FEW_PIECES || s->kept_count > PARTIALS / 2)
        return;
    int64_t least = (s->gone_count * s->kept_count + PARTIALS - 1) / PARTIALS;
    int64_t work = td_grain(s->kept_count / s->pieces);
    s->chunk = least > work ? least : work;
    s->chunks = (s->gone_count + s->chunk - 1) / s->chunk;
}

struct cut_work {
    struct search s;
    const struct searcher *searcher;
};

/* Items are pieces of one chunk, then those of the next. */
static void search_part(const void *data, int64_t from, int64_t to)
{
    const struct cut_work *work = data;
    for (int64_t pieces = work->s.pieces, end; from < to; from = end) {
        int64_t chunk = from / pieces;
        end = (chunk + 1) * pieces < to ? (chunk + 1) * pieces : to;
        work->searcher->pieces(&work->s, chunk, from - chunk * pieces, end - chunk * pieces);
    }
}

/* dim is INT64_MIN for all of x. */
static void choose(struct td_launch *launch, const struct searcher *by_dtype, int64_t dim, void *values,
                   int64_t *places)
{
    const struct td_operand *x = &launch->in[0];
    struct cut_work work = {.searcher = &by_dtype[x->dtype], .s = {.x = x->data, .values = values, .places = places}};
    struct search *s = &work.s;
    int wrapped = dim == INT64_MIN ? -1 : td_wrap_dim(dim, x->rank);
    s->kept_count = td_operand_numel(&launch->out[0]);
    if (s->kept_count == 0)
        return;
    for (int d = 0; d < x->rank; d++)
        if (wrapped < 0 || d == wrapped)
            add_dim(&s->gone_rank, s->gone_shape, s->gone_stride, x->shape[d], x->stride[d]);
        else
            add_dim(&s->kept_rank, s->kept_shape, s->kept_stride, x->shape[d], x->stride[d]);
    if (s->gone_rank == 0) {
        s->gone_rank = 1;
        s->gone_shape[0] = s->gone_stride[0] = 1;
    }
    s->gone_count = td_operand_numel(x) / s->kept_count;
    s->columns = s->kept_rank && s->gone_rank == 1 && s->kept_stride[s->kept_rank - 1] == 1 && s->gone_stride[0] != 1 &&
                 s->gone_count <= INT32_MAX;
    uint64_t chunk_values[PARTIALS];
    int64_t chunk_places[PARTIALS];
    cut(s);
    s->chunk_values = s->chunks > 1 ? chunk_values : values;
    s->chunk_places = s->chunks > 1 ? chunk_places : places;
    td_parallel(s->pieces * s->chunks, td_grain(s->chunk * (s->kept_count / s->pieces)), 0, search_part, &work);
    if (s->chunks > 1)
        work.searcher->join(s);
}

void TD_CPU(argmax)(struct td_launch *launch)
{
    choose(launch, greatest, ((const struct td_argmax_attrs *)launch->attrs)->dim, NULL, launch->out[0].data);
}

void TD_CPU(argmin)(struct td_launch *launch)
{
    choose(launch, smallest, ((const struct td_argmin_attrs *)launch->attrs)->dim, NULL, launch->out[0].data);
}

void TD_CPU(max_dim)(struct td_launch *launch)
{
    choose(launch, greatest, ((const struct td_max_dim_attrs *)launch->attrs)->dim, launch->out[0].data,
           launch->out[1].data);
}

void TD_CPU(min_dim)(struct td_launch *launch)
{
    choose(launch, smallest, ((const struct td_min_dim_attrs *)launch->attrs)->dim, launch->out[0].data,
           launch->out[1].data);
}
