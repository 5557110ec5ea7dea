/* Learning-rate schedules against PyTorch's over 100 epochs (golden/schedules.txt, by schedules.py), and what they
 * refuse. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

enum { EPOCHS = 100 };

static double up_and_down(int64_t epoch, void *data)
{
    double most = *(const double *)data, n = (double)(epoch + 1);
    return n < most ? n / most : most / n;
}

/* The cases of schedules.py. */
static td_schedule *make(const char *name, td_optimizer *o)
{
    static double most = 10;
#define CASE(case_name, schedule)  \
    if (!strcmp(name, #case_name)) \
        return schedule;
    CASE(step, td_step_lr(o, 30))
    CASE(step_gamma, td_step_lr(o, 7, .gamma = 0.75))
    CASE(multistep, td_multistep_lr(o, TD_DIMS(30, 80)))
    CASE(multistep_gamma, td_multistep_lr(o, TD_DIMS(0, 5, 5, 60, 200), .gamma = 0.5))
    CASE(exponential, td_exponential_lr(o, 0.95))
    CASE(linear, td_linear_lr(o))
    CASE(linear_down, td_linear_lr(o, .start_factor = 1, .end_factor = 0.125, .total_iters = 60))
    CASE(cosine, td_cosine_annealing_lr(o, 100))
    CASE(cosine_again, td_cosine_annealing_lr(o, 17, .eta_min = 0.001))
    CASE(one_cycle, td_one_cycle_lr(o, 0.5, EPOCHS + 1))
    CASE(one_cycle_linear, td_one_cycle_lr(o, 0.5, EPOCHS + 1, .pct_start = 0.25, .linear = true, .div_factor = 10,
                                           .final_div_factor = 100))
    CASE(one_cycle_three, td_one_cycle_lr(o, 0.5, EPOCHS + 1, .three_phase = true))
    CASE(one_cycle_down, td_one_cycle_lr(o, 0.5, EPOCHS + 1, .pct_start = 0))
    CASE(lambda, td_lambda_lr(o, up_and_down, &most))
    fail_msg("%s: no such case here", name);
    return NULL;
}

static td_tensor parameter(void)
{
    return td_zeros(s, TD_SHAPE(1), .dtype = TD_F64, .requires_grad = true);
}

static void expect_rate(const char *name, int epoch, int group, double got, char **at)
{
    double due = strtod(*at, at);
    if (!(fabs(got - due) <= 1e-12 * fabs(due)))
        fail_msg("%s: the rate of group %d is %.17g at epoch %d where %.17g is due", name, group, got, epoch, due);
}

static void check(const char *name, char *at)
{
    td_tensor a = parameter(), b = parameter();
    td_optimizer *o = td_sgd(s, TD_LIST(a), .lr = 0.1);
    td_add_param_group(o, TD_LIST(b), .lr = 0.02);
    td_schedule *schedule = make(name, o);
    td_backward(td_add(td_sum(a), td_sum(b)));
    double sums[2] = {0};
    for (int epoch = 0; epoch <= EPOCHS; epoch++) {
        for (int group = 0; group < 2; group++) {
            expect_rate(name, epoch, group, td_lr(o, .group = group), &at);
            sums[group] += td_lr(o, .group = group);
        }
        td_step(o);
        if (epoch < EPOCHS)
            td_schedule_step(schedule);
    }
    /* The steps took the rates that td_lr tells: of a gradient of 1, their sum. */
    assert_true(fabs(td_item(a) + sums[0]) <= 1e-13 * sums[0]);
    assert_true(fabs(td_item(b) + sums[1]) <= 1e-13 * sums[1]);
    td_schedule_free(schedule);
    td_optimizer_free(o);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

static void as_pytorch(void **state)
{
    (void)state;
    char path[512], *line = NULL, *at;
    const char *folder = getenv("TENSORD_GOLDEN");
    size_t size = 0, known = 0;
    snprintf(path, sizeof path, "%s/schedules.txt", folder ? folder : "tests/golden");
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
    assert_int_equal(known, 14);
}

static double falling_below(int64_t epoch, void *data)
{
    (void)data;
    return 1 - (double)epoch;
}

#define REFUSED(schedule, words)                      \
    do {                                              \
        td_schedule *refused = schedule;              \
        expect_error(TD_E_ARGUMENT, words, __LINE__); \
        td_schedule_step(refused);                    \
        td_schedule_free(refused);                    \
        assert_int_equal(td_error(s)->code, TD_E_OK); \
        assert_true(td_lr(o) == 0.5);                 \
    } while (0)

static void refusals(void **state)
{
    (void)state;
    td_tensor a = parameter(), b = parameter();
    td_optimizer *o = td_sgd(s, TD_LIST(a), .lr = 0.5);
    REFUSED(td_step_lr(o, 0), "step_lr: step_size is 0 where 1 or more is due");
    REFUSED(td_multistep_lr(o, TD_DIMS(3, -1)), "multistep_lr: milestone 1 is -1");
    REFUSED(td_linear_lr(o, .start_factor = 1.5), "linear_lr: start_factor is 1.5 where 0 to 1 is due");
    REFUSED(td_linear_lr(o, .end_factor = NAN), "linear_lr: end_factor is nan");
    REFUSED(td_linear_lr(o, .total_iters = 0), "linear_lr: total_iters is 0");
    REFUSED(td_cosine_annealing_lr(o, -3), "cosine_annealing_lr: t_max is -3");
    REFUSED(td_one_cycle_lr(o, 0.5, 0), "one_cycle_lr: total_steps is 0");
    REFUSED(td_one_cycle_lr(o, 0, 9), "one_cycle_lr: max_lr is 0 where more than 0 is due");
    REFUSED(td_one_cycle_lr(o, 0.5, 9, .pct_start = -1), "one_cycle_lr: pct_start is -1");
    td_schedule *lambda = td_lambda_lr(o, falling_below, NULL);
    td_schedule_step(lambda);
    td_schedule_step(lambda); /* 0.5 times -1 */
    expect_error(TD_E_ARGUMENT, "set_lr: lr is -0.5 where 0 or more is due", __LINE__ - 1);
    assert_true(td_lr(o) == 0);
    td_schedule_free(lambda);
    td_schedule *cycle = td_one_cycle_lr(o, 0.5, 4);
    assert_int_equal(td_add_param_group(o, TD_LIST(b), .lr = 0.25), 1); /* made later: left alone */
    for (int step = 0; step < 4; step++)
        td_schedule_step(cycle);
    double last = td_lr(o); /* a loop of four batches sets it twice */
    assert_true(fabs(last - 0.5 / 25 / 1e4) < 1e-15);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_schedule_step(cycle);
    expect_error(TD_E_ARGUMENT, "one_cycle_lr: step 5 of 4", __LINE__ - 1);
    assert_true(td_lr(o) == last && td_lr(o, .group = 1) == 0.25);
    td_schedule_free(cycle);
    td_schedule_free(NULL);
    td_optimizer_free(o);
}

/* As other languages call them. */
static void without_macros(void **state)
{
    (void)state;
    td_tensor a = parameter();
    td_optimizer *o = td_sgd(s, TD_LIST(a), .lr = 0.5);
    td_schedule *made[] = {(td_step_lr)(o, 1, NULL),
                           (td_multistep_lr)(o, TD_DIMS(1), NULL),
                           (td_exponential_lr)(o, 0.5),
                           (td_linear_lr)(o, NULL),
                           (td_cosine_annealing_lr)(o, 3, NULL),
                           (td_one_cycle_lr)(o, 0.5, 3, NULL),
                           (td_lambda_lr)(o, falling_below, NULL)};
    for (size_t k = 0; k < sizeof made / sizeof *made; k++) {
        (td_set_lr)(o, 0.5, NULL);
        td_schedule_free(made[k]);
    }
    td_schedule *steps = (td_step_lr)(o, 1, NULL);
    (td_schedule_step)(steps);
    assert_true(fabs((td_lr)(o, NULL) - 0.05) < 1e-15);
    td_schedule_free(steps);
    td_optimizer_free(o);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_pytorch, open_session, close_session),
        cmocka_unit_test_setup_teardown(refusals, open_session, close_session),
        cmocka_unit_test_setup_teardown(without_macros, open_session, close_session),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
