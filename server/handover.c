/* The channel between supervisor and worker. SPDX-License-Identifier: Apache-2.0 */
#include "server/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one descriptor, aligned as the kernel wants it. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int handover_send(int channel, const struct handover *handover, int descriptor)
{
    union control control;
    memset(&control, 0, sizeof control);
    struct iovec data = {.iov_base = (void *)handover, .iov_len = sizeof *handover};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
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

int handover_receive(int channel, struct handover *handover, int *descriptor)
{
    union control control;
    struct iovec data = {.iov_base = handover, .iov_len = sizeof *handover};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t bytes;
    int taken = -1;
    do
        bytes = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (bytes < 0 && errno == EINTR);
    int result = received(bytes, sizeof *handover);
    struct cmsghdr *rights = bytes > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
        memcpy(&taken, CMSG_DATA(rights), sizeof taken);
    if (result == 1 && taken < 0) { /* the kernel drops what this process has no number left for */
        errno = EMFILE;
        return -1;
    }
    if (result == 1)
        *descriptor = taken;
    else if (taken >= 0)
        close(taken);
    return result;
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
