/* Batches of matrices, in and out of scratch memory. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/problem.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "kernels/cpu/iterate.h"
#include "protocol/error.h"

/* ---- matrices in and out ---- */

#define LOAD(name, real)                                                      \
    static bool name(const struct td_operand *x, enum td_part part, real *to) \
    {                                                                         \
        int64_t rows = x->shape[0], columns = x->shape[1];                    \
        bool finite = true;                                                   \
        for (int64_t j = 0; j < columns; j++) {                               \
            const real *from = (const real *)x->data + j * x->stride[1];      \
            int64_t first = part == TD_LOWER ? (j < rows ? j : rows) : 0;     \
            int64_t end = part == TD_UPPER && j < rows ? j + 1 : rows;        \
            memset(to, 0, (size_t)rows * sizeof *to);                         \
            for (int64_t i = first; i < end; i++) {                           \
                to[i] = from[i * x->stride[0]];                               \
                finite &= isfinite(to[i]) != 0;                               \
            }                                                                 \
            to += rows;                                                       \
        }                                                                     \
        return finite;                                                        \
    }
LOAD(load_f32, float)
LOAD(load_f64, double)

bool TD_CPU(load_matrix)(const struct td_operand *x, enum td_part part, void *to)
{
    return x->dtype == TD_F32 ? load_f32(x, part, to) : load_f64(x, part, to);
}

void TD_CPU(store_matrix)(const struct td_operand *x, const void *from)
{
    struct td_operand source = *x;
    source.data = (void *)(uintptr_t)from;
    source.stride[0] = 1;
    source.stride[1] = x->shape[0];
    TD_CPU(copy_operand)(x, &source);
}

void TD_CPU(fill_nan)(const struct td_operand *x)
{
    double wide = NAN;
    float narrow = NAN;
    struct td_operand source = *x;
    source.data = x->dtype == TD_F32 ? (void *)&narrow : (void *)&wide;
    memset(source.stride, 0, sizeof source.stride);
    TD_CPU(copy_operand)(x, &source);
}

/* ---- batches ---- */

struct batch {
    td_solver *solve;
    struct problem problem;
    int rank;
    int64_t shape[TD_RANK_MAX], stride[TD_PARTS_MAX][TD_RANK_MAX], sizes[3];
    pthread_mutex_t *mutex;
    struct td_fault *fault; /* that of the first problem which has one */
};

static void note_fault(const struct batch *b, int info, int64_t position)
{
    pthread_mutex_lock(b->mutex);
    if (b->fault->code == TD_E_OK || position < b->fault->position) {
        b->fault->code = info == TD_LAPACK_MEMORY ? TD_E_MEMORY : TD_E_SINGULAR;
        b->fault->value = info;
        b->fault->position = position;
    }
    pthread_mutex_unlock(b->mutex);
}

static bool take_scratch(struct problem *p, const int64_t *sizes)
{
    size_t size = td_dtype_size(p->dtype), bytes = 64, at[3];
    for (int k = 0; k < 3; k++) {
        at[k] = bytes;
        bytes += ((size_t)sizes[k] * size + 63) / 64 * 64;
    }
    char *scratch = aligned_alloc(64, (bytes + (size_t)p->n * sizeof *p->pivots + 63) / 64 * 64);
    for (int k = 0; k < 3 && scratch; k++)
        p->matrix[k] = scratch + at[k];
    p->pivots = scratch ? (int *)(void *)(scratch + bytes) : NULL;
    return scratch != NULL;
}

static void batch_part(const void *data, int64_t from, int64_t to)
{
    const struct batch *b = data;
    struct problem p = b->problem;
    int64_t index[TD_RANK_MAX] = {0}, offset[TD_PARTS_MAX] = {0}, size = (int64_t)td_dtype_size(p.dtype);
    int parts = p.inputs + p.launch->op->output_count;
    const int64_t *stride[TD_PARTS_MAX];
    for (int k = 0; k < parts; k++)
        stride[k] = b->stride[k];
    if (!take_scratch(&p, b->sizes)) {
        note_fault(b, TD_LAPACK_MEMORY, from);
        return;
    }
    td_seek_index(b->rank, b->shape, from, index, parts, offset, stride);
    for (int64_t k = from; k < to; k++) {
        for (int part = 0; part < parts; part++)
            p.part[part].data = (char *)b->problem.part[part].data + offset[part] * size;
        int info = b->solve(&p);
        if (info) {
            note_fault(b, info, k);
            break;
        }
        td_step_index(b->rank, b->shape, index, parts, offset, stride);
    }
    free(p.matrix[0] - 64);
}

/* The last dimensions of x, from the one on where its batch ends; the strides of its batch, repeated to rank. */
static struct td_operand split(const struct td_operand *x, int inner, int rank, const int64_t *shape, int64_t *stride)
{
    struct td_operand part = {.data = x->data, .dtype = x->dtype, .rank = (uint8_t)inner};
    int own = x->rank - inner;
    for (int d = 0; d < inner; d++) {
        part.shape[d] = x->shape[own + d];
        part.stride[d] = x->stride[own + d];
    }
    for (int d = 0; d < rank; d++) {
        int from = d - (rank - own);
        stride[d] = from < 0 || (x->shape[from] == 1 && shape[d] != 1) ? 0 : x->stride[from];
    }
    return part;
}

/* A vector is a matrix of one column. */
static void widen(struct td_operand *x)
{
    if (x->rank != 1)
        return;
    x->rank = 2;
    x->shape[1] = 1;
    x->stride[1] = x->shape[0];
}

void TD_CPU(each_problem)(struct td_launch *launch, td_solver *solve, const int *inner)
{
    const struct td_operand *a = &launch->in[0], *out = &launch->out[0];
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct td_fault fault = {.code = TD_E_OK};
    struct batch b = {.solve = solve, .mutex = &mutex, .fault = &fault};
    int inputs = launch->in_count;
    int64_t count = 1;
    b.problem = (struct problem){.launch = launch, .inputs = inputs, .dtype = out->dtype};
    b.problem.n = (int)a->shape[a->rank - 2];
    b.rank = out->rank - inner[inputs];
    for (int d = 0; d < b.rank; d++)
        count *= b.shape[d] = out->shape[d];
    for (int k = 0; k < inputs + launch->op->output_count; k++) {
        const struct td_operand *x = k < inputs ? &launch->in[k] : &launch->out[k - inputs];
        b.problem.part[k] = split(x, inner[k], b.rank, b.shape, b.stride[k]);
        widen(&b.problem.part[k]);
        if (k < 2)
            b.sizes[k] = td_operand_numel(&b.problem.part[k]);
    }
    b.sizes[1] = b.sizes[1] > b.sizes[0] ? b.sizes[1] : b.sizes[0];
    b.sizes[2] = b.sizes[0];
    uint64_t ns = td_lapack_ns(launch);
    if (count)
        td_parallel(count, ns < 20000 ? (int64_t)(20000 / ns) : 1, ns, batch_part, &b);
    launch->fault = fault;
    launch->fault.size = count;
}
