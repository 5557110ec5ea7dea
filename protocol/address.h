/* Where a daemon listens and a client looks: one rule for both.
 *
 *   unix:PATH    a unix socket
 *
 * Without an address a daemon started by root listens at /run/tensord/tensord.sock, one started by anybody else at
 * $XDG_RUNTIME_DIR/tensord.sock or, without that variable, /tmp/tensord-<uid>/tensord.sock. A client takes $TENSORD;
 * without it the user's own socket if there is one, else the system's.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_ADDRESS_H
#define TD_PROTOCOL_ADDRESS_H

#include "protocol/error.h"

/* sun_path of Linux, with its final 0. */
#define TD_PATH_BYTES 108

struct td_address {
    char path[TD_PATH_BYTES]; /* of the unix socket */
};

/* "unix:PATH", PATH absolute or relative. Returns TD_E_OK or TD_E_ARGUMENT. */
int td_address_parse(const char *text, struct td_address *address, struct td_failure *failure);
/* Where a daemon of this user listens by default. */
int td_address_default_listen(struct td_address *address, struct td_failure *failure);
/* Where a client connects: text if not NULL or empty, else $TENSORD, else the rule above. */
int td_address_default_connect(const char *text, struct td_address *address, struct td_failure *failure);

#endif
