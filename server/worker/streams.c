/* Streams, events, and figures of memory. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/streams.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/errand.h"
#include "server/worker/lanes.h"
#include "server/worker/reply.h"

#define EVENTS_FIRST 16

struct event {
    struct td_point *point; /* NULL: never recorded, or ended */
    uint64_t request;       /* that recorded it */
    uint64_t stamp;         /* up to which it is behind what is in its lane */
    uint8_t lane;
};

/* ---- lanes ---- */

static int lane_of(const struct session *session, uint32_t number)
{
    return session->worker->device->stamp ? (int)((session->number + number) % TD_STREAMS) : 0;
}

void streams_choose(struct session *session, uint32_t number)
{
    session->lane = (uint8_t)lane_of(session, number);
    session->lanes |= (uint8_t)(1u << session->lane);
}

void streams_settle(const struct session *session, const struct td_device *device)
{
    for (int lane = 0; lane < TD_STREAMS; lane++)
        if (session->lanes >> lane & 1)
            device->settle(lane);
    device->settle(TD_LANE_UPLOAD);
}

void uploads_begin(struct session *session, const struct tensor *tensor)
{
    lanes_write(session->worker, TD_LANE_UPLOAD, tensor->storage->block);
}

void uploads_end(struct session *session, const struct tensor *tensor)
{
    const struct td_device *device = session->worker->device;
    lanes_did_write(session->worker, TD_LANE_UPLOAD, tensor->storage->block);
    session->uploaded = device->stamp ? device->stamp(TD_LANE_UPLOAD) : 0;
}

/* ---- taking requests apart ---- */

static uint32_t take_stream(struct request *request, struct td_failure *failure)
{
    uint32_t number = take_handle(request); /* a small number, as a handle is */
    if (number >= TD_STREAMS_MAX)
        td_fail(failure, TD_E_ARGUMENT, "streams have numbers below %d", TD_STREAMS_MAX);
    return number;
}

/* The event of the number that is next. NULL, with failure: it has not been recorded. */
static struct event *take_event(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_handle(request);
    if (number < session->event_capacity && session->events[number].point)
        return &session->events[number];
    if (number >= TD_EVENTS_MAX)
        td_fail(failure, TD_E_LIMIT, "events have numbers below %d", TD_EVENTS_MAX);
    else
        td_fail(failure, TD_E_ARGUMENT, "event %" PRIu32 " has not been recorded", number);
    return NULL;
}

static bool grow(struct session *session, uint32_t number)
{
    uint32_t capacity = session->event_capacity ? session->event_capacity : EVENTS_FIRST;
    while (capacity <= number)
        capacity *= 2;
    struct event *events = realloc(session->events, capacity * sizeof *events);
    if (!events)
        return false;
    memset(events + session->event_capacity, 0, (capacity - session->event_capacity) * sizeof *events);
    session->events = events;
    session->event_capacity = capacity;
    return true;
}

/* ---- requests ---- */

void run_stream(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_stream(request, failure);
    if (!failure->code)
        streams_choose(session, number);
}

/* What has been copied from memory that the client may write to again behind the event has been copied by then. */
void run_event_record(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_handle(request), stream = take_stream(request, failure);
    int lane = lane_of(session, stream);
    if (number >= TD_EVENTS_MAX)
        td_fail(failure, TD_E_LIMIT, "events have numbers below %d", TD_EVENTS_MAX);
    if (failure->code)
        return;
    const struct td_device *device = session->worker->device;
    lanes_behind(session->worker, lane, TD_LANE_UPLOAD, session->uploaded);
    uint64_t stamp = device->stamp ? device->stamp(lane) : 0; /* the device's thread may put in more meanwhile */
    if ((number >= session->event_capacity && !grow(session, number)) ||
        !device->mark(&session->events[number].point, lane)) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return;
    }
    struct event *event = &session->events[number];
    event->request = session->request;
    event->stamp = stamp;
    event->lane = (uint8_t)lane;
}

void run_stream_wait(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_stream(request, failure);
    const struct event *event = take_event(session, request, failure);
    if (failure->code)
        return;
    session->worker->device->follow(lane_of(session, number), event->point);
    lanes_followed(session->worker, lane_of(session, number), event->lane, event->stamp);
}

void run_event_free(struct session *session, struct request *request, struct td_failure *failure)
{
    struct event *event;
    if (request->elements == 0 || !(event = take_event(session, request, failure)))
        return;
    session->worker->device->forget(event->point);
    event->point = NULL;
}

void streams_end(struct session *session)
{
    for (uint32_t k = 0; k < session->event_capacity; k++)
        if (session->events[k].point)
            session->worker->device->forget(session->events[k].point);
    free(session->events);
}

void streams_answer(struct session *session, uint64_t number)
{
    const struct event *event = number < session->event_capacity ? &session->events[number] : NULL;
    bool recorded = event && event->point;
    reply_event(session, number, recorded ? event->request : 0,
                recorded && session->worker->device->passed(event->point));
}

/* ---- waiting for events, on the session's stack ---- */

struct elapsing {
    struct iterator iterator;
    struct errand errand;
    const struct td_point *from, *to; /* of a session that is parked, or whose next request is not yet looked at */
    double ms;
    bool known;
};

static void reply_elapsed(struct session *session, double ms, const struct cause *cause)
{
    msgpack_packer packer;
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, 2);
    reply_error(&packer, cause);
    msgpack_pack_double(&packer, ms);
    reply_end(session);
}

static struct elapsing *elapsing_of(struct errand *errand)
{
    return (struct elapsing *)((char *)errand - offsetof(struct elapsing, errand));
}

static void elapsing_run(struct errand *errand, const struct td_device *device)
{
    struct elapsing *e = elapsing_of(errand);
    e->ms = device->between(e->from, e->to);
}

static void elapsing_done(struct errand *errand)
{
    elapsing_of(errand)->known = true;
}

static enum step elapsing_next(struct session *session, struct iterator *iterator)
{
    struct elapsing *e = (struct elapsing *)iterator;
    if (session->closing)
        return STEP_DONE;
    e->errand = (struct errand){.session = session, .run = elapsing_run, .done = elapsing_done};
    if (!e->known && errand_start(&e->errand))
        return STEP_WAIT;
    if (!e->known)
        elapsing_run(&e->errand, session->worker->device);
    reply_elapsed(session, e->ms, NULL);
    return STEP_DONE;
}

static void elapsing_drop(struct session *session, struct iterator *iterator)
{
    (void)session;
    free(iterator);
}

void run_elapsed(struct session *session, struct request *request, struct td_failure *failure)
{
    const struct td_device *device = session->worker->device;
    const struct event *from = take_event(session, request, failure);
    const struct event *to = from ? take_event(session, request, failure) : NULL;
    struct elapsing *e = failure->code || device->host_memory ? NULL : malloc(sizeof *e);
    if (e) {
        *e = (struct elapsing){
            .iterator = {.next = elapsing_next, .drop = elapsing_drop}, .from = from->point, .to = to->point};
        session_push(session, &e->iterator);
        return;
    }
    if (!failure->code && !device->host_memory)
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    struct cause *cause = failure->code ? request_fail(session, request, "elapsed", failure) : NULL;
    reply_elapsed(session, cause ? 0 : device->between(from->point, to->point), cause);
    cause_unref(cause);
    failure->code = TD_E_OK; /* told already */
}

/* ---- memory ---- */

static void put_device(msgpack_packer *packer, const struct td_device *device)
{
    msgpack_pack_array(packer, 7);
    reply_text(packer, device->name);
    reply_text(packer, device->description);
    msgpack_pack_uint64(packer, device->memory_bytes);
    msgpack_pack_int(packer, device->units);
    msgpack_pack_int(packer, device->capability[0]);
    msgpack_pack_int(packer, device->capability[1]);
    msgpack_pack_int(packer, device->stamp ? TD_STREAMS : 1);
}

static void put_numbers(msgpack_packer *packer, int count, const uint64_t *numbers)
{
    msgpack_pack_array(packer, (size_t)count);
    for (int k = 0; k < count; k++)
        msgpack_pack_uint64(packer, numbers[k]);
}

void run_memory(struct session *session, struct request *request, struct td_failure *failure)
{
    const struct pool *pool = &session->worker->pool;
    const uint64_t own[] = {session_bytes(session), session->peak_bytes},
                   all[] = {pool->used_bytes, pool->reserved_bytes, pool->peak_bytes, pool->limit_bytes,
                            pool_largest_free(pool)};
    msgpack_packer packer;
    bool anew = false;
    if (!take_bool(request, &anew))
        td_fail(failure, TD_E_ARGUMENT, "a bool is due");
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, 4);
    put_device(&packer, session->worker->device);
    put_numbers(&packer, 2, own);
    put_numbers(&packer, BLACKBOX_CLASSES, session->bytes);
    put_numbers(&packer, 5, all);
    reply_end(session);
    if (anew)
        session->peak_bytes = session_bytes(session);
}
