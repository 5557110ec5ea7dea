/* What is said when memory does not suffice. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_SHORTAGE_H
#define TD_SERVER_WORKER_SHORTAGE_H

#include <stdint.h>

#include "protocol/error.h"

struct session;

/* bytes that session asked for could not be had: what is in use and for what, whose it is, the lines of the program
 * that hold most, and what can be done. Returns the code. */
int shortage_tell(const struct session *session, uint64_t bytes, struct td_failure *failure);

#endif
