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
    void *copy;  /* of an operand that BLAS cannot read, to be freed: only windows that stride in both dimensions, or
                    repeat themselves, come to this */
};

static void start(void)
{
    openblas_set_num_threads(1);
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

bool td_cpu_multiply_reads(const struct td_operand *x)
{
    return reads_in_place(x, 1, 0) || reads_in_place(x, 0, 1);
}

/* False if there is no memory for a copy. */
static bool matrix_of(const struct td_operand *x, struct matrix *matrix)
{
    if (reads_in_place(x, 1, 0)) {
        *matrix = (struct matrix){x->data, false, (int)lead_of(x, 1, 0), NULL};
        return true;
    }
    if (reads_in_place(x, 0, 1)) {
        *matrix = (struct matrix){x->data, true, (int)lead_of(x, 0, 1), NULL};
        return true;
    }
    size_t size = td_dtype_size(x->dtype);
    char *copy = malloc((size_t)x->shape[0] * (size_t)x->shape[1] * size), *to = copy;
    if (!copy)
        return false;
    for (int64_t i = 0; i < x->shape[0]; i++)
        for (int64_t j = 0; j < x->shape[1]; j++, to += size)
            memcpy(to, (const char *)x->data + (i * x->stride[0] + j * x->stride[1]) * (int64_t)size, size);
    *matrix = (struct matrix){copy, false, (int)x->shape[1], copy};
    return true;
}

/* y = m x; m as it is, or turned. The elements of x lie step apart, those of y y_step. */
static void multiply_vector(uint8_t dtype, const struct matrix *m, const int64_t *shape, bool turned, const void *x,
                            int64_t step, void *y, int64_t y_step, bool add)
{
    int rows = (int)shape[m->turned], columns = (int)shape[!m->turned];
    enum CBLAS_TRANSPOSE turn = m->turned != turned ? CblasTrans : CblasNoTrans;
    /* By the standard beta = 0 would do; not every BLAS keeps nan out. */
    for (int64_t i = 0; i < shape[turned] && !add; i++)
        memset((char *)y + i * y_step * (int64_t)td_dtype_size(dtype), 0, td_dtype_size(dtype));
    if (dtype == TD_F32)
        cblas_sgemv(CblasRowMajor, turn, rows, columns, 1, m->data, m->lead, x, (int)step, add, y, (int)y_step);
    else
        cblas_dgemv(CblasRowMajor, turn, rows, columns, 1, m->data, m->lead, x, (int)step, add, y, (int)y_step);
}

static void multiply_matrices(const struct td_operand *out, const struct matrix *a, const struct matrix *b, int k,
                              bool add)
{
    enum CBLAS_TRANSPOSE a_turn = a->turned ? CblasTrans : CblasNoTrans, b_turn = b->turned ? CblasTrans : CblasNoTrans;
    int n = (int)out->shape[0], m = (int)out->shape[1], lead = (int)lead_of(out, 1, 0);
    if (out->dtype == TD_F32)
        cblas_sgemm(CblasRowMajor, a_turn, b_turn, n, m, k, 1, a->data, a->lead, b->data, b->lead, add, out->data,
                    lead);
    else
        cblas_dgemm(CblasRowMajor, a_turn, b_turn, n, m, k, 1, a->data, a->lead, b->data, b->lead, add, out->data,
                    lead);
}

/* The slow twin, for sizes that BLAS's int cannot hold and for want of memory. */
static void multiply_plainly(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out,
                             bool add)
{
    for (int64_t i = 0; i < out->shape[0]; i++)
        for (int64_t j = 0; j < out->shape[1]; j++) {
            double sum = 0;
            for (int64_t k = 0; k < a->shape[1]; k++) {
                int64_t at = i * a->stride[0] + k * a->stride[1], bt = k * b->stride[0] + j * b->stride[1];
                sum += out->dtype == TD_F32 ? (double)((const float *)a->data)[at] * ((const float *)b->data)[bt]
                                            : ((const double *)a->data)[at] * ((const double *)b->data)[bt];
            }
            float *single = (float *)out->data + (i * out->stride[0] + j);
            double *wide = (double *)out->data + (i * out->stride[0] + j);
            if (out->dtype == TD_F32)
                *single = (float)(add ? *single + sum : sum);
            else
                *wide = add ? *wide + sum : sum;
        }
}

void td_cpu_multiply(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out, bool add)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int64_t n = out->shape[0], m = out->shape[1], k = a->shape[1];
    struct matrix am = {0}, bm = {0};
    pthread_once(&once, start);
    bool small = n <= INT_MAX && m <= INT_MAX && k <= INT_MAX && a->stride[1] <= INT_MAX && b->stride[0] <= INT_MAX &&
                 out->stride[0] <= INT_MAX;
    /* BLAS reads a vector at any stride but 0, which it takes for an error or for something else. */
    bool a_vector = n == 1 && m > 1 && (a->stride[1] > 0 || k == 1), b_vector = m == 1 && (b->stride[0] > 0 || k == 1);
    if (small && b_vector && matrix_of(a, &am))
        multiply_vector(out->dtype, &am, a->shape, false, b->data, k == 1 ? 1 : b->stride[0], out->data,
                        n == 1 ? 1 : out->stride[0], add);
    else if (small && a_vector && matrix_of(b, &bm))
        multiply_vector(out->dtype, &bm, b->shape, true, a->data, k == 1 ? 1 : a->stride[1], out->data, 1, add);
    else if (small && matrix_of(a, &am) && matrix_of(b, &bm))
        multiply_matrices(out, &am, &bm, (int)k, add);
    else
        multiply_plainly(a, b, out, add);
    free(am.copy);
    free(bm.copy);
}
