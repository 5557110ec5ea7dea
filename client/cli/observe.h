/* What the supervisor tells of the workers' lives, with their black boxes mapped: no worker is asked, so it may be
 * busy, stuck or gone. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_OBSERVE_H
#define TD_CLIENT_CLI_OBSERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/address.h"
#include "protocol/message.h"
#include "server/blackbox.h"

struct observed_life {
    uint64_t number;
    enum td_life_state state;
    char cause[TD_MESSAGE_BYTES]; /* how it ended */
    char device[TD_DEVICE_BYTES]; /* that its worker serves; "": not known yet */
    bool has_trace;
    struct blackbox box;
};

struct observation {
    struct td_address address;
    char version[64]; /* of the daemon */
    uint64_t pid;     /* of the supervisor */
    uint64_t started_ns, taken_ns;
    uint64_t waiting; /* clients that no worker has taken yet */
    int count;        /* at least one; those of a device together, its newest first */
    struct observed_life lives[TD_OBSERVED_MAX];
};

/* address: as for td_open. Returns TD_E_OK, or the failure and nothing to be closed. */
int observe(const char *address, struct observation *to, struct td_failure *failure);
void observation_close(struct observation *observation);

/* The newest life of the first device (after: -1), of the next device after the one of life number after of the list;
 * -1: there is none. */
int observed_next(const struct observation *observation, int after);
/* The newest life of the device that life is of. */
int observed_newest(const struct observation *observation, const struct observed_life *life);
int observed_devices(const struct observation *observation);

/* Of the device whose newest life is this one: that, if it has not ended; the newest that has. NULL: there is none. */
const struct observed_life *observed_present(const struct observation *observation, int newest);
const struct observed_life *observed_dead(const struct observation *observation, int newest);

/* The same: a line of what the worker is and does: "worker 3 (pid 77), up 2 h 5 m, has been in one step for 12 s",
 * "worker 3 (pid 77) was killed by signal 9 (Killed) 4 s ago; the next is starting". */
void observed_worker_text(const struct observation *observation, int newest, char *to, size_t size);
/* How and when the life before the present one ended; "" if it is not known, or there is no present one. */
void observed_restart_text(const struct observation *observation, int newest, char *to, size_t size);
/* For how long the present worker has been in one step of its loop, if that is worth telling; else 0. */
uint64_t observed_step_ns(const struct observation *observation, int newest);
/* ns since a life's end; 0 if it says none. */
uint64_t observed_end_ns(const struct observation *observation, const struct observed_life *life);

/* A one-time address of the dashboard. */
int observe_dashboard(const char *address, char *to, size_t size, struct td_failure *failure);

/* What both stand on: one question and its answer as it came. */
struct observed_answer {
    uint8_t frame[65536];
    struct td_reader reader; /* behind the array's head and the kind */
    int descriptors[2 * TD_OBSERVED_MAX], count;
};
int observed_ask(const struct td_address *address, enum td_purpose purpose, struct observed_answer *answer,
                 struct td_failure *failure);
void observed_answer_close(struct observed_answer *answer);

#endif
