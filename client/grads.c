/* Gradients that are asked for by name, and backward from several tensors: one request, that waits for nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <string.h>

/* A list of the call, and which of its tensors it uses up. */
struct given {
    const char *what;
    td_list list;
    bool used_up[TD_LIST_MAX];
};

struct question {
    const char *name;
    td_origin origin;
    td_session *session;
    uint32_t options; /* enum td_grads_option */
    bool adds;        /* nothing is asked for: the leaves' gradients are added to */
    struct given outputs, inputs, seeds;
};

static void give_list(struct given *given, const char *what, td_list list)
{
    given->what = what;
    given->list = list;
    if (list.count > 0 && list.count <= TD_LIST_MAX)
        list_calls(&list, given->used_up);
}

static void give_one(struct given *given, const char *what, const td_tensor *x, bool used_up)
{
    given->what = what;
    given->list = (td_list){x->session ? 1 : 0, x, NULL};
    given->used_up[0] = used_up;
}

/* ---- before it is sent ---- */

static int check_item(const struct question *q, const struct given *given, int64_t k, struct cause **cause,
                      struct td_failure *failure)
{
    td_tensor x = given->list.items[k];
    if (given == &q->seeds && !x.session)
        return TD_E_OK; /* left out */
    const struct entry *e = handles_find(q->session, x);
    if (e && given == &q->seeds && q->options & TD_GRADS_CREATE && e->flags & ENTRY_INFERENCE) {
        td_fail(failure, TD_E_GRAD, "%s: %s %lld was made in inference mode and cannot be recorded", q->name,
                given->what, (long long)k);
        return td_hint(failure, "td_clone(x) outside of TD_INFERENCE_MODE gives one that can be.");
    }
    if (e) {
        if (e->cause && !*cause)
            *cause = e->cause;
        return TD_E_OK;
    }
    td_fail(failure, TD_E_HANDLE, "%s: %s %lld %s", q->name, given->what, (long long)k,
            !x.session                ? "was never made"
            : x.session != q->session ? "belongs to another session"
                                      : "is used after it was released");
    return td_hint(failure, "A tensor ends with its TD_SCOPE, by td_release, or used up by td_take.");
}

static int check_list(const struct question *q, const struct given *given, struct cause **cause,
                      struct td_failure *failure)
{
    if (given->list.count < 0 || given->list.count > TD_LIST_MAX)
        return td_fail(failure, TD_E_LIMIT, "%s: %lld tensors are given as %s; the limit is %d", q->name,
                       (long long)given->list.count, given->what, TD_LIST_MAX);
    for (int64_t k = 0; k < given->list.count && !failure->code; k++)
        check_item(q, given, k, cause, failure);
    return failure->code;
}

/* What the call fails of, with a reference; NULL if it can be sent. */
static struct cause *refusal(const struct question *q)
{
    struct td_session *s = q->session;
    struct cause *cause = s->dead;
    TD_NO_FAILURE(failure);
    check_list(q, &q->outputs, &cause, &failure);
    check_list(q, &q->inputs, &cause, &failure);
    check_list(q, &q->seeds, &cause, &failure);
    if (!failure.code && q->seeds.list.count && q->seeds.list.count != q->outputs.list.count) {
        td_fail(&failure, TD_E_ARGUMENT, "%s: %lld gradients are given for %lld outputs", q->name,
                (long long)q->seeds.list.count, (long long)q->outputs.list.count);
        td_hint(&failure, "A zeroed td_tensor stands for one that is left out.");
    }
    if (!failure.code && !q->adds && q->inputs.list.count == 0) {
        td_fail(&failure, TD_E_ARGUMENT, "%s: no inputs are given", q->name);
        td_hint(&failure, "td_backward_all adds to the gradients of all leaves.");
    }
    if (failure.code)
        return cause_new(&failure, q->name, q->origin.where, s->wire.requests);
    return cause_ref(cause);
}

/* ---- sending ---- */

static uint32_t make_gradient(struct td_session *s, td_tensor input, bool recorded)
{
    uint32_t handle = handles_take(&s->handles);
    struct entry *e = handle ? &s->handles.entries[handle] : NULL;
    if (!e)
        return 0;
    if (!entry_set_storage(&s->handles, e, NULL)) {
        handles_drop(&s->handles, handle);
        return 0;
    }
    autograd_note_gradient(e, handles_find(s, input), recorded);
    scope_add(s, handle);
    return handle;
}

/* A handle for each gradient; false, with none left over, if there are too few. */
static bool make_gradients(const struct question *q, td_tensor *grads)
{
    for (int64_t k = 0; k < q->inputs.list.count; k++) {
        uint32_t handle = make_gradient(q->session, q->inputs.list.items[k], q->options & TD_GRADS_CREATE);
        if (handle) {
            grads[k] = handles_tensor(q->session, handle, true);
            continue;
        }
        while (k-- > 0)
            handles_drop(&q->session->handles, grads[k].handle);
        return false;
    }
    return true;
}

static uint8_t *write_list(uint8_t *at, int64_t count, const td_tensor *items)
{
    at = td_write_array(at, (uint32_t)count);
    for (int64_t k = 0; k < count; k++)
        at = items && items[k].session ? td_write_uint(at, items[k].handle) : td_write_nil(at);
    return at;
}

static void send(const struct question *q, const td_tensor *grads)
{
    struct td_session *s = q->session;
    int64_t outputs = q->outputs.list.count, inputs = q->inputs.list.count;
    uint32_t site = site_number(s, q->origin.where), flags = calls_flags(s), epoch = s->wire.epoch;
    uint8_t *at = request_begin(s, 64 + 2 * (size_t)(outputs + inputs) * TD_WIRE_MAX);
    if (!at)
        return;
    at = request_head(at, flags, site, 6, TD_R_GRADS);
    at = write_list(at, outputs, q->outputs.list.items);
    at = write_list(at, outputs, q->seeds.list.count ? q->seeds.list.items : NULL);
    at = write_list(at, inputs, q->inputs.list.items);
    at = write_list(at, inputs, grads);
    request_end(s, td_write_uint(at, q->options));
    calls_wait(s, flags, epoch);
}

static void use_up(const struct question *q, const struct given *given)
{
    for (int64_t k = 0; k < given->list.count && given->list.count <= TD_LIST_MAX; k++) {
        td_tensor x = given->list.items[k];
        if (given->used_up[k] && x.generation & FRESH && handles_find(q->session, x))
            request_release(q->session, x.handle);
    }
}

/* Takes the lock itself. */
static void ask(struct question *q, td_tensor *grads)
{
    struct td_session *s = q->outputs.list.count > 0 ? q->outputs.list.items[0].session : NULL;
    q->name = client_speaker(q->name);
    q->session = s;
    if (!s) {
        fprintf(stderr, "%s: %s: no output was ever made\n", q->origin.where ? q->origin.where : "tensord", q->name);
        for (int64_t k = 0; k < q->inputs.list.count; k++)
            grads[k] = (td_tensor){0};
        return;
    }
    session_enter(s);
    struct cause *cause = refusal(q);
    if (!cause && !make_gradients(q, grads)) {
        TD_NO_FAILURE(failure);
        td_fail(&failure, TD_E_LIMIT, "%s: no handle is left of %u", q->name, s->handles.limit);
        td_hint(&failure, "A TD_SCOPE around the body of a loop releases what it makes.");
        cause = cause_new(&failure, q->name, q->origin.where, s->wire.requests);
    }
    if (cause) {
        error_raise(s, cause);
        for (int64_t k = 0; k < q->inputs.list.count; k++)
            grads[k] = handles_failed(s, cause_ref(cause));
        cause_unref(cause);
    } else {
        send(q, grads);
    }
    use_up(q, &q->outputs);
    use_up(q, &q->inputs);
    use_up(q, &q->seeds);
    if (!cause)
        call_check(s, q->origin);
    session_leave(s);
}

static uint32_t options_of(bool retain, bool create, bool allow_unused)
{
    return (retain ? TD_GRADS_RETAIN : 0) | (create ? TD_GRADS_CREATE : 0) | (allow_unused ? TD_GRADS_ZEROS : 0);
}

/* ---- what the program calls ---- */

td_tensor grads_ask(const char *name, td_origin origin, td_tensor output, td_tensor input, td_tensor seed,
                    uint32_t options)
{
    td_tensor gradient = {0};
    struct question q;
    q.name = name;
    q.origin = origin;
    q.adds = false;
    q.options = options;
    give_one(&q.outputs, "output", &output, origin.consume & 1);
    give_one(&q.inputs, "input", &input, origin.consume >> 1 & 1);
    give_one(&q.seeds, "the gradient of output", &seed, origin.consume >> 2 & 1);
    q.inputs.list.count = 1; /* also one that was never made, which is refused */
    ask(&q, &gradient);
    return gradient;
}

td_tensor td_grad_of_at(td_origin origin, td_tensor output, td_tensor input, const struct td_grad_of_keywords *keywords)
{
    static const struct td_grad_of_keywords defaults = {0};
    const struct td_grad_of_keywords *k = keywords ? keywords : &defaults;
    return grads_ask("grad_of", origin, output, input, k->grad_outputs,
                     options_of(k->retain_graph, k->create_graph, k->allow_unused));
}

void td_grads_of_at(td_origin origin, td_list outputs, td_list inputs, td_tensor *grads,
                    const struct td_grads_of_keywords *keywords)
{
    static const struct td_grads_of_keywords defaults = {0};
    const struct td_grads_of_keywords *k = keywords ? keywords : &defaults;
    struct question q;
    q.name = "grads_of";
    q.origin = origin;
    q.adds = false;
    q.options = options_of(k->retain_graph, k->create_graph, k->allow_unused);
    give_list(&q.outputs, "output", outputs);
    give_list(&q.inputs, "input", inputs);
    give_list(&q.seeds, "the gradient of output", k->grad_outputs);
    ask(&q, grads);
}

void td_backward_all_at(td_origin origin, td_list losses, const struct td_backward_all_keywords *keywords)
{
    static const struct td_backward_all_keywords defaults = {0};
    const struct td_backward_all_keywords *k = keywords ? keywords : &defaults;
    struct question q;
    q.name = "backward_all";
    q.origin = origin;
    q.adds = true;
    q.options = options_of(k->retain_graph, k->create_graph, false);
    give_list(&q.outputs, "loss", losses);
    give_list(&q.inputs, "input", (td_list){0});
    give_list(&q.seeds, "the seed of loss", k->seeds);
    if (losses.count > 0 && losses.items[0].session) {
        session_enter(losses.items[0].session);
        losses.items[0].session->graph_created = k->create_graph;
        session_leave(losses.items[0].session);
    }
    ask(&q, NULL);
}

td_tensor(td_grad_of)(td_tensor output, td_tensor input, const struct td_grad_of_keywords *keywords)
{
    return td_grad_of_at((td_origin){0}, output, input, keywords);
}

void(td_grads_of)(td_list outputs, td_list inputs, td_tensor *grads, const struct td_grads_of_keywords *keywords)
{
    td_grads_of_at((td_origin){0}, outputs, inputs, grads, keywords);
}

void(td_backward_all)(td_list losses, const struct td_backward_all_keywords *keywords)
{
    td_backward_all_at((td_origin){0}, losses, keywords);
}
