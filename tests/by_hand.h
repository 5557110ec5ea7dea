/* For tests of autograd by hand, all on one daemon, each in a session of its own: leaves of a few numbers, and what is
 * expected of results. No test holds a TD_SCOPE around its assertions: cmocka jumps out of a failed one, past the
 * scope's end. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_BY_HAND_H
#define TD_TESTS_BY_HAND_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "tests/support.h"

#include "client/tensord.h"

#define ELEMENTS 64

static struct test_daemon daemon_;
static td_session *s;

static inline void check_healthy(const char *text)
{
    const td_error_info *error = td_error(s);
    if (error->code)
        print_error("%s: %s: %s (%s)\n", text, td_code_name(error->code), error->message, error->hint);
    assert_int_equal(error->code, TD_E_OK);
}

#define LEAF(...)                                                                                      \
    td_from(s, ((const double[]){__VA_ARGS__}), TD_F64, TD_SHAPE(sizeof((double[]){__VA_ARGS__}) / 8), \
            .requires_grad = true)

static inline void expect_values(td_tensor x, int64_t count, const double *due, int line)
{
    double found[ELEMENTS];
    int64_t got = td_read(x, found, TD_F64, ELEMENTS);
    check_healthy("by hand");
    assert_int_equal(got, count);
    for (int64_t k = 0; k < count; k++) {
        if (fabs(found[k] - due[k]) > 1e-12)
            print_error("line %d: element %d is %.17g where %.17g is due\n", line, (int)k, found[k], due[k]);
        assert_true(fabs(found[k] - due[k]) <= 1e-12);
    }
}
#define EXPECT(x, ...) expect_values(x, sizeof((double[]){__VA_ARGS__}) / 8, (const double[]){__VA_ARGS__}, __LINE__)

/* The error that stands has this code; then it is taken away. */
static inline void expect_error(int code)
{
    assert_int_equal(td_error(s)->code, code);
    td_clear_error(s);
}

static inline int setup_group(void **state)
{
    (void)state;
    return daemon_start(&daemon_, (const char *const[]){"--memory", "256M", "--log-level", "warn", NULL});
}

static inline int teardown_group(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static inline int setup(void **state)
{
    (void)state;
    s = td_open(daemon_.address);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    td_clear_error(s);
    return td_close(s);
}

#define BY_HAND(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
