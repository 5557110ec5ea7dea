/* The meaning of scans and of sorting. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

/* A row of x: element i stands at first + i * step. */
struct row {
    int64_t first, step, count;
};

static int64_t row_count(const struct oracle_tensor *x, int64_t dim)
{
    int64_t count = 1;
    for (int d = 0; d < x->rank; d++)
        count *= d == dimension(x, dim) ? 1 : x->shape[d];
    return count;
}

/* Row number k of x along dim. */
static struct row row_of(const struct oracle_tensor *x, int64_t dim, int64_t k)
{
    if (!x->rank)
        return (struct row){0, 1, 1};
    int d = dimension(x, dim);
    int64_t step = behind(x, d);
    return (struct row){k / step * step * x->shape[d] + k % step, step, x->shape[d]};
}

/* ---- scans ---- */

typedef double join_reals(double, double);
typedef int64_t join_integers(int64_t, int64_t);

/* f64 is joined as a kernel joins it; scale gathers what each joining may be off by. */
static void scan(struct oracle_call *c, double start, join_reals *reals, join_integers *integers, bool relative)
{
    const struct td_cumsum_attrs *a = c->attrs;
    const struct oracle_tensor *x = &c->in[0];
    for (int64_t k = 0; k < row_count(x, a->dim); k++) {
        struct row r = row_of(x, a->dim, k);
        double sum = start, scale = 0, least = 1;
        struct exact_product exact = {1, 0};
        int64_t whole = (int64_t)start;
        for (int64_t i = 0; i < r.count; i++) {
            int64_t at = r.first + (a->reverse ? r.count - 1 - i : i) * r.step;
            if (!floating(x)) {
                c->out->integer[at] = whole = integers(whole, x->integer[at]);
                continue;
            }
            c->out->real[at] = sum = reals(sum, (double)x->real[at]);
            scale += fabs(sum) + !relative;
            c->out->scale[at] = relative ? fabs(sum) * (double)(i + 1) : scale;
            multiply_exactly(&exact, x->real[at]);
            least = fmin(least, fabs(sum));
            if (relative)
                open_where_order_matters(c->out, at, least, &exact);
        }
    }
}

static double add_reals(double a, double b)
{
    return a + b;
}
static int64_t add_integers(int64_t a, int64_t b)
{
    return WRAP(a, +, b);
}
static double multiply_reals(double a, double b)
{
    return a * b;
}
static int64_t multiply_integers(int64_t a, int64_t b)
{
    return WRAP(a, *, b);
}
static double add_logs(double a, double b)
{
    return isinf(a) && a < 0 ? b : fmax(a, b) + log(1 + exp(-fabs(a - b)));
}

void oracle_cumsum(struct oracle_call *c)
{
    scan(c, 0, add_reals, add_integers, false);
}
void oracle_cumprod(struct oracle_call *c)
{
    scan(c, 1, multiply_reals, multiply_integers, true);
}
void oracle_logcumsumexp(struct oracle_call *c)
{
    scan(c, -INFINITY, add_logs, NULL, false);
}

/* Negative where a stands before b; nan is the greatest. */
static int compare(const struct oracle_tensor *x, int64_t a, int64_t b)
{
    if (!floating(x))
        return (x->integer[a] > x->integer[b]) - (x->integer[a] < x->integer[b]);
    if (isnan(x->real[a]) || isnan(x->real[b]))
        return isnan(x->real[a]) - isnan(x->real[b]);
    return (x->real[a] > x->real[b]) - (x->real[a] < x->real[b]);
}

static void best_so_far(struct oracle_call *c, int sign)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t dim = ((const struct td_cummax_attrs *)c->attrs)->dim;
    for (int64_t k = 0; k < row_count(x, dim); k++) {
        struct row r = row_of(x, dim, k);
        int64_t best = 0;
        for (int64_t i = 0; i < r.count; i++) {
            int64_t at = r.first + i * r.step, old = r.first + best * r.step;
            bool nan = floating(x) && isnan(x->real[at]), was = floating(x) && isnan(x->real[old]);
            best = nan || (!was && sign * compare(x, at, old) >= 0) ? i : best;
            copy_element(&c->out[0], at, x, r.first + best * r.step);
            c->out[1].integer[at] = best;
        }
    }
}

void oracle_cummax(struct oracle_call *c)
{
    best_so_far(c, 1);
}
void oracle_cummin(struct oracle_call *c)
{
    best_so_far(c, -1);
}

/* ---- sorting ---- */

static const struct oracle_tensor *sorted;
static struct row sorted_row;
static int sorted_sign;

static int by_element(const void *a, const void *b)
{
    int64_t i = *(const int64_t *)a, k = *(const int64_t *)b;
    int order = compare(sorted, sorted_row.first + i * sorted_row.step, sorted_row.first + k * sorted_row.step);
    return order ? sorted_sign * order : (i > k) - (i < k);
}

/* The places of a row's elements in order, to be freed. */
static int64_t *order_of(const struct oracle_tensor *x, struct row r, bool descending)
{
    int64_t *order = malloc((size_t)(r.count + 1) * sizeof *order);
    for (int64_t i = 0; i < r.count; i++)
        order[i] = i;
    sorted = x;
    sorted_row = r;
    sorted_sign = descending ? -1 : 1;
    qsort(order, (size_t)r.count, sizeof *order, by_element);
    return order;
}

/* The first count of each row in order. */
static void put_sorted(struct oracle_call *c, int64_t dim, int64_t count, bool descending, struct oracle_tensor *values,
                       struct oracle_tensor *places)
{
    const struct oracle_tensor *x = &c->in[0];
    for (int64_t k = 0; k < row_count(x, dim); k++) {
        struct row r = row_of(x, dim, k), to = row_of(c->out, dim, k);
        int64_t *order = order_of(x, r, descending);
        for (int64_t i = 0; i < (count < 0 ? r.count : count); i++) {
            places->integer[to.first + i * to.step] = order[i];
            if (values)
                copy_element(values, to.first + i * to.step, x, r.first + order[i] * r.step);
        }
        free(order);
    }
}

void oracle_sort(struct oracle_call *c)
{
    const struct td_sort_attrs *a = c->attrs;
    put_sorted(c, a->dim, -1, a->descending, &c->out[0], &c->out[1]);
}
void oracle_argsort(struct oracle_call *c)
{
    const struct td_argsort_attrs *a = c->attrs;
    put_sorted(c, a->dim, -1, a->descending, NULL, &c->out[0]);
}
void oracle_topk(struct oracle_call *c)
{
    const struct td_topk_attrs *a = c->attrs;
    put_sorted(c, a->dim, c->in[0].rank ? a->k : 1, a->largest, &c->out[0], &c->out[1]);
}

/* Where in a row's order its one result stands. */
typedef int64_t pick(const struct oracle_tensor *x, struct row r, const int64_t *order, const void *attrs);

static void put_picked(struct oracle_call *c, int64_t dim, pick *which)
{
    const struct oracle_tensor *x = &c->in[0];
    for (int64_t k = 0; k < row_count(x, dim); k++) {
        struct row r = row_of(x, dim, k);
        int64_t *order = order_of(x, r, false), place = order[which(x, r, order, c->attrs)];
        copy_element(&c->out[0], k, x, r.first + place * r.step);
        c->out[1].integer[k] = place;
        free(order);
    }
}

static int64_t pick_kth(const struct oracle_tensor *x, struct row r, const int64_t *order, const void *attrs)
{
    (void)x, (void)r, (void)order;
    return ((const struct td_kthvalue_attrs *)attrs)->k - 1;
}

static int64_t pick_middle(const struct oracle_tensor *x, struct row r, const int64_t *order, const void *attrs)
{
    (void)attrs;
    for (int64_t i = 0; i < r.count && floating(x); i++)
        if (isnan(x->real[r.first + order[i] * r.step]))
            return i;
    return (r.count - 1) / 2;
}

static int64_t pick_mode(const struct oracle_tensor *x, struct row r, const int64_t *order, const void *attrs)
{
    int64_t best = 0, most = 0, run = 0;
    (void)attrs;
    for (int64_t i = 0; i < r.count; i++) {
        int64_t at = r.first + order[i] * r.step, before = i ? r.first + order[i - 1] * r.step : at;
        bool again = i && (floating(x) ? x->real[at] == x->real[before] : x->integer[at] == x->integer[before]);
        run = again ? run + 1 : 1;
        if (run > most) {
            most = run;
            best = i;
        }
    }
    return best;
}

void oracle_kthvalue(struct oracle_call *c)
{
    put_picked(c, ((const struct td_kthvalue_attrs *)c->attrs)->dim, pick_kth);
}
void oracle_median_dim(struct oracle_call *c)
{
    put_picked(c, ((const struct td_median_dim_attrs *)c->attrs)->dim, pick_middle);
}
void oracle_mode(struct oracle_call *c)
{
    put_picked(c, ((const struct td_mode_attrs *)c->attrs)->dim, pick_mode);
}

void oracle_median(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    struct row r = {0, 1, x->count};
    int64_t *order = order_of(x, r, false);
    if (x->count)
        copy_element(c->out, 0, x, order[pick_middle(x, r, order, NULL)]);
    else if (floating(x))
        put(c->out, 0, NAN);
    else
        c->out->integer[0] = INT64_MIN;
    free(order);
}
