/* What a program says of streams, and what it wants to know of the device: its streams and events, how long something
 * took, how much memory it has. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_STREAMS_H
#define TD_SERVER_WORKER_STREAMS_H

#include "server/worker/request.h"

/* What follows is put into that stream of the session. Sessions begin with different lanes, so that they do not wait
 * for each other. */
void streams_choose(struct session *session, uint32_t number);
/* Waits for all that the session has put in. */
void streams_settle(const struct session *session, const struct td_device *device);
/* Its events end. */
void streams_end(struct session *session);
/* An urgent question for an event. */
void streams_answer(struct session *session, uint64_t number);

/* Around what is put into the lane of uploads for tensor. */
void uploads_begin(struct session *session, const struct tensor *tensor);
void uploads_end(struct session *session, const struct tensor *tensor);

void run_stream(struct session *session, struct request *request, struct td_failure *failure);
void run_event_record(struct session *session, struct request *request, struct td_failure *failure);
void run_stream_wait(struct session *session, struct request *request, struct td_failure *failure);
void run_event_free(struct session *session, struct request *request, struct td_failure *failure);
void run_elapsed(struct session *session, struct request *request, struct td_failure *failure);
void run_memory(struct session *session, struct request *request, struct td_failure *failure);

#endif
