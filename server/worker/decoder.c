/* The decoder. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/decoder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/calls.h"
#include "server/worker/connection.h"
#include "server/worker/exec.h"
#include "server/worker/program.h"
#include "server/worker/reply.h"
#include "server/worker/request.h"
#include "server/worker/schedule.h"
#include "server/worker/streams.h"

/* The client is told of what is done when this part of its credit is used up. */
#define CREDIT_PART 8

/* ---- ops ---- */

/* What is to be done with the results of the op in work. */
static void bind_results(struct session *session, struct tensor *const *results, struct cause *cause, void *data)
{
    (void)data;
    struct tensor *target = session->call_target;
    session->call_target = NULL;
    if (target && !cause) { /* whose handle names a view of it from now on */
        results[0]->name = target->name;
        target->name = NULL;
    }
    bool named = td_op_named_outputs(session->call_op) > 0 && !session->closing;
    for (int k = 0; k < session->call_op->output_count; k++) {
        TD_NO_FAILURE(failure);
        if (!named)
            tensor_unref(session, results[k]);
        else if (session_bind(session, session->call_out[k], results[k], &failure))
            cause_unref(session_fail(session, session->call_op->name, session->call_site, &failure));
    }
    tensor_unref(session, target);
}

/* The tensors behind a call's inputs; all handles that it consumes end here, whatever becomes of it. */
static int resolve_inputs(struct session *session, const struct td_call *call, struct source *in,
                          struct td_failure *failure)
{
    for (int k = 0; k < call->in_count; k++) {
        in[k] = (struct source){.is_number = call->in[k].kind == TD_INPUT_NUMBER};
        if (in[k].is_number)
            in[k].number = call->in[k].number;
        if (call->in[k].kind != TD_INPUT_HANDLE)
            continue;
        TD_NO_FAILURE(missing);
        struct tensor *tensor = session_tensor(session, call->in[k].handle, &missing);
        if (tensor)
            in[k].tensor = tensor_ref(tensor);
        else if (!failure->code)
            td_hint(failure, "%s",
                    (td_fail(failure, missing.code, "%s: %s", call->op->name, missing.message), missing.hint));
    }
    for (int k = 0; k < call->in_count && k < TD_CONSUME_MAX; k++) {
        TD_NO_FAILURE(ignored);
        if (call->flags & TD_FLAG_CONSUME(k) && call->in[k].kind == TD_INPUT_HANDLE)
            session_release(session, call->in[k].handle, &ignored);
    }
    return failure->code;
}

static void fail_call(struct session *session, const struct td_failure *failure)
{
    struct cause *cause = session_fail(session, session->call_op->name, session->call_site, failure);
    struct tensor *results[TD_OUTPUTS_MAX] = {0};
    for (int k = 0; k < td_op_named_outputs(session->call_op); k++)
        results[k] = tensor_failed(cause);
    bind_results(session, results, cause, NULL);
    cause_unref(cause);
}

static void run_call(struct session *session, const struct td_op *op, struct request *request)
{
    struct td_call *call = &session->worker->call;
    struct source *in = session->worker->sources;
    TD_NO_FAILURE(failure);
    call->flags = request->flags;
    td_call_decode(request->reader, op, request->elements + 1, call, &failure);
    if (request->reader->failed)
        return;
    session->call_op = op;
    memcpy(session->call_out, call->out, sizeof session->call_out);
    session->call_site = request->site;
    if (request->cancelled)
        td_fail(&failure, TD_E_CANCELLED, "%s: cancelled", op->name);
    resolve_inputs(session, call, in, &failure);
    if (op->kind == TD_VIEW && call->flags & TD_FLAG_CONSUME(0) && call->in_count && in[0].tensor &&
        call->out[0] == call->in[0].handle)
        session->call_target = tensor_ref(in[0].tensor);
    if (failure.code) {
        fail_call(session, &failure);
    } else {
        exec_run(session,
                 &(struct operation){.op = op,
                                     .attrs = call->attrs,
                                     .in = in,
                                     .in_count = call->in_count,
                                     .list_counts = call->list_counts,
                                     .grad = request->flags & TD_FLAG_GRAD && !session->no_grad,
                                     .marks = request->flags & TD_FLAG_GRAD && session->marks,
                                     .requires_grad = request->flags & TD_FLAG_REQUIRES_GRAD,
                                     .site = request->site},
                 bind_results, NULL);
    }
    for (int k = 0; k < call->in_count; k++)
        tensor_unref(session, in[k].tensor);
}

/* ---- the stream ---- */

/* All up to the request in work is done. */
static void request_done(struct session *session)
{
    session->executed = session->request;
    recorder_done(session, session->request);
    uint64_t requests = session->executed - session->credited_request;
    if (requests >= TD_CREDIT_REQUESTS / CREDIT_PART)
        reply_credit(session);
}

static void credit_bytes(struct session *session)
{
    if (session->bytes_taken - session->credited_bytes >= TD_CREDIT_BYTES / CREDIT_PART)
        reply_credit(session);
}

/* Writes the request down whose flags are next, if its like is ever written down. */
static void note_request(struct session *session, struct td_reader reader, uint64_t id, uint32_t site)
{
    const uint8_t *start = reader.at;
    const struct td_op *op = td_op_of(id);
    if (op && td_op_is_sized(op)) {
        TD_NO_FAILURE(failure);
        td_fail(&failure, TD_E_ARGUMENT, "%s: the size of its result depends on data, which no recorded program may",
                op->name);
        td_hint(&failure, "Leave it outside of the recording, and give its result as an input.");
        recording_spoil(session, op->name, site, &failure);
    }
    if (id == TD_R_CALLED) {
        TD_NO_FAILURE(failure);
        td_fail(&failure, TD_E_ARGUMENT, "apply: the function is run by the client, which no recorded program can ask");
        td_hint(&failure, "Apply it outside of the recording.");
        recording_spoil(session, "apply", site, &failure);
    }
    if (!op && !control_is_recorded(id))
        return;
    td_read_skip(&reader);
    td_read_skip(&reader);
    td_read_skip(&reader);
    if (!reader.failed)
        recording_add(session, start, (size_t)(reader.at - start), id == TD_R_CHECKPOINT_END);
}

/* Takes flags, site, array and id of the next request and carries it out. */
static void run_request(struct session *session, struct td_reader *reader, bool replay)
{
    struct request request = {.reader = reader};
    struct td_reader start = *reader;
    request.flags = td_read_u32(reader);
    request.site = td_read_u32(reader);
    request.elements = td_read_array(reader);
    uint64_t id = td_read_uint(reader);
    if (reader->failed || request.elements == 0) {
        reader->failed = true;
        return;
    }
    request.elements--;
    session->call_site = request.site;
    if (!replay) {
        request.cancelled = session->cancel_left > session->frame_at;
        session->cancelled = false;
        session->request++;
        recorder_begin(session, id, request.site);
    }
    if (session_records(session))
        note_request(session, start, id, request.site);
    if (session->filling && id != TD_R_UPLOAD && id != TD_R_COPY_IN)
        session_fill_end(session);
    const struct td_op *op = td_op_of(id);
    if (op) {
        run_call(session, op, &request);
        return;
    }
    control_run(session, id, &request);
}

/* The next piece of a list of handles, which began before. */
static void run_list(struct session *session, struct td_reader *reader)
{
    struct request request = {.reader = reader, .site = session->list_site, .elements = session->list_left};
    session->list_left = 0;
    control_run(session, session->list_id, &request);
}

void decoder_replay(struct session *session, struct td_reader *reader)
{
    if (session->list_left)
        run_list(session, reader);
    else
        run_request(session, reader, true);
}

enum step decoder_next(struct session *session, struct iterator *iterator)
{
    if (session->closing)
        return STEP_DONE;
    if (session->landing.tensor)
        return STEP_WAIT;
    if (session->executed < session->request && !session->list_left) /* what it had put on the stack is at its end */
        request_done(session);
    if (connection_backlog(session) > TD_REPLY_BACKLOG)
        return STEP_WAIT;
    if (session->frame_end == 0) {
        if (!connection_next_frame(session))
            return session->closing ? STEP_DONE : STEP_WAIT;
        session->frame_starts = true;
    }
    uint8_t *input = session->input + session->input_start;
    struct td_reader reader = td_reader_of(input + session->frame_at, session->frame_end - session->frame_at);
    if (session->frame_starts) {
        session->frame_starts = false;
        if (td_read_type(&reader) == TD_WIRE_NIL) /* urgent: answered when it came */
            reader.at = reader.end;
        else
            td_read_uint(&reader); /* the last reply that the client has; kept replies would end here */
    }
    if (!reader.failed && reader.at < reader.end) {
        uint8_t *before = session->input; /* a request can end the session, but not move its bytes */
        if (session->list_left)
            run_list(session, &reader);
        else
            run_request(session, &reader, false);
        input = before + session->input_start;
        if (!session->list_left && !session->parked && session->top == iterator)
            request_done(session);
    }
    if (reader.failed && !session->closing)
        session_goodbye(session, TD_E_PROTOCOL, "bytes that are no request");
    if (session->closing)
        return STEP_DONE;
    session->frame_at = (size_t)(reader.at - input);
    if (session->frame_at == session->frame_end) {
        connection_end_frame(session);
        credit_bytes(session);
    }
    return STEP_MORE;
}

static void decoder_drop(struct session *session, struct iterator *iterator)
{
    (void)session;
    (void)iterator; /* part of the session */
}

void decoder_init(struct session *session)
{
    session->decoder = (struct iterator){.next = decoder_next, .drop = decoder_drop, .listens = true};
    session_push(session, &session->decoder);
}

/* ---- urgent frames ---- */

static void run_urgent(struct session *session, struct td_reader *reader, size_t at)
{
    td_read_nil(reader);
    uint64_t id = td_read_uint(reader), number = td_read_uint(reader);
    if (reader->failed) {
        session_goodbye(session, TD_E_PROTOCOL, "an urgent frame that cannot be read");
    } else if (id == TD_URGENT_PING) {
        reply_pong(session, number);
        session_flush(session);
    } else if (id == TD_URGENT_EVENT) {
        streams_answer(session, number);
        session_flush(session);
    } else if (id == TD_URGENT_CANCEL) {
        session->cancel_left = at;
        session->cancelled = true;
        calls_cancel(session);
    }
}

static void look_for_urgent(struct session *session)
{
    const uint8_t *input = session->input + session->input_start;
    size_t have = session->input_end - session->input_start;
    while (!session->closing && session->urgent_at + TD_FRAME_HEADER < have) {
        const uint8_t *at = input + session->urgent_at;
        size_t length = connection_frame_length(at);
        if (length > TD_FRAME_MAX || have - session->urgent_at < TD_FRAME_HEADER + length)
            return;
        session->urgent_at += TD_FRAME_HEADER + length;
        struct td_reader reader = td_reader_of(at + TD_FRAME_HEADER, length);
        if (length && td_read_type(&reader) == TD_WIRE_NIL)
            run_urgent(session, &reader, session->urgent_at);
    }
}

/* ---- uploads, past the buffer ---- */

/* More than an upload's frame has before the bytes. */
#define UPLOAD_HEAD_MAX 64

/* Whether nothing is in work, so that what has come may be done at once. */
static bool is_idle(const struct session *session)
{
    return session->top == &session->decoder && !session->parked && !session->in_turn && session->frame_end == 0 &&
           session->executed == session->request && !session->cancel_left && !session_records(session);
}

/* A frame that has begun to come, is an upload and nothing else: the rest goes from the socket into the tensor. If
 * anything is wrong with it, it is left to be told of when all of it is there. */
static void land(struct session *session)
{
    const uint8_t *frame = session->input + session->input_start;
    size_t have = session->input_end - session->input_start;
    size_t length = have > TD_FRAME_HEADER + UPLOAD_HEAD_MAX ? connection_frame_length(frame) : 0;
    if (length > TD_FRAME_MAX || have >= TD_FRAME_HEADER + length)
        return;
    struct td_reader reader = td_reader_of(frame + TD_FRAME_HEADER, length); /* of which the head is there */
    struct request request = {.reader = &reader};
    if (td_read_type(&reader) != TD_WIRE_INT)
        return;
    td_read_uint(&reader);
    request.flags = td_read_u32(&reader);
    request.site = td_read_u32(&reader);
    request.elements = td_read_array(&reader);
    uint64_t id = td_read_uint(&reader);
    if (reader.failed || request.elements-- == 0 || id != TD_R_UPLOAD || !upload_lands(session, &request, have))
        return;
    session->landing.frame = TD_FRAME_HEADER + length;
    session->landing.site = request.site;
    session->input_start = session->input_end = session->urgent_at = 0;
}

static void landed(struct session *session)
{
    session->request++;
    session->cancelled = false;
    session->call_site = session->landing.site;
    recorder_begin(session, TD_R_UPLOAD, session->landing.site);
    upload_landed(session);
    session->bytes_taken += session->landing.frame;
    request_done(session);
    credit_bytes(session);
}

void decoder_received(struct session *session, size_t bytes)
{
    if (session->landing.tensor) {
        session->landing.at += bytes;
        session->landing.left -= bytes;
        if (!session->landing.left)
            landed(session);
        return;
    }
    session->input_end += bytes;
    look_for_urgent(session);
    if (!session->closing && is_idle(session))
        land(session);
}
