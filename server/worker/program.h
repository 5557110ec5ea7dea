/* Recorded programs: a stretch of a session's requests, kept as the bytes that they came in, and what they meant beside
 * their own results. Replaying one is decoding the bytes again over handles of its own: each request does what it would
 * have done had it been sent again, with other inputs. So whatever a request can do a program can, an error in the
 * middle spoils what an error there would, and nothing of a program can differ from the requests that it was made of.
 *
 * A recording is live, and its requests are carried out as they come, or a trace: then none is, its inputs and all that
 * is made of them are error values of one cause, and only the bytes are of interest. Recordings nest.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_PROGRAM_H
#define TD_SERVER_WORKER_PROGRAM_H

#include "server/worker/session.h"

/* A tensor that a program reads and did not make: by reference, so that a replay sees what it holds then. */
struct capture {
    uint32_t handle;    /* UINT32_MAX: only programs that it runs have it (checkpoint.h) */
    bool requires_grad; /* when it was captured */
    struct tensor *tensor;
};

/* A program that another one runs. */
struct callee {
    uint32_t number;
    struct program *program;
};

/* What was true of an input when it was recorded. */
struct program_input {
    struct td_meta meta;
    bool requires_grad;
    int same; /* the first input that stands on the same storage */
};

struct program {
    uint32_t refs;
    struct program **list, *prev, *next; /* session->programs, or session->checkpoints */
    size_t charged;                      /* of session->program_bytes */
    uint32_t number; /* in its session; 0: it has been freed, and runs on where it is part of something */
    char name[TD_NAME_BYTES];
    bool traced; /* what its inputs were is not known */
    bool running;
    struct cause *cause; /* why it cannot be run; NULL: it can */
    uint8_t *bytes;      /* flags, site, array; one request after the other */
    size_t size, capacity;
    uint32_t requests; /* in bytes */
    bool planned;      /* runs on inputs as recorded carry out plan (plan.h), others bytes */
    uint8_t *plan;
    size_t plan_size;
    uint32_t *left_out; /* requests of bytes, by their number, that compute what nobody reads */
    uint32_t left_out_count;
    struct capture *captures;
    size_t capture_count, capture_capacity;
    struct callee *callees;
    size_t callee_count, callee_capacity;
    uint32_t hook;      /* the number that its hooks are known by; 0: it has never been one */
    struct hook *hooks; /* that run it (hooks.h) */
    uint32_t *in, *out; /* handles; UINT32_MAX in out: none */
    struct program_input *inputs;
    int in_count, out_count;
    struct names names; /* while it runs */
    uint64_t presence;  /* which gradients its requests found, and which not (program_finds_gradient) */
    uint64_t found;     /* the same of the run in work, or of the last one */
    uint64_t runs, differed;
};

struct recording {
    struct recording *outer;
    struct program *program;
    bool trace;
    const struct names *names;     /* whose requests are recorded */
    uint64_t failed_count;         /* the session's when it began */
    struct checkpoint *checkpoint; /* NULL: it is none */
    bool no_grad, marks;           /* of a checkpoint: the session's before it */
    uint8_t *known;                /* by handle: enum known */
    uint32_t known_count;
};

enum known { KNOWN_NOT, KNOWN_GIVEN /* an input, or captured */, KNOWN_MADE, KNOWN_GONE /* it was one of these */ };

/* ---- recording ---- */

/* Whether requests are written down (what a run does is one request of its caller), and whether that is all. */
static inline bool session_records(const struct session *session)
{
    return session->recording && session->recording->names == session->names;
}
static inline bool session_traces(const struct session *session)
{
    return session_records(session) && session->recording->trace;
}
/* Whether a checkpoint is in work. */
static inline bool session_in_checkpoint(const struct session *session)
{
    const struct recording *recording = session->recording;
    while (recording && !recording->checkpoint)
        recording = recording->outer;
    return recording != NULL;
}
/* What traced requests give: an error value that says nothing. */
struct cause *trace_cause(void);

/* What program takes of the host, against the session's limit. False if that is reached. */
bool program_charge(struct session *session, struct program *program, size_t bytes);

/* Room for one more element of size bytes in *array. */
bool array_grow(void *array, size_t count, size_t *capacity, size_t size);

/* Begins program number, which must not exist, or 0 for one that never has a number; takes over nothing. trace: inputs
 * are handles that are free. */
int recording_begin(struct session *session, uint32_t number, const char *name, bool trace, int in_count,
                    const uint32_t *in, struct td_failure *failure);
/* The innermost recording is complete: its program, which must be of that number, can be run. out: UINT32_MAX for
 * none. */
int recording_end(struct session *session, uint32_t number, int out_count, const uint32_t *out,
                  struct td_failure *failure);
/* Ends what began inside of recording and has not ended; failure says so if there was any. */
int recording_abandon(struct session *session, const struct recording *recording, struct td_failure *failure);
/* Ends the innermost recording, leaving its program as it is, with the recording's reference. */
void recording_pop(struct session *session);
/* Writes down a request: its bytes, or its release of a handle. ends: it ends the innermost recording and is no part of
 * that. */
void recording_add(struct session *session, const uint8_t *bytes, size_t size, bool ends);
void recording_releases(struct session *session, uint32_t handle);
/* handle is free again: what it stands for next may be no part of the recordings. */
void recording_lets_go(struct session *session, uint32_t handle);
/* handle has been looked up, or bound. */
void recording_uses(struct session *session, uint32_t handle, struct tensor *tensor);
void recording_binds(struct session *session, uint32_t handle);
/* A request in work, or its walk, has looked whether a leaf has a gradient. Whether gradients are there is no matter of
 * the plan: requests find out when they run. But it is a difference from what was recorded, and counted. */
void program_finds_gradient(struct session *session, bool there);
/* All recordings go on, and their programs will fail for this reason. */
void recording_spoil(struct session *session, const char *op, uint32_t site, const struct td_failure *failure);

/* ---- programs ---- */

/* The program of a number, for the request in work; NULL and failure if there is none. Borrowed. */
struct program *program_find(struct session *session, uint32_t number, struct td_failure *failure);
struct program *program_ref(struct program *program);
void program_unref(struct session *session, struct program *program);
/* Ends its number. */
void program_forget(struct session *session, struct program *program);
/* The session is over: recordings and captures are let go of. */
void programs_end(struct session *session);

/* ---- running ---- */

/* Called once at the end of a run; results has one for each output (NULL: none, or no memory), the callee's with their
 * references. cause: the run was cut short. */
typedef void program_then(struct session *session, struct tensor *const *results, int count, struct cause *cause,
                          void *data);

/* Puts a run of program on inputs (borrowed until it is back) on the session's stack. no_grad: nothing of it is
 * recorded for autograd. dropped: called in place of then if the session ends; NULL: nobody needs to know. */
int program_run(struct session *session, struct program *program, int in_count, struct tensor *const *inputs,
                bool no_grad, program_then *then, void (*dropped)(struct session *session, void *data), void *data,
                struct td_failure *failure);

#endif
