/* What the black boxes say, as the messages of the dashboard's feed (web/README.md). Sampled once for all viewers; each
 * viewer is a cursor over what there is, so that a slow one costs nothing and is told what it missed. What a box holds
 * is copied, then judged: its writer may have been anybody.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WEB_FEED_H
#define TD_SERVER_WEB_FEED_H

#include "protocol/message.h"
#include "server/blackbox.h"
#include "server/web/metrics.h"

#define FEED_HZ 30
#define SAMPLE_MS 100 /* of memory, also while nobody watches */
#define SAMPLES 600   /* a minute of them */
#define SLOW_MS 500   /* between lists of sessions, and between statistics */
#define BATCH_OPS 512
#define BATCH_BYTES (64u << 10)
#define BATCHES 4 /* of each view that wait for slow viewers */
#define ERRORS 64

/* Room before a message's first byte, for what libwebsockets puts there. */
#define MESSAGE_ROOM 16
#define MESSAGE_MAX (192u << 10)

/* An encoded message: [type, number, t_us, ...], its number not set yet. */
struct message {
    uint32_t bytes;
    uint32_t number_at; /* of data */
    uint8_t room[MESSAGE_ROOM], data[];
};
void message_number(struct message *message, uint32_t number);

/* Ops of one tick that a view shows. Records are counted from the view's start: before and after are the counts around
 * it, and what is between the end of one batch and the start of the next was left out. */
struct batch {
    uint64_t before, after;
    struct message *message;
};

/* The ops that are sent to those who follow a session (0: all sessions). */
struct view {
    uint32_t session;
    int viewers;
    uint64_t count; /* records that it should have shown */
    struct batch batches[BATCHES];
    uint64_t batch_count; /* batch n stands at n % BATCHES */
    struct view *next;
};

struct sample {
    double t_us, used, reserved, peak, classes[BLACKBOX_CLASSES];
    uint32_t users; /* the first ones of the life */
    double *bytes;  /* of each */
};

/* One viewer's place. */
struct place {
    struct view *view;
    uint64_t count, batch;   /* in the view: records told of, and the next batch */
    uint64_t life;           /* whose hello it was sent; 0: none */
    bool ended;              /* and whose end */
    uint64_t sample, error;  /* the next ones */
    uint64_t sessions, stat; /* how many it was sent */
    uint64_t lost_bytes;     /* of the stream, as far as it was told */
    uint32_t strings;
};

struct failure_record {
    double t_us;
    struct blackbox_error error;
};

struct rate {
    uint64_t time_ns, ops, requests, bytes_in, bytes_out, busy_ns;
};

/* Of each device one. */
struct feeds {
    struct feed *of[TD_DEVICES_MAX];
    int count;
};

struct feed {
    const struct feeds *all;      /* with this one */
    struct blackbox box;          /* tables NULL: none yet */
    char device[TD_DEVICE_BYTES]; /* its name, as the last worker said that has said it; "": none has */
    int next[2];                  /* the box of a life that begins with the next tick; -1: none */
    uint64_t life, started_ns;
    bool ended;
    double ended_us;
    char cause[TD_MESSAGE_BYTES];
    struct blackbox_cursor cursor;
    uint32_t *string_at; /* the place of string k + 1 */
    uint32_t string_count, string_room, string_end;
    uint32_t uids[BLACKBOX_USERS];
    struct sample samples[SAMPLES];
    uint64_t sample_count; /* sample n stands at n % SAMPLES */
    struct failure_record errors[ERRORS];
    uint64_t error_count;
    struct view all_sessions, *followed;
    int viewers;
    struct metrics metrics;
    uint64_t sample_due_ns, slow_due_ns;
    uint64_t slow_count; /* lists of sessions, and statistics, so far */
    struct message *sessions, *stat;
    struct rate rates[3];
    struct message *scratch; /* where what only one viewer gets is encoded */
};

/* Adds a device; false: no memory. */
bool feeds_add(struct feeds *feeds);
void feeds_deinit(struct feeds *feeds);
/* Its name as far as it is known, without what a label of a metric cannot have. */
const char *feed_device(struct feed *feed);
/* Takes the descriptors of the box of a life that begins; what is left of the one before is read first. */
void feed_life(struct feed *feed, const int descriptors[2], uint64_t now_ns);
/* Reads what is new: ops only while somebody watches. */
void feed_tick(struct feed *feed, uint64_t now_ns);

/* A viewer comes, wants another session's ops, and goes. -1: no memory; then nothing has changed but that a viewer who
 * comes has to go. */
int feed_enter(struct feed *feed, struct place *place, uint64_t now_ns);
int feed_follow(struct feed *feed, struct place *place, uint32_t session, uint64_t now_ns);
void feed_leave(struct feed *feed, struct place *place);
/* Ops up to now are none that it missed. */
void feed_skip(const struct feed *feed, struct place *place);
/* Whether there is a next message for a viewer. */
bool feed_has(const struct feed *feed, const struct place *place);
/* The next message for a viewer, good until the next call; NULL: there is none now. */
struct message *feed_next(struct feed *feed, struct place *place, uint64_t now_ns);

#endif
