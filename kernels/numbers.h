/* The numbers that go with an op, made of its attributes for all of its elements.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_NUMBERS_H
#define TD_KERNELS_NUMBERS_H

#include <float.h>
#include <math.h>

#include "protocol/ops.h"

static inline struct td_number td_whole_number(int64_t value)
{
    struct td_number number = {TD_INTEGER, {value}};
    return number;
}

static inline struct td_number td_real_number(double value)
{
    struct td_number number = {TD_FLOATING, {0}};
    number.f = value;
    return number;
}

/* A whole bound, cut to what the type holds; one that is nan is none. */
static inline struct td_number td_whole_bound(double bound, int64_t least, int64_t most, int64_t none)
{
    struct td_number number = td_whole_number(none);
    if (bound <= (double)least)
        number.i = least;
    else if (bound >= (double)most)
        number.i = most;
    else if (bound == bound)
        number.i = (int64_t)bound;
    return number;
}

/* clamp's bounds; between two integers the one inside. */
static inline void td_clamp_bounds(const struct td_clamp_attrs *a, uint8_t dtype, struct td_number *low,
                                   struct td_number *high)
{
    int64_t least = dtype == TD_I32 ? INT32_MIN : INT64_MIN, most = dtype == TD_I32 ? INT32_MAX : INT64_MAX;
    bool whole = td_dtype_category(dtype) == TD_INTEGER;
    *low = whole ? td_whole_bound(ceil(a->min), least, most, least) : td_real_number(a->min);
    *high = whole ? td_whole_bound(floor(a->max), least, most, most) : td_real_number(a->max);
}

static inline double td_greatest_number(uint8_t dtype)
{
    return dtype == TD_F16 ? 65504 : dtype == TD_BF16 ? 0x1.fep127 : dtype == TD_F32 ? FLT_MAX : DBL_MAX;
}

/* What nan_to_num puts in the place of nan, infinity and -infinity. */
static inline void td_nan_to_num_numbers(const struct td_nan_to_num_attrs *a, uint8_t dtype, double *nan, double *above,
                                         double *below)
{
    *nan = a->nan;
    *above = a->posinf == INFINITY ? td_greatest_number(dtype) : a->posinf;
    *below = a->neginf == -INFINITY ? -td_greatest_number(dtype) : a->neginf;
}

/* Where linspace begins, or ends: of integers at one. */
static inline double td_linspace_end(struct td_number end, uint8_t dtype)
{
    bool whole = td_dtype_category(dtype) == TD_INTEGER;
    return whole ? (double)td_number_integer(end) : td_number_real(end);
}

/* The smallest f32 that is not less than p. */
static inline float td_f32_at_least(double p)
{
    float nearest = (float)p;
    return (double)nearest < p ? nextafterf(nearest, INFINITY) : nearest;
}

#endif
