/* log_softmax and softmax. A row that fits into a block's registers is read once and written once; of a longer one the
 * greatest and the sum are found first. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/logsum.h"

struct softmax {
    struct td_loop x_rows, out_rows; /* where rows begin */
    int64_t count, x_step, out_step; /* of a row */
    const void *x;
    void *out;
    bool exponential; /* softmax itself, not its logarithm */
    struct td_teams teams;
};

/* nan aside: what is subtracted need not carry it, since x does. */
template <class T> struct greatest {
    typedef T state;
    TD_HD void join(T &s, T other) const
    {
        s = other > s ? other : s;
    }
};

template <class T> __global__ void __launch_bounds__(TD_THREADS_MOST) softmax_held(softmax s)
{
    __shared__ T shared[TD_THREADS_MOST];
    td_team team = td_team_of(s.teams.lanes, s.teams.columns);
    int64_t row = (int64_t)blockIdx.x * (blockDim.x / team.lanes) + team.number;
    int64_t count = row < s.x_rows.count ? s.count : 0;
    const T *x = (const T *)s.x + (count ? td_offset(s.x_rows, row) : 0);
    T *out = (T *)s.out + (count ? td_offset(s.out_rows, row) : 0), v[TD_HELD(T)], most = (T)-INFINITY, sum = 0;
    for (int k = 0; k < TD_HELD(T); k++) {
        int64_t i = team.lane + k * team.lanes;
        v[k] = i < count ? x[i * s.x_step] : (T)-INFINITY;
        most = v[k] > most ? v[k] : most;
    }
    td_team_join_all(team, greatest<T>(), shared, most);
    for (int k = 0; k < TD_HELD(T); k++) {
        if (team.lane + k * team.lanes >= count)
            continue;
        T exponential = td_exp_below(v[k] - most);
        sum += exponential;
        v[k] = s.exponential ? exponential : v[k] - most;
    }
    td_team_join_all(team, td_total<T>(), shared, sum);
    T factor = s.exponential ? 1 / sum : td_log_of(sum);
    for (int k = 0; k < TD_HELD(T); k++) {
        int64_t i = team.lane + k * team.lanes;
        if (i < count)
            out[i * s.out_step] = s.exponential ? v[k] * factor : v[k] - factor;
    }
}

/* ---- long rows ---- */

template <class T> struct row_statistics {
    typedef T held;
    typedef td_logsum<T> state;
    T *most, *last; /* last: the sum, or its logarithm */
    bool exponential;

    TD_HD state start() const
    {
        return state::none();
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        s.add({x, 1});
    }
    TD_HD void join(state &s, const state &other) const
    {
        s.add(other);
    }
    __device__ void store(int64_t result, const state &s) const
    {
        most[result] = s.most;
        last[result] = (T)(s.sum != s.sum || exponential ? s.sum : td_log_f64(s.sum));
    }
};

template <class T> struct softmax_element {
    bool exponential;
    TD_HD T operator()(T x, T most, T last) const
    {
        return exponential ? td_exp_below(x - most) / last : x - most - last;
    }
};

/* The row's number for each of its elements. */
static struct td_operand by_row(const struct td_operand *x, int dim, void *data)
{
    struct td_operand numbers = *x;
    int64_t step = 1;
    numbers.data = data;
    for (int d = x->rank - 1; d >= 0; d--) {
        numbers.stride[d] = d == dim ? 0 : step;
        step *= d == dim ? 1 : x->shape[d];
    }
    return numbers;
}

template <class T> static void softmax_long(struct td_launch *launch, int dim, bool exponential)
{
    const struct td_operand *x = &launch->in[0];
    struct td_reduce_plan plan = td_reduce_plan_of(x, 1u << dim);
    size_t rows = (size_t)plan.kept.count, partials = TD_PARTIALS * sizeof(td_logsum<T>);
    char *scratch = (char *)td_cuda_scratch(partials + 2 * rows * sizeof(T));
    if (!scratch) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    T *most = (T *)(scratch + partials), *last = most + rows;
    plan.partials = scratch;
    td_reduce(plan, row_statistics<T>{most, last, exponential});
    struct td_operand mosts = by_row(x, dim, most), lasts = by_row(x, dim, last);
    td_map<softmax_element<T>, T, T, T, T>({exponential}, launch->out[0], {x, &mosts, &lasts});
}

static void softmax(struct td_launch *launch, bool exponential)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_log_softmax_attrs *)launch->attrs)->dim, x->rank);
    struct softmax s;
    memset(&s, 0, sizeof s);
    s.exponential = exponential;
    s.x = x->data;
    s.out = out->data;
    s.count = x->rank ? x->shape[dim] : 1;
    s.x_step = x->rank ? x->stride[dim] : 1;
    s.out_step = x->rank ? out->stride[dim] : 1;
    s.x_rows = td_loop_beside(x, dim);
    s.out_rows = td_loop_beside(out, dim);
    if (s.count == 0 || s.x_rows.count == 0)
        return;
    int held = x->dtype == TD_F32 ? TD_HELD(float) : TD_HELD(double);
    if (td_teams_that_hold(&s.teams, s.count, s.x_rows.count, td_is_inner(&s.x_rows, s.x_step), held))
        td_enqueue(x->dtype == TD_F32 ? softmax_held<float> : softmax_held<double>, s.teams.blocks, s.teams.threads, s);
    else if (x->dtype == TD_F32)
        softmax_long<float>(launch, dim, exponential);
    else
        softmax_long<double>(launch, dim, exponential);
}

void TD_CUDA(log_softmax)(struct td_launch *launch)
{
    softmax(launch, false);
}

void TD_CUDA(softmax)(struct td_launch *launch)
{
    softmax(launch, true);
}
