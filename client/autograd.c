/* What the client knows of autograd: enough to print it and to refuse a forbidden write at its line. The graph itself
 * is the daemon's, and so is the last word.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <string.h>

bool autograd_requires(const struct entry *e)
{
    if (e->flags & ENTRY_REQUIRES_GRAD)
        return true;
    return !(e->flags & ENTRY_ALIAS) && e->storage && e->storage->recorded && !e->cause;
}

/* A leaf that requires a gradient: not where a write made it part of the graph. */
static bool own_leaf(const struct entry *e)
{
    return e->flags & ENTRY_LEAF && e->flags & ENTRY_REQUIRES_GRAD;
}

bool autograd_is_leaf(const struct entry *e)
{
    return own_leaf(e) || !autograd_requires(e);
}

static bool floating(const struct td_meta *meta)
{
    return td_dtype_known(meta->dtype) && td_dtype_category(meta->dtype) == TD_FLOATING;
}

static bool any_requires(struct entry *const *in, int count)
{
    for (int k = 0; k < count; k++)
        if (in[k] && floating(&in[k]->meta) && autograd_requires(in[k]))
            return true;
    return false;
}

static const char *name_of(const struct entry *e)
{
    return e->name ? e->name : "the target";
}

int autograd_check_write(const struct td_op *op, struct entry *const *in, struct td_failure *failure)
{
    const struct entry *target = in[0];
    if (op->kind != TD_INPLACE)
        return TD_E_OK;
    bool leaf = own_leaf(target);
    if (leaf || target->flags & ENTRY_LEAF_VIEW) {
        td_fail(failure, TD_E_GRAD, "%s: %s is a %sleaf that requires a gradient", op->name, name_of(target),
                leaf ? "" : "view of a ");
        return td_hint(failure, "Write to it under TD_NO_GRAD, or to a clone of it.");
    }
    if (target->flags & ENTRY_NO_GRAD_VIEW) {
        td_fail(failure, TD_E_GRAD, "%s: %s is a view made under TD_NO_GRAD", op->name, name_of(target));
        return td_hint(failure, "Write through a view made outside of it, or under TD_NO_GRAD.");
    }
    return TD_E_OK;
}

int autograd_check_inference(const struct td_op *op, struct entry *const *in, int count, bool recording,
                             struct td_failure *failure)
{
    bool writes = op->kind == TD_INPLACE && in[0]->flags & ENTRY_INFERENCE;
    bool recorded = recording && !op->no_gradient && any_requires(in, count);
    for (int k = 0; k < count && (writes || recorded); k++) {
        if (!in[k] || !(in[k]->flags & ENTRY_INFERENCE))
            continue;
        if (writes)
            td_fail(failure, TD_E_GRAD, "%s: %s was made in inference mode and cannot be written to outside of it",
                    op->name, name_of(in[0]));
        else
            td_fail(failure, TD_E_GRAD, "%s: input %d was made in inference mode and cannot be recorded", op->name, k);
        return td_hint(failure, "td_clone(x) outside of TD_INFERENCE_MODE gives one that can be.");
    }
    return TD_E_OK;
}

static void note_write(struct entry *target, struct entry *const *in, int count)
{
    if (!floating(&target->meta) || !any_requires(in, count))
        return;
    target->flags |= ENTRY_REQUIRES_GRAD;
    target->flags &= ~(uint32_t)ENTRY_LEAF;
    if (!(target->flags & ENTRY_ALIAS) && target->storage)
        target->storage->recorded = true;
}

void autograd_note(const struct td_op *op, struct entry *result, struct entry *const *in, int count, int shares,
                   bool recording)
{
    if (op->kind == TD_INPLACE) {
        if (recording)
            note_write(result, in, count);
        if (recording && result->flags & ENTRY_REQUIRES_GRAD)
            result->maker = op;
        return;
    }
    bool recorded = recording && !op->no_gradient && floating(&result->meta) && any_requires(in, count);
    result->flags |= recorded ? ENTRY_REQUIRES_GRAD : ENTRY_LEAF;
    if (shares < 0)
        return;
    const struct entry *base = in[shares];
    result->flags |= base->flags & ENTRY_INFERENCE;
    result->flags |= op->no_gradient ? 0 : ENTRY_VIEW;
    if (op->no_gradient || base->flags & ENTRY_ALIAS) {
        result->flags |= ENTRY_ALIAS | (op->no_gradient ? 0 : base->flags & ENTRY_NO_GRAD_VIEW);
        return;
    }
    bool base_requires = autograd_requires(base);
    if (base->flags & ENTRY_LEAF_VIEW || own_leaf(base))
        result->flags |= ENTRY_LEAF_VIEW;
    if (!recording && base_requires)
        result->flags |= ENTRY_NO_GRAD_VIEW | ENTRY_ALIAS;
}

void autograd_learn(struct entry *e, uint64_t grad)
{
    bool requires = grad & TD_LAYOUT_REQUIRES, leaf = !requires || grad & TD_LAYOUT_LEAF;
    e->flags &= ~(uint32_t)(ENTRY_REQUIRES_GRAD | ENTRY_LEAF | ENTRY_LEAF_VIEW);
    e->flags |= (requires ? ENTRY_REQUIRES_GRAD : 0) | (leaf ? ENTRY_LEAF : 0);
    e->flags |= grad & TD_LAYOUT_VIEW_OF_LEAF ? ENTRY_LEAF_VIEW : 0;
}

void autograd_note_gradient(struct entry *gradient, const struct entry *of, bool recorded)
{
    gradient->flags &= ~(uint32_t)(ENTRY_LEAF | ENTRY_REQUIRES_GRAD | ENTRY_UNKNOWN);
    gradient->flags |= (of->flags & ENTRY_UNKNOWN) | (recorded ? ENTRY_REQUIRES_GRAD : ENTRY_LEAF);
    gradient->maker = td_op_of(TD_OP_clone);
    gradient->meta = of->meta;
    gradient->meta.offset = 0;
    td_contiguous_strides(of->meta.rank, of->meta.shape, gradient->meta.stride);
}

/* ---- what the program calls ---- */

void td_backward_at(td_origin origin, td_tensor loss, const struct td_backward_keywords *keywords)
{
    static const struct td_backward_keywords defaults = {0};
    keywords = keywords ? keywords : &defaults;
    struct entry *e = query_begin(origin, loss, "backward", true);
    if (!e)
        return;
    td_session *s = loss.session;
    struct entry *seed = handles_find(s, keywords->seed);
    struct td_failure failure = {0};
    if (keywords->seed.session && !seed)
        td_fail(&failure, TD_E_HANDLE, "backward: the seed is no tensor of this session");
    if (seed && seed->cause)
        error_raise(s, seed->cause);
    else if (failure.code)
        cause_unref(error_make(s, &failure, "backward", origin));
    if (failure.code || (seed && seed->cause)) {
        query_end(origin, loss);
        return;
    }
    uint32_t site = site_number(s, origin.where), flags = calls_flags(s), epoch = s->wire.epoch;
    uint8_t *at = request_begin(s, 64);
    if (at) {
        at = td_write_uint(request_head(at, flags, site, 5, TD_R_BACKWARD), loss.handle);
        at = seed ? td_write_uint(at, keywords->seed.handle) : td_write_nil(at);
        at = td_write_bool(at, keywords->retain_graph || keywords->create_graph);
        request_end(s, td_write_bool(at, keywords->create_graph));
        s->graph_created = keywords->create_graph;
        calls_wait(s, flags, epoch);
    }
    call_check(s, origin);
    query_end(origin, loss);
}

td_tensor td_retain_grad_at(td_origin origin, td_tensor x)
{
    struct entry *e = query_begin(origin, x, "retain_grad", true);
    td_session *s = x.session;
    x.generation &= consumes(origin, x, 0) ? UINT32_MAX : ~FRESH;
    if (!e)
        return x;
    request_numbers(s, site_number(s, origin.where), TD_R_RETAIN_GRAD, 1, (uint64_t[]){x.handle});
    call_check(s, origin);
    session_leave(s);
    return x;
}

td_tensor td_grad_at(td_origin origin, td_tensor w)
{
    struct entry *e = query_begin(origin, w, "grad", false);
    td_session *s = w.session;
    if (!e)
        return w; /* as dead as w is */
    if (e->cause || s->dead) {
        struct cause *cause = cause_ref(e->cause ? e->cause : s->dead);
        error_raise(s, cause);
        td_tensor failed = handles_failed(s, cause);
        session_leave(s);
        return failed;
    }
    uint32_t site = site_number(s, origin.where), grad = e->grad;
    if (grad)
        request_numbers(s, 0, TD_R_RELEASE, 1, (uint64_t[]){grad});
    else
        grad = handles_take(&s->handles);
    e = handles_find(s, w);
    if (!grad || !e ||
        !(s->handles.entries[grad].storage || entry_set_storage(&s->handles, &s->handles.entries[grad], NULL))) {
        struct td_failure failure = {.code = TD_E_LIMIT, .message = "grad: no handle is left"};
        td_tensor failed = handles_failed(s, error_make(s, &failure, "grad", origin));
        session_leave(s);
        return failed;
    }
    struct entry *g = &s->handles.entries[grad];
    autograd_note_gradient(g, e, s->graph_created);
    g->flags |= ENTRY_OWNED;
    if (!e->cause) { /* not lost meanwhile */
        cause_unref(g->cause);
        g->cause = NULL;
    }
    e->grad = grad;
    request_numbers(s, site, TD_R_GRAD, 2, (uint64_t[]){grad, w.handle});
    td_tensor result = handles_tensor(s, grad, false);
    session_leave(s);
    return result;
}

bool td_requires_grad_at(td_origin origin, td_tensor x)
{
    struct entry *e = query_begin(origin, x, "requires_grad", false);
    if (!e)
        return false;
    bool requires = autograd_requires(e);
    query_end(origin, x);
    return requires;
}

bool td_is_leaf_at(td_origin origin, td_tensor x)
{
    struct entry *e = query_begin(origin, x, "is_leaf", false);
    if (!e)
        return false;
    bool leaf = autograd_is_leaf(e);
    query_end(origin, x);
    return leaf;
}

static int check_marking(const struct entry *e, bool on, bool inference, struct td_failure *failure)
{
    if (on && e->flags & ENTRY_INFERENCE && !inference) {
        td_fail(failure, TD_E_GRAD, "requires_grad: %s was made in inference mode", name_of(e));
        return td_hint(failure, "td_clone(x) outside of TD_INFERENCE_MODE can require a gradient.");
    }
    if (on && !floating(&e->meta)) {
        td_fail(failure, TD_E_DTYPE, "requires_grad: %s has no gradients", td_dtype_name(e->meta.dtype));
        return td_hint(failure, "Only tensors of a floating type have; td_to(x, TD_F32) converts.");
    }
    if (!on && !autograd_is_leaf(e)) {
        td_fail(failure, TD_E_GRAD, "requires_grad: only a leaf can be taken out of the graph");
        return td_hint(failure, "td_detach(x) gives a tensor outside of it.");
    }
    return TD_E_OK;
}

td_tensor td_set_requires_grad_at(td_origin origin, td_tensor x, bool on)
{
    struct entry *e = query_begin(origin, x, "requires_grad", true);
    struct td_failure failure = {0};
    td_session *s = x.session;
    x.generation &= consumes(origin, x, 0) ? UINT32_MAX : ~FRESH;
    if (!e)
        return x;
    if (check_marking(e, on, scope_inference_mode(s), &failure)) {
        cause_unref(error_make(s, &failure, "requires_grad", origin));
    } else if (autograd_is_leaf(e)) {
        e->flags = (e->flags & ~(uint32_t)ENTRY_REQUIRES_GRAD) | ENTRY_LEAF | (on ? ENTRY_REQUIRES_GRAD : 0);
        uint32_t site = site_number(s, origin.where);
        uint8_t *at = request_begin(s, 64);
        if (at) {
            at = td_write_uint(request_head(at, 0, site, 3, TD_R_REQUIRES_GRAD), x.handle);
            request_end(s, td_write_bool(at, on));
        }
    }
    session_leave(s);
    return x;
}

void(td_backward)(td_tensor loss, const struct td_backward_keywords *keywords)
{
    td_backward_at((td_origin){0}, loss, keywords);
}

td_tensor(td_grad)(td_tensor w)
{
    return td_grad_at((td_origin){0}, w);
}

td_tensor(td_retain_grad)(td_tensor x)
{
    return td_retain_grad_at((td_origin){0}, x);
}

bool(td_requires_grad)(td_tensor x)
{
    return td_requires_grad_at((td_origin){0}, x);
}

bool(td_is_leaf)(td_tensor x)
{
    return td_is_leaf_at((td_origin){0}, x);
}

td_tensor(td_set_requires_grad)(td_tensor x, bool on)
{
    return td_set_requires_grad_at((td_origin){0}, x, on);
}
