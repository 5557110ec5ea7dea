/* The channels between the supervisor and its children. SPDX-License-Identifier: Apache-2.0 */
#include "server/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 2

/* Room for the descriptors, aligned as the kernel wants it. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

static int send_with(int channel, const void *data, size_t bytes, const int *descriptors, size_t count)
{
    union control control;
    memset(&control, 0, sizeof control);
    struct iovec vector = {.iov_base = (void *)data, .iov_len = bytes};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), descriptors, count * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

/* What recv and recvmsg gave, for a message that has the size of its struct: 1, 0 or -1. */
static int received(ssize_t bytes, size_t expected)
{
    if (bytes <= 0)
        return bytes < 0 && errno == ECONNRESET ? 0 : (int)bytes;
    if ((size_t)bytes == expected)
        return 1;
    errno = EBADMSG;
    return -1;
}

/* Fills descriptors up to DESCRIPTORS_MAX, with -1 where none came; *count of them did. */
static int receive_with(int channel, void *data, size_t expected, int *descriptors, size_t *count)
{
    union control control;
    struct iovec vector = {.iov_base = data, .iov_len = expected};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t bytes;
    do
        bytes = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (bytes < 0 && errno == EINTR);
    int result = received(bytes, expected);
    struct cmsghdr *rights = bytes > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    *count = 0;
    for (int k = 0; k < DESCRIPTORS_MAX; k++)
        descriptors[k] = -1;
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
        *count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (*count)
        memcpy(descriptors, CMSG_DATA(rights), *count * sizeof(int));
    return result;
}

/* The kernel drops descriptors that this process has no number left for. */
static int refuse(int *descriptors, int result)
{
    for (int k = 0; k < DESCRIPTORS_MAX; k++) {
        if (descriptors[k] >= 0)
            close(descriptors[k]);
        descriptors[k] = -1;
    }
    if (result == 1)
        errno = EMFILE;
    return result == 1 ? -1 : result;
}

int handover_send(int channel, const struct handover *handover, int descriptor)
{
    return send_with(channel, handover, sizeof *handover, &descriptor, 1);
}

int handover_receive(int channel, struct handover *handover, int *descriptor)
{
    int taken[DESCRIPTORS_MAX];
    size_t count;
    int result = receive_with(channel, handover, sizeof *handover, taken, &count);
    if (result != 1 || count != 1)
        return refuse(taken, result);
    *descriptor = taken[0];
    return 1;
}

int web_order_send(int channel, const struct web_order *order, const int descriptors[2])
{
    return send_with(channel, order, sizeof *order, descriptors, order->kind == WEB_LIFE ? 2 : 0);
}

int web_order_receive(int channel, struct web_order *order, int descriptors[2])
{
    size_t count;
    int result = receive_with(channel, order, sizeof *order, descriptors, &count);
    if (result != 1 || count != (order->kind == WEB_LIFE ? 2 : 0))
        return refuse(descriptors, result);
    return 1;
}

int handover_note_send(int channel, const struct handover_note *note)
{
    ssize_t sent;
    do
        sent = send(channel, note, sizeof *note, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

int handover_note_receive(int channel, struct handover_note *note)
{
    ssize_t bytes;
    do
        bytes = recv(channel, note, sizeof *note, MSG_DONTWAIT);
    while (bytes < 0 && errno == EINTR);
    return received(bytes, sizeof *note);
}
