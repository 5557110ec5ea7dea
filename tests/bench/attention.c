/* Attention forward and backward, on one thread: the op, the products that it stands for through the same daemon's ops,
 * and those in PyTorch where it is installed; and the memory that both took. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define HEADS 8
#define LENGTH 1024
#define WIDTH 64
#define ROUNDS 40

struct side {
    struct test_daemon daemon; /* each its own, as a peak is one of a daemon's life */
    td_session *session;
    td_tensor query, key, value;
    bool in_parts;
};

static td_tensor leaf(td_session *s)
{
    return td_set_requires_grad(td_randn(s, TD_SHAPE(HEADS, LENGTH, WIDTH)), true);
}

static void start(struct side *side, bool in_parts)
{
    if (daemon_start(&side->daemon, (const char *const[]){"--threads", "1", "--log-level", "warn", NULL}))
        exit(1);
    td_session *s = side->session = td_open(side->daemon.address);
    td_manual_seed(s, 5);
    side->query = leaf(s);
    side->key = leaf(s);
    side->value = leaf(s);
    side->in_parts = in_parts;
}

static double run(void *data)
{
    const struct side *m = data;
    double begin = bench_now_s();
    TD_SCOPE(m->session);
    td_tensor y =
        m->in_parts
            ? td_matmul(td_softmax(td_matmul(td_mul(m->query, 1 / sqrt(WIDTH)), td_transpose(m->key, -2, -1)), -1),
                        m->value)
            : td_scaled_dot_product_attention(m->query, m->key, m->value);
    td_tensor loss = td_sum(y), of[3];
    td_grads_of(TD_LIST(loss), TD_LIST(m->query, m->key, m->value), of);
    td_sync(m->session);
    return bench_now_s() - begin;
}

static double peak_mb(const struct side *side)
{
    struct raw raw = raw_open(&side->daemon);
    uint64_t bytes = raw_status(&raw, "device.peak_bytes");
    raw_close(&raw);
    return (double)bytes / 1e6;
}

static void stop(struct side *side)
{
    td_close(side->session);
    if (daemon_stop(&side->daemon))
        exit(1);
}

void bench_attention(void)
{
    static struct side whole, parts;
    struct bench_torch torch = {.steps = 1};
    bool has_torch = bench_torch_start(&torch, "attention");
    start(&whole, false);
    start(&parts, true);
    const struct bench_side sides[] = {
        {"tensord", run, &whole}, {"products", run, &parts}, {"torch", bench_torch_steps, &torch}};
    struct bench_result r = bench_rounds(ROUNDS, has_torch ? 3 : 2, sides);
    bench_report(&(struct bench_row){"attention, 8 heads of 1024 x 64, with gradients", "ms", r.median[0] * 1e3,
                                     "its products", r.median[1] * 1e3, r.ratio[1], BENCH_AT_MOST, 1});
    if (has_torch)
        bench_report(&(struct bench_row){"the same", "ms", r.median[0] * 1e3, torch.name, r.median[2] * 1e3, r.ratio[2],
                                         BENCH_AT_MOST, 1});
    else
        bench_skip("the same in PyTorch", "PyTorch is not installed");
    double own = peak_mb(&whole), other = peak_mb(&parts);
    bench_report(&(struct bench_row){"the same, memory at its peak", "MB", own, "its products", other, own / other,
                                     BENCH_AT_MOST, 0.3});
    if (has_torch)
        bench_torch_stop(&torch);
    stop(&whole);
    stop(&parts);
}
