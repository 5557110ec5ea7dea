/* Shapes of what lists of indices and masks pick out, and of what is as large as its data say.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "protocol/rules.h"

/* ---- lists of indices ---- */

static int check_dims(struct td_inference *i, const struct td_dims *dims, int count)
{
    if (dims->count != count || count == 0)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: %d indices for %" PRId64 " dimensions", i->op->name, count,
                       dims->count);
    for (int k = 0; k < count; k++)
        if (dims->v[k] < 0 || dims->v[k] >= i->in[0].rank || (k && dims->v[k] <= dims->v[k - 1]))
            return td_fail(i->failure, TD_E_INDEX,
                           "%s: dimension %" PRId64 " does not exist in a tensor of %d dimensions, or does not rise",
                           i->op->name, dims->v[k], i->in[0].rank);
    return TD_E_OK;
}

/* What the indices of a call are together: a shape that stands in x's in place of the dimensions that they pick from,
 * or in front of all others where those are not neighbours. */
struct picked {
    int front;                /* dimensions of x before it */
    int rank;                 /* its own */
    int64_t own[TD_RANK_MAX]; /* its sizes */
    int count;                /* dimensions of all */
    int64_t shape[2 * TD_RANK_MAX];
    int of[2 * TD_RANK_MAX]; /* which dimension of x each is; -1: the indices' */
};

static void lay_out(const struct td_meta *x, const struct td_dims *dims, struct picked *p)
{
    int k = 0;
    p->front = td_picked_front(dims->count, dims->v);
    p->count = 0;
    for (int d = 0; d <= x->rank; d++) {
        for (int own = 0; d == p->front && own < p->rank; own++) {
            p->of[p->count] = -1;
            p->shape[p->count++] = p->own[own];
        }
        if (k < dims->count && dims->v[k] == d) {
            k++;
        } else if (d < x->rank) {
            p->of[p->count] = d;
            p->shape[p->count++] = x->shape[d];
        }
    }
}

/* The shape that indices, the inputs from first on, pick out of input 0. */
static int pick(struct td_inference *i, int first, const struct td_dims *dims, struct picked *p)
{
    int count = i->in_count - first, failed = check_dims(i, dims, count);
    if (failed)
        return failed;
    p->rank = 0;
    for (int k = first; k < i->in_count; k++) {
        char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT];
        if (td_broadcast(p->rank, p->own, i->in[k].rank, i->in[k].shape, &p->rank, p->own))
            continue;
        td_fail(i->failure, TD_E_SHAPE, "%s: indices of shapes %s and %s do not fit together", i->op->name,
                td_shape_text(p->rank, p->own, a, sizeof a), rule_text(&i->in[k], b));
        return td_hint(i->failure, "Compared from the last dimension, sizes are equal or one of them is 1.");
    }
    lay_out(&i->in[0], dims, p);
    if (p->count > TD_RANK_MAX)
        return td_fail(i->failure, TD_E_LIMIT, "%s: a result of %d dimensions; the limit is %d", i->op->name, p->count,
                       TD_RANK_MAX);
    if (td_checked_numel(p->count, p->shape) < 0)
        return td_fail(i->failure, TD_E_SHAPE, "%s: a result of more elements than 2^56", i->op->name);
    return TD_E_OK;
}

/* The strides of x and of each index, seen in the result's shape: to PyTorch an index is viewed with sizes of 1 for x's
 * dimensions, which have strides then, and is broadcast to those of other sizes. */
static void seen_strides(const struct td_inference *i, const struct picked *p, int64_t (*strides)[TD_RANK_MAX])
{
    for (int d = 0; d < p->count; d++)
        strides[0][d] = p->of[d] < 0 ? 0 : i->in[0].stride[p->of[d]];
    for (int k = 1; k < i->in_count; k++) {
        struct td_meta own = {.rank = (uint8_t)p->rank};
        int64_t shape[TD_RANK_MAX];
        memcpy(own.shape, p->own, sizeof own.shape);
        rule_expanded_strides(&i->in[k], p->rank, p->own, own.stride);
        for (int d = 0; d < p->count; d++)
            shape[d] = p->of[d] < 0 ? p->shape[d] : 1;
        td_view_strides(&own, p->count, shape, strides[k]);
        for (int d = 0; d < p->count; d++)
            if (p->shape[d] != shape[d])
                strides[k][d] = 0;
    }
}

int td_shape_pick(struct td_inference *i)
{
    const struct td_index_attrs *a = i->attrs;
    int64_t strides[1 + TD_RANK_MAX][TD_RANK_MAX];
    struct picked p;
    int failed = pick(i, 1, &a->dims, &p);
    if (failed || (failed = rule_fresh(i, p.count, p.shape)))
        return failed;
    seen_strides(i, &p, strides);
    rule_follow_strides(&i->out[0], i->in_count, strides);
    return TD_E_OK;
}

int td_shape_pick_put(struct td_inference *i)
{
    const struct td_index_put_attrs *a = i->attrs;
    const struct td_meta *values = &i->in[1];
    struct picked p;
    int64_t both[TD_RANK_MAX];
    int rank, failed = pick(i, 2, &a->dims, &p);
    if (failed)
        return failed;
    bool fits = td_broadcast(p.count, p.shape, values->rank, values->shape, &rank, both) && rank == p.count;
    for (int d = 0; fits && d < rank; d++)
        fits = both[d] == p.shape[d];
    if (!fits) {
        char vt[TD_SHAPE_TEXT], pt[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE, "%s: values of shape %s do not fit into the picked shape %s", i->op->name,
                rule_text(values, vt), td_shape_text(p.count, p.shape, pt, sizeof pt));
        return td_hint(i->failure, "Values are broadcast to what the indices pick.");
    }
    return rule_copied(i);
}

/* ---- masks, and sizes that data tell ---- */

int td_shape_nonzero(struct td_inference *i)
{
    int failed = rule_fresh(i, 2, (int64_t[]){i->size, i->in[0].rank});
    i->out[0].stride[0] = 1; /* column by column, as in PyTorch: each is an index */
    i->out[0].stride[1] = i->size;
    return failed;
}

int td_shape_masked_select(struct td_inference *i)
{
    int64_t shape[TD_RANK_MAX];
    int rank, all = i->in_count;
    i->in_count = 2; /* the size is no operand */
    int failed = rule_broadcast(i, &rank, shape);
    i->in_count = all;
    return failed ? failed : rule_fresh(i, 1, &i->size);
}

int td_shape_masked_scatter(struct td_inference *i)
{
    int64_t shape[TD_RANK_MAX];
    int rank, all = i->in_count;
    i->in_count = 2; /* the source is taken row by row, whatever its shape */
    int failed = rule_broadcast(i, &rank, shape);
    i->in_count = all;
    return failed ? failed : rule_fresh(i, rank, shape);
}

int td_shape_bincount(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0], *weights = &i->in[1];
    char xt[TD_SHAPE_TEXT], wt[TD_SHAPE_TEXT];
    if (x->rank != 1 || !td_meta_same_shape(x, weights))
        return td_fail(i->failure, TD_E_SHAPE,
                       "%s: places of shape %s and weights of %s, where one dimension and the same is due", i->op->name,
                       rule_text(x, xt), rule_text(weights, wt));
    return rule_fresh(i, 1, &i->size);
}
