/* The bytes of a session. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/connection.h"

#include <stdlib.h>
#include <string.h>

#include "server/log.h"
#include "server/worker/decoder.h"
#include "server/worker/schedule.h"

/* Enough for a flush of small requests; grows to what credits allow. */
#define INPUT_BYTES ((size_t)16 << 10)
/* Bytes not yet executed that a client may have here: its credit, and the frame that passes it. */
#define INPUT_MAX ((size_t)TD_CREDIT_BYTES + TD_FRAME_MAX + TD_FRAME_HEADER)
/* A buffer of more than this is given back when its session rests. */
#define KEEP_BYTES ((size_t)64 << 10)

/* ---- input ---- */

static void compact(struct session *session)
{
    if (session->input_start == 0)
        return;
    memmove(session->input, session->input + session->input_start, session->input_end - session->input_start);
    session->input_end -= session->input_start;
    session->input_start = 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct session *session = handle->data;
    (void)suggested;
    if (session->input_start == session->input_end)
        session->input_start = session->input_end = 0;
    size_t room = session->input_capacity - session->input_end;
    if (room < session->input_capacity / 4 || room == 0) {
        compact(session);
        room = session->input_capacity - session->input_end;
    }
    if (room < session->input_capacity / 4 || room == 0) {
        size_t capacity = session->input_capacity ? 2 * session->input_capacity : INPUT_BYTES;
        capacity = capacity > INPUT_MAX ? INPUT_MAX : capacity;
        uint8_t *input = capacity > session->input_capacity ? realloc(session->input, capacity) : NULL;
        if (input) {
            session->input = input;
            session->input_capacity = capacity;
        }
    }
    *buffer = uv_buf_init((char *)session->input + session->input_end,
                          (unsigned)(session->input_capacity - session->input_end));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct session *session = stream->data;
    (void)buffer;
    if (got == UV_ENOBUFS) {
        session_goodbye(session, TD_E_LIMIT, "more bytes were sent than the credit allows");
        return;
    }
    if (got < 0) {
        session_close(session);
        return;
    }
    if (session->closing)
        return;
    session->input_end += (size_t)got;
    decoder_urgent(session);
    if (!session->closing)
        schedule_wake(session);
}

static size_t frame_length(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

bool connection_next_frame(struct session *session)
{
    size_t have = session->input_end - session->input_start;
    if (have < TD_FRAME_HEADER)
        return false;
    size_t length = frame_length(session->input + session->input_start);
    if (length > TD_FRAME_MAX) {
        session_goodbye(session, TD_E_LIMIT, "a frame is longer than 1114112 bytes");
        return false;
    }
    if (have < TD_FRAME_HEADER + length)
        return false;
    session->frame_at = TD_FRAME_HEADER;
    session->frame_end = TD_FRAME_HEADER + length;
    return true;
}

void connection_end_frame(struct session *session)
{
    session->bytes_taken += session->frame_end;
    session->input_start += session->frame_end;
    session->cancel_left -= session->cancel_left < session->frame_end ? session->cancel_left : session->frame_end;
    session->urgent_at -= session->urgent_at < session->frame_end ? session->urgent_at : session->frame_end;
    session->frame_at = session->frame_end = 0;
}

/* ---- output ---- */

uint8_t *connection_room(struct session *session, size_t bytes)
{
    size_t need = session->output_bytes + bytes;
    if (need > session->output_capacity) {
        size_t capacity = need < 512 ? 512 : need + need / 2;
        uint8_t *output = realloc(session->output, capacity);
        if (!output)
            return NULL;
        session->output = output;
        session->output_capacity = capacity;
    }
    return session->output + session->output_bytes;
}

void connection_wrote(struct session *session, size_t bytes)
{
    session->output_bytes += bytes;
}

struct copied_write {
    uv_write_t uv;
    struct session *session;
    size_t bytes;
    uint8_t data[];
};

static void on_copied(uv_write_t *uv, int status)
{
    struct copied_write *write = (struct copied_write *)uv;
    struct session *session = write->session;
    session->unsent_bytes -= write->bytes;
    free(write);
    if (status == 0 && !session->closing)
        schedule_wake(session);
    else if (status < 0 && !session->closing)
        session_close(session);
}

void session_flush(struct session *session)
{
    uv_stream_t *stream = (uv_stream_t *)&session->pipe;
    if (session->output_bytes == 0 || session->closed || uv_is_closing((uv_handle_t *)stream)) {
        session->output_bytes = 0;
        return;
    }
    size_t sent = 0;
    uv_buf_t buffer = uv_buf_init((char *)session->output, (unsigned)session->output_bytes);
    if (session->unsent_bytes == 0) {
        int wrote = uv_try_write(stream, &buffer, 1);
        sent = wrote > 0 ? (size_t)wrote : 0;
    }
    size_t left = session->output_bytes - sent;
    session->output_bytes = 0;
    if (left == 0)
        return;
    struct copied_write *write = malloc(sizeof *write + left);
    if (!write) {
        session_close(session); /* half a reply cannot be taken back */
        return;
    }
    write->session = session;
    write->bytes = left;
    memcpy(write->data, session->output + sent, left);
    buffer = uv_buf_init((char *)write->data, (unsigned)left);
    session->unsent_bytes += left;
    if (uv_write(&write->uv, stream, &buffer, 1, on_copied)) {
        session->unsent_bytes -= left;
        free(write);
        session_close(session);
    }
}

static void on_in_place(uv_write_t *uv, int status)
{
    struct connection_write *write = (struct connection_write *)uv;
    struct session *session = write->session;
    session->unsent_bytes -= write->bytes;
    write->then(session, write);
    if (status < 0)
        session_close(session);
    else
        schedule_wake(session);
}

int connection_write_in_place(struct connection_write *write, size_t header_bytes, void *data, size_t bytes)
{
    struct session *session = write->session;
    uv_buf_t buffers[2] = {uv_buf_init((char *)write->header, (unsigned)header_bytes),
                           uv_buf_init(data, (unsigned)bytes)};
    session_flush(session); /* replies go out in their order */
    if (session->closing || uv_is_closing((uv_handle_t *)&session->pipe))
        return -1;
    write->bytes = header_bytes + bytes;
    session->unsent_bytes += write->bytes;
    if (uv_write(&write->uv, (uv_stream_t *)&session->pipe, buffers, 2, on_in_place)) {
        session->unsent_bytes -= write->bytes;
        return -1;
    }
    return 0;
}

/* ---- life ---- */

int connection_open(struct session *session, int descriptor)
{
    if (uv_pipe_init(&session->worker->loop, &session->pipe, 0))
        return -1;
    session->pipe.data = session;
    session->opened = true;
    if (uv_pipe_open(&session->pipe, descriptor))
        return -1;
    return uv_read_start((uv_stream_t *)&session->pipe, on_alloc, on_read) ? -1 : 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;
    session->closed = true;
    session_settle(session);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    if (!uv_is_closing((uv_handle_t *)shutdown->handle))
        uv_close((uv_handle_t *)shutdown->handle, on_closed);
    free(shutdown);
}

void connection_close(struct session *session)
{
    uv_stream_t *stream = (uv_stream_t *)&session->pipe;
    if (uv_is_closing((uv_handle_t *)stream))
        return;
    uv_read_stop(stream);
    session_flush(session);
    if (uv_is_closing((uv_handle_t *)stream))
        return;
    /* A goodbye half written goes out while the tensors are released; a client that does not read it cannot keep the
     * session, since the pipe is closed outright when they are. */
    uv_shutdown_t *shutdown = session->unsent_bytes ? malloc(sizeof *shutdown) : NULL;
    if (!shutdown || uv_shutdown(shutdown, stream, on_shutdown)) {
        free(shutdown);
        uv_close((uv_handle_t *)stream, on_closed);
    }
}

void connection_rest(struct session *session)
{
    if (session->input_start == session->input_end && session->input_capacity > KEEP_BYTES) {
        free(session->input);
        session->input = NULL;
        session->input_capacity = session->input_start = session->input_end = 0;
    }
    if (session->output_bytes == 0 && session->output_capacity > KEEP_BYTES) {
        free(session->output);
        session->output = NULL;
        session->output_capacity = 0;
    }
}

void connection_abort(struct session *session)
{
    if (!uv_is_closing((uv_handle_t *)&session->pipe))
        uv_close((uv_handle_t *)&session->pipe, on_closed);
}
