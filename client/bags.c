/* embedding_bag, made of ops. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "client/compose.h"

static bool given(td_tensor x)
{
    return x.session != NULL;
}

/* For each of count indices the number of its bag: how many offsets are no greater, less one. */
static struct part bag_numbers(td_origin o, td_tensor offsets, int64_t bags, int64_t count)
{
    const struct td_zeros_attrs starts = {.shape = {1, {count + 1}}, .dtype = TD_I64};
    const struct td_ones_attrs ones = {.shape = {1, {bags}}, .dtype = TD_I64};
    td_session *s = offsets.session;
    struct part begun = part_op(o, TD_OP_scatter_add, &(struct td_scatter_add_attrs){.dim = 0}, 3,
                                (struct part[]){part_created(o, s, TD_OP_zeros, &starts), part_keyword(offsets),
                                                part_created(o, s, TD_OP_ones, &ones)});
    begun = part_op(o, TD_OP_cumsum, &(struct td_cumsum_attrs){.dim = 0}, 1, &begun);
    begun = part_op(o, TD_OP_narrow, &(struct td_narrow_attrs){.length = count}, 1, &begun);
    return part_two(o, TD_OP_sub, begun, (struct part){td_operand_of_integer(1), false});
}

/* rows (count, width) summed by bag, and what each sum is divided by. */
static struct part bag_sums(td_origin o, struct part rows, struct part bags, int64_t count, bool mean)
{
    td_layout layout = part_layout(o, rows);
    uint8_t dtype = (uint8_t)td_dtype_of_at((td_origin){o.where, 0}, part_tensor(rows));
    td_session *s = part_tensor(rows).session;
    const struct td_zeros_attrs sums = {.shape = {2, {count, layout.shape[1]}}, .dtype = dtype};
    const struct td_zeros_attrs none = {.shape = {2, {count, 1}}, .dtype = dtype};
    const struct td_ones_attrs ones = {.shape = {2, {layout.shape[0], 1}}, .dtype = dtype};
    const struct td_index_add_attrs first = {.dim = 0};
    struct part sum =
        part_op(o, TD_OP_index_add, &first, 3,
                (struct part[]){part_created(o, s, TD_OP_zeros, &sums), mean ? part_kept(bags) : bags, rows});
    if (!mean)
        return sum;
    struct part counts =
        part_op(o, TD_OP_index_add, &first, 3,
                (struct part[]){part_created(o, s, TD_OP_zeros, &none), bags, part_created(o, s, TD_OP_ones, &ones)});
    return part_two(o, TD_OP_div, sum, part_clamp(o, counts, 1));
}

/* The greatest element of each column of bags of rows (bags, size, width). */
static td_tensor greatest_of_rows(td_origin o, struct part rows, int64_t size)
{
    if (size == 0)
        return part_tensor(part_sum(o, rows, 1, false));
    return part_tensor(part_op(o, TD_OP_max_dim, &(struct td_max_dim_attrs){.dim = 1}, 1, &rows));
}

static struct part filled(td_origin o, td_session *s, int64_t height, int64_t width, enum td_dtype dtype, int64_t value)
{
    const struct td_full_attrs attrs = {
        .shape = {2, {height, width}}, .value = {.category = TD_INTEGER, .i = value}, .dtype = (int64_t)dtype};
    return part_created(o, s, TD_OP_full, &attrs);
}

/* For each of bags, and each column of rows (count, width), the first row of the bag that has the greatest element;
 * count for a bag of nothing. bag tells for each element of rows which bag it is in. */
static struct part first_places(td_origin o, struct part rows, struct part bag, int64_t bags)
{
    td_layout layout = part_layout(o, rows);
    int64_t count = layout.shape[0], width = layout.shape[1];
    enum td_dtype dtype = td_dtype_of_at((td_origin){o.where, 0}, part_tensor(rows));
    td_session *s = part_tensor(rows).session;
    const struct td_scatter_reduce_attrs upward = {.reduce = TD_BY_AMAX};
    const struct td_scatter_reduce_attrs downward = {.reduce = TD_BY_AMIN, .include_self = true};
    const struct td_arange_attrs numbers = {.end = {.category = TD_INTEGER, .i = count},
                                            .start.category = TD_INTEGER,
                                            .step = {.category = TD_INTEGER, .i = 1}};
    struct part seen = part_one(o, TD_OP_detach, rows);
    struct part greatest =
        part_op(o, TD_OP_scatter_reduce, &upward, 3,
                (struct part[]){filled(o, s, bags, width, dtype, 0), part_kept(bag), part_kept(seen)});
    greatest =
        part_op(o, TD_OP_gather, &(struct td_gather_attrs){.dim = 0}, 2, (struct part[]){greatest, part_kept(bag)});
    struct part wins = part_two(o, TD_OP_ge, part_kept(seen), greatest);
    wins = part_two(o, TD_OP_logical_or, wins, part_one(o, TD_OP_isnan, seen));
    struct part place = part_reshape(o, part_created(o, s, TD_OP_arange, &numbers), 2, (int64_t[]){count, 1});
    place = part_where(o, wins, place, (struct part){td_operand_of_integer(count), false});
    return part_op(o, TD_OP_scatter_reduce, &downward, 3,
                   (struct part[]){filled(o, s, bags, width, TD_I64, count), bag, place});
}

/* The greatest element of each column in each bag of rows (count, width); of a bag of nothing a 0 from behind them. */
static td_tensor greatest_by_bag(td_origin o, struct part rows, struct part bag, int64_t bags)
{
    td_layout layout = part_layout(o, rows);
    int64_t count = layout.shape[0], width = layout.shape[1];
    enum td_dtype dtype = td_dtype_of_at((td_origin){o.where, 0}, part_tensor(rows));
    bag = part_reshape(o, bag, 2, (int64_t[]){count, 1});
    bag = part_op(o, TD_OP_expand, &(struct td_expand_attrs){.shape = {2, {count, width}}}, 1, &bag);
    struct part first = first_places(o, part_kept(rows), bag, bags);
    struct part zero = filled(o, part_tensor(rows).session, 1, width, dtype, 0);
    const uint16_t two = 2;
    struct part all = {
        td_operand_of_tensor(client_op(&(struct client_op){.id = TD_OP_cat,
                                                           .origin = {o.where, 3},
                                                           .in = (td_operand[]){rows.operand, zero.operand},
                                                           .in_count = 2,
                                                           .list_counts = &two,
                                                           .attrs = &(struct td_cat_attrs){0}})),
        true};
    return part_tensor(part_op(o, TD_OP_gather, &(struct td_gather_attrs){.dim = 0}, 2, (struct part[]){all, first}));
}

td_tensor td_embedding_bag_at(td_origin o, td_tensor weight, td_tensor index,
                              const struct td_embedding_bag_keywords *keywords)
{
    SPEAKS_FOR("embedding_bag");
    static const struct td_embedding_bag_keywords defaults = {.mode = TD_MEAN};
    const struct td_embedding_bag_keywords *k = keywords ? keywords : &defaults;
    td_layout layout = part_layout(o, part_keyword(index));
    struct td_failure failure = {0};
    bool mean = k->mode == TD_MEAN;
    const td_tensor both[] = {weight, index};
    if (k->mode != TD_MEAN && k->mode != TD_SUM && k->mode != TD_GREATEST)
        td_fail(&failure, TD_E_ARGUMENT, "embedding_bag: mode %" PRId64 " is none of TD_MEAN, TD_SUM, TD_GREATEST",
                k->mode);
    else if (k->mode != TD_SUM && given(k->per_sample_weights))
        td_fail(&failure, TD_E_ARGUMENT, "embedding_bag: per_sample_weights are for .mode = TD_SUM");
    if (failure.code)
        return part_used(o, 2, both, part_refuse(o, weight.session, "embedding_bag", &failure));
    if (layout.rank != (given(k->offsets) ? 1 : 2))
        return part_used(o, 2, both,
                         part_refuse_shape(o, index, "embedding_bag", &layout,
                                           given(k->offsets) ? "is no row of indices"
                                                             : "has no bags: it is (bags, size), or has .offsets"));
    struct part rows = part_op(o, TD_OP_embedding, &(struct td_embedding_attrs){.padding_idx = INT64_MIN}, 2,
                               (struct part[]){part_given(o, 0, weight), part_given(o, 1, index)});
    if (given(k->per_sample_weights)) {
        struct part w = part_keyword(k->per_sample_weights);
        w = part_op(o, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = -1}, 1, &w);
        rows = part_two(o, TD_OP_mul, rows, w);
    }
    if (given(k->offsets)) {
        int64_t bags = part_layout(o, part_keyword(k->offsets)).shape[0];
        struct part numbers = bag_numbers(o, k->offsets, bags, layout.shape[0]);
        return k->mode == TD_GREATEST ? greatest_by_bag(o, rows, numbers, bags)
                                      : part_tensor(bag_sums(o, rows, numbers, bags, mean));
    }
    if (k->mode == TD_GREATEST)
        return greatest_of_rows(o, rows, layout.shape[1]);
    struct part sum = part_sum(o, rows, 1, false);
    double size = (double)(layout.shape[1] ? layout.shape[1] : 1);
    return part_tensor(mean ? part_two(o, TD_OP_mul, sum, part_real(1 / size)) : sum);
}

td_tensor(td_embedding_bag)(td_tensor weight, td_tensor index, const struct td_embedding_bag_keywords *keywords)
{
    return td_embedding_bag_at((td_origin){0}, weight, index, keywords);
}
