/* The operands of a kernel: an execution's inputs as it wants to see them, converted, contiguous or broadcast.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "server/worker/execution.h"

void operand_of(struct td_operand *operand, const struct td_meta *meta, void *data)
{
    operand->data = data;
    operand->dtype = meta->dtype;
    operand->rank = meta->rank;
    operand->immediate = false;
    memcpy(operand->shape, meta->shape, sizeof operand->shape);
    memcpy(operand->stride, meta->stride, sizeof operand->stride);
}

/* Shows operand in shape by strides of 0; inference has made sure that it fits. */
static void broadcast_operand(struct td_operand *operand, int rank, const int64_t *shape)
{
    int added = rank - operand->rank;
    bool same = added == 0;
    for (int d = 0; same && d < rank; d++)
        same = operand->shape[d] == shape[d];
    if (same)
        return;
    operand->rank = (uint8_t)rank;
    for (int d = rank - 1; d >= 0; d--) { /* each comes from itself or from before it */
        bool there = d >= added && (operand->shape[d - added] != 1 || shape[d] == 1);
        operand->stride[d] = there ? operand->stride[d - added] : 0;
        operand->shape[d] = shape[d];
    }
}

/* Plans a copy of operand in dtype, contiguous, that takes its place. */
static int convert(struct execution *e, struct td_operand *operand, uint8_t dtype)
{
    struct td_meta meta = {.dtype = dtype, .rank = operand->rank};
    memcpy(meta.shape, operand->shape, sizeof meta.shape);
    td_contiguous_strides(meta.rank, meta.shape, meta.stride);
    struct storage *storage = storage_new(e->session, td_meta_bytes(&meta), &e->failure);
    if (!storage)
        return e->failure.code;
    int k = e->conversion_count++;
    e->conversions[k].from = *operand;
    e->conversions[k].attrs = (struct td_to_attrs){.dtype = dtype};
    e->conversions[k].storage = storage;
    operand_of(operand, &meta, storage->block->data);
    e->conversions[k].launch = (struct td_launch){.op = td_op_of(TD_OP_to),
                                                  .in_count = 1,
                                                  .in = &e->conversions[k].from,
                                                  .out = {*operand},
                                                  .attrs = &e->conversions[k].attrs,
                                                  .lane = e->lane};
    return TD_E_OK;
}

static inline uint8_t works_in(const struct execution *e, const struct td_op *op, uint8_t dtype)
{
    bool asks = td_dtype_narrow(dtype) || dtype == TD_BOOL;
    return asks ? e->session->worker->device->works_in_narrow(op, dtype) : dtype;
}

/* The kernel gives result k in the dtype that it works in, rounded afterwards. An op in place reads its target there
 * as well: that one has been converted with the inputs, to what it has in common with them. */
int make_result(struct execution *e, int k)
{
    struct td_operand *out = &e->launch.out[k];
    bool in_place = e->operation.op->kind == TD_INPLACE;
    uint8_t dtype = works_in(e, e->launch.op, in_place ? e->inference.compute : out->dtype);
    struct conversion *narrowing = &e->narrowings[e->narrowing_count];
    if (dtype == out->dtype)
        return TD_E_OK;
    struct td_meta meta = {.dtype = dtype, .rank = out->rank};
    struct td_operand final = *out;
    memcpy(meta.shape, out->shape, sizeof meta.shape);
    td_contiguous_strides(meta.rank, meta.shape, meta.stride);
    if (in_place) {
        *out = e->operands[0];
        narrowing->storage = NULL;
    } else {
        bool dense = td_meta_is_contiguous(&e->inference.out[k]);
        if (!dense) /* kernels count on the layout that inference gave: dense, in the inputs' order */
            memcpy(meta.stride, out->stride, sizeof meta.stride);
        if (!(narrowing->storage = storage_new(e->session, td_meta_bytes(&meta), &e->failure)))
            return e->failure.code;
        operand_of(out, &meta, narrowing->storage->block->data);
    }
    e->narrowing_count++;
    narrowing->from = *out;
    narrowing->attrs = (struct td_to_attrs){.dtype = final.dtype};
    narrowing->launch = (struct td_launch){.op = td_op_of(TD_OP_to),
                                           .in_count = 1,
                                           .in = &narrowing->from,
                                           .out = {final},
                                           .attrs = &narrowing->attrs,
                                           .lane = e->lane};
    return TD_E_OK;
}

/* Whether the input at position is converted to the dtype that is computed in. */
static bool is_promoted(const struct execution *e, int position)
{
    int list = 0;
    if (e->operation.op->id == TD_OP_full_like && position == 0) /* it lends its shape, and is not read */
        return false;
    for (const struct td_param *p = e->operation.op->params; p->kind; p++) {
        if (!td_param_is_tensor(p->kind))
            continue;
        position -= td_param_is_list(p->kind) ? e->list_counts[list++] : 1;
        if (position < 0)
            return td_param_is_promoted(p->kind);
    }
    return false;
}

static int make_operand(struct execution *e, int k, bool dense)
{
    struct td_operand *operand = &e->operands[k];
    struct td_meta *meta = &e->metas[k];
    uint8_t compute = e->inference.compute, works = compute;
    if (compute)
        works = works_in(e, e->operation.op, compute);
    if (!e->in[k].tensor && !e->in[k].is_number) {
        *operand = (struct td_operand){0};
        return TD_E_OK;
    }
    if (e->in[k].is_number) {
        /* A number is an operand without dimensions like any other. Only ops with few inputs take numbers. */
        meta->dtype = compute ? compute : meta->dtype;
        int64_t *immediate = &e->immediates[k % EXEC_INPUTS];
        td_number_store(e->in[k].number, meta->dtype, immediate);
        operand->data = immediate;
        operand->dtype = meta->dtype;
        operand->rank = 0;
        operand->immediate = true;
        if (compute && works != compute) { /* rounded as its dtype is, then widened */
            td_number_store(td_number_load(compute, immediate), works, immediate);
            operand->dtype = works;
        }
        return TD_E_OK;
    }
    operand_of(operand, meta, tensor_data(e->in[k].tensor));
    if (meta->dtype == works && works == compute && !dense) /* the usual case: as it is */
        return TD_E_OK;
    bool promoted = compute && (meta->dtype != compute || works != compute) && is_promoted(e, k);
    /* What another dtype has beyond the common one is rounded off first: i64 meets f16 as f16, i32 wraps to u8, and f32
     * without dimensions is rounded; with some it keeps its places, as it is only written into a half then. */
    bool weak = meta->rank == 0 && e->inference.out[0].rank;
    bool beyond = meta->dtype != compute && (meta->dtype != works || works == TD_I32 || weak);
    if (promoted && works != compute && beyond && convert(e, operand, compute))
        return e->failure.code;
    if (promoted || (dense && !td_meta_is_contiguous(meta)))
        return convert(e, operand, promoted ? works : meta->dtype);
    return TD_E_OK;
}

int make_operands(struct execution *e)
{
    const struct td_op *op = e->operation.op;
    uint32_t dense = e->session->worker->device->dense_inputs(op);
    for (int k = 0; k < e->operation.in_count; k++) {
        if (make_operand(e, k, k < 32 && dense >> k & 1))
            return e->failure.code;
        if (e->inference.broadcasts)
            broadcast_operand(&e->operands[k], e->inference.out[0].rank, e->inference.out[0].shape);
    }
    return TD_E_OK;
}
