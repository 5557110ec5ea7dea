/* Matrix products: floats by BLAS, integers by a plain loop. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/internal.h"

/* Row by row of b, so that the inner loop runs along both; wraps. */
static void multiply_integers(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out)
{
    int64_t rows = out->shape[0], columns = out->shape[1], inner = a->shape[1];
    memset(out->data, 0, (size_t)(rows * columns) * sizeof(uint64_t));
    for (int64_t i = 0; i < rows; i++) {
        uint64_t *y = (uint64_t *)out->data + i * columns;
        for (int64_t k = 0; k < inner; k++) {
            uint64_t factor = ((const uint64_t *)a->data)[i * a->stride[0] + k * a->stride[1]];
            const uint64_t *x = (const uint64_t *)b->data + k * b->stride[0];
            int64_t step = b->stride[1];
            if (step == 1)
                for (int64_t j = 0; j < columns; j++)
                    y[j] += factor * x[j];
            else
                for (int64_t j = 0; j < columns; j++)
                    y[j] += factor * x[j * step];
        }
    }
}

void TD_CPU(matmul)(struct td_launch *launch)
{
    const struct td_operand *a = &launch->in[0], *b = &launch->in[1], *out = &launch->out[0];
    if (td_operand_numel(out) == 0)
        return;
    if (out->dtype == TD_I64)
        multiply_integers(a, b, out);
    else if (a->shape[1] == 0)
        memset(out->data, 0, (size_t)td_operand_numel(out) * td_dtype_size(out->dtype));
    else
        td_cpu_multiply(a, b, out);
}
