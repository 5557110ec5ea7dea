/* The meaning of the optimiser steps, which write to their inputs. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

void oracle_sgd_step_(struct oracle_call *c)
{
    const struct td_sgd_step__attrs *a = c->attrs;
    int params = c->list_counts[0];
    for (int k = 0; k < params; k++) {
        struct oracle_tensor *p = &c->in[k], *state = c->list_counts[1] ? &c->in[params + k] : NULL;
        if (c->grads[k].dtype == TD_DTYPE_NONE)
            continue;
        int64_t t = ++c->in[c->in_count - 1].integer[k];
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
            p->scale[i] = fabs((double)p->real[i]) + a->lr * scale;
            p->real[i] -= a->lr * update;
        }
    }
}

void oracle_adam_step_(struct oracle_call *c)
{
    const struct td_adam_step__attrs *a = c->attrs;
    int params = c->list_counts[0];
    for (int k = 0; k < params; k++) {
        struct oracle_tensor *p = &c->in[k], *m = &c->in[params + k], *v = &c->in[2 * params + k];
        if (c->grads[k].dtype == TD_DTYPE_NONE)
            continue;
        double t = (double)++c->in[c->in_count - 1].integer[k];
        for (int64_t i = 0; i < p->count; i++) {
            double g = (double)c->grads[k].real[i], x = (double)p->real[i];
            double g_scale = fabs(g) + fabs(a->weight_decay * x);
            double decayed = a->decoupled ? x * (1 - a->lr * a->weight_decay) : x;
            g += a->decoupled ? 0 : a->weight_decay * x;
            m->scale[i] = fabs(a->beta1 * (double)m->real[i]) + (1 - a->beta1) * g_scale;
            v->scale[i] = a->beta2 * (double)v->real[i] + (1 - a->beta2) * g_scale * g_scale;
            m->real[i] = a->beta1 * m->real[i] + (1 - a->beta1) * g;
            v->real[i] = a->beta2 * v->real[i] + (1 - a->beta2) * g * g;
            double size = a->lr / (1 - pow(a->beta1, t));
            double divisor = sqrt((double)v->real[i]) / sqrt(1 - pow(a->beta2, t)) + a->eps;
            p->scale[i] = fabs(x) + size * 2 * m->scale[i] / divisor;
            p->real[i] = decayed - size * m->real[i] / divisor;
        }
    }
}
