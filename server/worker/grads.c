/* Request GRADS: what it names, looked up, and the walk that it asks for. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "server/worker/backward.h"
#include "server/worker/program.h"
#include "server/worker/wanted.h"

/* In place of a handle: nil, and what is no handle. */
#define NO_HANDLE UINT32_MAX
#define BAD_HANDLE (UINT32_MAX - 1)

struct handle_list {
    uint32_t count;
    uint32_t handles[TD_LIST_MAX];
};

/* The request as it stands there. */
struct grads {
    struct handle_list roots, seeds, inputs, results;
    uint32_t options;
};

static uint32_t take_element(struct td_reader *reader, struct td_failure *failure)
{
    int64_t handle;
    if (td_read_nil(reader))
        return NO_HANDLE;
    bool integer = td_take_int(reader, &handle);
    if (integer && handle >= 0 && handle < TD_HANDLES_MAX)
        return (uint32_t)handle;
    if (!integer)
        td_read_skip(reader);
    td_fail(failure, TD_E_ARGUMENT, "a list holds something that is no handle below %u", TD_HANDLES_MAX);
    return BAD_HANDLE;
}

static void take_list(struct request *request, struct handle_list *list, struct td_failure *failure)
{
    list->count = 0;
    if (request->elements == 0 || td_read_type(request->reader) != TD_WIRE_ARRAY) {
        td_fail(failure, TD_E_ARGUMENT, "lists of roots, seeds, inputs and results, and options are due");
        return;
    }
    request->elements--;
    uint32_t count = td_read_array(request->reader);
    if (count > TD_LIST_MAX)
        td_fail(failure, TD_E_LIMIT, "a list of %u tensors; the limit is %d", count, TD_LIST_MAX);
    for (uint32_t k = 0; k < count && !request->reader->failed; k++) {
        if (list->count < TD_LIST_MAX)
            list->handles[list->count++] = take_element(request->reader, failure);
        else
            td_read_skip(request->reader);
    }
}

static void take_grads(struct request *request, struct grads *g, struct td_failure *failure)
{
    int64_t options = 0;
    take_list(request, &g->roots, failure);
    take_list(request, &g->seeds, failure);
    take_list(request, &g->inputs, failure);
    take_list(request, &g->results, failure);
    if (request->elements > 0 && td_take_int(request->reader, &options))
        request->elements--;
    g->options = (uint32_t)options;
    if (failure->code)
        return;
    if (g->roots.count == 0)
        td_fail(failure, TD_E_ARGUMENT, "there is no root to begin with");
    else if (g->seeds.count != g->roots.count)
        td_fail(failure, TD_E_ARGUMENT, "%u seeds are given for %u roots", g->seeds.count, g->roots.count);
    else if (g->inputs.count != g->results.count)
        td_fail(failure, TD_E_ARGUMENT, "%u results are named for %u inputs", g->results.count, g->inputs.count);
    else if (options < 0 || options >= 2 * TD_GRADS_CONSTANTS)
        td_fail(failure, TD_E_ARGUMENT, "the options are none that exist");
}

/* The tensor of a list's k-th handle. *cause: that of the first error value. */
static struct tensor *look_up(struct session *session, const struct handle_list *list, uint32_t k, struct cause **cause,
                              struct td_failure *failure)
{
    struct tensor *tensor = session_tensor(session, list->handles[k], failure);
    if (tensor && tensor->failed && !*cause)
        *cause = tensor->failed;
    return tensor;
}

static int fill_target(struct session *session, struct tensor *input, uint32_t k, struct target *target,
                       struct td_failure *failure)
{
    bool failed = false;
    struct node *node = tensor_edge(session, input, &failed);
    if (failed)
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    if (!node) {
        td_fail(failure, TD_E_GRAD, "input %u%s%s wants no gradient", k, input->name ? ", " : "",
                input->name ? input->name : "");
        return td_hint(failure, "td_set_requires_grad(x, true) makes a leaf; compute outside TD_NO_GRAD.");
    }
    target->output = input->output;
    struct node *content = history_meets(input, &target->output);
    target->node = node_ref(content ? content : node);
    target->of_content = content != NULL;
    tensor_meta(input, &target->meta);
    return TD_E_OK;
}

/* The inputs as targets, *wanted; there is none where none is asked for. Takes the first cause along. */
static void find_targets(struct session *session, const struct grads *g, struct wanted **wanted, struct cause **cause,
                         struct td_failure *failure)
{
    if (g->inputs.count == 0)
        return;
    if (!(*wanted = wanted_new(session, (int)g->inputs.count))) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return;
    }
    (*wanted)->zeros = g->options & TD_GRADS_ZEROS;
    for (uint32_t k = 0; k < g->inputs.count && !failure->code; k++) {
        struct tensor *input = look_up(session, &g->inputs, k, cause, failure);
        (*wanted)->targets[k].handle = g->results.handles[k];
        if (input && !input->failed)
            fill_target(session, input, k, &(*wanted)->targets[k], failure);
    }
}

/* The roots and their seeds, in one array to be freed; NULL with failure. */
static struct tensor **find_roots(struct session *session, const struct grads *g, struct cause **cause,
                                  struct td_failure *failure)
{
    struct tensor **roots = calloc(2 * (size_t)g->roots.count, sizeof *roots);
    if (!roots)
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    for (uint32_t k = 0; k < g->roots.count && !failure->code; k++) {
        roots[k] = look_up(session, &g->roots, k, cause, failure);
        if (!failure->code && g->seeds.handles[k] != NO_HANDLE)
            roots[g->roots.count + k] = look_up(session, &g->seeds, k, cause, failure);
    }
    return roots;
}

/* Every result is an error value. */
static void bind_failed(struct session *session, const struct grads *g, uint32_t site, struct cause *cause)
{
    for (uint32_t k = 0; k < g->results.count; k++) {
        TD_NO_FAILURE(failure);
        if (session_bind(session, g->results.handles[k], tensor_failed(cause), &failure))
            cause_unref(session_fail(session, "grad_of", site, &failure));
    }
}

void grads_run(struct session *session, struct request *request, struct td_failure *failure)
{
    struct grads g;
    struct wanted *wanted = NULL;
    struct tensor **roots = NULL;
    struct cause *cause = NULL;
    take_grads(request, &g, failure);
    if (request->reader->failed)
        return;
    const char *name = g.inputs.count ? "grad_of" : "backward";
    if (!failure->code && request->cancelled)
        td_fail(failure, TD_E_CANCELLED, "cancelled");
    if (!failure->code)
        roots = find_roots(session, &g, &cause, failure);
    if (!failure->code)
        find_targets(session, &g, &wanted, &cause, failure);
    if (session_traces(session) && !cause)
        cause = trace_cause();
    if (!failure->code && !cause) {
        bool create = g.options & TD_GRADS_CREATE;
        const struct errand errand = {.name = name,
                                      .waits = request->waits,
                                      .site = request->site,
                                      .root_count = (int)g.roots.count,
                                      .roots = roots,
                                      .seeds = roots + g.roots.count,
                                      .retain = create || g.options & TD_GRADS_RETAIN,
                                      .create = create,
                                      .constants = g.options & TD_GRADS_CONSTANTS,
                                      .wanted = wanted};
        session->worker->recorder.tables->backwards++;
        if (!backward_start(session, &errand, failure))
            wanted = NULL; /* the walk's */
    }
    if (failure->code) {
        struct td_failure named = {0};
        td_hint(&named, "%s", (td_fail(&named, failure->code, "%s: %s", name, failure->message), failure->hint));
        cause = session_fail(session, name, request->site, &named);
        bind_failed(session, &g, request->site, cause);
        cause_unref(cause);
        failure->code = TD_E_OK; /* told already */
    } else if (cause) {
        bind_failed(session, &g, request->site, cause);
    }
    wanted_free(session, wanted);
    free(roots);
}
