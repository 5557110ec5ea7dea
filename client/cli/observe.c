/* Asking the supervisor. What comes back is judged as anything from a socket is.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/observe.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cli/text.h"
#include "client/internal.h"

/* A turn of the worker's loop that takes longer is told. */
#define STEP_NS UINT64_C(2000000000)

/* ---- one question ---- */

static void take_descriptors(struct observed_answer *answer, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)), taken;
        for (int k = 0; k < count; k++) {
            memcpy(&taken, CMSG_DATA(c) + (size_t)k * sizeof taken, sizeof taken);
            if (answer->count < 2 * TD_OBSERVED_MAX)
                answer->descriptors[answer->count++] = taken;
            else
                close(taken);
        }
    }
}

/* Bytes that came, and the descriptors with them; 0: nothing comes any more. */
static size_t receive_some(int fd, uint8_t *at, size_t room, struct observed_answer *answer)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(2 * TD_OBSERVED_MAX * sizeof(int))];
    } control;
    for (;;) {
        struct iovec data = {at, room};
        struct msghdr message = {
            .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (got > 0)
            take_descriptors(answer, &message);
        if (got >= 0)
            return (size_t)got;
        struct pollfd ready = {fd, POLLIN, 0};
        if (errno != EINTR && (errno != EAGAIN || poll(&ready, 1, TD_HELLO_TIMEOUT_MS) == 0))
            return 0;
    }
}

/* The one frame of the answer; its length without the header, 0 if it is none. */
static size_t receive_frame(int fd, struct observed_answer *answer)
{
    size_t have = 0, due = TD_FRAME_HEADER, got;
    while (have < due) {
        if (!(got = receive_some(fd, answer->frame + have, due - have, answer)))
            return 0;
        have += got;
        if (have == TD_FRAME_HEADER && due == TD_FRAME_HEADER) {
            uint32_t length;
            memcpy(&length, answer->frame, sizeof length);
            due += __builtin_bswap32(length);
            if (due > sizeof answer->frame)
                return 0;
        }
    }
    return have - TD_FRAME_HEADER;
}

static void take_text(struct td_reader *r, char *to, size_t size)
{
    uint32_t bytes;
    const char *text = td_read_text(r, &bytes);
    text_plain(to, size, text ? text : "", text ? bytes : 0);
}

/* The answer's kind has to be the one that was asked for. */
static int read_kind(struct observed_answer *answer, uint64_t due, struct td_failure *failure)
{
    struct td_reader *r = &answer->reader;
    td_read_array(r);
    uint64_t kind = td_read_uint(r);
    if (!r->failed && kind == due)
        return TD_E_OK;
    if (!r->failed && kind == TD_REPLY_GOODBYE) {
        char message[TD_MESSAGE_BYTES];
        uint32_t code = td_read_u32(r);
        take_text(r, message, sizeof message);
        if (!r->failed && code && code < 256)
            return td_fail(failure, (int)code, "%s", message);
    }
    if (!r->failed && kind == TD_REPLY_WELCOME) { /* it passed the purpose over */
        td_fail(failure, TD_E_VERSION, "the daemon is of a release that does not tell of itself");
        return td_hint(failure, "Use the tensorctl of the daemon's version.");
    }
    return td_fail(failure, TD_E_PROTOCOL, "the daemon answers with something that is not of the protocol");
}

int observed_ask(const struct td_address *address, enum td_purpose purpose, struct observed_answer *answer,
                 struct td_failure *failure)
{
    int fd = connection_dial(address, failure);
    answer->count = 0;
    if (fd < 0)
        return failure->code;
    size_t bytes = connection_hello(fd, 0, purpose, "") ? receive_frame(fd, answer) : 0;
    close(fd);
    answer->reader = td_reader_of(answer->frame + TD_FRAME_HEADER, bytes);
    if (!bytes)
        td_fail(failure, TD_E_CONNECT, "the daemon at unix:%s does not answer", address->path);
    else
        read_kind(answer, purpose == TD_PURPOSE_DASHBOARD ? TD_REPLY_DASHBOARD : TD_REPLY_OBSERVE, failure);
    if (failure->code)
        observed_answer_close(answer);
    return failure->code;
}

void observed_answer_close(struct observed_answer *answer)
{
    while (answer->count > 0)
        close(answer->descriptors[--answer->count]);
}

int observe_dashboard(const char *text, char *to, size_t size, struct td_failure *failure)
{
    struct td_address address;
    struct observed_answer answer;
    if (td_address_default_connect(text, &address, failure) ||
        observed_ask(&address, TD_PURPOSE_DASHBOARD, &answer, failure))
        return failure->code;
    take_text(&answer.reader, to, size);
    observed_answer_close(&answer);
    return answer.reader.failed || !*to ? td_fail(failure, TD_E_PROTOCOL, "the daemon gives no address") : TD_E_OK;
}

/* ---- the lives ---- */

static int read_life(struct observed_answer *answer, int *next, struct observed_life *life, struct td_failure *failure)
{
    struct td_reader *r = &answer->reader;
    uint32_t elements = td_read_array(r);
    life->number = td_read_uint(r);
    life->state = td_read_u32(r);
    take_text(r, life->cause, sizeof life->cause);
    life->has_trace = td_read_bool(r);
    if (elements > 4)
        take_text(r, life->device, sizeof life->device);
    if (r->failed || life->state > TD_LIFE_ENDED || *next + 1 + life->has_trace > answer->count)
        return td_fail(failure, TD_E_PROTOCOL, "the daemon's answer is not whole");
    int tables = answer->descriptors[*next], trace = life->has_trace ? answer->descriptors[*next + 1] : -1;
    *next += 1 + life->has_trace;
    return blackbox_open(&life->box, tables, trace, failure);
}

int observe(const char *text, struct observation *to, struct td_failure *failure)
{
    struct observed_answer answer;
    int next = 0;
    *to = (struct observation){0};
    if (td_address_default_connect(text, &to->address, failure) ||
        observed_ask(&to->address, TD_PURPOSE_OBSERVE, &answer, failure))
        return failure->code;
    struct td_reader *r = &answer.reader;
    take_text(r, to->version, sizeof to->version);
    to->pid = td_read_uint(r);
    to->started_ns = td_read_uint(r);
    to->waiting = td_read_uint(r);
    uint32_t count = td_read_array(r);
    if (r->failed || count > TD_OBSERVED_MAX)
        td_fail(failure, TD_E_PROTOCOL, "the daemon's answer is not whole");
    else if (!count)
        td_fail(failure, TD_E_MEMORY, "the daemon has no memory for a black box");
    while (!failure->code && to->count < (int)count)
        if (!read_life(&answer, &next, &to->lives[to->count], failure))
            to->count++;
    observed_answer_close(&answer);
    to->taken_ns = now_ns();
    if (failure->code)
        observation_close(to);
    return failure->code;
}

void observation_close(struct observation *observation)
{
    while (observation->count > 0)
        blackbox_close(&observation->lives[--observation->count].box);
}

int observed_next(const struct observation *observation, int after)
{
    int next = after + 1;
    while (after >= 0 && next < observation->count &&
           !strcmp(observation->lives[next].device, observation->lives[after].device))
        next++;
    return next < observation->count ? next : -1;
}

int observed_newest(const struct observation *observation, const struct observed_life *life)
{
    int newest = (int)(life - observation->lives);
    while (newest > 0 && !strcmp(observation->lives[newest - 1].device, life->device))
        newest--;
    return newest;
}

int observed_devices(const struct observation *observation)
{
    int count = 0;
    for (int k = observed_next(observation, -1); k >= 0; k = observed_next(observation, k))
        count++;
    return count;
}

const struct observed_life *observed_present(const struct observation *observation, int newest)
{
    const struct observed_life *life = &observation->lives[newest];
    return newest < observation->count && life->state != TD_LIFE_ENDED ? life : NULL;
}

const struct observed_life *observed_dead(const struct observation *observation, int newest)
{
    int dead = newest + (observed_present(observation, newest) != NULL);
    bool is_there = dead < observation->count && observed_newest(observation, &observation->lives[dead]) == newest;
    return is_there ? &observation->lives[dead] : NULL;
}

/* ---- what people are told of them ---- */

uint64_t observed_end_ns(const struct observation *observation, const struct observed_life *life)
{
    uint64_t ended_ns = *(const volatile uint64_t *)&life->box.tables->ended_ns;
    return ended_ns ? since(observation->taken_ns, ended_ns) : 0;
}

uint64_t observed_step_ns(const struct observation *observation, int newest)
{
    const struct observed_life *present = observed_present(observation, newest);
    uint64_t silence = present ? blackbox_silence_ns(&present->box, observation->taken_ns) : 0;
    return silence > STEP_NS ? silence : 0;
}

void observed_worker_text(const struct observation *observation, int newest, char *to, size_t size)
{
    const struct observed_life *life = &observation->lives[newest];
    const struct blackbox_tables *tables = life->box.tables;
    uint64_t step_ns = observed_step_ns(observation, newest);
    if (life->state == TD_LIFE_ENDED)
        snprintf(to, size, "%s %s ago; the next is starting", life->cause,
                 age_text(observed_end_ns(observation, life)).s);
    else if (life->state == TD_LIFE_STARTING)
        snprintf(to, size, "worker %" PRIu64 " is starting", life->number);
    else
        snprintf(to, size, "worker %" PRIu64 " (pid %" PRIu32 "), up %s%s%s", life->number, tables->pid,
                 age_text(since(observation->taken_ns, tables->started_ns)).s,
                 step_ns ? ", has been in one step for " : "", step_ns ? age_text(step_ns).s : "");
}

void observed_restart_text(const struct observation *observation, int newest, char *to, size_t size)
{
    bool present = observed_present(observation, newest);
    const struct observed_life *dead = present ? observed_dead(observation, newest) : NULL;
    to[0] = 0;
    if (dead)
        snprintf(to, size, "%s %s ago", dead->cause, age_text(observed_end_ns(observation, dead)).s);
}
