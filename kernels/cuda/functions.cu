/* Elementwise functions of one tensor: rounding, logarithms, trigonometry, questions. SPDX-License-Identifier:
 * Apache-2.0 */
#include "kernels/cuda/functors.h"
#include "kernels/functions.h"

#define QUESTION(name, of_integers, of_reals)                \
    TD_FUNCTOR_1(name##_bool, uint8_t, uint8_t, of_integers) \
    TD_FUNCTOR_1(name##_i32, int32_t, uint8_t, of_integers)  \
    TD_FUNCTOR_1(name##_i64, int64_t, uint8_t, of_integers)  \
    TD_FUNCTOR_1(name##_f32, float, uint8_t, of_reals)       \
    TD_FUNCTOR_1(name##_f64, double, uint8_t, of_reals)      \
    TD_LAUNCHER_ANY(name)
#define UNARY_WHOLE(name, of_bool, of_integers)               \
    TD_FUNCTOR_1(name##_bool, uint8_t, uint8_t, of_bool)      \
    TD_FUNCTOR_1(name##_i32, uint32_t, uint32_t, of_integers) \
    TD_FUNCTOR_1(name##_i64, uint64_t, uint64_t, of_integers) \
    TD_LAUNCHER_WHOLE(name)

#include "kernels/functions.def"
