/* Custom autograd functions: their C code is run once for each kind of input, and traced into programs that the daemon
 * runs from then on, but for those that are called back (called.c). SPDX-License-Identifier: Apache-2.0 */
#include "client/functions.h"

#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

static void trace_free(struct trace *trace)
{
    cause_unref(trace->cause);
    free(trace->attributes);
    free(trace);
}

static void drop_traces(struct td_function *f)
{
    td_session *s = f->session;
    for (struct trace *trace = f->traces, *next; trace; trace = next) {
        next = trace->next;
        bool known = s && !s->dead && f->epoch == s->wire.epoch;
        if (known && trace->forward)
            request_numbers(s, 0, TD_R_PROGRAM_FREE, 1, (uint64_t[]){trace->forward});
        if (known && trace->backward)
            request_numbers(s, 0, TD_R_PROGRAM_FREE, 1, (uint64_t[]){trace->backward});
        trace_free(trace);
    }
    f->traces = NULL;
}

td_function *td_function_new_at(td_origin origin, td_session *s, const char *name,
                                const struct td_function_keywords *keywords)
{
    struct td_function *f = calloc(1, sizeof *f);
    struct td_failure failure = {0};
    if (!f)
        abort(); /* a kilobyte is not to be had */
    strncpy(f->name, name, sizeof f->name - 1);
    f->op.name = f->name;
    f->given = *keywords;
    f->session = s;
    if (keywords->inputs < 1 || keywords->inputs > TD_FUNCTION_TENSORS || keywords->outputs < 1 ||
        keywords->outputs > TD_FUNCTION_TENSORS) {
        td_fail(&failure, TD_E_ARGUMENT, "%s: %d inputs and %d outputs; 1 to %d of both are due", f->name,
                keywords->inputs, keywords->outputs, TD_FUNCTION_TENSORS);
        f->given.inputs = f->given.outputs = 1;
        f->given.forward = NULL;
    } else if (!keywords->forward) {
        td_fail(&failure, TD_E_ARGUMENT, "%s: no .forward was given", f->name);
    } else if (keywords->called_back && keywords->attributes > TD_FUNCTION_BYTES) {
        td_fail(&failure, TD_E_LIMIT, "%s: %zu bytes of .attributes; of what is called back the limit is %u", f->name,
                keywords->attributes, TD_FUNCTION_BYTES);
        td_hint(&failure, "Give what is large as a tensor, or as a pointer to it.");
        f->given.forward = NULL;
    }
    session_enter(s);
    f->number = ++s->functions_made;
    f->epoch = s->wire.epoch;
    f->next = s->functions;
    s->functions = f;
    if (failure.code)
        cause_unref(error_make(s, &failure, f->name, origin));
    session_leave(s);
    return f;
}

void td_function_free(td_function *f)
{
    if (!f)
        return;
    if (!f->session) {
        free(f);
        return;
    }
    session_enter(f->session);
    drop_traces(f);
    f->freed = true;
    session_leave(f->session);
}

const char *functions_in_work(const struct td_session *s)
{
    for (const struct td_function *f = s->functions; f; f = f->next)
        if (f->in_work || f->running)
            return f->name;
    return NULL;
}

void functions_forget(struct td_session *s)
{
    for (struct td_function *f = s->functions, *next; f; f = next) {
        next = f->next;
        f->session = NULL;
        drop_traces(f);
        if (f->freed)
            free(f);
    }
    s->functions = NULL;
}

int function_inputs(const struct td_function *f)
{
    return f->given.inputs;
}

int function_outputs(const struct td_function *f)
{
    return f->given.outputs;
}

const char *function_name(const struct td_function *f)
{
    return f->name;
}

/* ---- what forward and backward call ---- */

void td_save_for_backward_at(td_origin origin, td_context *ctx, td_list tensors)
{
    (void)origin;
    for (int64_t k = 0; k < tensors.count; k++) {
        if (!ctx->forward)
            td_fail(&ctx->failure, TD_E_ARGUMENT, "save_for_backward: is for forward only");
        else if (ctx->saved_count == TD_FUNCTION_SAVED)
            td_fail(&ctx->failure, TD_E_LIMIT, "save_for_backward: more than %d tensors", TD_FUNCTION_SAVED);
        else
            ctx->saved[ctx->saved_count++] = tensors.items[k];
    }
}

td_tensor td_saved(td_context *ctx, int k)
{
    if (!ctx->forward && k >= 0 && k < ctx->saved_count)
        return ctx->saved[k];
    if (ctx->forward)
        td_fail(&ctx->failure, TD_E_ARGUMENT, "saved: is for backward only");
    else
        td_fail(&ctx->failure, TD_E_INDEX, "saved: %d of the %d tensors that forward saved", k, ctx->saved_count);
    td_session *s = ctx->function->session;
    session_enter(s);
    td_tensor failed = handles_failed(s, cause_new(&ctx->failure, ctx->function->name, NULL, s->wire.requests));
    session_leave(s);
    return failed;
}

bool td_needs_input_grad(const td_context *ctx, int k)
{
    return k >= 0 && k < ctx->function->given.inputs && ctx->needs >> k & 1;
}

void td_mark_non_differentiable(td_context *ctx, td_tensor output)
{
    if (ctx->forward && ctx->fixed_count < TD_FUNCTION_TENSORS)
        ctx->fixed[ctx->fixed_count++] = output;
}

const void *td_attributes(const td_context *ctx)
{
    return ctx->attributes;
}

td_session *td_context_session(const td_context *ctx)
{
    return ctx->function->session;
}

/* ---- tracing ---- */

/* Begins a trace whose inputs are like metas. */
static void begin(struct td_context *ctx, struct recording *recording, uint32_t number, td_origin origin, int count,
                  const struct td_meta *metas, td_tensor *in)
{
    td_session *s = ctx->function->session;
    uint32_t handles[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED];
    session_enter(s);
    for (int k = 0; k < count; k++) {
        in[k] = recording_placeholder(s, &metas[k]);
        handles[k] = in[k].handle;
        if (!handles[k])
            td_fail(&ctx->failure, TD_E_LIMIT, "no handle is left of %u", s->handles.limit);
    }
    recording_begin(s, recording, number, ctx->function->name, true, origin, count, handles);
    session_leave(s);
}

/* The handle of what the C code gave, with its layout; 0 with a failure or a cause if it cannot be taken. */
static uint32_t given_handle(struct td_context *ctx, td_tensor x, const char *what, int k, struct td_meta *meta)
{
    td_session *s = ctx->function->session;
    const struct entry *e = handles_find(s, x);
    struct trace *trace = ctx->trace;
    if (!e)
        td_fail(&ctx->failure, TD_E_HANDLE, "gave no %s %d", what, k);
    else if (e->cause)
        trace->cause = trace->cause ? trace->cause : cause_ref(e->cause);
    else if (e->flags & ENTRY_UNKNOWN)
        td_fail(&ctx->failure, TD_E_ARGUMENT, "gave a %s %d whose size depends on data", what, k);
    if (!e || e->cause || e->flags & ENTRY_UNKNOWN)
        return 0;
    *meta = e->meta;
    return x.handle;
}

bool function_fixes(const struct td_context *ctx, td_tensor output)
{
    bool fixes = false;
    for (int k = 0; k < ctx->fixed_count; k++)
        fixes |= ctx->fixed[k].handle == output.handle && !((ctx->fixed[k].generation ^ output.generation) & ~FRESH);
    return fixes;
}

struct cause *function_cause(const struct td_context *ctx, td_origin origin)
{
    struct td_failure named = {0};
    td_fail(&named, ctx->failure.code, "%s: %s", ctx->function->name, ctx->failure.message);
    td_hint(&named, "%s", ctx->failure.hint);
    return cause_new(&named, ctx->function->name, origin.where, ctx->function->session->wire.requests);
}

/* The C code is back: the trace ends, or fails of whatever it ran into. */
static void end(struct td_context *ctx, struct recording *recording, uint32_t number, td_origin origin, int count,
                const uint32_t *out)
{
    td_session *s = ctx->function->session;
    recording_end(s, recording, number, origin, count, out);
    if (!ctx->trace->cause)
        ctx->trace->cause = recording->cause;
    else
        cause_unref(recording->cause);
}

static void trace_forward(struct td_context *ctx, td_origin origin)
{
    struct td_function *f = ctx->function;
    struct trace *trace = ctx->trace;
    td_session *s = f->session;
    td_tensor in[TD_FUNCTION_TENSORS], out[TD_FUNCTION_TENSORS] = {{0}};
    uint32_t handles[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED];
    struct recording recording;
    td_guard scope, no_grad;
    td_scope_begin(s, &scope);
    td_no_grad_begin(s, &no_grad);
    ctx->forward = true;
    begin(ctx, &recording, trace->forward, origin, f->given.inputs, trace->in, in);
    f->given.forward(ctx, in, out);
    session_enter(s);
    for (int k = 0; k < f->given.outputs; k++) {
        handles[k] = given_handle(ctx, out[k], "output", k, &trace->out[k]);
        trace->flags |= (function_fixes(ctx, out[k]) ? 1u : 0u) << (TD_APPLY_FLAGS + k);
    }
    for (int k = 0; k < ctx->saved_count; k++)
        handles[f->given.outputs + k] = given_handle(ctx, ctx->saved[k], "saved tensor", k, &trace->saved[k]);
    trace->saved_count = ctx->saved_count;
    end(ctx, &recording, trace->forward, origin, f->given.outputs + ctx->saved_count, handles);
    session_leave(s);
    td_guard_end(&no_grad);
    td_guard_end(&scope);
}

/* The gradient of input k as backward gave it: 0 where none is needed. */
static uint32_t check_gradient(struct td_context *ctx, td_tensor gradient, int k)
{
    struct td_meta meta;
    const struct td_meta *due = &ctx->trace->in[k];
    char given[TD_SHAPE_TEXT], wanted[TD_SHAPE_TEXT];
    if (!(ctx->trace->needs >> k & 1))
        return 0;
    if (!gradient.session) {
        td_fail(&ctx->failure, TD_E_GRAD, "backward gave no gradient for input %d, which requires one", k);
        td_hint(&ctx->failure, "Give td_zeros_like(x) where it is 0, or detach the input.");
        return 0;
    }
    uint32_t handle = given_handle(ctx, gradient, "gradient", k, &meta);
    if (!handle || (td_meta_same_shape(&meta, due) && meta.dtype == due->dtype))
        return handle;
    td_fail(&ctx->failure, TD_E_SHAPE, "backward gave %s %s as the gradient of input %d, which is %s %s",
            td_dtype_name(meta.dtype), td_shape_text(meta.rank, meta.shape, given, sizeof given), k,
            td_dtype_name(due->dtype), td_shape_text(due->rank, due->shape, wanted, sizeof wanted));
    td_hint(&ctx->failure, "A gradient has the shape and dtype of what it is of; td_sum over broadcast dimensions.");
    return 0;
}

/* A second derivative goes through what backward computes: functions that it applies need a backward, too. */
static void will_be_derived(struct td_session *s, int count, const td_tensor *tensors)
{
    session_enter(s);
    for (int k = 0; k < count; k++) {
        struct entry *e = handles_find(s, tensors[k]);
        if (!e || td_dtype_category(e->meta.dtype) != TD_FLOATING)
            continue;
        e->flags |= ENTRY_REQUIRES_GRAD;
        e->flags &= ~(uint32_t)ENTRY_LEAF;
    }
    session_leave(s);
}

static void trace_backward(struct td_context *ctx, td_origin origin)
{
    struct td_function *f = ctx->function;
    struct trace *trace = ctx->trace;
    td_session *s = f->session;
    struct td_meta metas[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED];
    td_tensor in[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED], gradients[TD_FUNCTION_TENSORS] = {{0}};
    uint32_t handles[TD_FUNCTION_TENSORS];
    struct recording recording;
    td_guard scope;
    for (int k = 0; k < f->given.outputs; k++) {
        metas[k] = trace->out[k];
        metas[k].offset = 0;
        td_contiguous_strides(metas[k].rank, metas[k].shape, metas[k].stride);
    }
    memcpy(metas + f->given.outputs, trace->saved, (size_t)trace->saved_count * sizeof *metas);
    td_scope_begin(s, &scope);
    ctx->forward = false;
    ctx->saved_count = trace->saved_count;
    begin(ctx, &recording, trace->backward, origin, f->given.outputs + trace->saved_count, metas, in);
    if (!trace->once)
        will_be_derived(s, f->given.outputs + trace->saved_count, in);
    memcpy(ctx->saved, in + f->given.outputs, (size_t)trace->saved_count * sizeof *in);
    if (f->given.backward)
        f->given.backward(ctx, in, gradients);
    session_enter(s);
    for (int k = 0; k < f->given.inputs; k++)
        handles[k] = check_gradient(ctx, gradients[k], k);
    end(ctx, &recording, trace->backward, origin, f->given.inputs, handles);
    session_leave(s);
    td_guard_end(&scope);
}

static bool matches(const struct td_function *f, const struct trace *trace, const struct trace *wanted,
                    const void *attributes)
{
    size_t bytes = f->given.attributes;
    if (trace->needs != wanted->needs || trace->once != wanted->once ||
        (bytes && memcmp(trace->attributes, attributes, bytes)))
        return false;
    for (int k = 0; k < f->given.inputs; k++) {
        const struct td_meta *a = &trace->in[k], *b = &wanted->in[k];
        if (a->dtype != b->dtype || !td_meta_same_shape(a, b) ||
            memcmp(a->stride, b->stride, a->rank * sizeof *a->stride))
            return false;
    }
    return true;
}

/* Why the function cannot be traced for wanted while it is being traced. */
static int check_depth(const struct td_function *f, const struct trace *wanted, const void *attributes,
                       struct td_failure *failure)
{
    int depth = 0;
    for (const struct trace *trace = f->in_work; trace && !failure->code; trace = trace->next)
        if (matches(f, trace, wanted, attributes))
            td_fail(failure, TD_E_ARGUMENT, "applies itself to inputs of the same kind, which has no end");
        else if (++depth == FUNCTION_DEPTH_MAX)
            td_fail(failure, TD_E_LIMIT, "applies itself within itself %d times", FUNCTION_DEPTH_MAX);
    return failure->code;
}

/* The trace for inputs like those of wanted, made now if there is none. Without the lock. */
static struct trace *find_trace(struct td_function *f, struct trace *wanted, const void *attributes, td_origin origin)
{
    td_session *s = f->session;
    /* One whose backward applies the function itself ends there: its own derivative is an error. */
    wanted->once = wanted->needs && (f->given.once_differentiable || f->in_work);
    for (struct trace *trace = f->traces; trace; trace = trace->next)
        if (matches(f, trace, wanted, attributes))
            return trace;
    struct trace *trace = malloc(sizeof *trace);
    struct td_context *ctx = calloc(1, sizeof *ctx);
    if (!trace || !ctx)
        abort(); /* a few kilobytes are not to be had */
    *trace = *wanted;
    if (!(trace->attributes = malloc(f->given.attributes + 1)))
        abort();
    if (f->given.attributes)
        memcpy(trace->attributes, attributes, f->given.attributes);
    trace->flags = trace->once ? TD_APPLY_ONCE : 0;
    trace->forward = recording_number(s);
    trace->backward = trace->needs ? recording_number(s) : 0;
    *ctx = (struct td_context){.function = f, .trace = trace, .attributes = trace->attributes, .needs = trace->needs};
    bool ends = check_depth(f, trace, attributes, &ctx->failure) == TD_E_OK;
    trace->next = f->in_work;
    f->in_work = trace;
    if (ends)
        trace_forward(ctx, origin);
    else
        trace->forward = 0;
    if (trace->backward && !f->given.backward && !trace->cause) {
        td_fail(&ctx->failure, TD_E_GRAD, "has no .backward, and an input requires a gradient");
        td_hint(&ctx->failure, "Give it one, or apply it under TD_NO_GRAD.");
    }
    if (trace->backward && !trace->cause && !ctx->failure.code)
        trace_backward(ctx, origin);
    else
        trace->backward = 0;
    if (ctx->failure.code && !trace->cause)
        trace->cause = function_cause(ctx, origin);
    free(ctx);
    f->in_work = trace->next;
    trace->next = f->traces;
    f->traces = trace;
    return trace;
}

/* ---- applying ---- */

/* What the inputs are; NULL, or why they cannot be applied to, with one reference. */
static struct cause *look(struct td_function *f, td_list inputs, struct trace *wanted, td_origin origin)
{
    td_session *s = f->session;
    struct td_failure failure = {0};
    if (s->dead)
        return cause_ref(s->dead);
    if (f->freed)
        td_fail(&failure, TD_E_HANDLE, "%s: is applied after td_function_free", f->name);
    else if (!f->given.forward)
        td_fail(&failure, TD_E_ARGUMENT, "%s: was made without a .forward", f->name);
    else if (inputs.count != f->given.inputs)
        td_fail(&failure, TD_E_ARGUMENT, "%s: %lld inputs where .inputs is %d", f->name, (long long)inputs.count,
                f->given.inputs);
    for (int k = 0; !failure.code && k < f->given.inputs; k++) {
        const struct entry *e =
            f->given.called_back ? handles_find(s, inputs.items[k]) : layout_learn(s, inputs.items[k], origin);
        if (e && e->cause)
            return cause_ref(e->cause);
        if (!e) {
            td_fail(&failure, TD_E_HANDLE, "%s: input %d %s", f->name, k,
                    inputs.items[k].session == s ? "is used after it was released" : "is no tensor of this session");
            break;
        }
        wanted->in[k] = e->meta;
        wanted->needs |= (scope_grad_mode(s) && autograd_requires(e) ? 1u : 0u) << k;
    }
    return failure.code ? cause_new(&failure, f->name, origin.where, s->wire.requests) : NULL;
}

uint32_t function_output(struct td_function *f, const struct trace *trace, int k)
{
    td_session *s = f->session;
    td_tensor x = recording_placeholder(s, &trace->out[k]);
    if (!x.handle)
        return 0;
    struct entry *e = &s->handles.entries[x.handle];
    bool floats = td_dtype_category(e->meta.dtype) == TD_FLOATING;
    e->meta.offset = trace->out[k].offset;
    e->maker = &f->op;
    e->flags &= ~(uint32_t)ENTRY_LEAF;
    if (trace->needs && floats && !(trace->flags >> (TD_APPLY_FLAGS + k) & 1))
        e->flags |= ENTRY_REQUIRES_GRAD;
    return x.handle;
}

struct cause *function_no_handle(const struct td_function *f, td_origin origin)
{
    struct td_failure failure = {0};
    td_fail(&failure, TD_E_LIMIT, "%s: no handle is left of %u", f->name, f->session->handles.limit);
    return cause_new(&failure, f->name, origin.where, f->session->wire.requests);
}

static void send_apply(struct td_function *f, const struct trace *trace, td_list inputs, const uint32_t *out,
                       td_origin origin)
{
    td_session *s = f->session;
    int in_count = f->given.inputs, out_count = f->given.outputs;
    uint32_t site = site_number(s, origin.where);
    uint8_t *at = request_begin(s, 64 + (size_t)(in_count + out_count) * TD_WIRE_MAX);
    if (!at)
        return;
    at =
        request_head(at, scope_grad_mode(s) ? TD_FLAG_GRAD : 0, site, 5 + (uint32_t)(in_count + out_count), TD_R_APPLY);
    at = td_write_uint(at, trace->forward);
    at = trace->backward ? td_write_uint(at, trace->backward) : td_write_nil(at);
    at = td_write_uint(td_write_uint(at, trace->flags), (uint64_t)in_count);
    for (int k = 0; k < in_count; k++)
        at = td_write_uint(at, inputs.items[k].handle);
    for (int k = 0; k < out_count; k++)
        at = td_write_uint(at, out[k]);
    request_end(s, at);
}

/* Runs the function's trace for inputs like those; outputs, or why there are none. Without the lock. */
static struct cause *traced_apply(struct td_function *f, struct trace *wanted, td_list inputs, const void *attributes,
                                  td_origin origin, td_tensor *outputs)
{
    uint32_t out[TD_FUNCTION_TENSORS];
    td_session *s = f->session;
    struct trace *trace = find_trace(f, wanted, attributes, origin);
    session_enter(s);
    struct cause *cause = cause_ref(trace->cause);
    for (int k = 0; k < f->given.outputs && !cause; k++) {
        if ((out[k] = function_output(f, trace, k))) {
            outputs[k] = handles_tensor(s, out[k], true);
            continue;
        }
        cause = function_no_handle(f, origin);
        while (k-- > 0)
            handles_drop(&s->handles, out[k]);
        break;
    }
    if (!cause)
        send_apply(f, trace, inputs, out, origin);
    session_leave(s);
    return cause;
}

void td_apply_to_at(td_origin origin, td_function *f, td_list inputs, td_tensor *outputs,
                    const struct td_apply_keywords *keywords)
{
    struct trace wanted = {0};
    bool calls[TD_FUNCTION_TENSORS];
    const void *attributes = keywords ? keywords->attributes : NULL;
    td_session *s = f->session;
    struct td_failure failure = {0};
    if (!s)
        return;
    session_enter(s);
    if (f->epoch != s->wire.epoch) { /* the daemon that had the traces was lost */
        drop_traces(f);
        f->epoch = s->wire.epoch;
    }
    struct cause *cause = look(f, inputs, &wanted, origin);
    if (!cause && f->given.attributes && !attributes) {
        td_fail(&failure, TD_E_ARGUMENT, "%s: no .attributes were given", f->name);
        cause = cause_new(&failure, f->name, origin.where, s->wire.requests);
    }
    session_leave(s);
    if (!cause)
        cause = (f->given.called_back ? called_apply : traced_apply)(f, &wanted, inputs, attributes, origin, outputs);
    session_enter(s);
    if (cause) {
        error_raise(s, cause);
        for (int k = 0; k < f->given.outputs; k++)
            outputs[k] = handles_failed(s, cause_ref(cause));
    }
    if (inputs.count > 0 && inputs.count <= TD_FUNCTION_TENSORS) {
        list_calls(&inputs, calls);
        for (int k = 0; k < inputs.count; k++)
            if (calls[k] && inputs.items[k].generation & FRESH && handles_find(s, inputs.items[k]))
                request_release(s, inputs.items[k].handle);
    }
    cause_unref(cause);
    call_check(s, origin);
    session_leave(s);
}

td_tensor td_apply_at(td_origin origin, td_function *f, td_list inputs)
{
    td_tensor outputs[TD_FUNCTION_TENSORS] = {{0}};
    td_apply_to_at(origin, f, inputs, outputs, NULL);
    if (f->session)
        for (int k = 1; k < f->given.outputs; k++)
            td_release_at((td_origin){0}, outputs[k]);
    return outputs[0];
}

td_function *(td_function_new)(td_session *s, const char *name, const struct td_function_keywords *keywords)
{
    return td_function_new_at((td_origin){0}, s, name, keywords);
}

void(td_apply_to)(td_function *function, td_list inputs, td_tensor *outputs, const struct td_apply_keywords *keywords)
{
    td_apply_to_at((td_origin){0}, function, inputs, outputs, keywords);
}

void(td_save_for_backward)(td_context *ctx, td_list tensors)
{
    td_save_for_backward_at((td_origin){0}, ctx, tensors);
}
