/* How elementwise work is laid out. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/map.h"

static void swap_dims(struct td_map_shape *m, int a, int b)
{
    std::swap(m->shape[a], m->shape[b]);
    for (int k = 0; k < m->operands; k++)
        std::swap(m->stride[k][a], m->stride[k][b]);
}

/* By falling strides of the target, which is written densely then. */
static void sort_dims(struct td_map_shape *m)
{
    for (int d = 1; d < m->rank; d++)
        for (int e = d; e > 0 && m->stride[0][e - 1] < m->stride[0][e]; e--)
            swap_dims(m, e - 1, e);
}

static bool dims_merge(const struct td_map_shape *m, int outer, int inner)
{
    for (int k = 0; k < m->operands; k++)
        if (m->stride[k][outer] != m->stride[k][inner] * m->shape[inner])
            return false;
    return true;
}

static void merge_dims(struct td_map_shape *m)
{
    int rank = 0;
    for (int d = 0; d < m->rank; d++) {
        bool merged = rank && dims_merge(m, rank - 1, d);
        int to = merged ? rank - 1 : rank++;
        m->shape[to] = merged ? m->shape[to] * m->shape[d] : m->shape[d];
        for (int k = 0; k < m->operands; k++)
            m->stride[k][to] = m->stride[k][d];
    }
    m->rank = rank;
}

bool td_map_shape_in_order(struct td_map_shape *m, int operands, const struct td_operand *const *operand)
{
    const struct td_operand *target = operand[0];
    m->operands = operands;
    m->rank = 0;
    for (int k = 0; k < operands; k++)
        m->operand[k] = operand[k];
    for (int d = 0; d < target->rank; d++) {
        if (target->shape[d] == 0)
            return false;
        if (target->shape[d] == 1)
            continue;
        m->shape[m->rank] = target->shape[d];
        for (int k = 0; k < operands; k++)
            m->stride[k][m->rank] = operand[k]->immediate ? 0 : operand[k]->stride[d];
        m->rank++;
    }
    merge_dims(m);
    return true;
}

bool td_map_shape_of(struct td_map_shape *m, int operands, const struct td_operand *const *operand)
{
    if (!td_map_shape_in_order(m, operands, operand))
        return false;
    sort_dims(m);
    merge_dims(m);
    return true;
}

/* What td_map_quotient multiplies by, for numbers below 2^31 (Granlund and Montgomery). */
static void divide_by(td_map_plan *plan, int d, uint32_t size)
{
    uint32_t shift = 0;
    while (((uint64_t)1 << shift) < size)
        shift++;
    plan->shift[d] = shift;
    plan->factor[d] = (uint32_t)(((((uint64_t)1 << shift) - size) << 32) / size + 1);
}

void td_map_plan_of(const struct td_map_shape *m, int width, struct td_map_plan *plan)
{
    int last = m->rank - 1;
    memset(plan, 0, sizeof *plan);
    plan->rank = m->rank;
    plan->row = m->rank ? (uint32_t)m->shape[last] : 1;
    plan->steps = 1;
    for (int d = 0; d < m->rank; d++) {
        int64_t each = d == last ? width : 1;
        plan->shape[d] = (uint32_t)((m->shape[d] + each - 1) / each);
        plan->steps *= plan->shape[d];
        divide_by(plan, d, plan->shape[d]);
        for (int k = 0; k < m->operands; k++)
            plan->stride[k][d] = m->stride[k][d] * each;
    }
    for (int k = 0; k < m->operands; k++) {
        plan->repeats[k] = last < 0 || m->stride[k][last] == 0;
        if (m->operand[k]->immediate)
            memcpy(&plan->value[k], m->operand[k]->data, td_dtype_size(m->operand[k]->dtype));
        else
            plan->data[k] = (char *)m->operand[k]->data;
    }
}

static bool rows_are_dense(const struct td_map_shape *m, int k, size_t element_bytes, int width)
{
    if (m->rank == 0)
        return true;
    int last = m->rank - 1;
    if (m->stride[k][last] == 0 && k > 0)
        return true;
    bool dense = m->stride[k][last] == 1 && (uintptr_t)m->operand[k]->data % ((size_t)width * element_bytes) == 0;
    for (int d = 0; d < last; d++)
        dense &= m->stride[k][d] % width == 0;
    return dense;
}

bool td_map_is_dense(const struct td_map_shape *m, const size_t *element_bytes, int width)
{
    for (int k = 0; k < m->operands; k++)
        if (!rows_are_dense(m, k, element_bytes[k], width))
            return false;
    return true;
}
