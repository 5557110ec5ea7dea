/* sum, mean, max and min over any dimensions. Rows are read as they lie: where the kept elements are neighbours many
 * results are built at once (columns), otherwise one after the other (rows); the order of additions is the same.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"
#include "protocol/ops.h"

/* With fewer elements than this to a result, building many at once wins whatever the strides. */
#define FEW 32

/* Dimensions of the input, row by row, merged where they lie densely inside each other. */
struct dims {
    int rank;
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
    int64_t count; /* positions of all */
};

struct reduction {
    struct dims kept, gone;
    const char *from;
    char *out;
    bool columns;
};

static void add_dim(struct dims *dims, int64_t shape, int64_t stride)
{
    dims->count *= shape;
    if (shape == 1)
        return;
    int last = dims->rank - 1;
    if (dims->rank && dims->stride[last] == stride * shape) {
        dims->shape[last] *= shape;
        dims->stride[last] = stride;
        return;
    }
    dims->shape[dims->rank] = shape;
    dims->stride[dims->rank++] = stride;
}

static void plan(struct reduction *r, const struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    uint32_t mask = td_reduced_dims(&((const struct td_sum_attrs *)launch->attrs)->dims, x->rank);
    *r = (struct reduction){.kept.count = 1, .gone.count = 1, .from = x->data, .out = launch->out[0].data};
    for (int d = 0; d < x->rank; d++)
        add_dim(mask & 1u << d ? &r->gone : &r->kept, x->shape[d], x->stride[d]);
    struct dims *kept = &r->kept, *gone = &r->gone;
    if (gone->count == 1) { /* each result is one element: a run of one */
        gone->rank = 1;
        gone->shape[0] = gone->stride[0] = 1;
    }
    if (kept->rank)
        r->columns = gone->count < FEW || kept->stride[kept->rank - 1] < gone->stride[gone->rank - 1];
}

#define REDUCE(word) td_##word##_sum_f32
#define REDUCE_T float
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_sum_f64
#define REDUCE_T double
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_sum_i64
#define REDUCE_T uint64_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_f32
#define REDUCE_T float
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_f64
#define REDUCE_T double
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_i32
#define REDUCE_T int32_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_i64
#define REDUCE_T int64_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_max_bool
#define REDUCE_T uint8_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_f32
#define REDUCE_T float
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_f64
#define REDUCE_T double
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_i32
#define REDUCE_T int32_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_i64
#define REDUCE_T int64_t
#include "kernels/cpu/reduce.inc"
#define REDUCE(word) td_##word##_min_bool
#define REDUCE_T uint8_t
#include "kernels/cpu/reduce.inc"

/* Counts what is true; integers add up in any order. */
static void count_true(const struct reduction *r)
{
    const uint8_t *x = (const uint8_t *)r->from;
    int64_t *out = (int64_t *)(void *)r->out, index[TD_RANK_MAX] = {0}, offset = 0;
    const int64_t *kept_stride = r->kept.stride, *gone_stride = r->gone.stride;
    int inner = r->gone.rank - 1;
    do {
        int64_t gone_index[TD_RANK_MAX] = {0}, at = offset, sum = 0;
        do {
            for (int64_t i = 0; i < r->gone.shape[inner]; i++)
                sum += x[at + i * gone_stride[inner]] != 0;
        } while (td_step_index(inner, r->gone.shape, gone_index, 1, &at, &gone_stride));
        *out++ = sum;
    } while (td_step_index(r->kept.rank, r->kept.shape, index, 1, &offset, &kept_stride));
}

typedef void reducer(const struct reduction *r);

static void reduce(struct td_launch *launch, reducer *const *by_dtype)
{
    struct reduction r;
    plan(&r, launch);
    if (r.kept.count == 0)
        return;
    if (r.gone.count == 0)
        memset(r.out, 0, (size_t)r.kept.count * td_dtype_size(launch->out[0].dtype));
    else
        by_dtype[launch->in[0].dtype](&r);
}

static reducer *const sums[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = count_true,
    [TD_I64] = td_reduce_sum_i64,
    [TD_F32] = td_reduce_sum_f32,
    [TD_F64] = td_reduce_sum_f64,
};
static reducer *const maxima[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = td_reduce_max_bool, [TD_I32] = td_reduce_max_i32, [TD_I64] = td_reduce_max_i64,
    [TD_F32] = td_reduce_max_f32,   [TD_F64] = td_reduce_max_f64,
};
static reducer *const minima[TD_DTYPE_LIMIT] = {
    [TD_BOOL] = td_reduce_min_bool, [TD_I32] = td_reduce_min_i32, [TD_I64] = td_reduce_min_i64,
    [TD_F32] = td_reduce_min_f32,   [TD_F64] = td_reduce_min_f64,
};

void TD_CPU(sum)(struct td_launch *launch)
{
    reduce(launch, sums);
}

void TD_CPU(max)(struct td_launch *launch)
{
    reduce(launch, maxima);
}

void TD_CPU(min)(struct td_launch *launch)
{
    reduce(launch, minima);
}

/* 0 / 0 makes the mean of nothing nan. */
void TD_CPU(mean)(struct td_launch *launch)
{
    int64_t results = td_operand_numel(&launch->out[0]), count = 1;
    const struct td_operand *x = &launch->in[0];
    uint32_t mask = td_reduced_dims(&((const struct td_mean_attrs *)launch->attrs)->dims, x->rank);
    for (int d = 0; d < x->rank; d++)
        count *= mask & 1u << d ? x->shape[d] : 1;
    reduce(launch, sums);
    float *floats = launch->out[0].data;
    double *doubles = launch->out[0].data;
    for (int64_t i = 0; i < results && launch->out[0].dtype == TD_F32; i++)
        floats[i] /= (float)count;
    for (int64_t i = 0; i < results && launch->out[0].dtype == TD_F64; i++)
        doubles[i] /= (double)count;
}
