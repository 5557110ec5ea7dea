/* clone, to, fill_ and copy_: copies between any two layouts and dtypes. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/past.h"
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

/* ---- narrow dtypes: by way of the wide one beside them, a piece at a time ---- */

TD_UNARY_INNER(widen_u8, uint8_t, int32_t, x)
TD_UNARY_INNER(widen_i8, int8_t, int32_t, x)
TD_UNARY_INNER(widen_i16, int16_t, int32_t, x)
TD_UNARY_INNER(widen_f16, td_f16, float, td_f32_of_f16(x))
TD_UNARY_INNER(widen_bf16, td_bf16, float, td_f32_of_bf16(x))
TD_UNARY_INNER(narrow_u8, int32_t, uint8_t, (uint8_t)x)
TD_UNARY_INNER(narrow_i8, int32_t, int8_t, (int8_t)x)
TD_UNARY_INNER(narrow_i16, int32_t, int16_t, (int16_t)x)
TD_UNARY_INNER(narrow_f16, float, td_f16, td_f16_of_f32(x))
TD_UNARY_INNER(narrow_bf16, float, td_bf16, td_bf16_of_f32(x))

static td_inner *const widen[TD_DTYPE_LIMIT] = {
    [TD_U8] = widen_u8, [TD_I8] = widen_i8, [TD_I16] = widen_i16, [TD_F16] = widen_f16, [TD_BF16] = widen_bf16};
static td_inner *const narrow[TD_DTYPE_LIMIT] = {
    [TD_U8] = narrow_u8, [TD_I8] = narrow_i8, [TD_I16] = narrow_i16, [TD_F16] = narrow_f16, [TD_BF16] = narrow_bf16};

/* Elements of a piece: two of them lie in L1. */
#define PIECE 512

/* A run from one dtype to another in up to three steps: widened, converted, narrowed. */
static void convert_run(uint8_t from, uint8_t to, int64_t count, void *const *at, const int64_t *stride)
{
    double pieces[2][PIECE]; /* room for any dtype */
    uint8_t wide = td_dtype_wide(from), due = td_dtype_wide(to);
    td_inner *steps[3] = {widen[from], wide != due ? convert[due][wide] : NULL, narrow[to]};
    size_t from_bytes = td_dtype_size(from), to_bytes = td_dtype_size(to);
    for (int64_t done = 0; done < count; done += PIECE) {
        int64_t some = count - done < PIECE ? count - done : PIECE, step = stride[1];
        void *x = (char *)at[1] + done * stride[1] * (int64_t)from_bytes;
        for (int s = 0, left = !!steps[0] + !!steps[1] + !!steps[2]; s < 3; s++) {
            if (!steps[s])
                continue;
            bool last = --left == 0;
            void *y = last ? (char *)at[0] + done * stride[0] * (int64_t)to_bytes : (void *)pieces[s % 2];
            steps[s](some, (void *const[]){y, x}, (const int64_t[]){last ? stride[0] : 1, step});
            x = y;
            step = 1;
        }
    }
}

#define FROM(NAME, to)                                                                    \
    static void from_##NAME##_##to(int64_t count, void *const *at, const int64_t *stride) \
    {                                                                                     \
        convert_run(TD_##NAME, TD_##to, count, at, stride);                               \
    }
#define FROM_ALL(to) \
    FROM(BOOL, to)   \
    FROM(U8, to)     \
    FROM(I8, to) FROM(I16, to) FROM(I32, to) FROM(I64, to) FROM(F16, to) FROM(BF16, to) FROM(F32, to) FROM(F64, to)
FROM_ALL(BOOL)
FROM_ALL(U8)
FROM_ALL(I8)
FROM_ALL(I16)
FROM_ALL(I32)
FROM_ALL(I64)
FROM_ALL(F16)
FROM_ALL(BF16)
FROM_ALL(F32)
FROM_ALL(F64)
#define ROW(to)                                                                                                     \
    [TD_##to] = {                                                                                                   \
        [TD_BOOL] = from_BOOL_##to, [TD_U8] = from_U8_##to,   [TD_I8] = from_I8_##to,   [TD_I16] = from_I16_##to,   \
        [TD_I32] = from_I32_##to,   [TD_I64] = from_I64_##to, [TD_F16] = from_F16_##to, [TD_BF16] = from_BF16_##to, \
        [TD_F32] = from_F32_##to,   [TD_F64] = from_F64_##to}
/* What convert lacks. */
static td_inner *const convert_narrow[TD_DTYPE_LIMIT][TD_DTYPE_LIMIT] = {
    ROW(BOOL), ROW(U8), ROW(I8), ROW(I16), ROW(I32), ROW(I64), ROW(F16), ROW(BF16), ROW(F32), ROW(F64)};

static td_inner *conversion(uint8_t to, uint8_t from)
{
    if (convert[to][from])
        return convert[to][from];
    if (to == td_dtype_wide(from))
        return widen[from];
    return from == td_dtype_wide(to) ? narrow[to] : convert_narrow[to][from];
}

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
MOVE(move_2, uint16_t)
MOVE(move_4, uint32_t)
MOVE(move_8, uint64_t)

/* ---- turned: by blocks of whole cache lines on both sides ---- */

static void plane_turned(const struct td_loop *loop, char *const *at, const void *data)
{
    int last = loop->rank - 1;
    TD_CPU(turn)
    (loop->size[0], at[1], loop->stride[1][last], at[0], loop->stride[0][last - 1], loop->shape[last],
     loop->shape[last - 1], *(const bool *)data);
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
    td_inner *move = size == 1 ? move_1 : size == 2 ? move_2 : size == 4 ? move_4 : move_8;
    bool stream = td_operand_numel(target) * (int64_t)size >= TD_PAST_BYTES;
    struct td_loop loop;
    if (target->dtype != source->dtype)
        TD_CPU(iterate)(conversion(target->dtype, source->dtype), 2, operand);
    else if (TD_CPU(loop_init)(&loop, 2, operand) && is_turned(&loop))
        TD_CPU(loop_planes)(&loop, plane_turned, &stream);
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

/* What in[0] holds is not looked at: it lends its shape. */
void TD_CPU(full_like)(struct td_launch *launch)
{
    struct td_operand value = launch->in[1];
    value.rank = launch->out[0].rank;
    memcpy(value.shape, launch->out[0].shape, sizeof value.shape);
    memset(value.stride, 0, sizeof value.stride);
    TD_CPU(copy_operand)(&launch->out[0], &value);
}

void TD_CPU(copy_)(struct td_launch *launch)
{
    TD_CPU(copy_operand)(&launch->out[0], &launch->in[1]);
}
