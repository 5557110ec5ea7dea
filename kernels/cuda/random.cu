/* Random tensors, with the CPU's bits: element i's depend on seed, counter and i alone. SPDX-License-Identifier:
 * Apache-2.0 */
#include "kernels/cuda/draw.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/make.h"
#include "kernels/numbers.h"

namespace
{
/* A block of Philox for a thread. */
struct drawn {
    uint64_t seed, counter;
    TD_HD struct td_words words(int64_t k) const
    {
        return td_philox(seed, counter + (uint64_t)k);
    }
};
struct uniform_f32 : drawn {
    TD_HD void operator()(int64_t k, float *y) const
    {
        struct td_words w = words(k);
        y[0] = td_uniform_f32(w.w0);
        y[1] = td_uniform_f32(w.w1);
        y[2] = td_uniform_f32(w.w2);
        y[3] = td_uniform_f32(w.w3);
    }
};
struct uniform_f64 : drawn {
    TD_HD void operator()(int64_t k, double *y) const
    {
        struct td_words w = words(k);
        y[0] = td_uniform_f64(w.w0, w.w1);
        y[1] = td_uniform_f64(w.w2, w.w3);
    }
};
struct normal_f32 : drawn {
    TD_HD void operator()(int64_t k, float *y) const
    {
        struct td_words w = words(k);
        td_normal_f32(td_uniform_f32(w.w0), td_uniform_f32(w.w1), &y[0], &y[1]);
        td_normal_f32(td_uniform_f32(w.w2), td_uniform_f32(w.w3), &y[2], &y[3]);
    }
};
struct normal_f64 : drawn {
    TD_HD void operator()(int64_t k, double *y) const
    {
        struct td_words w = words(k);
        td_normal_f64(td_uniform_f64(w.w0, w.w1), td_uniform_f64(w.w2, w.w3), &y[0], &y[1]);
    }
};
template <class Y> struct integers : drawn {
    int64_t low;
    uint64_t range;
    TD_HD void operator()(int64_t k, Y *y) const
    {
        struct td_words w = words(k);
        y[0] = (Y)td_integer_between(low, range, w.w0, w.w1);
        y[1] = (Y)td_integer_between(low, range, w.w2, w.w3);
    }
};

/* y = x * factor where the number drawn is at least p. */
template <class T> struct dropped {
    float p;
    T factor;
    TD_HD void operator()(struct td_words w, const T *x, T *y) const
    {
        y[0] = td_uniform_f32(w.w0) >= p ? x[0] * factor : 0;
        y[1] = td_uniform_f32(w.w1) >= p ? x[1] * factor : 0;
        y[2] = td_uniform_f32(w.w2) >= p ? x[2] * factor : 0;
        y[3] = td_uniform_f32(w.w3) >= p ? x[3] * factor : 0;
    }
};
} // namespace

void TD_CUDA(rand)(struct td_launch *launch)
{
    if (launch->out[0].dtype == TD_F32)
        td_make<uniform_f32, float, 4>(launch->out[0], {{launch->seed, launch->counter}});
    else
        td_make<uniform_f64, double, 2>(launch->out[0], {{launch->seed, launch->counter}});
}

void TD_CUDA(randn)(struct td_launch *launch)
{
    if (launch->out[0].dtype == TD_F32)
        td_make<normal_f32, float, 4>(launch->out[0], {{launch->seed, launch->counter}});
    else
        td_make<normal_f64, double, 2>(launch->out[0], {{launch->seed, launch->counter}});
}

template <class Y> static void draw_integers(struct td_launch *launch)
{
    const struct td_randint_attrs *a = (const struct td_randint_attrs *)launch->attrs;
    td_make<integers<Y>, Y, 2>(launch->out[0],
                               {{launch->seed, launch->counter}, a->low, (uint64_t)a->high - (uint64_t)a->low});
}

void TD_CUDA(randint)(struct td_launch *launch)
{
    switch (launch->out[0].dtype) {
    case TD_I32:
        return draw_integers<int32_t>(launch);
    case TD_I64:
        return draw_integers<int64_t>(launch);
    case TD_F32:
        return draw_integers<float>(launch);
    case TD_F64:
        return draw_integers<double>(launch);
    }
}

void TD_CUDA(dropout)(struct td_launch *launch)
{
    const struct td_dropout_attrs *a = (const struct td_dropout_attrs *)launch->attrs;
    float p = td_f32_at_least(a->p);
    double factor = 1 / (1 - a->p);
    uint64_t nothing = 0;
    struct td_operand zero = launch->out[0];
    zero.data = &nothing;
    zero.immediate = true;
    if (!a->training || a->p == 0 || a->p == 1)
        td_cuda_copy(launch->out[0], a->training && a->p == 1 ? zero : launch->in[0]);
    else if (launch->out[0].dtype == TD_F32)
        td_draw<dropped<float>, float, 4>(launch, {p, (float)factor});
    else
        td_draw<dropped<double>, double, 4>(launch, {p, factor});
}
