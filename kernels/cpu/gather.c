/* gather and scatter_add: one index for each element. All indices are checked before anything is written.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"

/* One row of the index's last dimension: steps in elements; at steps along the dimension that the index names. */
struct row {
    int64_t count;
    const int64_t *index;
    int64_t index_step, from_step, to_step, at_step;
};

#define GATHER(name, type)                                                                      \
    static void gather_##name(const struct row *r, const void *source, void *target)            \
    {                                                                                           \
        const type *x = source;                                                                 \
        type *y = target;                                                                       \
        for (int64_t i = 0; i < r->count; i++)                                                  \
            y[i * r->to_step] = x[i * r->from_step + r->index[i * r->index_step] * r->at_step]; \
    }
GATHER(1, uint8_t)
GATHER(4, uint32_t)
GATHER(8, uint64_t)

#define SCATTER(name, type)                                                                      \
    static void scatter_##name(const struct row *r, const void *source, void *target)            \
    {                                                                                            \
        const type *x = source;                                                                  \
        type *y = target;                                                                        \
        for (int64_t i = 0; i < r->count; i++)                                                   \
            y[i * r->to_step + r->index[i * r->index_step] * r->at_step] += x[i * r->from_step]; \
    }
SCATTER(i32, uint32_t)
SCATTER(i64, uint64_t)
SCATTER(f32, float)
SCATTER(f64, double)

typedef void row_function(const struct row *, const void *, void *);

/* Calls act for each row of index. A tensor without dimensions is one of a single element; named is the operand along
 * whose dimension dim the indices go. */
static void for_rows(row_function *act, const struct td_operand *index, int dim, const struct td_operand *source,
                     const struct td_operand *target, const struct td_operand *named)
{
    int64_t at[TD_RANK_MAX] = {0}, offset[3] = {0}, size = (int64_t)td_dtype_size(source->dtype);
    int64_t from[TD_RANK_MAX] = {0}, to[TD_RANK_MAX] = {0};
    int last = index->rank - 1;
    struct row row = {.count = 1, .at_step = named->rank ? named->stride[dim] : 0};
    for (int d = 0; d < index->rank; d++) {
        from[d] = (named == source && d == dim) || source->rank == 0 ? 0 : source->stride[d];
        to[d] = (named == target && d == dim) || target->rank == 0 ? 0 : target->stride[d];
    }
    if (last >= 0) {
        row.count = index->shape[last];
        row.index_step = index->stride[last];
        row.from_step = from[last];
        row.to_step = to[last];
    }
    const int64_t *stride[] = {index->stride, from, to};
    do {
        row.index = (const int64_t *)index->data + offset[0];
        act(&row, (const char *)source->data + offset[1] * size, (char *)target->data + offset[2] * size);
    } while (td_step_index(last < 0 ? 0 : last, index->shape, at, 3, offset, stride));
}

void TD_CPU(gather)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1];
    int dim = td_wrap_dim(((const struct td_gather_attrs *)launch->attrs)->dim, x->rank);
    size_t size = td_dtype_size(x->dtype);
    if (!TD_CPU(indices_fit)(launch, index, x->rank ? x->shape[dim] : 1) || td_operand_numel(index) == 0)
        return;
    for_rows(size == 1 ? gather_1 : size == 4 ? gather_4 : gather_8, index, dim, x, &launch->out[0], x);
}

/* In the order of the index, row by row, so that equal indices give the same bits every time. */
void TD_CPU(scatter_add)(struct td_launch *launch)
{
    static row_function *const scatter[TD_DTYPE_LIMIT] = {
        [TD_I32] = scatter_i32, [TD_I64] = scatter_i64, [TD_F32] = scatter_f32, [TD_F64] = scatter_f64};
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_scatter_add_attrs *)launch->attrs)->dim, x->rank);
    if (!TD_CPU(indices_fit)(launch, index, x->rank ? x->shape[dim] : 1))
        return;
    TD_CPU(copy_operand)(out, x);
    if (td_operand_numel(index))
        for_rows(scatter[out->dtype], index, dim, &launch->in[2], out, out);
}
