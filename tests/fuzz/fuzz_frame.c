/* Bytes straight into what reads them: the bounded reader, HELLO, the decoding of calls of every op. Whatever comes, a
 * reader stays inside, a failed one stands at its end, and what was decoded says the same when it is written and read
 * again. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "protocol/message.h"
#include "tests/fuzz/choices.h"

static const struct td_op *ops[TD_OP_LIMIT];
static uint32_t op_count;
static struct td_call call, again; /* large */
static uint8_t written[1 << 18];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++)
        if (td_op_of((uint64_t)id))
            ops[op_count++] = td_op_of((uint64_t)id);
    return 0;
}

static void check(const struct td_reader *reader, const uint8_t *end)
{
    HOLDS(reader->end == end);
    HOLDS(reader->at <= end);
    HOLDS(!reader->failed || reader->at == end);
}

/* The first half of the input says which functions read the second. */
static void read_objects(struct choices *c, const uint8_t *data, size_t bytes)
{
    struct td_reader r = td_reader_of(data, bytes);
    while (c->at < c->end && !r.failed && r.at < r.end) {
        const uint8_t *before = r.at;
        uint32_t length = 0;
        int64_t integer = 0;
        const uint8_t *text = NULL;
        bool may_stay = false;
        enum td_wire_type type = td_read_type(&r);
        switch (choose_below(c, 12)) {
        case 0:
            td_read_uint(&r);
            break;
        case 1:
            td_read_u32(&r);
            break;
        case 2:
            td_read_int(&r);
            break;
        case 3:
            may_stay = !td_take_int(&r, &integer);
            break;
        case 4:
            td_read_bool(&r);
            break;
        case 5:
            may_stay = !td_read_nil(&r);
            break;
        case 6:
            td_read_number(&r);
            break;
        case 7:
            td_read_real(&r);
            break;
        case 8:
            length = td_read_array(&r);
            HOLDS(length <= bytes);
            length = 0;
            break;
        case 9:
            text = (const uint8_t *)td_read_text(&r, &length);
            break;
        case 10:
            text = td_read_bin(&r, &length);
            break;
        default:
            td_read_skip(&r);
            HOLDS(r.failed || type != TD_WIRE_NONE);
        }
        for (uint32_t k = 0; k < length; k++) /* what is handed out can be looked at */
            HOLDS(*(const volatile uint8_t *)(text + k) <= UINT8_MAX);
        check(&r, data + bytes);
        HOLDS(may_stay || r.failed || r.at > before);
    }
}

/* Written again, a call that was in order reads as the same. */
static void round_trip(const struct td_op *op)
{
    struct td_failure failure = {0};
    if (td_call_bound(call.in_count) > sizeof written)
        return;
    uint8_t *end = td_call_encode(written, op, call.flags, call.site, call.out, call.in, call.list_counts, call.attrs);
    HOLDS((size_t)(end - written) <= td_call_bound(call.in_count));
    struct td_reader r = td_reader_of(written, (size_t)(end - written));
    HOLDS(td_read_u32(&r) == call.flags);
    HOLDS(td_read_u32(&r) == call.site);
    uint32_t elements = td_read_array(&r);
    HOLDS(td_read_uint(&r) == op->id);
    HOLDS(td_call_decode(&r, op, elements, &again, &failure) == TD_E_OK);
    HOLDS(!r.failed);
    HOLDS(r.at == r.end);
    HOLDS(again.in_count == call.in_count);
    for (int k = 0; k < call.in_count; k++) {
        HOLDS(again.in[k].kind == call.in[k].kind);
        HOLDS(again.in[k].kind != TD_INPUT_HANDLE || again.in[k].handle == call.in[k].handle);
        HOLDS(again.in[k].kind != TD_INPUT_NUMBER || again.in[k].number.category == call.in[k].number.category);
    }
}

static void decode_call(struct choices *c, const struct td_op *op, const uint8_t *data, size_t bytes)
{
    struct td_reader r = td_reader_of(data, bytes);
    struct td_failure failure = {0};
    uint32_t elements = 1 + choose_below(c, 20);
    if (elements == 20)
        elements = UINT32_MAX;
    call.flags = choose(c);
    call.site = choose(c);
    int code = td_call_decode(&r, op, elements, &call, &failure);
    check(&r, data + bytes);
    HOLDS(call.in_count >= 0 && call.in_count <= TD_INPUTS_MAX);
    for (int k = 0; k < call.in_count; k++)
        HOLDS(call.in[k].kind <= TD_INPUT_NUMBER);
    for (int k = 0; k < td_op_named_outputs(op); k++)
        HOLDS(call.out[k] < TD_HANDLES_MAX || call.out[k] == UINT32_MAX);
    if (code == TD_E_OK && !r.failed)
        round_trip(op);
}

static void decode_hello(const uint8_t *data, size_t bytes)
{
    struct td_hello hello;
    struct td_failure failure = {0};
    if (bytes > TD_HELLO_MAX || td_hello_decode(data, bytes, &hello, &failure))
        return;
    uint8_t at[TD_HELLO_MAX];
    struct td_hello same;
    size_t length = td_hello_encode(&hello, at);
    HOLDS(length <= sizeof at);
    HOLDS(td_hello_decode(at, length, &same, &failure) == TD_E_OK);
    HOLDS(!strcmp(hello.program, same.program));
    HOLDS(hello.life == same.life && hello.purpose == same.purpose && !strcmp(hello.device, same.device));
}

/* As the decoder takes a frame apart: requests one after the other. */
static void decode_frame(const uint8_t *data, size_t bytes)
{
    struct td_reader r = td_reader_of(data, bytes);
    td_read_uint(&r);
    while (!r.failed && r.at < r.end) {
        struct td_failure failure = {0};
        call.flags = td_read_u32(&r);
        call.site = td_read_u32(&r);
        uint32_t elements = td_read_array(&r);
        const struct td_op *op = td_op_of(td_read_uint(&r));
        if (op && !r.failed && elements)
            td_call_decode(&r, op, elements, &call, &failure);
        else
            for (; elements > 1 && !r.failed; elements--)
                td_read_skip(&r);
        check(&r, data + bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct choices c = {data, data + bytes};
    uint32_t way = choose(&c);
    size_t left = (size_t)(c.end - c.at);
    if (way < op_count) {
        const uint8_t *head = c.at + (left < 3 ? left : 3);
        decode_call(&c, ops[way], head, (size_t)(c.end - head));
    } else if (way < 128) {
        struct choices first = {c.at, c.at + left / 2};
        read_objects(&first, c.at + left / 2, left - left / 2);
    } else if (way < 160) {
        decode_hello(c.at, left);
    } else {
        decode_frame(c.at, left);
    }
    return 0;
}
