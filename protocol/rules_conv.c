/* Shapes of convolutions. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/rules_windows.h"

/* Names of the last dimensions of an image. */
static const char *const sides[TD_IMAGE_RANK + 1] = {"", "length", "height, width", "depth, height, width"};

int rule_sizes(struct td_inference *i, const char *name, const struct td_dims *sizes, int rank, int64_t least)
{
    if (sizes->count > 1 && sizes->count != rank) {
        td_fail(i->failure, TD_E_ARGUMENT, "%s: %s has %" PRId64 " entries for %d dimensions", i->op->name, name,
                sizes->count, rank);
        return td_hint(i->failure, "One entry for each dimension of the image is due, or one for all.");
    }
    for (int64_t d = 0; d < sizes->count; d++)
        if (sizes->v[d] < least || sizes->v[d] >= TD_WINDOW_MAX)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: %s %" PRId64 " is not from %" PRId64 " to %" PRId64,
                           i->op->name, name, sizes->v[d], least, TD_WINDOW_MAX - 1);
    return TD_E_OK;
}

int rule_image(struct td_inference *i, int k, int rank)
{
    const struct td_meta *x = &i->in[k];
    char text[TD_SHAPE_TEXT];
    bool some = x->rank == rank + 1 || x->rank == rank + 2;
    for (int d = x->rank == rank + 2; d < x->rank; d++)
        some &= x->shape[d] > 0;
    if (some)
        return TD_E_OK;
    return td_fail(i->failure, TD_E_SHAPE,
                   "%s: input %d has shape %s where (batch, channels, %s) or (channels, %s) is due, of which only the "
                   "batch may be 0",
                   i->op->name, k, rule_text(x, text), sides[rank], sides[rank]);
}

/* Refuses what is wrong with stride, padding and dilation by themselves. */
static int check_windows(struct td_inference *i, int rank, const struct td_dims *stride, const struct td_dims *padding,
                         const struct td_dims *dilation)
{
    int failed = rule_sizes(i, "stride", stride, rank, 1);
    if (!failed)
        failed = rule_sizes(i, "padding", padding, rank, 0);
    return failed ? failed : rule_sizes(i, "dilation", dilation, rank, 1);
}

static int refuse_filters(struct td_inference *i, int64_t groups, const char *why)
{
    char xt[TD_SHAPE_TEXT], wt[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE,
            "%s: x of shape %s and a weight of shape %s in %" PRId64 " groups do not fit together: %s", i->op->name,
            rule_text(&i->in[0], xt), rule_text(&i->in[1], wt), groups, why);
    return td_hint(i->failure, "conv takes a weight (out, in / groups, ...), conv_transpose one of (in, out / groups, "
                               "...); groups divides in and out.");
}

/* x, the weight and the bias beside each other; for a transposed convolution the weight's first two sizes change
 * places. */
static int check_filters(struct td_inference *i, int rank, int64_t groups, bool transposed)
{
    const struct td_meta *x = &i->in[0], *weight = &i->in[1], *bias = &i->in[2];
    char text[TD_SHAPE_TEXT], why[128];
    int failed = rule_image(i, 0, rank);
    if (failed)
        return failed;
    if (groups < 1)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: %" PRId64 " groups", i->op->name, groups);
    bool fits = weight->rank == rank + 2;
    for (int d = 0; d < weight->rank; d++)
        fits &= weight->shape[d] > 0 && (d < 2 || weight->shape[d] < TD_WINDOW_MAX);
    if (!fits) {
        snprintf(why, sizeof why, "the weight has not %d dimensions of 1 or more", rank + 2);
        return refuse_filters(i, groups, why);
    }
    int64_t channels = x->shape[x->rank - rank - 1], taken = transposed ? weight->shape[0] : weight->shape[1], made;
    if (__builtin_mul_overflow(taken, transposed ? 1 : groups, &taken) || taken != channels) {
        snprintf(why, sizeof why, "%" PRId64 " channels meet filters of %" PRId64, channels, taken);
        return refuse_filters(i, groups, why);
    }
    if (weight->shape[0] % groups) {
        snprintf(why, sizeof why, "%" PRId64 " filters are not so many groups of one size", weight->shape[0]);
        return refuse_filters(i, groups, why);
    }
    if (!transposed)
        made = weight->shape[0];
    else if (__builtin_mul_overflow(weight->shape[1], groups, &made))
        return refuse_filters(i, groups, "too many channels");
    if (bias->dtype && (bias->rank != 1 || bias->shape[0] != made))
        return td_fail(i->failure, TD_E_SHAPE, "%s: the bias has shape %s where (%" PRId64 ") is due", i->op->name,
                       rule_text(bias, text), made);
    return TD_E_OK;
}

static int check_same(struct td_inference *i, int rank, const struct td_conv2d_attrs *a)
{
    for (int d = 0; d < rank && a->same; d++)
        if (td_sizes_entry(&a->stride, d, 1) != 1 || td_sizes_entry(&a->padding, d, 0) != 0)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: same goes with a stride of 1 and no padding of its own",
                           i->op->name);
    return TD_E_OK;
}

int td_shape_conv(struct td_inference *i)
{
    const struct td_conv2d_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0], *weight = &i->in[1];
    int rank = td_image_rank(i->op), first = x->rank - rank, failed;
    int64_t shape[TD_RANK_MAX];
    if ((failed = check_windows(i, rank, &a->stride, &a->padding, &a->dilation)) || (failed = check_same(i, rank, a)) ||
        (failed = check_filters(i, rank, a->groups, false)))
        return failed;
    struct td_windows w = td_conv_windows(i->op, a, rank, weight->shape + 2);
    memcpy(shape, x->shape, sizeof shape);
    shape[first - 1] = weight->shape[0];
    for (int d = 0; d < rank && !a->same; d++) {
        int64_t size = x->shape[first + d] + 2 * w.padding[d], reach = td_window_reach(&w, d);
        char xt[TD_SHAPE_TEXT], wt[TD_SHAPE_TEXT];
        if (size < reach) {
            td_fail(i->failure, TD_E_SHAPE,
                    "%s: filters of shape %s reach over %" PRId64 " elements of dimension %d of x of shape %s, which "
                    "has %" PRId64 " with its padding",
                    i->op->name, rule_text(weight, wt), reach, first + d, rule_text(x, xt), size);
            return td_hint(i->failure, "More padding or a smaller dilation would fit.");
        }
        shape[first + d] = (size - reach) / w.stride[d] + 1;
    }
    return rule_fresh(i, x->rank, shape);
}

/* The size whose windows of a convolution number count, without output_padding; false if that is too much. */
static bool spread_size(const struct td_windows *w, int d, int64_t count, int64_t *size)
{
    return !__builtin_mul_overflow(count - 1, w->stride[d], size) &&
           !__builtin_add_overflow(*size, td_window_reach(w, d) - 2 * w->padding[d], size);
}

int td_shape_conv_transpose(struct td_inference *i)
{
    const struct td_conv_transpose2d_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0], *weight = &i->in[1];
    int rank = td_image_rank(i->op), first = x->rank - rank, failed;
    int64_t shape[TD_RANK_MAX];
    if ((failed = check_windows(i, rank, &a->stride, &a->padding, &a->dilation)) ||
        (failed = rule_sizes(i, "output_padding", &a->output_padding, rank, 0)) ||
        (failed = check_filters(i, rank, a->groups, true)))
        return failed;
    struct td_windows w = td_conv_windows(i->op, a, rank, weight->shape + 2);
    memcpy(shape, x->shape, sizeof shape);
    shape[first - 1] = weight->shape[1] * a->groups;
    for (int d = 0; d < rank; d++) {
        int64_t more = td_sizes_entry(&a->output_padding, d, 0), *size = &shape[first + d];
        char xt[TD_SHAPE_TEXT];
        if (more >= w.stride[d] && more >= w.dilation[d])
            return td_fail(i->failure, TD_E_ARGUMENT,
                           "%s: output_padding %" PRId64 " is not below the stride %" PRId64
                           " or the dilation %" PRId64,
                           i->op->name, more, w.stride[d], w.dilation[d]);
        if (!spread_size(&w, d, x->shape[first + d], size) || __builtin_add_overflow(*size, more, size) || *size < 1)
            return td_fail(i->failure, TD_E_SHAPE,
                           "%s: x of shape %s gives no result: with that stride and padding dimension %d has less than "
                           "one element, or more than a tensor",
                           i->op->name, rule_text(x, xt), first + d);
    }
    return rule_fresh(i, x->rank, shape);
}

int td_shape_conv_weight(struct td_inference *i)
{
    const struct td_conv_weight_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0], *g = &i->in[1];
    int64_t shape[TD_RANK_MAX], rank = a->kernel_size.count, groups = a->groups;
    char xt[TD_SHAPE_TEXT], gt[TD_SHAPE_TEXT];
    int failed;
    if (rank < 1 || rank > TD_IMAGE_RANK)
        return td_fail(i->failure, TD_E_ARGUMENT, "conv_weight: filters of %" PRId64 " dimensions", rank);
    if ((failed = check_windows(i, (int)rank, &a->stride, &a->padding, &a->dilation)) ||
        (failed = rule_sizes(i, "kernel_size", &a->kernel_size, (int)rank, 1)) ||
        (failed = rule_image(i, 0, (int)rank)) || (failed = rule_image(i, 1, (int)rank)))
        return failed;
    int first = x->rank - (int)rank;
    struct td_windows w = td_conv_windows(i->op, a, (int)rank, a->kernel_size.v);
    bool fits = g->rank == x->rank && (first < 2 || x->shape[0] == g->shape[0]) && groups > 0;
    fits = fits && x->shape[first - 1] % groups == 0 && g->shape[first - 1] % groups == 0;
    for (int d = 0; d < rank && fits; d++) {
        int64_t size, left;
        fits = spread_size(&w, d, g->shape[first + d], &size);
        left = x->shape[first + d] - size;
        fits = fits && left >= 0 && (left < w.stride[d] || left < w.dilation[d]);
    }
    if (!fits)
        return td_fail(i->failure, TD_E_SHAPE,
                       "conv_weight: g of shape %s is not what filters in %" PRId64
                       " groups make of x of shape %s with that stride, padding and dilation",
                       rule_text(g, gt), groups, rule_text(x, xt));
    shape[0] = g->shape[first - 1];
    shape[1] = x->shape[first - 1] / groups;
    memcpy(shape + 2, a->kernel_size.v, (size_t)rank * sizeof *shape);
    return rule_fresh(i, rank + 2, shape);
}
