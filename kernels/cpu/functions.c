/* Elementwise functions of one tensor: rounding, logarithms, trigonometry, questions. SPDX-License-Identifier:
 * Apache-2.0 */
#include "kernels/functions.h"
#include "kernels/cpu/unary.h"

#define QUESTION(name, of_integers, of_reals)                                       \
    TD_UNARY_INNER(name##_bool, uint8_t, uint8_t, ((void)x, of_integers))           \
    TD_UNARY_INNER(name##_i32, int32_t, uint8_t, ((void)x, of_integers))            \
    TD_UNARY_INNER(name##_i64, int64_t, uint8_t, ((void)x, of_integers))            \
    TD_UNARY_INNER(name##_f32, float, uint8_t, of_reals)                            \
    TD_UNARY_INNER(name##_f64, double, uint8_t, of_reals)                           \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {[TD_BOOL] = name##_bool, \
                                                           [TD_I32] = name##_i32,   \
                                                           [TD_I64] = name##_i64,   \
                                                           [TD_F32] = name##_f32,   \
                                                           [TD_F64] = name##_f64};  \
    UNARY(name)
#define UNARY_WHOLE(name, of_bool, of_integers)                                 \
    TD_UNARY_INNER(name##_bool, uint8_t, uint8_t, of_bool)                      \
    TD_UNARY_INNER(name##_i32, uint32_t, uint32_t, of_integers)                 \
    TD_UNARY_INNER(name##_i64, uint64_t, uint64_t, of_integers)                 \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                     \
        [TD_BOOL] = name##_bool, [TD_I32] = name##_i32, [TD_I64] = name##_i64}; \
    UNARY(name)
#include "kernels/functions.def"
