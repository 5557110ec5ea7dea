/* tensorctl: asks a running daemon. This file reads the command line; each command has a file of its name.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/tensorctl.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/text.h"

#define EXIT_USAGE 2
#define LAST_MAX 1000000u

/* Not hidden, as all else in client/ is: libc looks for it. */
__attribute__((visibility("default"))) const char *argp_program_version = "tensorctl (tensord)";

enum { KEY_ONCE = 256, KEY_USERS, KEY_LIFE, KEY_SESSION, KEY_ERRORS };

struct command {
    const char *name;
    int (*run)(const struct options *options);
    const char *line; /* what it does, for the list of commands */
    const struct argp_option *options;
    const char *text; /* for its own --help */
};

static const struct argp_option common_options[] = {
    {"json", 'j', NULL, 0, "Print JSON, for programs", 1},
    {"address", 'a', "unix:PATH", 0, "The daemon to ask; without it $TENSORD, else this machine's", 1},
    {0}};
static const struct argp_option dashboard_options[] = {
    {"address", 'a', "unix:PATH", 0, "The daemon to ask; without it $TENSORD, else this machine's", 1}, {0}};
static const struct argp_option top_options[] = {
    {"interval", 'i', "S", 0, "Seconds between measurements, 0.1 to 3600; 1 without it", 0},
    {"sort", 's', "KEY", 0, "memory, ops, device, requests, latency, age or number", 0},
    {"users", KEY_USERS, NULL, 0, "Users instead of sessions", 0},
    {"once", KEY_ONCE, NULL, 0, "Print one measurement over the interval and end", 0},
    {0}};
static const struct argp_option blackbox_options[] = {
    {"life", KEY_LIFE, "N", 0, "The worker's life N; without it the last one that ended, else the present one", 0},
    {"session", KEY_SESSION, "N", 0, "Session N only, whatever it did", 0},
    {"last", 'n', "N", 0, "The last N records; 20 without it", 0},
    {"errors", KEY_ERRORS, NULL, 0, "Only what failed", 0},
    {0}};

static const struct command commands[] = {
    {"status", status_command, "what the daemon is, what it holds, and for whom", NULL,
     "The daemon, its worker, device, memory and sessions. It answers also while the worker is busy or gone."},
    {"top", top_command, "the same as a live table: who computes, and how much", top_options,
     "Who uses the device, measured again and again. Keys while it runs: h shows them."},
    {"blackbox", blackbox_command, "what a worker that died or is stuck did last", blackbox_options,
     "How a worker ended, what each session was in the middle of, and the last ops and errors. All of it is for the "
     "daemon's own user and root; for anybody else there are no ops and call sites."},
    {"dashboard", dashboard_command, "a one-time address of the dashboard, for a browser", NULL,
     "Prints an address that opens the dashboard once. Only for the daemon's own user and root."},
};
#define COMMANDS (sizeof commands / sizeof *commands)

/* ---- values ---- */

static uint64_t whole_number(struct argp_state *state, const char *name, const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || !value || value > most)
        argp_error(state, "--%s takes a whole number from 1 on, not '%s'", name, text);
    return value;
}

static double seconds(struct argp_state *state, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0.1 && value <= 3600))
        argp_error(state, "--interval takes seconds, 0.1 to 3600, not '%s'", text);
    return value;
}

static char sort_key(struct argp_state *state, const char *text)
{
    static const char *const names[] = {"memory", "ops", "device", "requests", "latency", "age", "number"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (*text && !strncmp(names[k], text, strlen(text)))
            return SORT_KEYS[k];
    argp_error(state, "--sort takes memory, ops, device, requests, latency, age or number, not '%s'", text);
    return 0;
}

/* ---- the parser of every command's options, and that of the command itself ---- */

static error_t take_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        if (state->child_inputs) /* a command's options and the common ones go to the same place */
            state->child_inputs[0] = options;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'a':
        options->address = argument;
        return 0;
    case 'i':
        options->interval_s = seconds(state, argument);
        return 0;
    case 's':
        options->sort = sort_key(state, argument);
        return 0;
    case 'n':
        options->last = (uint32_t)whole_number(state, "last", argument, LAST_MAX);
        return 0;
    case KEY_ONCE:
        options->once = true;
        return 0;
    case KEY_USERS:
        options->users = true;
        return 0;
    case KEY_LIFE:
        options->life = whole_number(state, "life", argument, UINT64_MAX);
        return 0;
    case KEY_SESSION:
        options->session = whole_number(state, "session", argument, UINT64_MAX);
        return 0;
    case KEY_ERRORS:
        options->errors = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "there is nothing to be done with '%s'", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int run(const struct command *command, struct options *options, int argc, char **argv)
{
    const struct argp common = {common_options, take_option, NULL, NULL, NULL, NULL, NULL};
    const struct argp_child children[] = {{&common, 0, NULL, 0}, {0}};
    bool alone = command->run == dashboard_command; /* it has nothing to print as JSON */
    const struct argp argp = {alone ? dashboard_options : command->options,
                              take_option,
                              NULL,
                              command->text,
                              alone ? NULL : children,
                              NULL,
                              NULL};
    char name[64];
    snprintf(name, sizeof name, "tensorctl %s", command->name);
    argv[0] = name;
    if (argp_parse(&argp, argc, argv, 0, NULL, options))
        return EXIT_USAGE;
    return command->run(options);
}

/* Letters to be put in, left out or changed to make one word of the other. */
static size_t distance(const char *one, const char *other)
{
    size_t row[32], length = strnlen(other, 31);
    for (size_t k = 0; k <= length; k++)
        row[k] = k;
    for (size_t i = 1; one[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= length; k++) {
            size_t changed = diagonal + (one[i - 1] != other[k - 1]);
            size_t shorter = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
            diagonal = row[k];
            row[k] = changed < shorter ? changed : shorter;
        }
    }
    return row[length];
}

static const struct command *nearest(const char *name)
{
    const struct command *best = commands;
    for (const struct command *c = commands; c < commands + COMMANDS; c++)
        if (distance(name, c->name) < distance(name, best->name))
            best = c;
    return best;
}

static int unknown(const char *name)
{
    fprintf(stderr, "tensorctl: there is no command '%s'; the nearest is '%s'\nTry 'tensorctl --help'.\n", name,
            nearest(name)->name);
    return EXIT_USAGE;
}

/* ---- the command ---- */

/* Options that every command has may also stand before it. */
static error_t take_command(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    if (key == ARGP_KEY_ARG) {
        options->command_at = state->next - 1;
        state->next = state->argc; /* the rest is the command's own */
        return 0;
    }
    if (key == ARGP_KEY_NO_ARGS)
        argp_usage(state);
    return take_option(key, argument, state);
}

static char *list_commands(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)(uintptr_t)text;
    char *list = NULL;
    size_t bytes;
    FILE *out = open_memstream(&list, &bytes);
    if (!out)
        return NULL;
    fputs("Commands:\n", out);
    for (const struct command *c = commands; c < commands + COMMANDS; c++)
        fprintf(out, "  %-11s%s\n", c->name, c->line);
    fputs("\n'tensorctl COMMAND --help' tells a command's options.", out);
    return fclose(out) ? NULL : list;
}

int main(int argc, char **argv)
{
    const struct argp argp = {common_options, take_command, "COMMAND [OPTION...]", "Asks a running tensord.\v ", NULL,
                              list_commands,  NULL};
    struct options options = {.interval_s = 1, .sort = 'm', .last = 20};
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &options))
        return EXIT_USAGE;
    const char *name = argv[options.command_at];
    for (const struct command *c = commands; c < commands + COMMANDS; c++)
        if (!strcmp(name, c->name))
            return run(c, &options, argc - options.command_at, argv + options.command_at);
    return unknown(name);
}
