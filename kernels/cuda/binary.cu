/* Elementwise ops of two tensors. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/map.h"
#include "kernels/scalar.h"

/* A functor of two elements of type X that gives a Y. */
#define BINARY(name, X, Y, expression)          \
    struct name {                               \
        TD_HD Y operator()(X a, X b) const      \
        {                                       \
            return (Y)(expression);             \
        }                                       \
    };                                          \
    static void name##_run(struct td_launch *l) \
    {                                           \
        td_map_launch<name, Y, X, X>(l);        \
    }

/* By the dtype of the operands. */
#define LAUNCH(name, boolean, i32, i64, f32, f64) \
    void TD_CUDA(name)(struct td_launch * launch) \
    {                                             \
        switch (launch->in[1].dtype) {            \
        case TD_BOOL:                             \
            return boolean(launch);               \
        case TD_I32:                              \
            return i32(launch);                   \
        case TD_I64:                              \
            return i64(launch);                   \
        case TD_F32:                              \
            return f32(launch);                   \
        case TD_F64:                              \
            return f64(launch);                   \
        }                                         \
    }

static void refused(struct td_launch *launch)
{
    (void)launch; /* inference lets no such dtype through */
}

/* Integers in unsigned arithmetic, which wraps. */
#define ARITHMETIC(name, expression, boolean)          \
    BINARY(name##_i32, uint32_t, uint32_t, expression) \
    BINARY(name##_i64, uint64_t, uint64_t, expression) \
    BINARY(name##_f32, float, float, expression)       \
    BINARY(name##_f64, double, double, expression)     \
    LAUNCH(name, boolean, name##_i32_run, name##_i64_run, name##_f32_run, name##_f64_run)

BINARY(or_bool, uint8_t, uint8_t, (a | b) != 0)
BINARY(and_bool, uint8_t, uint8_t, (a != 0) & (b != 0))
ARITHMETIC(add, a + b, or_bool_run)
ARITHMETIC(sub, a - b, refused)
ARITHMETIC(mul, a *b, and_bool_run)
ARITHMETIC(rsub, b - a, refused)
LAUNCH(add_, or_bool_run, add_i32_run, add_i64_run, add_f32_run, add_f64_run)
LAUNCH(mul_, and_bool_run, mul_i32_run, mul_i64_run, mul_f32_run, mul_f64_run)
