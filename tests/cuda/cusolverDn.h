/* cuSOLVER, and what goes with it of cuBLAS, on the host, as far as kernels/cuda uses them: LAPACK does the work, in
 * the stream, when somebody waits for it. As strict as the libraries: sizes that they refuse are refused, memory to
 * work in is written over, and so is what they say is lost. Behaviour of the functions: cuSOLVER 12, cuBLAS 13.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_CUSOLVERDN_H
#define TD_TESTS_CUSOLVERDN_H

#include <cublasLt.h>
#include <stdlib.h>

#include <vector>

#define CUSOLVER_VERSION 12000

enum cusolverStatus_t {
    CUSOLVER_STATUS_SUCCESS = 0,
    CUSOLVER_STATUS_NOT_INITIALIZED = 1,
    CUSOLVER_STATUS_INVALID_VALUE = 3
};
enum cusolverEigMode_t { CUSOLVER_EIG_MODE_NOVECTOR = 0, CUSOLVER_EIG_MODE_VECTOR = 1 };
enum cublasFillMode_t { CUBLAS_FILL_MODE_LOWER = 0, CUBLAS_FILL_MODE_UPPER = 1 };
enum cublasSideMode_t { CUBLAS_SIDE_LEFT = 0, CUBLAS_SIDE_RIGHT = 1 };
enum cublasDiagType_t { CUBLAS_DIAG_NON_UNIT = 0, CUBLAS_DIAG_UNIT = 1 };

/* A handle is its stream. */
struct fake_handle {
    cudaStream_t stream;
};
typedef fake_handle *cusolverDnHandle_t;
typedef fake_handle *cublasHandle_t;
typedef struct fake_params *cusolverDnParams_t;
typedef struct fake_jacobi *gesvdjInfo_t;

extern "C" {
void openblas_set_num_threads(int count);
#define FAKE_LAPACK(letter, real)                                                                                      \
    void letter##getrf_(const int *m, const int *n, real *a, const int *lda, int *pivots, int *info);                  \
    void letter##getrs_(const char *turn, const int *n, const int *columns, const real *a, const int *lda,             \
                        const int *pivots, real *b, const int *ldb, int *info, size_t turn_length);                    \
    void letter##potrf_(const char *triangle, const int *n, real *a, const int *lda, int *info, size_t length);        \
    void letter##trsm_(const char *side, const char *triangle, const char *turn, const char *diagonal, const int *m,   \
                       const int *n, const real *alpha, const real *a, const int *lda, real *b, const int *ldb,        \
                       size_t, size_t, size_t, size_t);                                                                \
    void letter##geqrf_(const int *m, const int *n, real *a, const int *lda, real *scales, real *work,                 \
                        const int *work_size, int *info);                                                              \
    void letter##orgqr_(const int *m, const int *n, const int *k, real *a, const int *lda, const real *scales,         \
                        real *work, const int *work_size, int *info);                                                  \
    void letter##gesvd_(const char *job_u, const char *job_vt, const int *m, const int *n, real *a, const int *lda,    \
                        real *s, real *u, const int *ldu, real *vt, const int *ldvt, real *work, const int *work_size, \
                        int *info, size_t, size_t);                                                                    \
    void letter##syevd_(const char *job, const char *triangle, const int *n, real *a, const int *lda, real *values,    \
                        real *work, const int *work_size, int *integers, const int *integers_size, int *info,          \
                        size_t job_length, size_t triangle_length);
FAKE_LAPACK(s, float)
FAKE_LAPACK(d, double)
#undef FAKE_LAPACK
}

/* Calls by type. */
template <class T> struct fake_lapack;
#define FAKE_LAPACK(letter, real)                     \
    template <> struct fake_lapack<real> {            \
        static constexpr auto getrf = letter##getrf_; \
        static constexpr auto getrs = letter##getrs_; \
        static constexpr auto potrf = letter##potrf_; \
        static constexpr auto trsm = letter##trsm_;   \
        static constexpr auto geqrf = letter##geqrf_; \
        static constexpr auto orgqr = letter##orgqr_; \
        static constexpr auto gesvd = letter##gesvd_; \
        static constexpr auto syevd = letter##syevd_; \
    };
FAKE_LAPACK(s, float)
FAKE_LAPACK(d, double)
#undef FAKE_LAPACK

template <class F> static void fake_later(fake_handle *handle, const F &f)
{
    openblas_set_num_threads(1);
    fake_call(
        handle->stream, [](void *data) { (*(F *)data)(); }, new F(f), [](void *data) { delete (F *)data; });
}

#define FAKE_WORK 64 /* elements, or bytes, that every call wants to work in */

static inline void fake_spoil(void *memory, size_t bytes)
{
    memset(memory, 0x7f, bytes);
}

/* ---- handles ---- */

static inline cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle)
{
    static fake_handle one;
    const char *words = getenv("TENSORD_FAKE_CUDA");
    *handle = &one;
    return words && strstr(words, "solverless") ? CUSOLVER_STATUS_NOT_INITIALIZED : CUSOLVER_STATUS_SUCCESS;
}
static inline cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
}
static inline cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params)
{
    static char one;
    *params = (cusolverDnParams_t)(void *)&one;
    return CUSOLVER_STATUS_SUCCESS;
}
static inline cusolverStatus_t cusolverDnCreateGesvdjInfo(gesvdjInfo_t *info)
{
    static char one;
    *info = (gesvdjInfo_t)(void *)&one;
    return CUSOLVER_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
    static fake_handle one;
    *handle = &one;
    return CUBLAS_STATUS_SUCCESS;
}
static inline cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- triangular factors ---- */

template <class T>
static cusolverStatus_t fake_getrf(fake_handle *handle, int n, T *a, int lda, T *work, int *pivots, int *info)
{
    if (n < 1 || lda < n || !work)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        fake_lapack<T>::getrf(&n, &n, a, &lda, pivots, info);
        fake_spoil(work, FAKE_WORK * sizeof(T));
    });
    return CUSOLVER_STATUS_SUCCESS;
}

template <class T>
static cublasStatus_t fake_getrf_batched(fake_handle *handle, int n, T *const *a, int lda, int *pivots, int *info,
                                         int count)
{
    if (n < 1 || lda < n || count < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        for (int k = 0; k < count; k++)
            fake_lapack<T>::getrf(&n, &n, a[k], &lda, pivots + (size_t)k * (size_t)n, info + k);
    });
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
static cusolverStatus_t fake_getrs(fake_handle *handle, cublasOperation_t turn, int n, int columns, const T *lu,
                                   int lda, const int *pivots, T *b, int ldb, int *info)
{
    if (n < 1 || columns < 1 || lda < n || ldb < n)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        fake_lapack<T>::getrs(turn == CUBLAS_OP_T ? "T" : "N", &n, &columns, lu, &lda, pivots, b, &ldb, info, 1);
    });
    return CUSOLVER_STATUS_SUCCESS;
}

/* info is the host's. */
template <class T>
static cublasStatus_t fake_getrs_batched(fake_handle *handle, cublasOperation_t turn, int n, int columns,
                                         const T *const *lu, int lda, const int *pivots, T *const *b, int ldb,
                                         int *info, int count)
{
    *info = n < 1 ? -2 : columns < 1 ? -3 : count < 1 ? -10 : 0;
    if (*info || lda < n || ldb < n)
        return CUBLAS_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        int bad;
        for (int k = 0; k < count; k++)
            fake_lapack<T>::getrs(turn == CUBLAS_OP_T ? "T" : "N", &n, &columns, lu[k], &lda,
                                  pivots + (size_t)k * (size_t)n, b[k], &ldb, &bad, 1);
    });
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
static cusolverStatus_t fake_potrf(fake_handle *handle, cublasFillMode_t triangle, int n, T *a, int lda, T *work,
                                   int size, int *info)
{
    if (n < 1 || lda < n || size < FAKE_WORK)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        fake_lapack<T>::potrf(triangle == CUBLAS_FILL_MODE_UPPER ? "U" : "L", &n, a, &lda, info, 1);
        fake_spoil(work, FAKE_WORK * sizeof(T));
    });
    return CUSOLVER_STATUS_SUCCESS;
}

/* The other triangle is worked in. */
template <class T>
static cusolverStatus_t fake_potrf_batched(fake_handle *handle, cublasFillMode_t triangle, int n, T **a, int lda,
                                           int *info, int count)
{
    bool upper = triangle == CUBLAS_FILL_MODE_UPPER;
    if (n < 1 || lda < n || count < 1)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        for (int k = 0; k < count; k++) {
            fake_lapack<T>::potrf(upper ? "U" : "L", &n, a[k], &lda, info + k, 1);
            for (int j = 0; j < n; j++)
                for (int i = upper ? j + 1 : 0; i < (upper ? n : j); i++)
                    a[k][(size_t)j * (size_t)lda + (size_t)i] = 77;
        }
    });
    return CUSOLVER_STATUS_SUCCESS;
}

/* Of T or const T pointers, one or count of them. */
template <class T> struct fake_triangles {
    char side[2], triangle[2], turn[2], diagonal[2];
    int m, n, lda, ldb;
    T alpha;

    fake_triangles(cublasSideMode_t left, cublasFillMode_t upper, cublasOperation_t turned, cublasDiagType_t unit,
                   int m, int n, const T *alpha, int lda, int ldb)
        : side{left == CUBLAS_SIDE_LEFT ? 'L' : 'R'}, triangle{upper == CUBLAS_FILL_MODE_UPPER ? 'U' : 'L'},
          turn{turned == CUBLAS_OP_T ? 'T' : 'N'}, diagonal{unit == CUBLAS_DIAG_UNIT ? 'U' : 'N'}, m(m), n(n), lda(lda),
          ldb(ldb), alpha(*alpha)
    {
    }
    bool is_sound() const
    {
        return m >= 0 && n >= 0 && ldb >= m && lda >= (*side == 'L' ? m : n);
    }
    void solve(const T *a, T *b) const
    {
        fake_lapack<T>::trsm(side, triangle, turn, diagonal, &m, &n, &alpha, a, &lda, b, &ldb, 1, 1, 1, 1);
    }
};

/* ---- orthogonal factors ---- */

template <class T>
static cusolverStatus_t fake_geqrf(fake_handle *handle, int m, int n, T *a, int lda, T *scales, T *work, int size,
                                   int *info)
{
    if (m < 1 || n < 1 || lda < m || size < FAKE_WORK)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        std::vector<T> own((size_t)n * 64);
        int own_size = (int)own.size();
        fake_lapack<T>::geqrf(&m, &n, a, &lda, scales, own.data(), &own_size, info);
        fake_spoil(work, FAKE_WORK * sizeof(T));
    });
    return CUSOLVER_STATUS_SUCCESS;
}

template <class T>
static cusolverStatus_t fake_orgqr(fake_handle *handle, int m, int n, int k, T *a, int lda, const T *scales, T *work,
                                   int size, int *info)
{
    if (n < 1 || m < n || k > n || lda < m || size < FAKE_WORK)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        std::vector<T> own((size_t)n * 64);
        int own_size = (int)own.size();
        fake_lapack<T>::orgqr(&m, &n, &k, a, &lda, scales, own.data(), &own_size, info);
        fake_spoil(work, FAKE_WORK * sizeof(T));
    });
    return CUSOLVER_STATUS_SUCCESS;
}

/* ---- eigenvalues ---- */

template <class T> static void fake_syevd(bool upper, bool vectors, int n, T *a, int lda, T *values, int *info)
{
    std::vector<T> work((size_t)(1 + 6 * n + 2 * n * n));
    std::vector<int> integers((size_t)(3 + 5 * n));
    int size = (int)work.size(), integers_size = (int)integers.size();
    fake_lapack<T>::syevd(vectors ? "V" : "N", upper ? "U" : "L", &n, a, &lda, values, work.data(), &size,
                          integers.data(), &integers_size, info, 1, 1);
}

static inline cusolverStatus_t cusolverDnXsyevBatched_bufferSize(cusolverDnHandle_t, cusolverDnParams_t,
                                                                 cusolverEigMode_t, cublasFillMode_t, int64_t n,
                                                                 cudaDataType, const void *, int64_t, cudaDataType,
                                                                 const void *, cudaDataType, size_t *device_bytes,
                                                                 size_t *host_bytes, int64_t count)
{
    *device_bytes = *host_bytes = FAKE_WORK;
    return n < 1 || count < 1 || count > 65535 ? CUSOLVER_STATUS_INVALID_VALUE : CUSOLVER_STATUS_SUCCESS;
}

static inline cusolverStatus_t cusolverDnXsyevBatched(cusolverDnHandle_t handle, cusolverDnParams_t,
                                                      cusolverEigMode_t job, cublasFillMode_t triangle, int64_t n,
                                                      cudaDataType type, void *a, int64_t lda, cudaDataType,
                                                      void *values, cudaDataType, void *work, size_t bytes,
                                                      void *host_work, size_t host_bytes, int *info, int64_t count)
{
    bool upper = triangle == CUBLAS_FILL_MODE_UPPER, vectors = job == CUSOLVER_EIG_MODE_VECTOR;
    if (n < 1 || lda < n || count < 1 || count > 65535 || bytes < FAKE_WORK || host_bytes < FAKE_WORK)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        for (int64_t k = 0; k < count; k++)
            if (type == CUDA_R_32F)
                fake_syevd(upper, vectors, (int)n, (float *)a + k * n * lda, (int)lda, (float *)values + k * n,
                           info + k);
            else
                fake_syevd(upper, vectors, (int)n, (double *)a + k * n * lda, (int)lda, (double *)values + k * n,
                           info + k);
        fake_spoil(work, FAKE_WORK);
        fake_spoil(host_work, FAKE_WORK);
    });
    return CUSOLVER_STATUS_SUCCESS;
}

static inline cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, cusolverEigMode_t,
                                                           cublasFillMode_t, int64_t n, cudaDataType, const void *,
                                                           int64_t, cudaDataType, const void *, cudaDataType,
                                                           size_t *device_bytes, size_t *host_bytes)
{
    *device_bytes = *host_bytes = FAKE_WORK;
    return n < 1 ? CUSOLVER_STATUS_INVALID_VALUE : CUSOLVER_STATUS_SUCCESS;
}

static inline cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                                cusolverEigMode_t job, cublasFillMode_t triangle, int64_t n,
                                                cudaDataType type, void *a, int64_t lda, cudaDataType values_type,
                                                void *values, cudaDataType compute, void *work, size_t bytes,
                                                void *host_work, size_t host_bytes, int *info)
{
    return cusolverDnXsyevBatched(handle, params, job, triangle, n, type, a, lda, values_type, values, compute, work,
                                  bytes, host_work, host_bytes, info, 1);
}

/* ---- singular values ---- */

template <class T>
static void fake_gesvd(const char *job_u, const char *job_vt, int m, int n, T *a, int lda, T *s, T *u, int ldu, T *vt,
                       int ldvt, int *info)
{
    std::vector<T> work((size_t)(64 * (m + n)));
    int size = (int)work.size();
    T none;
    fake_lapack<T>::gesvd(job_u, job_vt, &m, &n, a, &lda, s, u ? u : &none, &ldu, vt ? vt : &none, &ldvt, work.data(),
                          &size, info, 1, 1);
}

static inline cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, signed char,
                                                           signed char, int64_t m, int64_t n, cudaDataType,
                                                           const void *, int64_t, cudaDataType, const void *,
                                                           cudaDataType, const void *, int64_t, cudaDataType,
                                                           const void *, int64_t, cudaDataType, size_t *device_bytes,
                                                           size_t *host_bytes)
{
    *device_bytes = *host_bytes = FAKE_WORK;
    return n < 1 || m < n ? CUSOLVER_STATUS_INVALID_VALUE : CUSOLVER_STATUS_SUCCESS;
}

/* Tall matrices only. */
static inline cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t, signed char job_u,
                                                signed char job_vt, int64_t m, int64_t n, cudaDataType type, void *a,
                                                int64_t lda, cudaDataType, void *s, cudaDataType, void *u, int64_t ldu,
                                                cudaDataType, void *vt, int64_t ldvt, cudaDataType, void *work,
                                                size_t bytes, void *host_work, size_t host_bytes, int *info)
{
    if (n < 1 || m < n || lda < m || ldu < m || ldvt < n || bytes < FAKE_WORK || host_bytes < FAKE_WORK)
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        const char jobs[] = {(char)job_u, (char)job_vt};
        if (type == CUDA_R_32F)
            fake_gesvd(jobs, jobs + 1, (int)m, (int)n, (float *)a, (int)lda, (float *)s, (float *)u, (int)ldu,
                       (float *)vt, (int)ldvt, info);
        else
            fake_gesvd(jobs, jobs + 1, (int)m, (int)n, (double *)a, (int)lda, (double *)s, (double *)u, (int)ldu,
                       (double *)vt, (int)ldvt, info);
        fake_spoil(work, FAKE_WORK);
        fake_spoil(host_work, FAKE_WORK);
    });
    return CUSOLVER_STATUS_SUCCESS;
}

/* By rotations: all columns of u, and v, not turned. Of the last of four matrices it says that it does not converge, as
 * it may of any. */
template <class T>
static cusolverStatus_t fake_gesvdj_batched(fake_handle *handle, cusolverEigMode_t job, int m, int n, T *a, int lda,
                                            T *s, T *u, int ldu, T *v, int ldv, T *work, int size, int *info, int count)
{
    bool vectors = job == CUSOLVER_EIG_MODE_VECTOR;
    if (m < 1 || n < 1 || m > 32 || n > 32 || m < n || lda < m || count < 1 || size < FAKE_WORK ||
        (vectors && (ldu < m || ldv < n)))
        return CUSOLVER_STATUS_INVALID_VALUE;
    fake_later(handle, [=]() {
        for (int64_t k = 0; k < count; k++) {
            T vt[32 * 32];
            fake_gesvd(vectors ? "A" : "N", vectors ? "A" : "N", m, n, a + k * lda * n, lda, s + k * n, u + k * ldu * m,
                       ldu, vt, n, info + k);
            for (int i = 0; i < n && vectors; i++)
                for (int j = 0; j < n; j++)
                    v[k * ldv * n + j * ldv + i] = vt[i * n + j];
            if (k == 3) {
                fake_spoil(s + k * n, (size_t)n * sizeof *s);
                info[k] = n + 1;
            }
        }
        fake_spoil(work, FAKE_WORK * sizeof(T));
    });
    return CUSOLVER_STATUS_SUCCESS;
}

/* ---- the functions of both types by their names ---- */

#define FAKE_BOTH(letter, real)                                                                                        \
    static inline cusolverStatus_t cusolverDn##letter##getrf_bufferSize(cusolverDnHandle_t, int, int, real *, int,     \
                                                                        int *size)                                     \
    {                                                                                                                  \
        *size = FAKE_WORK;                                                                                             \
        return CUSOLVER_STATUS_SUCCESS;                                                                                \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##getrf(cusolverDnHandle_t handle, int m, int n, real *a,         \
                                                             int lda, real *work, int *pivots, int *info)              \
    {                                                                                                                  \
        return m == n ? fake_getrf(handle, n, a, lda, work, pivots, info) : CUSOLVER_STATUS_INVALID_VALUE;             \
    }                                                                                                                  \
    static inline cublasStatus_t cublas##letter##getrfBatched(cublasHandle_t handle, int n, real *const a[], int lda,  \
                                                              int *pivots, int *info, int count)                       \
    {                                                                                                                  \
        return fake_getrf_batched(handle, n, a, lda, pivots, info, count);                                             \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##getrs(cusolverDnHandle_t handle, cublasOperation_t turn, int n, \
                                                             int columns, const real *a, int lda, const int *pivots,   \
                                                             real *b, int ldb, int *info)                              \
    {                                                                                                                  \
        return fake_getrs(handle, turn, n, columns, a, lda, pivots, b, ldb, info);                                     \
    }                                                                                                                  \
    static inline cublasStatus_t cublas##letter##getrsBatched(                                                         \
        cublasHandle_t handle, cublasOperation_t turn, int n, int columns, const real *const a[], int lda,             \
        const int *pivots, real *const b[], int ldb, int *info, int count)                                             \
    {                                                                                                                  \
        return fake_getrs_batched(handle, turn, n, columns, a, lda, pivots, b, ldb, info, count);                      \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##potrf_bufferSize(cusolverDnHandle_t, cublasFillMode_t, int,     \
                                                                        real *, int, int *size)                        \
    {                                                                                                                  \
        *size = FAKE_WORK;                                                                                             \
        return CUSOLVER_STATUS_SUCCESS;                                                                                \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##potrf(cusolverDnHandle_t handle, cublasFillMode_t triangle,     \
                                                             int n, real *a, int lda, real *work, int size, int *info) \
    {                                                                                                                  \
        return fake_potrf(handle, triangle, n, a, lda, work, size, info);                                              \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##potrfBatched(                                                   \
        cusolverDnHandle_t handle, cublasFillMode_t triangle, int n, real *a[], int lda, int *info, int count)         \
    {                                                                                                                  \
        return fake_potrf_batched(handle, triangle, n, a, lda, info, count);                                           \
    }                                                                                                                  \
    static inline cublasStatus_t cublas##letter##trsm_v2(                                                              \
        cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t triangle, cublasOperation_t turn,               \
        cublasDiagType_t diagonal, int m, int n, const real *alpha, const real *a, int lda, real *b, int ldb)          \
    {                                                                                                                  \
        fake_triangles<real> t(side, triangle, turn, diagonal, m, n, alpha, lda, ldb);                                 \
        if (!t.is_sound())                                                                                             \
            return CUBLAS_STATUS_INVALID_VALUE;                                                                        \
        fake_later(handle, [=]() { t.solve(a, b); });                                                                  \
        return CUBLAS_STATUS_SUCCESS;                                                                                  \
    }                                                                                                                  \
    static inline cublasStatus_t cublas##letter##trsmBatched(                                                          \
        cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t triangle, cublasOperation_t turn,               \
        cublasDiagType_t diagonal, int m, int n, const real *alpha, const real *const a[], int lda, real *const b[],   \
        int ldb, int count)                                                                                            \
    {                                                                                                                  \
        fake_triangles<real> t(side, triangle, turn, diagonal, m, n, alpha, lda, ldb);                                 \
        if (!t.is_sound() || count < 0)                                                                                \
            return CUBLAS_STATUS_INVALID_VALUE;                                                                        \
        fake_later(handle, [=]() {                                                                                     \
            for (int k = 0; k < count; k++)                                                                            \
                t.solve(a[k], b[k]);                                                                                   \
        });                                                                                                            \
        return CUBLAS_STATUS_SUCCESS;                                                                                  \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##geqrf_bufferSize(cusolverDnHandle_t, int, int, real *, int,     \
                                                                        int *size)                                     \
    {                                                                                                                  \
        *size = FAKE_WORK;                                                                                             \
        return CUSOLVER_STATUS_SUCCESS;                                                                                \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##geqrf(cusolverDnHandle_t handle, int m, int n, real *a,         \
                                                             int lda, real *scales, real *work, int size, int *info)   \
    {                                                                                                                  \
        return fake_geqrf(handle, m, n, a, lda, scales, work, size, info);                                             \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##orgqr_bufferSize(cusolverDnHandle_t, int, int, int,             \
                                                                        const real *, int, const real *, int *size)    \
    {                                                                                                                  \
        *size = FAKE_WORK;                                                                                             \
        return CUSOLVER_STATUS_SUCCESS;                                                                                \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##orgqr(cusolverDnHandle_t handle, int m, int n, int k, real *a,  \
                                                             int lda, const real *scales, real *work, int size,        \
                                                             int *info)                                                \
    {                                                                                                                  \
        return fake_orgqr(handle, m, n, k, a, lda, scales, work, size, info);                                          \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##gesvdjBatched_bufferSize(                                       \
        cusolverDnHandle_t, cusolverEigMode_t, int, int, const real *, int, const real *, const real *, int,           \
        const real *, int, int *size, gesvdjInfo_t, int)                                                               \
    {                                                                                                                  \
        *size = FAKE_WORK;                                                                                             \
        return CUSOLVER_STATUS_SUCCESS;                                                                                \
    }                                                                                                                  \
    static inline cusolverStatus_t cusolverDn##letter##gesvdjBatched(                                                  \
        cusolverDnHandle_t handle, cusolverEigMode_t job, int m, int n, real *a, int lda, real *s, real *u, int ldu,   \
        real *v, int ldv, real *work, int size, int *info, gesvdjInfo_t, int count)                                    \
    {                                                                                                                  \
        return fake_gesvdj_batched(handle, job, m, n, a, lda, s, u, ldu, v, ldv, work, size, info, count);             \
    }
FAKE_BOTH(S, float)
FAKE_BOTH(D, double)
#undef FAKE_BOTH

#endif
