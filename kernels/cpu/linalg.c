/* Linear algebra: each matrix of a batch is copied into scratch memory by columns, as LAPACK has it, worked on there,
 * and what comes of it is written row by row. A matrix that is done by itself has the same bits whoever does it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lapack.h"
#include "protocol/error.h"

/* ---- matrices in and out ---- */

enum part { ALL, LOWER, UPPER };

/* The elements of x by columns, 0 outside of part. False if one of them is nan or inf. */
#define LOAD(name, real)                                                   \
    static bool name(const struct td_operand *x, enum part part, real *to) \
    {                                                                      \
        int64_t rows = x->shape[0], columns = x->shape[1];                 \
        bool finite = true;                                                \
        for (int64_t j = 0; j < columns; j++) {                            \
            const real *from = (const real *)x->data + j * x->stride[1];   \
            int64_t first = part == LOWER ? (j < rows ? j : rows) : 0;     \
            int64_t end = part == UPPER && j < rows ? j + 1 : rows;        \
            memset(to, 0, (size_t)rows * sizeof *to);                      \
            for (int64_t i = first; i < end; i++) {                        \
                to[i] = from[i * x->stride[0]];                            \
                finite &= isfinite(to[i]) != 0;                            \
            }                                                              \
            to += rows;                                                    \
        }                                                                  \
        return finite;                                                     \
    }
LOAD(load_f32, float)
LOAD(load_f64, double)

static bool load(const struct td_operand *x, enum part part, void *to)
{
    return x->dtype == TD_F32 ? load_f32(x, part, to) : load_f64(x, part, to);
}

/* x becomes what lies by columns at from. */
static void store(const struct td_operand *x, const void *from)
{
    struct td_operand source = *x;
    source.data = (void *)(uintptr_t)from;
    source.stride[0] = 1;
    source.stride[1] = x->shape[0];
    TD_CPU(copy_operand)(x, &source);
}

static double real_at(uint8_t dtype, const void *data, int64_t k)
{
    return dtype == TD_F32 ? (double)((const float *)data)[k] : ((const double *)data)[k];
}

static void put_real(uint8_t dtype, void *data, int64_t k, double value)
{
    if (dtype == TD_F32)
        ((float *)data)[k] = (float)value;
    else
        ((double *)data)[k] = value;
}

static void fill_nan(const struct td_operand *x)
{
    double wide = NAN;
    float narrow = NAN;
    struct td_operand source = *x;
    source.data = x->dtype == TD_F32 ? (void *)&narrow : (void *)&wide;
    memset(source.stride, 0, sizeof source.stride);
    TD_CPU(copy_operand)(x, &source);
}

/* x with rows and columns exchanged. */
static struct td_operand turned(const struct td_operand *x)
{
    struct td_operand y = *x;
    y.shape[0] = x->shape[1], y.shape[1] = x->shape[0];
    y.stride[0] = x->stride[1], y.stride[1] = x->stride[0];
    return y;
}

/* ---- batches ---- */

#define PARTS_MAX 4

/* One problem of a batch, and the scratch that its thread has for all of its own. */
struct problem {
    const struct td_launch *launch;
    struct td_operand part[PARTS_MAX]; /* inputs, then results: the dimensions behind the batch's */
    int inputs;
    uint8_t dtype;
    int n;            /* rows of the first input */
    char *matrix[3];  /* as large as the first input, the second, and the first again */
    int *pivots;      /* n */
    const void *done; /* the matrix whose factors lie in scratch already */
    bool finite;      /* that it was */
};

/* Does one problem. 0, or what lapack.h says of a matrix that cannot be taken. */
typedef int solver(struct problem *p);

struct batch {
    solver *solve;
    struct problem problem;
    int rank;
    int64_t shape[TD_RANK_MAX], stride[PARTS_MAX][TD_RANK_MAX], sizes[3];
    pthread_mutex_t *mutex;
    struct td_fault *fault; /* that of the first problem which has one */
};

static void note_fault(const struct batch *b, int info, int64_t position)
{
    pthread_mutex_lock(b->mutex);
    if (b->fault->code == TD_E_OK || position < b->fault->position) {
        b->fault->code = info == TD_LAPACK_MEMORY ? TD_E_MEMORY : TD_E_SINGULAR;
        b->fault->value = info;
        b->fault->position = position;
    }
    pthread_mutex_unlock(b->mutex);
}

static bool take_scratch(struct problem *p, const int64_t *sizes)
{
    size_t size = td_dtype_size(p->dtype), bytes = 64, at[3];
    for (int k = 0; k < 3; k++) {
        at[k] = bytes;
        bytes += ((size_t)sizes[k] * size + 63) / 64 * 64;
    }
    char *scratch = aligned_alloc(64, (bytes + (size_t)p->n * sizeof *p->pivots + 63) / 64 * 64);
    for (int k = 0; k < 3 && scratch; k++)
        p->matrix[k] = scratch + at[k];
    p->pivots = scratch ? (int *)(void *)(scratch + bytes) : NULL;
    return scratch != NULL;
}

static void batch_part(const void *data, int64_t from, int64_t to)
{
    const struct batch *b = data;
    struct problem p = b->problem;
    int64_t index[TD_RANK_MAX] = {0}, offset[PARTS_MAX] = {0}, size = (int64_t)td_dtype_size(p.dtype);
    int parts = p.inputs + p.launch->op->output_count;
    const int64_t *stride[PARTS_MAX];
    for (int k = 0; k < parts; k++)
        stride[k] = b->stride[k];
    if (!take_scratch(&p, b->sizes)) {
        note_fault(b, TD_LAPACK_MEMORY, from);
        return;
    }
    td_seek_index(b->rank, b->shape, from, index, parts, offset, stride);
    for (int64_t k = from; k < to; k++) {
        for (int part = 0; part < parts; part++)
            p.part[part].data = (char *)b->problem.part[part].data + offset[part] * size;
        int info = b->solve(&p);
        if (info) {
            note_fault(b, info, k);
            break;
        }
        td_step_index(b->rank, b->shape, index, parts, offset, stride);
    }
    free(p.matrix[0] - 64);
}

/* The last dimensions of x, from the one on where its batch ends; the strides of its batch, repeated to rank. */
static struct td_operand split(const struct td_operand *x, int inner, int rank, const int64_t *shape, int64_t *stride)
{
    struct td_operand part = {.data = x->data, .dtype = x->dtype, .rank = (uint8_t)inner};
    int own = x->rank - inner;
    for (int d = 0; d < inner; d++) {
        part.shape[d] = x->shape[own + d];
        part.stride[d] = x->stride[own + d];
    }
    for (int d = 0; d < rank; d++) {
        int from = d - (rank - own);
        stride[d] = from < 0 || (x->shape[from] == 1 && shape[d] != 1) ? 0 : x->stride[from];
    }
    return part;
}

/* A vector is a matrix of one column. */
static void widen(struct td_operand *x)
{
    if (x->rank != 1)
        return;
    x->rank = 2;
    x->shape[1] = 1;
    x->stride[1] = x->shape[0];
}

/* Has solve do each problem; inner: dimensions of a problem's operands, inputs and then results. */
static void each(struct td_launch *launch, solver *solve, const int *inner)
{
    const struct td_operand *a = &launch->in[0], *out = &launch->out[0];
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct td_fault fault = {.code = TD_E_OK};
    struct batch b = {.solve = solve, .mutex = &mutex, .fault = &fault};
    int inputs = launch->in_count;
    int64_t count = 1;
    b.problem = (struct problem){.launch = launch, .inputs = inputs, .dtype = out->dtype};
    b.problem.n = (int)a->shape[a->rank - 2];
    b.rank = out->rank - inner[inputs];
    for (int d = 0; d < b.rank; d++)
        count *= b.shape[d] = out->shape[d];
    for (int k = 0; k < inputs + launch->op->output_count; k++) {
        const struct td_operand *x = k < inputs ? &launch->in[k] : &launch->out[k - inputs];
        b.problem.part[k] = split(x, inner[k], b.rank, b.shape, b.stride[k]);
        widen(&b.problem.part[k]);
        if (k < 2)
            b.sizes[k] = td_operand_numel(&b.problem.part[k]);
    }
    b.sizes[1] = b.sizes[1] > b.sizes[0] ? b.sizes[1] : b.sizes[0];
    b.sizes[2] = b.sizes[0];
    uint64_t ns = td_lapack_ns(launch);
    if (count)
        td_parallel(count, ns < 20000 ? (int64_t)(20000 / ns) : 1, ns, batch_part, &b);
    launch->fault = fault;
    launch->fault.size = count;
}

/* ---- by triangular factors ---- */

/* The factors of the first input into matrix 0; 0, or the pivot that is 0. Equations that share a matrix follow each
 * other. */
static int factor(struct problem *p)
{
    const struct td_operand *a = &p->part[0];
    if (p->done == a->data && p->n)
        return 0;
    p->finite = load(a, ALL, p->matrix[0]);
    int info = p->finite ? td_lapack_lu(p->dtype, p->n, p->matrix[0], p->pivots) : 0;
    p->done = info ? NULL : a->data;
    return info;
}

static int invert(struct problem *p)
{
    int info = factor(p);
    int64_t n = p->n;
    if (!p->finite)
        fill_nan(&p->part[1]);
    if (info || !p->finite)
        return info;
    memset(p->matrix[1], 0, (size_t)(n * n) * td_dtype_size(p->dtype));
    for (int64_t k = 0; k < n; k++)
        put_real(p->dtype, p->matrix[1], k * n + k, 1);
    td_lapack_solve(p->dtype, false, p->n, p->n, p->matrix[0], p->pivots, p->matrix[1]);
    store(&p->part[1], p->matrix[1]);
    return 0;
}

void TD_CPU(inverse)(struct td_launch *launch)
{
    each(launch, invert, (int[]){2, 2});
}

/* y a = b is a^T y^T = b^T. */
static int solve_one(struct problem *p)
{
    bool right = !((const struct td_solve_attrs *)p->launch->attrs)->left;
    struct td_operand b = right ? turned(&p->part[1]) : p->part[1], y = right ? turned(&p->part[2]) : p->part[2];
    int info = factor(p);
    if (!p->finite)
        fill_nan(&y);
    if (info || !p->finite)
        return info;
    load(&b, ALL, p->matrix[1]);
    td_lapack_solve(p->dtype, right, p->n, (int)b.shape[1], p->matrix[0], p->pivots, p->matrix[1]);
    store(&y, p->matrix[1]);
    return 0;
}

void TD_CPU(solve)(struct td_launch *launch)
{
    const struct td_operand *a = &launch->in[0], *b = &launch->in[1];
    int inner = td_solves_vectors(a->rank, a->shape, b->rank, b->shape) ? 1 : 2;
    each(launch, solve_one, (int[]){2, inner, inner});
}

static int solve_triangle(struct problem *p)
{
    const struct td_solve_triangular_attrs *attrs = p->launch->attrs;
    bool right = !attrs->left, upper = (attrs->upper != 0) != right;
    struct td_operand a = right ? turned(&p->part[0]) : p->part[0], b = right ? turned(&p->part[1]) : p->part[1];
    struct td_operand y = right ? turned(&p->part[2]) : p->part[2];
    load(&a, upper ? UPPER : LOWER, p->matrix[0]);
    load(&b, ALL, p->matrix[1]);
    td_lapack_solve_triangular(p->dtype, upper, attrs->unitriangular != 0, p->n, (int)b.shape[1], p->matrix[0],
                               p->matrix[1]);
    store(&y, p->matrix[1]);
    return 0;
}

void TD_CPU(solve_triangular)(struct td_launch *launch)
{
    each(launch, solve_triangle, (int[]){2, 2, 2});
}

static int decompose(struct problem *p)
{
    bool upper = ((const struct td_cholesky_attrs *)p->launch->attrs)->upper;
    if (!load(&p->part[0], upper ? UPPER : LOWER, p->matrix[0])) {
        fill_nan(&p->part[1]);
        return 0;
    }
    int info = td_lapack_cholesky(p->dtype, upper, p->n, p->matrix[0]);
    if (!info)
        store(&p->part[1], p->matrix[0]);
    return info;
}

void TD_CPU(cholesky)(struct td_launch *launch)
{
    each(launch, decompose, (int[]){2, 2});
}

/* ---- determinants ---- */

/* The sign of the product of the pivots; of their magnitudes the product, or the sum of the logarithms. */
static double pivots_sign(const struct problem *p, bool logarithm, double *size)
{
    double sign = 1;
    *size = logarithm ? 0 : 1;
    for (int k = 0; k < p->n; k++) {
        double x = real_at(p->dtype, p->matrix[0], k * (int64_t)p->n + k);
        sign = p->pivots[k] != k + 1 ? -sign : sign;
        sign = x < 0 ? -sign : sign;
        *size = logarithm ? *size + log(fabs(x)) : *size * fabs(x);
    }
    return sign;
}

static int put_det(struct problem *p)
{
    double size = 0, sign = factor(p) ? 0 : !p->finite ? NAN : pivots_sign(p, false, &size);
    put_real(p->dtype, p->part[1].data, 0, sign == 0 ? 0 : sign * size);
    return 0;
}

void TD_CPU(det)(struct td_launch *launch)
{
    each(launch, put_det, (int[]){2, 0});
}

static int put_slogdet(struct problem *p)
{
    double size = -INFINITY, sign = factor(p) ? 0 : !p->finite ? NAN : pivots_sign(p, true, &size);
    put_real(p->dtype, p->part[1].data, 0, sign);
    put_real(p->dtype, p->part[2].data, 0, isnan(sign) ? sign : size);
    return 0;
}

void TD_CPU(slogdet)(struct td_launch *launch)
{
    each(launch, put_slogdet, (int[]){2, 0, 0});
}

/* ---- cofactors ---- */

/* Whether the factors in matrix 0 are as good as those of any matrix: pivots of one order of magnitude. */
static bool well_conditioned(const struct problem *p)
{
    double least = INFINITY, most = 0, eps = p->dtype == TD_F32 ? 0x1p-23 : 0x1p-52;
    for (int k = 0; k < p->n; k++) {
        double x = fabs(real_at(p->dtype, p->matrix[0], k * (int64_t)p->n + k));
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    return least > most * eps * 256 * (p->n + 1);
}

/* The determinant of an orthogonal matrix, which is lost. */
static double orientation(struct problem *p, void *matrix)
{
    double size;
    void *kept = p->matrix[0];
    p->matrix[0] = matrix;
    double sign = td_lapack_lu(p->dtype, p->n, matrix, p->pivots) ? 0 : pivots_sign(p, true, &size);
    p->matrix[0] = kept;
    return sign;
}

/* Of x = u s vt: u c vt, where each of c is the product of all of s but one, times the determinants of u and vt. */
static int cofactors_by_svd(struct problem *p)
{
    int64_t n = p->n, size = (int64_t)td_dtype_size(p->dtype);
    double *s = malloc((size_t)(2 * n + 2) * sizeof *s), *others = s + n + 1, before = 1, behind = 1;
    if (!s)
        return TD_LAPACK_MEMORY;
    load(&p->part[0], ALL, p->matrix[0]);
    int info = td_lapack_svd(p->dtype, p->n, p->n, p->matrix[0], s, p->matrix[1], p->matrix[2]);
    if (info) { /* it did not converge */
        free(s);
        fill_nan(&p->part[1]);
        return info == TD_LAPACK_MEMORY ? info : 0;
    }
    memcpy(p->matrix[0], p->matrix[1], (size_t)(n * n * size));
    double sign = orientation(p, p->matrix[0]);
    memcpy(p->matrix[0], p->matrix[2], (size_t)(n * n * size));
    sign *= orientation(p, p->matrix[0]);
    for (int64_t k = 0; k < n; before *= real_at(p->dtype, s, k++))
        others[k] = sign * before;
    for (int64_t k = n - 1; k >= 0; behind *= real_at(p->dtype, s, k--))
        others[k] *= behind;
    for (int64_t k = 0; k < n * n; k++)
        put_real(p->dtype, p->matrix[1], k, real_at(p->dtype, p->matrix[1], k) * others[k / n]);
    struct td_operand u = p->part[0], vt = p->part[0];
    u.data = p->matrix[1], vt.data = p->matrix[2];
    u.stride[0] = vt.stride[0] = 1;
    u.stride[1] = vt.stride[1] = n;
    td_cpu_multiply(&u, &vt, &p->part[1]);
    free(s);
    return 0;
}

static int put_cofactors(struct problem *p)
{
    int64_t n = p->n;
    int info = factor(p);
    double size, sign;
    p->done = NULL; /* what follows is written over it */
    if (!p->finite)
        fill_nan(&p->part[1]);
    if (!p->finite || n == 0)
        return 0;
    if (info || !well_conditioned(p))
        return cofactors_by_svd(p);
    sign = pivots_sign(p, false, &size);
    memset(p->matrix[1], 0, (size_t)(n * n) * td_dtype_size(p->dtype));
    for (int64_t k = 0; k < n; k++)
        put_real(p->dtype, p->matrix[1], k * n + k, sign * size);
    td_lapack_solve(p->dtype, true, p->n, p->n, p->matrix[0], p->pivots, p->matrix[1]);
    store(&p->part[1], p->matrix[1]);
    return 0;
}

void TD_CPU(cofactor)(struct td_launch *launch)
{
    each(launch, put_cofactors, (int[]){2, 2});
}

/* ---- orthogonal factors ---- */

static int put_qr(struct problem *p)
{
    const struct td_operand *x = &p->part[0], *q = &p->part[1], *r = &p->part[2];
    int64_t m = x->shape[0], n = x->shape[1], k = r->shape[0], size = (int64_t)td_dtype_size(p->dtype);
    if (!load(x, ALL, p->matrix[0])) {
        fill_nan(q);
        fill_nan(r);
        return 0;
    }
    int info = td_lapack_qr(p->dtype, (int)m, (int)n, p->matrix[0], p->matrix[2]);
    memset(p->matrix[1], 0, (size_t)(k * n * size));
    for (int64_t j = 0; j < n; j++)
        memcpy(p->matrix[1] + j * k * size, p->matrix[0] + j * m * size, (size_t)((j < k ? j + 1 : k) * size));
    store(r, p->matrix[1]);
    info = info ? info : td_lapack_q(p->dtype, (int)m, (int)k, p->matrix[0], p->matrix[2]);
    store(q, p->matrix[0]);
    return info;
}

void TD_CPU(qr)(struct td_launch *launch)
{
    each(launch, put_qr, (int[]){2, 2, 2});
}

/* Whether the count elements of a vector are to change their sign: of those that are at least half as large as the
 * largest the first decides. Two of the same size would change places by a rounding error. */
static bool is_negative(uint8_t dtype, const void *vector, int64_t count)
{
    double most = 0;
    for (int64_t k = 0; k < count; k++)
        most = fabs(real_at(dtype, vector, k)) > most ? fabs(real_at(dtype, vector, k)) : most;
    for (int64_t k = 0; k < count; k++)
        if (fabs(real_at(dtype, vector, k)) >= most / 2)
            return real_at(dtype, vector, k) < 0;
    return false;
}

static void negate(uint8_t dtype, void *vector, int64_t count, int64_t step)
{
    for (int64_t k = 0; k < count; k++)
        put_real(dtype, vector, k * step, -real_at(dtype, vector, k * step));
}

/* What LAPACK said of an iteration: all results are nan where it did not converge. */
static int converged(struct problem *p, int info)
{
    for (int k = 0; k < p->launch->op->output_count && info && info != TD_LAPACK_MEMORY; k++)
        fill_nan(&p->part[1 + k]);
    return info == TD_LAPACK_MEMORY ? info : 0;
}

static int put_eigh(struct problem *p)
{
    bool upper = ((const struct td_eigh_attrs *)p->launch->attrs)->upper;
    int64_t n = p->n, size = (int64_t)td_dtype_size(p->dtype);
    int info = !load(&p->part[0], upper ? UPPER : LOWER, p->matrix[0]);
    if (!info)
        info = td_lapack_eigh(p->dtype, upper, p->n, p->matrix[0], p->part[1].data);
    if (info)
        return converged(p, info);
    for (int64_t k = 0; k < n; k++)
        if (is_negative(p->dtype, p->matrix[0] + k * n * size, n))
            negate(p->dtype, p->matrix[0] + k * n * size, n, 1);
    store(&p->part[2], p->matrix[0]);
    return 0;
}

void TD_CPU(eigh)(struct td_launch *launch)
{
    each(launch, put_eigh, (int[]){2, 1, 2});
}

static int put_svdvals(struct problem *p)
{
    const struct td_operand *x = &p->part[0];
    int info = !load(x, ALL, p->matrix[0]);
    if (!info)
        info = td_lapack_svd(p->dtype, p->n, (int)x->shape[1], p->matrix[0], p->part[1].data, NULL, NULL);
    return converged(p, info);
}

void TD_CPU(svdvals)(struct td_launch *launch)
{
    each(launch, put_svdvals, (int[]){2, 1});
}

static int put_svd(struct problem *p)
{
    const struct td_operand *x = &p->part[0];
    int64_t m = x->shape[0], n = x->shape[1], k = m < n ? m : n, size = (int64_t)td_dtype_size(p->dtype);
    int info = !load(x, ALL, p->matrix[0]);
    if (!info)
        info = td_lapack_svd(p->dtype, (int)m, (int)n, p->matrix[0], p->part[2].data, p->matrix[1], p->matrix[2]);
    if (info)
        return converged(p, info);
    for (int64_t j = 0; j < k; j++)
        if (is_negative(p->dtype, p->matrix[1] + j * m * size, m)) {
            negate(p->dtype, p->matrix[1] + j * m * size, m, 1);
            negate(p->dtype, p->matrix[2] + j * size, n, k);
        }
    store(&p->part[1], p->matrix[1]);
    store(&p->part[3], p->matrix[2]);
    return 0;
}

void TD_CPU(svd)(struct td_launch *launch)
{
    each(launch, put_svd, (int[]){2, 2, 1, 2});
}
