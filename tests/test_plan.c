/* End to end: what the plan of a recorded program leaves out, what it must not, and the memory that it saves. The limit
 * on the daemon's memory is what shows the last. SPDX-License-Identifier: Apache-2.0 */
#define DAEMON_ARGUMENTS ((const char *const[]){"--memory", "24M", NULL})
#include "tests/sessions.h"

static void assert_left_out(td_program *p, int count)
{
    char *json = td_program_json(p), part[32];
    assert_non_null(json);
    snprintf(part, sizeof part, "\"left_out\": %d,", count);
    if (!strstr(json, part))
        fail_msg("%d requests left out? %s", count, json);
    free(json);
}

static void assert_item(td_tensor x, double expected)
{
    double found = td_item(x);
    if (found != expected)
        fail_msg("%.17g, not %.17g", found, expected);
}

/* ---- what is left out ---- */

static void test_what_nobody_reads_is_left_out(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2, 2)), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_mul(x, 3.0);
    td_tensor unread = td_add(td_exp(y), td_ones(s, TD_SHAPE(2)));
    td_t(unread);
    td_record_end(p, TD_LIST(td_sum(y)));
    assert_true(td_item(td_sum(unread)) > 84); /* the recording itself left out nothing */
    char *text = td_program_text(p);
    assert_non_null(strstr(text, "; 4 requests left out\n"));
    assert_non_null(strstr(text, "  (left out: nobody reads it)\n"));
    free(text);
    assert_left_out(p, 4);
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(2, 2), 2.0)), out);
    assert_item(out[0], 24);
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(3), 2.0)), out); /* all of it, as recorded, which does not fit */
    assert_error(s, TD_E_SHAPE, "add");
    assert_item(out[0], 18);
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

static void test_a_program_of_nothing_that_is_read(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(3));
    td_program *p = td_record(s, TD_LIST(x));
    td_log(td_mul(x, 3.0));
    td_record_end(p, (td_list){0});
    assert_left_out(p, 2);
    td_run(p, TD_LIST(x), NULL);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

/* ---- what is not ---- */

static void test_what_draws_or_writes_stays(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(4)), total = td_zeros(s, TD_SHAPE(4)), out[1];
    td_tensor w = td_ones(s, TD_SHAPE(4), .requires_grad = true);
    td_program *p = td_record(s, TD_LIST(x));
    td_randn(s, TD_SHAPE(3)); /* nobody reads it, but whoever draws next */
    td_tensor row = td_slice(total, 0, .start = 1, .end = 3);
    td_add_(row, td_slice(x, 0, .start = 1, .end = 3));
    td_backward(td_sum(td_mul(td_mul(w, x), 2.0)));
    td_record_end(p, TD_LIST(td_neg(x)));
    assert_left_out(p, 0);
    td_manual_seed(s, 5);
    td_run(p, TD_LIST(x), out);
    td_tensor after = td_rand(s, TD_SHAPE(1));
    td_manual_seed(s, 5);
    td_randn(s, TD_SHAPE(3));
    assert_item(after, td_item(td_rand(s, TD_SHAPE(1))));
    assert_item(td_sum(total), 4);
    assert_item(td_sum(td_grad(w)), 16);
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

static void test_what_may_fail_stays(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor index = td_zeros(s, TD_SHAPE(1), .dtype = TD_I64), table = td_ones(s, TD_SHAPE(3)), out[1];
    td_program *p = td_record(s, TD_LIST(index));
    td_index_select(table, 0, index);
    td_floor_divide(td_ones(s, TD_SHAPE(1), .dtype = TD_I64), td_sub(index, 1));
    td_record_end(p, TD_LIST(td_add(index, 1)));
    assert_left_out(p, 0);
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(1), 3)), out);
    assert_error(s, TD_E_INDEX, "index_select");
    assert_item(out[0], 4);
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(1), 1)), out);
    assert_error(s, TD_E_ARGUMENT, "divided by 0");
    assert_item(out[0], 2);
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

static void test_what_failed_fails_again(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor index = td_full(s, TD_SHAPE(1), 7), table = td_ones(s, TD_SHAPE(3)), out[1];
    td_program *p = td_record(s, TD_LIST(index));
    td_neg(td_index_select(table, 0, index));
    td_record_end(p, TD_LIST(td_add(index, 1)));
    assert_error(s, TD_E_INDEX, "index_select");
    td_run(p, TD_LIST(index), out);
    assert_error(s, TD_E_INDEX, "index_select");
    assert_item(out[0], 8);
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

static void test_anomalies_count_where_nobody_reads(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2)), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_log(x);
    td_record_end(p, TD_LIST(td_neg(x)));
    assert_left_out(p, 1);
    td_tensor negative = td_full(s, TD_SHAPE(2), -1.0);
    td_run(p, TD_LIST(negative), out);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    {
        TD_DETECT_ANOMALY(s);
        td_run(p, TD_LIST(negative), out);
    }
    assert_error(s, TD_E_NAN, "log");
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

/* ---- handles that are used again ---- */

static td_tensor knot(td_session *s, td_tensor x, td_tensor w, td_optimizer *optimizer)
{
    td_tensor y = td_mul(x, 1.0);
    for (int i = 0; i < 5; i++) {
        TD_SCOPE(s);
        td_tensor a = td_add(y, w), b = td_mul(a, a), unread = td_sin(b);
        td_tensor kept = td_mul(td_take(b), 0.125);
        td_tensor next = td_add(kept, td_take(a));
        td_add(unread, 1.0);
        td_copy_(y, td_detach(next));
    }
    td_zero_grad(optimizer);
    td_tensor loss = td_sum(td_mul(td_mul(y, w), w));
    td_backward(loss);
    td_tensor g = td_grad(w);
    g = td_add(g, td_grad(w));
    return td_cat(TD_LIST(g, y, td_grad(w)));
}

static void test_handles_that_are_used_again(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_randn(s, TD_SHAPE(3)), w = td_set_requires_grad(td_randn(s, TD_SHAPE(3)), true), out[1];
    td_optimizer *optimizer = td_sgd(s, TD_LIST(w), .lr = 0.1);
    double eager[9], replayed[9];
    assert_int_equal(td_read(knot(s, x, w, optimizer), eager, TD_F64, 9), 9);
    td_tensor one = td_clone(x);
    td_program *p = td_record(s, TD_LIST(one));
    td_tensor result = knot(s, one, w, optimizer);
    td_take(result);
    td_record_end(p, TD_LIST(result));
    assert_left_out(p, 10);
    for (int run = 0; run < 3; run++) {
        td_run(p, TD_LIST(x), out);
        assert_int_equal(td_read(out[0], replayed, TD_F64, 9), 9);
        for (int k = 0; k < 9; k++)
            assert_true(replayed[k] == eager[k]);
        td_release(out[0]);
    }
    td_optimizer_free(optimizer);
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

static void test_an_input_that_the_recording_consumed(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_full(s, TD_SHAPE(2), 3.0), given = td_full(s, TD_SHAPE(2), 5.0), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_exp(td_take(x)); /* left out, but for that x ends: what comes next may have its handle */
    td_tensor y = td_ones(s, TD_SHAPE(2)), z = td_add(y, 1.0);
    td_record_end(p, TD_LIST(z));
    for (int run = 0; run < 3; run++) {
        td_run(p, TD_LIST(given), out);
        assert_item(td_sum(out[0]), 4);
    }
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

/* ---- memory ---- */

enum { MIB = 1 << 18 /* f32 */, LINKS = 64 };

static void chain_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    td_tensor y = in[0];
    for (int i = 0; i < LINKS; i++)
        y = td_add(y, 1.0); /* each has a name until the end */
    out[0] = y;
}

static void test_values_end_at_their_last_use(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *chain = td_function_new(s, "chain", .inputs = 1, .outputs = 1, .forward = chain_forward);
    td_tensor y = td_apply(chain, td_zeros(s, TD_SHAPE(MIB)));
    assert_item(td_max(y), LINKS);
    td_function_free(chain);
    assert_fine(s);
    close_session(s);
}

static void idle_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    td_clone(td_expand(in[0], TD_SHAPE(LINKS * MIB))); /* larger than the daemon's memory */
    out[0] = in[0];
}

static void test_what_is_left_out_needs_no_memory(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *idle = td_function_new(s, "idle", .inputs = 1, .outputs = 1, .forward = idle_forward);
    assert_item(td_apply(idle, td_ones(s, TD_SHAPE(1))), 1);
    td_function_free(idle);
    assert_fine(s);
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_nobody_reads_is_left_out),
        cmocka_unit_test(test_a_program_of_nothing_that_is_read),
        cmocka_unit_test(test_what_draws_or_writes_stays),
        cmocka_unit_test(test_what_may_fail_stays),
        cmocka_unit_test(test_what_failed_fails_again),
        cmocka_unit_test(test_anomalies_count_where_nobody_reads),
        cmocka_unit_test(test_handles_that_are_used_again),
        cmocka_unit_test(test_an_input_that_the_recording_consumed),
        cmocka_unit_test(test_values_end_at_their_last_use),
        cmocka_unit_test(test_what_is_left_out_needs_no_memory),
    };
    return cmocka_run_group_tests_name("plan", tests, setup, teardown);
}
