/* The backward walk from within: what backward.c and walk_programs.c share. Private to both.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_WALK_H
#define TD_SERVER_WORKER_WALK_H

#include "server/worker/rule.h"
#include "server/worker/wanted.h"

enum phase {
    PHASE_SEARCH, /* finds what lies between the roots and the wanted gradients */
    PHASE_SEED,   /* gives the roots their gradients, made where none was given */
    PHASE_NODE,   /* takes the next node */
    PHASE_HOOK,   /* runs the hooks on its gradients */
    PHASE_RETAIN, /* gives its gradient to who is to keep it */
    PHASE_RULE,   /* writes its rule down behind them; at once where nobody keeps it */
    PHASE_RUN,    /* runs the rule's steps */
    PHASE_FILL,   /* the node is a function's: makes zeros of the gradients that have not come */
    PHASE_CALL,   /* runs its backward program, or calls the client */
    PHASE_RELAY, /* the node is a checkpoint's, whose program has been run: hands its gradients to that one's results */
    PHASE_DELIVER, /* hands the gradients to the inputs' nodes */
    PHASE_LEAVES,  /* runs the hooks on the gradients of leaves */
    PHASE_COMBINE, /* adds to the gradients that leaves have already */
    PHASE_GATHER,  /* makes the wanted gradients out of what has come */
    PHASE_COMMIT
};

struct root {
    struct node *node; /* with a reference */
    uint8_t output;
    struct tensor *seed; /* with a reference; NULL until it is made */
};

/* A gradient that is pending at a node, while another walk of the session may meet the same node. */
struct aside {
    struct node *node; /* borrowed: in the heap, among the leaves, or in work */
    int output;
    struct tensor *pending;
};

struct walk {
    struct iterator iterator;
    struct walk *outer; /* further down on the session's stack */
    enum phase phase, after_search;
    bool retain, create;
    bool waits;       /* its client does: it may be called, and is told of the end */
    uint64_t request; /* that asked for it */
    uint32_t site;
    const char *name; /* as what it fails */
    struct root *roots;
    int root_count;
    struct wanted *wanted;   /* NULL: every leaf gets its gradient */
    struct node_list heap;   /* nodes with a gradient pending, the highest number first */
    struct node_list leaves; /* leaves with a gradient pending */
    struct rule rule;
    struct tensor **gradients;             /* of a function's inputs, in_count of the node's; NULL: the rule has them */
    struct tensor **replayed;              /* a checkpoint's results, out_count of the node's */
    struct draw outer_draw;                /* where the session's random numbers stood before its replay */
    struct node *node;                     /* whose rule is in work, with a reference */
    uint64_t hook, last_hook;              /* the orders of the last hook that ran, and of the last that is to */
    struct tensor **hooked;                /* the gradient that a hook gave, until it is made the walk's own */
    struct retained *retained;             /* the next of those who are to keep its gradient */
    struct tensor *window;                 /* of a gradient, while something is written there */
    bool blank;                            /* that gradient has been made for it and is zeros */
    int at;                                /* root, step, input, leaf or target that is next */
    struct tensor **slots[TD_OUTPUTS_MAX]; /* where the results of the op in work go */
    int slot_count;
    const struct draw *draw; /* of the op in work, NULL but for a repeated drawing */
    struct aside *aside;     /* NULL: nobody else has looked at the graph meanwhile */
    size_t aside_count;
    struct cause *cause; /* what failed */
};

/* The walk fails, for the first reason that it has; at another line than its own. */
void walk_fail(struct session *session, struct walk *w, const struct td_failure *failure);
void walk_fail_at(struct session *session, struct walk *w, uint32_t site, const struct td_failure *failure);
void walk_no_memory(struct session *session, struct walk *w);
/* value in the shape and dtype of out goes to slot. */
void walk_full(struct session *session, struct walk *w, const struct td_meta *out, double value, struct tensor **slot);
/* The first gradient that reaches an output of a node waits there, further ones are added. */
void walk_hand_on(struct session *session, struct walk *w, struct node *to, uint8_t output, struct tensor *gradient);
/* Makes a gradient contiguous, and nobody else's storage. False: an op has been run for that, or there is no memory;
 * call again. */
bool walk_make_own(struct session *session, struct walk *w, struct tensor **gradient);
/* The same of one whose layout is fine, and whose node may be a leaf. False: there is no memory. */
bool walk_fork(struct session *session, struct walk *w, struct tensor **gradient);
static inline bool walk_passes(const struct walk *w, const struct node *node)
{
    return !w->wanted || node_on_way(node, w->wanted->walk);
}

/* ---- programs that the walk runs (walk_programs.c); each function is a step of a phase ---- */

/* What the rule, or the function's backward, gave for input k; NULL: none. */
struct tensor *walk_gradient(const struct walk *w, int k);
/* Of one that is there and no error value: it must be of its input's shape and dtype. */
void walk_check_gradient(struct session *session, struct walk *w, int k, struct td_failure *failure);
void walk_fill(struct session *session, struct walk *w);
void walk_call_function(struct session *session, struct walk *w);
void walk_call_checkpoint(struct session *session, struct walk *w);
/* The replay's nodes are younger than all that wait, so that the walk goes on there. */
void walk_relay(struct session *session, struct walk *w);
/* A step of the hooks on the gradients at node. A hook sees a tensor of its own, contiguous as the one that it was
 * traced with, and what it gives is made one, too: neither can change with what somebody writes later. False: they are
 * done. */
bool walk_hooks(struct session *session, struct walk *w, struct node *node);
/* Lets go of what a function or a checkpoint has given. */
void walk_drop_gradients(struct session *session, struct walk *w);
void walk_drop_replayed(struct session *session, struct walk *w);

#endif
