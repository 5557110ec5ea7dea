/* The window of strided_read, strided_write and strided_add as all devices see it. C and C++.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_STRIDED_H
#define TD_KERNELS_STRIDED_H

#include <string.h>

#include "kernels/kernels.h"

/* What a window of that shape shows of content, which is contiguous. */
static inline struct td_operand td_strided_window(const struct td_operand *content, const struct td_dims *shape,
                                                  const struct td_dims *stride, int64_t offset)
{
    struct td_operand seen;
    int64_t count = 1;
    memset(&seen, 0, sizeof seen);
    seen.dtype = content->dtype;
    seen.rank = (uint8_t)shape->count;
    for (int d = 0; d < seen.rank; d++) {
        seen.shape[d] = shape->v[d];
        seen.stride[d] = stride->v[d];
        count *= shape->v[d];
    }
    /* An empty window may begin anywhere. */
    seen.data = (char *)content->data + (count ? offset : 0) * (int64_t)td_dtype_size(content->dtype);
    return seen;
}

/* value as it is broadcast into the window. */
static inline struct td_operand td_strided_value(const struct td_operand *value, const struct td_operand *seen)
{
    struct td_operand fit = *seen;
    fit.data = value->data;
    fit.dtype = value->dtype;
    fit.immediate = value->immediate;
    for (int d = 0; d < seen->rank; d++) {
        int from = d - (seen->rank - value->rank);
        fit.stride[d] = from < 0 || (value->shape[from] == 1 && seen->shape[d] != 1) ? 0 : value->stride[from];
    }
    return fit;
}

#endif
