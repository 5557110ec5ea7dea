/* Private to this folder: the web role's state and what its parts ask of each other.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WEB_INTERNAL_H
#define TD_SERVER_WEB_INTERNAL_H

#include <uv.h>

#include "server/web/access.h"
#include "server/web/feed.h"
#include "server/web/lws.h"
#include "server/web/said.h"

/* Browsers that may watch at once, and connections of any kind; each costs two descriptors at most. */
#define VIEWERS_MAX 200
#define CONNECTIONS_MAX 256
/* Messages, and bytes of them, on their way to a page that has not acknowledged them. */
#define FLIGHT_MAX 8
#define FLIGHT_BYTES (128u << 10)

struct viewer {
    struct lws *wsi;
    struct viewer *next;
    struct feed *feed; /* of the device that it watches */
    struct place place;
    bool paused;
    uint32_t sent, acked;       /* numbers of messages */
    uint32_t bytes[FLIGHT_MAX]; /* of message n at n % FLIGHT_MAX */
    uint32_t flight_bytes;
    uint32_t have; /* of a message of its own that has not come whole */
    uint8_t said[SAID_MAX];
};

/* A response under way. */
struct response {
    const char *at;
    size_t left;
    char *owned; /* freed at its end */
};

struct web {
    const struct config *config;
    uv_loop_t loop;
    uv_poll_t channel, listening;
    int channel_descriptor, listening_descriptor;
    uv_timer_t tick;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct access access;
    struct feeds feeds; /* the first one is always there */
    struct viewer *viewers;
    int viewer_count, connections;
    bool full;   /* nobody is accepted until somebody goes */
    bool ending; /* the channel has ended */
};

/* A file of the page, compressed by gzip; path NULL ends the table. */
struct asset {
    const char *path;
    const void *data;
    size_t bytes;
};
extern const struct asset web_assets[];

extern struct web web;

/* web.c */
uint64_t web_now_ns(void);
/* Somebody has come to watch or gone: the tick's rate follows. */
void web_set_rate(void);
/* A connection is gone. */
void web_gone(struct lws *wsi);

/* http.c: the protocol of all that is no WebSocket, and who may have one. */
int http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t bytes);

/* live.c */
int live_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t bytes);
/* There may be something new for each viewer. */
void live_wake(void);

#endif
