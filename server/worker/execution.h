/* What one op in work needs, from its request to its result. Private to the files of the executor.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_EXECUTION_H
#define TD_SERVER_WORKER_EXECUTION_H

#include "server/worker/errand.h"
#include "server/worker/exec.h"

/* Inputs of an ordinary op. Steps have lists: their arrays are allocated. */
#define EXEC_INPUTS 8

struct conversion {
    struct td_operand from;
    struct td_to_attrs attrs;
    struct storage *storage;
    struct td_launch launch;
};

/* What TD_DETECT_ANOMALY saw (anomaly.c). */
struct anomaly {
    unsigned before;            /* what stood in what is written, before it was: enum oddity */
    const struct tensor *found; /* where; NULL: nowhere */
    bool negative, nan;
    int which;        /* of the results, or of a step's parameters, it is */
    int64_t position; /* of the element, row by row */
};

struct execution {
    struct errand errand;
    struct session *session;
    struct operation operation;
    exec_then *then;
    void *data;

    int64_t attrs[TD_ATTR_SLOTS];
    uint16_t list_counts[TD_PARAMS_MAX];
    struct source *in;
    struct td_meta *metas;
    struct td_operand *operands;
    struct td_operand *grads; /* steps: one for each parameter, allocated */
    void *lists;              /* one allocation behind the three above where they are not the small ones */
    struct source small_in[EXEC_INPUTS];
    struct td_meta small_metas[EXEC_INPUTS];
    struct td_operand small_operands[EXEC_INPUTS];
    int64_t immediates[EXEC_INPUTS]; /* numbers, as elements of the dtype that is computed in */

    bool sized;   /* it has a SIZE */
    int64_t size; /* its value, where the device does not show it to the host */
    bool fetched; /* it is there */
    struct td_inference inference;
    struct td_failure failure;
    bool recorded;                      /* some input wants a gradient and recording is on */
    bool marked;                        /* it would be recorded, but for a checkpoint in work */
    bool watched;                       /* its results are looked at: anomaly */
    bool offloaded;                     /* it went to the device's thread */
    uint64_t node_number;               /* of the node that it made; 0: none */
    uint64_t took_ns;                   /* 0: too short to be timed */
    struct tensor *out[TD_OUTPUTS_MAX]; /* the results so far */

    /* Conversions to the dtype that is computed in, and to a contiguous layout, run before the op. */
    struct conversion *conversions;                       /* small_conversions, or behind lists */
    struct conversion small_conversions[2 * EXEC_INPUTS]; /* two an input at most */
    int conversion_count;
    /* Results in a dtype that the kernel does not work in are rounded from what it gave. */
    struct conversion narrowings[TD_OUTPUTS_MAX];
    int narrowing_count;
    bool launches; /* launch is to be run */
    uint8_t lane;  /* that it is put into */
    struct td_launch launch;
    struct anomaly anomaly;
};

/* anomaly.c: looks at what is about to be written, and at what has been; touches nothing of the session. */
void anomaly_before(struct execution *execution);
void anomaly_after(struct execution *execution);
/* What anomaly_after found becomes the failure, and the name of what failed is returned. */
const char *anomaly_fail(struct execution *execution);

/* prepare.c: everything before the kernel; a failure leaves no trace but the failure. */
int execution_prepare(struct execution *execution);
/* The node of a recorded op; NULL with the failure. */
struct node *execution_record(struct execution *execution);
/* The gradient of a step's parameter k; NULL if it has none. */
const struct tensor *execution_gradient(const struct execution *execution, int k);
/* The value of a SIZE, which the ops before this one have left on the device; inference says what is wrong with it. */
int64_t execution_read_size(const struct execution *execution);

/* operands.c: operand shows the elements of meta at data. */
void operand_of(struct td_operand *operand, const struct td_meta *meta, void *data);
/* Fills operands, and conversions with what has to be copied first. */
int make_operands(struct execution *execution);
/* Sees to it that the launch's result k is in a dtype that its kernel works in. */
int make_result(struct execution *execution, int k);

/* Runs the launches of execution, here. Touches nothing of the session. */
void execution_run(struct execution *execution, const struct td_device *device);
/* The same, and how long it took. */
void execution_run_timed(struct execution *execution, const struct td_device *device);
/* Roughly the nanoseconds that execution_run takes. */
uint64_t execution_cost(const struct execution *execution, const struct td_device *device);
/* Everything after the kernel: the fault, the tape, then. Frees execution. */
void execution_finish(struct execution *execution);

#endif
