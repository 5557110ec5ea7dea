/* The device's instruments, looked at once a second on a thread of libuv's and shown in the black box.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_INSTRUMENTS_H
#define TD_SERVER_WORKER_INSTRUMENTS_H

#include "server/worker/worker.h"

/* Nothing to do for a device that has none. Returns 0, or -1. They end with the worker's loop. */
int instruments_start(struct worker *worker);

#endif
