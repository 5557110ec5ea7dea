/* Windows over images, shared by both floors: what lies under one. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_WINDOWS_H
#define TD_KERNELS_WINDOWS_H

#include "protocol/dtype.h"
#include "protocol/shape_windows.h"

/* What is under window i of so many that share size elements: from *first up to, but not including, *last. */
TD_HD static inline void td_adaptive_window(int64_t size, int64_t count, int64_t i, int64_t *first, int64_t *last)
{
    int64_t whole = size / count, rest = size % count;
    *first = i * whole + i * rest / count;
    *last = (i + 1) * whole + ((i + 1) * rest + count - 1) / count;
}

/* Taps of a filter, dilation apart, that meet an image of size in some window whose first element lies at first to
 * last: from *low up to, but not including, *high. */
TD_HD static inline void td_window_taps(int64_t size, int64_t kernel, int64_t dilation, int64_t first, int64_t last,
                                        int64_t *low, int64_t *high)
{
    *low = last < 0 ? (-last - 1) / dilation + 1 : 0;
    *high = first < size ? (size - 1 - first) / dilation + 1 : 0;
    *high = *high < kernel ? *high : kernel;
}

/* How windows lie over an image for means. */
struct td_bins {
    bool adaptive, includes_padding;
    int64_t divisor; /* 0: how many elements there are */
    int64_t size[TD_IMAGE_RANK], count[TD_IMAGE_RANK];
    int64_t kernel[TD_IMAGE_RANK], stride[TD_IMAGE_RANK], padding[TD_IMAGE_RANK];
};

/* What is under a window in one dimension: from first up to last, and how many with the padding. */
struct td_bin {
    int64_t first, last, all;
};

TD_HD static inline struct td_bin td_bin_of(const struct td_bins *c, int d, int64_t i)
{
    int64_t size = c->size[d];
    struct td_bin bin;
    if (c->adaptive) {
        td_adaptive_window(size, c->count[d], i, &bin.first, &bin.last);
        bin.all = bin.last - bin.first;
        return bin;
    }
    int64_t first = i * c->stride[d] - c->padding[d], last = first + c->kernel[d], edge = size + c->padding[d];
    last = last < edge ? last : edge;
    bin.first = first > 0 ? first : 0;
    bin.last = last < size ? last : size;
    bin.all = last - first;
    return bin;
}

TD_HD static inline int64_t td_bins_divisor(const struct td_bins *c, const struct td_bin *bins)
{
    int64_t count = 1;
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        int64_t seen = bins[d].last > bins[d].first ? bins[d].last - bins[d].first : 1;
        count *= c->includes_padding ? bins[d].all : seen;
    }
    return c->divisor ? c->divisor : count;
}
/* A mean of integers, cut towards 0. The least number divided by -1 wraps. */
TD_HD static inline int64_t td_whole_quotient(int64_t sum, int64_t divisor)
{
    return divisor == -1 ? (int64_t)(0 - (uint64_t)sum) : sum / divisor;
}

#endif
