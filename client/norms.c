/* Norms of matrices and of slices, made of ops. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "client/compose.h"

static struct part extreme(td_origin o, struct part x, bool greatest)
{
    const struct td_max_attrs last = {.dims = {1, {-1}}};
    return part_op(o, greatest ? TD_OP_max : TD_OP_min, &last, 1, &x);
}

/* Of the matrices in the last two dimensions. */
static struct part norm_of(td_origin o, struct part x, double ord)
{
    const struct td_norm_attrs all = {.dims = {2, {-2, -1}}, .p = 2};
    if (ord == TD_FROBENIUS)
        return part_op(o, TD_OP_norm, &all, 1, &x);
    if (fabs(ord) == 1 || isinf(ord))
        return extreme(o, part_sum(o, part_one(o, TD_OP_abs, x), isinf(ord) ? -1 : -2, false), ord > 0);
    struct part values = part_one(o, TD_OP_svdvals, x);
    return ord == TD_NUCLEAR ? part_sum(o, values, -1, false) : extreme(o, values, ord > 0);
}

static struct part with_dim(td_origin o, struct part x, int dim)
{
    return part_op(o, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = dim}, 1, &x);
}

td_tensor td_matrix_norm_at(td_origin o, td_tensor x, const struct td_matrix_norm_keywords *keywords)
{
    SPEAKS_FOR("matrix_norm");
    static const struct td_matrix_norm_keywords defaults = {.ord = TD_FROBENIUS, .dims = {2, {-2, -1}}};
    const struct td_matrix_norm_keywords *k = keywords ? keywords : &defaults;
    const struct td_movedim_attrs to_end = {.source = k->dims, .destination = {2, {-2, -1}}};
    double ord = k->ord;
    struct td_failure failure = {0};
    if (ord != TD_FROBENIUS && ord != TD_NUCLEAR && fabs(ord) != 1 && fabs(ord) != 2 && !isinf(ord))
        td_fail(&failure, TD_E_ARGUMENT,
                "matrix_norm: ord %g is none of TD_FROBENIUS, TD_NUCLEAR, 1, -1, 2, -2, INFINITY, -INFINITY", ord);
    else if (k->dims.count != 2)
        td_fail(&failure, TD_E_ARGUMENT, "matrix_norm: dims are %lld where those of the rows and the columns are due",
                (long long)k->dims.count);
    if (failure.code)
        return part_used(o, 1, &x, part_refuse(o, x.session, "matrix_norm", &failure));
    struct part value = part_given(o, 0, x);
    int rank = part_layout(o, part_keyword(x)).rank;
    struct part y = norm_of(o, part_op(o, TD_OP_movedim, &to_end, 1, &value), ord);
    if (!k->keepdim)
        return part_tensor(y);
    int first = td_wrap_dim(k->dims.v[0], rank), second = td_wrap_dim(k->dims.v[1], rank);
    y = with_dim(o, y, first < second ? first : second);
    return part_tensor(with_dim(o, y, first < second ? second : first));
}

td_tensor(td_matrix_norm)(td_tensor x, const struct td_matrix_norm_keywords *keywords)
{
    return td_matrix_norm_at((td_origin){0}, x, keywords);
}

/* ---- renorm ---- */

/* What renorm refuses; a failure without a code if nothing. */
static struct td_failure renorm_failure(td_origin o, td_tensor x, double p, int64_t dim, double maxnorm)
{
    struct td_failure failure = {0};
    td_layout layout = part_layout(o, part_keyword(x));
    char text[TD_SHAPE_TEXT];
    if (!(p > 0))
        td_fail(&failure, TD_E_ARGUMENT, "renorm: p is %g where more than 0 is due", p);
    else if (!(maxnorm >= 0))
        td_fail(&failure, TD_E_ARGUMENT, "renorm: maxnorm is %g where 0 or more is due", maxnorm);
    else if (td_ok_at((td_origin){o.where, 0}, x) && layout.rank < 2)
        td_fail(&failure, TD_E_SHAPE, "renorm: x of shape %s has less than two dimensions",
                td_shape_text(layout.rank, layout.shape, text, sizeof text));
    else if (td_ok_at((td_origin){o.where, 0}, x) && td_wrap_dim(dim, layout.rank) < 0)
        td_fail(&failure, TD_E_INDEX, "renorm: dimension %lld does not exist in a tensor of %d dimensions",
                (long long)dim, layout.rank);
    return failure;
}

/* The norm in f32 or wider, by which a factor in x's own type is found, as PyTorch does. */
td_tensor td_renorm_at(td_origin o, td_tensor x, double p, int64_t dim, double maxnorm)
{
    SPEAKS_FOR("renorm");
    struct td_failure failure = renorm_failure(o, x, p, dim, maxnorm);
    if (failure.code)
        return part_used(o, 1, &x, part_refuse(o, x.session, "renorm", &failure));
    int rank = part_layout(o, part_keyword(x)).rank;
    uint8_t dtype = (uint8_t)td_dtype_of_at((td_origin){o.where, 0}, x), wide = td_dtype_wide(dtype);
    struct td_norm_attrs others = {.p = p, .keepdim = true};
    for (int d = 0; d < rank; d++)
        if (d != td_wrap_dim(dim, rank))
            others.dims.v[others.dims.count++] = d;
    struct part value = part_one(o, TD_OP_contiguous, part_given(o, 0, x)), size = part_kept(value);
    if (wide != dtype)
        size = part_op(o, TD_OP_to, &(struct td_to_attrs){.dtype = wide}, 1, &size);
    size = part_op(o, TD_OP_norm, &others, 1, &size);
    struct part over = part_two(o, TD_OP_gt, part_kept(size), part_real(maxnorm));
    struct part factor = part_one(o, TD_OP_reciprocal, part_two(o, TD_OP_add, size, part_real(1e-7)));
    factor = part_where(o, over, part_two(o, TD_OP_mul, factor, part_real(maxnorm)), part_real(1));
    if (wide != dtype)
        factor = part_op(o, TD_OP_to, &(struct td_to_attrs){.dtype = dtype}, 1, &factor);
    return part_tensor(part_two(o, TD_OP_mul, value, factor));
}

td_tensor(td_renorm)(td_tensor x, double p, int64_t dim, double maxnorm)
{
    return td_renorm_at((td_origin){0}, x, p, dim, maxnorm);
}
