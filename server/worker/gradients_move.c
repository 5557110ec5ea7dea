/* Gradient rules of what is moved within a tensor, repeated and padded. g is the gradient of the output; the formulas
 * stand over each rule. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "server/worker/rule_ops.h"

/* g turned round again */
RULE(flip)
{
    give(r, 0, step(r, TD_OP_flip, attrs_of(r), 1, &g));
}

/* g moved back */
RULE(roll)
{
    struct td_roll_attrs back = *(const struct td_roll_attrs *)attrs_of(r);
    for (int64_t k = 0; k < back.shifts.count; k++)
        back.shifts.v[k] = (int64_t)(0 - (uint64_t)back.shifts.v[k]);
    give(r, 0, step(r, TD_OP_roll, &back, 1, &g));
}

/* the sum over the repetitions, a dimension at a time */
RULE(repeat)
{
    const struct td_repeat_attrs *a = attrs_of(r);
    const struct td_meta *x = shape_of(r, 0), *y = &r->node->out[0].meta;
    int64_t outer = 1, added = y->rank - x->rank;
    for (int d = 0; d < y->rank; d++) {
        int64_t size = d < added ? 1 : x->shape[d - added], inner = size;
        for (int k = d + 1; k < y->rank; k++)
            inner *= y->shape[k];
        if (a->sizes.v[d] != 1)
            g = sum_one(r, reshape(r, g, 3, (int64_t[]){outer, a->sizes.v[d], inner}), 1);
        outer *= size;
    }
    give(r, 0, reshape(r, g, x->rank, x->shape));
}

/* the sum over the repetitions */
RULE(repeat_interleave)
{
    const struct td_repeat_interleave_attrs *a = attrs_of(r);
    const struct td_meta *x = shape_of(r, 0);
    int64_t outer = 1, inner = 1;
    int dim = a->dim == INT64_MIN ? x->rank : td_wrap_dim(a->dim, x->rank);
    for (int d = 0; d < x->rank; d++)
        *(d <= dim ? &outer : &inner) *= x->shape[d];
    g = sum_one(r, reshape(r, g, 3, (int64_t[]){outer, a->repeats, inner}), 1);
    give(r, 0, reshape(r, g, x->rank, x->shape));
}

/* the same triangle of g */
RULE(triangle)
{
    give(r, 0, step(r, r->node->op->id, attrs_of(r), 1, &g));
}

RULE(diag_embed)
{
    const struct td_diag_embed_attrs *a = attrs_of(r);
    const struct td_diagonal_attrs back = {.offset = a->offset, .dim0 = a->dim0, .dim1 = a->dim1};
    give(r, 0, step(r, TD_OP_diagonal, &back, 1, &g));
}

/* x with before and behind zeros more along its k-th last dimension */
static ref padded(struct rule *r, ref x, int64_t k, int64_t before, int64_t behind)
{
    struct td_pad_attrs attrs = {.pads.count = 2 * k + 2};
    attrs.pads.v[2 * k] = before;
    attrs.pads.v[2 * k + 1] = behind;
    return step(r, TD_OP_pad, &attrs, 1, &x);
}

/* what count elements of g from start on, along dimension d of size, add to the elements from to on that they are
 * copies of */
static ref returned(struct rule *r, ref g, int64_t mode, int64_t d, int64_t k, int64_t size, int64_t start,
                    int64_t count, int64_t to)
{
    ref part = slice(r, g, d, start, start + count);
    if (mode == TD_REPLICATE) {
        part = sum_one(r, part, d);
        count = 1;
    } else if (mode == TD_REFLECT) {
        part = step(r, TD_OP_flip, &(struct td_flip_attrs){.dims = {1, {d}}}, 1, &part);
    }
    return padded(r, part, k, to, size - to - count);
}

/* constant: g's part that was x; else besides, a dimension at a time, what the copies of elements got */
RULE(pad)
{
    const struct td_pad_attrs *a = attrs_of(r);
    const struct td_meta *x = shape_of(r, 0);
    if (a->mode == TD_CONSTANT) {
        struct td_pad_attrs back = {.pads.count = a->pads.count};
        for (int64_t k = 0; k < a->pads.count; k++)
            back.pads.v[k] = -a->pads.v[k];
        give(r, 0, step(r, TD_OP_pad, &back, 1, &g));
        return;
    }
    for (int64_t k = 0; k < a->pads.count / 2; k++) {
        int64_t before = a->pads.v[2 * k], behind = a->pads.v[2 * k + 1], d = x->rank - 1 - k, size = x->shape[d];
        int64_t edge = a->mode == TD_REFLECT; /* which is not repeated */
        ref inside = slice(r, g, d, before, before + size);
        if (before)
            inside = add(r, inside,
                         returned(r, g, a->mode, d, k, size, 0, before, a->mode == TD_CIRCULAR ? size - before : edge));
        if (behind)
            inside = add(r, inside,
                         returned(r, g, a->mode, d, k, size, before + size, behind,
                                  a->mode == TD_CIRCULAR    ? 0
                                  : a->mode == TD_REPLICATE ? size - 1
                                                            : size - 1 - behind));
        g = inside;
    }
    give(r, 0, g);
}
