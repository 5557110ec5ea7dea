/* log_softmax and softmax, and the row statistics that cross_entropy shares. x - max - log(sum(exp(x - max))): no
 * exponential is above 1. The sum is taken in the order of lanes.h. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"
#include "protocol/ops.h"

/* Exponentials made at once; a multiple of the lanes and small beside L1. */
#define CHUNK 256
/* Elements of a row that is not worth a loop of its own. */
#define SHORT_ROW 32
/* Of neighbouring short rows, turned together: the turned block stays in L1. */
#define SHORT_BYTES 1024
/* Long columns are copied into a tile that stays in L2: they are read three times, and from where they are those of a
 * row of 2^n bytes would push each other out. Narrower tiles cost more than reading again does, and columns that would
 * let it be wider are in L2 as they are. Processors without AVX-512 have half of this L2 or less: there whole rows are
 * faster, 1.7 times the exponentials themselves instead of 3. */
#ifdef __AVX512F__
#define TILE_BYTES (512 << 10)
#else
#define TILE_BYTES 0
#endif
#define TILE_LEAST 128
#define TILE_MOST 512
/* Rows that lie apart are asked for this many before they are due, if tiled and if not. */
#define TILE_ROWS_AHEAD 64
#define PART_ROWS_AHEAD 8
/* Exponentials of columns made at once: a part of L1. */
#define CHUNK_BYTES 16384

struct softmax {
    int64_t count, x_step, out_step;   /* of the dimension itself */
    int64_t inner, x_inner, out_inner; /* rows beside each other, and the way from one to the next; not BY_ROW */
    int64_t width;                     /* of them that are done together */
    bool tiled;                        /* and copied */
    enum { BY_ROW, BY_COLUMNS, BY_SHORT_ROWS } way;
    bool exponential; /* softmax itself, not its logarithm */
    /* The other dimensions: a piece is a row, or those done together at one of their positions. */
    int rank;
    int64_t shape[TD_RANK_MAX], x_stride[TD_RANK_MAX], out_stride[TD_RANK_MAX];
    int64_t across; /* pieces at one position */
    const struct td_operand *x, *out;
};

#define SOFTMAX(word) word##_f32
#define SOFTMAX_SUM(word) td_##word##_sum_f32
#define SOFTMAX_V td_vector_f32
#define SOFTMAX_MASK td_mask_i32
#define SOFTMAX_T float
#include "kernels/cpu/softmax.inc"

#define SOFTMAX(word) word##_f64
#define SOFTMAX_SUM(word) td_##word##_sum_f64
#define SOFTMAX_V td_vector_f64
#define SOFTMAX_MASK td_mask_i64
#define SOFTMAX_T double
#include "kernels/cpu/softmax.inc"

static void softmax_part(const void *data, int64_t from, int64_t to)
{
    const struct softmax *s = data;
    int64_t index[TD_RANK_MAX] = {0}, offset[2] = {0}, width = s->width;
    const int64_t *stride[] = {s->x_stride, s->out_stride};
    int64_t piece = from % s->across;
    void *tile =
        s->tiled ? malloc((size_t)(s->count * width) * td_dtype_size(s->x->dtype)) : NULL; /* goes without, too */
    td_seek_index(s->rank, s->shape, from / s->across, index, 2, offset, stride);
    for (; from < to; from++) {
        int64_t x = offset[0] + piece * width * s->x_inner, out = offset[1] + piece * width * s->out_inner;
        int64_t left = s->inner - piece * width;
        if (s->x->dtype == TD_F32)
            softmax_f32(s, (const float *)s->x->data + x, (float *)s->out->data + out, tile,
                        left < width ? left : width);
        else
            softmax_f64(s, (const double *)s->x->data + x, (double *)s->out->data + out, tile,
                        left < width ? left : width);
        if (++piece < s->across)
            continue;
        piece = 0;
        td_step_index(s->rank, s->shape, index, 2, offset, stride);
    }
    free(tile);
}

static void softmax(struct td_launch *launch, bool exponential)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct softmax s = {.x_step = 1, .out_step = 1, .count = 1, .exponential = exponential};
    int dim = td_wrap_dim(((const struct td_log_softmax_attrs *)launch->attrs)->dim, x->rank);
    int64_t numel = td_operand_numel(out), size = (int64_t)td_dtype_size(x->dtype);
    if (numel == 0)
        return;
    if (x->rank) {
        s.count = x->shape[dim];
        s.x_step = x->stride[dim];
        s.out_step = out->stride[dim];
    }
    /* The last other dimension goes by neighbours where the dimension itself is not the dense one. */
    for (int d = 0; d < x->rank; d++) {
        if (d == dim || x->shape[d] == 1)
            continue;
        s.shape[s.rank] = x->shape[d];
        s.x_stride[s.rank] = x->stride[d];
        s.out_stride[s.rank++] = out->stride[d];
    }
    int last = s.rank - 1;
    if (s.rank && s.x_stride[last] == 1 && s.out_stride[last] == 1 && s.x_step != 1)
        s.way = BY_COLUMNS;
    else if (s.rank && s.x_step == 1 && s.out_step == 1 && s.count <= SHORT_ROW && s.shape[last] > 1)
        s.way = BY_SHORT_ROWS;
    s.inner = s.across = 1;
    if (s.way != BY_ROW) {
        s.inner = s.shape[last];
        s.x_inner = s.x_stride[last];
        s.out_inner = s.out_stride[last];
        s.rank = last;
        s.width = (s.way == BY_COLUMNS ? TD_COLUMN_BYTES : SHORT_BYTES) / size;
        /* Parts of rows are read more slowly than whole ones: there are no more of them than threads need. */
        while (s.width * size > SHORT_BYTES && numel / s.count / s.width < td_threads())
            s.width /= 2;
        int64_t line = 64 / size, fits = TILE_BYTES / (s.count * size) / line * line;
        s.tiled = s.way == BY_COLUMNS && fits * size >= TILE_LEAST && fits * size <= TILE_MOST &&
                  numel * size > 2 * TILE_BYTES;
        if (s.tiled && fits < s.width)
            s.width = fits;
        s.across = (s.inner + s.width - 1) / s.width;
    }
    s.x = x;
    s.out = out;
    int64_t pieces = numel / s.count / s.inner * s.across;
    td_parallel(pieces, td_grain(numel / pieces), 0, softmax_part, &s);
}

void TD_CPU(log_softmax)(struct td_launch *launch)
{
    softmax(launch, false);
}

void TD_CPU(softmax)(struct td_launch *launch)
{
    softmax(launch, true);
}
