/* Losses scaled up, so that the gradients of halves do not vanish, and gradients scaled down again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/chain.h"

static td_tensor number(const struct chain *c, enum td_dtype dtype, double value)
{
    const struct td_full_attrs attrs = {.value = {.category = TD_FLOATING, .f = value}, .dtype = (int64_t)dtype};
    return chain_step(c, TD_OP_full, &attrs, 0, NULL);
}

td_scaler td_grad_scaler_at(td_origin origin, td_session *s, const struct td_grad_scaler_keywords *keywords)
{
    static const struct td_grad_scaler_keywords defaults = {TD_GRAD_SCALER_DEFAULTS};
    const struct td_grad_scaler_keywords *k = keywords ? keywords : &defaults;
    const struct chain c = {.name = "grad_scaler", .origin = origin, .session = s};
    td_scaler scaler = {
        .growth_factor = k->growth_factor, .backoff_factor = k->backoff_factor, .growth_interval = k->growth_interval};
    struct td_failure failure = {0};
    if (!(k->init_scale > 0))
        td_fail(&failure, TD_E_ARGUMENT, "grad_scaler: init_scale is %g where more than 0 is due", k->init_scale);
    else if (!(k->growth_factor > 1))
        td_fail(&failure, TD_E_ARGUMENT, "grad_scaler: growth_factor is %g where more than 1 is due", k->growth_factor);
    else if (!(k->backoff_factor > 0 && k->backoff_factor < 1))
        td_fail(&failure, TD_E_ARGUMENT, "grad_scaler: backoff_factor is %g where one between 0 and 1 is due",
                k->backoff_factor);
    else if (k->growth_interval < 1)
        td_fail(&failure, TD_E_ARGUMENT, "grad_scaler: growth_interval is %lld where 1 or more is due",
                (long long)k->growth_interval);
    if (failure.code) {
        scaler.scale = chain_refuse(&c, &failure);
        scaler.good_steps = chain_unary(&c, TD_OP_clone, lasting(scaler.scale));
        return scaler;
    }
    scaler.scale = lasting(number(&c, TD_F64, k->init_scale)).tensor;
    scaler.good_steps = lasting(number(&c, TD_I64, 0)).tensor;
    return scaler;
}

td_tensor td_scale_at(td_origin origin, td_scaler scaler, td_tensor loss)
{
    const struct chain c = {.name = "scale", .origin = origin, .session = loss.session};
    const struct td_to_attrs single = {.dtype = TD_F32};
    td_tensor scale = chain_step(&c, TD_OP_to, &single, 1, (td_operand[]){lasting(scaler.scale)});
    return chain_end(&c, chain_binary(&c, TD_OP_mul, lasting(loss), passing(scale)), 1, &loss);
}

td_tensor td_unscale__at(td_origin origin, td_scaler scaler, td_list parameters)
{
    td_tensor results[TD_OUTPUTS_MAX] = {0};
    const td_operand scale = lasting(scaler.scale);
    client_lists(&(struct client_op){.id = TD_OP_unscale_grads_,
                                     .name = "unscale_",
                                     .origin = {origin.where, 0},
                                     .session = scaler.scale.session,
                                     .lists = &parameters,
                                     .in = &scale,
                                     .in_count = 1},
                 results);
    return results[0];
}

/* x with value where mask is true. */
static td_tensor filled(const struct chain *c, td_operand x, td_operand mask, td_operand value)
{
    return chain_step(c, TD_OP_masked_fill, NULL, 3, (td_operand[]){x, mask, value});
}

void td_scaler_update_at(td_origin origin, td_scaler scaler, td_tensor found)
{
    const struct chain c = {.name = "scaler_update", .origin = origin, .session = found.session};
    const td_operand scale = lasting(scaler.scale), good = lasting(scaler.good_steps);
    td_guard guard;
    td_no_grad_begin(scaler.scale.session, &guard);
    td_operand failed = lasting(chain_binary(&c, TD_OP_ne, lasting(found), td_operand_of_integer(0)));
    td_tensor more = chain_binary(&c, TD_OP_add, good, td_operand_of_integer(1));
    td_operand steps = lasting(filled(&c, passing(more), failed, td_operand_of_integer(0)));
    td_operand grown = lasting(chain_binary(&c, TD_OP_eq, steps, td_operand_of_integer(scaler.growth_interval)));
    td_tensor higher = chain_binary(&c, TD_OP_mul, scale, td_operand_of_real(scaler.growth_factor));
    td_tensor lower = chain_binary(&c, TD_OP_mul, scale, td_operand_of_real(scaler.backoff_factor));
    td_tensor next = chain_step(&c, TD_OP_where, NULL, 3, (td_operand[]){grown, passing(higher), scale});
    next = chain_step(&c, TD_OP_where, NULL, 3, (td_operand[]){failed, passing(lower), passing(next)});
    chain_binary(&c, TD_OP_copy_, scale, passing(next));
    chain_binary(&c, TD_OP_copy_, good, passing(filled(&c, steps, grown, td_operand_of_integer(0))));
    chain_drop(failed.tensor);
    chain_drop(steps.tensor);
    chain_drop(grown.tensor);
    td_guard_end(&guard);
    chain_used(&c, found, 0);
}

/* ---- the functions behind the macros ---- */

td_scaler(td_grad_scaler)(td_session *s, const struct td_grad_scaler_keywords *keywords)
{
    return td_grad_scaler_at((td_origin){0}, s, keywords);
}
td_tensor(td_scale)(td_scaler scaler, td_tensor loss)
{
    return td_scale_at((td_origin){0}, scaler, loss);
}
td_tensor(td_unscale_)(td_scaler scaler, td_list parameters)
{
    return td_unscale__at((td_origin){0}, scaler, parameters);
}
void(td_scaler_update)(td_scaler scaler, td_tensor found)
{
    td_scaler_update_at((td_origin){0}, scaler, found);
}
