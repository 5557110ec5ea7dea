/* Calls of attention and of its gradients drawn at random. Included once, by kernel_calls.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_KERNEL_ATTENTION_H
#define TD_TESTS_KERNEL_ATTENTION_H

/* Rows and columns behind the dimensions of batch, of which some are 1 or missing unless whole. */
static void draw_matrices_of(struct call *c, uint8_t dtype, int rank, const int64_t *batch, bool whole, int64_t rows,
                             int64_t columns)
{
    int64_t shape[TD_RANK_MAX] = {0};
    int own = rank;
    if (whole)
        memcpy(shape, batch, (size_t)rank * sizeof *batch);
    else
        own = fewer_dims(rank, batch, shape);
    shape[own++] = rows;
    if (columns >= 0)
        shape[own++] = columns;
    make(next(c), dtype, own, shape, TD_REALS, ANY_LAYOUT);
}

/* What is added to scores, with -inf here and there, now and then in all of a row. */
static void draw_mask(struct call *c, uint8_t dtype, int rank, const int64_t *batch, int64_t rows, int64_t columns)
{
    int64_t shape[TD_RANK_MAX] = {0}, part[TD_RANK_MAX] = {0};
    memcpy(shape, batch, (size_t)rank * sizeof *batch);
    shape[rank] = rows;
    shape[rank + 1] = columns;
    if (below(2)) {
        next(c);
        return;
    }
    int own = fewer_dims(rank + 2, shape, part);
    struct tensor *mask = next(c);
    make(mask, dtype, own, part, TD_REALS, ANY_LAYOUT);
    for (int64_t i = 0; i < mask->values.count; i++)
        if (below(3) == 0)
            store(mask, i, (struct td_number){.category = TD_FLOATING, .f = -INFINITY});
    read_back(mask);
}

/* Now and then of several tiles. */
static int64_t draw_length(void)
{
    return draws_large ? 100 + below(500) : below(3) ? below(9) : 1 + below(below(4) ? 150 : 700);
}

static void draw_attention(struct call *c, uint8_t dtype)
{
    int64_t batch[TD_RANK_MAX] = {0}, rows = draw_length(), keys = draw_length();
    bool many = rows * keys > 3000, back = c->op->id == TD_OP_attention_back;
    int64_t width = below(many ? 5 : 20), value_width = below(many ? 5 : 20);
    int rank = (int)below(many ? 2 : 4), whole = (int)below(3);
    draws_nan = below(4) == 0; /* with some, most results are nan */
    if (!many && below(8) == 0)
        (below(2) ? &width : &value_width)[0] = 1 + below(300);
    for (int d = 0; d < rank; d++)
        batch[d] = below(12) ? 1 + below(3) : 0;
    if (back)
        draw_matrices_of(c, dtype, rank, batch, true, rows, value_width);
    draw_matrices_of(c, dtype, rank, batch, whole == 0, rows, width);
    draw_matrices_of(c, dtype, rank, batch, whole == 1, keys, width);
    draw_matrices_of(c, dtype, rank, batch, whole == 2, keys, value_width);
    if (back) {
        draw_matrices_of(c, dtype, rank, batch, true, rows, value_width);
        draw_matrices_of(c, dtype, rank, batch, true, rows, -1);
    }
    draw_mask(c, dtype, rank, batch, rows, keys);
    struct td_attention_attrs *a = (void *)c->attrs;
    a->is_causal = below(2);
    a->scale = below(2) ? 0 : 0.25;
}

#endif
