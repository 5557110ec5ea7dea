/* The web role: its loop, its sockets, and what the supervisor tells it. SPDX-License-Identifier: Apache-2.0 */
#include "server/web/web.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/log.h"
#include "server/web/internal.h"

#define TICK_MS (1000 / FEED_HZ)
/* What the kernel may hold for a browser that does not read; it doubles the number for its own use. */
#define SEND_BUFFER_BYTES (64 << 10)
/* A table as large as the limit is made for them, and the supervisor's children inherit a limit of millions. */
#define DESCRIPTORS_MAX (CONNECTIONS_MAX + 64)
#define TIMEOUT_S 15

struct web web;

uint64_t web_now_ns(void)
{
    return uv_hrtime();
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    for (int k = 0; k < web.feeds.count; k++)
        feed_tick(web.feeds.of[k], web_now_ns());
    live_wake();
}

void web_set_rate(void)
{
    uint64_t interval = web.viewer_count ? TICK_MS : SAMPLE_MS;
    if (!web.ending && uv_timer_get_repeat(&web.tick) != interval)
        uv_timer_start(&web.tick, on_tick, interval, interval);
}

/* ---- connections: accepted here, since the socket is the supervisor's, and libwebsockets' from then on ---- */

static void on_connection(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    for (int k = 0; k < CONNECTIONS_MAX; k++) {
        if (web.connections >= CONNECTIONS_MAX) {
            uv_poll_stop(poll);
            web.full = true;
            return;
        }
        int one = 1, room = SEND_BUFFER_BYTES;
        int descriptor = accept4(web.listening_descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (descriptor < 0)
            return;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        struct lws *wsi = lws.adopt_socket_vhost(web.vhost, descriptor); /* closes it where it fails */
        if (wsi) {
            lws.set_opaque_user_data(wsi, &web);
            web.connections++;
        }
    }
}

void web_gone(struct lws *wsi)
{
    if (lws.get_opaque_user_data(wsi) != &web) /* one of libwebsockets' own */
        return;
    lws.set_opaque_user_data(wsi, NULL);
    web.connections--;
    if (web.full && !web.ending)
        uv_poll_start(&web.listening, UV_READABLE, on_connection);
    web.full = false;
}

/* ---- the supervisor ---- */

/* Takes the descriptors. */
static void take_life(uint32_t device, const int descriptors[2])
{
    bool added = device < TD_DEVICES_MAX;
    while (added && (uint32_t)web.feeds.count <= device)
        added = feeds_add(&web.feeds);
    if (added) {
        feed_life(web.feeds.of[device], descriptors, web_now_ns());
        return;
    }
    log_event(LOG_ERROR, 0, "no memory is left to show device %u", (unsigned)device);
    close(descriptors[0]);
    close(descriptors[1]);
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
    struct web_order order;
    int descriptors[2], result;
    (void)status;
    (void)events;
    while ((result = web_order_receive(web.channel_descriptor, &order, descriptors)) > 0) {
        order.secret[WEB_SECRET_DIGITS] = 0;
        if (order.kind == WEB_LIFE)
            take_life(order.device, descriptors);
        else if (order.kind == WEB_COOKIE)
            memcpy(web.access.cookie, order.secret, sizeof order.secret);
        else if (order.kind == WEB_TOKEN)
            access_add_token(&web.access, order.secret, web_now_ns() / 1000000);
        live_wake();
    }
    if (result < 0 && errno == EAGAIN)
        return;
    web.ending = true;
    uv_close((uv_handle_t *)poll, NULL);
    uv_close((uv_handle_t *)&web.listening, NULL);
    uv_close((uv_handle_t *)&web.tick, NULL);
    lws.context_destroy(web.context); /* it ends by and by, as the loop runs */
}

/* ---- start and end ---- */

static void on_lws_log(int level, const char *line)
{
    size_t bytes = strcspn(line, "\n");
    log_event(level == LLL_ERR ? LOG_WARN : LOG_DEBUG, 0, "libwebsockets: %.*s", (int)bytes, line);
}

static const char *make_server(void)
{
    static const struct lws_protocols protocols[] = {
        {.name = "http", .callback = http_callback, .per_session_data_size = sizeof(struct response)},
        {.name = "tensord.dash.1",
         .callback = live_callback,
         .per_session_data_size = sizeof(struct viewer),
         .rx_buffer_size = SAID_MAX},
        {0}};
    void *loops[] = {&web.loop};
    struct lws_context_creation_info info = {.port = CONTEXT_PORT_NO_LISTEN_SERVER,
                                             .protocols = protocols,
                                             .vhost_name = "dashboard",
                                             .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
                                             .foreign_loops = loops,
                                             .timeout_secs = TIMEOUT_S,
                                             .keepalive_timeout = TIMEOUT_S,
                                             .gid = -1,
                                             .uid = -1};
    lws.set_log_level(LLL_ERR | (web.config->log_level == LOG_DEBUG ? LLL_WARN : 0), on_lws_log);
    web.context = lws.create_context(&info);
    if (!web.context)
        return "libwebsockets cannot use the event loop: is its package for libuv installed?";
    web.vhost = lws.create_vhost(web.context, &info);
    return web.vhost ? NULL : "libwebsockets cannot make a server";
}

int web_main(const struct config *config, int channel, int listening)
{
    struct rlimit limit = {DESCRIPTORS_MAX, DESCRIPTORS_MAX};
    const char *problem = lws_load();
    web.config = config;
    web.access.host = config->web_host;
    web.access.port = config->web_port;
    setrlimit(RLIMIT_NOFILE, &limit);
    uv_loop_init(&web.loop);
    problem = problem ? problem : !feeds_add(&web.feeds) ? "no memory is left" : make_server();
    if (problem) {
        log_event(LOG_ERROR, 0, "the dashboard cannot be served: %s", problem);
        return EXIT_FAILURE;
    }
    web.channel_descriptor = channel;
    uv_poll_init(&web.loop, &web.channel, channel);
    uv_poll_start(&web.channel, UV_READABLE, on_channel);
    web.listening_descriptor = listening;
    uv_poll_init(&web.loop, &web.listening, listening);
    uv_poll_start(&web.listening, UV_READABLE, on_connection);
    uv_timer_init(&web.loop, &web.tick);
    web_set_rate();
    uv_run(&web.loop, UV_RUN_DEFAULT);
    lws.context_destroy(web.context); /* the second half, once nothing of it is in the loop */
    int status = uv_loop_close(&web.loop) ? EXIT_FAILURE : EXIT_SUCCESS;
    feeds_deinit(&web.feeds);
    return status;
}
