/* The meaning of each op. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- index arithmetic ---- */

/* Where element i of a result of out's shape lies in t, which is broadcast to it. */
static int64_t seen_by(const struct oracle_tensor *t, const struct oracle_tensor *out, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = out->rank - 1; d >= 0; i /= out->shape[d--]) {
        int from = d - (out->rank - t->rank);
        if (from < 0)
            continue;
        if (t->shape[from] != 1)
            at += i % out->shape[d] * step;
        step *= t->shape[from];
    }
    return at;
}

/* Coordinate of element i in dimension d. */
static int64_t coordinate(const struct oracle_tensor *t, int64_t i, int d)
{
    for (int last = t->rank - 1; last > d; last--)
        i /= t->shape[last];
    return i % t->shape[d];
}

/* Product of the sizes behind dimension d. */
static int64_t behind(const struct oracle_tensor *t, int d)
{
    int64_t count = 1;
    for (d++; d < t->rank; d++)
        count *= t->shape[d];
    return count;
}

static bool floating(const struct oracle_tensor *t)
{
    return td_dtype_category(t->dtype) == TD_FLOATING;
}

/* Integers wrap. */
#define WRAP(a, operator, b) ((int64_t)((uint64_t)(a) operator(uint64_t)(b)))

static void put(struct oracle_tensor *out, int64_t i, double real)
{
    out->real[i] = real;
    out->scale[i] = fabs(real);
}

/* ---- elementwise ---- */

static void unary(struct oracle_call *c, double (*real)(double), int64_t (*integer)(int64_t))
{
    for (int64_t i = 0; i < c->out->count; i++)
        if (floating(c->out))
            put(c->out, i, real(c->in[0].real[seen_by(&c->in[0], c->out, i)]));
        else
            c->out->integer[i] = integer(c->in[0].integer[seen_by(&c->in[0], c->out, i)]);
}

#define ORACLE_UNARY(name, in_reals)                 \
    static double name##_real(double x)              \
    {                                                \
        return in_reals;                             \
    }                                                \
    static void oracle_##name(struct oracle_call *c) \
    {                                                \
        unary(c, name##_real, NULL);                 \
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
    static void oracle_##name(struct oracle_call *c)  \
    {                                                 \
        unary(c, name##_real, name##_integer);        \
    }

ORACLE_UNARY(exp, exp(x))
ORACLE_UNARY(log, log(x))
ORACLE_UNARY(tanh, tanh(x))
ORACLE_UNARY(sigmoid, 1 / (1 + exp(-x)))
ORACLE_UNARY_ANY(neg, -x, WRAP(0, -, x))
ORACLE_UNARY_ANY(relu, x > 0 || isnan(x) ? x : 0, x > 0 ? x : 0)
ORACLE_UNARY_ANY(square, x *x, WRAP(x, *, x))

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
    static void oracle_##name(struct oracle_call *c)          \
    {                                                         \
        binary(c, name##_real, name##_integer, name##_truth); \
    }

ORACLE_BINARY(add, a + b, WRAP(a, +, b), a || b)
ORACLE_BINARY(add_, a + b, WRAP(a, +, b), a || b)
ORACLE_BINARY(sub, a - b, WRAP(a, -, b), a != b)
ORACLE_BINARY(rsub, b - a, WRAP(b, -, a), a != b)
ORACLE_BINARY(mul, a *b, WRAP(a, *, b), a &&b)
ORACLE_BINARY(div, a / b, a / b, a / b)
ORACLE_BINARY(eq, a == b, a == b, a == b)
ORACLE_BINARY(ne, a != b, a != b, a != b)
ORACLE_BINARY(lt, a < b, a < b, a < b)
ORACLE_BINARY(le, a <= b, a <= b, a <= b)
ORACLE_BINARY(gt, a > b, a > b, a > b)
ORACLE_BINARY(ge, a >= b, a >= b, a >= b)

static void copy_element(struct oracle_tensor *out, int64_t i, const struct oracle_tensor *from, int64_t k)
{
    if (floating(out)) {
        double x = floating(from) ? (double)from->real[k] : (double)from->integer[k];
        put(out, i, x);
        return;
    }
    struct td_number number = {.category = floating(from) ? TD_FLOATING : TD_INTEGER};
    if (floating(from))
        number.f = (double)from->real[k];
    else
        number.i = from->integer[k];
    bool truth = floating(from) ? number.f != 0 : number.i != 0;
    out->integer[i] = out->dtype == TD_BOOL ? truth : td_number_integer(number);
}

static void copy_all(struct oracle_tensor *out, const struct oracle_tensor *from)
{
    for (int64_t i = 0; i < out->count; i++)
        copy_element(out, i, from, seen_by(from, out, i));
}

static void oracle_where(struct oracle_call *c)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        struct oracle_tensor *from = c->in[0].integer[seen_by(&c->in[0], c->out, i)] ? &c->in[1] : &c->in[2];
        copy_element(c->out, i, from, seen_by(from, c->out, i));
    }
}

#define ORACLE_COPY(name, source)                    \
    static void oracle_##name(struct oracle_call *c) \
    {                                                \
        copy_all(c->out, &c->in[source]);            \
    }
ORACLE_COPY(clone, 0)
ORACLE_COPY(to, 0)
ORACLE_COPY(fill_, 1)

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
    static void oracle_##name(struct oracle_call *c)                     \
    {                                                                    \
        fill(c, (struct td_number){.category = TD_INTEGER, .i = value}); \
    }
ORACLE_FILL(from, 0)
ORACLE_FILL(zeros, 0)
ORACLE_FILL(ones, 1)

static void oracle_full(struct oracle_call *c)
{
    fill(c, ((const struct td_full_attrs *)c->attrs)->value);
}

static void oracle_arange(struct oracle_call *c)
{
    const struct td_arange_attrs *a = c->attrs;
    for (int64_t i = 0; i < c->out->count; i++)
        if (floating(c->out))
            put(c->out, i, td_number_real(a->start) + (double)i * td_number_real(a->step));
        else
            c->out->integer[i] = WRAP(td_number_integer(a->start), +, WRAP(i, *, td_number_integer(a->step)));
}

/* Drawn numbers are judged by their moments, elsewhere. */
#define ORACLE_DRAWN(name)                           \
    static void oracle_##name(struct oracle_call *c) \
    {                                                \
        c->drawn = true;                             \
    }
ORACLE_DRAWN(rand)
ORACLE_DRAWN(randn)
ORACLE_DRAWN(randint)

/* ---- reductions ---- */

static uint32_t gone_dims(const struct oracle_call *c)
{
    const struct td_sum_attrs *a = c->attrs;
    uint32_t mask = a->dims.count > 0 ? 0 : ~0u;
    for (int64_t k = 0; k < a->dims.count; k++)
        mask |= 1u << (a->dims.v[k] < 0 ? a->dims.v[k] + c->in[0].rank : a->dims.v[k]);
    return mask;
}

/* The result that element i of the input goes into. */
static int64_t result_of(const struct oracle_call *c, uint32_t gone, int64_t i)
{
    int64_t at = 0;
    for (int d = 0; d < c->in[0].rank; d++)
        if (!(gone >> d & 1))
            at = at * c->in[0].shape[d] + coordinate(&c->in[0], i, d);
    return at;
}

static void oracle_sum(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone_dims(c), i);
        if (floating(x)) {
            c->out->real[at] += x->real[i];
            c->out->scale[at] += fabsl(x->real[i]);
        } else {
            c->out->integer[at] = WRAP(c->out->integer[at], +, x->integer[i]);
        }
    }
}

static void oracle_mean(struct oracle_call *c)
{
    double count = 1;
    for (int d = 0; d < c->in[0].rank; d++)
        count *= gone_dims(c) >> d & 1 ? (double)c->in[0].shape[d] : 1;
    oracle_sum(c);
    for (int64_t i = 0; i < c->out->count; i++) {
        c->out->real[i] /= count;
        c->out->scale[i] /= count;
    }
}

static void oracle_max(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    bool *seen = calloc((size_t)c->out->count + 1, sizeof *seen);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone_dims(c), i);
        if (floating(x)) {
            long double best = c->out->real[at];
            c->out->real[at] = !seen[at] || isnan(x->real[i]) || x->real[i] > best ? x->real[i] : best;
        } else if (!seen[at] || x->integer[i] > c->out->integer[at]) {
            c->out->integer[at] = x->integer[i];
        }
        seen[at] = true;
    }
    free(seen);
}

/* ---- products, softmax, losses ---- */

static void oracle_matmul(struct oracle_call *c)
{
    const struct oracle_tensor *a = &c->in[0], *b = &c->in[1];
    for (int64_t i = 0; i < a->shape[0]; i++)
        for (int64_t j = 0; j < b->shape[1]; j++)
            for (int64_t k = 0; k < a->shape[1]; k++) {
                int64_t ai = i * a->shape[1] + k, bi = k * b->shape[1] + j, at = i * b->shape[1] + j;
                if (floating(a)) {
                    c->out->real[at] += a->real[ai] * b->real[bi];
                    c->out->scale[at] += fabsl(a->real[ai] * b->real[bi]);
                } else {
                    c->out->integer[at] = WRAP(c->out->integer[at], +, WRAP(a->integer[ai], *, b->integer[bi]));
                }
            }
}

/* log(softmax) of element at of a row of count, step apart; scale gets the magnitude of what was subtracted. */
static double log_softmax(const long double *x, int64_t count, int64_t step, int64_t at, double *scale)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++)
        max = fmax(max, (double)x[i * step]);
    for (int64_t i = 0; i < count; i++)
        sum += exp((double)x[i * step] - max);
    *scale = fabs((double)x[at * step] - max) + fabs(log(sum)) + 1;
    return (double)x[at * step] - max - log(sum);
}

static void oracle_log_softmax(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t dim = ((const struct td_log_softmax_attrs *)c->attrs)->dim;
    int d = (int)(dim < 0 ? dim + (x->rank ? x->rank : 1) : dim);
    int64_t count = x->rank ? x->shape[d] : 1, step = x->rank ? behind(x, d) : 1;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = x->rank ? coordinate(x, i, d) : 0;
        c->out->real[i] = log_softmax(x->real + i - at * step, count, step, at, &c->out->scale[i]);
    }
}

static bool refuse_index(struct oracle_call *c, const struct oracle_tensor *index, int64_t size)
{
    for (int64_t i = 0; i < index->count; i++) {
        if (index->integer[i] >= 0 && index->integer[i] < size)
            continue;
        c->fault = TD_E_INDEX;
        c->value = index->integer[i];
        c->size = size;
        c->position = i;
        return true;
    }
    return false;
}

/* Term i of a loss, gathered as reduction says. */
static void add_term(struct oracle_call *c, int64_t reduction, int64_t i, double term, double scale)
{
    c->out->real[reduction == TD_NONE ? i : 0] += term;
    c->out->scale[reduction == TD_NONE ? i : 0] += scale;
}

static void finish_loss(struct oracle_call *c, int64_t reduction, int64_t count)
{
    if (reduction == TD_MEAN) {
        c->out->real[0] /= (double)count;
        c->out->scale[0] /= (double)count;
    }
}

static void oracle_cross_entropy(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *target = &c->in[1];
    int64_t reduction = ((const struct td_cross_entropy_attrs *)c->attrs)->reduction, classes = x->shape[1];
    if (refuse_index(c, target, classes))
        return;
    for (int64_t i = 0; i < target->count; i++) {
        double scale, term = -log_softmax(x->real + i * classes, classes, 1, target->integer[i], &scale);
        add_term(c, reduction, i, term, scale);
    }
    finish_loss(c, reduction, target->count);
}

static void oracle_mse_loss(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *target = &c->in[1];
    int64_t reduction = ((const struct td_mse_loss_attrs *)c->attrs)->reduction;
    struct oracle_tensor both = {.count = 1};
    td_broadcast(x->rank, x->shape, target->rank, target->shape, &both.rank, both.shape);
    for (int d = 0; d < both.rank; d++)
        both.count *= both.shape[d];
    for (int64_t i = 0; i < both.count; i++) {
        double a = (double)x->real[seen_by(x, &both, i)], b = (double)target->real[seen_by(target, &both, i)];
        add_term(c, reduction, i, (a - b) * (a - b), (a - b) * (a - b));
    }
    finish_loss(c, reduction, both.count);
}

/* ---- indexing ---- */

static void oracle_embedding(struct oracle_call *c)
{
    const struct oracle_tensor *weight = &c->in[0], *index = &c->in[1];
    int64_t width = weight->shape[1];
    if (refuse_index(c, index, weight->shape[0]))
        return;
    for (int64_t i = 0; i < c->out->count; i++)
        copy_element(c->out, i, weight, index->integer[i / width] * width + i % width);
}

static void oracle_index_select(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *index = &c->in[1];
    int64_t dim = ((const struct td_index_select_attrs *)c->attrs)->dim;
    int d = (int)(dim < 0 ? dim + (x->rank ? x->rank : 1) : dim);
    if (refuse_index(c, index, x->rank ? x->shape[d] : 1))
        return;
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t inner = x->rank ? behind(x, d) : 1, row = i / inner, size = x->rank ? x->shape[d] : 1;
        int64_t at = row / index->count * size + index->integer[row % index->count];
        copy_element(c->out, i, x, x->rank ? at * inner + i % inner : 0);
    }
}

static void add_element(struct oracle_tensor *out, int64_t i, const struct oracle_tensor *from, int64_t k)
{
    if (floating(out)) {
        /* Additions in a given order: each rounds what has come together so far. */
        out->real[i] += from->real[k];
        out->scale[i] += fabsl(from->real[k]) + fabsl(out->real[i]);
    } else {
        out->integer[i] = WRAP(out->integer[i], +, from->integer[k]);
    }
}

static void oracle_index_add(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *index = &c->in[1], *source = &c->in[2];
    int64_t dim = ((const struct td_index_add_attrs *)c->attrs)->dim;
    int d = (int)(dim < 0 ? dim + (x->rank ? x->rank : 1) : dim);
    if (refuse_index(c, index, x->rank ? x->shape[d] : 1))
        return;
    copy_all(c->out, x);
    for (int64_t i = 0; i < (x->rank ? source->count : index->count); i++) {
        int64_t inner = x->rank ? behind(x, d) : 1, row = i / inner;
        int64_t at = x->rank ? row / index->count * x->shape[d] + index->integer[row % index->count] : 0;
        add_element(c->out, x->rank ? at * inner + i % inner : 0, source, x->rank ? i : 0);
    }
}

/* ---- windows ---- */

/* Where element i of the window lies in the content. */
static int64_t window_at(const struct td_dims *shape, const struct td_dims *stride, int64_t offset, int64_t i)
{
    for (int64_t d = shape->count - 1; d >= 0; i /= shape->v[d--])
        offset += i % shape->v[d] * stride->v[d];
    return offset;
}

static void oracle_strided_read(struct oracle_call *c)
{
    const struct td_strided_read_attrs *a = c->attrs;
    for (int64_t i = 0; i < c->out->count; i++)
        copy_element(c->out, i, &c->in[0], window_at(&a->shape, &a->stride, a->offset, i));
}

static void to_window(struct oracle_call *c,
                      void (*act)(struct oracle_tensor *, int64_t, const struct oracle_tensor *, int64_t))
{
    const struct td_strided_write_attrs *a = c->attrs;
    struct oracle_tensor window = {.rank = (int)a->shape.count, .count = 1};
    for (int d = 0; d < window.rank; d++)
        window.count *= window.shape[d] = a->shape.v[d];
    copy_all(c->out, &c->in[0]);
    for (int64_t i = 0; i < window.count; i++)
        act(c->out, window_at(&a->shape, &a->stride, a->offset, i), &c->in[1], seen_by(&c->in[1], &window, i));
}

static void oracle_strided_write(struct oracle_call *c)
{
    to_window(c, copy_element);
}

static void oracle_strided_add(struct oracle_call *c)
{
    to_window(c, add_element);
}

/* ---- the table: an op without a meaning does not link ---- */
/* Of oracle_steps.c. */
oracle_function oracle_sgd_step_, oracle_adam_step_;

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
