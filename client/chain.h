/* How functions made of several ops are written: steps under one name, at one line of the program. What the program
 * gave is not used up by any of them but by chain_end; what a step made is used up by the step it goes into.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CHAIN_H
#define TD_CLIENT_CHAIN_H

#include "client/internal.h"

struct chain {
    const char *name;
    td_origin origin;
    td_session *session; /* for steps without a tensor */
};

/* x as an operand that stays, whoever made it. */
static inline td_operand lasting(td_tensor x)
{
    x.generation &= ~FRESH;
    return td_operand_of_tensor(x);
}
static inline td_operand passing(td_tensor x)
{
    return td_operand_of_tensor(x);
}

static inline bool is_tensor(td_operand operand)
{
    return operand.number.category < 0;
}
static inline td_operand lasting_operand(td_operand operand)
{
    return is_tensor(operand) ? lasting(operand.tensor) : operand;
}

static inline td_tensor chain_step(const struct chain *c, enum td_op_id id, const void *attrs, int count,
                                   const td_operand *in)
{
    return client_op(&(struct client_op){.id = (uint16_t)id,
                                         .name = c->name,
                                         .origin = {c->origin.where, ~0u},
                                         .session = count ? NULL : c->session,
                                         .in = in,
                                         .in_count = count,
                                         .attrs = attrs});
}
static inline td_tensor chain_unary(const struct chain *c, enum td_op_id id, td_operand x)
{
    return chain_step(c, id, NULL, 1, &x);
}
static inline td_tensor chain_binary(const struct chain *c, enum td_op_id id, td_operand a, td_operand b)
{
    return chain_step(c, id, NULL, 2, (td_operand[]){a, b});
}
static inline td_tensor chain_where(const struct chain *c, td_tensor condition, td_operand a, td_operand b)
{
    return chain_step(c, TD_OP_where, NULL, 3, (td_operand[]){passing(condition), a, b});
}

/* The layout of what the program gave, without using it up. */
static inline td_layout chain_layout(const struct chain *c, td_tensor x)
{
    return td_layout_of_at((td_origin){c->origin.where, 0}, x);
}

/* A failed result, of a call that no op would refuse. */
td_tensor chain_refuse(const struct chain *c, const struct td_failure *failure);
/* Releases a tensor that the call, or a step, has used up. */
void chain_drop(td_tensor x);
/* Releases input k of the program's call if it was written as a call itself. */
static inline void chain_used(const struct chain *c, td_tensor x, int k)
{
    if (consumes(c->origin, x, k))
        chain_drop(x);
}
/* x, which was written to: it goes on, and is used up by the op around only if it was written there. */
static inline td_tensor chain_target(const struct chain *c, td_tensor x)
{
    return consumes(c->origin, x, 0) ? x : lasting(x).tensor;
}
/* y, which a step made, written into x, whose shape and type stay; x, as chain_target gives it. */
td_tensor chain_write(const struct chain *c, td_tensor x, td_tensor y);
static inline td_tensor chain_end(const struct chain *c, td_tensor result, int count, const td_tensor *given)
{
    for (int k = 0; k < count; k++)
        chain_used(c, given[k], k);
    return result;
}
/* The same of a call with a tensor, and a number or a tensor. */
static inline td_tensor chain_end_two(const struct chain *c, td_tensor y, td_tensor a, td_operand b)
{
    chain_used(c, a, 0);
    if (is_tensor(b))
        chain_used(c, b.tensor, 1);
    return y;
}

#endif
