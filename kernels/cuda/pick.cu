/* index and index_put: indices for several dimensions at once. All are checked before anything is written; negative
 * ones count from the end. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/elements.h"
#include "kernels/cuda/indices.h"
#include "kernels/cuda/places.h"

/* The indices, and the shape that they are broadcast to. */
struct picked {
    const struct td_operand *index;
    const struct td_dims *dims; /* of the tensor that they name, one for each */
    int rank;
    int64_t shape[TD_RANK_MAX], count;
};

static struct picked picked_of(const struct td_operand *index, const struct td_dims *dims)
{
    struct picked picked = {index, dims, 0, {0}, 1};
    for (int64_t k = 0; k < dims->count; k++)
        td_broadcast(picked.rank, picked.shape, index[k].rank, index[k].shape, &picked.rank, picked.shape);
    for (int d = 0; d < picked.rank; d++)
        picked.count *= picked.shape[d];
    return picked;
}

static bool all_fit(struct td_launch *launch, const struct picked *picked)
{
    int64_t least[TD_RANK_MAX], size[TD_RANK_MAX];
    for (int64_t k = 0; k < picked->dims->count; k++) {
        size[k] = launch->in[0].shape[picked->dims->v[k]];
        least[k] = -size[k];
    }
    return td_cuda_indices_all_fit(launch, (int)picked->dims->count, picked->index, least, size);
}

/* Steps of an index in the shape that all are broadcast to. */
static int64_t step_of(const struct picked *picked, int k, int d)
{
    const struct td_operand *index = &picked->index[k];
    int from = d - (picked->rank - index->rank);
    return from < 0 || index->shape[from] == 1 ? 0 : index->stride[from];
}

__global__ void add_offsets(td_grid<1> grid, const int64_t *index, int64_t size, int64_t step, bool first,
                            int64_t *offset)
{
    uint64_t i = td_thread();
    int64_t at[1] = {0};
    if (i >= grid.count)
        return;
    td_grid_seek(grid, i, at);
    int64_t value = index[at[0]];
    offset[i] = (first ? 0 : offset[i]) + (value < 0 ? value + size : value) * step;
}

/* Several indices become one, of the offsets that they say together. */
static void join_indices(const struct picked *picked, const struct td_operand *named, int64_t *offset)
{
    for (int k = 0; k < (int)picked->dims->count; k++) {
        td_grid<1> grid = td_grid_begin<1>();
        int64_t dim = picked->dims->v[k];
        for (int d = 0; d < picked->rank; d++)
            td_grid_add(grid, picked->shape[d], {step_of(picked, k, d)});
        td_enqueue(add_offsets, td_blocks((int64_t)grid.count, 1, TD_THREADS), TD_THREADS, grid,
                   (const int64_t *)picked->index[k].data, named->shape[dim], named->stride[dim], k == 0, offset);
    }
}

static bool is_picked(const struct picked *picked, int d)
{
    for (int64_t k = 0; k < picked->dims->count; k++)
        if (picked->dims->v[k] == d)
            return true;
    return false;
}

/* Dimensions of what is picked: front, the indices' own, tail. */
static int picked_rank(const struct picked *picked, const struct td_operand *named)
{
    return named->rank - (int)picked->dims->count + picked->rank;
}

/* named has the dimensions that the indices name; plain_stride is of an operand in the shape of what is picked. joined:
 * the index is that of join_indices. */
static void lay_out(struct td_placing *p, const struct picked *picked, const struct td_operand *named,
                    const int64_t *plain_stride, bool joined)
{
    int front = td_picked_front((int)picked->dims->count, picked->dims->v), at = 0;
    int64_t item = picked->count;
    for (int d = 0; d <= named->rank; d++) {
        for (int own = 0; d == front && own < picked->rank; own++) {
            item /= picked->shape[own] ? picked->shape[own] : 1;
            td_placing_item(p, picked->shape[own],
                            {0, plain_stride[at++], joined ? item : step_of(picked, 0, own), 0, item});
        }
        if (d == named->rank || is_picked(picked, d))
            continue;
        td_placing_column(p, named->shape[d], named->stride[d], plain_stride[at++]);
    }
}

/* Finds the places; false where there was no memory. */
static bool find_places(struct td_placing *p, const struct picked *picked, const struct td_operand *named,
                        const int64_t *plain_stride)
{
    bool joined = picked->dims->count > 1;
    lay_out(p, picked, named, plain_stride, joined);
    if (!joined) {
        int64_t dim = picked->dims->v[0];
        p->keys = named->shape[dim];
        td_placing_index(p, picked->index[0].data, named->shape[dim], named->stride[dim], 1);
        return true;
    }
    p->keys = 1;
    for (int64_t k = 0; k < picked->dims->count; k++)
        p->keys += (named->shape[picked->dims->v[k]] - 1) * named->stride[picked->dims->v[k]];
    p->ahead = (size_t)picked->count * sizeof(int64_t);
    int64_t *offset = (int64_t *)td_cuda_scratch(p->ahead + td_placing_bytes(p));
    if (!offset)
        return false;
    join_indices(picked, named, offset);
    td_placing_index(p, offset, 0, 1, 1);
    return true;
}

void TD_CUDA(index)(struct td_launch *launch)
{
    const struct td_dims *dims = &((const struct td_index_attrs *)launch->attrs)->dims;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct picked picked = picked_of(&launch->in[1], dims);
    if (!all_fit(launch, &picked) || td_operand_numel(out) == 0)
        return;
    struct td_placing p = td_placing_begin(x, out);
    if (find_places(&p, &picked, x, out->stride))
        td_cuda_get_places(&p);
    else
        launch->fault.code = TD_E_MEMORY;
}

void TD_CUDA(index_put)(struct td_launch *launch)
{
    const struct td_index_put_attrs *a = (const struct td_index_put_attrs *)launch->attrs;
    const struct td_operand *values = &launch->in[1], *out = &launch->out[0];
    struct picked picked = picked_of(&launch->in[2], &a->dims);
    if (!all_fit(launch, &picked))
        return;
    td_cuda_copy(*out, launch->in[0]);
    int64_t stride[TD_RANK_MAX] = {0};
    int rank = picked_rank(&picked, out), added = rank - values->rank;
    for (int d = added; d < rank; d++)
        stride[d] = values->shape[d - added] == 1 ? 0 : values->stride[d - added];
    struct td_placing p = td_placing_begin(out, values);
    if (td_operand_numel(out) == 0 || picked.count == 0)
        return;
    bool done = find_places(&p, &picked, out, stride) &&
                (a->accumulate ? td_cuda_join_places(&p, TD_BY_SUM, false) : td_cuda_put_places(&p));
    if (!done)
        launch->fault.code = TD_E_MEMORY;
}
