/* Optimiser steps, one pass over memory for each parameter. Rates are put together in f64 and then used in the
 * parameter's type, as PyTorch does. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"

/* base^exponent for exponent >= 0: our own, since libm's differs from machine to machine. */
static double power(double base, int64_t exponent)
{
    double result = 1;
    for (; exponent > 0; exponent /= 2) {
        if (exponent % 2)
            result *= base;
        base *= base;
    }
    return result;
}

/* What one parameter's update needs. A run is a row of elements that lie step apart in the parameter; its states and
 * gradient are contiguous. */
struct run {
    void *param;
    void *first, *second; /* states: momentum; mean and square */
    const void *grad;
    int64_t count, step;
};

struct sgd {
    double lr, momentum, undamped, weight_decay;
    bool keeps, starts, nesterov; /* has a state; takes the gradient as its first value */
};

struct adam {
    double size, root, eps, decay, shrink; /* p = p * shrink - size * m / (sqrt(v) / root + eps) */
    double beta1, fresh1, beta2, fresh2;   /* fresh: 1 - beta */
};

#define STEP(word) word##_f32
#define STEP_T float
#define STEP_SQRT __builtin_sqrtf
#include "kernels/cpu/step.inc"

#define STEP(word) word##_f64
#define STEP_T double
#define STEP_SQRT __builtin_sqrt
#include "kernels/cpu/step.inc"

typedef void step_run(const struct run *run, const void *settings);

/* Calls update for each run of parameter. */
static void for_runs(const struct td_operand *param, struct run run, step_run *update, const void *settings)
{
    int64_t count = td_operand_numel(param), index[TD_RANK_MAX] = {0}, offset = 0, dense = 1;
    int64_t size = (int64_t)td_dtype_size(param->dtype);
    const int64_t *stride = param->stride;
    int last = param->rank - 1;
    bool contiguous = true;
    if (count == 0)
        return;
    for (int d = last; d >= 0; dense *= param->shape[d--])
        contiguous &= param->shape[d] == 1 || param->stride[d] == dense;
    run.count = contiguous ? count : param->shape[last];
    run.step = contiguous ? 1 : param->stride[last];
    do {
        run.param = (char *)param->data + offset * size;
        update(&run, settings);
        run.first = run.first ? (char *)run.first + run.count * size : NULL;
        run.second = run.second ? (char *)run.second + run.count * size : NULL;
        run.grad = (const char *)run.grad + run.count * size;
    } while (td_step_index(contiguous ? 0 : last, param->shape, index, 1, &offset, &stride));
}

void TD_CPU(sgd_step_)(struct td_launch *launch)
{
    const struct td_sgd_step__attrs *a = launch->attrs;
    int params = launch->list_counts[0];
    int64_t *counts = launch->in[launch->in_count - 1].data;
    for (int k = 0; k < params; k++) {
        const struct td_operand *param = &launch->in[k];
        if (!launch->grads[k].data)
            continue;
        counts[k] = (int64_t)((uint64_t)counts[k] + 1);
        struct sgd sgd = {.lr = a->lr,
                          .momentum = a->momentum,
                          .undamped = 1 - a->dampening,
                          .weight_decay = a->weight_decay,
                          .keeps = a->momentum != 0,
                          .starts = counts[k] == 1,
                          .nesterov = a->nesterov != 0};
        struct run run = {.grad = launch->grads[k].data};
        if (sgd.keeps)
            run.first = launch->in[params + k].data;
        for_runs(param, run, param->dtype == TD_F32 ? sgd_f32 : sgd_f64, &sgd);
    }
}

void TD_CPU(adam_step_)(struct td_launch *launch)
{
    const struct td_adam_step__attrs *a = launch->attrs;
    int params = launch->list_counts[0];
    int64_t *counts = launch->in[launch->in_count - 1].data;
    for (int k = 0; k < params; k++) {
        const struct td_operand *param = &launch->in[k];
        if (!launch->grads[k].data)
            continue;
        counts[k] = (int64_t)((uint64_t)counts[k] + 1);
        bool decoupled = a->decoupled != 0;
        struct adam adam = {.size = a->lr / (1 - power(a->beta1, counts[k])),
                            .root = __builtin_sqrt(1 - power(a->beta2, counts[k])),
                            .eps = a->eps,
                            .decay = decoupled ? 0 : a->weight_decay,
                            .shrink = decoupled ? 1 - a->lr * a->weight_decay : 1,
                            .beta1 = a->beta1,
                            .fresh1 = 1 - a->beta1,
                            .beta2 = a->beta2,
                            .fresh2 = 1 - a->beta2};
        struct run run = {.grad = launch->grads[k].data,
                          .first = launch->in[params + k].data,
                          .second = launch->in[2 * params + k].data};
        for_runs(param, run, param->dtype == TD_F32 ? adam_f32 : adam_f64, &adam);
    }
}
