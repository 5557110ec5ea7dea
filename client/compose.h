/* What functions made of several ops are written with. A part is an operand; those that were made on the way are used
 * up by the op that takes them. Private to client/. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_COMPOSE_H
#define TD_CLIENT_COMPOSE_H

#include "client/internal.h"

struct part {
    td_operand operand;
    bool mine; /* the op that takes it uses it up */
};

/* The caller's k-th tensor. */
struct part part_given(td_origin origin, int k, td_tensor x);
/* A tensor given as a keyword, which is never used up; one left out is none. */
struct part part_keyword(td_tensor x);
struct part part_real(double value);
/* part for an op that is not the last to take it. */
struct part part_kept(struct part part);
td_tensor part_tensor(struct part part);

/* A tensor of an op that makes one. */
struct part part_created(td_origin origin, td_session *s, enum td_op_id id, const void *attrs);
/* One op at the caller's line: its first result. attrs: struct td_<op>_attrs, NULL for the defaults of ops that have no
 * attributes. */
struct part part_op(td_origin origin, enum td_op_id id, const void *attrs, int count, const struct part *in);
struct part part_one(td_origin origin, enum td_op_id id, struct part x);
struct part part_two(td_origin origin, enum td_op_id id, struct part a, struct part b);
struct part part_where(td_origin origin, struct part condition, struct part a, struct part b);
struct part part_sum(td_origin origin, struct part x, int64_t dim, bool keepdim);
struct part part_clamp(td_origin origin, struct part x, double least);
struct part part_reshape(td_origin origin, struct part x, int rank, const int64_t *shape);
/* x, or its mean or sum, as the reduction says, which the function name was given. */
td_tensor part_reduced(td_origin origin, struct part x, int64_t reduction, const char *name);
/* What the part looks like, without using it up. */
td_layout part_layout(td_origin origin, struct part x);
/* A tensor that has failed: the call of the function name was refused with failure. Given tensors are used up by the
 * caller's other ops, if any, or by part_used. */
td_tensor part_refuse(td_origin origin, td_session *s, const char *name, const struct td_failure *failure);
/* The same, because x, which is the caller's first tensor and looks like layout, is what is said of it. */
td_tensor part_refuse_shape(td_origin origin, td_tensor x, const char *name, const td_layout *layout, const char *what);
/* y, which a call gives that no op has used its count first tensors up for: those written inside end here. */
td_tensor part_used(td_origin origin, int count, const td_tensor *given, td_tensor y);

#endif
