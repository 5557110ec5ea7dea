/* End to end, on the CPU and on the emulated GPU: what a program is told when memory does not suffice, and that it gets
 * what is there. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support.h"
#include "client/tensord.h"

#define MB 250000 /* elements of f32 */

static struct test_daemon daemons[2];

static void start(bool cuda)
{
    char path[4096];
    const char *build = getenv("TENSORD_BUILD");
    snprintf(path, sizeof path, "%s/tensord-cuda-emulated.so", build ? build : "build/plain");
    setenv("TENSORD_CUDA_PLUGIN", path, 1);
    assert_int_equal(daemon_start(&daemons[cuda],
                                  (const char *const[]){"--device", cuda ? "cuda:0" : "cpu", "--memory", "96M", NULL}),
                     0);
}

static int start_both(void **state)
{
    (void)state;
    start(false);
    start(true);
    return 0;
}

static int stop_both(void **state)
{
    (void)state;
    return daemon_stop(&daemons[0]) || daemon_stop(&daemons[1]);
}

static td_session *session_on(int cuda)
{
    td_session *s = td_open(daemons[cuda].address);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    return s;
}

/* The error that stands is one of memory and says all of it, in this order; what it advises has hint. It is cleared. */
static void expect_shortage(td_session *s, const char *const *said, const char *hint)
{
    const td_error_info *e = td_error(s);
    assert_int_equal(e->code, TD_E_MEMORY);
    const char *at = e->message;
    for (; *said; said++) {
        const char *found = strstr(at, *said);
        if (!found)
            fail_msg("'%s' does not stand where it should in '%s'", *said, e->message);
        at = found + strlen(*said);
    }
    if (!strstr(e->hint, hint))
        fail_msg("'%s' does not stand in '%s'", hint, e->hint);
    td_clear_error(s);
}
#define SAYS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void who_holds_what_is_told(void **state)
{
    (void)state;
    for (int cuda = 0; cuda < 2; cuda++) {
        td_session *s = session_on(cuda), *other = session_on(cuda);
        char here[64], theirs[64];
        td_tensor kept = td_zeros(other, TD_SHAPE(10 * MB));
        td_sync(other);
        td_tensor weight = td_ones(s, TD_SHAPE(20 * MB), .requires_grad = true);
        td_tensor some[3];
        for (int k = 0; k < 3; k++)
            some[k] = td_zeros(s, TD_SHAPE(8 * MB));
        snprintf(here, sizeof here, "test_shortage.c:%d 24.0, test_shortage.c:%d 20.0", __LINE__ - 1, __LINE__ - 4);
        snprintf(theirs, sizeof theirs, "10.0 by 1 other (test_shortage, process %d)", (int)getpid());
        td_tensor large = td_zeros(s, TD_SHAPE(60 * MB)), y = td_relu(large);
        expect_shortage(s,
                        SAYS("60.000 MB do not fit: of 100.7 MB for tensors 54.0 are in use, 44.0 by this session",
                             "parameters 20.0, gradients 0.0, kept by graphs 0.0, other 24.0", theirs,
                             "the largest free piece has ", "of this session most are ", here),
                        "Release tensors");
        assert_true(isnan(td_item(td_select(y, 0, 0)))); /* whose operand is an error value */
        td_clear_error(s);
        for (int k = 0; k < 3; k++)
            td_release(some[k]);
        assert_true(td_item(td_sum(td_zeros(s, TD_SHAPE(30 * MB)))) == 0);
        assert_int_equal(td_error(s)->code, TD_E_OK);
        assert_true(td_ok(weight) && td_ok(kept));
        assert_int_equal(td_close(s), 0);
        assert_int_equal(td_close(other), 0);
        daemon_wait_empty(&daemons[cuda]);
    }
}

static void what_can_be_done_is_told(void **state)
{
    (void)state;
    for (int cuda = 0; cuda < 2; cuda++) {
        td_session *s = session_on(cuda), *other = session_on(cuda);
        td_zeros(s, TD_SHAPE(1 << 20, 1 << 20));
        expect_shortage(s, SAYS("MB do not fit: of 100.7 MB for tensors 0.0 are in use;"), "more than there is");
        td_tensor kept = td_zeros(other, TD_SHAPE(80 * MB));
        td_sync(other);
        td_zeros(s, TD_SHAPE(60 * MB));
        expect_shortage(s, SAYS("80.0 are in use, 80.0 by 1 other"), "Others hold most");
        td_release(kept);
        td_sync(other);
        {
            TD_SCOPE(s);
            td_tensor x = td_ones(s, TD_SHAPE(MB), .requires_grad = true);
            for (int k = 0; k < 70; k++)
                x = td_sin(td_take(x));
            td_sync(s);
            td_zeros(s, TD_SHAPE(40 * MB));
            expect_shortage(s, SAYS("kept by graphs 70.0"), "TD_CHECKPOINT");
        }
        td_tensor pieces[9];
        for (int k = 0; k < 9; k++)
            pieces[k] = td_zeros(s, TD_SHAPE(10 * MB));
        for (int k = 0; k < 9; k += 2)
            td_release(pieces[k]);
        td_zeros(s, TD_SHAPE(48 * MB));
        expect_shortage(s, SAYS("40.0 are in use"), "in pieces");
        assert_int_equal(td_close(s), 0);
        assert_int_equal(td_close(other), 0);
        daemon_wait_empty(&daemons[cuda]);
    }
}

/* What is more than there is does not cost what is kept for later. */
static void what_cannot_be_done_costs_nothing(void **state)
{
    (void)state;
    for (int cuda = 0; cuda < 2; cuda++) {
        td_session *s = session_on(cuda);
        td_release(td_keep(td_zeros(s, TD_SHAPE(60 * MB))));
        td_memory_info before = td_memory(s);
        assert_true(before.reserved >= 60000000 && before.device_allocated == 0);
        td_zeros(s, TD_SHAPE(101 * MB));
        expect_shortage(s, SAYS("101.000 MB do not fit: of 100.7 MB"), "more than there is");
        td_sort(td_expand(td_zeros(s, TD_SHAPE(1)), TD_SHAPE(48 * MB))); /* values, and places of twice their size */
        expect_shortage(s, SAYS("144.000 MB do not fit: of 100.7 MB"), "more than there is");
        td_memory_info after = td_memory(s);
        assert_true(after.reserved == before.reserved && after.device_allocated == 0);
        assert_int_equal(td_close(s), 0);
        daemon_wait_empty(&daemons[cuda]);
    }
}

/* All of it was taken from the device for small ones: then it is there for a large one, too. */
static void what_is_released_is_there_in_any_size(void **state)
{
    (void)state;
    for (int cuda = 0; cuda < 2; cuda++) {
        td_session *s = session_on(cuda);
        td_tensor small[90];
        for (int k = 0; k < 90; k++)
            small[k] = td_zeros(s, TD_SHAPE(MB));
        for (int k = 0; k < 90; k++)
            td_release(small[k]);
        for (int k = 0; k < 3; k++)
            assert_true(td_item(td_select(td_ones(s, TD_SHAPE(80 * MB)), 0, -1)) == 1);
        assert_int_equal(td_error(s)->code, TD_E_OK);
        assert_int_equal(td_close(s), 0);
        daemon_wait_empty(&daemons[cuda]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_holds_what_is_told),
        cmocka_unit_test(what_can_be_done_is_told),
        cmocka_unit_test(what_cannot_be_done_costs_nothing),
        cmocka_unit_test(what_is_released_is_there_in_any_size),
    };
    return cmocka_run_group_tests_name("shortage", tests, start_both, stop_both);
}
