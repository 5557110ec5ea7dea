/* Rates between two samples, and the table of them. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/measure.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- taking ---- */

static double rate(uint64_t before, uint64_t now, double seconds)
{
    return (double)since(now, before) / seconds;
}

/* What is published at the end of something long belongs to more than one measure. */
static double share(uint64_t before_ns, uint64_t now_ns, double seconds)
{
    double part = rate(before_ns, now_ns, seconds) / 1e9;
    return part < 1 ? part : 1;
}

static const struct blackbox_session *session_before(const struct sample *before, uint64_t number)
{
    int low = 0, high = before ? before->session_count : 0;
    while (low < high) { /* they are sorted */
        int middle = (low + high) / 2;
        if (before->sessions[middle].number == number)
            return &before->sessions[middle];
        if (before->sessions[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void take_latency(struct row *row, const struct blackbox_session *before, const struct blackbox_session *now)
{
    struct blackbox_session between = *now;
    for (int k = 0; k < BLACKBOX_LATENCIES; k++)
        between.latency[k] -= before->latency[k] <= between.latency[k] ? before->latency[k] : 0;
    row->latency50_us = blackbox_latency_us(&between, 0.5);
    row->latency99_us = blackbox_latency_us(&between, 0.99);
}

static void take_session(struct row *row, const struct sample *before, const struct sample *now,
                         const struct blackbox_session *session, double seconds)
{
    static const struct blackbox_session none;
    const struct blackbox_session *then = session_before(before, session->number);
    bool is_new = !before || session->opened_ns >= before->taken_ns;
    then = then ? then : is_new ? &none : session; /* one that could not be read before has no rates yet */
    *row = (struct row){
        .number = session->number, .uid = session->uid, .sessions = 1, .session = session, .on = now->device};
    row->user = user_text(session->uid);
    memcpy(row->bytes, session->bytes, sizeof row->bytes);
    row->all_bytes = class_sum(row->bytes);
    row->requests_s = rate(then->requests, session->requests, seconds);
    row->ops_s = rate(then->ops, session->ops, seconds);
    row->device = share(then->device_ns, session->device_ns, seconds);
    row->age_ns = since(now->taken_ns, session->opened_ns);
    take_latency(row, then, session);
}

static void take_user(struct row *row, const struct sample *before, const struct blackbox_user *user, double seconds)
{
    static const struct blackbox_user none;
    const struct blackbox_user *then = &none;
    for (uint32_t k = 0; before && k < before->user_count; k++)
        if (before->users[k].uid == user->uid)
            then = &before->users[k];
    *row = (struct row){.number = user->uid, .uid = user->uid, .sessions = user->sessions};
    row->user = user_text(user->uid);
    memcpy(row->bytes, user->bytes, sizeof row->bytes);
    row->all_bytes = class_sum(row->bytes);
    row->requests_s = rate(then->requests, user->requests, seconds);
    row->ops_s = rate(then->ops, user->ops, seconds);
    row->device = share(then->device_ns, user->device_ns, seconds);
}

struct measure *measure_take(const struct sample *before, const struct sample *now)
{
    static const struct sample none;
    struct measure *measure = calloc(1, sizeof *measure);
    if (!measure)
        return NULL;
    before = before && before->life == now->life ? before : NULL;
    const struct sample *then = before ? before : &none;
    double seconds = (double)since(now->taken_ns, before ? before->taken_ns : now->started_ns) / 1e9;
    seconds = seconds > 1e-3 ? seconds : 1e-3;
    measure->seconds = seconds;
    measure->requests_s = rate(then->requests, now->requests, seconds);
    measure->ops_s = rate(then->ops, now->ops, seconds);
    measure->bytes_in_s = rate(then->bytes_in, now->bytes_in, seconds);
    measure->bytes_out_s = rate(then->bytes_out, now->bytes_out, seconds);
    measure->busy = share(then->busy_ns, now->busy_ns, seconds);
    measure->session_count = now->session_count;
    for (int k = 0; k < now->session_count; k++)
        take_session(&measure->sessions[k], before, now, &now->sessions[k], seconds);
    measure->user_count = (int)now->user_count;
    for (int k = 0; k < measure->user_count; k++)
        take_user(&measure->users[k], before, &now->users[k], seconds);
    return measure;
}

/* A user's row of another device is added to the one that there is. */
static bool add_user(struct row *rows, int count, const struct row *more)
{
    for (int k = 0; k < count; k++) {
        if (rows[k].uid != more->uid)
            continue;
        rows[k].sessions += more->sessions;
        for (int c = 0; c < BLACKBOX_CLASSES; c++)
            rows[k].bytes[c] += more->bytes[c];
        rows[k].all_bytes += more->all_bytes;
        rows[k].requests_s += more->requests_s;
        rows[k].ops_s += more->ops_s;
        rows[k].device += more->device;
        return true;
    }
    return false;
}

struct row *measure_rows(struct measure *const *measures, int devices, bool users, int *count)
{
    size_t most = 1;
    for (int d = 0; d < devices; d++)
        most += (size_t)(users ? measures[d]->user_count : measures[d]->session_count);
    struct row *rows = malloc(most * sizeof *rows);
    *count = 0;
    for (int d = 0; d < devices && rows; d++) {
        const struct row *from = users ? measures[d]->users : measures[d]->sessions;
        int more = users ? measures[d]->user_count : measures[d]->session_count;
        for (int k = 0; k < more; k++)
            if (!users || !add_user(rows, *count, &from[k]))
                rows[(*count)++] = from[k];
    }
    return rows;
}

/* ---- sorting ---- */

static double key_value(const struct row *row, char key)
{
    switch (key) {
    case 'm':
        return (double)row->all_bytes;
    case 'o':
        return row->ops_s;
    case 'd':
        return row->device;
    case 'r':
        return row->requests_s;
    case 'l':
        return row->latency99_us;
    case 'a':
        return (double)row->age_ns;
    default:
        return -(double)row->number; /* small ones first */
    }
}

struct order {
    char key;
    bool reverse;
};

static int compare(const void *a, const void *b, void *data)
{
    const struct order *order = data;
    const struct row *one = a, *other = b;
    double left = key_value(one, order->key), right = key_value(other, order->key);
    if (left == right) /* rows that are alike stand still */
        return (one->number > other->number) - (one->number < other->number);
    return (left < right) != order->reverse ? 1 : -1;
}

void measure_sort(struct row *rows, int count, char key, bool reverse)
{
    struct order order = {key, reverse};
    qsort_r(rows, (size_t)count, sizeof *rows, compare, &order);
}

/* ---- the table ---- */

enum column_id {
    ID,
    PID,
    USER,
    SESSIONS,
    PROGRAM,
    STATE,
    MEM,
    CLASSES, /* four */
    TENSORS = CLASSES + BLACKBOX_CLASSES,
    REQUESTS,
    OPS,
    DEVICE,
    LAT50,
    LAT99,
    AGE,
    ON
};

struct column {
    uint8_t id, width;
    bool left;
    char key;      /* what sorts by it; 0: nothing */
    uint8_t worth; /* the columns of least worth go first where there is no room */
    const char *title;
};

static const struct column session_columns[] = {
    {ID, 6, false, 'n', 100, "ID"},          {PID, 8, false, 0, 60, "PID"},
    {USER, 10, true, 0, 90, "USER"},         {PROGRAM, 16, true, 0, 95, "PROGRAM"},
    {STATE, 7, true, 0, 70, "STATE"},        {MEM, 9, false, 'm', 99, "MEM"},
    {CLASSES + 0, 9, false, 0, 24, "PARAM"}, {CLASSES + 1, 9, false, 0, 23, "GRAD"},
    {CLASSES + 2, 9, false, 0, 22, "SAVED"}, {CLASSES + 3, 9, false, 0, 21, "VALUE"},
    {TENSORS, 8, false, 0, 30, "TENSORS"},   {REQUESTS, 7, false, 'r', 75, "REQ/S"},
    {OPS, 7, false, 'o', 85, "OPS/S"},       {DEVICE, 5, false, 'd', 88, "DEV%"},
    {LAT50, 7, false, 0, 50, "LAT50"},       {LAT99, 7, false, 'l', 65, "LAT99"},
    {AGE, 10, false, 'a', 40, "AGE"},        {ON, 8, true, 0, 93, "DEVICE"}};
static const struct column user_columns[] = {
    {USER, 16, true, 'n', 100, "USER"},      {SESSIONS, 8, false, 0, 70, "SESSIONS"},
    {MEM, 9, false, 'm', 99, "MEM"},         {CLASSES + 0, 9, false, 0, 24, "PARAM"},
    {CLASSES + 1, 9, false, 0, 23, "GRAD"},  {CLASSES + 2, 9, false, 0, 22, "SAVED"},
    {CLASSES + 3, 9, false, 0, 21, "VALUE"}, {REQUESTS, 7, false, 'r', 75, "REQ/S"},
    {OPS, 7, false, 'o', 85, "OPS/S"},       {DEVICE, 5, false, 'd', 88, "DEV%"}};
#define COLUMNS_MAX (sizeof session_columns / sizeof *session_columns)

static struct text number_text(uint64_t number)
{
    struct text text;
    snprintf(text.s, sizeof text.s, "%" PRIu64, number);
    return text;
}

/* Some of a row's columns are a session's only; the table of users does not ask for them. */
static struct text cell(const struct row *row, uint8_t id)
{
    const struct blackbox_session *session = row->session;
    struct text text = {""};
    switch (id) {
    case ID:
        return number_text(row->number);
    case PID:
        return number_text(session->pid);
    case USER:
        return row->user;
    case SESSIONS:
        return number_text(row->sessions);
    case PROGRAM:
        snprintf(text.s, sizeof text.s, "%.*s", (int)sizeof text.s - 1, session->program);
        return text;
    case STATE:
        snprintf(text.s, sizeof text.s, "%s", state_name(session->state));
        return text;
    case MEM:
        return bytes_text(row->all_bytes);
    case TENSORS:
        return number_text(session->tensors);
    case REQUESTS:
        return rate_text(row->requests_s);
    case OPS:
        return rate_text(row->ops_s);
    case DEVICE:
        return share_text(row->device);
    case LAT50:
        return span_text(row->latency50_us);
    case LAT99:
        return span_text(row->latency99_us);
    case AGE:
        return age_text(row->age_ns);
    case ON:
        snprintf(text.s, sizeof text.s, "%s", row->on);
        return text;
    default:
        return bytes_text(row->bytes[id - CLASSES]);
    }
}

/* Which columns there is room for, as bits: the worthiest that fit, one by one. */
static uint32_t choose(const struct column *columns, int count, int width)
{
    uint32_t chosen = 0;
    int left = width ? width : INT32_MAX;
    for (;;) {
        int best = -1;
        for (int k = 0; k < count; k++)
            if (!(chosen >> k & 1) && (best < 0 || columns[k].worth > columns[best].worth))
                best = k;
        if (best < 0 || columns[best].width + (chosen != 0) > left)
            return chosen;
        left -= columns[best].width + (chosen != 0);
        chosen |= 1u << best;
    }
}

void row_line(const struct row *row, enum table table, int width, char sort, char *to, size_t size)
{
    const struct column *columns = table == TABLE_USERS ? user_columns : session_columns;
    int count = table == TABLE_USERS      ? (int)(sizeof user_columns / sizeof *user_columns)
                : table == TABLE_SESSIONS ? (int)COLUMNS_MAX - 1 /* the last one is the device */
                                          : (int)COLUMNS_MAX;
    uint32_t chosen = choose(columns, count, width);
    size_t used = 0;
    to[0] = 0;
    for (int k = 0; k < count && used < size; k++) {
        const struct column *c = &columns[k];
        char title[16];
        if (!(chosen >> k & 1))
            continue;
        snprintf(title, sizeof title, "%s%s", c->key && c->key == sort ? ">" : "", c->title); /* sorted by this one */
        struct text text = row ? cell(row, c->id) : (struct text){""};
        used += (size_t)snprintf(to + used, size - used, c->left ? "%s%-*.*s" : "%s%*.*s", used ? " " : "", c->width,
                                 c->width, row ? text.s : title);
    }
}

void rates_json(struct json *json, const struct row *row)
{
    json_real(json, "requests_per_s", row->requests_s);
    json_real(json, "ops_per_s", row->ops_s);
    json_real(json, "device_share", row->device);
    if (!row->session)
        return;
    json_real(json, "latency50_us", row->latency50_us > 0 ? row->latency50_us : NAN);
    json_real(json, "latency99_us", row->latency99_us > 0 ? row->latency99_us : NAN);
}
