/* Totals for Prometheus, in its text format. SPDX-License-Identifier: Apache-2.0 */
#include "server/web/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* ---- the text ---- */

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP tensord_%s %s\n# TYPE tensord_%s %s\n", name, help, name, type);
}

static void counter(FILE *out, const char *name, const char *help, double value)
{
    head(out, name, "counter", help);
    fprintf(out, "tensord_%s %.17g\n", name, value);
}

static void gauge(FILE *out, const char *name, const char *help, double value)
{
    head(out, name, "gauge", help);
    fprintf(out, "tensord_%s %.17g\n", name, value);
}

static void write_counters(FILE *out, const struct metrics *metrics)
{
    struct counters all;
    const uint64_t *past = (const uint64_t *)&metrics->past, *present = (const uint64_t *)&metrics->present;
    for (size_t k = 0; k < sizeof all / sizeof *past; k++)
        ((uint64_t *)&all)[k] = past[k] + present[k];
    counter(out, "requests_total", "Requests executed.", (double)all.requests);
    counter(out, "ops_executed_total", "Ops executed, those of backward walks included.", (double)all.ops);
    counter(out, "failures_total", "Ops and requests that failed.", (double)all.failed);
    counter(out, "backwards_total", "Backward walks.", (double)all.backwards);
    counter(out, "copied_bytes_total", "Bytes that were moved since somebody still reads what a write replaces.",
            (double)all.copied_bytes);
    counter(out, "carried_bytes_total", "Bytes carried to the host and back for ops that the device has no kernel for.",
            (double)all.carried_bytes);
    counter(out, "received_bytes_total", "Bytes from clients.", (double)all.bytes_in);
    counter(out, "sent_bytes_total", "Bytes to clients.", (double)all.bytes_out);
    counter(out, "busy_seconds_total", "Time that the worker computed.", (double)all.busy_ns / 1e9);
    counter(out, "sessions_opened_total", "Sessions opened.", (double)all.sessions);
    head(out, "ops_total", "counter", "Ops executed, by op.");
    for (int id = 0; id < TD_OP_LIMIT; id++)
        if (all.by_op[id] && td_op_of((uint64_t)id))
            fprintf(out, "tensord_ops_total{op=\"%s\"} %" PRIu64 "\n", td_op_of((uint64_t)id)->name, all.by_op[id]);
    /* Only the upper bounds are known, so there is no honest _sum. */
    head(out, "answer_seconds", "histogram", "From a request's arrival in the worker to its answer's leaving.");
    uint64_t below = 0;
    for (int k = 0; k < BLACKBOX_LATENCIES; k++) {
        below += all.latency[k];
        fprintf(out, "tensord_answer_seconds_bucket{le=\"%.17g\"} %" PRIu64 "\n", (double)(UINT64_C(1) << k) / 1e6,
                below);
    }
    fprintf(out, "tensord_answer_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\ntensord_answer_seconds_count %" PRIu64 "\n",
            below, below);
}

static void write_gauges(FILE *out, const struct td_gauges *gauges)
{
    static const struct {
        const char *name, *meaning;
    } all[] = {
#define TD_GAUGE(NAME, name, meaning) {"device_" #name, meaning},
#include "protocol/gauges.def"
#undef TD_GAUGE
    };
    for (int k = 0; k < TD_GAUGES; k++)
        if (gauges->shown[k] >= 0)
            gauge(out, all[k].name, all[k].meaning, gauges->shown[k]);
}

static void write_memory(FILE *out, const struct blackbox *box)
{
    struct blackbox_memory memory;
    static struct blackbox_user users[BLACKBOX_USERS];
    bool torn;
    uint32_t count = blackbox_memory(box, &memory, users, &torn);
    if (torn)
        return;
    gauge(out, "memory_used_bytes", "Bytes of the device that hold something.", (double)memory.used);
    gauge(out, "memory_reserved_bytes", "Bytes of the device that were taken.", (double)memory.reserved);
    gauge(out, "memory_peak_bytes", "The most bytes used at once in this life.", (double)memory.peak);
    head(out, "memory_class_bytes", "gauge", "Bytes used, by what they are for; together: used.");
    for (int k = 0; k < BLACKBOX_CLASSES; k++)
        fprintf(out, "tensord_memory_class_bytes{class=\"%s\"} %" PRIu64 "\n", blackbox_class_names[k],
                memory.bytes[k]);
    head(out, "memory_user_bytes", "gauge", "Bytes used, by user; together: used.");
    for (uint32_t k = 0; k < count; k++) {
        char uid[16];
        uint64_t bytes = 0;
        for (int c = 0; c < BLACKBOX_CLASSES; c++)
            bytes += users[k].bytes[c];
        snprintf(uid, sizeof uid, "%" PRIu32, users[k].uid);
        fprintf(out, "tensord_memory_user_bytes{uid=\"%s\"} %" PRIu64 "\n",
                users[k].uid == BLACKBOX_OTHERS ? "others" : uid, bytes);
    }
}

char *metrics_text(const struct metrics *metrics, const struct blackbox *box, int viewers, size_t *bytes)
{
    static double started;
    char *text = NULL;
    struct timespec now;
    FILE *out = open_memstream(&text, bytes);
    if (!out)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    started = started ? started : (double)now.tv_sec;
    head(out, "info", "gauge", "The version, always 1.");
    fprintf(out, "tensord_info{version=\"%s\"} 1\n", TD_VERSION);
    gauge(out, "web_viewers", "Dashboards that are open.", viewers);
    const struct blackbox_tables *tables = box->tables;
    bool up = tables && atomic_load_explicit(&tables->state, memory_order_acquire) == BLACKBOX_RUNNING;
    gauge(out, "worker_up", "Whether a worker runs.", up);
    if (tables) {
        gauge(out, "worker_life", "Number of the worker's life.", (double)tables->life);
        gauge(out, "worker_start_time_seconds", "When this life began.", (double)tables->started_unix_ns / 1e9);
        gauge(out, "memory_limit_bytes", "Bytes of the device that may be used.", (double)tables->limit_bytes);
        gauge(out, "sessions", "Sessions that are open.", (double)tables->sessions_open);
        write_memory(out, box);
        if (up && tables->has_gauges)
            write_gauges(out, &tables->gauges);
    }
    write_counters(out, metrics);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
