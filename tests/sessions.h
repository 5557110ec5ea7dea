/* A daemon, and what tests say of the sessions that they open on it, each test its own; included once by a test. Where
 * one session serves a whole test program there is library.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_SESSIONS_H
#define TD_TESTS_SESSIONS_H

#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support.h"
#include "client/tensord.h"

/* A test whose daemon needs arguments defines them before. */
#ifndef DAEMON_ARGUMENTS
#define DAEMON_ARGUMENTS NULL
#endif

static struct test_daemon daemon_;

static int setup(void **state)
{
    (void)state;
    return daemon_start(&daemon_, DAEMON_ARGUMENTS);
}

static int teardown(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static inline td_session *open_session(void)
{
    td_session *s = td_open(daemon_.address);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_manual_seed(s, 17);
    return s;
}

/* The session ends without an error, and nothing of it is left in the daemon. */
static inline void close_session(td_session *s)
{
    assert_int_equal(td_close(s), 0);
    daemon_wait_empty(&daemon_);
}

static inline void assert_fine(td_session *s)
{
    const td_error_info *info = td_error(s);
    if (info->code)
        fail_msg("%s: %s", info->where, info->message);
}

/* The error that stands has this code, says part, and is of a call in file; it is cleared. */
static inline void assert_error_in(const char *file, td_session *s, int code, const char *part)
{
    const td_error_info *info = td_error(s);
    if (info->code != code || !strstr(info->message, part) || !strstr(info->where, file))
        fail_msg("%d %s: %s (%s)", info->code, info->where, info->message, part);
    td_clear_error(s);
}

/* assert_error(s, code, part): of the file that it is written in. */
#define assert_error(...) assert_error_in(strrchr("/" __FILE__, '/') + 1, __VA_ARGS__)

static inline void assert_values(td_tensor x, int count, const double *expected)
{
    double found[16];
    assert_int_equal(td_read(x, found, TD_F64, 16), count);
    for (int k = 0; k < count; k++)
        assert_true(found[k] == expected[k]);
}

#endif
