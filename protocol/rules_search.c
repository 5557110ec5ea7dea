/* Shapes of searches, histograms, functions with an order and drawn places. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>

#include "protocol/rules.h"

td_shape_rule td_shape_elementwise, td_shape_scatter;

int td_shape_polygamma(struct td_inference *i)
{
    int64_t n = ((const struct td_polygamma_attrs *)i->attrs)->n;
    if (n < 0)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: n is %" PRId64 " where an order of 0 or more is due",
                       i->op->name, n);
    return td_shape_elementwise(i);
}

int td_shape_searchsorted(struct td_inference *i)
{
    const struct td_meta *sorted = &i->in[0], *values = &i->in[1];
    char st[TD_SHAPE_TEXT], vt[TD_SHAPE_TEXT];
    bool fits = sorted->rank > 1 ? sorted->rank == values->rank : sorted->rank == 1;
    for (int d = 0; fits && d < sorted->rank - 1; d++)
        fits = sorted->shape[d] == values->shape[d];
    if (fits)
        return rule_fresh(i, values->rank, values->shape);
    td_fail(i->failure, TD_E_SHAPE, "%s: values of shape %s cannot be searched for in %s", i->op->name,
            rule_text(values, vt), rule_text(sorted, st));
    return td_hint(i->failure, "What is searched has one dimension, or all sizes of the values but the last.");
}

int td_shape_histc(struct td_inference *i)
{
    const struct td_histc_attrs *a = i->attrs;
    if (a->bins < 1)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: bins is %" PRId64 " where 1 or more is due", i->op->name,
                       a->bins);
    if (!isfinite(a->min) || !isfinite(a->max) || a->min > a->max)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: min %g and max %g are no range", i->op->name, a->min, a->max);
    return rule_fresh(i, 1, &a->bins);
}

int td_shape_scatter_reduce(struct td_inference *i)
{
    int64_t by = ((const struct td_scatter_reduce_attrs *)i->attrs)->reduce;
    if (by < TD_BY_SUM || by > TD_BY_AMIN)
        return td_fail(i->failure, TD_E_ARGUMENT,
                       "%s: reduce is %" PRId64 ", none of TD_BY_SUM, TD_BY_PROD, TD_BY_MEAN, TD_BY_AMAX, TD_BY_AMIN",
                       i->op->name, by);
    if (by == TD_BY_MEAN && i->compute == TD_BOOL) {
        td_fail(i->failure, TD_E_DTYPE, "%s: x is bool where a mean is due of numbers", i->op->name);
        return td_hint(i->failure, "td_to(x, TD_F32) makes numbers.");
    }
    return td_shape_scatter(i);
}

int td_shape_multinomial(struct td_inference *i)
{
    const struct td_multinomial_attrs *a = i->attrs;
    const struct td_meta *weights = &i->in[0];
    int64_t size = weights->rank ? weights->shape[weights->rank - 1] : 0;
    char wt[TD_SHAPE_TEXT];
    if (weights->rank < 1 || weights->rank > 2 || size == 0)
        return td_fail(i->failure, TD_E_SHAPE, "%s: weights of shape %s where a row or rows of them are due",
                       i->op->name, rule_text(weights, wt));
    if (a->count < 1)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: count is %" PRId64 " where 1 or more is due", i->op->name,
                       a->count);
    if (a->count > size && !a->replacement) {
        td_fail(i->failure, TD_E_ARGUMENT, "%s: %" PRId64 " different places of %" PRId64 " cannot be drawn",
                i->op->name, a->count, size);
        return td_hint(i->failure, "With .replacement = true a place may come again.");
    }
    return rule_fresh(i, weights->rank, (int64_t[]){weights->rank > 1 ? weights->shape[0] : a->count, a->count});
}
