/* cuBLASLt on the host, as far as kernels/cuda uses it: products are made naively, by the stream, when somebody waits
 * for it. As strict as the library: what was not set counts, memory is as aligned as a caller said, and not every
 * problem has an algorithm. Behaviour of the functions: cuBLAS 13. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_CUBLASLT_H
#define TD_TESTS_CUBLASLT_H

#include <cuda_runtime.h>

#include "kernels/scalar.h"

enum cublasStatus_t {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_64F = 70 };
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4 };
enum { CUBLASLT_REDUCTION_SCHEME_NONE = 0, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2 };
enum cublasLtMatmulDescAttributes_t {
    CUBLASLT_MATMUL_DESC_TRANSA = 3,
    CUBLASLT_MATMUL_DESC_TRANSB = 4,
    CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
    CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum cublasLtMatrixLayoutAttribute_t {
    CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5,
    CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6
};
enum cublasLtMatmulPreferenceAttributes_t {
    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
    CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};

struct cublasLtMatmulDescOpaque_t {
    cublasComputeType_t compute;
    cudaDataType scale;
    int32_t turned[2];
    uint32_t epilogue;
    const void *bias;
};
struct cublasLtMatrixLayoutOpaque_t {
    cudaDataType type;
    uint64_t rows, columns; /* of what lies there, by columns */
    int64_t lead, offset;   /* to the next column, and matrix */
    int32_t count;
};
struct cublasLtMatmulPreferenceOpaque_t {
    uint32_t alignment[4], reductions;
    uint64_t workspace;
};
/* What it may count on, and the problem that it is for. */
struct cublasLtMatmulAlgo_t {
    uint32_t alignment[4];
    uint64_t problem, workspace;
};
struct cublasLtMatmulHeuristicResult_t {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
};
typedef cublasLtMatmulDescOpaque_t *cublasLtMatmulDesc_t;
typedef cublasLtMatrixLayoutOpaque_t *cublasLtMatrixLayout_t;
typedef cublasLtMatmulPreferenceOpaque_t *cublasLtMatmulPreference_t;
typedef struct fake_blas *cublasLtHandle_t;

static inline cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    static char one;
    *handle = (cublasLtHandle_t)(void *)&one;
    return CUBLAS_STATUS_SUCCESS;
}

static inline const char *cublasLtGetStatusString(cublasStatus_t)
{
    return "a status of the emulator's";
}

static inline cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t desc, cublasComputeType_t compute,
                                                    cudaDataType scale)
{
    *desc = {compute, scale, {CUBLAS_OP_N, CUBLAS_OP_N}, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t fake_set(void *to, size_t size, const void *from, size_t bytes)
{
    if (size != bytes)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, from, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                                            cublasLtMatmulDescAttributes_t attribute, const void *value,
                                                            size_t bytes)
{
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return fake_set(&desc->turned[attribute - CUBLASLT_MATMUL_DESC_TRANSA], sizeof(int32_t), value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return fake_set(&desc->epilogue, sizeof desc->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return fake_set(&desc->bias, sizeof desc->bias, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

static inline cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t layout, cudaDataType type, uint64_t rows,
                                                      uint64_t columns, int64_t lead)
{
    *layout = {type, rows, columns, lead, 0, 1};
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                              cublasLtMatrixLayoutAttribute_t attribute,
                                                              const void *value, size_t bytes)
{
    if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
        return fake_set(&layout->count, sizeof layout->count, value, bytes);
    return fake_set(&layout->offset, sizeof layout->offset, value, bytes);
}

static inline cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t preference)
{
    *preference = {{256, 256, 256, 256}, 7, 0};
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                                  cublasLtMatmulPreferenceAttributes_t attribute,
                                                                  const void *value, size_t bytes)
{
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return fake_set(&preference->workspace, sizeof preference->workspace, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        return fake_set(&preference->reductions, sizeof preference->reductions, value, bytes);
    return fake_set(&preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], sizeof(uint32_t),
                    value, bytes);
}

/* A product as it was asked for. */
struct fake_product {
    cublasLtMatmulDescOpaque_t desc;
    cublasLtMatrixLayoutOpaque_t a, b, c, d;
    double alpha, beta;
    const char *a_data, *b_data, *c_data;
    char *d_data;

    bool fits(const cublasLtMatrixLayoutOpaque_t &x) const
    {
        return x.lead >= (int64_t)x.rows && x.rows && x.columns && x.count == d.count && x.count >= 1;
    }

    bool is_sound() const
    {
        uint64_t rows = desc.turned[0] ? a.columns : a.rows, inner = desc.turned[0] ? a.rows : a.columns;
        uint64_t inner_b = desc.turned[1] ? b.columns : b.rows, columns = desc.turned[1] ? b.rows : b.columns;
        bool wide = d.type == CUDA_R_64F;
        bool half = a.type == CUDA_R_16F || a.type == CUDA_R_16BF;
        return fits(a) && fits(b) && fits(c) && fits(d) && rows == d.rows && columns == d.columns && inner == inner_b &&
               c.rows == d.rows && c.columns == d.columns && a.type == b.type && c.type == d.type &&
               (a.type == d.type || (half && d.type == CUDA_R_32F)) &&
               desc.compute == (wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F) &&
               desc.scale == (wide ? CUDA_R_64F : CUDA_R_32F);
    }

    /* What an algorithm is chosen by. */
    uint64_t problem() const
    {
        const uint64_t told[] = {d.rows,
                                 d.columns,
                                 a.columns,
                                 (uint64_t)a.lead,
                                 (uint64_t)b.lead,
                                 (uint64_t)d.lead,
                                 (uint64_t)d.type,
                                 (uint64_t)d.count,
                                 (uint64_t)a.offset,
                                 (uint64_t)b.offset,
                                 (uint64_t)d.offset,
                                 desc.epilogue,
                                 (uint64_t)desc.turned[0] * 2 + (uint64_t)desc.turned[1]};
        uint64_t hash = 1;
        for (uint64_t word : told)
            hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15) ^ hash >> 29;
        return hash;
    }
};

static inline double fake_load(cudaDataType type, const char *data, int64_t k)
{
    switch (type) {
    case CUDA_R_32F:
        return (double)((const float *)data)[k];
    case CUDA_R_64F:
        return ((const double *)data)[k];
    case CUDA_R_16F:
        return (double)td_f32_of_f16(((const td_f16 *)data)[k]);
    case CUDA_R_16BF:
        return (double)td_f32_of_bf16(((const td_bf16 *)data)[k]);
    }
    return 0;
}

static inline void fake_store(cudaDataType type, char *data, int64_t k, double x)
{
    switch (type) {
    case CUDA_R_32F:
        ((float *)data)[k] = (float)x;
        break;
    case CUDA_R_64F:
        ((double *)data)[k] = x;
        break;
    case CUDA_R_16F:
        ((td_f16 *)data)[k] = td_f16_of_f32((float)x);
        break;
    case CUDA_R_16BF:
        ((td_bf16 *)data)[k] = td_bf16_of_f32((float)x);
        break;
    }
}

/* Adds up in T, as the compute type says. */
template <class T> static void fake_multiply(const fake_product &p)
{
    uint64_t inner = p.desc.turned[0] ? p.a.rows : p.a.columns;
    int64_t a_row = p.desc.turned[0] ? p.a.lead : 1, a_step = p.desc.turned[0] ? 1 : p.a.lead;
    int64_t b_column = p.desc.turned[1] ? 1 : p.b.lead, b_step = p.desc.turned[1] ? p.b.lead : 1;
    for (int64_t n = 0; n < p.d.count; n++)
        for (int64_t j = 0; j < (int64_t)p.d.columns; j++)
            for (int64_t i = 0; i < (int64_t)p.d.rows; i++) {
                int64_t a = n * p.a.offset + i * a_row, b = n * p.b.offset + j * b_column;
                T sum = 0;
                for (uint64_t k = 0; k < inner; k++, a += a_step, b += b_step)
                    sum += (T)fake_load(p.a.type, p.a_data, a) * (T)fake_load(p.b.type, p.b_data, b);
                sum *= (T)p.alpha;
                if (p.beta != 0)
                    sum += (T)p.beta * (T)fake_load(p.c.type, p.c_data, n * p.c.offset + j * p.c.lead + i);
                if (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
                    sum += (T)fake_load(p.d.type, (const char *)p.desc.bias, i);
                fake_store(p.d.type, p.d_data, n * p.d.offset + j * p.d.lead + i, (double)sum);
            }
}

static inline void fake_product_run(void *data)
{
    const fake_product *p = (const fake_product *)data;
    if (p->desc.compute == CUBLAS_COMPUTE_64F)
        fake_multiply<double>(*p);
    else
        fake_multiply<float>(*p);
}

static inline bool fake_is_aligned(const void *data, uint32_t bytes)
{
    return (uintptr_t)data % bytes == 0;
}

/* One problem in eight has no algorithm, and biases of f64 have none. */
static inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                                            cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                            cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                            cublasLtMatmulPreference_t preference, int wanted,
                                                            cublasLtMatmulHeuristicResult_t *result, int *count)
{
    fake_product p = {*desc, *a, *b, *c, *d, 1, 0, NULL, NULL, NULL, NULL};
    *count = 0;
    if (!p.is_sound() || wanted < 1 || preference->reductions == 7) /* sums rounded on the way */
        return CUBLAS_STATUS_INVALID_VALUE;
    if (p.problem() % 8 == 0 || (desc->epilogue == CUBLASLT_EPILOGUE_BIAS && d->type == CUDA_R_64F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    result->state = CUBLAS_STATUS_SUCCESS;
    memcpy(result->algo.alignment, preference->alignment, sizeof result->algo.alignment);
    result->algo.problem = p.problem();
    result->algo.workspace = result->workspaceSize = preference->workspace / 2;
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
                                            const void *a_data, cublasLtMatrixLayout_t a, const void *b_data,
                                            cublasLtMatrixLayout_t b, const void *beta, const void *c_data,
                                            cublasLtMatrixLayout_t c, void *d_data, cublasLtMatrixLayout_t d,
                                            const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
                                            cudaStream_t stream)
{
    bool wide = desc->scale == CUDA_R_64F;
    fake_product p = {*desc,
                      *a,
                      *b,
                      *c,
                      *d,
                      wide ? *(const double *)alpha : (double)*(const float *)alpha,
                      wide ? *(const double *)beta : (double)*(const float *)beta,
                      (const char *)a_data,
                      (const char *)b_data,
                      (const char *)c_data,
                      (char *)d_data};
    const void *data[] = {a_data, b_data, c_data, d_data};
    if (!p.is_sound() || algo->problem != p.problem() || algo->workspace > bytes || (bytes && !workspace))
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int k = 0; k < 4; k++)
        if (!fake_is_aligned(data[k], algo->alignment[k]))
            return CUBLAS_STATUS_EXECUTION_FAILED;
    if (desc->epilogue == CUBLASLT_EPILOGUE_BIAS && !fake_is_aligned(desc->bias, 16))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    fake_launch(stream, 1, 1, fake_product_run, new fake_product(p),
                [](void *product) { delete (fake_product *)product; });
    return CUBLAS_STATUS_SUCCESS;
}

#endif
