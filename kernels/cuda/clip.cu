/* Gradients made smaller, in place. The norm of all is the norm of their norms, each taken in f64 by blocks whose sums
 * are added up in a fixed order. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/batch.h"
#include "kernels/scalar.h"
#include "kernels/step.h"

/* ---- the p-norm: taken of elements, joined, and finished ---- */

__device__ static double norm_taken(double p, double x)
{
    double a = fabs(x);
    return p == 0 ? x != 0 : p == 1 || isinf(p) ? a : p == 2 ? x * x : pow(a, p);
}

__device__ static double norm_joined(double p, double a, double b)
{
    return !isinf(p) ? a + b : p > 0 ? td_max_f64(a, b) : td_min_f64(a, b);
}

__device__ static double norm_begun(double p)
{
    return isinf(p) && p < 0 ? -p : 0;
}

__device__ static double norm_finished(double p, double joined, int64_t count)
{
    if (isinf(p))
        return count == 0 ? 0 : joined;
    return p == 0 || p == 1 ? joined : p == 2 ? sqrt(joined) : pow(joined, 1 / p);
}

/* Of all threads of the block, in the thread 0 of it. */
__device__ static double norm_of_block(double p, double mine)
{
    __shared__ double all[TD_THREADS];
    all[threadIdx.x] = mine;
    __syncthreads();
    for (unsigned half = TD_THREADS / 2; half; half /= 2) {
        if (threadIdx.x < half)
            all[threadIdx.x] = norm_joined(p, all[threadIdx.x], all[threadIdx.x + half]);
        __syncthreads();
    }
    return all[0];
}

template <class T> __global__ void norm_parts(td_batch batch, double p, double *parts)
{
    int k = td_batch_find(batch);
    const td_batched v = batch.v[k];
    int64_t begin = (int64_t)(blockIdx.x - batch.first[k]) * TD_BATCH_CHUNK;
    double mine = norm_begun(p);
    for (int64_t i = begin + threadIdx.x * TD_BATCH_WIDTH; i < begin + TD_BATCH_CHUNK && i < v.count;
         i += TD_THREADS * TD_BATCH_WIDTH) {
        T x[TD_BATCH_WIDTH];
        td_load(batch.dtype[k], v.param, i, v.count, batch.aligned[k], x);
        for (int j = 0; j < TD_BATCH_WIDTH && i + j < v.count; j++)
            mine = norm_joined(p, mine, norm_taken(p, (double)x[j]));
    }
    double part = norm_of_block(p, mine);
    if (threadIdx.x == 0)
        parts[blockIdx.x] = part;
}

/* A block for each gradient of the batch; its norm has the gradient's precision. */
__global__ void norm_each(td_batch batch, double p, const double *parts, double *norms)
{
    int k = (int)blockIdx.x;
    double mine = norm_begun(p);
    for (uint32_t i = batch.first[k] + threadIdx.x; i < batch.first[k + 1]; i += blockDim.x)
        mine = norm_joined(p, mine, parts[i]);
    double norm = norm_finished(p, norm_of_block(p, mine), batch.v[k].count);
    if (threadIdx.x == 0)
        norms[k] = batch.dtype[k] == TD_F64 ? norm : (double)(float)norm;
}

/* A single block: the norm of norms, in the widest type of them, and what gradients are multiplied with. empty: how
 * many gradients have no elements, each with a norm of the same value. */
__global__ void norm_all(double p, const double *norms, int count, int empty, double most, bool wide, void *out,
                         double *factor)
{
    double mine = norm_begun(p);
    for (int i = (int)threadIdx.x; i < count + empty; i += (int)blockDim.x)
        mine = norm_joined(p, mine, norm_taken(p, i < count ? norms[i] : norm_finished(p, norm_begun(p), 0)));
    double norm = norm_finished(p, norm_of_block(p, mine), count + empty);
    if (threadIdx.x)
        return;
    if (wide) {
        *(double *)out = norm;
        *factor = most / (norm + 1e-6);
    } else {
        *(float *)out = (float)norm;
        *factor = (double)((float)most / ((float)norm + 1e-6f));
    }
}

/* ---- elements ---- */

__device__ static float bounded(float x, float most)
{
    return td_bounded_f32(x, most);
}
__device__ static double bounded(double x, double most)
{
    return td_bounded_f64(x, most);
}

/* Multiplies gradients with *factor where that is less than 1 or nan, or without it bounds them by most. */
template <class T> __global__ void clip(td_batch batch, const double *factor, double most)
{
    int k = td_batch_find(batch);
    const td_batched v = batch.v[k];
    const T by = (T)(factor ? *factor : most);
    if (factor && *factor >= 1)
        return;
    int64_t begin = (int64_t)(blockIdx.x - batch.first[k]) * TD_BATCH_CHUNK;
    for (int64_t i = begin + threadIdx.x * TD_BATCH_WIDTH; i < begin + TD_BATCH_CHUNK && i < v.count;
         i += TD_THREADS * TD_BATCH_WIDTH) {
        T x[TD_BATCH_WIDTH];
        td_load(batch.dtype[k], v.param, i, v.count, batch.aligned[k], x);
        for (int j = 0; j < TD_BATCH_WIDTH; j++)
            x[j] = factor ? x[j] * by : bounded(x[j], by);
        td_store(batch.dtype[k], v.param, i, v.count, batch.aligned[k], x);
    }
}

static void clip_all(const struct td_launch *launch, const double *factor, double most)
{
    struct td_batch batch;
    for (int next = 0; td_batch_next(launch, TD_BATCH_GRADIENTS, &next, &batch);)
        td_enqueue(batch.dtype[0] == TD_F64 ? clip<double> : clip<float>, batch.first[batch.count], TD_THREADS, batch,
                   factor, most);
}

/* Blocks of the largest batch, and how many gradients there are without an element. */
static uint32_t most_blocks(const struct td_launch *launch, int *empty)
{
    struct td_batch batch;
    uint32_t most = 1;
    for (int next = 0; td_batch_next(launch, TD_BATCH_GRADIENTS, &next, &batch);)
        most = batch.first[batch.count] > most ? batch.first[batch.count] : most;
    *empty = 0;
    for (int k = 0; k < launch->list_counts[0]; k++)
        *empty += launch->grads[k].data && td_operand_numel(&launch->grads[k]) == 0;
    return most;
}

void TD_CUDA(clip_grad_norm_)(struct td_launch *launch)
{
    const struct td_clip_grad_norm__attrs *a = (const struct td_clip_grad_norm__attrs *)launch->attrs;
    struct td_batch batch;
    int count = 0, empty;
    uint32_t blocks = most_blocks(launch, &empty);
    double *factor = (double *)td_cuda_scratch((1 + (size_t)launch->list_counts[0] + blocks) * sizeof *factor);
    if (!factor) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    double *norms = factor + 1, *parts = norms + launch->list_counts[0];
    for (int next = 0; td_batch_next(launch, TD_BATCH_GRADIENTS, &next, &batch); count += batch.count) {
        td_enqueue(batch.dtype[0] == TD_F64 ? norm_parts<double> : norm_parts<float>, batch.first[batch.count],
                   TD_THREADS, batch, a->norm_type, parts);
        td_enqueue(norm_each, batch.count, TD_THREADS, batch, a->norm_type, parts, norms + count);
    }
    td_enqueue(norm_all, 1, TD_THREADS, count + empty ? a->norm_type : 2.0, norms, count, empty, a->max_norm,
               launch->out[0].dtype == TD_F64, launch->out[0].data, factor);
    clip_all(launch, factor, 0);
}

void TD_CUDA(clip_grad_value_)(struct td_launch *launch)
{
    clip_all(launch, NULL, ((const struct td_clip_grad_value__attrs *)launch->attrs)->clip_value);
}
