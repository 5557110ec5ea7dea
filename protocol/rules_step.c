/* Optimiser steps: lists that belong together, and rates that PyTorch takes. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "protocol/rules.h"

/* Betas are parts of 1, and nothing but a dampening is negative. */
int td_check_rates(const struct td_op *op, const void *attrs, struct td_failure *failure)
{
    const char *slot = attrs;
    for (const struct td_param *p = op->params; p->kind; slot += td_param_slots(p++->kind) * 8) {
        double rate;
        if (p->kind != TD_PARAM_REAL || !strcmp(p->name, "dampening"))
            continue;
        memcpy(&rate, slot, sizeof rate);
        if (!strncmp(p->name, "beta", 4) && !(rate >= 0 && rate < 1))
            return td_fail(failure, TD_E_ARGUMENT, "%s: %s is %g where 0 or more and less than 1 is due", op->name,
                           p->name, rate);
        if (!(rate >= 0))
            return td_fail(failure, TD_E_ARGUMENT, "%s: %s is %g where 0 or more is due", op->name, p->name, rate);
    }
    return TD_E_OK;
}

/* One list of states: of each parameter's shape and dtype, from input base on. */
static int states(struct td_inference *i, const struct td_param *list, int count, int base, bool optional)
{
    int params = i->list_counts[0];
    if (count != params && !(count == 0 && optional))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: %d %s for %d parameters", i->op->name, count, list->name,
                       params);
    for (int k = 0; k < count; k++) {
        const struct td_meta *param = &i->in[k], *state = &i->in[base + k];
        char pt[TD_SHAPE_TEXT], st[TD_SHAPE_TEXT];
        if (!td_meta_same_shape(param, state) || param->dtype != state->dtype)
            return td_fail(i->failure, TD_E_SHAPE, "%s: state %d of %s is %s %s where its parameter is %s %s",
                           i->op->name, k, list->name, td_dtype_name(state->dtype), rule_text(state, st),
                           td_dtype_name(param->dtype), rule_text(param, pt));
        if (!td_meta_is_contiguous(state))
            return td_fail(i->failure, TD_E_SHAPE, "%s: state %d of %s is not contiguous", i->op->name, k, list->name);
    }
    return TD_E_OK;
}

/* Lists are params and then states, of which those whose bit is set may be empty. */
static int lists(struct td_inference *i, uint32_t optional)
{
    int base = i->list_counts[0], failed;
    for (int list = 1; i->op->params[list].kind == TD_PARAM_LIST; base += i->list_counts[list++])
        if ((failed = states(i, &i->op->params[list], i->list_counts[list], base, optional >> list & 1)))
            return failed;
    for (int k = 0; k < i->in_count; k++)
        if (td_meta_overlaps_itself(&i->in[k]))
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: parameter %d has elements that share memory", i->op->name,
                           k);
    return TD_E_OK;
}

/* The counter, behind the lists and before the rate, has an entry for each parameter. */
static int step(struct td_inference *i, uint32_t optional)
{
    int params = i->list_counts[0], failed = td_check_rates(i->op, i->attrs, i->failure);
    const struct td_meta *counts = &i->in[i->in_count - 2];
    if (failed)
        return failed;
    if (counts->rank != 1 || counts->shape[0] != params || !td_meta_is_contiguous(counts))
        return td_fail(i->failure, TD_E_SHAPE, "%s: counts needs one entry for each of %d parameters", i->op->name,
                       params);
    return lists(i, optional);
}

static int with_momentum(struct td_inference *i, double momentum, int list, uint32_t optional)
{
    if (momentum != 0 && i->list_counts[list] == 0 && i->list_counts[0])
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: momentum %g needs a state for each parameter", i->op->name,
                       momentum);
    return step(i, optional);
}

int td_shape_step(struct td_inference *i)
{
    return step(i, 0);
}

int td_shape_step_sgd(struct td_inference *i)
{
    return with_momentum(i, ((const struct td_sgd_step__attrs *)i->attrs)->momentum, 1, 1u << 1);
}

int td_shape_step_adam(struct td_inference *i)
{
    return step(i, 1u << 3);
}

int td_shape_step_rmsprop(struct td_inference *i)
{
    return with_momentum(i, ((const struct td_rmsprop_step__attrs *)i->attrs)->momentum, 2, 1u << 2 | 1u << 3);
}

int td_shape_step_ema(struct td_inference *i)
{
    double decay = ((const struct td_ema_step__attrs *)i->attrs)->decay;
    if (!(decay >= 0 && decay <= 1))
        return td_fail(i->failure, TD_E_ARGUMENT, "ema_step_: decay is %g where 0 to 1 is due", decay);
    return lists(i, 0);
}

int td_shape_clip_value(struct td_inference *i)
{
    (void)i; /* the gradients are checked by nobody but who made them */
    return TD_E_OK;
}

int td_shape_unscale(struct td_inference *i)
{
    i->out[0].dtype = TD_F32;
    return rule_fresh(i, 0, NULL);
}

/* The norm has the type that the gradients' promote to. */
int td_shape_clip_norm(struct td_inference *i)
{
    i->out[0].dtype = i->in_count ? i->in[0].dtype : TD_F32;
    for (int k = 1; k < i->in_count; k++)
        i->out[0].dtype = td_dtype_promote(i->out[0].dtype, i->in[k].dtype);
    return rule_fresh(i, 0, NULL);
}
