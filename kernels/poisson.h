/* Numbers of events, drawn from a stream of uniform numbers that is each element's own. SPDX-License-Identifier:
 * Apache-2.0 */
#ifndef TD_KERNELS_POISSON_H
#define TD_KERNELS_POISSON_H

#include <math.h>
#include <stdbool.h>

#include "kernels/scalar.h"

/* Uniform numbers without end: Philox under a key that was drawn for them. */
struct td_stream {
    uint64_t key, block;
    struct td_words words;
    bool second; /* words has another number */
};

TD_HD static inline double td_stream_next(struct td_stream *s)
{
    s->second = !s->second;
    if (!s->second)
        return td_uniform_f64(s->words.w2, s->words.w3);
    s->words = td_philox(s->key, s->block++);
    return td_uniform_f64(s->words.w0, s->words.w1);
}

/* log(k!) of a whole k: of the product while it is exact, then Stirling's series. Not libm's lgamma, whose last bits
 * are each system's own and could change what is drawn. */
TD_HD static inline double td_log_factorial(double k)
{
    double x = k + 1, z = 1 / (x * x), product = 1;
    for (double factor = 2; factor <= k && k < 10; factor++)
        product *= factor;
    double series = 1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z * (1.0 / 1188))));
    double far = (x - 0.5) * td_log_f64(x) - x + 0.91893853320467274178 + series / x;
    return k < 10 ? td_log_f64(product) : far;
}

/* How many numbers can be multiplied before the product falls below exp(-rate): a short walk for a small rate. */
TD_HD static inline double td_poisson_walk(struct td_stream *s, double rate)
{
    double least = td_exp_f64(-rate), product = td_stream_next(s), count = 0;
    for (; product > least; count++)
        product *= td_stream_next(s);
    return count;
}

/* Transformed rejection with squeeze: W. Hoermann, The transformed rejection method for generating Poisson random
 * variables, 1993, algorithm PTRS, for rates of 10 and more. Of a try at least 4 in 5 are taken at once. */
TD_HD static inline double td_poisson_rejection(struct td_stream *s, double rate)
{
    double log_rate = td_log_f64(rate), b = 0.931 + 2.53 * __builtin_sqrt(rate), a = -0.059 + 0.02483 * b;
    double inverse = 1.1239 + 1.1328 / (b - 3.4), quick = 0.9277 - 3.6224 / (b - 2);
    for (;;) {
        double u = td_stream_next(s) - 0.5, v = td_stream_next(s), rest = 0.5 - fabs(u);
        double k = __builtin_floor((2 * a / rest + b) * u + rate + 0.43);
        if (rest >= 0.07 && v <= quick)
            return k;
        if (!(k >= 0) || (rest < 0.013 && v > rest))
            continue;
        if (td_log_f64(v * inverse / (a / (rest * rest) + b)) <= k * log_rate - rate - td_log_factorial(k))
            return k;
    }
}

TD_HD static inline double td_poisson(uint64_t key, double rate)
{
    struct td_stream stream = {key, 0, {0, 0, 0, 0}, false};
    return rate < 10 ? td_poisson_walk(&stream, rate) : td_poisson_rejection(&stream, rate);
}

#endif
