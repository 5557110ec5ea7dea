/* Ops that the host computes for the device: their operands are carried there, the CPU's kernel runs, and what it wrote
 * is carried back. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/internal.h"

#include <atomic>
#include <stdlib.h>

/* Counted by whichever thread runs the op, read by the loop's. */
static std::atomic<uint64_t> carried;

uint64_t td_cuda_carried_bytes(void)
{
    return carried.load(std::memory_order_relaxed);
}

/* An operand's bytes on both sides. */
struct mirror {
    char *there, *here;
    size_t bytes;
    bool written;
};

/* The bytes from an operand's first element to its last. */
static size_t extent_bytes(const struct td_operand *operand)
{
    int64_t last = 0;
    for (int d = 0; d < operand->rank; d++) {
        if (operand->shape[d] == 0)
            return 0;
        last += (operand->shape[d] - 1) * operand->stride[d];
    }
    return (size_t)(last + 1) * td_dtype_size(operand->dtype);
}

/* Gives operand its bytes on the host; those that another operand has there already are shared, since a target is one
 * and the same on both sides. */
static bool bring(struct mirror *mirrors, int *count, struct td_operand *operand, bool written)
{
    size_t bytes = extent_bytes(operand);
    if (!operand->data || operand->immediate || !bytes)
        return true;
    for (int k = 0; k < *count; k++)
        if (mirrors[k].there == operand->data && mirrors[k].bytes >= bytes) {
            mirrors[k].written |= written;
            operand->data = mirrors[k].here;
            return true;
        }
    struct mirror *mirror = &mirrors[*count];
    mirror->there = (char *)operand->data;
    mirror->bytes = bytes;
    mirror->written = written;
    mirror->here = (char *)malloc(bytes);
    if (!mirror->here)
        return false;
    ++*count;
    operand->data = mirror->here;
    carried.fetch_add(bytes, std::memory_order_relaxed);
    td_cuda_check(cudaMemcpyAsync(mirror->here, mirror->there, bytes, cudaMemcpyDeviceToHost, td_stream),
                  "an operand on its way to the host");
    return true;
}

static bool bring_all(struct td_launch *launch, struct mirror *mirrors, int *count)
{
    bool step = launch->op->kind == TD_STEP, fits = true;
    int params = step ? launch->list_counts[0] : 0;
    for (int k = 0; k < launch->op->output_count; k++)
        fits &= bring(mirrors, count, &launch->out[k], true);
    for (int k = 0; k < launch->in_count; k++)
        fits &= bring(mirrors, count, (struct td_operand *)&launch->in[k], step);
    for (int k = 0; k < params; k++)
        fits &= bring(mirrors, count, (struct td_operand *)&launch->grads[k],
                      td_op_stepping(launch->op) == TD_STEPS_GRADIENTS);
    return fits;
}

static void return_all(struct mirror *mirrors, int count, bool failed)
{
    for (int k = 0; k < count; k++)
        if (mirrors[k].written && !failed) {
            carried.fetch_add(mirrors[k].bytes, std::memory_order_relaxed);
            td_cuda_check(
                cudaMemcpyAsync(mirrors[k].there, mirrors[k].here, mirrors[k].bytes, cudaMemcpyHostToDevice, td_stream),
                "a result on its way to the device");
        }
    td_cuda_settle(); /* the bytes have been fetched */
    for (int k = 0; k < count; k++)
        free(mirrors[k].here);
}

void td_cuda_on_host(struct td_launch *launch)
{
    struct td_launch there = *launch;
    int in = launch->in_count, grads = launch->op->kind == TD_STEP ? launch->list_counts[0] : 0, count = 0;
    size_t room = (size_t)(in + grads);
    struct td_operand *operands = (struct td_operand *)calloc(room + 1, sizeof *operands);
    struct mirror *mirrors = (struct mirror *)calloc(room + TD_OUTPUTS_MAX, sizeof *mirrors);
    bool fits = operands && mirrors;
    if (fits) {
        memcpy(operands, launch->in, (size_t)in * sizeof *operands);
        if (grads)
            memcpy(operands + in, launch->grads, (size_t)grads * sizeof *operands);
        there.in = operands;
        there.grads = operands + in;
        fits = bring_all(&there, mirrors, &count);
        td_cuda_settle();
    }
    if (fits) {
        td_cuda_host()->run(&there);
        launch->fault = there.fault;
    } else {
        launch->fault.code = TD_E_MEMORY;
    }
    if (mirrors)
        return_all(mirrors, count, launch->fault.code != TD_E_OK);
    free(mirrors);
    free(operands);
}
