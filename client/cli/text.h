/* Values as people read them, and texts of others made harmless. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_TEXT_H
#define TD_CLIENT_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/error.h"

/* A short text, by value, so that a call may stand among printf's arguments. */
struct text {
    char s[40];
};

struct text bytes_text(uint64_t bytes);  /* "1.5 GiB" */
struct text age_text(uint64_t ns);       /* "3 d 4 h", "2 h 5 m", "7 m 12 s", "9 s" */
struct text span_text(double us);        /* "3.2 ms", three digits or less; "-" for 0 */
struct text rate_text(double per_s);     /* "34", "5.10k", "12.3M": the unit stands elsewhere */
struct text share_text(double part);     /* "87 %" */
struct text user_text(uint32_t uid);     /* the name, or the number where there is none */
struct text time_text(uint64_t unix_ns); /* "2026-01-31 12:00:00", local; "?" for what is no time */

/* Bytes of the UTF-8 sequence at text, 0 if it is none. */
uint32_t utf8_length(const unsigned char *text, uint32_t left);
/* Copies up to `bytes` of from, or to its 0, cut to size. What could move a terminal's cursor, turn its direction or is
 * no UTF-8 becomes '?'; with plain, all that is not printable ASCII. Returns to. */
const char *text_clean(char *to, size_t size, const char *from, size_t bytes);
const char *text_plain(char *to, size_t size, const char *from, size_t bytes);

/* Says on standard error what failed; returns EXIT_FAILURE. */
int complain(const struct td_failure *failure);

/* CLOCK_MONOTONIC, which all times in a black box are of. */
uint64_t now_ns(void);
/* later - earlier, 0 where a clock or a box says otherwise. */
static inline uint64_t since(uint64_t later, uint64_t earlier)
{
    return later > earlier ? later - earlier : 0;
}

#endif
