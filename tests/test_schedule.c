/* Nobody waits for another's long work: pings, tiny ops and cancels get through while a session walks a long backward,
 * multiplies large matrices, or while eight flood the daemon. Judged by the order in which answers come, never by time:
 * the long work is far longer than the test, and each test ends it by a cancel. SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/sessions.h"

#define FLOODERS 8
/* Turns of the light session: each must come through before the others are done. */
#define TURNS 20

/* ---- saying things ---- */

static void urgent(struct raw *raw, enum td_urgent what, uint64_t number)
{
    uint8_t payload[32], *at = td_write_nil(payload);
    at = td_write_uint(td_write_uint(at, what), number);
    assert_true(raw_frame(raw, payload, (size_t)(at - payload)));
}

/* full(shape) = value as handle. */
static void make(struct raw *raw, uint32_t flags, uint32_t handle, int rank, const int64_t *shape, double value)
{
    raw_request(raw, flags, 0, 5, TD_OP_full);
    raw->at = td_write_array(td_write_uint(raw->at, handle), (uint32_t)rank);
    for (int d = 0; d < rank; d++)
        raw->at = td_write_int(raw->at, shape[d]);
    raw->at = td_write_int(td_write_real(raw->at, value), TD_F32);
}

static void call(struct raw *raw, uint32_t flags, enum td_op_id op, uint32_t out, uint32_t a, uint32_t b)
{
    raw_request(raw, flags, 0, 4, op);
    raw->at = td_write_uint(td_write_uint(td_write_uint(raw->at, out), a), b);
}

static void add_in_place(struct raw *raw, uint32_t target, uint32_t other)
{
    raw_request(raw, 0, 0, 3, TD_OP_add_);
    raw->at = td_write_uint(td_write_uint(raw->at, target), other);
}

static void ask_barrier(struct raw *raw)
{
    raw_request(raw, 0, 0, 1, TD_R_BARRIER);
    assert_true(raw_flush(raw));
}

/* The answer to ask_barrier, whose request was number. */
static struct raw_error take_barrier(struct raw *raw, uint64_t number)
{
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DONE);
    assert_int_equal(td_read_uint(&raw->reply), number);
    td_read_uint(&raw->reply);
    return raw_take_error(&raw->reply);
}

static double value_of(struct raw *raw, uint32_t handle, int *code)
{
    double value = 0;
    size_t count;
    *code = raw_read(raw, handle, &value, 1, &count).code;
    return value;
}

/* A ping and a tiny op of one session, answered. */
static void small_turn(struct raw *raw, uint64_t number)
{
    int code;
    urgent(raw, TD_URGENT_PING, number);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_PONG);
    assert_int_equal(td_read_uint(&raw->reply), number);
    make(raw, 0, 1, 0, NULL, 3);
    call(raw, 0, TD_OP_add, 2, 1, 1);
    assert_true(value_of(raw, 2, &code) == 6);
    assert_int_equal(code, TD_E_OK);
    raw_request(raw, 0, 0, 3, TD_R_RELEASE);
    raw->at = td_write_uint(td_write_uint(raw->at, 1), 2);
}

/* Cancels what raw does; its barrier number then tells so, what was queued is cancelled, and it goes on. */
static void cancel(struct raw *raw, uint64_t number, uint32_t queued)
{
    int code;
    urgent(raw, TD_URGENT_CANCEL, 0);
    assert_int_equal(take_barrier(raw, number).code, TD_E_CANCELLED);
    value_of(raw, queued, &code);
    assert_int_equal(code, TD_E_CANCELLED);
    assert_int_equal(raw_barrier(raw, true).code, TD_E_CANCELLED);
    small_turn(raw, 77);
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
}

/* ---- a long backward: 10000 parts of 4 MB each, whose gradients are zeros but for one element (of a td_select only
 * that would be written) ---- */

#define PARTS 10000
#define PART_ELEMENTS (1 << 20)

static void test_beside_backward(void **state)
{
    (void)state;
    struct raw busy = raw_open(&daemon_), light = raw_open(&daemon_);
    make(&busy, TD_FLAG_REQUIRES_GRAD, 10, 1, (const int64_t[]){PART_ELEMENTS}, 1);
    make(&busy, 0, 11, 0, NULL, 0);
    raw_request(&busy, 0, 0, 5, TD_OP_full); /* 9: an index */
    busy.at = td_write_array(td_write_uint(busy.at, 9), 0);
    busy.at = td_write_int(td_write_int(busy.at, 5), TD_I64);
    for (uint32_t k = 0; k < PARTS; k++) {
        raw_request(&busy, TD_FLAG_GRAD, 0, 5, TD_OP_index_select);
        busy.at = td_write_uint(td_write_uint(td_write_uint(td_write_uint(busy.at, 12), 10), 0), 9);
        call(&busy, TD_FLAG_GRAD | TD_FLAG_CONSUME(0) | TD_FLAG_CONSUME(1), TD_OP_add, 13 + k % 2,
             k ? 13 + (k + 1) % 2 : 11, 12);
    }
    assert_int_equal(raw_barrier(&busy, false).code, TD_E_OK); /* the forward is done */
    raw_request(&busy, 0, 0, 5, TD_R_BACKWARD);
    busy.at = td_write_nil(td_write_uint(busy.at, 13 + (PARTS - 1) % 2));
    busy.at = td_write_bool(td_write_bool(busy.at, false), false);
    make(&busy, 0, 50, 0, NULL, 1);
    ask_barrier(&busy);
    for (uint64_t k = 0; k < TURNS; k++)
        small_turn(&light, k);
    urgent(&busy, TD_URGENT_PING, 99); /* it answers in the middle of its own work, too */
    assert_int_equal(raw_receive(&busy, RAW_WAIT_MS), TD_REPLY_PONG);
    cancel(&busy, busy.requests, 50);
    raw_request(&busy, 0, 0, 3, TD_R_GRAD); /* a walk that was cut off leaves nothing */
    busy.at = td_write_uint(td_write_uint(busy.at, 60), 10);
    assert_int_equal(raw_barrier(&busy, false).code, TD_E_GRAD);
    raw_close(&busy);
    raw_close(&light);
}

/* ---- large products ---- */

static void test_beside_products(void **state)
{
    (void)state;
    const int64_t shape[] = {2048, 2048};
    struct raw busy = raw_open(&daemon_), light = raw_open(&daemon_);
    make(&busy, 0, 10, 2, shape, 1);
    assert_int_equal(raw_barrier(&busy, false).code, TD_E_OK);
    for (uint32_t k = 0; k < 64; k++) /* a fifth of a second each: the one that runs at the cancel is let finish */
        call(&busy, 0, TD_OP_matmul, 100 + k, 10, 10);
    make(&busy, 0, 50, 0, NULL, 1);
    ask_barrier(&busy);
    for (uint64_t k = 0; k < TURNS; k++)
        small_turn(&light, k);
    urgent(&busy, TD_URGENT_PING, 99);
    assert_int_equal(raw_receive(&busy, RAW_WAIT_MS), TD_REPLY_PONG);
    cancel(&busy, busy.requests, 50);
    raw_close(&busy);
    raw_close(&light);
}

/* ---- eight that flood ---- */

#define FLOOD 2000
#define FLOOD_ELEMENTS (1 << 20)

static void test_beside_flooders(void **state)
{
    (void)state;
    struct raw flooders[FLOODERS], light = raw_open(&daemon_);
    for (int f = 0; f < FLOODERS; f++) {
        struct raw *raw = &flooders[f];
        *raw = raw_open(&daemon_);
        make(raw, 0, 10, 1, (const int64_t[]){FLOOD_ELEMENTS}, 0);
        for (int k = 0; k < FLOOD; k++)
            add_in_place(raw, 10, 10);
        make(raw, 0, 50, 0, NULL, 1);
        ask_barrier(raw);
    }
    for (uint64_t k = 0; k < TURNS; k++)
        small_turn(&light, k);
    for (int f = 0; f < FLOODERS; f++)
        assert_int_equal(raw_receive(&flooders[f], 0), RAW_TIMEOUT); /* nobody is done yet */
    for (int f = 0; f < FLOODERS; f++) {
        cancel(&flooders[f], flooders[f].requests, 50);
        raw_close(&flooders[f]);
    }
    raw_close(&light);
}

/* ---- a graph of a million ops that is let go of ---- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { LINKS = 100000 }; /* whose nodes take several times the memory */
#else
enum { LINKS = 1000000 };
#endif
enum { LOOKS = 20, BLOCK_BYTES = 64 };

static void test_beside_the_end_of_a_graph(void **state)
{
    (void)state;
    struct raw busy = raw_open(&daemon_), light = raw_open(&daemon_);
    make(&busy, TD_FLAG_REQUIRES_GRAD, 10, 0, NULL, 1);
    for (uint32_t k = 0; k < LINKS; k++) { /* each keeps what it squares */
        raw_request(&busy, TD_FLAG_GRAD | (k ? TD_FLAG_CONSUME(0) : 0), 0, 3, TD_OP_square);
        busy.at = td_write_uint(td_write_uint(busy.at, 11 + k % 2), k ? 11 + (k + 1) % 2 : 10);
        if (k % 50000 == 0)
            assert_int_equal(raw_barrier(&busy, false).code, TD_E_OK);
    }
    assert_int_equal(raw_barrier(&busy, false).code, TD_E_OK);
    uint64_t all = raw_status(&light, "device.used_bytes"), left = all;
    assert_true(all >= (uint64_t)LINKS * BLOCK_BYTES);
    raw_request(&busy, 0, 0, 2, TD_R_RELEASE);
    busy.at = td_write_uint(busy.at, 11 + (LINKS - 1) % 2);
    for (int k = 0; k < LOOKS; k++)
        raw_request(&busy, 0, 0, 1, TD_R_STATUS);
    assert_true(raw_flush(&busy));
    for (int k = 0; k < LOOKS; k++) { /* what comes next in its own session does not wait for the end */
        uint64_t now = raw_take_status(&busy, busy.requests - LOOKS + 1 + (uint64_t)k, "device.used_bytes");
        assert_true(now <= left && now > all / 2);
        left = now;
    }
    for (uint64_t k = 0; k < TURNS; k++)
        small_turn(&light, k);
    raw_close(&busy);
    raw_close(&light);
    daemon_wait_empty(&daemon_);
}

/* A tensor whose bytes were cancelled on their way is no tensor of zeros. */
static void test_cancelled_upload(void **state)
{
    (void)state;
    static const uint8_t bytes[4] = {1};
    const int64_t shape[] = {2048, 2048};
    struct raw raw = raw_open(&daemon_);
    make(&raw, 0, 10, 2, shape, 1);
    raw_request(&raw, 0, 0, 4, TD_OP_from);
    raw.at = td_write_uint(td_write_array(td_write_uint(raw.at, 500), 1), 1);
    raw.at = td_write_int(raw.at, TD_F32);
    assert_int_equal(raw_barrier(&raw, false).code, TD_E_OK);
    for (uint32_t k = 0; k < 64; k++)
        call(&raw, 0, TD_OP_matmul, 100 + k, 10, 10);
    raw_request(&raw, 0, 0, 4, TD_R_UPLOAD);
    raw.at = td_write_bin_header(td_write_uint(td_write_uint(raw.at, 500), 0), sizeof bytes);
    memcpy(raw.at, bytes, sizeof bytes);
    raw.at += sizeof bytes;
    assert_true(raw_flush(&raw));
    ask_barrier(&raw);
    cancel(&raw, raw.requests, 500);
    raw_close(&raw);
}

/* ---- td_cancel ---- */

struct waiting {
    td_session *session;
    td_tensor loss;
    double value;
    atomic_bool done;
};

static void *wait_for_value(void *data)
{
    struct waiting *waiting = data;
    td_backward(waiting->loss);
    waiting->value = td_item(waiting->loss); /* behind the backward, so it is cancelled with it */
    waiting->done = true;
    return NULL;
}

static void test_cancel_from_another_thread(void **state)
{
    (void)state;
    pthread_t thread;
    struct waiting waiting = {.session = td_open(daemon_.address)};
    td_session *s = waiting.session;
    td_tensor x = td_ones(s, TD_SHAPE(PART_ELEMENTS), .requires_grad = true);
    waiting.loss = td_zeros(s, TD_SHAPE());
    td_tensor index = td_full(s, TD_SHAPE(), 5);
    for (int k = 0; k < PARTS; k++)
        waiting.loss = td_add(td_take(waiting.loss), td_sum(td_index_select(x, 0, index)));
    assert_int_equal(td_sync(s), TD_E_OK);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_value, &waiting), 0);
    while (!waiting.done) { /* the first may come before there is anything to cancel */
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        td_cancel(s);
    }
    pthread_join(thread, NULL);
    assert_int_equal(td_error(s)->code, TD_E_CANCELLED);
    td_clear_error(s);
    assert_true(td_item(td_add(td_ones(s, TD_SHAPE()), 1)) == 2);
    assert_int_equal(td_close(s), TD_E_OK);
}

/* Ops that are still in the library's buffer are cancelled as well, or are done: never half. */
static void test_cancel_and_go_on(void **state)
{
    (void)state;
    td_session *s = td_open(daemon_.address);
    td_tensor sum = td_zeros(s, TD_SHAPE());
    for (int k = 0; k < 2000; k++) {
        sum = td_add(td_take(sum), 1);
        if (k % 10 == 9)
            td_cancel(s);
    }
    double value = td_item(sum);
    assert_true(value == 2000 || td_error(s)->code == TD_E_CANCELLED);
    td_clear_error(s);
    td_cancel(s); /* with nothing to do it does nothing */
    assert_true(td_item(td_add(td_ones(s, TD_SHAPE()), 1)) == 2);
    assert_int_equal(td_close(s), TD_E_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_beside_backward, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beside_products, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beside_flooders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beside_the_end_of_a_graph, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_upload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_from_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_and_go_on, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
