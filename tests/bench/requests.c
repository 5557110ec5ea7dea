/* What a request costs: alone, with its answer awaited, and in a stream. SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"
#include "client/tensord.h"

#define TURNS 500
/* Of a blocking add and read once a session has counted past 65535: the add, the release of the one before and the
 * read, each with its flags and site; the reply's 8 bytes of element with their header. */
#define REQUEST_BYTES 22
#define REPLY_BYTES 33
#define STREAM 200000

struct tiny {
    td_session *session;
    pid_t worker;
    td_tensor x, y;
};

static double blocking_op(void *data)
{
    const struct tiny *tiny = data;
    double start = bench_now_s();
    for (int k = 0; k < TURNS; k++)
        td_item(td_add(tiny->x, tiny->y));
    return (bench_now_s() - start) / TURNS;
}

static double blocking_echo(void *data)
{
    char request[REQUEST_BYTES] = {0}, reply[REPLY_BYTES];
    double start = bench_now_s();
    for (int k = 0; k < TURNS; k++)
        if (!bench_echo(data, request, sizeof request, reply, sizeof reply))
            return 0;
    return (bench_now_s() - start) / TURNS;
}

static double stream_adds(void *data)
{
    struct tiny *tiny = data;
    double start = bench_now_s();
    for (int k = 0; k < STREAM; k++)
        tiny->x = td_add(td_take(tiny->x), tiny->y);
    td_sync(tiny->session);
    return (bench_now_s() - start) / STREAM;
}

static double stream_nothing(void *data)
{
    struct tiny *tiny = data;
    double start = bench_now_s();
    for (int k = 0; k < 4 * STREAM; k++)
        td_manual_seed(tiny->session, 1);
    td_sync(tiny->session);
    return (bench_now_s() - start) / (4 * STREAM);
}

static void report_blocking(const char *what, struct tiny *tiny, struct bench_other *echo)
{
    struct bench_result r =
        bench_rounds(60, 2, (const struct bench_side[]){{"tensord", blocking_op, tiny}, {"echo", blocking_echo, echo}});
    bench_report(&(struct bench_row){what, "us", r.median[0] * 1e6, "libuv echo", r.median[1] * 1e6, r.ratio[1],
                                     BENCH_AT_MOST, 1.15});
}

static double stream_worker(void *data)
{
    struct tiny *tiny = data;
    double start = bench_cpu_s(tiny->worker);
    stream_adds(tiny);
    return (bench_cpu_s(tiny->worker) - start) / STREAM;
}

static void report_rate(const char *what, struct tiny *tiny, double (*run)(void *), double goal)
{
    struct bench_result r = bench_rounds(40, 1, (const struct bench_side[]){{"tensord", run, tiny}});
    bench_report(&(struct bench_row){
        .what = what, .unit = "M/s", .value = 1e-6 / r.median[0], .sense = BENCH_AT_LEAST, .goal = goal});
}

void bench_requests(const struct test_daemon *daemon)
{
    struct tiny tiny = {.session = td_open(daemon->address)};
    struct bench_other echo = bench_echo_start(REQUEST_BYTES, REPLY_BYTES);
    pid_t worker = tiny.worker = bench_worker(daemon);
    TD_NO_GRAD(tiny.session);
    tiny.x = td_zeros(tiny.session, TD_SHAPE(8));
    tiny.y = td_ones(tiny.session, TD_SHAPE(8));
    report_rate("tiny adds executed, one client", &tiny, stream_adds, 4);
    struct bench_result r = bench_rounds(40, 1, (const struct bench_side[]){{"tensord", stream_worker, &tiny}});
    bench_report(&(struct bench_row){.what = "one of them on the worker's core, reading included",
                                     .unit = "ns",
                                     .value = r.median[0] * 1e9,
                                     .sense = BENCH_AT_MOST,
                                     .goal = 250});
    report_rate("requests with nothing to execute, one client", &tiny, stream_nothing, 10);

    tiny.x = td_zeros(tiny.session, TD_SHAPE());
    tiny.y = td_ones(tiny.session, TD_SHAPE());
    bench_pin(worker, 1);
    bench_pin(echo.pid, 1);
    bench_pin(0, 1);
    report_blocking("blocking tiny op, both ends on one core", &tiny, &echo);
    bench_pin(0, 0);
    report_blocking("blocking tiny op, ends on two cores", &tiny, &echo);
    bench_pin(worker, -1);
    bench_pin(0, -1);
    bench_other_stop(&echo);
    td_close(tiny.session);
}
