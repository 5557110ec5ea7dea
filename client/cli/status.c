/* tensorctl status: the daemon, its workers, devices, memory and sessions, out of the black boxes.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/cli/sample.h"
#include "client/cli/tensorctl.h"
#include "client/cli/text.h"

static void print_session(const struct sample *sample, const struct blackbox_session *s, bool several)
{
    printf("%6" PRIu64 " %8" PRIu32 " %-12.12s %-20.20s %-7s %8" PRIu64 " %10s %12" PRIu64 " %12s%s%s\n", s->number,
           s->pid, user_text(s->uid).s, s->program, state_name(s->state), s->tensors, bytes_text(class_sum(s->bytes)).s,
           s->requests, age_text(since(sample->taken_ns, s->opened_ns)).s, several ? "  " : "",
           several ? sample->device : "");
}

static void print_sessions(const struct samples *samples)
{
    uint64_t more = 0;
    bool several = samples->count > 1;
    printf("\n%6s %8s %-12s %-20s %-7s %8s %10s %12s %12s%s\n", "ID", "PID", "USER", "PROGRAM", "STATE", "TENSORS",
           "MEMORY", "REQUESTS", "AGE", several ? "  DEVICE" : "");
    for (int d = 0; d < samples->count; d++) {
        const struct sample *sample = samples->of[d];
        for (int k = 0; k < sample->session_count; k++)
            print_session(sample, &sample->sessions[k], several);
        more += since(sample->sessions_open, (uint64_t)sample->session_count);
    }
    if (more)
        printf("and %" PRIu64 " more that are not listed\n", more);
}

/* A device, and the worker that serves it. */
static void print_worker(const struct observation *observation, const struct sample *sample)
{
    char line[2 * TD_MESSAGE_BYTES];
    struct memory_lines lines = sample_memory_lines(sample);
    observed_worker_text(observation, sample->newest, line, sizeof line);
    printf("state   %s\n", line);
    observed_restart_text(observation, sample->newest, line, sizeof line);
    if (*line)
        printf("before  %s\n", line);
    if (sample->state == TD_LIFE_ENDED)
        printf("What it held then:\n");
    if (*sample->device) /* else it has not come so far yet */
        printf("device  %s\n%s%s%smemory  %s\n        %s%s\n", lines.device, *lines.gauges ? "        " : "",
               lines.gauges, *lines.gauges ? "\n" : "", lines.memory, lines.classes,
               sample->torn ? " (torn: it ended while it wrote this)" : "");
    printf("work    %" PRIu64 " requests, %" PRIu64 " ops, %" PRIu64 " failed, %" PRIu64
           " backward walks, %s in, %s out\n",
           sample->requests, sample->ops, sample->failed, sample->backwards, bytes_text(sample->bytes_in).s,
           bytes_text(sample->bytes_out).s);
}

static void print_text(const struct observation *observation, const struct samples *samples)
{
    printf("tensord %s (pid %" PRIu64 ") at unix:%s, up %s\n", observation->version, observation->pid,
           observation->address.path, age_text(since(observation->taken_ns, observation->started_ns)).s);
    if (observation->waiting)
        printf("waiting %" PRIu64 " programs that no worker has taken yet\n", observation->waiting);
    for (int d = 0; d < samples->count; d++) {
        if (samples->count > 1)
            putchar('\n');
        print_worker(observation, samples->of[d]);
    }
    print_sessions(samples);
}

static void print_json(const struct observation *observation, const struct samples *samples)
{
    struct json json = {.out = stdout};
    json_open(&json, NULL, '{');
    samples_json(&json, observation, samples);
    json_open(&json, "sessions", '[');
    for (int d = 0; d < samples->count; d++)
        for (int k = 0; k < samples->of[d]->session_count; k++) {
            json_open(&json, NULL, '{');
            session_json(&json, samples->of[d], &samples->of[d]->sessions[k]);
            json_close(&json, '}');
        }
    json_close(&json, ']');
    json_close(&json, '}');
}

int status_command(const struct options *options)
{
    struct td_failure failure = {0};
    struct observation observation;
    struct samples samples;
    if (observe(options->address, &observation, &failure))
        return complain(&failure);
    if (!samples_take(&observation, &samples))
        td_fail(&failure, TD_E_MEMORY, "no memory for the daemon's answer");
    else if (options->json)
        print_json(&observation, &samples);
    else
        print_text(&observation, &samples);
    samples_free(&samples);
    observation_close(&observation);
    return failure.code ? complain(&failure) : fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
