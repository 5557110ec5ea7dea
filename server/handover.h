/* The channels between the supervisor and its children: SOCK_SEQPACKET pairs. Down the worker's go accepted clients,
 * descriptor and HELLO together, and up come notes; down the web's go orders. Both ends are the same binary, so the
 * messages are plain structs.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_HANDOVER_H
#define TD_SERVER_HANDOVER_H

#include <stdint.h>
#include <sys/types.h>

#include "protocol/limits.h"
#include "protocol/message.h"

/* A child's end of its channel is this descriptor. */
#define HANDOVER_FD 3

/* A client whose HELLO was accepted; the descriptor rides along. */
struct handover {
    uint64_t number;  /* counts handovers of this supervisor */
    uint64_t life;    /* this worker's life, from 1 */
    uint32_t workers; /* that there are, with this one: what they take of the host they take in equal parts */
    uid_t uid;        /* of the client's process, as the kernel says */
    pid_t pid;
    struct td_hello hello;
    char lost[TD_MESSAGE_BYTES]; /* how the life that the client names in HELLO ended; "" if it named none */
};

enum handover_note_kind { NOTE_READY = 1, NOTE_TAKEN = 2 };
/* From the worker: READY once it can serve, with the device that it serves, and in number how many of its kind there
 * are; TAKEN when the clients up to that number are its own. */
struct handover_note {
    uint32_t kind;
    uint64_t number;
    char device[TD_DEVICE_BYTES];
};

/* A worker's exit status (EX_UNAVAILABLE) where the device that it was told to serve is not to be had: the line before,
 * on standard error, says why. */
#define WORKER_NO_DEVICE 69

/* Sends without waiting. Returns 0, or -1 with errno; the descriptor stays the caller's. */
int handover_send(int channel, const struct handover *handover, int descriptor);
/* Receives without waiting; *descriptor is the caller's from then on. Returns 1, 0 at the channel's end, or -1 with
 * errno (EAGAIN: nothing there). */
int handover_receive(int channel, struct handover *handover, int *descriptor);
/* Access to the dashboard goes by secrets of this many bytes, written as hexadecimal digits. */
#define WEB_SECRET_BYTES 16
#define WEB_SECRET_DIGITS (2 * WEB_SECRET_BYTES)
/* The socket that the dashboard is served on, behind the web's end of the channel: the supervisor listens, so that the
 * port stays the daemon's while the web is being restarted. */
#define WEB_LISTEN_FD 4

enum web_order_kind {
    WEB_LIFE = 1,   /* a life of a worker begins, or is there: its black box's two descriptors ride along */
    WEB_COOKIE = 2, /* secret is what a browser that was let in has from now on */
    WEB_TOKEN = 3   /* secret lets one browser in, once */
};
struct web_order {
    uint32_t kind;
    uint32_t device; /* of WEB_LIFE: whose life, counted from 0 */
    char secret[WEB_SECRET_DIGITS + 1];
};

/* Both as handover_send and handover_receive; two descriptors for WEB_LIFE, none (-1) for the others. */
int web_order_send(int channel, const struct web_order *order, const int descriptors[2]);
int web_order_receive(int channel, struct web_order *order, int descriptors[2]);

int handover_note_send(int channel, const struct handover_note *note);
int handover_note_receive(int channel, struct handover_note *note);

#endif
