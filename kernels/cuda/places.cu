/* Copies and sums at what indices name. Sums of reals are made in the order of the index, so that they have the same
 * bits every time: items are sorted by what they name. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/places.h"

#include "kernels/cuda/radix.h"
#include "kernels/scalar.h"

/* ---- copies: words, as wide as the innermost dimension lets them be ---- */

void td_placing_set_plain(struct td_placing *placing, const struct td_operand *plain)
{
    placing->plain = plain->immediate ? NULL : plain->data;
    placing->value = 0;
    if (plain->immediate)
        memcpy(&placing->value, plain->data, td_dtype_size(plain->dtype));
}

/* Whether all of places can be done in words of so many elements, which lie one behind the other on both sides. */
static bool fits_words(const struct td_placing *p, int64_t elements, size_t bytes)
{
    const td_grid<TD_PLACE_OPERANDS> &at = p->all.at;
    int last = at.rank - 1;
    if (last < 0 || at.shape[last] % (uint64_t)elements || at.stride[TD_NAMED][last] != 1 ||
        at.stride[TD_PLAIN][last] != 1 || at.stride[TD_INDEX][last] || at.stride[TD_KEY][last] ||
        at.stride[TD_ITEM][last] || p->all.step % elements)
        return false;
    for (int d = 0; d < last; d++)
        if (at.stride[TD_NAMED][d] % elements || at.stride[TD_PLAIN][d] % elements)
            return false;
    return p->plain && ((uintptr_t)p->named | (uintptr_t)p->plain) % bytes == 0;
}

/* The elements as words; bytes of one are returned. */
static size_t in_words(const struct td_placing *p, td_places *places)
{
    size_t size = td_dtype_size(p->dtype), bytes = 16;
    *places = p->all;
    while (bytes > size && !fits_words(p, (int64_t)(bytes / size), bytes))
        bytes /= 2;
    int64_t elements = (int64_t)(bytes / size);
    int last = places->at.rank - 1;
    if (elements == 1)
        return bytes;
    places->at.count /= (uint64_t)elements;
    places->at.shape[last] /= (uint64_t)elements;
    places->step /= elements;
    for (int d = 0; d < last; d++) {
        places->at.stride[TD_NAMED][d] /= elements;
        places->at.stride[TD_PLAIN][d] /= elements;
    }
    return bytes;
}

template <class T> __global__ void get(td_places places, const T *named, T *plain)
{
    uint64_t i = td_thread();
    if (i >= places.at.count)
        return;
    td_place place = td_place_of(places, i);
    plain[place.plain] = named[place.named];
}

struct getting {
    const td_places &places;
    const struct td_placing *p;
    template <class T> void with() const
    {
        td_enqueue(get<T>, td_blocks((int64_t)places.at.count, 1, TD_THREADS), TD_THREADS, places, (const T *)p->named,
                   (T *)p->plain);
    }
};

void td_cuda_get_places(const struct td_placing *placing)
{
    td_places places;
    size_t bytes = in_words(placing, &places);
    td_for_words(bytes, getting{places, placing});
}

/* ---- writes ---- */

/* Items are worked on in pieces that 32 bits count. */
#define PIECE (UINT64_C(1) << 31)

/* Sorted items are joined by stretches, so that a key which comes very often is no long way for one thread. */
#define STRETCH UINT64_C(64)

static uint64_t stretches_of(uint64_t items)
{
    return (items + STRETCH - 1) / STRETCH;
}

/* Of the two parts that a stretch may leave for each column. */
static size_t parts_bytes(const struct td_placing *p, uint64_t items)
{
    return 2 * stretches_of(items) * p->columns.count * sizeof(uint64_t);
}

size_t td_placing_bytes(const struct td_placing *p)
{
    uint64_t items = p->items.at.count < PIECE ? p->items.at.count : PIECE;
    size_t last = (size_t)p->keys * sizeof(unsigned), sorted = parts_bytes(p, items) + td_radix_bytes(items);
    return last > sorted ? last : sorted;
}

static void *scratch_of(const struct td_placing *p)
{
    char *memory = (char *)td_cuda_scratch(p->ahead + td_placing_bytes(p));
    return memory ? memory + p->ahead : NULL;
}

/* The last item of each key, counted from first and from 1; 0: none. */
__global__ void find_last(td_places items, uint64_t first, uint64_t count, unsigned *last)
{
    uint64_t i = td_thread();
    if (i < count)
        atomicMax(&last[td_place_of(items, first + i).key], (unsigned)i + 1);
}

template <class T>
__global__ void put(td_places places, T *named, const T *plain, T value, uint64_t first, const unsigned *last)
{
    uint64_t i = td_thread();
    if (i >= places.at.count)
        return;
    td_place place = td_place_of(places, i);
    if (!last || (uint64_t)place.item - first + 1 == last[place.key])
        named[place.named] = plain ? plain[place.plain] : value;
}

struct putting {
    const td_places &places;
    const struct td_placing *p;
    uint64_t first;
    const unsigned *last;
    template <class T> void with() const
    {
        T value;
        memset(&value, 0, sizeof value);
        memcpy(&value, &p->value, sizeof value < sizeof p->value ? sizeof value : sizeof p->value);
        td_enqueue(put<T>, td_blocks((int64_t)places.at.count, 1, TD_THREADS), TD_THREADS, places, (T *)p->named,
                   (const T *)p->plain, value, first, last);
    }
};

bool td_cuda_put_places(const struct td_placing *p)
{
    td_places places;
    size_t bytes = in_words(p, &places);
    if (places.at.count == 0)
        return true;
    bool repeats = true; /* one element for all: none of them is the last */
    for (int d = 0; d < places.at.rank; d++)
        repeats &= places.at.stride[TD_PLAIN][d] == 0;
    if (repeats) {
        td_for_words(bytes, putting{places, p, 0, NULL});
        return true;
    }
    unsigned *last = (unsigned *)scratch_of(p);
    for (uint64_t first = 0; last && first < p->items.at.count; first += PIECE) {
        uint64_t count = p->items.at.count - first < PIECE ? p->items.at.count - first : PIECE;
        td_cuda_check(cudaMemsetAsync(last, 0, (size_t)p->keys * sizeof *last, td_stream), "the last of items");
        td_enqueue(find_last, td_blocks((int64_t)count, 1, TD_THREADS), TD_THREADS, p->items, first, count, last);
        td_for_words(bytes, putting{places, p, first, last});
    }
    return last != NULL;
}

/* ---- joins ---- */

/* Whole numbers in unsigned arithmetic, which wraps. */
template <class U, class I> __device__ static I joined_whole(int by, I a, I b)
{
    return by == TD_BY_PROD   ? (I)((U)a * (U)b)
           : by == TD_BY_AMAX ? (a > b ? a : b)
           : by == TD_BY_AMIN ? (a < b ? a : b)
                              : (I)((U)a + (U)b);
}
__device__ static int32_t joined(int by, int32_t a, int32_t b)
{
    return joined_whole<uint32_t>(by, a, b);
}
__device__ static int64_t joined(int by, int64_t a, int64_t b)
{
    return joined_whole<uint64_t>(by, a, b);
}
__device__ static float joined(int by, float a, float b)
{
    return by == TD_BY_PROD ? a * b : by == TD_BY_AMAX ? td_max_f32(a, b) : by == TD_BY_AMIN ? td_min_f32(a, b) : a + b;
}
__device__ static double joined(int by, double a, double b)
{
    return by == TD_BY_PROD ? a * b : by == TD_BY_AMAX ? td_max_f64(a, b) : by == TD_BY_AMIN ? td_min_f64(a, b) : a + b;
}

__device__ static int32_t divided(int32_t a, uint64_t count)
{
    return (int32_t)td_quotient_down(a, (int64_t)count);
}
__device__ static int64_t divided(int64_t a, uint64_t count)
{
    return td_quotient_down(a, (int64_t)count);
}
__device__ static float divided(float a, uint64_t count)
{
    return a / (float)count;
}
__device__ static double divided(double a, uint64_t count)
{
    return a / (double)count;
}

__global__ void find_keys(td_places items, uint64_t first, uint64_t count, uint64_t *key, uint32_t *position)
{
    uint64_t i = td_thread();
    if (i >= count)
        return;
    key[i] = (uint64_t)td_place_of(items, first + i).key;
    position[i] = (uint32_t)i;
}

struct joining {
    td_places items;
    td_grid<2> columns;
    uint64_t first, count;
    const uint64_t *key;
    const uint32_t *position;
    int by;
    bool begins;
};

/* Brings what was joined of count items to where they belong. */
template <class T>
__device__ static void bring(const joining &j, uint64_t item, int64_t beside, T *named, T sum, uint64_t count)
{
    T *target = named + td_place_of(j.items, j.first + j.position[item]).named + beside;
    if (!j.begins)
        sum = joined(j.by, *target, sum);
    *target = j.by == TD_BY_MEAN ? divided(sum, count + !j.begins) : sum;
}

/* A thread for each column of each item, of whom the first in the stretch with its key does all of them. A key that
 * goes on beyond the stretch leaves its part: parts has two for each stretch, of what starts there and of what leads
 * into it. */
template <class T> __global__ void join_stretches(joining j, T *named, const T *plain, T value, T *parts)
{
    uint64_t i = td_thread(), column = td_split(&i, j.columns.count);
    if (i >= j.count)
        return;
    bool starts = i == 0 || j.key[i - 1] != j.key[i];
    if (!starts && i % STRETCH)
        return;
    int64_t beside[2] = {0};
    td_grid_seek(j.columns, column, beside);
    uint64_t stretch = i / STRETCH, end = (stretch + 1) * STRETCH, n = i, key = j.key[i];
    end = end < j.count ? end : j.count;
    T sum = 0;
    for (; n < end && j.key[n] == key; n++) {
        int64_t from = td_place_of(j.items, j.first + j.position[n]).plain + beside[1];
        T x = plain ? plain[from] : value;
        sum = n == i ? x : joined(j.by, sum, x);
    }
    if (starts && (n == j.count || j.key[n] != key))
        bring(j, i, beside[0], named, sum, n - i);
    else
        parts[(2 * stretch + !starts) * j.columns.count + column] = sum;
}

/* A thread for each column of each stretch joins the parts of a key that starts in it and goes on. */
template <class T> __global__ void join_parts(joining j, T *named, const T *parts)
{
    uint64_t stretch = td_thread(), column = td_split(&stretch, j.columns.count), next = (stretch + 1) * STRETCH;
    if (next >= j.count || j.key[next - 1] != j.key[next])
        return;
    uint64_t key = j.key[next], start = next - 1, end = next;
    while (start % STRETCH && j.key[start - 1] == key)
        start--;
    if (start && j.key[start - 1] == key)
        return;
    int64_t beside[2] = {0};
    td_grid_seek(j.columns, column, beside);
    T sum = parts[2 * stretch * j.columns.count + column];
    for (; next < j.count && j.key[next] == key; next += STRETCH) {
        sum = joined(j.by, sum, parts[(2 * (next / STRETCH) + 1) * j.columns.count + column]);
        end = next;
    }
    while (end < j.count && j.key[end] == key)
        end++;
    bring(j, start, beside[0], named, sum, end - start);
}

/* Additions of whole numbers come out the same in any order; truth values are joined by or. */
__device__ static void add_whole(uint8_t *at, uint8_t value)
{
    if (value)
        *at = 1;
}
__device__ static void add_whole(int32_t *at, int32_t value)
{
    atomicAdd((unsigned *)at, (unsigned)value);
}
__device__ static void add_whole(int64_t *at, int64_t value)
{
    atomicAdd((unsigned long long *)at, (unsigned long long)value);
}
template <class T> __global__ void add_each(td_places places, T *named, const T *plain, T value)
{
    uint64_t i = td_thread();
    if (i >= places.at.count)
        return;
    td_place place = td_place_of(places, i);
    add_whole(named + place.named, plain ? plain[place.plain] : value);
}

template <class T> static T value_of(const struct td_placing *p)
{
    T value;
    memcpy(&value, &p->value, sizeof value);
    return value;
}

template <class T> static bool add_all(const struct td_placing *p)
{
    td_enqueue(add_each<T>, td_blocks((int64_t)p->all.at.count, 1, TD_THREADS), TD_THREADS, p->all, (T *)p->named,
               (const T *)p->plain, value_of<T>(p));
    return true;
}

template <class T> static bool join_all(const struct td_placing *p, int by, bool begins)
{
    uint64_t items = p->items.at.count;
    if (items == 0 || p->columns.count == 0)
        return true;
    if (items > PIECE && (begins || by == TD_BY_MEAN)) /* a key's items would be in several pieces */
        return false;
    uint64_t most = items < PIECE ? items : PIECE;
    char *memory = (char *)scratch_of(p);
    if (!memory)
        return false;
    struct td_radix radix = td_radix_in(memory + parts_bytes(p, most), most);
    T *parts = (T *)memory;
    for (uint64_t first = 0; first < items; first += PIECE) {
        uint64_t count = items - first < PIECE ? items - first : PIECE;
        td_enqueue(find_keys, td_blocks((int64_t)count, 1, TD_THREADS), TD_THREADS, p->items, first, count,
                   radix.key[0], radix.position[0]);
        int sorted = td_cuda_radix_sort(&radix, count, (uint64_t)p->keys);
        joining j = {p->items, p->columns, first, count, radix.key[sorted], radix.position[sorted], by, begins};
        td_enqueue(join_stretches<T>, td_blocks((int64_t)(count * p->columns.count), 1, TD_THREADS), TD_THREADS, j,
                   (T *)p->named, (const T *)p->plain, value_of<T>(p), parts);
        td_enqueue(join_parts<T>, td_blocks((int64_t)(stretches_of(count) * p->columns.count), 1, TD_THREADS),
                   TD_THREADS, j, (T *)p->named, parts);
    }
    return true;
}

bool td_cuda_join_places(const struct td_placing *p, int by, bool begins)
{
    bool adds = by == TD_BY_SUM && !begins;
    switch (p->dtype) {
    case TD_BOOL:
        return add_all<uint8_t>(p);
    case TD_I32:
        return adds ? add_all<int32_t>(p) : join_all<int32_t>(p, by, begins);
    case TD_I64:
        return adds ? add_all<int64_t>(p) : join_all<int64_t>(p, by, begins);
    case TD_F32:
        return join_all<float>(p, by, begins);
    default:
        return join_all<double>(p, by, begins);
    }
}
