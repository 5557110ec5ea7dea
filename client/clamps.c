/* clamp by tensors. SPDX-License-Identifier: Apache-2.0 */
#include "client/chain.h"

#define CHAIN(called, x)                                         \
    {                                                            \
        .name = called, .origin = origin, .session = (x).session \
    }

/* other, but x where x is nan, which gets no gradient then. */
static td_tensor or_nan(const struct chain *c, td_tensor x, td_operand other)
{
    td_tensor nans = chain_unary(c, TD_OP_isnan, lasting(x)), seen = chain_unary(c, TD_OP_detach, lasting(x));
    return chain_where(c, nans, passing(seen), other);
}

/* x where it compares so with bound, or is nan; else bound. */
static td_tensor bounded(const struct chain *c, td_tensor x, enum td_op_id compare, td_operand bound)
{
    td_tensor inside = chain_binary(c, compare, lasting(x), lasting_operand(bound));
    td_tensor y = chain_where(c, inside, lasting(x), lasting_operand(bound));
    if (is_tensor(bound))
        y = or_nan(c, bound.tensor, passing(y));
    return chain_end_two(c, or_nan(c, x, passing(y)), x, bound);
}
td_tensor td_clamp_min_at(td_origin origin, td_tensor x, td_operand low)
{
    const struct chain c = CHAIN("clamp_min", x);
    return bounded(&c, x, TD_OP_ge, low);
}
td_tensor td_clamp_max_at(td_origin origin, td_tensor x, td_operand high)
{
    const struct chain c = CHAIN("clamp_max", x);
    return bounded(&c, x, TD_OP_le, high);
}

static td_tensor both(const struct chain *c, enum td_op_id id, td_tensor a, td_tensor b)
{
    return chain_binary(c, id, passing(a), passing(b));
}

/* Where x is inside of the bounds it is the result, below them low, above high, or where they cross; where two are
 * equal or nan nobody gets a gradient, but that high, as in PyTorch, gets one above it beside whatever low. */
td_tensor td_clamp_between_at(td_origin origin, td_tensor x, td_tensor low, td_tensor high)
{
    const struct chain c = CHAIN("clamp_between", x);
    td_operand from = lasting(low), to = lasting(high), value = lasting(x);
    td_tensor rest =
        both(&c, TD_OP_minimum,
             both(&c, TD_OP_maximum, chain_unary(&c, TD_OP_detach, value), chain_unary(&c, TD_OP_detach, from)),
             chain_unary(&c, TD_OP_detach, to));
    const struct td_to_attrs own = {.dtype = td_dtype_of_at((td_origin){origin.where, 0}, rest)};
    td_tensor inside =
        both(&c, TD_OP_logical_and, chain_binary(&c, TD_OP_ge, value, from), chain_binary(&c, TD_OP_le, value, to));
    td_tensor below =
        both(&c, TD_OP_logical_and, chain_binary(&c, TD_OP_lt, value, from), chain_binary(&c, TD_OP_lt, from, to));
    td_tensor above =
        both(&c, TD_OP_logical_or, chain_binary(&c, TD_OP_gt, value, to), chain_binary(&c, TD_OP_lt, to, from));
    td_tensor greatest = chain_where(&c, chain_unary(&c, TD_OP_isnan, lasting(rest)),
                                     passing(chain_binary(&c, TD_OP_add, to, lasting(rest))), to);
    td_tensor y = chain_where(&c, above, passing(greatest), passing(rest));
    y = chain_where(&c, inside, value, passing(chain_where(&c, below, from, passing(y))));
    if (own.dtype != (int64_t)td_dtype_of_at((td_origin){origin.where, 0}, y))
        y = chain_step(&c, TD_OP_to, &own, 1, (td_operand[]){passing(y)});
    return chain_end(&c, y, 3, (td_tensor[]){x, low, high});
}

/* ---- the functions behind the macros ---- */

td_tensor(td_clamp_min)(td_tensor x, td_operand low)
{
    return td_clamp_min_at((td_origin){0}, x, low);
}
td_tensor(td_clamp_max)(td_tensor x, td_operand high)
{
    return td_clamp_max_at((td_origin){0}, x, high);
}
td_tensor(td_clamp_between)(td_tensor x, td_tensor low, td_tensor high)
{
    return td_clamp_between_at((td_origin){0}, x, low, high);
}
