/* Gradient rules of reductions, products, softmax and losses. g is the gradient of the output, y the output, x (or a,
 * b) an input; the formulas stand over each rule. Where a rule selects, it uses where and never a product with a mask,
 * so that infinities and NaN on the other side stay out. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "server/worker/rule_ops.h"

/* x's shape with 1 for each dimension that was reduced */
static struct td_meta kept_dims(const struct rule *r, const struct td_dims *dims)
{
    struct td_meta kept = *shape_of(r, 0);
    uint32_t mask = td_reduced_dims(dims, kept.rank);
    for (int d = 0; d < kept.rank; d++)
        if (mask >> d & 1)
            kept.shape[d] = 1;
    return kept;
}

/* g with the reduced dimensions put back as 1 */
static ref put_dims(struct rule *r, ref x, const struct td_dims *dims)
{
    struct td_meta kept = kept_dims(r, dims);
    return reshape(r, x, kept.rank, kept.shape);
}

RULE(sum)
{
    const struct td_sum_attrs *a = attrs_of(r);
    give(r, 0, expand(r, put_dims(r, g, &a->dims), shape_of(r, 0)));
}

/* g / n, n elements to each mean */
RULE(mean)
{
    const struct td_mean_attrs *a = attrs_of(r);
    struct td_meta kept = kept_dims(r, &a->dims);
    int64_t results = td_meta_numel(&kept), count = td_meta_numel(shape_of(r, 0));
    ref part = mul(r, g, real(r, results ? (double)results / (double)(count ? count : 1) : 0));
    give(r, 0, expand(r, put_dims(r, part, &a->dims), shape_of(r, 0)));
}

/* All of the dimensions that dims leaves, or 0. */
static struct td_dims given_dims(const struct rule *r, const struct td_dims *dims)
{
    struct td_dims all = *dims;
    if (all.count <= 0) {
        all.count = shape_of(r, 0)->rank;
        for (int d = 0; d < all.count; d++)
            all.v[d] = d;
    }
    return all;
}

/* g shared evenly by all that are chosen */
static ref shared(struct rule *r, ref g, ref chosen, const struct td_dims *dims)
{
    struct td_dims all = given_dims(r, dims);
    return where(r, chosen, divide(r, put_dims(r, g, dims), sum(r, chosen, &all)), real(r, 0));
}

/* g shared evenly by all that equal y; if y is nan, by all nan */
static void share_equals(struct rule *r, ref g, const struct td_dims *dims)
{
    ref x = in(r, 0), y = put_dims(r, out(r), dims);
    ref nan = binary(r, TD_OP_ne, x, x);
    give(r, 0, shared(r, g, where(r, nan, nan, binary(r, TD_OP_eq, x, y)), dims));
}

RULE(max)
{
    share_equals(r, g, &((const struct td_max_attrs *)attrs_of(r))->dims);
}

RULE(median)
{
    share_equals(r, g, &(struct td_dims){.count = -1});
}

static ref equals(struct rule *r, ref x, double value)
{
    return binary(r, TD_OP_eq, x, real(r, value));
}

/* a / b where b is not 0, else 0; the branch that is not taken divides by 1, so that its gradient is a number */
static ref quotient(struct rule *r, ref a, ref b)
{
    ref zero = equals(r, b, 0);
    return where(r, zero, real(r, 0), divide(r, a, where(r, zero, real(r, 1), b)));
}

/* factor / (n - correction) times what x differs from the mean by; factor has the reduced dimensions as 1 */
static ref spread(struct rule *r, ref factor, const struct td_dims *dims, int64_t correction)
{
    struct td_meta kept = kept_dims(r, dims);
    int64_t results = td_meta_numel(&kept), count = results ? td_meta_numel(shape_of(r, 0)) / results : 0;
    ref x = in(r, 0), mean = step(r, TD_OP_mean, &(struct td_mean_attrs){.dims = *dims, .keepdim = true}, 1, &x);
    return mul(r, mul(r, factor, real(r, 1 / (double)(count - correction))), sub(r, x, mean));
}

/* 2 g / (n - correction) * (x - mean) */
RULE(var)
{
    const struct td_var_attrs *a = attrs_of(r);
    give(r, 0, spread(r, mul(r, put_dims(r, g, &a->dims), real(r, 2)), &a->dims, a->correction));
}

/* g / y / (n - correction) * (x - mean) */
RULE(std)
{
    const struct td_std_attrs *a = attrs_of(r);
    ref y = put_dims(r, out(r), &a->dims);
    give(r, 0, spread(r, quotient(r, put_dims(r, g, &a->dims), y), &a->dims, a->correction));
}

/* g * exp(x - y); where y is -inf, all x are, and get 0 */
RULE(logsumexp)
{
    const struct td_logsumexp_attrs *a = attrs_of(r);
    ref y = put_dims(r, out(r), &a->dims);
    y = where(r, equals(r, y, -INFINITY), real(r, 0), y);
    give(r, 0, mul(r, put_dims(r, g, &a->dims), unary(r, TD_OP_exp, sub(r, in(r, 0), y))));
}

/* 2: g x / y. 1: g sign(x). inf: sign(x) g, shared by the greatest. 0: nothing. Else the power's own derivative. A 0
 * gets 0 throughout. */
RULE(norm)
{
    const struct td_norm_attrs *a = attrs_of(r);
    ref x = in(r, 0), y = put_dims(r, out(r), &a->dims), kept = put_dims(r, g, &a->dims);
    if (a->p == 0) {
        give(r, 0, zeros(r, shape_of(r, 0)));
    } else if (a->p == 1) {
        give(r, 0, mul(r, kept, unary(r, TD_OP_sign, x)));
    } else if (a->p == 2) {
        ref none = equals(r, y, 0); /* x / y is no more than 1, however small y is */
        give(r, 0, mul(r, where(r, none, real(r, 0), kept), divide(r, x, where(r, none, real(r, 1), y))));
    } else if (isinf(a->p)) {
        ref chosen = binary(r, TD_OP_eq, unary(r, TD_OP_abs, x), y);
        give(r, 0, mul(r, unary(r, TD_OP_sign, x), shared(r, g, chosen, &a->dims)));
    } else {
        ref none = equals(r, y, 0), zero = equals(r, x, 0);
        ref scale = binary(r, TD_OP_pow, where(r, none, real(r, 1), y), real(r, 1 - a->p));
        ref power = binary(r, TD_OP_pow, unary(r, TD_OP_abs, where(r, zero, real(r, 1), x)), real(r, a->p - 1));
        ref part = mul(r, where(r, none, real(r, 0), mul(r, kept, scale)), unary(r, TD_OP_sign, x));
        give(r, 0, mul(r, part, where(r, zero, real(r, 0), power)));
    }
}

/* g b^T, a^T g over the last two dimensions; a vector is a matrix of one row or column meanwhile */
RULE(matmul)
{
    const struct td_meta *a_shape = shape_of(r, 0), *b_shape = shape_of(r, 1);
    bool a_vector = a_shape->rank == 1, b_vector = b_shape->rank == 1;
    struct td_meta full = r->node->out[0].meta; /* with both dimensions of the product in it */
    if (a_vector) {
        int at = full.rank - !b_vector;
        memmove(full.shape + at + 1, full.shape + at, (size_t)(full.rank - at) * sizeof *full.shape);
        full.shape[at] = 1;
        full.rank++;
    }
    if (b_vector)
        full.shape[full.rank++] = 1;
    if (a_vector || b_vector)
        g = reshape(r, g, full.rank, full.shape);
    if (needs(r, 0)) {
        ref b = in(r, 1);
        if (b_vector)
            b = reshape(r, b, 2, (int64_t[]){b_shape->shape[0], 1});
        give(r, 0, binary(r, TD_OP_matmul, g, transpose(r, b, -2, -1)));
    }
    if (needs(r, 1)) {
        ref a = in(r, 0);
        if (a_vector)
            a = reshape(r, a, 2, (int64_t[]){1, a_shape->shape[0]});
        ref value = binary(r, TD_OP_matmul, transpose(r, a, -2, -1), g);
        full = r->values[value].meta;
        give(r, 1, b_vector ? reshape(r, value, full.rank - 1, full.shape) : value);
    }
}

/* g W, and over all rows g^T x; the bias gets g, whose rows give sums up. With a weight of one row g is a column. */
RULE(linear)
{
    const struct td_meta *x = shape_of(r, 0), *weight = shape_of(r, 1);
    int64_t inner = weight->shape[weight->rank - 1], width = weight->rank == 2 ? weight->shape[0] : 1;
    int64_t count = td_meta_numel(&r->node->out[0].meta), rows = width ? count / width : 0;
    if (needs(r, 2))
        give(r, 2, g);
    if (!count) { /* nothing to count the rows by */
        give(r, 0, zeros(r, x));
        give(r, 1, zeros(r, weight));
        return;
    }
    g = reshape(r, g, 2, (int64_t[]){rows, width});
    if (needs(r, 0)) {
        ref w = reshape(r, in(r, 1), 2, (int64_t[]){width, inner});
        give(r, 0, reshape(r, binary(r, TD_OP_matmul, g, w), x->rank, x->shape));
    }
    if (needs(r, 1)) {
        ref seen = reshape(r, in(r, 0), 2, (int64_t[]){rows, inner});
        ref value = binary(r, TD_OP_matmul, transpose(r, g, 0, 1), seen);
        give(r, 1, reshape(r, value, weight->rank, weight->shape));
    }
}

/* g - exp(y) * sum(g, dim) */
RULE(log_softmax)
{
    const struct td_log_softmax_attrs *a = attrs_of(r);
    give(r, 0, sub(r, g, mul(r, unary(r, TD_OP_exp, out(r)), sum_one(r, g, a->dim))));
}

/* What a loss of count elements hands down: g for a sum, g / count for a mean, g with trailing dimensions for none. */
static ref loss_share(struct rule *r, ref g, int64_t reduction, int64_t count)
{
    return reduction == TD_MEAN ? mul(r, g, real(r, 1.0 / (double)(count ? count : 1))) : g;
}

/* 2 * (x - target) * g and its opposite */
RULE(mse_loss)
{
    const struct td_mse_loss_attrs *a = attrs_of(r);
    ref difference = sub(r, in(r, 0), in(r, 1));
    int64_t count = td_meta_numel(&r->values[difference].meta);
    ref share = mul(r, loss_share(r, g, a->reduction, count), real(r, 2));
    ref value = mul(r, difference, share);
    give(r, 0, value);
    if (needs(r, 1))
        give(r, 1, neg(r, value));
}

/* zeros with g at the elements that were chosen */
RULE(max_dim)
{
    const struct td_max_dim_attrs *a = attrs_of(r);
    const struct td_meta *x = shape_of(r, 0);
    struct td_dims dim = {.count = 1, .v = {a->dim}};
    ref index = put_dims(r, output(r, 1), &dim);
    give(r, 0, scatter_add(r, x, a->dim, index, put_dims(r, g, &dim)));
}

/* y * (g - sum(g * y, dim)) */
RULE(softmax)
{
    const struct td_softmax_attrs *a = attrs_of(r);
    ref y = out(r);
    give(r, 0, mul(r, y, sub(r, g, sum_one(r, mul(r, g, y), a->dim))));
}
