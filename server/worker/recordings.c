/* The requests about programs. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "server/worker/apply.h"
#include "server/worker/hooks.h"
#include "server/worker/listing.h"
#include "server/worker/request.h"

static uint32_t take_number(struct request *request, struct td_failure *failure)
{
    int64_t number;
    if (take_integer(request, &number) && number > 0 && number <= UINT32_MAX)
        return (uint32_t)number;
    td_fail(failure, TD_E_ARGUMENT, "the number of a program is due");
    return 0;
}

/* The rest of the request as handles; UINT32_MAX for nil. NULL, and count 0, without memory or with too many. To be
 * freed. */
static uint32_t *take_handles(struct request *request, int *count, struct td_failure *failure)
{
    uint32_t limit = 2 * TD_LIST_MAX, elements = request->elements;
    uint32_t *handles = elements <= limit ? malloc((elements + 1) * sizeof *handles) : NULL;
    *count = 0;
    if (elements > limit)
        td_fail(failure, TD_E_LIMIT, "%" PRIu32 " inputs and outputs; the limit is %" PRIu32, elements, limit);
    else if (!handles)
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    while (handles && request->elements > 0 && !request->reader->failed) {
        bool nil = take_nil(request);
        uint32_t left = request->elements;
        handles[*count] = nil ? UINT32_MAX : take_handle(request);
        if (!nil && request->elements == left) { /* something else: control_run skips it */
            td_fail(failure, TD_E_ARGUMENT, "element %d behind the count is no handle", *count);
            break;
        }
        ++*count;
    }
    return handles;
}

void run_record(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_number(request, failure);
    char *name = failure->code ? NULL : take_text(request, TD_NAME_BYTES, failure);
    bool trace = false;
    int count = 0;
    if (!failure->code && (!name || !take_bool(request, &trace)))
        td_fail(failure, TD_E_ARGUMENT, "number, name and trace are due");
    uint32_t *in = failure->code ? NULL : take_handles(request, &count, failure);
    if (in && !failure->code && !request->reader->failed)
        recording_begin(session, number, name, trace, count, in, failure);
    free(in);
    free(name);
}

void run_record_end(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_number(request, failure);
    int count = 0;
    uint32_t *out = failure->code ? NULL : take_handles(request, &count, failure);
    if (out && !failure->code && !request->reader->failed)
        recording_end(session, number, count, out, failure);
    free(out);
}

void run_program_free(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_number(request, failure);
    struct program *program = failure->code ? NULL : program_find(session, number, failure);
    if (program)
        program_forget(session, program);
}

void run_program(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_number(request, failure);
    int64_t limit = 0;
    struct program *program = failure->code ? NULL : program_find(session, number, failure);
    if (!failure->code && (!take_integer(request, &limit) || limit < 0))
        td_fail(failure, TD_E_ARGUMENT, "number and limit are due");
    if (request->reader->failed)
        return;
    if (!failure->code) {
        listing_reply(session, program, limit < LISTING_MAX ? (uint32_t)limit : LISTING_MAX);
        return;
    }
    struct cause *cause = request_fail(session, request, "program", failure);
    listing_failed(session, cause);
    cause_unref(cause);
    failure->code = TD_E_OK; /* told already */
}

/* ---- running ---- */

/* Handles that wait for a run's results. */
struct outputs {
    uint32_t site;
    const char *name;
    int count;
    uint32_t handles[];
};

static void outputs_drop(struct session *session, void *data)
{
    (void)session;
    free(data);
}

/* The results, as many as came, else error values of cause. */
static void bind_outputs(struct session *session, struct tensor *const *results, int count, struct cause *cause,
                         void *data)
{
    struct outputs *outputs = data;
    for (int k = 0; k < count || k < outputs->count; k++) {
        TD_NO_FAILURE(failure);
        struct tensor *result = k < count ? results[k] : cause ? tensor_failed(cause) : NULL;
        if (k >= outputs->count || session->closing)
            tensor_unref(session, result);
        else if (session_bind(session, outputs->handles[k], result, &failure))
            cause_unref(session_fail(session, outputs->name, outputs->site, &failure));
    }
    free(outputs);
}

static struct outputs *outputs_new(const struct request *request, const char *name, const uint32_t *handles, int count,
                                   struct td_failure *failure)
{
    struct outputs *outputs = malloc(sizeof *outputs + (size_t)count * sizeof *outputs->handles);
    if (!outputs) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return NULL;
    }
    *outputs = (struct outputs){.site = request->site, .name = name, .count = count};
    for (int k = 0; k < count; k++)
        outputs->handles[k] = handles[k];
    return outputs;
}

/* A run that is asked for: its program and the tensors it is run on. */
struct asked {
    struct program *program;
    uint32_t *handles; /* inputs, then outputs */
    int in_count, out_count;
    struct tensor **in; /* borrowed */
};

static void take_asked(struct session *session, struct request *request, struct asked *asked,
                       struct td_failure *failure)
{
    int64_t in_count = -1;
    int count = 0;
    if (!take_integer(request, &in_count) || in_count < 0 || in_count > TD_LIST_MAX) {
        td_fail(failure, TD_E_ARGUMENT, "a count of inputs from 0 to %d is due", TD_LIST_MAX);
        return;
    }
    asked->handles = take_handles(request, &count, failure);
    if (failure->code || request->reader->failed)
        return;
    if (in_count > count) {
        td_fail(failure, TD_E_ARGUMENT, "%d handles where %" PRId64 " inputs are due", count, in_count);
        return;
    }
    asked->in_count = (int)in_count;
    asked->out_count = count - asked->in_count;
    if (!(asked->in = calloc((size_t)in_count + 1, sizeof *asked->in))) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return;
    }
    TD_NO_FAILURE(missing);
    for (int k = 0; k < asked->in_count; k++)
        if (!(asked->in[k] = session_tensor(session, asked->handles[k], &missing)))
            *failure = missing;
}

static void asked_free(struct asked *asked)
{
    free(asked->handles);
    free(asked->in);
}

/* The outputs are error values of cause, or of failure, which is told then. */
static void fail_asked(struct session *session, const struct request *request, const char *name,
                       const struct asked *asked, struct cause *cause, struct td_failure *failure)
{
    TD_NO_FAILURE(memory);
    struct cause *own = cause ? NULL : request_fail(session, request, name, failure);
    struct outputs *outputs = outputs_new(request, name, asked->handles + asked->in_count, asked->out_count, &memory);
    if (outputs)
        bind_outputs(session, NULL, 0, cause ? cause : own, outputs);
    cause_unref(own);
    failure->code = TD_E_OK;
}

/* Whether nothing is to be run: the request is traced, or its program failed. */
static struct cause *no_run(const struct session *session, const struct program *program)
{
    return session_traces(session) ? trace_cause() : program->cause;
}

/* A program that failed fails anew, at the line of who would use it. */
static void tell_program_failed(const struct program *program, struct td_failure *failure)
{
    td_fail(failure, program->cause->code, "the program failed when it was recorded: %s", program->cause->message);
    td_hint(failure, "%s", program->cause->hint);
}

void run_run(struct session *session, struct request *request, struct td_failure *failure)
{
    struct asked asked = {0};
    uint32_t number = take_number(request, failure);
    struct program *program = failure->code ? NULL : program_find(session, number, failure);
    TD_NO_FAILURE(inputs);
    take_asked(session, request, &asked, &inputs);
    if (!failure->code)
        *failure = inputs;
    struct cause *cause = program && !failure->code && session_traces(session) ? trace_cause() : NULL;
    if (!failure->code && !cause && program->cause)
        tell_program_failed(program, failure);
    else if (!failure->code && !cause && asked.out_count != program->out_count)
        td_fail(failure, TD_E_ARGUMENT, "%d handles for the %d outputs of the program", asked.out_count,
                program->out_count);
    struct outputs *outputs =
        failure->code || cause || request->reader->failed
            ? NULL
            : outputs_new(request, "run", asked.handles + asked.in_count, asked.out_count, failure);
    if (outputs && program_run(session, program, asked.in_count, asked.in, session->no_grad, bind_outputs, outputs_drop,
                               outputs, failure))
        free(outputs);
    if ((failure->code || cause) && asked.in && !request->reader->failed)
        fail_asked(session, request, "run", &asked, cause, failure);
    asked_free(&asked);
}

void run_apply(struct session *session, struct request *request, struct td_failure *failure)
{
    struct asked asked = {0};
    uint32_t number = take_number(request, failure);
    struct program *forward = failure->code ? NULL : program_find(session, number, failure), *backward = NULL;
    if (!take_nil(request)) {
        uint32_t second = take_number(request, failure);
        backward = failure->code ? NULL : program_find(session, second, failure);
    }
    int64_t flags = -1;
    if (!take_integer(request, &flags) || flags < 0 || flags > UINT32_MAX)
        td_fail(failure, TD_E_ARGUMENT, "flags are due");
    TD_NO_FAILURE(inputs);
    take_asked(session, request, &asked, &inputs);
    if (!failure->code)
        *failure = inputs;
    struct cause *cause = forward && !failure->code ? no_run(session, forward) : NULL;
    if (backward && !cause && !failure->code)
        cause = backward->cause;
    struct outputs *outputs =
        failure->code || cause || request->reader->failed
            ? NULL
            : outputs_new(request, forward->name, asked.handles + asked.in_count, asked.out_count, failure);
    if (outputs && apply_run(session,
                             &(struct application){.forward = forward,
                                                   .backward = backward,
                                                   .flags = (uint32_t)flags,
                                                   .site = request->site,
                                                   .grad = request->flags & TD_FLAG_GRAD && !session->no_grad,
                                                   .marks = request->flags & TD_FLAG_GRAD && session->marks,
                                                   .in_count = asked.in_count,
                                                   .out_count = asked.out_count,
                                                   .in = asked.in,
                                                   .then = bind_outputs,
                                                   .dropped = outputs_drop,
                                                   .data = outputs},
                             failure))
        free(outputs);
    if ((failure->code || cause) && asked.in && !request->reader->failed)
        fail_asked(session, request, "apply", &asked, cause, failure);
    asked_free(&asked);
}

/* What stands before the handles: the function's number, its name, a bin, flags, and how many of the handles are
 * inputs. The name is to be freed. */
static char *take_called(struct request *request, struct application *a, struct td_failure *failure)
{
    int64_t flags = -1, inputs = -1;
    a->function = take_number(request, failure);
    char *name = failure->code ? NULL : take_text(request, TD_NAME_BYTES, failure);
    bool bin = name && request->elements > 0 && td_read_type(request->reader) == TD_WIRE_BIN;
    request->elements -= bin;
    a->bin = bin ? td_read_bin(request->reader, &a->bin_bytes) : NULL;
    bool fits = bin && take_integer(request, &flags) && flags >= 0 && flags <= UINT32_MAX &&
                take_integer(request, &inputs) && inputs >= 0 && inputs <= TD_FUNCTION_TENSORS &&
                a->bin_bytes <= TD_FUNCTION_BYTES;
    if (!fits)
        td_fail(failure, TD_E_ARGUMENT,
                "number, name, a bin of at most %u bytes, flags, and a count of inputs up to %d are due",
                TD_FUNCTION_BYTES, TD_FUNCTION_TENSORS);
    a->flags = (uint32_t)flags;
    a->in_count = (int)inputs;
    return name;
}

void run_called(struct session *session, struct request *request, struct td_failure *failure)
{
    struct asked asked = {0};
    struct application a = {.site = request->site,
                            .grad = request->flags & TD_FLAG_GRAD && !session->no_grad,
                            .marks = request->flags & TD_FLAG_GRAD && session->marks,
                            .then = bind_outputs};
    char *name = take_called(request, &a, failure);
    TD_NO_FAILURE(handles);
    take_asked(session, request, &asked, &handles);
    if (!failure->code)
        *failure = handles;
    if (!failure->code && a.in_count > asked.in_count)
        td_fail(failure, TD_E_ARGUMENT, "%d inputs among %d handles", a.in_count, asked.in_count);
    struct cause *cause = session_traces(session) ? trace_cause() : NULL;
    struct outputs *outputs =
        failure->code || cause || request->reader->failed
            ? NULL
            : outputs_new(request, "apply", asked.handles + asked.in_count, asked.out_count, failure);
    if (outputs) {
        a.name = name;
        a.in = asked.in;
        a.results = asked.in + a.in_count;
        a.result_count = asked.in_count - a.in_count;
        a.out_count = asked.out_count;
        a.data = outputs;
        if (apply_results(session, &a, failure))
            free(outputs);
    }
    if ((failure->code || cause) && asked.in && !request->reader->failed)
        fail_asked(session, request, "apply", &asked, cause, failure);
    asked_free(&asked);
    free(name);
}

/* ---- hooks ---- */

/* Whether a hook on tensor is to be left to the walk of the checkpoint in work, which makes the tensor's graph. */
static bool left_to_walk(const struct session *session, const struct tensor *tensor, struct td_failure *failure)
{
    if (!session->marks && !session->replayed)
        return false;
    if (!tensor->storage->outside)
        return session->marks && tensor_is_marked(tensor);
    td_fail(failure, TD_E_GRAD, "a tensor from outside of TD_CHECKPOINT cannot be given a hook inside of it");
    td_hint(failure, "Call td_register_hook before the block.");
    return true;
}

static void add_hook(struct session *session, struct tensor *tensor, struct program *program, uint32_t number,
                     struct td_failure *failure)
{
    bool failed = false;
    if (left_to_walk(session, tensor, failure))
        return;
    struct node *node = tensor_edge(session, tensor, &failed);
    if (failed) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    } else if (!node) {
        td_fail(failure, TD_E_GRAD, "the tensor%s%s wants no gradient", tensor->name ? " " : "",
                tensor->name ? tensor->name : "");
        td_hint(failure, "td_set_requires_grad(x, true) makes a leaf; compute outside TD_NO_GRAD.");
    } else {
        hook_add(session, node, tensor->output, program, number, failure);
    }
}

void run_hook(struct session *session, struct request *request, struct td_failure *failure)
{
    TD_NO_FAILURE(missing);
    bool ends = take_nil(request);
    struct tensor *tensor = ends ? NULL : session_tensor(session, take_handle(request), &missing);
    uint32_t number = take_number(request, failure);
    if (ends && !failure->code && !session_traces(session))
        hooks_remove(session, number);
    if (ends || failure->code)
        return;
    struct program *program = program_find(session, number, failure); /* traced or not: who records it needs it */
    if (!failure->code && missing.code)
        *failure = missing;
    if (failure->code || tensor->failed || session_traces(session))
        return;
    if (program->cause)
        tell_program_failed(program, failure);
    else if (program->in_count != 1 || program->out_count != 1)
        td_fail(failure, TD_E_ARGUMENT, "a program of %d inputs and %d outputs, where 1 of both is due",
                program->in_count, program->out_count);
    else
        add_hook(session, tensor, program, number, failure);
}
