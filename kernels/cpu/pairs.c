/* More elementwise ops of two and three tensors: division with a remainder, logic, bits, and mixtures.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/functions.h"
#include "kernels/cpu/pairs.h"

/* Whether any element of b is read and is 0. */
static bool divides_by_zero(const struct td_operand *b)
{
    int64_t shape[TD_RANK_MAX], stride[TD_RANK_MAX];
    int rank = 0;
    for (int d = 0; d < b->rank; d++) {
        if (b->shape[d] == 0)
            return false;
        if (b->stride[d] == 0)
            continue;
        shape[rank] = b->shape[d];
        stride[rank++] = b->stride[d];
    }
    struct td_operand some = {.rank = (uint8_t)rank};
    memcpy(some.shape, shape, (size_t)rank * sizeof *shape);
    const int64_t *strides = stride;
    struct td_walk w;
    int64_t found = 0;
    for (td_walk_start(&w, rank, shape, 1, &strides, 0, td_operand_numel(&some)); w.run && !found; td_walk_next(&w)) {
        if (b->dtype == TD_I32)
            for (int64_t i = 0; i < w.run; i++)
                found |= ((const int32_t *)b->data)[w.at[0] + i * w.step[0]] == 0;
        else
            for (int64_t i = 0; i < w.run; i++)
                found |= ((const int64_t *)b->data)[w.at[0] + i * w.step[0]] == 0;
    }
    return found;
}

#define DIVISION(name, of_i32, of_i64, of_f32, of_f64)                                               \
    TD_BINARY_INNER(name##_i32, int32_t, int32_t, (int32_t)(of_i32))                                 \
    TD_BINARY_INNER(name##_i64, int64_t, int64_t, of_i64)                                            \
    TD_BINARY_INNER(name##_f32, float, float, of_f32)                                                \
    TD_BINARY_INNER(name##_f64, double, double, of_f64)                                              \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                                          \
        [TD_I32] = name##_i32, [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    void TD_CPU(name)(struct td_launch * launch)                                                     \
    {                                                                                                \
        uint8_t dtype = launch->in[1].dtype;                                                         \
        if (td_dtype_category(dtype) == TD_INTEGER && divides_by_zero(&launch->in[1]))               \
            launch->fault = (struct td_fault){.code = TD_E_ARGUMENT};                                \
        else                                                                                         \
            TD_CPU(iterate_launch)(name##_inner[dtype], launch);                                     \
    }

#define PAIR_TRUTH(name, truth) PAIR_ANY(name, uint8_t, uint8_t, uint8_t, uint8_t, uint8_t, truth, truth, truth, truth)

#define BITS(name, operator)                                                    \
    TD_BINARY_INNER(name##_bool, uint8_t, uint8_t, (a != 0) operator(b != 0))   \
    TD_BINARY_INNER(name##_i32, uint32_t, uint32_t, a operator b)               \
    TD_BINARY_INNER(name##_i64, uint64_t, uint64_t, a operator b)               \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                     \
        [TD_BOOL] = name##_bool, [TD_I32] = name##_i32, [TD_I64] = name##_i64}; \
    PAIR(name)

#define SHIFT(name, truth, of_i32, of_i64)                                      \
    TD_BINARY_INNER(name##_bool, uint8_t, uint8_t, truth)                       \
    TD_BINARY_INNER(name##_i32, int32_t, int32_t, of_i32)                       \
    TD_BINARY_INNER(name##_i64, int64_t, int64_t, of_i64)                       \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                     \
        [TD_BOOL] = name##_bool, [TD_I32] = name##_i32, [TD_I64] = name##_i64}; \
    PAIR(name)

/* ---- of three tensors and a number p ---- */

#define TRIPLE_INNER(name, type, expression)                                        \
    static void name(int64_t count, void *const *at, const int64_t *stride)         \
    {                                                                               \
        type *y = at[0];                                                            \
        const type *pa = at[1], *pb = at[2], *pc = at[3], p = *(const type *)at[4]; \
        int64_t sy = stride[0], sa = stride[1], sb = stride[2], sc = stride[3];     \
        (void)p;                                                                    \
        if (sy == 1 && sa == 1 && sb == 1 && sc == 1) {                             \
            TD_INDEPENDENT                                                          \
            for (int64_t i = 0; i < count; i++) {                                   \
                type a = pa[i], b = pb[i], c = pc[i];                               \
                y[i] = expression;                                                  \
            }                                                                       \
        } else if (sy == 1 && sa == 1 && sb == 1 && sc == 0) {                      \
            type c = *pc;                                                           \
            TD_INDEPENDENT                                                          \
            for (int64_t i = 0; i < count; i++) {                                   \
                type a = pa[i], b = pb[i];                                          \
                y[i] = expression;                                                  \
            }                                                                       \
        } else {                                                                    \
            for (int64_t i = 0; i < count; i++) {                                   \
                type a = pa[i * sa], b = pb[i * sb], c = pc[i * sc];                \
                y[i * sy] = expression;                                             \
            }                                                                       \
        }                                                                           \
    }

static void with_number(td_inner *inner, struct td_launch *launch, double number)
{
    uint64_t element = 0;
    struct td_operand operand = launch->out[0];
    td_number_store((struct td_number){.category = TD_FLOATING, .f = number}, operand.dtype, &element);
    operand.data = &element;
    memset(operand.stride, 0, sizeof operand.stride);
    TD_CPU(iterate)
    (inner, 5,
     (const struct td_operand *[]){&launch->out[0], &launch->in[0], &launch->in[1], &launch->in[2], &operand});
}

/* Of a launch's attributes. */
#define WITH_NUMBER(name, number)                                        \
    void TD_CPU(name)(struct td_launch * launch)                         \
    {                                                                    \
        const struct td_##name##_attrs *attrs = launch->attrs;           \
        (void)attrs;                                                     \
        with_number(name##_inner[launch->out[0].dtype], launch, number); \
    }
#define TRIPLE_REAL(name, number, of_f32, of_f64)                                                         \
    TRIPLE_INNER(name##_f32, float, of_f32)                                                               \
    TRIPLE_INNER(name##_f64, double, of_f64)                                                              \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {[TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    WITH_NUMBER(name, number)
/* Integers in unsigned arithmetic, which wraps. */
#define TRIPLE_NUMBER(name, number, of_numbers)                                                      \
    TRIPLE_INNER(name##_i32, uint32_t, of_numbers)                                                   \
    TRIPLE_INNER(name##_i64, uint64_t, of_numbers)                                                   \
    TRIPLE_INNER(name##_f32, float, of_numbers)                                                      \
    TRIPLE_INNER(name##_f64, double, of_numbers)                                                     \
    static td_inner *const name##_inner[TD_DTYPE_LIMIT] = {                                          \
        [TD_I32] = name##_i32, [TD_I64] = name##_i64, [TD_F32] = name##_f32, [TD_F64] = name##_f64}; \
    WITH_NUMBER(name, number)

#include "kernels/pairs.def"
