/* Uploads that come in pieces: what can go from the socket to its tensor does, nothing else changes for it, and no
 * client can make anything of a half. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/log.h"
#include "tests/harness.h"
#include "tests/random.h"

#define COUNT 25000u /* floats of the tensors here: more than a session's buffer has room for */
#define BYTES (COUNT * 4u)

static struct harness harness;
static struct line *line;
static uint8_t frame[BYTES + 256], *at;
static float data[COUNT];

static int setup(void **state)
{
    (void)state;
    log_open("test", LOG_ERROR + 1);
    for (uint32_t k = 0; k < COUNT; k++)
        data[k] = (float)k + 0.5f;
    return harness_start(&harness, (size_t)64 << 20) || !(line = harness_open(&harness)) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    const char *left = harness_end(&harness);
    if (left)
        print_error("%s\n", left);
    harness_stop(&harness);
    return left ? -1 : 0;
}

/* ---- saying things ---- */

static void begin(void)
{
    at = td_write_uint(frame + TD_FRAME_HEADER, 0);
}

static void call(enum td_op_id id, uint32_t flags, uint32_t out, int count, const uint32_t *handles, const void *attrs)
{
    struct td_input in[2];
    for (int k = 0; k < count; k++)
        in[k] = (struct td_input){.kind = TD_INPUT_HANDLE, .handle = handles[k]};
    at = td_call_encode(at, td_op_of(id), flags, 0, &out, in, NULL, attrs);
}

static void from(uint32_t handle, enum td_dtype dtype)
{
    call(TD_OP_from, 0, handle, 0, NULL,
         &(struct td_from_attrs){.shape = {1, {dtype == TD_BOOL ? BYTES : COUNT}}, .dtype = dtype});
}

static void upload(uint32_t handle, uint64_t offset, const void *bytes, uint32_t count)
{
    at = td_write_uint(td_write_uint(at, 0), 0);
    at = td_write_uint(td_write_uint(td_write_array(at, 4), TD_R_UPLOAD), handle);
    at = td_write_bin_header(td_write_uint(at, offset), count);
    memcpy(at, bytes, count);
    at += count;
}

static void request(enum td_request_id id, uint32_t handle)
{
    at = td_write_uint(td_write_array(td_write_uint(td_write_uint(at, 0), 0), 2), id);
    at = td_write_uint(at, handle);
}

static size_t end(void)
{
    td_write_be32(frame, (uint32_t)(at - frame - TD_FRAME_HEADER));
    return (size_t)(at - frame);
}

static void send_whole(void)
{
    size_t bytes = end();
    harness_send(line, frame, bytes);
    assert_true(harness_run(&harness));
}

static void send_part(size_t first, size_t end_)
{
    harness_send(line, frame + first, end_ - first);
    assert_true(harness_run(&harness));
}

static void make(uint32_t handle, enum td_dtype dtype)
{
    begin();
    from(handle, dtype);
    send_whole();
}

static struct session *session(void)
{
    return line->session;
}

static const float *elements(uint32_t handle)
{
    return tensor_data(session()->own.tensors[handle]);
}

static int failure(void)
{
    return session()->error ? session()->error->code : TD_E_OK;
}

/* ---- tests ---- */

static void a_large_one_lands_in_its_tensor(void **state)
{
    (void)state;
    struct random random = random_new();
    for (int round = 0; round < 50; round++) {
        uint32_t handle = 1 + (uint32_t)round % 3;
        uint64_t before = session()->executed, taken = session()->bytes_taken;
        begin();
        if (round >= 3)
            request(TD_R_RELEASE, handle);
        from(handle, TD_F32);
        send_whole();
        taken = session()->bytes_taken;
        before = session()->executed;
        begin();
        upload(handle, 0, data, BYTES);
        size_t bytes = end(), sent = 100 + random_below(&random, 5000);
        send_part(0, sent);
        assert_non_null(session()->landing.tensor);
        assert_true(session()->input_capacity < BYTES);
        while (sent < bytes) {
            size_t more = 1 + random_below(&random, random_next(&random) & 1 ? 100 : BYTES);
            more = more < bytes - sent ? more : bytes - sent;
            send_part(sent, sent + more);
            sent += more;
        }
        assert_null(session()->landing.tensor);
        assert_memory_equal(elements(handle), data, BYTES);
        assert_int_equal(session()->executed, before + 1);
        assert_int_equal(session()->bytes_taken, taken + bytes);
        assert_int_equal(failure(), TD_E_OK);
    }
}

static void pieces_fill_it_and_the_rest_is_cleared(void **state)
{
    (void)state;
    make(1, TD_F32);
    begin();
    upload(1, 0, data, BYTES / 2);
    size_t bytes = end();
    send_part(0, 1000);
    assert_non_null(session()->landing.tensor);
    send_part(1000, bytes);
    begin();
    call(TD_OP_neg, 0, 2, 1, (const uint32_t[]){1}, NULL); /* sees what has come, and nothing else */
    send_whole();
    assert_memory_equal(elements(1), data, BYTES / 2);
    for (uint32_t k = COUNT / 2; k < COUNT; k++)
        assert_true(elements(1)[k] == 0 && elements(2)[k] == 0);
}

static void what_follows_in_the_same_read_is_done_behind_it(void **state)
{
    (void)state;
    make(1, TD_F32);
    begin();
    upload(1, 0, data, BYTES);
    size_t bytes = end();
    send_part(0, 500);
    uint8_t *rest = malloc(bytes);
    memcpy(rest, frame + 500, bytes - 500);
    harness_send(line, rest, bytes - 500); /* without a turn before the next */
    free(rest);
    begin();
    call(TD_OP_neg, 0, 2, 1, (const uint32_t[]){1}, NULL);
    send_whole();
    assert_true(elements(2)[COUNT - 1] == -data[COUNT - 1]);
}

/* The same bytes, but not for the tensor's memory as they come. */
static void expect_buffered(int due)
{
    size_t bytes = end();
    send_part(0, bytes / 2);
    assert_null(session()->landing.tensor);
    send_part(bytes / 2, bytes);
    assert_int_equal(failure(), due);
    cause_unref(session()->error);
    session()->error = NULL;
}

static void others_come_through_the_buffer(void **state)
{
    (void)state;
    make(1, TD_F32);
    make(2, TD_BOOL);
    begin();
    upload(1, 4, data, BYTES); /* past its end */
    expect_buffered(TD_E_INDEX);
    begin();
    upload(77, 0, data, BYTES);
    expect_buffered(TD_E_HANDLE);
    begin();
    upload(2, 0, data, BYTES); /* each byte becomes 0 or 1 */
    expect_buffered(TD_E_OK);
    begin();
    upload(1, 0, data, BYTES);
    request(TD_R_RELEASE, 2);
    expect_buffered(TD_E_OK);
    assert_memory_equal(elements(1), data, BYTES);
    begin();
    request(TD_R_RELEASE, 1);
    upload(1, 0, data, BYTES);
    expect_buffered(TD_E_HANDLE);
}

static void what_the_tape_keeps_stays(void **state)
{
    (void)state;
    make(1, TD_F32);
    begin();
    upload(1, 0, data, BYTES);
    send_whole();
    begin();
    call(TD_OP_ones, TD_FLAG_REQUIRES_GRAD, 2, 0, NULL, &(struct td_ones_attrs){.shape = {1, {COUNT}}});
    call(TD_OP_mul, TD_FLAG_GRAD, 3, 2, (const uint32_t[]){1, 2}, NULL);
    call(TD_OP_sum, TD_FLAG_GRAD, 4, 1, (const uint32_t[]){3}, &(struct td_sum_attrs){.dims.count = -1});
    send_whole();
    float *others = calloc(COUNT, sizeof *others);
    begin();
    upload(1, 0, others, BYTES);
    free(others);
    size_t bytes = end();
    send_part(0, 2000);
    assert_non_null(session()->landing.tensor);
    send_part(2000, bytes);
    begin();
    at = td_write_uint(td_write_array(td_write_uint(td_write_uint(at, 0), 0), 5), TD_R_BACKWARD);
    at = td_write_bool(td_write_bool(td_write_nil(td_write_uint(at, 4)), false), false);
    send_whole();
    begin();
    at = td_write_uint(td_write_array(td_write_uint(td_write_uint(at, 0), 0), 3), TD_R_GRAD);
    at = td_write_uint(td_write_uint(at, 5), 2);
    send_whole();
    assert_int_equal(failure(), TD_E_OK);
    assert_memory_equal(elements(5), data, BYTES);
}

static void a_client_may_end_in_the_middle(void **state)
{
    (void)state;
    make(1, TD_F32);
    begin();
    upload(1, 0, data, BYTES);
    end();
    send_part(0, 3000);
    assert_non_null(session()->landing.tensor); /* teardown sees that nothing is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_large_one_lands_in_its_tensor, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_fill_it_and_the_rest_is_cleared, setup, teardown),
        cmocka_unit_test_setup_teardown(what_follows_in_the_same_read_is_done_behind_it, setup, teardown),
        cmocka_unit_test_setup_teardown(others_come_through_the_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_tape_keeps_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_may_end_in_the_middle, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
