/* Gradient rules of lists of indices and of masks. g is the gradient of the output, x the first input; the formulas
 * stand over each rule. Where a rule selects, it uses where and never a product with a mask.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/rule_ops.h"

/* x at the indices that the node has from its input first on. */
static ref index_at(struct rule *r, ref x, int first, const struct td_dims *dims)
{
    ref all[1 + TD_RANK_MAX] = {x};
    for (int k = first; k < r->node->in_count; k++)
        all[1 + k - first] = in(r, k);
    return step(r, TD_OP_index, &(struct td_index_attrs){.dims = *dims}, 1 + r->node->in_count - first, all);
}

static ref index_put(struct rule *r, ref x, ref values, int first, const struct td_dims *dims, bool accumulate)
{
    ref all[2 + TD_RANK_MAX] = {x, values};
    for (int k = first; k < r->node->in_count; k++)
        all[2 + k - first] = in(r, k);
    return step(r, TD_OP_index_put, &(struct td_index_put_attrs){.dims = *dims, .accumulate = accumulate},
                2 + r->node->in_count - first, all);
}

/* zeros with g added at the indices */
RULE(index)
{
    const struct td_index_attrs *a = attrs_of(r);
    give(r, 0, index_put(r, zeros(r, shape_of(r, 0)), g, 1, &a->dims, true));
}

/* Those of the elements that are picked which were written last of all that name the same: each element is numbered,
 * the numbers are written as the values were, and what reads its own number has won. */
static ref winners(struct rule *r, const struct td_meta *picked, const struct td_dims *dims)
{
    struct td_meta numbers = *shape_of(r, 0);
    numbers.dtype = TD_I64;
    struct td_arange_attrs range = {.start = {.category = TD_INTEGER},
                                    .end = {.category = TD_INTEGER, .i = td_meta_numel(picked)},
                                    .step = {.category = TD_INTEGER, .i = 1},
                                    .dtype = TD_I64};
    ref own = reshape(r, step(r, TD_OP_arange, &range, 0, NULL), picked->rank, picked->shape);
    return binary(r, TD_OP_eq, index_at(r, index_put(r, zeros(r, &numbers), own, 2, dims, false), 2, dims), own);
}

/* x: g, with 0 at the indices unless they added; values: g at the indices, of those that were written last */
RULE(index_put)
{
    const struct td_index_put_attrs *a = attrs_of(r);
    if (needs(r, 0))
        give(r, 0, a->accumulate ? g : index_put(r, g, real(r, 0), 2, &a->dims, false));
    if (!needs(r, 1))
        return;
    ref value = index_at(r, g, 2, &a->dims);
    if (!a->accumulate && !r->failure.code) {
        struct td_meta picked = r->values[value].meta;
        value = where(r, winners(r, &picked, &a->dims), value, real(r, 0));
    }
    give(r, 1, value);
}

/* zeros with g's elements where mask is true */
RULE(masked_select)
{
    give(r, 0, step(r, TD_OP_masked_scatter, NULL, 3, (ref[]){zeros(r, shape_of(r, 0)), in(r, 1), g}));
}

/* x: g where mask is false; source: g's elements where it is true, each to the place that so many trues before it say,
 * and 0 for those that were not used */
RULE(masked_scatter)
{
    const struct td_meta *source = shape_of(r, 2);
    struct td_meta row = {.dtype = r->node->out[0].meta.dtype, .rank = 1, .shape = {td_meta_numel(source)}};
    ref mask = in(r, 1);
    give(r, 0, where(r, mask, real(r, 0), g));
    if (!needs(r, 2) || r->failure.code)
        return;
    if (row.shape[0] == 0) {
        give(r, 2, zeros(r, source));
        return;
    }
    int64_t count = td_meta_numel(&r->values[g].meta);
    ref truth = reshape(r, expand(r, mask, &r->values[g].meta), 1, &count);
    ref places = step(r, TD_OP_cumsum, &(struct td_cumsum_attrs){.dim = 0}, 1, &truth);
    places = step(r, TD_OP_clamp, &(struct td_clamp_attrs){.min = 0, .max = (double)row.shape[0]}, 1,
                  (ref[]){sub(r, places, rule_number(r, (struct td_number){.category = TD_INTEGER, .i = 1}))});
    ref used = where(r, truth, reshape(r, g, 1, &count), real(r, 0));
    ref sums =
        step(r, TD_OP_index_add, &(struct td_index_add_attrs){.dim = 0}, 3, (ref[]){zeros(r, &row), places, used});
    give(r, 2, reshape(r, sums, source->rank, source->shape));
}
