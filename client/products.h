/* What functions made of products share; private to client/. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_PRODUCTS_H
#define TD_CLIENT_PRODUCTS_H

#include "client/internal.h"

/* One op on x, which it may use up. */
td_tensor product_apply(td_origin origin, bool used_up, enum td_op_id id, td_tensor x, const void *attrs);
/* One op without attributes on a and b; consume names those that it uses up. */
td_tensor product_of(td_origin origin, enum td_op_id id, td_tensor a, td_tensor b, uint32_t consume);
/* The error value of a call to name that no op would refuse. */
td_tensor product_refuse(td_origin origin, struct td_session *s, const char *name, const struct td_failure *failure);

#endif
