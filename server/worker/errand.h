/* Errands: what the device's thread does, one after the other, while the loop goes on with everybody else: long
 * kernels, and whatever waits for a device. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_ERRAND_H
#define TD_SERVER_WORKER_ERRAND_H

#include "server/worker/session.h"

/* A part of what it is for. The session is parked until done has been called. */
struct errand {
    struct errand *next;
    struct session *session;
    /* On the device's thread; touches nothing of the session. */
    void (*run)(struct errand *errand, const struct td_device *device);
    /* On the loop's, with the session no longer parked; it is woken afterwards. */
    void (*done)(struct errand *errand);
};

/* Parks the session and sends its errand. False, and nothing has happened: there is no thread (a test without a loop,
 * or no memory for it). */
bool errand_start(struct errand *errand);

/* The device's thread. */
int errands_start(struct worker *worker);
/* Errands not yet run are not; done is called all the same. */
void errands_stop(struct worker *worker);

#endif
