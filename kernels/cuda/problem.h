/* Problems of linear algebra, one for each matrix of a batch, many at a time: what linalg.cu and spectral.cu share,
 * which say how they are done. Each matrix is copied by columns, as the libraries have it, and those that hold nan or
 * inf are changed for ones that any of them can take; what comes of these is nan. SPDX-License-Identifier: Apache-2.0
 */
#ifndef TD_KERNELS_CUDA_PROBLEM_H
#define TD_KERNELS_CUDA_PROBLEM_H

#include "kernels/cuda/solver.h"

#define TD_PARTS_MAX 4
#define TD_ROOMS 3

/* The matrices of an operand, broadcast to as many as there are problems. */
struct td_matrices {
    char *data;
    int64_t rows, columns, row_step, column_step; /* of one; steps count elements */
    int rank;
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
};

struct td_problems {
    struct td_launch *launch;
    uint8_t dtype;
    int64_t count;
    td_matrices part[TD_PARTS_MAX]; /* inputs, then results */
    bool shared;                    /* all have the same first matrix, which is there once */
    /* What solve works in, bytes for each: elements, pivots. */
    size_t room_bytes[TD_ROOMS], pivot_bytes;

    /* Those that are in work. */
    int64_t from;
    int now;
    char *room[TD_ROOMS];
    void *pivots;
    int *info;  /* what a library says of each */
    int *wrong; /* not 0: what comes of it is nan */
    void **places;
    unsigned long long *fault; /* the first problem that has one, and what it is */
    bool is_for_host;          /* set by solve: they have no good form here */

    int64_t matrices() const /* that are there in the first room */
    {
        return shared ? 1 : now;
    }
    td_solver_batch batch() const
    {
        return {dtype, (int)matrices(), info, places};
    }
};

typedef void td_solver(td_problems &p);

/* The problems of a launch; inner: dimensions of a problem's operands, inputs and then results. */
td_problems td_problems_of(struct td_launch *launch, const int *inner);
/* Has solve do them in as many steps as it takes. Where the libraries are not there, or do not take them, or there is
 * no memory to work in, or solve says so, the host does them all. */
void td_problems_solve(td_problems &p, td_solver *solve);

/* ---- what solvers put into the stream ---- */

enum td_triangle { TD_ALL, TD_LOWER, TD_UPPER };
static inline td_triangle td_turned(td_triangle part)
{
    return part == TD_ALL ? part : part == TD_LOWER ? TD_UPPER : TD_LOWER;
}
td_matrices td_turned(const td_matrices &x);

/* The elements of count matrices of x by columns, 0 outside of part; what is not finite is noted in wrong. */
void td_load_matrices(const td_problems &p, const td_matrices &x, int64_t count, void *to);
/* The same of what is to be factored, square or not. */
void td_load_factors(const td_problems &p, const td_matrices &x, td_triangle part, void *to);
/* Results become what lies by columns, lead apart, step from one matrix to the next; 0 outside of part. */
void td_store_matrices(const td_problems &p, const td_matrices &out, td_triangle part, const void *from, int64_t lead,
                       int64_t step);
/* What lies in results already, row by row, is made 0 outside of part, and nan where it is wrong. */
void td_finish_matrices(const td_problems &p, const td_matrices &out, td_triangle part);
/* Diagonal matrices of ones, or of values. */
void td_put_diagonal(const td_problems &p, const td_matrices &out, const void *values);
/* What a library could not do is a fault; or is wrong. */
void td_note_faults(const td_problems &p);
void td_note_wrong(const td_problems &p);
/* Where each matrix of x lies, for the device; and for the host, by its number among those in work. */
void td_point_at(const td_problems &p, const td_matrices &x, void **places);
void *td_matrix_at(const td_problems &p, const td_matrices &x, int k);
/* Matrices of the problems in work that lie one behind the other. */
td_matrices td_row_of_matrices(const td_problems &p, void *data, int64_t rows, int64_t columns);

/* Where the results of the problems in work begin. */
char *td_results(const td_problems &p, const td_matrices &out);

static inline int64_t td_elements(const td_matrices &x)
{
    return x.rows * x.columns;
}

/* Calls f.with<T>() for f32 or f64. */
template <class F> static void td_for_real(uint8_t dtype, const F &f)
{
    if (dtype == TD_F32)
        f.template with<float>();
    else
        f.template with<double>();
}

#endif
