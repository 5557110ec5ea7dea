/* What the black box costs: a record, and all of it at full speed, beside a daemon that records nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"

#include "client/tensord.h"

#define STREAM 200000

struct stream {
    td_session *session;
    pid_t worker;
    td_tensor x, y;
};

static double stream_adds(void *data)
{
    struct stream *s = data;
    double start = bench_now_s();
    for (int k = 0; k < STREAM; k++)
        s->x = td_add(td_take(s->x), s->y);
    td_sync(s->session);
    return (bench_now_s() - start) / STREAM;
}

static double stream_adds_worker(void *data)
{
    struct stream *s = data;
    double start = bench_cpu_s(s->worker);
    stream_adds(s);
    return (bench_cpu_s(s->worker) - start) / STREAM;
}

static struct stream stream_open(const struct test_daemon *daemon)
{
    struct stream s = {.session = td_open(daemon->address), .worker = bench_worker(daemon)};
    s.x = td_zeros(s.session, TD_SHAPE(8));
    s.y = td_ones(s.session, TD_SHAPE(8));
    return s;
}

void bench_blackbox(const struct test_daemon *daemon)
{
    struct test_daemon unrecorded;
    char path[512];
    bench_record();
    snprintf(path, sizeof path, "%s/tests/bench/tensord-unrecorded", getenv("TENSORD_BUILD"));
    char *daemon_path = strdup(getenv("TENSORD_BIN"));
    setenv("TENSORD_BIN", path, 1);
    int failed = daemon_start(&unrecorded, (const char *const[]){"--log-level", "warn", NULL});
    setenv("TENSORD_BIN", daemon_path, 1);
    free(daemon_path);
    if (failed)
        return;
    struct stream with = stream_open(daemon), without = stream_open(&unrecorded);
    TD_NO_GRAD(with.session);
    TD_NO_GRAD(without.session);
    struct bench_result r = bench_rounds(
        60, 2, (const struct bench_side[]){{"with", stream_adds, &with}, {"without", stream_adds, &without}});
    bench_report(&(struct bench_row){"tiny adds executed, with the black box and without", "M/s", 1e-6 / r.median[0],
                                     "without", 1e-6 / r.median[1], 1 / r.ratio[1], BENCH_AT_LEAST, 0.97});
    r = bench_rounds(
        60, 2,
        (const struct bench_side[]){{"with", stream_adds_worker, &with}, {"without", stream_adds_worker, &without}});
    bench_report(&(struct bench_row){"one of them on the worker's core", "ns", r.median[0] * 1e9, "without",
                                     r.median[1] * 1e9, r.ratio[1], BENCH_AT_MOST, 1.06});
    td_close(with.session);
    td_close(without.session);
    daemon_stop(&unrecorded);
}
