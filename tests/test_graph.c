/* The graph: gradients that are asked for by name, from several roots, of what is no leaf; what refuses; and what the
 * graph is told to be. SPDX-License-Identifier: Apache-2.0 */
#include "tests/by_hand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The error that stands has this code and this text in it, and is told of this line. */
static void expect_refusal(int code, const char *part, int line)
{
    const td_error_info *error = td_error(s);
    char where[64];
    snprintf(where, sizeof where, "test_graph.c:%d", line);
    if (error->code != code || !strstr(error->message, part) || !strstr(error->where, where))
        print_error("line %d: %s: %s: %s (%s)\n", line, error->where, td_code_name(error->code), error->message,
                    error->hint);
    assert_int_equal(error->code, code);
    assert_non_null(strstr(error->message, part));
    assert_non_null(strstr(error->where, where));
    assert_true(*error->hint);
    td_clear_error(s);
}
#define REFUSED(code, part, ...)              \
    do {                                      \
        (void)(__VA_ARGS__);                  \
        expect_refusal(code, part, __LINE__); \
    } while (0)

/* A result that is looked at and released. */
#define EXPECT_ONCE(x, ...)         \
    do {                            \
        td_tensor once_ = (x);      \
        EXPECT(once_, __VA_ARGS__); \
        td_release(once_);          \
    } while (0)

/* ---- td_grad_of ---- */

static void test_gradient_by_name(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), w = LEAF(3, 4), y = td_mul(x, w);
    td_tensor g = td_grad_of(td_sum(td_square(y)), x);
    EXPECT(g, 2 * 1 * 9, 2 * 2 * 16);
    assert_false(td_requires_grad(g));
    td_grad(x); /* nothing was added to leaves */
    expect_error(TD_E_GRAD);
    td_grad(w);
    expect_error(TD_E_GRAD);
    /* Of what was computed itself, and of the root itself. */
    y = td_mul(x, w);
    td_tensor loss = td_sum(td_square(y));
    EXPECT(td_grad_of(loss, y, .retain_graph = true), 6, 16);
    EXPECT(td_grad_of(loss, loss), 1);
    td_tensor seed = td_from(s, ((double[]){10, 100}), TD_F64, TD_SHAPE(2));
    EXPECT(td_grad_of(td_mul(x, 3), x, .grad_outputs = seed), 30, 300);
    /* What comes out is nobody's alias. */
    td_tensor own = td_grad_of(td_mul(x, 1), x, .grad_outputs = seed);
    td_fill_(seed, 0.0);
    td_add_(own, 1);
    EXPECT(own, 11, 101);
    td_tensor wide =
        td_grad_of(td_sum(td_mul(td_transpose(td_expand(td_reshape(x, TD_SHAPE(2, 1)), TD_SHAPE(2, 2)), 0, 1), 2)), x);
    EXPECT(wide, 4, 4);
    assert_true(td_is_contiguous(wide));
}

static void test_several_of_several(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), w = LEAF(3, 4), h = td_mul(x, w), a = td_square(h), b = td_exp(td_mul(x, 0));
    td_tensor grads[4], seed = td_from(s, ((double[]){1, 10}), TD_F64, TD_SHAPE(2));
    td_grads_of(TD_LIST(td_sum(a), b), TD_LIST(x, w, h, x), grads, .grad_outputs = TD_LIST((td_tensor){0}, seed));
    EXPECT(grads[0], 18, 64);
    EXPECT(grads[1], 6, 32);
    EXPECT(grads[2], 6, 16);
    EXPECT(grads[3], 18, 64);
    td_fill_(grads[0], 0.0); /* two of one input are not one */
    EXPECT(grads[3], 18, 64);
    /* One root twice: both count. */
    td_tensor y = td_sum(td_square(x));
    td_grads_of(TD_LIST(y, y), TD_LIST(x), grads);
    EXPECT(grads[0], 4, 8);
    /* A root that is on the way to another. */
    h = td_mul(x, 2);
    td_grads_of(TD_LIST(td_sum(td_square(h)), td_sum(h)), TD_LIST(h, x), grads);
    EXPECT(grads[0], 5, 9);
    EXPECT(grads[1], 10, 18);
    /* The calls in the lists were used up. */
    int64_t before = td_tensor_count(s);
    td_grads_of(TD_LIST(td_sum(td_mul(x, 3))), TD_LIST(x), grads);
    EXPECT(grads[0], 3, 3);
    assert_int_equal(td_tensor_count(s), before + 1);
}

/* Only what lies between is walked: the rest can still be walked without having been kept. */
static void test_the_rest_stays(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), w = LEAF(3, 4), v = LEAF(5, 6);
    td_tensor inner = td_mul(x, v), made = td_square(inner), outer = td_mul(made, w), loss = td_sum(td_square(outer));
    EXPECT(td_grad_of(loss, w), 2 * 625 * 3, 2 * 144 * 144 * 4);
    EXPECT(td_grad_of(td_sum(made), x), 2 * 5 * 5, 2 * 12 * 6); /* through made and inner */
    td_grad_of(loss, w);                                        /* that part is gone */
    expect_error(TD_E_GRAD);
}

static void test_higher_orders(void **state)
{
    (void)state;
    td_tensor x = LEAF(0.5, -1.25), y = td_mul(td_sin(x), td_exp(x));
    double at[2] = {0.5, -1.25};
    td_tensor d = y;
    for (int order = 1; order <= 4; order++) {
        d = td_grad_of(td_sum(d), x, .create_graph = true);
        assert_true(td_requires_grad(d));
    }
    for (int k = 0; k < 2; k++)
        at[k] = -4 * exp(at[k]) * sin(at[k]);
    EXPECT(d, at[0], at[1]);
    /* Without create_graph the result is a constant. */
    y = td_pow(x, 3);
    td_tensor g = td_grad_of(td_sum(y), x);
    REFUSED(TD_E_GRAD, "wants a gradient", td_grad_of(td_sum(g), x));
    /* A gradient that does not depend on x is one all the same. */
    g = td_grad_of(td_sum(td_mul(x, 3)), x, .create_graph = true);
    EXPECT(g, 3, 3);
    /* A seed can be differentiated by, too. */
    td_tensor v = LEAF(1, 1);
    g = td_grad_of(td_pow(x, 2), x, .grad_outputs = v, .create_graph = true);
    EXPECT(td_grad_of(td_sum(g), v), 1, -2.5);
    g = td_grad_of(td_mul(x, 1), x, .grad_outputs = v, .create_graph = true);
    EXPECT(td_grad_of(td_sum(td_square(g)), v), 2, 2);
}

static void test_written_in_place(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y = td_mul(x, 2);
    td_mul_(y, x); /* 2 x^2 */
    td_tensor z = td_square(y);
    EXPECT(td_grad_of(td_sum(z), y, .retain_graph = true), 4, 16);
    EXPECT(td_grad_of(td_sum(z), x), 16, 8 * 16);
    y = td_mul(x, 2);
    td_mul_(td_select(y, 0, 1), 5); /* through a view */
    z = td_square(y);
    EXPECT(td_grad_of(td_sum(z), y, .retain_graph = true), 4, 40);
    EXPECT(td_grad_of(td_sum(z), x), 8, 400);
}

static void test_unused(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), w = td_name(LEAF(3, 4, 5), "w"), grads[2];
    REFUSED(TD_E_GRAD, "do not depend on input 0", td_grad_of(td_sum(x), w));
    EXPECT(td_grad_of(td_sum(x), w, .allow_unused = true), 0, 0, 0);
    td_grads_of(TD_LIST(td_sum(x)), TD_LIST(w, x), grads, .allow_unused = true);
    EXPECT(grads[0], 0, 0, 0);
    EXPECT(grads[1], 1, 1);
    td_grads_of(TD_LIST(td_sum(x)), TD_LIST(x, w), grads);
    expect_refusal(TD_E_GRAD, "do not depend on input 1", __LINE__ - 1);
    assert_true(isnan(td_item(td_sum(grads[0])))); /* all or nothing */
    td_clear_error(s);
    td_tensor later = td_mul(x, 2); /* computed after the root */
    REFUSED(TD_E_GRAD, "do not depend", td_grad_of(td_sum(td_mul(x, 3)), later));
    EXPECT(td_grad_of(td_sum(x), x), 1, 1); /* the session is well */
}

static void test_refusals(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y = td_square(x), loss = td_sum(y), grads[2];
    td_tensor plain = td_ones(s, TD_SHAPE(2), .dtype = TD_F64);
    td_release(td_grad_of(loss, x));
    REFUSED(TD_E_GRAD, "walked already", td_grad_of(loss, x));
    y = td_square(x);
    REFUSED(TD_E_GRAD, "needs a gradient to begin with", td_grad_of(y, x));
    REFUSED(TD_E_SHAPE, "was given a gradient of f64 (3)", td_grad_of(y, x, .grad_outputs = LEAF(1, 2, 3)));
    td_tensor narrow = td_ones(s, TD_SHAPE(2));
    REFUSED(TD_E_SHAPE, "was given a gradient of f32 (2)", td_grad_of(y, x, .grad_outputs = narrow));
    REFUSED(TD_E_GRAD, "wants no gradient", td_grad_of(td_sum(y), plain));
    REFUSED(TD_E_GRAD, "wants a gradient", td_grad_of(td_sum(plain), x));
    td_tensor gone = LEAF(1);
    td_release(gone);
    REFUSED(TD_E_HANDLE, "input 0 is used after", td_grad_of(td_sum(y), gone));
    REFUSED(TD_E_HANDLE, "output 0 is used after", td_grad_of(gone, x));
    td_list two = TD_LIST(x, x);
    td_grads_of(TD_LIST(y), TD_LIST(x), grads, .grad_outputs = two);
    expect_refusal(TD_E_ARGUMENT, "2 gradients are given", __LINE__ - 1);
    td_grads_of(TD_LIST(td_sum(y)), TD_LIST_OF(0, &x), grads);
    expect_refusal(TD_E_ARGUMENT, "no inputs", __LINE__ - 1);
    REFUSED(TD_E_GRAD, "leaf that requires a gradient", td_add_(x, 1));
    /* An error value among them is the cause of all. */
    td_tensor bad = td_matmul(x, LEAF(1));
    expect_error(TD_E_SHAPE);
    assert_false(td_ok(td_grad_of(td_sum(bad), x)));
    td_clear_error(s);
    EXPECT(td_grad_of(td_sum(y), x), 2, 4);
}

/* ---- td_backward_all ---- */

static void test_backward_from_several(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), w = LEAF(3, 4), h = td_mul(x, w);
    td_tensor seed = td_from(s, ((double[]){1, 10}), TD_F64, TD_SHAPE(2));
    td_backward_all(TD_LIST(td_sum(td_square(h)), td_mul(x, 5)), .seeds = TD_LIST((td_tensor){0}, seed));
    EXPECT(td_grad(x), 18 + 5, 64 + 50);
    EXPECT(td_grad(w), 6, 32);
    td_backward_all(TD_LIST(td_sum(x), td_sum(w)));
    EXPECT(td_grad(x), 19 + 5, 65 + 50);
    EXPECT(td_grad(w), 7, 33);
    td_tensor loss = td_sum(td_square(w));
    td_backward_all(TD_LIST(loss, loss), .retain_graph = true);
    EXPECT(td_grad(w), 7 + 12, 33 + 16);
    td_backward(loss);
    EXPECT(td_grad(w), 7 + 18, 33 + 24);
    td_backward_all(TD_LIST(loss));
    expect_refusal(TD_E_GRAD, "walked already", __LINE__ - 1);
    EXPECT(td_grad(w), 7 + 18, 33 + 24);
    td_backward_all(TD_LIST(td_sum(x), td_mul(x, 2)));
    expect_refusal(TD_E_GRAD, "needs a gradient", __LINE__ - 1);
    td_tensor v = LEAF(2);
    td_backward_all(TD_LIST(td_sum(td_pow(v, 3))), .create_graph = true);
    assert_true(td_requires_grad(td_grad(v)));
    EXPECT(td_grad_of(td_sum(td_grad(v)), v), 12);
}

/* ---- td_retain_grad ---- */

static void test_retained(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y = td_retain_grad(td_mul(x, 3)), loss = td_sum(td_square(y));
    td_backward(loss, .retain_graph = true);
    EXPECT(td_grad(y), 6, 12);
    EXPECT(td_grad(x), 18, 36);
    td_backward(loss, .retain_graph = true); /* adds up */
    EXPECT(td_grad(y), 12, 24);
    EXPECT(td_grad_of(loss, x), 18, 36); /* asks, and adds nowhere */
    EXPECT(td_grad(y), 12, 24);
    td_tensor plain = td_mul(x, 2);
    td_backward(td_sum(plain));
    REFUSED(TD_E_GRAD, "has no gradient", td_grad(plain));
    assert_true(td_requires_grad(y) && !td_is_leaf(y));
    /* The root itself; twice the same request; a leaf. */
    loss = td_retain_grad(td_retain_grad(td_sum(td_retain_grad(x))));
    td_backward(loss);
    EXPECT(td_grad(loss), 1);
    td_tensor c = td_ones(s, TD_SHAPE(2));
    REFUSED(TD_E_GRAD, "wants no gradient", td_retain_grad(c));
    /* One result of several, and one that comes too late. */
    td_tensor m = td_from(s, ((double[]){3, 1, 2}), TD_F64, TD_SHAPE(3), .requires_grad = true);
    td_indexed best = td_max_dim(td_mul(m, 2), 0);
    td_retain_grad(best.values);
    td_backward(td_mul(best.values, 5));
    EXPECT(td_grad(best.values), 5);
}

static void test_retained_of_the_newest(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y = td_retain_grad(td_mul(x, 1)), old = td_sum(td_mul(y, 7));
    td_mul_(y, 3);
    td_backward(td_sum(td_square(y)), .retain_graph = true);
    EXPECT(td_grad(y), 6, 12);
    EXPECT(td_grad(x), 18, 36);
    td_backward(old); /* of the version before */
    EXPECT(td_grad(y), 6, 12);
    EXPECT(td_grad(x), 25, 43);
    y = td_retain_grad(td_mul(x, 1));
    old = td_sum(td_mul(y, 7));
    td_fill_(td_select(y, 0, 0), 5.0); /* through a view, and not used since */
    td_backward(old, .retain_graph = true);
    REFUSED(TD_E_GRAD, "has no gradient", td_grad(y));
    td_backward(td_sum(td_square(y)));
    EXPECT(td_grad(y), 10, 4);
}

/* All of the device is free again: the only session's tensors are gone, and what led to them. */
static void expect_nothing_left(int line)
{
    struct raw raw = raw_open(&daemon_);
    uint64_t bytes = UINT64_MAX;
    assert_int_equal(td_sync(s), TD_E_OK);
    for (int tries = 0; tries < 200 && bytes; tries++, usleep(5000)) /* dead nodes are freed little by little */
        bytes = raw_status(&raw, "device.used_bytes");
    if (bytes)
        print_error("line %d: %lu bytes are left\n", line, (unsigned long)bytes);
    assert_int_equal(bytes, 0);
    raw_close(&raw);
}

static void make_retained(void)
{
    TD_SCOPE(s);
    td_tensor x = LEAF(1, 2), y = td_retain_grad(td_mul(x, x)), loss = td_sum(td_mul(y, y));
    td_backward(loss, .create_graph = true); /* y's gradient leads to y's own node */
    td_backward(td_sum(td_mul(td_grad(y), y)), .create_graph = true);
    td_retain_grad(td_grad(y));
    td_backward(td_sum(td_square(td_grad(y))), .create_graph = true);
    td_tensor g = td_grad_of(td_sum(td_grad(y)), x, .create_graph = true), all[2];
    td_retain_grad(g);
    td_grads_of(TD_LIST(td_sum(td_square(g)), loss), TD_LIST(g, x), all, .create_graph = true);
    td_backward(td_sum(td_mul(g, all[1])), .create_graph = true);
    td_sync(s);
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    make_retained();
    expect_nothing_left(__LINE__);
    /* A chain of gradients of gradients, let go of at once: nothing goes down it by recursion. */
    {
        TD_SCOPE(s);
        td_tensor x = LEAF(1), y = td_retain_grad(td_mul(x, 1));
        for (int k = 0; k < 300; k++) {
            td_backward(td_sum(td_mul(y, x)), .create_graph = true);
            y = td_retain_grad(td_grad(y));
        }
        assert_int_equal(td_sync(s), TD_E_OK);
    }
    expect_nothing_left(__LINE__);
    /* Walks that fail, at each of their parts. */
    {
        TD_SCOPE(s);
        td_tensor x = LEAF(1, 2), w = LEAF(3), y = td_square(x), grads[2];
        td_grads_of(TD_LIST(td_sum(y)), TD_LIST(x, w), grads, .retain_graph = true);
        td_clear_error(s);
        td_grad_of(td_sum(td_exp(y)), x);
        td_grad_of(td_sum(td_sin(y)), x);
        assert_int_equal(td_error(s)->code, TD_E_GRAD);
        td_clear_error(s);
        td_grad_of(y, y, .grad_outputs = w);
        td_clear_error(s);
    }
    expect_nothing_left(__LINE__);
}

/* ---- what is recorded ---- */

static void test_enable_grad(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y, z;
    {
        TD_NO_GRAD(s);
        {
            TD_ENABLE_GRAD(s);
            TD_SCOPE(s);
            y = td_keep(td_mul(x, 3));
            {
                TD_NO_GRAD(s);
                assert_false(td_requires_grad(td_mul(x, 3)));
            }
            assert_true(td_requires_grad(td_mul(x, 3)));
        }
        z = td_mul(x, 3);
    }
    assert_true(td_requires_grad(y));
    assert_false(td_requires_grad(z));
    EXPECT(td_grad_of(td_sum(y), x), 3, 3);
    REFUSED(TD_E_GRAD, "wants a gradient", td_grad_of(td_sum(z), x));
    {
        TD_ENABLE_GRAD(s);
        EXPECT(td_grad_of(td_sum(td_mul(x, 4)), x), 4, 4);
    }
}

static void test_inference_mode(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), plain = td_mul(td_detach(x), 1), made, view, of_plain;
    {
        TD_INFERENCE_MODE(s);
        made = td_name(td_mul(x, 3), "made");
        view = td_select(made, 0, 0);
        of_plain = td_select(plain, 0, 0);
        td_add_(made, 1); /* all is allowed in here */
        td_add_(plain, 1);
        {
            TD_ENABLE_GRAD(s);
            assert_false(td_requires_grad(td_mul(x, 3)));
        }
    }
    assert_false(td_requires_grad(made));
    EXPECT(made, 4, 7);
    EXPECT(td_mul(made, 2), 8, 14); /* nothing that is recorded */
    REFUSED(TD_E_GRAD, "input 1 was made in inference mode and cannot be recorded; b is made", td_mul(x, made));
    REFUSED(TD_E_GRAD, "was made in inference mode", td_mul(view, x));
    REFUSED(TD_E_GRAD, "cannot be written to", td_add_(made, 1));
    REFUSED(TD_E_GRAD, "cannot be written to", td_add_(td_select(made, 0, 0), 1)); /* a view made later */
    REFUSED(TD_E_GRAD, "was made in inference mode", td_set_requires_grad(made, true));
    td_tensor y = td_square(x);
    REFUSED(TD_E_GRAD, "made in inference mode", td_grad_of(y, x, .grad_outputs = made, .create_graph = true));
    EXPECT(td_grad_of(y, x, .grad_outputs = made), 8, 28);
    {
        TD_NO_GRAD(s);
        td_mul(x, made);
        REFUSED(TD_E_GRAD, "cannot be written to", td_add_(made, 1)); /* no_grad is not enough */
    }
    EXPECT(td_grad_of(td_sum(td_mul(x, td_clone(made))), x), 4, 7);
    td_add_(plain, 1); /* which was made outside, and its views */
    EXPECT(td_grad_of(td_sum(td_mul(x, of_plain)), x), 3, 3);
    td_tensor sum = td_mul(made, 1); /* computed outside: free */
    EXPECT(td_grad_of(td_sum(td_mul(x, sum)), x), 4, 7);
}

/* ---- derivatives of functions ---- */

static td_tensor cube_mix(td_tensor x, void *data)
{
    (void)data;
    return td_mul(td_pow(x, 3), td_flip(x, TD_DIMS(0))); /* x0^3 x1, x1^3 x0 */
}

static td_tensor cube_sum(td_tensor x, void *data)
{
    return td_sum(cube_mix(x, data));
}

static td_tensor linear(td_tensor x, void *data)
{
    return td_matmul(*(td_tensor *)data, x);
}

static td_tensor constant(td_tensor x, void *data)
{
    (void)x;
    return td_ones(s, TD_SHAPE(2), .dtype = TD_F64, .requires_grad = data != NULL);
}

static td_tensor itself(td_tensor x, void *data)
{
    (void)data;
    return x;
}

static void test_products(void **state)
{
    (void)state;
    td_tensor x = LEAF(2, 3), v = LEAF(1, 10), y;
    int64_t count = td_tensor_count(s);
    /* J = (3 x0^2 x1, x0^3; x1^3, 3 x1^2 x0) = (36, 8; 27, 54) */
    td_tensor g = td_vjp(cube_mix, x, v, .value = &y);
    EXPECT(g, 36 + 270, 8 + 540);
    EXPECT(y, 24, 54);
    assert_false(td_requires_grad(y) || td_requires_grad(g));
    td_release(y);
    td_release(g);
    EXPECT_ONCE(td_jvp(cube_mix, x, v), 36 + 80, 27 + 540);
    EXPECT_ONCE(td_vjp(cube_sum, x, (td_tensor){0}), 63, 62);
    /* H = (6 x0 x1, 3 x0^2 + 3 x1^2; same, 6 x1 x0) */
    EXPECT_ONCE(td_hvp(cube_sum, x, v), 36 + 390, 39 + 360);
    EXPECT_ONCE(td_jvp(itself, x, v), 1, 10);
    EXPECT_ONCE(td_vjp(itself, x, td_mul(v, 2)), 2, 20);
    EXPECT_ONCE(td_jvp(constant, x, v), 0, 0);
    EXPECT_ONCE(td_vjp(constant, x, v, .data = &count), 0, 0);
    assert_int_equal(td_tensor_count(s), count); /* nothing is left of all that */
    {
        TD_NO_GRAD(s); /* which is the program's, not f's */
        EXPECT_ONCE(td_jvp(cube_mix, x, v), 36 + 80, 27 + 540);
    }
    td_tensor w = td_from(s, ((double[]){1, 2, 3, 4, 5, 6}), TD_F64, TD_SHAPE(3, 2));
    EXPECT_ONCE(td_jvp(linear, x, v, .data = &w), 21, 43, 65);
}

static void test_matrices(void **state)
{
    (void)state;
    td_tensor x = LEAF(2, 3), w = td_from(s, ((double[]){1, 2, 3, 4, 5, 6}), TD_F64, TD_SHAPE(3, 2));
    int64_t count = td_tensor_count(s);
    EXPECT_ONCE(td_jacobian(cube_mix, x), 36, 8, 27, 54);
    EXPECT_ONCE(td_jacobian(linear, x, .data = &w), 1, 2, 3, 4, 5, 6);
    EXPECT_ONCE(td_hessian(cube_sum, x), 36, 39, 39, 36);
    EXPECT_ONCE(td_jacobian(cube_sum, x), 63, 62);
    EXPECT_ONCE(td_jacobian(constant, x), 0, 0, 0, 0);
    EXPECT_ONCE(td_jacobian(itself, td_reshape(x, TD_SHAPE(1, 2))), 1, 0, 0, 1);
    td_tensor j = td_jacobian(itself, td_reshape(x, TD_SHAPE(1, 2)));
    assert_int_equal(td_rank(j), 4);
    assert_int_equal(td_size(j, 3), 2);
    td_release(j);
    j = td_jacobian(itself, td_zeros(s, TD_SHAPE(0, 3), .dtype = TD_F64));
    assert_true(td_rank(j) == 4 && td_size(j, 1) == 3);
    td_release(j);
    /* More rows than a list holds. */
    td_tensor many = td_ones(s, TD_SHAPE(1500)), of_many = td_jacobian(itself, many);
    assert_true(td_item(td_all(td_eq(of_many, td_eye(s, 1500)))) == 1);
    td_release(many);
    td_release(of_many);
    assert_int_equal(td_tensor_count(s), count);
    /* Of the third order: sums of the Hessian, as part of the graph. */
    td_tensor h = td_hessian(cube_sum, x, .create_graph = true);
    EXPECT_ONCE(td_grad_of(td_sum(h), x), 12 * 3 + 12 * 2, 12 * 2 + 12 * 3);
    REFUSED(TD_E_SHAPE, "f gives shape (2) where one element is due", td_hessian(cube_mix, x));
    REFUSED(TD_E_SHAPE, "f gives shape (2)", td_hvp(cube_mix, x, x));
    td_tensor u = LEAF(1, 2, 3);
    REFUSED(TD_E_SHAPE, "was given a gradient of f64 (3)", td_vjp(cube_mix, x, u));
    td_tensor whole = td_arange(s, 0, 3);
    REFUSED(TD_E_DTYPE, "has no gradients", td_jacobian(itself, whole));
    TD_INFERENCE_MODE(s);
    REFUSED(TD_E_GRAD, "inference mode", td_vjp(cube_mix, x, x));
}

/* ---- high orders of composites, against differences ---- */

static td_tensor tanh_mlp(td_tensor x, void *data)
{
    td_tensor *w = data; /* 2 -> 3 -> 1 */
    td_tensor hidden = td_tanh(td_matmul(x, w[0]));
    return td_sum(td_matmul(td_sigmoid(td_mul(hidden, hidden)), w[1]));
}

static td_tensor gradient_of_mlp(td_tensor x, void *data)
{
    return td_vjp(tanh_mlp, x, (td_tensor){0}, .data = data, .create_graph = true);
}

static td_tensor hessian_of_mlp(td_tensor x, void *data)
{
    return td_hessian(tanh_mlp, x, .data = data, .create_graph = true);
}

static td_tensor third_of_mlp(td_tensor x, void *data)
{
    return td_jacobian(hessian_of_mlp, x, .data = data, .create_graph = true);
}

/* The derivative of lower by differences of four points is the next order. */
static void expect_derivative(td_mapping *lower, td_tensor higher, const double *at, int count, void *data)
{
    const double h = 1e-3, weights[4] = {1.0 / 12, -8.0 / 12, 8.0 / 12, -1.0 / 12}, steps[4] = {-2, -1, 1, 2};
    double found[64], near[4][64];
    int64_t elements = td_read(higher, found, TD_F64, 64);
    check_healthy("derivative");
    assert_true(elements > 0 && elements % count == 0);
    for (int k = 0; k < count; k++) {
        for (int p = 0; p < 4; p++) {
            double moved[8];
            memcpy(moved, at, (size_t)count * sizeof *at);
            moved[k] += steps[p] * h;
            td_tensor x = td_from(s, moved, TD_F64, TD_SHAPE(count), .requires_grad = true);
            assert_int_equal(td_read(td_reshape(lower(x, data), TD_SHAPE(-1)), near[p], TD_F64, 64), elements / count);
        }
        for (int64_t row = 0; row < elements / count; row++) {
            double due = 0;
            for (int p = 0; p < 4; p++)
                due += weights[p] * near[p][row] / h;
            if (fabs(found[row * count + k] - due) > 1e-9 * (1 + fabs(due)))
                print_error("row %d by %d: %.17g where differences say %.17g\n", (int)row, k, found[row * count + k],
                            due);
            assert_true(fabs(found[row * count + k] - due) <= 1e-9 * (1 + fabs(due)));
        }
    }
}

static void test_orders_of_a_network(void **state)
{
    (void)state;
    const double at[2] = {0.3, -0.7};
    td_tensor w[2] = {td_from(s, ((double[]){0.5, -1, 0.8, 1.2, 0.4, -0.6}), TD_F64, TD_SHAPE(2, 3)),
                      td_from(s, ((double[]){1.5, -0.5, 2}), TD_F64, TD_SHAPE(3, 1))};
    td_tensor x = td_from(s, at, TD_F64, TD_SHAPE(2), .requires_grad = true);
    expect_derivative(tanh_mlp, gradient_of_mlp(x, w), at, 2, w);
    expect_derivative(gradient_of_mlp, hessian_of_mlp(x, w), at, 2, w);
    expect_derivative(hessian_of_mlp, third_of_mlp(x, w), at, 2, w);
    expect_derivative(third_of_mlp, td_jacobian(third_of_mlp, x, .data = w), at, 2, w);
}

/* tanh, of the first four orders: 1 - t^2, and so on by the chain rule. */
static void test_orders_of_tanh(void **state)
{
    (void)state;
    const double t = tanh(0.4), u = 1 - t * t;
    const double due[4] = {u, -2 * t * u, -2 * u * (1 - 3 * t * t), 8 * t * u * (2 - 3 * t * t)};
    td_tensor x = LEAF(0.4), d = td_tanh(x);
    for (int order = 0; order < 4; order++) {
        d = td_grad_of(d, x, .create_graph = true);
        EXPECT(d, due[order]);
    }
}

/* ---- what the graph is told to be ---- */

static const td_graph_part *part_of(int64_t count, const td_graph_part *parts, const char *name)
{
    for (int64_t k = 0; k < count; k++)
        if (!strcmp(parts[k].name, name))
            return &parts[k];
    print_error("no part %s\n", name);
    assert_true(false);
    return NULL;
}

static void test_graph_info(void **state)
{
    (void)state;
    td_tensor x = td_name(td_ones(s, TD_SHAPE(100), .dtype = TD_F64, .requires_grad = true), "the weights");
    char line[64];
    snprintf(line, sizeof line, "test_graph.c:%d", __LINE__ + 1);
    td_tensor y = td_mul(td_mul(x, x), x);
    td_tensor loss = td_name(td_sum(td_exp(y)), "loss");
    td_graph *graph = td_graph_info(loss);
    assert_non_null(graph);
    assert_int_equal(graph->nodes, 4);
    assert_int_equal(graph->leaves, 1);
    assert_int_equal(graph->op_count, 3);
    assert_int_equal(part_of(graph->op_count, graph->ops, "mul")->nodes, 2);
    const td_graph_part *exp_part = part_of(graph->op_count, graph->ops, "exp");
    assert_true(exp_part->nodes == 1 && exp_part->bytes >= 800); /* its result */
    assert_int_equal(part_of(graph->line_count, graph->lines, line)->nodes, 2);
    /* x, x * x and exp's result: x counts once, though it is kept three times. */
    assert_true(graph->bytes >= 3 * 800 && graph->bytes <= 3 * 1024);
    free(graph);
    char *text = td_graph_text(loss);
    assert_non_null(text);
    const char *due[] = {"graph: 4 ops, 1 leaf, ",
                         "sum \"loss\"",
                         "f64 ()",
                         "of 1",
                         "leaf \"the weights\"",
                         "f64 (100)",
                         "of 3, 4",
                         line,
                         "by op\n",
                         "by line\n"};
    for (size_t k = 0; k < sizeof due / sizeof *due; k++) {
        if (!strstr(text, due[k]))
            print_error("no %s in:\n%s", due[k], text);
        assert_non_null(strstr(text, due[k]));
    }
    assert_null(strstr(text, "walked"));
    free(text);
    td_backward(loss);
    text = td_graph_text(loss, .limit = 2);
    assert_non_null(strstr(text, "graph: 4 ops, 1 leaf, 0 bytes kept"));
    assert_non_null(strstr(text, "walked"));
    assert_non_null(strstr(text, "and 2 ops more"));
    free(text);
    /* Of nothing, and of a failed tensor. */
    graph = td_graph_info(td_ones(s, TD_SHAPE(2)));
    assert_true(graph && graph->nodes == 0 && graph->leaves == 0 && graph->op_count == 0);
    free(graph);
    td_tensor bad = td_matmul(x, LEAF(1));
    assert_null(td_graph_info(bad));
    expect_error(TD_E_SHAPE);
}

static void test_graph_of_many(void **state)
{
    (void)state;
    enum { MANY = 30000 };
    td_tensor x = LEAF(1, 2), y = td_mul(x, 1), leaves[600];
    for (int k = 1; k < MANY; k++)
        y = td_mul(td_take(y), 1);
    td_graph *graph = td_graph_info(y);
    assert_true(graph && graph->nodes == MANY && graph->leaves == 1 && graph->op_count == 1);
    free(graph);
    char *text = td_graph_text(y, .limit = 100000);
    assert_non_null(strstr(text, "and 29488 ops more"));
    assert_non_null(strstr(text, "leaf "));
    free(text);
    for (int k = 0; k < 600; k++)
        leaves[k] = LEAF(1);
    text = td_graph_text(td_cat(TD_LIST_OF(600, leaves)));
    assert_non_null(strstr(text, "graph: 1 op, 600 leaves"));
    assert_non_null(strstr(text, "and 500 leaves more"));
    free(text);
    /* A search for gradients goes over it in pieces, too; to the far end, and to the near one. */
    EXPECT(td_grad_of(td_sum(y), x, .retain_graph = true), 1, 1);
}

/* ---- as no library would ask ---- */

static void raw_list(struct raw *raw, uint32_t count, const int *handles)
{
    raw->at = td_write_array(raw->at, count);
    for (uint32_t k = 0; k < count; k++)
        raw->at = handles[k] < 0 ? td_write_nil(raw->at) : td_write_uint(raw->at, (uint64_t)handles[k]);
}

/* GRADS of root by input into result; a negative handle is nil. */
static void raw_grads(struct raw *raw, int root, int seed, int input, int result, int64_t options)
{
    raw_request(raw, 0, 0, 6, TD_R_GRADS);
    raw_list(raw, 1, &root);
    raw_list(raw, 1, &seed);
    raw_list(raw, 1, &input);
    raw_list(raw, 1, &result);
    raw->at = td_write_int(raw->at, options);
}

static void expect_raw(struct raw *raw, int code, const char *part)
{
    struct raw_error error = raw_barrier(raw, true);
    if (error.code != code || (part && !strstr(error.message, part)))
        print_error("%s: %s\n", td_code_name(error.code), error.message);
    assert_int_equal(error.code, code);
    assert_true(!part || strstr(error.message, part));
}

static void test_bad_requests(void **state)
{
    (void)state;
    struct raw raw = raw_open(&daemon_);
    double value;
    size_t count;
    raw_request(&raw, 2, 0, 5, TD_OP_full); /* 1: a leaf of 3 */
    raw.at = td_write_uint(raw.at, 1);
    raw.at = td_write_real(td_write_array(raw.at, 0), 3);
    raw.at = td_write_uint(raw.at, TD_F64);
    raw_request(&raw, 1, 0, 4, TD_OP_mul); /* 2 = 1 * 1 */
    raw.at = td_write_uint(td_write_uint(td_write_uint(raw.at, 2), 1), 1);
    expect_raw(&raw, TD_E_OK, NULL);
    raw_request(&raw, 0, 0, 1, TD_R_GRADS);
    expect_raw(&raw, TD_E_ARGUMENT, "are due");
    raw_request(&raw, 0, 0, 3, TD_R_GRADS); /* lists that are none */
    raw.at = td_write_bool(td_write_uint(raw.at, 2), true);
    expect_raw(&raw, TD_E_ARGUMENT, "are due");
    raw_request(&raw, 0, 0, 6, TD_R_GRADS); /* no roots */
    for (int k = 0; k < 4; k++)
        raw_list(&raw, 0, NULL);
    raw.at = td_write_uint(raw.at, 0);
    expect_raw(&raw, TD_E_ARGUMENT, "no root");
    raw_grads(&raw, -1, -1, 1, 3, 0);
    expect_raw(&raw, TD_E_HANDLE, NULL);
    assert_int_equal(raw_read(&raw, 3, &value, 1, &count).code, TD_E_HANDLE); /* an error value */
    raw_grads(&raw, 2, -1, 77, 4, 0);
    expect_raw(&raw, TD_E_HANDLE, "no tensor 77");
    raw_grads(&raw, 2, -1, 1, 4, 1 << 20); /* 4 is in use: it keeps what it was */
    expect_raw(&raw, TD_E_ARGUMENT, "options");
    raw_grads(&raw, 2, -1, 1, 5, -1);
    expect_raw(&raw, TD_E_ARGUMENT, "options");
    raw_grads(&raw, 2, -1, 1, 1, 1); /* the result would take the place of the input */
    expect_raw(&raw, TD_E_HANDLE, "in use");
    raw_grads(&raw, 2, -1, 1, (int)TD_HANDLES_MAX, 1);
    expect_raw(&raw, TD_E_ARGUMENT, "no handle below");
    raw_request(&raw, 0, 0, 6, TD_R_GRADS); /* a list too long */
    for (int k = 0; k < 4; k++) {
        raw.at = td_write_array(raw.at, TD_LIST_MAX + 1);
        for (int i = 0; i <= TD_LIST_MAX; i++)
            raw.at = td_write_uint(raw.at, k < 3 ? 2 : 10);
    }
    raw.at = td_write_uint(raw.at, 0);
    expect_raw(&raw, TD_E_LIMIT, "1025");
    raw_grads(&raw, 2, -1, 1, 6, 0); /* all is well after that */
    assert_int_equal(raw_read(&raw, 6, &value, 1, &count).code, TD_E_OK);
    assert_true(count == 1 && value == 6);
    raw_request(&raw, 0, 0, 1, TD_R_RETAIN_GRAD);
    expect_raw(&raw, TD_E_HANDLE, NULL);
    raw_close(&raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BY_HAND(test_gradient_by_name), BY_HAND(test_several_of_several),
        BY_HAND(test_the_rest_stays),   BY_HAND(test_higher_orders),
        BY_HAND(test_written_in_place), BY_HAND(test_unused),
        BY_HAND(test_refusals),         BY_HAND(test_backward_from_several),
        BY_HAND(test_retained),         BY_HAND(test_retained_of_the_newest),
        BY_HAND(test_nothing_is_left),  BY_HAND(test_enable_grad),
        BY_HAND(test_inference_mode),   BY_HAND(test_products),
        BY_HAND(test_matrices),         BY_HAND(test_orders_of_a_network),
        BY_HAND(test_orders_of_tanh),   BY_HAND(test_graph_info),
        BY_HAND(test_graph_of_many),    BY_HAND(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
