/* Coins and lots: bernoulli and multinomial. What element i draws depends on seed, counter and i alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "kernels/lots.h"
#include "protocol/error.h"

/* ---- bernoulli: rand's number of the same type is less than p ---- */

struct coins {
    const struct td_launch *launch;
    atomic_bool *wrong;
};

#define COINS(name, type)                                                                          \
    static void check_##name(const void *data, int64_t from, int64_t to)                           \
    {                                                                                              \
        const struct coins *c = data;                                                              \
        const struct td_operand *p = &c->launch->in[0];                                            \
        const int64_t *stride = p->stride;                                                         \
        bool fits = true;                                                                          \
        struct td_walk w;                                                                          \
        for (td_walk_start(&w, p->rank, p->shape, 1, &stride, from, to); w.run; td_walk_next(&w))  \
            for (int64_t i = 0; i < w.run; i++) {                                                  \
                type chance = ((const type *)p->data)[w.at[0] + i * w.step[0]];                    \
                fits &= chance >= 0 && chance <= 1;                                                \
            }                                                                                      \
        if (!fits)                                                                                 \
            atomic_store(c->wrong, true);                                                          \
    }                                                                                              \
    static void name(const void *data, int64_t from, int64_t to)                                   \
    {                                                                                              \
        const struct td_launch *launch = ((const struct coins *)data)->launch;                     \
        const struct td_operand *p = &launch->in[0], *y = &launch->out[0];                         \
        const int64_t *stride[] = {y->stride, p->stride};                                          \
        int64_t at = from;                                                                         \
        struct td_walk w;                                                                          \
        for (td_walk_start(&w, y->rank, y->shape, 2, stride, from, to); w.run; td_walk_next(&w))   \
            for (int64_t i = 0; i < w.run; i++, at++)                                              \
                ((type *)y->data)[w.at[0] + i * w.step[0]] =                                       \
                    uniform_##type(launch, at) < ((const type *)p->data)[w.at[1] + i * w.step[1]]; \
    }

static float uniform_float(const struct td_launch *launch, int64_t i)
{
    struct td_words words = td_philox(launch->seed, launch->counter + (uint64_t)i / 4);
    uint32_t word[] = {words.w0, words.w1, words.w2, words.w3};
    return td_uniform_f32(word[i % 4]);
}
static double uniform_double(const struct td_launch *launch, int64_t i)
{
    return td_uniform_at_f64(launch->seed, launch->counter, i);
}
COINS(coins_f32, float)
COINS(coins_f64, double)

void TD_CPU(bernoulli)(struct td_launch *launch)
{
    atomic_bool wrong = false;
    struct coins coins = {launch, &wrong};
    bool wide = launch->out[0].dtype == TD_F64;
    int64_t count = td_operand_numel(&launch->out[0]);
    td_parallel(count, TD_GRAIN, 0, wide ? check_coins_f64 : check_coins_f32, &coins);
    if (wrong)
        launch->fault = (struct td_fault){.code = TD_E_ARGUMENT, .why = "a probability does not lie from 0 to 1"};
    else
        td_parallel(count, TD_GRAIN / 8, 0, wide ? coins_f64 : coins_f32, &coins);
}

/* ---- multinomial ---- */

struct lots {
    const struct td_launch *launch;
    int64_t count, size, leaves; /* drawn of each row; weights of one; the next power of 2 */
    atomic_int *wrong;           /* enum td_lots_fault */
    atomic_bool *starved;
};

/* The weights of a row as leaves, and their sums; what is wrong with them. */
static enum td_lots_fault plant(const struct lots *l, int64_t row, double *tree)
{
    const struct td_operand *x = &l->launch->in[0];
    int last = x->rank - 1;
    int64_t some = 0, start = last ? row * x->stride[0] : 0;
    for (int64_t k = 0; k < l->leaves; k++) {
        int64_t at = start + k * x->stride[last];
        double weight = k >= l->size         ? 0
                        : x->dtype == TD_F64 ? ((const double *)x->data)[at]
                                             : (double)((const float *)x->data)[at];
        if (!td_lots_is_weight(weight))
            return TD_LOTS_WEIGHT;
        some += weight > 0;
        tree[l->leaves + k] = weight;
    }
    for (int64_t k = l->leaves - 1; k > 0; k--)
        tree[k] = tree[2 * k] + tree[2 * k + 1];
    bool again = ((const struct td_multinomial_attrs *)l->launch->attrs)->replacement;
    return td_lots_check(some, tree[1], l->count, again);
}

static void draw_rows(const void *data, int64_t from, int64_t to)
{
    const struct lots *l = data;
    bool again = ((const struct td_multinomial_attrs *)l->launch->attrs)->replacement;
    double *tree = malloc(2 * (size_t)l->leaves * sizeof *tree);
    int64_t *y = l->launch->out[0].data;
    if (!tree)
        atomic_store(l->starved, true);
    for (int64_t row = from; tree && row < to; row++) {
        (void)plant(l, row, tree); /* check_rows has found nothing wrong with it */
        for (int64_t k = 0; k < l->count; k++) {
            int64_t leaf = td_lots_leaf(tree, l->leaves, uniform_double(l->launch, row * l->count + k) * tree[1]);
            y[row * l->count + k] = leaf - l->leaves;
            if (!again)
                td_lots_take(tree, leaf);
        }
    }
    free(tree);
}

/* Whether every row can be drawn from, so that nothing is written where one cannot. */
static void check_rows(const void *data, int64_t from, int64_t to)
{
    const struct lots *l = data;
    double *tree = malloc(2 * (size_t)l->leaves * sizeof *tree);
    enum td_lots_fault wrong = TD_LOTS_FINE;
    if (!tree)
        atomic_store(l->starved, true);
    for (int64_t row = from; tree && row < to && !wrong; row++)
        wrong = plant(l, row, tree);
    if (wrong)
        atomic_store(l->wrong, (int)wrong);
    free(tree);
}

void TD_CPU(multinomial)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    atomic_int wrong = TD_LOTS_FINE;
    atomic_bool starved = false;
    struct lots l = {.launch = launch,
                     .count = ((const struct td_multinomial_attrs *)launch->attrs)->count,
                     .size = x->shape[x->rank - 1],
                     .leaves = 1,
                     .wrong = &wrong,
                     .starved = &starved};
    int64_t rows = x->rank > 1 ? x->shape[0] : 1;
    while (l.leaves < l.size)
        l.leaves *= 2;
    td_parallel(rows, td_grain(l.leaves), 0, check_rows, &l);
    if (!wrong && !starved)
        td_parallel(rows, td_grain(l.leaves), 0, draw_rows, &l);
    if (wrong)
        launch->fault = (struct td_fault){.code = TD_E_ARGUMENT, .why = td_lots_why((enum td_lots_fault)wrong)};
    else if (starved)
        launch->fault.code = TD_E_MEMORY;
}
