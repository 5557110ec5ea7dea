/* sort, argsort, topk, kthvalue, median and mode: all by the sorted order of each row. Elements become keys, unsigned
 * numbers of the same order (nan the greatest, both zeros the same), which are sorted with their places: by radix, a
 * byte at a time from the lowest, so that equal keys keep their order and the time is a multiple of the length whatever
 * the values. Rows alone are cut for threads. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "kernels/cpu/rows.h"
#include "kernels/scalar.h"

/* Rows up to here are sorted by insertion, */
#define SHORT_ROW 32
/* and up to here without memory of their own. */
#define SMALL_ROW 512
/* Simple elements that are as much work as one that is sorted. */
#define WORK 16

struct pair {
    uint64_t key;
    int64_t at;
};

enum take { ALL, KTH, MIDDLE, MOST };

struct sorting {
    struct td_rows rows;
    enum take take;
    int64_t count; /* ALL: how many of the first; KTH: which */
    bool descending;
    const struct td_operand *x;
    void *values; /* NULL: not wanted */
    int64_t *places;
    atomic_bool *starved;
};

static void insertion_sort(struct pair *pairs, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        struct pair pair = pairs[i];
        int64_t to = i;
        for (; to > 0 && pairs[to - 1].key > pair.key; to--)
            pairs[to] = pairs[to - 1];
        pairs[to] = pair;
    }
}

/* The pairs in order, in one of the two places. */
static struct pair *sort_pairs(struct pair *pairs, struct pair *spare, int64_t count)
{
    int64_t digits[8][256] = {{0}};
    if (count <= SHORT_ROW) {
        insertion_sort(pairs, count);
        return pairs;
    }
    for (int64_t i = 0; i < count; i++)
        for (int b = 0; b < 8; b++)
            digits[b][pairs[i].key >> 8 * b & 255]++;
    for (int b = 0; b < 8; b++) {
        int64_t at = 0, *digit = digits[b];
        if (digit[pairs[0].key >> 8 * b & 255] == count)
            continue;
        for (int k = 0; k < 256; k++) {
            int64_t more = digit[k];
            digit[k] = at;
            at += more;
        }
        for (int64_t i = 0; i < count; i++)
            spare[digit[pairs[i].key >> 8 * b & 255]++] = pairs[i];
        struct pair *swap = pairs;
        pairs = spare;
        spare = swap;
    }
    return pairs;
}

/* Adding 0 makes -0 the other zero. */
static uint64_t key_of_real(double x)
{
    uint64_t bits = td_bits_of_f64(x + 0.0);
    return x != x ? UINT64_MAX : bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static uint64_t key_of_integer(int64_t x)
{
    return (uint64_t)x ^ UINT64_C(1) << 63;
}

#define KEYS(name, type, key_of)                                                                              \
    static void keys_##name(struct pair *pairs, const void *from, int64_t step, int64_t count, uint64_t mask) \
    {                                                                                                         \
        const type *x = from;                                                                                 \
        for (int64_t i = 0; i < count; i++)                                                                   \
            pairs[i] = (struct pair){key_of(x[i * step]) ^ mask, i};                                          \
    }
KEYS(bool, uint8_t, key_of_integer)
KEYS(i32, int32_t, key_of_integer)
KEYS(i64, int64_t, key_of_integer)
KEYS(f32, float, key_of_real)
KEYS(f64, double, key_of_real)

static void (*const keys_of[TD_DTYPE_LIMIT])(struct pair *, const void *, int64_t, int64_t, uint64_t) = {
    [TD_BOOL] = keys_bool, [TD_I32] = keys_i32, [TD_I64] = keys_i64, [TD_F32] = keys_f32, [TD_F64] = keys_f64};

/* Of the most frequent key the last place, and of several the smallest; each nan is a key of its own. */
static int64_t most_frequent(const struct pair *pairs, int64_t count, bool nans)
{
    int64_t best = 0, most = 0, run = 0;
    for (int64_t i = 0; i < count; i++) {
        run++;
        if (i + 1 < count && pairs[i].key == pairs[i + 1].key && !(nans && pairs[i].key == UINT64_MAX))
            continue;
        if (run > most) {
            most = run;
            best = i;
        }
        run = 0;
    }
    return best;
}

/* The middle one, or the first nan. */
static int64_t middle(const struct pair *pairs, int64_t count, bool nans)
{
    int64_t at = count - 1;
    if (!nans || pairs[at].key != UINT64_MAX)
        return at / 2;
    while (at > 0 && pairs[at - 1].key == UINT64_MAX)
        at--;
    return at;
}

/* Which of the sorted pairs come into the result, from *first on. */
static int64_t taken(const struct sorting *s, const struct pair *pairs, int64_t *first)
{
    bool nans = td_dtype_category(s->x->dtype) == TD_FLOATING;
    *first = s->take == KTH      ? s->count - 1
             : s->take == MIDDLE ? middle(pairs, s->rows.count, nans)
             : s->take == MOST   ? most_frequent(pairs, s->rows.count, nans)
                                 : 0;
    return s->take == ALL ? s->count : 1;
}

#define COPY(type)                      \
    for (int64_t i = 0; i < count; i++) \
    ((type *)s->values)[out + i * s->rows.out_step] = ((const type *)s->x->data)[x + pairs[i].at * s->rows.x_step]

static void sort_row(const struct sorting *s, struct pair *pairs, int64_t x, int64_t out)
{
    int64_t size = (int64_t)td_dtype_size(s->x->dtype), first, count;
    keys_of[s->x->dtype](pairs, (const char *)s->x->data + x * size, s->rows.x_step, s->rows.count,
                         s->descending ? UINT64_MAX : 0);
    pairs = sort_pairs(pairs, pairs + s->rows.count, s->rows.count);
    count = taken(s, pairs, &first);
    pairs += first;
    for (int64_t i = 0; i < count && s->places; i++)
        s->places[out + i * s->rows.out_step] = pairs[i].at;
    if (!s->values)
        return;
    if (size == 1)
        COPY(uint8_t);
    else if (size == 4)
        COPY(uint32_t);
    else
        COPY(uint64_t);
}

static void sort_part(const void *data, int64_t from, int64_t to)
{
    const struct sorting *s = data;
    struct pair small[2 * SMALL_ROW], *pairs = small;
    struct td_rows_at at;
    if (s->rows.count > SMALL_ROW)
        pairs = malloc(2 * (size_t)s->rows.count * sizeof *pairs);
    if (!pairs) {
        atomic_store(s->starved, true);
        return;
    }
    for (td_rows_start(&s->rows, &at, from); from < to; from++, td_rows_next(&s->rows, &at))
        sort_row(s, pairs, at.x, at.out);
    if (pairs != small)
        free(pairs);
}

static void run(struct td_launch *launch, struct sorting s, int64_t dim)
{
    atomic_bool starved = false;
    s.x = &launch->in[0];
    s.starved = &starved;
    if (!td_rows_init(&s.rows, s.x, &launch->out[0], dim, false) || s.rows.count == 0)
        return;
    if (s.take == ALL && s.count < 0)
        s.count = s.rows.count;
    td_parallel(s.rows.pieces, td_rows_grain(&s.rows, WORK), 0, sort_part, &s);
    if (starved)
        launch->fault.code = TD_E_MEMORY;
}

void TD_CPU(sort)(struct td_launch *launch)
{
    const struct td_sort_attrs *a = launch->attrs;
    struct sorting s = {.count = -1, .descending = a->descending, .values = launch->out[0].data};
    s.places = launch->out[1].data;
    run(launch, s, a->dim);
}

void TD_CPU(argsort)(struct td_launch *launch)
{
    const struct td_argsort_attrs *a = launch->attrs;
    run(launch, (struct sorting){.count = -1, .descending = a->descending, .places = launch->out[0].data}, a->dim);
}

/* Without dimensions there is one element, whatever k is. */
void TD_CPU(topk)(struct td_launch *launch)
{
    const struct td_topk_attrs *a = launch->attrs;
    struct sorting s = {.count = launch->in[0].rank ? a->k : 1, .descending = a->largest};
    s.values = launch->out[0].data;
    s.places = launch->out[1].data;
    run(launch, s, a->dim);
}

void TD_CPU(kthvalue)(struct td_launch *launch)
{
    const struct td_kthvalue_attrs *a = launch->attrs;
    struct sorting s = {.take = KTH, .count = a->k, .values = launch->out[0].data, .places = launch->out[1].data};
    run(launch, s, a->dim);
}

void TD_CPU(median_dim)(struct td_launch *launch)
{
    struct sorting s = {.take = MIDDLE, .values = launch->out[0].data, .places = launch->out[1].data};
    run(launch, s, ((const struct td_median_dim_attrs *)launch->attrs)->dim);
}

void TD_CPU(mode)(struct td_launch *launch)
{
    struct sorting s = {.take = MOST, .values = launch->out[0].data, .places = launch->out[1].data};
    run(launch, s, ((const struct td_mode_attrs *)launch->attrs)->dim);
}

/* All of x is one row, copied where no single stride leads through it. */
void TD_CPU(median)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    int64_t count = td_operand_numel(x);
    size_t size = td_dtype_size(x->dtype);
    if (count == 0) {
        struct td_number nan = {.category = TD_FLOATING, .f = NAN}, least = {.category = TD_INTEGER, .i = INT32_MIN};
        td_number_store(out->dtype == TD_I32 ? least : nan, out->dtype, out->data); /* nan as x86 converts it */
        return;
    }
    struct td_operand row = {.dtype = x->dtype, .rank = 1, .shape = {count}, .stride = {1}}, dense = *x;
    dense.data = row.data = malloc((size_t)count * size);
    if (!row.data) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    td_contiguous_strides(x->rank, x->shape, dense.stride);
    TD_CPU(copy_operand)(&dense, x);
    struct td_launch inner = *launch;
    inner.in = &row;
    run(&inner, (struct sorting){.take = MIDDLE, .values = out->data}, 0);
    launch->fault = inner.fault;
    free(row.data);
}
