/* The decoder: takes requests out of a session's bytes and carries them out, one a step.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_DECODER_H
#define TD_SERVER_WORKER_DECODER_H

#include "server/worker/session.h"

void decoder_init(struct session *session);
/* The next request, or piece of one, of the session's bytes: a step of the iterator that is on top. */
enum step decoder_next(struct session *session, struct iterator *iterator);
/* Looks through frames that have just come for urgent ones, and answers those. */
void decoder_urgent(struct session *session);
/* Carries out the next request, or piece of one, of a recorded program. */
void decoder_replay(struct session *session, struct td_reader *reader);

/* A request's own header and what is left of its array, while it is carried out. */
struct request {
    struct td_reader *reader;
    uint32_t flags, site;
    uint32_t elements; /* of the array behind the id, not yet read */
    bool cancelled;
    bool waits; /* of a walk: its end is to be told */
    bool more;  /* its list of handles is long: the rest is for the next step */
};

/* Carries out a request that is not an op (requests.def); control.c. */
void control_run(struct session *session, uint64_t id, struct request *request);
/* "backward" for TD_R_BACKWARD. */
const char *control_name(uint64_t id);
/* Whether a recording keeps requests of that id. */
bool control_is_recorded(uint64_t id);

#endif
