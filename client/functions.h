/* Custom functions from within: what their two forms share, the traced one (function.c) and the one that is called back
 * (called.c). Private to client/; the session's lock is held. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_FUNCTIONS_H
#define TD_CLIENT_FUNCTIONS_H

#include "client/recording.h"

/* Calls of functions within each other: each is some calls deep on the C stack. */
#define FUNCTION_DEPTH_MAX 64

/* A function for one kind of inputs; of one that is called back, for one application. */
struct trace {
    struct trace *next;
    struct td_meta in[TD_FUNCTION_TENSORS];
    uint32_t needs; /* bit k: input k requires a gradient */
    bool once;      /* its backward is not traced for derivatives of its own */
    void *attributes;
    uint32_t forward, backward; /* programs; backward 0: nothing requires a gradient */
    uint32_t flags;             /* of apply */
    int saved_count;
    struct td_meta out[TD_FUNCTION_TENSORS], saved[TD_FUNCTION_SAVED];
    struct cause *cause; /* it cannot be traced */
};

struct td_function {
    td_session *session; /* NULL: closed before */
    struct td_function *next;
    struct td_op op; /* only a name, for what is printed */
    char name[TD_NAME_BYTES];
    uint32_t epoch, number;
    struct trace *traces, *in_work; /* complete; being traced, the innermost first */
    int running;                    /* calls of forward and backward that are called back */
    bool freed;                     /* by the program; the name lives on with the session */
    struct td_function_keywords given;
};

/* One call of forward or backward. */
struct td_context {
    struct td_function *function;
    struct trace *trace; /* NULL: it is called back */
    const void *attributes;
    bool forward;
    uint32_t needs;
    int saved_count;
    td_tensor saved[TD_FUNCTION_SAVED];
    int fixed_count;
    td_tensor fixed[TD_FUNCTION_TENSORS]; /* that are marked as not differentiable */
    struct td_failure failure;            /* of a call of ctx's own */
};

/* Whether ctx says that this output, which forward has given, is a constant. */
bool function_fixes(const struct td_context *ctx, td_tensor output);
/* What ctx failed of, in the function's name. */
struct cause *function_cause(const struct td_context *ctx, td_origin origin);
/* A handle for output k of what trace says of it; 0 if there is none left. */
uint32_t function_output(struct td_function *function, const struct trace *trace, int k);
struct cause *function_no_handle(const struct td_function *function, td_origin origin);

/* An application of a function that is called back: outputs, or why there are none, with a reference. Without the lock;
 * wanted says what the inputs require. */
struct cause *called_apply(struct td_function *function, struct trace *wanted, td_list inputs, const void *attributes,
                           td_origin origin, td_tensor *outputs);

#endif
