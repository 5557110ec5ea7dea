/* What a program consists of, for people. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_LISTING_H
#define TD_SERVER_WORKER_LISTING_H

#include "server/worker/program.h"

/* Ops and captures in one answer. */
#define LISTING_MAX 512

/* Answers the request in work: counts, and at most limit requests of the program. */
void listing_reply(struct session *session, const struct program *program, uint32_t limit);
/* Answers with an error. */
void listing_failed(struct session *session, const struct cause *cause);

#endif
