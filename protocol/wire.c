/* msgpack in place. The format: https://github.com/msgpack/msgpack/blob/master/spec.md
 * SPDX-License-Identifier: Apache-2.0 */
#include "protocol/wire.h"

#include "protocol/limits.h"

/* Takes the tag and bytes after it as a big-endian number; 0 and failed if they are not there. */
static uint64_t take_be(struct td_reader *r, unsigned bytes)
{
    uint64_t value = 0;
    if (r->failed || td_reader_left(r) < 1 + (size_t)bytes)
        return td_reader_fail(r);
    for (unsigned i = 1; i <= bytes; i++)
        value = value << 8 | r->at[i];
    r->at += 1 + bytes;
    return value;
}

static uint8_t tag(const struct td_reader *r)
{
    return !r->failed && r->at < r->end ? *r->at : 0xc1; /* 0xc1 is the byte that msgpack never uses */
}

/* https://github.com/msgpack/msgpack/blob/master/spec.md#overview */
const uint8_t td_wire_types[256] = {
    [0x00 ... 0x7f] = TD_WIRE_INT,
    [0x80 ... 0x8f] = TD_WIRE_MAP,
    [0x90 ... 0x9f] = TD_WIRE_ARRAY,
    [0xa0 ... 0xbf] = TD_WIRE_TEXT,
    [0xc0] = TD_WIRE_NIL,
    [0xc1] = TD_WIRE_NONE,
    [0xc2 ... 0xc3] = TD_WIRE_BOOL,
    [0xc4 ... 0xc6] = TD_WIRE_BIN,
    [0xc7 ... 0xc9] = TD_WIRE_NONE,
    [0xca ... 0xcb] = TD_WIRE_REAL,
    [0xcc ... 0xd3] = TD_WIRE_INT,
    [0xd4 ... 0xd8] = TD_WIRE_NONE,
    [0xd9 ... 0xdb] = TD_WIRE_TEXT,
    [0xdc ... 0xdd] = TD_WIRE_ARRAY,
    [0xde ... 0xdf] = TD_WIRE_MAP,
    [0xe0 ... 0xff] = TD_WIRE_INT,
};

int64_t td_read_int(struct td_reader *r)
{
    uint8_t t = tag(r);
    if (t < 0x80 || t >= 0xe0)
        return (int8_t)(take_be(r, 0), t);
    switch (t) {
    case 0xd0:
        return (int8_t)take_be(r, 1);
    case 0xd1:
        return (int16_t)take_be(r, 2);
    case 0xd2:
        return (int32_t)take_be(r, 4);
    case 0xd3:
        return (int64_t)take_be(r, 8);
    case 0xcc:
        return (int64_t)take_be(r, 1);
    case 0xcd:
        return (int64_t)take_be(r, 2);
    case 0xce:
        return (int64_t)take_be(r, 4);
    case 0xcf: {
        uint64_t value = take_be(r, 8);
        return value <= INT64_MAX ? (int64_t)value : (int64_t)td_reader_fail(r);
    }
    default:
        return (int64_t)td_reader_fail(r);
    }
}

bool td_take_int_slow(struct td_reader *r, int64_t *value)
{
    struct td_reader trial = *r;
    int64_t taken = td_read_int(&trial);
    if (trial.failed)
        return false;
    *r = trial;
    *value = taken;
    return true;
}

uint64_t td_read_uint_slow(struct td_reader *r)
{
    if (tag(r) == 0xcf)
        return take_be(r, 8);
    int64_t value = td_read_int(r);
    return value >= 0 ? (uint64_t)value : td_reader_fail(r);
}

bool td_read_bool(struct td_reader *r)
{
    uint8_t t = tag(r);
    if (t != 0xc2 && t != 0xc3)
        return td_reader_fail(r);
    r->at++;
    return t == 0xc3;
}

bool td_read_nil(struct td_reader *r)
{
    if (tag(r) != 0xc0)
        return false;
    r->at++;
    return true;
}

struct td_number td_read_number(struct td_reader *r)
{
    struct td_number number = {.category = TD_FLOATING};
    uint64_t bits;
    uint32_t bits32;
    float f32;
    switch (tag(r)) {
    case 0xc2:
    case 0xc3:
        number.category = TD_BOOLEAN;
        number.i = td_read_bool(r);
        break;
    case 0xca:
        bits32 = (uint32_t)take_be(r, 4);
        memcpy(&f32, &bits32, 4);
        number.f = f32;
        break;
    case 0xcb:
        bits = take_be(r, 8);
        memcpy(&number.f, &bits, 8);
        break;
    default:
        number.category = TD_INTEGER;
        number.i = td_read_int(r);
    }
    return number;
}

double td_read_real(struct td_reader *r)
{
    struct td_number number = td_read_number(r);
    if (number.category == TD_BOOLEAN)
        return (double)td_reader_fail(r);
    return td_number_real(number);
}

/* The bytes of a text or bin whose header has been taken. */
static const void *take_bytes(struct td_reader *r, uint64_t count, uint32_t *bytes)
{
    *bytes = 0;
    if (r->failed || count > td_reader_left(r)) {
        td_reader_fail(r);
        return NULL;
    }
    const void *data = r->at;
    r->at += count;
    *bytes = (uint32_t)count;
    return data;
}

uint32_t td_read_array_slow(struct td_reader *r)
{
    uint8_t t = tag(r);
    uint64_t count;
    if ((t & 0xf0) == 0x90)
        count = (take_be(r, 0), t & 0x0fu);
    else if (t == 0xdc)
        count = take_be(r, 2);
    else if (t == 0xdd)
        count = take_be(r, 4);
    else
        return (uint32_t)td_reader_fail(r);
    return count <= td_reader_left(r) ? (uint32_t)count : (uint32_t)td_reader_fail(r);
}

const char *td_read_text(struct td_reader *r, uint32_t *bytes)
{
    uint8_t t = tag(r);
    uint64_t count = 0;
    if ((t & 0xe0) == 0xa0)
        count = (take_be(r, 0), t & 0x1fu);
    else if (t >= 0xd9 && t <= 0xdb)
        count = take_be(r, 1u << (t - 0xd9));
    else
        td_reader_fail(r);
    return take_bytes(r, count, bytes);
}

const void *td_read_bin(struct td_reader *r, uint32_t *bytes)
{
    uint8_t t = tag(r);
    uint64_t count = t >= 0xc4 && t <= 0xc6 ? take_be(r, 1u << (t - 0xc4)) : td_reader_fail(r);
    return take_bytes(r, count, bytes);
}

void td_read_skip(struct td_reader *r)
{
    uint64_t left[TD_NESTING_MAX + 1] = {1}; /* objects still due at each level */
    uint32_t bytes;
    for (int level = 0; level >= 0 && !r->failed;) {
        if (left[level] == 0) {
            level--;
            continue;
        }
        left[level]--;
        switch (td_read_type(r)) {
        case TD_WIRE_NIL:
        case TD_WIRE_BOOL:
            r->at++;
            break;
        case TD_WIRE_INT:
            if (tag(r) == 0xcf)
                take_be(r, 8);
            else
                td_read_int(r);
            break;
        case TD_WIRE_REAL:
            td_read_number(r);
            break;
        case TD_WIRE_TEXT:
            td_read_text(r, &bytes);
            break;
        case TD_WIRE_BIN:
            td_read_bin(r, &bytes);
            break;
        case TD_WIRE_MAP:
        case TD_WIRE_ARRAY: {
            uint8_t t = tag(r);
            bool map = td_read_type(r) == TD_WIRE_MAP;
            uint64_t count = t < 0xa0 ? (take_be(r, 0), t & 0x0fu) : take_be(r, t & 1 ? 4 : 2);
            if (level == TD_NESTING_MAX || count > td_reader_left(r))
                td_reader_fail(r);
            else
                left[++level] = map ? 2 * count : count;
            break;
        }
        case TD_WIRE_NONE:
            td_reader_fail(r);
        }
    }
}

uint8_t *td_write_number(uint8_t *at, struct td_number number)
{
    if (number.category == TD_FLOATING)
        return td_write_real(at, number.f);
    return number.category == TD_BOOLEAN ? td_write_bool(at, number.i != 0) : td_write_int(at, number.i);
}

uint8_t *td_write_text(uint8_t *at, const char *text, uint32_t bytes)
{
    if (bytes < 32) {
        *at++ = (uint8_t)(0xa0 | bytes);
    } else {
        *at = 0xdb;
        at = td_write_be32(at + 1, bytes);
    }
    memcpy(at, text, bytes);
    return at + bytes;
}
