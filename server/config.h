/* What the command line and the configuration file say. One struct for all roles; read once, never changed.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_CONFIG_H
#define TD_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/address.h"
#include "protocol/error.h"
#include "protocol/message.h"

#define TD_VERSION "0.1.0"

/* The dashboard without --web. Where the port is taken, by the daemon of another user for one, any other is used. */
#define CONFIG_WEB_HOST "127.0.0.1"
#define CONFIG_WEB_PORT 7070

struct config {
    struct td_address listen;
    /* "auto" or "cuda", all that CUDA sees, alone; or as many of "cpu" and "cuda:0" as there are. Of a worker: its. */
    char devices[TD_DEVICES_MAX][TD_DEVICE_BYTES];
    int device_count;
    size_t memory_bytes; /* what the pool may take of each device; 0: four fifths of it */
    int threads;         /* that one op may be spread over: 1 to 64 */
    int log_level;       /* enum log_level: what is below is not written */
    char web_host[64];   /* where the dashboard is served: a name or an address without brackets; "": nowhere */
    int web_port;        /* 0: any that is free */
    bool web_given;      /* somebody wrote it: no other port will do */
};

/* Reads argv and the file it names. Returns TD_E_OK or TD_E_ARGUMENT. */
int config_read(int argc, char **argv, struct config *config, struct td_failure *failure);
/* "127.0.0.1:7070", "[::1]:7070": as a browser writes it. Returns to. */
const char *config_web_address(const struct config *config, int port, char *to, size_t size);

#endif
