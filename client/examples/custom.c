/* A small network trained twice on two rings of points: with the custom functions of custom.h, and with the built-in
 * ops that they imitate. Before the training the gradients of both are compared, first and second ones; after it, what
 * both have learned. SPDX-License-Identifier: Apache-2.0 */
#include "custom.h"

#include <stdio.h>

enum { POINTS = 256, HIDDEN = 16, PARAMETERS = 8, STEPS = 200, REPORT = 40 };

struct model {
    const struct custom *custom; /* NULL: built-in ops */
    union {
        struct {
            td_tensor w1, b1, scale, shift, w2, b2, w3, b3;
        };
        td_tensor parameters[PARAMETERS];
    };
    td_tensor mean, var; /* running */
};

static td_tensor weights(td_session *s, int64_t out, int64_t in)
{
    return td_mul(td_randn(s, TD_SHAPE(out, in)), sqrt(2.0 / (double)in));
}

static struct model model_new(td_session *s, const struct custom *custom)
{
    td_manual_seed(s, 1); /* both models begin alike */
    struct model m = {
        .custom = custom,
        .w1 = weights(s, HIDDEN, 2),
        .b1 = td_zeros(s, TD_SHAPE(HIDDEN)),
        .scale = td_ones(s, TD_SHAPE(HIDDEN)),
        .shift = td_zeros(s, TD_SHAPE(HIDDEN)),
        .w2 = weights(s, HIDDEN, HIDDEN),
        .b2 = td_zeros(s, TD_SHAPE(HIDDEN)),
        .w3 = weights(s, 1, HIDDEN),
        .b3 = td_zeros(s, TD_SHAPE(1)),
        .mean = td_zeros(s, TD_SHAPE(HIDDEN)),
        .var = td_ones(s, TD_SHAPE(HIDDEN)),
    };
    for (int k = 0; k < PARAMETERS; k++)
        td_set_requires_grad(m.parameters[k], true);
    return m;
}

static td_tensor linear(const struct model *m, td_tensor x, td_tensor w, td_tensor b)
{
    return m->custom ? td_apply(m->custom->linear, x, w, b) : td_linear(x, w, .bias = b);
}

static td_tensor batch_norm(const struct model *m, td_tensor x, bool training)
{
    if (m->custom)
        return custom_batch_norm(m->custom, TD_LIST(x, m->scale, m->shift, m->mean, m->var), training);
    return td_batch_norm(x, .weight = m->scale, .bias = m->shift, .running_mean = m->mean, .running_var = m->var,
                         .training = training);
}

/* How likely each point of x (n, 2) is of the outer ring: (n). */
static td_tensor model_run(const struct model *m, td_tensor x, bool training)
{
    const struct custom *f = m->custom;
    td_tensor h = batch_norm(m, linear(m, x, m->w1, m->b1), training);
    h = f ? td_apply(f->gelu, h) : td_gelu(h);
    h = linear(m, h, m->w2, m->b2);
    h = f ? td_apply(f->relu, h) : td_relu(h);
    h = linear(m, h, m->w3, m->b3);
    return td_reshape(f ? td_apply(f->sigmoid, h) : td_sigmoid(h), TD_SHAPE(-1));
}

/* Points around two circles, the inner ones of class 0. */
static td_tensor rings(td_session *s, td_tensor *classes)
{
    td_tensor angle = td_mul(td_rand(s, TD_SHAPE(POINTS)), 2 * M_PI);
    *classes = td_to(td_ge(td_arange(s, 0, POINTS), POINTS / 2), TD_F32);
    td_tensor radius = td_add(td_add(*classes, 1.0), td_mul(td_randn(s, TD_SHAPE(POINTS)), 0.15));
    return td_stack(TD_LIST(td_mul(radius, td_cos(angle)), td_mul(radius, td_sin(angle))), .dim = 1);
}

/* ---- the gradients of both, beside each other ---- */

static const char *const names[PARAMETERS] = {"w1", "b1", "scale", "shift", "w2", "b2", "w3", "b3"};

/* d loss / d parameters, and d (sum of the squares of that of w1) / d parameters. */
static void derive(td_session *s, struct model *m, td_tensor x, td_tensor classes, td_tensor *first, td_tensor *second)
{
    const td_list parameters = TD_LIST_OF(PARAMETERS, m->parameters);
    td_tensor loss = td_binary_cross_entropy(model_run(m, x, true), classes);
    td_grads_of(TD_LIST(loss), parameters, first, .create_graph = true);
    td_grads_of(TD_LIST(td_sum(td_square(first[0]))), parameters, second, .allow_unused = true);
    TD_NO_GRAD(s);
    td_fill_(m->mean, 0.0);
    td_fill_(m->var, 1.0);
}

/* Sums of 256 floats in another order differ in the last bits. So does b1's gradient from 0, which it is: the batch
 * norm behind takes out what is the same for all points. */
static int compare(td_session *s, struct model *custom, struct model *built_in, td_tensor x, td_tensor classes)
{
    td_tensor first[2][PARAMETERS], second[2][PARAMETERS];
    int bad = 0;
    TD_SCOPE(s);
    derive(s, custom, x, classes, first[0], second[0]);
    derive(s, built_in, x, classes, first[1], second[1]);
    printf("gradients  first   second\n");
    for (int k = 0; k < PARAMETERS; k++) {
        bool same = td_allclose(first[0][k], first[1][k], .rtol = 1e-4, .atol = 1e-6);
        bool again = td_allclose(second[0][k], second[1][k], .rtol = 1e-4, .atol = 1e-6);
        printf("%-9s  %-6s  %s\n", names[k], same ? "equal" : "DIFFER", again ? "equal" : "DIFFER");
        bad += !same + !again;
    }
    return bad;
}

/* ---- training ---- */

static double right(td_session *s, struct model *m, td_tensor x, td_tensor classes)
{
    TD_SCOPE(s);
    TD_NO_GRAD(s);
    td_tensor outer = td_gt(model_run(m, x, false), 0.5);
    return td_item(td_mean(td_to(td_eq(outer, td_to(classes, TD_BOOL)), TD_F32)));
}

static void train(td_session *s, struct model *m, td_tensor x, td_tensor classes, double *losses)
{
    td_optimizer *sgd = td_sgd(s, TD_LIST_OF(PARAMETERS, m->parameters), .lr = 0.1, .momentum = 0.9);
    for (int k = 0; k < STEPS; k++) {
        TD_SCOPE(s);
        td_tensor loss = td_binary_cross_entropy(model_run(m, x, true), classes);
        td_zero_grad(sgd);
        td_backward(loss);
        td_step(sgd);
        if (k % REPORT == 0)
            losses[k / REPORT] = td_item(loss);
    }
    td_optimizer_free(sgd);
}

int main(void)
{
    td_session *s = td_open(NULL);
    struct custom functions = custom_new(s);
    struct model custom = model_new(s, &functions), built_in = model_new(s, NULL);
    td_tensor classes, x = rings(s, &classes);
    double losses[2][STEPS / REPORT];
    int bad = compare(s, &custom, &built_in, x, classes);

    train(s, &custom, x, classes, losses[0]);
    train(s, &built_in, x, classes, losses[1]);
    printf("\nloss       custom  built in\n");
    for (int k = 0; k < STEPS / REPORT; k++)
        printf("step %3d   %.4f  %.4f\n", k * REPORT, losses[0][k], losses[1][k]);
    printf("\n%.0f %% and %.0f %% of the points are told right.\n", 100 * right(s, &custom, x, classes),
           100 * right(s, &built_in, x, classes));
    custom_free(&functions);
    int code = td_close(s);
    return code ? code : bad;
}
