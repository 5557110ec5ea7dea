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
        execution_run(execution, worker->device);
        uv_mutex_lock(&worker->mutex);
        append(&worker->finished, execution);
        uv_async_send(&worker->done);
    }
    uv_mutex_unlock(&worker->mutex);
}

void execution_offload(struct execution *execution)
{
    struct worker *worker = execution->session->worker;
    execution->session->parked = true;
    uv_mutex_lock(&worker->mutex);
    append(&worker->queued, execution);
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
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
        session->parked = false;
        execution_finish(execution);
        schedule_wake(session);
    }
}

int exec_thread_start(struct worker *worker)
{
    if (uv_async_init(&worker->loop, &worker->done, on_done))
        return -1;
    worker->done.data = worker;
    if (uv_mutex_init(&worker->mutex) || uv_cond_init(&worker->wake))
        return -1;
    if (uv_thread_create(&worker->thread, thread_main, worker))
        return -1;
    worker->thread_started = true;
    return 0;
}

void exec_thread_stop(struct worker *worker)
{
    if (!worker->thread_started)
        return;
    uv_mutex_lock(&worker->mutex);
    worker->thread_ends = true;
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
    uv_thread_join(&worker->thread);
    worker->thread_started = false;
    uv_cond_destroy(&worker->wake);
    uv_mutex_destroy(&worker->mutex);
    for (struct execution *e; (e = take_first(&worker->queued)) || (e = take_first(&worker->finished));) {
        e->session->parked = false;
        execution_finish(e);
    }
}
