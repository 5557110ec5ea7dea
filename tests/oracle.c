/* The meaning of elementwise ops and of creation, and the table of all. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

/* ---- elementwise ---- */

static void unary(struct oracle_call *c, double (*real)(double), int64_t (*integer)(int64_t))
{
    for (int64_t i = 0; i < c->out->count; i++)
        if (floating(c->out))
            put(c->out, i, real(c->in[0].real[seen_by(&c->in[0], c->out, i)]));
        else
            c->out->integer[i] = integer(c->in[0].integer[seen_by(&c->in[0], c->out, i)]);
}

#define ORACLE_UNARY(name, in_reals)          \
    static double name##_real(double x)       \
    {                                         \
        return in_reals;                      \
    }                                         \
    void oracle_##name(struct oracle_call *c) \
    {                                         \
        unary(c, name##_real, NULL);          \
    }
#define ORACLE_UNARY_ANY(name, in_reals, in_integers) \
    static double name##_real(double x)               \
    {                                                 \
        return in_reals;                              \
    }                                                 \
    static int64_t name##_integer(int64_t x)          \
    {                                                 \
        return in_integers;                           \
    }                                                 \
    void oracle_##name(struct oracle_call *c)         \
    {                                                 \
        unary(c, name##_real, name##_integer);        \
    }

ORACLE_UNARY(exp, exp(x))
ORACLE_UNARY(log, log(x))
ORACLE_UNARY(tanh, tanh(x))
ORACLE_UNARY(sigmoid, 1 / (1 + exp(-x)))
ORACLE_UNARY(sqrt, sqrt(x))
ORACLE_UNARY(rsqrt, 1 / sqrt(x))
ORACLE_UNARY(sin, sin(x))
ORACLE_UNARY(cos, cos(x))
ORACLE_UNARY(erf, erf(x))
ORACLE_UNARY(silu, x / (1 + exp(-x)))
ORACLE_UNARY(reciprocal, 1 / x)
ORACLE_UNARY_ANY(abs, fabs(x), x < 0 ? WRAP(0, -, x) : x)
ORACLE_UNARY_ANY(sign, x > 0 ? 1 : x < 0 ? -1 : 0, x > 0 ? 1 : x < 0 ? -1 : 0)
ORACLE_UNARY_ANY(neg, -x, WRAP(0, -, x))
ORACLE_UNARY_ANY(relu, x > 0 || isnan(x) ? x : 0, x > 0 ? x : 0)
ORACLE_UNARY_ANY(square, x *x, WRAP(x, *, x))

/* 1 + erf loses digits below 0, as everyone's gelu does: the error is relative to x. */
void oracle_gelu(struct oracle_call *c)
{
    bool by_tanh = ((const struct td_gelu_attrs *)c->attrs)->tanh_form;
    for (int64_t i = 0; i < c->out->count; i++) {
        double x = (double)c->in[0].real[seen_by(&c->in[0], c->out, i)];
        double y = by_tanh ? tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)) : erf(x / sqrt(2));
        put(c->out, i, x / 2 * (1 + y));
        c->out->scale[i] = fabs(x);
    }
}

void oracle_clamp(struct oracle_call *c)
{
    const struct td_clamp_attrs *a = c->attrs;
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t at = seen_by(&c->in[0], c->out, i);
        if (floating(c->out)) {
            double x = (double)c->in[0].real[at];
            x = x < a->min ? a->min : x;
            put(c->out, i, x > a->max ? a->max : x);
        } else {
            int64_t x = c->in[0].integer[at];
            x = (double)x < a->min ? (int64_t)ceil(a->min) : x;
            c->out->integer[i] = (double)x > a->max ? (int64_t)floor(a->max) : x;
        }
    }
}

typedef double real_pair(double, double);
typedef int64_t integer_pair(int64_t, int64_t);

static void binary(struct oracle_call *c, real_pair *real, integer_pair *integer, integer_pair *truth)
{
    struct oracle_tensor *a = &c->in[0], *b = &c->in[1];
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t ai = seen_by(a, c->out, i), bi = seen_by(b, c->out, i);
        double result = floating(a) ? real(a->real[ai], b->real[bi]) : 0;
        if (floating(c->out))
            put(c->out, i, result);
        else if (floating(a))
            c->out->integer[i] = result != 0;
        else
            c->out->integer[i] = (a->dtype == TD_BOOL ? truth : integer)(a->integer[ai], b->integer[bi]);
    }
}

#define ORACLE_BINARY(name, in_reals, in_integers, in_truth)  \
    static double name##_real(double a, double b)             \
    {                                                         \
        return in_reals;                                      \
    }                                                         \
    static int64_t name##_integer(int64_t a, int64_t b)       \
    {                                                         \
        return in_integers;                                   \
    }                                                         \
    static int64_t name##_truth(int64_t a, int64_t b)         \
    {                                                         \
        return in_truth;                                      \
    }                                                         \
    void oracle_##name(struct oracle_call *c)                 \
    {                                                         \
        binary(c, name##_real, name##_integer, name##_truth); \
    }

/* By squaring; a negative power is 0 but of 1 and -1. */
static int64_t integer_power(int64_t base, int64_t exponent)
{
    if (exponent < 0)
        return base == 1 ? 1 : base != -1 ? 0 : exponent % 2 ? -1 : 1;
    if (exponent == 0)
        return 1;
    int64_t result = 1;
    for (int bit = 62; bit >= 0; bit--) {
        result = WRAP(result, *, result);
        result = exponent >> bit & 1 ? WRAP(result, *, base) : result;
    }
    return result;
}

ORACLE_BINARY(add, a + b, WRAP(a, +, b), a || b)
ORACLE_BINARY(add_, a + b, WRAP(a, +, b), a || b)
ORACLE_BINARY(sub, a - b, WRAP(a, -, b), a != b)
ORACLE_BINARY(rsub, b - a, WRAP(b, -, a), a != b)
ORACLE_BINARY(mul, a *b, WRAP(a, *, b), a &&b)
ORACLE_BINARY(mul_, a *b, WRAP(a, *, b), a &&b)
ORACLE_BINARY(maximum, isnan(a) || a > b ? a : b, a > b ? a : b, a || b)
ORACLE_BINARY(minimum, isnan(a) || a < b ? a : b, a < b ? a : b, a &&b)
ORACLE_BINARY(pow, pow(a, b), integer_power(a, b), a || b)
ORACLE_BINARY(div, a / b, a / b, a / b)
ORACLE_BINARY(eq, a == b, a == b, a == b)
ORACLE_BINARY(ne, a != b, a != b, a != b)
ORACLE_BINARY(lt, a < b, a < b, a < b)
ORACLE_BINARY(le, a <= b, a <= b, a <= b)
ORACLE_BINARY(gt, a > b, a > b, a > b)
ORACLE_BINARY(ge, a >= b, a >= b, a >= b)

void oracle_where(struct oracle_call *c)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        struct oracle_tensor *from = c->in[0].integer[seen_by(&c->in[0], c->out, i)] ? &c->in[1] : &c->in[2];
        copy_element(c->out, i, from, seen_by(from, c->out, i));
    }
}

#define ORACLE_COPY(name, source)             \
    void oracle_##name(struct oracle_call *c) \
    {                                         \
        copy_all(c->out, &c->in[source]);     \
    }
ORACLE_COPY(clone, 0)
ORACLE_COPY(to, 0)
ORACLE_COPY(fill_, 1)
ORACLE_COPY(full_like, 1)
ORACLE_COPY(copy_, 1)

/* ---- creation ---- */

static void fill(struct oracle_call *c, struct td_number number)
{
    long double real = td_number_real(number);
    int64_t integer = td_number_integer(number);
    struct oracle_tensor value = {.dtype = TD_F64, .count = 1, .real = &real};
    if (number.category != TD_FLOATING)
        value = (struct oracle_tensor){.dtype = TD_I64, .count = 1, .integer = &integer};
    copy_all(c->out, &value);
}

#define ORACLE_FILL(name, value)                                         \
    void oracle_##name(struct oracle_call *c)                            \
    {                                                                    \
        fill(c, (struct td_number){.category = TD_INTEGER, .i = value}); \
    }
ORACLE_FILL(from, 0)
ORACLE_FILL(zeros, 0)
ORACLE_FILL(ones, 1)

void oracle_full(struct oracle_call *c)
{
    fill(c, ((const struct td_full_attrs *)c->attrs)->value);
}

void oracle_arange(struct oracle_call *c)
{
    const struct td_arange_attrs *a = c->attrs;
    for (int64_t i = 0; i < c->out->count; i++)
        if (floating(c->out))
            put(c->out, i, td_number_real(a->start) + (double)i * td_number_real(a->step));
        else
            c->out->integer[i] = WRAP(td_number_integer(a->start), +, WRAP(i, *, td_number_integer(a->step)));
}

/* Drawn numbers are judged by their moments, elsewhere. */
#define ORACLE_DRAWN(name)                    \
    void oracle_##name(struct oracle_call *c) \
    {                                         \
        c->drawn = true;                      \
    }
ORACLE_DRAWN(rand)
ORACLE_DRAWN(randn)
ORACLE_DRAWN(randint)

void oracle_linspace(struct oracle_call *c)
{
    const struct td_linspace_attrs *a = c->attrs;
    long double start = td_number_real(a->start), end = td_number_real(a->end);
    int64_t last = c->out->count - 1;
    if (!floating(c->out)) { /* in doubles, from the end that is nearer: what is a whole number is cut to itself */
        double first = (double)td_number_integer(a->start), final = (double)td_number_integer(a->end);
        double by = last > 0 ? (final - first) / (double)last : 0;
        for (int64_t i = 0; i <= last; i++)
            c->out->integer[i] =
                (int64_t)(i < (last + 1) / 2 || !last ? first + (double)i * by : final - (double)(last - i) * by);
        return;
    }
    for (int64_t i = 0; i < c->out->count; i++) {
        c->out->real[i] = i ? start + (end - start) * i / (c->out->count - 1) : start;
        c->out->scale[i] = fabs((double)start) + fabs((double)end);
    }
}

void oracle_eye(struct oracle_call *c)
{
    struct td_number number = {.category = TD_INTEGER};
    fill(c, number);
    for (int64_t i = 0; i < c->out->shape[0] && i < c->out->shape[1]; i++)
        if (floating(c->out))
            put(c->out, i * c->out->shape[1] + i, 1);
        else
            c->out->integer[i * c->out->shape[1] + i] = 1;
}

/* What is drawn is compared with rand's numbers, elsewhere. */
void oracle_dropout(struct oracle_call *c)
{
    const struct td_dropout_attrs *a = c->attrs;
    c->drawn = a->training != 0 && a->p != 0 && a->p != 1;
    if (!a->training || a->p != 1) /* else all is 0 */
        copy_all(c->out, &c->in[0]);
}

/* ---- the table ---- */

#define ORACLE_CREATE(id, name) [id] = oracle_##name,
#define ORACLE_RANDOM(id, name) [id] = oracle_##name,
#define ORACLE_FRESH(id, name) [id] = oracle_##name,
#define ORACLE_INPLACE(id, name) [id] = oracle_##name,
#define ORACLE_STEP(id, name) [id] = oracle_##name,
#define ORACLE_VIEW(id, name)
#define TD_OP(id, name, group, params, output, kind, ...) ORACLE_##kind(id, name)
oracle_function *const oracle_table[TD_OP_LIMIT] = {
#include "protocol/ops.def"
};
#include "protocol/ops_undef.h"

/* Arithmetic that wraps at 64 bits wraps at 32 in its low half. */
void oracle_run(struct oracle_call *c)
{
    oracle_table[c->op->id](c);
    for (int k = 0; k < c->op->output_count; k++)
        for (int64_t i = 0; i < c->out[k].count && c->out[k].dtype == TD_I32; i++)
            c->out[k].integer[i] = (int32_t)c->out[k].integer[i];
}
