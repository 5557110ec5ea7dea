/* Windows of content, which is contiguous: what a view becomes once its base has been written to, and the gradients
 * of that. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/strided.h"

void TD_CPU(strided_read)(struct td_launch *launch)
{
    const struct td_strided_read_attrs *a = launch->attrs;
    struct td_operand seen = td_strided_window(&launch->in[0], &a->shape, &a->stride, a->offset);
    TD_CPU(copy_operand)(&launch->out[0], &seen);
}

void TD_CPU(strided_write)(struct td_launch *launch)
{
    const struct td_strided_write_attrs *a = launch->attrs;
    TD_CPU(copy_operand)(&launch->out[0], &launch->in[0]);
    struct td_operand seen = td_strided_window(&launch->out[0], &a->shape, &a->stride, a->offset);
    struct td_operand value = td_strided_value(&launch->in[1], &seen);
    TD_CPU(copy_operand)(&seen, &value);
}

/* A run of additions in their order: the window may come back to an element, even inside the run. */
#define ADD_RUN(name, type)                                                                            \
    static void name(int64_t count, void *target, int64_t step, const void *value, int64_t value_step) \
    {                                                                                                  \
        type *y = target;                                                                              \
        const type *x = value;                                                                         \
        if (step == 1 && value_step == 1) {                                                            \
            TD_INDEPENDENT                                                                             \
            for (int64_t i = 0; i < count; i++)                                                        \
                y[i] += x[i];                                                                          \
        } else {                                                                                       \
            for (int64_t i = 0; i < count; i++)                                                        \
                y[i * step] += x[i * value_step];                                                      \
        }                                                                                              \
    }
ADD_RUN(add_i32, uint32_t)
ADD_RUN(add_i64, uint64_t)
ADD_RUN(add_f32, float)
ADD_RUN(add_f64, double)

void TD_CPU(strided_add)(struct td_launch *launch)
{
    const struct td_strided_add_attrs *a = launch->attrs;
    TD_CPU(copy_operand)(&launch->out[0], &launch->in[0]);
    struct td_operand seen = td_strided_window(&launch->out[0], &a->shape, &a->stride, a->offset);
    struct td_operand value = td_strided_value(&launch->in[1], &seen);
    if (td_operand_numel(&seen) == 0)
        return;
    int last = seen.rank - 1;
    int64_t index[TD_RANK_MAX] = {0}, offset[2] = {0}, size = (int64_t)td_dtype_size(seen.dtype);
    int64_t count = last < 0 ? 1 : seen.shape[last], step = last < 0 ? 1 : seen.stride[last];
    int64_t value_step = last < 0 ? 1 : value.stride[last];
    const int64_t *stride[] = {seen.stride, value.stride};
    do {
        char *target = (char *)seen.data + offset[0] * size;
        const char *from = (const char *)value.data + offset[1] * size;
        if (seen.dtype == TD_F32)
            add_f32(count, target, step, from, value_step);
        else if (seen.dtype == TD_F64)
            add_f64(count, target, step, from, value_step);
        else if (seen.dtype == TD_I32)
            add_i32(count, target, step, from, value_step);
        else
            add_i64(count, target, step, from, value_step);
    } while (td_step_index(last < 0 ? 0 : last, seen.shape, index, 2, offset, stride));
}
