/* lgamma and its derivatives. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gamma.h"
#include "kernels/cpu/unary.h"

UNARY_REAL(lgamma)
UNARY_REAL(digamma)

/* The order goes with x as one more source of one element. */
#define POLYGAMMA(name, type)                                                  \
    static void name(int64_t count, void *const *at, const int64_t *stride)    \
    {                                                                          \
        int64_t order = *(const int64_t *)at[2];                               \
        for (int64_t i = 0; i < count; i++) {                                  \
            double x = (double)((const type *)at[1])[i * stride[1]];           \
            ((type *)at[0])[i * stride[0]] = (type)td_polygamma_f64(order, x); \
        }                                                                      \
    }
POLYGAMMA(polygamma_f32, float)
POLYGAMMA(polygamma_f64, double)

void TD_CPU(polygamma)(struct td_launch *launch)
{
    int64_t n = ((const struct td_polygamma_attrs *)launch->attrs)->n;
    struct td_operand order = launch->out[0];
    order.data = &n;
    order.dtype = TD_I64;
    memset(order.stride, 0, sizeof order.stride);
    TD_CPU(iterate)
    (launch->out[0].dtype == TD_F32 ? polygamma_f32 : polygamma_f64, 3,
     (const struct td_operand *[]){&launch->out[0], &launch->in[0], &order});
}
