/* cat and stack. Of tensors that lie densely many are copied by one launch, whose blocks find theirs by number; each of
 * the others has its own. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/grid.h"

#define PARTS 96     /* as many as a launch's 4 KiB of arguments hold */
#define WORDS_EACH 8 /* of a thread */

/* A tensor as rows, each of which goes into a row of the result, in words. */
struct part {
    const char *data;
    uint64_t row, at; /* words of a row of it, and those before it in the result's */
};

struct parts {
    int count, word; /* bytes of a word */
    uint64_t row;    /* words of a row of the result */
    uint64_t rows;
    char *out;
    uint32_t first[PARTS + 1]; /* block of each, and how many there are */
    struct part v[PARTS];
};
static_assert(sizeof(struct parts) < 4000, "it is passed by value");

template <class T> __global__ void copy_parts(parts p)
{
    int low = 0, high = p.count;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (p.first[middle] <= blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    const part part = p.v[low];
    uint64_t begin = (uint64_t)(blockIdx.x - p.first[low]) * TD_THREADS * WORDS_EACH, count = part.row * p.rows;
    for (int k = 0; k < WORDS_EACH; k++) {
        uint64_t i = begin + (uint64_t)k * TD_THREADS + threadIdx.x, row = i;
        if (i >= count)
            return;
        uint64_t column = td_split(&row, part.row);
        ((T *)p.out)[row * p.row + part.at + column] = ((const T *)part.data)[i];
    }
}

struct copying {
    parts &p;
    template <class T> void with() const
    {
        td_enqueue(copy_parts<T>, p.first[p.count], TD_THREADS, p);
    }
};

/* Bytes become words of the greatest size that all of them are made of. */
static void flush(parts &p)
{
    uint64_t all = (uintptr_t)p.out | p.row, word = 16;
    for (int k = 0; k < p.count; k++)
        all |= (uintptr_t)p.v[k].data | p.v[k].row | p.v[k].at;
    while (all % word)
        word /= 2;
    p.row /= word;
    for (int k = 0; k < p.count; k++) {
        p.v[k].row /= word;
        p.v[k].at /= word;
        p.first[k + 1] = p.first[k] + (uint32_t)td_blocks((int64_t)(p.v[k].row * p.rows), WORDS_EACH, TD_THREADS);
    }
    if (p.count)
        td_for_words(word, copying{p});
    p.row *= word;
    p.count = 0;
}

static bool is_dense(const struct td_operand *x)
{
    int64_t step = 1;
    for (int d = x->rank - 1; d >= 0; step *= x->shape[d--])
        if (x->shape[d] != 1 && x->stride[d] != step)
            return false;
    return true;
}

/* Puts in[k] to its place: slice is a part of the result in its shape, at elements behind the row's begin. */
static void add(parts &p, const struct td_operand *in, const struct td_operand &slice, int64_t row, int64_t at)
{
    int64_t size = (int64_t)td_dtype_size(in->dtype);
    if (td_operand_numel(in) == 0)
        return;
    if (!is_dense(in)) {
        td_cuda_copy(slice, *in);
        return;
    }
    struct part part = {(const char *)in->data, (uint64_t)(row * size), (uint64_t)(at * size)};
    p.v[p.count++] = part;
    if (p.count == PARTS)
        flush(p);
}

static parts begin(const struct td_operand *out, int dim)
{
    parts p;
    memset(&p, 0, sizeof p);
    p.out = (char *)out->data;
    p.rows = 1;
    for (int d = 0; d < dim; d++)
        p.rows *= (uint64_t)out->shape[d];
    p.row = td_dtype_size(out->dtype);
    for (int d = dim; d < out->rank; d++)
        p.row *= (uint64_t)out->shape[d];
    return p;
}

void TD_CUDA(cat)(struct td_launch *launch)
{
    const struct td_operand *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_cat_attrs *)launch->attrs)->dim, out->rank);
    parts p = begin(out, dim);
    for (int64_t k = 0, at = 0; k < launch->in_count; k++) {
        const struct td_operand *in = &launch->in[k];
        struct td_operand slice = *out;
        if (in->rank == 1 && in->shape[0] == 0) /* PyTorch lets it stand in any cat */
            continue;
        slice.shape[dim] = in->shape[dim];
        slice.data = (char *)out->data + at * out->stride[dim] * (int64_t)td_dtype_size(out->dtype);
        add(p, in, slice, in->shape[dim] * out->stride[dim], at * out->stride[dim]);
        at += in->shape[dim];
    }
    flush(p);
}

void TD_CUDA(stack)(struct td_launch *launch)
{
    const struct td_operand *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_stack_attrs *)launch->attrs)->dim, out->rank);
    parts p = begin(out, dim);
    for (int k = 0; k < launch->in_count; k++) {
        struct td_operand slice = launch->in[k];
        for (int d = 0; d < slice.rank; d++)
            slice.stride[d] = out->stride[d < dim ? d : d + 1];
        slice.data = (char *)out->data + k * out->stride[dim] * (int64_t)td_dtype_size(out->dtype);
        add(p, &launch->in[k], slice, out->stride[dim], k * out->stride[dim]);
    }
    flush(p);
}
