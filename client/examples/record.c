/* A training step recorded once and replayed: a step of many small ops is a call and a message for each, a recorded one
 * is one. The weights that come out are those of the plain loop, bit by bit. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <tensord.h>
#include <time.h>

enum { LAYERS = 6, WIDTH = 16, POINTS = 512, BATCH = 16, STEPS = 2000, REPORT = 500 };

#define LR 0.02

struct model {
    td_tensor w[LAYERS], b[LAYERS];
    td_optimizer *adam;
};

static struct model model_new(td_session *s)
{
    struct model m;
    td_tensor parameters[2 * LAYERS];
    td_manual_seed(s, 4); /* both models begin alike, and see the same batches */
    for (int k = 0; k < LAYERS; k++) {
        int64_t in = k ? WIDTH : 1, out = k < LAYERS - 1 ? WIDTH : 1;
        td_tensor drawn = td_mul(td_randn(s, TD_SHAPE(in, out)), 1 / sqrt((double)in));
        parameters[2 * k] = m.w[k] = td_set_requires_grad(td_take(drawn), true);
        parameters[2 * k + 1] = m.b[k] = td_zeros(s, TD_SHAPE(out), .requires_grad = true);
    }
    m.adam = td_adam(s, TD_LIST_OF(2 * LAYERS, parameters), .lr = LR);
    return m;
}

/* One step on a batch drawn by chance: drawn anew in each replay. */
static td_tensor step(td_session *s, const struct model *m, td_tensor x, td_tensor y)
{
    td_tensor batch = td_randint(s, 0, POINTS, TD_SHAPE(BATCH));
    td_tensor h = td_index_select(x, 0, batch);
    for (int k = 0; k < LAYERS; k++) {
        h = td_add(td_matmul(h, m->w[k]), m->b[k]);
        h = k < LAYERS - 1 ? td_tanh(h) : h;
    }
    td_tensor loss = td_mse_loss(h, td_index_select(y, 0, batch));
    td_zero_grad(m->adam);
    td_backward(loss);
    td_step(m->adam);
    return loss;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The rate is on the device, so a replay uses what it is set to; inside of td_record it would be set again each time.
 */
static void set_rate(const struct model *m, int i)
{
    td_set_lr(m->adam, LR * (1 + cos(M_PI * i / STEPS)) / 2);
}

/* Seconds a step. Reading the loss is for the reports only: nothing else waits. */
static double train(td_session *s, const struct model *m, td_tensor x, td_tensor y, bool recorded, double *losses)
{
    td_program *program = NULL;
    double start = now_s();
    for (int i = 0; i < STEPS; i++) {
        TD_SCOPE(s);
        td_tensor loss;
        set_rate(m, i);
        if (!recorded) {
            loss = step(s, m, x, y);
        } else if (i == 0) { /* the first one is carried out and recorded */
            program = td_record(s, TD_LIST_OF(0, NULL));
            loss = step(s, m, x, y);
            td_record_end(program, TD_LIST(loss));
        } else {
            td_run(program, TD_LIST_OF(0, NULL), &loss);
        }
        if (i % REPORT == REPORT - 1)
            losses[i / REPORT] = td_item(loss);
    }
    td_sync(s);
    double seconds = (now_s() - start) / STEPS;
    td_program_free(program);
    return seconds;
}

int main(void)
{
    td_session *s = td_open(NULL);
    td_tensor x = td_mul(td_sub(td_rand(s, TD_SHAPE(POINTS, 1)), 0.5), 6.0), y = td_sin(td_mul(x, 2.0));
    double losses[2][STEPS / REPORT], step_s[2];
    struct model plain = model_new(s);
    step_s[0] = train(s, &plain, x, y, false, losses[0]);
    struct model replayed = model_new(s);
    step_s[1] = train(s, &replayed, x, y, true, losses[1]);

    printf("step   plain     replayed\n");
    for (int k = 0; k < STEPS / REPORT; k++)
        printf("%4d   %.6f  %.6f\n", (k + 1) * REPORT, losses[0][k], losses[1][k]);
    bool same = true;
    for (int k = 0; k < LAYERS; k++)
        same &= td_equal(plain.w[k], replayed.w[k]) && td_equal(plain.b[k], replayed.b[k]);
    printf("\nThe weights are %s.\n", same ? "bit-equal" : "DIFFERENT");
    printf("A step takes %.0f us, a replayed one %.0f us: %.2f times as fast.\n", 1e6 * step_s[0], 1e6 * step_s[1],
           step_s[0] / step_s[1]);
    td_optimizer_free(plain.adam);
    td_optimizer_free(replayed.adam);
    int code = td_close(s);
    return code ? code : !same;
}
