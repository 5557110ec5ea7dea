/* Checkpoints: a stretch of requests whose graph is not kept. While it lasts its requests are carried out without a
 * tape and recorded as a program; at its end what it made and what is still held becomes the outputs of one node, which
 * keeps the tensors that came from outside as they were before. The walk replays the program from those, with the same
 * random numbers and now with a tape, and goes on down that: whatever order of derivative is asked for falls out.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_CHECKPOINT_H
#define TD_SERVER_WORKER_CHECKPOINT_H

#include "server/worker/program.h"
#include "server/worker/tape.h"

/* A tensor from outside, as a window on what its storage held when the stretch first looked at it. */
struct window {
    struct td_meta meta;
    int content;
};

struct checkpoint {
    struct program *program;
    struct draw draw;          /* where the session's random numbers stood */
    struct storage **contents; /* forks: whoever writes to either gets a copy */
    struct storage **origins;  /* while it is recorded: whose forks they are; with references */
    size_t content_count, content_capacity, origin_capacity;
    struct window *windows; /* one for each capture of the program */
    size_t window_count, window_capacity;
};

int checkpoint_begin(struct session *session, uint32_t site, struct td_failure *failure);
int checkpoint_end(struct session *session, uint32_t site, struct td_failure *failure);
/* A capture has been added to the program of recording. False without memory. */
bool checkpoint_captures(struct recording *recording, struct tensor *tensor);
/* Gives the program its captures back, tied to the graph as node's inputs are. */
int checkpoint_restore(struct session *session, struct node *node, struct td_failure *failure);
void checkpoint_free(struct session *session, struct checkpoint *checkpoint);

#endif
