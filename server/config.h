/* What the command line and the configuration file say. One struct for all roles; read once, never changed.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_CONFIG_H
#define TD_SERVER_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/address.h"
#include "protocol/error.h"

#define TD_VERSION "0.1.0"

struct config {
    struct td_address listen;
    char device[32];     /* "auto", "cpu", "cuda:0" */
    size_t memory_bytes; /* what the pool may take of the device; 0: four fifths of it */
    int threads;         /* that one op may be spread over: 1 to 64 */
    int log_level;       /* enum log_level: what is below is not written */
};

/* Reads argv and the file it names. Returns TD_E_OK or TD_E_ARGUMENT. */
int config_read(int argc, char **argv, struct config *config, struct td_failure *failure);

#endif
