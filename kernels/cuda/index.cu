/* embedding, index_select, index_add, index_copy and index_fill. All indices are checked before anything is written.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/indices.h"
#include "kernels/cuda/places.h"

void TD_CUDA(embedding)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    struct td_placing p = td_placing_begin(x, out);
    if (!td_cuda_indices_fit(launch, index, 0, x->shape[0]))
        return;
    td_placing_index(&p, index->data, 0, x->stride[0], 0);
    for (int d = 0; d < index->rank; d++)
        td_placing_item(&p, index->shape[d], {0, out->stride[d], index->stride[d], 0, 0});
    td_placing_column(&p, x->shape[1], x->stride[1], out->stride[index->rank]);
    td_cuda_get_places(&p);
}

/* Slices of named at the index, and those of plain one behind the other. A tensor without dimensions is one slice. */
static struct td_placing slices(const struct td_operand *named, const struct td_operand *index, int dim,
                                const struct td_operand *plain, const int64_t *plain_stride)
{
    struct td_placing p = td_placing_begin(named, plain);
    int64_t count = td_operand_numel(index), step = index->rank ? index->stride[0] : 0;
    p.keys = named->rank ? named->shape[dim] : 1;
    td_placing_index(&p, index->data, p.keys, named->rank ? named->stride[dim] : 0, 1);
    if (named->rank == 0)
        td_placing_item(&p, count, {0, 0, step, 0, 1});
    for (int d = 0; d < named->rank; d++)
        if (d == dim)
            td_placing_item(&p, count, {0, plain_stride[d], step, 0, 1});
        else
            td_placing_column(&p, named->shape[d], named->stride[d], plain_stride[d]);
    return p;
}

void TD_CUDA(index_select)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_index_select_attrs *)launch->attrs)->dim, x->rank);
    if (!td_cuda_indices_fit(launch, index, 0, x->rank ? x->shape[dim] : 1))
        return;
    struct td_placing p = slices(x, index, dim, out, out->stride);
    td_cuda_get_places(&p);
}

/* out becomes x, and the places of its slices are found; false if an index does not fit. */
static bool begin(struct td_launch *launch, const int64_t *source_stride, struct td_placing *p)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_index_add_attrs *)launch->attrs)->dim, x->rank);
    int64_t size = x->rank ? x->shape[dim] : 1;
    bool from_end = launch->op->id == TD_OP_index_fill; /* as in PyTorch, for this op alone */
    if (!td_cuda_indices_fit(launch, index, from_end ? -size : 0, size))
        return false;
    td_cuda_copy(*out, *x);
    *p = slices(out, index, dim, &launch->in[2], source_stride);
    return true;
}

static void put(struct td_launch *launch, const int64_t *source_stride)
{
    struct td_placing p;
    if (begin(launch, source_stride, &p) && !td_cuda_put_places(&p))
        launch->fault.code = TD_E_MEMORY;
}

void TD_CUDA(index_add)(struct td_launch *launch)
{
    struct td_placing p;
    if (begin(launch, launch->in[2].stride, &p) && !td_cuda_join_places(&p, TD_BY_SUM, false))
        launch->fault.code = TD_E_MEMORY;
}

void TD_CUDA(index_copy)(struct td_launch *launch)
{
    put(launch, launch->in[2].stride);
}

void TD_CUDA(index_fill)(struct td_launch *launch)
{
    const int64_t none[TD_RANK_MAX] = {0};
    put(launch, none);
}
