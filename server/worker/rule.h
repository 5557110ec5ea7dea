/* Gradient rules, written in ops of the table. A rule runs when its node is reached; what it calls is only noted down,
 * with shapes inferred, and carried out afterwards one op at a time, so that a rule of ten ops stops nobody else and
 * can itself be recorded for a higher order. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_RULE_H
#define TD_SERVER_WORKER_RULE_H

#include "server/worker/tape.h"

/* What the gradient of input 0 is of the value given for it. */
enum giving {
    GIVES_ALL,    /* it is the value */
    GIVES_WINDOW, /* the value stands in a window, and 0 beside it */
    GIVES_REST    /* it is the value with 0 in a window */
};

/* Inputs of one op that a rule emits. */
#define RULE_INPUTS (2 + TD_RANK_MAX)

/* A value of a rule: a tensor, or a number, or what a step will give. */
typedef int ref;

struct rule_value {
    struct td_meta meta;
    struct tensor *tensor; /* NULL until its step has run */
    bool is_number;
    struct td_number number;
    int last_step; /* that reads it; -1: none */
};

struct rule_step {
    const struct td_op *op;
    int64_t attrs[TD_ATTR_SLOTS];
    int in_count;
    uint16_t list_counts[TD_PARAMS_MAX]; /* of the one list that it may have */
    ref in[RULE_INPUTS];
    ref out;                 /* of its first result; further ones follow */
    const struct draw *draw; /* RANDOM: draws as the node's op did */
};

struct rule {
    struct session *session;
    struct node *node;
    bool create;               /* what is made is recorded in its turn */
    uint64_t walk;             /* not 0: of inputs on the way of that search only a gradient is needed */
    uint32_t came;             /* bit k: output k has got a gradient */
    struct td_failure failure; /* the first that went wrong while noting down */
    int value_count, value_capacity, step_count, step_capacity, gradient_capacity;
    struct rule_value *values;
    struct rule_step *steps;
    ref *gradients; /* of each input of node, -1: none */
    enum giving giving;
    struct td_meta window; /* of the content of input 0, contiguous */
};

/* A gradient rule; g is the gradient of the node's first output. */
typedef void grad_rule(struct rule *rule, ref g);

/* Whether input k is to be given a gradient. */
static inline bool rule_needs(const struct rule *rule, int k)
{
    const struct node *to = rule->node->in[k].node;
    return to && (!rule->walk || node_on_way(to, rule->walk));
}

/* What rules are made of; rule_ops.h gives these and the ops their short names. A failure is carried along in rule, so
 * that no call needs checking; the value is then any. */
ref rule_number(struct rule *rule, struct td_number number);
/* One more op: its first result. */
ref rule_step(struct rule *rule, enum td_op_id id, const void *attrs, int in_count, const ref *in);
/* Input k, or output k, as the tape kept it. */
ref rule_in(struct rule *rule, int k);
ref rule_output(struct rule *rule, int k);
/* The gradient of output k beside the first; zeros where none came. Once in a rule. */
ref rule_gradient(struct rule *rule, int k);
/* value is the gradient of input k, once broadcasting and conversions are undone. */
void rule_give(struct rule *rule, int k, ref value);
/* Gives for input 0 what is only a window of it: how much that is, not how large the input, is what a walk has to write
 * (a loop over the rows of a matrix would write all of it for each). window's elements lie apart; where the walk is
 * recorded itself, ops make the whole of it. */
void rule_give_window(struct rule *rule, enum giving giving, const struct td_meta *window, ref value);

/* Notes down the rule of node for what is pending at its outputs, which it takes over. Returns the code of
 * rule->failure. */
int rule_write(struct rule *rule, struct session *session, struct node *node, bool create);
/* Lets go of all values that are left; the rule can be written again. */
void rule_clear(struct rule *rule);
/* Gives back the rule's own memory, cleared before. */
void rule_deinit(struct rule *rule);

#endif
