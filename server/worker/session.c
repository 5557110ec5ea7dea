/* Sessions: their life, their handles, their errors. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"
#include "server/worker/checkpoint.h"
#include "server/worker/connection.h"
#include "server/worker/decoder.h"
#include "server/worker/host.h"
#include "server/worker/program.h"
#include "server/worker/reply.h"
#include "server/worker/schedule.h"
#include "server/worker/streams.h"
#include "server/worker/tape.h"

/* torch.initial_seed() of a fresh process: programs that never seed draw the same numbers each time, as there. */
#define DEFAULT_SEED UINT64_C(67280421310721)
#define HANDLES_FIRST 64
/* Handles released in one step of a session's end. */
#define RELEASE_STEP 64

/* ---- life ---- */

struct session *session_open(struct worker *worker, const struct handover *handover, int descriptor)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        close(descriptor);
        return NULL;
    }
    session->worker = worker;
    session->number = handover->number;
    session->uid = handover->uid;
    session->pid = (uint32_t)handover->pid;
    session->started_ns = uv_hrtime();
    session->seed = DEFAULT_SEED;
    session->names = &session->own;
    memcpy(session->program, handover->hello.program, sizeof session->program);
    session->next = worker->sessions;
    if (session->next)
        session->next->prev = session;
    worker->sessions = session;
    session->making = BLACKBOX_VALUE;
    streams_choose(session, 0);
    recorder_open(session);
    decoder_init(session);
    if (connection_open(session, descriptor)) {
        log_event(LOG_WARN, session->number, "its socket cannot be used");
        session_close(session);
        return NULL;
    }
    log_event(LOG_INFO, session->number, "opened program=\"%s\" pid=%" PRIu32 " uid=%" PRIu32, session->program,
              session->pid, session->uid);
    reply_welcome(session, handover);
    session_flush(session);
    return session;
}

/* The last iterator of a session: releases what it had, a little at a time. */
static enum step release_some(struct session *session, struct iterator *iterator)
{
    (void)iterator;
    if (hosts_release(session))
        return STEP_WAIT;
    programs_end(session);
    return names_clear(session, &session->own, RELEASE_STEP) ? STEP_MORE : STEP_DONE;
}

static void release_end(struct session *session, struct iterator *iterator)
{
    if (session->opened)
        connection_abort(session);
    else
        session->closed = true;
    (void)iterator; /* part of the session */
}

void session_close(struct session *session)
{
    if (session->closing)
        return;
    session->closing = true;
    log_event(LOG_INFO, session->number,
              "closed requests=%" PRIu64 " tensors=%" PRIu32 " bytes=%" PRIu64 " copied_bytes=%" PRIu64,
              session->executed, session->own.count, session_bytes(session), session->copied_bytes);
    if (session->opened)
        connection_close(session);
    tensor_unref(session, session->filling);
    tensor_unref(session, session->landing.tensor);
    session->filling = session->landing.tensor = NULL;
    /* It goes to the bottom: what runs now is dropped first, by decoder_next and its kin seeing closing. */
    session->release = (struct iterator){.next = release_some, .drop = release_end};
    session_settle(session);
    schedule_wake(session);
}

void session_goodbye(struct session *session, int code, const char *message)
{
    if (session->closing)
        return;
    log_event(LOG_WARN, session->number, "broken off: %s: %s", td_error_name(code), message);
    reply_goodbye(session, code, message);
    session_close(session);
}

static void session_free(struct session *session)
{
    struct worker *worker = session->worker;
    schedule_forget(session);
    if (session->prev)
        session->prev->next = session->next;
    else
        worker->sessions = session->next;
    if (session->next)
        session->next->prev = session->prev;
    recorder_close(session);
    streams_end(session);
    for (uint32_t k = 0; k < session->site_count; k++)
        free(session->sites[k].text);
    free(session->sites);
    free(session->own.tensors);
    free(session->spare.tensors);
    cause_unref(session->error);
    free(session->input);
    free(session->output);
    free(session);
    worker_settle(worker);
}

/* Drops what runs for a session that is over, and lets the release run. */
static void unwind(struct session *session)
{
    if (session->parked || session->in_turn)
        return;
    while (session->top && session->top != &session->release) {
        struct iterator *iterator = session->top;
        session->top = iterator->below;
        iterator->drop(session, iterator);
    }
    if (!session->top && !session->releasing) {
        session->releasing = true;
        session->top = &session->release;
    }
    schedule_wake(session);
}

void session_settle(struct session *session)
{
    if (!session->closing) {
        connection_rest(session);
        return;
    }
    unwind(session);
    bool over = session->releasing && !session->top && session->closed && !session->parked;
    if (over && !session->in_turn && session->dead_nodes == 0 && session->unsent_bytes == 0)
        session_free(session);
}

void session_push(struct session *session, struct iterator *iterator)
{
    iterator->below = session->top;
    session->top = iterator;
}

/* ---- handles ---- */

static bool grow_names(struct names *names, uint32_t handle)
{
    uint32_t capacity = names->capacity ? names->capacity : HANDLES_FIRST;
    while (capacity <= handle)
        capacity *= 2;
    struct tensor **tensors = realloc(names->tensors, capacity * sizeof *tensors);
    if (!tensors)
        return false;
    memset(tensors + names->capacity, 0, (capacity - names->capacity) * sizeof *tensors);
    names->tensors = tensors;
    names->capacity = capacity;
    return true;
}

bool names_clear(struct session *session, struct names *names, uint32_t limit)
{
    for (; limit > 0 && names->capacity > 0; limit--) {
        struct tensor **last = &names->tensors[--names->capacity];
        if (*last)
            names->count--;
        tensor_unref(session, *last);
        *last = NULL;
    }
    return names->capacity > 0;
}

struct tensor *session_tensor(struct session *session, uint32_t handle, struct td_failure *failure)
{
    const struct names *names = session->names;
    if (handle < names->capacity && names->tensors[handle]) {
        if (session_records(session))
            recording_uses(session, handle, names->tensors[handle]);
        return names->tensors[handle];
    }
    td_fail(failure, TD_E_HANDLE, "there is no tensor %" PRId64 " in this session",
            handle == UINT32_MAX ? (int64_t)-1 : (int64_t)handle);
    td_hint(failure, "It was released, or never made.");
    return NULL;
}

int session_bind(struct session *session, uint32_t handle, struct tensor *tensor, struct td_failure *failure)
{
    struct names *names = session->names;
    if (handle >= TD_HANDLES_MAX)
        td_fail(failure, TD_E_LIMIT, "a handle of the result is at or above the limit %u", TD_HANDLES_MAX);
    else if (handle < names->capacity && names->tensors[handle])
        td_fail(failure, TD_E_HANDLE, "handle %" PRIu32 " for the result is in use", handle);
    else if (!tensor || (handle >= names->capacity && !grow_names(names, handle)))
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    if (failure->code) {
        tensor_unref(session, tensor);
        return failure->code;
    }
    names->tensors[handle] = tensor;
    names->count++;
    if (session_records(session))
        recording_binds(session, handle);
    return TD_E_OK;
}

int session_release(struct session *session, uint32_t handle, struct td_failure *failure)
{
    struct names *names = session->names;
    if (handle >= names->capacity || !names->tensors[handle])
        return session_tensor(session, handle, failure) ? TD_E_OK : failure->code;
    tensor_unref(session, names->tensors[handle]);
    names->tensors[handle] = NULL;
    names->count--;
    if (session_records(session))
        recording_lets_go(session, handle);
    return TD_E_OK;
}

void session_fill_end(struct session *session)
{
    struct tensor *tensor = session->filling;
    struct td_meta meta;
    if (!tensor)
        return;
    tensor_meta(tensor, &meta);
    uploads_begin(session, tensor);
    session->worker->device->zero(TD_LANE_UPLOAD, (char *)tensor_data(tensor) + session->filled,
                                  td_meta_bytes(&meta) - session->filled);
    uploads_end(session, tensor);
    session->filling = NULL;
    tensor_unref(session, tensor);
}

/* ---- errors ---- */

const char *session_site(const struct session *session, uint32_t site)
{
    return site < session->site_count && session->sites[site].text ? session->sites[site].text : "";
}

struct cause *session_fail(struct session *session, const char *op, uint32_t site, const struct td_failure *failure)
{
    /* Never freed: the first reference stays. */
    static struct cause no_memory = {
        .refs = 1, .code = TD_E_MEMORY, .op = "", .message = "the daemon's host has no memory left"};
    struct cause *cause = malloc(sizeof *cause);
    if (cause) {
        *cause = (struct cause){.refs = 1, .code = failure->code, .request = session->request};
        strncpy(cause->op, op, sizeof cause->op - 1);
        strncpy(cause->site, session_site(session, site), sizeof cause->site - 1);
        memcpy(cause->message, failure->message, sizeof cause->message);
        memcpy(cause->hint, failure->hint, sizeof cause->hint);
    } else {
        cause = cause_ref(&no_memory);
    }
    recorder_error(session, site, failure->code, failure->message);
    log_event(LOG_DEBUG, session->number, "request %" PRIu64 " failed: %s: %s", session->request,
              td_error_name(cause->code), cause->message);
    bool told = checkpoint_repeats(session, failure->code);
    if (!session->error && !told)
        session->error = cause_ref(cause);
    return cause;
}
