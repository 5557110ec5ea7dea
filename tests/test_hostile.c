/* A real daemon and clients that mean it badly, or speak badly. What is well formed but wrong becomes an error value
 * and the error that stands; what is no msgpack ends its own session with a GOODBYE. A second, innocent session
 * computes on all the while, and at the end nothing of all that is left in the daemon. SPDX-License-Identifier:
 * Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "tests/support.h"

#define DEVICE_BYTES "64M"
#define SETTLE_MS 10000

static struct test_daemon daemon_;
static struct raw innocent;

/* ---- saying things ---- */

/* One request: id and then elements by the letters of form: u handle or other uint, i integer, f real, n nil, t and z
 * true and false, s text, b so many bytes of bin, [ an array of so many of what follows. count: of the outer array. */
static void say_as(struct raw *raw, uint32_t flags, uint32_t count, uint64_t id, const char *form, va_list values)
{
    raw_request(raw, flags, 0, count, id);
    for (; *form; form++) {
        uint8_t *at = raw->at;
        const char *text;
        uint32_t bytes;
        switch (*form) {
        case 'u':
            at = td_write_uint(at, va_arg(values, uint64_t));
            break;
        case 'i':
            at = td_write_int(at, va_arg(values, int64_t));
            break;
        case 'f':
            at = td_write_real(at, va_arg(values, double));
            break;
        case 's':
            text = va_arg(values, const char *);
            at = td_write_text(at, text, (uint32_t)strlen(text));
            break;
        case 'b':
            bytes = va_arg(values, uint32_t);
            at = td_write_bin_header(at, bytes);
            memset(at, 0, bytes);
            at += bytes;
            break;
        case '[':
            at = td_write_array(at, va_arg(values, uint32_t));
            break;
        case 'n':
            at = td_write_nil(at);
            break;
        default:
            at = td_write_bool(at, *form == 't');
        }
        raw->at = at;
    }
}

/* The elements are as many as form has outside of arrays, when arrays hold nothing nested. */
static uint32_t count_of(const char *form, va_list values)
{
    uint32_t count = 1, inside = 0;
    for (; *form; form++) {
        uint32_t open = 0;
        switch (*form) {
        case 'u':
        case 'i':
            (void)va_arg(values, uint64_t);
            break;
        case 'f':
            (void)va_arg(values, double);
            break;
        case 's':
            (void)va_arg(values, const char *);
            break;
        case 'b':
        case '[':
            open = va_arg(values, uint32_t);
            break;
        }
        if (inside)
            inside--;
        else
            count++;
        if (*form == '[')
            inside += open;
    }
    return count;
}

static void say(struct raw *raw, uint32_t flags, uint64_t id, const char *form, ...)
{
    va_list values, again;
    va_start(values, form);
    va_copy(again, values);
    say_as(raw, flags, count_of(form, again), id, form, values);
    va_end(again);
    va_end(values);
}
#define U(n) ((uint64_t)(n))
#define J(n) ((int64_t)(n))
#define K(n) ((uint32_t)(n))

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* ---- the innocent session ---- */

static void innocent_computes(void)
{
    double values[5];
    size_t count;
    struct raw *raw = &innocent;
    say(raw, 0, TD_OP_arange, "uuuuu", U(1), U(0), U(5), U(1), U(TD_F64));
    say(raw, 0, TD_OP_square, "uu", U(2), U(1));
    say(raw, TD_FLAG_CONSUME(0), TD_OP_add, "uuu", U(3), U(2), U(1));
    struct raw_error error = raw_read(raw, 3, values, 5, &count);
    assert_int_equal(error.code, TD_E_OK);
    assert_int_equal(count, 5);
    for (int k = 0; k < 5; k++)
        assert_true(values[k] == k * k + k);
    say(raw, 0, TD_R_RELEASE, "uu", U(1), U(3));
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
}

static int setup_group(void **state)
{
    (void)state;
    if (daemon_start(&daemon_, (const char *const[]){"--memory", DEVICE_BYTES, "--log-level", "warn", NULL}))
        return -1;
    innocent = raw_open(&daemon_);
    innocent_computes();
    return 0;
}

/* Whatever came before: this daemon is clean, and goes when it is asked to. */
static int teardown_group(void **state)
{
    (void)state;
    innocent_computes();
    uint64_t sessions = 0, used = 0;
    for (int ms = 0; ms < SETTLE_MS; ms += 10) {
        sessions = raw_status(&innocent, "sessions");
        used = raw_status(&innocent, "device.used_bytes");
        if (sessions == 1 && used == 0)
            break;
        sleep_ms(10);
    }
    uint64_t tensors = raw_status(&innocent, "mine.tensors"), life = raw_status(&innocent, "life");
    raw_close(&innocent);
    int stopped = daemon_stop(&daemon_);
    if (sessions != 1 || used || tensors || life != 1)
        print_error("left behind: %d sessions, %d bytes, %d tensors; life %d\n", (int)sessions, (int)used, (int)tensors,
                    (int)life);
    return stopped || sessions != 1 || used || tensors || life != 1 ? -1 : 0;
}

static int after_each(void **state)
{
    (void)state;
    innocent_computes();
    return 0;
}

/* ---- before the session: HELLO ---- */

static void refuse_hello(const void *bytes, size_t count, int code)
{
    char message[TD_MESSAGE_BYTES];
    struct raw raw = raw_connect(&daemon_);
    assert_true(raw_send(&raw, bytes, count));
    assert_int_equal(raw_goodbye(&raw, message), code);
    assert_true(message[0] != 0);
    raw_close(&raw);
}

static void test_hello_garbage(void **state)
{
    (void)state;
    refuse_hello("GET / HTTP/1.1\r\n\r\n", 18, TD_E_PROTOCOL);
    refuse_hello("\0\0\0\0", 4, TD_E_PROTOCOL);
    refuse_hello("\0\0\x04\x01", 4, TD_E_PROTOCOL);
    refuse_hello("\xff\xff\xff\xff", 4, TD_E_PROTOCOL);
    refuse_hello("\0\0\0\x01\xc1", 5, TD_E_PROTOCOL);
    refuse_hello("\0\0\0\x09\x96\xa7tensorX", 13, TD_E_PROTOCOL);
    refuse_hello("\0\0\0\x0b\x96\xa7tensord\x05\x09", 15, TD_E_VERSION);
    refuse_hello("\0\0\0\x0b\x96\xa7tensord\x01\x01", 15, TD_E_PROTOCOL);            /* cut short */
    refuse_hello("\0\0\0\x0f\x97\xa7tensord\x01\x01\0\0\xa0\x03", 19, TD_E_VERSION); /* no such purpose */
    refuse_hello("\0\0\0\x13\x97\xa7tensord\x01\x01\0\0\xa0\xce\xff\xff\xff\xff", 23, TD_E_VERSION);
    refuse_hello("\0\0\0\x10\x97\xa7tensord\x01\x01\0\0\xa0\xa1o", 20, TD_E_PROTOCOL);
    refuse_hello("\0\0\0\x0f\x97\xa7tensord\x01\x01\0\0\xa0\xff", 19, TD_E_PROTOCOL);
    refuse_hello("\0\0\0\x0e\x97\xa7tensord\x01\x01\0\0\xa0", 18, TD_E_PROTOCOL); /* a purpose is missing */
}

static void test_hello_half_and_gone(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < 12; bytes++) {
        struct raw raw = raw_connect(&daemon_);
        assert_true(raw_send(&raw, "\0\0\0\x10\x96\xa7tensord\x01", bytes));
        raw_close(&raw);
    }
}

/* ---- bytes that are no requests: GOODBYE ---- */

static void break_off(const void *bytes, size_t count, int code)
{
    char message[TD_MESSAGE_BYTES];
    struct raw raw = raw_open(&daemon_);
    say(&raw, 0, TD_OP_zeros, "u[uu", U(1), K(1), U(1000), U(0)); /* something to be left behind */
    assert_true(raw_flush(&raw));
    assert_true(raw_send(&raw, bytes, count));
    assert_int_equal(raw_goodbye(&raw, message), code);
    assert_true(message[0] != 0);
    raw_close(&raw);
}
#define BREAK(code, bytes) break_off(bytes, sizeof(bytes) - 1, code)

static void test_broken_frames(void **state)
{
    (void)state;
    BREAK(TD_E_PROTOCOL, "\0\0\0\0");                                         /* not even an ack */
    BREAK(TD_E_LIMIT, "\xff\xff\xff\xff");                                    /* longer than any frame */
    BREAK(TD_E_LIMIT, "\0\x11\0\x01");                                        /* by one byte */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x01\xc1");                                   /* the byte that msgpack never uses */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x02\xa1x");                                  /* an ack that is a text */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x02\0\0");                                   /* ends after flags */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x04\0\0\0\x90");                             /* an array without an id */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x05\0\0\0\x91\xc0");                         /* an id that is nil */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x05\0\0\0\x92\x04");                         /* an element is missing */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x09\0\0\0\xdd\xff\xff\xff\xff\x04");         /* a count that cannot be */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x05\0\0\xc3\x91\x04");                       /* a site that is a bool */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x06\0\xff\0\x91\x04\xc0");                   /* flags below 0 */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x0a\0\0\0\x92\x46\xdb\xff\xff\xff\xff");     /* a text without its bytes */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x0b\0\0\0\x92\x04\x91\x91\x91\x91\x91\x01"); /* nested too deep */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x08\0\0\0\x92\x04\xd4\x01\x01");             /* an ext type */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x01\xc0");                                   /* urgent, and then nothing */
    BREAK(TD_E_PROTOCOL, "\0\0\0\x04\xc0\x01\xa1x");                          /* a ping with a text */
}

static void test_deep_nesting(void **state)
{
    (void)state;
    static uint8_t bytes[100004];
    memset(bytes, 0x91, sizeof bytes);
    memcpy(bytes, "\0\x01\x86\xa0\0\0\0\x92\x04", 9);
    break_off(bytes, sizeof bytes, TD_E_PROTOCOL);
}

/* ---- well formed and wrong: error values ---- */

/* What was just said must have failed with code: its result, if it has one, what depends on that, and the error that
 * stands, which names the request. The session goes on. */
static void expect_error(struct raw *raw, int code, int64_t result)
{
    uint64_t request = raw->requests;
    struct raw_error error;
    double value;
    size_t count;
    if (result >= 0) {
        say(raw, 0, TD_OP_neg, "uu", U(900), U(result));
        error = raw_read(raw, (uint32_t)result, &value, 1, &count);
        assert_int_equal(error.code, code);
        assert_true(error.request == request);
        error = raw_read(raw, 900, &value, 1, &count);
        assert_int_equal(error.code, code);
        assert_true(error.request == request); /* the first cause, not its own */
        say(raw, 0, TD_R_RELEASE, "uu", U(900), U(result));
    }
    error = raw_barrier(raw, true);
    if (error.code != code)
        print_error("request %d: code %s (%s) where %s is due\n", (int)request, td_error_name(error.code),
                    error.message, td_error_name(code));
    assert_int_equal(error.code, code);
    assert_true(error.request == request);
    assert_true(error.message[0] != 0);
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
}
#define WRONG(code, result, ...)         \
    do {                                 \
        say(raw, 0, __VA_ARGS__);        \
        expect_error(raw, code, result); \
    } while (0)

/* Handles of every session below: 1 is f32 (2, 3), 2 is i64 (3), 3 was released. */
static struct raw session_with_tensors(void)
{
    struct raw opened = raw_open(&daemon_), *raw = &opened;
    say(raw, 0, TD_OP_ones, "u[uuu", U(1), K(2), U(2), U(3), U(0));
    say(raw, 0, TD_OP_arange, "uuuuu", U(2), U(0), U(3), U(1), U(0));
    say(raw, 0, TD_OP_ones, "u[uu", U(3), K(1), U(4), U(0));
    say(raw, 0, TD_R_RELEASE, "u", U(3));
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    return opened;
}

static void test_unknown_ops(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    WRONG(TD_E_UNKNOWN_OP, -1, 0, "uu", U(1), U(2));
    WRONG(TD_E_UNKNOWN_OP, -1, 159, "uu", U(7), U(1));
    WRONG(TD_E_UNKNOWN_OP, -1, 1u << 20, "s[uu", "x", K(2), U(1), U(1));
    WRONG(TD_E_UNKNOWN_OP, -1, UINT64_MAX, "n");
    raw_close(raw);
}

static void test_wrong_parameters(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    WRONG(TD_E_ARGUMENT, 7, TD_OP_add, "uu", U(7), U(1));               /* one too few */
    WRONG(TD_E_ARGUMENT, 7, TD_OP_add, "uuuu", U(7), U(1), U(1), U(1)); /* one too many */
    WRONG(TD_E_ARGUMENT, 7, TD_OP_add, "u[fu", U(7), K(1), 2.0, U(1));  /* a value where a tensor is due */
    WRONG(TD_E_ARGUMENT, 7, TD_OP_matmul, "uu[f", U(7), U(1), K(1), 2.0);
    WRONG(TD_E_ARGUMENT, 7, TD_OP_add, "uu[uu", U(7), U(1), K(2), U(1), U(1)); /* two numbers where one is due */
    WRONG(TD_E_ARGUMENT, 7, TD_OP_add, "uus", U(7), U(1), "one");
    WRONG(TD_E_ARGUMENT, 7, TD_OP_neg, "un", U(7));
    WRONG(TD_E_ARGUMENT, 7, TD_OP_zeros, "uuu", U(7), U(5), U(0)); /* no array */
    WRONG(TD_E_ARGUMENT, 7, TD_OP_zeros, "unu", U(7), U(0));
    WRONG(TD_E_ARGUMENT, 7, TD_OP_zeros, "u[su", U(7), K(1), "5", U(0));
    WRONG(TD_E_ARGUMENT, 7, TD_OP_zeros, "u[uu", U(7), K(1), UINT64_MAX, U(0)); /* beyond int64 */
    WRONG(TD_E_DTYPE, 7, TD_OP_zeros, "u[uu", U(7), K(1), U(5), U(99));
    WRONG(TD_E_DTYPE, 7, TD_OP_to, "uuu", U(7), U(1), U(0));
    WRONG(TD_E_LIMIT, 7, TD_OP_zeros, "u[uuuuuuuuuu", U(7), K(9), U(1), U(1), U(1), U(1), U(1), U(1), U(1), U(1), U(1),
          U(0));
    WRONG(TD_E_ARGUMENT, 7, TD_OP_sum, "uunu", U(7), U(1), U(1)); /* a flag that is a number */
    WRONG(TD_E_ARGUMENT, 7, TD_OP_select, "uuuf", U(7), U(1), U(0), 1.0);
    WRONG(TD_E_DTYPE, 7, TD_OP_embedding, "uuuu", U(7), U(1), U(1), U(0)); /* an index that is f32 */
    WRONG(TD_E_SHAPE, 7, TD_OP_matmul, "uuu", U(7), U(1), U(1));
    WRONG(TD_E_INDEX, 7, TD_OP_select, "uuuu", U(7), U(1), U(0), U(9));
    WRONG(TD_E_INDEX, 7, TD_OP_index_select, "uuuu", U(7), U(1), U(0), U(2)); /* found in the data */
    WRONG(TD_E_ARGUMENT, -1, TD_OP_add_, "u", U(1));
    WRONG(TD_E_SHAPE, -1, TD_OP_fill_, "uu", U(1), U(2));
    WRONG(TD_E_ARGUMENT, -1, TD_OP_sgd_step_, "uuu", U(1), U(1), U(1)); /* no lists */
    double values[6];
    size_t count;
    assert_int_equal(raw_read(raw, 1, values, 6, &count).code, TD_E_OK); /* none of it touched its target */
    for (size_t k = 0; k < count; k++)
        assert_true(values[k] == 1);
    raw_close(raw);
}

static void test_sizes_that_overflow(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    const int64_t big = INT64_C(1) << 40;
    WRONG(TD_E_SHAPE, 7, TD_OP_zeros, "u[uuu", U(7), K(2), U(big), U(big), U(0));
    WRONG(TD_E_SHAPE, 7, TD_OP_zeros, "u[iu", U(7), K(1), INT64_MIN, U(0));
    WRONG(TD_E_SHAPE, 7, TD_OP_zeros, "u[uuu", U(7), K(2), U(INT64_MAX), U(INT64_MAX), U(0));
    WRONG(TD_E_SHAPE, 7, TD_OP_reshape, "uu[ii", U(7), U(1), K(2), INT64_MAX, INT64_MAX);
    WRONG(TD_E_SHAPE, 7, TD_OP_strided_read, "uu[i[ii", U(7), U(1), K(1), J(3), K(1), INT64_MAX, INT64_MAX);
    WRONG(TD_E_SHAPE, 7, TD_OP_arange, "uiiiu", U(7), INT64_MIN, INT64_MAX, J(1), U(0));
    WRONG(TD_E_ARGUMENT, 7, TD_OP_slice, "uuuiii", U(7), U(1), U(0), INT64_MIN, INT64_MAX, INT64_MIN);
    WRONG(TD_E_MEMORY, 7, TD_OP_zeros, "u[uu", U(7), K(1), U(big), U(0)); /* larger than the device */
    WRONG(TD_E_MEMORY, 7, TD_OP_zeros, "u[uu", U(7), K(1), TD_ELEMENTS_MAX, U(TD_F64));
    say(raw, 0, TD_OP_expand, "uu[u", U(8), U(4), K(1), U(2)); /* of a tensor that is not there */
    expect_error(raw, TD_E_HANDLE, 8);
    say(raw, 0, TD_OP_ones, "u[uuu", U(4), K(2), U(1), U(1), U(0));
    say(raw, 0, TD_OP_expand, "uu[uu", U(5), U(4), K(2), U(big), U(1));
    say(raw, 0, TD_OP_expand, "uu[uu", U(6), U(4), K(2), U(1), U(big));
    WRONG(TD_E_SHAPE, 7, TD_OP_add, "uuu", U(7), U(5), U(6));
    WRONG(TD_E_SHAPE, 7, TD_OP_mse_loss, "uuuu", U(7), U(5), U(6), U(TD_MEAN));
    WRONG(TD_E_MEMORY, 7, TD_OP_clone, "uu", U(7), U(5));
    say(raw, 0, TD_OP_expand, "uu[uu", U(9), U(4), K(2), U(big), U(1 << 14));
    WRONG(TD_E_LIMIT, 7, TD_OP_sum, "uunz", U(7), U(9)); /* takes no memory, but years */
    raw_close(raw);
}

static void test_handles(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    WRONG(TD_E_HANDLE, 7, TD_OP_neg, "uu", U(7), U(3));  /* released */
    WRONG(TD_E_HANDLE, 7, TD_OP_neg, "uu", U(7), U(77)); /* never made */
    WRONG(TD_E_HANDLE, 7, TD_OP_neg, "uu", U(7), U(TD_HANDLES_MAX));
    WRONG(TD_E_HANDLE, 7, TD_OP_neg, "uu", U(7), UINT64_MAX);
    WRONG(TD_E_HANDLE, 7, TD_OP_neg, "ui", U(7), J(-1));
    WRONG(TD_E_HANDLE, 7, TD_OP_neg, "uu", U(7), U(7));  /* its own result */
    WRONG(TD_E_HANDLE, -1, TD_OP_neg, "uu", U(1), U(2)); /* the result's handle is in use */
    WRONG(TD_E_LIMIT, -1, TD_OP_neg, "uu", U(TD_HANDLES_MAX), U(2));
    WRONG(TD_E_LIMIT, -1, TD_OP_neg, "iu", J(-1), U(2));
    WRONG(TD_E_LIMIT, -1, TD_OP_neg, "su", "y", U(2));
    WRONG(TD_E_HANDLE, -1, TD_OP_add_, "uu", U(77), U(1));
    WRONG(TD_E_HANDLE, -1, TD_R_RELEASE, "u", U(3));
    WRONG(TD_E_HANDLE, -1, TD_R_RELEASE, "uu", U(77), U(1));
    WRONG(TD_E_HANDLE, -1, TD_R_RELEASE, "s", "all");
    WRONG(TD_E_HANDLE, -1, TD_R_RELEASE, "u", UINT64_MAX);
    WRONG(TD_E_HANDLE, -1, TD_R_NAME, "us", U(77), "x");
    WRONG(TD_E_HANDLE, -1, TD_R_ZERO_GRAD, "u", U(77));
    WRONG(TD_E_HANDLE, -1, TD_R_REQUIRES_GRAD, "ut", U(77));
    WRONG(TD_E_HANDLE, -1, TD_R_BACKWARD, "unzz", U(77));
    WRONG(TD_E_HANDLE, -1, TD_R_BACKWARD, "uuzz", U(1), U(77));
    WRONG(TD_E_HANDLE, 7, TD_R_GRAD, "uu", U(7), U(77));
    WRONG(TD_E_GRAD, 7, TD_R_GRAD, "uu", U(7), U(1));
    WRONG(TD_E_GRAD, -1, TD_R_BACKWARD, "unzz", U(1));
    WRONG(TD_E_GRAD, -1, TD_R_REQUIRES_GRAD, "ut", U(2)); /* integers */
    double value;
    size_t count;
    assert_int_equal(raw_read(raw, 77, &value, 1, &count).code, TD_E_HANDLE);
    expect_error(raw, TD_E_HANDLE, -1);
    /* Inputs that were to be consumed are, though the request is refused. */
    uint64_t tensors = raw_status(raw, "mine.tensors");
    say(raw, TD_FLAG_CONSUME(0), TD_OP_matmul, "uuu", U(7), U(1), U(1));
    expect_error(raw, TD_E_SHAPE, 7);
    assert_int_equal(raw_status(raw, "mine.tensors"), tensors - 1);
    raw_close(raw);
}

static void test_wrong_requests(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    static char text[400];
    memset(text, 'x', sizeof text - 1);
    WRONG(TD_E_LIMIT, -1, TD_R_SITE, "us", U(TD_SITES_MAX), "file.c:1");
    WRONG(TD_E_LIMIT, -1, TD_R_SITE, "us", U(1), text);
    WRONG(TD_E_LIMIT, -1, TD_R_SITE, "uu", U(1), U(2));
    WRONG(TD_E_LIMIT, -1, TD_R_SITE, "");
    WRONG(TD_E_LIMIT, -1, TD_R_NAME, "us", U(1), text);
    WRONG(TD_E_LIMIT, -1, TD_R_NAME, "u", U(1));
    WRONG(TD_E_ARGUMENT, -1, TD_R_SEED, "");
    WRONG(TD_E_ARGUMENT, -1, TD_R_SEED, "s", "seed");
    WRONG(TD_E_ARGUMENT, -1, TD_R_SEED, "i", J(-1));
    WRONG(TD_E_ARGUMENT, -1, TD_R_REQUIRES_GRAD, "u", U(1));
    WRONG(TD_E_ARGUMENT, -1, TD_R_REQUIRES_GRAD, "uu", U(1), U(1));
    WRONG(TD_E_ARGUMENT, -1, TD_R_BACKWARD, "un", U(1));
    WRONG(TD_E_ARGUMENT, -1, TD_R_BACKWARD, "unuu", U(1), U(0), U(0));
    WRONG(TD_E_ARGUMENT, -1, TD_R_ANSWER, "ut", U(1));
    WRONG(TD_E_ARGUMENT, -1, TD_R_CALLED, "us", U(1), "mine");
    WRONG(TD_E_ARGUMENT, -1, TD_R_UPLOAD, "u", U(1));
    WRONG(TD_E_ARGUMENT, -1, TD_R_UPLOAD, "uss", U(1), "0", "abc");
    WRONG(TD_E_ARGUMENT, -1, TD_R_UPLOAD, "uus", U(1), U(0), "abc");
    WRONG(TD_E_ARGUMENT, -1, TD_R_UPLOAD, "uib", U(1), J(-1), K(4));
    double value;
    size_t count;
    say(raw, 0, TD_R_READ, "uu", U(1), U(99));
    raw_flush(raw);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DATA);
    expect_error(raw, TD_E_DTYPE, -1);
    /* Texts of clients reach logs and terminals only without what moves a cursor. */
    say(raw, 0, TD_R_SITE, "us", U(1), "evil\033[2J\n.c:1");
    say(raw, 0, TD_R_NAME, "us", U(1), "\033]0;name\007\x7f");
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    raw_request(raw, 0, 1, 3, TD_OP_neg);
    raw->at = td_write_uint(td_write_uint(raw->at, 7), 77);
    struct raw_error error = raw_read(raw, 7, &value, 1, &count);
    assert_string_equal(error.site, "evil?[2J?.c:1");
    error = raw_barrier(raw, true);
    assert_int_equal(error.code, TD_E_HANDLE);
    assert_string_equal(error.site, "evil?[2J?.c:1");
    raw_close(raw);
}

/* A read with the flag ends its handle, whatever becomes of it; one that is not there it does not name twice. */
static void test_read_that_uses_up(void **state)
{
    (void)state;
    static const struct {
        uint64_t handle, dtype;
        int code;
    } cases[] = {{1, 0, TD_E_OK}, {1, 99, TD_E_DTYPE}, {77, 0, TD_E_HANDLE}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct raw opened = session_with_tensors(), *raw = &opened;
        say(raw, TD_FLAG_CONSUME(0) | TD_FLAG_CONSUME(1), TD_R_READ, "uu", U(cases[k].handle), U(cases[k].dtype));
        raw_flush(raw);
        assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DATA);
        assert_int_equal(raw_barrier(raw, true).code, cases[k].code);
        say(raw, 0, TD_R_RELEASE, "u", U(1));
        assert_int_equal(raw_barrier(raw, true).code, cases[k].handle == 1 ? TD_E_HANDLE : TD_E_OK);
        raw_close(raw);
    }
}

/* The error that stands is the lowest failing request's; a healthy tensor can be read all the while. */
static void test_first_error_stands(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    double values[6];
    size_t count;
    say(raw, 0, TD_OP_select, "uuuu", U(7), U(1), U(9), U(0));
    uint64_t first = raw->requests;
    say(raw, 0, TD_OP_neg, "uu", U(8), U(77));
    assert_int_equal(raw_read(raw, 1, values, 6, &count).code, TD_E_OK);
    assert_int_equal(count, 6);
    say(raw, 0, TD_OP_add_, "uu", U(1), U(7)); /* in place with a failed operand: skipped */
    assert_int_equal(raw_read(raw, 1, values, 6, &count).code, TD_E_OK);
    assert_true(values[0] == 1);
    for (int k = 0; k < 2; k++) {
        struct raw_error error = raw_barrier(raw, k == 1);
        assert_int_equal(error.code, TD_E_INDEX);
        assert_true(error.request == first);
    }
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    raw_close(raw);
}

/* ---- uploads ---- */

static void upload(struct raw *raw, uint64_t handle, uint64_t offset, const void *data, uint32_t bytes)
{
    say(raw, 0, TD_R_UPLOAD, "uub", handle, offset, bytes);
    memcpy(raw->at - bytes, data, bytes);
    assert_true(raw_flush(raw));
}

static void test_uploads(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    const double data[4] = {1, 2, 3, 4};
    double values[4];
    size_t count;
    say(raw, 0, TD_OP_from, "u[uu", U(10), K(1), U(4), U(TD_F64));
    for (int k = 3; k >= 0; k--) /* out of order */
        upload(raw, 10, U(k) * 8, &data[k], 8);
    upload(raw, 10, 32, data, 0);
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    upload(raw, 10, 25, data, 8); /* past the end */
    expect_error(raw, TD_E_INDEX, -1);
    upload(raw, 10, INT64_MAX - 3, data, 8);
    expect_error(raw, TD_E_INDEX, -1);
    upload(raw, 10, INT64_MAX, data, 8);
    expect_error(raw, TD_E_INDEX, -1);
    upload(raw, 77, 0, data, 8);
    expect_error(raw, TD_E_HANDLE, -1);
    assert_int_equal(raw_read(raw, 10, values, 4, &count).code, TD_E_OK);
    assert_memory_equal(values, data, sizeof data);
    say(raw, 0, TD_OP_from, "u[uu", U(11), K(1), U(3), U(TD_BOOL));
    upload(raw, 11, 0, "\xff\0\x02", 3);
    say(raw, 0, TD_OP_sum, "uunz", U(12), U(11));
    assert_int_equal(raw_read(raw, 12, values, 4, &count).code, TD_E_OK);
    assert_true(values[0] == 2); /* and not 257 */
    raw_close(raw);
}

/* ---- streams, events, memory of the host ---- */

/* The answer to a request whose answer is an array that begins with an error or nil. */
static struct raw_error expect_map(struct raw *raw)
{
    assert_true(raw_flush(raw));
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_MAP);
    td_read_uint(&raw->reply);
    td_read_uint(&raw->reply);
    td_read_array(&raw->reply);
    return raw_take_error(&raw->reply);
}

static int expect_done(struct raw *raw)
{
    assert_true(raw_flush(raw));
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DONE);
    td_read_uint(&raw->reply);
    td_read_uint(&raw->reply);
    return raw_take_error(&raw->reply).code;
}

static void test_streams_and_events(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    static const uint64_t far[] = {TD_STREAMS_MAX, TD_EVENTS_MAX, TD_HANDLES_MAX, UINT32_MAX, UINT64_MAX};
    say(raw, 0, TD_R_STREAM, "u", U(TD_STREAMS_MAX - 1));
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    for (size_t k = 0; k < sizeof far / sizeof *far; k++) {
        say(raw, 0, TD_R_STREAM, "u", far[k]);
        expect_error(raw, TD_E_ARGUMENT, -1);
        say(raw, 0, TD_R_EVENT_RECORD, "uu", U(1), far[k]);
        expect_error(raw, TD_E_ARGUMENT, -1);
        say(raw, 0, TD_R_STREAM_WAIT, "uu", U(1), far[k]); /* no such event */
        expect_error(raw, far[k] < TD_EVENTS_MAX ? TD_E_ARGUMENT : TD_E_LIMIT, -1);
        say(raw, 0, TD_R_EVENT_FREE, "u", far[k]);
        expect_error(raw, far[k] < TD_EVENTS_MAX ? TD_E_ARGUMENT : TD_E_LIMIT, -1);
        say(raw, 0, TD_R_ELAPSED, "uu", U(1), far[k]);
        assert_int_equal(expect_map(raw).code, TD_E_ARGUMENT);
        expect_error(raw, TD_E_ARGUMENT, -1);
    }
    say(raw, 0, TD_R_EVENT_RECORD, "uu", U(TD_EVENTS_MAX), U(0));
    expect_error(raw, TD_E_LIMIT, -1);
    say(raw, 0, TD_R_EVENT_RECORD, "uu", U(TD_EVENTS_MAX - 1), U(3));
    say(raw, 0, TD_R_ELAPSED, "uu", U(TD_EVENTS_MAX - 1), U(TD_EVENTS_MAX - 1));
    assert_int_equal(expect_map(raw).code, TD_E_OK);
    assert_true(td_read_real(&raw->reply) == 0);
    say(raw, 0, TD_R_EVENT_FREE, "u", U(TD_EVENTS_MAX - 1));
    say(raw, 0, TD_R_EVENT_FREE, "u", U(TD_EVENTS_MAX - 1));
    expect_error(raw, TD_E_ARGUMENT, -1);
    say(raw, 0, TD_R_STREAM, "s", "zero");
    expect_error(raw, TD_E_ARGUMENT, -1);
    say(raw, 0, TD_R_MEMORY, "u", U(1)); /* answers all the same */
    assert_true(raw_flush(raw));
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_MAP);
    expect_error(raw, TD_E_ARGUMENT, -1);
    raw_close(raw);
}

/* Asked for urgently, an event is told of while the queue stands still. */
static void test_urgent_events(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    static const uint64_t numbers[] = {0, 3, 4, TD_EVENTS_MAX, UINT64_MAX};
    say(raw, 0, TD_R_EVENT_RECORD, "uu", U(3), U(0));
    uint64_t recorded = raw->requests;
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        uint8_t payload[16], *at = td_write_nil(payload);
        at = td_write_uint(td_write_uint(at, TD_URGENT_EVENT), numbers[k]);
        assert_true(raw_frame(raw, payload, (size_t)(at - payload)));
        assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_EVENT);
        assert_true(td_read_uint(&raw->reply) == numbers[k]);
        assert_true(td_read_uint(&raw->reply) == (numbers[k] == 3 ? recorded : 0));
        assert_true(td_read_bool(&raw->reply) == (numbers[k] == 3));
    }
    raw_close(raw);
}

/* raw_receive lets the descriptors go; the daemon keeps its own. */
static void test_host_memory(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    static const int64_t wrong[] = {0, -1, TD_HOST_BYTES + 1, INT64_MAX, INT64_MIN};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        say(raw, 0, TD_R_HOST_ALLOC, "ui", U(0), J(wrong[k]));
        assert_int_equal(expect_map(raw).code, TD_E_LIMIT);
        expect_error(raw, TD_E_LIMIT, -1);
    }
    say(raw, 0, TD_R_HOST_ALLOC, "ui", U(TD_HOSTS_MAX), J(4096));
    assert_int_equal(expect_map(raw).code, TD_E_ARGUMENT);
    expect_error(raw, TD_E_ARGUMENT, -1);
    say(raw, 0, TD_R_HOST_ALLOC, "ui", U(5), J(5000)); /* becomes two pages */
    assert_int_equal(expect_map(raw).code, TD_E_OK);
    assert_true(td_read_uint(&raw->reply) == 8192);
    say(raw, 0, TD_R_HOST_ALLOC, "ui", U(5), J(4096));
    assert_int_equal(expect_map(raw).code, TD_E_ARGUMENT);
    expect_error(raw, TD_E_ARGUMENT, -1);

    say(raw, 0, TD_OP_from, "u[uu", U(10), K(1), U(2048), U(TD_F32));
    static const struct {
        uint64_t handle;
        int64_t offset;
        uint64_t number;
        int64_t at, bytes;
        int code;
    } copies[] = {
        {10, 0, 5, 0, 8192, TD_E_OK},
        {10, 8192, 5, 8192, 0, TD_E_OK},
        {10, 4, 5, 0, 8192, TD_E_INDEX},
        {10, 0, 5, 1, 8192, TD_E_INDEX},
        {10, 0, 5, 8193, 0, TD_E_INDEX},
        {10, 0, 5, INT64_MAX, 4, TD_E_INDEX},
        {10, 0, 5, 4, INT64_MAX, TD_E_INDEX},
        {10, INT64_MAX, 5, 0, 4, TD_E_INDEX},
        {10, -4, 5, 0, 4, TD_E_INDEX},
        {10, 0, 5, 0, -4, TD_E_ARGUMENT},
        {10, 0, 5, -4, 4, TD_E_ARGUMENT},
        {10, 0, 6, 0, 4, TD_E_ARGUMENT},
        {10, 0, UINT64_C(1) << 40, 0, 4, TD_E_ARGUMENT},
        {77, 0, 5, 0, 4, TD_E_HANDLE},
        {10, 0, 5, 0, 9000, TD_E_INDEX},
    };
    for (size_t k = 0; k < 2 * sizeof copies / sizeof *copies; k++) {
        bool tell = k & 1;
        say(raw, 0, TD_R_COPY_IN, tell ? "uiuiit" : "uiuiiz", copies[k / 2].handle, copies[k / 2].offset,
            copies[k / 2].number, copies[k / 2].at, copies[k / 2].bytes);
        if (tell)
            assert_int_equal(expect_done(raw), copies[k / 2].code);
        assert_int_equal(raw_barrier(raw, true).code, copies[k / 2].code);
    }
    say(raw, 0, TD_R_COPY_OUT, "uuui", U(10), U(TD_F32), U(5), J(0));
    assert_int_equal(expect_done(raw), TD_E_OK);
    say(raw, 0, TD_R_COPY_OUT, "uuui", U(10), U(TD_F64), U(5), J(0)); /* twice as much */
    assert_int_equal(expect_done(raw), TD_E_INDEX);
    expect_error(raw, TD_E_INDEX, -1);
    say(raw, 0, TD_R_COPY_OUT, "uuui", U(10), U(0), U(5), J(4));
    assert_int_equal(expect_done(raw), TD_E_INDEX);
    expect_error(raw, TD_E_INDEX, -1);
    say(raw, 0, TD_R_COPY_OUT, "uuui", U(10), U(99), U(5), J(0));
    assert_int_equal(expect_done(raw), TD_E_DTYPE);
    expect_error(raw, TD_E_DTYPE, -1);
    say(raw, 0, TD_R_COPY_OUT, "uuui", U(10), U(0), U(4), J(0));
    assert_int_equal(expect_done(raw), TD_E_ARGUMENT);
    expect_error(raw, TD_E_ARGUMENT, -1);
    say(raw, 0, TD_R_COPY_IN, "ui", U(10), J(0)); /* cut short, and so nothing that would tell */
    expect_error(raw, TD_E_ARGUMENT, -1);
    say(raw, 0, TD_R_HOST_FREE, "u", U(5));
    say(raw, 0, TD_R_HOST_FREE, "u", U(5));
    expect_error(raw, TD_E_ARGUMENT, -1);
    say(raw, 0, TD_R_HOST_ALLOC, "ui", U(5), J(1 << 20)); /* which its end ends */
    assert_int_equal(expect_map(raw).code, TD_E_OK);
    raw_close(raw);
}

/* What uploads leave out is 0, whatever lay there, wherever the gap is and whatever comes between. */
static void test_upload_gaps(void **state)
{
    (void)state;
    const double ones[4] = {1, 1, 1, 1};
    struct raw opened = session_with_tensors(), *raw = &opened;
    for (unsigned given = 0; given < 64; given++) { /* which uploads come, and at which end they begin */
        double values[5];
        size_t count;
        bool backwards = given & 16;
        say(raw, 0, TD_OP_full, "u[ufu", U(20), K(1), U(5), 7.0, U(TD_F64)); /* its bytes lie there next */
        say(raw, 0, TD_R_RELEASE, "u", U(20));
        say(raw, 0, TD_OP_from, "u[uu", U(10), K(1), U(5), U(TD_F64));
        for (int k = 0; k < 4; k++) {
            if (!(given >> k & 1))
                continue;
            upload(raw, 10, U(backwards ? 4 - k : k) * 8, ones, 8);
            if (given & 32)
                assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
        }
        assert_int_equal(raw_read(raw, 10, values, 5, &count).code, TD_E_OK);
        for (int k = 0; k < 5; k++)
            assert_true(values[backwards ? 4 - k : k] == (k < 4 && given >> k & 1));
        say(raw, 0, TD_R_RELEASE, "u", U(10));
    }
    raw_close(raw);
}

/* ---- clients that do not keep up, or do not go on ---- */

static void test_half_a_frame(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    uint8_t frame[] = {0, 0, 0, 5, 0, 0, 0, 0x91, TD_R_BARRIER};
    for (size_t k = 0; k < sizeof frame; k++) {
        assert_true(raw_send(raw, &frame[k], 1));
        if (k % 4 == 1)
            innocent_computes();
    }
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DONE);
    assert_true(raw_send(raw, frame, 7)); /* and now silence, until after the test */
    assert_int_equal(raw_receive(raw, 50), RAW_TIMEOUT);
    raw_close(raw);
}

static void ask_for_much(struct raw *raw, int reads)
{
    say(raw, 0, TD_OP_arange, "uuuuu", U(20), U(0), U(1 << 20), U(1), U(TD_F64));
    for (int k = 0; k < reads; k++)
        say(raw, 0, TD_R_READ, "uu", U(20), U(0));
    assert_true(raw_flush(raw));
}

static void test_client_that_does_not_read(void **state)
{
    (void)state;
    struct raw silent = raw_open(&daemon_), slow = raw_open(&daemon_);
    ask_for_much(&silent, 500); /* 4 GB of replies */
    ask_for_much(&slow, 3);
    for (int k = 0; k < 20; k++)
        innocent_computes();
    sleep_ms(50);
    for (uint64_t received = 0; received < 3 * (8u << 20);) {
        uint32_t bytes;
        assert_int_equal(raw_receive(&slow, RAW_WAIT_MS), TD_REPLY_DATA);
        for (int k = 0; k < 3; k++) /* request, executed, nil */
            td_read_skip(&slow.reply);
        assert_int_equal(td_read_uint(&slow.reply), TD_F64);
        assert_int_equal(td_read_uint(&slow.reply), 8u << 20);
        assert_int_equal(td_read_uint(&slow.reply), received % (8u << 20));
        const double *data = td_read_bin(&slow.reply, &bytes);
        assert_non_null(data);
        double first;
        memcpy(&first, data, sizeof first);
        assert_true(first == (double)(received % (8u << 20) / 8));
        received += bytes;
    }
    assert_int_equal(raw_barrier(&slow, false).code, TD_E_OK);
    raw_close(&slow);
    raw_close(&silent);
}

static void test_urgent_overtakes(void **state)
{
    (void)state;
    enum { REQUESTS = 20000 };
    struct raw opened = session_with_tensors(), *raw = &opened;
    for (int k = 0; k < REQUESTS; k++) /* more replies than are kept for one who does not read */
        say(raw, 0, TD_R_STATUS, "");
    assert_true(raw_flush(raw));
    assert_true(raw_frame(raw, "\xc0\x63\x07", 3)); /* an urgent message that there is not: no matter */
    assert_true(raw_frame(raw, "\xc0\x01\xcc\xc8", 4));
    int before = 0, after = 0, kind;
    while ((kind = raw_receive(raw, RAW_WAIT_MS)) == TD_REPLY_MAP)
        before++;
    assert_int_equal(kind, TD_REPLY_PONG);
    assert_int_equal(td_read_uint(&raw->reply), 200);
    for (; before + after < REQUESTS; after++)
        assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_MAP);
    print_message("%d of %d replies came before the pong\n", before, REQUESTS);
    assert_true(after > 0);
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    raw_close(raw);
}

/* A cancel ends what was sent before it and not yet done; what comes after is another matter. */
static void test_cancel(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    say(raw, 0, TD_OP_ones, "u[uuu", U(20), K(2), U(1000), U(1000), U(TD_F64));
    for (int k = 0; k < 200; k++) {
        say(raw, 0, TD_OP_matmul, "uuu", U(21), U(20), U(20));
        say(raw, 0, TD_R_RELEASE, "u", U(21));
    }
    assert_true(raw_flush(raw));
    assert_true(raw_frame(raw, "\xc0\x02\0", 3));
    assert_int_equal(raw_barrier(raw, true).code, TD_E_CANCELLED);
    say(raw, 0, TD_OP_neg, "uu", U(22), U(1));
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
    raw_close(raw);
}

static void test_credit_overrun(void **state)
{
    (void)state;
    struct raw opened = raw_open(&daemon_), *raw = &opened;
    static uint8_t frame[1 << 20];
    frame[0] = 0;
    for (size_t k = 1; k + 4 <= sizeof frame; k += 4)
        memcpy(frame + k, "\0\0\x91\x04", 4);
    ask_for_much(raw, 64); /* its queue stands still, since nobody reads the replies */
    bool taken = true;
    for (int k = 0; taken && k < 64; k++)
        taken = raw_frame(raw, frame, 1 + (sizeof frame - 1) / 4 * 4);
    int kind;
    do
        kind = raw_receive(raw, RAW_WAIT_MS);
    while (kind > 0 && kind != TD_REPLY_GOODBYE);
    assert_true(kind == TD_REPLY_GOODBYE || kind == RAW_CLOSED);
    if (kind == TD_REPLY_GOODBYE)
        assert_int_equal(td_read_uint(&raw->reply), TD_E_LIMIT);
    raw_close(raw);
}

static void test_goodbye_and_the_end(void **state)
{
    (void)state;
    struct raw opened = session_with_tensors(), *raw = &opened;
    say(raw, 0, TD_R_BARRIER, "");
    say(raw, 0, TD_R_GOODBYE, "");
    say(raw, 0, TD_R_BARRIER, "");
    assert_true(raw_flush(raw));
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DONE);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), RAW_CLOSED);
    raw_close(raw);
    for (int k = 0; k < 50; k++) { /* gone in the middle of things */
        struct raw gone = session_with_tensors();
        ask_for_much(&gone, k % 3);
        raw_close(&gone);
    }
}

static unsigned seed;

static unsigned below(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

/* One random element, often a handle that there is. */
static uint8_t *random_element(uint8_t *at)
{
    static const int64_t odd[] = {-1, INT64_MIN, INT64_MAX, UINT32_MAX, TD_HANDLES_MAX, 1 << 20, 255};
    uint32_t count = below(4);
    switch (below(12)) {
    case 0:
        return td_write_nil(at);
    case 1:
        return td_write_bool(at, below(2));
    case 2:
        return td_write_real(at, (double)below(5) / 2 - 1);
    case 3:
        return td_write_text(at, "text\n", count);
    case 4:
        return td_write_int(at, odd[below(sizeof odd / 8)]);
    case 5:
        at = td_write_bin_header(at, count);
        memset(at, 3, count);
        return at + count;
    case 6:
    case 7:
    case 8:
        for (at = td_write_array(at, count); count > 0; count--)
            at = td_write_uint(at, below(4));
        return at;
    default:
        return td_write_uint(at, below(12));
    }
}

/* Random requests, some of them right, most of them wrong, and one in eight frames with a byte changed. */
static void test_random_requests(void **state)
{
    (void)state;
    const char *given = getenv("TEST_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 0) : 20260131;
    print_message("TEST_SEED=%u\n", seed);
    struct raw raw = session_with_tensors();
    int broken = 0;
    for (int round = 0; round < 5000; round++) {
        uint8_t *start = raw.at;
        for (unsigned requests = 1 + below(4); requests > 0; requests--) {
            unsigned count = below(7), id = below(10) ? TD_OP_FIRST + below(121) : below(16);
            raw_request(&raw, below(4) ? below(4) : (unsigned)rand_r(&seed), below(3), 1 + count,
                        id == TD_R_GOODBYE ? TD_R_TABLE : id);
            for (; count > 0; count--)
                raw.at = random_element(raw.at);
        }
        if (below(8) == 0)
            start[1 + below((unsigned)(raw.at - start) - 1)] = (uint8_t)rand_r(&seed);
        raw.requests += 64; /* a changed byte can make more of them */
        bool sent = raw_flush(&raw);
        raw_request(&raw, 0, 0, 1, TD_R_BARRIER);
        sent = raw_flush(&raw) && sent;
        int kind = TD_REPLY_MAP;
        while (sent && kind > 0 && kind != TD_REPLY_GOODBYE && kind != TD_REPLY_DONE)
            kind = raw_receive(&raw, RAW_WAIT_MS);
        assert_int_not_equal(kind, RAW_TIMEOUT);
        if (sent && kind == TD_REPLY_DONE)
            continue;
        broken++;
        raw_close(&raw);
        raw = session_with_tensors();
    }
    print_message("%d sessions were broken off\n", broken);
    raw_close(&raw);
}

int main(void)
{
#define HOSTILE(test) cmocka_unit_test_teardown(test, after_each)
    const struct CMUnitTest tests[] = {
        HOSTILE(test_hello_garbage),       HOSTILE(test_hello_half_and_gone),
        HOSTILE(test_broken_frames),       HOSTILE(test_deep_nesting),
        HOSTILE(test_unknown_ops),         HOSTILE(test_wrong_parameters),
        HOSTILE(test_sizes_that_overflow), HOSTILE(test_handles),
        HOSTILE(test_wrong_requests),      HOSTILE(test_read_that_uses_up),
        HOSTILE(test_first_error_stands),  HOSTILE(test_uploads),
        HOSTILE(test_upload_gaps),         HOSTILE(test_streams_and_events),
        HOSTILE(test_urgent_events),       HOSTILE(test_host_memory),
        HOSTILE(test_half_a_frame),        HOSTILE(test_client_that_does_not_read),
        HOSTILE(test_urgent_overtakes),    HOSTILE(test_cancel),
        HOSTILE(test_credit_overrun),      HOSTILE(test_goodbye_and_the_end),
        HOSTILE(test_random_requests),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
