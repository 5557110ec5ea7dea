/* Optimisers: parameters by reference, state of their own, and one request a step.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdlib.h>

static struct td_dims shape_of(const struct td_meta *meta)
{
    struct td_dims dims = {.count = meta->rank};
    for (int d = 0; d < meta->rank; d++)
        dims.v[d] = meta->shape[d];
    return dims;
}

static td_operand zeros(td_origin origin, td_session *s, struct td_dims shape, uint8_t dtype)
{
    const struct td_zeros_attrs attrs = {.shape = shape, .dtype = dtype};
    origin.consume = 0;
    td_tensor state = client_op(
        &(struct client_op){.id = TD_OP_zeros, .origin = origin, .session = s, .owned = true, .attrs = &attrs});
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

static td_optimizer *optimizer_new(td_origin origin, td_session *s, td_list list, bool adam, uint16_t states)
{
    td_optimizer *o = calloc(1, sizeof *o);
    struct td_failure failure = {0};
    if (list.count < 0 || list.count > TD_LIST_MAX) {
        td_fail(&failure, TD_E_LIMIT, "optimizer: %lld parameters; the limit is %d", (long long)list.count,
                TD_LIST_MAX);
        session_enter(s);
        cause_unref(error_make(s, &failure, "optimizer", origin));
        session_leave(s);
        list.count = 0;
    }
    size_t count = (size_t)list.count, tensors = count * (1u + states) + 1;
    if (!o || !(o->tensors = calloc(tensors, sizeof *o->tensors)))
        abort(); /* a few hundred bytes are not to be had */
    *o = (td_optimizer){.adam = adam, .count = (uint16_t)count, .states = states, .tensors = o->tensors};
    for (size_t k = 0; k < count; k++) {
        struct td_meta meta = check_parameter(origin, list.items[k], (int)k);
        o->tensors[k] = td_operand_of_tensor(list.items[k]);
        for (size_t state = 1; state <= states; state++)
            o->tensors[state * count + k] = zeros(origin, s, shape_of(&meta), meta.dtype);
    }
    o->tensors[tensors - 1] = zeros(origin, s, (struct td_dims){1, {list.count}}, TD_I64);
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
    td_optimizer *o = optimizer_new(origin, s, parameters, false, k->momentum != 0);
    o->sgd = (struct td_sgd_step__attrs){.lr = k->lr,
                                         .momentum = k->momentum,
                                         .dampening = k->dampening,
                                         .weight_decay = k->weight_decay,
                                         .nesterov = k->nesterov};
    return o;
}

td_optimizer *td_adam_at(td_origin origin, td_session *s, td_list parameters, const struct td_adam_keywords *keywords)
{
    static const struct td_adam_keywords defaults = {.lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const struct td_adam_keywords *k = keywords ? keywords : &defaults;
    td_optimizer *o = optimizer_new(origin, s, parameters, true, 2);
    o->adam_attrs = (struct td_adam_step__attrs){.lr = k->lr,
                                                 .beta1 = k->beta1,
                                                 .beta2 = k->beta2,
                                                 .eps = k->eps,
                                                 .weight_decay = k->weight_decay,
                                                 .decoupled = k->decoupled};
    return o;
}

void td_step_at(td_origin origin, td_optimizer *o)
{
    if (!o->session)
        return;
    const uint16_t lists[] = {o->count, o->states ? o->count : 0, o->count};
    origin.consume = 0;
    client_op(&(struct client_op){.id = o->adam ? TD_OP_adam_step_ : TD_OP_sgd_step_,
                                  .origin = origin,
                                  .session = o->session,
                                  .in = o->tensors,
                                  .in_count = o->count * (1 + o->states) + 1,
                                  .list_counts = lists,
                                  .attrs = o->adam ? (const void *)&o->adam_attrs : &o->sgd});
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
    *(o->adam ? &o->adam_attrs.lr : &o->sgd.lr) = lr;
}

double td_lr(const td_optimizer *o)
{
    return o->adam ? o->adam_attrs.lr : o->sgd.lr;
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
        for (int k = o->count; k <= o->count * (1 + o->states); k++) /* behind the parameters: all ours */
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

void(td_step)(td_optimizer *optimizer)
{
    td_step_at((td_origin){0}, optimizer);
}

void(td_zero_grad)(td_optimizer *optimizer)
{
    td_zero_grad_at((td_origin){0}, optimizer);
}
