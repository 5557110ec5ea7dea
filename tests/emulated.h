/* Daemons on the emulated CUDA devices (tests/cuda), or on those of the plug-in that TEST_PLUGIN names in the build's
 * folder; included once by a test. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_EMULATED_H
#define TD_TESTS_EMULATED_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support.h"

#include "client/tensord.h"

/* What the emulated device is like: emulator.c. NULL: as it should be. */
static inline void device_is(const char *words)
{
    char path[4096];
    const char *build = getenv("TENSORD_BUILD"), *plugin = getenv("TEST_PLUGIN");
    snprintf(path, sizeof path, "%s/%s", build ? build : "build/plain", plugin ? plugin : "tensord-cuda-emulated.so");
    setenv("TENSORD_CUDA_PLUGIN", path, 1);
    setenv("TENSORD_FAKE_CUDA", words ? words : "", 1);
}

/* The daemon's log has a line with both, or soon will. */
static inline void assert_logged(const struct test_daemon *daemon, const char *first, const char *second)
{
    char line[1024];
    bool found = false;
    for (int tries = 0; tries < 500 && !found; tries++) { /* who writes it may be behind whoever has answered */
        FILE *log = fopen(daemon->log, "r");
        assert_non_null(log);
        while (fgets(line, sizeof line, log))
            found |= strstr(line, first) && strstr(line, second);
        fclose(log);
        if (!found)
            usleep(10000);
    }
    if (!found)
        fail_msg("no line of the log has '%s' and '%s'", first, second);
}

/* Runs the daemon until it ends by itself. Its exit status; what it said is in text. */
static inline int run_to_its_end(const char *device, char *text, size_t size)
{
    char command[1024];
    const char *program = getenv("TENSORD_BIN");
    snprintf(command, sizeof command, "exec %s --device %s --listen unix:/tmp/tensord-test-%d --web off 2>&1",
             program ? program : "build/plain/tensord", device, (int)getpid());
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t bytes = fread(text, 1, size - 1, pipe);
    text[bytes] = 0;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What tensorctl prints with the arguments, until it has both words in it. */
static inline void await_printed(const struct test_daemon *daemon, const char *arguments, const char *one,
                                 const char *other)
{
    static char printed[1 << 16];
    char command[1024];
    const char *program = getenv("TENSORCTL_BIN");
    snprintf(command, sizeof command, "TENSORD=%s exec %s %s", daemon->address,
             program ? program : "build/plain/tensorctl", arguments);
    for (int tries = 0; tries < 100; tries++) {
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        printed[fread(printed, 1, sizeof printed - 1, pipe)] = 0;
        assert_int_equal(pclose(pipe), 0);
        if (strstr(printed, one) && strstr(printed, other))
            return;
        usleep(100000);
    }
    fail_msg("'%s' and '%s' do not both stand in: %s", one, other, printed);
}

static inline td_session *open_session(const struct test_daemon *daemon)
{
    td_session *s = td_open(daemon->address);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_manual_seed(s, 7);
    return s;
}

/* A few steps of training, views that are written to, indices, and sizes that data tell. */
static inline void compute(td_session *s, double *to)
{
    td_tensor x = td_randn(s, TD_SHAPE(32, 12)), w = td_randn(s, TD_SHAPE(12, 5), .requires_grad = true);
    td_tensor target = td_randint(s, 0, 5, TD_SHAPE(32));
    td_optimizer *adam = td_adam(s, TD_LIST(w), .lr = 0.05);
    for (int step = 0; step < 5; step++) {
        TD_SCOPE(s);
        td_zero_grad(adam);
        td_tensor loss = td_cross_entropy(td_tanh(td_matmul(x, w)), target);
        td_backward(loss);
        td_step(adam);
        *to++ = td_item(loss);
    }
    td_tensor y = td_arange(s, 0, 4000, .dtype = TD_F64);
    td_fill_(td_slice(y, 0, .start = 10, .end = 4000, .step = 3), -1);
    *to++ = td_item(td_sum(y));
    *to++ = td_item(td_sum(td_masked_select(y, td_gt(y, 3990))));
    *to++ = td_item(td_sum(td_index_select(y, 0, td_flatten(td_nonzero(td_eq(y, 7))))));
    static double back[300000];
    td_tensor large = td_full(s, TD_SHAPE(300000), 2.5, .dtype = TD_F64); /* in more than one chunk */
    assert_int_equal(td_read(large, back, TD_F64, 300000), 300000);
    *to++ = back[0] + back[299999];
    td_optimizer_free(adam);
}
#define COMPUTED 9

#endif
