/* The matrix product; private to kernels/cuda. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_BLAS_H
#define TD_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/internal.h"
#include "kernels/products.h"

/* Takes what products need of the device while it is opened. */
cudaError_t td_cuda_blas_open(void);

/* out = a b, or with add out += a b, and then plus bias, a row of columns of out; NULL: none. a and b are of one dtype,
 * and out and bias of the same; or a and b are halves, and they are f32. Halves are added up in f32 and rounded once.
 * out's rows are dense; no size is 0. Takes no scratch. */
void td_cuda_multiply(const struct td_products &products, const struct td_operand *bias, bool add);

/* Whether the library reads a matrix, or a bias, where it lies. What it does not is multiplied all the same, slowly. */
bool td_cuda_reads_matrix(const struct td_operand &x);
bool td_cuda_reads_bias(const struct td_operand &bias);

#endif
