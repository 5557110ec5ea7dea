/* Zip archives, stored and deflated, with 64 bit sizes: what an npz file is.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL_SIGNATURE 0x04034b50u
#define LOCAL_BYTES 30
#define ENTRY_SIGNATURE 0x02014b50u
#define ENTRY_BYTES 46
#define END_SIGNATURE 0x06054b50u
#define END_BYTES 22
#define WIDE_END_SIGNATURE 0x06064b50u
#define WIDE_END_BYTES 56
#define LOCATOR_SIGNATURE 0x07064b50u
#define LOCATOR_BYTES 20
#define COMMENT_MAX 65535
#define WIDE 1 /* the extra field of 64 bit numbers */
#define ENCRYPTED 1
#define UTF8 (1 << 11)
#define STORED 0
#define DEFLATED 8
#define SUFFIX ".npy"

static uint64_t number(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | at[bytes];
    return value;
}

/* ---- reading ---- */

struct directory {
    uint64_t at, bytes, entries;
};

static bool refuse(const struct archive *archive, uint64_t byte, const char *what)
{
    return file_fail(&archive->file, TD_E_FILE, "%s (byte %llu)", what, (unsigned long long)byte);
}

/* The record of 64 bit numbers, which a locator before the end at end_at names. */
static bool read_wide_end(const struct archive *archive, uint64_t end_at, struct directory *directory, uint64_t *limit)
{
    uint8_t locator[LOCATOR_BYTES], end[WIDE_END_BYTES];
    if (end_at < LOCATOR_BYTES)
        return true;
    if (!file_read(&archive->file, end_at - LOCATOR_BYTES, locator, sizeof locator))
        return false;
    if (number(locator, 4) != LOCATOR_SIGNATURE)
        return true;
    uint64_t at = number(locator + 8, 8);
    if (end_at < LOCATOR_BYTES + WIDE_END_BYTES || at > end_at - LOCATOR_BYTES - WIDE_END_BYTES)
        return refuse(archive, end_at - LOCATOR_BYTES, "the zip64 record lies outside of the file");
    if (!file_read(&archive->file, at, end, sizeof end))
        return false;
    if (number(end, 4) != WIDE_END_SIGNATURE)
        return refuse(archive, at, "a zip64 record is due");
    *directory = (struct directory){number(end + 48, 8), number(end + 40, 8), number(end + 32, 8)};
    *limit = at;
    return true;
}

/* The record at the file's end, behind which stands nothing but its comment. */
static bool find_directory(struct archive *archive, struct directory *directory)
{
    const struct file *file = &archive->file;
    size_t bytes = file->size < END_BYTES + COMMENT_MAX ? (size_t)file->size : END_BYTES + COMMENT_MAX;
    uint64_t base = file->size - bytes;
    uint8_t *tail = malloc(bytes + 1);
    if (!tail)
        return file_fail_memory(file);
    bool read = file_read(file, base, tail, bytes), found = false;
    size_t at = bytes < END_BYTES ? 0 : bytes - END_BYTES + 1;
    while (read && !found && at-- > 0)
        found = number(tail + at, 4) == END_SIGNATURE && number(tail + at + 20, 2) == bytes - at - END_BYTES;
    if (found)
        *directory =
            (struct directory){number(tail + at + 16, 4), number(tail + at + 12, 4), number(tail + at + 10, 2)};
    free(tail);
    if (!read)
        return false;
    if (!found)
        return refuse(archive, file->size, "is no zip archive, or is cut: no end of a directory is there");
    uint64_t limit = base + at;
    if (!read_wide_end(archive, limit, directory, &limit))
        return false;
    if (directory->at > limit || directory->bytes > limit - directory->at)
        return refuse(archive, limit, "the directory lies outside of the file");
    if (directory->bytes > HEADER_MAX || directory->entries > directory->bytes / ENTRY_BYTES)
        return file_fail(file, TD_E_FILE, "its directory of %llu bytes has %llu entries (byte %llu)",
                         (unsigned long long)directory->bytes, (unsigned long long)directory->entries,
                         (unsigned long long)limit);
    archive->members_end = directory->at;
    return true;
}

/* Numbers that do not fit into the entry stand in an extra field, in this order. */
static bool take_wide(const uint8_t *extra, size_t bytes, struct member *member)
{
    uint64_t *numbers[] = {&member->bytes, &member->packed, &member->at};
    while (bytes >= 4) {
        size_t size = number(extra + 2, 2);
        if (size > bytes - 4)
            return false;
        const uint8_t *at = extra + 4, *end = at + size;
        for (int k = 0; k < 3 && number(extra, 2) == WIDE; k++) {
            if (*numbers[k] != UINT32_MAX)
                continue;
            if (end - at < 8)
                return false;
            *numbers[k] = number(at, 8);
            at += 8;
        }
        extra = end;
        bytes -= 4 + size;
    }
    return bytes == 0;
}

/* Takes the entry at at, of at most bytes; 0 after an error, else its length. */
static size_t take_entry(struct archive *archive, uint8_t *at, size_t bytes, struct member *member)
{
    uint64_t byte = archive->members_end + (uint64_t)((char *)at - archive->text);
    size_t length = bytes < ENTRY_BYTES || number(at, 4) != ENTRY_SIGNATURE ? 0 : ENTRY_BYTES;
    if (!length)
        return refuse(archive, byte, "an entry of the directory is due");
    size_t name = number(at + 28, 2), extra = number(at + 30, 2), comment = number(at + 32, 2);
    length += name + extra + comment;
    *member = (struct member){.name = (char *)at + ENTRY_BYTES - 1,
                              .flags = (uint16_t)number(at + 8, 2),
                              .method = (uint16_t)number(at + 10, 2),
                              .crc = (uint32_t)number(at + 16, 4),
                              .packed = number(at + 20, 4),
                              .bytes = number(at + 24, 4),
                              .at = number(at + 42, 4)};
    if (length > bytes || !take_wide(at + ENTRY_BYTES + name, extra, member))
        return refuse(archive, byte, "an entry of the directory goes beyond its end");
    if (!text_is_clean((char *)at + ENTRY_BYTES, name) && member->flags & UTF8)
        return refuse(archive, byte + ENTRY_BYTES, "a name is no text");
    if (memchr(at + ENTRY_BYTES, 0, name))
        return refuse(archive, byte + ENTRY_BYTES, "a name has a zero in it");
    /* One byte back, where there is room for its end. */
    memmove(at + ENTRY_BYTES - 1, at + ENTRY_BYTES, name);
    at[ENTRY_BYTES - 1 + name] = 0;
    return length;
}

bool zip_read(struct archive *archive)
{
    struct directory directory = {0};
    if (!find_directory(archive, &directory))
        return false;
    archive->text = malloc(directory.bytes + 1);
    archive->members = malloc((directory.entries + 1) * sizeof *archive->members);
    if (!archive->text || !archive->members)
        return file_fail_memory(&archive->file);
    if (!file_read(&archive->file, directory.at, archive->text, directory.bytes))
        return false;
    size_t used = 0;
    for (uint64_t k = 0; k < directory.entries; k++) {
        struct member *member = &archive->members[archive->count];
        size_t length = take_entry(archive, (uint8_t *)archive->text + used, directory.bytes - used, member);
        if (!length)
            return false;
        used += length;
        size_t name = strlen(member->name), suffix = strlen(SUFFIX);
        if (name < suffix || strcmp(member->name + name - suffix, SUFFIX))
            continue;
        *(strchr(member->name, 0) - suffix) = 0;
        archive->count++;
    }
    return used == directory.bytes || refuse(archive, directory.at + used, "the directory has more than its entries");
}

bool zip_member(const struct archive *archive, const struct member *member, struct stream *stream)
{
    const struct file *file = &archive->file;
    uint8_t local[LOCAL_BYTES];
    *stream = (struct stream){.file = file, .member = member->name};
    if (member->flags & ENCRYPTED || (member->method != STORED && member->method != DEFLATED))
        return stream_fail(stream, member->at, TD_E_FILE, "is %s, and stored and deflated is all that can be read",
                           member->flags & ENCRYPTED ? "encrypted" : "packed by another method");
    if (member->at > archive->members_end || LOCAL_BYTES > archive->members_end - member->at)
        return stream_fail(stream, member->at, TD_E_FILE, "lies outside of the file");
    if (!file_read(file, member->at, local, sizeof local))
        return false;
    if (number(local, 4) != LOCAL_SIGNATURE)
        return stream_fail(stream, member->at, TD_E_FILE, "a zip member is due here");
    uint64_t start = member->at + LOCAL_BYTES + number(local + 26, 2) + number(local + 28, 2);
    if (start > archive->members_end || member->packed > archive->members_end - start)
        return stream_fail(stream, start, TD_E_FILE, "its %llu bytes go beyond what the file has for them",
                           (unsigned long long)member->packed);
    if (member->method == STORED && member->packed != member->bytes)
        return stream_fail(stream, start, TD_E_FILE, "is of %llu bytes and stored in %llu",
                           (unsigned long long)member->bytes, (unsigned long long)member->packed);
    *stream = stream_of(file, start, member->packed);
    stream->member = member->name;
    stream->checked = true;
    stream->crc_due = member->crc;
    return member->method == STORED || stream_inflate(stream, member->bytes);
}

/* ---- writing ---- */

struct record {
    uint8_t bytes[128];
    size_t used;
};

static void put(struct record *record, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        record->bytes[record->used++] = (uint8_t)value;
        value >>= 8;
    }
}

/* A number that may stand in 64 bits elsewhere. */
static void put_narrow(struct record *record, const struct zip *zip, uint64_t value)
{
    put(record, value >= zip->wide_from ? UINT32_MAX : value, 4);
}

void zip_begin(struct zip *zip, struct output *output)
{
    *zip = (struct zip){.output = output, .wide_from = UINT32_MAX};
}

/* What a local header and an entry have in common: from the version needed to the length of the name. */
static void put_member(struct record *record, const struct zip *zip, bool wide, uint32_t crc)
{
    bool ascii = true;
    for (const char *at = zip->name; *at; at++)
        ascii = ascii && (unsigned char)*at < 0x80;
    put(record, wide ? 45 : 20, 2);
    put(record, ascii ? 0 : UTF8, 2);
    put(record, STORED, 2);
    put(record, 0, 2);
    put(record, 1 << 5 | 1, 2); /* the first of January 1980: equal tensors are equal files */
    put(record, crc, 4);
    put_narrow(record, zip, zip->member_bytes);
    put_narrow(record, zip, zip->member_bytes);
    put(record, strlen(zip->name) + strlen(SUFFIX), 2);
}

void zip_member_begin(struct zip *zip, const char *name, uint64_t bytes)
{
    struct record record = {.used = 0};
    bool wide = bytes >= zip->wide_from;
    zip->member_at = zip->output->at;
    zip->member_bytes = bytes;
    zip->name = name;
    put(&record, LOCAL_SIGNATURE, 4);
    put_member(&record, zip, wide, 0); /* the sum is written when it is known */
    put(&record, wide ? 20 : 0, 2);
    output_write(zip->output, record.bytes, record.used);
    output_write(zip->output, name, strlen(name));
    output_write(zip->output, SUFFIX, strlen(SUFFIX));
    record.used = 0;
    if (wide) {
        put(&record, WIDE, 2);
        put(&record, 16, 2);
        put(&record, bytes, 8);
        put(&record, bytes, 8);
        output_write(zip->output, record.bytes, record.used);
    }
    zip->output->crc = 0;
    zip->output->summed = true;
}

static void keep(struct zip *zip, const void *data, size_t bytes)
{
    if (zip->used + bytes > zip->room) {
        size_t room = 2 * (zip->used + bytes);
        uint8_t *directory = realloc(zip->directory, room);
        if (!directory) {
            output_fail(zip->output, TD_E_MEMORY, "this program has no memory left to write it");
            return;
        }
        zip->directory = directory;
        zip->room = room;
    }
    memcpy(zip->directory + zip->used, data, bytes);
    zip->used += bytes;
}

void zip_member_end(struct zip *zip)
{
    struct record record = {.used = 0}, extra = {.used = 0};
    uint32_t crc = zip->output->crc;
    zip->output->summed = false;
    put(&record, crc, 4);
    output_patch(zip->output, zip->member_at + 14, record.bytes, 4);
    if (zip->member_bytes >= zip->wide_from) {
        put(&extra, zip->member_bytes, 8);
        put(&extra, zip->member_bytes, 8);
    }
    if (zip->member_at >= zip->wide_from)
        put(&extra, zip->member_at, 8);
    record.used = 0;
    put(&record, ENTRY_SIGNATURE, 4);
    put(&record, 3 << 8 | (extra.used ? 45 : 20), 2); /* made on Unix, so that the mode counts */
    put_member(&record, zip, extra.used, crc);
    put(&record, extra.used ? extra.used + 4 : 0, 2);
    put(&record, 0, 6);              /* no comment, the first disk, no hint at text */
    put(&record, 0100644u << 16, 4); /* a plain file, rw-r--r-- */
    put_narrow(&record, zip, zip->member_at);
    keep(zip, record.bytes, record.used);
    keep(zip, zip->name, strlen(zip->name));
    keep(zip, SUFFIX, strlen(SUFFIX));
    record.used = 0;
    put(&record, WIDE, 2);
    put(&record, extra.used, 2);
    if (extra.used) {
        keep(zip, record.bytes, record.used);
        keep(zip, extra.bytes, extra.used);
    }
    zip->count++;
}

void zip_end(struct zip *zip)
{
    struct record record = {.used = 0};
    uint64_t at = zip->output->at, end = at + zip->used;
    output_write(zip->output, zip->directory, zip->used);
    if (at >= zip->wide_from || zip->used >= zip->wide_from || zip->count >= UINT16_MAX) {
        put(&record, WIDE_END_SIGNATURE, 4);
        put(&record, WIDE_END_BYTES - 12, 8);
        put(&record, 45, 2);
        put(&record, 45, 2);
        put(&record, 0, 8); /* this disk, the directory's disk */
        put(&record, zip->count, 8);
        put(&record, zip->count, 8);
        put(&record, zip->used, 8);
        put(&record, at, 8);
        put(&record, LOCATOR_SIGNATURE, 4);
        put(&record, 0, 4);
        put(&record, end, 8);
        put(&record, 1, 4);
    }
    put(&record, END_SIGNATURE, 4);
    put(&record, 0, 4);
    put(&record, zip->count < UINT16_MAX ? zip->count : UINT16_MAX, 2);
    put(&record, zip->count < UINT16_MAX ? zip->count : UINT16_MAX, 2);
    put_narrow(&record, zip, zip->used);
    put_narrow(&record, zip, at);
    put(&record, 0, 2);
    output_write(zip->output, record.bytes, record.used);
    free(zip->directory);
    zip->directory = NULL;
}
