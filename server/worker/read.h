/* Reading a tensor's elements: converted, made contiguous, and sent in chunks in place.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_READ_H
#define TD_SERVER_WORKER_READ_H

#include "server/worker/host.h"

/* Where the elements go: into memory that the client sees, from byte at on. host NULL: with the answer. */
struct reading_target {
    struct host *host;
    size_t at;
};

/* Answers the request in work with tensor's elements as dtype (TD_DTYPE_NONE: its own), now or bit by bit. The request
 * counts as done at once: what is sent is what the tensor holds now, whatever is written to it meanwhile. */
void read_start(struct session *session, struct tensor *tensor, uint8_t dtype, uint32_t site, struct reading_target to);

#endif
