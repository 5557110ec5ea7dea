/* Windows of content, which is contiguous: what a view becomes once its base has been written to, and the gradients
 * of that. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/places.h"

static struct td_operand window(const struct td_operand *content, const struct td_dims *shape,
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
static struct td_operand fitted(const struct td_operand *value, const struct td_operand *seen)
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

void TD_CUDA(strided_read)(struct td_launch *launch)
{
    const struct td_strided_read_attrs *a = (const struct td_strided_read_attrs *)launch->attrs;
    td_cuda_copy(launch->out[0], window(&launch->in[0], &a->shape, &a->stride, a->offset));
}

void TD_CUDA(strided_write)(struct td_launch *launch)
{
    const struct td_strided_write_attrs *a = (const struct td_strided_write_attrs *)launch->attrs;
    td_cuda_copy(launch->out[0], launch->in[0]);
    struct td_operand seen = window(&launch->out[0], &a->shape, &a->stride, a->offset);
    td_cuda_copy(seen, fitted(&launch->in[1], &seen));
}

/* The window may come back to an element: additions to one are made in their order, row by row. */
void TD_CUDA(strided_add)(struct td_launch *launch)
{
    const struct td_strided_add_attrs *a = (const struct td_strided_add_attrs *)launch->attrs;
    td_cuda_copy(launch->out[0], launch->in[0]);
    struct td_operand seen = window(&launch->out[0], &a->shape, &a->stride, a->offset);
    struct td_operand value = fitted(&launch->in[1], &seen);
    int64_t item = td_operand_numel(&seen);
    struct td_placing p = td_placing_begin(&seen, &value);
    p.keys = td_operand_numel(&launch->out[0]);
    for (int d = 0; d < seen.rank && item; d++) {
        item /= seen.shape[d];
        td_placing_item(&p, seen.shape[d], {seen.stride[d], value.stride[d], 0, seen.stride[d], item});
    }
    if (td_operand_numel(&seen) && !td_cuda_join_places(&p, TD_BY_SUM, false))
        launch->fault.code = TD_E_MEMORY;
}
