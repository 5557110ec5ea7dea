/* sum, mean, max and min over any dimensions, and how reductions are laid out. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/reduce.h"

/* ---- how a reduction is laid out ---- */

/* A warp's neighbours, which read a line of memory together. */
#define ACROSS 32
/* Elements that are worth a lane where threads are wanting, and where there are enough of them. */
#define FEW 4
#define MANY 32
/* Threads that fill a device, and blocks that do. */
#define THREADS_ENOUGH (1 << 17)
#define BLOCKS_ENOUGH 1024
/* Elements that are worth a lane of its own in another block. */
#define CHUNK_LEAST 32

void td_loop_add(struct td_loop *loop, int64_t shape, int64_t stride)
{
    loop->count *= shape;
    if (shape == 1)
        return;
    if (loop->rank && loop->stride[loop->rank - 1] == stride * shape)
        shape *= loop->shape[--loop->rank];
    loop->shape[loop->rank] = shape;
    loop->inverse[loop->rank] = 1 / (double)shape;
    loop->stride[loop->rank++] = stride;
}

struct td_loop td_loop_beside(const struct td_operand *x, int dim)
{
    struct td_loop loop;
    memset(&loop, 0, sizeof loop);
    loop.count = 1;
    for (int d = 0; d < x->rank; d++)
        if (d != dim)
            td_loop_add(&loop, x->shape[d], x->stride[d]);
    return loop;
}

struct td_reduce_plan td_reduce_plan_of(const struct td_operand *x, uint32_t mask)
{
    struct td_reduce_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.x = x->data;
    plan.kept.count = plan.gone.count = 1;
    for (int d = 0; d < x->rank; d++)
        td_loop_add(mask & 1u << d ? &plan.gone : &plan.kept, x->shape[d], x->stride[d]);
    return plan;
}

static int64_t up_to(int64_t count, int64_t to)
{
    return (count + to - 1) / to;
}

/* The least power of two that is not below count, at most most. */
static int power_for(int64_t count, int most)
{
    int power = 1;
    while (power < count && power < most)
        power *= 2;
    return power;
}

int td_lanes_for(int64_t count, int64_t rows, bool columns, int threads)
{
    int most = columns ? threads / power_for(rows, ACROSS) : threads, lanes = 1;
    while (lanes < most) {
        bool enough = lanes >= ACROSS && rows * lanes >= THREADS_ENOUGH;
        if (count / (2 * lanes) < (enough ? MANY : FEW))
            break;
        lanes *= 2;
    }
    return lanes;
}

bool td_teams_that_hold(struct td_teams *teams, int64_t count, int64_t rows, bool columns, int held)
{
    int across = columns ? power_for(rows, ACROSS) : 1, least = power_for(up_to(count, held), TD_THREADS_MOST);
    teams->threads = least * across <= TD_THREADS ? TD_THREADS : TD_THREADS_MOST;
    int useful = td_lanes_for(count, rows, columns, TD_THREADS);
    teams->lanes = least > useful ? least : useful;
    teams->columns = columns;
    teams->blocks = up_to(rows, teams->threads / teams->lanes);
    return least * across <= TD_THREADS_MOST && (int64_t)least * held >= count;
}

/* Whether rows can be read in words. */
static bool has_words(const struct td_reduce_plan *plan, size_t held_bytes)
{
    size_t each = held_bytes < 16 ? 16 / held_bytes : 1;
    bool dense = plan->gone.rank == 1 && plan->gone.stride[0] == 1 && (uintptr_t)plan->x % 16 == 0;
    for (int d = 0; d < plan->kept.rank; d++)
        dense &= plan->kept.stride[d] % (int64_t)each == 0;
    return dense && each > 1;
}

void td_reduce_plan_cut(struct td_reduce_plan *plan, size_t held_bytes, size_t state_bytes)
{
    const struct td_loop *kept = &plan->kept, *gone = &plan->gone;
    plan->columns = gone->rank && td_is_inner(kept, gone->stride[gone->rank - 1]);
    plan->words = !plan->columns && has_words(plan, held_bytes);
    plan->lanes = td_lanes_for(gone->count, kept->count, plan->columns, TD_THREADS);
    plan->groups = (uint32_t)up_to(kept->count, TD_THREADS / plan->lanes);
    plan->chunks = 1;
    int64_t most = BLOCKS_ENOUGH / plan->groups, worth = gone->count / ((int64_t)plan->lanes * CHUNK_LEAST);
    int64_t fit = TD_PARTIALS / kept->count;
    most = most < worth ? most : worth;
    most = most < fit ? most : fit;
    if (most > 1 && !plan->partials)
        plan->partials = td_cuda_scratch(TD_PARTIALS * state_bytes);
    if (most > 1 && plan->partials) {
        plan->chunk = up_to(up_to(gone->count, most), TD_THREADS) * TD_THREADS;
        plan->chunks = up_to(gone->count, plan->chunk);
    }
    if (plan->chunks > 1)
        return;
    plan->chunk = gone->count;
    plan->partials = NULL;
}

void td_reduce_plan_join(struct td_reduce_plan *plan)
{
    plan->x = plan->partials;
    plan->partials = NULL;
    plan->joins = plan->columns = true;
    plan->gone.count = plan->chunk = plan->chunks;
    plan->lanes = td_lanes_for(FEW * plan->chunks, plan->kept.count, true, TD_THREADS);
    plan->groups = (uint32_t)up_to(plan->kept.count, TD_THREADS / plan->lanes);
}

/* ---- sums ---- */

/* What a sum loses by rounding is summed beside it, so that it is right to the last place however long it is. */
template <class T> struct sum_of {
    typedef T held;
    struct state {
        T sum, rest;
    };
    T *out, divisor;

    TD_HD state start() const
    {
        return {0, 0};
    }
    TD_HD void take(state &s, T x, int64_t) const
    {
        T sum = s.sum + x, of_x = sum - s.sum;
        s.rest += (s.sum - (sum - of_x)) + (x - of_x);
        s.sum = sum;
    }
    TD_HD void join(state &s, const state &other) const
    {
        take(s, other.sum, 0);
        s.rest += other.rest;
    }
    __device__ void store(int64_t result, const state &s) const
    {
        T sum = s.sum + s.rest; /* of infinities the rest is nan */
        out[result] = (sum == sum ? sum : s.sum) / divisor;
    }
};

struct sum_of_integers {
    typedef int64_t held;
    typedef uint64_t state;
    int64_t *out;

    TD_HD state start() const
    {
        return 0;
    }
    TD_HD void take(state &s, int64_t x, int64_t) const
    {
        s += (uint64_t)x;
    }
    TD_HD void join(state &s, state other) const
    {
        s += other;
    }
    __device__ void store(int64_t result, state s) const
    {
        out[result] = (int64_t)s;
    }
};

/* Sums, divided by the number of elements or not. */
static void sum(struct td_launch *launch, bool mean)
{
    const struct td_operand *x = &launch->in[0];
    struct td_reduce_plan plan =
        td_reduce_plan_of(x, td_reduced_dims(&((const struct td_sum_attrs *)launch->attrs)->dims, x->rank));
    void *out = launch->out[0].data;
    int64_t divisor = mean ? plan.gone.count : 1;
    switch (x->dtype) {
    case TD_BOOL:
        return td_cuda_count(launch, TD_COUNTED);
    case TD_I64:
        return td_reduce(plan, sum_of_integers{(int64_t *)out});
    case TD_F32:
        return td_reduce(plan, sum_of<float>{(float *)out, (float)divisor});
    case TD_F64:
        return td_reduce(plan, sum_of<double>{(double *)out, (double)divisor});
    }
}

void TD_CUDA(sum)(struct td_launch *launch)
{
    sum(launch, false);
}

/* 0 / 0 makes the mean of nothing nan. */
void TD_CUDA(mean)(struct td_launch *launch)
{
    sum(launch, true);
}

static void extreme(struct td_launch *launch, bool least)
{
    const struct td_operand *x = &launch->in[0];
    const struct td_max_attrs *a = (const struct td_max_attrs *)launch->attrs;
    td_cuda_extreme(x, td_reduced_dims(&a->dims, x->rank), least, launch->out[0].data, NULL);
}

void TD_CUDA(max)(struct td_launch *launch)
{
    extreme(launch, false);
}

void TD_CUDA(min)(struct td_launch *launch)
{
    extreme(launch, true);
}
