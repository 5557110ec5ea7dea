/* cat and stack: each tensor is copied into its part of the result. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/internal.h"

/* PyTorch lets a tensor of shape (0) stand in any cat. */
static bool is_nothing(const struct td_operand *in)
{
    return in->rank == 1 && in->shape[0] == 0;
}

void TD_CPU(cat)(struct td_launch *launch)
{
    const struct td_operand *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_cat_attrs *)launch->attrs)->dim, out->rank);
    int64_t at = 0, size = (int64_t)td_dtype_size(out->dtype);
    for (int k = 0; k < launch->in_count; k++) {
        const struct td_operand *in = &launch->in[k];
        struct td_operand part = *out;
        if (is_nothing(in))
            continue;
        part.shape[dim] = in->shape[dim];
        part.data = (char *)out->data + at * out->stride[dim] * size;
        at += in->shape[dim];
        if (td_operand_numel(in))
            TD_CPU(copy_operand)(&part, in);
    }
}

void TD_CPU(stack)(struct td_launch *launch)
{
    const struct td_operand *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_stack_attrs *)launch->attrs)->dim, out->rank);
    int64_t size = (int64_t)td_dtype_size(out->dtype);
    if (td_operand_numel(out) == 0)
        return;
    for (int k = 0; k < launch->in_count; k++) {
        struct td_operand part = {.dtype = out->dtype, .rank = launch->in[k].rank};
        for (int d = 0; d < part.rank; d++) {
            part.shape[d] = launch->in[k].shape[d];
            part.stride[d] = out->stride[d < dim ? d : d + 1];
        }
        part.data = (char *)out->data + k * out->stride[dim] * size;
        TD_CPU(copy_operand)(&part, &launch->in[k]);
    }
}
