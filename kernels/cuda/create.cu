/* Tensors from nothing: constants, arange, linspace and eye. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/make.h"
#include "kernels/numbers.h"
#include "kernels/scalar.h"

/* ---- constants ---- */

static void zero(const struct td_operand &out)
{
    size_t bytes = (size_t)td_operand_numel(&out) * td_dtype_size(out.dtype);
    if (bytes)
        td_cuda_check(cudaMemsetAsync(out.data, 0, bytes, td_stream), "zeros");
}

static void fill(const struct td_operand &out, struct td_number number)
{
    uint64_t element = 0;
    struct td_operand value = out;
    td_number_store(number, out.dtype, &element);
    value.data = &element;
    value.immediate = true;
    td_cuda_copy(out, value);
}

/* Zeros until the uploads arrive, so that a client that stops half way reads nobody else's bytes. */
void TD_CUDA(from)(struct td_launch *launch)
{
    zero(launch->out[0]);
}

void TD_CUDA(zeros)(struct td_launch *launch)
{
    zero(launch->out[0]);
}

void TD_CUDA(ones)(struct td_launch *launch)
{
    fill(launch->out[0], td_whole_number(1));
}

void TD_CUDA(full)(struct td_launch *launch)
{
    fill(launch->out[0], ((const struct td_full_attrs *)launch->attrs)->value);
}

/* The diagonal is a row with a stride of its own. */
void TD_CUDA(eye)(struct td_launch *launch)
{
    struct td_operand diagonal = launch->out[0];
    int64_t rows = diagonal.shape[0], columns = diagonal.shape[1];
    zero(launch->out[0]);
    diagonal.rank = 1;
    diagonal.shape[0] = rows < columns ? rows : columns;
    diagonal.stride[0] = columns + 1;
    fill(diagonal, td_whole_number(1));
}

/* ---- by place ---- */

namespace
{
template <class Y, int N> struct integers_from {
    uint64_t first, by;
    TD_HD void operator()(int64_t k, Y *y) const
    {
        for (int j = 0; j < N; j++)
            y[j] = (Y)(first + (uint64_t)(k * N + j) * by);
    }
};
template <class Y, int N> struct reals_from {
    double start, step;
    TD_HD void operator()(int64_t k, Y *y) const
    {
        for (int j = 0; j < N; j++)
            y[j] = (Y)(start + (double)(k * N + j) * step);
    }
};
template <class Y, int N> struct reals_between {
    double start, end, step;
    int64_t count;
    TD_HD void operator()(int64_t k, Y *y) const
    {
        for (int j = 0; j < N; j++)
            y[j] = (Y)td_linspace_at(start, end, step, k * N + j, count);
    }
};
template <class Y, int N> struct integers_between {
    double start, end, step;
    int64_t count;
    TD_HD void operator()(int64_t k, Y *y) const
    {
        for (int j = 0; j < N; j++)
            y[j] = (Y)td_i64_of_f64(td_linspace_at(start, end, step, k * N + j, count));
    }
};
} // namespace

/* Each element by itself, start + i * step, so that nothing adds up; in f64 for both floats, as PyTorch does. */
void TD_CUDA(arange)(struct td_launch *launch)
{
    const struct td_arange_attrs *a = (const struct td_arange_attrs *)launch->attrs;
    uint64_t first = (uint64_t)td_number_integer(a->start), by = (uint64_t)td_number_integer(a->step);
    double start = td_number_real(a->start), step = td_number_real(a->step);
    const struct td_operand &y = launch->out[0];
    switch (y.dtype) {
    case TD_I32:
        return td_make<integers_from<uint32_t, 4>, uint32_t, 4>(y, {first, by});
    case TD_I64:
        return td_make<integers_from<uint64_t, 2>, uint64_t, 2>(y, {first, by});
    case TD_F32:
        return td_make<reals_from<float, 4>, float, 4>(y, {start, step});
    case TD_F64:
        return td_make<reals_from<double, 2>, double, 2>(y, {start, step});
    }
}

void TD_CUDA(linspace)(struct td_launch *launch)
{
    const struct td_linspace_attrs *a = (const struct td_linspace_attrs *)launch->attrs;
    const struct td_operand &y = launch->out[0];
    int64_t count = td_operand_numel(&y);
    double start = td_linspace_end(a->start, y.dtype), end = td_linspace_end(a->end, y.dtype);
    double step = count > 1 ? (end - start) / (double)(count - 1) : 0;
    switch (y.dtype) {
    case TD_I32:
        return td_make<integers_between<int32_t, 4>, int32_t, 4>(y, {start, end, step, count});
    case TD_I64:
        return td_make<integers_between<int64_t, 2>, int64_t, 2>(y, {start, end, step, count});
    case TD_F32:
        return td_make<reals_between<float, 4>, float, 4>(y, {start, end, step, count});
    case TD_F64:
        return td_make<reals_between<double, 2>, double, 2>(y, {start, end, step, count});
    }
}
