/* The meaning of what is moved within a tensor, repeated and padded: where each element of the result comes from.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

/* The place in x of element i of the result's dimension d, which has size elements in x; -1: a zero or the pad. */
typedef int64_t place(const struct oracle_call *c, int d, int64_t size, int64_t i);

static void zero(struct oracle_tensor *out, int64_t i)
{
    if (floating(out))
        put(out, i, 0);
    else
        out->integer[i] = 0;
}

static void moved(struct oracle_call *c, place *place)
{
    const struct oracle_tensor *x = &c->in[0];
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t at = 0;
        for (int d = 0; d < c->out->rank && at >= 0; d++) {
            int from = d - (c->out->rank - x->rank);
            int64_t size = from < 0 ? 1 : x->shape[from], k = place(c, d, size, coordinate(c->out, i, d));
            at = k < 0 ? -1 : at * size + k;
        }
        if (at >= 0)
            copy_element(c->out, i, x, at);
        else
            zero(c->out, i);
    }
}

static int64_t flipped(const struct oracle_call *c, int d, int64_t size, int64_t i)
{
    const struct td_dims *dims = &((const struct td_flip_attrs *)c->attrs)->dims;
    for (int64_t k = 0; k < dims->count; k++)
        if (dimension(c->in, dims->v[k]) == d)
            return size - 1 - i;
    return i;
}

void oracle_flip(struct oracle_call *c)
{
    moved(c, flipped);
}

static int64_t modulo(int64_t a, int64_t n)
{
    return (a % n + n) % n;
}

static int64_t rolled(const struct oracle_call *c, int d, int64_t size, int64_t i)
{
    const struct td_roll_attrs *a = c->attrs;
    for (int64_t k = 0; k < a->dims.count; k++)
        if (dimension(c->in, a->dims.v[k]) == d)
            i = modulo(i - a->shifts.v[k] % size, size);
    return i;
}

void oracle_roll(struct oracle_call *c)
{
    const struct td_roll_attrs *a = c->attrs;
    if (a->dims.count > 0)
        moved(c, rolled);
    else
        for (int64_t i = 0; i < c->out->count; i++)
            copy_element(c->out, i, c->in, modulo(i - a->shifts.v[0] % c->out->count, c->out->count));
}

static int64_t repeated(const struct oracle_call *c, int d, int64_t size, int64_t i)
{
    (void)c;
    (void)d;
    return i % size;
}

void oracle_repeat(struct oracle_call *c)
{
    moved(c, repeated);
}

void oracle_repeat_interleave(struct oracle_call *c)
{
    const struct td_repeat_interleave_attrs *a = c->attrs;
    int64_t inner = a->dim == INT64_MIN ? 1 : behind(c->out, dimension(c->out, a->dim));
    for (int64_t i = 0; i < c->out->count; i++)
        copy_element(c->out, i, c->in, i / inner / a->repeats * inner + i % inner);
}

static void triangle(struct oracle_call *c, bool upper)
{
    int64_t diagonal = ((const struct td_tril_attrs *)c->attrs)->diagonal;
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t beyond = coordinate(c->out, i, c->out->rank - 1) - coordinate(c->out, i, c->out->rank - 2);
        if (upper ? beyond >= diagonal : beyond <= diagonal)
            copy_element(c->out, i, c->in, i);
        else
            zero(c->out, i);
    }
}

void oracle_tril(struct oracle_call *c)
{
    triangle(c, false);
}

void oracle_triu(struct oracle_call *c)
{
    triangle(c, true);
}

void oracle_diag_embed(struct oracle_call *c)
{
    const struct td_diag_embed_attrs *a = c->attrs;
    int d0 = dimension(c->out, a->dim0), d1 = dimension(c->out, a->dim1);
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t row = coordinate(c->out, i, d0), column = coordinate(c->out, i, d1), at = 0;
        for (int d = 0; d < c->out->rank; d++)
            if (d != d0 && d != d1)
                at = at * c->out->shape[d] + coordinate(c->out, i, d);
        at = at * c->in->shape[c->in->rank - 1] + (a->offset < 0 ? column : row);
        if (column - row == a->offset)
            copy_element(c->out, i, c->in, at);
        else
            zero(c->out, i);
    }
}

static int64_t padded(const struct oracle_call *c, int d, int64_t size, int64_t i)
{
    const struct td_pad_attrs *a = c->attrs;
    int64_t pair = c->out->rank - 1 - d;
    i -= pair < a->pads.count / 2 ? a->pads.v[2 * pair] : 0;
    if (i >= 0 && i < size)
        return i;
    switch ((enum td_padding)a->mode) {
    case TD_CONSTANT:
        return -1;
    case TD_REFLECT:
        return i < 0 ? -i : 2 * (size - 1) - i;
    case TD_REPLICATE:
        return i < 0 ? 0 : size - 1;
    case TD_CIRCULAR:
        break;
    }
    return modulo(i, size);
}

void oracle_pad(struct oracle_call *c)
{
    moved(c, padded);
    const struct td_pad_attrs *a = c->attrs;
    for (int64_t i = 0; i < c->out->count && a->value != 0; i++) {
        bool inside = true;
        for (int d = 0; d < c->out->rank; d++)
            inside &= padded(c, d, c->in->shape[d], coordinate(c->out, i, d)) >= 0;
        long double value = a->value;
        struct oracle_tensor number = {.dtype = TD_F64, .count = 1, .real = &value};
        if (!inside)
            copy_element(c->out, i, &number, 0);
    }
}
