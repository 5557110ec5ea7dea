/* OpenBLAS on one thread: its own threads change the bits, and two of them are slower than one here (DESIGN.md 6).
 * Matrices are read in place, turned or not, wherever one of their strides is 1.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/blas.h"

#include <cblas.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* How BLAS is to read an operand. */
struct matrix {
    const void *data;
    bool turned; /* stored by columns */
    int lead;    /* distance between rows, or between columns if turned */
};

/* Copies of operands that BLAS cannot read, for one thread: grows to the largest that it has seen and stays. Only
 * windows that stride in both dimensions, or repeat themselves, come here. */
static _Thread_local struct {
    void *data;
    size_t bytes;
} scratch[2];

static void start(void)
{
    openblas_set_num_threads(1);
}

static void *scratch_of(int slot, size_t bytes)
{
    if (bytes > scratch[slot].bytes) {
        free(scratch[slot].data);
        scratch[slot].data = malloc(bytes);
        scratch[slot].bytes = scratch[slot].data ? bytes : 0;
    }
    return scratch[slot].data;
}

/* A stride of a dimension of one element never counts. */
static bool reads_in_place(const struct td_operand *x, int run, int lead)
{
    int64_t step = x->stride[lead];
    return (x->stride[run] == 1 || x->shape[run] == 1) &&
           (x->shape[lead] == 1 || (step >= x->shape[run] && step <= INT_MAX));
}

static int64_t lead_of(const struct td_operand *x, int run, int lead)
{
    return x->shape[lead] == 1 ? x->shape[run] : x->stride[lead];
}

/* False if there is no memory for a copy. */
static bool matrix_of(const struct td_operand *x, int slot, struct matrix *matrix)
{
    if (reads_in_place(x, 1, 0)) {
        *matrix = (struct matrix){x->data, false, (int)lead_of(x, 1, 0)};
        return true;
    }
    if (reads_in_place(x, 0, 1)) {
        *matrix = (struct matrix){x->data, true, (int)lead_of(x, 0, 1)};
        return true;
    }
    size_t size = td_dtype_size(x->dtype);
    char *copy = scratch_of(slot, (size_t)x->shape[0] * (size_t)x->shape[1] * size), *to = copy;
    if (!copy)
        return false;
    for (int64_t i = 0; i < x->shape[0]; i++)
        for (int64_t j = 0; j < x->shape[1]; j++, to += size)
            memcpy(to, (const char *)x->data + (i * x->stride[0] + j * x->stride[1]) * (int64_t)size, size);
    *matrix = (struct matrix){copy, false, (int)x->shape[1]};
    return true;
}

/* y (rows) = m x, where x's elements lie step apart; m as it is, or turned. */
static void multiply_vector(uint8_t dtype, const struct matrix *m, const int64_t *shape, bool turned, const void *x,
                            int64_t step, void *y)
{
    int rows = (int)shape[m->turned], columns = (int)shape[!m->turned];
    enum CBLAS_TRANSPOSE turn = m->turned != turned ? CblasTrans : CblasNoTrans;
    size_t count = (size_t)shape[turned];
    if (dtype == TD_F32) {
        memset(y, 0, count * sizeof(float)); /* by the standard beta = 0 would do; not every BLAS keeps nan out */
        cblas_sgemv(CblasRowMajor, turn, rows, columns, 1, m->data, m->lead, x, (int)step, 0, y, 1);
    } else {
        memset(y, 0, count * sizeof(double));
        cblas_dgemv(CblasRowMajor, turn, rows, columns, 1, m->data, m->lead, x, (int)step, 0, y, 1);
    }
}

static void multiply_matrices(uint8_t dtype, const struct matrix *a, const struct matrix *b, int n, int m, int k,
                              void *y)
{
    enum CBLAS_TRANSPOSE a_turn = a->turned ? CblasTrans : CblasNoTrans, b_turn = b->turned ? CblasTrans : CblasNoTrans;
    if (dtype == TD_F32)
        cblas_sgemm(CblasRowMajor, a_turn, b_turn, n, m, k, 1, a->data, a->lead, b->data, b->lead, 0, y, m);
    else
        cblas_dgemm(CblasRowMajor, a_turn, b_turn, n, m, k, 1, a->data, a->lead, b->data, b->lead, 0, y, m);
}

/* The slow twin, for sizes that BLAS's int cannot hold and for want of scratch. */
static void multiply_plainly(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out)
{
    for (int64_t i = 0; i < out->shape[0]; i++)
        for (int64_t j = 0; j < out->shape[1]; j++) {
            double sum = 0;
            for (int64_t k = 0; k < a->shape[1]; k++) {
                int64_t at = i * a->stride[0] + k * a->stride[1], bt = k * b->stride[0] + j * b->stride[1];
                sum += out->dtype == TD_F32 ? (double)((const float *)a->data)[at] * ((const float *)b->data)[bt]
                                            : ((const double *)a->data)[at] * ((const double *)b->data)[bt];
            }
            if (out->dtype == TD_F32)
                ((float *)out->data)[i * out->shape[1] + j] = (float)sum;
            else
                ((double *)out->data)[i * out->shape[1] + j] = sum;
        }
}

void td_cpu_multiply(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int64_t n = out->shape[0], m = out->shape[1], k = a->shape[1];
    struct matrix am, bm;
    pthread_once(&once, start);
    bool small = n <= INT_MAX && m <= INT_MAX && k <= INT_MAX && a->stride[1] <= INT_MAX && b->stride[0] <= INT_MAX;
    /* BLAS reads a vector at any stride but 0, which it takes for an error or for something else. */
    bool a_vector = n == 1 && m > 1 && (a->stride[1] > 0 || k == 1), b_vector = m == 1 && (b->stride[0] > 0 || k == 1);
    if (small && b_vector && matrix_of(a, 0, &am))
        multiply_vector(out->dtype, &am, a->shape, false, b->data, k == 1 ? 1 : b->stride[0], out->data);
    else if (small && a_vector && matrix_of(b, 1, &bm))
        multiply_vector(out->dtype, &bm, b->shape, true, a->data, k == 1 ? 1 : a->stride[1], out->data);
    else if (small && matrix_of(a, 0, &am) && matrix_of(b, 1, &bm))
        multiply_matrices(out->dtype, &am, &bm, (int)n, (int)m, (int)k, out->data);
    else
        multiply_plainly(a, b, out);
}
