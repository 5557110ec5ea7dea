/* Gradient rules of elementwise ops. g is the gradient of the output, y the output, x (or a, b) an input; the formulas
 * stand over each rule. Where a rule selects, it uses where and never a product with a mask, so that infinities and NaN
 * on the other side stay out. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "server/worker/rule_ops.h"

RULE(neg)
{
    give(r, 0, neg(r, g));
}

/* g * y */
RULE(exp)
{
    give(r, 0, mul(r, g, out(r)));
}

/* g / x */
RULE(log)
{
    give(r, 0, divide(r, g, in(r, 0)));
}

/* g * (1 - y * y) */
RULE(tanh)
{
    give(r, 0, mul(r, g, one_minus(r, unary(r, TD_OP_square, out(r)))));
}

/* 0 where y <= 0, else g, also at nan */
RULE(relu)
{
    give(r, 0, where(r, binary(r, TD_OP_le, out(r), real(r, 0)), real(r, 0), g));
}

/* 2 * g * x */
RULE(square)
{
    give(r, 0, mul(r, mul(r, g, real(r, 2)), in(r, 0)));
}

/* g * y * (1 - y) */
RULE(sigmoid)
{
    ref y = out(r);
    give(r, 0, mul(r, mul(r, g, y), one_minus(r, y)));
}

RULE(add)
{
    give(r, 0, g);
    give(r, 1, g);
}

RULE(sub)
{
    give(r, 0, g);
    if (needs(r, 1))
        give(r, 1, neg(r, g));
}

RULE(rsub)
{
    if (needs(r, 0))
        give(r, 0, neg(r, g));
    give(r, 1, g);
}

/* g * b, g * a */
RULE(mul)
{
    if (needs(r, 0))
        give(r, 0, mul(r, g, in(r, 1)));
    if (needs(r, 1))
        give(r, 1, mul(r, g, in(r, 0)));
}

/* g / b, -g * (y / b) */
RULE(div)
{
    ref b = in(r, 1);
    if (needs(r, 0))
        give(r, 0, divide(r, g, b));
    if (needs(r, 1))
        give(r, 1, neg(r, mul(r, g, divide(r, out(r), b))));
}

/* g where the condition chose it, else 0 */
RULE(where)
{
    ref condition = in(r, 0), zero = real(r, 0);
    if (needs(r, 1))
        give(r, 1, where(r, condition, g, zero));
    if (needs(r, 2))
        give(r, 2, where(r, condition, zero, g));
}

/* zeros: flat but for steps */
RULE(zero)
{
    (void)g;
    for (int k = 0; k < r->node->in_count; k++)
        if (needs(r, k))
            give(r, k, zeros(r, shape_of(r, k)));
}

/* g * sign(x) */
RULE(abs)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_sign, in(r, 0))));
}

/* g * 0.5 / y */
RULE(sqrt)
{
    give(r, 0, divide(r, mul(r, g, real(r, 0.5)), out(r)));
}

/* -0.5 * g * y * y * y */
RULE(rsqrt)
{
    ref y = out(r);
    give(r, 0, mul(r, mul(r, g, real(r, -0.5)), mul(r, y, unary(r, TD_OP_square, y))));
}

/* -g * y * y */
RULE(reciprocal)
{
    give(r, 0, neg(r, mul(r, g, unary(r, TD_OP_square, out(r)))));
}

/* g * cos(x) */
RULE(sin)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_cos, in(r, 0))));
}

/* -g * sin(x) */
RULE(cos)
{
    give(r, 0, neg(r, mul(r, g, unary(r, TD_OP_sin, in(r, 0)))));
}

/* c * exp(-x * x * s) */
static ref bell(struct rule *r, ref x, double s, double c)
{
    return mul(r, unary(r, TD_OP_exp, mul(r, unary(r, TD_OP_square, x), real(r, -s))), real(r, c));
}

/* 2 / sqrt(pi) * g * exp(-x * x) */
RULE(erf)
{
    give(r, 0, mul(r, g, bell(r, in(r, 0), 1, M_2_SQRTPI)));
}

/* -2 / sqrt(pi) * g * exp(-x * x) */
RULE(erfc)
{
    give(r, 0, mul(r, g, bell(r, in(r, 0), 1, -M_2_SQRTPI)));
}

/* sqrt(pi) / 2 * g * exp(y * y) */
RULE(erfinv)
{
    give(r, 0, mul(r, g, bell(r, out(r), -1, 1 / M_2_SQRTPI)));
}

/* Phi(x) + x * phi(x), Phi = (1 + erf(x / sqrt(2))) / 2, phi = exp(-x * x / 2) / sqrt(2 * pi) */
static ref gelu_slope(struct rule *r, ref x)
{
    ref erf = unary(r, TD_OP_erf, mul(r, x, real(r, M_SQRT1_2)));
    ref below = mul(r, add(r, erf, real(r, 1)), real(r, 0.5));
    return add(r, below, mul(r, x, bell(r, x, 0.5, M_2_SQRTPI * M_SQRT1_2 / 2)));
}

/* t = tanh(k * (x + c * x^3)): (1 + t) / 2 + x / 2 * (1 - t * t) * k * (1 + 3 * c * x * x) */
static ref gelu_tanh_slope(struct rule *r, ref x)
{
    const double k = M_2_SQRTPI * M_SQRT1_2, c = 0.044715;
    ref square = unary(r, TD_OP_square, x);
    ref inner = mul(r, mul(r, x, add(r, mul(r, square, real(r, c)), real(r, 1))), real(r, k));
    ref t = unary(r, TD_OP_tanh, inner);
    ref outer = mul(r, add(r, t, real(r, 1)), real(r, 0.5));
    ref steep = mul(r, add(r, mul(r, square, real(r, 3 * c)), real(r, 1)), real(r, k / 2));
    return add(r, outer, mul(r, mul(r, x, one_minus(r, unary(r, TD_OP_square, t))), steep));
}

RULE(gelu)
{
    const struct td_gelu_attrs *a = attrs_of(r);
    ref x = in(r, 0);
    give(r, 0, mul(r, g, a->tanh_form ? gelu_tanh_slope(r, x) : gelu_slope(r, x)));
}

/* s = sigmoid(x): g * s * (1 + x * (1 - s)) */
RULE(silu)
{
    ref x = in(r, 0), s = unary(r, TD_OP_sigmoid, x);
    ref slope = mul(r, s, add(r, mul(r, x, one_minus(r, s)), real(r, 1)));
    give(r, 0, mul(r, g, slope));
}

/* g where min <= x <= max, the edges with it */
RULE(clamp)
{
    const struct td_clamp_attrs *a = attrs_of(r);
    ref x = in(r, 0), zero = real(r, 0);
    ref above = where(r, binary(r, TD_OP_ge, x, real(r, a->min)), g, zero);
    give(r, 0, where(r, binary(r, TD_OP_le, x, real(r, a->max)), above, zero));
}

/* a: g * b * pow(a, b - 1), 0 where b is 0; b: g * y * log(a), 0 where a is 0 and b is not negative */
RULE(pow)
{
    /* The logarithm of integers, for one, would be taken in f32. */
    ref a = as_computed(r, in(r, 0)), b = as_computed(r, in(r, 1)), zero = real(r, 0);
    bool fixed = r->values[b].is_number;
    double exponent = fixed ? td_number_real(r->values[b].number) : 0;
    if (needs(r, 0) && fixed && exponent == 0) {
        give(r, 0, zeros(r, shape_of(r, 0)));
    } else if (needs(r, 0)) {
        ref less = fixed ? real(r, exponent - 1) : sub(r, b, real(r, 1));
        ref value = mul(r, g, mul(r, binary(r, TD_OP_pow, a, less), b));
        give(r, 0, fixed ? value : where(r, binary(r, TD_OP_eq, b, zero), zero, value));
    }
    if (needs(r, 1)) {
        /* A safe base first: log(0) would come back as nan in the second derivative. */
        ref flat = mul(r, binary(r, TD_OP_eq, a, zero), binary(r, TD_OP_ge, b, zero));
        ref base = where(r, flat, real(r, 1), a);
        give(r, 1, where(r, flat, zero, mul(r, g, mul(r, out(r), unary(r, TD_OP_log, base)))));
    }
}

/* all of g to the one that was chosen, half of it where both are equal; nan is chosen */
static void give_choice(struct rule *r, ref g, enum td_op_id better)
{
    ref a = in(r, 0), b = in(r, 1), zero = real(r, 0);
    ref half = mul(r, g, real(r, 0.5)), equal = binary(r, TD_OP_eq, a, b);
    for (int k = 0; k < 2; k++) {
        ref mine = k ? b : a, other = k ? a : b;
        ref nan = binary(r, TD_OP_ne, mine, mine);
        ref chosen = where(r, nan, nan, binary(r, better, mine, other));
        if (needs(r, k))
            give(r, k, where(r, equal, half, where(r, chosen, g, zero)));
    }
}

RULE(maximum)
{
    give_choice(r, g, TD_OP_gt);
}

RULE(minimum)
{
    give_choice(r, g, TD_OP_lt);
}
