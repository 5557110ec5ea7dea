/* Large ops on one thread and on two, by two daemons in turn. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define COUNT ((int64_t)16 << 20)

/* One daemon's end of a comparison. */
struct end {
    struct test_daemon daemon;
    td_session *session;
    td_tensor x, a, b; /* of COUNT elements; factors */
    td_tensor (*op)(const struct end *end);
};

static td_tensor op_add(const struct end *end)
{
    return td_add(end->x, end->x);
}

static td_tensor op_exp(const struct end *end)
{
    return td_exp(end->x);
}

static td_tensor op_sum(const struct end *end)
{
    return td_sum(end->x);
}

static td_tensor op_softmax(const struct end *end)
{
    return td_softmax(end->x, 1);
}

static td_tensor op_matmul(const struct end *end)
{
    return td_matmul(end->a, end->b);
}

static double run(void *data)
{
    struct end *end = data;
    double start = bench_now_s();
    td_tensor y = end->op(end);
    td_sync(end->session);
    double seconds = bench_now_s() - start;
    td_release(y);
    return seconds;
}

static bool begin(struct end *end, const char *threads)
{
    if (daemon_start(&end->daemon, (const char *const[]){"--threads", threads, "--log-level", "warn", NULL}))
        return false;
    end->session = td_open(end->daemon.address);
    end->x = td_rand(end->session, TD_SHAPE(COUNT / 1024, 1024));
    return true;
}

static void make_factors(struct end *end, int64_t n, int64_t k, int64_t m)
{
    end->a = td_rand(end->session, TD_SHAPE(n, k));
    end->b = td_rand(end->session, TD_SHAPE(k, m));
}

static void report(const char *what, struct end *ends, td_tensor (*op)(const struct end *end), double goal)
{
    ends[0].op = ends[1].op = op;
    struct bench_result r =
        bench_rounds(40, 2, (const struct bench_side[]){{"one thread", run, &ends[0]}, {"two", run, &ends[1]}});
    bench_report(&(struct bench_row){what, "ms", r.median[1] * 1e3, "one thread", r.median[0] * 1e3, r.ratio[1],
                                     BENCH_AT_LEAST, goal});
}

/* What memory alone bounds one core can nearly have by itself: there two must not be slower. */
void bench_threads(const struct test_daemon *daemon)
{
    static struct end ends[2];
    (void)daemon;
    if (!begin(&ends[0], "1") || !begin(&ends[1], "2")) {
        bench_skip("two threads against one", "a daemon did not start");
        return;
    }
    report("two threads: add of 16M f32", ends, op_add, 1);
    report("two threads: exp of 16M f32", ends, op_exp, 1.5);
    report("two threads: sum of 16M f32", ends, op_sum, 1);
    report("two threads: softmax of 16384 rows of 1024", ends, op_softmax, 1.7);
    for (int k = 0; k < 2; k++)
        make_factors(&ends[k], 1024, 1024, 1024);
    report("two threads: product of 1024 cubed", ends, op_matmul, 1.7);
    for (int k = 0; k < 2; k++)
        make_factors(&ends[k], 4096, 4096, 1024);
    report("two threads: product of 4096 x 4096 x 1024", ends, op_matmul, 1.7);
    for (int k = 0; k < 2; k++) {
        td_close(ends[k].session);
        daemon_stop(&ends[k].daemon);
    }
}
