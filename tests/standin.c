/* A daemon with a stand-in for the worker. SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "server/config.h"
#include "server/handover.h"
#include "server/log.h"
#include "server/supervisor/supervisor.h"

static int serve_client(int client)
{
    char command;
    ssize_t bytes = recv(client, &command, 1, 0);
    if (bytes <= 0)
        return -1;
    if (command == 'k')
        raise(SIGKILL);
    if (command == 'x')
        _exit(7);
    return send(client, &command, 1, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int greet_client(const char *mode)
{
    struct handover handover;
    struct handover_note taken = {.kind = NOTE_TAKEN};
    int client, result = handover_receive(HANDOVER_FD, &handover, &client);
    if (result <= 0)
        return result < 0 && errno == EAGAIN ? -1 : 0;
    if (!strcmp(mode, "drop") && handover.life == 1) /* dies with a client that it never took */
        raise(SIGKILL);
    taken.number = handover.number;
    handover_note_send(HANDOVER_FD, &taken);
    fcntl(client, F_SETFL, 0);
    dprintf(client, "number=%d life=%d uid=%d pid=%d program=%s worker=%d threads=%s notify=%s lost=%s\n",
            (int)handover.number, (int)handover.life, (int)handover.uid, (int)handover.pid, handover.hello.program,
            (int)getpid(), getenv("OPENBLAS_NUM_THREADS"), getenv("NOTIFY_SOCKET") ? "set" : "unset", handover.lost);
    return client;
}

static int fake_worker(const char *device)
{
    const char *mode = getenv("TEST_WORKER") ? getenv("TEST_WORKER") : "";
    struct handover_note ready = {.kind = NOTE_READY, .number = 1};
    struct pollfd polled[256] = {{.fd = HANDOVER_FD, .events = POLLIN}};
    int count = 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    const char *gone = getenv("TEST_GONE");
    bool dies = !strcmp(mode, "die") || (!strncmp(mode, "die ", 4) && !strcmp(mode + 4, device));
    if (dies && (!gone || access(gone, F_OK) == 0))
        _exit(3);
    snprintf(ready.device, sizeof ready.device, "%s", device);
    handover_note_send(HANDOVER_FD, &ready);
    while (poll(polled, (nfds_t)count, -1) >= 0) {
        for (int i = count - 1; i > 0; i--)
            if (polled[i].revents && serve_client(polled[i].fd)) {
                close(polled[i].fd);
                polled[i] = polled[--count];
            }
        int client = polled[0].revents && count < 256 ? greet_client(mode) : -1;
        if (client > 0)
            polled[count++] = (struct pollfd){.fd = client, .events = POLLIN};
        if (client == 0) { /* the channel has ended */
            while (!strcmp(mode, "deaf"))
                pause();
            return 0;
        }
    }
    return 1;
}

int standin_main(int argc, char **argv)
{
    struct config config;
    struct td_failure failure = {0};
    if (config_read(argc, argv, &config, &failure) != TD_E_OK) {
        fprintf(stderr, "%s\n", failure.message);
        return 2;
    }
    if (argc > 1 && !strncmp(argv[1], "--worker=", 9))
        return fake_worker(config.devices[0]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    log_open("supervisor", config.log_level);
    return supervisor_main(&config, uv_hrtime());
}
