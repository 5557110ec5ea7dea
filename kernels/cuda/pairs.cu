/* More elementwise ops of two and three tensors: division with a remainder, logic, bits, and mixtures.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/functors.h"
#include "kernels/functions.h"

/* ---- division ---- */

namespace
{
template <class T> struct is_zero {
    TD_HD bool operator()(T x) const
    {
        return x == 0;
    }
};
} // namespace

/* Of integers; or there is no memory to find out. */
static bool divides_by_zero(struct td_launch *launch)
{
    const struct td_operand &b = launch->in[1];
    bool found = b.dtype == TD_I32   ? td_map_finds<is_zero<int32_t>, int32_t>(launch, b)
                 : b.dtype == TD_I64 ? td_map_finds<is_zero<int64_t>, int64_t>(launch, b)
                                     : false;
    if (found)
        launch->fault.code = TD_E_ARGUMENT;
    return launch->fault.code != TD_E_OK;
}

#define DIVISION(name, of_i32, of_i64, of_f32, of_f64)                                                           \
    TD_FUNCTOR_2(name##_i32, int32_t, int32_t, of_i32)                                                           \
    TD_FUNCTOR_2(name##_i64, int64_t, int64_t, of_i64)                                                           \
    TD_FUNCTOR_2(name##_f32, float, float, of_f32)                                                               \
    TD_FUNCTOR_2(name##_f64, double, double, of_f64)                                                             \
    void TD_CUDA(name)(struct td_launch * launch)                                                                \
    {                                                                                                            \
        if (!divides_by_zero(launch))                                                                            \
            td_run_for<td_refused, name##_i32, name##_i64, name##_f32, name##_f64>(launch->in[1].dtype, launch); \
    }

/* ---- of three tensors and a number p ---- */

#define TRIPLE_FUNCTOR(name, type, expression)              \
    namespace                                               \
    {                                                       \
    struct name {                                           \
        typedef type element;                               \
        type p;                                             \
        TD_HD type operator()(type a, type b, type c) const \
        {                                                   \
            return (type)(expression);                      \
        }                                                   \
    };                                                      \
    }

template <class F> static void with_number(struct td_launch *launch, double p)
{
    typedef typename F::element T;
    td_map_launch<F, T, T, T, T>(launch, {td_element_of<T>(p, launch->out[0].dtype)});
}

#define TRIPLE_REAL(name, number, of_f32, of_f64)                                                                 \
    TRIPLE_FUNCTOR(name##_f32, float, of_f32)                                                                     \
    TRIPLE_FUNCTOR(name##_f64, double, of_f64)                                                                    \
    void TD_CUDA(name)(struct td_launch * launch)                                                                 \
    {                                                                                                             \
        [[maybe_unused]] const struct td_##name##_attrs *attrs = (const struct td_##name##_attrs *)launch->attrs; \
        if (launch->out[0].dtype == TD_F32)                                                                       \
            with_number<name##_f32>(launch, number);                                                              \
        else                                                                                                      \
            with_number<name##_f64>(launch, number);                                                              \
    }
/* Integers in unsigned arithmetic, which wraps. */
#define TRIPLE_NUMBER(name, number, of_numbers)                                                                   \
    TRIPLE_FUNCTOR(name##_i32, uint32_t, of_numbers)                                                              \
    TRIPLE_FUNCTOR(name##_i64, uint64_t, of_numbers)                                                              \
    TRIPLE_FUNCTOR(name##_f32, float, of_numbers)                                                                 \
    TRIPLE_FUNCTOR(name##_f64, double, of_numbers)                                                                \
    void TD_CUDA(name)(struct td_launch * launch)                                                                 \
    {                                                                                                             \
        [[maybe_unused]] const struct td_##name##_attrs *attrs = (const struct td_##name##_attrs *)launch->attrs; \
        switch (launch->out[0].dtype) {                                                                           \
        case TD_I32:                                                                                              \
            return with_number<name##_i32>(launch, number);                                                       \
        case TD_I64:                                                                                              \
            return with_number<name##_i64>(launch, number);                                                       \
        case TD_F32:                                                                                              \
            return with_number<name##_f32>(launch, number);                                                       \
        case TD_F64:                                                                                              \
            return with_number<name##_f64>(launch, number);                                                       \
        }                                                                                                         \
    }

#define PAIR_TRUTH(name, truth) TD_PAIR_TRUTH(name, truth, truth)
#define BITS(name, operator)                                               \
    TD_FUNCTOR_2(name##_bool, uint8_t, uint8_t, (a != 0) operator(b != 0)) \
    TD_FUNCTOR_2(name##_i32, uint32_t, uint32_t, a operator b)             \
    TD_FUNCTOR_2(name##_i64, uint64_t, uint64_t, a operator b)             \
    TD_LAUNCHER_WHOLE(name)

#define SHIFT(name, of_bool, of_i32, of_i64)             \
    TD_FUNCTOR_2(name##_bool, uint8_t, uint8_t, of_bool) \
    TD_FUNCTOR_2(name##_i32, int32_t, int32_t, of_i32)   \
    TD_FUNCTOR_2(name##_i64, int64_t, int64_t, of_i64)   \
    TD_LAUNCHER_WHOLE(name)

#include "kernels/pairs.def"
