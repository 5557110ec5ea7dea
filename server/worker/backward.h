/* The backward walk: from roots down the tape to leaves, as an iterator on the session's stack.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_BACKWARD_H
#define TD_SERVER_WORKER_BACKWARD_H

#include "server/worker/session.h"

struct wanted;

/* What a walk is to do. */
struct errand {
    const char *name; /* as what it fails; a constant */
    uint32_t site;
    int root_count;
    struct tensor **roots, **seeds; /* seed: the gradient of root, NULL: 1, for a root of one element */
    bool waits;                     /* the client waits for the end: it is told then, and may be called before */
    bool retain;                    /* the graph can be walked again */
    bool create;                    /* what the walk computes is recorded */
    bool constants;                 /* a root that wants no gradient is no error, it gives none */
    struct wanted *wanted;          /* the gradients asked for; NULL: every leaf's is added to */
};

/* Begins the walk for the request in work. The gradients change, or come into being,
 * together at the end, or, where anything fails, not at all. On success errand->wanted is taken over. */
int backward_start(struct session *session, const struct errand *errand, struct td_failure *failure);
/* Walks and surveys leave marks and gradients at nodes. Before another begins, those that wait further down on the
 * session's stack take theirs away; they put them back when it is their turn again. */
int walks_step_aside(struct session *session, struct td_failure *failure);

#endif
