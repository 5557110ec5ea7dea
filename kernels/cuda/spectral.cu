/* Orthogonal factors, eigenvalues and singular values. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/problem.h"

static int64_t least_side(const td_matrices &x)
{
    return x.rows < x.columns ? x.rows : x.columns;
}

/* ---- orthogonal factors ---- */

static void put_qr(td_problems &p)
{
    const td_matrices &x = p.part[0], &q = p.part[1], &r = p.part[2];
    int m = (int)x.rows, n = (int)x.columns, k = (int)least_side(x);
    int64_t each = td_elements(x);
    td_load_factors(p, x, TD_ALL, p.room[0]);
    if (k)
        td_solver_qr(p.batch(), m, n, p.room[0], p.room[1]);
    td_store_matrices(p, r, TD_UPPER, p.room[0], m, each);
    if (k)
        td_solver_q(p.batch(), m, k, each, p.room[0], p.room[1]);
    td_store_matrices(p, q, TD_ALL, p.room[0], m, each);
}

/* The libraries make orthogonal factors one matrix at a time. Small ones are a warp's, each in shared memory and each
 * of its columns a thread's; the reflections are LAPACK's. */
#define SIDE 32

/* What takes column j onto the axis of its diagonal element, away from that element's sign, unless it lies there: the
 * column holds it from then on, with 1 for the diagonal element, which is *onto. Returns its scale. */
template <class T> __device__ static T reflection(T *column, int j, int m, T *onto)
{
    T most = 0, below = 0, norm;
    for (int i = j; i < m; i++)
        most = fabs(column[i]) > most ? fabs(column[i]) : most;
    for (int i = j + 1; i < m && most > 0; i++)
        below += column[i] / most * (column[i] / most);
    *onto = column[j];
    column[j] = 1;
    if (below == 0)
        return 0;
    norm = most * sqrt(below + *onto / most * (*onto / most));
    norm = *onto < 0 ? norm : -norm;
    T scale = (norm - *onto) / norm, by = *onto - norm;
    for (int i = j + 1; i < m; i++)
        column[i] /= by;
    *onto = norm;
    return scale;
}

template <class T> __device__ static void reflect(T *column, const T *axis, int j, int m, T scale)
{
    T sum = 0;
    for (int i = j; i < m; i++)
        sum += axis[i] * column[i];
    for (int i = j; i < m; i++)
        column[i] -= scale * sum * axis[i];
}

/* Of matrices by columns, one behind the other. */
template <class T>
__global__ void __launch_bounds__(SIDE) small_qr(const T *x, int m, int n, T *q, T *r, const int *wrong)
{
    __shared__ T a[SIDE][SIDE + 1], axes[SIDE][SIDE + 1], scales[SIDE], diagonal[SIDE];
    int me = (int)threadIdx.x, k = m < n ? m : n;
    int64_t at = blockIdx.x;
    x += at * m * n, q += at * m * k, r += at * k * n;
    for (int i = 0; i < m && me < n; i++)
        a[me][i] = x[me * m + i];
    __syncthreads();
    for (int j = 0; j < k; j++) {
        if (me == j) {
            for (int i = j; i < m; i++)
                axes[j][i] = a[j][i];
            scales[j] = reflection(axes[j], j, m, &diagonal[j]);
        }
        __syncthreads();
        if (me > j && me < n)
            reflect(a[me], axes[j], j, m, scales[j]);
        __syncthreads();
    }
    for (int i = 0; i < k && me < n; i++)
        r[i * n + me] = wrong[at] ? T(NAN) : me < i ? T(0) : me == i ? diagonal[i] : a[me][i];
    if (me >= k)
        return;
    T *own = a[me];
    for (int i = 0; i < m; i++)
        own[i] = i == me;
    for (int j = k; j-- > 0;)
        reflect(own, axes[j], j, m, scales[j]);
    for (int i = 0; i < m; i++)
        q[i * k + me] = wrong[at] ? T(NAN) : own[i];
}

struct making_small_qr {
    const td_problems &p;
    template <class T> void with() const
    {
        const td_matrices &x = p.part[0];
        td_enqueue(small_qr<T>, p.now, SIDE, (const T *)p.room[0], (int)x.rows, (int)x.columns,
                   (T *)td_results(p, p.part[1]), (T *)td_results(p, p.part[2]), p.wrong);
    }
};

static void put_small_qr(td_problems &p)
{
    td_load_factors(p, p.part[0], TD_ALL, p.room[0]);
    td_for_real(p.dtype, making_small_qr{p});
}

void TD_CUDA(qr)(struct td_launch *launch)
{
    const int inner[] = {2, 2, 2};
    td_problems p = td_problems_of(launch, inner);
    size_t size = td_dtype_size(p.dtype);
    bool small = p.count > 1 && p.part[0].rows <= SIDE && p.part[0].columns <= SIDE;
    p.room_bytes[0] = (size_t)td_elements(p.part[0]) * size;
    p.room_bytes[1] = small ? 0 : (size_t)least_side(p.part[0]) * size;
    td_problems_solve(p, small ? put_small_qr : put_qr);
}

/* ---- vectors and their signs ---- */

/* Vectors in matrices: element i of vector j of matrix k lies at k * step + j * across + i * along. */
struct vectors {
    void *data;
    int64_t length, step, across, along;
};

/* Whether a vector is to change its sign: of the elements that are at least half as large as the largest the first
 * decides. By a block, all of whose threads are told. */
template <class T> __device__ static bool is_negative(const T *x, int64_t length, int64_t along)
{
    __shared__ T most[TD_THREADS];
    __shared__ unsigned long long first;
    int me = (int)threadIdx.x;
    T own = 0;
    for (int64_t i = me; i < length; i += blockDim.x)
        own = fabs(x[i * along]) > own ? fabs(x[i * along]) : own;
    most[me] = own;
    if (me == 0)
        first = ~0ull;
    __syncthreads();
    for (int half = (int)blockDim.x / 2; half > 0; half /= 2) {
        if (me < half)
            most[me] = most[me + half] > most[me] ? most[me + half] : most[me];
        __syncthreads();
    }
    for (int64_t i = me; i < length; i += blockDim.x)
        if (fabs(x[i * along]) >= most[0] / 2) {
            atomicMin(&first, (unsigned long long)i);
            break;
        }
    __syncthreads();
    bool negative = first != ~0ull && x[(int64_t)first * along] < 0;
    __syncthreads(); /* what is shared is the next vector's */
    return negative;
}

/* What is left becomes columns of count vectors in each matrix, and what goes with it rows: both with the sign that the
 * column decides. A block for each vector. */
template <class T>
__global__ void put_vectors(vectors left, T *columns, vectors right, T *rows, int64_t count, int64_t all,
                            const int *wrong)
{
    for (int64_t item = blockIdx.x; item < all; item += gridDim.x) {
        int64_t k = item / count, j = item % count;
        const T *x = (const T *)left.data + k * left.step + j * left.across;
        const T *y = (const T *)right.data + k * right.step + j * right.across;
        T sign = wrong[k] ? T(NAN) : is_negative(x, left.length, left.along) ? T(-1) : T(1);
        for (int64_t i = threadIdx.x; i < left.length; i += blockDim.x)
            columns[(k * left.length + i) * count + j] = sign * x[i * left.along];
        for (int64_t i = threadIdx.x; i < right.length; i += blockDim.x)
            rows[item * right.length + i] = sign * y[i * right.along];
    }
}

#define BLOCKS_MAX ((int64_t)1 << 16)
#define FEW_THREADS 32

struct putting {
    const td_problems &p;
    const vectors &left, &right;
    void *columns, *rows;
    int64_t count;
    template <class T> void with() const
    {
        int64_t all = p.now * count, longest = left.length > right.length ? left.length : right.length;
        td_enqueue(put_vectors<T>, all < BLOCKS_MAX ? all : BLOCKS_MAX,
                   longest > FEW_THREADS ? TD_THREADS : FEW_THREADS, left, (T *)columns, right, (T *)rows, count, all,
                   p.wrong);
    }
};

/* ---- eigenvalues ---- */

/* The lower triangle row by row is the upper one by columns, and symmetric. */
static void put_eigh(td_problems &p)
{
    td_triangle part = ((const struct td_eigh_attrs *)p.launch->attrs)->upper ? TD_UPPER : TD_LOWER;
    const td_matrices &values = p.part[1], &y = p.part[2];
    int64_t n = y.rows;
    td_load_factors(p, td_turned(p.part[0]), td_turned(part), p.room[0]);
    if (!n)
        return;
    td_solver_eigh(p.batch(), part == TD_LOWER, (int)n, p.room[0], td_results(p, values));
    td_note_wrong(p);
    td_finish_matrices(p, values, TD_ALL);
    vectors found = {p.room[0], n, n * n, n, 1}, none = {};
    td_for_real(p.dtype, putting{p, found, none, td_results(p, y), NULL, n});
}

void TD_CUDA(eigh)(struct td_launch *launch)
{
    const int inner[] = {2, 1, 2};
    td_problems p = td_problems_of(launch, inner);
    p.room_bytes[0] = (size_t)td_elements(p.part[0]) * td_dtype_size(p.dtype);
    td_problems_solve(p, put_eigh);
}

/* ---- singular values ---- */

/* The library takes tall matrices: x, or x^T, which is v s u^T. */
struct tall {
    td_matrices x;
    int m, n;
    bool turned, small; /* small ones are done together */
};

static tall tall_of(const td_problems &p)
{
    const td_matrices &x = p.part[0];
    bool turned = x.rows < x.columns;
    tall t = {turned ? td_turned(x) : x, 0, 0, turned, false};
    t.m = (int)t.x.rows;
    t.n = (int)t.x.columns;
    t.small = p.count > 1 && t.m <= TD_SOLVER_SMALL;
    return t;
}

/* Matrices of room 0 into values and, where they are wanted, vectors in rooms 1 and 2. Small ones that rotations do not
 * bring to an end are done all over, one by one. False: they were not small. */
static bool find_singular(td_problems &p, const tall &t, void *values, bool wants_vectors)
{
    void *u = wants_vectors ? p.room[1] : NULL, *v = wants_vectors ? p.room[2] : NULL;
    td_load_factors(p, t.x, TD_ALL, p.room[0]);
    if (t.small) {
        unsigned long long failed;
        td_solver_small_svd(p.batch(), t.m, t.n, p.room[0], values, u, v);
        td_note_faults(p);
        td_cuda_fetch(&failed, p.fault, sizeof failed);
        if (failed == ~0ull)
            return true;
        td_cuda_check(cudaMemsetAsync(p.fault, 0xff, sizeof *p.fault, td_stream), "singular values");
        td_load_factors(p, t.x, TD_ALL, p.room[0]);
    }
    td_solver_svd(p.batch(), t.m, t.n, p.room[0], values, u, v);
    td_note_wrong(p);
    return false;
}

static void put_svdvals(td_problems &p)
{
    tall t = tall_of(p);
    const td_matrices &values = p.part[1];
    if (!t.n)
        return;
    find_singular(p, t, td_results(p, values), false);
    td_finish_matrices(p, values, TD_ALL);
}

void TD_CUDA(svdvals)(struct td_launch *launch)
{
    const int inner[] = {2, 1};
    td_problems p = td_problems_of(launch, inner);
    p.room_bytes[0] = (size_t)td_elements(p.part[0]) * td_dtype_size(p.dtype);
    td_problems_solve(p, put_svdvals);
}

static void put_svd(td_problems &p)
{
    tall t = tall_of(p);
    const td_matrices &u = p.part[1], &values = p.part[2], &vh = p.part[3];
    int64_t m = t.m, n = t.n;
    if (!n)
        return;
    bool together = find_singular(p, t, td_results(p, values), true);
    td_finish_matrices(p, values, TD_ALL);
    vectors tall_ones = {p.room[1], m, m * (together ? m : n), m, 1};
    vectors short_ones = {p.room[2], n, n * n, together ? n : 1, together ? 1 : n};
    const vectors &left = t.turned ? short_ones : tall_ones, &right = t.turned ? tall_ones : short_ones;
    td_for_real(p.dtype, putting{p, left, right, td_results(p, u), td_results(p, vh), n});
}

void TD_CUDA(svd)(struct td_launch *launch)
{
    const int inner[] = {2, 2, 1, 2};
    td_problems p = td_problems_of(launch, inner);
    tall t = tall_of(p);
    size_t size = td_dtype_size(p.dtype);
    p.room_bytes[0] = (size_t)t.m * (size_t)t.n * size;
    p.room_bytes[1] = (size_t)t.m * (size_t)(t.small ? t.m : t.n) * size;
    p.room_bytes[2] = (size_t)t.n * (size_t)t.n * size;
    td_problems_solve(p, put_svd);
}
