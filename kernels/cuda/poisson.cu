/* poisson, with the CPU's bits: each element draws from a stream of its own, under a key that is half a block.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/draw.h"
#include "kernels/poisson.h"

namespace
{
template <class T> struct is_no_rate {
    TD_HD bool operator()(T rate) const
    {
        return !(rate >= 0 && rate - rate == 0);
    }
};
template <class T> struct events {
    TD_HD void operator()(struct td_words w, const T *rate, T *y) const
    {
        y[0] = (T)td_poisson((uint64_t)w.w1 << 32 | w.w0, (double)rate[0]);
        y[1] = (T)td_poisson((uint64_t)w.w3 << 32 | w.w2, (double)rate[1]);
    }
};
} // namespace

template <class T> static void draw_events(struct td_launch *launch)
{
    if (td_map_finds<is_no_rate<T>, T>(launch, launch->in[0])) {
        launch->fault.code = TD_E_ARGUMENT;
        launch->fault.why = "a rate is negative, infinite or nan";
    }
    if (!launch->fault.code)
        td_draw<events<T>, T, 2>(launch);
}

void TD_CUDA(poisson)(struct td_launch *launch)
{
    if (launch->out[0].dtype == TD_F32)
        draw_events<float>(launch);
    else
        draw_events<double>(launch);
}
