/* Copies, conversions and fills. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/map.h"
#include "kernels/cuda/elements.h"

struct same {
    template <class X> TD_HD X operator()(X x) const
    {
        return x;
    }
};

/* Bytes are moved; only their number matters. */
static void move(const struct td_operand &target, const struct td_operand &source)
{
    switch (td_dtype_size(target.dtype)) {
    case 1:
        td_map<same, uint8_t, uint8_t>(same(), target, {&source});
        break;
    case 2:
        td_map<same, uint16_t, uint16_t>(same(), target, {&source});
        break;
    case 4:
        td_map<same, uint32_t, uint32_t>(same(), target, {&source});
        break;
    case 8:
        td_map<same, uint64_t, uint64_t>(same(), target, {&source});
        break;
    }
}

template <class Y, class X> struct converted {
    TD_HD auto operator()(typename X::held x) const
    {
        return Y::of(X::wide(x));
    }
};

template <class X> struct convert_from {
    const struct td_operand &target, &source;
    template <class Y> void with() const
    {
        td_map<converted<Y, X>, typename Y::held, typename X::held>(converted<Y, X>(), target, {&source});
    }
};

struct convert_between {
    const struct td_operand &target, &source;
    template <class X> void with() const
    {
        td_for_dtype(target.dtype, convert_from<X>{target, source});
    }
};

void td_cuda_copy(const struct td_operand &target, const struct td_operand &source)
{
    if (target.dtype == source.dtype)
        move(target, source);
    else
        td_for_dtype(source.dtype, convert_between{target, source});
}

void TD_CUDA(clone)(struct td_launch *launch)
{
    td_cuda_copy(launch->out[0], launch->in[0]);
}

void TD_CUDA(to)(struct td_launch *launch)
{
    td_cuda_copy(launch->out[0], launch->in[0]);
}

/* The target is the first input, and the result. */
void TD_CUDA(copy_)(struct td_launch *launch)
{
    td_cuda_copy(launch->out[0], launch->in[1]);
}

void TD_CUDA(fill_)(struct td_launch *launch)
{
    td_cuda_copy(launch->out[0], launch->in[1]);
}

void TD_CUDA(full_like)(struct td_launch *launch)
{
    td_cuda_copy(launch->out[0], launch->in[1]);
}
