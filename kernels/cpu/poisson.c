/* poisson: each element has a key of its own, half a block of the op's numbers, and draws from the stream under that
 * key as often as it takes. So what element i draws depends on seed, counter, i and its rate alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/poisson.h"

#include <stdatomic.h>

#include "kernels/cpu/iterate.h"
#include "protocol/error.h"

struct events {
    const struct td_launch *launch;
    atomic_bool *wrong;
};

static uint64_t key_of(const struct td_launch *launch, int64_t i)
{
    struct td_words words = td_philox(launch->seed, launch->counter + (uint64_t)i / 2);
    return i % 2 ? (uint64_t)words.w3 << 32 | words.w2 : (uint64_t)words.w1 << 32 | words.w0;
}

#define EVENTS(name, type)                                                                                  \
    static void check_##name(const void *data, int64_t from, int64_t to)                                    \
    {                                                                                                       \
        const struct events *e = data;                                                                      \
        const struct td_operand *rates = &e->launch->in[0];                                                 \
        const int64_t *stride = rates->stride;                                                              \
        bool fits = true;                                                                                   \
        struct td_walk w;                                                                                   \
        for (td_walk_start(&w, rates->rank, rates->shape, 1, &stride, from, to); w.run; td_walk_next(&w))   \
            for (int64_t i = 0; i < w.run; i++) {                                                           \
                type rate = ((const type *)rates->data)[w.at[0] + i * w.step[0]];                           \
                fits &= rate >= 0 && rate - rate == 0;                                                      \
            }                                                                                               \
        if (!fits)                                                                                          \
            atomic_store(e->wrong, true);                                                                   \
    }                                                                                                       \
    static void name(const void *data, int64_t from, int64_t to)                                            \
    {                                                                                                       \
        const struct events *e = data;                                                                      \
        const struct td_operand *rates = &e->launch->in[0], *y = &e->launch->out[0];                        \
        const int64_t *stride[] = {y->stride, rates->stride};                                               \
        int64_t at = from;                                                                                  \
        struct td_walk w;                                                                                   \
        for (td_walk_start(&w, y->rank, y->shape, 2, stride, from, to); w.run; td_walk_next(&w))            \
            for (int64_t i = 0; i < w.run; i++, at++) {                                                     \
                double rate = (double)((const type *)rates->data)[w.at[1] + i * w.step[1]];                 \
                ((type *)y->data)[w.at[0] + i * w.step[0]] = (type)td_poisson(key_of(e->launch, at), rate); \
            }                                                                                               \
    }
EVENTS(events_f32, float)
EVENTS(events_f64, double)

void TD_CPU(poisson)(struct td_launch *launch)
{
    atomic_bool wrong = false;
    const struct events events = {launch, &wrong};
    bool wide = launch->out[0].dtype == TD_F64;
    int64_t count = td_operand_numel(&launch->out[0]);
    td_parallel(count, TD_GRAIN, 0, wide ? check_events_f64 : check_events_f32, &events);
    if (wrong)
        launch->fault = (struct td_fault){.code = TD_E_ARGUMENT, .why = "a rate is negative, infinite or nan"};
    else
        td_parallel(count, TD_GRAIN / 32, 0, wide ? events_f64 : events_f32, &events);
}
