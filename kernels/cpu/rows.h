/* A tensor as rows along one dimension, for what goes through each row in order. Neighbouring rows are done together
 * where they, not the elements of a row, lie side by side. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_ROWS_H
#define TD_KERNELS_CPU_ROWS_H

#include "kernels/cpu/iterate.h"

/* Rows done together, at most: as many elements of f32 as a line of memory has. */
#define TD_ROWS 16

struct td_rows {
    int64_t count, x_step, out_step; /* of a row; out_step is not used where a row has one result */
    /* Positions of the other dimensions but the inner one, row by row. */
    int rank;
    int64_t shape[TD_RANK_MAX], x_stride[TD_RANK_MAX], out_stride[TD_RANK_MAX];
    int64_t inner, x_inner, out_inner; /* inner is 1 where rows are done one by one */
    int64_t across, pieces, numel;     /* a piece: up to TD_ROWS neighbours; pieces at one position, and in all */
};

/* The rows of x along dim; out may lack that dimension. False if there is nothing to do. */
static inline bool td_rows_init(struct td_rows *r, const struct td_operand *x, const struct td_operand *out,
                                int64_t dim, bool together)
{
    int d = td_wrap_dim(dim, x->rank);
    *r = (struct td_rows){.count = 1, .x_step = 1, .out_step = 1, .inner = 1, .across = 1, .pieces = 1};
    for (int k = 0, to = 0; k < x->rank; k++) {
        bool there = out->rank == x->rank || k != d;
        if (k == d) {
            r->count = x->shape[k];
            r->x_step = x->stride[k];
            r->out_step = there ? out->stride[to] : 1;
        } else if (x->shape[k] != 1) {
            r->shape[r->rank] = x->shape[k];
            r->x_stride[r->rank] = x->stride[k];
            r->out_stride[r->rank++] = out->stride[to];
        }
        to += there;
    }
    int last = r->rank - 1;
    if (together && r->rank && r->x_stride[last] < r->x_step) {
        r->inner = r->shape[last];
        r->x_inner = r->x_stride[last];
        r->out_inner = r->out_stride[last];
        r->across = (r->inner + TD_ROWS - 1) / TD_ROWS;
        r->rank = last;
    }
    for (int k = 0; k < r->rank; k++)
        r->pieces *= r->shape[k];
    r->numel = r->pieces * r->inner * r->count;
    r->pieces *= r->across;
    return r->pieces > 0;
}

/* Pieces that are worth a part of their own, where an element is as much work as work simple ones. */
static inline int64_t td_rows_grain(const struct td_rows *r, int64_t work)
{
    return td_grain(r->numel / r->pieces * work);
}

/* Pieces one after the other: for (start; ...; next). */
struct td_rows_at {
    int64_t index[TD_RANK_MAX], offset[2], piece;
    int64_t x, out; /* the first elements of the piece's first row */
    int width;
};

static inline void td_rows_found(const struct td_rows *r, struct td_rows_at *at)
{
    int64_t first = at->piece * TD_ROWS, left = r->inner - first;
    at->x = at->offset[0] + first * r->x_inner;
    at->out = at->offset[1] + first * r->out_inner;
    at->width = (int)(left < TD_ROWS ? left : TD_ROWS);
}

static inline void td_rows_start(const struct td_rows *r, struct td_rows_at *at, int64_t piece)
{
    const int64_t *stride[] = {r->x_stride, r->out_stride};
    *at = (struct td_rows_at){.piece = piece % r->across};
    td_seek_index(r->rank, r->shape, piece / r->across, at->index, 2, at->offset, stride);
    td_rows_found(r, at);
}

static inline void td_rows_next(const struct td_rows *r, struct td_rows_at *at)
{
    const int64_t *stride[] = {r->x_stride, r->out_stride};
    if (++at->piece == r->across) {
        at->piece = 0;
        td_step_index(r->rank, r->shape, at->index, 2, at->offset, stride);
    }
    td_rows_found(r, at);
}

#endif
