/* cumsum, cumprod, logcumsumexp, cummax and cummin: one element after the other, so that rows alone are cut for
 * threads. Sums and products of f32 are kept in f64, as PyTorch keeps them. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cpu/rows.h"

struct scan;
typedef void scan_rows(const struct scan *s, const void *from, void *to, int64_t *places, int width);

struct scan {
    struct td_rows rows;
    scan_rows *act;
    const char *x;
    char *out;
    int64_t *places; /* NULL: none */
    size_t x_size, out_size;
};

/* log(exp(a) + exp(b)); of equal infinities that one. */
static double log_add(double a, double b)
{
    double low = a < b ? a : b, high = a < b ? b : a;
    if (isnan(a) || isnan(b))
        return a + b;
    return low == high && isinf(low) ? low : log1p(exp(low - high)) + high;
}

/* Each row of width neighbours, joined into what it starts with. */
#define SCAN(name, type, wide, first, join)                                                        \
    static void name(const struct scan *s, const void *from, void *to, int64_t *places, int width) \
    {                                                                                              \
        const struct td_rows *r = &s->rows;                                                        \
        const type *px = from;                                                                     \
        type *y = to;                                                                              \
        wide sum[TD_ROWS];                                                                         \
        (void)places;                                                                              \
        for (int k = 0; k < width; k++)                                                            \
            sum[k] = first;                                                                        \
        for (int64_t i = 0; i < r->count; i++, px += r->x_step, y += r->out_step)                  \
            for (int k = 0; k < width; k++) {                                                      \
                wide x = (wide)px[k * r->x_inner];                                                 \
                sum[k] = join;                                                                     \
                y[k * r->out_inner] = (type)sum[k];                                                \
            }                                                                                      \
    }
SCAN(sum_f32, float, double, 0, sum[k] + x)
SCAN(sum_f64, double, double, 0, sum[k] + x)
SCAN(sum_i64, int64_t, uint64_t, 0, sum[k] + x)
SCAN(prod_f32, float, double, 1, sum[k] * x)
SCAN(prod_f64, double, double, 1, sum[k] * x)
SCAN(prod_i64, int64_t, uint64_t, 1, sum[k] * x)
SCAN(logsumexp_f32, float, double, -INFINITY, log_add(sum[k], x))
SCAN(logsumexp_f64, double, double, -INFINITY, log_add(sum[k], x))

#define NEVER(x) ((void)(x), 0)
#define IS_NAN(x) ((x) != (x))
#define EXTREME(name, type, is_nan, better)                                                        \
    static void name(const struct scan *s, const void *from, void *to, int64_t *places, int width) \
    {                                                                                              \
        const struct td_rows *r = &s->rows;                                                        \
        const type *px = from;                                                                     \
        type *y = to, best[TD_ROWS];                                                               \
        int64_t at[TD_ROWS];                                                                       \
        for (int64_t i = 0; i < r->count; i++, px += r->x_step)                                    \
            for (int k = 0; k < width; k++) {                                                      \
                type x = px[k * r->x_inner];                                                       \
                if (i == 0 || is_nan(x) || (!is_nan(best[k]) && x better best[k])) {               \
                    best[k] = x;                                                                   \
                    at[k] = i;                                                                     \
                }                                                                                  \
                y[i * r->out_step + k * r->out_inner] = best[k];                                   \
                places[i * r->out_step + k * r->out_inner] = at[k];                                \
            }                                                                                      \
    }
EXTREME(max_bool, uint8_t, NEVER, >=)
EXTREME(max_i32, int32_t, NEVER, >=)
EXTREME(max_i64, int64_t, NEVER, >=)
EXTREME(max_f32, float, IS_NAN, >=)
EXTREME(max_f64, double, IS_NAN, >=)
EXTREME(min_bool, uint8_t, NEVER, <=)
EXTREME(min_i32, int32_t, NEVER, <=)
EXTREME(min_i64, int64_t, NEVER, <=)
EXTREME(min_f32, float, IS_NAN, <=)
EXTREME(min_f64, double, IS_NAN, <=)

static void scan_part(const void *data, int64_t from, int64_t to)
{
    const struct scan *s = data;
    struct td_rows_at at;
    for (td_rows_start(&s->rows, &at, from); from < to; from++, td_rows_next(&s->rows, &at))
        s->act(s, s->x + at.x * (int64_t)s->x_size, s->out + at.out * (int64_t)s->out_size,
               s->places ? s->places + at.out : NULL, at.width);
}

static void scan(struct td_launch *launch, scan_rows *const *by_dtype, bool reverse)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct scan s = {.act = by_dtype[x->dtype],
                     .x = x->data,
                     .out = out->data,
                     .places = launch->op->output_count > 1 ? launch->out[1].data : NULL,
                     .x_size = td_dtype_size(x->dtype),
                     .out_size = td_dtype_size(out->dtype)};
    struct td_rows *r = &s.rows;
    if (!td_rows_init(r, x, out, ((const struct td_cumsum_attrs *)launch->attrs)->dim, true) || r->count == 0)
        return;
    if (reverse) {
        s.x += (r->count - 1) * r->x_step * (int64_t)s.x_size;
        s.out += (r->count - 1) * r->out_step * (int64_t)s.out_size;
        r->x_step = -r->x_step;
        r->out_step = -r->out_step;
    }
    td_parallel(r->pieces, td_rows_grain(r, 1), 0, scan_part, &s);
}

static scan_rows *const sums[TD_DTYPE_LIMIT] = {[TD_I64] = sum_i64, [TD_F32] = sum_f32, [TD_F64] = sum_f64};
static scan_rows *const products[TD_DTYPE_LIMIT] = {[TD_I64] = prod_i64, [TD_F32] = prod_f32, [TD_F64] = prod_f64};
static scan_rows *const logsums[TD_DTYPE_LIMIT] = {[TD_F32] = logsumexp_f32, [TD_F64] = logsumexp_f64};
static scan_rows *const maxima[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = max_bool, [TD_I32] = max_i32, [TD_I64] = max_i64, [TD_F32] = max_f32, [TD_F64] = max_f64};
static scan_rows *const minima[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = min_bool, [TD_I32] = min_i32, [TD_I64] = min_i64, [TD_F32] = min_f32, [TD_F64] = min_f64};

void TD_CPU(cumsum)(struct td_launch *launch)
{
    scan(launch, sums, ((const struct td_cumsum_attrs *)launch->attrs)->reverse);
}

void TD_CPU(cumprod)(struct td_launch *launch)
{
    scan(launch, products, ((const struct td_cumprod_attrs *)launch->attrs)->reverse);
}

void TD_CPU(logcumsumexp)(struct td_launch *launch)
{
    scan(launch, logsums, ((const struct td_logcumsumexp_attrs *)launch->attrs)->reverse);
}

void TD_CPU(cummax)(struct td_launch *launch)
{
    scan(launch, maxima, false);
}

void TD_CPU(cummin)(struct td_launch *launch)
{
    scan(launch, minima, false);
}
