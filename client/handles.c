/* The client's table of handles: what is known of each tensor without asking.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdlib.h>
#include <string.h>

bool handles_init(struct handles *h)
{
    *h = (struct handles){.used = 1, .capacity = 64, .limit = TD_HANDLES_MAX};
    h->entries = calloc(h->capacity, sizeof *h->entries);
    return h->entries != NULL;
}

static void storage_unref(struct handles *h, struct storage *storage)
{
    if (!storage || --storage->refs)
        return;
    storage->next = h->spare;
    h->spare = storage;
}

static void entry_clear(struct handles *h, struct entry *e)
{
    cause_unref(e->cause);
    storage_unref(h, e->storage);
    if (e->name)
        free(e->name);
    e->flags = 0;
    e->grad = e->scope_next = e->scope_last = 0;
    e->scope = NULL;
    e->cause = NULL;
    e->storage = NULL;
    e->maker = NULL;
    e->name = NULL;
    e->meta.dtype = TD_DTYPE_NONE;
    e->meta.rank = 0;
    e->meta.offset = 0;
}

void handles_deinit(struct handles *h)
{
    for (uint32_t k = 0; k < h->used; k++)
        entry_clear(h, &h->entries[k]);
    for (struct storage *next; h->spare; h->spare = next) {
        next = h->spare->next;
        free(h->spare);
    }
    free(h->entries);
    h->entries = NULL;
}

static bool grow(struct handles *h)
{
    uint32_t capacity = h->capacity * 2 < h->limit ? h->capacity * 2 : h->limit;
    if (capacity <= h->capacity)
        return false;
    struct entry *entries = realloc(h->entries, capacity * sizeof *entries);
    if (!entries)
        return false;
    memset(entries + h->capacity, 0, (capacity - h->capacity) * sizeof *entries);
    h->entries = entries;
    h->capacity = capacity;
    return true;
}

uint32_t handles_take(struct handles *h)
{
    uint32_t handle = h->free;
    if (handle) {
        h->free = h->entries[handle].scope_next;
        h->entries[handle].scope_next = 0;
    } else {
        if (h->used >= h->limit || (h->used == h->capacity && !grow(h)))
            return 0;
        handle = h->used++;
    }
    h->entries[handle].flags = ENTRY_LIVE;
    h->live++;
    return handle;
}

void handles_drop(struct handles *h, uint32_t handle)
{
    struct entry *e = &h->entries[handle];
    scope_remove(h, handle);
    entry_clear(h, e);
    e->generation = (e->generation + 1) & ~FRESH;
    e->scope_next = h->free;
    h->free = handle;
    h->live--;
}

struct entry *handles_find(struct td_session *s, td_tensor x)
{
    if (x.session != s || x.handle == 0 || x.handle >= s->handles.used)
        return NULL;
    struct entry *e = &s->handles.entries[x.handle];
    return e->flags & ENTRY_LIVE && e->generation == (x.generation & ~FRESH) ? e : NULL;
}

td_tensor handles_tensor(struct td_session *s, uint32_t handle, bool fresh)
{
    return (td_tensor){s, handle, s->handles.entries[handle].generation | (fresh ? FRESH : 0)};
}

td_tensor handles_failed(struct td_session *s, struct cause *cause)
{
    uint32_t handle = handles_take(&s->handles);
    if (!handle) {
        cause_unref(cause);
        return (td_tensor){s, 0, 0};
    }
    struct entry *e = &s->handles.entries[handle];
    e->flags |= ENTRY_LOCAL;
    e->cause = cause;
    scope_add(s, handle);
    return handles_tensor(s, handle, true);
}

void handles_fail_all(struct td_session *s, struct cause *cause)
{
    for (uint32_t k = 1; k < s->handles.used; k++) {
        struct entry *e = &s->handles.entries[k];
        if (!(e->flags & ENTRY_LIVE))
            continue;
        e->flags |= ENTRY_LOCAL;
        if (!e->cause)
            e->cause = cause_ref(cause);
    }
}

/* One that nobody uses: a result that comes and goes takes no malloc. */
static struct storage *storage_new(struct handles *h)
{
    struct storage *storage = h->spare;
    if (storage)
        h->spare = storage->next;
    else if (!(storage = malloc(sizeof *storage)))
        return NULL;
    *storage = (struct storage){.bytes = -1};
    return storage;
}

bool entry_set_storage(struct handles *h, struct entry *e, struct storage *shared)
{
    struct storage *storage = shared ? shared : storage_new(h);
    if (!storage)
        return false;
    storage->refs++;
    e->storage = storage;
    return true;
}

int64_t td_tensor_count(td_session *s)
{
    session_enter(s);
    int64_t live = s->handles.live;
    session_leave(s);
    return live;
}
