/* Windows of content, which is contiguous: what a view becomes once its base has been written to, and the gradients
 * of that. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/places.h"
#include "kernels/strided.h"

void TD_CUDA(strided_read)(struct td_launch *launch)
{
    const struct td_strided_read_attrs *a = (const struct td_strided_read_attrs *)launch->attrs;
    td_cuda_copy(launch->out[0], td_strided_window(&launch->in[0], &a->shape, &a->stride, a->offset));
}

void TD_CUDA(strided_write)(struct td_launch *launch)
{
    const struct td_strided_write_attrs *a = (const struct td_strided_write_attrs *)launch->attrs;
    td_cuda_copy(launch->out[0], launch->in[0]);
    struct td_operand seen = td_strided_window(&launch->out[0], &a->shape, &a->stride, a->offset);
    td_cuda_copy(seen, td_strided_value(&launch->in[1], &seen));
}

/* The window may come back to an element: additions to one are made in their order, row by row. */
void TD_CUDA(strided_add)(struct td_launch *launch)
{
    const struct td_strided_add_attrs *a = (const struct td_strided_add_attrs *)launch->attrs;
    td_cuda_copy(launch->out[0], launch->in[0]);
    struct td_operand seen = td_strided_window(&launch->out[0], &a->shape, &a->stride, a->offset);
    struct td_operand value = td_strided_value(&launch->in[1], &seen);
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
