/* Inference: what an op gives, from what it is given, without looking at a byte. A pure function; the client runs it
 * so that a mistake is found at its line and layouts are known without a round trip, and the daemon runs it again
 * and trusts nobody. Layouts follow PyTorch's rule for each op.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_INFER_H
#define TD_PROTOCOL_INFER_H

#include "protocol/error.h"
#include "protocol/ops.h"
#include "protocol/shape.h"

struct td_inference {
    /* given */
    const struct td_op *op;
    const struct td_meta *in;    /* every tensor of the call in the row's order, lists laid out flat */
    int in_count;                /* an optional tensor left out has dtype TD_DTYPE_NONE */
    const uint16_t *list_counts; /* elements of each list parameter, in the row's order */
    const void *attrs;           /* struct td_<op>_attrs */
    int64_t size;                /* the value of a SIZE; any that fits where only rank and dtype are asked for */

    /* found */
    uint8_t compute; /* the dtype that promoted inputs are converted to; TD_DTYPE_NONE: nothing is converted */
    int out_count;   /* in place: 1, the target as it is */
    struct td_meta out[TD_OUTPUTS_MAX];
    int shares;      /* the input whose storage the result is a window on, -1 if its storage is new */
    bool broadcasts; /* elementwise: kernels see every input in the result's shape */
    struct td_failure *failure;
};

/* Fills the second half. Returns TD_E_OK, or the code of the failure, whose message begins with the op's name and
 * gives the shapes. Checks everything that metadata can tell, so that kernels need not. */
int td_infer(struct td_inference *inference);

/* Refuses a rate of an optimiser's step that is out of its range: what td_infer checks of attributes alone. */
int td_check_rates(const struct td_op *op, const void *attrs, struct td_failure *failure);

/* slice's start and number of elements after Python's clamping. */
void td_slice_bounds(int64_t size, int64_t start, int64_t end, int64_t step, int64_t *first, int64_t *count);
#endif
