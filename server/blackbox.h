/* The black box of one worker life: what the worker is doing, in shared memory that outlives it. The supervisor makes
 * and seals it, the worker writes it and waits for nobody, `tensord web` and tensorctl read it while the worker is
 * busy, stuck or dead. Two memories, since what everybody may know of a shared machine and what programs look like
 * inside are not the same: `tables` (users, sessions, counters, memory) is given to whoever may connect, `trace` (call
 * sites, the last requests of each session, a ring of records) to the daemon's own user and to root.
 *
 * All numbers are the machine's; times are nanoseconds of CLOCK_MONOTONIC, which all processes share. Counters have one
 * writer and only grow within a life, unless they say what there is now. A reader trusts nothing that it finds.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_BLACKBOX_H
#define TD_SERVER_BLACKBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/gauges.h"
#include "protocol/error.h"
#include "protocol/limits.h"
#include "protocol/ops.h"

#define BLACKBOX_MAGIC UINT64_C(0x31626264726f7374) /* "tsordbb1" */

/* What a byte of the device is used for. */
enum blackbox_class {
    BLACKBOX_PARAM, /* a leaf that wants a gradient */
    BLACKBOX_GRAD,  /* made by a backward walk */
    BLACKBOX_SAVED, /* nobody's tensor any more: the tape alone keeps it */
    BLACKBOX_VALUE, /* any other tensor */
    BLACKBOX_CLASSES
};
/* "param", "grad", "saved", "value" */
extern const char *const blackbox_class_names[BLACKBOX_CLASSES];

/* ---- tables ---- */

#define BLACKBOX_USERS 256         /* users of one life; those who come later share the last place */
#define BLACKBOX_SESSIONS 1024     /* open sessions that are listed; the rest is only counted */
#define BLACKBOX_LATENCIES 32      /* bucket k counts answers within 2^k microseconds, and more than half of that */
#define BLACKBOX_OTHERS UINT32_MAX /* uid of the shared place */

enum blackbox_state { BLACKBOX_STARTING, BLACKBOX_RUNNING, BLACKBOX_ENDED };

struct blackbox_user {
    uint32_t uid;
    uint32_t sessions; /* open now */
    uint64_t bytes[BLACKBOX_CLASSES];
    uint64_t requests, ops, device_ns;
};

enum blackbox_session_state { BLACKBOX_IDLE, BLACKBOX_BUSY, BLACKBOX_PARKED, BLACKBOX_CLOSING };

struct blackbox_session {
    uint32_t sequence;             /* odd while the place is being given to another session */
    uint32_t state;                /* enum blackbox_session_state, of the last publication */
    uint64_t number;               /* 0: the place was never used */
    uint64_t opened_ns, closed_ns; /* closed_ns 0: open. A closed session stays until its place is needed. */
    uint32_t uid, pid;
    char program[TD_NAME_BYTES];
    uint64_t bytes[BLACKBOX_CLASSES]; /* held now */
    uint64_t requests, ops, failed;
    uint64_t device_ns;                    /* computed for it, on the loop and on the device's thread */
    uint64_t tensors, nodes, copied_bytes; /* handles now; nodes of the tape so far; bytes moved for a write */
    uint64_t latency_max_ns;
    uint32_t latency[BLACKBOX_LATENCIES]; /* from a request's arrival in the worker to its reply's leaving */
};

struct blackbox_memory {
    uint64_t used, reserved, peak; /* bytes; peak: the highest used of the life */
    uint64_t peak_ns;
    uint64_t bytes[BLACKBOX_CLASSES]; /* together: used */
};

struct blackbox_tables {
    uint64_t magic, bytes; /* bytes: sizeof this struct */
    uint64_t life;
    uint64_t started_ns, started_unix_ns;
    /* the supervisor's */
    _Atomic uint32_t state; /* enum blackbox_state */
    uint32_t pid;           /* of the worker */
    uint64_t ended_ns;
    char cause[TD_MESSAGE_BYTES]; /* once ended: how */
    /* the worker's */
    char device[32], description[128];
    uint64_t limit_bytes;
    _Atomic uint64_t heartbeat_ns; /* end of the last turn of its loop; it may sleep for as long as nobody asks */
    _Atomic uint32_t turning; /* 1 from a turn's start to its end: a worker that hangs has this and an old heartbeat */
    uint32_t user_count;
    uint64_t requests, ops, failed, backwards, copied_bytes, carried_bytes; /* carried to the host and back */
    uint64_t bytes_in, bytes_out, busy_ns, sessions_opened, sessions_open;
    uint32_t has_gauges;            /* of its device: once they were read */
    struct td_gauges gauges;        /* a second old at most while it works */
    uint64_t op_count[TD_OP_LIMIT]; /* by id */
    /* Memory and the users' bytes are published together; odd while that is being done. */
    _Atomic uint32_t memory_sequence;
    struct blackbox_memory memory;
    struct blackbox_user users[BLACKBOX_USERS];
    struct blackbox_session sessions[BLACKBOX_SESSIONS];
};

/* ---- trace ---- */

#define BLACKBOX_LAST 64 /* requests of each session that are remembered */
#define BLACKBOX_STRING_BYTES (1u << 20)
#define BLACKBOX_RING_BYTES (4u << 20) /* a power of two */
#define BLACKBOX_RECORD_MAX 2048       /* bytes of one record */

enum blackbox_outcome { BLACKBOX_STARTED, BLACKBOX_DONE, BLACKBOX_FAILED };

/* A request of a session; request n stands at n % BLACKBOX_LAST of its place in `last`. */
struct blackbox_request {
    uint32_t request; /* low bits of its number */
    uint32_t site;    /* a string; 0: none */
    uint16_t id;      /* of the op or request */
    uint8_t outcome;  /* enum blackbox_outcome */
    uint8_t unused;
    uint32_t time_us; /* since the life's start, low bits; as of the turn it was begun in */
};

enum blackbox_kind {
    BLACKBOX_PAD,   /* nothing, up to the ring's end */
    BLACKBOX_OP,    /* struct blackbox_op */
    BLACKBOX_ERROR, /* struct blackbox_error */
    BLACKBOX_OPEN,  /* struct blackbox_event: a session began */
    BLACKBOX_CLOSE, /* the same: it ended */
    BLACKBOX_SKIP   /* struct blackbox_skip: ops that were too many to be written down */
};

/* Every record begins so, at a multiple of 8 bytes. */
struct blackbox_record {
    uint32_t stamp; /* its position in the stream, in units of 8 bytes, low bits: what was scribbled over shows */
    uint16_t size;  /* of the record, in units of 8 bytes */
    uint8_t kind;   /* enum blackbox_kind */
    uint8_t unused;
    uint64_t time_ns; /* of the turn for short ops, of their end for timed ones */
};

enum blackbox_op_flag {
    BLACKBOX_OP_NODE = 1,     /* made the node of the tape that `node` names */
    BLACKBOX_OP_BACKWARD = 2, /* of a backward rule, for `node` */
    BLACKBOX_OP_FAILED = 4,
    BLACKBOX_OP_VIEW = 8,
    BLACKBOX_OP_IN_PLACE = 16,
    BLACKBOX_OP_LEAF = 32, /* the result is a leaf that wants a gradient */
    BLACKBOX_OP_OFFLOADED = 64,
    BLACKBOX_OP_STEP = 128 /* an optimiser's step */
};

#define BLACKBOX_OP_INPUTS 7 /* those that a record names at most: their ranks and the result's are 8 bytes */

/* An op that was executed. Behind it: u32 ids of the inputs (in_count), then for the result and for each input the rank
 * (one byte each, padded to 4), then all their sizes as u32 (UINT32_MAX: that or more), padded to 8. Ids are good
 * until the same one is a result again. */
struct blackbox_op {
    struct blackbox_record record;
    uint32_t session, request; /* low bits of their numbers */
    uint32_t site;             /* a string */
    uint32_t node;
    uint32_t duration_us; /* 0: too short to be timed */
    uint32_t out;         /* id of the first result; 0: none */
    uint64_t bytes;       /* of the first result's elements */
    uint16_t op;
    uint16_t flags; /* enum blackbox_op_flag */
    uint8_t dtype;  /* of the first result */
    uint8_t in_count;
    uint16_t unused;
};

/* An op or request failed. */
struct blackbox_error {
    struct blackbox_record record;
    uint32_t session, request, site;
    uint16_t id, code;
    char message[TD_MESSAGE_BYTES];
};

struct blackbox_event {
    struct blackbox_record record;
    uint64_t session;
    uint32_t uid, pid;
};

struct blackbox_skip {
    struct blackbox_record record;
    uint32_t session, count;
};

struct blackbox_trace {
    uint64_t magic, bytes;
    uint64_t life;
    /* Strings: one after the other, each with a 0 byte; an id is its place. Place 0 is "". */
    _Atomic uint32_t string_bytes;
    uint32_t strings_refused; /* there was no room for them */
    /* The stream of records: a position counts bytes since the beginning and stands at position % BLACKBOX_RING_BYTES.
     * [committed, reserved) is being written; what lies more than the ring before reserved is overwritten. */
    _Atomic uint64_t reserved, committed;
    struct blackbox_request last[BLACKBOX_SESSIONS][BLACKBOX_LAST];
    char strings[BLACKBOX_STRING_BYTES];
    uint8_t ring[BLACKBOX_RING_BYTES] __attribute__((aligned(4096)));
};

/* ---- making one: the supervisor ---- */

/* Descriptors of a worker's black box as it finds them, behind the handover's. */
#define BLACKBOX_TABLES_FD 4
#define BLACKBOX_TRACE_FD 5

struct blackbox_made {
    int tables, trace;           /* for the worker: readable and writable; -1: none */
    int tables_read, trace_read; /* for readers: the same memories, which they cannot be made to write by */
    struct blackbox_tables *map; /* for what the supervisor says in it */
};

#define BLACKBOX_NONE        \
    {                        \
        -1, -1, -1, -1, NULL \
    }

/* Makes and seals both memories of a life. Returns 0, or -1 with errno and nothing made. */
int blackbox_make(struct blackbox_made *made, uint64_t life);
/* The worker has its descriptors. */
void blackbox_give(struct blackbox_made *made);
/* The worker runs as pid; it has ended by cause. */
void blackbox_set_running(struct blackbox_made *made, uint32_t pid);
void blackbox_set_ended(struct blackbox_made *made, const char *cause);
/* Closes and unmaps all of it; readers keep what they have. */
void blackbox_unmake(struct blackbox_made *made);

/* ---- reading one ---- */

struct blackbox {
    const struct blackbox_tables *tables;
    const struct blackbox_trace *trace; /* NULL: not given to this reader */
};

/* Maps what the descriptors (trace: -1 for none) show, after a look at size, seals and magic. The descriptors stay the
 * caller's. Returns TD_E_OK, TD_E_VERSION (another build's), or TD_E_PROTOCOL. */
int blackbox_open(struct blackbox *box, int tables, int trace, struct td_failure *failure);
void blackbox_close(struct blackbox *box);

/* The memory as it was published at one moment, with up to BLACKBOX_USERS users that belong to it (users may be NULL).
 * Returns the number of users; *torn is set where no such moment could be had (the worker died half way). */
uint32_t blackbox_memory(const struct blackbox *box, struct blackbox_memory *memory, struct blackbox_user *users,
                         bool *torn);
/* A copy of the session in a place; false: the place is empty, or being given away. */
bool blackbox_session(const struct blackbox *box, uint32_t place, struct blackbox_session *session);
/* The upper bound in microseconds of the part (0.5, 0.99) of a session's answers; 0 without any. */
double blackbox_latency_us(const struct blackbox_session *session, double part);
/* A string, without what could move a terminal's cursor; "" for 0 and for what is none. Returns to. */
const char *blackbox_string(const struct blackbox *box, uint32_t id, char *to, size_t size);
/* The last requests of the session in a place, oldest first; returns how many. */
int blackbox_last(const struct blackbox *box, uint32_t place, struct blackbox_request to[BLACKBOX_LAST]);
/* The worker's moment: whether its loop is in a turn now, and for how long nothing was heard of it. */
uint64_t blackbox_silence_ns(const struct blackbox *box, uint64_t now_ns);

struct blackbox_cursor {
    uint64_t position;
    uint64_t lost_bytes; /* overwritten before they were read, or no record */
};

/* A record, copied. */
union blackbox_copy {
    struct blackbox_record record;
    struct blackbox_op op;
    struct blackbox_error error;
    struct blackbox_event event;
    struct blackbox_skip skip;
    uint8_t bytes[BLACKBOX_RECORD_MAX];
};

/* Where the oldest record still is, or may be. */
void blackbox_rewind(const struct blackbox *box, struct blackbox_cursor *cursor);
/* Behind the newest one. */
void blackbox_forward(const struct blackbox *box, struct blackbox_cursor *cursor);
/* Copies the next record that is whole; its size, counts, ranks and kind are right then, and texts end in 0. False:
 * there is none yet. */
bool blackbox_next(const struct blackbox *box, struct blackbox_cursor *cursor, union blackbox_copy *copy);

/* The parts of an OP record that blackbox_next gave: ids of inputs, and the shape of the result (k = -1) or of input k;
 * returns its rank. */
const uint32_t *blackbox_op_inputs(const struct blackbox_op *op);
int blackbox_op_shape(const struct blackbox_op *op, int k, const uint32_t **sizes);

#endif
