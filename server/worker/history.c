/* Histories: gradients through writes. A base and its differentiable views are one family; a recorded write to any of
 * them makes a new whole content, strided_write(content, value, window), and a member that is used afterwards takes
 * strided_read(content, its window). No bytes are looked at here. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "server/worker/session.h"
#include "server/worker/tape.h"

void history_unref(struct session *session, struct history *history)
{
    if (--history->refs)
        return;
    if (history->content)
        node_unref(session, history->content);
    if (history->base)
        node_unref(session, history->base);
    free(history);
}

/* Elements of tensor's dtype that its storage holds. */
static int64_t content_size(const struct tensor *tensor)
{
    return (int64_t)(tensor->storage->block->size / td_dtype_size(tensor->dtype));
}

static struct history *history_new(const struct tensor *base)
{
    struct history *history = calloc(1, sizeof *history);
    if (!history)
        return NULL;
    history->refs = 1;
    history->version = base->version;
    history->content_size = content_size(base);
    history->base = base->node ? node_ref(base->node) : NULL;
    history->base_output = base->output;
    tensor_meta(base, &history->window);
    return history;
}

static struct history *history_of(struct tensor *tensor)
{
    if (!tensor->history)
        tensor->history = history_new(tensor);
    return tensor->history;
}

void history_mark_leaf(struct tensor *tensor, bool leaf)
{
    if (tensor->history)
        tensor->history->leaf = leaf;
}

int history_view(struct tensor *base, struct tensor *view, bool grad)
{
    bool of_leaf = node_is_leaf(base->node) || base->flags & TENSOR_VIEW_OF_LEAF;
    bool no_grad = !grad || base->flags & TENSOR_NO_GRAD_VIEW;
    if (no_grad)
        view->flags |= TENSOR_NO_GRAD_VIEW |
                       (base->node || tensor_is_marked(base) ? TENSOR_OF_GRAD : base->flags & TENSOR_OF_GRAD);
    else if (of_leaf)
        view->flags |= TENSOR_VIEW_OF_LEAF;
    if (of_leaf || view->flags & TENSOR_OF_GRAD)
        return 0;
    struct history *history = history_of(base);
    if (!history)
        return -1;
    history->refs++;
    view->history = history;
    view->version = history->version;
    return 0;
}

static bool wants_gradient(const struct history *history)
{
    return history && (history->content || history->base || history->marked);
}

int history_refuses(const struct tensor *target, bool recorded, struct td_failure *failure)
{
    bool leaf = node_is_leaf(target->node), of_leaf = target->flags & TENSOR_VIEW_OF_LEAF;
    bool no_grad = target->flags & TENSOR_NO_GRAD_VIEW;
    if (leaf || of_leaf || (!no_grad && target->history && target->history->leaf)) {
        td_fail(failure, TD_E_GRAD, "a %s that wants a gradient cannot be written to while recording",
                leaf ? "leaf" : "view of a leaf");
        return td_hint(failure, "Write under TD_NO_GRAD(s), or to a clone.");
    }
    if (no_grad && (recorded || target->flags & TENSOR_OF_GRAD || wants_gradient(target->history))) {
        td_fail(failure, TD_E_GRAD, "a view that was made under no_grad cannot be written to while recording");
        return td_hint(failure, "Make the view while recording, or write under TD_NO_GRAD(s).");
    }
    return TD_E_OK;
}

/* All content of a storage. */
static struct td_meta row_of(uint8_t dtype, int64_t size)
{
    return (struct td_meta){.dtype = dtype, .rank = 1, .shape = {size}, .stride = {1}};
}

static struct node *window_node(struct session *session, enum td_op_id id, const struct td_meta *window,
                                int64_t content_size, int in_count)
{
    struct td_strided_write_attrs attrs = {.offset = window->offset}; /* strided_read's are the same three */
    attrs.shape.count = attrs.stride.count = window->rank;
    memcpy(attrs.shape.v, window->shape, sizeof attrs.shape.v);
    memcpy(attrs.stride.v, window->stride, sizeof attrs.stride.v);
    struct node *node = node_new(session, td_op_of(id), &attrs, session->call_site, in_count);
    if (!node)
        return NULL;
    struct td_meta content = row_of(window->dtype, content_size);
    node->in[0].meta = content;
    node->out->meta = id == TD_OP_strided_read ? *window : content;
    if (in_count > 1)
        node->in[1].meta = *window;
    return node;
}

/* The node of the whole content with value in window; content may be NULL. Borrows both. */
static struct node *content_with(struct session *session, struct node *content, uint8_t content_output,
                                 struct node *value, uint8_t value_output, const struct td_meta *window,
                                 int64_t content_size)
{
    struct node *node = window_node(session, TD_OP_strided_write, window, content_size, 2);
    if (!node)
        return NULL;
    node->in[0].node = content ? node_ref(content) : NULL;
    node->in[0].output = content_output;
    node->in[1].node = value ? node_ref(value) : NULL;
    node->in[1].output = value_output;
    return node;
}

/* The node of the content as it is now, made of the base's where that has not happened yet; NULL without failed: the
 * content wants no gradient. */
static struct node *content_of(struct session *session, struct history *history, bool *failed)
{
    if (!history->content && history->base) {
        history->content = content_with(session, NULL, 0, history->base, history->base_output, &history->window,
                                        history->content_size);
        history->content_output = 0;
        *failed |= !history->content;
    }
    return history->content;
}

static bool same_window(const struct tensor *tensor, const struct td_meta *window)
{
    return tensor->rank == window->rank && tensor->offset == window->offset &&
           !memcmp(tensor->dims, window->shape, tensor->rank * sizeof *tensor->dims) &&
           !memcmp(tensor->dims + tensor->rank, window->stride, tensor->rank * sizeof *tensor->dims);
}

/* Whether content's window was written to last, and is known without the rest of it. */
static bool is_window_of(const struct node *content, const struct td_meta *window)
{
    const struct td_strided_write_attrs *a = (const void *)content->attrs;
    return content->op->id == TD_OP_strided_write && content->in[1].node && a->shape.count == window->rank &&
           a->offset == window->offset && !memcmp(a->shape.v, window->shape, window->rank * sizeof *window->shape) &&
           !memcmp(a->stride.v, window->stride, window->rank * sizeof *window->stride);
}

/* The node of window of content, with a reference. Where that was written to last it has the value for a second input:
 * gradients go there, and come to content only where its own is asked for. */
static struct node *window_on(struct session *session, const struct td_meta *window, struct node *content,
                              uint8_t output, int64_t size, bool *failed)
{
    bool known = is_window_of(content, window);
    struct node *node = window_node(session, TD_OP_strided_read, window, size, 1 + known);
    *failed |= !node;
    if (!node)
        return NULL;
    node->in[0].node = node_ref(content);
    node->in[0].output = output;
    if (known) {
        node->in[1].node = node_ref(content->in[1].node);
        node->in[1].output = content->in[1].output;
    }
    return node;
}

/* The node of window of the content as it is now, with a reference. */
static struct node *window_now(struct session *session, struct history *history, const struct td_meta *window,
                               bool *failed)
{
    struct node *content = content_of(session, history, failed);
    if (!content)
        return NULL;
    return window_on(session, window, content, history->content_output, history->content_size, failed);
}

/* The same of tensor's window, which the base may show by itself. */
static struct node *window_of(struct session *session, struct tensor *tensor, uint8_t *output, bool *failed)
{
    struct history *history = tensor->history;
    *output = 0;
    if ((history->base || !history->content) && same_window(tensor, &history->window)) {
        *output = history->base_output;
        return history->base ? node_ref(history->base) : NULL;
    }
    struct td_meta window;
    tensor_meta(tensor, &window);
    return window_now(session, history, &window, failed);
}

/* Whether the result of a node shares its input's storage. */
static bool is_view(const struct node *node)
{
    struct td_failure failure = {0};
    struct td_inference view = {
        .op = node->op, .in = &node->in[0].meta, .in_count = 1, .attrs = node->attrs, .failure = &failure};
    return node->op->kind == TD_VIEW && td_infer(&view) == TD_E_OK && view.shares == 0;
}

struct node *history_reach(struct session *session, struct tensor *base, struct tensor *view, bool *failed)
{
    struct td_meta seen;
    tensor_meta(view, &seen);
    if (view->history)
        return window_now(session, view->history, &seen, failed);
    /* Views of a leaf have no history: back through them to what they look at. */
    struct node *root = base->node, *content, *node;
    uint8_t output = base->output;
    struct td_meta window;
    tensor_meta(base, &window);
    while (root && root->op && is_view(root)) {
        window = root->in[0].meta;
        output = root->in[0].output;
        root = root->in[0].node;
    }
    if (!root || td_meta_overlaps_itself(&window))
        return NULL;
    int64_t size = content_size(view);
    if (!(content = content_with(session, NULL, 0, root, output, &window, size))) {
        *failed = true;
        return NULL;
    }
    node = window_on(session, &seen, content, 0, size, failed);
    node_unref(session, content);
    return node;
}

struct node *tensor_edge(struct session *session, struct tensor *tensor, bool *failed)
{
    bool apart = tensor->flags & TENSOR_NO_GRAD_VIEW; /* which only looks whether its base wants a gradient */
    if (!tensor->history || apart || tensor->history->version == tensor->version)
        return tensor->node;
    uint8_t output;
    bool missing = false; /* failed may be of another tensor */
    struct node *node = window_of(session, tensor, &output, &missing);
    *failed |= missing;
    if (missing)
        return NULL;
    tensor_tie(session, tensor, node, output);
    tensor->version = tensor->history->version;
    return node;
}

/* Whether a write to target leaves nothing of what its family held. */
static bool writes_whole(const struct tensor *target, const struct history *history)
{
    return same_window(target, &history->window) && td_meta_is_dense(&history->window);
}

/* history shows these from now on, whose references are taken over: its base alone, or all its content. */
static void show(struct session *session, struct history *history, struct node *base, uint8_t base_output,
                 struct node *content, uint8_t content_output)
{
    if (history->content)
        node_unref(session, history->content);
    if (history->base)
        node_unref(session, history->base);
    history->content = content;
    history->content_output = content_output;
    history->base = base;
    history->base_output = base_output;
}

int history_write(struct session *session, struct tensor *target, struct node *written)
{
    struct history *history = history_of(target);
    if (!history)
        return -1;
    struct node *shown;
    if (writes_whole(target, history)) {
        show(session, history, node_ref(written), 0, NULL, 0);
        shown = node_ref(written);
    } else {
        bool failed = false;
        struct node *before = content_of(session, history, &failed);
        struct td_meta window;
        tensor_meta(target, &window);
        struct node *content =
            failed ? NULL
                   : content_with(session, before, history->content_output, written, 0, &window, history->content_size);
        shown = content ? window_on(session, &window, content, 0, history->content_size, &failed) : NULL;
        if (!shown) {
            if (content)
                node_unref(session, content);
            return -1;
        }
        show(session, history, NULL, 0, content, 0);
    }
    history->version++;
    tensor_tie(session, target, shown, 0);
    target->version = history->version;
    return 0;
}

struct node *history_meets(const struct tensor *tensor, uint8_t *output)
{
    const struct history *history = tensor->history;
    bool apart = tensor->flags & TENSOR_NO_GRAD_VIEW;
    if (!history || apart || !history->content || history->base || !same_window(tensor, &history->window))
        return NULL;
    *output = history->content_output;
    return history->content;
}

/* ---- writes inside of a checkpoint ---- */

bool tensor_is_marked(const struct tensor *tensor)
{
    bool apart = tensor->flags & TENSOR_NO_GRAD_VIEW;
    return tensor->flags & TENSOR_MARKED || (tensor->history && !apart && tensor->history->marked);
}

int history_mark(struct tensor *target)
{
    struct history *history = history_of(target);
    if (!history)
        return -1;
    history->marked = true;
    history->marked_whole = writes_whole(target, history);
    return 0;
}

void history_become(struct session *session, struct history *history, struct node *node, uint8_t output, bool whole)
{
    if (whole)
        show(session, history, node, output, NULL, 0);
    else
        show(session, history, NULL, 0, node, output);
    history->version++;
}

struct td_meta history_shown(const struct history *history, bool whole)
{
    return whole ? history->window : row_of(history->window.dtype, history->content_size);
}

struct node *history_end(struct session *session, struct history *history, bool whole, uint8_t *output, bool *failed)
{
    *output = 0;
    if (whole && history->content && !history->base)
        return window_now(session, history, &history->window, failed);
    struct node *node = whole ? history->base : content_of(session, history, failed);
    *output = whole ? history->base_output : history->content_output;
    return node ? node_ref(node) : NULL;
}
