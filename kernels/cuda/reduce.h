/* Reductions: what is kept of x's dimensions are the results, and each is made of all elements of the others, which are
 * gone. A reducer says how:
 *     struct greatest {
 *         typedef float held;                                 what x is made of
 *         struct state { float best; };                       what is known of some of the elements
 *         TD_HD state start() const;                          of none
 *         TD_HD void take(state &s, float x, int64_t at) const;    of one more; at is its number among the result's
 *         TD_HD void join(state &s, const state &other) const;
 *         __device__ void store(int64_t result, const state &s) const;
 *     };
 * Results depend on shapes and strides only: nothing is added in the order in which threads come.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CUDA_REDUCE_H
#define TD_KERNELS_CUDA_REDUCE_H

#include "kernels/cuda/internal.h"
#include "kernels/cuda/map.h"

/* ---- dimensions as a loop ---- */

struct td_loop {
    int rank;
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX]; /* the last dimension is the innermost */
    double inverse[TD_RANK_MAX];                     /* 1 / shape */
    int64_t count;                                   /* positions */
};

/* One more dimension inside the others; those that lie densely inside each other become one. reduce.cu */
void td_loop_add(struct td_loop *loop, int64_t shape, int64_t stride);
/* All dimensions of x but dim; with -1 all. reduce.cu */
struct td_loop td_loop_beside(const struct td_operand *x, int dim);
/* Whether its neighbours lie closer together than what is step apart. */
static inline bool td_is_inner(const struct td_loop *loop, int64_t step)
{
    return loop->rank && loop->stride[loop->rank - 1] < step;
}

/* a / b by way of 1 / b: no position is above 2^53, so that the product is one off at most. Dividing 64-bit integers
 * takes a device some 100 instructions. */
__device__ static inline int64_t td_quotient(int64_t a, int64_t b, double inverse)
{
    int64_t quotient = (int64_t)((double)a * inverse), rest = a - quotient * b;
    return quotient - (rest < 0) + (rest >= b);
}

/* Where position i lies. */
__device__ static inline int64_t td_offset(const td_loop &loop, int64_t i)
{
    int64_t offset = 0;
    for (int d = loop.rank - 1; d > 0; d--) {
        int64_t outer = td_quotient(i, loop.shape[d], loop.inverse[d]);
        offset += (i - outer * loop.shape[d]) * loop.stride[d];
        i = outer;
    }
    return offset + i * loop.stride[0];
}

/* ---- teams: the threads of a block that work on one row ---- */

/* Teams have a power of two of lanes. Neighbouring threads are neighbouring lanes of one team where the elements of a
 * row are neighbours, and the same lane of neighbouring teams where the rows are. */
struct td_team {
    int lane, lanes;
    int number;      /* among the block's teams */
    int first, step; /* the thread that is lane 0, and how far the next lane is */
};

__device__ static inline td_team td_team_of(int lanes, bool columns)
{
    int teams = (int)blockDim.x / lanes, thread = (int)threadIdx.x;
    if (columns)
        return {thread / teams, lanes, thread % teams, thread % teams, teams};
    return {thread % lanes, lanes, thread / lanes, thread / lanes * lanes, 1};
}

/* Joins what the lanes of each team know into lane 0. All threads of the block call; shared has a place for each. */
template <class R>
__device__ static inline void td_team_join(const td_team &team, const R &r, typename R::state *shared,
                                           typename R::state &s)
{
    if (team.lanes > 1)
        shared[threadIdx.x] = s;
    for (int half = team.lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (team.lane >= half)
            continue;
        r.join(s, shared[(int)threadIdx.x + half * team.step]);
        shared[threadIdx.x] = s;
    }
}

/* The same into all lanes. */
template <class R>
__device__ static inline void td_team_join_all(const td_team &team, const R &r, typename R::state *shared,
                                               typename R::state &s)
{
    td_team_join(team, r, shared, s);
    if (team.lanes == 1)
        return;
    __syncthreads();
    s = shared[team.first];
    __syncthreads(); /* shared is free for the next */
}

/* As many lanes as are of use to each of so many rows of count elements, in blocks of so many threads. reduce.cu */
int td_lanes_for(int64_t count, int64_t rows, bool columns, int threads);

/* Teams whose lanes have registers for all of a row: each for held elements of it, which are lanes apart. False if
 * there are none: then a row is too long. reduce.cu */
#define TD_THREADS_MOST 512
struct td_teams {
    int threads, lanes;
    bool columns;
    int64_t blocks;
};
bool td_teams_that_hold(struct td_teams *teams, int64_t count, int64_t rows, bool columns, int held);

/* Elements that a lane has in registers: 64 bytes. */
#define TD_HELD(T) ((int)(64 / sizeof(T)))

/* For td_team_join: what the lanes have is added. */
template <class T> struct td_total {
    typedef T state;
    TD_HD void join(T &s, T other) const
    {
        s += other;
    }
};

/* ---- the kernel ---- */

/* Most partial results that a reduction leaves for its second launch. */
#define TD_PARTIALS 32768

struct td_reduce_plan {
    struct td_loop kept, gone;
    const void *x;
    int lanes;
    bool columns, words; /* words: a row is read 16 bytes at a time */
    bool joins;          /* x holds partial results: the second launch */
    uint32_t groups;     /* of results: those of one block */
    int64_t chunk;       /* elements of a result that one team reduces */
    int64_t chunks;
    void *partials; /* where those of chunks go; NULL: these are the results. Room for TD_PARTIALS may be given. */
};

/* How element number i of a row is read; what is made of more than x has a way of its own. */
template <class R> struct td_elements {
    enum { words = true };
    __device__ static typename R::held read(const R &, const typename R::held *x, const td_loop &gone, int64_t i)
    {
        return x[td_offset(gone, i)];
    }
};

template <class R>
__device__ static inline void td_reduce_strided(const td_loop &gone, const R &r, const typename R::held *x,
                                                int64_t first, int64_t end, const td_team &team, typename R::state &s)
{
    enum { TOGETHER = 4 }; /* loads under way before the first is needed */
    int64_t i = first + team.lane, lanes = team.lanes;
    typename R::held v[TOGETHER];
    for (; i + (TOGETHER - 1) * lanes < end; i += TOGETHER * lanes) {
        for (int k = 0; k < TOGETHER; k++)
            v[k] = td_elements<R>::read(r, x, gone, i + k * lanes);
        for (int k = 0; k < TOGETHER; k++)
            r.take(s, v[k], i + k * lanes);
    }
    for (; i < end; i += lanes)
        r.take(s, td_elements<R>::read(r, x, gone, i), i);
}

/* Chunks begin at whole words. */
template <class R>
__device__ static inline void td_reduce_words(const R &r, const typename R::held *x, int64_t first, int64_t end,
                                              const td_team &team, typename R::state &s)
{
    typedef typename R::held held;
    enum { EACH = sizeof(held) < 16 ? 16 / sizeof(held) : 1 };
    typedef td_word<held, EACH> word;
    int64_t i = first + team.lane * EACH, step = team.lanes * EACH;
    for (; i + step + EACH <= end; i += 2 * step) { /* two loads are under way before the first is needed */
        word v = *(const word *)(x + i), next = *(const word *)(x + i + step);
        for (int k = 0; k < EACH; k++)
            r.take(s, v.v[k], i + k);
        for (int k = 0; k < EACH; k++)
            r.take(s, next.v[k], i + step + k);
    }
    for (; i + EACH <= end; i += step) {
        word v = *(const word *)(x + i);
        for (int k = 0; k < EACH; k++)
            r.take(s, v.v[k], i + k);
    }
    for (; i < end; i++) /* one lane is left with less than a word */
        r.take(s, x[i], i);
}

template <class R> __global__ void __launch_bounds__(TD_THREADS) td_reduce_kernel(td_reduce_plan plan, R r)
{
    typedef typename R::held held;
    typedef typename R::state state;
    __shared__ state shared[TD_THREADS];
    td_team team = td_team_of(plan.lanes, plan.columns);
    uint32_t chunk = blockIdx.x / plan.groups, group = blockIdx.x - chunk * plan.groups;
    int64_t result = (int64_t)group * (TD_THREADS / plan.lanes) + team.number, results = plan.kept.count;
    int64_t first = chunk * plan.chunk,
            end = first + plan.chunk < plan.gone.count ? first + plan.chunk : plan.gone.count;
    state s = r.start();
    if (result < results && plan.joins) {
        for (int64_t i = team.lane; i < end; i += team.lanes)
            r.join(s, ((const state *)plan.x)[i * results + result]);
    } else if (result < results) {
        const held *x = (const held *)plan.x + td_offset(plan.kept, result);
        if (td_elements<R>::words && plan.words)
            td_reduce_words(r, x, first, end, team, s);
        else
            td_reduce_strided(plan.gone, r, x, first, end, team, s);
    }
    td_team_join(team, r, shared, s);
    if (team.lane || result >= results)
        return;
    if (plan.partials)
        ((state *)plan.partials)[chunk * results + result] = s;
    else
        r.store(result, s);
}

/* ---- the plan: reduce.cu ---- */

/* x over the dimensions in mask. */
struct td_reduce_plan td_reduce_plan_of(const struct td_operand *x, uint32_t mask);
/* Says who works on what. */
void td_reduce_plan_cut(struct td_reduce_plan *plan, size_t held_bytes, size_t state_bytes);
/* Makes of a plan that left partial results the one that joins them. */
void td_reduce_plan_join(struct td_reduce_plan *plan);

template <class R> static void td_reduce(struct td_reduce_plan plan, const R &r)
{
    if (plan.kept.count == 0)
        return;
    td_reduce_plan_cut(&plan, sizeof(typename R::held), sizeof(typename R::state));
    td_enqueue(td_reduce_kernel<R>, plan.groups * plan.chunks, TD_THREADS, plan, r);
    if (!plan.partials)
        return;
    td_reduce_plan_join(&plan);
    td_enqueue(td_reduce_kernel<R>, plan.groups, TD_THREADS, plan, r);
}

/* ---- reductions that several ops share ---- */

/* The greatest or least elements over the dimensions in mask, and the first places where they stand; either may be
 * NULL. extreme.cu */
void td_cuda_extreme(const struct td_operand *x, uint32_t mask, bool least, void *values, void *places);

/* How many elements over the launch's dimensions are not 0, or whether any or all are not. statistics.cu */
enum td_counting { TD_COUNTED, TD_ANY_OF, TD_ALL_OF };
void td_cuda_count(struct td_launch *launch, enum td_counting how);

#endif
