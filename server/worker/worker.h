/* A worker: owns one device and every session on it, in one process that may be lost. One thread runs its loop and
 * touches everything; a second one runs long kernels and touches only what it is handed. The device may have threads of
 * its own, which touch nothing but a kernel's operands.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_WORKER_H
#define TD_SERVER_WORKER_WORKER_H

#include <uv.h>

#include "kernels/kernels.h"
#include "protocol/message.h"
#include "server/config.h"
#include "server/handover.h"
#include "server/worker/pool.h"
#include "server/worker/recorder.h"
#include "server/worker/spares.h"

struct session;
struct node;
struct errand;
struct source;

struct worker {
    uv_loop_t loop;
    uv_poll_t channel; /* to the supervisor */
    int channel_descriptor;
    uint64_t taken;   /* the last client's number */
    bool untold;      /* the supervisor has not been told of it: the channel was full */
    uv_check_t check; /* runs sessions after each turn of input and output */
    uv_prepare_t prepare;
    uv_idle_t idle; /* keeps the loop turning while there is work */
    const struct td_device *device;
    struct pool pool;
    uint64_t ordered[TD_LANES][TD_LANES]; /* lanes.c: up to which stamp of the second one the first is behind it */
    uint64_t host_bytes;                  /* that sessions share with the daemon (host.c) */
    struct recorder recorder;
    uint64_t copied_bytes;               /* moved because a write met a reader, by all sessions so far */
    struct session *sessions;            /* all of them */
    struct session *run_head, *run_tail; /* those with work to do, in the order of their turns */
    uint64_t looked_ns;  /* the clock at the last arrival, which a turn takes for its start; 0: not known */
    struct node *dead;   /* nodes of graphs that nobody needs, waiting to be freed in pieces */
    uint64_t walk_count; /* numbers the searches in graphs, whosever they are */
    struct spares executions, tensors, storages, saved;
    struct {
        uv_timer_t timer;
        uv_work_t work; /* one at a time */
        bool reading, found;
        struct td_gauges gauges; /* the work's while it reads */
    } instruments;
    uint64_t life;       /* which one of the supervisor's workers this is */
    uint32_t workers;    /* that it has, one for each device; 0: no client has come yet */
    uint64_t started_ns; /* by uv_hrtime */
    bool stopping;
    struct td_call call;    /* scratch of the decoder: a call is decoded and done before the next */
    struct source *sources; /* the same for its inputs, TD_INPUTS_MAX of them */

    /* the device's thread */
    uv_thread_t thread;
    bool offloads; /* long kernels go to it: all below is made */
    bool thread_started;
    uv_mutex_t mutex; /* over the two queues and thread_ends */
    uv_cond_t wake;
    uv_async_t done;
    struct errand *queued, *finished;
    bool thread_ends;
};

static inline void worker_spares_free(struct worker *worker)
{
    spares_free(&worker->executions);
    spares_free(&worker->tensors);
    spares_free(&worker->storages);
    spares_free(&worker->saved);
}

/* td_device's carried_bytes; 0 where nothing is carried. */
static inline uint64_t worker_carried_bytes(const struct worker *worker)
{
    return worker->device->carried_bytes ? worker->device->carried_bytes() : 0;
}

/* A session has ended: lets a worker that is stopping end. */
void worker_settle(struct worker *worker);

/* Serves the clients that come through channel until it ends; then returns the exit status. tables, trace: the black
 * box's memories (recorder_start). */
int worker_main(const struct config *config, int channel, int tables, int trace);

#endif
