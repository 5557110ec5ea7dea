/* gather, scatter and scatter_add: one index for each element. All indices are checked before anything is written.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"

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

#define SCATTER(name, type)                                                                      \
    static void scatter_##name(const struct row *r, const void *source, void *target)            \
    {                                                                                            \
        const type *x = source;                                                                  \
        type *y = target;                                                                        \
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

static void scatter_by(struct td_launch *launch, row_function *act)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_scatter_add_attrs *)launch->attrs)->dim, x->rank);
    if (!TD_CPU(indices_fit)(launch, index, x->rank ? x->shape[dim] : 1))
        return;
    TD_CPU(copy_operand)(out, x);
    int64_t numel = td_operand_numel(index);
    struct placing p = {.act = act, .index = *index, .source = launch->in[2], .target = *out};
    p.dim = dim;
    p.cut = x->rank ? TD_CPU(longest_beside)(index, dim) : -1;
    int64_t items = p.cut < 0 ? 1 : index->shape[p.cut];
    if (numel)
        td_parallel(items, td_grain(numel / items), 0, scatter_part, &p);
}

void TD_CPU(scatter_add)(struct td_launch *launch)
{
    static row_function *const scatter[TD_DTYPE_LIMIT] = {
        [TD_I32] = scatter_i32, [TD_I64] = scatter_i64, [TD_F32] = scatter_f32, [TD_F64] = scatter_f64};
    scatter_by(launch, scatter[launch->out[0].dtype]);
}

void TD_CPU(scatter)(struct td_launch *launch)
{
    size_t size = td_dtype_size(launch->out[0].dtype);
    scatter_by(launch, size == 1 ? put_1 : size == 2 ? put_2 : size == 4 ? put_4 : put_8);
}
