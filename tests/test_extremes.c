/* Inference against extreme arguments: each gets its layout or its code, and no arithmetic overflows on the way (run it
 * under -fsanitize=undefined). SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "tests/inference.h"

static void test_sizes_overflow(void **state)
{
    (void)state;
    int64_t big = INT64_C(1) << 40, top = TD_ELEMENTS_MAX;
    struct trial t = TRY(zeros, A(DIMS(top), TD_F32));
    assert_int_equal(t.failure.code, TD_E_OK);
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(top, 2), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(top + 1), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(0, big, big), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(INT64_MAX, INT64_MAX), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(INT64_MIN, INT64_MIN), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(3, -1), TD_F32)));
    struct td_meta one = META(TD_F32, 1), wide, tall;
    tall = TRY(expand, A(DIMS(big, 1)), META(TD_F32, 1, 1)).inference.out[0];
    wide = TRY(expand, A(DIMS(1, big)), META(TD_F32, 1, 1)).inference.out[0];
    REFUSED(TD_E_SHAPE, TRY(add, A(), tall, wide));
    REFUSED(TD_E_SHAPE, TRY(eq, A(), tall, wide));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), tall, wide));
    for (int64_t reduction = TD_NONE; reduction <= TD_SUM; reduction++)
        REFUSED(TD_E_SHAPE, TRY(mse_loss, A(reduction), tall, wide));
    REFUSED(TD_E_SHAPE, TRY(expand, A(DIMS(big, big)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(big, big, -1)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(INT64_MAX, INT64_MAX)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(INT64_MIN)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(0, INT64_MAX, INT64_MAX)), META(TD_F32, 0)));
    struct td_meta many = TRY(expand, A(DIMS(big)), META(TD_I64, 1)).inference.out[0];
    REFUSED(TD_E_SHAPE, TRY(embedding, A(INT64_MIN, 0), META(TD_F32, 1, big), many));
    REFUSED(TD_E_SHAPE, TRY(index_select, A(0), META(TD_F32, 1, big), many));
}

/* The same for what joins, picks and multiplies in batches. */
static void test_results_overflow(void **state)
{
    (void)state;
    int64_t big = INT64_C(1) << 40, top = TD_ELEMENTS_MAX;
    struct td_meta one = META(TD_F32, 1), wide = TRY(expand, A(DIMS(top)), one).inference.out[0];
    struct td_meta many = TRY(expand, A(DIMS(big, 1)), META(TD_I64, 1)).inference.out[0];
    struct td_meta batch = TRY(expand, A(DIMS(big, 1, 1)), one).inference.out[0];
    struct td_meta tall = TRY(expand, A(DIMS(1, 1, 1 << 20, 1)), one).inference.out[0];
    REFUSED(TD_E_SHAPE, TRY(eye, A(big, -1, 0)));
    REFUSED(TD_E_SHAPE, TRY(eye, A(INT64_MAX, INT64_MAX, 0)));
    REFUSED(TD_E_SHAPE, TRY(eye, A(3, INT64_MIN, 0)));
    REFUSED(TD_E_OK, TRY(eye, A(top, 1, 0)));
    REFUSED(TD_E_SHAPE, TRY(linspace, A(F(0), F(1), top + 1, 0)));
    REFUSED(TD_E_ARGUMENT, TRY(linspace, A(F(0), F(1), INT64_MIN, 0)));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), batch, tall));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), tall, batch));
    REFUSED(TD_E_OK, TRY(gather, A(0), META(TD_F32, 3, 1), many));
    REFUSED(TD_E_SHAPE, TRY(maximum, A(), TRY(unsqueeze, A(1), wide).inference.out[0], wide));
    uint16_t three = 3, none = 0;
    struct trial t = {.in = {wide, wide, wide}, .in_count = 3, .list_counts = {three}};
    REFUSED(TD_E_SHAPE, (infer(&t, td_op_named("cat")), t));
    REFUSED(TD_E_SHAPE, (infer(&t, td_op_named("stack")), t));
    t.in_count = t.list_counts[0] = none;
    REFUSED(TD_E_ARGUMENT, (infer(&t, td_op_named("cat")), t));
    REFUSED(TD_E_ARGUMENT, (infer(&t, td_op_named("stack")), t));
}

static void test_rank_nine(void **state)
{
    (void)state;
    struct td_dims nine = {.count = 9, .v = {1, 1, 1, 1, 1, 1, 1, 1}};
    struct td_dims none = {.count = -1};
    struct td_meta one = META(TD_F32, 1), eight = META(TD_I64, 1, 1, 1, 1, 1, 1, 1, 1);
    REFUSED(TD_E_LIMIT, TRY(zeros, A(nine, 0)));
    REFUSED(TD_E_LIMIT, TRY(reshape, A(nine), one));
    REFUSED(TD_E_LIMIT, TRY(view, A(nine), one));
    REFUSED(TD_E_LIMIT, TRY(expand, A(nine), one));
    REFUSED(TD_E_LIMIT, TRY(sum, A(nine, 0), one));
    REFUSED(TD_E_LIMIT, TRY(strided_read, A(nine, nine, 0), one));
    REFUSED(TD_E_LIMIT, TRY(embedding, A(INT64_MIN, 0), META(TD_F32, 2, 2), eight));
    REFUSED(TD_E_LIMIT, TRY(unsqueeze, A(0), eight));
    REFUSED(TD_E_LIMIT, TRY(permute, A(nine), one));
    REFUSED(TD_E_LIMIT, TRY(squeeze, A(nine), one));
    struct trial t = {.in = {eight}, .in_count = 1, .list_counts = {1}};
    REFUSED(TD_E_LIMIT, (infer(&t, td_op_named("stack")), t));
    REFUSED(TD_E_ARGUMENT, TRY(zeros, A(none, 0)));
    REFUSED(TD_E_ARGUMENT, TRY(reshape, A(none), one));
    REFUSED(TD_E_ARGUMENT, TRY(expand, A(none), one));
    REFUSED(TD_E_DTYPE, TRY(zeros, A(DIMS(1), 256 + TD_F32)));
    REFUSED(TD_E_DTYPE, TRY(zeros, A(DIMS(1), -1)));
    REFUSED(TD_E_DTYPE, TRY(to, A(256 + TD_F32), one));
    REFUSED(TD_E_DTYPE, TRY(arange, A(I(0), I(1), I(1), 256 + TD_F32)));
}

static void test_slices_and_selects(void **state)
{
    (void)state;
    static const int64_t bounds[] = {INT64_MIN, INT64_MIN + 1, -6, -5, -1, 0, 1, 4, 5, 6, INT64_MAX - 1, INT64_MAX};
    static const int64_t steps[] = {1, 2, 5, INT64_MAX};
    struct td_meta x = META(TD_F32, 5, 1);
    for (size_t a = 0; a < sizeof bounds / 8; a++) {
        for (size_t b = 0; b < sizeof bounds / 8; b++) {
            for (size_t s = 0; s < sizeof steps / 8; s++) {
                struct trial t = TRY(slice, A(0, bounds[a], bounds[b], steps[s]), x);
                const struct td_meta *y = &t.inference.out[0];
                assert_int_equal(t.failure.code, TD_E_OK);
                assert_true(y->shape[0] >= 0 && y->shape[0] <= 5 && y->offset >= 0 && y->offset <= 5);
                assert_true(y->shape[0] <= 1 || y->offset + (y->shape[0] - 1) * y->stride[0] < 5);
            }
        }
        bool inside = bounds[a] >= -5 && bounds[a] < 5;
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(select, A(0, bounds[a]), x));
        inside = bounds[a] >= -2 && bounds[a] < 2;
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(transpose, A(bounds[a], 0), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(slice, A(bounds[a], 0, 1, 1), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(sum, A(DIMS(bounds[a]), 0), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(log_softmax, A(bounds[a]), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(softmax, A(bounds[a]), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(squeeze, A(DIMS(bounds[a])), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(flatten, A(bounds[a], -1), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(permute, A(DIMS(0, bounds[a] == 0 ? 1 : bounds[a])), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(max_dim, A(bounds[a], 0), x));
        REFUSED(inside || bounds[a] == INT64_MIN ? TD_E_OK : TD_E_INDEX, TRY(argmin, A(bounds[a], 0), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(gather, A(bounds[a]), x, META(TD_I64, 5, 1)));
        inside = bounds[a] >= -3 && bounds[a] < 3;
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(unsqueeze, A(bounds[a]), x));
        for (size_t b = 0; b < sizeof bounds / 8; b++) {
            int64_t from = bounds[a] < 0 && bounds[a] >= -5 ? bounds[a] + 5 : bounds[a];
            inside = from >= 0 && from <= 5 && bounds[b] >= 0 && bounds[b] <= 5 - from;
            REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(narrow, A(0, bounds[a], bounds[b]), x));
        }
    }
    REFUSED(TD_E_ARGUMENT, TRY(slice, A(0, 0, 5, 0), x));
    REFUSED(TD_E_ARGUMENT, TRY(slice, A(0, 0, 5, INT64_MIN), x));
    REFUSED(TD_E_ARGUMENT, TRY(sum, A(DIMS(0, -2), 0), x));
}

/* Strides that no element uses can be as large as they like; nothing computed from them may overflow. */
static void test_strides_of_single_elements(void **state)
{
    (void)state;
    struct td_meta x = META(TD_F32, 2, 3, 4);
    for (int64_t d = 0; d < 3; d++)
        x = TRY(slice, A(d, 0, INT64_MAX, INT64_MAX), x).inference.out[0];
    struct td_meta y = x;
    for (int64_t d = 0; d < 3; d++)
        y = TRY(slice, A(d, 1, INT64_MAX, INT64_MAX), y).inference.out[0];
    assert_int_equal(td_meta_numel(&y), 0);
    REFUSED(TD_E_OK, TRY(reshape, A(DIMS(1, 1, 1, 1)), x));
    REFUSED(TD_E_OK, TRY(expand, A(DIMS(1, 1, 1, 1, 1)), x));
    REFUSED(TD_E_OK, TRY(expand, A(DIMS(5, 3, 2, 1)), x));
    REFUSED(TD_E_OK, TRY(select, A(0, 0), x));
    for (int64_t d = 0; d < 4; d++) {
        REFUSED(TD_E_OK, TRY(unsqueeze, A(d), x));
        REFUSED(TD_E_OK, TRY(unsqueeze, A(d), y));
        REFUSED(d < 3 ? TD_E_OK : TD_E_INDEX, TRY(narrow, A(d, 1, 0), x));
        REFUSED(d < 3 ? TD_E_OK : TD_E_INDEX, TRY(narrow, A(d, 0, 1), x));
    }
    struct td_meta behind = TRY(select, A(0, 1), META(TD_F32, 2, 1, 3)).inference.out[0];
    behind = TRY(slice, A(1, 0, INT64_MAX, INT64_MAX), behind).inference.out[0];
    REFUSED(TD_E_OK, TRY(narrow, A(1, 1, 0), behind));
    REFUSED(TD_E_OK, TRY(squeeze, A({.count = -1}), x));
    REFUSED(TD_E_OK, TRY(flatten, A(0, -1), x));
    REFUSED(TD_E_OK, TRY(permute, A(DIMS(2, 0, 1)), x));
    REFUSED(TD_E_OK, TRY(add, A(), x, META(TD_F32, 4, 4)));
    REFUSED(TD_E_OK, TRY(clone, A(), x));
    REFUSED(TD_E_OK, TRY(contiguous, A(), y));
    REFUSED(TD_E_OK, TRY(reshape, A(DIMS(0, 5)), y));
    REFUSED(TD_E_OK, TRY(fill_, A(), x, (struct td_meta){.dtype = TD_F32}));
}

static void test_windows(void **state)
{
    (void)state;
    struct td_meta x = META(TD_F32, 12), v = META(TD_F32, 2, 3), zero_d = {.dtype = TD_F32};
    REFUSED(TD_E_OK, TRY(strided_read, A(DIMS(3, 4), DIMS(1, 3), 0), x));
    REFUSED(TD_E_OK, TRY(strided_read, A(DIMS(12), DIMS(0), 11), x));
    REFUSED(TD_E_OK, TRY(strided_read, A(DIMS(0), DIMS(INT64_MAX), INT64_MAX), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(3, 4), DIMS(1, 3), 1), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(1), DIMS(1), 12), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(1), DIMS(1), -1), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(2), DIMS(-1), 5), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(-2), DIMS(1), 5), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(2, 2), DIMS(1), 5), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(3, 3), DIMS(INT64_MAX, INT64_MAX), INT64_MAX), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(INT64_MAX, INT64_MAX), DIMS(0, 0), 0), x));
    REFUSED(TD_E_OK, TRY(strided_write, A(DIMS(2, 3), DIMS(6, 1), 2), x, v));
    REFUSED(TD_E_OK, TRY(strided_write, A(DIMS(2, 3), DIMS(6, 1), 2), x, zero_d));
    REFUSED(TD_E_SHAPE, TRY(strided_write, A(DIMS(3), DIMS(1), 0), x, v));
    REFUSED(TD_E_ARGUMENT, TRY(strided_write, A(DIMS(2, 3), DIMS(0, 1), 0), x, v));
    REFUSED(TD_E_OK, TRY(strided_add, A(DIMS(2, 3), DIMS(0, 1), 0), x, v));
    struct td_meta whole = {.dtype = TD_F64, .rank = 1, .shape = {3}, .stride = {1}};
    REFUSED(TD_E_DTYPE, TRY(strided_write, A(DIMS(3), DIMS(1), 0), META(TD_I64, 12), whole));
}

static void test_arange_and_randint(void **state)
{
    (void)state;
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(I(0), I(5), I(0), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(5), F(0), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(NAN), F(1), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(INFINITY), F(1), TD_I64)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(INFINITY), F(INFINITY), F(1), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(1), F(NAN), 0)));
    REFUSED(TD_E_SHAPE, TRY(arange, A(F(0), F(1), F(1e-300), 0)));
    REFUSED(TD_E_SHAPE, TRY(arange, A(F(-1e308), F(1e308), F(1e-308), 0)));
    REFUSED(TD_E_SHAPE, TRY(arange, A(I(INT64_MIN), I(INT64_MAX), I(1), 0)));
    REFUSED(TD_E_SHAPE, TRY(arange, A(I(INT64_MAX), I(INT64_MIN), I(-1), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(I(INT64_MAX), I(INT64_MIN), I(INT64_MAX), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0.5), F(3.5), F(0.5), TD_I64))); /* a step of 0, once it is cut */
    REFUSED(TD_E_DTYPE, TRY(arange, A(I(0), I(3), I(1), TD_BOOL)));
    assert_int_equal(TRY(arange, A(I(INT64_MIN), I(INT64_MAX), I(INT64_MAX), 0)).inference.out[0].shape[0], 3);
    assert_int_equal(TRY(arange, A(I(INT64_MAX), I(INT64_MIN), I(INT64_MIN), 0)).inference.out[0].shape[0], 2);
    assert_int_equal(TRY(arange, A(I(0), I(TD_ELEMENTS_MAX), I(1), 0)).inference.out[0].shape[0], TD_ELEMENTS_MAX);
    REFUSED(TD_E_ARGUMENT, TRY(randint, A(0, 0, DIMS(2), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(randint, A(INT64_MAX, INT64_MIN, DIMS(2), 0)));
    REFUSED(TD_E_OK, TRY(randint, A(INT64_MIN, INT64_MAX, DIMS(2), 0)));
    REFUSED(TD_E_OK, TRY(randint, A(0, 2, DIMS(2), TD_BOOL)));
}

static void test_writes_and_losses(void **state)
{
    (void)state;
    struct td_meta x = META(TD_F32, 2, 3), row = META(TD_F32, 3), i64 = META(TD_I64, 2, 3);
    struct td_meta repeated = TRY(expand, A(DIMS(2, 3)), row).inference.out[0];
    struct td_meta half = {.dtype = TD_F32, .scalar = true}, left_out = {.scalar = true};
    REFUSED(TD_E_ARGUMENT, TRY(add_, A(), repeated, row));
    REFUSED(TD_E_ARGUMENT, TRY(fill_, A(), repeated, half));
    REFUSED(TD_E_SHAPE, TRY(add_, A(), row, x));
    REFUSED(TD_E_SHAPE, TRY(fill_, A(), x, row));
    REFUSED(TD_E_DTYPE, TRY(add_, A(), i64, half));
    REFUSED(TD_E_OK, TRY(fill_, A(), i64, half));
    REFUSED(TD_E_ARGUMENT, TRY(mse_loss, A(3), x, x));
    REFUSED(TD_E_ARGUMENT, TRY(mse_loss, A(INT64_MIN), x, x));
    REFUSED(TD_E_ARGUMENT, TRY(cross_entropy, A(-100, -1, 0), x, META(TD_I64, 2), left_out));
    REFUSED(TD_E_DTYPE, TRY(cross_entropy, A(-100, TD_MEAN, 0), x, META(TD_F32, 2), left_out));
    REFUSED(TD_E_DTYPE, TRY(where, A(), x, x, x));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), x, x));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), row, x));
    REFUSED(TD_E_OK, TRY(matmul, A(), x, row));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), x, (struct td_meta){.dtype = TD_F32}));
    REFUSED(TD_E_SHAPE, TRY(max, A(DIMS(1), 0), META(TD_F32, 2, 0)));
    REFUSED(TD_E_OK, TRY(max, A(DIMS(0), 0), META(TD_F32, 2, 0)));
    REFUSED(TD_E_ARGUMENT, TRY(norm, A(DIMS(0), 0, NAN), x));
    REFUSED(TD_E_OK, TRY(norm, A(DIMS(0), 0, -INFINITY), x));
    REFUSED(TD_E_SHAPE, TRY(pad, A(DIMS(INT64_MAX, 3), TD_CONSTANT, 0), x));
    REFUSED(TD_E_SHAPE, TRY(pad, A(DIMS(-3, INT64_MIN), TD_REFLECT, 0), x));
}

static void test_scans_and_sorts(void **state)
{
    (void)state;
    static const int64_t bounds[] = {INT64_MIN, INT64_MIN + 1, -4, -3, -2, -1, 0, 1, 2, 3, 4, INT64_MAX - 1, INT64_MAX};
    struct td_meta x = META(TD_F32, 2, 3), zero_d = {.dtype = TD_F32}, none = META(TD_F32, 3, 0);
    for (size_t a = 0; a < sizeof bounds / sizeof *bounds; a++) {
        int64_t n = bounds[a];
        int dim = n >= -2 && n < 2 ? TD_E_OK : TD_E_INDEX;
        REFUSED(dim, TRY(cumsum, A(n, 0), x));
        REFUSED(dim, TRY(cummax, A(n), x));
        REFUSED(dim, TRY(sort, A(n, 0), x));
        REFUSED(dim, TRY(argsort, A(n, 1), x));
        REFUSED(dim, TRY(topk, A(1, n, 1), x));
        REFUSED(dim, TRY(kthvalue, A(1, n, 0), x));
        REFUSED(n >= 0 && n <= 3 ? TD_E_OK : TD_E_ARGUMENT, TRY(topk, A(n, 1, 1), x));
        REFUSED(n >= 1 && n <= 3 ? TD_E_OK : TD_E_ARGUMENT, TRY(kthvalue, A(n, 1, 0), x));
        REFUSED(n == 0 || n == 1 ? TD_E_OK : TD_E_ARGUMENT, TRY(topk, A(n, 0, 1), zero_d));
        REFUSED(n == 1 ? TD_E_OK : TD_E_ARGUMENT, TRY(kthvalue, A(n, -1, 0), zero_d));
        REFUSED(n == 0 ? TD_E_OK : TD_E_ARGUMENT, TRY(topk, A(n, 1, 1), none));
        REFUSED(TD_E_ARGUMENT, TRY(kthvalue, A(n, 1, 0), none));
        REFUSED(n == INT64_MIN      ? TD_E_INDEX
                : n == 0 || n == -2 ? TD_E_OK
                : dim               ? dim
                                    : TD_E_SHAPE,
                TRY(median_dim, A(n, 0), none));
    }
}

/* Lists of many tensors: no position of an input may be shifted out of a mask. */
static void test_steps(void **state)
{
    (void)state;
    enum { PARAMS = TD_LIST_MAX };
    static struct td_meta in[2 * PARAMS + 2];
    struct td_failure failure = {0};
    struct td_sgd_step__attrs attrs = {.momentum = 0.9};
    uint16_t counts[TD_PARAMS_MAX] = {PARAMS, PARAMS};
    struct td_inference i = {.op = td_op_named("sgd_step_"),
                             .in = in,
                             .in_count = 2 * PARAMS + 2,
                             .list_counts = counts,
                             .attrs = &attrs,
                             .failure = &failure};
    for (int k = 0; k < 2 * PARAMS; k++)
        in[k] = META(k % 2 ? TD_F32 : TD_F64, k % PARAMS, 2);
    in[2 * PARAMS] = META(TD_I64, PARAMS);
    in[2 * PARAMS + 1] = (struct td_meta){.dtype = TD_F64};
    assert_int_equal(td_infer(&i), TD_E_OK);
    assert_int_equal(i.out_count, 0);
    in[2 * PARAMS + 1].dtype = TD_F32;
    assert_int_equal(td_infer(&i), TD_E_DTYPE); /* a rate is f64 */
    failure = (struct td_failure){0};
    in[2 * PARAMS + 1] = META(TD_F64, 1);
    assert_int_equal(td_infer(&i), TD_E_SHAPE);
    assert_non_null(strstr(failure.message, "lr, a rate, has shape (1) where no dimensions are due"));
    failure = (struct td_failure){0};
    in[2 * PARAMS + 1] = (struct td_meta){.dtype = TD_F64};
    in[PARAMS + 40] = META(TD_F32, 41, 2);
    assert_int_equal(td_infer(&i), TD_E_SHAPE);
    in[PARAMS + 40] = in[40];
    failure = (struct td_failure){0};
    in[2 * PARAMS] = META(TD_I64, PARAMS - 1);
    assert_int_equal(td_infer(&i), TD_E_SHAPE);
    failure = (struct td_failure){0};
    i.in_count = PARAMS + 2;
    counts[1] = 0;
    in[PARAMS] = META(TD_I64, PARAMS);
    in[PARAMS + 1] = (struct td_meta){.dtype = TD_F64};
    assert_int_equal(td_infer(&i), TD_E_ARGUMENT); /* momentum without states */
    failure = (struct td_failure){0};
    attrs.momentum = 0;
    assert_int_equal(td_infer(&i), TD_E_OK);
}

/* Lists that may be empty and lists that may not, and rates that PyTorch refuses. */
static void test_step_lists(void **state)
{
    (void)state;
    static const struct {
        const char *op, *states; /* for each list how many */
        double rates[5];
        const char *words; /* of the refusal; NULL: none */
    } cases[] = {
        {"adam_step_", "220", {0.9, 0.99, 1e-8}, NULL},
        {"adam_step_", "222", {0.9, 0.99, 1e-8}, NULL},
        {"adam_step_", "221", {0.9, 0.99, 1e-8}, "1 greatest for 2 parameters"},
        {"adam_step_", "200", {0.9, 0.99, 1e-8}, "0 squares for 2 parameters"},
        {"adam_step_", "220", {1, 0.99, 1e-8}, "beta1 is 1 where 0 or more and less than 1 is due"},
        {"adam_step_", "220", {0.9, -0.25, 1e-8}, "beta2 is -0.25"},
        {"adam_step_", "220", {0.9, 0.99, -1}, "eps is -1"},
        {"rmsprop_step_", "200", {0.99, 1e-8, 0, 0}, NULL},
        {"rmsprop_step_", "202", {0.99, 1e-8, 0, 0}, NULL},
        {"rmsprop_step_", "222", {0.99, 1e-8, 0.5, 0}, NULL},
        {"rmsprop_step_", "202", {0.99, 1e-8, 0.5, 0}, "momentum 0.5 needs a state for each parameter"},
        {"rmsprop_step_", "000", {0.99, 1e-8, 0, 0}, "0 squares for 2 parameters"},
        {"rmsprop_step_", "200", {0.99, 1e-8, 0, -0.5}, "weight_decay is -0.5"},
        {"adagrad_step_", "2", {0, 1e-10, 0}, NULL},
        {"adagrad_step_", "1", {0, 1e-10, 0}, "1 sums for 2 parameters"},
        {"adagrad_step_", "0", {0, 1e-10, 0}, "0 sums for 2 parameters"},
        {"lion_step_", "2", {0.9, 0.99, 0}, NULL},
        {"lion_step_", "2", {0.9, 0.99, NAN}, "weight_decay is nan"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct td_meta in[10] = {META(TD_F32, 3, 2), META(TD_F32, 3, 2)};
        struct td_failure failure = {0};
        uint16_t lists[TD_PARAMS_MAX] = {2};
        int64_t attrs[TD_ATTR_SLOTS] = {0};
        int count = 2;
        memcpy(attrs, cases[k].rates, sizeof cases[k].rates);
        for (int list = 0; cases[k].states[list]; list++) {
            lists[list + 1] = (uint16_t)(cases[k].states[list] - '0');
            for (int of = lists[list + 1]; of > 0; of--)
                in[count++] = META(TD_F32, 3, 2);
        }
        in[count++] = META(TD_I64, 2);
        in[count++] = (struct td_meta){.dtype = TD_F64};
        struct td_inference i = {.op = td_op_named(cases[k].op),
                                 .in = in,
                                 .in_count = count,
                                 .list_counts = lists,
                                 .attrs = attrs,
                                 .failure = &failure};
        int due = cases[k].words ? TD_E_ARGUMENT : TD_E_OK;
        if (td_infer(&i) != due || (due && !strstr(failure.message, cases[k].words)))
            fail_msg("%s %s: \"%s\"", cases[k].op, cases[k].states, failure.message);
        in[2] = META(TD_F64, 3, 2);
        failure = (struct td_failure){0};
        if (due == TD_E_OK) {
            assert_int_equal(td_infer(&i), TD_E_SHAPE);
            assert_non_null(strstr(failure.message, "is f64 (3, 2) where its parameter is f32 (3, 2)"));
        }
    }
}

static void test_dropout(void **state)
{
    (void)state;
    const double wrong[] = {-0.1, 1.1, NAN, INFINITY};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        struct td_dropout_attrs attrs = {.p = wrong[k], .training = 1};
        struct td_failure failure = {0};
        struct td_meta x = {.dtype = TD_F32, .rank = 1, .shape = {3}, .stride = {1}};
        struct td_inference i = {
            .op = td_op_of(TD_OP_dropout), .in = &x, .in_count = 1, .attrs = &attrs, .failure = &failure};
        assert_int_equal(td_infer(&i), TD_E_ARGUMENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_sizes_overflow),
        cmocka_unit_test(test_results_overflow),
        cmocka_unit_test(test_rank_nine),
        cmocka_unit_test(test_slices_and_selects),
        cmocka_unit_test(test_strides_of_single_elements),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_arange_and_randint),
        cmocka_unit_test(test_writes_and_losses),
        cmocka_unit_test(test_scans_and_sorts),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_step_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
