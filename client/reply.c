/* Replies: what the daemon sent, taken apart by the bounded reader. Nothing in it is trusted.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy_text(struct td_reader *r, char *to, size_t size)
{
    uint32_t bytes;
    const char *text = td_read_text(r, &bytes);
    if (!text)
        return;
    snprintf(to, size, "%.*s", (int)(bytes < size ? bytes : size - 1), text);
}

/* What went wrong in an op that a function sent for the caller is told in the function's name. */
static void tell_as_function(char *where, char *op, size_t op_bytes, struct td_failure *failure)
{
    char *in = NULL, message[TD_MESSAGE_BYTES];
    size_t bytes = strlen(op);
    for (char *next = where; (next = strstr(next, SITE_IN)); next += strlen(SITE_IN))
        in = next;
    const char *function = in ? in + strlen(SITE_IN) : "";
    if (!*function || strspn(function, "abcdefghijklmnopqrstuvwxyz_0123456789") < strlen(function))
        return;
    *in = 0;
    if (!strncmp(failure->message, op, bytes) && failure->message[bytes] == ':') {
        snprintf(message, sizeof message, "%.64s%s", function, failure->message + bytes);
        memcpy(failure->message, message, sizeof message);
    }
    snprintf(op, op_bytes, "%s", function);
}

struct cause *reply_error(struct td_reader *r)
{
    struct td_failure failure = {0};
    char op[48] = "", where[TD_SITE_BYTES] = "";
    uint32_t count = td_read_array(r);
    failure.code = (int)td_read_u32(r);
    uint64_t request = td_read_uint(r);
    copy_text(r, op, sizeof op);
    copy_text(r, where, sizeof where);
    copy_text(r, failure.message, sizeof failure.message);
    copy_text(r, failure.hint, sizeof failure.hint);
    for (uint32_t k = 6; k < count && !r->failed; k++)
        td_read_skip(r);
    if (r->failed || count < 6 || !failure.code) {
        r->failed = true;
        return NULL;
    }
    tell_as_function(where, op, sizeof op, &failure);
    return cause_new(&failure, op, where, request);
}

static void note_executed(struct connection *c, uint64_t executed)
{
    if (executed > c->executed && executed <= c->requests)
        c->executed = executed;
}

/* The wait that this reply ends or goes on with; the error, if there is one, becomes the wait's. */
static struct wait *answered(struct td_session *s, struct td_reader *r)
{
    uint64_t request = td_read_uint(r);
    note_executed(&s->wire, td_read_uint(r));
    struct wait *wait = s->wire.wait;
    return !r->failed && wait && !wait->done && wait->request == request ? wait : NULL;
}

static void take_error(struct td_reader *r, struct wait *wait)
{
    if (td_read_nil(r))
        return;
    struct cause *error = reply_error(r);
    if (wait && !wait->error)
        wait->error = error;
    else
        cause_unref(error);
}

static void take_map(struct td_reader *r, struct wait *wait)
{
    const uint8_t *start = r->at;
    td_read_skip(r);
    if (r->failed || !wait)
        return;
    size_t bytes = (size_t)(r->at - start);
    if (wait->map && (*wait->map = malloc(bytes))) {
        memcpy(*wait->map, start, bytes);
        *wait->map_bytes = bytes;
    }
    wait->done = true;
}

static void take_event(struct td_reader *r, struct wait *wait)
{
    uint64_t event = td_read_uint(r), recorded = td_read_uint(r);
    bool passed = td_read_bool(r);
    if (r->failed || !wait || !wait->asks || wait->event != event)
        return;
    wait->recorded = recorded;
    wait->passed = passed;
    wait->done = true;
}

/* All but the kind of a DATA up to its bytes; left gets their number. The bytes may not have arrived yet. */
static bool take_data_head(struct td_session *s, struct td_reader *r, uint64_t *left)
{
    struct wait *wait = answered(s, r);
    *left = 0;
    if (!td_read_nil(r)) {
        take_error(r, wait);
        for (int k = 0; k < 4 && !r->failed; k++)
            td_read_skip(r);
        if (wait)
            wait->done = true;
        return !r->failed;
    }
    uint64_t dtype = td_read_uint(r), total = td_read_uint(r), offset = td_read_uint(r);
    const uint8_t *head = r->at;
    size_t have = td_reader_left(r);
    size_t width = have && head[0] >= 0xc4 && head[0] <= 0xc6 ? (size_t)1 << (head[0] - 0xc4) : 0;
    if (r->failed || !width || have < 1 + width)
        return false;
    for (size_t k = 1; k <= width; k++)
        *left = *left << 8 | head[k];
    r->at += 1 + width;
    return wait && wait->sink && dtype == wait->dtype && total == wait->total && offset == wait->received &&
           *left <= total - offset && (*left > 0 || total == 0);
}

void reply_received(struct wait *wait, uint64_t bytes, uint64_t left)
{
    wait->received += bytes;
    if (left)
        return;
    if (wait->take) {
        wait->take(wait->taker, wait->sink, (size_t)(wait->received - wait->taken));
        wait->taken = wait->received;
    }
    wait->done = wait->received == wait->total;
}

/* A DATA frame, perhaps cut off inside its bytes: the rest then goes from the socket into the sink. Returns the bytes
 * of it that are used up, 0 if more of its head must come first. */
static size_t take_data(struct td_session *s, const uint8_t *frame, size_t have, size_t length, bool *fits)
{
    struct connection *c = &s->wire;
    struct td_reader r = td_reader_of(frame, have), peek;
    uint64_t left;
    if (have < length && have < 256) /* more than any head takes */
        return 0;
    td_read_array(&r);
    td_read_uint(&r);
    peek = r;
    td_read_uint(&peek);
    td_read_uint(&peek);
    if (have < length && !td_read_nil(&peek))
        return 0; /* an error: all of it must be there */
    *fits = !r.failed && take_data_head(s, &r, &left);
    size_t head = (size_t)(r.at - frame);
    if (!*fits || !left) {
        if (have < length)
            *fits = false;
        if (*fits && c->wait && !c->wait->error && c->wait->total == 0)
            c->wait->done = true;
        return length;
    }
    if (head + left != length) {
        *fits = false;
        return length;
    }
    size_t here = have - head < left ? have - head : (size_t)left;
    struct wait *wait = c->wait;
    memcpy(wait->sink + (wait->received - wait->taken), r.at, here);
    c->sink_left = left - here;
    reply_received(wait, here, c->sink_left);
    return head + here;
}

static bool take_frame(struct td_session *s, const uint8_t *frame, size_t length, struct td_failure *failure,
                       bool *goodbye)
{
    struct connection *c = &s->wire;
    struct td_reader r = td_reader_of(frame, length);
    struct wait *wait;
    td_read_array(&r);
    switch (td_read_uint(&r)) {
    case TD_REPLY_GOODBYE:
        failure->code = (int)td_read_u32(&r);
        copy_text(&r, failure->message, sizeof failure->message);
        *goodbye = true;
        return !r.failed && failure->code;
    case TD_REPLY_DONE:
        wait = answered(s, &r);
        take_error(&r, wait);
        if (wait)
            wait->done = true;
        return !r.failed;
    case TD_REPLY_CREDIT:
        note_executed(c, td_read_uint(&r));
        uint64_t taken = td_read_uint(&r);
        if (taken > c->bytes_taken && taken <= c->bytes_sent)
            c->bytes_taken = taken;
        return !r.failed;
    case TD_REPLY_MAP:
        wait = answered(s, &r);
        take_map(&r, wait);
        return !r.failed;
    case TD_REPLY_EVENT:
        take_event(&r, c->wait);
        return !r.failed;
    case TD_REPLY_CALL:
        if (c->call || !(c->call = malloc(length)))
            return false;
        memcpy(c->call, frame, length);
        c->call_bytes = length;
        return true;
    default: /* PONG, and what later daemons may say */
        return !r.failed;
    }
}

/* Whether a frame's payload is a DATA: the array's head of one byte, then the kind. */
static bool is_data(const uint8_t *frame, size_t have)
{
    return have >= 2 && (frame[0] & 0xf0) == 0x90 && frame[1] == TD_REPLY_DATA;
}

bool reply_take(struct td_session *s, struct td_failure *failure, bool *goodbye)
{
    struct connection *c = &s->wire;
    while (c->in_to - c->in_from >= TD_FRAME_HEADER && !c->sink_left) {
        const uint8_t *at = c->in + c->in_from;
        size_t have = c->in_to - c->in_from - TD_FRAME_HEADER, used;
        size_t length = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        bool fits = length >= 2 && length <= TD_FRAME_MAX;
        if (have > length)
            have = length;
        at += TD_FRAME_HEADER;
        if (!fits) {
            used = 0;
        } else if (have < 2) {
            break;
        } else if (is_data(at, have)) {
            used = take_data(s, at, have, length, &fits);
            if (used == 0)
                break;
        } else if (have == length) {
            fits = take_frame(s, at, length, failure, goodbye);
            used = length;
        } else {
            break;
        }
        if (!fits) {
            td_fail(failure, TD_E_PROTOCOL, "the daemon sent something that is not the protocol");
            return false;
        }
        c->replies++;
        c->in_from += TD_FRAME_HEADER + used;
        if (*goodbye)
            return true;
    }
    return true;
}
