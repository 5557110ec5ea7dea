/* What is moved within a tensor, repeated and padded: copies of boxes. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"

/* Fills target with one element. */
static void fill(const struct td_operand *target, struct td_number number)
{
    int64_t element;
    struct td_operand value = *target;
    td_number_store(number, target->dtype, &element);
    value.data = &element;
    memset(value.stride, 0, sizeof value.stride);
    if (td_operand_numel(target))
        TD_CPU(copy_operand)(target, &value);
}

/* count elements of a dimension of the result from to on are x's from from on, at steps. */
struct segment {
    int64_t to, count, from, step;
};
struct segments {
    int count;
    struct segment v[3];
};

static void segment(struct segments *s, int64_t to, int64_t count, int64_t from, int64_t step)
{
    if (count > 0)
        s->v[s->count++] = (struct segment){to, count, from, step};
}

/* Copies each box that a segment of every dimension makes; from dimension d on. */
static void copy_boxes(struct td_operand out, struct td_operand x, const struct segments *segments, int d)
{
    int64_t size = (int64_t)td_dtype_size(out.dtype);
    if (d == out.rank) {
        TD_CPU(copy_operand)(&out, &x);
        return;
    }
    for (int k = 0; k < segments[d].count; k++) {
        const struct segment *s = &segments[d].v[k];
        struct td_operand out_part = out, x_part = x;
        out_part.data = (char *)out.data + s->to * out.stride[d] * size;
        x_part.data = (char *)x.data + s->from * x.stride[d] * size;
        out_part.shape[d] = x_part.shape[d] = s->count;
        x_part.stride[d] = x.stride[d] * s->step;
        copy_boxes(out_part, x_part, segments, d + 1);
    }
}

static void whole(const struct td_operand *x, struct segments *segments)
{
    for (int d = 0; d < x->rank; d++) {
        segments[d].count = 0;
        segment(&segments[d], 0, x->shape[d], 0, 1);
    }
}

void TD_CPU(flip)(struct td_launch *launch)
{
    const struct td_dims *dims = &((const struct td_flip_attrs *)launch->attrs)->dims;
    const struct td_operand *x = &launch->in[0];
    struct segments segments[TD_RANK_MAX];
    whole(x, segments);
    for (int64_t k = 0; k < dims->count && x->rank; k++) {
        int d = td_wrap_dim(dims->v[k], x->rank);
        segments[d].v[0].from = x->shape[d] - 1;
        segments[d].v[0].step = -1;
    }
    if (td_operand_numel(x))
        copy_boxes(launch->out[0], *x, segments, 0);
}

/* x is contiguous here: without dims it is one row. */
void TD_CPU(roll)(struct td_launch *launch)
{
    const struct td_roll_attrs *a = launch->attrs;
    struct td_operand x = launch->in[0], out = launch->out[0];
    struct segments segments[TD_RANK_MAX];
    int64_t shift[TD_RANK_MAX] = {0}, count = td_operand_numel(&x);
    bool row = a->dims.count <= 0;
    if (count == 0)
        return;
    if (row) {
        x.rank = out.rank = 1;
        x.shape[0] = out.shape[0] = count;
        x.stride[0] = out.stride[0] = 1;
    }
    for (int64_t k = 0; k < a->shifts.count; k++) {
        int d = row ? 0 : td_wrap_dim(a->dims.v[k], x.rank);
        int64_t size = x.shape[d], by = a->shifts.v[k] % size;
        shift[d] = (shift[d] + by + size) % size;
    }
    for (int d = 0; d < x.rank; d++) {
        segments[d].count = 0;
        segment(&segments[d], 0, shift[d], x.shape[d] - shift[d], 1);
        segment(&segments[d], shift[d], x.shape[d] - shift[d], 0, 1);
    }
    copy_boxes(out, x, segments, 0);
}

void TD_CPU(pad)(struct td_launch *launch)
{
    const struct td_pad_attrs *a = launch->attrs;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct segments segments[TD_RANK_MAX];
    bool constant = a->mode == TD_CONSTANT;
    whole(x, segments);
    if (constant)
        fill(out, (struct td_number){.category = TD_FLOATING, .f = a->value});
    for (int64_t k = 0; k < a->pads.count / 2; k++) {
        int64_t before = a->pads.v[2 * k], behind = a->pads.v[2 * k + 1], d = x->rank - 1 - k, size = x->shape[d];
        struct segments *s = &segments[d];
        int64_t from = before < 0 ? -before : 0, end = behind < 0 ? size + behind : size;
        s->count = 0;
        segment(s, before > 0 ? before : 0, end - from, from, 1);
        if (constant)
            continue;
        int64_t last = size - 1;
        segment(s, 0, before,
                a->mode == TD_REFLECT    ? before
                : a->mode == TD_CIRCULAR ? size - before
                                         : 0,
                a->mode == TD_REFLECT ? -1 : a->mode == TD_CIRCULAR);
        segment(s, before + size, behind,
                a->mode == TD_REFLECT    ? last - 1
                : a->mode == TD_CIRCULAR ? 0
                                         : last,
                a->mode == TD_REFLECT ? -1 : a->mode == TD_CIRCULAR);
    }
    if (td_operand_numel(x) && td_operand_numel(out))
        copy_boxes(*out, *x, segments, 0);
}

/* ---- repetitions ---- */

/* A copy in one dimension more than a tensor has: the first is gone through here. */
struct wide {
    void *target, *source;
    int rank;
    int64_t shape[TD_RANK_MAX + 1], to[TD_RANK_MAX + 1], from[TD_RANK_MAX + 1];
};

static void wide_dim(struct wide *w, int64_t size, int64_t to, int64_t from)
{
    w->shape[w->rank] = size;
    w->to[w->rank] = to;
    w->from[w->rank++] = from;
}

static void copy_wide(const struct wide *w, uint8_t dtype)
{
    int skipped = w->rank > TD_RANK_MAX;
    int64_t size = (int64_t)td_dtype_size(dtype);
    struct td_operand target = {.dtype = dtype, .rank = (uint8_t)(w->rank - skipped)}, source = target;
    for (int d = 0; d < target.rank; d++) {
        target.shape[d] = source.shape[d] = w->shape[d + skipped];
        target.stride[d] = w->to[d + skipped];
        source.stride[d] = w->from[d + skipped];
    }
    for (int64_t k = 0; k < (skipped ? w->shape[0] : 1); k++) {
        target.data = (char *)w->target + k * w->to[0] * size * skipped;
        source.data = (char *)w->source + k * w->from[0] * size * skipped;
        if (td_operand_numel(&target))
            TD_CPU(copy_operand)(&target, &source);
    }
}

/* x goes to the first place; then, from the last dimension on, what is there is copied along each. */
void TD_CPU(repeat)(struct td_launch *launch)
{
    const struct td_repeat_attrs *a = launch->attrs;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct td_operand first = *out, source = *out;
    int added = out->rank - x->rank;
    if (td_operand_numel(out) == 0)
        return;
    source.data = x->data;
    for (int d = 0; d < out->rank; d++) {
        first.shape[d] = source.shape[d] = d < added ? 1 : x->shape[d - added];
        source.stride[d] = d < added ? 0 : x->stride[d - added];
    }
    TD_CPU(copy_operand)(&first, &source);
    for (int d = out->rank - 1; d >= 0; d--) {
        int64_t row = first.shape[d] * out->stride[d], times = a->sizes.v[d] - 1;
        struct wide w = {.target = (char *)out->data + row * (int64_t)td_dtype_size(out->dtype), .source = out->data};
        for (int k = 0; k < d; k++)
            wide_dim(&w, first.shape[k], out->stride[k], out->stride[k]);
        wide_dim(&w, times, row, 0);
        wide_dim(&w, row, 1, 1);
        copy_wide(&w, out->dtype);
    }
}

/* Without dim x is contiguous here. */
void TD_CPU(repeat_interleave)(struct td_launch *launch)
{
    const struct td_repeat_interleave_attrs *a = launch->attrs;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct wide w = {.target = out->data, .source = x->data};
    int dim = a->dim == INT64_MIN ? -1 : td_wrap_dim(a->dim, x->rank);
    if (td_operand_numel(out) == 0)
        return;
    if (dim < 0)
        wide_dim(&w, td_operand_numel(x), a->repeats, 1);
    for (int d = 0; d < x->rank && dim >= 0; d++) {
        wide_dim(&w, x->shape[d], out->stride[d] * (d == dim ? a->repeats : 1), x->stride[d]);
        if (d == dim)
            wide_dim(&w, a->repeats, out->stride[d], 0);
    }
    if (dim < 0)
        wide_dim(&w, a->repeats, 1, 0);
    copy_wide(&w, out->dtype);
}

/* ---- diagonals ---- */

struct triangle {
    const struct td_operand *x, *out;
    int64_t diagonal;
    bool upper;
};

/* Items are rows. */
static void triangle_part(const void *data, int64_t from, int64_t to)
{
    const struct triangle *t = data;
    int rows = t->out->rank - 1;
    int64_t count = t->out->shape[rows], size = (int64_t)td_dtype_size(t->out->dtype);
    int64_t index[TD_RANK_MAX] = {0}, offset[2] = {0};
    const int64_t *stride[] = {t->out->stride, t->x->stride};
    td_seek_index(rows, t->out->shape, from, index, 2, offset, stride);
    for (int64_t row = from; row < to; row++) {
        /* The first column beyond the diagonal, or on it for the upper triangle. */
        int64_t cut = index[rows - 1] + t->diagonal + !t->upper;
        cut = cut < 0 ? 0 : cut > count ? count : cut;
        int64_t first = t->upper ? cut : 0, kept = t->upper ? count - cut : cut;
        char *target = (char *)t->out->data + offset[0] * size;
        struct td_operand out = {.dtype = t->out->dtype, .rank = 1, .shape = {kept}, .stride = {1}};
        struct td_operand x = out;
        out.data = target + first * size;
        x.data = (char *)t->x->data + (offset[1] + first * t->x->stride[rows]) * size;
        x.stride[0] = t->x->stride[rows];
        memset(t->upper ? target : target + kept * size, 0, (size_t)((count - kept) * size));
        if (x.stride[0] == 1)
            memcpy(out.data, x.data, (size_t)(kept * size));
        else if (kept)
            TD_CPU(copy_operand)(&out, &x);
        td_step_index(rows, t->out->shape, index, 2, offset, stride);
    }
}

static void triangle(struct td_launch *launch, bool upper)
{
    const struct td_operand *out = &launch->out[0];
    int64_t diagonal = ((const struct td_tril_attrs *)launch->attrs)->diagonal, count = td_operand_numel(out);
    int64_t rows = out->shape[out->rank - 2], columns = out->shape[out->rank - 1];
    if (count == 0)
        return;
    diagonal = diagonal > columns ? columns : diagonal < -rows ? -rows : diagonal;
    struct triangle t = {&launch->in[0], out, diagonal, upper};
    td_parallel(count / columns, td_grain(columns), 0, triangle_part, &t);
}

void TD_CPU(tril)(struct td_launch *launch)
{
    triangle(launch, false);
}

void TD_CPU(triu)(struct td_launch *launch)
{
    triangle(launch, true);
}

void TD_CPU(diag_embed)(struct td_launch *launch)
{
    const struct td_diag_embed_attrs *a = launch->attrs;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    int d0 = td_wrap_dim(a->dim0, out->rank), d1 = td_wrap_dim(a->dim1, out->rank), to = 0;
    int64_t skipped = a->offset < 0 ? -a->offset * out->stride[d0] : a->offset * out->stride[d1];
    struct td_operand diagonal = {.dtype = out->dtype, .rank = x->rank};
    fill(out, (struct td_number){.category = TD_INTEGER});
    for (int d = 0; d < out->rank; d++)
        if (d != d0 && d != d1)
            diagonal.stride[to++] = out->stride[d];
    diagonal.stride[to] = out->stride[d0] + out->stride[d1];
    memcpy(diagonal.shape, x->shape, sizeof diagonal.shape);
    diagonal.data = (char *)out->data + skipped * (int64_t)td_dtype_size(out->dtype);
    if (td_operand_numel(x))
        TD_CPU(copy_operand)(&diagonal, x);
}
