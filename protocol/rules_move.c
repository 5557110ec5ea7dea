/* Shapes of what is moved within a tensor, repeated and padded. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

int td_shape_flip(struct td_inference *i)
{
    const struct td_dims *dims = &((const struct td_flip_attrs *)i->attrs)->dims;
    uint32_t seen = 0;
    for (int64_t k = 0; k < dims->count; k++) {
        int d, failed = rule_wrap_dim(i, dims->v[k], i->in[0].rank, &d);
        if (failed)
            return failed;
        if (seen & 1u << d)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: dimension %d is given twice in dims", i->op->name, d);
        seen |= 1u << d;
    }
    return rule_copied(i);
}

int td_shape_roll(struct td_inference *i)
{
    const struct td_roll_attrs *a = i->attrs;
    int64_t dims = a->dims.count < 0 ? 0 : a->dims.count;
    if (a->shifts.count != (dims ? dims : 1))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: %" PRId64 " shifts are given for %" PRId64 " dimensions",
                       i->op->name, a->shifts.count, dims);
    if ((dims || i->in[0].rank == 1) && td_meta_numel(&i->in[0]) == 0) /* PyTorch does not look at dims then */
        return rule_copied(i);
    for (int64_t k = 0; k < dims; k++) {
        int d, failed = rule_needs_dims(i);
        if (failed || (failed = rule_wrap_dim(i, a->dims.v[k], i->in[0].rank, &d)))
            return failed;
    }
    return rule_fresh(i, i->in[0].rank, i->in[0].shape);
}

int td_shape_repeat(struct td_inference *i)
{
    const struct td_dims *sizes = &((const struct td_repeat_attrs *)i->attrs)->sizes;
    const struct td_meta *x = &i->in[0];
    int64_t shape[TD_RANK_MAX], added = sizes->count - x->rank;
    bool fits = added >= 0;
    for (int d = 0; fits && d < sizes->count; d++)
        fits = sizes->v[d] >= 0 && !__builtin_mul_overflow(sizes->v[d], d < added ? 1 : x->shape[d - added], &shape[d]);
    if (fits)
        return rule_fresh(i, sizes->count, shape);
    char xt[TD_SHAPE_TEXT], st[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE, "%s: shape %s cannot be repeated %s times", i->op->name, rule_text(x, xt),
            td_shape_text((int)sizes->count, sizes->v, st, sizeof st));
    return td_hint(i->failure, "There is a number for each dimension, and for new ones in front.");
}

int td_shape_repeat_interleave(struct td_inference *i)
{
    const struct td_repeat_interleave_attrs *a = i->attrs;
    int64_t shape[TD_RANK_MAX] = {td_meta_numel(&i->in[0])};
    int d = 0, failed, rank = i->in[0].rank;
    if (a->dim == INT64_MIN)
        rank = 1;
    else if ((failed = rule_needs_dims(i)) || (failed = rule_wrap_dim(i, a->dim, rank, &d)))
        return failed;
    else
        memcpy(shape, i->in[0].shape, sizeof shape);
    if (a->repeats < 0 || __builtin_mul_overflow(shape[d], a->repeats, &shape[d]))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: repeats is %" PRId64 ", and no tensor has as many elements",
                       i->op->name, a->repeats);
    return rule_fresh(i, rank, shape);
}

int td_shape_triangle(struct td_inference *i)
{
    char xt[TD_SHAPE_TEXT];
    if (i->in[0].rank < 2) {
        td_fail(i->failure, TD_E_SHAPE, "%s: shape %s has less than two dimensions", i->op->name,
                rule_text(&i->in[0], xt));
        return td_hint(i->failure, "The last two dimensions are the rows and columns of matrices.");
    }
    return rule_fresh(i, i->in[0].rank, i->in[0].shape);
}

int td_shape_diag_embed(struct td_inference *i)
{
    const struct td_diag_embed_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    int64_t shape[TD_RANK_MAX + 1], size;
    int d0, d1, failed, rank = x->rank + 1, from = 0;
    if ((failed = rule_needs_dims(i)) || (failed = rule_wrap_dim(i, a->dim0, rank, &d0)) ||
        (failed = rule_wrap_dim(i, a->dim1, rank, &d1)))
        return failed;
    if (d0 == d1)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: dim0 and dim1 are both dimension %d", i->op->name, d0);
    if (a->offset > TD_ELEMENTS_MAX || a->offset < -TD_ELEMENTS_MAX)
        return td_fail(i->failure, TD_E_SHAPE, "%s: the diagonal %" PRId64 " is too far off", i->op->name, a->offset);
    size = x->shape[x->rank - 1] + (a->offset < 0 ? -a->offset : a->offset);
    for (int d = 0; d < rank; d++)
        shape[d] = d == d0 || d == d1 ? size : x->shape[from++];
    return rule_fresh(i, rank, shape);
}

/* What pad k of mode may be of a dimension of size. */
static bool pad_fits(int64_t pad, int64_t mode, int64_t size)
{
    if (mode == TD_CONSTANT || pad == 0)
        return pad <= TD_ELEMENTS_MAX && pad >= -TD_ELEMENTS_MAX;
    return pad >= 0 && pad <= (mode == TD_REFLECT ? size - 1 : mode == TD_CIRCULAR ? size : TD_ELEMENTS_MAX) && size;
}

int td_shape_pad(struct td_inference *i)
{
    const struct td_pad_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    struct td_meta part = *x;
    int64_t count = a->pads.count / 2;
    bool taken = a->mode == TD_CONSTANT, fits = a->pads.count % 2 == 0 && count <= x->rank;
    char xt[TD_SHAPE_TEXT], pt[TD_SHAPE_TEXT];
    if (a->mode < TD_CONSTANT || a->mode > TD_CIRCULAR)
        return td_fail(i->failure, TD_E_ARGUMENT,
                       "%s: mode is %" PRId64 ", none of TD_CONSTANT, TD_REFLECT, TD_REPLICATE, TD_CIRCULAR",
                       i->op->name, a->mode);
    for (int64_t k = 0; fits && k < count; k++) {
        int64_t before = a->pads.v[2 * k], behind = a->pads.v[2 * k + 1], *size = &part.shape[x->rank - 1 - k];
        fits = pad_fits(before, a->mode, *size) && pad_fits(behind, a->mode, *size) &&
               (before >= 0 || -before <= *size) && (behind >= 0 || -behind <= *size) && *size + before + behind >= 0;
        *size += fits ? before + behind : 0; /* what does not fit may not even be added */
        taken &= before <= 0 && behind <= 0;
    }
    if (!fits) {
        td_fail(i->failure, TD_E_SHAPE, "%s: a tensor of shape %s cannot be padded by %s", i->op->name,
                rule_text(x, xt), td_shape_text((int)a->pads.count, a->pads.v, pt, sizeof pt));
        return td_hint(i->failure, a->mode == TD_CONSTANT ? "Pads come in pairs, at most one for each dimension."
                                                          : "What is reflected or goes round has to lie in x.");
    }
    int failed = rule_fresh(i, x->rank, part.shape);
    if (!failed && taken)
        rule_copied_strides(&part, i->out[0].stride);
    return failed;
}
