/* The WebSockets: what each viewer is sent and says. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "server/web/internal.h"

_Static_assert(MESSAGE_ROOM >= LWS_PRE, "a message leaves libwebsockets the room that it wants");

static bool is_waiting(const struct viewer *viewer)
{
    return viewer->sent - viewer->acked >= FLIGHT_MAX || viewer->flight_bytes > FLIGHT_BYTES;
}

static void wake(struct viewer *viewer)
{
    if (!viewer->paused && !is_waiting(viewer) && feed_has(viewer->feed, &viewer->place))
        lws.callback_on_writable(viewer->wsi);
}

void live_wake(void)
{
    for (struct viewer *viewer = web.viewers; viewer; viewer = viewer->next)
        wake(viewer);
}

static int enter(struct lws *wsi, struct viewer *viewer)
{
    *viewer = (struct viewer){.wsi = wsi, .next = web.viewers, .feed = web.feeds.of[0]};
    web.viewers = viewer;
    web.viewer_count++;
    if (feed_enter(viewer->feed, &viewer->place, web_now_ns()))
        return -1;
    web_set_rate();
    wake(viewer);
    return 0;
}

static void leave(struct viewer *viewer)
{
    struct viewer **at = &web.viewers;
    while (*at && *at != viewer)
        at = &(*at)->next;
    if (!*at) /* it never was established */
        return;
    *at = viewer->next;
    web.viewer_count--;
    feed_leave(viewer->feed, &viewer->place);
    web_set_rate();
}

/* One message; more come as the socket takes them. libwebsockets copies what a socket does not take at once, so that
 * a message belongs to nobody afterwards. That holds without permessage-deflate only, which keeps pointing into it. */
static int send_next(struct viewer *viewer)
{
    if (viewer->paused || is_waiting(viewer))
        return 0;
    struct message *message = feed_next(viewer->feed, &viewer->place, web_now_ns());
    if (!message)
        return 0;
    message_number(message, ++viewer->sent);
    viewer->bytes[viewer->sent % FLIGHT_MAX] = message->bytes;
    viewer->flight_bytes += message->bytes;
    if (lws.write(viewer->wsi, message->data, message->bytes, LWS_WRITE_BINARY) < 0)
        return -1;
    wake(viewer);
    return 0;
}

static int take_ack(struct viewer *viewer, uint32_t number)
{
    if (number > viewer->sent)
        return -1;
    while (viewer->acked < number)
        viewer->flight_bytes -= viewer->bytes[++viewer->acked % FLIGHT_MAX];
    return 0;
}

/* A hello follows, also from the one that it watches. A device that there is not is one of before the daemon was
 * started anew: the page stays where it is. */
static int take_device(struct viewer *viewer, uint32_t number)
{
    if (number >= (uint32_t)web.feeds.count)
        return 0;
    feed_leave(viewer->feed, &viewer->place);
    viewer->feed = web.feeds.of[number];
    return feed_enter(viewer->feed, &viewer->place, web_now_ns());
}

/* What the page says, whole. -1: it is not of the protocol. */
static int take(struct viewer *viewer)
{
    struct said said = said_read(viewer->said, viewer->have);
    viewer->have = 0;
    switch (said.kind) {
    case SAID_ACK:
        if (take_ack(viewer, said.number))
            return -1;
        break;
    case SAID_FOLLOW:
        feed_follow(viewer->feed, &viewer->place, said.number, web_now_ns());
        break;
    case SAID_DEVICE:
        if (take_device(viewer, said.number))
            return -1;
        break;
    case SAID_PAUSE:
        if (viewer->paused && !said.number)
            feed_skip(viewer->feed, &viewer->place);
        viewer->paused = said.number;
        break;
    case SAID_WRONG:
        return -1;
    }
    wake(viewer);
    return 0;
}

static int refuse(struct lws *wsi, enum lws_close_status status)
{
    lws.close_reason(wsi, status, NULL, 0);
    return -1;
}

static int receive(struct lws *wsi, struct viewer *viewer, const void *data, size_t bytes)
{
    if (!lws.frame_is_binary(wsi))
        return refuse(wsi, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE);
    if (bytes > SAID_MAX - viewer->have)
        return refuse(wsi, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
    memcpy(viewer->said + viewer->have, data, bytes);
    viewer->have += (uint32_t)bytes;
    if (!lws.is_final_fragment(wsi) || lws.remaining_packet_payload(wsi))
        return 0;
    return take(viewer) ? refuse(wsi, LWS_CLOSE_STATUS_PROTOCOL_ERR) : 0;
}

int live_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t bytes)
{
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        return enter(wsi, user);
    case LWS_CALLBACK_CLOSED:
        leave(user);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return send_next(user);
    case LWS_CALLBACK_RECEIVE:
        return receive(wsi, user, in, bytes);
    case LWS_CALLBACK_WSI_DESTROY:
        web_gone(wsi);
        return 0;
    default:
        return 0;
    }
}
