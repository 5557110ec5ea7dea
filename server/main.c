/* One binary, three roles: the supervisor, and the worker and the web that it starts out of the same file.
 * SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "server/config.h"
#include "server/handover.h"
#include "server/log.h"
#include "server/supervisor/supervisor.h"
#include "server/web/web.h"
#include "server/worker/worker.h"

static int run_worker(const struct config *config)
{
    return worker_main(config, HANDOVER_FD, BLACKBOX_TABLES_FD, BLACKBOX_TRACE_FD);
}

static int run_web(const struct config *config)
{
    return web_main(config, HANDOVER_FD, WEB_LISTEN_FD);
}

/* A child ends when its channel does and not by signals, which a terminal or a service manager sends to all: the worker
 * has to say goodbye to its clients. If the supervisor is killed, the kernel ends its children with it. */
static const struct role {
    const char *option, *name;
    int (*run)(const struct config *config);
} roles[] = {{"--worker=", "worker", run_worker}, {"--web-role=", "web", run_web}};

static int run_role(const struct role *role, const struct config *config, pid_t supervisor)
{
    char name[16];
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    snprintf(name, sizeof name, "tensord-%s", role->name);
    prctl(PR_SET_NAME, name); /* not "exe", which is what it was started as */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) /* it died before the line above, or somebody typed the option */
        return EXIT_FAILURE;
    log_open(role->name, config->log_level);
    return role->run(config);
}

int main(int argc, char **argv)
{
    uint64_t started_ns = uv_hrtime();
    struct config config;
    struct td_failure failure = {0};
    if (config_read(argc, argv, &config, &failure) != TD_E_OK) {
        fprintf(stderr, "tensord: %s\n%s%s", failure.message, failure.hint, failure.hint[0] ? "\n" : "");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    for (size_t k = 0; argc > 1 && k < sizeof roles / sizeof *roles; k++) {
        size_t bytes = strlen(roles[k].option);
        if (!strncmp(argv[1], roles[k].option, bytes))
            return run_role(&roles[k], &config, (pid_t)strtol(argv[1] + bytes, NULL, 10));
    }
    log_open("supervisor", config.log_level);
    return supervisor_main(&config, started_ns);
}
