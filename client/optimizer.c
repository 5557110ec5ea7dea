/* Optimisers: parameters by reference, state of their own, and one request a step.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdlib.h>
#include <string.h>

static struct td_dims shape_of(const struct td_meta *meta)
{
    struct td_dims dims = {.count = meta->rank};
    for (int d = 0; d < meta->rank; d++)
        dims.v[d] = meta->shape[d];
    return dims;
}

static td_operand filled(td_origin origin, td_session *s, struct td_dims shape, uint8_t dtype, double value)
{
    const struct td_full_attrs attrs = {.shape = shape, .value = {.category = TD_FLOATING, .f = value}, .dtype = dtype};
    origin.consume = 0;
    td_tensor state = client_op(
        &(struct client_op){.id = TD_OP_full, .origin = origin, .session = s, .owned = true, .attrs = &attrs});
    return td_operand_of_tensor(state);
}

/* The layout of parameter k; refused if it is no leaf. */
static struct td_meta check_parameter(td_origin origin, td_tensor x, int k)
{
    struct td_meta meta = {0};
    struct td_failure failure = {0};
    struct entry *e = layout_begin((td_origin){origin.where, 0}, x, "optimizer", false);
    if (!e)
        return meta;
    meta = e->meta;
    if (!e->cause && !autograd_is_leaf(e)) {
        td_fail(&failure, TD_E_GRAD, "optimizer: parameter %d is no leaf: it is the result of %s", k,
                e->maker ? e->maker->name : "an op");
        td_hint(&failure, "td_set_requires_grad(td_detach(x), true) makes a leaf.");
        cause_unref(error_make(x.session, &failure, "optimizer", origin));
    }
    session_leave(x.session);
    return meta;
}

/* What an optimiser is made of: its step and rates, which of the step's lists of states it has, and the value that
 * they begin with. */
struct plan {
    enum td_op_id id;
    const void *rates;
    size_t bytes;
    uint32_t states; /* bit k: the list k of the step */
    double first;
    struct td_failure failure; /* what PyTorch refuses beyond td_check_rates */
};

static void refuse(td_origin origin, td_session *s, const struct td_failure *failure)
{
    session_enter(s);
    cause_unref(error_make(s, failure, "optimizer", origin));
    session_leave(s);
}

static void make_tensors(td_origin origin, td_optimizer *o, td_session *s, td_list list, const struct plan *plan)
{
    td_operand *at = o->tensors + o->count, *counts = &o->tensors[o->in_count - 1];
    for (int k = 0; k < o->count; k++) {
        struct td_meta meta = check_parameter(origin, list.items[k], k);
        o->tensors[k] = td_operand_of_tensor(list.items[k]);
        for (td_operand *state = at + k; state < counts; state += o->count)
            *state = filled(origin, s, shape_of(&meta), meta.dtype, plan->first);
    }
    *counts = filled(origin, s, (struct td_dims){1, {o->count}}, TD_I64, 0);
}

static td_optimizer *optimizer_new(td_origin origin, td_session *s, td_list list, struct plan plan)
{
    td_optimizer *o = calloc(1, sizeof *o);
    struct td_failure failure = {0};
    if (!o)
        abort(); /* a few hundred bytes are not to be had */
    o->op = td_op_of(plan.id);
    memcpy(&o->rates, plan.rates, plan.bytes);
    if (plan.failure.code || td_check_rates(o->op, plan.rates, &plan.failure))
        refuse(origin, s, &plan.failure);
    if (list.count < 0 || list.count > TD_LIST_MAX) {
        td_fail(&failure, TD_E_LIMIT, "optimizer: %lld parameters; the limit is %d", (long long)list.count,
                TD_LIST_MAX);
        refuse(origin, s, &failure);
        list.count = 0;
    }
    o->count = o->in_count = (int)list.count;
    o->lists[0] = (uint16_t)list.count;
    for (int k = 1; k < TD_PARAMS_MAX; k++)
        if (plan.states >> k & 1)
            o->in_count += o->lists[k] = o->lists[0];
    if (!(o->tensors = calloc((size_t)++o->in_count, sizeof *o->tensors)))
        abort();
    make_tensors(origin, o, s, list, &plan);
    session_enter(s);
    o->session = s;
    o->next = s->optimizers;
    s->optimizers = o;
    session_leave(s);
    return o;
}

td_optimizer *td_sgd_at(td_origin origin, td_session *s, td_list parameters, const struct td_sgd_keywords *keywords)
{
    static const struct td_sgd_keywords defaults = {.lr = 0.001};
    const struct td_sgd_keywords *k = keywords ? keywords : &defaults;
    const struct td_sgd_step__attrs rates = {.lr = k->lr,
                                             .momentum = k->momentum,
                                             .dampening = k->dampening,
                                             .weight_decay = k->weight_decay,
                                             .nesterov = k->nesterov};
    struct plan plan = {TD_OP_sgd_step_, &rates, sizeof rates, .states = k->momentum != 0 ? 1u << 1 : 0};
    if (k->nesterov && (!(k->momentum > 0) || k->dampening != 0))
        td_fail(&plan.failure, TD_E_ARGUMENT,
                "sgd: nesterov with momentum %g and dampening %g where a momentum above 0 and dampening 0 are due",
                k->momentum, k->dampening);
    return optimizer_new(origin, s, parameters, plan);
}

td_optimizer *td_adam_at(td_origin origin, td_session *s, td_list parameters, const struct td_adam_keywords *keywords)
{
    static const struct td_adam_keywords defaults = {.lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const struct td_adam_keywords *k = keywords ? keywords : &defaults;
    const struct td_adam_step__attrs rates = {.lr = k->lr,
                                              .beta1 = k->beta1,
                                              .beta2 = k->beta2,
                                              .eps = k->eps,
                                              .weight_decay = k->weight_decay,
                                              .decoupled = k->decoupled};
    uint32_t states = 1u << 1 | 1u << 2 | (k->amsgrad ? 1u << 3 : 0);
    return optimizer_new(origin, s, parameters,
                         (struct plan){TD_OP_adam_step_, &rates, sizeof rates, .states = states});
}

td_optimizer *td_rmsprop_at(td_origin origin, td_session *s, td_list parameters,
                            const struct td_rmsprop_keywords *keywords)
{
    static const struct td_rmsprop_keywords defaults = {.lr = 0.01, .alpha = 0.99, .eps = 1e-8};
    const struct td_rmsprop_keywords *k = keywords ? keywords : &defaults;
    const struct td_rmsprop_step__attrs rates = {
        .lr = k->lr, .alpha = k->alpha, .eps = k->eps, .momentum = k->momentum, .weight_decay = k->weight_decay};
    uint32_t states = 1u << 1 | (k->momentum != 0 ? 1u << 2 : 0) | (k->centered ? 1u << 3 : 0);
    return optimizer_new(origin, s, parameters,
                         (struct plan){TD_OP_rmsprop_step_, &rates, sizeof rates, .states = states});
}

td_optimizer *td_adagrad_at(td_origin origin, td_session *s, td_list parameters,
                            const struct td_adagrad_keywords *keywords)
{
    static const struct td_adagrad_keywords defaults = {.lr = 0.01, .eps = 1e-10};
    const struct td_adagrad_keywords *k = keywords ? keywords : &defaults;
    const struct td_adagrad_step__attrs rates = {
        .lr = k->lr, .lr_decay = k->lr_decay, .eps = k->eps, .weight_decay = k->weight_decay};
    struct plan plan = {TD_OP_adagrad_step_, &rates, sizeof rates, .states = 1u << 1,
                        .first = k->initial_accumulator_value};
    if (!(plan.first >= 0))
        td_fail(&plan.failure, TD_E_ARGUMENT, "adagrad: initial_accumulator_value is %g where 0 or more is due",
                plan.first);
    return optimizer_new(origin, s, parameters, plan);
}

td_optimizer *td_lion_at(td_origin origin, td_session *s, td_list parameters, const struct td_lion_keywords *keywords)
{
    static const struct td_lion_keywords defaults = {.lr = 0.0001, .beta1 = 0.9, .beta2 = 0.99};
    const struct td_lion_keywords *k = keywords ? keywords : &defaults;
    const struct td_lion_step__attrs rates = {
        .lr = k->lr, .beta1 = k->beta1, .beta2 = k->beta2, .weight_decay = k->weight_decay};
    return optimizer_new(origin, s, parameters,
                         (struct plan){TD_OP_lion_step_, &rates, sizeof rates, .states = 1u << 1});
}

void td_step_at(td_origin origin, td_optimizer *o)
{
    if (!o->session)
        return;
    origin.consume = 0;
    client_op(&(struct client_op){.id = (enum td_op_id)o->op->id,
                                  .origin = origin,
                                  .session = o->session,
                                  .in = o->tensors,
                                  .in_count = o->in_count,
                                  .list_counts = o->lists,
                                  .attrs = &o->rates});
}

void td_zero_grad_at(td_origin origin, td_optimizer *o)
{
    td_session *s = o->session;
    uint32_t live = 0;
    if (!s)
        return;
    session_enter(s);
    uint32_t site = s->dead ? 0 : site_number(s, origin.where);
    for (int k = 0; k < o->count; k++) {
        const struct entry *e = handles_find(s, o->tensors[k].tensor);
        live += e && !(e->flags & ENTRY_LOCAL);
    }
    uint8_t *at = live ? request_begin(s, 64 + (size_t)live * TD_WIRE_MAX) : NULL;
    if (at) {
        at = request_head(at, 0, site, 1 + live, TD_R_ZERO_GRAD);
        for (int k = 0; k < o->count; k++) {
            const struct entry *e = handles_find(s, o->tensors[k].tensor);
            if (e && !(e->flags & ENTRY_LOCAL))
                at = td_write_uint(at, o->tensors[k].tensor.handle);
        }
        request_end(s, at);
    }
    session_leave(s);
}

void td_set_lr(td_optimizer *o, double lr)
{
    o->rates.lr = lr;
}

double td_lr(const td_optimizer *o)
{
    return o->rates.lr;
}

void td_optimizer_free(td_optimizer *o)
{
    td_session *s = o ? o->session : NULL;
    if (s) {
        session_enter(s);
        for (td_optimizer **at = &s->optimizers; *at; at = &(*at)->next)
            if (*at == o) {
                *at = o->next;
                break;
            }
        for (int k = o->count; k < o->in_count; k++) /* behind the parameters: all ours */
            if (handles_find(s, o->tensors[k].tensor))
                request_release(s, o->tensors[k].tensor.handle);
        session_leave(s);
    }
    if (o)
        free(o->tensors);
    free(o);
}

void optimizers_forget(struct td_session *s)
{
    for (td_optimizer *o = s->optimizers; o; o = o->next)
        o->session = NULL;
    s->optimizers = NULL;
}

td_optimizer *(td_sgd)(td_session *s, td_list parameters, const struct td_sgd_keywords *keywords)
{
    return td_sgd_at((td_origin){0}, s, parameters, keywords);
}

td_optimizer *(td_adam)(td_session *s, td_list parameters, const struct td_adam_keywords *keywords)
{
    return td_adam_at((td_origin){0}, s, parameters, keywords);
}

td_optimizer *(td_rmsprop)(td_session *s, td_list parameters, const struct td_rmsprop_keywords *keywords)
{
    return td_rmsprop_at((td_origin){0}, s, parameters, keywords);
}

td_optimizer *(td_adagrad)(td_session *s, td_list parameters, const struct td_adagrad_keywords *keywords)
{
    return td_adagrad_at((td_origin){0}, s, parameters, keywords);
}

td_optimizer *(td_lion)(td_session *s, td_list parameters, const struct td_lion_keywords *keywords)
{
    return td_lion_at((td_origin){0}, s, parameters, keywords);
}

void(td_step)(td_optimizer *optimizer)
{
    td_step_at((td_origin){0}, optimizer);
}

void(td_zero_grad)(td_optimizer *optimizer)
{
    td_zero_grad_at((td_origin){0}, optimizer);
}
