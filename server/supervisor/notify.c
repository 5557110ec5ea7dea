/* The service manager's readiness protocol, sd_notify(3), by hand: it is one datagram to the socket that
 * $NOTIFY_SOCKET names, and libsystemd would be a dependency for it that a machine without systemd does not have.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/log.h"
#include "server/supervisor/internal.h"

void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = path ? strlen(path) : 0;
    if (!bytes || bytes >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, bytes);
    if (path[0] == '@') /* an abstract name: a 0 byte in front, none at the end */
        address.sun_path[0] = 0;
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    if (descriptor < 0 || sendto(descriptor, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                                 (const struct sockaddr *)&address, length) < 0)
        log_event(LOG_WARN, 0, "cannot notify %s of %s", path, state);
    if (descriptor >= 0)
        close(descriptor);
}
