/* Tensors, storages and readers. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/tensor.h"

#include <stdlib.h>
#include <string.h>

#include "server/worker/lanes.h"
#include "server/worker/session.h"
#include "server/worker/shortage.h"
#include "server/worker/tape.h"

/* ---- causes ---- */

struct cause *cause_ref(struct cause *cause)
{
    if (cause)
        cause->refs++;
    return cause;
}

void cause_unref(struct cause *cause)
{
    if (cause && --cause->refs == 0)
        free(cause);
}

/* ---- blocks ---- */

/* What others left there is not cleared: nobody sees a block before all of it has been written, by the op whose result
 * it is, by a copy, or for uploads by session_fill_end; and what an op that fails has half written is never shown. */
static struct block *block_take(struct session *session, size_t bytes, struct td_failure *failure)
{
    struct pool *pool = &session->worker->pool;
    pool->lane = session->lane;
    struct block *block = pool_take(pool, bytes, session->number, session->request);
    if (!block) {
        shortage_tell(session, bytes, failure);
        return NULL;
    }
    block->site = session->call_site;
    block->class = session->making;
    session->bytes[block->class] += block->size;
    uint64_t held = session_bytes(session);
    session->peak_bytes = held > session->peak_bytes ? held : session->peak_bytes;
    return block;
}

void block_classify(struct session *session, struct block *block, uint8_t class)
{
    session->bytes[block->class] -= block->size;
    block->class = class;
    session->bytes[class] += block->size;
}

static void block_drop(struct session *session, struct block *block)
{
    if (block->storages || block->readers)
        return;
    session->bytes[block->class] -= block->size;
    pool_give(&session->worker->pool, block);
}

static void reader_add(struct reader *reader, struct block *block)
{
    reader->block = block;
    reader->prev = NULL;
    reader->next = block->first_reader;
    if (reader->next)
        reader->next->prev = reader;
    block->first_reader = reader;
    block->readers++;
}

static void reader_remove(struct reader *reader)
{
    struct block *block = reader->block;
    if (reader->next)
        reader->next->prev = reader->prev;
    if (reader->prev)
        reader->prev->next = reader->next;
    else
        block->first_reader = reader->next;
    block->readers--;
}

/* ---- storages ---- */

static struct storage *storage_on(struct session *session, struct block *block)
{
    struct storage *storage = spares_take(&session->worker->storages, sizeof *storage);
    if (!storage)
        return NULL;
    *storage = (struct storage){.refs = 1, .bytes = block->size, .block = block};
    block->storages++;
    return storage;
}

struct storage *storage_new(struct session *session, size_t bytes, struct td_failure *failure)
{
    struct block *block = block_take(session, bytes, failure);
    if (!block)
        return NULL;
    struct storage *storage = storage_on(session, block);
    if (!storage) {
        block_drop(session, block);
        td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        return NULL;
    }
    storage->bytes = bytes;
    return storage;
}

struct storage *storage_fork(struct session *session, struct storage *storage)
{
    struct storage *fork = storage_on(session, storage->block);
    if (fork)
        fork->bytes = storage->bytes;
    return fork;
}

void storage_unref(struct session *session, struct storage *storage)
{
    if (--storage->refs)
        return;
    struct block *block = storage->block;
    if (--block->storages == 0 && block->readers)
        block_classify(session, block, BLACKBOX_SAVED);
    block_drop(session, block);
    spares_give(&session->worker->storages, storage);
}

/* The readers that a write to [first, end) would disturb: their bytes together, 0 if there are none. */
static size_t disturbed_bytes(const struct block *block, size_t first, size_t end)
{
    size_t bytes = 0;
    for (const struct reader *r = block->first_reader; r; r = r->next)
        if (r->first < end && first < r->end)
            bytes += r->end - r->first;
    return bytes;
}

/* Copies inside of the device, and counts it. */
static void copy_bytes(struct session *session, struct block *to, size_t at, struct block *from, size_t first,
                       size_t bytes)
{
    struct worker *worker = session->worker;
    lanes_read(worker, session->lane, from);
    lanes_write(worker, session->lane, to);
    worker->device->copy(session->lane, (char *)to->data + at, (const char *)from->data + first, bytes);
    lanes_did_read(worker, session->lane, from);
    lanes_did_write(worker, session->lane, to);
    session->copied_bytes += bytes;
    worker->copied_bytes += bytes;
}

static int move_storage(struct session *session, struct storage *storage, struct td_failure *failure)
{
    struct block *old = storage->block, *block = block_take(session, old->size, failure);
    if (!block)
        return failure->code;
    copy_bytes(session, block, 0, old, 0, old->size);
    block->storages = 1;
    block_classify(session, block, old->class);
    storage->block = block;
    if (--old->storages == 0 && old->readers)
        block_classify(session, old, BLACKBOX_SAVED);
    block_drop(session, old);
    return TD_E_OK;
}

/* Gives every reader in the way a copy of its own range. */
static int move_readers(struct session *session, struct block *block, size_t first, size_t end,
                        struct td_failure *failure)
{
    for (struct reader *r = block->first_reader, *next; r; r = next) {
        next = r->next;
        if (r->first >= end || first >= r->end)
            continue;
        /* The start keeps its place within a cache line, so that it stays aligned for its elements. */
        size_t shift = r->first / POOL_GRAIN * POOL_GRAIN;
        struct block *copy = block_take(session, r->end - shift, failure);
        if (!copy)
            return failure->code;
        copy_bytes(session, copy, r->first - shift, block, r->first, r->end - r->first);
        reader_remove(r);
        r->first -= shift;
        r->end -= shift;
        block_classify(session, copy, BLACKBOX_SAVED);
        reader_add(r, copy);
    }
    return TD_E_OK;
}

int storage_write(struct session *session, struct storage *storage, size_t first, size_t end,
                  struct td_failure *failure)
{
    struct block *block = storage->block;
    if (block->storages > 1)
        return move_storage(session, storage, failure);
    size_t disturbed = block->readers ? disturbed_bytes(block, first, end) : 0;
    if (disturbed == 0)
        return TD_E_OK;
    return disturbed < block->size ? move_readers(session, block, first, end, failure)
                                   : move_storage(session, storage, failure);
}

/* ---- tensors ---- */

/* Tensors of up to so many dimensions are all of one size. */
#define RANK_USUAL 2

static size_t tensor_bytes(int rank)
{
    return sizeof(struct tensor) + 2 * (size_t)rank * sizeof(int64_t);
}

struct tensor *tensor_new(struct session *session, const struct td_meta *meta, struct storage *storage)
{
    struct tensor *tensor = meta->rank <= RANK_USUAL ? spares_take(&session->worker->tensors, tensor_bytes(RANK_USUAL))
                                                     : malloc(tensor_bytes(meta->rank));
    if (!tensor)
        return NULL;
    *tensor = (struct tensor){
        .refs = 1, .dtype = meta->dtype, .rank = meta->rank, .storage = storage, .offset = meta->offset};
    for (int d = 0; d < meta->rank; d++) {
        tensor->dims[d] = meta->shape[d];
        tensor->dims[meta->rank + d] = meta->stride[d];
    }
    storage->refs++;
    return tensor;
}

struct tensor *tensor_failed(struct cause *cause)
{
    struct tensor *tensor = malloc(tensor_bytes(RANK_USUAL));
    if (tensor)
        *tensor = (struct tensor){.refs = 1, .failed = cause_ref(cause)};
    return tensor;
}

void tensor_free(struct session *session, struct tensor *tensor)
{
    if (tensor->storage)
        storage_unref(session, tensor->storage);
    if (tensor->retained)
        tensor_forget_grad(session, tensor);
    if (tensor->node)
        tensor_tie(session, tensor, NULL, 0);
    if (tensor->history)
        history_unref(session, tensor->history);
    cause_unref(tensor->failed);
    if (tensor->name)
        free(tensor->name);
    if (tensor->rank <= RANK_USUAL)
        spares_give(&session->worker->tensors, tensor);
    else
        free(tensor);
}

/* ---- saved values ---- */

struct saved *saved_new(struct session *session, const struct tensor *tensor)
{
    struct saved *saved = spares_take(&session->worker->saved, sizeof *saved);
    int64_t first, end;
    if (!saved)
        return NULL;
    tensor_meta(tensor, &saved->meta);
    td_meta_extent(&saved->meta, &first, &end);
    saved->reader.first = (size_t)first * td_dtype_size(tensor->dtype);
    saved->reader.end = (size_t)end * td_dtype_size(tensor->dtype);
    saved->meta.offset = 0;
    reader_add(&saved->reader, tensor->storage->block);
    return saved;
}

void saved_free(struct session *session, struct saved *saved)
{
    if (!saved)
        return;
    struct block *block = saved->reader.block;
    reader_remove(&saved->reader);
    block_drop(session, block);
    spares_give(&session->worker->saved, saved);
}

struct tensor *saved_tensor(struct session *session, struct saved *saved)
{
    struct storage *storage = storage_on(session, saved->reader.block);
    if (!storage)
        return NULL;
    struct td_meta meta = saved->meta;
    meta.offset = (int64_t)(saved->reader.first / td_dtype_size(meta.dtype));
    struct tensor *tensor = tensor_new(session, &meta, storage);
    if (!tensor) {
        saved->reader.block->storages--;
        spares_give(&session->worker->storages, storage);
        return NULL;
    }
    storage->refs--; /* the tensor's is the only one */
    return tensor;
}
