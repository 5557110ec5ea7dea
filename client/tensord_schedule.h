/* Learning-rate schedules, as torch.optim.lr_scheduler has them: the last part of tensord.h.
 *
 *     td_schedule *schedule = td_cosine_annealing_lr(optimizer, 100);
 *     for (int epoch = 0; epoch < 100; epoch++) {
 *         ... td_step(optimizer) ...
 *         td_schedule_step(schedule);
 *     }
 *     td_schedule_free(schedule);
 *
 * A schedule is a function of the epoch and of the rate that a group had when the schedule was made, and sets the
 * groups that there were then: at once for epoch 0, and by td_schedule_step for the next one. td_lr shows what is set.
 * An optimiser follows one schedule at a time, and outlives it. One that is refused leaves the rates as they are; so
 * does a step that would set one below 0, or none. SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORD_H
#include "tensord.h" /* which includes this file again */
#elif !defined TENSORD_SCHEDULE_H
#define TENSORD_SCHEDULE_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_schedule td_schedule; /* what makes one never returns NULL */

struct td_gamma_keywords {
    double gamma;
    TD_KEYWORDS_END
};
/* Times .gamma (0.1) every step_size epochs. */
TD_API td_schedule *td_step_lr(td_optimizer *optimizer, int64_t step_size,
                               const struct td_gamma_keywords *keywords TD_DEFAULT(NULL));
TD_API td_schedule *td_step_lr_at(td_origin origin, td_optimizer *optimizer, int64_t step_size,
                                  const struct td_gamma_keywords *keywords);
/* Times .gamma (0.1) at each of the epochs, TD_DIMS(30, 80): 8 at most. */
TD_API td_schedule *td_multistep_lr(td_optimizer *optimizer, struct td_dims milestones,
                                    const struct td_gamma_keywords *keywords TD_DEFAULT(NULL));
TD_API td_schedule *td_multistep_lr_at(td_origin origin, td_optimizer *optimizer, struct td_dims milestones,
                                       const struct td_gamma_keywords *keywords);
/* Times gamma every epoch. */
TD_API td_schedule *td_exponential_lr(td_optimizer *optimizer, double gamma);
TD_API td_schedule *td_exponential_lr_at(td_origin origin, td_optimizer *optimizer, double gamma);

struct td_linear_lr_keywords {
    double start_factor, end_factor;
    int64_t total_iters;
    TD_KEYWORDS_END
};
/* The rate times a factor that goes from .start_factor (1.0 / 3) to .end_factor (1) in .total_iters (5) epochs, and
 * then stays; both from 0 to 1. */
TD_API td_schedule *td_linear_lr(td_optimizer *optimizer,
                                 const struct td_linear_lr_keywords *keywords TD_DEFAULT(NULL));
TD_API td_schedule *td_linear_lr_at(td_origin origin, td_optimizer *optimizer,
                                    const struct td_linear_lr_keywords *keywords);

struct td_cosine_annealing_lr_keywords {
    double eta_min;
    TD_KEYWORDS_END
};
/* Half a wave of the cosine down to .eta_min (0) in t_max epochs, the other half up again, and so on. */
TD_API td_schedule *td_cosine_annealing_lr(td_optimizer *optimizer, int64_t t_max,
                                           const struct td_cosine_annealing_lr_keywords *keywords TD_DEFAULT(NULL));
TD_API td_schedule *td_cosine_annealing_lr_at(td_origin origin, td_optimizer *optimizer, int64_t t_max,
                                              const struct td_cosine_annealing_lr_keywords *keywords);

struct td_one_cycle_lr_keywords {
    double pct_start, div_factor, final_div_factor;
    bool linear, three_phase;
    TD_KEYWORDS_END
};
/* From max_lr / .div_factor (25) up to max_lr in the part .pct_start (0.3) of total_steps, then down to the first rate
 * / .final_div_factor (1e4); with .three_phase down to the first rate in as many steps as up, and then further. By the
 * cosine, or .linear. A step of it is a batch. All groups get the same rates, and momenta are left as they are (torch's
 * cycle_momentum=False). More steps than total_steps are refused. */
TD_API td_schedule *td_one_cycle_lr(td_optimizer *optimizer, double max_lr, int64_t total_steps,
                                    const struct td_one_cycle_lr_keywords *keywords TD_DEFAULT(NULL));
TD_API td_schedule *td_one_cycle_lr_at(td_origin origin, td_optimizer *optimizer, double max_lr, int64_t total_steps,
                                       const struct td_one_cycle_lr_keywords *keywords);

/* The factor of an epoch; data is what was given with it. */
typedef double td_lr_factor(int64_t epoch, void *data);
/* The rate times what the function says. */
TD_API td_schedule *td_lambda_lr(td_optimizer *optimizer, td_lr_factor *factor, void *data);
TD_API td_schedule *td_lambda_lr_at(td_origin origin, td_optimizer *optimizer, td_lr_factor *factor, void *data);

/* The next epoch. */
TD_API void td_schedule_step(td_schedule *schedule);
TD_API void td_schedule_step_at(td_origin origin, td_schedule *schedule);
/* The rates stay as they are. NULL is fine. */
TD_API void td_schedule_free(td_schedule *schedule);

#ifdef __cplusplus
}
#else
#define TD_GAMMA(...) TD_KEYWORDS(td_gamma, .gamma = 0.1, .td_keywords_only = 0, __VA_ARGS__)
#define td_step_lr(optimizer, step_size, ...) \
    TD_WITH_KEYWORDS(td_schedule *, td_step_lr_at(TD_HERE(0), optimizer, step_size, TD_GAMMA(__VA_ARGS__)))
#define td_multistep_lr(optimizer, milestones, ...) \
    TD_WITH_KEYWORDS(td_schedule *, td_multistep_lr_at(TD_HERE(0), optimizer, milestones, TD_GAMMA(__VA_ARGS__)))
#define td_exponential_lr(optimizer, gamma) td_exponential_lr_at(TD_HERE(0), optimizer, gamma)
#define td_linear_lr(optimizer, ...)                                                                     \
    TD_WITH_KEYWORDS(td_schedule *,                                                                      \
                     td_linear_lr_at(TD_HERE(0), optimizer,                                              \
                                     TD_KEYWORDS(td_linear_lr, .start_factor = 1.0 / 3, .end_factor = 1, \
                                                 .total_iters = 5, .td_keywords_only = 0, __VA_ARGS__)))
#define td_cosine_annealing_lr(optimizer, t_max, ...)                                                           \
    TD_WITH_KEYWORDS(td_schedule *, td_cosine_annealing_lr_at(TD_HERE(0), optimizer, t_max,                     \
                                                              TD_KEYWORDS(td_cosine_annealing_lr, .eta_min = 0, \
                                                                          .td_keywords_only = 0, __VA_ARGS__)))
#define td_one_cycle_lr(optimizer, max_lr, total_steps, ...)                                             \
    TD_WITH_KEYWORDS(td_schedule *,                                                                      \
                     td_one_cycle_lr_at(TD_HERE(0), optimizer, max_lr, total_steps,                      \
                                        TD_KEYWORDS(td_one_cycle_lr, .pct_start = 0.3, .div_factor = 25, \
                                                    .final_div_factor = 1e4, .td_keywords_only = 0, __VA_ARGS__)))
#define td_lambda_lr(optimizer, factor, data) td_lambda_lr_at(TD_HERE(0), optimizer, factor, data)
#define td_schedule_step(schedule) td_schedule_step_at(TD_HERE(0), schedule)
#endif

#endif
