/* A worker: its loop, and its end of the channel to the supervisor. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"
#include "server/worker/device.h"
#include "server/worker/errand.h"
#include "server/worker/exec.h"
#include "server/worker/instruments.h"
#include "server/worker/schedule.h"
#include "server/worker/session.h"

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void worker_settle(struct worker *worker)
{
    if (worker->stopping && !worker->sessions)
        uv_stop(&worker->loop);
}

/* What kernels work in is asked for and given back with each run, a few hundred KiB at a time, and what a session has
 * sent and nobody has read yet, up to its credit, each time that it has been read. By default the system gets it back
 * in between, and its pages are made anew: that was a tenth of a small convolution, and three quarters of an upload. So
 * much is kept. */
#define KEPT_BYTES (32 << 20)

/* The supervisor is gone or wants the worker to end. */
static void stop(struct worker *worker)
{
    if (worker->stopping)
        return;
    worker->stopping = true;
    uv_poll_stop(&worker->channel);
    log_event(LOG_INFO, 0, "stopping");
    for (struct session *session = worker->sessions, *next; session; session = next) {
        next = session->next;
        session_goodbye(session, TD_E_CLOSED, "the daemon is shutting down");
    }
    worker_settle(worker);
}

static void on_channel(uv_poll_t *poll, int status, int events);

/* Tells the supervisor, which keeps a copy of each client until then, up to which one they are ours. A full channel is
 * tried again when it has room; nothing more is taken from it meanwhile. */
static void tell_taken(struct worker *worker)
{
    struct handover_note note = {.kind = NOTE_TAKEN, .number = worker->taken};
    worker->untold = handover_note_send(worker->channel_descriptor, &note) && errno == EAGAIN;
    uv_poll_start(&worker->channel, worker->untold ? UV_WRITABLE : UV_READABLE, on_channel);
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
    struct worker *worker = poll->data;
    struct handover handover;
    int descriptor, got = -1;
    (void)events;
    if (status < 0) {
        stop(worker);
        return;
    }
    if (worker->untold)
        tell_taken(worker);
    while (!worker->untold && (got = handover_receive(worker->channel_descriptor, &handover, &descriptor)) > 0) {
        worker->life = handover.life;
        worker->workers = handover.workers;
        worker->taken = handover.number;
        tell_taken(worker); /* before the WELCOME: who has been greeted must not be handed to the next life as well */
        session_open(worker, &handover, descriptor);
    }
    if (!worker->untold && (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)))
        stop(worker);
}

static int start(struct worker *worker, const struct config *config, int channel, int tables, int trace)
{
    worker->device->set_threads(config->threads);
    worker->started_ns = uv_hrtime();
    worker->channel_descriptor = channel;
    worker->sources = calloc(TD_INPUTS_MAX, sizeof(struct source));
    size_t limit = config->memory_bytes ? config->memory_bytes : worker->device->memory_bytes / 5 * 4;
    pool_init(&worker->pool, worker->device, limit);
    if (!worker->sources || recorder_start(worker, tables, trace) || uv_loop_init(&worker->loop))
        return -1;
    worker->channel.data = worker;
    if (fcntl(channel, F_SETFL, fcntl(channel, F_GETFL) | O_NONBLOCK) ||
        uv_poll_init(&worker->loop, &worker->channel, channel) ||
        uv_poll_start(&worker->channel, UV_READABLE, on_channel))
        return -1;
    if (schedule_start(worker) || errands_start(worker) || instruments_start(worker))
        return -1;
    struct handover_note ready = {.kind = NOTE_READY, .number = (uint64_t)worker->device->count};
    snprintf(ready.device, sizeof ready.device, "%s", worker->device->name);
    return handover_note_send(channel, &ready);
}

int worker_main(const struct config *config, int channel, int tables, int trace)
{
    static struct worker worker; /* large, and the only one of its process */
    log_open("worker", config->log_level);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES / 2); /* what is larger never comes from what is kept */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole process group; the supervisor decides */
    signal(SIGTERM, SIG_IGN);
    struct td_failure failure = {0};
    if (!(worker.device = device_open(config->devices[0], &failure))) {
        log_event(LOG_ERROR, 0, "cannot serve %s: %s. %s", config->devices[0], failure.message, failure.hint);
        return WORKER_NO_DEVICE;
    }
    if (start(&worker, config, channel, tables, trace)) {
        log_event(LOG_ERROR, 0, "could not start: %s", strerror(errno));
        return 1;
    }
    log_event(LOG_INFO, 0, "ready device=%s description=\"%s\" limit_mb=%zu threads=%d", worker.device->name,
              worker.device->description, worker.pool.limit_bytes / 1000000, config->threads);
    uv_run(&worker.loop, UV_RUN_DEFAULT);
    errands_stop(&worker);
    worker.device->set_threads(1);
    while (node_bury(&worker, 1 << 20))
        ;
    uv_walk(&worker.loop, close_handle, NULL);
    uv_run(&worker.loop, UV_RUN_DEFAULT);
    uv_loop_close(&worker.loop);
    worker_spares_free(&worker);
    pool_deinit(&worker.pool);
    recorder_stop(&worker);
    free(worker.sources);
    log_event(LOG_INFO, 0, "ended");
    return 0;
}
