/* A worker without its process: real sessions, decoder, executor, tape, walk and pool on the CPU device, driven turn by
 * turn from memory. Stands in for server/worker/pipe.c, so nothing of it needs a descriptor. No thread: long kernels
 * run here, and those that would take very long not at all. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_HARNESS_H
#define TD_TESTS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/worker/connection.h"
#include "server/worker/session.h"
#include "server/worker/worker.h"

/* A client's end. */
struct line {
    struct session *session; /* NULL: the pipe is closed */
    bool used;
    bool stalled; /* the client does not read: what is written stays unsent */
    bool keeps;   /* what the daemon sends is kept in got; otherwise it is counted only */
    uint8_t *got;
    size_t got_bytes, got_capacity;
    uint64_t sent_bytes; /* by the daemon, also where not kept */
    /* the stand-in's own */
    size_t waiting_bytes; /* of copied output that a stalled client has not taken */
    struct connection_write *write;
    const uint8_t *write_data;
    size_t write_header_bytes, write_data_bytes;
    bool close_due;
};

#define HARNESS_LINES 4

struct harness {
    struct worker worker;
    struct td_device device;
    uint64_t kernel_ns_max; /* kernels that cost more are left out, their results 0 */
    struct line lines[HARNESS_LINES];
    uint64_t numbers; /* of sessions */
};

/* Reserving device memory fails when this has counted down to 0; -1: never. */
extern int64_t harness_reserves_left;

/* Returns 0, or -1 without memory, with nothing left to stop. harness is zero before. */
int harness_start(struct harness *harness, size_t memory_bytes);
/* All sessions must be over. */
void harness_stop(struct harness *harness);
/* NULL where the daemon did not take the session. */
struct line *harness_open(struct harness *harness);
/* Bytes as they come off a socket; may end the session. */
void harness_send(struct line *line, const void *data, size_t bytes);
/* One turn of the loop: input and output, then sessions. False: there is nothing to do. */
bool harness_turn(struct harness *harness);
/* Turns until there is nothing to do. False: still not after very many turns. */
bool harness_run(struct harness *harness);
/* The client's end of the stream. */
void harness_hang_up(struct line *line);
/* Hangs up everywhere, and says what is left of it all: NULL if nothing is. */
const char *harness_end(struct harness *harness);

#endif
