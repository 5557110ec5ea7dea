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

bool td_map_shape_of(struct td_map_shape *m, int operands, const struct td_operand *const *operand)
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
    sort_dims(m);
    merge_dims(m);
    return true;
}

void td_map_plan_of(const struct td_map_shape *m, struct td_map_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->rank = m->rank;
    plan->count = 1;
    for (int d = 0; d < m->rank; d++) {
        plan->shape[d] = (uint32_t)m->shape[d];
        plan->count *= plan->shape[d];
    }
    for (int k = 0; k < m->operands; k++) {
        plan->repeats[k] = true;
        for (int d = 0; d < m->rank; d++) {
            plan->stride[k][d] = m->stride[k][d];
            plan->repeats[k] &= m->stride[k][d] == 0;
        }
        if (m->operand[k]->immediate)
            memcpy(&plan->value[k], m->operand[k]->data, td_dtype_size(m->operand[k]->dtype));
        else
            plan->data[k] = (char *)m->operand[k]->data;
    }
}

bool td_map_is_dense(const td_map_plan *plan, int operands, const size_t *element_bytes, int width)
{
    if (plan->rank > 1)
        return false;
    for (int k = 0; k < operands; k++) {
        bool row = plan->rank == 0 || plan->stride[k][0] == 1;
        bool aligned = (uintptr_t)plan->data[k] % ((size_t)width * element_bytes[k]) == 0;
        if (k > 0 && plan->repeats[k])
            continue;
        if (!row || !aligned)
            return false;
    }
    return true;
}
