/* Pools of means, with windows of one size or adaptive ones, and their gradient: each window by itself.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/conv.h"
#include "kernels/cpu/parallel.h"

struct average {
    struct td_bins bins;
    bool spread;
    int64_t pixels, places;
    void *image, *windows;
};

#define AVERAGE(name) name##_f32
#define AVERAGE_T float
#define QUOTIENT(sum, divisor) ((sum) / (float)(divisor))
#include "kernels/cpu/average.inc"
#define AVERAGE(name) name##_f64
#define AVERAGE_T double
#define QUOTIENT(sum, divisor) ((sum) / (double)(divisor))
#include "kernels/cpu/average.inc"
#define AVERAGE(name) name##_i32
#define AVERAGE_T uint32_t
#define QUOTIENT(sum, divisor) ((uint32_t)td_whole_quotient((int32_t)(sum), divisor))
#include "kernels/cpu/average.inc"
#define AVERAGE(name) name##_i64
#define AVERAGE_T uint64_t
#define QUOTIENT(sum, divisor) ((uint64_t)td_whole_quotient((int64_t)(sum), divisor))
#include "kernels/cpu/average.inc"

static td_part *const part[TD_DTYPE_LIMIT] = {
    [TD_F32] = part_f32, [TD_F64] = part_f64, [TD_I32] = part_i32, [TD_I64] = part_i64};

static void run(const struct td_operand *image, const struct td_operand *windows, struct average *c, int rank,
                const struct td_dims *kernel, const struct td_dims *stride, const struct td_dims *padding)
{
    int first = image->rank - rank, added = TD_IMAGE_RANK - rank;
    struct td_bins *w = &c->bins;
    int64_t planes = 1, work = 1;
    c->pixels = c->places = 1;
    c->image = image->data;
    c->windows = windows->data;
    for (int d = 0; d < first; d++)
        planes *= image->shape[d];
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        int k = d - added;
        c->pixels *= w->size[d] = k >= 0 ? image->shape[first + k] : 1;
        c->places *= w->count[d] = k >= 0 ? windows->shape[first + k] : 1;
        w->kernel[d] = k >= 0 && kernel ? td_sizes_entry(kernel, k, 1) : 1;
        w->stride[d] = k >= 0 && stride ? td_sizes_entry(stride, k, w->kernel[d]) : 1;
        w->padding[d] = k >= 0 && padding ? td_sizes_entry(padding, k, 0) : 0;
        work *= w->kernel[d] < w->size[d] ? w->kernel[d] : w->size[d];
    }
    work = w->adaptive ? c->pixels + c->places : c->places * (work < 4096 ? work : 4096);
    td_parallel(planes, td_grain(work), 0, part[image->dtype], c);
}

static void forward(struct td_launch *launch)
{
    const struct td_avg_pool2d_attrs *a = launch->attrs;
    struct average c = {.bins = {.includes_padding = a->count_include_pad, .divisor = a->divisor_override}};
    run(&launch->in[0], &launch->out[0], &c, td_image_rank(launch->op), &a->kernel_size, &a->stride, &a->padding);
}

static void adaptive(struct td_launch *launch)
{
    struct average c = {.bins = {.adaptive = true}};
    run(&launch->in[0], &launch->out[0], &c, td_image_rank(launch->op), NULL, NULL, NULL);
}

void TD_CPU(avg_pool_back)(struct td_launch *launch)
{
    const struct td_avg_pool_back_attrs *a = launch->attrs;
    struct average c = {.spread = true,
                        .bins = {.adaptive = a->adaptive,
                                 .includes_padding = a->count_include_pad,
                                 .divisor = a->adaptive ? 0 : a->divisor_override}};
    run(&launch->out[0], &launch->in[0], &c, (int)a->size.count, &a->kernel_size, &a->stride, &a->padding);
}

void TD_CPU(avg_pool1d)(struct td_launch *launch)
{
    forward(launch);
}
void TD_CPU(avg_pool2d)(struct td_launch *launch)
{
    forward(launch);
}
void TD_CPU(avg_pool3d)(struct td_launch *launch)
{
    forward(launch);
}
void TD_CPU(adaptive_avg_pool1d)(struct td_launch *launch)
{
    adaptive(launch);
}
void TD_CPU(adaptive_avg_pool2d)(struct td_launch *launch)
{
    adaptive(launch);
}
void TD_CPU(adaptive_avg_pool3d)(struct td_launch *launch)
{
    adaptive(launch);
}
