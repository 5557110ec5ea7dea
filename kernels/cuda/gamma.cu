/* lgamma and its derivatives. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/functors.h"
#include "kernels/gamma.h"

UNARY_REAL(lgamma)
UNARY_REAL(digamma)

namespace
{
template <class T> struct polygamma_of {
    int64_t order;
    TD_HD T operator()(T x) const
    {
        return (T)td_polygamma_f64(order, (double)x);
    }
};
} // namespace

void TD_CUDA(polygamma)(struct td_launch *launch)
{
    int64_t n = ((const struct td_polygamma_attrs *)launch->attrs)->n;
    if (launch->out[0].dtype == TD_F32)
        td_map_launch<polygamma_of<float>, float, float>(launch, {n});
    else
        td_map_launch<polygamma_of<double>, double, double>(launch, {n});
}
