/* Elementwise ops of two tensors, where, add_ and mul_. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/pairs.h"
#include "kernels/scalar.h"
#include "kernels/special.h"

/* By the dtype of the operands (where's last one, since its first is the condition). */
#define BINARY(name, inner)                                                            \
    void TD_CPU(name)(struct td_launch * launch)                                       \
    {                                                                                  \
        TD_CPU(iterate_launch)(inner[launch->in[launch->in_count - 1].dtype], launch); \
    }

/* Integers in unsigned arithmetic, which wraps. */
#define NUMBER_INNERS(name, expression)                         \
    TD_BINARY_INNER(name##_i32, uint32_t, uint32_t, expression) \
    TD_BINARY_INNER(name##_i64, uint64_t, uint64_t, expression) \
    TD_BINARY_INNER(name##_f32, float, float, expression)       \
    TD_BINARY_INNER(name##_f64, double, double, expression)
#define ARITHMETIC(name, of_bool, of_numbers)                                       \
    TD_BINARY_INNER(name##_bool, uint8_t, uint8_t, of_bool)                         \
    NUMBER_INNERS(name, of_numbers)                                                 \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {[TD_BOOL] = name##_bool, \
                                                           [TD_I32] = name##_i32,   \
                                                           [TD_I64] = name##_i64,   \
                                                           [TD_F32] = name##_f32,   \
                                                           [TD_F64] = name##_f64};  \
    BINARY(name, name##_inner)
#define ARITHMETIC_NUMBER(name, of_numbers)                                                          \
    NUMBER_INNERS(name, of_numbers)                                                                  \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                                          \
        [TD_I32] = name##_i32, [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    BINARY(name, name##_inner)
#define COMPARE(name, operator)                                                                                        \
    PAIR_ANY(name, uint8_t, uint8_t, uint8_t, uint8_t, uint8_t, (a != 0) operator(b != 0), a operator b, a operator b, \
             a operator b)

#include "kernels/binary.def"
BINARY(add_, add_inner)
BINARY(mul_, mul_inner)

/* ---- powers ---- */

TD_BINARY_INNER(pow_i32, int32_t, uint32_t, (uint32_t)td_pow_i64((uint64_t)a, b))
TD_BINARY_INNER(pow_i64, int64_t, uint64_t, td_pow_i64((uint64_t)a, b))
TD_BINARY_INNER(power_f32, float, float, td_pow_f32(a, b))
TD_BINARY_INNER(power_f64, double, double, td_pow_f64(a, b))
TD_UNARY_INNER(square_f32, float, float, x *x)
TD_UNARY_INNER(square_f64, double, double, x *x)
TD_UNARY_INNER(root_f32, float, float, __builtin_sqrtf(x))
TD_UNARY_INNER(root_f64, double, double, __builtin_sqrt(x))

/* Squares and roots are what most powers are; theirs come rounded right from both ways. A root is nan of -inf and -0 of
 * -0, as in PyTorch, where the power is inf and 0: so one number has to be the exponent of all elements. */
static bool is_one_number(const struct td_operand *x)
{
    for (int d = 0; d < x->rank; d++)
        if (x->shape[d] > 1 && x->stride[d])
            return false;
    return true;
}
#define POW(type, real)                                                                                 \
    static void pow_##type(int64_t count, void *const *at, const int64_t *stride)                       \
    {                                                                                                   \
        real exponent = *(const real *)at[2];                                                           \
        td_inner *inner = exponent == 2 ? square_##type : exponent == 0.5 ? root_##type : power_##type; \
        inner(count, at, stride);                                                                       \
    }
POW(f32, float)
POW(f64, double)
static td_inner *const pow_inner[TD_DTYPE_LIMIT] = {
    [TD_I32] = pow_i32, [TD_I64] = pow_i64, [TD_F32] = pow_f32, [TD_F64] = pow_f64};
static td_inner *const power_inner[TD_DTYPE_LIMIT] = {
    [TD_I32] = pow_i32, [TD_I64] = pow_i64, [TD_F32] = power_f32, [TD_F64] = power_f64};
void TD_CPU(pow)(struct td_launch *launch)
{
    td_inner *const *inner = is_one_number(&launch->in[1]) ? pow_inner : power_inner;
    TD_CPU(iterate_launch)(inner[launch->in[0].dtype], launch);
}

/* ---- where ---- */

/* Only the size of an element matters. A number on either side is the usual case, and is read from its place. */
#define WHERE(name, type)                                                       \
    static void name(int64_t count, void *const *at, const int64_t *stride)     \
    {                                                                           \
        type *y = at[0];                                                        \
        const uint8_t *condition = at[1];                                       \
        const type *a = at[2], *b = at[3];                                      \
        int64_t sy = stride[0], sc = stride[1], sa = stride[2], sb = stride[3]; \
        if (sy == 1 && sc == 1 && sa == 1 && sb == 1) {                         \
            TD_INDEPENDENT                                                      \
            for (int64_t i = 0; i < count; i++) {                               \
                type first = a[i], second = b[i];                               \
                y[i] = condition[i] ? first : second;                           \
            }                                                                   \
        } else if (sy == 1 && sc == 1 && sa == 1 && sb == 0) {                  \
            type second = *b;                                                   \
            TD_INDEPENDENT                                                      \
            for (int64_t i = 0; i < count; i++) {                               \
                type first = a[i];                                              \
                y[i] = condition[i] ? first : second;                           \
            }                                                                   \
        } else if (sy == 1 && sc == 1 && sa == 0 && sb == 1) {                  \
            type first = *a;                                                    \
            TD_INDEPENDENT                                                      \
            for (int64_t i = 0; i < count; i++) {                               \
                type second = b[i];                                             \
                y[i] = condition[i] ? first : second;                           \
            }                                                                   \
        } else {                                                                \
            for (int64_t i = 0; i < count; i++)                                 \
                y[i * sy] = condition[i * sc] ? a[i * sa] : b[i * sb];          \
        }                                                                       \
    }
WHERE(where_1, uint8_t)
WHERE(where_4, uint32_t)
WHERE(where_8, uint64_t)
static td_inner *const where_inner[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = where_1, [TD_I32] = where_4, [TD_I64] = where_8, [TD_F32] = where_4, [TD_F64] = where_8};
BINARY(where, where_inner)

/* Where with its operands in another order. */
void TD_CPU(masked_fill)(struct td_launch *launch)
{
    TD_CPU(iterate)
    (where_inner[launch->out[0].dtype], 4,
     (const struct td_operand *[]){&launch->out[0], &launch->in[1], &launch->in[2], &launch->in[0]});
}
