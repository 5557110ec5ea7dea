/* The meaning of convolutions: every product of an element under a window and one of a filter, added up where it
 * belongs. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

static int64_t given(const struct td_dims *sizes, int d, int64_t otherwise)
{
    return sizes->count < 1 ? otherwise : sizes->v[sizes->count == 1 ? 0 : d];
}

/* image, weight and windows, one of which is the result. */
struct convolved {
    struct oracle_tensor *image, *weight, *windows, *result;
    const struct td_dims *stride, *padding, *dilation;
    int64_t groups;
    bool same;
};

static void add_product(struct oracle_tensor *to, int64_t at, const struct oracle_tensor *a, int64_t ai,
                        const struct oracle_tensor *b, int64_t bi)
{
    if (!floating(to)) {
        to->integer[at] = WRAP(to->integer[at], +, WRAP(a->integer[ai], *, b->integer[bi]));
        return;
    }
    to->real[at] += a->real[ai] * b->real[bi];
    to->scale[at] += (double)fabsl(a->real[ai] * b->real[bi]);
}

static void convolve(const struct convolved *c)
{
    struct oracle_tensor *x = c->image, *w = c->weight, *y = c->windows;
    int rank = w->rank - 2, first = y->rank - rank;
    int64_t made = w->shape[0] / c->groups, taken = w->shape[1];
    for (int64_t yi = 0; yi < y->count; yi++) {
        int64_t channel = coordinate(y, yi, first - 1), batch = first == 2 ? coordinate(y, yi, 0) : 0;
        for (int64_t tap = 0; tap < w->count / w->shape[0]; tap++) {
            int64_t wi = channel * (w->count / w->shape[0]) + tap;
            int64_t xi = (batch * c->groups + channel / made) * taken + coordinate(w, wi, 1);
            bool inside = true;
            for (int d = 0; d < rank; d++) {
                int64_t step = given(c->dilation, d, 1), before = given(c->padding, d, 0);
                if (c->same)
                    before = step * (w->shape[2 + d] - 1) / 2;
                int64_t at =
                    coordinate(y, yi, first + d) * given(c->stride, d, 1) + coordinate(w, wi, 2 + d) * step - before;
                inside = inside && at >= 0 && at < x->shape[first + d];
                xi = xi * x->shape[first + d] + at;
            }
            if (inside && c->result == y)
                add_product(y, yi, x, xi, w, wi);
            else if (inside && c->result == x)
                add_product(x, xi, y, yi, w, wi);
            else if (inside)
                add_product(w, wi, x, xi, y, yi);
        }
    }
}

static void add_bias(struct oracle_tensor *out, const struct oracle_tensor *bias, int rank)
{
    for (int64_t i = 0; i < out->count && bias->dtype; i++) {
        int64_t channel = coordinate(out, i, out->rank - rank - 1);
        out->real[i] += bias->real[channel];
        out->scale[i] += (double)fabsl(bias->real[channel]);
        out->integer[i] = WRAP(out->integer[i], +, bias->integer[channel]);
    }
}

void oracle_conv2d(struct oracle_call *c)
{
    const struct td_conv2d_attrs *a = c->attrs;
    convolve(&(struct convolved){&c->in[0], &c->in[1], c->out, c->out, &a->stride, &a->padding, &a->dilation, a->groups,
                                 a->same});
    add_bias(c->out, &c->in[2], c->in[1].rank - 2);
}

void oracle_conv1d(struct oracle_call *c)
{
    oracle_conv2d(c);
}

void oracle_conv3d(struct oracle_call *c)
{
    oracle_conv2d(c);
}

void oracle_conv_transpose2d(struct oracle_call *c)
{
    const struct td_conv_transpose2d_attrs *a = c->attrs;
    convolve(&(struct convolved){c->out, &c->in[1], &c->in[0], c->out, &a->stride, &a->padding, &a->dilation, a->groups,
                                 false});
    add_bias(c->out, &c->in[2], c->in[1].rank - 2);
}

void oracle_conv_transpose1d(struct oracle_call *c)
{
    oracle_conv_transpose2d(c);
}

void oracle_conv_transpose3d(struct oracle_call *c)
{
    oracle_conv_transpose2d(c);
}

void oracle_conv_weight(struct oracle_call *c)
{
    const struct td_conv_weight_attrs *a = c->attrs;
    convolve(&(struct convolved){&c->in[0], c->out, &c->in[1], c->out, &a->stride, &a->padding, &a->dilation, a->groups,
                                 false});
}
