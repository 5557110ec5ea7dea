/* The command line and the configuration file: the same names, the same values, the command line wins.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/config.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/log.h"

/* The smallest part of a device that can be asked for: what a pool reserves at a time. */
#define MEMORY_BYTES_MIN (2u << 20)
#define THREADS_MAX 64

struct setting {
    const char *name;
    int (*set)(struct config *config, const char *where, const char *value, struct td_failure *failure);
};

/* "cuda:12": a number as short as it can be written, so that one device has one name. */
static bool is_gpu(const char *name)
{
    const char *number = name + 5;
    size_t digits = !strncmp(name, "cuda:", 5) ? strspn(number, "0123456789") : 0;
    return digits && digits < 4 && !number[digits] && (*number != '0' || digits == 1);
}

static int add_device(struct config *config, const char *where, const char *name, struct td_failure *failure)
{
    if (!is_gpu(name) && strcmp(name, "cpu"))
        return td_fail(failure, TD_E_ARGUMENT,
                       "%s: '%s' is not a device: auto, cuda, or a list of cpu and cuda:N with commas between", where,
                       name);
    for (int k = 0; k < config->device_count; k++)
        if (!strcmp(config->devices[k], name))
            return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is named twice", where, name);
    if (config->device_count == TD_DEVICES_MAX)
        return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is one device too many: %d may be served", where, name,
                       TD_DEVICES_MAX);
    snprintf(config->devices[config->device_count++], TD_DEVICE_BYTES, "%s", name);
    return TD_E_OK;
}

static int set_device(struct config *config, const char *where, const char *value, struct td_failure *failure)
{
    config->device_count = 0;
    if (!strcmp(value, "auto") || !strcmp(value, "cuda")) {
        snprintf(config->devices[config->device_count++], TD_DEVICE_BYTES, "%s", value);
        return TD_E_OK;
    }
    for (const char *at = value;; at++) {
        char name[TD_DEVICE_BYTES];
        size_t bytes = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)bytes, at);
        if (add_device(config, where, name, failure))
            return failure->code;
        at += bytes;
        if (!*at)
            return TD_E_OK;
    }
}

static int set_listen(struct config *config, const char *where, const char *value, struct td_failure *failure)
{
    struct td_failure cause = {0};
    if (td_address_parse(value, &config->listen, &cause) == TD_E_OK)
        return TD_E_OK;
    td_fail(failure, cause.code, "%s: %s", where, cause.message);
    return td_hint(failure, "%s", cause.hint);
}

/* HOST:PORT, [ADDRESS]:PORT for an IPv6 address, or off. */
static int set_web(struct config *config, const char *where, const char *value, struct td_failure *failure)
{
    bool bracket = *value == '[';
    const char *host = value + bracket, *end = bracket ? strchr(value, ']') : strrchr(value, ':');
    const char *port = end ? end + bracket : "";
    size_t bytes = end ? (size_t)(end - host) : 0, digits = *port ? strspn(port + 1, "0123456789") : 0;
    bool is_host = bytes && bytes < sizeof config->web_host &&
                   strspn(host, bracket ? "0123456789abcdefABCDEF:."
                                        : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") >= bytes;
    config->web_given = true;
    config->web_host[0] = 0;
    if (!strcmp(value, "off"))
        return TD_E_OK;
    if (!is_host || *port != ':' || !digits || digits > 5 || port[1 + digits] || atoi(port + 1) > 65535) {
        td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is no address for the dashboard: HOST:PORT or off", where, value);
        return td_hint(failure, "As 127.0.0.1:7070 or [::1]:7070; port 0 is any that is free.");
    }
    snprintf(config->web_host, sizeof config->web_host, "%.*s", (int)bytes, host);
    config->web_port = atoi(port + 1);
    return TD_E_OK;
}

const char *config_web_address(const struct config *config, int port, char *to, size_t size)
{
    snprintf(to, size, strchr(config->web_host, ':') ? "[%s]:%d" : "%s:%d", config->web_host, port);
    return to;
}

static int set_memory(struct config *config, const char *where, const char *value, struct td_failure *failure)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    uintmax_t number = strtoumax(value, &end, 10);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    const char *rest = unit ? end + 1 : end;
    bool is_size = isdigit((unsigned char)*value) && (!*rest || (unit && !strcmp(rest, "iB")));
    if (!is_size)
        return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is not a size: 512M, 8G", where, value);
    if (errno || number > (SIZE_MAX >> shift) || number << shift < MEMORY_BYTES_MIN)
        return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is outside the range of a size: 2M and more", where, value);
    config->memory_bytes = (size_t)number << shift;
    return TD_E_OK;
}

static int set_threads(struct config *config, const char *where, const char *value, struct td_failure *failure)
{
    char *end;
    long number = strtol(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || number < 1 || number > THREADS_MAX)
        return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is not a number of threads: 1 to %d", where, value,
                       THREADS_MAX);
    config->threads = (int)number;
    return TD_E_OK;
}

/* One for each processor that this process may use. */
static int threads_here(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return count < THREADS_MAX ? count : THREADS_MAX;
}

static int set_log_level(struct config *config, const char *where, const char *value, struct td_failure *failure)
{
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
        if (!strcmp(value, log_level_name(level))) {
            config->log_level = level;
            return TD_E_OK;
        }
    return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is not a log level: debug, info, warn, error", where, value);
}

enum setting_index { DEVICE, LISTEN, WEB, MEMORY, THREADS, LOG_LEVEL, SETTINGS };

static const struct setting settings[SETTINGS] = {
    [DEVICE] = {"device", set_device}, [LISTEN] = {"listen", set_listen},    [WEB] = {"web", set_web},
    [MEMORY] = {"memory", set_memory}, [THREADS] = {"threads", set_threads}, [LOG_LEVEL] = {"log-level", set_log_level},
};

/* What the command line holds, before any of it is looked at: the file it names comes first. */
struct given {
    const char *file;
    const char *values[SETTINGS];
    struct td_failure *failure;
};

/* Keys of options above those of letters; a setting's is KEY_SETTING + its index. */
enum { KEY_CONFIG = 256, KEY_ROLE, KEY_SETTING };

static const struct argp_option options[] = {
    {"config", KEY_CONFIG, "FILE", 0, "Read settings from FILE: lines of NAME = VALUE with the names below", 0},
    {"device", KEY_SETTING + DEVICE, "DEVICE,...", 0,
     "auto, cuda (all GPUs), or a list as cuda:0,cuda:1,cpu, each with a worker of its own (default: auto)", 0},
    {"listen", KEY_SETTING + LISTEN, "ADDRESS", 0,
     "unix:PATH (default: /run/tensord/tensord.sock for root, else $XDG_RUNTIME_DIR/tensord.sock)", 0},
    {"web", KEY_SETTING + WEB, "HOST:PORT", 0, "Where the dashboard is served, or off (default: 127.0.0.1:7070)", 0},
    {"memory", KEY_SETTING + MEMORY, "SIZE", 0,
     "What may be taken of each device, as 512M or 8G (default: four fifths)", 0},
    {"threads", KEY_SETTING + THREADS, "N", 0,
     "How many threads one op may be spread over, 1 to 64; results are the same (default: the processors there are)",
     0},
    {"log-level", KEY_SETTING + LOG_LEVEL, "LEVEL", 0, "debug, info, warn or error (default: info)", 0},
    {"worker", KEY_ROLE, "PID", OPTION_HIDDEN, NULL, 0},
    {"web-role", KEY_ROLE, "PID", OPTION_HIDDEN, NULL, 0},
    {0},
};

static error_t take_option(int key, char *value, struct argp_state *state)
{
    struct given *given = state->input;
    if (key == KEY_CONFIG) {
        given->file = value;
    } else if (key >= KEY_SETTING && key < KEY_SETTING + SETTINGS) {
        const char **slot = &given->values[key - KEY_SETTING];
        if (*slot && key == KEY_SETTING + LISTEN)
            td_fail(given->failure, TD_E_ARGUMENT, "--listen: this version listens at one address: '%s' and '%s'",
                    *slot, value);
        *slot = value;
    } else if (key == ARGP_KEY_ARG) {
        td_fail(given->failure, TD_E_ARGUMENT, "'%s' is not an option", value);
    } else if (key != KEY_ROLE) {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t bytes = strlen(text);
    while (bytes && isspace((unsigned char)text[bytes - 1]))
        text[--bytes] = 0;
    return text;
}

/* Takes one line of a file; where names file and line. */
static int take_line(struct config *config, const char *where, char *line, struct td_failure *failure)
{
    for (char *c = line; *c; c++) /* a # inside a word belongs to the word: paths may hold one */
        if (*c == '#' && (c == line || isspace((unsigned char)c[-1]))) {
            *c = 0;
            break;
        }
    line = trim(line);
    if (!*line)
        return TD_E_OK;
    char *equals = strchr(line, '=');
    if (!equals)
        return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is not of the form NAME = VALUE", where, line);
    *equals = 0;
    const char *name = trim(line), *value = trim(equals + 1);
    for (int i = 0; i < SETTINGS; i++)
        if (!strcmp(name, settings[i].name))
            return settings[i].set(config, where, value, failure);
    return td_fail(failure, TD_E_ARGUMENT, "%s: '%s' is not a setting", where, name);
}

static int read_file(struct config *config, const char *path, struct td_failure *failure)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return td_fail(failure, TD_E_ARGUMENT, "--config: cannot open '%s': %s", path, strerror(errno));
    char *line = NULL, where[512];
    size_t room = 0;
    errno = 0;
    for (int number = 1; failure->code == TD_E_OK && getline(&line, &room, file) >= 0; number++) {
        snprintf(where, sizeof where, "%s:%d", path, number);
        take_line(config, where, line, failure);
        errno = 0;
    }
    if (errno || ferror(file))
        td_fail(failure, TD_E_ARGUMENT, "--config: cannot read '%s': %s", path, strerror(errno));
    free(line);
    fclose(file);
    return failure->code;
}

int config_read(int argc, char **argv, struct config *config, struct td_failure *failure)
{
    static const char about[] =
        "Keeps tensors resident on a device and executes what programs that link libtensord ask"
        " for.\vWithout options it serves the first GPU that works, or else the CPU, at the default address until"
        " SIGTERM.";
    const struct argp argp = {.options = options, .parser = take_option, .doc = about};
    struct given given = {.failure = failure};
    argp_program_version = "tensord " TD_VERSION;
    argp_err_exit_status = 2;
    *config = (struct config){.devices = {"auto"},
                              .device_count = 1,
                              .threads = threads_here(),
                              .log_level = LOG_INFO,
                              .web_host = CONFIG_WEB_HOST,
                              .web_port = CONFIG_WEB_PORT};
    argp_parse(&argp, argc, argv, 0, NULL, &given);
    if (failure->code == TD_E_OK && given.file)
        read_file(config, given.file, failure);
    for (int i = 0; i < SETTINGS && failure->code == TD_E_OK; i++) {
        char where[32];
        snprintf(where, sizeof where, "--%s", settings[i].name);
        if (given.values[i])
            settings[i].set(config, where, given.values[i], failure);
    }
    if (failure->code == TD_E_OK && !config->listen.path[0])
        td_address_default_listen(&config->listen, failure);
    return failure->code;
}
