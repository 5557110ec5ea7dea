/* The channel between supervisor and worker: a SOCK_SEQPACKET pair. Down it go accepted clients, descriptor and HELLO
 * together; up come notes. Both ends are the same binary, so the messages are plain structs.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_HANDOVER_H
#define TD_SERVER_HANDOVER_H

#include <stdint.h>
#include <sys/types.h>

#include "protocol/limits.h"
#include "protocol/message.h"

/* The worker's end of the channel is this descriptor. */
#define HANDOVER_FD 3

/* A client whose HELLO was accepted; the descriptor rides along. */
struct handover {
    uint64_t number; /* counts handovers of this supervisor */
    uint64_t life;   /* this worker's life, from 1 */
    uid_t uid;       /* of the client's process, as the kernel says */
    pid_t pid;
    struct td_hello hello;
    char lost[TD_MESSAGE_BYTES]; /* how the life that the client names in HELLO ended; "" if it named none */
};

enum handover_note_kind { NOTE_READY = 1, NOTE_TAKEN = 2 };
/* From the worker: READY once it can serve; TAKEN when the clients up to that number are its own. */
struct handover_note {
    uint32_t kind;
    uint64_t number;
};

/* Sends without waiting. Returns 0, or -1 with errno; the descriptor stays the caller's. */
int handover_send(int channel, const struct handover *handover, int descriptor);
/* Receives without waiting; *descriptor is the caller's from then on. Returns 1, 0 at the channel's end, or -1 with
 * errno (EAGAIN: nothing there). */
int handover_receive(int channel, struct handover *handover, int *descriptor);
int handover_note_send(int channel, const struct handover_note *note);
int handover_note_receive(int channel, struct handover_note *note);

#endif
