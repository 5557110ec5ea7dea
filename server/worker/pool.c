/* The caching pool. Bins and bitmap after Masmano et al., "TLSF: a new dynamic memory allocator for real-time systems"
 * (2004), with the headers kept outside the memory, which may be a GPU's.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/pool.h"

#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer, bytes that nobody has been given are poisoned. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

/* Growth by 32 MiB: sixteen huge pages, a few ms of first touch when all are used. */
#define SEGMENT_BYTES ((size_t)32 << 20)
#define SEGMENT_ALIGN ((size_t)2 << 20)
#define BYTES_MAX ((size_t)1 << 46)

/* What lies on another device is not the sanitizer's, and there a block that was given back may still be worked on: the
 * next owner's work comes behind. */
static void poison(const struct pool *pool, void *at, size_t bytes)
{
    if (pool->device->host_memory)
        ASAN_POISON_MEMORY_REGION(at, bytes);
}

static void unpoison(const struct pool *pool, void *at, size_t bytes)
{
    if (pool->device->host_memory)
        ASAN_UNPOISON_MEMORY_REGION(at, bytes);
}

void pool_init(struct pool *pool, const struct td_device *device, size_t limit_bytes)
{
    *pool = (struct pool){.device = device, .limit_bytes = limit_bytes};
}

/* ---- bins ---- */

static unsigned bin_of(size_t bytes)
{
    size_t grains = bytes / POOL_GRAIN;
    if (grains < 8)
        return (unsigned)grains;
    unsigned octave = 63 - (unsigned)__builtin_clzll(grains);
    return (octave - 2) * 8 + (unsigned)(grains >> (octave - 3) & 7);
}

/* The first bin all of whose blocks have at least bytes. */
static unsigned bin_above(size_t bytes)
{
    size_t grains = bytes / POOL_GRAIN;
    if (grains >= 8) {
        unsigned octave = 63 - (unsigned)__builtin_clzll(grains);
        bytes += (((size_t)1 << (octave - 3)) - 1) * POOL_GRAIN;
    }
    return bin_of(bytes);
}

static void bin_insert(struct pool *pool, struct block *block)
{
    unsigned bin = bin_of(block->size);
    block->free = true;
    block->prev = NULL;
    block->next = pool->bins[bin];
    if (block->next)
        block->next->prev = block;
    pool->bins[bin] = block;
    pool->bins_used[bin / 64] |= UINT64_C(1) << bin % 64;
}

static void bin_remove(struct pool *pool, struct block *block)
{
    unsigned bin = bin_of(block->size);
    block->free = false;
    if (block->next)
        block->next->prev = block->prev;
    if (block->prev)
        block->prev->next = block->next;
    else
        pool->bins[bin] = block->next;
    if (!pool->bins[bin])
        pool->bins_used[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

static struct block *bin_find(const struct pool *pool, size_t bytes)
{
    unsigned bin = bin_above(bytes);
    for (unsigned word = bin / 64; word < sizeof pool->bins_used / sizeof *pool->bins_used; word++) {
        uint64_t used = pool->bins_used[word];
        if (word == bin / 64)
            used &= ~UINT64_C(0) << bin % 64;
        if (used)
            return pool->bins[word * 64 + (unsigned)__builtin_ctzll(used)];
    }
    return NULL;
}

/* ---- block structs ---- */

static struct block *struct_new(struct pool *pool)
{
    struct block *block = pool->spare;
    if (block)
        pool->spare = block->next;
    else if (!(block = malloc(sizeof *block)))
        return NULL;
    *block = (struct block){0};
    return block;
}

static void struct_free(struct pool *pool, struct block *block)
{
    block->next = pool->spare;
    pool->spare = block;
}

/* ---- segments ---- */

static bool grow(struct pool *pool, size_t bytes)
{
    size_t size = (bytes + SEGMENT_ALIGN - 1) / SEGMENT_ALIGN * SEGMENT_ALIGN;
    size_t room = pool->limit_bytes - pool->reserved_bytes;
    if (size < SEGMENT_BYTES)
        size = SEGMENT_BYTES;
    if (size > room)
        size = room / SEGMENT_ALIGN * SEGMENT_ALIGN;
    if (size < bytes)
        return false;
    struct pool_segment *segments = realloc(pool->segments, (pool->segment_count + 1) * sizeof *segments);
    if (!segments)
        return false;
    pool->segments = segments;
    struct block *block = struct_new(pool);
    void *memory = block ? pool->device->reserve(size) : NULL;
    if (!memory) {
        if (block)
            struct_free(pool, block);
        return false;
    }
    segments[pool->segment_count++] = (struct pool_segment){memory, size};
    pool->reserved_bytes += size;
    poison(pool, memory, size);
    block->data = memory;
    block->size = size;
    bin_insert(pool, block);
    return true;
}

void pool_deinit(struct pool *pool)
{
    for (unsigned i = 0; i < sizeof pool->small / sizeof *pool->small; i++) {
        for (struct block *block = pool->small[i], *next; block; block = next) {
            next = block->next;
            pool->small[i] = NULL;
            free(block);
        }
    }
    for (unsigned bin = 0; bin < POOL_BINS; bin++) {
        for (struct block *block = pool->bins[bin], *next; block; block = next) {
            next = block->next;
            free(block);
        }
    }
    for (struct block *block = pool->spare, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    for (size_t i = 0; i < pool->segment_count; i++) {
        unpoison(pool, pool->segments[i].memory, pool->segments[i].bytes);
        pool->device->unreserve(pool->segments[i].memory, pool->segments[i].bytes);
    }
    free(pool->segments);
    *pool = (struct pool){0};
}

/* ---- splitting and joining ---- */

/* Cuts block, which is in no list, to size; the rest becomes free. Without memory for a struct it stays whole. */
static void split(struct pool *pool, struct block *block, size_t size)
{
    struct block *rest = block->size - size >= POOL_GRAIN ? struct_new(pool) : NULL;
    if (!rest)
        return;
    rest->data = (char *)block->data + size;
    rest->size = block->size - size;
    rest->session = block->session;
    rest->before = block;
    rest->after = block->after;
    if (rest->after)
        rest->after->before = rest;
    block->after = rest;
    block->size = size;
    bin_insert(pool, rest);
}

/* Puts what lies after first into it. Both are in no list. */
static void join(struct pool *pool, struct block *first)
{
    struct block *second = first->after;
    first->size += second->size;
    first->after = second->after;
    if (first->after)
        first->after->before = first;
    struct_free(pool, second);
}

static void release(struct pool *pool, struct block *block)
{
    if (block->after && block->after->free) {
        bin_remove(pool, block->after);
        join(pool, block);
    }
    if (block->before && block->before->free) {
        block = block->before;
        bin_remove(pool, block);
        join(pool, block);
    }
    bin_insert(pool, block);
}

/* Gives the small blocks kept by exact size back to the bins. */
static bool release_small(struct pool *pool)
{
    bool any = false;
    for (unsigned i = 0; i < sizeof pool->small / sizeof *pool->small; i++) {
        struct block *block;
        while ((block = pool->small[i])) {
            pool->small[i] = block->next;
            release(pool, block);
            any = true;
        }
    }
    return any;
}

/* ---- take and give ---- */

static struct block *find(struct pool *pool, size_t size)
{
    struct block *block = bin_find(pool, size);
    if (!block && release_small(pool))
        block = bin_find(pool, size);
    if (!block && grow(pool, size + POOL_GRAIN))
        block = bin_find(pool, size);
    if (!block) /* the bin of size itself may hold one that fits: the last resort, since it is a search */
        for (block = pool->bins[bin_of(size)]; block && block->size < size; block = block->next)
            ;
    if (!block)
        return NULL;
    bin_remove(pool, block);
    split(pool, block, size);
    return block;
}

struct block *pool_take(struct pool *pool, size_t bytes, uint64_t session, uint64_t request)
{
    if (bytes > BYTES_MAX)
        return NULL;
    size_t size = bytes ? (bytes + POOL_GRAIN - 1) / POOL_GRAIN * POOL_GRAIN : POOL_GRAIN;
    struct block *block;
    if (size <= POOL_SMALL_MAX && pool->small[size / POOL_GRAIN]) {
        block = pool->small[size / POOL_GRAIN];
        pool->small[size / POOL_GRAIN] = block->next;
    } else if (!(block = find(pool, size))) {
        return NULL;
    }
    unpoison(pool, block->data, block->size);
    block->session = session;
    block->request = request;
    block->storages = block->readers = 0;
    block->first_reader = NULL;
    pool->used_bytes += block->size;
    if (pool->used_bytes > pool->peak_bytes)
        pool->peak_bytes = pool->used_bytes;
    return block;
}

void pool_give(struct pool *pool, struct block *block)
{
    poison(pool, block->data, block->size);
    pool->used_bytes -= block->size;
    if (block->size <= POOL_SMALL_MAX) {
        block->next = pool->small[block->size / POOL_GRAIN];
        pool->small[block->size / POOL_GRAIN] = block;
        return;
    }
    release(pool, block);
}

size_t pool_largest_free(const struct pool *pool)
{
    size_t largest = 0;
    for (int bin = POOL_BINS - 1; bin >= 0 && !largest; bin--)
        for (const struct block *block = pool->bins[bin]; block; block = block->next)
            largest = block->size > largest ? block->size : largest;
    return largest;
}
