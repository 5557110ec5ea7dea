/* The scheduler: gives sessions turns by time, between ops, outside the callbacks that read and write. Who wakes after
 * little use goes first, so that a light user does not wait behind heavy ones.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_SCHEDULE_H
#define TD_SERVER_WORKER_SCHEDULE_H

#include "server/worker/session.h"

int schedule_start(struct worker *worker);
/* There may be something to do for session. */
void schedule_wake(struct session *session);
/* One turn of the loop: steps sessions until there is nothing to do or it is time to look at the sockets. */
void schedule_turn(struct worker *worker);
void schedule_forget(struct session *session);
/* session is about to use about ns of the loop's time. */
void schedule_charge(struct session *session, uint64_t ns);

#endif
