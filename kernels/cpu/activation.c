/* Activations, and other functions of one tensor and of numbers: those go with it as one more source, p, whose stride
 * is 0. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/functions.h"
#include "kernels/numbers.h"
#include "kernels/cpu/unary.h"

#define NUMBERS_MAX 3

#define PARAMETER_INNER(name, type, expression)                                  \
    static void name(int64_t count, void *const *at, const int64_t *stride)      \
    {                                                                            \
        type *y = at[0];                                                         \
        const type *px = at[1];                                                  \
        const type p0 = ((const type *)at[2])[0], p1 = ((const type *)at[2])[1]; \
        int64_t sy = stride[0], sx = stride[1];                                  \
        (void)p0, (void)p1;                                                      \
        if (sy == 1 && sx == 1) {                                                \
            TD_INDEPENDENT                                                       \
            for (int64_t i = 0; i < count; i++) {                                \
                type x = px[i];                                                  \
                y[i] = (type)(expression);                                       \
            }                                                                    \
            return;                                                              \
        }                                                                        \
        for (int64_t i = 0; i < count; i++) {                                    \
            type x = px[i * sx];                                                 \
            y[i * sy] = (type)(expression);                                      \
        }                                                                        \
    }

static void with_numbers(td_inner *inner, struct td_launch *launch, double p0, double p1, double p2)
{
    double numbers[NUMBERS_MAX] = {p0, p1, p2};
    uint64_t room[NUMBERS_MAX] = {0};
    struct td_operand operand = launch->out[0];
    for (size_t k = 0; k < NUMBERS_MAX; k++)
        td_number_store((struct td_number){.category = TD_FLOATING, .f = numbers[k]}, operand.dtype,
                        (char *)room + k * td_dtype_size(operand.dtype));
    operand.data = room;
    memset(operand.stride, 0, sizeof operand.stride);
    TD_CPU(iterate)(inner, 3, (const struct td_operand *[]){&launch->out[0], &launch->in[0], &operand});
}

#define ACTIVATION(name, first, second)                                                                   \
    PARAMETER_INNER(name##_f32, float, name##_of(f32))                                                    \
    PARAMETER_INNER(name##_f64, double, name##_of(f64))                                                   \
    void TD_CPU(name)(struct td_launch * launch)                                                          \
    {                                                                                                     \
        const struct td_##name##_attrs *a = launch->attrs;                                                \
        (void)a;                                                                                          \
        with_numbers(launch->out[0].dtype == TD_F32 ? name##_f32 : name##_f64, launch, first, second, 0); \
    }

#define ACTIVATION_NUMBER(name, first, second)                                                       \
    PARAMETER_INNER(name##_i32, int32_t, name##_of)                                                  \
    PARAMETER_INNER(name##_i64, int64_t, name##_of)                                                  \
    PARAMETER_INNER(name##_f32, float, name##_of)                                                    \
    PARAMETER_INNER(name##_f64, double, name##_of)                                                   \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                                          \
        [TD_I32] = name##_i32, [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    void TD_CPU(name)(struct td_launch * launch)                                                     \
    {                                                                                                \
        const struct td_##name##_attrs *a = launch->attrs;                                           \
        with_numbers(name##_inner[launch->out[0].dtype], launch, first, second, 0);                  \
    }

#define REPLACE(suffix, type, sign, infinity)                                           \
    static void replace_##suffix(int64_t count, void *const *at, const int64_t *stride) \
    {                                                                                   \
        type *y = at[0];                                                                \
        const type *px = at[1], *p = at[2], p0 = p[0], p1 = p[1], p2 = p[2];            \
        int64_t sy = stride[0], sx = stride[1];                                         \
        TD_INDEPENDENT                                                                  \
        for (int64_t i = 0; i < count; i++) {                                           \
            type x = px[i * sx];                                                        \
            y[i * sy] = replaced(type, sign, infinity);                                 \
        }                                                                               \
    }

#include "kernels/activation.def"

static td_inner *const replace_inner[TD_DTYPE_LIMIT] = {
    [TD_F16] = replace_f16, [TD_BF16] = replace_bf16, [TD_F32] = replace_f32, [TD_F64] = replace_f64};

void TD_CPU(nan_to_num)(struct td_launch *launch)
{
    uint8_t dtype = launch->out[0].dtype;
    if (!replace_inner[dtype]) {
        TD_CPU(copy_operand)(&launch->out[0], &launch->in[0]);
        return;
    }
    double nan, above, below;
    td_nan_to_num_numbers(launch->attrs, dtype, &nan, &above, &below);
    with_numbers(replace_inner[dtype], launch, nan, above, below);
}
