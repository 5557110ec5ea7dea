/* The meaning of indexing, joining and windows. SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle_tools.h"

/* ---- indexing ---- */

void oracle_embedding(struct oracle_call *c)
{
    const struct oracle_tensor *weight = &c->in[0], *index = &c->in[1];
    int64_t width = weight->shape[1];
    if (refuse_index(c, index, weight->shape[0]))
        return;
    for (int64_t i = 0; i < c->out->count; i++)
        copy_element(c->out, i, weight, index->integer[i / width] * width + i % width);
}

void oracle_index_select(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *index = &c->in[1];
    int64_t dim = ((const struct td_index_select_attrs *)c->attrs)->dim;
    int d = dimension(x, dim);
    if (refuse_index(c, index, x->rank ? x->shape[d] : 1))
        return;
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t inner = x->rank ? behind(x, d) : 1, row = i / inner, size = x->rank ? x->shape[d] : 1;
        int64_t at = row / index->count * size + index->integer[row % index->count];
        copy_element(c->out, i, x, x->rank ? at * inner + i % inner : 0);
    }
}

static void add_element(struct oracle_tensor *out, int64_t i, const struct oracle_tensor *from, int64_t k)
{
    if (floating(out)) {
        /* Additions in a given order: each rounds what has come together so far. */
        out->real[i] += from->real[k];
        out->scale[i] += fabsl(from->real[k]) + fabsl(out->real[i]);
    } else {
        out->integer[i] = WRAP(out->integer[i], +, from->integer[k]);
    }
}

/* act on each element of the slices at the index, with that of source. */
static void on_slices(struct oracle_call *c,
                      void (*act)(struct oracle_tensor *, int64_t, const struct oracle_tensor *, int64_t))
{
    const struct oracle_tensor *x = &c->in[0], *index = &c->in[1], *source = &c->in[2];
    int64_t dim = ((const struct td_index_add_attrs *)c->attrs)->dim;
    int d = dimension(x, dim);
    int64_t size = x->rank ? x->shape[d] : 1, least = c->op->id == TD_OP_index_fill ? -size : 0;
    if (refuse_index_from(c, index, least, size))
        return;
    copy_all(c->out, x);
    int64_t count = index->count;
    for (int k = 0; k < x->rank; k++)
        count *= k == d ? 1 : x->shape[k];
    for (int64_t i = 0; i < count; i++) {
        int64_t inner = x->rank ? behind(x, d) : 1, row = i / inner;
        int64_t place = index->integer[row % index->count];
        place += place < 0 ? size : 0;
        int64_t at = x->rank ? row / index->count * x->shape[d] + place : 0;
        act(c->out, x->rank ? at * inner + i % inner : 0, source, source->rank ? i : 0);
    }
}

void oracle_index_add(struct oracle_call *c)
{
    on_slices(c, add_element);
}

void oracle_index_copy(struct oracle_call *c)
{
    on_slices(c, copy_element);
}

void oracle_index_fill(struct oracle_call *c)
{
    on_slices(c, copy_element);
}

/* Where element i of index lies in t, which is no smaller, with the coordinate of dimension d exchanged for place. */
static int64_t placed(const struct oracle_tensor *t, const struct oracle_tensor *index, int64_t i, int d, int64_t place)
{
    int64_t at = 0;
    for (int k = 0; k < t->rank; k++)
        at = at * t->shape[k] + (k == d && place >= 0 ? place : index->rank ? coordinate(index, i, k) : 0);
    return at;
}

void oracle_gather(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *index = &c->in[1];
    int d = dimension(x, ((const struct td_gather_attrs *)c->attrs)->dim);
    if (refuse_index(c, index, x->rank ? x->shape[d] : 1))
        return;
    for (int64_t i = 0; i < index->count; i++)
        copy_element(c->out, i, x, placed(x, index, i, d, index->integer[i]));
}

static void on_places(struct oracle_call *c,
                      void (*act)(struct oracle_tensor *, int64_t, const struct oracle_tensor *, int64_t))
{
    const struct oracle_tensor *x = &c->in[0], *index = &c->in[1], *source = &c->in[2];
    int d = dimension(x, ((const struct td_scatter_add_attrs *)c->attrs)->dim);
    if (refuse_index(c, index, x->rank ? x->shape[d] : 1))
        return;
    copy_all(c->out, x);
    for (int64_t i = 0; i < index->count; i++)
        act(c->out, placed(x, index, i, d, index->integer[i]), source, placed(source, index, i, d, -1));
}

void oracle_scatter_add(struct oracle_call *c)
{
    on_places(c, add_element);
}

void oracle_scatter(struct oracle_call *c)
{
    on_places(c, copy_element);
}

/* What came together in each element, by walking over the whole index for it. */
struct together {
    long double real, scale;
    int64_t integer, count;
};

static void bring(struct together *t, enum td_bringing by, bool narrow, const struct oracle_tensor *from, int64_t k)
{
    bool floats = floating(from), first = t->count++ == 0;
    long double x = floats ? from->real[k] : 0;
    int64_t n = floats ? 0 : from->integer[k];
    if (by == TD_BY_AMAX || by == TD_BY_AMIN) {
        bool real = isnan(x) || (!isnan(t->real) && (by == TD_BY_AMAX ? x > t->real : x < t->real));
        t->real = first || real ? x : t->real;
        t->integer = first || (by == TD_BY_AMAX ? n > t->integer : n < t->integer) ? n : t->integer;
        t->scale = fabsl(t->real);
    } else if (by == TD_BY_PROD) {
        t->real = first ? x : t->real * x;
        t->real = narrow ? (float)t->real : t->real; /* which may be more than it holds */
        t->integer = first ? n : WRAP(t->integer, *, n);
        t->scale = fabsl(t->real) * (long double)t->count;
    } else {
        t->real += x;
        t->scale += fabsl(x) + fabsl(t->real);
        t->integer = WRAP(t->integer, +, n);
    }
}

void oracle_scatter_reduce(struct oracle_call *c)
{
    const struct oracle_tensor *x = &c->in[0], *index = &c->in[1], *source = &c->in[2];
    const struct td_scatter_reduce_attrs *a = c->attrs;
    int d = dimension(x, a->dim);
    bool narrow = c->out->dtype == TD_F32;
    if (refuse_index(c, index, x->rank ? x->shape[d] : 1))
        return;
    struct together *all = calloc((size_t)c->out->count + 1, sizeof *all);
    for (int64_t i = 0; i < c->out->count && a->include_self; i++)
        bring(&all[i], (enum td_bringing)a->reduce, narrow, x, i);
    for (int64_t i = 0; i < index->count; i++)
        bring(&all[placed(x, index, i, d, index->integer[i])], (enum td_bringing)a->reduce, narrow, source,
              placed(source, index, i, d, -1));
    for (int64_t i = 0; i < c->out->count; i++) {
        struct together t = all[i];
        int64_t count = a->reduce == TD_BY_MEAN ? t.count : 1;
        if (t.count == 0) {
            copy_element(c->out, i, x, i);
        } else if (floating(c->out)) {
            c->out->real[i] = (double)(t.real / (long double)count);
            c->out->scale[i] = (double)(t.scale / (long double)count + fabsl(t.real / (long double)count));
        } else {
            if (c->out->dtype == TD_I32)
                t.integer = (int32_t)t.integer;
            c->out->integer[i] = t.integer / count - (t.integer % count < 0);
        }
    }
    free(all);
}

/* ---- joining ---- */

void oracle_cat(struct oracle_call *c)
{
    int d = dimension(c->out, ((const struct td_cat_attrs *)c->attrs)->dim);
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t place = coordinate(c->out, i, d);
        const struct oracle_tensor *from = c->in;
        for (; from->rank != c->out->rank || place >= from->shape[d]; from++)
            place -= from->rank == c->out->rank ? from->shape[d] : 0;
        copy_element(c->out, i, from, placed(from, c->out, i, d, place));
    }
}

void oracle_stack(struct oracle_call *c)
{
    int d = dimension(c->out, ((const struct td_stack_attrs *)c->attrs)->dim);
    int64_t inner = behind(c->out, d);
    for (int64_t i = 0; i < c->out->count; i++) {
        int64_t row = i / inner / c->in_count;
        copy_element(c->out, i, &c->in[coordinate(c->out, i, d)], row * inner + i % inner);
    }
}

/* ---- windows ---- */

/* Where element i of the window lies in the content. */
static int64_t window_at(const struct td_dims *shape, const struct td_dims *stride, int64_t offset, int64_t i)
{
    for (int64_t d = shape->count - 1; d >= 0; i /= shape->v[d--])
        offset += i % shape->v[d] * stride->v[d];
    return offset;
}

void oracle_strided_read(struct oracle_call *c)
{
    const struct td_strided_read_attrs *a = c->attrs;
    for (int64_t i = 0; i < c->out->count; i++)
        copy_element(c->out, i, &c->in[0], window_at(&a->shape, &a->stride, a->offset, i));
}

static void to_window(struct oracle_call *c,
                      void (*act)(struct oracle_tensor *, int64_t, const struct oracle_tensor *, int64_t))
{
    const struct td_strided_write_attrs *a = c->attrs;
    struct oracle_tensor window = {.rank = (int)a->shape.count, .count = 1};
    for (int d = 0; d < window.rank; d++)
        window.count *= window.shape[d] = a->shape.v[d];
    copy_all(c->out, &c->in[0]);
    for (int64_t i = 0; i < window.count; i++)
        act(c->out, window_at(&a->shape, &a->stride, a->offset, i), &c->in[1], seen_by(&c->in[1], &window, i));
}

void oracle_strided_write(struct oracle_call *c)
{
    to_window(c, copy_element);
}

void oracle_strided_add(struct oracle_call *c)
{
    to_window(c, add_element);
}
