/* The backward walk: from a root down the tape to its leaves, as an iterator on the session's stack.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_BACKWARD_H
#define TD_SERVER_WORKER_BACKWARD_H

#include "server/worker/session.h"

/* Begins the walk for the request in work; seed: the gradient of root, NULL: 1, for a
 * root of one element. retain: the graph can be walked again. create: what the walk computes is recorded. The leaves'
 * gradients change together at the end, or, where anything fails, not at all. */
int backward_start(struct session *session, struct tensor *root, struct tensor *seed, bool retain, bool create,
                   uint32_t site, struct td_failure *failure);

#endif
