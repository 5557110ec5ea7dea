/* Convolutions: what lies under a block of windows is laid out as a matrix that stays in cache, and the rest is the
 * product of that with the filters. A filter of one element reads the image in place; a channel that meets one filter
 * only is done without a matrix. Bits follow from the shapes: neither the block nor the cut depends on threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/conv_flat.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/parallel.h"

/* Elements of a block of windows laid out, 128 KiB of f32, and the fewest windows that make one. */
#define BLOCK 32768
#define BLOCK_WINDOWS 32
/* Rows of a block where its channels are cut: as many as a product needs to be fast. */
#define BLOCK_ROWS 256
/* Sums over a batch are made in up to so many parts, which hold at most so many elements. */
#define PARTS 16
#define PART_ELEMENTS ((int64_t)1 << 22)

#define CONV(name) name##_i32
#define CONV_T uint32_t
#include "kernels/cpu/conv_single.inc"
#undef CONV
#undef CONV_T
#define CONV(name) name##_i64
#define CONV_T uint64_t
#include "kernels/cpu/conv_single.inc"
#undef CONV
#undef CONV_T
#define CONV(name) name##_f32
#define CONV_T float
#include "kernels/cpu/conv_single.inc"
#include "kernels/cpu/conv.inc"
#define CONV(name) name##_f64
#define CONV_T double
#include "kernels/cpu/conv_single.inc"
#include "kernels/cpu/conv.inc"

static void *at(const struct td_conv *c, void *data, int64_t element)
{
    return (char *)data + element * (int64_t)td_dtype_size(c->dtype);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- what a launch says ---- */

static struct td_conv plan(const struct td_launch *launch, const struct td_operand *image,
                           const struct td_operand *weight, const struct td_operand *windows, int64_t groups)
{
    int rank = weight->rank - 2, first = image->rank - rank, added = TD_IMAGE_RANK - rank;
    struct td_windows w = td_conv_windows(launch->op, launch->attrs, rank, weight->shape + 2);
    struct td_conv c = {.dtype = image->dtype,
                        .batch = first == 2 ? image->shape[0] : 1,
                        .groups = groups,
                        .in = weight->shape[1],
                        .out = weight->shape[0] / groups,
                        .pixels = 1,
                        .taps = 1,
                        .places = 1,
                        .plain = true,
                        .image = image->data,
                        .weight = weight->data,
                        .windows = windows->data};
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        bool given = d >= added;
        int k = d - added;
        c.pixels *= c.size[d] = given ? image->shape[first + k] : 1;
        c.places *= c.count[d] = given ? windows->shape[first + k] : 1;
        c.taps *= c.kernel[d] = given ? w.kernel[k] : 1;
        c.stride[d] = given ? w.stride[k] : 1;
        c.padding[d] = given ? w.padding[k] : 0;
        c.dilation[d] = given ? w.dilation[k] : 1;
        c.plain &= c.kernel[d] == 1 && c.size[d] == c.count[d] && c.stride[d] == 1 && c.padding[d] == 0;
    }
    c.channels = least(c.in, (BLOCK_ROWS + c.taps - 1) / c.taps);
    return c;
}

/* Windows laid out at once where each has that many rows. */
static int64_t block_of(const struct td_conv *c, int64_t rows)
{
    int64_t block = BLOCK / rows / 64 * 64;
    return least(c->places, block > BLOCK_WINDOWS ? block : BLOCK_WINDOWS);
}

static struct td_operand matrix(const struct td_conv *c, void *data, int64_t rows, int64_t columns, int64_t step)
{
    return (struct td_operand){
        .data = data, .dtype = c->dtype, .rank = 2, .shape = {rows, columns}, .stride = {step, 1}};
}

static struct td_operand turned(struct td_operand x)
{
    struct td_operand y = x;
    y.shape[0] = x.shape[1], y.shape[1] = x.shape[0];
    y.stride[0] = x.stride[1], y.stride[1] = x.stride[0];
    return y;
}

/* Room for a block of rows of windows; NULL, noted down, if there is none. */
static void *room(const struct td_conv *c, int64_t rows, int64_t windows)
{
    size_t bytes = (size_t)(c->plain ? 1 : rows * windows) * td_dtype_size(c->dtype);
    void *memory = malloc(bytes);
    if (!memory)
        atomic_store(c->starved, true);
    return memory;
}

/* The windows from up to to of so many channels of an image as a matrix, in memory where they are not one already. */
static struct td_operand laid_out(const struct td_conv *c, void *image, int64_t channels, int64_t from, int64_t to,
                                  void *memory)
{
    if (c->plain)
        return matrix(c, at(c, image, from), channels, to - from, c->pixels);
    if (c->dtype == TD_F32)
        windows_f32(c, image, channels, from, to, memory, false);
    else
        windows_f64(c, image, channels, from, to, memory, false);
    return matrix(c, memory, channels * c->taps, to - from, to - from);
}

static void start(const struct td_conv *c, void *y, int64_t step, int64_t channels, int64_t count, int64_t first)
{
    switch ((enum td_dtype)c->dtype) {
    case TD_I32:
        start_i32(c, y, step, channels, count, first);
        return;
    case TD_I64:
        start_i64(c, y, step, channels, count, first);
        return;
    case TD_F32:
        start_f32(c, y, step, channels, count, first);
        return;
    default:
        start_f64(c, y, step, channels, count, first);
    }
}

static bool is_single(const struct td_conv *c)
{
    return c->in == 1 && c->out == 1 && !c->plain;
}

static void single(const struct td_conv *c, void *image, void *weight, void *windows, bool spread)
{
    switch ((enum td_dtype)c->dtype) {
    case TD_I32:
        single_i32(c, image, weight, windows, spread);
        return;
    case TD_I64:
        single_i64(c, image, weight, windows, spread);
        return;
    case TD_F32:
        single_f32(c, image, weight, windows, spread);
        return;
    default:
        single_f64(c, image, weight, windows, spread);
    }
}

/* ---- image and weight give windows ---- */

/* Items are blocks of the windows of one group of an image, then those of the next group. */
static void conv_part(const void *data, int64_t from, int64_t to)
{
    const struct td_conv *c = data;
    int64_t rows = c->in * c->taps, blocks = (c->places + c->block - 1) / c->block;
    void *memory = room(c, rows, c->block);
    for (; memory && from < to; from++) {
        int64_t group = from / blocks % c->groups, image = from / blocks; /* counts groups */
        int64_t first = from % blocks * c->block, last = least(c->places, first + c->block);
        void *x = at(c, c->image, image * c->in * c->pixels), *w = at(c, c->weight, group * c->out * rows);
        void *y = at(c, c->windows, image * c->out * c->places + first);
        start(c, y, c->places, c->out, c->bias ? last - first : 0, group * c->out);
        struct td_operand columns = laid_out(c, x, c->in, first, last, memory);
        struct td_operand filters = matrix(c, w, c->out, rows, rows),
                          out = matrix(c, y, c->out, last - first, c->places);
        td_cpu_multiply(&filters, &columns, &out, c->bias != NULL);
    }
    free(memory);
}

/* Items are channels that have a filter each. */
static void single_part(const void *data, int64_t from, int64_t to)
{
    const struct td_conv *c = data;
    for (; from < to; from++) {
        int64_t group = from % c->groups;
        void *y = at(c, c->windows, from * c->places);
        start(c, y, 0, 1, c->places, group);
        single(c, at(c, c->image, from * c->pixels), at(c, c->weight, group * c->taps), y, false);
    }
}

/* Nanoseconds that an item takes of so many products and sums. */
static uint64_t item_ns(const struct td_conv *c, double work)
{
    return 1 + (uint64_t)(work / (c->dtype == TD_F32 ? 30 : 15));
}

/* Channels of integers one by one: each filter on what it meets. Items are channels of the windows, or of the image
 * where those are spread into it. */
static void whole_part(const void *data, int64_t from, int64_t to)
{
    const struct td_conv *c = data;
    int64_t made = c->spread ? c->in : c->out, met = c->spread ? c->out : c->in;
    int64_t elements = c->spread ? c->pixels : c->places;
    for (; from < to; from++) {
        int64_t side = from / made, channel = from % made, group = side % c->groups;
        void *y = at(c, c->spread ? c->image : c->windows, from * elements);
        start(c, y, 0, 1, elements, group * made + channel);
        for (int64_t k = 0; k < met; k++) {
            int64_t out = c->spread ? k : channel, in = c->spread ? channel : k;
            void *filter = at(c, c->weight, ((group * c->out + out) * c->in + in) * c->taps);
            single(c, at(c, c->image, (side * c->in + in) * c->pixels), filter,
                   at(c, c->windows, (side * c->out + out) * c->places), c->spread);
        }
    }
}

static bool is_whole(const struct td_conv *c)
{
    return td_dtype_category(c->dtype) == TD_INTEGER;
}

static void run_whole(struct td_conv *c, bool spread)
{
    c->spread = spread;
    int64_t made = spread ? c->in : c->out, met = spread ? c->out : c->in;
    td_parallel(c->batch * c->groups * made, 1, item_ns(c, 8 * (double)met * (double)c->places * (double)c->taps),
                whole_part, c);
}

static void finish(struct td_launch *launch, const struct td_conv *c)
{
    if (*c->starved)
        launch->fault.code = TD_E_MEMORY;
}

static void run(struct td_launch *launch)
{
    const struct td_conv2d_attrs *a = launch->attrs;
    atomic_bool starved = false;
    struct td_conv c = plan(launch, &launch->in[0], &launch->in[1], &launch->out[0], a->groups);
    double work = (double)(c.out * c.places) * (double)(c.in * c.taps);
    c.bias = launch->in[2].data;
    if (is_whole(&c)) {
        run_whole(&c, false);
        return;
    }
    c.starved = &starved;
    c.block = block_of(&c, c.in * c.taps);
    struct td_flat flat;
    if (TD_CPU(flat_init)(&flat, &c, false, false)) {
        td_parallel(flat.items, 1, item_ns(&c, work * (double)flat.side), TD_CPU(flat_part), &flat);
        TD_CPU(flat_deinit)(&flat);
    } else if (is_single(&c))
        td_parallel(c.batch * c.groups, 1, item_ns(&c, 2 * work), single_part, &c);
    else
        td_parallel(c.batch * c.groups * ((c.places + c.block - 1) / c.block), 1,
                    item_ns(&c, work * (double)c.block / (double)c.places), conv_part, &c);
    finish(launch, &c);
}

/* ---- windows and weight give the image ---- */

static void add_back(const struct td_conv *c, void *image, int64_t channels, int64_t from, int64_t to, void *columns)
{
    if (c->dtype == TD_F32)
        windows_f32(c, image, channels, from, to, columns, true);
    else
        windows_f64(c, image, channels, from, to, columns, true);
}

/* All windows of some channels of one group of an image. */
static void spread_group(const struct td_conv *c, int64_t image, int64_t first, int64_t channels, void *memory)
{
    int64_t group = image % c->groups, rows = channels * c->taps, all = c->in * c->taps;
    void *x = at(c, c->image, (image * c->in + first) * c->pixels);
    void *w = at(c, c->weight, group * c->out * all + first * c->taps),
         *y = at(c, c->windows, image * c->out * c->places);
    struct td_operand filters = turned(matrix(c, w, c->out, rows, all));
    start(c, x, c->pixels, channels, c->plain && !c->bias ? 0 : c->pixels, group * c->in + first);
    if (is_single(c)) {
        single(c, x, w, y, true);
        return;
    }
    for (int64_t from = 0, to; from < c->places; from = to) {
        to = least(c->places, from + c->block);
        struct td_operand windows = matrix(c, at(c, y, from), c->out, to - from, c->places);
        struct td_operand columns =
            matrix(c, c->plain ? at(c, x, from) : memory, rows, to - from, c->plain ? c->pixels : to - from);
        td_cpu_multiply(&filters, &windows, &columns, c->plain && c->bias);
        if (!c->plain)
            add_back(c, x, channels, from, to, memory);
    }
}

/* Items are channels done at once of one group of an image, then those of the next group. */
static void spread_part(const void *data, int64_t from, int64_t to)
{
    const struct td_conv *c = data;
    int64_t pieces = (c->in + c->channels - 1) / c->channels;
    void *memory = is_single(c) ? room(c, 1, 1) : room(c, c->channels * c->taps, c->block);
    for (; memory && from < to; from++) {
        int64_t first = from % pieces * c->channels;
        spread_group(c, from / pieces, first, least(c->channels, c->in - first), memory);
    }
    free(memory);
}

static void run_transposed(struct td_launch *launch)
{
    const struct td_conv_transpose2d_attrs *a = launch->attrs;
    atomic_bool starved = false;
    struct td_conv c = plan(launch, &launch->out[0], &launch->in[1], &launch->in[0], a->groups);
    c.bias = launch->in[2].data;
    if (is_whole(&c)) {
        run_whole(&c, true);
        return;
    }
    c.starved = &starved;
    c.block = block_of(&c, c.channels * c.taps);
    double work = (double)(c.out * c.places) * (double)c.taps;
    struct td_flat flat;
    if (TD_CPU(flat_init)(&flat, &c, true, false)) {
        td_parallel(flat.items, 1, item_ns(&c, work * (double)(c.in * flat.side)), TD_CPU(flat_part), &flat);
        TD_CPU(flat_deinit)(&flat);
    } else
        td_parallel(c.batch * c.groups * ((c.in + c.channels - 1) / c.channels), 1,
                    item_ns(&c, work * (double)c.channels), spread_part, &c);
    finish(launch, &c);
}

/* ---- image and windows give the weight ---- */

/* Some channels of a group over some of the images, of which the first part goes into the result. */
static void weigh(const struct td_conv *c, int64_t part, int64_t group, int64_t first, void *memory)
{
    int64_t channels = least(c->channels, c->in - first), all = c->in * c->taps,
            last = least(c->batch, (part + 1) * c->images);
    int64_t elements = c->groups * c->out * all;
    void *sums = part ? at(c, c->partial, (part - 1) * elements) : c->weight;
    struct td_operand out =
        matrix(c, at(c, sums, group * c->out * all + first * c->taps), c->out, channels * c->taps, all);
    for (int64_t n = part * c->images; n < last; n++) {
        int64_t image = n * c->groups + group;
        void *x = at(c, c->image, (image * c->in + first) * c->pixels);
        for (int64_t from = 0, to; from < c->places; from = to) {
            to = least(c->places, from + c->block);
            struct td_operand columns = turned(laid_out(c, x, channels, from, to, memory));
            struct td_operand windows =
                matrix(c, at(c, c->windows, image * c->out * c->places + from), c->out, to - from, c->places);
            td_cpu_multiply(&windows, &columns, &out, n > part * c->images || from > 0);
        }
    }
}

/* Items are the groups of a part, then those of the next part. */
static void flat_weight_part(const void *data, int64_t from, int64_t to)
{
    const struct td_flat *f = data;
    const struct td_conv *c = f->conv;
    for (int64_t each = c->out * c->in * c->taps; from < to; from++) {
        int64_t part = from / c->groups, group = from % c->groups;
        void *sums = part ? at(c, c->partial, (part - 1) * c->groups * each) : c->weight;
        TD_CPU(flat_weigh)
        (f, group, part * c->images, least(c->batch, (part + 1) * c->images), at(c, sums, group * each));
    }
}

/* Items are channels done at once of a group, then those of the next group, and then the same of the next images. */
static void weight_part(const void *data, int64_t from, int64_t to)
{
    const struct td_conv *c = data;
    int64_t pieces = (c->in + c->channels - 1) / c->channels;
    void *memory = room(c, c->channels * c->taps, c->block);
    for (; memory && from < to; from++)
        weigh(c, from / pieces / c->groups, from / pieces % c->groups, from % pieces * c->channels, memory);
    free(memory);
}

static void sum_part(const void *data, int64_t from, int64_t to)
{
    const struct td_conv *c = data;
    int64_t count = c->groups * c->out * c->in * c->taps, partials = (c->batch - 1) / c->images;
    if (c->dtype == TD_F32)
        gather_sums_f32(c->weight, c->partial, from, to, count, partials);
    else
        gather_sums_f64(c->weight, c->partial, from, to, count, partials);
}

void TD_CPU(conv_weight)(struct td_launch *launch)
{
    const struct td_conv_weight_attrs *a = launch->attrs;
    const struct td_operand *out = &launch->out[0];
    atomic_bool starved = false;
    struct td_conv c = plan(launch, &launch->in[0], out, &launch->in[1], a->groups);
    int64_t count = td_operand_numel(out), parts = count < PART_ELEMENTS ? least(PARTS, PART_ELEMENTS / count) : 1;
    size_t size = td_dtype_size(out->dtype);
    if (c.batch == 0) {
        memset(out->data, 0, (size_t)count * size);
        return;
    }
    c.starved = &starved;
    c.block = block_of(&c, c.channels * c.taps);
    c.images = (c.batch + parts - 1) / parts;
    struct td_flat flat;
    bool is_flat = TD_CPU(flat_init)(&flat, &c, false, true);
    if (is_flat)
        c.images = (c.images + flat.side - 1) / flat.side * flat.side;
    parts = (c.batch + c.images - 1) / c.images;
    c.partial = malloc((size_t)(parts > 1 ? (parts - 1) * count : 1) * size);
    double work = (double)(c.images * c.out * c.places) * (double)c.taps;
    if (!c.partial)
        starved = true;
    else if (is_flat)
        td_parallel(parts * c.groups, 1, item_ns(&c, work * (double)c.in), flat_weight_part, &flat);
    else
        td_parallel(parts * c.groups * ((c.in + c.channels - 1) / c.channels), 1,
                    item_ns(&c, work * (double)c.channels), weight_part, &c);
    if (is_flat)
        TD_CPU(flat_deinit)(&flat);
    if (!starved && parts > 1)
        td_parallel(count, td_grain(parts), 0, sum_part, &c);
    free(c.partial);
    finish(launch, &c);
}

void TD_CPU(conv1d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CPU(conv2d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CPU(conv3d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CPU(conv_transpose1d)(struct td_launch *launch)
{
    run_transposed(launch);
}
void TD_CPU(conv_transpose2d)(struct td_launch *launch)
{
    run_transposed(launch);
}
void TD_CPU(conv_transpose3d)(struct td_launch *launch)
{
    run_transposed(launch);
}
