/* attention and its gradients. A block owns a tile of rows of one matrix (of queries, or backwards of keys) and a strip
 * of columns of its result, which stay in registers; it goes over the tiles of the other, makes their scores, of these
 * weights, and adds up what they weigh. So nothing is added by two blocks, and no row of scores is ever in memory.
 * Wider results have more strips, which make the scores again. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/logsum.h"
#include "protocol/shape_attention.h"

/* Threads of a block are a square, and each has some neighbouring rows and some columns in groups of 16 bytes. */
#define SIDE 16
/* Of a matrix's columns, or of a tile's scores, as many are in shared memory at a time. */
#define DEPTH 16
#define BLOCKS_MOST ((int64_t)1 << 30)

/* Before loops over what a thread has in registers, which an array gone through by a number is not. */
#ifdef __CUDACC__
#define TD_UNROLL _Pragma("unroll")
#else
#define TD_UNROLL
#endif

/* What is made: the result, and backwards the gradients. */
enum making { RESULT, OF_QUERY, OF_KEY, OF_VALUE };

enum { QUERY, KEY, VALUE, MASK, G, Y, LOGSUMEXP, OPERANDS };

/* Of the first head. */
struct matrix {
    const void *data;
    int64_t row, column; /* steps */
};

struct attention {
    td_grid<OPERANDS> heads;
    struct matrix in[OPERANDS];
    int64_t rows, keys, width, value_width;
    double scale;
    bool causal, masked;
    void *out;
    void *logsumexp;    /* of the result: beside it */
    const void *dots;   /* backwards: of g and y, for each row of each head */
    const int *endless; /* of each tile of the other matrix whether it holds inf or nan; causal only */
    int64_t own_tiles, other_tiles, strips;
};

TD_HD static inline float fused(float a, float b, float c)
{
    return fmaf(a, b, c);
}
TD_HD static inline double fused(double a, double b, double c)
{
    return fma(a, b, c);
}
TD_HD static inline float exponential(float x)
{
    return td_exp_f32(x);
}
TD_HD static inline double exponential(double x)
{
    return td_exp_f64(x);
}

/* Rows of a tile, and the scores of a row: 64 of f32, 32 of f64. */
template <class T> struct tile {
    enum { EACH = 16 / sizeof(T), SIZE = SIDE * EACH, PITCH = SIZE + EACH };
};

/* What a block has in shared memory: a slice of two matrices by their depth; or a slice of what is weighed. The
 * weights stand turned, so that a thread's rows are neighbours. */
template <class T, int COLUMNS> struct shared_tiles {
    union {
        struct {
            alignas(16) T left[DEPTH][tile<T>::PITCH], right[DEPTH][tile<T>::PITCH];
        };
        alignas(16) T weighed[DEPTH][COLUMNS];
    };
    alignas(16) T weight[tile<T>::SIZE][tile<T>::PITCH];
};

/* Rows first to first + SIZE of m (0 beyond count), from column from on, times by. */
template <class T>
__device__ static void load_turned(T (&to)[DEPTH][tile<T>::PITCH], const struct matrix &m, int64_t offset,
                                   int64_t first, int64_t count, int64_t from, int64_t width, T by)
{
    enum { SIZE = tile<T>::SIZE };
    bool by_row = m.column != 1 && m.row == 1;
    for (int at = (int)threadIdx.x; at < DEPTH * SIZE; at += SIDE * SIDE) {
        int row = by_row ? at % SIZE : at / DEPTH, column = by_row ? at / SIZE : at % DEPTH;
        int64_t i = first + row, j = from + column;
        bool inside = i < count && j < width;
        to[column][row] = inside ? ((const T *)m.data)[offset + i * m.row + j * m.column] * by : (T)0;
    }
}

/* product[r][c] += the rows of a tile of a by those of one of b. */
template <class T, int COLUMNS>
__device__ static void multiply(T (&product)[tile<T>::EACH][tile<T>::EACH], shared_tiles<T, COLUMNS> &shared,
                                const struct matrix &a, int64_t a_offset, int64_t a_first, int64_t a_count, T a_by,
                                const struct matrix &b, int64_t b_offset, int64_t b_first, int64_t b_count, T b_by,
                                int64_t depth)
{
    enum { EACH = tile<T>::EACH };
    int y = (int)threadIdx.x / SIDE * EACH, x = (int)threadIdx.x % SIDE * EACH;
    for (int64_t from = 0; from < depth; from += DEPTH) {
        __syncthreads();
        load_turned(shared.left, a, a_offset, a_first, a_count, from, depth, a_by);
        load_turned(shared.right, b, b_offset, b_first, b_count, from, depth, b_by);
        __syncthreads();
        TD_UNROLL
        for (int k = 0; k < DEPTH; k++)
            for (int r = 0; r < EACH; r++)
                for (int c = 0; c < EACH; c++)
                    product[r][c] = fused(shared.left[k][y + r], shared.right[k][x + c], product[r][c]);
    }
}

/* sum[r][c] += the weights of a tile times the rows of m from first on, a strip of columns from column on. */
template <class T, int COLUMNS>
__device__ static void weigh(T (&sum)[tile<T>::EACH][COLUMNS / SIDE], shared_tiles<T, COLUMNS> &shared,
                             const struct matrix &m, int64_t offset, int64_t first, int64_t count, int64_t column,
                             int64_t width, T by)
{
    enum { EACH = tile<T>::EACH, SIZE = tile<T>::SIZE };
    int y = (int)threadIdx.x / SIDE * EACH, x = (int)threadIdx.x % SIDE * EACH;
    for (int from = 0; from < SIZE && first + from < count; from += DEPTH) {
        __syncthreads();
        for (int at = (int)threadIdx.x; at < DEPTH * COLUMNS; at += SIDE * SIDE) {
            int64_t i = first + from + at / COLUMNS, j = column + at % COLUMNS;
            bool inside = i < count && j < width;
            shared.weighed[at / COLUMNS][at % COLUMNS] =
                inside ? ((const T *)m.data)[offset + i * m.row + j * m.column] * by : (T)0;
        }
        __syncthreads();
        TD_UNROLL
        for (int k = 0; k < DEPTH; k++)
            for (int r = 0; r < EACH; r++)
                for (int c = 0; c < COLUMNS / SIDE; c++)
                    sum[r][c] = fused(shared.weight[from + k][y + r], shared.weighed[k][c / EACH * SIZE + x + c % EACH],
                                      sum[r][c]);
    }
}

/* Adds the mask to the score of query i and key j; false, and -inf, where it is not seen, or not there. */
template <class T>
__device__ static inline bool see(const struct attention &a, const int64_t *offset, int64_t i, int64_t j, T &score)
{
    bool sees = i < a.rows && j < a.keys && !(a.causal && j > i);
    if (sees && a.masked) {
        const struct matrix &mask = a.in[MASK];
        T m = ((const T *)mask.data)[offset[MASK] + i * mask.row + j * mask.column];
        score += m;
        sees = m != (T)-INFINITY;
    }
    score = sees ? score : (T)-INFINITY;
    return sees;
}

/* Whether a tile of the other matrix is left out: none of it is seen, and what times 0 is not 0 is not in it. */
template <class T, making MAKES>
__device__ static inline bool is_left_out(const struct attention &a, int64_t head, int64_t own, int64_t other)
{
    enum { SIZE = tile<T>::SIZE };
    bool keys_own = MAKES == OF_KEY || MAKES == OF_VALUE;
    int64_t key = (keys_own ? own : other) * SIZE, last_row = (keys_own ? other : own) * SIZE + SIZE - 1;
    return a.causal && key > (last_row < a.rows ? last_row : a.rows - 1) && !a.endless[head * a.other_tiles + other];
}

/* A row's scores become exponentials over the greatest so far; its sum and what has been weighed follow. The threads of
 * a row are half a warp. */
template <class T, int COLUMNS>
__device__ static void go_on(T (&s)[tile<T>::EACH], T &most, T &total, T (&sum)[COLUMNS / SIDE])
{
    enum { EACH = tile<T>::EACH };
    T now = most, here = 0;
    TD_UNROLL
    for (int c = 0; c < EACH; c++)
        now = s[c] > now ? s[c] : now;
    for (int by = SIDE / 2; by > 0; by /= 2) {
        T other = __shfl_xor_sync(0xffffffff, now, by);
        now = other > now ? other : now;
    }
    T base = now == (T)-INFINITY ? (T)0 : now; /* nothing was seen yet, and e^-inf is 0 */
    TD_UNROLL
    for (int c = 0; c < EACH; c++) {
        s[c] = td_exp_below(s[c] - base);
        here += s[c];
    }
    for (int by = SIDE / 2; by > 0; by /= 2)
        here += __shfl_xor_sync(0xffffffff, here, by);
    T less = td_exp_below(most - base);
    total = total * less + here;
    most = now;
    TD_UNROLL
    for (int c = 0; c < COLUMNS / SIDE; c++)
        sum[c] *= less;
}

/* Backwards: what weighs, from the scores s and the gradients d of their probabilities. */
template <class T, making MAKES>
__device__ static void weights_back(const struct attention &a, const int64_t *offset, int64_t head, int64_t own,
                                    int64_t other, T (&s)[tile<T>::EACH][tile<T>::EACH],
                                    const T (&d)[tile<T>::EACH][tile<T>::EACH])
{
    enum { EACH = tile<T>::EACH };
    bool keys_own = MAKES == OF_KEY || MAKES == OF_VALUE;
    int y = (int)threadIdx.x / SIDE * EACH, x = (int)threadIdx.x % SIDE * EACH;
    const T *logsumexp = (const T *)a.in[LOGSUMEXP].data + offset[LOGSUMEXP];
    TD_UNROLL
    for (int n = 0; n < EACH * EACH; n++) {
        int r = n / EACH, c = n % EACH;
        int64_t i = keys_own ? other + x + c : own + y + r, j = keys_own ? own + y + r : other + x + c;
        bool there = i < a.rows && j < a.keys, sees = see(a, offset, i, j, s[r][c]);
        T p = there ? exponential(s[r][c] - logsumexp[i * a.in[LOGSUMEXP].column]) : (T)0;
        if (MAKES == OF_VALUE)
            s[r][c] = p;
        else
            s[r][c] = sees ? p * (d[r][c] - ((const T *)a.dots)[head * a.rows + i]) : (T)0;
    }
}

/* Which operands are which side: own and other make the score, own_up and other_up the gradient of a probability. */
template <making MAKES> struct sides {
    static const bool KEYS_OWN = MAKES == OF_KEY || MAKES == OF_VALUE;
    static const int OWN = KEYS_OWN ? KEY : QUERY, OTHER = KEYS_OWN ? QUERY : KEY;
    static const int OWN_UP = KEYS_OWN ? VALUE : G, OTHER_UP = KEYS_OWN ? G : VALUE;
    static const int WEIGHED = MAKES == RESULT ? VALUE : MAKES == OF_QUERY ? KEY : MAKES == OF_KEY ? QUERY : G;
};

/* One tile of own rows and a strip of the result. */
template <class T, making MAKES, int COLUMNS>
__device__ static void attend(const struct attention &a, shared_tiles<T, COLUMNS> &shared, int64_t head, int64_t tile_,
                              int64_t strip)
{
    typedef sides<MAKES> side;
    enum { EACH = tile<T>::EACH, SIZE = tile<T>::SIZE };
    int y = (int)threadIdx.x / SIDE * EACH, x = (int)threadIdx.x % SIDE * EACH;
    int64_t offset[OPERANDS] = {0}, own = tile_ * SIZE, column = strip * COLUMNS;
    int64_t owns = side::KEYS_OWN ? a.keys : a.rows, others = side::KEYS_OWN ? a.rows : a.keys;
    int64_t width = side::WEIGHED == VALUE || side::WEIGHED == G ? a.value_width : a.width;
    T sum[EACH][COLUMNS / SIDE] = {}, most[EACH], total[EACH], scale = (T)a.scale;
    T own_by = side::OWN == QUERY ? scale : (T)1, other_by = side::OTHER == QUERY ? scale : (T)1;
    TD_UNROLL
    for (int r = 0; r < EACH; r++)
        most[r] = (T)-INFINITY, total[r] = 0;
    td_grid_seek(a.heads, (uint64_t)head, offset);
    for (int64_t at = 0; at < a.other_tiles; at++) {
        T s[EACH][EACH] = {}, d[EACH][EACH] = {};
        int64_t other = at * SIZE;
        if (is_left_out<T, MAKES>(a, head, tile_, at))
            continue;
        multiply(s, shared, a.in[side::OWN], offset[side::OWN], own, owns, own_by, a.in[side::OTHER],
                 offset[side::OTHER], other, others, other_by, a.width);
        if (MAKES == OF_QUERY || MAKES == OF_KEY)
            multiply(d, shared, a.in[side::OWN_UP], offset[side::OWN_UP], own, owns, (T)1, a.in[side::OTHER_UP],
                     offset[side::OTHER_UP], other, others, (T)1, a.value_width);
        if (MAKES != RESULT)
            weights_back<T, MAKES>(a, offset, head, own, other, s, d);
        TD_UNROLL
        for (int r = 0; r < EACH && MAKES == RESULT; r++) {
            for (int c = 0; c < EACH; c++)
                see(a, offset, own + y + r, other + x + c, s[r][c]);
            go_on<T, COLUMNS>(s[r], most[r], total[r], sum[r]);
        }
        __syncthreads(); /* the weights of the tile before have been read */
        TD_UNROLL
        for (int c = 0; c < EACH; c++)
            for (int r = 0; r < EACH; r++)
                shared.weight[x + c][y + r] = s[r][c];
        weigh(sum, shared, a.in[side::WEIGHED], offset[side::WEIGHED], other, others, column, width,
              side::WEIGHED == QUERY ? scale : (T)1);
    }
    TD_UNROLL
    for (int r = 0; r < EACH; r++) {
        int64_t row = own + y + r;
        T by = MAKES == RESULT ? others ? 1 / total[r] : (T)0 : MAKES == OF_QUERY ? scale : (T)1;
        if (row >= owns)
            continue;
        TD_UNROLL
        for (int c = 0; c < COLUMNS / SIDE; c++) {
            int64_t to = column + c / EACH * SIZE + x + c % EACH;
            if (to < width)
                ((T *)a.out)[(head * owns + row) * width + to] = sum[r][c] * by;
        }
        if (MAKES == RESULT && strip == 0 && x == 0)
            ((T *)a.logsumexp)[head * owns + row] = most[r] + td_log_of(total[r]);
    }
}

/* Strips of one tile, which read the same, follow each other, and then the tiles of one head. */
template <class T, making MAKES, int COLUMNS> __global__ void __launch_bounds__(SIDE *SIDE, 1) attend_all(attention a)
{
    __shared__ shared_tiles<T, COLUMNS> shared;
    int64_t items = (int64_t)a.heads.count * a.own_tiles * a.strips;
    for (int64_t item = blockIdx.x; item < items; item += gridDim.x)
        attend<T, MAKES, COLUMNS>(a, shared, item / a.strips / a.own_tiles, item / a.strips % a.own_tiles,
                                  item % a.strips);
}

/* ---- what is known before ---- */

/* Of g and y, a warp for each row. */
template <class T> __global__ void row_dots(attention a, T *dots)
{
    int64_t all = (int64_t)a.heads.count * a.rows, warps = (int64_t)gridDim.x * (blockDim.x / 32);
    for (int64_t row = (int64_t)(td_thread() / 32); row < all; row += warps) {
        int64_t offset[OPERANDS] = {0}, i = row % a.rows;
        T dot = 0;
        td_grid_seek(a.heads, (uint64_t)(row / a.rows), offset);
        const T *g = (const T *)a.in[G].data + offset[G] + i * a.in[G].row;
        const T *y = (const T *)a.in[Y].data + offset[Y] + i * a.in[Y].row;
        for (int64_t j = threadIdx.x % 32; j < a.value_width; j += 32)
            dot += g[j * a.in[G].column] * y[j * a.in[Y].column];
        for (int by = 16; by > 0; by /= 2)
            dot += __shfl_xor_sync(0xffffffff, dot, by);
        if (threadIdx.x % 32 == 0)
            dots[row] = dot;
    }
}

/* Whether the tiles of operand which (count rows of width) of each head hold inf or nan; added to what stands there. */
template <class T>
__global__ void find_endless(attention a, int which, int64_t count, int64_t width, int64_t tiles, bool adds, int *found)
{
    enum { SIZE = tile<T>::SIZE };
    for (int64_t item = blockIdx.x; item < (int64_t)a.heads.count * tiles; item += gridDim.x) {
        int64_t offset[OPERANDS] = {0}, first = item % tiles * SIZE;
        int bad = 0;
        td_grid_seek(a.heads, (uint64_t)(item / tiles), offset);
        for (int64_t at = threadIdx.x; at < SIZE * width; at += blockDim.x) {
            int64_t i = first + at / width, j = at % width;
            if (i >= count)
                break;
            T x = ((const T *)a.in[which].data)[offset[which] + i * a.in[which].row + j * a.in[which].column];
            bad |= x - x != 0;
        }
        bad = __syncthreads_or(bad);
        if (threadIdx.x == 0)
            found[item] = bad || (adds && found[item]);
    }
}

/* ---- launching ---- */

/* An operand of heads that have a matrix of dims dimensions each. */
static void add_operand(struct attention *a, int64_t (*steps)[TD_RANK_MAX], int rank, int k, const struct td_operand *x,
                        int dims)
{
    int before = x->rank - dims;
    int64_t matrix[2] = {0};
    memset(steps[k], 0, sizeof steps[k]);
    if (!x->data)
        return;
    for (int d = 0; d < dims; d++)
        matrix[2 - dims + d] = before + d >= 0 && x->shape[before + d] > 1 ? x->stride[before + d] : 0;
    for (int d = 0; d < rank; d++) {
        int from = before - (rank - d);
        steps[k][d] = from >= 0 && x->shape[from] > 1 ? x->stride[from] : 0;
    }
    a->in[k].data = x->data;
    a->in[k].row = matrix[0];
    a->in[k].column = matrix[1];
}

/* in begins with query, key and value, like has the dimensions of all heads; back: g, y and logsumexp, or NULL. */
static struct attention begin(const struct td_operand *in, const struct td_operand *mask,
                              const struct td_operand *const *back, const struct td_operand *like, bool causal,
                              double scale)
{
    struct attention a;
    int64_t steps[OPERANDS][TD_RANK_MAX];
    int rank = like->rank - 2;
    memset(&a, 0, sizeof a);
    memset(steps, 0, sizeof steps);
    a.rows = in[0].shape[in[0].rank - 2];
    a.width = in[0].shape[in[0].rank - 1];
    a.keys = in[1].shape[in[1].rank - 2];
    a.value_width = in[2].shape[in[2].rank - 1];
    a.scale = td_attention_scale(scale, a.width);
    a.causal = causal;
    a.masked = mask->data != NULL;
    for (int k = QUERY; k <= VALUE; k++)
        add_operand(&a, steps, rank, k, &in[k], 2);
    add_operand(&a, steps, rank, MASK, mask, 2);
    for (int k = G; k < OPERANDS && back; k++)
        add_operand(&a, steps, rank, k, back[k - G], k == LOGSUMEXP ? 1 : 2);
    a.heads = td_grid_begin<OPERANDS>();
    for (int d = 0; d < rank; d++) {
        int64_t stride[OPERANDS];
        for (int k = 0; k < OPERANDS; k++)
            stride[k] = steps[k][d];
        td_grid_add(a.heads, like->shape[d], stride);
    }
    return a;
}

template <class T> static int64_t tiles_of(int64_t count)
{
    return (count + tile<T>::SIZE - 1) / tile<T>::SIZE;
}

static int64_t at_most(int64_t blocks)
{
    return blocks < BLOCKS_MOST ? blocks : BLOCKS_MOST;
}

template <class T> static void look_for_endless(const struct attention &a, int which, bool adds, int *found)
{
    int64_t count = which == KEY || which == VALUE ? a.keys : a.rows;
    int64_t width = which == LOGSUMEXP ? 1 : which == VALUE || which == G ? a.value_width : a.width;
    struct attention b = a;
    if (which == LOGSUMEXP) /* whose rows are one row */
        b.in[which].row = b.in[which].column;
    td_enqueue(find_endless<T>, at_most((int64_t)a.heads.count * tiles_of<T>(count)), TD_THREADS, b, which, count,
               width, tiles_of<T>(count), adds, found);
}

/* width: of what is made; by strips of half as much where that is enough. */
template <class T, making MAKES> static void make(struct attention a, void *out, const int *endless, int64_t width)
{
    enum { NARROW = 64, WIDE = sizeof(T) == 4 ? 128 : NARROW }; /* f64 would not fit the registers */
    bool keys_own = MAKES == OF_KEY || MAKES == OF_VALUE, narrow = width <= NARROW;
    a.out = out;
    a.endless = endless;
    a.own_tiles = tiles_of<T>(keys_own ? a.keys : a.rows);
    a.other_tiles = tiles_of<T>(keys_own ? a.rows : a.keys);
    a.strips = narrow ? width > 0 || MAKES == RESULT : (width + WIDE - 1) / WIDE;
    int64_t items = (int64_t)a.heads.count * a.own_tiles * a.strips;
    td_enqueue(narrow ? attend_all<T, MAKES, NARROW> : attend_all<T, MAKES, WIDE>, at_most(items), SIDE * SIDE, a);
}

template <class T> static void forward(struct td_launch *launch)
{
    const struct td_attention_attrs *attrs = (const struct td_attention_attrs *)launch->attrs;
    struct attention a = begin(launch->in, &launch->in[3], NULL, &launch->out[0], attrs->is_causal, attrs->scale);
    int *endless = NULL;
    a.logsumexp = launch->out[1].data;
    if (a.causal) {
        endless = (int *)td_cuda_scratch(((size_t)a.heads.count * (size_t)tiles_of<T>(a.keys) + 1) * sizeof *endless);
        if (!endless) {
            launch->fault.code = TD_E_MEMORY;
            return;
        }
        look_for_endless<T>(a, VALUE, false, endless);
    }
    make<T, RESULT>(a, launch->out[0].data, endless, a.value_width);
}

template <class T> static void backward(struct td_launch *launch)
{
    const struct td_attention_back_attrs *attrs = (const struct td_attention_back_attrs *)launch->attrs;
    const struct td_operand *in = launch->in, *back[] = {&in[0], &in[4], &in[5]};
    struct attention a = begin(&in[1], &in[6], back, &launch->out[0], attrs->is_causal, attrs->scale);
    size_t rows = (size_t)a.heads.count * (size_t)a.rows, tiles = (size_t)a.heads.count * (size_t)tiles_of<T>(a.rows);
    size_t key_tiles = (size_t)a.heads.count * (size_t)tiles_of<T>(a.keys);
    T *dots = (T *)td_cuda_scratch((rows + 1) * sizeof *dots + (key_tiles + 2 * tiles + 1) * sizeof(int));
    int *of_keys = (int *)(dots + rows), *of_queries = of_keys + key_tiles, *of_rows = of_queries + tiles;
    if (!dots) {
        launch->fault.code = TD_E_MEMORY;
        return;
    }
    a.dots = dots;
    td_enqueue(row_dots<T>, at_most(td_blocks((int64_t)rows * 32, 1, TD_THREADS)), TD_THREADS, a, dots);
    if (a.causal) {
        look_for_endless<T>(a, KEY, false, of_keys);
        look_for_endless<T>(a, QUERY, false, of_queries);
        look_for_endless<T>(a, G, false, of_rows);
        look_for_endless<T>(a, LOGSUMEXP, true, of_rows);
    }
    make<T, OF_QUERY>(a, launch->out[0].data, of_keys, a.width);
    make<T, OF_KEY>(a, launch->out[1].data, of_queries, a.width);
    make<T, OF_VALUE>(a, launch->out[2].data, of_rows, a.value_width);
}

void TD_CUDA(attention)(struct td_launch *launch)
{
    if (launch->in[0].dtype == TD_F32)
        forward<float>(launch);
    else
        forward<double>(launch);
}

void TD_CUDA(attention_back)(struct td_launch *launch)
{
    if (launch->in[0].dtype == TD_F32)
        backward<float>(launch);
    else
        backward<double>(launch);
}
