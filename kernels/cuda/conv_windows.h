/* What convolutions do with the windows of an image, channel by channel; private to kernels/cuda. Layouts are those of
 * kernels.h: images (batch, groups, channels of a group, pixels), filters (..., taps), windows (batch, channels,
 * places). SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_CONV_WINDOWS_H
#define TD_KERNELS_CUDA_CONV_WINDOWS_H

#include "kernels/cuda/internal.h"

extern "C" {
#include "protocol/shape_windows.h"
}

/* Of images with less dimensions those in front are 1. */
struct td_conv_geometry {
    int64_t size[TD_IMAGE_RANK], count[TD_IMAGE_RANK]; /* of the image; how many windows */
    int64_t kernel[TD_IMAGE_RANK], stride[TD_IMAGE_RANK], padding[TD_IMAGE_RANK], dilation[TD_IMAGE_RANK];
    int64_t pixels, taps, places; /* elements of an image's channel, of a filter's, and windows in an image */
};

/* Where matrices of windows lie: the way to the next image, group and row, which is that of a channel's next tap. */
struct td_conv_columns {
    int64_t images, groups, channels;     /* of the piece */
    int64_t image_groups, group_channels; /* of the tensor */
    int64_t window, windows;              /* of the piece */
    int64_t image_step, group_step, row_step;
};

/* Writes what is under the windows into rows of matrices; image: the first channel of the piece. */
void td_conv_lay_out(const td_conv_geometry &geometry, const td_conv_columns &to, uint8_t dtype, const void *image,
                     void *columns);

struct td_conv_sums {
    uint8_t dtype, columns_dtype; /* of image, filters and bias; of columns */
    void *image;                  /* the first channel of the piece */
    const void *columns;
    const void *filters; /* NULL: the matrices have a row for each tap; else one row, times a channel's weights */
    const void *bias;    /* NULL: none */
    int64_t channel;     /* the piece's first one, of which filters and bias are told */
    bool add;            /* to what is there, and not to the bias or 0 */
};

/* Each pixel of a piece's channels becomes the sum of what the windows on it hold there. Halves are added up in f32. */
void td_conv_add_up(const td_conv_geometry &geometry, const td_conv_columns &from, const td_conv_sums &sums);

/* Slides a filter over each channel. Halves are added up in f32. */
void td_conv_slide(const td_conv_geometry &geometry, int64_t groups, int64_t channels, uint8_t dtype,
                   const void *images, const void *filters, const void *bias, void *windows);

#endif
