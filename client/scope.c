/* Guards: the scopes, and the blocks that say what is recorded, that are open, each thread's own.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

/* Up to GUARD_CHECKPOINT those that hold tensors; from GUARD_NO_GRAD on those that say what is recorded. */
enum guard_kind {
    GUARD_SCOPE,
    GUARD_CHECKPOINT,
    GUARD_ANOMALY,
    GUARD_STREAM,
    GUARD_NO_GRAD,
    GUARD_GRAD,
    GUARD_INFERENCE
};

/* The innermost guard of this thread, of whatever session. */
static __thread td_guard *innermost;

static td_guard *scope_from(td_guard *guard, const struct td_session *s)
{
    while (guard && (guard->session != s || guard->kind > GUARD_CHECKPOINT))
        guard = guard->outer;
    return guard;
}

bool scope_inference_mode(const struct td_session *s)
{
    for (const td_guard *guard = innermost; guard; guard = guard->outer)
        if (guard->session == s && guard->kind == GUARD_INFERENCE)
            return true;
    return false;
}

bool scope_grad_mode(const struct td_session *s)
{
    const td_guard *guard = innermost;
    while (guard && (guard->session != s || guard->kind < GUARD_NO_GRAD))
        guard = guard->outer;
    /* Nothing inside inference mode is recorded, also where recording is asked for again. */
    return !guard || (guard->kind == GUARD_GRAD && !scope_inference_mode(s));
}

uint32_t scope_stream(const struct td_session *s)
{
    const td_guard *guard = innermost;
    while (guard && (guard->session != s || guard->kind != GUARD_STREAM))
        guard = guard->outer;
    return guard ? guard->stream : 0;
}

static void add_to(struct td_session *s, td_guard *scope, uint32_t handle)
{
    struct entry *e = &s->handles.entries[handle];
    if (!scope)
        return;
    e->scope = scope;
    e->scope_next = scope->first;
    if (scope->first)
        s->handles.entries[scope->first].scope_last = handle;
    scope->first = handle;
}

void scope_add(struct td_session *s, uint32_t handle)
{
    if (innermost)
        add_to(s, scope_from(innermost, s), handle);
}

void scope_remove(struct handles *h, uint32_t handle)
{
    struct entry *e = &h->entries[handle];
    if (!e->scope)
        return;
    if (e->scope_last)
        h->entries[e->scope_last].scope_next = e->scope_next;
    else
        e->scope->first = e->scope_next;
    if (e->scope_next)
        h->entries[e->scope_next].scope_last = e->scope_last;
    e->scope = NULL;
    e->scope_next = e->scope_last = 0;
}

/* The guard is filled in place: others of the session link to it as soon as the lock is free. */
static td_guard *begin(td_session *s, td_guard *guard, enum guard_kind kind)
{
    session_enter(s);
    *guard = (td_guard){.session = s, .outer = innermost, .session_outer = s->guards, .kind = kind};
    s->guards = guard;
    session_leave(s);
    innermost = guard;
    return guard;
}

td_guard *td_scope_begin(td_session *s, td_guard *guard)
{
    return begin(s, guard, GUARD_SCOPE);
}

td_guard *td_checkpoint_begin(td_session *s, td_guard *guard)
{
    begin(s, guard, GUARD_CHECKPOINT);
    session_enter(s);
    if (!s->dead)
        request_numbers(s, 0, TD_R_CHECKPOINT, 0, NULL);
    session_leave(s);
    return guard;
}

/* With the lock held. */
static void detect_anomaly(td_session *s, bool on)
{
    uint8_t *at = s->dead ? NULL : request_begin(s, 64);
    if (at)
        request_end(s, td_write_bool(request_head(at, 0, 0, 2, TD_R_ANOMALY), on));
}

td_guard *td_detect_anomaly_begin(td_session *s, td_guard *guard)
{
    begin(s, guard, GUARD_ANOMALY);
    session_enter(s);
    detect_anomaly(s, true);
    session_leave(s);
    return guard;
}

td_guard *td_no_grad_begin(td_session *s, td_guard *guard)
{
    return begin(s, guard, GUARD_NO_GRAD);
}

td_guard *td_on_stream_begin(td_stream stream, td_guard *guard)
{
    begin(stream.session, guard, GUARD_STREAM);
    guard->stream = stream.number;
    return guard;
}

td_guard *td_enable_grad_begin(td_session *s, td_guard *guard)
{
    return begin(s, guard, GUARD_GRAD);
}

td_guard *td_inference_mode_begin(td_session *s, td_guard *guard)
{
    return begin(s, guard, GUARD_INFERENCE);
}

void td_guard_end(td_guard *guard)
{
    td_session *s = guard->session;
    /* Guards end in the order of their blocks; what is jumped over by longjmp has no block any more. */
    innermost = guard->outer;
    if (!s)
        return;
    session_enter(s);
    for (td_guard **at = &s->guards; *at; at = &(*at)->session_outer)
        if (*at == guard) {
            *at = guard->session_outer;
            break;
        }
    while (guard->first)
        request_release(s, guard->first);
    if (guard->kind == GUARD_CHECKPOINT && !s->dead)
        request_numbers(s, 0, TD_R_CHECKPOINT_END, 0, NULL);
    if (guard->kind == GUARD_ANOMALY)
        detect_anomaly(s, false);
    session_leave(s);
}

void scope_forget(struct td_session *s)
{
    for (td_guard *guard = s->guards; guard; guard = guard->session_outer) {
        guard->session = NULL;
        guard->first = 0;
    }
    s->guards = NULL;
}

td_tensor td_keep_at(td_origin origin, td_tensor x)
{
    struct entry *e = query_begin(origin, x, "keep", false);
    if (!e)
        return x;
    td_guard *scope = e->scope;
    if (scope) {
        scope_remove(&x.session->handles, x.handle);
        add_to(x.session, scope_from(scope->outer, x.session), x.handle);
    }
    session_leave(x.session);
    x.generation &= ~FRESH;
    return x;
}

td_tensor td_take_at(td_origin origin, td_tensor x)
{
    struct entry *e = query_begin(origin, x, "take", false);
    if (!e)
        return x;
    bool owned = e->flags & ENTRY_OWNED;
    session_leave(x.session);
    if (!owned)
        x.generation |= FRESH;
    return x;
}

td_tensor(td_keep)(td_tensor x)
{
    return td_keep_at((td_origin){0}, x);
}

td_tensor(td_take)(td_tensor x)
{
    return td_take_at((td_origin){0}, x);
}
