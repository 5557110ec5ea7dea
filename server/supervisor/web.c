/* The dashboard's process: its listening socket, its lives, and what it is told. It is expendable, since it reads what
 * any browser sends: nothing waits for it, and nothing but the dashboard is gone while it is.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/log.h"
#include "server/supervisor/internal.h"

/* The daemon's first client shall not share a processor with the start of this. */
#define FIRST_START_MS 50
/* Between attempts to listen at an address that is taken. */
#define LISTEN_AGAIN_MS 2000
#define BACKLOG 64
/* Between starts that are in vain: a machine without the library that it needs shall not have a log of nothing else. */
#define BACKOFF_MS_MAX 60000

static void on_restart(uv_timer_t *timer);

static void make_secret(char secret[WEB_SECRET_DIGITS + 1])
{
    uint8_t bytes[WEB_SECRET_BYTES];
    /* Of this size it is whole and does not fail once the kernel has entropy, which it waits for. */
    while (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        ;
    for (int k = 0; k < WEB_SECRET_BYTES; k++)
        snprintf(secret + 2 * k, 3, "%02x", bytes[k]);
}

/* ---- the socket ---- */

static int bind_one(const struct addrinfo *to)
{
    int one = 1, descriptor = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor >= 0 && !setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) &&
        !bind(descriptor, to->ai_addr, to->ai_addrlen) && !listen(descriptor, BACKLOG))
        return descriptor;
    int error = errno;
    if (descriptor >= 0)
        close(descriptor);
    errno = error;
    return -1;
}

/* Returns the port, or -1 after saying in why what stands against it; *taken: somebody else has it. */
static int listen_at(struct web *web, const char *host, int port, char why[TD_MESSAGE_BYTES], bool *taken)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char service[8], number[8];
    snprintf(service, sizeof service, "%d", port);
    *taken = false;
    int status = getaddrinfo(host, service, &hints, &found);
    if (status) {
        snprintf(why, TD_MESSAGE_BYTES, "%s", gai_strerror(status));
        return -1;
    }
    web->listening = bind_one(found);
    freeaddrinfo(found);
    if (web->listening < 0) {
        *taken = errno == EADDRINUSE;
        snprintf(why, TD_MESSAGE_BYTES, "%s", strerror(errno));
        return -1;
    }
    getsockname(web->listening, (struct sockaddr *)&bound, &length);
    getnameinfo((struct sockaddr *)&bound, length, NULL, 0, number, sizeof number, NI_NUMERICHOST | NI_NUMERICSERV);
    sscanf(number, "%d", &port);
    return port;
}

static bool open_listening(struct supervisor *supervisor)
{
    struct web *web = &supervisor->web;
    const struct config *config = supervisor->config;
    char why[TD_MESSAGE_BYTES], address[96];
    bool taken;
    if (web->listening >= 0)
        return true;
    web->port = listen_at(web, config->web_host, config->web_port, why, &taken);
    if (web->port < 0 && taken && !config->web_given)
        web->port = listen_at(web, config->web_host, 0, why, &taken);
    if (web->port >= 0) {
        log_event(LOG_INFO, 0, "the dashboard is at http://%s/",
                  config_web_address(config, web->port, address, sizeof address));
        return true;
    }
    log_event(web->refused ? LOG_DEBUG : LOG_ERROR, 0,
              "the dashboard cannot be served at %s: %s; it is tried again, and the daemon goes on without",
              config_web_address(config, config->web_port, address, sizeof address), why);
    web->refused = true;
    return false;
}

/* ---- what it is told ---- */

/* A web that does not take what it is told has gone wrong; the next one is told everything. */
static void tell(struct web *web, const struct web_order *order, const int descriptors[2])
{
    if (!web_order_send(web->channel[0], order, descriptors) || !web->running)
        return;
    log_event(LOG_WARN, 0, "web (pid %d) does not listen to its supervisor and is killed: %s",
              uv_process_get_pid(&web->process), strerror(errno));
    uv_process_kill(&web->process, SIGKILL);
}

void web_life(const struct lives *lives)
{
    struct supervisor *supervisor = lives->supervisor;
    struct web_order order = {.kind = WEB_LIFE, .device = (uint32_t)(lives - supervisor->devices)};
    const struct blackbox_made *box = &lives->box;
    if (supervisor->web.channel[0] >= 0 && box->map)
        tell(&supervisor->web, &order, (int[]){box->tables_read, box->trace_read});
}

int web_address(struct supervisor *supervisor, char *to, size_t size)
{
    struct web *web = &supervisor->web;
    struct web_order order = {.kind = WEB_TOKEN};
    char address[96];
    if (web->channel[0] < 0 || web->listening < 0)
        return -1;
    make_secret(order.secret);
    tell(web, &order, NULL);
    config_web_address(supervisor->config, web->port, address, sizeof address);
    snprintf(to, size, "http://%s/?token=%s", address, order.secret);
    return 0;
}

/* ---- start and end ---- */

/* The pair that the next process has one end of. It is told at once what it has to know: a pair holds messages. */
static bool open_channel(struct supervisor *supervisor)
{
    struct web *web = &supervisor->web;
    struct web_order cookie = {.kind = WEB_COOKIE};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, web->channel))
        return false;
    memcpy(cookie.secret, web->cookie, sizeof cookie.secret);
    tell(web, &cookie, NULL);
    for (int k = 0; k < supervisor->device_count; k++)
        web_life(&supervisor->devices[k]);
    return true;
}

static void close_end(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

static void on_process_closed(uv_handle_t *handle)
{
    struct supervisor *supervisor = handle->data;
    struct web *web = &supervisor->web;
    web->closing = false;
    if (supervisor->stopping) {
        supervisor_ended(supervisor);
        return;
    }
    if (web->listening >= 0)
        open_channel(supervisor); /* who asks for a token meanwhile gets one */
    bool was_short = uv_now(&supervisor->loop) - web->started_ms < SHORT_LIFE_MS;
    uv_timer_start(&web->timer, on_restart, restart_delay_ms(&web->backoff_ms, was_short, BACKOFF_MS_MAX), 0);
}

static void close_process(struct web *web)
{
    web->running = false;
    web->closing = true;
    close_end(&web->channel[0]);
    uv_close((uv_handle_t *)&web->process, on_process_closed);
}

static void on_web_exit(uv_process_t *process, int64_t status, int signal)
{
    struct supervisor *supervisor = process->data;
    if (!supervisor->stopping || signal)
        log_event(supervisor->stopping ? LOG_WARN : LOG_ERROR, 0, "web (pid %d) ended %s %d",
                  uv_process_get_pid(process), signal ? "by signal" : "with status", signal ? signal : (int)status);
    uv_timer_stop(&supervisor->web.timer);
    close_process(&supervisor->web);
}

static int spawn(struct supervisor *supervisor)
{
    struct web *web = &supervisor->web;
    const struct config *config = supervisor->config;
    char parent[32], address[96];
    char *arguments[] = {
        "tensord: web", parent, "--web", address, "--log-level", (char *)log_level_name(config->log_level), NULL};
    snprintf(parent, sizeof parent, "--web-role=%d", (int)getpid());
    config_web_address(config, web->port, address, sizeof address);
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        [HANDOVER_FD] = {.flags = UV_INHERIT_FD, .data.fd = web->channel[1]},
        [WEB_LISTEN_FD] = {.flags = UV_INHERIT_FD, .data.fd = web->listening},
    };
    uv_process_options_t options = {.file = "/proc/self/exe",
                                    .args = arguments,
                                    .env = supervisor->environment, /* BLAS, which it has no use for, makes threads */
                                    .exit_cb = on_web_exit,
                                    .stdio = stdio,
                                    .stdio_count = sizeof stdio / sizeof *stdio};
    return uv_spawn(&supervisor->loop, &web->process, &options);
}

static void on_restart(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    struct web *web = &supervisor->web;
    if (!open_listening(supervisor)) {
        uv_timer_start(&web->timer, on_restart, LISTEN_AGAIN_MS, 0);
        return;
    }
    if (web->channel[0] < 0)
        open_channel(supervisor); /* without one uv_spawn is called in vain */
    web->started_ms = uv_now(&supervisor->loop);
    int status = spawn(supervisor);
    close_end(&web->channel[1]);
    if (!status) {
        web->running = true;
        return;
    }
    log_event(LOG_ERROR, 0, "the dashboard's process could not be started: %s", uv_strerror(status));
    close_process(web);
}

void web_init(struct supervisor *supervisor)
{
    struct web *web = &supervisor->web;
    web->listening = web->channel[0] = web->channel[1] = -1;
    uv_timer_init(&supervisor->loop, &web->timer);
    web->timer.data = web->process.data = supervisor;
}

void web_start(struct supervisor *supervisor)
{
    struct web *web = &supervisor->web;
    if (!supervisor->config->web_host[0])
        return;
    make_secret(web->cookie);
    if (open_listening(supervisor))
        open_channel(supervisor);
    uv_timer_start(&web->timer, on_restart, FIRST_START_MS, 0);
}

static void on_kill(uv_timer_t *timer)
{
    web_kill(timer->data);
}

void web_stop(struct supervisor *supervisor)
{
    struct web *web = &supervisor->web;
    uv_timer_stop(&web->timer);
    close_end(&web->channel[0]);
    close_end(&web->channel[1]);
    close_end(&web->listening);
    if (web->running)
        uv_timer_start(&web->timer, on_kill, STOP_MS, 0);
}

void web_kill(struct supervisor *supervisor)
{
    if (supervisor->web.running)
        uv_process_kill(&supervisor->web.process, SIGKILL);
}
