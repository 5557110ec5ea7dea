/* What a black box says at one moment, copied out of it and made fit to be printed: what status and top show.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_SAMPLE_H
#define TD_CLIENT_CLI_SAMPLE_H

#include "client/cli/json.h"
#include "client/cli/observe.h"

struct sample {
    uint64_t taken_ns; /* now, or when the life ended */
    int newest;        /* of the lives of the device, in the observation */
    uint64_t life, started_ns, pid;
    enum td_life_state state;
    char device[32], description[128];
    uint64_t limit_bytes;
    uint64_t requests, ops, failed, backwards, copied_bytes, carried_bytes, bytes_in, bytes_out, busy_ns,
        sessions_opened;
    uint64_t sessions_open; /* also those that are not listed */
    bool has_gauges;
    struct td_gauges gauges;
    struct blackbox_memory memory;
    bool torn; /* memory and users are not of one moment: the worker died while it wrote */
    uint32_t user_count;
    struct blackbox_user users[BLACKBOX_USERS];
    int session_count;
    struct blackbox_session sessions[BLACKBOX_SESSIONS]; /* the open ones, by number */
};

/* A new sample of a life, to be freed. NULL: no memory. */
struct sample *sample_take(const struct observation *observation, const struct observed_life *life);

/* A sample of the newest life of each device. */
struct samples {
    int count;
    struct sample *of[TD_DEVICES_MAX];
};
/* False: no memory; what there is is to be freed all the same. */
bool samples_take(const struct observation *observation, struct samples *samples);
void samples_free(struct samples *samples);

uint64_t class_sum(const uint64_t bytes[BLACKBOX_CLASSES]);
/* "idle", "busy", "device", "closing" */
const char *state_name(uint32_t state);

/* Lines about the device and its memory, the same in status and top. */
struct memory_lines {
    char device[192], gauges[192], memory[192], classes[192]; /* gauges: "" for a device without instruments */
};
struct memory_lines sample_memory_lines(const struct sample *sample);

/* Entries into the object that is open: version, protocol, ..., of the daemon; life, ..., device, totals, of a worker.
 */
void daemon_json(struct json *json, const struct observation *observation);
void sample_json(struct json *json, const struct observation *observation, const struct sample *sample);
/* What status and top have in common: the daemon, the first worker, and "workers", a list of all. */
void samples_json(struct json *json, const struct observation *observation, const struct samples *samples);
/* The entries of a session, and of what a user or session holds, into the object that is open. */
void session_json(struct json *json, const struct sample *sample, const struct blackbox_session *session);
void classes_json(struct json *json, const uint64_t bytes[BLACKBOX_CLASSES]);

#endif
