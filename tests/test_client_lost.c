/* The client library when the daemon is lost, says goodbye, or is none: what then comes is one clear error.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support.h"

#include "client/tensord.h"

/* ---- a daemon that is really lost ---- */

static pid_t worker_of(const struct test_daemon *daemon)
{
    struct raw raw = raw_open(daemon);
    pid_t pid = (pid_t)raw_status(&raw, "pid");
    raw_close(&raw);
    return pid;
}

static void a_lost_worker_is_one_error(void **state)
{
    (void)state;
    struct test_daemon daemon;
    assert_int_equal(daemon_start(&daemon, NULL), 0);
    td_session *s = td_open(daemon.address);
    td_tensor x = td_ones(s, TD_SHAPE(3), .requires_grad = true);
    td_optimizer *adam = td_adam(s, TD_LIST(x));
    assert_int_equal(td_sync(s), 0);
    assert_int_equal(kill(worker_of(&daemon), SIGKILL), 0);
    for (int k = 0; k < 20; k++) { /* a loop that looks at nothing */
        TD_SCOPE(s);
        td_backward(td_sum(td_mul(x, 2)));
        td_step(adam);
    }
    assert_true(isnan(td_item(td_sum(x))));
    const td_error_info *e = td_error(s);
    assert_int_equal(e->code, TD_E_LOST);
    assert_non_null(strstr(e->message, "lost"));
    td_clear_error(s);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    assert_false(td_ok(x));
    assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(4)))) == 4);
    td_relu(x);
    assert_int_equal(td_error(s)->code, TD_E_LOST);
    td_clear_error(s);
    td_optimizer_free(adam);
    assert_int_equal(td_close(s), 0);
    assert_int_equal(daemon_stop(&daemon), 0);
}

static void a_daemon_that_stays_away(void **state)
{
    (void)state;
    struct test_daemon daemon;
    assert_int_equal(daemon_start(&daemon, NULL), 0);
    td_session *s = td_open(daemon.address);
    td_tensor x = td_ones(s, TD_SHAPE(3));
    assert_int_equal(td_sync(s), 0);
    assert_int_equal(daemon_stop(&daemon), 0);
    assert_true(isnan(td_item(td_sum(x))));
    int code = td_error(s)->code;
    assert_true(code == TD_E_LOST || code == TD_E_CLOSED);
    td_clear_error(s);
    assert_false(td_ok(td_ones(s, TD_SHAPE(1))));
    assert_int_equal(td_close(s), code);
}

/* ---- a daemon that is none ---- */

struct fake {
    pthread_t thread;
    int listener;
    char path[64], address[80];
    const uint8_t *answer; /* sent behind the WELCOME */
    size_t bytes;
    uint64_t credit_bytes, credit_requests;
    bool grants;       /* answers every frame with a CREDIT for it */
    _Atomic bool ends; /* the next frame is answered by GOODBYE */
    bool beyond;       /* more came than the credit allows */
    uint64_t frames, taken;
};

static bool take_all(int fd, uint8_t *at, size_t bytes)
{
    for (size_t have = 0; have < bytes;) {
        ssize_t got = recv(fd, at + have, bytes - have, 0);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

static size_t take_frame(int fd, uint8_t *at)
{
    uint8_t head[4];
    if (!take_all(fd, head, 4))
        return 0;
    size_t bytes = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    return bytes <= TD_FRAME_MAX && take_all(fd, at, bytes) ? bytes : 0;
}

static void send_frame(int fd, const uint8_t *payload, size_t bytes)
{
    uint8_t head[4];
    td_write_be32(head, (uint32_t)bytes);
    (void)!send(fd, head, 4, MSG_NOSIGNAL);
    (void)!send(fd, payload, bytes, MSG_NOSIGNAL);
}

static void welcome(int fd, const struct fake *fake)
{
    uint8_t payload[128], *at = td_write_array(payload, 10);
    const uint64_t numbers[] = {TD_REPLY_WELCOME, 1, 1, 1};
    for (int k = 0; k < 4; k++)
        at = td_write_uint(at, numbers[k]);
    at = td_write_uint(td_write_text(at, "cpu", 3), 0);
    at = td_write_uint(td_write_uint(at, fake->credit_bytes), fake->credit_requests);
    at = td_write_nil(td_write_uint(at, 64));
    send_frame(fd, payload, (size_t)(at - payload));
}

/* Requests in a frame: every one begins with flags and site, so objects / 3. */
static uint64_t requests_in(const uint8_t *frame, size_t bytes)
{
    struct td_reader r = td_reader_of(frame, bytes);
    uint64_t objects = 0;
    for (td_read_skip(&r); !r.failed && td_reader_left(&r); objects++)
        td_read_skip(&r);
    return objects / 3;
}

static void *serve(void *argument)
{
    struct fake *fake = argument;
    uint8_t *frame = malloc(TD_FRAME_MAX);
    uint64_t executed = 0;
    int fd = accept(fake->listener, NULL, NULL);
    if (fd >= 0 && take_frame(fd, frame)) {
        welcome(fd, fake);
        (void)!send(fd, fake->answer, fake->bytes, MSG_NOSIGNAL);
        for (size_t bytes; (bytes = take_frame(fd, frame)) > 0;) {
            uint8_t payload[32], *at = td_write_array(payload, 3);
            fake->frames++;
            fake->taken += 4 + bytes;
            executed += requests_in(frame, bytes);
            at = td_write_uint(td_write_uint(td_write_uint(at, TD_REPLY_CREDIT), executed), fake->taken);
            if (fake->ends)
                send_frame(fd,
                           (const uint8_t *)"\x93\2\x0f\xa4"
                                            "done",
                           8);
            if (fake->grants) {
                int waiting = 0;
                usleep(500);
                ioctl(fd, FIONREAD, &waiting); /* what is sent before this frame is granted */
                fake->beyond |= waiting > 0 && bytes + 4 + (size_t)waiting > fake->credit_bytes;
                send_frame(fd, payload, (size_t)(at - payload));
            }
        }
    }
    close(fake->listener); /* nobody is to come back */
    unlink(fake->path);
    close(fd);
    free(frame);
    return NULL;
}

static td_session *open_fake(struct fake *fake)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    static int number;
    snprintf(fake->path, sizeof fake->path, "/tmp/td-fake-%d-%d", (int)getpid(), number++);
    snprintf(fake->address, sizeof fake->address, "unix:%s", fake->path);
    memcpy(name.sun_path, fake->path, sizeof fake->path);
    fake->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fake->listener, 1), 0);
    assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
    return td_open(fake->address);
}

/* A session whose daemon sends this behind the WELCOME ends with this code, and does not crash or hang. */
static void expect_end(const void *answer, size_t bytes, int code)
{
    struct fake fake = {.answer = answer, .bytes = bytes, .credit_bytes = 1 << 20, .credit_requests = 1000};
    td_session *s = open_fake(&fake);
    float out[2];
    td_read(td_ones(s, TD_SHAPE(2)), out, TD_F32, 2);
    int got = td_close(s);
    pthread_join(fake.thread, NULL);
    if (got != code)
        fail_msg("ended with %s where %s is due", td_code_name(got), td_code_name(code));
}

static void nonsense_ends_the_session(void **state)
{
    (void)state;
    const struct {
        const char *bytes;
        size_t count;
    } answers[] = {
        {"\xff\xff\xff\xff", 4},                            /* a length beyond all limits */
        {"\0\0\0\1\0", 5},                                  /* too short for a message */
        {"\0\0\0\2\xc1\xc1", 6},                            /* no msgpack */
        {"\0\0\0\3\x93\5\xc0", 7},                          /* a CREDIT without numbers */
        {"\0\0\0\5\x94\3\1\1\5", 9},                        /* an error that is none */
        {"\0\0\0\x0a\x98\4\2\2\xc0\x09\x10\0\xc4\0", 14},   /* more elements than asked for */
        {"\0\0\0\x0c\x98\4\2\2\xc0\x09\x08\4\xc4\2ab", 16}, /* not from the start */
        {"\0\0\0\x1e\x98\4\2\2\xc0\x09\x08\0\xc4\x14"
         "aaaaaaaaaaaaaaaaaaaa",
         34},                                                 /* longer than it says */
        {"\0\0\0\x0e\x98\4\2\2\xc0\x0a\x08\0\xc4\4abcd", 18}, /* of another type */
        {"\0\0\0\x10\x98\4\2\2\xc0\x09\x08\0\xc6\xff\xff\xff\xff"
         "abc",
         20},                                             /* a bin beyond its frame */
        {"\0\0\0\x0a\xdd\xff\xff\xff\xff\1\1\1\1\1", 14}, /* a count without bytes */
    };
    for (size_t k = 0; k < sizeof answers / sizeof *answers; k++)
        expect_end(answers[k].bytes, answers[k].count, TD_E_PROTOCOL);
    expect_end("\0\0\0\x0c\x93\2\x0a\xa8too much", 16, TD_E_LIMIT);
}

static void never_beyond_the_credit(void **state)
{
    (void)state;
    struct fake fake = {.answer = (const uint8_t *)"", .credit_bytes = 2048, .credit_requests = 30, .grants = true};
    td_session *s = open_fake(&fake);
    td_tensor x = td_ones(s, TD_SHAPE(2));
    float *data = calloc(3 << 20, 1);
    for (int k = 0; k < 2000; k++) {
        TD_SCOPE(s);
        td_mul(x, k);
    }
    assert_non_null(data);
    td_from(s, data, TD_F32, TD_SHAPE(3 << 18)); /* frames above the credit: one at a time */
    td_flush(s);
    for (int k = 0; k < 100; k++)
        td_ones(s, TD_SHAPE(1));
    assert_false(td_ok(td_ones(s, TD_SHAPE(1)))); /* the fake has 64 handles */
    free(data);
    fake.ends = true;
    assert_int_equal(td_close(s), TD_E_LIMIT);
    pthread_join(fake.thread, NULL);
    assert_true(fake.frames > 30);
    assert_false(fake.beyond);
}

int main(void)
{
    alarm(60); /* what hangs here would hang a program */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_worker_is_one_error), cmocka_unit_test(a_daemon_that_stays_away),
        cmocka_unit_test(nonsense_ends_the_session), cmocka_unit_test(never_beyond_the_credit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
