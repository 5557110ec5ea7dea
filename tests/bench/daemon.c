/* The daemon at rest: how soon it is there, and what it keeps. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define SESSIONS 100
#define TENSORS 1000000

/* From fork to the first value read. */
static double start_to_ready(void *data)
{
    struct test_daemon daemon;
    double start = bench_now_s();
    (void)data;
    if (daemon_start(&daemon, (const char *const[]){"--log-level", "warn", NULL}))
        exit(1);
    td_session *s = td_open(daemon.address);
    td_item(td_zeros(s, TD_SHAPE()));
    double seconds = bench_now_s() - start;
    td_close(s);
    if (daemon_stop(&daemon))
        exit(1);
    return seconds;
}

static void report_sessions(const struct test_daemon *daemon, pid_t worker)
{
    td_session *sessions[SESSIONS], *first = td_open(daemon->address);
    td_sync(first);
    double before = bench_memory(worker, "VmRSS");
    for (int k = 0; k < SESSIONS; k++) {
        sessions[k] = td_open(daemon->address);
        td_item(td_zeros(sessions[k], TD_SHAPE())); /* it has worked, and now rests */
    }
    double bytes = (bench_memory(worker, "VmRSS") - before) / SESSIONS;
    bench_report(&(struct bench_row){.what = "memory of an idle session, daemon's side",
                                     .unit = "KiB",
                                     .value = bytes / 1024,
                                     .sense = BENCH_AT_MOST,
                                     .goal = 64});
    for (int k = 0; k < SESSIONS; k++)
        td_close(sessions[k]);
    td_close(first);
}

/* 0-d to 2-d tensors in turn. Their elements take one cache line of the pool each, which the status tells. */
static void report_tensors(const struct test_daemon *daemon, pid_t worker)
{
    td_session *s = td_open(daemon->address);
    struct raw raw = raw_open(daemon);
    td_sync(s);
    double before = bench_memory(worker, "VmRSS"), pool = (double)raw_status(&raw, "device.used_bytes");
    for (int k = 0; k < TENSORS; k++)
        (void)td_zeros(s, k % 3 == 0 ? TD_SHAPE() : k % 3 == 1 ? TD_SHAPE(4) : TD_SHAPE(2, 2));
    td_sync(s);
    double bytes = bench_memory(worker, "VmRSS") - before;
    bytes -= (double)raw_status(&raw, "device.used_bytes") - pool;
    bench_report(&(struct bench_row){.what = "memory of a live tensor beside its elements",
                                     .unit = "bytes",
                                     .value = bytes / TENSORS,
                                     .sense = BENCH_AT_MOST,
                                     .goal = 256});
    raw_close(&raw);
    td_close(s);
}

void bench_daemon(const struct test_daemon *daemon)
{
    pid_t worker = bench_worker(daemon);
    struct bench_result r = bench_rounds(40, 1, (const struct bench_side[]){{"tensord", start_to_ready, NULL}});
    bench_report(&(struct bench_row){.what = "start of the daemon to the first value read",
                                     .unit = "ms",
                                     .value = r.median[0] * 1e3,
                                     .sense = BENCH_AT_MOST,
                                     .goal = 100});
    report_sessions(daemon, worker);
    report_tensors(daemon, worker);
}
