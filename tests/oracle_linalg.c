/* The meaning of linear algebra, by textbook methods in long double. A result's scale is what rounding errors of the
 * input's size come to, by the condition of the matrix. SPDX-License-Identifier: Apache-2.0 */
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

/* How many matrices lie in the dimensions but the last. */
static int64_t matrices_in(const struct oracle_tensor *x, int inner)
{
    int64_t count = 1;
    for (int d = 0; d < x->rank - inner; d++)
        count *= x->shape[d];
    return count;
}

static real *new_matrix(int64_t rows, int64_t columns)
{
    return calloc((size_t)(rows * columns + 1), sizeof(real));
}

static bool finite_matrix(const real *a, int64_t count)
{
    bool finite = true;
    for (int64_t k = 0; k < count; k++)
        finite &= isfinite(a[k]) != 0;
    return finite;
}

/* y (n, m) = a (n, k) b (k, m), of magnitudes if absolute; to be freed. */
static real *multiplied(const real *a, const real *b, int64_t n, int64_t k, int64_t m, bool absolute)
{
    real *y = new_matrix(n, m);
    for (int64_t i = 0; i < n; i++)
        for (int64_t t = 0; t < k; t++)
            for (int64_t j = 0; j < m; j++)
                y[i * m + j] += absolute ? fabsl(a[i * k + t] * b[t * m + j]) : a[i * k + t] * b[t * m + j];
    return y;
}

static real *transposed(const real *a, int64_t rows, int64_t columns)
{
    real *y = new_matrix(columns, rows);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            y[j * rows + i] = a[i * columns + j];
    return y;
}

/* By elimination: b (n, m) becomes a^-1 b, and a is lost. The pivot that is 0, from 1, or 0; *det gets the determinant.
 */
static int64_t eliminate(real *a, int64_t n, real *b, int64_t m, real *det)
{
    *det = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < n; i++)
            best = fabsl(a[i * n + k]) > fabsl(a[best * n + k]) ? i : best;
        for (int64_t j = 0; j < n && best != k; j++) {
            real swap = a[k * n + j];
            a[k * n + j] = a[best * n + j], a[best * n + j] = swap;
        }
        for (int64_t j = 0; j < m && best != k; j++) {
            real swap = b[k * m + j];
            b[k * m + j] = b[best * m + j], b[best * m + j] = swap;
        }
        *det *= best != k ? -a[k * n + k] : a[k * n + k];
        if (a[k * n + k] == 0)
            return k + 1;
        for (int64_t i = 0; i < n; i++) {
            real by = i == k ? 0 : a[i * n + k] / a[k * n + k];
            for (int64_t j = 0; j < n && by != 0; j++)
                a[i * n + j] -= by * a[k * n + j];
            for (int64_t j = 0; j < m && by != 0; j++)
                b[i * m + j] -= by * b[k * m + j];
        }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            b[i * m + j] /= a[i * n + i];
    return 0;
}

/* a^-1, to be freed; *pivot as above. */
static real *inverse_of(const real *a, int64_t n, int64_t *pivot, real *det)
{
    real *copy = new_matrix(n, n), *y = new_matrix(n, n);
    memcpy(copy, a, (size_t)(n * n) * sizeof *a);
    for (int64_t k = 0; k < n; k++)
        y[k * n + k] = 1;
    *pivot = eliminate(copy, n, y, n, det);
    free(copy);
    return y;
}

static bool refuse_matrix(struct oracle_call *c, int64_t value, int64_t position, int64_t size)
{
    c->fault = TD_E_SINGULAR;
    c->value = value;
    c->position = position;
    c->size = size;
    return true;
}

static void put_scaled(struct oracle_tensor *out, int64_t i, real value, real scale)
{
    out->real[i] = value;
    out->scale[i] = (double)scale;
}

static void put_nan(struct oracle_tensor *out, int64_t from, int64_t count)
{
    for (int64_t k = from; k < from + count; k++)
        put_scaled(out, k, NAN, 0);
}

void oracle_inverse(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t n = rows_of(x), count = matrices_in(x, 2);
    for (int64_t k = 0; k < count && !c->fault; k++) {
        const real *a = x->real + k * n * n;
        int64_t pivot = 0;
        real det;
        if (!finite_matrix(a, n * n)) {
            put_nan(c->out, k * n * n, n * n);
            continue;
        }
        real *y = inverse_of(a, n, &pivot, &det);
        real *ya = multiplied(y, a, n, n, n, true), *scale = multiplied(ya, y, n, n, n, true);
        for (int64_t i = 0; i < n * n; i++)
            put_scaled(c->out, k * n * n + i, y[i], scale[i] * n);
        if (pivot)
            refuse_matrix(c, pivot, k, count);
        free(y), free(ya), free(scale);
    }
}

/* Matrix k of out's batch, out of x, whose batch broadcasts. */
static int64_t matrix_at(const struct oracle_tensor *x, int inner, const struct oracle_tensor *out, int out_inner,
                         int64_t k)
{
    struct oracle_tensor seen = *x, all = *out;
    seen.rank -= inner;
    all.rank -= out_inner;
    int64_t size = 1;
    for (int d = x->rank - inner; d < x->rank; d++)
        size *= x->shape[d];
    return seen_by(&seen, &all, k) * size;
}

/* What is read of a triangular matrix. */
static void cut_triangle(real *a, int64_t n, bool upper, bool unit)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (i == j ? unit : upper ? j < i : j > i)
                a[i * n + j] = i == j;
}

/* a y = b, or y a = b, of every matrix; triangle: 1 for lower and 2 for upper, 0 for all of a. */
static void equations(struct oracle_call *c, bool left, int triangle, bool unit)
{
    const struct oracle_tensor *as = &c->in[0], *bs = &c->in[1];
    bool vectors = !triangle && td_solves_vectors(as->rank, as->shape, bs->rank, bs->shape);
    int inner = vectors ? 1 : 2;
    int64_t n = rows_of(as), m = vectors ? 1 : left ? columns_of(bs) : rows_of(bs), count = matrices_in(c->out, inner);
    for (int64_t k = 0; k < count && !c->fault; k++) {
        const real *from = bs->real + matrix_at(bs, inner, c->out, inner, k);
        real *own = new_matrix(n, n), det;
        memcpy(own, as->real + matrix_at(as, 2, c->out, inner, k), (size_t)(n * n) * sizeof *own);
        if (triangle)
            cut_triangle(own, n, triangle == 2, unit);
        if (!finite_matrix(own, n * n)) {
            put_nan(c->out, k * n * m, n * m);
            free(own);
            continue;
        }
        int64_t pivot, other;
        free(inverse_of(own, n, &pivot, &det)); /* which is it that has factors */
        real *a = left ? transposed(own, 1, n * n) : transposed(own, n, n), *inverse = inverse_of(a, n, &other, &det);
        real *b = left ? transposed(from, 1, n * m) : transposed(from, m, n);
        real *y = multiplied(inverse, b, n, n, m, false), *ay = multiplied(a, y, n, n, m, true);
        for (int64_t i = 0; i < n * m; i++)
            ay[i] += fabsl(b[i]);
        real *scale = multiplied(inverse, ay, n, n, m, true);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < m; j++)
                put_scaled(c->out, k * n * m + (left ? i * m + j : j * n + i), y[i * m + j], scale[i * m + j] * n);
        if (pivot)
            refuse_matrix(c, pivot, k, count);
        free(own), free(a), free(inverse), free(b), free(y), free(ay), free(scale);
    }
}

void oracle_solve(struct oracle_call *c)
{
    equations(c, ((const struct td_solve_attrs *)c->attrs)->left, 0, false);
}

void oracle_solve_triangular(struct oracle_call *c)
{
    const struct td_solve_triangular_attrs *a = c->attrs;
    equations(c, a->left, a->upper ? 2 : 1, a->unitriangular);
}

void oracle_cholesky(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    bool upper = ((const struct td_cholesky_attrs *)c->attrs)->upper;
    int64_t n = rows_of(x), count = matrices_in(x, 2);
    for (int64_t k = 0; k < count && !c->fault; k++) {
        real *a = new_matrix(n, n), *l = new_matrix(n, n), most = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j <= i; j++)
                a[i * n + j] = x->real[k * n * n + (upper ? j * n + i : i * n + j)];
        bool finite = finite_matrix(a, n * n);
        for (int64_t i = 0; i < n && finite && !c->fault; i++)
            for (int64_t j = 0; j <= i; j++) {
                real sum = a[i * n + j];
                for (int64_t t = 0; t < j; t++)
                    sum -= l[i * n + t] * l[j * n + t];
                if (i == j && !(sum > 0)) {
                    refuse_matrix(c, i + 1, k, count);
                    break;
                }
                l[i * n + j] = i == j ? sqrtl(sum) : sum / l[j * n + j];
                most = fabsl(l[i * n + j]) > most ? fabsl(l[i * n + j]) : most;
            }
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                put_scaled(c->out, k * n * n + i * n + j, l[upper ? j * n + i : i * n + j], most * n);
        if (!finite)
            put_nan(c->out, k * n * n, n * n);
        free(a), free(l);
    }
}

/* The determinant, and how far rounding takes it: by each element as much as its cofactor. */
static real det_of(const real *a, int64_t n, real *scale)
{
    int64_t pivot;
    real det, *y = inverse_of(a, n, &pivot, &det);
    *scale = 0;
    for (int64_t i = 0; i < n && !pivot; i++)
        for (int64_t j = 0; j < n; j++)
            *scale += fabsl(a[i * n + j] * y[j * n + i] * det) * n;
    *scale += fabsl(det);
    free(y);
    return pivot ? 0 : det;
}

void oracle_det(struct oracle_call *c)
{
    int64_t n = rows_of(&c->in[0]);
    for (int64_t k = 0; k < c->out->count; k++) {
        const real *a = c->in[0].real + k * n * n;
        real scale, det = det_of(a, n, &scale);
        put_scaled(c->out, k, finite_matrix(a, n * n) ? det : NAN, scale);
    }
}

void oracle_slogdet(struct oracle_call *c)
{
    int64_t n = rows_of(&c->in[0]);
    for (int64_t k = 0; k < c->out->count; k++) {
        const real *a = c->in[0].real + k * n * n;
        bool finite = finite_matrix(a, n * n);
        real scale, det = det_of(a, n, &scale);
        put_scaled(&c->out[0], k, finite ? (det > 0) - (det < 0) : NAN, 0);
        put_scaled(&c->out[1], k, finite ? logl(fabsl(det)) : NAN,
                   det != 0 ? scale / fabsl(det) + fabsl(logl(fabsl(det))) : 0);
    }
}

/* Each by the determinant of what is left without its row and column; Hadamard's bound tells how large they may be. */
void oracle_cofactor(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0];
    int64_t n = rows_of(x), count = matrices_in(x, 2);
    for (int64_t k = 0; k < count; k++) {
        const real *a = x->real + k * n * n;
        real most = 1, *minor = new_matrix(n, n), scale;
        for (int64_t i = 0; i < n; i++) {
            real size = 0;
            for (int64_t j = 0; j < n; j++)
                size += a[i * n + j] * a[i * n + j];
            most *= size > 1 ? sqrtl(size) : 1;
        }
        for (int64_t at = 0; at < n * n; at++) {
            int64_t filled = 0;
            for (int64_t from = 0; from < n * n; from++)
                if (from / n != at / n && from % n != at % n)
                    minor[filled++] = a[from];
            real det = det_of(minor, n - 1, &scale);
            put_scaled(c->out, k * n * n + at, (at / n + at % n) % 2 ? -det : det, most * n);
        }
        if (!finite_matrix(a, n * n))
            put_nan(c->out, k * n * n, n * n);
        free(minor);
    }
}
