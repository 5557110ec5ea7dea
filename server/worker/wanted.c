/* The gradients that are asked for. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/wanted.h"

#include <stdlib.h>

#include "server/worker/apply.h"
#include "server/worker/session.h"

/* Edges looked at in a step. */
#define SEARCH_STEP 512

struct wanted *wanted_new(struct session *session, int count)
{
    struct wanted *wanted = calloc(1, sizeof *wanted + (size_t)count * sizeof *wanted->targets);
    if (!wanted)
        return NULL;
    wanted->walk = ++session->worker->walk_count;
    wanted->count = count;
    return wanted;
}

void wanted_free(struct session *session, struct wanted *wanted)
{
    if (!wanted)
        return;
    list_free(session, &wanted->heap);
    list_free(session, &wanted->found);
    for (int k = 0; k < wanted->count; k++) {
        tensor_unref(session, wanted->targets[k].gradient);
        if (wanted->targets[k].node)
            node_unref(session, wanted->targets[k].node);
    }
    free(wanted);
}

/* ---- which nodes lie on the way ---- */

static void mark(const struct wanted *wanted, struct node *node, uint8_t way)
{
    node->way = way | (node->walk == wanted->walk ? node->way : 0);
    node->walk = wanted->walk;
}

void wanted_begin(struct wanted *wanted)
{
    wanted->floor = UINT64_MAX;
    for (int k = 0; k < wanted->count; k++) {
        struct node *node = wanted->targets[k].node;
        mark(wanted, node, WAY_TARGET);
        if (node->number < wanted->floor)
            wanted->floor = node->number;
    }
}

void wanted_again(struct session *session, struct wanted *wanted)
{
    wanted->walk = ++session->worker->walk_count;
    wanted_begin(wanted);
}

bool wanted_from(struct wanted *wanted, struct node *node)
{
    if (node->number <= wanted->floor || (node->walk == wanted->walk && node->way & WAY_SEEN))
        return true;
    mark(wanted, node, WAY_SEEN);
    return heap_push(&wanted->heap, node);
}

/* The highest node that has not been looked at: those it was computed from are to be looked at, too. */
static bool look_down(struct session *session, struct wanted *wanted, int *edges)
{
    struct node *node = heap_pop(&wanted->heap);
    bool there = list_push(&wanted->found, node);
    for (int k = 0; there && k < node->in_count; k++)
        if (node->in[k].node)
            there = wanted_from(wanted, node->in[k].node);
    *edges += 1 + node->in_count;
    node_unref(session, node);
    return there;
}

/* The lowest node that was found: its inputs are known already. */
static void look_back(struct session *session, struct wanted *wanted, int *edges)
{
    struct node *node = wanted->found.nodes[--wanted->found.count];
    for (int k = 0; k < node->in_count; k++)
        if (node->in[k].node && node_on_way(node->in[k].node, wanted->walk))
            node->way |= WAY_RUNS;
    if (node->applied && node->applied->why) /* what it depends on is not known: an error, not zeros */
        node->way |= WAY_RUNS;
    *edges += 1 + node->in_count;
    node_unref(session, node);
}

bool wanted_search(struct session *session, struct wanted *wanted, bool *more)
{
    for (int edges = 0; edges < SEARCH_STEP;) {
        if (wanted->heap.count) {
            if (!look_down(session, wanted, &edges))
                return false;
        } else if (wanted->found.count) {
            look_back(session, wanted, &edges);
        } else {
            *more = false;
            return true;
        }
    }
    *more = true;
    return true;
}

/* ---- the gradients ---- */

void wanted_take(struct wanted *wanted, const struct node *node)
{
    for (int k = 0; k < wanted->count; k++) {
        struct target *target = &wanted->targets[k];
        if (target->node == node && node->out[target->output].pending)
            target->gradient = tensor_ref(node->out[target->output].pending);
    }
}

void wanted_bind(struct session *session, struct wanted *wanted, uint32_t site, struct cause *cause)
{
    for (int k = 0; k < wanted->count; k++) {
        struct target *target = &wanted->targets[k];
        struct tensor *result = cause ? tensor_failed(cause) : target->gradient;
        TD_NO_FAILURE(failure);
        if (!cause)
            target->gradient = NULL;
        if (session_bind(session, target->handle, result, &failure))
            cause_unref(session_fail(session, "grad_of", site, &failure));
    }
}
