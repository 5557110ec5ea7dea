/* The words that gradient rules are written in: each notes an op down, or reads what the tape kept. Private to the
 * files gradients_*.c and rule.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_RULE_OPS_H
#define TD_SERVER_WORKER_RULE_OPS_H

#include <string.h>

#include "server/worker/rule.h"

#define RULE(name) void grad_##name(struct rule *r, ref g)

/* ---- what a rule reads ---- */

static inline bool needs(const struct rule *r, int k)
{
    return rule_needs(r, k);
}

/* struct td_<op>_attrs of the node's op. */
static inline const void *attrs_of(const struct rule *r)
{
    return r->node->attrs;
}

static inline const struct td_meta *shape_of(const struct rule *r, int k)
{
    return &r->node->in[k].meta;
}

static inline ref in(struct rule *r, int k)
{
    return rule_in(r, k);
}
static inline ref output(struct rule *r, int k)
{
    return rule_output(r, k);
}
static inline ref out(struct rule *r)
{
    return rule_output(r, 0);
}
/* Whether output k has got a gradient: terms of one that has not are left out, as they may be 0 times infinity. */
static inline bool came(const struct rule *r, int k)
{
    return r->came >> k & 1;
}
static inline ref gradient(struct rule *r, int k)
{
    return rule_gradient(r, k);
}
static inline void give(struct rule *r, int k, ref value)
{
    rule_give(r, k, value);
}

/* ---- what it writes ---- */

static inline ref step(struct rule *r, enum td_op_id id, const void *attrs, int in_count, const ref *in)
{
    return rule_step(r, id, attrs, in_count, in);
}
static inline ref real(struct rule *r, double value)
{
    return rule_number(r, (struct td_number){.category = TD_FLOATING, .f = value});
}
/* In place of a tensor that may be left out. */
static inline ref none(struct rule *r)
{
    ref value = rule_number(r, (struct td_number){0});
    r->values[value].is_number = false;
    r->values[value].meta.dtype = TD_DTYPE_NONE;
    return value;
}
static inline ref unary(struct rule *r, enum td_op_id id, ref x)
{
    return step(r, id, NULL, 1, &x);
}
static inline ref binary(struct rule *r, enum td_op_id id, ref a, ref b)
{
    return step(r, id, NULL, 2, (ref[]){a, b});
}
static inline ref neg(struct rule *r, ref x)
{
    return unary(r, TD_OP_neg, x);
}
static inline ref mul(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_mul, a, b);
}
static inline ref sub(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_sub, a, b);
}
static inline ref divide(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_div, a, b);
}
static inline ref add(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_add, a, b);
}
/* x in the dtype of the node's output, in which the op computed. */
static inline ref as_computed(struct rule *r, ref x)
{
    uint8_t dtype = r->node->out[0].meta.dtype;
    if (r->values[x].is_number || r->values[x].meta.dtype == dtype)
        return x;
    return step(r, TD_OP_to, &(struct td_to_attrs){.dtype = dtype}, 1, &x);
}
/* x in the dtype that the op's kernel computed in, of halves the wide one: what is made of many narrow steps is off. */
static inline ref wide(struct rule *r, ref x)
{
    uint8_t wanted = td_dtype_wide(r->node->out[0].meta.dtype);
    if (r->values[x].meta.dtype == wanted)
        return x;
    return step(r, TD_OP_to, &(struct td_to_attrs){.dtype = wanted}, 1, &x);
}
static inline ref one_minus(struct rule *r, ref x)
{
    return binary(r, TD_OP_rsub, x, real(r, 1));
}
static inline ref where(struct rule *r, ref condition, ref a, ref b)
{
    return step(r, TD_OP_where, NULL, 3, (ref[]){condition, a, b});
}
static inline ref reshape(struct rule *r, ref x, int rank, const int64_t *shape)
{
    struct td_reshape_attrs attrs = {.shape.count = rank};
    memcpy(attrs.shape.v, shape, (size_t)rank * sizeof *shape);
    return step(r, TD_OP_reshape, &attrs, 1, &x);
}
static inline ref expand(struct rule *r, ref x, const struct td_meta *like)
{
    struct td_expand_attrs attrs = {.shape.count = like->rank};
    memcpy(attrs.shape.v, like->shape, sizeof attrs.shape.v);
    return step(r, TD_OP_expand, &attrs, 1, &x);
}
static inline ref transpose(struct rule *r, ref x, int64_t dim0, int64_t dim1)
{
    return step(r, TD_OP_transpose, &(struct td_transpose_attrs){.dim0 = dim0, .dim1 = dim1}, 1, &x);
}
static inline ref permute(struct rule *r, ref x, const struct td_dims *dims)
{
    return step(r, TD_OP_permute, &(struct td_permute_attrs){.dims = *dims}, 1, &x);
}
static inline ref slice(struct rule *r, ref x, int64_t dim, int64_t start, int64_t end)
{
    return step(r, TD_OP_slice, &(struct td_slice_attrs){.dim = dim, .start = start, .end = end, .step = 1}, 1, &x);
}
static inline ref sum(struct rule *r, ref x, const struct td_dims *dims)
{
    return step(r, TD_OP_sum, &(struct td_sum_attrs){.dims = *dims, .keepdim = true}, 1, &x);
}
static inline ref sum_one(struct rule *r, ref x, int64_t dim)
{
    return sum(r, x, &(struct td_dims){.count = 1, .v = {dim}});
}
static inline ref zeros(struct rule *r, const struct td_meta *like)
{
    struct td_zeros_attrs attrs = {.shape.count = like->rank, .dtype = like->dtype};
    memcpy(attrs.shape.v, like->shape, sizeof attrs.shape.v);
    return step(r, TD_OP_zeros, &attrs, 0, NULL);
}
static inline ref window(struct rule *r, enum td_op_id id, const struct td_meta *window, int in_count, const ref *in)
{
    struct td_strided_write_attrs attrs = {.offset = window->offset};
    attrs.shape.count = attrs.stride.count = window->rank;
    memcpy(attrs.shape.v, window->shape, sizeof attrs.shape.v);
    memcpy(attrs.stride.v, window->stride, sizeof attrs.stride.v);
    return step(r, id, &attrs, in_count, in);
}

static inline ref scatter_add(struct rule *r, const struct td_meta *like, int64_t dim, ref index, ref source)
{
    return step(r, TD_OP_scatter_add, &(struct td_scatter_add_attrs){.dim = dim}, 3,
                (ref[]){zeros(r, like), index, source});
}

#endif
