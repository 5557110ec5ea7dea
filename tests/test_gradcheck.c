/* td_gradcheck and td_gradgradcheck: right functions pass, wrong ones are told where. SPDX-License-Identifier:
 * Apache-2.0
 */
#include "tests/sessions.h"

/* ---- mappings ---- */

static td_tensor smooth(td_tensor x, void *data)
{
    (void)data;
    return td_mul(td_tanh(x), td_sin(td_sum(x, .dims = TD_DIMS(-1), .keepdim = true)));
}

static td_tensor itself(td_tensor x, void *data)
{
    (void)data;
    return x;
}

static td_tensor turned(td_tensor x, void *data)
{
    (void)data;
    return td_square(td_t(x));
}

static td_tensor random_one(td_tensor x, void *data)
{
    (void)data;
    return td_dropout(x, .p = 0.5);
}

static td_tensor scaled(td_tensor x, void *data)
{
    return td_mul(td_square(x), *(const double *)data);
}

static td_tensor apart(td_tensor x, void *data)
{
    (void)data;
    return td_detach(x);
}

static void test_mappings(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_randn(s, TD_SHAPE(3, 4), .dtype = TD_F64), before = td_clone(x);
    const double factor = 3;
    assert_true(td_gradcheck(smooth, x));
    assert_true(td_gradgradcheck(smooth, x));
    assert_true(td_gradcheck(itself, x));
    assert_true(td_gradcheck(turned, td_t(x)));
    assert_true(td_gradgradcheck(turned, td_t(x)));
    assert_true(td_gradcheck(scaled, x, .data = &factor));
    assert_true(td_gradcheck(smooth, td_zeros(s, TD_SHAPE(0, 4), .dtype = TD_F64)));
    assert_true(td_equal(x, before));
    assert_int_equal(td_error(s)->code, TD_E_OK);
    assert_false(td_gradcheck(random_one, x));
    td_clear_error(s);
    assert_false(td_gradcheck(apart, x));
    assert_error(s, TD_E_GRAD, "gradcheck: no output depends on an input");
    assert_false(td_gradcheck(smooth, td_to(x, TD_F32)));
    assert_error(s, TD_E_DTYPE, "gradcheck: input 0 is f32; differences need f64");
    assert_false(td_gradcheck(smooth, TD_LIST(x, x)));
    assert_error(s, TD_E_ARGUMENT, "gradcheck: 2 inputs for a function of 1");
    assert_int_equal(td_close(s), 0);
}

/* ---- functions ---- */

/* y0 = a b (each element), y1 = sum of a^3. */
static void pair_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, in[0], in[1]);
    out[0] = td_mul(in[0], in[1]);
    out[1] = td_sum(td_mul(in[0], td_square(in[0])));
}

static void pair_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor a = td_saved(ctx, 0), b = td_saved(ctx, 1);
    grad_in[0] = td_add(td_mul(grad_out[0], b), td_mul(td_mul(td_square(a), 3.0), grad_out[1]));
    grad_in[1] = td_mul(grad_out[0], a);
}

/* Wrong in one element of input 1: [1, 2]. */
static void pair_wrong(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    pair_backward(ctx, grad_out, grad_in);
    td_tensor mask = td_zeros(td_context_session(ctx), TD_SHAPE(2, 3), .dtype = TD_F64);
    td_fill_(td_select(td_select(mask, 0, 1), 0, 2), 0.5);
    grad_in[1] = td_add(grad_in[1], mask);
}

/* Right to nine digits, of which the last ones are drawn each time. */
static void unsteady_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    pair_backward(ctx, grad_out, grad_in);
    td_tensor noise = td_rand(td_context_session(ctx), TD_SHAPE(2, 3), .dtype = TD_F64);
    grad_in[0] = td_add(grad_in[0], td_mul(noise, 1e-9));
}

static void test_functions_that_are_random(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor a = td_randn(s, TD_SHAPE(2, 3), .dtype = TD_F64), b = td_randn(s, TD_SHAPE(2, 3), .dtype = TD_F64);
    td_function *unsteady = td_function_new(s, "unsteady", .inputs = 2, .outputs = 2, .forward = pair_forward,
                                            .backward = unsteady_backward);
    td_gradcheck_report report;
    assert_false(td_gradcheck(unsteady, TD_LIST(a, b), .report = &report));
    assert_error(s, TD_E_GRAD, "gradcheck: unsteady gives other gradients the second time: it is random");
    assert_true(!report.passed && !report.deterministic && report.excess <= 1);
    td_function_free(unsteady);
    assert_int_equal(td_close(s), 0);
}

static void test_functions(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor a = td_randn(s, TD_SHAPE(2, 3), .dtype = TD_F64), b = td_randn(s, TD_SHAPE(2, 3), .dtype = TD_F64);
    td_function *right =
        td_function_new(s, "pair", .inputs = 2, .outputs = 2, .forward = pair_forward, .backward = pair_backward);
    td_function *wrong =
        td_function_new(s, "bad_pair", .inputs = 2, .outputs = 2, .forward = pair_forward, .backward = pair_wrong);
    assert_true(td_gradcheck(right, TD_LIST(a, b)));
    assert_true(td_gradgradcheck(right, TD_LIST(a, b)));
    td_gradcheck_report report;
    assert_true(td_gradcheck(right, TD_LIST(a, b), .report = &report));
    assert_true(report.passed && report.deterministic && report.excess < 1);
    assert_false(td_gradcheck(wrong, TD_LIST(a, b), .report = &report));
    assert_error(s, TD_E_GRAD,
                 "gradcheck: d output 0 [0, 0] / d input 1 [1, 2] of bad_pair is 0.5 by backward and 0 by");
    assert_int_equal(report.input, 1);
    assert_int_equal(report.input_element, 5);
    assert_true(report.analytic == 0.5 && report.numeric == 0 && report.absolute_error == 0.5 && !report.passed);
    assert_int_equal(td_size(report.analytic_matrix, 0), 6);
    char *text = td_text(report.numeric_matrix); /* the picture of it */
    assert_non_null(strstr(text, "tensor([["));
    free(text);
    td_function_free(right);
    td_function_free(wrong);
    assert_int_equal(td_close(s), 0);
}

/* A backward that is right, and whose own derivative is not: it keeps what it should not. */
static void cut_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, in[0]);
    out[0] = td_square(in[0]);
}

static void cut_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    grad_in[0] = td_mul(grad_out[0], td_mul(td_detach(td_saved(ctx, 0)), 2.0));
}

/* Where a rule has a place of its own: second derivatives are there, too. */

static td_tensor sinc(td_tensor x, void *data)
{
    (void)data;
    return td_sinc(x);
}

static td_tensor prod(td_tensor x, void *data)
{
    (void)data;
    return td_prod(x);
}

static td_tensor cumprod(td_tensor x, void *data)
{
    (void)data;
    return td_cumprod(x, 0);
}

static td_tensor power(td_tensor x, void *data)
{
    return td_pow(x, *(const double *)data);
}

static td_tensor logcumsumexp(td_tensor x, void *data)
{
    (void)data;
    return td_logcumsumexp(x, 0);
}

static void test_second_order_at_special_places(void **state)
{
    (void)state;
    static const double numbers[] = {2, 3};
    static const struct {
        td_mapping *f;
        double x[4];
        const double *data;
    } cases[] = {
        {sinc, {0, 1e-6, 0.1591, 1}, NULL},
        {sinc, {-1e-3, 0.1592, 2, -0.05}, NULL},
        {prod, {2, 0, 3, -1}, NULL},
        {prod, {2, 0, 3, 0}, NULL},
        {prod, {0, 0, 3, 0}, NULL},
        {cumprod, {2, 0, 3, 4}, NULL},
        {cumprod, {0, 2, 0, 5}, NULL},
        {power, {0, -1, 0, 2}, &numbers[0]},
        {power, {0, -1, 0, 2}, &numbers[1]},
        {logcumsumexp, {-1000, -1001, -999, -1000.5}, NULL},
        {logcumsumexp, {1000, 1001, 999, 1000.5}, NULL},
        {logcumsumexp, {-800, 0.5, 800, 799}, NULL}, /* further apart than exp reaches */
        {logcumsumexp, {700, -700, 0, 701}, NULL},
    };
    td_session *s = open_session();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        td_tensor x = td_from(s, cases[k].x, TD_F64, TD_SHAPE(4));
        assert_true(td_gradcheck(cases[k].f, x, .data = cases[k].data));
        assert_true(td_gradgradcheck(cases[k].f, x, .data = cases[k].data));
    }
    td_tensor x = td_zeros(s, TD_SHAPE(1), .dtype = TD_F64, .requires_grad = true), d = td_sinc(x);
    for (int order = 0; order < 4; order++)
        d = td_grad_of(d, x, .create_graph = true);
    assert_true(fabs(td_item(d) - M_PI * M_PI * M_PI * M_PI / 5) < 1e-12);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    assert_int_equal(td_close(s), 0);
}

static void test_second_order(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_randn(s, TD_SHAPE(4), .dtype = TD_F64);
    td_function *cut =
        td_function_new(s, "cut", .inputs = 1, .outputs = 1, .forward = cut_forward, .backward = cut_backward);
    assert_true(td_gradcheck(cut, x));
    assert_false(td_gradgradcheck(cut, x));
    assert_error(s, TD_E_GRAD, "gradgradcheck: d output 0");
    td_function_free(cut);
    assert_int_equal(td_close(s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_functions_that_are_random),
        cmocka_unit_test(test_second_order),
        cmocka_unit_test(test_second_order_at_special_places),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
