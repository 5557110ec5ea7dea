/* The meaning of reductions, products, softmax and losses. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

/* ---- reductions ---- */

static uint32_t gone_dims(const struct oracle_call *c)
{
    const struct td_sum_attrs *a = c->attrs;
    uint32_t mask = a->dims.count > 0 ? 0 : ~0u;
    for (int64_t k = 0; k < a->dims.count; k++)
        mask |= 1u << (a->dims.v[k] < 0 ? a->dims.v[k] + c->in[0].rank : a->dims.v[k]);
    return mask;
}

/* The result that element i of the input goes into. */
static int64_t result_of(const struct oracle_call *c, uint32_t gone, int64_t i)
{
    int64_t at = 0;
    for (int d = 0; d < c->in[0].rank; d++)
        if (!(gone >> d & 1))
            at = at * c->in[0].shape[d] + coordinate(&c->in[0], i, d);
    return at;
}

void oracle_sum(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone_dims(c), i);
        if (floating(x)) {
            c->out->real[at] += x->real[i];
            c->out->scale[at] += fabsl(x->real[i]);
        } else {
            c->out->integer[at] = WRAP(c->out->integer[at], +, x->integer[i]);
        }
    }
}

void oracle_mean(struct oracle_call *c)
{
    double count = 1;
    for (int d = 0; d < c->in[0].rank; d++)
        count *= gone_dims(c) >> d & 1 ? (double)c->in[0].shape[d] : 1;
    oracle_sum(c);
    for (int64_t i = 0; i < c->out->count; i++) {
        c->out->real[i] /= count;
        c->out->scale[i] /= count;
    }
}

/* One after the other in double, as the CPU's kernel has it; in another order each product rounds otherwise. */
void oracle_prod(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    struct exact_product *exact = calloc((size_t)c->out->count + 1, sizeof *exact);
    double *least = calloc((size_t)c->out->count + 1, sizeof *least);
    double rounded = x->dtype == TD_F64 && c->out->count ? (double)(x->count / c->out->count) / 2 : 1;
    for (int64_t i = 0; i < c->out->count; i++) {
        c->out->real[i] = exact[i].real = least[i] = 1;
        c->out->integer[i] = 1;
    }
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone_dims(c), i);
        multiply_exactly(&exact[at], x->real[i]);
        if (floating(x))
            put(c->out, at, (double)c->out->real[at] * (double)x->real[i]);
        else
            c->out->integer[at] = WRAP(c->out->integer[at], *, x->integer[i]);
        least[at] = fmin(least[at], fabs((double)c->out->real[at]));
    }
    for (int64_t i = 0; i < c->out->count; i++) {
        c->out->scale[i] *= fmax(1, rounded);
        open_where_order_matters(c->out, i, least[i], &exact[i]);
    }
    free(exact);
    free(least);
}

/* How many elements of each result are not 0, and of how many. */
static int64_t count_true(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t count = 1;
    for (int d = 0; d < x->rank; d++)
        count *= gone_dims(c) >> d & 1 ? x->shape[d] : 1;
    for (int64_t i = 0; i < x->count; i++)
        c->out->integer[result_of(c, gone_dims(c), i)] += floating(x) ? x->real[i] != 0 : x->integer[i] != 0;
    return count;
}

void oracle_count_nonzero(struct oracle_call *c)
{
    count_true(c);
}

void oracle_any(struct oracle_call *c)
{
    count_true(c);
    for (int64_t i = 0; i < c->out->count; i++)
        c->out->integer[i] = c->out->integer[i] != 0;
}

void oracle_all(struct oracle_call *c)
{
    int64_t count = count_true(c);
    for (int64_t i = 0; i < c->out->count; i++)
        c->out->integer[i] = c->out->integer[i] == count;
}

/* The difference from the mean carries a rounding of the mean's own size. */
void oracle_var(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    long double *mean = calloc((size_t)c->out->count + 1, sizeof *mean), count = 1;
    for (int d = 0; d < x->rank; d++)
        count *= gone_dims(c) >> d & 1 ? x->shape[d] : 1;
    long double left = fmaxl(0, count - ((const struct td_var_attrs *)c->attrs)->correction);
    for (int64_t i = 0; i < x->count; i++)
        mean[result_of(c, gone_dims(c), i)] += x->real[i] / count;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone_dims(c), i);
        long double off = x->real[i] - mean[at];
        c->out->real[at] += off * off;
        c->out->scale[at] += (double)((off * off + 2 * fabsl(off * x->real[i])) / left);
    }
    for (int64_t i = 0; i < c->out->count; i++)
        c->out->real[i] /= left;
    free(mean);
}

void oracle_std(struct oracle_call *c)
{
    oracle_var(c);
    for (int64_t i = 0; i < c->out->count; i++) {
        c->out->real[i] = sqrtl(c->out->real[i]);
        c->out->scale[i] = c->out->real[i] > 0 ? (double)(c->out->scale[i] / c->out->real[i]) : 0;
    }
}

void oracle_logsumexp(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    double *most = calloc((size_t)c->out->count + 1, sizeof *most);
    for (int64_t i = 0; i < c->out->count; i++)
        most[i] = -INFINITY;
    for (int64_t i = 0; i < x->count; i++)
        most[result_of(c, gone_dims(c), i)] = fmax(most[result_of(c, gone_dims(c), i)], (double)x->real[i]);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone_dims(c), i);
        c->out->real[at] += exp((double)x->real[i] - most[at]);
    }
    for (int64_t i = 0; i < c->out->count; i++) {
        double rest = log((double)c->out->real[i]);
        c->out->real[i] = most[i] + rest;
        c->out->scale[i] = fabs(most[i]) + fabs(rest) + 1;
    }
    free(most);
}

void oracle_norm(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    double p = ((const struct td_norm_attrs *)c->attrs)->p;
    for (int64_t i = 0; i < c->out->count; i++)
        c->out->real[i] = isinf(p) && p < 0 && x->count ? INFINITY : 0;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone_dims(c), i);
        long double size = fabsl(x->real[i]), so_far = c->out->real[at];
        if (isinf(p))
            c->out->real[at] = p < 0 ? fminl(so_far, size) : fmaxl(so_far, size);
        else
            c->out->real[at] = so_far + (p == 0 ? size != 0 : powl(size, p));
    }
    for (int64_t i = 0; i < c->out->count; i++)
        put(c->out, i, (double)(isinf(p) || p == 0 ? c->out->real[i] : powl(c->out->real[i], 1 / p)));
}

/* Whether a takes b's place; nan wins. */
static bool beats(const struct oracle_tensor *x, int64_t a, int64_t b, bool smallest)
{
    if (!floating(x))
        return smallest ? x->integer[a] < x->integer[b] : x->integer[a] > x->integer[b];
    if (isnan(x->real[a]) || isnan(x->real[b]))
        return isnan(x->real[a]) && !isnan(x->real[b]);
    return smallest ? x->real[a] < x->real[b] : x->real[a] > x->real[b];
}

/* For each result the first element that none beats, and its place among those that go into the result. */
static void choose(struct oracle_call *c, uint32_t gone, bool smallest, struct oracle_tensor *values,
                   struct oracle_tensor *places)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t *best = calloc((size_t)c->out->count + 1, sizeof *best), *seen = calloc((size_t)c->out->count + 1, 8);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = result_of(c, gone, i);
        if (!seen[at] || beats(x, i, best[at], smallest)) {
            best[at] = i;
            if (places)
                places->integer[at] = seen[at];
            if (values)
                copy_element(values, at, x, i);
        }
        seen[at]++;
    }
    free(best);
    free(seen);
}

void oracle_max(struct oracle_call *c)
{
    choose(c, gone_dims(c), false, c->out, NULL);
}

void oracle_min(struct oracle_call *c)
{
    choose(c, gone_dims(c), true, c->out, NULL);
}

static uint32_t gone_dim(const struct oracle_call *c)
{
    int64_t dim = ((const struct td_argmax_attrs *)c->attrs)->dim;
    return dim == INT64_MIN ? ~0u : 1u << dimension(&c->in[0], dim);
}

void oracle_argmax(struct oracle_call *c)
{
    choose(c, gone_dim(c), false, NULL, c->out);
}

void oracle_argmin(struct oracle_call *c)
{
    choose(c, gone_dim(c), true, NULL, c->out);
}

void oracle_max_dim(struct oracle_call *c)
{
    choose(c, gone_dim(c), false, &c->out[0], &c->out[1]);
}

void oracle_min_dim(struct oracle_call *c)
{
    choose(c, gone_dim(c), true, &c->out[0], &c->out[1]);
}

/* ---- products, softmax, losses ---- */

/* The dimensions before the matrices. */
static struct oracle_tensor batch_of(const struct oracle_tensor *t, int rank)
{
    struct oracle_tensor batch = {.rank = rank > 0 ? rank : 0, .count = 1};
    for (int d = 0; d < batch.rank; d++)
        batch.count *= batch.shape[d] = t->shape[d];
    return batch;
}

void oracle_matmul(struct oracle_call *c)
{
    const struct oracle_tensor *a = &c->in[0], *b = &c->in[1];
    int64_t inner = a->shape[a->rank - 1], rows = a->rank > 1 ? a->shape[a->rank - 2] : 1;
    int64_t columns = b->rank > 1 ? b->shape[b->rank - 1] : 1;
    struct oracle_tensor batch = batch_of(c->out, c->out->rank - (a->rank > 1) - (b->rank > 1));
    struct oracle_tensor a_batch = batch_of(a, a->rank - 2), b_batch = batch_of(b, b->rank - 2);
    for (int64_t at = 0; at < c->out->count; at++) {
        int64_t product = at / (rows * columns), i = at / columns % rows, j = at % columns;
        for (int64_t k = 0; k < inner; k++) {
            int64_t ai = (seen_by(&a_batch, &batch, product) * rows + i) * inner + k;
            int64_t bi = (seen_by(&b_batch, &batch, product) * inner + k) * columns + j;
            if (floating(a)) {
                c->out->real[at] += a->real[ai] * b->real[bi];
                c->out->scale[at] += (double)fabsl(a->real[ai] * b->real[bi]);
            } else {
                c->out->integer[at] = WRAP(c->out->integer[at], +, WRAP(a->integer[ai], *, b->integer[bi]));
            }
        }
    }
}

void oracle_linear(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *weight = &c->in[1], *bias = &c->in[2];
    int64_t inner = weight->shape[weight->rank - 1], width = weight->rank == 2 ? weight->shape[0] : 1;
    for (int64_t at = 0; at < c->out->count; at++) {
        int64_t row = at / width, column = at % width;
        if (bias->dtype) {
            c->out->real[at] = bias->real[column];
            c->out->scale[at] = (double)fabsl(bias->real[column]);
            c->out->integer[at] = bias->integer[column];
        }
        for (int64_t k = 0; k < inner; k++) {
            int64_t xi = row * inner + k, wi = column * inner + k;
            if (floating(x)) {
                c->out->real[at] += x->real[xi] * weight->real[wi];
                c->out->scale[at] += (double)fabsl(x->real[xi] * weight->real[wi]);
            } else {
                c->out->integer[at] = WRAP(c->out->integer[at], +, WRAP(x->integer[xi], *, weight->integer[wi]));
            }
        }
    }
}

/* log(softmax) of element at of a row of count, step apart; scale gets the magnitude of what was subtracted. */
static double log_softmax(const long double *x, int64_t count, int64_t step, int64_t at, double *scale)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++)
        max = fmax(max, (double)x[i * step]);
    for (int64_t i = 0; i < count; i++)
        sum += exp((double)x[i * step] - max);
    *scale = fabs((double)x[at * step] - max) + fabs(log(sum)) + 1;
    return (double)x[at * step] - max - log(sum);
}

void oracle_log_softmax(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t dim = ((const struct td_log_softmax_attrs *)c->attrs)->dim;
    int d = dimension(x, dim);
    int64_t count = x->rank ? x->shape[d] : 1, step = x->rank ? behind(x, d) : 1;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = x->rank ? coordinate(x, i, d) : 0;
        c->out->real[i] = log_softmax(x->real + i - at * step, count, step, at, &c->out->scale[i]);
    }
}

/* The exponential turns the error of its argument, one rounding of |x - max| + log(sum), into a relative one. */
void oracle_softmax(struct oracle_call *c)
{
    oracle_log_softmax(c);
    for (int64_t i = 0; i < c->out->count; i++) {
        c->out->real[i] = exp((double)c->out->real[i]);
        c->out->scale[i] *= (double)c->out->real[i];
    }
}

/* Term i of a loss, gathered as reduction says. */
static void add_term(struct oracle_call *c, int64_t reduction, int64_t i, double term, double scale)
{
    c->out->real[reduction == TD_NONE ? i : 0] += term;
    c->out->scale[reduction == TD_NONE ? i : 0] += scale;
}

static void finish_loss(struct oracle_call *c, int64_t reduction, int64_t count)
{
    if (reduction == TD_MEAN) {
        c->out->real[0] /= (double)count;
        c->out->scale[0] /= (double)count;
    }
}

void oracle_mse_loss(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *target = &c->in[1];
    int64_t reduction = ((const struct td_mse_loss_attrs *)c->attrs)->reduction;
    struct oracle_tensor both = {.count = 1};
    td_broadcast(x->rank, x->shape, target->rank, target->shape, &both.rank, both.shape);
    for (int d = 0; d < both.rank; d++)
        both.count *= both.shape[d];
    for (int64_t i = 0; i < both.count; i++) {
        double a = (double)x->real[seen_by(x, &both, i)], b = (double)target->real[seen_by(target, &both, i)];
        add_term(c, reduction, i, (a - b) * (a - b), (a - b) * (a - b));
    }
    finish_loss(c, reduction, both.count);
}
