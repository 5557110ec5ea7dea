/* The tape: a node for each recorded op, with what its gradient rule reads and nothing else. A node points to the nodes
 * of its inputs; a leaf's node is where its gradient gathers. Histories keep gradients right through writes to views.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_TAPE_H
#define TD_SERVER_WORKER_TAPE_H

#include "server/worker/tensor.h"

struct worker;
struct applied;

/* A computed tensor whose gradient td_grad is to show. In the list of the node that the tensor is of; nobody else knows
 * it, so that a gradient that leads back to its own tensor holds neither. */
struct retained {
    struct tensor *tensor;
    struct node *sink; /* a leaf's node, that of no tensor: the gradient gathers there */
    struct retained *prev, *next;
};

/* What a RANDOM op drew from: enough to draw the same again. */
struct draw {
    uint64_t seed, counter;
};

struct node_input {
    struct node *node;   /* where this input's gradient goes; NULL: it wants none */
    uint8_t output;      /* as which of its outputs */
    struct saved *saved; /* NULL: the rule does not read it, or it was a number */
    struct td_number number;
    struct td_meta meta; /* shape and dtype, which every rule may read */
};

struct node_output {
    struct tensor *pending; /* during a walk: the gradient, as far as it is known */
    struct saved *saved;    /* NULL: the rule does not read it */
    struct td_meta meta;    /* shape and dtype */
};

/* What a search for the ways from roots to targets has noted at a node (wanted.h). */
enum way {
    WAY_SEEN = 1,   /* in line to be looked at, or looked at */
    WAY_TARGET = 2, /* its gradient is wanted */
    WAY_RUNS = 4    /* that of something it was computed from is */
};

struct node {
    uint32_t refs;
    uint32_t site;   /* the caller's line */
    uint64_t number; /* in order of making: every input's is smaller; 0 for a leaf */
    uint64_t request;
    const struct td_op *op;    /* NULL: a leaf */
    struct draw draw;          /* of a RANDOM op */
    struct applied *applied;   /* a function of the client's; NULL: an op */
    bool released;             /* its saved values are gone */
    struct tensor *grad;       /* leaf: the gradient so far, NULL: none */
    struct retained *retained; /* of tensors that it is the node of */
    struct hook *hooks;        /* on its outputs, in the order in which they came (hooks.h) */
    uint32_t tensors; /* leaf: those that it is the node of; grad ends with the last, since nobody can ask for it */
    bool waits;       /* leaf: among the dead, only to have its gradient dropped */
    uint8_t way;      /* enum way, of the search with number walk */
    uint32_t place;   /* of that search: where it stands in its list, from 1 */
    uint64_t walk;
    bool queued;   /* during a walk: it is in the heap or among the leaves */
    bool combined; /* during a walk: what is pending has been added to grad */
    struct node *next_dead;
    struct session *session; /* once dead or waiting: whose it was */
    int out_count;           /* a leaf has one: itself */
    struct node_output *out; /* inside the node's own memory, as attrs */
    int64_t *attrs;          /* of the op; inside the node's own memory */
    int in_count;
    struct node_input in[];
};

struct node *node_ref(struct node *node);
/* The last reference sends the node to the worker's list of dead ones. */
void node_unref(struct session *session, struct node *node);
/* Makes output of node what tensor's gradient goes to: takes over a reference of node, which may be NULL, and lets go
 * of the node that tensor had. */
void tensor_tie(struct session *session, struct tensor *tensor, struct node *node, uint8_t output);
/* The gradient of a computed tensor is kept from now on. -1 without memory. */
int tensor_retain_grad(struct tensor *tensor);
/* The end of that. */
void tensor_forget_grad(struct session *session, struct tensor *tensor);
/* Where the gradient of a tensor gathers: at a leaf's node, or what tensor_retain_grad has made; NULL: nowhere. */
struct node *tensor_sink(const struct tensor *tensor);
/* Frees up to limit dead nodes; true if more are waiting. */
bool node_bury(struct worker *worker, int limit);

/* A leaf's node for a tensor of that shape. NULL without memory, as all functions here that make something. */
struct node *node_leaf(const struct tensor *tensor);
/* A node without inputs' nodes and saved values, to be filled by the caller. */
struct node *node_new(struct session *session, const struct td_op *op, const void *attrs, uint32_t site, int in_count);
/* The same for a function of the client's. */
struct node *node_of_function(struct session *session, struct applied *applied, uint32_t site, int in_count,
                              int out_count);
/* Gives back what is saved, when a walk has passed. */
void node_release(struct session *session, struct node *node);

static inline bool node_is_leaf(const struct node *node)
{
    return node && !node->op;
}

static inline bool node_on_way(const struct node *node, uint64_t walk)
{
    return node->walk == walk && node->way & (WAY_TARGET | WAY_RUNS);
}

/* The node that tensor's gradient goes to, after what has been written to its storage since; NULL if it wants none.
 * Borrowed. *failed is set where memory ran out. */
struct node *tensor_edge(struct session *session, struct tensor *tensor, bool *failed);
/* Ties a new view to its base's history. grad: recording is on, or only a checkpoint in work keeps it off. */
int history_view(struct tensor *base, struct tensor *view, bool grad);
/* The node of a view of base that may look beyond base: its window of all that the family holds. With a reference; NULL
 * without *failed: there is no more to reach than base. */
struct node *history_reach(struct session *session, struct tensor *base, struct tensor *view, bool *failed);
/* After a recorded write to target whose result the node written stands for: advances the history. */
int history_write(struct session *session, struct tensor *target, struct node *written);
/* Where the gradients of a base meet that come from itself and from all that were its views in this version: the node
 * of all content, of which tensor is a window; NULL: at its own node. After tensor_edge; borrowed. */
struct node *history_meets(const struct tensor *tensor, uint8_t *output);
/* The same where only a checkpoint in work keeps the write from being recorded. */
int history_mark(struct tensor *target);
/* Whether tensor would want a gradient, but for a checkpoint in work. */
bool tensor_is_marked(const struct tensor *tensor);
/* What history shows from now on is output of node, whose reference is taken over: of its base, or, if not whole, of
 * all its content. */
void history_become(struct session *session, struct history *history, struct node *node, uint8_t output, bool whole);
/* What that output shows, and the node that shows it now, with a reference; NULL without *failed: it wants no
 * gradient. */
struct td_meta history_shown(const struct history *history, bool whole);
struct node *history_end(struct session *session, struct history *history, bool whole, uint8_t *output, bool *failed);
/* Whether a recorded write to target breaks a rule (a leaf, a view of one, a view made under no_grad). */
int history_refuses(const struct tensor *target, bool recorded, struct td_failure *failure);
void history_unref(struct session *session, struct history *history);
/* requires_grad_(): marks the family of a tensor that becomes a leaf. */
void history_mark_leaf(struct tensor *tensor, bool leaf);

#endif
