/* Layouts. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/dtype.h"

int64_t td_checked_numel(int rank, const int64_t *shape)
{
    int64_t count = 1;
    bool empty = false;
    for (int d = 0; d < rank; d++) {
        if (shape[d] < 0)
            return -1;
        empty |= shape[d] == 0;
        /* Sizes beside a 0 are bounded too: strides are made of them. */
        int64_t size = shape[d] ? shape[d] : 1;
        if (__builtin_mul_overflow(count, size, &count) || count > TD_ELEMENTS_MAX)
            return -1;
    }
    return empty ? 0 : count;
}

size_t td_meta_bytes(const struct td_meta *meta)
{
    return (size_t)td_meta_numel(meta) * td_dtype_size(meta->dtype);
}

void td_contiguous_strides(int rank, const int64_t *shape, int64_t *stride)
{
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= shape[d] > 1 ? shape[d] : 1;
    }
}

bool td_meta_is_contiguous(const struct td_meta *meta)
{
    int64_t step = 1;
    for (int d = meta->rank - 1; d >= 0; d--) {
        if (meta->shape[d] == 1)
            continue;
        if (meta->stride[d] != step)
            return td_meta_numel(meta) == 0;
        step *= meta->shape[d];
    }
    return true;
}

/* Dimensions of more than one element, by rising stride; returns their number. */
static int sorted_dims(const struct td_meta *meta, int *order)
{
    int count = 0;
    for (int d = 0; d < meta->rank; d++) {
        if (meta->shape[d] == 1)
            continue;
        int at = count++;
        for (; at > 0 && meta->stride[order[at - 1]] > meta->stride[d]; at--)
            order[at] = order[at - 1];
        order[at] = d;
    }
    return count;
}

bool td_meta_is_dense(const struct td_meta *meta)
{
    int order[TD_RANK_MAX];
    if (td_meta_numel(meta) == 0)
        return true;
    int count = sorted_dims(meta, order);
    int64_t step = 1;
    for (int i = 0; i < count; i++) {
        if (meta->stride[order[i]] != step)
            return false;
        step *= meta->shape[order[i]];
    }
    return true;
}

bool td_meta_overlaps_itself(const struct td_meta *meta)
{
    int order[TD_RANK_MAX];
    if (td_meta_numel(meta) <= 1)
        return false;
    int count = sorted_dims(meta, order);
    int64_t reach = 0; /* distance from the first to the last element of the dimensions so far */
    for (int i = 0; i < count; i++) {
        if (meta->stride[order[i]] <= reach)
            return true;
        reach += meta->stride[order[i]] * (meta->shape[order[i]] - 1);
    }
    return false;
}

/* Whether some sum of count strides, each between low and high times, is due; strides fall. Without effort left: true.
 */
static bool reaches(int count, const int64_t *stride, const int64_t *low, const int64_t *high, int64_t due, int *effort)
{
    int64_t least = 0, most = 0; /* what the smaller strides can add */
    if (--*effort < 0 || !count)
        return *effort < 0 || due == 0;
    for (int d = 1; d < count; d++) {
        least += low[d] * stride[d];
        most += high[d] * stride[d];
    }
    for (int64_t times = low[0]; times <= high[0] && *effort >= 0; times++) {
        int64_t rest = due - times * stride[0];
        if (rest > most) { /* so many more are needed */
            times += (rest - most - 1) / stride[0];
            continue;
        }
        if (rest < least)
            return false;
        if (reaches(count - 1, stride + 1, low + 1, high + 1, rest, effort))
            return true;
    }
    return *effort < 0;
}

bool td_metas_meet(const struct td_meta *a, const struct td_meta *b)
{
    int64_t first, end, other, other_end, stride[2 * TD_RANK_MAX], low[2 * TD_RANK_MAX], high[2 * TD_RANK_MAX];
    int count = 0, effort = 1000;
    td_meta_extent(a, &first, &end);
    td_meta_extent(b, &other, &other_end);
    if (end <= other || other_end <= first || td_meta_numel(a) == 0 || td_meta_numel(b) == 0)
        return false;
    for (int k = 0; k < a->rank + b->rank; k++) {
        bool mine = k < a->rank;
        int64_t size = mine ? a->shape[k] : b->shape[k - a->rank], step = mine ? a->stride[k] : b->stride[k - a->rank];
        int at = 0;
        if (size == 1 || step == 0)
            continue;
        while (at < count && stride[at] > step)
            at++;
        if (at == count || stride[at] != step) {
            memmove(stride + at + 1, stride + at, (size_t)(count - at) * sizeof *stride);
            memmove(low + at + 1, low + at, (size_t)(count - at) * sizeof *low);
            memmove(high + at + 1, high + at, (size_t)(count++ - at) * sizeof *high);
            stride[at] = step;
            low[at] = high[at] = 0;
        }
        *(mine ? &high[at] : &low[at]) += mine ? size - 1 : 1 - size;
    }
    return reaches(count, stride, low, high, b->offset - a->offset, &effort);
}

void td_meta_extent(const struct td_meta *meta, int64_t *first, int64_t *end)
{
    int64_t last = meta->offset;
    *first = *end = meta->offset;
    if (td_meta_numel(meta) == 0)
        return;
    for (int d = 0; d < meta->rank; d++)
        last += (meta->shape[d] - 1) * meta->stride[d];
    *end = last + 1;
}

bool td_broadcast(int a_rank, const int64_t *a, int b_rank, const int64_t *b, int *rank, int64_t *shape)
{
    int out_rank = a_rank > b_rank ? a_rank : b_rank;
    int64_t out[TD_RANK_MAX];
    for (int d = 0; d < out_rank; d++) {
        int ad = d - (out_rank - a_rank), bd = d - (out_rank - b_rank);
        int64_t as = ad >= 0 ? a[ad] : 1, bs = bd >= 0 ? b[bd] : 1;
        if (as != bs && as != 1 && bs != 1)
            return false;
        out[d] = as == 1 ? bs : as;
    }
    *rank = out_rank;
    memcpy(shape, out, (size_t)out_rank * sizeof *shape);
    return true;
}

bool td_view_strides(const struct td_meta *from, int rank, const int64_t *shape, int64_t *stride)
{
    int64_t count = td_meta_numel(from);
    if (count == 0) {
        if (rank == from->rank && !memcmp(shape, from->shape, (size_t)rank * sizeof *shape))
            memcpy(stride, from->stride, (size_t)rank * sizeof *stride);
        else
            td_contiguous_strides(rank, shape, stride);
        return true;
    }
    if (from->rank == 0) {
        for (int d = 0; d < rank; d++)
            stride[d] = 1;
        return true;
    }
    /* Walk both shapes from the end. A chunk is a run of old dimensions that lie densely inside each other; it must
     * be made up exactly by a run of new ones. */
    int view_d = rank - 1;
    int64_t chunk_base = from->stride[from->rank - 1];
    int64_t old_count = 1, view_count = 1;
    for (int d = from->rank - 1; d >= 0; d--) {
        old_count *= from->shape[d];
        if (d > 0 && (from->shape[d - 1] == 1 || from->stride[d - 1] == old_count * chunk_base))
            continue;
        while (view_d >= 0 && (view_count < old_count || shape[view_d] == 1)) {
            stride[view_d] = view_count * chunk_base;
            view_count *= shape[view_d];
            view_d--;
        }
        if (view_count != old_count)
            return false;
        if (d > 0) {
            chunk_base = from->stride[d - 1];
            old_count = 1;
            view_count = 1;
        }
    }
    return view_d == -1;
}

const char *td_shape_text(int rank, const int64_t *shape, char *buffer, size_t bytes)
{
    size_t used = (size_t)snprintf(buffer, bytes, "(");
    for (int d = 0; d < rank && used < bytes; d++)
        used += (size_t)snprintf(buffer + used, bytes - used, d ? ", %" PRId64 : "%" PRId64, shape[d]);
    if (used < bytes)
        snprintf(buffer + used, bytes - used, ")");
    return buffer;
}

int td_wrap_dim(int64_t dim, int rank)
{
    int64_t size = rank ? rank : 1; /* PyTorch lets a 0-d tensor have a dimension 0 and -1 */
    if (dim < -size || dim >= size)
        return -1;
    return (int)(dim < 0 ? dim + size : dim);
}

bool td_solves_vectors(int a_rank, const int64_t *a, int b_rank, const int64_t *b)
{
    bool vectors = b_rank == 1 || b_rank == a_rank - 1;
    for (int d = 0; vectors && b_rank > 1 && d < b_rank; d++)
        vectors = a[d] == b[d];
    return vectors && a_rank >= 2;
}
