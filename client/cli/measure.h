/* What went on between two samples: a row for each session or user, with rates. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_MEASURE_H
#define TD_CLIENT_CLI_MEASURE_H

#include "client/cli/sample.h"
#include "client/cli/text.h"

/* What sessions and users have in common comes first; a user's row has no more than that. */
struct row {
    uint64_t number; /* of the session; of a user's row its uid */
    uint32_t uid, sessions;
    struct text user;
    uint64_t bytes[BLACKBOX_CLASSES], all_bytes;
    double requests_s, ops_s;
    const char *on;                         /* the device's name, of a session */
    double device;                          /* part of the time that the device computed for it, 0 to 1 */
    const struct blackbox_session *session; /* NULL: a user's row */
    double latency50_us, latency99_us;      /* of the answers between the samples; 0: there were none */
    uint64_t age_ns;
};

struct measure {
    double seconds; /* that it is over */
    double requests_s, ops_s, bytes_in_s, bytes_out_s;
    double busy; /* part of the time that the worker computed, 0 to 1 */
    int session_count, user_count;
    struct row sessions[BLACKBOX_SESSIONS], users[BLACKBOX_USERS];
};

/* before: an earlier sample, NULL if there is none; one of another life counts as none, and rates are then since the
 * life's start. The measure is to be freed, and points into now. NULL: no memory. */
struct measure *measure_take(const struct sample *before, const struct sample *now);
/* Sorts by one of SORT_KEYS, what is most first but for numbers; reverse turns it round. */
void measure_sort(struct row *rows, int count, char key, bool reverse);

/* Of several devices: the rows of all, those of a user as one, to be freed; *count of them. NULL: no memory. */
struct row *measure_rows(struct measure *const *measures, int devices, bool users, int *count);

/* A device is told of where there are several. */
enum table { TABLE_SESSIONS, TABLE_USERS, TABLE_PLACED_SESSIONS };
/* The table's head (row NULL) or a row of it, cut to width by leaving out what matters least; width 0: whole. */
void row_line(const struct row *row, enum table table, int width, char sort, char *to, size_t size);
/* Entries beside those of session_json, into the object that is open. */
void rates_json(struct json *json, const struct row *row);

#endif
