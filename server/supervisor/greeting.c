/* Greeting: the first frame of a client and not a byte more, since what follows belongs to the worker. So the
 * descriptor is polled and read here; a uv_stream would read ahead.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/message.h"
#include "server/log.h"
#include "server/supervisor/internal.h"

void goodbye(int descriptor, int code, const char *message)
{
    uint8_t frame[TD_FRAME_HEADER + 3 * TD_WIRE_MAX + TD_MESSAGE_BYTES];
    uint32_t bytes = (uint32_t)strnlen(message, TD_MESSAGE_BYTES);
    uint8_t *end = td_write_array(frame + TD_FRAME_HEADER, 3);
    end = td_write_uint(end, TD_REPLY_GOODBYE);
    end = td_write_uint(end, (uint64_t)code);
    end = td_write_text(end, message, bytes);
    td_write_be32(frame, (uint32_t)(end - frame - TD_FRAME_HEADER));
    ssize_t sent = send(descriptor, frame, (size_t)(end - frame), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* who does not take it does not get it */
    close(descriptor);
}

static void on_closed(uv_handle_t *handle)
{
    struct greeting *greeting = handle->data;
    if (--greeting->open == 0)
        free(greeting);
}

/* Ends the greeting; the descriptor is the caller's again. */
static int take_descriptor(struct greeting *greeting)
{
    struct supervisor *supervisor = greeting->supervisor;
    struct greeting **place = &supervisor->greetings;
    int descriptor = greeting->descriptor;
    while (*place != greeting)
        place = &(*place)->next;
    *place = greeting->next;
    supervisor->greeting_count--;
    greeting->descriptor = -1;
    uv_close((uv_handle_t *)&greeting->poll, on_closed);
    uv_close((uv_handle_t *)&greeting->timeout, on_closed);
    listener_update(supervisor);
    return descriptor;
}

static void refuse(struct greeting *greeting, int code, const char *message)
{
    log_event(LOG_INFO, 0, "refused a client: %s", message);
    goodbye(take_descriptor(greeting), code, message);
}

static void on_timeout(uv_timer_t *timer)
{
    struct td_failure failure = {0};
    td_fail(&failure, TD_E_CLOSED, "no HELLO came within %d ms", TD_HELLO_TIMEOUT_MS);
    refuse(timer->data, failure.code, failure.message);
}

static void accept_hello(struct greeting *greeting)
{
    struct td_failure failure = {0};
    struct handover handover = {0};
    struct ucred peer = {0};
    socklen_t length = sizeof peer;
    const uint8_t *hello = greeting->frame + TD_FRAME_HEADER;
    if (td_hello_decode(hello, greeting->have - TD_FRAME_HEADER, &handover.hello, &failure) != TD_E_OK) {
        refuse(greeting, failure.code, failure.message);
        return;
    }
    if (getsockopt(greeting->descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length)) {
        refuse(greeting, TD_E_INTERNAL, "the kernel does not say who the client is");
        return;
    }
    if (handover.hello.purpose != TD_PURPOSE_SESSION) {
        observe_answer(greeting->supervisor, handover.hello.purpose, peer.uid, take_descriptor(greeting));
        return;
    }
    handover.uid = peer.uid;
    handover.pid = peer.pid;
    struct supervisor *supervisor = greeting->supervisor;
    devices_give(supervisor, &handover, take_descriptor(greeting));
}

/* Bytes that the frame still lacks: of its length first, since it says how many may be read after it. */
static uint32_t missing(const struct greeting *greeting)
{
    if (greeting->have < TD_FRAME_HEADER)
        return TD_FRAME_HEADER - greeting->have;
    uint32_t length;
    memcpy(&length, greeting->frame, sizeof length);
    return TD_FRAME_HEADER + __builtin_bswap32(length) - greeting->have;
}

static bool is_length_right(const struct greeting *greeting)
{
    uint32_t length;
    memcpy(&length, greeting->frame, sizeof length);
    length = __builtin_bswap32(length);
    return length > 0 && length <= TD_HELLO_MAX;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct greeting *greeting = poll->data;
    (void)status; /* an error shows itself in recv */
    (void)events;
    for (;;) {
        ssize_t bytes = recv(greeting->descriptor, greeting->frame + greeting->have, missing(greeting), MSG_DONTWAIT);
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0 && errno == EAGAIN)
            return;
        if (bytes <= 0) {
            log_event(LOG_DEBUG, 0, "a client left before its HELLO");
            close(take_descriptor(greeting));
            return;
        }
        greeting->have += (uint32_t)bytes;
        if (greeting->have == TD_FRAME_HEADER && !is_length_right(greeting)) {
            refuse(greeting, TD_E_PROTOCOL, "the first frame is not a HELLO of tensord: its length is out of range");
            return;
        }
        if (greeting->have > TD_FRAME_HEADER && !missing(greeting)) {
            accept_hello(greeting);
            return;
        }
    }
}

void greeting_start(struct supervisor *supervisor, int descriptor)
{
    struct greeting *greeting = calloc(1, sizeof *greeting);
    if (!greeting || uv_poll_init(&supervisor->loop, &greeting->poll, descriptor)) {
        free(greeting);
        goodbye(descriptor, TD_E_INTERNAL, "the daemon has no memory left to greet a client");
        return;
    }
    uv_timer_init(&supervisor->loop, &greeting->timeout);
    greeting->poll.data = greeting->timeout.data = greeting;
    greeting->open = 2;
    greeting->supervisor = supervisor;
    greeting->descriptor = descriptor;
    greeting->next = supervisor->greetings;
    supervisor->greetings = greeting;
    supervisor->greeting_count++;
    uv_poll_start(&greeting->poll, UV_READABLE, on_readable);
    uv_timer_start(&greeting->timeout, on_timeout, TD_HELLO_TIMEOUT_MS, 0);
}

void greetings_stop(struct supervisor *supervisor)
{
    while (supervisor->greetings)
        goodbye(take_descriptor(supervisor->greetings), TD_E_CLOSED, "the daemon is ending");
}
