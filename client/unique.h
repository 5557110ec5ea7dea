/* The part of td_unique and td_unique_consecutive that is given a dimension; private to client/.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_UNIQUE_H
#define TD_CLIENT_UNIQUE_H

#include "client/internal.h"

/* The different slices of x along keywords->dim, or those that differ from the one before. */
td_tensor unique_slices(td_origin origin, td_tensor x, const struct td_unique_keywords *keywords, bool consecutive);

#endif
