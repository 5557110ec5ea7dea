/* The device's thread. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/errand.h"

#include "server/worker/schedule.h"

static void append(struct errand **queue, struct errand *errand)
{
    while (*queue)
        queue = &(*queue)->next;
    errand->next = NULL;
    *queue = errand;
}

static struct errand *take_first(struct errand **queue)
{
    struct errand *first = *queue;
    if (first)
        *queue = first->next;
    return first;
}

static void thread_main(void *data)
{
    struct worker *worker = data;
    uv_mutex_lock(&worker->mutex);
    while (!worker->thread_ends) {
        struct errand *errand = take_first(&worker->queued);
        if (!errand) {
            uv_cond_wait(&worker->wake, &worker->mutex);
            continue;
        }
        uv_mutex_unlock(&worker->mutex);
        errand->run(errand, worker->device);
        uv_mutex_lock(&worker->mutex);
        append(&worker->finished, errand);
        uv_async_send(&worker->done);
    }
    uv_mutex_unlock(&worker->mutex);
}

bool errand_start(struct errand *errand)
{
    struct worker *worker = errand->session->worker;
    if (!worker->thread_started && worker->offloads)
        worker->thread_started = uv_thread_create(&worker->thread, thread_main, worker) == 0;
    if (!worker->thread_started)
        return false;
    errand->session->parked = true;
    uv_mutex_lock(&worker->mutex);
    append(&worker->queued, errand);
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
    return true;
}

static void on_done(uv_async_t *handle)
{
    struct worker *worker = handle->data;
    for (;;) {
        uv_mutex_lock(&worker->mutex);
        struct errand *errand = take_first(&worker->finished);
        uv_mutex_unlock(&worker->mutex);
        if (!errand)
            return;
        struct session *session = errand->session;
        session->parked = false;
        errand->done(errand);
        schedule_wake(session);
    }
}

/* The thread itself is made for the first errand: a process of one thread pays less for each system call. */
int errands_start(struct worker *worker)
{
    if (uv_async_init(&worker->loop, &worker->done, on_done))
        return -1;
    worker->done.data = worker;
    if (uv_mutex_init(&worker->mutex) || uv_cond_init(&worker->wake))
        return -1;
    worker->offloads = true;
    return 0;
}

void errands_stop(struct worker *worker)
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
    for (struct errand *errand; (errand = take_first(&worker->queued)) || (errand = take_first(&worker->finished));) {
        errand->session->parked = false;
        errand->done(errand);
    }
}
