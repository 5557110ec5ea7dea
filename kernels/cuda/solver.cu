/* The libraries: found, loaded, and called. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/solver.h"

#include <cusolverDn.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <atomic>

#include "kernels/cuda/grid.h"

/* ---- their functions ---- */

template <class T> struct functions {
    cusolverStatus_t (*getrf_size)(cusolverDnHandle_t, int, int, T *, int, int *);
    cusolverStatus_t (*getrf)(cusolverDnHandle_t, int, int, T *, int, T *, int *, int *);
    cublasStatus_t (*getrf_batched)(cublasHandle_t, int, T *const *, int, int *, int *, int);
    cusolverStatus_t (*getrs)(cusolverDnHandle_t, cublasOperation_t, int, int, const T *, int, const int *, T *, int,
                              int *);
    cublasStatus_t (*getrs_batched)(cublasHandle_t, cublasOperation_t, int, int, const T *const *, int, const int *,
                                    T *const *, int, int *, int);
    cusolverStatus_t (*potrf_size)(cusolverDnHandle_t, cublasFillMode_t, int, T *, int, int *);
    cusolverStatus_t (*potrf)(cusolverDnHandle_t, cublasFillMode_t, int, T *, int, T *, int, int *);
    cusolverStatus_t (*potrf_batched)(cusolverDnHandle_t, cublasFillMode_t, int, T **, int, int *, int);
    cublasStatus_t (*trsm)(cublasHandle_t, cublasSideMode_t, cublasFillMode_t, cublasOperation_t, cublasDiagType_t, int,
                           int, const T *, const T *, int, T *, int);
    cublasStatus_t (*trsm_batched)(cublasHandle_t, cublasSideMode_t, cublasFillMode_t, cublasOperation_t,
                                   cublasDiagType_t, int, int, const T *, const T *const *, int, T *const *, int, int);
    cusolverStatus_t (*geqrf_size)(cusolverDnHandle_t, int, int, T *, int, int *);
    cusolverStatus_t (*geqrf)(cusolverDnHandle_t, int, int, T *, int, T *, T *, int, int *);
    cusolverStatus_t (*orgqr_size)(cusolverDnHandle_t, int, int, int, const T *, int, const T *, int *);
    cusolverStatus_t (*orgqr)(cusolverDnHandle_t, int, int, int, T *, int, const T *, T *, int, int *);
    cusolverStatus_t (*gesvdj_batched_size)(cusolverDnHandle_t, cusolverEigMode_t, int, int, const T *, int, const T *,
                                            const T *, int, const T *, int, int *, gesvdjInfo_t, int);
    cusolverStatus_t (*gesvdj_batched)(cusolverDnHandle_t, cusolverEigMode_t, int, int, T *, int, T *, T *, int, T *,
                                       int, T *, int, int *, gesvdjInfo_t, int);
};

static functions<float> singles;
static functions<double> doubles;
static struct {
    decltype(&cusolverDnCreate) create;
    decltype(&cusolverDnSetStream) set_stream;
    decltype(&cusolverDnCreateParams) create_params;
    decltype(&cusolverDnCreateGesvdjInfo) create_rotations;
    decltype(&cusolverDnXgesvd_bufferSize) gesvd_size;
    decltype(&cusolverDnXgesvd) gesvd;
    decltype(&cusolverDnXsyevd_bufferSize) syevd_size;
    decltype(&cusolverDnXsyevd) syevd;
#if CUSOLVER_VERSION >= 11701
    decltype(&cusolverDnXsyevBatched_bufferSize) syev_batched_size;
    decltype(&cusolverDnXsyevBatched) syev_batched;
#endif
    decltype(&cublasCreate_v2) blas_create;
    decltype(&cublasSetStream_v2) blas_set_stream;
} both;

static cusolverDnHandle_t solver;
static cusolverDnParams_t params;
static gesvdjInfo_t rotations;
static cublasHandle_t blas;

/* ---- where they are ---- */

/* FIND: to becomes the library's function of that name, whose type the library's header tells. The emulated libraries
 * are headers. */
#ifdef __CUDACC__
template <class F> static bool find(void *library, const char *name, F *to)
{
    *to = (F)dlsym(library, name);
    return *to != NULL;
}
#define OPEN(name, major) OPEN_FILE(name, major)
#define OPEN_FILE(name, major) dlopen(name ".so." #major, RTLD_LAZY | RTLD_LOCAL)
#define FIND(library, to, name) find<decltype(&name)>(library, #name, &(to))
#else
#define OPEN(name, major) ((void *)name)
#define FIND(library, to, name) ((void)(library), (to) = &name)
#endif

#define FIND_BOTH(library, member, before, after) \
    (FIND(library, singles.member, before##S##after) && FIND(library, doubles.member, before##D##after))

static bool find_in_solver(void *library)
{
#if CUSOLVER_VERSION >= 11701
    if (!FIND(library, both.syev_batched_size, cusolverDnXsyevBatched_bufferSize) ||
        !FIND(library, both.syev_batched, cusolverDnXsyevBatched))
        return false;
#endif
    return FIND(library, both.create, cusolverDnCreate) && FIND(library, both.set_stream, cusolverDnSetStream) &&
           FIND(library, both.create_params, cusolverDnCreateParams) &&
           FIND(library, both.create_rotations, cusolverDnCreateGesvdjInfo) &&
           FIND(library, both.gesvd_size, cusolverDnXgesvd_bufferSize) && FIND(library, both.gesvd, cusolverDnXgesvd) &&
           FIND(library, both.syevd_size, cusolverDnXsyevd_bufferSize) && FIND(library, both.syevd, cusolverDnXsyevd) &&
           FIND_BOTH(library, getrf_size, cusolverDn, getrf_bufferSize) &&
           FIND_BOTH(library, getrf, cusolverDn, getrf) && FIND_BOTH(library, getrs, cusolverDn, getrs) &&
           FIND_BOTH(library, potrf_size, cusolverDn, potrf_bufferSize) &&
           FIND_BOTH(library, potrf, cusolverDn, potrf) &&
           FIND_BOTH(library, potrf_batched, cusolverDn, potrfBatched) &&
           FIND_BOTH(library, geqrf_size, cusolverDn, geqrf_bufferSize) &&
           FIND_BOTH(library, geqrf, cusolverDn, geqrf) &&
           FIND_BOTH(library, orgqr_size, cusolverDn, orgqr_bufferSize) &&
           FIND_BOTH(library, orgqr, cusolverDn, orgqr) &&
           FIND_BOTH(library, gesvdj_batched_size, cusolverDn, gesvdjBatched_bufferSize) &&
           FIND_BOTH(library, gesvdj_batched, cusolverDn, gesvdjBatched);
}

static bool find_in_blas(void *library)
{
    return FIND(library, both.blas_create, cublasCreate_v2) &&
           FIND(library, both.blas_set_stream, cublasSetStream_v2) &&
           FIND_BOTH(library, getrf_batched, cublas, getrfBatched) &&
           FIND_BOTH(library, getrs_batched, cublas, getrsBatched) && FIND_BOTH(library, trsm, cublas, trsm_v2) &&
           FIND_BOTH(library, trsm_batched, cublas, trsmBatched);
}

/* They stay for as long as the process does. */
static bool open_libraries(void)
{
    void *of_blas = OPEN("libcublas", CUBLAS_VER_MAJOR);
    void *of_solver = of_blas ? OPEN("libcusolver", CUSOLVER_VER_MAJOR) : NULL;
    if (!of_solver) {
        fprintf(stderr, "linear algebra runs on the host: %s\n", dlerror());
        return false;
    }
    bool works = find_in_blas(of_blas) && find_in_solver(of_solver) &&
                 both.blas_create(&blas) == CUBLAS_STATUS_SUCCESS && both.create(&solver) == CUSOLVER_STATUS_SUCCESS &&
                 both.create_params(&params) == CUSOLVER_STATUS_SUCCESS &&
                 both.create_rotations(&rotations) == CUSOLVER_STATUS_SUCCESS;
    if (!works)
        fprintf(stderr, "linear algebra runs on the host: cuSOLVER or cuBLAS does not start\n");
    (void)cudaGetLastError();
    return works;
}

/* ---- one launch at a time ---- */

static pthread_mutex_t solving = PTHREAD_MUTEX_INITIALIZER;
static std::atomic<int> known; /* 1: they are there, -1: they are not */
static bool refused;

/* Other launches go on meanwhile: some calls wait for the device themselves. */
struct outside {
    int lane = td_cuda_aside();
    outside() = default;
    outside(const outside &) = delete;
    ~outside()
    {
        td_cuda_back(lane);
    }
};

static struct piece {
    void *memory;
    size_t size;
} pieces[2]; /* what is worked on, and what the libraries work in */
static struct {
    void *memory;
    size_t size;
} of_host; /* what they work in there */
#define PIECE_KEPT ((size_t)64 << 20)

/* A piece that grows may still be in use: it is given back when that is over. */
static char *room_in(struct piece *piece, size_t bytes)
{
    if (bytes <= piece->size)
        return (char *)piece->memory;
    if (piece->memory)
        td_cuda_unreserve(piece->memory, piece->size);
    piece->memory = td_cuda_reserve(bytes);
    piece->size = piece->memory ? bytes : 0;
    return (char *)piece->memory;
}

bool td_cuda_solves(int op)
{
    switch (op) {
    case TD_OP_inverse:
    case TD_OP_solve:
    case TD_OP_solve_triangular:
    case TD_OP_cholesky:
    case TD_OP_det:
    case TD_OP_slogdet:
    case TD_OP_cofactor:
    case TD_OP_qr:
    case TD_OP_eigh:
    case TD_OP_svdvals:
    case TD_OP_svd:
        return true;
    }
    return false;
}

bool td_solver_may_be_there(void)
{
    return known >= 0;
}

bool td_solver_begin(void)
{
    int lane = td_cuda_aside();
    pthread_mutex_lock(&solving);
    if (known == 0)
        known = open_libraries() ? 1 : -1;
    if (known > 0) {
        cudaStream_t stream = td_cuda_stream_of(lane);
        refused = both.set_stream(solver, stream) != CUSOLVER_STATUS_SUCCESS ||
                  both.blas_set_stream(blas, stream) != CUBLAS_STATUS_SUCCESS;
    } else {
        pthread_mutex_unlock(&solving);
    }
    td_cuda_back(lane);
    return known > 0;
}

/* What was large is not kept from others. */
static void give_large_back(void)
{
    outside now;
    for (auto &piece : pieces)
        if (piece.size > PIECE_KEPT) {
            td_cuda_unreserve(piece.memory, piece.size);
            piece = {NULL, 0};
        }
}

void td_solver_end(void)
{
    td_cuda_settle();
    give_large_back();
    pthread_mutex_unlock(&solving);
}

char *td_solver_memory(size_t bytes)
{
    outside now;
    return room_in(&pieces[0], bytes);
}

bool td_solver_has_refused(void)
{
    return refused;
}

static void check(cusolverStatus_t status)
{
    refused |= status != CUSOLVER_STATUS_SUCCESS;
}

static void check(cublasStatus_t status)
{
    refused |= status != CUBLAS_STATUS_SUCCESS;
}

/* The memory that a call wants to work in; NULL, and the call is not made, where there is none. */
template <class T> static T *work_of(int elements)
{
    T *work = refused ? NULL : (T *)room_in(&pieces[1], (size_t)(elements > 0 ? elements : 1) * sizeof(T));
    refused |= !work;
    return work;
}

static bool take_work(size_t device_bytes, size_t host_bytes)
{
    if (host_bytes > of_host.size) {
        free(of_host.memory);
        of_host.memory = malloc(host_bytes);
        of_host.size = of_host.memory ? host_bytes : 0;
    }
    refused = refused || host_bytes > of_host.size || !room_in(&pieces[1], device_bytes ? device_bytes : 1);
    return !refused;
}

/* ---- batches ---- */

__global__ void point(void **places, char *base, int64_t step, int count)
{
    int64_t k = (int64_t)td_thread();
    if (k < count)
        places[k] = base + k * step;
}

template <class T> static T **places_of(const td_solver_batch &s, int which, void *base, int64_t elements)
{
    void **places = s.places + (int64_t)which * s.count;
    td_enqueue(point, td_blocks(s.count, 1, TD_THREADS), TD_THREADS, places, (char *)base,
               elements * (int64_t)sizeof(T), s.count);
    return (T **)places;
}

static bool goes_together(const td_solver_batch &s, int n)
{
    return s.count > 1 && n < TD_SOLVER_LARGE;
}

/* ---- calls ---- */

static cublasFillMode_t triangle_of(bool upper)
{
    return upper ? CUBLAS_FILL_MODE_UPPER : CUBLAS_FILL_MODE_LOWER;
}

template <class T> static void lu(const functions<T> &f, const td_solver_batch &s, int n, T *a, int *pivots)
{
    int64_t each = (int64_t)n * n;
    int size = 0;
    if (goes_together(s, n)) {
        T **places = places_of<T>(s, 0, a, each);
        outside now;
        check(f.getrf_batched(blas, n, places, n, pivots, s.info, s.count));
        return;
    }
    outside now;
    check(f.getrf_size(solver, n, n, a, n, &size));
    T *work = work_of<T>(size);
    for (int k = 0; k < s.count && !refused; k++)
        check(f.getrf(solver, n, n, a + k * each, n, work, pivots + (int64_t)k * n, s.info + k));
}

template <class T>
static void solve(const functions<T> &f, const td_solver_batch &s, bool turned, int n, int columns, const T *a,
                  const int *pivots, T *b)
{
    cublasOperation_t turn = turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    int64_t each = (int64_t)n * n, other = (int64_t)n * columns;
    if (goes_together(s, n)) {
        T **places = places_of<T>(s, 0, (void *)a, each), **others = places_of<T>(s, 1, b, other);
        int wrong = 0;
        outside now;
        check(f.getrs_batched(blas, turn, n, columns, places, n, pivots, others, n, &wrong, s.count));
        refused |= wrong != 0;
        return;
    }
    outside now;
    int *info = work_of<int>(1); /* of arguments only */
    for (int k = 0; k < s.count && !refused; k++)
        check(f.getrs(solver, turn, n, columns, a + k * each, n, pivots + (int64_t)k * n, b + k * other, n, info));
}

template <class T> static void cholesky(const functions<T> &f, const td_solver_batch &s, bool upper, int n, T *a)
{
    int64_t each = (int64_t)n * n;
    int size = 0;
    if (goes_together(s, n)) {
        T **places = places_of<T>(s, 0, a, each);
        outside now;
        check(f.potrf_batched(solver, triangle_of(upper), n, places, n, s.info, s.count));
        return;
    }
    outside now;
    check(f.potrf_size(solver, triangle_of(upper), n, a, n, &size));
    T *work = work_of<T>(size);
    for (int k = 0; k < s.count && !refused; k++)
        check(f.potrf(solver, triangle_of(upper), n, a + k * each, n, work, size, s.info + k));
}

template <class T>
static void triangular(const functions<T> &f, const td_solver_batch &s, const td_solver_triangles &t,
                       const void *const *a, void *const *b, const T *a_here, T *b_here)
{
    cublasSideMode_t side = t.right ? CUBLAS_SIDE_RIGHT : CUBLAS_SIDE_LEFT;
    cublasOperation_t turn = t.turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasDiagType_t diagonal = t.unit ? CUBLAS_DIAG_UNIT : CUBLAS_DIAG_NON_UNIT;
    T one = 1;
    outside now;
    if (s.count == 1)
        check(f.trsm(blas, side, triangle_of(t.upper), turn, diagonal, t.rows, t.columns, &one, a_here, t.lead, b_here,
                     t.rows));
    else
        check(f.trsm_batched(blas, side, triangle_of(t.upper), turn, diagonal, t.rows, t.columns, &one,
                             (const T *const *)a, t.lead, (T *const *)b, t.rows, s.count));
}

template <class T> static void qr(const functions<T> &f, const td_solver_batch &s, int m, int n, T *a, T *scales)
{
    int64_t each = (int64_t)m * n, least = m < n ? m : n;
    int size = 0;
    outside now;
    check(f.geqrf_size(solver, m, n, a, m, &size));
    T *work = work_of<T>(size);
    for (int k = 0; k < s.count && !refused; k++)
        check(f.geqrf(solver, m, n, a + k * each, m, scales + k * least, work, size, s.info + k));
}

template <class T>
static void q(const functions<T> &f, const td_solver_batch &s, int m, int k, int64_t step, T *a, const T *scales)
{
    int size = 0;
    outside now;
    check(f.orgqr_size(solver, m, k, k, a, m, scales, &size));
    T *work = work_of<T>(size);
    for (int at = 0; at < s.count && !refused; at++)
        check(f.orgqr(solver, m, k, k, a + at * step, m, scales + (int64_t)at * k, work, size, s.info + at));
}

static cudaDataType type_of(uint8_t dtype)
{
    return dtype == TD_F32 ? CUDA_R_32F : CUDA_R_64F;
}

/* Of 16 x 16 elements the library wants some 300 KiB to work in, each. */
#define EIGH_BATCH 1024

void td_solver_eigh(const td_solver_batch &s, bool upper, int n, void *a, void *values)
{
    cudaDataType type = type_of(s.dtype);
    int64_t bytes = (int64_t)td_dtype_size(s.dtype);
    size_t there = 0, here = 0;
    outside now;
#if CUSOLVER_VERSION >= 11701
    for (int k = 0, now; goes_together(s, n) && k < s.count && !refused; k += now) {
        char *from = (char *)a + (int64_t)k * n * n * bytes, *to = (char *)values + (int64_t)k * n * bytes;
        now = s.count - k < EIGH_BATCH ? s.count - k : EIGH_BATCH;
        check(both.syev_batched_size(solver, params, CUSOLVER_EIG_MODE_VECTOR, triangle_of(upper), n, type, from, n,
                                     type, to, type, &there, &here, now));
        if (take_work(there, here))
            check(both.syev_batched(solver, params, CUSOLVER_EIG_MODE_VECTOR, triangle_of(upper), n, type, from, n,
                                    type, to, type, pieces[1].memory, there, of_host.memory, here, s.info + k, now));
    }
    if (goes_together(s, n))
        return;
#endif
    check(both.syevd_size(solver, params, CUSOLVER_EIG_MODE_VECTOR, triangle_of(upper), n, type, a, n, type, values,
                          type, &there, &here));
    take_work(there, here);
    for (int k = 0; k < s.count && !refused; k++)
        check(both.syevd(solver, params, CUSOLVER_EIG_MODE_VECTOR, triangle_of(upper), n, type,
                         (char *)a + (int64_t)k * n * n * bytes, n, type, (char *)values + (int64_t)k * n * bytes, type,
                         pieces[1].memory, there, of_host.memory, here, s.info + k));
}

void td_solver_svd(const td_solver_batch &s, int m, int n, void *a, void *values, void *u, void *vt)
{
    cudaDataType type = type_of(s.dtype);
    int64_t bytes = (int64_t)td_dtype_size(s.dtype), tall = (int64_t)m * n * bytes, small = (int64_t)n * n * bytes;
    signed char job = u ? 'S' : 'N';
    size_t there = 0, here = 0;
    outside now;
    check(both.gesvd_size(solver, params, job, job, m, n, type, a, m, type, values, type, u, m, type, vt, n, type,
                          &there, &here));
    take_work(there, here);
    for (int64_t k = 0; k < s.count && !refused; k++)
        check(both.gesvd(solver, params, job, job, m, n, type, (char *)a + k * tall, m, type,
                         (char *)values + k * n * bytes, type, u ? (char *)u + k * tall : NULL, m, type,
                         vt ? (char *)vt + k * small : NULL, n, type, pieces[1].memory, there, of_host.memory, here,
                         s.info + k));
}

template <class T>
static void small_svd(const functions<T> &f, const td_solver_batch &s, int m, int n, T *a, T *values, T *u, T *v)
{
    cusolverEigMode_t job = u ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
    int size = 0;
    outside now;
    check(f.gesvdj_batched_size(solver, job, m, n, a, m, values, u, m, v, n, &size, rotations, s.count));
    T *work = work_of<T>(size);
    if (!refused)
        check(f.gesvdj_batched(solver, job, m, n, a, m, values, u, m, v, n, work, size, s.info, rotations, s.count));
}

/* ---- by dtype ---- */

void td_solver_lu(const td_solver_batch &s, int n, void *a, int *pivots)
{
    if (s.dtype == TD_F32)
        lu(singles, s, n, (float *)a, pivots);
    else
        lu(doubles, s, n, (double *)a, pivots);
}

void td_solver_solve(const td_solver_batch &s, bool turned, int n, int columns, const void *lu, const int *pivots,
                     void *b)
{
    if (s.dtype == TD_F32)
        solve(singles, s, turned, n, columns, (const float *)lu, pivots, (float *)b);
    else
        solve(doubles, s, turned, n, columns, (const double *)lu, pivots, (double *)b);
}

void td_solver_cholesky(const td_solver_batch &s, bool upper, int n, void *a)
{
    if (s.dtype == TD_F32)
        cholesky(singles, s, upper, n, (float *)a);
    else
        cholesky(doubles, s, upper, n, (double *)a);
}

void td_solver_triangular(const td_solver_batch &s, const td_solver_triangles &t, const void *const *a, void *const *b,
                          const void *a_here, void *b_here)
{
    if (s.dtype == TD_F32)
        triangular(singles, s, t, a, b, (const float *)a_here, (float *)b_here);
    else
        triangular(doubles, s, t, a, b, (const double *)a_here, (double *)b_here);
}

void td_solver_qr(const td_solver_batch &s, int m, int n, void *a, void *scales)
{
    if (s.dtype == TD_F32)
        qr(singles, s, m, n, (float *)a, (float *)scales);
    else
        qr(doubles, s, m, n, (double *)a, (double *)scales);
}

void td_solver_q(const td_solver_batch &s, int m, int k, int64_t step, void *a, const void *scales)
{
    if (s.dtype == TD_F32)
        q(singles, s, m, k, step, (float *)a, (const float *)scales);
    else
        q(doubles, s, m, k, step, (double *)a, (const double *)scales);
}

void td_solver_small_svd(const td_solver_batch &s, int m, int n, void *a, void *values, void *u, void *v)
{
    if (s.dtype == TD_F32)
        small_svd(singles, s, m, n, (float *)a, (float *)values, (float *)u, (float *)v);
    else
        small_svd(doubles, s, m, n, (double *)a, (double *)values, (double *)u, (double *)v);
}
