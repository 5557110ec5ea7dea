/* The black box: made and sealed for the supervisor, read by whoever was given it. Everything that is read is copied
 * first and judged then, since the writer goes on meanwhile and may have been anybody.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/blackbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Looks for a moment at which nobody was writing; each takes the writer well under a microsecond. */
#define TRIES 1000
/* No worker lives to write as much. */
#define POSITION_MAX (UINT64_MAX >> 1)

const char *const blackbox_class_names[BLACKBOX_CLASSES] = {"param", "grad", "saved", "value"};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- making ---- */

/* A memory of bytes that nobody can shrink under a reader, and another descriptor of it for reading only: the file's
 * mode keeps other users from opening it anew through /proc. */
static int make_memory(const char *name, size_t bytes, int *write, int *read)
{
    char path[64];
    *read = -1;
    *write = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    snprintf(path, sizeof path, "/proc/self/fd/%d", *write);
    if (*write >= 0 && !ftruncate(*write, (off_t)bytes) && !fchmod(*write, 0400) &&
        !fcntl(*write, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) &&
        (*read = open(path, O_RDONLY | O_CLOEXEC)) >= 0)
        return 0;
    int error = errno;
    if (*write >= 0)
        close(*write);
    *write = -1;
    errno = error;
    return -1;
}

int blackbox_make(struct blackbox_made *made, uint64_t life)
{
    struct blackbox_tables *tables;
    *made = (struct blackbox_made)BLACKBOX_NONE;
    if (make_memory("tensord-tables", sizeof *tables, &made->tables, &made->tables_read) ||
        make_memory("tensord-trace", sizeof(struct blackbox_trace), &made->trace, &made->trace_read))
        goto failed;
    tables = mmap(NULL, sizeof *tables, PROT_READ | PROT_WRITE, MAP_SHARED, made->tables, 0);
    if (tables == MAP_FAILED)
        goto failed;
    tables->magic = BLACKBOX_MAGIC;
    tables->bytes = sizeof *tables;
    tables->life = life;
    tables->started_ns = clock_ns(CLOCK_MONOTONIC);
    tables->started_unix_ns = clock_ns(CLOCK_REALTIME);
    made->map = tables;
    uint64_t head[3] = {BLACKBOX_MAGIC, sizeof(struct blackbox_trace), life};
    if (pwrite(made->trace, head, sizeof head, 0) == (ssize_t)sizeof head)
        return 0;
failed:;
    int error = errno;
    blackbox_unmake(made);
    errno = error;
    return -1;
}

static void close_one(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

void blackbox_give(struct blackbox_made *made)
{
    close_one(&made->tables);
    close_one(&made->trace);
}

void blackbox_set_running(struct blackbox_made *made, uint32_t pid)
{
    if (!made->map)
        return;
    made->map->pid = pid;
    atomic_store_explicit(&made->map->state, BLACKBOX_RUNNING, memory_order_release);
}

void blackbox_set_ended(struct blackbox_made *made, const char *cause)
{
    if (!made->map)
        return;
    made->map->ended_ns = clock_ns(CLOCK_MONOTONIC);
    snprintf(made->map->cause, sizeof made->map->cause, "%s", cause);
    atomic_store_explicit(&made->map->state, BLACKBOX_ENDED, memory_order_release);
}

void blackbox_unmake(struct blackbox_made *made)
{
    blackbox_give(made);
    close_one(&made->tables_read);
    close_one(&made->trace_read);
    if (made->map)
        munmap(made->map, sizeof *made->map);
    made->map = NULL;
}

/* ---- opening ---- */

/* Maps a memory that has bytes, cannot shrink, and says in its head that it is what it should be. */
static const void *map_memory(int descriptor, size_t bytes, struct td_failure *failure)
{
    struct stat stat;
    uint64_t head[2];
    int seals = fcntl(descriptor, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(descriptor, &stat)) {
        td_fail(failure, TD_E_PROTOCOL, "what was given as a black box is none");
        return NULL;
    }
    const void *map = (size_t)stat.st_size == bytes ? mmap(NULL, bytes, PROT_READ, MAP_SHARED, descriptor, 0) : NULL;
    if (map == MAP_FAILED) {
        td_fail(failure, TD_E_MEMORY, "the black box cannot be mapped: %s", strerror(errno));
        return NULL;
    }
    if (map)
        memcpy(head, map, sizeof head);
    if (map && head[0] == BLACKBOX_MAGIC && head[1] == bytes)
        return map;
    if (map)
        munmap((void *)(uintptr_t)map, bytes);
    td_fail(failure, TD_E_VERSION, "the daemon's black box has another form than this program reads");
    td_hint(failure, "Use the tensorctl of the daemon's version.");
    return NULL;
}

int blackbox_open(struct blackbox *box, int tables, int trace, struct td_failure *failure)
{
    *box = (struct blackbox){0};
    box->tables = map_memory(tables, sizeof *box->tables, failure);
    if (box->tables && trace >= 0)
        box->trace = map_memory(trace, sizeof *box->trace, failure);
    if (!box->tables || (trace >= 0 && !box->trace))
        blackbox_close(box);
    return failure->code;
}

void blackbox_close(struct blackbox *box)
{
    if (box->tables)
        munmap((void *)(uintptr_t)box->tables, sizeof *box->tables);
    if (box->trace)
        munmap((void *)(uintptr_t)box->trace, sizeof *box->trace);
    *box = (struct blackbox){0};
}

/* ---- tables ---- */

/* Plain copies of what another process may be writing: no compiler may read the original twice. */
static void copy_shared(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    atomic_signal_fence(memory_order_seq_cst);
}

static uint32_t user_count(const struct blackbox_tables *tables)
{
    uint32_t count = *(const volatile uint32_t *)&tables->user_count;
    return count < BLACKBOX_USERS ? count : BLACKBOX_USERS;
}

uint32_t blackbox_memory(const struct blackbox *box, struct blackbox_memory *memory, struct blackbox_user *users,
                         bool *torn)
{
    const struct blackbox_tables *tables = box->tables;
    uint32_t count = 0;
    for (int k = 0; k < TRIES; k++) {
        uint32_t before = atomic_load_explicit(&tables->memory_sequence, memory_order_acquire);
        count = user_count(tables);
        copy_shared(memory, &tables->memory, sizeof *memory);
        if (users)
            copy_shared(users, tables->users, count * sizeof *users);
        atomic_thread_fence(memory_order_acquire);
        *torn = before % 2 || before != atomic_load_explicit(&tables->memory_sequence, memory_order_relaxed);
        if (!*torn)
            break;
    }
    return count;
}

/* Bytes that a terminal would not print as they are become '?'. */
static void clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

bool blackbox_session(const struct blackbox *box, uint32_t place, struct blackbox_session *session)
{
    if (place >= BLACKBOX_SESSIONS)
        return false;
    const struct blackbox_session *from = &box->tables->sessions[place];
    copy_shared(session, from, sizeof *session);
    atomic_thread_fence(memory_order_acquire);
    bool whole = session->sequence % 2 == 0 && session->sequence == *(const volatile uint32_t *)&from->sequence;
    session->program[sizeof session->program - 1] = 0;
    clean(session->program);
    return whole && session->number;
}

double blackbox_latency_us(const struct blackbox_session *session, double part)
{
    uint64_t total = 0, seen = 0;
    for (int k = 0; k < BLACKBOX_LATENCIES; k++)
        total += session->latency[k];
    for (int k = 0; k < BLACKBOX_LATENCIES && total; k++) {
        seen += session->latency[k];
        if ((double)seen >= part * (double)total)
            return (double)(UINT64_C(1) << k);
    }
    return 0;
}

uint64_t blackbox_silence_ns(const struct blackbox *box, uint64_t now_ns)
{
    const struct blackbox_tables *tables = box->tables;
    bool turning = atomic_load_explicit(&tables->turning, memory_order_relaxed);
    uint64_t heartbeat = atomic_load_explicit(&tables->heartbeat_ns, memory_order_relaxed);
    return turning && now_ns > heartbeat ? now_ns - heartbeat : 0;
}

/* ---- trace ---- */

const char *blackbox_string(const struct blackbox *box, uint32_t id, char *to, size_t size)
{
    to[0] = 0;
    if (!box->trace || id >= BLACKBOX_STRING_BYTES ||
        id >= atomic_load_explicit(&box->trace->string_bytes, memory_order_acquire))
        return to;
    size_t left = BLACKBOX_STRING_BYTES - id;
    left = left < size ? left : size;
    memcpy(to, box->trace->strings + id, left);
    to[left - 1] = 0;
    clean(to);
    return to;
}

int blackbox_last(const struct blackbox *box, uint32_t place, struct blackbox_request to[BLACKBOX_LAST])
{
    struct blackbox_session session;
    struct blackbox_request all[BLACKBOX_LAST];
    int count = 0;
    if (!box->trace || !blackbox_session(box, place, &session))
        return 0;
    copy_shared(all, box->trace->last[place], sizeof all);
    uint32_t newest = 0;
    bool any = false;
    for (int k = 0; k < BLACKBOX_LAST; k++)
        if (all[k].id && all[k].request % BLACKBOX_LAST == (uint32_t)k &&
            (!any || (int32_t)(all[k].request - newest) > 0)) {
            newest = all[k].request;
            any = true;
        }
    for (uint32_t back = BLACKBOX_LAST; any && back-- > 0;) {
        struct blackbox_request *request = &all[(newest - back) % BLACKBOX_LAST];
        if (request->id && request->request == newest - back) /* what is older than the ring was overwritten */
            to[count++] = *request;
    }
    return count;
}

void blackbox_rewind(const struct blackbox *box, struct blackbox_cursor *cursor)
{
    uint64_t reserved = box->trace ? atomic_load_explicit(&box->trace->reserved, memory_order_acquire) : 0;
    uint64_t oldest = reserved > BLACKBOX_RING_BYTES ? reserved - BLACKBOX_RING_BYTES : 0;
    *cursor = (struct blackbox_cursor){.position = (oldest + 7) / 8 * 8};
}

void blackbox_forward(const struct blackbox *box, struct blackbox_cursor *cursor)
{
    uint64_t committed = box->trace ? atomic_load_explicit(&box->trace->committed, memory_order_acquire) : 0;
    *cursor = (struct blackbox_cursor){.position = committed / 8 * 8};
}

/* The bytes of an OP record as its own counts and ranks have it; 0: they cannot be right. */
static size_t op_bytes(const struct blackbox_op *op, size_t room)
{
    if (op->in_count > BLACKBOX_OP_INPUTS)
        return 0;
    size_t ranks_at = sizeof *op + op->in_count * sizeof(uint32_t);
    size_t sizes_at = ranks_at + (op->in_count + 1 + 3) / 4 * 4, sizes = 0;
    if (sizes_at > room)
        return 0;
    const uint8_t *ranks = (const uint8_t *)op + ranks_at;
    for (int k = 0; k <= op->in_count; k++) {
        if (ranks[k] > TD_RANK_MAX)
            return 0;
        sizes += ranks[k];
    }
    size_t bytes = (sizes_at + sizes * sizeof(uint32_t) + 7) / 8 * 8;
    return bytes <= room ? bytes : 0;
}

/* Whether the copy of a record is one; ends its texts. */
static bool is_whole(union blackbox_copy *copy, size_t bytes)
{
    switch ((enum blackbox_kind)copy->record.kind) {
    case BLACKBOX_OP:
        return bytes >= sizeof copy->op && op_bytes(&copy->op, bytes) == bytes;
    case BLACKBOX_ERROR:
        copy->error.message[sizeof copy->error.message - 1] = 0;
        clean(copy->error.message);
        return bytes == sizeof copy->error;
    case BLACKBOX_OPEN:
    case BLACKBOX_CLOSE:
        return bytes == sizeof copy->event;
    case BLACKBOX_SKIP:
        return bytes == sizeof copy->skip;
    case BLACKBOX_PAD:
        return true;
    }
    return false;
}

/* Copies what stands at position into copy and says how many bytes it has; 0: no record. */
static size_t take(const struct blackbox_trace *trace, uint64_t position, uint64_t committed, union blackbox_copy *copy)
{
    size_t at = position % BLACKBOX_RING_BYTES, room = BLACKBOX_RING_BYTES - at;
    if (room < sizeof copy->record)
        return room; /* too short for a record's head: the writer went on at the ring's start */
    copy_shared(&copy->record, trace->ring + at, sizeof copy->record);
    size_t bytes = (size_t)copy->record.size * 8;
    bool pad = copy->record.kind == BLACKBOX_PAD;
    if (copy->record.stamp != (uint32_t)(position / 8) || bytes < sizeof copy->record || bytes > room ||
        bytes > committed - position || (!pad && bytes > sizeof *copy))
        return 0;
    if (pad)
        return bytes;
    copy_shared(copy, trace->ring + at, bytes);
    return copy->record.size * (size_t)8 == bytes && is_whole(copy, bytes) ? bytes : 0;
}

bool blackbox_next(const struct blackbox *box, struct blackbox_cursor *cursor, union blackbox_copy *copy)
{
    const struct blackbox_trace *trace = box->trace;
    if (!trace)
        return false;
    for (;;) {
        uint64_t committed = atomic_load_explicit(&trace->committed, memory_order_acquire);
        if (committed > POSITION_MAX || cursor->position >= committed || committed - cursor->position < 8)
            return false;
        if (committed - cursor->position > BLACKBOX_RING_BYTES) {
            uint64_t oldest = committed - BLACKBOX_RING_BYTES;
            cursor->lost_bytes += oldest - cursor->position;
            cursor->position = (oldest + 7) / 8 * 8;
        }
        copy->record.kind = BLACKBOX_PAD;
        size_t bytes = take(trace, cursor->position, committed, copy);
        atomic_thread_fence(memory_order_acquire);
        uint64_t reserved = atomic_load_explicit(&trace->reserved, memory_order_relaxed);
        bool overwritten = reserved > cursor->position && reserved - cursor->position > BLACKBOX_RING_BYTES;
        if (bytes == 0 || overwritten) {
            cursor->position += 8; /* the next record is found by its stamp */
            cursor->lost_bytes += 8;
            continue;
        }
        cursor->position += bytes;
        if (copy->record.kind != BLACKBOX_PAD)
            return true;
    }
}

const uint32_t *blackbox_op_inputs(const struct blackbox_op *op)
{
    return (const uint32_t *)(op + 1);
}

int blackbox_op_shape(const struct blackbox_op *op, int k, const uint32_t **sizes)
{
    const uint8_t *ranks = (const uint8_t *)(blackbox_op_inputs(op) + op->in_count);
    *sizes = (const uint32_t *)(ranks + (op->in_count + 1 + 3) / 4 * 4);
    for (int before = 0; before < k + 1; before++)
        *sizes += ranks[before];
    return ranks[k + 1];
}
