/* Optimiser steps, one pass over memory for each parameter. Of halves they are taken in f32, and what comes of it is
 * rounded once. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/step.h"

/* What one parameter's update needs. A run is a row of elements that lie step apart in the parameter; its states and
 * gradient are contiguous. */
struct run {
    void *param;
    void *first, *second, *third; /* states, in the row's order; NULL: none */
    const void *grad;
    int64_t count, step;
};

/* Does what UPDATE says of state element i and parameter element at. */
#define TD_UPDATE_ALL                              \
    if (run->step == 1) {                          \
        TD_INDEPENDENT                             \
        for (int64_t i = 0; i < run->count; i++) { \
            UPDATE(i);                             \
        }                                          \
        return;                                    \
    }                                              \
    for (int64_t i = 0; i < run->count; i++) {     \
        UPDATE(i * run->step);                     \
    }

#define STEP(word) word##_f32
#define STEP_T float
#include "kernels/cpu/step.inc"

#define STEP(word) word##_f64
#define STEP_T double
#include "kernels/cpu/step.inc"

typedef void step_run(const struct run *run, const void *settings);

/* ---- halves ---- */

#define PIECE 256

static void widen(uint8_t dtype, const void *from, int64_t step, int64_t count, float *to)
{
    const uint16_t *x = from;
    for (int64_t i = 0; i < count && dtype == TD_F16; i++)
        to[i] = td_f32_of_f16(x[i * step]);
    for (int64_t i = 0; i < count && dtype == TD_BF16; i++)
        to[i] = td_f32_of_bf16(x[i * step]);
}

static void narrow(uint8_t dtype, const float *from, int64_t count, void *to, int64_t step)
{
    uint16_t *y = to;
    for (int64_t i = 0; i < count && dtype == TD_F16; i++)
        y[i * step] = td_f16_of_f32(from[i]);
    for (int64_t i = 0; i < count && dtype == TD_BF16; i++)
        y[i * step] = td_bf16_of_f32(from[i]);
}

/* run in pieces of f32. A parameter without a gradient is only read. */
static void update_halves(const struct run *run, uint8_t dtype, step_run *update, const void *settings)
{
    float param[PIECE], grad[PIECE], state[3][PIECE];
    void *const states[] = {run->first, run->second, run->third};
    for (int64_t at = 0; at < run->count; at += PIECE) {
        int64_t count = run->count - at < PIECE ? run->count - at : PIECE;
        uint16_t *here = (uint16_t *)run->param + at * run->step;
        struct run piece = {.param = param,
                            .first = run->first ? state[0] : NULL,
                            .second = run->second ? state[1] : NULL,
                            .third = run->third ? state[2] : NULL,
                            .grad = run->grad ? grad : NULL,
                            .count = count,
                            .step = 1};
        widen(dtype, here, run->step, count, param);
        if (run->grad)
            widen(dtype, (const uint16_t *)run->grad + at, 1, count, grad);
        for (int k = 0; k < 3; k++)
            if (states[k])
                widen(dtype, (const uint16_t *)states[k] + at, 1, count, state[k]);
        update(&piece, settings);
        if (run->grad)
            narrow(dtype, param, count, here, run->step);
        for (int k = 0; k < 3; k++)
            if (states[k])
                narrow(dtype, state[k], count, (uint16_t *)states[k] + at, 1);
    }
}

/* ---- any type ---- */

/* Calls update for the runs of parameter's elements from up to to. run holds the states and the gradient. */
static void for_runs(const struct td_operand *param, struct run run, int64_t from, int64_t to, step_run *update,
                     const void *settings)
{
    int64_t size = (int64_t)td_dtype_size(param->dtype), count = td_operand_numel(param), dense = 1, one = 1;
    bool contiguous = true;
    for (int d = param->rank - 1; d >= 0; dense *= param->shape[d--])
        contiguous &= param->shape[d] == 1 || param->stride[d] == dense;
    const int64_t *stride = contiguous ? &one : param->stride;
    struct td_walk w;
    td_walk_start(&w, contiguous ? 1 : param->rank, contiguous ? &count : param->shape, 1, &stride, from, to);
    for (int64_t done = from; w.run; done += w.run, td_walk_next(&w)) {
        struct run now = {.param = (char *)param->data + w.at[0] * size, .count = w.run, .step = w.step[0]};
        now.first = run.first ? (char *)run.first + done * size : NULL;
        now.second = run.second ? (char *)run.second + done * size : NULL;
        now.third = run.third ? (char *)run.third + done * size : NULL;
        now.grad = run.grad ? (const char *)run.grad + done * size : NULL;
        if (td_dtype_narrow(param->dtype))
            update_halves(&now, param->dtype, update, settings);
        else
            update(&now, settings);
    }
}

/* ---- what one parameter's update needs ---- */

typedef void step_param(const struct td_launch *launch, double lr, int k, int64_t from, int64_t to);

static int64_t count_of(const struct td_launch *launch, int k)
{
    return ((const int64_t *)launch->in[launch->in_count - 2].data)[k];
}

/* The state of parameter k in a list, counted from 1; NULL if the list is empty. */
static void *state_of(const struct td_launch *launch, int list, int k)
{
    int base = 0;
    for (int before = 0; before < list; before++)
        base += launch->list_counts[before];
    return launch->list_counts[list] ? launch->in[base + k].data : NULL;
}

static void sgd_param(const struct td_launch *launch, double lr, int k, int64_t from, int64_t to)
{
    const struct td_sgd_step__attrs *a = launch->attrs;
    const struct td_operand *param = &launch->in[k];
    struct td_sgd sgd = td_sgd_of(a, lr, count_of(launch, k));
    struct run run = {.grad = launch->grads[k].data, .first = a->momentum != 0 ? state_of(launch, 1, k) : NULL};
    for_runs(param, run, from, to, param->dtype == TD_F64 ? sgd_f64 : sgd_f32, &sgd);
}

static void adam_param(const struct td_launch *launch, double lr, int k, int64_t from, int64_t to)
{
    const struct td_operand *param = &launch->in[k];
    struct td_adam adam = td_adam_of(launch->attrs, lr, count_of(launch, k));
    struct run run = {.grad = launch->grads[k].data,
                      .first = state_of(launch, 1, k),
                      .second = state_of(launch, 2, k),
                      .third = state_of(launch, 3, k)};
    for_runs(param, run, from, to, param->dtype == TD_F64 ? adam_f64 : adam_f32, &adam);
}

static void rmsprop_param(const struct td_launch *launch, double lr, int k, int64_t from, int64_t to)
{
    const struct td_rmsprop_step__attrs *a = launch->attrs;
    const struct td_operand *param = &launch->in[k];
    struct td_rmsprop rmsprop = td_rmsprop_of(a, lr, 0);
    struct run run = {.grad = launch->grads[k].data,
                      .first = state_of(launch, 1, k),
                      .second = a->momentum != 0 ? state_of(launch, 2, k) : NULL,
                      .third = state_of(launch, 3, k)};
    for_runs(param, run, from, to, param->dtype == TD_F64 ? rmsprop_f64 : rmsprop_f32, &rmsprop);
}

static void adagrad_param(const struct td_launch *launch, double lr, int k, int64_t from, int64_t to)
{
    const struct td_operand *param = &launch->in[k];
    struct td_adagrad adagrad = td_adagrad_of(launch->attrs, lr, count_of(launch, k));
    struct run run = {.grad = launch->grads[k].data, .first = state_of(launch, 1, k)};
    for_runs(param, run, from, to, param->dtype == TD_F64 ? adagrad_f64 : adagrad_f32, &adagrad);
}

static void lion_param(const struct td_launch *launch, double lr, int k, int64_t from, int64_t to)
{
    const struct td_operand *param = &launch->in[k];
    struct td_lion lion = td_lion_of(launch->attrs, lr, 0);
    struct run run = {.grad = launch->grads[k].data, .first = state_of(launch, 1, k)};
    for_runs(param, run, from, to, param->dtype == TD_F64 ? lion_f64 : lion_f32, &lion);
}

static void ema_param(const struct td_launch *launch, double lr, int k, int64_t from, int64_t to)
{
    const struct td_operand *param = &launch->in[k];
    struct td_ema ema = td_ema_of(launch->attrs, lr, 0);
    struct run run = {.first = state_of(launch, 1, k)};
    for_runs(param, run, from, to, param->dtype == TD_F64 ? ema_f64 : ema_f32, &ema);
}

/* ---- all parameters, their elements one behind the other ---- */

struct step {
    const struct td_launch *launch;
    step_param *update;
    double lr;
    int first; /* parameter */
};

static int64_t numel_stepped(const struct td_launch *launch, int k)
{
    bool steps = launch->grads[k].data || td_op_stepping(launch->op) == TD_STEPS_STATES;
    return steps ? td_operand_numel(&launch->in[k]) : 0;
}

static void step_part(const void *data, int64_t from, int64_t to)
{
    const struct step *step = data;
    for (int k = step->first; to > 0; k++) {
        int64_t count = numel_stepped(step->launch, k);
        if (from < count)
            step->update(step->launch, step->lr, k, from, to < count ? to : count);
        from = from > count ? from - count : 0;
        to -= count;
    }
}

static const char *end_of(const struct td_operand *x)
{
    int64_t last = 0;
    for (int d = 0; d < x->rank; d++)
        last += (x->shape[d] - 1) * x->stride[d];
    return (const char *)x->data + (last + 1) * (int64_t)td_dtype_size(x->dtype);
}

/* Takes as many parameters together as lie behind each other: a list may name the same memory twice, and then one
 * update comes after the other. */
static void step_all(struct td_launch *launch, step_param *update)
{
    bool counted = td_op_stepping(launch->op) == TD_STEPS_BY_GRADIENTS;
    int64_t *counts = counted ? launch->in[launch->in_count - 2].data : NULL;
    double lr = counted ? *(const double *)launch->in[launch->in_count - 1].data : 0; /* may be a parameter itself */
    for (int k = 0; k < launch->list_counts[0];) {
        struct step step = {launch, update, lr, k};
        const char *end = NULL;
        int64_t total = 0;
        for (; k < launch->list_counts[0] && (const char *)launch->in[k].data >= end; k++) {
            int64_t count = numel_stepped(launch, k);
            if (counted && launch->grads[k].data)
                counts[k] = (int64_t)((uint64_t)counts[k] + 1);
            end = count ? end_of(&launch->in[k]) : end;
            total += count;
        }
        td_parallel(total, TD_GRAIN, 0, step_part, &step);
    }
}

void TD_CPU(sgd_step_)(struct td_launch *launch)
{
    step_all(launch, sgd_param);
}

void TD_CPU(adam_step_)(struct td_launch *launch)
{
    step_all(launch, adam_param);
}

void TD_CPU(rmsprop_step_)(struct td_launch *launch)
{
    step_all(launch, rmsprop_param);
}

void TD_CPU(adagrad_step_)(struct td_launch *launch)
{
    step_all(launch, adagrad_param);
}

void TD_CPU(lion_step_)(struct td_launch *launch)
{
    step_all(launch, lion_param);
}

void TD_CPU(ema_step_)(struct td_launch *launch)
{
    step_all(launch, ema_param);
}
