/* Recorded programs: the daemon keeps the requests, the client what it needs to know of the results.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/recording.h"

#include <stdlib.h>
#include <string.h>

/* An input as it was recorded. */
struct given {
    struct td_meta meta;
    bool requires_grad;
};

/* What is known of an output before a run, when its inputs are as they were recorded. */
struct known {
    struct td_meta meta;
    uint32_t flags;
    const struct td_op *maker;
    struct cause *cause; /* it failed while the program was recorded */
};

struct td_program {
    td_session *session; /* NULL: closed before */
    struct td_program *next;
    struct recording recording;
    uint32_t number, epoch;
    int in_count, out_count;
    struct given *in;
    struct known *out;
    struct cause *cause; /* why it cannot be run */
    bool begun, ended;
    bool freed; /* while it is recorded, with others inside: ends with the innermost of them */
};

/* ---- recordings ---- */

uint32_t recording_number(struct td_session *s)
{
    return ++s->programs_made;
}

void recording_begin(struct td_session *s, struct recording *recording, uint32_t number, const char *name, bool trace,
                     td_origin origin, int count, const uint32_t *in)
{
    uint32_t bytes = (uint32_t)strnlen(name, TD_NAME_BYTES - 1), site = site_number(s, origin.where);
    uint8_t *at = request_begin(s, 64 + TD_NAME_BYTES + (size_t)count * TD_WIRE_MAX);
    if (at) {
        at = td_write_uint(request_head(at, 0, site, 4 + (uint32_t)count, TD_R_RECORD), number);
        at = td_write_bool(td_write_text(at, name, bytes), trace);
        for (int k = 0; k < count; k++)
            at = td_write_uint(at, in[k]);
        request_end(s, at);
    }
    *recording = (struct recording){.outer = s->recording, .where = origin.where, .thread = pthread_self()};
    s->recording = recording;
}

static void program_end(struct td_program *p);

void recording_end(struct td_session *s, struct recording *recording, uint32_t number, td_origin origin, int count,
                   const uint32_t *out)
{
    uint32_t site = site_number(s, origin.where);
    uint8_t *at = request_begin(s, 64 + (size_t)count * TD_WIRE_MAX);
    if (at) {
        at = td_write_uint(request_head(at, 0, site, 2 + (uint32_t)count, TD_R_RECORD_END), number);
        for (int k = 0; k < count; k++)
            at = out[k] ? td_write_uint(at, out[k]) : td_write_nil(at);
        request_end(s, at);
    }
    s->recording = recording->outer;
    struct td_program *around = s->recording ? s->recording->program : NULL;
    if (around && around->freed)
        program_end(around);
}

td_tensor recording_placeholder(struct td_session *s, const struct td_meta *meta)
{
    uint32_t handle = handles_take(&s->handles);
    if (!handle)
        return (td_tensor){s, 0, 0};
    struct entry *e = &s->handles.entries[handle];
    if (!entry_set_storage(&s->handles, e, NULL)) {
        handles_drop(&s->handles, handle);
        return (td_tensor){s, 0, 0};
    }
    e->meta = *meta;
    e->flags |= ENTRY_LEAF;
    e->maker = td_op_of(TD_OP_clone);
    scope_add(s, handle);
    return handles_tensor(s, handle, false);
}

bool recording_refuses(struct td_session *s, const char *what, td_origin origin)
{
    TD_NO_FAILURE(failure);
    what = client_speaker(what);
    if (!s->recording)
        return false;
    td_fail(&failure, TD_E_ARGUMENT, "%s: reads inside of what is recorded from %s on; replays would not read again",
            what, s->recording->where ? s->recording->where : "td_record");
    td_hint(&failure, "Give the tensor as an output, and read that after td_run.");
    struct cause *cause = error_make(s, &failure, what, origin);
    for (struct recording *r = s->recording; r; r = r->outer)
        if (!r->cause)
            r->cause = cause_ref(cause);
    cause_unref(cause);
    return true;
}

void recording_check(struct td_session *s, const struct td_op *op, struct td_failure *failure)
{
    if (!pthread_equal(s->recording->thread, pthread_self())) {
        td_fail(failure, TD_E_ARGUMENT, "%s: another thread is recording a program in this session", op->name);
        td_hint(failure, "Between td_record and td_record_end a session is its thread's alone.");
    } else if (td_op_is_sized(op)) {
        td_fail(failure, TD_E_ARGUMENT, "%s: the size of its result depends on data, which nothing recorded may",
                op->name);
        td_hint(failure, "Call it before td_record, and give its result as an input.");
        for (struct recording *r = s->recording; r; r = r->outer)
            if (!r->cause)
                r->cause = cause_new(failure, op->name, NULL, s->wire.requests);
    }
}

/* ---- programs ---- */

static struct td_program *program_new(struct td_session *s, int in_count)
{
    struct td_program *p = calloc(1, sizeof *p);
    if (!p || !(p->in = calloc((size_t)in_count + 1, sizeof *p->in)))
        abort(); /* a few kilobytes are not to be had */
    p->in_count = in_count;
    p->session = s;
    p->epoch = s->wire.epoch;
    p->next = s->programs;
    s->programs = p;
    return p;
}

static void refuse(struct td_program *p, td_origin origin, const char *what, const struct td_failure *failure)
{
    struct cause *cause = error_make(p->session, failure, what, origin);
    if (p->cause)
        cause_unref(cause);
    else
        p->cause = cause;
}

/* The handle of item k of a list; 0, with p->cause, if it cannot be used. */
static uint32_t handle_of(struct td_program *p, td_list list, int k, const char *what, td_origin origin)
{
    struct td_failure failure = {0};
    const struct entry *e = handles_find(p->session, list.items[k]);
    if (e && !e->cause)
        return list.items[k].handle;
    if (e) {
        error_raise(p->session, e->cause);
        p->cause = p->cause ? p->cause : cause_ref(e->cause);
        return 0;
    }
    td_fail(&failure, TD_E_HANDLE, "%s: tensor %d of the list %s", what, k,
            list.items[k].session == p->session ? "is used after it was released" : "is none of this session");
    refuse(p, origin, what, &failure);
    return 0;
}

static bool check_count(struct td_program *p, td_list *list, const char *what, td_origin origin)
{
    struct td_failure failure = {0};
    if (list->count >= 0 && list->count <= TD_LIST_MAX)
        return true;
    td_fail(&failure, TD_E_LIMIT, "%s: %lld tensors; the limit is %d", what, (long long)list->count, TD_LIST_MAX);
    refuse(p, origin, what, &failure);
    list->count = 0;
    return false;
}

td_program *td_record_at(td_origin origin, td_session *s, td_list inputs)
{
    uint32_t handles[TD_LIST_MAX];
    session_enter(s);
    struct td_program *p = program_new(s, inputs.count > 0 && inputs.count <= TD_LIST_MAX ? (int)inputs.count : 0);
    check_count(p, &inputs, "record", origin);
    for (int k = 0; k < p->in_count; k++) {
        struct td_failure failure = {0};
        if (!(handles[k] = handle_of(p, inputs, k, "record", origin)))
            continue;
        const struct entry *e = &s->handles.entries[handles[k]];
        p->in[k] = (struct given){e->meta, autograd_requires(e)};
        for (int j = 0; j < k; j++)
            if (handles[j] == handles[k] && !failure.code) {
                td_fail(&failure, TD_E_ARGUMENT, "record: input %d is input %d again", k, j);
                td_hint(&failure, "Give it once; td_run may be given one tensor for two inputs.");
                refuse(p, origin, "record", &failure);
            }
    }
    if (s->dead && !p->cause)
        p->cause = cause_ref(s->dead);
    p->number = recording_number(s);
    p->recording = (struct recording){.where = origin.where, .thread = pthread_self()};
    if (!p->cause && s->recording && !s->recording->program) {
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_ARGUMENT, "record: is inside of a function's forward or backward");
        td_hint(&failure, "What these do is recorded already; a program from outside may be run there.");
        refuse(p, origin, "record", &failure);
    }
    p->begun = !p->cause;
    if (p->begun)
        recording_begin(s, &p->recording, p->number, "", false, origin, p->in_count, handles);
    p->recording.program = p;
    session_leave(s);
    return p;
}

static bool is_innermost(struct td_program *p, td_origin origin)
{
    struct td_failure failure = {0};
    if (!p->ended && p->session->recording == &p->recording)
        return true;
    td_fail(&failure, TD_E_ARGUMENT,
            p->ended ? "record_end: the program is complete already"
                     : "record_end: another program began later and has not ended");
    cause_unref(error_make(p->session, &failure, "record_end", origin));
    return false;
}

/* What a run's result is flagged as: by itself, not by the storage that it has of its own. */
static uint32_t known_flags(const struct entry *e)
{
    uint32_t flags = e->flags & (ENTRY_REQUIRES_GRAD | ENTRY_LEAF | ENTRY_LEAF_VIEW | ENTRY_NO_GRAD_VIEW);
    bool by_a_write = autograd_requires(e) && !(flags & ENTRY_REQUIRES_GRAD);
    return by_a_write ? (flags | ENTRY_REQUIRES_GRAD) & ~(uint32_t)ENTRY_LEAF : flags;
}

void td_record_end_at(td_origin origin, td_program *p, td_list outputs)
{
    uint32_t handles[TD_LIST_MAX];
    bool calls[TD_LIST_MAX];
    td_session *s = p->session;
    if (!s)
        return;
    session_enter(s);
    bool begun = !p->cause && is_innermost(p, origin);
    if (begun && check_count(p, &outputs, "record_end", origin)) {
        list_calls(&outputs, calls);
        p->out = calloc((size_t)outputs.count + 1, sizeof *p->out);
        if (!p->out)
            abort();
        p->out_count = (int)outputs.count;
        for (int k = 0; k < p->out_count; k++) {
            const struct entry *e = handles_find(s, outputs.items[k]);
            handles[k] = 0;
            if (e && e->cause)
                p->out[k].cause = cause_ref(e->cause);
            else if ((handles[k] = handle_of(p, outputs, k, "record_end", origin)))
                p->out[k] = (struct known){.meta = e->meta, .flags = known_flags(e), .maker = e->maker};
        }
    }
    if (begun) {
        recording_end(s, &p->recording, p->number, origin, p->out_count, handles);
        if (!p->cause)
            p->cause = p->recording.cause;
        else
            cause_unref(p->recording.cause);
    }
    for (int k = 0; begun && k < p->out_count; k++)
        if (calls[k] && outputs.items[k].generation & FRESH && handles_find(s, outputs.items[k]))
            request_release(s, outputs.items[k].handle);
    p->ended |= begun || p->cause; /* with others inside it goes on */
    session_leave(s);
}

/* How the inputs of a run are like those that were recorded. */
enum alike { ALIKE, BUT_FOR_GRADIENTS, DIFFERENT };

/* The inputs of a run are those that were recorded, as far as the layouts of results follow from them. */
static bool as_recorded(const struct td_program *p, const uint32_t *in)
{
    for (int k = 0; k < p->in_count; k++) {
        const struct entry *e = &p->session->handles.entries[in[k]];
        const struct td_meta *was = &p->in[k].meta;
        if (e->flags & ENTRY_UNKNOWN || e->meta.dtype != was->dtype || !td_meta_same_shape(&e->meta, was) ||
            memcmp(e->meta.stride, was->stride, was->rank * sizeof *was->stride))
            return false;
    }
    return true;
}

/* And as far as it follows from them who requires a gradient. */
static bool requires_as_recorded(const struct td_program *p, const uint32_t *in)
{
    for (int k = 0; k < p->in_count; k++)
        if (autograd_requires(&p->session->handles.entries[in[k]]) != p->in[k].requires_grad)
            return false;
    return true;
}

/* A handle for output k; 0 if there is none left. */
static uint32_t make_output(struct td_program *p, int k, enum alike alike)
{
    td_session *s = p->session;
    const struct known *known = &p->out[k];
    uint32_t handle = handles_take(&s->handles);
    if (!handle)
        return 0;
    struct entry *e = &s->handles.entries[handle];
    if (!entry_set_storage(&s->handles, e, NULL)) {
        handles_drop(&s->handles, handle);
        return 0;
    }
    e->meta = known->meta;
    e->maker = known->maker;
    e->flags |= known->flags;
    if (alike == DIFFERENT) /* not even rank and dtype need be the same */
        e->meta = (struct td_meta){.dtype = TD_DTYPE_NONE};
    bool wants = alike == BUT_FOR_GRADIENTS && td_dtype_category(known->meta.dtype) == TD_FLOATING;
    if ((alike == DIFFERENT || wants) && !known->cause)
        e->flags |= ENTRY_UNKNOWN;
    scope_add(s, handle);
    return handle;
}

/* Why p cannot be run on these inputs; NULL: it can. With one reference. */
static struct cause *check_run(struct td_program *p, td_list inputs, uint32_t *in, td_origin origin)
{
    td_session *s = p->session;
    struct td_failure failure = {0};
    if (s->dead || p->cause)
        return cause_ref(s->dead ? s->dead : p->cause);
    if (!p->ended) {
        td_fail(&failure, TD_E_ARGUMENT, "run: the program is still being recorded");
        td_hint(&failure, "td_record_end completes it; a program cannot run itself.");
    } else if (p->epoch != s->wire.epoch) {
        td_fail(&failure, TD_E_LOST, "run: the program was lost with the daemon that it was recorded in");
        td_hint(&failure, "Record it again.");
    } else if (inputs.count != p->in_count) {
        td_fail(&failure, TD_E_ARGUMENT, "run: %lld inputs for a program of %d", (long long)inputs.count, p->in_count);
    }
    for (int k = 0; !failure.code && k < p->in_count; k++) {
        const struct entry *e = handles_find(s, inputs.items[k]);
        if (e && e->cause)
            return cause_ref(e->cause);
        in[k] = inputs.items[k].handle;
        if (!e)
            td_fail(&failure, TD_E_HANDLE, "run: input %d %s", k,
                    inputs.items[k].session == s ? "is used after it was released" : "is no tensor of this session");
    }
    return failure.code ? cause_new(&failure, "run", origin.where, s->wire.requests) : NULL;
}

static void send_run(struct td_program *p, td_origin origin, const uint32_t *in, const uint32_t *out)
{
    td_session *s = p->session;
    uint32_t site = site_number(s, origin.where);
    uint8_t *at = request_begin(s, 64 + (size_t)(p->in_count + p->out_count) * TD_WIRE_MAX);
    if (!at)
        return;
    at = request_head(at, 0, site, 3 + (uint32_t)(p->in_count + p->out_count), TD_R_RUN);
    at = td_write_uint(td_write_uint(at, p->number), (uint64_t)p->in_count);
    for (int k = 0; k < p->in_count; k++)
        at = td_write_uint(at, in[k]);
    for (int k = 0; k < p->out_count; k++)
        at = td_write_uint(at, out[k]);
    request_end(s, at);
}

/* Asks what output x is, where it cannot be known. */
static void learn_output(struct td_session *s, td_tensor x, td_origin origin)
{
    const struct entry *e = layout_learn(s, x, origin);
    if (e && e->cause)
        error_raise(s, e->cause);
}

void td_run_at(td_origin origin, td_program *p, td_list inputs, td_tensor *results)
{
    uint32_t in[TD_LIST_MAX], out[TD_LIST_MAX];
    bool calls[TD_LIST_MAX];
    td_session *s = p->session;
    if (!s)
        return;
    session_enter(s);
    struct cause *cause = check_run(p, inputs, in, origin);
    enum alike alike = cause || as_recorded(p, in) ? ALIKE : DIFFERENT;
    if (!cause && alike == ALIKE && !requires_as_recorded(p, in))
        alike = s->recording ? ALIKE : BUT_FOR_GRADIENTS; /* inside of a recording nobody can be asked */
    for (int k = 0; k < p->out_count && !cause; k++) {
        struct td_failure failure = {0};
        out[k] = make_output(p, k, alike);
        if (!out[k]) {
            td_fail(&failure, TD_E_LIMIT, "run: no handle is left of %u", s->handles.limit);
            cause = cause_new(&failure, "run", origin.where, s->wire.requests);
            while (k-- > 0)
                handles_drop(&s->handles, out[k]);
            break;
        }
        results[k] = handles_tensor(s, out[k], true);
    }
    if (cause) {
        error_raise(s, cause);
        for (int k = 0; k < p->out_count; k++)
            results[k] = handles_failed(s, cause_ref(cause));
    } else {
        send_run(p, origin, in, out);
        for (int k = 0; k < p->out_count && alike != ALIKE; k++)
            learn_output(s, results[k], origin);
        for (int k = 0; k < p->out_count; k++) /* what failed in the recording fails again, for the same reason */
            if (p->out[k].cause && handles_find(s, results[k])) {
                s->handles.entries[out[k]].cause = cause_ref(p->out[k].cause);
                error_raise(s, p->out[k].cause);
            }
    }
    if (inputs.count > 0 && inputs.count <= TD_LIST_MAX) {
        list_calls(&inputs, calls);
        for (int k = 0; k < inputs.count; k++)
            if (calls[k] && inputs.items[k].generation & FRESH && handles_find(s, inputs.items[k]))
                request_release(s, inputs.items[k].handle);
    }
    cause_unref(cause);
    call_check(s, origin);
    session_leave(s);
}

struct td_session *program_session(const struct td_program *p)
{
    return p->session;
}

uint32_t program_number(const struct td_program *p)
{
    return p->number;
}

struct cause *program_refuses(const struct td_program *p, const char *name, td_origin origin)
{
    td_session *s = p->session;
    struct td_failure failure = {0};
    if (s->dead || p->cause)
        return cause_ref(s->dead ? s->dead : p->cause);
    if (!p->ended)
        td_fail(&failure, TD_E_ARGUMENT, "%s: the program is still being recorded", name);
    else if (s->recording)
        td_fail(&failure, TD_E_ARGUMENT, "%s: cannot be part of a recording, since it reads", name);
    else if (p->epoch != s->wire.epoch)
        td_fail(&failure, TD_E_LOST, "%s: the program was lost with the daemon that it was recorded in", name);
    return failure.code ? cause_new(&failure, name, origin.where, s->wire.requests) : NULL;
}

static void program_deinit(struct td_program *p)
{
    for (int k = 0; k < p->out_count; k++)
        cause_unref(p->out[k].cause);
    cause_unref(p->cause);
    free(p->in);
    free(p->out);
    free(p);
}

/* What the daemon has of a program, and the program itself. */
static void program_end(struct td_program *p)
{
    td_session *s = p->session;
    for (td_program **at = &s->programs; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    if (s->recording == &p->recording) {
        recording_end(s, &p->recording, p->number, (td_origin){p->recording.where, 0}, 0, NULL);
        cause_unref(p->recording.cause);
    }
    if (!s->dead && p->epoch == s->wire.epoch && p->begun)
        request_numbers(s, 0, TD_R_PROGRAM_FREE, 1, (uint64_t[]){p->number});
    program_deinit(p);
}

void td_program_free(td_program *p)
{
    td_session *s = p ? p->session : NULL;
    if (s) {
        session_enter(s);
        const struct recording *r = s->recording;
        while (r && r != &p->recording)
            r = r->outer;
        p->freed = true;
        if (!r || r == s->recording)
            program_end(p);
        session_leave(s);
    } else if (p) {
        program_deinit(p);
    }
}

void programs_forget(struct td_session *s)
{
    for (td_program *p = s->programs, *next; p; p = next) {
        next = p->next;
        p->session = NULL;
        if (p->freed)
            program_deinit(p);
    }
    s->programs = NULL;
    s->recording = NULL;
}

td_program *(td_record)(td_session *s, td_list inputs)
{
    return td_record_at((td_origin){0}, s, inputs);
}

void(td_record_end)(td_program *program, td_list outputs)
{
    td_record_end_at((td_origin){0}, program, outputs);
}

void(td_run)(td_program *program, td_list inputs, td_tensor *outputs)
{
    td_run_at((td_origin){0}, program, inputs, outputs);
}
