/* Elementwise ops of one tensor. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/unary.h"
#include "kernels/numbers.h"
#include "kernels/scalar.h"
#include "kernels/special.h"

#include "kernels/unary.def"

/* ---- gelu in its two forms ---- */

TD_UNARY_INNER(gelu_f32, float, float, td_gelu_f32(x))
TD_UNARY_INNER(gelu_f64, double, double, td_gelu_f64(x))
TD_UNARY_INNER(gelu_tanh_f32, float, float, td_gelu_tanh_f32(x))
TD_UNARY_INNER(gelu_tanh_f64, double, double, td_gelu_tanh_f64(x))

void TD_CPU(gelu)(struct td_launch *launch)
{
    bool narrow = launch->in[0].dtype == TD_F32;
    bool by_tanh = ((const struct td_gelu_attrs *)launch->attrs)->tanh_form != 0;
    TD_CPU(iterate_launch)
    (by_tanh ? (narrow ? gelu_tanh_f32 : gelu_tanh_f64) : (narrow ? gelu_f32 : gelu_f64), launch);
}

/* ---- sine and cosine: vectors first, and what lies too far for them again by itself ---- */

/* Small beside L1. */
#define CHUNK 1024

#define ROUND_INNER(name, type, far_added)                                                             \
    TD_UNARY_INNER(name##_fast, type, type, td_##name(x))                                              \
    static void name(int64_t count, void *const *at, const int64_t *stride)                            \
    {                                                                                                  \
        for (int64_t done = 0; done < count; done += CHUNK) {                                          \
            int64_t now = count - done < CHUNK ? count - done : CHUNK, sy = stride[0], sx = stride[1]; \
            type *y = (type *)at[0] + done * sy;                                                       \
            const type *x = (const type *)at[1] + done * sx;                                           \
            name##_fast(now, (void *[]){y, (void *)x}, stride);                                        \
            int far = 0;                                                                               \
            for (int64_t i = 0; i < now; i++)                                                          \
                far |= !(x[i * sx] < (type)TD_TURN_FAST && x[i * sx] > (type)-TD_TURN_FAST);           \
            for (int64_t i = 0; far && i < now; i++)                                                   \
                if (!(x[i * sx] < (type)TD_TURN_FAST && x[i * sx] > (type)-TD_TURN_FAST))              \
                    y[i * sy] = (type)td_sin_far(x[i * sx], far_added);                                \
        }                                                                                              \
    }
ROUND_INNER(sin_fast_f32, float, 0)
ROUND_INNER(sin_fast_f64, double, 0)
ROUND_INNER(cos_fast_f32, float, 1)
ROUND_INNER(cos_fast_f64, double, 1)
static td_inner *const sin_inner[TD_DTYPE_LIMIT] = {[TD_F32] = sin_fast_f32, [TD_F64] = sin_fast_f64};
static td_inner *const cos_inner[TD_DTYPE_LIMIT] = {[TD_F32] = cos_fast_f32, [TD_F64] = cos_fast_f64};
UNARY(sin)
UNARY(cos)

/* ---- clamp: its bounds go with it as two more sources of one element ---- */

#define CLAMP(name, type)                                                         \
    static void name(int64_t count, void *const *at, const int64_t *stride)       \
    {                                                                             \
        type *y = at[0], low = *(const type *)at[2], high = *(const type *)at[3]; \
        const type *px = at[1];                                                   \
        int64_t sy = stride[0], sx = stride[1];                                   \
        if (sy == 1 && sx == 1) {                                                 \
            TD_INDEPENDENT                                                        \
            for (int64_t i = 0; i < count; i++) {                                 \
                type x = px[i] < low ? low : px[i];                               \
                y[i] = x > high ? high : x;                                       \
            }                                                                     \
            return;                                                               \
        }                                                                         \
        for (int64_t i = 0; i < count; i++) {                                     \
            type x = px[i * sx] < low ? low : px[i * sx];                         \
            y[i * sy] = x > high ? high : x;                                      \
        }                                                                         \
    }
CLAMP(clamp_i32, int32_t)
CLAMP(clamp_i64, int64_t)
CLAMP(clamp_f32, float)
CLAMP(clamp_f64, double)
static td_inner *const clamp_inner[TD_DTYPE_LIMIT] = {
    [TD_I32] = clamp_i32, [TD_I64] = clamp_i64, [TD_F32] = clamp_f32, [TD_F64] = clamp_f64};

static void clamp_between(struct td_launch *launch, struct td_number low, struct td_number high)
{
    uint8_t dtype = launch->out[0].dtype;
    struct td_number bound[2] = {low, high};
    uint64_t element[2] = {0};
    struct td_operand operand[2];
    for (int k = 0; k < 2; k++) {
        td_number_store(bound[k], dtype, &element[k]);
        operand[k] = launch->out[0];
        operand[k].data = &element[k];
        memset(operand[k].stride, 0, sizeof operand[k].stride);
    }
    TD_CPU(iterate)
    (clamp_inner[dtype], 4, (const struct td_operand *[]){&launch->out[0], &launch->in[0], &operand[0], &operand[1]});
}

void TD_CPU(clamp)(struct td_launch *launch)
{
    struct td_number low, high;
    td_clamp_bounds(launch->attrs, launch->out[0].dtype, &low, &high);
    clamp_between(launch, low, high);
}

/* Its bounds are cut towards 0 for integers, as PyTorch's are. */
void TD_CPU(hardtanh)(struct td_launch *launch)
{
    const struct td_hardtanh_attrs *a = launch->attrs;
    clamp_between(launch, td_real_number(a->min_val), td_real_number(a->max_val));
}

void TD_CPU(relu6)(struct td_launch *launch)
{
    clamp_between(launch, td_real_number(0), td_real_number(6));
}
