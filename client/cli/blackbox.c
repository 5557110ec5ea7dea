/* tensorctl blackbox: how a worker ended, and what it was in the middle of. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/blackbox.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/record.h"
#include "client/cli/sample.h"
#include "client/cli/text.h"

/* Requests of each session that are shown if no session was asked for. */
#define REQUESTS_SHOWN 5

struct view {
    const struct observation *observation;
    const struct observed_life *life;
    const struct options *options;
    uint64_t end_ns; /* ages are told before this: the life's end, or now */
    uint64_t lost_bytes;
};

static struct view view_of(const struct observation *observation, const struct observed_life *life,
                           const struct options *options)
{
    uint64_t end_ns = since(observation->taken_ns, observed_end_ns(observation, life));
    return (struct view){observation, life, options, end_ns, 0};
}

static const char *age_word(const struct view *view)
{
    return view->life->state == TD_LIFE_ENDED ? "before the end" : "ago";
}

/* ---- sessions and their last requests ---- */

/* A worker that ends in the middle of a turn has not published that its session was at work, but begun a request. */
static bool is_shown(const struct view *view, uint32_t place, const struct blackbox_session *session)
{
    struct blackbox_request last[BLACKBOX_LAST];
    if (view->options->session)
        return session->number == view->options->session;
    if (session->closed_ns || session->state != BLACKBOX_IDLE)
        return !session->closed_ns;
    int count = blackbox_last(&view->life->box, place, last);
    return count && last[count - 1].outcome == BLACKBOX_STARTED;
}

/* The last requests of a place that options want, oldest first. */
static int requests_of(const struct view *view, uint32_t place, struct blackbox_request to[BLACKBOX_LAST])
{
    int count = blackbox_last(&view->life->box, place, to), kept = 0;
    for (int k = 0; k < count; k++)
        if (!view->options->errors || to[k].outcome == BLACKBOX_FAILED)
            to[kept++] = to[k];
    int most = view->options->session ? BLACKBOX_LAST : REQUESTS_SHOWN;
    if (kept > most)
        memmove(to, to + kept - most, (size_t)most * sizeof *to);
    return kept < most ? kept : most;
}

/* The box has the low bits of microseconds, which come round after 71 minutes: an older one seems younger. */
static uint32_t request_age_us(const struct view *view, const struct blackbox_request *request)
{
    uint32_t end_us = (uint32_t)(since(view->end_ns, view->life->box.tables->started_ns) / 1000);
    int32_t age_us = (int32_t)(end_us - request->time_us);
    return age_us < 0 && age_us > -1000000 ? 0 : (uint32_t)age_us; /* a turn ended after our look at the clock */
}

static const char *site_of(const struct view *view, const struct blackbox_request *request, char to[TD_SITE_BYTES])
{
    char given[TD_SITE_BYTES];
    return text_clean(to, TD_SITE_BYTES, blackbox_string(&view->life->box, request->site, given, sizeof given),
                      sizeof given);
}

static void print_session(FILE *out, const struct view *view, uint32_t place, const struct blackbox_session *session)
{
    struct blackbox_request requests[BLACKBOX_LAST];
    char program[TD_NAME_BYTES], site[TD_SITE_BYTES];
    text_plain(program, sizeof program, session->program, sizeof session->program);
    fprintf(out, "\nsession %" PRIu64 ", %s (pid %" PRIu32 ") of %s: %s, %" PRIu64 " tensors, %s\n", session->number,
            program, session->pid, user_text(session->uid).s,
            session->closed_ns ? "closed" : state_name(session->state), session->tensors,
            bytes_text(class_sum(session->bytes)).s);
    int count = requests_of(view, place, requests);
    for (int k = 0; k < count; k++)
        fprintf(out, "  #%-10" PRIu32 " %-16s %-8s %10s %s  %s\n", requests[k].request, request_name(requests[k].id),
                outcome_name(requests[k].outcome), span_text(request_age_us(view, &requests[k])).s, age_word(view),
                site_of(view, &requests[k], site));
}

static void session_and_requests_json(struct json *json, const struct view *view, const struct sample *sample,
                                      uint32_t place, const struct blackbox_session *session)
{
    struct blackbox_request requests[BLACKBOX_LAST];
    char site[TD_SITE_BYTES];
    int count = requests_of(view, place, requests);
    json_open(json, NULL, '{');
    session_json(json, sample, session);
    json_open(json, "last_requests", '[');
    for (int k = 0; k < count; k++) {
        json_open(json, NULL, '{');
        json_uint(json, "request", requests[k].request);
        json_text(json, "name", request_name(requests[k].id));
        json_text(json, "outcome", outcome_name(requests[k].outcome));
        json_uint(json, "age_us", request_age_us(view, &requests[k]));
        json_text(json, "site", site_of(view, &requests[k], site));
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}

/* ---- the ring's tail ---- */

typedef void record_use(void *data, const struct view *view, const union blackbox_copy *copy);

static bool is_wanted(const struct options *options, const union blackbox_copy *copy)
{
    return (!options->session || record_session(copy) == (uint32_t)options->session) &&
           (!options->errors || record_is_error(copy));
}

/* Gives the wanted records from the first on to use, up to where the stream ended at the first look; their number. */
static uint64_t each_record(struct view *view, uint64_t first, record_use *use, void *data)
{
    const struct blackbox *box = &view->life->box;
    struct blackbox_cursor cursor, end;
    union blackbox_copy copy;
    uint64_t count = 0;
    blackbox_rewind(box, &cursor);
    blackbox_forward(box, &end);
    while (cursor.position < end.position && blackbox_next(box, &cursor, &copy))
        if (is_wanted(view->options, &copy) && count++ >= first && use)
            use(data, view, &copy);
    view->lost_bytes = cursor.lost_bytes;
    return count;
}

/* Two ways through the ring, so that nothing needs to be kept: the first one counts. */
static void tail(struct view *view, record_use *use, void *data)
{
    uint64_t count = each_record(view, UINT64_MAX, NULL, NULL), last = view->options->last;
    each_record(view, count > last ? count - last : 0, use, data);
}

static void print_record(void *data, const struct view *view, const union blackbox_copy *copy)
{
    fprintf(data, "%10s  %5" PRIu32 "  ", span_text((double)since(view->end_ns, copy->record.time_ns) / 1e3).s,
            record_session(copy));
    record_print(data, &view->life->box, copy);
}

static void one_record_json(void *data, const struct view *view, const union blackbox_copy *copy)
{
    json_open(data, NULL, '{');
    json_real(data, "age_us", (double)since(view->end_ns, copy->record.time_ns) / 1e3);
    record_json(data, &view->life->box, copy);
    json_close(data, '}');
}

/* ---- the whole ---- */

/* When the life ended by the wall clock, as the box has both clocks of its start. */
static uint64_t end_unix_ns(const struct view *view)
{
    const struct blackbox_tables *tables = view->life->box.tables;
    return tables->started_unix_ns + since(view->end_ns, tables->started_ns);
}

static void print_head(FILE *out, const struct view *view, const struct sample *sample)
{
    struct memory_lines lines = sample_memory_lines(sample);
    if (view->life->state == TD_LIFE_ENDED) {
        fprintf(out, "%s\n", *view->life->cause ? view->life->cause : "the worker ended");
        fprintf(out, "at %s, %s ago, after %s\n", time_text(end_unix_ns(view)).s,
                age_text(since(view->observation->taken_ns, view->end_ns)).s,
                age_text(since(view->end_ns, sample->started_ns)).s);
    } else {
        char line[2 * TD_MESSAGE_BYTES];
        observed_worker_text(view->observation, sample->newest, line, sizeof line);
        fprintf(out, "%s\n", line);
    }
    fprintf(out, "memory  %s\n        %s%s\n", lines.memory, lines.classes,
            sample->torn ? " (torn: it ended while it wrote this)" : "");
    fprintf(out, "%" PRIu64 " requests, %" PRIu64 " ops, %" PRIu64 " failed, %" PRIu64 " sessions open\n",
            sample->requests, sample->ops, sample->failed, sample->sessions_open);
}

static void print_lost(FILE *out, const struct view *view)
{
    uint32_t refused = view->life->box.trace->strings_refused;
    /* What is overwritten half, at the ring's start, is no loss. */
    if (view->lost_bytes > BLACKBOX_RECORD_MAX)
        fprintf(out, "%s of the records could not be read\n", bytes_text(view->lost_bytes).s);
    if (refused)
        fprintf(out, "%" PRIu32 " call sites found no room\n", refused);
}

static void print_text(FILE *out, struct view *view, const struct sample *sample)
{
    struct blackbox_session session;
    int shown = 0;
    print_head(out, view, sample);
    for (uint32_t place = 0; place < BLACKBOX_SESSIONS; place++)
        if (blackbox_session(&view->life->box, place, &session) && is_shown(view, place, &session) && ++shown)
            print_session(out, view, place, &session);
    if (!shown && view->options->session)
        fprintf(out, "\nno session %" PRIu64 " is known of this life\n", view->options->session);
    else if (!shown)
        fputs("\nall sessions were idle\n", out);
    if (!view->life->has_trace) {
        fputs("\nOps, errors and call sites are shown to the daemon's own user and to root: try \"sudo tensorctl "
              "blackbox\".\n",
              out);
        return;
    }
    fprintf(out, "\n%10s  %5s  the last records, %s\n", "AGE", "ID", age_word(view));
    tail(view, print_record, out);
    print_lost(out, view);
}

static void print_json(FILE *out, struct view *view, const struct sample *sample)
{
    struct json json = {.out = out};
    struct blackbox_session session;
    json_open(&json, NULL, '{');
    daemon_json(&json, view->observation);
    sample_json(&json, view->observation, sample);
    json_text(&json, "cause", view->life->cause);
    if (view->life->state == TD_LIFE_ENDED)
        json_uint(&json, "ended_unix_s", end_unix_ns(view) / 1000000000);
    else
        json_null(&json, "ended_unix_s");
    json_bool(&json, "trace", view->life->has_trace);
    json_open(&json, "sessions", '[');
    for (uint32_t place = 0; place < BLACKBOX_SESSIONS; place++)
        if (blackbox_session(&view->life->box, place, &session) && is_shown(view, place, &session))
            session_and_requests_json(&json, view, sample, place, &session);
    json_close(&json, ']');
    json_open(&json, "records", '[');
    tail(view, one_record_json, &json);
    json_close(&json, ']');
    json_uint(&json, "lost_bytes", view->lost_bytes);
    json_close(&json, '}');
}

void blackbox_print(FILE *out, const struct observation *observation, const struct observed_life *life,
                    const struct options *options)
{
    struct view view = view_of(observation, life, options);
    struct sample *sample = sample_take(observation, life);
    if (sample && options->json)
        print_json(out, &view, sample);
    else if (sample)
        print_text(out, &view, sample);
    free(sample);
}

/* The one that ended last, of whatever device; or else the first device's, which is alive. */
static const struct observed_life *last_dead(const struct observation *observation)
{
    const struct observed_life *last = NULL;
    for (int k = 0; k < observation->count; k++) {
        const struct observed_life *life = &observation->lives[k];
        if (life->state == TD_LIFE_ENDED &&
            (!last || observed_end_ns(observation, life) < observed_end_ns(observation, last)))
            last = life;
    }
    return last ? last : &observation->lives[0];
}

static const struct observed_life *choose(const struct observation *observation, uint64_t number,
                                          struct td_failure *failure)
{
    char kept[256] = "";
    size_t used = 0;
    if (!number)
        return last_dead(observation);
    for (int k = 0; k < observation->count; k++) {
        if (observation->lives[k].number == number)
            return &observation->lives[k];
        used += (size_t)snprintf(kept + used, sizeof kept - used, "%s%" PRIu64, k ? ", " : "",
                                 observation->lives[k].number);
        used = used < sizeof kept ? used : sizeof kept - 1;
    }
    td_fail(failure, TD_E_ARGUMENT, "no black box of life %" PRIu64 " is kept; there are those of %s", number, kept);
    return NULL;
}

int blackbox_command(const struct options *options)
{
    struct td_failure failure = {0};
    struct observation observation;
    if (observe(options->address, &observation, &failure))
        return complain(&failure);
    const struct observed_life *life = choose(&observation, options->life, &failure);
    if (life)
        blackbox_print(stdout, &observation, life, options);
    observation_close(&observation);
    return failure.code ? complain(&failure) : fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
