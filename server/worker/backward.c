/* The backward walk. Nodes are visited by falling number: an op's number is above those of its inputs, so when a node's
 * turn comes its gradient is complete. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/backward.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/apply.h"
#include "server/worker/calls.h"
#include "server/worker/exec.h"
#include "server/worker/program.h"
#include "server/worker/reply.h"
#include "server/worker/walk.h"

/* ---- ops ---- */

void walk_fail_at(struct session *session, struct walk *w, uint32_t site, const struct td_failure *failure)
{
    if (!w->cause)
        w->cause = session_fail(session, w->name, site, failure);
}

void walk_fail(struct session *session, struct walk *w, const struct td_failure *failure)
{
    walk_fail_at(session, w, w->site, failure);
}

void walk_no_memory(struct session *session, struct walk *w)
{
    TD_NO_FAILURE(failure);
    td_fail(&failure, TD_E_MEMORY, "%s: the daemon's host has no memory left", w->name);
    walk_fail(session, w, &failure);
}

static void store(struct session *session, struct tensor *const *results, struct cause *cause, void *data)
{
    struct walk *w = data;
    if (cause && !w->cause)
        w->cause = cause_ref(cause);
    for (int k = 0; k < w->slot_count; k++) {
        if (cause) {
            tensor_unref(session, results[k]);
            continue;
        }
        tensor_unref(session, *w->slots[k]);
        *w->slots[k] = results[k];
    }
}

/* The result goes to slot (or those of more results to w->slots); its old value is let go when the result is there. */
static void run_op(struct session *session, struct walk *w, const struct td_op *op, const void *attrs, int in_count,
                   const struct source *in, const uint16_t *list_counts, struct tensor **slot)
{
    w->slots[0] = slot;
    w->slot_count = op->output_count;
    exec_run(session,
             &(struct operation){.op = op,
                                 .attrs = attrs,
                                 .in = in,
                                 .in_count = in_count,
                                 .list_counts = list_counts,
                                 .draw = w->draw,
                                 .grad = w->create,
                                 .site = w->site,
                                 .gathers = !w->node,
                                 .walked = w->node         ? w->node
                                           : w->root_count ? w->roots->node
                                                           : NULL},
             store, w);
}

static void run_add(struct session *session, struct walk *w, struct tensor *a, struct tensor *b, struct tensor **slot)
{
    run_op(session, w, td_op_of(TD_OP_add), &(struct td_add_attrs){}, 2,
           (struct source[]){{.tensor = a}, {.tensor = b}}, NULL, slot);
}

/* ---- phases ---- */

void walk_full(struct session *session, struct walk *w, const struct td_meta *out, double value, struct tensor **slot)
{
    struct td_full_attrs attrs = {
        .shape.count = out->rank, .value = {.category = TD_FLOATING, .f = value}, .dtype = out->dtype};
    for (int d = 0; d < out->rank; d++)
        attrs.shape.v[d] = out->shape[d];
    run_op(session, w, td_op_of(TD_OP_full), &attrs, 0, NULL, NULL, slot);
}

static bool enqueue(struct walk *w, struct node *node)
{
    if (!node->queued)
        node->queued = node_is_leaf(node) ? list_push(&w->leaves, node) : heap_push(&w->heap, node);
    return node->queued;
}

void walk_hand_on(struct session *session, struct walk *w, struct node *to, uint8_t output, struct tensor *gradient)
{
    struct tensor **pending = &to->out[output].pending;
    if (*pending)
        run_add(session, w, *pending, gradient, pending);
    else if (enqueue(w, to))
        *pending = tensor_ref(gradient);
    else
        walk_no_memory(session, w);
}

static void search(struct session *session, struct walk *w)
{
    bool more = false;
    if (!wanted_search(session, w->wanted, &more))
        walk_no_memory(session, w);
    else if (!more)
        w->phase = w->after_search;
}

static void seed_root(struct session *session, struct walk *w)
{
    if (w->at == w->root_count) {
        w->phase = PHASE_NODE;
        return;
    }
    struct root *root = &w->roots[w->at];
    bool walked = walk_passes(w, root->node);
    if (walked && !root->seed) {
        walk_full(session, w, &root->node->out[root->output].meta, 1, &root->seed);
        return;
    }
    w->at++;
    if (walked)
        walk_hand_on(session, w, root->node, root->output, root->seed);
}

/* Lets go of the node in work, and of what is pending there if its rule never ran. */
static void drop_node(struct session *session, struct walk *w)
{
    for (int k = 0; k < w->node->out_count; k++) {
        tensor_unref(session, w->node->out[k].pending);
        w->node->out[k].pending = NULL;
    }
    node_unref(session, w->node);
    w->node = NULL;
}

static void write_rule(struct session *session, struct walk *w)
{
    TD_NO_FAILURE(failure);
    if (w->node->released && w->node->op->keeps) {
        td_fail(&failure, TD_E_GRAD, "%s: the graph through %s has been walked already, and what it kept is gone",
                w->name, w->node->applied ? w->node->applied->name : w->node->op->name);
        td_hint(&failure, "Give .retain_graph = true to the first td_backward or td_grad_of.");
        walk_fail(session, w, &failure);
        return;
    }
    if (w->node->applied) {
        w->phase = w->node->applied->checkpoint ? PHASE_CALL : PHASE_FILL;
        return;
    }
    w->phase = PHASE_RUN;
    if (rule_write(&w->rule, session, w->node, w->create))
        walk_fail(session, w, &w->rule.failure);
    else if (!w->retain)
        node_release(session, w->node);
}

/* The gradients at the node in work are complete. */
static void meet_node(struct session *session, struct walk *w)
{
    w->phase = PHASE_NODE;
    if (w->wanted && w->node->way & WAY_TARGET)
        wanted_take(w->wanted, w->node);
    if (w->wanted && !(w->node->way & WAY_RUNS))
        return;
    w->retained = w->wanted ? NULL : w->node->retained;
    if (w->retained)
        w->phase = PHASE_RETAIN;
    else
        write_rule(session, w);
}

/* Hooks that come while others run wait for the next walk. */
static void begin_hooks(const struct session *session, struct walk *w)
{
    w->hook = 0;
    w->last_hook = session->hook_count;
}

static void next_node(struct session *session, struct walk *w)
{
    if (w->node)
        drop_node(session, w);
    w->at = 0;
    if (w->heap.count == 0) {
        begin_hooks(session, w);
        w->phase = PHASE_LEAVES;
        return;
    }
    w->node = heap_pop(&w->heap);
    w->node->queued = false;
    begin_hooks(session, w);
    if (w->node->hooks)
        w->phase = PHASE_HOOK;
    else
        meet_node(session, w);
}

/* A tensor whose node is that of an older version has no gradient here. */
static bool is_stale(const struct tensor *tensor)
{
    bool apart = tensor->flags & TENSOR_NO_GRAD_VIEW;
    return tensor->history && !apart && tensor->history->version != tensor->version;
}

static void retain(struct session *session, struct walk *w)
{
    struct retained *retained = w->retained;
    const struct tensor *tensor = retained->tensor;
    struct tensor *pending = w->node->out[tensor->output].pending;
    if (pending && !is_stale(tensor))
        walk_hand_on(session, w, retained->sink, 0, pending);
    w->retained = retained->next;
    if (!w->retained)
        w->phase = PHASE_RULE;
}

static bool is_gradient(const struct rule *rule, ref value)
{
    for (int k = 0; k < rule->node->in_count; k++)
        if (rule->gradients[k] == value)
            return true;
    return false;
}

/* Lets go of what no later step reads. */
static void drop_used(struct session *session, struct rule *rule, int step)
{
    const struct rule_step *s = &rule->steps[step];
    for (int k = 0; k < s->in_count; k++) {
        struct rule_value *value = &rule->values[s->in[k]];
        if (value->last_step > step || is_gradient(rule, s->in[k]))
            continue;
        tensor_unref(session, value->tensor);
        value->tensor = NULL;
    }
}

static void run_step(struct session *session, struct walk *w)
{
    struct source in[RULE_INPUTS];
    if (w->at > 0)
        drop_used(session, &w->rule, w->at - 1);
    if (w->at == w->rule.step_count) {
        w->phase = PHASE_DELIVER;
        w->at = 0;
        return;
    }
    struct rule_step *s = &w->rule.steps[w->at++];
    for (int k = 0; k < s->in_count; k++) {
        const struct rule_value *value = &w->rule.values[s->in[k]];
        in[k] = (struct source){.tensor = value->tensor, .is_number = value->is_number, .number = value->number};
    }
    for (int k = 1; k < s->op->output_count; k++)
        w->slots[k] = &w->rule.values[s->out + k].tensor;
    w->draw = s->draw;
    run_op(session, w, s->op, s->attrs, s->in_count, in, s->list_counts, &w->rule.values[s->out].tensor);
    w->draw = NULL;
}

/* Whether tensor is all that shows its block, and contiguous. */
static bool is_own(const struct tensor *tensor)
{
    struct td_meta meta;
    tensor_meta(tensor, &meta);
    return tensor->refs == 1 && tensor->storage->refs == 1 && tensor->storage->block->storages == 1 &&
           td_meta_is_contiguous(&meta);
}

/* value, or 0, goes into window of *gradient: added, unless all of that is blank. True: it is there. */
static bool write_window(struct session *session, struct walk *w, struct td_meta window, struct tensor **gradient,
                         struct tensor *value)
{
    struct source own = {.tensor = *gradient};
    if (w->window) {
        tensor_unref(session, w->window);
        w->window = NULL;
        return true;
    }
    if (!is_own(*gradient)) { /* now its block may be what value shows */
        struct td_meta meta;
        tensor_meta(*gradient, &meta);
        enum td_op_id copy = td_meta_is_contiguous(&meta) ? TD_OP_clone : TD_OP_contiguous;
        run_op(session, w, td_op_of(copy), NULL, 1, &own, NULL, gradient);
        return false;
    }
    window.dtype = (*gradient)->dtype;
    window.offset += (*gradient)->offset;
    if (!(w->window = tensor_new(session, &window, (*gradient)->storage))) {
        walk_no_memory(session, w);
        return false;
    }
    const struct source in[] = {{.tensor = w->window},
                                {.tensor = value, .is_number = !value, .number = {.category = TD_FLOATING}}};
    enum td_op_id write = !value ? TD_OP_fill_ : w->blank ? TD_OP_copy_ : TD_OP_add_;
    run_op(session, w, td_op_of(write), NULL, 2, in, NULL, &w->window);
    return false;
}

/* Whether node shows a row of its content's elements, by an offset that *window is moved by, and nobody asks for the
 * gradient there: what goes into a window of it may go into the content at once. */
static bool shows_content(const struct walk *w, const struct node *node, struct td_meta *window)
{
    const struct td_strided_read_attrs *a = (const void *)node->attrs;
    bool asked = node->hooks || (w->wanted ? node->way & WAY_TARGET : node->retained != NULL);
    if (!node->op || node->op->id != TD_OP_strided_read || node->in_count > 1 || asked || !node->in[0].node ||
        !walk_passes(w, node->in[0].node))
        return false;
    struct td_meta seen = {.rank = (uint8_t)a->shape.count};
    memcpy(seen.shape, a->shape.v, sizeof seen.shape);
    memcpy(seen.stride, a->stride.v, sizeof seen.stride);
    window->offset += a->offset;
    return td_meta_is_contiguous(&seen);
}

/* A step of handing on a gradient of which the rule gave a window, or all but that. */
static void deliver_window(struct session *session, struct walk *w, struct node *to, uint8_t output)
{
    struct tensor **value = &w->rule.values[w->rule.gradients[0]].tensor;
    struct td_meta window = w->rule.window, moved = window;
    if (w->rule.giving == GIVES_REST) {
        if (write_window(session, w, window, value, NULL))
            w->rule.giving = GIVES_ALL;
        return;
    }
    if (shows_content(w, to, &moved)) {
        window = moved;
        output = to->in[0].output;
        to = to->in[0].node;
    }
    struct tensor **pending = &to->out[output].pending;
    if (!*pending && enqueue(w, to)) {
        w->blank = true;
        walk_full(session, w, &to->out[output].meta, 0, pending);
    } else if (!*pending) {
        walk_no_memory(session, w);
    } else if (write_window(session, w, window, pending, *value)) {
        w->blank = false;
        w->at++;
    }
}

/* Hands one gradient on. */
static void deliver(struct session *session, struct walk *w)
{
    if (w->at == w->node->in_count) {
        walk_drop_gradients(session, w);
        rule_clear(&w->rule);
        w->phase = PHASE_NODE;
        return;
    }
    int k = w->at;
    struct node *to = w->node->in[k].node;
    struct tensor *gradient = walk_gradient(w, k);
    bool passes = gradient && to && walk_passes(w, to);
    if (passes && k == 0 && w->rule.giving != GIVES_ALL) {
        deliver_window(session, w, to, w->node->in[k].output);
        return;
    }
    w->at++;
    if (passes)
        walk_hand_on(session, w, to, w->node->in[k].output, gradient);
}

bool walk_make_own(struct session *session, struct walk *w, struct tensor **gradient)
{
    struct td_meta meta;
    bool failed = false;
    struct node *edge = w->create ? tensor_edge(session, *gradient, &failed) : NULL;
    tensor_meta(*gradient, &meta);
    if (node_is_leaf(edge)) {
        /* A leaf given as the root's gradient. A gradient is nobody's leaf: two that were each other's would never end.
         */
        run_op(session, w, td_op_of(TD_OP_clone), &(struct td_clone_attrs){}, 1, &(struct source){.tensor = *gradient},
               NULL, gradient);
        return false;
    }
    if (!td_meta_is_contiguous(&meta)) {
        run_op(session, w, td_op_of(TD_OP_contiguous), &(struct td_contiguous_attrs){}, 1,
               &(struct source){.tensor = *gradient}, NULL, gradient);
        return false;
    }
    return walk_fork(session, w, gradient);
}

bool walk_fork(struct session *session, struct walk *w, struct tensor **gradient)
{
    struct td_meta meta;
    bool failed = false;
    struct node *edge = w->create ? tensor_edge(session, *gradient, &failed) : NULL;
    tensor_meta(*gradient, &meta);
    struct storage *own = failed ? NULL : storage_fork(session, (*gradient)->storage);
    struct tensor *tensor = own ? tensor_new(session, &meta, own) : NULL;
    if (own)
        storage_unref(session, own);
    if (!tensor) {
        walk_no_memory(session, w);
        return false;
    }
    if (edge)
        tensor_tie(session, tensor, node_ref(edge), (*gradient)->output);
    tensor_unref(session, *gradient);
    *gradient = tensor;
    return true;
}

static void hook_leaf(struct session *session, struct walk *w)
{
    if ((size_t)w->at == w->leaves.count) {
        w->at = 0;
        w->phase = w->wanted ? PHASE_GATHER : PHASE_COMBINE;
    } else if (!walk_hooks(session, w, w->leaves.nodes[w->at])) {
        w->at++;
        begin_hooks(session, w);
    }
}

/* Makes a leaf's new gradient out of what has come and what it had. */
static void combine(struct session *session, struct walk *w)
{
    if ((size_t)w->at == w->leaves.count) {
        w->phase = PHASE_COMMIT;
        return;
    }
    struct node *leaf = w->leaves.nodes[w->at];
    if (!leaf->combined)
        program_finds_gradient(session, leaf->grad);
    if (leaf->grad && !leaf->combined) {
        leaf->combined = true;
        run_add(session, w, leaf->grad, leaf->out->pending, &leaf->out->pending);
        return;
    }
    if (!walk_make_own(session, w, &leaf->out->pending))
        return;
    leaf->combined = false;
    w->at++;
}

/* The gradient of all content becomes that of a window. */
static void take_window(struct session *session, struct walk *w, const struct td_meta *window, struct tensor **gradient)
{
    struct td_strided_read_attrs attrs = {
        .shape.count = window->rank, .stride.count = window->rank, .offset = window->offset};
    memcpy(attrs.shape.v, window->shape, sizeof attrs.shape.v);
    memcpy(attrs.stride.v, window->stride, sizeof attrs.stride.v);
    run_op(session, w, td_op_of(TD_OP_strided_read), &attrs, 1, &(struct source){.tensor = *gradient}, NULL, gradient);
}

/* Makes one wanted gradient. */
static void gather(struct session *session, struct walk *w)
{
    if (w->at == w->wanted->count) {
        w->phase = PHASE_COMMIT;
        return;
    }
    struct target *target = &w->wanted->targets[w->at];
    TD_NO_FAILURE(failure);
    if (!target->gradient && node_is_leaf(target->node) && target->node->out->pending)
        target->gradient = tensor_ref(target->node->out->pending);
    if (target->gradient && target->of_content) {
        target->of_content = false;
        take_window(session, w, &target->meta, &target->gradient);
    } else if (target->gradient) {
        w->at += walk_make_own(session, w, &target->gradient);
    } else if (w->wanted->zeros) {
        walk_full(session, w, &target->meta, 0, &target->gradient);
    } else {
        td_fail(&failure, TD_E_GRAD, "%s: the outputs do not depend on input %d", w->name, w->at);
        td_hint(&failure, "With .allow_unused = true its gradient is zeros.");
        walk_fail(session, w, &failure);
    }
}

static void commit(struct session *session, struct walk *w)
{
    if (w->wanted) {
        wanted_bind(session, w->wanted, w->site, NULL);
        return;
    }
    for (size_t k = 0; k < w->leaves.count; k++) {
        struct node *leaf = w->leaves.nodes[k];
        if (leaf->tensors == 0)
            continue; /* nobody can ask for it any more; list_free lets go of it */
        tensor_unref(session, leaf->grad);
        leaf->grad = leaf->out->pending;
        leaf->out->pending = NULL;
    }
}

/* ---- others on the same graph ---- */

/* What is pending at node goes into w->aside. */
static void step_aside(struct walk *w, struct node *node)
{
    for (int k = 0; k < node->out_count; k++) {
        if (!node->out[k].pending)
            continue;
        w->aside[w->aside_count++] = (struct aside){node, k, node->out[k].pending};
        node->out[k].pending = NULL;
    }
    node->queued = false;
}

static size_t outputs_of(const struct node_list *list)
{
    size_t count = 0;
    for (size_t k = 0; k < list->count; k++)
        count += (size_t)list->nodes[k]->out_count;
    return count;
}

int walks_step_aside(struct session *session, struct td_failure *failure)
{
    for (struct walk *w = session->walks; w; w = w->outer) {
        size_t count = outputs_of(&w->heap) + outputs_of(&w->leaves) + (w->node ? (size_t)w->node->out_count : 0);
        if (w->aside)
            continue;
        if (!(w->aside = calloc(count + 1, sizeof *w->aside)))
            return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        for (size_t k = 0; k < w->heap.count; k++)
            step_aside(w, w->heap.nodes[k]);
        for (size_t k = 0; k < w->leaves.count; k++)
            step_aside(w, w->leaves.nodes[k]);
        if (w->node)
            step_aside(w, w->node);
    }
    return TD_E_OK;
}

/* It is w's turn again. Its marks may be gone: what is left of its ways is searched for anew. */
static void step_back(struct session *session, struct walk *w)
{
    bool there = true;
    for (size_t k = 0; k < w->aside_count; k++)
        w->aside[k].node->out[w->aside[k].output].pending = w->aside[k].pending;
    for (size_t k = 0; k < w->heap.count; k++)
        w->heap.nodes[k]->queued = true;
    for (size_t k = 0; k < w->leaves.count; k++)
        w->leaves.nodes[k]->queued = true;
    free(w->aside);
    w->aside = NULL;
    w->aside_count = 0;
    if (!w->wanted || !w->node)
        return;
    wanted_again(session, w->wanted);
    w->rule.walk = w->wanted->walk;
    for (size_t k = 0; k < w->heap.count; k++)
        there &= wanted_from(w->wanted, w->heap.nodes[k]);
    if (!there || !wanted_from(w->wanted, w->node)) {
        walk_no_memory(session, w);
        return;
    }
    w->after_search = w->phase;
    w->phase = PHASE_SEARCH;
}

/* ---- the iterator ---- */

static enum step walk_step(struct session *session, struct walk *w)
{
    switch (w->phase) {
    case PHASE_SEARCH:
        search(session, w);
        break;
    case PHASE_SEED:
        seed_root(session, w);
        break;
    case PHASE_NODE:
        next_node(session, w);
        break;
    case PHASE_HOOK:
        if (!walk_hooks(session, w, w->node))
            meet_node(session, w);
        break;
    case PHASE_RETAIN:
        retain(session, w);
        break;
    case PHASE_RULE:
        write_rule(session, w);
        break;
    case PHASE_RUN:
        run_step(session, w);
        break;
    case PHASE_FILL:
        walk_fill(session, w);
        break;
    case PHASE_CALL:
        if (w->node->applied->checkpoint)
            walk_call_checkpoint(session, w);
        else if (w->node->applied->function)
            walk_call_client(session, w);
        else
            walk_call_function(session, w);
        break;
    case PHASE_RELAY:
        walk_relay(session, w);
        break;
    case PHASE_DELIVER:
        deliver(session, w);
        break;
    case PHASE_LEAVES:
        hook_leaf(session, w);
        break;
    case PHASE_COMBINE:
        combine(session, w);
        break;
    case PHASE_GATHER:
        gather(session, w);
        break;
    case PHASE_COMMIT:
        commit(session, w);
        return STEP_DONE;
    }
    return STEP_MORE;
}

/* The request is done, though others may have been carried out in between. */
static enum step walk_end(struct session *session, struct walk *w)
{
    recorder_done(session, w->request);
    if (w->waits)
        reply_done(session, w->request, session->error);
    return STEP_DONE;
}

static enum step walk_next(struct session *session, struct iterator *iterator)
{
    struct walk *w = (struct walk *)iterator;
    if (session->closing)
        return STEP_DONE;
    if (w->aside)
        step_back(session, w);
    if (session->cancelled && !w->cause) {
        TD_NO_FAILURE(failure);
        td_fail(&failure, TD_E_CANCELLED, "%s: cancelled", w->name);
        walk_fail(session, w, &failure);
    }
    if (w->cause) {
        if (w->wanted)
            wanted_bind(session, w->wanted, w->site, w->cause);
        return walk_end(session, w);
    }
    session->making = BLACKBOX_GRAD;
    enum step step = walk_step(session, w);
    session->making = BLACKBOX_VALUE;
    return step == STEP_DONE ? walk_end(session, w) : step;
}

static void walk_drop(struct session *session, struct iterator *iterator)
{
    struct walk *w = (struct walk *)iterator;
    if (session->walks == w) /* not where it never began */
        session->walks = w->outer;
    for (size_t k = 0; k < w->aside_count; k++)
        tensor_unref(session, w->aside[k].pending);
    free(w->aside);
    walk_drop_gradients(session, w);
    walk_drop_replayed(session, w);
    tensor_unref(session, w->window);
    rule_clear(&w->rule);
    rule_deinit(&w->rule);
    list_free(session, &w->leaves);
    list_free(session, &w->heap);
    if (w->node)
        drop_node(session, w);
    for (int k = 0; k < w->root_count; k++) {
        tensor_unref(session, w->roots[k].seed);
        node_unref(session, w->roots[k].node);
    }
    free(w->roots);
    wanted_free(session, w->wanted);
    cause_unref(w->cause);
    free(w);
}

static int check_root(const struct tensor *root, const struct node *node, const struct tensor *seed,
                      struct td_failure *failure)
{
    struct td_meta meta, given;
    char shape[TD_SHAPE_TEXT], other[TD_SHAPE_TEXT];
    tensor_meta(root, &meta);
    if (!node) {
        td_fail(failure, TD_E_GRAD, "the root was computed from nothing that wants a gradient");
        return td_hint(failure, "Make leaves with .requires_grad = true, and compute outside TD_NO_GRAD.");
    }
    td_shape_text(meta.rank, meta.shape, shape, sizeof shape);
    if (!seed && td_meta_numel(&meta) != 1) {
        td_fail(failure, TD_E_GRAD, "a root of shape %s needs a gradient to begin with", shape);
        return td_hint(failure, "Only for a root of one element it is 1. td_backward(td_sum(y)) is often meant.");
    }
    if (!seed)
        return TD_E_OK;
    tensor_meta(seed, &given);
    if (td_meta_same_shape(&meta, &given) && meta.dtype == given.dtype)
        return TD_E_OK;
    td_fail(failure, TD_E_SHAPE, "a root of %s %s was given a gradient of %s %s", td_dtype_name(meta.dtype), shape,
            td_dtype_name(given.dtype), td_shape_text(given.rank, given.shape, other, sizeof other));
    return td_meta_same_shape(&meta, &given)
               ? td_hint(failure, "td_to(seed, %s) converts.", td_dtype_constant(meta.dtype))
               : td_hint(failure, "A gradient has the shape and dtype of what it is of.");
}

/* Adds a root; one without a node is passed over where that is allowed. */
static int add_root(struct session *session, struct walk *w, const struct errand *errand, int k,
                    struct td_failure *failure)
{
    struct tensor *root = errand->roots[k], *seed = errand->seeds[k];
    bool failed = false;
    struct node *node = tensor_edge(session, root, &failed);
    if (!failed && !node && errand->constants)
        return TD_E_OK;
    if (!failed && check_root(root, node, seed, failure))
        return failure->code;
    if (failed || (w->wanted && !wanted_from(w->wanted, node)))
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    w->roots[w->root_count++] = (struct root){node_ref(node), root->output, seed ? tensor_ref(seed) : NULL};
    return TD_E_OK;
}

int backward_start(struct session *session, const struct errand *errand, struct td_failure *failure)
{
    if (session->in_hook) { /* it would meet the gradients of the walk around */
        td_fail(failure, TD_E_GRAD, "a hook cannot walk the graph");
        return td_hint(failure, "td_retain_grad and td_grad show gradients after the walk.");
    }
    if (walks_step_aside(session, failure))
        return failure->code;
    struct walk *w = calloc(1, sizeof *w);
    if (!w || !(w->roots = calloc((size_t)errand->root_count, sizeof *w->roots))) {
        free(w);
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    }
    w->iterator = (struct iterator){.next = walk_next, .drop = walk_drop};
    w->retain = errand->retain;
    w->create = errand->create;
    w->waits = errand->waits;
    w->request = session->request;
    w->site = errand->site;
    w->name = errand->name;
    w->wanted = errand->wanted;
    w->rule.walk = w->wanted ? w->wanted->walk : 0;
    w->phase = w->wanted ? PHASE_SEARCH : PHASE_SEED;
    w->after_search = PHASE_SEED;
    if (w->wanted)
        wanted_begin(w->wanted);
    for (int k = 0; k < errand->root_count; k++)
        if (add_root(session, w, errand, k, failure))
            break;
    if (failure->code) {
        w->wanted = NULL; /* still the caller's */
        walk_drop(session, &w->iterator);
        return failure->code;
    }
    w->outer = session->walks;
    session->walks = w;
    session_push(session, &w->iterator);
    return TD_E_OK;
}
