/* End to end: gradients by a tensor that was written to through its views, as PyTorch 1.13 gives them.
 * SPDX-License-Identifier: Apache-2.0 */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_the_base_through_the_view_that_was_written),
        cmocka_unit_test(test_by_the_base_through_itself_and_its_views),
        cmocka_unit_test(test_views_from_before),
        cmocka_unit_test(test_an_older_version_is_another_tensor),
        cmocka_unit_test(test_second_order),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
