/* What comes before an op's kernel: inference, the rules of autograd, storage for the results or the right to write a
 * target, the tape of what is written in place, and the launch. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/checkpoint.h"
#include "server/worker/execution.h"
#include "server/worker/program.h"
#include "server/worker/shortage.h"

/* ---- inputs ---- */

static void describe_inputs(struct execution *e)
{
    for (int k = 0; k < e->operation.in_count; k++) {
        struct td_meta *meta = &e->metas[k];
        if (e->in[k].tensor) {
            tensor_meta(e->in[k].tensor, meta);
            continue;
        }
        meta->dtype = e->in[k].is_number ? td_dtype_of_number(e->in[k].number) : TD_DTYPE_NONE;
        meta->rank = 0;
        meta->scalar = true;
        meta->offset = 0;
    }
}

/* The one rule that looks at a number's value. */
static int check_number(struct execution *e)
{
    const struct source *exponent = &e->in[1];
    if (e->operation.op->id != TD_OP_pow || !exponent->is_number || exponent->number.category != TD_INTEGER ||
        exponent->number.i >= 0 || td_dtype_category(e->inference.compute) == TD_FLOATING)
        return TD_E_OK;
    td_fail(&e->failure, TD_E_ARGUMENT, "pow: integers to the negative power %" PRId64, exponent->number.i);
    return td_hint(&e->failure, "td_to(x, TD_F32) makes reals of them.");
}

int64_t execution_read_size(const struct execution *e)
{
    const struct td_op *op = e->operation.op;
    int64_t size = 0;
    int k = 0;
    for (const struct td_param *p = op->params; td_param_is_tensor(p->kind) && !td_param_is_list(p->kind); p++, k++) {
        const struct tensor *in = k < e->operation.in_count ? e->in[k].tensor : NULL;
        if (p->kind == TD_PARAM_SIZE && in && in->dtype == TD_I64 && !in->rank)
            e->session->worker->device->download(e->lane, &size, tensor_data(in), sizeof size);
    }
    return size;
}

static int infer(struct execution *e)
{
    describe_inputs(e);
    e->inference.op = e->operation.op; /* member by member: what is found need not be cleared first */
    e->inference.in = e->metas;
    e->inference.in_count = e->operation.in_count;
    e->inference.list_counts = e->list_counts;
    e->inference.attrs = e->attrs;
    if (e->sized)
        e->inference.size = e->fetched ? e->size : execution_read_size(e);
    e->inference.failure = &e->failure;
    int failed = td_infer(&e->inference);
    return failed ? failed : check_number(e);
}

/* The same while a checkpoint keeps it from being recorded: who would want a gradient is marked. */
static int decide_marking(struct execution *e)
{
    const struct td_op *op = e->operation.op;
    bool failed = false;
    for (int k = 0; k < e->operation.in_count && !op->no_gradient; k++) {
        struct tensor *in = e->in[k].tensor;
        e->marked |= in && (tensor_is_marked(in) || tensor_edge(e->session, in, &failed));
    }
    if (!e->inference.out_count || td_dtype_category(e->inference.out[0].dtype) != TD_FLOATING)
        e->marked = false;
    if (failed)
        return td_fail(&e->failure, TD_E_MEMORY, "%s: the daemon's host has no memory left", op->name);
    return op->kind == TD_INPLACE ? history_refuses(e->in[0].tensor, e->marked, &e->failure) : TD_E_OK;
}

/* Whether the op is to be recorded: some input wants a gradient that the op can give. */
static int decide_recording(struct execution *e)
{
    const struct td_op *op = e->operation.op;
    bool failed = false;
    e->marked = false;
    if (op->kind == TD_STEP && (session_in_checkpoint(e->session) || e->session->replayed))
        return td_fail(&e->failure, TD_E_GRAD, "%s: cannot be inside of TD_CHECKPOINT, which the walk will repeat",
                       op->name);
    if (e->operation.marks)
        return decide_marking(e);
    if (!e->operation.grad)
        return TD_E_OK;
    for (int k = 0; k < e->operation.in_count && !op->no_gradient; k++)
        if (e->in[k].tensor && tensor_edge(e->session, e->in[k].tensor, &failed))
            e->recorded = true;
    if (!e->inference.out_count || td_dtype_category(e->inference.out[0].dtype) != TD_FLOATING)
        e->recorded = false;
    if (failed)
        return td_fail(&e->failure, TD_E_MEMORY, "%s: the daemon's host has no memory left", op->name);
    if (op->kind == TD_INPLACE)
        return history_refuses(e->in[0].tensor, e->recorded, &e->failure);
    return TD_E_OK;
}

/* ---- storage ---- */

/* The fresh results' storages and tensors. What is uploaded comes in a lane of its own, and does not wait for the last
 * use of its memory where that was for an upload, too. */
static int make_outputs(struct execution *e)
{
    struct session *session = e->session;
    uint64_t all = 0;
    for (int k = 0; k < e->inference.out_count; k++)
        all += td_meta_bytes(&e->inference.out[k]);
    if (all > session->worker->pool.limit_bytes)
        return shortage_tell(session, all, &e->failure);
    if (e->operation.op->id == TD_OP_from && session->worker->device->stamp)
        session->lane = TD_LANE_UPLOAD;
    for (int k = 0; k < e->inference.out_count; k++) {
        struct td_meta *meta = &e->inference.out[k];
        struct storage *storage = storage_new(session, td_meta_bytes(meta), &e->failure);
        if (!storage)
            break;
        meta->offset = 0;
        e->out[k] = tensor_new(session, meta, storage);
        storage_unref(session, storage);
        if (!e->out[k]) {
            td_fail(&e->failure, TD_E_MEMORY, "the daemon's host has no memory left");
            break;
        }
    }
    session->lane = e->lane;
    return e->failure.code;
}

/* An operand that shares bytes with the target but is not just it would be read while it is written. */
static int check_overlap(struct execution *e, const struct tensor *target, int position)
{
    struct tensor *other = e->in[position].tensor;
    if (!other || other->storage->block != target->storage->block)
        return TD_E_OK;
    const struct td_meta *a = &e->metas[0], *b = &e->metas[position];
    bool same = a->offset == b->offset && td_meta_same_shape(a, b) &&
                !memcmp(a->stride, b->stride, a->rank * sizeof *a->stride);
    if (same || !td_metas_meet(a, b))
        return TD_E_OK;
    td_fail(&e->failure, TD_E_ARGUMENT, "%s: the operand shares part of its memory with the target",
            e->operation.op->name);
    return td_hint(&e->failure, "Clone the operand first.");
}

/* Makes tensor's own window of its storage ready to be written. */
static int announce_write(struct execution *e, const struct tensor *tensor, const struct td_meta *meta)
{
    int64_t first, end;
    size_t size = td_dtype_size(meta->dtype);
    td_meta_extent(meta, &first, &end);
    return storage_write(e->session, tensor->storage, (size_t)first * size, (size_t)end * size, &e->failure);
}

static int check_overlaps(struct execution *e)
{
    for (int k = 1; k < e->operation.in_count; k++)
        if (check_overlap(e, e->in[0].tensor, k))
            return e->failure.code;
    return TD_E_OK;
}

/* ---- the tape ---- */

struct node *execution_record(struct execution *e)
{
    const struct td_op *op = e->operation.op;
    struct session *session = e->session;
    struct node *node = node_new(session, op, e->attrs, e->operation.site, e->operation.in_count);
    bool failed = !node;
    if (node && op->kind == TD_RANDOM)
        node->draw = (struct draw){e->launch.seed, e->launch.counter};
    for (int k = 0; !failed && k < e->operation.in_count; k++) {
        struct tensor *in = e->in[k].tensor;
        struct node *edge = in ? tensor_edge(session, in, &failed) : NULL;
        node->in[k].meta = e->metas[k];
        node->in[k].node = edge ? node_ref(edge) : NULL;
        node->in[k].output = edge ? in->output : 0;
        if (k >= TD_KEEP_IN_MAX || !(op->keeps & TD_KEEP_IN(k)))
            continue;
        if (in)
            failed |= !(node->in[k].saved = saved_new(session, in));
        else
            node->in[k].number = e->operation.in[k].number;
    }
    for (int k = 0; !failed && k < e->inference.out_count; k++) {
        node->out[k].meta = e->inference.out[k];
        if (op->keeps & TD_KEEP_OUT(k))
            failed = !(node->out[k].saved = saved_new(session, e->out[k]));
    }
    if (failed) {
        if (node)
            node_unref(session, node);
        td_fail(&e->failure, TD_E_MEMORY, "%s: the daemon's host has no memory left for the tape", op->name);
        return NULL;
    }
    e->node_number = node->number;
    return node;
}

/* ---- preparing each kind ---- */

static int plan_launch(struct execution *e)
{
    e->launches = true;
    e->launch.op = e->operation.op; /* member by member, as above; the outputs are as many as the op has */
    e->launch.in_count = e->operation.in_count;
    e->launch.in = e->operands;
    e->launch.grads = e->grads;
    e->launch.list_counts = e->list_counts;
    e->launch.attrs = e->attrs;
    e->launch.lane = e->lane;
    for (int k = 0; k < e->inference.out_count; k++) {
        operand_of(&e->launch.out[k], &e->inference.out[k], tensor_data(e->out[k]));
        if (make_result(e, k))
            return e->failure.code;
    }
    return TD_E_OK;
}

/* Numbers depend on how many were drawn before and on nothing else. */
static void draw(struct execution *e)
{
    struct session *session = e->session;
    if (e->operation.draw) {
        e->launch.seed = e->operation.draw->seed;
        e->launch.counter = e->operation.draw->counter;
        return;
    }
    e->launch.seed = session->seed;
    e->launch.counter = session->random_counter; /* which goes on when the op has succeeded */
}

static int prepare_fresh(struct execution *e)
{
    struct session *session = e->session;
    if (make_outputs(e))
        return e->failure.code;
    if (e->operation.op->id == TD_OP_from) {
        /* The uploads that follow bring the bytes; what they leave out is cleared before anybody can see it. */
        session->filling = tensor_ref(e->out[0]);
        session->filled = 0;
        return TD_E_OK;
    }
    if (make_operands(e) || plan_launch(e))
        return e->failure.code;
    if (e->operation.op->kind == TD_RANDOM)
        draw(e);
    return TD_E_OK;
}

/* Only here it is known where the storage ends. */
static int check_window(struct execution *e, const struct tensor *base)
{
    int64_t first, end, size = (int64_t)(base->storage->bytes / td_dtype_size(base->dtype));
    td_meta_extent(&e->inference.out[0], &first, &end);
    if (end <= size)
        return TD_E_OK;
    return td_fail(&e->failure, TD_E_ARGUMENT,
                   "%s: the window ends at element %" PRId64 " of a storage of %" PRId64 " elements",
                   e->operation.op->name, end, size);
}

/* A view on its input's storage, or where the shape rule says that no view can do it, a contiguous copy. */
static int prepare_view(struct execution *e)
{
    struct tensor *base = e->in[0].tensor;
    if (e->inference.shares < 0) {
        if (make_outputs(e))
            return e->failure.code;
        operand_of(&e->operands[0], &e->metas[0], tensor_data(base));
        plan_launch(e); /* bytes are moved: there is nothing to be rounded */
        e->launch.op = td_op_of(TD_OP_clone);
        struct td_meta dense = e->metas[0]; /* the elements in the input's shape and order, one after the other */
        td_contiguous_strides(dense.rank, dense.shape, dense.stride);
        operand_of(&e->launch.out[0], &dense, tensor_data(e->out[0]));
        return TD_E_OK;
    }
    if (e->operation.op->id == TD_OP_as_strided && check_window(e, base))
        return e->failure.code;
    e->out[0] = tensor_new(e->session, &e->inference.out[0], base->storage);
    bool own_history = e->operation.op->no_gradient != NULL;
    bool grad = e->operation.grad || e->operation.marks;
    if (!e->out[0] || (!own_history && history_view(base, e->out[0], grad)))
        return td_fail(&e->failure, TD_E_MEMORY, "the daemon's host has no memory left");
    return TD_E_OK;
}

/* The tape comes first here: what it keeps of the target must be there when the write is announced, and a tape without
 * memory must leave the target as it is. No kernel that writes in place can find a fault in data. */
static int prepare_in_place(struct execution *e)
{
    struct session *session = e->session;
    struct tensor *target = e->in[0].tensor;
    if (check_overlaps(e))
        return e->failure.code;
    struct node *node = e->recorded ? execution_record(e) : NULL;
    if (e->failure.code)
        return e->failure.code;
    e->out[0] = tensor_ref(target);
    if (!announce_write(e, target, &e->metas[0]) && !make_operands(e) && !plan_launch(e)) {
        if ((node && history_write(session, target, node)) || (e->marked && history_mark(target)))
            td_fail(&e->failure, TD_E_MEMORY, "the daemon's host has no memory left for the tape");
    }
    if (node)
        node_unref(session, node);
    return e->failure.code;
}

const struct tensor *execution_gradient(const struct execution *e, int k)
{
    const struct node *node = e->in[k].tensor->node;
    return node_is_leaf(node) ? node->grad : NULL;
}

/* Announces all that a step writes; the rate of an optimiser stands last and is only read. */
static int announce_step(struct execution *e, enum td_stepping how)
{
    int params = e->list_counts[0], end = e->operation.in_count - (how == TD_STEPS_BY_GRADIENTS);
    for (int k = 0; k < params && how == TD_STEPS_GRADIENTS; k++) {
        const struct tensor *grad = execution_gradient(e, k);
        struct td_meta meta;
        if (!grad)
            continue;
        tensor_meta(grad, &meta);
        if (announce_write(e, grad, &meta))
            return e->failure.code;
    }
    for (int k = how == TD_STEPS_STATES ? params : 0; k < end && how != TD_STEPS_GRADIENTS; k++)
        if (announce_write(e, e->in[k].tensor, &e->metas[k]))
            return e->failure.code;
    return TD_E_OK;
}

static int prepare_step(struct execution *e)
{
    enum td_stepping how = td_op_stepping(e->operation.op);
    int params = e->list_counts[0];
    bool any = how != TD_STEPS_BY_GRADIENTS;
    struct td_operand *grads = params ? calloc((size_t)params, sizeof *grads) : NULL;
    if (params && !grads)
        return td_fail(&e->failure, TD_E_MEMORY, "the daemon's host has no memory left");
    e->grads = grads;
    for (int k = 0; k < params; k++) {
        bool there = execution_gradient(e, k) != NULL;
        any |= there;
        program_finds_gradient(e->session, there);
    }
    if (!any || make_outputs(e) || announce_step(e, how))
        return e->failure.code;
    for (int k = 0; k < params; k++) {
        const struct tensor *grad = execution_gradient(e, k);
        struct td_meta meta;
        if (!grad)
            continue;
        tensor_meta(grad, &meta);
        operand_of(&grads[k], &meta, tensor_data(grad));
    }
    if (make_operands(e) || plan_launch(e))
        return e->failure.code;
    return TD_E_OK;
}

int execution_prepare(struct execution *e)
{
    int failed = infer(e);
    if (failed || (failed = decide_recording(e)))
        return failed;
    switch ((enum td_op_kind)e->operation.op->kind) {
    case TD_CREATE:
    case TD_RANDOM:
    case TD_FRESH:
        return prepare_fresh(e);
    case TD_VIEW:
        return prepare_view(e);
    case TD_INPLACE:
        return prepare_in_place(e);
    case TD_STEP:
        return prepare_step(e);
    }
    return TD_E_OK;
}
