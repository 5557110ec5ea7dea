/* cuSOLVER, and what cuBLAS has for matrices in batches: factors of matrices that lie by columns in the device's
 * memory, count of them one behind the other. They are large libraries, which are found when the program runs and
 * loaded when somebody first needs them. Private to kernels/cuda. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_SOLVER_H
#define TD_KERNELS_CUDA_SOLVER_H

#include "kernels/cuda/internal.h"

/* Whether an op of that number is theirs, and whether they may be there: known once somebody needed them. */
bool td_cuda_solves(int op);
bool td_solver_may_be_there(void);

/* Until end one launch has the libraries for itself; false: they are not there. Loading takes as long as it takes. */
bool td_solver_begin(void);
void td_solver_end(void);

/* Memory of the device that is the launch's until td_solver_end; called once. NULL where there is none left. */
char *td_solver_memory(size_t bytes);

/* Whether a library has not taken a call since td_solver_begin: what was to come of it is not there. */
bool td_solver_has_refused(void);

/* What each of the calls below is about. Sizes are not 0; elements are finite. */
struct td_solver_batch {
    uint8_t dtype; /* f32 or f64 */
    int count;
    int *info;     /* of each: 0, or what lapack.h says of it */
    void **places; /* room for 2 * count pointers */
};
/* Matrices may be at most so many at once. From the other size on one fills the device by itself, and batches are for
 * small ones. */
#define TD_SOLVER_BATCH 32768
#define TD_SOLVER_LARGE 512

/* a (n, n) = p l u in place, with n pivots. */
void td_solver_lu(const td_solver_batch &s, int n, void *a, int *pivots);
/* b (n, columns) becomes a^-1 b, or a^-T b if turned, of the factors of a. */
void td_solver_solve(const td_solver_batch &s, bool turned, int n, int columns, const void *lu, const int *pivots,
                     void *b);
/* a = l l^T, or u^T u; the other triangle is lost. */
void td_solver_cholesky(const td_solver_batch &s, bool upper, int n, void *a);
/* a (m, n) = q r in place, with min(m, n) scales; and the k first columns of q of that, each matrix being step elements
 * behind the one before. */
void td_solver_qr(const td_solver_batch &s, int m, int n, void *a, void *scales);
void td_solver_q(const td_solver_batch &s, int m, int k, int64_t step, void *a, const void *scales);
/* a becomes the eigenvectors of the symmetric matrix in its triangle; values rise. */
void td_solver_eigh(const td_solver_batch &s, bool upper, int n, void *a, void *values);
/* a (m, n), m >= n, = u (m, n) diag(values) vt (n, n); a is lost. Without u and vt (NULL) values only. */
void td_solver_svd(const td_solver_batch &s, int m, int n, void *a, void *values, void *u, void *vt);
/* The same of small matrices, all at once: u is (m, m), and v is not turned. More of them do not converge. */
#define TD_SOLVER_SMALL 32
void td_solver_small_svd(const td_solver_batch &s, int m, int n, void *a, void *values, void *u, void *v);

/* Triangular equations in place: a y = b, or y a = b if right; all of b has rows and columns. a lies lead apart, and at
 * a_places, which point to the device's memory on the device and here (one matrix: a_here). */
struct td_solver_triangles {
    bool right, upper, turned, unit;
    int rows, columns, lead;
};
void td_solver_triangular(const td_solver_batch &s, const td_solver_triangles &t, const void *const *a, void *const *b,
                          const void *a_here, void *b_here);

/* ---- of device.cu, for launches that have the libraries ---- */

/* Lets other launches in, until back; returns the lane that is the launch's. */
int td_cuda_aside(void);
void td_cuda_back(int lane);
cudaStream_t td_cuda_stream_of(int lane);
void *td_cuda_reserve(size_t bytes);
void td_cuda_unreserve(void *memory, size_t bytes);

#endif
