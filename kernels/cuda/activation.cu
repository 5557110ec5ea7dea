/* Activations, and other functions of one tensor and of numbers, which go with a functor by value.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/functors.h"
#include "kernels/functions.h"
#include "kernels/numbers.h"

#define FUNCTOR_OF_NUMBERS(name, type, expression) \
    namespace                                      \
    {                                              \
    struct name {                                  \
        typedef type element;                      \
        type p0, p1, p2;                           \
        TD_HD type operator()(type x) const        \
        {                                          \
            return (type)(expression);             \
        }                                          \
    };                                             \
    }

template <class F> static void with_numbers(struct td_launch *launch, double p0, double p1, double p2 = 0)
{
    typedef typename F::element T;
    uint8_t dtype = launch->out[0].dtype;
    F f = {td_element_of<T>(p0, dtype), td_element_of<T>(p1, dtype), td_element_of<T>(p2, dtype)};
    td_map_launch<F, T, T>(launch, f);
}

#define ACTIVATION(name, first, second)                                                                       \
    FUNCTOR_OF_NUMBERS(name##_f32, float, name##_of(f32))                                                     \
    FUNCTOR_OF_NUMBERS(name##_f64, double, name##_of(f64))                                                    \
    void TD_CUDA(name)(struct td_launch * launch)                                                             \
    {                                                                                                         \
        [[maybe_unused]] const struct td_##name##_attrs *a = (const struct td_##name##_attrs *)launch->attrs; \
        if (launch->out[0].dtype == TD_F32)                                                                   \
            with_numbers<name##_f32>(launch, first, second);                                                  \
        else                                                                                                  \
            with_numbers<name##_f64>(launch, first, second);                                                  \
    }

#define ACTIVATION_NUMBER(name, first, second)                                                                \
    FUNCTOR_OF_NUMBERS(name##_i32, int32_t, name##_of)                                                        \
    FUNCTOR_OF_NUMBERS(name##_i64, int64_t, name##_of)                                                        \
    FUNCTOR_OF_NUMBERS(name##_f32, float, name##_of)                                                          \
    FUNCTOR_OF_NUMBERS(name##_f64, double, name##_of)                                                         \
    void TD_CUDA(name)(struct td_launch * launch)                                                             \
    {                                                                                                         \
        [[maybe_unused]] const struct td_##name##_attrs *a = (const struct td_##name##_attrs *)launch->attrs; \
        switch (launch->out[0].dtype) {                                                                       \
        case TD_I32:                                                                                          \
            return with_numbers<name##_i32>(launch, first, second);                                           \
        case TD_I64:                                                                                          \
            return with_numbers<name##_i64>(launch, first, second);                                           \
        case TD_F32:                                                                                          \
            return with_numbers<name##_f32>(launch, first, second);                                           \
        case TD_F64:                                                                                          \
            return with_numbers<name##_f64>(launch, first, second);                                           \
        }                                                                                                     \
    }

#define REPLACE(suffix, type, sign, infinity) FUNCTOR_OF_NUMBERS(replace_##suffix, type, replaced(type, sign, infinity))

#include "kernels/activation.def"

void TD_CUDA(nan_to_num)(struct td_launch *launch)
{
    uint8_t dtype = launch->out[0].dtype;
    double nan, above, below;
    td_nan_to_num_numbers((const struct td_nan_to_num_attrs *)launch->attrs, dtype, &nan, &above, &below);
    switch (dtype) {
    case TD_F16:
        return with_numbers<replace_f16>(launch, nan, above, below);
    case TD_BF16:
        return with_numbers<replace_bf16>(launch, nan, above, below);
    case TD_F32:
        return with_numbers<replace_f32>(launch, nan, above, below);
    case TD_F64:
        return with_numbers<replace_f64>(launch, nan, above, below);
    default:
        td_cuda_copy(launch->out[0], launch->in[0]);
    }
}
