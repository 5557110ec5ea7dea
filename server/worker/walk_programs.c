/* Programs that the backward walk runs: the backward of a function, the replay of a checkpoint, hooks on gradients.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "server/worker/apply.h"
#include "server/worker/checkpoint.h"
#include "server/worker/exec.h"
#include "server/worker/hooks.h"
#include "server/worker/walk.h"

struct tensor *walk_gradient(const struct walk *w, int k)
{
    if (w->gradients)
        return w->gradients[k];
    ref value = w->rule.gradients[k];
    return value < 0 ? NULL : w->rule.values[value].tensor;
}

void walk_fill(struct session *session, struct walk *w)
{
    struct node_output *out = &w->node->out[w->at];
    if (w->at == w->node->out_count) {
        w->phase = PHASE_CALL;
        return;
    }
    if (!out->pending) {
        w->at++;
        walk_full(session, w, &out->meta, 0, &out->pending);
    } else { /* what backward writes to is nobody else's */
        w->at += w->node->applied->function ? walk_make_own(session, w, &out->pending)
                                            : walk_fork(session, w, &out->pending);
    }
}

void walk_check_gradient(struct session *session, struct walk *w, int k, struct td_failure *failure)
{
    const struct applied *applied = w->node->applied;
    const struct td_meta *due = &w->node->in[k].meta;
    struct td_meta meta;
    char given[TD_SHAPE_TEXT], wanted[TD_SHAPE_TEXT];
    tensor_meta(w->gradients[k], &meta);
    if (!td_meta_same_shape(&meta, due) || meta.dtype != due->dtype)
        td_fail(failure, TD_E_SHAPE, "backward: the backward of %s gave %s %s as the gradient of its input %d, %s %s",
                applied->name, td_dtype_name(meta.dtype), td_shape_text(meta.rank, meta.shape, given, sizeof given), k,
                td_dtype_name(due->dtype), td_shape_text(due->rank, due->shape, wanted, sizeof wanted));
    else if (w->create && applied->once)
        applied_refuse(session, w->node, w->gradients[k], APPLIED_ONCE, failure);
}

/* The gradients that a function's backward program gave. */
static void take_gradients(struct session *session, struct tensor *const *results, int count, struct cause *cause,
                           void *data)
{
    struct walk *w = data;
    TD_NO_FAILURE(failure);
    for (int k = 0; k < count; k++) {
        struct tensor *gradient = results[k];
        w->gradients[k] = gradient;
        if (gradient && gradient->failed)
            cause = cause ? cause : gradient->failed;
        else if (gradient)
            walk_check_gradient(session, w, k, &failure);
    }
    if (failure.code)
        walk_fail(session, w, &failure);
    if (cause && !w->cause)
        w->cause = cause_ref(cause);
}

void walk_call_function(struct session *session, struct walk *w)
{
    struct node *node = w->node;
    const struct applied *applied = node->applied;
    int count = node->out_count + applied->kept_count;
    struct tensor **inputs = calloc((size_t)count, sizeof *inputs);
    TD_NO_FAILURE(failure);
    w->gradients = calloc((size_t)node->in_count + 1, sizeof *w->gradients);
    if (!inputs || !w->gradients) {
        free(inputs);
        walk_no_memory(session, w);
        return;
    }
    for (int k = 0; k < node->out_count; k++)
        inputs[k] = tensor_ref(node->out[k].pending);
    w->phase = PHASE_DELIVER;
    w->at = 0;
    if (applied_inputs(session, node, w->create, inputs + node->out_count, &failure) ||
        program_run(session, applied->backward, count, inputs, !w->create || applied->once, take_gradients, NULL, w,
                    &failure))
        walk_fail(session, w, &failure);
    else if (!w->retain)
        node_release(session, node);
    for (int k = 0; k < count; k++)
        tensor_unref(session, inputs[k]);
    free(inputs);
}

/* The replay is over. */
static void drop_replay(struct session *session, void *data)
{
    struct walk *w = data;
    session->replay_walk = 0;
    session->replayed = NULL;
    session->seed = w->outer_draw.seed;
    session->random_counter = w->outer_draw.counter;
    checkpoint_drop(session, w->node->applied->checkpoint);
}

static void take_replayed(struct session *session, struct tensor *const *results, int count, struct cause *cause,
                          void *data)
{
    struct walk *w = data;
    drop_replay(session, w);
    for (int k = 0; k < count; k++) {
        w->replayed[k] = results[k];
        if (results[k] && results[k]->failed && !cause)
            cause = results[k]->failed;
    }
    if (cause && !w->cause)
        w->cause = cause_ref(cause);
}

void walk_call_checkpoint(struct session *session, struct walk *w)
{
    struct checkpoint *c = w->node->applied->checkpoint;
    TD_NO_FAILURE(failure);
    w->phase = PHASE_RELAY;
    w->at = 0;
    if (!(w->replayed = calloc((size_t)w->node->out_count, sizeof *w->replayed))) {
        walk_no_memory(session, w);
        return;
    }
    w->outer_draw = (struct draw){session->seed, session->random_counter};
    session->replay_walk = w->wanted ? w->wanted->walk : 0;
    session->replayed = c;
    session->seed = c->draw.seed;
    session->random_counter = c->draw.counter;
    if (checkpoint_restore(session, w->node, &failure) ||
        program_run(session, c->program, 0, NULL, false, take_replayed, drop_replay, w, &failure)) {
        walk_fail(session, w, &failure);
        drop_replay(session, w);
        return;
    }
    for (int k = 0; k < c->written_count; k++) /* any of a family tells what it has become */
        w->replayed[c->program->out_count + k] = tensor_ref(checkpoint_member(c, k));
}

void walk_drop_replayed(struct session *session, struct walk *w)
{
    for (int k = 0; w->replayed && k < w->node->out_count; k++)
        tensor_unref(session, w->replayed[k]);
    free(w->replayed);
    w->replayed = NULL;
}

/* The node that result k of the replay is of, with a reference; made only now, it is on the way as those of the replay
 * are. */
static struct node *replayed_node(struct session *session, const struct walk *w, int k, uint8_t *output, bool *failed)
{
    const struct checkpoint *c = w->node->applied->checkpoint;
    struct tensor *replayed = w->replayed[k];
    struct node *node;
    bool itself = checkpoint_shown(c, k) == SHOWN_ITSELF || replayed->failed,
         whole = checkpoint_shown(c, k) == SHOWN_BASE;
    session->replay_walk = w->wanted ? w->wanted->walk : 0;
    if (itself || !replayed->history) {
        node = tensor_edge(session, replayed, failed);
        *output = replayed->output;
        node = node ? node_ref(node) : NULL;
    } else {
        node = history_end(session, replayed->history, whole, output, failed);
    }
    session->replay_walk = 0;
    return node;
}

void walk_relay(struct session *session, struct walk *w)
{
    if (w->at == w->node->out_count) {
        walk_drop_replayed(session, w);
        if (!w->retain)
            node_release(session, w->node);
        w->phase = PHASE_NODE;
        return;
    }
    int k = w->at++;
    struct tensor *gradient = w->node->out[k].pending;
    bool failed = false;
    uint8_t output = 0;
    struct node *to = gradient && w->replayed[k] ? replayed_node(session, w, k, &output, &failed) : NULL;
    if (failed)
        walk_no_memory(session, w);
    else if (to && walk_passes(w, to))
        walk_hand_on(session, w, to, output, gradient);
    if (to)
        node_unref(session, to);
}

/* What a hook gave in place of a gradient: nothing, or what it is from now on. */
static void take_hooked(struct session *session, struct tensor *const *results, int count, struct cause *cause,
                        void *data)
{
    struct walk *w = data;
    struct tensor *gradient = count ? results[0] : NULL;
    session->in_hook = false;
    struct td_meta meta, due;
    char given[TD_SHAPE_TEXT], wanted[TD_SHAPE_TEXT];
    TD_NO_FAILURE(failure);
    if (gradient && gradient->failed && !cause)
        cause = gradient->failed;
    if (cause && !w->cause)
        w->cause = cause_ref(cause);
    if (!gradient || cause) {
        tensor_unref(session, gradient);
        w->hooked = NULL;
        return;
    }
    tensor_meta(gradient, &meta);
    tensor_meta(*w->hooked, &due);
    if (td_meta_same_shape(&meta, &due) && meta.dtype == due.dtype) {
        tensor_unref(session, *w->hooked);
        *w->hooked = gradient;
        return;
    }
    td_fail(&failure, TD_E_SHAPE, "%s: a hook gave %s %s in place of a gradient of %s %s", w->name,
            td_dtype_name(meta.dtype), td_shape_text(meta.rank, meta.shape, given, sizeof given),
            td_dtype_name(due.dtype), td_shape_text(due.rank, due.shape, wanted, sizeof wanted));
    walk_fail(session, w, &failure);
    tensor_unref(session, gradient);
    w->hooked = NULL;
}

bool walk_hooks(struct session *session, struct walk *w, struct node *node)
{
    TD_NO_FAILURE(failure);
    if (w->hooked) {
        if (walk_make_own(session, w, w->hooked))
            w->hooked = NULL;
        return true;
    }
    struct hook *hook = hook_next(node, w->hook, w->last_hook);
    if (!hook)
        return false;
    struct tensor **gradient = &node->out[hook->output].pending;
    if (!walk_make_own(session, w, gradient))
        return true;
    w->hook = hook->order;
    w->hooked = gradient;
    if (program_run(session, hook->program, 1, gradient, !w->create, take_hooked, NULL, w, &failure)) {
        w->hooked = NULL;
        walk_fail(session, w, &failure);
    } else {
        session->in_hook = true;
    }
    return true;
}

void walk_drop_gradients(struct session *session, struct walk *w)
{
    for (int k = 0; w->gradients && k < w->node->in_count; k++)
        tensor_unref(session, w->gradients[k]);
    free(w->gradients);
    w->gradients = NULL;
}
