/* The recorder. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/worker/execution.h"

/* Places for ids by hash: more than strings of ten bytes have room in the arena, so that one is always free. */
#define STRINGS_MAX (1u << 17)
/* Ops that are written down: as many as come in a burst, and on average one in so many nanoseconds. A record costs
 * about 20 ns: at full speed, 6 million ops a second, one for each would take an eighth of the worker's time, and
 * nobody reads as fast. What is left out is counted. */
#define OPS_BURST 32768
#define OP_EVERY_NS 2000
/* What a record of the largest op takes. */
#define OP_BYTES_MAX                                                           \
    (sizeof(struct blackbox_op) + BLACKBOX_OP_INPUTS * sizeof(uint32_t) + 12 + \
     (BLACKBOX_OP_INPUTS + 1) * TD_RANK_MAX * sizeof(uint32_t))

_Static_assert(OP_BYTES_MAX <= BLACKBOX_RECORD_MAX, "an op's record is too long");
_Static_assert(sizeof(struct blackbox_error) <= BLACKBOX_RECORD_MAX, "an error's record is too long");

/* ---- memory ---- */

static void *map(size_t bytes, int descriptor)
{
    int flags = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (descriptor >= 0)
        close(descriptor);
    return memory == MAP_FAILED ? NULL : memory;
}

int recorder_start(struct worker *worker, int tables, int trace)
{
    struct recorder *r = &worker->recorder;
    r->tables = map(sizeof *r->tables, tables);
    r->trace = map(sizeof *r->trace, trace);
    r->strings = calloc(STRINGS_MAX, sizeof *r->strings);
    if (!r->tables || !r->trace || !r->strings) {
        int error = errno;
        recorder_stop(worker);
        errno = error;
        return -1;
    }
    snprintf(r->tables->device, sizeof r->tables->device, "%s", worker->device->name);
    snprintf(r->tables->description, sizeof r->tables->description, "%s", worker->device->description);
    r->tables->limit_bytes = worker->pool.limit_bytes;
    r->trace->string_bytes = 1; /* place 0 is "" */
    return 0;
}

void recorder_stop(struct worker *worker)
{
    struct recorder *r = &worker->recorder;
    if (r->tables)
        munmap(r->tables, sizeof *r->tables);
    if (r->trace)
        munmap(r->trace, sizeof *r->trace);
    free(r->strings);
    *r = (struct recorder){0};
}

/* ---- the ring ---- */

/* Room for a record of at most bytes, whose head is written; commit makes it part of the stream. One writer: the order
 * of its stores is all that readers need. */
static void *reserve(struct recorder *r, enum blackbox_kind kind, size_t bytes)
{
    struct blackbox_trace *trace = r->trace;
    uint64_t position = r->position;
    size_t at = position % BLACKBOX_RING_BYTES, room = BLACKBOX_RING_BYTES - at;
    atomic_store_explicit(&trace->reserved, position + bytes + (bytes > room ? room : 0), memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    if (__builtin_expect(bytes > room, 0)) {
        if (room >= sizeof(struct blackbox_record)) {
            struct blackbox_record *pad = (struct blackbox_record *)(trace->ring + at);
            *pad = (struct blackbox_record){(uint32_t)(position / 8), (uint16_t)(room / 8), BLACKBOX_PAD, 0, r->now_ns};
        }
        r->position = position += room;
        at = 0;
    }
    struct blackbox_record *record = (struct blackbox_record *)(trace->ring + at);
    record->stamp = (uint32_t)(position / 8);
    record->kind = (uint8_t)kind;
    record->unused = 0;
    record->time_ns = r->now_ns;
    return record;
}

/* The record that reserve gave ends at end. */
static void commit(struct recorder *r, void *record, const void *end)
{
    size_t bytes = ((size_t)((const char *)end - (const char *)record) + 7) / 8 * 8;
    ((struct blackbox_record *)record)->size = (uint16_t)(bytes / 8);
    r->position += bytes;
    atomic_store_explicit(&r->trace->committed, r->position, memory_order_release);
}

/* ---- strings ---- */

uint32_t recorder_string(struct recorder *r, const char *text)
{
    struct blackbox_trace *trace = r->trace;
    size_t bytes = strlen(text) + 1;
    uint32_t hash = 2166136261u, used = atomic_load_explicit(&trace->string_bytes, memory_order_relaxed);
    for (const char *c = text; *c; c++) /* FNV-1a */
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    if (bytes == 1)
        return 0;
    for (uint32_t k = 0; k < STRINGS_MAX; k++) {
        uint32_t *place = &r->strings[(hash + k) % STRINGS_MAX];
        if (*place && strcmp(trace->strings + *place, text))
            continue;
        if (*place)
            return *place;
        if (bytes > BLACKBOX_STRING_BYTES - used)
            break;
        memcpy(trace->strings + used, text, bytes);
        atomic_store_explicit(&trace->string_bytes, used + (uint32_t)bytes, memory_order_release);
        return *place = used;
    }
    trace->strings_refused++;
    return 0;
}

/* ---- sessions ---- */

static struct blackbox_user *user_of(struct blackbox_tables *tables, uint32_t uid)
{
    uint32_t k = 0;
    while (k < tables->user_count && tables->users[k].uid != uid && tables->users[k].uid != BLACKBOX_OTHERS)
        k++;
    if (k == tables->user_count) {
        tables->users[k].uid = k + 1 < BLACKBOX_USERS ? uid : BLACKBOX_OTHERS;
        tables->user_count++;
    }
    return &tables->users[k];
}

/* A place that was never used, or the one after the last given whose session has ended; BLACKBOX_SESSIONS: none. */
static uint32_t find_place(struct recorder *r)
{
    for (uint32_t k = 0; k < BLACKBOX_SESSIONS; k++) {
        uint32_t place = (r->next_place + k) % BLACKBOX_SESSIONS;
        const struct blackbox_session *s = &r->tables->sessions[place];
        if (s->number && !s->closed_ns)
            continue;
        r->next_place = place + 1;
        return place;
    }
    return BLACKBOX_SESSIONS;
}

static void record_event(struct session *session, enum blackbox_kind kind)
{
    struct recorder *r = &session->worker->recorder;
    struct blackbox_event *event = reserve(r, kind, sizeof *event);
    event->record.time_ns = uv_hrtime();
    event->session = session->number;
    event->uid = session->uid;
    event->pid = session->pid;
    commit(r, event, event + 1);
}

void recorder_open(struct session *session)
{
    struct recorder *r = &session->worker->recorder;
    uint32_t place = find_place(r);
    session->user = user_of(r->tables, session->uid);
    session->user->sessions++;
    r->tables->sessions_opened++;
    r->tables->sessions_open++;
    if (place < BLACKBOX_SESSIONS) {
        struct blackbox_session *card = session->card = &r->tables->sessions[place];
        session->last = r->trace->last[place];
        uint32_t sequence = card->sequence + 1;
        *(volatile uint32_t *)&card->sequence = sequence;
        atomic_thread_fence(memory_order_release);
        memset(session->last, 0, sizeof r->trace->last[place]);
        *card = (struct blackbox_session){.sequence = sequence,
                                          .number = session->number,
                                          .opened_ns = session->started_ns,
                                          .uid = session->uid,
                                          .pid = session->pid};
        memcpy(card->program, session->program, sizeof card->program);
        atomic_thread_fence(memory_order_release);
        *(volatile uint32_t *)&card->sequence = sequence + 1;
    }
    record_event(session, BLACKBOX_OPEN);
}

void recorder_close(struct session *session)
{
    recorder_publish(session, 0);
    record_event(session, BLACKBOX_CLOSE);
    session->user->sessions--;
    session->worker->recorder.tables->sessions_open--;
    if (session->card)
        session->card->closed_ns = uv_hrtime();
}

/* ---- requests ---- */

void recorder_begin(struct session *session, uint64_t id, uint32_t site)
{
    struct recorder *r = &session->worker->recorder;
    session->request_id = id < UINT16_MAX ? (uint16_t)id : UINT16_MAX;
    if (!session->last)
        return;
    session->last[session->request % BLACKBOX_LAST] =
        (struct blackbox_request){.request = (uint32_t)session->request,
                                  .site = session_site_id(session, site),
                                  .id = session->request_id,
                                  .time_us = (uint32_t)((r->now_ns - r->tables->started_ns) / 1000)};
}

void recorder_done(struct session *session, uint64_t number)
{
    struct blackbox_request *request = session->last ? &session->last[number % BLACKBOX_LAST] : NULL;
    if (request && request->request == (uint32_t)number && request->outcome == BLACKBOX_STARTED)
        request->outcome = BLACKBOX_DONE;
}

void recorder_error(struct session *session, uint32_t site, int code, const char *message)
{
    struct recorder *r = &session->worker->recorder;
    struct blackbox_error *error = reserve(r, BLACKBOX_ERROR, sizeof *error);
    error->session = (uint32_t)session->number;
    error->request = (uint32_t)session->request;
    error->site = session_site_id(session, site);
    error->id = session->request_id;
    error->code = (uint16_t)code;
    snprintf(error->message, sizeof error->message, "%s", message);
    commit(r, error, error + 1);
    session->failed_count++;
    r->tables->failed++;
    if (session->last)
        session->last[session->request % BLACKBOX_LAST].outcome = BLACKBOX_FAILED;
}

/* ---- ops ---- */

/* A number for a tensor that nobody else alive has: its address without what is the same for all. */
static uint32_t id_of(const struct tensor *tensor)
{
    return (uint32_t)((uintptr_t)tensor >> 4);
}

static const uint16_t kind_flags[] = {
    [TD_VIEW] = BLACKBOX_OP_VIEW, [TD_INPLACE] = BLACKBOX_OP_IN_PLACE, [TD_STEP] = BLACKBOX_OP_STEP};

static uint16_t flags_of(const struct execution *e, bool failed)
{
    const struct operation *operation = &e->operation;
    unsigned flags = kind_flags[operation->op->kind];
    flags |= failed ? BLACKBOX_OP_FAILED : 0;
    flags |= operation->walked ? BLACKBOX_OP_BACKWARD : e->node_number && !failed ? BLACKBOX_OP_NODE : 0;
    flags |= operation->requires_grad ? BLACKBOX_OP_LEAF : 0;
    flags |= e->offloaded ? BLACKBOX_OP_OFFLOADED : 0;
    return (uint16_t)flags;
}

static uint32_t *put_sizes(uint32_t *at, const struct tensor *tensor)
{
    for (int d = 0; d < tensor->rank; d++)
        *at++ = tensor->dims[d] < UINT32_MAX ? (uint32_t)tensor->dims[d] : UINT32_MAX;
    return at;
}

/* Tells how many ops of the session were left out since the last one that was not. */
static void record_skipped(struct recorder *r)
{
    struct blackbox_skip *skip = reserve(r, BLACKBOX_SKIP, sizeof *skip);
    skip->session = r->skipped_session;
    skip->count = r->skipped;
    commit(r, skip, skip + 1);
    r->skipped = 0;
}

/* No call, and no loop but over what there is. */
static __attribute__((noinline)) void record_op(struct recorder *r, const struct execution *e, bool failed)
{
    struct session *session = e->session;
    const struct operation *operation = &e->operation;
    const struct node *walked = operation->walked;
    const struct tensor *out = failed ? NULL : e->out[0];
    int in_count = operation->in_count < BLACKBOX_OP_INPUTS ? operation->in_count : BLACKBOX_OP_INPUTS;
    int rank_words = (in_count + 1 + 3) / 4;
    r->ops_left--;
    if (r->skipped)
        record_skipped(r);
    struct blackbox_op *op = reserve(r, BLACKBOX_OP, OP_BYTES_MAX);
    op->session = (uint32_t)session->number;
    op->request = (uint32_t)session->request;
    op->site = session_site_id(session, walked ? walked->site : operation->site);
    op->node = (uint32_t)(walked ? walked->number : e->node_number);
    op->duration_us = e->took_ns ? (uint32_t)(e->took_ns / 1000) + 1 : 0;
    op->out = out ? id_of(out) : 0;
    op->bytes = out ? (uint64_t)td_meta_numel(&e->inference.out[0]) * td_dtype_size(out->dtype) : 0;
    op->op = operation->op->id;
    op->flags = flags_of(e, failed);
    op->dtype = out ? out->dtype : TD_DTYPE_NONE;
    op->in_count = (uint8_t)in_count;
    op->unused = 0;
    uint32_t *at = (uint32_t *)(op + 1), *size = at + in_count + rank_words;
    uint64_t ranks = 0; /* of the result and the first seven inputs, a byte each */
    if (out) {
        ranks = out->rank;
        size = put_sizes(size, out);
    }
    for (int k = 0; k < in_count; k++) {
        const struct tensor *in = e->in[k].tensor;
        at[k] = id_of(in);
        if (!in)
            continue;
        ranks |= (uint64_t)in->rank << 8 * (k + 1);
        size = put_sizes(size, in);
    }
    for (int k = 0; k < rank_words; k++)
        at[in_count + k] = (uint32_t)(ranks >> 32 * k);
    commit(r, op, size);
}

/* What failed or took long is always written down. */
void recorder_op(const struct execution *e, bool failed)
{
    struct session *session = e->session;
    struct recorder *r = &session->worker->recorder;
    session->op_count++;
    r->tables->op_count[e->operation.op->id]++;
    if (r->ops_left > 0 || failed || e->took_ns) {
        record_op(r, e, failed);
        return;
    }
    if (r->skipped_session != (uint32_t)session->number && r->skipped)
        record_skipped(r);
    r->skipped_session = (uint32_t)session->number;
    r->skipped++;
}

/* ---- turns ---- */

void recorder_clock(struct worker *worker, uint64_t now_ns)
{
    struct recorder *r = &worker->recorder;
    r->ops_left += (int64_t)(now_ns / OP_EVERY_NS) - (int64_t)(r->now_ns / OP_EVERY_NS);
    if (r->ops_left > OPS_BURST)
        r->ops_left = OPS_BURST;
    r->now_ns = now_ns;
}

void recorder_turn(struct worker *worker, uint64_t now_ns)
{
    struct recorder *r = &worker->recorder;
    recorder_clock(worker, now_ns);
    atomic_store_explicit(&r->tables->heartbeat_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&r->tables->turning, 1, memory_order_relaxed);
}

void recorder_rest(struct worker *worker, uint64_t now_ns)
{
    struct recorder *r = &worker->recorder;
    atomic_store_explicit(&r->tables->heartbeat_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&r->tables->turning, 0, memory_order_relaxed);
}

/* Memory: what changed since the last time, in the device's, the user's and the session's account at once. */
static void publish_memory(struct session *session)
{
    struct worker *worker = session->worker;
    struct blackbox_tables *tables = worker->recorder.tables;
    struct blackbox_memory *memory = &tables->memory;
    uint32_t sequence = atomic_load_explicit(&tables->memory_sequence, memory_order_relaxed);
    if (!memcmp(session->published, session->bytes, sizeof session->bytes) && memory->peak == worker->pool.peak_bytes)
        return;
    atomic_store_explicit(&tables->memory_sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (int k = 0; k < BLACKBOX_CLASSES; k++) {
        uint64_t change = session->bytes[k] - session->published[k];
        session->published[k] = session->bytes[k];
        session->user->bytes[k] += change;
        memory->bytes[k] += change;
        memory->used += change;
        if (session->card)
            session->card->bytes[k] = session->bytes[k];
    }
    memory->reserved = worker->pool.reserved_bytes;
    if (memory->peak != worker->pool.peak_bytes) {
        memory->peak = worker->pool.peak_bytes;
        memory->peak_ns = worker->recorder.now_ns;
    }
    atomic_store_explicit(&tables->memory_sequence, sequence + 2, memory_order_release);
}

void recorder_work(struct session *session)
{
    if (session->card) /* a hang inside its turn is seen as its own */
        session->card->state = BLACKBOX_BUSY;
}

static uint32_t state_of(const struct session *session)
{
    bool busy = session->input_end > session->input_start || !session_listens(session);
    return session->closing  ? BLACKBOX_CLOSING
           : session->parked ? BLACKBOX_PARKED
           : busy            ? BLACKBOX_BUSY
                             : BLACKBOX_IDLE;
}

void recorder_publish(struct session *session, uint64_t worked_ns)
{
    struct blackbox_tables *tables = session->worker->recorder.tables;
    struct blackbox_user *user = session->user;
    struct blackbox_session *card = session->card;
    uint64_t requests = session->executed - session->published_requests;
    uint64_t ops = session->op_count - session->published_ops;
    session->published_requests = session->executed;
    session->published_ops = session->op_count;
    session->device_ns += worked_ns;
    tables->requests += requests;
    tables->ops += ops;
    tables->busy_ns += worked_ns;
    tables->copied_bytes = session->worker->copied_bytes;
    tables->carried_bytes = worker_carried_bytes(session->worker);
    user->requests += requests;
    user->ops += ops;
    user->device_ns += worked_ns;
    publish_memory(session);
    if (!card)
        return;
    card->state = state_of(session);
    card->requests = session->executed;
    card->ops = session->op_count;
    card->device_ns = session->device_ns;
    card->tensors = session->own.count;
    card->nodes = session->node_count;
    card->copied_bytes = session->copied_bytes;
    card->failed = session->failed_count;
}

void recorder_answered(struct session *session, uint64_t took_ns)
{
    struct blackbox_session *card = session->card;
    uint64_t us = took_ns / 1000;
    unsigned bucket = us ? 64 - (unsigned)__builtin_clzll(us) : 0; /* below 2^bucket us */
    if (!card)
        return;
    card->latency[bucket < BLACKBOX_LATENCIES ? bucket : BLACKBOX_LATENCIES - 1]++;
    if (took_ns > card->latency_max_ns)
        card->latency_max_ns = took_ns;
}
