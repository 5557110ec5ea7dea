/* tensorctl top: who uses the device, measured again and again. Each look is a question of its own to the supervisor,
 * so a worker that dies is followed to the next, and a daemon that goes to its successor.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/measure.h"
#include "client/cli/tensorctl.h"
#include "client/cli/terminal.h"

/* The first look is followed by the second soon, so that there are rates to be seen. */
#define FIRST_NS UINT64_C(300000000)
/* For how long the end of the life before is told. */
#define RESTART_TOLD_NS (60 * UINT64_C(1000000000))
#define BAR_WIDTH 40
#define LINE_BYTES 1024

struct top {
    const struct options *options;
    bool users, reverse, paused, help;
    char sort;
    /* the last look, by device; there is none if it failed, which failure tells then */
    struct observation observation;
    struct samples before, now;
    struct measure *measures[TD_DEVICES_MAX];
    struct td_failure failure;
};

/* ---- looking ---- */

/* The sample of the same life; NULL: there was none. */
static const struct sample *before_of(const struct top *top, const struct sample *now)
{
    for (int d = 0; d < top->before.count; d++)
        if (top->before.of[d]->life == now->life)
            return top->before.of[d];
    return NULL;
}

static void forget_measures(struct top *top)
{
    for (int d = 0; d < top->now.count; d++) {
        free(top->measures[d]);
        top->measures[d] = NULL;
    }
}

static void look(struct top *top)
{
    observation_close(&top->observation);
    forget_measures(top);
    samples_free(&top->before);
    top->before = top->now;
    top->now = (struct samples){0};
    top->failure = (struct td_failure){0};
    if (observe(top->options->address, &top->observation, &top->failure))
        return;
    bool taken = samples_take(&top->observation, &top->now);
    for (int d = 0; d < top->now.count && taken; d++) {
        top->measures[d] = measure_take(before_of(top, top->now.of[d]), top->now.of[d]);
        taken = top->measures[d];
    }
    if (!taken)
        td_fail(&top->failure, TD_E_MEMORY, "no memory for a measure");
}

static void let_go(struct top *top)
{
    observation_close(&top->observation);
    forget_measures(top);
    samples_free(&top->before);
    samples_free(&top->now);
}

/* ---- drawing ---- */

enum style { PLAIN, HEAD, WARNING, ACTIVE };

struct page {
    FILE *out;
    int lines, columns; /* room; 0: as much as is wanted */
    int used;
    bool live, colour;
};

__attribute__((format(printf, 3, 4))) static void put(struct page *page, enum style style, const char *format, ...)
{
    static const char *const codes[] = {"", "\x1b[7m", "\x1b[31m", "\x1b[1m"};
    char line[LINE_BYTES];
    va_list arguments;
    if (page->lines && page->used >= page->lines)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (page->columns && (int)strlen(line) > page->columns)
        line[page->columns] = 0;
    if (page->live && page->used)
        fputs("\r\n", page->out);
    bool styled = page->colour && style != PLAIN;
    fprintf(page->out, "%s%s%s%s", styled ? codes[style] : "", line, styled ? "\x1b[0m" : "",
            page->live ? "\x1b[K" : "\n");
    page->used++;
}

/* '#' used, '=' reserved for the next, '.' free; '|' where the peak was. */
static const char *bar(const struct sample *sample, char to[BAR_WIDTH + 1])
{
    double limit = sample->limit_bytes ? (double)sample->limit_bytes : 1;
    int peak = (int)((double)sample->memory.peak / limit * BAR_WIDTH);
    for (int k = 0; k < BAR_WIDTH; k++) {
        double here = (k + 0.5) / BAR_WIDTH * limit;
        to[k] = here < (double)sample->memory.used ? '#' : here < (double)sample->memory.reserved ? '=' : '.';
    }
    if (peak > 0 && peak < BAR_WIDTH)
        to[peak] = '|';
    to[BAR_WIDTH] = 0;
    return to;
}

static bool is_wrong(const struct top *top, int newest)
{
    return !observed_present(&top->observation, newest) || observed_step_ns(&top->observation, newest);
}

static bool was_restarted(const struct top *top, int newest)
{
    const struct observed_life *dead = observed_dead(&top->observation, newest);
    return observed_present(&top->observation, newest) && dead &&
           observed_end_ns(&top->observation, dead) < RESTART_TOLD_NS;
}

static void put_state(struct page *page, const struct top *top, int newest)
{
    char line[2 * TD_MESSAGE_BYTES];
    observed_worker_text(&top->observation, newest, line, sizeof line);
    put(page, is_wrong(top, newest) ? WARNING : PLAIN, "state    %s", line);
    observed_restart_text(&top->observation, newest, line, sizeof line);
    if (was_restarted(top, newest))
        put(page, WARNING, "restart  %s: its tensors are gone", line);
}

static void put_device(struct page *page, const struct top *top, int d)
{
    const struct sample *now = top->now.of[d];
    const struct measure *measure = top->measures[d];
    struct memory_lines lines = sample_memory_lines(now);
    char line[BAR_WIDTH + 1];
    put_state(page, top, now->newest);
    put(page, PLAIN, "device   %s", lines.device);
    if (*lines.gauges)
        put(page, PLAIN, "         %s", lines.gauges);
    put(page, PLAIN, "memory   [%s] %s", bar(now, line), lines.memory);
    put(page, PLAIN, "         %s", lines.classes);
    put(page, PLAIN, "work     %s ops/s, %s requests/s, busy %s, %" PRIu64 " session%s; in %s/s, out %s/s",
        rate_text(measure->ops_s).s, rate_text(measure->requests_s).s, share_text(measure->busy).s, now->sessions_open,
        now->sessions_open == 1 ? "" : "s", bytes_text((uint64_t)measure->bytes_in_s).s,
        bytes_text((uint64_t)measure->bytes_out_s).s);
}

/* Of several devices two lines each, and more where something is wrong: the table shall find room. */
static void put_one_of_several(struct page *page, const struct top *top, int d)
{
    const struct sample *now = top->now.of[d];
    const struct measure *measure = top->measures[d];
    struct memory_lines lines = sample_memory_lines(now);
    char line[BAR_WIDTH + 1];
    if (is_wrong(top, now->newest) || was_restarted(top, now->newest))
        put_state(page, top, now->newest);
    put(page, PLAIN, "%-8s %s ops/s, busy %s, %" PRIu64 " session%s%s%s", now->device, rate_text(measure->ops_s).s,
        share_text(measure->busy).s, now->sessions_open, now->sessions_open == 1 ? "" : "s", *lines.gauges ? "; " : "",
        lines.gauges);
    put(page, PLAIN, "         [%s] %s", bar(now, line), lines.memory);
}

static void put_head(struct page *page, const struct top *top)
{
    put(page, PLAIN, "tensord %s at unix:%s%s", top->observation.version, top->observation.address.path,
        top->paused ? "   PAUSED (space goes on)" : "");
    if (top->observation.waiting)
        put(page, WARNING, "waiting  %" PRIu64 " programs that no worker has taken yet", top->observation.waiting);
    for (int d = 0; d < top->now.count; d++)
        (top->now.count > 1 ? put_one_of_several : put_device)(page, top, d);
    put(page, PLAIN, "%s", "");
}

static void put_table(struct page *page, const struct top *top)
{
    int count;
    uint64_t more = 0;
    struct row *rows = measure_rows(top->measures, top->now.count, top->users, &count);
    enum table table = top->users ? TABLE_USERS : top->now.count > 1 ? TABLE_PLACED_SESSIONS : TABLE_SESSIONS;
    char line[LINE_BYTES];
    if (!rows)
        return;
    measure_sort(rows, count, top->sort, top->reverse);
    row_line(NULL, table, page->columns, top->sort, line, sizeof line);
    put(page, HEAD, "%s", line);
    for (int k = 0; k < count; k++) {
        row_line(&rows[k], table, page->columns, top->sort, line, sizeof line);
        put(page, rows[k].device > 0.005 ? ACTIVE : PLAIN, "%s", line);
    }
    free(rows);
    for (int d = 0; d < top->now.count && !top->users; d++)
        more += since(top->now.of[d]->sessions_open, (uint64_t)top->now.of[d]->session_count);
    if (more)
        put(page, PLAIN, "and %" PRIu64 " more that are not listed", more);
}

static void put_help(struct page *page)
{
    static const char *const help[] = {"q      ends",
                                       "m      sorts by memory",
                                       "o      by ops per second",
                                       "d      by the part of the time that the device computes for it",
                                       "r      by requests per second",
                                       "l      by the latency that 99 % of the answers stay under",
                                       "a      by age",
                                       "n      by number",
                                       "R      turns the order round",
                                       "u      users or sessions",
                                       "space  stands still, or goes on",
                                       "h, ?   shows this, or no longer",
                                       "",
                                       "MEM is PARAM (leaves that want a gradient), GRAD, SAVED (kept for the",
                                       "backward walk alone) and VALUE (all else). LAT is from a request's arrival",
                                       "in the worker to its answer's leaving. STATE device: its op runs on the",
                                       "device's thread. In the bar # is used, = reserved, | the peak."};
    for (size_t k = 0; k < sizeof help / sizeof *help; k++)
        put(page, PLAIN, "%s", help[k]);
}

static void draw(struct page *page, const struct top *top)
{
    if (top->failure.code)
        put(page, WARNING, "%s", top->failure.message);
    else
        put_head(page, top);
    if (top->help)
        put_help(page);
    else if (!top->failure.code)
        put_table(page, top);
}

/* One write for a whole screen, so that it does not flicker. */
static void draw_screen(const struct top *top)
{
    char *text = NULL;
    size_t bytes;
    struct page page = {.out = open_memstream(&text, &bytes), .live = true, .colour = terminal_has_colour()};
    if (!page.out)
        return;
    terminal_size(&page.lines, &page.columns);
    fputs("\x1b[H", page.out);
    draw(&page, top);
    fputs("\x1b[J", page.out);
    if (!fclose(page.out))
        (void)!write(STDOUT_FILENO, text, bytes);
    free(text);
}

/* The sample that a session's row was made of. */
static const struct sample *sample_of(const struct top *top, const struct row *row)
{
    int d = 0;
    while (d + 1 < top->now.count && row->on != top->now.of[d]->device)
        d++;
    return top->now.of[d];
}

/* Of all devices together; busy is the mean of them. */
static void rates_of_all_json(struct json *json, const struct top *top)
{
    double requests_s = 0, ops_s = 0, bytes_in_s = 0, bytes_out_s = 0, busy = 0;
    for (int d = 0; d < top->now.count; d++) {
        requests_s += top->measures[d]->requests_s;
        ops_s += top->measures[d]->ops_s;
        bytes_in_s += top->measures[d]->bytes_in_s;
        bytes_out_s += top->measures[d]->bytes_out_s;
        busy += top->measures[d]->busy / top->now.count;
    }
    json_real(json, "interval_s", top->measures[0]->seconds);
    json_open(json, "rates", '{');
    json_real(json, "requests_per_s", requests_s);
    json_real(json, "ops_per_s", ops_s);
    json_real(json, "bytes_in_per_s", bytes_in_s);
    json_real(json, "bytes_out_per_s", bytes_out_s);
    json_real(json, "busy", busy);
    json_close(json, '}');
}

static void sessions_json(struct json *json, const struct top *top)
{
    int count;
    struct row *rows = measure_rows(top->measures, top->now.count, false, &count);
    json_open(json, "sessions", '[');
    if (rows)
        measure_sort(rows, count, top->sort, top->reverse);
    for (int k = 0; k < count; k++) {
        json_open(json, NULL, '{');
        session_json(json, sample_of(top, &rows[k]), rows[k].session);
        rates_json(json, &rows[k]);
        json_close(json, '}');
    }
    json_close(json, ']');
    free(rows);
}

static void users_json(struct json *json, const struct top *top)
{
    int count;
    struct row *rows = measure_rows(top->measures, top->now.count, true, &count);
    json_open(json, "users", '[');
    if (rows)
        measure_sort(rows, count, top->sort, top->reverse);
    for (int k = 0; k < count; k++) {
        json_open(json, NULL, '{');
        json_uint(json, "uid", rows[k].uid);
        json_text(json, "user", rows[k].user.s);
        json_uint(json, "sessions", rows[k].sessions);
        json_uint(json, "bytes", rows[k].all_bytes);
        classes_json(json, rows[k].bytes);
        rates_json(json, &rows[k]);
        json_close(json, '}');
    }
    json_close(json, ']');
    free(rows);
}

static void print_json(const struct top *top)
{
    struct json json = {.out = stdout};
    json_open(&json, NULL, '{');
    samples_json(&json, &top->observation, &top->now);
    rates_of_all_json(&json, top);
    sessions_json(&json, top);
    users_json(&json, top);
    json_close(&json, '}');
}

/* ---- the two ways to run ---- */

static void sleep_ns(uint64_t ns)
{
    struct timespec left = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    while (nanosleep(&left, &left))
        ;
}

/* What went on in one interval from now on. */
static int run_once(struct top *top)
{
    struct page page = {.out = stdout, .colour = terminal_has_colour()};
    int lines;
    look(top);
    if (!top->failure.code)
        sleep_ns((uint64_t)(top->options->interval_s * 1e9));
    if (!top->failure.code)
        look(top);
    if (top->failure.code)
        return complain(&top->failure);
    terminal_size(&lines, &page.columns);
    if (top->options->json)
        print_json(top);
    else
        draw(&page, top);
    return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void take_key(struct top *top, int key)
{
    switch (key) {
    case 'R':
        top->reverse = !top->reverse;
        break;
    case 'u':
        top->users = !top->users;
        break;
    case ' ':
        top->paused = !top->paused;
        break;
    case 'h':
    case '?':
        top->help = !top->help;
        break;
    default:
        if (key > 0 && strchr(SORT_KEYS, key))
            top->sort = (char)key;
    }
}

static int run_live(struct top *top)
{
    uint64_t interval_ns = (uint64_t)(top->options->interval_s * 1e9);
    look(top);
    if (top->failure.code)
        return complain(&top->failure);
    if (!terminal_take())
        return EXIT_FAILURE;
    uint64_t due_ns = now_ns() + (interval_ns < FIRST_NS ? interval_ns : FIRST_NS);
    int key = 0;
    while (key != 'q' && key >= 0) {
        take_key(top, key);
        if (!top->paused && now_ns() >= due_ns) {
            look(top);
            due_ns = now_ns() + interval_ns;
        }
        draw_screen(top);
        key = terminal_key(top->paused ? -1 : (int)(since(due_ns, now_ns()) / 1000000) + 1);
    }
    terminal_give_back();
    return EXIT_SUCCESS;
}

int top_command(const struct options *options)
{
    struct top top = {.options = options, .users = options->users, .sort = options->sort};
    bool once = options->once || options->json || !terminal_is_there();
    int status = once ? run_once(&top) : run_live(&top);
    let_go(&top);
    return status;
}
