/* Totals for Prometheus, in its text format. SPDX-License-Identifier: Apache-2.0 */
#include "server/web/metrics.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/message.h"
#include "server/config.h"

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Sessions come and go, and their histograms with them: what is new in each is added to one that stays. */
static void take_latencies(struct metrics *metrics, const struct blackbox *box)
{
    struct blackbox_session session;
    for (uint32_t place = 0; place < BLACKBOX_SESSIONS; place++) {
        if (!box->tables->sessions[place].number || !blackbox_session(box, place, &session))
            continue;
        uint32_t *seen = metrics->seen[place].latency;
        if (metrics->seen[place].number != session.number)
            memset(seen, 0, sizeof metrics->seen[place].latency);
        metrics->seen[place].number = session.number;
        for (int k = 0; k < BLACKBOX_LATENCIES; k++)
            if (session.latency[k] > seen[k]) {
                metrics->present.latency[k] += session.latency[k] - seen[k];
                seen[k] = session.latency[k];
            }
    }
}

void metrics_take(struct metrics *metrics, const struct blackbox *box)
{
    const struct blackbox_tables *t = box->tables;
    struct counters *p = &metrics->present;
    const uint64_t now[] = {t->requests,      t->ops,      t->failed,    t->backwards, t->copied_bytes,
                            t->carried_bytes, t->bytes_in, t->bytes_out, t->busy_ns,   t->sessions_opened};
    uint64_t *kept[] = {&p->requests,      &p->ops,      &p->failed,    &p->backwards, &p->copied_bytes,
                        &p->carried_bytes, &p->bytes_in, &p->bytes_out, &p->busy_ns,   &p->sessions};
    for (size_t k = 0; k < sizeof now / sizeof *now; k++)
        *kept[k] = larger(*kept[k], now[k]);
    for (int id = 0; id < TD_OP_LIMIT; id++)
        p->by_op[id] = larger(p->by_op[id], t->op_count[id]);
    take_latencies(metrics, box);
}

void metrics_end_life(struct metrics *metrics)
{
    uint64_t *past = (uint64_t *)&metrics->past, *present = (uint64_t *)&metrics->present;
    for (size_t k = 0; k < sizeof metrics->past / sizeof *past; k++)
        past[k] += present[k];
    memset(&metrics->present, 0, sizeof metrics->present);
    memset(metrics->seen, 0, sizeof metrics->seen);
}

/* ---- the text: by name, and under each name by device ---- */

struct text {
    FILE *out;
    const struct metered *devices;
    int count;
    struct counters sums[TD_DEVICES_MAX]; /* of all lives */
};

static void head(const struct text *text, const char *name, const char *type, const char *help)
{
    fprintf(text->out, "# HELP tensord_%s %s\n# TYPE tensord_%s %s\n", name, help, name, type);
}

/* A sample of device d with one label more, if there is one: "class=\"param\"". */
static void put(const struct text *text, int d, const char *name, const char *label, double value)
{
    fprintf(text->out, "tensord_%s{device=\"%s\"%s%s} %.17g\n", name, text->devices[d].name, *label ? "," : "", label,
            value);
}

static const struct blackbox_tables *tables_of(const struct text *text, int d)
{
    return text->devices[d].box->tables;
}

static bool is_up(const struct blackbox_tables *tables)
{
    return tables && atomic_load_explicit(&tables->state, memory_order_acquire) == BLACKBOX_RUNNING;
}

static void write_counters(const struct text *text)
{
#define COUNTER(member, unit, name, help)                                        \
    {                                                                            \
        name, help, offsetof(struct counters, member) / sizeof(uint64_t), (unit) \
    }
    static const struct {
        const char *name, *help;
        size_t index;
        double unit;
    } all[] = {
        COUNTER(requests, 1, "requests_total", "Requests executed."),
        COUNTER(ops, 1, "ops_executed_total", "Ops executed, those of backward walks included."),
        COUNTER(failed, 1, "failures_total", "Ops and requests that failed."),
        COUNTER(backwards, 1, "backwards_total", "Backward walks."),
        COUNTER(copied_bytes, 1, "copied_bytes_total",
                "Bytes that were moved since somebody still reads what a write replaces."),
        COUNTER(carried_bytes, 1, "carried_bytes_total",
                "Bytes carried to the host and back for ops that the device has no kernel for."),
        COUNTER(bytes_in, 1, "received_bytes_total", "Bytes from clients."),
        COUNTER(bytes_out, 1, "sent_bytes_total", "Bytes to clients."),
        COUNTER(busy_ns, 1e9, "busy_seconds_total", "Time that the worker computed."),
        COUNTER(sessions, 1, "sessions_opened_total", "Sessions opened."),
    };
#undef COUNTER
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        head(text, all[k].name, "counter", all[k].help);
        for (int d = 0; d < text->count; d++)
            put(text, d, all[k].name, "", (double)((const uint64_t *)&text->sums[d])[all[k].index] / all[k].unit);
    }
}

static void write_ops(const struct text *text)
{
    char label[64];
    head(text, "ops_total", "counter", "Ops executed, by op.");
    for (int d = 0; d < text->count; d++)
        for (int id = 0; id < TD_OP_LIMIT; id++)
            if (text->sums[d].by_op[id] && td_op_of((uint64_t)id)) {
                snprintf(label, sizeof label, "op=\"%s\"", td_op_of((uint64_t)id)->name);
                put(text, d, "ops_total", label, (double)text->sums[d].by_op[id]);
            }
}

/* Only the upper bounds are known, so there is no honest _sum. */
static void write_answers(const struct text *text)
{
    char label[64];
    head(text, "answer_seconds", "histogram", "From a request's arrival in the worker to its answer's leaving.");
    for (int d = 0; d < text->count; d++) {
        uint64_t below = 0;
        for (int k = 0; k < BLACKBOX_LATENCIES; k++) {
            below += text->sums[d].latency[k];
            snprintf(label, sizeof label, "le=\"%.17g\"", (double)(UINT64_C(1) << k) / 1e6);
            put(text, d, "answer_seconds_bucket", label, (double)below);
        }
        put(text, d, "answer_seconds_bucket", "le=\"+Inf\"", (double)below);
        put(text, d, "answer_seconds_count", "", (double)below);
    }
}

/* What a device does not tell has no sample, and what none tells no head. */
static void write_gauges(const struct text *text)
{
    static const struct {
        const char *name, *meaning;
    } all[] = {
#define TD_GAUGE(NAME, name, meaning) {"device_" #name, meaning},
#include "protocol/gauges.def"
#undef TD_GAUGE
    };
    for (int k = 0; k < TD_GAUGES; k++) {
        bool told = false;
        for (int d = 0; d < text->count; d++) {
            const struct blackbox_tables *tables = tables_of(text, d);
            double shown = is_up(tables) && tables->has_gauges ? tables->gauges.shown[k] : -1;
            if (!(shown >= 0))
                continue;
            if (!told)
                head(text, all[k].name, "gauge", all[k].meaning);
            told = true;
            put(text, d, all[k].name, "", shown);
        }
    }
}

static void write_worker(const struct text *text)
{
    static const struct {
        const char *name, *help;
    } all[] = {{"worker_up", "Whether a worker runs."},
               {"worker_life", "Number of the worker's life."},
               {"worker_start_time_seconds", "When this life began."},
               {"memory_limit_bytes", "Bytes of the device that may be used."},
               {"sessions", "Sessions that are open."}};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        head(text, all[k].name, "gauge", all[k].help);
        for (int d = 0; d < text->count; d++) {
            const struct blackbox_tables *t = tables_of(text, d);
            const double values[] = {is_up(t), t ? (double)t->life : 0, t ? (double)t->started_unix_ns / 1e9 : 0,
                                     t ? (double)t->limit_bytes : 0, t ? (double)t->sessions_open : 0};
            if (t || k == 0)
                put(text, d, all[k].name, "", values[k]);
        }
    }
}

/* Memory of a device as it was at one moment. */
struct held {
    struct blackbox_memory memory;
    struct blackbox_user users[BLACKBOX_USERS];
    uint32_t count;
    bool known;
};

static void write_users(const struct text *text, const struct held *held)
{
    char label[64];
    head(text, "memory_user_bytes", "gauge", "Bytes used, by user; together: used.");
    for (int d = 0; d < text->count; d++)
        for (uint32_t k = 0; k < held[d].count && held[d].known; k++) {
            const struct blackbox_user *user = &held[d].users[k];
            uint64_t bytes = 0;
            for (int c = 0; c < BLACKBOX_CLASSES; c++)
                bytes += user->bytes[c];
            snprintf(label, sizeof label, user->uid == BLACKBOX_OTHERS ? "uid=\"others\"" : "uid=\"%" PRIu32 "\"",
                     user->uid);
            put(text, d, "memory_user_bytes", label, (double)bytes);
        }
}

static void write_memory(const struct text *text)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } all[] = {
        {"memory_used_bytes", "Bytes of the device that hold something.", offsetof(struct blackbox_memory, used)},
        {"memory_reserved_bytes", "Bytes of the device that were taken.", offsetof(struct blackbox_memory, reserved)},
        {"memory_peak_bytes", "The most bytes used at once in this life.", offsetof(struct blackbox_memory, peak)}};
    static struct held held[TD_DEVICES_MAX];
    char label[64];
    for (int d = 0; d < text->count; d++) {
        bool torn = !tables_of(text, d);
        if (!torn)
            held[d].count = blackbox_memory(text->devices[d].box, &held[d].memory, held[d].users, &torn);
        held[d].known = !torn;
    }
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        head(text, all[k].name, "gauge", all[k].help);
        for (int d = 0; d < text->count; d++)
            if (held[d].known)
                put(text, d, all[k].name, "",
                    (double)*(const uint64_t *)((const char *)&held[d].memory + all[k].offset));
    }
    head(text, "memory_class_bytes", "gauge", "Bytes used, by what they are for; together: used.");
    for (int d = 0; d < text->count; d++)
        for (int c = 0; c < BLACKBOX_CLASSES && held[d].known; c++) {
            snprintf(label, sizeof label, "class=\"%s\"", blackbox_class_names[c]);
            put(text, d, "memory_class_bytes", label, (double)held[d].memory.bytes[c]);
        }
    write_users(text, held);
}

static void sum_lives(struct text *text)
{
    for (int d = 0; d < text->count; d++) {
        const struct metrics *metrics = text->devices[d].metrics;
        const uint64_t *past = (const uint64_t *)&metrics->past, *present = (const uint64_t *)&metrics->present;
        for (size_t k = 0; k < sizeof *text->sums / sizeof *past; k++)
            ((uint64_t *)&text->sums[d])[k] = past[k] + present[k];
    }
}

char *metrics_text(const struct metered *devices, int count, int viewers, size_t *bytes)
{
    static struct text text;
    char *written = NULL;
    text.out = open_memstream(&written, bytes);
    if (!text.out)
        return NULL;
    text.devices = devices;
    text.count = count;
    sum_lives(&text);
    head(&text, "info", "gauge", "The version, always 1.");
    fprintf(text.out, "tensord_info{version=\"%s\"} 1\n", TD_VERSION);
    head(&text, "web_viewers", "gauge", "Dashboards that are open.");
    fprintf(text.out, "tensord_web_viewers %d\n", viewers);
    write_worker(&text);
    write_memory(&text);
    write_gauges(&text);
    write_counters(&text);
    write_ops(&text);
    write_answers(&text);
    if (fclose(text.out)) {
        free(written);
        return NULL;
    }
    return written;
}
