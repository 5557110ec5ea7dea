/* clone, to, fill_ and copy_: copies between any two layouts and dtypes. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "kernels/scalar.h"

/* ---- conversion ---- */

TD_UNARY_INNER(convert_i64_bool, int64_t, uint8_t, x != 0)
TD_UNARY_INNER(convert_f32_bool, float, uint8_t, x != 0)
TD_UNARY_INNER(convert_f64_bool, double, uint8_t, x != 0)
TD_UNARY_INNER(convert_bool_i64, uint8_t, int64_t, x != 0)
TD_UNARY_INNER(convert_f32_i64, float, int64_t, td_i64_of_f64(x))
TD_UNARY_INNER(convert_f64_i64, double, int64_t, td_i64_of_f64(x))
TD_UNARY_INNER(convert_bool_f32, uint8_t, float, x != 0)
TD_UNARY_INNER(convert_i64_f32, int64_t, float, (float)x)
TD_UNARY_INNER(convert_f64_f32, double, float, (float)x)
TD_UNARY_INNER(convert_bool_f64, uint8_t, double, x != 0)
TD_UNARY_INNER(convert_i64_f64, int64_t, double, (double)x)
TD_UNARY_INNER(convert_f32_f64, float, double, x)

/* Reals become i32 by way of i64, whose low half stays, as in PyTorch. */
TD_UNARY_INNER(convert_i32_bool, int32_t, uint8_t, x != 0)
TD_UNARY_INNER(convert_bool_i32, uint8_t, int32_t, x != 0)
TD_UNARY_INNER(convert_i64_i32, int64_t, int32_t, (int32_t)x)
TD_UNARY_INNER(convert_f32_i32, float, int32_t, (int32_t)td_i64_of_f64(x))
TD_UNARY_INNER(convert_f64_i32, double, int32_t, (int32_t)td_i64_of_f64(x))
TD_UNARY_INNER(convert_i32_i64, int32_t, int64_t, x)
TD_UNARY_INNER(convert_i32_f32, int32_t, float, (float)x)
TD_UNARY_INNER(convert_i32_f64, int32_t, double, x)

#define TO(bool_, i32, i64, f32, f64)                                                     \
    {                                                                                     \
        [TD_BOOL] = bool_, [TD_I32] = i32, [TD_I64] = i64, [TD_F32] = f32, [TD_F64] = f64 \
    }
static td_inner *const convert[TD_DTYPE_LIMIT][TD_DTYPE_LIMIT] = {
    [TD_BOOL] = TO(NULL, convert_i32_bool, convert_i64_bool, convert_f32_bool, convert_f64_bool),
    [TD_I32] = TO(convert_bool_i32, NULL, convert_i64_i32, convert_f32_i32, convert_f64_i32),
    [TD_I64] = TO(convert_bool_i64, convert_i32_i64, NULL, convert_f32_i64, convert_f64_i64),
    [TD_F32] = TO(convert_bool_f32, convert_i32_f32, convert_i64_f32, NULL, convert_f64_f32),
    [TD_F64] = TO(convert_bool_f64, convert_i32_f64, convert_i64_f64, convert_f32_f64, NULL),
};

/* ---- the same dtype: bytes are moved ---- */

/* By the bytes of an element. A run of one repeated element is what fill_ and expanded tensors bring. */
#define MOVE(name, type)                                                    \
    static void name(int64_t count, void *const *at, const int64_t *stride) \
    {                                                                       \
        type *y = at[0];                                                    \
        const type *x = at[1];                                              \
        int64_t sy = stride[0], sx = stride[1];                             \
        if (sy == 1 && sx == 1) {                                           \
            memcpy(y, x, (size_t)count * sizeof *y);                        \
        } else if (sy == 1 && sx == 0) {                                    \
            type element = *x;                                              \
            for (int64_t i = 0; i < count; i++)                             \
                y[i] = element;                                             \
        } else {                                                            \
            for (int64_t i = 0; i < count; i++)                             \
                y[i * sy] = x[i * sx];                                      \
        }                                                                   \
    }
MOVE(move_1, uint8_t)
MOVE(move_4, uint32_t)
MOVE(move_8, uint64_t)

/* ---- turned: by blocks of whole cache lines on both sides ---- */

static void plane_turned(const struct td_loop *loop, char *const *at, const void *data)
{
    (void)data;
    int last = loop->rank - 1;
    TD_CPU(turn)
    (loop->size[0], at[1], loop->stride[1][last], at[0], loop->stride[0][last - 1], loop->shape[last],
     loop->shape[last - 1]);
}

/* The target is dense along the run and the source along the dimension beside it. */
static bool is_turned(const struct td_loop *loop)
{
    int last = loop->rank - 1;
    return loop->rank > 1 && loop->size[0] == loop->size[1] && loop->stride[0][last] == 1 &&
           loop->stride[1][last - 1] == 1 && loop->stride[1][last] > 1;
}

void TD_CPU(copy_operand)(const struct td_operand *target, const struct td_operand *source)
{
    const struct td_operand *operand[] = {target, source};
    size_t size = td_dtype_size(target->dtype);
    td_inner *move = size == 1 ? move_1 : size == 4 ? move_4 : move_8;
    struct td_loop loop;
    if (target->dtype != source->dtype)
        TD_CPU(iterate)(convert[target->dtype][source->dtype], 2, operand);
    else if (TD_CPU(loop_init)(&loop, 2, operand) && is_turned(&loop))
        TD_CPU(loop_planes)(&loop, plane_turned, NULL);
    else
        TD_CPU(iterate)(move, 2, operand);
}

/* ---- ops ---- */

void TD_CPU(clone)(struct td_launch *launch)
{
    TD_CPU(copy_operand)(&launch->out[0], &launch->in[0]);
}

void TD_CPU(to)(struct td_launch *launch)
{
    TD_CPU(copy_operand)(&launch->out[0], &launch->in[0]);
}

void TD_CPU(fill_)(struct td_launch *launch)
{
    TD_CPU(copy_operand)(&launch->out[0], &launch->in[1]);
}

void TD_CPU(copy_)(struct td_launch *launch)
{
    TD_CPU(copy_operand)(&launch->out[0], &launch->in[1]);
}
