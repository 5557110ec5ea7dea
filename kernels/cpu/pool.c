/* Pools of the greatest: a strip of neighbouring windows is searched tap by tap, so that vectors go over windows.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/parallel.h"

/* Compilers take wider vectors than the processor has apart, element by element. */
typedef int64_t pool_indices __attribute__((vector_size(TD_VECTOR_BYTES)));

/* Every other element of two vectors. */
#define EVENS_2 0, 2
#define EVENS_4 EVENS_2, 4, 6
#define EVENS_8 EVENS_4, 8, 10, 12, 14
#define EVENS_16 EVENS_8, 16, 18, 20, 22, 24, 26, 28, 30
#if TD_VECTOR_BYTES == 64
#define EVENS_F32 EVENS_16
#define EVENS_F64 EVENS_8
#elif TD_VECTOR_BYTES == 32
#define EVENS_F32 EVENS_8
#define EVENS_F64 EVENS_4
#else
#define EVENS_F32 EVENS_4
#define EVENS_F64 EVENS_2
#endif

#define POOL(name) name##_f32
#define POOL_T float
#define POOL_EVENS EVENS_F32
#define POOL_BITS int32_t
#define POOL_PLACE int32_t
#define POOL_BEYOND INT32_MAX
#include "kernels/cpu/pool.inc"
#define POOL(name) name##_far_f32
#define POOL_T float
#define POOL_EVENS EVENS_F32
#define POOL_BITS int32_t
#define POOL_PLACE int64_t
#define POOL_BEYOND (INT64_MAX / 2)
#include "kernels/cpu/pool.inc"
#define POOL(name) name##_f64
#define POOL_T double
#define POOL_EVENS EVENS_F64
#define POOL_BITS int64_t
#define POOL_PLACE int64_t
#define POOL_BEYOND (INT64_MAX / 2)
#include "kernels/cpu/pool.inc"

static void run(struct td_launch *launch)
{
    const struct td_operand *x = &launch->in[0], *y = &launch->out[0];
    int rank = td_image_rank(launch->op), first = x->rank - rank, added = TD_IMAGE_RANK - rank;
    struct td_windows w = td_max_pool_windows(launch->attrs, rank);
    struct td_conv c = {.pixels = 1, .taps = 1, .places = 1, .image = x->data, .windows = y->data};
    int64_t planes = 1, reach = 1;
    atomic_bool starved = false;
    c.starved = &starved;
    c.weight = launch->out[1].data; /* places, beside the windows */
    for (int d = 0; d < first; d++)
        planes *= x->shape[d];
    c.batch = planes;
    for (int d = 0; d < TD_IMAGE_RANK; d++) {
        bool given = d >= added;
        int k = d - added;
        c.pixels *= c.size[d] = given ? x->shape[first + k] : 1;
        c.places *= c.count[d] = given ? y->shape[first + k] : 1;
        c.kernel[d] = given ? w.kernel[k] : 1;
        c.taps *= c.kernel[d] < c.size[d] ? c.kernel[d] : c.size[d]; /* the others meet nothing */
        c.stride[d] = given && c.count[d] > 1 ? w.stride[k] : 1;     /* a single window goes nowhere */
        c.padding[d] = given ? w.padding[k] : 0;
        c.dilation[d] = given ? w.dilation[k] : 1;
        reach = reach * (c.size[d] + c.padding[d]) < INT32_MAX ? reach * (c.size[d] + c.padding[d]) : INT32_MAX;
    }
    td_part *part = x->dtype == TD_F64 ? part_f64 : reach < INT32_MAX ? part_f32 : part_far_f32;
    td_parallel(planes, td_grain(c.places * c.taps), 0, part, &c);
    if (starved)
        launch->fault.code = TD_E_MEMORY;
}

void TD_CPU(max_pool1d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CPU(max_pool2d)(struct td_launch *launch)
{
    run(launch);
}
void TD_CPU(max_pool3d)(struct td_launch *launch)
{
    run(launch);
}
