/* Hooks: programs that a walk runs on the gradient of a tensor as soon as it is complete. A hook belongs to the node
 * that the tensor's gradient goes to, and ends with it, or when it is taken away. SPDX-License-Identifier: Apache-2.0
 */
#ifndef TD_SERVER_WORKER_HOOKS_H
#define TD_SERVER_WORKER_HOOKS_H

#include "server/worker/program.h"
#include "server/worker/tape.h"

struct hook {
    struct hook *next;                        /* of the node, in the order in which they came */
    struct hook *program_next, *program_prev; /* that run the same program */
    struct node *node;
    struct program *program; /* with a reference */
    uint64_t order;          /* by the session's count of hooks, from 1 */
    uint8_t output;          /* of the node */
};

/* Adds a hook on output of node: program, which is known as number from now on. */
int hook_add(struct session *session, struct node *node, uint8_t output, struct program *program, uint32_t number,
             struct td_failure *failure);
/* Ends all hooks that are known as number; there may be none left. */
void hooks_remove(struct session *session, uint32_t number);
/* Ends all of node. */
void hooks_free(struct session *session, struct node *node);
/* The first hook of node with a gradient to be run on and after < order <= last; NULL: none. */
struct hook *hook_next(const struct node *node, uint64_t after, uint64_t last);

#endif
