/* The bytes of a session: its buffers, and frames in them. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/connection.h"

#include <stdlib.h>
#include <string.h>

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

uint8_t *connection_input(struct session *session, size_t *bytes)
{
    if (session->landing.tensor) {
        *bytes = session->landing.left;
        return session->landing.at;
    }
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
    *bytes = session->input_capacity - session->input_end;
    return session->input + session->input_end;
}

void connection_received(struct session *session, size_t bytes)
{
    if (session->closing)
        return;
    session->worker->recorder.tables->bytes_in += bytes;
    session->worker->looked_ns = session->arrived_ns ? 0 : uv_hrtime();
    if (!session->arrived_ns)
        session->arrived_ns = session->worker->looked_ns;
    decoder_received(session, bytes);
    if (!session->closing)
        schedule_wake(session);
}

void connection_overrun(struct session *session)
{
    if (session->input_capacity < INPUT_MAX)
        session_goodbye(session, TD_E_MEMORY, "the daemon's host has no memory left");
    else
        session_goodbye(session, TD_E_LIMIT, "more bytes were sent than the credit allows");
}

bool connection_next_frame(struct session *session)
{
    size_t have = session->input_end - session->input_start;
    if (have < TD_FRAME_HEADER)
        return false;
    size_t length = connection_frame_length(session->input + session->input_start);
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
