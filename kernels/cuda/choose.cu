/* Coins and lots: bernoulli and multinomial, with the CPU's bits. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/draw.h"
#include "kernels/lots.h"

/* ---- bernoulli: rand's number of the same type is less than p ---- */

namespace
{
template <class T> struct is_no_chance {
    TD_HD bool operator()(T p) const
    {
        return !(p >= 0 && p <= 1);
    }
};
struct coins_f32 {
    TD_HD void operator()(struct td_words w, const float *p, float *y) const
    {
        y[0] = td_uniform_f32(w.w0) < p[0];
        y[1] = td_uniform_f32(w.w1) < p[1];
        y[2] = td_uniform_f32(w.w2) < p[2];
        y[3] = td_uniform_f32(w.w3) < p[3];
    }
};
struct coins_f64 {
    TD_HD void operator()(struct td_words w, const double *p, double *y) const
    {
        y[0] = td_uniform_f64(w.w0, w.w1) < p[0];
        y[1] = td_uniform_f64(w.w2, w.w3) < p[1];
    }
};
} // namespace

void TD_CUDA(bernoulli)(struct td_launch *launch)
{
    bool wide = launch->out[0].dtype == TD_F64;
    if (wide ? td_map_finds<is_no_chance<double>, double>(launch, launch->in[0])
             : td_map_finds<is_no_chance<float>, float>(launch, launch->in[0])) {
        launch->fault.code = TD_E_ARGUMENT;
        launch->fault.why = "a probability does not lie from 0 to 1";
    }
    if (launch->fault.code)
        return;
    if (wide)
        td_draw<coins_f64, double, 2>(launch);
    else
        td_draw<coins_f32, float, 4>(launch);
}

/* ---- multinomial: a block has a tree, and a row after the other ---- */

namespace
{
struct lots {
    int64_t rows, size, leaves, count; /* weights of a row, the next power of 2, and how many are drawn of it */
    int64_t stride, row_stride;        /* of the weights */
    bool replacement;
    const void *weights;
    double *trees; /* one for each block */
    int64_t *y;
    uint64_t seed, counter;
};
} // namespace

#define ROWS_FINE (~0ull)

/* The weights of a row as leaves, and their sums; how it can be drawn from. All threads of a block call. */
template <class T> __device__ static enum td_lots_fault plant(const lots &l, int64_t row, double *tree)
{
    __shared__ unsigned long long some;
    __shared__ int wrong;
    if (threadIdx.x == 0)
        some = 0, wrong = 0;
    __syncthreads();
    unsigned long long mine = 0;
    for (int64_t k = threadIdx.x; k < l.leaves; k += blockDim.x) {
        double weight = k < l.size ? (double)((const T *)l.weights)[row * l.row_stride + k * l.stride] : 0.0;
        if (!td_lots_is_weight(weight))
            wrong = 1;
        mine += weight > 0;
        tree[l.leaves + k] = weight;
    }
    atomicAdd(&some, mine);
    for (int64_t level = l.leaves / 2; level > 0; level /= 2) {
        __syncthreads();
        for (int64_t k = level + threadIdx.x; k < 2 * level; k += blockDim.x)
            tree[k] = tree[2 * k] + tree[2 * k + 1];
    }
    __syncthreads();
    enum td_lots_fault fault = wrong ? TD_LOTS_WEIGHT : td_lots_check((int64_t)some, tree[1], l.count, l.replacement);
    __syncthreads(); /* before the next row writes what this one has read */
    return fault;
}

/* The first row that cannot be drawn from, and why. */
template <class T> __global__ void check_rows(lots l, unsigned long long *worst)
{
    double *tree = l.trees + (int64_t)blockIdx.x * 2 * l.leaves;
    for (int64_t row = blockIdx.x; row < l.rows; row += gridDim.x) {
        enum td_lots_fault fault = plant<T>(l, row, tree);
        if (threadIdx.x == 0 && fault != TD_LOTS_FINE)
            atomicMin(worst, (unsigned long long)row * 8 + fault);
    }
}

template <class T> __global__ void draw_rows(lots l)
{
    double *tree = l.trees + (int64_t)blockIdx.x * 2 * l.leaves;
    for (int64_t row = blockIdx.x; row < l.rows; row += gridDim.x) {
        plant<T>(l, row, tree);
        /* Without replacement one draw depends on those before it. */
        for (int64_t k = threadIdx.x; k < l.count && (l.replacement || threadIdx.x == 0);
             k += l.replacement ? blockDim.x : 1) {
            double at = td_uniform_at_f64(l.seed, l.counter, row * l.count + k) * tree[1];
            int64_t leaf = td_lots_leaf(tree, l.leaves, at);
            l.y[row * l.count + k] = leaf - l.leaves;
            if (!l.replacement)
                td_lots_take(tree, leaf);
        }
        __syncthreads(); /* before the next row's tree */
    }
}

#define TREES_MAX 1024         /* blocks at work */
#define TREES_BYTES (64 << 20) /* of all their trees, unless one alone is larger */

/* How many trees; NULL trees where there is no memory for them. The answer of the check stands behind them. */
static int64_t make_room(lots *l, unsigned long long **worst)
{
    int64_t each = 2 * l->leaves * (int64_t)sizeof(double), trees = TREES_BYTES / each;
    trees = trees < 1 ? 1 : trees > TREES_MAX ? TREES_MAX : trees;
    trees = trees > l->rows ? l->rows : trees;
    l->trees = (double *)td_cuda_scratch((size_t)(trees * each) + sizeof **worst);
    *worst = (unsigned long long *)(l->trees + 2 * l->leaves * trees);
    return trees;
}

template <class T> static void draw_lots(struct td_launch *launch, lots l)
{
    unsigned long long *worst, found = ROWS_FINE;
    int64_t trees = make_room(&l, &worst);
    if (!l.trees) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    td_cuda_check(cudaMemsetAsync(worst, 0xff, sizeof *worst, td_stream), "a check of weights");
    td_enqueue(check_rows<T>, trees, TD_THREADS, l, worst);
    td_cuda_check(cudaMemcpyAsync(&found, worst, sizeof found, cudaMemcpyDeviceToHost, td_stream),
                  "a check of weights");
    td_cuda_settle();
    if (found != ROWS_FINE) {
        launch->fault.code = TD_E_ARGUMENT;
        launch->fault.why = td_lots_why((enum td_lots_fault)(found % 8));
        return;
    }
    trees = make_room(&l, &worst); /* it may be another's by now */
    if (l.trees)
        td_enqueue(draw_rows<T>, trees, TD_THREADS, l);
    else
        launch->fault.code = TD_E_MEMORY;
}

void TD_CUDA(multinomial)(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0];
    const struct td_multinomial_attrs *a = (const struct td_multinomial_attrs *)launch->attrs;
    int last = x->rank - 1;
    lots l = {};
    l.rows = last ? x->shape[0] : 1;
    l.row_stride = last ? x->stride[0] : 0;
    l.size = x->shape[last];
    l.stride = x->stride[last];
    l.count = a->count;
    l.replacement = a->replacement;
    l.weights = x->data;
    l.y = (int64_t *)launch->out[0].data;
    l.seed = launch->seed;
    l.counter = launch->counter;
    for (l.leaves = 1; l.leaves < l.size; l.leaves *= 2)
        ;
    if (l.rows == 0)
        return;
    if (x->dtype == TD_F32)
        draw_lots<float>(launch, l);
    else
        draw_lots<double>(launch, l);
}
