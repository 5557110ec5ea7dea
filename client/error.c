/* Errors: causes, which of them stands, and what the program is told.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cause *cause_new(const struct td_failure *failure, const char *op, const char *where, uint64_t request)
{
    struct cause *cause = calloc(1, sizeof *cause);
    if (!cause)
        return NULL;
    cause->refs = 1;
    cause->request = request;
    cause->failure = *failure;
    snprintf(cause->op, sizeof cause->op, "%s", op ? op : "");
    snprintf(cause->where, sizeof cause->where, "%s", where ? where : "");
    return cause;
}

struct cause *cause_ref(struct cause *cause)
{
    if (cause)
        cause->refs++;
    return cause;
}

void cause_unref(struct cause *cause)
{
    if (cause && --cause->refs == 0)
        free(cause);
}

/* "file.c:12: matmul: shapes ... (hint)" */
static void print_cause(const struct cause *cause)
{
    const struct td_failure *f = &cause->failure;
    bool named = !strncmp(f->message, cause->op, strlen(cause->op));
    fprintf(stderr, "%s%s%s%s%s%s%s%s\n", cause->where, *cause->where ? ": " : "", named ? "" : cause->op,
            named ? "" : ": ", f->message, *f->hint ? " (" : "", f->hint, *f->hint ? ")" : "");
}

void error_raise(struct td_session *s, struct cause *cause)
{
    if (!cause)
        return;
    if (!s->standing)
        s->standing = cause_ref(cause);
    if (s->policy == TD_ABORT) {
        print_cause(cause);
        abort();
    }
}

struct cause *error_make(struct td_session *s, const struct td_failure *failure, const char *op, td_origin origin)
{
    struct cause *cause = cause_new(failure, op, origin.where, s->wire.requests);
    error_raise(s, cause);
    return cause;
}

/* Waits for all that was sent and keeps the first error, the daemon's or ours, in reported. */
static void report(struct td_session *s, uint32_t request)
{
    struct wait wait = {0};
    if (!s->dead)
        request_wait(s, request, &wait);
    cause_unref(s->reported);
    /* Ours happened when that many requests had been sent: the daemon's of that number came before. */
    bool daemons = wait.error && (!s->standing || wait.error->request <= s->standing->request);
    s->reported = cause_ref(daemons ? wait.error : s->standing ? s->standing : s->dead);
    cause_unref(wait.error);
    const struct cause *c = s->reported;
    s->info = c ? (td_error_info){c->failure.code, c->failure.message, c->failure.hint, c->where, c->request, c->op}
                : (td_error_info){TD_E_OK, "", "", "", 0, ""};
}

const td_error_info *td_error(td_session *s)
{
    session_enter(s);
    report(s, TD_R_BARRIER);
    session_leave(s);
    return &s->info;
}

void td_clear_error(td_session *s)
{
    session_enter(s);
    report(s, TD_R_CLEAR_ERROR);
    cause_unref(s->standing);
    s->standing = NULL;
    s->info = (td_error_info){TD_E_OK, "", "", "", 0, ""};
    session_leave(s);
}

int td_sync_at(td_origin origin, td_session *s)
{
    (void)origin;
    session_enter(s);
    report(s, TD_R_BARRIER);
    int code = s->info.code;
    if (code && s->policy == TD_ABORT)
        error_raise(s, s->reported);
    session_leave(s);
    return code;
}

int(td_sync)(td_session *s)
{
    return td_sync_at((td_origin){0}, s);
}

int session_last_error(struct td_session *s)
{
    report(s, TD_R_BARRIER);
    if (s->reported)
        print_cause(s->reported);
    return s->info.code;
}

const char *td_code_name(int code)
{
    return td_error_name(code);
}

void td_on_error(td_session *s, enum td_policy policy)
{
    session_enter(s);
    s->policy = policy;
    session_leave(s);
}
