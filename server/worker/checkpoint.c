/* Checkpoints. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/apply.h"

/* Outputs of a node are numbered in a byte. */
#define OUTPUTS_MAX 255
/* history->place of a family made inside that has become an output. */
#define IN_LINE UINT32_MAX

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
    for (size_t k = 0; k < c->leaf_count; k++)
        node_unref(session, c->leaves[k]);
    free(c->leaves);
    free(c->families);
    free(c->shown);
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

bool checkpoint_captures(struct session *session, struct recording *recording, struct tensor *tensor)
{
    struct checkpoint *c = recording->checkpoint;
    struct window window = {.content = -1, .family = -1};
    tensor_meta(tensor, &window.meta);
    for (size_t k = 0; k < c->content_count && tensor->storage; k++)
        if (c->origins[k] == tensor->storage)
            window.content = (int)k;
    if (window.content < 0 && tensor->storage) {
        if (!array_grow(&c->contents, c->content_count, &c->content_capacity, sizeof *c->contents) ||
            !array_grow(&c->origins, c->content_count, &c->origin_capacity, sizeof *c->origins))
            return false;
        struct storage *fork = storage_fork(session, tensor->storage);
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

/* ---- leaves that are made inside ---- */

struct node *checkpoint_leaf(struct session *session, struct node *leaf)
{
    struct checkpoint *replayed = session->replayed;
    if (replayed && replayed->leaf_at < replayed->leaf_count) {
        node_unref(session, leaf);
        leaf = node_ref(replayed->leaves[replayed->leaf_at++]);
    }
    for (struct recording *r = session->recording; r; r = r->outer) {
        struct checkpoint *c = r->checkpoint;
        if (!c)
            continue;
        if (!array_grow(&c->leaves, c->leaf_count, &c->leaf_capacity, sizeof *c->leaves)) {
            node_unref(session, leaf);
            return NULL;
        }
        c->leaves[c->leaf_count++] = node_ref(leaf);
    }
    return leaf;
}

/* ---- programs that run inside ---- */

void checkpoint_note(struct checkpoint *c, const struct program *program, size_t index)
{
    c->windows[c->window_count - 1].of = program;
    c->windows[c->window_count - 1].index = index;
}

const struct window *checkpoint_find(const struct checkpoint *c, const struct program *program, size_t index)
{
    for (size_t k = 0; k < c->window_count; k++)
        if (c->windows[k].of == program && c->windows[k].index == index)
            return &c->windows[k];
    return NULL;
}

struct tensor *checkpoint_shows(const struct session *session, const struct program *program, size_t index)
{
    const struct checkpoint *c = session->replayed;
    const struct window *window = c ? checkpoint_find(c, program, index) : NULL;
    return window ? c->program->captures[window - c->windows].tensor : program->captures[index].tensor;
}

/* ---- the end ---- */

static struct history *history_at(const struct program *program, size_t k)
{
    const struct tensor *tensor = program->captures[k].tensor;
    return tensor->failed ? NULL : tensor->history;
}

/* The families that the captures belong to; their histories know their places until forget_families. */
static int find_families(struct session *session, struct checkpoint *c, struct td_failure *failure)
{
    bool failed = false;
    for (size_t k = 0; k < c->window_count; k++) { /* their nodes are made now, to be older than the checkpoint's */
        struct tensor *tensor = c->program->captures[k].tensor;
        if (!tensor->failed)
            tensor_edge(session, tensor, &failed);
    }
    if (failed)
        return no_memory(failure);
    for (size_t k = 0; k < c->window_count; k++) {
        struct window *window = &c->windows[k];
        struct history *history = history_at(c->program, k);
        window->flags = c->program->captures[k].tensor->flags & ~TENSOR_MARKED;
        if (!history)
            continue;
        if (!history->place) {
            if (!array_grow(&c->families, c->family_count, &c->family_capacity, sizeof *c->families))
                return no_memory(failure);
            struct family *family = &c->families[c->family_count++];
            *family = (struct family){.start = *history,
                                      .of_content = history->content && !history->base,
                                      .written = history->marked,
                                      .whole = history->marked_whole,
                                      .output = c->written_count,
                                      .member = k};
            c->written_count += family->written;
            history->place = (uint32_t)c->family_count;
        }
        window->family = (int)history->place - 1;
        struct family *family = &c->families[window->family];
        if (c->windows[family->member].flags & TENSOR_NO_GRAD_VIEW)
            family->member = k;
    }
    return TD_E_OK;
}

/* Nothing outside is marked any more, unless a checkpoint around goes on. */
static void forget_families(const struct session *session, const struct program *program)
{
    for (size_t k = 0; k < program->capture_count; k++) {
        struct history *history = history_at(program, k);
        if (!history)
            continue;
        history->place = 0;
        history->marked &= session_in_checkpoint(session);
    }
}

/* The history that says what a tensor made inside holds; NULL: it is nobody's view and has none. */
static struct history *own_history(const struct tensor *tensor)
{
    return tensor->flags & TENSOR_NO_GRAD_VIEW ? NULL : tensor->history;
}

/* Whether a gradient comes back to a tensor made inside by an output of its own; those whose family has become one find
 * it there. */
static bool is_output(const struct checkpoint *c, const struct tensor *tensor)
{
    if (!tensor || tensor->failed || td_dtype_category(tensor->dtype) != TD_FLOATING || !tensor_is_marked(tensor))
        return false;
    uint32_t place = own_history(tensor) ? own_history(tensor)->place : 0;
    return !place || (place != IN_LINE && !c->families[place - 1].written);
}

static enum shown what_to_show(const struct tensor *tensor)
{
    const struct history *history = own_history(tensor);
    if (!history || history->place)
        return SHOWN_ITSELF;
    bool whole = td_meta_is_dense(&history->window) && td_meta_bytes(&history->window) == tensor->storage->bytes;
    return whole ? SHOWN_BASE : SHOWN_CONTENT;
}

static void add_output(struct checkpoint *c, uint32_t handle, const struct tensor *tensor)
{
    struct program *program = c->program;
    enum shown shown = what_to_show(tensor);
    program->out[program->out_count] = handle;
    c->shown[program->out_count++] = (uint8_t)shown;
    if (shown != SHOWN_ITSELF)
        tensor->history->place = IN_LINE;
}

/* Gives the program its outputs: the handles that the stretch made, that are still bound and that a gradient may come
 * back to. */
static int find_outputs(const struct session *session, const struct recording *recording, struct td_failure *failure)
{
    const struct names *names = session->names;
    struct checkpoint *c = recording->checkpoint;
    struct program *program = c->program;
    int room = OUTPUTS_MAX - c->written_count;
    program->out = malloc(OUTPUTS_MAX * sizeof *program->out);
    c->shown = malloc(OUTPUTS_MAX);
    if (!program->out || !c->shown)
        return no_memory(failure);
    for (uint32_t k = 0; k < recording->known_count && k < names->capacity && room >= 0; k++)
        if (recording->known[k] == KNOWN_MADE && is_output(c, names->tensors[k]) && room-- > 0)
            add_output(c, k, names->tensors[k]);
    for (int k = 0; k < program->out_count; k++)
        if (c->shown[k] != SHOWN_ITSELF)
            names->tensors[program->out[k]]->history->place = 0;
    if (room >= 0)
        return TD_E_OK;
    td_fail(failure, TD_E_LIMIT, "more than %d tensors that were made inside, or written to, are still held",
            OUTPUTS_MAX);
    return td_hint(failure, "td_release what is not needed outside.");
}

/* Input k of node shows output of from. */
static void set_input(struct node *node, size_t k, const struct td_meta *meta, struct node *from, uint8_t output)
{
    node->in[k].meta = *meta;
    node->in[k].node = from ? node_ref(from) : NULL;
    node->in[k].output = from ? output : 0;
}

static void set_inputs(struct node *node, struct checkpoint *c)
{
    for (size_t k = 0; k < c->window_count; k++) {
        const struct tensor *tensor = c->program->captures[k].tensor;
        set_input(node, k, &c->windows[k].meta, tensor->failed ? NULL : tensor->node, tensor->output);
    }
    for (size_t k = 0; k < c->family_count; k++) {
        const struct history *history = history_at(c->program, c->families[k].member);
        bool whole = !c->families[k].of_content;
        struct td_meta shown = history_shown(history, whole);
        set_input(node, c->window_count + k, &shown, whole ? history->base : history->content,
                  whole ? history->base_output : history->content_output);
    }
    for (size_t k = 0; k < c->leaf_count; k++)
        set_input(node, c->window_count + c->family_count + k, &c->leaves[k]->out->meta, c->leaves[k], 0);
}

/* The node that stands for the stretch. Takes c over. */
static struct node *node_of(struct session *session, struct checkpoint *c, uint32_t site, struct td_failure *failure)
{
    int in_count = (int)(c->window_count + c->family_count + c->leaf_count),
        out_count = c->program->out_count + c->written_count;
    struct applied *applied = calloc(1, sizeof *applied);
    struct node *node = applied ? node_of_function(session, applied, site, in_count, out_count) : NULL;
    if (!node) {
        free(applied);
        checkpoint_free(session, c);
        no_memory(failure);
        return NULL;
    }
    strcpy(applied->name, "checkpoint");
    applied->checkpoint = c;
    set_inputs(node, c);
    return node;
}

/* The tensor that is held by the handle of output k, or its family, is the node's output from now on. */
static void tie_output(struct session *session, const struct checkpoint *c, struct node *node, int k)
{
    struct tensor *tensor = session->names->tensors[c->program->out[k]];
    bool whole = c->shown[k] == SHOWN_BASE;
    if (c->shown[k] == SHOWN_ITSELF) {
        tensor_meta(tensor, &node->out[k].meta);
        tensor_tie(session, tensor, node_ref(node), (uint8_t)k);
    } else {
        node->out[k].meta = history_shown(tensor->history, whole);
        history_become(session, tensor->history, node_ref(node), (uint8_t)k, whole);
        tensor->history->marked = false;
    }
    tensor->flags &= ~TENSOR_MARKED;
}

/* What the stretch wrote to is what the node gives from now on. */
static int tie_families(struct session *session, struct checkpoint *c, struct node *node, struct td_failure *failure)
{
    bool failed = false;
    for (size_t k = 0; k < c->family_count; k++) {
        const struct family *family = &c->families[k];
        int output = c->program->out_count + family->output;
        if (!family->written)
            continue;
        struct history *history = history_at(c->program, family->member);
        node->out[output].meta = history_shown(history, family->whole);
        history_become(session, history, node_ref(node), (uint8_t)output, family->whole);
    }
    for (size_t k = 0; k < c->window_count; k++) { /* whose gradient is kept has that of the latest version */
        struct tensor *tensor = c->program->captures[k].tensor;
        if (!tensor->failed && tensor->retained)
            tensor_edge(session, tensor, &failed);
    }
    return failed ? no_memory(failure) : TD_E_OK;
}

/* What comes out of the stretch is tied to a node for it. */
static void tie(struct session *session, struct checkpoint *c, uint32_t site, struct td_failure *failure)
{
    struct program *program = c->program;
    struct node *node = node_of(session, c, site, failure);
    if (!node)
        return;
    for (int k = 0; k < program->out_count; k++)
        tie_output(session, c, node, k);
    tie_families(session, c, node, failure);
    node_unref(session, node);
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
    struct program *program = c->program;
    if (program->cause)
        *failure = (struct td_failure){.code = program->cause->code};
    else if (!find_families(session, c, failure))
        find_outputs(session, recording, failure);
    recording->checkpoint = NULL;
    session->no_grad = recording->no_grad;
    session->marks = recording->marks;
    recording_pop(session);
    forget_origins(session, c);
    bool comes_out = program->out_count + c->written_count > 0;
    if (!failure->code && !session->no_grad && comes_out) /* inside of another one the walk will make the node */
        tie(session, c, site, failure);
    else
        checkpoint_free(session, c);
    forget_families(session, program);
    for (size_t k = 0; k < program->capture_count; k++) { /* the node has what it needs of them */
        tensor_unref(session, program->captures[k].tensor);
        program->captures[k].tensor = NULL;
    }
    program_unref(session, program); /* the recording's */
    return failure->code;
}

/* ---- the replay ---- */

bool checkpoint_repeats(struct session *session, int code)
{
    struct checkpoint *c = session->replayed;
    if (code == TD_E_MEMORY || code == TD_E_CANCELLED) /* which another time need not come again */
        return false;
    for (struct recording *r = session->recording; r; r = r->outer)
        if (r->checkpoint)
            r->checkpoint->failures++;
    if (!c || c->repeated == c->failures)
        return false;
    c->repeated++;
    return true;
}

static const struct family *written_family(const struct checkpoint *c, int output)
{
    const struct family *family = c->families;
    while (!family->written || family->output != output)
        family++;
    return family;
}

enum shown checkpoint_shown(const struct checkpoint *c, int output)
{
    int behind = output - c->program->out_count;
    if (behind < 0)
        return (enum shown)c->shown[output];
    return written_family(c, behind)->whole ? SHOWN_BASE : SHOWN_CONTENT;
}

struct tensor *checkpoint_member(const struct checkpoint *c, int output)
{
    return c->program->captures[written_family(c, output)->member].tensor;
}

/* A family as it was before the stretch. NULL without memory. */
static struct history *restored(const struct family *family, const struct node_input *start)
{
    struct history *history = malloc(sizeof *history);
    if (!history)
        return NULL;
    *history = family->start;
    history->refs = 1;
    history->marked = false;
    history->place = 0;
    history->content = history->base = NULL;
    if (start->node && family->of_content) {
        history->content = node_ref(start->node);
        history->content_output = start->output;
    } else if (start->node) {
        history->base = node_ref(start->node);
        history->base_output = start->output;
    }
    return history;
}

static int restore_capture(struct session *session, struct node *node, size_t k, struct storage *const *contents,
                           struct history *const *families, struct td_failure *failure)
{
    struct checkpoint *c = node->applied->checkpoint;
    const struct window *w = &c->windows[k];
    struct tensor *tensor =
        w->content < 0 ? tensor_failed(trace_cause()) : tensor_new(session, &w->meta, contents[w->content]);
    c->program->captures[k].tensor = tensor;
    if (!tensor)
        return no_memory(failure);
    if (node->in[k].node)
        tensor_tie(session, tensor, node_ref(node->in[k].node), node->in[k].output);
    tensor->flags = w->flags;
    if (w->family >= 0) {
        tensor->history = families[w->family];
        tensor->history->refs++;
        tensor->version = tensor->history->version;
    }
    return TD_E_OK;
}

int checkpoint_restore(struct session *session, struct node *node, struct td_failure *failure)
{
    struct checkpoint *c = node->applied->checkpoint;
    struct storage **contents = calloc(c->content_count + 1, sizeof *contents);
    struct history **families = calloc(c->family_count + 1, sizeof *families);
    c->repeated = c->leaf_at = 0;
    if (!contents || !families)
        no_memory(failure);
    for (size_t k = 0; k < c->content_count && !failure->code; k++)
        if ((contents[k] = storage_fork(session, c->contents[k])))
            contents[k]->outside = 1;
        else
            no_memory(failure);
    for (size_t k = 0; k < c->family_count && !failure->code; k++)
        if (!(families[k] = restored(&c->families[k], &node->in[c->window_count + k])))
            no_memory(failure);
    for (size_t k = 0; k < c->window_count && !failure->code; k++)
        restore_capture(session, node, k, contents, families, failure);
    for (size_t k = 0; contents && k < c->content_count; k++)
        if (contents[k])
            storage_unref(session, contents[k]);
    for (size_t k = 0; families && k < c->family_count; k++)
        if (families[k])
            history_unref(session, families[k]);
    free(contents);
    free(families);
    return failure->code;
}

void checkpoint_drop(struct session *session, struct checkpoint *c)
{
    for (size_t k = 0; k < c->program->capture_count; k++) {
        tensor_unref(session, c->program->captures[k].tensor);
        c->program->captures[k].tensor = NULL;
    }
}
