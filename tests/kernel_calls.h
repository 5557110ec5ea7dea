/* Calls drawn at random for test_kernels.c: tensors with guard bytes around them in any layout, and attributes that
 * inference accepts. Included once, by that file. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_KERNEL_CALLS_H
#define TD_TESTS_KERNEL_CALLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "protocol/infer.h"
#include "tests/oracle.h"

#define GUARD 64
#define GUARD_BYTE 0xa5
#define INPUTS 16

static const uint8_t dtypes[] = {TD_BOOL, TD_I64, TD_F32, TD_F64};

/* ---- randomness of the tests themselves ---- */

static uint64_t random_state;

static uint64_t draw(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static int64_t below(int64_t n)
{
    return (int64_t)(draw() % (uint64_t)n);
}
static double between(double low, double high)
{
    return low + (high - low) * (double)(draw() >> 11) * 0x1p-53;
}

/* ---- tensors ---- */

struct tensor {
    struct td_meta meta;
    struct oracle_tensor values; /* what the storage holds, or what the oracle says it should */
    char *memory;                /* with its guards */
    size_t bytes;                /* of the storage */
};

static void values_init(struct oracle_tensor *v, uint8_t dtype, int rank, const int64_t *shape)
{
    *v = (struct oracle_tensor){.dtype = dtype, .rank = rank, .count = 1};
    for (int d = 0; d < rank; d++)
        v->count *= v->shape[d] = shape[d];
    v->real = calloc((size_t)v->count + 1, sizeof *v->real);
    v->integer = calloc((size_t)v->count + 1, sizeof *v->integer);
    v->scale = calloc((size_t)v->count + 1, sizeof *v->scale);
}

static void tensor_deinit(struct tensor *t)
{
    free(t->values.real);
    free(t->values.integer);
    free(t->values.scale);
    free(t->memory);
    *t = (struct tensor){0};
}

static void *element_at(const struct tensor *t, int64_t i)
{
    int64_t at = t->meta.offset;
    for (int d = t->meta.rank - 1; d >= 0; i /= t->meta.shape[d--])
        at += i % t->meta.shape[d] * t->meta.stride[d];
    return t->memory + GUARD + (size_t)at * td_dtype_size(t->meta.dtype);
}

static struct td_number get(const struct tensor *t, int64_t i)
{
    struct td_number n = {.category = td_dtype_category(t->meta.dtype)};
    const void *at = element_at(t, i);
    float f32;
    if (t->meta.dtype == TD_BOOL)
        n.i = *(const uint8_t *)at;
    else if (t->meta.dtype == TD_F32)
        memcpy(&f32, at, sizeof f32), n.f = f32;
    else
        memcpy(&n.i, at, sizeof n.i); /* i64, and f64 by its bytes */
    return n;
}

/* Memory for the meta's extent, all of it guard bytes so far. */
static void allocate(struct tensor *t)
{
    int64_t first, end;
    td_meta_extent(&t->meta, &first, &end);
    t->bytes = (size_t)end * td_dtype_size(t->meta.dtype);
    t->memory = malloc(t->bytes + 2 * GUARD);
    memset(t->memory, GUARD_BYTE, t->bytes + 2 * GUARD);
}

static void store(struct tensor *t, int64_t i, struct td_number n)
{
    td_number_store(n, t->meta.dtype, element_at(t, i));
}

/* Reads the storage back into values: of a repeated tensor the last write stands everywhere. */
static void read_back(struct tensor *t)
{
    for (int64_t i = 0; i < t->values.count; i++) {
        struct td_number n = get(t, i);
        if (n.category == TD_FLOATING)
            t->values.real[i] = n.f;
        else
            t->values.integer[i] = n.i;
    }
}

static void assert_guards(const struct tensor *t)
{
    for (int i = 0; i < GUARD; i++) {
        assert_int_equal((uint8_t)t->memory[i], GUARD_BYTE);
        assert_int_equal((uint8_t)t->memory[GUARD + t->bytes + (size_t)i], GUARD_BYTE);
    }
}

enum layout { ANY_LAYOUT, NO_OVERLAP, DENSE };

/* Dimensions in any order, with gaps, and repeated ones unless the tensor is written to. */
static void draw_layout(struct td_meta *m, enum layout layout)
{
    int order[TD_RANK_MAX];
    int64_t step = layout != DENSE && below(4) == 0 ? 2 : 1;
    bool permuted = layout != DENSE && below(2), gaps = layout != DENSE && below(3) == 0;
    for (int d = 0; d < m->rank; d++)
        order[d] = m->rank - 1 - d;
    for (int d = m->rank - 1; d > 0 && permuted; d--) {
        int other = (int)below(d + 1), swap = order[d];
        order[d] = order[other];
        order[other] = swap;
    }
    for (int k = 0; k < m->rank; k++) {
        int d = order[k];
        m->stride[d] = step;
        step *= (m->shape[d] > 1 ? m->shape[d] : 1) + (gaps ? below(3) : 0);
        if (layout == ANY_LAYOUT && below(8) == 0)
            m->stride[d] = 0;
    }
    m->offset = layout == DENSE ? 0 : below(4);
}

static double draw_real(enum td_tried tried)
{
    switch (tried) {
    case TD_NOTHING:
    case TD_REALS:
        return between(-3, 3);
    case TD_POSITIVE:
        return between(0.01, 6);
    case TD_AWAY:
        return between(0.1, 3) * (below(2) ? 1 : -1);
    case TD_STEPS:
        return (double)below(5) - 2;
    }
    return 0;
}

static void make(struct tensor *t, uint8_t dtype, int rank, const int64_t *shape, enum td_tried tried,
                 enum layout layout)
{
    *t = (struct tensor){.meta.dtype = dtype, .meta.rank = (uint8_t)rank};
    memcpy(t->meta.shape, shape, sizeof t->meta.shape);
    draw_layout(&t->meta, layout);
    allocate(t);
    values_init(&t->values, dtype, rank, shape);
    for (int64_t i = 0; i < t->values.count; i++) {
        struct td_number n = {.category = td_dtype_category(dtype)};
        if (n.category == TD_FLOATING)
            n.f = draw_real(tried);
        else
            n.i = dtype == TD_BOOL ? below(2) : below(16) ? below(21) - 10 : (int64_t)draw();
        store(t, i, n);
    }
    read_back(t);
}

/* ---- calls ---- */

struct call {
    const struct td_op *op;
    int in_count, params;
    uint16_t lists[TD_PARAMS_MAX];
    struct tensor in[INPUTS], grads[INPUTS];
    int64_t attrs[TD_ATTR_SLOTS];
    struct td_inference inference;
};

/* Small in most dimensions; now and then one that fills vectors, blocks and chunks. */
static int draw_shape(int64_t *shape, int rank_min, int rank_max)
{
    int rank = rank_min + (int)below(rank_max - rank_min + 1);
    memset(shape, 0, TD_RANK_MAX * sizeof *shape);
    for (int d = 0; d < rank; d++)
        shape[d] = below(12) ? 1 + below(6) : below(3) ? 1 : 0;
    if (rank && below(3) == 0)
        shape[below(rank)] = 1 + below(below(4) ? 80 : 9000 / (1 << 2 * (rank - 1)));
    return rank;
}

/* Takes dimensions away in front and makes others 1, as broadcasting allows. */
static int fewer_dims(int rank, const int64_t *shape, int64_t *to)
{
    int gone = below(3) ? 0 : (int)below(rank + 1);
    memset(to, 0, TD_RANK_MAX * sizeof *to);
    for (int d = gone; d < rank; d++)
        to[d - gone] = below(5) ? shape[d] : 1;
    return rank - gone;
}

static struct tensor *next(struct call *c)
{
    assert_true(c->in_count < INPUTS);
    return &c->in[c->in_count++];
}

static void draw_index(struct call *c, int rank, const int64_t *shape, int64_t size)
{
    struct tensor *t = next(c);
    make(t, TD_I64, rank, shape, TD_REALS, NO_OVERLAP);
    bool bad = below(10) == 0 || size == 0;
    for (int64_t i = 0; i < t->values.count; i++) {
        int64_t index = size ? below(size) : 0;
        if (bad && below(3) == 0)
            index = below(2) ? -1 - below(5) : size + below(5);
        store(t, i, (struct td_number){.category = TD_INTEGER, .i = index});
    }
    read_back(t);
}

static void draw_dims(struct td_dims *dims, int rank)
{
    dims->count = below(3) ? 0 : -1;
    uint64_t mask = draw();
    for (int d = rank - 1; d >= 0 && dims->count >= 0; d--)
        if (mask >> d & 1)
            dims->v[dims->count++] = below(2) ? d : d - rank;
}

/* A window in content of the given size; without overlap unless allowed. */
static void draw_window(struct td_strided_read_attrs *a, int64_t size, bool overlaps)
{
    struct td_meta m = {0};
    int64_t first, end;
    do {
        m.rank = (uint8_t)draw_shape(m.shape, 0, 3);
        draw_layout(&m, overlaps ? ANY_LAYOUT : NO_OVERLAP);
        td_meta_extent(&m, &first, &end);
    } while (end > size && td_meta_numel(&m));
    a->shape.count = a->stride.count = m.rank;
    memcpy(a->shape.v, m.shape, sizeof a->shape.v);
    memcpy(a->stride.v, m.stride, sizeof a->stride.v);
    a->offset = m.offset;
}

static void draw_created(struct call *c, uint8_t dtype)
{
    struct td_zeros_attrs *a = (void *)c->attrs;
    a->shape.count = draw_shape(a->shape.v, 0, 4);
    a->dtype = dtype;
    if (c->op->id == TD_OP_full) {
        struct td_full_attrs *full = (void *)c->attrs;
        full->value = (struct td_number){.category = TD_FLOATING, .f = between(-4, 4)};
        if (below(2))
            full->value = (struct td_number){.category = TD_INTEGER, .i = (int64_t)draw()};
        full->dtype = dtype;
    } else if (c->op->id == TD_OP_arange) {
        struct td_arange_attrs *range = (void *)c->attrs;
        int64_t by = below(2) ? 1 + below(7) : -1 - below(7), start = below(2000) - 1000;
        range->start = (struct td_number){.category = TD_INTEGER, .i = start};
        range->step = (struct td_number){.category = TD_INTEGER, .i = by};
        range->end = (struct td_number){.category = TD_INTEGER, .i = start + by * below(300)};
        if (below(2)) {
            range->step =
                (struct td_number){.category = TD_FLOATING, .f = (double)by * (dtype == TD_I64 ? 1.25 : 0.25)};
            range->end.i = start + by * below(50);
        }
        range->dtype = dtype;
    } else if (c->op->id == TD_OP_randint) {
        struct td_randint_attrs *integers = (void *)c->attrs;
        struct td_dims shape = a->shape;
        *integers = (struct td_randint_attrs){.low = -3, .high = 9, .shape = shape, .dtype = dtype};
    }
}

static void draw_elementwise(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], part[TD_RANK_MAX];
    bool writes = c->op->kind == TD_INPLACE;
    int rank = draw_shape(shape, 0, 4), which = 0;
    int whole = 0; /* the operand that keeps the full shape */
    for (const struct td_param *p = c->op->params; td_param_is_tensor(p->kind); p++, which++) {
        int part_rank = which == whole ? rank : fewer_dims(rank, shape, part);
        if (c->op->id == TD_OP_fill_ && which == 1)
            part_rank = 0;
        make(next(c), p->kind == TD_PARAM_MASK ? TD_BOOL : dtype, part_rank, which == whole ? shape : part,
             c->op->tried, writes && which == 0 ? NO_OVERLAP : ANY_LAYOUT);
    }
    if (c->op->id == TD_OP_to)
        ((struct td_to_attrs *)(void *)c->attrs)->dtype = dtypes[below(4)];
}

static void draw_linear(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX] = {0}, size[3];
    int rank;
    for (int k = 0; k < 3; k++)
        size[k] = below(4) ? 1 + below(below(3) ? 6 : 40) : below(6) ? 1 : 0;
    switch (c->op->id) {
    case TD_OP_matmul:
        make(next(c), dtype, 2, (int64_t[TD_RANK_MAX]){size[0], size[1]}, TD_REALS, ANY_LAYOUT);
        make(next(c), dtype, 2, (int64_t[TD_RANK_MAX]){size[1], size[2]}, TD_REALS, ANY_LAYOUT);
        return;
    case TD_OP_log_softmax:
        rank = draw_shape(shape, 0, 4);
        make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
        c->attrs[0] = rank ? below(rank) - (below(2) ? rank : 0) : -below(2);
        return;
    case TD_OP_cross_entropy:
        make(next(c), dtype, 2, (int64_t[TD_RANK_MAX]){size[0] * 20, size[1]}, TD_REALS, ANY_LAYOUT);
        draw_index(c, 1, (int64_t[TD_RANK_MAX]){size[0] * 20}, size[1]);
        c->attrs[0] = below(3);
        return;
    default: /* reductions, and mse_loss */
        rank = draw_shape(shape, 0, 4);
        for (int d = 0; d < rank && c->op->id == TD_OP_max; d++)
            shape[d] += shape[d] == 0;
        make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
        if (c->op->id == TD_OP_mse_loss) {
            int64_t part[TD_RANK_MAX];
            make(next(c), dtype, fewer_dims(rank, shape, part), part, TD_REALS, ANY_LAYOUT);
            c->attrs[0] = below(3);
            return;
        }
        struct td_sum_attrs *a = (void *)c->attrs;
        draw_dims(&a->dims, rank);
        a->keepdim = below(2);
    }
}

static void draw_indexed(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], index[TD_RANK_MAX];
    bool embedding = c->op->id == TD_OP_embedding;
    int rank = embedding ? draw_shape(shape, 2, 2) : draw_shape(shape, 0, 3), dim = rank ? (int)below(rank) : 0;
    make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
    int index_rank = embedding ? draw_shape(index, 0, 2) : draw_shape(index, 0, 1);
    if (rank == 0)
        index_rank = 0;
    draw_index(c, index_rank, index, rank == 0 ? 1 : embedding ? shape[0] : shape[dim]);
    if (embedding)
        return;
    c->attrs[0] = below(2) ? dim - (rank ? rank : 1) : dim;
    if (rank)
        shape[dim] = c->in[1].values.count;
    if (c->op->id == TD_OP_index_add)
        make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
}

static void draw_strided(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], part[TD_RANK_MAX];
    struct td_strided_read_attrs *a = (void *)c->attrs;
    int rank = draw_shape(shape, 1, 3);
    make(next(c), dtype, rank, shape, TD_REALS, DENSE);
    draw_window(a, c->in[0].values.count, c->op->id != TD_OP_strided_write);
    if (c->op->id == TD_OP_strided_read)
        return;
    rank = fewer_dims((int)a->shape.count, a->shape.v, part);
    make(next(c), dtype, rank, part, TD_REALS, ANY_LAYOUT);
}

static void draw_step(struct call *c, uint8_t dtype)
{
    int64_t shapes[4][TD_RANK_MAX] = {0};
    int ranks[4], lists = c->op->id == TD_OP_adam_step_ ? 3 : below(2) ? 2 : 1;
    c->params = (int)below(4);
    for (int k = 0; k < c->params; k++) {
        ranks[k] = draw_shape(shapes[k], 0, 3);
        make(next(c), dtype, ranks[k], shapes[k], TD_REALS, NO_OVERLAP);
    }
    for (int list = 1; list < lists; list++)
        for (int k = 0; k < c->params; k++)
            make(next(c), dtype, ranks[k], shapes[k], list == 2 ? TD_POSITIVE : TD_REALS, DENSE);
    for (int list = 0; list < lists; list++)
        c->lists[list] = (uint16_t)c->params;
    for (int k = 0; k < c->params; k++) {
        make(&c->grads[k], dtype, ranks[k], shapes[k], TD_REALS, DENSE);
        if (below(4) == 0) {
            tensor_deinit(&c->grads[k]);
            c->grads[k].memory = NULL;
        }
    }
    struct tensor *counts = next(c);
    make(counts, TD_I64, 1, (int64_t[TD_RANK_MAX]){c->params}, TD_REALS, DENSE);
    for (int k = 0; k < c->params; k++)
        store(counts, k, (struct td_number){.category = TD_INTEGER, .i = below(4)});
    read_back(counts);
    double *rates = (double *)(void *)c->attrs;
    rates[0] = 0.1;
    if (c->op->id == TD_OP_sgd_step_) {
        rates[1] = lists > 1 && below(3) ? 0.9 : 0;
        rates[2] = below(2) ? 0.25 : 0;
        rates[3] = below(2) ? 0.0625 : 0;
        c->attrs[4] = below(2) && rates[1] != 0;
    } else {
        rates[4] = below(2) ? 0.0625 : 0;
        c->attrs[5] = below(2);
    }
}

static void draw_call(struct call *c, const struct td_op *op, uint8_t dtype)
{
    static const struct {
        const char *group;
        void (*draw)(struct call *, uint8_t);
    } ways[] = {{"create", draw_created},      {"random", draw_created},     {"copy", draw_elementwise},
                {"unary", draw_elementwise},   {"binary", draw_elementwise}, {"compare", draw_elementwise},
                {"ternary", draw_elementwise}, {"reduce", draw_linear},      {"linalg", draw_linear},
                {"softmax", draw_linear},      {"loss", draw_linear},        {"index", draw_indexed},
                {"step", draw_step},           {"strided", draw_strided}};
    *c = (struct call){.op = op};
    td_op_defaults(op, c->attrs);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        if (strcmp(ways[w].group, op->group))
            continue;
        ways[w].draw(c, dtype);
        return;
    }
    fail_msg("no way to draw a call of group %s", op->group);
}

#endif
