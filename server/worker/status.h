/* What the daemon tells about itself. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_STATUS_H
#define TD_SERVER_WORKER_STATUS_H

#include "server/worker/session.h"

/* Answer STATUS and TABLE; protocol/README.md lists the keys. */
void status_reply(struct session *session);
void table_reply(struct session *session);

#endif
