/* Whether indices fit. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_INDICES_H
#define TD_KERNELS_CUDA_INDICES_H

#include "kernels/cuda/internal.h"

/* Refuses indices of which one is below its least or not below its size: launch's fault says which element, row by row,
 * of the first such tensor. True if all fit. Waits for the device, and scratch is lost. */
bool td_cuda_indices_all_fit(struct td_launch *launch, int count, const struct td_operand *index, const int64_t *least,
                             const int64_t *size);
bool td_cuda_indices_fit(struct td_launch *launch, const struct td_operand *index, int64_t least, int64_t size);

#endif
