/* The gradients that a walk is asked for (td_grad_of), instead of adding to those of all leaves. Only nodes on a way
 * from a root to a target are walked: others keep what they saved, and cost nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_WANTED_H
#define TD_SERVER_WORKER_WANTED_H

#include "server/worker/decoder.h"
#include "server/worker/nodes.h"

struct target {
    struct node *node; /* with a reference */
    uint8_t output;
    bool of_content;         /* it is that of all content, and the result is meta's window of it */
    uint32_t handle;         /* of the result */
    struct td_meta meta;     /* shape and dtype of the result */
    struct tensor *gradient; /* NULL: none has come yet */
};

struct wanted {
    uint64_t walk;  /* its mark on nodes */
    bool zeros;     /* what the roots do not depend on has a gradient of zeros */
    uint64_t floor; /* the lowest number of a target: below it nothing is on the way */
    struct node_list heap, found;
    int count;
    struct target targets[];
};

/* NULL without memory. The targets are to be filled by the caller. */
struct wanted *wanted_new(struct session *session, int count);
void wanted_free(struct session *session, struct wanted *wanted);
/* Marks the targets. All are filled. */
void wanted_begin(struct wanted *wanted);
/* The same once more, for another search: who has begun one since may have overwritten marks of this. */
void wanted_again(struct session *session, struct wanted *wanted);
/* The search for the ways begins at this node, too. False without memory, as of wanted_search. */
bool wanted_from(struct wanted *wanted, struct node *root);
/* A piece of the search; *more: call again. */
bool wanted_search(struct session *session, struct wanted *wanted, bool *more);
/* What is pending at node, whose turn has come, goes to the targets there. */
void wanted_take(struct wanted *wanted, const struct node *node);
/* Binds the results, or error values of cause, to the targets' handles. */
void wanted_bind(struct session *session, struct wanted *wanted, uint32_t site, struct cause *cause);

/* Request GRADS. */
void grads_run(struct session *session, struct request *request, struct td_failure *failure);

#endif
