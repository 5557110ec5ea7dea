/* The recorder: writes the black box of this life. It never waits and never fails: what has no room is counted. What is
 * written for each op is written at once, so that a crash finds it; what can be summed up is published when a
 * session's turn ends. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_RECORDER_H
#define TD_SERVER_WORKER_RECORDER_H

#include "server/blackbox.h"

struct worker;
struct session;
struct execution;

struct recorder {
    struct blackbox_tables *tables;
    struct blackbox_trace *trace;
    uint64_t now_ns;   /* the last look at the clock */
    uint64_t position; /* in the stream of records: the next one's */
    int64_t ops_left;  /* ops that may be written down at once */
    uint32_t skipped;  /* that were not, since the last one of */
    uint32_t skipped_session;
    uint32_t *strings;   /* ids by hash; 0: a free place */
    uint32_t next_place; /* where the search for a session's place begins */
};

/* Maps the memories behind the descriptors, which it closes; -1 for both: memory of its own, for tests. Returns 0, or
 * -1 with errno. */
int recorder_start(struct worker *worker, int tables, int trace);
void recorder_stop(struct worker *worker);

/* A session's life: what it publishes and what it was asked last has a place from the one to the other. */
void recorder_open(struct session *session);
void recorder_close(struct session *session);
/* The id of a text, the same for the same text; 0: there is no room. */
uint32_t recorder_string(struct recorder *recorder, const char *text);

/* The request in work has begun; that of a number has been carried out. */
void recorder_begin(struct session *session, uint64_t id, uint32_t site);
void recorder_done(struct session *session, uint64_t number);
/* It, or an op made for it, has failed and is the first to. */
void recorder_error(struct session *session, uint32_t site, int code, const char *message);
/* An op has been executed, or would have been had it not failed. Before the execution is freed. */
void recorder_op(const struct execution *execution, bool failed);

/* The clock was looked at; the loop begins to work then; it has nothing left to do. */
void recorder_clock(struct worker *worker, uint64_t now_ns);
void recorder_turn(struct worker *worker, uint64_t now_ns);
void recorder_rest(struct worker *worker, uint64_t now_ns);
/* session begins to work. */
void recorder_work(struct session *session);
/* What session has and did, after it has worked for so long. */
void recorder_publish(struct session *session, uint64_t worked_ns);
/* A reply has left so long after its request came. */
void recorder_answered(struct session *session, uint64_t took_ns);

#endif
