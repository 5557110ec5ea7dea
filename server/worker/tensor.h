/* Tensors as the worker keeps them: a tensor is a strided window on a storage, a storage stands on a block of the pool,
 * and a block knows its readers. A reader is somebody who needs the bytes as they are now (the tape, a reply half
 * written); a write that meets a reader's range first moves the smaller side to another block. Writing is announced by
 * storage_write; nothing else may change bytes. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_TENSOR_H
#define TD_SERVER_WORKER_TENSOR_H

#include "protocol/dtype.h"
#include "protocol/error.h"
#include "protocol/infer.h"
#include "server/worker/pool.h"

struct session;
struct node;

/* The first cause of a failure, shared by everything that depends on it. */
struct cause {
    uint32_t refs;
    int code;                 /* enum td_error_code */
    uint64_t request;         /* that failed, by the session's count */
    char op[TD_NAME_BYTES];   /* its name */
    char site[TD_SITE_BYTES]; /* where the client's program made it, "" if it did not say */
    char message[TD_MESSAGE_BYTES], hint[TD_HINT_BYTES];
};

struct storage {
    uint32_t refs;    /* tensors on it */
    uint16_t outside; /* checkpoints in work that it is older than */
    size_t bytes;     /* as were asked for: the block may have more */
    struct block *block;
};

/* One who needs the bytes of [first, end) of a block as they are now. */
struct reader {
    struct block *block;
    size_t first, end; /* bytes from the block's start */
    struct reader *prev, *next;
};

/* What an alias family shares: a base and its differentiable views (DESIGN.md section 5). */
struct history {
    uint32_t refs;
    bool leaf;            /* the base is a leaf that wants a gradient: recorded writes are refused */
    bool marked;          /* written to where only a checkpoint in work kept the write from being recorded */
    bool marked_whole;    /* the last of these writes was to all of the base */
    uint32_t place;       /* of the checkpoint that ends: where it stands among its families, from 1 */
    uint64_t version;     /* recorded writes so far */
    int64_t content_size; /* elements of the storage */
    struct node *content; /* gives the storage's whole content as one row; NULL: made of base when needed */
    struct node *base;    /* gives the base's window; NULL: content does, if it wants a gradient */
    uint8_t content_output, base_output; /* as which of their outputs */
    struct td_meta window;               /* of base */
};

enum tensor_flag {
    TENSOR_VIEW_OF_LEAF = 1, /* made of a leaf that wants a gradient, while recording */
    TENSOR_NO_GRAD_VIEW = 2, /* a view made under no_grad, or a view of one */
    TENSOR_OF_GRAD = 4,      /* that of something that wanted a gradient then */
    TENSOR_MARKED = 8        /* it would want a gradient, but for a checkpoint in work */
};

struct tensor {
    uint32_t refs;
    uint8_t dtype, rank, flags;
    uint8_t output;       /* which of node's outputs it is */
    struct cause *failed; /* an error value: everything below is empty then */
    struct storage *storage;
    struct node *node;         /* what its gradient goes to, as of version; NULL: it wants none */
    struct retained *retained; /* NULL: its gradient is not kept, but for a leaf's */
    struct history *history;   /* NULL: no views and no recorded writes yet */
    uint64_t version;
    char *name;
    int64_t offset; /* elements */
    int64_t dims[]; /* sizes, then strides */
};

/* A value that the tape keeps: a window on a block, pinned by a reader. */
struct saved {
    struct reader reader;
    struct td_meta meta;
};

struct cause *cause_ref(struct cause *cause);
void cause_unref(struct cause *cause);

/* All tensor_ functions that make one return NULL where the host has no memory. A new tensor has one reference. */
/* It takes a reference of storage. */
struct tensor *tensor_new(struct session *session, const struct td_meta *meta, struct storage *storage);
struct tensor *tensor_failed(struct cause *cause);
static inline struct tensor *tensor_ref(struct tensor *tensor)
{
    tensor->refs++;
    return tensor;
}
void tensor_free(struct session *session, struct tensor *tensor);
static inline void tensor_unref(struct session *session, struct tensor *tensor)
{
    if (tensor && --tensor->refs == 0)
        tensor_free(session, tensor);
}
static inline void tensor_meta(const struct tensor *tensor, struct td_meta *meta)
{
    meta->dtype = tensor->dtype;
    meta->rank = tensor->rank;
    meta->scalar = false;
    meta->offset = tensor->offset;
    for (int d = 0; d < tensor->rank; d++) {
        meta->shape[d] = tensor->dims[d];
        meta->stride[d] = tensor->dims[tensor->rank + d];
    }
}
/* The window's first element; valid until the next storage_write. */
static inline void *tensor_data(const struct tensor *tensor)
{
    return (char *)tensor->storage->block->data + (size_t)tensor->offset * td_dtype_size(tensor->dtype);
}

/* A storage of bytes, charged to session. NULL if there is no memory; failure says so then. */
struct storage *storage_new(struct session *session, size_t bytes, struct td_failure *failure);
/* Another storage with the same content: the bytes are shared until one of both is written to. */
struct storage *storage_fork(struct session *session, struct storage *storage);
void storage_unref(struct session *session, struct storage *storage);
/* What block is used for from now on: enum blackbox_class. */
void block_classify(struct session *session, struct block *block, uint8_t class);
/* Makes [first, end) bytes of storage ready to be written: whoever needs the old bytes keeps them. */
int storage_write(struct session *session, struct storage *storage, size_t first, size_t end,
                  struct td_failure *failure);

/* Keeps tensor's bytes as they are now. NULL without memory. */
struct saved *saved_new(struct session *session, const struct tensor *tensor);
void saved_free(struct session *session, struct saved *saved);
/* A tensor that shows what was saved; for reading only. */
struct tensor *saved_tensor(struct session *session, struct saved *saved);

#endif
