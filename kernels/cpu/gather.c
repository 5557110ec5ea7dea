/* gather, scatter, scatter_add and scatter_reduce: one index for each element. All indices are checked before anything
 * is written. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "kernels/scalar.h"
#include "protocol/error.h"

/* One row of the index's last dimension: steps in elements; at steps along the dimension that the index names. */
struct row {
    int64_t count;
    const int64_t *index;
    int64_t index_step, from_step, to_step, at_step;
};

#define GATHER(name, type)                                                                      \
    static void gather_##name(const struct row *r, const void *source, void *target)            \
    {                                                                                           \
        const type *x = source;                                                                 \
        type *y = target;                                                                       \
        for (int64_t i = 0; i < r->count; i++)                                                  \
            y[i * r->to_step] = x[i * r->from_step + r->index[i * r->index_step] * r->at_step]; \
    }
GATHER(1, uint8_t)
GATHER(2, uint16_t)
GATHER(4, uint32_t)
GATHER(8, uint64_t)

/* All lies densely, and the row itself is what the index goes over. */
static bool is_plain(const struct row *r)
{
    return r->index_step == 1 && r->from_step == 1 && r->to_step == 0 && r->at_step == 1;
}

#define SCATTER(name, type)                                                                          \
    static void scatter_##name(const struct row *r, const void *source, void *target)                \
    {                                                                                                \
        const type *x = source;                                                                      \
        type *y = target;                                                                            \
        if (is_plain(r))                                                                             \
            for (int64_t i = 0; i < r->count; i++)                                                   \
                y[r->index[i]] += x[i];                                                              \
        else                                                                                         \
            for (int64_t i = 0; i < r->count; i++)                                                   \
                y[i * r->to_step + r->index[i * r->index_step] * r->at_step] += x[i * r->from_step]; \
    }
SCATTER(i32, uint32_t)
SCATTER(i64, uint64_t)
SCATTER(f32, float)
SCATTER(f64, double)

/* Of equal indices the last one counts. */
#define PUT(name, type)                                                                         \
    static void put_##name(const struct row *r, const void *source, void *target)               \
    {                                                                                           \
        const type *x = source;                                                                 \
        type *y = target;                                                                       \
        for (int64_t i = 0; i < r->count; i++)                                                  \
            y[i * r->to_step + r->index[i * r->index_step] * r->at_step] = x[i * r->from_step]; \
    }
PUT(1, uint8_t)
PUT(2, uint16_t)
PUT(4, uint32_t)
PUT(8, uint64_t)

typedef void row_function(const struct row *, const void *, void *);

/* What is gathered or scattered. named is the operand along whose dimension dim the indices go. */
struct placing {
    row_function *act;
    struct td_operand index, source, target;
    bool source_named; /* else the target is */
    int dim, cut;      /* cut: for sums, the dimension that parts share out; -1 if there is none */
};

/* Calls act for the elements of index from up to to, row by row. A tensor without dimensions is one of a single
 * element. */
static void for_rows(const struct placing *p, int64_t first, int64_t end)
{
    const struct td_operand *source = &p->source, *target = &p->target, *named = p->source_named ? source : target;
    int64_t from[TD_RANK_MAX] = {0}, to[TD_RANK_MAX] = {0}, size = (int64_t)td_dtype_size(source->dtype);
    for (int d = 0; d < p->index.rank; d++) {
        from[d] = (p->source_named && d == p->dim) || source->rank == 0 ? 0 : source->stride[d];
        to[d] = (!p->source_named && d == p->dim) || target->rank == 0 ? 0 : target->stride[d];
    }
    const int64_t *stride[] = {p->index.stride, from, to};
    struct td_walk w;
    for (td_walk_start(&w, p->index.rank, p->index.shape, 3, stride, first, end); w.run; td_walk_next(&w)) {
        struct row row = {.count = w.run,
                          .index = (const int64_t *)p->index.data + w.at[0],
                          .index_step = w.step[0],
                          .from_step = w.step[1],
                          .to_step = w.step[2],
                          .at_step = named->rank ? named->stride[p->dim] : 0};
        p->act(&row, (const char *)source->data + w.at[1] * size, (char *)target->data + w.at[2] * size);
    }
}

static void gather_part(const void *data, int64_t from, int64_t to)
{
    for_rows(data, from, to);
}

void TD_CPU(gather)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1];
    size_t size = td_dtype_size(x->dtype);
    struct placing p = {.act = size == 1   ? gather_1
                               : size == 2 ? gather_2
                               : size == 4 ? gather_4
                                           : gather_8,
                        .index = *index,
                        .source = *x,
                        .target = launch->out[0],
                        .source_named = true,
                        .dim = td_wrap_dim(((const struct td_gather_attrs *)launch->attrs)->dim, x->rank)};
    if (TD_CPU(indices_fit)(launch, index, x->rank ? x->shape[p.dim] : 1))
        td_parallel(td_operand_numel(index), TD_GRAIN, 0, gather_part, &p);
}

/* In the order of the index, row by row, so that equal indices give the same bits every time. */
static void scatter_part(const void *data, int64_t from, int64_t to)
{
    struct placing p = *(const struct placing *)data;
    if (p.cut >= 0) {
        p.index = TD_CPU(slice)(&p.index, p.cut, from, to);
        if (p.source.rank)
            p.source = TD_CPU(slice)(&p.source, p.cut, from, to);
        p.target = TD_CPU(slice)(&p.target, p.cut, from, to);
    }
    for_rows(&p, 0, td_operand_numel(&p.index));
}

/* out becomes x, and p says where the source's elements go. False: an index does not fit. */
static bool scatter_begin(struct td_launch *launch, struct placing *p)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_scatter_add_attrs *)launch->attrs)->dim, x->rank);
    if (!TD_CPU(indices_fit)(launch, index, x->rank ? x->shape[dim] : 1))
        return false;
    TD_CPU(copy_operand)(out, x);
    *p = (struct placing){.index = *index, .source = launch->in[2], .target = *out, .dim = dim};
    p->cut = x->rank ? TD_CPU(longest_beside)(index, dim) : -1;
    return true;
}

static void scatter_run(struct placing *p, row_function *act)
{
    int64_t numel = td_operand_numel(&p->index), items = p->cut < 0 ? 1 : p->index.shape[p->cut];
    p->act = act;
    if (numel)
        td_parallel(items, td_grain(numel / items), 0, scatter_part, p);
}

static void scatter_by(struct td_launch *launch, row_function *act)
{
    struct placing p;
    if (scatter_begin(launch, &p))
        scatter_run(&p, act);
}

static row_function *const scatter[TD_DTYPE_LIMIT] = {
    [TD_I32] = scatter_i32, [TD_I64] = scatter_i64, [TD_F32] = scatter_f32, [TD_F64] = scatter_f64};

void TD_CPU(scatter_add)(struct td_launch *launch)
{
    scatter_by(launch, scatter[launch->out[0].dtype]);
}

static row_function *put_of(const struct td_operand *out)
{
    size_t size = td_dtype_size(out->dtype);
    return size == 1 ? put_1 : size == 2 ? put_2 : size == 4 ? put_4 : put_8;
}

void TD_CPU(scatter)(struct td_launch *launch)
{
    scatter_by(launch, put_of(&launch->out[0]));
}

/* ---- scatter_reduce ---- */

#define BRING(name, type, joined)                                           \
    static void name(const struct row *r, const void *source, void *target) \
    {                                                                       \
        const type *x = source;                                             \
        for (int64_t i = 0; i < r->count; i++) {                            \
            type *y = (type *)target + i * r->to_step;                      \
            y += r->index[i * r->index_step] * r->at_step;                  \
            type a = *y, b = x[i * r->from_step];                           \
            *y = joined;                                                    \
        }                                                                   \
    }
#define BRING_ALL(name, whole, f32, f64)                         \
    BRING(name##_i32, int32_t, (int32_t)(whole(uint32_t, a, b))) \
    BRING(name##_i64, int64_t, (int64_t)(whole(uint64_t, a, b))) \
    BRING(name##_f32, float, f32)                                \
    BRING(name##_f64, double, f64)                               \
    static row_function *const name[TD_DTYPE_LIMIT] = {          \
        [TD_I32] = name##_i32, [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64};
#define WRAPPED_PRODUCT(type, a, b) ((type)(a) * (type)(b))
#define GREATER(type, a, b) ((a) > (b) ? (a) : (b))
#define SMALLER(type, a, b) ((a) < (b) ? (a) : (b))
BRING_ALL(by_product, WRAPPED_PRODUCT, a *b, a *b)
BRING_ALL(by_greater, GREATER, td_max_f32(a, b), td_max_f64(a, b))
BRING_ALL(by_smaller, SMALLER, td_min_f32(a, b), td_min_f64(a, b))

#define DIVIDE(name, type, quotient)                             \
    static void name(const void *data, int64_t from, int64_t to) \
    {                                                            \
        const struct td_operand *both = data;                    \
        type *y = both[0].data;                                  \
        const type *counts = both[1].data;                       \
        for (int64_t i = from; i < to; i++) {                    \
            type a = y[i], b = counts[i] > 1 ? counts[i] : 1;    \
            y[i] = quotient;                                     \
        }                                                        \
    }
DIVIDE(divide_i32, int32_t, (int32_t)td_quotient_down(a, b))
DIVIDE(divide_i64, int64_t, td_quotient_down(a, b))
DIVIDE(divide_f32, float, a / b)
DIVIDE(divide_f64, double, a / b)

/* Divides each element by how many came together in it. */
static void divide_by_counts(struct td_launch *launch, struct placing *p, bool include_self)
{
    static td_part *const divide[TD_DTYPE_LIMIT] = {
        [TD_I32] = divide_i32, [TD_I64] = divide_i64, [TD_F32] = divide_f32, [TD_F64] = divide_f64};
    const struct td_operand *out = &launch->out[0];
    int64_t numel = td_operand_numel(out);
    uint64_t one = 0;
    td_number_store((struct td_number){.category = TD_INTEGER, .i = 1}, out->dtype, &one);
    struct td_operand both[2] = {*out, *out}, single = {.data = &one, .dtype = out->dtype};
    both[1].data = calloc((size_t)numel + 1, td_dtype_size(out->dtype));
    if (!both[1].data) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    struct td_operand ones = both[1];
    memset(ones.stride, 0, sizeof ones.stride);
    ones.data = &one;
    if (include_self)
        TD_CPU(copy_operand)(&both[1], &ones);
    p->target = both[1];
    p->source = single;
    scatter_run(p, scatter[out->dtype]);
    td_parallel(numel, TD_GRAIN, 0, divide[out->dtype], both);
    free(both[1].data);
}

/* What changes nothing that it is brought into. */
static struct td_number neutral(enum td_bringing by, uint8_t dtype)
{
    bool floats = td_dtype_category(dtype) == TD_FLOATING, least = by == TD_BY_AMAX;
    if (by != TD_BY_AMAX && by != TD_BY_AMIN)
        return (struct td_number){.category = TD_INTEGER, .i = by == TD_BY_PROD};
    if (floats)
        return (struct td_number){.category = TD_FLOATING, .f = least ? -INFINITY : INFINITY};
    int64_t most = dtype == TD_I32 ? INT32_MAX : INT64_MAX;
    return (struct td_number){.category = TD_INTEGER, .i = least ? -most - 1 : most};
}

void TD_CPU(scatter_reduce)(struct td_launch *launch)
{
    const struct td_scatter_reduce_attrs *a = launch->attrs;
    static row_function *const *const acts[] = {scatter, by_product, scatter, by_greater, by_smaller};
    uint8_t dtype = launch->out[0].dtype;
    struct placing p;
    if (!scatter_begin(launch, &p))
        return;
    if (!a->include_self) {
        uint64_t element = 0;
        td_number_store(neutral((enum td_bringing)a->reduce, dtype), dtype, &element);
        struct td_operand source = p.source;
        p.source = (struct td_operand){.data = &element, .dtype = dtype};
        scatter_run(&p, put_of(&launch->out[0]));
        p.source = source;
    }
    scatter_run(&p, acts[a->reduce][dtype]);
    if (a->reduce == TD_BY_MEAN)
        divide_by_counts(launch, &p, a->include_self != 0);
}
