/* End to end: gradients by a tensor that was written to through its views, as PyTorch 1.13 gives them.
 * SPDX-License-Identifier: Apache-2.0 */
#define DAEMON_ARGUMENTS ((const char *const[]){"--memory", "40M", NULL}) /* see the test of memory */
#include "tests/sessions.h"

#define FLOATS(...) \
    (const float[]) \
    {               \
        __VA_ARGS__ \
    }
#define EXPECT(tensor, ...) \
    assert_values(tensor, sizeof((double[]){__VA_ARGS__}) / sizeof(double), (double[]){__VA_ARGS__})
#define UNUSED(s, gradient)                                                 \
    do {                                                                    \
        (void)gradient;                                                     \
        assert_error(s, TD_E_GRAD, "the outputs do not depend on input 0"); \
    } while (0)

/* y = 2 x with its first row times b, written through row. */
struct written {
    td_tensor x, y, row, b;
};

static struct written written_new(td_session *s)
{
    struct written t;
    t.x = td_from(s, FLOATS(1, 2, 3, 4), TD_F32, TD_SHAPE(4), .requires_grad = true);
    t.b = td_from(s, FLOATS(5, 7), TD_F32, TD_SHAPE(2), .requires_grad = true);
    t.y = td_clone(td_reshape(td_mul(t.x, 2.0), TD_SHAPE(2, 2)));
    t.row = td_select(t.y, 0, 0);
    td_mul_(t.row, t.b);
    return t;
}

static td_tensor squares(td_tensor x)
{
    return td_sum(td_square(x));
}

static void test_by_the_base_through_the_view_that_was_written(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct written t = written_new(s);
    td_tensor all[4], loss = squares(t.row);
    EXPECT(td_grad_of(loss, t.y, .retain_graph = true), 20, 56, 0, 0);
    td_grads_of(TD_LIST(loss), TD_LIST(t.y, t.row, t.b, t.x), all, .retain_graph = true);
    EXPECT(all[0], 20, 56, 0, 0);
    EXPECT(all[1], 20, 56);
    EXPECT(all[2], 40, 224);
    EXPECT(all[3], 200, 784, 0, 0);
    EXPECT(td_grad_of(loss, t.b, .retain_graph = true), 40, 224); /* past the rest of y */
    EXPECT(td_grad_of(loss, t.x, .retain_graph = true), 200, 784, 0, 0);
    td_backward(squares(t.row));
    EXPECT(td_grad(t.x), 200, 784, 0, 0);
    close_session(s);
}

static void test_by_the_base_through_itself_and_its_views(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct written t = written_new(s);
    EXPECT(td_grad_of(squares(t.y), t.y), 20, 56, 12, 16);
    EXPECT(td_grad_of(td_add(squares(t.row), squares(t.y)), t.y), 40, 112, 12, 16);
    td_tensor cubes = td_sum(td_pow(td_select(t.y, 0, 1), 3.0));
    EXPECT(td_grad_of(td_add(squares(t.row), cubes), t.y), 20, 56, 108, 192);
    EXPECT(td_grad_of(squares(td_select(td_t(t.y), 0, 0)), t.y), 20, 0, 12, 0);
    EXPECT(td_grad_of(t.y, t.y, .grad_outputs = td_ones(s, TD_SHAPE(2, 2))), 1, 1, 1, 1);
    UNUSED(s, td_grad_of(squares(t.y), t.row)); /* which has a part of its own in the graph */
    close_session(s);
}

static void test_views_from_before(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_from(s, FLOATS(1, 2, 3, 4), TD_F32, TD_SHAPE(4), .requires_grad = true);
    td_tensor z = td_clone(td_reshape(td_mul(x, 2.0), TD_SHAPE(2, 2))), row = td_select(z, 0, 0);
    td_tensor other = td_select(z, 0, 1), part = td_slice(z, 1, .end = 1), plain = td_zeros(s, TD_SHAPE(2, 2));
    td_mul_(row, 2.0);
    EXPECT(td_grad_of(squares(other), z), 0, 0, 12, 16);
    UNUSED(s, td_grad_of(squares(row), part)); /* both are views of z, and not of each other */
    td_mul_(z, 3.0);
    EXPECT(td_grad_of(squares(row), z), 24, 48, 0, 0);
    EXPECT(td_grad_of(td_add(squares(row), td_sum(z)), z), 25, 49, 1, 1);
    td_tensor first = td_select(plain, 0, 0), all[2];
    td_add_(first, td_select(td_t(td_reshape(x, TD_SHAPE(2, 2))), 0, 0));
    td_grads_of(TD_LIST(squares(first)), TD_LIST(plain, x), all);
    EXPECT(all[0], 2, 6, 0, 0);
    EXPECT(all[1], 2, 0, 6, 0);
    close_session(s);
}

static void test_an_older_version_is_another_tensor(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct written t = written_new(s);
    td_tensor loss = squares(t.row);
    td_mul_(t.y, 3.0);
    UNUSED(s, td_grad_of(loss, t.y));
    t = written_new(s);
    loss = squares(t.row);
    td_mul_(td_select(t.y, 0, 1), 3.0);
    UNUSED(s, td_grad_of(loss, t.y));
    close_session(s);
}

static void test_second_order(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct written t = written_new(s);
    td_tensor all[3], g = td_grad_of(squares(t.row), t.y, .create_graph = true);
    td_grads_of(TD_LIST(td_sum(g)), TD_LIST(t.y, t.b, t.x), all);
    EXPECT(all[0], 2, 2, 0, 0);
    EXPECT(all[1], 4, 8);
    EXPECT(all[2], 20, 28, 0, 0);
    close_session(s);
}

/* ---- gradients of windows ---- */

/* Fills the rows of y from each other and from x, and reads some of them before and after. */
static td_tensor filled(td_session *s, td_tensor x)
{
    td_tensor y = td_zeros(s, TD_SHAPE(4, 3)), column = td_select(y, 1, 1), early = td_mul(td_select(x, 0, 1), 2.0);
    td_copy_(td_select(y, 0, 0), td_select(x, 0, 2));
    for (int k = 1; k < 4; k++)
        td_copy_(td_select(y, 0, k), td_mul(td_sin(td_select(y, 0, k - 1)), td_select(x, 0, k)));
    td_mul_(td_slice(td_t(y), 1, .start = 1, .step = 2), td_slice(td_t(x), 1, .end = 2));
    td_tensor sum = td_add(td_sum(td_square(td_diagonal(y))), td_sum(td_mul(column, td_select(x, 1, 2))));
    sum = td_add(sum, td_sum(td_mul(td_narrow(x, 1, 1, 2), td_narrow(x, 1, 0, 2)))); /* windows that meet */
    sum = td_add(sum, td_sum(td_unfold(x, 0, 2, 1)));                                /* one that meets itself */
    return td_add(td_add(sum, td_sum(td_tanh(x))), td_sum(early));
}

static void test_windows_have_the_gradients_of_the_whole(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_randn(s, TD_SHAPE(4, 3), .requires_grad = true), turned = td_t(td_randn(s, TD_SHAPE(3, 4)));
    td_set_requires_grad(turned, true);
    td_tensor leaves[] = {x, turned};
    for (int k = 0; k < 2; k++) {
        td_tensor plain = td_grad_of(filled(s, leaves[k]), leaves[k]);
        td_tensor recorded = td_grad_of(filled(s, leaves[k]), leaves[k], .create_graph = true);
        assert_true(td_equal(plain, td_detach(recorded)));
    }
    /* What is given out, kept, or the program's own is nobody's to write into. */
    td_tensor y = td_mul(x, 1.0), seed = td_ones(s, TD_SHAPE(4, 3)), all[3];
    td_retain_grad(y);
    td_fill_(td_select(y, 0, 1), 0.0);
    td_tensor row = td_select(y, 0, 2);
    td_grads_of(TD_LIST(y, td_mul(row, 3.0)), TD_LIST(y, x, row), all,
                .grad_outputs = TD_LIST(seed, td_ones(s, TD_SHAPE(3))), .retain_graph = true);
    EXPECT(all[0], 1, 1, 1, 1, 1, 1, 4, 4, 4, 1, 1, 1);
    EXPECT(all[1], 1, 1, 1, 0, 0, 0, 4, 4, 4, 1, 1, 1);
    EXPECT(all[2], 3, 3, 3);
    assert_true(td_equal(seed, td_ones(s, TD_SHAPE(4, 3))));
    td_backward(y, .seed = seed);
    EXPECT(td_grad(y), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    EXPECT(td_grad(x), 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1);
    assert_true(td_equal(seed, td_ones(s, TD_SHAPE(4, 3))));
    close_session(s);
}

/* Beside a matrix of 16 MB, in 40, there is room for one gradient of it: no row's has zeros of its own around it, nor a
 * copy of all the others. */
static void test_a_row_costs_a_row(void **state)
{
    (void)state;
    enum { ROWS = 4000, COLUMNS = 1024 };
    td_session *s = open_session();
    td_tensor w = td_ones(s, TD_SHAPE(COLUMNS), .requires_grad = true);
    {
        TD_SCOPE(s);
        td_tensor y = td_zeros(s, TD_SHAPE(ROWS, COLUMNS));
        for (int k = 0; k < ROWS; k++)
            td_copy_(td_select(y, 0, k), k ? td_select(y, 0, k - 1) : w);
        td_backward(td_sum(y));
        assert_true(td_item(td_sum(td_grad(w))) == (double)ROWS * COLUMNS);
    }
    {
        TD_SCOPE(s);
        td_tensor x = td_ones(s, TD_SHAPE(ROWS, COLUMNS), .requires_grad = true), h = td_detach(w);
        for (int k = 0; k < ROWS; k++)
            h = td_add(td_take(h), td_select(x, 0, k));
        td_backward(td_sum(h));
        assert_true(td_item(td_sum(td_grad(x))) == (double)ROWS * COLUMNS);
    }
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_the_base_through_the_view_that_was_written),
        cmocka_unit_test(test_by_the_base_through_itself_and_its_views),
        cmocka_unit_test(test_views_from_before),
        cmocka_unit_test(test_an_older_version_is_another_tensor),
        cmocka_unit_test(test_second_order),
        cmocka_unit_test(test_windows_have_the_gradients_of_the_whole),
        cmocka_unit_test(test_a_row_costs_a_row),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
