/* What the trace of a black box says, in words: requests, ops and errors.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_RECORD_H
#define TD_CLIENT_CLI_RECORD_H

#include "client/cli/json.h"
#include "server/blackbox.h"

/* The name of an op or of a request; "?" for what is neither. */
const char *request_name(uint16_t id);
/* "started", "done", "failed" */
const char *outcome_name(uint8_t outcome);

/* The number of the session that a record is of, low bits. */
uint32_t record_session(const union blackbox_copy *copy);
/* Whether it tells of something that failed. */
bool record_is_error(const union blackbox_copy *copy);

/* A line: "matmul [64,784] x [784,128] -> [64,128] f32  3.2 ms  mlp.c:41". box is where strings are looked up. */
void record_print(FILE *out, const struct blackbox *box, const union blackbox_copy *copy);
/* Its entries, into the object that is open. */
void record_json(struct json *json, const struct blackbox *box, const union blackbox_copy *copy);

#endif
