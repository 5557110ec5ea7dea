/* Rules at work: what they note down, what they read, and the table that names them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/rule.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/rule_ops.h"
#include "server/worker/session.h"

/* ---- noting down ---- */

/* Room for one more in an array of the rule; the first room is made by rule_write, so that 0 is always a value. */
static bool grow(struct rule *r, void *array, int count, int *capacity, size_t size)
{
    void *grown;
    if (count < *capacity)
        return true;
    int more = *capacity ? 2 * *capacity : 16;
    memcpy(&grown, array, sizeof grown);
    grown = realloc(grown, (size_t)more * size);
    if (!grown) {
        td_fail(&r->failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return false;
    }
    memcpy(array, &grown, sizeof grown);
    *capacity = more;
    return true;
}

static ref new_value(struct rule *r)
{
    if (!grow(r, &r->values, r->value_count, &r->value_capacity, sizeof *r->values))
        return 0;
    r->values[r->value_count] = (struct rule_value){.last_step = -1};
    return r->value_count++;
}

/* tensor's reference is taken over; without memory (NULL) the rule fails. */
static ref tensor_value(struct rule *r, struct tensor *tensor)
{
    ref value = new_value(r);
    if (!tensor || r->failure.code) {
        td_fail(&r->failure, TD_E_MEMORY, "the daemon's host has no memory left");
        tensor_unref(r->session, tensor);
        return 0;
    }
    r->values[value].tensor = tensor;
    tensor_meta(tensor, &r->values[value].meta);
    return value;
}

ref rule_number(struct rule *r, struct td_number number)
{
    ref value = new_value(r);
    r->values[value].is_number = true;
    r->values[value].number = number;
    r->values[value].meta = (struct td_meta){.scalar = true, .dtype = td_dtype_of_number(number)};
    return value;
}

/* One more op; the builders of rule_ops.h carry the first failure along, so a rule needs no exits. */
ref rule_step(struct rule *r, enum td_op_id id, const void *attrs, int in_count, const ref *in)
{
    struct td_meta metas[RULE_INPUTS];
    if (r->failure.code)
        return 0;
    if (!grow(r, &r->steps, r->step_count, &r->step_capacity, sizeof *r->steps))
        return 0;
    struct rule_step *s = &r->steps[r->step_count];
    s->op = td_op_of(id);
    s->in_count = in_count;
    s->draw = NULL;
    s->list_counts[0] = (uint16_t)in_count;
    for (const struct td_param *p = s->op->params; p->kind; p++)
        s->list_counts[0] -= td_param_is_tensor(p->kind) && !td_param_is_list(p->kind);
    td_op_defaults(s->op, s->attrs);
    if (attrs)
        memcpy(s->attrs, attrs, (size_t)s->op->slots * 8);
    for (int k = 0; k < in_count; k++) {
        s->in[k] = in[k];
        metas[k] = r->values[in[k]].meta;
        r->values[in[k]].last_step = r->step_count;
    }
    struct td_inference inference = {.op = s->op,
                                     .in = metas,
                                     .in_count = in_count,
                                     .list_counts = s->list_counts,
                                     .attrs = s->attrs,
                                     .failure = &r->failure};
    if (td_infer(&inference))
        return 0;
    for (int k = 0; k < inference.out_count; k++) {
        ref out = new_value(r);
        s->out = k ? s->out : out;
        r->values[out].meta = inference.out[k];
    }
    r->step_count++;
    return s->out;
}

/* ---- what a rule reads ---- */

/* A saved tensor, tied to the graph where the rule is recorded itself. */
static ref saved(struct rule *r, struct saved *saved, struct node *edge, uint8_t output)
{
    struct tensor *tensor = saved ? saved_tensor(r->session, saved) : NULL;
    if (tensor && edge && r->create && td_dtype_category(tensor->dtype) == TD_FLOATING)
        tensor_tie(r->session, tensor, node_ref(edge), output);
    return tensor_value(r, tensor);
}

ref rule_in(struct rule *r, int k)
{
    struct node_input *input = &r->node->in[k];
    return input->saved ? saved(r, input->saved, input->node, input->output) : rule_number(r, input->number);
}

ref rule_output(struct rule *r, int k)
{
    return saved(r, r->node->out[k].saved, r->node, (uint8_t)k);
}

/* Sums the dimensions that broadcasting made, and casts. */
static ref undo_broadcast(struct rule *r, ref value, const struct td_meta *to)
{
    const struct td_meta *from = &r->values[value].meta;
    struct td_dims dims = {.count = 0};
    int added = from->rank - to->rank;
    for (int d = 0; d < from->rank; d++)
        if (d < added || (to->shape[d - added] == 1 && from->shape[d] != 1))
            dims.v[dims.count++] = d;
    if (dims.count)
        value = sum(r, value, &dims);
    if (added)
        value = reshape(r, value, to->rank, to->shape);
    if (r->values[value].meta.dtype != to->dtype && !r->failure.code)
        value = step(r, TD_OP_to, &(struct td_to_attrs){.dtype = to->dtype}, 1, &value);
    return value;
}

/* value is the gradient of input k. */
void rule_give(struct rule *r, int k, ref value)
{
    if (!r->failure.code && rule_needs(r, k))
        r->gradients[k] = undo_broadcast(r, value, &r->node->in[k].meta);
}

void rule_give_window(struct rule *r, enum giving giving, const struct td_meta *seen, ref value)
{
    if (r->failure.code || !rule_needs(r, 0))
        return;
    if (!r->create) {
        r->giving = giving;
        r->window = *seen;
        r->gradients[0] = value;
    } else if (giving == GIVES_WINDOW) {
        rule_give(r, 0, window(r, TD_OP_strided_write, seen, 2, (ref[]){zeros(r, &r->node->in[0].meta), value}));
    } else {
        rule_give(r, 0, window(r, TD_OP_strided_write, seen, 2, (ref[]){value, real(r, 0)}));
    }
}

/* ---- the table: a rule that a row names and nobody wrote does not link ---- */

#define GRAD(rule, kept) grad_rule grad_##rule;
#define NOGRAD(reason)
#define TD_OP(id, name, group, params, output, kind, shape, takes, gives, gradient, ...) gradient
#include "protocol/ops.def"
#include "protocol/ops_undef.h"

static grad_rule *const rules[TD_OP_LIMIT] = {
#define GRAD(rule, kept) grad_##rule
#define NOGRAD(reason) NULL
#define TD_OP(id, name, group, params, output, kind, shape, takes, gives, gradient, ...) [id] = gradient,
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
};

ref rule_gradient(struct rule *r, int k)
{
    struct tensor *pending = r->node->out[k].pending;
    r->node->out[k].pending = NULL;
    return pending ? tensor_value(r, pending) : zeros(r, &r->node->out[k].meta);
}

int rule_write(struct rule *r, struct session *session, struct node *node, bool create)
{
    r->session = session;
    r->node = node;
    r->create = create;
    r->came = 0;
    for (int k = 0; k < node->out_count; k++)
        r->came |= (node->out[k].pending != NULL ? 1u : 0u) << k;
    r->failure.code = TD_E_OK;
    r->value_count = r->step_count = 0;
    if (!grow(r, &r->values, 0, &r->value_capacity, sizeof *r->values))
        return r->failure.code;
    while (r->gradient_capacity < node->in_count)
        if (!grow(r, &r->gradients, r->gradient_capacity, &r->gradient_capacity, sizeof *r->gradients))
            return r->failure.code;
    for (int k = 0; k < node->in_count; k++)
        r->gradients[k] = -1;
    rules[node->op->id](r, rule_gradient(r, 0));
    return r->failure.code;
}

void rule_clear(struct rule *r)
{
    for (int k = 0; k < r->value_count; k++)
        tensor_unref(r->session, r->values[k].tensor);
    r->value_count = r->step_count = 0;
    r->giving = GIVES_ALL;
}

void rule_deinit(struct rule *r)
{
    free(r->values);
    free(r->steps);
    free(r->gradients);
}
