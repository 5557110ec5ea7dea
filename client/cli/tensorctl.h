/* What tensorctl was asked, and its commands. Each returns the exit status.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_CLIENT_CLI_TENSORCTL_H
#define TD_CLIENT_CLI_TENSORCTL_H

#include <stdbool.h>
#include <stdint.h>

/* Columns that top sorts by, by the key that is typed. */
#define SORT_KEYS "modrlan"

struct options {
    const char *address; /* NULL: as td_open(NULL) finds it */
    bool json;
    int command_at; /* where in argv the command stands */
    /* top */
    double interval_s;
    char sort; /* one of SORT_KEYS */
    bool once, users;
    /* blackbox */
    uint64_t life, session; /* 0: not given */
    uint32_t last;
    bool errors;
};

int status_command(const struct options *options);
int top_command(const struct options *options);
int blackbox_command(const struct options *options);
int dashboard_command(const struct options *options);

#endif
