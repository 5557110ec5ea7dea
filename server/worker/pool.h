/* The caching pool: all memory of the device that tensors live in. It takes address space in big pieces and keeps it,
 * so that no page is touched for the first time twice; it splits and joins blocks by size (two-level segregated fit),
 * and keeps small ones ready by exact size. Each block says whose it is and which request made it. Where work is put
 * into lanes, each lane has lists of its own: what is given back is taken again by the lane that took it, whose work
 * comes behind its last use anyway, and by another one only when nothing else is left. SPDX-License-Identifier:
 * Apache-2.0 */
#ifndef TD_SERVER_WORKER_POOL_H
#define TD_SERVER_WORKER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

struct reader;

/* Up to where the lanes have put work that touches a block, by their stamps. Of free blocks, too. */
struct uses {
    uint64_t used[TD_LANES]; /* 0: not at all */
    uint64_t wrote;          /* by the lane that wrote to it last */
    uint8_t writer;
};

/* A run of bytes on the device. Storages share it; readers need what it holds now (buffer.h). */
struct block {
    void *data;
    size_t size; /* of the run: at least what was asked for */
    union {
        struct {
            uint64_t session; /* who has it */
            uint64_t request; /* of that session: the one that took it */
        };
        struct {
            struct block *prev, *next; /* in the free list, where nobody has it */
        };
    };
    uint32_t storages; /* storages that stand on it */
    uint32_t readers;  /* length of the list */
    struct reader *first_reader;
    uint64_t walk; /* the last search that has counted it (worker.h) */
    /* the pool's own */
    struct block *before, *after; /* neighbours in the address space, NULL at a segment's ends */
    bool free;
    uint8_t class;      /* its user's word for what it is used for */
    uint8_t lane;       /* in whose lists it is when it is free */
    uint32_t site;      /* its user's: where the program asked for it */
    struct uses uses[]; /* one where the device has stamps, else none */
};

#define POOL_GRAIN 64       /* bytes: a cache line, and the alignment of AVX-512 */
#define POOL_SMALL_MAX 4096 /* bytes up to which freed blocks are kept by exact size */
#define POOL_BINS 352       /* 8 to an octave, up to 2^48 bytes */

struct pool_segment {
    void *memory;
    size_t bytes;
    struct block *first; /* the rest follow, each after the one before */
};

/* What is free, of one lane. */
struct pool_lists {
    uint64_t bins_used[POOL_BINS / 64 + 1];
    struct block *bins[POOL_BINS];
    struct block *small[POOL_SMALL_MAX / POOL_GRAIN + 1];
};

struct pool {
    const struct td_device *device;
    uint8_t lane;          /* that what is taken now is for */
    size_t limit_bytes;    /* never reserve more */
    size_t reserved_bytes; /* address space taken so far */
    size_t used_bytes;     /* of blocks given out */
    size_t peak_bytes;     /* highest used_bytes */
    struct pool_lists lists[TD_LANES];
    struct block *spare; /* block structs not in use */
    struct pool_segment *segments;
    size_t segment_count;
};

void pool_init(struct pool *pool, const struct td_device *device, size_t limit_bytes);
/* Gives everything back to the device; no block may be in use. */
void pool_deinit(struct pool *pool);
/* A block of at least bytes, its content whatever lay there; NULL if there is no such run. What is free is given back
 * to the device only where that makes one, which may wait for the device. */
struct block *pool_take(struct pool *pool, size_t bytes, uint64_t session, uint64_t request);
void pool_give(struct pool *pool, struct block *block);
/* The largest block that could be had now without growing, of any lane. */
size_t pool_largest_free(const struct pool *pool);
/* What the largest segment could have, if the device gives it: what is not taken, and segments that nobody is in. */
size_t pool_room(const struct pool *pool);
/* Whether a block of a segment is somebody's. */
static inline bool block_is_used(const struct block *block)
{
    return block->storages || block->readers;
}

#endif
