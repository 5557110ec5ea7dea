/* Taking requests that are not ops apart: each function takes one element, or says that it is not there.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_REQUEST_H
#define TD_SERVER_WORKER_REQUEST_H

#include "server/worker/decoder.h"

/* False, with nothing taken, if the next element is no integer of 64 bits. */
bool take_integer(struct request *request, int64_t *value);
bool take_bool(struct request *request, bool *value);
/* UINT32_MAX if it is no handle. */
uint32_t take_handle(struct request *request);
/* True if the next element was nil, which is then taken. */
bool take_nil(struct request *request);
/* A text of the client's for people: what could move a terminal's cursor becomes '?'. NULL if there is none, it is too
 * long, or, with a failure, there is no memory. To be freed. */
char *take_text(struct request *request, uint32_t limit, struct td_failure *failure);
/* Raises failure in the request's name. The cause has one reference. */
struct cause *request_fail(struct session *session, const struct request *request, const char *name,
                           const struct td_failure *failure);
/* Raises failure, which is told then, and gives it as an error value. */
struct tensor *request_failed_value(struct session *session, const struct request *request, const char *name,
                                    struct td_failure *failure);
/* handle stands for result, whose reference is taken over, from now on. */
void request_rebind(struct session *session, uint32_t handle, struct tensor *result, struct td_failure *failure);

/* upload.c */
void run_upload(struct session *session, struct request *request, struct td_failure *failure);
/* An upload of whose frame, which it ends, have bytes are there: puts those into the tensor and sets landing to where
 * the others belong. False, with nothing done: it is none that this can be done for, or one that is to be refused. */
bool upload_lands(struct session *session, struct request *request, size_t have);
/* The others have come. */
void upload_landed(struct session *session);
void run_copy_in(struct session *session, struct request *request, struct td_failure *failure);

/* recordings.c */
void run_record(struct session *session, struct request *request, struct td_failure *failure);
void run_record_end(struct session *session, struct request *request, struct td_failure *failure);
void run_run(struct session *session, struct request *request, struct td_failure *failure);
void run_apply(struct session *session, struct request *request, struct td_failure *failure);
void run_called(struct session *session, struct request *request, struct td_failure *failure);
void run_program(struct session *session, struct request *request, struct td_failure *failure);
void run_hook(struct session *session, struct request *request, struct td_failure *failure);
void run_program_free(struct session *session, struct request *request, struct td_failure *failure);

/* calls.c */
void run_answer(struct session *session, struct request *request, struct td_failure *failure);

#endif
