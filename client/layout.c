/* Layouts that only data can tell. The result of an op that takes a SIZE has a rank and a dtype that are known and
 * sizes that are not: its entry is ENTRY_UNKNOWN, and its meta has sizes that inference accepts as well as any, so that
 * what is computed from it has rank and dtype without a wait. Who needs sizes asks the daemon, once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/recording.h"

#include <stdlib.h>

int layout_read_sizes(struct td_reader *r, int64_t *sizes)
{
    uint32_t count = td_read_array(r);
    r->failed |= count > TD_RANK_MAX;
    for (uint32_t d = 0; d < count && !r->failed; d++)
        r->failed |= !td_take_int(r, &sizes[d]);
    return (int)count;
}

/* Takes [error, dtype, shape, strides, offset, grad] apart; false if it is not that, or does not fit what is known:
 * rank and dtype, if there is a dtype. */
static bool take_layout(struct td_reader *r, struct td_meta *meta, uint64_t *grad, struct cause **error)
{
    struct td_meta found = {.dtype = meta->dtype, .rank = meta->rank};
    td_read_array(r);
    if (!td_read_nil(r)) {
        *error = reply_error(r);
        return *error != NULL;
    }
    uint64_t dtype = td_read_uint(r);
    int rank = layout_read_sizes(r, found.shape), strides = layout_read_sizes(r, found.stride);
    r->failed |= !td_take_int(r, &found.offset);
    *grad = td_read_uint(r);
    if (found.dtype == TD_DTYPE_NONE && td_dtype_known(dtype)) {
        found.dtype = (uint8_t)dtype;
        found.rank = (uint8_t)rank;
    }
    if (r->failed || dtype != found.dtype || rank != found.rank || strides != rank ||
        td_checked_numel(rank, found.shape) < 0)
        return false;
    *meta = found;
    return true;
}

struct entry *layout_learn(struct td_session *s, td_tensor x, td_origin origin)
{
    void *map = NULL;
    size_t bytes = 0;
    struct wait wait = {.map = &map, .map_bytes = &bytes};
    struct entry *e = handles_find(s, x);
    if (!e || !(e->flags & ENTRY_UNKNOWN) || e->cause || s->dead)
        return e;
    if (recording_refuses(s, "layout", origin)) {
        e->cause = cause_ref(s->recording->cause);
        return e;
    }
    request_numbers(s, site_number(s, origin.where), TD_R_LAYOUT, 1, (uint64_t[]){x.handle});
    wait.request = s->wire.requests;
    bool there = !s->dead && connection_wait(s, &wait);
    e = handles_find(s, x);
    if (there && e && map) {
        struct td_reader r = td_reader_of(map, bytes);
        struct cause *error = NULL;
        struct td_failure failure = {0};
        uint64_t grad = 0;
        if (!take_layout(&r, &e->meta, &grad, &error)) {
            td_fail(&failure, TD_E_PROTOCOL, "the daemon sent a layout that does not fit");
            error = cause_new(&failure, "layout", origin.where, s->wire.requests);
        }
        e->flags &= ~(uint32_t)(ENTRY_UNKNOWN | ENTRY_TURNED);
        if (!error)
            autograd_learn(e, grad);
        e->cause = error;
    }
    cause_unref(wait.error);
    free(map);
    return e;
}

struct entry *layout_begin(td_origin origin, td_tensor x, const char *what, bool wants_value)
{
    struct entry *e = query_begin(origin, x, what, wants_value);
    if (!e || !(e->flags & ENTRY_UNKNOWN))
        return e;
    e = layout_learn(x.session, x, origin);
    if (!e || !e->cause || !wants_value)
        return e;
    error_raise(x.session, e->cause);
    query_end(origin, x);
    return NULL;
}

/* What op gives depends on more of an input than its rank: squeeze's own rank does, and whether the others can show
 * the same bytes. */
bool layout_decides(const struct td_op *op, const struct entry *x)
{
    if (op->id == TD_OP_squeeze)
        return true;
    bool may_copy = op->id == TD_OP_reshape || op->id == TD_OP_flatten || op->id == TD_OP_contiguous;
    return may_copy && x->flags & ENTRY_TURNED;
}

void layout_note(const struct td_op *op, struct entry *result, struct entry *const *in, int count, int shares)
{
    bool turned = shares >= 0 && op->id != TD_OP_reshape && op->id != TD_OP_flatten && op->id != TD_OP_contiguous;
    for (int k = 0; k < count; k++)
        turned |= in[k] && in[k]->flags & ENTRY_TURNED;
    /* An elementwise result may follow inputs whose strides are known, too. */
    for (int k = 0; k < count; k++)
        turned |= in[k] && !(in[k]->flags & ENTRY_UNKNOWN) && !td_meta_is_contiguous(&in[k]->meta);
    if (td_op_is_sized(op))
        turned = op->id == TD_OP_nonzero;
    if (result->meta.rank || shares >= 0)
        result->flags |= ENTRY_UNKNOWN | (turned ? ENTRY_TURNED : 0);
}
