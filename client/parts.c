/* Functions made of ops: several parts of a tensor, and other ways to write a view or a copy.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/chain.h"

#include <limits.h>

/* One op on x; what consume names of its operands is used up. */
static td_tensor apply(td_origin origin, uint32_t consume, enum td_op_id id, td_tensor x, const void *attrs)
{
    const td_operand in = td_operand_of_tensor(x);
    return client_op(&(struct client_op){
        .id = (uint16_t)id, .origin = {origin.where, consume}, .in = &in, .in_count = 1, .attrs = attrs});
}

static td_tensor narrow(td_origin origin, uint32_t consume, td_tensor x, int64_t dim, int64_t start, int64_t length)
{
    const struct td_narrow_attrs attrs = {.dim = dim, .start = start, .length = length};
    return apply(origin, consume, TD_OP_narrow, x, &attrs);
}

/* The layout without using x up. */
static td_layout layout_of(td_origin origin, td_tensor x)
{
    return td_layout_of_at((td_origin){origin.where, 0}, x);
}

static int64_t size_of(const td_layout *layout, int64_t dim)
{
    int d = td_wrap_dim(dim, layout->rank);
    return d >= 0 && layout->rank ? layout->shape[d] : 0;
}

/* An argument that no op would refuse. */
static int refuse(td_origin origin, td_tensor x, const char *name, const struct td_failure *failure)
{
    if (!query_begin(origin, x, name, false))
        return 0;
    cause_unref(error_make(x.session, failure, name, origin));
    query_end(origin, x);
    return 0;
}

int td_split_at(td_origin origin, td_tensor x, struct td_dims sizes, td_tensor *parts,
                const struct td_split_keywords *keywords)
{
    SPEAKS_FOR("split");
    int64_t dim = keywords ? keywords->dim : 0, start = 0, total = 0;
    td_layout layout = layout_of(origin, x);
    int64_t size = size_of(&layout, dim), count = sizes.count;
    if (count == 1 && sizes.v[0] > 0 && sizes.v[0] < size)
        count = (size - 1) / sizes.v[0] + 1;
    else if (count == 1 && sizes.v[0] > size)
        sizes.v[0] = size;
    for (int64_t k = 0; k < sizes.count; k++)
        total += sizes.v[k];
    if (count < 1 || count > INT_MAX || (count == sizes.count && total != size && layout.rank)) {
        struct td_failure failure = {0};
        char st[TD_SHAPE_TEXT], xt[TD_SHAPE_TEXT];
        td_fail(&failure, TD_E_ARGUMENT, "split: the sizes %s do not add up to dimension %lld of shape %s",
                td_shape_text(sizes.count < TD_RANK_MAX ? (int)sizes.count : TD_RANK_MAX, sizes.v, st, sizeof st),
                (long long)dim, td_shape_text(layout.rank, layout.shape, xt, sizeof xt));
        td_hint(&failure, "One size is that of all parts but the last; of several each is one part's.");
        return refuse(origin, x, "split", &failure);
    }
    for (int64_t k = 0; k < count; k++) {
        int64_t length = sizes.v[sizes.count == count ? k : 0];
        length = length > size - start && sizes.count != count ? size - start : length;
        parts[k] = narrow(origin, k == count - 1 ? origin.consume : 0, x, dim, start, length);
        start += length;
    }
    return (int)count;
}

int td_tensor_split_at(td_origin origin, td_tensor x, int64_t sections, td_tensor *parts,
                       const struct td_split_keywords *keywords)
{
    SPEAKS_FOR("tensor_split");
    int64_t dim = keywords ? keywords->dim : 0, start = 0;
    td_layout layout = layout_of(origin, x);
    int64_t size = size_of(&layout, dim);
    if (sections < 1 || sections > INT_MAX) {
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_ARGUMENT, "tensor_split: sections is %lld where 1 or more is due", (long long)sections);
        return refuse(origin, x, "tensor_split", &failure);
    }
    for (int64_t k = 0; k < sections; k++) {
        int64_t length = size / sections + (k < size % sections);
        parts[k] = narrow(origin, k == sections - 1 ? origin.consume : 0, x, dim, start, length);
        start += length;
    }
    return (int)sections;
}

int td_tensor_split_before_at(td_origin origin, td_tensor x, struct td_dims places, td_tensor *parts,
                              const struct td_split_keywords *keywords)
{
    SPEAKS_FOR("tensor_split");
    struct td_slice_attrs attrs = {.dim = keywords ? keywords->dim : 0, .step = 1};
    for (int64_t k = 0; k <= places.count; k++) {
        attrs.end = k < places.count ? places.v[k] : INT64_MAX;
        parts[k] = apply(origin, k == places.count ? origin.consume : 0, TD_OP_slice, x, &attrs);
        attrs.start = attrs.end;
    }
    return (int)places.count + 1;
}

int td_unbind_at(td_origin origin, td_tensor x, td_tensor *parts, const struct td_split_keywords *keywords)
{
    SPEAKS_FOR("unbind");
    int64_t dim = keywords ? keywords->dim : 0;
    td_layout layout = layout_of(origin, x);
    int64_t size = size_of(&layout, dim);
    if (size == 0 && (layout.rank == 0 || td_wrap_dim(dim, layout.rank) < 0))
        size = 1; /* select says what is wrong */
    if (size == 0)
        td_rank_at(origin, x); /* used up all the same */
    for (int64_t k = 0; k < size; k++) {
        const struct td_select_attrs attrs = {.dim = dim, .index = k};
        parts[k] = apply(origin, k == size - 1 ? origin.consume : 0, TD_OP_select, x, &attrs);
    }
    return (int)size;
}

/* ---- shaped as another ---- */

static struct td_dims shape_of(td_origin origin, td_tensor other)
{
    td_layout layout = td_layout_of_at((td_origin){origin.where, origin.consume >> 1}, other);
    struct td_dims shape = {.count = layout.rank};
    for (int d = 0; d < layout.rank; d++)
        shape.v[d] = layout.shape[d];
    return shape;
}

#define SHAPED_AS(op)                                                            \
    td_tensor td_##op##_as_at(td_origin origin, td_tensor x, td_tensor other)    \
    {                                                                            \
        SPEAKS_FOR(#op "_as");                                                   \
        const struct td_##op##_attrs attrs = {.shape = shape_of(origin, other)}; \
        return apply(origin, origin.consume & 1, TD_OP_##op, x, &attrs);         \
    }                                                                            \
    td_tensor(td_##op##_as)(td_tensor x, td_tensor other)                        \
    {                                                                            \
        return td_##op##_as_at((td_origin){0}, x, other);                        \
    }
SHAPED_AS(expand)
SHAPED_AS(view)
SHAPED_AS(reshape)

/* ---- copies ---- */

/* A failed tensor: what is wrong is x's shape. */
static td_tensor refuse_shape(td_origin origin, td_tensor x, const char *name, const td_layout *layout,
                              const char *what)
{
    const struct chain c = {.name = name, .origin = origin, .session = x.session};
    struct td_failure failure = {0};
    char text[TD_SHAPE_TEXT];
    td_fail(&failure, TD_E_SHAPE, "%s: x of shape %s %s", name,
            td_shape_text(layout->rank, layout->shape, text, sizeof text), what);
    return chain_end(&c, chain_refuse(&c, &failure), 1, &x);
}

td_tensor td_diag_at(td_origin origin, td_tensor x, int64_t offset)
{
    SPEAKS_FOR("diag");
    if (td_rank_at((td_origin){origin.where, 0}, x) == 1) {
        const struct td_diag_embed_attrs attrs = {.offset = offset, .dim0 = -2, .dim1 = -1};
        return apply(origin, origin.consume, TD_OP_diag_embed, x, &attrs);
    }
    const struct td_diagonal_attrs attrs = {.offset = offset, .dim0 = 0, .dim1 = 1};
    td_layout layout = layout_of(origin, x);
    if (layout.rank != 2 && td_ok_at((td_origin){origin.where, 0}, x))
        return refuse_shape(origin, x, "diag", &layout, "is neither a vector nor a matrix");
    return apply(origin, 1, TD_OP_clone, apply(origin, origin.consume, TD_OP_diagonal, x, &attrs), NULL);
}

td_tensor td_trace_at(td_origin origin, td_tensor x)
{
    SPEAKS_FOR("trace");
    const struct td_diagonal_attrs attrs = {.dim0 = 0, .dim1 = 1};
    const struct td_sum_attrs all = {.dims = {.count = -1}};
    td_layout layout = layout_of(origin, x);
    if (layout.rank != 2 && td_ok_at((td_origin){origin.where, 0}, x))
        return refuse_shape(origin, x, "trace", &layout, "is no matrix");
    return apply(origin, 1, TD_OP_sum, apply(origin, origin.consume, TD_OP_diagonal, x, &attrs), &all);
}

td_tensor td_rot90_at(td_origin origin, td_tensor x, int64_t times, int64_t dim0, int64_t dim1)
{
    SPEAKS_FOR("rot90");
    const struct td_transpose_attrs exchange = {.dim0 = dim0, .dim1 = dim1};
    const struct td_flip_attrs first = {.dims = {1, {dim0}}}, second = {.dims = {1, {dim1}}};
    const struct td_flip_attrs both = {.dims = {2, {dim0, dim1}}};
    td_layout layout = layout_of(origin, x);
    int a = td_wrap_dim(dim0, layout.rank), b = td_wrap_dim(dim1, layout.rank);
    if (td_ok_at((td_origin){origin.where, 0}, x) && (layout.rank < 2 || (a >= 0 && a == b)))
        return refuse_shape(origin, x, "rot90", &layout, "cannot be turned: that takes two different dimensions");
    bool turned = !td_is_contiguous_at((td_origin){origin.where, 0}, x);
    times = (times % 4 + 4) % 4;
    if (times % 2 == 0)
        return times || a < 0 || b < 0
                   ? apply(origin, origin.consume, TD_OP_flip, x, &both)
                   : apply(origin, origin.consume, turned ? TD_OP_contiguous : TD_OP_clone, x, NULL);
    if (times == 1)
        return apply(origin, 1, TD_OP_transpose, apply(origin, origin.consume, TD_OP_flip, x, &second), &exchange);
    return apply(origin, 1, TD_OP_transpose, apply(origin, origin.consume, TD_OP_flip, x, &first), &exchange);
}

td_tensor td_tile_at(td_origin origin, td_tensor x, struct td_dims sizes)
{
    SPEAKS_FOR("tile");
    struct td_repeat_attrs attrs = {.sizes.count = td_rank_at((td_origin){origin.where, 0}, x)};
    if (attrs.sizes.count < sizes.count)
        attrs.sizes.count = sizes.count;
    for (int64_t d = 0; d < attrs.sizes.count && d < TD_RANK_MAX; d++) {
        int64_t from = d - (attrs.sizes.count - sizes.count);
        attrs.sizes.v[d] = from < 0 ? 1 : sizes.v[from];
    }
    return apply(origin, origin.consume, TD_OP_repeat, x, &attrs);
}

/* x with its dimensions apart as shape, in the order, and then as result: a contiguous copy. */
static td_tensor rearranged(td_origin origin, td_tensor x, const struct td_dims *shape, const struct td_dims *order,
                            const struct td_dims *result)
{
    const struct td_reshape_attrs apart = {.shape = *shape}, together = {.shape = *result};
    const struct td_permute_attrs turn = {.dims = *order};
    const struct chain c = {.origin = origin};
    td_origin here = {origin.where, 0};
    td_tensor y = apply(origin, 0, TD_OP_reshape, x, &apart);
    y = apply(origin, 1, TD_OP_reshape, apply(origin, 1, TD_OP_permute, y, &turn), &together);
    y = apply(origin, 1, TD_OP_contiguous, y, NULL);
    if (td_same_storage_at(here, x, y))
        y = apply(origin, 1, TD_OP_clone, y, NULL);
    return chain_end(&c, y, 1, &x);
}

/* A failed tensor: reshape would say no more than that sizes do not fit. */
static td_tensor refuse_image(td_origin origin, td_tensor x, const char *name, const td_layout *layout, int64_t factor)
{
    struct td_failure failure = {0};
    char text[TD_SHAPE_TEXT];
    if (!query_begin(origin, x, name, false))
        return x;
    td_fail(&failure, TD_E_SHAPE, "%s: x of shape %s and a factor of %lld do not fit together", name,
            td_shape_text(layout->rank, layout->shape, text, sizeof text), (long long)factor);
    td_hint(&failure, "The channels divide by the square of the factor, or back the height and the width by it.");
    td_tensor result = handles_failed(x.session, error_make(x.session, &failure, name, origin));
    query_end(origin, x);
    return result;
}

/* x (..., channels, height, width), of which down divides the last two and up squared divides the channels: one of
 * them is 1. */
static td_tensor shuffled(td_origin origin, td_tensor x, const char *name, int64_t up, int64_t down)
{
    td_layout l = layout_of(origin, x);
    int64_t factor = down == 1 ? up : down;
    int last = l.rank - 3;
    if (!td_ok_at((td_origin){origin.where, 0}, x))
        return apply(origin, origin.consume, TD_OP_clone, x, NULL); /* as failed as x */
    if (last < 0 || last + 5 > TD_RANK_MAX || up < 1 || down < 1 || factor > INT_MAX || l.shape[last] % (up * up) ||
        l.shape[last + 1] % down || l.shape[last + 2] % down)
        return refuse_image(origin, x, name, &l, factor);
    int64_t channels = l.shape[last] / (up * up), height = l.shape[last + 1] / down, width = l.shape[last + 2] / down;
    struct td_dims apart = {.count = last + 5}, order = {.count = last + 5}, result = {.count = l.rank};
    for (int d = 0; d < last; d++) {
        apart.v[d] = result.v[d] = l.shape[d];
        order.v[d] = d;
    }
    const int64_t squares[] = {channels, up, up, height, width}, rows[] = {channels, height, down, width, down};
    const int64_t out[] = {0, 3, 1, 4, 2}, in[] = {0, 2, 4, 1, 3};
    for (int d = 0; d < 5; d++) {
        apart.v[last + d] = up > 1 ? squares[d] : rows[d];
        order.v[last + d] = last + (up > 1 ? out[d] : in[d]);
    }
    result.v[last] = channels * down * down;
    result.v[last + 1] = height * up;
    result.v[last + 2] = width * up;
    return rearranged(origin, x, &apart, &order, &result);
}

td_tensor td_pixel_shuffle_at(td_origin origin, td_tensor x, int64_t factor)
{
    return shuffled(origin, x, "pixel_shuffle", factor, 1);
}

td_tensor td_pixel_unshuffle_at(td_origin origin, td_tensor x, int64_t factor)
{
    return shuffled(origin, x, "pixel_unshuffle", 1, factor);
}

/* One more than the greatest index; waits. */
static int64_t count_classes(td_origin origin, td_tensor index)
{
    const struct td_max_attrs all = {.dims.count = -1};
    td_tensor greatest = apply((td_origin){origin.where, 0}, 0, TD_OP_max, index, &all);
    double value = td_item_at((td_origin){origin.where, 1}, greatest);
    return value >= 0 ? (int64_t)value + 1 : 0; /* of which scatter refuses what is below */
}

static td_tensor refuse_unknown_classes(td_origin origin, td_tensor index)
{
    const struct chain c = {.name = "one_hot", .origin = origin, .session = index.session};
    struct td_failure failure = {0};
    td_fail(&failure, TD_E_ARGUMENT, "one_hot: an index without elements does not tell how many classes there are");
    td_hint(&failure, "A number of classes instead of -1 does.");
    return chain_end(&c, chain_refuse(&c, &failure), 1, &index);
}

td_tensor td_one_hot_at(td_origin origin, td_tensor index, int64_t classes)
{
    SPEAKS_FOR("one_hot");
    td_origin here = {origin.where, 0};
    if (classes == -1 && td_ok_at(here, index)) {
        if (td_numel_at(here, index) == 0)
            return refuse_unknown_classes(origin, index);
        classes = count_classes(origin, index);
    }
    td_layout layout = layout_of(origin, index);
    struct td_zeros_attrs shape = {.shape.count = layout.rank + 1, .dtype = TD_I64};
    const struct td_unsqueeze_attrs last = {.dim = -1};
    const struct td_scatter_attrs along = {.dim = -1};
    for (int d = 0; d < layout.rank; d++)
        shape.shape.v[d] = layout.shape[d];
    if (layout.rank < TD_RANK_MAX)
        shape.shape.v[layout.rank] = classes;
    const struct client_op zeros = {
        .id = TD_OP_zeros, .origin = {origin.where, 0}, .session = index.session, .attrs = &shape};
    td_operand in[] = {td_operand_of_tensor(client_op(&zeros)),
                       td_operand_of_tensor(apply(origin, origin.consume, TD_OP_unsqueeze, index, &last)),
                       td_operand_of_integer(1)};
    return client_op(&(struct client_op){
        .id = TD_OP_scatter, .origin = {origin.where, 3}, .in = in, .in_count = 3, .attrs = &along});
}

/* ---- the functions behind the macros ---- */

int(td_split)(td_tensor x, struct td_dims sizes, td_tensor *parts, const struct td_split_keywords *keywords)
{
    return td_split_at((td_origin){0}, x, sizes, parts, keywords);
}
int(td_tensor_split_before)(td_tensor x, struct td_dims places, td_tensor *parts,
                            const struct td_split_keywords *keywords)
{
    return td_tensor_split_before_at((td_origin){0}, x, places, parts, keywords);
}
int(td_tensor_split)(td_tensor x, int64_t sections, td_tensor *parts, const struct td_split_keywords *keywords)
{
    return td_tensor_split_at((td_origin){0}, x, sections, parts, keywords);
}
int(td_unbind)(td_tensor x, td_tensor *parts, const struct td_split_keywords *keywords)
{
    return td_unbind_at((td_origin){0}, x, parts, keywords);
}
td_tensor(td_diag)(td_tensor x, int64_t offset)
{
    return td_diag_at((td_origin){0}, x, offset);
}
td_tensor(td_trace)(td_tensor x)
{
    return td_trace_at((td_origin){0}, x);
}
td_tensor(td_rot90)(td_tensor x, int64_t times, int64_t dim0, int64_t dim1)
{
    return td_rot90_at((td_origin){0}, x, times, dim0, dim1);
}
td_tensor(td_tile)(td_tensor x, struct td_dims sizes)
{
    return td_tile_at((td_origin){0}, x, sizes);
}
td_tensor(td_one_hot)(td_tensor index, int64_t classes)
{
    return td_one_hot_at((td_origin){0}, index, classes);
}
td_tensor(td_pixel_shuffle)(td_tensor x, int64_t factor)
{
    return td_pixel_shuffle_at((td_origin){0}, x, factor);
}
td_tensor(td_pixel_unshuffle)(td_tensor x, int64_t factor)
{
    return td_pixel_unshuffle_at((td_origin){0}, x, factor);
}
