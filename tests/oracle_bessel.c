/* The meaning of the modified Bessel functions, and what poisson cannot draw from. SPDX-License-Identifier: Apache-2.0
 */
#include "tests/oracle_tools.h"

/* All terms of the power series that make a difference. */
static long double bessel(int order, long double x)
{
    long double term = order ? x / 2 : 1, sum = term;
    for (int k = 1; k < 600; k++)
        sum += term *= x * x / 4 / k / (k + order);
    return sum;
}

static void bessel_of(struct oracle_call *c, int order)
{
    for (int64_t i = 0; i < c->out->count; i++)
        put(c->out, i, (double)bessel(order, c->in[0].real[seen_by(&c->in[0], c->out, i)]));
}

void oracle_i0(struct oracle_call *c)
{
    bessel_of(c, 0);
}

void oracle_i1(struct oracle_call *c)
{
    bessel_of(c, 1);
}

void oracle_poisson(struct oracle_call *c)
{
    c->drawn = true;
    for (int64_t i = 0; i < c->in[0].count; i++)
        if (!(c->in[0].real[i] >= 0 && isfinite(c->in[0].real[i])))
            c->fault = TD_E_ARGUMENT;
}
