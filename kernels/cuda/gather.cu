/* gather, scatter, scatter_add and scatter_reduce: one index for each element. All indices are checked before anything
 * is written. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/indices.h"
#include "kernels/cuda/places.h"

/* named is the operand along whose dimension dim the indices go. Tensors without dimensions are single elements. */
static struct td_placing places(const struct td_operand *named, const struct td_operand *index, int dim,
                                const struct td_operand *plain)
{
    struct td_placing p = td_placing_begin(named, plain);
    int64_t step = named->rank ? named->stride[dim] : 0, item = td_operand_numel(index);
    p.keys = td_operand_numel(named); /* elements of a contiguous tensor have their offset for one */
    td_placing_index(&p, index->data, 0, step, step);
    for (int d = 0; d < index->rank; d++) {
        int64_t there = d == dim || named->rank == 0 ? 0 : named->stride[d];
        item /= index->shape[d] ? index->shape[d] : 1;
        td_placing_item(&p, index->shape[d],
                        {there, plain->rank ? plain->stride[d] : 0, index->stride[d], there, item});
    }
    return p;
}

void TD_CUDA(gather)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1];
    int dim = td_wrap_dim(((const struct td_gather_attrs *)launch->attrs)->dim, x->rank);
    if (!td_cuda_indices_fit(launch, index, 0, x->rank ? x->shape[dim] : 1))
        return;
    struct td_placing p = places(x, index, dim, &launch->out[0]);
    td_cuda_get_places(&p);
}

/* out becomes x, and p says where the source's elements go. False: an index does not fit. */
static bool begin(struct td_launch *launch, struct td_placing *p)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_scatter_attrs *)launch->attrs)->dim, x->rank);
    if (!td_cuda_indices_fit(launch, index, 0, x->rank ? x->shape[dim] : 1))
        return false;
    td_cuda_copy(*out, *x);
    *p = places(out, index, dim, &launch->in[2]);
    return true;
}

static void join(struct td_launch *launch, int by, bool begins)
{
    struct td_placing p;
    if (begin(launch, &p) && !td_cuda_join_places(&p, by, begins))
        launch->fault.code = TD_E_MEMORY;
}

void TD_CUDA(scatter)(struct td_launch *launch)
{
    struct td_placing p;
    if (begin(launch, &p) && !td_cuda_put_places(&p))
        launch->fault.code = TD_E_MEMORY;
}

void TD_CUDA(scatter_add)(struct td_launch *launch)
{
    join(launch, TD_BY_SUM, false);
}

void TD_CUDA(scatter_reduce)(struct td_launch *launch)
{
    const struct td_scatter_reduce_attrs *a = (const struct td_scatter_reduce_attrs *)launch->attrs;
    join(launch, (int)a->reduce, !a->include_self);
}
