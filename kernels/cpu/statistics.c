/* prod, any, all, count_nonzero, var, std, logsumexp and norm over any dimensions. The elements of a result come in
 * blocks, as doubles or as int64; those of a few neighbouring results together where these lie side by side. All is
 * computed in f64 and added in the order of lanes.h, block after block, so that results do not depend on cuts.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"

/* Results done together: their blocks are 32 KiB. */
#define WIDTH 8

struct dims {
    int rank;
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
    int64_t count;
};

struct statistic {
    struct dims kept, gone;
    int op, pass;
    const struct td_operand *x;
    void *out;
    uint8_t dtype; /* of the result */
    bool real;     /* the elements are floats */
    double p, correction;
    int64_t inner, inner_step, across; /* neighbours done together, and pieces of them at one position */
};

/* One result as far as it is known. */
struct state {
    struct td_row_sum_f64 sum;
    double real, first; /* first: of var, what is taken off before the mean is, so that equal elements differ by 0 */
    uint64_t whole;
    bool begun;
};

union block {
    double real[TD_BLOCK];
    int64_t whole[TD_BLOCK];
};

static void add_dim(struct dims *dims, int64_t shape, int64_t stride)
{
    dims->count *= shape;
    if (shape == 1)
        return;
    dims->shape[dims->rank] = shape;
    dims->stride[dims->rank++] = stride;
}

#define LOAD(type, to)                  \
    for (int64_t i = 0; i < count; i++) \
    (to)[i] = ((const type *)s->x->data)[at + i * step]

static void load(const struct statistic *s, int64_t at, int64_t step, int64_t count, union block *block, int64_t filled)
{
    switch (s->x->dtype) {
    case TD_BOOL:
        LOAD(uint8_t, block->whole + filled);
        break;
    case TD_I32:
        LOAD(int32_t, block->whole + filled);
        break;
    case TD_I64:
        LOAD(int64_t, block->whole + filled);
        break;
    case TD_F32:
        LOAD(float, block->real + filled);
        break;
    case TD_F64:
        LOAD(double, block->real + filled);
        break;
    }
}

/* expression of each x into its place, and all of them into the sum */
#define ADD(expression)                           \
    do {                                          \
        for (int64_t i = 0; i < count; i++) {     \
            double x = real[i];                   \
            real[i] = expression;                 \
        }                                         \
        td_take_sum_f64(&t->sum, real, count, 1); \
    } while (0)

static void take_norm(const struct statistic *s, struct state *t, double *real, int64_t count)
{
    if (s->p == 0)
        ADD(x != 0);
    else if (s->p == 1)
        ADD(fabs(x));
    else if (s->p == 2)
        ADD(x * x);
    else if (isinf(s->p))
        for (int64_t i = 0; i < count; i++)
            t->real = s->p > 0 ? td_max_f64(t->real, fabs(real[i])) : td_min_f64(t->real, fabs(real[i]));
    else
        ADD(pow(fabs(x), s->p));
}

static void take(const struct statistic *s, struct state *t, union block *block, int64_t count)
{
    double *real = block->real;
    if (!t->begun)
        t->first = s->real ? real[0] : 0;
    t->begun = true;
    switch (s->op) {
    case TD_OP_prod:
        for (int64_t i = 0; i < count && s->real; i++)
            t->real *= real[i];
        for (int64_t i = 0; i < count && !s->real; i++)
            t->whole *= (uint64_t)block->whole[i];
        break;
    case TD_OP_var:
    case TD_OP_std:
        if (s->pass == 0)
            ADD(x - t->first);
        else
            ADD((x - t->real) * (x - t->real));
        break;
    case TD_OP_logsumexp:
        for (int64_t i = 0; i < count && s->pass == 0; i++)
            t->real = td_max_f64(t->real, real[i]);
        if (s->pass == 1)
            ADD(td_exp_f64(x - (isinf(t->real) ? 0 : t->real)));
        break;
    case TD_OP_norm:
        take_norm(s, t, real, count);
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            t->whole += s->real ? real[i] != 0 : block->whole[i] != 0;
    }
}

/* Feeds width neighbouring results with all that goes into them; at is the first one's first element. */
static void feed(const struct statistic *s, struct state *t, int64_t at, int width)
{
    const int64_t *stride = s->gone.stride;
    union block block[WIDTH];
    int64_t filled = 0;
    struct td_walk w;
    for (td_walk_start(&w, s->gone.rank, s->gone.shape, 1, &stride, 0, s->gone.count); w.run; td_walk_next(&w))
        for (int64_t i = 0, count; i < w.run; i += count) {
            count = w.run - i < TD_BLOCK - filled ? w.run - i : TD_BLOCK - filled;
            for (int k = 0; k < width; k++)
                load(s, at + k * s->inner_step + w.at[0] + i * w.step[0], w.step[0], count, &block[k], filled);
            filled += count;
            if (filled < TD_BLOCK)
                continue;
            for (int k = 0; k < width; k++)
                take(s, &t[k], &block[k], filled);
            filled = 0;
        }
    for (int k = 0; k < width && filled; k++)
        take(s, &t[k], &block[k], filled);
}

static double sum_of(struct state *t)
{
    return t->sum.count ? td_result_sum_f64(&t->sum) : 0;
}

/* What the second pass begins with: the mean; the greatest stays. */
static void turn(const struct statistic *s, struct state *t)
{
    if (s->op != TD_OP_logsumexp)
        t->real = t->first + sum_of(t) / (double)s->gone.count;
    t->sum.count = 0;
}

static double result(const struct statistic *s, struct state *t)
{
    double count = (double)s->gone.count, sum = sum_of(t);
    switch (s->op) {
    case TD_OP_var:
        return sum / (count > s->correction ? count - s->correction : 0);
    case TD_OP_std:
        return sqrt(sum / (count > s->correction ? count - s->correction : 0));
    case TD_OP_logsumexp:
        return isinf(t->real) ? t->real : t->real + log(sum);
    case TD_OP_norm: /* PyTorch's of nothing is 0 for -inf, too */
        if (isinf(s->p))
            return count == 0 ? 0 : t->real;
        return s->p == 0 || s->p == 1 ? sum : s->p == 2 ? sqrt(sum) : pow(sum, 1 / s->p);
    default:
        return t->real;
    }
}

static bool truth(const struct statistic *s, const struct state *t)
{
    return s->op == TD_OP_any ? t->whole != 0 : t->whole == (uint64_t)s->gone.count;
}

static void store(const struct statistic *s, struct state *t, int64_t at)
{
    switch (s->dtype) {
    case TD_BOOL:
        ((uint8_t *)s->out)[at] = truth(s, t);
        break;
    case TD_I32: /* u8 meanwhile */
        ((int32_t *)s->out)[at] = truth(s, t);
        break;
    case TD_I64:
        ((uint64_t *)s->out)[at] = t->whole;
        break;
    case TD_F32:
        ((float *)s->out)[at] = (float)result(s, t);
        break;
    case TD_F64:
        ((double *)s->out)[at] = result(s, t);
        break;
    }
}

static double start_of(const struct statistic *s)
{
    return s->op == TD_OP_logsumexp ? -INFINITY : s->op == TD_OP_norm ? (s->p < 0 ? INFINITY : 0) : 1;
}

/* Pieces are up to WIDTH neighbours each. */
static void do_part(const void *data, int64_t from, int64_t to)
{
    struct statistic s = *(const struct statistic *)data;
    int64_t index[TD_RANK_MAX] = {0}, offset = 0, piece = from % s.across;
    const int64_t *stride = s.kept.stride;
    bool twice = s.op == TD_OP_var || s.op == TD_OP_std || s.op == TD_OP_logsumexp;
    td_seek_index(s.kept.rank, s.kept.shape, from / s.across, index, 1, &offset, &stride);
    for (; from < to; from++) {
        int64_t first = piece * WIDTH, left = s.inner - first, at = offset + first * s.inner_step;
        int width = (int)(left < WIDTH ? left : WIDTH);
        struct state state[WIDTH];
        for (int k = 0; k < width; k++) {
            state[k].sum.count = 0;
            state[k].real = start_of(&s);
            state[k].whole = s.op == TD_OP_prod;
            state[k].begun = false;
            state[k].first = 0;
        }
        for (s.pass = 0; s.pass <= twice; s.pass++) {
            for (int k = 0; k < width && s.pass; k++)
                turn(&s, &state[k]);
            if (s.gone.count)
                feed(&s, state, at, width);
        }
        for (int k = 0; k < width; k++)
            store(&s, &state[k], from / s.across * s.inner + first + k);
        if (++piece < s.across)
            continue;
        piece = 0;
        td_step_index(s.kept.rank, s.kept.shape, index, 1, &offset, &stride);
    }
}

static void measure(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    const struct td_var_attrs *a = launch->attrs; /* all begin alike */
    uint32_t mask = td_reduced_dims(&a->dims, x->rank);
    struct statistic s = {.kept.count = 1,
                          .gone.count = 1,
                          .op = launch->op->id,
                          .x = x,
                          .out = launch->out[0].data,
                          .dtype = launch->out[0].dtype,
                          .real = td_dtype_category(x->dtype) == TD_FLOATING,
                          .inner = 1,
                          .across = 1};
    if (s.op == TD_OP_norm)
        s.p = ((const struct td_norm_attrs *)launch->attrs)->p;
    else if (s.op == TD_OP_var || s.op == TD_OP_std)
        s.correction = (double)a->correction;
    for (int d = 0; d < x->rank; d++)
        add_dim(mask & 1u << d ? &s.gone : &s.kept, x->shape[d], x->stride[d]);
    int last = s.kept.rank - 1;
    if (s.kept.count == 0)
        return;
    if (s.kept.rank && s.gone.rank && s.kept.stride[last] < s.gone.stride[s.gone.rank - 1]) {
        s.inner = s.kept.shape[last];
        s.inner_step = s.kept.stride[last];
        s.across = (s.inner + WIDTH - 1) / WIDTH;
        s.kept.rank = last;
    }
    int64_t pieces = s.kept.count / s.inner * s.across;
    td_parallel(pieces, td_grain(s.gone.count * (s.kept.count / pieces)), 0, do_part, &s);
}

#define STATISTIC(name)                          \
    void TD_CPU(name)(struct td_launch * launch) \
    {                                            \
        measure(launch);                         \
    }
STATISTIC(prod)
STATISTIC(any)
STATISTIC(all)
STATISTIC(var)
STATISTIC(std)
STATISTIC(logsumexp)
STATISTIC(norm)

void TD_CPU(count_nonzero)(struct td_launch *launch)
{
    if (td_operand_numel(&launch->out[0]) == 1)
        *(int64_t *)launch->out[0].data = TD_CPU(count_of)(&launch->in[0]);
    else
        measure(launch);
}
