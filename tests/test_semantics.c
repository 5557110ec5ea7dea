/* What holds where a program could be read in two ways, and no other test says it: which rule a view's gradient
 * follows, what writes beside the graph leave alone, operands that meet their target, what a program has frozen and
 * what it finds anew, what draws random numbers, what a scope does not end, which dtype numbers make.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

static void expect_values_in(int line, td_tensor x, int64_t count, const double *due)
{
    double found[16];
    if (td_read(x, found, TD_F64, 16) != count)
        fail_msg("line %d: not %d elements: %s", line, (int)count, td_error(s)->message);
    for (int64_t k = 0; k < count; k++)
        if (found[k] != due[k])
            fail_msg("line %d: element %d is %.17g where %.17g is due", line, (int)k, found[k], due[k]);
}
#define EXPECT(x, ...) expect_values_in(__LINE__, x, sizeof((double[]){__VA_ARGS__}) / 8, (const double[]){__VA_ARGS__})

static td_tensor row(double a, double b, double c, double d)
{
    return td_from(s, ((const double[]){a, b, c, d}), TD_F64, TD_SHAPE(4));
}

static td_tensor leaf(double a, double b, double c, double d)
{
    return td_set_requires_grad(row(a, b, c, d), true);
}

/* How many nodes of this op lead to x. */
static int64_t nodes_of(td_tensor x, const char *op)
{
    int64_t nodes = 0;
    td_graph *graph = td_graph_info(x);
    assert_non_null(graph);
    for (int64_t k = 0; k < graph->op_count; k++)
        nodes += strcmp(graph->ops[k].name, op) ? 0 : graph->ops[k].nodes;
    free(graph);
    return nodes;
}

/* ---- views and writes ---- */

static void a_view_has_its_own_rule_until_a_recorded_write(void **state)
{
    (void)state;
    td_tensor x = leaf(1, 2, 3, 4), y = td_mul(x, 2.0), part = td_slice(y, 0, .start = 1, .end = 3);
    assert_int_equal(nodes_of(part, "slice"), 1);
    {
        TD_NO_GRAD(s);
        td_mul_(y, 5.0);
        td_fill_(td_select(y, 0, 1), 7.0);
    }
    td_add_(td_detach(part), 1.0);
    EXPECT(part, 8, 31); /* bytes change, and no more: */
    assert_int_equal(nodes_of(part, "slice"), 1);
    assert_int_equal(nodes_of(part, "strided_read"), 0);
    EXPECT(td_grad_of(td_sum(td_square(part)), x, .retain_graph = true), 0, 2 * 2 * 8, 2 * 2 * 31, 0);
    td_mul_(y, x); /* recorded: now it is a window of what y has become */
    assert_int_equal(nodes_of(part, "slice"), 0);
    EXPECT(part, 16, 93);
    EXPECT(td_grad_of(td_sum(part), x), 0, 2 * 2 + 8, 2 * 3 + 31, 0);
    y = td_mul(x, 2.0), part = td_slice(y, 0, .start = 1, .end = 3);
    td_mul_(td_select(y, 0, 0), 3.0); /* beside it */
    assert_int_equal(nodes_of(part, "slice"), 0);
    assert_int_equal(nodes_of(part, "strided_read"), 1);
    td_graph *graph = td_graph_info(part);
    for (int64_t k = 0; k < graph->line_count; k++)
        assert_non_null(strstr(graph->lines[k].name, "test_semantics.c:")); /* each node is of a line */
    free(graph);
    EXPECT(td_grad_of(td_sum(part), x), 0, 2, 2, 0);
}

static void operands_that_meet_their_target(void **state)
{
    (void)state;
    td_tensor x = row(1, 2, 3, 4), first = td_slice(x, 0, .end = 3), last = td_slice(x, 0, .start = 1);
    td_add_(first, last);
    expect_error(TD_E_ARGUMENT, "add_: the operand shares part of its memory with the target", __LINE__ - 1);
    td_copy_(last, first);
    expect_error(TD_E_ARGUMENT, "copy_: the operand shares part of its memory", __LINE__ - 1);
    td_mul_(x, td_select(x, 0, 2)); /* one element, which the others would meet as it is, or as it was */
    expect_error(TD_E_ARGUMENT, "mul_: the operand shares part of its memory", __LINE__ - 1);
    td_tensor square = td_reshape(x, TD_SHAPE(2, 2));
    td_add_(square, td_t(square));
    expect_error(TD_E_ARGUMENT, "add_: the operand shares part of its memory", __LINE__ - 1);
    td_add_(td_expand(td_slice(x, 0, .end = 1), TD_SHAPE(4)), 1.0);
    expect_error(TD_E_ARGUMENT, "add_: ", __LINE__ - 1);
    td_fill_(td_unfold(x, 0, 2, 1), 9.0);
    expect_error(TD_E_ARGUMENT, "fill_: ", __LINE__ - 1);
    EXPECT(x, 1, 2, 3, 4); /* none of them wrote */
    td_add_(x, x);         /* just itself */
    td_copy_(td_slice(x, 0, .end = 2), td_slice(x, 0, .start = 2));
    td_mul_(td_slice(x, 0, .step = 2), td_slice(x, 0, .start = 1, .step = 2)); /* between each other's elements */
    td_add_(x, td_clone(td_flip(x, TD_DIMS(0))));
    EXPECT(x, 56, 56, 56, 56);
    td_tensor w = leaf(1, 2, 3, 4), y = td_mul(w, 1.0); /* and where it is recorded */
    td_mul_(td_slice(y, 0, .end = 3), td_slice(y, 0, .start = 1));
    expect_error(TD_E_ARGUMENT, "mul_: the operand shares part", __LINE__ - 1);
    td_mul_(td_slice(y, 0, .end = 2), td_slice(y, 0, .start = 2));
    EXPECT(td_grad_of(td_sum(y), w), 3, 4, 1 + 1, 1 + 2);
}

/* ---- programs ---- */

/* What C computed is as it was when it was recorded; what tensors hold is as it is when it runs. */
static void what_a_program_has_frozen(void **state)
{
    (void)state;
    td_tensor x = leaf(1, 2, 3, 4), scale = td_scalar(s, 10.0), out[3];
    double factor = 3;
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_mul(td_mul(x, factor), scale), constant;
    {
        TD_NO_GRAD(s);
        constant = td_mul(x, factor);
    }
    td_record_end(p, TD_LIST(y, constant));
    factor = 100;
    td_fill_(scale, 20.0);
    td_run(p, TD_LIST(x), out);
    EXPECT(out[0], 60, 120, 180, 240);
    assert_true(td_requires_grad(out[0]) && !td_requires_grad(out[1]));
    {
        TD_NO_GRAD(s); /* where it is run is not where it was recorded */
        td_run(p, TD_LIST(x), out);
    }
    assert_true(td_requires_grad(out[0]));
    EXPECT(td_grad_of(td_sum(out[0]), x), 60, 60, 60, 60);
    td_program_free(p);
}

static td_tensor accumulate(td_tensor w, td_tensor x, td_optimizer *o)
{
    td_backward(td_sum(td_mul(td_square(w), x)));
    td_step(o);
    td_tensor sum = td_sum(td_grad(w));
    td_backward(td_sum(w));
    return sum;
}

/* A program runs as its calls would, whether the leaves that it finds have a gradient, had one when it was recorded, or
 * not. */
static void gradients_that_a_program_finds(void **state)
{
    (void)state;
    td_tensor x = row(1, -1, 0.5, 2), w[2], out[1];
    td_optimizer *o[2];
    for (int k = 0; k < 2; k++) {
        w[k] = leaf(1, 2, 3, 4);
        o[k] = td_adam(s, TD_LIST(w[k]), .lr = 0.125);
    }
    td_program *p = td_record(s, TD_LIST(x)); /* where there is none */
    td_record_end(p, TD_LIST(accumulate(w[1], x, o[1])));
    accumulate(w[0], x, o[0]);
    for (int run = 0; run < 6; run++) {
        TD_SCOPE(s);
        for (int k = 0; k < 2 && run % 3 == 2; k++) /* there is none again */
            td_zero_grad(o[k]);
        td_run(p, TD_LIST(x), out);
        assert_true(td_item(accumulate(w[0], x, o[0])) == td_item(out[0]));
        assert_true(td_equal(w[0], w[1]) && td_equal(td_grad(w[0]), td_grad(w[1])));
    }
    td_program_free(p);
    for (int k = 0; k < 2; k++)
        td_optimizer_free(o[k]);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

/* The library has not seen a gradient come, and asks for it to be dropped all the same. */
static void nothing_is_left_out_by_belief(void **state)
{
    (void)state;
    td_tensor w = leaf(1, 2, 3, 4);
    td_optimizer *o = td_sgd(s, TD_LIST(w), .lr = 1);
    td_program *p = td_record(s, (td_list){0});
    td_backward(td_sum(td_mul(w, 2.0)));
    td_record_end(p, (td_list){0});
    td_zero_grad(o);
    td_grad(w);
    expect_error(TD_E_GRAD, "grad", __LINE__ - 1);
    td_run(p, (td_list){0}, NULL);
    EXPECT(td_grad(w), 2, 2, 2, 2);
    td_zero_grad(o);
    td_zero_grad(o);
    td_step(o); /* which has nothing to step by */
    EXPECT(w, 1, 2, 3, 4);
    td_run(p, (td_list){0}, NULL);
    td_zero_grad(o);
    td_run(p, (td_list){0}, NULL);
    td_step(o);
    EXPECT(w, -1, 0, 1, 2);
    td_program_free(p);
    td_optimizer_free(o);
}

/* ---- random numbers ---- */

/* Draws twice; with something in between, or nothing. */
static void two_draws(double *drawn, bool between)
{
    TD_SCOPE(s);
    td_manual_seed(s, 31);
    td_tensor w = leaf(1, 2, 3, 4), y = td_dropout(w, .p = 0.5), z;
    if (between) {
        td_mul(td_add(w, 1.0), td_arange(s, 0, 4));
        td_backward(td_sum(td_square(y))); /* the mask again */
        {
            TD_CHECKPOINT(s);
            z = td_keep(td_exp(w));
        }
        td_backward(td_sum(z));
        td_item(td_sum(w));
        td_rand(s, TD_SHAPE(1 << 20, 1 << 20)); /* what failed has drawn nothing */
        expect_error(TD_E_MEMORY, "do not fit", __LINE__ - 1);
        assert_false(td_ok(td_dropout(td_matmul(w, td_ones(s, TD_SHAPE(3))), .p = 0.5)));
        td_clear_error(s);
        td_dropout(w, .p = 0.5, .training = false);
    }
    drawn[0] = td_item(td_sum(y));
    drawn[1] = td_item(td_rand(s, TD_SHAPE(), .dtype = TD_F64));
}

static void only_what_draws_moves_the_random_numbers_on(void **state)
{
    (void)state;
    double alone[2], among[2];
    two_draws(alone, false);
    two_draws(among, true);
    assert_memory_equal(alone, among, sizeof alone);
}

/* ---- scopes ---- */

static void a_scope_ends_names_only(void **state)
{
    (void)state;
    td_tensor w = leaf(1, 2, 3, 4), out[1];
    td_optimizer *o;
    td_program *p;
    {
        TD_SCOPE(s);
        td_tensor x = row(1, 1, 1, 1), factor = row(2, 2, 2, 2);
        o = td_sgd(s, TD_LIST(w), .lr = 1, .momentum = 0.5);
        p = td_record(s, TD_LIST(x));
        td_tensor y = td_mul(x, factor);
        td_record_end(p, TD_LIST(y));
        td_backward(td_sum(td_mul(w, factor)));
        td_step(o); /* its momentum is 2 now */
    }
    EXPECT(w, -1, 0, 1, 2);
    EXPECT(td_grad(w), 2, 2, 2, 2);
    td_step(o); /* and 3 now */
    EXPECT(w, -4, -3, -2, -1);
    td_run(p, TD_LIST(w), out);
    EXPECT(out[0], -8, -6, -4, -2);
    td_program_free(p);
    td_optimizer_free(o);
}

/* What fails gives an error value, which all calls take, and never nothing. */
static void no_call_gives_nothing(void **state)
{
    (void)state;
    td_tensor x = leaf(1, 2, 3, 4), gone = row(1, 2, 3, 4), nothing = {0}, all[2];
    td_release(gone);
    td_tensor failed[] = {td_matmul(x, td_ones(s, TD_SHAPE(3))),
                          td_grad(x),
                          td_grad_of(td_sum(x), row(1, 2, 3, 4)),
                          td_add(gone, 1.0),
                          td_add(x, nothing),
                          td_select(x, 0, 4),
                          td_view_dtype(x, TD_F32),
                          td_load_npy(s, "/nowhere.npy"),
                          td_take(gone),
                          td_keep(gone),
                          td_name(gone, "gone")};
    for (size_t k = 0; k < sizeof failed / sizeof *failed; k++)
        if (!failed[k].handle || failed[k].session != s || !isnan(td_item(td_sum(failed[k]))))
            fail_msg("call %d gave nothing, or what is no error value", (int)k);
    td_clear_error(s);
    td_grads_of(TD_LIST(td_sum(x)), TD_LIST(x, gone), all);
    for (int k = 0; k < 2; k++)
        assert_true(all[k].handle && isnan(td_item(td_sum(all[k]))));
    td_clear_error(s);
}

/* ---- what is made of numbers ---- */

static void whole_numbers_make_i64_and_others_f32(void **state)
{
    (void)state;
    assert_int_equal(td_dtype_of(td_arange(s, 0, 4)), TD_I64);
    assert_int_equal(td_dtype_of(td_arange(s, 0, 4, .step = 2)), TD_I64);
    assert_int_equal(td_dtype_of(td_arange(s, 0.0, 4)), TD_F32);
    assert_int_equal(td_dtype_of(td_arange(s, 0, 4.0)), TD_F32);
    assert_int_equal(td_dtype_of(td_arange(s, 0, 4, .step = 0.5)), TD_F32);
    assert_int_equal(td_dtype_of(td_arange(s, 0, 4, .dtype = TD_F64)), TD_F64);
    assert_int_equal(td_dtype_of(td_full(s, TD_SHAPE(2), 7)), TD_I64);
    assert_int_equal(td_dtype_of(td_full(s, TD_SHAPE(2), 7.0)), TD_F32);
    assert_int_equal(td_dtype_of(td_full(s, TD_SHAPE(2), (bool)true)), TD_BOOL);
    assert_int_equal(td_dtype_of(td_full(s, TD_SHAPE(2), 7, .dtype = TD_F16)), TD_F16);
    assert_int_equal(td_dtype_of(td_full_like(td_zeros(s, TD_SHAPE(2)), 7)), TD_F32); /* its model's */
    EXPECT(td_arange(s, 0, 4, .step = 0.5), 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5);
}

int main(void)
{
#define IN_SESSION(test) cmocka_unit_test_setup_teardown(test, open_session, close_session)
    const struct CMUnitTest tests[] = {
        IN_SESSION(a_view_has_its_own_rule_until_a_recorded_write),
        IN_SESSION(operands_that_meet_their_target),
        IN_SESSION(what_a_program_has_frozen),
        IN_SESSION(gradients_that_a_program_finds),
        IN_SESSION(nothing_is_left_out_by_belief),
        IN_SESSION(only_what_draws_moves_the_random_numbers_on),
        IN_SESSION(a_scope_ends_names_only),
        IN_SESSION(no_call_gives_nothing),
        IN_SESSION(whole_numbers_make_i64_and_others_f32),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
