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

/* A pool of means: sizes of windows, or none for adaptive ones. */
struct means {
    const struct td_dims *kernel, *stride, *padding;
    int64_t divisor;
    bool includes_padding;
};

/* Where window i begins and ends in a dimension of size, of which there are count. */
static void ends_of(const struct means *m, int d, int64_t i, int64_t size, int64_t count, int64_t *first, int64_t *last)
{
    *first = i * size / count;
    *last = ((i + 1) * size + count - 1) / count;
    if (!m->kernel)
        return;
    int64_t kernel = given(m->kernel, d, 1), edge = given(m->padding, d, 0);
    *first = i * given(m->stride, d, kernel) - edge;
    *last = *first + kernel < size + edge ? *first + kernel : size + edge;
}

/* For each window and each element under it, its share: of x for y, or the other way round. */
static void share(const struct means *m, struct oracle_tensor *x, struct oracle_tensor *y, int rank, bool back)
{
    int first = x->rank - rank;
    int64_t pixels = behind(x, first - 1), places = behind(y, first - 1), low, high;
    for (int64_t i = 0; i < y->count; i++) {
        int64_t count = 1, all = 1;
        for (int d = 0; d < rank; d++) {
            int64_t size = x->shape[first + d], seen = 0;
            ends_of(m, d, coordinate(y, i, first + d), size, y->shape[first + d], &low, &high);
            for (int64_t k = low; k < high; k++)
                seen += k >= 0 && k < size;
            count *= seen;
            all *= high - low;
        }
        long double divisor = m->divisor ? m->divisor : m->includes_padding ? all : count;
        for (int64_t p = 0; p < pixels; p++) {
            int64_t at = i / places * pixels + p;
            bool inside = true;
            for (int d = 0; d < rank; d++) {
                int64_t k = coordinate(x, at, first + d);
                ends_of(m, d, coordinate(y, i, first + d), x->shape[first + d], y->shape[first + d], &low, &high);
                inside = inside && k >= low && k < high;
            }
            if (!inside)
                continue;
            struct oracle_tensor *from = back ? y : x, *to = back ? x : y;
            if (!floating(to)) { /* which is divided once */
                to->integer[i] = WRAP(to->integer[i], +, from->integer[at]);
                continue;
            }
            long double part = from->real[back ? i : at] / divisor;
            to->real[back ? at : i] += part;
            to->scale[back ? at : i] += (double)fabsl(part);
        }
        if (!floating(y)) {
            int64_t sum = y->dtype == TD_I32 ? (int32_t)y->integer[i] : y->integer[i]; /* which wraps */
            y->integer[i] = sum / (int64_t)divisor;
        }
    }
}

void oracle_avg_pool2d(struct oracle_call *c)
{
    const struct td_avg_pool2d_attrs *a = c->attrs;
    struct means m = {&a->kernel_size, &a->stride, &a->padding, a->divisor_override, a->count_include_pad};
    share(&m, &c->in[0], c->out, c->op->name[strlen(c->op->name) - 2] - '0', false);
}

void oracle_avg_pool1d(struct oracle_call *c)
{
    oracle_avg_pool2d(c);
}

void oracle_avg_pool3d(struct oracle_call *c)
{
    oracle_avg_pool2d(c);
}

void oracle_avg_pool_back(struct oracle_call *c)
{
    const struct td_avg_pool_back_attrs *a = c->attrs;
    struct means m = {&a->kernel_size, &a->stride, &a->padding, a->divisor_override, a->count_include_pad};
    m = a->adaptive ? (struct means){0} : m;
    share(&m, c->out, &c->in[0], (int)a->size.count, true);
}

void oracle_adaptive_max_pool2d(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    struct oracle_tensor *y = &c->out[0];
    int rank = c->op->name[strlen(c->op->name) - 2] - '0', first = x->rank - rank;
    int64_t pixels = behind(x, first - 1), places = behind(y, first - 1), low, high;
    for (int64_t i = 0; i < y->count; i++) {
        int64_t best = -1;
        long double most = -INFINITY;
        for (int64_t p = 0; p < pixels; p++) {
            int64_t at = i / places * pixels + p;
            bool inside = true;
            for (int d = 0; d < rank; d++) {
                int64_t k = coordinate(x, at, first + d);
                ends_of(&(struct means){0}, d, coordinate(y, i, first + d), x->shape[first + d], y->shape[first + d],
                        &low, &high);
                inside = inside && k >= low && k < high;
            }
            long double value = x->real[at];
            if (inside && (best < 0 || value > most || isnan(value)))
                best = p, most = value;
        }
        put(y, i, (double)most);
        c->out[1].integer[i] = best;
    }
}

void oracle_adaptive_max_pool1d(struct oracle_call *c)
{
    oracle_adaptive_max_pool2d(c);
}

void oracle_adaptive_max_pool3d(struct oracle_call *c)
{
    oracle_adaptive_max_pool2d(c);
}

void oracle_adaptive_avg_pool2d(struct oracle_call *c)
{
    share(&(struct means){0}, &c->in[0], c->out, c->op->name[strlen(c->op->name) - 2] - '0', false);
}

void oracle_adaptive_avg_pool1d(struct oracle_call *c)
{
    oracle_adaptive_avg_pool2d(c);
}

void oracle_adaptive_avg_pool3d(struct oracle_call *c)
{
    oracle_adaptive_avg_pool2d(c);
}
