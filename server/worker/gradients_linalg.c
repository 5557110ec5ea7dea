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

/* x with before and behind columns of 0 more */
static ref padded(struct rule *r, ref x, int64_t before, int64_t behind)
{
    return step(r, TD_OP_pad, &(struct td_pad_attrs){.pads = {2, {before, behind}}}, 1, &x);
}

/* Of x = q r with a square r: m = r gr^T - gq^T q; (gq + q (m's lower triangle, turned over its diagonal)) r^-T */
static ref of_square_qr(struct rule *r, ref q, ref upper, ref gq, ref gr)
{
    ref m = sub(r, product(r, upper, turned(r, gr)), product(r, turned(r, gq), q));
    ref c = add(r, triangle(r, false, m, 0), turned(r, triangle(r, false, m, -1)));
    return solve_triangular(r, turned(r, upper), add(r, gq, product(r, q, c)), false, false, false);
}

/* Where x is wide, r = (r1, r2) and x = (q r1, q r2): the first part as above, with the gradient of q in the second
 * besides, q r2 gr2^T; the second part q gr2. */
RULE(qr)
{
    const struct td_meta *x = shape_of(r, 0);
    int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1];
    ref q = out(r), upper = output(r, 1), gr = gradient(r, 1);
    if (m >= n) {
        give(r, 0, of_square_qr(r, q, upper, g, gr));
        return;
    }
    ref gr2 = slice(r, gr, -1, m, n), r2 = slice(r, upper, -1, m, n);
    ref gq = add(r, g, product(r, q, product(r, r2, turned(r, gr2))));
    ref first = of_square_qr(r, q, slice(r, upper, -1, 0, m), gq, slice(r, gr, -1, 0, m));
    give(r, 0, add(r, padded(r, first, 0, n - m), padded(r, product(r, q, gr2), m, 0)));
}

/* The columns of x times the elements of v. */
static ref columns_times(struct rule *r, ref x, ref v)
{
    return mul(r, x, unsqueeze(r, v, -2));
}

/* x_ij / (v_j - v_i), 0 on the diagonal */
static ref over_gaps(struct rule *r, ref x, ref v)
{
    const struct td_meta *like = &r->values[x].meta;
    ref one = step(r, TD_OP_eye,
                   &(struct td_eye_attrs){.n = like->shape[like->rank - 1], .m = -1, .dtype = like->dtype}, 0, NULL);
    ref gaps = add(r, sub(r, unsqueeze(r, v, -2), unsqueeze(r, v, -1)), one);
    return divide(r, add(r, triangle(r, false, x, -1), triangle(r, true, x, 1)), gaps);
}

/* v (diag(gl) + (v^T gv)_ij / (l_j - l_i)) v^T, made symmetric */
RULE(eigh)
{
    ref v = output(r, 1), l = out(r), both = -1;
    if (!came(r, 1)) {
        give(r, 0, product(r, columns_times(r, v, g), turned(r, v)));
        return;
    }
    both = product(r, v, over_gaps(r, product(r, turned(r, v), gradient(r, 1)), l));
    both = product(r, add(r, both, columns_times(r, v, g)), turned(r, v));
    give(r, 0, mul(r, add(r, both, turned(r, both)), real(r, 0.5)));
}

/* u diag(g) vh */
RULE(svdvals)
{
    ref u = unary(r, TD_OP_svd, in(r, 0));
    give(r, 0, product(r, columns_times(r, u, g), u + 2));
}

static ref skew(struct rule *r, ref x)
{
    return sub(r, x, turned(r, x));
}

/* What of gx lies outside of the space of the orthonormal columns of x, over s: (gx - x x^T gx) diag(s)^-1 */
static ref outside(struct rule *r, ref x, ref gx, ref s)
{
    return divide(r, sub(r, gx, product(r, x, product(r, turned(r, x), gx))), unsqueeze(r, s, -2));
}

/* With skew(a) = a - a^T, e_ij = s_j^2 - s_i^2:
 * u (skew(u^T gu) / e diag(s) + diag(s) skew(v^T gv) / e + diag(gs)) vh, and what of gu and gv lies outside of both */
RULE(svd)
{
    const struct td_meta *x = shape_of(r, 0);
    int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1];
    ref u = out(r), s = output(r, 1), vh = output(r, 2), v = turned(r, vh);
    ref squares = mul(r, s, s), gs = gradient(r, 1), total = product(r, columns_times(r, u, gs), vh);
    if (came(r, 0)) {
        ref inner = columns_times(r, over_gaps(r, skew(r, product(r, turned(r, u), g)), squares), s);
        ref left = product(r, u, inner);
        left = m > n ? add(r, left, outside(r, u, g, s)) : left;
        total = add(r, total, product(r, left, vh));
    }
    if (came(r, 2)) {
        ref gv = turned(r, gradient(r, 2));
        ref inner = mul(r, over_gaps(r, skew(r, product(r, vh, gv)), squares), unsqueeze(r, s, -1));
        ref right = product(r, inner, vh);
        right = n > m ? add(r, right, turned(r, outside(r, v, gv, s))) : right;
        total = add(r, total, product(r, u, right));
    }
    give(r, 0, total);
}
