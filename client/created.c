/* Tensors made of nothing but numbers, in ways that are no ops of their own. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "client/chain.h"

#define MADE(called)                                   \
    {                                                  \
        .name = called, .origin = origin, .session = s \
    }

td_tensor td_empty_at(td_origin origin, td_session *s, struct td_dims shape, const struct td_zeros_keywords *keywords)
{
    SPEAKS_FOR("empty");
    return td_zeros_at(origin, s, shape, keywords);
}

td_tensor td_logspace_at(td_origin origin, td_session *s, double start, double end, int64_t steps,
                         const struct td_logspace_keywords *keywords)
{
    const struct chain c = MADE("logspace");
    const int64_t dtype = keywords ? (int64_t)keywords->dtype : TD_F32;
    const struct td_linspace_attrs line = {.start = {.category = TD_FLOATING, .f = start},
                                           .end = {.category = TD_FLOATING, .f = end},
                                           .steps = steps,
                                           .dtype = dtype};
    const struct td_full_attrs base = {.value = {.category = TD_FLOATING, .f = keywords ? keywords->base : 10},
                                       .dtype = dtype};
    td_tensor exponents = chain_step(&c, TD_OP_linspace, &line, 0, NULL);
    return chain_binary(&c, TD_OP_pow, passing(chain_step(&c, TD_OP_full, &base, 0, NULL)), passing(exponents));
}

/* How many of the first columns are left of a row below the diagonal. */
static int64_t left_of(int64_t row, int64_t columns, int64_t offset)
{
    int64_t left;
    if (__builtin_add_overflow(row + 1, offset, &left))
        return offset < 0 ? 0 : columns;
    return left < 0 ? 0 : left > columns ? columns : left;
}

/* Rows in places[0], columns in places[count]. */
static void write_places(int64_t *places, int64_t count, int64_t rows, int64_t columns, int64_t offset, bool upper)
{
    for (int64_t row = 0, at = 0; row < rows; row++) {
        int64_t cut = left_of(row, columns, offset);
        for (int64_t column = upper ? cut : 0; column < (upper ? columns : cut); column++, at++) {
            places[at] = row;
            places[count + at] = column;
        }
    }
}

/* upper: all but what is left of the diagonal before this one. */
static td_tensor triangle(const struct chain *c, int64_t rows, int64_t columns, int64_t offset, bool upper)
{
    struct td_failure failure = {0};
    int64_t count = 0, *places = NULL;
    if (upper && offset > INT64_MIN)
        offset--;
    if (rows < 0 || columns < 0 || td_checked_numel(2, (const int64_t[]){rows, columns}) < 0)
        td_fail(&failure, TD_E_SHAPE, "%s: %" PRId64 " rows and %" PRId64 " columns are no matrix", c->name, rows,
                columns);
    for (int64_t row = 0; row < rows && !failure.code; row++) {
        int64_t cut = left_of(row, columns, offset);
        count += upper ? columns - cut : cut;
    }
    if (!failure.code && !(places = calloc((size_t)count * 2 + 1, sizeof *places)))
        td_fail(&failure, TD_E_MEMORY, "%s: no memory for %" PRId64 " places", c->name, count);
    if (failure.code)
        return chain_refuse(c, &failure);
    write_places(places, count, rows, columns, offset, upper);
    td_tensor y = td_from_at(
        (td_origin){c->origin.where, 0},
        &(struct td_from_arguments){.session = c->session, .data = places, .dtype = TD_I64, .shape = {2, {2, count}}});
    free(places);
    return y;
}

td_tensor td_tril_indices_at(td_origin origin, td_session *s, int64_t rows, int64_t columns,
                             const struct td_triangle_keywords *keywords)
{
    const struct chain c = MADE("tril_indices");
    return triangle(&c, rows, columns, keywords ? keywords->offset : 0, false);
}
td_tensor td_triu_indices_at(td_origin origin, td_session *s, int64_t rows, int64_t columns,
                             const struct td_triangle_keywords *keywords)
{
    const struct chain c = MADE("triu_indices");
    return triangle(&c, rows, columns, keywords ? keywords->offset : 0, true);
}

/* ---- the functions behind the macros ---- */

td_tensor(td_empty)(td_session *s, struct td_dims shape, const struct td_zeros_keywords *keywords)
{
    return td_empty_at((td_origin){0}, s, shape, keywords);
}
td_tensor(td_logspace)(td_session *s, double start, double end, int64_t steps,
                       const struct td_logspace_keywords *keywords)
{
    return td_logspace_at((td_origin){0}, s, start, end, steps, keywords);
}
td_tensor(td_tril_indices)(td_session *s, int64_t rows, int64_t columns, const struct td_triangle_keywords *keywords)
{
    return td_tril_indices_at((td_origin){0}, s, rows, columns, keywords);
}
td_tensor(td_triu_indices)(td_session *s, int64_t rows, int64_t columns, const struct td_triangle_keywords *keywords)
{
    return td_triu_indices_at((td_origin){0}, s, rows, columns, keywords);
}
