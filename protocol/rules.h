/* What shape rules share; private to protocol/. A rule fills inference->out, or refuses with a message that begins with
 * the op's name. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_RULES_H
#define TD_PROTOCOL_RULES_H

#include "protocol/infer.h"

/* "(2, 3)" into a buffer of TD_SHAPE_TEXT bytes. */
const char *rule_text(const struct td_meta *meta, char *buffer);
/* dim counted from the end if negative into *wrapped, or a refusal. */
int rule_wrap_dim(struct td_inference *i, int64_t dim, int rank, int *wrapped);
/* Refuses a tensor without dimensions. */
int rule_needs_dims(struct td_inference *i);
/* A result with storage of its own, row by row. */
int rule_fresh(struct td_inference *i, int64_t rank, const int64_t *shape);
/* A result that is a window on the storage of input 0, for now the same window. */
int rule_alias(struct td_inference *i);
/* The strides that a copy of x gets: dense ones are kept, of others the order of dimensions. */
void rule_copied_strides(const struct td_meta *x, int64_t *stride);
/* A fresh copy of input 0: dense strides are kept, of others the order of dimensions. */
int rule_copied(struct td_inference *i);
/* The shape that all inputs broadcast to. */
int rule_broadcast(struct td_inference *i, int *rank, int64_t *shape);
/* Gives the result the dense layout that follows the inputs' order of dimensions. */
void rule_follow_layout(struct td_inference *i);
/* The same for count operands of which strides are known, seen in out's shape; out is contiguous before. */
void rule_follow_strides(struct td_meta *out, int count, int64_t (*strides)[TD_RANK_MAX]);

/* Refuses what is no enum td_reduction. */
int rule_bad_reduction(struct td_inference *i, int64_t reduction);
/* A dtype attribute, or fallback where it is not given. */
uint8_t rule_dtype(int64_t dtype, uint8_t fallback);
/* Strides of x seen in shape, as expand gives them. */
void rule_expanded_strides(const struct td_meta *x, int rank, const int64_t *shape, int64_t *stride);

#endif
