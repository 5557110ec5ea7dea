/* The meaning of the elementwise functions beside the simplest, and of division with a remainder, logic and bits.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>

#include "tests/oracle_tools.h"

/* ---- one tensor ---- */

typedef double real_function(const struct oracle_call *c, double x);

/* scale: what the error is relative to beside the result. */
static void function(struct oracle_call *c, real_function *real, double scale)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        put(c->out, i, real(c, (double)c->in[0].real[seen_by(&c->in[0], c->out, i)]));
        c->out->scale[i] += scale;
    }
}

#define FUNCTION_BESIDE(name, scale, in_reals)                       \
    static double name##_real(const struct oracle_call *c, double x) \
    {                                                                \
        const struct td_##name##_attrs *a = c->attrs;                \
        (void)a;                                                     \
        return in_reals;                                             \
    }                                                                \
    void oracle_##name(struct oracle_call *c)                        \
    {                                                                \
        function(c, name##_real, scale);                             \
    }
#define FUNCTION(name, in_reals) FUNCTION_BESIDE(name, 0, in_reals)

/* By halving: erf rises. */
static double inverse_erf(double y)
{
    long double low = 0, high = 30, size = fabsl((long double)y);
    if (!(size < 1))
        return size == 1 ? copysign(INFINITY, y) : NAN;
    for (int k = 0; k < 130; k++) {
        long double middle = (low + high) / 2;
        if (erfcl(middle) > 1 - size)
            low = middle;
        else
            high = middle;
    }
    return copysign((double)low, y);
}
static double erfinv_anywhere(double y)
{
    double p = acos(-1) * y * y;
    return fabs(y) < 1e-3 ? y * sqrt(acos(-1)) / 2 * (1 + p / 12 + 7 * p * p / 480) : inverse_erf(y);
}
static double moved(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

FUNCTION(frac, x - trunc(x))
FUNCTION(exp2, exp2(x))
FUNCTION(expm1, expm1(x))
FUNCTION(log2, log2(x))
FUNCTION(log10, log10(x))
FUNCTION(log1p, log1p(x))
FUNCTION(tan, tan(x))
FUNCTION(asin, asin(x))
FUNCTION(acos, acos(x))
FUNCTION(atan, atan(x))
FUNCTION(sinh, sinh(x))
FUNCTION(cosh, cosh(x))
FUNCTION(asinh, asinh(x))
FUNCTION(acosh, acosh(x))
FUNCTION(atanh, atanh(x))
FUNCTION(erfc, erfc(x))
FUNCTION(erfinv, erfinv_anywhere(x))
FUNCTION(logsigmoid, x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)))
FUNCTION(leaky_relu, x > 0 ? x : x * (c->out->dtype == TD_F32 ? (float)a->negative_slope : a->negative_slope))
FUNCTION(elu, x > 0 ? x : a->alpha * expm1(x))
FUNCTION(celu, x > 0 ? x : a->alpha * expm1(x / a->alpha))
FUNCTION(selu, 1.0507009873554804934193349852946 * (x > 0 ? x : 1.6732632423543772848170429916717 * expm1(x)))
FUNCTION(mish, x *tanh(log1p(exp(x))))
FUNCTION(softplus, a->beta *x > a->threshold ? x : log1p(exp(a->beta * x)) / a->beta)
FUNCTION(softsign, x / (1 + fabs(x)))
FUNCTION_BESIDE(hardsigmoid, 1, moved((x + 3) / 6, 0, 1))
FUNCTION_BESIDE(hardswish, 3, x *moved((x + 3) / 6, 0, 1))
FUNCTION_BESIDE(softshrink, 1, x > a->lambd ? x - a->lambd : x < -a->lambd ? x + a->lambd : 0)
FUNCTION(hardshrink, x >= -a->lambd && x <= a->lambd ? 0 : x)
FUNCTION_BESIDE(sinc, 1, x == 0 ? 1 : sin(acos(-1) * x) / (acos(-1) * x))
FUNCTION_BESIDE(logit, 1,
                log((a->eps >= 0 ? moved(x, a->eps, 1 - a->eps) : x) /
                    (1 - (a->eps >= 0 ? moved(x, a->eps, 1 - a->eps) : x))))

/* For integers too. */
#define FUNCTION_ANY(name, in_reals, in_integers)                                                    \
    void oracle_##name(struct oracle_call *c)                                                        \
    {                                                                                                \
        const struct td_##name##_attrs *a = c->attrs;                                                \
        (void)a;                                                                                     \
        for (int64_t i = 0; i < c->out->count; i++) {                                                \
            int64_t at = seen_by(&c->in[0], c->out, i);                                              \
            double x = floating(&c->in[0]) ? (double)c->in[0].real[at] : 0;                          \
            int64_t n = floating(&c->in[0]) ? 0 : c->in[0].integer[at];                              \
            if (floating(c->out))                                                                    \
                put(c->out, i, in_reals);                                                            \
            else                                                                                     \
                c->out->integer[i] = floating(&c->in[0]) ? (in_reals) != 0 : (int64_t)(in_integers); \
            (void)n;                                                                                 \
        }                                                                                            \
    }
FUNCTION_ANY(floor, floor(x), n)
FUNCTION_ANY(ceil, ceil(x), n)
FUNCTION_ANY(round, nearbyint(x), n)
FUNCTION_ANY(trunc, trunc(x), n)
FUNCTION_ANY(isnan, isnan(x) != 0, 0)
FUNCTION_ANY(isinf, isinf(x) != 0, 0)
FUNCTION_ANY(isfinite, isfinite(x) != 0, 1)
FUNCTION_ANY(logical_not, x == 0, n == 0)
FUNCTION_ANY(bitwise_not, x, c->out->dtype == TD_BOOL ? !n : -1 - n)
FUNCTION_ANY(threshold, x <= a->threshold ? a->value : x, n <= (int64_t)a->threshold ? (int64_t)a->value : n)
FUNCTION_ANY(relu6, moved(x, 0, 6), n<0 ? 0 : n> 6 ? 6 : n)
static int64_t whole_moved(int64_t n, int64_t low, int64_t high)
{
    n = n < low ? low : n;
    return n > high ? high : n;
}
static double both_moved(double x, double low, double high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}
FUNCTION_ANY(hardtanh, both_moved(x, a->min_val, a->max_val), whole_moved(n, (int64_t)a->min_val, (int64_t)a->max_val))

static double replaced(double x, const struct td_nan_to_num_attrs *a, double most)
{
    if (isnan(x))
        return a->nan;
    if (!isinf(x))
        return x;
    return x > 0 ? (isinf(a->posinf) ? most : a->posinf) : isinf(a->neginf) ? -most : a->neginf;
}
FUNCTION_ANY(nan_to_num, replaced(x, a, c->out->dtype == TD_F32 ? FLT_MAX : DBL_MAX), n)

/* ---- two tensors ---- */

#define PAIR(name, beside, in_reals, in_integers)                                                        \
    void oracle_##name(struct oracle_call *c)                                                            \
    {                                                                                                    \
        for (int64_t i = 0; i < c->out->count; i++) {                                                    \
            int64_t ai = seen_by(&c->in[0], c->out, i), bi = seen_by(&c->in[1], c->out, i);              \
            bool reals = floating(&c->in[0]);                                                            \
            double a = reals ? (double)c->in[0].real[ai] : 0, b = reals ? (double)c->in[1].real[bi] : 0; \
            int64_t m = reals ? 0 : c->in[0].integer[ai], n = reals ? 1 : c->in[1].integer[bi];          \
            if (floating(c->out)) {                                                                      \
                put(c->out, i, in_reals);                                                                \
                c->out->scale[i] += beside;                                                              \
            } else {                                                                                     \
                c->out->integer[i] = reals ? (in_reals) != 0 : (int64_t)(in_integers);                   \
            }                                                                                            \
            (void)m, (void)n;                                                                            \
        }                                                                                                \
    }

static double log_sum(double a, double b)
{
    return (double)logl(expl((long double)a) + expl((long double)b));
}

PAIR(fmax, 0, fmax(a, b), m > n ? m : n)
PAIR(fmin, 0, fmin(a, b), m < n ? m : n)
PAIR(atan2, 0, atan2(a, b), 0)
PAIR(hypot, 0, hypot(a, b), 0)
PAIR(copysign, 0, copysign(a, b), 0)
PAIR(logaddexp, fabs(a) + 1, log_sum(a, b), 0)
PAIR(logaddexp2, fabs(a) + fabs(b) + 1, (double)log2l(exp2l((long double)a) + exp2l((long double)b)), 0)
PAIR(xlogy, fabs(a), isnan(b) ? NAN : a == 0 ? 0 : a * log(b), 0)
PAIR(logical_and, 0, a != 0 && b != 0, m != 0 && n != 0)
PAIR(logical_or, 0, a != 0 || b != 0, m != 0 || n != 0)
PAIR(logical_xor, 0, (a != 0) != (b != 0), (m != 0) != (n != 0))
PAIR(bitwise_and, 0, 0 * a * b, m &n)
PAIR(bitwise_or, 0, 0 * a * b, m | n)
PAIR(bitwise_xor, 0, 0 * a * b, m ^ n)
/* By multiplying and dividing, of which only the low bits stay. */
static int64_t shifted_by(const struct oracle_tensor *y, int64_t m, int64_t n, bool up)
{
    int bits = y->dtype == TD_I64 ? 64 : 32;
    bool inside = n >= 0 && n < bits;
    if (y->dtype == TD_BOOL)
        return m != 0 && (up || n == 0);
    if (!up)
        return inside ? (int64_t)floorl(ldexpl((long double)m, (int)-n)) : -(m < 0);
    uint64_t low = inside ? (uint64_t)m << n : 0;
    return bits == 64 ? (int64_t)low : (int64_t)(int32_t)(uint32_t)low;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    for (int64_t rest; b; a = b, b = rest)
        rest = a % b;
    return a < 0 ? -a : a;
}

/* The magnitude of a product that has wrapped. */
static int64_t common_multiple(const struct oracle_tensor *y, int64_t m, int64_t n)
{
    int64_t product = m && n ? WRAP(m / common_divisor(m, n), *, n) : 0;
    return llabs(y->dtype == TD_I32 ? (int32_t)product : product);
}

PAIR(gcd, 0, 0 * a * b, common_divisor(m, n))
PAIR(lcm, 0, 0 * a * b, common_multiple(c->out, m, n))
PAIR(bitwise_left_shift, 0, 0 * a * b, shifted_by(c->out, m, n, true))
PAIR(bitwise_right_shift, 0, 0 * a * b, shifted_by(c->out, m, n, false))
PAIR(heaviside, 0, a == 0 ? b : a > 0, m == 0 ? n : m > 0)

/* ---- division ---- */

static bool refuse_zero(struct oracle_call *c)
{
    for (int64_t i = 0; i < c->out->count && !floating(c->out); i++)
        if (c->in[1].integer[seen_by(&c->in[1], c->out, i)] == 0) {
            c->fault = TD_E_ARGUMENT;
            return true;
        }
    return false;
}

static double rest_down(double a, double b)
{
    double rest = fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* The quotient of the type itself: rounding may have made it whole. */
static double quotient(const struct oracle_call *c, double a, double b)
{
    return c->out->dtype == TD_F32 ? (double)((float)a / (float)b) : a / b;
}

static int64_t whole_quotient(int64_t m, int64_t n, bool down)
{
    if (n == -1)
        return WRAP(0, -, m);
    return m / n - (down && m % n != 0 && (m < 0) != (n < 0));
}
static int64_t whole_rest(int64_t m, int64_t n, bool down)
{
    return WRAP(m, -, WRAP(whole_quotient(m, n, down), *, n));
}

#define DIVISION(name, in_reals, in_integers) \
    PAIR(name##_by, 0, in_reals, in_integers) \
    void oracle_##name(struct oracle_call *c) \
    {                                         \
        if (!refuse_zero(c))                  \
            oracle_##name##_by(c);            \
    }
DIVISION(fmod, fmod(a, b), whole_rest(m, n, false))
DIVISION(remainder, rest_down(a, b), whole_rest(m, n, true))
DIVISION(trunc_divide, trunc(quotient(c, a, b)), whole_quotient(m, n, false))
DIVISION(floor_divide, b == 0 ? a / b : nearbyint((a - rest_down(a, b)) / b), whole_quotient(m, n, true))

/* ---- three tensors ---- */

void oracle_lerp(struct oracle_call *c)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        long double v[3];
        for (int k = 0; k < 3; k++)
            v[k] = c->in[k].real[seen_by(&c->in[k], c->out, i)];
        put(c->out, i, (double)(v[0] + v[2] * (v[1] - v[0])));
        c->out->scale[i] = (fabs((double)v[0]) + fabs((double)v[1])) * (1 + fabs((double)v[2]));
    }
}

static void combine(struct oracle_call *c, double value, bool divide)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t at[3];
        for (int k = 0; k < 3; k++)
            at[k] = seen_by(&c->in[k], c->out, i);
        if (!floating(c->out)) {
            int64_t product = WRAP(WRAP((int64_t)value, *, c->in[1].integer[at[1]]), *, c->in[2].integer[at[2]]);
            c->out->integer[i] = WRAP(c->in[0].integer[at[0]], +, product);
            continue;
        }
        double x = (double)c->in[0].real[at[0]], a = (double)c->in[1].real[at[1]], b = (double)c->in[2].real[at[2]];
        double part = divide ? value * a / b : value * a * b;
        put(c->out, i, x + part);
        c->out->scale[i] = fabs(x) + fabs(part);
    }
}
void oracle_addcmul(struct oracle_call *c)
{
    combine(c, ((const struct td_addcmul_attrs *)c->attrs)->value, false);
}
void oracle_addcdiv(struct oracle_call *c)
{
    combine(c, ((const struct td_addcdiv_attrs *)c->attrs)->value, true);
}

void oracle_masked_fill(struct oracle_call *c)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        struct oracle_tensor *from = c->in[1].integer[seen_by(&c->in[1], c->out, i)] ? &c->in[2] : &c->in[0];
        copy_element(c->out, i, from, seen_by(from, c->out, i));
    }
}
