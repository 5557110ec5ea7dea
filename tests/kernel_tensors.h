/* Tensors with guard bytes around them in any layout, for test_kernels.c. Included once, by kernel_calls.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_KERNEL_TENSORS_H
#define TD_TESTS_KERNEL_TENSORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/shape.h"
#include "tests/oracle.h"

#define GUARD 64
#define GUARD_BYTE 0xa5

static const uint8_t dtypes[] = {TD_BOOL, TD_I32, TD_I64, TD_F32, TD_F64};

/* ---- randomness of the tests themselves ---- */

static uint64_t random_state;

static uint64_t draw(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static int64_t below(int64_t n)
{
    return (int64_t)(draw() % (uint64_t)n);
}
static double between(double low, double high)
{
    return low + (high - low) * (double)(draw() >> 11) * 0x1p-53;
}

/* ---- tensors ---- */

struct tensor {
    struct td_meta meta;
    struct oracle_tensor values; /* what the storage holds, or what the oracle says it should */
    char *memory;                /* with its guards */
    size_t bytes;                /* of the storage */
};

static void values_init(struct oracle_tensor *v, uint8_t dtype, int rank, const int64_t *shape)
{
    *v = (struct oracle_tensor){.dtype = dtype, .rank = rank, .count = 1};
    for (int d = 0; d < rank; d++)
        v->count *= v->shape[d] = shape[d];
    v->real = calloc((size_t)v->count + 1, sizeof *v->real);
    v->integer = calloc((size_t)v->count + 1, sizeof *v->integer);
    v->scale = calloc((size_t)v->count + 1, sizeof *v->scale);
}

static void tensor_deinit(struct tensor *t)
{
    free(t->values.real);
    free(t->values.integer);
    free(t->values.scale);
    free(t->memory);
    *t = (struct tensor){0};
}

static void *element_at(const struct tensor *t, int64_t i)
{
    int64_t at = t->meta.offset;
    for (int d = t->meta.rank - 1; d >= 0; i /= t->meta.shape[d--])
        at += i % t->meta.shape[d] * t->meta.stride[d];
    return t->memory + GUARD + (size_t)at * td_dtype_size(t->meta.dtype);
}

static struct td_number get(const struct tensor *t, int64_t i)
{
    struct td_number n = {.category = td_dtype_category(t->meta.dtype)};
    const void *at = element_at(t, i);
    float f32;
    int32_t i32;
    if (t->meta.dtype == TD_BOOL)
        n.i = *(const uint8_t *)at;
    else if (t->meta.dtype == TD_I32)
        memcpy(&i32, at, sizeof i32), n.i = i32;
    else if (t->meta.dtype == TD_F32)
        memcpy(&f32, at, sizeof f32), n.f = f32;
    else
        memcpy(&n.i, at, sizeof n.i); /* i64, and f64 by its bytes */
    return n;
}

/* Memory for the meta's extent, all of it guard bytes so far. */
static void allocate(struct tensor *t)
{
    int64_t first, end;
    td_meta_extent(&t->meta, &first, &end);
    t->bytes = (size_t)end * td_dtype_size(t->meta.dtype);
    t->memory = malloc(t->bytes + 2 * GUARD);
    memset(t->memory, GUARD_BYTE, t->bytes + 2 * GUARD);
}

static void store(struct tensor *t, int64_t i, struct td_number n)
{
    td_number_store(n, t->meta.dtype, element_at(t, i));
}

/* Reads the storage back into values: of a repeated tensor the last write stands everywhere. */
static void read_back(struct tensor *t)
{
    for (int64_t i = 0; i < t->values.count; i++) {
        struct td_number n = get(t, i);
        if (n.category == TD_FLOATING)
            t->values.real[i] = n.f;
        else
            t->values.integer[i] = n.i;
    }
}

static inline void assert_guards(const struct tensor *t)
{
    for (int i = 0; i < GUARD; i++) {
        assert_int_equal((uint8_t)t->memory[i], GUARD_BYTE);
        assert_int_equal((uint8_t)t->memory[GUARD + t->bytes + (size_t)i], GUARD_BYTE);
    }
}

enum layout { ANY_LAYOUT, NO_OVERLAP, DENSE };

/* Dimensions in any order, with gaps, and repeated ones unless the tensor is written to. */
static void draw_layout(struct td_meta *m, enum layout layout)
{
    int order[TD_RANK_MAX];
    int64_t step = layout != DENSE && below(4) == 0 ? 2 : 1;
    bool permuted = layout != DENSE && below(2), gaps = layout != DENSE && below(3) == 0;
    for (int d = 0; d < m->rank; d++)
        order[d] = m->rank - 1 - d;
    for (int d = m->rank - 1; d > 0 && permuted; d--) {
        int other = (int)below(d + 1), swap = order[d];
        order[d] = order[other];
        order[other] = swap;
    }
    for (int k = 0; k < m->rank; k++) {
        int d = order[k];
        m->stride[d] = step;
        step *= (m->shape[d] > 1 ? m->shape[d] : 1) + (gaps ? below(3) : 0);
        if (layout == ANY_LAYOUT && below(8) == 0)
            m->stride[d] = 0;
    }
    m->offset = layout == DENSE ? 0 : below(4);
}

/* Whether tensors hold a nan here and there. */
static bool draws_nan;

static double draw_real(enum td_tried tried)
{
    if (draws_nan && below(50) == 0)
        return NAN;
    switch (tried) {
    case TD_NOTHING:
    case TD_REALS:
        return between(-3, 3);
    case TD_POSITIVE:
        return between(0.01, 6);
    case TD_AWAY:
        return between(0.1, 3) * (below(2) ? 1 : -1);
    case TD_STEPS:
        return (double)below(5) - 2;
    case TD_INSIDE:
        return between(-1, 1);
    case TD_ABOVE:
        return between(1, 4);
    }
    return 0;
}

static void make(struct tensor *t, uint8_t dtype, int rank, const int64_t *shape, enum td_tried tried,
                 enum layout layout)
{
    *t = (struct tensor){.meta.dtype = dtype, .meta.rank = (uint8_t)rank};
    memcpy(t->meta.shape, shape, sizeof t->meta.shape);
    draw_layout(&t->meta, layout);
    allocate(t);
    values_init(&t->values, dtype, rank, shape);
    for (int64_t i = 0; i < t->values.count; i++) {
        struct td_number n = {.category = td_dtype_category(dtype)};
        if (n.category == TD_FLOATING)
            n.f = draw_real(tried);
        else
            n.i = dtype == TD_BOOL ? below(2) : below(16) ? below(21) - 10 : (int64_t)draw();
        store(t, i, n);
    }
    read_back(t);
}

#endif
