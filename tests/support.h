/* For tests that talk to a real daemon: starting and ending one, and a client so raw that it can say what no library
 * would. All of it fails the running cmocka test when something does not work that is not the test's question.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_SUPPORT_H
#define TD_TESTS_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/message.h"

/* ---- a daemon of the test's own ---- */

struct test_daemon {
    pid_t pid;       /* of the supervisor, and of the group that all its processes are in */
    char folder[64]; /* holds the socket and the log, nothing else */
    char path[96], log[96];
    char address[112]; /* "unix:PATH" */
};

/* Starts $TENSORD_BIN (build/plain/tensord without it) on a socket in a new folder, with more arguments (NULL at the
 * end, or NULL), and waits until it takes clients. It serves the CPU, or the device that $TEST_DEVICE names. Returns 0,
 * or -1 after saying why. */
int daemon_start(struct test_daemon *daemon, const char *const *arguments);
/* Ends it by SIGTERM. Returns 0 if it exited with 0 and left neither a process nor a file; -1, with its log shown,
 * if not. */
int daemon_stop(struct test_daemon *daemon);

/* A child of the daemon of that name ("tensord-web", "tensord-worker"), another one than other; waits for it. */
pid_t daemon_child(const struct test_daemon *daemon, const char *name, pid_t other);

/* ---- a raw client ---- */

struct raw {
    int fd;
    uint8_t *out, *at; /* the frame in the making: its length, the ack, requests up to at */
    uint8_t *in;       /* the last message received, without its length */
    size_t in_bytes;
    struct td_reader reply;                        /* of that message, behind its kind */
    uint64_t requests;                             /* sent, or in the frame in the making */
    uint64_t session, life, executed, bytes_taken; /* as WELCOME and later messages said */
    uint64_t bytes_sent;
};

/* What raw_receive returns besides enum td_reply_kind. */
#define RAW_CLOSED 0
#define RAW_TIMEOUT -1
#define RAW_WAIT_MS 10000

/* Connects; no HELLO yet. */
struct raw raw_connect(const struct test_daemon *daemon);
/* Connects, greets and takes the WELCOME. */
struct raw raw_open(const struct test_daemon *daemon);
void raw_close(struct raw *raw);
/* Sends bytes as they are. False if the daemon does not take them within RAW_WAIT_MS. */
bool raw_send(struct raw *raw, const void *data, size_t bytes);
/* Sends one frame with this payload. */
bool raw_frame(struct raw *raw, const void *payload, size_t bytes);
/* Begins a request in the frame in the making: flags, site and an array of count elements, its id the first. */
void raw_request(struct raw *raw, uint32_t flags, uint32_t site, uint32_t count, uint64_t id);
/* Sends the frame in the making. */
bool raw_flush(struct raw *raw);
/* Takes the next message; CREDITs are counted and passed over. Returns its kind, RAW_CLOSED or RAW_TIMEOUT. */
int raw_receive(struct raw *raw, int timeout_ms);
/* The same with CREDITs given out. */
int raw_receive_any(struct raw *raw, int timeout_ms);

/* An error as a reply carries it; code TD_E_OK: nil. */
struct raw_error {
    int code;
    uint64_t request;
    char op[64], site[TD_SITE_BYTES], message[TD_MESSAGE_BYTES], hint[TD_HINT_BYTES];
};

/* Takes an error or nil out of a reply. */
struct raw_error raw_take_error(struct td_reader *reader);
/* Sends what is in the making and a barrier, and gives the error that stands; clear: by clear_error. */
struct raw_error raw_barrier(struct raw *raw, bool clear);
/* Reads a tensor as f64 into values of at most room elements; *count of them. The error of the reply. */
struct raw_error raw_read(struct raw *raw, uint32_t handle, double *values, size_t room, size_t *count);
/* A number out of STATUS: of "device" if key begins with "device.", the count of "sessions", or of this session's
 * entry if key begins with "mine.". Fails the test if there is none of that name. */
uint64_t raw_status(struct raw *raw, const char *key);
/* The same of the answer to a STATUS, request number, that was sent before. */
uint64_t raw_take_status(struct raw *raw, uint64_t number, const char *key);
/* Waits until the daemon has no session and nothing of its device is in use: ends of sessions are noticed a little
 * later. Fails the test if that does not come. */
void daemon_wait_empty(const struct test_daemon *daemon);
/* The GOODBYE that must come next, and the end of the connection behind it; its code. */
int raw_goodbye(struct raw *raw, char message[TD_MESSAGE_BYTES]);

#endif
