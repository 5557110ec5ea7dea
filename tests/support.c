/* Daemons and raw clients for tests. SPDX-License-Identifier: Apache-2.0 */
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <msgpack.h>

#define START_MS 15000
#define STOP_MS 10000

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* ---- daemons ---- */

static void show_log(const struct test_daemon *daemon)
{
    char line[1024];
    FILE *log = fopen(daemon->log, "r");
    while (log && fgets(line, sizeof line, log))
        print_error("  daemon: %s", line);
    if (log)
        fclose(log);
}

static void run_daemon(const struct test_daemon *daemon, const char *const *arguments)
{
    const char *program = getenv("TENSORD_BIN"), *device = getenv("TEST_DEVICE");
    /* Whoever wants a dashboard says where: of an option that is given twice the last one counts. */
    const char *argv[32] = {program ? program : "build/plain/tensord",
                            "--listen",
                            daemon->address,
                            "--web",
                            "off",
                            "--device",
                            device ? device : "cpu"};
    for (int k = 7; arguments && *arguments && k < 31; k++)
        argv[k] = *arguments++;
    int log = open(daemon->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that crashes leaves no daemon behind */
    dup2(log, 1);
    dup2(log, 2);
    execv(argv[0], (char **)argv);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int daemon_start(struct test_daemon *daemon, const char *const *arguments)
{
    *daemon = (struct test_daemon){.folder = "/tmp/tensord-test-XXXXXX"};
    if (!mkdtemp(daemon->folder))
        return -1;
    snprintf(daemon->path, sizeof daemon->path, "%s/socket", daemon->folder);
    snprintf(daemon->log, sizeof daemon->log, "%s/log", daemon->folder);
    snprintf(daemon->address, sizeof daemon->address, "unix:%s", daemon->path);
    fflush(NULL);
    daemon->pid = fork();
    if (daemon->pid == 0)
        run_daemon(daemon, arguments);
    setpgid(daemon->pid, daemon->pid); /* whoever is first; the other one fails and it does not matter */
    for (int64_t end = now_ms() + START_MS; now_ms() < end; sleep_ms(5)) {
        int fd = try_connect(daemon->path), status;
        if (fd >= 0) {
            close(fd);
            return 0;
        }
        if (waitpid(daemon->pid, &status, WNOHANG) == daemon->pid)
            break;
    }
    print_error("the daemon did not start\n");
    show_log(daemon);
    kill(-daemon->pid, SIGKILL);
    return -1;
}

/* True once the daemon has ended; its status. */
static bool wait_end(const struct test_daemon *daemon, int *status)
{
    for (int64_t end = now_ms() + STOP_MS; now_ms() < end; sleep_ms(5))
        if (waitpid(daemon->pid, status, WNOHANG) == daemon->pid)
            return true;
    print_error("the daemon does not end\n");
    kill(-daemon->pid, SIGKILL);
    waitpid(daemon->pid, status, 0);
    return false;
}

int daemon_stop(struct test_daemon *daemon)
{
    int status = 0;
    kill(daemon->pid, SIGTERM);
    bool right = wait_end(daemon, &status);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        print_error("the daemon ended with status %#x\n", (unsigned)status);
        right = false;
    }
    if (kill(-daemon->pid, SIGKILL) == 0) {
        print_error("the daemon left a process behind\n");
        right = false;
    }
    if (access(daemon->path, F_OK) == 0) {
        print_error("the daemon left its socket behind\n");
        right = false;
    }
    if (!right)
        show_log(daemon);
    unlink(daemon->log);
    if (rmdir(daemon->folder)) {
        print_error("the daemon left files in %s\n", daemon->folder);
        right = false;
    }
    return right ? 0 : -1;
}

static pid_t child_of(pid_t parent, const char *name)
{
    char path[64], children[256] = "", found[32];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    (void)!fgets(children, sizeof children, file);
    fclose(file);
    for (char *at = children; *at;) {
        pid_t pid = (pid_t)strtol(at, &at, 10);
        at += strspn(at, " ");
        snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        file = fopen(path, "r");
        if (file && fgets(found, sizeof found, file) && !strncmp(found, name, strlen(name))) {
            fclose(file);
            return pid;
        }
        if (file)
            fclose(file);
    }
    return 0;
}

pid_t daemon_child(const struct test_daemon *daemon, const char *name, pid_t other)
{
    pid_t pid;
    for (int64_t end = now_ms() + START_MS; !(pid = child_of(daemon->pid, name)) || pid == other; sleep_ms(5))
        if (now_ms() > end)
            fail_msg("there is no %s", name);
    return pid;
}

/* ---- raw clients ---- */

struct raw raw_connect(const struct test_daemon *daemon)
{
    struct raw raw = {.fd = try_connect(daemon->path)};
    assert_true(raw.fd >= 0);
    raw.out = raw.at = malloc(2 * TD_FRAME_MAX);
    raw.in = malloc(2 * TD_FRAME_MAX);
    assert_non_null(raw.out);
    assert_non_null(raw.in);
    return raw;
}

struct raw raw_open(const struct test_daemon *daemon)
{
    struct td_hello hello = {TD_PROTOCOL_MIN, TD_PROTOCOL_MAX, td_ops_hash(), 0, "raw", TD_PURPOSE_SESSION, ""};
    struct raw raw = raw_connect(daemon);
    uint8_t bytes[TD_HELLO_MAX];
    size_t length = td_hello_encode(&hello, bytes);
    assert_true(raw_frame(&raw, bytes, length));
    raw.bytes_sent = 0; /* credits do not count the HELLO, which the supervisor took */
    assert_int_equal(raw_receive(&raw, RAW_WAIT_MS), TD_REPLY_WELCOME);
    td_read_uint(&raw.reply);
    raw.session = td_read_uint(&raw.reply);
    raw.life = td_read_uint(&raw.reply);
    assert_false(raw.reply.failed);
    return raw;
}

void raw_close(struct raw *raw)
{
    if (raw->fd >= 0)
        close(raw->fd);
    free(raw->out);
    free(raw->in);
    *raw = (struct raw){.fd = -1};
}

bool raw_send(struct raw *raw, const void *data, size_t bytes)
{
    int64_t end = now_ms() + RAW_WAIT_MS;
    for (const char *at = data; bytes > 0;) {
        struct pollfd ready = {raw->fd, POLLOUT, 0};
        if (poll(&ready, 1, (int)(end - now_ms() > 0 ? end - now_ms() : 0)) <= 0)
            return false;
        ssize_t sent = send(raw->fd, at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        at += sent > 0 ? sent : 0;
        bytes -= sent > 0 ? (size_t)sent : 0;
        raw->bytes_sent += sent > 0 ? (uint64_t)sent : 0;
    }
    return true;
}

bool raw_frame(struct raw *raw, const void *payload, size_t bytes)
{
    uint8_t length[TD_FRAME_HEADER];
    td_write_be32(length, (uint32_t)bytes);
    return raw_send(raw, length, sizeof length) && raw_send(raw, payload, bytes);
}

void raw_request(struct raw *raw, uint32_t flags, uint32_t site, uint32_t count, uint64_t id)
{
    if (raw->at == raw->out)
        raw->at = td_write_uint(raw->out, 0);
    raw->at = td_write_array(td_write_uint(td_write_uint(raw->at, flags), site), count);
    raw->at = td_write_uint(raw->at, id);
    raw->requests++;
}

bool raw_flush(struct raw *raw)
{
    size_t bytes = (size_t)(raw->at - raw->out);
    raw->at = raw->out;
    return bytes == 0 || raw_frame(raw, raw->out, bytes);
}

/* True when all bytes are there; false with *result set. */
static bool receive_bytes(struct raw *raw, uint8_t *to, size_t bytes, int64_t end, int *result)
{
    while (bytes > 0) {
        struct pollfd ready = {raw->fd, POLLIN, 0};
        int64_t left = end - now_ms();
        if (poll(&ready, 1, (int)(left > 0 ? left : 0)) <= 0) {
            *result = RAW_TIMEOUT;
            return false;
        }
        ssize_t got = recv(raw->fd, to, bytes, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            *result = RAW_CLOSED;
            return false;
        }
        to += got > 0 ? got : 0;
        bytes -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

int raw_receive_any(struct raw *raw, int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    uint8_t length[TD_FRAME_HEADER];
    int result;
    if (!receive_bytes(raw, length, sizeof length, end, &result))
        return result;
    raw->in_bytes = (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
    assert_true(raw->in_bytes > 0 && raw->in_bytes <= TD_FRAME_MAX);
    if (!receive_bytes(raw, raw->in, raw->in_bytes, end, &result))
        return result;
    raw->reply = td_reader_of(raw->in, raw->in_bytes);
    assert_true(td_read_array(&raw->reply) >= 2);
    int kind = (int)td_read_uint(&raw->reply);
    assert_false(raw->reply.failed);
    if (kind == TD_REPLY_CREDIT) {
        raw->executed = td_read_uint(&raw->reply);
        raw->bytes_taken = td_read_uint(&raw->reply);
        assert_true(raw->executed <= raw->requests && raw->bytes_taken <= raw->bytes_sent);
    }
    return kind;
}

int raw_receive(struct raw *raw, int timeout_ms)
{
    int kind;
    do
        kind = raw_receive_any(raw, timeout_ms);
    while (kind == TD_REPLY_CREDIT);
    return kind;
}

static void take_text(struct td_reader *reader, char *text, size_t room)
{
    uint32_t bytes;
    const char *at = td_read_text(reader, &bytes);
    assert_non_null(at);
    assert_true(bytes < room);
    memcpy(text, at, bytes);
    text[bytes] = 0;
}

struct raw_error raw_take_error(struct td_reader *reader)
{
    struct raw_error error = {0};
    if (td_read_nil(reader))
        return error;
    assert_int_equal(td_read_array(reader), 6);
    error.code = (int)td_read_uint(reader);
    error.request = td_read_uint(reader);
    take_text(reader, error.op, sizeof error.op);
    take_text(reader, error.site, sizeof error.site);
    take_text(reader, error.message, sizeof error.message);
    take_text(reader, error.hint, sizeof error.hint);
    assert_false(reader->failed);
    assert_string_not_equal(td_error_name(error.code), "?");
    return error;
}

/* Takes a reply of kind to request number, up to its own elements. */
static void take_answer(struct raw *raw, uint64_t number, int kind)
{
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), kind);
    assert_int_equal(td_read_uint(&raw->reply), number);
    assert_int_equal(td_read_uint(&raw->reply), number);
}

struct raw_error raw_barrier(struct raw *raw, bool clear)
{
    raw_request(raw, 0, 0, 1, clear ? TD_R_CLEAR_ERROR : TD_R_BARRIER);
    assert_true(raw_flush(raw));
    take_answer(raw, raw->requests, TD_REPLY_DONE);
    return raw_take_error(&raw->reply);
}

struct raw_error raw_read(struct raw *raw, uint32_t handle, double *values, size_t room, size_t *count)
{
    raw_request(raw, 0, 0, 3, TD_R_READ);
    raw->at = td_write_uint(td_write_uint(raw->at, handle), TD_F64);
    assert_true(raw_flush(raw));
    uint64_t total = 1, received = 0;
    *count = 0;
    while (received < total) {
        uint32_t bytes;
        take_answer(raw, raw->requests, TD_REPLY_DATA);
        struct raw_error error = raw_take_error(&raw->reply);
        uint64_t dtype = td_read_uint(&raw->reply);
        total = td_read_uint(&raw->reply);
        assert_int_equal(td_read_uint(&raw->reply), received);
        const void *data = td_read_bin(&raw->reply, &bytes);
        assert_non_null(data);
        assert_true(raw->reply.at == raw->reply.end);
        if (error.code)
            return error;
        assert_int_equal(dtype, TD_F64);
        assert_true(total <= room * sizeof *values && bytes <= total - received);
        memcpy((char *)values + received, data, bytes);
        received += bytes;
    }
    *count = total / sizeof *values;
    return (struct raw_error){0};
}

static const msgpack_object *entry_of(const msgpack_object *map, const char *key, size_t length)
{
    for (uint32_t k = 0; map->type == MSGPACK_OBJECT_MAP && k < map->via.map.size; k++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[k];
        if (pair->key.via.str.size == length && !memcmp(pair->key.via.str.ptr, key, length))
            return &pair->val;
    }
    return NULL;
}

/* This session's own entry of the list of sessions. */
static const msgpack_object *own_entry(const msgpack_object *sessions, uint64_t session)
{
    for (uint32_t k = 0; sessions && k < sessions->via.array.size; k++) {
        const msgpack_object *id = entry_of(&sessions->via.array.ptr[k], "id", 2);
        if (id && id->via.u64 == session)
            return &sessions->via.array.ptr[k];
    }
    return NULL;
}

uint64_t raw_status(struct raw *raw, const char *key)
{
    raw_request(raw, 0, 0, 1, TD_R_STATUS);
    assert_true(raw_flush(raw));
    return raw_take_status(raw, raw->requests, key);
}

uint64_t raw_take_status(struct raw *raw, uint64_t number, const char *key)
{
    take_answer(raw, number, TD_REPLY_MAP);
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    const char *bytes = (const char *)raw->reply.at;
    assert_int_equal(msgpack_unpack_next(&unpacked, bytes, td_reader_left(&raw->reply), &offset), 2);
    assert_int_equal(offset, td_reader_left(&raw->reply));
    const msgpack_object *at = &unpacked.data;
    if (!strncmp(key, "mine.", 5)) {
        at = own_entry(entry_of(at, "sessions", 8), raw->session);
        key += 5;
    }
    for (const char *dot; at && (dot = strchr(key, '.')); key = dot + 1)
        at = entry_of(at, key, (size_t)(dot - key));
    at = at ? entry_of(at, key, strlen(key)) : NULL;
    if (!at)
        fail_msg("STATUS has no %s", key);
    uint64_t value = at->type == MSGPACK_OBJECT_ARRAY ? at->via.array.size : at->via.u64;
    msgpack_unpacked_destroy(&unpacked);
    return value;
}

int raw_goodbye(struct raw *raw, char message[TD_MESSAGE_BYTES])
{
    int kind;
    do /* what was answered before comes first */
        kind = raw_receive(raw, RAW_WAIT_MS);
    while (kind > 0 && kind != TD_REPLY_GOODBYE);
    assert_int_equal(kind, TD_REPLY_GOODBYE);
    int code = (int)td_read_uint(&raw->reply);
    take_text(&raw->reply, message, TD_MESSAGE_BYTES);
    assert_int_equal(raw_receive(raw, RAW_WAIT_MS), RAW_CLOSED);
    return code;
}

void daemon_wait_empty(const struct test_daemon *daemon)
{
    struct raw raw = raw_open(daemon); /* the one session that is left */
    uint64_t sessions = 0, bytes = 0;
    for (int k = 0; k < 1000; k++) {
        sessions = raw_status(&raw, "sessions");
        bytes = raw_status(&raw, "device.used_bytes");
        if (sessions == 1 && bytes == 0) {
            raw_close(&raw);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("%llu sessions and %llu bytes are left", (unsigned long long)sessions - 1, (unsigned long long)bytes);
}
