/* The Nth allocation fails, for every N, and every N-th block of device memory is refused: through sessions and
 * training steps. Whatever fails, the client gets an error of code memory or its connection's end; a step is done
 * wholly or not at all, and nothing is left over. The linker puts the functions below in the way of malloc and its kin
 * in the daemon's objects (Makefile). SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/log.h"
#include "tests/harness.h"

#define MIB ((size_t)1 << 20)

/* ---- what fails ---- */

static int64_t host_left = -1, device_left = -1; /* until the one that fails; below 0: none does */
static bool from_then_on;                        /* all that follow fail too */
static int failed_count;
static int64_t live; /* allocations that have not been freed */

static bool fails(int64_t *left)
{
    if (*left < 0 || (*left)-- > 0)
        return false;
    if (from_then_on)
        *left = 0;
    failed_count++;
    return true;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *at, size_t bytes);
void __real_free(void *at);
struct block *__real_pool_take(struct pool *pool, size_t bytes, uint64_t session, uint64_t request);

void *__wrap_malloc(size_t bytes)
{
    void *at = fails(&host_left) ? NULL : __real_malloc(bytes);
    live += at != NULL;
    return at;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    void *at = fails(&host_left) ? NULL : __real_calloc(count, bytes);
    live += at != NULL;
    return at;
}

void *__wrap_realloc(void *old, size_t bytes)
{
    void *at = fails(&host_left) ? NULL : __real_realloc(old, bytes);
    live += at && !old;
    return at;
}

void __wrap_free(void *at)
{
    live -= at != NULL;
    __real_free(at);
}

struct block *__wrap_pool_take(struct pool *pool, size_t bytes, uint64_t session, uint64_t request)
{
    return fails(&device_left) ? NULL : __real_pool_take(pool, bytes, session, request);
}

enum kind { HOST, HOST_FROM_THEN_ON, DEVICE, DEVICE_FROM_THEN_ON, KINDS };

static void arm(enum kind kind, int64_t n)
{
    failed_count = 0;
    from_then_on = kind == HOST_FROM_THEN_ON || kind == DEVICE_FROM_THEN_ON;
    host_left = kind < DEVICE ? n : -1;
    device_left = kind < DEVICE ? -1 : n;
}

static void disarm(void)
{
    host_left = device_left = -1;
}

/* ---- what the client says ---- */

struct script {
    uint8_t bytes[1 << 17], *at;
};

static struct script *script_begin(void)
{
    static struct script script;
    script.at = script.bytes + TD_FRAME_HEADER;
    *script.at++ = 0;
    return &script;
}

static void send_script(struct line *line, struct script *script)
{
    td_write_be32(script->bytes, (uint32_t)(script->at - script->bytes - TD_FRAME_HEADER));
    harness_send(line, script->bytes, (size_t)(script->at - script->bytes));
}

/* In place of a handle: the optional input is none. */
#define LEFT_OUT UINT32_MAX

static void say_op(struct script *script, enum td_op_id id, uint32_t flags, uint32_t out, const void *attrs, int count,
                   const uint32_t *handles)
{
    struct td_input in[12];
    uint16_t ones[] = {1, 1, 1};
    int64_t none[TD_ATTR_SLOTS] = {0};
    for (int k = 0; k < count; k++)
        in[k] =
            (struct td_input){.kind = handles[k] == LEFT_OUT ? TD_INPUT_NONE : TD_INPUT_HANDLE, .handle = handles[k]};
    script->at = td_call_encode(script->at, td_op_of(id), flags, 1, &out, in, ones, attrs ? attrs : none);
}
#define SAY(id, flags, out, attrs, ...)                                                                 \
    say_op(script, TD_OP_##id, flags, out, attrs, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), \
           (uint32_t[]){__VA_ARGS__})
#define SAY_NEW(id, flags, out, attrs) say_op(script, TD_OP_##id, flags, out, attrs, 0, NULL)

static void say_request(struct script *script, enum td_request_id id, uint32_t count, const uint32_t *handles)
{
    script->at = td_write_uint(td_write_uint(script->at, 0), 1);
    script->at = td_write_uint(td_write_array(script->at, count + 1), id);
    for (uint32_t k = 0; k < count; k++)
        script->at = td_write_uint(script->at, handles[k]);
}
#define REQUEST(id, ...) \
    say_request(script, TD_R_##id, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (uint32_t[]){__VA_ARGS__})

static void say_backward(struct script *script, uint32_t root, bool create)
{
    script->at = td_write_uint(td_write_uint(script->at, 0), 1);
    script->at = td_write_uint(td_write_array(script->at, 5), TD_R_BACKWARD);
    script->at = td_write_nil(td_write_uint(script->at, root));
    script->at = td_write_bool(td_write_bool(script->at, create), create);
}

/* Gradients of root by two inputs, as two handles from out on. */
static void say_grads(struct script *script, uint32_t root, uint32_t a, uint32_t b, uint32_t out, uint32_t options)
{
    script->at = td_write_uint(td_write_uint(script->at, TD_FLAG_WAITS), 1);
    script->at = td_write_uint(td_write_array(script->at, 6), TD_R_GRADS);
    script->at = td_write_uint(td_write_array(script->at, 1), root);
    script->at = td_write_nil(td_write_array(script->at, 1));
    script->at = td_write_uint(td_write_uint(td_write_array(script->at, 2), a), b);
    script->at = td_write_uint(td_write_uint(td_write_array(script->at, 2), out), out + 1);
    script->at = td_write_uint(script->at, options);
}

static void say_upload(struct script *script, uint32_t handle, uint32_t bytes)
{
    script->at = td_write_uint(td_write_uint(script->at, 0), 1);
    script->at = td_write_uint(td_write_array(script->at, 4), TD_R_UPLOAD);
    script->at = td_write_uint(td_write_uint(script->at, handle), 0);
    script->at = td_write_bin_header(script->at, bytes);
    memset(script->at, 0x3f, bytes);
    script->at += bytes;
}

static void say_text(struct script *script, enum td_request_id id, uint32_t number, const char *text)
{
    script->at = td_write_uint(td_write_uint(script->at, 0), 1);
    script->at = td_write_uint(td_write_array(script->at, 3), id);
    script->at = td_write_text(td_write_uint(script->at, number), text, (uint32_t)strlen(text));
}

static void say_record(struct script *script, uint32_t number)
{
    script->at = td_write_uint(td_write_uint(script->at, 0), 1);
    script->at = td_write_uint(td_write_array(script->at, 4), TD_R_RECORD);
    script->at = td_write_bool(td_write_text(td_write_uint(script->at, number), "", 0), false);
}

/* ---- what comes back ---- */

/* The message after *at; its kind, 0 at the end. */
static int next_message(const struct line *line, size_t *at, struct td_reader *reader)
{
    if (*at == line->got_bytes)
        return 0;
    const uint8_t *message = line->got + *at;
    size_t length = (size_t)message[0] << 24 | (size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3];
    assert_true(line->got_bytes - *at >= TD_FRAME_HEADER + length);
    *reader = td_reader_of(message + TD_FRAME_HEADER, length);
    *at += TD_FRAME_HEADER + length;
    assert_true(td_read_array(reader) > 1);
    return (int)td_read_uint(reader);
}

/* Code of the error in a reply, 0 for nil. */
static int take_code(struct td_reader *reader)
{
    td_read_uint(reader);
    td_read_uint(reader);
    if (td_read_nil(reader))
        return TD_E_OK;
    assert_int_equal(td_read_array(reader), 6);
    int code = (int)td_read_uint(reader);
    for (int k = 0; k < 5; k++)
        td_read_skip(reader);
    assert_false(reader->failed);
    return code;
}

/* The standing error, which is cleared; -1 if the connection has ended. */
static int standing_error(struct harness *harness, struct line *line)
{
    struct script *script = script_begin();
    struct td_reader reader;
    size_t at = line->got_bytes;
    say_request(script, TD_R_CLEAR_ERROR, 0, NULL);
    send_script(line, script);
    assert_true(harness_run(harness));
    for (int kind; (kind = next_message(line, &at, &reader));)
        if (kind == TD_REPLY_DONE)
            return take_code(&reader);
    return -1;
}

/* The bytes of handles one after the other; how many. */
static size_t read_all(struct harness *harness, struct line *line, uint32_t count, uint8_t *bytes, size_t room)
{
    struct script *script = script_begin();
    struct td_reader reader;
    size_t at = line->got_bytes, have = 0;
    for (uint32_t handle = 0; handle < count; handle++)
        REQUEST(READ, handle, 0);
    send_script(line, script);
    assert_true(harness_run(harness));
    for (int kind; (kind = next_message(line, &at, &reader));) {
        uint32_t length;
        if (kind != TD_REPLY_DATA)
            continue;
        assert_int_equal(take_code(&reader), TD_E_OK);
        for (int k = 0; k < 3; k++)
            td_read_uint(&reader);
        const void *data = td_read_bin(&reader, &length);
        assert_true(have + length <= room);
        memcpy(bytes + have, data, length);
        have += length;
    }
    return have;
}

static struct line *start(struct harness *harness)
{
    assert_int_equal(harness_start(harness, 64 * MIB), 0);
    struct line *line = harness_open(harness);
    assert_non_null(line);
    line->keeps = true;
    return line;
}

static void stop(struct harness *harness, int64_t live_before)
{
    const char *left = harness_end(harness);
    if (left)
        fail_msg("%s (%zu bytes)", left, harness->worker.pool.used_bytes);
    harness_stop(harness);
    assert_int_equal(live, live_before);
}

/* ---- a training step ---- */

/* Handles 0 to 7: weight, bias, and for each two states; then the two counts, and the rate. */
enum { KEPT = 7, RATE = 7, LABELS = 8, INPUT = 9, INPUTS = 5, CLASSES = 3, BATCH = 8, STATE_BYTES = 4096 };

static void say_model(struct script *script)
{
    struct td_zeros_attrs weight = {.shape = {2, {INPUTS, CLASSES}}}, bias = {.shape = {1, {CLASSES}}};
    struct td_randint_attrs labels = {.low = 0, .high = CLASSES, .shape = {1, {BATCH}}, .dtype = TD_I64};
    SAY_NEW(randn, TD_FLAG_REQUIRES_GRAD, 0, &weight);
    SAY_NEW(zeros, TD_FLAG_REQUIRES_GRAD, 1, &bias);
    SAY_NEW(zeros, 0, 2, &weight);
    SAY_NEW(zeros, 0, 3, &bias);
    SAY_NEW(zeros, 0, 4, &weight);
    SAY_NEW(zeros, 0, 5, &bias);
    SAY_NEW(zeros, 0, 6, (&(struct td_zeros_attrs){.shape = {1, {2}}, .dtype = TD_I64}));
    SAY_NEW(full, 0, RATE, (&(struct td_full_attrs){.value = {.category = TD_FLOATING, .f = 0.1}, .dtype = TD_F64}));
    SAY_NEW(randint, 0, LABELS, &labels);
    SAY_NEW(randn, 0, INPUT, (&(struct td_zeros_attrs){.shape = {2, {BATCH, INPUTS}}}));
}

static void say_step(struct script *script, bool adam)
{
    struct td_input in[KEPT + 1];
    int count = 0;
    for (uint32_t k = 0; k < KEPT; k++)
        if (adam || k < 4 || k == 6)
            in[count++] = (struct td_input){.kind = TD_INPUT_HANDLE, .handle = k};
    in[count] = (struct td_input){.kind = TD_INPUT_HANDLE, .handle = RATE};
    SAY(matmul, TD_FLAG_GRAD, 10, NULL, INPUT, 0);
    SAY(add, TD_FLAG_GRAD | TD_FLAG_CONSUME(0), 11, NULL, 10, 1);
    SAY(tanh, TD_FLAG_GRAD, 12, NULL, 11);
    SAY(cross_entropy, TD_FLAG_GRAD, 13, (&(struct td_cross_entropy_attrs){.ignore_index = -100, .reduction = TD_MEAN}),
        12, LABELS, LEFT_OUT);
    REQUEST(ZERO_GRAD, 0, 1);
    say_backward(script, 13, false);
    if (adam)
        script->at = td_call_encode(script->at, td_op_named("adam_step_"), 0, 1, NULL, in, (uint16_t[]){2, 2, 2, 0},
                                    &(struct td_adam_step__attrs){.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8});
    else
        script->at = td_call_encode(script->at, td_op_named("sgd_step_"), 0, 1, NULL, in, (uint16_t[]){2, 2},
                                    &(struct td_sgd_step__attrs){.momentum = 0.9});
    for (uint32_t handle = 11; handle < 14; handle++)
        REQUEST(RELEASE, handle);
}

static void step(struct harness *harness, struct line *line, bool adam)
{
    struct script *script = script_begin();
    say_step(script, adam);
    send_script(line, script);
    assert_true(harness_run(harness));
}

/* Two steps, the third with the fault, a fourth. states: after two, three and four quiet ones; filled where n is -1.
 * False: nothing failed any more. */
static bool training_with_fault(bool adam, enum kind kind, int64_t n, uint8_t states[3][STATE_BYTES], size_t *bytes)
{
    static struct harness harness;
    uint8_t state[STATE_BYTES];
    int64_t live_before = live;
    struct line *line = start(&harness);
    struct script *script = script_begin();
    say_model(script);
    send_script(line, script);
    step(&harness, line, adam);
    step(&harness, line, adam);
    if (n < 0)
        *bytes = read_all(&harness, line, KEPT, states[0], STATE_BYTES);
    arm(kind, n);
    step(&harness, line, adam);
    disarm();
    int code = line->session ? standing_error(&harness, line) : -1;
    if (code >= 0) {
        if (n < 0)
            read_all(&harness, line, KEPT, states[1], STATE_BYTES);
        assert_true(code == TD_E_OK || code == TD_E_MEMORY);
        assert_int_equal(read_all(&harness, line, KEPT, state, STATE_BYTES), *bytes);
        bool after = !memcmp(state, states[1], *bytes);
        assert_true(after || !memcmp(state, states[0], *bytes));
        assert_true(after || code == TD_E_MEMORY);
        script = script_begin(); /* what was not released, since it was not made */
        REQUEST(RELEASE, 10);
        REQUEST(RELEASE, 11);
        send_script(line, script);
        step(&harness, line, adam);
        read_all(&harness, line, KEPT, n < 0 ? states[2] : state, STATE_BYTES);
        assert_memory_equal(n < 0 ? states[2] : state, states[after ? 2 : 1], *bytes);
    } else {
        assert_true(failed_count > 0);
    }
    stop(&harness, live_before);
    return failed_count > 0;
}

static void through_training(bool adam)
{
    static uint8_t states[3][STATE_BYTES];
    size_t bytes = 0;
    training_with_fault(adam, HOST, -1, states, &bytes);
    assert_true(bytes > 0);
    assert_memory_not_equal(states[0], states[1], bytes);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        int n = 0;
        while (training_with_fault(adam, kind, n, states, &bytes))
            n++;
        assert_true(n > 8);
        print_message("# %d faults in a step of %s\n", n, adam ? "adam" : "sgd");
    }
}

static void a_step_of_sgd(void **state)
{
    (void)state;
    through_training(false);
}

static void a_step_of_adam(void **state)
{
    (void)state;
    through_training(true);
}

/* ---- a session of everything ---- */

static void say_answer(struct script *script, uint32_t call, bool ends, uint32_t flags, uint32_t a, uint32_t b)
{
    script->at = td_write_uint(td_write_uint(script->at, flags), 1);
    script->at = td_write_uint(td_write_array(script->at, ends ? 4 : 5), TD_R_ANSWER);
    script->at = td_write_uint(td_write_bool(td_write_uint(script->at, call), ends), a);
    if (!ends)
        script->at = td_write_uint(script->at, b);
}

/* 32 = 30^2 by a function that is called, and a walk within the walk that calls it first. */
static void say_called(struct script *script, const struct td_zeros_attrs *square)
{
    static const uint32_t handles[] = {0, 1, 3, 30, 31, 30, 32}; /* flags, inputs, count, input, result, saved, new */
    SAY_NEW(randn, TD_FLAG_REQUIRES_GRAD, 30, square);
    SAY(mul, 0, 31, NULL, 30, 30);
    script->at = td_write_uint(td_write_uint(script->at, TD_FLAG_GRAD), 1);
    script->at = td_write_uint(td_write_uint(td_write_array(script->at, 11), TD_R_CALLED), 1);
    script->at = td_write_bin_header(td_write_text(script->at, "f", 1), 1);
    *script->at++ = 7;
    for (size_t k = 0; k < sizeof handles / sizeof *handles; k++)
        script->at = td_write_uint(script->at, handles[k]);
    SAY(mul, TD_FLAG_GRAD, 33, NULL, 32, 30);
    SAY(sum, TD_FLAG_GRAD, 34, (&(struct td_sum_attrs){.dims.count = -1}), 33);
    say_grads(script, 34, 30, 32, 35, TD_GRADS_CREATE);
    say_answer(script, 1, false, 0, 40, 41);
    say_grads(script, 34, 30, 32, 37, TD_GRADS_RETAIN);
    say_answer(script, 2, false, 0, 43, 44);
    SAY(mul, 0, 45, NULL, 43, 44);
    say_answer(script, 2, true, TD_FLAG_CONSUME(0), 45, 0);
    SAY(mul, TD_FLAG_GRAD, 42, NULL, 40, 41);
    say_answer(script, 1, true, TD_FLAG_CONSUME(0), 42, 0);
    REQUEST(READ, 35, TD_F64);
}

static void say_everything(struct script *script)
{
    struct td_zeros_attrs square = {.shape = {2, {6, 6}}}, large = {.shape = {2, {200, 100}}};
    struct td_sum_attrs all = {.dims.count = -1};
    say_text(script, TD_R_SITE, 1, "test_faults.c:1");
    say_text(script, TD_R_SITE, 99, "test_faults.c:2");
    SAY_NEW(randn, TD_FLAG_REQUIRES_GRAD, 0, &square);
    say_text(script, TD_R_NAME, 0, "weight");
    SAY(transpose, TD_FLAG_GRAD, 1, (&(struct td_transpose_attrs){.dim0 = 0, .dim1 = 1}), 0);
    SAY(clone, TD_FLAG_GRAD, 2, NULL, 1);
    SAY(select, TD_FLAG_GRAD, 3, (&(struct td_select_attrs){.dim = 0, .index = 2}), 2);
    SAY(slice, TD_FLAG_GRAD, 4, (&(struct td_slice_attrs){.dim = 1, .start = 1, .end = 5, .step = 2}), 2);
    SAY(add_, TD_FLAG_GRAD, 0, NULL, 3, 3); /* recorded writes through views */
    SAY(fill_, TD_FLAG_GRAD, 0, NULL, 4, 3);
    SAY(mul, TD_FLAG_GRAD, 5, NULL, 2, 0);
    SAY(to, TD_FLAG_GRAD, 6, (&(struct td_to_attrs){.dtype = TD_F64}), 5);
    SAY(add, TD_FLAG_GRAD, 7, NULL, 6, 4); /* converts, and is refused */
    SAY(add, TD_FLAG_GRAD, 8, NULL, 6, 0);
    SAY(sum, TD_FLAG_GRAD, 9, &all, 8);
    REQUEST(RETAIN_GRAD, 5);
    say_backward(script, 9, true);
    REQUEST(GRAD, 10, 0);
    REQUEST(GRAD, 20, 5);
    REQUEST(RETAIN_GRAD, 20);
    say_grads(script, 9, 0, 5, 16, TD_GRADS_CREATE);
    say_grads(script, 9, 20, 1, 18, TD_GRADS_RETAIN | TD_GRADS_ZEROS);
    REQUEST(GRAPH, 9, 100);
    SAY(square, TD_FLAG_GRAD, 11, NULL, 10);
    SAY(sum, TD_FLAG_GRAD, 12, &all, 11);
    say_backward(script, 12, false);
    REQUEST(READ, 10, TD_F64);
    SAY_NEW(from, 0, 13, &large);
    say_upload(script, 13, 60000);
    REQUEST(READ, 13, 0); /* longer than what is copied: sent in place */
    SAY(transpose, 0, 14, (&(struct td_transpose_attrs){.dim0 = 0, .dim1 = 1}), 13);
    REQUEST(READ, 14, TD_F64);
    SAY(detach, 0, 15, NULL, 13);
    SAY(fill_, 0, 0, NULL, 15, 12); /* while the bytes are on their way */
    REQUEST(REQUIRES_GRAD, 500);
    SAY_NEW(zeros, 0, 900, &square); /* the handles' table grows */
    say_request(script, TD_R_STATUS, 0, NULL);
    say_request(script, TD_R_TABLE, 0, NULL);
    REQUEST(RELEASE, 1, 2, 900);
    REQUEST(ZERO_GRAD, 0);
    say_called(script, &square);
}

/* Checkpoints in each other, with writes to what is older, also by a program, and a leaf of their own. */
static void say_checkpoints(struct script *script)
{
    struct td_zeros_attrs square = {.shape = {2, {6, 6}}};
    struct td_select_attrs row = {.dim = 0, .index = 2};
    struct td_sum_attrs all = {.dims.count = -1};
    say_text(script, TD_R_SITE, 1, "test_faults.c:1");
    SAY_NEW(randn, TD_FLAG_REQUIRES_GRAD, 0, &square);
    SAY(mul, TD_FLAG_GRAD, 1, NULL, 0, 0);
    SAY(select, TD_FLAG_GRAD, 2, &row, 1);
    SAY_NEW(zeros, 0, 3, &square);
    say_record(script, 1);
    SAY(add_, TD_FLAG_GRAD, 0, NULL, 3, 1);
    SAY(square, TD_FLAG_GRAD, 4, NULL, 3);
    REQUEST(RECORD_END, 1, 4);
    say_request(script, TD_R_CHECKPOINT, 0, NULL);
    SAY(mul_, TD_FLAG_GRAD, 0, NULL, 1, 0);
    SAY(add_, TD_FLAG_GRAD, 0, NULL, 2, 2);
    SAY_NEW(randn, TD_FLAG_REQUIRES_GRAD, 5, &square);
    say_request(script, TD_R_CHECKPOINT, 0, NULL);
    SAY(add, TD_FLAG_GRAD, 6, NULL, 1, 5);
    SAY(select, TD_FLAG_GRAD, 7, &row, 6);
    SAY(mul_, TD_FLAG_GRAD, 0, NULL, 7, 2);
    REQUEST(RUN, 1, 0, 8);
    say_request(script, TD_R_CHECKPOINT_END, 0, NULL);
    SAY(mul, TD_FLAG_GRAD, 9, NULL, 8, 6);
    say_request(script, TD_R_CHECKPOINT_END, 0, NULL);
    SAY(add, TD_FLAG_GRAD, 10, NULL, 9, 3);
    SAY(mul, TD_FLAG_GRAD, 11, NULL, 2, 7);
    SAY(add, TD_FLAG_GRAD, 12, NULL, 10, 11);
    SAY(sum, TD_FLAG_GRAD, 13, &all, 12);
    say_grads(script, 13, 0, 5, 14, TD_GRADS_CREATE);
    say_grads(script, 13, 1, 3, 16, TD_GRADS_RETAIN | TD_GRADS_ZEROS);
    say_backward(script, 13, true);
    SAY(sum, TD_FLAG_GRAD, 18, &all, 14);
    say_backward(script, 18, false);
    REQUEST(PROGRAM_FREE, 1);
    REQUEST(ZERO_GRAD, 0, 5);
}

/* False: nothing failed any more. */
static bool session_with_fault(void (*say)(struct script *script), enum kind kind, int64_t n)
{
    static struct harness harness;
    int64_t live_before = live;
    struct td_reader reader;
    size_t at = 0;
    arm(kind, n);
    struct line *line = harness_start(&harness, 64 * MIB) ? NULL : harness_open(&harness);
    if (!line && !harness.worker.sources) { /* it did not start */
        disarm();
        memset(&harness, 0, sizeof harness);
        assert_int_equal(live, live_before);
        return failed_count > 0;
    }
    if (line) {
        struct script *script = script_begin();
        line->keeps = true;
        say(script);
        send_script(line, script);
    }
    assert_true(harness_run(&harness));
    disarm();
    while (line && line->session && next_message(line, &at, &reader)) /* whole frames only */
        ;
    int code = line && line->session ? standing_error(&harness, line) : -1;
    /* Two of the requests for everything are refused anyway. What is used and was not made is no handle, and a program
     * that could not be recorded has no outputs; a call's line may be all that is lacking. */
    if (say == say_checkpoints && failed_count == 0)
        assert_int_equal(code, TD_E_OK);
    else if (say == say_checkpoints)
        assert_true(code == TD_E_HANDLE || code == TD_E_GRAD || code == TD_E_OK || code == TD_E_MEMORY ||
                    code == TD_E_ARGUMENT || code == -1);
    else
        assert_true(code == -1 || code == TD_E_MEMORY || code == TD_E_SHAPE || code == TD_E_ARGUMENT);
    assert_true(code != -1 || failed_count > 0);
    stop(&harness, live_before);
    return failed_count > 0;
}

static void through_session(void (*say)(struct script *script))
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        int n = 0;
        while (session_with_fault(say, kind, n))
            n++;
        assert_true(n > 8);
        print_message("# %d faults in a session\n", n);
    }
}

static void a_session_of_everything(void **state)
{
    (void)state;
    through_session(say_everything);
}

static void a_session_of_checkpoints(void **state)
{
    (void)state;
    through_session(say_checkpoints);
}

static void memory_that_cannot_be_reserved(void **state)
{
    static struct harness harness;
    int64_t live_before = live;
    (void)state;
    harness_reserves_left = 0;
    struct line *line = start(&harness);
    struct script *script = script_begin();
    say_everything(script);
    send_script(line, script);
    assert_true(harness_run(&harness));
    harness_reserves_left = -1;
    assert_int_equal(standing_error(&harness, line), TD_E_MEMORY);
    stop(&harness, live_before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_of_sgd),
        cmocka_unit_test(a_step_of_adam),
        cmocka_unit_test(a_session_of_everything),
        cmocka_unit_test(a_session_of_checkpoints),
        cmocka_unit_test(memory_that_cannot_be_reserved),
    };
    log_open("faults", LOG_ERROR + 1);
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
