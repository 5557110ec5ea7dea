/* Random tensors. Element i's bits depend on seed, counter and i alone: block counter + i / n of Philox gives elements
 * n * (i / n) onward, n being how many a block holds. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/internal.h"
#include "kernels/cpu/parallel.h"
#include "kernels/numbers.h"
#include "kernels/scalar.h"

/* Blocks drawn at once: their words and elements stay in L1. */
#define BATCH 64

/* The words of BATCH blocks, word k of all of them side by side. */
struct batch {
    uint32_t word[4][BATCH];
};

static void draw(struct batch *batch, uint64_t seed, uint64_t block)
{
    for (int j = 0; j < BATCH; j++) {
        struct td_words words = td_philox(seed, block + (uint64_t)j);
        batch->word[0][j] = words.w0;
        batch->word[1][j] = words.w1;
        batch->word[2][j] = words.w2;
        batch->word[3][j] = words.w3;
    }
}

/* Turns a batch into elements of out's dtype at to. */
typedef void fill_batch(const struct batch *batch, const struct td_launch *launch, void *to);

struct drawing {
    const struct td_launch *launch;
    fill_batch *fill;
    int64_t each; /* elements that a block holds */
};

/* Items are batches. */
static void draw_part(const void *data, int64_t from, int64_t to)
{
    const struct drawing *d = data;
    uint64_t elements[4 * BATCH];
    struct batch batch;
    size_t size = td_dtype_size(d->launch->out[0].dtype);
    int64_t count = td_operand_numel(&d->launch->out[0]), step = d->each * BATCH;
    for (int64_t k = from; k < to; k++) {
        int64_t done = k * step, now = count - done < step ? count - done : step;
        draw(&batch, d->launch->seed, d->launch->counter + (uint64_t)(k * BATCH));
        d->fill(&batch, d->launch, elements);
        memcpy((char *)d->launch->out[0].data + (size_t)done * size, elements, (size_t)now * size);
    }
}

static void draw_all(struct td_launch *launch, fill_batch *fill, int64_t each)
{
    struct drawing drawing = {launch, fill, each};
    int64_t step = each * BATCH, count = td_operand_numel(&launch->out[0]);
    td_parallel((count + step - 1) / step, td_grain(step), 0, draw_part, &drawing);
}

static void uniform_f32(const struct batch *batch, const struct td_launch *launch, void *to)
{
    (void)launch;
    float *y = to;
    for (int j = 0; j < BATCH; j++)
        for (int k = 0; k < 4; k++)
            y[4 * j + k] = td_uniform_f32(batch->word[k][j]);
}

static void uniform_f64(const struct batch *batch, const struct td_launch *launch, void *to)
{
    (void)launch;
    double *y = to;
    for (int j = 0; j < BATCH; j++) {
        y[2 * j] = td_uniform_f64(batch->word[0][j], batch->word[1][j]);
        y[2 * j + 1] = td_uniform_f64(batch->word[2][j], batch->word[3][j]);
    }
}

static void normal_f32(const struct batch *batch, const struct td_launch *launch, void *to)
{
    (void)launch;
    float *y = to, pair[4][BATCH];
    for (int k = 0; k < 4; k += 2)
        for (int j = 0; j < BATCH; j++)
            td_normal_f32(td_uniform_f32(batch->word[k][j]), td_uniform_f32(batch->word[k + 1][j]), &pair[k][j],
                          &pair[k + 1][j]);
    for (int j = 0; j < BATCH; j++)
        for (int k = 0; k < 4; k++)
            y[4 * j + k] = pair[k][j];
}

static void normal_f64(const struct batch *batch, const struct td_launch *launch, void *to)
{
    (void)launch;
    double *y = to;
    for (int j = 0; j < BATCH; j++)
        td_normal_f64(td_uniform_f64(batch->word[0][j], batch->word[1][j]),
                      td_uniform_f64(batch->word[2][j], batch->word[3][j]), &y[2 * j], &y[2 * j + 1]);
}

static void integers(const struct batch *batch, const struct td_launch *launch, void *to)
{
    const struct td_randint_attrs *a = launch->attrs;
    uint64_t range = (uint64_t)a->high - (uint64_t)a->low;
    int64_t drawn[2 * BATCH];
    for (int j = 0; j < BATCH; j++)
        for (int k = 0; k < 2; k++)
            drawn[2 * j + k] = td_integer_between(a->low, range, batch->word[2 * k][j], batch->word[2 * k + 1][j]);
    float *floats = to;
    double *doubles = to;
    int32_t *halves = to;
    if (launch->out[0].dtype == TD_I64)
        memcpy(to, drawn, sizeof drawn);
    for (int j = 0; j < 2 * BATCH && launch->out[0].dtype == TD_I32; j++)
        halves[j] = (int32_t)drawn[j];
    for (int j = 0; j < 2 * BATCH && launch->out[0].dtype == TD_F32; j++)
        floats[j] = (float)drawn[j];
    for (int j = 0; j < 2 * BATCH && launch->out[0].dtype == TD_F64; j++)
        doubles[j] = (double)drawn[j];
}

void TD_CPU(rand)(struct td_launch *launch)
{
    bool wide = launch->out[0].dtype == TD_F64;
    draw_all(launch, wide ? uniform_f64 : uniform_f32, wide ? 2 : 4);
}

void TD_CPU(randn)(struct td_launch *launch)
{
    bool wide = launch->out[0].dtype == TD_F64;
    draw_all(launch, wide ? normal_f64 : normal_f32, wide ? 2 : 4);
}

void TD_CPU(randint)(struct td_launch *launch)
{
    draw_all(launch, integers, 2);
}

/* ---- dropout ---- */

/* y = x * scale where kept. */
#define DROP(name, type)                                                                               \
    static void name(const float *drawn, float p, double scale, int64_t count, const type *x, type *y) \
    {                                                                                                  \
        type factor = (type)scale;                                                                     \
        for (int64_t i = 0; i < count; i++)                                                            \
            y[i] = drawn[i] >= p ? x[i] * factor : 0;                                                  \
    }
DROP(drop_f32, float)
DROP(drop_f64, double)

/* Element i row by row decides, wherever it lies: rows that are not dense are gathered and scattered. */
static void drop_batch(const struct td_launch *launch, const float *drawn, int64_t first, int64_t count, bool dense)
{
    const struct td_dropout_attrs *a = launch->attrs;
    const struct td_operand *x = &launch->in[0], *y = &launch->out[0];
    int64_t size = (int64_t)td_dtype_size(y->dtype), from[4 * BATCH], to[4 * BATCH];
    uint64_t gathered[4 * BATCH], dropped[4 * BATCH];
    float p = td_f32_at_least(a->p);
    char *source = (char *)x->data + first * size, *target = (char *)y->data + first * size;
    for (int64_t i = 0; i < count && !dense; i++) {
        from[i] = to[i] = 0;
        int64_t left = first + i;
        for (int d = y->rank - 1; d >= 0; left /= y->shape[d--]) {
            from[i] += left % y->shape[d] * x->stride[d];
            to[i] += left % y->shape[d] * y->stride[d];
        }
        memcpy((char *)gathered + i * size, (char *)x->data + from[i] * size, (size_t)size);
    }
    if (!dense) {
        source = (char *)gathered;
        target = (char *)dropped;
    }
    if (y->dtype == TD_F32)
        drop_f32(drawn, p, 1 / (1 - a->p), count, (const float *)(void *)source, (float *)(void *)target);
    else
        drop_f64(drawn, p, 1 / (1 - a->p), count, (const double *)(void *)source, (double *)(void *)target);
    for (int64_t i = 0; i < count && !dense; i++)
        memcpy((char *)y->data + to[i] * size, target + i * size, (size_t)size);
}

static bool is_dense(const struct td_operand *operand)
{
    int64_t step = 1;
    for (int d = operand->rank - 1; d >= 0; step *= operand->shape[d--])
        if (operand->shape[d] != 1 && operand->stride[d] != step)
            return false;
    return true;
}

/* Items are batches. */
static void dropout_part(const void *data, int64_t from, int64_t to)
{
    const struct td_launch *launch = data;
    struct batch batch;
    float drawn[4 * BATCH];
    bool dense = is_dense(&launch->in[0]) && is_dense(&launch->out[0]);
    int64_t count = td_operand_numel(&launch->out[0]);
    for (int64_t k = from; k < to; k++) {
        int64_t done = k * 4 * BATCH;
        draw(&batch, launch->seed, launch->counter + (uint64_t)(k * BATCH));
        uniform_f32(&batch, launch, drawn);
        drop_batch(launch, drawn, done, count - done < 4 * BATCH ? count - done : 4 * BATCH, dense);
    }
}

void TD_CPU(dropout)(struct td_launch *launch)
{
    const struct td_dropout_attrs *a = launch->attrs;
    if (!a->training || a->p == 0) {
        TD_CPU(copy_operand)(&launch->out[0], &launch->in[0]);
        return;
    }
    if (a->p == 1) {
        struct td_operand zero = launch->out[0];
        zero.data = &(uint64_t){0};
        memset(zero.stride, 0, sizeof zero.stride);
        TD_CPU(copy_operand)(&launch->out[0], &zero);
        return;
    }
    int64_t batches = (td_operand_numel(&launch->out[0]) + 4 * BATCH - 1) / (4 * BATCH);
    td_parallel(batches, td_grain(4 * BATCH), 0, dropout_part, launch);
}
