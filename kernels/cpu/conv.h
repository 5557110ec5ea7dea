/* A convolution as its kernels see it: windows slide over images, and each has a place in a row of windows. The three
 * ops are products of two of image, weight and windows that give the third. Private to kernels/cpu.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_CONV_H
#define TD_KERNELS_CPU_CONV_H

#include <stdatomic.h>
#include <string.h>

#include "kernels/cpu/internal.h"
#include "kernels/windows.h"

struct td_conv {
    uint8_t dtype;
    int64_t batch, groups;
    int64_t in, out; /* channels of one group: of the image, and of the windows */
    /* Of images with less dimensions those in front are 1. */
    int64_t size[TD_IMAGE_RANK], count[TD_IMAGE_RANK]; /* of the image; how many windows */
    int64_t kernel[TD_IMAGE_RANK], stride[TD_IMAGE_RANK], padding[TD_IMAGE_RANK], dilation[TD_IMAGE_RANK];
    int64_t pixels, taps, places; /* elements of an image's channel, of a filter's, and windows in an image */
    bool plain;                   /* each window is one element, in the image's order */
    void *image, *weight, *windows;
    const void *bias;
    /* How the work is cut: windows, image channels and images done at once, functions of the shapes alone. */
    int64_t block, channels, images;
    void *partial;        /* sums of images beside the result */
    atomic_bool *starved; /* there was no memory */
    bool spread;          /* of integers: windows into the image */
};

/* Rows are short: calls of memcpy took half of the time. The last block overlaps the one before. bytes are a multiple
 * of 4. */
static inline void td_copy_row(void *to, const void *from, size_t bytes)
{
    char *y = to;
    const char *x = from;
    size_t k = 0;
    for (; k + 64 <= bytes; k += 64)
        memcpy(y + k, x + k, 64);
    if (bytes >= 64)
        memcpy(y + bytes - 64, x + bytes - 64, 64);
    else if (bytes >= 32)
        memcpy(y, x, 32), memcpy(y + bytes - 32, x + bytes - 32, 32);
    else if (bytes >= 16)
        memcpy(y, x, 16), memcpy(y + bytes - 16, x + bytes - 16, 16);
    else if (bytes >= 8)
        memcpy(y, x, 8), memcpy(y + bytes - 8, x + bytes - 8, 8);
    else if (bytes)
        memcpy(y, x, 4);
}

/* Windows k of dimension d whose tap t lies inside the image: from *low up to, but not including, *high. */
static inline void td_conv_inside(const struct td_conv *c, int d, int64_t t, int64_t *low, int64_t *high)
{
    int64_t before = c->padding[d] - t * c->dilation[d], after = c->size[d] + before, stride = c->stride[d];
    *low = before <= 0 ? 0 : stride == 1 ? before : (before - 1) / stride + 1;
    *high = after <= 0 ? 0 : stride == 1 ? after : (after - 1) / stride + 1;
    *high = *high < c->count[d] ? *high : c->count[d];
}

#endif
