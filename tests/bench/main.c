/* Runs the benchmarks against a daemon of their own; those named as arguments, or all.
 *     make bench [JSON=1] [ONLY=requests,training,kernels,threads,bulk,daemon,schedule,blackbox,gpu]
 * JSON=1 prints one object a line. "gpu" is the only one that serves a GPU, the one that TEST_DEVICE names or cuda:0,
 * and is measured when it is named. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"

static const struct {
    const char *name;
    void (*run)(const struct test_daemon *daemon);
} benches[] = {
    {"requests", bench_requests}, {"training", bench_training}, {"kernels", bench_kernels},
    {"threads", bench_threads},   {"bulk", bench_bulk},         {"daemon", bench_daemon},
    {"schedule", bench_schedule}, {"blackbox", bench_blackbox}, {"gpu", bench_gpu},
};

static bool is_wanted(const char *name)
{
    const char *wish = getenv("ONLY"), *at = wish && *wish ? strstr(wish, name) : NULL;
    if (!wish || !*wish)
        return strcmp(name, "gpu");
    char behind = at ? at[strlen(name)] : 'x';
    return at && (at == wish || at[-1] == ',') && (behind == 0 || behind == ',');
}

int main(void)
{
    for (size_t k = 0; k < sizeof benches / sizeof *benches; k++) {
        struct test_daemon daemon;
        if (!is_wanted(benches[k].name))
            continue;
        if (benches[k].run == bench_gpu)
            setenv("TEST_DEVICE", "cuda:0", 0);
        bench_pin(0, -1); /* the first call notes which cores there are */
        if (daemon_start(&daemon, (const char *const[]){"--log-level", "warn", NULL}))
            return 1;
        benches[k].run(&daemon);
        bench_pin(0, -1);
        if (daemon_stop(&daemon))
            return 1;
    }
    return 0;
}
