/* The log. SPDX-License-Identifier: Apache-2.0 */
#include "server/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* A line that is longer is cut: two error messages and what stands round them fit. */
#define LINE_BYTES 1024

static const char *log_role = "tensord";
static int log_least = LOG_INFO;

const char *log_level_name(int level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return level >= LOG_DEBUG && level <= LOG_ERROR ? names[level] : "?";
}

void log_open(const char *role, int level)
{
    log_role = role;
    log_least = level;
}

void log_event(enum log_level level, uint64_t session, const char *format, ...)
{
    char line[LINE_BYTES];
    struct timespec now;
    struct tm utc;
    if ((int)level < log_least)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %s %s ", now.tv_nsec / 1000000,
                             log_level_name(level), log_role);
    if (session)
        used += (size_t)snprintf(line + used, sizeof line - used, "session=%" PRIu64 " ", session);
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line + used, sizeof line - used, format, arguments);
    va_end(arguments);
    size_t end = bytes > 0 ? used + (size_t)bytes : used;
    end = end < sizeof line - 1 ? end : sizeof line - 1;
    for (size_t i = used; i < end; i++) /* an event is one line, whatever a client has put into it */
        if ((unsigned char)line[i] < ' ')
            line[i] = '?';
    line[end] = '\n';
    ssize_t written = write(STDERR_FILENO, line, end + 1);
    (void)written; /* there is nobody left to tell */
}
