/* Gradient rules of convolutions. conv, conv_transpose and conv_weight are linear in both of what they multiply, and
 * each is the gradient of the others. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/shape_windows.h"
#include "server/worker/rule_ops.h"

/* A convolution, as its three ops see it: windows slide over an image, and there is a result for each window. */
struct geometry {
    int rank, first; /* dimensions of the image, and which is the first of them in a tensor */
    struct td_dims stride, padding, dilation;
    int64_t groups;
};

/* x spread into an image of that size. */
static ref spread(struct rule *r, const struct geometry *c, const struct td_meta *image, ref x, ref weight)
{
    struct td_conv_transpose2d_attrs a = {.stride = c->stride,
                                          .padding = c->padding,
                                          .dilation = c->dilation,
                                          .groups = c->groups,
                                          .output_padding.count = c->rank};
    const struct td_meta *count = &r->values[x].meta, *kernel = &r->values[weight].meta;
    for (int d = 0; d < c->rank; d++) {
        int64_t reach = td_sizes_entry(&c->dilation, d, 1) * (kernel->shape[2 + d] - 1) + 1;
        a.output_padding.v[d] =
            image->shape[c->first + d] - ((count->shape[c->first + d] - 1) * td_sizes_entry(&c->stride, d, 1) -
                                          2 * td_sizes_entry(&c->padding, d, 0) + reach);
    }
    return step(r, TD_OP_conv_transpose1d + c->rank - 1, &a, 3, (ref[]){x, weight, none(r)});
}

/* As many windows as count has: where an output_padding passes the stride there is room for more. */
static ref slide(struct rule *r, const struct geometry *c, const struct td_meta *count, ref x, ref weight)
{
    struct td_conv2d_attrs a = {
        .stride = c->stride, .padding = c->padding, .dilation = c->dilation, .groups = c->groups};
    ref y = step(r, TD_OP_conv1d + c->rank - 1, &a, 3, (ref[]){x, weight, none(r)});
    for (int d = c->first; d < c->first + c->rank; d++)
        if (r->values[y].meta.shape[d] > count->shape[d])
            y = slice(r, y, d, 0, count->shape[d]);
    return y;
}

static ref by_weight(struct rule *r, const struct geometry *c, const struct td_meta *weight, ref x, ref g)
{
    struct td_conv_weight_attrs a = {.kernel_size.count = c->rank,
                                     .stride = c->stride,
                                     .padding = c->padding,
                                     .dilation = c->dilation,
                                     .groups = c->groups};
    memcpy(a.kernel_size.v, weight->shape + 2, (size_t)c->rank * sizeof *weight->shape);
    return step(r, TD_OP_conv_weight, &a, 2, (ref[]){x, g});
}

/* The sum of g over all but the channels */
static void give_bias(struct rule *r, const struct geometry *c, ref g)
{
    const struct td_meta *shape = &r->node->out[0].meta;
    struct td_dims dims = {.count = 0};
    for (int d = 0; d < shape->rank; d++)
        if (d != c->first - 1)
            dims.v[dims.count++] = d;
    if (needs(r, 2))
        give(r, 2, reshape(r, sum(r, g, &dims), 1, &shape->shape[c->first - 1]));
}

/* x with the zeros around it that same stands for, or, with a sign of -1, without them. */
static ref padded(struct rule *r, const struct geometry *c, ref x, int sign)
{
    const int64_t *kernel = shape_of(r, 1)->shape + 2;
    struct td_pad_attrs a = {.pads.count = 2 * c->rank};
    for (int d = 0; d < c->rank; d++) {
        int64_t all = td_sizes_entry(&c->dilation, c->rank - 1 - d, 1) * (kernel[c->rank - 1 - d] - 1);
        a.pads.v[2 * d] = sign * (all / 2);
        a.pads.v[2 * d + 1] = sign * (all - all / 2);
    }
    return step(r, TD_OP_pad, &a, 1, &x);
}

static struct geometry geometry_of(const struct rule *r)
{
    const struct td_conv2d_attrs *a = attrs_of(r);
    int rank = td_image_rank(r->node->op);
    return (struct geometry){rank, shape_of(r, 0)->rank - rank, a->stride, a->padding, a->dilation, a->groups};
}

/* g spread by W; for W, x and g */
RULE(conv)
{
    struct geometry c = geometry_of(r);
    bool same = ((const struct td_conv2d_attrs *)attrs_of(r))->same;
    struct td_meta image = *shape_of(r, 0);
    for (int d = 0; d < c.rank && same; d++)
        image.shape[c.first + d] += td_sizes_entry(&c.dilation, d, 1) * (shape_of(r, 1)->shape[2 + d] - 1);
    if (needs(r, 0)) {
        ref value = spread(r, &c, &image, g, in(r, 1));
        give(r, 0, same ? padded(r, &c, value, -1) : value);
    }
    if (needs(r, 1)) {
        ref x = in(r, 0);
        give(r, 1, by_weight(r, &c, shape_of(r, 1), same ? padded(r, &c, x, 1) : x, g));
    }
    give_bias(r, &c, g);
}

/* W over g; for W, g and x */
RULE(conv_transpose)
{
    struct geometry c = geometry_of(r);
    if (needs(r, 0))
        give(r, 0, slide(r, &c, shape_of(r, 0), g, in(r, 1)));
    if (needs(r, 1))
        give(r, 1, by_weight(r, &c, shape_of(r, 1), g, in(r, 0)));
    give_bias(r, &c, g);
}

/* g is of the shape of filters: spreads what was the result's gradient, and slides over x */
RULE(conv_weight)
{
    const struct td_conv_weight_attrs *a = attrs_of(r);
    int rank = (int)a->kernel_size.count;
    struct geometry c = {rank, shape_of(r, 0)->rank - rank, a->stride, a->padding, a->dilation, a->groups};
    if (needs(r, 0))
        give(r, 0, spread(r, &c, shape_of(r, 0), in(r, 1), g));
    if (needs(r, 1))
        give(r, 1, slide(r, &c, shape_of(r, 1), in(r, 0), g));
}
