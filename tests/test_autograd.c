/* What autograd promises, by hand through libtensord: accumulation, graphs kept, freed and differentiated again,
 * no_grad, writes in place through views. SPDX-License-Identifier: Apache-2.0 */
#include "tests/by_hand.h"

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
    assert_true(td_requires_grad(td_grad(w)) && !td_is_leaf(td_grad(w)));
    td_tensor length = td_sqrt(td_sum(td_square(td_grad(w))));
    EXPECT(length, 10);
    td_backward(td_add(length, loss));
    EXPECT(td_grad(w), 2 * 3 + 2 * 0.6 + 2 * 3, 2 * 4 + 2 * 0.8 + 2 * 4);
    assert_false(td_requires_grad(td_grad(w)));
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
    {
        TD_NO_GRAD(s);
        TD_ENABLE_GRAD(s);
        EXPECT(td_grad_of(td_sum(td_square(v)), v), 22, 24); /* which adds nothing */
    }
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

/* A view made under no_grad, of what wants a gradient only after it. */
static void test_writes_are_refused_to_no_grad_views(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), base = td_clone(td_detach(x)), v, w;
    {
        TD_NO_GRAD(s);
        v = td_select(base, 0, 0);
        w = td_unsqueeze(v, 0); /* a view of one is one, too */
    }
    td_add_(v, 10);
    EXPECT(base, 11, 2); /* nothing wants a gradient yet */
    td_mul_(base, x);
    td_add_(v, 1);
    expect_error(TD_E_GRAD);
    td_add_(w, 1);
    expect_error(TD_E_GRAD);
    EXPECT(base, 11, 4);
    td_backward(td_sum(base));
    EXPECT(td_grad(x), 11, 2);
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

/* The gradients' own gradients where a write through a view lies between. */
/* as_strided looks at the storage, not at its input: the gradient goes to all that lies in its window. */
static void test_windows_beyond_their_input(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2, 3, 4, 5, 6), seed = td_from(s, ((double[]){1, 2, 3, 4}), TD_F64, TD_SHAPE(4));
    td_tensor part = td_slice(w, 0, .end = 2); /* of a leaf */
    td_backward(td_as_strided(part, TD_SHAPE(4), TD_SHAPE(1), .offset = 1), .seed = seed);
    EXPECT(td_grad(w), 0, 1, 2, 3, 4, 0);
    w = LEAF(1, 2, 3, 4, 5, 6);
    part = td_slice(td_mul(w, 10), 0, .end = 2); /* of what was computed */
    td_backward(td_as_strided(part, TD_SHAPE(2, 2), TD_SHAPE(3, 2), .offset = 0),
                .seed = td_reshape(seed, TD_SHAPE(2, 2)));
    EXPECT(td_grad(w), 10, 0, 20, 30, 0, 40);
    w = LEAF(1, 2, 3, 4, 5, 6);
    part = td_slice(td_reshape(w, TD_SHAPE(2, 3)), 1, .start = 2); /* a view of a view, seen twice */
    td_backward(td_sum(td_square(td_as_strided(part, TD_SHAPE(3, 3), TD_SHAPE(1, 1), .offset = 0))));
    EXPECT(td_grad(w), 2, 2 * 2 * 2, 3 * 3 * 2, 2 * 4 * 2, 5 * 2, 0);
    w = LEAF(1, 2, 3, 4, 5, 6);
    td_tensor y = td_mul(w, 1), v = LEAF(7, 8); /* written to before and after */
    part = td_slice(y, 0, .start = 4);
    td_copy_(part, v);
    td_tensor seen = td_as_strided(part, TD_SHAPE(4), TD_SHAPE(1), .offset = 2);
    td_tensor squares = td_square(seen);
    td_mul_(td_slice(y, 0, .end = 3), 5);
    td_backward(td_add(td_sum(squares), td_sum(seen)));
    EXPECT(td_grad(w), 0, 0, 2 * 3 + 5, 2 * 4 + 1, 0, 0);
    EXPECT(td_grad(v), 15, 17);
    w = LEAF(1, 2, 3); /* twice differentiated */
    td_tensor cube = td_mul(td_square(w), w);
    td_tensor all = td_as_strided(td_slice(cube, 0, .end = 1), TD_SHAPE(3), TD_SHAPE(1));
    td_backward(td_sum(all), .create_graph = true);
    td_tensor first = td_grad(w);
    EXPECT(first, 3, 12, 27);
    td_backward(td_sum(first));
    EXPECT(td_grad(w), 3 + 6, 12 + 12, 27 + 18);
}

static void test_create_graph_through_views(void **state)
{
    (void)state;
    td_tensor x = grid(1), y = td_clone(x), b = LEAF(10, 20);
    td_optimizer *zero = td_sgd(s, TD_LIST(x, b));
    td_mul_(td_select(y, 0, 1), b);
    td_backward(td_sum(td_square(y)), .create_graph = true);
    EXPECT(td_grad(b), 2 * 10 * 9, 2 * 20 * 16);
    td_tensor total = td_add(td_sum(td_grad(x)), td_sum(td_grad(b))); /* 2 x and 2 x b^2, 2 b x^2 */
    td_zero_grad(zero);
    td_backward(total);
    EXPECT(td_grad(x), 2, 2, 2 * 100 + 4 * 10 * 3, 2 * 400 + 4 * 20 * 4, 2, 2);
    EXPECT(td_grad(b), 4 * 3 * 10 + 2 * 9, 4 * 4 * 20 + 2 * 16);
    td_optimizer_free(zero);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BY_HAND(test_create_graph),
        BY_HAND(test_accumulation_and_graphs),
        BY_HAND(test_shared_parts),
        BY_HAND(test_no_grad_and_detach),
        BY_HAND(test_writes_are_refused_to_leaves),
        BY_HAND(test_writes_are_refused_to_no_grad_views),
        BY_HAND(test_writes_through_views),
        BY_HAND(test_products_and_copies_through_views),
        BY_HAND(test_windows_beyond_their_input),
        BY_HAND(test_create_graph_through_views),
        BY_HAND(test_views_see_writes),
        BY_HAND(test_overwritten_after_use),
        BY_HAND(test_failed_operand_is_skipped),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
