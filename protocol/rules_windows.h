/* What shape rules of windows share; private to protocol/. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_RULES_WINDOWS_H
#define TD_PROTOCOL_RULES_WINDOWS_H

#include "protocol/rules.h"
#include "protocol/shape_windows.h"

/* Refuses sizes unless they are none, one, or one for each of rank dimensions, and from least to TD_WINDOW_MAX. */
int rule_sizes(struct td_inference *i, const char *name, const struct td_dims *sizes, int rank, int64_t least);
/* Refuses an input k that is no image of rank dimensions with channels, alone or in a batch. */
int rule_image(struct td_inference *i, int k, int rank);

#endif
