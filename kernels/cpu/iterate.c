/* Elementwise loops over any strides. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"

#include <string.h>

/* A run shorter than this costs more to start than to do. */
#define SHORT_RUN 8
/* Columns done together where an operand strides along the run: as many of its cache lines stay in L1 (32 KiB, 8
 * ways) until the neighbouring rows have used the rest of them; with steps inside a line there is no such bound. */
#define STRIP_FAR 32
#define STRIP_NEAR 256
#define LINE_BYTES 64

static void swap_dims(struct td_loop *loop, int a, int b)
{
    int64_t shape = loop->shape[a];
    loop->shape[a] = loop->shape[b];
    loop->shape[b] = shape;
    for (int k = 0; k < loop->operands; k++) {
        int64_t stride = loop->stride[k][a];
        loop->stride[k][a] = loop->stride[k][b];
        loop->stride[k][b] = stride;
    }
}

static bool dims_merge(const struct td_loop *loop, int outer, int inner)
{
    for (int k = 0; k < loop->operands; k++)
        if (loop->stride[k][outer] != loop->stride[k][inner] * loop->shape[inner])
            return false;
    return true;
}

static void merge_dims(struct td_loop *loop)
{
    int rank = 0;
    for (int d = 0; d < loop->rank; d++) {
        int last = rank - 1;
        bool merged = rank && dims_merge(loop, last, d);
        int to = merged ? last : rank++;
        loop->shape[to] = merged ? loop->shape[last] * loop->shape[d] : loop->shape[d];
        for (int k = 0; k < loop->operands; k++)
            loop->stride[k][to] = loop->stride[k][d];
    }
    loop->rank = rank;
}

/* Puts beside the innermost dimension the one along which a striding operand is dense, or where runs are short the
 * longest dimension innermost. */
static void choose_plane(struct td_loop *loop)
{
    int inner = loop->rank - 1, longest = inner;
    if (loop->rank < 2)
        return;
    for (int d = 0; d < inner; d++)
        if (loop->shape[d] > loop->shape[longest])
            longest = d;
    if (loop->shape[inner] < SHORT_RUN && longest != inner) {
        swap_dims(loop, longest, inner);
        /* The run that was innermost stays near: its elements are neighbours. */
        swap_dims(loop, longest, inner - 1);
        return;
    }
    for (int k = 1; k < loop->operands; k++) {
        int near = inner;
        for (int d = inner - 1; d >= 0; d--)
            if (loop->stride[k][d] && loop->stride[k][d] < loop->stride[k][near])
                near = d;
        if (near == inner)
            continue;
        swap_dims(loop, near, inner - 1);
        return;
    }
}

bool TD_CPU(loop_init)(struct td_loop *loop, int operands, const struct td_operand *const *operand)
{
    const struct td_operand *target = operand[0];
    int order[TD_RANK_MAX];
    loop->operands = operands;
    loop->rank = 0;
    for (int d = 0; d < target->rank; d++) {
        if (target->shape[d] == 0)
            return false;
        if (target->shape[d] == 1)
            continue;
        int at = loop->rank++;
        for (; at > 0 && target->stride[order[at - 1]] < target->stride[d]; at--)
            order[at] = order[at - 1];
        order[at] = d;
    }
    for (int k = 0; k < operands; k++) {
        loop->data[k] = operand[k]->data;
        loop->size[k] = (int64_t)td_dtype_size(operand[k]->dtype);
        for (int d = 0; d < loop->rank; d++)
            loop->stride[k][d] = operand[k]->stride[order[d]];
    }
    for (int d = 0; d < loop->rank; d++)
        loop->shape[d] = target->shape[order[d]];
    if (loop->rank == 0) { /* one element: a run of one, dense everywhere */
        loop->rank = 1;
        loop->shape[0] = 1;
        for (int k = 0; k < operands; k++)
            loop->stride[k][0] = 1;
    }
    merge_dims(loop);
    choose_plane(loop);
    return true;
}

static void all_planes(const struct td_loop *loop, td_plane *plane, const void *data)
{
    int outer = loop->rank > 2 ? loop->rank - 2 : 0;
    int64_t index[TD_RANK_MAX] = {0}, offset[TD_OPERANDS_MAX] = {0};
    const int64_t *stride[TD_OPERANDS_MAX];
    char *at[TD_OPERANDS_MAX];
    for (int k = 0; k < loop->operands; k++)
        stride[k] = loop->stride[k];
    do {
        for (int k = 0; k < loop->operands; k++)
            at[k] = loop->data[k] + offset[k] * loop->size[k];
        plane(loop, at, data);
    } while (td_step_index(outer, loop->shape, index, loop->operands, offset, stride));
}

/* ---- cut ---- */

/* A dimension of at least this many is cut rather than those inside it. */
#define MANY 16
/* The least that is left of the two innermost, for the sake of the runs. */
#define PLANE_CUT 64

struct cut {
    const struct td_loop *loop;
    int dim;
    td_plane *plane;
    const void *data;
};

static void cut_part(const void *data, int64_t from, int64_t to)
{
    const struct cut *cut = data;
    struct td_loop part = *cut->loop;
    part.shape[cut->dim] = to - from;
    for (int k = 0; k < part.operands; k++)
        part.data[k] += from * part.stride[k][cut->dim] * part.size[k];
    all_planes(&part, cut->plane, cut->data);
}

void TD_CPU(loop_planes)(const struct td_loop *loop, td_plane *plane, const void *data)
{
    struct cut cut = {.loop = loop, .plane = plane, .data = data};
    int64_t count = 1;
    for (int d = 0; d < loop->rank; d++) {
        count *= loop->shape[d];
        if (loop->shape[cut.dim] < MANY && loop->shape[d] > loop->shape[cut.dim])
            cut.dim = d;
    }
    int64_t grain = td_grain(count / loop->shape[cut.dim]);
    if (cut.dim >= loop->rank - 2 && grain < PLANE_CUT)
        grain = PLANE_CUT;
    td_parallel(loop->shape[cut.dim], grain, 0, cut_part, &cut);
}

/* ---- planes ---- */

static void plane_strips(const struct td_loop *loop, char *const *at, const void *data)
{
    td_inner *const *inner = data;
    int last = loop->rank - 1;
    int64_t columns = loop->shape[last], rows = last > 0 ? loop->shape[last - 1] : 1, strip = columns;
    int64_t stride[TD_OPERANDS_MAX];
    for (int k = 0; k < loop->operands; k++) {
        stride[k] = loop->stride[k][last];
        int64_t bound = stride[k] * loop->size[k] > LINE_BYTES ? STRIP_FAR : STRIP_NEAR;
        if (stride[k] > 1 && rows > 1 && bound < strip)
            strip = bound;
    }
    for (int64_t column = 0; column < columns; column += strip) {
        int64_t count = columns - column < strip ? columns - column : strip;
        for (int64_t row = 0; row < rows; row++) {
            void *from[TD_OPERANDS_MAX];
            for (int k = 0; k < loop->operands; k++) {
                int64_t step = last > 0 ? loop->stride[k][last - 1] : 0;
                from[k] = at[k] + (column * stride[k] + row * step) * loop->size[k];
            }
            (*inner)(count, from, stride);
        }
    }
}

/* A source that is dense along the rows of the plane and not along the run is turned, a tile at a time: a line of
 * its memory holds 16 f32. */
#define TILE_ROWS 16
#define TILE_COLUMNS 128

static bool is_turned(const struct td_loop *loop, int k)
{
    int last = loop->rank - 1;
    return last > 0 && loop->stride[k][last] > 1 && loop->stride[k][last - 1] == 1;
}

static void tile(const struct td_loop *loop, td_inner *inner, char *const *at, int64_t rows, int64_t columns)
{
    uint64_t turned[TD_OPERANDS_MAX - 1][TILE_ROWS * TILE_COLUMNS];
    int last = loop->rank - 1;
    int64_t stride[TD_OPERANDS_MAX], step[TD_OPERANDS_MAX];
    char *from[TD_OPERANDS_MAX];
    for (int k = 0; k < loop->operands; k++) {
        from[k] = at[k];
        stride[k] = loop->stride[k][last];
        step[k] = loop->stride[k][last - 1] * loop->size[k];
        if (k == 0 || !is_turned(loop, k))
            continue;
        TD_CPU(turn)(loop->size[k], at[k], stride[k], turned[k - 1], TILE_COLUMNS, columns, rows, false);
        from[k] = (char *)turned[k - 1];
        stride[k] = 1;
        step[k] = TILE_COLUMNS * loop->size[k];
    }
    for (int64_t row = 0; row < rows; row++) {
        void *run[TD_OPERANDS_MAX];
        for (int k = 0; k < loop->operands; k++)
            run[k] = from[k] + row * step[k];
        inner(columns, run, stride);
    }
}

static void plane_tiles(const struct td_loop *loop, char *const *at, const void *data)
{
    td_inner *const *inner = data;
    int last = loop->rank - 1;
    for (int64_t row = 0; row < loop->shape[last - 1]; row += TILE_ROWS)
        for (int64_t column = 0; column < loop->shape[last]; column += TILE_COLUMNS) {
            int64_t rows = loop->shape[last - 1] - row, columns = loop->shape[last] - column;
            char *from[TD_OPERANDS_MAX];
            for (int k = 0; k < loop->operands; k++)
                from[k] = at[k] + (row * loop->stride[k][last - 1] + column * loop->stride[k][last]) * loop->size[k];
            tile(loop, *inner, from, rows < TILE_ROWS ? rows : TILE_ROWS,
                 columns < TILE_COLUMNS ? columns : TILE_COLUMNS);
        }
}

/* The step of operand's elements taken row by row where they are one run whatever the shape: 1 if it is dense, 0 if it
 * is one element everywhere; -1 if they are not. */
static int64_t run_step(const struct td_operand *operand)
{
    int64_t step = 1;
    bool dense = true, same = true;
    for (int d = operand->rank - 1; d >= 0; d--) {
        dense &= operand->stride[d] == step;
        same &= operand->stride[d] == 0;
        step *= operand->shape[d];
    }
    return dense ? 1 : same ? 0 : -1;
}

/* One run of elements. */
struct run {
    td_inner *inner;
    int operands;
    void *at[TD_OPERANDS_MAX];
    int64_t stride[TD_OPERANDS_MAX];
    const struct td_operand *const *operand;
};

static void run_part(const void *data, int64_t from, int64_t to)
{
    const struct run *run = data;
    void *at[TD_OPERANDS_MAX];
    for (int k = 0; k < run->operands; k++)
        at[k] = (char *)run->at[k] + from * run->stride[k] * (int64_t)td_dtype_size(run->operand[k]->dtype);
    run->inner(to - from, at, run->stride);
}

/* Small tensors spend their time in finding the loop, not in it: the plainest one is looked for first. */
static bool iterate_run(td_inner *inner, int operands, const struct td_operand *const *operand)
{
    struct run run;
    for (int k = 0; k < operands; k++) {
        run.at[k] = operand[k]->data;
        run.stride[k] = run_step(operand[k]);
        if (run.stride[k] < 0)
            return false;
    }
    int64_t count = run.stride[0] == 1 ? td_operand_numel(operand[0]) : 0;
    if (!count)
        return false;
    run.inner = inner;
    run.operands = operands;
    run.operand = operand;
    if (count <= TD_GRAIN) /* one part anyway */
        inner(count, run.at, run.stride);
    else
        td_parallel(count, TD_GRAIN, 0, run_part, &run);
    return true;
}

void TD_CPU(iterate)(td_inner *inner, int operands, const struct td_operand *const *operand)
{
    struct td_loop loop;
    bool turned = false;
    if (iterate_run(inner, operands, operand))
        return;
    if (!TD_CPU(loop_init)(&loop, operands, operand))
        return;
    for (int k = 1; k < operands; k++)
        turned |= is_turned(&loop, k);
    turned &= loop.rank > 1 && loop.shape[loop.rank - 1] >= SHORT_RUN && loop.shape[loop.rank - 2] >= SHORT_RUN;
    TD_CPU(loop_planes)(&loop, turned ? plane_tiles : plane_strips, &inner);
}

void TD_CPU(iterate_launch)(td_inner *inner, const struct td_launch *launch)
{
    const struct td_operand *operand[TD_OPERANDS_MAX] = {&launch->out[0]};
    for (int k = 0; k < launch->in_count; k++)
        operand[k + 1] = &launch->in[k];
    TD_CPU(iterate)(inner, launch->in_count + 1, operand);
}
