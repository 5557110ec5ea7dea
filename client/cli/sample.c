/* One moment of a black box. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/text.h"

static int by_number(const void *a, const void *b)
{
    const struct blackbox_session *one = a, *other = b;
    return (one->number > other->number) - (one->number < other->number);
}

static void take_sessions(struct sample *sample, const struct blackbox *box)
{
    for (uint32_t place = 0; place < BLACKBOX_SESSIONS; place++) {
        struct blackbox_session *session = &sample->sessions[sample->session_count];
        if (!blackbox_session(box, place, session) || session->closed_ns)
            continue;
        char program[TD_NAME_BYTES];
        memcpy(program, session->program, sizeof program);
        text_plain(session->program, sizeof session->program, program, sizeof program);
        sample->session_count++;
    }
    qsort(sample->sessions, (size_t)sample->session_count, sizeof *sample->sessions, by_number);
}

struct sample *sample_take(const struct observation *observation, const struct observed_life *life)
{
    const struct blackbox_tables *tables = life->box.tables;
    struct sample *sample = calloc(1, sizeof *sample);
    if (!sample)
        return NULL;
    sample->taken_ns = since(observation->taken_ns, observed_end_ns(observation, life));
    sample->newest = observed_newest(observation, life);
    sample->life = life->number;
    sample->state = life->state;
    sample->started_ns = tables->started_ns;
    sample->pid = tables->pid;
    text_plain(sample->device, sizeof sample->device, tables->device, sizeof tables->device);
    text_plain(sample->description, sizeof sample->description, tables->description, sizeof tables->description);
    sample->limit_bytes = tables->limit_bytes;
    sample->requests = tables->requests;
    sample->ops = tables->ops;
    sample->failed = tables->failed;
    sample->backwards = tables->backwards;
    sample->copied_bytes = tables->copied_bytes;
    sample->carried_bytes = tables->carried_bytes;
    sample->bytes_in = tables->bytes_in;
    sample->bytes_out = tables->bytes_out;
    sample->busy_ns = tables->busy_ns;
    sample->sessions_opened = tables->sessions_opened;
    sample->sessions_open = tables->sessions_open;
    sample->has_gauges = tables->has_gauges && life->state == TD_LIFE_RUNNING;
    sample->gauges = tables->gauges;
    sample->user_count = blackbox_memory(&life->box, &sample->memory, sample->users, &sample->torn);
    take_sessions(sample, &life->box);
    return sample;
}

bool samples_take(const struct observation *observation, struct samples *samples)
{
    samples->count = 0;
    for (int k = observed_next(observation, -1); k >= 0 && samples->count < TD_DEVICES_MAX;
         k = observed_next(observation, k)) {
        struct sample *sample = sample_take(observation, &observation->lives[k]);
        if (!sample)
            return false;
        samples->of[samples->count++] = sample;
    }
    return true;
}

void samples_free(struct samples *samples)
{
    while (samples->count > 0)
        free(samples->of[--samples->count]);
}

uint64_t class_sum(const uint64_t bytes[BLACKBOX_CLASSES])
{
    uint64_t sum = 0;
    for (int k = 0; k < BLACKBOX_CLASSES; k++)
        sum += bytes[k];
    return sum;
}

const char *state_name(uint32_t state)
{
    static const char *const names[] = {"idle", "busy", "device", "closing"};
    return state < sizeof names / sizeof *names ? names[state] : "?";
}

/* What the device's instruments show, and nothing of those that it does not have. */
static void gauges_line(const struct sample *sample, char *line, size_t size)
{
    static const struct {
        const char *format;
        double unit;
    } parts[TD_GAUGES] = {
        [TD_GAUGE_POWER] = {"%.0f W", 1},
        [TD_GAUGE_POWER_LIMIT] = {"limit %.0f W", 1},
        [TD_GAUGE_TEMPERATURE] = {"%.0f C", 1},
        [TD_GAUGE_CLOCK] = {"clock %.0f MHz", 1e6},
        [TD_GAUGE_MEMORY_CLOCK] = {"memory's %.0f MHz", 1e6},
        [TD_GAUGE_BUSY] = {"%.0f %% busy", 0.01},
        [TD_GAUGE_USED] = {"%.1f GiB held by all", 1 << 30},
    };
    *line = 0;
    for (int k = 0; k < TD_GAUGES && sample->has_gauges; k++) {
        double shown = sample->gauges.shown[k];
        size_t used = strlen(line);
        if (!(shown >= 0 && shown < 1e15)) /* not there, or what nobody has measured */
            continue;
        snprintf(line + used, size - used, "%s", used ? ", " : "");
        used = strlen(line);
        snprintf(line + used, size - used, parts[k].format, shown / parts[k].unit);
    }
}

struct memory_lines sample_memory_lines(const struct sample *sample)
{
    const struct blackbox_memory *memory = &sample->memory;
    struct memory_lines lines;
    snprintf(lines.device, sizeof lines.device, "%s%s%s", sample->device, *sample->description ? ", " : "",
             sample->description);
    gauges_line(sample, lines.gauges, sizeof lines.gauges);
    int used = snprintf(lines.memory, sizeof lines.memory, "%s used, %s reserved of %s allowed; peak %s",
                        bytes_text(memory->used).s, bytes_text(memory->reserved).s, bytes_text(sample->limit_bytes).s,
                        bytes_text(memory->peak).s);
    if (memory->peak_ns)
        snprintf(lines.memory + used, sizeof lines.memory - (size_t)used, " %s ago",
                 age_text(since(sample->taken_ns, memory->peak_ns)).s);
    used = (int)strlen(lines.memory);
    if (sample->carried_bytes)
        snprintf(lines.memory + used, sizeof lines.memory - (size_t)used, "; %s carried to the host and back",
                 bytes_text(sample->carried_bytes).s);
    used = 0;
    for (int k = 0; k < BLACKBOX_CLASSES; k++)
        used += snprintf(lines.classes + used, sizeof lines.classes - (size_t)used, "%s%s %s", k ? ", " : "",
                         blackbox_class_names[k], bytes_text(memory->bytes[k]).s);
    return lines;
}

/* ---- JSON ---- */

void classes_json(struct json *json, const uint64_t bytes[BLACKBOX_CLASSES])
{
    for (int k = 0; k < BLACKBOX_CLASSES; k++) {
        char key[32];
        snprintf(key, sizeof key, "%s_bytes", blackbox_class_names[k]);
        json_uint(json, key, bytes[k]);
    }
}

static void gauges_json(struct json *json, const struct sample *sample)
{
    static const char *const names[] = {
#define TD_GAUGE(NAME, name, meaning) #name,
#include "protocol/gauges.def"
#undef TD_GAUGE
    };
    if (!sample->has_gauges) {
        json_null(json, "gauges");
        return;
    }
    json_open(json, "gauges", '{');
    for (int k = 0; k < TD_GAUGES; k++)
        json_real(json, names[k], sample->gauges.shown[k] >= 0 ? sample->gauges.shown[k] : NAN);
    json_close(json, '}');
}

static void device_json(struct json *json, const struct sample *sample)
{
    const struct blackbox_memory *memory = &sample->memory;
    json_open(json, "device", '{');
    json_text(json, "name", sample->device);
    json_text(json, "description", sample->description);
    json_uint(json, "limit_bytes", sample->limit_bytes);
    json_uint(json, "pool_bytes", memory->reserved);
    json_uint(json, "used_bytes", memory->used);
    classes_json(json, memory->bytes);
    json_uint(json, "peak_bytes", memory->peak);
    if (memory->peak_ns)
        json_uint(json, "peak_age_s", since(sample->taken_ns, memory->peak_ns) / 1000000000);
    else
        json_null(json, "peak_age_s");
    json_uint(json, "copied_bytes", sample->copied_bytes);
    json_uint(json, "carried_bytes", sample->carried_bytes);
    gauges_json(json, sample);
    json_close(json, '}');
}

void daemon_json(struct json *json, const struct observation *observation)
{
    json_text(json, "version", observation->version);
    json_uint(json, "protocol", TD_PROTOCOL_MAX);
    json_uint(json, "daemon_pid", observation->pid);
    json_uint(json, "daemon_uptime_s", since(observation->taken_ns, observation->started_ns) / 1000000000);
    json_uint(json, "waiting", observation->waiting);
}

void sample_json(struct json *json, const struct observation *observation, const struct sample *sample)
{
    static const char *const states[] = {"starting", "running", "ended"};
    const struct observed_life *dead = observed_dead(observation, sample->newest);
    json_uint(json, "life", sample->life);
    json_uint(json, "pid", sample->pid);
    json_text(json, "state", states[sample->state]);
    json_uint(json, "uptime_s", since(sample->taken_ns, sample->started_ns) / 1000000000);
    json_real(json, "step_s", (double)observed_step_ns(observation, sample->newest) / 1e9);
    json_text(json, "last_cause", dead ? dead->cause : "");
    if (dead)
        json_uint(json, "last_cause_age_s", observed_end_ns(observation, dead) / 1000000000);
    else
        json_null(json, "last_cause_age_s");
    device_json(json, sample);
    json_open(json, "totals", '{');
    json_uint(json, "requests", sample->requests);
    json_uint(json, "ops", sample->ops);
    json_uint(json, "failed", sample->failed);
    json_uint(json, "backwards", sample->backwards);
    json_uint(json, "bytes_in", sample->bytes_in);
    json_uint(json, "bytes_out", sample->bytes_out);
    json_uint(json, "sessions_opened", sample->sessions_opened);
    json_uint(json, "sessions_open", sample->sessions_open);
    json_close(json, '}');
}

void samples_json(struct json *json, const struct observation *observation, const struct samples *samples)
{
    daemon_json(json, observation);
    sample_json(json, observation, samples->of[0]);
    json_open(json, "workers", '[');
    for (int k = 0; k < samples->count; k++) {
        json_open(json, NULL, '{');
        sample_json(json, observation, samples->of[k]);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void session_json(struct json *json, const struct sample *sample, const struct blackbox_session *session)
{
    json_uint(json, "id", session->number);
    json_uint(json, "pid", session->pid);
    json_uint(json, "uid", session->uid);
    json_text(json, "user", user_text(session->uid).s);
    json_text(json, "program", session->program);
    json_text(json, "state", state_name(session->state));
    json_text(json, "device", sample->device);
    json_uint(json, "tensors", session->tensors);
    json_uint(json, "bytes", class_sum(session->bytes));
    classes_json(json, session->bytes);
    json_uint(json, "copied_bytes", session->copied_bytes);
    json_uint(json, "requests", session->requests);
    json_uint(json, "ops", session->ops);
    json_uint(json, "failed", session->failed);
    json_real(json, "device_s", (double)session->device_ns / 1e9);
    json_uint(json, "age_s", since(sample->taken_ns, session->opened_ns) / 1000000000);
}
