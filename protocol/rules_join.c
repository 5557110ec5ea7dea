/* Shapes of joined tensors. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "protocol/rules.h"

/* PyTorch lets a tensor of shape (0) stand in any cat, where it adds nothing. */
static bool is_nothing(const struct td_meta *meta)
{
    return meta->rank == 1 && meta->shape[0] == 0;
}

static int needs_tensors(struct td_inference *i)
{
    return i->in_count ? TD_E_OK : td_fail(i->failure, TD_E_ARGUMENT, "%s: the list is empty", i->op->name);
}

static int refuse(struct td_inference *i, const struct td_meta *first, int k)
{
    char a[TD_SHAPE_TEXT], b[TD_SHAPE_TEXT];
    td_fail(i->failure, TD_E_SHAPE, "%s: tensor %d of shape %s does not fit to one of shape %s", i->op->name, k,
            rule_text(&i->in[k], b), rule_text(first, a));
    return i->op->id == TD_OP_stack
               ? td_hint(i->failure, "All shapes must be equal.")
               : td_hint(i->failure, "All sizes must be equal but those of the dimension that is joined along.");
}

int td_shape_cat(struct td_inference *i)
{
    const struct td_meta *first = NULL;
    int64_t shape[TD_RANK_MAX] = {0};
    int d = 0, failed = needs_tensors(i);
    for (int k = 0; k < i->in_count && !failed; k++) {
        const struct td_meta *in = &i->in[k];
        if (in->rank == 0) {
            td_fail(i->failure, TD_E_SHAPE, "%s: tensor %d has no dimensions", i->op->name, k);
            return td_hint(i->failure, "td_stack joins tensors without dimensions.");
        }
        if (is_nothing(in))
            continue;
        if (!first) {
            first = in;
            failed = rule_wrap_dim(i, ((const struct td_cat_attrs *)i->attrs)->dim, in->rank, &d);
            memcpy(shape, in->shape, sizeof shape);
            continue;
        }
        for (int at = 0; at < first->rank; at++)
            if (in->rank != first->rank || (at != d && in->shape[at] != first->shape[at]))
                return refuse(i, first, k);
        if (__builtin_add_overflow(shape[d], in->shape[d], &shape[d]))
            return td_fail(i->failure, TD_E_SHAPE, "%s: too many elements", i->op->name);
    }
    return failed ? failed : rule_fresh(i, first ? first->rank : 1, shape);
}

int td_shape_stack(struct td_inference *i)
{
    int64_t shape[TD_RANK_MAX + 1];
    int d, failed = needs_tensors(i);
    if (failed || (failed = rule_wrap_dim(i, ((const struct td_stack_attrs *)i->attrs)->dim, i->in[0].rank + 1, &d)))
        return failed;
    for (int k = 1; k < i->in_count; k++)
        if (!td_meta_same_shape(&i->in[0], &i->in[k]))
            return refuse(i, &i->in[0], k);
    for (int at = 0; at < i->in[0].rank; at++)
        shape[at < d ? at : at + 1] = i->in[0].shape[at];
    shape[d] = i->in_count;
    return rule_fresh(i, i->in[0].rank + 1, shape);
}
