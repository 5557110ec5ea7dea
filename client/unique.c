/* unique and unique_consecutive of the slices along a dimension, made of ops. Slices are rows of a matrix here: each
 * column becomes the places of its elements among each other, then two columns in turn one of pairs, and so on, until a
 * single column tells how the rows are ordered. SPDX-License-Identifier: Apache-2.0 */
#include "client/unique.h"

#include "client/compose.h"

static struct part whole(int64_t value)
{
    return (struct part){td_operand_of_integer(value), false};
}

/* Columns or rows of x from start on, step apart; to its end but for the last ones. */
static struct part sliced(td_origin o, struct part x, int dim, int64_t start, int64_t end, int64_t step)
{
    return part_op(o, TD_OP_slice, &(struct td_slice_attrs){.dim = dim, .start = start, .end = end, .step = step}, 1,
                   &x);
}

static struct part shaped(td_origin o, struct part x, int rank, int64_t rows, int64_t columns)
{
    return part_reshape(o, x, rank, (int64_t[]){rows, columns});
}

/* Where a row begins that is not as the one before: bool, one for each row of differs and one more in front. */
static struct part begins(td_origin o, struct part differs, int64_t columns)
{
    const struct td_full_attrs first = {
        .shape = {2, {1, columns}}, .value = {.category = TD_INTEGER, .i = 1}, .dtype = TD_BOOL};
    struct part one = part_created(o, part_tensor(differs).session, TD_OP_full, &first);
    const uint16_t two = 2;
    return (struct part){
        td_operand_of_tensor(client_op(&(struct client_op){.id = TD_OP_cat,
                                                           .origin = {o.where, 3},
                                                           .in = (td_operand[]){one.operand, differs.operand},
                                                           .in_count = 2,
                                                           .list_counts = &two,
                                                           .attrs = &(struct td_cat_attrs){.dim = 0}})),
        true};
}

static struct part neighbours(td_origin o, struct part rows)
{
    struct part behind = sliced(o, part_kept(rows), 0, 1, INT64_MAX, 1);
    return part_two(o, TD_OP_ne, behind, sliced(o, rows, 0, 0, -1, 1));
}

/* Which run each row is in, from 0. */
static struct part numbered(td_origin o, struct part starts)
{
    struct part number = part_op(o, TD_OP_cumsum, &(struct td_cumsum_attrs){.dim = 0}, 1, &starts);
    return part_two(o, TD_OP_sub, number, whole(1));
}

static void release(struct part part)
{
    if (part.mine)
        td_release_at((td_origin){0}, part_tensor(part));
}

/* number, of what stood at order, where it stood. */
static struct part put_back(td_origin o, struct part order, struct part number)
{
    struct part places = part_op(o, TD_OP_scatter, &(struct td_scatter_attrs){.dim = 0}, 3,
                                 (struct part[]){part_kept(order), part_kept(order), number});
    release(order);
    return places;
}

/* Runs in one row: where the slices stood (none: where they stand), and where a run begins. */
struct runs {
    struct part order, starts;
};

static struct runs sorted(td_origin o, struct part columns, int64_t width)
{
    td_tensor found[TD_OUTPUTS_MAX];
    client_ops(&(struct client_op){.id = TD_OP_sort,
                                   .origin = {o.where, columns.mine},
                                   .in = &columns.operand,
                                   .in_count = 1,
                                   .attrs = &(struct td_sort_attrs){.dim = 0}},
               found);
    struct part values = {td_operand_of_tensor(found[0]), true}, order = {td_operand_of_tensor(found[1]), true};
    return (struct runs){order, begins(o, neighbours(o, values), width)};
}

static struct runs runs_of(td_origin o, struct part rows, int64_t count, int64_t width, bool consecutive)
{
    const struct td_any_attrs of_row = {.dims = {1, {1}}, .keepdim = true};
    struct runs runs = {0};
    if (consecutive) {
        struct part differs = neighbours(o, rows);
        runs.starts = begins(o, part_op(o, TD_OP_any, &of_row, 1, &differs), 1);
    }
    for (bool more = !consecutive; more;) {
        runs = sorted(o, rows, width);
        more = width > 1;
        if (!more)
            break;
        struct part places = put_back(o, runs.order, numbered(o, runs.starts));
        if (width % 2)
            places = part_op(o, TD_OP_pad, &(struct td_pad_attrs){.pads = {2, {0, 1}}}, 1, &places);
        rows = part_two(o, TD_OP_mul, sliced(o, part_kept(places), 1, 0, INT64_MAX, 2), whole(count));
        rows = part_two(o, TD_OP_add, rows, sliced(o, places, 1, 1, INT64_MAX, 2));
        width = (width + 1) / 2;
    }
    runs.starts = shaped(o, runs.starts, 1, count, 0);
    if (!consecutive)
        runs.order = shaped(o, runs.order, 1, count, 0);
    return runs;
}

/* How often each slice stands there. */
static td_tensor counted(td_origin o, struct part number, struct part starts, int64_t count)
{
    const struct td_full_attrs one = {
        .shape = {1, {count}}, .value = {.category = TD_INTEGER, .i = 1}, .dtype = TD_DTYPE_NONE};
    const struct td_count_nonzero_attrs all = {.dims.count = -1};
    struct part size = part_op(o, TD_OP_count_nonzero, &all, 1, (struct part[]){part_kept(starts)});
    struct part ones = part_created(o, part_tensor(number).session, TD_OP_full, &one);
    return part_tensor(part_op(o, TD_OP_bincount, NULL, 3, (struct part[]){part_kept(number), ones, size}));
}

/* What slices rows has, in their order. */
static struct part picked(td_origin o, struct part rows, const struct runs *runs, int64_t count)
{
    const struct td_arange_attrs numbers = {.end = {.category = TD_INTEGER, .i = count},
                                            .start.category = TD_INTEGER,
                                            .step = {.category = TD_INTEGER, .i = 1}};
    td_session *s = part_tensor(rows).session;
    struct part places = runs->order.mine ? part_kept(runs->order) : part_created(o, s, TD_OP_arange, &numbers);
    td_tensor first =
        td_masked_select_at((td_origin){o.where, places.mine}, part_tensor(places), part_tensor(runs->starts));
    return part_op(o, TD_OP_index_select, &(struct td_index_select_attrs){.dim = 0}, 2,
                   (struct part[]){rows, {td_operand_of_tensor(first), true}});
}

static td_tensor nothing(td_origin o, td_session *s)
{
    return part_tensor(part_created(o, s, TD_OP_zeros, &(struct td_zeros_attrs){.shape = {1, {0}}, .dtype = TD_I64}));
}

/* Slices along dim of x, of which there are some, with something in them. */
static td_tensor of_slices(td_origin o, struct part x, const td_layout *layout, int dim,
                           const struct td_unique_keywords *k, bool consecutive)
{
    const struct td_transpose_attrs front = {.dim0 = dim, .dim1 = 0};
    int64_t count = layout->shape[dim], width = 1;
    for (int d = 0; d < layout->rank; d++)
        width *= d == dim ? 1 : layout->shape[d];
    x = part_op(o, TD_OP_transpose, &front, 1, &x);
    struct part rows = part_one(o, TD_OP_detach, part_kept(x));
    struct runs runs = runs_of(o, shaped(o, rows, 2, count, width), count, width, consecutive);
    struct part values = picked(o, x, &runs, count);
    struct part number = numbered(o, part_kept(runs.starts));
    if (k->counts)
        *k->counts = counted(o, number, runs.starts, count);
    release(runs.starts);
    if (k->inverse)
        *k->inverse = part_tensor(consecutive ? number : put_back(o, runs.order, number));
    if (!k->inverse) {
        release(number);
        release(runs.order);
    }
    return part_tensor(part_op(o, TD_OP_transpose, &front, 1, &values));
}

td_tensor unique_slices(td_origin o, td_tensor x, const struct td_unique_keywords *k, bool consecutive)
{
    const char *name = client_speaker("unique");
    td_layout layout = part_layout(o, part_keyword(x));
    int dim = td_wrap_dim(k->dim, layout.rank), empty = 0;
    struct td_failure failure = {0};
    if (!td_ok_at((td_origin){o.where, 0}, x))
        return part_tensor(part_one(o, TD_OP_clone, part_given(o, 0, x))); /* which fails of the same */
    if (dim < 0) {
        td_fail(&failure, TD_E_INDEX, "%s: dimension %lld does not exist in a tensor of %d dimensions", name,
                (long long)k->dim, layout.rank);
        return part_used(o, 1, &x, part_refuse(o, x.session, name, &failure));
    }
    for (int d = 0; d < layout.rank; d++)
        empty += layout.shape[d] == 0;
    if (empty > (layout.shape[dim] == 0))
        return part_used(o, 1, &x, part_refuse_shape(o, x, name, &layout, "has slices without elements"));
    if (!empty)
        return of_slices(o, part_given(o, 0, x), &layout, dim, k, consecutive);
    if (k->inverse)
        *k->inverse = nothing(o, x.session);
    if (k->counts)
        *k->counts = nothing(o, x.session);
    return part_tensor(part_one(o, TD_OP_clone, part_given(o, 0, x)));
}
