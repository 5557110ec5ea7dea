/* Checkpoints. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/apply.h"

/* Outputs of a node are numbered in a byte. */
#define OUTPUTS_MAX 255

static int no_memory(struct td_failure *failure)
{
    return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
}

/* What is outside is no longer marked so. */
static void forget_origins(struct session *session, struct checkpoint *c)
{
    for (size_t k = 0; c->origins && k < c->content_count; k++) {
        c->origins[k]->outside--;
        storage_unref(session, c->origins[k]);
    }
    free(c->origins);
    c->origins = NULL;
}

void checkpoint_free(struct session *session, struct checkpoint *c)
{
    forget_origins(session, c);
    for (size_t k = 0; k < c->content_count; k++)
        storage_unref(session, c->contents[k]);
    free(c->contents);
    free(c->windows);
    program_unref(session, c->program);
    free(c);
}

int checkpoint_begin(struct session *session, uint32_t site, struct td_failure *failure)
{
    struct checkpoint *c = calloc(1, sizeof *c);
    (void)site;
    if (!c)
        return no_memory(failure);
    if (recording_begin(session, 0, "checkpoint", false, 0, NULL, failure)) {
        free(c);
        return failure->code;
    }
    struct recording *recording = session->recording;
    c->program = program_ref(recording->program);
    c->draw = (struct draw){session->seed, session->random_counter};
    recording->checkpoint = c;
    recording->no_grad = session->no_grad;
    recording->marks = session->marks;
    session->marks = !session->no_grad || session->marks;
    session->no_grad = true;
    return TD_E_OK;
}

bool checkpoint_captures(struct recording *recording, struct tensor *tensor)
{
    struct checkpoint *c = recording->checkpoint;
    struct window window = {.content = -1};
    tensor_meta(tensor, &window.meta);
    for (size_t k = 0; k < c->content_count && tensor->storage; k++)
        if (c->origins[k] == tensor->storage)
            window.content = (int)k;
    if (window.content < 0 && tensor->storage) {
        if (!array_grow(&c->contents, c->content_count, &c->content_capacity, sizeof *c->contents) ||
            !array_grow(&c->origins, c->content_count, &c->origin_capacity, sizeof *c->origins))
            return false;
        struct storage *fork = storage_fork(tensor->storage);
        if (!fork)
            return false;
        window.content = (int)c->content_count;
        c->contents[c->content_count] = fork;
        c->origins[c->content_count++] = tensor->storage;
        tensor->storage->refs++;
        tensor->storage->outside++;
    }
    if (!array_grow(&c->windows, c->window_count, &c->window_capacity, sizeof *c->windows))
        return false;
    c->windows[c->window_count++] = window;
    return true;
}

/* The handles that the stretch made, that are still bound and that a gradient may come back to. *count: how many. To be
 * freed. */
static uint32_t *find_outputs(const struct session *session, const struct recording *recording, int *count,
                              struct td_failure *failure)
{
    const struct names *names = session->names;
    uint32_t *handles = malloc(OUTPUTS_MAX * sizeof *handles);
    *count = 0;
    if (!handles)
        no_memory(failure);
    for (uint32_t k = 0; handles && k < recording->known_count && k < names->capacity; k++) {
        const struct tensor *tensor = names->tensors[k];
        if (recording->known[k] != KNOWN_MADE || !tensor || tensor->failed || !tensor->storage->wants ||
            td_dtype_category(tensor->dtype) != TD_FLOATING)
            continue;
        if (*count == OUTPUTS_MAX) {
            td_fail(failure, TD_E_LIMIT, "more than %d tensors that were made inside are still held", OUTPUTS_MAX);
            td_hint(failure, "td_release what is not needed outside.");
            break;
        }
        handles[(*count)++] = k;
    }
    return handles;
}

/* The node that stands for the stretch. Takes c over. */
static struct node *node_of(struct session *session, struct checkpoint *c, uint32_t site, int out_count,
                            struct td_failure *failure)
{
    struct applied *applied = calloc(1, sizeof *applied);
    struct node *node = applied ? node_of_function(session, applied, site, (int)c->window_count, out_count) : NULL;
    bool failed = false;
    if (!node) {
        free(applied);
        checkpoint_free(session, c);
        no_memory(failure);
        return NULL;
    }
    strcpy(applied->name, "checkpoint");
    applied->checkpoint = c;
    for (size_t k = 0; k < c->window_count; k++) {
        struct tensor *tensor = c->program->captures[k].tensor;
        struct node *edge = tensor->failed ? NULL : tensor_edge(session, tensor, &failed);
        node->in[k].meta = c->windows[k].meta;
        node->in[k].node = edge ? node_ref(edge) : NULL;
        node->in[k].output = edge ? tensor->output : 0;
    }
    if (!failed)
        return node;
    node_unref(session, node);
    no_memory(failure);
    return NULL;
}

/* handle's tensor is the node's output k from now on, and nobody's view. */
static int tie_output(struct session *session, uint32_t handle, struct node *node, int k, struct td_failure *failure)
{
    struct tensor **bound = &session->names->tensors[handle], *old = *bound;
    struct tensor *out = output_of_function(old);
    if (!out)
        return no_memory(failure);
    tensor_meta(out, &node->out[k].meta);
    tensor_tie(session, out, node_ref(node), (uint8_t)k);
    out->storage->wants = false;
    *bound = out;
    tensor_unref(session, old);
    return TD_E_OK;
}

int checkpoint_end(struct session *session, uint32_t site, struct td_failure *failure)
{
    struct recording *recording = session->recording;
    while (recording && recording->names == session->names && !recording->checkpoint)
        recording = recording->outer;
    if (!recording || recording->names != session->names) {
        td_fail(failure, TD_E_ARGUMENT, "no TD_CHECKPOINT is in work");
        return td_hint(failure, "A program that is recorded inside of one must end inside of it.");
    }
    if (recording_abandon(session, recording, failure))
        td_hint(failure, "A program that is recorded inside of TD_CHECKPOINT must end inside of it.");
    struct checkpoint *c = recording->checkpoint;
    int count = 0;
    uint32_t *handles = c->program->cause ? NULL : find_outputs(session, recording, &count, failure);
    if (c->program->cause)
        *failure = (struct td_failure){.code = c->program->cause->code};
    recording->checkpoint = NULL;
    uint32_t *out = malloc(((size_t)count + 1) * sizeof *out);
    if (!out)
        no_memory(failure);
    else if (count)
        memcpy(out, handles, (size_t)count * sizeof *out);
    session->no_grad = recording->no_grad;
    session->marks = recording->marks;
    c->program->out = out;
    c->program->out_count = out ? count : 0;
    recording_pop(session);
    struct program *program = c->program;
    struct node *node = NULL;
    forget_origins(session, c);
    if (failure->code || session->no_grad || count == 0) /* inside of another one the walk will make the node */
        checkpoint_free(session, c);
    else
        node = node_of(session, c, site, count, failure);
    for (size_t k = 0; k < program->capture_count; k++) { /* the node has what it needs of them */
        tensor_unref(session, program->captures[k].tensor);
        program->captures[k].tensor = NULL;
    }
    for (int k = 0; k < count && node && !failure->code; k++)
        tie_output(session, handles[k], node, k, failure);
    if (node)
        node_unref(session, node);
    program_unref(session, program); /* the recording's */
    free(handles);
    return failure->code;
}

int checkpoint_restore(struct session *session, struct node *node, struct td_failure *failure)
{
    struct checkpoint *c = node->applied->checkpoint;
    struct program *program = c->program;
    struct storage **contents = calloc(c->content_count + 1, sizeof *contents);
    if (!contents)
        return no_memory(failure);
    for (size_t k = 0; k < c->content_count && !failure->code; k++)
        if (!(contents[k] = storage_fork(c->contents[k])))
            no_memory(failure);
    for (size_t k = 0; k < c->window_count && !failure->code; k++) {
        const struct window *w = &c->windows[k];
        struct tensor *tensor =
            w->content < 0 ? tensor_failed(trace_cause()) : tensor_new(&w->meta, contents[w->content]);
        if (!tensor)
            no_memory(failure);
        else if (node->in[k].node)
            tensor_tie(session, tensor, node_ref(node->in[k].node), node->in[k].output);
        program->captures[k].tensor = tensor;
    }
    for (size_t k = 0; k < c->content_count; k++)
        if (contents[k])
            storage_unref(session, contents[k]);
    free(contents);
    return failure->code;
}
