/* Sessions: opening, closing, what becomes of them when the daemon is lost or the process forks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long a lost daemon is waited for: a supervisor restarts its worker within a second. */
#define RECONNECT_MS 5000
#define RECONNECT_STEP_MS 20

/* ---- fork: the child shares the socket and must not speak on it ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct td_session *all;

/* A function that is called back calls while its thread waits for the walk. */
static void lock_init(struct td_session *s)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&s->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* Locks may be held by threads that the child does not have, and tables be half changed: both start anew. */
static void in_child(void)
{
    static const struct td_failure forked = {TD_E_FORKED,
                                             "the session was opened before fork and belongs to the parent process",
                                             "Open a session of its own in the child."};
    pthread_mutex_init(&all_lock, NULL);
    for (struct td_session *s = all; s; s = s->next) {
        lock_init(s);
        pthread_mutex_init(&s->wire.sending, NULL);
        s->forked = true;
        s->standing = s->reported = NULL;
        s->wire.epoch++;
        s->wire.wait = NULL;
        handles_init(&s->handles);
        scope_forget(s);
        session_kill(s, &forked);
        s->standing = cause_ref(s->dead);
    }
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

static void enlist(struct td_session *s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&all_lock);
    s->next = all;
    all = s;
    pthread_mutex_unlock(&all_lock);
}

static void delist(struct td_session *s)
{
    pthread_mutex_lock(&all_lock);
    for (struct td_session **at = &all; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    pthread_mutex_unlock(&all_lock);
}

void session_enter(struct td_session *s)
{
    pthread_mutex_lock(&s->lock);
}

void session_leave(struct td_session *s)
{
    pthread_mutex_unlock(&s->lock);
}

/* ---- life and death ---- */

void session_kill(struct td_session *s, const struct td_failure *failure)
{
    if (s->dead)
        return;
    s->dead = cause_new(failure, "tensord", NULL, s->wire.requests);
    if (!s->dead)
        abort(); /* a kilobyte is not to be had, and nothing can be reported without it */
    if (!s->forked)
        error_raise(s, s->dead);
}

/* The device that the session is to be on: what the program says, or else its environment. */
static void take_device(struct td_session *s, const char *device, struct td_failure *failure)
{
    if (!device || !*device)
        device = getenv("TENSORD_DEVICE");
    snprintf(s->device, sizeof s->device, "%s", device ? device : "");
    if (device && strlen(device) >= sizeof s->device) {
        td_fail(failure, TD_E_ARGUMENT, "'%s' is not the name of a device", device);
        td_hint(failure, "As cpu, cuda:1, or cuda for any GPU, in td_open's .device or in $TENSORD_DEVICE.");
    }
}

td_session *(td_open)(const char *address, const struct td_open_keywords *keywords)
{
    struct td_session *s = calloc(1, sizeof *s);
    struct td_failure failure = {0};
    char lost[TD_MESSAGE_BYTES];
    const char *sync = getenv("TENSORD_SYNC");
    if (!s || !handles_init(&s->handles)) {
        fputs("tensord: no memory for a session\n", stderr);
        abort();
    }
    lock_init(s);
    pthread_mutex_init(&s->wire.sending, NULL);
    s->wire.fd = -1;
    s->sync = sync && *sync && strcmp(sync, "0");
    s->info = (td_error_info){TD_E_OK, "", "", "", 0, ""};
    take_device(s, keywords ? keywords->device : NULL, &failure);
    if (!failure.code && td_address_default_connect(address, &s->address, &failure) == TD_E_OK)
        connection_open(s, &failure, lost);
    snprintf(s->address_text, sizeof s->address_text, "unix:%s", s->address.path);
    if (failure.code)
        session_kill(s, &failure);
    enlist(s);
    return s;
}

const char *td_address(const td_session *s)
{
    return s->address_text;
}

static bool reconnect(struct td_session *s, char lost[TD_MESSAGE_BYTES])
{
    const struct timespec step = {.tv_nsec = RECONNECT_STEP_MS * 1000000L};
    for (int waited_ms = 0; waited_ms < RECONNECT_MS; waited_ms += RECONNECT_STEP_MS) {
        struct td_failure failure = {0};
        if (connection_open(s, &failure, lost) == TD_E_OK)
            return true;
        if (failure.code != TD_E_CONNECT) /* it is there and does not want us */
            return false;
        nanosleep(&step, NULL);
    }
    return false;
}

void session_lost(struct td_session *s, const char *why)
{
    struct td_failure failure = {.code = TD_E_LOST, .hint = "Make the tensors again; the session goes on."};
    char lost[TD_MESSAGE_BYTES];
    connection_close(s);
    bool back = reconnect(s, lost);
    snprintf(failure.message, sizeof failure.message, "all tensors of the session are lost: %.300s",
             back && *lost ? lost : why);
    if (!back)
        snprintf(failure.hint, sizeof failure.hint, "No daemon came back within %d s.", RECONNECT_MS / 1000);
    sites_forget(&s->sites);
    streams_lost(s);
    hosts_lost(s);
    struct cause *cause = cause_new(&failure, "tensord", NULL, 0);
    if (!cause)
        abort();
    handles_fail_all(s, cause);
    if (!back)
        s->dead = cause_ref(cause);
    error_raise(s, cause);
    cause_unref(cause);
}

static void say_goodbye(struct td_session *s)
{
    if (!s->dead)
        request_numbers(s, 0, TD_R_GOODBYE, 0, NULL);
    if (!s->dead)
        connection_flush(s, NULL, 0);
}

int td_close(td_session *s)
{
    session_enter(s);
    const char *function = functions_in_work(s);
    if (function) { /* it goes on with what it has of the session */
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_ARGUMENT, "close: is inside of the forward or backward of %s", function);
        td_hint(&failure, "Close the session when td_apply is back; it is not closed now.");
        cause_unref(error_make(s, &failure, "close", (td_origin){0}));
        session_leave(s);
        return failure.code;
    }
    s->policy = TD_CONTINUE;
    int code = session_last_error(s);
    if (!s->forked)
        say_goodbye(s);
    scope_forget(s);
    optimizers_forget(s);
    programs_forget(s);
    functions_forget(s);
    session_leave(s);
    delist(s);
    connection_close(s);
    hosts_forget(s);
    free(s->events.slots);
    handles_deinit(&s->handles);
    sites_deinit(&s->sites);
    cause_unref(s->dead);
    cause_unref(s->standing);
    cause_unref(s->reported);
    free(s->wire.in);
    free(s->wire.out);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->wire.sending);
    free(s);
    return code;
}
