/* Gradient rules of linear algebra. g is the gradient of the output, y the output, x the input; ^T exchanges the last
 * two dimensions, and the formulas stand over each rule. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/rule_ops.h"

static ref turned(struct rule *r, ref x)
{
    return transpose(r, x, -2, -1);
}

static ref product(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_matmul, a, b);
}

static ref triangle(struct rule *r, bool upper, ref x, int64_t diagonal)
{
    return step(r, upper ? TD_OP_triu : TD_OP_tril, &(struct td_tril_attrs){.diagonal = diagonal}, 1, &x);
}

static ref solve(struct rule *r, ref a, ref b, bool left)
{
    return step(r, TD_OP_solve, &(struct td_solve_attrs){.left = left}, 2, (ref[]){a, b});
}

static ref solve_triangular(struct rule *r, ref a, ref b, bool upper, bool left, bool unit)
{
    return step(r, TD_OP_solve_triangular,
                &(struct td_solve_triangular_attrs){.upper = upper, .left = left, .unitriangular = unit}, 2,
                (ref[]){a, b});
}

static ref unsqueeze(struct rule *r, ref x, int64_t dim)
{
    return step(r, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = dim}, 1, &x);
}

/* g of a number for each matrix, as matrices of one element */
static ref each_matrix(struct rule *r, ref g)
{
    return unsqueeze(r, unsqueeze(r, g, -1), -1);
}

/* -(y^T g y^T) */
RULE(inverse)
{
    ref y = turned(r, out(r));
    give(r, 0, neg(r, product(r, y, product(r, g, y))));
}

/* Of a, whose equation with the unknown y has the gradient gb on its other side: -gb y^T, or -y^T gb. */
static ref of_factor(struct rule *r, ref gb, ref y, bool left)
{
    return neg(r, left ? product(r, gb, turned(r, y)) : product(r, turned(r, y), gb));
}

/* b: a^-T g */
RULE(solve)
{
    const struct td_solve_attrs *attrs = attrs_of(r);
    const struct td_meta *a = shape_of(r, 0), *b = shape_of(r, 1);
    bool vectors = td_solves_vectors(a->rank, a->shape, b->rank, b->shape);
    ref y = out(r);
    if (vectors) {
        g = unsqueeze(r, g, -1);
        y = unsqueeze(r, y, -1);
    }
    ref gb = solve(r, turned(r, in(r, 0)), g, attrs->left);
    if (needs(r, 0))
        give(r, 0, of_factor(r, gb, y, attrs->left));
    if (needs(r, 1))
        give(r, 1, vectors ? step(r, TD_OP_squeeze, &(struct td_squeeze_attrs){.dims = {1, {-1}}}, 1, &gb) : gb);
}

/* the same, and of a only the triangle that is read */
RULE(solve_triangular)
{
    const struct td_solve_triangular_attrs *attrs = attrs_of(r);
    bool upper = attrs->upper, unit = attrs->unitriangular, left = attrs->left;
    ref gb = solve_triangular(r, turned(r, in(r, 0)), g, !upper, left, unit);
    if (needs(r, 0))
        give(r, 0, triangle(r, upper, of_factor(r, gb, out(r), left), !unit ? 0 : upper ? 1 : -1));
    if (needs(r, 1))
        give(r, 1, gb);
}

/* With the lower l: s = l^-T phi(l^T g) l^-1, where phi is the lower triangle with half the diagonal; (s + s^T) / 2 */
RULE(cholesky)
{
    const struct td_cholesky_attrs *attrs = attrs_of(r);
    ref l = out(r);
    if (attrs->upper) {
        l = turned(r, l);
        g = turned(r, g);
    }
    ref m = product(r, turned(r, l), g);
    ref phi = mul(r, add(r, triangle(r, false, m, 0), triangle(r, false, m, -1)), real(r, 0.5));
    ref s = solve_triangular(r, turned(r, l), phi, true, true, false);
    s = solve_triangular(r, l, s, false, false, false);
    give(r, 0, mul(r, add(r, s, turned(r, s)), real(r, 0.5)));
}

/* g cofactor(x) */
RULE(det)
{
    give(r, 0, mul(r, each_matrix(r, g), unary(r, TD_OP_cofactor, in(r, 0))));
}

/* of the logarithm: g x^-T; the sign has none */
RULE(slogdet)
{
    (void)g;
    give(r, 0, mul(r, each_matrix(r, gradient(r, 1)), turned(r, unary(r, TD_OP_inverse, in(r, 0)))));
}

/* With w = x^-T: det(x) (sum(g w) w - w g^T w). Of singular x it is not known: inverse says so. */
RULE(cofactor)
{
    ref x = in(r, 0), w = turned(r, unary(r, TD_OP_inverse, x));
    struct td_dims both = {2, {-2, -1}};
    ref part = sub(r, mul(r, sum(r, mul(r, g, w), &both), w), product(r, w, product(r, turned(r, g), w)));
    give(r, 0, mul(r, each_matrix(r, unary(r, TD_OP_det, x)), part));
}
