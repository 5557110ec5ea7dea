/* The black box: made and sealed so that nobody can shrink or forge it, exact in its totals, honest about what was
 * overwritten, and harmless whatever stands in it. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/blackbox.h"
#include "server/log.h"
#include "server/worker/exec.h"
#include "tests/harness.h"
#include "tests/random.h"

#define MIB ((size_t)1 << 20)

static struct harness harness;
static struct line *line;
static struct blackbox box; /* of the harness's worker */

static int setup(void **state)
{
    (void)state;
    if (harness_start(&harness, 256 * MIB) || !(line = harness_open(&harness)))
        return -1;
    box = (struct blackbox){harness.worker.recorder.tables, harness.worker.recorder.trace};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    const char *left = harness_end(&harness);
    struct blackbox_memory memory;
    bool torn;
    blackbox_memory(&box, &memory, NULL, &torn);
    bool clean = !left && !torn && memory.used == 0;
    harness_stop(&harness);
    return clean ? 0 : -1;
}

/* ---- saying things ---- */

static uint8_t frame[1 << 16], *at;

static void begin(void)
{
    at = td_write_uint(frame + TD_FRAME_HEADER, 0);
}

static void request(uint32_t flags, uint32_t site, uint32_t count, uint64_t id)
{
    at = td_write_uint(td_write_array(td_write_uint(td_write_uint(at, flags), site), count), id);
}

static void put(uint64_t value)
{
    at = td_write_uint(at, value);
}

static void full(uint32_t flags, uint32_t site, uint32_t out, int64_t rows, int64_t columns)
{
    struct td_full_attrs attrs = {.shape = {2, {rows, columns}}, .value = {.category = TD_FLOATING, .f = 1}};
    at = td_call_encode(at, td_op_of(TD_OP_full), flags, site, &out, NULL, NULL, &attrs);
}

static void binary(enum td_op_id op, uint32_t flags, uint32_t site, uint32_t out, uint32_t a, uint32_t b)
{
    int64_t attrs[TD_ATTR_SLOTS] = {0};
    struct td_input in[2] = {{.kind = TD_INPUT_HANDLE, .handle = a}, {.kind = TD_INPUT_HANDLE, .handle = b}};
    at = td_call_encode(at, td_op_of(op), flags, site, &out, in, NULL, attrs);
}

static void sum(uint32_t flags, uint32_t out, uint32_t a)
{
    struct td_sum_attrs attrs = {.dims.count = -1};
    struct td_input in = {.kind = TD_INPUT_HANDLE, .handle = a};
    at = td_call_encode(at, td_op_of(TD_OP_sum), flags, 0, &out, &in, NULL, &attrs);
}

static void backward(uint32_t root)
{
    request(0, 0, 5, TD_R_BACKWARD);
    put(root);
    at = td_write_nil(at);
    *at++ = 0xc2; /* retain: no */
    *at++ = 0xc2; /* create: no */
}

static void release(uint32_t handle)
{
    request(0, 0, 2, TD_R_RELEASE);
    put(handle);
}

static void name_site(uint32_t number, const char *text)
{
    request(0, 0, 3, TD_R_SITE);
    put(number);
    at = td_write_text(at, text, (uint32_t)strlen(text));
}

static void say(void)
{
    td_write_be32(frame, (uint32_t)(at - frame - TD_FRAME_HEADER));
    harness_send(line, frame, (size_t)(at - frame));
    assert_true(harness_run(&harness));
}

/* ---- reading ---- */

/* The next record of a kind; fails the test if there is none. */
static const union blackbox_copy *next_of(struct blackbox_cursor *cursor, enum blackbox_kind kind)
{
    static union blackbox_copy copy;
    while (blackbox_next(&box, cursor, &copy))
        if (copy.record.kind == kind)
            return &copy;
    fail_msg("there is no record of kind %d any more", kind);
    return NULL;
}

static void check_shape(const struct blackbox_op *op, int k, int rank, uint32_t rows, uint32_t columns)
{
    const uint32_t *sizes;
    assert_int_equal(blackbox_op_shape(op, k, &sizes), rank);
    assert_true(rank < 1 || sizes[0] == rows);
    assert_true(rank < 2 || sizes[1] == columns);
}

/* Memory as published, which must be the allocator's own, in every sum. */
static struct blackbox_memory exact_memory(void)
{
    struct blackbox_memory memory;
    struct blackbox_user users[BLACKBOX_USERS];
    struct blackbox_session session;
    uint64_t by_class = 0, by_user = 0, by_session = 0;
    bool torn;
    uint32_t count = blackbox_memory(&box, &memory, users, &torn);
    assert_false(torn);
    for (int k = 0; k < BLACKBOX_CLASSES; k++) {
        by_class += memory.bytes[k];
        for (uint32_t u = 0; u < count; u++)
            by_user += users[u].bytes[k];
    }
    for (uint32_t place = 0; place < BLACKBOX_SESSIONS; place++)
        for (int k = 0; k < BLACKBOX_CLASSES && blackbox_session(&box, place, &session); k++)
            by_session += session.bytes[k];
    assert_int_equal(memory.used, harness.worker.pool.used_bytes);
    assert_int_equal(memory.peak, harness.worker.pool.peak_bytes);
    assert_int_equal(by_class, memory.used);
    assert_int_equal(by_user, memory.used);
    assert_int_equal(by_session, memory.used);
    return memory;
}

/* ---- making and opening ---- */

static void is_made_sealed(void **state)
{
    (void)state;
    struct blackbox_made made;
    struct blackbox opened;
    struct td_failure failure = {0};
    assert_int_equal(blackbox_make(&made, 3), 0);
    assert_int_equal(blackbox_open(&opened, made.tables_read, made.trace_read, &failure), TD_E_OK);
    assert_int_equal(opened.tables->life, 3);
    blackbox_set_running(&made, 77);
    assert_int_equal(opened.tables->state, BLACKBOX_RUNNING);
    assert_int_equal(opened.tables->pid, 77);
    blackbox_set_ended(&made, "it fell");
    assert_int_equal(opened.tables->state, BLACKBOX_ENDED);
    assert_string_equal(opened.tables->cause, "it fell");
    /* nobody can cut it off under a reader, and a reader cannot write */
    assert_int_equal(ftruncate(made.tables, 0), -1);
    assert_int_equal(ftruncate(made.trace, 4096), -1);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, made.tables_read, 0), MAP_FAILED);
    assert_int_equal(write(made.trace_read, "x", 1), -1);
    blackbox_close(&opened);
    blackbox_unmake(&made);
    assert_int_equal(made.tables, -1);
}

static void refuses_what_is_none(void **state)
{
    (void)state;
    struct blackbox_made made;
    struct blackbox opened;
    struct td_failure failure = {0};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), unsealed = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(unsealed, sizeof(struct blackbox_tables)), 0);
    assert_int_equal(blackbox_open(&opened, null, -1, &failure), TD_E_PROTOCOL);
    failure.code = TD_E_OK;
    assert_int_equal(blackbox_open(&opened, unsealed, -1, &failure), TD_E_PROTOCOL);
    failure.code = TD_E_OK;
    assert_int_equal(blackbox_make(&made, 1), 0);
    assert_int_equal(blackbox_open(&opened, made.trace_read, -1, &failure), TD_E_VERSION); /* of another size */
    failure.code = TD_E_OK;
    made.map->magic++;
    assert_int_equal(blackbox_open(&opened, made.tables_read, made.trace_read, &failure), TD_E_VERSION);
    assert_null(opened.tables);
    blackbox_unmake(&made);
    close(null);
    close(unsealed);
}

/* ---- records ---- */

static void tells_ops_with_shapes_and_lines(void **state)
{
    (void)state;
    struct blackbox_cursor cursor;
    char site[64];
    blackbox_rewind(&box, &cursor);
    begin();
    name_site(1, "mlp.c:41");
    name_site(2, "mlp.c:41"); /* the same text: the same string */
    full(TD_FLAG_REQUIRES_GRAD, 1, 0, 64, 784);
    full(0, 0, 1, 784, 128);
    binary(TD_OP_matmul, TD_FLAG_GRAD, 2, 2, 0, 1);
    binary(TD_OP_matmul, 0, 2, 3, 0, 0); /* fails */
    sum(TD_FLAG_GRAD, 4, 2);
    backward(4);
    say();

    const union blackbox_copy *copy = next_of(&cursor, BLACKBOX_OPEN);
    assert_int_equal(copy->event.session, line->session->number);
    copy = next_of(&cursor, BLACKBOX_OP);
    assert_int_equal(copy->op.op, TD_OP_full);
    assert_int_equal(copy->op.flags, BLACKBOX_OP_LEAF);
    assert_int_equal(copy->op.bytes, 64 * 784 * 4);
    check_shape(&copy->op, -1, 2, 64, 784);
    assert_string_equal(blackbox_string(&box, copy->op.site, site, sizeof site), "mlp.c:41");
    uint32_t first = copy->op.out, string = copy->op.site;
    copy = next_of(&cursor, BLACKBOX_OP);
    assert_int_equal(copy->op.site, 0);
    uint32_t second = copy->op.out;

    copy = next_of(&cursor, BLACKBOX_OP);
    assert_int_equal(copy->op.op, TD_OP_matmul);
    assert_int_equal(copy->op.flags, BLACKBOX_OP_NODE);
    assert_int_equal(copy->op.dtype, TD_F32);
    assert_int_equal(copy->op.in_count, 2);
    assert_int_equal(copy->op.site, string);
    assert_int_equal(copy->op.request, 5);
    assert_true(copy->op.duration_us > 0);
    assert_int_equal(blackbox_op_inputs(&copy->op)[0], first);
    assert_int_equal(blackbox_op_inputs(&copy->op)[1], second);
    check_shape(&copy->op, -1, 2, 64, 128);
    check_shape(&copy->op, 0, 2, 64, 784);
    check_shape(&copy->op, 1, 2, 784, 128);
    uint32_t node = copy->op.node;
    assert_true(node > 0);

    copy = next_of(&cursor, BLACKBOX_ERROR);
    assert_int_equal(copy->error.code, TD_E_SHAPE);
    assert_int_equal(copy->error.request, 6);
    assert_int_equal(copy->error.id, TD_OP_matmul);
    assert_non_null(strstr(copy->error.message, "64"));
    copy = next_of(&cursor, BLACKBOX_OP);
    assert_int_equal(copy->op.flags, BLACKBOX_OP_FAILED);
    assert_int_equal(copy->op.out, 0);

    /* the walk: each op belongs to a forward node and names its line */
    int of_matmul = 0;
    union blackbox_copy rest;
    while (blackbox_next(&box, &cursor, &rest))
        if (rest.record.kind == BLACKBOX_OP && rest.op.flags & BLACKBOX_OP_BACKWARD && rest.op.node == node) {
            assert_int_equal(rest.op.site, string);
            of_matmul++;
        }
    assert_true(of_matmul > 0);
    assert_int_equal(cursor.lost_bytes, 0);
}

/* Small ops in great number, read now and then: whatever is read is whole and in order, what is not is counted. */
static void loses_nothing_uncounted(void **state)
{
    (void)state;
    struct random random = random_new();
    struct blackbox_cursor cursor;
    uint64_t seen = 0, skipped = 0, executed = 0, lost = 0;
    blackbox_rewind(&box, &cursor);
    begin();
    full(0, 0, 0, 2, 3);
    say();
    for (int round = 0; round < 400; round++) {
        begin();
        int count = 1 + (int)random_below(&random, 600);
        for (int k = 0; k < count; k++) {
            binary(TD_OP_add, 0, 0, 1, 0, 0);
            release(1);
        }
        say();
        executed += (uint64_t)count;
        if (round % 50 != 49 && random_below(&random, 4))
            continue; /* now and then the ring goes round unread */
        union blackbox_copy copy;
        uint32_t last = 0;
        while (blackbox_next(&box, &cursor, &copy)) {
            if (copy.record.kind == BLACKBOX_SKIP)
                skipped += copy.skip.count;
            if (copy.record.kind != BLACKBOX_OP || copy.op.op != TD_OP_add)
                continue;
            assert_true(copy.op.request > last);
            last = copy.op.request;
            check_shape(&copy.op, 1, 2, 2, 3);
            seen++;
        }
        lost += cursor.lost_bytes > 0;
    }
    skipped += harness.worker.recorder.skipped;
    assert_true(seen + skipped <= executed);
    if (!lost)
        assert_int_equal(seen + skipped, executed);
    assert_true(seen > 1000);
    assert_int_equal(line->session->op_count, executed + 1);
}

/* The ring written round and round by records of all lengths while a reader follows at leisure. */
static void goes_round(void **state)
{
    (void)state;
    struct random random = random_new();
    struct blackbox_cursor cursor;
    union blackbox_copy copy;
    uint64_t written = 0, read = 0;
    char message[TD_MESSAGE_BYTES];
    blackbox_forward(&box, &cursor);
    for (int k = 0; k < 60000; k++, written++) {
        snprintf(message, sizeof message, "%d", k);
        recorder_error(line->session, 0, 7, message);
        if (random_below(&random, 9))
            continue;
        while (random_below(&random, 4) && blackbox_next(&box, &cursor, &copy)) {
            assert_int_equal(copy.record.kind, BLACKBOX_ERROR);
            assert_int_equal(atoi(copy.error.message), cursor.lost_bytes ? atoi(copy.error.message) : (int)read);
            read++;
        }
    }
    while (blackbox_next(&box, &cursor, &copy))
        read++;
    assert_true(cursor.lost_bytes > 0);
    assert_true(read < written);
    assert_int_equal(atoi(copy.error.message), 59999); /* the newest is there */
    /* the lost bytes are the lost records, but for the ends of the ring */
    uint64_t by_bytes = cursor.lost_bytes / sizeof(struct blackbox_error), lost = written - read;
    assert_true(by_bytes + 64 > lost && by_bytes < lost + 64);
    /* a writer that died half way: what it had reserved is not read */
    uint64_t committed = harness.worker.recorder.trace->committed;
    harness.worker.recorder.trace->reserved = committed + 400;
    assert_false(blackbox_next(&box, &cursor, &copy));
    harness.worker.recorder.trace->reserved = committed;
}

/* ---- tables ---- */

static void accounts_to_the_byte(void **state)
{
    (void)state;
    struct random random = random_new();
    bool bound[16] = {0}, graph[16] = {0};
    for (int round = 0; round < 300; round++) {
        begin();
        for (int k = 0; k < 20; k++) {
            uint32_t out = (uint32_t)random_below(&random, 16), in = (uint32_t)random_below(&random, 16);
            uint32_t flags = random_below(&random, 2) ? TD_FLAG_REQUIRES_GRAD : 0;
            if (bound[out]) {
                release(out);
                bound[out] = false;
            }
            if (random_below(&random, 3) == 0 || !bound[in]) {
                full(flags, 0, out, 1 + (int64_t)random_below(&random, 300), 4);
                graph[out] = flags;
            } else if (random_below(&random, 4) && graph[in]) {
                sum(TD_FLAG_GRAD, out, in);
                backward(out);
                graph[out] = false; /* walked: not again */
            } else {
                binary(TD_OP_mul, TD_FLAG_GRAD, 0, out, in, in);
                graph[out] = graph[in];
            }
            bound[out] = true;
        }
        say();
        exact_memory();
    }
}

static void knows_what_bytes_are_for(void **state)
{
    (void)state;
    begin();
    full(TD_FLAG_REQUIRES_GRAD, 0, 0, 256, 256);
    full(0, 0, 1, 256, 256);
    say();
    struct blackbox_memory memory = exact_memory();
    const uint64_t each = 256 * 256 * 4;
    assert_int_equal(memory.bytes[BLACKBOX_PARAM], each);
    assert_int_equal(memory.bytes[BLACKBOX_VALUE], each);
    begin();
    binary(TD_OP_mul, TD_FLAG_GRAD, 0, 2, 0, 1);
    binary(TD_OP_mul, TD_FLAG_GRAD, 0, 3, 2, 2); /* keeps 2 */
    release(2);
    sum(TD_FLAG_GRAD, 4, 3);
    release(3);
    say();
    memory = exact_memory();
    assert_int_equal(memory.bytes[BLACKBOX_SAVED], each);
    assert_int_equal(memory.bytes[BLACKBOX_GRAD], 0);
    begin();
    backward(4);
    say();
    memory = exact_memory();
    assert_int_equal(memory.bytes[BLACKBOX_SAVED], 0);
    assert_int_equal(memory.bytes[BLACKBOX_GRAD], each);
    assert_int_equal(memory.bytes[BLACKBOX_PARAM], each);
    assert_true(memory.peak > memory.used && memory.peak_ns > 0);
}

static void remembers_the_last_requests(void **state)
{
    (void)state;
    struct blackbox_request last[BLACKBOX_LAST];
    char site[64];
    assert_int_equal(blackbox_last(&box, 0, last), 0);
    begin();
    name_site(1, "loop.c:7");
    full(0, 1, 0, 2, 2);
    binary(TD_OP_matmul, 0, 1, 1, 0, 9); /* there is no 9 */
    say();
    assert_int_equal(blackbox_last(&box, 0, last), 3);
    assert_int_equal(last[0].id, TD_R_SITE);
    assert_int_equal(last[1].id, TD_OP_full);
    assert_int_equal(last[1].outcome, BLACKBOX_DONE);
    assert_string_equal(blackbox_string(&box, last[1].site, site, sizeof site), "loop.c:7");
    assert_int_equal(last[2].outcome, BLACKBOX_FAILED);
    assert_int_equal(last[2].request, 3);
    begin();
    for (int k = 0; k < 100; k++)
        binary(TD_OP_add_, 0, 1, 0, 0, 0);
    say();
    assert_int_equal(blackbox_last(&box, 0, last), BLACKBOX_LAST);
    assert_int_equal(last[0].request, 103 - BLACKBOX_LAST + 1);
    assert_int_equal(last[BLACKBOX_LAST - 1].request, 103);
}

static void has_places_for_as_many_as_it_has(void **state)
{
    (void)state;
    enum { MANY = BLACKBOX_SESSIONS + 50 };
    static struct session sessions[MANY];
    struct blackbox_session card;
    memset(sessions, 0, sizeof sessions);
    for (int k = 0; k < MANY; k++) {
        sessions[k].worker = &harness.worker;
        sessions[k].number = 100 + (uint64_t)k;
        sessions[k].uid = 1000 + (uint32_t)k; /* more users than there are places, too */
        recorder_open(&sessions[k]);
        sessions[k].bytes[BLACKBOX_VALUE] = 64;
        recorder_publish(&sessions[k], 10);
    }
    assert_non_null(sessions[BLACKBOX_SESSIONS - 2].card); /* one place is the harness's own session's */
    assert_null(sessions[BLACKBOX_SESSIONS - 1].card);
    assert_int_equal(box.tables->sessions_open, MANY + 1);
    struct blackbox_memory memory;
    struct blackbox_user users[BLACKBOX_USERS];
    bool torn;
    assert_int_equal(blackbox_memory(&box, &memory, users, &torn), BLACKBOX_USERS);
    uint64_t bytes = 0, open = 0;
    for (int k = 0; k < BLACKBOX_USERS; k++) {
        bytes += users[k].bytes[BLACKBOX_VALUE];
        open += users[k].sessions;
    }
    assert_int_equal(users[BLACKBOX_USERS - 1].uid, BLACKBOX_OTHERS);
    assert_int_equal(bytes, (uint64_t)MANY * 64);
    assert_int_equal(open, MANY + 1);
    /* a closed session is still told of, until its place is needed */
    sessions[5].bytes[BLACKBOX_VALUE] = 0;
    recorder_close(&sessions[5]);
    uint32_t place = (uint32_t)(sessions[5].card - box.tables->sessions);
    assert_true(blackbox_session(&box, place, &card) && card.closed_ns && card.number == 105);
    struct session late = {.worker = &harness.worker, .number = 7777};
    recorder_open(&late);
    assert_true(blackbox_session(&box, place, &card) && !card.closed_ns && card.number == 7777);
    recorder_close(&late);
    for (int k = 0; k < MANY; k++)
        if (k != 5) {
            sessions[k].bytes[BLACKBOX_VALUE] = 0;
            recorder_close(&sessions[k]);
        }
}

static void strings_are_bounded(void **state)
{
    (void)state;
    struct recorder *recorder = &harness.worker.recorder;
    char text[128], back[128];
    assert_int_equal(recorder_string(recorder, ""), 0);
    uint32_t first = recorder_string(recorder, "first"), id = first;
    assert_int_equal(recorder_string(recorder, "first"), first);
    for (int k = 0; id; k++) {
        snprintf(text, sizeof text, "%090d", k);
        id = recorder_string(recorder, text);
        assert_true(!id || !strcmp(blackbox_string(&box, id, back, sizeof back), text));
    }
    assert_true(recorder->trace->strings_refused > 0);
    assert_int_equal(recorder_string(recorder, "first"), first);
    assert_string_equal(blackbox_string(&box, first, back, 3), "fi"); /* cut where there is no room */
    assert_string_equal(blackbox_string(&box, UINT32_MAX, back, sizeof back), "");
    uint32_t evil = recorder_string(recorder, "\x1b[2J");
    assert_string_equal(blackbox_string(&box, evil, back, sizeof back), evil ? "?[2J" : "");
}

static void measures_answers(void **state)
{
    (void)state;
    struct blackbox_session card;
    for (int k = 0; k < 99; k++)
        recorder_answered(line->session, 3000);
    recorder_answered(line->session, 900000);
    assert_true(blackbox_session(&box, 0, &card));
    assert_true(blackbox_latency_us(&card, 0.5) == 4);
    assert_true(blackbox_latency_us(&card, 0.99) == 4);
    assert_true(blackbox_latency_us(&card, 1) == 1024);
    assert_int_equal(card.latency_max_ns, 900000);
}

/* ---- scribbling ---- */

/* Reads everything there is to read. */
static void read_all(const struct blackbox *scribbled)
{
    struct blackbox_memory memory;
    struct blackbox_user users[BLACKBOX_USERS];
    struct blackbox_session session;
    struct blackbox_request last[BLACKBOX_LAST];
    struct blackbox_cursor cursor;
    union blackbox_copy copy;
    char text[64];
    bool torn;
    assert_true(blackbox_memory(scribbled, &memory, users, &torn) <= BLACKBOX_USERS);
    for (uint32_t place = 0; place < BLACKBOX_SESSIONS; place++)
        if (blackbox_session(scribbled, place, &session)) {
            assert_true(memchr(session.program, 0, sizeof session.program) != NULL);
            assert_true(blackbox_latency_us(&session, 0.99) >= 0);
            assert_true(blackbox_last(scribbled, place, last) <= BLACKBOX_LAST);
        }
    blackbox_rewind(scribbled, &cursor);
    for (int k = 0; k < 200000 && blackbox_next(scribbled, &cursor, &copy); k++) {
        assert_true(copy.record.kind <= BLACKBOX_SKIP);
        if (copy.record.kind == BLACKBOX_OP) {
            const uint32_t *sizes;
            uint64_t total = 0;
            assert_true(copy.op.in_count <= BLACKBOX_OP_INPUTS);
            for (int i = -1; i < copy.op.in_count; i++) {
                int rank = blackbox_op_shape(&copy.op, i, &sizes);
                assert_true(rank <= TD_RANK_MAX);
                for (int d = 0; d < rank; d++)
                    total += sizes[d]; /* under a sanitizer: all of it lies in the copy */
            }
            blackbox_string(scribbled, copy.op.site + (total == 1), text, sizeof text);
        } else if (copy.record.kind == BLACKBOX_ERROR) {
            assert_true(memchr(copy.error.message, 0, sizeof copy.error.message) != NULL);
        }
    }
}

struct scribbler {
    struct random random;
    uint8_t *tables, *trace;
    atomic_bool ends;
};

static void scribble(struct scribbler *s, int count)
{
    for (int k = 0; k < count; k++) {
        uint64_t value = random_next(&s->random);
        bool head = random_below(&s->random, 4) == 0;
        if (random_below(&s->random, 2))
            s->tables[random_below(&s->random, head ? 256 : sizeof(struct blackbox_tables))] = (uint8_t)value;
        else
            s->trace[random_below(&s->random, head ? 64 : sizeof(struct blackbox_trace))] = (uint8_t)value;
    }
}

static void is_harmless_scribbled_over(void **state)
{
    (void)state;
    struct scribbler s = {.random = random_new()};
    begin();
    for (uint32_t k = 0; k < 600; k++)
        full(0, 0, k, 3, 5);
    say();
    s.tables = malloc(sizeof *box.tables);
    s.trace = aligned_alloc(4096, (sizeof *box.trace + 4095) / 4096 * 4096);
    assert_true(s.tables && s.trace);
    struct blackbox copy = {(struct blackbox_tables *)s.tables, (struct blackbox_trace *)s.trace};
    for (int round = 0; round < 60; round++) {
        memcpy(s.tables, box.tables, sizeof *box.tables);
        memcpy(s.trace, box.trace, sizeof *box.trace);
        scribble(&s, 1 << random_below(&s.random, 16));
        read_all(&copy);
    }
    free(s.tables);
    free(s.trace);
}

#ifndef __SANITIZE_THREAD__
static void *scribble_on(void *data)
{
    struct scribbler *s = data;
    while (!s->ends)
        scribble(s, 1000);
    return NULL;
}

/* The same while it is being read: what was looked at and is then used must be the copy. */
static void is_harmless_while_scribbled_over(void **state)
{
    (void)state;
    struct blackbox_made made;
    struct blackbox opened;
    struct td_failure failure = {0};
    struct scribbler s = {.random = random_new()};
    pthread_t thread;
    assert_int_equal(blackbox_make(&made, 1), 0);
    assert_int_equal(blackbox_open(&opened, made.tables_read, made.trace_read, &failure), TD_E_OK);
    s.tables = mmap(NULL, sizeof *box.tables, PROT_READ | PROT_WRITE, MAP_SHARED, made.tables, 0);
    s.trace = mmap(NULL, sizeof *box.trace, PROT_READ | PROT_WRITE, MAP_SHARED, made.trace, 0);
    assert_true(s.tables != MAP_FAILED && s.trace != MAP_FAILED);
    begin();
    for (uint32_t k = 0; k < 600; k++)
        full(0, 0, k, 3, 5);
    say();
    memcpy(s.tables, box.tables, sizeof *box.tables);
    memcpy(s.trace, box.trace, sizeof *box.trace);
    assert_int_equal(pthread_create(&thread, NULL, scribble_on, &s), 0);
    for (int round = 0; round < 40; round++)
        read_all(&opened);
    s.ends = true;
    pthread_join(thread, NULL);
    munmap(s.tables, sizeof *box.tables);
    munmap(s.trace, sizeof *box.trace);
    blackbox_close(&opened);
    blackbox_unmake(&made);
}
#endif

int main(void)
{
    log_open("worker", LOG_ERROR + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_made_sealed),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test_setup_teardown(tells_ops_with_shapes_and_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(loses_nothing_uncounted, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_round, setup, teardown),
        cmocka_unit_test_setup_teardown(accounts_to_the_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(knows_what_bytes_are_for, setup, teardown),
        cmocka_unit_test_setup_teardown(remembers_the_last_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(has_places_for_as_many_as_it_has, setup, teardown),
        cmocka_unit_test_setup_teardown(strings_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(measures_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(is_harmless_scribbled_over, setup, teardown),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test_setup_teardown(is_harmless_while_scribbled_over, setup, teardown),
#endif
    };
    return cmocka_run_group_tests_name("blackbox", tests, NULL, NULL);
}
