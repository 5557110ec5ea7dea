/* The header of a safetensors file: JSON of one fixed form, which a reader of a hundred lines takes stricter than a
 * library for any JSON would, without one more thing to link. https://github.com/huggingface/safetensors
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METADATA "__metadata__"
#define LENGTH_BYTES 8
#define ALIGNMENT 8

/* The format's name of an element type is ours in capitals: F32. */
static const char *const types[TD_DTYPE_LIMIT] = {
#define TD_DTYPE(id, name, NAME, ctype, category, torch, wide) [id] = #NAME,
#include "protocol/dtypes.def"
};

/* ---- text ---- */

/* The length of the UTF-8 character at at, 0 if it is none. */
static size_t character(const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    static const struct {
        unsigned char first, last, next_first, next_last, length;
    } rows[] = {{0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        if (*at < rows[k].first || *at > rows[k].last)
            continue;
        if (bytes < rows[k].length || (rows[k].length > 1 && (at[1] < rows[k].next_first || at[1] > rows[k].next_last)))
            return 0;
        for (size_t j = 2; j < rows[k].length; j++)
            if (at[j] < 0x80 || at[j] > 0xbf)
                return 0;
        return rows[k].length;
    }
    return 0;
}

bool text_is_clean(const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t length = character(text + at, bytes - at);
        if (!length)
            return false;
        at += length;
    }
    return true;
}

static char *put_character(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* ---- reading ---- */

struct cursor {
    struct archive *archive;
    char *at, *end;
    size_t items_room, metadata_room;
    bool has_metadata;
};

static bool refuse_at(const struct cursor *c, const char *at, const char *what)
{
    unsigned long long byte = LENGTH_BYTES + (unsigned long long)(at - c->archive->text);
    int shown = c->end - at < 12 ? (int)(c->end - at) : 12;
    return file_fail(&c->archive->file, TD_E_FILE, "%s is due in the header, and %.*s stands there (byte %llu)", what,
                     at < c->end ? shown : 7, at < c->end ? at : "nothing", byte);
}

static bool refuse(const struct cursor *c, const char *what)
{
    return refuse_at(c, c->at, what);
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool next_is(struct cursor *c, char due)
{
    skip_space(c);
    return c->at < c->end && *c->at == due;
}

static bool take(struct cursor *c, char due)
{
    char what[] = {due, 0};
    if (!next_is(c, due))
        return refuse(c, what);
    c->at++;
    return true;
}

/* After an item of a list that ends with close: whether another one follows. */
static bool more(struct cursor *c, char close, bool *fine)
{
    if (next_is(c, ',')) {
        c->at++;
        return true;
    }
    *fine = take(c, close);
    return false;
}

static bool take_unit(struct cursor *c, uint32_t *code)
{
    *code = 0;
    for (int k = 0; k < 4; k++, c->at++) {
        char digit = c->at < c->end ? *c->at : 0;
        int value = digit >= '0' && digit <= '9'   ? digit - '0'
                    : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                    : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                   : -1;
        if (value < 0)
            return refuse(c, "\\u and four digits");
        *code = *code << 4 | (uint32_t)value;
    }
    return true;
}

/* Behind a backslash. */
static bool take_escape(struct cursor *c, char **to)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char name = c->at < c->end ? *c->at : 0;
    const char *found = name ? strchr(names, name) : NULL;
    uint32_t code, low;
    if (found) {
        *(*to)++ = meant[found - names];
        c->at++;
        return true;
    }
    if (name != 'u')
        return refuse(c, "an escape of JSON");
    c->at++;
    if (!take_unit(c, &code))
        return false;
    if (code >= 0xd800 && code < 0xdc00) {
        if (c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u')
            return refuse(c, "the second half of a character");
        c->at += 2;
        if (!take_unit(c, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return refuse(c, "the second half of a character");
        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
    } else if (code == 0 || (code >= 0xdc00 && code < 0xe000)) {
        return refuse(c, "a character that text can have");
    }
    *to = put_character(*to, code);
    return true;
}

/* A string, decoded where it stands: that never takes more bytes. NULL after an error. */
static char *take_string(struct cursor *c)
{
    if (!take(c, '"'))
        return NULL;
    char *start = c->at, *to = start;
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\') {
            c->at++;
            if (!take_escape(c, &to))
                return NULL;
            continue;
        }
        size_t length = *c->at == 0x7f ? 1 : character(c->at, (size_t)(c->end - c->at));
        if (!length) {
            refuse(c, "text in UTF-8");
            return NULL;
        }
        memmove(to, c->at, length);
        to += length;
        c->at += length;
    }
    if (c->at == c->end) {
        refuse(c, "the end of a string");
        return NULL;
    }
    c->at++;
    *to = 0;
    return start;
}

static bool take_number(struct cursor *c, uint64_t *value)
{
    skip_space(c);
    const char *start = c->at;
    for (*value = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *c->at - '0', value))
            return refuse_at(c, start, "a number below 2^64");
    if (c->at == start || (*start == '0' && c->at - start > 1))
        return refuse_at(c, start, "a whole number");
    return true;
}

static bool take_shape(struct cursor *c, struct stored *item)
{
    bool fine = true;
    uint64_t size;
    if (!take(c, '['))
        return false;
    if (next_is(c, ']')) {
        c->at++;
        return true;
    }
    do {
        if (!take_number(c, &size))
            return false;
        if (!stored_add(item, size))
            return refuse(c, "a shape of fewer elements");
    } while (more(c, ']', &fine));
    return fine;
}

static bool take_type(struct cursor *c, struct stored *item)
{
    const char *type = take_string(c);
    if (!type)
        return false;
    snprintf(item->type, sizeof item->type, "%s", type);
    for (uint8_t dtype = 1; dtype < TD_DTYPE_LIMIT; dtype++)
        if (types[dtype] && !strcmp(type, types[dtype]))
            item->dtype = dtype;
    return true;
}

/* {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, in any order. end: the offset behind it. */
static bool take_item(struct cursor *c, struct stored *item, uint64_t *end)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    const char *start = c->at;
    unsigned seen = 0;
    bool fine = true;
    if (!take(c, '{'))
        return false;
    do {
        skip_space(c);
        char *at = c->at, *key = take_string(c);
        unsigned k = 0;
        if (!key)
            return false;
        while (k < 3 && strcmp(key, keys[k]))
            k++;
        if (k == 3 || seen >> k & 1)
            return refuse_at(c, at, "one of dtype, shape and data_offsets, each once,");
        seen |= 1u << k;
        if (!take(c, ':'))
            return false;
        if (k == 0)
            fine = take_type(c, item);
        else if (k == 1)
            fine = take_shape(c, item);
        else
            fine = take(c, '[') && take_number(c, &item->at) && take(c, ',') && take_number(c, end) && take(c, ']');
    } while (fine && more(c, '}', &fine));
    if (!fine)
        return false;
    if (seen != 7)
        return refuse_at(c, start, "dtype, shape and data_offsets");
    if (item->at > *end || (item->dtype != TD_DTYPE_NONE && *end - item->at != stored_bytes(item)))
        return file_fail(&c->archive->file, TD_E_FILE,
                         "%.80s takes %llu bytes, and its data_offsets are [%llu, %llu] (byte %llu)", item->name,
                         (unsigned long long)stored_bytes(item), (unsigned long long)item->at, (unsigned long long)*end,
                         LENGTH_BYTES + (unsigned long long)(start - c->archive->text));
    return true;
}

/* Room for one more of size; false without memory. */
static bool grow(struct cursor *c, void *array, size_t used, size_t *room, size_t size)
{
    void **at = array;
    if (used < *room)
        return true;
    size_t wanted = *room ? 2 * *room : 16;
    void *grown = realloc(*at, wanted * size);
    if (!grown)
        return file_fail_memory(&c->archive->file);
    *at = grown;
    *room = wanted;
    return true;
}

static bool take_metadata(struct cursor *c)
{
    struct archive *a = c->archive;
    bool fine = true;
    if (!take(c, '{'))
        return false;
    if (next_is(c, '}')) {
        c->at++;
        return true;
    }
    do {
        const char *key = take_string(c), *value = key && take(c, ':') ? take_string(c) : NULL;
        if (!value || !grow(c, &a->metadata, a->texts + 1, &c->metadata_room, sizeof *a->metadata))
            return false;
        a->metadata[a->texts++] = key;
        a->metadata[a->texts++] = value;
    } while (more(c, '}', &fine));
    return fine;
}

/* Where each tensor begins and ends, by place. */
struct place {
    uint64_t at, end;
    const struct stored *item;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return strcmp(x->item->name, y->item->name);
}

/* Every byte behind the header belongs to one tensor, and every name is there once. */
static bool check_places(struct archive *archive, struct place *places, uint64_t header)
{
    const struct file *file = &archive->file;
    uint64_t at = 0;
    for (size_t k = 0; k < archive->count; k++)
        places[k].item = &archive->items[k];
    if (archive->count) /* there is no array without */
        qsort(places, archive->count, sizeof *places, by_place);
    for (size_t k = 0; k < archive->count; k++) {
        if (places[k].at != at)
            return file_fail(file, TD_E_FILE, "%.80s begins at %llu of the data, and %llu is due: a %s (byte %llu)",
                             places[k].item->name, (unsigned long long)places[k].at, (unsigned long long)at,
                             places[k].at < at ? "tensor overlaps it" : "hole lies before it",
                             (unsigned long long)(header + at));
        at = places[k].end;
    }
    if (at != file->size - header)
        return file_fail(file, TD_E_FILE, "its tensors take %llu bytes, and %llu are there (byte %llu)",
                         (unsigned long long)at, (unsigned long long)(file->size - header), (unsigned long long)header);
    if (archive->count)
        qsort(places, archive->count, sizeof *places, by_name);
    for (size_t k = 1; k < archive->count; k++)
        if (!strcmp(places[k - 1].item->name, places[k].item->name))
            return file_fail(file, TD_E_FILE, "%.80s is there twice (byte %llu)", places[k].item->name,
                             LENGTH_BYTES + (unsigned long long)(places[k].item->name - archive->text));
    return true;
}

static bool parse(struct cursor *c, struct place **places, uint64_t header)
{
    struct archive *a = c->archive;
    size_t places_room = 0;
    bool fine = true;
    if (c->at == c->end || *c->at != '{')
        return refuse(c, "{");
    c->at++;
    if (next_is(c, '}')) {
        c->at++;
    } else {
        do {
            skip_space(c);
            char *at = c->at, *name = take_string(c);
            if (!name || !take(c, ':'))
                return false;
            if (!strcmp(name, METADATA)) {
                if (c->has_metadata)
                    return refuse_at(c, at, METADATA " once");
                c->has_metadata = true;
                fine = take_metadata(c);
                continue;
            }
            if (!grow(c, &a->items, a->count, &c->items_room, sizeof *a->items) ||
                !grow(c, places, a->count, &places_room, sizeof **places))
                return false;
            struct stored *item = &a->items[a->count];
            *item = (struct stored){.name = name, .elements = 1};
            skip_space(c);
            fine = take_item(c, item, &(*places)[a->count].end);
            (*places)[a->count].at = item->at;
            item->at += header;
            a->count++;
        } while (fine && more(c, '}', &fine));
        if (!fine)
            return false;
    }
    skip_space(c);
    return c->at == c->end || refuse(c, "nothing more");
}

bool safetensors_read(struct archive *archive)
{
    const struct file *file = &archive->file;
    uint8_t head[LENGTH_BYTES];
    uint64_t length = 0;
    struct place *places = NULL;
    if (!file_read(file, 0, head, sizeof head))
        return false;
    for (int k = LENGTH_BYTES; k-- > 0;)
        length = length << 8 | head[k];
    if (length > HEADER_MAX || length > file->size - LENGTH_BYTES)
        return file_fail(file, TD_E_FILE,
                         "its header of %llu bytes does not lie in the file of %llu, or is above %u "
                         "(byte 0)",
                         (unsigned long long)length, (unsigned long long)file->size, HEADER_MAX);
    archive->text = malloc(length + 1);
    if (!archive->text)
        return file_fail_memory(file);
    struct cursor c = {.archive = archive, .at = archive->text, .end = archive->text + length};
    *c.end = 0;
    bool fine = file_read(file, LENGTH_BYTES, archive->text, length) && parse(&c, &places, LENGTH_BYTES + length) &&
                check_places(archive, places, LENGTH_BYTES + length);
    free(places);
    return fine;
}

void archive_close(struct archive *archive)
{
    file_close(&archive->file);
    free(archive->members);
    free(archive->items);
    free(archive->text);
    free(archive->metadata);
    *archive = (struct archive){.file = {.fd = -1}};
}

/* ---- writing ---- */

/* The widest elements first, so that each tensor lies aligned; by name among equals, as the format's own library. */
static int by_width(const void *a, const void *b)
{
    const struct stored *x = *(struct stored *const *)a, *y = *(struct stored *const *)b;
    size_t x_size = td_dtype_size(x->dtype), y_size = td_dtype_size(y->dtype);
    return x_size != y_size ? (x_size < y_size ? 1 : -1) : strcmp(x->name, y->name);
}

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            fprintf(out, "\\u%04x", (unsigned char)*text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void print_header(FILE *out, struct stored **items, size_t count, const char *const *metadata)
{
    uint64_t at = 0;
    const char *between = "";
    fputc('{', out);
    if (metadata && *metadata) {
        fputs("\"" METADATA "\":{", out);
        for (; metadata[0] && metadata[1]; metadata += 2, between = ",") {
            fputs(between, out);
            print_string(out, metadata[0]);
            fputc(':', out);
            print_string(out, metadata[1]);
        }
        fputc('}', out);
    }
    for (size_t k = 0; k < count; k++, between = ",") {
        struct stored *item = items[k];
        fputs(between, out);
        print_string(out, item->name);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", types[item->dtype]);
        for (int d = 0; d < item->rank; d++)
            fprintf(out, "%s%lld", d ? "," : "", (long long)item->shape[d]);
        item->at = at;
        at += stored_bytes(item);
        fprintf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)item->at, (unsigned long long)at);
    }
    fputc('}', out);
}

char *safetensors_print(struct stored **items, size_t count, const char *const *metadata, size_t *bytes)
{
    char *header = NULL;
    FILE *out = open_memstream(&header, bytes);
    if (!out)
        return NULL;
    qsort(items, count, sizeof *items, by_width);
    fprintf(out, "%*s", LENGTH_BYTES, "");
    print_header(out, items, count, metadata);
    for (fflush(out); *bytes % ALIGNMENT; fflush(out))
        fputc(' ', out);
    if (fclose(out)) {
        free(header);
        return NULL;
    }
    for (int k = 0; k < LENGTH_BYTES; k++)
        header[k] = (char)((*bytes - LENGTH_BYTES) >> (8 * k));
    return header;
}
