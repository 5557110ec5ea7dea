/* A light user beside others: how long a blocking tiny op and a ping take. Measured at the client, so the round trip
 * between two cores is in it, and for the op in the worker too, by its own histogram, whose buckets double; the
 * flooders run on the light client's core at the lowest priority, where they take nothing from it but keep the daemon
 * busy. SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define FLOODERS 8
#define TURNS 1000
#define PAUSE_NS 500000
#define SIDE 8192
/* Negations of 4 MB, 0.2 ms each: two seconds forward and two back. */
#define CHAIN 10000

struct times {
    double all[TURNS * 40];
    int count;
};

static void pause_for_a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static void report_times(const char *what, const char *which, struct times *times, double share, double goal)
{
    char name[96];
    snprintf(name, sizeof name, "%s, %s", what, which);
    bench_median(times->all, times->count); /* sorts */
    bench_report(&(struct bench_row){.what = name,
                                     .unit = "ms",
                                     .value = times->all[(int)(share * (times->count - 1))] * 1e3,
                                     .sense = BENCH_AT_MOST,
                                     .goal = goal});
}

/* ---- flooders ---- */

static void *flood(void *address)
{
    td_session *s = td_open(address);
    TD_NO_GRAD(s);
    td_tensor x = td_zeros(s, TD_SHAPE(4096)), y = td_ones(s, TD_SHAPE(4096));
    for (;;)
        x = td_add(td_take(x), y);
    return NULL;
}

static pid_t start_flooders(const struct test_daemon *daemon)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    for (int k = 0; k < FLOODERS; k++) {
        pthread_t thread;
        pthread_create(&thread, NULL, flood, (void *)(uintptr_t)daemon->address);
    }
    for (;;)
        pause();
}

static void measure_ops(td_session *s, td_tensor x, struct times *times)
{
    (void)s;
    for (times->count = 0; times->count < TURNS;) {
        double start = bench_now_s();
        td_item(td_add(x, x));
        times->all[times->count++] = bench_now_s() - start;
        pause_for_a_moment();
    }
}

/* The same by a raw client, whose session the worker has measured alone: from a request's arrival to its reply. */
static void measure_in_worker(const struct test_daemon *daemon, const char *what)
{
    static const double shares[] = {0.5, 0.99};
    struct raw raw = raw_open(daemon);
    raw_request(&raw, 0, 0, 5, TD_OP_full);
    raw.at = td_write_array(td_write_uint(raw.at, 1), 0);
    raw.at = td_write_int(td_write_real(raw.at, 1), TD_F32);
    for (int k = 0; k < TURNS; k++) {
        double value;
        size_t count;
        raw_request(&raw, 0, 0, 4, TD_OP_add);
        raw.at = td_write_uint(td_write_uint(td_write_uint(raw.at, 2), 1), 1);
        raw_read(&raw, 2, &value, 1, &count);
        raw_request(&raw, 0, 0, 2, TD_R_RELEASE);
        raw.at = td_write_uint(raw.at, 2);
        pause_for_a_moment();
    }
    for (int k = 0; k < 2; k++) {
        char name[96];
        snprintf(name, sizeof name, "%s, in the worker, %g of 100", what, 100 * shares[k]);
        double us = (double)raw_status(&raw, k ? "mine.latency_p99_us" : "mine.latency_p50_us");
        bench_report(&(struct bench_row){
            .what = name, .unit = "ms below", .value = us / 1e3, .sense = BENCH_AT_MOST, .goal = 0.5});
    }
    raw_close(&raw);
}

static void beside_flooders(const struct test_daemon *daemon)
{
    static struct times times;
    td_session *s = td_open(daemon->address);
    td_tensor x = td_ones(s, TD_SHAPE());
    bench_pin(bench_worker(daemon), 1);
    bench_pin(0, 0);
    pid_t flooders = start_flooders(daemon);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    measure_ops(s, x, &times);
    report_times("tiny op beside eight flooders", "median", &times, 0.5, 0.5);
    report_times("tiny op beside eight flooders", "9 of 10", &times, 0.9, 0.5);
    measure_in_worker(daemon, "tiny op beside eight flooders");
    kill(flooders, SIGKILL);
    waitpid(flooders, NULL, 0);
    bench_pin(bench_worker(daemon), -1);
    bench_pin(0, -1);
    td_close(s);
}

/* ---- a backward of two seconds, then a large product ---- */

struct busy {
    const char *address;
    volatile bool walked, done;
};

static void *be_busy(void *data)
{
    struct busy *busy = data;
    td_session *s = td_open(busy->address);
    td_tensor leaf = td_ones(s, TD_SHAPE(1 << 20), .requires_grad = true), y = td_neg(leaf);
    for (int k = 1; k < CHAIN; k++)
        y = td_neg(td_take(y));
    td_backward(td_sum(td_take(y)));
    td_sync(s);
    busy->walked = true;
    td_tensor a = td_ones(s, TD_SHAPE(SIDE, SIDE));
    td_release(td_matmul(a, a));
    td_sync(s);
    td_close(s);
    busy->done = true;
    return NULL;
}

static void ping(struct raw *raw)
{
    uint8_t payload[] = {0xc0, TD_URGENT_PING, 1};
    if (!raw_frame(raw, payload, sizeof payload) || raw_receive(raw, RAW_WAIT_MS) != TD_REPLY_PONG)
        exit(1);
}

static void measure_pings(struct raw *raw, const volatile bool *until, struct times *times)
{
    for (times->count = 0; !*until;) {
        double start = bench_now_s();
        ping(raw);
        times->all[times->count] = bench_now_s() - start;
        times->count += times->count + 1 < (int)(sizeof times->all / sizeof *times->all);
        pause_for_a_moment();
    }
}

static void beside_long_work(const struct test_daemon *daemon)
{
    static struct times walk, product;
    struct busy busy = {.address = daemon->address};
    struct raw raw = raw_open(daemon);
    pthread_t thread;
    if (pthread_create(&thread, NULL, be_busy, &busy))
        exit(1);
    measure_pings(&raw, &busy.walked, &walk);
    measure_pings(&raw, &busy.done, &product);
    pthread_join(thread, NULL);
    report_times("ping beside a long forward and backward", "median", &walk, 0.5, 0.5);
    report_times("ping beside a long forward and backward", "9 of 10", &walk, 0.9, 0.5);
    report_times("ping beside a product of 8192 cubed", "median", &product, 0.5, 0.5);
    report_times("ping beside a product of 8192 cubed", "9 of 10", &product, 0.9, 0.5);
    raw_close(&raw);
}

void bench_schedule(const struct test_daemon *daemon)
{
    beside_flooders(daemon);
    beside_long_work(daemon);
}
