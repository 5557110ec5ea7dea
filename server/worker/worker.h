/* A worker: owns one device and every session on it, in one process that may be lost.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_WORKER_H
#define TD_SERVER_WORKER_WORKER_H

#include "server/config.h"

/* Serves the clients that come through channel until it ends; then returns the exit status. */
int worker_main(const struct config *config, int channel);

#endif
