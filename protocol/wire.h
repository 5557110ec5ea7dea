/* msgpack in place: a reader that never passes its end, allocates nothing and recurses nowhere, for every byte that
 * comes from a socket, and a writer for the request stream. By hand because both are on the path of each op:
 * msgpack-c's unpacker costs 120 ns a request and its packer 56, these 30 and 10; and its unpacker reserves memory
 * for whatever count an array claims. Everything cold is packed by msgpack-c, and the tests hold both against it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_WIRE_H
#define TD_PROTOCOL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "protocol/dtype.h"

/* ---- reading: each function takes one object; the first that does not fit sets failed, and all later ones give 0 ----
 */

struct td_reader {
    const uint8_t *at, *end;
    bool failed; /* truncated, of another type, or out of range */
};

enum td_wire_type {
    TD_WIRE_NIL,
    TD_WIRE_BOOL,
    TD_WIRE_INT,
    TD_WIRE_REAL,
    TD_WIRE_TEXT,
    TD_WIRE_BIN,
    TD_WIRE_ARRAY,
    TD_WIRE_MAP,
    TD_WIRE_NONE
};

/* data may be NULL where there are no bytes: to that nothing may be added. */
static inline struct td_reader td_reader_of(const void *data, size_t bytes)
{
    return (struct td_reader){.at = data, .end = bytes ? (const uint8_t *)data + bytes : data};
}
/* A failed reader stands at its end, so that the short ways below need no second test. Returns 0. */
static inline uint32_t td_reader_fail(struct td_reader *r)
{
    r->failed = true;
    r->at = r->end;
    return 0;
}
static inline size_t td_reader_left(const struct td_reader *r)
{
    return (size_t)(r->end - r->at);
}
extern const uint8_t td_wire_types[256]; /* enum td_wire_type, by the object's first byte */
/* The type of the next object; TD_WIRE_NONE at the end, after a failure, or for a byte that the protocol does not use.
 */
static inline enum td_wire_type td_read_type(const struct td_reader *r)
{
    return r->failed || r->at >= r->end ? TD_WIRE_NONE : (enum td_wire_type)td_wire_types[*r->at];
}
uint64_t td_read_uint_slow(struct td_reader *r);
/* An unsigned integer of any width; a signed one that is not negative also counts. */
static inline uint64_t td_read_uint(struct td_reader *r)
{
    if (r->at < r->end && *r->at < 0x80)
        return *r->at++;
    return td_read_uint_slow(r);
}
/* An unsigned integer of at most 32 bits. */
static inline uint32_t td_read_u32(struct td_reader *r)
{
    uint64_t value = td_read_uint(r);
    return value <= UINT32_MAX ? (uint32_t)value : td_reader_fail(r);
}
int64_t td_read_int(struct td_reader *r);
/* True if the next object is an integer that int64_t holds, which is then taken; anything else stays where it is and
 * fails nothing. */
bool td_take_int_slow(struct td_reader *r, int64_t *value);
static inline bool td_take_int(struct td_reader *r, int64_t *value)
{
    if (r->at >= r->end || *r->at >= 0x80)
        return td_take_int_slow(r, value);
    *value = *r->at++;
    return true;
}
bool td_read_bool(struct td_reader *r);
/* True if the next object is nil, which is then taken. */
bool td_read_nil(struct td_reader *r);
/* A bool, an integer or a float, with its category. */
struct td_number td_read_number(struct td_reader *r);
/* A float or an integer. */
double td_read_real(struct td_reader *r);
uint32_t td_read_array_slow(struct td_reader *r);
/* Number of elements of an array; no more than there are bytes left, since each takes one. */
static inline uint32_t td_read_array(struct td_reader *r)
{
    if (r->at < r->end && (*r->at & 0xf0) == 0x90 && (size_t)(*r->at & 0x0f) < td_reader_left(r))
        return *r->at++ & 0x0f;
    return td_read_array_slow(r);
}
/* Bytes inside the buffer; NULL and 0 on failure. */
const char *td_read_text(struct td_reader *r, uint32_t *bytes);
const void *td_read_bin(struct td_reader *r, uint32_t *bytes);
/* Takes one object whatever it is, to at most TD_NESTING_MAX levels. */
void td_read_skip(struct td_reader *r);

/* ---- writing: the caller has made sure of room (TD_WIRE_MAX bytes for any object but text and bin) ---- */

#define TD_WIRE_MAX 9

static inline uint8_t *td_write_be32(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, 4);
    return at + 4;
}
static inline uint8_t *td_write_be64(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, 8);
    return at + 8;
}
static inline uint8_t *td_write_uint(uint8_t *at, uint64_t value)
{
    if (value < 0x80) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value <= 0xff) {
        at[0] = 0xcc;
        at[1] = (uint8_t)value;
        return at + 2;
    }
    if (value <= 0xffff) {
        at[0] = 0xcd;
        at[1] = (uint8_t)(value >> 8);
        at[2] = (uint8_t)value;
        return at + 3;
    }
    *at = value <= UINT32_MAX ? 0xce : 0xcf;
    return value <= UINT32_MAX ? td_write_be32(at + 1, (uint32_t)value) : td_write_be64(at + 1, value);
}
static inline uint8_t *td_write_int(uint8_t *at, int64_t value)
{
    if (value >= 0)
        return td_write_uint(at, (uint64_t)value);
    if (value >= -32) {
        *at = (uint8_t)value;
        return at + 1;
    }
    *at = 0xd3;
    return td_write_be64(at + 1, (uint64_t)value);
}
static inline uint8_t *td_write_real(uint8_t *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    *at = 0xcb;
    return td_write_be64(at + 1, bits);
}
static inline uint8_t *td_write_bool(uint8_t *at, bool value)
{
    *at = value ? 0xc3 : 0xc2;
    return at + 1;
}
static inline uint8_t *td_write_nil(uint8_t *at)
{
    *at = 0xc0;
    return at + 1;
}
static inline uint8_t *td_write_array(uint8_t *at, uint32_t count)
{
    if (count < 16) {
        *at = (uint8_t)(0x90 | count);
        return at + 1;
    }
    *at = 0xdd;
    return td_write_be32(at + 1, count);
}
uint8_t *td_write_number(uint8_t *at, struct td_number number);
uint8_t *td_write_text(uint8_t *at, const char *text, uint32_t bytes);
/* Only the header of a bin; its bytes follow as they lie. */
static inline uint8_t *td_write_bin_header(uint8_t *at, uint32_t bytes)
{
    *at = 0xc6;
    return td_write_be32(at + 1, bytes);
}

#endif
