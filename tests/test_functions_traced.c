/* End to end: what custom functions are traced into, what they keep, and what they are told when they are wrong.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sessions.h"
#include "tests/square.h"

static void test_a_function_is_called_once_for_each_kind(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *square = square_new(s);
    forwards = backwards = 0;
    for (int k = 1; k <= 3; k++) {
        TD_SCOPE(s);
        td_tensor x = td_full(s, TD_SHAPE(2), k, .dtype = TD_F64, .requires_grad = true);
        td_tensor y = td_apply(square, x);
        assert_true(td_requires_grad(y) && !td_is_leaf(y));
        td_backward(td_sum(y), .create_graph = true);
        assert_values(td_grad(x), 2, (double[]){2 * k, 2 * k});
        td_tensor g = td_grad(x);
        td_tensor z = td_sum(td_mul(g, g)); /* 4 x^2, whose derivative adds 8 x */
        td_backward(z);
        assert_values(td_grad(x), 2, (double[]){10 * k, 10 * k});
    }
    assert_int_equal(forwards, 1);
    assert_int_equal(backwards, 1);
    td_tensor plain = td_apply(square, td_full(s, TD_SHAPE(2), 4.0, .dtype = TD_F64));
    assert_false(td_requires_grad(plain));
    assert_values(plain, 2, (double[]){16, 16});
    assert_int_equal(forwards, 2); /* needs no gradient: another kind */
    assert_int_equal(backwards, 1);
    char *text = td_text(td_apply(square, td_full(s, TD_SHAPE(1), 4.0, .requires_grad = true)));
    assert_string_equal(text, "tensor([16.], grad_fn=<square>)");
    free(text);
    td_function_free(square);
    close_session(s);
}

struct scaling {
    double factor;
};

/* y = factor * a + b, and which elements of a are above 0. */
static void scale_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    const struct scaling *scaling = td_attributes(ctx);
    out[0] = td_add(td_mul(in[0], scaling->factor), in[1]);
    out[1] = td_gt(in[0], 0.0);
    out[2] = td_to(out[1], td_dtype_of(in[0]));
    td_mark_non_differentiable(ctx, out[2]);
}

static void scale_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    const struct scaling *scaling = td_attributes(ctx);
    if (td_needs_input_grad(ctx, 0))
        grad_in[0] = td_mul(grad_out[0], scaling->factor);
    if (td_needs_input_grad(ctx, 1))
        grad_in[1] = td_clone(grad_out[0]);
}

static void test_several_inputs_outputs_and_attributes(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *scale = td_function_new(s, "scale", .inputs = 2, .outputs = 3, .forward = scale_forward,
                                         .backward = scale_backward, .attributes = sizeof(struct scaling));
    td_tensor a = td_from(s, ((const float[]){-1, 2}), TD_F32, TD_SHAPE(2), .requires_grad = true), out[3];
    td_tensor b = td_ones(s, TD_SHAPE(2));
    const double factors[] = {3, 5, 3};
    for (int k = 0; k < 3; k++) {
        td_apply_to(scale, TD_LIST(a, b), out, .attributes = &(struct scaling){factors[k]});
        assert_values(out[0], 2, (double[]){1 - factors[k], 1 + 2 * factors[k]});
        assert_values(out[1], 2, (double[]){0, 1});
        assert_true(td_requires_grad(out[0]));
        assert_false(td_requires_grad(out[1]) || td_requires_grad(out[2]));
        td_backward(td_sum(td_add(out[0], out[2])));
    }
    assert_values(td_grad(a), 2, (double[]){11, 11});
    td_set_requires_grad(b, true);
    td_apply_to(scale, TD_LIST(a, b), out, .attributes = &(struct scaling){2});
    td_backward(td_sum(out[0]));
    assert_values(td_grad(b), 2, (double[]){1, 1});
    td_apply_to(scale, TD_LIST(a, b), out);
    assert_error(s, TD_E_ARGUMENT, "scale: no .attributes were given");
    td_apply_to(scale, TD_LIST(a), out, .attributes = &(struct scaling){2});
    assert_error(s, TD_E_ARGUMENT, "scale: 1 inputs where .inputs is 2");
    td_function_free(scale);
    td_apply_to(scale, TD_LIST(a, b), out, .attributes = &(struct scaling){2});
    assert_error(s, TD_E_HANDLE, "scale: is applied after td_function_free");
    close_session(s);
}

static void inside_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_tensor p = td_sigmoid(in[0]);
    td_save_for_backward(ctx, p);
    out[0] = td_mul(p, 1.0);
}

static void inside_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor p = td_saved(ctx, 0);
    grad_in[0] = td_mul(grad_out[0], td_mul(p, td_rsub(p, 1.0)));
}

static void test_second_derivatives_that_are_not_known(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *inside =
        td_function_new(s, "inside", .inputs = 1, .outputs = 1, .forward = inside_forward, .backward = inside_backward);
    td_function *once = td_function_new(s, "once", .inputs = 1, .outputs = 1, .forward = square_forward,
                                        .backward = square_backward, .once_differentiable = true);
    td_function *const functions[] = {inside, once};
    const char *const parts[] = {"backward: the function inside saved a value that is neither an input nor an output",
                                 "backward: the function once is marked as once differentiable"};
    for (int k = 0; k < 2; k++) {
        td_tensor x = td_full(s, TD_SHAPE(1), 0.5, .dtype = TD_F64, .requires_grad = true);
        td_tensor y = td_apply(functions[k], x);
        td_backward(td_sum(y), .create_graph = true);
        td_tensor g = td_grad(x);
        assert_true(isfinite(td_item(g))); /* the first is fine */
        td_backward(td_sum(g));
        assert_error(s, TD_E_GRAD, parts[k]);
    }
    td_function_free(inside);
    td_function_free(once);
    close_session(s);
}

static void nothing_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx, (void)grad_out, (void)grad_in;
}

static void wide_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_cat(TD_LIST(grad_out[0], grad_out[0]));
}

static void reading_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_mul(in[0], td_item(td_sum(in[0])));
}

static void empty_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx, (void)in, (void)out;
}

static void test_functions_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        td_function_forward *forward;
        td_function_backward *backward;
        int code;
        const char *part;
    } cases[] = {
        {square_forward, nothing_backward, TD_E_GRAD, "wrong: backward gave no gradient for input 0"},
        {square_forward, wide_backward, TD_E_SHAPE,
         "wrong: backward gave f32 (4) as the gradient of input 0, which is f32 (2)"},
        {square_forward, NULL, TD_E_GRAD, "wrong: has no .backward"},
        {reading_forward, square_backward, TD_E_ARGUMENT, "read: reads inside of what is recorded"},
        {empty_forward, square_backward, TD_E_HANDLE, "wrong: gave no output 0"},
        {NULL, square_backward, TD_E_ARGUMENT, "wrong: no .forward was given"},
    };
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        td_function *f = td_function_new(s, "wrong", .inputs = 1, .outputs = 1, .forward = cases[k].forward,
                                         .backward = cases[k].backward);
        td_tensor y = td_apply(f, x);
        assert_error(s, cases[k].code, cases[k].part);
        assert_false(td_ok(y));
        td_function_free(f);
    }
    assert_values(td_mul(x, 2.0), 2, (double[]){2, 2}); /* the session goes on */
    close_session(s);
}

static void test_functions_inside_programs_and_functions(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *square = square_new(s);
    td_tensor w = td_full(s, TD_SHAPE(1), 3.0, .requires_grad = true), x = td_ones(s, TD_SHAPE(1)), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_apply(square, td_mul(w, x)); /* traced while the program is recorded */
    td_backward(td_sum(y));
    td_record_end(p, TD_LIST(y));
    assert_values(td_grad(w), 1, (double[]){6});
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(1), 2.0)), out);
    assert_values(out[0], 1, (double[]){36});
    assert_values(td_grad(w), 1, (double[]){30});
    td_function_free(square); /* the program keeps its traces */
    td_run(p, TD_LIST(x), out);
    assert_values(td_grad(w), 1, (double[]){36});
    td_program_free(p);
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_function_is_called_once_for_each_kind),
        cmocka_unit_test(test_several_inputs_outputs_and_attributes),
        cmocka_unit_test(test_second_derivatives_that_are_not_known),
        cmocka_unit_test(test_functions_that_are_wrong),
        cmocka_unit_test(test_functions_inside_programs_and_functions),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
