/* Pools of means, with windows of one size or adaptive ones, and their gradient. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/grid.h"

extern "C" {
#include "kernels/windows.h"
}

#define WARP 32

struct average {
    struct td_bins bins;
    int64_t pixels, places;
    uint64_t total; /* of what is written */
};

/* What is under window number i of an image. */
__device__ static void bins_of(const td_bins &c, uint64_t i, td_bin *bins)
{
    bins[2] = td_bin_of(&c, 2, (int64_t)td_split(&i, (uint64_t)c.count[2]));
    bins[1] = td_bin_of(&c, 1, (int64_t)td_split(&i, (uint64_t)c.count[1]));
    bins[0] = td_bin_of(&c, 0, (int64_t)i);
}

/* Integers are added up without sign, and wrap. */
template <class T> struct quotient_of {
    TD_HD static T with(T sum, int64_t divisor)
    {
        return sum / (T)divisor;
    }
};
template <class S, class U> struct whole_quotient_of {
    TD_HD static U with(U sum, int64_t divisor)
    {
        return (U)td_whole_quotient((S)sum, divisor);
    }
};

/* lanes threads do a window: 1, or a warp where windows are large, whose sums are added up in a fixed order. */
template <class T, class Q> __global__ void take_means(average c, unsigned lanes, const T *images, T *means)
{
    uint64_t i = td_thread() / lanes, image = i;
    int64_t lane = (int64_t)(threadIdx.x % lanes);
    if (i >= c.total)
        return;
    td_bin bins[TD_IMAGE_RANK];
    bins_of(c.bins, td_split(&image, (uint64_t)c.places), bins);
    const T *x = images + (int64_t)image * c.pixels;
    T sum = 0;
    for (int64_t d = bins[0].first; d < bins[0].last; d++)
        for (int64_t h = bins[1].first; h < bins[1].last; h++)
            for (int64_t w = bins[2].first + lane; w < bins[2].last; w += lanes)
                sum += x[(d * c.bins.size[1] + h) * c.bins.size[2] + w];
    for (int by = (int)lanes / 2; by; by /= 2)
        sum += __shfl_xor_sync(0xffffffff, sum, by);
    if (lane == 0)
        means[i] = Q::with(sum, td_bins_divisor(&c.bins, bins));
}

/* Windows of dimension d that element at may lie under: from *low up to *high. */
__device__ static void windows_over(const td_bins &c, int d, int64_t at, int64_t *low, int64_t *high)
{
    if (c.adaptive) {
        *low = at * c.count[d] / c.size[d];
        *high = ((at + 1) * c.count[d] + c.size[d] - 1) / c.size[d];
    } else {
        int64_t from = at + c.padding[d] - c.kernel[d] + 1;
        *low = from > 0 ? (from + c.stride[d] - 1) / c.stride[d] : 0;
        *high = (at + c.padding[d]) / c.stride[d] + 1;
    }
    *high = *high < c.count[d] ? *high : c.count[d];
}

/* A thread an element of an image, which gets its part of each window that it lies under, in the order of those. */
template <class T> __global__ void spread_means(average c, const T *means, T *images)
{
    uint64_t i = td_thread(), at = i;
    if (i >= c.total)
        return;
    int64_t low[TD_IMAGE_RANK], high[TD_IMAGE_RANK], k[TD_IMAGE_RANK];
    for (int d = TD_IMAGE_RANK - 1; d >= 0; d--)
        windows_over(c.bins, d, (int64_t)td_split(&at, (uint64_t)c.bins.size[d]), &low[d], &high[d]);
    const T *y = means + (int64_t)at * c.places;
    T sum = 0;
    for (k[0] = low[0]; k[0] < high[0]; k[0]++)
        for (k[1] = low[1]; k[1] < high[1]; k[1]++)
            for (k[2] = low[2]; k[2] < high[2]; k[2]++) {
                td_bin bins[TD_IMAGE_RANK];
                for (int d = 0; d < TD_IMAGE_RANK; d++)
                    bins[d] = td_bin_of(&c.bins, d, k[d]);
                sum += y[(k[0] * c.bins.count[1] + k[1]) * c.bins.count[2] + k[2]] / (T)td_bins_divisor(&c.bins, bins);
            }
    images[i] = sum;
}

static void lay_out(average *c, const struct td_operand *image, const struct td_operand *windows, int rank,
                    const struct td_dims *kernel, const struct td_dims *stride, const struct td_dims *padding)
{
    int first = image->rank - rank, added = TD_IMAGE_RANK - rank;
    struct td_bins *w = &c->bins;
    c->pixels = c->places = 1;
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        int k = d - added;
        c->pixels *= w->size[d] = k >= 0 ? image->shape[first + k] : 1;
        c->places *= w->count[d] = k >= 0 ? windows->shape[first + k] : 1;
        w->kernel[d] = k >= 0 && kernel ? td_sizes_entry(kernel, k, 1) : 1;
        w->stride[d] = k >= 0 && stride ? td_sizes_entry(stride, k, w->kernel[d]) : 1;
        w->padding[d] = k >= 0 && padding ? td_sizes_entry(padding, k, 0) : 0;
    }
}

template <class T, class Q> static void take_as(const average &c, unsigned lanes, const void *x, void *y)
{
    int64_t blocks = td_blocks((int64_t)c.total * lanes, 1, TD_THREADS);
    td_enqueue(take_means<T, Q>, blocks, TD_THREADS, c, lanes, (const T *)x, (T *)y);
}

static void take(struct td_launch *launch, average *c, const struct td_dims *kernel, const struct td_dims *stride,
                 const struct td_dims *padding)
{
    const struct td_operand *x = &launch->in[0], *y = &launch->out[0];
    lay_out(c, x, y, td_image_rank(launch->op), kernel, stride, padding);
    c->total = (uint64_t)td_operand_numel(y);
    int64_t width = c->bins.adaptive ? c->bins.size[2] / (c->bins.count[2] + 1) : c->bins.kernel[2];
    unsigned lanes = width >= WARP ? WARP : 1;
    switch (x->dtype) {
    case TD_I32:
        return take_as<uint32_t, whole_quotient_of<int32_t, uint32_t>>(*c, lanes, x->data, y->data);
    case TD_I64:
        return take_as<uint64_t, whole_quotient_of<int64_t, uint64_t>>(*c, lanes, x->data, y->data);
    case TD_F32:
        return take_as<float, quotient_of<float>>(*c, lanes, x->data, y->data);
    case TD_F64:
        return take_as<double, quotient_of<double>>(*c, lanes, x->data, y->data);
    }
}

static average nothing(void)
{
    average c;
    memset(&c, 0, sizeof c);
    return c;
}

static void forward(struct td_launch *launch)
{
    const struct td_avg_pool2d_attrs *a = (const struct td_avg_pool2d_attrs *)launch->attrs;
    average c = nothing();
    c.bins.includes_padding = a->count_include_pad != 0;
    c.bins.divisor = a->divisor_override;
    take(launch, &c, &a->kernel_size, &a->stride, &a->padding);
}

static void adaptive(struct td_launch *launch)
{
    average c = nothing();
    c.bins.adaptive = true;
    take(launch, &c, NULL, NULL, NULL);
}

void TD_CUDA(avg_pool_back)(struct td_launch *launch)
{
    const struct td_avg_pool_back_attrs *a = (const struct td_avg_pool_back_attrs *)launch->attrs;
    const struct td_operand *g = &launch->in[0], *out = &launch->out[0];
    average c = nothing();
    c.bins.adaptive = a->adaptive != 0;
    c.bins.includes_padding = a->count_include_pad != 0;
    c.bins.divisor = a->adaptive ? 0 : a->divisor_override;
    lay_out(&c, out, g, (int)a->size.count, &a->kernel_size, &a->stride, &a->padding);
    c.total = (uint64_t)td_operand_numel(out);
    int64_t blocks = td_blocks((int64_t)c.total, 1, TD_THREADS);
    if (out->dtype == TD_F32)
        td_enqueue(spread_means<float>, blocks, TD_THREADS, c, (const float *)g->data, (float *)out->data);
    else
        td_enqueue(spread_means<double>, blocks, TD_THREADS, c, (const double *)g->data, (double *)out->data);
}

void TD_CUDA(avg_pool1d)(struct td_launch *launch)
{
    forward(launch);
}
void TD_CUDA(avg_pool2d)(struct td_launch *launch)
{
    forward(launch);
}
void TD_CUDA(avg_pool3d)(struct td_launch *launch)
{
    forward(launch);
}
void TD_CUDA(adaptive_avg_pool1d)(struct td_launch *launch)
{
    adaptive(launch);
}
void TD_CUDA(adaptive_avg_pool2d)(struct td_launch *launch)
{
    adaptive(launch);
}
void TD_CUDA(adaptive_avg_pool3d)(struct td_launch *launch)
{
    adaptive(launch);
}
