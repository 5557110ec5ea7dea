/* Private to client/: files of tensors, as they are read and written. Nothing here knows sessions or the daemon: load.c
 * and save.c do. What fails says so in the file's failure, once, with the file, the byte and what stands there.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_FILES_H
#define TD_CLIENT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/dtype.h"
#include "protocol/error.h"
#include "protocol/limits.h"

/* ---- a file that is read (file.c) ---- */

struct file {
    const char *path, *what; /* what: "load_npy", for messages */
    struct td_failure *failure;
    int fd;
    uint64_t size; /* when it was opened */
};

/* Regular files only; a fifo without a writer does not hold it up. */
bool file_open(struct file *file, const char *what, const char *path, struct td_failure *failure);
/* Exactly bytes from byte at on, by pread: a file that is cut meanwhile is an error and no signal. */
bool file_read(const struct file *file, uint64_t at, void *to, size_t bytes);
void file_close(struct file *file);
/* "load_npy: a.npy: MESSAGE"; false, so that a refusal is one statement. What is no text in it becomes '?'. */
bool file_fail(const struct file *file, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool file_fail_memory(const struct file *file);

/* ---- its bytes in order, as they lie there or inflated (stream.c) ---- */

struct stream {
    const struct file *file;
    const char *member;    /* of an archive; NULL: the file itself */
    uint64_t at, end;      /* of the file: what is read next, where that ends */
    uint64_t taken, bytes; /* of what comes out: how many have been taken, how many there are */
    bool checked;          /* crc_due is known */
    uint32_t crc, crc_due;
    struct inflation *inflation; /* NULL: they lie there as they are */
};

struct stream stream_of(const struct file *file, uint64_t at, uint64_t bytes);
/* The bytes of stream from now on are the ones that come out of inflating it. */
bool stream_inflate(struct stream *stream, uint64_t bytes);
/* Exactly bytes; an error if fewer are left. */
bool stream_read(struct stream *stream, void *to, size_t bytes);
/* All has been taken, nothing is left over, and the sum is right. */
bool stream_finish(struct stream *stream);
void stream_close(struct stream *stream);
/* As file_fail, with the byte of what came out that it is about. */
bool stream_fail(const struct stream *stream, uint64_t byte, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- tensors in files ---- */

struct stored {
    const char *name;
    char type[24]; /* as the file writes it, perhaps cut short */
    uint8_t dtype; /* TD_DTYPE_NONE: none of ours */
    bool swapped;  /* the other byte order */
    bool fortran;  /* the first dimension runs fastest */
    int rank;      /* as it is written: shape has the first TD_RANK_MAX */
    int64_t shape[TD_RANK_MAX];
    uint64_t elements, at; /* at: of a safetensors file, where its bytes begin */
};

/* One more dimension. False if there are more elements than a tensor can have. */
bool stored_add(struct stored *stored, uint64_t size);
static inline uint64_t stored_bytes(const struct stored *stored)
{
    return stored->elements * td_dtype_size(stored->dtype);
}

/* Takes the header (npy.c), and sees that the elements are there; stream then stands before them. */
bool npy_header(struct stream *stream, struct stored *stored);
#define NPY_HEADER_BYTES 512
/* The header that NumPy writes before such an array; its length, 0 if NumPy has no such element type. */
size_t npy_print(char header[NPY_HEADER_BYTES], uint8_t dtype, int rank, const int64_t *shape);

/* ---- files of several tensors ---- */

/* A file in a zip archive. */
struct member {
    const char *name;
    uint64_t at, packed, bytes; /* at: its local header */
    uint32_t crc;
    uint16_t method, flags;
};

struct archive {
    struct file file;
    size_t count;           /* of tensors */
    struct member *members; /* of a zip archive, else NULL */
    struct stored *items;   /* of a safetensors file, else NULL */
    uint64_t members_end;   /* where members end and the directory begins */
    char *text;             /* the header or directory, in which the names stand */
    size_t texts;           /* of a safetensors file's metadata */
    const char **metadata;  /* key, value, key, value */
};

/* What one may take in memory; the format's own limit of a safetensors header. */
#define HEADER_MAX 100000000u

/* Reads the directory of a zip archive (zip.c) and keeps what ends in .npy, under the name without it. */
bool zip_read(struct archive *archive);
bool zip_member(const struct archive *archive, const struct member *member, struct stream *stream);
/* Reads the header of a safetensors file (safetensors.c). */
bool safetensors_read(struct archive *archive);
void archive_close(struct archive *archive);

/* Whether these bytes are UTF-8 without control characters: what a name must be. */
bool text_is_clean(const char *text, size_t bytes);

/* ---- a file that is written (file.c) ---- */

/* It appears under its name when it is complete, and not at all if it never is. */
struct output {
    const char *path, *what;
    struct td_failure *failure;
    char *target, *beside; /* what is replaced in the end, links followed; what is written */
    int fd;
    uint64_t at;
    uint32_t crc; /* of what was written since the writer set it to 0; counted if wanted */
    bool summed;
};

bool output_open(struct output *output, const char *what, const char *path, struct td_failure *failure);
/* Both do nothing once something has failed. */
void output_write(struct output *output, const void *data, size_t bytes);
void output_patch(struct output *output, uint64_t at, const void *data, size_t bytes);
/* Puts it under its name unless something failed; what is left of it goes. */
bool output_close(struct output *output);
bool output_fail(const struct output *output, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A zip archive of files as they are; its directory is gathered until the end. */
struct zip {
    struct output *output;
    uint64_t wide_from; /* numbers from here on need the 64 bit records */
    uint64_t count, member_at, member_bytes;
    const char *name;
    uint8_t *directory;
    size_t used, room;
};
void zip_begin(struct zip *zip, struct output *output);
/* bytes will be written to the output before zip_member_end, until when name must stay. */
void zip_member_begin(struct zip *zip, const char *name, uint64_t bytes);
void zip_member_end(struct zip *zip);
void zip_end(struct zip *zip);
#define ZIP_NAME_MAX 65000

/* What a safetensors file begins with. items, in any order, get their places; metadata is key, value, ..., NULL. NULL
 * without memory, to be freed. */
char *safetensors_print(struct stored **items, size_t count, const char *const *metadata, size_t *bytes);

#endif
