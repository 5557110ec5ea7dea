/* The executor: one op on tensors of a session, from inference to the tape. The only place that hands bytes to kernels.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_EXEC_H
#define TD_SERVER_WORKER_EXEC_H

#include "server/worker/session.h"
#include "server/worker/tape.h"

/* An input: a tensor (borrowed while exec_run copies the list), a number where tensor is NULL, or left out. */
struct source {
    struct tensor *tensor;
    bool is_number;
    struct td_number number;
};

struct operation {
    const struct td_op *op;
    const void *attrs;       /* struct td_<op>_attrs; copied */
    const struct source *in; /* in the row's order, lists flat; copied */
    int in_count;
    const uint16_t *list_counts; /* copied */
    const struct draw *draw;     /* RANDOM: draw as before; NULL: go on in the session\'s numbers */
    bool grad;                   /* record for autograd */
    bool marks;                  /* mark what would be recorded, but for a checkpoint in work */
    bool requires_grad;          /* CREATE: the result is a leaf */
    uint32_t site;
    bool gathers;              /* of a walk: at the gradient of a leaf */
    const struct node *walked; /* of a backward rule: whose; NULL else. Need not live longer than exec_run */
};

/* Called once when the op is done, at once or after the device's thread. results has one for each output of the op's
 * row, the callee's with their references: tensors or error values (NULL where the host had no memory even for that);
 * for an op in place the target. cause is what failed just now or before, NULL if nothing did; borrowed. */
typedef void exec_then(struct session *session, struct tensor *const *results, struct cause *cause, void *data);

/* Runs operation. True: it is done and then has been called. False: it went to the device's thread, and the session is
 * parked until then has been called. */
bool exec_run(struct session *session, const struct operation *operation, exec_then *then, void *data);

#endif
