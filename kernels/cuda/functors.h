/* How elementwise kernels are written, a line each: a functor of elements of type X that gives a Y, in an expression,
 * and launchers that choose one by dtype. The expressions stand in kernels/ and are the CPU's too.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_FUNCTORS_H
#define TD_KERNELS_CUDA_FUNCTORS_H

#include "kernels/cuda/map.h"

/* Of one file each: another may give a functor the same name. */
#define TD_FUNCTOR_1(name, X, Y, expression) \
    namespace                                \
    {                                        \
    struct name {                            \
        TD_HD Y operator()(X x) const        \
        {                                    \
            (void)x;                         \
            return (Y)(expression);          \
        }                                    \
        static void run(struct td_launch *l) \
        {                                    \
            td_map_launch<name, Y, X>(l);    \
        }                                    \
    };                                       \
    }
#define TD_FUNCTOR_2(name, X, Y, expression) \
    namespace                                \
    {                                        \
    struct name {                            \
        TD_HD Y operator()(X a, X b) const   \
        {                                    \
            return (Y)(expression);          \
        }                                    \
        static void run(struct td_launch *l) \
        {                                    \
            td_map_launch<name, Y, X, X>(l); \
        }                                    \
    };                                       \
    }

/* What no launch comes with: inference refuses the dtype. */
struct td_refused {
    static void run(struct td_launch *launch)
    {
        (void)launch;
    }
};

/* Runs the functor of the dtype. */
template <class Bool, class I32, class I64, class F32, class F64>
static void td_run_for(uint8_t dtype, struct td_launch *launch)
{
    switch (dtype) {
    case TD_BOOL:
        return Bool::run(launch);
    case TD_I32:
        return I32::run(launch);
    case TD_I64:
        return I64::run(launch);
    case TD_F32:
        return F32::run(launch);
    case TD_F64:
        return F64::run(launch);
    }
}

/* An op that has functors for some dtypes, by that of its last input. */
#define TD_LAUNCHER(name, boolean, i32, i64, f32, f64)                                           \
    void TD_CUDA(name)(struct td_launch * launch)                                                \
    {                                                                                            \
        td_run_for<boolean, i32, i64, f32, f64>(launch->in[launch->in_count - 1].dtype, launch); \
    }
#define TD_LAUNCHER_ANY(name) TD_LAUNCHER(name, name##_bool, name##_i32, name##_i64, name##_f32, name##_f64)
#define TD_LAUNCHER_NUMBER(name) TD_LAUNCHER(name, td_refused, name##_i32, name##_i64, name##_f32, name##_f64)
#define TD_LAUNCHER_REAL(name) TD_LAUNCHER(name, td_refused, td_refused, td_refused, name##_f32, name##_f64)
#define TD_LAUNCHER_WHOLE(name) TD_LAUNCHER(name, name##_bool, name##_i32, name##_i64, td_refused, td_refused)

/* The words of unary.def. */
#define UNARY_REAL(name)                                         \
    TD_FUNCTOR_1(name##_f32, float, float, td_##name##_f32(x))   \
    TD_FUNCTOR_1(name##_f64, double, double, td_##name##_f64(x)) \
    TD_LAUNCHER_REAL(name)
#define TD_FUNCTOR_SIGNED(name, X, V, expression) \
    namespace                                     \
    {                                             \
    struct name {                                 \
        TD_HD static X of(X x, V v)               \
        {                                         \
            (void)x, (void)v;                     \
            return (X)(expression);               \
        }                                         \
        TD_HD X operator()(X x) const             \
        {                                         \
            return of(x, (V)x);                   \
        }                                         \
        static void run(struct td_launch *l)      \
        {                                         \
            td_map_launch<name, X, X>(l);         \
        }                                         \
    };                                            \
    }
#define UNARY_NUMBER(name, integer, f32, f64)                 \
    TD_FUNCTOR_SIGNED(name##_i32, uint32_t, int32_t, integer) \
    TD_FUNCTOR_SIGNED(name##_i64, uint64_t, int64_t, integer) \
    TD_FUNCTOR_1(name##_f32, float, float, f32)               \
    TD_FUNCTOR_1(name##_f64, double, double, f64)             \
    TD_LAUNCHER_NUMBER(name)

/* Those of binary.def that pairs.def has too. */
#define PAIR_REAL(name, of_f32, of_f64)              \
    TD_FUNCTOR_2(name##_f32, float, float, of_f32)   \
    TD_FUNCTOR_2(name##_f64, double, double, of_f64) \
    TD_LAUNCHER_REAL(name)
#define PAIR_SAME(name, of_bool, of_integers, of_f32, of_f64) \
    TD_FUNCTOR_2(name##_bool, uint8_t, uint8_t, of_bool)      \
    TD_FUNCTOR_2(name##_i32, int32_t, int32_t, of_integers)   \
    TD_FUNCTOR_2(name##_i64, int64_t, int64_t, of_integers)   \
    TD_FUNCTOR_2(name##_f32, float, float, of_f32)            \
    TD_FUNCTOR_2(name##_f64, double, double, of_f64)          \
    TD_LAUNCHER_ANY(name)
#define TD_PAIR_TRUTH(name, of_bool, of_others)           \
    TD_FUNCTOR_2(name##_bool, uint8_t, uint8_t, of_bool)  \
    TD_FUNCTOR_2(name##_i32, int32_t, uint8_t, of_others) \
    TD_FUNCTOR_2(name##_i64, int64_t, uint8_t, of_others) \
    TD_FUNCTOR_2(name##_f32, float, uint8_t, of_others)   \
    TD_FUNCTOR_2(name##_f64, double, uint8_t, of_others)  \
    TD_LAUNCHER_ANY(name)

/* A number as an element of type T, which is dtype's. */
template <class T> static T td_element_of(struct td_number number, uint8_t dtype)
{
    uint64_t bits = 0;
    T element;
    td_number_store(number, dtype, &bits);
    memcpy(&element, &bits, sizeof element);
    return element;
}
template <class T> static T td_element_of(double number, uint8_t dtype)
{
    struct td_number real = {TD_FLOATING, {0}};
    real.f = number;
    return td_element_of<T>(real, dtype);
}

#endif
