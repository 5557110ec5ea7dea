/* A session: one client's tensors, queue and work. Whatever makes ops for it (the decoder of its requests, a backward
 * walk, a long reply) is an iterator on its stack; the scheduler steps the top one.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_SESSION_H
#define TD_SERVER_WORKER_SESSION_H

#include <uv.h>

#include "protocol/message.h"
#include "server/blackbox.h"
#include "server/worker/tensor.h"
#include "server/worker/worker.h"

enum step {
    STEP_MORE, /* there is more to do at once */
    STEP_WAIT, /* nothing to do until bytes come, go out, or the device's thread is done */
    STEP_DONE  /* this iterator is at its end */
};

/* Makes at most one op a step. drop frees it, at its end or before. */
struct iterator {
    enum step (*next)(struct session *session, struct iterator *iterator);
    void (*drop)(struct session *session, struct iterator *iterator);
    struct iterator *below;
    bool listens; /* its work is the client's requests: with none there the session rests */
};

/* What handles stand for: a session's own, or those of a program that is being run. */
struct names {
    struct tensor **tensors; /* by number; NULL: none */
    uint32_t capacity, count;
};

struct event;
struct host;

struct session {
    struct worker *worker;
    struct session *prev, *next; /* in worker->sessions */
    uint64_t number;
    uint32_t uid, pid;
    uint64_t started_ns;
    char program[TD_NAME_BYTES];

    /* connection.c, pipe.c */
    uv_pipe_t pipe;
    int descriptor; /* of pipe, which owns it */
    uint8_t *input; /* bytes received and not yet taken lie in [input_start, input_end) */
    size_t input_capacity, input_start, input_end;
    uint8_t *output; /* replies not yet handed to libuv */
    size_t output_capacity, output_bytes;
    size_t reply_start;  /* of the reply being packed */
    bool output_torn;    /* there was no memory for part of it */
    size_t unsent_bytes; /* handed to libuv and not yet written */
    bool opened;         /* the pipe is the loop's, and must be closed through it */
    bool closing;        /* no more requests: the client left, or broke the protocol */
    bool closed;         /* the pipe's close has been confirmed */

    /* decoder.c */
    struct iterator decoder;
    const struct td_op *call_op; /* of the request in work */
    uint32_t call_out[TD_OUTPUTS_MAX], call_site;
    struct tensor *call_target;    /* whose handle the result, a view of it, gets; NULL: that has a handle of its own */
    bool no_grad;                  /* ops are not recorded for autograd, whatever their flags say */
    bool marks;                    /* no_grad is a checkpoint's: what would be recorded is marked */
    bool frame_starts;             /* nothing of the frame in work has been read */
    bool cancelled;                /* a cancel has come: what runs now is to end */
    size_t frame_at, frame_end;    /* of the frame in work, from input_start; both 0 between frames */
    size_t urgent_at;              /* from input_start: frames before this have been looked through for urgent ones */
    size_t cancel_left;            /* bytes from input_start that a cancel has hit */
    uint64_t list_id;              /* of the request whose list of handles is in work */
    uint32_t list_site, list_left; /* elements of it not yet taken; 0: none is in work */
    uint64_t request;              /* number of the request in work, or of the last one */
    uint64_t executed;             /* all requests up to this one are done */
    uint64_t bytes_taken;          /* of frames, all of the connection */
    uint64_t credited_request, credited_bytes; /* what the client has been told */
    struct site *sites;                        /* interned */
    uint32_t site_count;
    uint64_t arrived_ns; /* when the oldest request that has not been answered came; 0: there is none */

    /* tensors */
    struct names own, *names;         /* names: whose handles requests speak of now */
    uint64_t bytes[BLACKBOX_CLASSES]; /* of blocks charged to this session */
    uint8_t making;                   /* enum blackbox_class of the blocks that it takes now */
    uint64_t copied_bytes;            /* moved because a write met a reader */
    uint64_t peak_bytes;              /* most of them at once, since the client asked for it anew */
    struct cause *error;              /* the first failure that nobody has cleared */
    struct tensor *filling; /* made for uploads, of which the first filled bytes have come in order; NULL: none */
    size_t filled;
    struct {
        struct tensor *tensor; /* an upload's, whose bytes go from the socket to where they belong; NULL: none */
        uint8_t *at;
        size_t left;         /* that have not come */
        size_t bytes, frame; /* of the upload, and of the frame that it is alone in */
        uint32_t site;
    } landing;

    /* streams.c, host.c */
    uint8_t lane;         /* that its work is put into now */
    uint8_t lanes;        /* a bit for each that it has used */
    uint64_t uploaded;    /* stamp of its last upload */
    struct event *events; /* by number */
    uint32_t event_capacity;
    struct host *hosts[TD_HOSTS_MAX]; /* by number */

    uint32_t watching; /* blocks of TD_DETECT_ANOMALY that are open */
    uint64_t seed, random_counter;
    struct checkpoint *replayed; /* the checkpoint that is replayed; NULL: none is */
    uint64_t replay_walk;        /* meanwhile: the search that its nodes are on the way of */
    uint64_t node_count;         /* numbers the nodes of the tape */
    uint64_t hook_count;         /* numbers the hooks on gradients */
    bool in_hook;                /* a walk waits for the program of one */
    struct walk *walks;          /* on the stack, the top one first */
    struct call *calls;          /* that walks wait for, the top one first */
    uint64_t call_count;         /* numbers them */
    struct program *programs;    /* all that are alive and have a number, or had one */
    struct program *checkpoints; /* all others */
    struct names spare;          /* an empty table for the next run */
    struct recording *recording; /* the innermost one; NULL: none */
    uint32_t program_count;
    size_t program_bytes; /* of all programs */
    uint64_t dead_nodes;  /* of graphs nobody needs, not yet freed */

    /* schedule.c */
    struct iterator *top;
    struct session *run_next;
    bool runnable;           /* in the run queue */
    bool parked;             /* its op is on the device's thread */
    bool in_turn;            /* its iterators are being stepped: none may be dropped from outside */
    struct iterator release; /* once closing: releases the tensors */
    bool releasing;
    uint64_t estimate_ns; /* work done since the clock was read */
    uint64_t used_ns;     /* loop time since window_ns */
    uint64_t window_ns;

    /* recorder.c: what is in the black box of it, and what will be at the end of its turn */
    struct blackbox_user *user;
    struct blackbox_session *card; /* NULL: there was no place, nor for its last requests */
    struct blackbox_request *last;
    uint16_t request_id; /* of the request in work */
    uint64_t op_count, failed_count, device_ns;
    uint64_t published[BLACKBOX_CLASSES], published_requests, published_ops;
};

/* A place in the client's program. */
struct site {
    char *text;  /* "file.c:12"; NULL: not told */
    uint32_t id; /* the recorder's, of the text */
};

/* Takes over a client that the supervisor hands down. Returns NULL (the descriptor is closed) if there is no memory. */
struct session *session_open(struct worker *worker, const struct handover *handover, int descriptor);
/* Ends a session: no more requests are taken, its tensors are released in pieces, then it is freed. */
void session_close(struct session *session);
/* The same after telling the client why. */
void session_goodbye(struct session *session, int code, const char *message);

/* Hands what waits for the client to its socket; called at the end of each turn. */
void session_flush(struct session *session);
/* After a turn that ends with nothing to do: gives idle memory back; frees the session if it is over. May free it. */
void session_settle(struct session *session);
void session_push(struct session *session, struct iterator *iterator);

/* The tensors of names are let go of, from the last; at most limit of them. True: there are more. */
bool names_clear(struct session *session, struct names *names, uint32_t limit);

/* The tensor of a handle; NULL and a failure if there is none. Borrowed. */
struct tensor *session_tensor(struct session *session, uint32_t handle, struct td_failure *failure);
/* Binds a free handle to tensor, whose reference is taken over, also on failure. */
int session_bind(struct session *session, uint32_t handle, struct tensor *tensor, struct td_failure *failure);
/* Ends a handle; failure if it is not bound. */
int session_release(struct session *session, uint32_t handle, struct td_failure *failure);

/* The tensor that uploads were filling gets no more of them in order: what they have not brought becomes 0. */
void session_fill_end(struct session *session);

/* Nothing is in work but what the client may send next. */
static inline bool session_listens(const struct session *session)
{
    return !session->top || session->top->listens;
}

const char *session_site(const struct session *session, uint32_t site);
static inline uint32_t session_site_id(const struct session *session, uint32_t site)
{
    return site < session->site_count ? session->sites[site].id : 0;
}
/* Bytes of the device that are charged to it. */
static inline uint64_t session_bytes(const struct session *session)
{
    uint64_t bytes = 0;
    for (int k = 0; k < BLACKBOX_CLASSES; k++)
        bytes += session->bytes[k];
    return bytes;
}
/* Makes the cause of the request in work out of failure, lets it stand if nothing does yet, and returns it with one
 * reference; never NULL (without memory a shared constant). */
struct cause *session_fail(struct session *session, const char *op, uint32_t site, const struct td_failure *failure);

#endif
