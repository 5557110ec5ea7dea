/* What every op means, in plain double and int64 arithmetic (sums are kept in long double): slow, obvious, and written
 * without a look at kernels/, which it must never include. Tensors are arrays of values, row by row; broadcasting is
 * index arithmetic. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_ORACLE_H
#define TD_TESTS_ORACLE_H

#include "protocol/error.h"
#include "protocol/ops.h"
#include "protocol/shape.h"

struct oracle_tensor {
    uint8_t dtype; /* enum td_dtype; TD_DTYPE_NONE: left out */
    int rank;
    int64_t shape[TD_RANK_MAX], count;
    long double *real; /* the values of a floating dtype */
    int64_t *integer;  /* the values of bool, i32 and i64 */
    double *scale;     /* results: the accumulated magnitude that a rounding error is relative to; nan: anything does */
};

struct oracle_call {
    const struct td_op *op;
    int in_count;
    struct oracle_tensor *in;          /* converted to the dtype that inference computes in; steps write to them */
    const struct oracle_tensor *grads; /* steps: one a parameter; dtype TD_DTYPE_NONE if it has none */
    const uint16_t *list_counts;
    const void *attrs;
    struct oracle_tensor *out; /* one a result, dtypes and shapes given; in place: the target's new values */

    /* found */
    bool drawn; /* the op draws: there is no value to compare with */
    int fault;  /* as struct td_fault has it, with value, size and position */
    int64_t value, size, position;
};

typedef void oracle_function(struct oracle_call *call);

/* NULL for views, which compute nothing. */
extern oracle_function *const oracle_table[TD_OP_LIMIT];

/* Computes call's results. */
void oracle_run(struct oracle_call *call);

#endif
