/* Problems of linear algebra, one for each matrix of a batch: what linalg.c and spectral.c share, which say how one is
 * done. Each matrix is copied into scratch memory by columns, as LAPACK has it, worked on there, and what comes of it
 * is written row by row; so it has the same bits whoever does it. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_PROBLEM_H
#define TD_KERNELS_CPU_PROBLEM_H

#include "kernels/cpu/internal.h"
#include "kernels/cpu/lapack.h"

#define TD_PARTS_MAX 4

/* One problem of a batch, and the scratch that its thread has for all of its own. */
struct problem {
    const struct td_launch *launch;
    struct td_operand part[TD_PARTS_MAX]; /* inputs, then results: the dimensions behind the batch's */
    int inputs;
    uint8_t dtype;
    int n;            /* rows of the first input */
    char *matrix[3];  /* as large as the first input, the second, and the first again */
    int *pivots;      /* n */
    const void *done; /* the matrix whose factors lie in scratch already */
    bool finite;      /* that it was */
};

/* Does one problem. 0, or what lapack.h says of a matrix that cannot be taken. */
typedef int td_solver(struct problem *p);

/* Has solve do each problem; inner: dimensions of a problem's operands, inputs and then results. */
void TD_CPU(each_problem)(struct td_launch *launch, td_solver *solve, const int *inner);

enum td_part { TD_ALL, TD_LOWER, TD_UPPER };
/* The elements of x by columns, 0 outside of part. False if one of them is nan or inf. */
bool TD_CPU(load_matrix)(const struct td_operand *x, enum td_part part, void *to);
/* x becomes what lies by columns at from. */
void TD_CPU(store_matrix)(const struct td_operand *x, const void *from);
void TD_CPU(fill_nan)(const struct td_operand *x);

static inline double real_at(uint8_t dtype, const void *data, int64_t k)
{
    return dtype == TD_F32 ? (double)((const float *)data)[k] : ((const double *)data)[k];
}

static inline void put_real(uint8_t dtype, void *data, int64_t k, double value)
{
    if (dtype == TD_F32)
        ((float *)data)[k] = (float)value;
    else
        ((double *)data)[k] = value;
}

/* x with rows and columns exchanged. */
static inline struct td_operand turned(const struct td_operand *x)
{
    struct td_operand y = *x;
    y.shape[0] = x->shape[1], y.shape[1] = x->shape[0];
    y.stride[0] = x->stride[1], y.stride[1] = x->stride[0];
    return y;
}

#endif
