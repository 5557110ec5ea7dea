/* The meaning of the optimiser steps, which write to their inputs. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

static double rate_of(const struct oracle_call *c)
{
    return (double)c->in[c->in_count - 1].real[0];
}

void oracle_sgd_step_(struct oracle_call *c)
{
    const struct td_sgd_step__attrs *a = c->attrs;
    double rate = rate_of(c);
    int params = c->list_counts[0];
    for (int k = 0; k < params; k++) {
        struct oracle_tensor *p = &c->in[k], *state = c->list_counts[1] ? &c->in[params + k] : NULL;
        if (c->grads[k].dtype == TD_DTYPE_NONE)
            continue;
        int64_t t = ++c->in[c->in_count - 2].integer[k];
        for (int64_t i = 0; i < p->count; i++) {
            double g = (double)(c->grads[k].real[i] + a->weight_decay * p->real[i]), update = g;
            double scale = (double)(fabsl(c->grads[k].real[i]) + fabsl(a->weight_decay * p->real[i]));
            if (a->momentum != 0) {
                double b = t == 1 ? g : a->momentum * (double)state->real[i] + (1 - a->dampening) * g;
                state->scale[i] = scale + fabs((double)state->real[i]);
                scale = 2 * state->scale[i];
                state->real[i] = b;
                update = a->nesterov ? g + a->momentum * b : b;
            }
            p->scale[i] = fabs((double)p->real[i]) + rate * scale;
            p->real[i] -= rate * update;
        }
    }
}

void oracle_adam_step_(struct oracle_call *c)
{
    const struct td_adam_step__attrs *a = c->attrs;
    double rate = rate_of(c);
    int params = c->list_counts[0];
    for (int k = 0; k < params; k++) {
        struct oracle_tensor *p = &c->in[k], *m = &c->in[params + k], *v = &c->in[2 * params + k];
        struct oracle_tensor *greatest = c->list_counts[3] ? &c->in[3 * params + k] : NULL;
        if (c->grads[k].dtype == TD_DTYPE_NONE)
            continue;
        double t = (double)++c->in[c->in_count - 2].integer[k];
        for (int64_t i = 0; i < p->count; i++) {
            double g = (double)c->grads[k].real[i], x = (double)p->real[i];
            double g_scale = fabs(g) + fabs(a->weight_decay * x);
            double decayed = a->decoupled ? x * (1 - rate * a->weight_decay) : x;
            g += a->decoupled ? 0 : a->weight_decay * x;
            m->scale[i] = fabs(a->beta1 * (double)m->real[i]) + (1 - a->beta1) * g_scale;
            v->scale[i] = a->beta2 * (double)v->real[i] + (1 - a->beta2) * g_scale * g_scale;
            m->real[i] = a->beta1 * m->real[i] + (1 - a->beta1) * g;
            v->real[i] = a->beta2 * v->real[i] + (1 - a->beta2) * g * g;
            double size = rate / (1 - pow(a->beta1, t));
            long double square = v->real[i];
            if (greatest) {
                square = greatest->real[i] = fmaxl(greatest->real[i], square);
                greatest->scale[i] = fmax((double)square, v->scale[i]);
            }
            double divisor = sqrt((double)square) / sqrt(1 - pow(a->beta2, t)) + a->eps;
            p->scale[i] = fabs(x) + size * 2 * m->scale[i] / divisor;
            p->real[i] = decayed - size * m->real[i] / divisor;
        }
    }
}

void oracle_rmsprop_step_(struct oracle_call *c)
{
    const struct td_rmsprop_step__attrs *a = c->attrs;
    double rate = rate_of(c);
    int params = c->list_counts[0], keeps = c->list_counts[2] != 0;
    for (int k = 0; k < params; k++) {
        struct oracle_tensor *p = &c->in[k], *v = &c->in[params + k], *b = &c->in[2 * params + k];
        struct oracle_tensor *mean = c->list_counts[3] ? &c->in[(2 + keeps) * params + k] : NULL;
        if (c->grads[k].dtype == TD_DTYPE_NONE)
            continue;
        c->in[c->in_count - 2].integer[k]++;
        for (int64_t i = 0; i < p->count; i++) {
            double x = (double)p->real[i], grad = (double)c->grads[k].real[i], g = grad + a->weight_decay * x;
            double g_scale = fabs(grad) + fabs(a->weight_decay * x);
            v->scale[i] = a->alpha * (double)v->real[i] + (1 - a->alpha) * g_scale * g_scale;
            v->real[i] = a->alpha * v->real[i] + (1 - a->alpha) * g * g;
            double square = (double)v->real[i], scale = v->scale[i];
            if (mean) {
                mean->scale[i] = a->alpha * fabs((double)mean->real[i]) + (1 - a->alpha) * g_scale;
                mean->real[i] = a->alpha * mean->real[i] + (1 - a->alpha) * g;
                square -= (double)(mean->real[i] * mean->real[i]);
                scale += mean->scale[i] * mean->scale[i];
            }
            double divisor = sqrt(square) + a->eps, update = g / divisor;
            scale = g_scale / divisor * (1 + (square > 0 ? scale / square : 0));
            if (a->momentum != 0) {
                b->scale[i] = scale += fabs(a->momentum * (double)b->real[i]);
                update = (double)(b->real[i] = a->momentum * b->real[i] + update);
            }
            p->scale[i] = fabs(x) + rate * scale;
            p->real[i] -= rate * update;
        }
    }
}

void oracle_adagrad_step_(struct oracle_call *c)
{
    const struct td_adagrad_step__attrs *a = c->attrs;
    double rate = rate_of(c);
    int params = c->list_counts[0];
    for (int k = 0; k < params; k++) {
        struct oracle_tensor *p = &c->in[k], *sum = &c->in[params + k];
        if (c->grads[k].dtype == TD_DTYPE_NONE)
            continue;
        double before = (double)c->in[c->in_count - 2].integer[k]++, lr = rate / (1 + before * a->lr_decay);
        for (int64_t i = 0; i < p->count; i++) {
            double x = (double)p->real[i], grad = (double)c->grads[k].real[i], g = grad + a->weight_decay * x;
            double g_scale = fabs(grad) + fabs(a->weight_decay * x);
            sum->scale[i] = (double)sum->real[i] + g_scale * g_scale;
            sum->real[i] += g * g;
            double square = (double)sum->real[i], divisor = sqrt(square) + a->eps;
            double error = square > 0 ? sum->scale[i] / square : 0;
            p->scale[i] = fabs(x) + lr * g_scale / divisor * (1 + error);
            p->real[i] -= lr * g / divisor;
        }
    }
}

void oracle_lion_step_(struct oracle_call *c)
{
    const struct td_lion_step__attrs *a = c->attrs;
    double rate = rate_of(c);
    int params = c->list_counts[0];
    for (int k = 0; k < params; k++) {
        struct oracle_tensor *p = &c->in[k], *m = &c->in[params + k];
        if (c->grads[k].dtype == TD_DTYPE_NONE)
            continue;
        c->in[c->in_count - 2].integer[k]++;
        for (int64_t i = 0; i < p->count; i++) {
            long double g = c->grads[k].real[i], mixed = a->beta1 * m->real[i] + (1 - a->beta1) * g;
            long double sign = (mixed > 0) - (mixed < 0);
            m->scale[i] = (double)(a->beta2 * fabsl(m->real[i]) + (1 - a->beta2) * fabsl(g));
            m->real[i] = a->beta2 * m->real[i] + (1 - a->beta2) * g;
            p->scale[i] = (double)fabsl(p->real[i]) + rate;
            p->real[i] -= rate * (sign + a->weight_decay * p->real[i]);
        }
    }
}

void oracle_ema_step_(struct oracle_call *c)
{
    double decay = ((const struct td_ema_step__attrs *)c->attrs)->decay;
    int params = c->list_counts[0];
    for (int k = 0; k < params; k++) {
        const struct oracle_tensor *p = &c->in[k];
        struct oracle_tensor *average = &c->in[params + k];
        for (int64_t i = 0; i < p->count; i++) {
            long double old = decay * average->real[i], new = (1 - decay) * p->real[i];
            average->scale[i] = (double)(fabsl(old) + fabsl(new));
            average->real[i] = old + new;
        }
    }
}

/* By norm_type 1, 2 or inf. */
void oracle_clip_grad_norm_(struct oracle_call *c)
{
    const struct td_clip_grad_norm__attrs *a = c->attrs;
    long double sum = 0, greatest = 0;
    bool squares = a->norm_type == 2;
    for (int k = 0; k < c->list_counts[0]; k++)
        for (int64_t i = 0; c->grads[k].dtype != TD_DTYPE_NONE && i < c->grads[k].count; i++) {
            long double size = fabsl(c->grads[k].real[i]);
            sum += squares ? size * size : size;
            greatest = fmaxl(greatest, size);
        }
    long double norm = isinf(a->norm_type) ? greatest : squares ? sqrtl(sum) : sum;
    long double factor = fminl(1, a->max_norm / (norm + 1e-6L));
    c->out[0].real[0] = norm;
    c->out[0].scale[0] = (double)norm;
    for (int k = 0; k < c->list_counts[0]; k++)
        for (int64_t i = 0; c->grads[k].dtype != TD_DTYPE_NONE && i < c->grads[k].count; i++) {
            c->grads[k].real[i] *= factor;
            c->grads[k].scale[i] = (double)fabsl(c->grads[k].real[i]);
        }
}

void oracle_clip_grad_value_(struct oracle_call *c)
{
    double most = ((const struct td_clip_grad_value__attrs *)c->attrs)->clip_value;
    for (int k = 0; k < c->list_counts[0]; k++)
        for (int64_t i = 0; c->grads[k].dtype != TD_DTYPE_NONE && i < c->grads[k].count; i++)
            c->grads[k].real[i] = fminl(fmaxl(c->grads[k].real[i], -most), most);
}

void oracle_unscale_grads_(struct oracle_call *c)
{
    double scale = (double)c->in[c->in_count - 1].real[0];
    bool found = false;
    for (int k = 0; k < c->list_counts[0]; k++)
        for (int64_t i = 0; c->grads[k].dtype != TD_DTYPE_NONE && i < c->grads[k].count; i++) {
            found |= !isfinite(c->grads[k].real[i]);
            c->grads[k].real[i] /= scale;
            c->grads[k].scale[i] = (double)fabsl(c->grads[k].real[i]);
        }
    c->out[0].real[0] = found;
}
