/* The bytes of a session: frames in, replies out. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_CONNECTION_H
#define TD_SERVER_WORKER_CONNECTION_H

#include "server/worker/session.h"

/* Room for input, where it is to be written; *bytes may be 0. connection_received tells how much came,
 * connection_overrun that something came and there was no room. */
uint8_t *connection_input(struct session *session, size_t *bytes);
void connection_received(struct session *session, size_t bytes);
void connection_overrun(struct session *session);
/* The session rests: big empty buffers are given back. */
void connection_rest(struct session *session);
/* Of the payload behind the header at at. */
static inline size_t connection_frame_length(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}
/* A complete frame lies at input_start: sets frame_at and frame_end around its payload. Breaks the session off where
 * the length is no frame's. */
bool connection_next_frame(struct session *session);
/* The frame in work has been used up. */
void connection_end_frame(struct session *session);
/* Room for bytes at the end of the output; NULL without memory. connection_wrote tells how many were used. */
uint8_t *connection_room(struct session *session, size_t bytes);
void connection_wrote(struct session *session, size_t bytes);
/* Bytes that the client has not taken yet. */
static inline size_t connection_backlog(const struct session *session)
{
    return session->output_bytes + session->unsent_bytes;
}

/* ---- pipe.c, and session_flush: what the bytes travel on ---- */

/* Sends what the output has, with a descriptor at its first byte; all before it has been written. False, and the output
 * is empty again: it does not go now. */
bool connection_pass(struct session *session, int descriptor);

/* Takes the descriptor, also on failure. */
int connection_open(struct session *session, int descriptor);
/* Stops reading; the pipe is closed when what has been handed to it is written. */
void connection_close(struct session *session);
/* Closes the pipe outright, whatever is unsent. */
void connection_abort(struct session *session);
/* Sends header and data in place, without copying data; then is called once when both are out, or failed. request is
 * the caller's until then. */
struct connection_write {
    uv_write_t uv;
    struct session *session;
    void (*then)(struct session *session, struct connection_write *write);
    size_t bytes;
    uint8_t header[96];
};
int connection_write_in_place(struct connection_write *write, size_t header_bytes, void *data, size_t bytes);

#endif
