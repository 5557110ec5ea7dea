/* The header of an npy file, a Python dict as text, in format versions 1.0 to 3.0.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Element types of ours take 128 bytes; those of structures, which we have not, seldom more. */
#define HEADER_BYTES 65536
#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
/* NumPy pads a header to this, and leaves room for the first size to grow to so many digits. */
#define ALIGNMENT 64
#define GROWTH_DIGITS 21

bool stored_add(struct stored *stored, uint64_t size)
{
    if (size > INT64_MAX)
        return false;
    if (stored->rank < TD_RANK_MAX)
        stored->shape[stored->rank] = (int64_t)size;
    if (stored->rank++ == 0)
        stored->elements = 1;
    if (size && stored->elements > (uint64_t)TD_ELEMENTS_MAX / size)
        return false;
    stored->elements *= size;
    return true;
}

/* ---- element types: NumPy's letter and size follow from the table ---- */

/* 'f' of "float32", 'u' of "uint8", 0 of what NumPy has not. */
static char letter_of(const char *name)
{
    static const char *const kinds[] = {"bool", "uint", "int", "float"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (!strncmp(name, kinds[k], strlen(kinds[k])))
            return *kinds[k];
    return 0;
}

static void find_dtype(struct stored *stored)
{
    const char *type = stored->type;
    char order = *type && strchr("<>=|", *type) ? *type++ : '=', code[24];
    for (uint8_t dtype = 1; dtype < TD_DTYPE_LIMIT; dtype++) {
        char letter = letter_of(td_dtype_torch_name(dtype));
        snprintf(code, sizeof code, "%c%zu", letter, td_dtype_size(dtype));
        if (letter && !strcmp(type, code))
            stored->dtype = dtype;
    }
    stored->swapped = order == '>' && td_dtype_size(stored->dtype) > 1;
}

/* ---- reading ---- */

struct cursor {
    const struct stream *stream;
    uint64_t byte; /* of start in the stream */
    const char *start, *at, *end;
};

static bool refuse(const struct cursor *c, const char *what)
{
    return stream_fail(c->stream, c->byte + (uint64_t)(c->at - c->start), TD_E_FILE,
                       c->at < c->end ? "%s is due in the header, and %.12s stands there" : "%s is due in the header",
                       what, c->at);
}

static bool next_is(struct cursor *c, char due)
{
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at)
        c->at++;
    return c->at < c->end && *c->at == due;
}

static bool take(struct cursor *c, char due)
{
    if (!next_is(c, due))
        return false;
    c->at++;
    return true;
}

/* A string without escapes; what is longer than to is cut. */
static bool take_string(struct cursor *c, char *to, size_t size)
{
    char quote = next_is(c, '"') ? '"' : '\'';
    if (!next_is(c, quote))
        return refuse(c, "a string");
    const char *from = c->at + 1, *close = memchr(from, quote, (size_t)(c->end - from));
    if (!close || memchr(from, '\\', (size_t)(close - from)))
        return refuse(c, "a plain string");
    snprintf(to, size, "%.*s", (int)(close - from), from);
    c->at = close + 1;
    return true;
}

/* "<f4"; what is no string is a structure: its text stands for its name. */
static bool take_type(struct cursor *c, struct stored *stored)
{
    int depth = 0;
    if (!next_is(c, '[') && !next_is(c, '('))
        return take_string(c, stored->type, sizeof stored->type);
    snprintf(stored->type, sizeof stored->type, "%.*s", (int)(c->end - c->at), c->at);
    do {
        depth += (*c->at == '[' || *c->at == '(') - (*c->at == ']' || *c->at == ')');
        c->at++;
    } while (depth && c->at < c->end);
    return depth == 0 || refuse(c, "the end of the element type");
}

static bool take_flag(struct cursor *c, bool *flag)
{
    static const char *const words[] = {"False", "True"};
    next_is(c, 0);
    for (int k = 0; k < 2; k++) {
        size_t length = strlen(words[k]);
        if ((size_t)(c->end - c->at) < length || memcmp(c->at, words[k], length))
            continue;
        *flag = k;
        c->at += length;
        return true;
    }
    return refuse(c, "True or False");
}

static bool take_size(struct cursor *c, uint64_t *size)
{
    next_is(c, 0);
    const char *start = c->at;
    for (*size = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(*size, 10, size) || __builtin_add_overflow(*size, *c->at - '0', size))
            return refuse(c, "a size of less than 20 digits");
    if (c->at == start)
        return refuse(c, "a size");
    if (c->at < c->end && *c->at == 'L') /* Python 2 wrote it */
        c->at++;
    return true;
}

/* "(2, 3)", "(2,)", "()" */
static bool take_shape(struct cursor *c, struct stored *stored)
{
    uint64_t size;
    bool comma = true;
    if (!take(c, '('))
        return refuse(c, "a shape, (2, 3),");
    while (!next_is(c, ')')) {
        if (!comma)
            return refuse(c, "a comma");
        if (!take_size(c, &size))
            return false;
        if (!stored_add(stored, size))
            return refuse(c, "a shape of fewer elements");
        comma = take(c, ',');
    }
    if (stored->rank == 1 && !comma)
        return refuse(c, "a comma");
    c->at++;
    return true;
}

static bool parse(struct cursor *c, struct stored *stored)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned seen = 0;
    bool comma = true;
    if (!take(c, '{'))
        return refuse(c, "a dict, {'descr': ...},");
    while (!next_is(c, '}')) {
        char key[16];
        unsigned k = 0;
        const char *at = c->at;
        if (!comma)
            return refuse(c, "a comma");
        if (!take_string(c, key, sizeof key))
            return false;
        while (k < 3 && strcmp(key, keys[k]))
            k++;
        if (k == 3 || seen >> k & 1) {
            c->at = at;
            return refuse(c, k == 3 ? "one of descr, fortran_order, shape" : "each key once");
        }
        seen |= 1u << k;
        if (!take(c, ':'))
            return refuse(c, "a colon");
        if (k == 0 ? !take_type(c, stored) : k == 1 ? !take_flag(c, &stored->fortran) : !take_shape(c, stored))
            return false;
        comma = take(c, ',');
    }
    if (seen != 7)
        return refuse(c, seen & 1 ? seen & 2 ? "a shape" : "fortran_order" : "descr");
    c->at++;
    next_is(c, 0);
    return c->at == c->end || refuse(c, "nothing more");
}

bool npy_header(struct stream *stream, struct stored *stored)
{
    uint8_t head[12];
    stored->elements = 1;
    if (!stream_read(stream, head, 10))
        return false;
    if (memcmp(head, MAGIC, MAGIC_BYTES))
        return stream_fail(stream, 0, TD_E_FILE, "is no npy file: it does not begin with \\x93NUMPY");
    uint8_t major = head[6], minor = head[7];
    if (major < 1 || major > 3 || minor != 0)
        return stream_fail(stream, 6, TD_E_FILE, "is of npy version %d.%d, and 1.0, 2.0 and 3.0 are known", major,
                           minor);
    uint32_t length = head[8] | (uint32_t)head[9] << 8;
    if (major > 1) {
        if (!stream_read(stream, head + 10, 2))
            return false;
        length |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
    }
    if (length > HEADER_BYTES)
        return stream_fail(stream, 8, TD_E_FILE, "has a header of %u bytes, more than %d", length, HEADER_BYTES);
    uint64_t byte = stream->taken;
    char *text = malloc(length + 1);
    if (!text)
        return file_fail_memory(stream->file);
    text[length] = 0;
    struct cursor c = {stream, byte, text, text, text + length};
    bool fine = stream_read(stream, text, length) && parse(&c, stored);
    free(text);
    if (!fine)
        return false;
    find_dtype(stored);
    uint64_t due = stored_bytes(stored), there = stream->bytes - stream->taken;
    if (due > there)
        return stream_fail(stream, stream->bytes, TD_E_FILE, "its array takes %llu bytes, and %llu are there",
                           (unsigned long long)due, (unsigned long long)there);
    return true;
}

/* ---- writing ---- */

size_t npy_print(char header[NPY_HEADER_BYTES], uint8_t dtype, int rank, const int64_t *shape)
{
    char letter = letter_of(td_dtype_torch_name(dtype));
    size_t size = td_dtype_size(dtype), used = 10;
    if (!letter)
        return 0;
#define PRINT(...) (used += (size_t)snprintf(header + used, NPY_HEADER_BYTES - used, __VA_ARGS__))
    PRINT("{'descr': '%c%c%zu', 'fortran_order': False, 'shape': (", size > 1 ? '<' : '|', letter, size);
    int growth = 0;
    for (int d = 0; d < rank; d++) {
        size_t before = used;
        PRINT("%lld", (long long)shape[d]);
        if (d == 0)
            growth = GROWTH_DIGITS - (int)(used - before);
        PRINT("%s", d + 1 < rank ? ", " : rank == 1 ? "," : "");
    }
    PRINT("), }%*s", growth, "");
    PRINT("%*s\n", ALIGNMENT - (int)((used + 1) % ALIGNMENT), "");
#undef PRINT
    memcpy(header, MAGIC "\1\0", MAGIC_BYTES + 2);
    header[8] = (char)((used - 10) & 0xff);
    header[9] = (char)((used - 10) >> 8);
    return used;
}
