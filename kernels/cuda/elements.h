/* Element types: how each is held in memory, what it is computed in, and how one becomes another.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_ELEMENTS_H
#define TD_KERNELS_CUDA_ELEMENTS_H

#include "kernels/cuda/internal.h"
#include "kernels/scalar.h"

/* wide(x): an element as what it is computed in. of(x): any of those as an element, with kernels/cpu/copy.c's rules:
 * reals become integers by way of i64, whose low part stays; halves are rounded from f32. */
struct td_as_bool {
    typedef uint8_t held;
    TD_HD static bool wide(held x)
    {
        return x != 0;
    }
    template <class T> TD_HD static held of(T x)
    {
        return x != 0;
    }
};
template <class H> struct td_as_integer {
    typedef H held;
    TD_HD static H wide(held x)
    {
        return x;
    }
    template <class T> TD_HD static held of(T x)
    {
        return (held)x;
    }
    TD_HD static held of(float x)
    {
        return (held)td_i64_of_f64((double)x);
    }
    TD_HD static held of(double x)
    {
        return (held)td_i64_of_f64(x);
    }
};
template <class H> struct td_as_real {
    typedef H held;
    TD_HD static H wide(held x)
    {
        return x;
    }
    template <class T> TD_HD static held of(T x)
    {
        return (held)x;
    }
};
struct td_as_f16 {
    typedef td_f16 held;
    TD_HD static float wide(held x)
    {
        return td_f32_of_f16(x);
    }
    template <class T> TD_HD static held of(T x)
    {
        return td_f16_of_f32((float)x);
    }
};
struct td_as_bf16 {
    typedef td_bf16 held;
    TD_HD static float wide(held x)
    {
        return td_f32_of_bf16(x);
    }
    template <class T> TD_HD static held of(T x)
    {
        return td_bf16_of_f32((float)x);
    }
};

/* Calls f.with<A>() for the type of a dtype. */
template <class F> static void td_for_dtype(uint8_t dtype, const F &f)
{
    switch (dtype) {
    case TD_BOOL:
        return f.template with<td_as_bool>();
    case TD_U8:
        return f.template with<td_as_integer<uint8_t>>();
    case TD_I8:
        return f.template with<td_as_integer<int8_t>>();
    case TD_I16:
        return f.template with<td_as_integer<int16_t>>();
    case TD_I32:
        return f.template with<td_as_integer<int32_t>>();
    case TD_I64:
        return f.template with<td_as_integer<int64_t>>();
    case TD_F16:
        return f.template with<td_as_f16>();
    case TD_BF16:
        return f.template with<td_as_bf16>();
    case TD_F32:
        return f.template with<td_as_real<float>>();
    case TD_F64:
        return f.template with<td_as_real<double>>();
    }
}

/* target = source, whatever their strides and dtypes; the source has the target's shape. copy.cu */
void td_cuda_copy(const struct td_operand &target, const struct td_operand &source);

#endif
