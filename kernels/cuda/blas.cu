/* Products of floats by cuBLASLt, in IEEE arithmetic; those of integers, and what the library has no algorithm for, by
 * tiles. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cuda/blas.h"

#include <cublasLt.h>
#include <stdio.h>

#include <unordered_map>

#include "kernels/cuda/elements.h"

/* ---- by tiles ---- */

/* A block of threads makes a tile of the result, each of them every sixteenth row and column of it. */
#define TILE 64
#define DEPTH 16
#define SIDE 16
#define EACH (TILE / SIDE)

/* Sums stay in registers. */
#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

struct tiles {
    const char *a, *b, *bias;
    char *out;
    int64_t rows, columns, inner;
    int64_t a_step[2], b_step[2], bias_step, out_row;
    int64_t across, each, count; /* tiles of a row of them, of a product, of all */
    int rank;
    int64_t shape[TD_RANK_MAX], stride[3][TD_RANK_MAX]; /* of the products side by side: a, b, out */
    bool add;
};

/* A tile of x, a row of DEPTH for each of TILE lines; neighbouring threads read along what lies densely. */
template <class A, class W>
__device__ static void load_tile(W (*tile)[TILE + 1], const typename A::held *x, int64_t line_step, int64_t depth_step,
                                 int64_t lines, int64_t depth)
{
    bool along_lines = line_step == 1;
    for (int i = (int)threadIdx.x; i < TILE * DEPTH; i += SIDE * SIDE) {
        int line = along_lines ? i % TILE : i / DEPTH, k = along_lines ? i / TILE : i % DEPTH;
        bool inside = line < lines && k < depth;
        tile[k][line] = inside ? A::wide(x[line * line_step + k * depth_step]) : W(0);
    }
}

template <class Y, class W>
__device__ static void store_tile(const tiles &t, const W (*sum)[EACH], typename Y::held *out, int64_t row,
                                  int64_t column)
{
    const typename Y::held *bias = (const typename Y::held *)t.bias;
    UNROLL for (int i = 0; i < EACH; i++) UNROLL for (int j = 0; j < EACH; j++)
    {
        int64_t y = row + i * SIDE, x = column + j * SIDE;
        if (y >= t.rows || x >= t.columns)
            continue;
        typename Y::held *to = out + y * t.out_row + x;
        W value = sum[i][j];
        if (t.add)
            value += Y::wide(*to);
        if (bias)
            value += Y::wide(bias[x * t.bias_step]);
        *to = Y::of(value);
    }
}

template <class A, class Y> __global__ void __launch_bounds__(SIDE *SIDE) multiply_tiles(tiles t)
{
    typedef typename A::held held;
    typedef decltype(A::wide(held())) W;
    __shared__ W a_tile[DEPTH][TILE + 1], b_tile[DEPTH][TILE + 1];
    int x = (int)threadIdx.x % SIDE, y = (int)threadIdx.x / SIDE;
    for (int64_t item = blockIdx.x; item < t.count; item += gridDim.x) {
        int64_t product = item / t.each, at = item % t.each, row = at / t.across * TILE, column = at % t.across * TILE;
        int64_t offset[3] = {row * t.a_step[0], column * t.b_step[1], 0};
        for (int d = t.rank - 1; d >= 0; product /= t.shape[d--])
            for (int k = 0; k < 3; k++)
                offset[k] += product % t.shape[d] * t.stride[k][d];
        const held *a = (const held *)t.a + offset[0], *b = (const held *)t.b + offset[1];
        W sum[EACH][EACH] = {};
        for (int64_t k = 0; k < t.inner; k += DEPTH) {
            load_tile<A, W>(a_tile, a + k * t.a_step[1], t.a_step[0], t.a_step[1], t.rows - row, t.inner - k);
            load_tile<A, W>(b_tile, b + k * t.b_step[0], t.b_step[1], t.b_step[0], t.columns - column, t.inner - k);
            __syncthreads();
            for (int depth = 0; depth < DEPTH; depth++)
                UNROLL for (int i = 0; i < EACH; i++) UNROLL for (int j = 0; j < EACH; j++) sum[i][j] +=
                    a_tile[depth][y + i * SIDE] * b_tile[depth][x + j * SIDE];
            __syncthreads();
        }
        store_tile<Y, W>(t, sum, (typename Y::held *)t.out + offset[2], row + y, column + x);
    }
}

#define BLOCKS_MAX ((int64_t)1 << 20)

static void (*kernel_of(uint8_t dtype, uint8_t out))(tiles)
{
    switch (dtype) {
    case TD_I32:
        return multiply_tiles<td_as_integer<uint32_t>, td_as_integer<uint32_t>>;
    case TD_I64:
        return multiply_tiles<td_as_integer<uint64_t>, td_as_integer<uint64_t>>;
    case TD_F64:
        return multiply_tiles<td_as_real<double>, td_as_real<double>>;
    case TD_F16:
        return out == TD_F32 ? multiply_tiles<td_as_f16, td_as_real<float>> : multiply_tiles<td_as_f16, td_as_f16>;
    case TD_BF16:
        return out == TD_F32 ? multiply_tiles<td_as_bf16, td_as_real<float>> : multiply_tiles<td_as_bf16, td_as_bf16>;
    }
    return multiply_tiles<td_as_real<float>, td_as_real<float>>;
}

static void multiply_by_tiles(const struct td_products &p, const struct td_operand *bias, bool add)
{
    tiles t = {};
    t.a = (const char *)p.a.data;
    t.b = (const char *)p.b.data;
    t.out = (char *)p.out.data;
    t.rows = p.out.shape[0], t.columns = p.out.shape[1], t.inner = p.a.shape[1];
    t.out_row = p.out.stride[0];
    t.add = add;
    if (bias) {
        t.bias = (const char *)bias->data;
        t.bias_step = bias->rank ? bias->stride[0] : 0;
    }
    for (int k = 0; k < 2; k++)
        t.a_step[k] = p.a.stride[k], t.b_step[k] = p.b.stride[k];
    t.rank = p.rank;
    for (int d = 0; d < p.rank; d++) {
        t.shape[d] = p.shape[d];
        t.stride[0][d] = p.a_stride[d], t.stride[1][d] = p.b_stride[d], t.stride[2][d] = p.out_stride[d];
    }
    t.across = (t.columns + TILE - 1) / TILE;
    t.each = (t.rows + TILE - 1) / TILE * t.across;
    t.count = td_products_count(&p) * t.each;
    void (*kernel)(tiles) = kernel_of(p.a.dtype, p.out.dtype);
    td_enqueue(kernel, t.count < BLOCKS_MAX ? t.count : BLOCKS_MAX, SIDE * SIDE, t);
}

/* ---- by the library ---- */

/* What NVIDIA recommends for Hopper, and more than the generations before need. */
#define WORKSPACE_BYTES ((size_t)32 << 20)
/* Problems remembered, of some 800 bytes each. */
#define PLANS_MAX 4096
/* Products that one call makes at most: more are not for every algorithm. */
#define BATCH_MAX 65535

static cublasLtHandle_t handle;
static void *workspaces[TD_STREAMS]; /* what is in different streams is done at once */

cudaError_t td_cuda_blas_open(void)
{
    if (cublasLtCreate(&handle) != CUBLAS_STATUS_SUCCESS)
        return cudaErrorMemoryAllocation;
    cudaError_t error = cudaSuccess;
    for (int lane = 0; lane < TD_STREAMS && error == cudaSuccess; lane++)
        error = cudaMalloc(&workspaces[lane], WORKSPACE_BYTES);
    return error;
}

static void check(cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return;
    fprintf(stderr, "cuBLASLt: %s\n", cublasLtGetStatusString(status));
    td_cuda_check(cudaErrorUnknown, "a matrix product");
}

/* How the library reads a matrix: by rows, or turned by columns, which lie lead elements apart. A stride of a dimension
 * of one element never counts. */
static bool reads(const struct td_operand &x, int run)
{
    int64_t step = x.stride[!run];
    return (x.stride[run] == 1 || x.shape[run] == 1) && (x.shape[!run] == 1 || step >= x.shape[run]);
}

static int64_t lead_of(const struct td_operand &x, int run)
{
    return x.shape[!run] == 1 ? x.shape[run] : x.stride[!run];
}

bool td_cuda_reads_matrix(const struct td_operand &x)
{
    return reads(x, 1) || reads(x, 0);
}

/* Some algorithms take no bias that lies otherwise, whatever they say. */
#define BIAS_ALIGNMENT 16

bool td_cuda_reads_bias(const struct td_operand &bias)
{
    bool packed = bias.rank == 0 || bias.shape[0] == 1 || bias.stride[0] == 1;
    return packed && (uintptr_t)bias.data % BIAS_ALIGNMENT == 0;
}

/* All that an algorithm is chosen by; without gaps, since it is compared and hashed by its bytes. */
struct problem {
    int64_t rows, columns, inner, count;
    int64_t a_lead, b_lead, out_lead, a_step, b_step, out_step;
    uint16_t a_alignment, b_alignment, out_alignment;
    uint8_t dtype, flags;
};
#define A_TURNED 1
#define B_TURNED 2
#define BIASED 4
#define WIDENED 8 /* halves give f32 */
static_assert(sizeof(problem) == 11 * 8, "a problem has gaps");

struct problem_hash {
    size_t operator()(const problem &p) const
    {
        uint64_t words[sizeof p / 8], hash = 0;
        memcpy(words, &p, sizeof p);
        for (uint64_t word : words)
            hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15) ^ hash >> 32;
        return (size_t)hash;
    }
};
struct problem_equal {
    bool operator()(const problem &p, const problem &q) const
    {
        return !memcmp(&p, &q, sizeof p);
    }
};

/* How a problem is done. The library's matrices are stored by columns: to it out is turned, and b stands on the left.
 */
struct plan {
    bool works;
    cublasLtMatmulDescOpaque_t desc;
    cublasLtMatrixLayoutOpaque_t left, right, out;
    cublasLtMatmulAlgo_t algo;
};

static uint16_t alignment_of(const void *data)
{
    uintptr_t at = (uintptr_t)data | 256;
    return (uint16_t)(at & (~at + 1));
}

static cudaDataType type_of(uint8_t dtype)
{
    return dtype == TD_F64 ? CUDA_R_64F : dtype == TD_F16 ? CUDA_R_16F : dtype == TD_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static void lay_out(cublasLtMatrixLayoutOpaque_t *layout, const problem &p, cudaDataType type, bool turned,
                    int64_t rows, int64_t columns, int64_t lead, int64_t step)
{
    int32_t count = (int32_t)p.count;
    check(cublasLtMatrixLayoutInit(layout, type, (uint64_t)(turned ? rows : columns),
                                   (uint64_t)(turned ? columns : rows), lead));
    check(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
    check(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step));
}

static void describe(struct plan *plan, const problem &p, const void *bias)
{
    cublasComputeType_t compute = p.dtype == TD_F64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
    int32_t left = p.flags & B_TURNED ? CUBLAS_OP_T : CUBLAS_OP_N,
            right = p.flags & A_TURNED ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cudaDataType type = type_of(p.dtype);
    check(cublasLtMatmulDescInit(&plan->desc, compute, p.dtype == TD_F64 ? CUDA_R_64F : CUDA_R_32F));
    check(cublasLtMatmulDescSetAttribute(&plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &left, sizeof left));
    check(cublasLtMatmulDescSetAttribute(&plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, &right, sizeof right));
    if (p.flags & BIASED) {
        check(cublasLtMatmulDescSetAttribute(&plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        check(cublasLtMatmulDescSetAttribute(&plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    }
    lay_out(&plan->left, p, type, p.flags & B_TURNED, p.inner, p.columns, p.b_lead, p.b_step);
    lay_out(&plan->right, p, type, p.flags & A_TURNED, p.rows, p.inner, p.a_lead, p.a_step);
    lay_out(&plan->out, p, p.flags & WIDENED ? CUDA_R_32F : type, false, p.rows, p.columns, p.out_lead, p.out_step);
}

/* Partial sums are kept in what is computed in, or not made: a half's would be rounded on the way. */
static void choose(struct plan *plan, const problem &p)
{
    cublasLtMatmulPreferenceOpaque_t preference;
    cublasLtMatmulHeuristicResult_t result;
    uint64_t bytes = WORKSPACE_BYTES;
    uint32_t sums = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        uint32_t bytes;
    } aligned[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.b_alignment},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.a_alignment},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.out_alignment},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.out_alignment}};
    int found = 0;
    check(cublasLtMatmulPreferenceInit(&preference));
    check(cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                               sizeof bytes));
    check(cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums,
                                               sizeof sums));
    for (const auto &a : aligned)
        check(cublasLtMatmulPreferenceSetAttribute(&preference, a.attribute, &a.bytes, sizeof a.bytes));
    cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, &plan->desc, &plan->left, &plan->right, &plan->out,
                                                           &plan->out, &preference, 1, &result, &found);
    plan->works = status == CUBLAS_STATUS_SUCCESS && found && result.state == CUBLAS_STATUS_SUCCESS;
    if (plan->works)
        plan->algo = result.algo;
}

static struct plan *plan_of(const problem &p, const void *bias)
{
    static std::unordered_map<problem, plan, problem_hash, problem_equal> plans;
    auto known = plans.find(p);
    if (known != plans.end()) {
        if (p.flags & BIASED)
            check(cublasLtMatmulDescSetAttribute(&known->second.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                                 sizeof bias));
        return &known->second;
    }
    if (plans.size() == PLANS_MAX)
        plans.clear();
    struct plan *made = &plans[p];
    describe(made, p, bias);
    choose(made, p);
    return made;
}

static problem problem_of(const struct td_products &p, bool bias)
{
    problem q = {};
    bool a_turned = !reads(p.a, 1), b_turned = !reads(p.b, 1);
    q.rows = p.out.shape[0], q.columns = p.out.shape[1], q.inner = p.a.shape[1], q.count = p.rank ? p.shape[0] : 1;
    q.a_lead = lead_of(p.a, !a_turned), q.b_lead = lead_of(p.b, !b_turned), q.out_lead = lead_of(p.out, 1);
    if (p.rank)
        q.a_step = p.a_stride[0], q.b_step = p.b_stride[0], q.out_step = p.out_stride[0];
    q.a_alignment = alignment_of(p.a.data), q.b_alignment = alignment_of(p.b.data);
    q.out_alignment = alignment_of(p.out.data);
    q.dtype = p.a.dtype;
    q.flags = (uint8_t)((p.out.dtype != p.a.dtype ? WIDENED : 0) | (a_turned ? A_TURNED : 0) |
                        (b_turned ? B_TURNED : 0) | (bias ? BIASED : 0));
    return q;
}

/* The products along the only dimension. False if the library has no algorithm for them. */
static bool multiply_row(const struct td_products &p, const struct td_operand *bias, bool add)
{
    float one = 1, beta = add;
    double one_wide = 1, beta_wide = add;
    bool wide = p.out.dtype == TD_F64;
    struct plan *plan = plan_of(problem_of(p, bias), bias ? bias->data : NULL);
    if (!plan->works)
        return false;
    cublasStatus_t status =
        cublasLtMatmul(handle, &plan->desc, wide ? (void *)&one_wide : &one, p.b.data, &plan->left, p.a.data,
                       &plan->right, wide ? (void *)&beta_wide : &beta, p.out.data, &plan->out, p.out.data, &plan->out,
                       &plan->algo, workspaces[td_lane], WORKSPACE_BYTES, td_stream);
    plan->works = status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE;
    if (plan->works)
        check(status);
    return plan->works;
}

/* The bias in each row of out. */
static void put_bias(const struct td_products &p, const struct td_operand &bias)
{
    struct td_operand out = p.out, row;
    out.rank = 3;
    out.shape[0] = p.rank ? p.shape[0] : 1, out.stride[0] = p.rank ? p.out_stride[0] : 0;
    for (int d = 0; d < 2; d++)
        out.shape[1 + d] = p.out.shape[d], out.stride[1 + d] = p.out.stride[d];
    row = out;
    row.data = bias.data;
    row.stride[0] = row.stride[1] = 0;
    row.stride[2] = bias.rank ? bias.stride[0] : 0;
    td_cuda_copy(out, row);
}

/* A bias for which there is no algorithm may be what is added to. */
static void multiply_somehow(const struct td_products &p, const struct td_operand *bias, bool add)
{
    if (multiply_row(p, bias, add))
        return;
    if (bias && !add) {
        put_bias(p, *bias);
        bias = NULL;
        add = true;
        if (multiply_row(p, bias, add))
            return;
    }
    multiply_by_tiles(p, bias, add);
}

static void *moved(const struct td_operand &x, int64_t elements)
{
    return (char *)x.data + elements * (int64_t)td_dtype_size(x.dtype);
}

/* ---- products side by side ---- */

/* One dimension is the library's, those that lie alike in all three are one, and the rest is walked. */
static void merge_dims(struct td_products *p)
{
    int rank = 0;
    for (int d = 0; d < p->rank; d++) {
        int64_t size = p->shape[d];
        int before = rank - 1;
        bool merged = rank && p->a_stride[before] == p->a_stride[d] * size &&
                      p->b_stride[before] == p->b_stride[d] * size && p->out_stride[before] == p->out_stride[d] * size;
        int to = merged ? before : rank++;
        p->shape[to] = merged ? p->shape[to] * size : size;
        p->a_stride[to] = p->a_stride[d];
        p->b_stride[to] = p->b_stride[d];
        p->out_stride[to] = p->out_stride[d];
    }
    p->rank = rank;
}

static void multiply_in_steps(struct td_products p, const struct td_operand *bias, bool add);

/* Those before dimension d, and from there on. */
static void multiply_part(const struct td_products &p, int d, int64_t from, int64_t to, const struct td_operand *bias,
                          bool add)
{
    struct td_products part = p;
    part.a.data = moved(p.a, from * p.a_stride[d]);
    part.b.data = moved(p.b, from * p.b_stride[d]);
    part.out.data = moved(p.out, from * p.out_stride[d]);
    part.shape[d] = to - from;
    if (p.rank == 1) {
        multiply_somehow(part, bias, add);
        return;
    }
    for (int k = d; k + 1 < p.rank; k++) {
        part.shape[k] = p.shape[k + 1];
        part.a_stride[k] = p.a_stride[k + 1];
        part.b_stride[k] = p.b_stride[k + 1];
        part.out_stride[k] = p.out_stride[k + 1];
    }
    part.rank--;
    multiply_in_steps(part, bias, add);
}

/* The longest dimension is left for the library. */
static void multiply_in_steps(struct td_products p, const struct td_operand *bias, bool add)
{
    if (p.rank == 0) {
        multiply_somehow(p, bias, add);
        return;
    }
    int shortest = 0;
    for (int d = 1; d < p.rank; d++)
        shortest = p.shape[d] < p.shape[shortest] ? d : shortest;
    int64_t at_once = p.rank == 1 ? BATCH_MAX : 1;
    for (int64_t from = 0; from < p.shape[shortest]; from += at_once)
        multiply_part(p, shortest, from, from + at_once < p.shape[shortest] ? from + at_once : p.shape[shortest], bias,
                      add);
}

void td_cuda_multiply(const struct td_products &products, const struct td_operand *bias, bool add)
{
    bool floating = td_dtype_category(products.out.dtype) == TD_FLOATING;
    struct td_products p = products;
    merge_dims(&p);
    if (!floating || !td_cuda_reads_matrix(p.a) || !td_cuda_reads_matrix(p.b) || (bias && !td_cuda_reads_bias(*bias)))
        multiply_by_tiles(p, bias, add);
    else
        multiply_in_steps(p, bias, add);
}
