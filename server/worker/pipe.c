/* The socket of a session, through libuv: the only file that knows what its bytes travel on. A test may stand in for
 * it. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/worker/connection.h"
#include "server/worker/schedule.h"

/* ---- input ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    size_t bytes;
    uint8_t *room = connection_input(handle->data, &bytes);
    (void)suggested;
    *buffer = uv_buf_init((char *)room, (unsigned)bytes);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct session *session = stream->data;
    (void)buffer;
    if (got == UV_ENOBUFS)
        connection_overrun(session);
    else if (got < 0)
        session_close(session);
    else
        connection_received(session, (size_t)got);
}

/* ---- output ---- */

struct copied_write {
    uv_write_t uv;
    struct session *session;
    size_t bytes;
    uint8_t data[];
};

static void on_copied(uv_write_t *uv, int status)
{
    struct copied_write *write = (struct copied_write *)uv;
    struct session *session = write->session;
    session->unsent_bytes -= write->bytes;
    free(write);
    if (status == 0 && !session->closing)
        schedule_wake(session);
    else if (status < 0 && !session->closing)
        session_close(session);
}

void session_flush(struct session *session)
{
    uv_stream_t *stream = (uv_stream_t *)&session->pipe;
    if (session->output_bytes == 0 || session->closed || uv_is_closing((uv_handle_t *)stream)) {
        session->output_bytes = 0;
        return;
    }
    size_t sent = 0;
    session->worker->recorder.tables->bytes_out += session->output_bytes;
    if (session->unsent_bytes == 0) {
        /* As uv_try_write does, at half of its cost; what is wrong with the socket uv_write will find. */
        ssize_t wrote = send(session->descriptor, session->output, session->output_bytes, MSG_NOSIGNAL);
        sent = wrote > 0 ? (size_t)wrote : 0;
    }
    size_t left = session->output_bytes - sent;
    session->output_bytes = 0;
    if (left == 0)
        return;
    struct copied_write *write = malloc(sizeof *write + left);
    if (!write) {
        session_close(session); /* half a reply cannot be taken back */
        return;
    }
    write->session = session;
    write->bytes = left;
    memcpy(write->data, session->output + sent, left);
    uv_buf_t buffer = uv_buf_init((char *)write->data, (unsigned)left);
    session->unsent_bytes += left;
    if (uv_write(&write->uv, stream, &buffer, 1, on_copied)) {
        session->unsent_bytes -= left;
        free(write);
        session_close(session);
    }
}

bool connection_pass(struct session *session, int descriptor)
{
    union {
        char bytes[CMSG_SPACE(sizeof descriptor)];
        struct cmsghdr aligned;
    } control = {0};
    struct iovec piece = {session->output, session->output_bytes};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
    ssize_t sent = sendmsg(session->descriptor, &message, MSG_NOSIGNAL);
    if (sent <= 0) {
        session->output_bytes = 0;
        return false;
    }
    session->worker->recorder.tables->bytes_out += (size_t)sent;
    session->output_bytes -= (size_t)sent;
    memmove(session->output, session->output + sent, session->output_bytes);
    return true;
}

static void on_in_place(uv_write_t *uv, int status)
{
    struct connection_write *write = (struct connection_write *)uv;
    struct session *session = write->session;
    session->unsent_bytes -= write->bytes;
    write->then(session, write);
    if (status < 0)
        session_close(session);
    else
        schedule_wake(session);
}

int connection_write_in_place(struct connection_write *write, size_t header_bytes, void *data, size_t bytes)
{
    struct session *session = write->session;
    uv_buf_t buffers[2] = {uv_buf_init((char *)write->header, (unsigned)header_bytes),
                           uv_buf_init(data, (unsigned)bytes)};
    session_flush(session); /* replies go out in their order */
    if (session->closing || uv_is_closing((uv_handle_t *)&session->pipe))
        return -1;
    write->bytes = header_bytes + bytes;
    session->unsent_bytes += write->bytes;
    session->worker->recorder.tables->bytes_out += write->bytes;
    if (uv_write(&write->uv, (uv_stream_t *)&session->pipe, buffers, 2, on_in_place)) {
        session->unsent_bytes -= write->bytes;
        return -1;
    }
    return 0;
}

/* ---- life ---- */

int connection_open(struct session *session, int descriptor)
{
    int size = TD_SOCKET_BYTES;
    if (uv_pipe_init(&session->worker->loop, &session->pipe, 0)) {
        close(descriptor);
        return -1;
    }
    session->pipe.data = session;
    session->descriptor = descriptor;
    session->opened = true;
    (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (uv_pipe_open(&session->pipe, descriptor)) {
        close(descriptor);
        return -1;
    }
    return uv_read_start((uv_stream_t *)&session->pipe, on_alloc, on_read) ? -1 : 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;
    session->closed = true;
    session_settle(session);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    if (!uv_is_closing((uv_handle_t *)shutdown->handle))
        uv_close((uv_handle_t *)shutdown->handle, on_closed);
    free(shutdown);
}

void connection_close(struct session *session)
{
    uv_stream_t *stream = (uv_stream_t *)&session->pipe;
    if (uv_is_closing((uv_handle_t *)stream))
        return;
    uv_read_stop(stream);
    session_flush(session);
    if (uv_is_closing((uv_handle_t *)stream))
        return;
    /* A goodbye half written goes out while the tensors are released; a client that does not read it cannot keep the
     * session, since the pipe is closed outright when they are. */
    uv_shutdown_t *shutdown = session->unsent_bytes ? malloc(sizeof *shutdown) : NULL;
    if (!shutdown || uv_shutdown(shutdown, stream, on_shutdown)) {
        free(shutdown);
        uv_close((uv_handle_t *)stream, on_closed);
    }
}

void connection_abort(struct session *session)
{
    if (!uv_is_closing((uv_handle_t *)&session->pipe))
        uv_close((uv_handle_t *)&session->pipe, on_closed);
}
