/* What a graph is made of. Nodes come by falling number, so leaves, whose number is 0, come last.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/graph.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/apply.h"
#include "server/worker/backward.h"
#include "server/worker/checkpoint.h"
#include "server/worker/decoder.h"
#include "server/worker/nodes.h"
#include "server/worker/reply.h"

/* Edges, and handles, looked at in a step. */
#define EDGES_STEP 512
#define HANDLES_STEP 1024
/* What one answer has room for. */
#define LISTED_MAX 512
#define SITES_MAX 1024
#define INPUTS_MAX 32
/* Names of functions; the rest of them is counted as the last. */
#define FUNCTIONS_MAX 64

struct tally {
    uint64_t nodes, bytes;
};

/* The client's functions, and checkpoints. */
struct function_tally {
    const char *name; /* borrowed from a node: no request runs meanwhile */
    struct tally tally;
};

struct listed {
    struct node *node; /* with a reference */
    uint64_t bytes;
    const char *name; /* of a tensor that it is the node of; borrowed: no request runs meanwhile */
};

struct survey {
    struct iterator iterator;
    uint32_t site, limit;
    uint64_t walk;
    struct node_list heap; /* nodes still to be looked at */
    struct cause *cause;
    struct tally all, leaves;
    struct tally ops[TD_OP_LIMIT];
    struct function_tally functions[FUNCTIONS_MAX];
    int function_count;
    struct tally *sites; /* by number */
    uint32_t site_count, next_handle;
    uint32_t listed_ops, listed_leaves, listed_count;
    struct listed listed[2 * LISTED_MAX];
};

/* ---- looking ---- */

/* Bytes that nobody before has kept in this survey. */
static uint64_t block_bytes(const struct survey *y, struct block *block)
{
    if (!block || block->walk == y->walk)
        return 0;
    block->walk = y->walk;
    return block->size;
}

static uint64_t kept_bytes(const struct survey *y, const struct saved *saved)
{
    return block_bytes(y, saved ? saved->reader.block : NULL);
}

static uint64_t applied_bytes(const struct survey *y, const struct applied *applied)
{
    const struct checkpoint *c = applied->checkpoint;
    uint64_t bytes = 0;
    for (int k = 0; k < applied->kept_count; k++)
        bytes += kept_bytes(y, applied->kept[k].saved);
    for (size_t k = 0; c && k < c->content_count; k++)
        bytes += block_bytes(y, c->contents[k]->block);
    return bytes;
}

static bool reach(struct survey *y, struct node *node)
{
    if (node->walk == y->walk)
        return true;
    node->walk = y->walk;
    node->way = 0;
    node->place = 0;
    return heap_push(&y->heap, node);
}

static void count_in(struct tally *tally, uint64_t bytes)
{
    tally->nodes++;
    tally->bytes += bytes;
}

static struct tally *tally_of(struct survey *y, const struct node *node)
{
    if (node_is_leaf(node))
        return &y->leaves;
    if (!node->applied)
        return &y->ops[node->op->id];
    int k = 0;
    while (k < y->function_count && strcmp(y->functions[k].name, node->applied->name))
        k++;
    if (k == FUNCTIONS_MAX)
        k--;
    if (k == y->function_count)
        y->functions[y->function_count++].name = node->applied->name;
    return &y->functions[k].tally;
}

static void list_node(struct survey *y, struct node *node, uint64_t bytes)
{
    uint32_t *of_kind = node_is_leaf(node) ? &y->listed_leaves : &y->listed_ops;
    if (*of_kind >= y->limit)
        return;
    ++*of_kind;
    y->listed[y->listed_count++] = (struct listed){.node = node_ref(node), .bytes = bytes};
    node->place = y->listed_count;
}

/* False without memory. */
static bool look_at(struct survey *y, struct node *node)
{
    uint64_t bytes = 0;
    bool there = true;
    for (int k = 0; k < node->in_count; k++) {
        bytes += kept_bytes(y, node->in[k].saved);
        if (there && node->in[k].node)
            there = reach(y, node->in[k].node);
    }
    for (int k = 0; k < node->out_count; k++)
        bytes += kept_bytes(y, node->out[k].saved);
    if (node->applied)
        bytes += applied_bytes(y, node->applied);
    count_in(&y->all, bytes);
    count_in(tally_of(y, node), bytes);
    if (!node_is_leaf(node) && node->site < y->site_count)
        count_in(&y->sites[node->site], bytes);
    list_node(y, node, bytes);
    return there;
}

static bool look_around(struct session *session, struct survey *y)
{
    bool there = true;
    for (int edges = 0; y->heap.count && edges < EDGES_STEP && there;) {
        struct node *node = heap_pop(&y->heap);
        edges += 1 + node->in_count;
        there = look_at(y, node);
        node_unref(session, node);
    }
    return there;
}

/* Names are those of tensors, which their nodes do not know. */
static void look_for_names(struct session *session, struct survey *y)
{
    for (int k = 0; k < HANDLES_STEP && y->next_handle < session->names->capacity; k++) {
        const struct tensor *tensor = session->names->tensors[y->next_handle++];
        const struct node *node = tensor && tensor->name ? tensor->node : NULL;
        if (node && node->walk == y->walk && node->place)
            y->listed[node->place - 1].name = tensor->name;
    }
}

/* ---- answering ---- */

static void pack_tally(msgpack_packer *packer, const char *name, const struct tally *tally)
{
    msgpack_pack_array(packer, 3);
    reply_text(packer, name);
    msgpack_pack_uint64(packer, tally->nodes);
    msgpack_pack_uint64(packer, tally->bytes);
}

static void pack_tallies(msgpack_packer *packer, const struct session *session, const struct survey *y)
{
    size_t ops = 0, sites = 0;
    for (int id = 0; id < TD_OP_LIMIT; id++)
        ops += y->ops[id].nodes > 0;
    msgpack_pack_array(packer, ops + (size_t)y->function_count);
    for (int id = 0; id < TD_OP_LIMIT; id++)
        if (y->ops[id].nodes)
            pack_tally(packer, td_op_of((uint64_t)id)->name, &y->ops[id]);
    for (int k = 0; k < y->function_count; k++)
        pack_tally(packer, y->functions[k].name, &y->functions[k].tally);
    for (uint32_t k = 0; k < y->site_count; k++)
        sites += y->sites[k].nodes > 0;
    sites = sites < SITES_MAX ? sites : SITES_MAX;
    msgpack_pack_array(packer, sites);
    for (uint32_t k = 0; sites; k++)
        if (y->sites[k].nodes) {
            pack_tally(packer, session_site(session, k), &y->sites[k]);
            sites--;
        }
}

static void pack_listed(msgpack_packer *packer, const struct session *session, const struct survey *y,
                        const struct listed *listed)
{
    const struct node *node = listed->node;
    const struct td_meta *out = &node->out->meta;
    int inputs = node->in_count < INPUTS_MAX ? node->in_count : INPUTS_MAX;
    msgpack_pack_array(packer, 8);
    reply_text(packer, listed->name ? listed->name : "");
    reply_text(packer, node_is_leaf(node) ? "" : node->applied ? node->applied->name : node->op->name);
    reply_text(packer, node_is_leaf(node) ? "" : session_site(session, node->site));
    msgpack_pack_int(packer, out->dtype);
    msgpack_pack_array(packer, out->rank);
    for (int d = 0; d < out->rank; d++)
        msgpack_pack_int64(packer, out->shape[d]);
    msgpack_pack_uint64(packer, listed->bytes);
    if (node->released)
        msgpack_pack_true(packer);
    else
        msgpack_pack_false(packer);
    msgpack_pack_array(packer, (size_t)inputs);
    for (int k = 0; k < inputs; k++) {
        const struct node *in = node->in[k].node;
        if (in && in->walk == y->walk && in->place)
            msgpack_pack_uint32(packer, in->place - 1);
        else
            msgpack_pack_nil(packer);
    }
}

static void answer(struct session *session, const struct survey *y)
{
    msgpack_packer packer;
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, 7);
    reply_error(&packer, NULL);
    msgpack_pack_uint64(&packer, y->all.nodes - y->leaves.nodes);
    msgpack_pack_uint64(&packer, y->leaves.nodes);
    msgpack_pack_uint64(&packer, y->all.bytes);
    pack_tallies(&packer, session, y);
    msgpack_pack_array(&packer, y->listed_count);
    for (uint32_t k = 0; k < y->listed_count; k++)
        pack_listed(&packer, session, y, &y->listed[k]);
    reply_end(session);
}

void graph_failed(struct session *session, const struct cause *cause)
{
    msgpack_packer packer;
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, 7);
    reply_error(&packer, cause);
    for (int k = 0; k < 3; k++)
        msgpack_pack_int(&packer, 0);
    for (int k = 0; k < 3; k++)
        msgpack_pack_array(&packer, 0);
    reply_end(session);
}

/* ---- the iterator ---- */

static void fail(struct session *session, const struct survey *y, int code, const char *message)
{
    TD_NO_FAILURE(failure);
    td_fail(&failure, code, "graph: %s", message);
    struct cause *cause = session_fail(session, "graph", y->site, &failure);
    graph_failed(session, cause);
    cause_unref(cause);
}

static enum step survey_next(struct session *session, struct iterator *iterator)
{
    struct survey *y = (struct survey *)iterator;
    if (session->closing)
        return STEP_DONE;
    if (session->cancelled) {
        fail(session, y, TD_E_CANCELLED, "cancelled");
    } else if (y->heap.count) {
        if (look_around(session, y))
            return STEP_MORE;
        fail(session, y, TD_E_MEMORY, "the daemon's host has no memory left");
    } else if (y->next_handle < session->names->capacity) {
        look_for_names(session, y);
        return STEP_MORE;
    } else {
        answer(session, y);
    }
    return STEP_DONE;
}

static void survey_drop(struct session *session, struct iterator *iterator)
{
    struct survey *y = (struct survey *)iterator;
    list_free(session, &y->heap);
    for (uint32_t k = 0; k < y->listed_count; k++)
        node_unref(session, y->listed[k].node);
    free(y->sites);
    free(y);
}

int graph_start(struct session *session, struct tensor *tensor, uint32_t limit, uint32_t site,
                struct td_failure *failure)
{
    bool failed = false;
    if (walks_step_aside(session, failure))
        return failure->code;
    struct node *node = tensor_edge(session, tensor, &failed);
    struct survey *y = failed ? NULL : calloc(1, sizeof *y);
    if (!y)
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    y->iterator = (struct iterator){.next = survey_next, .drop = survey_drop};
    y->site = site;
    y->limit = limit < LISTED_MAX ? limit : LISTED_MAX;
    y->walk = ++session->worker->walk_count;
    y->site_count = session->site_count ? session->site_count : 1; /* 0 is that of nobody */
    y->sites = calloc(y->site_count, sizeof *y->sites);
    if (!y->sites || (node && !reach(y, node))) {
        survey_drop(session, &y->iterator);
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    }
    session->cancelled = false;
    session_push(session, &y->iterator);
    return TD_E_OK;
}
