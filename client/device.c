/* Streams and events, time, memory and properties of the device. SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define SLOTS_FIRST 16

/* ---- streams ---- */

td_stream td_stream_new(td_session *s)
{
    session_enter(s);
    uint32_t number = 1 + s->streams_made++ % (TD_STREAMS_MAX - 1);
    session_leave(s);
    return (td_stream){s, number};
}

td_stream td_current_stream(td_session *s)
{
    return (td_stream){s, scope_stream(s)};
}

void streams_send(struct td_session *s)
{
    s->stream_sent = scope_stream(s);
    request_numbers(s, 0, TD_R_STREAM, 1, (uint64_t[]){s->stream_sent});
}

void streams_lost(struct td_session *s)
{
    s->stream_sent = 0;
    for (uint32_t k = 0; k < s->events.capacity; k++)
        s->events.slots[k].recorded = 0;
}

/* ---- events ---- */

/* The slot of e; NULL, which is raised, if it has been freed. */
static struct event_slot *find(td_origin origin, td_event e, const char *what)
{
    struct events *events = &e.session->events;
    struct td_failure failure = {0};
    if (e.number < events->capacity && events->slots[e.number].generation == e.generation &&
        events->slots[e.number].live)
        return &events->slots[e.number];
    td_fail(&failure, TD_E_HANDLE, "%s: the event is used after it was freed", what);
    cause_unref(error_make(e.session, &failure, what, origin));
    return NULL;
}

/* The lock is held then; NULL and free if e is nothing that can be used. */
static struct event_slot *begin(td_origin origin, td_event e, const char *what)
{
    if (!e.session) {
        fprintf(stderr, "%s: %s: the event was never made\n", origin.where ? origin.where : "tensord", what);
        return NULL;
    }
    session_enter(e.session);
    struct event_slot *slot = find(origin, e, what);
    if (!slot)
        session_leave(e.session);
    return slot;
}

static bool grow(struct events *events)
{
    uint32_t capacity = events->capacity ? 2 * events->capacity : SLOTS_FIRST;
    struct event_slot *slots = realloc(events->slots, capacity * sizeof *slots);
    if (!slots)
        return false;
    memset(slots + events->capacity, 0, (capacity - events->capacity) * sizeof *slots);
    events->slots = slots;
    events->capacity = capacity;
    return true;
}

td_event td_event_new(td_session *s)
{
    struct events *events = &s->events;
    td_event e = {s, 0, 0};
    session_enter(s);
    while (events->first_free < events->capacity && events->slots[events->first_free].live)
        events->first_free++;
    e.number = events->first_free;
    if (e.number < TD_EVENTS_MAX && (e.number < events->capacity || grow(events))) {
        events->slots[e.number].live = true;
        e.generation = ++events->slots[e.number].generation;
    } else {
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_LIMIT, "event_new: the session has %u events already", e.number);
        td_hint(&failure,
                "td_event_free ends those that are not needed any more; one can be recorded again and again.");
        cause_unref(error_make(s, &failure, "event_new", (td_origin){0}));
    }
    session_leave(s);
    return e;
}

/* With the lock held. */
static void end(td_event e, struct event_slot *slot)
{
    td_session *s = e.session;
    if (slot->recorded && !s->dead)
        request_numbers(s, 0, TD_R_EVENT_FREE, 1, (uint64_t[]){e.number});
    slot->live = false;
    slot->recorded = 0;
    if (e.number < s->events.first_free)
        s->events.first_free = e.number;
}

void td_event_free(td_event e)
{
    struct event_slot *slot = begin((td_origin){0}, e, "event_free");
    if (!slot)
        return;
    end(e, slot);
    session_leave(e.session);
}

static void record(td_origin origin, td_event e, struct event_slot *slot, uint32_t stream)
{
    td_session *s = e.session;
    request_numbers(s, site_number(s, origin.where), TD_R_EVENT_RECORD, 2, (uint64_t[]){e.number, stream});
    if (!s->dead)
        slot->recorded = s->wire.requests;
}

void td_event_record_at(td_origin origin, td_event e)
{
    struct event_slot *slot = begin(origin, e, "event_record");
    if (!slot)
        return;
    record(origin, e, slot, scope_stream(e.session));
    session_leave(e.session);
}

/* Asks with an urgent frame, so that the answer does not wait behind the queue. True as well where nobody can tell. */
static bool ask(struct td_session *s, uint32_t number, uint64_t recorded)
{
    uint8_t frame[TD_FRAME_HEADER + 3 * TD_WIRE_MAX], *at = td_write_nil(frame + TD_FRAME_HEADER);
    struct wait wait = {.asks = true, .event = number};
    at = td_write_uint(td_write_uint(at, TD_URGENT_EVENT), number);
    td_write_be32(frame, (uint32_t)(at - frame - TD_FRAME_HEADER));
    if (s->dead || !connection_flush(s, NULL, 0) || !connection_send(s, frame, (size_t)(at - frame)) ||
        !connection_wait(s, &wait))
        return true;
    return wait.passed && wait.recorded == recorded;
}

bool td_event_query_at(td_origin origin, td_event e)
{
    struct event_slot *slot = begin(origin, e, "event_query");
    if (!slot)
        return true;
    bool done = !slot->recorded || ask(e.session, e.number, slot->recorded);
    session_leave(e.session);
    return done;
}

/* Waits for both, of which neither is freed by now; NaN after an error. */
static double elapsed(td_origin origin, td_session *s, uint32_t from, uint32_t to)
{
    void *map = NULL;
    size_t map_bytes = 0;
    struct wait wait = {.map = &map, .map_bytes = &map_bytes};
    double ms = NAN;
    request_numbers(s, site_number(s, origin.where), TD_R_ELAPSED, 2, (uint64_t[]){from, to});
    wait.request = s->wire.requests;
    if (!s->dead && connection_wait(s, &wait) && map) {
        struct td_reader r = td_reader_of(map, map_bytes);
        td_read_array(&r);
        if (!td_read_nil(&r))
            wait.error = reply_error(&r);
        double value = td_read_real(&r);
        if (!r.failed && !wait.error)
            ms = value;
    }
    error_raise(s, wait.error ? wait.error : s->dead);
    cause_unref(wait.error);
    free(map);
    return ms;
}

void td_event_synchronize_at(td_origin origin, td_event e)
{
    struct event_slot *slot = begin(origin, e, "event_synchronize");
    if (!slot)
        return;
    if (slot->recorded)
        elapsed(origin, e.session, e.number, e.number);
    session_leave(e.session);
}

double td_event_elapsed_time_at(td_origin origin, td_event from, td_event to)
{
    struct td_failure failure = {0};
    double ms = NAN;
    struct event_slot *slot = begin(origin, from, "event_elapsed_time");
    if (!slot)
        return NAN;
    if (to.session != from.session)
        td_fail(&failure, TD_E_ARGUMENT, "event_elapsed_time: the events are of different sessions");
    const struct event_slot *end = failure.code ? NULL : find(origin, to, "event_elapsed_time");
    if (end && (!slot->recorded || !end->recorded)) {
        td_fail(&failure, TD_E_ARGUMENT, "event_elapsed_time: the %s event was not recorded",
                slot->recorded ? "second" : "first");
        td_hint(&failure, "td_event_record(event) does that; a daemon that is lost takes its events along.");
    } else if (end) {
        ms = elapsed(origin, from.session, from.number, to.number);
    }
    if (failure.code)
        cause_unref(error_make(from.session, &failure, "event_elapsed_time", origin));
    session_leave(from.session);
    return ms;
}

void td_stream_wait_event_at(td_origin origin, td_stream stream, td_event e)
{
    struct td_failure failure = {0};
    struct event_slot *slot = begin(origin, e, "stream_wait_event");
    if (!slot)
        return;
    if (stream.session != e.session) {
        td_fail(&failure, TD_E_ARGUMENT, "stream_wait_event: the event is of another session than the stream");
        cause_unref(error_make(e.session, &failure, "stream_wait_event", origin));
    } else if (slot->recorded) {
        request_numbers(e.session, site_number(e.session, origin.where), TD_R_STREAM_WAIT, 2,
                        (uint64_t[]){stream.number, e.number});
    }
    session_leave(e.session);
}

/* An event where stream is now, for one use. */
static td_event mark(td_stream stream)
{
    td_event e = td_event_new(stream.session);
    struct event_slot *slot = begin((td_origin){0}, e, "stream");
    if (!slot)
        return (td_event){0};
    record((td_origin){0}, e, slot, stream.number);
    session_leave(e.session);
    return e;
}

void td_stream_wait_stream(td_stream stream, td_stream other)
{
    td_event e = mark(other);
    if (!e.session)
        return;
    td_stream_wait_event(stream, e);
    td_event_free(e);
}

void td_stream_synchronize(td_stream stream)
{
    td_event e = mark(stream);
    if (!e.session)
        return;
    td_event_synchronize(e);
    td_event_free(e);
}

/* ---- time ---- */

td_time td_time_start(td_session *s)
{
    td_time time = {mark(td_current_stream(s))};
    return time;
}

double td_time_stop(td_time time)
{
    if (!time.start.session)
        return NAN;
    td_event end = mark(td_current_stream(time.start.session));
    double ms = end.session ? td_event_elapsed_time(time.start, end) : NAN;
    td_event_free(time.start);
    if (end.session)
        td_event_free(end);
    return ms;
}

/* ---- memory and properties ---- */

/* The answer to a memory request, to be freed; NULL after an error. */
static void *ask_memory(td_session *s, bool anew, struct td_reader *r)
{
    void *map = NULL;
    size_t map_bytes = 0;
    struct wait wait = {.map = &map, .map_bytes = &map_bytes};
    session_enter(s);
    uint8_t *at = request_begin(s, 64);
    if (at) {
        request_end(s, td_write_bool(request_head(at, 0, 0, 2, TD_R_MEMORY), anew));
        wait.request = s->wire.requests;
        connection_wait(s, &wait);
    }
    error_raise(s, s->dead);
    session_leave(s);
    *r = td_reader_of(map, map_bytes);
    if (td_read_array(r) < 4)
        r->failed = true;
    return map;
}

static void take_text(struct td_reader *r, char *to, size_t size)
{
    uint32_t bytes;
    const char *text = td_read_text(r, &bytes);
    if (text)
        snprintf(to, size, "%.*s", (int)(bytes < size ? bytes : size - 1), text);
}

td_device_info td_device(td_session *s)
{
    td_device_info info = {0};
    struct td_reader r;
    void *map = ask_memory(s, false, &r);
    uint32_t count = td_read_array(&r);
    take_text(&r, info.name, sizeof info.name);
    take_text(&r, info.description, sizeof info.description);
    info.memory = td_read_int(&r);
    info.units = (int)td_read_u32(&r);
    info.capability[0] = (int)td_read_u32(&r);
    info.capability[1] = (int)td_read_u32(&r);
    info.streams = (int)td_read_u32(&r);
    snprintf(info.kind, sizeof info.kind, "%.*s", (int)strcspn(info.name, ":"), info.name);
    if (r.failed || count < 7)
        memset(&info, 0, sizeof info);
    free(map);
    return info;
}

/* As many numbers as there is room for; what more there is is passed over. */
static void take_numbers(struct td_reader *r, int count, int64_t *numbers)
{
    int there = (int)td_read_array(r);
    if (there < count)
        r->failed = true;
    for (int k = 0; k < there && !r->failed; k++) {
        int64_t number = td_read_int(r);
        if (k < count)
            numbers[k] = number;
    }
}

td_memory_info td_memory(td_session *s)
{
    int64_t own[2] = {0}, classes[4] = {0}, all[5] = {0};
    struct td_reader r;
    void *map = ask_memory(s, false, &r);
    td_read_skip(&r);
    take_numbers(&r, 2, own);
    take_numbers(&r, 4, classes);
    take_numbers(&r, 5, all);
    bool failed = r.failed;
    free(map);
    if (failed)
        return (td_memory_info){0};
    return (td_memory_info){.allocated = own[0],
                            .peak = own[1],
                            .params = classes[0],
                            .grads = classes[1],
                            .saved = classes[2],
                            .values = classes[3],
                            .device_allocated = all[0],
                            .reserved = all[1],
                            .device_peak = all[2],
                            .limit = all[3],
                            .free_run = all[4]};
}

void td_reset_peak_memory(td_session *s)
{
    struct td_reader r;
    free(ask_memory(s, true, &r));
}

/* ---- the functions behind the macros ---- */

int(td_synchronize)(td_session *s)
{
    return td_sync(s);
}

void(td_stream_wait_event)(td_stream stream, td_event event)
{
    td_stream_wait_event_at((td_origin){0}, stream, event);
}

void(td_event_record)(td_event event)
{
    td_event_record_at((td_origin){0}, event);
}

bool(td_event_query)(td_event event)
{
    return td_event_query_at((td_origin){0}, event);
}

void(td_event_synchronize)(td_event event)
{
    td_event_synchronize_at((td_origin){0}, event);
}

double(td_event_elapsed_time)(td_event from, td_event to)
{
    return td_event_elapsed_time_at((td_origin){0}, from, to);
}
