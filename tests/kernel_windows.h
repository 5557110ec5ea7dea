/* Calls of ops with windows, drawn for test_kernels.c. Included once, by kernel_calls.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_KERNEL_WINDOWS_H
#define TD_TESTS_KERNEL_WINDOWS_H

/* Sizes for each dimension, or now and then one for all; some other call leaves them out. */
static void draw_sizes(struct td_dims *sizes, int rank, int64_t from, int64_t below_)
{
    sizes->count = below(3) == 0 ? -1 : below(3) ? rank : 1;
    for (int64_t d = 0; d < sizes->count; d++)
        sizes->v[d] = from + below(below_ - from);
}

static int64_t size_drawn(const struct td_dims *sizes, int d, int64_t otherwise)
{
    return sizes->count < 1 ? otherwise : sizes->v[sizes->count == 1 ? 0 : d];
}

/* An image, filters, and as many windows as they make of it, in shapes that are set from first on. */
struct drawn_conv {
    int rank, first;
    int64_t image[TD_RANK_MAX], weight[TD_RANK_MAX], windows[TD_RANK_MAX];
};

/* As many windows as padding and stride give; the image is a bit larger than they need. */
static struct drawn_conv draw_filters(const struct td_dims *stride, const struct td_dims *padding,
                                      const struct td_dims *dilation, const struct td_dims *more, int64_t groups,
                                      int rank)
{
    bool single = below(4) == 0;
    struct drawn_conv d = {.rank = rank, .first = below(4) ? 2 : 1};
    int64_t in = single ? 1 : 1 + below(4), out = single ? 1 : 1 + below(4),
            batch = draws_large ? 19
                    : below(12) ? 1 + below(3)
                                : 0;
    int64_t widest = draws_large ? rank == 1 ? 900 : rank == 2 ? 40 : 10 : rank == 3 ? 4 : 12;
    if (draws_large && below(2))
        in = 1 + below(70), out = 1 + below(5), widest = widest / 4 + 1;
    d.image[0] = d.windows[0] = batch;
    d.image[d.first - 1] = in * groups;
    d.windows[d.first - 1] = out * groups;
    d.weight[0] = out * groups;
    d.weight[1] = in;
    for (int k = 0; k < rank; k++) {
        int64_t kernel = below(3) ? 1 + below(4) : 1, step = size_drawn(stride, k, 1), edge = size_drawn(padding, k, 0);
        int64_t reach = size_drawn(dilation, k, 1) * (kernel - 1) + 1, count = 1 + below(widest);
        int64_t size = (count - 1) * step + reach - 2 * edge + size_drawn(more, k, 0);
        for (; size < 1; size += step)
            count++;
        d.weight[2 + k] = kernel;
        d.windows[d.first + k] = count;
        d.image[d.first + k] = size;
    }
    return d;
}

static void draw_bias(struct call *c, uint8_t dtype, int64_t channels)
{
    if (below(2))
        make(next(c), dtype, 1, (int64_t[TD_RANK_MAX]){channels}, TD_REALS, DENSE);
    else
        next(c);
}

static void draw_conv(struct call *c, uint8_t dtype)
{
    struct td_dims stride, padding, dilation, more = {.count = -1};
    bool of_weight = c->op->id == TD_OP_conv_weight, transposed = strstr(c->op->name, "transpose") != NULL;
    int rank = of_weight ? 1 + (int)below(3) : c->op->name[strlen(c->op->name) - 2] - '0';
    int64_t groups = below(3) ? 1 : 1 + below(3);
    draw_sizes(&stride, rank, 1, 4);
    draw_sizes(&padding, rank, 0, 3);
    draw_sizes(&dilation, rank, 1, 3);
    if (!of_weight && !transposed && below(5) == 0) {
        struct drawn_conv d = draw_filters(&more, &more, &dilation, &more, groups, rank);
        *(struct td_conv2d_attrs *)(void *)c->attrs = (struct td_conv2d_attrs){
            .stride = more, .padding = more, .dilation = dilation, .groups = groups, .same = true};
        make(next(c), dtype, d.first + rank, d.image, TD_REALS, DENSE);
        make(next(c), dtype, 2 + rank, d.weight, TD_REALS, DENSE);
        draw_bias(c, dtype, d.weight[0]);
        return;
    }
    if (transposed && below(2)) /* below the stride, whatever the dimension */
        more = (struct td_dims){.count = 1,
                                .v = {below(size_drawn(&stride, 0, 1) > 1 && stride.count == 1 ? stride.v[0] : 1)}};
    struct drawn_conv d = draw_filters(&stride, &padding, &dilation, &more, groups, rank);
    make(next(c), dtype, d.first + rank, transposed ? d.windows : d.image, TD_REALS, DENSE);
    if (of_weight) {
        struct td_conv_weight_attrs a = {
            .kernel_size.count = rank, .stride = stride, .padding = padding, .dilation = dilation, .groups = groups};
        memcpy(a.kernel_size.v, d.weight + 2, (size_t)rank * sizeof *d.weight);
        memcpy(c->attrs, &a, sizeof a);
        make(next(c), dtype, d.first + rank, d.windows, TD_REALS, DENSE);
        return;
    }
    struct td_conv_transpose2d_attrs a = {
        .stride = stride, .padding = padding, .dilation = dilation, .groups = groups, .output_padding = more};
    memcpy(c->attrs, &a, c->op->slots * 8 < sizeof a ? c->op->slots * 8 : sizeof a);
    if (!transposed)
        ((struct td_conv2d_attrs *)(void *)c->attrs)->same = false;
    make(next(c), dtype, 2 + rank, d.weight, TD_REALS, DENSE);
    draw_bias(c, dtype, transposed ? d.weight[1] * groups : d.weight[0]);
}

/* An image of rank dimensions, in any layout, none of them empty but the batch. */
static int draw_image(struct call *c, uint8_t dtype, int rank, int64_t *shape)
{
    int first = below(4) ? 2 : 1;
    int64_t widest = draws_large ? rank == 1 ? 3000 : rank == 2 ? 90 : 20 : rank == 3 ? 5 : rank == 2 ? 10 : 30;
    memset(shape, 0, TD_RANK_MAX * sizeof *shape);
    shape[0] = draws_large ? 7 : below(12) ? 1 + below(3) : 0;
    shape[first - 1] = 1 + below(4);
    for (int d = 0; d < rank; d++)
        shape[first + d] = 1 + below(widest);
    make(next(c), dtype, first + rank, shape, below(2) ? TD_STEPS : TD_REALS, DENSE);
    return first;
}

static void draw_average(struct call *c, uint8_t dtype, int rank)
{
    int64_t shape[TD_RANK_MAX], made[TD_RANK_MAX];
    bool back = c->op->id == TD_OP_avg_pool_back, adaptive = strstr(c->op->name, "adaptive") || (back && below(2));
    struct td_avg_pool_back_attrs a = {.adaptive = adaptive, .ceil_mode = below(2), .count_include_pad = below(2)};
    bool large = draws_large;
    draws_large = false; /* the oracle goes over all of x for each window */
    int first = draw_image(c, dtype, rank, shape);
    draws_large = large;
    memcpy(made, shape, sizeof made);
    a.divisor_override = below(3) ? 0 : 1 + below(5);
    a.size.count = a.kernel_size.count = a.stride.count = a.padding.count = rank;
    for (int d = 0; d < rank; d++) {
        int64_t size = a.size.v[d] = shape[first + d], kernel = a.kernel_size.v[d] = 1 + below(size < 5 ? size : 5);
        int64_t edge = a.padding.v[d] = below(kernel / 2 + 1), step = a.stride.v[d] = 1 + below(3);
        int64_t count = (size + 2 * edge - kernel + (a.ceil_mode ? step - 1 : 0)) / step + 1;
        count -= a.ceil_mode && (count - 1) * step >= size + edge;
        made[first + d] = adaptive ? 1 + below(8) : count;
    }
    struct td_avg_pool2d_attrs forward = {a.kernel_size,       a.stride,          a.padding, a.ceil_mode,
                                          a.count_include_pad, a.divisor_override};
    struct td_adaptive_avg_pool2d_attrs parts = {.output_size.count = rank};
    memcpy(parts.output_size.v, made + first, (size_t)rank * sizeof *made);
    if (back) {
        tensor_deinit(&c->in[0]);
        make(&c->in[0], dtype, first + rank, made, TD_REALS, DENSE);
        memcpy(c->attrs, &a, sizeof a);
    } else if (adaptive) {
        memcpy(c->attrs, &parts, sizeof parts);
    } else {
        memcpy(c->attrs, &forward, sizeof forward);
    }
}

/* Windows that go into it. */
static void draw_pool(struct call *c, uint8_t dtype)
{
    int rank = c->op->id == TD_OP_avg_pool_back ? 1 + (int)below(3) : c->op->name[strlen(c->op->name) - 2] - '0';
    int64_t shape[TD_RANK_MAX];
    if (strstr(c->op->name, "avg") || strstr(c->op->name, "adaptive")) {
        draw_average(c, dtype, rank);
        return;
    }
    int first = draw_image(c, dtype, rank, shape);
    struct td_max_pool2d_attrs *a = (void *)c->attrs;
    a->kernel_size.count = a->dilation.count = a->padding.count = rank;
    draw_sizes(&a->stride, rank, 1, 4);
    for (int d = 0; d < rank; d++) {
        int64_t size = shape[first + d], kernel = 1 + below(size < 5 ? size : 5), dilation = 1 + below(3);
        a->padding.v[d] = below(kernel / 2 + 1);
        a->dilation.v[d] = dilation * (kernel - 1) < size + 2 * a->padding.v[d] ? dilation : 1;
        a->kernel_size.v[d] = kernel;
    }
    a->ceil_mode = below(2);
}

#endif
