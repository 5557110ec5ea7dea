/* The lives of a device's worker: started, watched, remembered, started again; and the clients on their way to it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/log.h"
#include "server/supervisor/internal.h"

/* What a start waits after a short life, or one that never was ready; it is doubled each time. */
#define BACKOFF_MS_MIN 20
#define BACKOFF_MS_MAX 1000

#define ARGUMENTS_MAX 14

static void on_channel(uv_poll_t *poll, int status, int events);
static void on_worker_exit(uv_process_t *process, int64_t status, int signal);

void lives_init(struct supervisor *supervisor, struct lives *lives, const char *wanted)
{
    lives->supervisor = supervisor;
    snprintf(lives->wanted, sizeof lives->wanted, "%s", wanted);
    if (strcmp(wanted, "auto"))
        snprintf(lives->device, sizeof lives->device, "%s", wanted);
    lives->channel = -1;
    lives->box = (struct blackbox_made)BLACKBOX_NONE;
    for (int k = 0; k < PAST_BOXES; k++)
        lives->past_boxes[k] = lives->box;
    uv_timer_init(&supervisor->loop, &lives->restart);
    uv_timer_init(&supervisor->loop, &lives->kill);
    lives->restart.data = lives->kill.data = lives->channel_poll.data = lives->process.data = lives;
}

void lives_deinit(struct lives *lives)
{
    blackbox_unmake(&lives->box);
    for (int k = 0; k < PAST_BOXES; k++)
        blackbox_unmake(&lives->past_boxes[k]);
}

/* ---- black boxes ---- */

/* A box for the life that begins; the one before stands first among the past. */
static int change_box(struct lives *lives)
{
    struct blackbox_made *past = lives->past_boxes;
    if (lives->box.map) {
        blackbox_unmake(&past[PAST_BOXES - 1]);
        memmove(past + 1, past, (PAST_BOXES - 1) * sizeof *past);
        past[0] = lives->box;
    }
    return blackbox_make(&lives->box, lives->number);
}

/* ---- clients on their way ---- */

/* How the life that the client has lost ended. Asked when it is sent, not when it comes: a client may be back before
 * the kernel has told us of its worker's end. */
static void find_cause(const struct supervisor *supervisor, struct handover *handover)
{
    uint64_t lost = handover->hello.life;
    const struct past_life *past = &supervisor->roster[lost % ROSTER_LENGTH];
    bool ended = lost;
    for (int k = 0; k < supervisor->device_count; k++)
        ended &= supervisor->devices[k].number != lost;
    handover->lost[0] = 0;
    if (ended && past->number == lost)
        snprintf(handover->lost, sizeof handover->lost, "%s", past->cause);
    else if (ended)
        snprintf(handover->lost, sizeof handover->lost, "the worker's life %" PRIu64 " is not known any more", lost);
}

static void watch_channel(struct lives *lives, bool blocked)
{
    uv_poll_start(&lives->channel_poll, blocked ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_channel);
}

void kept_drop(struct supervisor *supervisor, struct kept **place, const char *reason)
{
    struct kept *kept = *place;
    *place = kept->next;
    supervisor->kept_count--;
    if (reason)
        goodbye(kept->descriptor, TD_E_CLOSED, reason);
    else
        close(kept->descriptor);
    free(kept);
}

/* Sends what the present worker has not been sent, as far as the channel takes it. A worker that is dying refuses
 * it: then everything waits for the next. */
static void send_kept(struct lives *lives)
{
    struct kept **place = &lives->kept;
    bool blocked = false;
    if (lives->channel < 0)
        return;
    while (*place && !blocked) {
        struct kept *kept = *place;
        kept->handover.life = lives->number;
        kept->handover.workers = (uint32_t)lives->supervisor->device_count;
        if (!kept->sent) {
            find_cause(lives->supervisor, &kept->handover);
            kept->sent = !handover_send(lives->channel, &kept->handover, kept->descriptor);
            lives->given += kept->sent;
        }
        if (kept->sent) {
            place = &kept->next;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return;
        } else if (errno == EAGAIN) {
            blocked = true;
        } else {
            log_event(LOG_ERROR, 0, "cannot hand a client over: %s", strerror(errno));
            kept_drop(lives->supervisor, place, "the daemon cannot hand the client to its worker");
        }
    }
    watch_channel(lives, blocked);
}

void lives_give(struct lives *lives, struct kept *kept)
{
    struct kept **place = &lives->kept;
    kept->handover.number = ++lives->supervisor->handovers;
    kept->next = NULL;
    while (*place)
        place = &(*place)->next;
    *place = kept;
    send_kept(lives);
}

uint64_t lives_load(const struct lives *lives)
{
    const struct blackbox_tables *tables = lives->box.map;
    uint64_t load = 0, opened = tables && lives->running ? tables->sessions_opened : 0;
    for (const struct kept *kept = lives->kept; kept; kept = kept->next)
        load += !kept->sent;
    if (lives->running)
        load += opened < lives->given ? lives->given - opened : 0;
    return load + (opened ? tables->sessions_open : 0);
}

static void drop_taken(struct lives *lives, uint64_t number)
{
    while (lives->kept && lives->kept->handover.number <= number)
        kept_drop(lives->supervisor, &lives->kept, NULL);
    listener_update(lives->supervisor);
}

/* A worker that was sent a client may have it, and says goodbye to it itself. */
static void drop_kept(struct lives *lives)
{
    while (lives->kept)
        kept_drop(lives->supervisor, &lives->kept, lives->kept->sent ? NULL : "the daemon is ending");
}

/* ---- the channel ---- */

static void on_kill(uv_timer_t *timer)
{
    lives_kill(timer->data);
}

static void close_channel(struct lives *lives)
{
    if (lives->channel < 0)
        return;
    uv_close((uv_handle_t *)&lives->channel_poll, NULL);
    close(lives->channel);
    lives->channel = -1;
}

/* "worker 3 (pid 77)", of several "worker 3 on cuda:1 (pid 77)". */
static const char *worker_text(const struct lives *lives, int pid)
{
    static char text[64 + TD_DEVICE_BYTES];
    bool several = lives->supervisor->device_count > 1;
    snprintf(text, sizeof text, "worker %" PRIu64 "%s%s (pid %d)", lives->number, several ? " on " : "",
             several ? lives->device : "", pid);
    return text;
}

static void on_ready(struct lives *lives, const struct handover_note *note)
{
    struct supervisor *supervisor = lives->supervisor;
    bool first = !lives->was_ready;
    if (lives->ready)
        return;
    lives->ready = lives->was_ready = lives->was_tried = true;
    lives->failed_starts = 0;
    log_event(LOG_INFO, 0, "%s is ready after %" PRIu64 " ms", worker_text(lives, uv_process_get_pid(&lives->process)),
              uv_now(&supervisor->loop) - lives->started_ms);
    if (!lives->device[0])
        snprintf(lives->device, sizeof lives->device, "%.*s", TD_DEVICE_BYTES - 1, note->device);
    if (first)
        devices_ready(lives, note->number);
    devices_decide(supervisor);
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
    struct lives *lives = poll->data;
    struct handover_note note;
    int result = 1;
    (void)status; /* an error shows itself in recv */
    if (events & UV_WRITABLE)
        send_kept(lives);
    while (lives->channel >= 0 && (result = handover_note_receive(lives->channel, &note)) > 0) {
        if (note.kind == NOTE_READY)
            on_ready(lives, &note);
        else if (note.kind == NOTE_TAKEN)
            drop_taken(lives, note.number);
    }
    if (result < 0 && errno == EAGAIN)
        return;
    /* It ends, or should: without a channel it is of no use. */
    uv_poll_stop(poll);
    if (lives->running)
        uv_timer_start(&lives->kill, on_kill, STOP_MS, 0);
}

/* ---- start and end ---- */

static int spawn(struct lives *lives, int worker_end)
{
    struct supervisor *supervisor = lives->supervisor;
    const struct config *config = supervisor->config;
    char parent[32], listen[TD_PATH_BYTES + 8], threads[16], memory[32];
    char *arguments[ARGUMENTS_MAX] = {"tensord: worker", parent,
                                      "--device",        lives->wanted,
                                      "--listen",        listen,
                                      "--threads",       threads,
                                      "--log-level",     (char *)log_level_name(config->log_level)};
    snprintf(parent, sizeof parent, "--worker=%d", (int)getpid());
    snprintf(listen, sizeof listen, "unix:%s", config->listen.path);
    snprintf(threads, sizeof threads, "%d", config->threads);
    snprintf(memory, sizeof memory, "%zu", config->memory_bytes);
    if (config->memory_bytes) {
        arguments[10] = "--memory";
        arguments[11] = memory;
    }
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        [HANDOVER_FD] = {.flags = UV_INHERIT_FD, .data.fd = worker_end},
        [BLACKBOX_TABLES_FD] = {.flags = UV_INHERIT_FD, .data.fd = lives->box.tables},
        [BLACKBOX_TRACE_FD] = {.flags = UV_INHERIT_FD, .data.fd = lives->box.trace},
    };
    uv_process_options_t options = {.file = "/proc/self/exe",
                                    .args = arguments,
                                    .env = supervisor->environment,
                                    .exit_cb = on_worker_exit,
                                    .stdio = stdio,
                                    .stdio_count = sizeof stdio / sizeof *stdio};
    return uv_spawn(&supervisor->loop, &lives->process, &options);
}

static void on_restart(uv_timer_t *timer)
{
    lives_start(timer->data);
}

static void remember(struct lives *lives, const char *cause)
{
    struct past_life *past = &lives->supervisor->roster[lives->number % ROSTER_LENGTH];
    past->number = lives->number;
    past->lives = lives;
    snprintf(past->cause, sizeof past->cause, "%s", cause);
    log_event(LOG_ERROR, 0, "%s", cause);
}

uint64_t restart_delay_ms(uint64_t *backoff_ms, bool was_short, uint64_t most_ms)
{
    uint64_t delay_ms = was_short ? *backoff_ms : 0;
    uint64_t longer_ms = *backoff_ms ? 2 * *backoff_ms : BACKOFF_MS_MIN;
    *backoff_ms = !was_short ? 0 : longer_ms < most_ms ? longer_ms : most_ms;
    return delay_ms;
}

/* Starts the next life, after a while if lives are short. */
static void start_again(struct lives *lives)
{
    bool was_short = !lives->ready || uv_now(&lives->supervisor->loop) - lives->started_ms < SHORT_LIFE_MS;
    uv_timer_start(&lives->restart, on_restart, restart_delay_ms(&lives->backoff_ms, was_short, BACKOFF_MS_MAX), 0);
}

static void on_process_closed(uv_handle_t *handle)
{
    struct lives *lives = handle->data;
    lives->closing = false;
    if (lives->supervisor->stopping)
        supervisor_ended(lives->supervisor);
    else
        start_again(lives);
}

static void close_process(struct lives *lives)
{
    lives->running = false;
    lives->closing = true;
    uv_close((uv_handle_t *)&lives->process, on_process_closed);
}

/* For those who wait for a worker: one has ended, or has not even begun. */
static void note_end(struct lives *lives)
{
    lives->was_tried = true;
    lives->failed_starts += !lives->ready && lives->failed_starts < FAILED_STARTS;
    if (lives->failed_starts == FAILED_STARTS && !lives->supervisor->stopping)
        devices_give_again(lives);
    devices_decide(lives->supervisor);
}

void lives_start(struct lives *lives)
{
    struct supervisor *supervisor = lives->supervisor;
    int pair[2] = {-1, -1};
    lives->number = ++supervisor->life_count;
    lives->ready = false;
    lives->given = 0;
    lives->started_ms = uv_now(&supervisor->loop);
    /* Without a pair or a box uv_spawn is called in vain, so that there is one way out of a start that failed. */
    if (!change_box(lives))
        (void)!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
    int status = spawn(lives, pair[1]);
    if (pair[1] >= 0)
        close(pair[1]);
    blackbox_give(&lives->box);
    if (status) {
        char cause[TD_MESSAGE_BYTES];
        snprintf(cause, sizeof cause, "worker %" PRIu64 " could not be started: %s", lives->number,
                 uv_strerror(status));
        remember(lives, cause);
        blackbox_set_ended(&lives->box, cause);
        if (pair[0] >= 0)
            close(pair[0]);
        close_process(lives); /* a handle whose uv_spawn failed is one that has to be closed */
        note_end(lives);
        return;
    }
    lives->running = true;
    blackbox_set_running(&lives->box, (uint32_t)uv_process_get_pid(&lives->process));
    web_life(lives);
    lives->channel = pair[0];
    uv_poll_init(&supervisor->loop, &lives->channel_poll, lives->channel);
    watch_channel(lives, false);
    send_kept(lives);
}

static void on_worker_exit(uv_process_t *process, int64_t status, int signal)
{
    struct lives *lives = process->data;
    struct supervisor *supervisor = lives->supervisor;
    char cause[TD_MESSAGE_BYTES];
    const char *worker = worker_text(lives, uv_process_get_pid(process));
    if (signal)
        snprintf(cause, sizeof cause, "%s was killed by signal %d (%s)", worker, signal, strsignal(signal));
    else
        snprintf(cause, sizeof cause, "%s exited with status %" PRId64, worker, status);
    if (!supervisor->stopping)
        remember(lives, cause);
    else
        log_event(LOG_INFO, 0, "%s", cause);
    blackbox_set_ended(&lives->box, cause);
    /* Notes that it sent before it died still count: a client that it took is lost with it. */
    lives->running = false;
    if (lives->channel >= 0)
        on_channel(&lives->channel_poll, 0, 0);
    close_channel(lives);
    uv_timer_stop(&lives->kill);
    for (struct kept *kept = lives->kept; kept; kept = kept->next)
        kept->sent = false;
    close_process(lives);
    note_end(lives);
    if (status == WORKER_NO_DEVICE && !lives->was_ready) /* the next would not find it either */
        supervisor_give_up(supervisor);
}

void lives_stop(struct lives *lives)
{
    uv_timer_stop(&lives->restart);
    drop_kept(lives);
    close_channel(lives);
    if (lives->running)
        uv_timer_start(&lives->kill, on_kill, STOP_MS, 0);
}

void lives_kill(struct lives *lives)
{
    if (!lives->running)
        return;
    log_event(LOG_WARN, 0, "worker %" PRIu64 " does not end by itself and is killed", lives->number);
    uv_process_kill(&lives->process, SIGKILL);
}
