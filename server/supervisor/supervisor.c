/* Start and stop. SPDX-License-Identifier: Apache-2.0 */
#include "server/supervisor/supervisor.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "server/log.h"
#include "server/supervisor/internal.h"

/* A client costs a descriptor here only for a moment, in the worker for as long as it lives; it inherits the limit. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        log_event(LOG_WARN, 0, "cannot raise the limit of open files to %llu", (unsigned long long)limit.rlim_max);
}

static void stop(struct supervisor *supervisor)
{
    supervisor->stopping = true;
    notify("STOPPING=1");
    listener_stop(supervisor);
    greetings_stop(supervisor);
    web_stop(supervisor);
    devices_stop(supervisor);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct supervisor *supervisor = handle->data;
    if (supervisor->stopping) { /* a second one: now */
        devices_kill(supervisor);
        web_kill(supervisor);
        return;
    }
    log_event(LOG_INFO, 0, "ends by signal %d", number);
    stop(supervisor);
}

void supervisor_give_up(struct supervisor *supervisor)
{
    supervisor->failed = true;
    if (!supervisor->stopping)
        stop(supervisor);
}

void supervisor_ready(struct supervisor *supervisor, const char *devices)
{
    double ms = (double)(uv_hrtime() - supervisor->started_ns) / 1e6;
    notify("READY=1");
    log_event(LOG_INFO, 0, "serves %s at unix:%s, ready after %.1f ms", devices, supervisor->config->listen.path, ms);
}

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void supervisor_ended(struct supervisor *supervisor)
{
    const struct web *web = &supervisor->web;
    if (devices_run(supervisor) || web->running || web->closing)
        return;
    sigset_t signals; /* one more must not take us down by its default now, before the lock is removed */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    uv_walk(&supervisor->loop, close_handle, NULL); /* the loop ends by itself when nothing is left */
}

static int start(struct supervisor *supervisor, struct td_failure *failure)
{
    uv_signal_init(&supervisor->loop, &supervisor->terminate);
    uv_signal_init(&supervisor->loop, &supervisor->interrupt);
    supervisor->terminate.data = supervisor->interrupt.data = supervisor;
    web_init(supervisor);
    if (!devices_init(supervisor))
        return td_fail(failure, TD_E_MEMORY, "no memory is left");
    if (listener_open(supervisor, failure) != TD_E_OK)
        return failure->code;
    uv_signal_start(&supervisor->terminate, on_signal, SIGTERM);
    uv_signal_start(&supervisor->interrupt, on_signal, SIGINT);
    uv_update_time(&supervisor->loop);
    devices_start(supervisor);
    web_start(supervisor);
    return TD_E_OK;
}

int supervisor_main(const struct config *config, uint64_t started_ns)
{
    struct td_failure failure = {0};
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (!supervisor || uv_loop_init(&supervisor->loop)) {
        free(supervisor);
        fprintf(stderr, "tensord: cannot make an event loop\n");
        return EXIT_FAILURE;
    }
    supervisor->config = config;
    supervisor->started_ns = started_ns;
    supervisor->listener.descriptor = supervisor->listener.lock = -1;
    raise_descriptor_limit();
    if (start(supervisor, &failure) != TD_E_OK) {
        fprintf(stderr, "tensord: %s\n%s%s", failure.message, failure.hint, failure.hint[0] ? "\n" : "");
        supervisor_ended(supervisor);
    }
    uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    uv_loop_close(&supervisor->loop);
    listener_unlock(&supervisor->listener);
    devices_deinit(supervisor);
    bool failed = failure.code != TD_E_OK || supervisor->failed;
    free(supervisor);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
