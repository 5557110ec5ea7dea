/* End to end through the library: training steps that fail and must leave no trace, writes that meet the tape, clients
 * and workers that are killed, sessions beside each other. SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sessions.h"

/* What the daemon says of itself, through a connection of its own. */
static uint64_t status(const char *key)
{
    struct raw raw = raw_open(&daemon_);
    uint64_t value = raw_status(&raw, key);
    raw_close(&raw);
    return value;
}

/* ---- a model ---- */

enum { INPUTS = 5, CLASSES = 3, BATCH = 8 };

struct model {
    td_tensor weight, bias, x;
    td_optimizer *optimizer;
};

static struct model model_new(td_session *s, bool adam)
{
    struct model m;
    td_manual_seed(s, 11);
    m.weight = td_set_requires_grad(td_mul(td_randn(s, TD_SHAPE(INPUTS, CLASSES)), 0.5), true);
    m.bias = td_zeros(s, TD_SHAPE(CLASSES), .requires_grad = true);
    m.x = td_randn(s, TD_SHAPE(BATCH, INPUTS));
    m.optimizer = adam ? td_adam(s, TD_LIST(m.weight, m.bias), .lr = 0.05)
                       : td_sgd(s, TD_LIST(m.weight, m.bias), .lr = 0.1, .momentum = 0.9, .dampening = 0.5);
    return m;
}

static void model_step(td_session *s, struct model *m, const int64_t *labels)
{
    TD_SCOPE(s);
    td_tensor target = td_from(s, labels, TD_I64, TD_SHAPE(BATCH));
    td_tensor loss = td_cross_entropy(td_add(td_matmul(m->x, m->weight), m->bias), target);
    td_zero_grad(m->optimizer);
    td_backward(loss);
    td_step(m->optimizer);
}

struct weights {
    float weight[INPUTS * CLASSES], bias[CLASSES];
};

static struct weights model_read(struct model *m)
{
    struct weights w;
    assert_int_equal(td_read(m->weight, w.weight, TD_F32, INPUTS * CLASSES), INPUTS * CLASSES);
    assert_int_equal(td_read(m->bias, w.bias, TD_F32, CLASSES), CLASSES);
    return w;
}

static const int64_t good_labels[BATCH] = {0, 1, 2, 0, 1, 2, 0, 1};
static const int64_t bad_labels[BATCH] = {0, 1, 2, 0, 7, 2, 0, 1};

/* A run with one bad batch among good ones must give, bit for bit, what the good ones alone give: so weights, momenta,
 * means, squares and counts are all as before. */
static void bad_batch_costs_that_batch(bool adam)
{
    struct weights results[2];
    for (int bad = 0; bad < 2; bad++) {
        td_session *s = open_session();
        struct model m = model_new(s, adam);
        for (int step = 0; step < 6; step++) {
            struct weights before = model_read(&m);
            if (bad && step % 2 == 1) {
                model_step(s, &m, bad_labels);
                struct weights after = model_read(&m); /* healthy tensors are read while the error stands */
                assert_memory_equal(&before, &after, sizeof before);
                const td_error_info *e = td_error(s);
                assert_int_equal(e->code, TD_E_INDEX);
                assert_non_null(strstr(e->message, "index 7 is out of range"));
                assert_non_null(strstr(e->where, "test_training.c:"));
                assert_string_equal(e->op, "cross_entropy");
                td_clear_error(s);
            }
            model_step(s, &m, good_labels);
        }
        results[bad] = model_read(&m);
        td_optimizer_free(m.optimizer);
        assert_int_equal(td_close(s), 0);
    }
    assert_memory_equal(&results[0], &results[1], sizeof results[0]);
}

static void bad_batch_costs_that_batch_sgd(void **state)
{
    (void)state;
    bad_batch_costs_that_batch(false);
}

static void bad_batch_costs_that_batch_adam(void **state)
{
    (void)state;
    bad_batch_costs_that_batch(true);
}

static void step_without_gradients_changes_nothing(void **state)
{
    (void)state;
    struct weights results[2];
    for (int idle = 0; idle < 2; idle++) {
        td_session *s = open_session();
        struct model m = model_new(s, true);
        for (int step = 0; step < 3; step++) {
            if (idle) {
                td_zero_grad(m.optimizer);
                td_step(m.optimizer);
            }
            model_step(s, &m, good_labels);
        }
        results[idle] = model_read(&m);
        td_optimizer_free(m.optimizer);
        assert_int_equal(td_close(s), 0);
    }
    assert_memory_equal(&results[0], &results[1], sizeof results[0]);
}

/* The same program gives the same bits, whatever runs beside it. */
static void neighbours_do_not_change_bits(void **state)
{
    (void)state;
    struct weights results[2];
    for (int busy = 0; busy < 2; busy++) {
        td_session *s = open_session(), *other = busy ? open_session() : NULL;
        struct model m = model_new(s, true), noise = {0};
        if (busy)
            noise = model_new(other, false);
        for (int step = 0; step < 20; step++) {
            if (busy)
                model_step(other, &noise, step % 3 ? good_labels : bad_labels);
            model_step(s, &m, good_labels);
        }
        results[busy] = model_read(&m);
        td_optimizer_free(m.optimizer);
        assert_int_equal(td_close(s), 0);
        if (busy) {
            td_optimizer_free(noise.optimizer);
            td_clear_error(other);
            assert_int_equal(td_close(other), 0);
        }
    }
    assert_memory_equal(&results[0], &results[1], sizeof results[0]);
}

/* ---- writes that meet the tape ---- */

/* What was saved for backward keeps its value through a write under no_grad; one copy is made and counted. */
static void write_after_use_keeps_the_gradient(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = td_full(s, TD_SHAPE(1000), 3.0, .requires_grad = true);
    td_tensor x = td_full(s, TD_SHAPE(1000), 2.0);
    td_tensor loss = td_sum(td_mul(w, x));
    td_fill_(x, 100.0);
    td_backward(loss);
    double expected = 2;
    float gradient[1000];
    assert_int_equal(td_read(td_grad(w), gradient, TD_F32, 1000), 1000);
    assert_true(gradient[0] == expected && gradient[999] == expected);
    assert_true(td_item(td_mean(x)) == 100);
    assert_int_equal(td_close(s), 0);
}

/* An ordinary training loop never copies: the walk lets go of what it saved before the step writes. */
static void training_copies_nothing(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct model m = model_new(s, true);
    uint64_t before = status("device.copied_bytes");
    for (int step = 0; step < 5; step++)
        model_step(s, &m, good_labels);
    td_sync(s);
    assert_int_equal(status("device.copied_bytes"), before);
    td_optimizer_free(m.optimizer);
    assert_int_equal(td_close(s), 0);
}

/* ---- graphs ---- */

static void long_chain_is_walked_and_freed(void **state)
{
    enum { LENGTH = 50000 };
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true), y = td_add(x, 0.0);
    for (int k = 0; k < LENGTH; k++)
        y = td_add(td_take(y), 1.0);
    assert_true(td_item(td_sum(y)) == 2.0 * (LENGTH + 1));
    td_backward(td_sum(y));
    assert_true(td_item(td_sum(td_grad(x))) == 2);
    assert_int_equal(td_close(s), 0);
    daemon_wait_empty(&daemon_);
}

static void walking_twice_needs_retain_graph(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_full(s, TD_SHAPE(3), 2.0, .requires_grad = true);
    td_tensor y = td_sum(td_square(x));
    td_backward(y, .retain_graph = true);
    td_backward(y);
    assert_true(td_item(td_select(td_grad(x), 0, 0)) == 8);
    td_backward(y);
    const td_error_info *e = td_error(s);
    assert_int_equal(e->code, TD_E_GRAD);
    assert_non_null(strstr(e->hint, "retain_graph"));
    td_clear_error(s);
    assert_true(td_item(td_select(td_grad(x), 0, 0)) == 8);
    assert_int_equal(td_close(s), 0);
}

/* ---- who is killed ---- */

/* Floods the daemon until it is killed. */
static void flood(void)
{
    td_session *s = td_open(daemon_.address);
    td_tensor x = td_ones(s, TD_SHAPE(100, 100), .requires_grad = true);
    for (;;) {
        TD_SCOPE(s);
        td_backward(td_sum(td_tanh(td_matmul(x, x))));
    }
}

static void killed_clients_leave_nothing(void **state)
{
    enum { CLIENTS = 20 };
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_arange(s, 0, 1000, .dtype = TD_F32);
    double sum = td_item(td_sum(x));
    for (int k = 0; k < CLIENTS; k++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            flood();
            _exit(1);
        }
        nanosleep(&(struct timespec){.tv_nsec = 3000000 * (k % 7 + 1)}, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_true(td_item(td_sum(x)) == sum);
    }
    assert_int_equal(td_close(s), 0);
    daemon_wait_empty(&daemon_);
}

/* The worker's process id, by STATUS. */
static pid_t worker_pid(void)
{
    return (pid_t)status("pid");
}

static void killed_worker_is_one_clear_error(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        td_session *s = open_session();
        td_tensor x = td_ones(s, TD_SHAPE(4));
        td_sync(s);
        kill(worker_pid(), SIGKILL);
        for (int k = 0; k < 3; k++) {
            double lost = td_item(td_sum(x));
            assert_true(isnan(lost));
        }
        const td_error_info *e = td_error(s);
        assert_int_equal(e->code, TD_E_LOST);
        assert_non_null(strstr(e->message, "killed by signal 9"));
        td_clear_error(s);
        assert_false(td_ok(x));
        td_tensor y = td_ones(s, TD_SHAPE(4)); /* the session goes on with the next life */
        assert_true(td_item(td_sum(y)) == 4);
        assert_int_equal(td_close(s), 0);
    }
}

/* ---- limits of the device ---- */

static void more_than_the_device_has_is_an_error(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_zeros(s, TD_SHAPE(1 << 20, 1 << 20));
    td_tensor y = td_relu(x);
    const td_error_info *e = td_error(s);
    assert_int_equal(e->code, TD_E_MEMORY);
    assert_string_equal(e->op, "zeros");
    assert_non_null(strstr(e->message, "MB do not fit"));
    td_clear_error(s);
    assert_true(isnan(td_item(td_select(td_select(y, 0, 0), 0, 0))));
    td_clear_error(s);
    assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(3)))) == 3);
    assert_int_equal(td_close(s), 0);
}

/* An op of seconds is on the device's thread: meanwhile another session gets its answers. */
static void long_op_does_not_stop_others(void **state)
{
    (void)state;
    td_session *s = open_session(), *other = open_session();
    td_tensor a = td_ones(s, TD_SHAPE(1500, 1500)), y = a;
    for (int k = 0; k < 4; k++)
        y = td_mul(td_matmul(y, a), 1.0 / 1500);
    td_flush(s);
    td_tensor x = td_ones(other, TD_SHAPE(10));
    for (int k = 0; k < 50; k++)
        assert_true(td_item(td_sum(x)) == 10);
    assert_true(fabs(td_item(td_mean(y)) - 1) < 1e-4);
    assert_int_equal(td_close(other), 0);
    assert_int_equal(td_close(s), 0);
}

/* A session that is closed while its op is on the device's thread ends when the op does. */
static void client_killed_during_a_long_op(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        td_session *s = td_open(daemon_.address);
        td_tensor a = td_ones(s, TD_SHAPE(2000, 2000), .requires_grad = true);
        td_backward(td_sum(td_matmul(a, a)));
        td_flush(s);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    daemon_wait_empty(&daemon_);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_batch_costs_that_batch_sgd),         cmocka_unit_test(bad_batch_costs_that_batch_adam),
        cmocka_unit_test(step_without_gradients_changes_nothing), cmocka_unit_test(neighbours_do_not_change_bits),
        cmocka_unit_test(write_after_use_keeps_the_gradient),     cmocka_unit_test(training_copies_nothing),
        cmocka_unit_test(long_chain_is_walked_and_freed),         cmocka_unit_test(walking_twice_needs_retain_graph),
        cmocka_unit_test(killed_clients_leave_nothing),           cmocka_unit_test(killed_worker_is_one_clear_error),
        cmocka_unit_test(more_than_the_device_has_is_an_error),   cmocka_unit_test(long_op_does_not_stop_others),
        cmocka_unit_test(client_killed_during_a_long_op),
    };
    return cmocka_run_group_tests_name("training", tests, setup, teardown);
}
