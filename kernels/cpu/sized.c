/* nonzero, masked_select, masked_scatter and bincount. The elements that are found are counted before anything is
 * written, and have to be as many as the size says. SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "kernels/cpu/iterate.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

/* Elements that are looked through at once: what is found of them stands on the stack. */
#define CHUNK 512
/* Elements whose number 16 bits hold: the narrower a count is, the more are made at once. */
#define COUNTED 32768

/* ---- what is not 0 ---- */

#if defined(__AVX2__) && !defined(__AVX512BW__)
/* Which of four bits are set; what stands behind them is nothing. */
typedef int64_t four_places __attribute__((vector_size(32)));
static const four_places places_of[16] = {
    {0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {2, 0, 0, 0}, {0, 2, 0, 0}, {1, 2, 0, 0}, {0, 1, 2, 0},
    {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0}, {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3}};
#endif

/* Those of the leading elements that vectors take: found holds their places, at least a vector more than there are, and
 * *taken says how many were looked at. */
static int64_t find_by_vectors(const uint8_t *x, int64_t from, int64_t to, int64_t *found, int64_t *taken)
{
    int64_t n = 0, i = from;
#ifdef __AVX512BW__
    __m512i place = _mm512_add_epi64(_mm512_set1_epi64(from), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
    for (; i + 8 <= to; i += 8) {
        __m128i bytes = _mm_loadl_epi64((const void *)(x + i));
        __mmask8 there = (__mmask8)_mm_test_epi8_mask(bytes, bytes);
        _mm512_storeu_si512(found + n, _mm512_maskz_compress_epi64(there, place));
        n += __builtin_popcount(there);
        place = _mm512_add_epi64(place, _mm512_set1_epi64(8));
    }
#elif defined(__AVX2__)
    for (; i + 16 <= to; i += 16) {
        __m128i bytes = _mm_loadu_si128((const void *)(x + i));
        unsigned there = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128()));
        for (int k = 0; k < 16; k += 4, there >>= 4) {
            four_places four = places_of[there & 15] + (i + k);
            memcpy(found + n, &four, sizeof four);
            n += __builtin_popcount(there & 15);
        }
    }
#else
    (void)x, (void)to, (void)found;
#endif
    *taken = i;
    return n;
}

/* Where elements of a run are not 0, and how many. The store comes before the test, so that there is no branch. */
#define FINDER(name, type, test)                                                                         \
    static int64_t find_##name(const void *data, int64_t step, int64_t from, int64_t to, int64_t *found) \
    {                                                                                                    \
        const type *x = data;                                                                            \
        int64_t n = 0, i = from;                                                                         \
        if (sizeof(type) == 1 && step == 1)                                                              \
            n = find_by_vectors(data, from, to, found, &i);                                              \
        for (; i < to; i++) {                                                                            \
            type v = x[i * step];                                                                        \
            found[n] = i;                                                                                \
            n += (test);                                                                                 \
        }                                                                                                \
        return n;                                                                                        \
    }                                                                                                    \
    static int64_t count_##name(const void *data, int64_t step, int64_t count)                           \
    {                                                                                                    \
        const type *x = data;                                                                            \
        int64_t n = 0, i = 0;                                                                            \
        while (step == 1 && i < count) {                                                                 \
            int64_t end = count - i < COUNTED ? count : i + COUNTED;                                     \
            uint16_t few = 0;                                                                            \
            for (; i < end; i++) {                                                                       \
                type v = x[i];                                                                           \
                few += (test);                                                                           \
            }                                                                                            \
            n += few;                                                                                    \
        }                                                                                                \
        for (; i < count; i++) {                                                                         \
            type v = x[i * step];                                                                        \
            n += (test);                                                                                 \
        }                                                                                                \
        return n;                                                                                        \
    }
FINDER(8, uint8_t, v != 0)
FINDER(16, uint16_t, v != 0)
FINDER(32, uint32_t, v != 0)
FINDER(64, uint64_t, v != 0)
FINDER(half, uint16_t, (uint16_t)(v << 1) != 0) /* -0 is 0 */
FINDER(f32, float, v != 0)
FINDER(f64, double, v != 0)

struct finder {
    int64_t (*find)(const void *, int64_t, int64_t, int64_t, int64_t *);
    int64_t (*count)(const void *, int64_t, int64_t);
};
#define FINDER_OF(name)           \
    {                             \
        find_##name, count_##name \
    }
static const struct finder finders[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = FINDER_OF(8),  [TD_U8] = FINDER_OF(8),   [TD_I8] = FINDER_OF(8),     [TD_I16] = FINDER_OF(16),
    [TD_I32] = FINDER_OF(32),  [TD_I64] = FINDER_OF(64), [TD_F16] = FINDER_OF(half), [TD_BF16] = FINDER_OF(half),
    [TD_F32] = FINDER_OF(f32), [TD_F64] = FINDER_OF(f64)};

/* ---- several operands, row by row ---- */

/* Operands seen in one shape; all elements are one row where every one of them lies densely. */
struct rows {
    int rank, count;
    int64_t shape[TD_RANK_MAX], stride[3][TD_RANK_MAX];
    int64_t numel;
};

static void add_operand(struct rows *rows, const struct td_operand *x)
{
    int added = rows->rank - x->rank;
    int64_t *stride = rows->stride[rows->count++];
    for (int d = 0; d < rows->rank; d++)
        stride[d] = d < added || (x->shape[d - added] == 1 && rows->shape[d] != 1) ? 0 : x->stride[d - added];
}

static struct rows rows_of(int rank, const int64_t *shape)
{
    struct rows rows = {.rank = rank, .numel = 1};
    for (int d = 0; d < rank; d++)
        rows.numel *= rows.shape[d] = shape[d];
    return rows;
}

static void flatten(struct rows *rows)
{
    for (int k = 0; k < rows->count; k++) {
        int64_t step = 1;
        for (int d = rows->rank - 1; d >= 0; step *= rows->shape[d--])
            if (rows->shape[d] != 1 && rows->stride[k][d] != step)
                return;
    }
    rows->rank = 1;
    rows->shape[0] = rows->numel;
    for (int k = 0; k < rows->count; k++)
        rows->stride[k][0] = 1;
}

static void start(struct td_walk *w, const struct rows *rows, const int64_t **stride)
{
    for (int k = 0; k < rows->count; k++)
        stride[k] = rows->stride[k];
    td_walk_start(w, rows->rank, rows->shape, rows->count, stride, 0, rows->numel);
}

/* How many elements of operand k are not 0. */
static int64_t count_in(const struct rows *rows, int k, const struct td_operand *x)
{
    const int64_t *stride[3];
    int64_t count = 0, size = (int64_t)td_dtype_size(x->dtype);
    struct td_walk w;
    if (rows->numel == 0)
        return 0;
    for (start(&w, rows, stride); w.run; td_walk_next(&w))
        count += finders[x->dtype].count((const char *)x->data + w.at[k] * size, w.step[k], w.run);
    return count;
}

struct counting {
    const struct td_operand *x;
    _Atomic int64_t *count;
};

static void count_part(const void *data, int64_t from, int64_t to)
{
    const struct counting *c = data;
    const char *at = (const char *)c->x->data + from * (int64_t)td_dtype_size(c->x->dtype);
    atomic_fetch_add(c->count, finders[c->x->dtype].count(at, 1, to - from));
}

int64_t TD_CPU(count_of)(const struct td_operand *x)
{
    struct rows rows = rows_of(x->rank, x->shape);
    _Atomic int64_t count = 0;
    add_operand(&rows, x);
    flatten(&rows);
    if (rows.numel == 0 || rows.rank != 1 || rows.stride[0][0] != 1)
        return count_in(&rows, 0, x);
    td_parallel(rows.numel, TD_GRAIN, 0, count_part, &(struct counting){x, &count});
    return count;
}

/* Whether as many were found as are due; if not, nothing is done. */
static bool as_many(struct td_launch *launch, int64_t found, int64_t due)
{
    if (found == due)
        return true;
    launch->fault = (struct td_fault){.code = TD_E_SHAPE, .value = found, .size = due};
    return false;
}

/* ---- nonzero ---- */

/* The elements from up to to of a row are looked through; row has the coordinates of its dimensions but the last. */
static int64_t note_places(const struct td_operand *out, int rank, const int64_t *row, const int64_t *found, int64_t n,
                           int64_t done)
{
    int64_t *column = (int64_t *)out->data + done;
    for (int d = 0; d < rank - 1; d++, column += out->stride[1])
        for (int64_t i = 0; i < n; i++)
            column[i] = row[d];
    memcpy(column, found, (size_t)n * sizeof *found);
    return done + n;
}

void TD_CPU(nonzero)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct rows rows = rows_of(x->rank, x->shape);
    const int64_t *stride[3];
    int64_t found[CHUNK], done = 0, size = (int64_t)td_dtype_size(x->dtype);
    add_operand(&rows, x);
    if (!as_many(launch, TD_CPU(count_of)(x), out->shape[0]) || x->rank == 0 || out->shape[0] == 0)
        return;
    struct td_walk w;
    for (start(&w, &rows, stride); w.run; td_walk_next(&w)) {
        const char *row = (const char *)x->data + w.at[0] * size;
        for (int64_t from = 0, to; from < w.run; from = to) {
            to = w.run - from < CHUNK ? w.run : from + CHUNK;
            int64_t n = finders[x->dtype].find(row, w.step[0], from, to, found);
            done = note_places(out, x->rank, w.index, found, n, done);
        }
    }
}

/* ---- masks ---- */

/* Of the leading elements those that vectors take, by their size: as find_by_vectors. */
static int64_t select_by_vectors(const void *x, size_t size, const uint8_t *mask, int64_t count, void *kept,
                                 int64_t *taken)
{
    int64_t n = 0, i = 0;
#ifdef __AVX512BW__
    for (; size == 4 && i + 16 <= count; i += 16) {
        __m128i bytes = _mm_loadu_si128((const void *)(mask + i));
        __mmask16 there = _mm_test_epi8_mask(bytes, bytes);
        __m512i some = _mm512_loadu_si512((const int32_t *)x + i);
        _mm512_storeu_si512((int32_t *)kept + n, _mm512_maskz_compress_epi32(there, some));
        n += __builtin_popcount(there);
    }
    for (; size == 8 && i + 8 <= count; i += 8) {
        __m128i bytes = _mm_loadl_epi64((const void *)(mask + i));
        __mmask8 there = (__mmask8)_mm_test_epi8_mask(bytes, bytes);
        __m512i some = _mm512_loadu_si512((const int64_t *)x + i);
        _mm512_storeu_si512((int64_t *)kept + n, _mm512_maskz_compress_epi64(there, some));
        n += __builtin_popcount(there);
    }
#else
    (void)x, (void)size, (void)mask, (void)count, (void)kept;
#endif
    *taken = i;
    return n;
}

/* Elements of a run where mask is true, into kept. */
#define SELECT(name, type)                                                                               \
    static int64_t select_##name(const void *data, int64_t step, const uint8_t *mask, int64_t mask_step, \
                                 int64_t count, void *kept)                                              \
    {                                                                                                    \
        const type *x = data;                                                                            \
        type *y = kept;                                                                                  \
        int64_t n = 0, i = 0;                                                                            \
        if (step == 1 && mask_step == 1)                                                                 \
            n = select_by_vectors(x, sizeof(type), mask, count, kept, &i);                               \
        for (; i < count; i++) {                                                                         \
            y[n] = x[i * step];                                                                          \
            n += mask[i * mask_step];                                                                    \
        }                                                                                                \
        return n;                                                                                        \
    }
SELECT(1, uint8_t)
SELECT(2, uint16_t)
SELECT(4, uint32_t)
SELECT(8, uint64_t)

static struct rows broadcast(const struct td_operand *x, const struct td_operand *mask)
{
    int64_t shape[TD_RANK_MAX];
    int rank;
    td_broadcast(x->rank, x->shape, mask->rank, mask->shape, &rank, shape);
    struct rows rows = rows_of(rank, shape);
    add_operand(&rows, x);
    add_operand(&rows, mask);
    return rows;
}

void TD_CPU(masked_select)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *mask = &launch->in[1], *out = &launch->out[0];
    const int64_t *stride[3];
    int64_t kept[CHUNK], size = (int64_t)td_dtype_size(x->dtype);
    struct rows rows = broadcast(x, mask);
    char *target = out->data;
    flatten(&rows);
    if (!as_many(launch, count_in(&rows, 1, mask), out->shape[0]) || out->shape[0] == 0)
        return;
    struct td_walk w;
    for (start(&w, &rows, stride); w.run; td_walk_next(&w))
        for (int64_t from = 0, n; from < w.run; from += CHUNK) {
            int64_t count = w.run - from < CHUNK ? w.run - from : CHUNK;
            const char *source = (const char *)x->data + (w.at[0] + from * w.step[0]) * size;
            const uint8_t *truth = (const uint8_t *)mask->data + w.at[1] + from * w.step[1];
            n = size == 1   ? select_1(source, w.step[0], truth, w.step[1], count, kept)
                : size == 2 ? select_2(source, w.step[0], truth, w.step[1], count, kept)
                : size == 4 ? select_4(source, w.step[0], truth, w.step[1], count, kept)
                            : select_8(source, w.step[0], truth, w.step[1], count, kept);
            memcpy(target, kept, (size_t)(n * size));
            target += n * size;
        }
}

#define SCATTER(name, type)                                                                                          \
    static int64_t scatter_##name(void *target, int64_t step, const uint8_t *mask, int64_t mask_step, int64_t count, \
                                  const void *source)                                                                \
    {                                                                                                                \
        type *y = target;                                                                                            \
        const type *x = source;                                                                                      \
        int64_t n = 0;                                                                                               \
        for (int64_t i = 0; i < count; i++)                                                                          \
            if (mask[i * mask_step])                                                                                 \
                y[i * step] = x[n++];                                                                                \
        return n;                                                                                                    \
    }
SCATTER(1, uint8_t)
SCATTER(2, uint16_t)
SCATTER(4, uint32_t)
SCATTER(8, uint64_t)

void TD_CPU(masked_scatter)(struct td_launch *launch)
{
    const struct td_operand *mask = &launch->in[1], *out = &launch->out[0];
    const int64_t *stride[3];
    int64_t size = (int64_t)td_dtype_size(out->dtype), due = td_operand_numel(&launch->in[2]);
    struct rows rows = broadcast(&launch->in[0], mask);
    const char *source = launch->in[2].data;
    int64_t count = count_in(&rows, 1, mask);
    if (count > due && !as_many(launch, count, due))
        return;
    if (rows.numel == 0)
        return;
    struct td_operand x = *out;
    x.data = launch->in[0].data;
    memcpy(x.stride, rows.stride[0], sizeof x.stride);
    TD_CPU(copy_operand)(out, &x);
    rows.count = 1;
    memmove(rows.stride[0], rows.stride[1], sizeof rows.stride[0]);
    add_operand(&rows, out);
    flatten(&rows);
    struct td_walk w;
    for (start(&w, &rows, stride); w.run; td_walk_next(&w)) {
        char *target = (char *)out->data + w.at[1] * size;
        const uint8_t *truth = (const uint8_t *)mask->data + w.at[0];
        int64_t n = size == 1   ? scatter_1(target, w.step[1], truth, w.step[0], w.run, source)
                    : size == 2 ? scatter_2(target, w.step[1], truth, w.step[0], w.run, source)
                    : size == 4 ? scatter_4(target, w.step[1], truth, w.step[0], w.run, source)
                                : scatter_8(target, w.step[1], truth, w.step[0], w.run, source);
        source += n * size;
    }
}

/* ---- bincount ---- */

#define TALLY(name, type)                                                                                \
    static void tally_##name(const struct td_operand *x, const struct td_operand *weights, void *target) \
    {                                                                                                    \
        const int64_t *place = x->data;                                                                  \
        const type *weight = weights->data;                                                              \
        type *y = target;                                                                                \
        for (int64_t i = 0; i < x->shape[0]; i++)                                                        \
            y[place[i * x->stride[0]]] += weight[i * weights->stride[0]];                                \
    }
TALLY(i32, uint32_t)
TALLY(i64, uint64_t)
TALLY(f32, float)
TALLY(f64, double)

void TD_CPU(bincount)(struct td_launch *launch)
{
    static void (*const tally[TD_DTYPE_LIMIT])(const struct td_operand *, const struct td_operand *, void *) = {
        [TD_I32] = tally_i32, [TD_I64] = tally_i64, [TD_F32] = tally_f32, [TD_F64] = tally_f64};
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    if (!TD_CPU(indices_within)(launch, x, 0, out->shape[0]))
        return;
    if (out->shape[0])
        memset(out->data, 0, (size_t)out->shape[0] * td_dtype_size(out->dtype));
    tally[out->dtype](x, &launch->in[1], out->data);
}
