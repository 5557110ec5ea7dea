/* Views in place: the tensor becomes the view, under all of its names. What is expected is what PyTorch does.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/by_hand.h"

static void expect_shape(td_tensor x, struct td_dims shape)
{
    assert_int_equal(td_rank(x), shape.count);
    for (int64_t d = 0; d < shape.count; d++)
        assert_int_equal(td_size(x, d), shape.v[d]);
}

static td_tensor counted(struct td_dims shape)
{
    int64_t count = 1;
    for (int64_t d = 0; d < shape.count; d++)
        count *= shape.v[d];
    return td_reshape(td_arange(s, 0, count, .dtype = TD_F64), shape);
}

/* Every name of x, and what was made of it before, see the same bytes. */
static void test_all_names(void **state)
{
    (void)state;
    td_tensor x = counted(TD_SHAPE(1, 3, 2)), also = x, row = td_select(x, 1, 1);
    int64_t held = td_tensor_count(s);
    td_tensor y = td_squeeze_(x);
    assert_int_equal(td_tensor_count(s), held);
    assert_true(y.handle == x.handle && td_same_storage(also, row));
    expect_shape(also, TD_SHAPE(3, 2));
    td_mul_(x, 10);
    EXPECT(row, 20, 30);
    td_fill_(row, 7);
    EXPECT(also, 0, 10, 7, 7, 40, 50);
    td_t_(x);
    EXPECT(also, 0, 7, 40, 10, 7, 50);
    td_transpose_(x, 0, 1);
    td_unsqueeze_(x, -1);
    expect_shape(also, TD_SHAPE(3, 2, 1));
    td_swapaxes_(x, 0, 2);
    expect_shape(also, TD_SHAPE(1, 2, 3));
    td_swapdims_(x, 1, 2);
    expect_shape(also, TD_SHAPE(1, 3, 2));
    td_as_strided_(x, TD_SHAPE(2, 2), TD_SHAPE(1, 2), .offset = 1);
    EXPECT(also, 10, 7, 7, 40);
    assert_int_equal(td_rank(td_squeeze(td_unsqueeze_(td_ones(s, TD_SHAPE(2)), 0))), 1);
    check_healthy("all names");
}

/* What is refused leaves the tensor as it was. */
static void test_refusals(void **state)
{
    (void)state;
    td_tensor x = counted(TD_SHAPE(2, 3));
    td_transpose_(x, 0, 5);
    expect_error(TD_E_INDEX);
    td_t_(td_unsqueeze_(x, 0));
    expect_error(TD_E_SHAPE);
    td_squeeze_(x);
    td_as_strided_(x, TD_SHAPE(7), TD_SHAPE(1));
    assert_non_null(
        strstr(td_error(s)->message, "as_strided_: the window ends at element 7 of a storage of 6 elements"));
    expect_error(TD_E_ARGUMENT);
    td_resize_(x, TD_SHAPE(3, 3));
    assert_non_null(strstr(td_error(s)->message, "resize_: the window ends at element 9 of a storage of 6 elements"));
    expect_error(TD_E_ARGUMENT);
    expect_shape(x, TD_SHAPE(2, 3));
    EXPECT(x, 0, 1, 2, 3, 4, 5);
    td_tensor w = LEAF(1, 2), g;
    td_backward(td_sum(td_square(w)));
    g = td_grad(w);
    td_unsqueeze_(g, 0);
    EXPECT(g, 2, 4);
    td_as_strided_(g, TD_SHAPE(9), TD_SHAPE(1)); /* only the daemon knows the storage: what is asked for fails */
    assert_true(isnan(td_item(td_sum(g))));
    expect_error(TD_E_ARGUMENT);
    EXPECT(td_grad(w), 2, 4);
}

/* By the storage of another there may be room. */
static void test_resize(void **state)
{
    (void)state;
    td_tensor x = counted(TD_SHAPE(2, 3)), part = td_select(x, 0, 0);
    td_resize_(x, TD_SHAPE(2, 2));
    EXPECT(x, 0, 1, 2, 3);
    td_resize_(x, TD_SHAPE(6));
    EXPECT(x, 0, 1, 2, 3, 4, 5);
    td_resize_(part, TD_SHAPE(3, 2));
    EXPECT(part, 0, 1, 2, 3, 4, 5);
    td_tensor turned = td_t(counted(TD_SHAPE(2, 3)));
    td_resize_(turned, TD_SHAPE(3, 2)); /* as it is: its strides stay */
    EXPECT(turned, 0, 3, 1, 4, 2, 5);
    td_resize_as_(turned, td_zeros(s, TD_SHAPE(2, 3)));
    EXPECT(turned, 0, 1, 2, 3, 4, 5);
    td_tensor w = LEAF(1, 2, 3);
    td_resize_(td_mul(w, 2), TD_SHAPE(2));
    expect_error(TD_E_GRAD);
    td_resize_(w, TD_SHAPE(2));
    expect_error(TD_E_GRAD);
}

static void test_gradients(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2, 3, 4, 5, 6), k = counted(TD_SHAPE(2, 3));
    td_tensor x = td_reshape(td_mul(w, 2), TD_SHAPE(3, 2)), before = td_square(x);
    td_t_(x);
    td_backward(td_sum(td_add(td_mul(x, k), td_t(before))));
    EXPECT(td_grad(w), 8, 22, 26, 40, 44, 58);
    w = LEAF(1, 1, 1, 1, 1, 1);
    x = td_mul(w, 1);
    td_as_strided_(x, TD_SHAPE(2, 2), TD_SHAPE(3, 1), .offset = 1);
    td_backward(td_sum(x));
    EXPECT(td_grad(w), 0, 1, 1, 0, 1, 1);
    w = LEAF(1, 2);
    x = td_unsqueeze_(td_mul(w, 3), 0);
    td_tensor y = td_select(x, 0, 0);
    td_mul_(y, w); /* a write through a view of what x has become */
    td_squeeze_(x);
    td_backward(td_sum(x));
    EXPECT(td_grad(w), 6, 12);
    check_healthy("gradients");
}

/* What the walk does again does it, too. */
static void test_in_a_checkpoint(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2, 3, 4, 5, 6), y;
    {
        TD_CHECKPOINT(s);
        td_tensor h = td_reshape(td_mul(w, 2), TD_SHAPE(2, 3));
        td_t_(h);
        td_mul_(td_select(h, 0, 0), 10);
        y = td_keep(td_sum(td_mul(h, td_reshape(w, TD_SHAPE(3, 2)))));
    }
    td_backward(y);
    EXPECT(td_grad(w), 40, 86, 14, 50, 14, 24);
    check_healthy("in a checkpoint");
}

/* A leaf that requires a gradient, and what is a view of one, are not changed. */
static void test_leaves(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2, 3), view = td_unsqueeze(w, 0), x = td_mul(w, 2);
    td_unsqueeze_(w, 0);
    expect_error(TD_E_GRAD);
    td_squeeze_(view);
    expect_error(TD_E_GRAD);
    {
        TD_NO_GRAD(s);
        td_unsqueeze_(x, 0); /* of which the graph would know nothing */
    }
    expect_error(TD_E_GRAD);
    expect_shape(w, TD_SHAPE(3));
    expect_shape(view, TD_SHAPE(1, 3));
    td_backward(td_sum(x));
    EXPECT(td_grad(w), 2, 2, 2);
}

static void test_detach(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2), y = td_mul(w, 2), part = td_slice(y, 0, .end = 1), z = td_mul(y, 3);
    td_detach_(part); /* the graph of y goes on being that of its bytes */
    expect_error(TD_E_GRAD);
    td_detach_(y);
    assert_true(!td_requires_grad(y) && td_is_leaf(y) && td_requires_grad(z));
    td_backward(td_sum(z));
    EXPECT(td_grad(w), 6, 6);
    td_tensor x = td_mul(y, w);
    td_backward(td_sum(x));
    EXPECT(td_grad(w), 8, 10);
    td_detach_(w);
    assert_true(!td_requires_grad(w) && td_is_leaf(w));
    td_set_requires_grad(w, true);
    td_backward(td_sum(td_square(w)));
    EXPECT(td_grad(w), 2, 4);
    td_mul_(td_detach_(td_mul(LEAF(3), 2)), 5);
    check_healthy("detach");
}

/* A name, and a size that only data tell, go on with the tensor; a recorded program cannot do it. */
static void test_what_else(void **state)
{
    (void)state;
    td_tensor x = td_name(counted(TD_SHAPE(2, 3)), "hidden"), many = td_nonzero(td_ones(s, TD_SHAPE(4)));
    td_t_(x);
    td_matmul(x, x);
    assert_non_null(strstr(td_error(s)->message, "hidden"));
    expect_error(TD_E_SHAPE);
    td_t_(many);
    assert_int_equal(td_size(many, 1), 4);
    td_unsqueeze_(many, 0);
    assert_int_equal(td_size(many, 2), 4);
    td_squeeze_(many);
    assert_int_equal(td_rank(many), 1);
    td_program *p = td_record(s, TD_LIST(x));
    td_t_(x);
    expect_error(TD_E_ARGUMENT);
    td_record_end(p, TD_LIST(x));
    td_clear_error(s);
    td_program_free(p);
    expect_shape(x, TD_SHAPE(3, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {BY_HAND(test_all_names), BY_HAND(test_refusals),       BY_HAND(test_resize),
                                       BY_HAND(test_gradients), BY_HAND(test_leaves),         BY_HAND(test_detach),
                                       BY_HAND(test_what_else), BY_HAND(test_in_a_checkpoint)};
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
