/* What the daemon is compared with: a bare libuv echo, and a plain socket that moves bulk data.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "tests/bench/bench.h"

#define PIECE ((size_t)256 << 10)
/* What libtensord asks for. */
#define SOCKET_BYTES (2 << 20)

static struct bench_other start(void (*serve)(int fd, size_t a, size_t b), size_t a, size_t b)
{
    int pair[2], size = SOCKET_BYTES;
    struct bench_other other = {.pid = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return other;
    for (int k = 0; k < 2; k++) {
        setsockopt(pair[k], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        setsockopt(pair[k], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    fflush(NULL);
    other.pid = fork();
    if (other.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        close(pair[0]);
        serve(pair[1], a, b);
        _exit(0);
    }
    close(pair[1]);
    other.fd = pair[0];
    return other;
}

void bench_other_stop(struct bench_other *other)
{
    int status;
    close(other->fd);
    waitpid(other->pid, &status, 0);
}

/* ---- echo ---- */

struct echo {
    uv_pipe_t pipe;
    size_t request_bytes, reply_bytes, have;
    char in[65536], out[65536];
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct echo *echo = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(echo->in, sizeof echo->in);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct echo *echo = stream->data;
    (void)buffer;
    if (got < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        return;
    }
    for (echo->have += (size_t)got; echo->have >= echo->request_bytes; echo->have -= echo->request_bytes) {
        uv_buf_t out = uv_buf_init(echo->out, (unsigned)echo->reply_bytes);
        if (uv_try_write(stream, &out, 1) != (int)echo->reply_bytes)
            _exit(1);
    }
}

static void serve_echo(int fd, size_t request_bytes, size_t reply_bytes)
{
    static struct echo echo;
    uv_loop_t loop;
    echo.request_bytes = request_bytes;
    echo.reply_bytes = reply_bytes;
    echo.pipe.data = &echo;
    if (uv_loop_init(&loop) || uv_pipe_init(&loop, &echo.pipe, 0) || uv_pipe_open(&echo.pipe, fd) ||
        uv_read_start((uv_stream_t *)&echo.pipe, on_alloc, on_read))
        _exit(1);
    uv_run(&loop, UV_RUN_DEFAULT);
}

struct bench_other bench_echo_start(size_t request_bytes, size_t reply_bytes)
{
    return start(serve_echo, request_bytes, reply_bytes);
}

bool bench_echo(const struct bench_other *other, const void *request, size_t request_bytes, void *reply,
                size_t reply_bytes)
{
    /* poll and recv, since a recv that waits is also woken when the other end takes the request: 0.7 us more. */
    struct pollfd ready = {other->fd, POLLIN, 0};
    if (send(other->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes)
        return false;
    return poll(&ready, 1, -1) == 1 && recv(other->fd, reply, reply_bytes, MSG_DONTWAIT) == (ssize_t)reply_bytes;
}

/* ---- bulk ---- */

static bool send_all(int fd, const char *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, at, bytes < PIECE ? bytes : PIECE, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, char *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = recv(fd, at, bytes < PIECE ? bytes : PIECE, 0);
        if (got <= 0)
            return false;
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

static void serve_bulk(int fd, size_t bytes, size_t unused)
{
    char *data = malloc(bytes), what, there = 1;
    (void)unused;
    memset(data, 1, bytes); /* resident, as the pool's memory is */
    while (receive_all(fd, &what, 1))
        if (what == 'u' ? !receive_all(fd, data, bytes) || !send_all(fd, &there, 1) : !send_all(fd, data, bytes))
            return;
}

struct bench_other bench_bulk_start(size_t bytes)
{
    return start(serve_bulk, bytes, 0);
}

bool bench_bulk_send(const struct bench_other *other, const void *data, size_t bytes)
{
    char there;
    return send_all(other->fd, "u", 1) && send_all(other->fd, data, bytes) && receive_all(other->fd, &there, 1);
}

bool bench_bulk_receive(const struct bench_other *other, void *data, size_t bytes)
{
    return send_all(other->fd, "d", 1) && receive_all(other->fd, data, bytes);
}
