/* What attributes say of windows. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/shape_windows.h"

#include <string.h>

int td_image_rank(const struct td_op *op)
{
    const char *name = td_op_of(op->id)->name; /* op may go under that of a function */
    return name[strlen(name) - 2] - '0';
}

struct td_windows td_conv_windows(const struct td_op *op, const void *attrs, int rank, const int64_t *kernel)
{
    const struct td_conv2d_attrs *conv = attrs; /* those of conv_transpose begin alike */
    const struct td_conv_weight_attrs *weight = attrs;
    bool of_weight = op->id == TD_OP_conv_weight, forward = op->id <= TD_OP_conv3d;
    struct td_windows w = {.rank = rank};
    for (int d = 0; d < rank; d++) {
        w.kernel[d] = kernel[d];
        w.stride[d] = td_sizes_entry(of_weight ? &weight->stride : &conv->stride, d, 1);
        w.dilation[d] = td_sizes_entry(of_weight ? &weight->dilation : &conv->dilation, d, 1);
        w.padding[d] = td_sizes_entry(of_weight ? &weight->padding : &conv->padding, d, 0);
        if (forward && conv->same)
            w.padding[d] = (td_window_reach(&w, d) - 1) / 2;
    }
    return w;
}

struct td_windows td_max_pool_windows(const void *attrs, int rank)
{
    const struct td_max_pool2d_attrs *a = attrs;
    struct td_windows w = {.rank = rank};
    for (int d = 0; d < rank; d++) {
        w.kernel[d] = td_sizes_entry(&a->kernel_size, d, 1);
        w.stride[d] = td_sizes_entry(&a->stride, d, w.kernel[d]);
        w.dilation[d] = td_sizes_entry(&a->dilation, d, 1);
        w.padding[d] = td_sizes_entry(&a->padding, d, 0);
    }
    return w;
}
