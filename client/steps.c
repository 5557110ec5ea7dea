/* Steps over lists of parameters that no optimiser holds: gradients are clipped, averages follow.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

/* A step over as many of the lists as its row has; its result if it has one. */
static td_tensor run(td_origin origin, td_session *s, enum td_op_id id, const td_list *lists, const void *attrs)
{
    td_tensor results[TD_OUTPUTS_MAX] = {0};
    origin.consume = 0;
    client_lists(&(struct client_op){.id = id, .origin = origin, .session = s, .lists = lists, .attrs = attrs},
                 results);
    return results[0];
}

td_tensor td_clip_grad_norm__at(td_origin origin, td_session *s, td_list parameters, double max_norm,
                                const struct td_clip_grad_norm__keywords *keywords)
{
    const struct td_clip_grad_norm__attrs attrs = {.max_norm = max_norm,
                                                   .norm_type = keywords ? keywords->norm_type : 2};
    return run(origin, s, TD_OP_clip_grad_norm_, &parameters, &attrs);
}

void td_clip_grad_value__at(td_origin origin, td_session *s, td_list parameters, double clip_value)
{
    const struct td_clip_grad_value__attrs attrs = {.clip_value = clip_value};
    run(origin, s, TD_OP_clip_grad_value_, &parameters, &attrs);
}

void td_ema_step__at(td_origin origin, td_session *s, td_list parameters, td_list averages, double decay)
{
    const struct td_ema_step__attrs attrs = {.decay = decay};
    run(origin, s, TD_OP_ema_step_, (const td_list[]){parameters, averages}, &attrs);
}

td_tensor(td_clip_grad_norm_)(td_session *s, td_list parameters, double max_norm,
                              const struct td_clip_grad_norm__keywords *keywords)
{
    return td_clip_grad_norm__at((td_origin){0}, s, parameters, max_norm, keywords);
}

void(td_clip_grad_value_)(td_session *s, td_list parameters, double clip_value)
{
    td_clip_grad_value__at((td_origin){0}, s, parameters, clip_value);
}

void(td_ema_step_)(td_session *s, td_list parameters, td_list averages, double decay)
{
    td_ema_step__at((td_origin){0}, s, parameters, averages, decay);
}
