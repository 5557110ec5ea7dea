/* Which parameters go into a launch together. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/batch.h"

static void find_states(const struct td_launch *launch, uint32_t states, int k, char **found)
{
    int at = launch->list_counts[0];
    for (int list = 1; list <= TD_BATCH_STATES && launch->op->params[list].kind == TD_PARAM_LIST; list++) {
        if (launch->list_counts[list] && states >> (list - 1) & 1)
            found[list - 1] = (char *)launch->in[at + k].data;
        at += launch->list_counts[list];
    }
}

/* One past the last byte. */
static const char *end_of(const struct td_operand *x)
{
    int64_t last = 0;
    for (int d = 0; d < x->rank; d++)
        last += (x->shape[d] - 1) * x->stride[d];
    return (const char *)x->data + (last + 1) * (int64_t)td_dtype_size(x->dtype);
}

/* The memory that a batch's parameters take: most lists name it in rising order. */
struct taken {
    const char *low, *high, *begin[TD_BATCH], *end[TD_BATCH];
};

static bool is_taken(const struct taken *t, int count, const char *begin, const char *end)
{
    if (count == 0 || begin >= t->high || end <= t->low)
        return false;
    for (int k = 0; k < count; k++)
        if (begin < t->end[k] && end > t->begin[k])
            return true;
    return false;
}

static void take(struct taken *t, int k, const char *begin, const char *end)
{
    t->begin[k] = begin;
    t->end[k] = end;
    t->low = k && t->low < begin ? t->low : begin;
    t->high = k && t->high > end ? t->high : end;
}

static bool is_row(const struct td_operand *x)
{
    int64_t step = 1;
    for (int d = x->rank - 1; d >= 0; step *= x->shape[d--])
        if (x->shape[d] != 1 && x->stride[d] != step)
            return false;
    return true;
}

static void add(struct td_batch *b, int k, const struct td_operand *x, const struct td_batched *batched)
{
    int at = b->count++;
    uintptr_t word = TD_BATCH_WIDTH * td_dtype_size(x->dtype), all = (uintptr_t)batched->param;
    all |= (uintptr_t)batched->grad;
    for (int s = 0; s < TD_BATCH_STATES; s++)
        all |= (uintptr_t)batched->state[s];
    b->v[at] = *batched;
    b->number[at] = (uint16_t)k;
    b->dtype[at] = x->dtype;
    b->aligned[at] = all % word == 0;
    b->first[b->count] = b->first[at] + (uint32_t)td_blocks(batched->count, TD_BATCH_CHUNK, 1);
}

static void set_strides(struct td_batch *b, const struct td_operand *x)
{
    b->rank = x->rank;
    memcpy(b->shape, x->shape, sizeof b->shape);
    memcpy(b->stride, x->stride, sizeof b->stride);
}

bool td_batch_next(const struct td_launch *launch, uint32_t states, int *next, struct td_batch *b)
{
    bool steps_all = td_op_stepping(launch->op) == TD_STEPS_STATES;
    struct taken taken = {};
    memset(b, 0, sizeof *b);
    b->rank = -1;
    for (; *next < launch->list_counts[0] && b->count < TD_BATCH && b->rank < 0; ++*next) {
        const struct td_operand *x = states & TD_BATCH_GRADIENTS ? &launch->grads[*next] : &launch->in[*next];
        struct td_batched batched = {(char *)x->data, NULL, {NULL}, 0};
        if (!steps_all)
            batched.grad = (char *)launch->grads[*next].data;
        batched.count = batched.grad || steps_all ? td_operand_numel(x) : 0;
        if (batched.count == 0)
            continue;
        bool row = is_row(x), wide = x->dtype == TD_F64;
        if (b->count &&
            (!row || wide != (b->dtype[0] == TD_F64) || is_taken(&taken, b->count, batched.param, end_of(x))))
            break;
        take(&taken, b->count, batched.param, end_of(x));
        find_states(launch, states, *next, batched.state);
        if (!row)
            set_strides(b, x);
        add(b, *next, x, &batched);
    }
    return b->count > 0;
}
