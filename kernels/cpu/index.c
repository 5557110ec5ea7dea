/* embedding, index_select and index_add. All indices are checked before anything is written; negative ones are
 * refused, as PyTorch does. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "protocol/error.h"
#include "protocol/ops.h"

bool TD_CPU(indices_fit)(struct td_launch *launch, const struct td_operand *index, int64_t size)
{
    int64_t at[TD_RANK_MAX] = {0}, offset = 0, position = 0;
    const int64_t *stride = index->stride, *data = index->data;
    if (td_operand_numel(index) == 0)
        return true;
    do {
        int64_t value = data[offset];
        if (value < 0 || value >= size) {
            launch->fault = (struct td_fault){.code = TD_E_INDEX, .value = value, .size = size, .position = position};
            return false;
        }
        position++;
    } while (td_step_index(index->rank, index->shape, at, 1, &offset, &stride));
    return true;
}

/* The part of operand below its first skipped dimensions. */
static struct td_operand inner_part(const struct td_operand *operand, int skipped)
{
    struct td_operand part = {.data = operand->data, .dtype = operand->dtype};
    for (int d = skipped; d < operand->rank; d++) {
        part.shape[part.rank] = operand->shape[d];
        part.stride[part.rank++] = operand->stride[d];
    }
    return part;
}

static bool is_dense(const struct td_operand *part)
{
    int64_t step = 1;
    for (int d = part->rank - 1; d >= 0; step *= part->shape[d--])
        if (part->shape[d] != 1 && part->stride[d] != step)
            return false;
    return true;
}

/* Rows of elements: what every op here copies or adds. Parts are the same shape. */
struct rows {
    struct td_operand target, source;
    size_t size; /* of an element */
    bool dense;
    int64_t count;
};

static struct rows rows_of(const struct td_operand *target, const struct td_operand *source, int skipped)
{
    struct rows rows = {.target = inner_part(target, skipped), .source = inner_part(source, skipped)};
    rows.size = td_dtype_size(target->dtype);
    rows.dense = is_dense(&rows.target) && is_dense(&rows.source);
    rows.count = td_operand_numel(&rows.target);
    return rows;
}

static void copy_row(struct rows *rows, char *target, char *source)
{
    rows->target.data = target;
    rows->source.data = source;
    if (rows->dense)
        memcpy(target, source, (size_t)rows->count * rows->size);
    else
        TD_CPU(copy_operand)(&rows->target, &rows->source);
}

void TD_CPU(embedding)(struct td_launch *launch)
{
    const struct td_operand *weight = &launch->in[0], *index = &launch->in[1];
    if (!TD_CPU(indices_fit)(launch, index, weight->shape[0]) || td_operand_numel(&launch->out[0]) == 0)
        return;
    struct rows rows = rows_of(&launch->out[0], weight, 0);
    rows.source = inner_part(weight, 1);
    rows.target = inner_part(&launch->out[0], index->rank);
    rows.dense = is_dense(&rows.source);
    rows.count = weight->shape[1];
    int64_t at[TD_RANK_MAX] = {0}, offset = 0;
    const int64_t *stride = index->stride, *data = index->data;
    char *target = launch->out[0].data;
    do {
        copy_row(&rows, target, (char *)weight->data + data[offset] * weight->stride[0] * (int64_t)rows.size);
        target += rows.count * (int64_t)rows.size;
    } while (td_step_index(index->rank, index->shape, at, 1, &offset, &stride));
}

void TD_CPU(index_select)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_index_select_attrs *)launch->attrs)->dim, x->rank);
    if (!TD_CPU(indices_fit)(launch, index, x->rank ? x->shape[dim] : 1) || td_operand_numel(out) == 0)
        return;
    if (x->rank == 0) {
        TD_CPU(copy_operand)(out, x);
        return;
    }
    struct rows rows = rows_of(out, x, dim + 1);
    int64_t at[TD_RANK_MAX] = {0}, offset[2] = {0}, size = (int64_t)rows.size;
    const int64_t *stride[] = {out->stride, x->stride}, *data = index->data;
    int64_t index_step = index->rank ? index->stride[0] : 0;
    do {
        for (int64_t j = 0; j < out->shape[dim]; j++)
            copy_row(&rows, (char *)out->data + (offset[0] + j * out->stride[dim]) * size,
                     (char *)x->data + (offset[1] + data[j * index_step] * x->stride[dim]) * size);
    } while (td_step_index(dim, out->shape, at, 2, offset, stride));
}

TD_BINARY_INNER(add_i32, uint32_t, uint32_t, a + b)
TD_BINARY_INNER(add_i64, uint64_t, uint64_t, a + b)
TD_BINARY_INNER(add_f32, float, float, a + b)
TD_BINARY_INNER(add_f64, double, double, a + b)
static td_inner *const add_inner[TD_DTYPE_LIMIT] = {
    [TD_I32] = add_i32, [TD_I64] = add_i64, [TD_F32] = add_f32, [TD_F64] = add_f64};

static void add_row(struct rows *rows, char *target, char *source)
{
    td_inner *inner = add_inner[rows->target.dtype];
    rows->target.data = target;
    rows->source.data = source;
    if (rows->dense)
        inner(rows->count, (void *[]){target, target, source}, (int64_t[]){1, 1, 1});
    else
        TD_CPU(iterate)(inner, 3, (const struct td_operand *[]){&rows->target, &rows->target, &rows->source});
}

/* In the order of the index, so that equal indices give the same bits every time. */
void TD_CPU(index_add)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *source = &launch->in[2],
                            *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_index_add_attrs *)launch->attrs)->dim, x->rank);
    if (!TD_CPU(indices_fit)(launch, index, x->rank ? x->shape[dim] : 1))
        return;
    TD_CPU(copy_operand)(out, x);
    if (td_operand_numel(source) == 0 || td_operand_numel(index) == 0)
        return;
    bool scalar = x->rank == 0; /* one place, which each index names */
    struct rows rows = rows_of(out, source, scalar ? 0 : dim + 1);
    int64_t at[TD_RANK_MAX] = {0}, offset[2] = {0}, size = (int64_t)rows.size;
    int64_t out_step = scalar ? 0 : out->stride[dim], source_step = scalar ? 0 : source->stride[dim];
    int64_t index_step = index->rank ? index->stride[0] : 0, count = td_operand_numel(index);
    const int64_t *stride[] = {out->stride, source->stride}, *data = index->data;
    do {
        for (int64_t j = 0; j < count; j++)
            add_row(&rows, (char *)out->data + (offset[0] + data[j * index_step] * out_step) * size,
                    (char *)source->data + (offset[1] + j * source_step) * size);
    } while (td_step_index(scalar ? 0 : dim, out->shape, at, 2, offset, stride));
}
