/* Barriers: answers that wait until all before them is done. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_BARRIER_H
#define TD_SERVER_WORKER_BARRIER_H

#include "server/worker/session.h"

/* Answers the request in work with the error that stands, once the device has done all that it was asked for. clear:
 * the error stands no longer. */
void barrier_start(struct session *session, bool clear);

#endif
