/* Functions of the client's: a forward program that is run, and a node whose rule is a backward program. The backward
 * program's inputs are the gradients of the outputs and then what the forward one saved, its outputs the gradients of
 * the inputs. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_APPLY_H
#define TD_SERVER_WORKER_APPLY_H

#include "server/worker/program.h"
#include "server/worker/tape.h"

/* Where a saved value is from, which says what it is differentiated by. */
enum kept_from { KEPT_INPUT, KEPT_OUTPUT, KEPT_INSIDE };

struct kept {
    enum kept_from from;
    int index;           /* of the input or output */
    struct saved *saved; /* NULL: released */
};

struct applied {
    struct program *backward; /* NULL: there is none, and why says why */
    const char *why;          /* a constant */
    char name[TD_NAME_BYTES];
    struct checkpoint *checkpoint; /* it is one: there is no backward program */
    uint32_t function;             /* the client's number of it, which runs its backward itself; 0: the daemon does */
    uint32_t bin_bytes;
    uint8_t *bin; /* what the client wants to be told when it is called */
    bool once;    /* the gradient is not to be differentiated again */
    int kept_count;
    struct kept kept[];
};

/* One application of forward to inputs: then gets out_count tensors (NULL: none) that are tied to the graph, with their
 * references. */
struct application {
    struct program *forward, *backward; /* backward may be NULL */
    /* Without a forward: what the client has made itself, by its function of that number; borrowed. */
    uint32_t function, bin_bytes;
    const char *name;
    const uint8_t *bin;
    struct tensor *const *results; /* out_count outputs, then what is saved */
    int result_count;
    uint32_t flags; /* enum td_apply_flag */
    uint32_t site;
    bool grad, marks; /* as an operation's */
    int in_count, out_count;
    struct tensor *const *in; /* borrowed until the call is back */
    program_then *then;
    void (*dropped)(struct session *session, void *data);
    void *data;
};
int apply_run(struct session *session, const struct application *application, struct td_failure *failure);
int apply_results(struct session *session, const struct application *application, struct td_failure *failure);

/* The walk is at a node of a function: inputs gets what its backward is run on behind the first out_count, with
 * references. */
int applied_inputs(struct session *session, struct node *node, bool create, struct tensor **inputs,
                   struct td_failure *failure);
/* Ties gradient to a node that refuses to be walked. */
int applied_refuse(struct session *session, struct node *node, struct tensor *gradient, const char *why,
                   struct td_failure *failure);
void applied_release(struct session *session, struct applied *applied);
void applied_free(struct session *session, struct applied *applied);

#define APPLIED_ONCE "is marked as once differentiable"
#define APPLIED_INSIDE \
    "saved a value that is neither an input nor an output, so that its second derivative is not known"

#endif
