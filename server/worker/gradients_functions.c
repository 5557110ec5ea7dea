/* Gradient rules of the functions of functions.c, activation.c and pairs.c in kernels/cpu, written as those of
 * gradients_elementwise.c. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "server/worker/rule_ops.h"

/* ---- logarithms, trigonometry ---- */

/* 2^x: g * y * log(2) */
RULE(exp2)
{
    give(r, 0, mul(r, mul(r, g, out(r)), real(r, M_LN2)));
}

/* g * (y + 1) */
RULE(expm1)
{
    give(r, 0, mul(r, g, add(r, out(r), real(r, 1))));
}

/* g / (x * log(2)) */
RULE(log2)
{
    give(r, 0, divide(r, g, mul(r, in(r, 0), real(r, M_LN2))));
}

/* g / (x * log(10)) */
RULE(log10)
{
    give(r, 0, divide(r, g, mul(r, in(r, 0), real(r, M_LN10))));
}

/* g / (x + 1) */
RULE(log1p)
{
    give(r, 0, divide(r, g, add(r, in(r, 0), real(r, 1))));
}

/* x * x + 1, 1 - x * x */
static ref square_and_one(struct rule *r, ref x)
{
    return add(r, unary(r, TD_OP_square, x), real(r, 1));
}
static ref one_minus_square(struct rule *r, ref x)
{
    return one_minus(r, unary(r, TD_OP_square, x));
}

/* g * (y * y + 1) */
RULE(tan)
{
    give(r, 0, mul(r, g, square_and_one(r, out(r))));
}

/* g * rsqrt(1 - x * x) */
RULE(asin)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_rsqrt, one_minus_square(r, in(r, 0)))));
}

RULE(acos)
{
    give(r, 0, neg(r, mul(r, g, unary(r, TD_OP_rsqrt, one_minus_square(r, in(r, 0))))));
}

/* g / (x * x + 1) */
RULE(atan)
{
    give(r, 0, divide(r, g, square_and_one(r, in(r, 0))));
}

RULE(sinh)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_cosh, in(r, 0))));
}

RULE(cosh)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_sinh, in(r, 0))));
}

/* g * rsqrt(x * x + 1) */
RULE(asinh)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_rsqrt, square_and_one(r, in(r, 0)))));
}

/* g * rsqrt(x * x - 1) */
RULE(acosh)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_rsqrt, sub(r, unary(r, TD_OP_square, in(r, 0)), real(r, 1)))));
}

/* g / (1 - x * x) */
RULE(atanh)
{
    give(r, 0, divide(r, g, one_minus_square(r, in(r, 0))));
}

/* The slope of sinc for p = pi * x from -1/2 to 1/2: the sum of (-1)^k 2k p^(2k - 1) / (2k + 1)! times pi, of which the
 * derivatives of the first orders are as exact. */
static ref slope_of_sinc(struct rule *r, ref p)
{
    enum { TERMS = 11 };
    double factors[TERMS], factorial = 1;
    for (int k = 1; k <= TERMS; k++) {
        factorial *= 2 * k * (2 * k + 1);
        factors[k - 1] = (k % 2 ? -M_PI : M_PI) * 2 * k / factorial;
    }
    ref square = unary(r, TD_OP_square, p), sum = mul(r, square, real(r, factors[TERMS - 1]));
    for (int k = TERMS - 2; k > 0; k--)
        sum = mul(r, add(r, sum, real(r, factors[k])), square);
    return mul(r, add(r, sum, real(r, factors[0])), p);
}

/* p = pi * x: g * (cos(p) * p - sin(p)) / (p * x), 0 where x * x is 0, and a safe x is divided by; near 0 a polynomial
 * where it is differentiated again, since 0 has no slope, and little is left of a difference that cancels */
RULE(sinc)
{
    ref x = in(r, 0), zero = real(r, 0), square = unary(r, TD_OP_square, x), near_zero, near = zero;
    if (r->create) {
        near_zero = binary(r, TD_OP_lt, square, real(r, 0.25 / (M_PI * M_PI)));
        near = mul(r, g, slope_of_sinc(r, mul(r, where(r, near_zero, x, zero), real(r, M_PI))));
    } else {
        near_zero = binary(r, TD_OP_eq, square, zero);
    }
    ref safe = where(r, near_zero, real(r, 1), x), p = mul(r, safe, real(r, M_PI));
    ref top = sub(r, mul(r, unary(r, TD_OP_cos, p), p), unary(r, TD_OP_sin, p));
    give(r, 0, where(r, near_zero, near, mul(r, g, divide(r, top, mul(r, p, safe)))));
}

/* g / (x * (1 - x)); 0 outside eps to 1 - eps */
RULE(logit)
{
    double eps = ((const struct td_logit_attrs *)attrs_of(r))->eps;
    ref x = in(r, 0), zero = real(r, 0);
    ref slope = divide(r, g, mul(r, x, one_minus(r, x)));
    ref low = real(r, eps >= 0 ? eps : 0), high = real(r, eps >= 0 ? 1 - eps : 1),
        outside = eps >= 0 ? zero : real(r, NAN);
    slope = where(r, binary(r, TD_OP_lt, x, low), outside, slope);
    give(r, 0, where(r, binary(r, TD_OP_gt, x, high), outside, slope));
}

/* g where x is finite */
RULE(nan_to_num)
{
    give(r, 0, where(r, unary(r, TD_OP_isfinite, in(r, 0)), g, real(r, 0)));
}

/* ---- activations ---- */

/* g * sigmoid(-x) */
RULE(logsigmoid)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_sigmoid, neg(r, in(r, 0)))));
}

/* g where low < x < high */
static void give_between(struct rule *r, ref g, double low, double high)
{
    ref x = in(r, 0), zero = real(r, 0);
    ref below = where(r, binary(r, TD_OP_lt, x, real(r, high)), g, zero);
    give(r, 0, where(r, binary(r, TD_OP_gt, x, real(r, low)), below, zero));
}

RULE(relu6)
{
    give_between(r, g, 0, 6);
}

RULE(hardtanh)
{
    const struct td_hardtanh_attrs *a = attrs_of(r);
    give_between(r, g, a->min_val, a->max_val);
}

/* g where x > 0, otherwise g * s */
RULE(leaky_relu)
{
    ref s = real(r, ((const struct td_leaky_relu_attrs *)attrs_of(r))->negative_slope);
    give(r, 0, where(r, binary(r, TD_OP_gt, in(r, 0), real(r, 0)), g, mul(r, g, s)));
}

/* g * above where x > 0, otherwise g * below * exp(min(x, 0) * rate) */
static void give_elu(struct rule *r, ref g, double above, double below, double rate)
{
    ref x = in(r, 0);
    const struct td_clamp_attrs to_zero = {.min = -INFINITY, .max = 0};
    ref e = unary(r, TD_OP_exp, mul(r, step(r, TD_OP_clamp, &to_zero, 1, &x), real(r, rate)));
    ref low = mul(r, mul(r, g, real(r, below)), e), high = above == 1 ? g : mul(r, g, real(r, above));
    give(r, 0, where(r, binary(r, TD_OP_gt, x, real(r, 0)), high, low));
}

RULE(elu)
{
    give_elu(r, g, 1, ((const struct td_elu_attrs *)attrs_of(r))->alpha, 1);
}

RULE(celu)
{
    give_elu(r, g, 1, 1, 1 / ((const struct td_celu_attrs *)attrs_of(r))->alpha);
}

RULE(selu)
{
    give_elu(r, g, 1.0507009873554804935, 1.7580993408473768599, 1);
}

/* t = tanh(softplus(x)), s = sigmoid(x): g * (t + x * s * (1 - t * t)) */
RULE(mish)
{
    const struct td_softplus_attrs attrs = {.beta = 1, .threshold = 20};
    ref x = in(r, 0), t = unary(r, TD_OP_tanh, step(r, TD_OP_softplus, &attrs, 1, &x));
    ref steep = mul(r, mul(r, x, unary(r, TD_OP_sigmoid, x)), one_minus_square(r, t));
    give(r, 0, mul(r, g, add(r, t, steep)));
}

/* t = beta * x: g where t > threshold, otherwise g * sigmoid(t) */
RULE(softplus)
{
    const struct td_softplus_attrs *a = attrs_of(r);
    ref t = mul(r, in(r, 0), real(r, a->beta));
    ref slope = mul(r, g, unary(r, TD_OP_sigmoid, t));
    give(r, 0, where(r, binary(r, TD_OP_gt, t, real(r, a->threshold)), g, slope));
}

/* g / (1 + |x|) ^ 2 */
RULE(softsign)
{
    ref bottom = add(r, unary(r, TD_OP_abs, in(r, 0)), real(r, 1));
    give(r, 0, divide(r, g, unary(r, TD_OP_square, bottom)));
}

/* g / 6 where -3 < x < 3 */
RULE(hardsigmoid)
{
    give_between(r, divide(r, g, real(r, 6)), -3, 3);
}

/* g * (x / 3 + 0.5) where -3 < x < 3, 0 below and g above */
RULE(hardswish)
{
    ref x = in(r, 0);
    ref slope = mul(r, g, add(r, divide(r, x, real(r, 3)), real(r, 0.5)));
    slope = where(r, binary(r, TD_OP_le, x, real(r, -3)), real(r, 0), slope);
    give(r, 0, where(r, binary(r, TD_OP_ge, x, real(r, 3)), g, slope));
}

/* g where |x| > lambd */
static void give_beyond(struct rule *r, ref g, double lambd)
{
    ref beyond = binary(r, TD_OP_gt, unary(r, TD_OP_abs, in(r, 0)), real(r, lambd));
    give(r, 0, where(r, beyond, g, real(r, 0)));
}

RULE(softshrink)
{
    give_beyond(r, g, ((const struct td_softshrink_attrs *)attrs_of(r))->lambd);
}

RULE(hardshrink)
{
    give_beyond(r, g, ((const struct td_hardshrink_attrs *)attrs_of(r))->lambd);
}

/* 0 where x <= threshold, otherwise g */
RULE(threshold)
{
    ref edge = real(r, ((const struct td_threshold_attrs *)attrs_of(r))->threshold);
    give(r, 0, where(r, binary(r, TD_OP_le, in(r, 0), edge), real(r, 0), g));
}

/* ---- two and three operands ---- */

/* g, -g * quotient(a / b) */
static void give_rest(struct rule *r, ref g, enum td_op_id quotient)
{
    give(r, 0, g);
    if (needs(r, 1))
        give(r, 1, neg(r, mul(r, g, binary(r, quotient, in(r, 0), in(r, 1)))));
}

RULE(fmod)
{
    give_rest(r, g, TD_OP_trunc_divide);
}

RULE(remainder)
{
    give_rest(r, g, TD_OP_floor_divide);
}

/* all of g to a where it is as good as b or b is nan, otherwise to b */
static void give_better(struct rule *r, ref g, enum td_op_id as_good)
{
    ref a = in(r, 0), b = in(r, 1), zero = real(r, 0);
    ref chosen = binary(r, as_good, a, b), nan = unary(r, TD_OP_isnan, b);
    if (needs(r, 0))
        give(r, 0, where(r, chosen, g, where(r, nan, g, zero)));
    if (needs(r, 1))
        give(r, 1, where(r, chosen, zero, where(r, nan, zero, g)));
}

RULE(fmax)
{
    give_better(r, g, TD_OP_ge);
}

RULE(fmin)
{
    give_better(r, g, TD_OP_le);
}

/* s = 1 / (a * a + b * b): g * b * s, -g * a * s */
RULE(atan2)
{
    /* The square of an integer would wrap. */
    ref a = as_computed(r, in(r, 0)), b = as_computed(r, in(r, 1));
    ref s = unary(r, TD_OP_reciprocal, add(r, unary(r, TD_OP_square, a), unary(r, TD_OP_square, b)));
    if (needs(r, 0))
        give(r, 0, mul(r, mul(r, g, b), s));
    if (needs(r, 1))
        give(r, 1, neg(r, mul(r, mul(r, g, a), s)));
}

/* g * a / y, g * b / y */
RULE(hypot)
{
    for (int k = 0; k < 2; k++)
        if (needs(r, k))
            give(r, k, divide(r, mul(r, g, in(r, k)), out(r)));
}

/* g * sign(y) * sign(a), 0 where a is 0; zeros */
RULE(copysign)
{
    if (needs(r, 0)) {
        ref turned = mul(r, unary(r, TD_OP_sign, out(r)), unary(r, TD_OP_sign, in(r, 0)));
        give(r, 0, where(r, binary(r, TD_OP_eq, in(r, 0), real(r, 0)), real(r, 0), mul(r, g, turned)));
    }
    if (needs(r, 1))
        give(r, 1, zeros(r, shape_of(r, 1)));
}

/* g * sigmoid(a - b), g * sigmoid(b - a) */
RULE(logaddexp)
{
    for (int k = 0; k < 2; k++)
        if (needs(r, k))
            give(r, k, mul(r, g, unary(r, TD_OP_sigmoid, sub(r, in(r, k), in(r, 1 - k)))));
}

/* xlogy(g, b), 0 where a is 0 and b is not above 0 (nan only if it is a number); g * a / b */
RULE(xlogy)
{
    ref a = as_computed(r, in(r, 0)), b = as_computed(r, in(r, 1)), zero = real(r, 0);
    bool fixed = r->values[b].is_number, above = fixed && td_number_real(r->values[b].number) > 0;
    if (needs(r, 0) && fixed) {
        ref value = binary(r, TD_OP_xlogy, g, b);
        give(r, 0, above ? value : where(r, binary(r, TD_OP_eq, a, zero), zero, value));
    } else if (needs(r, 0)) {
        ref flat = mul(r, binary(r, TD_OP_eq, a, zero), binary(r, TD_OP_le, b, zero));
        ref base = where(r, flat, real(r, 1), b);
        give(r, 0, where(r, flat, zero, binary(r, TD_OP_xlogy, g, base)));
    }
    if (needs(r, 1))
        give(r, 1, divide(r, mul(r, g, a), b)); /* a / b may be too small for its type */
}

/* g * (1 - w), g * w, g * (b - a) */
RULE(lerp)
{
    ref w = in(r, 2);
    bool fixed = r->values[w].is_number; /* two numbers would meet in f32 */
    if (needs(r, 0))
        give(r, 0, mul(r, g, fixed ? real(r, 1 - td_number_real(r->values[w].number)) : one_minus(r, w)));
    if (needs(r, 1))
        give(r, 1, mul(r, g, w));
    if (needs(r, 2))
        give(r, 2, mul(r, g, sub(r, in(r, 1), in(r, 0))));
}

/* g, v * g * b, v * g * a */
RULE(addcmul)
{
    ref v = real(r, ((const struct td_addcmul_attrs *)attrs_of(r))->value);
    give(r, 0, g);
    for (int k = 1; k <= 2; k++)
        if (needs(r, k))
            give(r, k, mul(r, mul(r, g, in(r, 3 - k)), v));
}

/* g, v * g / b, -v * g * a / (b * b) */
RULE(addcdiv)
{
    ref v = real(r, ((const struct td_addcdiv_attrs *)attrs_of(r))->value), b = in(r, 2);
    give(r, 0, g);
    if (needs(r, 1))
        give(r, 1, mul(r, divide(r, g, b), v));
    if (needs(r, 2))
        give(r, 2, neg(r, mul(r, divide(r, mul(r, g, in(r, 1)), unary(r, TD_OP_square, b)), v)));
}

/* g where the mask left x, and where it did not */
RULE(masked_fill)
{
    ref mask = in(r, 1), zero = real(r, 0);
    if (needs(r, 0))
        give(r, 0, where(r, mask, zero, g));
    if (needs(r, 2))
        give(r, 2, where(r, mask, g, zero));
}
