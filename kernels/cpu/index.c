/* embedding, index_select, index_add, index_copy and index_fill. All indices are checked before anything is written;
 * negative ones are refused, as PyTorch does. SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/past.h"
#include "protocol/error.h"
#include "protocol/ops.h"

struct check {
    const struct td_operand *index;
    int64_t least, size;
    _Atomic int64_t *wrong; /* position of the first index that does not fit, row by row */
};

/* Without a way out, so that compilers make vectors of it. */
static bool all_fit(const struct check *check, const int64_t *index, int64_t step, int64_t count)
{
    uint64_t least = (uint64_t)check->least, range = (uint64_t)check->size - least, others = 0;
    if (step == 1)
        for (int64_t i = 0; i < count; i++)
            others |= (uint64_t)index[i] - least >= range;
    else
        for (int64_t i = 0; i < count; i++)
            others |= (uint64_t)index[i * step] - least >= range;
    return !others;
}

static void check_part(const void *data, int64_t from, int64_t to)
{
    const struct check *check = data;
    const int64_t *stride = check->index->stride, *index = check->index->data;
    struct td_walk w;
    td_walk_start(&w, check->index->rank, check->index->shape, 1, &stride, from, to);
    for (int64_t done = from; w.run; done += w.run, td_walk_next(&w))
        for (int64_t i = all_fit(check, index + w.at[0], w.step[0], w.run) ? w.run : 0; i < w.run; i++) {
            int64_t value = index[w.at[0] + i * w.step[0]];
            if (value >= check->least && value < check->size)
                continue;
            int64_t first = atomic_load(check->wrong);
            while (done + i < first && !atomic_compare_exchange_weak(check->wrong, &first, done + i))
                ;
            return;
        }
}

bool TD_CPU(indices_within)(struct td_launch *launch, const struct td_operand *index, int64_t least, int64_t size)
{
    _Atomic int64_t wrong = INT64_MAX;
    struct check check = {index, least, size, &wrong};
    int64_t at[TD_RANK_MAX], offset = 0;
    const int64_t *stride = index->stride;
    td_parallel(td_operand_numel(index), TD_GRAIN, 0, check_part, &check);
    if (wrong == INT64_MAX)
        return true;
    td_seek_index(index->rank, index->shape, wrong, at, 1, &offset, &stride);
    launch->fault = (struct td_fault){
        .code = TD_E_INDEX, .value = ((const int64_t *)index->data)[offset], .size = size, .position = wrong};
    return false;
}

bool TD_CPU(indices_fit)(struct td_launch *launch, const struct td_operand *index, int64_t size)
{
    return TD_CPU(indices_within)(launch, index, 0, size);
}

/* The part of operand below its first skipped dimensions. */
static struct td_operand inner_part(const struct td_operand *operand, int skipped)
{
    struct td_operand part = {.data = operand->data, .dtype = operand->dtype};
    for (int d = skipped; d < operand->rank; d++) {
        part.shape[part.rank] = operand->shape[d];
        part.stride[part.rank++] = operand->stride[d];
    }
    return part;
}

static bool is_dense(const struct td_operand *part)
{
    int64_t step = 1;
    for (int d = part->rank - 1; d >= 0; step *= part->shape[d--])
        if (part->shape[d] != 1 && part->stride[d] != step)
            return false;
    return true;
}

/* Rows of elements: what every op here copies or adds. Parts are the same shape. */
struct rows {
    struct td_operand target, source;
    size_t size; /* of an element */
    bool dense;
    bool past; /* dense, of whole vectors, and written past the caches */
    int64_t count;
};

static struct rows rows_of(const struct td_operand *target, const struct td_operand *source, int skipped)
{
    struct rows rows = {.target = inner_part(target, skipped), .source = inner_part(source, skipped)};
    rows.size = td_dtype_size(target->dtype);
    rows.dense = is_dense(&rows.target) && is_dense(&rows.source);
    rows.count = td_operand_numel(&rows.target);
    return rows;
}

/* Whether rows of a large dense result can go past the caches. */
static bool goes_past(const struct rows *rows, const struct td_operand *out)
{
    size_t row = (size_t)rows->count * rows->size;
    return rows->dense && td_operand_numel(out) * (int64_t)rows->size >= TD_PAST_BYTES && row % TD_VECTOR_BYTES == 0 &&
           (uintptr_t)out->data % TD_VECTOR_BYTES == 0;
}

static void copy_row_past(char *target, const char *source, size_t bytes)
{
    td_vector_f32 vector;
    for (size_t k = 0; k < bytes; k += sizeof vector) {
        memcpy(&vector, source + k, sizeof vector);
        td_write_past(target + k, &vector);
    }
}

static void copy_row(struct rows *rows, char *target, char *source)
{
    rows->target.data = target;
    rows->source.data = source;
    if (rows->past)
        copy_row_past(target, source, (size_t)rows->count * rows->size);
    else if (rows->dense)
        memcpy(target, source, (size_t)rows->count * rows->size);
    else
        TD_CPU(copy_operand)(&rows->target, &rows->source);
}

/* A row that is due soon; one of many lines is asked for by the processor itself once it is begun. */
static void ask_for(const struct rows *rows, const char *source)
{
    size_t bytes = (size_t)rows->count * rows->size;
    if (rows->dense)
        td_prefetch(source, bytes < 512 ? bytes : 512);
}

/* Slices of x that are copied one behind the other into out: for each position outside dim, each index. */
struct selection {
    const struct td_operand *x, *index, *out;
    int dim;
};

/* Items are indices, row by row. */
static void embedding_part(const void *data, int64_t from, int64_t to)
{
    const struct selection *s = data;
    struct rows rows = rows_of(s->out, s->x, 0);
    rows.source = inner_part(s->x, 1);
    rows.target = inner_part(s->out, s->index->rank);
    rows.dense = is_dense(&rows.source);
    rows.count = s->x->shape[1];
    rows.past = goes_past(&rows, s->out);
    const int64_t *stride = s->index->stride, *index = s->index->data;
    int64_t size = (int64_t)rows.size;
    char *target = (char *)s->out->data + from * rows.count * size;
    struct td_walk w;
    for (td_walk_start(&w, s->index->rank, s->index->shape, 1, &stride, from, to); w.run; td_walk_next(&w))
        for (int64_t i = 0; i < w.run; i++, target += rows.count * size) {
            int64_t step = s->x->stride[0] * size, at = w.at[0] + i * w.step[0];
            if (i + TD_ROWS_AHEAD < w.run)
                ask_for(&rows, (char *)s->x->data + index[at + TD_ROWS_AHEAD * w.step[0]] * step);
            copy_row(&rows, target, (char *)s->x->data + index[at] * step);
        }
    if (rows.past)
        td_written_past();
}

void TD_CPU(embedding)(struct td_launch *launch)
{
    struct selection s = {&launch->in[0], &launch->in[1], &launch->out[0], 0};
    if (!TD_CPU(indices_fit)(launch, s.index, s.x->shape[0]) || td_operand_numel(s.out) == 0)
        return;
    td_parallel(td_operand_numel(s.index), td_grain(s.x->shape[1]), 0, embedding_part, &s);
}

/* Rows of one element. index_step: of the index; step: along the dimension that it names. */
#define SELECT(type)                           \
    for (int64_t j = 0; j < w->run; j++)       \
    ((type *)out)[w->at[0] + j * w->step[0]] = \
        ((const type *)x)[w->at[1] + j * w->step[1] + index[(w->begin + j) * index_step] * step]
static void select_elements(const struct td_walk *w, size_t size, void *out, const void *x, const int64_t *index,
                            int64_t index_step, int64_t step)
{
    if (size == 1)
        SELECT(uint8_t);
    else if (size == 2)
        SELECT(uint16_t);
    else if (size == 4)
        SELECT(uint32_t);
    else
        SELECT(uint64_t);
}

/* Items are positions of the dimensions up to dim. */
static void select_part(const void *data, int64_t from, int64_t to)
{
    const struct selection *s = data;
    const struct td_operand *x = s->x, *out = s->out;
    struct rows rows = rows_of(out, x, s->dim + 1);
    rows.past = goes_past(&rows, out);
    int64_t size = (int64_t)rows.size, x_stride[TD_RANK_MAX];
    memcpy(x_stride, x->stride, sizeof x_stride);
    x_stride[s->dim] = 0; /* the index goes there */
    const int64_t *stride[] = {out->stride, x_stride}, *index = s->index->data;
    int64_t index_step = s->index->rank ? s->index->stride[0] : 0;
    struct td_walk w;
    for (td_walk_start(&w, s->dim + 1, out->shape, 2, stride, from, to); w.run; td_walk_next(&w)) {
        if (rows.count == 1) {
            select_elements(&w, rows.size, out->data, x->data, index, index_step, x->stride[s->dim]);
            continue;
        }
        for (int64_t j = 0; j < w.run; j++) {
            const char *source = (const char *)x->data + w.at[1] * size;
            int64_t step = x->stride[s->dim] * size, at = (w.begin + j) * index_step;
            if (j + TD_ROWS_AHEAD < w.run)
                ask_for(&rows, source + index[at + TD_ROWS_AHEAD * index_step] * step);
            copy_row(&rows, (char *)out->data + (w.at[0] + j * w.step[0]) * size, (char *)source + index[at] * step);
        }
    }
    if (rows.past)
        td_written_past();
}

void TD_CPU(index_select)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_index_select_attrs *)launch->attrs)->dim, x->rank);
    struct selection s = {x, &launch->in[1], out, dim};
    int64_t numel = td_operand_numel(out), count = 1;
    if (!TD_CPU(indices_fit)(launch, s.index, x->rank ? x->shape[dim] : 1) || numel == 0)
        return;
    if (x->rank == 0) {
        TD_CPU(copy_operand)(out, x);
        return;
    }
    for (int d = 0; d <= dim; d++)
        count *= out->shape[d];
    td_parallel(count, td_grain(numel / count), 0, select_part, &s);
}

TD_BINARY_INNER(add_i32, uint32_t, uint32_t, a + b)
TD_BINARY_INNER(add_i64, uint64_t, uint64_t, a + b)
TD_BINARY_INNER(add_f32, float, float, a + b)
TD_BINARY_INNER(add_f64, double, double, a + b)
static td_inner *const add_inner[TD_DTYPE_LIMIT] = {
    [TD_I32] = add_i32, [TD_I64] = add_i64, [TD_F32] = add_f32, [TD_F64] = add_f64};

static void add_row(struct rows *rows, char *target, char *source)
{
    td_inner *inner = add_inner[rows->target.dtype];
    rows->target.data = target;
    rows->source.data = source;
    if (rows->dense)
        inner(rows->count, (void *[]){target, target, source}, (int64_t[]){1, 1, 1});
    else
        TD_CPU(iterate)(inner, 3, (const struct td_operand *[]){&rows->target, &rows->target, &rows->source});
}

int TD_CPU(longest_beside)(const struct td_operand *x, int dim)
{
    int longest = -1;
    for (int d = 0; d < x->rank; d++)
        if (d != dim && x->shape[d] > (longest < 0 ? 1 : x->shape[longest]))
            longest = d;
    return longest;
}

struct td_operand TD_CPU(slice)(const struct td_operand *x, int dim, int64_t from, int64_t to)
{
    struct td_operand slice = *x;
    slice.data = (char *)x->data + from * x->stride[dim] * (int64_t)td_dtype_size(x->dtype);
    slice.shape[dim] = to - from;
    return slice;
}

typedef void row_action(struct rows *, char *target, char *source);

/* Slices that the index names are copied or added to. */
struct addition {
    row_action *act;
    struct td_operand out, source;
    const struct td_operand *index;
    int64_t size; /* an index below 0 counts from here */
    int dim, cut; /* the dimension that the index names, and the one that parts share out; -1 if there is none */
};

/* In the order of the index, so that equal indices give the same bits every time. */
static void add_part(const void *data, int64_t from, int64_t to)
{
    const struct addition *a = data;
    struct td_operand out = a->out, source = a->source;
    if (a->cut >= 0) {
        out = TD_CPU(slice)(&out, a->cut, from, to);
        source = TD_CPU(slice)(&source, a->cut, from, to);
    }
    bool scalar = out.rank == 0; /* one place, which each index names */
    struct rows rows = rows_of(&out, &source, scalar ? 0 : a->dim + 1);
    int64_t at[TD_RANK_MAX] = {0}, offset[2] = {0}, size = (int64_t)rows.size;
    int64_t out_step = scalar ? 0 : out.stride[a->dim], source_step = scalar ? 0 : source.stride[a->dim];
    int64_t index_step = a->index->rank ? a->index->stride[0] : 0, count = td_operand_numel(a->index);
    const int64_t *stride[] = {out.stride, source.stride}, *index = a->index->data;
    do {
        for (int64_t j = 0; j < count; j++) {
            int64_t place = index[j * index_step];
            place += place < 0 ? a->size : 0;
            a->act(&rows, (char *)out.data + (offset[0] + place * out_step) * size,
                   (char *)source.data + (offset[1] + j * source_step) * size);
        }
    } while (td_step_index(scalar ? 0 : a->dim, out.shape, at, 2, offset, stride));
}

/* x with act on the slices at the index and those of source. */
static void act_on_slices(struct td_launch *launch, row_action *act, const struct td_operand *source)
{
    const struct td_operand *x = &launch->in[0], *index = &launch->in[1];
    int dim = td_wrap_dim(((const struct td_index_add_attrs *)launch->attrs)->dim, x->rank);
    int64_t size = x->rank ? x->shape[dim] : 1;
    bool from_end = launch->op->id == TD_OP_index_fill; /* as in PyTorch, for this op alone */
    if (!TD_CPU(indices_within)(launch, index, from_end ? -size : 0, size))
        return;
    TD_CPU(copy_operand)(&launch->out[0], x);
    int64_t numel = td_operand_numel(source);
    if (numel == 0 || td_operand_numel(index) == 0)
        return;
    struct addition a = {act, launch->out[0], *source, index, size, dim, TD_CPU(longest_beside)(source, dim)};
    int64_t items = a.cut < 0 ? 1 : source->shape[a.cut];
    td_parallel(items, td_grain(numel / items), 0, add_part, &a);
}

void TD_CPU(index_add)(struct td_launch *launch)
{
    act_on_slices(launch, add_row, &launch->in[2]);
}

void TD_CPU(index_copy)(struct td_launch *launch)
{
    act_on_slices(launch, copy_row, &launch->in[2]);
}

void TD_CPU(index_fill)(struct td_launch *launch)
{
    struct td_operand value = launch->out[0]; /* seen as slices of it */
    value.data = launch->in[2].data;
    memset(value.stride, 0, sizeof value.stride);
    if (value.rank)
        value.shape[td_wrap_dim(((const struct td_index_fill_attrs *)launch->attrs)->dim, value.rank)] =
            td_operand_numel(&launch->in[1]);
    act_on_slices(launch, copy_row, &value);
}
