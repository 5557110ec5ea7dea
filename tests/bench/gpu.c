/* The daemon on a GPU against PyTorch in process on the same one (eager; compiled, with CUDA graphs) and against what
 * the device does at best: its copies by cudaMemcpyAsync and its products, which PyTorch asks for. BENCH_SMALL=1 makes
 * the sizes and rounds such that the emulated device and a CPU come to an end; the ratios then mean nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

static td_session *s;
static struct bench_torch torch;
static const char *no_torch; /* why there is none */

/* ---- how much ---- */

static bool is_small(void)
{
    return getenv("BENCH_SMALL") != NULL;
}

#define ROUNDS (is_small() ? 1 : 40)
#define ADDS (is_small() ? 200 : 20000) /* of 8 elements, of a round */
#define ELEMENTS (is_small() ? (int64_t)4096 : (int64_t)1 << 28)
#define PINNED (is_small() ? (int64_t)4096 : (int64_t)1 << 27) /* elements */
#define SIDE (is_small() ? 64 : 8192)
#define CALLS (is_small() ? 2 : 16) /* of large ops before their end is awaited */
#define STEPS (is_small() ? 2 : 25)
#define MLP_BATCH 64
#define BATCH 16
#define LENGTH (is_small() ? 2 : 256) /* of a transformer's sequence */
#define CLIENTS 32
#define OWNED (is_small() ? (int64_t)1024 : (int64_t)16 << 20) /* elements of each of them */

/* ---- sides ---- */

/* PyTorch's side of what, or NULL with why not said in place of a row of this name. */
static struct bench_torch *torch_for(const char *row, const char *what, int64_t size, int steps)
{
    struct bench_torch *side = malloc(sizeof *side);
    *side = torch;
    side->what = what;
    side->size = size;
    side->steps = steps;
    const char *lacks = no_torch ? no_torch : bench_torch_lacks(side);
    if (!lacks)
        return side;
    bench_skip(row, lacks);
    free(side);
    return NULL;
}

static char fault[TD_MESSAGE_BYTES]; /* what a side of ours failed by */

/* Waits, and gives the seconds of one of count pieces of work. */
static double ended(double start, int count)
{
    if (td_sync(s)) {
        snprintf(fault, sizeof fault, "%s", td_error(s)->message);
        td_clear_error(s);
    }
    return (bench_now_s() - start) / count;
}

/* Whether the sides did their work since the last question; if not, that is told in place of a row. */
static bool did_work(const char *row)
{
    bool fine = !fault[0];
    if (!fine)
        bench_skip(row, fault);
    fault[0] = 0;
    return fine;
}

/* Calls of one kind, one after the other, and the end of the last awaited. */
struct calls {
    td_tensor (*op)(void);
    int count;
};

static double run_calls(void *data)
{
    const struct calls *calls = data;
    TD_NO_GRAD(s);
    double start = bench_now_s();
    for (int k = 0; k < calls->count; k++)
        td_release(calls->op());
    return ended(start, calls->count);
}

/* A row of work a second, by both; amounts: of one call. */
static void compare_calls(const char *row, const char *unit, td_tensor (*op)(void), int count, double amount,
                          const char *what, int64_t size, double other_amount, const char *against, double goal)
{
    struct calls calls = {op, count};
    struct bench_torch *other = torch_for(row, what, size, count);
    if (!other)
        return;
    struct bench_result r = bench_rounds(
        ROUNDS, 2, (const struct bench_side[]){{"tensord", run_calls, &calls}, {"torch", bench_torch_steps, other}});
    double scale = amount / other_amount;
    if (did_work(row))
        bench_report(&(struct bench_row){row, unit, amount / r.median[0], against ? against : torch.name,
                                         other_amount / r.median[1], scale / r.ratio[1], BENCH_AT_LEAST, goal});
    free(other);
}

/* ---- single ops ---- */

static td_tensor x, y, a, b, mask;
static float *pinned;

#define OP(name, call)               \
    static td_tensor op_##name(void) \
    {                                \
        return call;                 \
    }
OP(add, td_add(x, y))
OP(exp, td_exp(x))
OP(gelu, td_gelu(x))
OP(where, td_where(mask, x, y))
OP(matmul, td_matmul(a, b))
OP(upload, td_from(s, pinned, TD_F32, TD_SHAPE(PINNED), .non_blocking = true))

static void compare_rate(void)
{
    x = td_zeros(s, TD_SHAPE(8));
    y = td_ones(s, TD_SHAPE(8));
    compare_calls("adds of 8 f32, one client", "M/s", op_add, ADDS, 1e-6, "add", 8, 1e-6, NULL, 1.5);
    td_release(x);
    td_release(y);
}

static void compare_bandwidth(void)
{
    static const struct {
        const char *name;
        td_tensor (*op)(void);
        int bytes; /* read and written, of an element */
    } ops[] = {{"add", op_add, 12}, {"exp", op_exp, 8}, {"gelu", op_gelu, 8}, {"where", op_where, 13}};
    double elements = (double)ELEMENTS * 1e-9;
    x = td_rand(s, TD_SHAPE(ELEMENTS));
    y = td_rand(s, TD_SHAPE(ELEMENTS));
    mask = td_gt(x, 0.5);
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        char row[64];
        snprintf(row, sizeof row, "%s of %lld f32", ops[k].name, (long long)ELEMENTS);
        compare_calls(row, "GB/s", ops[k].op, CALLS, elements * ops[k].bytes, "copy", ELEMENTS, elements * 8,
                      "cudaMemcpyAsync", 0.85);
    }
    td_release(x);
    td_release(y);
    td_release(mask);
}

static void compare_product(void)
{
    char row[64];
    double flop = 2e-12 * pow(SIDE, 3);
    a = td_to(td_randn(s, TD_SHAPE(SIDE, SIDE)), TD_BF16);
    b = td_to(td_randn(s, TD_SHAPE(SIDE, SIDE)), TD_BF16);
    snprintf(row, sizeof row, "bf16 product of %d cubed", SIDE);
    compare_calls(row, "TFLOP/s", op_matmul, CALLS, flop, "matmul", SIDE, flop, NULL, 0.98);
    td_release(a);
    td_release(b);
}

static void compare_upload(void)
{
    const char *row = "upload from pinned memory";
    double bytes = (double)PINNED * sizeof *pinned * 1e-9;
    pinned = td_host_alloc(s, (size_t)PINNED * sizeof *pinned);
    if (pinned && td_host_kind(s, pinned) == TD_HOST_PINNED) {
        memset(pinned, 0, (size_t)PINNED * sizeof *pinned);
        compare_calls(row, "GB/s", op_upload, CALLS, bytes, "upload", PINNED, bytes, "cudaMemcpyAsync", 0.95);
    } else {
        bench_skip(row, "the daemon cannot pin memory");
    }
    td_host_free(s, pinned);
}

/* ---- steps of training ---- */

#define LAYERS (is_small() ? 1 : 4)
#define WIDTH (is_small() ? 32 : 256)
#define HEADS 8
#define PARAMETERS (12 * 4 + 4)

struct model {
    td_tensor x, target, p[PARAMETERS];
    int count;
    td_tensor (*loss)(const struct model *m);
    td_optimizer *optimizer;
    td_program *program; /* the step, recorded */
};

/* Weights and a bias, as PyTorch's Linear draws them. */
static void add_linear(struct model *m, int64_t in, int64_t out)
{
    double bound = 1 / sqrt((double)in);
    td_tensor drawn[] = {td_rand(s, TD_SHAPE(out, in)), td_rand(s, TD_SHAPE(out))};
    for (int k = 0; k < 2; k++)
        m->p[m->count++] = td_set_requires_grad(td_detach(td_mul(td_sub(td_take(drawn[k]), 0.5), 2 * bound)), true);
}

static void add_norm(struct model *m, int64_t width)
{
    m->p[m->count++] = td_ones(s, TD_SHAPE(width), .requires_grad = true);
    m->p[m->count++] = td_zeros(s, TD_SHAPE(width), .requires_grad = true);
}

static td_tensor linear(td_tensor h, const td_tensor *p)
{
    return td_linear(h, p[0], .bias = p[1]);
}

static td_tensor norm(td_tensor h, const td_tensor *p)
{
    return td_layer_norm(h, TD_SHAPE(WIDTH), .weight = p[0], .bias = p[1]);
}

static td_tensor mlp_loss(const struct model *m)
{
    return td_cross_entropy(linear(td_relu(linear(m->x, m->p)), m->p + 2), m->target);
}

static void make_mlp(struct model *m)
{
    m->x = td_randn(s, TD_SHAPE(MLP_BATCH, 784));
    m->target = td_randint(s, 0, 10, TD_SHAPE(MLP_BATCH));
    m->loss = mlp_loss;
    add_linear(m, 784, 128);
    add_linear(m, 128, 10);
}

/* Queries, keys and values of all heads: (batch, length, 3 * width) to three of (batch, heads, length, width). */
static td_tensor attend(td_tensor h, const td_tensor *p)
{
    td_tensor parts = td_reshape(linear(h, p), TD_SHAPE(BATCH, -1, 3, HEADS, WIDTH / HEADS));
    parts = td_permute(parts, TD_DIMS(2, 0, 3, 1, 4));
    td_tensor seen = td_scaled_dot_product_attention(td_select(parts, 0, 0), td_select(parts, 0, 1),
                                                     td_select(parts, 0, 2), .is_causal = true);
    return linear(td_flatten(td_transpose(seen, 1, 2), .start_dim = 2), p + 2);
}

static td_tensor transformer_loss(const struct model *m)
{
    const td_tensor *p = m->p;
    td_tensor h = m->x;
    for (int k = 0; k < LAYERS; k++, p += 12) {
        h = td_add(h, attend(norm(h, p), p + 4));
        h = td_add(h, linear(td_gelu(linear(norm(h, p + 2), p + 8)), p + 10));
    }
    return td_cross_entropy(td_flatten(linear(norm(h, p), p + 2), .end_dim = 1), m->target);
}

static void make_transformer(struct model *m)
{
    m->x = td_randn(s, TD_SHAPE(BATCH, LENGTH, WIDTH));
    m->target = td_randint(s, 0, 256, TD_SHAPE(BATCH * LENGTH));
    m->loss = transformer_loss;
    for (int k = 0; k < LAYERS; k++) {
        add_norm(m, WIDTH);
        add_norm(m, WIDTH);
        add_linear(m, WIDTH, 3 * WIDTH);
        add_linear(m, WIDTH, WIDTH);
        add_linear(m, WIDTH, 4 * WIDTH);
        add_linear(m, 4 * WIDTH, WIDTH);
    }
    add_norm(m, WIDTH);
    add_linear(m, WIDTH, 256);
}

static void step(const struct model *m)
{
    TD_SCOPE(s);
    td_zero_grad(m->optimizer);
    td_backward(m->loss(m));
    td_step(m->optimizer);
}

static double run_eager(void *data)
{
    double start = bench_now_s();
    for (int k = 0; k < STEPS; k++)
        step(data);
    return ended(start, STEPS);
}

static double run_recorded(void *data)
{
    const struct model *m = data;
    double start = bench_now_s();
    for (int k = 0; k < STEPS; k++)
        td_run(m->program, TD_LIST_OF(0, NULL), NULL);
    return ended(start, STEPS);
}

static double loss_now(const struct model *m)
{
    TD_SCOPE(s);
    TD_NO_GRAD(s);
    return td_item(m->loss(m));
}

/* Where there is nothing to compare with it runs all the same, as that it does is worth knowing. size: PyTorch's. */
static void compare_steps(const char *name, const char *what, double (*run)(void *), struct model *m, int64_t size)
{
    char row[96], against[96];
    snprintf(row, sizeof row, "%s, Adam step, %s", name, run == run_eager ? "eager" : "recorded");
    snprintf(against, sizeof against, "%s%s", torch.name, run == run_eager ? "" : " compiled");
    struct bench_torch *other = torch_for(row, what, size, STEPS);
    double before = loss_now(m);
    struct bench_result r = bench_rounds(
        ROUNDS, other ? 2 : 1, (const struct bench_side[]){{"tensord", run, m}, {"torch", bench_torch_steps, other}});
    double after = loss_now(m);
    bool fine = did_work(row);
    if (fine && !(after < before || after < 1e-3)) { /* or it was no training */
        fprintf(stderr, "%s: the loss went from %g to %g\n", row, before, after);
        exit(1);
    }
    if (fine && other)
        bench_report(&(struct bench_row){row, "us", r.median[0] * 1e6, against, r.median[1] * 1e6, r.ratio[1],
                                         BENCH_AT_MOST, 1});
    free(other);
}

static void compare_training(const char *name, void (*make)(struct model *), const char *eager, const char *compiled,
                             int64_t size)
{
    struct model m = {.count = 0};
    make(&m);
    m.optimizer = td_adam(s, TD_LIST_OF(m.count, m.p));
    compare_steps(name, eager, run_eager, &m, size);
    m.program = td_record(s, TD_LIST_OF(0, NULL));
    step(&m);
    td_record_end(m.program, TD_LIST_OF(0, NULL));
    compare_steps(name, compiled, run_recorded, &m, size);
    td_program_free(m.program);
    td_optimizer_free(m.optimizer);
}

/* ---- many clients, and a worker that ends ---- */

/* Bytes that all processes hold of the GPU, by the driver; by the daemon where there is no nvidia-smi. */
static double device_bytes(bool *by_driver)
{
    double mib = 0;
    FILE *pipe = popen("nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits --id=0 2>&1", "r");
    *by_driver = pipe && fscanf(pipe, "%lf", &mib) == 1;
    if (pipe)
        pclose(pipe);
    return *by_driver ? mib * (1 << 20) : (double)td_memory(s).reserved;
}

/* What a client does, with one tensor left. */
static void work(td_session *client)
{
    td_tensor own = td_ones(client, TD_SHAPE(OWNED / 32, 32), .requires_grad = true);
    TD_SCOPE(client);
    td_tensor w = td_rand(client, TD_SHAPE(32, 1));
    td_item(td_sum(td_matmul(own, w)));
}

static void report_clients(const struct test_daemon *daemon)
{
    td_session *clients[CLIENTS], *first[4];
    bool by_driver;
    for (int k = 0; k < 4;
         k++) /* what a stream needs to work on stays for all clients that it serves; there are four */
        work(first[k] = td_open(daemon->address));
    double before = device_bytes(&by_driver);
    for (int k = 0; k < CLIENTS; k++)
        work(clients[k] = td_open(daemon->address));
    double bytes = (device_bytes(&by_driver) - before) / CLIENTS - (double)OWNED * sizeof(float);
    bench_report(&(struct bench_row){.what = by_driver ? "memory of a client beside its tensors, of 32"
                                                       : "memory of 32 clients beside tensors, by the daemon",
                                     .unit = "MiB",
                                     .value = bytes / (1 << 20),
                                     .sense = BENCH_AT_MOST,
                                     .goal = 1}); /* 32 MiB is the least that the daemon takes at a time */
    for (int k = 0; k < CLIENTS; k++)
        td_close(clients[k]);
    for (int k = 0; k < 4; k++)
        td_close(first[k]);
}

static void report_restart(const struct test_daemon *daemon)
{
    td_sync(s);
    double start = bench_now_s();
    kill(bench_worker(daemon), SIGKILL);
    while (td_error(s)->code != TD_E_LOST)
        td_sync(s);
    td_clear_error(s);
    if (td_item(td_sum(td_ones(s, TD_SHAPE(4)))) != 4)
        start = NAN;
    bench_report(&(struct bench_row){.what = "end of a worker to the next one's first value",
                                     .unit = "s",
                                     .value = bench_now_s() - start,
                                     .sense = BENCH_AT_MOST,
                                     .goal = 3});
}

void bench_gpu(const struct test_daemon *daemon)
{
    s = td_open(daemon->address);
    if (!bench_torch_start(&torch, NULL))
        no_torch = "PyTorch is not installed";
    td_manual_seed(s, 1);
    compare_rate();
    compare_bandwidth();
    compare_product();
    compare_upload();
    report_clients(daemon);
    report_restart(daemon);
    compare_training("MLP 784-128-10 b64", make_mlp, "mlp", "mlp-compiled", MLP_BATCH);
    char name[64];
    snprintf(name, sizeof name, "transformer %d x (d%d h8 s%d b16)", LAYERS, WIDTH, LENGTH);
    compare_training(name, make_transformer, "transformer", "transformer-compiled", LENGTH);
    if (!no_torch)
        bench_torch_stop(&torch);
    td_close(s);
}
