/* Which device a worker serves. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_DEVICE_H
#define TD_SERVER_WORKER_DEVICE_H

#include "kernels/kernels.h"

/* Opens the device of that name: "cpu", "cuda:N", or "auto", the first CUDA device where there is one and else the CPU,
 * which the log then gives the reason for. NULL, with the reason in failure: there is no such device. */
const struct td_device *device_open(const char *name, struct td_failure *failure);

#endif
