/* The meaning of attention and of its gradients. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

/* One call: operands, and what all heads look like. like holds shapes only: of one matrix for each head. */
struct attention {
    const struct oracle_tensor *query, *key, *value, *mask;
    struct oracle_tensor queries, keys, values, scores;
    int64_t heads, rows, columns, width, value_width;
    double scale;
    bool causal;
};

static struct oracle_tensor matrices(const struct oracle_tensor *like, int64_t rows, int64_t columns)
{
    struct oracle_tensor t = {.rank = like->rank};
    memcpy(t.shape, like->shape, sizeof t.shape);
    t.shape[t.rank - 2] = rows;
    t.shape[t.rank - 1] = columns;
    return t;
}

/* in begins with query, key and value; like has the dimensions of all heads. */
static struct attention begin(const struct oracle_tensor *in, const struct oracle_tensor *mask,
                              const struct oracle_tensor *like, bool causal, double scale)
{
    struct attention a = {.query = in, .key = in + 1, .value = in + 2, .mask = mask, .causal = causal, .heads = 1};
    for (int d = 0; d < like->rank - 2; d++)
        a.heads *= like->shape[d];
    a.rows = in[0].shape[in[0].rank - 2];
    a.width = in[0].shape[in[0].rank - 1];
    a.columns = in[1].shape[in[1].rank - 2];
    a.value_width = in[2].shape[in[2].rank - 1];
    a.scale = scale != 0 ? scale : a.width ? 1 / sqrt((double)a.width) : 1;
    a.queries = matrices(like, a.rows, a.width);
    a.keys = matrices(like, a.columns, a.width);
    a.values = matrices(like, a.columns, a.value_width);
    a.scores = matrices(like, a.rows, a.columns);
    return a;
}

/* The element of a head's matrix, in t, which may be broadcast to like. */
static double element(const struct oracle_tensor *t, const struct oracle_tensor *like, int64_t head, int64_t i,
                      int64_t j)
{
    int64_t rows = like->shape[like->rank - 2], columns = like->shape[like->rank - 1];
    return (double)t->real[seen_by(t, like, (head * rows + i) * columns + j)];
}

static bool hidden(const struct attention *a, int64_t head, int64_t i, int64_t j)
{
    return (a->causal && j > i) || (a->mask->dtype && element(a->mask, &a->scores, head, i, j) == -INFINITY);
}

/* The score of row i and key j, and the magnitude of what it is the sum of. */
static double score(const struct attention *a, int64_t head, int64_t i, int64_t j, double *size)
{
    double sum = 0, mask = a->mask->dtype ? element(a->mask, &a->scores, head, i, j) : 0;
    *size = fabs(mask);
    if (hidden(a, head, i, j)) {
        *size = 0;
        return -INFINITY;
    }
    for (int64_t e = 0; e < a->width; e++) {
        double term = element(a->query, &a->queries, head, i, e) * element(a->key, &a->keys, head, j, e) * a->scale;
        sum += term;
        *size += fabs(term);
    }
    return sum + mask;
}

void oracle_attention(struct oracle_call *c)
{
    const struct td_attention_attrs *attrs = c->attrs;
    struct oracle_tensor *y = &c->out[0], *logsumexp = &c->out[1];
    struct attention a = begin(c->in, &c->in[3], y, attrs->is_causal, attrs->scale);
    double *s = calloc(2 * (size_t)a.columns + 1, sizeof *s), *size = s + a.columns;
    for (int64_t row = 0; row < a.heads * a.rows; row++) {
        double max = -INFINITY, sum = 0, greatest = 0;
        for (int64_t j = 0; j < a.columns; j++) {
            s[j] = score(&a, row / a.rows, row % a.rows, j, &size[j]);
            max = fmax(max, s[j]);
            greatest = fmax(greatest, size[j]);
        }
        double base = max == -INFINITY ? 0 : max;
        for (int64_t j = 0; j < a.columns; j++)
            sum += exp(s[j] - base);
        logsumexp->real[row] = max + log(sum);
        logsumexp->scale[row] = greatest + fabs(max) + fabs(log(sum)) + 1;
        for (int64_t e = 0; e < a.value_width; e++)
            for (int64_t j = 0, at = row * a.value_width + e; j < a.columns; j++) {
                double term = exp(s[j] - base) / sum * element(a.value, &a.values, row / a.rows, j, e);
                y->real[at] += term;
                y->scale[at] += fabs(term) * (2 + greatest + fabs(s[j] - max));
            }
    }
    free(s);
}

/* What a score gives on: its probability and the gradient of itself, each with the magnitude of its error. */
struct fall {
    double p, p_size, d, d_size;
};

static struct fall fall(const struct attention *a, const struct oracle_call *c, int64_t row, int64_t j)
{
    const struct oracle_tensor *g = &c->in[0], *y = &c->in[4];
    double size, s = score(a, row / a->rows, row % a->rows, j, &size), logsumexp = (double)c->in[5].real[row];
    double d = 0, d_size = 0;
    for (int64_t e = 0; e < a->value_width; e++) {
        double up = (double)g->real[row * a->value_width + e], of_y = (double)y->real[row * a->value_width + e];
        double of_value = element(a->value, &a->values, row / a->rows, j, e);
        d += up * of_value - up * of_y;
        d_size += fabs(up * of_value) + fabs(up * of_y);
    }
    struct fall f = {.p = exp(s - logsumexp)};
    f.p_size = f.p * (2 + size + fabs(logsumexp) + fabs(s - logsumexp));
    if (f.p == 0)
        f.p_size = 0;
    if (hidden(a, row / a->rows, row % a->rows, j))
        return f;
    f.d = f.p * d;
    f.d_size = f.p_size * fabs(d) + f.p * d_size;
    return f;
}

void oracle_attention_back(struct oracle_call *c)
{
    const struct td_attention_back_attrs *attrs = c->attrs;
    struct oracle_tensor *of_query = &c->out[0], *of_key = &c->out[1], *of_value = &c->out[2];
    struct attention a = begin(&c->in[1], &c->in[6], of_query, attrs->is_causal, attrs->scale);
    for (int64_t row = 0; row < a.heads * a.rows; row++)
        for (int64_t j = 0; j < a.columns; j++) {
            int64_t head = row / a.rows, i = row % a.rows;
            struct fall f = fall(&a, c, row, j);
            for (int64_t e = 0; e < a.width; e++) {
                int64_t to_query = row * a.width + e, to_key = (head * a.columns + j) * a.width + e;
                double key = element(a.key, &a.keys, head, j, e) * a.scale;
                double query = element(a.query, &a.queries, head, i, e) * a.scale;
                of_query->real[to_query] += f.d * key;
                of_query->scale[to_query] += f.d_size * fabs(key);
                of_key->real[to_key] += f.d * query;
                of_key->scale[to_key] += f.d_size * fabs(query);
            }
            for (int64_t e = 0; e < a.value_width; e++) {
                int64_t to = (head * a.columns + j) * a.value_width + e;
                double up = (double)c->in[0].real[row * a.value_width + e];
                of_value->real[to] += f.p * up;
                of_value->scale[to] += f.p_size * fabs(up);
            }
        }
}
