/* The listening socket: one daemon for each path, by a lock that the kernel drops when its holder ends.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/log.h"
#include "server/supervisor/internal.h"

/* Clients that the kernel holds for us: a class that starts its programs at once. */
#define BACKLOG 256
/* Accepted in one go before the loop turns to others. */
#define ACCEPTS_MAX 64
/* How long nothing is accepted when descriptors have run out: it would be tried again and again in vain. */
#define REST_MS 100

/* The default path's folder is made if it is not there; in /tmp it must be ours alone, or somebody else could put a
 * socket of theirs in the place of ours. */
static int make_folder(const char *path, struct td_failure *failure)
{
    char folder[TD_PATH_BYTES];
    struct stat found;
    mode_t mode = getuid() ? 0700 : 0755;
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (!mkdir(folder, mode))
        chmod(folder, mode); /* whatever the umask is */
    else if (errno != EEXIST)
        return td_fail(failure, TD_E_ARGUMENT, "cannot make the folder '%s': %s", folder, strerror(errno));
    if (lstat(folder, &found) || !S_ISDIR(found.st_mode))
        return td_fail(failure, TD_E_ARGUMENT, "'%s' is not a folder", folder);
    if (found.st_uid == getuid() && !(found.st_mode & 0777 & ~mode))
        return TD_E_OK;
    td_fail(failure, TD_E_ARGUMENT, "the folder '%s' belongs to user %u and has mode %03o", folder,
            (unsigned)found.st_uid, found.st_mode & 0777);
    return td_hint(failure, "It must belong to user %u and have mode %03o; remove it or choose another with --listen.",
                   (unsigned)getuid(), (unsigned)mode);
}

static bool is_default(const char *path)
{
    struct td_address address;
    struct td_failure ignored = {0};
    return td_address_default_listen(&address, &ignored) == TD_E_OK && !strcmp(address.path, path);
}

static int refuse_second(const struct listener *listener, const char *path, int lock, struct td_failure *failure)
{
    char pid[16] = "";
    ssize_t bytes = pread(lock, pid, sizeof pid - 1, 0);
    pid[bytes > 0 ? strcspn(pid, "\n") : 0] = 0;
    td_fail(failure, TD_E_ARGUMENT, "another tensord (pid %s) serves '%s'", *pid ? pid : "not known", path);
    return td_hint(failure, "It holds the lock '%s'.", listener->lock_path);
}

/* Whoever ends removes its lock file, so the file that we locked may be one that has no name any more. */
static bool still_there(int lock, const char *path)
{
    struct stat ours, named;
    return !fstat(lock, &ours) && !stat(path, &named) && ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

static int take_lock(struct listener *listener, const char *path, struct td_failure *failure)
{
    snprintf(listener->lock_path, sizeof listener->lock_path, "%s.lock", path);
    for (;;) {
        int lock = open(listener->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (lock < 0)
            return td_fail(failure, TD_E_ARGUMENT, "cannot open the lock '%s': %s", listener->lock_path,
                           strerror(errno));
        if (flock(lock, LOCK_EX | LOCK_NB)) {
            int code = errno == EWOULDBLOCK ? refuse_second(listener, path, lock, failure)
                                            : td_fail(failure, TD_E_ARGUMENT, "cannot lock '%s': %s",
                                                      listener->lock_path, strerror(errno));
            close(lock);
            return code;
        }
        if (still_there(lock, listener->lock_path)) {
            listener->lock = lock;
            break;
        }
        close(lock);
    }
    if (ftruncate(listener->lock, 0) || dprintf(listener->lock, "%d\n", (int)getpid()) < 0)
        log_event(LOG_WARN, 0, "cannot write the lock '%s': %s", listener->lock_path, strerror(errno));
    return TD_E_OK;
}

void listener_unlock(struct listener *listener)
{
    if (listener->lock < 0)
        return;
    unlink(listener->lock_path); /* before it is free, so that nobody's new one is removed */
    close(listener->lock);
    listener->lock = -1;
}

static int bind_socket(struct listener *listener, const char *path, struct td_failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat found;
    if (!lstat(path, &found)) { /* we hold the lock: what is there was left behind */
        if (!S_ISSOCK(found.st_mode))
            return td_fail(failure, TD_E_ARGUMENT, "'%s' is there and is not a socket", path);
        unlink(path);
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0117); /* mode 0660 from the first moment on */
    int status = descriptor < 0 ? -1 : bind(descriptor, (const struct sockaddr *)&address, sizeof address);
    umask(before);
    if (!status && !listen(descriptor, BACKLOG)) {
        listener->descriptor = descriptor;
        return TD_E_OK;
    }
    td_fail(failure, TD_E_ARGUMENT, "cannot listen at '%s': %s", path, strerror(errno));
    if (descriptor >= 0)
        close(descriptor);
    return failure->code;
}

static void on_client(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    supervisor->listener.resting = false;
    listener_update(supervisor);
}

int listener_open(struct supervisor *supervisor, struct td_failure *failure)
{
    struct listener *listener = &supervisor->listener;
    const char *path = supervisor->config->listen.path;
    if (is_default(path) && (getuid() == 0 || !strncmp(path, "/tmp/tensord-", 13)) &&
        make_folder(path, failure) != TD_E_OK)
        return failure->code;
    if (take_lock(listener, path, failure) != TD_E_OK || bind_socket(listener, path, failure) != TD_E_OK)
        return failure->code;
    uv_poll_init(&supervisor->loop, &listener->poll, listener->descriptor);
    uv_timer_init(&supervisor->loop, &listener->pause);
    listener->poll.data = listener->pause.data = supervisor;
    listener_update(supervisor);
    return TD_E_OK;
}

void listener_update(struct supervisor *supervisor)
{
    struct listener *listener = &supervisor->listener;
    if (listener->descriptor < 0)
        return;
    bool full = supervisor->greeting_count >= GREETINGS_MAX || supervisor->kept_count >= KEPT_MAX;
    if (full || listener->resting)
        uv_poll_stop(&listener->poll);
    else if (!uv_is_active((uv_handle_t *)&listener->poll))
        uv_poll_start(&listener->poll, UV_READABLE, on_client);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct supervisor *supervisor = poll->data;
    struct listener *listener = &supervisor->listener;
    (void)status; /* an error shows itself in accept */
    (void)events;
    for (int i = 0; i < ACCEPTS_MAX && supervisor->greeting_count < GREETINGS_MAX; i++) {
        int descriptor = accept4(listener->descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (descriptor >= 0) {
            greeting_start(supervisor, descriptor);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EAGAIN)
            break;
        log_event(LOG_ERROR, 0, "cannot accept a client: %s", strerror(errno));
        listener->resting = true;
        uv_timer_start(&listener->pause, on_rested, REST_MS, 0);
        break;
    }
    listener_update(supervisor);
}

void listener_stop(struct supervisor *supervisor)
{
    struct listener *listener = &supervisor->listener;
    if (listener->descriptor < 0)
        return;
    unlink(supervisor->config->listen.path);
    uv_close((uv_handle_t *)&listener->poll, NULL);
    uv_close((uv_handle_t *)&listener->pause, NULL);
    close(listener->descriptor);
    listener->descriptor = -1;
}
