/* The connection: frames out, frames in, never one without the other, and never beyond the daemon's credit.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* program_invocation_short_name */
#endif
#include "client/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Holds any head of a reply and most whole ones; what is longer makes it grow. */
#define IN_BYTES (64u << 10)
/* While elements are awaited little is read at once, so that they go straight to where they belong. */
#define IN_BYTES_HEAD 4096u

/* ---- opening ---- */

int connection_dial(const struct td_address *address, struct td_failure *failure)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int size = TD_SOCKET_BYTES, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(name.sun_path, address->path, sizeof name.sun_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
    }
    td_fail(failure, TD_E_CONNECT, "no daemon answers at unix:%s: %s", address->path, strerror(errno));
    td_hint(failure, "Start one with \"tensord --listen unix:PATH\" and name it in $TENSORD.");
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int got;
    do
        got = poll(&p, 1, timeout_ms);
    while (got < 0 && errno == EINTR);
    return got > 0;
}

bool connection_hello(int fd, uint64_t life, enum td_purpose purpose, const char *device)
{
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX];
    struct td_hello hello = {.version_min = TD_PROTOCOL_MIN,
                             .version_max = TD_PROTOCOL_MAX,
                             .ops_hash = td_ops_hash(),
                             .life = life,
                             .purpose = purpose};
    snprintf(hello.program, sizeof hello.program, "%s", program_invocation_short_name);
    snprintf(hello.device, sizeof hello.device, "%s", device);
    size_t bytes = td_hello_encode(&hello, frame + TD_FRAME_HEADER);
    td_write_be32(frame, (uint32_t)bytes);
    bytes += TD_FRAME_HEADER;
    return send(fd, frame, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

/* The daemon's first frame, byte for byte, so that nothing behind it is taken; its length, 0 if none came. */
static size_t receive_first(int fd, uint8_t *frame, size_t size)
{
    size_t have = 0, due = TD_FRAME_HEADER;
    while (have < due) {
        ssize_t got = recv(fd, frame + have, due - have, 0);
        if (got > 0)
            have += (size_t)got;
        else if (got == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLIN, TD_HELLO_TIMEOUT_MS))
            return 0;
        if (have == TD_FRAME_HEADER && due == TD_FRAME_HEADER) {
            due += (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
            if (due > size)
                return 0;
        }
    }
    return have - TD_FRAME_HEADER;
}

static void take_text(struct td_reader *r, char *to, size_t size)
{
    uint32_t bytes;
    const char *text = td_read_text(r, &bytes);
    if (text)
        snprintf(to, size, "%.*s", (int)(bytes < size ? bytes : size - 1), text);
}

static int read_welcome(struct td_session *s, struct td_reader *r, struct td_failure *failure,
                        char lost[TD_MESSAGE_BYTES])
{
    struct connection *c = &s->wire;
    uint32_t count = td_read_array(r);
    uint64_t kind = td_read_uint(r);
    if (!r->failed && kind == TD_REPLY_GOODBYE) {
        int code = (int)td_read_u32(r);
        char message[TD_MESSAGE_BYTES] = "";
        take_text(r, message, sizeof message);
        if (!r->failed && code)
            return td_fail(failure, code, "%s", message);
    }
    uint64_t version = td_read_uint(r);
    td_read_uint(r); /* the session's number */
    uint64_t life = td_read_uint(r);
    td_read_skip(r); /* the device's name */
    td_read_uint(r); /* its table's hash: rows are only ever added, and the daemon judges */
    uint64_t bytes = td_read_uint(r), requests = td_read_uint(r), handles = td_read_uint(r);
    if (!td_read_nil(r))
        take_text(r, lost, TD_MESSAGE_BYTES);
    if (r->failed || kind != TD_REPLY_WELCOME || count < 10 || version < TD_PROTOCOL_MIN || version > TD_PROTOCOL_MAX ||
        !bytes || !requests)
        return td_fail(failure, TD_E_PROTOCOL, "unix:%s answers with something that is not a WELCOME of tensord",
                       s->address.path);
    c->life = life;
    c->credit_bytes = bytes;
    c->credit_requests = requests;
    s->handles.limit = handles < TD_HANDLES_MAX ? (uint32_t)handles : TD_HANDLES_MAX;
    return TD_E_OK;
}

int connection_open(struct td_session *s, struct td_failure *failure, char lost[TD_MESSAGE_BYTES])
{
    struct connection *c = &s->wire;
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX + TD_MESSAGE_BYTES];
    lost[0] = 0;
    int fd = connection_dial(&s->address, failure);
    if (fd < 0)
        return failure->code;
    bool said = connection_hello(fd, c->life, TD_PURPOSE_SESSION, s->device);
    size_t bytes = said ? receive_first(fd, frame, sizeof frame) : 0;
    struct td_reader r = td_reader_of(frame + TD_FRAME_HEADER, bytes);
    if (!bytes)
        td_fail(failure, TD_E_CONNECT, "the daemon at unix:%s does not answer", s->address.path);
    else
        read_welcome(s, &r, failure, lost);
    if (failure->code) {
        close(fd);
        return failure->code;
    }
    pthread_mutex_lock(&c->sending);
    c->fd = fd;
    c->torn = false;
    c->urgent_due = 0;
    c->bytes_sent = 0;
    pthread_mutex_unlock(&c->sending);
    c->out_used = c->in_from = c->in_to = 0;
    c->requests = c->requests_flushed = c->executed = c->bytes_taken = c->replies = 0;
    c->sink_left = 0;
    return TD_E_OK;
}

void connection_close(struct td_session *s)
{
    pthread_mutex_lock(&s->wire.sending);
    if (s->wire.fd >= 0)
        close(s->wire.fd);
    s->wire.fd = -1;
    pthread_mutex_unlock(&s->wire.sending);
    s->wire.out_used = 0;
    s->wire.sink_left = 0;
    free(s->wire.call);
    s->wire.call = NULL;
    s->wire.epoch++;
}

/* ---- receiving ---- */

static void broken(struct td_session *s, const struct td_failure *failure)
{
    connection_close(s);
    session_kill(s, failure);
}

static bool make_room(struct connection *c)
{
    if (c->in_from) {
        memmove(c->in, c->in + c->in_from, c->in_to - c->in_from);
        c->in_to -= c->in_from;
        c->in_from = 0;
    }
    if (c->in_to + IN_BYTES_HEAD <= c->in_size)
        return true;
    size_t size = c->in_size ? 2 * c->in_size : IN_BYTES;
    uint8_t *in = realloc(c->in, size);
    if (!in)
        return false;
    c->in = in;
    c->in_size = size;
    return true;
}

/* As recv; a descriptor that comes along is what is waited for. */
static ssize_t receive_with(struct connection *c, size_t room, int *descriptor)
{
    union {
        char bytes[CMSG_SPACE(sizeof *descriptor)];
        struct cmsghdr aligned;
    } control;
    struct iovec piece = {c->in + c->in_to, room};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(c->fd, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof *descriptor)) {
        if (*descriptor >= 0)
            close(*descriptor);
        memcpy(descriptor, CMSG_DATA(head), sizeof *descriptor);
    }
    return got;
}

/* One recv and what follows from it; false if the connection is gone. */
static bool receive(struct td_session *s)
{
    struct connection *c = &s->wire;
    TD_NO_FAILURE(failure);
    bool direct = c->sink_left > 0, goodbye = false;
    if (!direct && !make_room(c)) {
        broken(s, &(struct td_failure){.code = TD_E_MEMORY, .message = "no memory for a reply"});
        return false;
    }
    size_t room = c->in_size - c->in_to;
    if (c->wait && c->wait->sink && room > IN_BYTES_HEAD)
        room = IN_BYTES_HEAD;
    ssize_t got = direct ? recv(c->fd, c->wait->sink + (c->wait->received - c->wait->taken), c->sink_left, 0)
                  : c->wait && c->wait->descriptor ? receive_with(c, room, c->wait->descriptor)
                                                   : recv(c->fd, c->in + c->in_to, room, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0) {
        session_lost(s, got == 0 ? "the daemon ended the connection without a word" : strerror(errno));
        return false;
    }
    if (direct) {
        c->sink_left -= (uint64_t)got;
        reply_received(c->wait, (uint64_t)got, c->sink_left);
        return true;
    }
    c->in_to += (size_t)got;
    if (reply_take(s, &failure, &goodbye) && !goodbye)
        return true;
    broken(s, &failure);
    return false;
}

/* Waits until the socket can be read, or written where that is wanted, and reads. */
static bool pump(struct td_session *s, bool writing)
{
    struct pollfd p = {.fd = s->wire.fd, .events = (short)(POLLIN | (writing ? POLLOUT : 0))};
    if (poll(&p, 1, -1) < 0)
        return true; /* interrupted: look again */
    return !(p.revents & (POLLIN | POLLHUP | POLLERR)) || receive(s);
}

/* ---- sending ---- */

/* An urgent frame; between two others, and with sending held. */
static bool send_urgent(struct connection *c, uint32_t id)
{
    uint8_t frame[TD_FRAME_HEADER + 3] = {0, 0, 0, 3, 0xc0, (uint8_t)id, 0}; /* nil, id, number */
    c->bytes_sent += sizeof frame;
    if (send(c->fd, frame, sizeof frame, MSG_NOSIGNAL) == (ssize_t)sizeof frame)
        return true;
    c->bytes_sent -= sizeof frame;
    return false;
}

void connection_urgent(struct td_session *s, uint32_t id)
{
    struct connection *c = &s->wire;
    pthread_mutex_lock(&c->sending);
    if (c->fd >= 0 && !s->forked && (c->torn || !send_urgent(c, id)))
        c->urgent_due = id; /* goes behind the frame that is half sent, or with the next one */
    pthread_mutex_unlock(&c->sending);
}

/* One send of what is left of a frame: the bytes that went, or -errno. */
static ssize_t send_some(struct connection *c, struct iovec *pieces, int count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    size_t left = pieces[0].iov_len + (count > 1 ? pieces[1].iov_len : 0);
    pthread_mutex_lock(&c->sending);
    ssize_t sent = count == 1 ? send(c->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
                              : sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (sent < 0)
        sent = -errno;
    else
        c->torn = (size_t)sent < left;
    if (c->urgent_due && !c->torn && send_urgent(c, c->urgent_due))
        c->urgent_due = 0;
    pthread_mutex_unlock(&c->sending);
    return sent;
}

/* Writes it all, reading whenever something comes. A daemon that is gone may have left a GOODBYE: so reads go on. */
static bool write_all(struct td_session *s, struct iovec *pieces, int count)
{
    struct connection *c = &s->wire;
    while (count > 0) {
        ssize_t sent = send_some(c, pieces, count);
        if (sent < 0) {
            if (!pump(s, sent == -EAGAIN || sent == -EINTR))
                return false;
            continue;
        }
        for (; count > 0 && (size_t)sent >= pieces->iov_len; count--)
            sent -= (ssize_t)(pieces++)->iov_len;
        if (count > 0) {
            pieces->iov_base = (char *)pieces->iov_base + sent;
            pieces->iov_len -= (size_t)sent;
        }
    }
    return true;
}

/* Whether bytes more may be sent. Where nothing is on its way there is nothing to wait for. */
static bool has_credit(const struct connection *c, size_t bytes)
{
    bool idle = c->requests_flushed == c->executed || c->bytes_sent == c->bytes_taken;
    return idle || (c->bytes_sent + bytes - c->bytes_taken <= c->credit_bytes &&
                    c->requests - c->executed <= c->credit_requests);
}

bool connection_flush(struct td_session *s, const void *bulk, size_t bytes)
{
    struct connection *c = &s->wire;
    size_t head = c->out_used;
    if (c->fd < 0)
        return false;
    if (head == 0)
        return true;
    td_write_be32(c->out, (uint32_t)(head + bytes - TD_FRAME_HEADER));
    while (!has_credit(c, head + bytes))
        if (!pump(s, false))
            return false;
    c->bytes_sent += head + bytes;
    c->requests_flushed = c->requests;
    c->out_used = 0;
    struct iovec pieces[2] = {{c->out, head}, {(void *)(uintptr_t)bulk, bytes}};
    return write_all(s, pieces, bytes ? 2 : 1);
}

bool connection_send(struct td_session *s, const uint8_t *frame, size_t bytes)
{
    struct iovec piece = {(void *)(uintptr_t)frame, bytes};
    if (s->wire.fd < 0)
        return false;
    s->wire.bytes_sent += bytes;
    return write_all(s, &piece, 1);
}

static bool serve(struct td_session *s)
{
    TD_NO_FAILURE(failure);
    if (calls_serve(s, &failure))
        return connection_flush(s, NULL, 0);
    broken(s, &failure);
    return false;
}

bool connection_wait(struct td_session *s, struct wait *wait)
{
    struct connection *c = &s->wire;
    struct wait *outer = c->wait; /* of a walk, that has called what waits now */
    uint32_t epoch = c->epoch;
    c->wait = wait;
    bool there = connection_flush(s, NULL, 0) && epoch == c->epoch;
    while (there && !wait->done)
        there = (c->call ? serve(s) : pump(s, false)) && epoch == c->epoch;
    c->wait = outer;
    return there;
}
