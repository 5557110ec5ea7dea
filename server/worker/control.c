/* Requests that are not ops. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/backward.h"
#include "server/worker/barrier.h"
#include "server/worker/connection.h"
#include "server/worker/decoder.h"
#include "server/worker/checkpoint.h"
#include "server/worker/graph.h"
#include "server/worker/host.h"
#include "server/worker/program.h"
#include "server/worker/read.h"
#include "server/worker/reply.h"
#include "server/worker/request.h"
#include "server/worker/schedule.h"
#include "server/worker/status.h"
#include "server/worker/streams.h"
#include "server/worker/tape.h"
#include "server/worker/wanted.h"

/* Handles of one list that are taken in a step. */
#define LIST_STEP 64

/* Whether there is another handle for this step. A list can be as long as a frame, and so is taken in pieces, that
 * nobody else waits for its end. taken counts those of this step. */
static bool another_handle(struct request *request, const struct td_failure *failure, int *taken)
{
    if (request->elements == 0 || request->reader->failed || failure->code)
        return false;
    request->more = ++*taken > LIST_STEP && td_reader_left(request->reader) > 0;
    return !request->more;
}

/* ---- one function a request; each leaves what it does not understand for control_run to skip ---- */

static void run_site(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_handle(request);
    char *text = take_text(request, TD_SITE_BYTES, failure);
    if (!text || number >= TD_SITES_MAX) {
        td_fail(failure, TD_E_LIMIT, "call sites are numbers below %d with a text of less than %d bytes", TD_SITES_MAX,
                TD_SITE_BYTES);
        free(text);
        return;
    }
    if (number >= session->site_count) {
        uint32_t count = number < 32 ? 64 : 2 * number;
        struct site *sites = realloc(session->sites, count * sizeof *sites);
        if (!sites) {
            free(text);
            return; /* errors will lack their line: no reason to fail */
        }
        memset(sites + session->site_count, 0, (count - session->site_count) * sizeof *sites);
        session->sites = sites;
        session->site_count = count;
    }
    free(session->sites[number].text);
    session->sites[number] = (struct site){text, recorder_string(&session->worker->recorder, text)};
}

static void release(struct session *session, uint32_t handle, struct td_failure *failure)
{
    if (session_records(session))
        recording_releases(session, handle);
    session_release(session, handle, failure);
}

static void run_release(struct session *session, struct request *request, struct td_failure *failure)
{
    for (int taken = 0; another_handle(request, failure, &taken);)
        release(session, take_handle(request), failure);
}

/* What is read while a program is recorded would be frozen in it. */
static void refuse_reading(struct session *session, const struct request *request, const char *name)
{
    TD_NO_FAILURE(failure);
    if (!session_records(session) || session->recording->checkpoint)
        return;
    td_fail(&failure, TD_E_ARGUMENT, "%s: what is read while a program is recorded cannot follow its replays", name);
    td_hint(&failure, "Give the tensor as an output of the program, and read that.");
    recording_spoil(session, name, request->site, &failure);
}

/* in_host: not by the socket. */
static void read_tensor(struct session *session, struct request *request, uint32_t handle, bool in_host,
                        struct td_failure *failure)
{
    struct reading_target to = {0};
    struct tensor *tensor = session_tensor(session, handle, failure);
    uint32_t dtype = take_handle(request); /* a small number, as a handle is */
    refuse_reading(session, request, "read");
    if (!failure->code && dtype != TD_DTYPE_NONE && !td_dtype_known(dtype))
        td_fail(failure, TD_E_DTYPE, "element type %" PRId32 " does not exist", (int32_t)dtype);
    if (!failure->code && request->cancelled)
        td_fail(failure, TD_E_CANCELLED, "cancelled");
    if (in_host && (to.host = hosts_take(session, request, &to.at, failure)) && !failure->code && !tensor->failed) {
        struct td_meta meta;
        tensor_meta(tensor, &meta);
        host_has(to.host, to.at, (uint64_t)td_meta_numel(&meta) * td_dtype_size(dtype ? dtype : meta.dtype), failure);
    }
    if (failure->code) {
        struct cause *cause = session_fail(session, "read", request->site, failure);
        if (in_host)
            reply_done(session, session->request, cause);
        else
            reply_data_failed(session, cause);
        cause_unref(cause);
        failure->code = TD_E_OK; /* told already */
        return;
    }
    read_start(session, tensor, (uint8_t)dtype, request->site, to);
}

static void run_read(struct session *session, struct request *request, bool in_host, struct td_failure *failure)
{
    uint32_t handle = take_handle(request);
    bool there = handle < session->names->capacity && session->names->tensors[handle];
    read_tensor(session, request, handle, in_host, failure);
    if (there && request->flags & TD_FLAG_CONSUME(0))
        release(session, handle, failure);
}

/* What a tensor is to autograd, or would be but for a checkpoint in work: enum td_layout_grad. */
static unsigned layout_grad(struct session *session, struct tensor *tensor, struct td_failure *failure)
{
    bool failed = false;
    const struct node *node = tensor_edge(session, tensor, &failed);
    if (failed)
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    return (node || tensor_is_marked(tensor) ? TD_LAYOUT_REQUIRES : 0u) |
           (node_is_leaf(node) ? (unsigned)TD_LAYOUT_LEAF : 0u) |
           (tensor->flags & TENSOR_VIEW_OF_LEAF ? (unsigned)TD_LAYOUT_VIEW_OF_LEAF : 0u);
}

static void run_layout(struct session *session, struct request *request, struct td_failure *failure)
{
    refuse_reading(session, request, "layout");
    struct tensor *tensor = session_tensor(session, take_handle(request), failure);
    unsigned grad = tensor && !tensor->failed ? layout_grad(session, tensor, failure) : 0;
    struct cause *cause = failure->code ? session_fail(session, "layout", request->site, failure) : NULL;
    reply_layout(session, tensor, grad, cause);
    cause_unref(cause);
    failure->code = TD_E_OK; /* told already */
}

static void run_graph(struct session *session, struct request *request, struct td_failure *failure)
{
    struct tensor *tensor = session_tensor(session, take_handle(request), failure);
    uint32_t limit = take_handle(request);
    if (!failure->code && request->cancelled)
        td_fail(failure, TD_E_CANCELLED, "cancelled");
    if (!failure->code && !tensor->failed && !graph_start(session, tensor, limit, request->site, failure))
        return;
    struct cause *cause = failure->code ? session_fail(session, "graph", request->site, failure) : NULL;
    graph_failed(session, cause ? cause : tensor->failed);
    cause_unref(cause);
    failure->code = TD_E_OK; /* told already */
}

static void run_backward(struct session *session, struct request *request, struct td_failure *failure)
{
    struct tensor *root = session_tensor(session, take_handle(request), failure), *seed = NULL;
    if (failure->code)
        return;
    if (request->elements > 0 && td_read_nil(request->reader))
        request->elements--;
    else
        seed = session_tensor(session, take_handle(request), failure);
    bool retain = false, create = false;
    if (failure->code || !take_bool(request, &retain) || !take_bool(request, &create)) {
        td_fail(failure, TD_E_ARGUMENT, "root, seed or nil, retain and create are due");
    }
    if (!failure->code && request->cancelled)
        td_fail(failure, TD_E_CANCELLED, "cancelled");
    if (failure->code || request->reader->failed)
        return;
    struct cause *cause = root->failed ? root->failed : seed ? seed->failed : NULL;
    if (cause || session_traces(session))
        return; /* the first cause stands already */
    session->worker->recorder.tables->backwards++;
    const struct errand errand = {.name = "backward",
                                  .waits = request->waits,
                                  .site = request->site,
                                  .root_count = 1,
                                  .roots = &root,
                                  .seeds = &seed,
                                  .retain = retain || create,
                                  .create = create};
    backward_start(session, &errand, failure);
}

static void run_grad(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t out = take_handle(request);
    struct tensor *tensor = session_tensor(session, take_handle(request), failure);
    const struct node *sink = tensor ? tensor_sink(tensor) : NULL;
    struct tensor *grad = sink ? sink->grad : NULL;
    struct tensor *result;
    if (sink)
        program_finds_gradient(session, grad);
    if (grad && !session_traces(session)) {
        result = tensor_ref(grad);
    } else if (tensor && tensor->failed) {
        result = tensor_failed(tensor->failed);
    } else if (tensor && session_traces(session)) {
        result = tensor_failed(trace_cause());
    } else {
        if (tensor) {
            td_fail(failure, TD_E_GRAD,
                    tensor->node ? "the tensor%s%s has no gradient" : "the tensor%s%s wants no gradient",
                    tensor->name ? " " : "", tensor->name ? tensor->name : "");
            td_hint(failure, !tensor->node ? "td_set_requires_grad(x, true) makes a leaf."
                             : sink        ? "td_backward gives it; td_zero_grad takes it away."
                                           : "What was computed keeps its gradient after td_retain_grad(x).");
        }
        result = request_failed_value(session, request, "grad", failure);
    }
    request_rebind(session, out, result, failure); /* last, since it may be the tensor's own */
}

static void run_zero_grad(struct session *session, struct request *request, struct td_failure *failure)
{
    for (int taken = 0; another_handle(request, failure, &taken);) {
        struct tensor *tensor = session_tensor(session, take_handle(request), failure);
        struct node *sink = tensor ? tensor_sink(tensor) : NULL;
        if (!sink || session_traces(session))
            continue;
        tensor_unref(session, sink->grad);
        sink->grad = NULL;
    }
}

static void run_retain_grad(struct session *session, struct request *request, struct td_failure *failure)
{
    struct tensor *tensor = session_tensor(session, take_handle(request), failure);
    bool failed = false;
    if (!tensor || tensor->failed || session_traces(session))
        return;
    const struct node *node = tensor_edge(session, tensor, &failed);
    if (!failed && !node) {
        td_fail(failure, TD_E_GRAD, "the tensor%s%s wants no gradient", tensor->name ? " " : "",
                tensor->name ? tensor->name : "");
        td_hint(failure, "td_set_requires_grad(x, true) makes a leaf; compute outside TD_NO_GRAD.");
    } else if (failed || tensor_retain_grad(tensor)) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    }
}

static void run_requires_grad(struct session *session, struct request *request, struct td_failure *failure)
{
    struct tensor *tensor = session_tensor(session, take_handle(request), failure);
    bool wanted;
    if (failure->code || !take_bool(request, &wanted)) {
        td_fail(failure, TD_E_ARGUMENT, "handle and bool are due");
        return;
    }
    bool failed = false;
    if (tensor->failed || session_traces(session))
        return;
    struct node *node = tensor_edge(session, tensor, &failed);
    if (node && !node_is_leaf(node)) {
        if (!wanted)
            td_fail(failure, TD_E_GRAD, "a computed tensor wants a gradient as its inputs do");
        td_hint(failure, "td_detach(x) gives the same bytes without.");
        return;
    }
    if (wanted && td_dtype_category(tensor->dtype) != TD_FLOATING) {
        td_fail(failure, TD_E_GRAD, "only floating types can want a gradient, not %s", td_dtype_name(tensor->dtype));
        return;
    }
    if (wanted == (node != NULL))
        return;
    struct node *leaf = wanted ? node_leaf(tensor) : NULL;
    if (wanted && !leaf) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return;
    }
    tensor_tie(session, tensor, leaf, 0);
    block_classify(session, tensor->storage->block, wanted ? BLACKBOX_PARAM : BLACKBOX_VALUE);
    history_mark_leaf(tensor, wanted);
}

static void run_name(struct session *session, struct request *request, struct td_failure *failure)
{
    struct tensor *tensor = session_tensor(session, take_handle(request), failure);
    char *name = take_text(request, TD_NAME_BYTES, failure);
    if (!tensor || !name) {
        td_fail(failure, TD_E_LIMIT, "a handle and a name of less than %d bytes are due", TD_NAME_BYTES);
        free(name);
        return;
    }
    free(tensor->name);
    tensor->name = name;
}

/* On and off as often: blocks of several threads may overlap. */
static void run_anomaly(struct session *session, struct request *request, struct td_failure *failure)
{
    bool on;
    if (!take_bool(request, &on))
        td_fail(failure, TD_E_ARGUMENT, "a bool is due");
    else if (on && session->watching < UINT32_MAX)
        session->watching++;
    else if (!on && session->watching > 0)
        session->watching--;
}

static void run_seed(struct session *session, struct request *request, struct td_failure *failure)
{
    struct td_reader trial = *request->reader;
    uint64_t seed = td_read_uint(&trial);
    if (request->elements == 0 || trial.failed) {
        td_fail(failure, TD_E_ARGUMENT, "an unsigned integer of 64 bits is due");
        return;
    }
    *request->reader = trial;
    request->elements--;
    if (session_traces(session))
        return;
    session->seed = seed;
    session->random_counter = 0;
}

const char *control_name(uint64_t id)
{
    switch (id) {
#define TD_REQUEST(id, name, NAME, ...) \
    case TD_R_##NAME:                   \
        return #name;
#include "protocol/requests.def"
    }
    return "request";
}

bool control_is_recorded(uint64_t id)
{
    switch (id) {
    case TD_R_UPLOAD:
    case TD_R_BACKWARD:
    case TD_R_GRAD:
    case TD_R_ZERO_GRAD:
    case TD_R_REQUIRES_GRAD:
    case TD_R_SEED:
    case TD_R_RUN:
    case TD_R_APPLY:
    case TD_R_CALLED:
    case TD_R_CHECKPOINT:
    case TD_R_CHECKPOINT_END:
    case TD_R_GRADS:
    case TD_R_RETAIN_GRAD:
    case TD_R_HOOK:
        return true;
    default: /* releases are written down where the program has the handle: recording_releases */
        return false;
    }
}

/* What would be repeated by a checkpoint's replay, or is lost to its walk. */
static bool spoils_checkpoint(const struct session *session, uint64_t id, struct td_failure *failure)
{
    const struct checkpoint *replayed = session->replayed;
    bool again = replayed && session->names == &replayed->program->names;
    bool inside = again || (session_records(session) && session->recording->checkpoint);
    if (!inside || !(id == TD_R_BACKWARD || id == TD_R_GRAD || id == TD_R_ZERO_GRAD || id == TD_R_REQUIRES_GRAD ||
                     id == TD_R_GRADS || id == TD_R_RETAIN_GRAD || id == TD_R_SEED))
        return false;
    td_fail(failure, TD_E_GRAD, "cannot be inside of TD_CHECKPOINT, which the walk will repeat");
    td_hint(failure, "Put it before or behind the block.");
    return true;
}

static void dispatch(struct session *session, uint64_t id, struct request *request, struct td_failure *failure)
{
    switch (id) {
    case TD_R_SITE:
        run_site(session, request, failure);
        break;
    case TD_R_RELEASE:
        run_release(session, request, failure);
        break;
    case TD_R_READ:
        run_read(session, request, false, failure);
        break;
    case TD_R_COPY_OUT:
        run_read(session, request, true, failure);
        break;
    case TD_R_BARRIER:
        barrier_start(session, false);
        break;
    case TD_R_CLEAR_ERROR:
        barrier_start(session, true);
        break;
    case TD_R_UPLOAD:
        run_upload(session, request, failure);
        break;
    case TD_R_BACKWARD:
        run_backward(session, request, failure);
        break;
    case TD_R_GRADS:
        grads_run(session, request, failure);
        break;
    case TD_R_RETAIN_GRAD:
        run_retain_grad(session, request, failure);
        break;
    case TD_R_GRAPH:
        run_graph(session, request, failure);
        break;
    case TD_R_ANOMALY:
        run_anomaly(session, request, failure);
        break;
    case TD_R_GRAD:
        run_grad(session, request, failure);
        break;
    case TD_R_ZERO_GRAD:
        run_zero_grad(session, request, failure);
        break;
    case TD_R_REQUIRES_GRAD:
        run_requires_grad(session, request, failure);
        break;
    case TD_R_NAME:
        run_name(session, request, failure);
        break;
    case TD_R_SEED:
        run_seed(session, request, failure);
        break;
    case TD_R_STATUS:
        status_reply(session);
        break;
    case TD_R_TABLE:
        table_reply(session);
        break;
    case TD_R_LAYOUT:
        run_layout(session, request, failure);
        break;
    case TD_R_RECORD:
        run_record(session, request, failure);
        break;
    case TD_R_RECORD_END:
        run_record_end(session, request, failure);
        break;
    case TD_R_RUN:
        run_run(session, request, failure);
        break;
    case TD_R_APPLY:
        run_apply(session, request, failure);
        break;
    case TD_R_CALLED:
        run_called(session, request, failure);
        break;
    case TD_R_ANSWER:
        run_answer(session, request, failure);
        break;
    case TD_R_PROGRAM:
        run_program(session, request, failure);
        break;
    case TD_R_HOOK:
        run_hook(session, request, failure);
        break;
    case TD_R_PROGRAM_FREE:
        run_program_free(session, request, failure);
        break;
    case TD_R_CHECKPOINT:
        if (!session_traces(session))
            checkpoint_begin(session, request->site, failure);
        break;
    case TD_R_CHECKPOINT_END:
        if (!session_traces(session))
            checkpoint_end(session, request->site, failure);
        break;
    case TD_R_COPY_IN:
        run_copy_in(session, request, failure);
        break;
    case TD_R_STREAM:
        run_stream(session, request, failure);
        break;
    case TD_R_EVENT_RECORD:
        run_event_record(session, request, failure);
        break;
    case TD_R_STREAM_WAIT:
        run_stream_wait(session, request, failure);
        break;
    case TD_R_EVENT_FREE:
        run_event_free(session, request, failure);
        break;
    case TD_R_ELAPSED:
        run_elapsed(session, request, failure);
        break;
    case TD_R_MEMORY:
        run_memory(session, request, failure);
        break;
    case TD_R_HOST_ALLOC:
        run_host_alloc(session, request, failure);
        break;
    case TD_R_HOST_FREE:
        run_host_free(session, request, failure);
        break;
    case TD_R_GOODBYE:
        session_close(session);
        break;
    default:
        td_fail(failure, TD_E_UNKNOWN_OP, "there is no op and no request %" PRIu64, id);
        td_hint(failure, "The daemon may be older than the client: compare the versions of both.");
    }
}

void control_run(struct session *session, uint64_t id, struct request *request)
{
    TD_NO_FAILURE(failure);
    const struct walk *walks = session->walks;
    bool own = session->names == &session->own; /* what a program says has been said by the client before */
    request->waits = own && request->flags & TD_FLAG_WAITS && (id == TD_R_BACKWARD || id == TD_R_GRADS);
    if (!spoils_checkpoint(session, id, &failure))
        dispatch(session, id, request, &failure);
    if (request->more) {
        session->list_id = id;
        session->list_site = request->site;
        session->list_left = request->elements;
        return;
    }
    for (; request->elements > 0 && !request->reader->failed && !session->closing; request->elements--)
        td_read_skip(request->reader);
    if (request->reader->failed || session->closing)
        return;
    if (failure.code)
        cause_unref(request_fail(session, request, control_name(id), &failure));
    if (request->waits && session->walks == walks) /* no walk has begun that would tell */
        reply_done(session, session->request, session->error);
}
