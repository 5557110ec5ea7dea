/* Private to this folder: the supervisor's state and what its parts ask of each other.
 *
 * A client is in the greeting until its HELLO is whole, then kept among the clients of a device's lives until the
 * worker has said that it took it. One owner at a time: greeting_start takes a descriptor from the listener,
 * devices_give takes the client from the greeting, lives_give from there, and whoever has it last closes it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_SUPERVISOR_INTERNAL_H
#define TD_SERVER_SUPERVISOR_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "protocol/limits.h"
#include "server/blackbox.h"
#include "server/config.h"
#include "server/handover.h"

/* Clients that have not said HELLO yet; each costs a descriptor and 2 KiB. More wait in the kernel's backlog. */
#define GREETINGS_MAX 128
/* Clients that a worker has not taken yet: those that come while one is being restarted. */
#define KEPT_MAX 1024
/* Ends of workers that are remembered: a client asks for one within seconds of it, and every device may lose one a
 * second. */
#define ROSTER_LENGTH (16 * TD_DEVICES_MAX)
/* Black boxes of a device's lives that are over, kept for whoever asks what happened. */
#define PAST_BOXES 4
/* A worker is told to end by the end of its channel, and made to after this. */
#define STOP_MS 2000
/* Workers of a device that have ended one after the other before they were ready, after which who does not insist on
 * that device is given another: a GPU that has fallen off the bus does not come back. */
#define FAILED_STARTS 3
/* A life of a child shorter than this makes its next start wait. */
#define SHORT_LIFE_MS 1000

struct supervisor;

struct listener {
    uv_poll_t poll;
    uv_timer_t pause;
    int descriptor; /* -1: not listening */
    int lock;       /* held from start to end, -1 before */
    char lock_path[TD_PATH_BYTES + 8];
    bool resting; /* the process is out of descriptors, pause runs */
};

struct greeting {
    uv_poll_t poll;
    uv_timer_t timeout;
    struct supervisor *supervisor;
    struct greeting *next;
    int descriptor; /* -1: given away, the handles are closing */
    int open;       /* handles that are not closed yet */
    uint32_t have;  /* bytes of frame that have come */
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX];
};

struct lives;

struct kept {
    struct handover handover;
    int descriptor;
    bool sent; /* to the present worker */
    struct kept *next;
};

struct past_life {
    uint64_t number; /* 0: this place of the roster is empty */
    struct lives *lives;
    char cause[TD_MESSAGE_BYTES];
};

/* A device, and the lives of the worker that owns it, one after the other. */
struct lives {
    struct supervisor *supervisor;
    char wanted[TD_DEVICE_BYTES]; /* what the worker is told to serve: "auto", "cuda:0" */
    char device[TD_DEVICE_BYTES]; /* what it serves: "cpu", "cuda:0"; "": that is known once it is ready */
    uv_process_t process;
    uv_poll_t channel_poll;
    uv_timer_t restart, kill;
    uint64_t number;     /* the present or the last life, of those of all devices; 0: none yet */
    uint64_t started_ms; /* loop time */
    uint64_t backoff_ms;
    int failed_starts;                           /* workers in a row that never were ready */
    int channel;                                 /* -1: none */
    bool running;                                /* the process has not been waited for yet */
    bool closing;                                /* it has, and its handle is not closed yet */
    bool ready;                                  /* it has said READY */
    bool was_ready;                              /* any life was */
    bool was_tried;                              /* it was, or one has ended */
    struct blackbox_made box;                    /* of the present life; number's, and of none before the first */
    struct blackbox_made past_boxes[PAST_BOXES]; /* the newest first; map NULL: none */
    struct kept *kept;                           /* in the order of their numbers */
    uint64_t given;                              /* clients that were sent to the present life */
};

struct web {
    uv_process_t process;
    uv_timer_t timer; /* until its start; until it is killed */
    uint64_t started_ms, backoff_ms;
    int listening;         /* -1: not yet, or the address is taken */
    int port;              /* of it */
    int channel[2];        /* ours, and its until it is started; -1: none */
    bool refused;          /* the address was taken, and that was said */
    bool running, closing; /* as those of lives */
    char cookie[WEB_SECRET_DIGITS + 1];
};

struct supervisor {
    const struct config *config;
    uint64_t started_ns;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt;
    struct listener listener;
    struct greeting *greetings;
    int greeting_count;
    struct lives devices[TD_DEVICES_MAX];
    int device_count;
    bool takes_all;         /* as many as CUDA sees, which the first one's worker tells */
    struct kept *undecided; /* clients that came before it could be said which device is theirs */
    int kept_count;         /* with those of all devices */
    uint64_t handovers;
    uint64_t life_count;
    struct past_life roster[ROSTER_LENGTH]; /* life n stands at n % ROSTER_LENGTH */
    char **environment;                     /* of every child */
    struct web web;
    bool stopping;
    bool failed; /* it gives up */
};

/* listener.c */
int listener_open(struct supervisor *supervisor, struct td_failure *failure);
/* Accepts, or leaves new clients in the backlog while there are too many; called whenever their number changes. */
void listener_update(struct supervisor *supervisor);
/* Ends listening and removes the socket; the lock stays. */
void listener_stop(struct supervisor *supervisor);
void listener_unlock(struct listener *listener);

/* greeting.c */
/* Takes the descriptor. */
void greeting_start(struct supervisor *supervisor, int descriptor);
void greetings_stop(struct supervisor *supervisor);
/* Sends GOODBYE as far as the socket takes it at once, and closes the descriptor. */
void goodbye(int descriptor, int code, const char *message);

/* observe.c */
/* Answers a HELLO of another purpose than a session, from a process of this user, and closes the descriptor. */
void observe_answer(struct supervisor *supervisor, uint32_t purpose, uid_t uid, int descriptor);

/* devices.c: which devices there are, and which of them a client gets. */
/* False: no memory. */
bool devices_init(struct supervisor *supervisor);
void devices_deinit(struct supervisor *supervisor);
void devices_start(struct supervisor *supervisor);
/* Takes the descriptor of a client whose HELLO stands in handover. */
void devices_give(struct supervisor *supervisor, const struct handover *handover, int descriptor);
/* A device's worker is ready for the first time; count: devices of its kind that there are. */
void devices_ready(struct lives *lives, uint64_t count);
/* Gives its clients, which no worker has taken yet, to whichever device is right for them now. */
void devices_give_again(struct lives *lives);
/* A worker has become ready, or has ended: for clients that came before it could be said which device is theirs. */
void devices_decide(struct supervisor *supervisor);
/* Ends the workers; supervisor_ended is called when the last one is gone. */
void devices_stop(struct supervisor *supervisor);
void devices_kill(struct supervisor *supervisor);
/* Whether a worker's process is there. */
bool devices_run(const struct supervisor *supervisor);

/* lives.c */
void lives_init(struct supervisor *supervisor, struct lives *lives, const char *wanted);
void lives_deinit(struct lives *lives);
void lives_start(struct lives *lives);
/* Takes a client that is to be on this device. */
void lives_give(struct lives *lives, struct kept *kept);
/* Clients that it has or is to have, by what its worker says and what was sent to it. */
uint64_t lives_load(const struct lives *lives);
void lives_stop(struct lives *lives);
void lives_kill(struct lives *lives);
/* Takes kept out of the list that *place is in, and closes its descriptor; behind a GOODBYE, if there is a reason. */
void kept_drop(struct supervisor *supervisor, struct kept **place, const char *reason);
/* How long the start after a life waits: not at all after one that was not short, else longer each time. */
uint64_t restart_delay_ms(uint64_t *backoff_ms, bool was_short, uint64_t most_ms);

/* web.c */
void web_init(struct supervisor *supervisor);
/* Listens, and starts the dashboard's process, unless the configuration says that there is none. */
void web_start(struct supervisor *supervisor);
/* A life of a worker has begun. */
void web_life(const struct lives *lives);
/* Makes a token that lets one browser in, once, and writes the address that it has to visit. Returns 0, or -1 when
 * there is no dashboard, or not yet. */
int web_address(struct supervisor *supervisor, char *to, size_t size);
/* Ends the process; supervisor_ended is called when it is gone. */
void web_stop(struct supervisor *supervisor);
void web_kill(struct supervisor *supervisor);

/* supervisor.c */
/* devices: all their names. */
void supervisor_ready(struct supervisor *supervisor, const char *devices);
/* The daemon cannot do what it was started for, and ends with an error. */
void supervisor_give_up(struct supervisor *supervisor);
/* A child is gone. When none is left, the daemon ends. */
void supervisor_ended(struct supervisor *supervisor);

/* notify.c */
/* Tells the service manager, if there is one: "READY=1". */
void notify(const char *state);

#endif
