/* Sums, maxima and minima of many elements in an order that is a function of their number alone, never of strides,
 * vector width or threads: element i goes to lane i mod 16 of its block of 512; the lanes of a block meet in a tree,
 * and blocks meet pairwise. So the error of a sum grows with the logarithm of the number of blocks. rows     one
 * result: struct td_<op>_<type> is fed with runs of elements columns  many neighbouring results at once: fed with one
 * element for each of them at a time SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_CPU_LANES_H
#define TD_KERNELS_CPU_LANES_H

#include <string.h>

#include "kernels/cpu/internal.h"
#include "kernels/scalar.h"

#define TD_LANES 16
/* 32 elements a lane: with 256 the mean of equal numbers was 11 roundings off, since all of them go the same way. */
#define TD_BLOCK 512
/* Pairwise levels above blocks: 2^48 blocks are more elements than a tensor can have. */
#define TD_LEVELS 48
/* Bytes of results that columns can work on at once. The wider, the longer the runs in which memory is read; the lanes
 * take 16 times as much. */
#define TD_COLUMN_BYTES 4096

/* The vector registers of this level, so that the lanes of a row stay in them. */
#if defined(__AVX512F__)
#define TD_VECTOR_BYTES 64
#elif defined(__AVX__)
#define TD_VECTOR_BYTES 32
#else
#define TD_VECTOR_BYTES 16
#endif
typedef float td_vector_f32 __attribute__((vector_size(TD_VECTOR_BYTES)));
typedef double td_vector_f64 __attribute__((vector_size(TD_VECTOR_BYTES)));
typedef uint64_t td_vector_u64 __attribute__((vector_size(TD_VECTOR_BYTES)));
typedef int32_t td_mask_i32 __attribute__((vector_size(TD_VECTOR_BYTES)));
typedef int64_t td_mask_i64 __attribute__((vector_size(TD_VECTOR_BYTES)));
typedef uint8_t td_vector_bool __attribute__((vector_size(TD_LANES)));

/* a where the mask is set, b elsewhere; C has no ?: for vectors. */
#define TD_CHOOSE(vector, mask, condition, a, b) \
    ((vector)(((mask)(condition) & (mask)(a)) | (~(mask)(condition) & (mask)(b))))

#define LANES(word) td_##word##_sum_f32
#define LANES_T float
#define LANES_V td_vector_f32
#define LANES_JOIN(a, b) ((a) + (b))
#define LANES_JOIN_V(a, b) ((a) + (b))
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_sum_f64
#define LANES_T double
#define LANES_V td_vector_f64
#define LANES_JOIN(a, b) ((a) + (b))
#define LANES_JOIN_V(a, b) ((a) + (b))
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_sum_i64
#define LANES_T uint64_t
#define LANES_V td_vector_u64
#define LANES_JOIN(a, b) ((a) + (b))
#define LANES_JOIN_V(a, b) ((a) + (b))
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_max_f32
#define LANES_T float
#define LANES_V td_vector_f32
#define LANES_JOIN(a, b) td_max_f32(a, b)
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_vector_f32, td_mask_i32, ((a) > (b)) | ((a) != (a)), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_max_f64
#define LANES_T double
#define LANES_V td_vector_f64
#define LANES_JOIN(a, b) td_max_f64(a, b)
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_vector_f64, td_mask_i64, ((a) > (b)) | ((a) != (a)), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_max_i32
#define LANES_T int32_t
#define LANES_V td_mask_i32
#define LANES_JOIN(a, b) ((a) > (b) ? (a) : (b))
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_mask_i32, td_mask_i32, (a) > (b), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_max_i64
#define LANES_T int64_t
#define LANES_V td_mask_i64
#define LANES_JOIN(a, b) ((a) > (b) ? (a) : (b))
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_mask_i64, td_mask_i64, (a) > (b), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_max_bool
#define LANES_T uint8_t
#define LANES_V td_vector_bool
#define LANES_JOIN(a, b) ((a) | (b))
#define LANES_JOIN_V(a, b) ((a) | (b))
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_min_f32
#define LANES_T float
#define LANES_V td_vector_f32
#define LANES_JOIN(a, b) td_min_f32(a, b)
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_vector_f32, td_mask_i32, ((a) < (b)) | ((a) != (a)), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_min_f64
#define LANES_T double
#define LANES_V td_vector_f64
#define LANES_JOIN(a, b) td_min_f64(a, b)
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_vector_f64, td_mask_i64, ((a) < (b)) | ((a) != (a)), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_min_i32
#define LANES_T int32_t
#define LANES_V td_mask_i32
#define LANES_JOIN(a, b) ((a) < (b) ? (a) : (b))
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_mask_i32, td_mask_i32, (a) < (b), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_min_i64
#define LANES_T int64_t
#define LANES_V td_mask_i64
#define LANES_JOIN(a, b) ((a) < (b) ? (a) : (b))
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_mask_i64, td_mask_i64, (a) < (b), a, b)
#include "kernels/cpu/lanes.inc"

#define LANES(word) td_##word##_min_bool
#define LANES_T uint8_t
#define LANES_V td_vector_bool
#define LANES_JOIN(a, b) ((a) < (b) ? (a) : (b))
#define LANES_JOIN_V(a, b) TD_CHOOSE(td_vector_bool, td_vector_bool, (a) < (b), a, b)
#include "kernels/cpu/lanes.inc"

#endif
