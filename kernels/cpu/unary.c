/* Elementwise ops of one tensor. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/scalar.h"

#define UNARY(name)                                                        \
    void TD_CPU(name)(struct td_launch * launch)                           \
    {                                                                      \
        TD_CPU(iterate_launch)(name##_inner[launch->in[0].dtype], launch); \
    }
/* Defined for real numbers only. */
#define UNARY_REAL(name)                                                                                  \
    TD_UNARY_INNER(name##_f32, float, float, td_##name##_f32(x))                                          \
    TD_UNARY_INNER(name##_f64, double, double, td_##name##_f64(x))                                        \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {[TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    UNARY(name)
/* Defined for integers too, in unsigned arithmetic, which wraps. */
#define UNARY_NUMBER(name, i64, f32, f64)                                     \
    TD_UNARY_INNER(name##_i64, uint64_t, uint64_t, i64)                       \
    TD_UNARY_INNER(name##_f32, float, float, f32)                             \
    TD_UNARY_INNER(name##_f64, double, double, f64)                           \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                   \
        [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    UNARY(name)

UNARY_REAL(exp)
UNARY_REAL(log)
UNARY_REAL(tanh)
UNARY_REAL(sigmoid)
UNARY_NUMBER(neg, 0 - x, -x, -x)
UNARY_NUMBER(square, x *x, x *x, x *x)
UNARY_NUMBER(relu, (int64_t)x > 0 ? x : 0, td_relu_f32(x), td_relu_f64(x))
