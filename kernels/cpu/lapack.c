/* LAPACK by its Fortran names. Every character argument has its length behind all others; integers are 32 bits.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/lapack.h"

#include <cblas.h>
#include <pthread.h>
#include <stdlib.h>

#define PROTOTYPES(letter, real)                                                                                    \
    void letter##getrf_(const int *m, const int *n, real *a, const int *lda, int *pivots, int *info);               \
    void letter##getrs_(const char *turn, const int *n, const int *columns, const real *a, const int *lda,          \
                        const int *pivots, real *b, const int *ldb, int *info, size_t turn_length);                 \
    void letter##potrf_(const char *triangle, const int *n, real *a, const int *lda, int *info,                     \
                        size_t triangle_length);                                                                    \
    void letter##gesdd_(const char *job, const int *m, const int *n, real *a, const int *lda, real *s, real *u,     \
                        const int *ldu, real *vt, const int *ldvt, real *work, const int *work_size, int *integers, \
                        int *info, size_t job_length);                                                              \
    void letter##geqrf_(const int *m, const int *n, real *a, const int *lda, real *scales, real *work,              \
                        const int *work_size, int *info);                                                           \
    void letter##orgqr_(const int *m, const int *n, const int *k, real *a, const int *lda, const real *scales,      \
                        real *work, const int *work_size, int *info);                                               \
    void letter##syevd_(const char *job, const char *triangle, const int *n, real *a, const int *lda, real *values, \
                        real *work, const int *work_size, int *integers, const int *integers_size, int *info,       \
                        size_t job_length, size_t triangle_length);
PROTOTYPES(s, float)
PROTOTYPES(d, double)

static void start(void)
{
    openblas_set_num_threads(1);
}

/* One thread, as in blas.c: whatever is called first sees to it. */
static void begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}

/* LAPACK refuses a distance of 0 between columns. */
static int lead(int rows)
{
    return rows ? rows : 1;
}

int td_lapack_lu(uint8_t dtype, int n, void *a, int *pivots)
{
    int ld = lead(n), info = 0;
    begin();
    if (n && dtype == TD_F32)
        sgetrf_(&n, &n, a, &ld, pivots, &info);
    else if (n)
        dgetrf_(&n, &n, a, &ld, pivots, &info);
    return info;
}

void td_lapack_solve(uint8_t dtype, bool turned, int n, int columns, const void *lu, const int *pivots, void *b)
{
    int ld = lead(n), info;
    begin();
    if (!n || !columns)
        return;
    if (dtype == TD_F32)
        sgetrs_(turned ? "T" : "N", &n, &columns, lu, &ld, pivots, b, &ld, &info, 1);
    else
        dgetrs_(turned ? "T" : "N", &n, &columns, lu, &ld, pivots, b, &ld, &info, 1);
}

void td_lapack_solve_triangular(uint8_t dtype, bool upper, bool unit, int n, int columns, const void *a, void *b)
{
    enum CBLAS_UPLO triangle = upper ? CblasUpper : CblasLower;
    enum CBLAS_DIAG diagonal = unit ? CblasUnit : CblasNonUnit;
    begin();
    if (!n || !columns)
        return;
    if (dtype == TD_F32)
        cblas_strsm(CblasColMajor, CblasLeft, triangle, CblasNoTrans, diagonal, n, columns, 1, a, n, b, n);
    else
        cblas_dtrsm(CblasColMajor, CblasLeft, triangle, CblasNoTrans, diagonal, n, columns, 1, a, n, b, n);
}

int td_lapack_cholesky(uint8_t dtype, bool upper, int n, void *a)
{
    int ld = lead(n), info = 0;
    begin();
    if (n && dtype == TD_F32)
        spotrf_(upper ? "U" : "L", &n, a, &ld, &info, 1);
    else if (n)
        dpotrf_(upper ? "U" : "L", &n, a, &ld, &info, 1);
    return info;
}

/* Elements of a work array that LAPACK asked for; rounded up, since f32 cannot say each number. 0: too many. */
static int work_size(uint8_t dtype, const void *asked)
{
    double size = dtype == TD_F32 ? (double)*(const float *)asked * (1 + 0x1p-20) + 1 : *(const double *)asked;
    return size < 0x1p31 ? (int)size : 0;
}

/* Room for what LAPACK asked for; NULL if there is none. */
static void *work_of(uint8_t dtype, const void *asked, int *size)
{
    *size = work_size(dtype, asked);
    return *size ? malloc((size_t)*size * td_dtype_size(dtype)) : NULL;
}

int td_lapack_svd(uint8_t dtype, int m, int n, void *a, void *s, void *u, void *vt)
{
    int k = m < n ? m : n, ldu = lead(m), ldvt = lead(k), info = 0, size = -1;
    int *integers = malloc((size_t)(8 * (int64_t)lead(k)) * sizeof *integers);
    const char *job = u ? "S" : "N";
    double asked = 0, nothing;
    void *work = integers ? &asked : NULL;
    begin();
    for (int turn = 0; turn < 2 && k && work; turn++) { /* asks first */
        if (dtype == TD_F32)
            sgesdd_(job, &m, &n, a, &ldu, s, u ? u : &nothing, &ldu, vt ? vt : &nothing, &ldvt, work, &size, integers,
                    &info, 1);
        else
            dgesdd_(job, &m, &n, a, &ldu, s, u ? u : &nothing, &ldu, vt ? vt : &nothing, &ldvt, work, &size, integers,
                    &info, 1);
        if (!turn)
            work = work_of(dtype, work, &size);
    }
    if (work != &asked)
        free(work);
    free(integers);
    return work ? info : TD_LAPACK_MEMORY;
}

int td_lapack_qr(uint8_t dtype, int m, int n, void *a, void *scales)
{
    int ld = lead(m), info = 0, size = -1;
    double asked = 0;
    void *work = &asked;
    begin();
    for (int turn = 0; turn < 2 && m && n && work; turn++) {
        if (dtype == TD_F32)
            sgeqrf_(&m, &n, a, &ld, scales, work, &size, &info);
        else
            dgeqrf_(&m, &n, a, &ld, scales, work, &size, &info);
        if (!turn)
            work = work_of(dtype, work, &size);
    }
    if (work != &asked)
        free(work);
    return work ? info : TD_LAPACK_MEMORY;
}

int td_lapack_q(uint8_t dtype, int m, int k, void *a, const void *scales)
{
    int ld = lead(m), info = 0, size = -1;
    double asked = 0;
    void *work = &asked;
    begin();
    for (int turn = 0; turn < 2 && k && work; turn++) {
        if (dtype == TD_F32)
            sorgqr_(&m, &k, &k, a, &ld, scales, work, &size, &info);
        else
            dorgqr_(&m, &k, &k, a, &ld, scales, work, &size, &info);
        if (!turn)
            work = work_of(dtype, work, &size);
    }
    if (work != &asked)
        free(work);
    return work ? info : TD_LAPACK_MEMORY;
}

int td_lapack_eigh(uint8_t dtype, bool upper, int n, void *a, void *values)
{
    int ld = lead(n), info = 0, size = -1, integers_size = -1, integers_asked = 0, *integers = &integers_asked;
    double asked = 0;
    void *work = &asked;
    begin();
    for (int turn = 0; turn < 2 && n && work && integers; turn++) {
        if (dtype == TD_F32)
            ssyevd_("V", upper ? "U" : "L", &n, a, &ld, values, work, &size, integers, &integers_size, &info, 1, 1);
        else
            dsyevd_("V", upper ? "U" : "L", &n, a, &ld, values, work, &size, integers, &integers_size, &info, 1, 1);
        if (turn)
            continue;
        work = n > 32000 ? NULL : work_of(dtype, work, &size); /* of 2 n^2 elements, in 32 bits */
        integers_size = integers_asked;
        integers = malloc((size_t)integers_size * sizeof *integers);
    }
    bool there = work && integers;
    if (work != &asked)
        free(work);
    if (integers != &integers_asked)
        free(integers);
    return there ? info : TD_LAPACK_MEMORY;
}

/* ---- what it costs ---- */

/* By the cube and the square of the size, in thousandths and tenths of a nanosecond; measured in f64, n from 3 to 1000,
 * on one core with AVX-512. */
static const struct {
    uint16_t op, cube, square;
} prices[] = {
    {TD_OP_inverse, 77, 120}, {TD_OP_solve, 20, 50},     {TD_OP_solve_triangular, 0, 20}, {TD_OP_cholesky, 8, 20},
    {TD_OP_det, 20, 50},      {TD_OP_slogdet, 20, 50},   {TD_OP_cofactor, 400, 1200},     {TD_OP_qr, 60, 180},
    {TD_OP_eigh, 130, 600},   {TD_OP_svdvals, 120, 400}, {TD_OP_svd, 300, 1000},
};

uint64_t td_lapack_ns(const struct td_launch *launch)
{
    const struct td_operand *a = &launch->in[0];
    double m = (double)a->shape[a->rank - 2], n = (double)a->shape[a->rank - 1], least = m < n ? m : n, ns = 300;
    for (size_t k = 0; k < sizeof prices / sizeof *prices; k++)
        if (prices[k].op == launch->op->id)
            ns += m * n * least * prices[k].cube / 1e3 + m * n * prices[k].square / 10;
    if (launch->in_count > 1) { /* of an equation, with its other side */
        const struct td_operand *b = &launch->in[1];
        bool vector = td_solves_vectors(a->rank, a->shape, b->rank, b->shape);
        double columns =
            vector || !b->rank ? 1 : (double)b->shape[b->rank - 1] * (double)b->shape[b->rank - 2] / (n ? n : 1);
        ns += n * n * columns * 0.057 + n * columns * 5;
    }
    return ns < 1e18 ? (uint64_t)ns : (uint64_t)1e18;
}
