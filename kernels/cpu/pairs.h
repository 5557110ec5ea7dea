/* How kernels of two tensors are written, a line each. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_PAIRS_H
#define TD_KERNELS_CPU_PAIRS_H

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
/* Of every dtype. */
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

#endif
