/* What the meanings of ops share; private to oracle*.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_ORACLE_TOOLS_H
#define TD_TESTS_ORACLE_TOOLS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle.h"

/* A function for each row but the views: an op without a meaning does not link. */
#define ORACLE_CREATE(name) oracle_function oracle_##name;
#define ORACLE_RANDOM(name) oracle_function oracle_##name;
#define ORACLE_FRESH(name) oracle_function oracle_##name;
#define ORACLE_INPLACE(name) oracle_function oracle_##name;
#define ORACLE_STEP(name) oracle_function oracle_##name;
#define ORACLE_VIEW(name)
#define TD_OP(id, name, group, params, output, kind, ...) ORACLE_##kind(name)
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
#undef ORACLE_CREATE
#undef ORACLE_RANDOM
#undef ORACLE_FRESH
#undef ORACLE_INPLACE
#undef ORACLE_STEP
#undef ORACLE_VIEW

/* Where element i of a result of out's shape lies in t, which is broadcast to it. */
static inline int64_t seen_by(const struct oracle_tensor *t, const struct oracle_tensor *out, int64_t i)
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
static inline int64_t coordinate(const struct oracle_tensor *t, int64_t i, int d)
{
    for (int last = t->rank - 1; last > d; last--)
        i /= t->shape[last];
    return i % t->shape[d];
}

/* Product of the sizes behind dimension d. */
static inline int64_t behind(const struct oracle_tensor *t, int d)
{
    int64_t count = 1;
    for (d++; d < t->rank; d++)
        count *= t->shape[d];
    return count;
}

static inline bool floating(const struct oracle_tensor *t)
{
    return td_dtype_category(t->dtype) == TD_FLOATING;
}

/* Dimension dim of t, counted from the end where it is negative; a tensor without dimensions is taken as one of one. */
static inline int dimension(const struct oracle_tensor *t, int64_t dim)
{
    return (int)(dim < 0 ? dim + (t->rank ? t->rank : 1) : dim);
}

/* Integers wrap. */
#define WRAP(a, operator, b) ((int64_t)((uint64_t)(a) operator(uint64_t)(b)))

static inline void put(struct oracle_tensor *out, int64_t i, double real)
{
    out->real[i] = real;
    out->scale[i] = fabs(real);
}

/* The product of all that it was given, whatever its range: real * 2^power. */
struct exact_product {
    long double real;
    int64_t power;
};
static inline void multiply_exactly(struct exact_product *product, long double by)
{
    int power = 0;
    product->real = frexpl(product->real * by, &power);
    product->power += power;
}
/* A product in out that was multiplied one after the other, and on its way was as small as least or infinite, need not
 * have been so in another order: where that makes a difference what is right is left open. */
static inline void open_where_order_matters(struct oracle_tensor *out, int64_t i, double least,
                                            const struct exact_product *exact)
{
    double value = (double)ldexpl(exact->real, (int)fmax(-20000, fmin(20000, (double)exact->power)));
    if ((least < 0x1p-1022 || isinf(out->real[i])) && value != (double)out->real[i])
        out->scale[i] = NAN;
}

static inline void copy_element(struct oracle_tensor *out, int64_t i, const struct oracle_tensor *from, int64_t k)
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

static inline void copy_all(struct oracle_tensor *out, const struct oracle_tensor *from)
{
    for (int64_t i = 0; i < out->count; i++)
        copy_element(out, i, from, seen_by(from, out, i));
}

static inline bool refuse_index_from(struct oracle_call *c, const struct oracle_tensor *index, int64_t least,
                                     int64_t size)
{
    for (int64_t i = 0; i < index->count; i++) {
        if (index->integer[i] >= least && index->integer[i] < size)
            continue;
        c->fault = TD_E_INDEX;
        c->value = index->integer[i];
        c->size = size;
        c->position = i;
        return true;
    }
    return false;
}
static inline bool refuse_index(struct oracle_call *c, const struct oracle_tensor *index, int64_t size)
{
    return refuse_index_from(c, index, 0, size);
}

#endif
