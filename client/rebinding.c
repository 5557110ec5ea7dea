/* Views in place: what a handle names becomes a view of itself, in the client's table and in the daemon's.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <inttypes.h>
#include <stdio.h>

int rebinding_check_window(const struct td_op *op, const struct entry *base, const struct td_meta *window,
                           struct td_failure *failure)
{
    int64_t first, end, bytes = base && base->storage ? base->storage->bytes : -1;
    int64_t size = bytes / (int64_t)td_dtype_size(window->dtype);
    td_meta_extent(window, &first, &end);
    if (bytes < 0 || end <= size)
        return TD_E_OK;
    return td_fail(failure, TD_E_ARGUMENT,
                   "%s: the window ends at element %" PRId64 " of a storage of %" PRId64 " elements", op->name, end,
                   size);
}

int rebinding_check(const struct td_session *s, const struct td_op *op, struct entry *const *in, bool recording,
                    struct td_failure *failure)
{
    const struct td_op write = {.name = op->name, .kind = TD_INPLACE};
    if (s->recording) {
        td_fail(failure, TD_E_ARGUMENT, "%s: a recorded program cannot change what a tensor is", op->name);
        return td_hint(failure, "The function without the _ gives the view as another tensor.");
    }
    if (op->no_gradient) { /* detach_ */
        if (!(in[0]->flags & ENTRY_VIEW) || !autograd_requires(in[0]))
            return TD_E_OK;
        td_fail(failure, TD_E_GRAD, "%s: x is a view of a tensor of the graph, which goes on being part of it",
                op->name);
        return td_hint(failure, "td_detach(x) gives a tensor outside of the graph.");
    }
    if (recording || !autograd_requires(in[0]))
        return recording ? autograd_check_write(&write, in, failure) : TD_E_OK;
    td_fail(failure, TD_E_GRAD, "%s: the graph of x would not know of it under TD_NO_GRAD", op->name);
    return td_hint(failure, "td_detach(x) gives a tensor outside of the graph.");
}

void rebinding_note(const struct td_op *op, struct entry *const *in, const struct td_meta *view, bool recording,
                    bool vague)
{
    struct entry *e = in[0];
    uint32_t before = e->flags;
    e->meta = *view;
    e->meta.scalar = false;
    e->maker = td_op_of(op->id);
    if (op->no_gradient)
        e->flags &= ~(uint32_t)(ENTRY_REQUIRES_GRAD | ENTRY_LEAF_VIEW | ENTRY_NO_GRAD_VIEW);
    autograd_note(op, e, in, 1, 0, recording);
    if (!(before & ENTRY_VIEW)) /* of another tensor */
        e->flags &= ~(uint32_t)ENTRY_VIEW;
    if (vague)
        layout_note(op, e, in, 1, 0);
}

td_tensor client_view_in_place(const struct client_op *given)
{
    struct client_op op = *given;
    char name[64];
    snprintf(name, sizeof name, "%s_", td_op_of(given->id)->name);
    op.name = name;
    op.rebinds = true;
    return client_op(&op);
}
