/* What a call of a kernel works on, carried to a device whose memory is not the host's, and back. For a device on the
 * host nothing moves. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_CARRY_H
#define TD_TESTS_CARRY_H

#include "kernels/kernels.h"

/* Moves *data, which lies in the bytes at here, to a copy of them in the device's memory: the same distance from a
 * line of memory as they. */
void carry(const struct td_device *device, void **data, char *here, size_t bytes);
/* The same, from operand's first element to its last. */
void carry_operand(const struct td_device *device, struct td_operand *operand);
/* All that was carried comes back, and the device's memory is free for the next call. */
void carry_back(const struct td_device *device);

#endif
