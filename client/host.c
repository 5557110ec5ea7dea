/* Memory of the host that the daemon sees, too. SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT 4096 /* of plain memory: as the other kinds have it */

struct host {
    struct host *next;
    char *memory;
    size_t bytes, mapped; /* mapped 0: by malloc */
    uint32_t number;      /* the daemon's; of plain memory nothing */
    enum td_host_kind kind;
};

/* ---- what others ask ---- */

/* Where bytes at data lie; NULL: not in one piece that the daemon sees. */
static const struct host *find(const struct td_session *s, const void *data, size_t bytes)
{
    for (const struct host *h = s->hosts; h; h = h->next) {
        size_t at = (size_t)((const char *)data - h->memory);
        if (h->kind >= TD_HOST_SHARED && (const char *)data >= h->memory && at <= h->bytes && bytes <= h->bytes - at)
            return h;
    }
    return NULL;
}

uint8_t *hosts_write(const struct td_session *s, uint8_t *at, const void *data, size_t bytes)
{
    const struct host *h = find(s, data, bytes);
    if (!h)
        return NULL;
    return td_write_uint(td_write_uint(at, h->number), (uint64_t)((const char *)data - h->memory));
}

bool hosts_upload(struct td_session *s, uint32_t handle, const void *data, size_t bytes, bool non_blocking,
                  td_origin origin)
{
    struct wait wait = {0};
    if (!bytes || !find(s, data, bytes))
        return false;
    uint32_t site = site_number(s, origin.where);
    uint8_t *at = request_begin(s, 96);
    if (!at)
        return true;
    wait.request = s->wire.requests + 1;
    at = td_write_uint(td_write_uint(request_head(at, 0, site, 7, TD_R_COPY_IN), handle), 0);
    at = td_write_uint(hosts_write(s, at, data, bytes), bytes);
    request_end(s, td_write_bool(at, !non_blocking));
    if (!non_blocking && !s->dead)
        connection_wait(s, &wait);
    cause_unref(wait.error); /* it stands, as of any upload */
    return true;
}

void hosts_lost(struct td_session *s)
{
    for (struct host *h = s->hosts; h; h = h->next)
        h->kind = TD_HOST_PLAIN;
}

/* ---- life ---- */

static void end(struct host *h)
{
    if (h->mapped)
        munmap(h->memory, h->mapped);
    else
        free(h->memory);
    free(h);
}

void hosts_forget(struct td_session *s)
{
    for (struct host *h = s->hosts, *next; h; h = next) {
        next = h->next;
        end(h);
    }
    s->hosts = NULL;
}

/* The lowest number that no piece has; TD_HOSTS_MAX if there is none. */
static uint32_t free_number(const struct td_session *s)
{
    uint64_t used = 0;
    for (const struct host *h = s->hosts; h; h = h->next)
        if (h->kind >= TD_HOST_SHARED)
            used |= UINT64_C(1) << h->number;
    return ~used ? (uint32_t)__builtin_ctzll(~used) : TD_HOSTS_MAX;
}

/* [error or nil, bytes, pinned]; the daemon's error becomes wait's. */
static bool take_answer(const void *map, size_t map_bytes, struct wait *wait, bool *pinned)
{
    struct td_reader r = td_reader_of(map, map_bytes);
    uint32_t count = td_read_array(&r);
    if (count >= 3 && !td_read_nil(&r))
        wait->error = reply_error(&r);
    td_read_uint(&r);
    *pinned = td_read_bool(&r);
    return count >= 3 && !r.failed && !wait->error;
}

/* Asks the daemon for h, which stays plain where its descriptor does not come through. */
static bool ask(struct td_session *s, struct host *h, td_origin origin)
{
    void *map = NULL;
    size_t map_bytes = 0;
    int descriptor = -1;
    struct wait wait = {.map = &map, .map_bytes = &map_bytes, .descriptor = &descriptor};
    uint32_t number = free_number(s);
    bool pinned = false;
    request_numbers(s, site_number(s, origin.where), TD_R_HOST_ALLOC, 2, (uint64_t[]){number, h->bytes});
    wait.request = s->wire.requests;
    bool there = !s->dead && connection_wait(s, &wait) && take_answer(map, map_bytes, &wait, &pinned);
    void *memory = MAP_FAILED;
    if (there && descriptor >= 0)
        memory = mmap(NULL, h->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory != MAP_FAILED) {
        h->memory = memory;
        h->mapped = h->bytes;
        h->number = number;
        h->kind = pinned ? TD_HOST_PINNED : TD_HOST_SHARED;
    } else if (there) {
        request_numbers(s, 0, TD_R_HOST_FREE, 1, (uint64_t[]){number});
    }
    if (descriptor >= 0)
        close(descriptor);
    error_raise(s, wait.error);
    cause_unref(wait.error);
    free(map);
    return there;
}

static bool make(struct td_session *s, struct host *h, td_origin origin)
{
    struct td_failure failure = {0};
    if (s->dead) {
        error_raise(s, s->dead);
        return false;
    }
    if (!h->bytes || free_number(s) == TD_HOSTS_MAX) {
        if (h->bytes)
            td_fail(&failure, TD_E_LIMIT, "host_alloc: the session has %d pieces already", TD_HOSTS_MAX);
        else
            td_fail(&failure, TD_E_ARGUMENT, "host_alloc: 0 bytes");
    } else if (h->bytes > TD_HOST_BYTES) {
        td_fail(&failure, TD_E_LIMIT, "host_alloc: %zu bytes; at most %zu can be had", h->bytes, TD_HOST_BYTES);
    } else if (!ask(s, h, origin)) {
        return false;
    } else if (!h->memory &&
               !(h->memory = aligned_alloc(ALIGNMENT, (h->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT))) {
        td_fail(&failure, TD_E_MEMORY, "host_alloc: no memory for %zu bytes", h->bytes);
    }
    if (failure.code)
        cause_unref(error_make(s, &failure, "host_alloc", origin));
    return !failure.code;
}

void *td_host_alloc_at(td_origin origin, td_session *s, size_t bytes)
{
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->bytes = bytes;
    h->kind = TD_HOST_PLAIN;
    session_enter(s);
    bool made = make(s, h, origin);
    if (made) {
        h->next = s->hosts;
        s->hosts = h;
    }
    session_leave(s);
    void *memory = h->memory;
    if (!made)
        end(h);
    return made ? memory : NULL;
}

void td_host_free_at(td_origin origin, td_session *s, void *memory)
{
    struct td_failure failure = {0};
    session_enter(s);
    struct host **at = &s->hosts;
    while (*at && (*at)->memory != memory)
        at = &(*at)->next;
    struct host *h = *at;
    if (h) {
        *at = h->next;
        if (h->kind >= TD_HOST_SHARED && !s->dead)
            request_numbers(s, 0, TD_R_HOST_FREE, 1, (uint64_t[]){h->number});
        end(h);
    } else if (memory) {
        td_fail(&failure, TD_E_ARGUMENT, "host_free: %p is not what td_host_alloc of this session gave", memory);
        cause_unref(error_make(s, &failure, "host_free", origin));
    }
    session_leave(s);
}

enum td_host_kind td_host_kind(td_session *s, const void *memory)
{
    enum td_host_kind kind = TD_HOST_NONE;
    session_enter(s);
    for (const struct host *h = s->hosts; h; h = h->next)
        if ((const char *)memory >= h->memory && (const char *)memory < h->memory + h->bytes)
            kind = h->kind;
    session_leave(s);
    return kind;
}

/* ---- the functions behind the macros ---- */

void *(td_host_alloc)(td_session *s, size_t bytes)
{
    return td_host_alloc_at((td_origin){0}, s, bytes);
}

void(td_host_free)(td_session *s, void *memory)
{
    td_host_free_at((td_origin){0}, s, memory);
}
