/* How many random blocks a request owns. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/kernels.h"

/* A dropout that drops nothing, or all: an evaluation between two steps of training leaves the second as it was. */
static bool is_decided(const struct td_op *op, const void *attrs)
{
    const struct td_dropout_attrs *a = attrs;
    return op->id == TD_OP_dropout && (!a->training || a->p <= 0 || a->p >= 1);
}

uint64_t td_random_blocks(const struct td_op *op, const void *attrs, uint8_t dtype, int64_t count)
{
    if (is_decided(op, attrs))
        return 0;
    /* A block is four words. An f64 takes two of them, and so do an integer, whatever type it is kept in, a drawn
     * place, and the key of an element that draws as often as it takes. */
    bool wide = td_dtype_wide(dtype) == TD_F64 && op->id != TD_OP_dropout; /* which always draws f32 */
    bool pairs = wide || op->id == TD_OP_randint || op->id == TD_OP_multinomial || op->id == TD_OP_poisson;
    uint64_t each = pairs ? 2 : 4;
    return ((uint64_t)count + each - 1) / each;
}
