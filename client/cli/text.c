/* Values as people read them. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/text.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct text bytes_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct text text;
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 6; unit++)
        value /= 1024;
    snprintf(text.s, sizeof text.s, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

struct text age_text(uint64_t ns)
{
    struct text text;
    uint64_t s = ns / 1000000000;
    if (s >= 86400)
        snprintf(text.s, sizeof text.s, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(text.s, sizeof text.s, "%" PRIu64 " h %" PRIu64 " m", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(text.s, sizeof text.s, "%" PRIu64 " m %" PRIu64 " s", s / 60, s % 60);
    else
        snprintf(text.s, sizeof text.s, "%" PRIu64 " s", s);
    return text;
}

/* Three digits or less, and a unit. */
static struct text scaled_text(double value, const char *unit)
{
    struct text text;
    snprintf(text.s, sizeof text.s, "%.*f%s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, unit);
    return text;
}

struct text span_text(double us)
{
    if (us <= 0)
        return (struct text){"-"};
    return us < 1000 ? scaled_text(us, " us") : us < 1e6 ? scaled_text(us / 1e3, " ms") : scaled_text(us / 1e6, " s");
}

struct text rate_text(double per_s)
{
    struct text text;
    if (per_s >= 999.5)
        return per_s < 999.5e3 ? scaled_text(per_s / 1e3, "k") : scaled_text(per_s / 1e6, "M");
    snprintf(text.s, sizeof text.s, per_s < 9.95 && per_s > 0 ? "%.1f" : "%.0f", per_s);
    return text;
}

struct text share_text(double part)
{
    struct text text;
    snprintf(text.s, sizeof text.s, "%.0f %%", 100 * part);
    return text;
}

struct text user_text(uint32_t uid)
{
    struct text text;
    const struct passwd *user = uid == UINT32_MAX ? NULL : getpwuid(uid);
    if (uid == UINT32_MAX) /* BLACKBOX_OTHERS: users beyond the table */
        snprintf(text.s, sizeof text.s, "others");
    else if (user)
        text_plain(text.s, sizeof text.s, user->pw_name, strlen(user->pw_name));
    else
        snprintf(text.s, sizeof text.s, "%" PRIu32, uid);
    return text;
}

struct text time_text(uint64_t unix_ns)
{
    struct text text = {"?"};
    time_t seconds = (time_t)(unix_ns / 1000000000);
    struct tm parts;
    if (localtime_r(&seconds, &parts))
        strftime(text.s, sizeof text.s, "%Y-%m-%d %H:%M:%S", &parts);
    return text;
}

uint32_t utf8_length(const unsigned char *text, uint32_t left)
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

/* Control characters of both halves, and what turns the direction of a line (U+200E, F, 2028 to 202E, 2066 to 2069). */
static bool is_printed(const unsigned char *c, uint32_t length)
{
    if (length == 1)
        return *c >= ' ' && *c != 0x7f;
    if (length == 2)
        return c[0] != 0xc2 || c[1] >= 0xa0;
    return c[0] != 0xe2 || !((c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae))) ||
                             (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

static const char *copy(char *to, size_t size, const char *from, size_t bytes, bool plain)
{
    const unsigned char *at = (const unsigned char *)from;
    size_t used = 0;
    bytes = strnlen(from, bytes);
    for (size_t k = 0; k < bytes;) {
        uint32_t length = plain ? *at < 0x80 : utf8_length(at, (uint32_t)(bytes - k < 4 ? bytes - k : 4));
        bool printed = length && is_printed(at, length);
        if (used + (printed ? length : 1) >= size)
            break;
        if (printed)
            memcpy(to + used, at, length);
        else
            to[used] = '?';
        used += printed ? length : 1;
        length = length ? length : 1;
        at += length;
        k += length;
    }
    to[used] = 0;
    return to;
}

const char *text_clean(char *to, size_t size, const char *from, size_t bytes)
{
    return copy(to, size, from, bytes, false);
}

const char *text_plain(char *to, size_t size, const char *from, size_t bytes)
{
    return copy(to, size, from, bytes, true);
}

int complain(const struct td_failure *failure)
{
    fprintf(stderr, "tensorctl: %s\n%s%s", failure->message, failure->hint, *failure->hint ? "\n" : "");
    return EXIT_FAILURE;
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
