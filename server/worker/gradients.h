/* Gradient rules, written in ops of the table. A rule runs when its node is reached; what it calls is only noted down,
 * with shapes inferred, and carried out afterwards one op at a time, so that a rule of ten ops stops nobody else and
 * can itself be recorded for a higher order. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_GRADIENTS_H
#define TD_SERVER_WORKER_GRADIENTS_H

#include "server/worker/tape.h"

/* The most that a rule here needs, twice. */
#define RULE_VALUES 48
#define RULE_STEPS 32
#define RULE_INPUTS 4

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
    ref in[RULE_INPUTS];
    ref out;
};

struct rule {
    struct session *session;
    struct node *node;
    bool create;               /* what is made is recorded in its turn */
    struct td_failure failure; /* the first that went wrong while noting down */
    int value_count, step_count;
    struct rule_value values[RULE_VALUES];
    struct rule_step steps[RULE_STEPS];
    ref gradients[RULE_INPUTS]; /* of each input, -1: none */
};

/* Notes down the rule of node for what is pending at its outputs, which it takes over. Returns the code of
 * rule->failure. */
int rule_write(struct rule *rule, struct session *session, struct node *node, bool create);
/* Lets go of all values that are left. */
void rule_clear(struct rule *rule);

#endif
