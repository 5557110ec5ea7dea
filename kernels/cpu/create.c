/* Tensors from nothing: constants, arange, linspace and eye. Results are always contiguous. SPDX-License-Identifier:
 * Apache-2.0 */
#include <string.h>

#include "kernels/cpu/internal.h"
#include "kernels/cpu/parallel.h"
#include "kernels/numbers.h"
#include "kernels/scalar.h"

struct fill {
    const struct td_operand *out;
    uint64_t element;
};

static void fill_part(const void *data, int64_t from, int64_t to)
{
    const struct fill *fill = data;
    uint8_t *bytes = fill->out->data, byte;
    uint16_t *halves = fill->out->data, half;
    uint32_t *words = fill->out->data, word;
    uint64_t *doubles = fill->out->data;
    memcpy(&byte, &fill->element, sizeof byte);
    memcpy(&half, &fill->element, sizeof half);
    memcpy(&word, &fill->element, sizeof word);
    switch (td_dtype_size(fill->out->dtype)) {
    case 1:
        memset(bytes + from, byte, (size_t)(to - from));
        return;
    case 2:
        for (int64_t i = from; i < to; i++)
            halves[i] = half;
        return;
    case 4:
        for (int64_t i = from; i < to; i++)
            words[i] = word;
        return;
    default:
        for (int64_t i = from; i < to; i++)
            doubles[i] = fill->element;
    }
}

static void fill(const struct td_operand *out, struct td_number number)
{
    struct fill fill = {.out = out};
    td_number_store(number, out->dtype, &fill.element);
    td_parallel(td_operand_numel(out), TD_GRAIN, 0, fill_part, &fill);
}

/* Zeros until the uploads arrive, so that a client that stops half way reads nobody else's bytes. */
void TD_CPU(from)(struct td_launch *launch)
{
    fill(&launch->out[0], td_whole_number(0));
}

void TD_CPU(zeros)(struct td_launch *launch)
{
    fill(&launch->out[0], td_whole_number(0));
}

void TD_CPU(ones)(struct td_launch *launch)
{
    fill(&launch->out[0], td_whole_number(1));
}

void TD_CPU(full)(struct td_launch *launch)
{
    fill(&launch->out[0], ((const struct td_full_attrs *)launch->attrs)->value);
}

/* Each element by itself, start + i * step, so that nothing adds up; in f64 for both floats, as PyTorch does. */
static void arange_part(const void *data, int64_t from, int64_t to)
{
    const struct td_launch *launch = data;
    const struct td_arange_attrs *a = launch->attrs;
    uint64_t first = (uint64_t)td_number_integer(a->start), by = (uint64_t)td_number_integer(a->step);
    double start = td_number_real(a->start), step = td_number_real(a->step);
    uint64_t *integers = launch->out[0].data;
    uint32_t *halves = launch->out[0].data;
    float *floats = launch->out[0].data;
    double *doubles = launch->out[0].data;
    switch ((enum td_dtype)launch->out[0].dtype) {
    case TD_I32:
        for (int64_t i = from; i < to; i++)
            halves[i] = (uint32_t)(first + (uint64_t)i * by);
        return;
    case TD_I64:
        for (int64_t i = from; i < to; i++)
            integers[i] = first + (uint64_t)i * by;
        return;
    case TD_F32:
        for (int64_t i = from; i < to; i++)
            floats[i] = (float)(start + (double)i * step);
        return;
    case TD_F64:
        for (int64_t i = from; i < to; i++)
            doubles[i] = start + (double)i * step;
        return;
    default: /* no kernel works in another one */
        return;
    }
}

void TD_CPU(arange)(struct td_launch *launch)
{
    td_parallel(td_operand_numel(&launch->out[0]), TD_GRAIN, 0, arange_part, launch);
}

static void linspace_part(const void *data, int64_t from, int64_t to)
{
    const struct td_launch *launch = data;
    const struct td_linspace_attrs *a = launch->attrs;
    int64_t count = td_operand_numel(&launch->out[0]);
    double start = td_linspace_end(a->start, launch->out[0].dtype), end = td_linspace_end(a->end, launch->out[0].dtype);
    double step = count > 1 ? (end - start) / (double)(count - 1) : 0;
    float *floats = launch->out[0].data;
    double *doubles = launch->out[0].data;
    int32_t *halves = launch->out[0].data;
    int64_t *integers = launch->out[0].data;
    for (int64_t i = from; i < to && launch->out[0].dtype == TD_I32; i++)
        halves[i] = (int32_t)td_i64_of_f64(td_linspace_at(start, end, step, i, count));
    for (int64_t i = from; i < to && launch->out[0].dtype == TD_I64; i++)
        integers[i] = td_i64_of_f64(td_linspace_at(start, end, step, i, count));
    for (int64_t i = from; i < to && launch->out[0].dtype == TD_F32; i++)
        floats[i] = (float)td_linspace_at(start, end, step, i, count);
    for (int64_t i = from; i < to && launch->out[0].dtype == TD_F64; i++)
        doubles[i] = td_linspace_at(start, end, step, i, count);
}

void TD_CPU(linspace)(struct td_launch *launch)
{
    td_parallel(td_operand_numel(&launch->out[0]), TD_GRAIN, 0, linspace_part, launch);
}

void TD_CPU(eye)(struct td_launch *launch)
{
    const struct td_operand *out = &launch->out[0];
    int64_t rows = out->shape[0], columns = out->shape[1], size = (int64_t)td_dtype_size(out->dtype);
    uint64_t one = 0;
    fill(out, td_whole_number(0));
    td_number_store(td_whole_number(1), out->dtype, &one);
    for (int64_t i = 0; i < rows && i < columns; i++)
        memcpy((char *)out->data + i * (columns + 1) * size, &one, (size_t)size);
}
