/* Shapes and layouts of elementwise results and of writes: broadcasting, and the order of dimensions that ATen's
 * TensorIterator gives. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

static bool is_mask(const struct td_inference *i, int k)
{
    const struct td_param *p = i->op->params;
    while (p->kind && k-- > 0)
        p++;
    return p->kind == TD_PARAM_MASK;
}

/* What is done to x, input k, so that it broadcasts with shape; TD_E_OK if nothing simple is. */
static int hint_turned(struct td_inference *i, int k, int rank, const int64_t *shape)
{
    struct td_meta x = i->in[k];
    char name[TD_INPUT_TEXT];
    int64_t both[TD_RANK_MAX];
    int found;
    td_input_name(i->op, i->list_counts, k, name);
    if (x.rank >= 1 && x.rank < rank) {
        x.shape[x.rank++] = 1;
        if (td_broadcast(rank, shape, x.rank, x.shape, &found, both))
            return td_hint(i->failure, "td_unsqueeze(%s, -1) would fit.", name);
        x = i->in[k];
    }
    if (x.rank >= 2) {
        int64_t last = x.shape[x.rank - 1];
        x.shape[x.rank - 1] = x.shape[x.rank - 2];
        x.shape[x.rank - 2] = last;
        if (td_broadcast(rank, shape, x.rank, x.shape, &found, both))
            return td_hint(i->failure, "td_transpose(%s, -2, -1) would fit.", name);
    }
    return TD_E_OK;
}

/* Input k does not fit to shape, which those before it come to. */
static int refuse_broadcast(struct td_inference *i, int k, int rank, const int64_t *shape)
{
    const struct td_meta *x = &i->in[k];
    char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT], name[TD_INPUT_TEXT];
    int d = -1;
    while (shape[rank + d] == x->shape[x->rank + d] || shape[rank + d] == 1 || x->shape[x->rank + d] == 1)
        d--;
    td_fail(i->failure, TD_E_SHAPE,
            "%s: shapes %s and %s do not fit together: %" PRId64 " meets %" PRId64 " in dimension %d", i->op->name,
            td_shape_text(rank, shape, a, sizeof a), rule_text(x, b), shape[rank + d], x->shape[x->rank + d], d);
    bool small = k == 1 && rank < x->rank; /* the smaller one is what is turned */
    if ((small && hint_turned(i, 0, x->rank, x->shape)) || hint_turned(i, k, rank, shape) ||
        (k == 1 && hint_turned(i, 0, x->rank, x->shape)))
        return i->failure->code;
    int mask = is_mask(i, k) ? k : k == 1 && is_mask(i, 0) ? 0 : -1;
    if (mask >= 0)
        return td_hint(i->failure, "%s needs as many elements in each dimension as what it is for, or one.",
                       td_input_name(i->op, i->list_counts, mask, name));
    return td_hint(i->failure, "Compared from the last dimension, sizes are equal or one of them is 1.");
}

/* The shape that all inputs broadcast to. */
int rule_broadcast(struct td_inference *i, int *rank, int64_t *shape)
{
    *rank = 0;
    for (int k = 0; k < i->in_count; k++) {
        if (!td_broadcast(*rank, shape, i->in[k].rank, i->in[k].shape, rank, shape))
            return refuse_broadcast(i, k, *rank, shape);
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

void rule_copied_strides(const struct td_meta *x, int64_t *stride)
{
    int perm[TD_RANK_MAX];
    int64_t strides[1][TD_RANK_MAX], step = 1;
    memcpy(strides[0], x->stride, sizeof strides[0]);
    memcpy(stride, x->stride, x->rank * sizeof *stride);
    if (td_meta_is_dense(x))
        return;
    sort_dims(1, strides, x->rank, x->shape, perm);
    for (int d = 0; d < x->rank; d++) {
        stride[perm[d]] = step;
        step *= x->shape[perm[d]] > 1 ? x->shape[perm[d]] : 1;
    }
}

/* Input k as it takes part: what has another dtype is converted first, and then its copy's strides count. */
static struct td_meta converted(const struct td_inference *i, int k)
{
    struct td_meta in = i->in[k];
    bool mask = i->op->id == TD_OP_where && k == 0;
    if (in.rank && in.dtype != i->compute && !mask)
        rule_copied_strides(&i->in[k], in.stride);
    return in;
}

void rule_follow_strides(struct td_meta *out, int count, int64_t (*strides)[TD_RANK_MAX])
{
    int perm[TD_RANK_MAX];
    bool row_major = true;
    sort_dims(count, strides, out->rank, out->shape, perm);
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

/* Whether in lies row by row in the strides that its sizes have, also where a size of 1 leaves them free; of something
 * without elements, whose strides are another matter, it does not. */
static bool is_plain(const struct td_meta *in)
{
    int64_t stride = 1;
    for (int d = in->rank - 1; d >= 0; d--) {
        if (in->stride[d] != stride)
            return false;
        stride *= in->shape[d];
    }
    return stride > 0;
}

static bool same_layout(const struct td_meta *a, const struct td_meta *b)
{
    bool same = a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++)
        same = a->shape[d] == b->shape[d] && a->stride[d] == b->stride[d];
    return same;
}

/* The usual case: what has dimensions lies in one plain layout, which is the result's, too. The rest are numbers. */
static bool all_alike(struct td_inference *i)
{
    const struct td_meta *first = &i->in[0];
    struct td_meta *out = &i->out[0];
    for (int k = 1; k < i->in_count && !first->rank; k++)
        first = &i->in[k];
    if (!is_plain(first))
        return false;
    for (int k = 0; k < i->in_count; k++)
        if (i->in[k].rank && !same_layout(&i->in[k], first))
            return false;
    out->rank = first->rank;
    for (int d = 0; d < first->rank; d++) {
        out->shape[d] = first->shape[d];
        out->stride[d] = first->stride[d];
    }
    return true;
}

/* The dense layout that follows the inputs' order of dimensions, as TensorIterator gives it. */
void rule_follow_layout(struct td_inference *i)
{
    struct td_meta *out = &i->out[0];
    struct td_meta ins[3]; /* at most: where, addcmul and the like */
    int64_t strides[3][TD_RANK_MAX];
    bool all_contiguous = true, same_dense = i->op->id != TD_OP_softsign; /* to PyTorch a quotient */
    /* To PyTorch pow by a number is a function of one operand, lerp by a number one of two. */
    bool fixed = i->op->id == TD_OP_pow || i->op->id == TD_OP_lerp;
    int count = i->in_count - (fixed && i->in[i->in_count - 1].scalar);
    for (int k = 0; k < count && all_contiguous; k++) {
        all_contiguous = td_meta_same_shape(&i->in[k], out);
        if (!all_contiguous || td_meta_is_contiguous(&i->in[k]))
            continue;
        ins[k] = converted(i, k);
        all_contiguous = td_meta_is_contiguous(&ins[k]);
    }
    if (all_contiguous)
        return;
    for (int k = 0; k < count; k++)
        ins[k] = converted(i, k);
    for (int k = 0; k < count; k++) {
        /* rsub is sub with its operands exchanged: the second one comes first where they are of two minds. */
        const struct td_meta *in = &ins[i->op->id == TD_OP_rsub ? count - 1 - k : k];
        same_dense &= td_meta_same_shape(in, out) && td_meta_is_dense(in) &&
                      !memcmp(in->stride, ins[0].stride, in->rank * sizeof *in->stride);
        broadcast_strides(in, out->rank, out->shape, strides[k]);
    }
    if (same_dense) {
        memcpy(out->stride, ins[0].stride, out->rank * sizeof *out->stride);
        return;
    }
    rule_follow_strides(out, count, strides);
}

int rule_copied(struct td_inference *i)
{
    int failed = rule_fresh(i, i->in[0].rank, i->in[0].shape);
    if (!failed)
        rule_copied_strides(&i->in[0], i->out[0].stride);
    return failed;
}

int td_shape_full_like(struct td_inference *i)
{
    char vt[TD_SHAPE_TEXT];
    if (i->in[1].rank)
        return td_fail(i->failure, TD_E_SHAPE,
                       "full_like: the value has shape %s where a number or a tensor without dimensions is due",
                       rule_text(&i->in[1], vt));
    i->out[0].dtype = i->compute = rule_dtype(((const struct td_full_like_attrs *)i->attrs)->dtype, i->in[0].dtype);
    return rule_copied(i);
}

td_shape_rule td_shape_elementwise;

int td_shape_dropout(struct td_inference *i)
{
    const struct td_dropout_attrs *a = i->attrs;
    bool draws = a->training && a->p != 0 && a->p != 1 && td_meta_numel(&i->in[0]);
    if (!(a->p >= 0 && a->p <= 1))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: p is %g where a probability from 0 to 1 is due", i->op->name,
                       a->p);
    if (!draws || td_dtype_category(i->in[0].dtype) == TD_FLOATING)
        return td_shape_elementwise(i);
    td_fail(i->failure, TD_E_DTYPE, "%s: x is %s where a floating type is due", i->op->name,
            td_dtype_name(i->in[0].dtype));
    return td_hint(i->failure, "td_to(x, TD_F32) converts.");
}

/* clamp's bounds count as numbers of C do: one with a fraction, or nan, makes reals of integers. One that keeps
 * nothing out is none. */
static void promote_to_bounds(struct td_inference *i)
{
    const struct td_clamp_attrs *a = i->attrs;
    bool below = a->min == -INFINITY || (isfinite(a->min) && a->min == floor(a->min));
    bool whole = below && (a->max == INFINITY || (isfinite(a->max) && a->max == floor(a->max)));
    if (td_dtype_category(i->compute) != TD_FLOATING && !whole)
        i->compute = TD_F32;
    else if (i->compute == TD_BOOL)
        i->compute = TD_I64;
    i->out[0].dtype = i->compute;
}

/* Results that PyTorch does not lay out by TensorIterator. */
static const enum {
    BY_ITERATOR,
    LIKE_A_COPY,
    CONTIGUOUS
} layouts[TD_OP_LIMIT] = {
    [TD_OP_clone] = LIKE_A_COPY,      [TD_OP_to] = LIKE_A_COPY,         [TD_OP_relu6] = LIKE_A_COPY,
    [TD_OP_hardtanh] = LIKE_A_COPY,   [TD_OP_nan_to_num] = LIKE_A_COPY, [TD_OP_logsigmoid] = CONTIGUOUS,
    [TD_OP_masked_fill] = CONTIGUOUS, [TD_OP_bernoulli] = CONTIGUOUS,   [TD_OP_poisson] = CONTIGUOUS,
};

/* To PyTorch isinf compares an absolute value, laid out as out is now, with a number, and isfinite multiplies two such
 * results. */
static void follow_parts(struct td_inference *i)
{
    struct td_meta *out = &i->out[0];
    int64_t strides[1][TD_RANK_MAX];
    memcpy(strides[0], out->stride, sizeof strides[0]);
    bool contiguous = td_meta_is_contiguous(out);
    td_contiguous_strides(out->rank, out->shape, out->stride);
    if (!contiguous || i->op->id == TD_OP_isinf)
        rule_follow_strides(out, 1, strides);
}

int td_shape_elementwise(struct td_inference *i)
{
    i->broadcasts = true;
    if (i->op->id == TD_OP_clamp)
        promote_to_bounds(i);
    bool flat = i->op->id == TD_OP_isfinite || i->op->id == TD_OP_isinf; /* of integers the same everywhere */
    if (layouts[i->op->id] == LIKE_A_COPY || (flat && td_dtype_category(i->in[0].dtype) != TD_FLOATING))
        return rule_copied(i);
    if (i->op->id == TD_OP_softshrink && ((const struct td_softshrink_attrs *)i->attrs)->lambd < 0)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: lambd is %g where 0 or more is due", i->op->name,
                       ((const struct td_softshrink_attrs *)i->attrs)->lambd);
    if (i->op->id == TD_OP_celu && ((const struct td_celu_attrs *)i->attrs)->alpha == 0)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: alpha is 0, and x is divided by it", i->op->name);
    int64_t shape[TD_RANK_MAX];
    int rank, failed;
    if (!all_alike(i)) {
        if ((failed = rule_broadcast(i, &rank, shape)) || (failed = rule_fresh(i, rank, shape)))
            return failed;
        if (layouts[i->op->id] != CONTIGUOUS)
            rule_follow_layout(i);
    }
    if (i->op->id == TD_OP_isfinite || i->op->id == TD_OP_isinf)
        follow_parts(i);
    return TD_E_OK;
}

/* ---- writes ---- */

int td_shape_write(struct td_inference *i)
{
    i->broadcasts = true;
    int64_t shape[TD_RANK_MAX];
    int rank, failed = rule_broadcast(i, &rank, shape);
    if (failed)
        return failed;
    if (rank != i->in[0].rank || memcmp(shape, i->in[0].shape, (size_t)rank * sizeof *shape)) {
        char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_SHAPE, "%s: %s of shape %s does not fit into the target's shape %s", i->op->name,
                i->op->params[1].name, rule_text(&i->in[1], a), rule_text(&i->in[0], b));
        return td_hint(i->failure, "A target keeps its shape; only the other operand is broadcast.");
    }
    if (td_meta_overlaps_itself(&i->in[0])) {
        char shape_text[TD_SHAPE_TEXT], strides[TD_SHAPE_TEXT];
        td_fail(i->failure, TD_E_ARGUMENT,
                "%s: the target's elements share memory with each other: shape %s with strides %s", i->op->name,
                rule_text(&i->in[0], shape_text),
                td_shape_text(i->in[0].rank, i->in[0].stride, strides, sizeof strides));
        return td_hint(i->failure, "Write to a clone of the expanded tensor instead.");
    }
    return rule_alias(i);
}

int td_shape_overwrite(struct td_inference *i)
{
    return td_shape_write(i);
}

int td_shape_write_0d(struct td_inference *i)
{
    if (i->in[1].rank == 0)
        return td_shape_write(i);
    char shape[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE, "%s: the value has shape %s where a number or a tensor without dimensions is due",
            i->op->name, rule_text(&i->in[1], shape));
    return td_hint(i->failure, "td_copy_(x, value) writes a tensor of any shape that fits.");
}
