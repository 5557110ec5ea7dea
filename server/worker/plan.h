/* The plan of a recorded program: its requests, without those that compute what nobody reads, and with each value let
 * go of at its last use, so that its memory serves what follows. It is made once, when the recording ends, and changes
 * nothing that a client could see but memory and time: what writes, draws a random number or may fail for its data
 * stays, and so does the order. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_PLAN_H
#define TD_SERVER_WORKER_PLAN_H

#include "server/worker/program.h"

/* Puts the planning of program on the session's stack. A program that there is no memory to plan, or that is larger
 * than one should wait for, has none, and its runs do as was recorded. */
void plan_start(struct session *session, struct program *program);

#endif
