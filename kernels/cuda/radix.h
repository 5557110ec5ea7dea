/* Sorting by numbers, and running totals. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_RADIX_H
#define TD_KERNELS_CUDA_RADIX_H

#include "kernels/cuda/internal.h"

/* Each of count counters becomes the sum of those before it; total, unless NULL, that of all. In the device's memory.
 */
void td_cuda_running(uint64_t *counters, uint64_t count, uint64_t *total);

/* Room for sorting count keys: two of each, for they go to and fro. */
struct td_radix {
    uint64_t *key[2], *counters;
    uint32_t *position[2];
};
size_t td_radix_bytes(uint64_t count);
struct td_radix td_radix_in(void *memory, uint64_t count);
/* Sorts key[0], all below limit, and position[0] with it; equal keys stay in their order. Returns which of the two has
 * the result. */
int td_cuda_radix_sort(const struct td_radix *radix, uint64_t count, uint64_t limit);

#endif
