/* Planning. Three passes over the requests, in pieces: forward, to see which value each of them makes and uses (a
 * handle is a value's name only until it is let go of); backward, to find what is needed and where last; forward, to
 * write the plan. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/plan.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/exec.h"

/* Larger programs carry data, or are no loop's: they would take more time and memory to plan than they give back. */
#define PLANNED_BYTES ((size_t)8 << 20)
/* Requests in one step. */
#define PLAN_STEP 64

#define NEVER UINT32_MAX
#define NO_INPUT UINT16_MAX /* of a use by something else than an op */

struct value {
    uint32_t handle;
    uint32_t last; /* the request that needs it last; NEVER; the count of requests: an output */
    bool ours;     /* made by an op or a run: ends where the plan says */
};

struct use {
    uint32_t value;
    uint16_t input; /* of the op */
};

struct planned {
    uint32_t at, bytes;        /* of the program's */
    uint32_t first_use, first; /* of its uses, and of the values that it makes */
    bool is_op;
    bool removable; /* an op without effects that cannot fail for its data */
    bool ends;      /* releases a value that is ours: the plan does so itself */
    bool dead;
};

struct planning {
    struct iterator iterator;
    struct program *program;
    enum step (*pass)(struct session *session, struct planning *p);
    struct td_reader reader;
    uint32_t next; /* request of the pass; going back, the one after */
    struct planned *requests;
    size_t request_count, request_capacity;
    struct use *uses;
    size_t use_count, use_capacity;
    struct value *values;
    size_t value_count, value_capacity;
    uint32_t *current; /* by handle: value + 1; 0: none that is ours */
    uint32_t current_count;
    uint8_t *plan;
    size_t size, capacity;
    bool failed; /* no memory, or bytes that are no requests */
};

/* ---- forward: who makes and uses what ---- */

static void use(struct planning *p, uint32_t handle, int input)
{
    uint32_t value = handle < p->current_count ? p->current[handle] : 0;
    if (!value)
        return;
    if (!array_grow(&p->uses, p->use_count, &p->use_capacity, sizeof *p->uses))
        p->failed = true;
    else
        p->uses[p->use_count++] = (struct use){value - 1, (uint16_t)input};
}

/* Whether handle was that of a value of ours, which it is no longer. */
static bool end(struct planning *p, uint32_t handle)
{
    if (handle >= p->current_count || !p->current[handle])
        return false;
    bool ours = p->values[p->current[handle] - 1].ours;
    p->current[handle] = 0;
    return ours;
}

static void make(struct planning *p, uint32_t handle)
{
    if (handle >= TD_HANDLES_MAX)
        return;
    if (handle >= p->current_count) {
        uint32_t count = handle < 128 ? 256 : 2 * handle;
        uint32_t *current = realloc(p->current, count * sizeof *current);
        if (!current) {
            p->failed = true;
            return;
        }
        memset(current + p->current_count, 0, (count - p->current_count) * sizeof *current);
        p->current = current;
        p->current_count = count;
    }
    if (p->current[handle]) /* rebound by its maker (td_grad), which lets go of the old one itself */
        p->values[p->current[handle] - 1].ours = false;
    if (!array_grow(&p->values, p->value_count, &p->value_capacity, sizeof *p->values)) {
        p->failed = true;
        return;
    }
    p->values[p->value_count++] = (struct value){handle, NEVER, true};
    p->current[handle] = (uint32_t)p->value_count;
}

/* UINT32_MAX if the next element, which is taken, is no number of 32 bits. */
static uint32_t take(struct td_reader *r)
{
    int64_t number;
    if (td_take_int(r, &number))
        return number >= 0 && number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
    td_read_skip(r);
    return UINT32_MAX;
}

static void use_all(struct planning *p, struct td_reader *r, uint32_t count)
{
    for (; count && !r->failed; count--)
        use(p, take(r), NO_INPUT);
}

static void make_all(struct planning *p, struct td_reader *r, uint32_t count)
{
    for (; count && !r->failed; count--)
        make(p, take(r));
}

/* A count, as many inputs, and outputs. */
static void see_run(struct planning *p, struct td_reader *r, uint32_t elements)
{
    uint32_t left = elements - 1, count = take(r);
    count = count < left ? count : left;
    use_all(p, r, count);
    make_all(p, r, left - count);
}

/* A request that is no op. elements: those behind its id, as many as it is recorded with if it did not fail. */
static void see_request(struct planning *p, struct planned *request, uint64_t id, struct td_reader *r,
                        uint32_t elements)
{
    uint32_t result;
    switch (elements ? id : 0) {
    case TD_R_RELEASE: /* of one, as recorded */
        request->ends = end(p, take(r));
        break;
    case TD_R_UPLOAD:
    case TD_R_REQUIRES_GRAD:
    case TD_R_RETAIN_GRAD:
    case TD_R_HOOK:
        use_all(p, r, 1);
        break;
    case TD_R_BACKWARD: /* and two truth values */
    case TD_R_ZERO_GRAD:
        use_all(p, r, elements);
        break;
    case TD_R_GRAD:
        result = take(r);
        use_all(p, r, elements - 1);
        make(p, result);
        break;
    case TD_R_GRADS:
        for (int list = 0; list < 3; list++)
            use_all(p, r, td_read_array(r));
        make_all(p, r, td_read_array(r));
        break;
    case TD_R_RUN:
    case TD_R_APPLY:
        for (uint32_t first = id == TD_R_RUN ? 1 : 3; first && elements; first--, elements--)
            td_read_skip(r); /* programs, and what is no handle */
        if (elements)
            see_run(p, r, elements);
        break;
    default: /* seeds and checkpoints have no handles */
        break;
    }
}

static void see_op(struct planning *p, struct planned *request, const struct td_op *op, struct td_reader *r,
                   uint32_t elements, struct td_call *call)
{
    TD_NO_FAILURE(refused);
    p->failed |= td_call_decode(r, op, elements, call, &refused) != TD_E_OK;
    request->is_op = true;
    request->removable =
        (op->kind == TD_CREATE || op->kind == TD_FRESH || op->kind == TD_VIEW) && !td_op_fails_for_data(op);
    for (int k = 0; k < call->in_count; k++)
        if (call->in[k].kind == TD_INPUT_HANDLE)
            use(p, call->in[k].handle, k);
    for (int k = 0; k < call->in_count && k < TD_CONSUME_MAX; k++)
        if (call->flags & TD_FLAG_CONSUME(k) && call->in[k].kind == TD_INPUT_HANDLE)
            request->removable &= end(p, call->in[k].handle);
    for (int k = 0; k < td_op_named_outputs(op); k++)
        make(p, call->out[k]);
}

static enum step write_next(struct session *session, struct planning *p);
static enum step need_next(struct session *session, struct planning *p);

static void see(struct session *session, struct planning *p)
{
    struct td_call *call = &session->worker->call;
    if (!array_grow(&p->requests, p->request_count, &p->request_capacity, sizeof *p->requests)) {
        p->failed = true;
        return;
    }
    struct planned *request = &p->requests[p->request_count++];
    *request = (struct planned){.at = (uint32_t)(p->reader.at - p->program->bytes),
                                .first_use = (uint32_t)p->use_count,
                                .first = (uint32_t)p->value_count};
    call->flags = td_read_u32(&p->reader);
    td_read_u32(&p->reader);
    struct td_reader array = p->reader;
    uint32_t elements = td_read_array(&array);
    uint64_t id = td_read_uint(&array);
    const struct td_op *op = td_op_of(id);
    if (op)
        see_op(p, request, op, &array, elements, call);
    else
        see_request(p, request, id, &array, elements - 1);
    td_read_skip(&p->reader);
    request->bytes = (uint32_t)(p->reader.at - p->program->bytes) - request->at;
    p->failed |= array.failed || p->reader.failed;
}

static enum step see_next(struct session *session, struct planning *p)
{
    for (int k = 0; k < PLAN_STEP && p->reader.at < p->reader.end && !p->failed; k++)
        see(session, p);
    if (p->reader.at < p->reader.end)
        return STEP_MORE;
    const struct program *program = p->program;
    for (int k = 0; k < program->out_count; k++) {
        uint32_t handle = program->out[k], value = handle < p->current_count ? p->current[handle] : 0;
        if (value)
            p->values[value - 1].last = (uint32_t)p->request_count;
    }
    p->next = (uint32_t)p->request_count;
    p->pass = need_next;
    return STEP_MORE;
}

/* ---- back: what is needed, and where last ---- */

static uint32_t uses_end(const struct planning *p, uint32_t request)
{
    return request + 1 < p->request_count ? p->requests[request + 1].first_use : (uint32_t)p->use_count;
}

static uint32_t values_end(const struct planning *p, uint32_t request)
{
    return request + 1 < p->request_count ? p->requests[request + 1].first : (uint32_t)p->value_count;
}

static void need(struct planning *p, uint32_t at)
{
    struct planned *request = &p->requests[at];
    request->dead = request->removable;
    for (uint32_t v = request->first; v < values_end(p, at); v++)
        request->dead &= p->values[v].ours && p->values[v].last == NEVER;
    for (uint32_t u = request->first_use; u < uses_end(p, at) && !request->dead; u++)
        if (p->values[p->uses[u].value].last == NEVER)
            p->values[p->uses[u].value].last = at;
}

static enum step need_next(struct session *session, struct planning *p)
{
    (void)session;
    for (int k = 0; k < PLAN_STEP && p->next; k++)
        need(p, --p->next);
    if (!p->next)
        p->pass = write_next;
    return STEP_MORE;
}

/* ---- forward: the plan ---- */

/* Room for bytes more; NULL: there is no memory. */
static uint8_t *room(struct planning *p, size_t bytes)
{
    if (p->size + bytes > p->capacity) {
        size_t capacity = 2 * (p->size + bytes);
        uint8_t *grown = realloc(p->plan, capacity);
        if (!grown) {
            p->failed = true;
            return NULL;
        }
        p->plan = grown;
        p->capacity = capacity;
    }
    return p->plan + p->size;
}

static void write_release(struct planning *p, struct value *value)
{
    uint8_t *start = room(p, 4 * TD_WIRE_MAX), *at = start;
    if (!at)
        return;
    at = td_write_uint(td_write_uint(at, 0), 0);
    at = td_write_uint(td_write_uint(td_write_array(at, 2), TD_R_RELEASE), value->handle);
    p->size += (size_t)(at - start);
    value->ours = false; /* once is enough */
}

/* The consume bits of an op: of values that are ours the plan's, of others those recorded. */
static uint32_t plan_flags(struct planning *p, uint32_t at, uint32_t flags)
{
    for (uint32_t u = p->requests[at].first_use; u < uses_end(p, at); u++) {
        struct value *value = &p->values[p->uses[u].value];
        uint32_t bit = p->uses[u].input < TD_CONSUME_MAX ? TD_FLAG_CONSUME(p->uses[u].input) : 0;
        flags &= ~bit;
        if (!bit || !value->ours || value->last != at)
            continue;
        flags |= bit;
        value->ours = false;
    }
    return flags;
}

static void write_request(struct planning *p, uint32_t at)
{
    const struct planned *request = &p->requests[at];
    const uint8_t *bytes = p->program->bytes + request->at;
    struct td_reader reader = td_reader_of(bytes, request->bytes);
    uint32_t flags = td_read_u32(&reader);
    if (request->is_op)
        flags = plan_flags(p, at, flags);
    uint8_t *start = room(p, TD_WIRE_MAX + td_reader_left(&reader));
    if (!start)
        return;
    uint8_t *end = td_write_uint(start, flags);
    memcpy(end, reader.at, td_reader_left(&reader));
    p->size += (size_t)(end - start) + td_reader_left(&reader);
    for (uint32_t u = request->first_use; u < uses_end(p, at); u++) {
        struct value *value = &p->values[p->uses[u].value];
        if (value->ours && value->last == at)
            write_release(p, value);
    }
    for (uint32_t v = request->first; v < values_end(p, at); v++)
        if (p->values[v].ours && p->values[v].last == NEVER)
            write_release(p, &p->values[v]);
}

static void install(struct session *session, struct planning *p)
{
    struct program *program = p->program;
    uint32_t left_out = 0;
    for (size_t k = 0; k < p->request_count; k++)
        left_out += p->requests[k].dead;
    uint32_t *numbers = malloc((left_out + 1) * sizeof *numbers);
    if (!numbers || !program_charge(session, program, p->size + left_out * sizeof *numbers)) {
        free(numbers);
        return;
    }
    for (size_t k = 0; k < p->request_count; k++)
        if (p->requests[k].dead)
            numbers[program->left_out_count++] = (uint32_t)k;
    program->left_out = numbers;
    program->planned = true;
    program->plan = p->plan;
    program->plan_size = p->size;
    p->plan = NULL;
}

static enum step write_next(struct session *session, struct planning *p)
{
    for (int k = 0; k < PLAN_STEP && p->next < p->request_count && !p->failed; k++, p->next++)
        if (!p->requests[p->next].dead && !p->requests[p->next].ends)
            write_request(p, p->next);
    if (p->next < p->request_count)
        return STEP_MORE;
    if (!p->failed)
        install(session, p);
    return STEP_DONE;
}

/* ---- the iterator ---- */

static enum step plan_next(struct session *session, struct iterator *iterator)
{
    struct planning *p = (struct planning *)iterator;
    return session->closing || p->failed ? STEP_DONE : p->pass(session, p);
}

static void plan_drop(struct session *session, struct iterator *iterator)
{
    struct planning *p = (struct planning *)iterator;
    program_unref(session, p->program);
    free(p->requests);
    free(p->uses);
    free(p->values);
    free(p->current);
    free(p->plan);
    free(p);
}

void plan_start(struct session *session, struct program *program)
{
    if (program->size == 0 || program->size > PLANNED_BYTES)
        return;
    struct planning *p = malloc(sizeof *p);
    if (!p)
        return;
    *p = (struct planning){.iterator = {.next = plan_next, .drop = plan_drop},
                           .program = program_ref(program),
                           .pass = see_next,
                           .reader = td_reader_of(program->bytes, program->size)};
    session_push(session, &p->iterator);
}
