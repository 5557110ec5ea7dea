/* layer_norm and rms_norm: a row is read from memory once, and what its mean and its squares are taken of lies in
 * cache by then. Sums are taken in the order of lanes.h. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/norm.h"

#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"

/* Squares made before they are summed. */
#define CHUNK 512

#define NORM(word) word##_f32
#define NORM_SUM(word) td_##word##_sum_f32
#define NORM_T float
#define NORM_SQRT __builtin_sqrtf
#include "kernels/cpu/norm.inc"

#define NORM(word) word##_f64
#define NORM_SUM(word) td_##word##_sum_f64
#define NORM_T double
#define NORM_SQRT __builtin_sqrt
#include "kernels/cpu/norm.inc"

static void norm(const struct td_launch *launch, const struct td_norm *n)
{
    if (n->rows && n->count)
        td_parallel(n->rows, td_grain(n->count), 0, launch->in[0].dtype == TD_F32 ? norm_part_f32 : norm_part_f64, n);
}

void TD_CPU(layer_norm)(struct td_launch *launch)
{
    struct td_norm n = td_layer_norm_of(launch);
    norm(launch, &n);
}

void TD_CPU(rms_norm)(struct td_launch *launch)
{
    struct td_norm n = td_rms_norm_of(launch);
    norm(launch, &n);
}
