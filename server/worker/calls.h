/* Calls: a function whose backward the client runs itself. The walk that is at one waits, parked on the session's
 * stack; on top of it the decoder goes on with what the client sends: its backward's ops, and at last the gradients.
 * Nobody else waits for it, and what the client does meanwhile it may do at any time.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_CALLS_H
#define TD_SERVER_WORKER_CALLS_H

struct session;
struct walk;

/* A step of the walk: calls the client at the function's node. */
void walk_call_client(struct session *session, struct walk *w);
/* A cancel has come: walks that wait fail when they have their answers. */
void calls_cancel(struct session *session);

#endif
