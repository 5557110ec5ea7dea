/* Losses of rows that several classes are right for, made of ops. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "client/compose.h"

static struct part with_dim(td_origin o, struct part x, int64_t dim)
{
    return part_op(o, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = dim}, 1, &x);
}

static struct part zeros_as(td_origin o, td_tensor x, const td_layout *layout)
{
    struct td_zeros_attrs zeros = {.shape.count = layout->rank, .dtype = TD_I64};
    for (int d = 0; d < layout->rank; d++)
        zeros.shape.v[d] = layout->shape[d];
    return part_created(o, x.session, TD_OP_zeros, &zeros);
}

/* The sum of max(0, 1 - x[named] + x[other]) of each row; a row of target names classes up to its first -1. */
static struct part sum_of_margins(td_origin o, struct part x, struct part target, const td_layout *layout)
{
    const struct td_gather_attrs along = {.dim = -1};
    const struct td_sum_attrs pairs = {.dims = {2, {-2, -1}}};
    struct part named = part_two(o, TD_OP_ge, part_kept(target), part_real(0)), none = part_real(0);
    named = part_op(o, TD_OP_cumprod, &(struct td_cumprod_attrs){.dim = -1}, 1, &named); /* 1 up to there, i64 */
    struct part at = part_clamp(o, target, 0);
    struct part right = part_op(o, TD_OP_scatter_add, &(struct td_scatter_add_attrs){.dim = -1}, 3,
                                (struct part[]){zeros_as(o, part_tensor(x), layout), part_kept(at), part_kept(named)});
    struct part score = part_op(o, TD_OP_gather, &along, 2, (struct part[]){part_kept(x), at});
    struct part margin = part_two(o, TD_OP_sub, with_dim(o, x, -2), with_dim(o, score, -1));
    margin = part_two(o, TD_OP_add, margin, part_real(1));
    struct part counts =
        part_two(o, TD_OP_logical_and, with_dim(o, named, -1), with_dim(o, part_one(o, TD_OP_logical_not, right), -2));
    counts = part_two(o, TD_OP_logical_and, counts, part_two(o, TD_OP_gt, part_kept(margin), part_real(0)));
    margin = part_where(o, counts, margin, none);
    return part_op(o, TD_OP_sum, &pairs, 1, &margin);
}

static td_tensor refuse(td_origin o, td_tensor x, const td_layout *of_x, const td_layout *of_target)
{
    char what[TD_SHAPE_TEXT + 96], text[TD_SHAPE_TEXT];
    snprintf(what, sizeof what, "and a target of shape %s: both are (n, classes), or (classes)",
             td_shape_text(of_target->rank, of_target->shape, text, sizeof text));
    return part_refuse_shape(o, x, "multilabel_margin_loss", of_x, what);
}

td_tensor td_multilabel_margin_loss_at(td_origin o, td_tensor x, td_tensor target,
                                       const struct td_multilabel_margin_loss_keywords *keywords)
{
    SPEAKS_FOR("multilabel_margin_loss");
    td_layout of_x = part_layout(o, part_keyword(x)), of_target = part_layout(o, part_keyword(target));
    bool fits = of_x.rank == of_target.rank && of_x.rank >= 1 && of_x.rank <= 2;
    for (int d = 0; fits && d < of_x.rank; d++)
        fits = of_x.shape[d] == of_target.shape[d] && (of_x.shape[d] || d < of_x.rank - 1);
    if (!fits && td_ok_at((td_origin){o.where, 0}, target))
        return part_used(o, 2, (td_tensor[]){x, target}, refuse(o, x, &of_x, &of_target));
    int64_t classes = fits ? of_x.shape[of_x.rank - 1] : 1;
    struct part loss = sum_of_margins(o, part_given(o, 0, x), part_given(o, 1, target), &of_x);
    loss = part_two(o, TD_OP_mul, loss, part_real(1 / (double)classes));
    return part_reduced(o, loss, keywords ? keywords->reduction : TD_MEAN, "multilabel_margin_loss");
}

td_tensor td_multilabel_soft_margin_loss_at(td_origin o, td_tensor x, td_tensor target,
                                            const struct td_multilabel_soft_margin_loss_keywords *keywords)
{
    SPEAKS_FOR("multilabel_soft_margin_loss");
    static const struct td_multilabel_soft_margin_loss_keywords defaults = {.reduction = TD_MEAN};
    const struct td_multilabel_soft_margin_loss_keywords *k = keywords ? keywords : &defaults;
    td_layout layout = part_layout(o, part_keyword(x));
    int last = layout.rank ? layout.rank - 1 : 0;
    double classes = layout.rank ? (double)layout.shape[last] : 1;
    struct part score = part_given(o, 0, x), t = part_given(o, 1, target);
    struct part yes = part_two(o, TD_OP_mul, part_kept(t), part_one(o, TD_OP_logsigmoid, part_kept(score)));
    struct part no = part_one(o, TD_OP_logsigmoid, part_one(o, TD_OP_neg, score));
    no = part_two(o, TD_OP_mul, part_two(o, TD_OP_rsub, t, (struct part){td_operand_of_integer(1), false}), no);
    struct part loss = part_one(o, TD_OP_neg, part_two(o, TD_OP_add, yes, no));
    if (k->weight.session)
        loss = part_two(o, TD_OP_mul, loss, part_keyword(k->weight));
    loss = part_two(o, TD_OP_div, part_sum(o, loss, last, false), part_real(classes));
    return part_reduced(o, loss, k->reduction, "multilabel_soft_margin_loss");
}

td_tensor(td_multilabel_margin_loss)(td_tensor x, td_tensor target,
                                     const struct td_multilabel_margin_loss_keywords *keywords)
{
    return td_multilabel_margin_loss_at((td_origin){0}, x, target, keywords);
}
td_tensor(td_multilabel_soft_margin_loss)(td_tensor x, td_tensor target,
                                          const struct td_multilabel_soft_margin_loss_keywords *keywords)
{
    return td_multilabel_soft_margin_loss_at((td_origin){0}, x, target, keywords);
}
