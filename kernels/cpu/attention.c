/* attention and its gradients, a tile of scores at a time: queries by rows, keys by columns. Going on to the next keys,
 * a row's sum and result are scaled down as its maximum rises (Milakov and Gimelshein, Dao and others), so that no
 * row of scores need be there at once; backwards the scores are computed again. Tiles are cut by sizes alone, and each
 * element's terms come in the order of tiles, whoever does them. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"
#include "protocol/shape_attention.h"
#include "protocol/ops.h"

/* Of a tile of scores: what BLAS goes through quickly, and, twice, still lies in L2. */
#define ROWS 128
#define KEYS 512
/* Backwards the keys of a head are done in several spans where there are few heads; each but the first has queries'
 * gradients of its own, which are added up in the end. */
#define SPANS 4
#define ITEMS 16

enum { QUERY, KEY, VALUE, MASK, G, Y, LOGSUMEXP, OPERANDS };

struct attention {
    int64_t rows, keys, width, value_width;
    double scale;
    bool causal;
    int rank; /* of the heads: dimensions before the matrices */
    int64_t heads, shape[TD_RANK_MAX];
    struct td_operand in[OPERANDS]; /* matrices of the first head; logsumexp is one of one row */
    int64_t stride[OPERANDS][TD_RANK_MAX];
    void *out[3];
    int64_t row_tiles;
    /* backwards */
    int64_t spans, span;    /* of each head; their keys */
    void *dots;             /* of g and y, for each row */
    void *partial;          /* queries' gradients of the spans but the first */
    unsigned char *endless; /* whether a tile of rows holds what times 0 is nan */
    atomic_bool *failed;    /* for want of memory */
};

/* A part of one head's scores. */
struct tile {
    int64_t row, rows, key, keys;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The operands of a head. */
static void seek_head(const struct attention *a, int64_t head, struct td_operand *in)
{
    int64_t index[TD_RANK_MAX] = {0}, offset[OPERANDS] = {0};
    const int64_t *stride[OPERANDS];
    for (int k = 0; k < OPERANDS; k++)
        stride[k] = a->stride[k];
    td_seek_index(a->rank, a->shape, head, index, OPERANDS, offset, stride);
    memcpy(in, a->in, sizeof a->in);
    for (int k = 0; k < OPERANDS; k++)
        if (in[k].data)
            in[k].data = (char *)in[k].data + offset[k] * (int64_t)td_dtype_size(in[k].dtype);
}

static struct td_operand dense(uint8_t dtype, void *data, int64_t rows, int64_t columns)
{
    return (struct td_operand){
        .data = data, .dtype = dtype, .rank = 2, .shape = {rows, columns}, .stride = {columns, 1}};
}

static struct td_operand turned(struct td_operand x)
{
    struct td_operand y = x;
    y.shape[0] = x.shape[1], y.shape[1] = x.shape[0];
    y.stride[0] = x.stride[1], y.stride[1] = x.stride[0];
    return y;
}

/* out = a b, or out += a b. */
static void product(struct td_operand a, struct td_operand b, struct td_operand out, bool add)
{
    if (out.shape[0] == 0 || out.shape[1] == 0)
        return;
    if (a.shape[1])
        td_cpu_multiply(&a, &b, &out, add);
    else if (!add)
        memset(out.data, 0, (size_t)(out.shape[0] * out.shape[1]) * td_dtype_size(out.dtype));
}

#define ATTENTION(word) word##_f32
#define ATTENTION_T float
#define ATTENTION_SUM(word) td_##word##_sum_f32
#define ATTENTION_DTYPE TD_F32
#include "kernels/cpu/attention.inc"

#define ATTENTION(word) word##_f64
#define ATTENTION_T double
#define ATTENTION_SUM(word) td_##word##_sum_f64
#define ATTENTION_DTYPE TD_F64
#include "kernels/cpu/attention.inc"

/* One operand as matrices, seen from all heads; a mask, which may have fewer dimensions or sizes of 1, in all of them.
 */
static void add_operand(struct attention *a, int k, const struct td_operand *x, int dims, const int64_t *matrix)
{
    struct td_operand *in = &a->in[k];
    int before = x->rank - dims;
    if (!x->data)
        return;
    *in = (struct td_operand){.data = x->data, .dtype = x->dtype, .rank = 2, .shape = {1, 1}};
    for (int d = 0; d < dims; d++) {
        int to = 2 - dims + d, from = before + d;
        in->shape[to] = matrix[d];
        in->stride[to] = matrix[d] == 1 ? 1 : from >= 0 && x->shape[from] > 1 ? x->stride[from] : 0;
    }
    for (int d = 0; d < a->rank; d++) {
        int from = before - (a->rank - d);
        a->stride[k][d] = from >= 0 && x->shape[from] > 1 ? x->stride[from] : 0;
    }
}

/* What both directions have in common; in begins with query, key and value, like has the dimensions of all heads. */
static void begin(struct attention *a, const struct td_operand *in, const struct td_operand *mask,
                  const struct td_operand *like)
{
    const struct td_operand *query = &in[0], *key = &in[1], *value = &in[2];
    a->rank = like->rank - 2;
    a->heads = 1;
    for (int d = 0; d < a->rank; d++)
        a->heads *= a->shape[d] = like->shape[d];
    a->rows = query->shape[query->rank - 2];
    a->width = query->shape[query->rank - 1];
    a->keys = key->shape[key->rank - 2];
    a->value_width = value->shape[value->rank - 1];
    a->row_tiles = (a->rows + ROWS - 1) / ROWS;
    a->scale = td_attention_scale(a->scale, a->width);
    add_operand(a, QUERY, query, 2, (int64_t[]){a->rows, a->width});
    add_operand(a, KEY, key, 2, (int64_t[]){a->keys, a->width});
    add_operand(a, VALUE, value, 2, (int64_t[]){a->keys, a->value_width});
    add_operand(a, MASK, mask, 2, (int64_t[]){a->rows, a->keys});
}

void TD_CPU(attention)(struct td_launch *launch)
{
    const struct td_attention_attrs *attrs = launch->attrs;
    atomic_bool failed = false;
    struct attention a = {.causal = attrs->is_causal, .scale = attrs->scale, .failed = &failed};
    begin(&a, launch->in, &launch->in[3], &launch->out[0]);
    a.out[0] = launch->out[0].data;
    a.out[1] = launch->out[1].data;
    td_parallel(a.heads * a.row_tiles, 1, 0, launch->in[0].dtype == TD_F32 ? attention_part_f32 : attention_part_f64,
                &a);
    if (atomic_load(&failed))
        launch->fault.code = TD_E_MEMORY;
}

/* Spans of whole tiles, as many as the sizes alone say. */
static void cut_spans(struct attention *a)
{
    int64_t tiles = (a->keys + KEYS - 1) / KEYS, spans = a->heads ? (ITEMS + a->heads - 1) / a->heads : 1;
    spans = least(least(spans, SPANS), tiles ? tiles : 1);
    a->span = (tiles + spans - 1) / spans * KEYS;
    a->spans = a->span ? (a->keys + a->span - 1) / a->span : 1;
}

void TD_CPU(attention_back)(struct td_launch *launch)
{
    const struct td_attention_back_attrs *attrs = launch->attrs;
    const struct td_operand *in = launch->in;
    bool single = in[0].dtype == TD_F32;
    atomic_bool failed = false;
    struct attention a = {.causal = attrs->is_causal, .scale = attrs->scale, .failed = &failed};
    begin(&a, &in[1], &in[6], &launch->out[0]);
    add_operand(&a, G, &in[0], 2, (int64_t[]){a.rows, a.value_width});
    add_operand(&a, Y, &in[4], 2, (int64_t[]){a.rows, a.value_width});
    add_operand(&a, LOGSUMEXP, &in[5], 1, &a.rows);
    for (int k = 0; k < 3; k++)
        a.out[k] = launch->out[k].data;
    cut_spans(&a);
    size_t size = td_dtype_size(in[0].dtype), rows = (size_t)(a.heads * a.rows);
    a.dots = malloc(rows * size + 1);
    a.endless = malloc((size_t)(a.heads * a.row_tiles) + 1);
    a.partial = malloc((size_t)(a.spans - 1) * rows * (size_t)a.width * size + 1);
    if (a.dots && a.endless && a.partial) {
        int64_t tiles = a.heads * a.row_tiles;
        td_parallel(tiles, td_grain(ROWS * (a.width + a.value_width)), 0, single ? rows_part_f32 : rows_part_f64, &a);
        td_parallel(a.heads * a.spans, 1, 0, single ? back_part_f32 : back_part_f64, &a);
        td_parallel(tiles, td_grain(ROWS * a.width), 0, single ? join_part_f32 : join_part_f64, &a);
    }
    if (!a.dots || !a.endless || !a.partial || atomic_load(&failed))
        launch->fault.code = TD_E_MEMORY;
    free(a.dots);
    free(a.endless);
    free(a.partial);
}
