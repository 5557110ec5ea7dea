/* Functions of the client's. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/checkpoint.h"

/* ---- what a node keeps ---- */

void applied_release(struct session *session, struct applied *applied)
{
    for (int k = 0; k < applied->kept_count; k++) {
        saved_free(session, applied->kept[k].saved);
        applied->kept[k].saved = NULL;
    }
    if (applied->checkpoint)
        checkpoint_free(session, applied->checkpoint);
    applied->checkpoint = NULL;
}

void applied_free(struct session *session, struct applied *applied)
{
    if (applied->backward)
        program_unref(session, applied->backward);
    free(applied->bin);
    free(applied);
}

static struct applied *applied_new(const char *name, struct program *backward, int kept_count)
{
    struct applied *applied = calloc(1, sizeof *applied + (size_t)kept_count * sizeof *applied->kept);
    if (!applied)
        return NULL;
    applied->backward = backward ? program_ref(backward) : NULL;
    applied->kept_count = kept_count;
    snprintf(applied->name, sizeof applied->name, "%s", name);
    return applied;
}

static int no_memory(struct td_failure *failure)
{
    return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left for the tape");
}

int applied_refuse(struct session *session, struct node *node, struct tensor *gradient, const char *why,
                   struct td_failure *failure)
{
    if (td_dtype_category(gradient->dtype) != TD_FLOATING)
        return TD_E_OK;
    struct applied *applied = applied_new(node->applied->name, NULL, 0);
    struct node *refusing = applied ? node_of_function(session, applied, node->site, 0, 1) : NULL;
    if (!refusing) {
        free(applied);
        return no_memory(failure);
    }
    applied->why = why;
    tensor_meta(gradient, &refusing->out->meta);
    tensor_tie(session, gradient, refusing, 0);
    return TD_E_OK;
}

/* A saved value as the backward program sees it. */
static struct tensor *kept_tensor(struct session *session, struct node *node, const struct kept *kept, bool create,
                                  struct td_failure *failure)
{
    struct tensor *tensor = kept->saved ? saved_tensor(session, kept->saved) : NULL;
    struct node *edge = kept->from == KEPT_OUTPUT ? node : kept->from == KEPT_INPUT ? node->in[kept->index].node : NULL;
    uint8_t output = kept->from == KEPT_OUTPUT ? (uint8_t)kept->index : 0;
    if (!tensor) {
        no_memory(failure);
        return NULL;
    }
    if (!create || td_dtype_category(tensor->dtype) != TD_FLOATING)
        return tensor;
    if (kept->from == KEPT_INPUT)
        output = node->in[kept->index].output;
    if (edge)
        tensor_tie(session, tensor, node_ref(edge), output);
    else if (kept->from == KEPT_INSIDE)
        applied_refuse(session, node, tensor, APPLIED_INSIDE, failure);
    return tensor;
}

int applied_inputs(struct session *session, struct node *node, bool create, struct tensor **inputs,
                   struct td_failure *failure)
{
    struct applied *applied = node->applied;
    if (applied->why) {
        td_fail(failure, TD_E_GRAD, "backward: the function %s %s", applied->name, applied->why);
        return td_hint(failure, "Applied at %s.", session_site(session, node->site));
    }
    for (int k = 0; k < applied->kept_count && !failure->code; k++)
        inputs[k] = kept_tensor(session, node, &applied->kept[k], create, failure);
    return failure->code;
}

/* ---- applying ---- */

struct applying {
    struct application given;
    struct program *backward; /* with a reference */
    char name[TD_NAME_BYTES];
    bool asked_grad; /* given.grad, also where there is no backward */
    uint32_t held;   /* references to a result that is nothing else */
    bool outer_marks;
    struct tensor *in[];
};

static void applying_free(struct session *session, void *data)
{
    struct applying *a = data;
    for (int k = 0; k < a->given.in_count; k++)
        tensor_unref(session, a->in[k]);
    if (a->backward)
        program_unref(session, a->backward);
    free(a);
}

static void applying_dropped(struct session *session, void *data)
{
    struct applying *a = data;
    if (a->given.dropped)
        a->given.dropped(session, a->given.data);
    applying_free(session, a);
}

/* A result as the graph will know it: nobody else's tensor. NULL without memory. */
static struct tensor *output_of_function(struct session *session, const struct tensor *result)
{
    struct td_meta meta;
    if (result->failed)
        return tensor_failed(result->failed);
    tensor_meta(result, &meta);
    struct tensor *out = tensor_new(session, &meta, result->storage);
    if (out && result->storage->refs > 2) /* beside result itself somebody else looks at these bytes */
        out->flags |= TENSOR_NO_GRAD_VIEW | TENSOR_OF_GRAD;
    return out;
}

/* Saved value k is results[k]; where it comes from. */
static int keep(struct session *session, struct applied *applied, int k, struct tensor *const *results,
                const struct applying *a, struct td_failure *failure)
{
    struct tensor *value = results[a->given.out_count + k];
    struct kept *kept = &applied->kept[k];
    kept->from = KEPT_INSIDE;
    for (int j = 0; j < a->given.out_count; j++)
        if (results[j] == value)
            *kept = (struct kept){KEPT_OUTPUT, j, NULL};
    for (int j = 0; j < a->given.in_count; j++)
        if (a->in[j] == value)
            *kept = (struct kept){KEPT_INPUT, j, NULL};
    if (!value || !(kept->saved = saved_new(session, value)))
        return no_memory(failure);
    return TD_E_OK;
}

/* What is replayed may have other inputs than were traced: one that requires a gradient that backward does not give, as
 * it did not require one then, is no constant. */
static int check_needs(struct session *session, const struct applying *a, struct td_failure *failure)
{
    bool failed = false;
    for (int k = 0; k < a->given.in_count && a->asked_grad && !a->given.function && !failure->code; k++) {
        if (a->in[k]->failed || (a->backward && a->backward->out[k] != UINT32_MAX) ||
            !tensor_edge(session, a->in[k], &failed))
            continue;
        td_fail(failure, TD_E_GRAD, "%s: input %d requires a gradient, and did not where the call was recorded",
                a->name, k);
        td_hint(failure, "Record it with one that does, or detach the input.");
    }
    return failed ? no_memory(failure) : failure->code;
}

/* The node of the application, with a reference for each output and one more. */
static struct node *tie_node(struct session *session, struct applying *a, struct tensor *const *results, int count,
                             struct td_failure *failure)
{
    int kept_count = count - a->given.out_count;
    bool failed = false;
    struct applied *applied = applied_new(a->name, a->backward, kept_count);
    struct node *node =
        applied ? node_of_function(session, applied, a->given.site, a->given.in_count, a->given.out_count) : NULL;
    if (!node) {
        if (applied)
            applied_free(session, applied);
        no_memory(failure);
        return NULL;
    }
    applied->once = a->given.flags & TD_APPLY_ONCE;
    applied->function = a->given.function;
    applied->bin_bytes = a->given.bin_bytes;
    if (a->given.bin_bytes && !(applied->bin = malloc(a->given.bin_bytes)))
        no_memory(failure);
    else if (a->given.bin_bytes)
        memcpy(applied->bin, a->given.bin, a->given.bin_bytes);
    for (int k = 0; k < kept_count && !failure->code; k++)
        keep(session, applied, k, results, a, failure);
    for (int k = 0; k < a->given.in_count && !failed; k++) {
        struct node *edge = tensor_edge(session, a->in[k], &failed);
        tensor_meta(a->in[k], &node->in[k].meta);
        node->in[k].node = edge ? node_ref(edge) : NULL;
        node->in[k].output = edge ? a->in[k]->output : 0;
    }
    if (failed)
        no_memory(failure);
    if (!failure->code)
        return node;
    node_unref(session, node);
    return NULL;
}

static bool wants_node(struct session *session, const struct applying *a, struct td_failure *failure)
{
    bool wants = false, failed = false;
    for (int k = 0; k < a->given.in_count && a->given.grad && !failed; k++)
        wants |= !a->in[k]->failed && tensor_edge(session, a->in[k], &failed);
    if (failed)
        no_memory(failure);
    return wants;
}

static struct cause *failed_among(struct tensor *const *results, int count)
{
    for (int k = 0; k < count; k++)
        if (results[k] && results[k]->failed)
            return results[k]->failed;
    return NULL;
}

/* Whether the outputs would want a gradient, but for a checkpoint in work. */
static bool marked(struct session *session, const struct applying *a)
{
    bool wants = false, failed = false;
    for (int k = 0; k < a->given.in_count && a->given.marks; k++)
        wants |= !a->in[k]->failed && (tensor_is_marked(a->in[k]) || tensor_edge(session, a->in[k], &failed));
    return wants;
}

/* Whether result k is an input, or another output, too. */
static bool is_shared(struct tensor *const *results, int k, int out_count, int count, uint32_t own)
{
    for (int j = out_count; j < count; j++)
        own += results[j] == results[k];
    return !results[k]->failed && results[k]->refs > own;
}

static void applied_then(struct session *session, struct tensor *const *results, int count, struct cause *cause,
                         void *data)
{
    struct applying *a = data;
    struct tensor *outs[TD_FUNCTION_TENSORS] = {0};
    struct node *node = NULL;
    struct cause *own = NULL;
    TD_NO_FAILURE(failure);
    session->marks = a->outer_marks;
    int out_count = a->given.out_count < count ? a->given.out_count : count;
    if (!cause)
        cause = failed_among(results, count);
    if (!cause && !check_needs(session, a, &failure) && wants_node(session, a, &failure))
        node = tie_node(session, a, results, count, &failure);
    for (int k = 0; k < out_count && !cause && !failure.code; k++) {
        outs[k] = results[k] ? output_of_function(session, results[k]) : NULL;
        if (outs[k] && is_shared(results, k, out_count, count, a->held))
            outs[k]->flags |= TENSOR_NO_GRAD_VIEW | TENSOR_OF_GRAD;
        bool tied = node && outs[k] && td_dtype_category(outs[k]->dtype) == TD_FLOATING &&
                    !(a->given.flags >> (TD_APPLY_FLAGS + k) & 1);
        if (!outs[k])
            no_memory(&failure);
        else if (node)
            tensor_meta(outs[k], &node->out[k].meta);
        if (tied)
            tensor_tie(session, outs[k], node_ref(node), (uint8_t)k);
    }
    for (int k = 0; k < out_count && !cause && marked(session, a); k++)
        if (outs[k] && !(a->given.flags >> (TD_APPLY_FLAGS + k) & 1))
            outs[k]->flags |= TENSOR_MARKED;
    if (failure.code)
        cause = own = session_fail(session, "apply", a->given.site, &failure); /* which outlives the name */
    for (int k = 0; k < a->given.out_count && cause; k++) {
        tensor_unref(session, outs[k]);
        outs[k] = tensor_failed(cause);
    }
    if (node)
        node_unref(session, node);
    for (int k = 0; k < count; k++)
        tensor_unref(session, results[k]);
    a->given.then(session, outs, a->given.out_count, cause, a->given.data);
    cause_unref(own);
    applying_free(session, a);
}

static int check_counts(const struct application *given, struct td_failure *failure)
{
    if (given->in_count <= TD_FUNCTION_TENSORS && given->out_count <= TD_FUNCTION_TENSORS && given->out_count > 0)
        return TD_E_OK;
    return td_fail(failure, TD_E_LIMIT,
                   "%d inputs and %d outputs; functions have 1 to %d outputs and at most %d inputs", given->in_count,
                   given->out_count, TD_FUNCTION_TENSORS, TD_FUNCTION_TENSORS);
}

static struct applying *applying_new(const struct application *given, const char *name, struct td_failure *failure)
{
    struct applying *a = calloc(1, sizeof *a + (size_t)given->in_count * sizeof *a->in);
    if (!a) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return NULL;
    }
    a->given = *given;
    a->given.in = a->in;
    a->asked_grad = given->grad;
    a->held = 1;
    snprintf(a->name, sizeof a->name, "%s", name);
    for (int k = 0; k < given->in_count; k++)
        a->in[k] = tensor_ref(given->in[k]);
    return a;
}

int apply_results(struct session *session, const struct application *given, struct td_failure *failure)
{
    struct tensor *results[TD_FUNCTION_TENSORS + TD_FUNCTION_SAVED];
    int kept = given->result_count - given->out_count;
    if (check_counts(given, failure))
        return failure->code;
    if (kept < 0 || kept > TD_FUNCTION_SAVED)
        return td_fail(failure, TD_E_LIMIT, "%d results and saved values for %d outputs; at most %d are saved",
                       given->result_count, given->out_count, TD_FUNCTION_SAVED);
    struct applying *a = applying_new(given, given->name, failure);
    if (!a)
        return failure->code;
    a->outer_marks = session->marks;
    a->held = 2; /* its handle is still there */
    for (int k = 0; k < given->result_count; k++)
        results[k] = tensor_ref(given->results[k]);
    applied_then(session, results, given->result_count, NULL, a);
    return TD_E_OK;
}

int apply_run(struct session *session, const struct application *given, struct td_failure *failure)
{
    int kept = given->forward->out_count - given->out_count;
    if (check_counts(given, failure))
        return failure->code;
    if (kept < 0 || (given->backward && given->backward->in_count != given->out_count + kept) ||
        (given->backward && given->backward->out_count != given->in_count))
        return td_fail(failure, TD_E_ARGUMENT,
                       "forward and backward do not fit: %d outputs and saved values, a backward of %d inputs and %d "
                       "outputs",
                       given->forward->out_count, given->backward ? given->backward->in_count : 0,
                       given->backward ? given->backward->out_count : 0);
    struct applying *a = applying_new(given, given->forward->name, failure);
    if (!a)
        return failure->code;
    a->backward = given->backward ? program_ref(given->backward) : NULL;
    if (!a->backward)
        a->given.grad = false;
    a->outer_marks = session->marks;
    if (program_run(session, given->forward, given->in_count, a->in, true, applied_then, applying_dropped, a, failure))
        applying_free(session, a);
    else
        session->marks = false; /* what forward does is no part of the graph, in a checkpoint's replay either */
    return failure->code;
}
