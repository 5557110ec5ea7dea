/* Questions that the client answers itself, and the ends of handles.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry *query_begin(td_origin origin, td_tensor x, const char *what, bool wants_value)
{
    TD_NO_FAILURE(failure);
    what = client_speaker(what);
    if (!x.session) {
        fprintf(stderr, "%s: %s: the tensor was never made\n", origin.where ? origin.where : "tensord", what);
        return NULL;
    }
    session_enter(x.session);
    struct td_session *s = x.session;
    struct entry *e = handles_find(s, x);
    struct cause *cause = NULL;
    if (s->forked) {
        cause = cause_ref(s->dead);
    } else if (!e) {
        td_fail(&failure, TD_E_HANDLE, "%s: the tensor is used after it was released", what);
        td_hint(&failure, "A tensor ends with its TD_SCOPE, by td_release, or used up by td_take.");
        cause = cause_new(&failure, what, origin.where, s->wire.requests);
    } else if (wants_value && (e->cause || s->dead)) {
        cause = cause_ref(e->cause ? e->cause : s->dead);
    } else {
        return e;
    }
    error_raise(s, cause);
    cause_unref(cause);
    query_end(origin, x);
    return NULL;
}

void query_end(td_origin origin, td_tensor x)
{
    if (consumes(origin, x, 0) && handles_find(x.session, x))
        request_release(x.session, x.handle);
    session_leave(x.session);
}

bool td_ok_at(td_origin origin, td_tensor x)
{
    if (!x.session)
        return false;
    session_enter(x.session);
    const struct entry *e = handles_find(x.session, x);
    bool ok = e && !e->cause && !x.session->dead;
    query_end(origin, x);
    return ok;
}

/* The layout of x; nothing at all of a failed one. all: rank and dtype are not enough. */
static struct td_meta meta_of(td_origin origin, td_tensor x, const char *what, bool all)
{
    struct td_meta meta = {0};
    struct entry *e = (all ? layout_begin : query_begin)(origin, x, what, false);
    meta.shape[0] = -1;
    if (!e)
        return meta;
    if (!e->cause)
        meta = e->meta;
    query_end(origin, x);
    return meta;
}

td_layout td_layout_of_at(td_origin origin, td_tensor x)
{
    struct td_meta meta = meta_of(origin, x, "layout_of", true);
    td_layout layout = {.rank = meta.rank, .offset = meta.offset};
    memcpy(layout.shape, meta.shape, meta.rank * sizeof *meta.shape);
    memcpy(layout.stride, meta.stride, meta.rank * sizeof *meta.stride);
    return layout;
}

int td_rank_at(td_origin origin, td_tensor x)
{
    return meta_of(origin, x, "rank", false).rank;
}

int64_t td_size_at(td_origin origin, td_tensor x, int64_t dim)
{
    struct td_meta meta = meta_of(origin, x, "size", true);
    int d = td_wrap_dim(dim, meta.rank);
    struct td_failure failure = {0};
    if (d >= 0 && meta.rank)
        return meta.shape[d];
    if (!x.session || meta.dtype == TD_DTYPE_NONE)
        return -1;
    td_fail(&failure, TD_E_INDEX, "size: dimension %lld does not exist in a tensor of %d dimensions", (long long)dim,
            meta.rank);
    session_enter(x.session);
    cause_unref(error_make(x.session, &failure, "size", origin));
    session_leave(x.session);
    return -1;
}

int64_t td_numel_at(td_origin origin, td_tensor x)
{
    struct td_meta meta = meta_of(origin, x, "numel", true);
    return meta.dtype == TD_DTYPE_NONE ? 0 : td_meta_numel(&meta);
}

enum td_dtype td_dtype_of_at(td_origin origin, td_tensor x)
{
    return (enum td_dtype)meta_of(origin, x, "dtype_of", false).dtype;
}

bool td_is_contiguous_at(td_origin origin, td_tensor x)
{
    struct td_meta meta = meta_of(origin, x, "is_contiguous", true);
    return meta.dtype != TD_DTYPE_NONE && td_meta_is_contiguous(&meta);
}

bool td_same_storage_at(td_origin origin, td_tensor a, td_tensor b)
{
    struct entry *e = query_begin(origin, a, "same_storage", false);
    if (!e)
        return false;
    const struct entry *other = handles_find(a.session, b);
    bool same = other && e->storage && e->storage == other->storage;
    if (consumes(origin, b, 1) && other && b.handle != a.handle)
        request_release(a.session, b.handle);
    query_end(origin, a);
    return same;
}

/* What tells how x counts in a promotion, as a tensor of one element or none of whose sizes matter. */
static struct td_meta counting(td_origin origin, td_operand x)
{
    if (x.number.category >= 0)
        return (struct td_meta){.dtype = td_dtype_of_number(x.number), .scalar = true};
    struct td_meta meta = meta_of(origin, x.tensor, "result_type", false);
    return (struct td_meta){.dtype = meta.dtype, .rank = meta.rank > 0, .shape = {1}, .stride = {1}};
}

enum td_dtype td_result_type_at(td_origin origin, td_tensor a, td_operand b)
{
    const struct td_meta in[] = {counting((td_origin){origin.where, origin.consume & 1}, td_operand_of_tensor(a)),
                                 counting((td_origin){origin.where, origin.consume >> 1 & 1}, b)};
    struct td_failure failure = {0};
    struct td_inference two = {.op = td_op_of(TD_OP_eq), .in = in, .in_count = 2, .failure = &failure};
    if (in[0].dtype == TD_DTYPE_NONE || in[1].dtype == TD_DTYPE_NONE || td_infer(&two))
        return TD_DTYPE_NONE;
    return (enum td_dtype)two.compute;
}

enum td_dtype td_promote_types(enum td_dtype a, enum td_dtype b)
{
    if (!td_dtype_known(a) || !td_dtype_known(b))
        return TD_DTYPE_NONE;
    return (enum td_dtype)td_dtype_promote((uint8_t)a, (uint8_t)b);
}

bool td_can_cast(enum td_dtype from, enum td_dtype to)
{
    return td_dtype_known(from) && td_dtype_known(to) && td_dtype_can_cast((uint8_t)from, (uint8_t)to);
}

void td_release_at(td_origin origin, td_tensor x)
{
    struct entry *e = query_begin(origin, x, "release", false);
    if (!e)
        return;
    if (!(e->flags & ENTRY_OWNED)) /* a gradient ends with its tensor */
        request_release(x.session, x.handle);
    session_leave(x.session);
}

td_tensor td_name_at(td_origin origin, td_tensor x, const char *name)
{
    struct entry *e = query_begin(origin, x, "name", false);
    uint32_t bytes = (uint32_t)strnlen(name, TD_NAME_BYTES - 1);
    x.generation &= consumes(origin, x, 0) ? UINT32_MAX : ~FRESH;
    if (!e)
        return x;
    free(e->name);
    e->name = strndup(name, bytes);
    if (!(e->flags & ENTRY_LOCAL)) {
        uint8_t *at = request_begin(x.session, 64 + TD_NAME_BYTES);
        if (at) {
            at = td_write_uint(request_head(at, 0, 0, 3, TD_R_NAME), x.handle);
            request_end(x.session, td_write_text(at, name, bytes));
        }
    }
    session_leave(x.session);
    return x;
}

/* ---- the functions without a call site ---- */

#define PLAIN(result, name)                       \
    result(td_##name)(td_tensor x)                \
    {                                             \
        return td_##name##_at((td_origin){0}, x); \
    }

PLAIN(bool, ok)
PLAIN(td_layout, layout_of)
PLAIN(int, rank)
PLAIN(int64_t, numel)
PLAIN(enum td_dtype, dtype_of)
PLAIN(bool, is_contiguous)

int64_t(td_size)(td_tensor x, int64_t dim)
{
    return td_size_at((td_origin){0}, x, dim);
}

enum td_dtype(td_result_type)(td_tensor a, td_operand b)
{
    return td_result_type_at((td_origin){0}, a, b);
}

bool(td_same_storage)(td_tensor a, td_tensor b)
{
    return td_same_storage_at((td_origin){0}, a, b);
}

void(td_release)(td_tensor x)
{
    td_release_at((td_origin){0}, x);
}

td_tensor(td_name)(td_tensor x, const char *name)
{
    return td_name_at((td_origin){0}, x, name);
}
