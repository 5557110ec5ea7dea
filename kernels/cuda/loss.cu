/* Losses: cross_entropy, nll_loss, bce and mse_loss. What can fail for its data is looked through before anything is
 * written. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/logsum.h"
#include "kernels/functions.h"

/* ---- the first element that is wrong ---- */

struct found {
    int64_t place, value; /* place: INT64_MAX for none */
};

/* wrong(x) says whether an element is. */
template <class T, class Wrong> struct first_wrong {
    typedef T held;
    typedef struct found state;
    struct found *found;
    Wrong wrong;

    TD_HD state start() const
    {
        return {INT64_MAX, 0};
    }
    TD_HD void take(state &s, T x, int64_t at) const
    {
        if (wrong(x) && at < s.place)
            s = {at, (int64_t)x};
    }
    TD_HD void join(state &s, const state &other) const
    {
        if (other.place < s.place)
            s = other;
    }
    __device__ void store(int64_t, const state &s) const
    {
        *found = s;
    }
};

struct no_class {
    int64_t classes, ignored;
    TD_HD bool operator()(int64_t x) const
    {
        return (x < 0 || x >= classes) && x != ignored;
    }
};
struct no_probability {
    TD_HD bool operator()(double x) const
    {
        return !(x >= 0 && x <= 1);
    }
};

/* False without memory for it. */
template <class T, class Wrong> static bool find(const struct td_operand *x, const Wrong &wrong, struct found *first)
{
    size_t partials = TD_PARTIALS * sizeof(struct found);
    char *scratch = (char *)td_cuda_scratch(partials + sizeof(struct found));
    struct td_reduce_plan plan = td_reduce_plan_of(x, ~0u);
    *first = {INT64_MAX, 0};
    if (!scratch)
        return false;
    plan.partials = scratch;
    td_reduce(plan, first_wrong<T, Wrong>{(struct found *)(scratch + partials), wrong});
    td_cuda_check(cudaMemcpyAsync(first, scratch + partials, sizeof *first, cudaMemcpyDeviceToHost, td_stream),
                  "what is wrong with an operand");
    td_cuda_settle();
    return true;
}

/* ---- cross_entropy and nll_loss: a row holds the classes of one target ---- */

/* What one target gives. */
template <class T> struct term {
    T loss, weight;
};

template <class T> struct entropy {
    struct td_loop rows, targets;         /* where they begin */
    int64_t classes, x_step, weight_step; /* steps from one class to the next */
    const T *x, *weight;                  /* weight: NULL if left out */
    const int64_t *target;
    int64_t ignored;
    T smoothing; /* the part of a target that is spread over all classes */
    T *losses;   /* unreduced; else NULL, and */
    struct term<T> *terms;

    __device__ T weight_of(int64_t c) const
    {
        return weight ? weight[c * weight_step] : 1;
    }
    /* The loss of a row whose probabilities of classes are e^(x - most - logsum), and what spreading it gives. */
    __device__ void store_term(int64_t row, T most, T logsum, T spread) const
    {
        int64_t c = target[td_offset(targets, row)];
        struct term<T> t = {
            0, 0
        };
        if (c != ignored) {
            t.weight = weight_of(c);
            t.loss = (logsum - (x[td_offset(rows, row) + c * x_step] - most)) * t.weight;
            if (smoothing != 0)
                t.loss = (1 - smoothing) * t.loss + smoothing / (T)classes * spread;
        }
        if (losses)
            losses[row] = t.loss;
        else
            terms[row] = t;
    }
};

/* x holds logarithms already: a thread a target. */
template <class T> __global__ void __launch_bounds__(TD_THREADS) nll_terms(entropy<T> e)
{
    int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row < e.targets.count)
        e.store_term(row, 0, 0, 0);
}

template <class T> struct entropy_of {
    typedef T held;
    typedef td_logsum<T> state;
    struct entropy<T> e;

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
    __device__ void store(int64_t row, const state &s) const
    {
        e.store_term(row, s.most, (T)td_log_f64(s.sum), 0);
    }
};

/* Beside it the sum of weight * (most - x), and that of the weights: spread over all classes a loss is
 * below + weights * logsum. */
template <class T> struct smoothed_entropy_of {
    typedef T held;
    struct state {
        td_logsum<T> of;
        double below, weights;
    };
    struct entropy<T> e;

    TD_HD state start() const
    {
        return {td_logsum<T>::none(), 0, 0};
    }
    /* What a sum of weight * (from - x) is with to in the place of from. */
    TD_HD static double moved(double below, double weights, T from, T to)
    {
        return from == to || weights == 0 ? below : below + weights * ((double)to - (double)from);
    }
    __device__ void take(state &s, T x, int64_t at) const
    {
        join(s, {{x, 1}, 0, (double)e.weight_of(at)});
    }
    TD_HD void join(state &s, const state &other) const
    {
        T most = s.of.most, others = other.of.most;
        s.of.add(other.of);
        s.below = moved(s.below, s.weights, most, s.of.most) + moved(other.below, other.weights, others, s.of.most);
        s.weights += other.weights;
    }
    __device__ void store(int64_t row, const state &s) const
    {
        T logsum = (T)td_log_f64(s.of.sum);
        e.store_term(row, s.of.most, logsum, (T)(s.below + s.weights * (double)logsum));
    }
};

/* All terms together. */
template <class T> struct sum_of_terms {
    typedef struct term<T> held;
    struct state {
        double loss, weight;
    };
    T *out;
    bool mean;

    TD_HD state start() const
    {
        return {0, 0};
    }
    TD_HD void take(state &s, const held &x, int64_t) const
    {
        s.loss += (double)x.loss;
        s.weight += (double)x.weight;
    }
    TD_HD void join(state &s, const state &other) const
    {
        s.loss += other.loss;
        s.weight += other.weight;
    }
    __device__ void store(int64_t, const state &s) const
    {
        *out = (T)(mean ? s.loss / s.weight : s.loss);
    }
};

/* The parameters that both ops have. */
struct choice {
    int64_t ignored, reduction;
    double smoothing;
    bool logarithms;
};

template <class T> static void make_terms(const struct entropy<T> &e, const struct choice &choice, void *partials)
{
    struct td_reduce_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.x = e.x;
    plan.kept = e.rows;
    plan.gone.count = 1;
    td_loop_add(&plan.gone, e.classes, e.x_step);
    plan.partials = partials;
    if (choice.logarithms)
        td_enqueue(nll_terms<T>, td_blocks(e.rows.count, 1, TD_THREADS), TD_THREADS, e);
    else if (choice.smoothing != 0)
        td_reduce(plan, smoothed_entropy_of<T>{e});
    else
        td_reduce(plan, entropy_of<T>{e});
}

template <class T> static void run(struct td_launch *launch, struct entropy<T> e, const struct choice &choice)
{
    size_t partials = TD_PARTIALS * sizeof(typename smoothed_entropy_of<T>::state);
    char *scratch = (char *)td_cuda_scratch(partials + (size_t)e.rows.count * sizeof(struct term<T>));
    T *out = (T *)launch->out[0].data;
    if (!scratch) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    e.losses = choice.reduction == TD_NONE ? out : NULL;
    e.terms = (struct term<T> *)(scratch + partials);
    make_terms(e, choice, scratch);
    if (choice.reduction == TD_NONE)
        return;
    struct td_operand terms = {};
    terms.data = e.terms;
    terms.rank = 1;
    terms.shape[0] = e.rows.count;
    terms.stride[0] = 1;
    struct td_reduce_plan plan = td_reduce_plan_of(&terms, ~0u);
    plan.partials = scratch;
    td_reduce(plan, sum_of_terms<T>{out, choice.reduction == TD_MEAN});
}

template <class T> static void entropy_of_launch(struct td_launch *launch, const struct choice &choice)
{
    const struct td_operand *x = &launch->in[0], *weight = &launch->in[2];
    int class_dim = x->rank > 1; /* a tensor of one dimension is one row */
    struct entropy<T> e;
    memset(&e, 0, sizeof e);
    e.rows = td_loop_beside(x, class_dim);
    e.targets = td_loop_beside(&launch->in[1], -1);
    e.classes = x->shape[class_dim];
    e.x_step = x->stride[class_dim];
    e.x = (const T *)x->data;
    e.target = (const int64_t *)launch->in[1].data;
    e.weight = (const T *)weight->data;
    e.weight_step = weight->data ? weight->stride[0] : 0;
    e.ignored = choice.ignored;
    e.smoothing = (T)choice.smoothing;
    run(launch, e, choice);
}

static void check_and_run(struct td_launch *launch, const struct choice &choice)
{
    const struct td_operand *x = &launch->in[0];
    int64_t classes = x->shape[x->rank > 1];
    struct found first;
    if (!find<int64_t>(&launch->in[1], no_class{classes, choice.ignored}, &first)) {
        launch->fault.code = TD_E_MEMORY;
    } else if (first.place != INT64_MAX) {
        launch->fault.code = TD_E_INDEX;
        launch->fault.value = first.value;
        launch->fault.size = classes;
        launch->fault.position = first.place;
    } else if (launch->out[0].dtype == TD_F32) {
        entropy_of_launch<float>(launch, choice);
    } else {
        entropy_of_launch<double>(launch, choice);
    }
}

void TD_CUDA(cross_entropy)(struct td_launch *launch)
{
    const struct td_cross_entropy_attrs *a = (const struct td_cross_entropy_attrs *)launch->attrs;
    check_and_run(launch, {a->ignore_index, a->reduction, a->label_smoothing, false});
}

void TD_CUDA(nll_loss)(struct td_launch *launch)
{
    const struct td_nll_loss_attrs *a = (const struct td_nll_loss_attrs *)launch->attrs;
    check_and_run(launch, {a->ignore_index, a->reduction, 0, true});
}

/* ---- bce ---- */

struct bce {
    TD_HD float operator()(float x, float target) const
    {
        return td_bce_f32(x, target);
    }
    TD_HD double operator()(double x, double target) const
    {
        return td_bce_f64(x, target);
    }
};

void TD_CUDA(bce)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    bool f32 = x->dtype == TD_F32;
    struct found first;
    if (!(f32 ? find<float>(x, no_probability(), &first) : find<double>(x, no_probability(), &first))) {
        launch->fault.code = TD_E_MEMORY;
    } else if (first.place != INT64_MAX) {
        launch->fault.code = TD_E_ARGUMENT;
        launch->fault.position = first.place;
    } else if (f32) {
        td_map_launch<bce, float, float, float>(launch);
    } else {
        td_map_launch<bce, double, double, double>(launch);
    }
}

/* ---- mse_loss ---- */

template <class T> struct square {
    TD_HD T operator()(T x, T target) const
    {
        return (x - target) * (x - target);
    }
};

/* in as it is seen in the shape of out. */
static struct td_operand broadcast(const struct td_operand *in, int rank, const int64_t *shape)
{
    struct td_operand seen = *in;
    seen.rank = (uint8_t)rank;
    for (int d = 0; d < rank; d++) {
        int from = d - (rank - in->rank);
        seen.shape[d] = shape[d];
        seen.stride[d] = from < 0 || (in->shape[from] == 1 && shape[d] != 1) ? 0 : in->stride[from];
    }
    return seen;
}

/* The elements of x and of target that meet have the same number. */
template <class T> struct mean_square {
    struct held {
        T x, target;
    };
    typedef double state;
    T *out;
    double divisor;
    const T *target;
    struct td_loop target_loop;

    TD_HD state start() const
    {
        return 0;
    }
    TD_HD void take(state &s, const held &both, int64_t) const
    {
        s += (double)square<T>()(both.x, both.target);
    }
    TD_HD void join(state &s, state other) const
    {
        s += other;
    }
    __device__ void store(int64_t, state s) const
    {
        *out = (T)(s / divisor);
    }
};
template <class T> struct td_elements<mean_square<T>> {
    typedef typename mean_square<T>::held held;
    enum { words = false };
    __device__ static held read(const mean_square<T> &r, const held *x, const td_loop &gone, int64_t i)
    {
        return {((const T *)(const void *)x)[td_offset(gone, i)], r.target[td_offset(r.target_loop, i)]};
    }
};

template <class T> static void mse_loss(struct td_launch *launch, int64_t reduction)
{
    const struct td_operand *x = &launch->in[0], *target = &launch->in[1];
    int64_t shape[TD_RANK_MAX];
    int rank;
    td_broadcast(x->rank, x->shape, target->rank, target->shape, &rank, shape);
    struct td_operand seen[2] = {broadcast(x, rank, shape), broadcast(target, rank, shape)};
    if (reduction == TD_NONE) {
        td_map<square<T>, T, T, T>(square<T>(), launch->out[0], {&seen[0], &seen[1]});
        return;
    }
    struct td_reduce_plan plan = td_reduce_plan_of(&seen[0], ~0u);
    double divisor = reduction == TD_MEAN ? (double)plan.gone.count : 1;
    td_reduce(plan,
              mean_square<T>{(T *)launch->out[0].data, divisor, (const T *)target->data, td_loop_beside(&seen[1], -1)});
}

void TD_CUDA(mse_loss)(struct td_launch *launch)
{
    int64_t reduction = ((const struct td_mse_loss_attrs *)launch->attrs)->reduction;
    if (launch->out[0].dtype == TD_F32)
        mse_loss<float>(launch, reduction);
    else
        mse_loss<double>(launch, reduction);
}
