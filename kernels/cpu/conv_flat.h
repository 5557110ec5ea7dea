/* Convolutions of small images in registers, without a matrix of windows. Zeros stand between the rows of an image, so
 * that a tap lies at one distance from all windows, and windows are neighbours in one row, with some between them that
 * are nobody's; or where these would be many, the same element of sixteen images are neighbours. Private to
 * kernels/cpu. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_CONV_FLAT_H
#define TD_KERNELS_CPU_CONV_FLAT_H

#include "kernels/cpu/conv.h"

struct td_flat {
    const struct td_conv *conv;
    bool back;                    /* windows give the image */
    int64_t rows, outs;           /* channels that are read, and that come of them */
    int64_t side;                 /* images side by side, element by element: all below counts them all */
    int64_t items;                /* of flat_part */
    int64_t pitch[TD_IMAGE_RANK]; /* size with the zeros up to the next */
    int64_t length, row;          /* from the first window to one past the last; the same in whole vectors */
    int64_t lead, plane;          /* zeros before an image; elements of a channel laid out */
    int64_t *taps;                /* where each lies from its window, in a channel laid out */
    void *weight;                 /* in the order in which it is read */
};

/* Whether c is worth it, and free of what zeros between rows would make nan; then f is to be given back. False, too,
 * if there is no memory. With weighs for flat_weigh, else for flat_part. */
bool TD_CPU(flat_init)(struct td_flat *f, const struct td_conv *c, bool back, bool weighs);
void TD_CPU(flat_deinit)(struct td_flat *f);

/* A td_part over struct td_flat: items are groups of images, or of as many as are side by side. */
void TD_CPU(flat_part)(const void *data, int64_t from, int64_t to);
/* The filters of a group by the images from up to to, added up into sums. */
void TD_CPU(flat_weigh)(const struct td_flat *f, int64_t group, int64_t from, int64_t to, void *sums);

#endif
