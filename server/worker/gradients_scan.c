/* Gradient rules of prod, of scans and of sorting. g is the gradient of the output, y the output, x the input; the
 * formulas stand over each rule. Where a rule selects, it uses where and never a product with a mask, so that
 * infinities and NaN on the other side stay out. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "server/worker/rule_ops.h"

static ref scan(struct rule *r, enum td_op_id id, ref x, int64_t dim, bool reverse)
{
    return step(r, id, &(struct td_cumsum_attrs){.dim = dim, .reverse = reverse}, 1, &x);
}

static ref unsqueeze(struct rule *r, ref x, int64_t dim)
{
    return step(r, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = dim}, 1, &x);
}

static ref is_zero(struct rule *r, ref x)
{
    return binary(r, TD_OP_eq, x, real(r, 0));
}

/* ---- prod ---- */

/* The products of all elements of the last dimension before each, or behind each. */
static ref products_beside(struct rule *r, ref x, bool behind)
{
    struct td_meta like = r->values[x].meta, window_of;
    int64_t n = like.shape[like.rank - 1];
    struct td_full_attrs one = {
        .shape.count = like.rank, .value = {.category = TD_INTEGER, .i = 1}, .dtype = like.dtype};
    memcpy(one.shape.v, like.shape, sizeof one.shape.v);
    window_of = like;
    td_contiguous_strides(like.rank, like.shape, window_of.stride);
    window_of.shape[like.rank - 1] = n - 1;
    window_of.offset = !behind;
    ref products = slice(r, scan(r, TD_OP_cumprod, x, -1, behind), -1, behind, behind ? n : n - 1);
    return window(r, TD_OP_strided_write, &window_of, 2, (ref[]){step(r, TD_OP_full, &one, 0, NULL), products});
}

/* g times the product of all others, which is made of those before and those behind: exact at zeros in any order. */
RULE(prod)
{
    const struct td_prod_attrs *a = attrs_of(r);
    const struct td_meta *x = shape_of(r, 0);
    uint32_t mask = td_reduced_dims(&a->dims, x->rank);
    struct td_dims order = {0}, back = {.count = x->rank};
    struct td_meta flat = {0}, turned = {0}, kept = *x;
    int64_t n = 1;
    for (int gone = 0; gone < 2; gone++)
        for (int d = 0; d < x->rank; d++) {
            if ((int)(mask >> d & 1) != gone)
                continue;
            turned.shape[order.count] = x->shape[d];
            back.v[d] = order.count;
            order.v[order.count++] = d;
            if (gone)
                n *= x->shape[d], kept.shape[d] = 1;
            else
                flat.shape[flat.rank++] = x->shape[d];
        }
    ref kept_g = reshape(r, g, kept.rank, kept.shape);
    if (td_meta_numel(x) == 0 || n == 1) {
        give(r, 0, expand(r, kept_g, x));
        return;
    }
    flat.shape[flat.rank++] = n;
    ref rows = reshape(r, permute(r, in(r, 0), &order), flat.rank, flat.shape);
    ref others = mul(r, products_beside(r, rows, false), products_beside(r, rows, true));
    others = permute(r, reshape(r, others, x->rank, turned.shape), &back);
    give(r, 0, mul(r, kept_g, others));
}

/* ---- scans ---- */

/* The same scan the other way round. */
RULE(cumsum)
{
    const struct td_cumsum_attrs *a = attrs_of(r);
    give(r, 0, scan(r, TD_OP_cumsum, g, a->dim, !a->reverse));
}

/* A matrix for each row: element i of what is scanned beside element k. */
struct square {
    int dim, last;
    ref i, k; /* the numbers of columns, and of rows as a column */
};

static struct square square_of(struct rule *r, int dim)
{
    const struct td_meta *x = shape_of(r, 0);
    int64_t n = x->shape[dim];
    struct td_arange_attrs count = {.start.category = TD_INTEGER,
                                    .end = {.category = TD_INTEGER, .i = n},
                                    .step = {.category = TD_INTEGER, .i = 1}};
    ref along = step(r, TD_OP_arange, &count, 0, NULL);
    return (struct square){dim, x->rank - 1, along, reshape(r, along, 2, (int64_t[]){n, 1})};
}

/* The elements along the scanned dimension as a row of the matrix, or as its column. */
static ref as_row(struct rule *r, const struct square *s, ref x)
{
    return unsqueeze(r, transpose(r, x, s->dim, s->last), -2);
}
static ref as_column(struct rule *r, const struct square *s, ref x)
{
    return unsqueeze(r, transpose(r, x, s->dim, s->last), -1);
}

/* The sums of the matrix's rows from the diagonal on, or up to it, which an element k of x gets. */
static ref sum_of_reached(struct rule *r, const struct square *s, ref parts, bool reverse)
{
    ref reached = binary(r, reverse ? TD_OP_le : TD_OP_ge, s->i, s->k);
    parts = where(r, reached, parts, real(r, 0));
    struct td_meta sums = r->values[parts].meta;
    sums.rank--;
    return transpose(r, reshape(r, sum_one(r, parts, -1), sums.rank, sums.shape), s->dim, s->last);
}

/* Element k of x gets the sum over i of g_i times the product of the x_j up to i, but for j = k: which is right in all
 * orders. */
static ref cumprod_of_all(struct rule *r, ref x, ref g, int dim, bool reverse)
{
    struct square s = square_of(r, dim);
    ref others = where(r, binary(r, TD_OP_eq, s.k, s.i), real(r, 1), as_row(r, &s, x));
    ref products = scan(r, TD_OP_cumprod, others, -1, reverse);
    ref reached = binary(r, reverse ? TD_OP_le : TD_OP_ge, s.i, s.k);
    return sum_of_reached(r, &s, mul(r, where(r, reached, products, real(r, 0)), as_row(r, &s, g)), reverse);
}

/* Element k of x gets the sum over i of g_i exp(x_k - y_i), of which no exponent is above 0. */
static ref logcumsumexp_of_all(struct rule *r, ref x, ref y, ref g, int dim, bool reverse)
{
    struct square s = square_of(r, dim);
    ref reached = binary(r, reverse ? TD_OP_le : TD_OP_ge, s.i, s.k);
    ref exponents = sub(r, as_column(r, &s, x), as_row(r, &s, y));
    ref shares = unary(r, TD_OP_exp, where(r, reached, exponents, real(r, 0)));
    return sum_of_reached(r, &s, mul(r, shares, as_row(r, &s, g)), reverse);
}

/* Sums of g * y from each element on, divided by x, up to the first 0; at it, the same with 1 in its place; behind it,
 * 0. That is right as a number but at zeros not as a function of x, so what is differentiated again is made of all. */
RULE(cumprod)
{
    const struct td_cumprod_attrs *a = attrs_of(r);
    const struct td_meta *meta = shape_of(r, 0);
    int dim = td_wrap_dim(a->dim, meta->rank);
    if (meta->rank == 0 || meta->shape[dim] <= 1 || td_meta_numel(meta) == 0) {
        give(r, 0, g);
        return;
    }
    ref x = as_computed(r, in(r, 0));
    if (r->create) {
        give(r, 0, cumprod_of_all(r, x, g, dim, a->reverse));
        return;
    }
    ref zero = is_zero(r, x), zeros_so_far = scan(r, TD_OP_cumsum, zero, dim, a->reverse);
    ref none = is_zero(r, zeros_so_far), one = binary(r, TD_OP_eq, zeros_so_far, real(r, 1));
    ref first = where(r, zero, one, zero);
    ref without = scan(r, TD_OP_cumprod, where(r, first, real(r, 1), x), dim, a->reverse);
    ref before = scan(r, TD_OP_cumsum, where(r, none, mul(r, g, out(r)), real(r, 0)), dim, !a->reverse);
    ref at = scan(r, TD_OP_cumsum, where(r, one, mul(r, g, without), real(r, 0)), dim, !a->reverse);
    before = divide(r, before, where(r, none, x, real(r, 1)));
    give(r, 0, where(r, none, before, where(r, first, at, real(r, 0))));
}

/* exp(x) times the sum of g * exp(-y) from each element on: through logarithms, positive and negative g apart, which
 * stays in range; but the logarithm of a g of 0 has no slope, so what is differentiated again is made of all. */
RULE(logcumsumexp)
{
    const struct td_logcumsumexp_attrs *a = attrs_of(r);
    const struct td_meta *meta = shape_of(r, 0);
    ref x = in(r, 0), y = out(r), parts[2];
    if (meta->rank == 0 || td_meta_numel(meta) == 0) {
        give(r, 0, g);
        return;
    }
    if (r->create) {
        give(r, 0, logcumsumexp_of_all(r, x, y, g, td_wrap_dim(a->dim, meta->rank), a->reverse));
        return;
    }
    for (int k = 0; k < 2; k++) {
        ref size = k ? neg(r, g) : g;
        ref some = where(r, binary(r, TD_OP_gt, size, real(r, 0)), size, real(r, 0));
        ref sums = scan(r, TD_OP_logcumsumexp, sub(r, unary(r, TD_OP_log, some), y), a->dim, !a->reverse);
        parts[k] = unary(r, TD_OP_exp, add(r, x, sums));
    }
    give(r, 0, sub(r, parts[0], parts[1]));
}

/* ---- places ---- */

static void give_at(struct rule *r, int64_t dim, ref index, ref g)
{
    give(r, 0, scatter_add(r, shape_of(r, 0), dim, index, g));
}

/* zeros with g added at the indices: cummax, cummin and sort */
RULE(places)
{
    give_at(r, ((const struct td_cummax_attrs *)attrs_of(r))->dim, output(r, 1), g);
}

RULE(topk)
{
    give_at(r, ((const struct td_topk_attrs *)attrs_of(r))->dim, output(r, 1), g);
}

RULE(kthvalue)
{
    const struct td_kthvalue_attrs *a = attrs_of(r);
    struct td_meta kept = *shape_of(r, 0);
    if (kept.rank)
        kept.shape[td_wrap_dim(a->dim, kept.rank)] = 1;
    ref index = reshape(r, output(r, 1), kept.rank, kept.shape);
    give_at(r, a->dim, index, reshape(r, g, kept.rank, kept.shape));
}
