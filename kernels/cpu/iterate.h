/* The driver of elementwise work: puts the dimensions of target and sources into an order that suits memory, merges
 * those that lie densely inside each other, and gives the innermost run to a tight loop.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_ITERATE_H
#define TD_KERNELS_CPU_ITERATE_H

#include <string.h>

#include "kernels/cpu/internal.h"
#include "kernels/cpu/parallel.h"

/* A target, up to three sources (where), and the attributes of an op as one more. */
#define TD_OPERANDS_MAX 5

/* One run: at[k] is operand k's first element, stride[k] its step in elements; at[0] is the target. */
typedef void td_inner(int64_t count, void *const *at, const int64_t *stride);

struct td_loop {
    int operands, rank; /* rank is 1 or more */
    int64_t shape[TD_RANK_MAX];
    int64_t stride[TD_OPERANDS_MAX][TD_RANK_MAX]; /* in elements; the last dimension is the innermost */
    int64_t size[TD_OPERANDS_MAX];                /* bytes of an element */
    char *data[TD_OPERANDS_MAX];
};

/* The two innermost dimensions at once; data is the caller's. */
typedef void td_plane(const struct td_loop *loop, char *const *at, const void *data);

/* False if there is nothing to do. All operands have the target's shape. */
bool TD_CPU(loop_init)(struct td_loop *loop, int operands, const struct td_operand *const *operand);
/* Calls plane at each position of the dimensions outside the last two, of all or of parts of the loop. */
void TD_CPU(loop_planes)(const struct td_loop *loop, td_plane *plane, const void *data);
/* y (columns, rows) = x (rows, columns) turned; both are dense along their last dimension, size is an element's.
 * stream: y is more than caches hold, and is written past them. */
void TD_CPU(turn)(int64_t size, const void *x, int64_t x_stride, void *y, int64_t y_stride, int64_t rows,
                  int64_t columns, bool stream);
/* Rows that are read one after the other but do not lie behind each other: the next ones are asked for this many before
 * they are due, which no processor does by itself across pages. */
#define TD_ROWS_AHEAD 8
static inline void td_prefetch(const void *at, size_t bytes)
{
    for (size_t line = 0; line < bytes; line += 64)
        __builtin_prefetch((const char *)at + line);
}

/* The same into L2: of rows that lie 2^n bytes apart L1 holds eight. */
static inline void td_prefetch_l2(const void *at, size_t bytes)
{
    for (size_t line = 0; line < bytes; line += 64)
        __builtin_prefetch((const char *)at + line, 0, 2);
}

/* Both with inner as the loop. */
void TD_CPU(iterate)(td_inner *inner, int operands, const struct td_operand *const *operand);
/* The same over a launch's output and inputs. */
void TD_CPU(iterate_launch)(td_inner *inner, const struct td_launch *launch);

/* Moves index to the next position of shape, row by row, and offset[k] with it by strides in elements; false after
 * the last one. */
static inline bool td_step_index(int rank, const int64_t *shape, int64_t *index, int operands, int64_t *offset,
                                 const int64_t *const *stride)
{
    for (int d = rank - 1; d >= 0; d--) {
        if (++index[d] < shape[d]) {
            for (int k = 0; k < operands; k++)
                offset[k] += stride[k][d];
            return true;
        }
        for (int k = 0; k < operands; k++)
            offset[k] -= stride[k][d] * (shape[d] - 1);
        index[d] = 0;
    }
    return false;
}

/* Moves index from the first position of shape to another, counted row by row, and offset with it. */
static inline void td_seek_index(int rank, const int64_t *shape, int64_t position, int64_t *index, int operands,
                                 int64_t *offset, const int64_t *const *stride)
{
    for (int d = rank - 1; d >= 0 && position; position /= shape[d--]) {
        index[d] = position % shape[d];
        for (int k = 0; k < operands; k++)
            offset[k] += stride[k][d] * index[d];
    }
}

/* Positions of a shape row by row, in runs along its last dimension: for (start; run; next). */
struct td_walk {
    int outer, operands; /* outer: the dimensions but the last */
    const int64_t *shape, *const *stride;
    int64_t index[TD_RANK_MAX];
    int64_t run, left;             /* positions of this run; of it and all that follow */
    int64_t at[TD_OPERANDS_MAX];   /* operand k's element at which the run begins */
    int64_t step[TD_OPERANDS_MAX]; /* and its step in the run */
    int64_t begin;                 /* of the run in its row */
};

/* shape has no 0 in it; shape and stride stay the caller's. */
static inline void td_walk_start(struct td_walk *w, int rank, const int64_t *shape, int operands,
                                 const int64_t *const *stride, int64_t from, int64_t to)
{
    int64_t row = rank ? shape[rank - 1] : 1;
    w->outer = rank ? rank - 1 : 0;
    w->operands = operands;
    w->shape = shape;
    w->stride = stride;
    memset(w->index, 0, sizeof w->index);
    w->begin = from ? from % row : 0;
    for (int k = 0; k < operands; k++) {
        w->step[k] = rank ? stride[k][w->outer] : 1;
        w->at[k] = w->begin * w->step[k];
    }
    td_seek_index(w->outer, shape, from ? from / row : 0, w->index, operands, w->at, stride);
    w->left = to - from;
    w->run = row - w->begin < w->left ? row - w->begin : w->left;
}

static inline void td_walk_next(struct td_walk *w)
{
    w->left -= w->run;
    if (!w->left) {
        w->run = 0;
        return;
    }
    for (int k = 0; k < w->operands; k++)
        w->at[k] -= w->begin * w->step[k];
    w->begin = 0;
    td_step_index(w->outer, w->shape, w->index, w->operands, w->at, w->stride);
    w->run = w->shape[w->outer] < w->left ? w->shape[w->outer] : w->left;
}

/* A td_inner of one source: y = expression in x. */
#define TD_UNARY_INNER(name, source, target, expression)                    \
    static void name(int64_t count, void *const *at, const int64_t *stride) \
    {                                                                       \
        target *y = at[0];                                                  \
        const source *px = at[1];                                           \
        int64_t sy = stride[0], sx = stride[1];                             \
        if (sy == 1 && sx == 1) {                                           \
            TD_INDEPENDENT                                                  \
            for (int64_t i = 0; i < count; i++) {                           \
                source x = px[i];                                           \
                y[i] = expression;                                          \
            }                                                               \
            return;                                                         \
        }                                                                   \
        for (int64_t i = 0; i < count; i++) {                               \
            source x = px[i * sx];                                          \
            y[i * sy] = expression;                                         \
        }                                                                   \
    }

/* A td_inner of two sources: y = expression in a and b. The runs that broadcasting brings have loops of their own. */
#define TD_BINARY_INNER(name, source, target, expression)                   \
    static void name(int64_t count, void *const *at, const int64_t *stride) \
    {                                                                       \
        target *y = at[0];                                                  \
        const source *pa = at[1], *pb = at[2];                              \
        int64_t sy = stride[0], sa = stride[1], sb = stride[2];             \
        if (sy == 1 && sa == 1 && sb == 1) {                                \
            TD_INDEPENDENT                                                  \
            for (int64_t i = 0; i < count; i++) {                           \
                source a = pa[i], b = pb[i];                                \
                y[i] = expression;                                          \
            }                                                               \
        } else if (sy == 1 && sa == 1 && sb == 0) {                         \
            source b = *pb;                                                 \
            TD_INDEPENDENT                                                  \
            for (int64_t i = 0; i < count; i++) {                           \
                source a = pa[i];                                           \
                y[i] = expression;                                          \
            }                                                               \
        } else if (sy == 1 && sa == 0 && sb == 1) {                         \
            source a = *pa;                                                 \
            TD_INDEPENDENT                                                  \
            for (int64_t i = 0; i < count; i++) {                           \
                source b = pb[i];                                           \
                y[i] = expression;                                          \
            }                                                               \
        } else {                                                            \
            for (int64_t i = 0; i < count; i++) {                           \
                source a = pa[i * sa], b = pb[i * sb];                      \
                y[i * sy] = expression;                                     \
            }                                                               \
        }                                                                   \
    }

#endif
