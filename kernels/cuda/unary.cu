/* Elementwise ops of one tensor. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/functors.h"
#include "kernels/numbers.h"
#include "kernels/scalar.h"
#include "kernels/special.h"

UNARY_REAL(sin)
UNARY_REAL(cos)
#include "kernels/unary.def"

/* ---- gelu in its two forms ---- */

TD_FUNCTOR_1(gelu_f32, float, float, td_gelu_f32(x))
TD_FUNCTOR_1(gelu_f64, double, double, td_gelu_f64(x))
TD_FUNCTOR_1(gelu_tanh_f32, float, float, td_gelu_tanh_f32(x))
TD_FUNCTOR_1(gelu_tanh_f64, double, double, td_gelu_tanh_f64(x))

void TD_CUDA(gelu)(struct td_launch *launch)
{
    bool narrow = launch->in[0].dtype == TD_F32;
    if (((const struct td_gelu_attrs *)launch->attrs)->tanh_form)
        narrow ? gelu_tanh_f32::run(launch) : gelu_tanh_f64::run(launch);
    else
        narrow ? gelu_f32::run(launch) : gelu_f64::run(launch);
}

/* ---- clamp ---- */

namespace
{
template <class T> struct clamped {
    T low, high;
    TD_HD T operator()(T x) const
    {
        T y = x < low ? low : x;
        return y > high ? high : y;
    }
};
template <class T> struct clamp_as {
    static void run(struct td_launch *launch, struct td_number low, struct td_number high)
    {
        uint8_t dtype = launch->out[0].dtype;
        clamped<T> f = {td_element_of<T>(low, dtype), td_element_of<T>(high, dtype)};
        td_map_launch<clamped<T>, T, T>(launch, f);
    }
};
} // namespace

static void clamp_between(struct td_launch *launch, struct td_number low, struct td_number high)
{
    switch (launch->out[0].dtype) {
    case TD_I32:
        return clamp_as<int32_t>::run(launch, low, high);
    case TD_I64:
        return clamp_as<int64_t>::run(launch, low, high);
    case TD_F32:
        return clamp_as<float>::run(launch, low, high);
    case TD_F64:
        return clamp_as<double>::run(launch, low, high);
    }
}

void TD_CUDA(clamp)(struct td_launch *launch)
{
    struct td_number low, high;
    td_clamp_bounds((const struct td_clamp_attrs *)launch->attrs, launch->out[0].dtype, &low, &high);
    clamp_between(launch, low, high);
}

/* Its bounds are cut towards 0 for integers, as PyTorch's are. */
void TD_CUDA(hardtanh)(struct td_launch *launch)
{
    const struct td_hardtanh_attrs *a = (const struct td_hardtanh_attrs *)launch->attrs;
    clamp_between(launch, td_real_number(a->min_val), td_real_number(a->max_val));
}

void TD_CUDA(relu6)(struct td_launch *launch)
{
    clamp_between(launch, td_real_number(0), td_real_number(6));
}
