/* argmax, argmin, max_dim and min_dim: the greatest or smallest element and where it stands. Where the dimension is
 * dense a row is searched in blocks that stay in L1: first for the best value, by vectors, and only if it beats what
 * came before for its place. Otherwise neighbouring rows are searched together.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/cpu/lanes.h"
#include "kernels/scalar.h"

/* Elements of a block: 16 KiB of f64. */
#define BLOCK 2048
/* Neighbouring rows searched together: their best values and places stay in L1. */
#define WIDTH 512

/* The search of one result after another. values is NULL where only the place is wanted. */
struct search {
    int kept_rank, gone_rank;
    int64_t kept_shape[TD_RANK_MAX], kept_stride[TD_RANK_MAX];
    int64_t gone_shape[TD_RANK_MAX], gone_stride[TD_RANK_MAX];
    const void *x;
    void *values;
    int64_t *places;
    bool columns; /* the last kept dimension is the dense one */
};

#define EXTREME(word) word##_max_f32
#define EXTREME_LANES(word) td_##word##_max_f32
#define EXTREME_T float
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_f32
#define EXTREME_LANES(word) td_##word##_min_f32
#define EXTREME_T float
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_f64
#define EXTREME_LANES(word) td_##word##_max_f64
#define EXTREME_T double
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_f64
#define EXTREME_LANES(word) td_##word##_min_f64
#define EXTREME_T double
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((x) != (x))
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_i32
#define EXTREME_LANES(word) td_##word##_max_i32
#define EXTREME_T int32_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_i32
#define EXTREME_LANES(word) td_##word##_min_i32
#define EXTREME_T int32_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_i64
#define EXTREME_LANES(word) td_##word##_max_i64
#define EXTREME_T int64_t
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_i64
#define EXTREME_LANES(word) td_##word##_min_i64
#define EXTREME_T int64_t
#define EXTREME_INDEX int64_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_max_bool
#define EXTREME_LANES(word) td_##word##_max_bool
#define EXTREME_T uint8_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_BEATS(a, b) ((a) > (b))
#include "kernels/cpu/extreme.inc"
#define EXTREME(word) word##_min_bool
#define EXTREME_LANES(word) td_##word##_min_bool
#define EXTREME_T uint8_t
#define EXTREME_INDEX int32_t
#define EXTREME_NAN(x) ((void)(x), 0)
#define EXTREME_BEATS(a, b) ((a) < (b))
#include "kernels/cpu/extreme.inc"

typedef void searcher(const struct search *s);
static searcher *const greatest[TD_DTYPE_LIMIT] = {[TD_BOOL] = search_max_bool,
                                                   [TD_I32] = search_max_i32,
                                                   [TD_I64] = search_max_i64,
                                                   [TD_F32] = search_max_f32,
                                                   [TD_F64] = search_max_f64};
static searcher *const smallest[TD_DTYPE_LIMIT] = {[TD_BOOL] = search_min_bool,
                                                   [TD_I32] = search_min_i32,
                                                   [TD_I64] = search_min_i64,
                                                   [TD_F32] = search_min_f32,
                                                   [TD_F64] = search_min_f64};

static void add_dim(int *rank, int64_t *shapes, int64_t *strides, int64_t shape, int64_t stride)
{
    int last = *rank - 1;
    if (shape == 1)
        return;
    if (*rank && strides[last] == stride * shape) {
        shapes[last] *= shape;
        strides[last] = stride;
        return;
    }
    shapes[*rank] = shape;
    strides[(*rank)++] = stride;
}

/* dim is INT64_MIN for all of x. */
static void choose(struct td_launch *launch, searcher *const *by_dtype, int64_t dim, void *values, int64_t *places)
{
    const struct td_operand *x = &launch->in[0];
    struct search s = {.x = x->data, .values = values, .places = places};
    int wrapped = dim == INT64_MIN ? -1 : td_wrap_dim(dim, x->rank);
    if (td_operand_numel(&launch->out[0]) == 0)
        return;
    for (int d = 0; d < x->rank; d++)
        if (wrapped < 0 || d == wrapped)
            add_dim(&s.gone_rank, s.gone_shape, s.gone_stride, x->shape[d], x->stride[d]);
        else
            add_dim(&s.kept_rank, s.kept_shape, s.kept_stride, x->shape[d], x->stride[d]);
    if (s.gone_rank == 0) {
        s.gone_rank = 1;
        s.gone_shape[0] = s.gone_stride[0] = 1;
    }
    s.columns = s.kept_rank && s.gone_rank == 1 && s.kept_stride[s.kept_rank - 1] == 1 && s.gone_stride[0] != 1;
    by_dtype[x->dtype](&s);
}

void TD_CPU(argmax)(struct td_launch *launch)
{
    choose(launch, greatest, ((const struct td_argmax_attrs *)launch->attrs)->dim, NULL, launch->out[0].data);
}

void TD_CPU(argmin)(struct td_launch *launch)
{
    choose(launch, smallest, ((const struct td_argmin_attrs *)launch->attrs)->dim, NULL, launch->out[0].data);
}

void TD_CPU(max_dim)(struct td_launch *launch)
{
    choose(launch, greatest, ((const struct td_max_dim_attrs *)launch->attrs)->dim, launch->out[0].data,
           launch->out[1].data);
}

void TD_CPU(min_dim)(struct td_launch *launch)
{
    choose(launch, smallest, ((const struct td_min_dim_attrs *)launch->attrs)->dim, launch->out[0].data,
           launch->out[1].data);
}
