/* The forms in place of functions that are made of several ops: what they give is copied into their first tensor.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/chain.h"

#include <string.h>

/* td_called_ with these parameters writes what call gives, which uses up all that is written inside but x. */
#define IN_PLACE(called, parameters, call)                                                    \
    td_tensor td_##called##__at parameters                                                    \
    {                                                                                         \
        SPEAKS_FOR(#called "_");                                                              \
        const struct chain c = {.name = #called "_", .origin = origin, .session = x.session}; \
        const td_origin rest = {origin.where, origin.consume & ~1u};                          \
        return chain_write(&c, x, call);                                                      \
    }
#define OF_ONE (td_origin origin, td_tensor x)
#define OF_TWO (td_origin origin, td_tensor x, td_operand other)
#define OF_DROPPED(name) (td_origin origin, td_tensor x, const struct td_##name##_keywords *keywords)
#define OF_PRODUCT (td_origin origin, td_tensor x, td_tensor a, td_tensor b, const struct td_addmm_keywords *keywords)

IN_PLACE(sgn, OF_ONE, td_sgn_at(rest, x))
IN_PLACE(deg2rad, OF_ONE, td_deg2rad_at(rest, x))
IN_PLACE(rad2deg, OF_ONE, td_rad2deg_at(rest, x))
IN_PLACE(mvlgamma, (td_origin origin, td_tensor x, int64_t p), td_mvlgamma_at(rest, x, p))
IN_PLACE(true_divide, OF_TWO, td_true_divide_at(rest, x, other))
IN_PLACE(float_power, OF_TWO, td_float_power_at(rest, x, other))
IN_PLACE(ldexp, OF_TWO, td_ldexp_at(rest, x, other))
IN_PLACE(clamp_min, OF_TWO, td_clamp_min_at(rest, x, other))
IN_PLACE(clamp_max, OF_TWO, td_clamp_max_at(rest, x, other))
IN_PLACE(clamp_between, (td_origin origin, td_tensor x, td_tensor low, td_tensor high),
         td_clamp_between_at(rest, x, low, high))
IN_PLACE(addmm, OF_PRODUCT, td_addmm_at(rest, x, a, b, keywords))
IN_PLACE(baddbmm, OF_PRODUCT, td_baddbmm_at(rest, x, a, b, keywords))
IN_PLACE(addmv, OF_PRODUCT, td_addmv_at(rest, x, a, b, keywords))
IN_PLACE(addr, OF_PRODUCT, td_addr_at(rest, x, a, b, keywords))
IN_PLACE(addbmm, OF_PRODUCT, td_addbmm_at(rest, x, a, b, keywords))
IN_PLACE(renorm, (td_origin origin, td_tensor x, double p, int64_t dim, double maxnorm),
         td_renorm_at(rest, x, p, dim, maxnorm))
IN_PLACE(alpha_dropout, OF_DROPPED(alpha_dropout), td_alpha_dropout_at(rest, x, keywords))
IN_PLACE(feature_dropout, OF_DROPPED(feature_dropout), td_feature_dropout_at(rest, x, keywords))

/* ---- x becomes another view ---- */

static td_tensor turned(td_origin origin, td_tensor x, int64_t dim0, int64_t dim1)
{
    const struct td_transpose_attrs attrs = {.dim0 = dim0, .dim1 = dim1};
    return client_view_in_place(&(struct client_op){
        .id = TD_OP_transpose, .origin = origin, .in = (td_operand[]){passing(x)}, .in_count = 1, .attrs = &attrs});
}

td_tensor td_swapaxes__at(td_origin origin, td_tensor x, int64_t dim0, int64_t dim1)
{
    SPEAKS_FOR("swapaxes_");
    return turned(origin, x, dim0, dim1);
}
td_tensor td_swapdims__at(td_origin origin, td_tensor x, int64_t dim0, int64_t dim1)
{
    SPEAKS_FOR("swapdims_");
    return turned(origin, x, dim0, dim1);
}

static bool has_shape(const td_layout *x, const struct td_dims *shape)
{
    bool same = x->rank == shape->count;
    for (int d = 0; same && d < x->rank; d++)
        same = x->shape[d] == shape->v[d];
    return same;
}

td_tensor td_resize__at(td_origin origin, td_tensor x, struct td_dims shape)
{
    SPEAKS_FOR("resize_");
    const struct chain c = {.name = "resize_", .origin = origin, .session = x.session};
    const td_origin here = {origin.where, 0};
    td_layout layout = chain_layout(&c, x);
    struct td_as_strided_attrs attrs = {.size = shape, .stride.count = shape.count, .offset = -1};
    struct td_failure failure = {0};
    if (td_ok_at(here, x) && td_requires_grad_at(here, x)) {
        td_fail(&failure, TD_E_GRAD, "resize_: x requires a gradient, which would not know what became of it");
        chain_drop(chain_refuse(&c, &failure));
    }
    if (failure.code || (td_ok_at(here, x) && has_shape(&layout, &shape)))
        return chain_target(&c, x);
    if (shape.count >= 0 && shape.count <= TD_RANK_MAX)
        td_contiguous_strides((int)shape.count, shape.v, attrs.stride.v);
    return client_view_in_place(&(struct client_op){
        .id = TD_OP_as_strided, .origin = origin, .in = (td_operand[]){passing(x)}, .in_count = 1, .attrs = &attrs});
}

td_tensor td_resize_as__at(td_origin origin, td_tensor x, td_tensor other)
{
    const struct chain c = {.name = "resize_as_", .origin = origin, .session = x.session};
    td_layout layout = chain_layout(&c, other);
    struct td_dims shape = {.count = layout.rank};
    memcpy(shape.v, layout.shape, sizeof shape.v);
    SPEAKS_FOR("resize_as_");
    td_tensor y = x;
    if (td_ok_at((td_origin){origin.where, 0}, other))
        y = td_resize__at((td_origin){origin.where, origin.consume & 1u}, x, shape);
    else
        chain_drop(chain_unary(&c, TD_OP_clone, lasting(other))); /* which is why there is no shape */
    chain_used(&c, other, 1);
    return y;
}

/* ---- x is written to ---- */

td_tensor td_zero__at(td_origin origin, td_tensor x)
{
    const struct chain c = {.name = "zero_", .origin = origin, .session = x.session};
    chain_binary(&c, TD_OP_fill_, lasting(x), td_operand_of_integer(0));
    return chain_target(&c, x);
}

/* value into the elements of x from one on, as many, that are step elements of its storage apart. */
static void fill_diagonal(const struct chain *c, td_tensor x, td_operand value, int64_t offset, int64_t step,
                          int64_t count)
{
    const struct td_as_strided_attrs attrs = {.size = {1, {count}}, .stride = {1, {step}}, .offset = offset};
    td_tensor line = chain_step(c, TD_OP_as_strided, &attrs, 1, (td_operand[]){lasting(x)});
    chain_drop(chain_binary(c, TD_OP_fill_, passing(line), value));
}

td_tensor td_fill_diagonal__at(td_origin origin, td_tensor x, double value,
                               const struct td_fill_diagonal__keywords *keywords)
{
    const struct chain c = {.name = "fill_diagonal_", .origin = origin, .session = x.session};
    td_layout layout = chain_layout(&c, x);
    int64_t step = 0, least = INT64_MAX, most = 0;
    for (int d = 0; d < layout.rank; d++) {
        step += layout.stride[d];
        least = layout.shape[d] < least ? layout.shape[d] : least;
        most = layout.shape[d] > most ? layout.shape[d] : most;
    }
    if (td_ok_at((td_origin){origin.where, 0}, x) && (layout.rank < 2 || (layout.rank > 2 && least != most))) {
        struct td_failure failure = {0};
        char text[TD_SHAPE_TEXT];
        td_fail(&failure, TD_E_SHAPE, "fill_diagonal_: x of shape %s is no matrix, nor are all of its sizes equal",
                td_shape_text(layout.rank, layout.shape, text, sizeof text));
        chain_drop(chain_refuse(&c, &failure));
        return chain_target(&c, x);
    }
    int64_t height = layout.rank ? layout.shape[0] : 0, turn = least + 1;
    bool wraps = keywords && keywords->wrap && layout.rank == 2 && least && least < layout.shape[0];
    fill_diagonal(&c, x, td_operand_of_real(value), layout.offset, step, least);
    for (int64_t row = turn; wraps && row < height; row += turn)
        fill_diagonal(&c, x, td_operand_of_real(value), layout.offset + row * layout.stride[0], step,
                      height - row < least ? height - row : least);
    return chain_target(&c, x);
}

/* ---- the functions behind the macros ---- */

#define OF_ONE_FUNCTION(called)                     \
    td_tensor(td_##called)(td_tensor x)             \
    {                                               \
        return td_##called##_at((td_origin){0}, x); \
    }
#define OF_TWO_FUNCTION(called)                            \
    td_tensor(td_##called)(td_tensor x, td_operand other)  \
    {                                                      \
        return td_##called##_at((td_origin){0}, x, other); \
    }
#define OF_PRODUCT_FUNCTION(called)                                                                         \
    td_tensor(td_##called)(td_tensor x, td_tensor a, td_tensor b, const struct td_addmm_keywords *keywords) \
    {                                                                                                       \
        return td_##called##_at((td_origin){0}, x, a, b, keywords);                                         \
    }
td_tensor(td_swapaxes_)(td_tensor x, int64_t dim0, int64_t dim1)
{
    return td_swapaxes__at((td_origin){0}, x, dim0, dim1);
}
td_tensor(td_swapdims_)(td_tensor x, int64_t dim0, int64_t dim1)
{
    return td_swapdims__at((td_origin){0}, x, dim0, dim1);
}
td_tensor(td_resize_)(td_tensor x, struct td_dims shape)
{
    return td_resize__at((td_origin){0}, x, shape);
}
td_tensor(td_resize_as_)(td_tensor x, td_tensor other)
{
    return td_resize_as__at((td_origin){0}, x, other);
}
OF_ONE_FUNCTION(zero_)
OF_ONE_FUNCTION(sgn_)
OF_ONE_FUNCTION(deg2rad_)
OF_ONE_FUNCTION(rad2deg_)
OF_TWO_FUNCTION(true_divide_)
OF_TWO_FUNCTION(float_power_)
OF_TWO_FUNCTION(ldexp_)
OF_TWO_FUNCTION(clamp_min_)
OF_TWO_FUNCTION(clamp_max_)
OF_PRODUCT_FUNCTION(addmm_)
OF_PRODUCT_FUNCTION(baddbmm_)
OF_PRODUCT_FUNCTION(addmv_)
OF_PRODUCT_FUNCTION(addr_)
OF_PRODUCT_FUNCTION(addbmm_)

td_tensor(td_mvlgamma_)(td_tensor x, int64_t p)
{
    return td_mvlgamma__at((td_origin){0}, x, p);
}

td_tensor(td_renorm_)(td_tensor x, double p, int64_t dim, double maxnorm)
{
    return td_renorm__at((td_origin){0}, x, p, dim, maxnorm);
}

td_tensor(td_clamp_between_)(td_tensor x, td_tensor low, td_tensor high)
{
    return td_clamp_between__at((td_origin){0}, x, low, high);
}
td_tensor(td_alpha_dropout_)(td_tensor x, const struct td_alpha_dropout_keywords *keywords)
{
    return td_alpha_dropout__at((td_origin){0}, x, keywords);
}
td_tensor(td_feature_dropout_)(td_tensor x, const struct td_feature_dropout_keywords *keywords)
{
    return td_feature_dropout__at((td_origin){0}, x, keywords);
}
td_tensor(td_fill_diagonal_)(td_tensor x, double value, const struct td_fill_diagonal__keywords *keywords)
{
    return td_fill_diagonal__at((td_origin){0}, x, value, keywords);
}
