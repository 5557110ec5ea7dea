/* End to end: programs, functions and checkpoints as nobody should use them. Each case works or is an error that says
 * what is wrong; the session goes on, and nothing is left of it. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support.h"
#include "client/tensord.h"

static struct test_daemon daemon_;
static uint64_t life; /* of the daemon's worker */
static td_session *s;

static int setup(void **state)
{
    (void)state;
    if (daemon_start(&daemon_, NULL))
        return -1;
    struct raw raw = raw_open(&daemon_);
    life = raw.life;
    raw_close(&raw);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static void begin(void)
{
    s = td_open(daemon_.address);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

static void assert_fine(void)
{
    const td_error_info *info = td_error(s);
    if (info->code)
        fail_msg("%s: %s", info->where, info->message);
}

static void assert_error(int code, const char *part)
{
    const td_error_info *info = td_error(s);
    if (info->code != code || !strstr(info->message, part))
        fail_msg("%d %s: %s (%s)", info->code, info->where, info->message, part);
    td_clear_error(s);
}

static td_tensor leaf(void)
{
    return td_ones(s, TD_SHAPE(2), .requires_grad = true);
}

static void assert_sum(td_tensor x, double expected)
{
    assert_true(td_item(td_sum(x)) == expected);
}

/* The session records for autograd as if nothing had been, in the life of the worker that it began in; then it ends. */
static void finish(void)
{
    struct raw raw = raw_open(&daemon_);
    td_tensor x = leaf();
    td_backward(td_sum(td_mul(x, 2.0)));
    assert_sum(td_grad(x), 4);
    assert_fine();
    assert_int_equal(td_close(s), 0);
    for (int k = 0; k < 1000 && (raw_status(&raw, "sessions") != 1 || raw_status(&raw, "device.used_bytes")); k++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(raw_status(&raw, "device.used_bytes"), 0);
    assert_true(raw.life == life);
    raw_close(&raw);
}

/* ---- nesting ---- */

static void test_a_recording_ends_inside_a_checkpoint(void **state)
{
    (void)state;
    begin();
    td_tensor x = leaf(), y, out;
    td_program *p = td_record(s, TD_LIST(x));
    {
        TD_CHECKPOINT(s);
        y = td_keep(td_mul(x, 2.0));
        td_record_end(p, TD_LIST(y));
        assert_error(TD_E_ARGUMENT, "a TD_CHECKPOINT that was begun inside has not ended");
    }
    assert_error(TD_E_ARGUMENT, "no TD_CHECKPOINT is in work");
    td_run(p, TD_LIST(x), &out);
    assert_true(isnan(td_item(td_sum(out))));
    assert_error(TD_E_ARGUMENT, "a TD_CHECKPOINT that was begun inside has not ended");
    td_program_free(p);
    p = td_record(s, TD_LIST(x));
    {
        TD_CHECKPOINT(s);
        td_program_free(p);
    }
    td_clear_error(s);
    finish();
}

static void test_a_checkpoint_ends_inside_a_recording(void **state)
{
    (void)state;
    begin();
    td_tensor x = leaf(), y, out;
    td_program *p;
    {
        TD_CHECKPOINT(s);
        p = td_record(s, TD_LIST(x));
        y = td_keep(td_mul(x, 2.0));
    }
    td_record_end(p, TD_LIST(y));
    assert_error(TD_E_ARGUMENT, "a recording that was begun inside has not ended");
    td_run(p, TD_LIST(x), &out);
    assert_true(isnan(td_item(td_sum(out))));
    assert_error(TD_E_ARGUMENT, "a recording that was begun inside has not ended");
    td_program_free(p);
    finish();
}

static void test_recordings_that_cross(void **state)
{
    (void)state;
    begin();
    td_tensor x = leaf(), out;
    td_program *p = td_record(s, TD_LIST(x)), *q = td_record(s, TD_LIST(x));
    td_tensor y = td_mul(x, 2.0);
    td_record_end(p, TD_LIST(y));
    assert_error(TD_E_ARGUMENT, "record_end: another program began later and has not ended");
    td_record_end(q, TD_LIST(y));
    td_record_end(p, TD_LIST(y));
    td_run(p, TD_LIST(x), &out);
    assert_sum(out, 4);
    td_program_free(p);
    td_program_free(q);
    p = td_record(s, TD_LIST(x));
    q = td_record(s, TD_LIST(x));
    y = td_mul(x, 3.0);
    td_program_free(p); /* ends with q */
    td_record_end(q, TD_LIST(y));
    td_run(q, TD_LIST(x), &out);
    assert_sum(out, 6);
    td_program_free(q);
    finish();
}

static void test_recordings_that_never_end(void **state)
{
    (void)state;
    begin();
    td_tensor x = leaf();
    td_program *p = td_record(s, TD_LIST(x)), *q = td_record(s, TD_LIST(x));
    td_program_free(p);
    assert_int_equal(td_close(s), 0);
    td_program_free(q);
    begin();
    finish();
}

static void test_scopes_cross_recordings(void **state)
{
    (void)state;
    begin();
    td_guard scope;
    td_tensor x = leaf(), out;
    td_scope_begin(s, &scope);
    td_tensor y = td_mul(x, 2.0);
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor z = td_mul(y, x), kept = td_keep(td_mul(z, 2.0));
    td_guard_end(&scope);
    td_record_end(p, TD_LIST(kept));
    td_run(p, TD_LIST(x), &out);
    assert_sum(out, 8);
    td_program_free(p);
    p = td_record(s, TD_LIST(x));
    td_record_end(p, TD_LIST(z));
    assert_error(TD_E_HANDLE, "record_end: tensor 0 of the list is used after it was released");
    td_program_free(p);
    td_tensor gone = leaf();
    p = td_record(s, TD_LIST(gone));
    y = td_mul(gone, 2.0);
    td_release(gone);
    td_record_end(p, TD_LIST(y));
    td_run(p, TD_LIST(x), &out); /* which the recorded release leaves alone */
    assert_sum(out, 4);
    assert_sum(x, 2);
    td_program_free(p);
    finish();
}

static void *records(void *data)
{
    (void)data;
    td_tensor x = td_ones(s, TD_SHAPE(2)), out;
    td_program *p = td_record(s, TD_LIST(x));
    td_record_end(p, TD_LIST(x));
    td_run(p, TD_LIST(x), &out);
    td_program_free(p);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    begin();
    pthread_t threads[4];
    td_tensor x = leaf(), out;
    td_program *p = td_record(s, TD_LIST(x));
    assert_int_equal(pthread_create(threads, NULL, records, NULL), 0);
    pthread_join(threads[0], NULL);
    assert_error(TD_E_ARGUMENT, "ones: another thread is recording a program in this session");
    td_record_end(p, TD_LIST(td_mul(x, 2.0)));
    td_run(p, TD_LIST(x), &out);
    assert_sum(out, 4);
    td_program_free(p);
    for (int k = 0; k < 4; k++)
        assert_int_equal(pthread_create(&threads[k], NULL, records, NULL), 0);
    for (int k = 0; k < 4; k++)
        pthread_join(threads[k], NULL);
    td_clear_error(s); /* they may have met */
    finish();
}

/* ---- many ---- */

static void test_many_inputs(void **state)
{
    (void)state;
    enum { MANY = 1000, TOO_MANY = 2000 };
    begin();
    td_tensor in[TOO_MANY], out[TOO_MANY];
    for (int k = 0; k < TOO_MANY; k++)
        in[k] = td_full(s, TD_SHAPE(), (double)k);
    td_program *p = td_record(s, TD_LIST_OF(MANY, in));
    td_record_end(p, TD_LIST_OF(MANY, in));
    td_run(p, TD_LIST_OF(MANY, in + 1), out);
    assert_sum(out[MANY - 1], MANY);
    td_program_free(p);
    p = td_record(s, TD_LIST_OF(TOO_MANY, in));
    assert_error(TD_E_LIMIT, "record: 2000 tensors; the limit is 1024");
    td_record_end(p, TD_LIST_OF(1, in));
    td_program_free(p);
    p = td_record(s, TD_LIST_OF(1, in));
    td_record_end(p, TD_LIST_OF(-1, NULL));
    assert_error(TD_E_LIMIT, "record_end: -1 tensors");
    td_program_free(p);
    finish();
}

static void test_many_programs(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    begin();
    td_tensor x = leaf(), out;
    td_program **p = calloc(MANY, sizeof *p);
    for (int k = 0; k < MANY; k++) {
        TD_SCOPE(s);
        p[k] = td_record(s, TD_LIST(x));
        td_record_end(p[k], TD_LIST(td_mul(x, (double)k)));
    }
    for (int k = 0; k < MANY; k += 1111) {
        td_run(p[k], TD_LIST(x), &out);
        assert_sum(out, 2.0 * k);
    }
    for (int k = 0; k < MANY; k++)
        td_program_free(p[k]);
    free(p);
    finish();
}

/* ---- in the C code of functions ---- */

static td_function *function;
static td_program *program;
static td_optimizer *optimizer;
static td_tensor outside;

static void doubled(const td_tensor *in, td_tensor *out)
{
    out[0] = td_mul(in[0], 2.0);
}

#define FORWARD(name, ...)                                                           \
    static void name##_forward(td_context *ctx, const td_tensor *in, td_tensor *out) \
    {                                                                                \
        (void)ctx, (void)in;                                                         \
        __VA_ARGS__                                                                  \
    }
FORWARD(close, assert_int_equal(td_close(s), TD_E_ARGUMENT); doubled(in, out);)
FORWARD(free, td_function_free(function); doubled(in, out);)
FORWARD(record, program = td_record(s, TD_LIST(in[0])); td_program_free(program); doubled(in, out);)
FORWARD(record_end, doubled(in, out); td_record_end(program, TD_LIST(out[0]));)
FORWARD(run, td_run(program, TD_LIST(in[0]), out);)
FORWARD(backward, doubled(in, out); td_backward(td_sum(out[0]));)
FORWARD(backward_outside, doubled(in, out); td_backward(td_sum(outside));)
FORWARD(grad_of, out[0] = td_grad_of(td_sum(td_square(outside)), outside);)
FORWARD(step, td_zero_grad(optimizer); td_step(optimizer); doubled(in, out);)
FORWARD(checkpoint, TD_CHECKPOINT(s); out[0] = td_keep(td_mul(in[0], 2.0));)
FORWARD(release, doubled(in, out); td_release(in[0]);)
FORWARD(release_output, doubled(in, out); td_release(out[0]);)
FORWARD(release_outside, out[0] = td_mul(in[0], td_add(outside, 1.0)); td_release(outside);)
FORWARD(leaf, td_set_requires_grad(in[0], true); doubled(in, out);)
FORWARD(same, out[0] = in[0];)
FORWARD(write, td_mul_(in[0], 2.0); out[0] = in[0];)
FORWARD(save_twice, td_save_for_backward(ctx, in[0], in[0]); out[0] = td_mul(in[0], in[0]);)
FORWARD(twice, doubled(in, out); out[1] = out[0];)
FORWARD(view, out[0] = td_slice(in[0], 0, .end = 1);)

static void double_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_mul(grad_out[0], 2.0);
}

static void same_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = grad_out[0];
}

static void saved_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    grad_in[0] = td_mul(grad_out[0], td_add(td_saved(ctx, 0), td_saved(ctx, 1)));
}

static void twice_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_mul(td_add(grad_out[0], grad_out[1]), 2.0);
}

static void view_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_cat(TD_LIST(grad_out[0], td_zeros_like(grad_out[0])));
}

static td_function *made(td_function_forward *forward, td_function_backward *backward, int outputs)
{
    return function =
               td_function_new(s, "mine", .inputs = 1, .outputs = outputs, .forward = forward, .backward = backward);
}

static void test_what_forward_may_not(void **state)
{
    (void)state;
    static const struct {
        td_function_forward *forward;
        int code;
        const char *part;
    } cases[] = {
        {close_forward, TD_E_ARGUMENT, "close: is inside of the forward or backward of mine"},
        {record_forward, TD_E_ARGUMENT, "record: is inside of a function's forward or backward"},
        {record_end_forward, TD_E_ARGUMENT, "record_end: another program began later and has not ended"},
        {run_forward, TD_E_ARGUMENT, "run: the program is still being recorded"},
        {backward_forward, TD_E_GRAD, "backward: the root was computed from nothing that wants a gradient"},
        {backward_outside_forward, TD_E_GRAD, "backward: the root was computed from nothing that wants a gradient"},
        {grad_of_forward, TD_E_GRAD, "grad_of: the root was computed from nothing that wants a gradient"},
        {release_output_forward, TD_E_HANDLE, "mine: gave no output 0"},
        {leaf_forward, TD_E_GRAD, "input 0 requires a gradient, and did not where the call was recorded"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        begin();
        td_tensor x = td_ones(s, TD_SHAPE(2));
        outside = leaf();
        made(cases[k].forward, double_backward, 1);
        if (cases[k].forward == record_end_forward || cases[k].forward == run_forward)
            program = td_record(s, TD_LIST(x));
        else
            program = NULL;
        td_release(td_apply(function, x));
        assert_error(cases[k].code, cases[k].part);
        td_program_free(program && cases[k].forward != record_forward ? program : NULL);
        td_function_free(function);
        td_clear_error(s);
        finish();
    }
}

static void test_what_forward_may(void **state)
{
    (void)state;
    static const struct {
        td_function_forward *forward;
        td_function_backward *backward;
        int outputs;
        double value, gradient; /* of y, of x; sums */
        bool shared;            /* y shows bytes that x or another output shows */
    } cases[] = {
        {free_forward, double_backward, 1, 4, 4, false},
        {step_forward, double_backward, 1, 4, 4, false},
        {checkpoint_forward, double_backward, 1, 4, 4, false},
        {release_forward, double_backward, 1, 4, 4, false},
        {release_outside_forward, double_backward, 1, 4, 4, false},
        {same_forward, same_backward, 1, 2, 2, true},
        {write_forward, double_backward, 1, 4, 4, true},
        {save_twice_forward, saved_backward, 1, 2, 4, false},
        {twice_forward, twice_backward, 2, 4, 8, true},
        {view_forward, view_backward, 1, 1, 1, true},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        begin();
        td_tensor x = leaf(), y[2];
        outside = td_ones(s, TD_SHAPE(2));
        optimizer = td_sgd(s, TD_LIST(outside));
        made(cases[k].forward, cases[k].backward, cases[k].outputs);
        td_apply_to(function, TD_LIST(x), y);
        assert_sum(y[0], cases[k].value);
        td_tensor sum = td_sum(y[0]);
        td_backward(cases[k].outputs == 2 ? td_add(sum, td_sum(y[1])) : sum);
        assert_sum(td_grad(x), cases[k].gradient);
        assert_fine();
        td_add_(y[0], 1.0); /* a write to what others show would go past their graph */
        if (cases[k].shared)
            assert_error(TD_E_GRAD, "a view that was made under no_grad cannot be written to while recording");
        assert_fine();
        td_function_free(function);
        td_optimizer_free(optimizer);
        finish();
    }
}

static void test_a_program_that_runs_itself_through_a_function(void **state)
{
    (void)state;
    begin();
    td_tensor x = leaf(), out;
    td_program *twice = td_record(s, TD_LIST(x)), *around;
    td_record_end(twice, TD_LIST(td_mul(x, 2.0)));
    made(run_forward, double_backward, 1);
    program = twice;
    around = td_record(s, TD_LIST(x));
    td_tensor y = td_apply(function, x);
    td_program_free(twice); /* what calls it keeps it */
    td_record_end(around, TD_LIST(y));
    td_run(around, TD_LIST(x), &out);
    assert_sum(out, 4);
    td_program_free(around);
    td_function_free(function);
    finish();
}

static void test_the_session_ends_inside(void **state)
{
    (void)state;
    begin();
    td_program *p = td_record(s, TD_LIST(leaf()));
    assert_int_equal(td_close(s), 0);
    td_program_free(p);
    begin();
    {
        TD_CHECKPOINT(s);
        td_mul(leaf(), 2.0);
        assert_int_equal(td_close(s), 0);
    }
    begin();
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_recording_ends_inside_a_checkpoint),
        cmocka_unit_test(test_a_checkpoint_ends_inside_a_recording),
        cmocka_unit_test(test_recordings_that_cross),
        cmocka_unit_test(test_recordings_that_never_end),
        cmocka_unit_test(test_scopes_cross_recordings),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_many_inputs),
        cmocka_unit_test(test_many_programs),
        cmocka_unit_test(test_what_forward_may_not),
        cmocka_unit_test(test_what_forward_may),
        cmocka_unit_test(test_a_program_that_runs_itself_through_a_function),
        cmocka_unit_test(test_the_session_ends_inside),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
