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
    struct pool_lists *lists = &pool->lists[block->lane];
    unsigned bin = bin_of(block->size);
    block->free = true;
    block->prev = NULL;
    block->next = lists->bins[bin];
    if (block->next)
        block->next->prev = block;
    lists->bins[bin] = block;
    lists->bins_used[bin / 64] |= UINT64_C(1) << bin % 64;
}

static void bin_remove(struct pool *pool, struct block *block)
{
    struct pool_lists *lists = &pool->lists[block->lane];
    unsigned bin = bin_of(block->size);
    block->free = false;
    if (block->next)
        block->next->prev = block->prev;
    if (block->prev)
        block->prev->next = block->next;
    else
        lists->bins[bin] = block->next;
    if (!lists->bins[bin])
        lists->bins_used[bin / 64] &= ~(UINT64_C(1) << bin % 64);
}

static struct block *bin_find(const struct pool *pool, size_t bytes)
{
    const struct pool_lists *lists = &pool->lists[pool->lane];
    unsigned bin = bin_above(bytes);
    for (unsigned word = bin / 64; word < sizeof lists->bins_used / sizeof *lists->bins_used; word++) {
        uint64_t used = lists->bins_used[word];
        if (word == bin / 64)
            used &= ~UINT64_C(0) << bin % 64;
        if (used)
            return lists->bins[word * 64 + (unsigned)__builtin_ctzll(used)];
    }
    return NULL;
}

/* ---- block structs ---- */

static struct block *struct_new(struct pool *pool)
{
    size_t bytes = sizeof(struct block) + (pool->device->stamp ? sizeof(struct uses) : 0);
    struct block *block = pool->spare;
    if (block)
        pool->spare = block->next;
    else if (!(block = malloc(bytes)))
        return NULL;
    memset(block, 0, bytes);
    block->lane = pool->lane;
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
    segments[pool->segment_count++] = (struct pool_segment){memory, size, block};
    pool->reserved_bytes += size;
    poison(pool, memory, size);
    block->data = memory;
    block->size = size;
    bin_insert(pool, block);
    return true;
}

static void free_list(struct block *block)
{
    for (struct block *next; block; block = next) {
        next = block->next;
        free(block);
    }
}

void pool_deinit(struct pool *pool)
{
    for (int lane = 0; lane < TD_LANES; lane++) {
        struct pool_lists *lists = &pool->lists[lane];
        for (unsigned i = 0; i < sizeof lists->small / sizeof *lists->small; i++)
            free_list(lists->small[i]);
        for (unsigned bin = 0; bin < POOL_BINS; bin++)
            free_list(lists->bins[bin]);
    }
    free_list(pool->spare);
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
    rest->lane = block->lane;
    if (pool->device->stamp)
        rest->uses[0] = block->uses[0];
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
    for (int lane = 0; lane < TD_LANES && pool->device->stamp; lane++)
        if (second->uses->used[lane] > first->uses->used[lane])
            first->uses->used[lane] = second->uses->used[lane];
    first->size += second->size;
    first->after = second->after;
    if (first->after)
        first->after->before = first;
    struct_free(pool, second);
}

/* Whether block lies there, free, for joining with one of lane. */
static bool joins(const struct block *block, uint8_t lane)
{
    return block && block->free && block->lane == lane;
}

static void release(struct pool *pool, struct block *block)
{
    if (joins(block->after, block->lane)) {
        bin_remove(pool, block->after);
        join(pool, block);
    }
    if (joins(block->before, block->lane)) {
        block = block->before;
        bin_remove(pool, block);
        join(pool, block);
    }
    bin_insert(pool, block);
}

/* Gives the small blocks of lane that are kept by exact size back to the bins. */
static bool release_small(struct pool *pool, int lane)
{
    struct pool_lists *lists = &pool->lists[lane];
    bool any = false;
    for (unsigned i = 0; i < sizeof lists->small / sizeof *lists->small; i++) {
        struct block *block;
        while ((block = lists->small[i])) {
            lists->small[i] = block->next;
            release(pool, block);
            any = true;
        }
    }
    return any;
}

/* All that is free becomes the lane's own. Its work will wait for what the others have put in to end. */
static bool take_over(struct pool *pool)
{
    bool any = false;
    for (int lane = 0; lane < TD_LANES; lane++) {
        struct pool_lists *lists = &pool->lists[lane];
        if (lane == pool->lane)
            continue;
        release_small(pool, lane);
        for (unsigned bin = 0; bin < POOL_BINS; bin++) {
            struct block *block;
            while ((block = lists->bins[bin])) {
                bin_remove(pool, block);
                block->lane = pool->lane;
                release(pool, block);
                any = true;
            }
        }
    }
    return any;
}

static bool is_idle(const struct pool_segment *segment)
{
    return segment->first->free && segment->first->size == segment->bytes;
}

size_t pool_room(const struct pool *pool)
{
    size_t room = pool->limit_bytes - pool->reserved_bytes;
    for (size_t k = 0; k < pool->segment_count; k++)
        room += is_idle(&pool->segments[k]) ? pool->segments[k].bytes : 0;
    return room / SEGMENT_ALIGN * SEGMENT_ALIGN;
}

/* Gives idle segments back to the device, if that makes room for one of size. take_over has been here, and joined what
 * is free. */
static bool give_back(struct pool *pool, size_t size)
{
    bool any = false;
    if (pool_room(pool) < size)
        return false;
    for (size_t k = pool->segment_count; k-- > 0;) {
        struct pool_segment segment = pool->segments[k];
        if (!is_idle(&segment))
            continue;
        bin_remove(pool, segment.first);
        struct_free(pool, segment.first);
        pool->segments[k] = pool->segments[--pool->segment_count];
        pool->reserved_bytes -= segment.bytes;
        unpoison(pool, segment.memory, segment.bytes);
        pool->device->unreserve(segment.memory, segment.bytes);
        any = true;
    }
    return any;
}

/* ---- take and give ---- */

static struct block *find(struct pool *pool, size_t size)
{
    struct block *block = bin_find(pool, size);
    if (!block && release_small(pool, pool->lane))
        block = bin_find(pool, size);
    if (!block && grow(pool, size + POOL_GRAIN))
        block = bin_find(pool, size);
    if (!block && take_over(pool))
        block = bin_find(pool, size);
    if (!block && give_back(pool, size + POOL_GRAIN) && grow(pool, size + POOL_GRAIN))
        block = bin_find(pool, size);
    if (!block) /* the bin of size itself may hold one that fits: the last resort, since it is a search */
        for (block = pool->lists[pool->lane].bins[bin_of(size)]; block && block->size < size; block = block->next)
            ;
    if (!block)
        return NULL;
    bin_remove(pool, block);
    split(pool, block, size);
    return block;
}

struct block *pool_take(struct pool *pool, size_t bytes, uint64_t session, uint64_t request)
{
    if (bytes > BYTES_MAX || bytes > pool->limit_bytes) /* and nothing that is kept for later is given up for it */
        return NULL;
    size_t size = bytes ? (bytes + POOL_GRAIN - 1) / POOL_GRAIN * POOL_GRAIN : POOL_GRAIN;
    struct block **small = size <= POOL_SMALL_MAX ? &pool->lists[pool->lane].small[size / POOL_GRAIN] : NULL;
    struct block *block;
    if (small && *small) {
        block = *small;
        *small = block->next;
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
        struct block **small = &pool->lists[block->lane].small[block->size / POOL_GRAIN];
        block->next = *small;
        *small = block;
        return;
    }
    release(pool, block);
}

size_t pool_largest_free(const struct pool *pool)
{
    size_t largest = 0;
    for (int bin = POOL_BINS - 1; bin >= 0 && !largest; bin--)
        for (int lane = 0; lane < TD_LANES; lane++)
            for (const struct block *block = pool->lists[lane].bins[bin]; block; block = block->next)
                largest = block->size > largest ? block->size : largest;
    return largest;
}
