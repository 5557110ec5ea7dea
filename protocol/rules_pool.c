/* Shapes of pools. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "protocol/rules_windows.h"

/* Windows of what w says over x; with ceil_mode also the last one that begins inside x or in front of it. */
static int pooled(struct td_inference *i, const struct td_windows *w, bool ceil_mode)
{
    const struct td_meta *x = &i->in[0];
    int first = x->rank - w->rank;
    int64_t shape[TD_RANK_MAX];
    char text[TD_SHAPE_TEXT];
    memcpy(shape, x->shape, sizeof shape);
    for (int d = 0; d < w->rank; d++) {
        int64_t size = x->shape[first + d], edge = w->padding[d], step = w->stride[d];
        int64_t left = size + 2 * edge - td_window_reach(w, d) + (ceil_mode ? step - 1 : 0);
        int64_t count = left < 0 ? 0 : left / step + 1;
        if (ceil_mode && count && (count - 1) * step >= size + edge)
            count--;
        if (edge > w->kernel[d] / 2)
            return td_fail(i->failure, TD_E_ARGUMENT,
                           "%s: padding %" PRId64 " is more than half of the window of %" PRId64, i->op->name, edge,
                           w->kernel[d]);
        if (count < 1) {
            td_fail(i->failure, TD_E_SHAPE,
                    "%s: a window over %" PRId64 " elements does not go into dimension %d of x of shape %s, which has "
                    "%" PRId64 " with its padding",
                    i->op->name, td_window_reach(w, d), first + d, rule_text(x, text), size + 2 * edge);
            return td_hint(i->failure, "A smaller kernel_size would fit.");
        }
        shape[first + d] = count;
    }
    return rule_fresh(i, x->rank, shape);
}

/* Refuses what is wrong with windows by themselves. */
static int check_pool(struct td_inference *i, int rank, const struct td_dims *kernel, const struct td_dims *stride,
                      const struct td_dims *padding)
{
    int failed = rule_image(i, 0, rank);
    if (!failed && kernel->count < 1)
        failed = td_fail(i->failure, TD_E_ARGUMENT, "%s: kernel_size has no entries", i->op->name);
    if (!failed)
        failed = rule_sizes(i, "kernel_size", kernel, rank, 1);
    if (!failed)
        failed = rule_sizes(i, "stride", stride, rank, 1);
    return failed ? failed : rule_sizes(i, "padding", padding, rank, 0);
}

int td_shape_avg_pool(struct td_inference *i)
{
    const struct td_avg_pool2d_attrs *a = i->attrs;
    int rank = td_image_rank(i->op), failed = check_pool(i, rank, &a->kernel_size, &a->stride, &a->padding);
    struct td_windows w = {.rank = rank};
    for (int d = 0; d < rank && !failed; d++) {
        w.kernel[d] = td_sizes_entry(&a->kernel_size, d, 1);
        w.stride[d] = td_sizes_entry(&a->stride, d, w.kernel[d]);
        w.padding[d] = td_sizes_entry(&a->padding, d, 0);
        w.dilation[d] = 1;
    }
    return failed ? failed : pooled(i, &w, a->ceil_mode);
}

int td_shape_adaptive_pool(struct td_inference *i)
{
    const struct td_adaptive_avg_pool2d_attrs *a = i->attrs;
    int rank = td_image_rank(i->op), first = i->in[0].rank - rank, failed = rule_image(i, 0, rank);
    int64_t shape[TD_RANK_MAX];
    if (!failed && a->output_size.count < 1)
        failed = td_fail(i->failure, TD_E_ARGUMENT, "%s: output_size has no entries", i->op->name);
    if (failed || (failed = rule_sizes(i, "output_size", &a->output_size, rank, -1)))
        return failed;
    memcpy(shape, i->in[0].shape, sizeof shape);
    for (int d = 0; d < rank; d++) {
        int64_t size = td_sizes_entry(&a->output_size, d, -1);
        shape[first + d] = size < 0 ? shape[first + d] : size;
    }
    return rule_fresh(i, i->in[0].rank, shape);
}

/* x of a pool has the size that is given; its result must be as large as g. */
int td_shape_avg_pool_back(struct td_inference *i)
{
    const struct td_avg_pool_back_attrs *a = i->attrs;
    const struct td_meta *g = &i->in[0];
    int64_t rank = a->size.count, first = g->rank - rank;
    if (rank < 1 || rank > TD_IMAGE_RANK || (first != 1 && first != 2) ||
        (!a->adaptive && (a->kernel_size.count != rank || a->stride.count != rank || a->padding.count != rank)))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: sizes of different dimensions", i->op->name);
    struct td_windows w = {.rank = (int)rank};
    struct td_meta x = *g;
    int failed = rule_sizes(i, "size", &a->size, (int)rank, 1);
    memcpy(x.shape + first, a->size.v, (size_t)rank * sizeof *x.shape);
    i->in = &x;
    if (!failed && !a->adaptive)
        failed = check_pool(i, (int)rank, &a->kernel_size, &a->stride, &a->padding);
    memcpy(w.kernel, a->kernel_size.v, sizeof w.kernel);
    memcpy(w.stride, a->stride.v, sizeof w.stride);
    memcpy(w.padding, a->padding.v, sizeof w.padding);
    for (int d = 0; d < rank; d++)
        w.dilation[d] = 1;
    if (!failed && !a->adaptive)
        failed = pooled(i, &w, a->ceil_mode);
    if (!failed && !a->adaptive && memcmp(i->out[0].shape + first, g->shape + first, (size_t)rank * sizeof *x.shape))
        failed = td_fail(i->failure, TD_E_SHAPE, "%s: g has not the size of the pool's result", i->op->name);
    i->in = g;
    return failed ? failed : rule_fresh(i, g->rank, x.shape);
}

static int with_indices(struct td_inference *i, int failed)
{
    i->out[1] = i->out[0];
    i->out[1].dtype = TD_I64;
    return failed;
}

int td_shape_adaptive_max_pool(struct td_inference *i)
{
    return with_indices(i, td_shape_adaptive_pool(i));
}

int td_shape_max_pool(struct td_inference *i)
{
    const struct td_max_pool2d_attrs *a = i->attrs;
    int rank = td_image_rank(i->op), failed = check_pool(i, rank, &a->kernel_size, &a->stride, &a->padding);
    if (failed || (failed = rule_sizes(i, "dilation", &a->dilation, rank, 1)))
        return failed;
    struct td_windows w = td_max_pool_windows(a, rank);
    return with_indices(i, pooled(i, &w, a->ceil_mode));
}
