/* The CUDA device: a plug-in, so that the daemon itself needs neither CUDA nor a driver. A worker loads it when it is
 * asked for a CUDA device. One stream: everything is done in the order in which it was asked for, whoever asked.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_CUDA_H
#define TD_KERNELS_CUDA_CUDA_H

#include "kernels/kernels.h"

/* The plug-in's only symbol, by dlsym. Opens CUDA device number index of those that CUDA_VISIBLE_DEVICES leaves, once
 * in a process. cpu computes what has no kernel on the device; operands are carried there and back. Returns NULL with
 * the reason in failure where there is no driver, too old a one, or no such device; the device is static.
 * A device that breaks while it works (an error that stays with its context) ends the process: nothing of what it
 * holds can be had any more, and whoever started the process starts the next. */
#define TD_CUDA_OPEN "td_cuda_open"
typedef const struct td_device *td_cuda_opener(int index, const struct td_device *cpu, struct td_failure *failure);

#endif
