/* Shapes of searches, histograms and functions with an order. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>

#include "protocol/rules.h"

td_shape_rule td_shape_elementwise, td_shape_scatter;

int td_shape_polygamma(struct td_inference *i)
{
    int64_t n = ((const struct td_polygamma_attrs *)i->attrs)->n;
    if (n < 0)
        return td_fail(i->failure, TD_E_ARGUMENT, "polygamma: there is no derivative of order %" PRId64, n);
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
    td_fail(i->failure, TD_E_SHAPE, "searchsorted: values of shape %s cannot be searched for in %s",
            rule_text(values, vt), rule_text(sorted, st));
    return td_hint(i->failure, "What is searched has one dimension, or all sizes of the values but the last.");
}

int td_shape_histc(struct td_inference *i)
{
    const struct td_histc_attrs *a = i->attrs;
    if (a->bins < 1)
        return td_fail(i->failure, TD_E_ARGUMENT, "histc: %" PRId64 " bins where one or more are due", a->bins);
    if (!isfinite(a->min) || !isfinite(a->max) || a->min > a->max)
        return td_fail(i->failure, TD_E_ARGUMENT, "histc: from %g to %g is no range", a->min, a->max);
    return rule_fresh(i, 1, &a->bins);
}

int td_shape_scatter_reduce(struct td_inference *i)
{
    int64_t by = ((const struct td_scatter_reduce_attrs *)i->attrs)->reduce;
    if (by < TD_BY_SUM || by > TD_BY_AMIN)
        return td_fail(i->failure, TD_E_ARGUMENT, "scatter_reduce: there is no reduction %" PRId64, by);
    return td_shape_scatter(i);
}
