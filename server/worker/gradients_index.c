/* Gradient rules of indexing and joining. g is the gradient of the output, y the output, x (or a, b) an input; the
 * formulas stand over each rule. Where a rule selects, it uses where and never a product with a mask, so that
 * infinities and NaN on the other side stay out. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "server/worker/rule_ops.h"

static ref index_add(struct rule *r, const struct td_meta *like, int64_t dim, ref index, ref source)
{
    return step(r, TD_OP_index_add, &(struct td_index_add_attrs){.dim = dim}, 3,
                (ref[]){zeros(r, like), index, source});
}

/* For each of count entries of the index how many name the same row. */
static ref how_often(struct rule *r, ref index, int64_t count, int64_t rows)
{
    struct td_meta all = {.dtype = TD_I64, .rank = 1, .shape = {rows}};
    const struct td_ones_attrs one = {.shape = {1, {count}}, .dtype = TD_I64};
    ref counts = index_add(r, &all, 0, index, step(r, TD_OP_ones, &one, 0, NULL));
    return step(r, TD_OP_index_select, &(struct td_index_select_attrs){.dim = 0}, 2, (ref[]){counts, index});
}

/* zeros with the rows of g added at the index, but for those of the padding */
RULE(embedding)
{
    const struct td_meta *weight = shape_of(r, 0);
    const struct td_embedding_attrs *a = attrs_of(r);
    int64_t padding = a->padding_idx;
    ref index = in(r, 1);
    int64_t count = td_meta_numel(&r->values[index].meta);
    ref rows = reshape(r, g, 2, (int64_t[]){count, weight->shape[1]});
    if (padding != INT64_MIN) {
        struct td_number row = {.category = TD_INTEGER, .i = padding < 0 ? padding + weight->shape[0] : padding};
        ref padded = binary(r, TD_OP_eq, reshape(r, index, 2, (int64_t[]){count, 1}), rule_number(r, row));
        rows = where(r, padded, real(r, 0), rows);
    }
    index = reshape(r, index, 1, &count);
    if (a->scale_grad_by_freq)
        rows = divide(r, rows, reshape(r, how_often(r, index, count, weight->shape[0]), 2, (int64_t[]){count, 1}));
    give(r, 0, index_add(r, weight, 0, index, rows));
}

RULE(index_select)
{
    const struct td_index_select_attrs *a = attrs_of(r);
    give(r, 0, index_add(r, shape_of(r, 0), a->dim, in(r, 1), g));
}

/* g, and its slices at the index */
RULE(index_add)
{
    const struct td_index_add_attrs *a = attrs_of(r);
    give(r, 0, g);
    if (needs(r, 2))
        give(r, 2,
             step(r, TD_OP_index_select, &(struct td_index_select_attrs){.dim = a->dim}, 2, (ref[]){g, in(r, 1)}));
}

RULE(gather)
{
    const struct td_gather_attrs *a = attrs_of(r);
    give(r, 0, scatter_add(r, shape_of(r, 0), a->dim, in(r, 1), g));
}

/* x with 0 at the index along dim */
static ref index_fill(struct rule *r, ref x, int64_t dim)
{
    ref none = rule_number(r, (struct td_number){.category = TD_BOOLEAN});
    return step(r, TD_OP_index_fill, &(struct td_index_fill_attrs){.dim = dim}, 3, (ref[]){x, in(r, 1), none});
}

/* The source's gradient: g's elements at the index. */
static void give_source(struct rule *r, int64_t dim, ref g)
{
    ref value = step(r, TD_OP_gather, &(struct td_gather_attrs){.dim = dim}, 2, (ref[]){g, in(r, 1)});
    const struct td_meta *source = shape_of(r, 2);
    if (td_meta_same_shape(source, &r->values[value].meta)) {
        give(r, 2, value);
        return;
    }
    /* A source may be larger than the index: what was not used gets nothing. */
    struct td_meta seen = r->values[value].meta, whole = *source;
    td_contiguous_strides(whole.rank, whole.shape, whole.stride);
    memcpy(seen.stride, whole.stride, sizeof seen.stride);
    seen.offset = 0;
    give(r, 2, window(r, TD_OP_strided_write, &seen, 2, (ref[]){zeros(r, &whole), value}));
}

/* g, and its elements at the index */
RULE(scatter_add)
{
    const struct td_scatter_add_attrs *a = attrs_of(r);
    give(r, 0, g);
    if (needs(r, 2))
        give_source(r, a->dim, g);
}

/* g with 0 at the index, and its slices there */
RULE(index_copy)
{
    const struct td_index_copy_attrs *a = attrs_of(r);
    if (needs(r, 0))
        give(r, 0, index_fill(r, g, a->dim));
    if (needs(r, 2))
        give(r, 2,
             step(r, TD_OP_index_select, &(struct td_index_select_attrs){.dim = a->dim}, 2, (ref[]){g, in(r, 1)}));
}

/* g with 0 at the index, and its sum there, which give makes: each place counts once */
RULE(index_fill)
{
    const struct td_index_fill_attrs *a = attrs_of(r);
    if (needs(r, 0))
        give(r, 0, index_fill(r, g, a->dim));
    if (!needs(r, 2))
        return;
    struct td_full_attrs all = {.shape.count = shape_of(r, 0)->rank, .dtype = TD_BOOL, .value.i = 1};
    memcpy(all.shape.v, shape_of(r, 0)->shape, sizeof all.shape.v);
    ref left = index_fill(r, step(r, TD_OP_full, &all, 0, NULL), a->dim);
    give(r, 2, where(r, left, real(r, 0), g));
}

/* g with 0 at the index, and its elements there */
RULE(scatter)
{
    const struct td_scatter_attrs *a = attrs_of(r);
    if (needs(r, 0))
        give(r, 0, step(r, TD_OP_scatter, a, 3, (ref[]){g, in(r, 1), real(r, 0)}));
    if (needs(r, 2))
        give_source(r, a->dim, g);
}

/* the slices of g, one for each tensor */
RULE(cat)
{
    const struct td_cat_attrs *a = attrs_of(r);
    int64_t start = 0;
    for (int k = 0; k < r->node->in_count; k++) {
        const struct td_meta *part = shape_of(r, k);
        bool nothing = part->rank == 1 && part->shape[0] == 0;
        int64_t size = nothing ? 0 : part->shape[td_wrap_dim(a->dim, part->rank)];
        if (needs(r, k))
            give(r, k, nothing ? zeros(r, part) : slice(r, g, a->dim, start, start + size));
        start += size;
    }
}

RULE(stack)
{
    const struct td_stack_attrs *a = attrs_of(r);
    for (int k = 0; k < r->node->in_count; k++)
        if (needs(r, k))
            give(r, k, step(r, TD_OP_select, &(struct td_select_attrs){.dim = a->dim, .index = k}, 1, &g));
}
