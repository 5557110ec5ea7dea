/* The supervisor: listens, reads who a client is, hands it to the worker, and starts another worker when one is lost.
 * It holds no tensor and runs no op, so that nothing a client does can take it down.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_SUPERVISOR_SUPERVISOR_H
#define TD_SERVER_SUPERVISOR_SUPERVISOR_H

#include "server/config.h"

/* Serves until SIGTERM or SIGINT; returns the exit status. started_ns: uv_hrtime() when the process began. */
int supervisor_main(const struct config *config, uint64_t started_ns);

#endif
