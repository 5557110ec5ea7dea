/* Equations, inverses and determinants by triangular factors. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/problem.h"
#include "kernels/pivots.h"

/* ---- by triangular factors ---- */

/* The factors of the first input into matrix 0; 0, or the pivot that is 0. Equations that share a matrix follow each
 * other. */
static int factor(struct problem *p)
{
    const struct td_operand *a = &p->part[0];
    if (p->done == a->data && p->n)
        return 0;
    p->finite = TD_CPU(load_matrix)(a, TD_ALL, p->matrix[0]);
    int info = p->finite ? td_lapack_lu(p->dtype, p->n, p->matrix[0], p->pivots) : 0;
    p->done = info ? NULL : a->data;
    return info;
}

static int invert(struct problem *p)
{
    int info = factor(p);
    int64_t n = p->n;
    if (!p->finite)
        TD_CPU(fill_nan)(&p->part[1]);
    if (info || !p->finite)
        return info;
    memset(p->matrix[1], 0, (size_t)(n * n) * td_dtype_size(p->dtype));
    for (int64_t k = 0; k < n; k++)
        put_real(p->dtype, p->matrix[1], k * n + k, 1);
    td_lapack_solve(p->dtype, false, p->n, p->n, p->matrix[0], p->pivots, p->matrix[1]);
    TD_CPU(store_matrix)(&p->part[1], p->matrix[1]);
    return 0;
}

void TD_CPU(inverse)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, invert, (int[]){2, 2});
}

/* y a = b is a^T y^T = b^T. */
static int solve_one(struct problem *p)
{
    bool right = !((const struct td_solve_attrs *)p->launch->attrs)->left;
    struct td_operand b = right ? turned(&p->part[1]) : p->part[1], y = right ? turned(&p->part[2]) : p->part[2];
    int info = factor(p);
    if (!p->finite)
        TD_CPU(fill_nan)(&y);
    if (info || !p->finite)
        return info;
    TD_CPU(load_matrix)(&b, TD_ALL, p->matrix[1]);
    td_lapack_solve(p->dtype, right, p->n, (int)b.shape[1], p->matrix[0], p->pivots, p->matrix[1]);
    TD_CPU(store_matrix)(&y, p->matrix[1]);
    return 0;
}

void TD_CPU(solve)(struct td_launch *launch)
{
    const struct td_operand *a = &launch->in[0], *b = &launch->in[1];
    int inner = td_solves_vectors(a->rank, a->shape, b->rank, b->shape) ? 1 : 2;
    TD_CPU(each_problem)(launch, solve_one, (int[]){2, inner, inner});
}

static int solve_triangle(struct problem *p)
{
    const struct td_solve_triangular_attrs *attrs = p->launch->attrs;
    bool right = !attrs->left, upper = (attrs->upper != 0) != right;
    struct td_operand a = right ? turned(&p->part[0]) : p->part[0], b = right ? turned(&p->part[1]) : p->part[1];
    struct td_operand y = right ? turned(&p->part[2]) : p->part[2];
    TD_CPU(load_matrix)(&a, upper ? TD_UPPER : TD_LOWER, p->matrix[0]);
    TD_CPU(load_matrix)(&b, TD_ALL, p->matrix[1]);
    td_lapack_solve_triangular(p->dtype, upper, attrs->unitriangular != 0, p->n, (int)b.shape[1], p->matrix[0],
                               p->matrix[1]);
    TD_CPU(store_matrix)(&y, p->matrix[1]);
    return 0;
}

void TD_CPU(solve_triangular)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, solve_triangle, (int[]){2, 2, 2});
}

static int decompose(struct problem *p)
{
    bool upper = ((const struct td_cholesky_attrs *)p->launch->attrs)->upper;
    if (!TD_CPU(load_matrix)(&p->part[0], upper ? TD_UPPER : TD_LOWER, p->matrix[0])) {
        TD_CPU(fill_nan)(&p->part[1]);
        return 0;
    }
    int info = td_lapack_cholesky(p->dtype, upper, p->n, p->matrix[0]);
    if (!info)
        TD_CPU(store_matrix)(&p->part[1], p->matrix[0]);
    return info;
}

void TD_CPU(cholesky)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, decompose, (int[]){2, 2});
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
    TD_CPU(each_problem)(launch, put_det, (int[]){2, 0});
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
    TD_CPU(each_problem)(launch, put_slogdet, (int[]){2, 0, 0});
}

/* ---- cofactors ---- */

/* Whether the factors in matrix 0 are as good as those of any matrix. */
static bool well_conditioned(const struct problem *p)
{
    double least = INFINITY, most = 0, eps = p->dtype == TD_F32 ? 0x1p-23 : 0x1p-52;
    for (int k = 0; k < p->n; k++) {
        double x = fabs(real_at(p->dtype, p->matrix[0], k * (int64_t)p->n + k));
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    return td_pivots_are_sound(least, most, eps, p->n);
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
    TD_CPU(load_matrix)(&p->part[0], TD_ALL, p->matrix[0]);
    int info = td_lapack_svd(p->dtype, p->n, p->n, p->matrix[0], s, p->matrix[1], p->matrix[2]);
    if (info) { /* it did not converge */
        free(s);
        TD_CPU(fill_nan)(&p->part[1]);
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
    td_cpu_multiply(&u, &vt, &p->part[1], false);
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
        TD_CPU(fill_nan)(&p->part[1]);
    if (!p->finite || n == 0)
        return 0;
    if (info || !well_conditioned(p))
        return cofactors_by_svd(p);
    sign = pivots_sign(p, false, &size);
    memset(p->matrix[1], 0, (size_t)(n * n) * td_dtype_size(p->dtype));
    for (int64_t k = 0; k < n; k++)
        put_real(p->dtype, p->matrix[1], k * n + k, sign * size);
    td_lapack_solve(p->dtype, true, p->n, p->n, p->matrix[0], p->pivots, p->matrix[1]);
    TD_CPU(store_matrix)(&p->part[1], p->matrix[1]);
    return 0;
}

void TD_CPU(cofactor)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, put_cofactors, (int[]){2, 2});
}
