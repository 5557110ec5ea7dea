/* Whether indices fit: the first that does not is found on the device, and only its position is waited for.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/indices.h"

#include "kernels/cuda/grid.h"

#define NO_POSITION UINT64_MAX

__global__ void find_wrong(td_grid<1> grid, const int64_t *index, int64_t least, int64_t size,
                           unsigned long long *position)
{
    uint64_t i = td_thread();
    int64_t offset[1] = {0};
    if (i >= grid.count)
        return;
    td_grid_seek(grid, i, offset);
    int64_t value = index[offset[0]];
    if (value < least || value >= size)
        atomicMin(position, (unsigned long long)i);
}

static td_grid<1> grid_of(const struct td_operand *x)
{
    td_grid<1> grid = td_grid_begin<1>();
    for (int d = 0; d < x->rank; d++)
        td_grid_add(grid, x->shape[d], {x->stride[d]});
    return grid;
}

static void set_fault(struct td_launch *launch, const struct td_operand *index, int64_t size, uint64_t position)
{
    int64_t offset = 0, value;
    uint64_t at = position;
    for (int d = index->rank - 1; d >= 0; d--) {
        offset += (int64_t)(at % (uint64_t)index->shape[d]) * index->stride[d];
        at /= (uint64_t)index->shape[d];
    }
    td_cuda_fetch(&value, (const int64_t *)index->data + offset, sizeof value);
    launch->fault.code = TD_E_INDEX;
    launch->fault.value = value;
    launch->fault.size = size;
    launch->fault.position = (int64_t)position;
}

bool td_cuda_indices_all_fit(struct td_launch *launch, int count, const struct td_operand *index, const int64_t *least,
                             const int64_t *size)
{
    uint64_t position[TD_RANK_MAX];
    unsigned long long *found = (unsigned long long *)td_cuda_scratch(sizeof position);
    if (!found) {
        launch->fault.code = TD_E_MEMORY;
        return false;
    }
    td_cuda_check(cudaMemsetAsync(found, 0xff, sizeof position, td_stream), "a check of indices");
    for (int k = 0; k < count; k++) {
        td_grid<1> grid = grid_of(&index[k]);
        td_enqueue(find_wrong, td_blocks((int64_t)grid.count, 1, TD_THREADS), TD_THREADS, grid,
                   (const int64_t *)index[k].data, least[k], size[k], found + k);
    }
    td_cuda_fetch(position, found, sizeof position);
    for (int k = 0; k < count; k++)
        if (position[k] != NO_POSITION) {
            set_fault(launch, &index[k], size[k], position[k]);
            return false;
        }
    return true;
}

bool td_cuda_indices_fit(struct td_launch *launch, const struct td_operand *index, int64_t least, int64_t size)
{
    return td_cuda_indices_all_fit(launch, 1, index, &least, &size);
}
