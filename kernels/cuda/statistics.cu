/* prod, any, all, count_nonzero, var, std, logsumexp and norm over any dimensions. Reals are computed in f64.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/logsum.h"
#include "kernels/cuda/product.h"

/* ---- how many are true ---- */

template <class T> struct count_of {
    typedef T held;
    typedef uint64_t state;
    void *out;
    uint8_t dtype; /* of the result */
    enum td_counting counting;
    int64_t all;

    TD_HD state start() const
    {
        return 0;
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        s += x != 0;
    }
    TD_HD void join(state &s, state other) const
    {
        s += other;
    }
    __device__ void store(int64_t result, state s) const
    {
        bool truth = counting == TD_ANY_OF ? s != 0 : s == (uint64_t)all;
        if (counting == TD_COUNTED)
            ((uint64_t *)out)[result] = s;
        else if (dtype == TD_BOOL)
            ((uint8_t *)out)[result] = truth;
        else /* u8 meanwhile */
            ((int32_t *)out)[result] = truth;
    }
};

template <class T> static void count(struct td_launch *launch, const struct td_reduce_plan &plan, enum td_counting how)
{
    td_reduce(plan, count_of<T>{launch->out[0].data, launch->out[0].dtype, how, plan.gone.count});
}

static struct td_reduce_plan plan_of(const struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0]; /* all attributes begin alike */
    return td_reduce_plan_of(x, td_reduced_dims(&((const struct td_var_attrs *)launch->attrs)->dims, x->rank));
}

void td_cuda_count(struct td_launch *launch, enum td_counting how)
{
    struct td_reduce_plan plan = plan_of(launch);
    switch (launch->in[0].dtype) {
    case TD_BOOL:
        return count<uint8_t>(launch, plan, how);
    case TD_I32:
        return count<int32_t>(launch, plan, how);
    case TD_I64:
        return count<int64_t>(launch, plan, how);
    case TD_F32:
        return count<float>(launch, plan, how);
    case TD_F64:
        return count<double>(launch, plan, how);
    }
}

void TD_CUDA(any)(struct td_launch *launch)
{
    td_cuda_count(launch, TD_ANY_OF);
}

void TD_CUDA(all)(struct td_launch *launch)
{
    td_cuda_count(launch, TD_ALL_OF);
}

void TD_CUDA(count_nonzero)(struct td_launch *launch)
{
    td_cuda_count(launch, TD_COUNTED);
}

/* ---- products ---- */

/* Of integers, in unsigned arithmetic, which wraps. */
template <class T> struct product_of_integers {
    typedef T held;
    typedef uint64_t state;
    uint64_t *out;

    TD_HD state start() const
    {
        return 1;
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        s *= (uint64_t)x;
    }
    TD_HD void join(state &s, state other) const
    {
        s *= other;
    }
    __device__ void store(int64_t result, state s) const
    {
        out[result] = s;
    }
};

template <class T> struct product_of {
    typedef T held;
    typedef td_product state;
    T *out;

    TD_HD state start() const
    {
        return state::of(1);
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        s.multiply(state::of((double)x));
    }
    TD_HD void join(state &s, const state &other) const
    {
        s.multiply(other);
    }
    __device__ void store(int64_t result, const state &s) const
    {
        out[result] = (T)s.value();
    }
};

void TD_CUDA(prod)(struct td_launch *launch)
{
    struct td_reduce_plan plan = plan_of(launch);
    void *out = launch->out[0].data;
    switch (launch->in[0].dtype) {
    case TD_BOOL:
        return td_reduce(plan, product_of_integers<uint8_t>{(uint64_t *)out});
    case TD_I64:
        return td_reduce(plan, product_of_integers<int64_t>{(uint64_t *)out});
    case TD_F32:
        return td_reduce(plan, product_of<float>{(float *)out});
    case TD_F64:
        return td_reduce(plan, product_of<double>{(double *)out});
    }
}

/* ---- variance ---- */

/* The mean and the squares of what differs from it, brought up to date with each element: x is read once. */
template <class T> struct variance_of {
    typedef T held;
    struct state {
        double mean, squares, count;
    };
    T *out;
    double correction;
    bool root;

    TD_HD state start() const
    {
        return {0, 0, 0};
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        double off = (double)x - s.mean;
        s.count += 1;
        s.mean += off / s.count;
        s.squares += off * ((double)x - s.mean);
    }
    TD_HD void join(state &s, const state &other) const
    {
        if (other.count == 0)
            return;
        double count = s.count + other.count, off = other.mean - s.mean, part = other.count / count;
        s.mean += off * part;
        s.squares += other.squares + off * off * (s.count * part);
        s.count = count;
    }
    __device__ void store(int64_t result, const state &s) const
    {
        double left = s.count - correction, variance = s.squares / (left > 0 ? left : 0);
        out[result] = (T)(root ? sqrt(variance) : variance);
    }
};

static void variance(struct td_launch *launch, bool root)
{
    struct td_reduce_plan plan = plan_of(launch);
    double correction = (double)((const struct td_var_attrs *)launch->attrs)->correction;
    void *out = launch->out[0].data;
    if (launch->in[0].dtype == TD_F32)
        td_reduce(plan, variance_of<float>{(float *)out, correction, root});
    else
        td_reduce(plan, variance_of<double>{(double *)out, correction, root});
}

void TD_CUDA(var)(struct td_launch *launch)
{
    variance(launch, false);
}

void TD_CUDA(std)(struct td_launch *launch)
{
    variance(launch, true);
}

/* ---- logsumexp ---- */

template <class T> struct logsumexp_of {
    typedef T held;
    typedef td_logsum<double> state;
    T *out;

    TD_HD state start() const
    {
        return state::none();
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        s.add({(double)x, 1});
    }
    TD_HD void join(state &s, const state &other) const
    {
        s.add(other);
    }
    __device__ void store(int64_t result, const state &s) const
    {
        bool infinite = isinf(s.most) && s.sum == s.sum;
        out[result] = (T)(infinite ? s.most : s.most + log(s.sum));
    }
};

void TD_CUDA(logsumexp)(struct td_launch *launch)
{
    struct td_reduce_plan plan = plan_of(launch);
    void *out = launch->out[0].data;
    if (launch->in[0].dtype == TD_F32)
        td_reduce(plan, logsumexp_of<float>{(float *)out});
    else
        td_reduce(plan, logsumexp_of<double>{(double *)out});
}

/* ---- norms ---- */

template <class T> struct norm_of {
    typedef T held;
    typedef double state;
    T *out;
    double p;
    enum { NONZERO, MAGNITUDE, SQUARE, POWER, GREATEST, SMALLEST } way;
    bool nothing; /* PyTorch's of nothing is 0 for -inf, too */

    TD_HD state start() const
    {
        return way == SMALLEST ? (double)INFINITY : 0;
    }
    TD_HD void join(state &s, double x) const
    {
        s = way == GREATEST ? td_max_f64(s, x) : way == SMALLEST ? td_min_f64(s, x) : s + x;
    }
    TD_HD void take(state &s, T given, int64_t) const
    {
        double x = fabs((double)given);
        join(s, way == NONZERO ? x != 0 : way == SQUARE ? x * x : way == POWER ? pow(x, p) : x);
    }
    __device__ void store(int64_t result, state s) const
    {
        out[result] = (T)(nothing ? 0 : way == SQUARE ? sqrt(s) : way == POWER ? pow(s, 1 / p) : s);
    }
};

template <class T> static void norm(struct td_launch *launch)
{
    struct td_reduce_plan plan = plan_of(launch);
    double p = ((const struct td_norm_attrs *)launch->attrs)->p;
    norm_of<T> r = {(T *)launch->out[0].data, p, norm_of<T>::POWER, plan.gone.count == 0 && p < 0 && isinf(p)};
    r.way = p == 0      ? r.NONZERO
            : p == 1    ? r.MAGNITUDE
            : p == 2    ? r.SQUARE
            : !isinf(p) ? r.POWER
            : p > 0     ? r.GREATEST
                        : r.SMALLEST;
    td_reduce(plan, r);
}

void TD_CUDA(norm)(struct td_launch *launch)
{
    if (launch->in[0].dtype == TD_F32)
        norm<float>(launch);
    else
        norm<double>(launch);
}
