/* tensorctl: asks a running daemon. SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/json.h"
#include "client/tensord.h"

struct options {
    const char *command, *address;
    bool json;
};

const char *argp_program_version = "tensorctl (tensord)";

static error_t take_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'j':
        options->json = true;
        return 0;
    case 'a':
        options->address = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (options->command)
            argp_error(state, "one command at a time: %s", argument);
        if (strcmp(argument, "status"))
            argp_error(state, "there is no command %s", argument);
        options->command = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* "1.5 GiB" */
static const char *bytes_text(uint64_t bytes, char *to, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 5; unit++)
        value /= 1024;
    snprintf(to, size, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return to;
}

/* "3d 4h", "2h 5m", "7m 12s", "9s" */
static const char *age_text(uint64_t s, char *to, size_t size)
{
    if (s >= 86400)
        snprintf(to, size, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(to, size, "%" PRIu64 "h %" PRIu64 "m", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(to, size, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
    else
        snprintf(to, size, "%" PRIu64 "s", s);
    return to;
}

static void print_sessions(struct td_reader sessions)
{
    uint32_t count = td_read_array(&sessions);
    printf("\n%6s %8s %6s  %-20s %8s %10s %12s %9s\n", "ID", "PID", "UID", "PROGRAM", "TENSORS", "MEMORY", "REQUESTS",
           "AGE");
    for (uint32_t k = 0; k < count && !sessions.failed; k++) {
        char program[128], bytes[32], age[32];
        printf("%6" PRIu64 " %8" PRIu64 " %6" PRIu64 "  %-20s %8" PRIu64 " %10s %12" PRIu64 " %9s\n",
               map_number(sessions, "id"), map_number(sessions, "pid"), map_number(sessions, "uid"),
               map_text(sessions, "program", program, sizeof program), map_number(sessions, "tensors"),
               bytes_text(map_number(sessions, "bytes"), bytes, sizeof bytes), map_number(sessions, "requests"),
               age_text(map_number(sessions, "age_s"), age, sizeof age));
        td_read_skip(&sessions);
    }
}

static void print_status(const char *address, struct td_reader status)
{
    struct td_reader device = map_find(status, "device");
    char name[128], description[256], used[32], pool[32], limit[32], memory[32], age[32];
    printf("tensord %s (protocol %" PRIu64 ") at %s\n", map_text(status, "version", name, sizeof name),
           map_number(status, "protocol"), address);
    printf("worker  pid %" PRIu64 ", life %" PRIu64 ", up %s\n", map_number(status, "pid"), map_number(status, "life"),
           age_text(map_number(status, "uptime_s"), age, sizeof age));
    printf("device  %s, %s\n", map_text(device, "name", name, sizeof name),
           map_text(device, "description", description, sizeof description));
    printf("memory  %s in use, %s held, %s allowed of %s\n",
           bytes_text(map_number(device, "used_bytes"), used, sizeof used),
           bytes_text(map_number(device, "pool_bytes"), pool, sizeof pool),
           bytes_text(map_number(device, "limit_bytes"), limit, sizeof limit),
           bytes_text(map_number(device, "memory_bytes"), memory, sizeof memory));
    print_sessions(map_find(status, "sessions"));
}

static int show_status(const struct options *options)
{
    td_session *s = td_open(options->address);
    size_t bytes;
    void *map = td_status(s, &bytes);
    struct td_reader status = td_reader_of(map, map ? bytes : 0);
    bool fine = map != NULL;
    if (map && options->json) {
        fine = json_write(stdout, &status, 0);
        putchar('\n');
    } else if (map) {
        print_status(td_address(s), status);
    }
    free(map);
    int code = td_close(s);
    return code || !fine || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"json", 'j', NULL, 0, "Print JSON, for programs", 0},
        {"address", 'a', "unix:PATH", 0, "The daemon to ask; without it $TENSORD, else this machine's", 0},
        {0}};
    static const struct argp argp = {
        known, take_option, "COMMAND", "Asks a running tensord.\vCommands:\n  status   what it holds, and for whom",
        NULL,  NULL,        NULL};
    struct options options = {0};
    if (argp_parse(&argp, argc, argv, 0, NULL, &options))
        return EXIT_FAILURE;
    return show_status(&options);
}
