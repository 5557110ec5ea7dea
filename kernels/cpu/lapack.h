/* LAPACK, which lies in OpenBLAS: factors of one matrix. Private to kernels/cpu, compiled once. Matrices are stored by
 * columns without gaps, dtype is f32 or f64, and the elements are finite: LAPACK may run for ever or read beyond its
 * arrays with others. Sizes may be 0. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_LAPACK_H
#define TD_KERNELS_CPU_LAPACK_H

#include "kernels/kernels.h"

/* What a function gives where it has no memory to work in, instead of 0 or LAPACK's info. */
#define TD_LAPACK_MEMORY INT32_MIN

/* a = p l u in place, with n pivots. The number of the first pivot that is 0, from 1; else 0. */
int td_lapack_lu(uint8_t dtype, int n, void *a, int *pivots);
/* b (n, columns) becomes a^-1 b, or a^-T b if turned, of the factors of a. */
void td_lapack_solve(uint8_t dtype, bool turned, int n, int columns, const void *lu, const int *pivots, void *b);
/* b (n, columns) becomes a^-1 b of a triangular a; unit: its diagonal is ones, and not read. */
void td_lapack_solve_triangular(uint8_t dtype, bool upper, bool unit, int n, int columns, const void *a, void *b);
/* a = l l^T, or u^T u, in the triangle of a. The order of the first minor that is not positive; else 0. */
int td_lapack_cholesky(uint8_t dtype, bool upper, int n, void *a);
/* a (m, n) = q r in place: r in its upper triangle, the rest and min(m, n) reals in scales stand for q. */
int td_lapack_qr(uint8_t dtype, int m, int n, void *a, void *scales);
/* The k first columns of q in place, of what td_lapack_qr left. */
int td_lapack_q(uint8_t dtype, int m, int k, void *a, const void *scales);
/* a becomes the eigenvectors of the symmetric matrix in its triangle, values rise. Not 0 if it does not converge. */
int td_lapack_eigh(uint8_t dtype, bool upper, int n, void *a, void *values);
/* a (m, n) = u diag(s) vt with k = min(m, n) columns of u (m, k) and rows of vt (k, n); a is lost. Without u and vt
 * (NULL) s only. Not 0 if it does not converge. */
int td_lapack_svd(uint8_t dtype, int m, int n, void *a, void *s, void *u, void *vt);

/* Nanoseconds that a launch of a factorisation takes for one of its matrices. */
uint64_t td_lapack_ns(const struct td_launch *launch);

#endif
