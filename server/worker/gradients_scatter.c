/* Gradient rules of scatter_reduce and of the functions of gamma.h, written as those of gradients_elementwise.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "server/worker/rule_ops.h"

/* ---- the gamma function ---- */

static ref polygamma(struct rule *r, int64_t n, ref x)
{
    return step(r, TD_OP_polygamma, &(struct td_polygamma_attrs){.n = n}, 1, &x);
}

/* g * digamma(x) */
RULE(lgamma)
{
    give(r, 0, mul(r, g, unary(r, TD_OP_digamma, in(r, 0))));
}

/* g * polygamma(1, x) */
RULE(digamma)
{
    give(r, 0, mul(r, g, polygamma(r, 1, in(r, 0))));
}

/* g * polygamma(n + 1, x) */
RULE(polygamma)
{
    int64_t n = ((const struct td_polygamma_attrs *)attrs_of(r))->n;
    give(r, 0, mul(r, g, polygamma(r, n < INT64_MAX ? n + 1 : n, in(r, 0))));
}

/* g * sigmoid((a - b) * log(2)), g * sigmoid((b - a) * log(2)) */
RULE(logaddexp2)
{
    for (int k = 0; k < 2; k++)
        if (needs(r, k))
            give(r, k, mul(r, g, unary(r, TD_OP_sigmoid, mul(r, sub(r, in(r, k), in(r, 1 - k)), real(r, M_LN2)))));
}

/* ---- scatter_reduce ---- */

static const struct td_scatter_reduce_attrs *how(struct rule *r)
{
    return attrs_of(r);
}
static ref gathered(struct rule *r, ref x)
{
    return step(r, TD_OP_gather, &(struct td_gather_attrs){.dim = how(r)->dim}, 2, (ref[]){x, in(r, 1)});
}
static ref added_to(struct rule *r, ref x, ref source)
{
    return step(r, TD_OP_scatter_add, &(struct td_scatter_add_attrs){.dim = how(r)->dim}, 3,
                (ref[]){x, in(r, 1), source});
}
/* x with 0 where the index went. */
static ref without_index(struct rule *r, ref x)
{
    return step(r, TD_OP_scatter, &(struct td_scatter_attrs){.dim = how(r)->dim}, 3, (ref[]){x, in(r, 1), real(r, 0)});
}
/* x where it counts, 0 where it was replaced. */
static ref kept(struct rule *r, ref x)
{
    return how(r)->include_self ? x : without_index(r, x);
}
static ref constant(struct rule *r, const struct td_meta *like, double value)
{
    struct td_full_attrs attrs = {.shape.count = like->rank, .dtype = like->dtype};
    memcpy(attrs.shape.v, like->shape, sizeof attrs.shape.v);
    attrs.value = (struct td_number){.category = TD_FLOATING, .f = value};
    return step(r, TD_OP_full, &attrs, 0, NULL);
}
static ref as_floats(struct rule *r, ref truth)
{
    return step(r, TD_OP_to, &(struct td_to_attrs){.dtype = r->node->out[0].meta.dtype}, 1, &truth);
}

/* The source as far as the index reaches, and the way back for its gradient. */
static ref source_used(struct rule *r, struct td_meta *seen)
{
    struct td_meta whole = *shape_of(r, 2);
    ref source = as_computed(r, in(r, 2));
    td_contiguous_strides(whole.rank, whole.shape, whole.stride);
    *seen = *shape_of(r, 1);
    seen->dtype = r->node->out[0].meta.dtype;
    memcpy(seen->stride, whole.stride, sizeof seen->stride);
    seen->offset = 0;
    if (td_meta_same_shape(seen, &whole) || whole.rank != seen->rank)
        return source;
    return window(r, TD_OP_strided_read, seen, 1, &source);
}
static void give_source(struct rule *r, const struct td_meta *seen, ref value)
{
    struct td_meta whole = *shape_of(r, 2);
    td_contiguous_strides(whole.rank, whole.shape, whole.stride);
    if (!td_meta_same_shape(seen, &whole) && whole.rank == seen->rank)
        value = window(r, TD_OP_strided_write, seen, 2, (ref[]){zeros(r, &whole), value});
    give(r, 2, value);
}

/* n: how many came together; g / n, 0 where x does not count; its elements at the index */
static void grad_mean_at(struct rule *r, ref g)
{
    const struct td_meta *y = &r->node->out[0].meta;
    struct td_meta seen;
    source_used(r, &seen);
    ref n = added_to(r, constant(r, y, how(r)->include_self ? 1 : 0), constant(r, &seen, 1));
    g = divide(r, g, binary(r, TD_OP_maximum, n, constant(r, y, 1)));
    if (needs(r, 0))
        give(r, 0, kept(r, g));
    if (needs(r, 2))
        give_source(r, &seen, gathered(r, g));
}

/* n: how many elements are the result; g / n for each that is */
static void grad_extreme_at(struct rule *r, ref g)
{
    struct td_meta seen;
    ref zero = real(r, 0), y = out(r), source = source_used(r, &seen);
    ref of_source = binary(r, TD_OP_eq, source, gathered(r, y));
    ref of_x = kept(r, as_floats(r, binary(r, TD_OP_eq, in(r, 0), y)));
    ref n = added_to(r, of_x, as_floats(r, of_source));
    ref share = divide(r, g, n);
    if (needs(r, 0))
        give(r, 0, where(r, binary(r, TD_OP_ne, of_x, zero), share, zero));
    if (needs(r, 2))
        give_source(r, &seen, where(r, of_source, gathered(r, share), zero));
}

/* g times the product of the others: by division where nothing is 0, by one more product without the only 0 where
 * there is one, and 0 where there are several */
static void grad_product_at(struct rule *r, ref g)
{
    struct td_meta seen;
    const struct td_meta *like = &r->node->out[0].meta;
    struct td_scatter_reduce_attrs product = *how(r);
    ref zero = real(r, 0), one = real(r, 1), source = source_used(r, &seen), index = in(r, 1),
        x = as_computed(r, in(r, 0));
    if (needs(r, 0)) {
        product.include_self = 1;
        ref of_source = step(r, TD_OP_scatter_reduce, &product, 3, (ref[]){constant(r, like, 1), index, source});
        give(r, 0, kept(r, mul(r, g, of_source)));
    }
    if (!needs(r, 2))
        return;
    ref start = how(r)->include_self
                    ? x
                    : step(r, TD_OP_scatter, &(struct td_scatter_attrs){.dim = product.dim}, 3, (ref[]){x, index, one});
    ref is_zero = binary(r, TD_OP_eq, source, zero);
    ref zeros_there = gathered(r, added_to(r, constant(r, like, 0), as_floats(r, is_zero)));
    ref only = where(r, binary(r, TD_OP_eq, zeros_there, one), is_zero, binary(r, TD_OP_ne, source, source));
    product.include_self = 1;
    ref without = step(r, TD_OP_scatter_reduce, &product, 3, (ref[]){start, index, where(r, only, one, source)});
    ref divided = divide(r, gathered(r, mul(r, g, out(r))), where(r, is_zero, one, source));
    give_source(r, &seen, where(r, only, gathered(r, mul(r, g, without)), divided));
}

RULE(scatter_reduce)
{
    struct td_meta seen;
    switch ((enum td_bringing)how(r)->reduce) {
    case TD_BY_SUM:
        if (needs(r, 0))
            give(r, 0, kept(r, g));
        if (needs(r, 2)) {
            source_used(r, &seen);
            give_source(r, &seen, gathered(r, g));
        }
        return;
    case TD_BY_MEAN:
        grad_mean_at(r, g);
        return;
    case TD_BY_PROD:
        grad_product_at(r, g);
        return;
    case TD_BY_AMAX:
    case TD_BY_AMIN:
        grad_extreme_at(r, g);
        return;
    }
}
