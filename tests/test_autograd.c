/* What autograd promises, by hand through libtensord: known values at edges and ties, accumulation, graphs kept, freed
 * and differentiated again, no_grad, writes in place through views. SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "tests/support.h"

#include "client/tensord.h"

#define ELEMENTS 64

static struct test_daemon daemon_;
static td_session *s;

static void check_healthy(const char *text)
{
    const td_error_info *error = td_error(s);
    if (error->code)
        print_error("%s: %s: %s (%s)\n", text, td_code_name(error->code), error->message, error->hint);
    assert_int_equal(error->code, TD_E_OK);
}

#define LEAF(...)                                                                                      \
    td_from(s, ((const double[]){__VA_ARGS__}), TD_F64, TD_SHAPE(sizeof((double[]){__VA_ARGS__}) / 8), \
            .requires_grad = true)

static void expect_values(td_tensor x, int64_t count, const double *due, int line)
{
    double found[ELEMENTS];
    int64_t got = td_read(x, found, TD_F64, ELEMENTS);
    check_healthy("by hand");
    assert_int_equal(got, count);
    for (int64_t k = 0; k < count; k++) {
        if (fabs(found[k] - due[k]) > 1e-12)
            print_error("line %d: element %d is %.17g where %.17g is due\n", line, (int)k, found[k], due[k]);
        assert_true(fabs(found[k] - due[k]) <= 1e-12);
    }
}
#define EXPECT(x, ...) expect_values(x, sizeof((double[]){__VA_ARGS__}) / 8, (const double[]){__VA_ARGS__}, __LINE__)

/* The error that stands has this code; then it is taken away. */
static void expect_error(int code)
{
    assert_int_equal(td_error(s)->code, code);
    td_clear_error(s);
}

static void test_known_values(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2, -3);
    td_backward(td_sum(td_mul(w, w)));
    EXPECT(td_grad(w), 2, 4, -6);
    w = LEAF(1, 2, -3);
    td_backward(td_mean(td_square(w)));
    EXPECT(td_grad(w), 2 / 3.0, 4 / 3.0, -2);
    w = LEAF(3, 1, 3, 3);
    td_backward(td_max(w));
    EXPECT(td_grad(w), 1 / 3.0, 0, 1 / 3.0, 1 / 3.0); /* equals share */
    w = LEAF(0, -1, 1);
    td_backward(td_sum(td_relu(w)));
    EXPECT(td_grad(w), 0, 0, 1);
    w = LEAF(2, 5);
    td_tensor half = td_to(w, TD_F32);
    td_backward(td_sum(td_mul(half, 3)));
    assert_int_equal(td_dtype_of(td_grad(w)), TD_F64);
    EXPECT(td_grad(w), 3, 3);
    td_tensor b = td_from(s, (const double[]){4}, TD_F64, TD_SHAPE(), .requires_grad = true);
    w = LEAF(1, 2);
    td_backward(td_sum(td_mul(w, b)));
    EXPECT(td_grad(w), 4, 4);
    EXPECT(td_grad(b), 3);
    assert_int_equal(td_rank(td_grad(b)), 0);
}

static void test_ties_and_edges(void **state)
{
    (void)state;
    td_tensor a = LEAF(1, 2, 3), b = LEAF(1, 5, 0);
    td_backward(td_sum(td_maximum(a, b)));
    EXPECT(td_grad(a), 0.5, 0, 1);
    EXPECT(td_grad(b), 0.5, 1, 0);
    a = LEAF(1, 2, 3), b = LEAF(1, 5, 0);
    td_backward(td_sum(td_minimum(a, b)));
    EXPECT(td_grad(a), 0.5, 1, 0);
    EXPECT(td_grad(b), 0.5, 0, 1);
    a = LEAF(-2, -1, 0, 1, 2);
    td_backward(td_sum(td_clamp(a, .min = -1, .max = 1)));
    EXPECT(td_grad(a), 0, 1, 1, 1, 0); /* 1 at both edges */
    a = LEAF(-2, -1, 0);
    td_backward(td_sum(td_clamp(a, .min = -1)));
    EXPECT(td_grad(a), 0, 1, 1);
    a = LEAF(0, -3, 3);
    td_backward(td_sum(td_add(td_abs(a), td_sign(a))));
    EXPECT(td_grad(a), 0, -1, 1);
    a = LEAF(3, 1, 3, 2);
    td_backward(td_min(td_neg(a)));
    EXPECT(td_grad(a), -0.5, 0, -0.5, 0);
}

static void test_powers_of_zero(void **state)
{
    (void)state;
    td_tensor x = LEAF(0, 0, 0), e = LEAF(0, 1, 2), y = td_pow(x, e);
    EXPECT(y, 1, 0, 0);
    td_backward(td_sum(y));
    EXPECT(td_grad(x), 0, 1, 0);
    EXPECT(td_grad(e), 0, 0, 0);
    static const double ones[] = {0, 1, 0};
    for (int k = 0; k < 3; k++) {
        x = LEAF(0);
        td_backward(td_sum(td_pow(x, k)));
        EXPECT(td_grad(x), ones[k]);
    }
    x = LEAF(-2, 3);
    td_backward(td_sum(td_pow(x, 3.0)));
    EXPECT(td_grad(x), 12, 27);
}

static void test_dropout(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    double once[MANY], again[MANY];
    int64_t zeros = 0;
    td_tensor x = td_ones(s, TD_SHAPE(MANY), .dtype = TD_F64, .requires_grad = true);
    td_manual_seed(s, 11);
    td_tensor y = td_dropout(x, .p = 0.25);
    td_rand(s, TD_SHAPE(7)); /* the mask is not drawn again */
    td_backward(td_sum(y));
    assert_int_equal(td_read(y, once, TD_F64, MANY), MANY);
    assert_int_equal(td_read(td_grad(x), again, TD_F64, MANY), MANY);
    assert_memory_equal(once, again, sizeof once);
    for (int k = 0; k < MANY; k++) {
        zeros += once[k] == 0;
        assert_true(once[k] == 0 || fabs(once[k] - 1 / 0.75) < 1e-12);
    }
    assert_in_range(zeros, 190, 310);
    td_manual_seed(s, 11);
    assert_int_equal(td_read(td_dropout(x, .p = 0.25), again, TD_F64, MANY), MANY);
    assert_memory_equal(once, again, sizeof once);
    assert_int_equal(td_read(td_dropout(x, .p = 0.25), again, TD_F64, MANY), MANY);
    assert_memory_not_equal(once, again, sizeof once);
    td_tensor w = LEAF(1, 2, 3);
    td_backward(td_sum(td_dropout(w, .training = false)));
    EXPECT(td_grad(w), 1, 1, 1);
    EXPECT(td_dropout(w, .p = 1), 0, 0, 0);
}

static td_tensor leaf_of(const double *values, struct td_dims shape)
{
    return td_from(s, values, TD_F64, shape, .requires_grad = true);
}

static void test_picked_and_joined(void **state)
{
    (void)state;
    td_tensor x = leaf_of((const double[]){3, 3, 1, 1, 2, 2}, TD_SHAPE(2, 3));
    td_indexed top = td_max_dim(x, 1);
    assert_true(td_requires_grad(top.values) && !td_requires_grad(top.indices) && td_is_leaf(top.indices));
    EXPECT(top.values, 3, 2);
    EXPECT(top.indices, 0, 1);
    td_backward(td_sum(td_mul(top.values, td_add(top.indices, 1))));
    EXPECT(td_grad(x), 1, 0, 0, 0, 2, 0); /* the first of equal ones */
    x = leaf_of((const double[]){3, 1, 1, 1, 2, 2}, TD_SHAPE(2, 3));
    top = td_min_dim(x, 0, .keepdim = true);
    EXPECT(top.values, 1, 1, 1);
    td_backward(td_sum(top.values));
    EXPECT(td_grad(x), 0, 1, 1, 1, 0, 0);

    x = LEAF(1, 2, 3);
    td_tensor index = td_from(s, (const int64_t[]){2, 0, 2, 2}, TD_I64, TD_SHAPE(4));
    td_backward(td_sum(td_gather(x, 0, index)));
    EXPECT(td_grad(x), 1, 0, 3);
    x = LEAF(1, 2, 3);
    td_tensor source = LEAF(10, 20, 30, 40), added = td_scatter_add(x, 0, index, source);
    EXPECT(added, 21, 2, 83);
    td_backward(td_sum(td_square(added)));
    EXPECT(td_grad(x), 42, 4, 166);
    EXPECT(td_grad(source), 166, 42, 166, 166);

    td_tensor a = LEAF(1, 2), nothing = td_zeros(s, TD_SHAPE(0), .dtype = TD_F64, .requires_grad = true);
    td_tensor b = LEAF(3), all = td_cat(TD_LIST(a, nothing, td_mul(b, 10), a));
    EXPECT(all, 1, 2, 30, 1, 2);
    td_backward(td_sum(td_mul(all, td_from(s, (const double[]){1, 2, 3, 4, 5}, TD_F64, TD_SHAPE(5)))));
    EXPECT(td_grad(a), 5, 7);
    EXPECT(td_grad(b), 30);
    assert_int_equal(td_numel(td_grad(nothing)), 0);
    a = LEAF(1, 2), b = LEAF(3, 4);
    td_tensor columns = td_stack(TD_LIST(a, b), .dim = 1);
    EXPECT(columns, 1, 3, 2, 4);
    td_backward(td_sum(td_select(columns, 0, 1)));
    EXPECT(td_grad(a), 0, 1);
    EXPECT(td_grad(b), 0, 1);
}

static void test_products_and_softmax(void **state)
{
    (void)state;
    td_tensor v = LEAF(1, 2), w = LEAF(3, 4), dot = td_matmul(v, w);
    assert_int_equal(td_rank(dot), 0);
    td_backward(dot);
    EXPECT(td_grad(v), 3, 4);
    EXPECT(td_grad(w), 1, 2);
    v = LEAF(1, 10);
    td_tensor m = leaf_of((const double[]){1, 2, 3, 4, 5, 6, 7, 8}, TD_SHAPE(2, 2, 2)), y = td_matmul(m, v);
    EXPECT(y, 21, 43, 65, 87);
    td_backward(td_sum(y));
    EXPECT(td_grad(v), 16, 20);
    EXPECT(td_grad(m), 1, 10, 1, 10, 1, 10, 1, 10);
    td_tensor x = LEAF(0, log(3)), p = td_softmax(x, 0);
    EXPECT(p, 0.25, 0.75);
    td_backward(td_select(p, 0, 1));
    EXPECT(td_grad(x), -0.1875, 0.1875);
}

/* Gradients of gradients: x^4 three times over. */
static void test_create_graph(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, -2);
    td_optimizer *zero = td_sgd(s, TD_LIST(x));
    td_backward(td_sum(td_pow(x, 4)), .create_graph = true);
    td_tensor first = td_mul(td_grad(x), 1);
    EXPECT(first, 4, -32);
    assert_true(td_requires_grad(first));
    td_zero_grad(zero);
    td_backward(td_sum(first), .create_graph = true);
    td_tensor second = td_mul(td_grad(x), 1);
    EXPECT(second, 12, 48);
    td_zero_grad(zero);
    td_backward(td_sum(second));
    EXPECT(td_grad(x), 24, -48);
    td_optimizer_free(zero);

    /* A penalty on the gradient's length, inside a loss: it keeps the graph, and plain gradients add up. */
    td_tensor w = LEAF(3, 4), loss = td_sum(td_square(w));
    td_backward(loss, .create_graph = true);
    td_tensor length = td_sqrt(td_sum(td_square(td_grad(w))));
    EXPECT(length, 10);
    td_backward(td_add(length, loss));
    EXPECT(td_grad(w), 2 * 3 + 2 * 0.6 + 2 * 3, 2 * 4 + 2 * 0.8 + 2 * 4);
}

static void test_accumulation_and_graphs(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2), loss = td_sum(td_square(w));
    td_backward(loss, .retain_graph = true);
    td_backward(loss);
    EXPECT(td_grad(w), 4, 8);
    td_backward(loss); /* the graph is gone now */
    expect_error(TD_E_GRAD);
    EXPECT(td_grad(w), 4, 8);
    td_backward(td_sum(td_mul(w, 10)));
    EXPECT(td_grad(w), 14, 18);
    td_tensor y = td_mul(w, td_from(s, (const double[]){3, 4}, TD_F64, TD_SHAPE(2)));
    td_backward(y); /* more than one element, and no seed */
    expect_error(TD_E_GRAD);
    td_tensor v = LEAF(1, 1);
    td_tensor z = td_mul(v, v);
    td_backward(z, .seed = td_from(s, (const double[]){10, 100}, TD_F64, TD_SHAPE(2)));
    EXPECT(td_grad(v), 20, 200);
    td_tensor never = LEAF(1, 2);
    td_grad(never);
    expect_error(TD_E_GRAD);
}

/* A diamond: what is used twice gets both parts, once each. */
static void test_shared_parts(void **state)
{
    (void)state;
    td_tensor x = LEAF(2, 3), a = td_mul(x, 2), b = td_square(a), c = td_mul(a, b), d = td_add(c, a);
    td_backward(td_sum(td_add(d, b)));
    /* a = 2x; a^3 + a + a^2: d/dx = 2 (3 a^2 + 1 + 2 a) */
    EXPECT(td_grad(x), 2 * (3 * 16 + 1 + 8), 2 * (3 * 36 + 1 + 12));
}

static void test_no_grad_and_detach(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y;
    {
        TD_NO_GRAD(s);
        y = td_mul(x, 5);
    }
    assert_false(td_requires_grad(y));
    td_backward(td_sum(td_mul(x, y)));
    EXPECT(td_grad(x), 5, 10); /* y is a constant */
    td_tensor v = LEAF(1, 2), cut = td_detach(td_square(v));
    assert_false(td_requires_grad(cut));
    td_backward(td_sum(td_mul(v, cut)));
    EXPECT(td_grad(v), 1, 4);
    {
        TD_NO_GRAD(s);
        td_add_(v, 10); /* as an optimiser does */
    }
    EXPECT(v, 11, 12);
    td_backward(td_sum(td_square(v)));
    EXPECT(td_grad(v), 1 + 22, 4 + 24);
    td_tensor frozen = td_set_requires_grad(LEAF(1, 2), false), u = LEAF(3, 4);
    td_backward(td_sum(td_mul(frozen, u)));
    EXPECT(td_grad(u), 1, 2);
    assert_false(td_requires_grad(frozen));
}

static void test_writes_are_refused_to_leaves(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2);
    td_add_(x, 1);
    expect_error(TD_E_GRAD);
    td_fill_(td_select(x, 0, 0), 9);
    expect_error(TD_E_GRAD);
    EXPECT(x, 1, 2);
}

static td_tensor grid(double first)
{
    double values[6];
    for (int k = 0; k < 6; k++)
        values[k] = first + k;
    return td_from(s, values, TD_F64, TD_SHAPE(3, 2), .requires_grad = true);
}

#define WEIGHTS td_from(s, ((const double[]){1, 2, 3, 4, 5, 6}), TD_F64, TD_SHAPE(3, 2))

static void test_writes_through_views(void **state)
{
    (void)state;
    td_tensor x = grid(1), y = td_clone(x), row = td_select(y, 0, 1);
    td_fill_(row, 9.0); /* what was overwritten gets nothing */
    EXPECT(y, 1, 2, 9, 9, 5, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 0, 0, 5, 6);

    x = grid(1), y = td_clone(x), row = td_select(y, 0, 1);
    td_tensor b = LEAF(10, 20);
    td_add_(row, b); /* the base and the value both get theirs */
    EXPECT(y, 1, 2, 13, 24, 5, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 3, 4, 5, 6);
    EXPECT(td_grad(b), 3, 4);

    x = grid(1), y = td_clone(x), row = td_select(y, 1, 0); /* a column */
    td_tensor t = td_from(s, (const double[]){7}, TD_F64, TD_SHAPE(), .requires_grad = true);
    td_fill_(row, t);
    EXPECT(y, 7, 2, 7, 4, 7, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 0, 2, 0, 4, 0, 6);
    EXPECT(td_grad(t), 1 + 3 + 5);
}

static void test_products_and_copies_through_views(void **state)
{
    (void)state;
    td_tensor x = grid(1), y = td_clone(x), b = LEAF(10, 20);
    td_mul_(td_select(y, 0, 1), b);
    EXPECT(y, 1, 2, 30, 80, 5, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 30, 80, 5, 6);
    EXPECT(td_grad(b), 9, 16);

    x = grid(1), y = td_clone(x), b = LEAF(10, 20);
    td_copy_(td_select(y, 0, 1), b);
    EXPECT(y, 1, 2, 10, 20, 5, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 0, 0, 5, 6);
    EXPECT(td_grad(b), 3, 4);

    x = grid(1), y = td_clone(x), b = LEAF(10, 20); /* broadcast over two rows, transposed */
    td_copy_(td_narrow(y, 0, 1, 2), b);
    td_mul_(td_permute(y, TD_SHAPE(1, 0)), 2);
    EXPECT(y, 2, 4, 20, 40, 20, 40);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 2, 4, 0, 0, 0, 0);
    EXPECT(td_grad(b), 2 * (3 + 5), 2 * (4 + 6));

    x = grid(1), y = td_clone(x);
    td_tensor rows[3];
    assert_int_equal(td_chunk(y, 3, rows), 3);
    td_copy_(rows[0], rows[2]);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 0, 0, 3, 4, 6, 8);
}

static void test_views_see_writes(void **state)
{
    (void)state;
    td_tensor x = grid(1), y = td_clone(x), row = td_select(y, 0, 0), b = LEAF(10, 20);
    td_add_(y, b); /* broadcast over the rows; row is older than this write, and sees it */
    EXPECT(row, 11, 22);
    td_backward(td_sum(td_mul(row, td_from(s, (const double[]){2, 3}, TD_F64, TD_SHAPE(2)))));
    EXPECT(td_grad(x), 2, 3, 0, 0, 0, 0);
    EXPECT(td_grad(b), 2, 3);

    /* Two views that overlap in one element; a write through one, a read through the other. */
    x = grid(1), y = td_clone(x);
    td_tensor column = td_select(y, 1, 1), last = td_select(y, 0, 2);
    b = LEAF(10, 20);
    td_fill_(last, 0.0);
    td_add_(last, b);
    EXPECT(column, 2, 4, 20);
    td_backward(td_sum(td_square(column)));
    EXPECT(td_grad(x), 0, 4, 0, 8, 0, 0);
    EXPECT(td_grad(b), 0, 40);

    /* A view of a view, through a transposition. */
    x = grid(1), y = td_clone(x), b = LEAF(1, 1, 1);
    td_add_(td_select(td_transpose(y, 0, 1), 0, 1), b);
    EXPECT(y, 1, 3, 3, 5, 5, 7);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 3, 4, 5, 6);
    EXPECT(td_grad(b), 2, 4, 6);
}

/* What a gradient needs keeps the values it had: PyTorch refuses here, tensord does not need to. */
static void test_overwritten_after_use(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y = td_mul(x, 3), z = td_mul(y, y);
    td_add_(y, 100);
    EXPECT(y, 103, 106);
    td_backward(td_sum(z));
    EXPECT(td_grad(x), 18, 36);
    x = LEAF(0.5, -0.5);
    td_tensor h = td_exp(x), twice = td_mul(h, 2);
    td_fill_(h, 0.0);
    td_backward(td_sum(twice));
    EXPECT(td_grad(x), 2 * exp(0.5), 2 * exp(-0.5));
    /* A loop that fills rows one after the other, each from the one before. */
    td_tensor w = td_from(s, (const double[]){2}, TD_F64, TD_SHAPE(), .requires_grad = true);
    td_tensor rows = td_zeros(s, TD_SHAPE(4), .dtype = TD_F64);
    td_fill_(td_select(rows, 0, 0), 1.0);
    for (int k = 1; k < 4; k++)
        td_add_(td_select(rows, 0, k), td_mul(td_select(rows, 0, k - 1), w));
    EXPECT(rows, 1, 2, 4, 8);
    td_backward(td_sum(rows)); /* 1 + w + w^2 + w^3 */
    EXPECT(td_grad(w), 1 + 2 * 2 + 3 * 4);
}

static void test_failed_operand_is_skipped(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), bad = td_matmul(x, LEAF(1));
    td_backward(td_sum(bad));
    expect_error(TD_E_SHAPE);
    td_backward(td_sum(td_mul(x, 2)));
    EXPECT(td_grad(x), 2, 2); /* nothing of the failed one */
}

/* ---- all of it on one daemon, each test in a session of its own ----
 * No test holds a TD_SCOPE around its assertions: cmocka jumps out of a failed one, past the scope's end. */

static int setup_group(void **state)
{
    (void)state;
    return daemon_start(&daemon_, (const char *const[]){"--memory", "256M", "--log-level", "warn", NULL});
}

static int teardown_group(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static int setup(void **state)
{
    (void)state;
    s = td_open(daemon_.address);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    td_clear_error(s);
    return td_close(s);
}

int main(void)
{
#define AUTOGRAD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        AUTOGRAD(test_known_values),
        AUTOGRAD(test_ties_and_edges),
        AUTOGRAD(test_powers_of_zero),
        AUTOGRAD(test_dropout),
        AUTOGRAD(test_picked_and_joined),
        AUTOGRAD(test_products_and_softmax),
        AUTOGRAD(test_create_graph),
        AUTOGRAD(test_accumulation_and_graphs),
        AUTOGRAD(test_shared_parts),
        AUTOGRAD(test_no_grad_and_detach),
        AUTOGRAD(test_writes_are_refused_to_leaves),
        AUTOGRAD(test_writes_through_views),
        AUTOGRAD(test_products_and_copies_through_views),
        AUTOGRAD(test_views_see_writes),
        AUTOGRAD(test_overwritten_after_use),
        AUTOGRAD(test_failed_operand_is_skipped),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
