/* Elementwise functions of one tensor: rounding, logarithms, trigonometry, questions. SPDX-License-Identifier:
 * Apache-2.0 */
#include "kernels/functions.h"
#include "kernels/cpu/unary.h"

UNARY_NUMBER(floor, x, __builtin_floorf(x), __builtin_floor(x))
UNARY_NUMBER(ceil, x, __builtin_ceilf(x), __builtin_ceil(x))
UNARY_NUMBER(round, x, __builtin_rintf(x), __builtin_rint(x))
UNARY_NUMBER(trunc, x, __builtin_truncf(x), __builtin_trunc(x))

#define td_frac_f32(x) (x - __builtin_truncf(x))
#define td_frac_f64(x) (x - __builtin_trunc(x))
UNARY_REAL(frac)
UNARY_REAL(exp2)
UNARY_REAL(expm1)
UNARY_REAL(log2)
UNARY_REAL(log10)
UNARY_REAL(log1p)
UNARY_REAL(tan)
UNARY_REAL(asin)
UNARY_REAL(acos)
UNARY_REAL(atan)
UNARY_REAL(sinh)
UNARY_REAL(cosh)
UNARY_REAL(asinh)
UNARY_REAL(acosh)
UNARY_REAL(atanh)
UNARY_REAL(erfc)
UNARY_REAL(erfinv)
UNARY_REAL(sinc)
UNARY_REAL(logsigmoid)
UNARY_REAL(mish)

/* ---- questions ---- */

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
QUESTION(isnan, 0, x != x)
QUESTION(isinf, 0, (x == x) & (x - x != 0))
QUESTION(isfinite, 1, x - x == 0)
QUESTION(logical_not, x == 0, x == 0)

TD_UNARY_INNER(bitwise_not_bool, uint8_t, uint8_t, x == 0)
TD_UNARY_INNER(bitwise_not_i32, uint32_t, uint32_t, ~x)
TD_UNARY_INNER(bitwise_not_i64, uint64_t, uint64_t, ~x)
static td_inner *const bitwise_not_inner[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = bitwise_not_bool, [TD_I32] = bitwise_not_i32, [TD_I64] = bitwise_not_i64};
UNARY(bitwise_not)
