/* Shapes of normalisation and of losses by class. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "protocol/rules.h"

/* The first size that is no class's: logits (n, classes, ...) meet targets (n, ...), logits (classes) one target. */
static bool targets_fit(const struct td_meta *x, const struct td_meta *target)
{
    int class_dim = x->rank > 1;
    bool fits = x->rank > 0 && target->rank == x->rank - 1;
    for (int d = 0; fits && d < target->rank; d++)
        fits = target->shape[d] == x->shape[d + (d >= class_dim)];
    return fits;
}

static int refuse_targets(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0], *target = &i->in[1];
    char xt[TD_SHAPE_TEXT], tt[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE, "%s: logits of shape %s and targets of shape %s do not fit together", i->op->name,
            rule_text(x, xt), rule_text(target, tt));
    bool column = x->rank == 2 && target->rank == 2 && target->shape[0] == x->shape[0] && target->shape[1] == 1;
    bool last = x->rank == target->rank + 1 && x->rank > 2 && target->shape[0] == x->shape[0];
    bool one_hot = x->rank == 2 && !column && td_meta_same_shape(x, target);
    return td_hint(i->failure, "%s",
                   one_hot  ? "Targets are numbers of classes: td_argmax(target, .dim = 1) of one-hot rows; of "
                              "probabilities td_soft_cross_entropy."
                   : column ? "Targets are a row of classes: td_squeeze(target, .dims = TD_DIMS(1)) would fit."
                   : last   ? "The classes are dimension 1: td_movedim(x, TD_DIMS(-1), TD_DIMS(1)) moves them there."
                            : "Logits are (n, classes, ...) and targets (n, ...), or (classes) and ().");
}

int td_shape_cross_entropy(struct td_inference *i)
{
    const struct td_cross_entropy_attrs *a = i->attrs;
    bool smooths = i->op->id == TD_OP_cross_entropy;
    int64_t reduction = smooths ? a->reduction : ((const struct td_nll_loss_attrs *)i->attrs)->reduction;
    const struct td_meta *x = &i->in[0], *target = &i->in[1], *weight = &i->in[2];
    char xt[TD_SHAPE_TEXT], wt[TD_SHAPE_TEXT];
    if (!targets_fit(x, target))
        return refuse_targets(i);
    if (weight->dtype && (weight->rank != 1 || weight->shape[0] != x->shape[x->rank > 1]))
        return td_fail(i->failure, TD_E_SHAPE,
                       "%s: a weight of shape %s beside logits of shape %s has not one entry for "
                       "each class",
                       i->op->name, rule_text(weight, wt), rule_text(x, xt));
    if (smooths && !(a->label_smoothing >= 0 && a->label_smoothing <= 1))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: label_smoothing %g does not lie between 0 and 1", i->op->name,
                       a->label_smoothing);
    return rule_bad_reduction(i, reduction) ? i->failure->code
                                            : rule_fresh(i, reduction == TD_NONE ? target->rank : 0, target->shape);
}

/* weight or bias, if given, has the normalised shape. */
static int bad_affine(struct td_inference *i, const struct td_meta *given, const char *name,
                      const struct td_meta *shape)
{
    char gt[TD_SHAPE_TEXT], st[TD_SHAPE_TEXT];
    if (!given->dtype || td_meta_same_shape(given, shape))
        return TD_E_OK;
    return td_fail(i->failure, TD_E_SHAPE, "%s: the %s has shape %s where %s is normalized", i->op->name, name,
                   rule_text(given, gt), rule_text(shape, st));
}

int td_shape_layer_norm(struct td_inference *i)
{
    const struct td_layer_norm_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    struct td_meta shape = {.rank = (uint8_t)a->normalized_shape.count};
    char xt[TD_SHAPE_TEXT], st[TD_SHAPE_TEXT];
    memcpy(shape.shape, a->normalized_shape.v, sizeof shape.shape);
    int outer = x->rank - shape.rank, failed;
    if (shape.rank == 0)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: normalized_shape has no sizes", i->op->name);
    if (outer < 0 || memcmp(x->shape + outer, shape.shape, shape.rank * sizeof *shape.shape)) {
        td_fail(i->failure, TD_E_SHAPE, "%s: x of shape %s does not end in the normalized shape %s", i->op->name,
                rule_text(x, xt), rule_text(&shape, st));
        return td_hint(i->failure, "normalized_shape has the sizes of the last dimensions.");
    }
    if ((failed = bad_affine(i, &i->in[1], "weight", &shape)))
        return failed;
    if (i->op->id == TD_OP_layer_norm && (failed = bad_affine(i, &i->in[2], "bias", &shape)))
        return failed;
    return rule_fresh(i, x->rank, x->shape);
}
