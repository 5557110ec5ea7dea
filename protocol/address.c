/* Addresses. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/address.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_PATH "/run/tensord/tensord.sock"

static int set_path(struct td_address *address, struct td_failure *failure, const char *path)
{
    size_t bytes = strlen(path);
    if (!bytes)
        return td_fail(failure, TD_E_ARGUMENT, "the address 'unix:' names no path");
    if (bytes >= sizeof address->path)
        return td_fail(failure, TD_E_ARGUMENT, "the socket path '%s' has %zu bytes, a unix socket takes %zu", path,
                       bytes, sizeof address->path - 1);
    memcpy(address->path, path, bytes + 1);
    return TD_E_OK;
}

int td_address_parse(const char *text, struct td_address *address, struct td_failure *failure)
{
    if (!strncmp(text, "unix:", 5))
        return set_path(address, failure, text + 5);
    if (!strncmp(text, "tcp:", 4) || !strncmp(text, "ssh:", 4))
        return td_fail(failure, TD_E_ARGUMENT, "the address '%s' is not available in this version: only unix:PATH is",
                       text);
    td_fail(failure, TD_E_ARGUMENT, "'%s' is not an address", text);
    return td_hint(failure, "Write unix:PATH.");
}

/* The socket of a daemon that this user started. */
static int own_path(struct td_address *address, struct td_failure *failure)
{
    char path[4096];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (!getuid())
        return set_path(address, failure, SYSTEM_PATH);
    if (runtime && runtime[0] == '/') /* a relative one is to be ignored, says its specification */
        snprintf(path, sizeof path, "%s/tensord.sock", runtime);
    else
        snprintf(path, sizeof path, "/tmp/tensord-%u/tensord.sock", (unsigned)getuid());
    return set_path(address, failure, path);
}

int td_address_default_listen(struct td_address *address, struct td_failure *failure)
{
    return own_path(address, failure);
}

/* A socket of this user's, in a folder of this user's: in /tmp anybody could have made either. */
static bool is_own_socket(const char *path)
{
    char folder[TD_PATH_BYTES];
    struct stat of_socket, of_folder;
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    return !lstat(folder, &of_folder) && S_ISDIR(of_folder.st_mode) && of_folder.st_uid == getuid() &&
           !lstat(path, &of_socket) && S_ISSOCK(of_socket.st_mode);
}

int td_address_default_connect(const char *text, struct td_address *address, struct td_failure *failure)
{
    if (!text || !*text)
        text = getenv("TENSORD");
    if (text && *text)
        return td_address_parse(text, address, failure);
    struct td_failure ignored = {0};
    if (own_path(address, &ignored) == TD_E_OK && is_own_socket(address->path))
        return TD_E_OK;
    return set_path(address, failure, SYSTEM_PATH);
}
