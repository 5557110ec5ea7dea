/* Gradient rules of views, writes and windows. g is the gradient of the output, y the output, x (or a, b) an input; the
 * formulas stand over each rule. Where a rule selects, it uses where and never a product with a mask, so that
 * infinities and NaN on the other side stay out. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "server/worker/rule_ops.h"

/* g */
RULE(identity)
{
    give(r, 0, g);
}

/* g in x's shape */
RULE(reshape)
{
    give(r, 0, reshape(r, g, shape_of(r, 0)->rank, shape_of(r, 0)->shape));
}

RULE(transpose)
{
    const struct td_transpose_attrs *a = attrs_of(r);
    give(r, 0, transpose(r, g, a->dim0, a->dim1));
}

/* zeros with g in the window, added where that meets itself */
static void give_window(struct rule *r, const struct td_meta *seen, const struct td_meta *whole, ref g)
{
    if (td_meta_overlaps_itself(seen))
        give(r, 0, window(r, TD_OP_strided_add, seen, 2, (ref[]){zeros(r, whole), g}));
    else
        rule_give_window(r, GIVES_WINDOW, seen, g);
}

/* zeros with g written where the view looked, added where it looked twice: the view's window on a contiguous x */
RULE(part)
{
    struct td_meta whole = *shape_of(r, 0);
    whole.offset = 0;
    td_contiguous_strides(whole.rank, whole.shape, whole.stride);
    struct td_inference view = {
        .op = r->node->op, .in = &whole, .in_count = 1, .attrs = r->node->attrs, .failure = &r->failure};
    if (td_infer(&view))
        return;
    give_window(r, &view.out[0], &whole, g);
}

/* the sum over what was repeated: give does it */
RULE(expand)
{
    give(r, 0, g);
}

/* zeros, since nothing of x is left; value: sum of g, which give does */
RULE(fill_)
{
    if (needs(r, 0))
        give(r, 0, zeros(r, shape_of(r, 0)));
    give(r, 1, g);
}

RULE(add_)
{
    give(r, 0, g);
    give(r, 1, g);
}

static struct td_meta window_of(const struct td_dims *shape, const struct td_dims *stride, int64_t offset)
{
    struct td_meta window = {.rank = (uint8_t)shape->count, .offset = offset};
    memcpy(window.shape, shape->v, sizeof window.shape);
    memcpy(window.stride, stride->v, sizeof window.stride);
    return window;
}

/* zeros with g in the window, added where the window meets itself; where it is known by itself g, past the content,
 * unless the gradient of that is asked for */
RULE(strided_read)
{
    const struct node *content = r->node->in[0].node;
    bool asked = r->walk && content && content->walk == r->walk && content->way & WAY_TARGET;
    if (r->node->in_count > 1 && needs(r, 1) && !asked) {
        give(r, 1, g);
        return;
    }
    const struct td_strided_read_attrs *a = attrs_of(r);
    struct td_meta seen = window_of(&a->shape, &a->stride, a->offset);
    give_window(r, &seen, shape_of(r, 0), g);
}

/* g with 0 in the window; g's window */
RULE(strided_write)
{
    const struct td_strided_write_attrs *a = attrs_of(r);
    struct td_meta seen = window_of(&a->shape, &a->stride, a->offset);
    if (needs(r, 1))
        give(r, 1, window(r, TD_OP_strided_read, &seen, 1, &g));
    rule_give_window(r, GIVES_REST, &seen, g);
}

/* g; g's window */
RULE(strided_add)
{
    const struct td_strided_add_attrs *a = attrs_of(r);
    struct td_meta seen = window_of(&a->shape, &a->stride, a->offset);
    give(r, 0, g);
    if (needs(r, 1))
        give(r, 1, window(r, TD_OP_strided_read, &seen, 1, &g));
}

/* g * mask / (1 - p): the same drawing again, which is linear in what it is given */
RULE(dropout)
{
    ref value = step(r, TD_OP_dropout, r->node->attrs, 1, &g);
    if (!r->failure.code)
        r->steps[r->step_count - 1].draw = &r->node->draw;
    give(r, 0, value);
}

/* g in the inverse order */
RULE(permute)
{
    const struct td_permute_attrs *a = attrs_of(r);
    struct td_dims inverse = {.count = a->dims.count};
    for (int d = 0; d < a->dims.count; d++)
        inverse.v[td_wrap_dim(a->dims.v[d], (int)a->dims.count)] = d;
    give(r, 0, permute(r, g, &inverse));
}

RULE(movedim)
{
    const struct td_movedim_attrs *a = attrs_of(r);
    const struct td_movedim_attrs back = {.source = a->destination, .destination = a->source};
    give(r, 0, step(r, TD_OP_movedim, &back, 1, &g));
}

RULE(t)
{
    give(r, 0, unary(r, TD_OP_t, g));
}

/* x's window of zeros with g added in y's window, of that part of the storage which both lie in; what several elements
 * of x share is divided among them */
RULE(as_strided)
{
    struct td_meta x = *shape_of(r, 0), y = r->node->out[0].meta;
    int64_t x_first, x_end, y_first, y_end;
    td_meta_extent(&x, &x_first, &x_end);
    td_meta_extent(&y, &y_first, &y_end);
    int64_t first = x_first < y_first ? x_first : y_first, end = x_end > y_end ? x_end : y_end;
    struct td_meta content = {.dtype = x.dtype, .rank = 1, .shape = {end - first}, .stride = {1}};
    x.offset -= first;
    y.offset -= first;
    ref sum = window(r, TD_OP_strided_add, &y, 2, (ref[]){zeros(r, &content), g});
    ref value = window(r, TD_OP_strided_read, &x, 1, &sum);
    if (td_meta_overlaps_itself(&x)) {
        ref sharers = window(r, TD_OP_strided_add, &x, 2, (ref[]){zeros(r, &content), real(r, 1)});
        value = divide(r, value, window(r, TD_OP_strided_read, &x, 1, &sharers));
    }
    give(r, 0, value);
}
