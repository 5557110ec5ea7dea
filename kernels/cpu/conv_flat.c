/* Convolutions of small images in registers: which they are, and how they are laid out.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/conv_flat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/iterate.h"

/* Windows done at once at most, over all instruction sets and types. */
#define STRIP 32
/* Elements of the channels of an image laid out: 256 KiB of f32. */
#define PLANES_MAX 65536
/* Images side by side, and the fewest such groups of a batch: so many threads find work. */
#define SIDE 16
#define SIDE_LEAST 4
/* Elements laid out of them: 512 KiB of f32. */
#define SIDE_MAX 131072
/* Channels given, from which on the matrix product is as fast. */
#define OUTS_MAX 32
/* Channels given that share a load, and the same of a weight's gradient with the taps that do: what fits into sixteen
 * registers. */
#define OUTS 6
#ifdef __AVX512F__
#define WEIGH_OUTS 3
#else
#define WEIGH_OUTS 2
#endif
#define WEIGH_TAPS 5
/* Windows of images that are summed up at once, below which the sum over a vector's lanes costs more than they do. */
#define WEIGH_LEAST 256
/* A vector, and the bytes over which a weight's gradient is added up side by side, on every instruction set. */
#if defined(__AVX512F__)
#define VECTOR 64
#elif defined(__AVX__)
#define VECTOR 32
#else
#define VECTOR 16
#endif
#define SIDE_BY_SIDE 64
/* A vector that is used several times is read once: compilers fold the load into each product, and a load across cache
 * lines costs more than the product. */
#ifdef __x86_64__
#define HOLD(v) __asm__("" : "+v"(v))
#else
#define HOLD(v) (void)(v)
#endif
#define INLINE static inline __attribute__((always_inline))

#define FLAT(name) name##_f32
#define FLAT_T float
#include "kernels/cpu/conv_flat.inc"
#define FLAT(name) name##_f64
#define FLAT_T double
#include "kernels/cpu/conv_flat.inc"

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Zeros shared by a row and the next: as many as windows reach beyond either end, and as there are more windows. */
static int64_t gap(const struct td_conv *c, int d, int64_t reach)
{
    int64_t beyond = c->count[d] - 1 + reach - c->padding[d] - (c->size[d] - 1);
    return most(most(c->padding[d], beyond), c->count[d] - c->size[d]);
}

/* strip: windows that are done at once. */
static void measure(struct td_flat *f, int64_t strip)
{
    const struct td_conv *c = f->conv;
    int64_t first = 0, last = 0, windows = 0, elements = 0;
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        int64_t reach = c->dilation[d] * (c->kernel[d] - 1), pitch = f->pitch[d] = c->size[d] + gap(c, d, reach);
        first = first * pitch - c->padding[d];
        last = last * pitch + reach - c->padding[d];
        windows = windows * pitch + c->count[d] - 1;
        elements = elements * pitch + c->size[d];
    }
    f->length = windows + 1;
    f->row = (f->length + strip - 1) / strip * strip;
    f->lead = -first;
    f->plane = f->lead + most(elements, last + f->row);
}

/* Images side by side have no windows between those of a row and the next. Small batches are not worth it, and large
 * ones are still cut for threads. Bits stay, but a weight's gradient's: each window is added up in the order of its
 * taps. */
static void put_side_by_side(struct td_flat *f)
{
    const struct td_conv *c = f->conv;
    int64_t groups = (c->batch + SIDE - 1) / SIDE, alone = c->batch * ((f->length + SIDE - 1) / SIDE);
    struct td_flat side = *f;
    measure(&side, 1);
    side.row = c->places; /* there are none between */
    if (groups < SIDE_LEAST || 5 * groups * c->places > 4 * alone ||
        SIDE * (c->in * side.plane + c->out * side.row) > SIDE_MAX)
        return;
    f->side = SIDE;
    f->row = SIDE * side.row;
    f->lead = SIDE * side.lead;
    f->plane = SIDE * side.plane;
}

static void find_taps(struct td_flat *f)
{
    const struct td_conv *c = f->conv;
    for (int64_t t = 0; t < c->taps; t++) {
        int64_t at[] = {t / c->kernel[2] / c->kernel[1], t / c->kernel[2] % c->kernel[1], t % c->kernel[2]}, tap = 0;
        for (int d = 0; d < TD_IMAGE_RANK; d++)
            tap = tap * f->pitch[d] + at[d] * c->dilation[d] - c->padding[d];
        f->taps[t] = f->lead + tap * f->side;
    }
}

static bool is_worth_it(const struct td_conv *c, bool back)
{
    int64_t rows = back ? c->out : c->in, outs = back ? c->in : c->out;
    bool small = !c->plain && rows * outs > 1 && outs <= OUTS_MAX && c->places > 0 && c->pixels > 0;
    for (int d = 0; d < TD_IMAGE_RANK; d++)
        small &= c->stride[d] == 1 && c->dilation[d] * (c->kernel[d] - 1) < PLANES_MAX && c->padding[d] < PLANES_MAX &&
                 c->size[d] < PLANES_MAX && c->count[d] < PLANES_MAX;
    return small && rows * c->taps <= PLANES_MAX;
}

/* What is between windows meets all weights on the way back, or all of an image: of what is not finite its zeros would
 * make nan where no window lies. */
static bool stays_apart(const struct td_flat *f, bool weighs)
{
    const struct td_conv *c = f->conv;
    const void *x = weighs ? c->image : c->weight;
    int64_t count = c->groups * c->in * (weighs ? c->batch * c->pixels : c->out * c->taps);
    if (!f->back && !weighs)
        return true;
    return c->dtype == TD_F32 ? are_finite_f32(x, count) : are_finite_f64(x, count);
}

bool TD_CPU(flat_init)(struct td_flat *f, const struct td_conv *c, bool back, bool weighs)
{
    if (!is_worth_it(c, back))
        return false;
    *f = (struct td_flat){
        .conv = c, .back = back, .rows = back ? c->out : c->in, .outs = back ? c->in : c->out, .side = 1};
    measure(f, STRIP);
    if (weighs && c->images * f->length < WEIGH_LEAST)
        return false;
    if (f->plane > PLANES_MAX / f->rows || f->length > 2 * c->places || !stays_apart(f, weighs))
        return false;
    put_side_by_side(f);
    f->items = (c->batch + f->side - 1) / f->side * c->groups;
    f->taps = malloc((size_t)c->taps * sizeof *f->taps);
    f->weight = malloc((size_t)(c->groups * c->in * c->out * c->taps) * td_dtype_size(c->dtype));
    if (f->taps && f->weight) {
        find_taps(f);
        if (!weighs && c->dtype == TD_F32)
            pack_f32(f);
        else if (!weighs)
            pack_f64(f);
        return true;
    }
    TD_CPU(flat_deinit)(f);
    return false;
}

void TD_CPU(flat_deinit)(struct td_flat *f)
{
    free(f->taps);
    free(f->weight);
    f->taps = NULL;
    f->weight = NULL;
}

/* Zeros; NULL, noted down, if there is no memory. */
static void *room(const struct td_flat *f, int64_t elements)
{
    void *memory = calloc((size_t)elements, td_dtype_size(f->conv->dtype));
    if (!memory)
        atomic_store(f->conv->starved, true);
    return memory;
}

void TD_CPU(flat_part)(const void *data, int64_t from, int64_t to)
{
    const struct td_flat *f = data;
    void *image = room(f, (f->back ? OUTS : f->rows) * f->plane), *y = room(f, (f->back ? f->rows : OUTS) * f->row);
    for (; image && y && from < to; from++)
        if (f->conv->dtype == TD_F32)
            group_f32(f, from, image, y);
        else
            group_f64(f, from, image, y);
    free(image);
    free(y);
}

void TD_CPU(flat_weigh)(const struct td_flat *f, int64_t group, int64_t from, int64_t to, void *sums)
{
    int64_t each = f->rows * f->plane + f->outs * f->row, at_once = most(PLANES_MAX / each, 1);
    int64_t groups = (to - from + f->side - 1) / f->side;
    at_once = at_once < groups ? at_once : groups;
    void *images = room(f, at_once * f->rows * f->plane), *windows = room(f, at_once * f->outs * f->row);
    if (images && windows && f->conv->dtype == TD_F32)
        weigh_group_f32(f, group, from, to, at_once, images, windows, sums);
    else if (images && windows)
        weigh_group_f64(f, group, from, to, at_once, images, windows, sums);
    free(images);
    free(windows);
}
