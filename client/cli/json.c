/* msgpack to JSON. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Deeper than any status; it bounds the recursion. */
#define DEPTH_MAX 16

uint32_t map_begin(struct td_reader *r)
{
    uint32_t count = 0;
    if (td_read_type(r) != TD_WIRE_MAP) {
        r->failed = true;
        return 0;
    }
    unsigned width = *r->at == 0xde ? 2 : *r->at == 0xdf ? 4 : 0;
    if (td_reader_left(r) < 1 + width) {
        r->failed = true;
        return 0;
    }
    for (unsigned k = 1; k <= width; k++)
        count = count << 8 | r->at[k];
    if (!width)
        count = *r->at & 0x0f;
    r->at += 1 + width;
    return count;
}

struct td_reader map_find(struct td_reader r, const char *key)
{
    for (uint32_t left = map_begin(&r); left > 0 && !r.failed; left--) {
        uint32_t bytes;
        const char *text = td_read_text(&r, &bytes);
        if (text && bytes == strlen(key) && !memcmp(text, key, bytes))
            return r;
        td_read_skip(&r);
    }
    r.failed = true;
    return r;
}

uint64_t map_number(struct td_reader map, const char *key)
{
    struct td_reader r = map_find(map, key);
    return td_read_uint(&r);
}

const char *map_text(struct td_reader map, const char *key, char *to, size_t size)
{
    struct td_reader r = map_find(map, key);
    uint32_t bytes;
    const char *text = td_read_text(&r, &bytes);
    snprintf(to, size, "%.*s", text ? (int)bytes : 0, text ? text : "");
    for (char *c = to; *c; c++) /* it goes to a terminal */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return to;
}

/* Bytes of the UTF-8 sequence at text, 0 if it is none. */
static uint32_t utf8_length(const unsigned char *text, uint32_t left)
{
    uint32_t length = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (length > left || (text[0] >= 0x80 && text[0] < 0xc2) || text[0] > 0xf4)
        return 0;
    for (uint32_t k = 1; k < length; k++)
        if ((text[k] & 0xc0) != 0x80)
            return 0;
    bool long_form = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool no_character = (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf4 && text[1] > 0x8f);
    return long_form || no_character ? 0 : length;
}

static void write_text(FILE *out, const char *given, uint32_t bytes)
{
    const unsigned char *text = (const unsigned char *)given;
    putc('"', out);
    for (uint32_t k = 0; k < bytes;) {
        uint32_t length = utf8_length(text + k, bytes - k);
        if (length == 0) {
            fputs("\\ufffd", out);
            k++;
            continue;
        }
        if (text[k] == '"' || text[k] == '\\')
            fprintf(out, "\\%c", text[k]);
        else if (text[k] < ' ' || text[k] == 0x7f)
            fprintf(out, "\\u%04x", text[k]);
        else
            fwrite(text + k, 1, length, out);
        k += length;
    }
    putc('"', out);
}

static void write_number(FILE *out, struct td_reader *r)
{
    if (td_read_type(r) == TD_WIRE_REAL) {
        double value = td_read_real(r);
        if (isfinite(value))
            fprintf(out, "%.17g", value);
        else
            fputs("null", out);
        return;
    }
    struct td_reader negative = *r;
    uint64_t value = td_read_uint(r);
    if (!r->failed) {
        fprintf(out, "%" PRIu64, value);
        return;
    }
    *r = negative;
    fprintf(out, "%" PRId64, td_read_int(r));
}

static void new_line(FILE *out, int depth)
{
    fprintf(out, "\n%*s", 2 * depth, "");
}

static void write_entries(FILE *out, struct td_reader *r, int depth, bool map)
{
    uint32_t count = map ? map_begin(r) : td_read_array(r);
    putc(map ? '{' : '[', out);
    for (uint32_t k = 0; k < count && !r->failed; k++) {
        fputs(k ? "," : "", out);
        new_line(out, depth + 1);
        if (map) {
            uint32_t bytes;
            const char *key = td_read_text(r, &bytes);
            write_text(out, key ? key : "", bytes);
            fputs(": ", out);
        }
        if (depth < DEPTH_MAX)
            json_write(out, r, depth + 1);
        else
            r->failed = true;
    }
    if (count)
        new_line(out, depth);
    putc(map ? '}' : ']', out);
}

bool json_write(FILE *out, struct td_reader *r, int depth)
{
    uint32_t bytes;
    const char *text;
    switch (td_read_type(r)) {
    case TD_WIRE_NIL:
    case TD_WIRE_BOOL:
        fputs(td_read_nil(r) ? "null" : td_read_bool(r) ? "true" : "false", out);
        break;
    case TD_WIRE_INT:
    case TD_WIRE_REAL:
        write_number(out, r);
        break;
    case TD_WIRE_TEXT:
    case TD_WIRE_BIN:
        text = td_read_type(r) == TD_WIRE_TEXT ? td_read_text(r, &bytes) : td_read_bin(r, &bytes);
        write_text(out, text ? text : "", bytes);
        break;
    case TD_WIRE_ARRAY:
        write_entries(out, r, depth, false);
        break;
    case TD_WIRE_MAP:
        write_entries(out, r, depth, true);
        break;
    case TD_WIRE_NONE:
        r->failed = true;
    }
    return !r->failed;
}
