/* Messages from the daemon. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/reply.h"

#include <string.h>

#include "server/worker/connection.h"

/* ---- msgpack-c onto the session's output ---- */

static int write_output(void *data, const char *bytes, size_t count)
{
    struct session *session = data;
    uint8_t *room = connection_room(session, count);
    if (!room) {
        session->output_torn = true;
        return -1;
    }
    memcpy(room, bytes, count);
    connection_wrote(session, count);
    return 0;
}

/* Begins a frame: its length is written by end_frame. */
static void begin_frame(struct session *session, msgpack_packer *packer)
{
    session->reply_start = session->output_bytes;
    session->output_torn = false;
    write_output(session, "\0\0\0", TD_FRAME_HEADER);
    msgpack_packer_init(packer, session, write_output);
}

static void end_frame(struct session *session)
{
    if (session->output_torn) {
        /* Without memory for a reply the client would wait for ever: it is better told by the connection's end. */
        session->output_bytes = session->reply_start;
        session_close(session);
        return;
    }
    size_t length = session->output_bytes - session->reply_start - TD_FRAME_HEADER;
    td_write_be32(session->output + session->reply_start, (uint32_t)length);
}

void reply_text(msgpack_packer *packer, const char *text)
{
    size_t length = strlen(text);
    msgpack_pack_str(packer, length);
    msgpack_pack_str_body(packer, text, length);
}

void reply_error(msgpack_packer *packer, const struct cause *error)
{
    if (!error) {
        msgpack_pack_nil(packer);
        return;
    }
    msgpack_pack_array(packer, 6);
    msgpack_pack_int(packer, error->code);
    msgpack_pack_uint64(packer, error->request);
    reply_text(packer, error->op);
    reply_text(packer, error->site);
    reply_text(packer, error->message);
    reply_text(packer, error->hint);
}

/* ---- messages ---- */

void reply_welcome(struct session *session, const struct handover *handover)
{
    msgpack_packer packer;
    begin_frame(session, &packer);
    msgpack_pack_array(&packer, 10);
    msgpack_pack_int(&packer, TD_REPLY_WELCOME);
    msgpack_pack_int(&packer, TD_PROTOCOL_MAX);
    msgpack_pack_uint64(&packer, session->number);
    msgpack_pack_uint64(&packer, session->worker->life);
    reply_text(&packer, session->worker->device->name);
    msgpack_pack_uint64(&packer, td_ops_hash());
    msgpack_pack_uint32(&packer, TD_CREDIT_BYTES);
    msgpack_pack_uint32(&packer, TD_CREDIT_REQUESTS);
    msgpack_pack_uint32(&packer, TD_HANDLES_MAX);
    if (handover->lost[0])
        reply_text(&packer, handover->lost);
    else
        msgpack_pack_nil(&packer);
    end_frame(session);
}

void reply_goodbye(struct session *session, int code, const char *message)
{
    msgpack_packer packer;
    begin_frame(session, &packer);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_int(&packer, TD_REPLY_GOODBYE);
    msgpack_pack_int(&packer, code);
    reply_text(&packer, message);
    end_frame(session);
}

void reply_credit(struct session *session)
{
    msgpack_packer packer;
    begin_frame(session, &packer);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_int(&packer, TD_REPLY_CREDIT);
    msgpack_pack_uint64(&packer, session->executed);
    msgpack_pack_uint64(&packer, session->bytes_taken);
    session->credited_request = session->executed;
    session->credited_bytes = session->bytes_taken;
    end_frame(session);
}

void reply_pong(struct session *session, uint64_t number)
{
    msgpack_packer packer;
    begin_frame(session, &packer);
    msgpack_pack_array(&packer, 2);
    msgpack_pack_int(&packer, TD_REPLY_PONG);
    msgpack_pack_uint64(&packer, number);
    end_frame(session);
}

void reply_event(struct session *session, uint64_t event, uint64_t recorded, bool done)
{
    msgpack_packer packer;
    begin_frame(session, &packer);
    msgpack_pack_array(&packer, 4);
    msgpack_pack_int(&packer, TD_REPLY_EVENT);
    msgpack_pack_uint64(&packer, event);
    msgpack_pack_uint64(&packer, recorded);
    if (done)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
    end_frame(session);
}

static void begin_answer_of(struct session *session, msgpack_packer *packer, size_t elements, enum td_reply_kind kind,
                            uint64_t request)
{
    begin_frame(session, packer);
    msgpack_pack_array(packer, elements);
    msgpack_pack_int(packer, kind);
    msgpack_pack_uint64(packer, request);
    msgpack_pack_uint64(packer, session->request); /* in order: what comes is executed when the last one is */
}

static void begin_answer(struct session *session, msgpack_packer *packer, size_t elements, enum td_reply_kind kind)
{
    begin_answer_of(session, packer, elements, kind, session->request);
}

void reply_done(struct session *session, uint64_t request, const struct cause *error)
{
    msgpack_packer packer;
    begin_answer_of(session, &packer, 4, TD_REPLY_DONE, request);
    reply_error(&packer, error);
    end_frame(session);
}

void reply_data_failed(struct session *session, const struct cause *error)
{
    msgpack_packer packer;
    begin_answer(session, &packer, 8, TD_REPLY_DATA);
    reply_error(&packer, error);
    msgpack_pack_int(&packer, TD_DTYPE_NONE);
    msgpack_pack_int(&packer, 0);
    msgpack_pack_int(&packer, 0);
    msgpack_pack_bin(&packer, 0);
    end_frame(session);
}

size_t reply_data_header(struct session *session, uint8_t *at, uint8_t dtype, uint64_t total, uint64_t offset,
                         uint32_t chunk)
{
    uint8_t *start = at;
    at = td_write_array(at + TD_FRAME_HEADER, 8);
    at = td_write_uint(at, TD_REPLY_DATA);
    at = td_write_uint(at, session->request);
    at = td_write_uint(at, session->request);
    at = td_write_nil(at);
    at = td_write_uint(at, dtype);
    at = td_write_uint(at, total);
    at = td_write_uint(at, offset);
    at = td_write_bin_header(at, chunk);
    td_write_be32(start, (uint32_t)(at - start - TD_FRAME_HEADER) + chunk);
    return (size_t)(at - start);
}

static void pack_sizes(msgpack_packer *packer, int count, const int64_t *sizes)
{
    msgpack_pack_array(packer, (size_t)count);
    for (int k = 0; k < count; k++)
        msgpack_pack_int64(packer, sizes[k]);
}

void reply_layout(struct session *session, const struct tensor *tensor, unsigned grad, const struct cause *cause)
{
    static const struct tensor none;
    msgpack_packer packer;
    cause = cause ? cause : tensor->failed;
    tensor = cause ? &none : tensor;
    begin_answer(session, &packer, 4, TD_REPLY_MAP);
    msgpack_pack_array(&packer, 6);
    reply_error(&packer, cause);
    msgpack_pack_int(&packer, tensor->dtype);
    pack_sizes(&packer, tensor->rank, tensor->dims);
    pack_sizes(&packer, tensor->rank, tensor->dims + tensor->rank);
    msgpack_pack_int64(&packer, tensor->offset);
    msgpack_pack_unsigned_int(&packer, grad);
    end_frame(session);
}

void reply_call_begin(struct session *session, msgpack_packer *packer)
{
    begin_frame(session, packer);
    msgpack_pack_array(packer, 8);
    msgpack_pack_int(packer, TD_REPLY_CALL);
}

void reply_value(msgpack_packer *packer, const struct tensor *tensor, bool requires)
{
    msgpack_pack_array(packer, 5);
    msgpack_pack_int(packer, tensor->dtype);
    pack_sizes(packer, tensor->rank, tensor->dims);
    pack_sizes(packer, tensor->rank, tensor->dims + tensor->rank);
    msgpack_pack_int64(packer, tensor->offset);
    if (requires)
        msgpack_pack_true(packer);
    else
        msgpack_pack_false(packer);
}

void reply_map_begin(struct session *session, msgpack_packer *packer)
{
    begin_answer(session, packer, 4, TD_REPLY_MAP);
}

void reply_end(struct session *session)
{
    end_frame(session);
}
