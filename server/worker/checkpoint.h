/* Checkpoints: a stretch of requests whose graph is not kept. While it lasts its requests are carried out without a
 * tape and recorded as a program; at its end what it made and what is still held becomes the outputs of one node, and
 * so does what it wrote to tensors from outside. The node keeps those as they were before. The walk replays the program
 * from that, with the same random numbers and now with a tape, and goes on down what the tape says: whatever order of
 * derivative is asked for falls out.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_CHECKPOINT_H
#define TD_SERVER_WORKER_CHECKPOINT_H

#include "server/worker/program.h"
#include "server/worker/tape.h"

/* A tensor from outside, as a window on what its storage held when the stretch first looked at it. */
struct window {
    struct td_meta meta;
    int content;
    int family; /* -1: it had none */
    uint8_t flags;
    const struct program *of; /* which runs inside, and has it as its capture index; NULL: it was given by a handle */
    size_t index;
};

/* Tensors from outside that share a history. */
struct family {
    struct history start; /* what it was, without nodes: the checkpoint's has them */
    bool of_content;      /* its node's input shows all the content, not only the base */
    bool written, whole;  /* recorded writes have changed it, and of what: the base, or the content */
    int output;           /* written: which, behind those that have handles */
    size_t member;        /* a window of it; one that recorded writes reach if there is any */
};

/* What an output that has a handle shows: its tensor, or what its family has: the base, or all its content. */
enum shown { SHOWN_ITSELF, SHOWN_BASE, SHOWN_CONTENT };

struct checkpoint {
    struct program *program;
    uint8_t *shown;            /* enum shown, for each output of it; NULL until its end */
    struct draw draw;          /* where the session's random numbers stood */
    struct storage **contents; /* forks: whoever writes to either gets a copy */
    struct storage **origins;  /* while it is recorded: whose forks they are; with references */
    size_t content_count, content_capacity, origin_capacity;
    struct window *windows; /* one for each capture of the program */
    size_t window_count, window_capacity;
    struct family *families; /* found at its end; their inputs of the node come behind the windows' */
    size_t family_count, family_capacity;
    int written_count;
    struct node **leaves; /* that were made inside, with references; their inputs of the node come last */
    size_t leaf_count, leaf_capacity, leaf_at; /* leaf_at: the next of the replay */
    uint64_t failures, repeated;               /* of requests inside, and of these again in the replay */
};

int checkpoint_begin(struct session *session, uint32_t site, struct td_failure *failure);
int checkpoint_end(struct session *session, uint32_t site, struct td_failure *failure);
/* A capture has been added to the program of recording. False without memory. */
bool checkpoint_captures(struct session *session, struct recording *recording, struct tensor *tensor);
/* Gives the program its captures back, tied to the graph as node's inputs are. They stay until checkpoint_drop. */
int checkpoint_restore(struct session *session, struct node *node, struct td_failure *failure);
void checkpoint_drop(struct session *session, struct checkpoint *checkpoint);
/* What an output of the node shows. */
enum shown checkpoint_shown(const struct checkpoint *checkpoint, int output);
/* A tensor of the family that is that output behind those that have handles. Borrowed, and there until
 * checkpoint_drop. */
struct tensor *checkpoint_member(const struct checkpoint *checkpoint, int output);
/* The last window that was added is capture index of program, which is run inside; the window that is, NULL: none. */
void checkpoint_note(struct checkpoint *checkpoint, const struct program *program, size_t index);
const struct window *checkpoint_find(const struct checkpoint *checkpoint, const struct program *program, size_t index);
/* What capture index of program is: while a checkpoint is replayed, what that has kept of it. */
struct tensor *checkpoint_shows(const struct session *session, const struct program *program, size_t index);
/* A leaf is made, whose node is taken over: the node that it has, a replay's that of the leaf that it stands for. NULL
 * without memory. */
struct node *checkpoint_leaf(struct session *session, struct node *leaf);
/* A request has failed: counted, if a checkpoint is in work. True: it has in the one that is replayed, and was told
 * then.
 */
bool checkpoint_repeats(struct session *session, int code);
void checkpoint_free(struct session *session, struct checkpoint *checkpoint);

#endif
