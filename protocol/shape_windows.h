/* Windows that slide over the last dimensions of an image: what convolutions and pools say of them, with what was not
 * given filled in. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_SHAPE_WINDOWS_H
#define TD_PROTOCOL_SHAPE_WINDOWS_H

#include "protocol/ops.h"

/* Dimensions of an image, at most. */
#define TD_IMAGE_RANK 3
/* Sizes of windows, their steps and paddings are below this: no product of two of them overflows. */
#define TD_WINDOW_MAX (INT64_C(1) << 31)

struct td_windows {
    int rank; /* of the image */
    int64_t kernel[TD_IMAGE_RANK], stride[TD_IMAGE_RANK], dilation[TD_IMAGE_RANK];
    int64_t padding[TD_IMAGE_RANK]; /* in front of the image; behind it is as much as the windows reach */
};

/* Dimensions of the images of an op whose name says it: 2 of conv2d. */
int td_image_rank(const struct td_op *op);

/* Entry d of sizes, where one stands for all; fallback if none were given. */
static inline int64_t td_sizes_entry(const struct td_dims *sizes, int d, int64_t fallback)
{
    return sizes->count <= 0 ? fallback : sizes->count == 1 ? sizes->v[0] : sizes->v[d];
}

/* From the first element under a window to one past the last. */
static inline int64_t td_window_reach(const struct td_windows *w, int d)
{
    return w->dilation[d] * (w->kernel[d] - 1) + 1;
}

/* The windows of op, one of convolution, after inference accepted; kernel has the sizes of the filters. */
struct td_windows td_conv_windows(const struct td_op *op, const void *attrs, int rank, const int64_t *kernel);
/* Those of max_pool. */
struct td_windows td_max_pool_windows(const void *attrs, int rank);

#endif
