/* Functions whose results are as large as their data say: the size is computed by ops before the one that takes it, and
 * nobody waits. SPDX-License-Identifier: Apache-2.0 */
#include "client/unique.h"

#include <math.h>

/* A call of op on tensors; bit k of used_up: the k-th is used up. */
static td_tensor call(td_origin origin, uint32_t used_up, enum td_op_id id, const void *attrs, int count,
                      const td_operand *in)
{
    return client_op(&(struct client_op){
        .id = (uint16_t)id, .origin = {origin.where, used_up}, .in = in, .in_count = count, .attrs = attrs});
}

static td_tensor unary(td_origin origin, uint32_t used_up, enum td_op_id id, td_tensor x, const void *attrs)
{
    return call(origin, used_up, id, attrs, 1, (td_operand[]){td_operand_of_tensor(x)});
}

static td_tensor binary(td_origin origin, uint32_t used_up, enum td_op_id id, td_tensor a, td_tensor b)
{
    return call(origin, used_up, id, NULL, 2, (td_operand[]){td_operand_of_tensor(a), td_operand_of_tensor(b)});
}

static td_tensor to(td_origin origin, uint32_t used_up, td_tensor x, enum td_dtype dtype)
{
    return unary(origin, used_up, TD_OP_to, x, &(struct td_to_attrs){.dtype = dtype});
}

static td_tensor slice(td_origin origin, td_tensor x, int64_t start, int64_t end)
{
    return unary(origin, 0, TD_OP_slice, x, &(struct td_slice_attrs){.dim = 0, .start = start, .end = end, .step = 1});
}

/* How many elements are not 0: a SIZE. */
static td_tensor count_of(td_origin origin, uint32_t used_up, td_tensor x)
{
    return unary(origin, used_up, TD_OP_count_nonzero, x, &(struct td_count_nonzero_attrs){.dims.count = -1});
}

static void release_of(td_tensor x)
{
    session_enter(x.session);
    if (handles_find(x.session, x))
        request_release(x.session, x.handle);
    session_leave(x.session);
}

/* true for each element of x. */
static td_tensor truths(td_origin origin, td_tensor x)
{
    return binary(origin, 3, TD_OP_logical_or, binary(origin, 0, TD_OP_eq, x, x), binary(origin, 0, TD_OP_ne, x, x));
}

td_tensor td_nonzero_at(td_origin origin, td_tensor x)
{
    SPEAKS_FOR("nonzero");
    return binary(origin, (origin.consume & 1) | 2, TD_OP_nonzero, x, count_of(origin, 0, x));
}

int td_nonzero_tuple_at(td_origin origin, td_tensor x, td_tensor *parts)
{
    SPEAKS_FOR("nonzero_tuple");
    int rank = td_rank_at((td_origin){origin.where, 0}, x);
    if (rank == 0) {
        x = unary(origin, origin.consume, TD_OP_unsqueeze, x, &(struct td_unsqueeze_attrs){0});
        origin.consume = 1;
        rank = 1;
    }
    td_tensor places = td_nonzero_at(origin, x);
    for (int k = 0; k < rank; k++)
        parts[k] = unary(origin, k == rank - 1, TD_OP_select, places, &(struct td_select_attrs){.dim = 1, .index = k});
    return rank;
}

/* mask as it is broadcast with x: as many trues as there will be elements. */
static td_tensor seen_mask(td_origin origin, td_tensor x, td_tensor mask)
{
    struct td_expand_attrs both = {0};
    int rank = 0;
    session_enter(x.session);
    const struct entry *a = handles_find(x.session, x), *b = handles_find(x.session, mask);
    bool unknown = a && b && (a->flags | b->flags) & ENTRY_UNKNOWN;
    bool fit = a && b && td_broadcast(a->meta.rank, a->meta.shape, b->meta.rank, b->meta.shape, &rank, both.shape.v);
    bool same = a && b && td_meta_same_shape(&a->meta, &b->meta);
    session_leave(x.session);
    both.shape.count = rank;
    if (unknown)
        return binary(origin, 2, TD_OP_logical_and, mask, truths(origin, x));
    if (same || !fit) /* what does not fit masked_select refuses itself */
        return unary(origin, 0, TD_OP_detach, mask, NULL);
    return unary(origin, 0, TD_OP_expand, mask, &both);
}

td_tensor td_masked_select_at(td_origin origin, td_tensor x, td_tensor mask)
{
    SPEAKS_FOR("masked_select");
    if (!x.session)
        return x;
    td_tensor count = count_of(origin, 1, seen_mask(origin, x, mask));
    return call(origin, (origin.consume & 3) | 4, TD_OP_masked_select, NULL, 3,
                (td_operand[]){td_operand_of_tensor(x), td_operand_of_tensor(mask), td_operand_of_tensor(count)});
}

/* ---- bincount ---- */

static td_tensor refused(td_origin origin, td_tensor x, const char *name, int code, const char *what)
{
    struct td_failure failure = {0};
    struct entry *e = query_begin(origin, x, name, true);
    if (!e)
        return unary(origin, origin.consume & 1, TD_OP_clone, x, NULL);
    td_fail(&failure, code, "%s: %s", name, what);
    td_tensor failed = handles_failed(x.session, error_make(x.session, &failure, name, origin));
    query_end(origin, x);
    return failed;
}

/* weights for each of places, in size places. */
static td_tensor tally(td_origin origin, uint32_t used_up, td_tensor places, td_tensor weights, td_tensor size)
{
    return call(
        origin, used_up, TD_OP_bincount, NULL, 3,
        (td_operand[]){td_operand_of_tensor(places), td_operand_of_tensor(weights), td_operand_of_tensor(size)});
}

/* 1 for each element of x. */
static td_tensor ones(td_origin origin, td_tensor x)
{
    return to(origin, 1, truths(origin, x), TD_I64);
}

td_tensor td_bincount_at(td_origin origin, td_tensor x, const struct td_bincount_keywords *keywords)
{
    SPEAKS_FOR("bincount");
    static const struct td_bincount_keywords none = {0};
    keywords = keywords ? keywords : &none;
    td_origin here = {origin.where, 0};
    enum td_dtype dtype = td_dtype_of_at(here, x);
    td_tensor weights = keywords->weights;
    if (keywords->minlength < 0)
        return refused(origin, x, "bincount", TD_E_ARGUMENT, "minlength is less than 0");
    if (!td_ok_at(here, x) || td_rank_at(here, x) != 1 || !(td_dtype_known(dtype) && TD_MASK(dtype) & TD_WHOLES) ||
        dtype == TD_BOOL)
        return refused(origin, x, "bincount", TD_E_ARGUMENT, "integers in one dimension are due");
    x = dtype == TD_I64 ? unary(here, origin.consume & 1, TD_OP_detach, x, NULL)
                        : to(here, origin.consume & 1, x, TD_I64);
    /* The greatest of them all and of minlength - 1, so that there always is one. */
    const struct td_full_attrs least = {.shape = {1, {1}},
                                        .value = {.category = TD_INTEGER, .i = keywords->minlength - 1}};
    td_tensor last =
        client_op(&(struct client_op){.id = TD_OP_full, .origin = here, .session = x.session, .attrs = &least});
    const uint16_t two = 2;
    td_tensor all =
        client_op(&(struct client_op){.id = TD_OP_cat,
                                      .origin = {origin.where, 2},
                                      .in = (td_operand[]){td_operand_of_tensor(x), td_operand_of_tensor(last)},
                                      .in_count = 2,
                                      .list_counts = &two,
                                      .attrs = &(struct td_cat_attrs){.dim = 0}});
    td_tensor top = unary(here, 1, TD_OP_max, all, &(struct td_max_attrs){.dims.count = -1});
    td_tensor size =
        call(here, 1, TD_OP_add, NULL, 2, (td_operand[]){td_operand_of_tensor(top), td_operand_of_integer(1)});
    if (!weights.session)
        return tally(here, 7, x, ones(here, x), size);
    enum td_dtype kind = td_dtype_of_at(here, weights);
    return tally(here, 7, x, to(here, 0, weights, kind == TD_F32 ? TD_F32 : TD_F64), size);
}

/* ---- unique ---- */

/* Which elements of a row differ from the one before; the first one does. */
static td_tensor firsts(td_origin origin, td_tensor row)
{
    const uint16_t two = 2;
    td_tensor head = slice(origin, row, 0, 1), before = slice(origin, row, 0, -1),
              behind = slice(origin, row, 1, INT64_MAX);
    td_tensor truth = truths(origin, head);
    release_of(head);
    return client_op(
        &(struct client_op){.id = TD_OP_cat,
                            .origin = {origin.where, 3},
                            .in = (td_operand[]){td_operand_of_tensor(truth),
                                                 td_operand_of_tensor(binary(origin, 3, TD_OP_ne, behind, before))},
                            .in_count = 2,
                            .list_counts = &two,
                            .attrs = &(struct td_cat_attrs){.dim = 0}});
}

/* x's shape, of which inverse has the elements. */
static td_tensor shaped_as(td_origin origin, td_tensor inverse, td_tensor x)
{
    if (td_rank_at(origin, x) == 1)
        return inverse;
    td_layout layout = td_layout_of_at(origin, x);
    struct td_reshape_attrs same = {.shape.count = layout.rank};
    for (int d = 0; d < layout.rank; d++)
        same.shape.v[d] = layout.shape[d];
    return unary(origin, 1, TD_OP_reshape, inverse, &same);
}

/* The runs of equal elements of row, which is used up; order: where its elements stood in x, used up, too. */
static td_tensor unique(td_origin origin, td_tensor x, td_tensor row, td_tensor order,
                        const struct td_unique_keywords *keywords)
{
    td_tensor mask = firsts(origin, row);
    td_tensor values = td_masked_select_at((td_origin){origin.where, 1}, row, mask);
    td_tensor numbers =
        unary(origin, 1, TD_OP_cumsum, to(origin, 0, mask, TD_I64), &(struct td_cumsum_attrs){.dim = 0});
    td_tensor places =
        call(origin, 1, TD_OP_sub, NULL, 2, (td_operand[]){td_operand_of_tensor(numbers), td_operand_of_integer(1)});
    if (keywords->counts)
        *keywords->counts = tally(origin, 6, places, ones(origin, places), count_of(origin, 0, mask));
    if (keywords->inverse && order.session)
        *keywords->inverse = shaped_as(origin,
                                       call(origin, 0, TD_OP_scatter, &(struct td_scatter_attrs){.dim = 0}, 3,
                                            (td_operand[]){td_operand_of_tensor(order), td_operand_of_tensor(order),
                                                           td_operand_of_tensor(places)}),
                                       x);
    else if (keywords->inverse)
        *keywords->inverse = shaped_as(origin, unary(origin, 0, TD_OP_clone, places, NULL), x);
    release_of(places);
    release_of(mask);
    if (order.session)
        release_of(order);
    return values;
}

static td_tensor flat(td_origin origin, td_tensor x)
{
    return unary(origin, 0, TD_OP_reshape, x, &(struct td_reshape_attrs){.shape = {1, {-1}}});
}

td_tensor td_unique_at(td_origin origin, td_tensor x, const struct td_unique_keywords *keywords)
{
    SPEAKS_FOR("unique");
    static const struct td_unique_keywords none = {.dim = INT64_MIN};
    td_origin here = {origin.where, 0};
    if (keywords && keywords->dim != INT64_MIN)
        return unique_slices(origin, x, keywords, false);
    td_tensor sorted[TD_OUTPUTS_MAX], row = flat(here, x);
    client_ops(&(struct client_op){.id = TD_OP_sort,
                                   .origin = {origin.where, 1},
                                   .in = (td_operand[]){td_operand_of_tensor(row)},
                                   .in_count = 1,
                                   .attrs = &(struct td_sort_attrs){.dim = 0}},
               sorted);
    td_tensor values = unique(here, x, sorted[0], sorted[1], keywords ? keywords : &none);
    td_ok_at(origin, x); /* used up, if it is */
    return values;
}

td_tensor td_unique_consecutive_at(td_origin origin, td_tensor x, const struct td_unique_keywords *keywords)
{
    SPEAKS_FOR("unique_consecutive");
    static const struct td_unique_keywords none = {.dim = INT64_MIN};
    td_origin here = {origin.where, 0};
    if (keywords && keywords->dim != INT64_MIN)
        return unique_slices(origin, x, keywords, true);
    td_tensor values = unique(here, x, flat(here, x), (td_tensor){0}, keywords ? keywords : &none);
    td_ok_at(origin, x); /* used up, if it is */
    return values;
}

/* ---- repeat_interleave by a tensor ---- */

/* Whether the call cannot be, and why. */
static bool refuses_repeats(td_origin origin, td_tensor x, td_tensor repeats, int64_t dim, struct td_failure *failure)
{
    td_origin here = {origin.where, 0};
    if (!td_ok_at(here, x) || !td_ok_at(here, repeats))
        return false;
    td_layout of_x = td_layout_of_at(here, x), of_repeats = td_layout_of_at(here, repeats);
    enum td_dtype dtype = td_dtype_of_at(here, repeats);
    int d = dim == INT64_MIN ? 0 : of_x.rank ? td_wrap_dim(dim, of_x.rank) : -1;
    int64_t size = dim == INT64_MIN ? td_numel_at(here, x) : d < 0 ? 0 : of_x.shape[d];
    char text[TD_SHAPE_TEXT];
    if (dtype != TD_I64 && dtype != TD_I32)
        td_fail(failure, TD_E_DTYPE, "repeat_interleave: repeats are %s where i64 or i32 is due", td_dtype_name(dtype));
    else if (d < 0)
        td_fail(failure, TD_E_INDEX, "repeat_interleave: dimension %lld does not exist in a tensor of %d dimensions",
                (long long)dim, of_x.rank);
    else if (of_repeats.rank > 1 || (of_repeats.rank && of_repeats.shape[0] != 1 && of_repeats.shape[0] != size))
        td_fail(failure, TD_E_SHAPE, "repeat_interleave: repeats of shape %s for %lld slices",
                td_shape_text(of_repeats.rank, of_repeats.shape, text, sizeof text), (long long)size);
    return failure->code;
}

/* repeats as i64, one for each of count slices. None is below 0: such a one is refused as an index into a single 0,
 * which is added to it. */
static td_tensor counts_of(td_origin origin, td_tensor repeats, int64_t count)
{
    td_origin here = {origin.where, 0};
    const struct td_zeros_attrs single = {.shape = {1, {1}}, .dtype = TD_I64};
    td_tensor counts =
        unary(here, 1, TD_OP_expand, to(here, 0, repeats, TD_I64), &(struct td_expand_attrs){.shape = {1, {count}}});
    td_tensor index = unary(here, 0, TD_OP_clamp, counts, &(struct td_clamp_attrs){.min = -INFINITY, .max = 0});
    td_tensor zero =
        client_op(&(struct client_op){.id = TD_OP_zeros, .origin = here, .session = repeats.session, .attrs = &single});
    zero = call(here, 3, TD_OP_index_select, &(struct td_index_select_attrs){.dim = 0}, 2,
                (td_operand[]){td_operand_of_tensor(zero), td_operand_of_tensor(index)});
    return binary(here, 3, TD_OP_add, counts, zero);
}

/* Which slice stands at each place of the result: how many of the others have begun there or before. The last place is
 * one too many, for those that begin behind it. */
static td_tensor places_of(td_origin origin, td_tensor counts)
{
    td_origin here = {origin.where, 0};
    const struct td_cumsum_attrs along = {.dim = 0};
    td_tensor total = unary(here, 0, TD_OP_sum, counts, &(struct td_sum_attrs){.dims.count = -1});
    td_tensor size =
        call(here, 1, TD_OP_add, NULL, 2, (td_operand[]){td_operand_of_tensor(total), td_operand_of_integer(1)});
    td_tensor ends = unary(here, 1, TD_OP_cumsum, counts, &along), starts = slice(here, ends, 0, -1);
    release_of(ends);
    td_tensor begun = tally(here, 7, starts, ones(here, starts), size);
    td_tensor places = unary(here, 1, TD_OP_cumsum, begun, &along), all = slice(here, places, 0, -1);
    release_of(places);
    return all;
}

td_tensor td_repeat_interleave_each_at(td_origin origin, td_tensor x, td_tensor repeats,
                                       const struct td_repeat_interleave_keywords *keywords)
{
    SPEAKS_FOR("repeat_interleave");
    td_origin here = {origin.where, 0};
    int64_t dim = keywords ? keywords->dim : INT64_MIN;
    struct td_failure failure = {0};
    td_tensor y;
    if (refuses_repeats(origin, x, repeats, dim, &failure)) {
        session_enter(x.session);
        y = handles_failed(x.session, error_make(x.session, &failure, "repeat_interleave", origin));
        session_leave(x.session);
    } else if (!td_ok_at(here, x) || !td_ok_at(here, repeats)) {
        y = binary(here, 0, TD_OP_mul, x, repeats); /* which fails of the same */
    } else {
        td_layout layout = td_layout_of_at(here, x);
        bool row = dim == INT64_MIN;
        int64_t count = row ? td_numel_at(here, x) : layout.shape[td_wrap_dim(dim, layout.rank)];
        td_tensor places = places_of(here, counts_of(here, repeats, count));
        y = call(here, row ? 3 : 2, TD_OP_index_select, &(struct td_index_select_attrs){.dim = row ? 0 : dim}, 2,
                 (td_operand[]){td_operand_of_tensor(row ? flat(here, x) : x), td_operand_of_tensor(places)});
    }
    if (consumes(origin, x, 0))
        release_of(x);
    if (consumes(origin, repeats, 1))
        release_of(repeats);
    return y;
}

/* ---- the functions behind the macros ---- */

td_tensor(td_nonzero)(td_tensor x)
{
    return td_nonzero_at((td_origin){0}, x);
}
int(td_nonzero_tuple)(td_tensor x, td_tensor *parts)
{
    return td_nonzero_tuple_at((td_origin){0}, x, parts);
}
td_tensor(td_masked_select)(td_tensor x, td_tensor mask)
{
    return td_masked_select_at((td_origin){0}, x, mask);
}
td_tensor(td_bincount)(td_tensor x, const struct td_bincount_keywords *keywords)
{
    return td_bincount_at((td_origin){0}, x, keywords);
}
td_tensor(td_unique)(td_tensor x, const struct td_unique_keywords *keywords)
{
    return td_unique_at((td_origin){0}, x, keywords);
}
td_tensor(td_unique_consecutive)(td_tensor x, const struct td_unique_keywords *keywords)
{
    return td_unique_consecutive_at((td_origin){0}, x, keywords);
}
td_tensor(td_repeat_interleave_each)(td_tensor x, td_tensor repeats,
                                     const struct td_repeat_interleave_keywords *keywords)
{
    return td_repeat_interleave_each_at((td_origin){0}, x, repeats, keywords);
}
