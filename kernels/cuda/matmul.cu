/* matmul and linear: how their operands come to lie as products need them. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/elements.h"

/* A launch costs as much as the copying of so many bytes. */
#define LAUNCH_BYTES 5000000
/* Copies begin where any algorithm can read them. */
#define ALIGNMENT 256

/* Whether the way to the next product is the same all along. */
static bool is_regular(const struct td_products &p, const int64_t *stride)
{
    for (int d = 0; d + 1 < p.rank; d++)
        if (stride[d] != stride[d + 1] * p.shape[d + 1])
            return false;
    return true;
}

static bool is_shared(const struct td_products &p, const int64_t *stride)
{
    for (int d = 0; d < p.rank; d++)
        if (stride[d])
            return false;
    return true;
}

/* Bytes of the copy that is to stand in for a matrix and those of the next products; 0: they stay. */
static size_t copy_bytes(const struct td_products &p, const struct td_operand &matrix, const int64_t *stride)
{
    int64_t count = td_products_count(&p), longest = 1;
    size_t bytes = (size_t)(matrix.shape[0] * matrix.shape[1]) * td_dtype_size(matrix.dtype);
    for (int d = 0; d < p.rank; d++)
        longest = p.shape[d] > longest ? p.shape[d] : longest;
    bytes *= is_shared(p, stride) ? 1 : (size_t)count;
    bool saves = !is_regular(p, stride) && bytes / LAUNCH_BYTES < (size_t)(count / longest);
    return saves || !td_cuda_reads_matrix(matrix) ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0;
}

/* The matrix, and those of the next products, one behind the other. */
static void copy_matrices(const struct td_products &p, struct td_operand *matrix, int64_t *stride, void *to)
{
    bool shared = is_shared(p, stride);
    int rank = shared ? 0 : p.rank;
    struct td_operand source = *matrix, target = *matrix;
    source.rank = target.rank = (uint8_t)(rank + 2);
    for (int d = 0; d < rank; d++) {
        source.shape[d] = p.shape[d];
        source.stride[d] = stride[d];
    }
    for (int d = 0; d < 2; d++) {
        source.shape[rank + d] = matrix->shape[d];
        source.stride[rank + d] = matrix->stride[d];
    }
    target.data = to;
    memcpy(target.shape, source.shape, sizeof target.shape);
    td_contiguous_strides(target.rank, target.shape, target.stride);
    td_cuda_copy(target, source);
    memcpy(stride, target.stride, (size_t)rank * sizeof *stride);
    matrix->data = to;
    matrix->stride[0] = target.stride[rank];
    matrix->stride[1] = target.stride[rank + 1];
}

static void copy_bias(struct td_operand *bias, void *to)
{
    struct td_operand target = *bias;
    target.data = to;
    target.stride[0] = 1;
    td_cuda_copy(target, *bias);
    *bias = target;
}

/* What the library does not read where it lies is copied; where there is no memory for that, all stays. */
static void settle(struct td_products *p, struct td_operand *bias)
{
    size_t a = copy_bytes(*p, p->a, p->a_stride), b = copy_bytes(*p, p->b, p->b_stride);
    size_t more = bias && !td_cuda_reads_bias(*bias) ? (size_t)p->out.shape[1] * td_dtype_size(bias->dtype) : 0;
    char *memory = a + b + more ? (char *)td_cuda_scratch(a + b + more) : NULL;
    if (!memory)
        return;
    if (a)
        copy_matrices(*p, &p->a, p->a_stride, memory);
    if (b)
        copy_matrices(*p, &p->b, p->b_stride, memory + a);
    if (more)
        copy_bias(bias, memory + a + b);
    td_products_fold(p);
}

/* Sums of nothing. */
static void put_bias(const struct td_operand &out, const struct td_operand *bias)
{
    if (!bias) {
        td_cuda_check(
            cudaMemsetAsync(out.data, 0, (size_t)td_operand_numel(&out) * td_dtype_size(out.dtype), td_stream),
            "a matrix product");
        return;
    }
    struct td_operand row = out;
    row.data = bias->data;
    memset(row.stride, 0, sizeof row.stride);
    if (bias->rank)
        row.stride[row.rank - 1] = bias->stride[0];
    td_cuda_copy(out, row);
}

static void multiply(const struct td_operand &a, const struct td_operand &b, const struct td_operand &out,
                     struct td_operand *bias)
{
    struct td_products p;
    if (td_operand_numel(&out) == 0)
        return;
    td_products_of(&p, &a, &b, &out);
    if (p.a.shape[1] == 0) {
        put_bias(out, bias);
        return;
    }
    if (td_dtype_category(out.dtype) == TD_FLOATING)
        settle(&p, bias);
    td_cuda_multiply(p, bias, false);
}

void TD_CUDA(matmul)(struct td_launch *launch)
{
    multiply(launch->in[0], launch->in[1], launch->out[0], NULL);
}

void TD_CUDA(linear)(struct td_launch *launch)
{
    struct td_operand bias = launch->in[2];
    multiply(launch->in[0], td_product_turned(&launch->in[1]), launch->out[0], bias.data ? &bias : NULL);
}
