/* Calls of linear algebra drawn at random. Included once, by kernel_calls.h behind what it draws with.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_KERNEL_MATRICES_H
#define TD_TESTS_KERNEL_MATRICES_H

/* Whether element i of a (..., n, n) tensor lies in what cholesky or solve_triangular read of it. */
static bool is_read(const struct call *c, int64_t i, int64_t n)
{
    const struct td_solve_triangular_attrs *a = (const void *)c->attrs;
    int64_t row = i / n % n, column = i % n;
    bool upper = c->op->id == TD_OP_solve_triangular ? a->upper : c->attrs[0]; /* their only one */
    if (!is_one_of(c->op, "cholesky eigh solve_triangular"))
        return true;
    if (row == column)
        return c->op->id != TD_OP_solve_triangular || !a->unitriangular;
    return upper ? column > row : column < row;
}

/* A strong diagonal, here and there a column of 0, or a diagonal that is not positive; nan where nothing is read, and
 * rarely elsewhere. */
static void draw_elements(const struct call *c, struct tensor *t, int64_t n)
{
    bool strong = n > 4 || below(2) || is_one_of(c->op, "cholesky solve_triangular"), nans = below(2), bad = !below(8);
    int64_t at = n ? below(n) : 0, chosen = t->values.count ? below(t->values.count) / (n * n) : 0;
    for (int64_t i = 0; i < t->values.count; i++) {
        struct td_number x = get(t, i);
        bool diagonal = i / n % n == i % n;
        if (c->op->id == TD_OP_eigh)
            x.f += diagonal ? 5 * (double)(i % n) : 0;
        else if (strong && diagonal)
            x.f = 3 * (double)n * (x.f < 0 && c->op->id != TD_OP_cholesky ? -1 : 1) + x.f / 4;
        if (!diagonal && c->op->id == TD_OP_solve_triangular)
            x.f /= (double)n;
        if (bad && i / (n * n) == chosen && i % n == at && !is_one_of(c->op, "solve_triangular eigh"))
            x.f = c->op->id == TD_OP_cholesky && diagonal ? -1 : c->op->id == TD_OP_cholesky ? x.f : 0;
        if (nans && !is_read(c, i, n))
            x.f = NAN;
        store(t, i, x);
    }
    if (t->values.count && below(16) == 0 && c->op->id != TD_OP_solve_triangular)
        store(t, below(t->values.count),
              (struct td_number){.category = TD_FLOATING, .f = below(2) ? NAN : (double)INFINITY});
    read_back(t);
}

/* Matrices of any sides in batches, now and then with a nan. */
static void draw_rectangles(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX + 2] = {0}, rank = below(3);
    for (int64_t d = 0; d < rank; d++)
        shape[d] = draws_large ? 1 + below(3) : below(12) ? 1 + below(4) : 0;
    for (int64_t d = rank; d < rank + 2; d++)
        shape[d] = draws_large ? 20 + below(40) : below(12) ? 1 + below(below(5) ? 6 : 25) : 0;
    make(next(c), dtype, (int)rank + 2, shape, TD_REALS, NO_OVERLAP);
    struct tensor *t = &c->in[0];
    if (t->values.count && below(16) == 0)
        store(t, below(t->values.count), (struct td_number){.category = TD_FLOATING, .f = NAN});
    read_back(t);
}

/* Square matrices in batches, and the other side of an equation. */
static void draw_matrices(struct call *c, uint8_t dtype)
{
    int64_t shape[TD_RANK_MAX + 2] = {0}, part[TD_RANK_MAX + 2] = {0}, n = below(10) ? 1 + below(below(5) ? 6 : 25) : 0;
    bool equation = is_one_of(c->op, "solve solve_triangular"), whole = below(2);
    n = c->op->id == TD_OP_cofactor && n > 9 ? 9 : draws_large && c->op->id != TD_OP_cofactor ? 30 + below(40) : n;
    int rank = (int)below(3);
    for (int64_t *slot = c->attrs; slot < c->attrs + c->op->slots; slot++)
        *slot = below(2);
    for (int d = 0; d < rank; d++)
        shape[d] = draws_large ? 1 + below(3) : below(12) ? 1 + below(4) : 0;
    int part_rank = equation ? fewer_dims(rank, shape, part) : 0;
    int64_t *sizes = equation && whole ? part : shape;
    int own = equation && whole ? part_rank : rank;
    sizes[own] = sizes[own + 1] = n;
    make(next(c), dtype, own + 2, sizes, TD_REALS, NO_OVERLAP);
    draw_elements(c, &c->in[0], n);
    if (!equation)
        return;
    sizes = whole ? shape : part;
    int other = whole ? rank : part_rank;
    const int64_t *left = c->op->id == TD_OP_solve ? &c->attrs[0] : &c->attrs[1];
    if (c->op->id == TD_OP_solve && below(4) == 0) { /* vectors: one, or one for each matrix */
        c->attrs[0] = 1;
        other = below(2) ? own : 0;
        memcpy(part, c->in[0].meta.shape, sizeof c->in[0].meta.shape);
        part[other] = n;
        make(next(c), dtype, other + 1, part, TD_REALS, ANY_LAYOUT);
        return;
    }
    sizes[other] = *left ? n : below(9);
    sizes[other + 1] = *left ? below(9) : n;
    make(next(c), dtype, other + 2, sizes, TD_REALS, ANY_LAYOUT);
    const struct td_meta *a = &c->in[0].meta, *b = &c->in[1].meta;
    if (c->op->id == TD_OP_solve && td_solves_vectors(a->rank, a->shape, b->rank, b->shape))
        c->attrs[0] = 1;
}

#endif
