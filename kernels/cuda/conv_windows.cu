/* Windows of images: a thread takes one window, or one pixel, of one channel. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/conv_windows.h"
#include "kernels/cuda/elements.h"

#define BLOCKS_MAX ((int64_t)1 << 24)

/* Divisions of what 32 bits hold take a quarter of the time. */
__device__ static inline int64_t divide(int64_t x, int64_t by)
{
    return (uint64_t)(x | by) >> 32 ? x / by : (int64_t)((uint32_t)x / (uint32_t)by);
}

/* The channel of the tensor that channel k of a piece is, counted from the piece's first. */
__device__ static inline int64_t channel_of(const td_conv_columns &to, int64_t k, int64_t *column)
{
    int64_t item = divide(k, to.channels), channel = k - item * to.channels;
    int64_t image = divide(item, to.groups), group = item - image * to.groups;
    *column = image * to.image_step + group * to.group_step;
    return (image * to.image_groups + group) * to.group_channels + channel;
}

/* A thread takes one window of one channel, and writes what is under it into all rows of that channel. T is as large as
 * an element; 0 is that of all types. */
template <class T> __global__ void lay_out(td_conv_geometry g, td_conv_columns to, const T *images, T *columns)
{
    int64_t count = to.images * to.groups * to.channels * to.windows, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t k = divide(i, to.windows), window = i - k * to.windows, place = to.window + window, column;
        const T *image = images + channel_of(to, k, &column) * g.pixels;
        int64_t row = divide(place, g.count[2]), plane = divide(row, g.count[1]);
        int64_t d0 = plane * g.stride[0] - g.padding[0], h0 = (row - plane * g.count[1]) * g.stride[1] - g.padding[1],
                w0 = (place - row * g.count[2]) * g.stride[2] - g.padding[2];
        int64_t channel = k - divide(k, to.channels) * to.channels;
        T *y = columns + column + channel * g.taps * to.row_step + window;
        for (int64_t a = 0; a < g.kernel[0]; a++)
            for (int64_t b = 0; b < g.kernel[1]; b++) {
                int64_t d = d0 + a * g.dilation[0], h = h0 + b * g.dilation[1];
                bool inside = d >= 0 && d < g.size[0] && h >= 0 && h < g.size[1];
                const T *x = image + (d * g.size[1] + h) * g.size[2];
                for (int64_t t = 0, w = w0; t < g.kernel[2]; t++, w += g.dilation[2], y += to.row_step)
                    *y = inside && w >= 0 && w < g.size[2] ? x[w] : T(0);
            }
    }
}

/* The window of dimension d whose tap falls on pixel; -1: none. */
__device__ static inline int64_t window_on(const td_conv_geometry &g, int d, int64_t pixel, int64_t tap)
{
    int64_t from = pixel + g.padding[d] - tap * g.dilation[d];
    if (from < 0)
        return -1;
    int64_t window = g.stride[d] == 1 ? from : divide(from, g.stride[d]);
    return window < g.count[d] && window * g.stride[d] == from ? window : -1;
}

/* A thread takes one pixel of one channel, and adds up what the windows on it hold there: in a row of a matrix for each
 * tap, or, with a filter for each channel, in one row times the tap's weight. */
template <class A, class X>
__global__ void add_up(td_conv_geometry g, td_conv_columns from, const typename X::held *columns,
                       const typename A::held *filters, const typename A::held *bias, typename A::held *images,
                       int64_t first, bool add)
{
    typedef typename X::held held;
    typedef decltype(A::wide(typename A::held())) W;
    int64_t count = from.images * from.groups * from.channels * g.pixels, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t k = divide(i, g.pixels), pixel = i - k * g.pixels, column, to = channel_of(from, k, &column);
        int64_t channels = from.image_groups * from.group_channels, filter = first + to;
        int64_t line = divide(pixel, g.size[2]), w = pixel - line * g.size[2];
        int64_t d = divide(line, g.size[1]), h = line - d * g.size[1];
        int64_t channel = k - divide(k, from.channels) * from.channels;
        filter -= divide(filter, channels) * channels;
        const held *x = columns + column + channel * g.taps * from.row_step - from.window;
        typename A::held *y = images + to * g.pixels + pixel;
        W sum = add ? A::wide(*y) : bias ? A::wide(bias[filter]) : W(0);
        for (int64_t a = 0; a < g.kernel[0]; a++)
            for (int64_t b = 0; b < g.kernel[1]; b++) {
                int64_t da = window_on(g, 0, d, a), hb = window_on(g, 1, h, b),
                        tap = (a * g.kernel[1] + b) * g.kernel[2];
                if (da < 0 || hb < 0)
                    continue;
                for (int64_t c = 0; c < g.kernel[2]; c++) {
                    int64_t wc = window_on(g, 2, w, c), window = (da * g.count[1] + hb) * g.count[2] + wc;
                    if (wc < 0 || window < from.window || window >= from.window + from.windows)
                        continue;
                    W value = X::wide(x[(tap + c) * from.row_step + window]);
                    sum += filters ? value * A::wide(filters[filter * g.taps + tap + c]) : value;
                }
            }
        *y = A::of(sum);
    }
}

/* A thread takes one window of a channel that has a filter of its own. */
template <class A>
__global__ void slide_filters(td_conv_geometry g, int64_t groups, int64_t count, const typename A::held *images,
                              const typename A::held *filters, const typename A::held *bias, typename A::held *windows)
{
    typedef typename A::held held;
    typedef decltype(A::wide(held())) W;
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t channel = divide(i, g.places), place = i - channel * g.places;
        int64_t row = divide(place, g.count[2]), plane = divide(row, g.count[1]);
        int64_t d0 = plane * g.stride[0] - g.padding[0], h0 = (row - plane * g.count[1]) * g.stride[1] - g.padding[1],
                w0 = (place - row * g.count[2]) * g.stride[2] - g.padding[2];
        int64_t group = channel - divide(channel, groups) * groups;
        const held *filter = filters + group * g.taps;
        W sum = bias ? A::wide(bias[group]) : W(0);
        for (int64_t a = 0; a < g.kernel[0]; a++)
            for (int64_t b = 0; b < g.kernel[1]; b++, filter += g.kernel[2]) {
                int64_t d = d0 + a * g.dilation[0], h = h0 + b * g.dilation[1];
                const held *x = images + channel * g.pixels + (d * g.size[1] + h) * g.size[2];
                if (d < 0 || d >= g.size[0] || h < 0 || h >= g.size[1])
                    continue;
                for (int64_t t = 0, w = w0; t < g.kernel[2]; t++, w += g.dilation[2])
                    if (w >= 0 && w < g.size[2])
                        sum += A::wide(filter[t]) * A::wide(x[w]);
            }
        windows[i] = A::of(sum);
    }
}

/* ---- launches ---- */

static int64_t blocks_of(int64_t count)
{
    int64_t blocks = td_blocks(count, 1, TD_THREADS);
    return blocks < BLOCKS_MAX ? blocks : BLOCKS_MAX;
}

static int64_t channels_of(const td_conv_columns &piece)
{
    return piece.images * piece.groups * piece.channels;
}

void td_conv_lay_out(const td_conv_geometry &geometry, const td_conv_columns &to, uint8_t dtype, const void *image,
                     void *columns)
{
    int64_t blocks = blocks_of(channels_of(to) * to.windows);
    switch (td_dtype_size(dtype)) {
    case 2:
        return td_enqueue(lay_out<uint16_t>, blocks, TD_THREADS, geometry, to, (const uint16_t *)image,
                          (uint16_t *)columns);
    case 4:
        return td_enqueue(lay_out<uint32_t>, blocks, TD_THREADS, geometry, to, (const uint32_t *)image,
                          (uint32_t *)columns);
    case 8:
        return td_enqueue(lay_out<uint64_t>, blocks, TD_THREADS, geometry, to, (const uint64_t *)image,
                          (uint64_t *)columns);
    }
}

template <class A, class X>
static void add_up_as(const td_conv_geometry &geometry, const td_conv_columns &from, const td_conv_sums &sums)
{
    typedef typename A::held held;
    td_enqueue(add_up<A, X>, blocks_of(channels_of(from) * geometry.pixels), TD_THREADS, geometry, from,
               (const typename X::held *)sums.columns, (const held *)sums.filters, (const held *)sums.bias,
               (held *)sums.image, sums.channel, sums.add);
}

template <class A>
static void add_up_halves(const td_conv_geometry &geometry, const td_conv_columns &from, const td_conv_sums &sums)
{
    if (sums.columns_dtype == TD_F32)
        add_up_as<A, td_as_real<float>>(geometry, from, sums);
    else
        add_up_as<A, A>(geometry, from, sums);
}

void td_conv_add_up(const td_conv_geometry &geometry, const td_conv_columns &from, const td_conv_sums &sums)
{
    switch (sums.dtype) {
    case TD_F16:
        return add_up_halves<td_as_f16>(geometry, from, sums);
    case TD_BF16:
        return add_up_halves<td_as_bf16>(geometry, from, sums);
    case TD_I32:
        return add_up_as<td_as_integer<uint32_t>, td_as_integer<uint32_t>>(geometry, from, sums);
    case TD_I64:
        return add_up_as<td_as_integer<uint64_t>, td_as_integer<uint64_t>>(geometry, from, sums);
    case TD_F32:
        return add_up_as<td_as_real<float>, td_as_real<float>>(geometry, from, sums);
    case TD_F64:
        return add_up_as<td_as_real<double>, td_as_real<double>>(geometry, from, sums);
    }
}

template <class A>
static void slide_as(const td_conv_geometry &geometry, int64_t groups, int64_t channels, const void *images,
                     const void *filters, const void *bias, void *windows)
{
    typedef typename A::held held;
    int64_t count = channels * geometry.places;
    td_enqueue(slide_filters<A>, blocks_of(count), TD_THREADS, geometry, groups, count, (const held *)images,
               (const held *)filters, (const held *)bias, (held *)windows);
}

void td_conv_slide(const td_conv_geometry &geometry, int64_t groups, int64_t channels, uint8_t dtype,
                   const void *images, const void *filters, const void *bias, void *windows)
{
    switch (dtype) {
    case TD_F16:
        return slide_as<td_as_f16>(geometry, groups, channels, images, filters, bias, windows);
    case TD_BF16:
        return slide_as<td_as_bf16>(geometry, groups, channels, images, filters, bias, windows);
    case TD_I32:
        return slide_as<td_as_integer<uint32_t>>(geometry, groups, channels, images, filters, bias, windows);
    case TD_I64:
        return slide_as<td_as_integer<uint64_t>>(geometry, groups, channels, images, filters, bias, windows);
    case TD_F32:
        return slide_as<td_as_real<float>>(geometry, groups, channels, images, filters, bias, windows);
    case TD_F64:
        return slide_as<td_as_real<double>>(geometry, groups, channels, images, filters, bias, windows);
    }
}
