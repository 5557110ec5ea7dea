/* One training step, 784-128-10, batch 64, resident: through the daemon, by hand in C on the same BLAS, and in PyTorch
 * where it is installed; eager and recorded; and a chain of tiny ops. One thread each. SPDX-License-Identifier:
 * Apache-2.0 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define BATCH 64
#define IN 784
#define HIDDEN 128
#define OUT 10
#define STEPS 25
#define LR 0.01f

static float images[BATCH * IN];
static int64_t labels[BATCH];

static void fill(void)
{
    for (int k = 0; k < BATCH * IN; k++)
        images[k] = (float)drand48() - 0.5f;
    for (int k = 0; k < BATCH; k++)
        labels[k] = lrand48() % OUT;
}

/* ---- by hand ---- */

static struct bare {
    bool adam;
    float w1[IN * HIDDEN], b1[HIDDEN], w2[HIDDEN * OUT], b2[OUT];
    float dw1[IN * HIDDEN], db1[HIDDEN], dw2[HIDDEN * OUT], db2[OUT];
    float mean[IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT], square[IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT];
    float h[BATCH * HIDDEN], y[BATCH * OUT], dh[BATCH * HIDDEN];
    int count;
} bare;

static void multiply(bool a_turned, bool b_turned, int n, int m, int k, const float *a, const float *b, float *c)
{
    cblas_sgemm(CblasRowMajor, a_turned ? CblasTrans : CblasNoTrans, b_turned ? CblasTrans : CblasNoTrans, n, m, k, 1,
                a, a_turned ? n : k, b, b_turned ? k : m, 0, c, m);
}

static void sum_rows(int columns, const float *x, float *sum)
{
    memset(sum, 0, (size_t)columns * sizeof *sum);
    for (int r = 0; r < BATCH; r++)
        for (int c = 0; c < columns; c++)
            sum[c] += x[r * columns + c];
}

/* Scores to d loss / d scores, in place. */
static void softmax_gradient(float *y)
{
    for (int r = 0; r < BATCH; r++, y += OUT) {
        float max = y[0], sum = 0;
        for (int c = 1; c < OUT; c++)
            max = fmaxf(max, y[c]);
        for (int c = 0; c < OUT; c++)
            sum += y[c] = expf(y[c] - max);
        for (int c = 0; c < OUT; c++)
            y[c] = (y[c] / sum - (c == labels[r])) / BATCH;
    }
}

static void update(const struct bare *b, int count, float *w, const float *g, float *mean, float *square)
{
    if (!b->adam) {
        for (int k = 0; k < count; k++)
            w[k] -= LR * g[k];
        return;
    }
    float rate = 0.001f / (1 - powf(0.9f, (float)b->count)), root = 1 / sqrtf(1 - powf(0.999f, (float)b->count));
    for (int k = 0; k < count; k++) {
        mean[k] = 0.9f * mean[k] + 0.1f * g[k];
        square[k] = 0.999f * square[k] + 0.001f * g[k] * g[k];
        w[k] -= rate * mean[k] / (sqrtf(square[k]) * root + 1e-8f);
    }
}

static void bare_step(struct bare *b)
{
    float *mean = b->mean, *square = b->square;
    multiply(false, false, BATCH, HIDDEN, IN, images, b->w1, b->h);
    for (float *h = b->h; h < b->h + BATCH * HIDDEN; h += HIDDEN)
        for (int c = 0; c < HIDDEN; c++) {
            float sum = h[c] + b->b1[c];
            h[c] = sum > 0 ? sum : 0;
        }
    multiply(false, false, BATCH, OUT, HIDDEN, b->h, b->w2, b->y);
    for (int r = 0; r < BATCH; r++)
        for (int c = 0; c < OUT; c++)
            b->y[r * OUT + c] += b->b2[c];
    softmax_gradient(b->y);
    multiply(true, false, HIDDEN, OUT, BATCH, b->h, b->y, b->dw2);
    sum_rows(OUT, b->y, b->db2);
    multiply(false, true, BATCH, HIDDEN, OUT, b->y, b->w2, b->dh);
    for (int k = 0; k < BATCH * HIDDEN; k++)
        b->dh[k] = b->h[k] > 0 ? b->dh[k] : 0;
    multiply(true, false, IN, HIDDEN, BATCH, images, b->dh, b->dw1);
    sum_rows(HIDDEN, b->dh, b->db1);
    b->count++;
    update(b, IN * HIDDEN, b->w1, b->dw1, mean, square);
    update(b, HIDDEN, b->b1, b->db1, mean += IN * HIDDEN, square += IN * HIDDEN);
    update(b, HIDDEN * OUT, b->w2, b->dw2, mean += HIDDEN, square += HIDDEN);
    update(b, OUT, b->b2, b->db2, mean + HIDDEN * OUT, square + HIDDEN * OUT);
}

static double bare_steps(void *data)
{
    double start = bench_now_s();
    for (int k = 0; k < STEPS; k++)
        bare_step(data);
    return (bench_now_s() - start) / STEPS;
}

static void bare_reset(bool adam)
{
    memset(&bare, 0, sizeof bare);
    bare.adam = adam;
    for (int k = 0; k < IN * HIDDEN; k++)
        bare.w1[k] = 0.05f * ((float)drand48() - 0.5f);
    for (int k = 0; k < HIDDEN * OUT; k++)
        bare.w2[k] = 0.1f * ((float)drand48() - 0.5f);
}

/* ---- through the daemon ---- */

struct served {
    td_session *session;
    td_tensor x, target, w1, b1, w2, b2;
    td_optimizer *optimizer;
    td_program *program; /* the step, recorded; NULL: it is eager */
};

static td_tensor leaf(td_session *s, const float *data, struct td_dims shape)
{
    return td_from(s, data, TD_F32, shape, .requires_grad = true);
}

static struct served served_new(const struct test_daemon *daemon)
{
    td_session *s = td_open(daemon->address);
    struct served served = {.session = s,
                            .x = td_from(s, images, TD_F32, TD_SHAPE(BATCH, IN)),
                            .target = td_from(s, labels, TD_I64, TD_SHAPE(BATCH)),
                            .w1 = leaf(s, bare.w1, TD_SHAPE(IN, HIDDEN)),
                            .b1 = leaf(s, bare.b1, TD_SHAPE(HIDDEN)),
                            .w2 = leaf(s, bare.w2, TD_SHAPE(HIDDEN, OUT)),
                            .b2 = leaf(s, bare.b2, TD_SHAPE(OUT))};
    td_list parameters = TD_LIST(served.w1, served.b1, served.w2, served.b2);
    served.optimizer = bare.adam ? td_adam(s, parameters) : td_sgd(s, parameters, .lr = LR);
    return served;
}

static void served_step(const struct served *m)
{
    td_tensor h = td_relu(td_add(td_matmul(m->x, m->w1), m->b1));
    td_tensor loss = td_cross_entropy(td_add(td_matmul(td_take(h), m->w2), m->b2), m->target);
    td_zero_grad(m->optimizer);
    td_backward(td_take(loss));
    td_step(m->optimizer);
}

static double served_steps(void *data)
{
    struct served *m = data;
    double start = bench_now_s();
    for (int k = 0; k < STEPS; k++) {
        if (m->program)
            td_run(m->program, TD_LIST_OF(0, NULL), NULL);
        else
            served_step(m);
    }
    td_sync(m->session);
    return (bench_now_s() - start) / STEPS;
}

/* Both have made the same steps: their weights must agree, or the comparison is of nothing. */
static void check(const struct served *m)
{
    static float w1[IN * HIDDEN];
    double worst = 0;
    td_read(m->w1, w1, TD_F32, IN * HIDDEN);
    for (int k = 0; k < IN * HIDDEN; k++)
        worst = fmax(worst, fabs((double)w1[k] - (double)bare.w1[k]));
    if (!(worst < (bare.adam ? 2e-2 : 1e-4))) { /* after 1500 steps of 1e-3 each, or of 1e-5 */
        fprintf(stderr, "the two trainings differ by %g\n", worst);
        exit(1);
    }
}

/* ---- the rows ---- */

static void compare_steps(const struct test_daemon *daemon, bool adam, bool recorded, double goal, double torch_goal)
{
    char what[64];
    snprintf(what, sizeof what, "MLP 784-128-10 b64, %s step%s", adam ? "Adam" : "SGD", recorded ? ", recorded" : "");
    struct bench_torch torch = {.steps = STEPS};
    bool has_torch = bench_torch_start(&torch, adam ? "adam" : "sgd");
    bare_reset(adam);
    struct served served = served_new(daemon);
    if (recorded) { /* which makes a step */
        served.program = td_record(served.session, TD_LIST_OF(0, NULL));
        served_step(&served);
        td_record_end(served.program, TD_LIST_OF(0, NULL));
        bare_step(&bare);
    }
    struct bench_side sides[] = {
        {"tensord", served_steps, &served}, {"bare C", bare_steps, &bare}, {"torch", bench_torch_steps, &torch}};
    struct bench_result r = bench_rounds(60, has_torch ? 3 : 2, sides);
    check(&served);
    bench_report(&(struct bench_row){what, "us", r.median[0] * 1e6, "bare C", r.median[1] * 1e6, r.ratio[1],
                                     BENCH_AT_MOST, goal});
    if (has_torch) {
        bench_report(&(struct bench_row){what, "us", r.median[0] * 1e6, torch.name, r.median[2] * 1e6, r.ratio[2],
                                         BENCH_AT_MOST, torch_goal});
        bench_torch_stop(&torch);
    } else {
        bench_skip(what, "PyTorch is not installed");
    }
    td_program_free(served.program);
    td_optimizer_free(served.optimizer);
    td_close(served.session);
}

/* ---- a chain of tiny ops ---- */

#define CHAIN 1000

struct chain {
    td_session *session;
    td_tensor w;
    td_program *program;
};

static struct chain chain_new(const struct test_daemon *daemon, bool backward)
{
    td_session *s = td_open(daemon->address);
    struct chain c = {.session = s, .w = td_ones(s, TD_SHAPE(8), .requires_grad = backward)};
    c.program = td_record(s, TD_LIST_OF(0, NULL));
    td_tensor y = td_mul(c.w, 0.999);
    for (int k = 1; k < CHAIN; k++)
        y = td_mul(td_take(y), 0.999);
    if (backward)
        td_backward(td_sum(y));
    td_record_end(c.program, TD_LIST(td_take(y))); /* otherwise nobody would read it, nor a run compute it */
    return c;
}

static double chain_runs(void *data)
{
    struct chain *c = data;
    double start = bench_now_s();
    for (int k = 0; k < STEPS; k++) {
        td_tensor y[1];
        td_run(c->program, TD_LIST_OF(0, NULL), y);
        td_release(y[0]);
    }
    td_sync(c->session);
    return (bench_now_s() - start) / STEPS;
}

static void compare_chain(const struct test_daemon *daemon)
{
    const char *what = "1000 tiny ops, forward and backward, recorded";
    struct bench_torch torch = {.steps = STEPS};
    bool has_torch = bench_torch_start(&torch, "chain");
    struct chain both = chain_new(daemon, true), forward = chain_new(daemon, false);
    struct bench_side sides[] = {{"tensord", chain_runs, &both}, {"torch", bench_torch_steps, &torch}};
    struct bench_side alone[] = {{"tensord", chain_runs, &forward},
                                 {"kernel", bench_tiny_kernel, &(int){STEPS * CHAIN}}};
    struct bench_result r = bench_rounds(40, has_torch ? 2 : 1, sides), f = bench_rounds(40, 2, alone);
    bench_report(&(struct bench_row){"a recorded op of 8 elements, beyond its kernel", "us",
                                     (f.median[0] / CHAIN - f.median[1]) * 1e6, .sense = BENCH_AT_MOST, .goal = 0.25});
    if (has_torch) {
        bench_report(&(struct bench_row){what, "us", r.median[0] * 1e6, torch.name, r.median[1] * 1e6, r.ratio[1],
                                         BENCH_AT_MOST, 0.25});
        bench_torch_stop(&torch);
    } else {
        bench_skip(what, "PyTorch is not installed");
    }
    td_program_free(both.program);
    td_program_free(forward.program);
    td_close(both.session);
    td_close(forward.session);
}

void bench_training(const struct test_daemon *daemon)
{
    openblas_set_num_threads(1);
    fill();
    compare_steps(daemon, false, false, 1.3, 1);
    compare_steps(daemon, true, false, 1.3, 1);
    compare_steps(daemon, false, true, 1.15, 1);
    compare_steps(daemon, true, true, 1.15, 0.5);
    compare_chain(daemon);
    bench_lenet();
}
