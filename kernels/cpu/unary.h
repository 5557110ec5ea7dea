/* How kernels of one tensor are written, a line each. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_UNARY_H
#define TD_KERNELS_CPU_UNARY_H

#include "kernels/cpu/iterate.h"

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
/* Defined for integers too, in unsigned arithmetic, which wraps; whole is the signed type of x. */
#define UNARY_NUMBER(name, integer, f32, f64)                                                        \
    TD_UNARY_INNER(name##_i32, uint32_t, uint32_t, WITH_SIGN(integer, int32_t))                      \
    TD_UNARY_INNER(name##_i64, uint64_t, uint64_t, WITH_SIGN(integer, int64_t))                      \
    TD_UNARY_INNER(name##_f32, float, float, f32)                                                    \
    TD_UNARY_INNER(name##_f64, double, double, f64)                                                  \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                                          \
        [TD_I32] = name##_i32, [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    UNARY(name)
/* An expression over x as it stands and over its value v with a sign. */
#define WITH_SIGN(expression, type) \
    ({                              \
        type v = (type)x;           \
        (void)v;                    \
        expression;                 \
    })

#endif
