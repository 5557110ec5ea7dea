/* layer_norm and rms_norm of dense rows. A row that fits into a block's registers is read once; a longer one is read
 * again, from cache where that holds it. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/reduce.h"
#include "kernels/norm.h"

struct norm_plan : td_norm {
    double share; /* of an element in a mean */
    bool held;    /* in registers */
    struct td_teams teams;
};

/* The elements from first on, lanes apart; 0 beyond the end. */
template <class T> __device__ static inline void read_part(const T *x, int64_t first, int64_t count, int lanes, T *v)
{
    for (int k = 0; k < TD_HELD(T); k++)
        v[k] = first + k * lanes < count ? x[first + k * lanes] : 0;
}

template <class T> __global__ void __launch_bounds__(TD_THREADS_MOST) norm_rows(norm_plan n)
{
    __shared__ T shared[TD_THREADS_MOST];
    td_team team = td_team_of(n.teams.lanes, false);
    int64_t row = (int64_t)blockIdx.x * (blockDim.x / team.lanes) + team.number, part = TD_HELD(T) * team.lanes;
    int64_t count = row < n.rows ? n.count : 0;
    const T *x = (const T *)n.x + row * n.count, *weight = (const T *)n.weight, *bias = (const T *)n.bias;
    T *out = (T *)n.out + row * n.count, v[TD_HELD(T)], mean = 0, squares = 0;
    if (n.held)
        read_part(x, team.lane, count, team.lanes, v);
    for (int64_t i = team.lane; i < count && n.centred; i += part) {
        T sum = 0;
        if (!n.held)
            read_part(x, i, count, team.lanes, v);
        for (int k = 0; k < TD_HELD(T); k++)
            sum += v[k];
        mean += sum;
    }
    td_team_join_all(team, td_total<T>(), shared, mean);
    mean *= (T)n.share;
    for (int64_t i = team.lane; i < count; i += part) {
        T sum = 0;
        if (!n.held)
            read_part(x, i, count, team.lanes, v);
        for (int k = 0; k < TD_HELD(T); k++)
            sum += i + k * team.lanes < count ? (v[k] - mean) * (v[k] - mean) : 0;
        squares += sum;
    }
    td_team_join_all(team, td_total<T>(), shared, squares);
    T scale = 1 / sqrt(squares * (T)n.share + (T)n.eps);
    for (int64_t i = team.lane; i < count; i += part) {
        if (!n.held)
            read_part(x, i, count, team.lanes, v);
        for (int k = 0; k < TD_HELD(T); k++) {
            int64_t at = i + k * team.lanes;
            if (at >= count)
                break;
            T y = (v[k] - mean) * scale;
            y = weight ? y * weight[at] : y;
            out[at] = bias ? y + bias[at] : y;
        }
    }
}

static void norm(const struct td_launch *launch, const struct td_norm &norm)
{
    struct norm_plan n = {norm, 1 / (double)norm.count, false, {}};
    if (!n.rows || !n.count)
        return;
    bool f32 = launch->in[0].dtype == TD_F32;
    n.held = td_teams_that_hold(&n.teams, n.count, n.rows, false, f32 ? TD_HELD(float) : TD_HELD(double));
    td_enqueue(f32 ? norm_rows<float> : norm_rows<double>, n.teams.blocks, n.teams.threads, n);
}

void TD_CUDA(layer_norm)(struct td_launch *launch)
{
    norm(launch, td_layer_norm_of(launch));
}

void TD_CUDA(rms_norm)(struct td_launch *launch)
{
    norm(launch, td_rms_norm_of(launch));
}
