/* A deep chain of blocks, trained plainly and with TD_CHECKPOINT around stretches of them. Of a stretch only its ends
 * are kept; td_backward computes its inside again when it comes there. Stretches of m of n blocks hold n / m ends and,
 * while td_backward is in one, the inside of m blocks: least about m = sqrt(n). The losses are the same to the last
 * bit, and a step takes about a forward more. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensord.h>
#include <time.h>

enum { BLOCKS = 64, WIDTH = 64, BATCH = 256, STEPS = 4 };

#define END_BYTES (BATCH * WIDTH * sizeof(float)) /* of what goes from block to block */

struct model {
    td_tensor w[BLOCKS], b[BLOCKS];
    td_optimizer *optimizer;
};

static struct model model_new(td_session *s)
{
    struct model m;
    td_tensor parameters[2 * BLOCKS];
    td_manual_seed(s, 3); /* each training begins alike */
    for (int k = 0; k < BLOCKS; k++) {
        td_tensor drawn = td_mul(td_randn(s, TD_SHAPE(WIDTH, WIDTH)), 0.2 / sqrt(WIDTH));
        parameters[2 * k] = m.w[k] = td_set_requires_grad(td_take(drawn), true);
        parameters[2 * k + 1] = m.b[k] = td_zeros(s, TD_SHAPE(WIDTH), .requires_grad = true);
    }
    m.optimizer = td_sgd(s, TD_LIST_OF(2 * BLOCKS, parameters), .lr = 0.01, .momentum = 0.9);
    return m;
}

/* Dropout draws random numbers: computed again they are the same. */
static td_tensor block(const struct model *m, int k, td_tensor x)
{
    td_tensor h = td_gelu(td_add(td_matmul(x, m->w[k]), m->b[k]));
    return td_add(x, td_dropout(h, .p = 0.1));
}

static td_tensor stretch(const struct model *m, int from, int count, td_tensor x)
{
    for (int k = from; k < from + count; k++)
        x = block(m, k, x);
    return x;
}

static td_tensor forward(td_session *s, const struct model *m, td_tensor x, int spacing)
{
    if (!spacing)
        return stretch(m, 0, BLOCKS, x);
    for (int k = 0; k < BLOCKS; k += spacing) {
        TD_CHECKPOINT(s);
        x = td_keep(stretch(m, k, spacing, x));
    }
    return x;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct measured {
    double losses[STEPS], step_s;
    int64_t held_bytes; /* by the graph, before td_backward */
};

static struct measured train(td_session *s, int spacing)
{
    struct measured measured = {.step_s = INFINITY};
    TD_SCOPE(s);
    struct model m = model_new(s);
    td_tensor x = td_randn(s, TD_SHAPE(BATCH, WIDTH)), target = td_roll(x, TD_DIMS(1), .dims = TD_DIMS(1));
    for (int i = 0; i < STEPS; i++) {
        TD_SCOPE(s);
        double start = now_s();
        td_tensor y;
        { /* of what was made on the way only the graph holds anything */
            TD_SCOPE(s);
            y = td_keep(forward(s, &m, x, spacing));
        }
        td_tensor loss = td_mse_loss(y, target);
        if (i == 0) {
            td_graph *graph = td_graph_info(loss);
            measured.held_bytes = graph ? graph->bytes : -1;
            free(graph);
        }
        td_zero_grad(m.optimizer);
        td_backward(loss);
        td_step(m.optimizer);
        measured.losses[i] = td_item(loss);
        if (i > 0) /* the first one counted the graph */
            measured.step_s = fmin(measured.step_s, now_s() - start);
    }
    td_optimizer_free(m.optimizer);
    return measured;
}

int main(void)
{
    static const int spacings[] = {0, 1, 2, 4, 8, 16, 32, 64};
    td_session *s = td_open(NULL);
    struct measured plain = {0};
    int bad = 0;
    printf("%d blocks; what goes from one to the next has %zu KiB\n\n", BLOCKS, END_BYTES >> 10);
    printf("stretch     held by the graph   with one inside   a step   losses\n");
    for (size_t k = 0; k < sizeof spacings / sizeof *spacings; k++) {
        struct measured m = train(s, spacings[k]);
        if (k == 0)
            plain = m;
        bool same = !memcmp(m.losses, plain.losses, sizeof m.losses);
        /* While td_backward is in a stretch it has the inside of that, too, as much as the plain graph has of it. */
        double inside = (double)plain.held_bytes / BLOCKS * spacings[k];
        char name[24] = "none";
        if (spacings[k])
            snprintf(name, sizeof name, "%d block%s", spacings[k], spacings[k] > 1 ? "s" : "");
        printf("%-10s %14.1f MiB %13.1f MiB %5.1f ms   %s\n", name, (double)m.held_bytes / 0x1p20,
               ((double)m.held_bytes + inside) / 0x1p20, 1e3 * m.step_s, same ? "bit-equal" : "DIFFER");
        bad += !same;
    }
    int code = td_close(s);
    return code ? code : bad;
}
