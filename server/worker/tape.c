/* The tape: nodes. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/tape.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/apply.h"
#include "server/worker/hooks.h"
#include "server/worker/session.h"

struct node *node_ref(struct node *node)
{
    node->refs++;
    return node;
}

static void queue_dead(struct session *session, struct node *node)
{
    node->next_dead = session->worker->dead;
    session->worker->dead = node;
    session->dead_nodes++;
    node->session = session;
}

/* A gradient with a graph of its own, or one that has a gradient, waits for node_bury: its node may be a leaf with such
 * a gradient, and so on. */
static void drop_simple_grad(struct session *session, struct node *leaf)
{
    if (!leaf->grad || leaf->grad->node || leaf->grad->retained)
        return;
    tensor_unref(session, leaf->grad);
    leaf->grad = NULL;
}

void node_unref(struct session *session, struct node *node)
{
    if (--node->refs)
        return;
    /* A chain of a million nodes must neither recurse nor hold the loop: whoever is last only queues. Its saved values
     * are charged to the session and so are given back at once. */
    node_release(session, node);
    drop_simple_grad(session, node);
    for (int k = 0; k < node->out_count; k++) {
        tensor_unref(session, node->out[k].pending);
        node->out[k].pending = NULL;
    }
    queue_dead(session, node);
}

/* ---- gradients of what is no leaf ---- */

static void retained_link(struct retained *retained, struct node *node)
{
    retained->prev = NULL;
    retained->next = node->retained;
    if (retained->next)
        retained->next->prev = retained;
    node->retained = retained;
}

static void retained_unlink(struct retained *retained, struct node *node)
{
    if (retained->next)
        retained->next->prev = retained->prev;
    if (retained->prev)
        retained->prev->next = retained->next;
    else
        node->retained = retained->next;
}

int tensor_retain_grad(struct tensor *tensor)
{
    if (tensor->retained || node_is_leaf(tensor->node))
        return 0;
    struct retained *retained = calloc(1, sizeof *retained);
    struct node *sink = retained ? node_leaf(tensor) : NULL;
    if (!sink) {
        free(retained);
        return -1;
    }
    sink->tensors = 1;
    retained->tensor = tensor;
    retained->sink = sink;
    retained_link(retained, tensor->node);
    tensor->retained = retained;
    return 0;
}

void tensor_forget_grad(struct session *session, struct tensor *tensor)
{
    struct retained *retained = tensor->retained;
    if (tensor->node)
        retained_unlink(retained, tensor->node);
    tensor->retained = NULL;
    node_unref(session, retained->sink);
    free(retained);
}

struct node *tensor_sink(const struct tensor *tensor)
{
    return node_is_leaf(tensor->node) ? tensor->node : tensor->retained ? tensor->retained->sink : NULL;
}

/* ---- tensors and their nodes ---- */

void tensor_tie(struct session *session, struct tensor *tensor, struct node *node, uint8_t output)
{
    struct node *old = tensor->node;
    if (tensor->retained && old)
        retained_unlink(tensor->retained, old);
    if (tensor->retained && node)
        retained_link(tensor->retained, node);
    tensor->node = node;
    tensor->output = output;
    if (node_is_leaf(node))
        node->tensors++;
    if (!old)
        return;
    if (node_is_leaf(old) && --old->tensors == 0) {
        drop_simple_grad(session, old);
        /* A gradient that was itself recorded may lead back to its leaf: without this nothing would ever end it. */
        if (old->grad && !old->waits) {
            old->waits = true;
            queue_dead(session, old); /* with tensor's reference */
            return;
        }
    }
    node_unref(session, old);
}

static void bury(struct session *session, struct node *node)
{
    if (node->waits) {
        struct tensor *grad = node->grad;
        node->waits = false;
        if (node->tensors == 0) {
            node->grad = NULL;
            tensor_unref(session, grad);
        }
        node_unref(session, node);
        return;
    }
    tensor_unref(session, node->grad);
    hooks_free(session, node); /* only here: what they hold may be the end of a chain as long as its nodes' */
    for (int k = 0; k < node->in_count; k++)
        if (node->in[k].node)
            node_unref(session, node->in[k].node);
    if (node->applied)
        applied_free(session, node->applied);
    free(node);
}

bool node_bury(struct worker *worker, int limit)
{
    for (; worker->dead && limit > 0; limit--) {
        struct node *node = worker->dead;
        struct session *session = node->session;
        worker->dead = node->next_dead;
        bury(session, node);
        if (!session->in_turn) /* what it gives back is told at once, not at the end of a turn that may never come */
            recorder_publish(session, 0);
        if (--session->dead_nodes == 0 && session->closing)
            session_settle(session); /* it may have waited for just this */
    }
    return worker->dead != NULL;
}

struct node *node_leaf(const struct tensor *tensor)
{
    struct node *node = calloc(1, sizeof *node + sizeof *node->out);
    if (!node)
        return NULL;
    node->refs = 1;
    node->out_count = 1;
    node->out = (struct node_output *)node->in;
    tensor_meta(tensor, &node->out->meta);
    return node;
}

static struct node *make(struct session *session, const struct td_op *op, uint32_t site, int in_count, int out_count)
{
    size_t attr_bytes = (size_t)op->slots * 8, in_bytes = (size_t)in_count * sizeof(struct node_input);
    size_t out_bytes = (size_t)out_count * sizeof(struct node_output);
    struct node *node = calloc(1, sizeof *node + in_bytes + out_bytes + attr_bytes);
    if (!node)
        return NULL;
    node->refs = 1;
    node->op = op;
    node->site = site;
    node->number = ++session->node_count;
    node->walk = session->replay_walk;
    node->way = session->replay_walk ? WAY_RUNS : 0;
    node->request = session->request;
    node->in_count = in_count;
    node->out_count = out_count;
    node->out = (struct node_output *)((char *)node->in + in_bytes);
    node->attrs = (int64_t *)((char *)node->out + out_bytes);
    return node;
}

struct node *node_new(struct session *session, const struct td_op *op, const void *attrs, uint32_t site, int in_count)
{
    struct node *node = make(session, op, site, in_count, op->output_count);
    if (node)
        memcpy(node->attrs, attrs, (size_t)op->slots * 8);
    return node;
}

struct node *node_of_function(struct session *session, struct applied *applied, uint32_t site, int in_count,
                              int out_count)
{
    static const struct td_op function = {.name = "function", .kind = TD_FRESH, .keeps = 1};
    struct node *node = make(session, &function, site, in_count, out_count);
    if (node)
        node->applied = applied;
    return node;
}

void node_release(struct session *session, struct node *node)
{
    for (int k = 0; k < node->in_count; k++) {
        saved_free(session, node->in[k].saved);
        node->in[k].saved = NULL;
    }
    for (int k = 0; k < node->out_count; k++) {
        saved_free(session, node->out[k].saved);
        node->out[k].saved = NULL;
    }
    if (node->applied)
        applied_release(session, node->applied);
    node->released = true;
}
