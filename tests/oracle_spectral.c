/* The meaning of what takes matrices apart by rotations: Householder's and Jacobi's methods in long double.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

typedef long double real;

static int64_t rows_of(const struct oracle_tensor *x)
{
    return x->shape[x->rank - 2];
}
static int64_t columns_of(const struct oracle_tensor *x)
{
    return x->shape[x->rank - 1];
}

/* Matrix k of x, a copy to be freed; *size gets its norm, which is not finite if it is not. */
static real *matrix_of(const struct oracle_tensor *x, int64_t k, real *size)
{
    int64_t count = rows_of(x) * columns_of(x);
    real *a = calloc((size_t)count + 1, sizeof *a);
    *size = 0;
    for (int64_t i = 0; i < count; i++) {
        a[i] = x->real[k * count + i];
        *size += a[i] * a[i];
    }
    *size = sqrtl(*size);
    return a;
}

static int64_t matrices_in(const struct oracle_tensor *x)
{
    int64_t count = 1;
    for (int d = 0; d < x->rank - 2; d++)
        count *= x->shape[d];
    return count;
}

static void put_scaled(struct oracle_tensor *out, int64_t i, real value, real scale)
{
    out->real[i] = value;
    out->scale[i] = (double)scale;
}

static bool put_nan(struct oracle_call *c, int64_t k, int64_t matrices)
{
    for (int o = 0; o < c->op->output_count; o++)
        for (int64_t i = 0, each = c->out[o].count / matrices; i < each; i++)
            put_scaled(&c->out[o], k * each + i, NAN, 0);
    return true;
}

/* The sign that makes the first element at least half as large as the largest positive. */
static int sign_of(const real *x, int64_t count, int64_t step)
{
    real most = 0;
    for (int64_t k = 0; k < count; k++)
        most = fmaxl(most, fabsl(x[k * step]));
    for (int64_t k = 0; k < count; k++)
        if (fabsl(x[k * step]) >= most / 2)
            return x[k * step] < 0 ? -1 : 1;
    return 1;
}

/* Reflects each column onto the axis of its diagonal element, away from that element's sign, unless it lies there. */
void oracle_qr(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t m = rows_of(x), n = columns_of(x), k = m < n ? m : n, count = matrices_in(x);
    for (int64_t at = 0; at < count; at++) {
        real size, *a = matrix_of(x, at, &size), *q = calloc((size_t)(m * m) + 1, sizeof *q);
        if (!isfinite(size) && put_nan(c, at, count)) {
            free(a), free(q);
            continue;
        }
        real *v = calloc((size_t)m + 1, sizeof *v), least = size;
        for (int64_t i = 0; i < m; i++)
            q[i * m + i] = 1;
        for (int64_t j = 0; j < k; j++) {
            real below = 0, norm, length = 0;
            for (int64_t i = j + 1; i < m; i++)
                below += a[i * n + j] * a[i * n + j];
            norm = sqrtl(below + a[j * n + j] * a[j * n + j]);
            least = fminl(least, norm);
            for (int64_t i = j; i < m; i++)
                v[i] = a[i * n + j] + (i > j ? 0 : a[j * n + j] < 0 ? -norm : norm);
            for (int64_t i = j; i < m; i++)
                length += v[i] * v[i];
            for (int64_t t = 0; t < n + m && below > 0; t++) {
                real *to = t < n ? a + t : q + (t - n) * m, dot = 0;
                int64_t step = t < n ? n : 1;
                for (int64_t i = j; i < m; i++)
                    dot += v[i] * to[i * step];
                for (int64_t i = j; i < m; i++)
                    to[i * step] -= 2 * dot / length * v[i];
            }
        }
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < k; j++)
                put_scaled(&c->out[0], (at * m + i) * k + j, q[i * m + j], (real)(m + n) * size / least);
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j < n; j++)
                put_scaled(&c->out[1], (at * k + i) * n + j, j < i ? 0 : a[i * n + j],
                           j < i ? 0 : (real)(m + n) * size * size / least);
        free(a), free(q), free(v);
    }
}

/* Turns rows p and q of x, whose elements lie step apart, by the angle of cosine c and sine s. */
static void rotate(real *x, int64_t p, int64_t q, int64_t to_next, int64_t step, int64_t count, real c, real s)
{
    for (int64_t i = 0; i < count; i++) {
        real a = x[p * to_next + i * step], b = x[q * to_next + i * step];
        x[p * to_next + i * step] = c * a - s * b;
        x[q * to_next + i * step] = s * a + c * b;
    }
}

/* The angle that makes the off-diagonal element b of (a, b; b, d) 0. */
static void angle(real a, real b, real d, real *c, real *s)
{
    real theta = (d - a) / (2 * b), t = (theta < 0 ? -1 : 1) / (fabsl(theta) + sqrtl(theta * theta + 1));
    *c = 1 / sqrtl(t * t + 1);
    *s = t * *c;
}

/* The places of n values in rising order. */
static void sort_places(const real *values, int64_t n, int64_t *places)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;
        for (; at > 0 && values[places[at - 1]] > values[i]; at--)
            places[at] = places[at - 1];
        places[at] = i;
    }
}

/* The distance from value k in order to the next, or from 0 if that counts. */
static real gap(const real *values, const int64_t *places, int64_t n, int64_t k, bool zero)
{
    real least = zero ? fabsl(values[places[k]]) : INFINITY;
    if (k > 0)
        least = fminl(least, values[places[k]] - values[places[k - 1]]);
    if (k + 1 < n)
        least = fminl(least, values[places[k + 1]] - values[places[k]]);
    return least;
}

void oracle_eigh(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    bool upper = ((const struct td_eigh_attrs *)c->attrs)->upper;
    int64_t n = rows_of(x), count = matrices_in(x);
    for (int64_t at = 0; at < count; at++) {
        real size, *a = matrix_of(x, at, &size), *v = calloc((size_t)(n * n) + 1, sizeof *v), cosine, sine;
        real *values = calloc((size_t)n + 1, sizeof *values);
        int64_t *places = calloc((size_t)n + 1, sizeof *places);
        size = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j <= i; j++) {
                a[i * n + j] = a[j * n + i] = upper ? a[j * n + i] : a[i * n + j];
                size += 2 * a[i * n + j] * a[i * n + j];
                v[i * n + j] = i == j;
            }
        size = sqrtl(size);
        for (int sweep = 0; sweep < 40 && isfinite(size); sweep++)
            for (int64_t p = 0; p < n; p++)
                for (int64_t q = p + 1; q < n; q++) {
                    if (fabsl(a[p * n + q]) <= size * 1e-22L)
                        continue;
                    angle(a[p * n + p], a[p * n + q], a[q * n + q], &cosine, &sine);
                    rotate(a, p, q, n, 1, n, cosine, sine);
                    rotate(a, p, q, 1, n, n, cosine, sine);
                    rotate(v, p, q, 1, n, n, cosine, sine);
                }
        for (int64_t i = 0; i < n; i++)
            values[i] = a[i * n + i];
        sort_places(values, n, places);
        for (int64_t k = 0; k < n; k++) {
            const real *vector = v + places[k];
            real scale = n * size / gap(values, places, n, k, false);
            int sign = sign_of(vector, n, n);
            put_scaled(&c->out[0], at * n + k, values[places[k]], n * size);
            for (int64_t i = 0; i < n; i++)
                put_scaled(&c->out[1], (at * n + i) * n + k, sign * vector[i * n], n > 1 ? scale : 1);
        }
        if (!isfinite(size))
            put_nan(c, at, count);
        free(a), free(v), free(values), free(places);
    }
}

/* Singular values and vectors of each matrix by turning the columns of the tall one of x and x^T until they are
 * orthogonal: u, s and vh, or s alone. */
static void singular(struct oracle_call *c, struct oracle_tensor *us, struct oracle_tensor *ss,
                     struct oracle_tensor *vs)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t m = rows_of(x), n = columns_of(x), count = matrices_in(x), k = m < n ? m : n, tall = m < n ? n : m;
    for (int64_t at = 0; at < count; at++) {
        real size, *from = matrix_of(x, at, &size), *a = calloc((size_t)(m * n) + 1, sizeof *a), cosine, sine;
        real *v = calloc((size_t)(k * k) + 1, sizeof *v), *values = calloc((size_t)k + 1, sizeof *values);
        int64_t *places = calloc((size_t)k + 1, sizeof *places);
        for (int64_t i = 0; i < m; i++) /* a's row is a column of the tall one */
            for (int64_t j = 0; j < n; j++)
                a[m < n ? i * n + j : j * m + i] = from[i * n + j];
        for (int64_t i = 0; i < k; i++)
            v[i * k + i] = 1;
        for (int sweep = 0; sweep < 60 && isfinite(size); sweep++)
            for (int64_t p = 0; p < k; p++)
                for (int64_t q = p + 1; q < k; q++) {
                    real pp = 0, pq = 0, qq = 0;
                    for (int64_t i = 0; i < tall; i++) {
                        pp += a[p * tall + i] * a[p * tall + i];
                        pq += a[p * tall + i] * a[q * tall + i];
                        qq += a[q * tall + i] * a[q * tall + i];
                    }
                    if (fabsl(pq) <= 1e-19L * sqrtl(pp * qq) || fabsl(pq) <= 1e-36L * size * size)
                        continue;
                    angle(pp, pq, qq, &cosine, &sine);
                    rotate(a, p, q, tall, 1, tall, cosine, sine);
                    rotate(v, p, q, k, 1, k, cosine, sine);
                }
        for (int64_t p = 0; p < k; p++) {
            for (int64_t i = 0; i < tall; i++)
                values[p] += a[p * tall + i] * a[p * tall + i];
            values[p] = sqrtl(values[p]);
            for (int64_t i = 0; i < tall && values[p] > 0; i++)
                a[p * tall + i] /= values[p];
        }
        sort_places(values, k, places);
        for (int64_t j = 0; j < k; j++) {
            int64_t place = places[k - 1 - j];
            const real *left = m < n ? v + place * k : a + place * tall,
                       *right = m < n ? a + place * tall : v + place * k;
            real scale = (m + n) * size / gap(values, places, k, k - 1 - j, m != n);
            int sign = us ? sign_of(left, m, 1) : 1;
            put_scaled(ss, at * k + j, values[place], (m + n) * size);
            for (int64_t i = 0; i < m && us; i++)
                put_scaled(us, (at * m + i) * k + j, sign * left[i], k == 1 && m == n ? 1 : scale);
            for (int64_t i = 0; i < n && vs; i++)
                put_scaled(vs, (at * k + j) * n + i, sign * right[i], k == 1 && m == n ? 1 : scale);
        }
        if (!isfinite(size))
            put_nan(c, at, count);
        free(from), free(a), free(v), free(values), free(places);
    }
}

void oracle_svdvals(struct oracle_call *c)
{
    singular(c, NULL, &c->out[0], NULL);
}

void oracle_svd(struct oracle_call *c)
{
    singular(c, &c->out[0], &c->out[1], &c->out[2]);
}
