/* Questions about the workers, answered without it: by a process that is never busy. The black boxes go along as
 * descriptors for reading; what is in them is for the reader to judge.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/log.h"
#include "server/supervisor/internal.h"

/* Of each device the present life's and the past ones'. */
#define LIVES_MAX ((1 + PAST_BOXES) * TD_DEVICES_MAX)
_Static_assert(LIVES_MAX <= TD_OBSERVED_MAX, "OBSERVE names them all");
_Static_assert(2 * LIVES_MAX < 253, "the kernel carries as many descriptors in one message");

struct answer {
    uint8_t frame[TD_FRAME_HEADER + 64 + TD_NAME_BYTES + LIVES_MAX * (32 + TD_MESSAGE_BYTES + TD_DEVICE_BYTES)];
    uint8_t *end;
    int descriptors[2 * LIVES_MAX], count;
};

/* Programs' insides are shown to those who could look into the daemon itself. */
static bool may_see_all(uid_t uid)
{
    return uid == geteuid() || uid == 0;
}

static uint8_t *write_string(uint8_t *at, const char *text)
{
    return td_write_text(at, text, (uint32_t)strlen(text));
}

/* state and cause are the supervisor's own, not what the worker may have made of them in the box. */
static void add_life(struct answer *answer, const struct lives *lives, const struct blackbox_made *box, bool trace)
{
    uint64_t number = box->map->life;
    const struct past_life *past = &lives->supervisor->roster[number % ROSTER_LENGTH];
    bool present = box == &lives->box && lives->running;
    uint8_t *at = td_write_array(answer->end, 5);
    at = td_write_uint(at, number);
    at = td_write_uint(at, !present ? TD_LIFE_ENDED : lives->ready ? TD_LIFE_RUNNING : TD_LIFE_STARTING);
    at = write_string(at, !present && past->number == number ? past->cause : "");
    answer->end = write_string(td_write_bool(at, trace), lives->device);
    answer->descriptors[answer->count++] = box->tables_read;
    if (trace)
        answer->descriptors[answer->count++] = box->trace_read;
}

static void write_lives(struct answer *answer, const struct supervisor *supervisor, bool trace)
{
    const struct blackbox_made *boxes[LIVES_MAX];
    const struct lives *of[LIVES_MAX];
    uint32_t count = 0;
    for (int k = 0; k < supervisor->device_count; k++)
        for (int past = 0; past <= PAST_BOXES; past++) {
            const struct lives *lives = &supervisor->devices[k];
            const struct blackbox_made *box = past ? &lives->past_boxes[past - 1] : &lives->box;
            of[count] = lives;
            boxes[count] = box;
            count += box->map != NULL;
        }
    answer->end = td_write_array(answer->end, count);
    for (uint32_t k = 0; k < count; k++)
        add_life(answer, of[k], boxes[k], trace);
}

/* As far as the socket takes it at once, which for one so new is all of it. */
static void send_answer(struct answer *answer, int socket)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof answer->descriptors)];
    } control;
    size_t bytes = (size_t)answer->count * sizeof *answer->descriptors;
    struct iovec data = {answer->frame, (size_t)(answer->end - answer->frame)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    td_write_be32(answer->frame, (uint32_t)(data.iov_len - TD_FRAME_HEADER));
    if (bytes) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(bytes);
        control.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(bytes), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), answer->descriptors, bytes);
    }
    if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_event(LOG_DEBUG, 0, "an observer left before its answer");
    close(socket);
}

static void answer_observe(struct supervisor *supervisor, uid_t uid, int socket)
{
    struct answer answer = {.end = answer.frame + TD_FRAME_HEADER};
    uint8_t *at = td_write_array(answer.end, 6);
    at = write_string(td_write_uint(at, TD_REPLY_OBSERVE), TD_VERSION);
    at = td_write_uint(td_write_uint(at, (uint64_t)getpid()), supervisor->started_ns);
    answer.end = td_write_uint(at, (uint64_t)supervisor->kept_count);
    write_lives(&answer, supervisor, may_see_all(uid));
    send_answer(&answer, socket);
}

static void answer_dashboard(struct supervisor *supervisor, uid_t uid, int socket)
{
    struct answer answer = {.end = answer.frame + TD_FRAME_HEADER};
    char address[256];
    if (!may_see_all(uid)) {
        goodbye(socket, TD_E_ARGUMENT,
                "the dashboard shows every user's programs: only the daemon's user and root may open it; try \"sudo "
                "tensorctl dashboard\"");
        return;
    }
    if (web_address(supervisor, address, sizeof address)) {
        goodbye(socket, TD_E_ARGUMENT, "this daemon has no dashboard, or it is being started");
        return;
    }
    answer.end = td_write_uint(td_write_array(answer.end, 2), TD_REPLY_DASHBOARD);
    answer.end = write_string(answer.end, address);
    send_answer(&answer, socket);
}

void observe_answer(struct supervisor *supervisor, uint32_t purpose, uid_t uid, int descriptor)
{
    if (purpose == TD_PURPOSE_DASHBOARD)
        answer_dashboard(supervisor, uid, descriptor);
    else
        answer_observe(supervisor, uid, descriptor);
}
