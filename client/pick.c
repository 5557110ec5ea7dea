/* Indexing: integers, slices, new dimensions, lists of indices and masks, mixed as PyTorch mixes them. What stands
 * before the tensors makes views; tensors make one index or index_put of those. A mask is the columns of its nonzero.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <inttypes.h>
#include <string.h>

/* What the picks come to: a view, and indices for some of its dimensions. */
struct picking {
    td_origin origin;
    const char *name; /* of the call, for errors */
    td_tensor x, view;
    bool made;    /* view is not x itself */
    bool used_up; /* x is, by the first op on it */
    int rank, dim;
    int count;
    td_operand index[TD_RANK_MAX];
    bool index_used_up[TD_RANK_MAX];
    struct td_dims dims;
    struct td_failure failure;
    struct cause *cause; /* of an error value among the picks */
};

static td_tensor apply(td_origin origin, bool used_up, enum td_op_id id, td_tensor x, const void *attrs)
{
    const td_operand in = td_operand_of_tensor(x);
    return client_op(&(struct client_op){
        .id = (uint16_t)id, .origin = {origin.where, used_up}, .in = &in, .in_count = 1, .attrs = attrs});
}

/* The view so far, seen through one op more. */
static void see(struct picking *p, enum td_op_id id, const void *attrs)
{
    p->view = apply(p->origin, p->made || p->used_up, id, p->view, attrs);
    p->made = true;
}

static bool is_used_up(const td_pick *pick)
{
    return pick->used_up && pick->tensor.generation & FRESH;
}

static void release(td_tensor x)
{
    session_enter(x.session);
    if (handles_find(x.session, x))
        request_release(x.session, x.handle);
    session_leave(x.session);
}

/* ---- what the picks are ---- */

static const char *check_tensor(struct picking *p, td_tensor x, struct td_meta *meta)
{
    session_enter(p->x.session);
    const struct entry *e = handles_find(p->x.session, x);
    *meta = e ? e->meta : (struct td_meta){0};
    if (e && e->cause && !p->cause)
        p->cause = cause_ref(e->cause);
    session_leave(p->x.session);
    return e ? NULL : "a tensor among the indices was released, or is of another session";
}

/* How many dimensions a pick takes. */
static int taken(struct picking *p, const td_pick *pick)
{
    struct td_meta meta;
    const char *wrong;
    if (pick->kind != TD_PICK_TENSOR)
        return pick->kind == TD_PICK_INDEX || pick->kind == TD_PICK_SLICE || pick->kind == TD_PICK_EVERY;
    if ((wrong = check_tensor(p, pick->tensor, &meta))) {
        td_fail(&p->failure, TD_E_HANDLE, "%s: %s", p->name, wrong);
    } else if (!p->cause && meta.dtype != TD_I64 && meta.dtype != TD_BOOL) {
        td_fail(&p->failure, TD_E_DTYPE, "%s: indices are i64 or masks bool, not %s", p->name,
                td_dtype_name(meta.dtype));
        td_hint(&p->failure, "td_to(x, TD_I64) converts.");
    }
    return meta.dtype == TD_BOOL ? meta.rank : 1;
}

/* Dimensions that TD_REST stands for. */
static int rest_of(struct picking *p, int64_t count, const td_pick *picks)
{
    int due = 0, rests = 0;
    for (int64_t k = 0; k < count; k++) {
        due += taken(p, &picks[k]);
        rests += picks[k].kind == TD_PICK_REST;
    }
    if (rests > 1)
        td_fail(&p->failure, TD_E_ARGUMENT, "%s: TD_REST stands there more than once", p->name);
    if (due > p->rank && !p->cause) {
        td_fail(&p->failure, TD_E_INDEX, "%s: too many indices: %d for a tensor of %d dimensions", p->name, due,
                p->rank);
        td_hint(&p->failure, "Each dimension takes one; a mask takes as many as it has, TD_NEWAXIS none.");
    }
    return p->rank - due;
}

/* ---- tensors among them ---- */

static void note(struct picking *p, td_tensor index, bool used_up)
{
    if (p->count == TD_RANK_MAX) {
        td_fail(&p->failure, TD_E_LIMIT, "%s: more than %d indices", p->name, TD_RANK_MAX);
        if (used_up)
            release(index);
        return;
    }
    p->dims.v[p->count] = p->dim++;
    p->index_used_up[p->count] = used_up;
    p->index[p->count++] = td_operand_of_tensor(index);
}

/* A mask has the sizes of the dimensions that it is for; nothing else would refuse another. */
static bool mask_fits(struct picking *p, td_tensor mask)
{
    td_origin here = {p->origin.where, 0};
    td_layout m = td_layout_of_at(here, mask), x = td_layout_of_at(here, p->view);
    char mt[TD_SHAPE_TEXT], xt[TD_SHAPE_TEXT];
    for (int d = 0; d < m.rank; d++) {
        if (p->dim + d < x.rank && m.shape[d] == x.shape[p->dim + d])
            continue;
        td_fail(&p->failure, TD_E_SHAPE, "%s: a mask of shape %s does not fit a tensor of shape %s at dimension %d",
                p->name, td_shape_text(m.rank, m.shape, mt, sizeof mt), td_shape_text(x.rank, x.shape, xt, sizeof xt),
                p->dim + d);
        td_hint(&p->failure, "A mask has the sizes of the dimensions that it picks from.");
        return false;
    }
    return true;
}

/* Its columns are the indices. Without dimensions it is one of a new dimension of size 1. */
static void pick_mask(struct picking *p, const td_pick *pick)
{
    td_origin here = {p->origin.where, is_used_up(pick)};
    td_tensor mask = pick->tensor;
    int rank = td_rank_at((td_origin){p->origin.where, 0}, mask);
    if (rank == 0) {
        const struct td_unsqueeze_attrs here_attrs = {.dim = p->dim}, front = {0};
        see(p, TD_OP_unsqueeze, &here_attrs);
        mask = apply(p->origin, here.consume, TD_OP_unsqueeze, mask, &front);
        here.consume = 1;
        rank = 1;
    } else if (!mask_fits(p, mask)) {
        if (here.consume)
            release(mask);
        return;
    }
    td_tensor places = td_nonzero_at(here, mask);
    for (int k = 0; k < rank; k++) {
        const struct td_select_attrs column = {.dim = 1, .index = k};
        note(p, apply(p->origin, k == rank - 1, TD_OP_select, places, &column), true);
    }
}

static void pick_tensor(struct picking *p, const td_pick *pick)
{
    td_origin here = {p->origin.where, is_used_up(pick)};
    if (td_dtype_of_at((td_origin){p->origin.where, 0}, pick->tensor) == TD_BOOL) {
        pick_mask(p, pick);
    } else if (td_rank_at((td_origin){p->origin.where, 0}, pick->tensor)) {
        note(p, pick->tensor, here.consume);
    } else { /* an integer that has to be read, as in PyTorch: it makes a view */
        int64_t place = 0;
        if (td_read_at(here, pick->tensor, &place, TD_I64, 1) == 1)
            see(p, TD_OP_select, &(struct td_select_attrs){.dim = p->dim, .index = place});
    }
}

/* ---- all of them ---- */

static void pick_one(struct picking *p, const td_pick *pick, int rest)
{
    switch ((enum td_pick_kind)pick->kind) {
    case TD_PICK_END:
        break;
    case TD_PICK_INDEX:
        see(p, TD_OP_select, &(struct td_select_attrs){.dim = p->dim, .index = pick->start});
        break;
    case TD_PICK_SLICE:
        see(p, TD_OP_slice,
            &(struct td_slice_attrs){.dim = p->dim++, .start = pick->start, .end = pick->end, .step = pick->step});
        break;
    case TD_PICK_EVERY:
        p->dim++;
        break;
    case TD_PICK_REST:
        p->dim += rest;
        break;
    case TD_PICK_NEW:
        see(p, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = p->dim++});
        break;
    case TD_PICK_TENSOR:
        pick_tensor(p, pick);
        break;
    }
}

/* Releases what a refused call would have used up, from pick first on. */
static void let_go(struct picking *p, int64_t first, int64_t count, const td_pick *picks)
{
    for (int k = 0; k < p->count; k++)
        if (p->index_used_up[k])
            release(p->index[k].tensor);
    for (int64_t k = first; k < count; k++)
        if (picks[k].kind == TD_PICK_TENSOR && picks[k].tensor.session && is_used_up(&picks[k]))
            release(picks[k].tensor);
    if (p->made || p->used_up)
        release(p->view);
}

/* False after an error, which is in p. */
static bool pick_all(struct picking *p, int64_t count, const td_pick *picks)
{
    int rest = rest_of(p, count, picks);
    int64_t k = 0;
    for (; k < count && !p->failure.code && !p->cause; k++)
        pick_one(p, &picks[k], rest);
    p->dims.count = p->count;
    if (p->failure.code && !p->cause) {
        session_enter(p->x.session);
        p->cause = error_make(p->x.session, &p->failure, p->name, p->origin);
        session_leave(p->x.session);
    }
    if (p->cause)
        let_go(p, k, count, picks);
    return !p->cause;
}

/* False if x itself cannot be used; then failed is an error value of that. */
static bool begin(struct picking *p, td_origin origin, const char *name, td_tensor x, bool used_up, td_tensor *failed)
{
    *p = (struct picking){.origin = {origin.where, 0}, .name = name, .x = x, .view = x, .used_up = used_up};
    struct entry *e = query_begin((td_origin){origin.where, 0}, x, name, true);
    if (e) {
        p->rank = e->meta.rank;
        session_leave(x.session);
        return true;
    }
    *failed = x.session ? apply(origin, used_up, TD_OP_clone, x, NULL) : x;
    return false;
}

static td_tensor failed_of(struct picking *p)
{
    session_enter(p->x.session);
    td_tensor failed = handles_failed(p->x.session, p->cause);
    session_leave(p->x.session);
    return failed;
}

td_tensor td_index_at(td_origin origin, td_tensor x, int64_t count, const td_pick *picks)
{
    SPEAKS_FOR("index");
    struct picking p;
    td_tensor result;
    if (!begin(&p, origin, "index", x, consumes(origin, x, 0), &result))
        return result;
    if (!pick_all(&p, count, picks))
        return failed_of(&p);
    if (p.count == 0 && !p.made) { /* x again, as a view of its own */
        struct td_expand_attrs same = {.shape.count = p.rank};
        memset(same.shape.v, 0xff, sizeof same.shape.v);
        see(&p, TD_OP_expand, &same);
    }
    if (p.count == 0)
        return p.view;
    td_operand in[1 + TD_RANK_MAX] = {td_operand_of_tensor(p.view)};
    bool used_up[1 + TD_RANK_MAX] = {p.made || p.used_up};
    const uint16_t list_count = (uint16_t)p.count;
    const struct td_index_attrs attrs = {.dims = p.dims};
    memcpy(in + 1, p.index, sizeof p.index);
    memcpy(used_up + 1, p.index_used_up, sizeof p.index_used_up);
    return client_op(&(struct client_op){.id = TD_OP_index,
                                         .origin = p.origin,
                                         .in = in,
                                         .in_count = 1 + p.count,
                                         .list_counts = &list_count,
                                         .used_up = used_up,
                                         .attrs = &attrs});
}

/* ---- writing ---- */

/* Dimensions of what the indices pick from the view. */
static int picked_rank(const struct picking *p)
{
    int rank = td_rank_at(p->origin, p->view), own = 0;
    for (int k = 0; k < p->count; k++) {
        int index = td_rank_at(p->origin, p->index[k].tensor);
        own = index > own ? index : own;
    }
    return rank - p->count + own;
}

/* A value may have more dimensions in front, of size 1. */
static void trim_value(const struct picking *p, td_operand *value, bool *used_up)
{
    if (value->number.category >= 0 || td_rank_at(p->origin, value->tensor) <= picked_rank(p))
        return;
    td_layout layout = td_layout_of_at(p->origin, value->tensor);
    struct td_reshape_attrs less = {0};
    int first = 0;
    while (first < layout.rank && layout.shape[first] == 1)
        first++;
    for (int d = first; d < layout.rank; d++)
        less.shape.v[less.shape.count++] = layout.shape[d];
    value->tensor = apply(p->origin, *used_up, TD_OP_reshape, value->tensor, &less);
    *used_up = true;
}

/* An op in place with the value, without indices. */
static void write_view(const struct picking *p, td_operand value, bool value_used_up, bool accumulate)
{
    td_operand in[] = {td_operand_of_tensor(p->view), value};
    client_op(&(struct client_op){.id = accumulate ? TD_OP_add_ : TD_OP_copy_,
                                  .origin = {p->origin.where, value_used_up ? 2 : 0},
                                  .in = in,
                                  .in_count = 2});
}

static void write_picked(const struct picking *p, td_operand value, bool value_used_up, bool accumulate)
{
    td_operand in[2 + TD_RANK_MAX] = {td_operand_of_tensor(p->view), value};
    bool used_up[2 + TD_RANK_MAX] = {false, value_used_up};
    const uint16_t list_count = (uint16_t)p->count;
    const struct td_index_put_attrs attrs = {.dims = p->dims, .accumulate = accumulate};
    memcpy(in + 2, p->index, sizeof p->index);
    memcpy(used_up + 2, p->index_used_up, sizeof p->index_used_up);
    client_in_place(&(struct client_op){.id = TD_OP_index_put,
                                        .origin = p->origin,
                                        .in = in,
                                        .in_count = 2 + p->count,
                                        .list_counts = &list_count,
                                        .used_up = used_up,
                                        .attrs = &attrs});
}

td_tensor td_index_put__at(td_origin origin, td_tensor x, td_operand value, const struct td_picks *picks)
{
    SPEAKS_FOR("index_put_");
    struct picking p;
    td_tensor target = x, failed;
    bool value_used_up = value.number.category < 0 && consumes(origin, value.tensor, 1);
    int64_t count = 0;
    if (!consumes(origin, x, 0))
        target.generation &= ~FRESH;
    while (count < TD_PICKS && picks->items[count].kind != TD_PICK_END)
        count++;
    if (!begin(&p, origin, "index_put_", x, false, &failed)) {
        if (failed.session)
            release(failed);
        if (value_used_up)
            release(value.tensor);
        return target;
    }
    if (!pick_all(&p, count, picks->items)) {
        cause_unref(p.cause);
        if (value_used_up)
            release(value.tensor);
        return target;
    }
    trim_value(&p, &value, &value_used_up);
    (p.count ? write_picked : write_view)(&p, value, value_used_up, picks->accumulate);
    if (p.made)
        release(p.view);
    return target;
}

td_tensor(td_index)(td_tensor x, int64_t count, const td_pick *picks)
{
    return td_index_at((td_origin){0}, x, count, picks);
}

td_tensor(td_index_put_)(td_tensor x, td_tensor value, const struct td_picks *picks)
{
    return td_index_put__at((td_origin){0}, x, td_operand_of_tensor(value), picks);
}

td_tensor(td_scalar)(td_session *s, struct td_number value, const struct td_full_keywords *keywords)
{
    return (td_full)(s, (struct td_dims){0}, value, keywords);
}
