/* Images seen through windows, and in other sizes, made of ops: what is picked is worked out here, and picking is
 * index_select, or on the way back index_add. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/compose.h"

#define LARGEST ((int64_t)1 << 31)

static struct part made(td_origin o, td_session *s, const void *data, enum td_dtype dtype, struct td_dims shape)
{
    const struct td_from_arguments from = {.session = s, .data = data, .dtype = dtype, .shape = shape};
    return (struct part){td_operand_of_tensor(td_from_at((td_origin){.where = o.where}, &from)), true};
}

static struct part picked(td_origin o, struct part x, int64_t dim, struct part index)
{
    return part_op(o, TD_OP_index_select, &(struct td_index_select_attrs){.dim = dim}, 2, (struct part[]){x, index});
}

/* x failed before, or failure says why it is refused. */
static td_tensor refuse(td_origin o, td_tensor x, const char *name, const struct td_failure *failure)
{
    if (!td_ok_at((td_origin){o.where, 0}, x))
        return part_tensor(part_one(o, TD_OP_clone, part_given(o, 0, x))); /* which fails of the same */
    return part_used(o, 1, &x, part_refuse(o, x.session, name, failure));
}

/* ---- im2col and col2im ---- */

/* Windows over images of two dimensions. */
struct columns {
    int64_t image[2], kernel[2], stride[2], padding[2], dilation[2];
    int64_t padded[2], count[2];
    int64_t taps, places;
};

static bool read_sizes(const char *name, const char *what, const struct td_dims *sizes, int64_t least,
                       int64_t otherwise, int64_t *to, struct td_failure *failure)
{
    for (int d = 0; d < 2; d++) {
        to[d] = sizes->count < 1 ? otherwise : sizes->v[sizes->count == 1 ? 0 : d];
        if (sizes->count > 2 || (sizes->count < 1 && otherwise < least) || to[d] < least || to[d] >= LARGEST) {
            td_fail(failure, TD_E_ARGUMENT, "%s: %s is not one or two sizes from %" PRId64 " to %" PRId64, name, what,
                    least, LARGEST - 1);
            return false;
        }
    }
    return true;
}

static bool read_columns(struct columns *c, const char *name, const struct td_dims *kernel,
                         const struct td_im2col_keywords *k, struct td_failure *failure)
{
    if (!read_sizes(name, "kernel_size", kernel, 1, 0, c->kernel, failure) ||
        !read_sizes(name, "stride", &k->stride, 1, 1, c->stride, failure) ||
        !read_sizes(name, "padding", &k->padding, 0, 0, c->padding, failure) ||
        !read_sizes(name, "dilation", &k->dilation, 1, 1, c->dilation, failure))
        return false;
    for (int d = 0; d < 2; d++) {
        int64_t reach = c->dilation[d] * (c->kernel[d] - 1) + 1;
        c->padded[d] = c->image[d] + 2 * c->padding[d];
        c->count[d] = c->padded[d] < reach ? 0 : (c->padded[d] - reach) / c->stride[d] + 1;
        if (c->count[d] < 1) {
            td_fail(failure, TD_E_SHAPE,
                    "%s: a window over %" PRId64 " elements does not go into %" PRId64 ", padding included", name,
                    reach, c->padded[d]);
            return false;
        }
    }
    if (__builtin_mul_overflow(c->kernel[0], c->kernel[1], &c->taps) ||
        __builtin_mul_overflow(c->count[0], c->count[1], &c->places) || c->taps > LARGEST * 8 / c->places) {
        td_fail(failure, TD_E_LIMIT, "%s: too many windows", name);
        return false;
    }
    return true;
}

/* Where each tap of each window lies in a padded channel laid out as one row. */
static struct part places_of(td_origin o, td_session *s, const struct columns *c, const char *name)
{
    int64_t all = c->taps * c->places, *index = malloc((size_t)all * sizeof *index), *to = index;
    if (!index) {
        struct td_failure failure = {0};
        td_fail(&failure, TD_E_MEMORY, "%s: no memory for %" PRId64 " places", name, all);
        return (struct part){td_operand_of_tensor(part_refuse(o, s, name, &failure)), true};
    }
    for (int64_t t = 0; t < c->taps; t++)
        for (int64_t p = 0; p < c->places; p++) {
            int64_t h = p / c->count[1] * c->stride[0] + t / c->kernel[1] * c->dilation[0];
            int64_t w = p % c->count[1] * c->stride[1] + t % c->kernel[1] * c->dilation[1];
            *to++ = h * c->padded[1] + w;
        }
    struct part part = made(o, s, index, TD_I64, (struct td_dims){1, {all}});
    free(index);
    return part;
}

td_tensor td_im2col_at(td_origin o, td_tensor x, struct td_dims kernel_size, const struct td_im2col_keywords *keywords)
{
    static const struct td_im2col_keywords defaults = {.stride.count = -1, .padding.count = -1, .dilation.count = -1};
    SPEAKS_FOR("im2col");
    td_layout layout = part_layout(o, part_keyword(x));
    struct td_failure failure = {0};
    struct columns c = {0};
    int last = layout.rank - 2;
    if (layout.rank != 3 && layout.rank != 4) {
        td_fail(&failure, TD_E_SHAPE,
                "im2col: x has %d dimensions where (batch, channels, height, width) or (channels, "
                "height, width) is due",
                layout.rank);
        return refuse(o, x, "im2col", &failure);
    }
    memcpy(c.image, layout.shape + last, sizeof c.image);
    if (!read_columns(&c, "im2col", &kernel_size, keywords ? keywords : &defaults, &failure))
        return refuse(o, x, "im2col", &failure);
    struct part value = part_given(o, 0, x);
    if (c.padding[0] || c.padding[1]) {
        const struct td_pad_attrs pad = {.pads = {4, {c.padding[1], c.padding[1], c.padding[0], c.padding[0]}}};
        value = part_op(o, TD_OP_pad, &pad, 1, &value);
    }
    layout.shape[last] = c.padded[0] * c.padded[1];
    value = part_reshape(o, value, last + 1, layout.shape);
    value = picked(o, value, last, places_of(o, x.session, &c, "im2col"));
    layout.shape[last - 1] *= c.taps;
    layout.shape[last] = c.places;
    return part_tensor(part_reshape(o, value, last + 1, layout.shape));
}

static struct part without_padding(td_origin o, struct part x, int dim, int64_t start, int64_t length)
{
    return part_op(o, TD_OP_narrow, &(struct td_narrow_attrs){.dim = dim, .start = start, .length = length}, 1, &x);
}

td_tensor td_col2im_at(td_origin o, td_tensor x, struct td_dims output_size, struct td_dims kernel_size,
                       const struct td_im2col_keywords *keywords)
{
    static const struct td_im2col_keywords defaults = {.stride.count = -1, .padding.count = -1, .dilation.count = -1};
    SPEAKS_FOR("col2im");
    td_layout layout = part_layout(o, part_keyword(x));
    struct td_failure failure = {0};
    struct columns c = {0};
    int last = layout.rank - 1;
    if (!read_sizes("col2im", "output_size", &output_size, 1, 0, c.image, &failure) ||
        !read_columns(&c, "col2im", &kernel_size, keywords ? keywords : &defaults, &failure))
        return refuse(o, x, "col2im", &failure);
    if ((layout.rank != 2 && layout.rank != 3) || layout.shape[last] != c.places || layout.shape[last - 1] % c.taps) {
        char text[TD_SHAPE_TEXT];
        td_fail(&failure, TD_E_SHAPE,
                "col2im: x of shape %s where (batch, channels * %" PRId64 ", %" PRId64
                ") is due, with a batch or without",
                td_shape_text(layout.rank, layout.shape, text, sizeof text), c.taps, c.places);
        return refuse(o, x, "col2im", &failure);
    }
    struct td_zeros_attrs zeros = {.shape.count = layout.rank, .dtype = td_dtype_of_at((td_origin){o.where, 0}, x)};
    layout.shape[last - 1] /= c.taps;
    layout.shape[last] = c.taps * c.places;
    memcpy(zeros.shape.v, layout.shape, (size_t)layout.rank * sizeof *layout.shape);
    zeros.shape.v[last] = c.padded[0] * c.padded[1];
    const struct client_op create = {.id = TD_OP_zeros, .origin.where = o.where, .session = x.session, .attrs = &zeros};
    struct part sums = {td_operand_of_tensor(client_op(&create)), true};
    struct part source = part_reshape(o, part_given(o, 0, x), layout.rank, layout.shape);
    sums = part_op(o, TD_OP_index_add, &(struct td_index_add_attrs){.dim = last}, 3,
                   (struct part[]){sums, places_of(o, x.session, &c, "col2im"), source});
    layout.shape[last] = c.padded[0];
    layout.shape[last + 1] = c.padded[1];
    sums = part_reshape(o, sums, last + 2, layout.shape);
    if (!c.padding[0] && !c.padding[1])
        return part_tensor(sums);
    sums = without_padding(o, sums, last, c.padding[0], c.image[0]);
    sums = without_padding(o, sums, last + 1, c.padding[1], c.image[1]);
    return part_tensor(part_one(o, TD_OP_clone, sums));
}

/* ---- interpolate ---- */

#define TAPS_MAX 4

/* A dimension of an image in another size: for each element the places that it is made of, and their shares. */
struct resize {
    int64_t from, to;
    double scale; /* how many times as large; 0: to / from */
    enum td_interpolation mode;
    bool align_corners;
    int taps;
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* What PyTorch calls the area pixel's source index: of the element's middle, unless corners are aligned. */
static double source_of(const struct resize *r, int64_t i)
{
    double step = r->align_corners ? r->to > 1 ? (double)(r->from - 1) / (double)(r->to - 1) : 0
                  : r->scale > 0   ? 1 / r->scale
                                   : (double)r->from / (double)r->to;
    if (r->mode == TD_NEAREST || r->mode == TD_NEAREST_EXACT) {
        float single = r->scale > 0 ? (float)(1 / r->scale) : (float)r->from / (float)r->to; /* as PyTorch has it */
        return floorf(((float)i + (r->mode == TD_NEAREST ? 0 : 0.5f)) * single);
    }
    if (r->align_corners)
        return step * (double)i;
    double at = step * ((double)i + 0.5) - 0.5;
    return r->mode == TD_LINEAR && at < 0 ? 0 : at;
}

/* Cubic convolution with A = -0.75: at a distance of up to 1, and of up to 2. */
static double near_share(double d)
{
    return ((-0.75 + 2) * d - (-0.75 + 3)) * d * d + 1;
}
static double far_share(double d)
{
    return ((-0.75 * d + 5 * 0.75) * d - 8 * 0.75) * d + 4 * 0.75;
}

static void find_taps(const struct resize *r, int64_t i, int64_t *index, double *share)
{
    double at = source_of(r, i);
    int64_t first = (int64_t)least(floor(at), (double)(r->from - 1));
    double rest = at - (double)first;
    rest = rest < 0 ? 0 : least(rest, 1);
    for (int t = 0; t < r->taps; t++) {
        int64_t place = first + t - (r->mode == TD_CUBIC);
        index[t] = place < 0 ? 0 : place < r->from ? place : r->from - 1;
        share[t] = t == 0 ? 1 - rest : rest;
    }
    if (r->mode != TD_CUBIC)
        return;
    share[0] = far_share(rest + 1);
    share[1] = near_share(rest);
    share[2] = near_share(1 - rest);
    share[3] = far_share(2 - rest);
}

/* x with dimension dim in another size; index and share hold a row of r->to for each tap. */
static struct part resized(td_origin o, struct part x, int dim, int rank, const struct resize *r, const int64_t *index,
                           const double *share, uint8_t dtype)
{
    td_session *s = part_tensor(x).session;
    struct td_dims row = {1, {r->to}}, column = {.count = rank - dim, .v = {r->to}};
    struct part sum = {0};
    for (int d = 1; d < rank - dim; d++)
        column.v[d] = 1;
    for (int t = 0; t < r->taps; t++) {
        struct part place = made(o, s, index + t * r->to, TD_I64, row);
        struct part term = picked(o, t == r->taps - 1 ? x : part_kept(x), dim, place);
        if (r->taps == 1)
            return term;
        struct part weight = made(o, s, share + t * r->to, TD_F64, column);
        weight = part_op(o, TD_OP_to, &(struct td_to_attrs){.dtype = dtype}, 1, &weight);
        term = part_two(o, TD_OP_mul, term, weight);
        sum = t ? part_two(o, TD_OP_add, sum, term) : term;
    }
    return sum;
}

static bool read_interpolation(const td_layout *layout, uint8_t dtype, const struct td_interpolate_keywords *k,
                               struct resize *r, struct td_failure *failure)
{
    static const uint8_t taps[] = {
        [TD_NEAREST] = 1, [TD_NEAREST_EXACT] = 1, [TD_LINEAR] = 2, [TD_CUBIC] = TAPS_MAX, [TD_AREA] = 0};
    int count = layout->rank - 2, scaled = 0;
    bool sized = k->size.count > 0, smooth = k->mode == TD_LINEAR || k->mode == TD_CUBIC;
    for (int d = 0; d < 3; d++)
        scaled += k->scale_factors[d] != 0;
    if (layout->rank < 3 || layout->rank > 5)
        td_fail(failure, TD_E_SHAPE, "interpolate: x has %d dimensions where a batch, channels and 1 to 3 more are due",
                layout->rank);
    else if (k->mode < TD_NEAREST || k->mode > TD_AREA || (k->mode == TD_CUBIC && count != 2))
        td_fail(failure, TD_E_ARGUMENT, "interpolate: mode %" PRId64 " of an image of %d dimensions", (int64_t)k->mode,
                count);
    else if (k->align_corners && !smooth)
        td_fail(failure, TD_E_ARGUMENT, "interpolate: align_corners goes with TD_LINEAR and TD_CUBIC");
    else if (sized + (k->scale_factor != 0) + (scaled != 0) != 1 ||
             (sized && k->size.count != 1 && k->size.count != count) || (scaled && scaled != count))
        td_fail(failure, TD_E_ARGUMENT,
                "interpolate: one of size (one, or one for each of %d dimensions), scale_factor and scale_factors (one "
                "for each) is due",
                count);
    else if (smooth && td_dtype_category(dtype) != TD_FLOATING)
        td_fail(failure, TD_E_DTYPE, "interpolate: elements between those of %s", td_dtype_name(dtype));
    for (int d = 0; d < count && !failure->code; d++) {
        int64_t from = layout->shape[2 + d];
        double scale = scaled ? k->scale_factors[d] : k->scale_factor;
        double size = sized ? (double)k->size.v[k->size.count == 1 ? 0 : d] : floor((double)from * scale);
        r[d] = (struct resize){from, 0, sized ? 0 : scale, k->mode, k->align_corners, taps[k->mode]};
        if (from < 1 || !(size >= 1 && size < (double)LARGEST))
            td_fail(failure, TD_E_ARGUMENT, "interpolate: %" PRId64 " elements in a size of %g", from, size);
        else
            r[d].to = (int64_t)size;
    }
    return failure->code == TD_E_OK;
}

/* The means of the parts of an image of count dimensions. */
static td_tensor averaged(td_origin o, struct part x, int count, const struct resize *r)
{
    static const enum td_op_id ids[] = {TD_OP_adaptive_avg_pool1d, TD_OP_adaptive_avg_pool2d,
                                        TD_OP_adaptive_avg_pool3d};
    struct td_adaptive_avg_pool1d_attrs attrs = {.output_size.count = count};
    for (int d = 0; d < count; d++)
        attrs.output_size.v[d] = r[d].to;
    return part_tensor(part_op(o, ids[count - 1], &attrs, 1, &x));
}

td_tensor td_interpolate_at(td_origin o, td_tensor x, const struct td_interpolate_keywords *keywords)
{
    static const struct td_interpolate_keywords defaults = {.size.count = -1};
    SPEAKS_FOR("interpolate");
    td_layout layout = part_layout(o, part_keyword(x));
    uint8_t dtype = (uint8_t)td_dtype_of_at((td_origin){o.where, 0}, x);
    struct td_failure failure = {0};
    struct resize r[3] = {0};
    struct part value = part_given(o, 0, x);
    if (!read_interpolation(&layout, dtype, keywords ? keywords : &defaults, r, &failure))
        return refuse(o, x, "interpolate", &failure);
    if (r[0].mode == TD_AREA)
        return averaged(o, value, layout.rank - 2, r);
    for (int d = 0; d < layout.rank - 2; d++) {
        int64_t index[TAPS_MAX], *places = malloc((size_t)(r[d].taps * r[d].to) * sizeof *places);
        double share[TAPS_MAX], *shares = malloc((size_t)(r[d].taps * r[d].to) * sizeof *shares);
        for (int64_t i = 0; i < r[d].to && places && shares; i++) {
            find_taps(&r[d], i, index, share);
            for (int t = 0; t < r[d].taps; t++) {
                places[t * r[d].to + i] = index[t];
                shares[t * r[d].to + i] = share[t];
            }
        }
        if (places && shares)
            value = resized(o, value, 2 + d, layout.rank, &r[d], places, shares, dtype);
        else
            td_fail(&failure, TD_E_MEMORY, "interpolate: no memory for %" PRId64 " places", r[d].to);
        free(places);
        free(shares);
        if (failure.code)
            return refuse(o, x, "interpolate", &failure);
    }
    return part_tensor(value);
}

/* ---- the functions behind the macros ---- */

td_tensor(td_im2col)(td_tensor x, struct td_dims kernel_size, const struct td_im2col_keywords *keywords)
{
    return td_im2col_at((td_origin){0}, x, kernel_size, keywords);
}

td_tensor(td_col2im)(td_tensor x, struct td_dims output_size, struct td_dims kernel_size,
                     const struct td_im2col_keywords *keywords)
{
    return td_col2im_at((td_origin){0}, x, output_size, kernel_size, keywords);
}

td_tensor(td_interpolate)(td_tensor x, const struct td_interpolate_keywords *keywords)
{
    return td_interpolate_at((td_origin){0}, x, keywords);
}
