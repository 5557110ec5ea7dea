/* Equations, inverses and determinants by triangular factors. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/elements.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/problem.h"
#include "kernels/cuda/product.h"
#include "kernels/pivots.h"

/* ---- by triangular factors ---- */

/* The factors of the first input into room 0. */
static void factor(td_problems &p)
{
    const td_matrices &a = p.part[0];
    td_load_factors(p, a, TD_ALL, p.room[0]);
    if (a.rows)
        td_solver_lu(p.batch(), (int)a.rows, p.room[0], (int *)p.pivots);
}

static td_problems problems_of_factors(struct td_launch *launch, const int *inner)
{
    td_problems p = td_problems_of(launch, inner);
    p.room_bytes[0] = (size_t)td_elements(p.part[0]) * td_dtype_size(p.dtype);
    p.pivot_bytes = (size_t)p.part[0].rows * sizeof(int);
    return p;
}

/* Row by row an inverse is its own transpose by columns, and that is a^-T of ones. */
static void invert(td_problems &p)
{
    const td_matrices &y = p.part[1];
    int n = (int)y.rows;
    factor(p);
    td_note_faults(p);
    td_put_diagonal(p, y, NULL);
    if (n)
        td_solver_solve(p.batch(), true, n, n, p.room[0], (const int *)p.pivots, td_results(p, y));
    td_finish_matrices(p, y, TD_ALL);
}

void TD_CUDA(inverse)(struct td_launch *launch)
{
    const int inner[] = {2, 2};
    td_problems p = problems_of_factors(launch, inner);
    td_problems_solve(p, invert);
}

/* y a = b is a^T y^T = b^T, and y^T by columns is y row by row. The other sides of one matrix are its columns. */
static void solve(td_problems &p)
{
    bool right = !((const struct td_solve_attrs *)p.launch->attrs)->left;
    const td_matrices &y = p.part[2];
    td_matrices b = right ? td_turned(p.part[1]) : p.part[1];
    int64_t n = b.rows, columns = b.columns;
    char *worked_on = right ? td_results(p, y) : p.room[1];
    if (p.from == 0 || !p.shared) {
        factor(p);
        td_note_faults(p);
    }
    td_load_matrices(p, b, p.now, worked_on);
    if (n && columns)
        td_solver_solve(p.batch(), right, (int)n, (int)(p.shared ? columns * p.now : columns), p.room[0],
                        (const int *)p.pivots, worked_on);
    if (right)
        td_finish_matrices(p, y, TD_ALL);
    else
        td_store_matrices(p, y, TD_ALL, worked_on, n, n * columns);
}

void TD_CUDA(solve)(struct td_launch *launch)
{
    const struct td_operand *a = &launch->in[0], *b = &launch->in[1];
    int vector = td_solves_vectors(a->rank, a->shape, b->rank, b->shape) ? 1 : 2;
    const int inner[] = {2, vector, vector};
    td_problems p = problems_of_factors(launch, inner);
    if (((const struct td_solve_attrs *)launch->attrs)->left)
        p.room_bytes[1] = (size_t)td_elements(p.part[1]) * td_dtype_size(p.dtype);
    p.shared = p.count > 1;
    for (int d = 0; d < p.part[0].rank; d++)
        p.shared &= p.part[0].stride[d] == 0 || p.part[0].shape[d] == 1;
    td_problems_solve(p, solve);
}

/* Whether a matrix can be read where it lies: row by row, or by columns if turned. */
static bool reads(const td_matrices &a, bool turned)
{
    int64_t near = turned ? a.row_step : a.column_step, lead = turned ? a.column_step : a.row_step;
    return a.rows == 1 || (near == 1 && lead >= a.rows && lead <= INT32_MAX);
}

/* Row by row y^T is what the library has by columns, and a what it has turned: y^T a^T = b^T, or a^T y^T = b^T. */
static void solve_triangle(td_problems &p)
{
    const struct td_solve_triangular_attrs *attrs = (const struct td_solve_triangular_attrs *)p.launch->attrs;
    const td_matrices &a = p.part[0], &y = p.part[2];
    bool copied = p.room_bytes[0] != 0, by_rows = !copied && reads(a, false);
    void **places = p.places + p.now;
    td_solver_triangles t = {attrs->left != 0, (attrs->upper != 0) != by_rows,
                             !by_rows,         attrs->unitriangular != 0,
                             (int)y.columns,   (int)y.rows,
                             (int)a.rows};
    td_load_matrices(p, td_turned(p.part[1]), p.now, td_results(p, y));
    if (!td_elements(y))
        return;
    td_matrices factors = a;
    if (copied) {
        td_load_matrices(p, a, p.now, p.room[0]);
        factors = td_row_of_matrices(p, p.room[0], a.rows, a.columns);
    } else if (a.rows > 1) {
        t.lead = (int)(by_rows ? a.row_step : a.column_step);
    }
    td_matrices results = td_row_of_matrices(p, td_results(p, y), y.rows, y.columns);
    td_point_at(p, factors, p.places);
    td_point_at(p, results, places);
    td_solver_batch one = p.batch();
    if (p.now > 1 && a.rows >= TD_SOLVER_LARGE)
        one.count = 1;
    for (int k = 0; k < p.now; k += one.count)
        td_solver_triangular(one, t, p.places, places, td_matrix_at(p, factors, k), td_matrix_at(p, results, k));
}

void TD_CUDA(solve_triangular)(struct td_launch *launch)
{
    const int inner[] = {2, 2, 2};
    td_problems p = td_problems_of(launch, inner);
    if (!reads(p.part[0], false) && !reads(p.part[0], true))
        p.room_bytes[0] = (size_t)td_elements(p.part[0]) * td_dtype_size(p.dtype);
    td_problems_solve(p, solve_triangle);
}

/* The lower triangle row by row is the upper one by columns. */
static void decompose(td_problems &p)
{
    td_triangle part = ((const struct td_cholesky_attrs *)p.launch->attrs)->upper ? TD_UPPER : TD_LOWER;
    const td_matrices &y = p.part[1];
    td_load_factors(p, td_turned(p.part[0]), td_turned(part), td_results(p, y));
    if (y.rows)
        td_solver_cholesky(p.batch(), part == TD_LOWER, (int)y.rows, td_results(p, y));
    td_note_faults(p);
    td_finish_matrices(p, y, part);
}

void TD_CUDA(cholesky)(struct td_launch *launch)
{
    const int inner[] = {2, 2};
    td_problems p = td_problems_of(launch, inner);
    td_problems_solve(p, decompose);
}

/* ---- determinants ---- */

/* What the pivots of a matrix come to; by a warp, whose first thread knows it in the end. */
struct pivots {
    int sign;
    td_product product; /* of their magnitudes */
    double logarithm;   /* of that */
    double least, most;

    template <class T> __device__ static pivots of(const T *lu, const int *swaps, int64_t n)
    {
        pivots all = {1, td_product::of(1), 0, INFINITY, 0};
        for (int64_t k = threadIdx.x; k < n; k += 32) {
            double x = (double)lu[k * n + k];
            all.join({(x < 0) != (swaps[k] != (int)k + 1) ? -1 : 1, td_product::of(fabs(x)), log(fabs(x)), fabs(x),
                      fabs(x)});
        }
        for (int by = 16; by > 0; by /= 2)
            all.join({__shfl_down_sync(~0u, all.sign, by),
                      {__shfl_down_sync(~0u, all.product.part, by), __shfl_down_sync(~0u, all.product.power, by)},
                      __shfl_down_sync(~0u, all.logarithm, by),
                      __shfl_down_sync(~0u, all.least, by),
                      __shfl_down_sync(~0u, all.most, by)});
        return all;
    }

    __device__ void join(const pivots &other)
    {
        sign *= other.sign;
        product.multiply(other.product);
        logarithm += other.logarithm;
        least = other.least < least ? other.least : least;
        most = other.most > most ? other.most : most;
    }
};

/* A warp for each matrix; of a singular one info tells, and what comes of others may be anything. */
template <class T>
__global__ void __launch_bounds__(32)
    put_dets(const T *lu, const int *swaps, int64_t n, const int *info, const int *wrong, T *det)
{
    int64_t k = blockIdx.x;
    pivots all = pivots::of(lu + k * n * n, swaps + k * n, n);
    if (threadIdx.x == 0)
        det[k] = wrong[k] ? T(NAN) : info[k] ? T(0) : T(all.sign * all.product.value());
}

template <class T>
__global__ void __launch_bounds__(32)
    put_slogdets(const T *lu, const int *swaps, int64_t n, const int *info, const int *wrong, T *sign, T *logarithm)
{
    int64_t k = blockIdx.x;
    pivots all = pivots::of(lu + k * n * n, swaps + k * n, n);
    if (threadIdx.x != 0)
        return;
    sign[k] = wrong[k] ? T(NAN) : info[k] ? T(0) : T(all.sign);
    logarithm[k] = wrong[k] ? T(NAN) : info[k] ? T(-INFINITY) : T(all.logarithm);
}

/* unsound becomes less where a matrix has no such factors that its inverse is worth anything. */
template <class T>
__global__ void __launch_bounds__(32)
    put_scales(const T *lu, const int *swaps, int64_t n, const int *info, T *det, unsigned long long *unsound)
{
    int64_t k = blockIdx.x;
    pivots all = pivots::of(lu + k * n * n, swaps + k * n, n);
    if (threadIdx.x != 0)
        return;
    det[k] = T(all.sign * all.product.value());
    if (info[k] || !td_pivots_are_sound(all.least, all.most, sizeof(T) == 4 ? 0x1p-23 : 0x1p-52, (int)n))
        atomicMin(unsound, (unsigned long long)k);
}

struct putting_dets {
    const td_problems &p;
    template <class T> void with() const
    {
        const T *lu = (const T *)p.room[0];
        const int *swaps = (const int *)p.pivots;
        int64_t n = p.part[0].rows;
        T *out = (T *)td_results(p, p.part[1]);
        if (p.launch->op->id == TD_OP_det)
            td_enqueue(put_dets<T>, p.now, 32, lu, swaps, n, p.info, p.wrong, out);
        else if (p.launch->op->id == TD_OP_slogdet)
            td_enqueue(put_slogdets<T>, p.now, 32, lu, swaps, n, p.info, p.wrong, out, (T *)td_results(p, p.part[2]));
        else
            td_enqueue(put_scales<T>, p.now, 32, lu, swaps, n, p.info, (T *)p.room[1], p.fault);
    }
};

static void put_determinants(td_problems &p)
{
    factor(p);
    td_for_real(p.dtype, putting_dets{p});
}

void TD_CUDA(det)(struct td_launch *launch)
{
    const int inner[] = {2, 0};
    td_problems p = problems_of_factors(launch, inner);
    td_problems_solve(p, put_determinants);
}

void TD_CUDA(slogdet)(struct td_launch *launch)
{
    const int inner[] = {2, 0, 0};
    td_problems p = problems_of_factors(launch, inner);
    td_problems_solve(p, put_determinants);
}

/* ---- cofactors ---- */

/* det x^-T, which row by row is det x^-1 by columns. Where there is a singular matrix the host finds them another way.
 */
static void put_cofactors(td_problems &p)
{
    const td_matrices &y = p.part[1];
    int n = (int)y.rows;
    unsigned long long unsound;
    if (!n)
        return;
    put_determinants(p);
    td_cuda_fetch(&unsound, p.fault, sizeof unsound);
    if (unsound != ~0ull) {
        p.is_for_host = true;
        return;
    }
    td_put_diagonal(p, y, p.room[1]);
    td_solver_solve(p.batch(), false, n, n, p.room[0], (const int *)p.pivots, td_results(p, y));
    td_finish_matrices(p, y, TD_ALL);
}

void TD_CUDA(cofactor)(struct td_launch *launch)
{
    const int inner[] = {2, 2};
    td_problems p = problems_of_factors(launch, inner);
    p.room_bytes[1] = td_dtype_size(p.dtype);
    td_problems_solve(p, put_cofactors);
}
