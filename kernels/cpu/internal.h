/* Private to kernels/cpu. Everything here is compiled once for each instruction set (TD_ISA), and its names carry
 * that set's: TD_CPU(add) is td_cpu_add_avx2. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_INTERNAL_H
#define TD_KERNELS_CPU_INTERNAL_H

#include "kernels/kernels.h"

#ifndef TD_ISA
#define TD_ISA generic
#endif
#define TD_CPU_PASTE(name, isa) td_cpu_##name##_##isa
#define TD_CPU_NAME(name, isa) TD_CPU_PASTE(name, isa)
#define TD_CPU(name) TD_CPU_NAME(name, TD_ISA)

/* The loop that follows may be vectorised although its target may be its first source: each turn touches its own
 * element only. */
#ifdef __clang__
/* Powers and erf of f64 are loops that clang leaves as they are; a loop that is not vectorised is no mistake. */
#pragma clang diagnostic ignored "-Wpass-failed"
#define TD_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define TD_INDEPENDENT _Pragma("GCC ivdep")
#endif

/* A kernel for each row but the views, which have no work to do. */
#define TD_KERNEL_CREATE(name) td_kernel TD_CPU(name);
#define TD_KERNEL_RANDOM(name) td_kernel TD_CPU(name);
#define TD_KERNEL_FRESH(name) td_kernel TD_CPU(name);
#define TD_KERNEL_INPLACE(name) td_kernel TD_CPU(name);
#define TD_KERNEL_STEP(name) td_kernel TD_CPU(name);
#define TD_KERNEL_VIEW(name)
#define TD_OP(id, name, group, params, output, kind, ...) TD_KERNEL_##kind(name)
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
#undef TD_KERNEL_CREATE
#undef TD_KERNEL_RANDOM
#undef TD_KERNEL_FRESH
#undef TD_KERNEL_INPLACE
#undef TD_KERNEL_STEP
#undef TD_KERNEL_VIEW

extern td_kernel *const TD_CPU(table)[TD_OP_LIMIT];

static inline int64_t td_operand_numel(const struct td_operand *operand)
{
    int64_t count = 1;
    for (int d = 0; d < operand->rank; d++)
        count *= operand->shape[d];
    return count;
}

/* Copies source to target, which has its shape, whatever the strides and dtypes of both. */
void TD_CPU(copy_operand)(const struct td_operand *target, const struct td_operand *source);

/* How many elements of x are not 0. */
int64_t TD_CPU(count_of)(const struct td_operand *x);

/* Refuses indices that do not fit a dimension of size; true if all fit. */
bool TD_CPU(indices_fit)(struct td_launch *launch, const struct td_operand *index, int64_t size);
/* The same of indices from least on. */
bool TD_CPU(indices_within)(struct td_launch *launch, const struct td_operand *index, int64_t least, int64_t size);

/* Of the dimensions of x but dim the longest; -1 if none has more than one element. */
int TD_CPU(longest_beside)(const struct td_operand *x, int dim);
/* The part of x from up to to along dim. */
struct td_operand TD_CPU(slice)(const struct td_operand *x, int dim, int64_t from, int64_t to);

/* max(x) and log(sum(exp(x - max))) of count elements that lie stride apart; count is not 0. */
void TD_CPU(row_logsum_f32)(const float *x, int64_t count, int64_t stride, float *max, float *logsum);
void TD_CPU(row_logsum_f64)(const double *x, int64_t count, int64_t stride, double *max, double *logsum);

#endif
