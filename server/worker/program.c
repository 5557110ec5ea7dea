/* Recorded programs. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/checkpoint.h"
#include "server/worker/decoder.h"
#include "server/worker/plan.h"
#include "server/worker/tape.h"

/* A table of handles that is larger is not kept for the session's next run. */
#define NAMES_KEPT 8192

#define FULL "all programs of the session take more than 64 MiB of the daemon's host"

/* ---- arrays ---- */

bool array_grow(void *array, size_t count, size_t *capacity, size_t size)
{
    void *grown;
    if (count < *capacity)
        return true;
    size_t more = *capacity ? 2 * *capacity : 16;
    memcpy(&grown, array, sizeof grown);
    if (!(grown = realloc(grown, more * size)))
        return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = more;
    return true;
}

/* ---- life ---- */

static struct program *program_new(struct session *session, uint32_t number, const char *name)
{
    struct program *program = calloc(1, sizeof *program);
    if (!program)
        return NULL;
    program->refs = 1;
    session->program_count++;
    program->number = number;
    snprintf(program->name, sizeof program->name, "%s", name);
    program->list = number ? &session->programs : &session->checkpoints;
    program->next = *program->list;
    if (program->next)
        program->next->prev = program;
    *program->list = program;
    return program;
}

bool program_charge(struct session *session, struct program *program, size_t bytes)
{
    if (bytes > TD_PROGRAM_BYTES - session->program_bytes)
        return false;
    session->program_bytes += bytes;
    program->charged += bytes;
    return true;
}

struct program *program_ref(struct program *program)
{
    program->refs++;
    return program;
}

static void drop_captures(struct session *session, struct program *program)
{
    for (size_t k = 0; k < program->capture_count; k++)
        tensor_unref(session, program->captures[k].tensor);
    program->capture_count = 0;
}

static void sweep(struct session *session, struct names *names)
{
    for (uint32_t k = 0; k < names->capacity && names->count > 0; k++) {
        struct tensor *tensor = names->tensors[k];
        if (!tensor)
            continue;
        names->tensors[k] = NULL;
        names->count--;
        tensor_unref(session, tensor);
    }
}

void program_unref(struct session *session, struct program *program)
{
    if (--program->refs)
        return;
    if (program->prev)
        program->prev->next = program->next;
    else
        *program->list = program->next;
    if (program->next)
        program->next->prev = program->prev;
    drop_captures(session, program);
    for (size_t k = 0; k < program->callee_count; k++)
        program_unref(session, program->callees[k].program);
    session->program_bytes -= program->charged;
    session->program_count--;
    cause_unref(program->cause);
    free(program->bytes);
    free(program->plan);
    free(program->left_out);
    free(program->captures);
    free(program->callees);
    free(program->in);
    free(program->out);
    free(program->inputs);
    free(program);
}

void program_forget(struct session *session, struct program *program)
{
    program->number = 0;
    program_unref(session, program);
}

void recording_pop(struct session *session)
{
    struct recording *recording = session->recording;
    if (recording->checkpoint) {
        session->no_grad = recording->no_grad;
        session->marks = recording->marks;
        checkpoint_free(session, recording->checkpoint);
    }
    session->recording = recording->outer;
    free(recording->known);
    free(recording);
}

/* Of a list of programs: with what one captured others may go. */
static void drop_all_captures(struct session *session, struct program *program)
{
    struct program *next;
    if (program)
        program_ref(program);
    for (; program; program = next) {
        drop_captures(session, program);
        next = program->next ? program_ref(program->next) : NULL;
        program_unref(session, program);
    }
}

/* Captures may hold, by a graph that was tied to them later, the program itself: with them gone nothing holds it. */
void programs_end(struct session *session)
{
    while (session->recording) {
        struct program *program = session->recording->program;
        recording_pop(session);
        program_unref(session, program);
    }
    drop_all_captures(session, session->programs);
    drop_all_captures(session, session->checkpoints);
    for (struct program *program = session->programs, *next; program; program = next) {
        next = program->next;
        if (!program->number)
            continue;
        program_forget(session, program);
        next = session->programs; /* its callees may have gone with it */
    }
}

static struct program *find_live(struct session *session, uint32_t number)
{
    struct program *program = number ? session->programs : NULL; /* 0 is nobody's */
    while (program && program->number != number)
        program = program->next;
    return program;
}

/* ---- recording ---- */

struct cause *trace_cause(void)
{
    /* Never freed: the first reference stays. */
    static struct cause traced = {
        .refs = 1, .code = TD_E_ARGUMENT, .op = "trace", .message = "the value of what is only being traced"};
    return &traced;
}

static bool know(struct recording *recording, uint32_t handle, enum known how)
{
    if (handle >= recording->known_count) {
        uint32_t count = handle < 128 ? 256 : 2 * handle;
        uint8_t *known = realloc(recording->known, count);
        if (!known)
            return false;
        memset(known + recording->known_count, 0, count - recording->known_count);
        recording->known = known;
        recording->known_count = count;
    }
    recording->known[handle] = (uint8_t)how;
    return true;
}

/* The recording around, if requests belong to that, too. */
static struct recording *around(const struct recording *recording)
{
    struct recording *outer = recording->outer;
    return recording->trace || !outer || outer->names != recording->names ? NULL : outer;
}

static bool knows(const struct recording *recording, uint32_t handle)
{
    return handle < recording->known_count && recording->known[handle];
}

/* The program fails from now on; what it has is let go of. */
static void spoil(struct session *session, struct program *program, struct cause *cause)
{
    if (program->cause)
        return;
    program->cause = cause_ref(cause);
    drop_captures(session, program);
    session->program_bytes -= program->size;
    program->charged -= program->size;
    program->size = 0;
}

static void spoil_memory(struct session *session, struct recording *recording, const char *what)
{
    TD_NO_FAILURE(failure);
    td_fail(&failure, TD_E_MEMORY, "record: %s", what);
    struct cause *cause = session_fail(session, "record", session->call_site, &failure);
    spoil(session, recording->program, cause);
    cause_unref(cause);
}

void recording_spoil(struct session *session, const char *op, uint32_t site, const struct td_failure *failure)
{
    struct cause *cause = NULL;
    for (struct recording *r = session->recording; r; r = around(r)) {
        if (r->checkpoint) /* which replays the same values */
            continue;
        if (!cause)
            cause = session_fail(session, op, site, failure);
        spoil(session, r->program, cause);
    }
    cause_unref(cause);
}

static int take_inputs(struct session *session, struct recording *recording, struct td_failure *failure)
{
    struct program *program = recording->program;
    for (int k = 0; k < program->in_count && !failure->code; k++) {
        uint32_t handle = program->in[k];
        struct program_input *input = &program->inputs[k];
        if (handle < TD_HANDLES_MAX && knows(recording, handle))
            return td_fail(failure, TD_E_ARGUMENT, "input %d is given twice", k);
        if (recording->trace) {
            session_bind(session, handle, tensor_failed(trace_cause()), failure);
            continue;
        }
        if (handle < TD_HANDLES_MAX &&
            !know(recording, handle, KNOWN_GIVEN)) /* before it is looked up: it is no capture */
            return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        struct tensor *tensor = session_tensor(session, handle, failure);
        if (!tensor)
            break;
        bool failed = false;
        tensor_meta(tensor, &input->meta);
        input->requires_grad = tensor_edge(session, tensor, &failed) != NULL;
        input->same = k;
        for (int j = 0; j < k && input->same == k; j++) {
            const struct tensor *other = session_tensor(session, program->in[j], failure);
            if (other && other->storage == tensor->storage)
                input->same = j;
        }
    }
    return failure->code;
}

int recording_begin(struct session *session, uint32_t number, const char *name, bool trace, int in_count,
                    const uint32_t *in, struct td_failure *failure)
{
    if (find_live(session, number))
        return td_fail(failure, TD_E_HANDLE, "there is a program %" PRIu32 " already", number);
    if (session->program_count >= TD_PROGRAMS_MAX) {
        td_fail(failure, TD_E_LIMIT, "the session has %d programs; the limit is %d", TD_PROGRAMS_MAX, TD_PROGRAMS_MAX);
        return td_hint(failure, "td_program_free ends one, td_function_free all traces of a function.");
    }
    struct recording *recording = calloc(1, sizeof *recording);
    struct program *program = recording ? program_new(session, number, name) : NULL;
    if (!program) {
        free(recording);
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    }
    size_t room = (size_t)(in_count ? in_count : 1);
    program->in = malloc(room * sizeof *program->in);
    program->inputs = calloc(room, sizeof *program->inputs);
    recording->program = program;
    recording->trace = program->traced = trace || session_traces(session);
    if (!program->in || !program->inputs) {
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    } else if (!program_charge(session, program,
                               sizeof *program + room * (sizeof *program->in + sizeof *program->inputs))) {
        td_fail(failure, TD_E_LIMIT, FULL);
        td_hint(failure, "td_program_free ends one, td_function_free all traces of a function.");
    } else {
        if (in_count) /* a checkpoint has none, nor an array */
            memcpy(program->in, in, (size_t)in_count * sizeof *in);
        program->in_count = in_count;
    }
    recording->outer = session->recording;
    recording->names = session->names;
    recording->failed_count = session->failed_count;
    session->recording = recording;
    if (!failure->code && take_inputs(session, recording, failure) == TD_E_OK)
        return TD_E_OK;
    recording_pop(session);
    program_unref(session, program);
    return failure->code;
}

int recording_abandon(struct session *session, const struct recording *recording, struct td_failure *failure)
{
    while (session->recording != recording) {
        struct program *inner = session->recording->program;
        td_fail(failure, TD_E_ARGUMENT, "a %s that was begun inside has not ended",
                session->recording->checkpoint ? "TD_CHECKPOINT" : "recording");
        recording_pop(session);
        struct cause *cause = session_fail(session, "record", session->call_site, failure);
        spoil(session, inner, cause);
        cause_unref(cause);
        if (!inner->number) /* others are the client's, to be freed */
            program_unref(session, inner);
    }
    return failure->code;
}

int recording_end(struct session *session, uint32_t number, int out_count, const uint32_t *out,
                  struct td_failure *failure)
{
    struct recording *recording = session->recording;
    while (recording && recording->names == session->names && recording->program->number != number)
        recording = recording->outer;
    if (!recording || recording->names != session->names || !number)
        return td_fail(failure, TD_E_ARGUMENT, "program %" PRIu32 " is not being recorded", number);
    struct program *program = recording->program;
    if (recording_abandon(session, recording, failure))
        td_hint(failure, "What is begun inside of a recording must end inside of it.");
    for (int k = 0; k < out_count; k++)
        if (out[k] != UINT32_MAX)
            session_tensor(session, out[k], failure);
    program->out = malloc((size_t)(out_count ? out_count : 1) * sizeof *out);
    if (!program->out)
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    else
        memcpy(program->out, out, (size_t)out_count * sizeof *out);
    program->out_count = program->out ? out_count : 0;
    bool fails = session->failed_count != recording->failed_count; /* and so will its runs: all of it is carried out */
    recording_pop(session);
    if (failure->code) {
        struct cause *cause = session_fail(session, "record", session->call_site, failure);
        spoil(session, program, cause);
        cause_unref(cause);
        failure->code = TD_E_OK; /* told already */
    } else if (!fails && !program->cause) {
        plan_start(session, program);
    }
    return TD_E_OK;
}

static void append(struct session *session, struct recording *recording, const uint8_t *bytes, size_t size)
{
    struct program *program = recording->program;
    if (program->cause)
        return;
    if (!program_charge(session, program, size)) {
        spoil_memory(session, recording, FULL);
        return;
    }
    size_t due = program->size + size;
    if (due > program->capacity) {
        uint8_t *grown = realloc(program->bytes, 2 * due);
        if (!grown) {
            spoil_memory(session, recording, "the daemon's host has no memory left");
            return;
        }
        program->bytes = grown;
        program->capacity = 2 * due;
    }
    memcpy(program->bytes + program->size, bytes, size);
    program->size = due;
    program->requests++;
}

void recording_add(struct session *session, const uint8_t *bytes, size_t size, bool ends)
{
    struct recording *first = session->recording;
    for (struct recording *r = ends ? around(first) : first; r; r = around(r))
        append(session, r, bytes, size);
}

void recording_releases(struct session *session, uint32_t handle)
{
    uint8_t bytes[4 * TD_WIRE_MAX], *at = td_write_uint(td_write_uint(bytes, 0), 0);
    at = td_write_uint(td_write_uint(td_write_array(at, 2), TD_R_RELEASE), handle);
    for (struct recording *r = session->recording; r; r = around(r))
        if (knows(r, handle) && r->known[handle] != KNOWN_GONE)
            append(session, r, bytes, (size_t)(at - bytes));
}

void recording_lets_go(struct session *session, uint32_t handle)
{
    for (struct recording *r = session->recording; r; r = around(r))
        if (knows(r, handle))
            r->known[handle] = KNOWN_GONE;
}

static bool capture(struct session *session, struct recording *recording, uint32_t handle, struct tensor *tensor)
{
    struct program *p = recording->program;
    if (!array_grow(&p->captures, p->capture_count, &p->capture_capacity, sizeof *p->captures) ||
        (recording->checkpoint && !checkpoint_captures(session, recording, tensor))) {
        spoil_memory(session, recording, "the daemon's host has no memory left");
        return false;
    }
    if (!program_charge(session, p, sizeof *p->captures + (recording->checkpoint ? sizeof(struct window) : 0))) {
        spoil_memory(session, recording, FULL);
        return false;
    }
    bool failed = false;
    bool requires_grad = tensor_edge(session, tensor, &failed) != NULL;
    p->captures[p->capture_count++] = (struct capture){handle, requires_grad, tensor_ref(tensor)};
    return true;
}

void recording_uses(struct session *session, uint32_t handle, struct tensor *tensor)
{
    for (struct recording *r = session->recording; r; r = around(r)) {
        struct program *p = r->program;
        if (p->cause || knows(r, handle))
            continue;
        if (!know(r, handle, KNOWN_GIVEN))
            spoil_memory(session, r, "the daemon's host has no memory left");
        else
            capture(session, r, handle, tensor);
    }
}

void recording_binds(struct session *session, uint32_t handle)
{
    for (struct recording *r = session->recording; r; r = around(r))
        if (!know(r, handle, KNOWN_MADE))
            spoil_memory(session, r, "the daemon's host has no memory left");
}

static void note_callee(struct session *session, struct recording *recording, struct program *program)
{
    struct program *p = recording->program;
    for (size_t k = 0; k < p->callee_count; k++)
        if (p->callees[k].program == program)
            return;
    if (!array_grow(&p->callees, p->callee_count, &p->callee_capacity, sizeof *p->callees)) {
        spoil_memory(session, recording, "the daemon's host has no memory left");
        return;
    }
    p->callees[p->callee_count++] = (struct callee){program->number, program_ref(program)};
}

/* ---- running ---- */

struct run {
    struct iterator iterator;
    struct program *program;
    struct names *outer; /* that names is put back to */
    bool outer_no_grad;
    bool same; /* inputs and captures are as recorded */
    struct td_reader reader;
    program_then *then;
    void (*dropped)(struct session *session, void *data);
    void *data;
};

/* Whose requests are in work; NULL: the client's own. */
static struct program *running(const struct session *session)
{
    return session->names == &session->own
               ? NULL
               : (struct program *)((char *)session->names - offsetof(struct program, names));
}

/* FNV-1a over what was found, in the order of the finds. */
static uint64_t found_too(uint64_t before, bool there)
{
    return (before ^ (there ? 2 : 1)) * UINT64_C(0x100000001b3);
}

void program_finds_gradient(struct session *session, bool there)
{
    struct program *program = running(session);
    if (program)
        program->found = found_too(program->found, there);
    for (struct recording *r = session_records(session) ? session->recording : NULL; r; r = around(r))
        r->program->presence = found_too(r->program->presence, there);
}

struct program *program_find(struct session *session, uint32_t number, struct td_failure *failure)
{
    /* Within a run numbers mean what they meant when it was recorded. */
    const struct program *caller = running(session);
    struct program *found = NULL;
    for (size_t k = 0; caller && k < caller->callee_count && !found; k++)
        if (caller->callees[k].number == number)
            found = caller->callees[k].program;
    if (!caller)
        found = find_live(session, number);
    for (const struct recording *r = session->recording; r && found; r = r->outer)
        if (r->program == found) {
            td_fail(failure, TD_E_ARGUMENT, "program %" PRIu32 " is still being recorded", number);
            td_hint(failure, "A program cannot run itself.");
            return NULL;
        }
    if (!found) {
        td_fail(failure, TD_E_HANDLE, "there is no program %" PRIu32 " in this session", number);
        return NULL;
    }
    for (struct recording *r = session_records(session) ? session->recording : NULL; r; r = around(r))
        note_callee(session, r, found);
    return found;
}

static void end_run(struct session *session, struct run *run)
{
    struct program *program = run->program;
    while (session_records(session)) { /* that it began and did not end */
        struct program *recorded = session->recording->program;
        recording_pop(session);
        program_unref(session, recorded);
    }
    session->names = run->outer;
    session->no_grad = run->outer_no_grad;
    session->list_left = 0;
    session_fill_end(session); /* whoever gets the results need not be a request, before which that would be done */
    sweep(session, &program->names);
    if (program->names.capacity > NAMES_KEPT || session->spare.tensors)
        free(program->names.tensors);
    else
        session->spare = program->names;
    program->names = (struct names){0};
    program->running = false;
}

static void run_drop(struct session *session, struct iterator *iterator)
{
    struct run *run = (struct run *)iterator;
    if (run->program->running) { /* cut short by the session's end */
        end_run(session, run);
        if (run->dropped)
            run->dropped(session, run->data);
    }
    program_unref(session, run->program);
    free(run);
}

/* Takes the results out of the table, ends the run, and hands them on. */
static enum step finish(struct session *session, struct run *run, struct cause *cause)
{
    struct program *program = run->program;
    struct tensor *few[TD_OUTPUTS_MAX], **results = few;
    TD_NO_FAILURE(failure);
    if (program->out_count > TD_OUTPUTS_MAX && !(results = calloc((size_t)program->out_count, sizeof *results))) {
        td_fail(&failure, TD_E_MEMORY, "run: the daemon's host has no memory left");
        cause = session_fail(session, "run", session->call_site, &failure);
        end_run(session, run);
        run->then(session, NULL, 0, cause, run->data);
        cause_unref(cause);
        return STEP_DONE;
    }
    for (int k = 0; k < program->out_count; k++) {
        uint32_t handle = program->out[k];
        const struct names *names = &program->names;
        results[k] = NULL;
        if (handle == UINT32_MAX)
            continue;
        if (cause)
            results[k] = tensor_failed(cause);
        else if (handle < names->capacity && names->tensors[handle])
            results[k] = tensor_ref(names->tensors[handle]);
        else /* an op that had no memory even for its error value */
            results[k] = NULL;
    }
    program->differed += !run->same || (!cause && !program->traced && program->found != program->presence);
    end_run(session, run);
    run->then(session, results, program->out_count, cause, run->data);
    if (results != few)
        free(results);
    return STEP_DONE;
}

static enum step run_next(struct session *session, struct iterator *iterator)
{
    struct run *run = (struct run *)iterator;
    if (session->closing)
        return STEP_DONE;
    if (session->cancelled) {
        TD_NO_FAILURE(failure);
        td_fail(&failure, TD_E_CANCELLED, "run: cancelled");
        struct cause *cause = session_fail(session, "run", session->call_site, &failure);
        enum step step = finish(session, run, cause);
        cause_unref(cause);
        return step;
    }
    if (run->reader.at == run->reader.end && !session->list_left)
        return finish(session, run, NULL);
    decoder_replay(session, &run->reader);
    return STEP_MORE;
}

/* What a run of program finds as its capture k, with a reference. Checkpoints in work take it as one of theirs, and the
 * replay of one shows what it has taken. */
static struct tensor *captured(struct session *session, const struct program *program, size_t k)
{
    struct tensor *tensor = checkpoint_shows(session, program, k);
    for (struct recording *r = session->recording; r; r = r->outer) {
        struct checkpoint *c = r->checkpoint;
        if (c && !r->program->cause && !checkpoint_find(c, program, k) && capture(session, r, UINT32_MAX, tensor))
            checkpoint_note(c, program, k);
    }
    return tensor_ref(tensor);
}

static int bind_all(struct session *session, struct program *program, int in_count, struct tensor *const *inputs,
                    struct td_failure *failure)
{
    struct names *outer = session->names;
    session->names = &program->names;
    for (size_t k = 0; k < program->capture_count && !failure->code; k++)
        if (program->captures[k].handle != UINT32_MAX)
            session_bind(session, program->captures[k].handle, captured(session, program, k), failure);
    for (int k = 0; k < in_count && !failure->code; k++)
        session_bind(session, program->in[k], tensor_ref(inputs[k]), failure);
    session->names = outer;
    if (failure->code)
        sweep(session, &program->names);
    return failure->code;
}

/* Whether inputs are what was recorded: shapes, strides, dtypes, gradients wanted, and who shares memory with whom; and
 * whether what was captured wants gradients as it did. */
static bool as_recorded(struct session *session, const struct program *program, struct tensor *const *inputs)
{
    bool failed = false;
    for (size_t k = 0; k < program->capture_count; k++) {
        const struct capture *was = &program->captures[k];
        if (was->handle != UINT32_MAX &&
            (tensor_edge(session, program->names.tensors[was->handle], &failed) != NULL) != was->requires_grad)
            return false;
    }
    for (int k = 0; k < program->in_count; k++) {
        const struct program_input *was = &program->inputs[k];
        struct td_meta meta;
        int same = k;
        tensor_meta(inputs[k], &meta);
        if (meta.dtype != was->meta.dtype || !td_meta_same_shape(&meta, &was->meta) ||
            memcmp(meta.stride, was->meta.stride, meta.rank * sizeof *meta.stride) ||
            (tensor_edge(session, inputs[k], &failed) != NULL) != was->requires_grad)
            return false;
        for (int j = 0; j < k && same == k; j++)
            if (inputs[j]->storage == inputs[k]->storage)
                same = j;
        if (same != was->same)
            return false;
    }
    return true;
}

int program_run(struct session *session, struct program *program, int in_count, struct tensor *const *inputs,
                bool no_grad, program_then *then, void (*dropped)(struct session *session, void *data), void *data,
                struct td_failure *failure)
{
    if (in_count != program->in_count)
        return td_fail(failure, TD_E_ARGUMENT, "%d inputs where the program has %d", in_count, program->in_count);
    if (program->running) {
        td_fail(failure, TD_E_ARGUMENT, "the program is running already");
        return td_hint(failure, "A program cannot run inside itself.");
    }
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
    program->names = session->spare;
    session->spare = (struct names){0};
    if (bind_all(session, program, in_count, inputs, failure)) {
        free(program->names.tensors);
        program->names = (struct names){0};
        free(run);
        return failure->code;
    }
    program->runs++;
    bool same = program->traced || as_recorded(session, program, inputs);
    program->found = 0;
    bool planned = same && program->planned && !session->watching; /* anomalies count where nobody reads them, too */
    program->running = true;
    *run = (struct run){.iterator = {.next = run_next, .drop = run_drop},
                        .program = program_ref(program),
                        .outer = session->names,
                        .outer_no_grad = session->no_grad,
                        .same = same,
                        .reader = planned ? td_reader_of(program->plan, program->plan_size)
                                          : td_reader_of(program->bytes, program->size),
                        .then = then,
                        .dropped = dropped,
                        .data = data};
    session->names = &program->names;
    session->no_grad = no_grad;
    session_push(session, &run->iterator);
    return TD_E_OK;
}
