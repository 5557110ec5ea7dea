/* cumsum, cumprod, logcumsumexp, cummax and cummin. A team of lanes goes through a row, each lane a few neighbours at a
 * time. Long rows are cut into chunks: a first launch finds what each comes to, and the second starts a chunk with
 * those before it. Sums and products of f32 are kept in f64, as PyTorch does. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/product.h"
#include "kernels/cuda/reduce.h"
#include "kernels/functions.h"

/* Neighbours that a lane takes at a time. */
#define EACH 4

/* A scanner is a reducer (reduce.h) that writes what EACH neighbours come to, from place out on, step apart:
 *         __device__ void write(int64_t out, int64_t step, int64_t count, const state *s) const; */
struct scanning {
    struct td_reduce_plan rows; /* kept: where rows begin; gone: the dimension */
    struct td_loop out_rows;
    int64_t x_step, out_step, out_first; /* of a row */
};

/* What the lanes before this one have, joined; s becomes what all of them have. */
template <class S>
__device__ static inline typename S::state scan_lanes(const td_team &team, const S &scanner, typename S::state *shared,
                                                      typename S::state &s)
{
    int me = (int)threadIdx.x;
    typename S::state before = scanner.start();
    if (team.lanes == 1)
        return before;
    shared[me] = s;
    for (int by = 1; by < team.lanes; by *= 2) {
        __syncthreads();
        typename S::state sum = team.lane >= by ? shared[me - by * team.step] : scanner.start();
        __syncthreads();
        scanner.join(sum, s);
        s = sum;
        shared[me] = s;
    }
    __syncthreads();
    if (team.lane)
        before = shared[me - team.step];
    s = shared[team.first + (team.lanes - 1) * team.step];
    __syncthreads(); /* shared is free for the next */
    return before;
}

/* ---- neighbours: in words of 16 bytes where they lie so ---- */

template <class T> struct word_of {
    enum { COUNT = sizeof(T) < 4 ? EACH : 16 / sizeof(T) };
    typedef td_word<T, COUNT> word;
    __device__ static bool fits(const T *at)
    {
        return (uintptr_t)at % sizeof(word) == 0;
    }
};

/* As many of count neighbours as there are. */
template <class T> __device__ static inline void read_each(const T *x, int64_t step, int64_t count, T *v)
{
    typedef word_of<T> words;
    if (step == 1 && count >= EACH && words::fits(x)) {
        for (int k = 0; k < EACH; k += words::COUNT)
            *(typename words::word *)(v + k) = *(const typename words::word *)(x + k);
        return;
    }
    for (int k = 0; k < EACH; k++)
        v[k] = k < count ? x[k * step] : T();
}

template <class T> __device__ static inline void write_each(T *out, int64_t step, int64_t count, const T *v)
{
    typedef word_of<T> words;
    if (step == 1 && count >= EACH && words::fits(out)) {
        for (int k = 0; k < EACH; k += words::COUNT)
            *(typename words::word *)(out + k) = *(const typename words::word *)(v + k);
        return;
    }
    for (int k = 0; k < EACH; k++)
        if (k < count)
            out[k * step] = v[k];
}

template <class S> __global__ void __launch_bounds__(TD_THREADS) scan_rows(scanning s, S scanner)
{
    typedef typename S::held held;
    typedef typename S::state state;
    __shared__ state shared[TD_THREADS];
    const td_reduce_plan &plan = s.rows;
    td_team team = td_team_of(plan.lanes, plan.columns);
    uint32_t chunk = blockIdx.x / plan.groups, group = blockIdx.x - chunk * plan.groups;
    int64_t row = (int64_t)group * (TD_THREADS / plan.lanes) + team.number, rows = plan.kept.count;
    int64_t first = chunk * plan.chunk,
            end = first + plan.chunk < plan.gone.count ? first + plan.chunk : plan.gone.count;
    bool there = row < rows;
    const held *x = (const held *)plan.x + (there ? td_offset(plan.kept, row) : 0);
    int64_t out = s.out_first + (there ? td_offset(s.out_rows, row) : 0);
    state before = scanner.start();
    for (int64_t k = team.lane; k < chunk && there; k += team.lanes)
        scanner.join(before, ((const state *)plan.partials)[k * rows + row]);
    if (chunk)
        td_team_join_all(team, scanner, shared, before);
    for (; first < end; first += EACH * team.lanes) {
        int64_t i = first + team.lane * EACH, count = there && i < end ? end - i : 0;
        alignas(16) held v[EACH];
        state mine = scanner.start(), so_far[EACH];
        read_each(x + i * s.x_step, s.x_step, count, v);
        for (int k = 0; k < EACH; k++)
            if (k < count)
                scanner.take(mine, v[k], i + k);
        state sum = before, lanes_before = scan_lanes(team, scanner, shared, mine);
        scanner.join(sum, lanes_before);
        scanner.join(before, mine);
        for (int k = 0; k < EACH; k++) {
            if (k < count)
                scanner.take(sum, v[k], i + k);
            so_far[k] = sum;
        }
        scanner.write(out + i * s.out_step, s.out_step, count, so_far);
    }
}

/* ---- the launch ---- */

template <class S> static void scan(struct td_launch *launch, bool reverse, const S &scanner)
{
    const struct td_operand *x = &launch->in[0], *out = &launch->out[0];
    int dim = td_wrap_dim(((const struct td_cumsum_attrs *)launch->attrs)->dim, x->rank);
    int64_t count = x->rank ? x->shape[dim] : 1;
    struct scanning s;
    memset(&s, 0, sizeof s);
    s.x_step = x->rank ? x->stride[dim] : 1;
    s.out_step = x->rank ? out->stride[dim] : 1;
    s.out_rows = td_loop_beside(out, dim);
    s.rows = td_reduce_plan_of(x, x->rank ? 1u << dim : 0);
    if (s.rows.kept.count == 0 || count == 0)
        return;
    td_reduce_plan_cut(&s.rows, sizeof(typename S::held), sizeof(typename S::state));
    if (reverse) {
        s.rows.x = (const typename S::held *)s.rows.x + (count - 1) * s.x_step;
        s.rows.gone.stride[0] = s.x_step = -s.x_step;
        s.rows.words = false;
        s.out_first = (count - 1) * s.out_step;
        s.out_step = -s.out_step;
    }
    int64_t blocks = s.rows.groups * s.rows.chunks;
    if (s.rows.partials)
        td_enqueue(td_reduce_kernel<S>, blocks, TD_THREADS, s.rows, scanner);
    td_enqueue(scan_rows<S>, blocks, TD_THREADS, s, scanner);
}

TD_HD static inline double value_of(const td_product &x)
{
    return x.value();
}
template <class Wide> TD_HD static inline Wide value_of(Wide x)
{
    return x;
}

template <class T, class Wide> struct writes {
    typedef T held;
    typedef Wide state;
    T *out;

    __device__ void write(int64_t at, int64_t step, int64_t count, const state *s) const
    {
        alignas(16) T v[EACH];
        for (int k = 0; k < EACH; k++)
            v[k] = (T)value_of(s[k]);
        write_each(out + at, step, count, v);
    }
    __device__ void store(int64_t, const state &) const
    {
    }
};

template <class T, class Wide> struct sum_scan : writes<T, Wide> {
    TD_HD Wide start() const
    {
        return 0;
    }
    TD_HD void join(Wide &a, Wide b) const
    {
        a += b;
    }
    TD_HD void take(Wide &a, T x, int64_t) const
    {
        a += (Wide)x;
    }
};

TD_HD static inline void multiply(uint64_t &a, uint64_t b)
{
    a *= b;
}
TD_HD static inline void multiply(td_product &a, const td_product &b)
{
    a.multiply(b);
}
TD_HD static inline uint64_t factor(int64_t x)
{
    return (uint64_t)x;
}
TD_HD static inline td_product factor(double x)
{
    return td_product::of(x);
}
template <class T, class Wide> struct product_scan : writes<T, Wide> {
    TD_HD Wide start() const
    {
        return factor((T)1);
    }
    TD_HD void join(Wide &a, const Wide &b) const
    {
        multiply(a, b);
    }
    TD_HD void take(Wide &a, T x, int64_t) const
    {
        multiply(a, factor(x));
    }
};

template <class T> struct logsum_scan : writes<T, double> {
    TD_HD double start() const
    {
        return -(double)INFINITY;
    }
    TD_HD void join(double &a, double b) const
    {
        a = td_log_sum_f64(a, b);
    }
    TD_HD void take(double &a, T x, int64_t) const
    {
        a = td_log_sum_f64(a, (double)x);
    }
};

/* Reals are scanned in Wide, integers in unsigned arithmetic, which wraps. */
template <template <class, class> class S, class Wide> static void scan_by_dtype(struct td_launch *launch, bool reverse)
{
    void *out = launch->out[0].data;
    if (launch->in[0].dtype == TD_I64)
        scan(launch, reverse, S<int64_t, uint64_t>{{(int64_t *)out}});
    else if (launch->in[0].dtype == TD_F32)
        scan(launch, reverse, S<float, Wide>{{(float *)out}});
    else
        scan(launch, reverse, S<double, Wide>{{(double *)out}});
}

void TD_CUDA(cumsum)(struct td_launch *launch)
{
    scan_by_dtype<sum_scan, double>(launch, ((const struct td_cumsum_attrs *)launch->attrs)->reverse);
}

void TD_CUDA(cumprod)(struct td_launch *launch)
{
    scan_by_dtype<product_scan, td_product>(launch, ((const struct td_cumprod_attrs *)launch->attrs)->reverse);
}

void TD_CUDA(logcumsumexp)(struct td_launch *launch)
{
    bool reverse = ((const struct td_logcumsumexp_attrs *)launch->attrs)->reverse;
    void *out = launch->out[0].data;
    if (launch->in[0].dtype == TD_F32)
        scan(launch, reverse, logsum_scan<float>{{(float *)out}});
    else
        scan(launch, reverse, logsum_scan<double>{{(double *)out}});
}

/* ---- cummax and cummin ---- */

/* Of equal elements the last; nan beats all that are none. */
template <class T> struct extreme_scan {
    typedef T held;
    struct state {
        T value;
        int64_t place; /* -1: of nothing */
    };
    T *values;
    int64_t *places;
    bool least;

    TD_HD bool beats(T a, T b) const
    {
        return (least ? a < b : a > b) || (a != a && b == b);
    }
    TD_HD state start() const
    {
        return {0, -1};
    }
    TD_HD void join(state &s, const state &other) const
    {
        bool later = other.place > s.place && !beats(s.value, other.value);
        if (other.place >= 0 && (s.place < 0 || later || beats(other.value, s.value)))
            s = other;
    }
    TD_HD void take(state &s, T x, int64_t at) const
    {
        join(s, {x, at});
    }
    __device__ void write(int64_t at, int64_t step, int64_t count, const state *s) const
    {
        alignas(16) T v[EACH];
        alignas(16) int64_t p[EACH];
        for (int k = 0; k < EACH; k++) {
            v[k] = s[k].value;
            p[k] = s[k].place;
        }
        write_each(values + at, step, count, v);
        write_each(places + at, step, count, p);
    }
    __device__ void store(int64_t, const state &) const
    {
    }
};

template <class T> static void extreme(struct td_launch *launch, bool least)
{
    scan(launch, false, extreme_scan<T>{(T *)launch->out[0].data, (int64_t *)launch->out[1].data, least});
}

static void extreme_by_dtype(struct td_launch *launch, bool least)
{
    switch (launch->in[0].dtype) {
    case TD_BOOL:
        return extreme<uint8_t>(launch, least);
    case TD_I32:
        return extreme<int32_t>(launch, least);
    case TD_I64:
        return extreme<int64_t>(launch, least);
    case TD_F32:
        return extreme<float>(launch, least);
    case TD_F64:
        return extreme<double>(launch, least);
    }
}

void TD_CUDA(cummax)(struct td_launch *launch)
{
    extreme_by_dtype(launch, false);
}

void TD_CUDA(cummin)(struct td_launch *launch)
{
    extreme_by_dtype(launch, true);
}
