/* argmax, argmin, max_dim and min_dim: the greatest or smallest element, and the first place where it stands. nan beats
 * all that are none. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/reduce.h"

template <class T> struct extreme_of {
    typedef T held;
    struct state {
        T value;
        int64_t place; /* -1: of nothing */
    };
    T *values;       /* NULL: not wanted */
    int64_t *places; /* so, too */
    bool least;

    TD_HD bool beats(T a, T b) const
    {
        return (least ? a < b : a > b) || (a != a && b == b);
    }
    TD_HD state start() const
    {
        return {0, -1};
    }
    TD_HD void take(state &s, T x, int64_t at) const
    {
        if (s.place < 0 || beats(x, s.value))
            s = {x, at};
    }
    TD_HD void join(state &s, const state &other) const
    {
        bool equal = !beats(s.value, other.value) && !beats(other.value, s.value);
        if (other.place >= 0 && (s.place < 0 || beats(other.value, s.value) || (equal && other.place < s.place)))
            s = other;
    }
    __device__ void store(int64_t result, const state &s) const
    {
        if (values)
            values[result] = s.value;
        if (places)
            places[result] = s.place;
    }
};

template <class T> static void extreme(const struct td_reduce_plan &plan, bool least, void *values, int64_t *places)
{
    td_reduce(plan, extreme_of<T>{(T *)values, places, least});
}

void td_cuda_extreme(const struct td_operand *x, uint32_t mask, bool least, void *values, void *places)
{
    struct td_reduce_plan plan = td_reduce_plan_of(x, mask);
    int64_t *to = (int64_t *)places;
    switch (x->dtype) {
    case TD_BOOL:
        return extreme<uint8_t>(plan, least, values, to);
    case TD_I32:
        return extreme<int32_t>(plan, least, values, to);
    case TD_I64:
        return extreme<int64_t>(plan, least, values, to);
    case TD_F32:
        return extreme<float>(plan, least, values, to);
    case TD_F64:
        return extreme<double>(plan, least, values, to);
    }
}

/* dim is INT64_MIN for all of x. */
static void choose(struct td_launch *launch, int64_t dim, bool least, void *values, void *places)
{
    const struct td_operand *x = &launch->in[0];
    uint32_t mask = dim == INT64_MIN || x->rank == 0 ? ~0u : 1u << td_wrap_dim(dim, x->rank);
    td_cuda_extreme(x, mask, least, values, places);
}

void TD_CUDA(argmax)(struct td_launch *launch)
{
    choose(launch, ((const struct td_argmax_attrs *)launch->attrs)->dim, false, NULL, launch->out[0].data);
}

void TD_CUDA(argmin)(struct td_launch *launch)
{
    choose(launch, ((const struct td_argmin_attrs *)launch->attrs)->dim, true, NULL, launch->out[0].data);
}

void TD_CUDA(max_dim)(struct td_launch *launch)
{
    choose(launch, ((const struct td_max_dim_attrs *)launch->attrs)->dim, false, launch->out[0].data,
           launch->out[1].data);
}

void TD_CUDA(min_dim)(struct td_launch *launch)
{
    choose(launch, ((const struct td_min_dim_attrs *)launch->attrs)->dim, true, launch->out[0].data,
           launch->out[1].data);
}
