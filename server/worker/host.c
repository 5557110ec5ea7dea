/* Memory of the host that both sides see. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/worker/connection.h"
#include "server/worker/errand.h"
#include "server/worker/reply.h"

/* All sessions together get this part of what the host has. */
#define HOST_PART 4

/* A piece, and the errand that ends it. */
struct piece {
    struct host host;
    struct errand errand;
};

/* ---- making it ---- */

/* All its pages are taken at once: where there are none left it must be known here, and not when they are touched. */
static int make_memory(struct host *host, int *descriptor)
{
    int fd = memfd_create("tensord", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return errno;
    if (ftruncate(fd, (off_t)host->bytes) || fallocate(fd, 0, 0, (off_t)host->bytes) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        int problem = errno;
        close(fd);
        return problem;
    }
    void *memory = mmap(NULL, host->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int problem = errno;
        close(fd);
        return problem;
    }
    host->memory = memory;
    *descriptor = fd;
    return 0;
}

/* On the session's stack until it has been passed on. */
struct making {
    struct iterator iterator;
    struct errand errand;
    struct host *host;
    uint32_t number, site;
    int descriptor, problem;
    bool done;
};

static struct making *making_of(struct errand *errand)
{
    return (struct making *)((char *)errand - offsetof(struct making, errand));
}

static void making_run(struct errand *errand, const struct td_device *device)
{
    struct making *m = making_of(errand);
    m->problem = make_memory(m->host, &m->descriptor);
    m->host->pinned = !m->problem && device->pin && device->pin(m->host->memory, m->host->bytes);
}

static void making_done(struct errand *errand)
{
    making_of(errand)->done = true;
}

/* ---- ending it ---- */

static void unmake(const struct host *host, const struct td_device *device)
{
    if (host->pinned) {
        device->settle(TD_LANE_UPLOAD); /* what is on its way has arrived then */
        device->unpin(host->memory);
    }
    if (host->memory)
        munmap(host->memory, host->bytes);
}

static void forget(struct session *session, struct host *host)
{
    session->worker->host_bytes -= host->bytes;
    free(host); /* the first member of its piece */
}

static struct piece *piece_of(struct errand *errand)
{
    return (struct piece *)((char *)errand - offsetof(struct piece, errand));
}

static void ending_run(struct errand *errand, const struct td_device *device)
{
    unmake(&piece_of(errand)->host, device);
}

static void ending_done(struct errand *errand)
{
    forget(errand->session, &piece_of(errand)->host);
}

/* True: the session is parked until it is over. */
static bool end(struct session *session, struct host *host)
{
    struct errand *errand = &((struct piece *)host)->errand;
    *errand = (struct errand){.session = session, .run = ending_run, .done = ending_done};
    if (errand_start(errand))
        return true;
    unmake(host, session->worker->device);
    forget(session, host);
    return false;
}

bool hosts_release(struct session *session)
{
    for (int k = 0; k < TD_HOSTS_MAX; k++) {
        struct host *host = session->hosts[k];
        session->hosts[k] = NULL;
        if (host && end(session, host))
            return true;
    }
    return false;
}

/* ---- passing it on ---- */

static void reply_host(struct session *session, const struct host *host, const struct cause *cause)
{
    msgpack_packer packer;
    reply_map_begin(session, &packer);
    msgpack_pack_array(&packer, 3);
    reply_error(&packer, cause);
    msgpack_pack_uint64(&packer, host ? host->bytes : 0);
    if (host && host->pinned)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
    reply_end(session);
}

static void refuse(struct session *session, uint32_t site, const struct td_failure *failure)
{
    struct request request = {.site = site};
    struct cause *cause = request_fail(session, &request, "host_alloc", failure);
    reply_host(session, NULL, cause);
    cause_unref(cause);
}

static enum step making_next(struct session *session, struct iterator *iterator)
{
    struct making *m = (struct making *)iterator;
    TD_NO_FAILURE(failure);
    if (session->closing)
        return STEP_DONE;
    m->errand = (struct errand){.session = session, .run = making_run, .done = making_done};
    if (!m->done && errand_start(&m->errand))
        return STEP_WAIT;
    if (!m->done)
        making_run(&m->errand, session->worker->device);
    m->done = true;
    if (m->problem) {
        td_fail(&failure, TD_E_MEMORY, "%zu bytes of the host's memory are not to be had: %s", m->host->bytes,
                strerror(m->problem));
        refuse(session, m->site, &failure);
        return STEP_DONE;
    }
    session_flush(session);
    if (session->closing)
        return STEP_DONE;
    if (connection_backlog(session)) /* the descriptor travels at the first byte of the answer */
        return STEP_WAIT;
    reply_host(session, m->host, NULL);
    if (!connection_pass(session, m->descriptor)) {
        td_fail(&failure, TD_E_MEMORY, "the connection has no room for a descriptor");
        refuse(session, m->site, &failure);
        return STEP_DONE;
    }
    session->hosts[m->number] = m->host;
    m->host = NULL;
    return STEP_DONE;
}

static void making_drop(struct session *session, struct iterator *iterator)
{
    struct making *m = (struct making *)iterator;
    if (m->descriptor >= 0)
        close(m->descriptor);
    if (m->host) {
        unmake(m->host, session->worker->device);
        forget(session, m->host);
    }
    free(m);
}

/* ---- requests ---- */

static size_t held_bytes(const struct session *session)
{
    size_t bytes = 0;
    for (int k = 0; k < TD_HOSTS_MAX; k++)
        bytes += session->hosts[k] ? session->hosts[k]->bytes : 0;
    return bytes;
}

/* Of all sessions here: the daemon's part of the host, which the workers have equal parts of. */
static size_t limit_bytes(const struct worker *worker)
{
    size_t parts = worker->workers > 1 ? worker->workers : 1;
    return (size_t)sysconf(_SC_PHYS_PAGES) / HOST_PART / parts * (size_t)sysconf(_SC_PAGESIZE);
}

static int check(struct session *session, uint32_t number, int64_t *bytes, struct td_failure *failure)
{
    int64_t page = sysconf(_SC_PAGESIZE);
    if (number >= TD_HOSTS_MAX || session->hosts[number])
        return td_fail(failure, TD_E_ARGUMENT, "a number below %d that is not in use is due", TD_HOSTS_MAX);
    if (*bytes < 1 || (uint64_t)*bytes > TD_HOST_BYTES)
        return td_fail(failure, TD_E_LIMIT, "%" PRId64 " bytes; 1 to %zu can be had", *bytes, TD_HOST_BYTES);
    *bytes = (*bytes + page - 1) / page * page;
    if (held_bytes(session) + (size_t)*bytes > TD_HOST_BYTES ||
        session->worker->host_bytes + (size_t)*bytes > limit_bytes(session->worker)) {
        td_fail(failure, TD_E_LIMIT,
                "%" PRId64 " bytes more: the session has %zu of at most %zu, all sessions %" PRIu64 " of at most %zu",
                *bytes, held_bytes(session), TD_HOST_BYTES, session->worker->host_bytes, limit_bytes(session->worker));
        return td_hint(failure, "td_host_free ends what is not needed any more.");
    }
    return TD_E_OK;
}

void run_host_alloc(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_handle(request);
    int64_t bytes = 0;
    struct making *m = NULL;
    if (!take_integer(request, &bytes))
        td_fail(failure, TD_E_ARGUMENT, "number and bytes are due");
    if (!failure->code && !check(session, number, &bytes, failure)) {
        m = calloc(1, sizeof *m);
        struct piece *piece = m ? calloc(1, sizeof *piece) : NULL;
        struct host *host = &piece->host;
        if (!piece) {
            free(m);
            td_fail(failure, TD_E_MEMORY, "the daemon's host has no memory left");
        } else {
            host->bytes = (size_t)bytes;
            session->worker->host_bytes += host->bytes;
            m->iterator = (struct iterator){.next = making_next, .drop = making_drop};
            m->host = host;
            m->number = number;
            m->site = request->site;
            m->descriptor = -1;
            session_push(session, &m->iterator);
        }
    }
    if (failure->code)
        refuse(session, request->site, failure);
    failure->code = TD_E_OK; /* told already */
}

struct host *hosts_take(struct session *session, struct request *request, size_t *at, struct td_failure *failure)
{
    uint32_t number = take_handle(request);
    int64_t first = -1;
    if (!take_integer(request, &first) || first < 0 || number >= TD_HOSTS_MAX || !session->hosts[number]) {
        td_fail(failure, TD_E_ARGUMENT, "the host's memory has no byte %" PRId64 " of number %" PRId32, first,
                (int32_t)number);
        return NULL;
    }
    *at = (size_t)first;
    return session->hosts[number];
}

bool host_has(const struct host *host, size_t at, uint64_t bytes, struct td_failure *failure)
{
    if (at <= host->bytes && bytes <= host->bytes - at)
        return true;
    td_fail(failure, TD_E_INDEX, "%" PRIu64 " bytes from byte %zu do not lie in memory of %zu", bytes, at, host->bytes);
    return false;
}

void run_host_free(struct session *session, struct request *request, struct td_failure *failure)
{
    uint32_t number = take_handle(request);
    struct host *host = number < TD_HOSTS_MAX ? session->hosts[number] : NULL;
    if (!host) {
        td_fail(failure, TD_E_ARGUMENT, "there is no memory of number %" PRId32, (int32_t)number);
        return;
    }
    session->hosts[number] = NULL;
    end(session, host);
}
