/* Files on the disk: opened with care, read in place, written beside and renamed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* A path's end says most, and the rest of the message must fit. */
#define PATH_SHOWN 160

static bool fail(struct td_failure *failure, const char *what, const char *path, int code, const char *format,
                 va_list arguments)
{
    char text[TD_MESSAGE_BYTES];
    size_t length = strlen(path);
    bool cut = length > PATH_SHOWN;
    vsnprintf(text, sizeof text, format, arguments);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    td_fail(failure, code, "%s: %s%s: %s", what, cut ? "..." : "", path + (cut ? length - PATH_SHOWN : 0), text);
    return false;
}

/* ---- reading ---- */

bool file_fail(const struct file *file, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(file->failure, file->what, file->path, code, format, arguments);
    va_end(arguments);
    return false;
}

bool file_fail_memory(const struct file *file)
{
    return file_fail(file, TD_E_MEMORY, "this program has no memory left to read it");
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

bool file_open(struct file *file, const char *what, const char *path, struct td_failure *failure)
{
    struct stat status;
    *file = (struct file){.path = path ? path : "(null)", .what = what, .failure = failure, .fd = -1};
    file->fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    if (!path)
        return file_fail(file, TD_E_ARGUMENT, "no path was given");
    if (file->fd < 0 || fstat(file->fd, &status))
        return file_fail(file, TD_E_FILE, "cannot be opened: %s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return file_fail(file, TD_E_FILE, "is %s, and a file is due", kind_of(status.st_mode));
    file->size = (uint64_t)status.st_size;
    return true;
}

bool file_read(const struct file *file, uint64_t at, void *to, size_t bytes)
{
    if (at > file->size || bytes > file->size - at)
        return file_fail(file, TD_E_FILE, "is cut: it ends where %llu more bytes are due (byte %llu)",
                         (unsigned long long)(bytes - (at < file->size ? file->size - at : 0)),
                         (unsigned long long)file->size);
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(file->fd, (char *)to + done, bytes - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return file_fail(file, TD_E_FILE, "cannot be read: %s (byte %llu)", strerror(errno),
                             (unsigned long long)(at + done));
        if (got == 0)
            return file_fail(file, TD_E_FILE, "has become shorter while it was read (byte %llu)",
                             (unsigned long long)(at + done));
        done += (size_t)got;
    }
    return true;
}

void file_close(struct file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* ---- writing ---- */

bool output_fail(const struct output *output, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(output->failure, output->what, output->path, code, format, arguments);
    va_end(arguments);
    return false;
}

/* The file itself where the path is a link to it. */
static char *target_of(const char *path)
{
    char *target = realpath(path, NULL);
    return target || errno != ENOENT ? target : strdup(path);
}

bool output_open(struct output *output, const char *what, const char *path, struct td_failure *failure)
{
    static _Atomic unsigned number;
    struct stat status;
    *output = (struct output){.path = path ? path : "(null)", .what = what, .failure = failure, .fd = -1};
    if (!path)
        return output_fail(output, TD_E_ARGUMENT, "no path was given");
    output->target = target_of(path);
    bool there = output->target && stat(output->target, &status) == 0;
    if (there && !S_ISREG(status.st_mode))
        return output_fail(output, TD_E_FILE, "is %s, and a file is due", kind_of(status.st_mode));
    for (int tries = 0; output->target && tries < 100; tries++) {
        if (asprintf(&output->beside, "%s.%ld-%u.part", output->target, (long)getpid(), number++) < 0) {
            output->beside = NULL;
            errno = ENOMEM;
            break;
        }
        output->fd = open(output->beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (output->fd >= 0) {
            if (there)
                (void)fchmod(output->fd, status.st_mode & 07777);
            return true;
        }
        free(output->beside);
        output->beside = NULL;
        if (errno != EEXIST)
            break;
    }
    return output_fail(output, TD_E_FILE, "cannot be made: %s", strerror(errno));
}

static void write_at(struct output *output, uint64_t at, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes && !output->failure->code;) {
        ssize_t put = pwrite(output->fd, (const char *)data + done, bytes - done, (off_t)(at + done));
        if (put < 0 && errno != EINTR)
            output_fail(output, TD_E_FILE, "cannot be written: %s (byte %llu)", strerror(errno),
                        (unsigned long long)(at + done));
        done += put > 0 ? (size_t)put : 0;
    }
}

void output_write(struct output *output, const void *data, size_t bytes)
{
    if (output->summed)
        output->crc = (uint32_t)crc32_z(output->crc, data, bytes);
    write_at(output, output->at, data, bytes);
    output->at += bytes;
}

void output_patch(struct output *output, uint64_t at, const void *data, size_t bytes)
{
    write_at(output, at, data, bytes);
}

bool output_close(struct output *output)
{
    /* The bytes before the name: after a power failure there is the old file or the new one. */
    if (output->fd >= 0 && !output->failure->code && fsync(output->fd))
        output_fail(output, TD_E_FILE, "cannot be written: %s", strerror(errno));
    if (output->fd >= 0 && close(output->fd) && !output->failure->code)
        output_fail(output, TD_E_FILE, "cannot be written: %s", strerror(errno));
    if (output->beside && !output->failure->code && rename(output->beside, output->target))
        output_fail(output, TD_E_FILE, "cannot be put under its name: %s", strerror(errno));
    if (output->beside && output->failure->code)
        unlink(output->beside);
    free(output->beside);
    free(output->target);
    return !output->failure->code;
}
