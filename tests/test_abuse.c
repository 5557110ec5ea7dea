/* A real daemon under clients and hands that mean it badly, in numbers: clients cut off in the middle of a frame,
 * workers killed in the middle of a step, a million handles and a graph of a million nodes let go at once. The quiet
 * client beside them computes what it computes alone, gets its answers between, and nothing is left at the end.
 * TEST_LONG=1 kills more workers. SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* clang-format off: support.h goes before tensord.h, which then leaves out what it repeats of the protocol's */
#include "tests/support.h"
#include "client/tensord.h"
#include "tests/random.h"
/* clang-format on */

static struct test_daemon daemon_;

static int setup(void **state)
{
    (void)state;
    return daemon_start(&daemon_, (const char *const[]){"--memory", "256M", "--log-level", "error", NULL});
}

static int teardown(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static uint64_t status(const char *key)
{
    struct raw raw = raw_open(&daemon_);
    uint64_t value = raw_status(&raw, key);
    raw_close(&raw);
    return value;
}

static int descriptors(pid_t pid)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *all = opendir(path);
    assert_non_null(all);
    while (readdir(all))
        count++;
    closedir(all);
    return count;
}

/* Waits until a process has no more than most descriptors: a connection that was cut off is closed a little later. */
static void wait_for_descriptors(pid_t pid, int most)
{
    for (int k = 0; k < 3000; k++) {
        if (descriptors(pid) <= most)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("process %d has %d descriptors where %d are due", (int)pid, descriptors(pid), most);
}

/* Waits until clients many sessions and as many bytes are left: ends of sessions are noticed a little later. */
static void wait_until_left(uint64_t clients, uint64_t bytes)
{
    for (int k = 0; k < 3000; k++) {
        if (status("sessions") == clients + 1 && status("device.used_bytes") == bytes)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("%d sessions and %d bytes are left", (int)status("sessions") - 1, (int)status("device.used_bytes"));
}

/* ---- the quiet client ---- */

enum { STEPS = 50, WEIGHTS = 15 };

struct model {
    td_tensor weight, x;
    td_optimizer *optimizer;
};

static struct model model_new(td_session *s)
{
    struct model m;
    td_manual_seed(s, 11);
    m.weight = td_set_requires_grad(td_mul(td_randn(s, TD_SHAPE(5, 3)), 0.5), true);
    m.x = td_randn(s, TD_SHAPE(8, 5));
    m.optimizer = td_adam(s, TD_LIST(m.weight), .lr = 0.05);
    return m;
}

static void model_step(td_session *s, struct model *m)
{
    TD_SCOPE(s);
    td_zero_grad(m->optimizer);
    td_backward(td_sum(td_square(td_tanh(td_matmul(m->x, m->weight)))));
    td_step(m->optimizer);
}

static void model_end(td_session *s, struct model *m, float weights[WEIGHTS])
{
    assert_int_equal(td_read(m->weight, weights, TD_F32, WEIGHTS), WEIGHTS);
    td_optimizer_free(m->optimizer);
    assert_int_equal(td_close(s), 0);
}

static void quiet_run(float weights[WEIGHTS])
{
    td_session *s = td_open(daemon_.address);
    struct model m = model_new(s);
    for (int k = 0; k < STEPS; k++)
        model_step(s, &m);
    model_end(s, &m, weights);
}

/* ---- clients that are cut off ---- */

/* HELLO and a frame of ordinary requests; its bytes. */
static size_t valid_stream(uint8_t *at)
{
    uint8_t *start = at;
    struct td_hello hello = {.version_min = 1, .version_max = 1, .program = "cut"};
    size_t bytes = td_hello_encode(&hello, at + TD_FRAME_HEADER);
    at = td_write_be32(at, (uint32_t)bytes) + bytes;
    uint8_t *frame = at;
    *(at += TD_FRAME_HEADER) = 0;
    at++;
    for (uint32_t handle = 1; handle < 20; handle++) {
        struct td_randn_attrs attrs = {.shape = {2, {20, 20}}};
        struct td_input in[2] = {{.kind = TD_INPUT_HANDLE, .handle = handle},
                                 {.kind = TD_INPUT_HANDLE, .handle = handle}};
        uint32_t twice = handle + 100;
        at = td_call_encode(at, td_op_of(TD_OP_randn), TD_FLAG_REQUIRES_GRAD, 0, &handle, NULL, NULL, &attrs);
        at = td_call_encode(at, td_op_of(TD_OP_matmul), TD_FLAG_GRAD, 0, &twice, in, NULL, &attrs);
    }
    td_write_be32(frame, (uint32_t)(at - frame - TD_FRAME_HEADER));
    return (size_t)(at - start);
}

static void clients_cut_off_in_a_frame(void **state)
{
    enum { CLIENTS = 1000 };
    static uint8_t stream[8192];
    float alone[WEIGHTS], beside[WEIGHTS];
    struct random random = random_new();
    size_t bytes = valid_stream(stream);
    (void)state;
    quiet_run(alone);
    wait_until_left(0, 0);
    pid_t worker = (pid_t)status("pid");
    uint64_t life = status("life");
    int before = descriptors(daemon_.pid), worker_before = descriptors(worker);
    td_session *s = td_open(daemon_.address);
    struct model m = model_new(s);
    for (int k = 0; k < CLIENTS; k++) {
        struct raw raw = raw_connect(&daemon_);
        raw_send(&raw, stream, 1 + random_below(&random, bytes - 1));
        raw_close(&raw);
        if (k % (CLIENTS / STEPS) == 0)
            model_step(s, &m);
    }
    model_end(s, &m, beside);
    assert_memory_equal(alone, beside, sizeof alone);
    wait_until_left(0, 0);
    assert_int_equal(status("life"), life);
    wait_for_descriptors(daemon_.pid, before);
    wait_for_descriptors(worker, worker_before);
}

/* ---- workers that are killed ---- */

/* The supervisor waits longer after each short life, so the lives are spread over daemons. */
static void workers_killed_in_a_step(void **state)
{
    int daemons = getenv("TEST_LONG") ? 25 : 20, lives = getenv("TEST_LONG") ? 8 : 5;
    float alone[WEIGHTS], after[WEIGHTS];
    (void)state;
    quiet_run(alone);
    struct test_daemon first = daemon_;
    for (int d = 0; d < daemons; d++) {
        if (daemon_start(&daemon_, (const char *const[]){"--memory", "256M", "--log-level", "error", NULL}))
            fail_msg("no daemon");
        wait_until_left(0, 0);
        int before = descriptors(daemon_.pid);
        td_session *s = td_open(daemon_.address);
        for (int k = 0; k < lives; k++) {
            struct model m = model_new(s);
            td_sync(s);
            pid_t worker = (pid_t)status("pid");
            for (int step = 0; step < 3 + k; step++)
                model_step(s, &m);
            td_flush(s);
            kill(worker, SIGKILL);
            float lost[WEIGHTS];
            td_read(m.weight, lost, TD_F32, WEIGHTS);
            assert_int_equal(td_error(s)->code, TD_E_LOST);
            td_optimizer_free(m.optimizer);
            td_clear_error(s);
        }
        struct model m = model_new(s); /* in a life that lasts */
        for (int k = 0; k < STEPS; k++)
            model_step(s, &m);
        model_end(s, &m, after);
        assert_memory_equal(alone, after, sizeof alone);
        wait_until_left(0, 0);
        assert_int_equal(status("life"), lives + 1);
        wait_for_descriptors(daemon_.pid, before + 2 * 4); /* the black boxes of the last four lives */
        assert_int_equal(daemon_stop(&daemon_), 0);
    }
    daemon_ = first;
}

/* ---- a million of everything ---- */

/* Asks for the barrier of raw, and meanwhile computes with other until it has come; how often other was answered. */
static int answers_beside(struct raw *raw, td_session *other)
{
    int answers = 0;
    raw_request(raw, 0, 0, 1, TD_R_BARRIER);
    assert_true(raw_flush(raw));
    td_tensor x = td_ones(other, TD_SHAPE(10));
    for (int kind; (kind = raw_receive(raw, 0)) != TD_REPLY_DONE; answers++) {
        assert_int_equal(kind, RAW_TIMEOUT);
        assert_true(td_item(td_sum(x)) == 10);
    }
    td_release(x);
    return answers;
}

static void make_million(struct raw *raw, bool graph)
{
    for (uint32_t k = 0; k < TD_HANDLES_MAX - 2; k++) {
        struct td_zeros_attrs attrs = {.shape = {0}, .dtype = TD_BOOL};
        struct td_input in = {.kind = TD_INPUT_HANDLE, .handle = graph ? (k & 1) : 0};
        uint32_t out = graph ? !(k & 1) : k;
        if (raw->at == raw->out)
            raw->at = td_write_uint(raw->out, 0);
        if (!graph)
            raw->at = td_call_encode(raw->at, td_op_of(TD_OP_zeros), 0, 0, &out, NULL, NULL, &attrs);
        else
            raw->at = td_call_encode(raw->at, td_op_of(TD_OP_neg), TD_FLAG_GRAD | TD_FLAG_CONSUME(0), 0, &out, &in,
                                     NULL, &attrs);
        raw->requests++;
        if (k % 1000 == 999)
            assert_true(raw_flush(raw));
        if (k % 20000 == 19999)
            assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    }
}

static void a_million_handles_released_at_once(void **state)
{
    (void)state;
    struct raw raw = raw_open(&daemon_);
    td_session *other = td_open(daemon_.address);
    make_million(&raw, false);
    assert_int_equal(raw_barrier(&raw, false).code, TD_E_OK);
    for (uint32_t from = 0; from < TD_HANDLES_MAX - 2; from += 150000) {
        uint32_t count = TD_HANDLES_MAX - 2 - from < 150000 ? TD_HANDLES_MAX - 2 - from : 150000;
        raw_request(&raw, 0, 0, 1 + count, TD_R_RELEASE);
        for (uint32_t k = 0; k < count; k++)
            raw.at = td_write_uint(raw.at, from + k);
        assert_true(raw_flush(&raw));
    }
    assert_true(answers_beside(&raw, other) > 0);
    assert_int_equal(raw_status(&raw, "mine.tensors"), 0);
    raw_close(&raw);
    assert_int_equal(td_close(other), 0);
    wait_until_left(0, 0);
}

static void a_graph_of_a_million_nodes_freed(void **state)
{
    (void)state;
    struct raw raw = raw_open(&daemon_);
    td_session *other = td_open(daemon_.address);
    struct td_zeros_attrs attrs = {.shape = {0}};
    uint32_t leaf = 0;
    raw.at = td_write_uint(raw.out, 0); /* a frame's ack */
    raw.at = td_call_encode(raw.at, td_op_of(TD_OP_zeros), TD_FLAG_REQUIRES_GRAD, 0, &leaf, NULL, NULL, &attrs);
    raw.requests++;
    make_million(&raw, true);
    assert_int_equal(raw_barrier(&raw, false).code, TD_E_OK);
    raw_request(&raw, 0, 0, 2, TD_R_RELEASE);
    raw.at = td_write_uint(raw.at, 0);
    answers_beside(&raw, other);
    raw_close(&raw);
    for (int k = 0; k < 100; k++) /* while the nodes are freed */
        assert_true(td_item(td_sum(td_ones(other, TD_SHAPE(10)))) == 10);
    assert_int_equal(td_close(other), 0);
    wait_until_left(0, 0);
}

static void a_hundred_thousand_tensors_in_one_frame(void **state)
{
    enum { TENSORS = 100000 };
    (void)state;
    struct raw raw = raw_open(&daemon_);
    td_session *other = td_open(daemon_.address);
    td_sync(other);
    raw.at = td_write_uint(raw.out, 0);
    for (uint32_t k = 0; k < TENSORS; k++) {
        raw.at = td_write_uint(td_write_uint(raw.at, 0), 0); /* [zeros, k, []] */
        raw.at = td_write_uint(td_write_uint(td_write_array(raw.at, 3), TD_OP_zeros), k);
        raw.at = td_write_array(raw.at, 0);
        raw.requests++;
    }
    assert_true(raw_flush(&raw));
    assert_true(answers_beside(&raw, other) > 0);
    assert_int_equal(raw_status(&raw, "mine.tensors"), TENSORS);
    raw_close(&raw);
    assert_int_equal(td_close(other), 0);
    wait_until_left(0, 0);
}

static void a_name_of_a_megabyte(void **state)
{
    static char name[1 << 20];
    (void)state;
    struct raw raw = raw_open(&daemon_);
    memset(name, 'x', sizeof name);
    for (int k = 0; k < 20; k++) {
        raw_request(&raw, 0, 0, 3, k & 1 ? TD_R_NAME : TD_R_SITE);
        raw.at = td_write_text(td_write_uint(raw.at, 0), name, sizeof name);
        assert_int_equal(raw_barrier(&raw, true).code, k & 1 ? TD_E_HANDLE : TD_E_LIMIT);
    }
    raw_close(&raw);
    wait_until_left(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_cut_off_in_a_frame),
        cmocka_unit_test(workers_killed_in_a_step),
        cmocka_unit_test(a_million_handles_released_at_once),
        cmocka_unit_test(a_graph_of_a_million_nodes_freed),
        cmocka_unit_test(a_hundred_thousand_tensors_in_one_frame),
        cmocka_unit_test(a_name_of_a_megabyte),
    };
    return cmocka_run_group_tests_name("abuse", tests, setup, teardown);
}
