/* Sampling, views, and encoding. SPDX-License-Identifier: Apache-2.0 */
#include "server/web/feed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/wire.h"
#include "server/config.h"
#include "server/log.h"

/* Records of one tick. What a view of all sessions cannot show anyway is not even read: the stream is entered again
 * that far before its end. */
#define READ_ALL (512u << 10)
#define ARENA_BYTES BLACKBOX_RING_BYTES
#define ARENA_OPS (ARENA_BYTES / 64)
#define SHARED_OPS 4096 /* of a tick, to all viewers of all sessions together */
#define SHARED_OPS_MIN 64
#define STRINGS_BYTES (16u << 10) /* of texts in one message */
#define COLUMNS_BYTES (60u << 10) /* of memory samples in one message */
#define SESSION_ROWS 512          /* of one list: open ones first */
#define SAMPLE_NS (UINT64_C(1000000) * SAMPLE_MS)
#define SLOW_NS (UINT64_C(1000000) * SLOW_MS)
#define SLACK_NS (UINT64_C(500000000) / FEED_HZ) /* half a tick: what is due by then is done now */
#define STAT_MAX 2048
#define SESSION_ROW_MAX (16 * TD_WIRE_MAX + TD_NAME_BYTES + 8)

_Static_assert(SESSION_ROWS *SESSION_ROW_MAX + 64 < MESSAGE_MAX, "a list of sessions fits a message");

static struct {
    _Alignas(8) uint8_t bytes[ARENA_BYTES + BLACKBOX_RECORD_MAX];
    const struct blackbox_op *ops[ARENA_OPS];
    struct blackbox_skip skips[256];
    size_t used, op_count, skip_count;
} arena;

/* ---- messages ---- */

static struct message *message_new(size_t room)
{
    struct message *message = malloc(sizeof *message + room);
    if (message)
        message->bytes = 0;
    return message;
}

void message_number(struct message *message, uint32_t number)
{
    td_write_be32(message->data + message->number_at, number);
}

/* Begins a message of count elements. The number has a fixed width, so that each viewer's can be set in place. */
static uint8_t *begin(struct message *message, uint32_t count, const char *type, double t_us)
{
    uint8_t *at = td_write_text(td_write_array(message->data, count), type, (uint32_t)strlen(type));
    *at++ = 0xce;
    message->number_at = (uint32_t)(at - message->data);
    return td_write_real(td_write_be32(at, 0), t_us);
}

static struct message *end(struct message *message, const uint8_t *at)
{
    message->bytes = (uint32_t)(at - message->data);
    return message;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    return td_write_text(at, text, (uint32_t)strlen(text));
}

static uint8_t *put_key(uint8_t *at, const char *key, double value)
{
    return td_write_real(put_text(at, key), value);
}

/* A map of fewer than 16 pairs. */
static uint8_t *put_map(uint8_t *at, uint32_t pairs)
{
    *at = (uint8_t)(0x80 | pairs);
    return at + 1;
}

static double us_since(const struct feed *feed, uint64_t time_ns)
{
    return (double)(int64_t)(time_ns - feed->started_ns) / 1e3;
}

/* A column: value of type for each i below n. */
#define COLUMN(at, type, n, i, value)                                    \
    do {                                                                 \
        size_t count_ = (n);                                             \
        at = td_write_bin_header(at, (uint32_t)(count_ * sizeof(type))); \
        for (size_t i = 0; i < count_; i++) {                            \
            type value_ = (type)(value);                                 \
            memcpy(at, &value_, sizeof value_);                          \
            at += sizeof value_;                                         \
        }                                                                \
    } while (0)

/* ---- strings: numbered in the order in which they lie there, so that another web process numbers them alike ---- */

static void read_strings(struct feed *feed)
{
    const struct blackbox_trace *trace = feed->box.trace;
    if (!trace)
        return;
    uint32_t bytes = atomic_load_explicit(&trace->string_bytes, memory_order_acquire);
    bytes = bytes < BLACKBOX_STRING_BYTES ? bytes : BLACKBOX_STRING_BYTES;
    while (feed->string_end < bytes) {
        const char *text = trace->strings + feed->string_end;
        const char *zero = memchr(text, 0, bytes - feed->string_end);
        if (!zero)
            return;
        if (feed->string_count == feed->string_room) {
            uint32_t room = feed->string_room ? 2 * feed->string_room : 256;
            uint32_t *grown = realloc(feed->string_at, room * sizeof *grown);
            if (!grown)
                return;
            feed->string_at = grown;
            feed->string_room = room;
        }
        feed->string_at[feed->string_count++] = feed->string_end;
        feed->string_end += (uint32_t)(zero - text) + 1;
    }
}

/* The number of the string at a place of the table; 0 if there is none. */
static uint32_t string_number(const struct feed *feed, uint32_t place)
{
    uint32_t low = 0, high = feed->string_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (feed->string_at[middle] < place)
            low = middle + 1;
        else
            high = middle;
    }
    return low < feed->string_count && feed->string_at[low] == place ? low + 1 : 0;
}

static struct message *encode_strings(struct feed *feed, struct place *place, double t_us)
{
    char text[TD_SITE_BYTES + 1];
    uint32_t count = 0, bytes = 0;
    uint8_t *at = td_write_uint(begin(feed->scratch, 5, "str", t_us), place->strings + 1), *head = at;
    at = td_write_be32(at + 1, 0);
    while (place->strings < feed->string_count && bytes < STRINGS_BYTES) {
        uint8_t *before = at;
        at = put_text(at, blackbox_string(&feed->box, feed->string_at[place->strings], text, sizeof text));
        bytes += (uint32_t)(at - before);
        place->strings++;
        count++;
    }
    *head = 0xdd; /* an array whose length was not known before */
    td_write_be32(head + 1, count);
    return end(feed->scratch, at);
}

/* ---- memory ---- */

static void take_sample(struct feed *feed, uint64_t now_ns)
{
    static struct blackbox_user users[BLACKBOX_USERS];
    struct blackbox_memory memory;
    struct sample *sample = &feed->samples[feed->sample_count % SAMPLES];
    bool torn;
    uint32_t count = blackbox_memory(&feed->box, &memory, users, &torn);
    double *bytes = torn ? NULL : malloc((count ? count : 1) * sizeof *bytes);
    if (!bytes) /* the worker died half way, or is just being held up: the next one will do */
        return;
    for (uint32_t k = 0; k < count; k++) {
        feed->uids[k] = users[k].uid;
        bytes[k] = 0;
        for (int c = 0; c < BLACKBOX_CLASSES; c++)
            bytes[k] += (double)users[k].bytes[c];
    }
    free(sample->bytes);
    *sample = (struct sample){.t_us = us_since(feed, now_ns),
                              .used = (double)memory.used,
                              .reserved = (double)memory.reserved,
                              .peak = (double)memory.peak,
                              .users = count,
                              .bytes = bytes};
    for (int c = 0; c < BLACKBOX_CLASSES; c++)
        sample->classes[c] = (double)memory.bytes[c];
    feed->sample_count++;
}

static const struct sample *sample_at(const struct feed *feed, uint64_t number)
{
    return &feed->samples[number % SAMPLES];
}

/* What a viewer has not seen of the samples, as far as it fits one message. */
static struct message *encode_samples(struct feed *feed, struct place *place, double t_us)
{
    uint64_t from = place->sample, oldest = feed->sample_count > SAMPLES ? feed->sample_count - SAMPLES : 0;
    from = from > oldest ? from : oldest;
    /* A life's first users are all its users so far, so the last sample has the most. */
    uint32_t users = sample_at(feed, feed->sample_count - 1)->users;
    size_t n = (size_t)(feed->sample_count - from), most = COLUMNS_BYTES / ((4 + BLACKBOX_CLASSES + users) * 8);
    n = n < most ? n : most;
    uint8_t *at = td_write_uint(begin(feed->scratch, 12, "mem", t_us), n);
    COLUMN(at, double, n, i, sample_at(feed, from + i)->t_us);
    COLUMN(at, double, n, i, sample_at(feed, from + i)->used);
    COLUMN(at, double, n, i, sample_at(feed, from + i)->reserved);
    COLUMN(at, double, n, i, sample_at(feed, from + i)->peak);
    COLUMN(at, double, n *BLACKBOX_CLASSES, i,
           sample_at(feed, from + i / BLACKBOX_CLASSES)->classes[i % BLACKBOX_CLASSES]);
    at = td_write_uint(at, users);
    COLUMN(at, uint32_t, users, i, feed->uids[i]);
    COLUMN(at, double, n *users, i,
           i % users < sample_at(feed, from + i / users)->users ? sample_at(feed, from + i / users)->bytes[i % users]
                                                                : 0);
    place->sample = from + n;
    return end(feed->scratch, at);
}

/* ---- sessions and statistics ---- */

static uint8_t *put_session(const struct feed *feed, uint8_t *at, const struct blackbox_session *session)
{
    uint64_t bytes = 0;
    for (int c = 0; c < BLACKBOX_CLASSES; c++)
        bytes += session->bytes[c];
    at = td_write_uint(td_write_uint(td_write_uint(td_write_array(at, 16), session->number), session->uid),
                       session->pid);
    at = td_write_real(put_text(at, session->program), us_since(feed, session->opened_ns));
    at = td_write_uint(td_write_bool(at, session->closed_ns != 0), session->requests);
    at = td_write_uint(td_write_uint(td_write_uint(at, session->ops), bytes), session->tensors);
    at = td_write_real(td_write_uint(at, session->nodes), (double)session->device_ns / 1e3);
    at = td_write_uint(at, session->state);
    at = td_write_real(at, blackbox_latency_us(session, 0.5));
    at = td_write_real(at, blackbox_latency_us(session, 0.99));
    return td_write_real(at, (double)session->latency_max_ns / 1e3);
}

static void encode_sessions(struct feed *feed, double t_us)
{
    struct blackbox_session session;
    uint32_t rows = 0;
    uint8_t *at = begin(feed->sessions, 4, "sess", t_us), *head = at;
    at += 5;
    for (int closed = 0; closed < 2; closed++)
        for (uint32_t place = 0; place < BLACKBOX_SESSIONS && rows < SESSION_ROWS; place++) {
            /* A look at what may change under it, to spare the copy; the copy is asked again. */
            const struct blackbox_session *there = &feed->box.tables->sessions[place];
            if (!there->number || !!there->closed_ns != closed || !blackbox_session(&feed->box, place, &session))
                continue;
            at = put_session(feed, at, &session);
            rows++;
        }
    *head = 0xdd;
    td_write_be32(head + 1, rows);
    end(feed->sessions, at);
}

static double per_second(uint64_t now, uint64_t before, uint64_t ns)
{
    return now > before && ns ? (double)(now - before) * 1e9 / (double)ns : 0;
}

/* A worker says what it serves a little after its life has begun. */
const char *feed_device(struct feed *feed)
{
    char name[TD_DEVICE_BYTES] = "";
    if (feed->box.tables)
        memcpy(name, feed->box.tables->device, sizeof name);
    name[sizeof name - 1] = 0;
    for (char *c = name; *c; c++) /* it goes into labels of metrics: nothing that ends one */
        *c = *c > ' ' && *c <= '~' && *c != '"' && *c != '\\' ? *c : '?';
    if (*name)
        memcpy(feed->device, name, sizeof name);
    return feed->device;
}

/* What is known of each device, whichever is watched. */
static uint8_t *put_devices(uint8_t *at, const struct feeds *feeds)
{
    at = td_write_array(put_text(at, "devices"), (uint32_t)feeds->count);
    for (int k = 0; k < feeds->count; k++) {
        const struct blackbox_tables *t = feeds->of[k]->box.tables;
        at = put_text(td_write_array(at, 3), feed_device(feeds->of[k]));
        at = td_write_real(at, t ? (double)t->memory.used : 0);
        at = td_write_real(at, t ? (double)t->limit_bytes : 0);
    }
    return at;
}

static void encode_stat(struct feed *feed, uint64_t now_ns)
{
    static const char *const gauge_names[] = {
#define TD_GAUGE(NAME, name, meaning) #name,
#include "protocol/gauges.def"
#undef TD_GAUGE
    };
    const struct blackbox_tables *t = feed->box.tables;
    struct rate now = {now_ns, t->ops, t->requests, t->bytes_in, t->bytes_out, t->busy_ns};
    struct rate before = now; /* a second ago, or as long as there is something to compare with */
    for (int k = 2; k >= 0 && feed->rates[k].time_ns; k--)
        before = feed->rates[k];
    uint64_t ns = now_ns - before.time_ns;
    double busy = per_second(now.busy_ns, before.busy_ns, ns) / 1e9;
    memmove(feed->rates, feed->rates + 1, sizeof feed->rates - sizeof *feed->rates);
    feed->rates[2] = now;
    bool gauges = t->has_gauges;
    uint8_t *at = put_map(begin(feed->stat, 4, "stat", us_since(feed, now_ns)), gauges ? 8 + TD_GAUGES : 8);
    at = put_key(at, "ops_s", per_second(now.ops, before.ops, ns));
    at = put_key(at, "requests_s", per_second(now.requests, before.requests, ns));
    at = put_key(at, "bytes_in_s", per_second(now.bytes_in, before.bytes_in, ns));
    at = put_key(at, "bytes_out_s", per_second(now.bytes_out, before.bytes_out, ns));
    at = put_key(at, "busy", busy < 1 ? busy : 1);
    at = put_key(at, "heartbeat_age_ms", (double)blackbox_silence_ns(&feed->box, now_ns) / 1e6);
    at = put_key(at, "viewers", feed->viewers);
    for (int k = 0; k < TD_GAUGES && gauges; k++)
        at = put_key(at, gauge_names[k], t->gauges.shown[k]);
    end(feed->stat, put_devices(at, feed->all));
}

/* ---- ops ---- */

static size_t op_bytes(const struct blackbox_op *op)
{
    const uint32_t *sizes;
    size_t bytes = 4 + 4 + 2 + 1 + 2 + 4 + 8 + 4 + 4 + 4 + 8 + 4 + 4; /* one of each column that has n of them */
    for (int k = -1; k < op->in_count; k++)
        bytes += 8 + 4 * (size_t)blackbox_op_shape(op, k, &sizes);
    return bytes;
}

/* Columns of numbers that stand one behind the other, and where each op's begin. */
struct shapes {
    uint32_t in_at[BATCH_OPS + 1], in[BATCH_OPS * BLACKBOX_OP_INPUTS];
    uint32_t dims_at[BATCH_OPS + 1], dims[BATCH_OPS * TD_RANK_MAX];
    uint32_t in_dims_at[BATCH_OPS * BLACKBOX_OP_INPUTS + 1], in_dims[BATCH_OPS * BLACKBOX_OP_INPUTS * TD_RANK_MAX];
    uint32_t ins, dim_count, in_dim_count;
};

static void lay_out(struct shapes *s, const struct blackbox_op *const *ops, size_t n)
{
    s->ins = s->dim_count = s->in_dim_count = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t *sizes, *inputs = blackbox_op_inputs(ops[i]);
        int rank = blackbox_op_shape(ops[i], -1, &sizes);
        s->in_at[i] = s->ins;
        s->dims_at[i] = s->dim_count;
        memcpy(s->dims + s->dim_count, sizes, (size_t)rank * sizeof *sizes);
        s->dim_count += (uint32_t)rank;
        for (int k = 0; k < ops[i]->in_count; k++) {
            rank = blackbox_op_shape(ops[i], k, &sizes);
            s->in_dims_at[s->ins] = s->in_dim_count;
            s->in[s->ins++] = inputs[k];
            memcpy(s->in_dims + s->in_dim_count, sizes, (size_t)rank * sizeof *sizes);
            s->in_dim_count += (uint32_t)rank;
        }
    }
    s->in_at[n] = s->ins;
    s->dims_at[n] = s->dim_count;
    s->in_dims_at[s->ins] = s->in_dim_count;
}

static struct message *encode_ops(const struct feed *feed, const struct blackbox_op *const *ops, size_t n, double t_us)
{
    static struct shapes s;
    lay_out(&s, ops, n);
    uint8_t *at = td_write_uint(begin(feed->scratch, 21, "op", t_us), n);
    COLUMN(at, uint32_t, n, i, ops[i]->session);
    COLUMN(at, uint32_t, n, i, ops[i]->request);
    COLUMN(at, uint16_t, n, i, ops[i]->op);
    COLUMN(at, uint8_t, n, i, ops[i]->dtype);
    COLUMN(at, uint16_t, n, i, ops[i]->flags);
    COLUMN(at, uint32_t, n, i, string_number(feed, ops[i]->site));
    COLUMN(at, double, n, i, us_since(feed, ops[i]->record.time_ns));
    COLUMN(at, float, n, i, ops[i]->duration_us);
    COLUMN(at, uint32_t, n, i, ops[i]->node);
    COLUMN(at, uint32_t, n, i, ops[i]->out);
    COLUMN(at, double, n, i, ops[i]->bytes);
    COLUMN(at, uint32_t, n + 1, i, s.in_at[i]);
    COLUMN(at, uint32_t, s.ins, i, s.in[i]);
    COLUMN(at, uint32_t, n + 1, i, s.dims_at[i]);
    COLUMN(at, uint32_t, s.dim_count, i, s.dims[i]);
    COLUMN(at, uint32_t, s.ins + 1, i, s.in_dims_at[i]);
    COLUMN(at, uint32_t, s.in_dim_count, i, s.in_dims[i]);
    end(feed->scratch, at);
    struct message *message = message_new(feed->scratch->bytes);
    if (message)
        memcpy(message, feed->scratch, sizeof *message + feed->scratch->bytes);
    return message;
}

static bool is_shown(const struct view *view, uint32_t session)
{
    return !view->session || view->session == session;
}

/* How many ops a batch of all sessions has: many viewers get fewer each, since 30 of them with 512 would be 40 MB a
 * second, which takes a fifth of a processor, and nobody reads either. */
static size_t shared_ops(const struct view *view)
{
    size_t share = view->viewers > 0 ? SHARED_OPS / (size_t)view->viewers : BATCH_OPS;
    return share > BATCH_OPS ? BATCH_OPS : share < SHARED_OPS_MIN ? SHARED_OPS_MIN : share;
}

/* Makes a batch of what the arena has for a view: the newest of all sessions, or of one session the oldest, which
 * those who follow it want without holes. newest: that one too, which is how a view begins. */
static void fill_view(struct feed *feed, struct view *view, bool newest, double t_us)
{
    const struct blackbox_op *chosen[BATCH_OPS];
    size_t n = 0, bytes = 0, shown = 0;
    uint64_t before = view->count;
    bool backwards = newest || !view->session;
    size_t most = view->session ? BATCH_OPS : shared_ops(view);
    for (size_t k = 0; k < arena.op_count; k++) {
        const struct blackbox_op *op = arena.ops[backwards ? arena.op_count - 1 - k : k];
        if (!is_shown(view, op->session))
            continue;
        shown++;
        if (n == shown - 1 && n < most && (bytes += op_bytes(op)) <= BATCH_BYTES)
            chosen[n++] = op;
    }
    for (size_t k = 0; k < arena.skip_count; k++)
        if (is_shown(view, arena.skips[k].session))
            before += arena.skips[k].count;
    view->count = before + shown;
    if (!n)
        return;
    if (backwards)
        before += shown - n;
    for (size_t k = 0; backwards && k < n / 2; k++) {
        const struct blackbox_op *op = chosen[k];
        chosen[k] = chosen[n - 1 - k];
        chosen[n - 1 - k] = op;
    }
    struct batch *batch = &view->batches[view->batch_count % BATCHES];
    struct message *message = encode_ops(feed, chosen, n, t_us);
    if (!message)
        return;
    free(batch->message);
    *batch = (struct batch){before, before + n, message};
    view->batch_count++;
}

static void keep_error(struct feed *feed, const struct blackbox_error *error)
{
    feed->errors[feed->error_count++ % ERRORS] = (struct failure_record){us_since(feed, error->record.time_ns), *error};
}

/* Copies what is between cursor and until into the arena. */
static void read_records(struct feed *feed, struct blackbox_cursor *cursor, uint64_t until, bool errors)
{
    arena.used = arena.op_count = arena.skip_count = 0;
    while (cursor->position < until && arena.used < ARENA_BYTES && arena.op_count < ARENA_OPS) {
        union blackbox_copy *copy = (union blackbox_copy *)(arena.bytes + arena.used);
        if (!blackbox_next(&feed->box, cursor, copy))
            break;
        if (copy->record.kind == BLACKBOX_OP) {
            arena.ops[arena.op_count++] = &copy->op;
            arena.used += (size_t)copy->record.size * 8;
        } else if (copy->record.kind == BLACKBOX_ERROR && errors) {
            keep_error(feed, &copy->error);
        } else if (copy->record.kind == BLACKBOX_SKIP && arena.skip_count < sizeof arena.skips / sizeof *arena.skips) {
            arena.skips[arena.skip_count++] = copy->skip;
        }
    }
}

static void read_ops(struct feed *feed, double t_us)
{
    struct blackbox_cursor newest;
    blackbox_forward(&feed->box, &newest);
    if (!feed->followed && newest.position > feed->cursor.position + READ_ALL) {
        feed->cursor.lost_bytes += newest.position - READ_ALL - feed->cursor.position;
        feed->cursor.position = newest.position - READ_ALL;
    }
    read_records(feed, &feed->cursor, UINT64_MAX, true);
    read_strings(feed); /* behind the records that name them */
    fill_view(feed, &feed->all_sessions, true, t_us);
    for (struct view *view = feed->followed; view; view = view->next)
        fill_view(feed, view, false, t_us);
}

/* ---- lives ---- */

static void clear_view(struct view *view)
{
    for (int k = 0; k < BATCHES; k++) {
        free(view->batches[k].message);
        view->batches[k].message = NULL;
    }
}

static void close_pair(int descriptors[2])
{
    for (int k = 0; k < 2; k++) {
        if (descriptors[k] >= 0)
            close(descriptors[k]);
        descriptors[k] = -1;
    }
}

static void end_life(struct feed *feed, uint64_t now_ns)
{
    if (feed->ended || !feed->box.tables)
        return;
    feed->ended = true;
    feed->ended_us = us_since(feed, now_ns);
    memcpy(feed->cause, feed->box.tables->cause, sizeof feed->cause);
    feed->cause[sizeof feed->cause - 1] = 0;
}

/* The next life's box takes the place of this one's. Views and viewers stay; their cursors begin again with HELLO. */
static void change_life(struct feed *feed)
{
    struct td_failure failure = {0};
    if (feed->box.tables)
        metrics_take(&feed->metrics, &feed->box);
    metrics_end_life(&feed->metrics);
    feed_device(feed);
    blackbox_close(&feed->box);
    feed->ended = false;
    feed->cursor = (struct blackbox_cursor){0};
    feed->string_count = 0;
    feed->string_end = 1; /* behind the empty one */
    feed->sample_count = feed->error_count = 0;
    feed->sample_due_ns = feed->slow_due_ns = 0;
    memset(feed->rates, 0, sizeof feed->rates);
    clear_view(&feed->all_sessions);
    feed->all_sessions.count = feed->all_sessions.batch_count = 0;
    for (struct view *view = feed->followed; view; view = view->next) {
        clear_view(view);
        view->count = view->batch_count = 0;
    }
    if (blackbox_open(&feed->box, feed->next[0], feed->next[1], &failure))
        log_event(LOG_ERROR, 0, "%s", failure.message);
    else
        feed->started_ns = feed->box.tables->started_ns;
    close_pair(feed->next);
    feed->life++;
    feed->slow_count = 0;
}

void feed_life(struct feed *feed, const int descriptors[2], uint64_t now_ns)
{
    if (feed->next[0] >= 0)
        change_life(feed);
    feed->next[0] = descriptors[0];
    feed->next[1] = descriptors[1];
    if (!feed->box.tables) {
        change_life(feed);
        return;
    }
    if (feed->ended) /* seen already; the next tick begins with the new life */
        return;
    feed->sample_due_ns = 0;
    feed_tick(feed, now_ns); /* the old life's last; viewers have until the next one to take it */
    end_life(feed, now_ns);
}

void feed_tick(struct feed *feed, uint64_t now_ns)
{
    if (feed->next[0] >= 0 && feed->ended)
        change_life(feed);
    if (!feed->box.tables || feed->ended)
        return;
    bool last = atomic_load_explicit(&feed->box.tables->state, memory_order_acquire) == BLACKBOX_ENDED;
    double t_us = us_since(feed, now_ns);
    if (now_ns >= feed->sample_due_ns || last) {
        take_sample(feed, now_ns);
        feed->sample_due_ns = now_ns + SAMPLE_NS - SLACK_NS;
    }
    if (now_ns >= feed->slow_due_ns || last) {
        metrics_take(&feed->metrics, &feed->box);
        if (feed->viewers) {
            encode_sessions(feed, t_us);
            encode_stat(feed, now_ns);
            feed->slow_count++;
        }
        feed->slow_due_ns = now_ns + SLOW_NS - SLACK_NS;
    }
    if (feed->viewers)
        read_ops(feed, t_us);
    if (last)
        end_life(feed, now_ns);
}

/* ---- viewers ---- */

static void feed_free(struct feed *feed)
{
    blackbox_close(&feed->box);
    close_pair(feed->next);
    clear_view(&feed->all_sessions);
    for (int k = 0; k < SAMPLES; k++)
        free(feed->samples[k].bytes);
    free(feed->string_at);
    free(feed->scratch);
    free(feed->sessions);
    free(feed->stat);
    free(feed);
}

bool feeds_add(struct feeds *feeds)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return false;
    *feed = (struct feed){.all = feeds, .next = {-1, -1}, .string_end = 1};
    feed->scratch = message_new(MESSAGE_MAX);
    feed->sessions = message_new(MESSAGE_MAX);
    feed->stat = message_new(STAT_MAX);
    if (!feed->scratch || !feed->sessions || !feed->stat) {
        feed_free(feed);
        return false;
    }
    feeds->of[feeds->count++] = feed;
    return true;
}

void feeds_deinit(struct feeds *feeds)
{
    while (feeds->count > 0)
        feed_free(feeds->of[--feeds->count]);
}

/* A new view shows what the stream still has of its session. */
static void begin_view(struct feed *feed, struct view *view, uint64_t now_ns)
{
    struct blackbox_cursor cursor;
    if (!feed->box.tables)
        return;
    blackbox_rewind(&feed->box, &cursor);
    read_records(feed, &cursor, feed->cursor.position, false);
    read_strings(feed);
    fill_view(feed, view, true, us_since(feed, now_ns));
}

static struct view *view_of(struct feed *feed, uint32_t session, uint64_t now_ns)
{
    struct view **at = &feed->followed;
    if (!session)
        return &feed->all_sessions;
    while (*at && (*at)->session != session)
        at = &(*at)->next;
    if (!*at && (*at = calloc(1, sizeof **at))) {
        (*at)->session = session;
        begin_view(feed, *at, now_ns);
    }
    return *at;
}

static void leave_view(struct feed *feed, struct view *view)
{
    struct view **at = &feed->followed;
    if (--view->viewers || view == &feed->all_sessions)
        return;
    while (*at != view)
        at = &(*at)->next;
    *at = view->next;
    clear_view(view);
    free(view);
}

/* Begins with the oldest batch that is still there. */
static void join(const struct feed *feed, struct place *place)
{
    const struct view *view = place->view;
    place->batch = view->batch_count > BATCHES ? view->batch_count - BATCHES : 0;
    place->count = view->batch_count > place->batch ? view->batches[place->batch % BATCHES].before : view->count;
    place->lost_bytes = feed->cursor.lost_bytes;
}

int feed_follow(struct feed *feed, struct place *place, uint32_t session, uint64_t now_ns)
{
    struct view *view = view_of(feed, session, now_ns);
    if (!view)
        return -1;
    view->viewers++;
    if (place->view)
        leave_view(feed, place->view);
    place->view = view;
    join(feed, place);
    return 0;
}

int feed_enter(struct feed *feed, struct place *place, uint64_t now_ns)
{
    *place = (struct place){0};
    if (!feed->viewers++) { /* nobody has read for it what there is */
        feed->slow_due_ns = 0;
        feed_tick(feed, now_ns);
    }
    return feed_follow(feed, place, 0, now_ns);
}

void feed_leave(struct feed *feed, struct place *place)
{
    if (place->view)
        leave_view(feed, place->view);
    place->view = NULL;
    if (!--feed->viewers) {
        clear_view(&feed->all_sessions);
        feed->all_sessions.batch_count = 0;
    }
}

void feed_skip(const struct feed *feed, struct place *place)
{
    place->batch = place->view->batch_count;
    place->count = place->view->count;
    place->lost_bytes = feed->cursor.lost_bytes;
}

/* ---- what a viewer gets next ---- */

static struct message *encode_hello(struct feed *feed, double t_us)
{
    struct blackbox_tables const *t = feed->box.tables;
    char device[sizeof t->device + 1] = "", description[sizeof t->description + 1] = "";
    memcpy(device, t->device, sizeof t->device);
    memcpy(description, t->description, sizeof t->description);
    int index = 0;
    while (feed->all->of[index] != feed)
        index++;
    uint8_t *at = put_map(begin(feed->scratch, 4, "hello", t_us), 10);
    at = put_text(put_text(at, "version"), TD_VERSION);
    at = put_text(put_text(at, "device"), device);
    at = put_key(at, "index", index);
    at = put_text(put_text(at, "description"), description);
    at = put_key(at, "limit", (double)t->limit_bytes);
    at = put_key(at, "life", (double)t->life);
    at = put_key(at, "pid", t->pid);
    at = put_key(at, "unix_ms", (double)t->started_unix_ns / 1e6);
    at = td_write_array(put_text(at, "classes"), BLACKBOX_CLASSES);
    for (int c = 0; c < BLACKBOX_CLASSES; c++)
        at = put_text(at, blackbox_class_names[c]);
    return end(feed->scratch, put_key(at, "hz", FEED_HZ));
}

static struct message *encode_end(struct feed *feed)
{
    return end(feed->scratch, put_text(begin(feed->scratch, 4, "end", feed->ended_us), feed->cause));
}

static struct message *encode_gap(struct feed *feed, struct place *place, uint64_t records, double t_us)
{
    uint8_t *at = td_write_uint(begin(feed->scratch, 5, "gap", t_us), records);
    at = td_write_uint(at, feed->cursor.lost_bytes - place->lost_bytes);
    place->lost_bytes = feed->cursor.lost_bytes;
    return end(feed->scratch, at);
}

static struct message *encode_error(struct feed *feed, const struct failure_record *record)
{
    const struct blackbox_error *error = &record->error;
    uint8_t *at = begin(feed->scratch, 9, "err", record->t_us);
    at = td_write_uint(td_write_uint(td_write_uint(at, error->session), error->request), error->id);
    at = td_write_uint(td_write_uint(at, string_number(feed, error->site)), error->code);
    return end(feed->scratch, put_text(at, error->message));
}

static struct message *next_life(struct feed *feed, struct place *place, double t_us)
{
    if (place->life && !place->ended) {
        place->ended = true;
        return encode_end(feed);
    }
    if (!feed->box.tables)
        return NULL;
    place->life = feed->life;
    place->ended = false;
    place->strings = 0;
    place->sample = place->sessions = place->stat = 0;
    place->error = 0;
    join(feed, place);
    return encode_hello(feed, t_us);
}

/* The next batch, after the gap before it; NULL: none. */
static struct message *next_ops(struct feed *feed, struct place *place, double t_us)
{
    const struct view *view = place->view;
    if (view->batch_count > BATCHES && place->batch < view->batch_count - BATCHES)
        place->batch = view->batch_count - BATCHES;
    const struct batch *batch = place->batch < view->batch_count ? &view->batches[place->batch % BATCHES] : NULL;
    uint64_t known = batch ? batch->before : view->count, lost = known - place->count;
    if (lost || place->lost_bytes != feed->cursor.lost_bytes) {
        place->count = known;
        return encode_gap(feed, place, lost, t_us);
    }
    if (!batch)
        return NULL;
    place->count = batch->after;
    place->batch++;
    return batch->message;
}

bool feed_has(const struct feed *feed, const struct place *place)
{
    if (place->life != feed->life)
        return feed->box.tables || (place->life && !place->ended);
    return place->strings < feed->string_count || place->batch < place->view->batch_count ||
           place->count < place->view->count || place->lost_bytes != feed->cursor.lost_bytes ||
           place->error < feed->error_count || place->sample < feed->sample_count ||
           place->sessions < feed->slow_count || place->stat < feed->slow_count || (feed->ended && !place->ended);
}

struct message *feed_next(struct feed *feed, struct place *place, uint64_t now_ns)
{
    double t_us = us_since(feed, now_ns);
    if (place->life != feed->life)
        return next_life(feed, place, t_us);
    if (place->strings < feed->string_count)
        return encode_strings(feed, place, t_us);
    struct message *ops = next_ops(feed, place, t_us);
    if (ops)
        return ops;
    if (feed->error_count > ERRORS && place->error < feed->error_count - ERRORS)
        place->error = feed->error_count - ERRORS;
    if (place->error < feed->error_count)
        return encode_error(feed, &feed->errors[place->error++ % ERRORS]);
    if (place->sample < feed->sample_count)
        return encode_samples(feed, place, t_us);
    if (place->sessions < feed->slow_count) {
        place->sessions = feed->slow_count;
        return feed->sessions;
    }
    if (place->stat < feed->slow_count) {
        place->stat = feed->slow_count;
        return feed->stat;
    }
    if (feed->ended && !place->ended) {
        place->ended = true;
        return encode_end(feed);
    }
    return NULL;
}
