/* End to end: hooks on gradients, and TD_DETECT_ANOMALY. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support.h"
#include "client/tensord.h"

static struct test_daemon daemon_;

static int setup(void **state)
{
    (void)state;
    return daemon_start(&daemon_, NULL);
}

static int teardown(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static td_session *open_session(void)
{
    td_session *s = td_open(daemon_.address);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    return s;
}

/* Until the sessions that are open have nothing on the device: the daemon frees graphs a little at a time. */
static void wait_until_empty(uint64_t sessions)
{
    struct raw raw = raw_open(&daemon_);
    for (int k = 0; k < 1000; k++) {
        if (raw_status(&raw, "sessions") == sessions + 1 && raw_status(&raw, "device.used_bytes") == 0) {
            raw_close(&raw);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("%llu bytes are left", (unsigned long long)raw_status(&raw, "device.used_bytes"));
}

static void assert_error_at(td_session *s, int line, int code, const char *part)
{
    const td_error_info *info = td_error(s);
    char where[64];
    snprintf(where, sizeof where, "test_hooks.c:%d", line);
    const char *found = strstr(info->where, "test_hooks.c:");
    if (info->code != code || !strstr(info->message, part) || !found || strcmp(found, where))
        fail_msg("%d %s: %s (%s, %s)", info->code, info->where, info->message, where, part);
    td_clear_error(s);
}

static void assert_values(td_tensor x, int count, const double *expected)
{
    double found[16];
    assert_int_equal(td_read(x, found, TD_F64, 16), count);
    for (int k = 0; k < count; k++)
        if (fabs(found[k] - expected[k]) > 1e-6 * fabs(expected[k]))
            fail_msg("element %d is %g where %g is due", k, found[k], expected[k]);
}

#define ASSERT_VALUES(x, ...) \
    assert_values(x, sizeof((const double[]){__VA_ARGS__}) / sizeof(double), (const double[]){__VA_ARGS__})

static td_tensor leaf(td_session *s, float a, float b)
{
    return td_from(s, ((const float[]){a, b}), TD_F32, TD_SHAPE(2), .requires_grad = true);
}

/* ---- hooks ---- */

static td_tensor twice(td_tensor grad, void *data)
{
    (void)data;
    return td_mul(grad, 2.0);
}

static td_tensor add_one(td_tensor grad, void *data)
{
    (void)data;
    return td_add(grad, 1.0);
}

static td_tensor squared(td_tensor grad, void *data)
{
    (void)data;
    return td_mul(grad, grad);
}

/* Counts its runs in an outside tensor and keeps the last gradient in another. */
struct log {
    td_tensor runs, last;
};

static td_tensor note(td_tensor grad, void *data)
{
    const struct log *log = data;
    td_add_(log->runs, 1.0);
    td_copy_(log->last, td_detach(grad));
    return (td_tensor){0};
}

static td_tensor in_place(td_tensor grad, void *data)
{
    (void)data;
    td_mul_(grad, 10.0);
    return (td_tensor){0};
}

static td_tensor add_captured(td_tensor grad, void *data)
{
    return td_add(grad, *(td_tensor *)data);
}

static td_tensor captured(td_tensor grad, void *data)
{
    (void)grad;
    return *(td_tensor *)data;
}

static struct log new_log(td_session *s)
{
    return (struct log){td_zeros(s, TD_SHAPE(1)), td_zeros(s, TD_SHAPE(2))};
}

static void test_a_leaf_in_order(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2);
    td_hook first = td_register_hook(x, twice);
    td_register_hook(x, add_one);
    td_backward(td_sum(td_mul(x, x))); /* each x adds a part: the hooks see the sum, once */
    ASSERT_VALUES(td_grad(x), 5, 9);
    td_backward(td_sum(td_mul(x, x))); /* what is added goes through them, what was there does not */
    ASSERT_VALUES(td_grad(x), 10, 18);
    td_remove_hook(first);
    td_backward(td_sum(td_mul(x, x)));
    ASSERT_VALUES(td_grad(x), 13, 23);
    td_remove_hook(first);
    td_remove_hook((td_hook){0});
    ASSERT_VALUES(td_grad_of(td_sum(td_mul(x, x)), x), 3, 5);
    assert_int_equal(td_close(s), 0);
}

static void test_what_was_computed(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), y = td_mul(x, x), z = td_mul(y, 3.0);
    td_retain_grad(y);
    struct log log = new_log(s);
    td_register_hook(y, twice);
    td_register_hook(y, note, .data = &log);
    td_register_hook(z, add_one);
    ASSERT_VALUES(td_grad_of(td_sum(z), y, .retain_graph = true), 12, 12); /* (1 + 1) * 3 * 2 */
    ASSERT_VALUES(log.last, 12, 12);
    td_backward(td_sum(z));
    ASSERT_VALUES(td_grad(x), 24, 48);
    ASSERT_VALUES(td_grad(y), 12, 12); /* kept as it is handed on */
    ASSERT_VALUES(log.runs, 2);
    assert_int_equal(td_close(s), 0);
}

/* The hook of an op's first result is none of its second's. */
static void test_an_op_of_two_results(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_from(s, ((const float[]){1, 5, 2, 4}), TD_F32, TD_SHAPE(2, 2), .requires_grad = true);
    td_tensor values = td_sort(x, .dim = 1).values;
    td_register_hook(values, twice);
    td_backward(td_sum(td_mul(values, td_from(s, ((const float[]){1, 2}), TD_F32, TD_SHAPE(2)))));
    ASSERT_VALUES(td_grad(x), 2, 4, 2, 4);
    assert_int_equal(td_close(s), 0);
}

static void test_only_what_is_walked(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), w = leaf(s, 3, 4), y = td_mul(x, w), other = td_mul(x, 5.0);
    struct log log = new_log(s);
    td_register_hook(w, note, .data = &log);
    td_register_hook(other, note, .data = &log);
    ASSERT_VALUES(td_grad_of(td_sum(y), x, .retain_graph = true), 3, 4);
    ASSERT_VALUES(log.runs, 0);
    td_backward(td_sum(y));
    ASSERT_VALUES(log.runs, 1);
    assert_int_equal(td_close(s), 0);
}

static td_tensor viewed(td_tensor grad, void *data)
{
    (void)data;
    assert_true(td_is_contiguous(grad));
    return td_t(
        td_mul(td_view(grad, TD_SHAPE(3, 2)), td_from(grad.session, ((const float[]){1, 2}), TD_F32, TD_SHAPE(2))));
}

/* A sum's gradient is expanded, and may be looked at by others. */
static void test_a_gradient_that_is_no_block_of_its_own(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2, 3), .requires_grad = true), w = leaf(s, 0, 0), v = leaf(s, 0, 0);
    td_register_hook(x, viewed);
    td_backward(td_sum(x));
    ASSERT_VALUES(td_grad(x), 1, 1, 1, 2, 2, 2);
    td_register_hook(w, in_place);
    td_backward(td_sum(td_add(w, v))); /* one gradient for both */
    ASSERT_VALUES(td_grad(w), 10, 10);
    ASSERT_VALUES(td_grad(v), 1, 1);
    assert_int_equal(td_close(s), 0);
}

static void test_outside_tensors_are_references(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), w = leaf(s, 10, 20), y = td_mul(x, 1.0);
    td_register_hook(y, captured, .data = &w);
    td_backward(td_sum(y), .retain_graph = true);
    ASSERT_VALUES(td_grad(x), 10, 20);
    {
        TD_NO_GRAD(s);
        td_mul_(w, 2.0);
    }
    td_backward(td_sum(y), .retain_graph = true);
    ASSERT_VALUES(td_grad(x), 30, 60);
    td_tensor g = td_grad(x);
    {
        TD_NO_GRAD(s);
        td_mul_(w, 0.0);
    }
    ASSERT_VALUES(g, 30, 60); /* the gradient is nobody's alias */
    assert_int_equal(td_close(s), 0);
}

static void test_second_derivatives(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), y = td_mul(x, x), w = leaf(s, 3, 5);
    td_register_hook(x, squared);
    td_tensor g = td_grad_of(td_sum(td_mul(y, x)), x, .create_graph = true);
    ASSERT_VALUES(g, 9, 144);                /* (3 x^2)^2 */
    td_tensor gg = td_grad_of(td_sum(g), x); /* 36 x^3, squared by the hook */
    ASSERT_VALUES(gg, 1296, 82944);
    td_tensor v = leaf(s, 1, 2);
    td_register_hook(v, add_captured, .data = &w);
    td_backward(td_sum(td_mul(v, v)), .create_graph = true);
    ASSERT_VALUES(td_grad_of(td_sum(td_mul(td_grad(v), 7.0)), w), 7, 7);
    td_backward(td_sum(td_mul(v, v))); /* without it nothing of the hook is recorded */
    assert_int_equal(td_close(s), 0);
}

/* ---- with programs ---- */

static void test_inside_of_recorded_programs(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = leaf(s, 1, 1), x = td_full(s, TD_SHAPE(2), 2.0), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_mul(w, x);
    td_hook hook = td_register_hook(y, twice);
    td_tensor loss = td_sum(y);
    td_backward(loss);
    td_record_end(p, TD_LIST(loss));
    ASSERT_VALUES(td_grad(w), 4, 4);
    td_run(p, TD_LIST(x), out);
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(2), 3.0)), out);
    ASSERT_VALUES(td_grad(w), 14, 14);
    td_remove_hook(hook);
    td_register_hook(w, add_one); /* replays meet what leaves have by then */
    td_run(p, TD_LIST(x), out);
    ASSERT_VALUES(td_grad(w), 19, 19);
    td_program_free(p);
    assert_int_equal(td_close(s), 0);
    wait_until_empty(0);
}

static void test_inside_of_checkpoints(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), out;
    struct log log = new_log(s);
    {
        TD_CHECKPOINT(s);
        td_tensor h = td_mul(x, x);
        td_register_hook(h, twice);
        out = td_keep(td_mul(h, 3.0));
    }
    td_register_hook(out, add_one);
    td_register_hook(x, note, .data = &log);
    td_backward(td_sum(out));
    ASSERT_VALUES(td_grad(x), 24, 48); /* (1 + 1) * 3 * 2 * 2 x */
    ASSERT_VALUES(log.runs, 1);
    {
        TD_CHECKPOINT(s);
        td_tensor h = td_mul(x, x);
        td_register_hook(x, twice);
        int line = __LINE__ - 1;
        out = td_keep(td_mul(h, 3.0));
        assert_error_at(s, line, TD_E_GRAD, "a tensor from outside of TD_CHECKPOINT");
    }
    assert_int_equal(td_close(s), 0);
    wait_until_empty(0);
}

/* ---- errors ---- */

static td_tensor wrong_shape(td_tensor grad, void *data)
{
    (void)data;
    return td_sum(grad);
}

static td_tensor wrong_dtype(td_tensor grad, void *data)
{
    (void)data;
    return td_to(grad, TD_F64);
}

static int hook_line;

static td_tensor failing(td_tensor grad, void *data)
{
    (void)data;
    hook_line = __LINE__ + 1;
    return td_matmul(grad, td_ones(grad.session, TD_SHAPE(3)));
}

static td_tensor reading(td_tensor grad, void *data)
{
    (void)data;
    hook_line = __LINE__ + 1;
    return td_mul(grad, td_item(td_sum(grad)));
}

static td_tensor out_of_range(td_tensor grad, void *data)
{
    hook_line = __LINE__ + 1;
    td_tensor picked = td_index_select(grad, 0, *(td_tensor *)data);
    return td_expand(td_sum(picked), TD_SHAPE(2));
}

static td_tensor walking(td_tensor grad, void *data)
{
    hook_line = __LINE__ + 1;
    td_backward(td_sum(*(td_tensor *)data));
    return grad;
}

static void test_errors(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), constant = td_ones(s, TD_SHAPE(2));
    assert_null(td_register_hook(x, wrong_shape).session);
    assert_error_at(s, __LINE__ - 1, TD_E_SHAPE, "the hook gave f32 () in place of a gradient of f32 (2)");
    td_register_hook(x, wrong_dtype);
    assert_error_at(s, __LINE__ - 1, TD_E_SHAPE, "the hook gave f64 (2)");
    td_register_hook(x, failing);
    assert_error_at(s, hook_line, TD_E_SHAPE, "matmul");
    td_register_hook(x, reading);
    assert_error_at(s, hook_line, TD_E_ARGUMENT, "reads inside of what is recorded");
    td_register_hook(constant, twice);
    assert_error_at(s, __LINE__ - 1, TD_E_GRAD, "register_hook: the tensor requires no gradient");
    td_register_hook(x, NULL);
    assert_error_at(s, __LINE__ - 1, TD_E_ARGUMENT, "no hook was given");
    td_backward(td_sum(x)); /* none of them is there */
    ASSERT_VALUES(td_grad(x), 1, 1);
    assert_int_equal(td_close(s), 0);
}

static void test_errors_in_the_walk(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), w = leaf(s, 1, 2), index = td_from(s, ((const int64_t[]){0}), TD_I64, TD_SHAPE(1));
    td_register_hook(x, out_of_range, .data = &index);
    td_backward(td_sum(td_mul(x, w)));
    ASSERT_VALUES(td_grad(x), 1, 1);
    td_fill_(index, 2);
    td_backward(td_sum(td_mul(x, w)));
    assert_error_at(s, hook_line, TD_E_INDEX, "index 2 is out of range");
    ASSERT_VALUES(td_grad(x), 1, 1);
    ASSERT_VALUES(td_grad(w), 1, 2);
    td_tensor v = leaf(s, 1, 2), y = td_mul(v, v);
    td_register_hook(v, walking, .data = &y);
    td_backward(td_sum(y), .retain_graph = true);
    assert_error_at(s, hook_line, TD_E_GRAD, "a hook cannot walk the graph");
    assert_int_equal(td_close(s), 0);
}

/* ---- lifetimes ---- */

static void test_nothing_is_left(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct log log = new_log(s);
    for (int k = 0; k < 70000; k++) { /* more than there may be programs at a time */
        TD_SCOPE(s);
        td_tensor x = leaf(s, 1, 2);
        td_register_hook(td_mul(x, x), note, .data = &log);
    }
    td_release(log.runs);
    td_release(log.last);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    wait_until_empty(1);
    assert_int_equal(td_close(s), 0);
}

/* x's hook holds x, which holds the graph, which holds the hook. */
static void test_cycles_end(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), y = td_mul(x, x), z = td_mul(y, x);
    td_hook hooks[] = {td_register_hook(x, add_captured, .data = &x), td_register_hook(y, add_captured, .data = &z)};
    td_backward(td_sum(z), .create_graph = true);
    ASSERT_VALUES(td_grad(x), 6, 46); /* y's gradient is x + x^3, so x's x^2 + 2 x (x + x^3) + x */
    td_release(x);
    td_release(y);
    td_release(z);
    td_remove_hook(hooks[0]);
    td_remove_hook(hooks[1]);
    assert_int_equal(td_sync(s), 0);
    wait_until_empty(1);
    x = leaf(s, 1, 2);
    y = td_mul(x, x);
    z = td_mul(y, x);
    td_register_hook(x, add_captured, .data = &x);
    td_register_hook(y, add_captured, .data = &z);
    td_backward(td_sum(z), .create_graph = true);
    td_release(x);
    assert_int_equal(td_close(s), 0);
    wait_until_empty(0);
}

static void test_the_end_of_the_session_in_a_walk(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = leaf(s, 1, 2), y = x;
    for (int k = 0; k < 2000; k++) {
        y = td_mul(y, 1.0);
        td_register_hook(y, twice);
    }
    td_backward(td_sum(y));
    td_flush(s);
    td_cancel(s);
    td_close(s);
    wait_until_empty(0);
}

/* ---- anomalies ---- */

static void test_the_op_that_makes_it(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_from(s, ((const float[]){1, 2, 3, 4, 0, -1}), TD_F32, TD_SHAPE(2, 3)), y;
    {
        TD_DETECT_ANOMALY(s);
        y = td_add(td_log(x), 1.0);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "log: element [1, 1] of the result is -inf");
        assert_false(isfinite(td_item(td_sum(y)))); /* an error value */
        td_clear_error(s);
        td_sqrt(td_t(x));
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "sqrt: element [2, 1] of the result is nan");
        td_to(td_full(s, TD_SHAPE(2), 1e30), TD_F16);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "to: element [0] of the result is inf");
        td_mul(td_full(s, TD_SHAPE(), 1e30, .dtype = TD_BF16), 1e30);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "mul: element [] of the result is inf");
        td_exp(td_full(s, TD_SHAPE(70, 70), 1e30, .dtype = TD_F64));
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "exp: element [0, 0] of the result is inf");
        td_tensor large = td_zeros(s, TD_SHAPE(3000, 1001));
        td_fill_(td_select(td_select(large, 0, 2999), 0, 7), -1.0); /* on the device's thread */
        td_sqrt(large);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "sqrt: element [2999, 7] of the result is nan");
        td_div(td_ones(s, TD_SHAPE(2), .dtype = TD_I64), 0.0);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "div: element [0] of the result is inf");
        td_sqrt_(x); /* an op and a copy: nothing is written */
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "sqrt");
        ASSERT_VALUES(x, 1, 2, 3, 4, 0, -1);
        td_tensor z = td_full(s, TD_SHAPE(3, 2), 1e30);
        td_mul_(td_t(z), 1e30);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "mul_: element [0, 0] of the target is inf");
        td_mul_(z, 2.0); /* has it already */
        td_sub(z, z);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "sub: element [0, 0] of the result is nan");
    }
    assert_false(isfinite(td_item(td_sum(td_log(x)))));
    assert_int_equal(td_close(s), 0);
}

static void test_what_is_no_anomaly(void **state)
{
    (void)state;
    td_session *s = open_session();
    TD_DETECT_ANOMALY(s);
    td_tensor given = td_from(s, ((const float[]){1, NAN, INFINITY}), TD_F32, TD_SHAPE(3));
    td_tensor x = td_ones(s, TD_SHAPE(3)), mask = td_from(s, ((const bool[]){0, 1, 0}), TD_BOOL, TD_SHAPE(3));
    td_tensor w = td_full(s, TD_SHAPE(3), 2.0, .requires_grad = true);
    td_exp(given);
    td_add(given, x);
    td_add_(given, 1.0);
    td_full(s, TD_SHAPE(2), -INFINITY);
    td_full_like(x, INFINITY);
    td_tensor masked = td_masked_fill(w, mask, -INFINITY);
    ASSERT_VALUES(td_softmax(masked, 0), 0.5, 0, 0.5);
    td_backward(td_sum(td_mul(td_softmax(masked, 0), x)));
    td_masked_fill_(td_clone(x), mask, INFINITY);
    td_fill_(td_clone(x), NAN);
    td_where(mask, x, INFINITY);
    td_norm(x, .p = INFINITY);
    td_clamp(x, .min = -INFINITY);
    td_pad(x, TD_DIMS(1, 1), .value = -INFINITY);
    td_sum(td_zeros(s, TD_SHAPE(0)));
    td_expand(td_full(s, TD_SHAPE(1), INFINITY), TD_SHAPE(1000000));
    td_batch_norm(td_ones(s, TD_SHAPE(2, 3)), .running_mean = td_zeros(s, TD_SHAPE(3)), .running_var = x);
    {
        TD_DETECT_ANOMALY(s);
    }
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_softmax(td_masked_fill(x, td_full(s, TD_SHAPE(3), 1, .dtype = TD_BOOL), -INFINITY), 0); /* nothing is left */
    assert_error_at(s, __LINE__ - 1, TD_E_NAN, "softmax: element [0] of the result is nan");
    assert_int_equal(td_close(s), 0);
}

static td_tensor root_of(td_tensor grad, void *data)
{
    (void)data;
    hook_line = __LINE__ + 1;
    return td_sqrt(td_sub(grad, 5.0));
}

static void assert_message(td_session *s, const char *format, int line)
{
    char part[160];
    snprintf(part, sizeof part, format, line);
    if (!strstr(td_error(s)->message, part))
        fail_msg("%s (%s)", td_error(s)->message, part);
}

static void test_gradients(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_from(s, ((const float[]){4, 0}), TD_F32, TD_SHAPE(2), .requires_grad = true);
    TD_DETECT_ANOMALY(s);
    int line = __LINE__ + 1;
    td_tensor y = td_sqrt(x), loss = td_sum(td_mul(y, 3.0));
    td_backward(loss);
    assert_message(s, "backward: the gradient of sqrt, called at test_hooks.c:%d, has element [1] inf", line);
    assert_error_at(s, __LINE__ - 2, TD_E_NAN, "inf");
    assert_false(td_ok(td_grad(x)) && isfinite(td_item(td_sum(td_grad(x))))); /* it has none */
    td_clear_error(s);
    td_tensor z = td_sqrt(x), g;
    g = td_grad_of(td_sum(z), x);
    assert_message(s, "the gradient of sqrt, called at test_hooks.c:%d", __LINE__ - 2);
    assert_error_at(s, __LINE__ - 2, TD_E_NAN, "inf");
    assert_true(isnan(td_item(td_sum(g))));
    td_clear_error(s);
    td_tensor w = leaf(s, 0, 0);
    for (int k = 0; k < 2; k++)
        td_backward(td_sum(td_mul(w, 3e38)));
    assert_error_at(s, __LINE__ - 1, TD_E_NAN, "backward: the sum of a leaf's gradients has element [0] inf");
    ASSERT_VALUES(td_grad(w), 3e38, 3e38);
    td_tensor v = leaf(s, 1, 2);
    td_register_hook(v, root_of); /* an op of the hook's own has its line there */
    td_backward(td_sum(v));
    assert_error_at(s, hook_line, TD_E_NAN, "sqrt: element [0] of the result is nan");
    assert_int_equal(td_close(s), 0);
}

static void test_steps(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = leaf(s, 1, 3e38), v = leaf(s, 1, 2);
    td_optimizer *sgd = td_sgd(s, TD_LIST(v, w), .lr = 3e38);
    td_backward(td_sum(td_add(td_mul(w, -1.0), v)));
    {
        TD_DETECT_ANOMALY(s);
        td_step(sgd);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "sgd_step_: element [1] of parameter 1 is inf");
        td_step(sgd); /* has it already */
        td_tensor u = leaf(s, 0, 0);
        td_backward(td_sum(td_mul(u, 3e38)));
        td_clip_grad_norm_(s, TD_LIST(u), 1.0, .norm_type = 1);
        assert_error_at(s, __LINE__ - 1, TD_E_NAN, "clip_grad_norm_: element [] of the result is inf");
    }
    td_optimizer_free(sgd);
    assert_int_equal(td_close(s), 0);
}

static void test_recorded_and_turned_off(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2)), zero = td_zeros(s, TD_SHAPE(2)), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_log(x);
    int line = __LINE__ - 1;
    td_record_end(p, TD_LIST(y));
    td_run(p, TD_LIST(zero), out);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    {
        TD_DETECT_ANOMALY(s);
        td_run(p, TD_LIST(zero), out);
        assert_error_at(s, line, TD_E_NAN, "log: element [0] of the result is -inf");
    }
    td_run(p, TD_LIST(zero), out);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_program_free(p);
    assert_int_equal(td_close(s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_leaf_in_order),
        cmocka_unit_test(test_what_was_computed),
        cmocka_unit_test(test_an_op_of_two_results),
        cmocka_unit_test(test_only_what_is_walked),
        cmocka_unit_test(test_a_gradient_that_is_no_block_of_its_own),
        cmocka_unit_test(test_outside_tensors_are_references),
        cmocka_unit_test(test_second_derivatives),
        cmocka_unit_test(test_inside_of_recorded_programs),
        cmocka_unit_test(test_inside_of_checkpoints),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_errors_in_the_walk),
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_cycles_end),
        cmocka_unit_test(test_the_end_of_the_session_in_a_walk),
        cmocka_unit_test(test_the_op_that_makes_it),
        cmocka_unit_test(test_what_is_no_anomaly),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_recorded_and_turned_off),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
