/* More elementwise ops of two and three tensors: division with a remainder, logic, bits, and mixtures.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/functions.h"
#include "kernels/cpu/iterate.h"

#define PAIR(name)                                                         \
    void TD_CPU(name)(struct td_launch * launch)                           \
    {                                                                      \
        TD_CPU(iterate_launch)(name##_inner[launch->in[0].dtype], launch); \
    }

/* Of floats only. */
#define PAIR_REAL(name, of_f32, of_f64)                                                                   \
    TD_BINARY_INNER(name##_f32, float, float, of_f32)                                                     \
    TD_BINARY_INNER(name##_f64, double, double, of_f64)                                                   \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {[TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    PAIR(name)
PAIR_REAL(atan2, (float)atan2((double)a, (double)b), atan2(a, b))
PAIR_REAL(hypot, (float)hypot((double)a, (double)b), hypot(a, b))
PAIR_REAL(copysign, __builtin_copysignf(a, b), __builtin_copysign(a, b))
PAIR_REAL(logaddexp, td_log_sum_f32(a, b), td_log_sum_f64(a, b))
PAIR_REAL(logaddexp2, td_log2_sum_f32(a, b), td_log2_sum_f64(a, b))
PAIR_REAL(xlogy, ((b == b) & (a == 0)) ? 0 : a *td_log_f32(b), ((b == b) & (a == 0)) ? 0 : a *td_log_f64(b))

/* ---- division: remainders of floats are libm's, which are exact ---- */

static inline float floor_quotient_f32(float a, float b)
{
    float rest = fmodf(a, b), quotient = (a - rest) / b;
    quotient -= rest != 0 && (b < 0) != (rest < 0);
    float whole = floorf(quotient);
    whole += quotient - whole > 0.5f;
    whole = quotient != 0 ? whole : copysignf(0, a / b);
    return b == 0 ? a / b : whole;
}
static inline double floor_quotient_f64(double a, double b)
{
    double rest = fmod(a, b), quotient = (a - rest) / b;
    quotient -= rest != 0 && (b < 0) != (rest < 0);
    double whole = floor(quotient);
    whole += quotient - whole > 0.5;
    whole = quotient != 0 ? whole : copysign(0, a / b);
    return b == 0 ? a / b : whole;
}
static inline float rest_f32(float a, float b)
{
    float rest = fmodf(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}
static inline double rest_f64(double a, double b)
{
    double rest = fmod(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}

/* Of integers b is not 0; the least number divided by -1 wraps. */
#define cut_rest(a, b) (b == -1 ? 0 : a % b)
#define cut_quotient(type, a, b) (b == -1 ? (int64_t)(type)(0 - (u##type)a) : a / b)
#define uneven(a, b) (cut_rest(a, b) != 0 && (a < 0) != (b < 0))

/* Whether any element of b is read and is 0. */
static bool divides_by_zero(const struct td_operand *b)
{
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
    int rank = 0;
    for (int d = 0; d < b->rank; d++) {
        if (b->shape[d] == 0)
            return false;
        if (b->stride[d] == 0)
            continue;
        shape[rank] = b->shape[d];
        stride[rank++] = b->stride[d];
    }
    struct td_operand some = {.rank = (uint8_t)rank};
    memcpy(some.shape, shape, (size_t)rank * sizeof *shape);
    const int64_t *strides = stride;
    struct td_walk w;
    int64_t found = 0;
    for (td_walk_start(&w, rank, shape, 1, &strides, 0, td_operand_numel(&some)); w.run && !found; td_walk_next(&w)) {
        if (b->dtype == TD_I32)
            for (int64_t i = 0; i < w.run; i++)
                found |= ((const int32_t *)b->data)[w.at[0] + i * w.step[0]] == 0;
        else
            for (int64_t i = 0; i < w.run; i++)
                found |= ((const int64_t *)b->data)[w.at[0] + i * w.step[0]] == 0;
    }
    return found;
}

#define DIVISION(name, of_i32, of_i64, of_f32, of_f64)                                               \
    TD_BINARY_INNER(name##_i32, int32_t, int32_t, (int32_t)(of_i32))                                 \
    TD_BINARY_INNER(name##_i64, int64_t, int64_t, of_i64)                                            \
    TD_BINARY_INNER(name##_f32, float, float, of_f32)                                                \
    TD_BINARY_INNER(name##_f64, double, double, of_f64)                                              \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                                          \
        [TD_I32] = name##_i32, [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    void TD_CPU(name)(struct td_launch * launch)                                                     \
    {                                                                                                \
        uint8_t dtype = launch->in[1].dtype;                                                         \
        if (td_dtype_category(dtype) == TD_INTEGER && divides_by_zero(&launch->in[1]))               \
            launch->fault = (struct td_fault){.code = TD_E_ARGUMENT};                                \
        else                                                                                         \
            TD_CPU(iterate_launch)(name##_inner[dtype], launch);                                     \
    }
DIVISION(fmod, cut_rest(a, b), cut_rest(a, b), fmodf(a, b), fmod(a, b))
DIVISION(remainder, cut_rest(a, b) + (uneven(a, b) ? b : 0), cut_rest(a, b) + (uneven(a, b) ? b : 0), rest_f32(a, b),
         rest_f64(a, b))
DIVISION(trunc_divide, cut_quotient(int32_t, a, b), cut_quotient(int64_t, a, b), __builtin_truncf(a / b),
         __builtin_trunc(a / b))
DIVISION(floor_divide, cut_quotient(int32_t, a, b) - uneven(a, b), cut_quotient(int64_t, a, b) - uneven(a, b),
         floor_quotient_f32(a, b), floor_quotient_f64(a, b))

/* ---- for every dtype ---- */

#define PAIR_ANY(name, target_bool, target_i32, target_i64, target_f32, target_f64, of_bool, of_integers, of_f32, \
                 of_f64)                                                                                          \
    TD_BINARY_INNER(name##_bool, uint8_t, target_bool, of_bool)                                                   \
    TD_BINARY_INNER(name##_i32, int32_t, target_i32, of_integers)                                                 \
    TD_BINARY_INNER(name##_i64, int64_t, target_i64, of_integers)                                                 \
    TD_BINARY_INNER(name##_f32, float, target_f32, of_f32)                                                        \
    TD_BINARY_INNER(name##_f64, double, target_f64, of_f64)                                                       \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {[TD_BOOL] = name##_bool,                               \
                                                           [TD_I32] = name##_i32,                                 \
                                                           [TD_I64] = name##_i64,                                 \
                                                           [TD_F32] = name##_f32,                                 \
                                                           [TD_F64] = name##_f64};                                \
    PAIR(name)
#define PAIR_SAME(name, of_bool, of_integers, of_f32, of_f64) \
    PAIR_ANY(name, uint8_t, int32_t, int64_t, float, double, of_bool, of_integers, of_f32, of_f64)
#define PAIR_TRUTH(name, truth) PAIR_ANY(name, uint8_t, uint8_t, uint8_t, uint8_t, uint8_t, truth, truth, truth, truth)

/* A number wins over nan. */
PAIR_SAME(fmax, (a != 0) | (b != 0), a > b ? a : b, ((a >= b) | (b != b)) ? a : b, ((a >= b) | (b != b)) ? a : b)
PAIR_SAME(fmin, (a != 0) & (b != 0), a < b ? a : b, ((a <= b) | (b != b)) ? a : b, ((a <= b) | (b != b)) ? a : b)
PAIR_SAME(heaviside, a != 0 ? 1 : b != 0, a == 0 ? b : a > 0, a == 0 ? b : (float)(a > 0), a == 0 ? b : (double)(a > 0))
PAIR_TRUTH(logical_and, (a != 0) & (b != 0))
PAIR_TRUTH(logical_or, (a != 0) | (b != 0))
PAIR_TRUTH(logical_xor, (a != 0) ^ (b != 0))

#define BITS(name, operator)                                                    \
    TD_BINARY_INNER(name##_bool, uint8_t, uint8_t, (a != 0) operator(b != 0))   \
    TD_BINARY_INNER(name##_i32, uint32_t, uint32_t, a operator b)               \
    TD_BINARY_INNER(name##_i64, uint64_t, uint64_t, a operator b)               \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                     \
        [TD_BOOL] = name##_bool, [TD_I32] = name##_i32, [TD_I64] = name##_i64}; \
    PAIR(name)
BITS(bitwise_and, &)
BITS(bitwise_or, |)
BITS(bitwise_xor, ^)

/* What is shifted is unsigned up, as too much of it is lost, and signed down, with all of its bits at the most. */
#define SHIFT(name, truth, of_i32, of_i64)                                      \
    TD_BINARY_INNER(name##_bool, uint8_t, uint8_t, truth)                       \
    TD_BINARY_INNER(name##_i32, int32_t, int32_t, of_i32)                       \
    TD_BINARY_INNER(name##_i64, int64_t, int64_t, of_i64)                       \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                     \
        [TD_BOOL] = name##_bool, [TD_I32] = name##_i32, [TD_I64] = name##_i64}; \
    PAIR(name)
SHIFT(bitwise_left_shift, (a != 0) | (b & 0), (uint32_t)b < 32 ? (int32_t)((uint32_t)a << (b & 31)) : 0,
      (uint64_t)b < 64 ? (int64_t)((uint64_t)a << (b & 63)) : 0)
SHIFT(bitwise_right_shift, (a != 0) & (b == 0), a >> ((uint32_t)b < 32 ? b : 31), a >> ((uint64_t)b < 64 ? b : 63))

/* ---- of three tensors and a number p ---- */

#define TRIPLE_INNER(name, type, expression)                                        \
    static void name(int64_t count, void *const *at, const int64_t *stride)         \
    {                                                                               \
        type *y = at[0];                                                            \
        const type *pa = at[1], *pb = at[2], *pc = at[3], p = *(const type *)at[4]; \
        int64_t sy = stride[0], sa = stride[1], sb = stride[2], sc = stride[3];     \
        (void)p;                                                                    \
        if (sy == 1 && sa == 1 && sb == 1 && sc == 1) {                             \
            TD_INDEPENDENT                                                          \
            for (int64_t i = 0; i < count; i++) {                                   \
                type a = pa[i], b = pb[i], c = pc[i];                               \
                y[i] = expression;                                                  \
            }                                                                       \
        } else if (sy == 1 && sa == 1 && sb == 1 && sc == 0) {                      \
            type c = *pc;                                                           \
            TD_INDEPENDENT                                                          \
            for (int64_t i = 0; i < count; i++) {                                   \
                type a = pa[i], b = pb[i];                                          \
                y[i] = expression;                                                  \
            }                                                                       \
        } else {                                                                    \
            for (int64_t i = 0; i < count; i++) {                                   \
                type a = pa[i * sa], b = pb[i * sb], c = pc[i * sc];                \
                y[i * sy] = expression;                                             \
            }                                                                       \
        }                                                                           \
    }

static void with_number(td_inner *inner, struct td_launch *launch, double number)
{
    uint64_t element = 0;
    struct td_operand operand = launch->out[0];
    td_number_store((struct td_number){.category = TD_FLOATING, .f = number}, operand.dtype, &element);
    operand.data = &element;
    memset(operand.stride, 0, sizeof operand.stride);
    TD_CPU(iterate)
    (inner, 5,
     (const struct td_operand *[]){&launch->out[0], &launch->in[0], &launch->in[1], &launch->in[2], &operand});
}

/* From the end that is nearer, so that a weight of 0 gives a and one of 1 gives b. */
#define mixture(half, one) (c < half ? a + c * (b - a) : b - (b - a) * (one - c))
TRIPLE_INNER(lerp_f32, float, mixture(0.5f, 1))
TRIPLE_INNER(lerp_f64, double, mixture(0.5, 1))

void TD_CPU(lerp)(struct td_launch *launch)
{
    with_number(launch->out[0].dtype == TD_F32 ? lerp_f32 : lerp_f64, launch, 0);
}

/* Integers in unsigned arithmetic, which wraps. */
TRIPLE_INNER(addcmul_i32, uint32_t, a + p * b * c)
TRIPLE_INNER(addcmul_i64, uint64_t, a + p * b * c)
TRIPLE_INNER(addcmul_f32, float, a + p * b * c)
TRIPLE_INNER(addcmul_f64, double, a + p * b * c)
static td_inner *const addcmul_inner[TD_DTYPE_LIMIT] = {
    [TD_I32] = addcmul_i32, [TD_I64] = addcmul_i64, [TD_F32] = addcmul_f32, [TD_F64] = addcmul_f64};

void TD_CPU(addcmul)(struct td_launch *launch)
{
    with_number(addcmul_inner[launch->out[0].dtype], launch, ((const struct td_addcmul_attrs *)launch->attrs)->value);
}

TRIPLE_INNER(addcdiv_f32, float, a + p * b / c)
TRIPLE_INNER(addcdiv_f64, double, a + p * b / c)

void TD_CPU(addcdiv)(struct td_launch *launch)
{
    with_number(launch->out[0].dtype == TD_F32 ? addcdiv_f32 : addcdiv_f64, launch,
                ((const struct td_addcdiv_attrs *)launch->attrs)->value);
}
