/* The call of an op: its operands looked up, inference, the request, and what is known of the result.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Operands of most ops; optimiser steps have more, which then lie on the heap. */
#define FEW 8

struct call {
    const struct client_op *given;
    const struct td_op *op;
    struct td_op named; /* the row under the name that was called */
    td_session *session;
    struct td_meta *metas;
    struct td_input *inputs;
    struct entry **entries; /* NULL: a number. Of the table: good until a handle is taken */
    struct td_inference inferred;
    struct td_failure failure;
    struct cause *cause;       /* of a refusal */
    bool recording, inference; /* the modes */
    bool from_inference;       /* an input was made in inference mode */
    bool vague;                /* an input, or a SIZE, is unknown: of the results rank and dtype are found only */
};

bool consumes(td_origin origin, td_tensor x, int k)
{
    return k < 32 && origin.consume >> k & 1 && x.generation & FRESH;
}

static bool is_tensor(const td_operand *operand)
{
    return operand->number.category < 0;
}

struct td_number client_keyword_number(double value)
{
    /* A whole step does not make a range of integers one of floats. */
    if (value >= -9e15 && value <= 9e15 && value == (double)(int64_t)value)
        return td_number_of_integer((int64_t)value);
    return td_number_of_real(value);
}

/* Whether input k may be left out: no list stands before one that may. */
static bool is_optional(const struct td_op *op, int k)
{
    const struct td_param *p = op->params;
    while (p->kind && k >= td_param_is_tensor(p->kind))
        k -= td_param_is_tensor(p++->kind);
    return p->kind == TD_PARAM_OPT;
}

static int lookup_tensor(struct call *c, int k, td_tensor x)
{
    struct entry *e = handles_find(c->session, x);
    c->entries[k] = e;
    if (!x.session && is_optional(c->op, k)) {
        c->metas[k] = (struct td_meta){.scalar = true};
        c->inputs[k].kind = TD_INPUT_NONE;
        return TD_E_OK;
    }
    char name[TD_INPUT_TEXT];
    if (!e)
        td_input_name(c->op, c->given->list_counts, k, name);
    if (!e && x.session == c->session && x.handle == 0) {
        td_fail(&c->failure, TD_E_LIMIT, "%s: %s was never made, as no handle was left", c->op->name, name);
        return td_hint(&c->failure, "A TD_SCOPE around the body of a loop releases what it makes.");
    }
    if (!e && x.session == c->session) {
        td_fail(&c->failure, TD_E_HANDLE, "%s: %s is used after it was released", c->op->name, name);
        return td_hint(&c->failure, "A tensor ends with its TD_SCOPE, by td_release, or used up by td_take.");
    }
    if (!e) {
        td_fail(&c->failure, TD_E_HANDLE, "%s: %s %s", c->op->name, name,
                x.session ? "belongs to another session" : "is a tensor that was never made");
        return c->failure.code;
    }
    if (e->cause && !c->cause)
        c->cause = cause_ref(e->cause);
    c->metas[k] = e->meta;
    c->vague |= (e->flags & ENTRY_UNKNOWN) != 0;
    c->from_inference |= (e->flags & ENTRY_INFERENCE) != 0;
    c->inputs[k].kind = TD_INPUT_HANDLE;
    c->inputs[k].handle = x.handle;
    return TD_E_OK;
}

static void lookup(struct call *c)
{
    c->vague = td_op_is_sized(c->op);
    for (int k = 0; k < c->given->in_count; k++) {
        const td_operand *operand = &c->given->in[k];
        c->entries[k] = NULL;
        if (is_tensor(operand)) {
            lookup_tensor(c, k, operand->tensor);
            continue;
        }
        struct td_number n = operand->number;
        c->metas[k] = (struct td_meta){.dtype = td_dtype_of_number(n), .scalar = true};
        c->inputs[k] = (struct td_input){.kind = TD_INPUT_NUMBER, .number = n};
    }
}

/* "; b is fc1.weight" behind the message of a refusal. */
static void add_names(struct call *c)
{
    char *message = c->failure.message;
    int k = 0;
    for (const struct td_param *p = c->op->params; p->kind && !td_param_is_list(p->kind); p++) {
        if (!td_param_is_tensor(p->kind))
            continue;
        const struct entry *e = k < c->given->in_count ? c->entries[k++] : NULL;
        size_t used = strlen(message);
        if (e && e->name)
            snprintf(message + used, TD_MESSAGE_BYTES - used, "; %s is %s", p->name, e->name);
    }
}

bool call_refuses_result(const char *name, const char *parameter, const struct td_meta *target,
                         const struct td_meta *result, bool vague, struct td_failure *failure)
{
    char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT];
    if (!vague && !td_meta_same_shape(target, result)) {
        td_fail(failure, TD_E_SHAPE, "%s: a result of shape %s does not fit into the target's shape %s", name,
                td_shape_text(result->rank, result->shape, a, sizeof a),
                td_shape_text(target->rank, target->shape, b, sizeof b));
        td_hint(failure, "A target keeps its shape; only the other operands are broadcast.");
    } else if (!td_dtype_can_cast(result->dtype, target->dtype)) {
        td_fail(failure, TD_E_DTYPE, "%s: a result of %s does not go into a tensor of %s", name,
                td_dtype_name(result->dtype), td_dtype_name(target->dtype));
        td_hint(failure, "td_to(%s, %s) makes a tensor that holds it.", parameter, td_dtype_constant(result->dtype));
    }
    return failure->code != TD_E_OK;
}

static void check_lists(struct call *c)
{
    int list = 0;
    for (const struct td_param *p = c->op->params; p->kind; p++) {
        if (td_param_is_list(p->kind) && c->given->list_counts[list++] > TD_LIST_MAX)
            td_fail(&c->failure, TD_E_LIMIT, "%s: %s are more than %d tensors", c->op->name, p->name, TD_LIST_MAX);
    }
}

/* Whether the result may be written into the first tensor. */
static void check_in_place(struct call *c)
{
    const struct td_meta *target = &c->metas[0];
    struct td_op write = *td_op_of(TD_OP_copy_); /* what is recorded, under the name that was written */
    write.name = c->op->name;
    if (call_refuses_result(c->op->name, c->op->params[0].name, target, &c->inferred.out[0], c->vague, &c->failure))
        return;
    if (!c->vague && td_meta_overlaps_itself(target)) {
        td_fail(&c->failure, TD_E_ARGUMENT, "%s: the target's elements share memory with each other", c->op->name);
        td_hint(&c->failure, "Write to a clone of the expanded tensor instead.");
    } else if (c->recording) {
        autograd_check_write(&write, c->entries, &c->failure);
    }
}

static int infer(struct call *c)
{
    c->inferred.op = c->op;
    c->inferred.in = c->metas;
    c->inferred.in_count = c->given->in_count;
    c->inferred.list_counts = c->given->list_counts;
    c->inferred.attrs = c->given->attrs;
    c->inferred.size = 1;
    c->inferred.failure = &c->failure;
    return td_infer(&c->inferred);
}

/* Whether an unknown layout decides more than sizes. */
static bool must_know(const struct call *c)
{
    for (int k = 0; k < c->given->in_count; k++)
        if (c->entries[k] && c->entries[k]->flags & ENTRY_UNKNOWN && layout_decides(c->op, c->entries[k]))
            return true;
    return false;
}

/* Asks for all layouts that are unknown; waits. */
static void learn(struct call *c)
{
    c->failure.code = TD_E_OK;
    for (int k = 0; k < c->given->in_count; k++)
        if (is_tensor(&c->given->in[k]))
            layout_learn(c->session, c->given->in[k].tensor, c->given->origin);
    lookup(c);
}

/* Inference by what stands in for unknown sizes says rank and dtype if it succeeds, and if it refuses a dtype it is
 * right. Other refusals say nothing: the layouts are asked for. */
static int infer_with_unknown(struct call *c)
{
    bool unknown = false;
    for (int k = 0; k < c->given->in_count; k++)
        unknown |= c->entries[k] && c->entries[k]->flags & ENTRY_UNKNOWN;
    if (!must_know(c)) {
        int failed = infer(c);
        if (!unknown || !failed || failed == TD_E_DTYPE)
            return failed;
    }
    learn(c);
    return c->cause || c->failure.code ? c->failure.code : infer(c);
}

/* Whether the call can be sent; if not, cause is set. */
static bool accepted(struct call *c)
{
    struct td_session *s = c->session;
    lookup(c);
    check_lists(c);
    if (s->recording)
        recording_check(s, c->op, &c->failure);
    if (s->dead && !c->cause)
        c->cause = cause_ref(s->dead);
    if (!c->cause && !c->failure.code) {
        int failed = c->vague ? infer_with_unknown(c) : infer(c);
        if (!failed && !c->cause && c->recording)
            autograd_check_write(c->op, c->entries, &c->failure);
        if (!failed && !c->cause && c->from_inference && !c->inference)
            autograd_check_inference(c->op, c->entries, c->given->in_count, c->recording, &c->failure);
        if (!c->failure.code && !c->cause && c->given->in_place)
            check_in_place(c);
        if (!c->failure.code && !c->cause && c->op->id == TD_OP_as_strided && !c->vague)
            rebinding_check_window(c->op, c->entries[0], &c->inferred.out[0], &c->failure);
        if (!c->failure.code && !c->cause && c->given->rebinds)
            rebinding_check(s, c->op, c->entries, c->recording, &c->failure);
        if (!c->failure.code && !c->cause && c->given->requires_grad &&
            td_dtype_category(c->inferred.out[0].dtype) != TD_FLOATING) {
            td_fail(&c->failure, TD_E_DTYPE, "%s: %s has no gradients", c->op->name,
                    td_dtype_name(c->inferred.out[0].dtype));
            td_hint(&c->failure, "Give .dtype = TD_F32, or leave .requires_grad out.");
        }
        if (c->failure.code)
            add_names(c);
    }
    if (c->failure.code && !c->cause)
        c->cause = cause_new(&c->failure, c->op->name, c->given->origin.where, s->wire.requests);
    return !c->cause && !c->failure.code;
}

/* Whether the call's text says that input k is used up. */
static bool written_inside(const struct call *c, int k)
{
    td_tensor x = c->given->in[k].tensor;
    return c->given->used_up ? c->given->used_up[k] && x.generation & FRESH : consumes(c->given->origin, x, k);
}

static bool consumed_here(const struct call *c, int k)
{
    const td_operand *operand = &c->given->in[k];
    /* The target of an in-place op is what the call returns: it goes on, as fresh as it was. */
    bool target = k == 0 && (c->op->kind == TD_INPLACE || c->given->rebinds);
    if (!is_tensor(operand) || target || !written_inside(c, k) || !handles_find(c->session, operand->tensor))
        return false;
    for (int before = 0; before < k; before++)
        if (is_tensor(&c->given->in[before]) && c->given->in[before].tensor.handle == operand->tensor.handle)
            return false;
    return true;
}

static td_tensor target_of(const struct call *c)
{
    td_tensor target = c->given->in[0].tensor;
    if (!consumes(c->given->origin, target, 0))
        target.generation &= ~FRESH;
    return target;
}

static void refuse(struct call *c, td_tensor *results)
{
    struct td_session *s = c->session;
    error_raise(s, c->cause);
    for (int k = 0; k < c->given->in_count; k++)
        if (consumed_here(c, k))
            request_release(s, c->given->in[k].tensor.handle);
    if (c->op->kind == TD_INPLACE || c->given->rebinds)
        results[0] = target_of(c);
    for (int k = 0; k < td_op_named_outputs(c->op) && !c->given->rebinds; k++)
        results[k] = handles_failed(s, cause_ref(c->cause));
}

/* A handle for a result, with all that is known of it; 0 if there is none left. */
static uint32_t make_result(struct call *c, int output)
{
    struct td_session *s = c->session;
    const struct td_inference *i = &c->inferred;
    uint32_t handle = handles_take(&s->handles);
    if (!handle)
        return 0;
    for (int k = 0; k < c->given->in_count; k++) /* the table may have moved */
        if (is_tensor(&c->given->in[k]))
            c->entries[k] = handles_find(s, c->given->in[k].tensor);
    struct entry *e = &s->handles.entries[handle];
    if (!entry_set_storage(&s->handles, e, i->shares >= 0 ? c->entries[i->shares]->storage : NULL)) {
        handles_drop(&s->handles, handle);
        return 0;
    }
    if (i->shares < 0 && !c->vague)
        e->storage->bytes = (int64_t)td_meta_bytes(&i->out[output]);
    e->meta = i->out[output];
    e->meta.scalar = false;
    e->maker = td_op_of(c->given->id);
    autograd_note(c->op, e, c->entries, c->given->in_count, i->shares, c->recording);
    if (c->vague)
        layout_note(c->op, e, c->entries, c->given->in_count, i->shares);
    if (c->inference && i->shares < 0)
        e->flags |= ENTRY_INFERENCE;
    if (c->given->requires_grad)
        e->flags |= ENTRY_REQUIRES_GRAD | ENTRY_LEAF;
    if (c->given->owned)
        e->flags |= ENTRY_OWNED;
    else
        scope_add(s, handle);
    return handle;
}

static void send(struct call *c, const uint32_t *out)
{
    struct td_session *s = c->session;
    const struct client_op *given = c->given;
    uint32_t flags = c->recording ? TD_FLAG_GRAD : 0;
    uint32_t site = site_within(s, given->origin.where, c->op == &c->named ? c->named.name : NULL);
    if (given->requires_grad)
        flags |= TD_FLAG_REQUIRES_GRAD;
    int in_count = given->origin.consume || given->used_up ? given->in_count : 0; /* that may be used up */
    for (int k = 0; k < in_count && k < TD_CONSUME_MAX; k++)
        if (consumed_here(c, k))
            flags |= TD_FLAG_CONSUME(k);
    uint32_t more = given->rebinds ? TD_FLAG_CONSUME(0) : 0; /* to the daemon the handle ends, and is the result's */
    uint8_t *at = request_begin(s, td_call_bound(given->in_count));
    if (at)
        request_end(s, td_call_encode(at, c->op, flags | more, site, out, c->inputs, given->list_counts, given->attrs));
    for (int k = 0; k < in_count; k++) {
        if (k < TD_CONSUME_MAX && flags & TD_FLAG_CONSUME(k))
            request_used_up(s, given->in[k].tensor.handle);
        else if (k >= TD_CONSUME_MAX && consumed_here(c, k))
            request_release(s, given->in[k].tensor.handle);
    }
}

static void upload(struct call *c, uint32_t handle)
{
    const char *data = c->given->data;
    size_t bytes = td_meta_bytes(&c->inferred.out[0]), chunk;
    if (hosts_upload(c->session, handle, data, bytes, c->given->non_blocking, c->given->origin))
        return;
    for (size_t done = 0; done < bytes; done += chunk) {
        chunk = bytes - done < TD_CHUNK_MAX ? bytes - done : TD_CHUNK_MAX;
        if (!request_upload(c->session, handle, done, data + done, chunk))
            return;
    }
}

void call_check(struct td_session *s, td_origin origin)
{
    (void)origin;
    if (!s->sync || s->dead)
        return;
    struct wait wait = {0};
    uint64_t before = s->wire.requests;
    if (request_wait(s, TD_R_BARRIER, &wait) && wait.error && (!s->standing || wait.error->request >= before))
        error_raise(s, wait.error);
    cause_unref(wait.error);
}

/* Handles for all results; false, with none left over, if there are too few. */
static bool make_results(struct call *c, uint32_t *out)
{
    for (int k = 0; k < td_op_named_outputs(c->op); k++) {
        if ((out[k] = make_result(c, k)))
            continue;
        while (k-- > 0)
            handles_drop(&c->session->handles, out[k]);
        return false;
    }
    return true;
}

static void execute(struct call *c, td_tensor *results)
{
    struct td_session *s = c->session;
    uint32_t out[TD_OUTPUTS_MAX] = {0};
    c->inference = scope_inference_mode(s);
    c->recording = scope_grad_mode(s) && !c->given->owned && c->op->kind != TD_STEP;
    if (!accepted(c)) {
        refuse(c, results);
        return;
    }
    if (c->given->rebinds) {
        out[0] = c->given->in[0].tensor.handle;
        rebinding_note(c->op, c->entries, &c->inferred.out[0], c->recording, c->vague);
    } else if (!make_results(c, out)) {
        td_fail(&c->failure, TD_E_LIMIT, "%s: no handle is left of %u", c->op->name, s->handles.limit);
        td_hint(&c->failure, "A TD_SCOPE around the body of a loop releases what it makes.");
        c->cause = cause_new(&c->failure, c->op->name, c->given->origin.where, s->wire.requests);
        refuse(c, results);
        return;
    }
    uint32_t epoch = s->wire.epoch;
    if (c->op->kind == TD_INPLACE)
        autograd_note(c->op, c->entries[0], c->entries, c->given->in_count, 0, c->recording);
    for (int k = 0; k < td_op_named_outputs(c->op); k++)
        results[k] = handles_tensor(s, out[k], true);
    if (c->op->kind == TD_INPLACE || c->given->rebinds)
        results[0] = target_of(c);
    send(c, out);
    if (c->given->data && epoch == s->wire.epoch)
        upload(c, out[0]);
    call_check(s, c->given->origin);
}

static bool allocate(struct call *c, int count)
{
    c->metas = malloc((size_t)count * sizeof *c->metas);
    c->inputs = malloc((size_t)count * sizeof *c->inputs);
    c->entries = malloc((size_t)count * sizeof *c->entries);
    return c->metas && c->inputs && c->entries;
}

static void release(struct call *c)
{
    free(c->metas);
    free(c->inputs);
    free(c->entries);
}

static __thread const char *speaker;

bool client_speaks_for(const char *name)
{
    bool first = !speaker;
    speaker = first ? name : speaker;
    return first;
}

void client_silent(const bool *speaks)
{
    speaker = *speaks ? NULL : speaker;
}

const char *client_speaker(const char *name)
{
    return speaker ? speaker : name;
}

void client_ops(const struct client_op *given, td_tensor *results)
{
    struct td_meta metas[FEW];
    struct td_input inputs[FEW];
    struct entry *entries[FEW];
    if (given->lists) {
        client_lists(given, results);
        return;
    }
    struct call c; /* member by member: what inference finds need not be cleared first */
    c.given = given;
    c.op = td_op_of(given->id);
    const char *name = client_speaker(given->name);
    if (name) {
        c.named = *c.op;
        c.named.name = name;
        c.op = &c.named;
    }
    c.session = given->session;
    c.metas = metas;
    c.inputs = inputs;
    c.entries = entries;
    c.failure.code = TD_E_OK;
    c.cause = NULL;
    c.recording = c.vague = c.inference = c.from_inference = false;
    for (int k = 0; k < c.op->output_count; k++)
        results[k] = (td_tensor){given->session, 0, 0};
    for (int k = 0; k < given->in_count && !c.session; k++)
        c.session = is_tensor(&given->in[k]) ? given->in[k].tensor.session : NULL;
    if (!c.session) {
        fprintf(stderr, "%s: %s: no input was ever made\n", given->origin.where ? given->origin.where : "tensord",
                c.op->name);
        return;
    }
    if (given->in_count > FEW && !allocate(&c, given->in_count)) {
        release(&c);
        return;
    }
    session_enter(c.session);
    execute(&c, results);
    session_leave(c.session);
    cause_unref(c.cause);
    if (given->in_count > FEW)
        release(&c);
}

td_tensor client_op(const struct client_op *given)
{
    td_tensor results[TD_OUTPUTS_MAX];
    results[0] = (td_tensor){0}; /* what a step, which has none, returns */
    client_ops(given, results);
    return results[0];
}

td_tensor client_in_place(const struct client_op *given)
{
    struct client_op op = *given;
    char name[64];
    snprintf(name, sizeof name, "%s_", td_op_of(given->id)->name);
    op.name = name;
    op.in_place = true;
    op.origin.consume &= ~1u; /* the target goes on */
    td_operand in[] = {given->in[0], td_operand_of_tensor(client_op(&op))};
    /* A result that failed fails the copy too, before anything is sent, and is released with it. */
    return client_op(&(struct client_op){.id = TD_OP_copy_,
                                         .name = name,
                                         .origin = {given->origin.where, (given->origin.consume & 1u) | 2u},
                                         .in = in,
                                         .in_count = 2});
}

td_tensor td_from_at(td_origin origin, const struct td_from_arguments *a)
{
    struct td_from_attrs attrs = {.shape = a->shape, .dtype = a->dtype};
    bool has = a->data != NULL || td_checked_numel((int)a->shape.count, a->shape.v) == 0;
    if (!has || a->shape.count < 0) /* refused by inference: nothing says how many elements there are */
        attrs.shape = (struct td_dims){1, {-1}};
    return client_op(&(struct client_op){.id = TD_OP_from,
                                         .origin = origin,
                                         .session = a->session,
                                         .requires_grad = a->requires_grad,
                                         .attrs = &attrs,
                                         .data = a->data,
                                         .non_blocking = a->non_blocking});
}

td_tensor(td_from)(td_session *s, const void *data, enum td_dtype dtype, struct td_dims shape,
                   const struct td_from_keywords *keywords)
{
    const struct td_from_arguments arguments = {
        keywords && keywords->requires_grad, keywords && keywords->non_blocking, s, data, dtype, shape};
    return td_from_at((td_origin){0}, &arguments);
}
