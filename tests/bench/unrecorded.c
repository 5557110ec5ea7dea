/* The recorder that records nothing: linked into a daemon in the place of the real one, to see what that costs.
 * SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "server/worker/session.h"

static struct blackbox_tables tables;

int recorder_start(struct worker *worker, int tables_descriptor, int trace_descriptor)
{
    worker->recorder.tables = &tables; /* a few counters are kept where they are counted */
    close(tables_descriptor);
    close(trace_descriptor);
    return 0;
}

void recorder_stop(struct worker *worker)
{
    (void)worker;
}

void recorder_open(struct session *session)
{
    (void)session;
}

void recorder_close(struct session *session)
{
    (void)session;
}

uint32_t recorder_string(struct recorder *recorder, const char *text)
{
    (void)recorder;
    (void)text;
    return 0;
}

void recorder_begin(struct session *session, uint64_t id, uint32_t site)
{
    (void)session;
    (void)id;
    (void)site;
}

void recorder_done(struct session *session, uint64_t number)
{
    (void)session;
    (void)number;
}

void recorder_error(struct session *session, uint32_t site, int code, const char *message)
{
    (void)session;
    (void)site;
    (void)code;
    (void)message;
}

void recorder_op(const struct execution *execution, bool failed)
{
    (void)execution;
    (void)failed;
}

void recorder_clock(struct worker *worker, uint64_t now_ns)
{
    worker->recorder.now_ns = now_ns;
}

void recorder_turn(struct worker *worker, uint64_t now_ns)
{
    (void)worker;
    (void)now_ns;
}

void recorder_rest(struct worker *worker, uint64_t now_ns)
{
    (void)worker;
    (void)now_ns;
}

void recorder_work(struct session *session)
{
    (void)session;
}

void recorder_publish(struct session *session, uint64_t worked_ns)
{
    (void)session;
    (void)worked_ns;
}

void recorder_answered(struct session *session, uint64_t took_ns)
{
    (void)session;
    (void)took_ns;
}
