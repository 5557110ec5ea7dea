/* The executor. An op goes through: its inputs, inference, the rules of autograd, storage for the result (or the right
 * to write a target), conversions, the kernel, and the tape. A failure anywhere before the kernel leaves no trace but
 * the error value. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/exec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/checkpoint.h"
#include "server/worker/execution.h"
#include "server/worker/lanes.h"
#include "server/worker/program.h"
#include "server/worker/schedule.h"

/* Above this a kernel goes to the device's thread: waking it costs up to 0.06 ms, and nobody waits longer than this. */
#define OFFLOAD_NS 2000000
/* Above this it is worth two looks at the clock to know how long it took. */
#define TIMED_NS 5000
/* Above this an op is refused: it would keep everybody else from the thread, and cannot be stopped. */
#define COST_MAX_NS 6e11

/* ---- life ---- */

static struct execution *execution_new(struct session *session, const struct operation *operation, exec_then *then,
                                       void *data)
{
    struct worker *worker = session->worker;
    struct execution *e = spares_take(&worker->executions, sizeof *e);
    if (!e)
        return NULL;
    e->session = session;
    e->lane = session->lane;
    e->operation = *operation;
    e->then = then;
    e->data = data;
    e->in = e->small_in;
    e->metas = e->small_metas;
    e->operands = e->small_operands;
    e->conversions = e->small_conversions;
    e->grads = NULL;
    e->lists = NULL;
    e->failure.code = TD_E_OK;
    e->recorded = e->launches = e->offloaded = e->watched = e->fetched = false;
    e->node_number = e->took_ns = 0;
    memset(e->out, 0, sizeof e->out);
    e->conversion_count = e->narrowing_count = 0;
    e->launch.fault.code = TD_E_OK;
    if (operation->in_count > EXEC_INPUTS) {
        size_t count = (size_t)operation->in_count;
        size_t each = sizeof *e->in + sizeof *e->metas + sizeof *e->operands + 2 * sizeof *e->conversions;
        if (!(e->lists = malloc(count * each))) {
            spares_give(&worker->executions, e);
            return NULL;
        }
        e->metas = e->lists;
        e->operands = (struct td_operand *)(e->metas + count);
        e->conversions = (struct conversion *)(e->operands + count);
        e->in = (struct source *)(e->conversions + 2 * count);
    }
    if (operation->op->slots)
        memcpy(e->attrs, operation->attrs, (size_t)operation->op->slots * 8);
    if (operation->list_counts)
        memcpy(e->list_counts, operation->list_counts, sizeof e->list_counts);
    e->operation.attrs = e->attrs;
    e->operation.in = e->in;
    e->operation.list_counts = e->list_counts;
    for (int k = 0; k < operation->in_count; k++) {
        e->in[k] = operation->in[k];
        if (e->in[k].tensor)
            tensor_ref(e->in[k].tensor);
    }
    return e;
}

static void execution_free(struct execution *e)
{
    struct session *session = e->session;
    for (int k = 0; k < e->operation.in_count; k++)
        tensor_unref(session, e->in[k].tensor);
    for (int k = 0; k < e->conversion_count; k++)
        storage_unref(session, e->conversions[k].storage);
    for (int k = 0; k < e->narrowing_count; k++)
        if (e->narrowings[k].storage)
            storage_unref(session, e->narrowings[k].storage);
    if (e->lists) /* most have none, and even a call that does nothing shows */
        free(e->lists);
    if (e->grads)
        free(e->grads);
    spares_give(&session->worker->executions, e);
}

/* ---- lanes ---- */

typedef void on_block(struct worker *worker, int lane, struct block *block);

/* Every block that the launches of e read or write. */
static void for_blocks(struct execution *e, on_block *read, on_block *write)
{
    struct worker *worker = e->session->worker;
    bool step = e->operation.op->kind == TD_STEP;
    for (int k = 0; k < e->operation.in_count; k++)
        if (e->in[k].tensor)
            (step ? write : read)(worker, e->lane, e->in[k].tensor->storage->block);
    for (int k = 0; step && k < e->list_counts[0]; k++)
        if (execution_gradient(e, k))
            write(worker, e->lane, execution_gradient(e, k)->storage->block);
    for (int k = 0; k < e->conversion_count; k++)
        write(worker, e->lane, e->conversions[k].storage->block);
    for (int k = 0; k < e->narrowing_count; k++)
        if (e->narrowings[k].storage)
            write(worker, e->lane, e->narrowings[k].storage->block);
    for (int k = 0; k < e->inference.out_count; k++)
        if (e->out[k])
            write(worker, e->lane, e->out[k]->storage->block);
}

static void order_read(struct worker *worker, int lane, struct block *block)
{
    lanes_read(worker, lane, block);
}

static void order_write(struct worker *worker, int lane, struct block *block)
{
    lanes_write(worker, lane, block);
}

/* Before the launches of e. */
static void order(struct execution *e)
{
    if (e->session->worker->device->stamp && e->launches)
        for_blocks(e, order_read, order_write);
}

/* Behind them, when the device's thread is done with them, too. */
static void note_uses(struct execution *e)
{
    if (e->session->worker->device->stamp && e->launches)
        for_blocks(e, lanes_did_read, lanes_did_write);
}

/* Before the value of a SIZE is looked at. */
static void order_size(struct execution *e)
{
    for (int k = 0; k < e->operation.in_count; k++)
        if (e->in[k].tensor)
            lanes_read(e->session->worker, e->lane, e->in[k].tensor->storage->block);
}

/* ---- after the kernel ---- */

static void make_leaf(struct execution *e)
{
    struct tensor *out = e->out[0];
    struct node *leaf;
    if (td_dtype_category(out->dtype) != TD_FLOATING)
        td_fail(&e->failure, TD_E_GRAD, "%s: only floating types can want a gradient, not %s", e->operation.op->name,
                td_dtype_name(out->dtype));
    else if (!(leaf = node_leaf(out)) || !(leaf = checkpoint_leaf(e->session, leaf)))
        td_fail(&e->failure, TD_E_MEMORY, "the daemon's host has no memory left");
    else {
        tensor_tie(e->session, out, leaf, 0);
        block_classify(e->session, out->storage->block, BLACKBOX_PARAM);
    }
}

/* Ties the results to the graph; an op in place has done so before its kernel. */
static void note_results(struct execution *e)
{
    if (e->operation.requires_grad && !e->operation.in_count)
        make_leaf(e);
    if (e->operation.op->kind == TD_INPLACE)
        return;
    for (int k = 0; e->marked && k < e->inference.out_count; k++)
        e->out[k]->flags |= TENSOR_MARKED;
    if (!e->recorded)
        return;
    bool failed = false;
    struct node *node = NULL;
    if (e->operation.op->id == TD_OP_as_strided) /* its window may lie beside its input's */
        node = history_reach(e->session, e->in[0].tensor, e->out[0], &failed);
    if (failed)
        td_fail(&e->failure, TD_E_MEMORY, "as_strided: the daemon's host has no memory left for the tape");
    else if (!node)
        node = execution_record(e);
    if (!node)
        return;
    for (int k = 0; k < e->inference.out_count; k++) {
        if (td_dtype_category(e->out[k]->dtype) != TD_FLOATING)
            continue;
        tensor_tie(e->session, e->out[k], node_ref(node), (uint8_t)k);
    }
    node_unref(e->session, node);
}

/* After an overflow there are no gradients, so that the optimiser's step, which may be sent already, does nothing. */
static void drop_gradients(struct execution *e)
{
    float found = 0;
    e->session->worker->device->download(e->lane, &found, tensor_data(e->out[0]), sizeof found);
    for (int k = 0; found != 0 && k < e->list_counts[0]; k++) {
        struct node *node = e->in[k].tensor->node;
        if (!node_is_leaf(node))
            continue;
        tensor_unref(e->session, node->grad);
        node->grad = NULL;
    }
}

/* A matrix that an op of linear algebra cannot take. */
static void read_singular(struct execution *e, const struct td_fault *fault)
{
    char which[64] = "the matrix";
    if (fault->size > 1)
        snprintf(which, sizeof which, "matrix %" PRId64 " of %" PRId64 " (from 0)", fault->position, fault->size);
    if (e->operation.op->id == TD_OP_cholesky) {
        td_fail(&e->failure, fault->code,
                "cholesky: %s is not positive definite: its leading minor of order %" PRId64 " is not positive", which,
                fault->value);
        td_hint(&e->failure, "Rounding can do that; a small multiple of td_eye added to the matrix helps then.");
        return;
    }
    td_fail(&e->failure, fault->code, "%s: %s is singular: pivot %" PRId64 " is 0", e->operation.op->name, which,
            fault->value);
    td_hint(&e->failure, "td_det tells before, td_slogdet takes it.");
}

static void read_fault(struct execution *e)
{
    const struct td_fault *fault = &e->launch.fault;
    if (!e->launches || fault->code == TD_E_OK)
        return;
    if (fault->code == TD_E_MEMORY) {
        bool on_host = e->session->worker->device->host_memory;
        td_fail(&e->failure, fault->code, "%s: the %s has no memory left to work in", e->operation.op->name,
                on_host ? "daemon's host" : "device");
        td_hint(&e->failure, "Release tensors, or work in smaller pieces.");
        return;
    }
    if (fault->code == TD_E_ARGUMENT && e->operation.op->id == TD_OP_bce) {
        td_fail(&e->failure, fault->code, "bce: element %" PRId64 " does not lie between 0 and 1", fault->position);
        td_hint(&e->failure, "td_binary_cross_entropy_with_logits takes logits.");
        return;
    }
    if (fault->code == TD_E_ARGUMENT && fault->why) {
        td_fail(&e->failure, fault->code, "%s: %s", e->operation.op->name, fault->why);
        return;
    }
    if (fault->code == TD_E_ARGUMENT) {
        td_fail(&e->failure, fault->code, "%s: an integer is divided by 0", e->operation.op->name);
        td_hint(&e->failure, "Of floats the result would be inf or nan: td_to(x, TD_F32) converts.");
        return;
    }
    if (fault->code == TD_E_SINGULAR) {
        read_singular(e, fault);
        return;
    }
    if (fault->code == TD_E_SHAPE) {
        td_fail(&e->failure, fault->code, "%s: %" PRId64 " elements are found where there are %" PRId64,
                e->operation.op->name, fault->value, fault->size);
        return;
    }
    td_fail(&e->failure, fault->code,
            "%s: index %" PRId64 " is out of range for a dimension of size %" PRId64 " (element %" PRId64
            " of the index)",
            e->operation.op->name, fault->value, fault->size, fault->position);
    bool from_end = e->operation.op->id == TD_OP_index || e->operation.op->id == TD_OP_index_put;
    if (fault->size > 0)
        td_hint(&e->failure, "Indices go from %" PRId64 " to %" PRId64 ".", from_end ? -fault->size : 0,
                fault->size - 1);
}

/* Ends an execution with error values of cause, whose reference is taken over. */
static void finish_failed(struct execution *e, struct cause *cause)
{
    struct session *session = e->session;
    struct tensor *results[TD_OUTPUTS_MAX] = {0};
    for (int k = 0; k < td_op_named_outputs(e->operation.op); k++)
        results[k] = tensor_failed(cause);
    if (e->operation.op->kind == TD_INPLACE && e->in[0].tensor)
        results[0] = tensor_ref(e->in[0].tensor);
    exec_then *then = e->then;
    void *data = e->data;
    recorder_op(e, true);
    for (int k = 0; k < TD_OUTPUTS_MAX; k++)
        tensor_unref(session, e->out[k]);
    execution_free(e);
    then(session, results, cause, data);
    cause_unref(cause);
}

void execution_finish(struct execution *e)
{
    struct session *session = e->session;
    const char *name = e->operation.op->name;
    note_uses(e);
    if (!e->failure.code)
        read_fault(e);
    if (e->watched && !e->failure.code && e->anomaly.found)
        name = anomaly_fail(e);
    if (!e->failure.code && e->operation.op->id == TD_OP_unscale_grads_)
        drop_gradients(e);
    if (!e->failure.code && e->out[0])
        note_results(e);
    if (e->failure.code) {
        finish_failed(e, session_fail(session, name, e->operation.site, &e->failure));
        return;
    }
    if (e->operation.op->kind == TD_RANDOM && !e->operation.draw) /* a request that failed has drawn nothing */
        session->random_counter +=
            td_random_blocks(e->operation.op, e->attrs, e->inference.out[0].dtype, td_meta_numel(&e->inference.out[0]));
    struct tensor *results[TD_OUTPUTS_MAX];
    memcpy(results, e->out, sizeof results);
    exec_then *then = e->then;
    void *data = e->data;
    recorder_op(e, false);
    execution_free(e);
    then(session, results, NULL, data);
}

/* ---- the door ---- */

void execution_run(struct execution *e, const struct td_device *device)
{
    if (e->watched)
        anomaly_before(e);
    for (int k = 0; k < e->conversion_count; k++)
        device->run(&e->conversions[k].launch);
    if (e->launches)
        device->run(&e->launch);
    for (int k = 0; k < e->narrowing_count && e->launch.fault.code == TD_E_OK; k++)
        device->run(&e->narrowings[k].launch);
    if (e->watched && e->launch.fault.code == TD_E_OK)
        anomaly_after(e);
}

void execution_run_timed(struct execution *e, const struct td_device *device)
{
    uint64_t start = uv_hrtime();
    execution_run(e, device);
    e->took_ns = uv_hrtime() - start;
}

uint64_t execution_cost(const struct execution *e, const struct td_device *device)
{
    uint64_t cost = e->launches ? device->cost(&e->launch) : 0;
    for (int k = 0; k < e->conversion_count; k++)
        cost += device->cost(&e->conversions[k].launch);
    for (int k = 0; k < e->narrowing_count; k++)
        cost += device->cost(&e->narrowings[k].launch);
    return cost;
}

/* Expanded inputs have any number of elements without taking memory, and a kernel cannot be stopped half way. What is
 * written in place is as large as its memory, so it never comes to this. */
static void refuse_cost(struct execution *e, uint64_t cost)
{
    td_fail(&e->failure, TD_E_LIMIT, "%s: would take about %.0f s; the limit is %.0f", e->operation.op->name,
            (double)cost / 1e9, COST_MAX_NS / 1e9);
    td_hint(&e->failure, "Work in smaller pieces.");
    e->launches = false;
    execution_finish(e);
}

/* ---- on the device's thread ---- */

static void errand_run(struct errand *errand, const struct td_device *device)
{
    execution_run_timed((struct execution *)((char *)errand - offsetof(struct execution, errand)), device);
}

static void errand_done(struct errand *errand)
{
    struct session *session = errand->session;
    struct execution *e = (struct execution *)((char *)errand - offsetof(struct execution, errand));
    uint64_t took_ns = e->took_ns;
    execution_finish(e);
    recorder_publish(session, took_ns);
}

static bool offload(struct execution *e)
{
    e->errand = (struct errand){.session = e->session, .run = errand_run, .done = errand_done};
    return e->offloaded = errand_start(&e->errand);
}

/* Whether running e waits for the device, which the loop must not. What is looked at is carried to the host for it. */
static bool waits(const struct execution *e, const struct td_device *device)
{
    return e->launches && device->waits && (e->watched || device->waits(&e->launch));
}

/* Everything from the inputs on. True: it is done. */
static bool proceed(struct execution *e)
{
    struct session *session = e->session;
    const struct td_device *device = session->worker->device;
    if (execution_prepare(e)) {
        e->launches = false;
        execution_finish(e);
        return true;
    }
    e->watched = session->watching && e->launches && e->operation.op->kind != TD_CREATE;
    uint64_t cost = execution_cost(e, device);
    if (cost > COST_MAX_NS) {
        refuse_cost(e, cost);
        return true;
    }
    order(e);
    if ((cost > OFFLOAD_NS || waits(e, device)) && offload(e))
        return false;
    schedule_charge(session, cost);
    if (cost > TIMED_NS)
        execution_run_timed(e, device);
    else
        execution_run(e, device);
    execution_finish(e);
    return true;
}

static void fetch_run(struct errand *errand, const struct td_device *device)
{
    (void)device;
    struct execution *e = (struct execution *)((char *)errand - offsetof(struct execution, errand));
    e->size = execution_read_size(e);
    e->fetched = true;
}

static void fetch_done(struct errand *errand)
{
    proceed((struct execution *)((char *)errand - offsetof(struct execution, errand)));
}

/* The shape depends on what lies on a device that the host has to wait for. */
static bool fetch_size(struct execution *e)
{
    if (e->session->worker->device->host_memory)
        return false;
    e->errand = (struct errand){.session = e->session, .run = fetch_run, .done = fetch_done};
    return errand_start(&e->errand);
}

/* The first error value among the inputs. */
static struct cause *failed_input(const struct execution *e)
{
    for (int k = 0; k < e->operation.in_count; k++)
        if (e->in[k].tensor && e->in[k].tensor->failed)
            return e->in[k].tensor->failed;
    return NULL;
}

bool exec_run(struct session *session, const struct operation *operation, exec_then *then, void *data)
{
    struct execution *e = execution_new(session, operation, then, data);
    if (!e) {
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_MEMORY, "%s: the daemon's host has no memory left", operation->op->name);
        struct cause *cause = session_fail(session, operation->op->name, operation->site, &failure);
        struct tensor *results[TD_OUTPUTS_MAX] = {0};
        for (int k = 0; k < td_op_named_outputs(operation->op); k++)
            results[k] = tensor_failed(cause);
        then(session, results, cause, data);
        cause_unref(cause);
        return true;
    }
    struct cause *cause = failed_input(e);
    if (session_traces(session) && !cause)
        cause = trace_cause();
    if (cause) {
        finish_failed(e, cause_ref(cause));
        return true;
    }
    e->sized = td_op_is_sized(operation->op);
    if (e->sized)
        order_size(e);
    return !(e->sized && fetch_size(e)) && proceed(e);
}
