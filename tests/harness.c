/* A worker without its process. SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/exec.h"
#include "server/worker/schedule.h"
#include "server/worker/tape.h"

/* More turns than any input of a test can need. */
#define TURNS_MAX 1000000

int64_t harness_reserves_left = -1;
static struct harness *running; /* device functions get no context; one harness at a time */

/* ---- the device ---- */

static void *reserve(size_t bytes)
{
    if (harness_reserves_left == 0)
        return NULL;
    if (harness_reserves_left > 0)
        harness_reserves_left--;
    return td_device_cpu()->reserve(bytes);
}

static void run(struct td_launch *launch)
{
    if (td_device_cpu()->cost(launch) <= running->kernel_ns_max) {
        td_device_cpu()->run(launch);
        return;
    }
    launch->fault.code = TD_E_OK;
    if (launch->op->kind == TD_INPLACE)
        return;
    for (int k = 0; k < launch->op->output_count; k++) {
        size_t elements = 1;
        for (int d = 0; d < launch->out[k].rank; d++)
            elements *= (size_t)launch->out[k].shape[d];
        memset(launch->out[k].data, 0, elements * td_dtype_size(launch->out[k].dtype));
    }
}

/* ---- the pipe ---- */

static struct line *line_of(const struct session *session)
{
    return session->pipe.data;
}

static bool keep(struct line *line, const void *data, size_t bytes)
{
    line->sent_bytes += bytes;
    if (!line->keeps || !bytes)
        return true;
    if (line->got_bytes + bytes > line->got_capacity) {
        size_t capacity = 2 * (line->got_bytes + bytes);
        uint8_t *got = realloc(line->got, capacity);
        if (!got)
            return false;
        line->got = got;
        line->got_capacity = capacity;
    }
    memcpy(line->got + line->got_bytes, data, bytes);
    line->got_bytes += bytes;
    return true;
}

int connection_open(struct session *session, int descriptor)
{
    session->pipe.data = &running->lines[-1 - descriptor];
    session->opened = true;
    line_of(session)->session = session;
    return 0;
}

void session_flush(struct session *session)
{
    size_t bytes = session->output_bytes;
    session->output_bytes = 0;
    if (session->closed || line_of(session)->close_due || bytes == 0)
        return;
    struct line *line = line_of(session);
    if (!keep(line, session->output, bytes)) {
        session_close(session);
    } else if (line->stalled) {
        line->waiting_bytes += bytes;
        session->unsent_bytes += bytes;
    }
}

/* The client's end would be another process. */
bool connection_pass(struct session *session, int descriptor)
{
    bool there = fcntl(descriptor, F_GETFD) >= 0;
    session_flush(session);
    return there;
}

int connection_write_in_place(struct connection_write *write, size_t header_bytes, void *data, size_t bytes)
{
    struct session *session = write->session;
    session_flush(session);
    if (session->closing || session->closed)
        return -1;
    struct line *line = line_of(session);
    line->write = write;
    line->write_header_bytes = header_bytes;
    line->write_data = data;
    line->write_data_bytes = bytes;
    write->bytes = header_bytes + bytes;
    session->unsent_bytes += write->bytes;
    return 0;
}

/* The write in place is out, or has failed. The bytes are read only now, as a kernel would. */
static void finish_write(struct line *line, bool failed)
{
    struct connection_write *write = line->write;
    struct session *session = line->session;
    if (!write)
        return;
    line->write = NULL;
    if (!failed)
        failed = !keep(line, write->header, line->write_header_bytes) ||
                 !keep(line, line->write_data, line->write_data_bytes);
    session->unsent_bytes -= write->bytes;
    write->then(session, write);
    if (failed)
        session_close(session);
    else
        schedule_wake(session);
}

void connection_close(struct session *session)
{
    session_flush(session);
    if (session->unsent_bytes == 0)
        line_of(session)->close_due = true;
}

void connection_abort(struct session *session)
{
    if (!session->closed)
        line_of(session)->close_due = true;
}

/* What libuv would do between two turns. */
static bool pump(struct line *line)
{
    struct session *session = line->session;
    bool any = false;
    if (!session)
        return false;
    if (line->waiting_bytes && (!line->stalled || line->close_due)) {
        session->unsent_bytes -= line->waiting_bytes;
        line->waiting_bytes = 0;
        if (!session->closing)
            schedule_wake(session);
        any = true;
    }
    if (line->write && (!line->stalled || line->close_due)) {
        finish_write(line, line->close_due);
        any = true;
    }
    if (session->closing && session->unsent_bytes == 0)
        line->close_due = true;
    if (line->close_due) {
        line->session = NULL;
        session->closed = true;
        session_settle(session);
        any = true;
    }
    return any;
}

/* ---- life ---- */

int harness_start(struct harness *harness, size_t memory_bytes)
{
    struct worker *worker = &harness->worker;
    running = harness;
    harness->device = *td_device_cpu();
    harness->device.reserve = reserve;
    harness->device.run = run;
    harness->kernel_ns_max = UINT64_MAX;
    worker->device = &harness->device;
    worker->life = 1;
    pool_init(&worker->pool, worker->device, memory_bytes);
    if (!(worker->sources = calloc(TD_INPUTS_MAX, sizeof *worker->sources)))
        return -1;
    if (recorder_start(worker, -1, -1) || uv_loop_init(&worker->loop)) {
        recorder_stop(worker);
        free(worker->sources);
        worker->sources = NULL;
        return -1;
    }
    return schedule_start(worker);
}

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    uv_close(handle, NULL);
}

void harness_stop(struct harness *harness)
{
    struct worker *worker = &harness->worker;
    uv_walk(&worker->loop, close_handle, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    uv_loop_close(&worker->loop);
    worker_spares_free(worker);
    recorder_stop(worker);
    pool_deinit(&worker->pool);
    free(worker->sources);
    for (int k = 0; k < HARNESS_LINES; k++)
        free(harness->lines[k].got);
    *harness = (struct harness){0};
}

struct line *harness_open(struct harness *harness)
{
    int k = 0;
    while (k < HARNESS_LINES && harness->lines[k].used)
        k++;
    if (k == HARNESS_LINES)
        return NULL;
    struct line *line = &harness->lines[k];
    struct handover handover = {.number = ++harness->numbers, .life = 1, .hello.program = "harness"};
    uint8_t *got = line->got;
    *line = (struct line){.used = true, .got = got, .got_capacity = line->got_capacity};
    /* Below 0: a number that closes nothing, should the session do that. */
    if (session_open(&harness->worker, &handover, -1 - k))
        return line;
    line->used = line->session != NULL; /* it may still be on its way out */
    return NULL;
}

void harness_send(struct line *line, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes && line->session && !line->session->closing) {
        size_t room;
        uint8_t *input = connection_input(line->session, &room);
        if (room == 0) {
            connection_overrun(line->session);
            return;
        }
        room = room < bytes ? room : bytes;
        memcpy(input, at, room);
        connection_received(line->session, room);
        at += room;
        bytes -= room;
    }
}

bool harness_turn(struct harness *harness)
{
    bool any = false;
    for (int k = 0; k < HARNESS_LINES; k++)
        any |= pump(&harness->lines[k]);
    if (harness->worker.run_head || harness->worker.dead) {
        schedule_turn(&harness->worker);
        any = true;
    }
    return any;
}

bool harness_run(struct harness *harness)
{
    for (int turns = 0; turns < TURNS_MAX; turns++)
        if (!harness_turn(harness))
            return true;
    return false;
}

void harness_hang_up(struct line *line)
{
    if (line->session)
        session_close(line->session);
}

const char *harness_end(struct harness *harness)
{
    const struct worker *worker = &harness->worker;
    for (int k = 0; k < HARNESS_LINES; k++)
        harness_hang_up(&harness->lines[k]);
    if (!harness_run(harness))
        return "it never comes to an end";
    for (int k = 0; k < HARNESS_LINES; k++)
        harness->lines[k].used = false;
    if (worker->sessions)
        return "a session is left";
    if (worker->dead)
        return "a node is left to be freed";
    if (worker->pool.used_bytes)
        return "bytes of the device are left";
    return worker->run_head || worker->run_tail ? "something is left in the queue" : NULL;
}
