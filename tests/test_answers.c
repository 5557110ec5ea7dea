/* Calls as a client might answer them that no library is: late, twice, to calls that nobody made, with handles that are
 * none, or never. The walk ends with an error that says so, or the session does, and nothing is left of either.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sessions.h"

static struct raw opened, *const raw = &opened;

/* ---- saying things ---- */

#define NIL UINT64_MAX
#define TRUE (UINT64_MAX - 1)
#define FALSE (UINT64_MAX - 2)
#define TEXT (UINT64_MAX - 3) /* a name */
#define BIN (UINT64_MAX - 4)  /* of two bytes */

static void say_all(uint32_t flags, uint64_t id, size_t count, const uint64_t *values)
{
    raw_request(raw, flags, 0, 1 + (uint32_t)count, id);
    for (size_t k = 0; k < count; k++) {
        uint8_t *at = raw->at;
        if (values[k] == BIN)
            at = td_write_bin_header(at, 2) + 2;
        else if (values[k] == NIL)
            at = td_write_nil(at);
        else if (values[k] == TEXT)
            at = td_write_text(at, "mine", 4);
        else if (values[k] == TRUE || values[k] == FALSE)
            at = td_write_bool(at, values[k] == TRUE);
        else
            at = td_write_uint(at, values[k]);
        raw->at = at;
    }
}
#define SAY(flags, id, ...) \
    say_all(flags, id, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]){__VA_ARGS__})

enum { X = 1, RESULT, Y, SUM, G, KEPT, GRADIENT, FREE = 20 };

static void make_leaf(void)
{
    raw_request(raw, TD_FLAG_REQUIRES_GRAD, 0, 5, TD_OP_full);
    raw->at = td_write_uint(td_write_array(td_write_uint(raw->at, X), 1), 3);
    raw->at = td_write_uint(td_write_real(raw->at, 2), TD_F64);
}

/* y = x^2 by a function that is called, and a walk from its sum. */
static void apply(void)
{
    make_leaf();
    SAY(0, TD_OP_mul, RESULT, X, X);
    SAY(TD_FLAG_GRAD, TD_R_CALLED, 5, TEXT, BIN, 0, 1, 3, X, RESULT, X, Y);
    SAY(TD_FLAG_GRAD, TD_OP_sum, SUM, Y, NIL, FALSE);
}

static void begin(void)
{
    opened = raw_open(&daemon_);
    apply();
}

static uint64_t call;

/* The CALL that must come next, for the function of begin. */
static void expect_call(bool recorded)
{
    uint32_t bytes;
    raw_flush(raw);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_CALL);
    call = td_read_uint(&raw->reply);
    assert_int_equal(td_read_uint(&raw->reply), 5);
    assert_int_equal(td_read_bool(&raw->reply), recorded);
    assert_int_equal(td_read_uint(&raw->reply), 1);
    assert_non_null(td_read_bin(&raw->reply, &bytes));
    assert_int_equal(bytes, 2);
    for (int list = 0; list < 2; list++) { /* a gradient, then a saved value: [f64, [3], [1], 0, recorded] */
        assert_int_equal(td_read_array(&raw->reply), 1);
        assert_int_equal(td_read_array(&raw->reply), 5);
        assert_int_equal(td_read_uint(&raw->reply), TD_F64);
        assert_int_equal(td_read_array(&raw->reply), 1);
        assert_int_equal(td_read_uint(&raw->reply), 3);
        assert_int_equal(td_read_array(&raw->reply), 1);
        assert_int_equal(td_read_uint(&raw->reply), 1);
        assert_int_equal(td_read_uint(&raw->reply), 0);
        assert_int_equal(td_read_bool(&raw->reply), recorded);
    }
    assert_false(raw->reply.failed);
}

static void walk(void)
{
    SAY(TD_FLAG_WAITS, TD_R_BACKWARD, SUM, NIL, FALSE, FALSE);
    expect_call(false);
}

/* The end of the walk, with the error that stands then. */
static void expect_end(int code, const char *part)
{
    raw_flush(raw);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DONE);
    td_read_uint(&raw->reply);
    td_read_uint(&raw->reply);
    struct raw_error error = raw_take_error(&raw->reply);
    if (error.code != code || !strstr(error.message, part))
        fail_msg("%d %s (%d %s)", error.code, error.message, code, part);
    raw_barrier(raw, true);
}

static void expect_error(int code, const char *part)
{
    struct raw_error error = raw_barrier(raw, true);
    if (error.code != code || !strstr(error.message, part))
        fail_msg("%d %s (%d %s)", error.code, error.message, code, part);
}

static void expect_elements(uint32_t handle, double due)
{
    double values[3];
    size_t count;
    assert_int_equal(raw_read(raw, handle, values, 3, &count).code, TD_E_OK);
    assert_int_equal(count, 3);
    assert_true(values[0] == due);
}

static void finish(void)
{
    raw_close(raw);
    daemon_wait_empty(&daemon_);
}

/* ---- as it is meant ---- */

static void test_a_call(void **state)
{
    (void)state;
    begin();
    walk();
    SAY(0, TD_OP_neg, FREE, X); /* what the client does meanwhile is its own affair */
    SAY(0, TD_R_ANSWER, call, FALSE, G, KEPT);
    SAY(TD_FLAG_CONSUME(0) | TD_FLAG_CONSUME(1), TD_OP_mul, GRADIENT, G, KEPT);
    expect_elements(GRADIENT, 2);
    SAY(TD_FLAG_CONSUME(0), TD_R_ANSWER, call, TRUE, GRADIENT);
    expect_end(TD_E_OK, "");
    SAY(0, TD_R_GRAD, GRADIENT, X); /* the handle was consumed */
    expect_elements(GRADIENT, 2);
    expect_elements(FREE, -2);
    finish();
}

static void test_a_walk_that_fails_is_told(void **state)
{
    (void)state;
    begin();
    SAY(TD_FLAG_WAITS, TD_R_BACKWARD, 77, NIL, FALSE, FALSE);
    expect_end(TD_E_HANDLE, "there is no tensor 77");
    SAY(TD_FLAG_WAITS, TD_R_BACKWARD, Y, NIL, FALSE, FALSE);
    expect_end(TD_E_GRAD, "a root of shape (3) needs a gradient");
    SAY(0, TD_R_BACKWARD, SUM, NIL, TRUE, FALSE);
    expect_error(TD_E_GRAD, "backward: mine is run by the client, which does not wait for that");
    SAY(TD_FLAG_WAITS, TD_R_ZERO_GRAD, X); /* no walk: the flag says nothing */
    expect_error(TD_E_OK, "");
    finish();
}

/* ---- answers that are none ---- */

static void test_answers_to_nobody(void **state)
{
    (void)state;
    begin();
    SAY(0, TD_R_ANSWER, 1, FALSE, G);
    expect_error(TD_E_ARGUMENT, "no call 1 waits for an answer");
    SAY(0, TD_R_ANSWER, 1, TRUE, X);
    expect_error(TD_E_ARGUMENT, "no call 1 waits for an answer");
    walk();
    SAY(0, TD_R_ANSWER, call + 1, TRUE, X);
    expect_error(TD_E_ARGUMENT, "waits for an answer");
    SAY(0, TD_R_ANSWER, 0, TRUE, X);
    expect_error(TD_E_ARGUMENT, "no call 0 waits for an answer");
    SAY(0, TD_R_ANSWER);
    expect_error(TD_E_ARGUMENT, "the number of a call and a bool are due");
    SAY(0, TD_R_ANSWER, call);
    expect_error(TD_E_ARGUMENT, "the number of a call and a bool are due");
    SAY(0, TD_R_ANSWER, TEXT, TRUE);
    expect_error(TD_E_ARGUMENT, "the number of a call and a bool are due");
    SAY(0, TD_R_ANSWER, call, FALSE, NIL, KEPT); /* nobody needs the gradient */
    SAY(0, TD_R_ANSWER, call, FALSE, G, KEPT);
    expect_error(TD_E_ARGUMENT, "the values of call 1 have their handles already");
    SAY(0, TD_R_READ, G, 0);
    raw_flush(raw);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DATA);
    expect_error(TD_E_HANDLE, "there is no tensor 5");
    SAY(0, TD_R_ANSWER, call, TRUE, KEPT);
    expect_end(TD_E_OK, "");
    SAY(0, TD_R_ANSWER, call, TRUE, KEPT);
    expect_error(TD_E_ARGUMENT, "no call 1 waits for an answer");
    finish();
}

static void test_handles_that_are_none(void **state)
{
    (void)state;
    static const struct {
        uint64_t handles[3];
        size_t count;
        int code;
        const char *part;
    } begins[] = {{{X, KEPT}, 2, TD_E_HANDLE, "handle 1 for the result is in use"},
                  {{G, G}, 2, TD_E_HANDLE, "handle 5 for the result is in use"},
                  {{TD_HANDLES_MAX}, 1, TD_E_LIMIT, "is at or above the limit"},
                  {{TEXT}, 1, TD_E_LIMIT, "is at or above the limit"},
                  {{NIL, NIL, FREE}, 3, TD_E_ARGUMENT, "call 1 has 2 values"},
                  {{NIL}, 0, TD_E_OK, ""}},
      ends[] = {{{77}, 1, TD_E_HANDLE, "answer: there is no tensor 77"},
                {{TEXT}, 1, TD_E_HANDLE, "answer: there is no tensor"},
                {{X, FREE}, 2, TD_E_ARGUMENT, "answer: mine has 1 inputs"},
                {{SUM}, 1, TD_E_SHAPE, "the backward of mine gave f64 () as the gradient of its input 0, f64 (3)"},
                {{NIL}, 1, TD_E_GRAD, "the backward of mine gave no gradient for input 0"},
                {{NIL}, 0, TD_E_GRAD, "the backward of mine gave no gradient for input 0"}};
    for (size_t k = 0; k < sizeof begins / sizeof *begins; k++) {
        uint64_t values[5] = {0, FALSE};
        begin();
        walk();
        values[0] = call;
        memcpy(values + 2, begins[k].handles, sizeof begins[k].handles);
        say_all(0, TD_R_ANSWER, 2 + begins[k].count, values);
        expect_error(begins[k].code, begins[k].part);
        SAY(0, TD_R_ANSWER, call, TRUE, X); /* a leaf, and one in use */
        expect_end(TD_E_OK, "");
        finish();
    }
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        uint64_t values[5] = {0, TRUE};
        begin();
        walk();
        values[0] = call;
        memcpy(values + 2, ends[k].handles, sizeof ends[k].handles);
        say_all(TD_FLAG_CONSUME(1) | TD_FLAG_CONSUME(20), TD_R_ANSWER, 2 + ends[k].count, values);
        expect_end(ends[k].code, ends[k].part);
        SAY(0, TD_R_GRAD, FREE, X);
        expect_error(TD_E_GRAD, "has no gradient");
        finish();
    }
}

static void say_failure(uint64_t code, const char *message, const char *hint, int elements)
{
    raw_request(raw, 0, 0, 4, TD_R_ANSWER);
    raw->at = td_write_bool(td_write_uint(raw->at, call), true);
    raw->at = td_write_array(raw->at, (uint32_t)elements);
    if (elements > 0)
        raw->at = td_write_uint(raw->at, code);
    if (elements > 1)
        raw->at = td_write_text(raw->at, message, (uint32_t)strlen(message));
    if (elements > 2)
        raw->at = td_write_text(raw->at, hint, (uint32_t)strlen(hint));
    for (int k = 3; k < elements; k++)
        raw->at = td_write_nil(raw->at);
}

static void test_reasons(void **state)
{
    (void)state;
    char text[1000] = {0};
    memset(text, 'x', sizeof text - 1);
    const struct {
        uint64_t code;
        const char *message, *hint;
        int elements, due;
        const char *part;
    } cases[] = {{TD_E_INDEX, "too\x1b[2J far", "Come back.", 3, TD_E_INDEX, "too?[2J far"},
                 {TD_E_INDEX, "too far", "Come back.", 4, TD_E_INDEX, "too far"},
                 {0, "fine", "", 3, TD_E_ARGUMENT, "code, message and hint of what went wrong are due"},
                 {9999, "what", "", 3, TD_E_ARGUMENT, "code, message and hint of what went wrong are due"},
                 {TD_E_INDEX, text, "", 3, TD_E_ARGUMENT, "code, message and hint of what went wrong are due"},
                 {TD_E_INDEX, "", text, 3, TD_E_ARGUMENT, "code, message and hint of what went wrong are due"},
                 {TD_E_INDEX, "", "", 2, TD_E_ARGUMENT, "code, message and hint of what went wrong are due"},
                 {TD_E_INDEX, "", "", 0, TD_E_ARGUMENT, "code, message and hint of what went wrong are due"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        begin();
        walk();
        say_failure(cases[k].code, cases[k].message, cases[k].hint, cases[k].elements);
        expect_end(cases[k].due, cases[k].part);
        finish();
    }
}

/* ---- applications that are none ---- */

static void test_applications_that_are_none(void **state)
{
    (void)state;
    static const struct {
        uint64_t values[12];
        size_t count;
        int code;
        const char *part;
    } cases[] = {
        {{0}, 0, TD_E_ARGUMENT, "the number of a program is due"},
        {{5, TEXT, NIL, 0, 1, 3, X, RESULT, X, FREE}, 10, TD_E_ARGUMENT, "number, name, a bin"},
        {{5, TEXT, BIN, NIL, 1, 3, X, RESULT, X, FREE}, 10, TD_E_ARGUMENT, "number, name, a bin"},
        {{5, TEXT, BIN, 0, 17, 3, X, RESULT, X, FREE}, 10, TD_E_ARGUMENT, "a count of inputs up to 16"},
        {{5, TEXT, BIN, 0, 4, 3, X, RESULT, X, FREE}, 10, TD_E_ARGUMENT, "4 inputs among 3 handles"},
        {{5, TEXT, BIN, 0, 1, 9, X, RESULT, X, FREE}, 10, TD_E_ARGUMENT, "4 handles where 9 inputs are due"},
        {{5, TEXT, BIN, 0, 1, 3, X, RESULT, 77, FREE}, 10, TD_E_HANDLE, "there is no tensor 77"},
        {{5, TEXT, BIN, 0, 1, 3, X, RESULT, NIL, FREE}, 10, TD_E_HANDLE, "there is no tensor -1"},
        {{5, TEXT, BIN, 0, 1, 4, X, RESULT, X, X}, 10, TD_E_LIMIT, "1 inputs and 0 outputs"},
        {{5, TEXT, BIN, 0, 1, 1, X, FREE}, 8, TD_E_LIMIT, "0 results and saved values for 1 outputs"},
        {{5, TEXT, BIN, 0, 1, 2, X, RESULT, X}, 9, TD_E_HANDLE, "handle 1 for the result is in use"},
    };
    begin();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        say_all(TD_FLAG_GRAD, TD_R_CALLED, cases[k].count, cases[k].values);
        expect_error(cases[k].code, cases[k].part);
        if (cases[k].count >= 8 && cases[k].values[cases[k].count - 1] == FREE) {
            SAY(0, TD_R_RELEASE, FREE); /* where it got that far it is an error value */
            raw_barrier(raw, true);
        }
    }
    walk();
    SAY(0, TD_R_ANSWER, call, TRUE, X);
    expect_end(TD_E_OK, "");
    finish();
}

/* ---- calls within each other, that end in another order ---- */

static void test_calls_that_cross(void **state)
{
    (void)state;
    begin();
    SAY(TD_FLAG_GRAD, TD_OP_sum, FREE, Y, NIL, FALSE);
    SAY(TD_FLAG_WAITS, TD_R_BACKWARD, SUM, NIL, TRUE, FALSE);
    expect_call(false);
    uint64_t first = call;
    SAY(TD_FLAG_WAITS, TD_R_BACKWARD, FREE, NIL, TRUE, FALSE);
    expect_call(false);
    SAY(0, TD_R_ANSWER, first, FALSE, G, KEPT);
    SAY(0, TD_R_ANSWER, first, TRUE, KEPT); /* goes on when the one within it has ended */
    SAY(0, TD_R_ANSWER, first, TRUE, KEPT);
    expect_error(TD_E_ARGUMENT, "no call 1 waits for an answer");
    SAY(0, TD_R_ANSWER, call, TRUE, G);
    raw_flush(raw);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DONE);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_DONE);
    SAY(0, TD_R_GRAD, FREE + 1, X);
    expect_elements(FREE + 1, 3); /* 1 from the inner walk, 2 from the outer */
    finish();
}

/* What comes behind a request for a walk comes before the walk's end, if the walk calls. */
static void test_a_client_that_does_not_wait(void **state)
{
    (void)state;
    begin();
    SAY(TD_FLAG_WAITS, TD_R_BACKWARD, SUM, NIL, FALSE, FALSE);
    SAY(0, TD_R_GRAD, GRADIENT, X);
    SAY(0, TD_R_ANSWER, 1, TRUE, X);
    SAY(0, TD_R_GRAD, FREE, X);
    raw_flush(raw);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), TD_REPLY_CALL);
    expect_end(TD_E_GRAD, "has no gradient");
    expect_elements(FREE, 2);
    finish();
}

static void test_a_recording_around_an_answer(void **state)
{
    (void)state;
    begin();
    walk();
    SAY(0, TD_R_RECORD, 3, TEXT, FALSE);
    SAY(0, TD_R_ANSWER, call, FALSE, G, KEPT);
    SAY(0, TD_R_CHECKPOINT);
    SAY(0, TD_R_ANSWER, call, TRUE, KEPT);
    expect_end(TD_E_ARGUMENT, "that was begun inside has not ended");
    SAY(0, TD_R_RECORD_END, 3);
    expect_error(TD_E_ARGUMENT, "program 3 is not being recorded");
    finish();
}

/* ---- ends ---- */

static void test_the_client_leaves(void **state)
{
    (void)state;
    for (int point = 0; point < 6; point++) {
        begin();
        walk();
        if (point > 0)
            SAY(0, TD_R_ANSWER, call, FALSE, G, KEPT);
        if (point > 1)
            SAY(0, TD_OP_mul, GRADIENT, G, KEPT);
        if (point > 2) { /* a walk within, that another call holds */
            SAY(TD_FLAG_GRAD, TD_OP_mul, FREE, X, X);
            SAY(TD_FLAG_GRAD, TD_R_CALLED, 5, TEXT, BIN, 0, 1, 3, X, FREE, X, FREE + 1);
            SAY(TD_FLAG_GRAD, TD_OP_sum, FREE + 2, FREE + 1, NIL, FALSE);
            SAY(TD_FLAG_WAITS, TD_R_BACKWARD, FREE + 2, NIL, FALSE, FALSE);
            expect_call(false);
        }
        if (point == 4)
            SAY(0, TD_R_GOODBYE);
        raw_flush(raw);
        if (point == 5) {
            char message[TD_MESSAGE_BYTES];
            raw_frame(raw, "\x00\xc1", 2);
            assert_int_equal(raw_goodbye(raw, message), TD_E_PROTOCOL);
        }
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call),
        cmocka_unit_test(test_a_walk_that_fails_is_told),
        cmocka_unit_test(test_answers_to_nobody),
        cmocka_unit_test(test_handles_that_are_none),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_applications_that_are_none),
        cmocka_unit_test(test_calls_that_cross),
        cmocka_unit_test(test_a_client_that_does_not_wait),
        cmocka_unit_test(test_a_recording_around_an_answer),
        cmocka_unit_test(test_the_client_leaves),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
