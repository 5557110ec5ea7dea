/* Inference: dtypes by the row's words, shapes by one function a rule.
 * SPDX-License-Identifier: Apache-2.0 */
#include "protocol/infer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *text(const struct td_meta *meta, char *buffer)
{
    return td_shape_text(meta->rank, meta->shape, buffer, TD_SHAPE_TEXT);
}

static int wrap_dim(struct td_inference *i, int64_t dim, int rank, int *wrapped)
{
    *wrapped = td_wrap_dim(dim, rank);
    if (*wrapped >= 0)
        return TD_E_OK;
    td_fail(i->failure, TD_E_INDEX, "%s: dimension %" PRId64 " does not exist in a tensor of %d dimensions",
            i->op->name, dim, rank);
    return td_hint(i->failure, "Dimensions go from %d to %d.", rank ? -rank : -1, rank ? rank - 1 : 0);
}

/* A result with storage of its own, row by row. */
static int fresh(struct td_inference *i, int64_t rank, const int64_t *shape)
{
    if (rank > TD_RANK_MAX)
        return td_fail(i->failure, TD_E_LIMIT, "%s: a result of %" PRId64 " dimensions; the limit is %d", i->op->name,
                       rank, TD_RANK_MAX);
    if (td_checked_numel((int)rank, shape) < 0) {
        char shape_text[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE, "%s: shape %s has a negative size or more elements than 2^56", i->op->name,
                td_shape_text((int)rank, shape, shape_text, sizeof shape_text));
        return td_hint(i->failure, "Sizes are 0 or more, and their product is limited.");
    }
    i->out.rank = (uint8_t)rank;
    if (rank > 0)
        memmove(i->out.shape, shape, (size_t)rank * sizeof *shape);
    td_contiguous_strides((int)rank, i->out.shape, i->out.stride);
    return TD_E_OK;
}

/* A result that is a window on the storage of input 0. */
static int alias(struct td_inference *i)
{
    bool scalar = i->out.scalar;
    uint8_t dtype = i->out.dtype;
    i->out = i->in[0];
    i->out.dtype = dtype;
    i->out.scalar = scalar;
    i->shares = 0;
    return TD_E_OK;
}

/* ---- creation ---- */

/* The element type of an attribute, TD_DTYPE_NONE if there is none of that number. */
static uint8_t given(int64_t dtype, uint8_t fallback)
{
    if (dtype == TD_DTYPE_NONE)
        return fallback;
    return dtype > 0 && dtype < TD_DTYPE_LIMIT ? (uint8_t)dtype : TD_DTYPE_NONE;
}

/* Attributes of the ops that give a shape begin with it. */
static int created(struct td_inference *i, const struct td_dims *shape, int64_t dtype, uint8_t fallback)
{
    i->out.dtype = given(dtype, fallback);
    return fresh(i, shape->count, shape->v);
}

int td_shape_created(struct td_inference *i)
{
    const struct td_zeros_attrs *a = i->attrs;
    return created(i, &a->shape, a->dtype, TD_F32);
}

int td_shape_full(struct td_inference *i)
{
    const struct td_full_attrs *a = i->attrs;
    return created(i, &a->shape, a->dtype, td_dtype_of_number(a->value));
}

int td_shape_randint(struct td_inference *i)
{
    const struct td_randint_attrs *a = i->attrs;
    if (a->low >= a->high) {
        td_fail(i->failure, TD_E_ARGUMENT, "randint: low %" PRId64 " is not below high %" PRId64, a->low, a->high);
        return td_hint(i->failure, "Numbers are drawn from low up to high - 1.");
    }
    return created(i, &a->shape, a->dtype, TD_I64);
}

/* Elements from start up to end, -1 where step does not lead there. In i64 all three are cut to integers first, as
 * PyTorch does, and counted exactly where doubles are not. */
static int64_t arange_count(const struct td_arange_attrs *a, uint8_t dtype)
{
    double start = td_number_real(a->start), end = td_number_real(a->end), step = td_number_real(a->step);
    if (!isfinite(start) || !isfinite(end) || isnan(step))
        return -1;
    if (dtype == TD_I64) {
        __int128 from = td_number_integer(a->start), to = td_number_integer(a->end), by = td_number_integer(a->step);
        if (by == 0 || (by > 0 ? to < from : to > from))
            return -1;
        __int128 count = (to - from + by - (by > 0 ? 1 : -1)) / by;
        return count <= TD_ELEMENTS_MAX ? (int64_t)count : -1;
    }
    double count = step != 0 ? ceil((end - start) / step) : -1;
    return count >= 0 && count <= (double)TD_ELEMENTS_MAX ? (int64_t)count : -1;
}

int td_shape_arange(struct td_inference *i)
{
    const struct td_arange_attrs *a = i->attrs;
    bool integers =
        a->start.category != TD_FLOATING && a->end.category != TD_FLOATING && a->step.category != TD_FLOATING;
    i->out.dtype = given(a->dtype, integers ? TD_I64 : TD_F32);
    int64_t count = arange_count(a, i->out.dtype);
    if (count < 0) {
        td_fail(i->failure, TD_E_ARGUMENT, "arange: step %g does not lead from %g to %g", td_number_real(a->step),
                td_number_real(a->start), td_number_real(a->end));
        return td_hint(i->failure, "step is positive where end lies above start, negative where it lies below.");
    }
    return fresh(i, 1, &count);
}

/* ---- views ---- */

int td_shape_alias(struct td_inference *i)
{
    return alias(i);
}

int td_shape_contiguous(struct td_inference *i)
{
    if (td_meta_is_contiguous(&i->in[0]))
        return alias(i);
    return fresh(i, i->in[0].rank, i->in[0].shape);
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
    td_fail(i->failure, TD_E_SHAPE, "%s: shape %s cannot become %s", i->op->name, text(&i->in[0], from),
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
        alias(i);
        i->out.rank = (uint8_t)wish->count;
        memcpy(i->out.shape, shape, sizeof shape);
        memcpy(i->out.stride, stride, sizeof stride);
        return TD_E_OK;
    }
    if (may_copy)
        return fresh(i, wish->count, shape);
    char from[TD_SHAPE_TEXT], to[TD_SHAPE_TEXT], strides[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE, "view: shape %s with strides %s cannot become %s without a copy",
            text(&i->in[0], from), td_shape_text(i->in[0].rank, i->in[0].stride, strides, sizeof strides),
            td_shape_text((int)wish->count, shape, to, sizeof to));
    return td_hint(i->failure, "reshape copies where it must.");
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
    alias(i);
    if ((failed = wrap_dim(i, a->dim0, i->in[0].rank, &d0)) || (failed = wrap_dim(i, a->dim1, i->in[0].rank, &d1)))
        return failed;
    if (i->in[0].rank == 0)
        return TD_E_OK;
    i->out.shape[d0] = i->in[0].shape[d1];
    i->out.shape[d1] = i->in[0].shape[d0];
    i->out.stride[d0] = i->in[0].stride[d1];
    i->out.stride[d1] = i->in[0].stride[d0];
    return TD_E_OK;
}

static int needs_dims(struct td_inference *i)
{
    if (i->in[0].rank)
        return TD_E_OK;
    return td_fail(i->failure, TD_E_SHAPE, "%s: a tensor without dimensions has nothing to take a part of",
                   i->op->name);
}

int td_shape_select(struct td_inference *i)
{
    const struct td_select_attrs *a = i->attrs;
    int d, failed;
    if ((failed = needs_dims(i)) || (failed = wrap_dim(i, a->dim, i->in[0].rank, &d)))
        return failed;
    int64_t size = i->in[0].shape[d], index = a->index < 0 ? a->index + size : a->index;
    if (index < 0 || index >= size)
        return td_fail(i->failure, TD_E_INDEX,
                       "select: index %" PRId64 " is out of range for dimension %d of size %" PRId64, a->index, d,
                       size);
    alias(i);
    i->out.offset += index * i->in[0].stride[d];
    i->out.rank--;
    for (int to = d; to < i->out.rank; to++) {
        i->out.shape[to] = i->in[0].shape[to + 1];
        i->out.stride[to] = i->in[0].stride[to + 1];
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

int td_shape_slice(struct td_inference *i)
{
    const struct td_slice_attrs *a = i->attrs;
    int d, failed;
    if ((failed = needs_dims(i)) || (failed = wrap_dim(i, a->dim, i->in[0].rank, &d)))
        return failed;
    if (a->step < 1) {
        td_fail(i->failure, TD_E_ARGUMENT, "slice: step %" PRId64 " is not positive", a->step);
        return td_hint(i->failure, "Steps go forward, as in PyTorch.");
    }
    int64_t first, stride, skipped, offset;
    alias(i);
    td_slice_bounds(i->in[0].shape[d], a->start, a->end, a->step, &first, &i->out.shape[d]);
    /* A stride may lie beyond the storage where a dimension has one element: it is never used, and no offset is made
     * of it, but arithmetic with it can overflow. */
    if (!__builtin_mul_overflow(first, i->in[0].stride[d], &skipped) &&
        !__builtin_add_overflow(i->out.offset, skipped, &offset))
        i->out.offset = offset;
    if (__builtin_mul_overflow(i->in[0].stride[d], a->step, &stride))
        stride = i->in[0].stride[d];
    i->out.stride[d] = stride;
    return TD_E_OK;
}

/* Strides of x expanded to a shape that fits. What a new dimension of size 1 has for one is never used, but is
 * PyTorch's. */
static void expanded_strides(const struct td_meta *x, int rank, const int64_t *shape, int64_t *stride)
{
    int added = rank - x->rank;
    for (int d = rank - 1; d >= 0; d--) {
        int64_t size = d >= added ? x->shape[d - added] : 1;
        if (size != shape[d] || x->rank == 0)
            stride[d] = 0;
        else if (d >= added)
            stride[d] = x->stride[d - added];
        else if (__builtin_mul_overflow(shape[d + 1], stride[d + 1], &stride[d]))
            stride[d] = 0;
    }
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
    if (!fits || td_checked_numel(rank, out.shape) < 0) {
        td_fail(i->failure, TD_E_SHAPE, "expand: shape %s cannot be expanded to %s", text(x, from),
                td_shape_text(rank, a->shape.v, to, sizeof to));
        return td_hint(i->failure, "Only dimensions of size 1, and new ones in front, can be expanded.");
    }
    alias(i);
    i->out.rank = (uint8_t)rank;
    memcpy(i->out.shape, out.shape, sizeof out.shape);
    expanded_strides(x, rank, out.shape, i->out.stride);
    return TD_E_OK;
}

/* ---- elementwise ---- */

/* The shape that all inputs broadcast to. */
static int broadcast_all(struct td_inference *i, int *rank, int64_t *shape)
{
    *rank = 0;
    for (int k = 0; k < i->in_count; k++) {
        if (td_broadcast(*rank, shape, i->in[k].rank, i->in[k].shape, rank, shape))
            continue;
        char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE, "%s: shapes %s and %s do not fit together", i->op->name,
                td_shape_text(*rank, shape, a, sizeof a), text(&i->in[k], b));
        return td_hint(i->failure, "Compared from the last dimension, sizes are equal or one of them is 1.");
    }
    return TD_E_OK;
}

/* Strides of in, as it is seen when broadcast to rank dimensions. */
static void broadcast_strides(const struct td_meta *in, int rank, const int64_t *shape, int64_t *stride)
{
    int added = rank - in->rank;
    for (int d = 0; d < rank; d++)
        stride[d] = d < added || (in->shape[d - added] == 1 && shape[d] != 1) ? 0 : in->stride[d - added];
}

/* 1: dimension a belongs outside b, -1: inside, 0: cannot be told (ATen's TensorIterator::reorder_dimensions). */
static int compare_dims(int count, int64_t (*strides)[TD_RANK_MAX], const int64_t *shape, int a, int b)
{
    for (int k = 0; k < count; k++) {
        int64_t sa = strides[k][a], sb = strides[k][b];
        if (sa == 0 || sb == 0)
            continue;
        if (sa != sb)
            return sa < sb ? -1 : 1;
        if (shape[a] > shape[b])
            return 1;
    }
    return 0;
}

/* Dimensions from the innermost out, as ATen sorts them: by insertion, since not every two can be compared. */
static void sort_dims(int count, int64_t (*strides)[TD_RANK_MAX], int rank, const int64_t *shape, int *perm)
{
    for (int d = 0; d < rank; d++)
        perm[d] = rank - 1 - d;
    for (int d = 1; d < rank; d++) {
        int moving = d;
        for (int at = d - 1; at >= 0; at--) {
            int order = compare_dims(count, strides, shape, perm[at], perm[moving]);
            if (order < 0)
                break;
            if (order > 0) {
                int swap = perm[at];
                perm[at] = perm[moving];
                perm[moving] = swap;
                moving = at;
            }
        }
    }
}

/* The dense layout that follows the inputs' order of dimensions, as TensorIterator gives it. */
static void follow_layout(struct td_inference *i)
{
    struct td_meta *out = &i->out;
    int64_t strides[3][TD_RANK_MAX];
    int perm[TD_RANK_MAX];
    bool all_contiguous = true, same_dense = true, row_major = true;
    for (int k = 0; k < i->in_count; k++) { /* at most three: where */
        /* rsub is sub with its operands exchanged: the second one comes first where they are of two minds. */
        const struct td_meta *in = &i->in[i->op->id == TD_OP_rsub ? i->in_count - 1 - k : k];
        bool same_shape = td_meta_same_shape(in, out);
        all_contiguous &= same_shape && td_meta_is_contiguous(in);
        same_dense &=
            same_shape && td_meta_is_dense(in) && !memcmp(in->stride, i->in[0].stride, in->rank * sizeof *in->stride);
        broadcast_strides(in, out->rank, out->shape, strides[k]);
    }
    if (all_contiguous)
        return;
    if (same_dense) {
        memcpy(out->stride, i->in[0].stride, out->rank * sizeof *out->stride);
        return;
    }
    sort_dims(i->in_count, strides, out->rank, out->shape, perm);
    for (int d = 0; d < out->rank; d++)
        row_major &= perm[d] == out->rank - 1 - d;
    if (row_major)
        return;
    int64_t step = 1;
    for (int d = 0; d < out->rank; d++) { /* a size of 0 makes strides of 0 here, unlike elsewhere */
        out->stride[perm[d]] = step;
        step *= out->shape[perm[d]];
    }
}

/* A copy keeps dense strides as they are, of others the order of dimensions. */
static int copied(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0];
    int perm[TD_RANK_MAX], failed = fresh(i, x->rank, x->shape);
    if (failed)
        return failed;
    if (td_meta_is_dense(x)) {
        memcpy(i->out.stride, x->stride, x->rank * sizeof *x->stride);
        return TD_E_OK;
    }
    int64_t strides[1][TD_RANK_MAX], step = 1;
    memcpy(strides[0], x->stride, sizeof strides[0]);
    sort_dims(1, strides, x->rank, x->shape, perm);
    for (int d = 0; d < x->rank; d++) {
        i->out.stride[perm[d]] = step;
        step *= x->shape[perm[d]] > 1 ? x->shape[perm[d]] : 1;
    }
    return TD_E_OK;
}

int td_shape_elementwise(struct td_inference *i)
{
    if (i->op->id == TD_OP_clone || i->op->id == TD_OP_to)
        return copied(i);
    int64_t shape[TD_RANK_MAX];
    int rank, failed = broadcast_all(i, &rank, shape);
    if (failed || (failed = fresh(i, rank, shape)))
        return failed;
    follow_layout(i);
    return TD_E_OK;
}

/* ---- writes ---- */

int td_shape_write(struct td_inference *i)
{
    int64_t shape[TD_RANK_MAX];
    int rank, failed = broadcast_all(i, &rank, shape);
    if (failed)
        return failed;
    if (rank != i->in[0].rank || memcmp(shape, i->in[0].shape, (size_t)rank * sizeof *shape)) {
        char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE, "%s: shape %s does not fit into the target's shape %s", i->op->name,
                text(&i->in[1], a), text(&i->in[0], b));
        return td_hint(i->failure, "A target keeps its shape; only the other operand is broadcast.");
    }
    if (td_meta_overlaps_itself(&i->in[0])) {
        td_fail(i->failure, TD_E_ARGUMENT, "%s: the target's elements share memory with each other", i->op->name);
        return td_hint(i->failure, "Write to a clone of the expanded tensor instead.");
    }
    return alias(i);
}

int td_shape_write_0d(struct td_inference *i)
{
    if (i->in[1].rank == 0)
        return td_shape_write(i);
    char shape[TD_SHAPE_TEXT];
    return td_fail(i->failure, TD_E_SHAPE,
                   "%s: the value has shape %s where a number or a tensor without dimensions is due", i->op->name,
                   text(&i->in[1], shape));
}

/* ---- reductions ---- */

static int reduced(struct td_inference *i, bool some)
{
    const struct td_sum_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    int64_t shape[TD_RANK_MAX];
    int rank = 0, failed, d;
    uint32_t seen = 0;
    for (int64_t k = 0; k < a->dims.count; k++) {
        if ((failed = wrap_dim(i, a->dims.v[k], x->rank, &d)))
            return failed;
        if (seen & 1u << d)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: dimension %d is given twice", i->op->name, d);
        seen |= 1u << d;
    }
    uint32_t mask = td_reduced_dims(&a->dims, x->rank);
    for (d = 0; d < x->rank; d++) {
        if (!(mask & 1u << d))
            shape[rank++] = x->shape[d];
        else if (a->keepdim)
            shape[rank++] = 1;
        if (some && mask & 1u << d && x->shape[d] == 0)
            return td_fail(i->failure, TD_E_SHAPE, "%s: dimension %d has no elements to choose from", i->op->name, d);
    }
    return fresh(i, rank, shape);
}

int td_shape_reduce(struct td_inference *i)
{
    return reduced(i, false);
}

int td_shape_reduce_some(struct td_inference *i)
{
    return reduced(i, true);
}

/* ---- products, softmax, losses ---- */

int td_shape_matmul(struct td_inference *i)
{
    const struct td_meta *a = &i->in[0], *b = &i->in[1];
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    if (a->rank != 2 || b->rank != 2) {
        td_fail(i->failure, TD_E_SHAPE, "matmul: shapes %s and %s have %d and %d dimensions where both need 2",
                text(a, at), text(b, bt), a->rank, b->rank);
        return td_hint(i->failure, "reshape gives a vector a dimension of size 1.");
    }
    if (a->shape[1] != b->shape[0]) {
        td_fail(i->failure, TD_E_SHAPE,
                "matmul: shapes %s and %s do not fit together: %" PRId64 " columns meet %" PRId64 " rows", text(a, at),
                text(b, bt), a->shape[1], b->shape[0]);
        bool turned = a->shape[1] == b->shape[1];
        return turned ? td_hint(i->failure, "td_transpose(b, 0, 1) would fit.")
                      : td_hint(i->failure, "The columns of the first must be as many as the rows of the second.");
    }
    return fresh(i, 2, (int64_t[]){a->shape[0], b->shape[1]});
}

int td_shape_softmax(struct td_inference *i)
{
    int d, failed = wrap_dim(i, ((const struct td_log_softmax_attrs *)i->attrs)->dim, i->in[0].rank, &d);
    return failed ? failed : fresh(i, i->in[0].rank, i->in[0].shape);
}

static int bad_reduction(struct td_inference *i, int64_t reduction)
{
    if (reduction >= TD_NONE && reduction <= TD_SUM)
        return TD_E_OK;
    return td_fail(i->failure, TD_E_ARGUMENT, "%s: reduction %" PRId64 " is none of TD_NONE, TD_MEAN, TD_SUM",
                   i->op->name, reduction);
}

int td_shape_cross_entropy(struct td_inference *i)
{
    const struct td_cross_entropy_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0], *t = &i->in[1];
    char xt[TD_SHAPE_TEXT], tt[TD_SHAPE_TEXT];
    if (x->rank != 2 || t->rank != 1 || x->shape[0] != t->shape[0]) {
        td_fail(i->failure, TD_E_SHAPE, "cross_entropy: logits of shape %s and targets of shape %s do not fit together",
                text(x, xt), text(t, tt));
        return td_hint(i->failure, "Logits are (n, classes) and targets (n).");
    }
    return bad_reduction(i, a->reduction) ? i->failure->code : fresh(i, a->reduction == TD_NONE, x->shape);
}

int td_shape_pair_loss(struct td_inference *i)
{
    const struct td_mse_loss_attrs *a = i->attrs;
    int64_t shape[TD_RANK_MAX];
    int rank, failed = broadcast_all(i, &rank, shape);
    /* The broadcast shape is checked also where the result has none of it: kernels walk it. */
    if (failed || (failed = bad_reduction(i, a->reduction)) || (failed = fresh(i, rank, shape)))
        return failed;
    if (a->reduction != TD_NONE)
        return fresh(i, 0, shape);
    /* PyTorch expands the operands before it compares their layouts. */
    const struct td_meta *in = i->in;
    struct td_meta seen[2] = {i->out, i->out};
    expanded_strides(&in[0], rank, shape, seen[0].stride);
    expanded_strides(&in[1], rank, shape, seen[1].stride);
    i->in = seen;
    follow_layout(i);
    i->in = in;
    return TD_E_OK;
}

/* ---- indexing ---- */

int td_shape_embedding(struct td_inference *i)
{
    const struct td_meta *weight = &i->in[0], *index = &i->in[1];
    char wt[TD_SHAPE_TEXT];
    int64_t shape[TD_RANK_MAX + 1];
    if (weight->rank != 2)
        return td_fail(i->failure, TD_E_SHAPE, "embedding: the weight has shape %s where (rows, width) is due",
                       text(weight, wt));
    memcpy(shape, index->shape, index->rank * sizeof *shape);
    shape[index->rank] = weight->shape[1];
    return fresh(i, index->rank + 1, shape);
}

static int index_is_row(struct td_inference *i)
{
    char it[TD_SHAPE_TEXT];
    if (i->in[1].rank <= 1)
        return TD_E_OK;
    return td_fail(i->failure, TD_E_SHAPE, "%s: the index has shape %s where one dimension is due", i->op->name,
                   text(&i->in[1], it));
}

int td_shape_index_select(struct td_inference *i)
{
    const struct td_index_select_attrs *a = i->attrs;
    int64_t shape[TD_RANK_MAX];
    int d, failed;
    if ((failed = wrap_dim(i, a->dim, i->in[0].rank, &d)) || (failed = index_is_row(i)))
        return failed;
    memcpy(shape, i->in[0].shape, sizeof shape);
    if (i->in[0].rank)
        shape[d] = td_meta_numel(&i->in[1]);
    return fresh(i, i->in[0].rank, shape);
}

int td_shape_index_add(struct td_inference *i)
{
    const struct td_index_add_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0], *source = &i->in[2];
    int d, failed;
    if ((failed = wrap_dim(i, a->dim, x->rank, &d)) || (failed = index_is_row(i)))
        return failed;
    bool fits = source->rank == x->rank;
    for (int k = 0; fits && k < x->rank; k++)
        fits = source->shape[k] == (k == d ? td_meta_numel(&i->in[1]) : x->shape[k]);
    if (!fits) {
        char xt[TD_SHAPE_TEXT], it[TD_SHAPE_TEXT], st[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE,
                "index_add: a source of shape %s does not fit into %s along dimension %d by an index of %s",
                text(source, st), text(x, xt), d, text(&i->in[1], it));
        return td_hint(i->failure, "The source has the target's sizes, and the index's along that dimension.");
    }
    return fresh(i, x->rank, x->shape);
}

/* ---- windows ---- */

/* The window of an op on content taken as one row of elements, checked to lie inside it. */
static int window(struct td_inference *i, const struct td_dims *shape, const struct td_dims *stride, int64_t offset,
                  struct td_meta *into)
{
    int64_t last = offset, reach, size = td_meta_numel(&i->in[0]);
    bool fits = shape->count >= 0 && shape->count == stride->count && offset >= 0 &&
                td_checked_numel((int)shape->count, shape->v) >= 0;
    bool empty = false;
    for (int d = 0; fits && d < shape->count; d++) {
        empty |= shape->v[d] == 0;
        fits = stride->v[d] >= 0 && !__builtin_mul_overflow(shape->v[d] ? shape->v[d] - 1 : 0, stride->v[d], &reach) &&
               !__builtin_add_overflow(last, reach, &last);
    }
    if (!fits || (!empty && last >= size))
        return td_fail(i->failure, TD_E_SHAPE, "%s: the window does not lie inside content of %" PRId64 " elements",
                       i->op->name, size);
    into->rank = (uint8_t)shape->count;
    into->offset = offset;
    memcpy(into->shape, shape->v, sizeof into->shape);
    memcpy(into->stride, stride->v, sizeof into->stride);
    return TD_E_OK;
}

int td_shape_strided_read(struct td_inference *i)
{
    const struct td_strided_read_attrs *a = i->attrs;
    struct td_meta seen;
    int failed = window(i, &a->shape, &a->stride, a->offset, &seen);
    return failed ? failed : fresh(i, seen.rank, seen.shape);
}

int td_shape_strided_write(struct td_inference *i)
{
    const struct td_strided_write_attrs *a = i->attrs;
    struct td_meta seen = {.dtype = i->in[0].dtype};
    int64_t shape[TD_RANK_MAX];
    int rank, failed = window(i, &a->shape, &a->stride, a->offset, &seen);
    if (failed)
        return failed;
    if (!td_broadcast(seen.rank, seen.shape, i->in[1].rank, i->in[1].shape, &rank, shape) || rank != seen.rank ||
        memcmp(shape, seen.shape, (size_t)rank * sizeof *shape))
        return td_fail(i->failure, TD_E_SHAPE, "%s: the value does not fit into the window", i->op->name);
    if (i->op->id == TD_OP_strided_write && td_meta_overlaps_itself(&seen))
        return td_fail(i->failure, TD_E_ARGUMENT, "strided_write: the window's elements share memory with each other");
    return fresh(i, i->in[0].rank, i->in[0].shape);
}

/* ---- optimiser steps ---- */

/* Lists are params and then per parameter states of the same shape and dtype; the counter has an entry for each. */
static int step(struct td_inference *i, int lists)
{
    int params = i->list_counts[0];
    const struct td_meta *counts = &i->in[i->in_count - 1];
    if (counts->rank != 1 || counts->shape[0] != params || !td_meta_is_contiguous(counts))
        return td_fail(i->failure, TD_E_SHAPE, "%s: counts needs one entry for each of %d parameters", i->op->name,
                       params);
    for (int list = 1, base = params; list < lists; base += i->list_counts[list++]) {
        if (i->list_counts[list] != params && !(i->list_counts[list] == 0 && i->op->id == TD_OP_sgd_step_))
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: %d states for %d parameters", i->op->name,
                           i->list_counts[list], params);
        for (int k = 0; k < i->list_counts[list]; k++)
            if (!td_meta_same_shape(&i->in[k], &i->in[base + k]) || i->in[k].dtype != i->in[base + k].dtype ||
                !td_meta_is_contiguous(&i->in[base + k]))
                return td_fail(i->failure, TD_E_SHAPE,
                               "%s: state %d differs from its parameter in shape, dtype or layout", i->op->name, k);
    }
    for (int k = 0; k < i->in_count; k++)
        if (td_meta_overlaps_itself(&i->in[k]))
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: parameter %d has elements that share memory", i->op->name,
                           k);
    return TD_E_OK;
}

int td_shape_step_sgd(struct td_inference *i)
{
    const struct td_sgd_step__attrs *a = i->attrs;
    if (a->momentum != 0 && i->list_counts[1] == 0 && i->list_counts[0])
        return td_fail(i->failure, TD_E_ARGUMENT, "sgd_step_: momentum %g needs a state for each parameter",
                       a->momentum);
    return step(i, 2);
}

int td_shape_step_adam(struct td_inference *i)
{
    return step(i, 3);
}

/* ---- dtypes ---- */

/* The dtype of the promoted inputs together: tensors with dimensions decide, then those without, then numbers, the
 * weaker ones only by a higher category (torch.result_type). */
static uint8_t promoted(struct td_inference *i, uint32_t positions)
{
    uint8_t with_dims = 0, without = 0, numbers = 0;
    for (int k = 0; k < i->in_count && k < 32; k++) {
        const struct td_meta *in = &i->in[k];
        if (!(positions >> k & 1) || in->dtype == TD_DTYPE_NONE)
            continue;
        uint8_t *rank = in->scalar ? &numbers : in->rank ? &with_dims : &without;
        *rank = td_dtype_promote(*rank, in->dtype);
    }
    uint8_t result = with_dims;
    if (without && (!result || td_dtype_category(without) > td_dtype_category(result)))
        result = result ? td_dtype_promote(result, without) : without;
    if (numbers && (!result || td_dtype_category(numbers) > td_dtype_category(result)))
        result = numbers;
    return result;
}

static int refuse_dtype(struct td_inference *i, int k, const char *what)
{
    td_fail(i->failure, TD_E_DTYPE, "%s: input %d is %s where %s is due", i->op->name, k, td_dtype_name(i->in[k].dtype),
            what);
    return td_hint(i->failure, "td_to(x, TD_...) converts.");
}

static const char *mask_text(uint32_t takes)
{
    return takes == TD_FLOATS ? "a floating type" : takes == TD_NUMBERS ? "a number type" : "another type";
}

/* Checks each input against its parameter; positions gets the promoted ones. */
static int check_inputs(struct td_inference *i, uint32_t *positions)
{
    int k = 0, list = 0;
    *positions = 0;
    for (const struct td_param *p = i->op->params; p->kind; p++) {
        int count = p->kind == TD_PARAM_LIST ? i->list_counts[list++] : td_param_is_tensor(p->kind);
        for (; count > 0; count--, k++) {
            if (k >= i->in_count)
                return td_fail(i->failure, TD_E_ARGUMENT, "%s: too few tensors", i->op->name);
            if (p->kind == TD_PARAM_INDEX && i->in[k].dtype != TD_I64)
                return refuse_dtype(i, k, "i64");
            if (p->kind == TD_PARAM_MASK && i->in[k].dtype != TD_BOOL)
                return refuse_dtype(i, k, "bool");
            if (p->kind == TD_PARAM_LIST && !(i->op->takes & TD_MASK(i->in[k].dtype)))
                return refuse_dtype(i, k, mask_text(i->op->takes));
            if ((p->kind == TD_PARAM_TENSOR || p->kind == TD_PARAM_NUM || p->kind == TD_PARAM_OPT) && k < 32)
                *positions |= 1u << k;
        }
    }
    return TD_E_OK;
}

static int decide_dtypes(struct td_inference *i)
{
    uint32_t positions;
    int failed = check_inputs(i, &positions);
    if (failed)
        return failed;
    uint8_t common = promoted(i, positions);
    if (i->op->gives == TD_KEEP && i->in_count) {
        i->compute = i->op->kind == TD_STEP ? TD_DTYPE_NONE : i->in[0].dtype;
        i->out.dtype = i->in[0].dtype;
        /* fill_ converts as to does: PyTorch lets it put 1.5 into integers. */
        if (positions && i->op->id != TD_OP_fill_ && !td_dtype_can_cast(common, i->in[0].dtype)) {
            td_fail(i->failure, TD_E_DTYPE, "%s: a result of %s does not go into a tensor of %s", i->op->name,
                    td_dtype_name(common), td_dtype_name(i->in[0].dtype));
            return td_hint(i->failure, "Convert the tensor with td_to first.");
        }
        common = i->in[0].dtype;
    } else if (i->op->gives != TD_GIVEN) {
        bool floats = td_dtype_category(common) == TD_FLOATING;
        i->compute = common;
        if (i->op->gives == TD_FLOAT && !floats)
            i->compute = TD_F32;
        if (i->op->gives == TD_TOTAL && !floats)
            i->compute = TD_I64;
        i->out.dtype = i->op->gives == TD_TRUTH ? TD_BOOL : i->compute;
    }
    if (positions && common && !(i->op->takes & TD_MASK(common))) {
        td_fail(i->failure, TD_E_DTYPE, "%s: takes %s, not %s", i->op->name, mask_text(i->op->takes),
                td_dtype_name(common));
        return td_hint(i->failure, "td_to(x, TD_F32) converts.");
    }
    return TD_E_OK;
}

/* The result's dtype where an attribute gives it; creation functions have set theirs already. */
static int given_dtype(struct td_inference *i)
{
    if (i->op->gives == TD_GIVEN && i->op->id == TD_OP_to) {
        i->out.dtype = given(((const struct td_to_attrs *)i->attrs)->dtype, TD_DTYPE_NONE);
    }
    if (i->out.dtype == TD_DTYPE_NONE)
        return td_fail(i->failure, TD_E_DTYPE, "%s: an element type that does not exist", i->op->name);
    if (i->op->gives == TD_GIVEN && (!td_dtype_known(i->out.dtype) || !(i->op->takes & TD_MASK(i->out.dtype))))
        return td_fail(i->failure, TD_E_DTYPE, "%s: cannot give %s", i->op->name, td_dtype_name(i->out.dtype));
    return TD_E_OK;
}

/* Shape rules walk these lists without looking at their length again. */
static int check_lists(struct td_inference *i)
{
    const char *slot = i->attrs;
    int64_t count;
    for (const struct td_param *p = i->op->params; p->kind; slot += td_param_slots(p++->kind) * 8) {
        if (p->kind != TD_PARAM_SHAPE && p->kind != TD_PARAM_DIMS)
            continue;
        memcpy(&count, slot, sizeof count);
        if (count > TD_RANK_MAX)
            return td_fail(i->failure, TD_E_LIMIT, "%s: %s has %" PRId64 " entries; the limit is %d", i->op->name,
                           p->name, count, TD_RANK_MAX);
        if (count < 0 && p->kind == TD_PARAM_SHAPE)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: %s is not given", i->op->name, p->name);
    }
    return TD_E_OK;
}

int td_infer(struct td_inference *i)
{
    i->compute = TD_DTYPE_NONE;
    i->shares = -1;
    i->out = (struct td_meta){0};
    i->out_count = i->op->output != NULL;
    int failed = check_lists(i);
    if (!failed)
        failed = decide_dtypes(i);
    if (!failed)
        failed = i->op->shape(i);
    if (!failed && i->out_count)
        failed = given_dtype(i);
    return failed;
}
