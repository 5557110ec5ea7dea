/* The supervisor from outside. This program is its own daemon: started with TEST_ROLE set it is a supervisor, which
 * starts it once more as a worker whose way can be chosen (standin.h). At the end the built tensord.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/message.h"
#include "server/config.h"
#include "tests/standin.h"

/* Long enough for a loaded machine and sanitizers; nothing waits for it in vain. */
#define PATIENCE_MS 20000

/* ---- a daemon in a folder of its own ---- */

struct daemon {
    char folder[64], path[96], log[96];
    const char *worker;  /* its way: TEST_WORKER */
    const char *devices; /* NULL: the CPU */
    const char *program; /* NULL: this one */
    int descriptors;     /* limit of open files, 0: as it is */
    pid_t pid;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_ms(int ms)
{
    poll(NULL, 0, ms);
}

static void spawn_daemon(struct daemon *daemon, const char *log)
{
    char listen_option[128], device_option[128];
    const char *program = daemon->program ? daemon->program : "/proc/self/exe";
    snprintf(listen_option, sizeof listen_option, "--listen=unix:%s", daemon->path);
    snprintf(device_option, sizeof device_option, "--device=%s", daemon->devices ? daemon->devices : "cpu");
    fflush(NULL);
    daemon->pid = fork();
    assert_true(daemon->pid >= 0);
    if (daemon->pid)
        return;
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("TEST_ROLE", "supervisor", 1);
    setenv("TEST_WORKER", daemon->worker ? daemon->worker : "", 1);
    if (daemon->descriptors) {
        struct rlimit limit = {(rlim_t)daemon->descriptors, (rlim_t)daemon->descriptors};
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    execl(program, "tensord", listen_option, "--log-level=debug", device_option, "--web=off", (char *)NULL);
    _exit(127);
}

static bool log_has(const char *log, const char *text)
{
    char content[65536];
    int file = open(log, O_RDONLY);
    ssize_t bytes = file < 0 ? -1 : read(file, content, sizeof content - 1);
    close(file);
    content[bytes > 0 ? bytes : 0] = 0;
    return strstr(content, text) != NULL;
}

static void await_log(const char *log, const char *text)
{
    for (int64_t end = now_ms() + PATIENCE_MS; !log_has(log, text); wait_ms(5))
        if (now_ms() > end)
            fail_msg("'%s' never came in %s", text, log);
}

static void make_folder(struct daemon *daemon)
{
    snprintf(daemon->folder, sizeof daemon->folder, "/tmp/tensord-test-XXXXXX");
    assert_non_null(mkdtemp(daemon->folder));
    snprintf(daemon->path, sizeof daemon->path, "%s/tensord.sock", daemon->folder);
    snprintf(daemon->log, sizeof daemon->log, "%s/log", daemon->folder);
}

static void start_daemon(struct daemon *daemon)
{
    make_folder(daemon);
    spawn_daemon(daemon, daemon->log);
    await_log(daemon->log, daemon->worker && !strcmp(daemon->worker, "die") ? "worker 3 (pid" : "ready after ");
    await_log(daemon->log, daemon->worker && !strcmp(daemon->worker, "die") ? "status 3" : "serves cpu at unix:");
}

/* The wait status of a process that ends, by a signal that is sent again and again if not 0. */
static int await_exit(pid_t pid, int number)
{
    int status;
    for (int64_t end = now_ms() + PATIENCE_MS; !waitpid(pid, &status, WNOHANG); wait_ms(1)) {
        if (number)
            kill(pid, number);
        if (now_ms() > end)
            fail_msg("process %d does not end", (int)pid);
    }
    return status;
}

static void expect_clean_end(struct daemon *daemon, int status)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        fail_msg("the daemon ended with wait status %#x", status);
    unlink(daemon->log);
    assert_int_equal(rmdir(daemon->folder), 0);
}

/* Ends the daemon by a signal; it has to leave in order, and its folder has to be empty but for the log. */
static void stop_daemon(struct daemon *daemon, int number)
{
    kill(daemon->pid, number);
    expect_clean_end(daemon, await_exit(daemon->pid, 0));
}

static bool is_alive(pid_t pid)
{
    return !kill(pid, 0);
}

/* ---- a client ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    return client;
}

static size_t hello_frame(uint64_t life, uint8_t *at)
{
    struct td_hello hello = {.version_min = TD_PROTOCOL_MIN, .version_max = TD_PROTOCOL_MAX, .life = life};
    snprintf(hello.program, sizeof hello.program, "test");
    size_t bytes = td_hello_encode(&hello, at + TD_FRAME_HEADER);
    td_write_be32(at, (uint32_t)bytes);
    return bytes + TD_FRAME_HEADER;
}

static void send_all(int client, const void *data, size_t bytes)
{
    assert_int_equal(send(client, data, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

/* The worker's line, taken apart. */
struct answer {
    int number, life, uid, pid, worker;
    char threads[8], notify[8], program[32], lost[TD_MESSAGE_BYTES];
};

static struct answer read_answer(int client)
{
    char line[1024];
    size_t have = 0;
    struct answer answer = {0};
    while (have < sizeof line - 1 && recv(client, line + have, 1, 0) == 1 && line[have] != '\n')
        have++;
    line[have] = 0;
    int found =
        sscanf(line, "number=%d life=%d uid=%d pid=%d program=%31s worker=%d threads=%7s notify=%7s lost=%383[^\n]",
               &answer.number, &answer.life, &answer.uid, &answer.pid, answer.program, &answer.worker, answer.threads,
               answer.notify, answer.lost);
    if (found < 8)
        fail_msg("not an answer: '%s'", line);
    return answer;
}

static struct answer greet(int client, uint64_t life)
{
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX];
    send_all(client, frame, hello_frame(life, frame));
    return read_answer(client);
}

/* Reads GOODBYE and the end after it; returns its code. */
static int read_goodbye(int client, char *message)
{
    uint8_t frame[1024];
    ssize_t bytes, have = 0;
    while ((bytes = recv(client, frame + have, sizeof frame - (size_t)have, 0)) > 0)
        have += bytes;
    assert_true(have > TD_FRAME_HEADER);
    uint32_t length, text_bytes;
    memcpy(&length, frame, 4);
    assert_int_equal(__builtin_bswap32(length), have - TD_FRAME_HEADER);
    struct td_reader r = td_reader_of(frame + TD_FRAME_HEADER, (size_t)have - TD_FRAME_HEADER);
    assert_int_equal(td_read_array(&r), 3);
    assert_int_equal(td_read_uint(&r), TD_REPLY_GOODBYE);
    int code = (int)td_read_uint(&r);
    const char *text = td_read_text(&r, &text_bytes);
    assert_false(r.failed);
    snprintf(message, TD_MESSAGE_BYTES, "%.*s", (int)text_bytes, text);
    close(client);
    return code;
}

/* ---- the tests ---- */

static void expect_notification(const struct sockaddr_un *address, socklen_t length, const char *name)
{
    struct daemon daemon = {0};
    char text[64];
    struct stat found;
    int notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(notified, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(bind(notified, (const struct sockaddr *)address, length), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    make_folder(&daemon);
    spawn_daemon(&daemon, daemon.log);
    ssize_t bytes = recv(notified, text, sizeof text, 0);
    assert_int_equal(bytes, 7);
    assert_memory_equal(text, "READY=1", 7);
    int client = connect_to(daemon.path); /* whoever was told so can connect */
    assert_string_equal(greet(client, 0).notify, "unset");
    close(client);
    assert_int_equal(stat(daemon.path, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0660);
    unsetenv("NOTIFY_SOCKET");
    stop_daemon(&daemon, SIGTERM);
    close(notified);
}

static void test_notifies_a_path(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/tensord-notify-%d", (int)getpid());
    expect_notification(&address, sizeof address, address.sun_path);
    unlink(address.sun_path);
}

static void test_notifies_an_abstract_name(void **state)
{
    (void)state;
    char name[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int bytes = snprintf(name, sizeof name, "@tensord-notify-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)bytes - 1);
    expect_notification(&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)bytes), name);
}

static void test_second_is_refused(void **state)
{
    (void)state;
    struct daemon first = {0}, second;
    char pid[32], log[128];
    start_daemon(&first);
    second = first;
    snprintf(log, sizeof log, "%s/second", first.folder);
    spawn_daemon(&second, log);
    int status = await_exit(second.pid, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    snprintf(pid, sizeof pid, "(pid %d)", (int)first.pid);
    assert_true(log_has(log, pid));
    assert_true(log_has(log, first.path));
    int client = connect_to(first.path); /* and the first has not noticed */
    assert_int_equal(greet(client, 0).life, 1);
    close(client);
    unlink(log);
    stop_daemon(&first, SIGTERM);
}

static void test_stale_socket_is_taken_over(void **state)
{
    (void)state;
    struct daemon daemon = {0};
    start_daemon(&daemon);
    int client = connect_to(daemon.path);
    pid_t worker = greet(client, 0).worker;
    kill(daemon.pid, SIGKILL);
    await_exit(daemon.pid, 0);
    for (int64_t end = now_ms() + PATIENCE_MS; is_alive(worker) && now_ms() < end;)
        wait_ms(5);
    assert_false(is_alive(worker)); /* it dies with its supervisor */
    close(client);
    assert_int_equal(access(daemon.path, F_OK), 0);
    unlink(daemon.log);
    spawn_daemon(&daemon, daemon.log);
    await_log(daemon.log, "serves cpu at");
    client = connect_to(daemon.path);
    assert_int_equal(greet(client, 0).life, 1);
    close(client);
    stop_daemon(&daemon, SIGTERM);
}

static void test_a_file_is_not_removed(void **state)
{
    (void)state;
    struct daemon daemon = {0};
    make_folder(&daemon);
    close(open(daemon.path, O_CREAT | O_WRONLY, 0600));
    spawn_daemon(&daemon, daemon.log);
    int status = await_exit(daemon.pid, 0);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_true(log_has(daemon.log, "is not a socket"));
    assert_int_equal(unlink(daemon.path), 0);
    unlink(daemon.log);
    assert_int_equal(rmdir(daemon.folder), 0);
}

static void test_hands_over(void **state)
{
    (void)state;
    struct daemon daemon = {0};
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX + 2];
    char back[2];
    start_daemon(&daemon);
    int client = connect_to(daemon.path);
    size_t bytes = hello_frame(0, frame);
    memcpy(frame + bytes, "ab", 2); /* sent along: they belong to the worker */
    send_all(client, frame, bytes + 2);
    struct answer answer = read_answer(client);
    assert_int_equal(answer.life, 1);
    assert_int_equal(answer.uid, getuid());
    assert_int_equal(answer.pid, getpid());
    assert_string_equal(answer.program, "test");
    assert_string_equal(answer.threads, "1");
    assert_string_equal(answer.lost, "");
    assert_int_equal(recv(client, back, 2, MSG_WAITALL), 2);
    assert_memory_equal(back, "ab", 2);
    int slow = connect_to(daemon.path); /* a byte at a time */
    bytes = hello_frame(0, frame);
    for (size_t i = 0; i < bytes; i++) {
        send_all(slow, frame + i, 1);
        wait_ms(1);
    }
    assert_int_equal(read_answer(slow).number, 2);
    close(slow);
    close(client);
    stop_daemon(&daemon, SIGTERM);
}

static void test_refuses_what_is_no_hello(void **state)
{
    (void)state;
    struct daemon daemon = {0};
    char message[TD_MESSAGE_BYTES];
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX];
    static const struct {
        const char *bytes;
        size_t count;
    } garbage[] = {
        {"\0\0\0\5abcde", 9},                              /* not msgpack of ours */
        {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35}, /* a length of a gigabyte */
        {"\0\0\0\0", 4},                                   /* no payload */
        {"\0\0\4\1", 4},                                   /* TD_HELLO_MAX + 1 */
        {"\0\0\0\x9\x96\xa7tensord", 13},                  /* cut short inside */
    };
    start_daemon(&daemon);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        int client = connect_to(daemon.path);
        send_all(client, garbage[i].bytes, garbage[i].count);
        assert_int_equal(read_goodbye(client, message), TD_E_PROTOCOL);
        assert_true(strlen(message) > 0);
    }
    struct td_hello old = {.version_min = 77, .version_max = 78, .program = "test"};
    size_t bytes = td_hello_encode(&old, frame + TD_FRAME_HEADER);
    td_write_be32(frame, (uint32_t)bytes);
    int client = connect_to(daemon.path);
    send_all(client, frame, bytes + TD_FRAME_HEADER);
    assert_int_equal(read_goodbye(client, message), TD_E_VERSION);
    assert_non_null(strstr(message, "77 to 78"));
    stop_daemon(&daemon, SIGTERM);
}

static void test_does_not_wait_for_ever(void **state)
{
    (void)state;
    struct daemon daemon = {0};
    char message[TD_MESSAGE_BYTES];
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX];
    size_t bytes = hello_frame(0, frame);
    start_daemon(&daemon);
    int64_t start = now_ms();
    int silent = connect_to(daemon.path), half = connect_to(daemon.path), gone = connect_to(daemon.path);
    send_all(half, frame, bytes / 2);
    send_all(gone, frame, bytes / 2);
    close(gone);
    int client = connect_to(daemon.path); /* nobody else waits for them */
    assert_int_equal(greet(client, 0).life, 1);
    close(client);
    assert_int_equal(read_goodbye(silent, message), TD_E_CLOSED);
    assert_non_null(strstr(message, "5000 ms"));
    assert_int_equal(read_goodbye(half, message), TD_E_CLOSED);
    assert_true(now_ms() - start >= TD_HELLO_TIMEOUT_MS - 50);
    stop_daemon(&daemon, SIGTERM);
}

static void test_restarts_a_lost_worker(void **state)
{
    (void)state;
    struct daemon daemon = {0};
    char expected[TD_MESSAGE_BYTES];
    start_daemon(&daemon);
    int client = connect_to(daemon.path);
    struct answer first = greet(client, 0);
    int64_t start = now_ms();
    send_all(client, "k", 1);
    char byte;
    assert_true(recv(client, &byte, 1, 0) <= 0); /* a lost worker is the connection's end, by no copy kept open */
    close(client);
    client = connect_to(daemon.path);
    struct answer second = greet(client, 1);
    assert_true(now_ms() - start < 1000);
    assert_int_equal(second.life, 2);
    snprintf(expected, sizeof expected, "worker 1 (pid %d) was killed by signal 9 (Killed)", first.worker);
    assert_string_equal(second.lost, expected);
    send_all(client, "x", 1);
    assert_true(recv(client, &byte, 1, 0) <= 0);
    close(client);
    client = connect_to(daemon.path);
    struct answer third = greet(client, 2);
    snprintf(expected, sizeof expected, "worker 2 (pid %d) exited with status 7", second.worker);
    assert_string_equal(third.lost, expected);
    close(client);
    client = connect_to(daemon.path);
    assert_string_equal(greet(client, 3).lost, ""); /* that one is alive */
    close(client);
    client = connect_to(daemon.path);
    assert_string_equal(greet(client, 4711).lost, "the worker's life 4711 is not known any more");
    close(client);
    stop_daemon(&daemon, SIGTERM);
}

static void test_keeps_a_client_until_it_is_taken(void **state)
{
    (void)state;
    struct daemon daemon = {.worker = "drop"};
    start_daemon(&daemon);
    int client = connect_to(daemon.path);
    struct answer answer = greet(client, 0);
    assert_int_equal(answer.life, 2);
    assert_int_equal(answer.number, 1);
    close(client);
    stop_daemon(&daemon, SIGTERM);
}

/* The supervisor tells of the worker's ends itself: of the newest life or the one before, whichever has ended. */
static void expect_observed_end(const char *path)
{
    struct td_hello hello = {
        .version_min = TD_PROTOCOL_MIN, .version_max = TD_PROTOCOL_MAX, .purpose = TD_PURPOSE_OBSERVE};
    uint8_t frame[4096];
    size_t bytes = td_hello_encode(&hello, frame + TD_FRAME_HEADER);
    td_write_be32(frame, (uint32_t)bytes);
    int client = connect_to(path);
    send_all(client, frame, bytes + TD_FRAME_HEADER);
    ssize_t got = recv(client, frame, sizeof frame, MSG_WAITALL); /* it ends behind its answer */
    assert_true(got > TD_FRAME_HEADER);
    struct td_reader r = td_reader_of(frame + TD_FRAME_HEADER, (size_t)got - TD_FRAME_HEADER);
    uint32_t length;
    assert_int_equal(td_read_array(&r), 6);
    assert_int_equal(td_read_uint(&r), TD_REPLY_OBSERVE);
    td_read_text(&r, &length);
    td_read_uint(&r);                      /* pid */
    td_read_uint(&r);                      /* start */
    assert_int_equal(td_read_uint(&r), 1); /* the client that waits for a worker */
    uint32_t lives = td_read_array(&r), ended = 0;
    for (uint32_t k = 0; k < lives; k++) {
        assert_int_equal(td_read_array(&r), 5);
        td_read_uint(&r);
        bool over = td_read_uint(&r) == TD_LIFE_ENDED;
        const char *cause = td_read_text(&r, &length);
        assert_true(!over || (length > 20 && !memcmp(cause + length - 8, "status 3", 8)));
        td_read_bool(&r);
        const char *device = td_read_text(&r, &length);
        assert_true(length == 3 && !memcmp(device, "cpu", 3));
        ended += over;
    }
    assert_false(r.failed);
    assert_true(lives == 5 && ended >= 4);
    close(client);
}

static void test_a_worker_that_cannot_start(void **state)
{
    (void)state;
    struct daemon daemon = {.worker = "die"};
    start_daemon(&daemon);
    int64_t start = now_ms();
    int client = connect_to(daemon.path);
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX];
    char message[TD_MESSAGE_BYTES];
    send_all(client, frame, hello_frame(0, frame));
    while (now_ms() - start < 700)
        wait_ms(20);
    expect_observed_end(daemon.path);
    assert_false(log_has(daemon.log, "worker 16 (pid")); /* starts come slower and slower */
    kill(daemon.pid, SIGTERM);
    assert_int_equal(read_goodbye(client, message), TD_E_CLOSED);
    expect_clean_end(&daemon, await_exit(daemon.pid, SIGTERM)); /* more of it to the very end do no harm */
}

/* One device of two whose workers die as they begin: it is waited for once, then clients without a wish are the other
 * one's, and who wants that one waits. */
static void test_one_of_two_that_cannot_start(void **state)
{
    (void)state;
    struct daemon daemon = {.worker = "die cuda:1", .devices = "cuda:0,cuda:1"};
    make_folder(&daemon);
    spawn_daemon(&daemon, daemon.log);
    int clients[4], waits, lives[4];
    uint8_t frame[TD_FRAME_HEADER + TD_HELLO_MAX];
    struct td_hello hello = {
        .version_min = TD_PROTOCOL_MIN, .version_max = TD_PROTOCOL_MAX, .program = "test", .device = "cuda:1"};
    await_log(daemon.log, "worker 1 on cuda:0 (pid");
    waits = connect_to(daemon.path);
    size_t bytes = td_hello_encode(&hello, frame + TD_FRAME_HEADER);
    td_write_be32(frame, (uint32_t)bytes);
    send_all(waits, frame, bytes + TD_FRAME_HEADER);
    for (int k = 0; k < 4; k++) {
        clients[k] = connect_to(daemon.path);
        lives[k] = greet(clients[k], 0).life;
        assert_int_equal(lives[k], 1);
    }
    await_log(daemon.log, "on cuda:1 (pid");
    assert_false(log_has(daemon.log, "serves cuda:0")); /* it is not ready as long as one is not */
    send_all(clients[0], "k", 1);                       /* the other one's goes on with the next life, and is told */
    char byte;
    assert_int_equal(recv(clients[0], &byte, 1, 0), 0);
    close(clients[0]);
    clients[0] = connect_to(daemon.path);
    struct answer back = greet(clients[0], 1);
    assert_true(back.life > 1);
    assert_non_null(strstr(back.lost, "worker 1 on cuda:0 (pid"));
    assert_non_null(strstr(back.lost, "was killed by signal 9"));
    assert_int_equal(recv(waits, &byte, 1, MSG_DONTWAIT), -1);
    kill(daemon.pid, SIGTERM);
    while (recv(waits, &byte, 1, 0) > 0) /* a GOODBYE, unless it was just given to a worker that died */
        ;
    close(waits);
    for (int k = 0; k < 4; k++)
        close(clients[k]);
    expect_clean_end(&daemon, await_exit(daemon.pid, 0));
}

/* A device that is gone for good: who was there and does not insist goes on with another one, and is told. */
static void test_a_device_that_does_not_come_back(void **state)
{
    (void)state;
    struct daemon daemon = {.worker = "die cuda:1", .devices = "cuda:0,cuda:1"};
    char gone[160], byte;
    make_folder(&daemon);
    snprintf(gone, sizeof gone, "%s/gone", daemon.folder);
    setenv("TEST_GONE", gone, 1);
    spawn_daemon(&daemon, daemon.log);
    unsetenv("TEST_GONE");
    await_log(daemon.log, "serves cuda:0, cuda:1 at");
    int clients[2] = {connect_to(daemon.path), connect_to(daemon.path)}, lives[2];
    for (int k = 0; k < 2; k++) /* one on each */
        lives[k] = greet(clients[k], 0).life;
    assert_int_equal(lives[0] + lives[1], 1 + 2);
    int there = lives[1] == 2;
    close(open(gone, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    send_all(clients[there], "k", 1);
    assert_int_equal(recv(clients[there], &byte, 1, 0), 0);
    close(clients[there]);
    clients[there] = connect_to(daemon.path);
    struct answer back = greet(clients[there], 2);
    assert_int_equal(back.life, 1);
    assert_non_null(strstr(back.lost, "worker 2 on cuda:1 (pid"));
    send_all(clients[!there], "?", 1); /* who was here all the time has not noticed */
    assert_int_equal(recv(clients[!there], &byte, 1, 0), 1);
    unlink(gone); /* it is there again */
    await_log(daemon.log, "on cuda:1 (pid");
    for (int64_t end = now_ms() + PATIENCE_MS; back.life == 1 && now_ms() < end;) {
        int client = connect_to(daemon.path);
        back = greet(client, 0);
        close(client);
    }
    assert_int_not_equal(back.life, 1);
    close(clients[0]);
    close(clients[1]);
    stop_daemon(&daemon, SIGTERM);
}

static void test_ends_in_order(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        struct daemon daemon = {0};
        char message[TD_MESSAGE_BYTES];
        start_daemon(&daemon);
        int client = connect_to(daemon.path), greeting = connect_to(daemon.path);
        pid_t worker = greet(client, 0).worker;
        kill(daemon.pid, SIGHUP);
        kill(worker, SIGTERM);
        send_all(client, "e", 1); /* neither has ended anything */
        assert_int_equal(recv(client, message, 1, 0), 1);
        int64_t start = now_ms();
        stop_daemon(&daemon, signals[i]);
        assert_true(now_ms() - start < 1500);
        assert_int_equal(read_goodbye(greeting, message), TD_E_CLOSED);
        assert_false(is_alive(worker));
        close(client);
    }
}

static void test_kills_a_worker_that_does_not_end(void **state)
{
    (void)state;
    struct daemon daemon = {.worker = "deaf"};
    start_daemon(&daemon);
    int client = connect_to(daemon.path);
    pid_t worker = greet(client, 0).worker;
    int64_t start = now_ms();
    stop_daemon(&daemon, SIGTERM);
    assert_true(now_ms() - start >= 1900);
    assert_false(is_alive(worker));
    close(client);
}

/* More silent clients than are greeted at once, and than there are descriptors: who comes later waits, no time is
 * burnt meanwhile, and all is as before once they leave. */
static void expect_crowd_is_survived(int descriptors)
{
    struct daemon daemon = {.descriptors = descriptors};
    int silent[160];
    char stat_path[64];
    unsigned long user = 0, system = 0;
    start_daemon(&daemon);
    for (int i = 0; i < 160; i++)
        silent[i] = connect_to(daemon.path);
    int late = connect_to(daemon.path);
    wait_ms(500);
    snprintf(stat_path, sizeof stat_path, "/proc/%d/stat", (int)daemon.pid);
    FILE *file = fopen(stat_path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                     2);
    fclose(file);
    assert_true(user + system < 30); /* of 100 a second; a loop that spins takes 50 */
    for (int i = 0; i < 160; i++)
        close(silent[i]);
    assert_int_equal(greet(late, 0).life, 1);
    close(late);
    stop_daemon(&daemon, SIGTERM);
}

static void test_a_crowd(void **state)
{
    (void)state;
    expect_crowd_is_survived(0);
    expect_crowd_is_survived(40);
}

/* ---- the built tensord ---- */

/* Runs it with one option; returns its exit status. */
static int run_tensord(const char *program, const char *option, const char *log)
{
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execl(program, "tensord", option, (char *)NULL);
        _exit(127);
    }
    return WEXITSTATUS(await_exit(pid, 0));
}

static void test_the_built_daemon(void **state)
{
    (void)state;
    struct daemon daemon = {.program = getenv("TENSORD_BIN")};
    char log[] = "/tmp/tensord-test-XXXXXX";
    if (!daemon.program || access(daemon.program, X_OK))
        skip(); /* run by hand, without the Makefile */
    close(mkstemp(log));
    assert_int_equal(run_tensord(daemon.program, "--version", log), 0);
    assert_true(log_has(log, "tensord " TD_VERSION));
    assert_int_equal(run_tensord(daemon.program, "--help", log), 0);
    assert_true(log_has(log, "--listen"));
    assert_false(log_has(log, "--worker"));
    assert_int_equal(run_tensord(daemon.program, "--frobnicate", log), 2);
    assert_true(log_has(log, "frobnicate"));
    assert_int_equal(run_tensord(daemon.program, "--memory=much", log), 2);
    assert_true(log_has(log, "much"));
    unlink(log);
    int64_t start = now_ms();
    start_daemon(&daemon);
    print_message("# tensord was ready after %d ms\n", (int)(now_ms() - start));
    stop_daemon(&daemon, SIGTERM);
}

int main(int argc, char **argv)
{
    if (getenv("TEST_ROLE"))
        return standin_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notifies_a_path),
        cmocka_unit_test(test_notifies_an_abstract_name),
        cmocka_unit_test(test_second_is_refused),
        cmocka_unit_test(test_stale_socket_is_taken_over),
        cmocka_unit_test(test_a_file_is_not_removed),
        cmocka_unit_test(test_hands_over),
        cmocka_unit_test(test_refuses_what_is_no_hello),
        cmocka_unit_test(test_does_not_wait_for_ever),
        cmocka_unit_test(test_restarts_a_lost_worker),
        cmocka_unit_test(test_keeps_a_client_until_it_is_taken),
        cmocka_unit_test(test_a_worker_that_cannot_start),
        cmocka_unit_test(test_one_of_two_that_cannot_start),
        cmocka_unit_test(test_a_device_that_does_not_come_back),
        cmocka_unit_test(test_ends_in_order),
        cmocka_unit_test(test_kills_a_worker_that_does_not_end),
        cmocka_unit_test(test_a_crowd),
        cmocka_unit_test(test_the_built_daemon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
