/* Shapes of what is indexed, and of windows. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

int td_shape_embedding(struct td_inference *i)
{
    const struct td_meta *weight = &i->in[0], *index = &i->in[1];
    int64_t padding = ((const struct td_embedding_attrs *)i->attrs)->padding_idx;
    char wt[TD_SHAPE_TEXT];
    int64_t shape[TD_RANK_MAX + 1];
    if (weight->rank == 2 && padding != INT64_MIN && (padding >= weight->shape[0] || padding < -weight->shape[0]))
        return td_fail(i->failure, TD_E_INDEX, "embedding: padding_idx %" PRId64 " is no row of a weight of %" PRId64,
                       padding, weight->shape[0]);
    if (weight->rank != 2)
        return td_fail(i->failure, TD_E_SHAPE, "%s: the weight has shape %s where (rows, width) is due", i->op->name,
                       rule_text(weight, wt));
    memcpy(shape, index->shape, index->rank * sizeof *shape);
    shape[index->rank] = weight->shape[1];
    return rule_fresh(i, index->rank + 1, shape);
}

static int index_is_row(struct td_inference *i)
{
    char it[TD_SHAPE_TEXT];
    if (i->in[1].rank > 1) {
        td_fail(i->failure, TD_E_SHAPE, "%s: the index has shape %s where one dimension is due", i->op->name,
                rule_text(&i->in[1], it));
        return td_hint(i->failure, "td_reshape(index, TD_SHAPE(-1)) has one; td_gather takes an index of x's.");
    }
    if (i->in[0].rank == 0 && td_meta_numel(&i->in[1]) != 1)
        return td_fail(i->failure, TD_E_SHAPE, "%s: a tensor without dimensions takes one index, not %" PRId64,
                       i->op->name, td_meta_numel(&i->in[1]));
    return TD_E_OK;
}

int td_shape_index_select(struct td_inference *i)
{
    const struct td_index_select_attrs *a = i->attrs;
    int64_t shape[TD_RANK_MAX];
    int d, failed;
    if ((failed = rule_wrap_dim(i, a->dim, i->in[0].rank, &d)) || (failed = index_is_row(i)))
        return failed;
    memcpy(shape, i->in[0].shape, sizeof shape);
    if (i->in[0].rank)
        shape[d] = td_meta_numel(&i->in[1]);
    return rule_fresh(i, i->in[0].rank, shape);
}

int td_shape_index_add(struct td_inference *i)
{
    const struct td_index_add_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0], *source = &i->in[2];
    int d, failed;
    if ((failed = rule_wrap_dim(i, a->dim, x->rank, &d)) || (failed = index_is_row(i)))
        return failed;
    bool fits = source->rank == x->rank;
    for (int k = 0; fits && k < x->rank; k++)
        fits = source->shape[k] == (k == d ? td_meta_numel(&i->in[1]) : x->shape[k]);
    if (!fits) {
        char xt[TD_SHAPE_TEXT], it[TD_SHAPE_TEXT], st[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE,
                "%s: a source of shape %s does not fit into %s along dimension %d by an index of %s", i->op->name,
                rule_text(source, st), rule_text(x, xt), d, rule_text(&i->in[1], it));
        return td_hint(i->failure, "The source has the target's sizes, and the index's along that dimension.");
    }
    return rule_fresh(i, x->rank, x->shape);
}

int td_shape_index_fill(struct td_inference *i)
{
    const struct td_index_fill_attrs *a = i->attrs;
    char vt[TD_SHAPE_TEXT];
    int d, failed;
    if ((failed = rule_wrap_dim(i, a->dim, i->in[0].rank, &d)) || (failed = index_is_row(i)))
        return failed;
    if (i->in[2].rank)
        return td_fail(i->failure, TD_E_SHAPE,
                       "%s: the value has shape %s where a number or a tensor without dimensions is due", i->op->name,
                       rule_text(&i->in[2], vt));
    return rule_copied(i);
}

/* gather's and scatter's: index has x's rank and, but for dim, no more than x's sizes. */
static int index_fits(struct td_inference *i, int64_t dim, int *d)
{
    const struct td_meta *x = &i->in[0], *index = &i->in[1];
    int failed = rule_wrap_dim(i, dim, x->rank, d);
    bool fits = (index->rank ? index->rank : 1) == (x->rank ? x->rank : 1);
    for (int k = 0; fits && k < x->rank && k < index->rank; k++)
        fits = k == *d || index->shape[k] <= x->shape[k];
    if (failed || fits || td_meta_numel(index) == 0)
        return failed;
    char xt[TD_SHAPE_TEXT], it[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE, "%s: an index of shape %s does not fit a tensor of shape %s along dimension %d",
            i->op->name, rule_text(index, it), rule_text(x, xt), *d);
    return td_hint(i->failure, "It has as many dimensions, and no greater sizes but along that one.");
}

int td_shape_gather(struct td_inference *i)
{
    const struct td_gather_attrs *a = i->attrs;
    int d, failed = index_fits(i, a->dim, &d);
    return failed ? failed : rule_fresh(i, i->in[1].rank, i->in[1].shape);
}

int td_shape_scatter(struct td_inference *i)
{
    const struct td_scatter_add_attrs *a = i->attrs;
    const struct td_meta *index = &i->in[1], *source = &i->in[2];
    int d, failed = index_fits(i, a->dim, &d);
    if (failed)
        return failed;
    if (source->scalar)
        return rule_fresh(i, i->in[0].rank, i->in[0].shape);
    bool fits = (source->rank ? source->rank : 1) == (index->rank ? index->rank : 1);
    for (int k = 0; fits && k < index->rank && k < source->rank; k++)
        fits = index->shape[k] <= source->shape[k];
    if (!fits && td_meta_numel(index)) {
        char st[TD_SHAPE_TEXT], it[TD_SHAPE_TEXT];
        return td_fail(i->failure, TD_E_SHAPE, "%s: a source of shape %s is smaller than the index of shape %s",
                       i->op->name, rule_text(source, st), rule_text(index, it));
    }
    return rule_fresh(i, i->in[0].rank, i->in[0].shape);
}

/* ---- windows ---- */

/* The window of an op on content taken as one row of elements, checked to lie inside it. */
static int window(struct td_inference *i, const struct td_dims *shape, const struct td_dims *stride, int64_t offset,
                  struct td_meta *into)
{
    int64_t last = offset, reach, size = td_meta_numel(&i->in[0]);
    bool fits = shape->count >= 0 && shape->count == stride->count && offset >= 0 &&
                td_checked_numel((int)shape->count, shape->v) >= 0;
    bool empty = false;
    for (int d = 0; fits && d < shape->count; d++) {
        empty |= shape->v[d] == 0;
        fits = stride->v[d] >= 0 && !__builtin_mul_overflow(shape->v[d] ? shape->v[d] - 1 : 0, stride->v[d], &reach) &&
               !__builtin_add_overflow(last, reach, &last);
    }
    if (!fits || (!empty && last >= size))
        return td_fail(i->failure, TD_E_SHAPE, "%s: the window does not lie inside content of %" PRId64 " elements",
                       i->op->name, size);
    into->rank = (uint8_t)shape->count;
    into->offset = offset;
    memcpy(into->shape, shape->v, sizeof into->shape);
    memcpy(into->stride, stride->v, sizeof into->stride);
    return TD_E_OK;
}

int td_shape_strided_read(struct td_inference *i)
{
    const struct td_strided_read_attrs *a = i->attrs;
    struct td_meta seen;
    int failed = window(i, &a->shape, &a->stride, a->offset, &seen);
    return failed ? failed : rule_fresh(i, seen.rank, seen.shape);
}

int td_shape_strided_write(struct td_inference *i)
{
    const struct td_strided_write_attrs *a = i->attrs;
    struct td_meta seen = {.dtype = i->in[0].dtype};
    int64_t shape[TD_RANK_MAX];
    int rank, failed = window(i, &a->shape, &a->stride, a->offset, &seen);
    if (failed)
        return failed;
    if (!td_broadcast(seen.rank, seen.shape, i->in[1].rank, i->in[1].shape, &rank, shape) || rank != seen.rank ||
        memcmp(shape, seen.shape, (size_t)rank * sizeof *shape))
        return td_fail(i->failure, TD_E_SHAPE, "%s: the value does not fit into the window", i->op->name);
    if (i->op->id == TD_OP_strided_write && td_meta_overlaps_itself(&seen))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: the window's elements share memory with each other",
                       i->op->name);
    return rule_fresh(i, i->in[0].rank, i->in[0].shape);
}
