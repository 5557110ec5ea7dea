/* Gradient rules of pools and of what else looks at an image through windows. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/shape_windows.h"
#include "server/worker/rule_ops.h"

/* x with its last dimensions made into one */
static ref flat(struct rule *r, ref x, int rank)
{
    struct td_meta shape = r->values[x].meta;
    int last = shape.rank - rank;
    for (int d = last + 1; d < shape.rank; d++)
        shape.shape[last] *= shape.shape[d];
    return reshape(r, x, last + 1, shape.shape);
}

/* zeros with g at the elements that were chosen */
RULE(max_pool)
{
    const struct td_meta *x = shape_of(r, 0);
    int rank = td_image_rank(r->node->op);
    ref index = flat(r, output(r, 1), rank), source = flat(r, g, rank), zero = flat(r, zeros(r, x), rank);
    ref value = step(r, TD_OP_scatter_add, &(struct td_scatter_add_attrs){.dim = -1}, 3, (ref[]){zero, index, source});
    give(r, 0, reshape(r, value, x->rank, x->shape));
}
