/* Gradient rules of normalisation and of losses by class. g is the gradient of the output, y the output, x (or a, b)
 * an input; the formulas stand over each rule. Where a rule selects, it uses where and never a product with a mask, so
 * that infinities and NaN on the other side stay out. SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "server/worker/rule_ops.h"

/* ---- normalisation ---- */

static ref mean(struct rule *r, ref x, const struct td_dims *dims)
{
    return step(r, TD_OP_mean, &(struct td_mean_attrs){.dims = *dims, .keepdim = true}, 1, &x);
}

/* With h the normalised x and s what it was scaled by: x: s * (g w - mean(g w) - h * mean(g w * h)), without the first
 * mean where none was taken off; weight: g * h; bias: g. give sums up. */
static void normalised(struct rule *r, ref g, bool centred, double eps)
{
    const struct td_layer_norm_attrs *a = attrs_of(r);
    struct td_dims dims = {.count = a->normalized_shape.count};
    for (int64_t d = 0; d < dims.count; d++)
        dims.v[d] = d - dims.count;
    ref x = wide(r, in(r, 0)), upstream = wide(r, g);
    if (centred)
        x = sub(r, x, mean(r, x, &dims));
    ref scale = unary(r, TD_OP_rsqrt, add(r, mean(r, unary(r, TD_OP_square, x), &dims), real(r, eps)));
    ref h = mul(r, x, scale);
    if (needs(r, 1))
        give(r, 1, mul(r, upstream, h));
    if (centred && needs(r, 2))
        give(r, 2, upstream);
    if (!needs(r, 0))
        return;
    ref gw = r->node->in[1].saved ? mul(r, upstream, wide(r, in(r, 1))) : upstream;
    ref inner = centred ? sub(r, gw, mean(r, gw, &dims)) : gw;
    give(r, 0, mul(r, scale, sub(r, inner, mul(r, h, mean(r, mul(r, gw, h), &dims)))));
}

RULE(layer_norm)
{
    normalised(r, g, true, ((const struct td_layer_norm_attrs *)attrs_of(r))->eps);
}

RULE(rms_norm)
{
    double eps = ((const struct td_rms_norm_attrs *)attrs_of(r))->eps;
    double next = r->node->out[0].meta.dtype == TD_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    normalised(r, g, false, eps < 0 ? next : eps);
}

/* ---- losses by class ---- */

/* What a loss by class is made of. All but hot have the targets' shape with a 1 for the classes. */
struct classes {
    ref hot;    /* where the target's class stands */
    ref valid;  /* which targets are not ignored */
    ref weight; /* theirs; 1 without weights */
    ref share;  /* of each target in what comes down, without its weight; 0 where it is ignored */
};

/* The weight of each class, in the shape of logits without other dimensions. */
static ref class_weights(struct rule *r)
{
    const struct td_meta *x = shape_of(r, 0);
    int class_dim = x->rank > 1;
    int64_t shape[TD_RANK_MAX];
    for (int d = 0; d < x->rank; d++)
        shape[d] = d == class_dim ? x->shape[d] : 1;
    return reshape(r, wide(r, in(r, 2)), x->rank, shape);
}

static struct classes classes(struct rule *r, ref g, int64_t ignored, int64_t reduction)
{
    struct td_meta column = *shape_of(r, 0);
    int class_dim = column.rank > 1;
    struct td_number start = {.category = TD_INTEGER}, size = start, one = start;
    size.i = column.shape[class_dim];
    one.i = 1;
    column.shape[class_dim] = 1;
    ref target = reshape(r, in(r, 1), column.rank, column.shape);
    struct td_arange_attrs count = {.start = start, .end = size, .step = one};
    struct td_meta along = column;
    for (int d = 0; d < along.rank; d++)
        along.shape[d] = d == class_dim ? size.i : 1;
    ref numbers = reshape(r, step(r, TD_OP_arange, &count, 0, NULL), along.rank, along.shape);
    struct td_number number = {.category = TD_INTEGER, .i = ignored};
    struct classes c = {.hot = binary(r, TD_OP_eq, target, numbers),
                        .valid = binary(r, TD_OP_ne, target, rule_number(r, number))};
    ref all = c.valid;
    c.weight = real(r, 1);
    if (r->node->in[2].saved) {
        int64_t n = td_meta_numel(&column);
        ref safe = reshape(r, where(r, c.valid, target, rule_number(r, start)), 1, &n);
        ref row = wide(r, in(r, 2));
        row = step(r, TD_OP_index_select, &(struct td_index_select_attrs){.dim = 0}, 2, (ref[]){row, safe});
        c.weight = reshape(r, row, column.rank, column.shape);
        all = where(r, c.valid, c.weight, real(r, 0));
    }
    c.share = wide(r, g);
    if (reduction == TD_NONE)
        c.share = reshape(r, c.share, column.rank, column.shape);
    else if (reduction == TD_MEAN)
        c.share = divide(r, c.share, step(r, TD_OP_sum, &(struct td_sum_attrs){.dims.count = -1}, 1, &all));
    c.share = where(r, c.valid, c.share, real(r, 0));
    return c;
}

/* -w at the target's class */
RULE(nll_loss)
{
    const struct td_nll_loss_attrs *a = attrs_of(r);
    struct classes c = classes(r, g, a->ignore_index, a->reduction);
    give(r, 0, where(r, c.hot, neg(r, mul(r, c.share, c.weight)), real(r, 0)));
}

/* softmax(x) * sum(q) - q, with q the weight at the target's class; of label_smoothing e q is (1 - e) of that, and
 * e / classes of its weight at every class */
RULE(cross_entropy)
{
    const struct td_cross_entropy_attrs *a = attrs_of(r);
    const struct td_meta *shape = shape_of(r, 0);
    int64_t class_dim = shape->rank > 1, size = shape->shape[class_dim];
    struct classes c = classes(r, g, a->ignore_index, a->reduction);
    ref x = wide(r, in(r, 0));
    ref p = unary(r, TD_OP_exp, step(r, TD_OP_log_softmax, &(struct td_log_softmax_attrs){.dim = class_dim}, 1, &x));
    if (a->label_smoothing == 0) {
        ref share = r->node->in[2].saved ? mul(r, c.share, c.weight) : c.share;
        give(r, 0, mul(r, where(r, c.hot, sub(r, p, real(r, 1)), p), share));
        return;
    }
    double e = a->label_smoothing, each = size ? e / (double)size : 0;
    if (!r->node->in[2].saved) { /* without weights all of that is numbers */
        give(r, 0, mul(r, where(r, c.hot, sub(r, p, real(r, each + 1 - e)), sub(r, p, real(r, each))), c.share));
        return;
    }
    ref part = mul(r, c.weight, real(r, 1 - e)), spread = mul(r, class_weights(r), real(r, each));
    ref q = where(r, c.hot, add(r, spread, part), spread);
    give(r, 0, mul(r, sub(r, mul(r, p, add(r, sum_one(r, spread, class_dim), part)), q), c.share));
}

/* (x - target) / max(x (1 - x), 1e-12), that number being PyTorch's, a float; target: log(1 - x) - log(x) */
RULE(bce)
{
    struct td_clamp_attrs least = {.min = (double)1e-12f, .max = INFINITY};
    ref x = wide(r, in(r, 0)), target = wide(r, in(r, 1)), other = one_minus(r, x);
    if (needs(r, 0)) {
        ref spread = mul(r, other, x);
        spread = step(r, TD_OP_clamp, &least, 1, &spread);
        give(r, 0, mul(r, g, divide(r, sub(r, x, target), spread)));
    }
    if (needs(r, 1))
        give(r, 1, mul(r, g, sub(r, unary(r, TD_OP_log, other), unary(r, TD_OP_log, x))));
}
