/* Calls drawn at random for test_kernels.c: tensors, and attributes that inference accepts. Included once, by that
 * file. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_KERNEL_CALLS_H
#define TD_TESTS_KERNEL_CALLS_H

#include <stdio.h>
#include <string.h>

#include "protocol/infer.h"
#include "tests/kernel_tensors.h"

#define INPUTS 16

struct call {
    const struct td_op *op;
    int in_count, params;
    uint16_t lists[TD_PARAMS_MAX];
    struct tensor in[INPUTS], grads[INPUTS];
    int64_t attrs[TD_ATTR_SLOTS];
    int64_t size; /* the value of a SIZE */
    struct td_inference inference;
};

/* Whether tensors have some 50000 elements in odd shapes. */
static bool draws_large;

static int draw_large_shape(int64_t *shape, int rank_min, int rank_max)
{
    static const int64_t shapes[][4] = {{50021},      {3, 17011},   {257, 199},     {5003, 11},
                                        {37, 37, 37}, {2, 67, 373}, {7, 11, 13, 51}};
    int rank;
    do {
        const int64_t *drawn = shapes[below(sizeof shapes / sizeof *shapes)];
        memset(shape, 0, TD_RANK_MAX * sizeof *shape);
        memcpy(shape, drawn, sizeof *shapes);
        for (rank = 0; rank < 4 && shape[rank]; rank++)
            ;
    } while (rank < rank_min || rank > rank_max);
    return rank;
}

/* Small in most dimensions; now and then one that fills vectors, blocks and chunks. */
static int draw_shape(int64_t *shape, int rank_min, int rank_max)
{
    if (draws_large && rank_max)
        return draw_large_shape(shape, rank_min, rank_max);
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
                (struct td_number){.category = TD_FLOATING, .f = (double)by * (dtype <= TD_I64 ? 1.25 : 0.25)};
            range->end.i = start + by * below(50);
        }
        range->dtype = dtype;
    } else if (c->op->id == TD_OP_linspace) {
        struct td_linspace_attrs *line = (void *)c->attrs;
        *line = (struct td_linspace_attrs){.steps = below(8) ? below(300) : below(3), .dtype = dtype};
        line->start = (struct td_number){.category = TD_FLOATING, .f = between(-9, 9)};
        line->end = (struct td_number){.category = TD_INTEGER, .i = below(19) - 9};
    } else if (c->op->id == TD_OP_eye) {
        struct td_eye_attrs *eye = (void *)c->attrs;
        *eye = (struct td_eye_attrs){.n = below(20), .m = below(20) - 1, .dtype = dtype};
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
    int whole = 0;                                            /* the operand that keeps the full shape */
    bool rates = c->op->id == TD_OP_poisson && below(4) == 0; /* some of which it refuses */
    for (const struct td_param *p = c->op->params; td_param_is_tensor(p->kind); p++, which++) {
        int part_rank = which == whole ? rank : fewer_dims(rank, shape, part);
        if ((c->op->id == TD_OP_fill_ || c->op->id == TD_OP_full_like) && which == 1)
            part_rank = 0;
        make(next(c), p->kind == TD_PARAM_MASK ? TD_BOOL : dtype, part_rank, which == whole ? shape : part,
             rates ? TD_AWAY : c->op->tried, writes && which == 0 ? NO_OVERLAP : ANY_LAYOUT);
    }
    double *reals = (double *)(void *)c->attrs;
    if (c->op->id == TD_OP_to)
        ((struct td_to_attrs *)(void *)c->attrs)->dtype = dtypes[below(sizeof dtypes)];
    if (c->op->id == TD_OP_gelu)
        c->attrs[0] = below(2);
    if (c->op->id == TD_OP_clamp && below(4))
        reals[0] = below(2) ? between(-2, 2) : (double)(below(9) - 4);
    if (c->op->id == TD_OP_clamp && below(4)) /* the upper bound wins where they cross */
        reals[1] = below(2) ? between(-1, 3) : (double)(below(9) - 2);
    if (c->op->id == TD_OP_dropout) {
        bool draws = td_dtype_category(dtype) == TD_FLOATING;
        reals[0] = below(2) ? 0 : draws ? between(0, 1) : 1;
        c->attrs[1] = below(2);
    }
    int64_t *slot = c->attrs; /* quarters, which every type holds */
    for (const struct td_param *p = c->op->params; p->kind; slot += td_param_slots(p++->kind))
        if (p->kind == TD_PARAM_REAL && c->op->id >= TD_OP_floor && below(2))
            reals[slot - c->attrs] = (double)(1 + below(11)) / 4;
}

static bool is_one_of(const struct td_op *op, const char *names)
{
    const char *at = strstr(names, op->name);
    size_t length = strlen(op->name);
    for (; at; at = strstr(at + 1, op->name))
        if ((at == names || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
            return true;
    return false;
}

static int64_t draw_dim(int rank)
{
    return rank ? below(rank) - (below(2) ? rank : 0) : -below(2);
}

/* Vectors, matrices and batches that broadcast. */
static void draw_product(struct call *c, uint8_t dtype, const int64_t *size)
{
    int64_t batch[TD_RANK_MAX] = {0}, part[TD_RANK_MAX] = {0};
    bool plain = below(3) == 0;
    int rank = plain ? 0 : (int)below(4), whole = (int)below(2);
    for (int d = 0; d < rank; d++)
        batch[d] = below(12) ? 1 + below(4) : 0;
    for (int k = 0; k < 2; k++) {
        int part_rank = k == whole ? rank : fewer_dims(rank, batch, part);
        int64_t *shape = k == whole ? batch : part, matrix[TD_RANK_MAX] = {0};
        memcpy(matrix, shape, (size_t)part_rank * sizeof *shape);
        bool vector = part_rank == 0 && !plain && below(2);
        if (!vector || k == 0)
            matrix[part_rank++] = vector ? size[1] : size[k];
        if (!vector || k == 1)
            matrix[part_rank++] = size[k + 1];
        if (vector)
            matrix[0] = size[1];
        make(next(c), dtype, part_rank, matrix, TD_REALS, ANY_LAYOUT);
    }
}

#include "tests/kernel_matrices.h"

/* One tensor without empty dimensions, many of whose elements may be equal. */
static void draw_choice(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX];
    int rank = draw_shape(shape, 0, 4);
    for (int d = 0; d < rank; d++)
        shape[d] += shape[d] == 0;
    make(next(c), dtype, rank, shape, below(2) ? TD_STEPS : TD_REALS, ANY_LAYOUT);
    if (is_one_of(c->op, "max min")) {
        struct td_max_attrs *a = (void *)c->attrs;
        draw_dims(&a->dims, rank);
        a->keepdim = below(2);
        return;
    }
    c->attrs[0] = is_one_of(c->op, "argmax argmin") && below(3) == 0 ? INT64_MIN : draw_dim(rank);
    c->attrs[1] = below(2);
}

static void draw_linear(struct call *c, uint8_t dtype)
{
    static const double powers[] = {0, 1, 2, INFINITY, -INFINITY, 3, 0.5, -1};
    int64_t shape[TD_RANK_MAX] = {0}, part[TD_RANK_MAX], size[3];
    int rank = draw_shape(shape, 0, 4);
    for (int k = 0; k < 3; k++)
        size[k] = draws_large ? 250 + below(150) : below(4) ? 1 + below(below(3) ? 6 : 40) : below(6) ? 1 : 0;
    if (is_one_of(c->op, "qr svdvals svd")) {
        draw_rectangles(c, dtype);
    } else if (!strcmp(c->op->group, "linalg") && c->op->id != TD_OP_matmul && c->op->id != TD_OP_linear) {
        draw_matrices(c, dtype);
    } else if (c->op->id == TD_OP_matmul) {
        draw_product(c, dtype, size);
    } else if (c->op->id == TD_OP_linear) {
        bool whole = below(5);
        int outer = draws_large ? 1 : (int)below(4);
        for (int d = 0; d < outer; d++)
            shape[d] = d == outer - 1 ? size[0] : 1 + below(3);
        shape[outer] = size[2];
        make(next(c), dtype, outer + 1, shape, TD_REALS, ANY_LAYOUT);
        make(next(c), dtype, 1 + whole, (int64_t[TD_RANK_MAX]){whole ? size[1] : size[2], size[2]}, TD_REALS,
             ANY_LAYOUT);
        if (below(2))
            make(next(c), dtype, whole, (int64_t[TD_RANK_MAX]){size[1]}, TD_REALS, ANY_LAYOUT);
        else
            next(c);
    } else if (!strcmp(c->op->group, "softmax")) {
        make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
        c->attrs[0] = draw_dim(rank);
    } else if (c->op->id == TD_OP_mse_loss) {
        make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
        make(next(c), dtype, fewer_dims(rank, shape, part), part, TD_REALS, ANY_LAYOUT);
        c->attrs[0] = below(3);
    } else if (is_one_of(c->op, "sum mean prod any all count_nonzero var std logsumexp norm")) {
        struct td_sum_attrs *a = (void *)c->attrs;
        make(next(c), dtype, rank, shape, c->op->tried, ANY_LAYOUT);
        draw_dims(&a->dims, rank);
        a->keepdim = below(2);
        if (is_one_of(c->op, "var std"))
            ((struct td_var_attrs *)(void *)a)->correction = below(3);
        if (c->op->id == TD_OP_norm)
            ((struct td_norm_attrs *)(void *)a)->p = powers[below(sizeof powers / sizeof *powers)];
    } else {
        draw_choice(c, dtype);
    }
}

/* A tensor that may be left out, of a norm or a loss by class. */
static void draw_optional(struct call *c, uint8_t dtype, int rank, const int64_t *shape, int tried)
{
    if (below(2))
        make(next(c), dtype, rank, shape, tried, ANY_LAYOUT);
    else
        next(c);
}

static void draw_norm(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], part[TD_RANK_MAX];
    struct td_dims *normalized = (void *)c->attrs;
    int rank = draw_shape(shape, 1, 4), count = 1 + (int)below(rank);
    memset(part, 0, sizeof part);
    memcpy(part, shape + rank - count, (size_t)count * sizeof *shape);
    normalized->count = count;
    memcpy(normalized->v, part, sizeof part);
    make(next(c), dtype, rank, shape, TD_REALS, DENSE);
    for (int k = 0; k < (c->op->id == TD_OP_layer_norm ? 2 : 1); k++)
        if (below(2))
            make(next(c), dtype, count, part, TD_REALS, DENSE);
        else
            next(c);
    ((double *)(void *)c->attrs)[sizeof *normalized / 8] = below(2) ? 0.25 : 1e-5;
}

/* cross_entropy and nll_loss: classes are dimension 1, or the only one. */
static void draw_classes(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX] = {0}, target[TD_RANK_MAX] = {0};
    int rank = 1 + (int)below(4), at = rank > 1;
    for (int d = 0; d < rank; d++)
        shape[d] = below(9) ? 1 + below(d == 0 && below(2) ? 60 : 5) : 0;
    if (draws_large)
        rank = 2, at = 1, shape[0] = 18000, shape[1] = 5;
    for (int d = 0; d < rank - 1; d++)
        target[d] = shape[d + (d >= at)];
    make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
    draw_index(c, rank - 1, target, shape[at]);
    draw_optional(c, dtype, 1, (int64_t[TD_RANK_MAX]){shape[at]}, TD_POSITIVE);
    struct td_cross_entropy_attrs *a = (void *)c->attrs; /* nll_loss's, but for the last */
    a->ignore_index = below(2) ? -100 : below(5);
    a->reduction = below(3);
    if (c->op->id == TD_OP_cross_entropy)
        a->label_smoothing = below(2) ? 0 : 0.25;
}

static void draw_loss(struct call *c, uint8_t dtype)
{
    if (c->op->id == TD_OP_bce)
        draw_elementwise(c, dtype);
    else if (c->op->id == TD_OP_mse_loss)
        draw_linear(c, dtype);
    else
        draw_classes(c, dtype);
}

/* Scans and sorting: a tensor, a dimension, and what is left at its default or drawn. */
static void draw_rows(struct call *c, uint8_t dtype)
{
    if (is_one_of(c->op, "median_dim mode kthvalue median")) { /* a dimension, then keepdim */
        draw_choice(c, dtype);
    } else {
        int64_t shape[TD_RANK_MAX];
        int rank = draw_shape(shape, 0, 4);
        make(next(c), dtype, rank, shape, !strcmp(c->op->group, "sort") && below(2) ? TD_STEPS : TD_REALS, ANY_LAYOUT);
        c->attrs[0] = draw_dim(rank);
        if (c->op->params[2].kind)
            c->attrs[1] = below(2);
    }
    if (!is_one_of(c->op, "topk kthvalue"))
        return;
    const struct tensor *x = &c->in[0];
    struct td_kthvalue_attrs *a = (void *)c->attrs; /* topk's, but for the last */
    int64_t dim = c->attrs[0], least = c->op->id == TD_OP_kthvalue;
    int64_t size = x->meta.rank ? x->meta.shape[dim < 0 ? dim + x->meta.rank : dim] : 1;
    *a = (struct td_kthvalue_attrs){.dim = dim, .k = least + below(size + 1 - least), .keepdim = below(2)};
}

/* gather and scatter_add: an index no greater than x, but along dim, and a source no smaller than the index. */
static void draw_placed(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], index[TD_RANK_MAX], source[TD_RANK_MAX];
    int rank = draw_shape(shape, 0, 3), dim = rank ? (int)below(rank) : 0;
    memcpy(index, shape, sizeof index);
    for (int d = 0; d < rank; d++) {
        index[d] = d == dim ? below(12) : shape[d] - (shape[d] ? below(2) : 0);
        source[d] = index[d] + below(2);
    }
    make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
    draw_index(c, rank, index, rank ? shape[dim] : 1);
    c->attrs[0] = below(2) ? dim - (rank ? rank : 1) : dim;
    if (is_one_of(c->op, "scatter_add scatter scatter_reduce"))
        make(next(c), dtype, rank, source, TD_REALS, ANY_LAYOUT);
}

/* Ops of group move. */
static void draw_move(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX];
    int rank = draw_shape(shape, is_one_of(c->op, "tril triu") ? 2 : is_one_of(c->op, "diag_embed"),
                          is_one_of(c->op, "diag_embed repeat") && draws_large ? 1 : 4);
    if (c->op->id == TD_OP_diag_embed && shape[rank - 1] > 40) /* the result has the square of it */
        shape[rank - 1] = draws_large ? 200 : 40;
    make(next(c), dtype, rank, shape, TD_REALS, is_one_of(c->op, "roll repeat_interleave") ? DENSE : ANY_LAYOUT);
    if (is_one_of(c->op, "tril triu")) {
        c->attrs[0] = below(9) - 4;
    } else if (c->op->id == TD_OP_flip) {
        struct td_dims *dims = (void *)c->attrs;
        do
            draw_dims(dims, rank);
        while (dims->count < 0);
    } else if (c->op->id == TD_OP_roll) {
        struct td_roll_attrs *a = (void *)c->attrs;
        draw_dims(&a->dims, rank);
        a->shifts.count = a->dims.count > 0 ? a->dims.count : 1;
        for (int64_t k = 0; k < a->shifts.count; k++)
            a->shifts.v[k] = below(300) - 150;
    } else if (c->op->id == TD_OP_repeat) {
        struct td_repeat_attrs *a = (void *)c->attrs;
        a->sizes.count = rank + below(2);
        for (int64_t d = 0; d < a->sizes.count; d++)
            a->sizes.v[d] = below(9) ? 1 + below(draws_large ? 2 : 3) : 0;
    } else if (c->op->id == TD_OP_repeat_interleave) {
        c->attrs[0] = below(4);
        c->attrs[1] = below(3) && rank ? draw_dim(rank) : INT64_MIN;
    } else if (c->op->id == TD_OP_diag_embed) {
        struct td_diag_embed_attrs *a = (void *)c->attrs;
        *a = (struct td_diag_embed_attrs){.offset = below(5) - 2, .dim0 = below(rank + 1), .dim1 = 0};
        a->dim1 = (a->dim0 + 1 + below(rank)) % (rank + 1);
        a->dim0 -= below(2) ? rank + 1 : 0;
    } else if (c->op->id == TD_OP_pad) {
        struct td_pad_attrs *a = (void *)c->attrs;
        a->mode = below(4);
        a->value = below(2) ? 0 : 2;
        a->pads.count = 2 * below(rank + 1);
        for (int64_t k = 0; k < a->pads.count; k++) {
            int64_t size = shape[rank - 1 - k / 2], most = size - (a->mode == TD_REFLECT);
            a->pads.v[k] = a->mode == TD_CONSTANT ? below(size / 2 + 4) - size / 2 : most > 0 ? below(most + 1) : 0;
        }
    }
}

static void draw_join(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX];
    bool cat = c->op->id == TD_OP_cat;
    int rank = draw_shape(shape, cat, 3), count = 1 + (int)below(5), dim = (int)below(rank + !cat);
    for (int k = 0; k < count; k++) {
        uint8_t lower = k && below(4) == 0 ? dtypes[0] : dtype; /* what promotion makes one of */
        if (cat && k && below(8) == 0) {
            make(next(c), lower, 1, (int64_t[TD_RANK_MAX]){0}, TD_REALS, ANY_LAYOUT);
            continue;
        }
        make(next(c), lower, rank, shape, TD_REALS, ANY_LAYOUT);
        if (cat)
            shape[dim] = below(6);
    }
    c->lists[0] = (uint16_t)count;
    c->attrs[0] = below(2) ? dim : dim - rank - !cat;
}

/* Indices for some dimensions, each from its end now and then, and what index_put takes besides. */
static void draw_picked(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], own[TD_RANK_MAX], part[TD_RANK_MAX], picked[2 * TD_RANK_MAX] = {0};
    struct td_index_put_attrs *a = (void *)c->attrs;
    int rank = draw_shape(shape, 1, draws_large ? 2 : 4), picked_rank = 0;
    a->dims.count = 0;
    for (int d = 0; d < rank; d++)
        if (below(2) || (d == rank - 1 && a->dims.count == 0))
            a->dims.v[a->dims.count++] = d;
    bool puts = c->op->id == TD_OP_index_put, large = draws_large;
    draws_large = false;
    int own_rank = draw_shape(own, 0, 2);
    for (int d = 0; d < own_rank; d++) /* what is picked is all of it times the rest */
        own[d] = own[d] > 12 ? 12 : own[d];
    make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
    bool neighbours = a->dims.v[a->dims.count - 1] - a->dims.v[0] == a->dims.count - 1;
    for (int d = 0, front = neighbours ? (int)a->dims.v[0] : 0, k = 0; d <= rank; d++) {
        for (int n = 0; d == front && n < own_rank; n++)
            picked[picked_rank++] = own[n];
        if (k < a->dims.count && a->dims.v[k] == d)
            k++;
        else if (d < rank)
            picked[picked_rank++] = shape[d];
    }
    if (puts) {
        int values_rank = fewer_dims(picked_rank, picked, part);
        make(next(c), dtype, values_rank, part, TD_REALS, ANY_LAYOUT);
        a->accumulate = below(2);
    }
    for (int64_t k = 0; k < a->dims.count; k++) {
        int part_rank = k == 0 ? own_rank : fewer_dims(own_rank, own, part);
        draw_index(c, part_rank, k == 0 ? own : part, shape[a->dims.v[k]]);
        struct tensor *index = &c->in[c->in_count - 1];
        for (int64_t i = 0; i < index->values.count && shape[a->dims.v[k]]; i++)
            if (below(3) == 0 && index->values.integer[i] >= 0 && index->values.integer[i] < shape[a->dims.v[k]])
                store(index, i,
                      (struct td_number){.category = TD_INTEGER, .i = index->values.integer[i] - shape[a->dims.v[k]]});
        read_back(index);
    }
    c->lists[0] = (uint16_t)a->dims.count;
    draws_large = large;
}

/* A number without dimensions: the size that is due, now and then another. */
static void draw_size(struct call *c, int64_t due)
{
    int64_t shape[TD_RANK_MAX] = {0};
    c->size = below(10) ? due : due + (below(2) || !due ? 1 : -1);
    struct tensor *size = next(c);
    make(size, TD_I64, 0, shape, TD_REALS, ANY_LAYOUT);
    store(size, 0, (struct td_number){.category = TD_INTEGER, .i = c->size});
    read_back(size);
}

/* Elements that are not 0 of mask as it is seen in shape. */
static int64_t count_true(const struct tensor *mask, int rank, const int64_t *shape)
{
    int64_t count = 0, all = 1;
    for (int d = 0; d < rank; d++)
        all *= shape[d];
    for (int64_t i = 0; i < mask->values.count; i++)
        count += mask->values.real ? mask->values.real[i] != 0 : mask->values.integer[i] != 0;
    return mask->values.count ? count * (all / mask->values.count) : 0;
}

static void draw_sized(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], part[TD_RANK_MAX];
    int rank = draw_shape(shape, c->op->id == TD_OP_bincount, c->op->id == TD_OP_bincount ? 1 : 4);
    if (c->op->id == TD_OP_nonzero) {
        make(next(c), dtype, rank, shape, TD_STEPS, ANY_LAYOUT);
        draw_size(c, count_true(&c->in[0], rank, shape));
    } else if (c->op->id == TD_OP_bincount) {
        int64_t size = 1 + below(30);
        draw_index(c, rank, shape, size);
        make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
        draw_size(c, size);
    } else {
        bool turned = below(2); /* whose shape is the whole one */
        int part_rank = fewer_dims(rank, shape, part);
        make(next(c), dtype, turned ? part_rank : rank, turned ? part : shape, TD_REALS, ANY_LAYOUT);
        make(next(c), TD_BOOL, turned ? rank : part_rank, turned ? shape : part, TD_REALS, ANY_LAYOUT);
        int64_t due = count_true(&c->in[1], rank, shape);
        if (c->op->id == TD_OP_masked_select) {
            draw_size(c, due);
            return;
        }
        memset(part, 0, sizeof part);
        part[0] = below(10) || !due ? due + below(3) : due - 1;
        make(next(c), dtype, 1, part, TD_REALS, DENSE);
    }
}

static void draw_indexed(struct call *c, uint8_t dtype)
{
    if (is_one_of(c->op, "index index_put")) {
        draw_picked(c, dtype);
        return;
    }
    if (is_one_of(c->op, "nonzero masked_select masked_scatter bincount")) {
        draw_sized(c, dtype);
        return;
    }
    if (is_one_of(c->op, "gather scatter_add scatter scatter_reduce")) {
        draw_placed(c, dtype);
        if (c->op->id == TD_OP_scatter_reduce) {
            c->attrs[1] = below(5);
            c->attrs[2] = below(2);
            if (dtype == TD_BOOL && c->attrs[1] == TD_BY_MEAN)
                c->attrs[1] = TD_BY_SUM;
        }
        return;
    }
    int64_t shape[TD_RANK_MAX], index[TD_RANK_MAX];
    bool embedding = c->op->id == TD_OP_embedding;
    int rank = embedding ? draw_shape(shape, 2, 2) : draw_shape(shape, 0, 3), dim = rank ? (int)below(rank) : 0;
    make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
    bool large = draws_large;
    draws_large = false; /* the result is as large as the index times the rest */
    int index_rank = embedding ? draw_shape(index, 0, 2) : draw_shape(index, 0, 1);
    draws_large = large;
    if (rank == 0)
        index_rank = 0;
    else if (large)
        index_rank = 1, index[0] = below(30);
    draw_index(c, index_rank, index, rank == 0 ? 1 : embedding ? shape[0] : shape[dim]);
    if (embedding)
        return;
    c->attrs[0] = below(2) ? dim - (rank ? rank : 1) : dim;
    if (rank)
        shape[dim] = c->in[1].values.count;
    if (is_one_of(c->op, "index_add index_copy"))
        make(next(c), dtype, rank, shape, TD_REALS, ANY_LAYOUT);
    if (c->op->id == TD_OP_index_fill)
        make(next(c), dtype, 0, shape, TD_REALS, ANY_LAYOUT);
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

/* Squares that are no less than those of the means behind them. */
static void raise_squares(const struct call *c)
{
    const struct tensor *square = &c->in[c->params], *mean = square + c->params * (1 + (c->lists[2] != 0));
    for (int k = 0; k < c->params; k++, square++, mean++) {
        for (int64_t i = 0; i < square->values.count; i++) {
            double m = td_number_real(get(mean, i)), s = m * m + td_number_real(get(square, i));
            store((struct tensor *)square, i, (struct td_number){.category = TD_FLOATING, .f = s});
        }
        read_back((struct tensor *)square);
    }
}

/* Rates; which of the lists are empty has been drawn. */
static void draw_rates(struct call *c)
{
    double *rates = (double *)(void *)c->attrs, decay = below(2) ? 0.0625 : 0;
    switch (c->op->id) {
    case TD_OP_sgd_step_:
        rates[0] = c->lists[1] && below(3) ? 0.9 : 0;
        rates[1] = below(2) ? 0.25 : 0;
        rates[2] = decay;
        c->attrs[3] = below(2) && rates[0] != 0;
        break;
    case TD_OP_adam_step_:
        rates[3] = decay;
        c->attrs[4] = below(2);
        break;
    case TD_OP_rmsprop_step_:
        rates[2] = c->lists[2] && below(3) ? 0.9 : 0;
        rates[3] = decay;
        break;
    case TD_OP_adagrad_step_:
        rates[0] = below(2) ? 0.5 : 0;
        rates[2] = decay;
        break;
    case TD_OP_clip_grad_norm_:
        rates[0] = below(3) ? 0.75 : 1e9;
        rates[1] = below(3) ? 2 : below(2) ? 1 : INFINITY;
        break;
    case TD_OP_clip_grad_value_:
        rates[0] = 0.75;
        break;
    case TD_OP_ema_step_:
        rates[0] = below(6) ? 0.9 : below(2);
        break;
    case TD_OP_unscale_grads_:
        break;
    default: /* Lion: the mean of what cancels is 0 in each precision */
        rates[0] = 0.875;
        rates[2] = decay;
    }
}

static void draw_number(struct call *c, double value)
{
    struct tensor *number = next(c);
    make(number, TD_F64, 0, (int64_t[TD_RANK_MAX]){0}, TD_REALS, DENSE);
    store(number, 0, (struct td_number){.category = TD_FLOATING, .f = value});
    read_back(number);
}

/* One element that is inf or nan, half of the time. */
static void spoil_gradient(struct call *c)
{
    struct tensor *grad = &c->grads[0];
    if (below(2) || !c->params || !grad->memory || !grad->values.count)
        return;
    int64_t at = (int64_t)below((uint32_t)grad->values.count);
    store(grad, at, (struct td_number){.category = TD_FLOATING, .f = below(2) ? (double)INFINITY : (double)NAN});
    read_back(grad);
}

/* Lists of states that may be empty are, half of the time. */
static void draw_step(struct call *c, uint8_t dtype)
{
    static const char *const may_be_empty = "sgd_step_:1 adam_step_:3 rmsprop_step_:2 rmsprop_step_:3";
    int64_t shapes[4][TD_RANK_MAX] = {0};
    int ranks[4];
    c->params = (int)below(4);
    for (int k = 0; k < c->params; k++) {
        ranks[k] = draw_shape(shapes[k], 0, 3);
        make(next(c), dtype, ranks[k], shapes[k], TD_REALS, NO_OVERLAP);
    }
    c->lists[0] = (uint16_t)c->params;
    for (int list = 1; c->op->params[list].kind == TD_PARAM_LIST; list++) {
        const char *name = c->op->params[list].name;
        char optional[64];
        snprintf(optional, sizeof optional, "%s:%d", c->op->name, list);
        bool positive = !strcmp(name, "squares") || !strcmp(name, "greatest") || !strcmp(name, "sums");
        if (strstr(may_be_empty, optional) && below(2))
            continue;
        c->lists[list] = (uint16_t)c->params;
        for (int k = 0; k < c->params; k++)
            make(next(c), dtype, ranks[k], shapes[k], positive ? TD_POSITIVE : TD_REALS, DENSE);
    }
    if (c->op->id == TD_OP_rmsprop_step_ && c->lists[3])
        raise_squares(c);
    for (int k = 0; k < c->params; k++) {
        make(&c->grads[k], dtype, ranks[k], shapes[k], TD_REALS, DENSE);
        if (below(4) == 0) {
            tensor_deinit(&c->grads[k]);
            c->grads[k].memory = NULL;
        }
    }
    draw_rates(c);
    if (c->op->id == TD_OP_unscale_grads_) {
        draw_number(c, 1024);
        spoil_gradient(c);
    }
    if (td_op_stepping(c->op) != TD_STEPS_BY_GRADIENTS)
        return;
    struct tensor *counts = next(c);
    make(counts, TD_I64, 1, (int64_t[TD_RANK_MAX]){c->params}, TD_REALS, DENSE);
    for (int k = 0; k < c->params; k++)
        store(counts, k, (struct td_number){.category = TD_INTEGER, .i = below(4)});
    read_back(counts);
    draw_number(c, 0.1);
}

/* A tensor whose rows rise. */
static void draw_sorted(struct call *c, uint8_t dtype, int rank, const int64_t *shape)
{
    struct tensor *t = next(c);
    make(t, dtype, rank, shape, TD_STEPS, NO_OVERLAP);
    int64_t size = rank ? shape[rank - 1] : 1, step = 1 + below(3);
    for (int64_t i = 0; i < t->values.count; i++) {
        struct td_number n = {.category = TD_INTEGER, .i = i % size / step - size / step / 2};
        if (td_dtype_category(dtype) == TD_FLOATING)
            n = (struct td_number){.category = TD_FLOATING, .f = (double)n.i / 2};
        store(t, i, n);
    }
    read_back(t);
}

/* Groups search and special. */
static void draw_search(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX], row[TD_RANK_MAX];
    int rank = draw_shape(shape, c->op->id == TD_OP_searchsorted && !draws_large, 3);
    if (c->op->id == TD_OP_searchsorted) {
        bool one = rank == 0 || below(2);
        memcpy(row, shape, sizeof row);
        row[one ? 0 : rank - 1] = below(below(3) ? 9 : 90);
        draw_sorted(c, dtype, one ? 1 : rank, row);
        c->attrs[0] = below(2);
    }
    make(next(c), dtype, rank, shape, c->op->id == TD_OP_searchsorted ? TD_STEPS : c->op->tried, ANY_LAYOUT);
    if (c->op->id == TD_OP_polygamma)
        c->attrs[0] = below(4);
    if (c->op->id == TD_OP_histc) {
        struct td_histc_attrs *a = (void *)c->attrs;
        *a = (struct td_histc_attrs){.bins = 1 + below(below(2) ? 9 : 300), .min = 0, .max = 0};
        if (below(2))
            *a = (struct td_histc_attrs){.bins = a->bins, .min = -(double)below(3), .max = (double)(1 + below(2))};
    }
}
#include "tests/kernel_windows.h"
#include "tests/kernel_attention.h"

static void draw_call(struct call *c, const struct td_op *op, uint8_t dtype)
{
    static const struct {
        const char *group;
        void (*draw)(struct call *, uint8_t);
    } ways[] = {{"create", draw_created},      {"random", draw_created},     {"copy", draw_elementwise},
                {"unary", draw_elementwise},   {"binary", draw_elementwise}, {"compare", draw_elementwise},
                {"ternary", draw_elementwise}, {"reduce", draw_linear},      {"linalg", draw_linear},
                {"softmax", draw_linear},      {"loss", draw_loss},          {"index", draw_indexed},
                {"scan", draw_rows},           {"sort", draw_rows},          {"step", draw_step},
                {"strided", draw_strided},     {"join", draw_join},          {"move", draw_move},
                {"norm", draw_norm},           {"search", draw_search},      {"special", draw_search},
                {"conv", draw_conv},           {"pool", draw_pool},          {"attention", draw_attention}};
    *c = (struct call){.op = op};
    td_op_defaults(op, c->attrs);
    draws_nan = is_one_of(op, "max min argmax argmin max_dim min_dim maximum minimum clamp sign relu abs "
                              "where any all count_nonzero nonzero cummax cummin sort argsort topk kthvalue median "
                              "median_dim mode floor ceil round trunc isnan isinf isfinite nan_to_num fmax "
                              "fmin hardtanh relu6 hardshrink softshrink threshold elu mish softplus "
                              "logsigmoid atan2 hypot fmod remainder searchsorted max_pool1d max_pool2d max_pool3d "
                              "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d");
    if (op->id == TD_OP_dropout || op->id == TD_OP_bernoulli || op->id == TD_OP_poisson) {
        draw_elementwise(c, dtype);
        return;
    }
    if (op->id == TD_OP_multinomial) {
        int64_t shape[TD_RANK_MAX] = {1 + below(9), 1 + below(70)};
        bool rows = below(2);
        c->attrs[1] = below(2);
        c->attrs[0] = 1 + below(c->attrs[1] ? 99 : shape[rows]);
        make(next(c), dtype, 1 + rows, shape, below(8) ? TD_POSITIVE : TD_AWAY, ANY_LAYOUT);
        return;
    }
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        if (strcmp(ways[w].group, op->group))
            continue;
        ways[w].draw(c, dtype);
        return;
    }
    fail_msg("no way to draw a call of group %s", op->group);
}

#endif
