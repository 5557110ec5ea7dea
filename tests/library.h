/* A daemon and a session for tests through the library; included once by a test, before anything else of the client's.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_LIBRARY_H
#define TD_TESTS_LIBRARY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support.h"

#include "client/tensord.h"

static struct test_daemon daemon_;
static td_session *s;

static int start(void **state)
{
    (void)state;
    return daemon_start(&daemon_, NULL);
}

static int stop(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static int open_session(void **state)
{
    (void)state;
    s = td_open(daemon_.address);
    return td_error(s)->code;
}

static int close_session(void **state)
{
    (void)state;
    return td_close(s);
}

/* The error that stands has this code; it is cleared. Its message, if some are given, has these words, and its call
 * stands in this line, if it is not 0. */
static inline void expect_error_in(const char *file, int code, const char *words, int line)
{
    char where[64];
    const td_error_info *e = td_error(s);
    assert_string_equal(td_code_name(e->code), td_code_name(code));
    if (words && !strstr(e->message, words))
        fail_msg("\"%s\" does not say \"%s\"", e->message, words);
    snprintf(where, sizeof where, "%s:%d", file, line);
    if (line && strcmp(e->where, where))
        fail_msg("at \"%s\" where \"%s\" is due", e->where, where);
    td_clear_error(s);
}

/* expect_error(code, words, line): line is of the file that it is written in. */
#define expect_error(...) expect_error_in(strrchr("/" __FILE__, '/') + 1, __VA_ARGS__)

#endif
