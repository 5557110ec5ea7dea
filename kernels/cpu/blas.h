/* The matrix product of floats; private to kernels/cpu, compiled once. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_BLAS_H
#define TD_KERNELS_CPU_BLAS_H

#include "kernels/kernels.h"

/* out = a b in f32 or f64, or with add out += a b; out's rows are dense, and no size is 0. */
void td_cpu_multiply(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out, bool add);
/* Whether it reads a matrix as it lies; else it copies it first. */
bool td_cpu_multiply_reads(const struct td_operand *x);

#endif
