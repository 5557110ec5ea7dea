/* Tensors with the shape, the type and the dense strides of another. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "client/chain.h"

static td_tensor filled(const struct chain *c, td_tensor x, int64_t value, const struct td_like_keywords *keywords)
{
    const struct td_full_like_attrs attrs = {.dtype = keywords ? keywords->dtype : TD_DTYPE_NONE};
    return chain_step(c, TD_OP_full_like, &attrs, 2, (td_operand[]){lasting(x), td_operand_of_integer(value)});
}

static td_tensor finished(const struct chain *c, td_tensor y, td_tensor x, const struct td_like_keywords *keywords)
{
    if (keywords && keywords->requires_grad)
        y = td_set_requires_grad_at((td_origin){c->origin.where, 1}, y, true);
    return chain_end(c, y, 1, &x);
}

/* The numbers come from an op that draws; attrs is its own, where shape and dtype still have to be put in. */
static td_tensor drawn(const struct chain *c, td_tensor x, enum td_op_id id, void *attrs, struct td_dims *shape,
                       int64_t *dtype, const struct td_like_keywords *keywords)
{
    td_tensor y = filled(c, x, 0, keywords);
    td_layout layout = chain_layout(c, y);
    shape->count = layout.rank;
    memcpy(shape->v, layout.shape, sizeof layout.shape);
    *dtype = td_dtype_of_at((td_origin){c->origin.where, 0}, y);
    td_tensor numbers = chain_step(c, id, attrs, 0, NULL);
    chain_binary(c, TD_OP_copy_, lasting(y), passing(numbers));
    return finished(c, y, x, keywords);
}

#define CHAIN(called)                                            \
    {                                                            \
        .name = called, .origin = origin, .session = (x).session \
    }

td_tensor td_zeros_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords)
{
    const struct chain c = CHAIN("zeros_like");
    return finished(&c, filled(&c, x, 0, keywords), x, keywords);
}
td_tensor td_empty_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords)
{
    const struct chain c = CHAIN("empty_like");
    return finished(&c, filled(&c, x, 0, keywords), x, keywords);
}
td_tensor td_ones_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords)
{
    const struct chain c = CHAIN("ones_like");
    return finished(&c, filled(&c, x, 1, keywords), x, keywords);
}
td_tensor td_rand_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords)
{
    const struct chain c = CHAIN("rand_like");
    struct td_rand_attrs attrs;
    return drawn(&c, x, TD_OP_rand, &attrs, &attrs.shape, &attrs.dtype, keywords);
}
td_tensor td_randn_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords)
{
    const struct chain c = CHAIN("randn_like");
    struct td_randn_attrs attrs;
    return drawn(&c, x, TD_OP_randn, &attrs, &attrs.shape, &attrs.dtype, keywords);
}
td_tensor td_randint_like_at(td_origin origin, td_tensor x, int64_t low, int64_t high,
                             const struct td_like_keywords *keywords)
{
    const struct chain c = CHAIN("randint_like");
    struct td_randint_attrs attrs = {.low = low, .high = high};
    return drawn(&c, x, TD_OP_randint, &attrs, &attrs.shape, &attrs.dtype, keywords);
}

/* ---- the functions behind the macros ---- */

td_tensor(td_zeros_like)(td_tensor x, const struct td_like_keywords *keywords)
{
    return td_zeros_like_at((td_origin){0}, x, keywords);
}
td_tensor(td_empty_like)(td_tensor x, const struct td_like_keywords *keywords)
{
    return td_empty_like_at((td_origin){0}, x, keywords);
}
td_tensor(td_ones_like)(td_tensor x, const struct td_like_keywords *keywords)
{
    return td_ones_like_at((td_origin){0}, x, keywords);
}
td_tensor(td_rand_like)(td_tensor x, const struct td_like_keywords *keywords)
{
    return td_rand_like_at((td_origin){0}, x, keywords);
}
td_tensor(td_randn_like)(td_tensor x, const struct td_like_keywords *keywords)
{
    return td_randn_like_at((td_origin){0}, x, keywords);
}
td_tensor(td_randint_like)(td_tensor x, int64_t low, int64_t high, const struct td_like_keywords *keywords)
{
    return td_randint_like_at((td_origin){0}, x, low, high, keywords);
}
