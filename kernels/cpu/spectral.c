/* Orthogonal factors, eigenvalues and singular values. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/problem.h"

static int put_qr(struct problem *p)
{
    const struct td_operand *x = &p->part[0], *q = &p->part[1], *r = &p->part[2];
    int64_t m = x->shape[0], n = x->shape[1], k = r->shape[0], size = (int64_t)td_dtype_size(p->dtype);
    if (!TD_CPU(load_matrix)(x, TD_ALL, p->matrix[0])) {
        TD_CPU(fill_nan)(q);
        TD_CPU(fill_nan)(r);
        return 0;
    }
    int info = td_lapack_qr(p->dtype, (int)m, (int)n, p->matrix[0], p->matrix[2]);
    memset(p->matrix[1], 0, (size_t)(k * n * size));
    for (int64_t j = 0; j < n; j++)
        memcpy(p->matrix[1] + j * k * size, p->matrix[0] + j * m * size, (size_t)((j < k ? j + 1 : k) * size));
    TD_CPU(store_matrix)(r, p->matrix[1]);
    info = info ? info : td_lapack_q(p->dtype, (int)m, (int)k, p->matrix[0], p->matrix[2]);
    TD_CPU(store_matrix)(q, p->matrix[0]);
    return info;
}

void TD_CPU(qr)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, put_qr, (int[]){2, 2, 2});
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
        TD_CPU(fill_nan)(&p->part[1 + k]);
    return info == TD_LAPACK_MEMORY ? info : 0;
}

static int put_eigh(struct problem *p)
{
    bool upper = ((const struct td_eigh_attrs *)p->launch->attrs)->upper;
    int64_t n = p->n, size = (int64_t)td_dtype_size(p->dtype);
    int info = !TD_CPU(load_matrix)(&p->part[0], upper ? TD_UPPER : TD_LOWER, p->matrix[0]);
    if (!info)
        info = td_lapack_eigh(p->dtype, upper, p->n, p->matrix[0], p->part[1].data);
    if (info)
        return converged(p, info);
    for (int64_t k = 0; k < n; k++)
        if (is_negative(p->dtype, p->matrix[0] + k * n * size, n))
            negate(p->dtype, p->matrix[0] + k * n * size, n, 1);
    TD_CPU(store_matrix)(&p->part[2], p->matrix[0]);
    return 0;
}

void TD_CPU(eigh)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, put_eigh, (int[]){2, 1, 2});
}

static int put_svdvals(struct problem *p)
{
    const struct td_operand *x = &p->part[0];
    int info = !TD_CPU(load_matrix)(x, TD_ALL, p->matrix[0]);
    if (!info)
        info = td_lapack_svd(p->dtype, p->n, (int)x->shape[1], p->matrix[0], p->part[1].data, NULL, NULL);
    return converged(p, info);
}

void TD_CPU(svdvals)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, put_svdvals, (int[]){2, 1});
}

static int put_svd(struct problem *p)
{
    const struct td_operand *x = &p->part[0];
    int64_t m = x->shape[0], n = x->shape[1], k = m < n ? m : n, size = (int64_t)td_dtype_size(p->dtype);
    int info = !TD_CPU(load_matrix)(x, TD_ALL, p->matrix[0]);
    if (!info)
        info = td_lapack_svd(p->dtype, (int)m, (int)n, p->matrix[0], p->part[2].data, p->matrix[1], p->matrix[2]);
    if (info)
        return converged(p, info);
    for (int64_t j = 0; j < k; j++)
        if (is_negative(p->dtype, p->matrix[1] + j * m * size, m)) {
            negate(p->dtype, p->matrix[1] + j * m * size, m, 1);
            negate(p->dtype, p->matrix[2] + j * size, n, k);
        }
    TD_CPU(store_matrix)(&p->part[1], p->matrix[1]);
    TD_CPU(store_matrix)(&p->part[3], p->matrix[2]);
    return 0;
}

void TD_CPU(svd)(struct td_launch *launch)
{
    TD_CPU(each_problem)(launch, put_svd, (int[]){2, 2, 1, 2});
}
