/* The limits. Sums in any order, and libm's vector functions: results matter less than time here.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef __clang__ /* which has no such wish; its limits are a little higher */
#pragma GCC optimize("fast-math")
#endif
#include "tests/bench/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"

static float *x, *y;
static size_t bytes_there;
static volatile float sink;

/* x of values between -3 and 3, and y, both touched before anybody measures. */
static void provide(size_t bytes)
{
    if (bytes <= bytes_there)
        return;
    free(x);
    free(y);
    x = malloc(bytes);
    y = malloc(bytes);
    if (!x || !y)
        abort();
    for (size_t k = 0; k < bytes / sizeof *x; k++)
        x[k] = (float)(k % 601) / 100 - 3;
    memset(y, 0, bytes);
    bytes_there = bytes;
}

#define ELEMENTWISE(name, expression)           \
    double limit_##name(size_t count)           \
    {                                           \
        provide(count * sizeof *x);             \
        const float *restrict from = x;         \
        float *restrict to = y;                 \
        double start = bench_now_s();           \
        for (size_t k = 0; k < count; k++) {    \
            float v = from[k];                  \
            to[k] = expression;                 \
        }                                       \
        double seconds = bench_now_s() - start; \
        sink = to[count / 2];                   \
        return seconds;                         \
    }

ELEMENTWISE(exp, expf(v))
/* tanh by one exponential, which is cheaper than libm's. */
ELEMENTWISE(tanh, 1 - 2 / (expf(2 * v) + 1))
ELEMENTWISE(gelu, v - v / (expf(1.5957691216f * (v + 0.044715f * v * v * v)) + 1))

double limit_sum(size_t count)
{
    provide(count * sizeof *x);
    const float *from = x;
    float sum = 0;
    double start = bench_now_s();
    for (size_t k = 0; k < count; k++)
        sum += from[k];
    sink = sum;
    return bench_now_s() - start;
}

double limit_move(size_t bytes)
{
    provide(bytes / 2);
    double start = bench_now_s();
    memcpy(y, x, bytes / 2);
    sink = y[bytes / 16];
    return bench_now_s() - start;
}
