/* A radix sort from the lowest digit up. Threads take neighbouring keys and blocks neighbouring tiles, so that counting
 * by digit, block and thread keeps the order of equal keys. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/radix.h"

#define DIGIT_BITS 4
#define DIGITS (1 << DIGIT_BITS)
#define KEYS_EACH 16 /* of a thread; as many counters of it there are */
#define TILE (TD_THREADS * KEYS_EACH)
#define SCAN_THREADS 1024
#define GROUP 32

/* The sum of what the threads before this one give: of those of its group of 32, and of the groups before. */
__device__ static uint64_t sum_before(uint64_t mine)
{
    __shared__ uint64_t sums[SCAN_THREADS], groups[SCAN_THREADS / GROUP + 1];
    unsigned self = threadIdx.x, all = blockDim.x / GROUP;
    sums[self] = mine;
    __syncthreads();
    if (self < all) {
        uint64_t sum = 0;
        for (unsigned k = self * GROUP; k < (self + 1) * GROUP; k++) {
            uint64_t here = sums[k];
            sums[k] = sum;
            sum += here;
        }
        groups[self] = sum;
    }
    __syncthreads();
    uint64_t before = sums[self];
    for (unsigned k = 0; k < self / GROUP; k++)
        before += groups[k];
    __syncthreads();
    return before;
}

/* A single block, whose threads have a stretch each. */
__global__ void run_totals(uint64_t *counters, uint64_t count, uint64_t *total)
{
    uint64_t each = (count + blockDim.x - 1) / blockDim.x, from = threadIdx.x * each;
    uint64_t to = from + each < count ? from + each : count, sum = 0;
    for (uint64_t i = from; i < to; i++)
        sum += counters[i];
    uint64_t before = sum_before(sum);
    if (total && threadIdx.x == blockDim.x - 1)
        *total = before + sum;
    for (uint64_t i = from; i < to; i++) {
        uint64_t mine = counters[i];
        counters[i] = before;
        before += mine;
    }
}

void td_cuda_running(uint64_t *counters, uint64_t count, uint64_t *total)
{
    td_enqueue(run_totals, 1, count <= GROUP ? GROUP : SCAN_THREADS, counters, count, total);
}

static uint64_t tiles_of(uint64_t count)
{
    return (count + TILE - 1) / TILE;
}

size_t td_radix_bytes(uint64_t count)
{
    return 2 * count * (sizeof(uint64_t) + sizeof(uint32_t)) + tiles_of(count) * DIGITS * sizeof(uint64_t);
}

struct td_radix td_radix_in(void *memory, uint64_t count)
{
    struct td_radix radix;
    radix.key[0] = (uint64_t *)memory;
    radix.key[1] = radix.key[0] + count;
    radix.counters = radix.key[1] + count;
    radix.position[0] = (uint32_t *)(radix.counters + tiles_of(count) * DIGITS);
    radix.position[1] = radix.position[0] + count;
    return radix;
}

__device__ static unsigned digit_of(uint64_t key, int shift)
{
    return (unsigned)(key >> shift) % DIGITS;
}

/* How often each digit comes in each tile: counters by digit, then by tile. */
__global__ void count_digits(const uint64_t *key, uint64_t count, int shift, uint64_t *counters)
{
    __shared__ unsigned counted[DIGITS];
    if (threadIdx.x < DIGITS)
        counted[threadIdx.x] = 0;
    __syncthreads();
    uint64_t tile = (uint64_t)blockIdx.x * TILE;
    for (unsigned k = threadIdx.x; k < TILE && tile + k < count; k += TD_THREADS)
        atomicAdd(&counted[digit_of(key[tile + k], shift)], 1u);
    __syncthreads();
    if (threadIdx.x < DIGITS)
        counters[(uint64_t)threadIdx.x * gridDim.x + blockIdx.x] = counted[threadIdx.x];
}

/* counters: how many keys come before the tile's first one of each digit. */
__global__ void place_keys(const uint64_t *key, const uint32_t *position, uint64_t count, int shift,
                           const uint64_t *counters, uint64_t *key_to, uint32_t *position_to)
{
    __shared__ uint16_t counted[DIGITS * TD_THREADS]; /* by digit, then by thread */
    __shared__ uint64_t first[DIGITS];                /* key of each digit, less its place in the tile */
    unsigned self = threadIdx.x;
    uint64_t from = (uint64_t)blockIdx.x * TILE + self * KEYS_EACH;
    uint64_t to = from + KEYS_EACH < count ? from + KEYS_EACH : count;
    for (unsigned d = 0; d < DIGITS; d++)
        counted[d * TD_THREADS + self] = 0;
    for (uint64_t i = from; i < to; i++)
        counted[digit_of(key[i], shift) * TD_THREADS + self]++;
    __syncthreads();
    uint64_t sum = 0;
    for (unsigned k = 0; k < DIGITS; k++)
        sum += counted[self * DIGITS + k];
    uint64_t before = sum_before(sum);
    for (unsigned k = 0; k < DIGITS; k++) {
        unsigned mine = counted[self * DIGITS + k];
        counted[self * DIGITS + k] = (uint16_t)before;
        before += mine;
    }
    __syncthreads();
    if (self < DIGITS) /* from the tile's place to that of all */
        first[self] = counters[(uint64_t)self * gridDim.x + blockIdx.x] - counted[self * TD_THREADS];
    __syncthreads();
    for (uint64_t i = from; i < to; i++) {
        uint64_t here = key[i];
        unsigned d = digit_of(here, shift);
        uint64_t place = first[d] + counted[d * TD_THREADS + self]++;
        key_to[place] = here;
        position_to[place] = position[i];
    }
}

int td_cuda_radix_sort(const struct td_radix *r, uint64_t count, uint64_t limit)
{
    int from = 0;
    uint64_t tiles = tiles_of(count);
    for (int shift = 0; shift < 64 && (limit - 1) >> shift; shift += DIGIT_BITS, from = !from) {
        td_enqueue(count_digits, (int64_t)tiles, TD_THREADS, r->key[from], count, shift, r->counters);
        td_cuda_running(r->counters, tiles * DIGITS, NULL);
        td_enqueue(place_keys, (int64_t)tiles, TD_THREADS, r->key[from], r->position[from], count, shift, r->counters,
                   r->key[!from], r->position[!from]);
    }
    return from;
}
