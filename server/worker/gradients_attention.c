/* Attention's gradient. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "protocol/shape_attention.h"
#include "server/worker/rule_ops.h"

static ref product(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_matmul, a, b);
}

static ref turned(struct rule *r, ref x)
{
    return transpose(r, x, -2, -1);
}

/* A tile of scores at a time, and nothing that a graph could be made of. */
static void fused(struct rule *r, ref g)
{
    const struct td_attention_attrs *a = attrs_of(r);
    const struct td_attention_back_attrs back = {.is_causal = a->is_causal, .scale = a->scale};
    ref mask = r->node->in[3].saved ? in(r, 3) : none(r);
    ref given =
        step(r, TD_OP_attention_back, &back, 7, (ref[]){g, in(r, 0), in(r, 1), in(r, 2), out(r), output(r, 1), mask});
    for (int k = 0; k < 3; k++)
        give(r, k, given + k);
}

/* Which scores are not seen, for their mask or for is_causal; -1: all are. */
static ref unseen(struct rule *r, ref mask, bool is_causal)
{
    const struct td_meta *query = shape_of(r, 0), *key = shape_of(r, 1);
    struct td_ones_attrs all = {.shape = {2, {query->shape[query->rank - 2], key->shape[key->rank - 2]}},
                                .dtype = TD_BOOL};
    ref masked = mask < 0 ? -1 : binary(r, TD_OP_eq, mask, real(r, -INFINITY));
    if (!is_causal)
        return masked;
    ref later = step(r, TD_OP_ones, &all, 0, NULL);
    later = step(r, TD_OP_triu, &(struct td_triu_attrs){.diagonal = 1}, 1, &later);
    return masked < 0 ? later : binary(r, TD_OP_logical_or, masked, later);
}

/* With p the probabilities and d = p (g v^T - sum(p g v^T)): q: s d k; k: s d^T q; v: p^T g; the mask: d; of the
 * logarithm's gradient h p h is added to d. d is 0 where nothing is seen. */
RULE(attention)
{
    const struct td_attention_attrs *a = attrs_of(r);
    if (!r->create && !came(r, 1) && !needs(r, 3)) {
        fused(r, g);
        return;
    }
    double scale = td_attention_scale(a->scale, shape_of(r, 0)->shape[shape_of(r, 0)->rank - 1]);
    ref q = mul(r, wide(r, in(r, 0)), real(r, scale)), k = wide(r, in(r, 1)), v = wide(r, in(r, 2));
    ref mask = r->node->in[3].saved ? wide(r, in(r, 3)) : -1, upstream = wide(r, g);
    ref scores = product(r, q, turned(r, k)), hidden = unseen(r, mask, a->is_causal);
    if (mask >= 0)
        scores = add(r, scores, mask);
    if (hidden >= 0)
        scores = where(r, hidden, real(r, -INFINITY), scores);
    ref p = step(r, TD_OP_softmax, &(struct td_softmax_attrs){.dim = -1}, 1, &scores);
    if (needs(r, 2))
        give(r, 2, product(r, turned(r, p), upstream));
    ref d = product(r, upstream, turned(r, v));
    d = sub(r, d, sum_one(r, mul(r, p, d), -1));
    if (came(r, 1)) {
        ref h = gradient(r, 1);
        d = add(r, d, step(r, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = -1}, 1, &h));
    }
    d = mul(r, p, d);
    if (hidden >= 0)
        d = where(r, hidden, real(r, 0), d);
    if (needs(r, 0))
        give(r, 0, mul(r, product(r, d, k), real(r, scale)));
    if (needs(r, 1))
        give(r, 1, product(r, turned(r, d), q));
    if (needs(r, 3))
        give(r, 3, d);
}
