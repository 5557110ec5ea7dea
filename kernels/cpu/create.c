/* Tensors from nothing: constants and arange. Results are always contiguous. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/internal.h"
#include "kernels/scalar.h"

static void fill(const struct td_operand *out, struct td_number number)
{
    int64_t count = td_operand_numel(out);
    uint64_t element = 0;
    if (count == 0)
        return;
    td_number_store(number, out->dtype, &element);
    uint8_t *bytes = out->data;
    uint32_t *words = out->data, word;
    uint64_t *doubles = out->data;
    memcpy(&word, &element, sizeof word);
    switch ((enum td_dtype)out->dtype) {
    case TD_BOOL:
        memset(bytes, number.category == TD_FLOATING ? number.f != 0 : number.i != 0, (size_t)count);
        return;
    case TD_F32:
        for (int64_t i = 0; i < count; i++)
            words[i] = word;
        return;
    case TD_I64:
    case TD_F64:
        for (int64_t i = 0; i < count; i++)
            doubles[i] = element;
        return;
    case TD_DTYPE_NONE:
        return;
    }
}

/* Zeros until the uploads arrive, so that a client that stops half way reads nobody else's bytes. */
void TD_CPU(from)(struct td_launch *launch)
{
    fill(&launch->out[0], (struct td_number){.category = TD_INTEGER, .i = 0});
}

void TD_CPU(zeros)(struct td_launch *launch)
{
    fill(&launch->out[0], (struct td_number){.category = TD_INTEGER, .i = 0});
}

void TD_CPU(ones)(struct td_launch *launch)
{
    fill(&launch->out[0], (struct td_number){.category = TD_INTEGER, .i = 1});
}

void TD_CPU(full)(struct td_launch *launch)
{
    fill(&launch->out[0], ((const struct td_full_attrs *)launch->attrs)->value);
}

/* Each element by itself, start + i * step, so that nothing adds up; in f64 for both floats, as PyTorch does. */
void TD_CPU(arange)(struct td_launch *launch)
{
    const struct td_arange_attrs *a = launch->attrs;
    int64_t count = td_operand_numel(&launch->out[0]);
    uint64_t first = (uint64_t)td_number_integer(a->start), by = (uint64_t)td_number_integer(a->step);
    double start = td_number_real(a->start), step = td_number_real(a->step);
    uint64_t *integers = launch->out[0].data;
    float *floats = launch->out[0].data;
    double *doubles = launch->out[0].data;
    switch ((enum td_dtype)launch->out[0].dtype) {
    case TD_I64:
        for (int64_t i = 0; i < count; i++)
            integers[i] = first + (uint64_t)i * by;
        return;
    case TD_F32:
        for (int64_t i = 0; i < count; i++)
            floats[i] = (float)(start + (double)i * step);
        return;
    case TD_F64:
        for (int64_t i = 0; i < count; i++)
            doubles[i] = start + (double)i * step;
        return;
    case TD_BOOL:
    case TD_DTYPE_NONE:
        return;
    }
}
