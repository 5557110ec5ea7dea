/* Memory of the host that a client and the daemon both see: bytes go in and out of tensors without the socket carrying
 * them. The daemon makes it and passes its descriptor, sealed: it can become neither shorter nor longer, so that the
 * daemon never touches what is not there. The client may write to it at any time. So it is only ever copied from, each
 * byte once, and nothing is believed of it. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_SERVER_WORKER_HOST_H
#define TD_SERVER_WORKER_HOST_H

#include "server/worker/request.h"

struct host {
    char *memory;
    size_t bytes;
    bool pinned; /* the device moves bytes from and to it by itself */
};

void run_host_alloc(struct session *session, struct request *request, struct td_failure *failure);
void run_host_free(struct session *session, struct request *request, struct td_failure *failure);
/* Begins to give one more back of a session that ends. True: the session is parked until it is. */
bool hosts_release(struct session *session);
/* The memory of the number that is next, and where in it; bytes must lie there. NULL and a failure otherwise. */
struct host *hosts_take(struct session *session, struct request *request, size_t *at, struct td_failure *failure);
/* Bytes from at on lie in it. */
bool host_has(const struct host *host, size_t at, uint64_t bytes, struct td_failure *failure);

#endif
