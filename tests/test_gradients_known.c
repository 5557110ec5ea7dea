/* Gradients whose values are known, by hand through libtensord: at ties and edges, of random masks, of what is picked
 * and joined, of mixed types. SPDX-License-Identifier: Apache-2.0 */
#include "tests/by_hand.h"

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
    x = LEAF(NAN), e = LEAF(2);
    td_backward(td_sum(td_pow(x, e)));
    assert_true(isnan(td_item(td_grad(x))) && isnan(td_item(td_grad(e))));
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

/* Each gets its gradient in its own type; integers get none and stand in nobody's way. */
static void test_mixed_types(void **state)
{
    (void)state;
    td_tensor a = LEAF(1, 2), n = td_arange(s, 3, 5);
    td_tensor h = td_from(s, (const float[]){5, 6}, TD_F32, TD_SHAPE(2), .requires_grad = true);
    td_tensor all = td_cat(TD_LIST(n, h, a));
    assert_int_equal(td_dtype_of(all), TD_F64);
    td_backward(td_sum(td_square(all)));
    EXPECT(td_grad(a), 2, 4);
    EXPECT(td_grad(h), 10, 12);
    assert_int_equal(td_dtype_of(td_grad(h)), TD_F32);
    a = LEAF(1, 2);
    td_backward(td_sum(td_pow(n, a)));
    EXPECT(td_grad(a), 3 * log(3), 16 * log(4));
    a = LEAF(3, 1);
    td_backward(td_sum(td_add(td_maximum(a, n), td_matmul(td_to(h, TD_F64), a))));
    EXPECT(td_grad(a), 0.5 + 2 * 5, 2 * 6);
    a = LEAF(1, 2);
    td_tensor base = td_zeros(s, TD_SHAPE(2));
    td_mul_(td_add_(base, 3), a); /* f32 *= f64 */
    td_backward(td_sum(base));
    EXPECT(td_grad(a), 3, 3);
    a = LEAF(1, 2), base = td_zeros(s, TD_SHAPE(2, 2));
    td_copy_(base, a);
    td_backward(td_sum(td_matmul(base, td_to(n, TD_F32))));
    EXPECT(td_grad(a), 2 * 3, 2 * 4);
    a = LEAF(1, 2);
    td_backward(td_sum(td_lerp(a, LEAF(5, 6), 1 / 3.0)));
    EXPECT(td_grad(a), 2 / 3.0, 2 / 3.0); /* not what f32 has of them */
    a = LEAF(1, 2), n = td_from(s, ((int8_t[]){100, -3}), TD_I8, TD_SHAPE(2));
    td_backward(td_sum(td_atan2(n, a)));
    EXPECT(td_grad(a), -100 / 10001.0, 3 / 13.0); /* 100 * 100 is no i8 */
}

/* A quotient may be too small for its type where the gradient is not. */
static void test_small_quotients(void **state)
{
    (void)state;
    td_tensor a = LEAF(1e-200), b = LEAF(1e200);
    td_backward(td_mul(td_sum(td_xlogy(a, b)), 1e300));
    assert_true(fabs(td_item(td_grad(b)) - 1e-100) < 1e-112);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BY_HAND(test_known_values), BY_HAND(test_ties_and_edges),    BY_HAND(test_powers_of_zero),
        BY_HAND(test_dropout),      BY_HAND(test_picked_and_joined), BY_HAND(test_products_and_softmax),
        BY_HAND(test_mixed_types),  BY_HAND(test_small_quotients),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
