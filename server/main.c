/* One binary, two roles: the supervisor, and the worker that it starts out of the same file.
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
#include "server/worker/worker.h"

#define WORKER_OPTION "--worker="

/* A worker ends when its channel does and not by signals, which a terminal or a service manager sends to both: it has
 * to say goodbye to its clients. If the supervisor is killed, the kernel ends the worker with it. */
static int run_worker(const struct config *config, pid_t supervisor)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    prctl(PR_SET_NAME, "tensord-worker"); /* not "exe", which is what it was started as */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) /* it died before the line above, or somebody typed --worker */
        return EXIT_FAILURE;
    log_open("worker", config->log_level);
    return worker_main(config, HANDOVER_FD, BLACKBOX_TABLES_FD, BLACKBOX_TRACE_FD);
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
    if (argc > 1 && !strncmp(argv[1], WORKER_OPTION, strlen(WORKER_OPTION)))
        return run_worker(&config, (pid_t)strtol(argv[1] + strlen(WORKER_OPTION), NULL, 10));
    log_open("supervisor", config.log_level);
    return supervisor_main(&config, started_ns);
}
