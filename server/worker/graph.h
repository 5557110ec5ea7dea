/* What a tensor's graph is made of, for people: an iterator that looks at a few nodes a step and then answers.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_GRAPH_H
#define TD_SERVER_WORKER_GRAPH_H

#include "server/worker/session.h"

/* Begins the answer to the request in work, as an iterator on the session's stack. limit: ops, and leaves, that are
 * listed. */
int graph_start(struct session *session, struct tensor *tensor, uint32_t limit, uint32_t site,
                struct td_failure *failure);
/* The answer where there is only an error. */
void graph_failed(struct session *session, const struct cause *cause);

#endif
