/* Bytes into tensors that from made: with the request, or from memory that the client and the daemon both see.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/errand.h"
#include "server/worker/host.h"
#include "server/worker/program.h"
#include "server/worker/reply.h"
#include "server/worker/request.h"
#include "server/worker/streams.h"
#include "server/worker/tape.h"

/* What is copied on the loop itself: as long as a small kernel takes. */
#define AT_ONCE_BYTES ((size_t)256 << 10)

/* ---- any bytes ---- */

/* Whether count bytes from byte offset on may be put into tensor, which is made ready for it. */
static int upload_begin(struct session *session, struct tensor *tensor, int64_t offset, uint64_t count,
                        struct td_failure *failure)
{
    struct td_meta meta;
    tensor_meta(tensor, &meta);
    if (!td_meta_is_contiguous(&meta) || (tensor->node && !node_is_leaf(tensor->node)))
        return td_fail(failure, TD_E_ARGUMENT, "bytes go into a contiguous tensor that was not computed");
    size_t size = td_meta_bytes(&meta);
    if (offset < 0 || (uint64_t)offset > size || count > size - (size_t)offset)
        return td_fail(failure, TD_E_INDEX, "%" PRIu64 " bytes from byte %" PRId64 " do not lie in a tensor of %zu",
                       count, offset, size);
    if (session->filling && (tensor != session->filling || (size_t)offset != session->filled))
        session_fill_end(session);
    size_t first = (size_t)tensor->offset * td_dtype_size(tensor->dtype) + (size_t)offset;
    if (storage_write(session, tensor->storage, first, first + count, failure))
        return failure->code;
    uploads_begin(session, tensor);
    return TD_E_OK;
}

/* Any byte but 0 means true; kernels count on 0 and 1. The client may write to data meanwhile. */
static int put_truths(const struct td_device *device, char *to, const uint8_t *data, size_t count)
{
    uint8_t *truths = malloc(TD_CHUNK_MAX);
    if (!truths)
        return TD_E_MEMORY;
    for (size_t done = 0, now; done < count; done += now) {
        now = count - done < TD_CHUNK_MAX ? count - done : TD_CHUNK_MAX;
        for (size_t i = 0; i < now; i++)
            truths[i] = data[done + i] != 0;
        device->upload(to + done, truths, now, false);
    }
    free(truths);
    return TD_E_OK;
}

/* May be on the device's thread. */
static int put_bytes(const struct td_device *device, const struct tensor *tensor, int64_t offset, const uint8_t *data,
                     size_t count, bool pinned)
{
    char *to = (char *)tensor_data(tensor) + offset;
    if (tensor->dtype == TD_BOOL)
        return put_truths(device, to, data, count);
    device->upload(to, data, count, pinned);
    return TD_E_OK;
}

static void upload_end(struct session *session, struct tensor *tensor, uint64_t count)
{
    struct td_meta meta;
    uploads_end(session, tensor);
    tensor_meta(tensor, &meta);
    if (session->filling == tensor && (session->filled += count) == td_meta_bytes(&meta))
        session_fill_end(session);
}

static int no_memory(struct td_failure *failure)
{
    return td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left for an upload");
}

/* What the tensor was to hold will not come. */
static void cancel(struct session *session, struct request *request, uint32_t handle, const struct tensor *tensor)
{
    TD_NO_FAILURE(failure);
    if (tensor == session->filling)
        session_fill_end(session);
    td_fail(&failure, TD_E_CANCELLED, "cancelled");
    request_rebind(session, handle, request_failed_value(session, request, "upload", &failure), &failure);
}

/* ---- with the request ---- */

void run_upload(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t bytes = 0, handle = take_handle(request);
    struct tensor *tensor = session_tensor(session, handle, failure);
    int64_t offset = -1;
    if (!tensor || !take_integer(request, &offset) || offset < 0 || request->elements == 0 ||
        td_read_type(request->reader) != TD_WIRE_BIN) {
        td_fail(failure, TD_E_ARGUMENT, "handle, byte offset and bin are due");
        return;
    }
    request->elements--;
    const void *data = td_read_bin(request->reader, &bytes);
    if (request->reader->failed || tensor->failed || session_traces(session))
        return; /* into an error value nothing is written */
    if (request->cancelled) {
        cancel(session, request, handle, tensor);
        return;
    }
    if (bytes > TD_CHUNK_MAX) {
        td_fail(failure, TD_E_ARGUMENT, "chunks have at most %u bytes", TD_CHUNK_MAX);
        return;
    }
    if (upload_begin(session, tensor, offset, bytes, failure))
        return;
    if (put_bytes(session->worker->device, tensor, offset, data, bytes, false))
        no_memory(failure);
    else
        upload_end(session, tensor, bytes);
}

/* ---- from the socket ---- */

bool upload_lands(struct session *session, struct request *request, size_t have)
{
    TD_NO_FAILURE(failure);
    uint32_t bytes = 0;
    struct tensor *tensor = session_tensor(session, take_handle(request), &failure);
    int64_t offset = -1;
    if (!tensor || !take_integer(request, &offset) || request->elements != 1 ||
        td_read_type(request->reader) != TD_WIRE_BIN)
        return false;
    const uint8_t *data = td_read_bin(request->reader, &bytes);
    const uint8_t *end = session->input + session->input_start + have;
    if (request->reader->failed || request->reader->at != request->reader->end || data > end || bytes > TD_CHUNK_MAX ||
        tensor->failed || tensor->dtype == TD_BOOL || !session->worker->device->host_memory ||
        upload_begin(session, tensor, offset, bytes, &failure))
        return false;
    size_t here = (size_t)(end - data);
    uint8_t *to = (uint8_t *)tensor_data(tensor) + offset;
    memcpy(to, data, here);
    session->landing.tensor = tensor_ref(tensor);
    session->landing.at = to + here;
    session->landing.left = bytes - here;
    session->landing.bytes = bytes;
    return true;
}

void upload_landed(struct session *session)
{
    struct tensor *tensor = session->landing.tensor;
    session->landing.tensor = NULL;
    upload_end(session, tensor, session->landing.bytes);
    tensor_unref(session, tensor);
}

/* ---- from the host's memory ---- */

/* On the session's stack while the device's thread copies. */
struct copying {
    struct iterator iterator;
    struct errand errand;
    struct tensor *tensor;
    const struct host *host;
    size_t at, count;
    int64_t offset;
    uint32_t site;
    bool tell, done;
    int code;
};

static struct copying *copying_of(struct errand *errand)
{
    return (struct copying *)((char *)errand - offsetof(struct copying, errand));
}

static void copying_run(struct errand *errand, const struct td_device *device)
{
    struct copying *c = copying_of(errand);
    c->code =
        put_bytes(device, c->tensor, c->offset, (const uint8_t *)c->host->memory + c->at, c->count, c->host->pinned);
    if (c->tell && c->host->pinned)
        device->settle(TD_LANE_UPLOAD);
}

static void copying_done(struct errand *errand)
{
    copying_of(errand)->done = true;
}

static enum step copying_next(struct session *session, struct iterator *iterator)
{
    struct copying *c = (struct copying *)iterator;
    TD_NO_FAILURE(failure);
    if (session->closing && !c->done)
        return STEP_DONE;
    c->errand = (struct errand){.session = session, .run = copying_run, .done = copying_done};
    if (!c->done && errand_start(&c->errand))
        return STEP_WAIT;
    if (!c->done)
        copying_run(&c->errand, session->worker->device);
    struct request request = {.site = c->site};
    if (c->code)
        no_memory(&failure);
    else
        upload_end(session, c->tensor, c->count);
    struct cause *cause = c->code ? request_fail(session, &request, "copy_in", &failure) : NULL;
    if (c->tell)
        reply_done(session, session->request, cause);
    cause_unref(cause);
    return STEP_DONE;
}

static void copying_drop(struct session *session, struct iterator *iterator)
{
    tensor_unref(session, ((struct copying *)iterator)->tensor);
    free(iterator);
}

/* A recording keeps the bytes that are there now, as those of any upload: so as uploads it is written down. */
static void record_uploads(struct session *session, uint32_t handle, int64_t offset, const char *data, size_t count)
{
    uint8_t *room = malloc(TD_CHUNK_MAX + 64);
    for (size_t done = 0, now; done < count; done += now) {
        now = count - done < TD_CHUNK_MAX ? count - done : TD_CHUNK_MAX;
        if (!room) {
            TD_NO_FAILURE(failure);
            recording_spoil(session, "copy_in", 0, (no_memory(&failure), &failure));
            return;
        }
        uint8_t *at = td_write_uint(td_write_array(td_write_uint(td_write_uint(room, 0), 0), 4), TD_R_UPLOAD);
        at = td_write_uint(td_write_uint(at, handle), (uint64_t)offset + done);
        at = td_write_bin_header(at, (uint32_t)now);
        memcpy(at, data + done, now);
        recording_add(session, room, (size_t)(at - room) + now, false);
    }
    free(room);
}

static void copy(struct session *session, struct copying *c, struct td_failure *failure)
{
    bool at_once = c->count <= AT_ONCE_BYTES || c->host->pinned;
    struct copying *waits = NULL;
    if (!at_once || (c->tell && c->host->pinned)) {
        if (!(waits = malloc(sizeof *waits))) {
            no_memory(failure);
            return;
        }
        *waits = *c;
        waits->iterator = (struct iterator){.next = copying_next, .drop = copying_drop};
        tensor_ref(c->tensor);
        session_push(session, &waits->iterator);
        c->tell = false; /* it will */
        return;
    }
    if (put_bytes(session->worker->device, c->tensor, c->offset, (const uint8_t *)c->host->memory + c->at, c->count,
                  c->host->pinned))
        no_memory(failure);
    else
        upload_end(session, c->tensor, c->count);
}

void run_copy_in(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t handle = take_handle(request);
    struct copying c = {.tensor = session_tensor(session, handle, failure), .site = request->site};
    int64_t count = -1;
    bool whole = take_integer(request, &c.offset);
    c.host = whole ? hosts_take(session, request, &c.at, failure) : NULL;
    whole = whole && take_integer(request, &count) && take_bool(request, &c.tell) && count >= 0;
    if (!whole)
        td_fail(failure, TD_E_ARGUMENT, "handle, byte offset, number, from byte, bytes and tell are due");
    c.count = (size_t)count;
    if (!failure->code)
        host_has(c.host, c.at, c.count, failure);
    struct cause *cause = NULL;
    if (failure->code) {
        cause = request_fail(session, request, "copy_in", failure);
    } else if (c.tensor->failed) {
        cause = cause_ref(c.tensor->failed);
    } else if (request->cancelled && !session_traces(session)) {
        cancel(session, request, handle, c.tensor);
        cause = cause_ref(session->error);
    } else {
        if (session_records(session))
            record_uploads(session, handle, c.offset, c.host->memory + c.at, c.count);
        if (!session_traces(session) && !upload_begin(session, c.tensor, c.offset, c.count, failure))
            copy(session, &c, failure);
        cause = failure->code ? request_fail(session, request, "copy_in", failure) : NULL;
    }
    failure->code = TD_E_OK; /* told already */
    if (c.tell)
        reply_done(session, session->request, cause);
    cause_unref(cause);
}
