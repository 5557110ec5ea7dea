/* searchsorted and histc. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "kernels/functions.h"
#include "protocol/error.h"

struct search {
    const struct td_operand *sorted, *values, *out;
    bool right;
};

/* Where value belongs among count elements that lie step apart. What compares with nothing belongs at the end. */
#define FIND(name, type)                                                                                     \
    static int64_t find_##name(const void *data, int64_t count, int64_t step, const void *value, bool right) \
    {                                                                                                        \
        const type *x = data, v = *(const type *)value;                                                      \
        int64_t from = 0, to = count;                                                                        \
        while (from < to) {                                                                                  \
            int64_t middle = from + (to - from) / 2;                                                         \
            type at = x[middle * step];                                                                      \
            if (right ? !(at > v) : !(at >= v))                                                              \
                from = middle + 1;                                                                           \
            else                                                                                             \
                to = middle;                                                                                 \
        }                                                                                                    \
        return from;                                                                                         \
    }
FIND(i32, int32_t)
FIND(i64, int64_t)
FIND(f32, float)
FIND(f64, double)

typedef int64_t find(const void *, int64_t, int64_t, const void *, bool);
static find *const finds[TD_DTYPE_LIMIT] = {
    [TD_I32] = find_i32, [TD_I64] = find_i64, [TD_F32] = find_f32, [TD_F64] = find_f64};

static void search_part(const void *data, int64_t from, int64_t to)
{
    const struct search *s = data;
    const struct td_operand *sorted = s->sorted, *values = s->values;
    int64_t size = (int64_t)td_dtype_size(sorted->dtype), along[TD_RANK_MAX] = {0};
    int last = sorted->rank - 1;
    for (int d = 0; d < last; d++) /* the row of a value */
        along[d] = sorted->stride[d];
    const int64_t *stride[] = {s->out->stride, values->stride, along};
    int64_t *y = s->out->data;
    struct td_walk w;
    for (td_walk_start(&w, values->rank, s->out->shape, 3, stride, from, to); w.run; td_walk_next(&w))
        for (int64_t i = 0; i < w.run; i++)
            y[w.at[0] + i * w.step[0]] = finds[sorted->dtype](
                (const char *)sorted->data + (w.at[2] + i * w.step[2]) * size, sorted->shape[last],
                sorted->stride[last], (const char *)values->data + (w.at[1] + i * w.step[1]) * size, s->right);
}

void TD_CPU(searchsorted)(struct td_launch *launch)
{
    struct search s = {&launch->in[0], &launch->in[1], &launch->out[0],
                       ((const struct td_searchsorted_attrs *)launch->attrs)->right != 0};
    td_parallel(td_operand_numel(s.out), td_grain(32), 0, search_part, &s);
}

/* ---- histc ---- */

/* Counts stand in the result's own memory until all are there, and stop at the greatest that fits. */
#define HISTC(name, type, counter, bin_of)                                                                          \
    static const char *name(const struct td_operand *x, const struct td_operand *out, double low, double high)      \
    {                                                                                                               \
        const int64_t *stride = x->stride;                                                                          \
        int64_t bins = out->shape[0], numel = td_operand_numel(x);                                                  \
        type from = (type)low, to = (type)high, *y = out->data;                                                     \
        const type *elements = x->data;                                                                             \
        struct td_walk w;                                                                                           \
        bool first = low == high, nan = false;                                                                      \
        for (td_walk_start(&w, x->rank, x->shape, 1, &stride, 0, low == high ? numel : 0); w.run; td_walk_next(&w)) \
            for (int64_t i = 0; i < w.run; i++) {                                                                   \
                type e = elements[w.at[0] + i * w.step[0]];                                                         \
                from = first || e < from ? e : from;                                                                \
                to = first || e > to ? e : to;                                                                      \
                nan |= e != e;                                                                                      \
                first = false;                                                                                      \
            }                                                                                                       \
        if (nan || !isfinite(from) || !isfinite(to))                                                                \
            return "the elements have no finite range";                                                             \
        if (from == to) {                                                                                           \
            from -= 1;                                                                                              \
            to += 1;                                                                                                \
        }                                                                                                           \
        memset(y, 0, (size_t)bins * sizeof *y);                                                                     \
        for (td_walk_start(&w, x->rank, x->shape, 1, &stride, 0, numel); w.run; td_walk_next(&w))                   \
            for (int64_t i = 0; i < w.run; i++) {                                                                   \
                type e = elements[w.at[0] + i * w.step[0]];                                                         \
                if (!(e >= from && e <= to))                                                                        \
                    continue;                                                                                       \
                int64_t bin = bin_of(e, from, to, bins);                                                            \
                counter count;                                                                                      \
                memcpy(&count, &y[bin], sizeof count);                                                              \
                count += count != (counter)-1;                                                                      \
                memcpy(&y[bin], &count, sizeof count);                                                              \
            }                                                                                                       \
        for (int64_t k = 0; k < bins; k++) {                                                                        \
            counter count;                                                                                          \
            memcpy(&count, &y[k], sizeof count);                                                                    \
            y[k] = (type)count;                                                                                     \
        }                                                                                                           \
        return NULL;                                                                                                \
    }
HISTC(histc_f32, float, uint32_t, td_bin_f32)
HISTC(histc_f64, double, uint64_t, td_bin_f64)

void TD_CPU(histc)(struct td_launch *launch)
{
    const struct td_histc_attrs *a = launch->attrs;
    const char *why =
        (launch->out[0].dtype == TD_F32 ? histc_f32 : histc_f64)(&launch->in[0], &launch->out[0], a->min, a->max);
    if (why)
        launch->fault = (struct td_fault){.code = TD_E_ARGUMENT, .why = why};
}
