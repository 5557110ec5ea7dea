/* The decoder: takes requests out of a session's bytes and carries them out, one a step.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_DECODER_H
#define TD_SERVER_WORKER_DECODER_H

#include "server/worker/session.h"

void decoder_init(struct session *session);
/* The next request, or piece of one, of the session's bytes: a step of the iterator that is on top. */
enum step decoder_next(struct session *session, struct iterator *iterator);
/* Bytes have come to where connection_input wanted them: answers urgent frames among them, and sees to it that most of
 * a large upload comes to its tensor without being copied. */
void decoder_received(struct session *session, size_t bytes);
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
