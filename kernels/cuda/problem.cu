/* Batches of matrices, in and out of what the libraries work on. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/problem.h"

#include <math.h>

#include "kernels/cuda/grid.h"

#define BLOCKS_MAX ((int64_t)1 << 16)
/* What is worked in at once, if one problem does not take more. */
#define ROOM_BYTES ((int64_t)256 << 20)
#define ALIGNMENT 256

static int64_t blocks_of(int64_t count)
{
    int64_t blocks = td_blocks(count, 1, TD_THREADS);
    return blocks < BLOCKS_MAX ? blocks : BLOCKS_MAX;
}

/* ---- kernels: a thread for each element, and the next of its kind ---- */

#define EACH(i, count) (uint64_t i = td_thread(); i < (uint64_t)(count); i += (uint64_t)gridDim.x * blockDim.x)

__device__ static inline int64_t offset_of(const td_matrices &x, uint64_t k)
{
    int64_t offset = 0;
    for (int d = x.rank - 1; d >= 0; d--)
        offset += (int64_t)td_split(&k, (uint64_t)x.shape[d]) * x.stride[d];
    return offset;
}

__device__ static inline bool is_inside(int part, uint64_t row, uint64_t column)
{
    return part == TD_ALL || row == column || (part == TD_LOWER ? column < row : column > row);
}

template <class T> __global__ void load(td_matrices x, int64_t from, int64_t count, int part, T *to, int *wrong)
{
    for
        EACH(i, count)
        {
            uint64_t k = i, row = td_split(&k, (uint64_t)x.rows), column = td_split(&k, (uint64_t)x.columns);
            int64_t at = offset_of(x, (uint64_t)from + k) + (int64_t)row * x.row_step + (int64_t)column * x.column_step;
            T value = is_inside(part, row, column) ? ((const T *)x.data)[at] : T(0);
            to[i] = value;
            if (wrong && !isfinite(value))
                wrong[k] = 1;
        }
}

/* Ones on the diagonal can be factored in any way. */
template <class T> __global__ void replace(int64_t rows, int64_t columns, int64_t count, T *to, const int *wrong)
{
    for
        EACH(i, count)
        {
            uint64_t k = i, row = td_split(&k, (uint64_t)rows), column = td_split(&k, (uint64_t)columns);
            if (wrong[k])
                to[i] = row == column;
        }
}

template <class T>
__global__ void store(T *out, int64_t rows, int64_t columns, int64_t count, int part, const T *from, int64_t lead,
                      int64_t step, const int *wrong, int wrong_step)
{
    for
        EACH(i, count)
        {
            uint64_t k = i, column = td_split(&k, (uint64_t)columns), row = td_split(&k, (uint64_t)rows);
            T value =
                is_inside(part, row, column) ? from[(int64_t)k * step + (int64_t)column * lead + (int64_t)row] : T(0);
            out[i] = wrong[k * (uint64_t)wrong_step] ? T(NAN) : value;
        }
}

template <class T>
__global__ void finish(T *out, int64_t rows, int64_t columns, int64_t count, int part, const int *wrong, int wrong_step)
{
    for
        EACH(i, count)
        {
            uint64_t k = i, column = td_split(&k, (uint64_t)columns), row = td_split(&k, (uint64_t)rows);
            if (wrong[k * (uint64_t)wrong_step])
                out[i] = T(NAN);
            else if (!is_inside(part, row, column))
                out[i] = 0;
        }
}

template <class T> __global__ void put_diagonal(T *out, int64_t n, int64_t count, const T *values)
{
    for
        EACH(i, count)
        {
            uint64_t k = i, column = td_split(&k, (uint64_t)n), row = td_split(&k, (uint64_t)n);
            out[i] = row != column ? T(0) : values ? values[k] : T(1);
        }
}

/* The lowest number is the first problem's. */
#define FAULT_BITS 31

__global__ void note_faults(const int *info, int64_t from, int64_t count, unsigned long long *fault)
{
    for
        EACH(k, count)
    if (info[k] > 0)
        atomicMin(fault, ((unsigned long long)from + k) << FAULT_BITS | (unsigned)info[k]);
}

__global__ void note_wrong(const int *info, int64_t count, int *wrong)
{
    for
        EACH(k, count)
    if (info[k])
        wrong[k] = 1;
}

__global__ void point_at(td_matrices x, int64_t from, int64_t count, int64_t bytes, void **places)
{
    for
        EACH(k, count)
    places[k] = x.data + offset_of(x, (uint64_t)from + k) * bytes;
}

/* ---- their launches ---- */

td_matrices td_turned(const td_matrices &x)
{
    td_matrices y = x;
    y.rows = x.columns, y.columns = x.rows;
    y.row_step = x.column_step, y.column_step = x.row_step;
    return y;
}

char *td_results(const td_problems &p, const td_matrices &out)
{
    return out.data + p.from * td_elements(out) * (int64_t)td_dtype_size(p.dtype);
}

td_matrices td_row_of_matrices(const td_problems &p, void *data, int64_t rows, int64_t columns)
{
    td_matrices y = {};
    int64_t each = rows * columns;
    y.data = (char *)data - p.from * each * (int64_t)td_dtype_size(p.dtype);
    y.rows = rows, y.columns = columns;
    y.row_step = columns, y.column_step = 1;
    y.rank = 1;
    y.shape[0] = p.from + p.now;
    y.stride[0] = each;
    return y;
}

void *td_matrix_at(const td_problems &p, const td_matrices &x, int k)
{
    int64_t offset = 0, at = p.from + k;
    for (int d = x.rank - 1; d >= 0; at /= x.shape[d--])
        offset += at % x.shape[d] * x.stride[d];
    return x.data + offset * (int64_t)td_dtype_size(p.dtype);
}

struct loading {
    const td_problems &p;
    const td_matrices &x;
    int64_t matrices;
    td_triangle part;
    void *to;
    bool factored;
    template <class T> void with() const
    {
        int64_t count = matrices * td_elements(x);
        td_enqueue(load<T>, blocks_of(count), TD_THREADS, x, p.from, count, part, (T *)to, factored ? p.wrong : NULL);
        if (factored)
            td_enqueue(replace<T>, blocks_of(count), TD_THREADS, x.rows, x.columns, count, (T *)to, p.wrong);
    }
};

void td_load_matrices(const td_problems &p, const td_matrices &x, int64_t count, void *to)
{
    td_for_real(p.dtype, loading{p, x, count, TD_ALL, to, false});
}

void td_load_factors(const td_problems &p, const td_matrices &x, td_triangle part, void *to)
{
    td_for_real(p.dtype, loading{p, x, p.matrices(), part, to, true});
}

struct storing {
    const td_problems &p;
    const td_matrices &out;
    td_triangle part;
    const void *from;
    int64_t lead, step;
    template <class T> void with() const
    {
        int64_t count = p.now * td_elements(out);
        td_enqueue(store<T>, blocks_of(count), TD_THREADS, (T *)td_results(p, out), out.rows, out.columns, count, part,
                   (const T *)from, lead, step, p.wrong, p.shared ? 0 : 1);
    }
};

void td_store_matrices(const td_problems &p, const td_matrices &out, td_triangle part, const void *from, int64_t lead,
                       int64_t step)
{
    td_for_real(p.dtype, storing{p, out, part, from, lead, step});
}

struct finishing {
    const td_problems &p;
    const td_matrices &out;
    td_triangle part;
    template <class T> void with() const
    {
        int64_t count = p.now * td_elements(out);
        td_enqueue(finish<T>, blocks_of(count), TD_THREADS, (T *)td_results(p, out), out.rows, out.columns, count, part,
                   p.wrong, p.shared ? 0 : 1);
    }
};

void td_finish_matrices(const td_problems &p, const td_matrices &out, td_triangle part)
{
    td_for_real(p.dtype, finishing{p, out, part});
}

struct putting_diagonal {
    const td_problems &p;
    const td_matrices &out;
    const void *values;
    template <class T> void with() const
    {
        int64_t count = p.now * td_elements(out);
        td_enqueue(put_diagonal<T>, blocks_of(count), TD_THREADS, (T *)td_results(p, out), out.rows, count,
                   (const T *)values);
    }
};

void td_put_diagonal(const td_problems &p, const td_matrices &out, const void *values)
{
    td_for_real(p.dtype, putting_diagonal{p, out, values});
}

void td_note_faults(const td_problems &p)
{
    int64_t count = p.matrices();
    td_enqueue(note_faults, blocks_of(count), TD_THREADS, p.info, p.from, count, p.fault);
}

void td_note_wrong(const td_problems &p)
{
    td_enqueue(note_wrong, blocks_of(p.now), TD_THREADS, p.info, p.now, p.wrong);
}

void td_point_at(const td_problems &p, const td_matrices &x, void **places)
{
    td_enqueue(point_at, blocks_of(p.now), TD_THREADS, x, p.from, p.now, (int64_t)td_dtype_size(p.dtype), places);
}

/* ---- problems of a launch ---- */

/* The last dimensions of x; the strides of its batch, repeated to that of the problems. A vector is a matrix of one
 * column. */
static td_matrices split(const struct td_operand *x, int inner, int rank, const int64_t *shape)
{
    td_matrices y = {};
    int own = x->rank - inner;
    y.data = (char *)x->data;
    y.rows = inner > 0 ? x->shape[own] : 1, y.row_step = inner > 0 ? x->stride[own] : 1;
    y.columns = inner > 1 ? x->shape[own + 1] : 1, y.column_step = inner > 1 ? x->stride[own + 1] : 1;
    y.rank = rank;
    for (int d = 0; d < rank; d++) {
        int from = d - (rank - own);
        y.shape[d] = shape[d];
        y.stride[d] = from < 0 || (x->shape[from] == 1 && shape[d] != 1) ? 0 : x->stride[from];
    }
    return y;
}

td_problems td_problems_of(struct td_launch *launch, const int *inner)
{
    td_problems p = {};
    const struct td_operand *out = &launch->out[0];
    int inputs = launch->in_count, rank = out->rank - inner[inputs];
    p.launch = launch;
    p.dtype = out->dtype;
    p.count = 1;
    for (int d = 0; d < rank; d++)
        p.count *= out->shape[d];
    for (int k = 0; k < inputs + launch->op->output_count; k++)
        p.part[k] = split(k < inputs ? &launch->in[k] : &launch->out[k - inputs], inner[k], rank, out->shape);
    return p;
}

/* What the libraries count fits their integers. */
static bool fits(const td_problems &p)
{
    for (int k = 0; k < p.launch->in_count; k++)
        if (p.part[k].rows > INT32_MAX || p.part[k].columns > INT32_MAX || td_elements(p.part[k]) > INT32_MAX)
            return false;
    return true;
}

struct rooms {
    char *memory;
    size_t used;

    char *take(size_t bytes)
    {
        char *at = memory ? memory + used : NULL;
        used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return at;
    }
};

/* Where everything is, of a number of problems at once; returns how many bytes that takes. */
static size_t lay_out(td_problems &p, char *memory, int64_t at_once)
{
    rooms all = {memory, 0};
    size_t count = (size_t)at_once, factors = p.shared ? 1 : count;
    p.fault = (unsigned long long *)all.take(sizeof *p.fault);
    for (int k = 0; k < TD_ROOMS; k++)
        p.room[k] = all.take(p.room_bytes[k] * (k ? count : factors));
    p.pivots = all.take(p.pivot_bytes * factors);
    p.info = (int *)all.take(count * sizeof *p.info);
    p.wrong = (int *)all.take(count * sizeof *p.wrong);
    p.places = (void **)all.take(2 * count * sizeof *p.places);
    return all.used;
}

static int64_t most_at_once(const td_problems &p)
{
    int64_t bytes = (int64_t)(p.pivot_bytes + 2 * sizeof *p.info + 2 * sizeof *p.places), most;
    for (size_t room : p.room_bytes)
        bytes += (int64_t)room;
    most = ROOM_BYTES / bytes;
    most = most > TD_SOLVER_BATCH ? TD_SOLVER_BATCH : most < 1 ? 1 : most;
    return most < p.count ? most : p.count;
}

/* False: there is no memory for it. */
static bool solve_in_steps(td_problems &p, td_solver *solve)
{
    int64_t at_once = most_at_once(p);
    char *memory = td_solver_memory(lay_out(p, NULL, at_once));
    if (!memory)
        return false;
    lay_out(p, memory, at_once);
    td_cuda_check(cudaMemsetAsync(p.fault, 0xff, sizeof *p.fault, td_stream), "linear algebra");
    for (; p.from < p.count && !td_solver_has_refused() && !p.is_for_host; p.from += p.now) {
        p.now = (int)(p.count - p.from < at_once ? p.count - p.from : at_once);
        if (p.from == 0 || !p.shared) {
            td_cuda_check(cudaMemsetAsync(p.info, 0, (size_t)p.now * sizeof *p.info, td_stream), "linear algebra");
            td_cuda_check(cudaMemsetAsync(p.wrong, 0, (size_t)p.now * sizeof *p.wrong, td_stream), "linear algebra");
        }
        solve(p);
    }
    return true;
}

static void look_for_fault(const td_problems &p)
{
    unsigned long long fault;
    td_cuda_fetch(&fault, p.fault, sizeof fault);
    if (fault == ~0ull)
        return;
    p.launch->fault.code = TD_E_SINGULAR;
    p.launch->fault.value = (int64_t)(fault & ((1ull << FAULT_BITS) - 1));
    p.launch->fault.position = (int64_t)(fault >> FAULT_BITS);
    p.launch->fault.size = p.count;
}

void td_problems_solve(td_problems &p, td_solver *solve)
{
    if (p.count == 0)
        return;
    if (!fits(p) || !td_solver_begin()) {
        td_cuda_on_host(p.launch);
        return;
    }
    if (!solve_in_steps(p, solve) || td_solver_has_refused() || p.is_for_host)
        td_cuda_on_host(p.launch);
    else if (td_op_fails_for_data(p.launch->op))
        look_for_fault(p);
    td_solver_end();
}
