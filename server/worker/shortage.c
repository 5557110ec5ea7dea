/* The report of a shortage, of the blocks as they are. SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/shortage.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/worker/session.h"

/* What a message has room for. */
#define HOLDERS_MAX 3
#define NAME_SHOWN 32

/* What is said so far. */
struct text {
    char text[TD_MESSAGE_BYTES];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(t->text + t->used, sizeof t->text - t->used, format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t)length < sizeof t->text - t->used)
        t->used += (size_t)length;
    t->text[t->used] = 0; /* what does not fit is left out */
}

static double mb(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

/* How much of a text is shown: whole characters. */
static int shown(const char *text)
{
    size_t length = strnlen(text, NAME_SHOWN + 1);
    if (length <= NAME_SHOWN)
        return (int)length;
    for (length = NAME_SHOWN; length && ((unsigned char)text[length] & 0xc0) == 0x80;)
        length--;
    return (int)length;
}

/* ---- who holds what ---- */

static void say_own(struct text *t, const struct session *session)
{
    say(t, ", %.1f by this session (parameters %.1f, gradients %.1f, kept by graphs %.1f, other %.1f)",
        mb(session_bytes(session)), mb(session->bytes[BLACKBOX_PARAM]), mb(session->bytes[BLACKBOX_GRAD]),
        mb(session->bytes[BLACKBOX_SAVED]), mb(session->bytes[BLACKBOX_VALUE]));
}

static void say_others(struct text *t, const struct session *session)
{
    const struct session *most = NULL;
    uint64_t all = 0;
    int count = 0;
    for (const struct session *s = session->worker->sessions; s; s = s->next) {
        uint64_t bytes = session_bytes(s);
        if (s == session || !bytes)
            continue;
        all += bytes;
        count++;
        most = !most || bytes > session_bytes(most) ? s : most;
    }
    if (count)
        say(t, ", %.1f by %d other%s (%s%.*s, process %u)", mb(all), count, count == 1 ? "" : "s",
            count == 1 ? "" : "most by ", shown(most->program), most->program, most->pid);
}

/* Bytes by call site, the session's number of it; to be freed. NULL without memory. */
static uint64_t *bytes_by_site(const struct session *session)
{
    const struct pool *pool = &session->worker->pool;
    uint64_t *bytes = calloc(session->site_count + 1, sizeof *bytes);
    for (size_t k = 0; bytes && k < pool->segment_count; k++)
        for (const struct block *block = pool->segments[k].first; block; block = block->after)
            if (block_is_used(block) && block->session == session->number)
                bytes[block->site < session->site_count ? block->site : session->site_count] += block->size;
    return bytes;
}

/* "file.c:12" of a path. */
static const char *short_site(const struct session *session, uint32_t site)
{
    const char *text = session_site(session, site), *slash = strrchr(text, '/');
    return slash ? slash + 1 : text;
}

static void say_holders(struct text *t, const struct session *session)
{
    uint64_t *bytes = bytes_by_site(session);
    for (int k = 0; bytes && k < HOLDERS_MAX; k++) {
        uint32_t most = 0;
        for (uint32_t site = 1; site < session->site_count; site++)
            most = bytes[site] > bytes[most] ? site : most;
        const char *where = short_site(session, most);
        if (!bytes[most] || !*where)
            break;
        say(t, "%s%.*s %.1f", k ? ", " : "; of this session most are ", shown(where), where, mb(bytes[most]));
        bytes[most] = 0;
    }
    free(bytes);
}

/* ---- what can be done ---- */

/* The daemon may take so much, and the device does not give it. */
static bool is_withheld(const struct pool *pool, uint64_t bytes)
{
    return bytes < pool_room(pool);
}

static const char *advice(const struct session *session, uint64_t bytes)
{
    const struct pool *pool = &session->worker->pool;
    uint64_t own = session_bytes(session), used = pool->used_bytes;
    if (bytes > pool->limit_bytes)
        return "It is more than there is for all tensors: work in smaller pieces, or in a narrower dtype.";
    if (is_withheld(pool, bytes))
        return "The device does not give all that the daemon may take of it: other programs have it, or --memory is "
               "too much.";
    if (bytes <= pool->limit_bytes - used)
        return "Enough is free, but in pieces: release tensors that lie between, or make large ones first.";
    if (used - own > own)
        return "Others hold most of it: `tensorctl top` shows who. Or work in smaller pieces.";
    if (session->bytes[BLACKBOX_SAVED] > own / 2)
        return "Graphs keep most of it: TD_NO_GRAD where no gradient is needed, TD_CHECKPOINT, or release what they "
               "hang on.";
    return "Release tensors, or work in smaller pieces.";
}

int shortage_tell(const struct session *session, uint64_t bytes, struct td_failure *failure)
{
    const struct pool *pool = &session->worker->pool;
    size_t largest = pool_largest_free(pool), room = pool_room(pool);
    struct text t = {.used = 0};
    if (failure->code != TD_E_OK)
        return failure->code;
    if (!is_withheld(pool, bytes) && room > largest)
        largest = room;
    say(&t, "%.3f MB do not fit: of %.1f MB for tensors %.1f are in use", mb(bytes), mb(pool->limit_bytes),
        mb(pool->used_bytes));
    if (session_bytes(session))
        say_own(&t, session);
    say_others(&t, session);
    say(&t, "; the largest free piece has %.1f", mb(largest));
    say_holders(&t, session);
    td_fail(failure, TD_E_MEMORY, "%s", t.text);
    return td_hint(failure, "%s", advice(session, bytes));
}
