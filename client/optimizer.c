/* Optimisers: groups of parameters by reference, state of their own, and one request a group and step.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <math.h>
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

/* What an optimiser is made of. */
struct plan {
    enum td_op_id id;
    double lr;
    const void *attrs; /* the step's */
    size_t bytes;
    uint32_t states;
    int momenta;
    double first;
    struct td_failure failure; /* what PyTorch refuses beyond check_group */
};

static void refuse(td_origin origin, td_session *s, const struct td_failure *failure)
{
    session_enter(s);
    cause_unref(error_make(s, failure, "optimizer", origin));
    session_leave(s);
}

static int check_lr(const char *name, double lr, struct td_failure *failure)
{
    return lr >= 0 ? TD_E_OK : td_fail(failure, TD_E_ARGUMENT, "%s: lr is %g where 0 or more is due", name, lr);
}

/* Where the step's attribute of that name is; NULL if it has none. */
static double *rate_of(const struct td_op *op, int64_t *attrs, const char *name)
{
    for (const struct td_param *p = op->params; p->kind; attrs += td_param_slots(p++->kind))
        if (p->kind == TD_PARAM_REAL && !strcmp(p->name, name))
            return (double *)(void *)attrs;
    return NULL;
}

static int check_nesterov(const struct td_op *op, const int64_t *attrs, struct td_failure *failure)
{
    struct td_sgd_step__attrs sgd;
    memcpy(&sgd, attrs, sizeof sgd);
    if (op->id == TD_OP_sgd_step_ && sgd.nesterov && (!(sgd.momentum > 0) || sgd.dampening != 0))
        return td_fail(
            failure, TD_E_ARGUMENT,
            "sgd: nesterov with momentum %g and dampening %g where a momentum above 0 and dampening 0 are due",
            sgd.momentum, sgd.dampening);
    return TD_E_OK;
}

/* A parameter belongs to one group. Within a list it may stand twice, as in PyTorch. */
static int check_list(const td_optimizer *o, td_list list, struct td_failure *failure)
{
    if (list.count < 0 || list.count > TD_LIST_MAX)
        return td_fail(failure, TD_E_LIMIT, "optimizer: %lld parameters; the limit is %d", (long long)list.count,
                       TD_LIST_MAX);
    for (int of = 0; of < o->group_count; of++)
        for (int k = 0; k < o->groups[of].count; k++)
            for (int64_t n = 0; n < list.count; n++)
                if (list.items[n].handle == o->groups[of].tensors[k].tensor.handle)
                    return td_fail(failure, TD_E_ARGUMENT, "optimizer: parameter %lld is in group %d already",
                                   (long long)n, of);
    return TD_E_OK;
}

static void make_tensors(td_origin origin, td_optimizer *o, struct param_group *g, td_list list)
{
    td_operand *at = g->tensors + g->count, *end = g->tensors + g->in_count - 2;
    for (int k = 0; k < g->count; k++) {
        struct td_meta meta = check_parameter(origin, list.items[k], k);
        g->tensors[k] = td_operand_of_tensor(list.items[k]);
        for (td_operand *state = at + k; state < end; state += g->count)
            *state = filled(origin, o->session, shape_of(&meta), meta.dtype, o->first);
    }
    end[0] = filled(origin, o->session, (struct td_dims){1, {g->count}}, TD_I64, 0);
    end[1] = filled(origin, o->session, (struct td_dims){0}, TD_F64, g->lr);
}

/* given has the group's rates. What is refused has no parameters: its steps do nothing. */
static int add_group(td_origin origin, td_optimizer *o, td_list list, const struct param_group *given,
                     struct td_failure *failure)
{
    o->groups = realloc(o->groups, (size_t)(o->group_count + 1) * sizeof *o->groups);
    if (!o->groups)
        abort(); /* a few hundred bytes are not to be had */
    struct param_group *g = &o->groups[o->group_count];
    *g = *given;
    if (failure->code || check_lr(o->op->name, g->lr, failure) || td_check_rates(o->op, g->attrs, failure) ||
        check_nesterov(o->op, g->attrs, failure) || check_list(o, list, failure)) {
        refuse(origin, o->session, failure);
        list.count = 0;
    }
    const double *momentum = rate_of(o->op, g->attrs, "momentum");
    uint32_t states = o->states | (momentum && *momentum != 0 ? 1u << o->momenta : 0);
    g->count = g->in_count = (int)list.count;
    g->lists[0] = (uint16_t)list.count;
    for (int k = 1; k < TD_PARAMS_MAX; k++)
        if (states >> k & 1)
            g->in_count += g->lists[k] = g->lists[0];
    g->in_count += 2;
    if (!(g->tensors = calloc((size_t)g->in_count, sizeof *g->tensors)))
        abort();
    make_tensors(origin, o, g, list);
    return o->group_count++;
}

static td_optimizer *optimizer_new(td_origin origin, td_session *s, td_list list, struct plan plan)
{
    td_optimizer *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    o->op = td_op_of(plan.id);
    o->states = plan.states;
    o->momenta = plan.momenta;
    o->first = plan.first;
    o->lr = plan.lr;
    memcpy(o->attrs, plan.attrs, plan.bytes);
    o->session = s;
    struct param_group group = {.lr = o->lr};
    memcpy(group.attrs, o->attrs, sizeof group.attrs);
    add_group(origin, o, list, &group, &plan.failure);
    session_enter(s);
    o->next = s->optimizers;
    s->optimizers = o;
    session_leave(s);
    return o;
}

int td_add_param_group_at(td_origin origin, td_optimizer *o, td_list list,
                          const struct td_param_group_keywords *keywords)
{
    static const struct td_param_group_keywords none = {TD_NO_RATES};
    const struct td_param_group_keywords *k = keywords ? keywords : &none;
    const struct {
        const char *name;
        double rate;
    } given[] = {{"momentum", k->momentum}, {"dampening", k->dampening}, {"weight_decay", k->weight_decay},
                 {"beta1", k->beta1},       {"beta2", k->beta2},         {"eps", k->eps},
                 {"alpha", k->alpha},       {"lr_decay", k->lr_decay}};
    struct td_failure failure = {0};
    if (!o->session)
        return o->group_count;
    struct param_group group = {.lr = isnan(k->lr) ? o->lr : k->lr};
    memcpy(group.attrs, o->attrs, sizeof group.attrs);
    for (size_t n = 0; n < sizeof given / sizeof *given; n++) {
        double *rate = rate_of(o->op, group.attrs, given[n].name);
        if (isnan(given[n].rate))
            continue;
        if (rate)
            *rate = given[n].rate;
        else
            td_fail(&failure, TD_E_ARGUMENT, "add_param_group: %s is given, which %s has not", given[n].name,
                    o->op->name);
    }
    return add_group(origin, o, list, &group, &failure);
}

td_optimizer *td_sgd_at(td_origin origin, td_session *s, td_list parameters, const struct td_sgd_keywords *keywords)
{
    static const struct td_sgd_keywords defaults = {.lr = 0.001};
    const struct td_sgd_keywords *k = keywords ? keywords : &defaults;
    const struct td_sgd_step__attrs attrs = {
        .momentum = k->momentum, .dampening = k->dampening, .weight_decay = k->weight_decay, .nesterov = k->nesterov};
    return optimizer_new(origin, s, parameters,
                         (struct plan){TD_OP_sgd_step_, k->lr, &attrs, sizeof attrs, .momenta = 1});
}

td_optimizer *td_adam_at(td_origin origin, td_session *s, td_list parameters, const struct td_adam_keywords *keywords)
{
    static const struct td_adam_keywords defaults = {.lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const struct td_adam_keywords *k = keywords ? keywords : &defaults;
    const struct td_adam_step__attrs attrs = {.beta1 = k->beta1,
                                              .beta2 = k->beta2,
                                              .eps = k->eps,
                                              .weight_decay = k->weight_decay,
                                              .decoupled = k->decoupled};
    uint32_t states = 1u << 1 | 1u << 2 | (k->amsgrad ? 1u << 3 : 0);
    return optimizer_new(origin, s, parameters,
                         (struct plan){TD_OP_adam_step_, k->lr, &attrs, sizeof attrs, .states = states});
}

td_optimizer *td_rmsprop_at(td_origin origin, td_session *s, td_list parameters,
                            const struct td_rmsprop_keywords *keywords)
{
    static const struct td_rmsprop_keywords defaults = {.lr = 0.01, .alpha = 0.99, .eps = 1e-8};
    const struct td_rmsprop_keywords *k = keywords ? keywords : &defaults;
    const struct td_rmsprop_step__attrs attrs = {
        .alpha = k->alpha, .eps = k->eps, .momentum = k->momentum, .weight_decay = k->weight_decay};
    uint32_t states = 1u << 1 | (k->centered ? 1u << 3 : 0);
    return optimizer_new(
        origin, s, parameters,
        (struct plan){TD_OP_rmsprop_step_, k->lr, &attrs, sizeof attrs, .states = states, .momenta = 2});
}

td_optimizer *td_adagrad_at(td_origin origin, td_session *s, td_list parameters,
                            const struct td_adagrad_keywords *keywords)
{
    static const struct td_adagrad_keywords defaults = {.lr = 0.01, .eps = 1e-10};
    const struct td_adagrad_keywords *k = keywords ? keywords : &defaults;
    const struct td_adagrad_step__attrs attrs = {
        .lr_decay = k->lr_decay, .eps = k->eps, .weight_decay = k->weight_decay};
    struct plan plan = {
        TD_OP_adagrad_step_, k->lr, &attrs, sizeof attrs, .states = 1u << 1, .first = k->initial_accumulator_value};
    if (!(plan.first >= 0))
        td_fail(&plan.failure, TD_E_ARGUMENT, "adagrad: initial_accumulator_value is %g where 0 or more is due",
                plan.first);
    return optimizer_new(origin, s, parameters, plan);
}

td_optimizer *td_lion_at(td_origin origin, td_session *s, td_list parameters, const struct td_lion_keywords *keywords)
{
    static const struct td_lion_keywords defaults = {.lr = 0.0001, .beta1 = 0.9, .beta2 = 0.99};
    const struct td_lion_keywords *k = keywords ? keywords : &defaults;
    const struct td_lion_step__attrs attrs = {.beta1 = k->beta1, .beta2 = k->beta2, .weight_decay = k->weight_decay};
    return optimizer_new(origin, s, parameters,
                         (struct plan){TD_OP_lion_step_, k->lr, &attrs, sizeof attrs, .states = 1u << 1});
}

void td_step_at(td_origin origin, td_optimizer *o)
{
    origin.consume = 0;
    for (int of = 0; o->session && of < o->group_count; of++) {
        struct param_group *g = &o->groups[of];
        if (!g->count) /* empty, or refused */
            continue;
        client_op(&(struct client_op){.id = (enum td_op_id)o->op->id,
                                      .origin = origin,
                                      .session = o->session,
                                      .in = g->tensors,
                                      .in_count = g->in_count,
                                      .list_counts = g->lists,
                                      .attrs = g->attrs});
    }
}

/* Writes the handles of all parameters that the daemon knows; at NULL: only counts them. */
static uint32_t write_parameters(const td_optimizer *o, uint8_t **at)
{
    uint32_t live = 0;
    for (int of = 0; of < o->group_count; of++)
        for (int k = 0; k < o->groups[of].count; k++) {
            td_tensor x = o->groups[of].tensors[k].tensor;
            const struct entry *e = handles_find(o->session, x);
            if (!e || e->flags & ENTRY_LOCAL)
                continue;
            live++;
            if (at)
                *at = td_write_uint(*at, x.handle);
        }
    return live;
}

void td_zero_grad_at(td_origin origin, td_optimizer *o)
{
    td_session *s = o->session;
    if (!s)
        return;
    session_enter(s);
    uint32_t site = s->dead ? 0 : site_number(s, origin.where), live = write_parameters(o, NULL);
    uint8_t *at = live ? request_begin(s, 64 + (size_t)live * TD_WIRE_MAX) : NULL;
    if (at) {
        at = request_head(at, 0, site, 1 + live, TD_R_ZERO_GRAD);
        write_parameters(o, &at);
        request_end(s, at);
    }
    session_leave(s);
}

void td_set_lr_at(td_origin origin, td_optimizer *o, double lr, const struct td_lr_keywords *keywords)
{
    int one = keywords ? keywords->group : TD_ALL_GROUPS;
    struct td_failure failure = {0};
    if (one != TD_ALL_GROUPS && (one < 0 || one >= o->group_count))
        td_fail(&failure, TD_E_ARGUMENT, "set_lr: group %d of an optimizer with %d", one, o->group_count);
    if (failure.code || check_lr("set_lr", lr, &failure)) {
        if (o->session)
            refuse(origin, o->session, &failure);
        return;
    }
    origin.consume = 0;
    for (int of = 0; of < o->group_count; of++) {
        struct param_group *g = &o->groups[of];
        if (one != TD_ALL_GROUPS && of != one)
            continue;
        g->lr = lr;
        const td_operand in[] = {g->tensors[g->in_count - 1], td_operand_of_real(lr)};
        if (o->session)
            client_op(
                &(struct client_op){.id = TD_OP_fill_, .name = "set_lr", .origin = origin, .in = in, .in_count = 2});
    }
}

double(td_lr)(const td_optimizer *o, const struct td_lr_keywords *keywords)
{
    int one = keywords && keywords->group != TD_ALL_GROUPS ? keywords->group : 0;
    return one >= 0 && one < o->group_count ? o->groups[one].lr : NAN;
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
        for (struct param_group *g = o->groups; g < o->groups + o->group_count; g++)
            for (int k = g->count; k < g->in_count; k++) /* behind the parameters: all ours */
                if (handles_find(s, g->tensors[k].tensor))
                    request_release(s, g->tensors[k].tensor.handle);
        session_leave(s);
    }
    for (int of = 0; o && of < o->group_count; of++)
        free(o->groups[of].tensors);
    if (o)
        free(o->groups);
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

int(td_add_param_group)(td_optimizer *optimizer, td_list parameters, const struct td_param_group_keywords *keywords)
{
    return td_add_param_group_at((td_origin){0}, optimizer, parameters, keywords);
}

void(td_set_lr)(td_optimizer *optimizer, double lr, const struct td_lr_keywords *keywords)
{
    td_set_lr_at((td_origin){0}, optimizer, lr, keywords);
}
