/* Shapes and strides of views. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

int td_shape_alias(struct td_inference *i)
{
    return rule_alias(i);
}

/* Any byte may stand behind another type, but a bool is 0 or 1: it is neither made so nor written to. */
int td_shape_view_dtype(struct td_inference *i)
{
    uint8_t from = i->in[0].dtype,
            to = rule_dtype(((const struct td_view_dtype_attrs *)i->attrs)->dtype, TD_DTYPE_NONE);
    if (!td_dtype_known(to))
        return td_fail(i->failure, TD_E_DTYPE, "%s: dtype is no element type that exists", i->op->name);
    if (td_dtype_size(from) != td_dtype_size(to)) {
        td_fail(i->failure, TD_E_DTYPE, "%s: x is %s of %zu bytes an element, and %s has %zu", i->op->name,
                td_dtype_name(from), td_dtype_size(from), td_dtype_name(to), td_dtype_size(to));
        return td_hint(i->failure, "td_to(x, %s) converts the values.", td_dtype_constant(to));
    }
    if (from != to && (from == TD_BOOL || to == TD_BOOL)) {
        td_fail(i->failure, TD_E_DTYPE, "%s: %s cannot be seen as %s: a bool is 0 or 1, and no other byte", i->op->name,
                td_dtype_name(from), td_dtype_name(to));
        return td_hint(i->failure, "td_to(x, %s) converts the values.", td_dtype_constant(to));
    }
    rule_alias(i);
    i->out[0].dtype = to;
    return TD_E_OK;
}

int td_shape_contiguous(struct td_inference *i)
{
    if (td_meta_is_contiguous(&i->in[0]))
        return rule_alias(i);
    return rule_fresh(i, i->in[0].rank, i->in[0].shape);
}

/* The wished shape with its -1 filled in. */
static int wished_shape(struct td_inference *i, const struct td_dims *wish, int64_t *shape)
{
    char from[TD_SHAPE_TEXT], to[TD_SHAPE_TEXT];
    int64_t count = td_meta_numel(&i->in[0]), known = 1;
    int open = -1;
    bool fits = true;
    for (int d = 0; d < wish->count; d++) {
        shape[d] = wish->v[d];
        if (shape[d] == -1 && open < 0)
            open = d;
        else if (shape[d] < 0 || __builtin_mul_overflow(known, shape[d], &known))
            fits = false;
    }
    if (fits && open >= 0) {
        fits = known > 0 && count % known == 0;
        shape[open] = fits ? count / known : -1;
        known = count;
    }
    if (fits && known == count && td_checked_numel((int)wish->count, shape) == count)
        return TD_E_OK;
    td_fail(i->failure, TD_E_SHAPE, "%s: shape %s cannot become %s", i->op->name, rule_text(&i->in[0], from),
            td_shape_text((int)wish->count, wish->v, to, sizeof to));
    return td_hint(i->failure, "The sizes must multiply to %" PRId64 "; one of them may be -1.", count);
}

static int reshaped(struct td_inference *i, const struct td_dims *wish, bool may_copy)
{
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
    int failed = wished_shape(i, wish, shape);
    if (failed)
        return failed;
    if (td_view_strides(&i->in[0], (int)wish->count, shape, stride)) {
        rule_alias(i);
        i->out[0].rank = (uint8_t)wish->count;
        memcpy(i->out[0].shape, shape, sizeof shape);
        memcpy(i->out[0].stride, stride, sizeof stride);
        return TD_E_OK;
    }
    if (may_copy)
        return rule_fresh(i, wish->count, shape);
    char from[TD_SHAPE_TEXT], to[TD_SHAPE_TEXT], strides[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE, "%s: shape %s with strides %s cannot become %s without a copy", i->op->name,
            rule_text(&i->in[0], from), td_shape_text(i->in[0].rank, i->in[0].stride, strides, sizeof strides),
            td_shape_text((int)wish->count, shape, to, sizeof to));
    return td_hint(i->failure, "td_reshape(x, shape) copies where it must.");
}

int td_shape_reshape(struct td_inference *i)
{
    return reshaped(i, &((const struct td_reshape_attrs *)i->attrs)->shape, true);
}

int td_shape_view(struct td_inference *i)
{
    return reshaped(i, &((const struct td_view_attrs *)i->attrs)->shape, false);
}

int td_shape_transpose(struct td_inference *i)
{
    const struct td_transpose_attrs *a = i->attrs;
    int d0, d1, failed;
    rule_alias(i);
    if ((failed = rule_wrap_dim(i, a->dim0, i->in[0].rank, &d0)) ||
        (failed = rule_wrap_dim(i, a->dim1, i->in[0].rank, &d1)))
        return failed;
    if (i->in[0].rank == 0)
        return TD_E_OK;
    i->out[0].shape[d0] = i->in[0].shape[d1];
    i->out[0].shape[d1] = i->in[0].shape[d0];
    i->out[0].stride[d0] = i->in[0].stride[d1];
    i->out[0].stride[d1] = i->in[0].stride[d0];
    return TD_E_OK;
}

int td_shape_select(struct td_inference *i)
{
    const struct td_select_attrs *a = i->attrs;
    int d, failed;
    if ((failed = rule_needs_dims(i)) || (failed = rule_wrap_dim(i, a->dim, i->in[0].rank, &d)))
        return failed;
    int64_t size = i->in[0].shape[d], index = a->index < 0 ? a->index + size : a->index;
    if (index < 0 || index >= size)
        return td_fail(i->failure, TD_E_INDEX,
                       "%s: index %" PRId64 " is out of range for dimension %d of size %" PRId64, i->op->name, a->index,
                       d, size);
    rule_alias(i);
    i->out[0].offset += index * i->in[0].stride[d];
    i->out[0].rank--;
    for (int to = d; to < i->out[0].rank; to++) {
        i->out[0].shape[to] = i->in[0].shape[to + 1];
        i->out[0].stride[to] = i->in[0].stride[to + 1];
    }
    return TD_E_OK;
}

void td_slice_bounds(int64_t size, int64_t start, int64_t end, int64_t step, int64_t *first, int64_t *count)
{
    if (start < 0)
        start = start + size < 0 ? 0 : start + size;
    if (end < 0)
        end = end + size < 0 ? 0 : end + size;
    if (start > size)
        start = size;
    if (end > size)
        end = size;
    *first = start;
    *count = end > start ? (end - start - 1) / step + 1 : 0;
}

/* Moves the result's start by count strides. A stride may lie beyond the storage where a dimension has one element: it
 * is never used, and no offset is made of it, but arithmetic with it can overflow. */
static void skip(struct td_inference *i, int64_t count, int64_t stride)
{
    int64_t skipped, offset;
    if (!__builtin_mul_overflow(count, stride, &skipped) && !__builtin_add_overflow(i->out[0].offset, skipped, &offset))
        i->out[0].offset = offset;
}

int td_shape_slice(struct td_inference *i)
{
    const struct td_slice_attrs *a = i->attrs;
    int d, failed;
    if ((failed = rule_needs_dims(i)) || (failed = rule_wrap_dim(i, a->dim, i->in[0].rank, &d)))
        return failed;
    if (a->step < 1) {
        td_fail(i->failure, TD_E_ARGUMENT, "%s: step %" PRId64 " is not positive", i->op->name, a->step);
        return td_hint(i->failure, "Steps go forward, as in PyTorch.");
    }
    int64_t first, stride;
    rule_alias(i);
    td_slice_bounds(i->in[0].shape[d], a->start, a->end, a->step, &first, &i->out[0].shape[d]);
    skip(i, first, i->in[0].stride[d]);
    if (__builtin_mul_overflow(i->in[0].stride[d], a->step, &stride))
        stride = i->in[0].stride[d];
    i->out[0].stride[d] = stride;
    return TD_E_OK;
}

int td_shape_expand(struct td_inference *i)
{
    const struct td_expand_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    char from[TD_SHAPE_TEXT], to[TD_SHAPE_TEXT];
    int rank = (int)a->shape.count, added = rank - x->rank;
    struct td_meta out = *x;
    bool fits = added >= 0;
    for (int d = 0; fits && d < rank; d++) {
        int64_t wish = a->shape.v[d], size = d >= added ? x->shape[d - added] : 1;
        if (wish == -1 && d >= added)
            wish = size;
        fits = wish >= 0 && (size == wish || size == 1);
        out.shape[d] = wish;
    }
    if (fits && td_checked_numel(rank, out.shape) < 0)
        return rule_fresh(i, rank, out.shape); /* which says so */
    if (!fits) {
        td_fail(i->failure, TD_E_SHAPE, "%s: shape %s cannot be expanded to %s", i->op->name, rule_text(x, from),
                td_shape_text(rank, a->shape.v, to, sizeof to));
        return td_hint(i->failure, "Only dimensions of size 1, and new ones in front, can be expanded.");
    }
    rule_alias(i);
    i->out[0].rank = (uint8_t)rank;
    memcpy(i->out[0].shape, out.shape, sizeof out.shape);
    rule_expanded_strides(x, rank, out.shape, i->out[0].stride);
    return TD_E_OK;
}

int td_shape_permute(struct td_inference *i)
{
    const struct td_dims *dims = &((const struct td_permute_attrs *)i->attrs)->dims;
    const struct td_meta *x = &i->in[0];
    uint32_t seen = 0;
    int d, failed;
    if (dims->count != x->rank)
        return td_fail(i->failure, TD_E_SHAPE, "%s: dims has %" PRId64 " entries for a tensor of %d dimensions",
                       i->op->name, dims->count, x->rank);
    rule_alias(i);
    for (int to = 0; to < x->rank; to++) {
        if ((failed = rule_wrap_dim(i, dims->v[to], x->rank, &d)))
            return failed;
        if (seen & 1u << d)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: dimension %d is given twice", i->op->name, d);
        seen |= 1u << d;
        i->out[0].shape[to] = x->shape[d];
        i->out[0].stride[to] = x->stride[d];
    }
    return TD_E_OK;
}

int td_shape_squeeze(struct td_inference *i)
{
    const struct td_dims *dims = &((const struct td_squeeze_attrs *)i->attrs)->dims;
    const struct td_meta *x = &i->in[0];
    uint32_t mask = dims->count < 0 ? UINT32_MAX : 0;
    int d, failed, rank = 0;
    for (int64_t k = 0; k < dims->count; k++) {
        if ((failed = rule_wrap_dim(i, dims->v[k], x->rank, &d)))
            return failed;
        mask |= 1u << d;
    }
    rule_alias(i);
    for (d = 0; d < x->rank; d++) {
        if (x->shape[d] == 1 && mask >> d & 1)
            continue;
        i->out[0].shape[rank] = x->shape[d];
        i->out[0].stride[rank++] = x->stride[d];
    }
    i->out[0].rank = (uint8_t)rank;
    return TD_E_OK;
}

int td_shape_unsqueeze(struct td_inference *i)
{
    const struct td_unsqueeze_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    int d, failed;
    if (x->rank == TD_RANK_MAX)
        return td_fail(i->failure, TD_E_LIMIT, "%s: a result of %d dimensions; the limit is %d", i->op->name,
                       x->rank + 1, TD_RANK_MAX);
    if ((failed = rule_wrap_dim(i, a->dim, x->rank + 1, &d)))
        return failed;
    rule_alias(i);
    i->out[0].rank++;
    for (int to = x->rank; to > d; to--) {
        i->out[0].shape[to] = x->shape[to - 1];
        i->out[0].stride[to] = x->stride[to - 1];
    }
    i->out[0].shape[d] = 1;
    i->out[0].stride[d] = d < x->rank ? x->shape[d] * x->stride[d] : 1;
    return TD_E_OK;
}

int td_shape_flatten(struct td_inference *i)
{
    const struct td_flatten_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    struct td_dims wish = {.count = 0};
    int first, last, failed;
    if ((failed = rule_wrap_dim(i, a->start_dim, x->rank, &first)) ||
        (failed = rule_wrap_dim(i, a->end_dim, x->rank, &last)))
        return failed;
    if (first > last)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: start_dim %d lies behind end_dim %d", i->op->name, first, last);
    if (first == last && x->rank)
        return rule_alias(i);
    int64_t joined = 1;
    for (int d = 0; d < x->rank; d++) {
        joined = d >= first && d <= last ? joined * x->shape[d] : joined;
        if (d < first || d > last)
            wish.v[wish.count++] = x->shape[d];
        else if (d == last)
            wish.v[wish.count++] = joined;
    }
    if (x->rank == 0)
        wish.v[wish.count++] = 1;
    return reshaped(i, &wish, true);
}

int td_shape_narrow(struct td_inference *i)
{
    const struct td_narrow_attrs *a = i->attrs;
    int d, failed;
    if ((failed = rule_needs_dims(i)) || (failed = rule_wrap_dim(i, a->dim, i->in[0].rank, &d)))
        return failed;
    int64_t size = i->in[0].shape[d];
    int64_t start = a->start < 0 ? a->start + (size ? size : 1) : a->start; /* -1 of an empty one is 0, as in PyTorch */
    if (start < 0 || start > size || a->length < 0 || a->length > size - start)
        return td_fail(i->failure, TD_E_INDEX,
                       "%s: %" PRId64 " elements from %" PRId64 " on do not lie in dimension %d of size %" PRId64,
                       i->op->name, a->length, a->start, d, size);
    rule_alias(i);
    skip(i, start, i->in[0].stride[d]);
    i->out[0].shape[d] = a->length;
    return TD_E_OK;
}

int td_shape_diagonal(struct td_inference *i)
{
    const struct td_diagonal_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    int d0, d1, failed, rank = 0;
    if ((failed = rule_wrap_dim(i, a->dim0, x->rank, &d0)) || (failed = rule_wrap_dim(i, a->dim1, x->rank, &d1)))
        return failed;
    if (d0 == d1)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: dim0 and dim1 are both dimension %d", i->op->name, d0);
    /* Sizes are below 2^56: an offset beyond them leaves nothing, however far. */
    int64_t offset = a->offset > TD_ELEMENTS_MAX ? TD_ELEMENTS_MAX : a->offset;
    offset = offset < -TD_ELEMENTS_MAX ? -TD_ELEMENTS_MAX : offset;
    int64_t rows = x->shape[d0] + (offset < 0 ? offset : 0), columns = x->shape[d1] - (offset > 0 ? offset : 0);
    int64_t size = rows < columns ? rows : columns, stride;
    rule_alias(i);
    if (size > 0)
        skip(i, offset < 0 ? -offset : offset, x->stride[offset < 0 ? d0 : d1]);
    if (__builtin_add_overflow(x->stride[d0], x->stride[d1], &stride))
        stride = x->stride[d0];
    for (int d = 0; d < x->rank; d++) {
        if (d == d0 || d == d1)
            continue;
        i->out[0].shape[rank] = x->shape[d];
        i->out[0].stride[rank++] = x->stride[d];
    }
    i->out[0].shape[rank] = size > 0 ? size : 0;
    i->out[0].stride[rank++] = stride;
    i->out[0].rank = (uint8_t)rank;
    return TD_E_OK;
}

int td_shape_movedim(struct td_inference *i)
{
    const struct td_movedim_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    int from, to, failed, order[TD_RANK_MAX], next = 0;
    uint32_t taken = 0, placed = 0;
    if (a->source.count != a->destination.count)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: %" PRId64 " dimensions go to %" PRId64 " places", i->op->name,
                       a->source.count, a->destination.count);
    for (int64_t k = 0; k < a->source.count; k++) {
        if ((failed = rule_wrap_dim(i, a->source.v[k], x->rank, &from)) ||
            (failed = rule_wrap_dim(i, a->destination.v[k], x->rank, &to)))
            return failed;
        if (taken & 1u << from || placed & 1u << to)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: dimension %d is given twice", i->op->name,
                           taken & 1u << from ? from : to);
        taken |= 1u << from;
        placed |= 1u << to;
        order[to] = from;
    }
    rule_alias(i);
    for (to = 0; to < x->rank; to++) {
        if (!(placed & 1u << to)) {
            while (taken & 1u << next)
                next++;
            order[to] = next++;
        }
        i->out[0].shape[to] = x->shape[order[to]];
        i->out[0].stride[to] = x->stride[order[to]];
    }
    return TD_E_OK;
}

int td_shape_unfold(struct td_inference *i)
{
    const struct td_unfold_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    int d, failed;
    if ((failed = rule_wrap_dim(i, a->dim, x->rank, &d)))
        return failed;
    int64_t room = x->rank ? x->shape[d] : 1, stride;
    if (x->rank == TD_RANK_MAX)
        return td_fail(i->failure, TD_E_LIMIT, "%s: a result of %d dimensions; the limit is %d", i->op->name,
                       x->rank + 1, TD_RANK_MAX);
    if (a->step < 1)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: step %" PRId64 " is not positive", i->op->name, a->step);
    if (a->size < 0 || a->size > room)
        return td_fail(i->failure, TD_E_SHAPE,
                       "%s: slices of %" PRId64 " elements do not lie in dimension %d of size %" PRId64, i->op->name,
                       a->size, d, room);
    rule_alias(i);
    i->out[0].rank++;
    i->out[0].shape[x->rank] = a->size;
    i->out[0].stride[x->rank] = x->rank ? x->stride[d] : 1;
    if (!x->rank)
        return TD_E_OK;
    i->out[0].shape[d] = (room - a->size) / a->step + 1;
    if (__builtin_mul_overflow(x->stride[d], a->step, &stride))
        stride = x->stride[d];
    i->out[0].stride[d] = stride;
    if (td_checked_numel(i->out[0].rank, i->out[0].shape) < 0)
        return td_fail(i->failure, TD_E_SHAPE, "%s: too many elements", i->op->name);
    return TD_E_OK;
}

int td_shape_unflatten(struct td_inference *i)
{
    const struct td_unflatten_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    struct td_dims wish = {.count = x->rank - 1 + a->sizes.count};
    int64_t sizes[TD_RANK_MAX];
    int d, failed;
    if ((failed = rule_needs_dims(i)) || (failed = rule_wrap_dim(i, a->dim, x->rank, &d)))
        return failed;
    if (a->sizes.count == 0)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: no sizes are given", i->op->name);
    if (wish.count > TD_RANK_MAX)
        return td_fail(i->failure, TD_E_LIMIT, "%s: a result of %d dimensions; the limit is %d", i->op->name,
                       (int)wish.count, TD_RANK_MAX);
    const struct td_meta row = {.rank = 1, .shape = {x->shape[d]}};
    struct td_inference part = {.op = i->op, .in = &row, .in_count = 1, .failure = i->failure};
    if ((failed = wished_shape(&part, &a->sizes, sizes)))
        return failed;
    memcpy(wish.v, x->shape, (size_t)d * sizeof *wish.v);
    memcpy(wish.v + d, sizes, (size_t)a->sizes.count * sizeof *wish.v);
    memcpy(wish.v + d + a->sizes.count, x->shape + d + 1, (size_t)(x->rank - 1 - d) * sizeof *wish.v);
    return reshaped(i, &wish, false);
}

int td_shape_t(struct td_inference *i)
{
    char xt[TD_SHAPE_TEXT];
    const struct td_meta *x = &i->in[0];
    if (x->rank > 2) {
        td_fail(i->failure, TD_E_SHAPE, "%s: shape %s has more than two dimensions", i->op->name, rule_text(x, xt));
        return td_hint(i->failure, "td_transpose(x, -2, -1) exchanges the last two.");
    }
    rule_alias(i);
    for (int d = 0; x->rank == 2 && d < 2; d++) {
        i->out[0].shape[d] = x->shape[1 - d];
        i->out[0].stride[d] = x->stride[1 - d];
    }
    return TD_E_OK;
}

/* Whether the storage is as large only the daemon knows (exec.c); here all stays in range of arithmetic. */
int td_shape_as_strided(struct td_inference *i)
{
    const struct td_as_strided_attrs *a = i->attrs;
    int rank = (int)a->size.count;
    int64_t last = a->offset == -1 ? i->in[0].offset : a->offset, reach;
    bool fits = a->stride.count == rank && last >= 0 && td_checked_numel(rank, a->size.v) >= 0;
    for (int d = 0; fits && d < rank; d++)
        fits = a->stride.v[d] >= 0 && a->stride.v[d] <= TD_ELEMENTS_MAX &&
               !__builtin_mul_overflow(a->size.v[d], a->stride.v[d], &reach) &&
               !__builtin_add_overflow(last, reach, &last);
    if (!fits || last > 2 * TD_ELEMENTS_MAX) {
        char size[TD_SHAPE_TEXT], stride[TD_SHAPE_TEXT];
        return td_fail(i->failure, TD_E_ARGUMENT,
                       "%s: size %s, stride %s and offset %" PRId64 " do not describe a window on a storage",
                       i->op->name, td_shape_text(rank, a->size.v, size, sizeof size),
                       td_shape_text((int)a->stride.count, a->stride.v, stride, sizeof stride), a->offset);
    }
    rule_alias(i);
    i->out[0].rank = (uint8_t)rank;
    memcpy(i->out[0].shape, a->size.v, sizeof i->out[0].shape);
    memcpy(i->out[0].stride, a->stride.v, sizeof i->out[0].stride);
    if (a->offset != -1)
        i->out[0].offset = a->offset;
    return TD_E_OK;
}
