/* Call sites: each is told to the daemon once and is a number from then on.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t slot_of(const char *where, uint32_t within, uint32_t capacity)
{
    return (uint32_t)((((uintptr_t)where + within) * UINT64_C(0x9e3779b97f4a7c15)) >> 40) & (capacity - 1);
}

/* A number for the text of a name, which may be written anywhere; 0 for none. */
static uint32_t number_of(const char *name)
{
    uint32_t number = 0;
    for (; name && *name; name++)
        number = number * 31 + (uint8_t)*name;
    return number;
}

static bool grow(struct sites *sites)
{
    uint32_t capacity = sites->capacity ? sites->capacity * 2 : 64;
    struct site *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t k = 0; k < sites->capacity; k++) {
        uint32_t at = slot_of(sites->slots[k].where, sites->slots[k].within, capacity);
        if (!sites->slots[k].where)
            continue;
        while (slots[at].where)
            at = (at + 1) & (capacity - 1);
        slots[at] = sites->slots[k];
    }
    free(sites->slots);
    sites->slots = slots;
    sites->capacity = capacity;
    return true;
}

static void tell(struct td_session *s, const struct site *site)
{
    uint32_t bytes = (uint32_t)strnlen(site->text, TD_SITE_BYTES - 1);
    uint8_t *at = request_begin(s, 64 + bytes);
    if (!at)
        return;
    at = td_write_uint(request_head(at, 0, 0, 3, TD_R_SITE), site->number);
    request_end(s, td_write_text(at, site->text, bytes));
}

/* The slot of the place, empty if it is new. A pointer whose text has changed since counts as new under its old slot.
 */
static struct site *find(struct sites *sites, const char *where, uint32_t within)
{
    uint32_t at = slot_of(where, within, sites->capacity);
    while (sites->slots[at].where && (sites->slots[at].where != where || sites->slots[at].within != within))
        at = (at + 1) & (sites->capacity - 1);
    return &sites->slots[at];
}

static bool says(const char *text, const char *where, const char *function)
{
    if (!function)
        return !strcmp(text, where);
    size_t bytes = strlen(where);
    return !strncmp(text, where, bytes) && !strncmp(text + bytes, SITE_IN, strlen(SITE_IN)) &&
           !strcmp(text + bytes + strlen(SITE_IN), function);
}

static char *text_of(const char *where, const char *function)
{
    size_t bytes = strlen(where) + (function ? strlen(SITE_IN) + strlen(function) : 0) + 1;
    char *text = malloc(bytes);
    if (text)
        snprintf(text, bytes, "%s%s%s", where, function ? SITE_IN : "", function ? function : "");
    return text;
}

uint32_t site_number(struct td_session *s, const char *where)
{
    return site_within(s, where, NULL);
}

uint32_t site_within(struct td_session *s, const char *where, const char *function)
{
    struct sites *sites = &s->sites;
    if (!where || (sites->count * 2 >= sites->capacity && !grow(sites)))
        return 0;
    uint32_t within = number_of(function);
    struct site *site = find(sites, where, within);
    bool known = site->text && says(site->text, where, function);
    if (site->number && known)
        return site->number;
    if (sites->count + 1 >= TD_SITES_MAX)
        return 0;
    if (!known) {
        char *text = text_of(where, function);
        if (!text)
            return 0;
        free(site->text);
        site->text = text;
    }
    site->where = where;
    site->within = within;
    site->number = ++sites->count;
    uint32_t number = site->number;
    tell(s, site);
    return s->sites.count >= number ? number : 0; /* a loss on the way forgot it */
}

void sites_forget(struct sites *sites)
{
    for (uint32_t k = 0; k < sites->capacity; k++)
        free(sites->slots[k].text);
    if (sites->slots)
        memset(sites->slots, 0, sites->capacity * sizeof *sites->slots);
    sites->count = 0;
}

void sites_deinit(struct sites *sites)
{
    sites_forget(sites);
    free(sites->slots);
    *sites = (struct sites){0};
}
