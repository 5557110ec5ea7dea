/* Recordings in work: what td_record and the tracing of functions share. Private to client/; the session's lock is
 * held. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_RECORDING_H
#define TD_CLIENT_RECORDING_H

#include "client/internal.h"

struct recording {
    struct recording *outer;
    const char *where;          /* the line that began it */
    pthread_t thread;           /* whose requests it takes */
    struct cause *cause;        /* the program will not be run */
    struct td_program *program; /* NULL: a trace of a function */
};

/* A number for a program that none had. */
uint32_t recording_number(struct td_session *s);
/* A handle that stands for a tensor like meta while requests are traced; handle 0 if there is none left. */
td_tensor recording_placeholder(struct td_session *s, const struct td_meta *meta);
/* Begins program number with these inputs; until recording_end every request goes into it. */
void recording_begin(struct td_session *s, struct recording *recording, uint32_t number, const char *name, bool trace,
                     td_origin origin, int count, const uint32_t *in);
/* out: handles, 0 for none. */
void recording_end(struct td_session *s, struct recording *recording, uint32_t number, td_origin origin, int count,
                   const uint32_t *out);
/* Of a program: its session, NULL once that is closed; its number; why the daemon has none of it, NULL: it has. */
struct td_session *program_session(const struct td_program *program);
uint32_t program_number(const struct td_program *program);
struct cause *program_refuses(const struct td_program *program, const char *name, td_origin origin);

#endif
