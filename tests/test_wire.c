/* The wire: our reader and writer against msgpack-c, every cut and many random bytes right before unmapped memory, the
 * round trip of a call of every op, and golden frames, so that the wire cannot change unnoticed.
 * TEST_SEED sets the seed of the random tests. SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <msgpack.h>

#include "protocol/message.h"

#define ROOM (1u << 20)

static uint8_t *edge; /* one past the last byte that may be read: the page behind it is not mapped */
static uint8_t room[ROOM];
static uint64_t seed, random_state;

static uint64_t draw(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static uint64_t below(uint64_t n)
{
    return draw() % n;
}

/* The bytes again, with their end at the edge of mapped memory. */
static struct td_reader at_edge(const void *data, size_t bytes)
{
    assert_true(bytes <= ROOM);
    memmove(edge - bytes, data, bytes);
    return td_reader_of(edge - bytes, bytes);
}

static int setup(void **state)
{
    (void)state;
    const char *given = getenv("TEST_SEED");
    seed = given ? strtoull(given, NULL, 0) : 20260131;
    print_message("TEST_SEED=%llu\n", (unsigned long long)seed);
    random_state = seed;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    edge = memory + ROOM;
    return mprotect(edge, page, PROT_NONE);
}

/* ---- against msgpack-c ---- */

static const uint64_t unsigned_edges[] = {0,
                                          1,
                                          0x7f,
                                          0x80,
                                          0xff,
                                          0x100,
                                          0x7fff,
                                          0x8000,
                                          0xffff,
                                          0x10000,
                                          INT32_MAX,
                                          0x80000000u,
                                          UINT32_MAX,
                                          0x100000000u,
                                          INT64_MAX,
                                          UINT64_MAX,
                                          (UINT64_C(1) << 63)};
static const int64_t signed_edges[] = {-1,
                                       -31,
                                       -32,
                                       -33,
                                       -127,
                                       -128,
                                       -129,
                                       -32767,
                                       -32768,
                                       -32769,
                                       INT32_MIN,
                                       INT32_MIN + 1,
                                       (int64_t)INT32_MIN - 1,
                                       INT64_MIN,
                                       INT64_MIN + 1};

static void test_writer_is_read_by_msgpack(void **state)
{
    (void)state;
    msgpack_unpacked got;
    msgpack_unpacked_init(&got);
    size_t offset = 0;
    uint8_t *at = room;
#define NEXT() assert_int_equal(msgpack_unpack_next(&got, (char *)room, (size_t)(at - room), &offset), 2)
    for (size_t i = 0; i < sizeof unsigned_edges / 8; i++) {
        at = td_write_uint(room, unsigned_edges[i]), offset = 0;
        NEXT();
        assert_int_equal(got.data.type, MSGPACK_OBJECT_POSITIVE_INTEGER);
        assert_true(got.data.via.u64 == unsigned_edges[i]);
        assert_int_equal(offset, at - room);
        assert_true(at - room <= TD_WIRE_MAX);
    }
    for (size_t i = 0; i < sizeof signed_edges / 8; i++) {
        at = td_write_int(room, signed_edges[i]), offset = 0;
        NEXT();
        assert_int_equal(got.data.type, MSGPACK_OBJECT_NEGATIVE_INTEGER);
        assert_true(got.data.via.i64 == signed_edges[i]);
    }
    const double reals[] = {0.0, -0.0, 1.5, 1e308, 5e-324, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof reals / 8; i++) {
        at = td_write_real(room, reals[i]), offset = 0;
        NEXT();
        assert_int_equal(got.data.type, MSGPACK_OBJECT_FLOAT64);
        assert_memory_equal(&got.data.via.f64, &reals[i], 8);
    }
    static char text[70000];
    memset(text, 'x', sizeof text);
    const uint32_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    for (size_t i = 0; i < sizeof lengths / 4; i++) {
        at = td_write_text(room, text, lengths[i]), offset = 0;
        NEXT();
        assert_int_equal(got.data.type, MSGPACK_OBJECT_STR);
        assert_int_equal(got.data.via.str.size, lengths[i]);
        at = td_write_bin_header(room, lengths[i]), offset = 0;
        memcpy(at, text, lengths[i]);
        at += lengths[i];
        NEXT();
        assert_int_equal(got.data.type, MSGPACK_OBJECT_BIN);
        assert_int_equal(got.data.via.bin.size, lengths[i]);
        at = td_write_array(room, lengths[i]), offset = 0;
        memset(at, 0xc0, lengths[i]);
        at += lengths[i];
        NEXT();
        assert_int_equal(got.data.via.array.size, lengths[i]);
    }
    at = td_write_nil(td_write_bool(td_write_bool(room, true), false)), offset = 0;
    NEXT();
    assert_true(got.data.via.boolean);
    NEXT();
    assert_false(got.data.via.boolean);
    NEXT();
    assert_int_equal(got.data.type, MSGPACK_OBJECT_NIL);
    msgpack_unpacked_destroy(&got);
}

/* What msgpack-c packs, in every width that it knows. */
struct packed {
    msgpack_sbuffer buffer;
    msgpack_packer packer;
};

static struct packed *pack(void)
{
    static struct packed p;
    msgpack_sbuffer_destroy(&p.buffer);
    msgpack_sbuffer_init(&p.buffer);
    msgpack_packer_init(&p.packer, &p.buffer, msgpack_sbuffer_write);
    return &p;
}
#define READER(p) at_edge((p)->buffer.data, (p)->buffer.size)
#define ENDED(r) assert_true(!(r).failed && (r).at == (r).end)

static void check_unsigned(const struct packed *p, uint64_t value)
{
    struct td_reader r = READER(p);
    assert_int_equal(td_read_type(&r), TD_WIRE_INT);
    assert_true(td_read_uint(&r) == value);
    ENDED(r);
    r = READER(p);
    assert_true(td_read_u32(&r) == (value <= UINT32_MAX ? value : 0));
    assert_int_equal(r.failed, value > UINT32_MAX);
    r = READER(p);
    assert_true(td_read_int(&r) == (value <= INT64_MAX ? (int64_t)value : 0));
    assert_int_equal(r.failed, value > INT64_MAX);
    r = READER(p);
    td_read_skip(&r);
    ENDED(r);
}

static void test_reader_reads_msgpack_integers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unsigned_edges / 8; i++) {
        uint64_t v = unsigned_edges[i];
        struct packed *p = pack();
        msgpack_pack_uint64(&p->packer, v);
        check_unsigned(p, v);
        if (v <= UINT8_MAX)
            msgpack_pack_fix_uint8(&(p = pack())->packer, (uint8_t)v), check_unsigned(p, v);
        if (v <= UINT16_MAX)
            msgpack_pack_fix_uint16(&(p = pack())->packer, (uint16_t)v), check_unsigned(p, v);
        if (v <= UINT32_MAX)
            msgpack_pack_fix_uint32(&(p = pack())->packer, (uint32_t)v), check_unsigned(p, v);
        msgpack_pack_fix_uint64(&(p = pack())->packer, v), check_unsigned(p, v);
        if (v <= INT8_MAX)
            msgpack_pack_fix_int8(&(p = pack())->packer, (int8_t)v), check_unsigned(p, v);
        if (v <= INT64_MAX)
            msgpack_pack_fix_int64(&(p = pack())->packer, (int64_t)v), check_unsigned(p, v);
    }
    for (size_t i = 0; i < sizeof signed_edges / 8; i++) {
        struct packed *p = pack();
        msgpack_pack_int64(&p->packer, signed_edges[i]);
        struct td_reader r = READER(p);
        assert_true(td_read_int(&r) == signed_edges[i]);
        ENDED(r);
        r = READER(p);
        assert_true(td_read_uint(&r) == 0 && r.failed);
        r = READER(p);
        struct td_number n = td_read_number(&r);
        assert_true(n.category == TD_INTEGER && n.i == signed_edges[i]);
        uint8_t *end = td_write_int(room, signed_edges[i]); /* our width, too */
        r = at_edge(room, (size_t)(end - room));
        assert_true(td_read_int(&r) == signed_edges[i]);
        ENDED(r);
    }
}

static void test_reader_reads_msgpack_reals_and_bytes(void **state)
{
    (void)state;
    struct packed *p = pack();
    msgpack_pack_float(&p->packer, 1.5f);
    msgpack_pack_double(&p->packer, -2.25);
    msgpack_pack_int(&p->packer, -7);
    msgpack_pack_true(&p->packer);
    msgpack_pack_nil(&p->packer);
    struct td_reader r = READER(p);
    assert_true(td_read_real(&r) == 1.5);
    assert_true(td_read_real(&r) == -2.25);
    assert_true(td_read_real(&r) == -7.0);
    assert_false(td_read_nil(&r));
    struct td_number n = td_read_number(&r);
    assert_true(n.category == TD_BOOLEAN && n.i == 1);
    assert_true(td_read_nil(&r));
    ENDED(r);
    const uint32_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 70000};
    static char bytes[70000];
    for (size_t i = 0; i < sizeof lengths / 4; i++) {
        uint32_t length = 1;
        p = pack();
        msgpack_pack_str(&p->packer, lengths[i]);
        msgpack_pack_str_body(&p->packer, bytes, lengths[i]);
        msgpack_pack_bin(&p->packer, lengths[i]);
        msgpack_pack_bin_body(&p->packer, bytes, lengths[i]);
        msgpack_pack_array(&p->packer, lengths[i]);
        for (uint32_t k = 0; k < lengths[i]; k++)
            msgpack_pack_nil(&p->packer);
        r = READER(p);
        assert_int_equal(td_read_type(&r), TD_WIRE_TEXT);
        assert_non_null(td_read_text(&r, &length));
        assert_int_equal(length, lengths[i]);
        assert_int_equal(td_read_type(&r), TD_WIRE_BIN);
        assert_non_null(td_read_bin(&r, &length));
        assert_int_equal(length, lengths[i]);
        assert_int_equal(td_read_array(&r), lengths[i]);
        while (td_read_nil(&r))
            continue;
        ENDED(r);
        r = READER(p);
        for (int k = 0; k < 3; k++)
            td_read_skip(&r);
        ENDED(r);
    }
}

static void test_every_type_against_every_reader(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++) {
        uint8_t bytes[40] = {(uint8_t)first};
        uint32_t length;
        for (int way = 0; way < 9; way++) {
            struct td_reader r = at_edge(bytes, sizeof bytes);
            enum td_wire_type type = td_read_type(&r);
            bool fits = false;
            switch (way) {
            case 0:
                td_read_uint(&r), fits = type == TD_WIRE_INT && first < 0xe0;
                break;
            case 1:
                td_read_int(&r), fits = type == TD_WIRE_INT;
                break;
            case 2:
                td_read_bool(&r), fits = type == TD_WIRE_BOOL;
                break;
            case 3:
                td_read_number(&r), fits = type == TD_WIRE_INT || type == TD_WIRE_REAL || type == TD_WIRE_BOOL;
                break;
            case 4:
                td_read_real(&r), fits = type == TD_WIRE_INT || type == TD_WIRE_REAL;
                break;
            case 5:
                td_read_array(&r), fits = type == TD_WIRE_ARRAY;
                break;
            case 6:
                td_read_text(&r, &length), fits = type == TD_WIRE_TEXT;
                break;
            case 7:
                td_read_bin(&r, &length), fits = type == TD_WIRE_BIN;
                break;
            default:
                td_read_skip(&r);
                fits = type != TD_WIRE_NONE;
            }
            assert_int_equal(!r.failed, fits);
            if (r.failed) { /* and nothing can be had after a failure */
                assert_int_equal(td_read_uint(&r) + td_read_array(&r) + td_read_u32(&r), 0);
                assert_int_equal(td_read_type(&r), TD_WIRE_NONE);
            }
        }
    }
}

/* ---- cut, nested, absurd and random bytes ---- */

/* Takes objects until the end or a failure; false if it was a failure. */
static bool skip_all(struct td_reader r, uint64_t *taken)
{
    const uint8_t *before;
    for (*taken = 0; td_reader_left(&r) && !r.failed; ++*taken) {
        before = r.at;
        td_read_skip(&r);
        assert_true(r.at > before); /* it always gets on */
        assert_true(r.at <= r.end);
    }
    return !r.failed;
}

static void test_every_cut_fails(void **state)
{
    (void)state;
    struct packed *p = pack();
    msgpack_packer *k = &p->packer;
    msgpack_pack_array(k, 12);
    msgpack_pack_uint64(k, UINT64_MAX);
    msgpack_pack_int64(k, INT64_MIN);
    msgpack_pack_int(k, -200);
    msgpack_pack_float(k, 1);
    msgpack_pack_double(k, 1);
    msgpack_pack_nil(k);
    msgpack_pack_str(k, 40);
    msgpack_pack_str_body(k, room, 40);
    msgpack_pack_bin(k, 300);
    msgpack_pack_bin_body(k, room, 300);
    msgpack_pack_map(k, 1);
    msgpack_pack_true(k);
    msgpack_pack_array(k, 20);
    for (int i = 0; i < 20; i++)
        msgpack_pack_uint16(k, 1000);
    msgpack_pack_array(k, 1);
    msgpack_pack_array(k, 0);
    msgpack_pack_bin(k, 70000);
    msgpack_pack_bin_body(k, room, 70000);
    msgpack_pack_false(k);
    uint64_t taken;
    assert_true(skip_all(READER(p), &taken));
    assert_int_equal(taken, 1);
    for (size_t cut = 1; cut < p->buffer.size; cut += cut < 1000 || cut > p->buffer.size - 20 ? 1 : 997)
        assert_false(skip_all(at_edge(p->buffer.data, cut), &taken));
}

static void test_counts_and_nesting_are_bounded(void **state)
{
    (void)state;
    static const uint8_t tags[] = {0xdd, 0xdf, 0xdb, 0xc6, 0xdc, 0xde, 0xda, 0xc5, 0xd9, 0xc4, 0x9f, 0x8f, 0xbf};
    uint32_t length;
    for (size_t i = 0; i < sizeof tags; i++) {
        uint8_t bytes[14] = {tags[i], 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1, 1, 1, 1, 1, 1};
        uint64_t taken;
        assert_false(skip_all(at_edge(bytes, 14), &taken));
        struct td_reader r = at_edge(bytes, 14);
        assert_true(td_read_array(&r) == 0 && r.failed);
        r = at_edge(bytes, 14);
        assert_true(!td_read_text(&r, &length) && length == 0 && r.failed);
        r = at_edge(bytes, 14);
        assert_true(!td_read_bin(&r, &length) && length == 0 && r.failed);
    }
    for (int depth = 1; depth < 3000; depth = depth < 8 ? depth + 1 : depth * 3) {
        memset(room, 0x91, (size_t)depth);
        room[depth] = 1;
        struct td_reader r = at_edge(room, (size_t)depth + 1);
        td_read_skip(&r);
        assert_int_equal(r.failed, depth > TD_NESTING_MAX);
    }
    /* Many containers with nothing in them, one after the other and side by side. */
    memset(room, 0x90, ROOM);
    uint64_t taken;
    assert_true(skip_all(at_edge(room, ROOM), &taken));
    assert_int_equal(taken, ROOM);
}

/* Random bytes, half of them tags that mean much. Our reader agrees with msgpack-c on what is whole, but for nesting
 * and the ext types, which the protocol does not use. */
static void random_bytes(uint8_t *at, size_t bytes)
{
    static const uint8_t tags[] = {0xdd, 0xdc, 0x91, 0x95, 0xc6, 0xc4, 0xdb, 0xd9, 0xcf, 0xd3,
                                   0xcb, 0xca, 0xc0, 0xc3, 0x80, 0xdf, 0xce, 0xcc, 0xa3, 0xff};
    for (size_t i = 0; i < bytes; i++)
        at[i] = below(2) ? tags[below(sizeof tags)] : (uint8_t)(below(3) ? below(8) : draw());
}

static void test_random_bytes(void **state)
{
    (void)state;
    msgpack_unpacked got;
    msgpack_unpacked_init(&got);
    int whole = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[48];
        size_t count = 1 + below(sizeof bytes);
        random_bytes(bytes, count);
        struct td_reader r = at_edge(bytes, count);
        size_t offset = 0;
        td_read_skip(&r);
        if (!r.failed) {
            whole++;
            assert_int_equal(msgpack_unpack_next(&got, (char *)bytes, count, &offset), 2);
            assert_int_equal(offset, r.at - (edge - count));
        }
    }
    msgpack_unpacked_destroy(&got);
    print_message("%d whole objects\n", whole);
    assert_true(whole > 10000);
}

/* ---- calls ---- */

#define INPUTS (4 * 8 + 8)
static struct td_call call;

static struct td_number random_number(void)
{
    switch (below(3)) {
    case 0:
        return (struct td_number){.category = TD_BOOLEAN, .i = (int64_t)below(2)};
    case 1:
        return (struct td_number){.category = TD_INTEGER, .i = (int64_t)(draw() >> below(64)) * (below(2) ? 1 : -1)};
    default:
        return (struct td_number){.category = TD_FLOATING, .f = ldexp((double)(int64_t)draw(), (int)below(200) - 100)};
    }
}

static void random_attr(const struct td_param *p, int64_t *slot)
{
    struct td_number number = random_number();
    static const uint8_t dtypes[] = {0, TD_BOOL, TD_I64, TD_F32, TD_F64};
    struct td_dims dims = {.count = (int64_t)below(TD_RANK_MAX + 1)};
    double real = ldexp((double)(int64_t)draw(), -70);
    switch (p->kind) {
    case TD_PARAM_REAL:
        memcpy(slot, &real, 8);
        return;
    case TD_PARAM_NUMBER:
        memcpy(slot, &number, sizeof number);
        return;
    case TD_PARAM_SHAPE:
    case TD_PARAM_DIMS:
        if (p->kind == TD_PARAM_DIMS && below(4) == 0)
            dims.count = -1;
        for (int64_t d = 0; d < dims.count; d++)
            dims.v[d] = (int64_t)(draw() >> below(64)) * (below(2) ? 1 : -1);
        memcpy(slot, &dims, sizeof dims);
        return;
    case TD_PARAM_FLAG:
        *slot = (int64_t)below(2);
        return;
    case TD_PARAM_DTYPE:
        *slot = dtypes[below(5)];
        return;
    default:
        *slot = (int64_t)(draw() >> below(64)) * (below(2) ? 1 : -1);
    }
}

struct sample {
    struct td_input in[INPUTS];
    uint16_t list_counts[TD_PARAMS_MAX];
    int64_t attrs[TD_ATTR_SLOTS];
    int in_count;
    uint32_t flags, site, out[TD_OUTPUTS_MAX];
    size_t bytes;
};

static void random_input(struct sample *s, uint8_t kind)
{
    struct td_input *in = &s->in[s->in_count++];
    *in = (struct td_input){.kind = TD_INPUT_HANDLE, .handle = (uint32_t)below(TD_HANDLES_MAX)};
    if (kind == TD_PARAM_NUM && below(2))
        *in = (struct td_input){.kind = TD_INPUT_NUMBER, .number = random_number()};
    if (kind == TD_PARAM_OPT && below(2))
        *in = (struct td_input){.kind = TD_INPUT_NONE};
}

/* A call of op with random arguments, encoded into room. */
static struct sample random_call(const struct td_op *op)
{
    struct sample s = {.flags = (uint32_t)draw(), .site = (uint32_t)below(TD_SITES_MAX)};
    for (int k = 0; k < TD_OUTPUTS_MAX; k++)
        s.out[k] = (uint32_t)below(TD_HANDLES_MAX);
    int64_t *slot = s.attrs;
    int list = 0;
    for (const struct td_param *p = op->params; p->kind; slot += td_param_slots(p++->kind)) {
        if (td_param_is_list(p->kind)) {
            s.list_counts[list] = (uint16_t)below(9);
            for (int k = s.list_counts[list++]; k > 0; k--)
                random_input(&s, p->kind);
        } else if (td_param_is_tensor(p->kind)) {
            random_input(&s, p->kind);
        } else {
            random_attr(p, slot);
        }
    }
    const uint8_t *end = td_call_encode(room, op, s.flags, s.site, s.out, s.in, s.list_counts, s.attrs);
    s.bytes = (size_t)(end - room);
    assert_true(s.bytes <= td_call_bound(s.in_count));
    return s;
}

/* Takes the head of a request and then the call; false if the head itself does not lead to an op. */
static bool decode(struct td_reader *r, struct td_failure *failure)
{
    *failure = (struct td_failure){0};
    memset(&call, 0xa5, sizeof call);
    call.flags = td_read_u32(r);
    call.site = td_read_u32(r);
    uint32_t elements = td_read_array(r);
    const struct td_op *op = elements ? td_op_of(td_read_uint(r)) : NULL;
    if (r->failed || !op)
        return false;
    int code = td_call_decode(r, op, elements, &call, failure);
    assert_int_equal(code, failure->code);
    return true;
}

#define EACH_OP(op)                                       \
    for (int id_ = TD_OP_FIRST; id_ < TD_OP_LIMIT; id_++) \
        for (const struct td_op *op = td_op_of((uint64_t)id_); op; op = NULL)

static bool same_input(const struct td_input *a, const struct td_input *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == TD_INPUT_NUMBER)
        return a->number.category == b->number.category && a->number.i == b->number.i;
    return a->kind == TD_INPUT_NONE || a->handle == b->handle;
}

static void test_calls_round_trip(void **state)
{
    (void)state;
    struct td_failure failure;
    EACH_OP(op)
    {
        for (int round = 0; round < 300; round++) {
            struct sample s = random_call(op);
            struct td_reader r = at_edge(room, s.bytes);
            assert_true(decode(&r, &failure));
            ENDED(r);
            assert_int_equal(failure.code, TD_E_OK);
            assert_true(call.op == op && call.flags == s.flags && call.site == s.site);
            for (int k = 0; k < td_op_named_outputs(op); k++)
                assert_int_equal(call.out[k], s.out[k]);
            assert_int_equal(call.in_count, s.in_count);
            for (int k = 0; k < s.in_count; k++)
                assert_true(same_input(&call.in[k], &s.in[k]));
            assert_memory_equal(call.attrs, s.attrs, (size_t)op->slots * 8);
            int list = 0;
            for (const struct td_param *p = op->params; p->kind; p++)
                if (td_param_is_list(p->kind))
                    assert_int_equal(call.list_counts[list], s.list_counts[list]), list++;
        }
    }
}

static void test_calls_cut_short(void **state)
{
    (void)state;
    struct td_failure failure;
    EACH_OP(op)
    {
        struct sample s = random_call(op);
        for (size_t cut = 0; cut < s.bytes; cut++) {
            struct td_reader r = at_edge(room, cut);
            decode(&r, &failure);
            assert_true(r.failed);
        }
    }
}

/* A request is taken whole whatever is in it: behind it stands a mark, which has to be what comes next. */
static void expect_refusal(const uint8_t *request, size_t bytes, int code)
{
    static const uint8_t mark[] = {0xa4, 'n', 'e', 'x', 't'};
    static uint8_t copy[ROOM / 2];
    struct td_failure failure;
    memcpy(copy, request, bytes);
    memcpy(copy + bytes, mark, sizeof mark);
    struct td_reader r = at_edge(copy, bytes + sizeof mark);
    assert_true(decode(&r, &failure));
    assert_false(r.failed);
    assert_memory_equal(r.at, mark, sizeof mark);
    assert_int_equal(td_reader_left(&r), sizeof mark);
    if (code)
        assert_int_equal(failure.code, code);
    size_t length = strlen(call.op->name);
    if (failure.code)
        assert_true(!strncmp(failure.message, call.op->name, length) && failure.message[length] == ':');
    assert_true(call.in_count >= 0 && call.in_count <= TD_INPUTS_MAX);
}

/* What stands in place of a parameter, by number. Returns the end. */
static uint8_t *oddity(uint8_t *at, int which)
{
    switch (which) {
    case 0:
        return td_write_text(at, "seven", 5);
    case 1:
        return td_write_nil(at);
    case 2:
        return td_write_uint(at, UINT64_MAX);
    case 3:
        return td_write_int(at, INT64_MIN);
    case 4:
        return td_write_uint(td_write_uint(td_write_array(at, 2), 1), 2);
    case 5:
        return td_write_text(td_write_array(td_write_array(at, 1), 1), "x", 1);
    case 6:
        return td_write_bool(at, true);
    case 7:
        return td_write_real(at, NAN);
    case 8:
        *at = 0x81; /* a map */
        return td_write_nil(td_write_nil(at + 1));
    case 9:
        at = td_write_array(at, 2000);
        memset(at, 0xc0, 2000);
        return at + 2000;
    case 10:
        return td_write_uint(td_write_array(at, 1), UINT64_MAX);
    case 11:
        return td_write_int(td_write_array(at, 1), -5);
    default:
        at = td_write_bin_header(at, 3);
        memset(at, 7, 3);
        return at + 3;
    }
}

static uint8_t *head(const struct td_op *op, uint32_t elements)
{
    return td_write_uint(td_write_array(td_write_uint(td_write_uint(room, 0), 0), elements), op->id);
}

/* Every parameter of every op in turn replaced by every oddity; the others are whatever passes. */
static void test_mistyped_parameters(void **state)
{
    (void)state;
    EACH_OP(op)
    {
        uint32_t due = 1 + (uint32_t)td_op_named_outputs(op), count = due;
        while (op->params[count - due].kind)
            count++;
        for (uint32_t odd = 1; odd < count; odd++) {
            for (int which = 0; which <= 12; which++) {
                uint8_t *at = head(op, count);
                for (uint32_t k = 1; k < count; k++)
                    at = k == odd ? oddity(at, which) : td_write_uint(at, 3);
                expect_refusal(room, (size_t)(at - room), TD_E_OK);
            }
        }
    }
}

static void test_refusals(void **state)
{
    (void)state;
    const struct td_op *add = td_op_named("add"), *sum = td_op_named("sum"), *step = td_op_named("sgd_step_");
    uint8_t *at = td_write_uint(td_write_uint(head(add, 3), 9), 1);
    expect_refusal(room, (size_t)(at - room), TD_E_ARGUMENT); /* an input is missing */
    at = head(add, 1);
    expect_refusal(room, (size_t)(at - room), TD_E_ARGUMENT);
    at = td_write_nil(td_write_uint(td_write_uint(td_write_uint(head(add, 5), 9), 1), 2));
    expect_refusal(room, (size_t)(at - room), TD_E_ARGUMENT); /* one too many */
    assert_int_equal(call.in_count, 2);
    at = td_write_nil(td_write_uint(td_write_uint(head(add, 4), 9), 1));
    expect_refusal(room, (size_t)(at - room), TD_E_ARGUMENT);
    assert_int_equal(call.in_count, 1);
    assert_int_equal(call.out[0], 9); /* so that the error has somewhere to go */
    at = td_write_uint(td_write_uint(head(td_op_named("to"), 4), 9), 1);
    at = td_write_uint(at, 200);
    expect_refusal(room, (size_t)(at - room), TD_E_DTYPE);
    at = td_write_uint(td_write_uint(head(sum, 4), 9), 1);
    at = td_write_array(at, 9);
    memset(at, 0, 9);
    expect_refusal(room, (size_t)(at + 9 - room), TD_E_LIMIT); /* dimensions */
    at = td_write_array(head(step, 4), TD_LIST_MAX + 1);
    memset(at, 1, TD_LIST_MAX + 1);
    at = td_write_uint(td_write_array(at + TD_LIST_MAX + 1, 0), 5);
    expect_refusal(room, (size_t)(at - room), TD_E_LIMIT);
    /* What cannot be a handle is left for the lookup to refuse. */
    const int64_t not_handles[] = {-1, INT64_MIN, TD_HANDLES_MAX, UINT32_MAX, INT64_MAX};
    for (size_t k = 0; k < sizeof not_handles / 8; k++) {
        at = td_write_int(td_write_int(td_write_uint(head(add, 4), 9), not_handles[k]), not_handles[k]);
        expect_refusal(room, (size_t)(at - room), TD_E_OK);
        assert_int_equal(call.in_count, 2);
        assert_true(call.in[0].handle == UINT32_MAX && call.in[1].handle == UINT32_MAX);
        at = td_write_uint(td_write_uint(td_write_int(head(add, 4), not_handles[k]), 1), 1);
        expect_refusal(room, (size_t)(at - room), TD_E_OK);
        assert_int_equal(call.out[0], UINT32_MAX);
    }
    /* Keywords may be left out from the end: a request of before a row grew. */
    struct td_failure failure;
    at = td_write_uint(td_write_uint(head(sum, 3), 9), 1);
    struct td_reader r = at_edge(room, (size_t)(at - room));
    assert_true(decode(&r, &failure) && failure.code == TD_E_OK);
    assert_int_equal(((struct td_sum_attrs *)call.attrs)->dims.count, -1);
}

/* Valid calls with random bytes changed: refused or taken, never past the end, never without end. */
static void test_mutated_calls(void **state)
{
    (void)state;
    struct td_failure failure;
    int passed = 0;
    for (int round = 0; round < 100000; round++) {
        const struct td_op *op = NULL;
        while (!op)
            op = td_op_of(TD_OP_FIRST + below(TD_OP_LIMIT - TD_OP_FIRST));
        struct sample s = random_call(op);
        for (uint64_t n = 1 + below(3); n > 0; n--)
            random_bytes(room + below(s.bytes), 1);
        struct td_reader r = at_edge(room, s.bytes);
        passed += decode(&r, &failure) && !r.failed && !failure.code;
        assert_true(r.at <= r.end);
    }
    print_message("%d of 100000 passed\n", passed);
}

/* ---- HELLO ---- */

static int hello_decode(size_t bytes, struct td_hello *hello)
{
    struct td_failure failure = {0};
    struct td_reader r = at_edge(room, bytes);
    int code = td_hello_decode(r.at, bytes, hello, &failure);
    assert_int_equal(code, failure.code);
    assert_int_equal(code != 0, failure.message[0] != 0);
    return code;
}

static void test_hello(void **state)
{
    (void)state;
    struct td_hello hello = {1, 1, UINT64_C(0x123456789abcdef0), 7, "a.out", TD_PURPOSE_SESSION, ""}, got;
    size_t bytes = td_hello_encode(&hello, room);
    assert_true(bytes <= TD_HELLO_MAX);
    assert_int_equal(hello_decode(bytes, &got), TD_E_OK);
    assert_true(got.ops_hash == hello.ops_hash && got.life == 7 && got.version_max == 1);
    assert_string_equal(got.program, "a.out");
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_equal(hello_decode(cut, &got), TD_E_PROTOCOL);
    memset(hello.program, 'p', sizeof hello.program); /* not ended */
    hello.program[3] = '\n';
    bytes = td_hello_encode(&hello, room);
    assert_true(bytes <= TD_HELLO_MAX);
    assert_int_equal(hello_decode(bytes, &got), TD_E_OK);
    assert_int_equal(strlen(got.program), TD_NAME_BYTES - 1);
    assert_int_equal(got.program[3], '?');
    for (hello.purpose = 0; hello.purpose < 5; hello.purpose++) {
        bytes = td_hello_encode(&hello, room);
        assert_int_equal(hello_decode(bytes, &got), hello.purpose < TD_PURPOSES ? TD_E_OK : TD_E_VERSION);
        assert_int_equal(got.purpose, hello.purpose);
    }
    hello.purpose = TD_PURPOSE_OBSERVE; /* one byte, the last */
    bytes = td_hello_encode(&hello, room);
    static const uint8_t no_purposes[] = {0xc0, 0xc3, 0xa0, 0x90, 0x80, 0xff, 0xc1};
    for (size_t k = 0; k < sizeof no_purposes; k++) {
        room[bytes - 1] = no_purposes[k];
        assert_int_equal(hello_decode(bytes, &got), TD_E_PROTOCOL);
    }
    assert_int_equal(hello_decode(bytes - 1, &got), TD_E_PROTOCOL);
    hello.purpose = TD_PURPOSE_SESSION;
    static const struct {
        uint32_t min, max;
        int code;
    } ranges[] = {{0, 9, TD_E_OK},      {1, UINT32_MAX, TD_E_OK}, {2, 3, TD_E_VERSION},
                  {0, 0, TD_E_VERSION}, {3, 2, TD_E_VERSION},     {UINT32_MAX, UINT32_MAX, TD_E_VERSION}};
    for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++) {
        hello.version_min = ranges[k].min;
        hello.version_max = ranges[k].max;
        bytes = td_hello_encode(&hello, room);
        assert_int_equal(hello_decode(bytes, &got), ranges[k].code);
    }
    for (int round = 0; round < 100000; round++) {
        hello.version_min = hello.version_max = 1;
        snprintf(hello.device, sizeof hello.device, "%s", round % 4 < 2 ? "" : "cuda:1");
        bytes = td_hello_encode(&hello, room);
        if (round % 2)
            random_bytes(room, bytes = 1 + below(80));
        else
            random_bytes(room + below(bytes), 1);
        hello_decode(bytes, &got);
    }
}

/* A wish for a device is the last element; one that is no text, or not whole, is no HELLO. */
static void test_hello_wishes(void **state)
{
    (void)state;
    struct td_hello hello = {1, 1, 0, 0, "a.out", TD_PURPOSE_SESSION, ""}, got;
    size_t without = td_hello_encode(&hello, room), bytes;
    assert_int_equal(hello_decode(without, &got), TD_E_OK);
    assert_string_equal(got.device, "");
    strcpy(hello.device, "cuda:1");
    bytes = td_hello_encode(&hello, room);
    assert_int_equal(bytes, without + 1 + 7);
    assert_int_equal(hello_decode(bytes, &got), TD_E_OK);
    assert_string_equal(got.device, "cuda:1");
    assert_int_equal(got.purpose, TD_PURPOSE_SESSION);
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_equal(hello_decode(cut, &got), TD_E_PROTOCOL);
    static const uint8_t no_texts[] = {0xc0, 0x01, 0xc3, 0x90, 0x80, 0xc4, 0xff, 0xc1};
    for (size_t k = 0; k < sizeof no_texts; k++) {
        room[bytes - 7] = no_texts[k]; /* the text's head */
        assert_int_equal(hello_decode(bytes, &got), TD_E_PROTOCOL);
    }
    memset(hello.device, 'd', sizeof hello.device); /* not ended */
    hello.device[1] = 0x1b;
    bytes = td_hello_encode(&hello, room);
    assert_int_equal(bytes, without + 1 + TD_DEVICE_BYTES);
    hello.device[1] = 'd';
    assert_int_equal(hello_decode(bytes, &got), TD_E_OK);
    assert_int_equal(strlen(got.device), TD_DEVICE_BYTES - 1);
    assert_int_equal(got.device[1], '?');
    uint8_t *end = td_write_text(room + without + 1, "a longer name than any device's, with a device's behind", 55);
    assert_int_equal(hello_decode((size_t)(end - room), &got), TD_E_OK); /* cut */
    assert_string_equal(got.device, "a longer name than any device's");
}

/* ---- golden frames ---- */

/* Hex digits of the line of golden/frames.txt that begins with name, as bytes; the length. */
static size_t golden(const char *name, uint8_t *bytes)
{
    const char *folder = getenv("TENSORD_GOLDEN");
    char path[512], line[2048];
    snprintf(path, sizeof path, "%s/frames.txt", folder ? folder : "tests/golden");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = strlen(name), count = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, file))
        found = !strncmp(line, name, length) && line[length] == ' ';
    fclose(file);
    if (!found)
        fail_msg("golden/frames.txt has no line %s", name);
    for (const char *at = line + length; *at && *at != '\n'; at += *at == ' ' ? 1 : 2)
        if (*at != ' ')
            bytes[count++] = (uint8_t)strtoul((char[]){at[0], at[1], 0}, NULL, 16);
    return count;
}

static void expect_golden(const char *name, const uint8_t *bytes, size_t count)
{
    uint8_t due[1024];
    size_t due_count = golden(name, due);
    bool right = due_count == count && !memcmp(due, bytes, count);
    if (!right) {
        print_error("%s is written as", name);
        for (size_t i = 0; i < count; i++)
            print_error(" %02x", bytes[i]);
        print_error("\n");
    }
    assert_true(right);
}

#define H(n)                                 \
    {                                        \
        .kind = TD_INPUT_HANDLE, .handle = n \
    }
#define N(c, f_, v)                                                  \
    {                                                                \
        .kind = TD_INPUT_NUMBER, .number = {.category = c, .f_ = v } \
    }

/* Encodes the call, compares it with the golden bytes, decodes those and encodes again. */
static void golden_call(const char *name, const char *op_name, uint32_t flags, uint32_t site, uint32_t out,
                        const struct td_input *in, const uint16_t *counts, const void *attrs)
{
    uint8_t bytes[1024];
    struct td_failure failure;
    const struct td_op *op = td_op_named(op_name);
    uint8_t *end = td_call_encode(room, op, flags, site, &out, in, counts, attrs);
    expect_golden(name, room, (size_t)(end - room));
    size_t count = golden(name, bytes);
    struct td_reader r = at_edge(bytes, count);
    assert_true(decode(&r, &failure) && failure.code == TD_E_OK);
    ENDED(r);
    end = td_call_encode(room, call.op, call.flags, call.site, call.out, call.in, call.list_counts, call.attrs);
    expect_golden(name, room, (size_t)(end - room));
}

static void test_golden_calls(void **state)
{
    (void)state;
    struct td_input ab[] = {H(1), H(2)}, add[] = {H(300), N(TD_FLOATING, f, 0.5)}, one[] = {H(70000)};
    golden_call("matmul", "matmul", TD_FLAG_GRAD | TD_FLAG_CONSUME(0), 5, 3, ab, NULL, NULL);
    golden_call("add", "add", 0, 0, 4, add, NULL, NULL);
    struct td_sum_attrs sum = {.dims = {2, {0, -1}}, .keepdim = 1};
    golden_call("sum", "sum", TD_FLAG_GRAD, 200, 4, one, NULL, &sum);
    sum = (struct td_sum_attrs){.dims = {.count = -1}};
    golden_call("sum_all", "sum", TD_FLAG_GRAD, 200, 4, one, NULL, &sum);
    struct td_full_attrs full = {{2, {2, 3}}, {.category = TD_FLOATING, .f = 1.0}, 0};
    golden_call("full", "full", TD_FLAG_REQUIRES_GRAD, 1, 0, NULL, NULL, &full);
    struct td_arange_attrs range = {{.category = TD_INTEGER, .i = 0},
                                    {.category = TD_INTEGER, .i = 1000},
                                    {.category = TD_INTEGER, .i = 1},
                                    TD_F64};
    golden_call("arange", "arange", 0, 0, 7, NULL, NULL, &range);
    struct td_slice_attrs slice = {-1, -200, INT64_MAX, 2};
    golden_call("slice", "slice", TD_FLAG_GRAD, 0, 8, ab, NULL, &slice);
    struct td_input fill[] = {H(8), N(TD_BOOLEAN, i, 1)};
    golden_call("fill_", "fill_", 0, 0, 0, fill, NULL, NULL);
    struct td_input lists[] = {H(1), H(2), H(3), H(4), H(5), H(6)};
    struct td_sgd_step__attrs sgd = {.momentum = 0.5};
    golden_call("sgd_step_", "sgd_step_", 0, 9, 0, lists, (const uint16_t[]){2, 2}, &sgd);
}

static void test_golden_frames(void **state)
{
    (void)state;
    struct td_hello hello = {1, 1, UINT64_C(0x0123456789abcdef), 0, "train", TD_PURPOSE_SESSION, ""}, got = {0};
    expect_golden("hello", room, td_hello_encode(&hello, room));
    size_t bytes = golden("hello", room);
    assert_int_equal(hello_decode(bytes, &got), TD_E_OK);
    expect_golden("hello", room, td_hello_encode(&got, room));
    hello.purpose = TD_PURPOSE_OBSERVE;
    expect_golden("hello_observe", room, td_hello_encode(&hello, room));
    hello.purpose = TD_PURPOSE_SESSION;
    strcpy(hello.device, "cuda:1");
    expect_golden("hello_device", room, td_hello_encode(&hello, room));
    uint8_t *at = td_write_be64(room, td_ops_hash());
    expect_golden("ops_hash", room, (size_t)(at - room));
#define REQUEST(flags, site, count, id) \
    td_write_uint(td_write_array(td_write_uint(td_write_uint(room, flags), site), count), id)
    at = td_write_text(td_write_uint(REQUEST(0, 0, 3, TD_R_SITE), 5), "train.c:12", 10);
    expect_golden("site", room, (size_t)(at - room));
    at = td_write_uint(td_write_uint(REQUEST(0, 0, 3, TD_R_RELEASE), 3), 70000);
    expect_golden("release", room, (size_t)(at - room));
    at = td_write_uint(td_write_uint(REQUEST(0, 5, 3, TD_R_READ), 4), TD_F32);
    expect_golden("read", room, (size_t)(at - room));
    at = REQUEST(0, 0, 1, TD_R_BARRIER);
    expect_golden("barrier", room, (size_t)(at - room));
    at = td_write_bin_header(td_write_uint(td_write_uint(REQUEST(0, 0, 4, TD_R_UPLOAD), 0), 16), 4);
    memcpy(at, "\0\0\x80\x3f", 4);
    expect_golden("upload", room, (size_t)(at + 4 - room));
    at = td_write_bool(td_write_bool(td_write_nil(td_write_uint(REQUEST(0, 6, 5, TD_R_BACKWARD), 4)), false), false);
    expect_golden("backward", room, (size_t)(at - room));
    at = td_write_uint(td_write_uint(REQUEST(0, 0, 3, TD_R_GRAD), 10), 1);
    expect_golden("grad", room, (size_t)(at - room));
    at = td_write_bool(td_write_uint(REQUEST(0, 0, 3, TD_R_REQUIRES_GRAD), 1), true);
    expect_golden("requires_grad", room, (size_t)(at - room));
    at = td_write_uint(td_write_uint(td_write_nil(room), TD_URGENT_PING), 77);
    expect_golden("urgent_ping", room, (size_t)(at - room));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer_is_read_by_msgpack),
        cmocka_unit_test(test_reader_reads_msgpack_integers),
        cmocka_unit_test(test_reader_reads_msgpack_reals_and_bytes),
        cmocka_unit_test(test_every_type_against_every_reader),
        cmocka_unit_test(test_every_cut_fails),
        cmocka_unit_test(test_counts_and_nesting_are_bounded),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_calls_round_trip),
        cmocka_unit_test(test_calls_cut_short),
        cmocka_unit_test(test_mistyped_parameters),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_mutated_calls),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_wishes),
        cmocka_unit_test(test_golden_calls),
        cmocka_unit_test(test_golden_frames),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
