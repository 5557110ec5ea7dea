/* Functions made of a few ops: elements by index, parts put into a copy, lists. SPDX-License-Identifier: Apache-2.0 */
#include "client/chain.h"

#include <string.h>

#define CHAIN(called, x)                                         \
    {                                                            \
        .name = called, .origin = origin, .session = (x).session \
    }

/* ---- elements by index ---- */

td_tensor td_bucketize_at(td_origin origin, td_tensor x, td_tensor boundaries,
                          const struct td_bucketize_keywords *keywords)
{
    const struct chain c = CHAIN("bucketize", x);
    const struct td_searchsorted_attrs attrs = {.right = keywords && keywords->right};
    td_layout row = chain_layout(&c, boundaries);
    struct td_failure failure = {0};
    char text[TD_SHAPE_TEXT];
    td_tensor y;
    if (row.rank != 1 && td_ok_at((td_origin){origin.where, 0}, boundaries)) {
        td_fail(&failure, TD_E_SHAPE, "bucketize: the boundaries have shape %s where one dimension is due",
                td_shape_text(row.rank, row.shape, text, sizeof text));
        y = chain_refuse(&c, &failure);
    } else {
        y = chain_step(&c, TD_OP_searchsorted, &attrs, 2, (td_operand[]){lasting(boundaries), lasting(x)});
    }
    return chain_end(&c, y, 2, (td_tensor[]){x, boundaries});
}

static td_tensor shaped(const struct chain *c, td_operand x, int rank, const int64_t *shape)
{
    struct td_reshape_attrs attrs = {.shape.count = rank};
    memcpy(attrs.shape.v, shape, (size_t)rank * sizeof *shape);
    return chain_step(c, TD_OP_reshape, &attrs, 1, &x);
}
static td_tensor as_row(const struct chain *c, td_operand x)
{
    return shaped(c, x, 1, (int64_t[]){-1});
}

/* index as one row, counted from the start of size elements. */
static td_tensor from_start(const struct chain *c, td_tensor index, int64_t size)
{
    td_tensor row = as_row(c, lasting(index));
    td_tensor below = chain_binary(c, TD_OP_lt, lasting(row), td_operand_of_integer(0));
    td_tensor added = chain_binary(c, TD_OP_add, lasting(row), td_operand_of_integer(size));
    return chain_where(c, below, passing(added), passing(row));
}

static int64_t numel_of(const td_layout *layout)
{
    int64_t count = 1;
    for (int d = 0; d < layout->rank; d++)
        count *= layout->shape[d];
    return count;
}

td_tensor td_take_flat_at(td_origin origin, td_tensor x, td_tensor index)
{
    const struct chain c = CHAIN("take_flat", x);
    const struct td_index_select_attrs first = {.dim = 0};
    td_layout of_x = chain_layout(&c, x), of_index = chain_layout(&c, index);
    td_tensor at = from_start(&c, index, numel_of(&of_x));
    td_tensor y =
        chain_step(&c, TD_OP_index_select, &first, 2, (td_operand[]){passing(as_row(&c, lasting(x))), passing(at)});
    y = shaped(&c, passing(y), of_index.rank, of_index.shape);
    return chain_end(&c, y, 2, (td_tensor[]){x, index});
}

/* y, which is contiguous, with the strides of x's clone. */
static td_tensor laid_as(const struct chain *c, td_tensor y, td_tensor x)
{
    if (!td_ok_at((td_origin){c->origin.where, 0}, x) || td_is_contiguous_at((td_origin){c->origin.where, 0}, x))
        return y;
    td_tensor z = chain_step(c, TD_OP_full_like, &(struct td_full_like_attrs){0}, 2,
                             (td_operand[]){lasting(x), td_operand_of_integer(0)});
    chain_binary(c, TD_OP_copy_, lasting(z), passing(y));
    return z;
}

static td_tensor put(const struct chain *c, td_tensor x, td_tensor index, td_tensor source,
                     const struct td_put_keywords *keywords)
{
    const struct td_scatter_attrs first = {.dim = 0};
    td_layout of_x = chain_layout(c, x), of_index = chain_layout(c, index), of_source = chain_layout(c, source);
    td_origin here = {c->origin.where, 0};
    struct td_failure failure = {0};
    if (numel_of(&of_index) != numel_of(&of_source) && td_ok_at(here, index) && td_ok_at(here, source)) {
        td_fail(&failure, TD_E_SHAPE, "%s: a source of %lld elements for an index of %lld", c->name,
                (long long)numel_of(&of_source), (long long)numel_of(&of_index));
        return chain_refuse(c, &failure);
    }
    td_tensor at = from_start(c, index, numel_of(&of_x)), row = as_row(c, lasting(x)),
              brought = as_row(c, lasting(source));
    td_tensor y = chain_step(c, keywords && keywords->accumulate ? TD_OP_scatter_add : TD_OP_scatter, &first, 3,
                             (td_operand[]){passing(row), passing(at), passing(brought)});
    return laid_as(c, shaped(c, passing(y), of_x.rank, of_x.shape), x);
}

td_tensor td_put_at(td_origin origin, td_tensor x, td_tensor index, td_tensor source,
                    const struct td_put_keywords *keywords)
{
    const struct chain c = CHAIN("put", x);
    return chain_end(&c, put(&c, x, index, source, keywords), 3, (td_tensor[]){x, index, source});
}

td_tensor td_put__at(td_origin origin, td_tensor x, td_tensor index, td_tensor source,
                     const struct td_put_keywords *keywords)
{
    const struct chain c = CHAIN("put_", x);
    chain_binary(&c, TD_OP_copy_, lasting(x), passing(put(&c, x, index, source, keywords)));
    chain_used(&c, index, 1);
    chain_used(&c, source, 2);
    return chain_target(&c, x);
}

/* scatter_reduce, of whole slices: index names one for each of those of source. */
static td_tensor reduced_by_index(const struct chain *c, td_tensor x, int64_t dim, td_tensor index, td_tensor source,
                                  int64_t reduce, const struct td_scatter_reduce_keywords *keywords)
{
    td_layout of_source = chain_layout(c, source), of_x = chain_layout(c, x), of_index = chain_layout(c, index);
    int along = td_wrap_dim(dim, of_x.rank);
    bool fits = of_source.rank == of_x.rank && of_index.rank <= 1 && along >= 0;
    struct td_expand_attrs all = {.shape.count = of_source.rank};
    struct td_failure failure = {0};
    td_origin here = {c->origin.where, 0};
    int64_t line[TD_RANK_MAX];
    for (int d = 0; d < of_source.rank && fits; d++) {
        fits = of_source.shape[d] == (d == along ? numel_of(&of_index) : of_x.shape[d]);
        line[d] = d == along ? of_source.shape[d] : 1;
        all.shape.v[d] = of_source.shape[d];
    }
    if (!fits && td_ok_at(here, x) && td_ok_at(here, index) && td_ok_at(here, source)) {
        char st[TD_SHAPE_TEXT], xt[TD_SHAPE_TEXT], it[TD_SHAPE_TEXT];
        td_fail(&failure, TD_E_SHAPE,
                "%s: a source of shape %s does not fit into %s along dimension %lld by an index of %s", c->name,
                td_shape_text(of_source.rank, of_source.shape, st, sizeof st),
                td_shape_text(of_x.rank, of_x.shape, xt, sizeof xt), (long long)dim,
                td_shape_text(of_index.rank, of_index.shape, it, sizeof it));
        return chain_refuse(c, &failure);
    }
    const struct td_scatter_reduce_attrs attrs = {
        .dim = dim, .reduce = reduce, .include_self = keywords ? keywords->include_self : 1};
    td_tensor places = shaped(c, lasting(index), of_source.rank, line);
    places = chain_step(c, TD_OP_expand, &all, 1, (td_operand[]){passing(places)});
    return chain_step(c, TD_OP_scatter_reduce, &attrs, 3, (td_operand[]){lasting(x), passing(places), lasting(source)});
}

td_tensor td_index_reduce_at(td_origin origin, td_tensor x, int64_t dim, td_tensor index, td_tensor source,
                             int64_t reduce, const struct td_scatter_reduce_keywords *keywords)
{
    const struct chain c = CHAIN("index_reduce", x);
    return chain_end(&c, reduced_by_index(&c, x, dim, index, source, reduce, keywords), 3,
                     (td_tensor[]){x, index, source});
}

td_tensor td_index_reduce__at(td_origin origin, td_tensor x, int64_t dim, td_tensor index, td_tensor source,
                              int64_t reduce, const struct td_scatter_reduce_keywords *keywords)
{
    const struct chain c = CHAIN("index_reduce_", x);
    td_tensor y = reduced_by_index(&c, x, dim, index, source, reduce, keywords);
    chain_used(&c, index, 1);
    chain_used(&c, source, 2);
    return chain_write(&c, x, y);
}

td_tensor(td_index_reduce)(td_tensor x, int64_t dim, td_tensor index, td_tensor source, int64_t reduce,
                           const struct td_scatter_reduce_keywords *keywords)
{
    return td_index_reduce_at((td_origin){0}, x, dim, index, source, reduce, keywords);
}

td_tensor(td_index_reduce_)(td_tensor x, int64_t dim, td_tensor index, td_tensor source, int64_t reduce,
                            const struct td_scatter_reduce_keywords *keywords)
{
    return td_index_reduce__at((td_origin){0}, x, dim, index, source, reduce, keywords);
}

static td_tensor gathered(const struct chain *c, int64_t dim, td_tensor x, td_tensor index)
{
    const struct td_gather_attrs along = {.dim = dim};
    return chain_step(c, TD_OP_gather, &along, 2, (td_operand[]){passing(x), passing(index)});
}

td_tensor td_take_along_dim_at(td_origin origin, td_tensor x, td_tensor index,
                               const struct td_take_along_dim_keywords *keywords)
{
    const struct chain c = CHAIN("take_along_dim", x);
    int64_t dim = keywords ? keywords->dim : INT64_MIN;
    td_layout of_x = chain_layout(&c, x), of_index = chain_layout(&c, index);
    td_origin here = {origin.where, 0};
    td_tensor y;
    if (dim == INT64_MIN) {
        y = gathered(&c, 0, as_row(&c, lasting(x)), as_row(&c, lasting(index)));
    } else if (of_x.rank != of_index.rank && td_ok_at(here, x) && td_ok_at(here, index)) {
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_SHAPE, "take_along_dim: an index of %d dimensions for a tensor of %d", of_index.rank,
                of_x.rank);
        y = chain_refuse(&c, &failure);
    } else {
        struct td_expand_attrs x_to = {.shape.count = of_x.rank}, index_to = {.shape.count = of_index.rank};
        int along = td_wrap_dim(dim, of_x.rank);
        for (int d = 0; d < of_x.rank && d < of_index.rank; d++) {
            int64_t size = of_x.shape[d] == 1 ? of_index.shape[d] : of_x.shape[d];
            x_to.shape.v[d] = d == along ? of_x.shape[d] : size;
            index_to.shape.v[d] = d == along ? of_index.shape[d] : size;
        }
        td_tensor from = chain_step(&c, TD_OP_expand, &x_to, 1, (td_operand[]){lasting(x)});
        td_tensor at = chain_step(&c, TD_OP_expand, &index_to, 1, (td_operand[]){lasting(index)});
        y = gathered(&c, dim, from, at);
    }
    return chain_end(&c, y, 2, (td_tensor[]){x, index});
}

/* ---- parts put into a copy ---- */

/* Where the view looks in a contiguous x. */
static int find_window(const struct chain *c, enum td_op_id view, const void *attrs, td_tensor x,
                       struct td_strided_write_attrs *window, struct td_failure *failure)
{
    td_layout layout = chain_layout(c, x);
    struct td_meta whole = {.dtype = (uint8_t)td_dtype_of_at((td_origin){c->origin.where, 0}, x)};
    struct td_op named = *td_op_of(view);
    named.name = c->name;
    whole.rank = (uint8_t)layout.rank;
    memcpy(whole.shape, layout.shape, sizeof whole.shape);
    td_contiguous_strides(whole.rank, whole.shape, whole.stride);
    struct td_inference seen = {.op = &named, .in = &whole, .in_count = 1, .attrs = attrs, .failure = failure};
    int failed = td_infer(&seen);
    if (failed)
        return failed;
    *window = (struct td_strided_write_attrs){.offset = seen.out[0].offset};
    window->shape.count = window->stride.count = seen.out[0].rank;
    memcpy(window->shape.v, seen.out[0].shape, sizeof window->shape.v);
    memcpy(window->stride.v, seen.out[0].stride, sizeof window->stride.v);
    return TD_E_OK;
}

static td_tensor put_part(const struct chain *c, enum td_op_id view, const void *attrs, td_tensor x, td_tensor source)
{
    struct td_failure failure = {0};
    struct td_strided_write_attrs window = {0};
    td_origin here = {c->origin.where, 0};
    td_layout given = chain_layout(c, source);
    char gt[TD_SHAPE_TEXT], wt[TD_SHAPE_TEXT];
    bool known = td_ok_at(here, x) && td_ok_at(here, source);
    if (known && find_window(c, view, attrs, x, &window, &failure) == TD_E_OK) {
        bool fits = given.rank == window.shape.count;
        for (int d = 0; fits && d < given.rank; d++)
            fits = given.shape[d] == window.shape.v[d];
        if (!fits)
            td_fail(&failure, TD_E_SHAPE, "%s: a source of shape %s for a part of shape %s", c->name,
                    td_shape_text(given.rank, given.shape, gt, sizeof gt),
                    td_shape_text((int)window.shape.count, window.shape.v, wt, sizeof wt));
    }
    const struct td_to_attrs own = {.dtype = td_dtype_of_at(here, x)};
    td_operand part = lasting(source);
    if (known && own.dtype != td_dtype_of_at(here, source))
        part = passing(chain_step(c, TD_OP_to, &own, 1, &part));
    td_tensor y = failure.code ? chain_refuse(c, &failure)
                               : chain_step(c, TD_OP_strided_write, &window, 2, (td_operand[]){lasting(x), part});
    return chain_end(c, failure.code ? y : laid_as(c, y, x), 2, (td_tensor[]){x, source});
}

td_tensor td_select_scatter_at(td_origin origin, td_tensor x, td_tensor source, int64_t dim, int64_t index)
{
    const struct chain c = CHAIN("select_scatter", x);
    const struct td_select_attrs attrs = {.dim = dim, .index = index};
    return put_part(&c, TD_OP_select, &attrs, x, source);
}

td_tensor td_slice_scatter_at(td_origin origin, td_tensor x, td_tensor source, int64_t dim,
                              const struct td_slice_keywords *k)
{
    const struct chain c = CHAIN("slice_scatter", x);
    const struct td_slice_attrs attrs = {
        .dim = dim, .start = k ? k->start : 0, .end = k ? k->end : INT64_MAX, .step = k ? k->step : 1};
    return put_part(&c, TD_OP_slice, &attrs, x, source);
}

td_tensor td_diagonal_scatter_at(td_origin origin, td_tensor x, td_tensor source, const struct td_diagonal_keywords *k)
{
    const struct chain c = CHAIN("diagonal_scatter", x);
    const struct td_diagonal_attrs attrs = {
        .offset = k ? k->offset : 0, .dim0 = k ? k->dim0 : 0, .dim1 = k ? k->dim1 : 1};
    return put_part(&c, TD_OP_diagonal, &attrs, x, source);
}

/* ---- lists ---- */

static td_session *session_of(td_list list)
{
    for (int64_t k = 0; k < list.count && k < TD_LIST_MAX; k++)
        if (list.items[k].session)
            return list.items[k].session;
    return NULL;
}

static void list_used(const td_list *list)
{
    bool calls[TD_LIST_MAX];
    if (list->count > 0 && list->count <= TD_LIST_MAX)
        list_calls(list, calls);
    for (int64_t k = 0; k < list->count && list->count <= TD_LIST_MAX; k++)
        if (calls[k] && list->items[k].generation & FRESH)
            chain_drop(list->items[k]);
}

/* x with least dimensions. */
static td_tensor with_dims(const struct chain *c, td_tensor x, int least)
{
    td_layout layout = chain_layout(c, x);
    int64_t n = layout.shape[0], m = layout.shape[1];
    if (layout.rank == 0)
        return shaped(c, lasting(x), least, (int64_t[]){1, 1, 1});
    if (layout.rank == 1 && least > 1)
        return shaped(c, lasting(x), least, (int64_t[]){1, n, 1});
    if (layout.rank == 2 && least > 2)
        return shaped(c, lasting(x), least, (int64_t[]){n, m, 1});
    x.generation &= ~FRESH;
    return x;
}

static td_tensor stacked(const struct chain *c, td_list list, int least, int64_t dim)
{
    td_operand in[TD_LIST_MAX];
    const struct td_cat_attrs along = {.dim = dim};
    const uint16_t counts[] = {(uint16_t)list.count};
    struct td_failure failure = {0};
    td_tensor y;
    if (list.count < 1 || list.count > TD_LIST_MAX) {
        td_fail(&failure, TD_E_ARGUMENT, "%s: a list of %lld tensors where 1 to %d are due", c->name,
                (long long)list.count, TD_LIST_MAX);
        y = chain_refuse(c, &failure);
    } else {
        bool made[TD_LIST_MAX];
        for (int64_t k = 0; k < list.count; k++) {
            in[k] = passing(with_dims(c, list.items[k], least));
            made[k] = true;
        }
        y = client_op(&(struct client_op){.id = TD_OP_cat,
                                          .name = c->name,
                                          .origin = {c->origin.where, 0},
                                          .in = in,
                                          .in_count = (int)list.count,
                                          .list_counts = counts,
                                          .used_up = made,
                                          .attrs = &along});
    }
    list_used(&list);
    return y;
}

td_tensor td_hstack_at(td_origin origin, td_list tensors)
{
    const struct chain c = {.name = "hstack", .origin = origin, .session = session_of(tensors)};
    td_layout first = tensors.count > 0 ? chain_layout(&c, tensors.items[0]) : (td_layout){0};
    return stacked(&c, tensors, 1, first.rank > 1);
}
td_tensor td_vstack_at(td_origin origin, td_list tensors)
{
    const struct chain c = {.name = "vstack", .origin = origin, .session = session_of(tensors)};
    return stacked(&c, tensors, 2, 0);
}
td_tensor td_dstack_at(td_origin origin, td_list tensors)
{
    const struct chain c = {.name = "dstack", .origin = origin, .session = session_of(tensors)};
    return stacked(&c, tensors, 3, 2);
}

int td_meshgrid_at(td_origin origin, td_list tensors, td_tensor *grids, const struct td_meshgrid_keywords *keywords)
{
    const struct chain c = {.name = "meshgrid", .origin = origin, .session = session_of(tensors)};
    struct td_expand_attrs grid = {.shape.count = tensors.count};
    struct td_failure failure = {0};
    bool swapped = keywords && keywords->xy && tensors.count > 1;
    if (tensors.count < 1 || tensors.count > TD_RANK_MAX)
        td_fail(&failure, TD_E_ARGUMENT, "meshgrid: %lld rows where 1 to %d are due", (long long)tensors.count,
                TD_RANK_MAX);
    for (int64_t k = 0; k < tensors.count && !failure.code; k++) {
        td_layout row = chain_layout(&c, tensors.items[k]);
        if (row.rank > 1)
            td_fail(&failure, TD_E_SHAPE, "meshgrid: tensor %lld has %d dimensions where one is due", (long long)k,
                    row.rank);
        grid.shape.v[swapped && k < 2 ? 1 - k : k] = row.rank ? row.shape[0] : 1;
    }
    if (failure.code) {
        chain_drop(chain_refuse(&c, &failure));
        list_used(&tensors);
        return 0;
    }
    for (int64_t k = 0; k < tensors.count; k++) {
        int64_t shape[TD_RANK_MAX], at = swapped && k < 2 ? 1 - k : k;
        for (int64_t d = 0; d < tensors.count; d++)
            shape[d] = d == at ? grid.shape.v[d] : 1;
        td_tensor row = shaped(&c, lasting(tensors.items[k]), (int)tensors.count, shape);
        grids[k] = chain_step(&c, TD_OP_expand, &grid, 1, (td_operand[]){passing(row)});
    }
    list_used(&tensors);
    return (int)tensors.count;
}

/* ---- the functions behind the macros ---- */

td_tensor(td_bucketize)(td_tensor x, td_tensor boundaries, const struct td_bucketize_keywords *keywords)
{
    return td_bucketize_at((td_origin){0}, x, boundaries, keywords);
}
td_tensor(td_take_flat)(td_tensor x, td_tensor index)
{
    return td_take_flat_at((td_origin){0}, x, index);
}
td_tensor(td_put)(td_tensor x, td_tensor index, td_tensor source, const struct td_put_keywords *keywords)
{
    return td_put_at((td_origin){0}, x, index, source, keywords);
}
td_tensor(td_put_)(td_tensor x, td_tensor index, td_tensor source, const struct td_put_keywords *keywords)
{
    return td_put__at((td_origin){0}, x, index, source, keywords);
}
td_tensor(td_take_along_dim)(td_tensor x, td_tensor index, const struct td_take_along_dim_keywords *keywords)
{
    return td_take_along_dim_at((td_origin){0}, x, index, keywords);
}
td_tensor(td_select_scatter)(td_tensor x, td_tensor source, int64_t dim, int64_t index)
{
    return td_select_scatter_at((td_origin){0}, x, source, dim, index);
}
td_tensor(td_slice_scatter)(td_tensor x, td_tensor source, int64_t dim, const struct td_slice_keywords *keywords)
{
    return td_slice_scatter_at((td_origin){0}, x, source, dim, keywords);
}
td_tensor(td_diagonal_scatter)(td_tensor x, td_tensor source, const struct td_diagonal_keywords *keywords)
{
    return td_diagonal_scatter_at((td_origin){0}, x, source, keywords);
}
td_tensor(td_hstack)(td_list tensors)
{
    return td_hstack_at((td_origin){0}, tensors);
}
td_tensor(td_vstack)(td_list tensors)
{
    return td_vstack_at((td_origin){0}, tensors);
}
td_tensor(td_dstack)(td_list tensors)
{
    return td_dstack_at((td_origin){0}, tensors);
}
int(td_meshgrid)(td_list tensors, td_tensor *grids, const struct td_meshgrid_keywords *keywords)
{
    return td_meshgrid_at((td_origin){0}, tensors, grids, keywords);
}
