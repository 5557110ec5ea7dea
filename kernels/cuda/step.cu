/* Optimiser steps. A first launch reads the rate, raises the counts and says what each parameter's update needs; then
 * batches of parameters are updated, in one pass over memory. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/batch.h"
#include "kernels/step.h"

/* The optimisers, and what the update of one element takes. */
#define OPTIMIZERS(OPTIMIZER)                                                           \
    OPTIMIZER(sgd, (&s, has[0], g[j], &p[j], &x[0][j]))                                 \
    OPTIMIZER(adam, (&s, has[2], g[j], &p[j], &x[0][j], &x[1][j], &x[2][j]))            \
    OPTIMIZER(rmsprop, (&s, has[1], has[2], g[j], &p[j], &x[0][j], &x[1][j], &x[2][j])) \
    OPTIMIZER(adagrad, (&s, g[j], &p[j], &x[0][j]))                                     \
    OPTIMIZER(lion, (&s, g[j], &p[j], &x[0][j]))                                        \
    OPTIMIZER(ema, (&s, p[j], &x[0][j]))

/* What a parameter's update needs. */
union settings {
#define OPTIMIZER(name, ...) struct td_##name name;
    OPTIMIZERS(OPTIMIZER)
#undef OPTIMIZER
};

union attributes {
#define OPTIMIZER(name, ...) struct td_##name##_step__attrs name;
    OPTIMIZERS(OPTIMIZER)
#undef OPTIMIZER
};

/* ---- what each parameter's update needs ---- */

/* Those that have a gradient, a bit each. */
struct stepped {
    uint32_t word[TD_LIST_MAX / 32];
};

__global__ void prepare(int op, attributes attrs, const double *rate, double rate_value, int64_t *counts,
                        struct stepped stepped, int params, settings *all)
{
    int k = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (k >= params)
        return;
    double lr = rate ? *rate : rate_value;
    int64_t count = 0;
    if (counts) {
        count = (int64_t)((uint64_t)counts[k] + (stepped.word[k / 32] >> k % 32 & 1));
        counts[k] = count;
    }
    switch (op) {
#define OPTIMIZER(name, ...)                                  \
    case TD_OP_##name##_step_:                                \
        all[k].name = td_##name##_of(&attrs.name, lr, count); \
        break;
        OPTIMIZERS(OPTIMIZER)
#undef OPTIMIZER
    }
}

/* ---- the update ---- */

/* Where element i of a parameter with strides lies. */
__device__ static int64_t offset_of(const td_batch &batch, int64_t i)
{
    int64_t offset = 0;
    for (int d = batch.rank - 1; d >= 0; d--) {
        int64_t outer = i / batch.shape[d];
        offset += (i - outer * batch.shape[d]) * batch.stride[d];
        i = outer;
    }
    return offset;
}

template <class T>
__device__ static void load_param(const td_batch &batch, int k, const td_batched &v, int64_t i, bool word, T *p)
{
    uint8_t dtype = batch.dtype[k];
    if (batch.rank < 0) {
        td_load(dtype, v.param, i, v.count, word, p);
        return;
    }
    T one[TD_BATCH_WIDTH];
    for (int j = 0; j < TD_BATCH_WIDTH && i + j < v.count; j++) {
        int64_t at = offset_of(batch, i + j);
        td_load(dtype, v.param, at, at + 1, false, one);
        p[j] = one[0];
    }
}

template <class T>
__device__ static void store_param(const td_batch &batch, int k, const td_batched &v, int64_t i, bool word, const T *p)
{
    uint8_t dtype = batch.dtype[k];
    if (batch.rank < 0) {
        td_store(dtype, v.param, i, v.count, word, p);
        return;
    }
    for (int j = 0; j < TD_BATCH_WIDTH && i + j < v.count; j++) {
        int64_t at = offset_of(batch, i + j);
        td_store(dtype, v.param, at, at + 1, false, p + j);
    }
}

/* Four elements, by op. */
#define UPDATE(T, type)                                                                                \
    __device__ static void update_four(int op, const settings *all, const bool *has, const T *g, T *p, \
                                       T(*x)[TD_BATCH_WIDTH])                                          \
    {                                                                                                  \
        switch (op) {                                                                                  \
            OPTIMIZERS(CASE_##type)                                                                    \
        }                                                                                              \
    }
#define CASE(name, call, type)                                                 \
    case TD_OP_##name##_step_: {                                               \
        const struct td_##name##_##type s = td_##name##_as_##type(&all->name); \
        for (int j = 0; j < TD_BATCH_WIDTH; j++)                               \
            td_##name##_element_##type call;                                   \
        break;                                                                 \
    }
#define CASE_f32(name, call) CASE(name, call, f32)
#define CASE_f64(name, call) CASE(name, call, f64)
UPDATE(float, f32)
UPDATE(double, f64)

template <class T> __global__ void update(td_batch batch, int op, const settings *all)
{
    int k = td_batch_find(batch);
    const td_batched v = batch.v[k];
    const uint8_t dtype = batch.dtype[k];
    const bool word = batch.aligned[k];
    bool has[TD_BATCH_STATES];
    for (int n = 0; n < TD_BATCH_STATES; n++)
        has[n] = v.state[n] != NULL;
    int64_t begin = (int64_t)(blockIdx.x - batch.first[k]) * TD_BATCH_CHUNK;
    for (int64_t i = begin + threadIdx.x * TD_BATCH_WIDTH; i < begin + TD_BATCH_CHUNK && i < v.count;
         i += TD_THREADS * TD_BATCH_WIDTH) {
        T g[TD_BATCH_WIDTH] = {0}, p[TD_BATCH_WIDTH] = {0}, x[TD_BATCH_STATES][TD_BATCH_WIDTH] = {{0}};
        if (v.grad)
            td_load(dtype, v.grad, i, v.count, word, g);
        for (int n = 0; n < TD_BATCH_STATES; n++)
            if (has[n])
                td_load(dtype, v.state[n], i, v.count, word, x[n]);
        load_param(batch, k, v, i, word, p);
        update_four(op, &all[batch.number[k]], has, g, p, x);
        if (v.grad)
            store_param(batch, k, v, i, word, p);
        for (int n = 0; n < TD_BATCH_STATES; n++)
            if (has[n])
                td_store(dtype, v.state[n], i, v.count, word, x[n]);
    }
}

/* ---- launchers ---- */

static settings *prepare_all(struct td_launch *launch)
{
    int params = launch->list_counts[0];
    settings *all = (settings *)td_cuda_scratch((size_t)params * sizeof *all);
    struct stepped stepped = {{0}};
    attributes attrs;
    const struct td_operand *rate = &launch->in[launch->in_count - 1];
    bool counted = td_op_stepping(launch->op) == TD_STEPS_BY_GRADIENTS, given = counted && rate->immediate;
    memset(&attrs, 0, sizeof attrs);
    memcpy(&attrs, launch->attrs, launch->op->slots * sizeof(int64_t));
    for (int k = 0; k < params; k++)
        if (launch->grads[k].data)
            stepped.word[k / 32] |= UINT32_C(1) << k % 32;
    if (all)
        td_enqueue(prepare, td_blocks(params, 1, TD_THREADS), TD_THREADS, launch->op->id, attrs,
                   counted && !given ? (const double *)rate->data : NULL, given ? *(const double *)rate->data : 0.0,
                   counted ? (int64_t *)launch->in[launch->in_count - 2].data : NULL, stepped, params, all);
    return all;
}

/* The lists of states that are used, a bit each: without momentum none is kept. */
static uint32_t states_of(const struct td_launch *launch)
{
    if (launch->op->id == TD_OP_sgd_step_)
        return ((const struct td_sgd_step__attrs *)launch->attrs)->momentum != 0;
    if (launch->op->id == TD_OP_rmsprop_step_)
        return ((const struct td_rmsprop_step__attrs *)launch->attrs)->momentum != 0 ? 7 : 5;
    return 7;
}

static void step(struct td_launch *launch)
{
    if (launch->list_counts[0] == 0)
        return;
    settings *all = prepare_all(launch);
    struct td_batch batch;
    if (!all) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    for (int next = 0; td_batch_next(launch, states_of(launch), &next, &batch);)
        td_enqueue(batch.dtype[0] == TD_F64 ? update<double> : update<float>, batch.first[batch.count], TD_THREADS,
                   batch, launch->op->id, all);
}

#define OPTIMIZER(name, call)                             \
    void TD_CUDA(name##_step_)(struct td_launch * launch) \
    {                                                     \
        step(launch);                                     \
    }
OPTIMIZERS(OPTIMIZER)
