/* embedding_bag, and what brings rows of an embedding back to a length, made of ops. SPDX-License-Identifier:
 * Apache-2.0 */
#include <inttypes.h>
#include <math.h>

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

/* What is asked for, as it is worked on: rows of weight, and the numbers of the bags that they go into. */
struct bags {
    const struct td_embedding_bag_keywords *k;
    int64_t count, size; /* of bags; of indices in one, where they are rows */
    bool flat;           /* bags by offsets, or with something left out */
    bool leaves_out;     /* into one bag more, behind the others, which is dropped */
    bool pads;
    int64_t padding; /* the row that is left out */
};

/* The number of the bag of each of count indices, which are one row. */
static struct part numbers_of(td_origin o, const struct bags *b, td_tensor index, int64_t count)
{
    const struct td_arange_attrs rising = {.end = {.category = TD_INTEGER, .i = b->count},
                                           .start.category = TD_INTEGER,
                                           .step = {.category = TD_INTEGER, .i = 1}};
    struct part numbers;
    if (given(b->k->offsets)) {
        numbers = bag_numbers(o, b->k->offsets, b->count + (b->k->include_last_offset ? 1 : 0), count);
    } else {
        numbers = part_reshape(o, part_created(o, index.session, TD_OP_arange, &rising), 2, (int64_t[]){b->count, 1});
        numbers = part_op(o, TD_OP_expand, &(struct td_expand_attrs){.shape = {2, {b->count, b->size}}}, 1, &numbers);
        numbers = part_reshape(o, numbers, 1, &count);
    }
    if (!b->pads)
        return numbers;
    struct part flat = part_reshape(o, part_keyword(index), 1, &count);
    struct part padded = part_two(o, TD_OP_eq, flat, (struct part){td_operand_of_integer(b->padding), false});
    return part_where(o, padded, (struct part){td_operand_of_integer(b->count), false}, numbers);
}

static struct part weighted(td_origin o, struct part rows, td_tensor weights, int64_t count, bool flat)
{
    if (!given(weights))
        return rows;
    struct part w = part_keyword(weights);
    if (flat)
        w = part_reshape(o, w, 1, &count);
    return part_two(o, TD_OP_mul, rows, part_op(o, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = -1}, 1, &w));
}

static td_tensor reduce_flat(td_origin o, const struct bags *b, struct part rows, struct part numbers)
{
    int64_t all = b->count + b->leaves_out;
    if (b->k->mode != TD_GREATEST)
        rows = bag_sums(o, rows, numbers, all, b->k->mode == TD_MEAN);
    else
        rows = (struct part){td_operand_of_tensor(greatest_by_bag(o, rows, numbers, all)), true};
    if (b->leaves_out)
        rows = part_op(o, TD_OP_narrow, &(struct td_narrow_attrs){.length = b->count}, 1, &rows);
    return part_tensor(rows);
}

/* Bags that are rows of an index. */
static td_tensor reduce_rows(td_origin o, const struct bags *b, struct part rows)
{
    if (b->k->mode == TD_GREATEST)
        return greatest_of_rows(o, rows, b->size);
    struct part sum = part_sum(o, rows, 1, false);
    double size = (double)(b->size ? b->size : 1);
    return part_tensor(b->k->mode == TD_MEAN ? part_two(o, TD_OP_mul, sum, part_real(1 / size)) : sum);
}

/* What is no call of embedding_bag. */
static bool refuses_bags(const struct td_embedding_bag_keywords *k, int64_t offsets, struct td_failure *failure)
{
    if (k->mode != TD_MEAN && k->mode != TD_SUM && k->mode != TD_GREATEST)
        td_fail(failure, TD_E_ARGUMENT, "embedding_bag: mode %" PRId64 " is none of TD_MEAN, TD_SUM, TD_GREATEST",
                k->mode);
    else if (k->mode != TD_SUM && given(k->per_sample_weights))
        td_fail(failure, TD_E_ARGUMENT, "embedding_bag: per_sample_weights are for .mode = TD_SUM");
    else if (k->mode == TD_GREATEST && k->scale_grad_by_freq)
        td_fail(failure, TD_E_ARGUMENT, "embedding_bag: scale_grad_by_freq is not for .mode = TD_GREATEST");
    else if (k->include_last_offset && offsets < 1)
        td_fail(failure, TD_E_ARGUMENT, "embedding_bag: include_last_offset without an offset");
    return failure->code != TD_E_OK;
}

static struct bags bags_of(td_origin o, td_tensor weight, const td_layout *index,
                           const struct td_embedding_bag_keywords *k, int64_t offsets)
{
    bool by_offsets = given(k->offsets), pads = k->padding_idx != INT64_MIN;
    td_layout rows = part_layout(o, part_keyword(weight));
    return (struct bags){.k = k,
                         .count = by_offsets ? offsets - (k->include_last_offset ? 1 : 0) : index->shape[0],
                         .size = by_offsets ? 0 : index->shape[1],
                         .flat = by_offsets || pads,
                         .leaves_out = pads || (by_offsets && k->include_last_offset),
                         .pads = pads,
                         .padding = k->padding_idx + (k->padding_idx < 0 && rows.rank ? rows.shape[0] : 0)};
}

td_tensor td_embedding_bag_at(td_origin o, td_tensor weight, td_tensor index,
                              const struct td_embedding_bag_keywords *keywords)
{
    SPEAKS_FOR("embedding_bag");
    static const struct td_embedding_bag_keywords defaults = {
        .mode = TD_MEAN, .padding_idx = INT64_MIN, .max_norm = INFINITY, .norm_type = 2};
    const struct td_embedding_bag_keywords *k = keywords ? keywords : &defaults;
    td_layout layout = part_layout(o, part_keyword(index)), starts = {0};
    struct td_failure failure = {0};
    const td_tensor both[] = {weight, index};
    if (given(k->offsets))
        starts = part_layout(o, part_keyword(k->offsets));
    if (refuses_bags(k, starts.rank ? starts.shape[0] : 0, &failure))
        return part_used(o, 2, both, part_refuse(o, weight.session, "embedding_bag", &failure));
    if (layout.rank != (given(k->offsets) ? 1 : 2))
        return part_used(o, 2, both,
                         part_refuse_shape(o, index, "embedding_bag", &layout,
                                           given(k->offsets) ? "is no row of indices"
                                                             : "has no bags: it is (bags, size), or has .offsets"));
    struct bags b = bags_of(o, weight, &layout, k, starts.rank ? starts.shape[0] : 0);
    const struct td_embedding_attrs attrs = {.padding_idx = k->padding_idx,
                                             .scale_grad_by_freq = k->scale_grad_by_freq};
    int64_t count = layout.rank == 1 ? layout.shape[0] : layout.shape[0] * layout.shape[1];
    if (k->max_norm < INFINITY)
        td_embedding_renorm__at((td_origin){o.where, 0}, weight, index, k->max_norm, k->norm_type);
    struct part numbers = {0}, places = part_given(o, 1, index);
    if (b.flat) {
        numbers = numbers_of(o, &b, index, count);
        places = part_reshape(o, places, 1, &count);
    }
    struct part rows = part_op(o, TD_OP_embedding, &attrs, 2, (struct part[]){part_given(o, 0, weight), places});
    rows = weighted(o, rows, k->per_sample_weights, count, b.flat);
    return b.flat ? reduce_flat(o, &b, rows, numbers) : reduce_rows(o, &b, rows);
}

/* ---- rows that are brought back to a length ---- */

/* Each row that index names, as often as it does, and then written where it came from. */
td_tensor td_embedding_renorm__at(td_origin o, td_tensor weight, td_tensor index, double max_norm, double norm_type)
{
    SPEAKS_FOR("embedding_renorm_");
    const td_origin plain = {o.where, 0};
    td_layout layout = part_layout(o, part_keyword(index));
    int64_t count = 1;
    td_guard guard;
    for (int d = 0; d < layout.rank; d++)
        count *= layout.shape[d];
    td_no_grad_begin(weight.session, &guard);
    struct part places = part_reshape(o, part_keyword(index), 1, &count);
    struct part rows = part_op(o, TD_OP_embedding, &(struct td_embedding_attrs){.padding_idx = INT64_MIN}, 2,
                               (struct part[]){part_keyword(weight), part_kept(places)});
    struct part size =
        part_op(o, TD_OP_norm, &(struct td_norm_attrs){.dims = {1, {1}}, .keepdim = true, .p = norm_type}, 1,
                (struct part[]){part_kept(rows)});
    struct part longer = part_two(o, TD_OP_gt, part_kept(size), part_real(max_norm));
    struct part factor = part_one(o, TD_OP_reciprocal, part_two(o, TD_OP_add, size, part_real(1e-7)));
    factor = part_where(o, longer, part_two(o, TD_OP_mul, factor, part_real(max_norm)), part_real(1));
    rows = part_two(o, TD_OP_mul, rows, factor);
    client_in_place(
        &(struct client_op){.id = TD_OP_index_copy,
                            .origin = {plain.where, 6},
                            .in = (td_operand[]){td_operand_of_tensor(weight), places.operand, rows.operand},
                            .in_count = 3,
                            .attrs = &(struct td_index_copy_attrs){.dim = 0}});
    td_guard_end(&guard);
    part_used(o, 2, (td_tensor[]){{0}, index}, weight);
    weight.generation &= consumes(o, weight, 0) ? UINT32_MAX : ~FRESH;
    return weight;
}

td_tensor td_embedding_renormed_at(td_origin o, td_tensor weight, td_tensor index,
                                   const struct td_embedding_renormed_keywords *k)
{
    const struct td_embedding_keywords keywords = {.padding_idx = k->padding_idx,
                                                   .scale_grad_by_freq = k->scale_grad_by_freq};
    if (k->max_norm < INFINITY) {
        SPEAKS_FOR("embedding");
        td_embedding_renorm__at((td_origin){o.where, 0}, weight, index, k->max_norm, k->norm_type);
    }
    return td_embedding_at(o, weight, index, &keywords);
}

td_tensor(td_embedding_renorm_)(td_tensor weight, td_tensor index, double max_norm, double norm_type)
{
    return td_embedding_renorm__at((td_origin){0}, weight, index, max_norm, norm_type);
}

td_tensor(td_embedding_bag)(td_tensor weight, td_tensor index, const struct td_embedding_bag_keywords *keywords)
{
    return td_embedding_bag_at((td_origin){0}, weight, index, keywords);
}
