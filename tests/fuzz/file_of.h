/* The input as a file that is read, without one on a disk. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_FUZZ_FILE_OF_H
#define TD_TESTS_FUZZ_FILE_OF_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/files.h"
#include "tests/fuzz/choices.h"

static int file_fd = -1;
static struct td_failure file_failure;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    file_fd = memfd_create("input", 0);
    return file_fd < 0;
}

static struct file file_of(const uint8_t *data, size_t bytes)
{
    file_failure.code = TD_E_OK;
    HOLDS(ftruncate(file_fd, 0) == 0 && pwrite(file_fd, data, bytes, 0) == (ssize_t)bytes);
    return (struct file){.path = "input", .what = "load", .failure = &file_failure, .fd = file_fd, .size = bytes};
}

/* A refusal has a cause, and what was accepted has none; a message is one line of text. */
static void check_failure(bool accepted)
{
    HOLDS(accepted == (file_failure.code == TD_E_OK));
    for (const char *at = file_failure.message; !accepted && *at; at++)
        HOLDS((unsigned char)*at >= ' ');
}

/* Takes what the header promises; a stream never gives more than it has. */
static bool take_elements(const struct stored *stored, struct stream *stream)
{
    static uint8_t piece[4096];
    uint64_t left = stored_bytes(stored);
    HOLDS(left <= stream->bytes - stream->taken && left <= (uint64_t)1 << 60);
    while (left > 0) {
        size_t part = left < sizeof piece ? (size_t)left : sizeof piece;
        if (!stream_read(stream, piece, part))
            return false;
        left -= part;
    }
    return stream_finish(stream);
}

#endif
