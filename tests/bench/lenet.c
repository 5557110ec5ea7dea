/* One training step of a convolutional network, LeNet on 64 images of 28 x 28: through the daemon, and in PyTorch where
 * it is installed. Eager, one thread each. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define BATCH 64
#define STEPS 5

enum { CONV1, BIAS1, CONV2, BIAS2, FC1, BIAS3, FC2, BIAS4, FC3, BIAS5, PARAMETERS };

struct lenet {
    td_session *session;
    td_tensor x, target, p[PARAMETERS];
    td_optimizer *optimizer;
    double loss;
};

static td_tensor uniform(td_session *s, struct td_dims shape, int inputs)
{
    double bound = 1 / sqrt(inputs);
    td_tensor x = td_mul(td_sub(td_mul(td_rand(s, shape), 2), 1), bound);
    return td_set_requires_grad(td_detach(x), true);
}

static struct lenet lenet_new(const struct test_daemon *daemon)
{
    td_session *s = td_open(daemon->address);
    struct lenet m = {.session = s,
                      .x = td_randn(s, TD_SHAPE(BATCH, 1, 28, 28)),
                      .target = td_randint(s, 0, 10, TD_SHAPE(BATCH)),
                      .p = {uniform(s, TD_SHAPE(6, 1, 5, 5), 25), uniform(s, TD_SHAPE(6), 25),
                            uniform(s, TD_SHAPE(16, 6, 5, 5), 150), uniform(s, TD_SHAPE(16), 150),
                            uniform(s, TD_SHAPE(120, 400), 400), uniform(s, TD_SHAPE(120), 400),
                            uniform(s, TD_SHAPE(84, 120), 120), uniform(s, TD_SHAPE(84), 120),
                            uniform(s, TD_SHAPE(10, 84), 84), uniform(s, TD_SHAPE(10), 84)}};
    m.optimizer = td_sgd(s, TD_LIST_OF(PARAMETERS, m.p), .lr = 0.01, .momentum = 0.9);
    return m;
}

static td_tensor loss_of(const struct lenet *m)
{
    const td_tensor *p = m->p;
    td_tensor h = td_relu(td_conv2d(m->x, p[CONV1], .bias = p[BIAS1], .padding = TD_SHAPE(2)));
    h = td_max_pool2d(h, TD_SHAPE(2)).values;
    h = td_relu(td_conv2d(h, p[CONV2], .bias = p[BIAS2]));
    h = td_flatten(td_max_pool2d(h, TD_SHAPE(2)).values, .start_dim = 1);
    h = td_relu(td_linear(h, p[FC1], .bias = p[BIAS3]));
    h = td_relu(td_linear(h, p[FC2], .bias = p[BIAS4]));
    return td_cross_entropy(td_linear(h, p[FC3], .bias = p[BIAS5]), m->target);
}

static double lenet_steps(void *data)
{
    struct lenet *m = data;
    double start = bench_now_s();
    for (int k = 0; k < STEPS; k++) {
        TD_SCOPE(m->session);
        td_tensor loss = loss_of(m);
        td_zero_grad(m->optimizer);
        td_backward(loss);
        td_step(m->optimizer);
        if (k == STEPS - 1)
            m->loss = td_item(loss);
    }
    td_sync(m->session);
    return (bench_now_s() - start) / STEPS;
}

void bench_lenet(void)
{
    const char *what = "LeNet b64, SGD step with momentum";
    struct bench_torch torch = {.steps = STEPS};
    if (!bench_torch_start(&torch, "lenet")) {
        bench_skip(what, "PyTorch is not installed");
        return;
    }
    struct test_daemon daemon;
    if (daemon_start(&daemon, (const char *const[]){"--threads", "1", "--log-level", "warn", NULL}))
        exit(1);
    struct lenet m = lenet_new(&daemon);
    struct bench_side sides[] = {{"tensord", lenet_steps, &m}, {"torch", bench_torch_steps, &torch}};
    struct bench_result r = bench_rounds(40, 2, sides);
    if (!(m.loss < 2.2)) { /* chance gives 2.3: 64 images begin to be known by heart, or it is no training */
        fprintf(stderr, "the loss is %g after training\n", m.loss);
        exit(1);
    }
    bench_report(&(struct bench_row){what, "us", r.median[0] * 1e6, torch.name, r.median[1] * 1e6, r.ratio[1],
                                     BENCH_AT_MOST, 0.5});
    bench_torch_stop(&torch);
    td_optimizer_free(m.optimizer);
    td_close(m.session);
    if (daemon_stop(&daemon))
        exit(1);
}
