/* Functions that are called back: forward and backward are plain C, run here each time, with values. An application
 * tells the daemon what forward made and by which function; a walk that comes there sends a CALL, and waits until its
 * backward has been run. Nothing else is kept here: what backward needs comes with the CALL.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/functions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What scope lets go of to what outlives it; false if it has been before. */
static bool take_out(struct td_session *s, const td_guard *scope, uint32_t handle)
{
    if (s->handles.entries[handle].scope != scope)
        return false;
    scope_remove(&s->handles, handle);
    return true;
}

/* ---- applying ---- */

/* One call of forward: what it gave, of which some outlives its scope until the daemon has been told. */
struct applying {
    struct td_context ctx;
    struct trace *trace;
    td_tensor given[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED]; /* outputs, then what it saved */
    uint32_t unknown[TD_FUNCTION_TENSORS];                    /* flags of outputs whose layout data decide */
    int count, loose_count;
    uint32_t loose[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED]; /* handles in no scope */
};

/* Why the function cannot be applied here, with a reference. */
static struct cause *refusal(struct td_function *f, const struct trace *wanted, td_origin origin)
{
    td_session *s = f->session;
    struct td_failure failure = {0};
    if (s->recording) {
        td_fail(&failure, TD_E_ARGUMENT,
                "%s: is called back, and runs of what is recorded from %s on could not call it", f->name,
                s->recording->where ? s->recording->where : "td_record");
        td_hint(&failure, "Apply it outside of td_record and of other functions' traces, or let it be traced.");
    } else if (wanted->needs && !f->given.backward) {
        td_fail(&failure, TD_E_GRAD, "%s: has no .backward, and an input requires a gradient", f->name);
        td_hint(&failure, "Give it one, or apply it under TD_NO_GRAD.");
    } else if (f->running == FUNCTION_DEPTH_MAX) {
        td_fail(&failure, TD_E_LIMIT, "%s: applies itself within itself %d times", f->name, FUNCTION_DEPTH_MAX);
    }
    struct cause *cause = failure.code ? cause_new(&failure, f->name, origin.where, s->wire.requests) : NULL;
    for (struct recording *r = s->recording; r; r = r->outer)
        if (!r->cause)
            r->cause = cause_ref(cause);
    return cause;
}

/* Looks at what forward gave; returns an error value's cause, with a reference, or fails ctx. */
static struct cause *look(struct applying *a, td_list inputs)
{
    struct td_context *ctx = &a->ctx;
    struct td_function *f = ctx->function;
    int outputs = f->given.outputs;
    for (int k = 0; k < f->given.inputs; k++)
        if (!handles_find(f->session, inputs.items[k]))
            td_fail(&ctx->failure, TD_E_HANDLE, "forward released its input %d", k);
    for (int k = 0; k < a->count; k++) {
        const struct entry *e = handles_find(f->session, a->given[k]);
        if (!e)
            td_fail(&ctx->failure, TD_E_HANDLE, "gave no %s %d", k < outputs ? "output" : "saved tensor",
                    k < outputs ? k : k - outputs);
        else if (e->cause)
            return cause_ref(e->cause);
        if (!e || k >= outputs)
            continue;
        a->trace->out[k] = e->meta;
        a->unknown[k] = e->flags & (ENTRY_UNKNOWN | ENTRY_TURNED);
        a->trace->flags |= (function_fixes(ctx, a->given[k]) ? 1u : 0u) << (TD_APPLY_FLAGS + k);
    }
    return NULL;
}

/* Runs forward, and lets go of all that it made but what it gave. */
static struct cause *run_forward(struct applying *a, td_list inputs, td_origin origin)
{
    struct td_function *f = a->ctx.function;
    td_session *s = f->session;
    td_tensor in[TD_FUNCTION_TENSORS];
    td_guard scope, no_grad;
    for (int k = 0; k < f->given.inputs; k++) {
        in[k] = inputs.items[k];
        in[k].generation &= ~FRESH; /* forward has them by name */
    }
    td_scope_begin(s, &scope);
    td_no_grad_begin(s, &no_grad);
    f->running++;
    f->given.forward(&a->ctx, in, a->given);
    f->running--;
    session_enter(s);
    a->count = f->given.outputs + a->ctx.saved_count;
    memcpy(a->given + f->given.outputs, a->ctx.saved, (size_t)a->ctx.saved_count * sizeof *a->given);
    struct cause *cause = s->dead ? cause_ref(s->dead) : look(a, inputs);
    if (!cause && a->ctx.failure.code)
        cause = function_cause(&a->ctx, origin);
    for (int k = 0; k < a->count && !cause; k++)
        if (take_out(s, &scope, a->given[k].handle))
            a->loose[a->loose_count++] = a->given[k].handle;
    session_leave(s);
    td_guard_end(&no_grad);
    td_guard_end(&scope);
    return cause;
}

static void send_called(struct applying *a, td_list inputs, const uint32_t *out, td_origin origin)
{
    const struct td_function *f = a->ctx.function;
    td_session *s = f->session;
    int in_count = f->given.inputs, out_count = f->given.outputs;
    uint32_t site = site_number(s, origin.where), bytes = (uint32_t)strlen(f->name);
    uint32_t bin = (uint32_t)f->given.attributes;
    uint8_t *at = request_begin(s, 64 + TD_NAME_BYTES + bin + (size_t)(in_count + a->count + out_count) * TD_WIRE_MAX);
    if (!at)
        return;
    at = request_head(at, scope_grad_mode(s) ? TD_FLAG_GRAD : 0, site, 7 + (uint32_t)(in_count + a->count + out_count),
                      TD_R_CALLED);
    at = td_write_text(td_write_uint(at, f->number), f->name, bytes);
    at = td_write_bin_header(at, bin);
    if (bin)
        memcpy(at, a->ctx.attributes, bin);
    at = td_write_uint(td_write_uint(at + bin, a->trace->flags), (uint64_t)in_count);
    at = td_write_uint(at, (uint64_t)(in_count + a->count));
    for (int k = 0; k < in_count; k++)
        at = td_write_uint(at, inputs.items[k].handle);
    for (int k = 0; k < a->count; k++)
        at = td_write_uint(at, a->given[k].handle);
    for (int k = 0; k < out_count; k++)
        at = td_write_uint(at, out[k]);
    request_end(s, at);
}

/* The outputs, tied to the function in the daemon. */
static struct cause *tie(struct applying *a, td_list inputs, td_origin origin, td_tensor *outputs)
{
    struct td_function *f = a->ctx.function;
    td_session *s = f->session;
    uint32_t out[TD_FUNCTION_TENSORS];
    for (int k = 0; k < f->given.outputs; k++) {
        if (!(out[k] = function_output(f, a->trace, k))) {
            while (k-- > 0)
                handles_drop(&s->handles, out[k]);
            return function_no_handle(f, origin);
        }
        s->handles.entries[out[k]].flags |= a->unknown[k];
        outputs[k] = handles_tensor(s, out[k], true);
    }
    send_called(a, inputs, out, origin);
    s->calls_back |= a->trace->needs != 0;
    return NULL;
}

struct cause *called_apply(struct td_function *f, struct trace *wanted, td_list inputs, const void *attributes,
                           td_origin origin, td_tensor *outputs)
{
    td_session *s = f->session;
    session_enter(s);
    struct cause *cause = refusal(f, wanted, origin);
    uint32_t epoch = s->wire.epoch;
    session_leave(s);
    struct applying *a = cause ? NULL : calloc(1, sizeof *a);
    if (cause)
        return cause;
    if (!a)
        abort(); /* a few kilobytes are not to be had */
    a->trace = wanted;
    wanted->flags = wanted->needs && f->given.once_differentiable ? TD_APPLY_ONCE : 0;
    a->ctx = (struct td_context){.function = f, .attributes = attributes, .forward = true, .needs = wanted->needs};
    cause = run_forward(a, inputs, origin);
    session_enter(s);
    if (!cause && epoch != s->wire.epoch)
        cause = cause_ref(s->standing);
    if (!cause)
        cause = tie(a, inputs, origin, outputs);
    for (int k = 0; k < a->loose_count; k++)
        request_release(s, a->loose[k]);
    session_leave(s);
    free(a);
    return cause;
}

/* ---- being called ---- */

/* One call of backward. */
struct serving {
    struct td_context ctx;
    uint64_t number;
    bool recorded;
    int out_count;
    td_tensor values[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED]; /* the gradients of the outputs, then what was saved */
    td_tensor gradients[TD_FUNCTION_TENSORS];
    uint32_t loose; /* bit k: gradient k is in no scope, and ends with the answer */
};

/* A handle for a value of the call, with its layout; false if it is none. */
static bool take_value(struct td_session *s, struct td_reader *r, struct serving *serving, td_tensor *value)
{
    struct td_meta meta = {0};
    uint32_t count = td_read_array(r);
    uint64_t dtype = td_read_uint(r);
    int rank = layout_read_sizes(r, meta.shape), strides = layout_read_sizes(r, meta.stride);
    if (!td_take_int(r, &meta.offset) || count != 5 || rank != strides || !td_dtype_known(dtype))
        return false;
    bool requires = td_read_bool(r);
    meta.dtype = (uint8_t)dtype;
    meta.rank = (uint8_t)rank;
    if (r->failed || td_checked_numel(rank, meta.shape) < 0)
        return false;
    *value = recording_placeholder(s, &meta);
    if (!value->handle)
        td_fail(&serving->ctx.failure, TD_E_LIMIT, "no handle is left of %u", s->handles.limit);
    else if (requires)
        s->handles.entries[value->handle].flags ^= ENTRY_REQUIRES_GRAD | ENTRY_LEAF; /* it was a leaf */
    return true;
}

static struct td_function *find_function(const struct td_session *s, uint64_t number)
{
    struct td_function *f = s->functions;
    while (f && f->number != number)
        f = f->next;
    return f;
}

/* All of a CALL but its values. attributes has room for what an application has at most. */
static bool take_head(struct td_session *s, struct td_reader *r, struct serving *serving, void *attributes)
{
    struct td_context *ctx = &serving->ctx;
    uint32_t bytes = 0, count = td_read_array(r);
    td_read_uint(r); /* its kind */
    serving->number = td_read_uint(r);
    ctx->function = find_function(s, td_read_uint(r));
    serving->recorded = td_read_bool(r);
    ctx->needs = td_read_u32(r);
    const uint8_t *bin = td_read_bin(r, &bytes);
    if (r->failed || count != 8 || !ctx->function || !ctx->function->given.backward ||
        bytes != ctx->function->given.attributes)
        return false;
    if (bytes)
        memcpy(attributes, bin, bytes);
    ctx->attributes = attributes;
    return true;
}

static bool take_values(struct td_session *s, struct td_reader *r, struct serving *serving)
{
    struct td_context *ctx = &serving->ctx;
    serving->out_count = (int)td_read_array(r);
    bool fits = !r->failed && serving->out_count == ctx->function->given.outputs;
    for (int k = 0; k < serving->out_count && fits; k++)
        fits = take_value(s, r, serving, &serving->values[k]);
    uint32_t saved = fits ? td_read_array(r) : 0;
    fits = fits && saved <= TD_FUNCTION_SAVED;
    for (uint32_t k = 0; k < saved && fits; k++)
        fits = take_value(s, r, serving, &ctx->saved[k]);
    ctx->saved_count = (int)saved;
    if (fits)
        memcpy(serving->values + serving->out_count, ctx->saved, saved * sizeof *ctx->saved);
    return fits && !r->failed;
}

static void send_begin(struct td_session *s, const struct serving *serving)
{
    int count = serving->out_count + serving->ctx.saved_count;
    uint8_t *at = request_begin(s, 64 + (size_t)count * TD_WIRE_MAX);
    if (!at)
        return;
    at = td_write_uint(request_head(at, 0, 0, 3 + (uint32_t)count, TD_R_ANSWER), serving->number);
    at = td_write_bool(at, false);
    for (int k = 0; k < count; k++)
        at = serving->values[k].handle ? td_write_uint(at, serving->values[k].handle) : td_write_nil(at);
    request_end(s, at);
}

/* Gradient k as the daemon is told of it: a handle, nil, or why there is none. */
static uint8_t *write_gradient(uint8_t *at, struct td_session *s, const struct serving *serving, int k)
{
    const struct td_context *ctx = &serving->ctx;
    td_tensor gradient = serving->gradients[k];
    const struct entry *e = handles_find(s, gradient);
    struct td_failure failure = {0};
    if (ctx->failure.code)
        td_hint(&failure, "%s",
                (td_fail(&failure, ctx->failure.code, "%s: %s", ctx->function->name, ctx->failure.message),
                 ctx->failure.hint));
    else if (!gradient.session || !(ctx->needs >> k & 1))
        return td_write_nil(at);
    else if (!e)
        td_fail(&failure, TD_E_HANDLE, "%s: the backward gave a gradient for input %d that %s", ctx->function->name, k,
                gradient.session == s ? "was released" : "belongs to another session");
    else if (e->cause && e->flags & ENTRY_LOCAL)
        failure = e->cause->failure;
    else
        return td_write_uint(at, gradient.handle);
    at = td_write_int(td_write_array(at, 3), failure.code);
    at = td_write_text(at, failure.message, (uint32_t)strlen(failure.message));
    return td_write_text(at, failure.hint, (uint32_t)strlen(failure.hint));
}

static void send_end(struct td_session *s, const struct serving *serving)
{
    int inputs = serving->ctx.function->given.inputs;
    uint32_t flags = 0;
    uint8_t *at = request_begin(s, 64 + (size_t)inputs * (TD_MESSAGE_BYTES + TD_HINT_BYTES + 4 * TD_WIRE_MAX));
    if (!at)
        return;
    for (int k = 0; k < inputs; k++)
        flags |= serving->loose >> k & 1 ? TD_FLAG_CONSUME(k) : 0;
    at = td_write_uint(request_head(at, flags, 0, 3 + (uint32_t)inputs, TD_R_ANSWER), serving->number);
    at = td_write_bool(at, true);
    for (int k = 0; k < inputs; k++)
        at = write_gradient(at, s, serving, k);
    request_end(s, at);
}

static void run_backward(struct td_session *s, struct serving *serving)
{
    struct td_function *f = serving->ctx.function;
    td_guard grad;
    if (serving->ctx.failure.code)
        return;
    (serving->recorded ? td_enable_grad_begin : td_no_grad_begin)(s, &grad);
    f->running++;
    f->given.backward(&serving->ctx, serving->values, serving->gradients);
    f->running--;
    td_guard_end(&grad);
}

static void answer(struct td_session *s, struct serving *serving, td_guard *scope)
{
    uint32_t epoch = s->wire.epoch;
    send_begin(s, serving);
    run_backward(s, serving);
    uint32_t told = serving->ctx.failure.code ? 0 : serving->ctx.needs;
    for (int k = 0; k < serving->ctx.function->given.inputs; k++)
        if (told >> k & 1 && handles_find(s, serving->gradients[k]) && take_out(s, scope, serving->gradients[k].handle))
            serving->loose |= 1u << k;
    td_guard_end(scope); /* the walk goes on with less to keep */
    if (!s->dead && epoch == s->wire.epoch)
        send_end(s, serving);
    for (int k = 0; k < serving->ctx.function->given.inputs; k++) {
        uint32_t handle = serving->loose >> k & 1 ? serving->gradients[k].handle : 0;
        if (!handle)
            continue;
        uint32_t grad = s->handles.entries[handle].grad;
        handles_drop(&s->handles, handle);
        if (grad)
            request_release(s, grad);
    }
}

bool calls_serve(struct td_session *s, struct td_failure *failure)
{
    struct connection *c = &s->wire;
    struct td_reader r = td_reader_of(c->call, c->call_bytes);
    struct serving *serving = calloc(1, sizeof *serving);
    void *bytes = c->call, *attributes = malloc(TD_FUNCTION_BYTES);
    bool created = s->graph_created, fits = s->serving < TD_CALLS_MAX;
    td_guard scope;
    if (!serving || !attributes)
        abort(); /* a few kilobytes are not to be had */
    c->call = NULL;
    s->serving++;
    td_scope_begin(s, &scope);
    fits = fits && take_head(s, &r, serving, attributes) && take_values(s, &r, serving);
    if (fits)
        answer(s, serving, &scope);
    else
        td_guard_end(&scope);
    s->serving--;
    s->graph_created = created; /* by the walk that waits */
    free(bytes);
    free(attributes);
    free(serving);
    return fits || td_fail(failure, TD_E_PROTOCOL, "the daemon calls a function that it was not told of") == TD_E_OK;
}

uint32_t calls_flags(const struct td_session *s)
{
    return s->calls_back && !s->recording ? TD_FLAG_WAITS : 0;
}

void calls_wait(struct td_session *s, uint32_t flags, uint32_t epoch)
{
    struct wait wait = {.request = s->wire.requests};
    if (!flags || s->dead || epoch != s->wire.epoch)
        return;
    connection_wait(s, &wait);
    cause_unref(wait.error); /* it stands in the daemon */
}
