/* Calls. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/calls.h"

#include <inttypes.h>
#include <stdlib.h>

#include "server/worker/apply.h"
#include "server/worker/reply.h"
#include "server/worker/request.h"
#include "server/worker/walk.h"

struct call {
    struct iterator iterator;
    struct call *outer; /* further down on the session's stack */
    uint64_t number;
    struct walk *walk;
    bool begun, done, cancelled;
    struct td_failure failure; /* of the answer */
    int count;
    struct tensor *values[]; /* the gradients of the outputs, then what was saved; NULL: handed out */
};

/* ---- the end ---- */

static void check_gradients(struct session *session, struct call *call, struct td_failure *failure)
{
    struct walk *w = call->walk;
    for (int k = 0; k < w->node->in_count && !failure->code && !w->cause; k++) {
        struct node *to = w->node->in[k].node;
        struct tensor **gradient = &w->gradients[k];
        if (*gradient && (*gradient)->failed) {
            w->cause = cause_ref((*gradient)->failed);
        } else if (*gradient) { /* which the client may go on writing to */
            if (walk_fork(session, w, gradient))
                walk_check_gradient(session, w, k, failure);
        } else if (to && walk_passes(w, to)) {
            td_fail(failure, TD_E_GRAD,
                    "backward: the backward of %s gave no gradient for input %d, which requires one",
                    w->node->applied->name, k);
            td_hint(failure, "Give td_zeros_like(x) where it is 0, or detach the input.");
        }
    }
}

/* The walk goes on, or fails of what the client did. */
static void finish(struct session *session, struct call *call)
{
    struct walk *w = call->walk;
    const char *name = w->node->applied->name;
    struct td_failure failure = call->failure;
    if (call->cancelled) {
        failure = (struct td_failure){0};
        td_fail(&failure, TD_E_CANCELLED, "%s: cancelled", w->name);
    } else if (!failure.code) {
        check_gradients(session, call, &failure);
    }
    if (session->recording) { /* none was when the call began */
        TD_NO_FAILURE(open);
        recording_abandon(session, NULL, &open);
        if (!failure.code)
            td_hint(&failure, "%s",
                    (td_fail(&failure, open.code, "backward: in the backward of %s %s", name, open.message),
                     "What is begun in a function's backward must end there."));
    }
    if (failure.code)
        walk_fail_at(session, w, w->node->site, &failure);
}

static enum step call_next(struct session *session, struct iterator *iterator)
{
    struct call *call = (struct call *)iterator;
    if (session->closing)
        return STEP_DONE;
    if (!call->done)
        return decoder_next(session, iterator);
    finish(session, call);
    return STEP_DONE;
}

static void call_drop(struct session *session, struct iterator *iterator)
{
    struct call *call = (struct call *)iterator;
    session->calls = call->outer;
    for (int k = 0; k < call->count; k++)
        tensor_unref(session, call->values[k]);
    free(call);
}

void calls_cancel(struct session *session)
{
    for (struct call *call = session->calls; call; call = call->outer)
        call->cancelled = true;
}

/* ---- the beginning ---- */

/* Why the client cannot be called. */
static int refusal(const struct session *session, const struct walk *w, struct td_failure *failure)
{
    const char *name = w->node->applied->name;
    int depth = 0;
    for (const struct call *call = session->calls; call; call = call->outer)
        depth++;
    if (session->recording || session->names != &session->own) {
        td_fail(failure, TD_E_GRAD, "%s: %s is run by the client, which a recorded program cannot ask", w->name, name);
        td_hint(failure, "Walk the graph outside of what is recorded, or let the function be traced.");
    } else if (!w->waits) {
        td_fail(failure, TD_E_GRAD, "%s: %s is run by the client, which does not wait for that", w->name, name);
    } else if (depth == TD_CALLS_MAX) {
        td_fail(failure, TD_E_LIMIT, "%s: %s is the backward of %d functions within each other", w->name, name, depth);
        td_hint(failure, "A function's backward that walks a graph through itself has no end.");
    }
    return failure->code;
}

static void tell_client(struct session *session, const struct call *call)
{
    const struct walk *w = call->walk;
    const struct applied *applied = w->node->applied;
    bool recorded = w->create && !applied->once;
    uint32_t inputs = 0;
    msgpack_packer packer;
    for (int k = 0; k < w->node->in_count; k++)
        inputs |= (w->node->in[k].node && walk_passes(w, w->node->in[k].node) ? 1u : 0u) << k;
    reply_call_begin(session, &packer);
    msgpack_pack_uint64(&packer, call->number);
    msgpack_pack_uint32(&packer, applied->function);
    if (recorded)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
    msgpack_pack_uint32(&packer, inputs);
    msgpack_pack_bin(&packer, applied->bin_bytes);
    if (applied->bin)
        msgpack_pack_bin_body(&packer, applied->bin, applied->bin_bytes);
    msgpack_pack_array(&packer, (size_t)w->node->out_count);
    for (int k = 0; k < call->count; k++) {
        if (k == w->node->out_count)
            msgpack_pack_array(&packer, (size_t)(call->count - k));
        reply_value(&packer, call->values[k], recorded && call->values[k]->node);
    }
    if (call->count == w->node->out_count)
        msgpack_pack_array(&packer, 0);
    reply_end(session);
}

static struct call *call_new(struct session *session, struct walk *w)
{
    int count = w->node->out_count + w->node->applied->kept_count;
    struct call *call = calloc(1, sizeof *call + (size_t)count * sizeof *call->values);
    if (!call)
        return NULL;
    call->iterator = (struct iterator){.next = call_next, .drop = call_drop, .listens = true};
    call->number = ++session->call_count;
    call->walk = w;
    call->count = count;
    for (int k = 0; k < w->node->out_count; k++) { /* the walk needs them no more */
        call->values[k] = w->node->out[k].pending;
        w->node->out[k].pending = NULL;
    }
    call->outer = session->calls;
    session->calls = call;
    return call;
}

void walk_call_client(struct session *session, struct walk *w)
{
    struct node *node = w->node;
    TD_NO_FAILURE(failure);
    w->phase = PHASE_DELIVER;
    w->at = 0;
    w->gradients = calloc((size_t)node->in_count + 1, sizeof *w->gradients);
    struct call *call = w->gradients && !refusal(session, w, &failure) ? call_new(session, w) : NULL;
    if (failure.code) {
        walk_fail(session, w, &failure);
        return;
    }
    if (!call) {
        walk_no_memory(session, w);
        return;
    }
    bool recorded = w->create && !node->applied->once;
    if (applied_inputs(session, node, recorded, call->values + node->out_count, &failure)) {
        walk_fail(session, w, &failure);
        call_drop(session, &call->iterator);
        return;
    }
    if (!w->retain)
        node_release(session, node);
    session->executed = session->request; /* as far as credit goes; what the client sends now is beyond it */
    session_push(session, &call->iterator);
    tell_client(session, call);
}

/* ---- answers ---- */

static struct call *find_call(const struct session *session, uint64_t number)
{
    struct call *call = session->calls;
    while (call && call->number != number)
        call = call->outer;
    return call && !call->done ? call : NULL;
}

/* The values get the handles that the client has chosen for them. */
static void begin_answer(struct session *session, struct request *request, struct call *call,
                         struct td_failure *failure)
{
    if (call->begun) {
        td_fail(failure, TD_E_ARGUMENT, "the values of call %" PRIu64 " have their handles already", call->number);
        return;
    }
    for (int k = 0; request->elements > 0 && !failure->code && !request->reader->failed; k++) {
        bool nil = take_nil(request);
        struct tensor *value = k < call->count ? call->values[k] : NULL;
        if (k >= call->count) {
            td_fail(failure, TD_E_ARGUMENT, "call %" PRIu64 " has %d values", call->number, call->count);
        } else if (!nil) {
            call->values[k] = NULL;
            session_bind(session, take_handle(request), value, failure);
        }
    }
    call->begun = true;
    for (int k = 0; k < call->count; k++) {
        tensor_unref(session, call->values[k]);
        call->values[k] = NULL;
    }
}

/* A gradient that the client cannot give, as [code, message, hint]. */
static void take_failure(struct request *request, struct call *call, struct td_failure *failure)
{
    struct request given = {.reader = request->reader, .elements = td_read_array(request->reader)};
    int64_t code = 0;
    bool coded = take_integer(&given, &code) && code > 0 && code < INT32_MAX && *td_error_name((int)code) != '?';
    char *message = coded ? take_text(&given, TD_MESSAGE_BYTES, failure) : NULL;
    char *hint = message ? take_text(&given, TD_HINT_BYTES, failure) : NULL;
    request->elements--;
    for (; given.elements > 0 && !request->reader->failed; given.elements--)
        td_read_skip(request->reader);
    if (!hint)
        td_fail(failure, TD_E_ARGUMENT, "code, message and hint of what went wrong are due");
    else if (!call->failure.code)
        td_hint(&call->failure, "%s", (td_fail(&call->failure, (int)code, "%s", message), hint));
    free(message);
    free(hint);
}

static void take_gradients(struct session *session, struct request *request, struct call *call,
                           struct td_failure *failure)
{
    struct walk *w = call->walk;
    uint32_t handles[TD_FUNCTION_TENSORS];
    int count = 0;
    for (; request->elements > 0 && !failure->code && !request->reader->failed; count++) {
        if (count == w->node->in_count) {
            td_fail(failure, TD_E_ARGUMENT, "%s has %d inputs", w->node->applied->name, count);
            break;
        }
        handles[count] = UINT32_MAX;
        if (td_read_type(request->reader) == TD_WIRE_ARRAY) {
            take_failure(request, call, failure);
        } else if (!take_nil(request)) {
            handles[count] = take_handle(request);
            struct tensor *gradient = session_tensor(session, handles[count], failure);
            w->gradients[count] = gradient ? tensor_ref(gradient) : NULL;
        }
    }
    for (int k = 0; k < count; k++) {
        TD_NO_FAILURE(ignored);
        if (request->flags & TD_FLAG_CONSUME(k) && handles[k] != UINT32_MAX)
            session_release(session, handles[k], &ignored);
    }
}

void run_answer(struct session *session, struct request *request, struct td_failure *failure)
{
    int64_t number = 0;
    bool ends = false;
    if (!take_integer(request, &number) || !take_bool(request, &ends)) {
        td_fail(failure, TD_E_ARGUMENT, "the number of a call and a bool are due");
        return;
    }
    struct call *call = find_call(session, (uint64_t)number);
    if (!call) {
        td_fail(failure, TD_E_ARGUMENT, "no call %" PRId64 " waits for an answer", number);
        return;
    }
    if (!ends) {
        begin_answer(session, request, call, failure);
        return;
    }
    take_gradients(session, request, call, failure);
    if (failure->code && !call->failure.code) { /* the walk's then: it must not go on without them */
        td_hint(&call->failure, "%s",
                (td_fail(&call->failure, failure->code, "answer: %s", failure->message), failure->hint));
        failure->code = TD_E_OK;
    }
    call->done = true;
}
