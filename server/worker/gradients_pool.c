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

/* All entries of sizes, of which one may stand for all. */
static struct td_dims each(const struct td_dims *sizes, int rank, const struct td_dims *otherwise)
{
    struct td_dims all = {.count = rank};
    for (int d = 0; d < rank; d++)
        all.v[d] = td_sizes_entry(sizes, d, otherwise ? otherwise->v[d] : 0);
    return all;
}

static struct td_dims size_of(const struct td_meta *x, int rank)
{
    struct td_dims size = {.count = rank};
    memcpy(size.v, x->shape + x->rank - rank, (size_t)rank * sizeof *size.v);
    return size;
}

/* g shared by what lay under each window */
RULE(avg_pool)
{
    const struct td_avg_pool2d_attrs *a = attrs_of(r);
    int rank = td_image_rank(r->node->op);
    struct td_avg_pool_back_attrs back = {.size = size_of(shape_of(r, 0), rank),
                                          .kernel_size = each(&a->kernel_size, rank, NULL),
                                          .padding = each(&a->padding, rank, NULL),
                                          .ceil_mode = a->ceil_mode,
                                          .count_include_pad = a->count_include_pad,
                                          .divisor_override = a->divisor_override};
    back.stride = each(&a->stride, rank, &back.kernel_size);
    give(r, 0, step(r, TD_OP_avg_pool_back, &back, 1, &g));
}

RULE(adaptive_avg_pool)
{
    struct td_avg_pool_back_attrs back = {.size = size_of(shape_of(r, 0), td_image_rank(r->node->op)),
                                          .adaptive = true};
    give(r, 0, step(r, TD_OP_avg_pool_back, &back, 1, &g));
}

/* the pool of g */
RULE(avg_pool_back)
{
    const struct td_avg_pool_back_attrs *a = attrs_of(r);
    int rank = (int)a->size.count;
    struct td_avg_pool2d_attrs pool = {.kernel_size = a->kernel_size,
                                       .stride = a->stride,
                                       .padding = a->padding,
                                       .ceil_mode = a->ceil_mode,
                                       .count_include_pad = a->count_include_pad,
                                       .divisor_override = a->divisor_override};
    struct td_adaptive_avg_pool2d_attrs parts = {.output_size = size_of(shape_of(r, 0), rank)};
    if (a->adaptive)
        give(r, 0, step(r, TD_OP_adaptive_avg_pool1d + rank - 1, &parts, 1, &g));
    else
        give(r, 0, step(r, TD_OP_avg_pool1d + rank - 1, &pool, 1, &g));
}
