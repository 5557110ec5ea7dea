/* Learning-rate schedules in closed form: the rate of an epoch from that of the beginning.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

typedef double rate_at(const td_schedule *schedule, double first);

struct td_schedule {
    td_optimizer *optimizer;
    rate_at *rate;
    int64_t epoch, steps;           /* steps: of a stair, of half a wave, of a line, or all of a cycle */
    double gamma, from, to;         /* factors, or rates */
    double top, bend;               /* a cycle's greatest rate, and after how many steps it is reached */
    bool linear, three_phase, ends; /* a cycle's; whether there is no step after the last */
    struct td_dims milestones;
    td_lr_factor *factor;
    void *data;
    int count; /* of the groups that it sets; 0: it was refused */
    double *first;
};

static void raise_at(td_origin origin, const td_schedule *schedule, const struct td_failure *failure)
{
    td_session *s = schedule->optimizer->session;
    if (!s)
        return;
    session_enter(s);
    cause_unref(error_make(s, failure, "schedule", origin));
    session_leave(s);
}

static void set_rates(td_origin origin, const td_schedule *schedule)
{
    for (int k = 0; k < schedule->count; k++) {
        const struct td_lr_keywords one = {.group = k};
        td_set_lr_at(origin, schedule->optimizer, schedule->rate(schedule, schedule->first[k]), &one);
    }
}

static td_schedule *schedule_new(td_origin origin, td_optimizer *optimizer, const td_schedule *given,
                                 const struct td_failure *failure)
{
    td_schedule *schedule = malloc(sizeof *schedule);
    int groups = optimizer->group_count;
    if (!schedule || !(*schedule = *given, schedule->first = calloc((size_t)groups, sizeof *schedule->first)))
        abort(); /* a few hundred bytes are not to be had */
    schedule->optimizer = optimizer;
    for (int k = 0; k < groups; k++)
        schedule->first[k] = optimizer->groups[k].lr;
    schedule->count = failure->code ? 0 : groups;
    if (failure->code)
        raise_at(origin, schedule, failure);
    set_rates(origin, schedule);
    return schedule;
}

void td_schedule_step_at(td_origin origin, td_schedule *schedule)
{
    struct td_failure failure = {0};
    if (schedule->ends && schedule->epoch >= schedule->steps && schedule->count) {
        td_fail(&failure, TD_E_ARGUMENT, "one_cycle_lr: step %lld of %lld", (long long)schedule->epoch + 1,
                (long long)schedule->steps);
        raise_at(origin, schedule, &failure);
        return;
    }
    schedule->epoch++;
    set_rates(origin, schedule);
}

void td_schedule_free(td_schedule *schedule)
{
    if (schedule)
        free(schedule->first);
    free(schedule);
}

/* Refuses a length below 1. */
static void check_steps(const char *name, const char *what, int64_t steps, struct td_failure *failure)
{
    if (steps < 1)
        td_fail(failure, TD_E_ARGUMENT, "%s: %s is %lld where 1 or more is due", name, what, (long long)steps);
}

static void check_part(const char *name, const char *what, double part, struct td_failure *failure)
{
    if (!(part >= 0 && part <= 1))
        td_fail(failure, TD_E_ARGUMENT, "%s: %s is %g where 0 to 1 is due", name, what, part);
}

/* ---- the kinds ---- */

static double by_stairs(const td_schedule *schedule, double first)
{
    return first * pow(schedule->gamma, (double)(schedule->epoch / schedule->steps));
}

td_schedule *td_step_lr_at(td_origin origin, td_optimizer *optimizer, int64_t step_size,
                           const struct td_gamma_keywords *keywords)
{
    struct td_failure failure = {0};
    check_steps("step_lr", "step_size", step_size, &failure);
    const td_schedule given = {.rate = by_stairs, .steps = step_size, .gamma = keywords ? keywords->gamma : 0.1};
    return schedule_new(origin, optimizer, &given, &failure);
}

static double by_milestones(const td_schedule *schedule, double first)
{
    int passed = 0;
    for (int64_t k = 0; k < schedule->milestones.count; k++)
        passed += schedule->milestones.v[k] <= schedule->epoch;
    return first * pow(schedule->gamma, passed);
}

td_schedule *td_multistep_lr_at(td_origin origin, td_optimizer *optimizer, struct td_dims milestones,
                                const struct td_gamma_keywords *keywords)
{
    struct td_failure failure = {0};
    if (milestones.count < 0 || milestones.count > TD_RANK_MAX)
        td_fail(&failure, TD_E_LIMIT, "multistep_lr: %lld milestones; the limit is %d", (long long)milestones.count,
                TD_RANK_MAX);
    for (int64_t k = 0; k < milestones.count && !failure.code; k++)
        if (milestones.v[k] < 0)
            td_fail(&failure, TD_E_ARGUMENT, "multistep_lr: milestone %lld is %lld where 0 or more is due",
                    (long long)k, (long long)milestones.v[k]);
    const td_schedule given = {
        .rate = by_milestones, .milestones = milestones, .gamma = keywords ? keywords->gamma : 0.1};
    return schedule_new(origin, optimizer, &given, &failure);
}

td_schedule *td_exponential_lr_at(td_origin origin, td_optimizer *optimizer, double gamma)
{
    const td_schedule given = {.rate = by_stairs, .steps = 1, .gamma = gamma};
    return schedule_new(origin, optimizer, &given, &(struct td_failure){0});
}

static double by_line(const td_schedule *schedule, double first)
{
    int64_t done = schedule->epoch < schedule->steps ? schedule->epoch : schedule->steps;
    return first * (schedule->from + (schedule->to - schedule->from) * (double)done / (double)schedule->steps);
}

td_schedule *td_linear_lr_at(td_origin origin, td_optimizer *optimizer, const struct td_linear_lr_keywords *keywords)
{
    static const struct td_linear_lr_keywords defaults = {.start_factor = 1.0 / 3, .end_factor = 1, .total_iters = 5};
    const struct td_linear_lr_keywords *k = keywords ? keywords : &defaults;
    struct td_failure failure = {0};
    check_steps("linear_lr", "total_iters", k->total_iters, &failure);
    check_part("linear_lr", "start_factor", k->start_factor, &failure);
    check_part("linear_lr", "end_factor", k->end_factor, &failure);
    const td_schedule given = {.rate = by_line, .steps = k->total_iters, .from = k->start_factor, .to = k->end_factor};
    return schedule_new(origin, optimizer, &given, &failure);
}

/* From one rate to another by half a wave; part is how far. */
static double half_wave(double from, double to, double part)
{
    return to + (from - to) * (1 + cos(pi * part)) / 2;
}

static double by_cosine(const td_schedule *schedule, double first)
{
    return half_wave(first, schedule->to, (double)schedule->epoch / (double)schedule->steps);
}

td_schedule *td_cosine_annealing_lr_at(td_origin origin, td_optimizer *optimizer, int64_t t_max,
                                       const struct td_cosine_annealing_lr_keywords *keywords)
{
    struct td_failure failure = {0};
    check_steps("cosine_annealing_lr", "t_max", t_max, &failure);
    const td_schedule given = {.rate = by_cosine, .steps = t_max, .to = keywords ? keywords->eta_min : 0};
    return schedule_new(origin, optimizer, &given, &failure);
}

static double by_cycle(const td_schedule *schedule, double first)
{
    (void)first; /* it begins with a part of its greatest rate */
    double begin = schedule->from, top = schedule->top, end = (double)schedule->steps - 1;
    double now = fmin((double)schedule->epoch, end); /* the step after the last batch, which PyTorch takes beyond it */
    bool three = schedule->three_phase;
    const struct {
        double to, from_rate, to_rate;
    } phases[] = {{schedule->bend - 1, begin, top},
                  {three ? 2 * schedule->bend - 2 : end, top, three ? begin : schedule->to},
                  {end, begin, schedule->to}};
    double start = 0;
    int k = 0;
    for (; k < 1 + three && now > phases[k].to; k++)
        start = phases[k].to;
    double part = (now - start) / (phases[k].to - start), from = phases[k].from_rate, to = phases[k].to_rate;
    return schedule->linear ? (to - from) * part + from : half_wave(from, to, part);
}

td_schedule *td_one_cycle_lr_at(td_origin origin, td_optimizer *optimizer, double max_lr, int64_t total_steps,
                                const struct td_one_cycle_lr_keywords *keywords)
{
    static const struct td_one_cycle_lr_keywords defaults = {
        .pct_start = 0.3, .div_factor = 25, .final_div_factor = 1e4};
    const struct td_one_cycle_lr_keywords *k = keywords ? keywords : &defaults;
    struct td_failure failure = {0};
    check_steps("one_cycle_lr", "total_steps", total_steps, &failure);
    check_part("one_cycle_lr", "pct_start", k->pct_start, &failure);
    if (!(max_lr > 0))
        td_fail(&failure, TD_E_ARGUMENT, "one_cycle_lr: max_lr is %g where more than 0 is due", max_lr);
    const td_schedule given = {.rate = by_cycle,
                               .steps = total_steps,
                               .top = max_lr,
                               .from = max_lr / k->div_factor,
                               .to = max_lr / k->div_factor / k->final_div_factor,
                               .bend = k->pct_start * (double)total_steps,
                               .linear = k->linear,
                               .three_phase = k->three_phase,
                               .ends = true};
    return schedule_new(origin, optimizer, &given, &failure);
}

static double by_function(const td_schedule *schedule, double first)
{
    return first * schedule->factor(schedule->epoch, schedule->data);
}

td_schedule *td_lambda_lr_at(td_origin origin, td_optimizer *optimizer, td_lr_factor *factor, void *data)
{
    const td_schedule given = {.rate = by_function, .factor = factor, .data = data};
    return schedule_new(origin, optimizer, &given, &(struct td_failure){0});
}

/* ---- the functions behind the macros ---- */

td_schedule *(td_step_lr)(td_optimizer *optimizer, int64_t step_size, const struct td_gamma_keywords *keywords)
{
    return td_step_lr_at((td_origin){0}, optimizer, step_size, keywords);
}

td_schedule *(td_multistep_lr)(td_optimizer *optimizer, struct td_dims milestones,
                               const struct td_gamma_keywords *keywords)
{
    return td_multistep_lr_at((td_origin){0}, optimizer, milestones, keywords);
}

td_schedule *(td_exponential_lr)(td_optimizer *optimizer, double gamma)
{
    return td_exponential_lr_at((td_origin){0}, optimizer, gamma);
}

td_schedule *(td_linear_lr)(td_optimizer *optimizer, const struct td_linear_lr_keywords *keywords)
{
    return td_linear_lr_at((td_origin){0}, optimizer, keywords);
}

td_schedule *(td_cosine_annealing_lr)(td_optimizer *optimizer, int64_t t_max,
                                      const struct td_cosine_annealing_lr_keywords *keywords)
{
    return td_cosine_annealing_lr_at((td_origin){0}, optimizer, t_max, keywords);
}

td_schedule *(td_one_cycle_lr)(td_optimizer *optimizer, double max_lr, int64_t total_steps,
                               const struct td_one_cycle_lr_keywords *keywords)
{
    return td_one_cycle_lr_at((td_origin){0}, optimizer, max_lr, total_steps, keywords);
}

td_schedule *(td_lambda_lr)(td_optimizer *optimizer, td_lr_factor *factor, void *data)
{
    return td_lambda_lr_at((td_origin){0}, optimizer, factor, data);
}

void(td_schedule_step)(td_schedule *schedule)
{
    td_schedule_step_at((td_origin){0}, schedule);
}
