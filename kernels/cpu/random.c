/* Random tensors. Element i's bits depend on seed, counter and i alone: block counter + i / n of Philox gives elements
 * n * (i / n) onward, n being how many a block holds. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/internal.h"
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

/* each: elements that a block holds; size: bytes of one. */
static void draw_all(struct td_launch *launch, fill_batch *fill, int64_t each)
{
    uint64_t elements[4 * BATCH];
    struct batch batch;
    size_t size = td_dtype_size(launch->out[0].dtype);
    int64_t count = td_operand_numel(&launch->out[0]), step = each * BATCH;
    char *out = launch->out[0].data;
    for (int64_t done = 0; done < count; done += step) {
        int64_t now = count - done < step ? count - done : step;
        draw(&batch, launch->seed, launch->counter + (uint64_t)(done / each));
        fill(&batch, launch, elements);
        memcpy(out + (size_t)done * size, elements, (size_t)now * size);
    }
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
    if (launch->out[0].dtype == TD_I64)
        memcpy(to, drawn, sizeof drawn);
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
