/* The dashboard's server from outside. Most tests are their own supervisor: they start the web role of the built
 * tensord over a socket and a black box of their own, so that what a worker "does" is written by hand and known to the
 * byte. The last ones ask a whole daemon. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <msgpack.h>

#include "server/blackbox.h"
#include "server/handover.h"
#include "server/web/access.h"
#include "server/web/said.h"
#include "tests/random.h"
#include "tests/support.h"

#define PATIENCE_MS 10000
#define COOKIE "0123456789abcdef0123456789abcdef"
#define TOKEN "00112233445566778899aabbccddeeff"

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- a web of the test's own, and the worker life that it shows ---- */

struct site {
    pid_t pid;
    int channel, port;
    struct blackbox_made box;
    struct blackbox_trace *trace;
    uint64_t life;
};

static struct site site;
static char cookie[WEB_SECRET_DIGITS + 1] = COOKIE; /* what a browser has */

static void order(enum web_order_kind kind, const char *secret)
{
    struct web_order order = {.kind = (uint32_t)kind};
    snprintf(order.secret, sizeof order.secret, "%s", secret);
    assert_int_equal(web_order_send(site.channel, &order, (int[]){site.box.tables_read, site.box.trace_read}), 0);
}

static void make_life(void)
{
    if (site.trace) {
        munmap(site.trace, sizeof *site.trace);
        blackbox_unmake(&site.box);
    }
    assert_int_equal(blackbox_make(&site.box, ++site.life), 0);
    site.trace = mmap(NULL, sizeof *site.trace, PROT_READ | PROT_WRITE, MAP_SHARED, site.box.trace, 0);
    assert_true(site.trace != MAP_FAILED);
    site.trace->string_bytes = 1;
    snprintf(site.box.map->device, sizeof site.box.map->device, "cpu");
    snprintf(site.box.map->description, sizeof site.box.map->description, "a device of the test's");
    site.box.map->limit_bytes = 1 << 30;
    site.box.map->started_ns -= 2000000000; /* it is two seconds old */
    blackbox_set_running(&site.box, 4711);
    order(WEB_LIFE, "");
}

static int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listening, 64), 0);
    getsockname(listening, (struct sockaddr *)&address, &length);
    *port = ntohs(address.sin_port);
    return listening;
}

static int start_site(void **state)
{
    const char *program = getenv("TENSORD_BIN");
    char parent[32], address[32];
    int pair[2], listening;
    (void)state;
    site = (struct site){.life = site.life};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    listening = listen_somewhere(&site.port);
    snprintf(parent, sizeof parent, "--web-role=%d", (int)getpid());
    snprintf(address, sizeof address, "127.0.0.1:%d", site.port);
    fflush(NULL);
    site.pid = fork();
    if (!site.pid) {
        int moved = fcntl(listening, F_DUPFD, 10);
        dup2(pair[1], HANDOVER_FD);
        dup2(moved, WEB_LISTEN_FD);
        fcntl(HANDOVER_FD, F_SETFD, 0);
        execl(program ? program : "build/plain/tensord", "tensord: web", parent, "--web", address, "--log-level",
              "warn", (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    close(listening);
    site.channel = pair[0];
    site.box = (struct blackbox_made)BLACKBOX_NONE;
    order(WEB_COOKIE, COOKIE);
    make_life();
    return 0;
}

/* The channel's end ends it, in order. */
static int stop_site(void **state)
{
    int status = 0;
    (void)state;
    close(site.channel);
    for (int64_t end = now_ms() + PATIENCE_MS; waitpid(site.pid, &status, WNOHANG) == 0; poll(NULL, 0, 2))
        if (now_ms() > end) {
            kill(site.pid, SIGKILL);
            print_error("the web does not end\n");
            return -1;
        }
    munmap(site.trace, sizeof *site.trace);
    blackbox_unmake(&site.box);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        print_error("the web ended with wait status %#x\n", (unsigned)status);
        return -1;
    }
    return 0;
}

/* ---- what the worker writes ---- */

static void *put(enum blackbox_kind kind, const void *record, size_t bytes)
{
    struct blackbox_trace *trace = site.trace;
    uint64_t position = trace->committed / 8 * 8;
    size_t rounded = (bytes + 7) / 8 * 8, room = BLACKBOX_RING_BYTES - position % BLACKBOX_RING_BYTES;
    if (rounded > room) {
        struct blackbox_record pad = {(uint32_t)(position / 8), (uint16_t)(room / 8), BLACKBOX_PAD, 0, 0};
        if (room >= sizeof pad)
            memcpy(trace->ring + position % BLACKBOX_RING_BYTES, &pad, sizeof pad);
        position += room;
    }
    atomic_store(&trace->reserved, position + rounded);
    struct blackbox_record *at = (void *)(trace->ring + position % BLACKBOX_RING_BYTES);
    memcpy(at, record, bytes);
    at->stamp = (uint32_t)(position / 8);
    at->size = (uint16_t)(rounded / 8);
    at->kind = (uint8_t)kind;
    at->time_ns = now_ns();
    atomic_store(&trace->committed, position + rounded);
    return at;
}

static uint32_t put_string(const char *text)
{
    uint32_t place = site.trace->string_bytes;
    memcpy(site.trace->strings + place, text, strlen(text) + 1);
    atomic_store(&site.trace->string_bytes, place + (uint32_t)strlen(text) + 1);
    return place;
}

/* matmul of [2, 3] and [3, request] with node and site; ids follow from the request. */
static void put_matmul(uint32_t session, uint32_t request, uint32_t site_place)
{
    struct {
        struct blackbox_op op;
        uint32_t in[2];
        uint8_t ranks[4];
        uint32_t sizes[6];
    } record = {{.session = session,
                 .request = request,
                 .site = site_place,
                 .node = request + 7,
                 .duration_us = 1500,
                 .out = request * 3,
                 .bytes = 8 * request,
                 .op = TD_OP_matmul,
                 .flags = BLACKBOX_OP_NODE,
                 .dtype = TD_F32,
                 .in_count = 2},
                {request * 3 - 2, request * 3 - 1},
                {2, 2, 2},
                {2, request, 2, 3, 3, request}};
    put(BLACKBOX_OP, &record, sizeof record);
}

static void put_ops(uint32_t session, uint32_t first, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        put_matmul(session, first + k, 0);
}

/* Bytes of two users in all classes, as the worker publishes them. */
static void put_memory(uint64_t unit)
{
    struct blackbox_tables *t = site.box.map;
    atomic_fetch_add(&t->memory_sequence, 1);
    t->user_count = 2;
    t->memory = (struct blackbox_memory){.reserved = 1 << 20};
    for (int u = 0; u < 2; u++) {
        t->users[u].uid = 1000 + (uint32_t)u;
        for (int c = 0; c < BLACKBOX_CLASSES; c++) {
            uint64_t bytes = unit * (uint64_t)(10 * u + c + 1);
            t->users[u].bytes[c] = bytes;
            t->memory.bytes[c] += bytes;
            t->memory.used += bytes;
        }
    }
    t->memory.peak = t->memory.used + 5;
    atomic_fetch_add(&t->memory_sequence, 1);
}

/* ---- HTTP ---- */

static int connect_to(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads a response's head, with a 0 behind it; its status, or 0 where the connection ended before. */
static int read_head(int fd, char *head, size_t size)
{
    size_t have = 0;
    head[0] = 0;
    while (have < size - 1 && !strstr(head, "\r\n\r\n") && recv(fd, head + have, 1, 0) == 1)
        head[++have] = 0;
    return strncmp(head, "HTTP/1.1 ", 9) ? 0 : atoi(head + 9);
}

static size_t length_of(const char *head)
{
    const char *at = strstr(head, "content-length: ");
    return at ? strtoul(at + 16, NULL, 10) : 0;
}

static size_t read_body(int fd, const char *head, char *body, size_t size)
{
    size_t bytes = length_of(head);
    assert_true(bytes < size);
    assert_int_equal(bytes ? recv(fd, body, bytes, MSG_WAITALL) : 0, (ssize_t)bytes);
    body[bytes] = 0;
    return bytes;
}

static char head[4096], body[1 << 20];

/* One request over a connection of its own; lines: header lines besides Host, each with its end. */
static int ask_port(int port, const char *method, const char *path, const char *lines)
{
    char request[1024];
    int fd = connect_to(port);
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", method, path, port, lines);
    send_text(fd, request);
    int status = read_head(fd, head, sizeof head);
    body[0] = 0;
    if (status && strcmp(method, "HEAD"))
        read_body(fd, head, body, sizeof body);
    close(fd);
    return status;
}

static int ask(const char *path, const char *lines)
{
    return ask_port(site.port, "GET", path, lines);
}

static int ask_as(const char *host, const char *path)
{
    char request[256];
    int fd = connect_to(site.port);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n%s\r\n", path, host);
    send_text(fd, request);
    int status = read_head(fd, head, sizeof head);
    close(fd);
    return status;
}

/* ---- a WebSocket client ---- */

struct ws {
    int fd;
    bool silent; /* it does not acknowledge */
    uint32_t number;
    uint8_t *data;
    size_t bytes;
    int opcode;
    msgpack_unpacked message;
};

static void upgrade(int fd, const char *lines)
{
    char request[1024];
    snprintf(request, sizeof request,
             "GET /live HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
             lines);
    send_text(fd, request);
}

static const char *right_lines(void)
{
    static char lines[512];
    snprintf(lines, sizeof lines,
             "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\nCookie: other=1; tensord-%d=%s\r\n"
             "Sec-WebSocket-Protocol: tensord.dash.1\r\n",
             site.port, site.port, site.port, cookie);
    return lines;
}

static struct ws ws_open(void)
{
    struct ws ws = {.fd = connect_to(site.port), .data = malloc(1 << 20)};
    upgrade(ws.fd, right_lines());
    assert_int_equal(read_head(ws.fd, head, sizeof head), 101);
    assert_non_null(strcasestr(head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_non_null(strcasestr(head, "Sec-WebSocket-Protocol: tensord.dash.1"));
    msgpack_unpacked_init(&ws.message);
    return ws;
}

static void ws_close(struct ws *ws)
{
    close(ws->fd);
    free(ws->data);
    msgpack_unpacked_destroy(&ws->message);
}

/* first: the frame's first byte, FIN and opcode. */
static void ws_send(const struct ws *ws, int first, const void *data, size_t bytes)
{
    uint8_t frame[8192] = {(uint8_t)first};
    size_t at = 2;
    if (bytes < 126) {
        frame[1] = (uint8_t)(0x80 | bytes);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (uint8_t)(bytes >> 8);
        frame[3] = (uint8_t)bytes;
        at = 4;
    }
    const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    memcpy(frame + at, mask, 4);
    for (size_t k = 0; k < bytes; k++)
        frame[at + 4 + k] = ((const uint8_t *)data)[k] ^ mask[k % 4];
    (void)!send(ws->fd, frame, at + 4 + bytes, MSG_NOSIGNAL);
}

static void ws_say(const struct ws *ws, const char *word, int64_t number)
{
    uint8_t bytes[32], *at = td_write_text(td_write_array(bytes, 2), word, (uint32_t)strlen(word));
    at = strcmp(word, "pause") ? td_write_uint(at, (uint64_t)number) : td_write_bool(at, number);
    ws_send(ws, 0x82, bytes, (size_t)(at - bytes));
}

/* Reads a frame; false at the connection's end. */
static bool ws_frame(struct ws *ws)
{
    uint8_t start[10];
    if (recv(ws->fd, start, 2, MSG_WAITALL) != 2)
        return false;
    size_t more = start[1] == 126 ? 2 : start[1] == 127 ? 8 : 0;
    assert_true(start[1] < 128); /* a server does not mask */
    if (more && recv(ws->fd, start + 2, more, MSG_WAITALL) != (ssize_t)more)
        return false;
    ws->opcode = start[0];
    ws->bytes = more ? 0 : start[1];
    for (size_t k = 0; k < more; k++)
        ws->bytes = ws->bytes << 8 | start[2 + k];
    assert_true(ws->bytes <= 1 << 20);
    return !ws->bytes || recv(ws->fd, ws->data, ws->bytes, MSG_WAITALL) == (ssize_t)ws->bytes;
}

static const msgpack_object *item(const struct ws *ws, uint32_t k)
{
    assert_true(k < ws->message.data.via.array.size);
    return &ws->message.data.via.array.ptr[k];
}

static bool is_text(const msgpack_object *object, const char *text)
{
    return object->type == MSGPACK_OBJECT_STR && object->via.str.size == strlen(text) &&
           !memcmp(object->via.str.ptr, text, strlen(text));
}

/* The next message, decoded and acknowledged: its number is the next one. */
static void ws_message(struct ws *ws)
{
    size_t offset = 0;
    if (!ws_frame(ws))
        fail_msg("the feed has ended");
    assert_int_equal(ws->opcode, 0x82);
    assert_int_equal(msgpack_unpack_next(&ws->message, (const char *)ws->data, ws->bytes, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, ws->bytes);
    assert_int_equal(ws->message.data.type, MSGPACK_OBJECT_ARRAY);
    assert_int_equal(item(ws, 1)->via.u64, ++ws->number);
    assert_int_equal(item(ws, 2)->type, MSGPACK_OBJECT_FLOAT64);
    if (!ws->silent)
        ws_say(ws, "ack", ws->number);
}

/* The next message of a type; what comes before it is passed over. */
static void ws_await(struct ws *ws, const char *type)
{
    int64_t end = now_ms() + PATIENCE_MS;
    do {
        ws_message(ws);
        if (now_ms() > end)
            fail_msg("no %s has come", type);
    } while (!is_text(item(ws, 0), type));
}

static uint64_t uint_at(const struct ws *ws, uint32_t k)
{
    assert_int_equal(item(ws, k)->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    return item(ws, k)->via.u64;
}

/* Element i of a column that has count elements of this many bytes. */
static const void *cell(const struct ws *ws, uint32_t k, size_t bytes, size_t count, size_t i)
{
    static uint64_t aligned;
    assert_int_equal(item(ws, k)->type, MSGPACK_OBJECT_BIN);
    assert_int_equal(item(ws, k)->via.bin.size, bytes * count);
    memcpy(&aligned, item(ws, k)->via.bin.ptr + i * bytes, bytes);
    return &aligned;
}

static double real_at(const struct ws *ws, uint32_t k, size_t count, size_t i)
{
    return *(const double *)cell(ws, k, 8, count, i);
}

static uint32_t u32_at(const struct ws *ws, uint32_t k, size_t count, size_t i)
{
    return *(const uint32_t *)cell(ws, k, 4, count, i);
}

static const msgpack_object *key_of(const struct ws *ws, const char *key)
{
    const msgpack_object_map *map = &item(ws, 3)->via.map;
    assert_int_equal(item(ws, 3)->type, MSGPACK_OBJECT_MAP);
    for (uint32_t k = 0; k < map->size; k++)
        if (is_text(&map->ptr[k].key, key))
            return &map->ptr[k].val;
    fail_msg("no key %s", key);
    return NULL;
}

/* The close code that comes, after whatever was on its way; 0: the connection just ended. */
static int ws_close_code(struct ws *ws)
{
    while (ws_frame(ws))
        if (ws->opcode == 0x88)
            return ws->bytes >= 2 ? ws->data[0] << 8 | ws->data[1] : 1005;
    return 0;
}

/* ---- the page ---- */

static void test_page(void **state)
{
    (void)state;
    char command[512], path[] = "/tmp/tensord-test-XXXXXX";
    const char *root = getenv("TENSORD_ROOT");
    assert_int_equal(ask("/", ""), 200);
    assert_non_null(strstr(head, "content-type: text/html; charset=utf-8\r\n"));
    assert_non_null(strstr(head, "content-encoding: gzip\r\n"));
    assert_non_null(strstr(head, "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; "
                                 "connect-src 'self'"));
    assert_non_null(strstr(head, "x-content-type-options: nosniff\r\n"));
    assert_non_null(strstr(head, "referrer-policy: no-referrer\r\n"));
    assert_non_null(strstr(head, "cache-control: no-cache\r\n"));
    int file = mkstemp(path);
    assert_int_equal(write(file, body, length_of(head)), (ssize_t)length_of(head));
    close(file);
    snprintf(command, sizeof command, "gzip -dc <%s | cmp -s - %s/web/dist/index.html", path, root ? root : ".");
    assert_int_equal(system(command), 0);
    unlink(path);
    size_t bytes = length_of(head);
    assert_int_equal(ask_port(site.port, "HEAD", "/", ""), 200);
    assert_int_equal(length_of(head), bytes);
    assert_int_equal(ask("/index.html", ""), 200);
    assert_int_equal(ask("/nothing", ""), 404);
    assert_int_equal(ask("/../server/main.c", ""), 404);
    assert_int_equal(ask_port(site.port, "POST", "/", "Content-Length: 3\r\n"), 405);
    assert_int_equal(ask("/ops.json", ""), 200);
    assert_non_null(strstr(body, "{\"id\": 110, \"name\": \"matmul\", \"kind\": \"fresh\"}"));
}

static void test_a_connection_is_kept(void **state)
{
    (void)state;
    char request[128];
    int fd = connect_to(site.port);
    snprintf(request, sizeof request, "GET /ops.json HTTP/1.1\r\nHost: localhost:%d\r\n\r\n", site.port);
    for (int k = 0; k < 3; k++) {
        send_text(fd, request);
        assert_int_equal(read_head(fd, head, sizeof head), 200);
        read_body(fd, head, body, sizeof body);
    }
    close(fd);
}

static void test_hosts(void **state)
{
    (void)state;
    char host[64];
    static const char *const wrong[] = {"",
                                        "Host: 127.0.0.1\r\n",
                                        "Host: 127.0.0.1:1\r\n",
                                        "Host: evil.example:%d\r\n",
                                        "Host: 127.0.0.1:%d.evil.example\r\n",
                                        "Host: 127.0.0.1:0%d\r\n",
                                        "Host: [127.0.0.1:%d\r\n",
                                        "Host: 10.0.0.1:%d\r\n"};
    static const char *const right[] = {"Host: 127.0.0.1:%d\r\n", "Host: LOCALHOST:%d\r\n", "Host: [::1]:%d\r\n"};
    static const char *const paths[] = {"/", "/metrics", "/ops.json", "/live", ("/?token=" TOKEN)};
    order(WEB_TOKEN, TOKEN);
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
        for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
            snprintf(host, sizeof host, wrong[k], site.port);
            if (ask_as(host, paths[p]) == 200 || strstr(head, "303"))
                fail_msg("%s was served %s", host, paths[p]);
        }
    for (size_t k = 0; k < sizeof right / sizeof *right; k++) {
        snprintf(host, sizeof host, right[k], site.port);
        assert_int_equal(ask_as(host, "/"), 200);
    }
    assert_int_equal(ask("/?token=" TOKEN, ""), 303); /* nobody has used it up */
}

/* ---- who may watch ---- */

static void test_tokens(void **state)
{
    (void)state;
    char token[64], line[128];
    order(WEB_TOKEN, TOKEN);
    assert_int_equal(ask("/?token=00112233445566778899aabbccddeef0", ""), 403);
    assert_int_equal(ask("/?token=0011", ""), 403);
    assert_int_equal(ask("/?token=" TOKEN "00", ""), 403);
    assert_int_equal(ask("/?token=" TOKEN, ""), 303);
    snprintf(line, sizeof line, "set-cookie: tensord-%d=" COOKIE "; HttpOnly; SameSite=Strict; Path=/\r\n", site.port);
    assert_non_null(strstr(head, line));
    assert_non_null(strstr(head, "location: /\r\n"));
    assert_int_equal(ask("/?token=" TOKEN, ""), 403); /* once */
    assert_null(strstr(head, "set-cookie"));
    for (int k = 0; k <= TOKENS_MAX; k++) {
        snprintf(token, sizeof token, "%032x", k);
        order(WEB_TOKEN, token);
    }
    assert_int_equal(ask("/?token=00000000000000000000000000000000", ""), 403); /* the oldest of too many */
    assert_int_equal(ask("/?token=00000000000000000000000000000001", ""), 303);
    assert_int_equal(ask("/?token=00000000000000000000000000000010", ""), 303);
}

static void test_tokens_expire(void **state)
{
    (void)state;
    struct access access = {.host = "127.0.0.1", .port = 1};
    access_add_token(&access, TOKEN, 1000);
    assert_false(access_take_token(&access, "", 1000));
    assert_false(access_take_token(&access, TOKEN, 1000 + TOKEN_MS));
    assert_false(access_take_token(&access, TOKEN, 1000));
    access_add_token(&access, TOKEN, 1000);
    assert_true(access_take_token(&access, TOKEN, 999 + TOKEN_MS));
    assert_false(access_has_cookie(&access, "tensord-1=")); /* before there is one nothing is right */
    struct access all = {.host = "0.0.0.0", .port = 80};
    assert_true(access_is_host(&all, "10.1.2.3"));
    assert_true(access_is_host(&all, "10.1.2.3:80"));
    assert_false(access_is_host(&all, "rebound.example"));
}

static int try_upgrade(const char *lines, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, lines);
    vsnprintf(text, sizeof text, lines, arguments);
    va_end(arguments);
    int fd = connect_to(site.port);
    upgrade(fd, text);
    int status = read_head(fd, head, sizeof head);
    close(fd);
    return status;
}

static void test_who_may_watch(void **state)
{
    (void)state;
    char line[128];
    int port = site.port;
    assert_int_equal(ask("/live", ""), 401);
    snprintf(line, sizeof line, "Cookie: tensord-%d=" COOKIE "\r\n", port);
    assert_int_equal(ask("/live", line), 426);
    snprintf(line, sizeof line, "Cookie: tensord-%d=1" COOKIE "\r\n", port);
    assert_int_equal(ask("/live", line), 401);
    snprintf(line, sizeof line, "Cookie: tensord-%d=" COOKIE "\r\n", port + 1);
    assert_int_equal(ask("/live", line), 401);
    static const char origin[] = "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n";
    static const char sub[] = "Sec-WebSocket-Protocol: tensord.dash.1\r\n";
    char right[512];
    snprintf(line, sizeof line, "Cookie: tensord-%d=" COOKIE "\r\n", port);
    snprintf(right, sizeof right, origin, port, port);
    assert_int_equal(try_upgrade("%s%s%s", right, line, sub), 101);
    assert_int_equal(try_upgrade("%s%s", right, sub), 401);
    assert_int_equal(try_upgrade("%s%s", right, line), 426);
    assert_int_equal(try_upgrade("%s%sSec-WebSocket-Protocol: http\r\n", right, line), 426);
    assert_int_equal(try_upgrade("Host: 127.0.0.1:%d\r\n%s%s", port, line, sub), 403);
    assert_int_equal(try_upgrade("Host: 127.0.0.1:%d\r\nOrigin: http://evil.example\r\n%s%s", port, line, sub), 403);
    assert_int_equal(try_upgrade("Host: 127.0.0.1:%d\r\nOrigin: http://localhost:%d\r\n%s%s", port, port, line, sub),
                     403);
    assert_int_equal(try_upgrade("Host: 127.0.0.1:%d\r\nOrigin: null\r\n%s%s", port, line, sub), 403);
    assert_int_equal(
        try_upgrade("Host: evil.example:%d\r\nOrigin: http://evil.example:%d\r\n%s%s", port, port, line, sub), 403);
}

/* ---- the feed ---- */

static void check_memory(const struct ws *ws, size_t n)
{
    size_t users = (size_t)uint_at(ws, 9);
    for (size_t i = 0; i < n; i++) {
        double used = real_at(ws, 5, n, i), classes = 0, all = 0;
        for (size_t c = 0; c < BLACKBOX_CLASSES; c++)
            classes += real_at(ws, 8, n * BLACKBOX_CLASSES, i * BLACKBOX_CLASSES + c);
        for (size_t u = 0; u < users; u++)
            all += real_at(ws, 11, n * users, i * users + u);
        assert_true(used == classes);
        assert_true(used == all);
    }
}

static void test_hello_and_memory(void **state)
{
    (void)state;
    put_memory(1000);
    poll(NULL, 0, 350);
    struct ws ws = ws_open();
    ws_message(&ws);
    assert_true(is_text(item(&ws, 0), "hello"));
    assert_true(is_text(key_of(&ws, "device"), "cpu"));
    assert_true(is_text(key_of(&ws, "description"), "a device of the test's"));
    assert_true(key_of(&ws, "limit")->via.f64 == 1 << 30);
    assert_true(key_of(&ws, "life")->via.f64 == (double)site.life);
    assert_true(key_of(&ws, "pid")->via.f64 == 4711);
    assert_int_equal(key_of(&ws, "classes")->via.array.size, BLACKBOX_CLASSES);
    assert_true(is_text(&key_of(&ws, "classes")->via.array.ptr[BLACKBOX_SAVED], "saved"));
    ws_await(&ws, "mem"); /* what there is of the last minute */
    size_t n = (size_t)uint_at(&ws, 3);
    assert_true(n >= 2 && n < 100);
    check_memory(&ws, n);
    for (size_t i = 1; i < n; i++) /* about 10 Hz */
        assert_true(real_at(&ws, 4, n, i) > real_at(&ws, 4, n, i - 1));
    assert_true(real_at(&ws, 4, n, 0) >= 2e6); /* in microseconds since the life began */
    put_memory(3000);
    double used = 0;
    while (used != 60 * 3000.) {
        ws_await(&ws, "mem");
        n = (size_t)uint_at(&ws, 3);
        check_memory(&ws, n);
        used = real_at(&ws, 5, n, n - 1);
    }
    assert_true(real_at(&ws, 6, n, n - 1) == 1 << 20);
    assert_true(real_at(&ws, 7, n, n - 1) == used + 5);
    assert_int_equal(u32_at(&ws, 10, 2, 1), 1001);
    ws_close(&ws);
}

static void test_ops(void **state)
{
    (void)state;
    struct ws ws = ws_open();
    ws_await(&ws, "mem");
    uint32_t first = put_string("net.c:12"), second = put_string("net.c:13");
    put_matmul(5, 40, second);
    put_matmul(6, 41, first);
    struct blackbox_error error = {
        .session = 6, .request = 42, .site = second, .id = TD_OP_add, .code = 3, .message = "it \x1b[31m does not fit"};
    put(BLACKBOX_ERROR, &error, sizeof error);
    ws_await(&ws, "str");
    assert_int_equal(uint_at(&ws, 3), 1);
    assert_int_equal(item(&ws, 4)->via.array.size, 2);
    assert_true(is_text(&item(&ws, 4)->via.array.ptr[0], "net.c:12"));
    assert_true(is_text(&item(&ws, 4)->via.array.ptr[1], "net.c:13"));
    ws_await(&ws, "op");
    size_t n = (size_t)uint_at(&ws, 3);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        uint32_t request = 40 + (uint32_t)i;
        assert_int_equal(u32_at(&ws, 4, n, i), 5 + i);
        assert_int_equal(u32_at(&ws, 5, n, i), request);
        assert_int_equal(*(const uint16_t *)cell(&ws, 6, 2, n, i), TD_OP_matmul);
        assert_int_equal(*(const uint8_t *)cell(&ws, 7, 1, n, i), TD_F32);
        assert_int_equal(*(const uint16_t *)cell(&ws, 8, 2, n, i), BLACKBOX_OP_NODE);
        assert_int_equal(u32_at(&ws, 9, n, i), 2 - i);
        assert_true(real_at(&ws, 10, n, i) >= 2e6);
        assert_true(*(const float *)cell(&ws, 11, 4, n, i) == 1500);
        assert_int_equal(u32_at(&ws, 12, n, i), request + 7);
        assert_int_equal(u32_at(&ws, 13, n, i), request * 3);
        assert_true(real_at(&ws, 14, n, i) == 8 * request);
        uint32_t in = u32_at(&ws, 15, n + 1, i), dims = u32_at(&ws, 17, n + 1, i);
        assert_int_equal(u32_at(&ws, 15, n + 1, i + 1) - in, 2);
        assert_int_equal(u32_at(&ws, 16, 2 * n, in), request * 3 - 2);
        assert_int_equal(u32_at(&ws, 18, 2 * n, dims), 2);
        assert_int_equal(u32_at(&ws, 18, 2 * n, dims + 1), request);
        uint32_t in_dims = u32_at(&ws, 19, 2 * n + 1, in + 1); /* of the second input */
        assert_int_equal(u32_at(&ws, 19, 2 * n + 1, in + 2) - in_dims, 2);
        assert_int_equal(u32_at(&ws, 20, 4 * n, in_dims), 3);
        assert_int_equal(u32_at(&ws, 20, 4 * n, in_dims + 1), request);
    }
    ws_await(&ws, "err");
    assert_int_equal(uint_at(&ws, 3), 6);
    assert_int_equal(uint_at(&ws, 4), 42);
    assert_int_equal(uint_at(&ws, 5), TD_OP_add);
    assert_int_equal(uint_at(&ws, 6), 2);
    assert_int_equal(uint_at(&ws, 7), 3);
    assert_true(is_text(item(&ws, 8), "it ?[31m does not fit"));
    struct ws late = ws_open(); /* who comes later is shown the last ones too, and the strings first */
    ws_await(&late, "str");
    ws_await(&late, "op");
    assert_int_equal(uint_at(&late, 3), 2);
    ws_close(&late);
    ws_close(&ws);
}

static void test_sessions_and_stat(void **state)
{
    (void)state;
    struct blackbox_session *s = &site.box.map->sessions[3];
    *s = (struct blackbox_session){.state = BLACKBOX_PARKED,
                                   .number = 77,
                                   .opened_ns = now_ns(),
                                   .uid = 1001,
                                   .pid = 99,
                                   .program = "train",
                                   .bytes = {1, 2, 3, 4},
                                   .requests = 50,
                                   .ops = 40,
                                   .tensors = 7,
                                   .nodes = 8,
                                   .device_ns = 9000,
                                   .latency_max_ns = 123000};
    s->latency[4] = 90;
    s->latency[9] = 10;
    site.box.map->sessions[900].number = 78;
    site.box.map->sessions[900].closed_ns = 1;
    struct ws ws = ws_open();
    ws_await(&ws, "sess");
    assert_int_equal(item(&ws, 3)->via.array.size, 2);
    const msgpack_object *row = item(&ws, 3)->via.array.ptr[0].via.array.ptr;
    assert_int_equal(item(&ws, 3)->via.array.ptr[0].via.array.size, 16);
    static const uint64_t expected[] = {77, 1001, 99, 0, 0, 0, 50, 40, 10, 7, 8};
    for (int k = 0; k < 11; k++)
        if (k < 3 || k > 5)
            assert_int_equal(row[k].via.u64, expected[k]);
    assert_true(is_text(&row[3], "train"));
    assert_false(row[5].via.boolean);
    assert_true(row[11].via.f64 == 9);
    assert_int_equal(row[12].via.u64, BLACKBOX_PARKED);
    assert_true(row[13].via.f64 == 16 && row[14].via.f64 == 512 && row[15].via.f64 == 123);
    assert_true(item(&ws, 3)->via.array.ptr[1].via.array.ptr[5].via.boolean);
    site.box.map->has_gauges = 1;
    site.box.map->gauges = (struct td_gauges){.shown = {[TD_GAUGE_TEMPERATURE] = 34, [TD_GAUGE_POWER_LIMIT] = -1}};
    site.box.map->ops += 1000000;
    site.box.map->busy_ns += UINT64_C(1) << 62; /* more than there are seconds */
    site.box.map->turning = 1;                  /* it began to work and was not heard of since */
    site.box.map->heartbeat_ns = now_ns() - 5000000000;
    double ops = 0;
    while (ops == 0) {
        ws_await(&ws, "stat");
        ops = key_of(&ws, "ops_s")->via.f64;
        assert_true(key_of(&ws, "busy")->via.f64 <= 1);
        assert_true(key_of(&ws, "viewers")->via.f64 == 1);
        assert_true(key_of(&ws, "heartbeat_age_ms")->via.f64 >= 5000 || ops == 0);
    }
    assert_true(key_of(&ws, "temperature_celsius")->via.f64 == 34);
    assert_true(key_of(&ws, "power_limit_watts")->via.f64 == -1);
    assert_true(ops > 500000 && ops < 3e6);
    ws_close(&ws);
}

/* Ops until the one of this request; lost: what gaps told of on the way. */
static uint32_t count_ops(struct ws *ws, uint32_t last, uint32_t session, uint64_t *lost)
{
    uint32_t count = 0, request = 0;
    *lost = 0;
    while (request != last) {
        ws_message(ws);
        if (is_text(item(ws, 0), "gap"))
            *lost += uint_at(ws, 3);
        if (!is_text(item(ws, 0), "op"))
            continue;
        size_t n = (size_t)uint_at(ws, 3);
        assert_true(n <= 512 && ws->bytes < 128 << 10);
        for (size_t i = 0; i < n; i++) {
            assert_true(u32_at(ws, 5, n, i) > request); /* in order, none twice */
            request = u32_at(ws, 5, n, i);
            if (session)
                assert_int_equal(u32_at(ws, 4, n, i), session);
        }
        count += (uint32_t)n;
    }
    return count;
}

static void test_too_many_ops(void **state)
{
    (void)state;
    struct ws ws = ws_open();
    uint64_t lost;
    ws_await(&ws, "mem");
    put_ops(5, 1, 3000); /* the newest win, and all are accounted for */
    uint32_t count = count_ops(&ws, 3000, 0, &lost);
    assert_int_equal(count + lost, 3000);
    assert_true(count >= 512);
    struct blackbox_skip skip = {.session = 5, .count = 1234};
    put(BLACKBOX_SKIP, &skip, sizeof skip);
    ws_await(&ws, "gap");
    assert_int_equal(uint_at(&ws, 3), 1234);
    assert_int_equal(uint_at(&ws, 4), 0);
    for (uint32_t k = 0; k < 60; k++) /* more than the ring holds: so many bytes were never seen */
        put_ops(5, 3001 + 1000 * k, 1000);
    ws_await(&ws, "gap");
    assert_true(uint_at(&ws, 4) > 0);
    ws_close(&ws);
}

/* Ops of session 8 alone, in one message: how a view of it begins. */
static void await_view(struct ws *ws, uint32_t count)
{
    do
        ws_await(ws, "op");
    while (uint_at(ws, 3) != count || u32_at(ws, 4, count, 0) != 8 || u32_at(ws, 4, count, count - 1) != 8);
}

static void test_follow(void **state)
{
    (void)state;
    struct ws ws = ws_open(), all = ws_open();
    uint64_t lost;
    put_ops(8, 1, 100);
    put_ops(9, 1, 400);
    ws_say(&ws, "follow", 8);
    await_view(&ws, 100); /* what the stream still has of it */
    for (uint32_t k = 0; k < 10; k++) {
        put_ops(9, 401 + 1000 * k, 1000);
        put_ops(8, 101 + 40 * k, 40);
        poll(NULL, 0, 10);
    }
    assert_int_equal(count_ops(&ws, 500, 8, &lost), 400); /* none of it is left out, whatever others do */
    assert_int_equal(lost, 0);
    ws_say(&ws, "follow", 0);
    ws_say(&ws, "follow", 8);
    await_view(&ws, 500);
    put_ops(9, 20000, 200);
    put_ops(8, 501, 1000);
    uint32_t count = count_ops(&ws, 1012, 8, &lost); /* the oldest first, until there are too many */
    assert_int_equal(count, 512);
    ws_await(&ws, "gap");
    assert_int_equal(uint_at(&ws, 3), 1000 - 512);
    ws_await(&all, "op");
    ws_close(&all);
    ws_close(&ws);
}

static void test_pause(void **state)
{
    (void)state;
    struct ws ws = ws_open();
    uint64_t lost;
    ws_await(&ws, "mem");
    ws_say(&ws, "pause", 1);
    ws_send(&ws, 0x89, "?", 1); /* a ping: behind its answer nothing comes */
    do
        assert_true(ws_frame(&ws));
    while (ws.opcode != 0x8a && ++ws.number);
    put_memory(77);
    put_ops(5, 1, 100);
    poll(NULL, 0, 250);
    assert_int_equal(recv(ws.fd, head, 1, MSG_DONTWAIT), -1);
    ws_say(&ws, "pause", 0);
    put_ops(5, 101, 10);
    assert_int_equal(count_ops(&ws, 110, 0, &lost), 10); /* of the pause only the memory is told */
    assert_int_equal(lost, 0);
    ws_close(&ws);
}

/* ---- browsers that are slow, many, or hostile ---- */

static long web_kb(const char *key)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)site.pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)))
            kb = strtol(line + strlen(key) + 1, NULL, 10);
    if (file)
        fclose(file);
    return kb;
}

static void test_one_that_never_reads(void **state)
{
    (void)state;
    enum { STALLED = 20 };
    struct ws ws = ws_open(), stalled[STALLED];
    uint64_t lost;
    for (int k = 0; k < STALLED; k++) {
        stalled[k] = ws_open();
        for (int f = 0; f < 50; f++) /* it even talks */
            ws_say(&stalled[k], "follow", f % 2 ? 5 : 0);
    }
    ws_await(&ws, "mem");
    long before = web_kb("VmRSS");
    for (uint32_t k = 0; k < 15; k++) {
        put_ops(5, 1 + 150 * k, 150);
        assert_int_equal(count_ops(&ws, 150 * (k + 1), 0, &lost), 150); /* the others lose nothing by it */
        assert_int_equal(lost, 0);
    }
    long grown = web_kb("VmRSS") - before;
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
    assert_true(grown < STALLED * 256);
#endif
    print_message("# %ld KiB for each that does not read\n", grown / STALLED);
    for (int k = 0; k < STALLED; k++) {
        stalled[k].silent = true; /* eight messages, and no more until it says that it has them */
        for (int m = 0; m < 8; m++)
            ws_message(&stalled[k]);
    }
    poll(NULL, 0, 50);
    for (int k = 0; k < STALLED; k++) {
        assert_int_equal(recv(stalled[k].fd, head, 1, MSG_DONTWAIT), -1);
        ws_say(&stalled[k], "ack", 8);
        ws_message(&stalled[k]);
        ws_close(&stalled[k]);
    }
    ws_close(&ws);
}

/* libwebsockets goes on sending what a socket did not take at once: what then arrives must be what was written, though
 * the buffers were used for others meanwhile. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct ws fast = ws_open(), slow = {.data = malloc(1 << 20)};
    int room = 4096;
    slow.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(slow.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)site.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(slow.fd, (struct sockaddr *)&address, sizeof address), 0);
    upgrade(slow.fd, right_lines());
    assert_int_equal(read_head(slow.fd, head, sizeof head), 101);
    msgpack_unpacked_init(&slow.message);
    uint32_t seen = 0;
    uint64_t lost;
    for (uint32_t k = 0; k < 8; k++) {
        put_ops(5, 1 + 500 * k, 500);
        count_ops(&fast, 500 * (k + 1), 0, &lost);
        if (k % 4 == 3)
            poll(NULL, 0, 60);
        for (int m = 0; m < 3; m++) {
            ws_message(&slow);
            if (!is_text(item(&slow, 0), "op"))
                continue;
            size_t n = (size_t)uint_at(&slow, 3);
            for (size_t i = 0; i < n; i++) { /* every number of an op follows from its request */
                uint32_t request = u32_at(&slow, 5, n, i);
                assert_int_equal(u32_at(&slow, 13, n, i), request * 3);
                assert_int_equal(u32_at(&slow, 16, 2 * n, 2 * i + 1), request * 3 - 1);
                assert_int_equal(u32_at(&slow, 20, 4 * n, 4 * i + 3), request);
            }
            seen += (uint32_t)n;
        }
    }
    assert_true(seen > 500);
    ws_close(&slow);
    ws_close(&fast);
}

static void test_thirty_viewers(void **state)
{
    (void)state;
    enum { VIEWERS = 30 };
    struct ws all[VIEWERS];
    uint64_t lost;
    for (int k = 0; k < VIEWERS; k++)
        all[k] = ws_open();
    for (int k = 0; k < VIEWERS; k++)
        ws_await(&all[k], "mem");
    for (uint32_t round = 0; round < 5; round++) {
        put_ops(5, 1 + 100 * round, 100);
        for (int k = 0; k < VIEWERS; k++) {
            assert_int_equal(count_ops(&all[k], 100 * (round + 1), 0, &lost), 100);
            assert_int_equal(lost, 0);
        }
    }
    for (int k = 0; k < VIEWERS; k++)
        ws_close(&all[k]);
}

static void test_hostile_frames(void **state)
{
    (void)state;
    static const struct {
        int first, code;
        const char *data;
        size_t bytes;
    } wrong[] = {
        {0x81, 1003, "[\"pause\", true]", 15}, /* text */
        {0x82, 1002, "garbage", 7},            /* no msgpack of ours */
        {0x82, 1002,
         "\x92\xa3"
         "ack\xcd\xff\xff",
         8}, /* of a message that was never sent */
        {0x82, 1002,
         "\x92\xa3"
         "ack\xff",
         6}, /* of a negative one */
        {0x82, 1002,
         "\x92\xa6"
         "follow\xc3",
         9}, /* not a number */
        {0x82, 1002,
         "\x93\xa5"
         "pause\xc3\x01",
         9}, /* one too many */
        {0x82, 1002,
         "\x92\xa5"
         "pause\xc3\x01",
         9},                                     /* and one behind it */
        {0x82, 1002, "\xdd\xff\xff\xff\xff", 5}, /* an array of everything */
        {0x82, 1002, "", 0},
        {0x83, 0, "x", 1}, /* an opcode that there is not */
        {0xc2, 0, "x", 1}, /* compressed, which nobody agreed on */
    };
    static char long_[2048];
    struct ws other = ws_open();
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        struct ws ws = ws_open();
        ws_send(&ws, wrong[k].first, wrong[k].data, wrong[k].bytes);
        int code = ws_close_code(&ws);
        if (wrong[k].code && code != wrong[k].code)
            fail_msg("frame %zu was closed with %d", k, code);
        ws_close(&ws);
    }
    struct ws ws = ws_open();
    ws_send(&ws, 0x82, long_, sizeof long_);
    assert_int_equal(ws_close_code(&ws), 1009);
    ws_close(&ws);
    ws = ws_open();
    for (int k = 0; k < 20; k++) /* and in parts that are short each */
        ws_send(&ws, k ? 0x00 : 0x02, long_, 100);
    assert_int_equal(ws_close_code(&ws), 1009);
    ws_close(&ws);
    ws = ws_open(); /* a message in parts is one */
    ws_await(&ws, "mem");
    ws_send(&ws, 0x02, "\x92\xa5pa", 4);
    ws_send(&ws, 0x80, "use\xc2", 4);
    ws_await(&ws, "mem");
    ws_close(&ws);
    ws_await(&other, "mem");
    ws_close(&other);
}

static void test_hostile_heads(void **state)
{
    (void)state;
    static char flood[20000];
    struct ws other = ws_open();
    memset(flood, 'a', sizeof flood - 1);
    static const char *const wrong[] = {"\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02",
                                        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: \x01\xff\r\n\r\n"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        int fd = connect_to(site.port);
        send_text(fd, wrong[k]);
        shutdown(fd, SHUT_WR);
        while (recv(fd, head, sizeof head, 0) > 0)
            ;
        close(fd);
    }
    int fd = connect_to(site.port);
    (void)!send(fd, "GET /", 5, MSG_NOSIGNAL);
    (void)!send(fd, flood, sizeof flood - 1, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (recv(fd, head, sizeof head, 0) > 0)
        ;
    close(fd);
    int silent[40];
    for (int k = 0; k < 40; k++)
        silent[k] = connect_to(site.port);
    assert_int_equal(ask("/", ""), 200); /* nobody waits for those who say nothing */
    for (int k = 0; k < 40; k++)
        close(silent[k]);
    ws_await(&other, "mem");
    ws_close(&other);
}

/* ---- lives ---- */

static void test_end_and_hello(void **state)
{
    (void)state;
    struct ws ws = ws_open();
    ws_await(&ws, "mem");
    put_matmul(5, 1, put_string("old.c:1"));
    blackbox_set_ended(&site.box, "worker 1 (pid 4711) was killed by signal 11");
    make_life(); /* at once, as the supervisor does it */
    put_memory(5);
    put_matmul(1, 2, put_string("new.c:1"));
    ws_await(&ws, "op"); /* the last of the old life still comes */
    assert_int_equal(u32_at(&ws, 5, 1, 0), 1);
    ws_await(&ws, "end");
    assert_true(is_text(item(&ws, 3), "worker 1 (pid 4711) was killed by signal 11"));
    ws_message(&ws);
    assert_true(is_text(item(&ws, 0), "hello"));
    assert_true(key_of(&ws, "life")->via.f64 == (double)site.life);
    ws_await(&ws, "str"); /* numbered anew */
    assert_int_equal(uint_at(&ws, 3), 1);
    assert_true(is_text(&item(&ws, 4)->via.array.ptr[0], "new.c:1"));
    ws_await(&ws, "op");
    assert_int_equal(u32_at(&ws, 5, 1, 0), 2);
    ws_say(&ws, "follow", 3);
    blackbox_set_ended(&site.box, "the second");
    ws_await(&ws, "end"); /* also when the next one is long in coming */
    poll(NULL, 0, 100);
    make_life();
    ws_message(&ws);
    assert_true(is_text(item(&ws, 0), "hello"));
    ws_say(&ws, "follow", 0);
    put_matmul(1, 3, put_string("third.c:1"));
    ws_await(&ws, "op"); /* it goes on: only one end was told */
    assert_int_equal(u32_at(&ws, 5, 1, 0), 3);
    ws_close(&ws);
}

static void test_a_box_of_garbage(void **state)
{
    (void)state;
    struct random random = random_new();
    struct ws ws = ws_open();
    for (int round = 0; round < 6; round++) {
        struct blackbox_tables *t = site.box.map;
        uint8_t *tables = (uint8_t *)t, *trace = (uint8_t *)site.trace;
        size_t from = offsetof(struct blackbox_tables, device);
        for (int k = 0; k < 4000; k++) {
            tables[from + random_below(&random, sizeof *t - from)] = (uint8_t)random_next(&random);
            trace[64 + random_below(&random, sizeof *site.trace - 64)] = (uint8_t)random_next(&random);
        }
        memset(trace + offsetof(struct blackbox_trace, ring), (int)random_below(&random, 8), 4096);
        put_ops(5, 1, 200);
        site.trace->string_bytes = (uint32_t)random_next(&random);
        site.trace->committed = round % 4 ? site.trace->committed + random_below(&random, 1 << 24) : UINT64_MAX - 8;
        site.trace->reserved = random_next(&random) >> random_below(&random, 60);
        t->user_count = (uint32_t)random_next(&random);
        atomic_store(&t->memory_sequence, 2 * (uint32_t)round);
        for (int m = 0; m < 3; m++)
            ws_message(&ws);
        assert_int_equal(ask("/metrics", ""), 200);
    }
    ws_close(&ws);
}

/* ---- metrics ---- */

/* Every line of Prometheus' text: HELP and TYPE before a name's first sample, names and labels of the right letters, a
 * number at the end, nothing twice. Returns the samples. */
static int check_metrics(char *text)
{
    char type_name[128] = "", seen[1 << 16] = "", line[512], sample[520];
    int samples = 0;
    for (char *at = text; *at;) {
        size_t bytes = strcspn(at, "\n");
        assert_true(at[bytes] == '\n' && bytes < sizeof line);
        snprintf(line, sizeof line, "%.*s", (int)bytes, at);
        at += bytes + 1;
        if (!strncmp(line, "# HELP ", 7)) {
            snprintf(type_name, sizeof type_name, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            assert_true(strlen(line) > 8 + strlen(type_name));
            snprintf(sample, sizeof sample, "\n# %s ", type_name);
            assert_null(strstr(seen, sample));
            strcat(seen, sample);
            continue;
        }
        if (!strncmp(line, "# TYPE ", 7)) {
            assert_int_equal(strncmp(line + 7, type_name, strlen(type_name)), 0);
            const char *type = line + 8 + strlen(type_name);
            assert_true(!strcmp(type, "counter") || !strcmp(type, "gauge") || !strcmp(type, "histogram"));
            if (!strcmp(type, "counter"))
                assert_string_equal(type_name + strlen(type_name) - 6, "_total");
            continue;
        }
        size_t name = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
        assert_true(name > 8 && !strncmp(line, "tensord_", 8) && !strncmp(line, type_name, strlen(type_name)));
        char *value = line + name;
        while (*value == '{' || *value == ',') {
            size_t label = strspn(value + 1, "abcdefghijklmnopqrstuvwxyz_");
            assert_true(label > 0 && !strncmp(value + 1 + label, "=\"", 2));
            char *close_ = strchr(value + 3 + label, '"');
            assert_true(close_ && (close_[1] == '}' || close_[1] == ','));
            value = close_ + 1 + (close_[1] == '}');
        }
        assert_int_equal(*value, ' ');
        *value = 0;
        char *end;
        strtod(value + 1, &end);
        assert_true(end > value + 1 && !*end);
        snprintf(sample, sizeof sample, "\n%s ", line);
        if (strstr(seen, sample))
            fail_msg("%s stands there twice", line);
        strcat(seen, sample);
        samples++;
    }
    return samples;
}

/* Of a device; name may have more labels. */
static double metric_of(const char *device, const char *plain)
{
    char name[256];
    const char *at = body, *labels = strchr(plain, '{');
    int plain_bytes = labels ? (int)(labels - plain) : (int)strlen(plain);
    size_t bytes = (size_t)snprintf(name, sizeof name, "%.*s{device=\"%s\"%s%s", plain_bytes, plain, device,
                                    labels ? "," : "}", labels ? labels + 1 : "");
    while ((at = strstr(at, name)) && !(at > body && at[-1] == '\n' && at[bytes] == ' '))
        at++;
    if (!at)
        fail_msg("no %s", name);
    return strtod(at + bytes, NULL);
}

static double metric(const char *name)
{
    return metric_of("cpu", name);
}

static void test_metrics(void **state)
{
    (void)state;
    struct blackbox_tables *t = site.box.map;
    static char copy[sizeof body];
    put_memory(10);
    t->ops = 500;
    t->op_count[TD_OP_matmul] = 20;
    t->busy_ns = 1500000000;
    t->sessions[0].number = 4;
    t->sessions[0].latency[3] = 7;
    t->sessions_open = 1;
    assert_int_equal(ask("/metrics", ""), 200);
    assert_non_null(strstr(head, "content-type: text/plain; version=0.0.4"));
    strcpy(copy, body);
    assert_true(check_metrics(copy) > 40);
    assert_true(metric("tensord_memory_used_bytes") == 600);
    assert_true(metric("tensord_memory_user_bytes{uid=\"1000\"}") + metric("tensord_memory_user_bytes{uid=\"1001\"}") ==
                600);
    double classes = 0;
    for (int c = 0; c < BLACKBOX_CLASSES; c++) {
        char name[64];
        snprintf(name, sizeof name, "tensord_memory_class_bytes{class=\"%s\"}", blackbox_class_names[c]);
        classes += metric(name);
    }
    assert_true(classes == 600);
    assert_true(metric("tensord_ops_total{op=\"matmul\"}") == 20);
    assert_true(metric("tensord_busy_seconds_total") == 1.5);
    assert_true(metric("tensord_answer_seconds_bucket{le=\"3.9999999999999998e-06\"}") == 0);
    assert_true(metric("tensord_answer_seconds_bucket{le=\"+Inf\"}") == 7);
    assert_true(metric("tensord_worker_up") == 1);
    assert_null(strstr(body, "tensord_device_"));
    t->has_gauges = 1;
    t->gauges = (struct td_gauges){.shown = {[TD_GAUGE_POWER] = 71.5, [TD_GAUGE_POWER_LIMIT] = -1}};
    assert_int_equal(ask("/metrics", ""), 200);
    assert_true(metric("tensord_device_power_watts") == 71.5);
    assert_null(strstr(body, "tensord_device_power_limit_watts"));
    t->ops = 400; /* a counter that runs backwards is none */
    t->sessions[0] = (struct blackbox_session){.number = 5, .latency = {[3] = 2}}; /* the place of another session */
    assert_int_equal(ask("/metrics", ""), 200);
    assert_true(metric("tensord_ops_executed_total") == 500);
    assert_true(metric("tensord_answer_seconds_count") == 9);
    blackbox_set_ended(&site.box, "it");
    assert_int_equal(ask("/metrics", ""), 200);
    assert_true(metric("tensord_worker_up") == 0);
    make_life();
    site.box.map->ops = 10;
    for (int64_t end = now_ms() + PATIENCE_MS; metric("tensord_ops_executed_total") != 510 && now_ms() < end;)
        assert_int_equal(ask("/metrics", ""), 200);
    assert_true(metric("tensord_ops_executed_total") == 510);
    assert_true(metric("tensord_worker_life") == (double)site.life);
}

/* ---- several devices ---- */

static void put_device(struct blackbox_made *box, uint32_t device, uint64_t life, const char *name)
{
    struct web_order order = {.kind = WEB_LIFE, .device = device};
    assert_int_equal(blackbox_make(box, life), 0);
    snprintf(box->map->device, sizeof box->map->device, "%s", name);
    box->map->limit_bytes = 1 << 20;
    box->map->memory.used = 1000 * life;
    box->map->memory.bytes[0] = 1000 * life;
    box->map->ops = life;
    blackbox_set_running(box, 4711);
    assert_int_equal(web_order_send(site.channel, &order, (int[]){box->tables_read, box->trace_read}), 0);
}

/* Each has a feed of its own; a page watches one, and is told of all. */
static void test_several_devices(void **state)
{
    (void)state;
    struct blackbox_made second, third;
    put_device(&second, 1, 1001, "cuda:0");
    put_device(&third, 2, 1002, "cuda:1\" {\\");
    struct ws ws = ws_open();
    ws_message(&ws);
    assert_true(is_text(key_of(&ws, "device"), "cpu"));
    assert_true(key_of(&ws, "index")->via.f64 == 0);
    do
        ws_await(&ws, "stat");
    while (key_of(&ws, "devices")->via.array.size < 3);
    const msgpack_object *all = key_of(&ws, "devices");
    assert_true(is_text(&all->via.array.ptr[0].via.array.ptr[0], "cpu"));
    assert_true(is_text(&all->via.array.ptr[1].via.array.ptr[0], "cuda:0"));
    assert_true(all->via.array.ptr[1].via.array.ptr[1].via.f64 == 1001000);
    assert_true(all->via.array.ptr[1].via.array.ptr[2].via.f64 == 1 << 20);
    assert_true(is_text(&all->via.array.ptr[2].via.array.ptr[0], "cuda:1??{?"));
    ws_say(&ws, "device", 1);
    ws_await(&ws, "hello");
    assert_true(is_text(key_of(&ws, "device"), "cuda:0"));
    assert_true(key_of(&ws, "index")->via.f64 == 1);
    ws_await(&ws, "mem");
    assert_true(real_at(&ws, 5, 1, 0) == 1001000);
    ws_say(&ws, "device", 3); /* there is none: it stays */
    ws_say(&ws, "device", 4000000000);
    ws_say(&ws, "device", 1); /* it is there, and is told so */
    ws_await(&ws, "hello");
    assert_true(is_text(key_of(&ws, "device"), "cuda:0"));
    ws_await(&ws, "mem");
    assert_true(real_at(&ws, 5, 1, 0) == 1001000);
    blackbox_set_ended(&second, "it is over"); /* of one that is watched this is told, and of others not */
    ws_await(&ws, "end");
    ws_say(&ws, "device", 0);
    ws_await(&ws, "hello");
    assert_true(is_text(key_of(&ws, "device"), "cpu"));
    blackbox_set_ended(&third, "it is over");
    put_ops(5, 1, 3);
    ws_await(&ws, "op");
    ws_close(&ws);
    static char copy[sizeof body];
    assert_int_equal(ask("/metrics", ""), 200);
    strcpy(copy, body);
    assert_true(check_metrics(copy) > 100);
    assert_true(metric_of("cpu", "tensord_worker_up") == 1);
    assert_true(metric_of("cuda:0", "tensord_worker_up") == 0);
    assert_true(metric_of("cuda:0", "tensord_worker_life") == 1001);
    assert_true(metric_of("cuda:1??{?", "tensord_ops_executed_total") == 1002);
    assert_true(metric_of("cuda:0", "tensord_memory_used_bytes") == 1001000);
    blackbox_unmake(&second);
    put_device(&second, 1, 1003, ""); /* of the next life it is not known yet */
    for (int64_t end = now_ms() + PATIENCE_MS; now_ms() < end; poll(NULL, 0, 5)) {
        assert_int_equal(ask("/metrics", ""), 200);
        if (metric_of("cuda:0", "tensord_worker_life") == 1003)
            break;
    }
    assert_true(metric_of("cuda:0", "tensord_worker_life") == 1003);
    assert_true(metric_of("cuda:0", "tensord_ops_executed_total") == 1001 + 1003);
    struct web_order order = {.kind = WEB_LIFE, .device = TD_DEVICES_MAX}; /* one too many */
    assert_int_equal(web_order_send(site.channel, &order, (int[]){third.tables_read, third.trace_read}), 0);
    assert_int_equal(ask("/metrics", ""), 200);
    blackbox_unmake(&second);
    blackbox_unmake(&third);
}

/* ---- a whole daemon ---- */

/* A number behind the last place of a text in the daemon's log, once it stands there count times. */
static int await_log(const struct test_daemon *daemon, const char *text, int count)
{
    static char log[1 << 16];
    for (int64_t end = now_ms() + PATIENCE_MS; now_ms() < end; poll(NULL, 0, 5)) {
        int file = open(daemon->log, O_RDONLY), found = 0;
        ssize_t bytes = read(file, log, sizeof log - 1);
        close(file);
        log[bytes > 0 ? bytes : 0] = 0;
        const char *last = NULL;
        for (const char *at = log; (at = strstr(at, text)); at += strlen(text), found++)
            last = at + strlen(text);
        if (found >= count)
            return atoi(last);
    }
    fail_msg("'%s' is not in the log:\n%s", text, log);
    return -1;
}

/* The child of the daemon that has a name; 0: none. */
static void test_whole_daemon(void **state)
{
    (void)state;
    struct test_daemon daemon;
    assert_int_equal(daemon_start(&daemon, (const char *const[]){"--web", "127.0.0.1:0", NULL}), 0);
    int port = await_log(&daemon, "the dashboard is at http://127.0.0.1:", 1);
    assert_int_equal(ask_port(port, "GET", "/", ""), 200);
    pid_t web = daemon_child(&daemon, "tensord-web", 0), worker = daemon_child(&daemon, "tensord-worker", 0);
    struct raw raw = raw_open(&daemon);
    assert_int_equal(raw_barrier(&raw, false).code, TD_E_OK);
    assert_int_equal(ask_port(port, "GET", "/metrics", ""), 200);
    assert_true(metric("tensord_worker_life") == 1);
    kill(web, SIGKILL);
    assert_int_equal(ask_port(port, "GET", "/metrics", ""), 200); /* who comes meanwhile waits: the port stays ours */
    assert_true(daemon_child(&daemon, "tensord-web", web) != web);
    assert_int_equal(raw_barrier(&raw, false).code, TD_E_OK); /* and nobody else has noticed */
    assert_int_equal(daemon_child(&daemon, "tensord-worker", 0), worker);
    raw_close(&raw);
    kill(worker, SIGKILL);
    for (int64_t end = now_ms() + PATIENCE_MS; now_ms() < end; poll(NULL, 0, 10)) {
        assert_int_equal(ask_port(port, "GET", "/metrics", ""), 200);
        if (metric("tensord_worker_life") == 2 && metric("tensord_worker_up") == 1)
            break;
    }
    assert_true(metric("tensord_worker_life") == 2);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* The address that `tensorctl dashboard` prints, asked for as it does; its port. */
static int dashboard_path(const struct test_daemon *daemon, char *path, size_t size)
{
    struct td_hello hello = {TD_PROTOCOL_MIN, TD_PROTOCOL_MAX, td_ops_hash(), 0, "test", TD_PURPOSE_DASHBOARD, ""};
    struct raw raw = raw_connect(daemon);
    uint8_t bytes[TD_HELLO_MAX];
    uint32_t length;
    int port;
    assert_true(raw_frame(&raw, bytes, td_hello_encode(&hello, bytes)));
    assert_int_equal(raw_receive(&raw, RAW_WAIT_MS), TD_REPLY_DASHBOARD);
    const char *address = td_read_text(&raw.reply, &length);
    assert_non_null(address);
    assert_true(length > 17 && !memcmp(address, "http://127.0.0.1:", 17));
    port = atoi(address + 17);
    address = memchr(address + 17, '/', length - 17);
    assert_non_null(address);
    snprintf(path, size, "%.*s", (int)((const char *)raw.reply.at - address), address);
    raw_close(&raw);
    return port;
}

/* ones(2, 3) that wants a gradient, times ones(3, 4), and the walk back from it: of a call site each. */
static void run_program(struct raw *raw)
{
    raw_request(raw, 0, 0, 3, TD_R_SITE);
    raw->at = td_write_text(td_write_uint(raw->at, 1), "net.c:7", 7);
    for (uint32_t k = 1; k <= 3; k++) { /* [2, 3], [3, 4], [2, 4] */
        raw_request(raw, k == 1 ? TD_FLAG_REQUIRES_GRAD : 0, 0, 4, TD_OP_ones);
        raw->at = td_write_array(td_write_uint(raw->at, k), 2);
        raw->at = td_write_uint(td_write_uint(raw->at, k == 2 ? 3 : 2), k == 1 ? 3 : 4);
        raw->at = td_write_uint(raw->at, 0);
    }
    raw_request(raw, TD_FLAG_GRAD, 1, 4, TD_OP_matmul);
    raw->at = td_write_uint(td_write_uint(td_write_uint(raw->at, 4), 1), 2);
    raw_request(raw, 0, 0, 5, TD_R_BACKWARD);
    raw->at = td_write_bool(td_write_bool(td_write_uint(td_write_uint(raw->at, 4), 3), false), false);
    assert_int_equal(raw_barrier(raw, false).code, TD_E_OK);
}

/* A real program's ops, seen by way of the address that `tensorctl dashboard` gives. */
static void test_a_program_is_seen(void **state)
{
    (void)state;
    struct test_daemon daemon;
    char path[128];
    assert_int_equal(daemon_start(&daemon, (const char *const[]){"--web", "127.0.0.1:0", NULL}), 0);
    site.port = dashboard_path(&daemon, path, sizeof path);
    assert_int_equal(ask(path, ""), 303);
    const char *given = strstr(head, "set-cookie: tensord-");
    assert_non_null(given);
    snprintf(cookie, sizeof cookie, "%s", strchr(given, '=') + 1);
    assert_int_equal(ask(path, ""), 403);
    struct ws ws = ws_open();
    ws_await(&ws, "hello");
    struct raw raw = raw_open(&daemon);
    run_program(&raw);
    ws_await(&ws, "str");
    assert_int_equal(uint_at(&ws, 3), 1);
    assert_true(is_text(&item(&ws, 4)->via.array.ptr[0], "net.c:7"));
    uint32_t node = 0;
    for (bool walked = false; !walked;) {
        ws_await(&ws, "op");
        size_t n = (size_t)uint_at(&ws, 3);
        size_t dims = item(&ws, 18)->via.bin.size / 4;
        for (size_t i = 0; i < n; i++) {
            uint16_t op = *(const uint16_t *)cell(&ws, 6, 2, n, i), flags = *(const uint16_t *)cell(&ws, 8, 2, n, i);
            walked |= flags & BLACKBOX_OP_BACKWARD && node && u32_at(&ws, 12, n, i) == node;
            assert_int_equal(u32_at(&ws, 4, n, i), raw.session);
            if (op != TD_OP_matmul || flags & BLACKBOX_OP_BACKWARD)
                continue;
            assert_true(flags & BLACKBOX_OP_NODE);
            node = u32_at(&ws, 12, n, i);
            uint32_t at = u32_at(&ws, 17, n + 1, i);
            assert_int_equal(u32_at(&ws, 18, dims, at), 2);
            assert_int_equal(u32_at(&ws, 18, dims, at + 1), 4);
            assert_int_equal(u32_at(&ws, 9, n, i), 1);
            assert_true(real_at(&ws, 14, n, i) == 32);
        }
    }
    double used = 0; /* 24 + 48 + 32 of ones, 32 of their product, 24 of a gradient at least */
    while (used < 160) {
        ws_await(&ws, "mem");
        check_memory(&ws, (size_t)uint_at(&ws, 3));
        used = real_at(&ws, 5, (size_t)uint_at(&ws, 3), (size_t)uint_at(&ws, 3) - 1);
    }
    kill(daemon_child(&daemon, "tensord-worker", 0), SIGKILL);
    ws_await(&ws, "end");
    assert_non_null(memmem(item(&ws, 3)->via.str.ptr, item(&ws, 3)->via.str.size, "signal 9", 8));
    ws_await(&ws, "hello");
    assert_true(key_of(&ws, "life")->via.f64 == 2);
    raw_close(&raw);
    ws_close(&ws);
    snprintf(cookie, sizeof cookie, COOKIE);
    assert_int_equal(daemon_stop(&daemon), 0);
}

static void test_a_port_that_is_taken(void **state)
{
    (void)state;
    struct test_daemon daemon;
    char address[64], expected[128];
    int port, listening = listen_somewhere(&port);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    snprintf(expected, sizeof expected, "the dashboard cannot be served at %s: Address already in use", address);
    assert_int_equal(daemon_start(&daemon, (const char *const[]){"--web", address, NULL}), 0);
    await_log(&daemon, expected, 1);
    struct raw raw = raw_open(&daemon); /* the daemon goes on without */
    assert_int_equal(raw_barrier(&raw, false).code, TD_E_OK);
    raw_close(&raw);
    close(listening);
    assert_int_equal(await_log(&daemon, "the dashboard is at http://127.0.0.1:", 1), port); /* until it is free */
    assert_int_equal(ask_port(port, "GET", "/", ""), 200);
    assert_int_equal(daemon_stop(&daemon), 0);
}

int main(void)
{
#define ON_SITE(test) cmocka_unit_test_setup_teardown(test, start_site, stop_site)
    const struct CMUnitTest tests[] = {
        ON_SITE(test_page),
        ON_SITE(test_a_connection_is_kept),
        ON_SITE(test_hosts),
        ON_SITE(test_tokens),
        cmocka_unit_test(test_tokens_expire),
        ON_SITE(test_who_may_watch),
        ON_SITE(test_hello_and_memory),
        ON_SITE(test_ops),
        ON_SITE(test_sessions_and_stat),
        ON_SITE(test_too_many_ops),
        ON_SITE(test_follow),
        ON_SITE(test_pause),
        ON_SITE(test_one_that_never_reads),
        ON_SITE(test_slow_reader),
        ON_SITE(test_thirty_viewers),
        ON_SITE(test_hostile_frames),
        ON_SITE(test_hostile_heads),
        ON_SITE(test_end_and_hello),
        ON_SITE(test_a_box_of_garbage),
        ON_SITE(test_metrics),
        ON_SITE(test_several_devices),
        cmocka_unit_test(test_whole_daemon),
        cmocka_unit_test(test_a_program_is_seen),
        cmocka_unit_test(test_a_port_that_is_taken),
    };
    if (getenv("TEST_FILTER"))
        cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
