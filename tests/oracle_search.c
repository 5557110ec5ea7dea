/* The meaning of searches, histograms, and of the gamma function's logarithm and derivatives.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

/* ---- the gamma function: many terms, then a short series ---- */

#define TERMS 60

static long double digamma_of(long double x)
{
    long double sum = 0, pi = acosl(-1);
    if (x == 0)
        return -copysignl(INFINITY, x);
    if (x < 0)
        return x == floorl(x) ? NAN : digamma_of(1 - x) - pi / tanl(pi * (x - truncl(x)));
    for (int k = 0; k < TERMS; k++, x++)
        sum -= 1 / x;
    long double z = 1 / (x * x);
    return sum + logl(x) - 0.5L / x - z * (1.0L / 12 - z * (1.0L / 120 - z * (1.0L / 252 - z / 240)));
}

/* Of n from 1 on, and x > 0 or a pole. */
static long double polygamma_of(int64_t n, long double x)
{
    long double s = (long double)n + 1, sum = 0;
    if (x <= 0)
        return n % 2 ? INFINITY : -INFINITY;
    for (int k = 0; k < TERMS; k++, x++)
        sum += powl(x, -s);
    long double end = powl(x, -s), z = 1 / (x * x), rising = s * (s + 1) * (s + 2);
    sum += x * end / (s - 1) + end / 2 + s * end / x / 12 - rising * end / x * z / 720;
    sum += rising * (s + 3) * (s + 4) * end / x * z * z / 30240;
    return (n % 2 ? 1 : -1) * tgammal(s) * sum;
}

static void of_gamma(struct oracle_call *c, int64_t order)
{
    for (int64_t i = 0; i < c->out->count; i++) {
        long double x = c->in[0].real[seen_by(&c->in[0], c->out, i)];
        put(c->out, i, (double)(order < 0 ? lgammal(x) : order ? polygamma_of(order, x) : digamma_of(x)));
        c->out->scale[i] += order < 1 ? 1 : 0; /* they cross 0 */
    }
}

void oracle_lgamma(struct oracle_call *c)
{
    of_gamma(c, -1);
}

void oracle_digamma(struct oracle_call *c)
{
    of_gamma(c, 0);
}

void oracle_polygamma(struct oracle_call *c)
{
    of_gamma(c, ((const struct td_polygamma_attrs *)c->attrs)->n);
}

/* ---- searches ---- */

/* By walking along the row. */
void oracle_searchsorted(struct oracle_call *c)
{
    const struct oracle_tensor *sorted = &c->in[0], *values = &c->in[1];
    bool right = ((const struct td_searchsorted_attrs *)c->attrs)->right;
    int64_t size = sorted->shape[sorted->rank - 1], width = values->rank ? values->shape[values->rank - 1] : 1;
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t row = sorted->rank > 1 ? i / width * size : 0, at = 0;
        for (; at < size; at++) {
            bool behind = floating(values) ? (right ? sorted->real[row + at] > values->real[i]
                                                    : sorted->real[row + at] >= values->real[i])
                                           : (right ? sorted->integer[row + at] > values->integer[i]
                                                    : sorted->integer[row + at] >= values->integer[i]);
            if (behind)
                break;
        }
        c->out->integer[i] = at;
    }
}

void oracle_histc(struct oracle_call *c)
{
    const struct td_histc_attrs *a = c->attrs;
    const struct oracle_tensor *x = &c->in[0];
    double low = a->min, high = a->max;
    bool given = low != high, narrow = c->out->dtype == TD_F32;
    for (int64_t i = 0; !given && i < x->count; i++) {
        double e = (double)x->real[i];
        low = i && low < e ? low : e;
        high = i && high > e ? high : e;
        if (!isfinite(e)) {
            c->fault = TD_E_ARGUMENT;
            return;
        }
    }
    if (low == high) {
        low = narrow ? (float)low - 1.0f : low - 1;
        high = narrow ? (float)high + 1.0f : high + 1;
    }
    for (int64_t k = 0; k < a->bins; k++)
        put(c->out, k, 0);
    for (int64_t i = 0; i < x->count; i++) {
        double e = (double)x->real[i];
        if (!(e >= (narrow ? (float)low : low) && e <= (narrow ? (float)high : high)))
            continue;
        /* The borders of bins are those that the type's own roundings make. */
        float place = ((float)e - (float)low) * (float)a->bins / ((float)high - (float)low);
        int64_t bin = narrow ? (int64_t)place : (int64_t)((e - low) * (double)a->bins / (high - low));
        put(c->out, bin < a->bins ? bin : a->bins - 1, (double)c->out->real[bin < a->bins ? bin : a->bins - 1] + 1);
    }
}

/* ---- what is drawn is counted elsewhere; here, what cannot be drawn from ---- */

void oracle_bernoulli(struct oracle_call *c)
{
    c->drawn = true;
    for (int64_t i = 0; i < c->in[0].count; i++)
        if (!(c->in[0].real[i] >= 0 && c->in[0].real[i] <= 1))
            c->fault = TD_E_ARGUMENT;
}

void oracle_multinomial(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    c->drawn = true;
    for (int64_t i = 0; i < x->count; i++)
        if (!(x->real[i] >= 0))
            c->fault = TD_E_ARGUMENT;
}
