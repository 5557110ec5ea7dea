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

static int with_indices(struct td_inference *i, int failed)
{
    i->out[1] = i->out[0];
    i->out[1].dtype = TD_I64;
    return failed;
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
