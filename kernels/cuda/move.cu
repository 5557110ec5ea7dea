/* What is moved within a tensor, repeated and padded: each element of the result is fetched from where it comes from.
 * SPDX-License-Identifier: Apache-2.0 */
#include <utility>

#include "kernels/cuda/elements.h"
#include "kernels/cuda/grid.h"

/* Where place k of the result's dimension comes from in x: t = k + add, and then */
enum way {
    AS_IT_IS, /* t */
    CUT,      /* t, or nowhere where it is outside of x */
    EDGE,     /* the nearest that is in x */
    MIRRORED, /* back from x's first or last element */
    AROUND,   /* modulo x's size */
    BACK,     /* from x's end */
    EACH      /* t / times: all of x in their turn, each several times */
};

struct axis {
    int way;
    uint64_t out; /* size of the result */
    int64_t size, add, times, stride;
    int64_t to; /* step in the result */
};

struct movement {
    int rank;
    uint64_t count;
    axis v[TD_RANK_MAX];
};

/* -1: nowhere. */
__device__ static int64_t source_of(const axis &a, int64_t k)
{
    int64_t t = k + a.add;
    switch (a.way) {
    case CUT:
        return t < 0 || t >= a.size ? -1 : t;
    case EDGE:
        return t < 0 ? 0 : t < a.size ? t : a.size - 1;
    case MIRRORED:
        t = t < 0 ? -t : t;
        return t < a.size ? t : 2 * (a.size - 1) - t;
    case AROUND: {
        uint64_t at = (uint64_t)t;
        return (int64_t)td_split(&at, (uint64_t)a.size);
    }
    case BACK:
        return a.size - 1 - t;
    case EACH: {
        uint64_t at = (uint64_t)t;
        td_split(&at, (uint64_t)a.times);
        return (int64_t)at;
    }
    default:
        return t;
    }
}

template <class T> __global__ void fetch(movement m, const T *x, T *y, T value)
{
    uint64_t i = td_thread(), at = i;
    int64_t offset = 0;
    bool inside = true;
    if (i >= m.count)
        return;
    for (int d = m.rank - 1; d >= 0; d--) {
        int64_t k = (int64_t)(d ? td_split(&at, m.v[d].out) : at), from = source_of(m.v[d], k);
        inside &= from >= 0;
        offset += from * m.v[d].stride;
    }
    y[i] = inside ? x[offset] : value;
}

struct fetching {
    const movement &m;
    const struct td_operand &x, &out;
    const void *value;
    template <class T> void with() const
    {
        T element;
        memset(&element, 0, sizeof element);
        if (value)
            memcpy(&element, value, sizeof element);
        td_enqueue(fetch<T>, td_blocks((int64_t)m.count, 1, TD_THREADS), TD_THREADS, m, (const T *)x.data,
                   (T *)out.data, element);
    }
};

/* out, which is dense, with x's elements; value: of what comes from nowhere. Dimensions are gone through as they lie
 * in memory. */
static void move(movement m, const struct td_operand &x, const struct td_operand &out, const void *value)
{
    for (int d = 1; d < m.rank; d++)
        for (int e = d; e > 0 && m.v[e - 1].to < m.v[e].to; e--)
            std::swap(m.v[e - 1], m.v[e]);
    td_for_bytes(td_dtype_size(out.dtype), fetching{m, x, out, value});
}

/* All dimensions as they are. */
static movement stay(const struct td_operand *x, const struct td_operand *out)
{
    movement m;
    memset(&m, 0, sizeof m);
    m.rank = out->rank;
    m.count = (uint64_t)td_operand_numel(out);
    for (int d = 0; d < out->rank; d++) {
        m.v[d].out = (uint64_t)out->shape[d];
        m.v[d].size = x->shape[d];
        m.v[d].stride = x->stride[d];
        m.v[d].to = out->stride[d];
    }
    return m;
}

void TD_CUDA(flip)(struct td_launch *launch)
{
    const struct td_dims *dims = &((const struct td_flip_attrs *)launch->attrs)->dims;
    const struct td_operand *x = &launch->in[0];
    movement m = stay(x, &launch->out[0]);
    for (int64_t k = 0; k < dims->count && x->rank; k++)
        m.v[td_wrap_dim(dims->v[k], x->rank)].way = BACK;
    move(m, *x, launch->out[0], NULL);
}

/* x is contiguous here: without dims it is one row. */
void TD_CUDA(roll)(struct td_launch *launch)
{
    const struct td_roll_attrs *a = (const struct td_roll_attrs *)launch->attrs;
    struct td_operand x = launch->in[0], out = launch->out[0];
    bool row = a->dims.count <= 0;
    int64_t count = td_operand_numel(&x);
    if (count == 0)
        return;
    if (row) {
        x.rank = out.rank = 1;
        x.shape[0] = out.shape[0] = count;
        x.stride[0] = out.stride[0] = 1;
    }
    movement m = stay(&x, &out);
    for (int64_t k = 0; k < a->shifts.count; k++) {
        int d = row ? 0 : td_wrap_dim(a->dims.v[k], x.rank);
        int64_t size = x.shape[d];
        m.v[d].way = AROUND;
        m.v[d].add = ((m.v[d].add - a->shifts.v[k] % size) % size + size) % size;
    }
    move(m, x, out, NULL);
}

void TD_CUDA(pad)(struct td_launch *launch)
{
    static const int ways[] = {CUT, MIRRORED, EDGE, AROUND}; /* by enum td_padding */
    const struct td_pad_attrs *a = (const struct td_pad_attrs *)launch->attrs;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct td_number number = {};
    int64_t element = 0;
    movement m = stay(x, out);
    for (int64_t k = 0; k < a->pads.count / 2; k++) {
        axis &axis = m.v[x->rank - 1 - k];
        axis.way = ways[a->mode];
        /* Around is counted from 0 on. */
        axis.add = -a->pads.v[2 * k] + (a->mode == TD_CIRCULAR ? axis.size : 0);
    }
    number.category = TD_FLOATING;
    number.f = a->value;
    td_number_store(number, out->dtype, &element);
    move(m, *x, *out, &element);
}

void TD_CUDA(repeat)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct td_operand wide = *out; /* x with as many dimensions */
    int added = out->rank - x->rank;
    for (int d = 0; d < out->rank; d++) {
        wide.shape[d] = d < added ? 1 : x->shape[d - added];
        wide.stride[d] = d < added ? 0 : x->stride[d - added];
    }
    wide.data = x->data;
    movement m = stay(&wide, out);
    for (int d = 0; d < out->rank; d++)
        m.v[d].way = wide.shape[d] == out->shape[d] ? AS_IT_IS : AROUND;
    move(m, wide, *out, NULL);
}

/* Without dim x is contiguous here, and one row. */
void TD_CUDA(repeat_interleave)(struct td_launch *launch)
{
    const struct td_repeat_interleave_attrs *a = (const struct td_repeat_interleave_attrs *)launch->attrs;
    struct td_operand x = launch->in[0];
    bool row = a->dim == INT64_MIN;
    if (td_operand_numel(&launch->out[0]) == 0)
        return;
    if (row) {
        x.shape[0] = td_operand_numel(&x);
        x.stride[0] = 1;
        x.rank = 1;
    }
    movement m = stay(&x, &launch->out[0]);
    axis &axis = m.v[row ? 0 : td_wrap_dim(a->dim, x.rank)];
    axis.way = EACH;
    axis.times = a->repeats;
    move(m, x, launch->out[0], NULL);
}

/* ---- diagonals ---- */

/* x, or 0 on one side of the diagonal. The last two dimensions of the result are rows and columns. */
template <class T>
__global__ void keep_triangle(td_grid<1> batches, uint64_t rows, uint64_t columns, int64_t row_step,
                              int64_t column_step, int64_t diagonal, bool upper, const T *x, T *y)
{
    uint64_t i = td_thread(), batch = i;
    int64_t offset[1] = {0};
    if (i >= batches.count * rows * columns)
        return;
    int64_t column = (int64_t)td_split(&batch, columns), row = (int64_t)td_split(&batch, rows);
    td_grid_seek(batches, batch, offset);
    bool kept = upper ? column - row >= diagonal : column - row <= diagonal;
    T zero;
    memset(&zero, 0, sizeof zero);
    y[i] = kept ? x[offset[0] + row * row_step + column * column_step] : zero;
}

struct triangle {
    const td_grid<1> &batches;
    const struct td_operand *x, *out;
    int64_t diagonal;
    bool upper;
    template <class T> void with() const
    {
        int row = x->rank - 2, column = x->rank - 1;
        uint64_t rows = (uint64_t)x->shape[row], columns = (uint64_t)x->shape[column];
        td_enqueue(keep_triangle<T>, td_blocks((int64_t)(batches.count * rows * columns), 1, TD_THREADS), TD_THREADS,
                   batches, rows, columns, x->stride[row], x->stride[column], diagonal, upper, (const T *)x->data,
                   (T *)out->data);
    }
};

static void keep(struct td_launch *launch, bool upper)
{
    const struct td_operand *x = &launch->in[0];
    td_grid<1> batches = td_grid_begin<1>();
    for (int d = 0; d < x->rank - 2; d++)
        td_grid_add(batches, x->shape[d], {x->stride[d]});
    td_for_bytes(td_dtype_size(x->dtype),
                 triangle{batches, x, &launch->out[0], ((const struct td_tril_attrs *)launch->attrs)->diagonal, upper});
}

void TD_CUDA(tril)(struct td_launch *launch)
{
    keep(launch, false);
}

void TD_CUDA(triu)(struct td_launch *launch)
{
    keep(launch, true);
}

void TD_CUDA(diag_embed)(struct td_launch *launch)
{
    const struct td_diag_embed_attrs *a = (const struct td_diag_embed_attrs *)launch->attrs;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    int d0 = td_wrap_dim(a->dim0, out->rank), d1 = td_wrap_dim(a->dim1, out->rank), to = 0;
    int64_t skipped = a->offset < 0 ? -a->offset * out->stride[d0] : a->offset * out->stride[d1];
    size_t size = td_dtype_size(out->dtype);
    struct td_operand diagonal = *x;
    if (td_operand_numel(out))
        td_cuda_check(cudaMemsetAsync(out->data, 0, (size_t)td_operand_numel(out) * size, td_stream), "diag_embed");
    for (int d = 0; d < out->rank; d++)
        if (d != d0 && d != d1)
            diagonal.stride[to++] = out->stride[d];
    diagonal.stride[to] = out->stride[d0] + out->stride[d1];
    diagonal.data = (char *)out->data + skipped * (int64_t)size;
    td_cuda_copy(diagonal, *x);
}
