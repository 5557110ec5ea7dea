/* PyTorch's names for products of matrices and vectors, and what is made of them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/products.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

td_tensor product_apply(td_origin origin, bool used_up, enum td_op_id id, td_tensor x, const void *attrs)
{
    const td_operand in = td_operand_of_tensor(x);
    return client_op(&(struct client_op){
        .id = (uint16_t)id, .origin = {origin.where, used_up}, .in = &in, .in_count = 1, .attrs = attrs});
}

static td_tensor operands(td_origin origin, enum td_op_id id, td_operand a, td_operand b, uint32_t consume)
{
    const td_operand in[] = {a, b};
    return client_op(
        &(struct client_op){.id = (uint16_t)id, .origin = {origin.where, consume}, .in = in, .in_count = 2});
}

td_tensor product_of(td_origin origin, enum td_op_id id, td_tensor a, td_tensor b, uint32_t consume)
{
    return operands(origin, id, td_operand_of_tensor(a), td_operand_of_tensor(b), consume);
}

td_tensor product_refuse(td_origin origin, struct td_session *s, const char *name, const struct td_failure *failure)
{
    session_enter(s);
    td_tensor y = handles_failed(s, error_make(s, failure, name, origin));
    session_leave(s);
    return y;
}

static td_layout layout_of(td_origin origin, td_tensor x)
{
    return td_layout_of_at((td_origin){origin.where, 0}, x);
}

static bool healthy(td_origin origin, td_tensor x)
{
    return td_ok_at((td_origin){origin.where, 0}, x);
}

/* An error value instead of a call with a and b, which are used up all the same. */
static td_tensor refuse_pair(td_origin origin, td_tensor a, td_tensor b, const char *name, const char *why)
{
    struct td_failure failure = {0};
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    td_layout al = layout_of(origin, a), bl = layout_of(origin, b);
    td_fail(&failure, TD_E_SHAPE, "%s: shapes %s and %s: %s", name, td_shape_text(al.rank, al.shape, at, sizeof at),
            td_shape_text(bl.rank, bl.shape, bt, sizeof bt), why);
    td_tensor y = product_refuse(origin, a.session, name, &failure);
    if (origin.consume & 1 && a.handle != b.handle)
        td_rank_at((td_origin){origin.where, 1}, a);
    if (origin.consume & 2)
        td_rank_at((td_origin){origin.where, 1}, b);
    return y;
}

/* matmul of tensors that have these ranks, and the same batch. */
static td_tensor ranked(td_origin origin, td_tensor a, td_tensor b, const char *name, int a_rank, int b_rank)
{
    static const char *const what[] = {"", "a vector", "a matrix", "a batch of matrices"};
    td_layout al = layout_of(origin, a), bl = layout_of(origin, b);
    char why[96];
    if (!healthy(origin, a) || !healthy(origin, b))
        return product_of(origin, TD_OP_matmul, a, b, origin.consume);
    snprintf(why, sizeof why, "%s and %s are due", what[a_rank], what[b_rank]);
    if (al.rank != a_rank || bl.rank != b_rank)
        return refuse_pair(origin, a, b, name, why);
    if (a_rank == 3 && al.shape[0] != bl.shape[0])
        return refuse_pair(origin, a, b, name, "there must be as many matrices in both");
    return product_of(origin, TD_OP_matmul, a, b, origin.consume);
}

#define PAIR(name)                                   \
    td_tensor(td_##name)(td_tensor a, td_tensor b)   \
    {                                                \
        return td_##name##_at((td_origin){0}, a, b); \
    }
#define RANKED(name, a_rank, b_rank)                                     \
    td_tensor td_##name##_at(td_origin origin, td_tensor a, td_tensor b) \
    {                                                                    \
        SPEAKS_FOR(#name);                                               \
        return ranked(origin, a, b, #name, a_rank, b_rank);              \
    }                                                                    \
    PAIR(name)
RANKED(mm, 2, 2)
RANKED(bmm, 3, 3)
RANKED(mv, 2, 1)
RANKED(dot, 1, 1)
RANKED(vdot, 1, 1)

td_tensor td_outer_at(td_origin origin, td_tensor a, td_tensor b)
{
    SPEAKS_FOR("outer");
    const struct td_unsqueeze_attrs column = {.dim = -1};
    if (healthy(origin, a) && healthy(origin, b) && (layout_of(origin, a).rank != 1 || layout_of(origin, b).rank != 1))
        return refuse_pair(origin, a, b, "outer", "two vectors are due");
    td_tensor columns = product_apply(origin, origin.consume & 1 && a.handle != b.handle, TD_OP_unsqueeze, a, &column);
    return product_of(origin, TD_OP_mul, columns, b, 1 | (origin.consume & 2));
}
PAIR(outer)

td_tensor td_inner_at(td_origin origin, td_tensor a, td_tensor b)
{
    SPEAKS_FOR("inner");
    const struct td_tensordot_keywords last = {.a_dims = {1, {-1}}, .b_dims = {1, {-1}}};
    td_layout al = layout_of(origin, a), bl = layout_of(origin, b);
    if (!al.rank || !bl.rank)
        return product_of(origin, TD_OP_mul, a, b, origin.consume);
    if (al.shape[al.rank - 1] != bl.shape[bl.rank - 1])
        return refuse_pair(origin, a, b, "inner", "the last dimensions have different sizes");
    return td_tensordot_at(origin, a, b, &last);
}
PAIR(inner)

/* ---- sums with products ---- */

/* x times a number, which is a whole one for a tensor of those, and true or false for one of these. */
static td_tensor scaled(td_origin origin, bool used_up, td_tensor x, double by)
{
    enum td_category category = td_dtype_category(td_dtype_of_at((td_origin){origin.where, 0}, x));
    bool whole = category != TD_FLOATING && by == floor(by) && fabs(by) < 0x1p53;
    if (by == 1)
        return x;
    td_operand number = !whole                   ? td_operand_of_real(by)
                        : category == TD_BOOLEAN ? td_operand_of_bool(by != 0)
                                                 : td_operand_of_integer((int64_t)by);
    return operands(origin, TD_OP_mul, td_operand_of_tensor(x), number, used_up);
}

/* x in that type. */
static td_tensor as_type(td_origin origin, bool *used_up, td_tensor x, enum td_dtype dtype)
{
    if (td_dtype_of_at((td_origin){origin.where, 0}, x) == dtype)
        return x;
    x = product_apply(origin, *used_up, TD_OP_to, x, &(struct td_to_attrs){.dtype = dtype});
    *used_up = true;
    return x;
}

/* beta * x + alpha * y in the type of both, where y is the product of a and b, which has rank dimensions. The result
 * lies as y does, row by row, or as x, which is x_first. */
static td_tensor add_product(td_origin origin, td_tensor x, td_tensor a, td_tensor b,
                             const struct td_addmm_keywords *keywords, const char *name, td_tensor y, int rank,
                             bool x_first)
{
    double beta = keywords ? keywords->beta : 1, alpha = keywords ? keywords->alpha : 1;
    bool uses_x = origin.consume & 1 && x.handle != a.handle && x.handle != b.handle;
    td_layout xl = layout_of(origin, x), yl = layout_of(origin, y);
    int common;
    int64_t shape[TD_RANK_MAX];
    if (healthy(origin, x) && healthy(origin, y) &&
        (xl.rank > rank || !td_broadcast(xl.rank, xl.shape, yl.rank, yl.shape, &common, shape) ||
         memcmp(shape, yl.shape, (size_t)rank * sizeof *shape)))
        return refuse_pair((td_origin){origin.where, uses_x | 2u}, x, y, name,
                           "the first does not broadcast to the product's");
    enum td_dtype both = td_result_type_at((td_origin){origin.where, 0}, x, td_operand_of_tensor(y));
    bool mine = true;
    if (td_dtype_known(both))
        y = as_type(origin, &mine, y, both);
    y = scaled(origin, true, y, alpha);
    if (beta == 0) {
        if (uses_x)
            td_rank_at((td_origin){origin.where, 1}, x);
        return y;
    }
    x = td_dtype_known(both) ? as_type(origin, &uses_x, x, both) : x;
    td_tensor part = scaled(origin, uses_x, x, beta);
    bool uses_part = beta != 1 || uses_x;
    return x_first ? product_of(origin, TD_OP_add, part, y, 2u | uses_part)
                   : product_of(origin, TD_OP_add, y, part, 1u | (uint32_t)uses_part << 1);
}

/* The sum of the products of each pair in two batches of matrices: one product, with the batches beside each other. */
static td_tensor sum_of_products(td_origin origin, td_tensor a, td_tensor b)
{
    td_layout al = layout_of(origin, a), bl = layout_of(origin, b);
    const struct td_permute_attrs rows_first = {.dims = {3, {1, 0, 2}}};
    bool uses_a = origin.consume & 1 && a.handle != b.handle;
    if (!healthy(origin, a) || !healthy(origin, b))
        return product_of(origin, TD_OP_matmul, a, b, origin.consume);
    if (al.rank != 3 || bl.rank != 3 || al.shape[0] != bl.shape[0] || al.shape[2] != bl.shape[1])
        return refuse_pair(origin, a, b, "addbmm", "two batches are due of as many matrices (n, k) and (k, m)");
    int64_t inner = al.shape[0] * al.shape[2];
    const struct td_reshape_attrs wide = {.shape = {2, {al.shape[1], inner}}},
                                  high = {.shape = {2, {inner, bl.shape[2]}}};
    a = product_apply(origin, uses_a, TD_OP_permute, a, &rows_first);
    a = product_apply(origin, true, TD_OP_reshape, a, &wide);
    return product_of(origin, TD_OP_matmul, a, product_apply(origin, origin.consume & 2, TD_OP_reshape, b, &high), 3);
}

/* name(x, a, b): what product gives of a and b, as rest says whether they are used up, plus x. */
#define ADDED(name, rank, x_first, product)                                                               \
    td_tensor td_##name##_at(td_origin origin, td_tensor x, td_tensor a, td_tensor b,                     \
                             const struct td_addmm_keywords *keywords)                                    \
    {                                                                                                     \
        SPEAKS_FOR(#name);                                                                                \
        const td_origin rest = {origin.where, origin.consume >> 1};                                       \
        return add_product(origin, x, a, b, keywords, #name, product, rank, x_first);                     \
    }                                                                                                     \
    td_tensor(td_##name)(td_tensor x, td_tensor a, td_tensor b, const struct td_addmm_keywords *keywords) \
    {                                                                                                     \
        return td_##name##_at((td_origin){0}, x, a, b, keywords);                                         \
    }
ADDED(addmm, 2, false, ranked(rest, a, b, "addmm", 2, 2))
ADDED(baddbmm, 3, false, ranked(rest, a, b, "baddbmm", 3, 3))
ADDED(addmv, 1, false, ranked(rest, a, b, "addmv", 2, 1))
ADDED(addr, 2, true, td_outer_at(rest, a, b))
ADDED(addbmm, 2, false, sum_of_products(rest, a, b))

/* ---- other products ---- */

/* Each dimension of a before the one of b that it is multiplied with, then both in one. */
td_tensor td_kron_at(td_origin origin, td_tensor a, td_tensor b)
{
    SPEAKS_FOR("kron");
    td_layout al = layout_of(origin, a), bl = layout_of(origin, b);
    int rank = al.rank > bl.rank ? al.rank : bl.rank;
    struct td_reshape_attrs wide_a = {.shape.count = 2 * rank}, wide_b = wide_a, all = {.shape.count = rank};
    if (2 * rank > TD_RANK_MAX)
        return refuse_pair(origin, a, b, "kron", "it works in up to four dimensions");
    for (int d = 0; d < rank; d++) {
        int64_t sa = d < rank - al.rank ? 1 : al.shape[d - (rank - al.rank)];
        int64_t sb = d < rank - bl.rank ? 1 : bl.shape[d - (rank - bl.rank)];
        wide_a.shape.v[2 * d] = sa, wide_a.shape.v[2 * d + 1] = 1;
        wide_b.shape.v[2 * d] = 1, wide_b.shape.v[2 * d + 1] = sb;
        if (__builtin_mul_overflow(sa, sb, &all.shape.v[d]))
            return refuse_pair(origin, a, b, "kron", "too large");
    }
    a = product_apply(origin, origin.consume & 1 && a.handle != b.handle, TD_OP_reshape, a, &wide_a);
    b = product_apply(origin, origin.consume & 2, TD_OP_reshape, b, &wide_b);
    return product_apply(origin, true, TD_OP_reshape, product_of(origin, TD_OP_mul, a, b, 3), &all);
}
PAIR(kron)

/* a1 b2 - a2 b1 and so on: by turned copies. */
td_tensor td_cross_at(td_origin origin, td_tensor a, td_tensor b, int64_t dim)
{
    SPEAKS_FOR("cross");
    const struct td_roll_attrs once = {.shifts = {1, {-1}}, .dims = {1, {dim}}};
    const struct td_roll_attrs twice = {.shifts = {1, {-2}}, .dims = {1, {dim}}};
    td_layout al = layout_of(origin, a), bl = layout_of(origin, b);
    int d = td_wrap_dim(dim, al.rank);
    if (healthy(origin, a) && healthy(origin, b)) {
        if (al.rank != bl.rank || !al.rank)
            return refuse_pair(origin, a, b, "cross", "as many dimensions are due, and not none");
        if (d < 0)
            return refuse_pair(origin, a, b, "cross", "the dimension does not exist");
        if (al.shape[d] != 3 || bl.shape[d] != 3)
            return refuse_pair(origin, a, b, "cross", "the dimension must have 3 elements in both");
    }
    bool uses_a = origin.consume & 1 && a.handle != b.handle;
    td_tensor a1 = product_apply(origin, false, TD_OP_roll, a, &once);
    td_tensor b1 = product_apply(origin, false, TD_OP_roll, b, &once);
    td_tensor a2 = product_apply(origin, uses_a, TD_OP_roll, a, &twice);
    td_tensor b2 = product_apply(origin, origin.consume & 2, TD_OP_roll, b, &twice);
    td_tensor plus = product_of(origin, TD_OP_mul, a1, b2, 3), minus = product_of(origin, TD_OP_mul, a2, b1, 3);
    return product_of(origin, TD_OP_sub, plus, minus, 3);
}
td_tensor(td_cross)(td_tensor a, td_tensor b, int64_t dim)
{
    return td_cross_at((td_origin){0}, a, b, dim);
}

/* ---- powers and determinants ---- */

static td_tensor identity_like(td_origin origin, td_tensor x, bool used_up)
{
    td_layout layout = layout_of(origin, x);
    struct td_eye_attrs eye = {
        .n = layout.shape[layout.rank - 1], .m = -1, .dtype = td_dtype_of_at((td_origin){origin.where, used_up}, x)};
    struct td_expand_attrs batch = {.shape.count = layout.rank};
    memcpy(batch.shape.v, layout.shape, sizeof batch.shape.v);
    td_tensor one = client_op(
        &(struct client_op){.id = TD_OP_eye, .origin = {origin.where, 0}, .session = x.session, .attrs = &eye});
    if (layout.rank == 2)
        return one;
    return product_apply(origin, true, TD_OP_clone, product_apply(origin, true, TD_OP_expand, one, &batch), NULL);
}

/* By squaring. */
td_tensor td_matrix_power_at(td_origin origin, td_tensor x, int64_t n)
{
    SPEAKS_FOR("matrix_power");
    td_layout layout = layout_of(origin, x);
    bool used_up = origin.consume & 1, has_power = false;
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    td_tensor power = {0};
    if (healthy(origin, x) && (layout.rank < 2 || layout.shape[layout.rank - 1] != layout.shape[layout.rank - 2])) {
        struct td_failure failure = {0};
        char text[TD_SHAPE_TEXT];
        td_fail(&failure, TD_E_SHAPE, "matrix_power: matrices of shape %s are not square",
                td_shape_text(layout.rank, layout.shape, text, sizeof text));
        td_tensor y = product_refuse(origin, x.session, "matrix_power", &failure);
        td_rank_at((td_origin){origin.where, used_up}, x);
        return y;
    }
    bool turned = healthy(origin, x) && n == 1 && !td_is_contiguous_at((td_origin){origin.where, 0}, x);
    if (!healthy(origin, x) || left == 1)
        return product_apply(origin, used_up,
                             n < 0    ? TD_OP_inverse
                             : turned ? TD_OP_contiguous /* a copy, row by row as all powers are */
                                      : TD_OP_clone,
                             x, NULL);
    if (left == 0)
        return identity_like(origin, x, used_up);
    if (n < 0) {
        x = product_apply(origin, used_up, TD_OP_inverse, x, NULL);
        used_up = true;
    }
    for (;; left >>= 1) {
        bool last = left == 1, take = left & 1;
        if (take && has_power)
            power = product_of(origin, TD_OP_matmul, power, x, 1 | (last && used_up ? 2u : 0));
        else if (take)
            power = last ? x : product_apply(origin, false, TD_OP_clone, x, NULL);
        has_power |= take;
        if (last)
            return power;
        td_tensor next = product_of(origin, TD_OP_matmul, x, x, used_up ? 3 : 0);
        x = next;
        used_up = true;
    }
}
td_tensor(td_matrix_power)(td_tensor x, int64_t n)
{
    return td_matrix_power_at((td_origin){0}, x, n);
}

td_tensor td_logdet_at(td_origin origin, td_tensor x)
{
    SPEAKS_FOR("logdet");
    const td_operand in = td_operand_of_tensor(x);
    td_tensor found[TD_OUTPUTS_MAX];
    client_ops(&(struct client_op){.id = TD_OP_slogdet, .origin = origin, .in = &in, .in_count = 1}, found);
    td_tensor negative = operands(origin, TD_OP_lt, td_operand_of_tensor(found[0]), td_operand_of_integer(0), 1);
    const td_operand chosen[] = {td_operand_of_tensor(negative), td_operand_of_real(NAN),
                                 td_operand_of_tensor(found[1])};
    return client_op(&(struct client_op){.id = TD_OP_where, .origin = {origin.where, 5}, .in = chosen, .in_count = 3});
}
td_tensor(td_logdet)(td_tensor x)
{
    return td_logdet_at((td_origin){0}, x);
}
