/* Hooks on gradients: a C function is traced into a program that the daemon runs in its walks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/recording.h"

struct hooking {
    td_session *session;
    uint32_t number, epoch;
    struct td_meta meta; /* of the gradient */
    struct td_failure failure;
    struct cause *cause; /* why there is no hook, where it is not failure */
};

/* The handle of what the hook gave; 0: none, or with a failure or a cause that it cannot be taken. */
static uint32_t check_result(struct hooking *h, td_tensor result)
{
    const struct td_meta *due = &h->meta;
    const struct entry *e = handles_find(h->session, result);
    char given[TD_SHAPE_TEXT], wanted[TD_SHAPE_TEXT];
    if (!result.session)
        return 0;
    if (!e)
        td_fail(&h->failure, TD_E_HANDLE, "register_hook: the hook gave no tensor of this session that is there");
    else if (e->cause)
        h->cause = cause_ref(e->cause);
    else if (e->flags & ENTRY_UNKNOWN)
        td_fail(&h->failure, TD_E_ARGUMENT, "register_hook: the hook gave a tensor whose size depends on data");
    else if (!td_meta_same_shape(&e->meta, due) || e->meta.dtype != due->dtype)
        td_fail(&h->failure, TD_E_SHAPE, "register_hook: the hook gave %s %s in place of a gradient of %s %s",
                td_dtype_name(e->meta.dtype), td_shape_text(e->meta.rank, e->meta.shape, given, sizeof given),
                td_dtype_name(due->dtype), td_shape_text(due->rank, due->shape, wanted, sizeof wanted));
    else
        return result.handle;
    td_hint(&h->failure, "A gradient keeps its shape and dtype; (td_tensor){0} leaves it as it is.");
    return 0;
}

/* Without the lock. */
static void trace(struct hooking *h, td_hook_function *hook, void *data, td_origin origin)
{
    td_session *s = h->session;
    struct recording recording;
    td_guard scope, grad;
    td_scope_begin(s, &scope);
    td_enable_grad_begin(s, &grad); /* the walk decides */
    session_enter(s);
    td_tensor x = recording_placeholder(s, &h->meta);
    if (!x.handle)
        td_fail(&h->failure, TD_E_LIMIT, "register_hook: no handle is left of %u", s->handles.limit);
    recording_begin(s, &recording, h->number, "hook", true, origin, 1, &x.handle);
    session_leave(s);
    td_tensor result = hook(x, data);
    session_enter(s);
    uint32_t out = h->failure.code ? 0 : check_result(h, result);
    recording_end(s, &recording, h->number, origin, 1, &out);
    if (!h->cause)
        h->cause = recording.cause;
    else
        cause_unref(recording.cause);
    session_leave(s);
    td_guard_end(&grad);
    td_guard_end(&scope);
}

/* The hook is x's, or there is none; its program is nobody else's. False: it is none. */
static bool send_hook(struct hooking *h, td_tensor x, td_origin origin)
{
    td_session *s = h->session;
    bool same = h->epoch == s->wire.epoch;
    if (!h->cause && !h->failure.code && same && !s->dead && !handles_find(s, x))
        td_fail(&h->failure, TD_E_HANDLE, "register_hook: the tensor was released meanwhile");
    if (h->failure.code && !h->cause)
        cause_unref(error_make(s, &h->failure, "register_hook", origin));
    else
        error_raise(s, h->cause);
    bool fine = !h->cause && !h->failure.code && same && !s->dead;
    if (fine)
        request_numbers(s, site_number(s, origin.where), TD_R_HOOK, 2, (uint64_t[]){x.handle, h->number});
    if (same && !s->dead)
        request_numbers(s, 0, TD_R_PROGRAM_FREE, 1, (uint64_t[]){h->number});
    cause_unref(h->cause);
    return fine;
}

td_hook td_register_hook_at(td_origin origin, td_tensor x, td_hook_function *hook,
                            const struct td_register_hook_keywords *keywords)
{
    const struct entry *e = layout_begin(origin, x, "register_hook", true);
    td_session *s = x.session;
    struct hooking h = {.session = s};
    if (!e)
        return (td_hook){0};
    if (!hook) {
        td_fail(&h.failure, TD_E_ARGUMENT, "register_hook: no hook was given");
    } else if (!autograd_requires(e)) {
        td_fail(&h.failure, TD_E_GRAD, "register_hook: %s requires no gradient", e->name ? e->name : "the tensor");
        td_hint(&h.failure, "td_set_requires_grad(x, true) makes a leaf; compute outside TD_NO_GRAD.");
    }
    if (h.failure.code) {
        cause_unref(error_make(s, &h.failure, "register_hook", origin));
        query_end(origin, x);
        return (td_hook){0};
    }
    h.meta = e->meta;
    h.meta.offset = 0;
    td_contiguous_strides(h.meta.rank, h.meta.shape, h.meta.stride);
    h.number = recording_number(s);
    h.epoch = s->wire.epoch;
    session_leave(s);
    trace(&h, hook, keywords ? keywords->data : NULL, origin);
    session_enter(s);
    bool fine = send_hook(&h, x, origin);
    call_check(s, origin);
    query_end(origin, x);
    return fine ? (td_hook){s, h.number, h.epoch} : (td_hook){0};
}

void td_remove_hook(td_hook hook)
{
    td_session *s = hook.session;
    if (!s)
        return;
    session_enter(s);
    uint8_t *at = s->dead || hook.epoch != s->wire.epoch ? NULL : request_begin(s, 64);
    if (at)
        request_end(s, td_write_uint(td_write_nil(request_head(at, 0, 0, 3, TD_R_HOOK)), hook.number));
    session_leave(s);
}

td_hook(td_register_hook)(td_tensor x, td_hook_function *hook, const struct td_register_hook_keywords *keywords)
{
    return td_register_hook_at((td_origin){0}, x, hook, keywords);
}
