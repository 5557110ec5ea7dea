/* Waiting for the device. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/barrier.h"

#include <stdlib.h>

#include "server/worker/errand.h"
#include "server/worker/reply.h"
#include "server/worker/streams.h"

/* On the session's stack, so that no later request runs before it is answered. */
struct barrier {
    struct iterator iterator;
    struct errand errand;
    bool clear, settled;
};

static void answer(struct session *session, bool clear)
{
    reply_done(session, session->request, session->error);
    if (!clear)
        return;
    cause_unref(session->error);
    session->error = NULL;
}

static void settle(struct errand *errand, const struct td_device *device)
{
    streams_settle(errand->session, device);
}

static void settled(struct errand *errand)
{
    ((struct barrier *)((char *)errand - offsetof(struct barrier, errand)))->settled = true;
}

static enum step barrier_next(struct session *session, struct iterator *iterator)
{
    struct barrier *barrier = (struct barrier *)iterator;
    if (session->closing)
        return STEP_DONE;
    barrier->errand = (struct errand){.session = session, .run = settle, .done = settled};
    if (!barrier->settled && errand_start(&barrier->errand))
        return STEP_WAIT;
    if (!barrier->settled)
        settle(&barrier->errand, session->worker->device);
    answer(session, barrier->clear);
    return STEP_DONE;
}

static void barrier_drop(struct session *session, struct iterator *iterator)
{
    (void)session;
    free(iterator);
}

void barrier_start(struct session *session, bool clear)
{
    struct barrier *barrier = session->worker->device->host_memory ? NULL : malloc(sizeof *barrier);
    if (!barrier) { /* the CPU has done it all; and who has no memory left says what there is to say */
        answer(session, clear);
        return;
    }
    *barrier = (struct barrier){.iterator = {.next = barrier_next, .drop = barrier_drop}, .clear = clear};
    session_push(session, &barrier->iterator);
}
