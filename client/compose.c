/* What functions made of several ops are written with. SPDX-License-Identifier: Apache-2.0 */
#include "client/compose.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/chain.h"

struct part part_given(td_origin origin, int k, td_tensor x)
{
    return (struct part){td_operand_of_tensor(x), origin.consume >> k & 1};
}

struct part part_keyword(td_tensor x)
{
    return (struct part){td_operand_of_tensor(x), false};
}

struct part part_real(double value)
{
    return (struct part){td_operand_of_real(value), false};
}

struct part part_kept(struct part part)
{
    part.mine = false;
    return part;
}

td_tensor part_tensor(struct part part)
{
    return part.operand.tensor;
}

struct part part_created(td_origin origin, td_session *s, enum td_op_id id, const void *attrs)
{
    const struct client_op op = {.id = (uint16_t)id, .origin.where = origin.where, .session = s, .attrs = attrs};
    return (struct part){td_operand_of_tensor(client_op(&op)), true};
}

struct part part_op(td_origin origin, enum td_op_id id, const void *attrs, int count, const struct part *in)
{
    td_operand operands[TD_PARAMS_MAX];
    struct client_op op = {.id = (uint16_t)id, .origin = {.where = origin.where}};
    for (int k = 0; k < count; k++) {
        operands[k] = in[k].operand;
        op.origin.consume |= (uint32_t)in[k].mine << k;
    }
    op.in = operands;
    op.in_count = count;
    op.attrs = attrs;
    td_tensor results[TD_OUTPUTS_MAX] = {{0}};
    client_ops(&op, results);
    for (int k = 1; k < td_op_of(id)->output_count; k++)
        chain_drop(results[k]);
    return (struct part){td_operand_of_tensor(results[0]), true};
}

struct part part_one(td_origin origin, enum td_op_id id, struct part x)
{
    return part_op(origin, id, NULL, 1, &x);
}

struct part part_two(td_origin origin, enum td_op_id id, struct part a, struct part b)
{
    return part_op(origin, id, NULL, 2, (struct part[]){a, b});
}

struct part part_where(td_origin origin, struct part condition, struct part a, struct part b)
{
    return part_op(origin, TD_OP_where, NULL, 3, (struct part[]){condition, a, b});
}

struct part part_sum(td_origin origin, struct part x, int64_t dim, bool keepdim)
{
    return part_op(origin, TD_OP_sum, &(struct td_sum_attrs){.dims = {1, {dim}}, .keepdim = keepdim}, 1, &x);
}

struct part part_clamp(td_origin origin, struct part x, double least)
{
    return part_op(origin, TD_OP_clamp, &(struct td_clamp_attrs){.min = least, .max = INFINITY}, 1, &x);
}

struct part part_reshape(td_origin origin, struct part x, int rank, const int64_t *shape)
{
    struct td_reshape_attrs attrs = {.shape.count = rank};
    memcpy(attrs.shape.v, shape, (size_t)rank * sizeof *shape);
    return part_op(origin, TD_OP_reshape, &attrs, 1, &x);
}

td_tensor part_reduced(td_origin o, struct part x, int64_t reduction, const char *name)
{
    const struct td_sum_attrs all = {.dims.count = -1};
    struct td_failure failure = {0};
    if (reduction == TD_NONE)
        return part_tensor(x);
    if (reduction == TD_MEAN || reduction == TD_SUM)
        return part_tensor(part_op(o, reduction == TD_MEAN ? TD_OP_mean : TD_OP_sum, &all, 1, &x));
    td_fail(&failure, TD_E_ARGUMENT, "%s: reduction %" PRId64 " is none of TD_NONE, TD_MEAN, TD_SUM", name, reduction);
    if (x.mine)
        chain_drop(part_tensor(x));
    return part_refuse(o, part_tensor(x).session, name, &failure);
}

td_layout part_layout(td_origin origin, struct part x)
{
    return td_layout_of_at((td_origin){origin.where, 0}, x.operand.tensor);
}

td_tensor part_refuse(td_origin origin, td_session *s, const char *name, const struct td_failure *failure)
{
    session_enter(s);
    td_tensor failed = handles_failed(s, error_make(s, failure, name, origin));
    session_leave(s);
    return failed;
}

td_tensor part_used(td_origin origin, int count, const td_tensor *given, td_tensor y)
{
    for (int k = 0; k < count; k++)
        if (consumes(origin, given[k], k))
            chain_drop(given[k]); /* nothing if an op has used it up */
    return y;
}

td_tensor part_refuse_shape(td_origin o, td_tensor x, const char *name, const td_layout *layout, const char *what)
{
    struct td_failure failure = {0};
    char text[TD_SHAPE_TEXT];
    if (!td_ok_at((td_origin){o.where, 0}, x))
        return part_tensor(part_one(o, TD_OP_clone, part_given(o, 0, x))); /* which fails of the same */
    td_fail(&failure, TD_E_SHAPE, "%s: x of shape %s %s", name,
            td_shape_text(layout->rank, layout->shape, text, sizeof text), what);
    return part_refuse(o, x.session, name, &failure);
}
