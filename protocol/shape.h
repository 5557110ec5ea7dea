/* Layouts: the arithmetic of shapes and strides, all of it checked. Strides and offsets count elements, as
 * PyTorch's do. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_SHAPE_H
#define TD_PROTOCOL_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/limits.h"

/* A tensor without its bytes: a strided window on a storage. Only the first rank entries of shape and stride mean
 * anything. */
struct td_meta {
    uint8_t dtype; /* enum td_dtype */
    uint8_t rank;
    bool scalar;    /* a number given where a tensor may stand: the weakest in promotion */
    int64_t offset; /* elements from the storage's start */
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
};

/* Number of elements; shapes in a td_meta are checked when they are made, so this cannot overflow. */
static inline int64_t td_meta_numel(const struct td_meta *meta)
{
    int64_t count = 1;
    for (int d = 0; d < meta->rank; d++)
        count *= meta->shape[d];
    return count;
}
/* Product of the sizes, or -1 if one is negative or the product passes TD_ELEMENTS_MAX. */
int64_t td_checked_numel(int rank, const int64_t *shape);
/* Bytes of the elements, laid out densely. */
size_t td_meta_bytes(const struct td_meta *meta);
/* Writes row-major strides for shape; a size of 0 counts as 1, as in PyTorch. */
void td_contiguous_strides(int rank, const int64_t *shape, int64_t *stride);
/* Row-major without gaps; true for empty tensors; dimensions of size 1 do not count. */
bool td_meta_is_contiguous(const struct td_meta *meta);
/* Every element has an address of its own and there are no gaps, in whatever order of dimensions. */
bool td_meta_is_dense(const struct td_meta *meta);
/* Two elements of the window share an address (a stride of 0 over more than one element, for one). Errs to true. */
bool td_meta_overlaps_itself(const struct td_meta *meta);
/* Whether two windows on one storage have an element in common; also true where that is too hard to tell. */
bool td_metas_meet(const struct td_meta *a, const struct td_meta *b);
/* First and one past the last element of the storage that the window touches; both equal offset if it is empty. */
void td_meta_extent(const struct td_meta *meta, int64_t *first, int64_t *end);
/* The sizes of a and b together by broadcasting; false if they do not fit. */
bool td_broadcast(int a_rank, const int64_t *a, int b_rank, const int64_t *b, int *rank, int64_t *shape);
/* Strides that show the same elements in another shape; false if only a copy can (ATen's computeStride). */
bool td_view_strides(const struct td_meta *from, int rank, const int64_t *shape, int64_t *stride);
/* "(64, 10)" into buffer; "()" for no dimensions, "(3)" for one. Returns buffer. */
const char *td_shape_text(int rank, const int64_t *shape, char *buffer, size_t bytes);
#define TD_SHAPE_TEXT 192

/* Dimensions in front of those that indices of rising dims pick from, if these are neighbours; else 0. */
static inline int td_picked_front(int64_t count, const int64_t *dims)
{
    return count && dims[count - 1] - dims[0] == count - 1 ? (int)dims[0] : 0;
}
/* dim counted from the end if negative; -1 if it is out of range for rank. */
int td_wrap_dim(int64_t dim, int rank);
/* Whether solve takes a b for vectors: one of them, or one for each of the matrices a. */
bool td_solves_vectors(int a_rank, const int64_t *a, int b_rank, const int64_t *b);
static inline bool td_meta_same_shape(const struct td_meta *a, const struct td_meta *b)
{
    bool same = a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++)
        same = a->shape[d] == b->shape[d];
    return same;
}

#endif
