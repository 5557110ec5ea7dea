/* index and index_put: indices for several dimensions at once. All are checked before anything is written; negative
 * ones count from the end. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernels/cpu/iterate.h"

/* Positions of the indices that are worked on at once: where each lies stands on the stack. */
#define CHUNK 512

/* A run of positions: where they lie in the operand that the indices name, and how far apart in the other one. */
struct run {
    int64_t count;
    const int64_t *place;
    int64_t step;
};

typedef void run_function(const struct run *, void *named, void *plain);

#define RUN(name, type, statement)                                  \
    static void name(const struct run *r, void *named, void *plain) \
    {                                                               \
        type *x = named, *y = plain;                                \
        for (int64_t i = 0; i < r->count; i++)                      \
            statement;                                              \
    }
RUN(get_1, uint8_t, y[i * r->step] = x[r->place[i]])
RUN(get_2, uint16_t, y[i * r->step] = x[r->place[i]])
RUN(get_4, uint32_t, y[i * r->step] = x[r->place[i]])
RUN(get_8, uint64_t, y[i * r->step] = x[r->place[i]])
RUN(put_1, uint8_t, x[r->place[i]] = y[i * r->step])
RUN(put_2, uint16_t, x[r->place[i]] = y[i * r->step])
RUN(put_4, uint32_t, x[r->place[i]] = y[i * r->step])
RUN(put_8, uint64_t, x[r->place[i]] = y[i * r->step])
RUN(add_bool, uint8_t, x[r->place[i]] |= y[i * r->step])
RUN(add_i32, uint32_t, x[r->place[i]] += y[i * r->step])
RUN(add_i64, uint64_t, x[r->place[i]] += y[i * r->step])
RUN(add_f32, float, x[r->place[i]] += y[i * r->step])
RUN(add_f64, double, x[r->place[i]] += y[i * r->step])

TD_BINARY_INNER(join_bool, uint8_t, uint8_t, a | b)
TD_BINARY_INNER(join_i32, uint32_t, uint32_t, a + b)
TD_BINARY_INNER(join_i64, uint64_t, uint64_t, a + b)
TD_BINARY_INNER(join_f32, float, float, a + b)
TD_BINARY_INNER(join_f64, double, double, a + b)

/* What is done with the elements: one by one where the indices leave no dimension behind them, else slice by slice. */
struct act {
    run_function *elements;
    td_inner *join; /* of slices; NULL: they are copied */
    bool to_plain;
};

static struct act getting(uint8_t dtype)
{
    size_t size = td_dtype_size(dtype);
    return (struct act){.elements = size == 1   ? get_1
                                    : size == 2 ? get_2
                                    : size == 4 ? get_4
                                                : get_8,
                        .to_plain = true};
}

static struct act putting(uint8_t dtype, bool accumulate)
{
    static const struct act adding[TD_DTYPE_LIMIT] = {[TD_BOOL] = {add_bool, join_bool, false},
                                                      [TD_I32] = {add_i32, join_i32, false},
                                                      [TD_I64] = {add_i64, join_i64, false},
                                                      [TD_F32] = {add_f32, join_f32, false},
                                                      [TD_F64] = {add_f64, join_f64, false}};
    size_t size = td_dtype_size(dtype);
    if (accumulate)
        return adding[dtype];
    return (struct act){.elements = size == 1 ? put_1 : size == 2 ? put_2 : size == 4 ? put_4 : put_8};
}

/* named is the operand that the indices name; plain has the shape of what they pick: front, the indices' own
 * dimensions, and tail. */
struct picking {
    struct act act;
    int count; /* indices */
    const struct td_operand *index;
    const int64_t *dims; /* of named, one for each */
    size_t size;         /* of an element */
    char *named, *plain;
    int front, own, tail;
    int64_t front_shape[TD_RANK_MAX], front_named[TD_RANK_MAX], front_plain[TD_RANK_MAX];
    int64_t own_shape[TD_RANK_MAX], own_plain[TD_RANK_MAX], index_stride[TD_RANK_MAX][TD_RANK_MAX];
    int64_t sizes[TD_RANK_MAX], steps[TD_RANK_MAX]; /* of named, for each index */
    struct td_operand named_tail, plain_tail;
    int64_t tail_count;
    bool tail_dense;
};

static bool is_dense(const struct td_operand *x)
{
    int64_t step = 1;
    for (int d = x->rank - 1; d >= 0; step *= x->shape[d--])
        if (x->shape[d] != 1 && x->stride[d] != step)
            return false;
    return true;
}

/* Whether dimension d of the named operand is picked from; k is the first index that may. */
static bool is_picked(const struct picking *p, int *k, int d)
{
    if (*k >= p->count || p->dims[*k] != d)
        return false;
    ++*k;
    return true;
}

static void lay_out_indices(struct picking *p, const struct td_operand *named)
{
    for (int k = 0; k < p->count; k++) {
        const struct td_operand *index = &p->index[k];
        td_broadcast(p->own, p->own_shape, index->rank, index->shape, &p->own, p->own_shape);
        p->sizes[k] = named->shape[p->dims[k]];
        p->steps[k] = named->stride[p->dims[k]];
    }
    for (int k = 0; k < p->count; k++)
        for (int d = 0; d < p->own; d++) {
            const struct td_operand *index = &p->index[k];
            int from = d - (p->own - index->rank);
            p->index_stride[k][d] = from < 0 || index->shape[from] == 1 ? 0 : index->stride[from];
        }
}

/* plain_stride: of an operand that has the shape of what is picked. */
static void lay_out(struct picking *p, const struct td_operand *named, const int64_t *plain_stride)
{
    int front = td_picked_front(p->count, p->dims), at = 0, k = 0;
    lay_out_indices(p, named);
    p->named_tail.dtype = p->plain_tail.dtype = named->dtype;
    for (int d = 0; d <= named->rank; d++) {
        for (int own = 0; d == front && own < p->own; own++)
            p->own_plain[own] = plain_stride[at++];
        if (d == named->rank || is_picked(p, &k, d))
            continue;
        if (d < front) {
            p->front_shape[p->front] = named->shape[d];
            p->front_named[p->front] = named->stride[d];
            p->front_plain[p->front++] = plain_stride[at++];
            continue;
        }
        p->named_tail.shape[p->tail] = p->plain_tail.shape[p->tail] = named->shape[d];
        p->named_tail.stride[p->tail] = named->stride[d];
        p->plain_tail.stride[p->tail++] = plain_stride[at++];
    }
    p->named_tail.rank = p->plain_tail.rank = (uint8_t)p->tail;
    p->tail_count = td_operand_numel(&p->named_tail);
    p->tail_dense = is_dense(&p->named_tail) && is_dense(&p->plain_tail);
}

static void act_on_slice(const struct picking *p, char *named, char *plain)
{
    struct td_operand x = p->named_tail, y = p->plain_tail;
    x.data = named;
    y.data = plain;
    if (p->act.join)
        TD_CPU(iterate)(p->act.join, 3, (const struct td_operand *[]){&x, &x, &y});
    else if (p->tail_dense)
        memcpy(p->act.to_plain ? plain : named, p->act.to_plain ? named : plain, (size_t)p->tail_count * p->size);
    else
        TD_CPU(copy_operand)(p->act.to_plain ? &y : &x, p->act.to_plain ? &x : &y);
}

static void act_on_run(const struct picking *p, const struct run *r, char *named, char *plain)
{
    if (p->tail_count == 1) {
        p->act.elements(r, named, plain);
        return;
    }
    for (int64_t i = 0; i < r->count; i++)
        act_on_slice(p, named + r->place[i] * (int64_t)p->size, plain + i * r->step * (int64_t)p->size);
}

/* Where the positions of the indices from up to to lie in the named operand, in elements. */
static void find_places(const struct picking *p, int64_t from, int64_t to, int64_t *place)
{
    memset(place, 0, (size_t)(to - from) * sizeof *place);
    for (int k = 0; k < p->count; k++) {
        const int64_t *stride = p->index_stride[k], *index = p->index[k].data;
        int64_t size = p->sizes[k], step = p->steps[k], *at = place;
        struct td_walk w;
        for (td_walk_start(&w, p->own, p->own_shape, 1, &stride, from, to); w.run; at += w.run, td_walk_next(&w))
            for (int64_t i = 0; i < w.run; i++) {
                int64_t value = index[w.at[0] + i * w.step[0]];
                at[i] += (value < 0 ? value + size : value) * step;
            }
    }
}

/* Positions of the indices, row by row, each with all that lies in front of them and behind. Those that name the same
 * element come in their order. */
static void pick_part(const void *data, int64_t from, int64_t to)
{
    const struct picking *p = data;
    const int64_t *own_stride = p->own_plain, *stride[] = {p->front_named, p->front_plain};
    int64_t place[CHUNK], size = (int64_t)p->size;
    for (int64_t end; from < to; from = end) {
        int64_t at[TD_RANK_MAX] = {0}, offset[2] = {0};
        end = to - from < CHUNK ? to : from + CHUNK;
        find_places(p, from, end, place);
        do {
            const int64_t *found = place;
            struct td_walk w;
            for (td_walk_start(&w, p->own, p->own_shape, 1, &own_stride, from, end); w.run; td_walk_next(&w)) {
                struct run run = {w.run, found, w.step[0]};
                act_on_run(p, &run, p->named + offset[0] * size, p->plain + (offset[1] + w.at[0]) * size);
                found += w.run;
            }
        } while (td_step_index(p->front, p->front_shape, at, 2, offset, stride));
    }
}

static bool all_fit(struct td_launch *launch, const struct td_operand *index, const struct td_dims *dims)
{
    for (int64_t k = 0; k < dims->count; k++) {
        int64_t size = launch->in[0].shape[dims->v[k]];
        if (!TD_CPU(indices_within)(launch, &index[k], -size, size))
            return false;
    }
    return true;
}

static int64_t positions(const struct picking *p)
{
    int64_t count = 1;
    for (int d = 0; d < p->own; d++)
        count *= p->own_shape[d];
    return count;
}

void TD_CPU(index)(struct td_launch *launch)
{
    const struct td_dims *dims = &((const struct td_index_attrs *)launch->attrs)->dims;
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    struct picking p = {.act = getting(x->dtype),
                        .count = (int)dims->count,
                        .index = &launch->in[1],
                        .dims = dims->v,
                        .size = td_dtype_size(x->dtype),
                        .named = x->data,
                        .plain = out->data};
    if (!all_fit(launch, p.index, dims) || td_operand_numel(out) == 0)
        return;
    lay_out(&p, x, out->stride);
    int64_t count = positions(&p);
    td_parallel(count, td_grain(td_operand_numel(out) / count), 0, pick_part, &p);
}

void TD_CPU(index_put)(struct td_launch *launch)
{
    const struct td_index_put_attrs *a = launch->attrs;
    const struct td_operand *values = &launch->in[1], *out = &launch->out[0];
    struct picking p = {.act = putting(out->dtype, a->accumulate),
                        .count = (int)a->dims.count,
                        .index = &launch->in[2],
                        .dims = a->dims.v,
                        .size = td_dtype_size(out->dtype),
                        .named = out->data,
                        .plain = values->data};
    int64_t none[2 * TD_RANK_MAX] = {0}, stride[TD_RANK_MAX] = {0};
    if (!all_fit(launch, p.index, &a->dims))
        return;
    TD_CPU(copy_operand)(out, &launch->in[0]);
    struct picking shape = p; /* only to know how many dimensions are picked */
    lay_out(&shape, out, none);
    int rank = shape.front + shape.own + shape.tail, added = rank - values->rank;
    for (int d = added; d < rank; d++)
        stride[d] = values->shape[d - added] == 1 ? 0 : values->stride[d - added];
    lay_out(&p, out, stride);
    int64_t before = 1, count = positions(&p);
    for (int d = 0; d < p.front; d++)
        before *= p.front_shape[d];
    if (before && count && p.tail_count) /* not shared out: of equal indices the last one counts */
        pick_part(&p, 0, count);
}
