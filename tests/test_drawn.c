/* Laws made of rand and randn: where their numbers lie, their means and spreads, that a seed gives them again, and what
 * is refused. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

#define COUNT 20000

/* Mean and standard deviation to 6 standard errors, all from least to most; x is released. */
static void expect_law(int line, td_tensor x, double least, double most, double mean, double std)
{
    double found = td_item(td_mean(td_to(x, TD_F64))), spread = td_item(td_std(td_to(x, TD_F64)));
    bool inside = td_item(td_min(x)) >= least && td_item(td_max(x)) <= most;
    if (!inside || fabs(found - mean) > 6 * std / sqrt(COUNT) || fabs(spread - std) > 0.05 * std)
        fail_msg("line %d: mean %g, deviation %g, or a number out of range", line, found, spread);
    td_release(x);
}
#define EXPECT_LAW(...) expect_law(__LINE__, __VA_ARGS__)

static void laws(void **state)
{
    (void)state;
    td_manual_seed(s, 7);
    for (int k = 0; k < 2; k++) {
        enum td_dtype dtype = k ? TD_F64 : TD_F32;
        td_tensor x = td_zeros(s, TD_SHAPE(100, 200), .dtype = dtype);
        EXPECT_LAW(td_normal(s, 3, 2, TD_SHAPE(COUNT), .dtype = dtype), -20, 20, 3, 2);
        EXPECT_LAW(td_uniform(s, -1, 5, TD_SHAPE(COUNT), .dtype = dtype), -1, 5, 2, 6 / sqrt(12));
        EXPECT_LAW(td_exponential(s, 4, TD_SHAPE(COUNT), .dtype = dtype), 0, 10, 0.25, 0.25);
        EXPECT_LAW(td_clone(td_normal_(x, -1, 0.5)), -6, 4, -1, 0.5);
        EXPECT_LAW(td_clone(td_uniform_(td_transpose(x, 0, 1), 0, 1)), 0, 1, 0.5, 1 / sqrt(12));
        EXPECT_LAW(td_clone(td_exponential_(x, 1)), 0, 30, 1, 1);
        EXPECT_LAW(td_clone(td_bernoulli_(x, 0.25)), 0, 1, 0.25, sqrt(0.25 * 0.75));
        EXPECT_LAW(td_clone(td_log_normal_(x, 0.5, 0.25)), 0, 10, exp(0.53125), exp(0.53125) * sqrt(exp(0.0625) - 1));
        EXPECT_LAW(td_atan(td_cauchy_(x, 0, 1)), -M_PI / 2, M_PI / 2, 0, M_PI / sqrt(12)); /* a line's angle */
        EXPECT_LAW(td_clone(td_geometric_(x, 0.25)), 1, 100, 4, sqrt(0.75) / 0.25);
        EXPECT_LAW(td_clone(td_random_(x, -2, 3)), -2, 2, 0, sqrt(2));
        EXPECT_LAW(td_bernoulli(td_fill_(x, 0.75)), 0, 1, 0.75, sqrt(0.25 * 0.75));
        EXPECT_LAW(td_clone(td_dropout_(td_fill_(x, 1), .p = 0.5)), 0, 2, 1, 1);
    }
    td_tensor coins = td_bernoulli_(td_zeros(s, TD_SHAPE(50), .dtype = TD_U8), 1);
    assert_true(td_item(td_sum(coins)) == 50);
    td_tensor tries = td_geometric_(td_zeros(s, TD_SHAPE(COUNT), .dtype = TD_I32), 0.5);
    EXPECT_LAW(tries, 1, 40, 2, sqrt(2));
    assert_int_equal(td_sync(s), 0);
}

/* Each number comes as often as its law says, to 6 standard errors. */
static void events(void **state)
{
    (void)state;
    static const double rates[] = {0.25, 3, 9.99, 10, 20, 300};
    static float drawn[COUNT], again[COUNT];
    td_manual_seed(s, 5);
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        double rate = rates[r];
        int seen[1000] = {0};
        td_tensor x = td_poisson(td_full(s, TD_SHAPE(COUNT), rate));
        assert_int_equal(td_read(x, drawn, TD_F32, COUNT), COUNT);
        for (int i = 0; i < COUNT; i++)
            if (drawn[i] >= 0 && drawn[i] < 1000 && drawn[i] == floorf(drawn[i]))
                seen[(int)drawn[i]]++;
        for (int k = 0; k < 1000; k++) {
            double p = exp(k * log(rate) - rate - lgamma(k + 1)), due = COUNT * p;
            if (fabs(seen[k] - due) > 6 * sqrt(due + 1))
                fail_msg("rate %g: %d came %d times where %g is due", rate, k, seen[k], due);
        }
        EXPECT_LAW(x, 0, 1000, rate, sqrt(rate));
    }
    EXPECT_LAW(td_poisson(td_full(s, TD_SHAPE(COUNT), 1e6, .dtype = TD_F64)), 9e5, 11e5, 1e6, 1e3);
    assert_true(td_item(td_sum(td_poisson(td_zeros(s, TD_SHAPE(50))))) == 0);
    td_manual_seed(s, 6);
    td_read(td_poisson(td_full(s, TD_SHAPE(COUNT), 30.0)), drawn, TD_F32, COUNT);
    td_manual_seed(s, 6);
    td_read(td_poisson(td_full(s, TD_SHAPE(COUNT), 30.0)), again, TD_F32, COUNT);
    assert_memory_equal(drawn, again, sizeof drawn);
    td_read(td_poisson(td_full(s, TD_SHAPE(COUNT), 30.0)), again, TD_F32, COUNT);
    assert_memory_not_equal(drawn, again, sizeof drawn);
    assert_int_equal(td_sync(s), 0);
}

static void orders_and_places(void **state)
{
    (void)state;
    td_tensor order = td_randperm(s, 1000), again;
    assert_int_equal(td_dtype_of(order), TD_I64);
    td_tensor sorted = td_sort(order, .dim = 0).values;
    assert_true(td_equal(sorted, td_arange(s, 0, 1000)) && !td_equal(order, sorted));
    assert_int_equal(td_numel(td_randperm(s, 0)), 0);
    td_manual_seed(s, 11);
    order = td_randperm(s, 50);
    td_tensor places = td_multinomial(td_ones(s, TD_SHAPE(2, 9)), 4);
    td_manual_seed(s, 11);
    again = td_randperm(s, 50);
    assert_true(td_equal(order, again));
    assert_true(td_equal(places, td_multinomial(td_ones(s, TD_SHAPE(2, 9)), 4)));
    assert_true(td_equal(td_multinomial(td_from(s, ((float[]){0, 0, 2}), TD_F32, TD_SHAPE(3)), 2, .replacement = true),
                         td_full(s, TD_SHAPE(2), 2)));
    assert_int_equal(td_sync(s), 0);
}

/* Each element has a law of its own, and no gradient comes of it. */
static void means_of_their_own(void **state)
{
    (void)state;
    int64_t held = td_tensor_count(s);
    td_tensor rows = td_reshape(td_arange(s, 0.0, 3.0), TD_SHAPE(3, 1)), one = td_ones(s, TD_SHAPE(COUNT));
    td_set_requires_grad(one, true);
    td_tensor y = td_normal_of(rows, td_mul(one, 0.5));
    assert_false(td_requires_grad(y));
    for (int k = 0; k < 3; k++)
        EXPECT_LAW(td_clone(td_select(y, 0, k)), k - 4, k + 4, k, 0.5);
    td_release(y);
    EXPECT_LAW(td_normal_of(one, 2), -12, 14, 1, 2);
    EXPECT_LAW(td_normal_of(-1.5, td_to(one, TD_F64)), -8, 6, -1.5, 1);
    assert_int_equal(td_dtype_of(td_normal_of(-1.5, td_to(one, TD_F64))), TD_F64);
    td_release(rows);
    td_release(one);
    assert_int_equal(td_tensor_count(s), held);
    td_release(td_normal_of(td_ones(s, TD_SHAPE(2)), td_ones(s, TD_SHAPE(3))));
    expect_error(TD_E_SHAPE, "normal_of: ", __LINE__ - 1);
    td_release(td_normal_of(td_ones(s, TD_SHAPE(2), .dtype = TD_I64), 1));
    expect_error(TD_E_DTYPE, "normal_of: ", __LINE__ - 1);
}

/* What is drawn depends on its mean, or on its ends, as if the numbers behind it were constants. */
static void drawn_with_gradients(void **state)
{
    (void)state;
    int64_t held = td_tensor_count(s);
    td_tensor mean = td_full(s, TD_SHAPE(1), 3.0, .requires_grad = true);
    td_tensor std = td_full(s, TD_SHAPE(COUNT), 0.5, .requires_grad = true);
    td_tensor y = td_rsample_normal(mean, std);
    td_backward(td_sum(y));
    assert_true(td_item(td_grad(mean)) == COUNT);
    td_tensor e = td_div(td_sub(td_detach(y), 3), 0.5);
    assert_true(td_item(td_max(td_abs(td_sub(td_grad(std), e)))) < 1e-5);
    EXPECT_LAW(y, 0, 6, 3, 0.5);
    EXPECT_LAW(e, -6, 6, 0, 1);
    td_tensor low = td_full(s, TD_SHAPE(COUNT), -1.0, .requires_grad = true);
    td_tensor high = td_full(s, TD_SHAPE(), 3.0, .requires_grad = true);
    y = td_rsample_uniform(low, high);
    td_backward(td_sum(y));
    td_tensor u = td_div(td_add(td_detach(y), 1), 4); /* y is low + (high - low) u */
    assert_true(td_item(td_max(td_abs(td_sub(td_rsub(u, 1), td_grad(low))))) < 1e-5);
    assert_true(fabs(td_item(td_grad(high)) - td_item(td_sum(u))) < COUNT * 1e-5);
    EXPECT_LAW(y, -1, 3, 1, 4 / sqrt(12));
    EXPECT_LAW(u, 0, 1, 0.5, 1 / sqrt(12));
    EXPECT_LAW(td_rsample_uniform(low, 2), -1, 2, 0.5, 3 / sqrt(12));
    td_tensor many = td_add(td_zeros(s, TD_SHAPE(COUNT)), td_detach(high));
    EXPECT_LAW(td_rsample_uniform(-2, many), -2, 3, 0.5, 5 / sqrt(12));
    td_release(many);
    td_release(mean);
    td_release(std);
    td_release(low);
    td_release(high);
    assert_int_equal(td_tensor_count(s), held);
}

static void refusals(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(3)), w = td_set_requires_grad(td_ones(s, TD_SHAPE(3)), true);
    td_release(td_normal(s, 0, -1, TD_SHAPE(3)));
    expect_error(TD_E_ARGUMENT, "normal: std is -1", __LINE__ - 1);
    td_uniform_(x, 2, 1);
    expect_error(TD_E_ARGUMENT, "uniform_: from 2 to 1", __LINE__ - 1);
    td_exponential_(x, 0);
    expect_error(TD_E_ARGUMENT, "exponential_: the rate is 0", __LINE__ - 1);
    td_bernoulli_(x, 1.5);
    expect_error(TD_E_ARGUMENT, "bernoulli_: p is 1.5", __LINE__ - 1);
    td_cauchy_(x, 0, 0);
    expect_error(TD_E_ARGUMENT, "cauchy_: sigma is 0", __LINE__ - 1);
    td_cauchy_(td_ones(s, TD_SHAPE(2), .dtype = TD_I64), 0, 1);
    expect_error(TD_E_DTYPE, "cauchy_: a result of f64 does not go into a tensor of i64", __LINE__ - 1);
    td_log_normal_(x, 0, -1);
    expect_error(TD_E_ARGUMENT, "log_normal_: std is -1", __LINE__ - 1);
    td_geometric_(x, 1);
    expect_error(TD_E_ARGUMENT, "geometric_: p is 1", __LINE__ - 1);
    td_random_(x, 3, 3);
    expect_error(TD_E_ARGUMENT, "random_: ", __LINE__ - 1);
    td_normal_(w, 0, 1);
    expect_error(TD_E_GRAD, "normal_", __LINE__ - 1);
    td_uniform_(td_zeros(s, TD_SHAPE(2), .dtype = TD_I64), 0, 1);
    expect_error(TD_E_DTYPE, "uniform_", __LINE__ - 1);
    td_release(td_bernoulli(td_full(s, TD_SHAPE(2), 1.5)));
    expect_error(TD_E_ARGUMENT, "bernoulli: a probability does not lie from 0 to 1", __LINE__ - 1);
    td_release(td_poisson(td_full(s, TD_SHAPE(2), -1.0)));
    expect_error(TD_E_ARGUMENT, "poisson: a rate is negative, infinite or nan", __LINE__ - 1);
    td_release(td_multinomial(td_zeros(s, TD_SHAPE(4)), 1));
    expect_error(TD_E_ARGUMENT, "multinomial: the weights of a row are all 0", __LINE__ - 1);
    td_release(td_multinomial(x, 4));
    expect_error(TD_E_ARGUMENT, "multinomial: 4 different places of 3", __LINE__ - 1);
    assert_true(td_item(td_sum(x)) == 3 && td_item(td_sum(w)) == 3); /* nothing was written */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(laws, open_session, close_session),
        cmocka_unit_test_setup_teardown(events, open_session, close_session),
        cmocka_unit_test_setup_teardown(orders_and_places, open_session, close_session),
        cmocka_unit_test_setup_teardown(means_of_their_own, open_session, close_session),
        cmocka_unit_test_setup_teardown(drawn_with_gradients, open_session, close_session),
        cmocka_unit_test_setup_teardown(refusals, open_session, close_session),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
