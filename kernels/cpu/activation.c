/* Activations, and other functions of one tensor and of numbers: those go with it as one more source, p, whose stride
 * is 0. SPDX-License-Identifier: Apache-2.0 */
#include <float.h>

#include "kernels/functions.h"
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

/* name(s) is the function's value for x, p0 and p1, where s is f32 or f64; first and second read its attributes *a. */
#define ACTIVATION(name, first, second)                                                                   \
    PARAMETER_INNER(name##_f32, float, name##_of(f32))                                                    \
    PARAMETER_INNER(name##_f64, double, name##_of(f64))                                                   \
    void TD_CPU(name)(struct td_launch * launch)                                                          \
    {                                                                                                     \
        const struct td_##name##_attrs *a = launch->attrs;                                                \
        (void)a;                                                                                          \
        with_numbers(launch->out[0].dtype == TD_F32 ? name##_f32 : name##_f64, launch, first, second, 0); \
    }

#define leaky_relu_of(s) (x > 0 ? x : x * p0)
ACTIVATION(leaky_relu, a->negative_slope, 0)

/* p0 times what lies below 0, p1 the scale above. */
#define elu_of(s) (x > 0 ? x : td_expm1_##s(x) * p0)
ACTIVATION(elu, a->alpha, 0)
#define celu_of(s) (x > 0 ? x : td_expm1_##s(x * p1) * p0)
ACTIVATION(celu, a->alpha, 1 / a->alpha)
#define selu_of(s) (x > 0 ? x * p1 : td_expm1_##s(x) * p0)
ACTIVATION(selu, 1.7580993408473768599, 1.0507009873554804935)

/* t = beta * x: log(1 + e^t) = max(t, 0) + log(1 + e^-|t|). */
#define td_softlog_f32(x) td_softlog_short((double)(x))
#define td_softlog_f64(x) td_softlog(x)
#define softplus_of(s) (x * p0 > p1 ? x : (td_relu_##s(x * p0) + td_softlog_##s(x * p0)) / p0)
ACTIVATION(softplus, a->beta, a->threshold)

#define softsign_of(s) (x / (1 + td_max_##s(x, -x)))
ACTIVATION(softsign, 0, 0)
#define six_of(s) td_min_##s(td_max_##s(x + 3, 0), 6)
#define hardsigmoid_of(s) (six_of(s) / 6)
ACTIVATION(hardsigmoid, 0, 0)
#define hardswish_of(s) (x * six_of(s) / 6)
ACTIVATION(hardswish, 0, 0)
#define softshrink_of(s) (x > p0 ? x - p0 : x < -p0 ? x + p0 : 0)
ACTIVATION(softshrink, a->lambd, 0)
#define hardshrink_of(s) (((x >= -p0) & (x <= p0)) ? 0 : x)
ACTIVATION(hardshrink, a->lambd, 0)

/* eps is p0, 1 - eps p1. */
#define moved(s) (x < p0 ? p0 : x > p1 ? p1 : x)
#define logit_of(s) td_log_f64((double)moved(s) / (1.0 - (double)moved(s)))
ACTIVATION(logit, a->eps >= 0 ? a->eps : -INFINITY, a->eps >= 0 ? 1 - a->eps : INFINITY)

/* ---- for integers too ---- */

#define threshold_of (x <= p0 ? p1 : x)
PARAMETER_INNER(threshold_i32, int32_t, threshold_of)
PARAMETER_INNER(threshold_i64, int64_t, threshold_of)
PARAMETER_INNER(threshold_f32, float, threshold_of)
PARAMETER_INNER(threshold_f64, double, threshold_of)
static td_inner *const threshold_inner[TD_DTYPE_LIMIT] = {
    [TD_I32] = threshold_i32, [TD_I64] = threshold_i64, [TD_F32] = threshold_f32, [TD_F64] = threshold_f64};

void TD_CPU(threshold)(struct td_launch *launch)
{
    const struct td_threshold_attrs *a = launch->attrs;
    with_numbers(threshold_inner[launch->out[0].dtype], launch, a->threshold, a->value, 0);
}

/* Bits of a floating type, the sign aside, are those of its infinity or greater. Integers are copied. */
#define REPLACE(name, type, sign, infinity)                                         \
    static void name(int64_t count, void *const *at, const int64_t *stride)         \
    {                                                                               \
        type *y = at[0];                                                            \
        const type *px = at[1], *p = at[2], nan = p[0], above = p[1], below = p[2]; \
        int64_t sy = stride[0], sx = stride[1];                                     \
        TD_INDEPENDENT                                                              \
        for (int64_t i = 0; i < count; i++) {                                       \
            type x = px[i * sx], size = (type)(x & (type) ~(sign)), other = x;      \
            other = x == (infinity) ? above : other;                                \
            other = x == ((infinity) | (sign)) ? below : other;                     \
            y[i * sy] = size > (infinity) ? nan : other;                            \
        }                                                                           \
    }
REPLACE(replace_f16, uint16_t, 0x8000, 0x7c00)
REPLACE(replace_bf16, uint16_t, 0x8000, 0x7f80)
REPLACE(replace_f32, uint32_t, TD_SIGN_F32, TD_INF_BITS_F32)
REPLACE(replace_f64, uint64_t, TD_SIGN_F64, TD_INF_BITS_F64)
static td_inner *const replace_inner[TD_DTYPE_LIMIT] = {
    [TD_F16] = replace_f16, [TD_BF16] = replace_bf16, [TD_F32] = replace_f32, [TD_F64] = replace_f64};

void TD_CPU(nan_to_num)(struct td_launch *launch)
{
    static const double greatest[TD_DTYPE_LIMIT] = {
        [TD_F16] = 65504, [TD_BF16] = 0x1.fep127, [TD_F32] = FLT_MAX, [TD_F64] = DBL_MAX};
    const struct td_nan_to_num_attrs *a = launch->attrs;
    uint8_t dtype = launch->out[0].dtype;
    if (!replace_inner[dtype]) {
        TD_CPU(copy_operand)(&launch->out[0], &launch->in[0]);
        return;
    }
    with_numbers(replace_inner[dtype], launch, a->nan, a->posinf == INFINITY ? greatest[dtype] : a->posinf,
                 a->neginf == -INFINITY ? -greatest[dtype] : a->neginf);
}
