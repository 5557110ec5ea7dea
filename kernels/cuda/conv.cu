/* Convolutions: what lies under the windows is laid out as matrices, in pieces that fit into bounded scratch, and the
 * rest is products of those with the filters. A filter of one element reads the image in place; a channel that meets
 * one filter only is done without a matrix. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/conv_windows.h"
#include "kernels/cuda/elements.h"

/* Scratch of a piece, at most; less where tests are made with small tensors, so that those are cut too. */
#ifdef __CUDACC__
#define PIECE_BYTES ((int64_t)64 << 20)
#else
#define PIECE_BYTES ((int64_t)16 << 10)
#endif
/* Windows of a piece before its channels are cut, and what their number is a multiple of where they are cut. */
#define WINDOWS_LEAST 256
#define WINDOWS_STEP 64
/* Pieces of scratch begin where any algorithm can read them. */
#define ALIGNMENT 256
/* Rows of scratch begin at every eighth element, 16 bytes of halves: that is how the fast algorithms read. */
#define ROW_STEP 8

struct conv {
    struct td_conv_geometry is;
    uint8_t dtype, sums; /* of the tensors; what is added up piece by piece, f32 for halves */
    bool plain;          /* each window is one element, in the image's order */
    int64_t batch, groups;
    int64_t in, out; /* channels of one group: of the image, and of the windows */
    char *image, *weight, *windows;
    const struct td_operand *bias; /* NULL: none */
};

/* What is done at once: some channels of some groups of some images, and some of their windows. */
struct piece {
    int64_t channel, channels, image, images, group, groups, window, windows;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t padded(int64_t row)
{
    return row < ROW_STEP ? row : (row + ROW_STEP - 1) / ROW_STEP * ROW_STEP;
}

static struct conv conv_of(const struct td_launch *launch, const struct td_operand *image,
                           const struct td_operand *weight, const struct td_operand *windows, int64_t groups)
{
    int rank = weight->rank - 2, first = image->rank - rank, added = TD_IMAGE_RANK - rank;
    struct td_windows w = td_conv_windows(launch->op, launch->attrs, rank, weight->shape + 2);
    struct conv c = {};
    struct td_conv_geometry *is = &c.is;
    c.dtype = image->dtype;
    c.sums = td_dtype_wide(c.dtype);
    c.batch = first == 2 ? image->shape[0] : 1;
    c.groups = groups;
    c.in = weight->shape[1];
    c.out = weight->shape[0] / groups;
    c.image = (char *)image->data, c.weight = (char *)weight->data, c.windows = (char *)windows->data;
    is->pixels = is->taps = is->places = 1;
    c.plain = true;
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        bool given = d >= added;
        int k = d - added;
        is->pixels *= is->size[d] = given ? image->shape[first + k] : 1;
        is->places *= is->count[d] = given ? windows->shape[first + k] : 1;
        is->taps *= is->kernel[d] = given ? w.kernel[k] : 1;
        is->stride[d] = given ? w.stride[k] : 1;
        is->padding[d] = given ? w.padding[k] : 0;
        is->dilation[d] = given ? w.dilation[k] : 1;
        c.plain &= is->kernel[d] == 1 && is->size[d] == is->count[d] && is->stride[d] == 1 && is->padding[d] == 0;
    }
    return c;
}

static char *at(uint8_t dtype, char *data, int64_t element)
{
    return data + element * (int64_t)td_dtype_size(dtype);
}

/* ---- pieces ---- */

static int64_t share(int64_t room, int64_t each, int64_t all)
{
    int64_t count = room / each;
    return count < 1 ? 1 : least(count, all);
}

/* What of a half's sums is not cut: they would be rounded on the way. */
enum uncut { NOTHING, CHANNELS, WINDOWS };

/* A piece whose windows have a row for each tap of its channels, and extra rows, of so many bytes an element; the first
 * one, and the largest. */
static struct piece first_piece(const struct conv *c, int64_t extra, size_t size, enum uncut uncut)
{
    int64_t room = PIECE_BYTES / (int64_t)size;
    struct piece p = {};
    if (c->sums == c->dtype)
        uncut = NOTHING;
    p.channels =
        share(room / (uncut == WINDOWS ? c->is.places : least(c->is.places, WINDOWS_LEAST)), c->is.taps, c->in);
    if (uncut == CHANNELS)
        p.channels = c->in;
    int64_t rows = p.channels * c->is.taps + extra;
    p.windows = share(room, rows, c->is.places);
    if (p.windows < c->is.places && p.windows > WINDOWS_STEP)
        p.windows -= p.windows % WINDOWS_STEP;
    p.groups = share(room, rows * p.windows, c->groups);
    p.images = p.groups == c->groups ? share(room, rows * p.windows * p.groups, c->batch) : 1;
    return p;
}

/* A convolution that needs no matrix of windows is one piece. */
static struct piece whole(const struct conv *c)
{
    struct piece p = {};
    p.channels = c->in, p.windows = c->is.places, p.groups = c->groups, p.images = c->batch;
    return p;
}

/* Calls each(piece) for all pieces as large as the first or what is left, windows first, then groups and images. */
template <class F> static void each_piece(const struct conv *c, const struct piece &most, const F &each)
{
    struct piece p = {};
    for (p.channel = 0; p.channel < c->in; p.channel += most.channels)
        for (p.image = 0; p.image < c->batch; p.image += most.images)
            for (p.group = 0; p.group < c->groups; p.group += most.groups)
                for (p.window = 0; p.window < c->is.places; p.window += most.windows) {
                    p.channels = least(most.channels, c->in - p.channel);
                    p.images = least(most.images, c->batch - p.image);
                    p.groups = least(most.groups, c->groups - p.group);
                    p.windows = least(most.windows, c->is.places - p.window);
                    each(p);
                }
}

/* A piece's matrices, one for each group of each image. */
static struct td_conv_columns columns_of(const struct conv *c, const struct piece &p)
{
    struct td_conv_columns k = {p.images, p.groups, p.channels, c->groups, c->in, p.window, p.windows, 0, 0, 0};
    k.row_step = padded(p.windows);
    k.group_step = p.channels * c->is.taps * k.row_step;
    k.image_step = p.groups * k.group_step;
    return k;
}

/* The first element of a piece in the image. */
static char *image_at(const struct conv *c, const struct piece &p)
{
    return at(c->dtype, c->image, ((p.image * c->groups + p.group) * c->in + p.channel) * c->is.pixels);
}

static void lay_out_piece(const struct conv *c, const struct piece &p, const struct td_conv_columns &to, char *memory)
{
    td_conv_lay_out(c->is, to, c->dtype, image_at(c, p), memory);
}

/* bias: of the first channel of all. */
static void add_up_piece(const struct conv *c, const struct piece &p, const struct td_conv_columns &from,
                         const char *memory, const char *filters, bool add)
{
    struct td_conv_sums sums = {c->dtype,
                                filters ? c->dtype : c->sums,
                                image_at(c, p),
                                memory,
                                filters,
                                c->bias ? c->bias->data : NULL,
                                p.group * c->in + p.channel,
                                add};
    td_conv_add_up(c->is, from, sums);
}

/* ---- matrices of a piece ---- */

static struct td_operand matrix(uint8_t dtype, char *data, int64_t rows, int64_t columns, int64_t step)
{
    struct td_operand x = {};
    x.data = data;
    x.dtype = dtype;
    x.rank = 2;
    x.shape[0] = rows, x.shape[1] = columns;
    x.stride[0] = step, x.stride[1] = 1;
    return x;
}

/* A piece's part of filters: a row for each channel of the windows. */
static struct td_operand filters_of(const struct conv *c, const struct piece &p, uint8_t dtype, char *filters)
{
    int64_t rows = c->in * c->is.taps;
    return matrix(dtype, at(dtype, filters, p.group * c->out * rows + p.channel * c->is.taps), c->out,
                  p.channels * c->is.taps, rows);
}

static struct td_operand windows_of(const struct conv *c, const struct piece &p)
{
    int64_t first = (p.image * c->groups + p.group) * c->out * c->is.places + p.window;
    return matrix(c->dtype, at(c->dtype, c->windows, first), c->out, p.windows, c->is.places);
}

/* What the filters meet: a piece's matrices in memory, or the image itself. */
static struct td_operand columns_matrix(const struct conv *c, const struct piece &p, const struct td_conv_columns &k,
                                        char *memory)
{
    if (c->plain)
        return matrix(c->dtype, at(c->dtype, image_at(c, p), p.window), p.channels, p.windows, c->is.pixels);
    return matrix(c->dtype, memory, p.channels * c->is.taps, p.windows, k.row_step);
}

/* Products side by side: the groups of each image. */
static void put_dims(struct td_products *products, const struct conv *c, const struct piece &p,
                     const struct td_conv_columns &k, int64_t *filters, int64_t *windows, int64_t *columns)
{
    int64_t group = c->plain ? c->in * c->is.pixels : k.group_step;
    products->rank = 2;
    products->shape[0] = p.images, products->shape[1] = p.groups;
    filters[0] = 0, filters[1] = c->out * c->in * c->is.taps;
    windows[1] = c->out * c->is.places, windows[0] = c->groups * windows[1];
    columns[1] = group, columns[0] = c->plain ? c->groups * group : k.image_step;
}

/* ---- image and weight give windows ---- */

/* Each of so many channels, of so many elements, is filled with its bias. */
static void put_bias(const struct conv *c, char *result, int64_t channels, int64_t elements)
{
    struct td_operand out = matrix(c->dtype, result, c->batch, channels, 0), bias;
    out.rank = 3;
    out.shape[2] = elements;
    td_contiguous_strides(out.rank, out.shape, out.stride);
    bias = out;
    bias.data = c->bias->data;
    bias.stride[0] = bias.stride[2] = 0;
    bias.stride[1] = 1;
    td_cuda_copy(out, bias);
}

static void conv_piece(const struct conv *c, const struct piece &p, char *memory)
{
    struct td_conv_columns k = columns_of(c, p);
    struct td_products products = {};
    if (!c->plain)
        lay_out_piece(c, p, k, memory);
    products.a = filters_of(c, p, c->dtype, c->weight);
    products.b = columns_matrix(c, p, k, memory);
    products.out = windows_of(c, p);
    put_dims(&products, c, p, k, products.a_stride, products.out_stride, products.b_stride);
    td_cuda_multiply(products, NULL, c->bias || p.channel > 0);
}

static bool is_single(const struct conv *c)
{
    return c->in == 1 && c->out == 1 && !c->plain;
}

/* Scratch; the launch fails where there is none. */
static char *room(struct td_launch *launch, int64_t elements, uint8_t dtype)
{
    char *memory = (char *)td_cuda_scratch((size_t)elements * td_dtype_size(dtype) + 2 * ALIGNMENT);
    if (!memory)
        launch->fault.code = TD_E_MEMORY;
    return memory;
}

/* Elements of a piece whose windows have so many rows. */
static int64_t elements_of(const struct piece &p, int64_t rows)
{
    return p.images * p.groups * rows * padded(p.windows);
}

static const struct td_operand *bias_of(const struct td_launch *launch)
{
    return launch->in[2].data ? &launch->in[2] : NULL;
}

static void run(struct td_launch *launch)
{
    const struct td_conv2d_attrs *a = (const struct td_conv2d_attrs *)launch->attrs;
    struct conv c = conv_of(launch, &launch->in[0], &launch->in[1], &launch->out[0], a->groups);
    if (td_operand_numel(&launch->out[0]) == 0)
        return;
    c.bias = bias_of(launch);
    if (is_single(&c)) {
        td_conv_slide(c.is, c.groups, c.batch * c.groups, c.dtype, c.image, c.weight, c.bias ? c.bias->data : NULL,
                      c.windows);
        return;
    }
    struct piece most = c.plain ? whole(&c) : first_piece(&c, 0, td_dtype_size(c.dtype), CHANNELS);
    char *memory = c.plain ? NULL : room(launch, elements_of(most, most.channels * c.is.taps), c.dtype);
    if (!c.plain && !memory)
        return;
    if (c.bias)
        put_bias(&c, c.windows, c.groups * c.out, c.is.places);
    each_piece(&c, most, [&](const struct piece &p) { conv_piece(&c, p, memory); });
}

/* ---- windows and weight give the image ---- */

/* A piece's channels of the image. */
static struct td_operand image_of(const struct conv *c, const struct piece &p)
{
    struct td_operand x = {};
    x.data = image_at(c, p);
    x.dtype = c->dtype;
    x.rank = 4;
    x.shape[0] = p.images, x.stride[0] = c->groups * c->in * c->is.pixels;
    x.shape[1] = p.groups, x.stride[1] = c->in * c->is.pixels;
    x.shape[2] = p.channels, x.stride[2] = c->is.pixels;
    x.shape[3] = c->is.pixels, x.stride[3] = 1;
    return x;
}

/* Sums in f32 begin as the bias, or 0. */
static void start_sums(const struct conv *c, const struct piece &p, const struct td_operand &sums)
{
    size_t bytes = (size_t)td_operand_numel(&sums) * td_dtype_size(sums.dtype);
    struct td_operand bias = sums;
    if (!c->bias) {
        td_cuda_check(cudaMemsetAsync(sums.data, 0, bytes, td_stream), "a convolution");
        return;
    }
    bias.dtype = c->dtype;
    bias.data = at(c->dtype, (char *)c->bias->data, p.group * c->in + p.channel);
    bias.stride[0] = bias.stride[3] = 0;
    bias.stride[1] = c->in;
    bias.stride[2] = 1;
    td_cuda_copy(sums, bias);
}

/* Halves to which several pieces add are added up apart, and rounded when the last one has been. */
static void add_up_apart(const struct conv *c, const struct piece &p, struct td_conv_columns from, const char *memory,
                         char *apart)
{
    struct td_operand image = image_of(c, p), sums = image;
    struct conv there = *c;
    struct piece all = p;
    sums.data = apart;
    sums.dtype = c->sums;
    td_contiguous_strides(sums.rank, sums.shape, sums.stride);
    if (p.window == 0)
        start_sums(c, p, sums);
    there.image = apart;
    there.dtype = c->sums;
    there.bias = NULL; /* it is in the sums */
    from.image_groups = p.groups, from.group_channels = p.channels;
    all.image = all.group = all.channel = 0;
    add_up_piece(&there, all, from, memory, NULL, true);
    if (p.window + p.windows == c->is.places)
        td_cuda_copy(image, sums);
}

static void spread_piece(const struct conv *c, const struct piece &p, char *memory, char *apart)
{
    struct td_conv_columns k = columns_of(c, p);
    struct td_operand filters = filters_of(c, p, c->dtype, c->weight);
    struct td_products products = {};
    products.a = td_product_turned(&filters);
    products.b = windows_of(c, p);
    products.out = columns_matrix(c, p, k, memory);
    if (!c->plain)
        products.out.dtype = c->sums;
    put_dims(&products, c, p, k, products.a_stride, products.b_stride, products.out_stride);
    td_cuda_multiply(products, NULL, c->plain && c->bias);
    if (apart)
        add_up_apart(c, p, k, memory, apart);
    else if (!c->plain)
        add_up_piece(c, p, k, memory, NULL, p.window > 0);
}

/* A filter for each channel: its windows are a matrix of one row. */
static void spread_filters(const struct conv *c)
{
    struct piece p = whole(c);
    struct td_conv_columns k = columns_of(c, p);
    k.row_step = 0;
    k.group_step = c->is.places;
    k.image_step = c->groups * k.group_step;
    add_up_piece(c, p, k, c->windows, c->weight, false);
}

static void run_transposed(struct td_launch *launch)
{
    const struct td_conv_transpose2d_attrs *a = (const struct td_conv_transpose2d_attrs *)launch->attrs;
    struct conv c = conv_of(launch, &launch->out[0], &launch->in[1], &launch->in[0], a->groups);
    if (td_operand_numel(&launch->out[0]) == 0)
        return;
    c.bias = bias_of(launch);
    if (is_single(&c)) {
        spread_filters(&c);
        return;
    }
    struct piece most = c.plain ? whole(&c) : first_piece(&c, 0, td_dtype_size(c.sums), WINDOWS);
    int64_t elements = elements_of(most, most.channels * c.is.taps);
    bool apart = c.sums != c.dtype && most.windows < c.is.places;
    int64_t more = apart ? most.images * most.groups * most.channels * c.is.pixels : 0;
    char *memory = c.plain ? NULL : room(launch, elements + more, c.sums);
    if (!c.plain && !memory)
        return;
    if (c.plain && c.bias)
        put_bias(&c, c.image, c.groups * c.in, c.is.pixels);
    each_piece(&c, most, [&](const struct piece &p) {
        spread_piece(&c, p, memory, apart ? at(c.sums, memory, elements) : NULL);
    });
}

/* ---- image and windows give the weight ---- */

/* All windows of a group, of whatever image, as columns of one matrix: so one product adds up over images too. */
static struct td_conv_columns joined_columns(const struct conv *c, const struct piece &p)
{
    struct td_conv_columns k = columns_of(c, p);
    k.row_step = padded(p.images * p.windows);
    k.group_step = p.channels * c->is.taps * k.row_step;
    k.image_step = p.windows;
    return k;
}

/* The windows' own values in the same order; one image's lie so. */
static struct td_operand joined_windows(const struct conv *c, const struct piece &p, char *memory, int64_t *group_step)
{
    struct td_operand one = windows_of(c, p), source = one, target;
    *group_step = c->out * c->is.places;
    if (p.images == 1)
        return one;
    source.rank = 4;
    source.shape[0] = p.groups, source.stride[0] = *group_step;
    source.shape[1] = c->out, source.stride[1] = c->is.places;
    source.shape[2] = p.images, source.stride[2] = c->groups * *group_step;
    source.shape[3] = p.windows, source.stride[3] = 1;
    target = source;
    target.data = memory;
    target.stride[2] = p.windows;
    target.stride[1] = padded(p.images * p.windows);
    target.stride[0] = *group_step = c->out * target.stride[1];
    td_cuda_copy(target, source);
    return matrix(c->dtype, memory, c->out, p.images * p.windows, target.stride[1]);
}

/* A piece's part of sums, which are the weight's gradient or that in f32. */
static void weight_piece(const struct conv *c, const struct piece &p, const struct td_operand &sums, char *memory)
{
    struct td_conv_columns k = joined_columns(c, p);
    int64_t rows = p.channels * c->is.taps, bytes = p.groups * k.group_step * (int64_t)td_dtype_size(c->dtype);
    char *behind = memory + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct td_operand columns = matrix(c->dtype, memory, rows, p.images * p.windows, k.row_step);
    struct td_products products = {};
    lay_out_piece(c, p, k, memory);
    products.a = joined_windows(c, p, behind, &products.a_stride[0]);
    products.b = td_product_turned(&columns);
    products.out = filters_of(c, p, sums.dtype, (char *)sums.data);
    products.rank = 1;
    products.shape[0] = p.groups;
    products.b_stride[0] = k.group_step;
    products.out_stride[0] = c->out * c->in * c->is.taps;
    td_cuda_multiply(products, NULL, p.image > 0 || p.window > 0);
}

/* Halves that are added up over several pieces are kept in f32 meanwhile. */
void TD_CUDA(conv_weight)(struct td_launch *launch)
{
    const struct td_conv_weight_attrs *a = (const struct td_conv_weight_attrs *)launch->attrs;
    struct td_operand sums = launch->out[0];
    struct conv c = conv_of(launch, &launch->in[0], &sums, &launch->in[1], a->groups);
    int64_t count = td_operand_numel(&sums);
    if (count == 0)
        return;
    if (c.batch == 0) {
        td_cuda_check(cudaMemsetAsync(sums.data, 0, (size_t)count * td_dtype_size(c.dtype), td_stream),
                      "a convolution");
        return;
    }
    struct piece most = first_piece(&c, c.out, td_dtype_size(c.dtype), NOTHING);
    bool several = most.images < c.batch || most.windows < c.is.places;
    int64_t elements = elements_of(most, most.channels * c.is.taps + c.out);
    int64_t apart = several && c.sums != c.dtype ? (2 * count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0;
    char *memory = room(launch, elements + apart, c.dtype);
    if (!memory)
        return;
    if (apart) {
        sums.dtype = c.sums;
        sums.data = memory;
        memory = at(c.dtype, memory, apart);
    }
    each_piece(&c, most, [&](const struct piece &p) { weight_piece(&c, p, sums, memory); });
    if (apart)
        td_cuda_copy(launch->out[0], sums);
}

void TD_CUDA(conv1d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CUDA(conv2d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CUDA(conv3d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CUDA(conv_transpose1d)(struct td_launch *launch)
{
    run_transposed(launch);
}
void TD_CUDA(conv_transpose2d)(struct td_launch *launch)
{
    run_transposed(launch);
}
void TD_CUDA(conv_transpose3d)(struct td_launch *launch)
{
    run_transposed(launch);
}
