/* The library's optimisers against PyTorch's over 100 steps (golden/optimizers.txt, by optimizers.py), and what they
 * refuse. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

enum { STEPS = 100, BATCH = 8, INPUTS = 3, OUTPUTS = 2, IDLE = 4, NUMBERS = 8 };

/* The cases of optimizers.py. */
static td_optimizer *make(const char *name, td_list p)
{
#define CASE(case_name, optimizer) \
    if (!strcmp(name, #case_name)) \
        return optimizer;
    CASE(sgd, td_sgd(s, p, .lr = 0.1))
    CASE(sgd_momentum, td_sgd(s, p, .lr = 0.1, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.01))
    CASE(sgd_nesterov, td_sgd(s, p, .lr = 0.1, .momentum = 0.9, .nesterov = true))
    CASE(adam, td_adam(s, p, .lr = 0.05))
    CASE(adam_decay, td_adam(s, p, .lr = 0.05, .beta1 = 0.5, .beta2 = 0.75, .eps = 1e-4, .weight_decay = 0.1))
    CASE(adam_amsgrad, td_adam(s, p, .lr = 0.05, .beta2 = 0.75, .amsgrad = true))
    CASE(adamw, td_adam(s, p, .lr = 0.05, .weight_decay = 0.1, .decoupled = true))
    CASE(adamw_amsgrad,
         td_adam(s, p, .lr = 0.05, .beta2 = 0.75, .weight_decay = 0.1, .decoupled = true, .amsgrad = true))
    CASE(rmsprop, td_rmsprop(s, p))
    CASE(rmsprop_momentum, td_rmsprop(s, p, .alpha = 0.75, .momentum = 0.9, .weight_decay = 0.1))
    CASE(rmsprop_centered, td_rmsprop(s, p, .alpha = 0.9, .eps = 1e-4, .centered = true))
    CASE(rmsprop_both, td_rmsprop(s, p, .alpha = 0.9, .eps = 1e-4, .momentum = 0.5, .centered = true))
    CASE(adagrad, td_adagrad(s, p, .lr = 0.1))
    CASE(adagrad_decay,
         td_adagrad(s, p, .lr = 0.1, .lr_decay = 0.05, .weight_decay = 0.1, .initial_accumulator_value = 0.5))
    if (!strncmp(name, "sgd_clipped", 11) || !strcmp(name, "sgd_averaged"))
        return td_sgd(s, p, .lr = 0.1, .momentum = 0.9);
    CASE(lion, td_lion(s, p, .lr = 0.01))
    CASE(lion_decay, td_lion(s, p, .lr = 0.01, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.1))
    CASE(sgd_scheduled, td_sgd(s, p, .lr = 0.1, .momentum = 0.9))
    CASE(adam_scheduled, td_adam(s, p, .lr = 0.05))
    CASE(rmsprop_scheduled, td_rmsprop(s, p, .lr = 0.02, .momentum = 0.5))
    /* The first parameter, and the others with rates of their own. */
#define GROUPS(case_name, optimizer, ...)                                         \
    if (!strcmp(name, #case_name)) {                                              \
        td_optimizer *o = optimizer;                                              \
        td_add_param_group(o, TD_LIST_OF(p.count - 1, p.items + 1), __VA_ARGS__); \
        return o;                                                                 \
    }
    td_list w = TD_LIST_OF(1, p.items);
    GROUPS(sgd_groups, td_sgd(s, w, .lr = 0.1), .lr = 0.05, .momentum = 0.9, .weight_decay = 0.01)
    GROUPS(sgd_groups_nesterov, td_sgd(s, w, .lr = 0.1, .momentum = 0.9, .nesterov = true), .momentum = 0.5)
    GROUPS(adam_groups, td_adam(s, w, .lr = 0.05), .lr = 0.02, .beta1 = 0.5, .beta2 = 0.75, .eps = 1e-4,
           .weight_decay = 0.1)
    GROUPS(adam_groups_amsgrad, td_adam(s, w, .lr = 0.05, .beta2 = 0.75, .amsgrad = true), .lr = 0.02)
    GROUPS(rmsprop_groups, td_rmsprop(s, w, .lr = 0.01, .centered = true), .lr = 0.02, .alpha = 0.75, .momentum = 0.9)
    GROUPS(adagrad_groups, td_adagrad(s, w, .lr = 0.1), .lr = 0.05, .lr_decay = 0.05, .weight_decay = 0.1)
    GROUPS(lion_groups, td_lion(s, w, .lr = 0.01, .weight_decay = 0.1), .lr = 0.02, .beta1 = 0.8, .beta2 = 0.95)
    GROUPS(adamw_everything, td_adam(s, w, .lr = 0.05, .weight_decay = 0.01, .decoupled = true), .lr = 0.02,
           .beta1 = 0.8, .weight_decay = 0.2)
    fail_msg("%s: no such case here", name);
    return NULL;
}

/* NULL for most. */
static td_schedule *make_schedule(const char *name, td_optimizer *o)
{
    CASE(sgd_scheduled, td_step_lr(o, 30, .gamma = 0.5))
    CASE(adam_scheduled, td_one_cycle_lr(o, 0.1, STEPS + 1))
    CASE(rmsprop_scheduled, td_linear_lr(o, .total_iters = 20))
    CASE(adamw_everything, td_cosine_annealing_lr(o, STEPS, .eta_min = 0.001))
    return NULL;
}

static td_tensor numbers(struct td_dims shape, int seed, bool requires_grad)
{
    double some[BATCH * INPUTS];
    for (int i = 0; i < BATCH * INPUTS; i++)
        some[i] = (double)((i * 7 + seed * 5) % 17 - 8) / 8;
    return td_from(s, some, TD_F64, shape, .requires_grad = requires_grad);
}

static void expect_number(const char *name, const char *what, int k, double got, char **at)
{
    double due = strtod(*at, at);
    if (!(fabs(got - due) <= 1e-9 * (1 + fabs(due))))
        fail_msg("%s: %s %d is %.14g where %.14g is due", name, what, k, got, due);
}

/* What is done to gradients before a step; the norm is compared where there is one. */
static void clip(const char *name, int step, td_list p, char **at)
{
    if (!strcmp(name, "sgd_clipped") || !strcmp(name, "adamw_everything"))
        expect_number(name, "norm", step, td_item(td_clip_grad_norm_(s, p, 0.1)), at);
    else if (!strcmp(name, "sgd_clipped_greatest"))
        expect_number(name, "norm", step, td_item(td_clip_grad_norm_(s, p, 0.0625, .norm_type = INFINITY)), at);
    else if (!strcmp(name, "sgd_clipped_by_value"))
        td_clip_grad_value_(s, p, 0.03125);
}

static void expect_parameters(const char *name, td_list p, char **at)
{
    for (int k = 0; k < p.count; k++) {
        double got[NUMBERS];
        int64_t count = td_read(p.items[k], got, TD_F64, NUMBERS);
        assert_true(count > 0);
        for (int64_t i = 0; i < count; i++)
            expect_number(name, k ? "parameter" : "weight", (int)i, got[i], at);
    }
}

static void check(const char *name, char *at)
{
    TD_SCOPE(s);
    td_tensor x = numbers(TD_SHAPE(BATCH, INPUTS), 1, false), target = numbers(TD_SHAPE(BATCH, OUTPUTS), 2, false);
    td_tensor weight = numbers(TD_SHAPE(INPUTS, OUTPUTS), 3, true), bias = numbers(TD_SHAPE(OUTPUTS), 3, true);
    td_tensor idle = numbers(TD_SHAPE(IDLE), 3, true);
    td_tensor w = td_clone(td_detach(weight)), b = td_clone(td_detach(bias)), i = td_clone(td_detach(idle));
    td_list p = TD_LIST(weight, bias, idle), averages = TD_LIST(w, b, i);
    int64_t before = td_tensor_count(s);
    td_optimizer *o = make(name, p);
    td_schedule *schedule = make_schedule(name, o);
    for (int step = 0; step < STEPS; step++) {
        TD_SCOPE(s);
        td_tensor loss = td_mse_loss(td_tanh(td_add(td_matmul(x, weight), bias)), target);
        expect_number(name, "loss", step, td_item(loss), &at);
        td_zero_grad(o);
        if (step % 7 != 6) {
            td_backward(loss);
            clip(name, step, p, &at);
        }
        td_step(o);
        if (schedule)
            td_schedule_step(schedule);
        td_ema_step_(s, p, averages, 0.9);
    }
    td_schedule_free(schedule);
    td_optimizer_free(o);
    assert_int_equal(td_tensor_count(s), before);
    at = strchr(at, '|') + 1;
    expect_parameters(name, p, &at);
    if (!strcmp(name, "sgd_averaged") || !strcmp(name, "adamw_everything"))
        expect_parameters(name, averages, &at);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

static void as_pytorch(void **state)
{
    (void)state;
    char path[512], *line = NULL, *at;
    const char *folder = getenv("TENSORD_GOLDEN");
    size_t size = 0, known = 0;
    snprintf(path, sizeof path, "%s/optimizers.txt", folder ? folder : "tests/golden");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (getline(&line, &size, file) > 0)
        if (line[0] != '#') {
            char *name = strtok_r(line, " ", &at);
            check(name, at);
            known++;
        }
    fclose(file);
    free(line);
    assert_int_equal(known, 31);
}

#define REFUSED(optimizer, words)                     \
    do {                                              \
        td_optimizer_free(optimizer);                 \
        expect_error(TD_E_ARGUMENT, words, __LINE__); \
    } while (0)

/* What PyTorch's constructors refuse is refused at their line. */
static void refusals(void **state)
{
    (void)state;
    td_list p = TD_LIST(td_zeros(s, TD_SHAPE(2), .requires_grad = true));
    REFUSED(td_sgd(s, p, .lr = -0.5), "sgd_step_: lr is -0.5 where 0 or more is due");
    REFUSED(td_sgd(s, p, .momentum = -1), "momentum is -1");
    REFUSED(td_sgd(s, p, .weight_decay = -0.25), "weight_decay is -0.25");
    REFUSED(td_sgd(s, p, .nesterov = true), "nesterov with momentum 0 and dampening 0");
    REFUSED(td_sgd(s, p, .momentum = 0.5, .dampening = 0.25, .nesterov = true), "momentum 0.5 and dampening 0.25");
    REFUSED(td_adam(s, p, .lr = NAN), "adam_step_: lr is nan");
    REFUSED(td_adam(s, p, .beta1 = 1), "beta1 is 1 where 0 or more and less than 1 is due");
    REFUSED(td_adam(s, p, .beta2 = -0.5), "beta2 is -0.5");
    REFUSED(td_adam(s, p, .eps = -1), "eps is -1");
    REFUSED(td_rmsprop(s, p, .alpha = -0.5), "rmsprop_step_: alpha is -0.5");
    REFUSED(td_rmsprop(s, p, .momentum = -0.5), "momentum is -0.5");
    REFUSED(td_adagrad(s, p, .lr_decay = -0.5), "adagrad_step_: lr_decay is -0.5");
    REFUSED(td_adagrad(s, p, .initial_accumulator_value = -2), "initial_accumulator_value is -2");
    REFUSED(td_lion(s, p, .beta2 = 2), "lion_step_: beta2 is 2");
    td_optimizer *lion = td_lion(s, p, .lr = 0.5);
    td_set_lr(lion, -1);
    expect_error(TD_E_ARGUMENT, "set_lr: lr is -1 where 0 or more is due", __LINE__ - 1);
    td_set_lr(lion, 1, .group = 1);
    expect_error(TD_E_ARGUMENT, "set_lr: group 1 of an optimizer with 1", __LINE__ - 1);
    assert_true(td_lr(lion) == 0.5);
    assert_true(isnan(td_lr(lion, .group = 1)));
    td_optimizer_free(lion);
}

/* The one parameter of a model whose gradient is always 1. */
static td_tensor falling(double value)
{
    return td_full(s, TD_SHAPE(1), value, .dtype = TD_F64, .requires_grad = true);
}

static void fall(td_tensor w)
{
    td_backward(td_sum(w));
}

/* A step uses the rate that had been set when it was sent, however late it runs; nothing waits in between. */
static void rates_in_their_turn(void **state)
{
    (void)state;
    td_tensor w = falling(0);
    td_optimizer *o = td_sgd(s, TD_LIST(w), .lr = 1);
    fall(w);
    td_step(o);
    td_set_lr(o, 0.25);
    assert_true(td_lr(o) == 0.25);
    td_step(o);
    td_step(o);
    td_set_lr(o, 0);
    td_step(o);
    td_set_lr(o, 0.125);
    td_step(o);
    assert_true(td_item(w) == -1 - 0.25 - 0.25 - 0.125);
    double fine = 0.1 + 1e-17 + 1.0 / 3; /* no bit of a rate is lost on the way */
    td_set_lr(o, fine);
    td_fill_(td_detach(w), 0.0);
    td_step(o);
    assert_true(td_item(w) == -fine);
    td_optimizer_free(o);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

/* Each group steps by its own rates, and takes from the optimiser what it does not say. */
static void groups(void **state)
{
    (void)state;
    td_tensor a = falling(0), b = falling(8), c = falling(0), d = falling(0);
    int64_t before = td_tensor_count(s);
    td_optimizer *o = td_sgd(s, TD_LIST(a), .lr = 1);
    td_set_lr(o, 2); /* what is added later begins with the rate that the optimiser was made with */
    assert_int_equal(td_add_param_group(o, TD_LIST(b), .lr = 0.5, .weight_decay = 0.25), 1);
    assert_int_equal(td_add_param_group(o, TD_LIST(c, d), .momentum = 0.5), 2);
    assert_int_equal(td_add_param_group(o, TD_LIST_OF(0, NULL)), 3);
    assert_true(td_lr(o) == 2 && td_lr(o, .group = 1) == 0.5 && td_lr(o, .group = 2) == 1);
    for (int step = 0; step < 2; step++) {
        td_zero_grad(o);
        fall(a);
        fall(b);
        fall(c);
        td_step(o);
    }
    assert_true(td_item(a) == -4);
    assert_true(td_item(b) == 6.5 - 0.5 * (1 + 6.5 * 0.25)); /* 8 - 0.5 (1 + 8 * 0.25) = 6.5 */
    assert_true(td_item(c) == -1 - 1.5);
    assert_true(td_item(d) == 0);
    td_set_lr(o, 0.25, .group = 1);
    assert_true(td_lr(o) == 2 && td_lr(o, .group = 1) == 0.25 && td_lr(o, .group = 2) == 1);
    td_set_lr(o, 0.125);
    for (int group = 0; group < 4; group++)
        assert_true(td_lr(o, .group = group) == 0.125);
    td_zero_grad(o);
    td_step(o); /* no group has a gradient any more */
    assert_true(td_item(a) == -4 && td_item(c) == -2.5);
    td_optimizer_free(o);
    assert_int_equal(td_tensor_count(s), before);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

static void refused_groups(void **state)
{
    (void)state;
    td_tensor a = falling(0), b = falling(0);
    td_optimizer *adam = td_adam(s, TD_LIST(a)), *sgd = td_sgd(s, TD_LIST(a), .momentum = 0.5, .nesterov = true);
    td_add_param_group(adam, TD_LIST(b), .momentum = 0.5);
    expect_error(TD_E_ARGUMENT, "add_param_group: momentum is given, which adam_step_ has not", __LINE__ - 1);
    td_add_param_group(adam, TD_LIST(b), .beta2 = 1);
    expect_error(TD_E_ARGUMENT, "adam_step_: beta2 is 1 where 0 or more and less than 1 is due", __LINE__ - 1);
    td_add_param_group(adam, TD_LIST(b), .lr = -2);
    expect_error(TD_E_ARGUMENT, "adam_step_: lr is -2", __LINE__ - 1);
    td_add_param_group(sgd, TD_LIST(b), .momentum = 0);
    expect_error(TD_E_ARGUMENT, "nesterov with momentum 0", __LINE__ - 1);
    td_add_param_group(adam, TD_LIST(b, a));
    expect_error(TD_E_ARGUMENT, "parameter 1 is in group 0 already", __LINE__ - 1);
    td_add_param_group(adam, TD_LIST(td_add(a, b)));
    expect_error(TD_E_GRAD, "parameter 0 is no leaf: it is the result of add", __LINE__ - 1);
    fall(b);
    td_step(adam); /* none of them has become a parameter */
    td_step(sgd);
    assert_true(td_item(b) == 0);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_optimizer_free(adam);
    td_optimizer_free(sgd);
}

/* What is on the tape keeps the gradient that it was made of; a parameter that is named twice is scaled twice. */
static void clipped_behind_the_tape(void **state)
{
    (void)state;
    td_tensor w = td_full(s, TD_SHAPE(1), 3.0, .requires_grad = true);
    td_backward(td_sum(td_square(w)), .create_graph = true);
    td_tensor y = td_sum(td_square(td_grad(w))); /* (2 w)^2 */
    assert_true(td_item(td_clip_grad_norm_(s, TD_LIST(w), 1)) == 6);
    td_backward(y);
    assert_true(fabs(td_item(td_grad(w)) - (6 / (6 + 1e-6) + 24)) < 1e-5);
    td_tensor v = td_full(s, TD_SHAPE(1), 3.0, .requires_grad = true);
    td_backward(td_sum(td_mul(v, 3)));
    assert_true(fabs(td_item(td_clip_grad_norm_(s, TD_LIST(v, v), 1)) - sqrt(18)) < 1e-5);
    assert_true(fabs(td_item(td_grad(v)) - 3.0 / 18) < 1e-5);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

/* A list without parameters, and steps before there is any gradient. */
static void nothing_to_do(void **state)
{
    (void)state;
    td_tensor w = td_full(s, TD_SHAPE(3), 2.0, .requires_grad = true);
    td_optimizer *o[] = {td_rmsprop(s, TD_LIST_OF(0, NULL), .momentum = 0.5, .centered = true),
                         td_adagrad(s, TD_LIST_OF(0, NULL)),
                         td_lion(s, TD_LIST_OF(0, NULL)),
                         td_adam(s, TD_LIST_OF(0, NULL), .amsgrad = true),
                         td_rmsprop(s, TD_LIST(w), .weight_decay = 0.5),
                         td_adagrad(s, TD_LIST(w), .weight_decay = 0.5),
                         td_lion(s, TD_LIST(w), .weight_decay = 0.5)};
    for (size_t k = 0; k < sizeof o / sizeof *o; k++) {
        td_zero_grad(o[k]);
        td_step(o[k]);
        td_optimizer_free(o[k]);
    }
    assert_int_equal(td_error(s)->code, TD_E_OK);
    assert_true(td_item(td_sum(w)) == 6);
}

/* No gradient, no parameter, and gradients that are not finite. */
static void clipping(void **state)
{
    (void)state;
    td_tensor w = td_full(s, TD_SHAPE(2, 2), 2.0, .requires_grad = true), idle = td_ones(s, TD_SHAPE(3));
    assert_true(td_item(td_clip_grad_norm_(s, TD_LIST_OF(0, NULL), 1)) == 0);
    assert_true(td_item(td_clip_grad_norm_(s, TD_LIST(w, idle), 1)) == 0);
    td_clip_grad_value_(s, TD_LIST_OF(0, NULL), 1);
    td_clip_grad_value_(s, TD_LIST(w, idle), 1);
    td_backward(td_sum(td_mul(w, w)));
    td_tensor kept = td_clone(td_grad(w));
    assert_true(td_item(td_clip_grad_norm_(s, TD_LIST(idle, w), 100)) == 8);
    assert_true(td_item(td_sum(td_grad(w))) == 16); /* untouched */
    assert_true(td_item(td_clip_grad_norm_(s, TD_LIST(w), 4, .norm_type = 1)) == 16);
    assert_true(fabs(td_item(td_sum(td_grad(w))) - 4) < 1e-6);
    td_clip_grad_value_(s, TD_LIST(w), 0.5);
    assert_true(td_item(td_sum(td_grad(w))) == 2);
    assert_true(td_item(td_sum(kept)) == 16 && td_item(td_sum(w)) == 8);
    td_tensor wide = td_full(s, TD_SHAPE(9), 1.5, .dtype = TD_F64, .requires_grad = true);
    td_backward(td_sum(wide));
    td_tensor norm = td_clip_grad_norm_(s, TD_LIST(w, wide), 1); /* of four 0.5 and nine 1 */
    assert_int_equal(td_dtype_of(norm), TD_F64);
    assert_true(fabs(td_item(norm) - sqrt(10)) < 1e-12);
    assert_true(fabs(td_item(td_sum(td_grad(w))) - 2 / sqrt(10)) < 1e-5);
    assert_true(fabs(td_item(td_sum(td_grad(wide))) - 9 / (sqrt(10) + 1e-6)) < 1e-12);
    td_tensor v = td_full(s, TD_SHAPE(2), (double)INFINITY, .requires_grad = true);
    td_backward(td_sum(td_mul(v, v)));
    assert_true(isinf(td_item(td_clip_grad_norm_(s, TD_LIST(w, v), 1))));
    assert_true(td_item(td_sum(td_grad(w))) == 0); /* by the factor 0, as PyTorch's */
    assert_true(isnan(td_item(td_sum(td_grad(v)))));
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_tensor d = td_zeros(s, TD_SHAPE(2), .dtype = TD_F64);
    td_ema_step_(s, TD_LIST(w), TD_LIST(d), 0.5);
    expect_error(TD_E_SHAPE, "state 0 of averages is f64 (2) where its parameter is f32 (2, 2)", __LINE__ - 1);
    td_ema_step_(s, TD_LIST(w), TD_LIST(kept), 1.5);
    expect_error(TD_E_ARGUMENT, "ema_step_: decay is 1.5 where 0 to 1 is due", __LINE__ - 1);
    td_clip_grad_value_(s, TD_LIST(td_to(w, TD_I64)), 1);
    expect_error(TD_E_DTYPE, "clip_grad_value_", __LINE__ - 1);
}

/* One step of training w towards 0 by losses that are scaled, factor times as steep. */
static td_tensor scaled_step(td_scaler scaler, td_optimizer *o, td_tensor w, td_tensor factor)
{
    td_zero_grad(o);
    td_backward(td_scale(scaler, td_sum(td_mul(td_square(w), factor))));
    td_tensor found = td_unscale_(scaler, TD_LIST(w));
    td_step(o);
    td_scaler_update(scaler, found);
    return found;
}

/* An overflow costs its step, and nothing else: neither parameters nor moments nor counts move. */
static void losses_that_are_scaled(void **state)
{
    (void)state;
    td_tensor w = td_full(s, TD_SHAPE(3), 2.0, .requires_grad = true), twin = td_clone(td_detach(w));
    td_set_requires_grad(twin, true);
    td_optimizer *o = td_adam(s, TD_LIST(w), .lr = 0.1), *plain = td_adam(s, TD_LIST(twin), .lr = 0.1);
    td_scaler scaler = td_grad_scaler(s, .init_scale = 1024, .growth_interval = 2);
    const double factors[] = {1, 3, INFINITY, 0.5, NAN, 2, 1, 1},
                 scales[] = {1024, 2048, 1024, 1024, 512, 512, 1024, 1024};
    for (int k = 0; k < 8; k++) {
        td_tensor factor = td_full(s, TD_SHAPE(), factors[k]);
        assert_true(td_item(scaled_step(scaler, o, w, factor)) == !isfinite(factors[k]));
        assert_true(td_item(scaler.scale) == scales[k]);
        if (!isfinite(factors[k])) {
            td_clear_error(s);
            assert_false(td_ok(td_grad(w)) && td_read(td_grad(w), (float[3]){0}, TD_F32, 3) == 3);
            td_clear_error(s);
            continue;
        }
        td_zero_grad(plain);
        td_backward(td_sum(td_mul(td_square(twin), factor)));
        assert_true(td_equal(td_grad(w), td_grad(twin))); /* a power of 2 rounds nothing */
        td_step(plain);
        assert_true(td_equal(w, twin));
    }
    td_optimizer_free(o);
    td_optimizer_free(plain);
    assert_int_equal(td_sync(s), 0);
}

/* The same in a program, which reads nothing back; and gradients that would be 0 in a half. */
static void scaled_in_a_program(void **state)
{
    (void)state;
    td_tensor w = td_full(s, TD_SHAPE(2), 1.0, .dtype = TD_F16, .requires_grad = true);
    td_tensor factor = td_full(s, TD_SHAPE(), 0x1p-24, .dtype = TD_F16), found;
    td_optimizer *o = td_sgd(s, TD_LIST(w), .lr = 1024);
    td_scaler scaler = td_grad_scaler(s, .init_scale = 4096, .growth_interval = 2);
    td_program *program = td_record(s, TD_LIST(factor));
    td_zero_grad(o);
    td_backward(td_scale(scaler, td_mean(td_mul(w, factor))));
    found = td_unscale_(scaler, TD_LIST(w));
    td_scaler_update(scaler, found);
    td_record_end(program, TD_LIST(found));
    assert_true(td_item(found) == 0 && td_item(scaler.scale) == 4096);
    td_tensor again;
    td_run(program, TD_LIST(factor), &again);
    assert_true(td_item(again) == 0 && td_item(scaler.scale) == 8192);
    td_run(program, TD_LIST(td_full(s, TD_SHAPE(), INFINITY, .dtype = TD_F16)), &again);
    assert_true(td_item(again) == 1 && td_item(scaler.scale) == 4096);
    td_program_free(program);
    td_optimizer_free(o);
    assert_int_equal(td_sync(s), 0);
    td_grad_scaler(s, .init_scale = 0);
    expect_error(TD_E_ARGUMENT, "grad_scaler: init_scale is 0", __LINE__ - 1);
    td_grad_scaler(s, .growth_factor = 1);
    expect_error(TD_E_ARGUMENT, "grad_scaler: growth_factor is 1", __LINE__ - 1);
    td_grad_scaler(s, .backoff_factor = 1);
    expect_error(TD_E_ARGUMENT, "grad_scaler: backoff_factor is 1", __LINE__ - 1);
    td_scaler bad = td_grad_scaler(s, .growth_interval = 0);
    expect_error(TD_E_ARGUMENT, "grad_scaler: growth_interval is 0", __LINE__ - 1);
    assert_false(td_ok(td_scale(bad, td_sum(w))));
    td_clear_error(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_pytorch, open_session, close_session),
        cmocka_unit_test_setup_teardown(refusals, open_session, close_session),
        cmocka_unit_test_setup_teardown(rates_in_their_turn, open_session, close_session),
        cmocka_unit_test_setup_teardown(groups, open_session, close_session),
        cmocka_unit_test_setup_teardown(refused_groups, open_session, close_session),
        cmocka_unit_test_setup_teardown(clipping, open_session, close_session),
        cmocka_unit_test_setup_teardown(clipped_behind_the_tape, open_session, close_session),
        cmocka_unit_test_setup_teardown(losses_that_are_scaled, open_session, close_session),
        cmocka_unit_test_setup_teardown(scaled_in_a_program, open_session, close_session),
        cmocka_unit_test_setup_teardown(nothing_to_do, open_session, close_session),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
