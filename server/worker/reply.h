/* Messages from the daemon to a client; protocol/message.h has their forms. Each goes to the session's output, in
 * order. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_REPLY_H
#define TD_SERVER_WORKER_REPLY_H

#include <msgpack.h>

#include "server/worker/session.h"

/* Bytes that a DATA message has before its elements, the frame's length included. */
#define REPLY_DATA_HEADER 96

void reply_welcome(struct session *session, const struct handover *handover);
void reply_goodbye(struct session *session, int code, const char *message);
void reply_credit(struct session *session);
void reply_pong(struct session *session, uint64_t number);
void reply_event(struct session *session, uint64_t event, uint64_t recorded, bool done);
/* Answers the request of a number; error may be NULL. */
void reply_done(struct session *session, uint64_t request, const struct cause *error);
/* Answers a read with an error. */
void reply_data_failed(struct session *session, const struct cause *error);
/* Writes the head of a DATA message to at; returns its bytes. chunk bytes of elements must follow. */
size_t reply_data_header(struct session *session, uint8_t *at, uint8_t dtype, uint64_t total, uint64_t offset,
                         uint32_t chunk);
/* The layout of tensor, or of an error value its cause; with cause that. grad: enum td_layout_grad. */
void reply_layout(struct session *session, const struct tensor *tensor, unsigned grad, const struct cause *cause);
/* Begins a MAP message, whose last element the caller packs, or a CALL, of which all behind the kind; ends it. */
void reply_map_begin(struct session *session, msgpack_packer *packer);
void reply_call_begin(struct session *session, msgpack_packer *packer);
void reply_end(struct session *session);
/* Parts of what is packed. An error may be NULL: nil. */
void reply_text(msgpack_packer *packer, const char *text);
void reply_value(msgpack_packer *packer, const struct tensor *tensor, bool requires);
void reply_error(msgpack_packer *packer, const struct cause *error);

#endif
