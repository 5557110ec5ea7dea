/* What optimisers do with one parameter, shared by both floors. Rates are put together in f64 and then used in the
 * parameter's type, as PyTorch does. Without decay a parameter of inf or nan stays out of the rest. Who includes this
 * has included protocol/ops.h. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_STEP_H
#define TD_KERNELS_STEP_H

#include "protocol/dtype.h"
#include "protocol/ops.h"

struct td_sgd {
    double lr, momentum, undamped, weight_decay;
    bool starts, nesterov; /* starts: takes the gradient as the first value of its state */
};

struct td_adam {
    double size, eps, decay, shrink;     /* p = p * shrink - size * m / (sqrt(v) + eps) */
    double beta1, fresh1, beta2, fresh2; /* fresh: 1 - beta */
};

struct td_rmsprop {
    double lr, alpha, fresh, eps, momentum, decay;
};

struct td_adagrad {
    double lr, eps, decay;
};

struct td_lion {
    double lr, beta1, fresh1, beta2, fresh2, shrink;
};

struct td_ema {
    double decay, fresh;
};

/* base^exponent for exponent >= 0: our own, since libm's differs from machine to machine. */
TD_HD static inline double td_power(double base, int64_t exponent)
{
    double result = 1;
    for (; exponent > 0; exponent /= 2) {
        if (exponent % 2)
            result *= base;
        base *= base;
    }
    return result;
}

/* ---- from an op's attributes, its rate and how many steps there have been, this one included ---- */

TD_HD static inline struct td_sgd td_sgd_of(const struct td_sgd_step__attrs *a, double lr, int64_t count)
{
    struct td_sgd s = {lr, a->momentum, 1 - a->dampening, a->weight_decay, count == 1, a->nesterov != 0};
    return s;
}

/* lr / (1 - beta1^t) * m / (sqrt(v) / root + eps) with root taken out of the divisor: a division less an element. */
TD_HD static inline struct td_adam td_adam_of(const struct td_adam_step__attrs *a, double lr, int64_t count)
{
    bool decoupled = a->decoupled != 0;
    double root = __builtin_sqrt(1 - td_power(a->beta2, count));
    struct td_adam s;
    s.size = lr / (1 - td_power(a->beta1, count)) * root;
    s.eps = a->eps * root;
    s.decay = decoupled ? 0 : a->weight_decay;
    s.shrink = decoupled ? 1 - lr * a->weight_decay : 1;
    s.beta1 = a->beta1;
    s.fresh1 = 1 - a->beta1;
    s.beta2 = a->beta2;
    s.fresh2 = 1 - a->beta2;
    return s;
}

TD_HD static inline struct td_rmsprop td_rmsprop_of(const struct td_rmsprop_step__attrs *a, double lr, int64_t count)
{
    struct td_rmsprop s = {lr, a->alpha, 1 - a->alpha, a->eps, a->momentum, a->weight_decay};
    (void)count;
    return s;
}

TD_HD static inline struct td_adagrad td_adagrad_of(const struct td_adagrad_step__attrs *a, double lr, int64_t count)
{
    struct td_adagrad s = {lr / (1 + ((double)count - 1) * a->lr_decay), a->eps, a->weight_decay};
    return s;
}

TD_HD static inline struct td_lion td_lion_of(const struct td_lion_step__attrs *a, double lr, int64_t count)
{
    struct td_lion s = {lr, a->beta1, 1 - a->beta1, a->beta2, 1 - a->beta2, 1 - lr * a->weight_decay};
    (void)count;
    return s;
}

TD_HD static inline struct td_ema td_ema_of(const struct td_ema_step__attrs *a, double lr, int64_t count)
{
    struct td_ema s = {a->decay, 1 - a->decay};
    (void)lr, (void)count; /* it has neither */
    return s;
}

#define STEP(word) word##_f32
#define STEP_T float
#define STEP_SQRT __builtin_sqrtf
#include "kernels/step.inc"

#define STEP(word) word##_f64
#define STEP_T double
#define STEP_SQRT __builtin_sqrt
#include "kernels/step.inc"

#endif
