/* Reading a tensor's elements. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/read.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/connection.h"
#include "server/worker/errand.h"
#include "server/worker/exec.h"
#include "server/worker/lanes.h"
#include "server/worker/reply.h"

/* Up to this many bytes a copy costs less than a write of its own. */
#define COPY_BYTES ((size_t)32 << 10)

/* A read in work; on the session's stack, so that no later request runs before the last byte is on its way. */
struct reading {
    struct iterator iterator;
    struct errand errand;
    struct connection_write write;
    struct tensor *tensor; /* as far as it has been converted */
    struct cause *cause;   /* what failed meanwhile */
    struct saved *saved;   /* pins the bytes that are being sent */
    uint8_t dtype;
    uint32_t site;
    bool writing; /* libuv has the write */
    bool orphan;  /* dropped while libuv had the write, which will free it */
    uint64_t offset, total;
    /* Where the device's memory is not the host's: a chunk of it at a time. */
    uint8_t *fetched;
    uint32_t fetched_bytes; /* of the next chunk, or of all for the host; 0: it is still there */
    struct reading_target to;
};

static void reading_free(struct session *session, struct reading *r)
{
    tensor_unref(session, r->tensor);
    cause_unref(r->cause);
    saved_free(session, r->saved);
    free(r->fetched);
    free(r);
}

static void reading_drop(struct session *session, struct iterator *iterator)
{
    struct reading *r = (struct reading *)iterator;
    if (r->writing)
        r->orphan = true;
    else
        reading_free(session, r);
}

static void on_sent(struct session *session, struct connection_write *write)
{
    struct reading *r = (struct reading *)((char *)write - offsetof(struct reading, write));
    r->writing = false;
    if (r->orphan)
        reading_free(session, r);
}

static void converted(struct session *session, struct tensor *const *results, struct cause *cause, void *data)
{
    struct reading *r = data;
    tensor_unref(session, r->tensor);
    r->tensor = results[0];
    r->cause = cause_ref(cause);
}

static void run_conversion(struct session *session, struct reading *r, enum td_op_id id, const void *attrs)
{
    struct source source = {.tensor = r->tensor};
    exec_run(session,
             &(struct operation){.op = td_op_of(id), .attrs = attrs, .in = &source, .in_count = 1, .site = r->site},
             converted, r);
}

/* Small replies go with the others. bytes lie at data, where the host can touch them. */
static bool copy_out(struct session *session, uint8_t dtype, const void *data, size_t bytes)
{
    uint8_t *room = connection_room(session, REPLY_DATA_HEADER + bytes);
    if (!room)
        return false;
    size_t header = reply_data_header(session, room, dtype, bytes, 0, (uint32_t)bytes);
    if (bytes)
        memcpy(room + header, data, bytes);
    connection_wrote(session, header + bytes);
    return true;
}

/* ---- from a device that the loop must not wait for ---- */

static void *next_bytes(const struct reading *r)
{
    return (uint8_t *)r->saved->reader.block->data + r->saved->reader.first + r->offset;
}

static void fetch_run(struct errand *errand, const struct td_device *device)
{
    struct reading *r = (struct reading *)((char *)errand - offsetof(struct reading, errand));
    device->download(TD_LANE_DOWNLOAD, r->to.host ? r->to.host->memory + r->to.at : (char *)r->fetched, next_bytes(r),
                     r->fetched_bytes);
}

static void fetch_done(struct errand *errand)
{
    (void)errand; /* the session is woken, and goes on with what is there */
}

/* Brings the next chunk to the host. True: it is there. */
static bool fetch(struct session *session, struct reading *r, uint32_t chunk)
{
    lanes_read(session->worker, TD_LANE_DOWNLOAD, r->saved->reader.block);
    r->fetched_bytes = chunk;
    r->errand = (struct errand){.session = session, .run = fetch_run, .done = fetch_done};
    if (errand_start(&r->errand))
        return false;
    fetch_run(&r->errand, session->worker->device);
    return true;
}

/* ---- */

static enum step close_at_once(struct session *session)
{
    session_close(session);
    return STEP_DONE;
}

/* Pins the bytes, and finds room for what the host does not see. */
static bool begin(struct session *session, struct reading *r)
{
    struct td_meta meta;
    tensor_meta(r->tensor, &meta);
    r->total = td_meta_bytes(&meta);
    r->saved = saved_new(session, r->tensor);
    if (r->saved && !r->to.host && !session->worker->device->host_memory)
        r->fetched = malloc(r->total < TD_CHUNK_MAX ? r->total + 1 : TD_CHUNK_MAX);
    return r->saved && (r->fetched || r->to.host || session->worker->device->host_memory);
}

/* What the client waits for, where the bytes do not come with it. */
static void answer(struct session *session, const struct reading *r, const struct cause *cause)
{
    if (r->to.host)
        reply_done(session, session->request, cause);
    else
        reply_data_failed(session, cause);
}

/* Into memory that the client sees: hosts_take has made sure that there is room. */
static enum step deliver(struct session *session, struct reading *r)
{
    if (!r->saved && !begin(session, r))
        return close_at_once(session);
    if (r->total && !r->fetched_bytes && !fetch(session, r, (uint32_t)r->total))
        return STEP_WAIT;
    answer(session, r, NULL);
    return STEP_DONE;
}

static enum step send_chunk(struct session *session, struct reading *r)
{
    if (r->writing)
        return STEP_WAIT;
    if (r->saved && r->offset == r->total && r->total)
        return STEP_DONE;
    if (!r->saved && !begin(session, r))
        return close_at_once(session);
    uint64_t left = r->total - r->offset;
    uint32_t chunk = left < TD_CHUNK_MAX ? (uint32_t)left : TD_CHUNK_MAX;
    if (r->fetched && chunk && !r->fetched_bytes && !fetch(session, r, chunk))
        return STEP_WAIT;
    uint8_t *data = r->fetched ? r->fetched : next_bytes(r);
    r->fetched_bytes = 0;
    if (r->total <= COPY_BYTES)
        return copy_out(session, r->tensor->dtype, data, r->total) ? STEP_DONE : close_at_once(session);
    size_t header = reply_data_header(session, r->write.header, r->tensor->dtype, r->total, r->offset, chunk);
    r->write.session = session;
    r->write.then = on_sent;
    r->offset += chunk;
    r->writing = true;
    if (connection_write_in_place(&r->write, header, data, chunk)) {
        r->writing = false;
        return close_at_once(session);
    }
    return STEP_WAIT;
}

static enum step reading_next(struct session *session, struct iterator *iterator)
{
    struct reading *r = (struct reading *)iterator;
    if (session->closing)
        return STEP_DONE;
    struct cause *cause = r->cause ? r->cause : r->tensor->failed;
    if (cause) {
        answer(session, r, cause);
        return STEP_DONE;
    }
    struct td_meta meta;
    tensor_meta(r->tensor, &meta);
    if (r->dtype != TD_DTYPE_NONE && r->dtype != r->tensor->dtype)
        run_conversion(session, r, TD_OP_to, &(struct td_to_attrs){.dtype = r->dtype});
    else if (!td_meta_is_contiguous(&meta))
        run_conversion(session, r, TD_OP_contiguous, &(struct td_contiguous_attrs){});
    else
        return r->to.host ? deliver(session, r) : send_chunk(session, r);
    return STEP_MORE;
}

/* The short way of what is small and can go as it lies: most reads are of a loss. */
static bool read_at_once(struct session *session, const struct tensor *tensor, uint8_t dtype)
{
    struct td_meta meta;
    if (tensor->failed || !session->worker->device->host_memory || (dtype != TD_DTYPE_NONE && dtype != tensor->dtype))
        return false;
    tensor_meta(tensor, &meta);
    size_t bytes = td_meta_bytes(&meta);
    if (bytes > COPY_BYTES || !td_meta_is_contiguous(&meta))
        return false;
    if (!copy_out(session, tensor->dtype, tensor_data(tensor), bytes))
        session_close(session);
    return true;
}

void read_start(struct session *session, struct tensor *tensor, uint8_t dtype, uint32_t site, struct reading_target to)
{
    if (!to.host && read_at_once(session, tensor, dtype))
        return;
    struct reading *r = calloc(1, sizeof *r);
    if (!r) {
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_MEMORY, "read: the daemon's host has no memory left");
        struct cause *cause = session_fail(session, "read", site, &failure);
        answer(session, &(struct reading){.to = to}, cause);
        cause_unref(cause);
        return;
    }
    r->iterator = (struct iterator){.next = reading_next, .drop = reading_drop};
    r->tensor = tensor_ref(tensor);
    r->dtype = dtype;
    r->site = site;
    r->to = to;
    session_push(session, &r->iterator);
}
