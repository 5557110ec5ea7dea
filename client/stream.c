/* The bytes of a file in order, as they lie there or inflated, with their sum.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* What is inflated at a time. */
#define IN_BYTES (64u << 10)
/* Deflate makes at most this of a byte: a length that promises more is a lie. */
#define RATIO_MAX 1032

struct inflation {
    z_stream z;
    bool ended;
    uint8_t in[IN_BYTES];
};

bool stream_fail(const struct stream *stream, uint64_t byte, int code, const char *format, ...)
{
    char text[TD_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return file_fail(stream->file, code, "%.80s%s%s (byte %llu)", stream->member ? stream->member : "",
                     stream->member ? ": " : "", text, (unsigned long long)byte);
}

struct stream stream_of(const struct file *file, uint64_t at, uint64_t bytes)
{
    return (struct stream){.file = file, .at = at, .end = at + bytes, .bytes = bytes};
}

bool stream_inflate(struct stream *stream, uint64_t bytes)
{
    uint64_t packed = stream->end - stream->at;
    if (bytes / RATIO_MAX > packed)
        return stream_fail(stream, 0, TD_E_FILE, "%llu bytes cannot be inflated to %llu", (unsigned long long)packed,
                           (unsigned long long)bytes);
    struct inflation *inflation = malloc(sizeof *inflation);
    if (inflation) {
        inflation->z = (z_stream){0};
        inflation->ended = false;
    }
    if (!inflation || inflateInit2(&inflation->z, -MAX_WBITS) != Z_OK) {
        free(inflation);
        return file_fail_memory(stream->file);
    }
    stream->inflation = inflation;
    stream->bytes = bytes;
    return true;
}

/* One turn of inflating into what z has room for; false after an error. */
static bool inflate_some(struct stream *stream)
{
    struct inflation *inflation = stream->inflation;
    z_stream *z = &inflation->z;
    if (z->avail_in == 0 && stream->at < stream->end) {
        uint64_t left = stream->end - stream->at;
        uInt piece = left < IN_BYTES ? (uInt)left : IN_BYTES;
        if (!file_read(stream->file, stream->at, inflation->in, piece))
            return false;
        stream->at += piece;
        z->next_in = inflation->in;
        z->avail_in = piece;
    }
    uint64_t before = z->total_out;
    int status = inflate(z, Z_NO_FLUSH);
    uint64_t made = stream->taken + (z->total_out - before);
    inflation->ended = status == Z_STREAM_END;
    if (status == Z_OK || inflation->ended)
        return true;
    if (status == Z_MEM_ERROR)
        return file_fail_memory(stream->file);
    return stream_fail(stream, made, TD_E_FILE, "cannot be inflated: %s",
                       status == Z_BUF_ERROR ? "it ends too early"
                       : z->msg              ? z->msg
                                             : "it is no deflate");
}

static bool inflate_exactly(struct stream *stream, uint8_t *to, size_t bytes)
{
    z_stream *z = &stream->inflation->z;
    for (size_t done = 0; done < bytes;) {
        z->next_out = to + done;
        z->avail_out = bytes - done < (1u << 30) ? (uInt)(bytes - done) : 1u << 30;
        uInt room = z->avail_out;
        if (stream->inflation->ended)
            return stream_fail(stream, stream->taken + done, TD_E_FILE, "inflates to less than the %llu bytes due",
                               (unsigned long long)stream->bytes);
        if (!inflate_some(stream))
            return false;
        done += room - z->avail_out;
    }
    return true;
}

bool stream_read(struct stream *stream, void *to, size_t bytes)
{
    if (bytes > stream->bytes - stream->taken)
        return stream_fail(stream, stream->bytes, TD_E_FILE, "ends where %llu more bytes are due",
                           (unsigned long long)(bytes - (stream->bytes - stream->taken)));
    if (stream->inflation ? !inflate_exactly(stream, to, bytes) : !file_read(stream->file, stream->at, to, bytes))
        return false;
    if (!stream->inflation)
        stream->at += bytes;
    if (stream->checked)
        stream->crc = (uint32_t)crc32_z(stream->crc, to, bytes);
    stream->taken += bytes;
    return true;
}

bool stream_finish(struct stream *stream)
{
    if (!stream->checked)
        return true;
    if (stream->taken < stream->bytes)
        return stream_fail(stream, stream->taken, TD_E_FILE, "%llu bytes are left over",
                           (unsigned long long)(stream->bytes - stream->taken));
    if (stream->inflation) {
        uint8_t more;
        z_stream *z = &stream->inflation->z;
        z->next_out = &more;
        z->avail_out = 1;
        while (!stream->inflation->ended && z->avail_out)
            if (!inflate_some(stream))
                return false;
        if (!z->avail_out || z->avail_in || stream->at < stream->end)
            return stream_fail(stream, stream->bytes, TD_E_FILE, "goes on where its end is due");
    }
    if (stream->crc != stream->crc_due)
        return stream_fail(stream, stream->bytes, TD_E_FILE, "its CRC is %08x, and %08x is written down: it is damaged",
                           stream->crc, stream->crc_due);
    return true;
}

void stream_close(struct stream *stream)
{
    if (stream->inflation)
        inflateEnd(&stream->inflation->z);
    free(stream->inflation);
    stream->inflation = NULL;
}
