/* The meaning of pools: each window by itself. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

static int64_t given(const struct td_dims *sizes, int d, int64_t otherwise)
{
    return sizes->count < 1 ? otherwise : sizes->v[sizes->count == 1 ? 0 : d];
}

void oracle_max_pool2d(struct oracle_call *c)
{
    const struct td_max_pool2d_attrs *a = c->attrs;
    const struct oracle_tensor *x = &c->in[0];
    struct oracle_tensor *y = &c->out[0];
    int rank = c->op->name[strlen(c->op->name) - 2] - '0', first = x->rank - rank;
    int64_t pixels = behind(x, first - 1), taps = 1;
    for (int d = 0; d < rank; d++)
        taps *= given(&a->kernel_size, d, 1);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t channel = i / behind(y, first - 1), best = -1;
        long double most = -INFINITY;
        for (int64_t t = 0; t < taps; t++) {
            int64_t at = 0, rest = taps, tap = t;
            bool inside = true;
            for (int d = 0; d < rank; d++) {
                int64_t kernel = given(&a->kernel_size, d, 1);
                rest /= kernel;
                int64_t k = coordinate(y, i, first + d) * given(&a->stride, d, kernel) - given(&a->padding, d, 0) +
                            tap / rest * given(&a->dilation, d, 1);
                tap %= rest;
                inside = inside && k >= 0 && k < x->shape[first + d];
                at = at * x->shape[first + d] + k;
            }
            if (!inside)
                continue;
            long double value = x->real[channel * pixels + at];
            if (best < 0 || value > most || isnan(value))
                best = at, most = value;
        }
        put(y, i, (double)most);
        c->out[1].integer[i] = best < 0 ? 0 : best;
    }
}

void oracle_max_pool1d(struct oracle_call *c)
{
    oracle_max_pool2d(c);
}

void oracle_max_pool3d(struct oracle_call *c)
{
    oracle_max_pool2d(c);
}
