/* Requests that are not ops, and the frame that all requests are gathered in.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdlib.h>

/* An upload of so many bytes has a frame of its own, so that the daemon reads them to where they belong. */
#define ALONE_BYTES ((size_t)64 << 10)

uint8_t *request_begin(struct td_session *s, size_t bytes)
{
    struct connection *c = &s->wire;
    if (s->streams_made && s->stream_sent != scope_stream(s) && !s->dead)
        streams_send(s);
    if (s->dead)
        return NULL;
    /* Bulk may follow in the same frame, and a frame has a limit. */
    if (c->out_used && c->out_used + bytes > TD_FRAME_MAX - TD_CHUNK_MAX && (!connection_flush(s, NULL, 0) || s->dead))
        return NULL;
    size_t due = c->out_used + bytes + TD_FRAME_HEADER + TD_WIRE_MAX;
    if (due > c->out_size) {
        uint8_t *out = realloc(c->out, 2 * due);
        if (!out) {
            session_kill(s, &(struct td_failure){.code = TD_E_MEMORY, .message = "no memory for a request"});
            return NULL;
        }
        c->out = out;
        c->out_size = 2 * due;
    }
    if (c->out_used == 0)
        c->out_used = (size_t)(td_write_uint(c->out + TD_FRAME_HEADER, c->replies) - c->out);
    return c->out + c->out_used;
}

void request_end(struct td_session *s, uint8_t *at)
{
    struct connection *c = &s->wire;
    c->out_used = (size_t)(at - c->out);
    c->requests++;
    if (c->out_used >= TD_FLUSH_BYTES)
        connection_flush(s, NULL, 0);
}

uint8_t *request_head(uint8_t *at, uint32_t flags, uint32_t site, uint32_t count, uint32_t id)
{
    at = td_write_uint(at, flags);
    at = td_write_uint(at, site);
    return td_write_uint(td_write_array(at, count), id);
}

void request_numbers(struct td_session *s, uint32_t site, uint32_t id, int count, const uint64_t *numbers)
{
    uint8_t *at = request_begin(s, 64);
    if (!at)
        return;
    at = request_head(at, 0, site, (uint32_t)count + 1, id);
    for (int k = 0; k < count; k++)
        at = td_write_uint(at, numbers[k]);
    request_end(s, at);
}

bool request_upload(struct td_session *s, uint32_t handle, uint64_t offset, const void *data, size_t bytes)
{
    struct connection *c = &s->wire;
    uint32_t epoch = c->epoch;
    if (bytes >= ALONE_BYTES && !connection_flush(s, NULL, 0))
        return false;
    uint8_t *at = request_begin(s, 64);
    if (!at || epoch != c->epoch)
        return false;
    at = td_write_uint(request_head(at, 0, 0, 4, TD_R_UPLOAD), handle);
    at = td_write_bin_header(td_write_uint(at, offset), (uint32_t)bytes);
    c->out_used = (size_t)(at - c->out);
    c->requests++;
    return connection_flush(s, data, bytes);
}

void request_release(struct td_session *s, uint32_t handle)
{
    uint64_t released[2];
    for (int count; handle;) {
        for (count = 0; handle && count < 2;) {
            const struct entry *e = &s->handles.entries[handle];
            uint32_t grad = e->grad;
            if (!(e->flags & ENTRY_LOCAL))
                released[count++] = handle;
            handles_drop(&s->handles, handle);
            handle = grad;
        }
        if (count)
            request_numbers(s, 0, TD_R_RELEASE, count, released);
    }
}

void request_used_up(struct td_session *s, uint32_t handle)
{
    uint32_t grad = s->handles.entries[handle].grad;
    handles_drop(&s->handles, handle);
    request_release(s, grad);
}

bool request_wait(struct td_session *s, uint32_t id, struct wait *wait)
{
    request_numbers(s, 0, id, 0, NULL);
    if (s->dead)
        return false;
    wait->request = s->wire.requests;
    return connection_wait(s, wait);
}

void td_flush(td_session *s)
{
    session_enter(s);
    if (!s->dead)
        connection_flush(s, NULL, 0);
    session_leave(s);
}

void td_cancel(td_session *s)
{
    s->wire.cancels++;
    /* Whoever holds the lock may be waiting for what is to be cancelled. */
    if (pthread_mutex_trylock(&s->lock) == 0) {
        if (!s->dead)
            connection_flush(s, NULL, 0); /* what was asked for before is to be cancelled too */
        session_leave(s);
    }
    connection_urgent(s, TD_URGENT_CANCEL);
}

void td_manual_seed(td_session *s, uint64_t seed)
{
    session_enter(s);
    if (s->dead)
        error_raise(s, s->dead);
    else
        request_numbers(s, 0, TD_R_SEED, 1, &seed);
    session_leave(s);
}

void *td_status(td_session *s, size_t *bytes)
{
    void *map = NULL;
    struct wait wait = {.map = &map, .map_bytes = bytes};
    session_enter(s);
    *bytes = 0;
    if (s->dead)
        error_raise(s, s->dead);
    else
        request_wait(s, TD_R_STATUS, &wait);
    error_raise(s, wait.error);
    cause_unref(wait.error);
    session_leave(s);
    return map;
}
