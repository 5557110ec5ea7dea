/* The device's thread: runs long kernels, one after the other, while the loop goes on with everybody else.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/execution.h"
#include "server/worker/schedule.h"

static void append(struct execution **queue, struct execution *execution)
{
    while (*queue)
        queue = &(*queue)->next;
    execution->next = NULL;
    *queue = execution;
}

static struct execution *take_first(struct execution **queue)
{
    struct execution *first = *queue;
    if (first)
        *queue = first->next;
    return first;
}

static void thread_main(void *data)
{
    struct worker *worker = data;
    uv_mutex_lock(&worker->mutex);
    while (!worker->thread_ends) {
        struct execution *execution = take_first(&worker->queued);
        if (!execution) {
            uv_cond_wait(&worker->wake, &worker->mutex);
            continue;
        }
        uv_mutex_unlock(&worker->mutex);
        execution_run_timed(execution, worker->device);
        uv_mutex_lock(&worker->mutex);
        append(&worker->finished, execution);
        uv_async_send(&worker->done);
    }
    uv_mutex_unlock(&worker->mutex);
}

bool execution_offload(struct execution *execution)
{
    struct worker *worker = execution->session->worker;
    if (!worker->thread_started && worker->offloads)
        worker->thread_started = uv_thread_create(&worker->thread, thread_main, worker) == 0;
    if (!worker->thread_started)
        return false;
    execution->session->parked = execution->offloaded = true;
    uv_mutex_lock(&worker->mutex);
    append(&worker->queued, execution);
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
    return true;
}

static void on_done(uv_async_t *handle)
{
    struct worker *worker = handle->data;
    for (;;) {
        uv_mutex_lock(&worker->mutex);
        struct execution *execution = take_first(&worker->finished);
        uv_mutex_unlock(&worker->mutex);
        if (!execution)
            return;
        struct session *session = execution->session;
        uint64_t took_ns = execution->took_ns;
        session->parked = false;
        execution_finish(execution);
        recorder_publish(session, took_ns);
        schedule_wake(session);
    }
}

/* The thread itself is made for the first long kernel: a process of one thread pays less for each system call. */
int exec_thread_start(struct worker *worker)
{
    if (uv_async_init(&worker->loop, &worker->done, on_done))
        return -1;
    worker->done.data = worker;
    if (uv_mutex_init(&worker->mutex) || uv_cond_init(&worker->wake))
        return -1;
    worker->offloads = true;
    return 0;
}

void exec_thread_stop(struct worker *worker)
{
    if (!worker->offloads)
        return;
    uv_mutex_lock(&worker->mutex);
    worker->thread_ends = true;
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
    if (worker->thread_started)
        uv_thread_join(&worker->thread);
    worker->offloads = worker->thread_started = false;
    uv_cond_destroy(&worker->wake);
    uv_mutex_destroy(&worker->mutex);
    for (struct execution *e; (e = take_first(&worker->queued)) || (e = take_first(&worker->finished));) {
        e->session->parked = false;
        execution_finish(e);
    }
}
