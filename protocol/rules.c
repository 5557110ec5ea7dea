/* What shape rules share. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

const char *rule_text(const struct td_meta *meta, char *buffer)
{
    return td_shape_text(meta->rank, meta->shape, buffer, TD_SHAPE_TEXT);
}

int rule_wrap_dim(struct td_inference *i, int64_t dim, int rank, int *wrapped)
{
    *wrapped = td_wrap_dim(dim, rank);
    if (*wrapped >= 0)
        return TD_E_OK;
    char shape[TD_SHAPE_TEXT];
    if (i->in_count && i->in[0].rank == rank)
        td_fail(i->failure, TD_E_INDEX, "%s: dimension %" PRId64 " does not exist in a tensor of shape %s", i->op->name,
                dim, rule_text(&i->in[0], shape));
    else
        td_fail(i->failure, TD_E_INDEX, "%s: dimension %" PRId64 " does not exist in a tensor of %d dimensions",
                i->op->name, dim, rank);
    return td_hint(i->failure, "Dimensions go from %d to %d.", rank ? -rank : -1, rank ? rank - 1 : 0);
}

/* A result with storage of its own, row by row. */
int rule_fresh(struct td_inference *i, int64_t rank, const int64_t *shape)
{
    if (rank > TD_RANK_MAX)
        return td_fail(i->failure, TD_E_LIMIT, "%s: a result of %" PRId64 " dimensions; the limit is %d", i->op->name,
                       rank, TD_RANK_MAX);
    if (td_checked_numel((int)rank, shape) < 0) {
        char shape_text[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE, "%s: shape %s has a negative size or more elements than 2^56", i->op->name,
                td_shape_text((int)rank, shape, shape_text, sizeof shape_text));
        return td_hint(i->failure, "Sizes are 0 or more, and their product is limited.");
    }
    i->out[0].rank = (uint8_t)rank;
    if (rank > 0)
        memmove(i->out[0].shape, shape, (size_t)rank * sizeof *shape);
    td_contiguous_strides((int)rank, i->out[0].shape, i->out[0].stride);
    return TD_E_OK;
}

/* A result that is a window on the storage of input 0. */
int rule_alias(struct td_inference *i)
{
    bool scalar = i->out[0].scalar;
    uint8_t dtype = i->out[0].dtype;
    i->out[0] = i->in[0];
    i->out[0].dtype = dtype;
    i->out[0].scalar = scalar;
    i->shares = 0;
    return TD_E_OK;
}

int rule_needs_dims(struct td_inference *i)
{
    if (i->in[0].rank)
        return TD_E_OK;
    td_fail(i->failure, TD_E_SHAPE, "%s: x has no dimensions, and nothing to take a part of", i->op->name);
    return td_hint(i->failure, "td_unsqueeze(x, 0) gives it one.");
}

/* The element type of an attribute, TD_DTYPE_NONE if there is none of that number. */
uint8_t rule_dtype(int64_t dtype, uint8_t fallback)
{
    if (dtype == TD_DTYPE_NONE)
        return fallback;
    return dtype > 0 && dtype < TD_DTYPE_LIMIT ? (uint8_t)dtype : TD_DTYPE_NONE;
}

/* Strides of x expanded to a shape that fits. What a new dimension of size 1 has for one is never used, but is
 * PyTorch's. */
void rule_expanded_strides(const struct td_meta *x, int rank, const int64_t *shape, int64_t *stride)
{
    int added = rank - x->rank;
    for (int d = rank - 1; d >= 0; d--) {
        int64_t size = d >= added ? x->shape[d - added] : 1;
        if (size != shape[d] || x->rank == 0)
            stride[d] = 0;
        else if (d >= added)
            stride[d] = x->stride[d - added];
        else if (__builtin_mul_overflow(shape[d + 1], stride[d + 1], &stride[d]))
            stride[d] = 0;
    }
}
