/* What Prometheus may ask: totals of all lives of the workers that this process has seen, and what there is now.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WEB_METRICS_H
#define TD_SERVER_WEB_METRICS_H

#include <stddef.h>

#include "server/blackbox.h"

/* Whole numbers of 64 bits only: they are added as an array. */
struct counters {
    uint64_t requests, ops, failed, backwards, copied_bytes, carried_bytes, bytes_in, bytes_out, busy_ns, sessions;
    uint64_t by_op[TD_OP_LIMIT];
    uint64_t latency[BLACKBOX_LATENCIES];
};

/* Counters of the present life start at 0 with it; those of the lives before are added, so that what Prometheus sees
 * only grows. It resets with the web process, which Prometheus takes for what it is, a counter that starts anew. */
struct metrics {
    struct counters past, present;
    struct {
        uint64_t number; /* of the session in this place */
        uint32_t latency[BLACKBOX_LATENCIES];
    } seen[BLACKBOX_SESSIONS]; /* what of a session's answers is in present */
};

/* Takes the counters of the present life, of which one that runs backwards is none. */
void metrics_take(struct metrics *metrics, const struct blackbox *box);
void metrics_end_life(struct metrics *metrics);
/* A device of those that are told of. */
struct metered {
    const char *name; /* without what a label has to escape */
    const struct metrics *metrics;
    const struct blackbox *box; /* box->tables NULL: no life yet */
};
/* The text, with a label for the device in each line that is about one; the caller's to free. NULL: no memory. */
char *metrics_text(const struct metered *devices, int count, int viewers, size_t *bytes);

#endif
