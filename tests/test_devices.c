/* A daemon with several devices (the emulated ones of tests/cuda): which there are and what they are called, which of
 * them a session gets, what becomes of the others when one is lost, and how they are shown.
 * SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <msgpack.h>

#include "tests/emulated.h"

#define MIB ((int64_t)1 << 20)
#define PATIENCE 1000 /* times 10 ms */

static struct test_daemon daemon_;

/* words: what the emulated devices are like. */
static void start(const char *words, const char *devices)
{
    device_is(words);
    assert_int_equal(daemon_start(&daemon_, (const char *const[]){"--device", devices, "--memory", "256M", NULL}), 0);
}

static void stop(void)
{
    assert_int_equal(daemon_stop(&daemon_), 0);
}

static td_session *open_on(const char *device)
{
    td_session *s = td_open(daemon_.address, .device = device);
    const td_error_info *error = td_error(s);
    if (error->code)
        fail_msg("no session on %s: %s", device ? device : "any device", error->message);
    td_manual_seed(s, 7);
    return s;
}

static void assert_on(td_session *s, const char *device)
{
    assert_string_equal(td_device(s).name, device);
}

static void close_all(td_session **sessions, int count)
{
    for (int k = 0; k < count; k++)
        assert_int_equal(td_close(sessions[k]), 0);
}

/* A number in the STATUS that the session's own worker gives, by the key of the map's top level. */
static int64_t of_worker(td_session *s, const char *key)
{
    size_t bytes;
    void *status = td_status(s, &bytes);
    msgpack_unpacked map;
    int64_t value = -1;
    msgpack_unpacked_init(&map);
    assert_int_equal(msgpack_unpack_next(&map, status, bytes, NULL), MSGPACK_UNPACK_SUCCESS);
    for (uint32_t k = 0; k < map.data.via.map.size; k++) {
        const msgpack_object_kv *entry = &map.data.via.map.ptr[k];
        if (entry->key.via.str.size == strlen(key) && !memcmp(entry->key.via.str.ptr, key, strlen(key)))
            value = (int64_t)entry->val.via.u64;
    }
    msgpack_unpacked_destroy(&map);
    assert_true(value >= 0);
    free(status);
    return value;
}

/* A session that holds so much, as the black box tells by then: its worker publishes between two turns. */
static td_session *holder(const char *device, int64_t bytes)
{
    td_session *s = open_on(device);
    td_ones(s, TD_SHAPE(bytes / 4));
    assert_int_equal(td_sync(s), 0);
    for (int tries = 0; tries < 3; tries++)
        td_memory(s);
    return s;
}

/* ---- which there are ---- */

/* A client that comes before anybody knows how many there are waits for it. */
static void all_that_cuda_sees_are_served(void **state)
{
    (void)state;
    td_session *sessions[4];
    start("devices=3", "cuda");
    sessions[0] = open_on("cuda:2");
    sessions[1] = open_on("cuda:0");
    sessions[2] = open_on("cuda:1");
    sessions[3] = open_on("cuda");
    assert_on(sessions[0], "cuda:2");
    assert_on(sessions[1], "cuda:0");
    assert_on(sessions[2], "cuda:1");
    assert_logged(&daemon_, "serves cuda:0, cuda:1, cuda:2 at", "ready after");
    assert_logged(&daemon_, "worker 3 on cuda:2 (pid", "is ready");
    for (int k = 0; k < 3; k++)
        for (int other = 0; other < k; other++) {
            assert_int_not_equal(of_worker(sessions[k], "pid"), of_worker(sessions[other], "pid"));
            assert_int_not_equal(of_worker(sessions[k], "session"), of_worker(sessions[other], "session"));
        }
    for (int k = 0; k < 3; k++) /* the limit is each device's own */
        assert_int_equal(td_memory(sessions[k]).limit, 256 * MIB);
    close_all(sessions, 4);
    stop();
}

static void what_is_named_is_served_in_that_order(void **state)
{
    (void)state;
    td_session *sessions[2];
    start("devices=3", "cuda:2,cuda:0");
    sessions[0] = open_on("cuda:0");
    sessions[1] = open_on("cuda:2");
    assert_on(sessions[0], "cuda:0");
    assert_on(sessions[1], "cuda:2");
    assert_logged(&daemon_, "serves cuda:2, cuda:0 at", "ready after");
    close_all(sessions, 2);
    stop();
}

/* One that cannot be had ends the daemon, and the workers of the others end with it. */
static void one_that_is_not_there_ends_the_daemon(void **state)
{
    (void)state;
    static char text[1 << 14];
    device_is("devices=2");
    assert_int_equal(run_to_its_end("cuda:0,cuda:2,cpu", text, sizeof text), 1);
    assert_non_null(strstr(text, "there is no cuda:2: CUDA sees 2 devices"));
    setenv("CUDA_VISIBLE_DEVICES", "1", 1);
    assert_int_equal(run_to_its_end("cuda:1", text, sizeof text), 1);
    assert_non_null(strstr(text, "there is no cuda:1: CUDA sees 1 device,"));
    unsetenv("CUDA_VISIBLE_DEVICES");
    device_is("none"); /* all of none is none, and not the CPU */
    assert_int_equal(run_to_its_end("cuda", text, sizeof text), 1);
    assert_non_null(strstr(text, "the NVIDIA driver sees no GPU"));
}

/* tensorctl's words for the device of that name. */
static void assert_shown(const char *name, const char *words)
{
    char object[64];
    snprintf(object, sizeof object, "\"name\": \"%s\"", name);
    static char printed[1 << 18];
    char command[512];
    const char *program = getenv("TENSORCTL_BIN"), *at = NULL, *end;
    snprintf(command, sizeof command, "exec %s status --json --address %s", program ? program : "build/plain/tensorctl",
             daemon_.address);
    for (int tries = 0; tries < PATIENCE; tries++) {
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        printed[fread(printed, 1, sizeof printed - 1, pipe)] = 0;
        assert_int_equal(pclose(pipe), 0);
        const char *workers = strstr(printed, "\"workers\"");
        assert_non_null(workers);
        at = strstr(workers, object);
        end = at ? strstr(at, "\"totals\"") : NULL;
        const char *found = at ? strstr(at, words) : NULL;
        if (found && end && found < end)
            return;
        usleep(10000);
    }
    fail_msg("'%s' is not said of %s in: %s", words, name, printed);
}

static void with_instruments(bool on)
{
    char folder[4096];
    const char *build = getenv("TENSORD_BUILD");
    snprintf(folder, sizeof folder, "%s/emulated", build ? build : "build/plain");
    if (on)
        setenv("LD_LIBRARY_PATH", folder, 1);
    else
        unsetenv("LD_LIBRARY_PATH");
}

/* NVML counts in another order and does not know the variable. */
static void the_visible_are_counted_as_cuda_counts_them(void **state)
{
    (void)state;
    with_instruments(true);
    start("devices=3", "cuda");
    assert_shown("cuda:0", "\"power_watts\": 71.5");
    assert_shown("cuda:1", "\"power_watts\": 72.5");
    assert_shown("cuda:2", "\"power_watts\": 73.5");
    stop();
    setenv("CUDA_VISIBLE_DEVICES", "2,GPU-emulated-0", 1);
    start("devices=3", "cuda");
    assert_shown("cuda:0", "\"power_watts\": 73.5");
    assert_shown("cuda:1", "\"power_watts\": 71.5");
    td_session *s = td_open(daemon_.address, .device = "cuda:2");
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    td_close(s);
    stop();
    unsetenv("CUDA_VISIBLE_DEVICES");
    with_instruments(false);
}

/* Of the instances of a divided GPU CUDA sees one in a process, so each worker has to be shown its own. */
static void instances_are_devices(void **state)
{
    (void)state;
    with_instruments(true);
    start("devices=2,mig", "cuda");
    assert_shown("cuda:0", "an emulated device MIG 1g");
    assert_shown("cuda:0", "\"used_bytes\": 1.07374182e+09"); /* its own; the power is the board's */
    assert_shown("cuda:0", "\"power_watts\": 71.5");
    assert_shown("cuda:0", "\"busy_ratio\": null");
    assert_shown("cuda:1", "an emulated device MIG 1g");
    assert_shown("cuda:1", "\"used_bytes\": 2.14748365e+09");
    assert_shown("cuda:2", "an emulated device more");
    assert_shown("cuda:2", "\"power_watts\": 72.5");
    td_session *s = open_on("cuda:1");
    assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(4)))) == 4);
    assert_int_equal(td_device(s).memory, 512 * MIB);
    assert_int_equal(td_close(s), 0);
    stop();
    setenv("CUDA_VISIBLE_DEVICES", "MIG-emulated-1, MIG-emulated-0,-1,1", 1);
    start("devices=2,mig", "cuda");
    assert_shown("cuda:0", "\"used_bytes\": 2.14748365e+09");
    assert_shown("cuda:1", "\"used_bytes\": 1.07374182e+09");
    stop();
    static char text[1 << 14];
    device_is("devices=2,mig");
    assert_int_equal(run_to_its_end("cuda:2", text, sizeof text), 1);
    assert_non_null(strstr(text, "there is no cuda:2: CUDA sees 2 devices"));
    setenv("CUDA_VISIBLE_DEVICES", "MIG-emulated-7", 1);
    assert_int_equal(run_to_its_end("cuda:0", text, sizeof text), 1);
    assert_non_null(strstr(text, "the NVIDIA driver sees no GPU"));
    unsetenv("CUDA_VISIBLE_DEVICES");
    with_instruments(false);
    /* Without NVML what CUDA sees by itself is all that is known. */
    start("devices=2,mig", "cuda");
    s = open_on(NULL);
    assert_non_null(strstr(td_device(s).description, "MIG 1g"));
    assert_int_equal(td_close(s), 0);
    assert_logged(&daemon_, "serves cuda:0 at", "ready after");
    stop();
}

/* ---- which one a session gets ---- */

static void it_gets_the_one_with_most_free_memory(void **state)
{
    (void)state;
    td_session *sessions[4];
    start("devices=2", "cuda:0,cuda:1");
    sessions[0] = holder("cuda:0", 100 * MIB);
    sessions[1] = open_on(NULL); /* 256 MiB free and 156 */
    assert_on(sessions[1], "cuda:1");
    assert_int_equal(td_close(sessions[1]), 0);
    sessions[1] = holder("cuda:1", 200 * MIB);
    sessions[2] = open_on(NULL); /* 56 and 156 */
    assert_on(sessions[2], "cuda:0");
    sessions[3] = open_on(NULL);
    assert_on(sessions[3], "cuda:0"); /* a third of 156, or half of 56 */
    close_all(sessions, 4);
    stop();
}

/* Nobody holds anything yet, or has even been greeted, when a class comes at once. */
static void a_crowd_is_spread(void **state)
{
    (void)state;
    static char bytes[1024];
    struct raw crowd[12];
    int on[4] = {0};
    uint8_t hello[TD_HELLO_MAX];
    struct td_hello words = {.version_min = TD_PROTOCOL_MIN, .version_max = TD_PROTOCOL_MAX, .program = "crowd"};
    start("devices=3", "cuda");
    td_session *s = holder("cuda:1", MIB); /* so little is no reason to leave it alone */
    for (int k = 0; k < 12; k++) {
        crowd[k] = raw_connect(&daemon_);
        assert_true(raw_frame(&crowd[k], hello, td_hello_encode(&words, hello)));
    }
    for (int k = 0; k < 12; k++) {
        assert_int_equal(raw_receive_any(&crowd[k], RAW_WAIT_MS), TD_REPLY_WELCOME);
        for (int skipped = 0; skipped < 3; skipped++)
            td_read_uint(&crowd[k].reply);
        uint32_t length;
        const char *device = td_read_text(&crowd[k].reply, &length);
        assert_non_null(device);
        snprintf(bytes, sizeof bytes, "%.*s", (int)length, device);
        on[bytes[5] - '0']++;
    }
    assert_int_equal(on[0] + on[1] + on[2], 12);
    for (int d = 0; d < 3; d++)
        if (on[d] < 2 || on[d] > 6)
            fail_msg("%d, %d and %d of 12 are on the three devices", on[0], on[1], on[2]);
    for (int k = 0; k < 12; k++)
        raw_close(&crowd[k]);
    assert_int_equal(td_close(s), 0);
    stop();
}

static void a_wish_is_met_or_refused(void **state)
{
    (void)state;
    start("devices=2", "cuda:0,cuda:1");
    td_session *full = holder("cuda:1", 200 * MIB), *s;
    s = open_on("cuda:1"); /* whatever it holds */
    assert_on(s, "cuda:1");
    assert_int_equal(td_close(s), 0);
    static const char *const wrong[] = {"cuda:2", "cpu", "cuda:", "cud", "cuda:00", "gpu", "cuda:0,cuda:1", "CUDA:0"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        char expected[128];
        s = td_open(daemon_.address, .device = wrong[k]);
        snprintf(expected, sizeof expected, "the daemon has no device '%s'; it has cuda:0, cuda:1", wrong[k]);
        assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
        assert_string_equal(td_error(s)->message, expected);
        assert_false(td_ok(td_ones(s, TD_SHAPE(2)))); /* and nothing else works */
        assert_int_equal(td_close(s), TD_E_ARGUMENT);
    }
    s = td_open(daemon_.address, .device = "a name that is longer than that of any device");
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    assert_non_null(strstr(td_error(s)->message, "'a name that is longer than that of any device'"));
    assert_int_equal(td_close(s), TD_E_ARGUMENT);
    setenv("TENSORD_DEVICE", "cuda:1", 1);
    s = open_on(NULL);
    assert_on(s, "cuda:1");
    assert_int_equal(td_close(s), 0);
    s = open_on(""); /* none */
    assert_on(s, "cuda:1");
    assert_int_equal(td_close(s), 0);
    s = open_on("cuda:0"); /* what the program says counts more */
    assert_on(s, "cuda:0");
    assert_int_equal(td_close(s), 0);
    setenv("TENSORD_DEVICE", "cuda:5", 1);
    s = td_open(daemon_.address);
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    assert_non_null(strstr(td_error(s)->message, "no device 'cuda:5'"));
    assert_int_equal(td_close(s), TD_E_ARGUMENT);
    unsetenv("TENSORD_DEVICE");
    assert_int_equal(td_close(full), 0);
    stop();
}

/* The CPU has more memory than the GPU, which is what a daemon with one is for. */
static void the_cpu_beside_a_gpu_is_for_who_asks(void **state)
{
    (void)state;
    td_session *sessions[4];
    device_is("");
    assert_int_equal(daemon_start(&daemon_, (const char *const[]){"--device", "cpu,cuda:0", NULL}), 0);
    sessions[0] = holder(NULL, 300 * MIB);
    sessions[1] = open_on(NULL);
    sessions[2] = open_on("cpu");
    sessions[3] = open_on("cuda");
    assert_on(sessions[0], "cuda:0");
    assert_on(sessions[1], "cuda:0");
    assert_on(sessions[2], "cpu");
    assert_on(sessions[3], "cuda:0");
    assert_true(td_item(td_sum(td_ones(sessions[2], TD_SHAPE(7)))) == 7);
    close_all(sessions, 4);
    stop();
}

/* With one device there is nothing to choose, and it may still be asked for by name. */
static void of_one_a_wish_may_be_for_its_name(void **state)
{
    (void)state;
    start("", "auto");
    td_session *s = open_on("cuda:0"); /* before the worker has said what it is */
    assert_on(s, "cuda:0");
    assert_int_equal(td_close(s), 0);
    s = td_open(daemon_.address, .device = "cpu");
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    assert_non_null(strstr(td_error(s)->message, "it has cuda:0"));
    td_close(s);
    stop();
}

/* Wishes that no library sends: refused, each with a GOODBYE, and nobody else notices. */
static void hostile_wishes_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[TD_HELLO_MAX], *end;
    char message[TD_MESSAGE_BYTES];
    start("devices=2", "cuda:0,cuda:1");
    td_session *s = open_on("cuda:1");
    struct td_hello hello = {.version_min = TD_PROTOCOL_MIN, .version_max = TD_PROTOCOL_MAX, .program = "hostile"};
    hello.device[0] = 'x';
    size_t before = td_hello_encode(&hello, bytes) - 2; /* up to the wish */
    for (int k = 0; k < 9; k++) {
        struct raw raw = raw_connect(&daemon_);
        char wish[900];
        memset(wish, k == 1 ? 0 : k == 2 ? 0x1b : k == 3 ? 0xff : 'c', sizeof wish);
        memcpy(wish, "cuda:1", 6);
        end = k < 4    ? td_write_text(bytes + before, wish, k ? 20 : 900)
              : k == 4 ? td_write_uint(bytes + before, 1)
              : k == 5 ? td_write_array(bytes + before, 15)
              : k == 6 ? td_write_nil(bytes + before)
              : k == 7 ? td_write_text(bytes + before, "../../cuda:1", 12)
                       : td_write_text(bytes + before, "%s%n%s", 6);
        assert_true(raw_frame(&raw, bytes, (size_t)(end - bytes)));
        assert_int_equal(raw_goodbye(&raw, message), k < 4 || k > 6 ? TD_E_ARGUMENT : TD_E_PROTOCOL);
        for (const char *c = message; *c; c++)
            assert_in_range(*c, ' ', '~');
        raw_close(&raw);
    }
    struct raw cut = raw_connect(&daemon_); /* a text of 200 bytes that are not there */
    bytes[before] = 0xd9;
    bytes[before + 1] = 200;
    assert_true(raw_frame(&cut, bytes, before + 10));
    assert_int_equal(raw_goodbye(&cut, message), TD_E_PROTOCOL);
    raw_close(&cut);
    assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(5)))) == 5);
    assert_int_equal(td_close(s), 0);
    stop();
}

/* The workers do not see each other, and what sessions share of the host with all of them has one limit. */
static void memory_of_the_host_is_divided(void **state)
{
    (void)state;
    long long limits[2];
    for (int two = 0; two < 2; two++) {
        start("devices=2", two ? "cuda:0,cuda:1" : "cuda:0");
        td_session *s = open_on("cuda:0");
        assert_non_null(td_host_alloc(s, 1));
        assert_null(td_host_alloc(s, (size_t)1 << 30)); /* more than a session may have */
        const char *most = strstr(td_error(s)->message, "all sessions 4096 of at most ");
        assert_non_null(most);
        limits[two] = atoll(most + strlen("all sessions 4096 of at most "));
        td_clear_error(s);
        assert_int_equal(td_close(s), 0);
        stop();
    }
    assert_in_range(limits[0] - 2 * limits[1], 0, 2 * sysconf(_SC_PAGESIZE));
    assert_true(limits[1] > 0);
}

/* ---- when one is lost ---- */

/* One session goes on through the other worker's death with the values of a quiet run; the other is told, and finds
 * itself on the same device. */
static void one_lost_worker_touches_no_other(void **state)
{
    (void)state;
    double quiet[COMPUTED], found[COMPUTED];
    start("devices=2", "cuda");
    td_session *lost = open_on("cuda:0"), *kept = open_on("cuda:1");
    compute(kept, quiet);
    td_manual_seed(kept, 7);
    td_tensor old = td_ones(lost, TD_SHAPE(3)), mine = td_full(kept, TD_SHAPE(3), 5);
    assert_int_equal(td_sync(lost) + td_sync(kept), 0);
    int64_t pid = of_worker(kept, "pid"), life = of_worker(kept, "life"), dead = of_worker(lost, "pid");
    for (int round = 0; round < 3; round++) {
        kill((pid_t)(round ? of_worker(lost, "pid") : dead), SIGKILL);
        td_manual_seed(kept, 7);
        compute(kept, found);
        assert_memory_equal(found, quiet, sizeof found);
        assert_int_equal(td_error(kept)->code, TD_E_OK);
        td_sync(lost);
        assert_int_equal(td_error(lost)->code, TD_E_LOST);
        assert_non_null(strstr(td_error(lost)->message, "on cuda:0 (pid"));
        assert_non_null(strstr(td_error(lost)->message, "was killed by signal 9"));
        assert_false(td_ok(old));
        td_clear_error(lost);
        assert_on(lost, "cuda:0"); /* which has as much room as ever */
        assert_true(td_item(td_sum(td_ones(lost, TD_SHAPE(4)))) == 4);
    }
    assert_true(td_item(td_sum(mine)) == 15);
    assert_int_equal(of_worker(kept, "pid"), pid);
    assert_int_equal(of_worker(kept, "life"), life);
    assert_int_equal(td_close(lost) + td_close(kept), 0);
    stop();
}

/* A client that had no wish comes back to its device though another has more room, with one it goes where it wants. */
static void who_lost_a_worker_comes_back_to_its_device(void **state)
{
    (void)state;
    start("devices=2", "cuda:0,cuda:1");
    td_session *full = holder("cuda:1", 200 * MIB), *s = open_on("cuda:1");
    int64_t life = of_worker(s, "life");
    uint8_t bytes[TD_HELLO_MAX];
    for (int wishes = 0; wishes < 2; wishes++) {
        struct raw raw = raw_connect(&daemon_);
        struct td_hello hello = {
            .version_min = TD_PROTOCOL_MIN, .version_max = TD_PROTOCOL_MAX, .life = (uint64_t)life, .program = "back"};
        strcpy(hello.device, wishes ? "cuda:0" : "");
        assert_true(raw_frame(&raw, bytes, td_hello_encode(&hello, bytes)));
        assert_int_equal(raw_receive_any(&raw, RAW_WAIT_MS), TD_REPLY_WELCOME);
        td_read_uint(&raw.reply);
        td_read_uint(&raw.reply);
        uint64_t now = td_read_uint(&raw.reply);
        assert_true(wishes ? now != (uint64_t)life : now == (uint64_t)life);
        raw_close(&raw);
    }
    assert_int_equal(td_close(s) + td_close(full), 0);
    stop();
}

/* ---- how they are shown ---- */

static int ask_metrics(char *text, size_t size)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n";
    char line[1024], head[128];
    int port = 0;
    for (int tries = 0; tries < PATIENCE; tries++, usleep(10000)) {
        FILE *log = fopen(daemon_.log, "r");
        while (log && fgets(line, sizeof line, log))
            if (strstr(line, "http://127.0.0.1:"))
                port = atoi(strstr(line, "http://127.0.0.1:") + 17);
        if (log)
            fclose(log);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ssize_t got = -1, have = 0;
        int bytes = snprintf(head, sizeof head, request, port);
        if (port && !connect(fd, (struct sockaddr *)&address, sizeof address) &&
            send(fd, head, (size_t)bytes, MSG_NOSIGNAL) == bytes)
            while ((got = recv(fd, text + have, size - 1 - (size_t)have, 0)) > 0)
                have += got;
        close(fd);
        text[have] = 0;
        if (got == 0 && strstr(text, "tensord_worker_up"))
            return 0;
    }
    return -1;
}

/* What status, top, the black box and /metrics say of both: the second's worker is killed for it. */
static void both_are_shown(void **state)
{
    (void)state;
    static char text[1 << 18];
    device_is("devices=2");
    assert_int_equal(daemon_start(&daemon_, (const char *const[]){"--device", "cuda", "--memory", "256M", "--web",
                                                                  "127.0.0.1:0", NULL}),
                     0);
    td_session *one = holder("cuda:0", 64 * MIB), *other = holder("cuda:1", 32 * MIB);
    assert_shown("cuda:0", "\"used_bytes\": 67108864");
    assert_shown("cuda:1", "\"used_bytes\": 33554432");
    await_printed(&daemon_, "status", "device  cuda:0", "device  cuda:1");
    await_printed(&daemon_, "status --json", "\"device\": \"cuda:0\"", "\"device\": \"cuda:1\"");
    await_printed(&daemon_, "top --once --interval 0.1", "cuda:0   0 ops/s", "cuda:1   0 ops/s");
    await_printed(&daemon_, "top --once --interval 0.1", " cuda:0 ", " cuda:1 "); /* the sessions */
    await_printed(&daemon_, "top --json --interval 0.1", "\"workers\"",
                  "\"bytes\": 100663296"); /* the user's, of both */
    char before[64], after[64];
    snprintf(before, sizeof before, "\"life\": %d", (int)of_worker(one, "life"));
    kill((pid_t)of_worker(other, "pid"), SIGKILL);
    td_sync(other);
    assert_int_equal(td_error(other)->code, TD_E_LOST);
    td_clear_error(other);
    snprintf(after, sizeof after, "worker %d (pid", (int)of_worker(other, "life"));
    await_printed(&daemon_, "status", "on cuda:1 (pid", after);
    await_printed(&daemon_, "top --once --interval 0.1", "restart  worker", "on cuda:1 (pid");
    await_printed(&daemon_, "status --json", before, "\"used_bytes\": 67108864");    /* the first one's is as it was */
    await_printed(&daemon_, "blackbox", "on cuda:1 (pid", "was killed by signal 9"); /* of the one that died */
    await_printed(&daemon_, "blackbox --life 1", "worker 1 (pid", "64.0 MiB used");
    for (int tries = 0; tries < PATIENCE; tries++, usleep(10000)) {
        assert_int_equal(ask_metrics(text, sizeof text), 0);
        if (strstr(text, "tensord_worker_life{device=\"cuda:1\"} 3\n"))
            break;
    }
    assert_non_null(strstr(text, "tensord_worker_life{device=\"cuda:1\"} 3\n"));
    assert_non_null(strstr(text, "tensord_worker_life{device=\"cuda:0\"} 1\n"));
    assert_non_null(strstr(text, "tensord_worker_up{device=\"cuda:0\"} 1\n"));
    assert_non_null(strstr(text, "tensord_memory_used_bytes{device=\"cuda:0\"} 67108864\n"));
    assert_non_null(strstr(text, "tensord_memory_used_bytes{device=\"cuda:1\"} 0\n"));
    assert_non_null(strstr(text, "tensord_memory_class_bytes{device=\"cuda:0\",class=\"value\"} 67108864\n"));
    pid_t web = daemon_child(&daemon_, "tensord-web", 0); /* the next one is told of both */
    kill(web, SIGKILL);
    daemon_child(&daemon_, "tensord-web", web);
    for (int tries = 0; tries < PATIENCE; tries++, usleep(10000)) {
        assert_int_equal(ask_metrics(text, sizeof text), 0);
        if (strstr(text, "{device=\"cuda:1\"} 3\n"))
            break;
    }
    assert_non_null(strstr(text, "tensord_worker_life{device=\"cuda:0\"} 1\n"));
    assert_non_null(strstr(text, "tensord_worker_life{device=\"cuda:1\"} 3\n"));
    assert_int_equal(td_close(one) + td_close(other), 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_cuda_sees_are_served),
        cmocka_unit_test(what_is_named_is_served_in_that_order),
        cmocka_unit_test(one_that_is_not_there_ends_the_daemon),
        cmocka_unit_test(the_visible_are_counted_as_cuda_counts_them),
        cmocka_unit_test(instances_are_devices),
        cmocka_unit_test(it_gets_the_one_with_most_free_memory),
        cmocka_unit_test(a_crowd_is_spread),
        cmocka_unit_test(a_wish_is_met_or_refused),
        cmocka_unit_test(the_cpu_beside_a_gpu_is_for_who_asks),
        cmocka_unit_test(of_one_a_wish_may_be_for_its_name),
        cmocka_unit_test(hostile_wishes_are_refused),
        cmocka_unit_test(memory_of_the_host_is_divided),
        cmocka_unit_test(one_lost_worker_touches_no_other),
        cmocka_unit_test(who_lost_a_worker_comes_back_to_its_device),
        cmocka_unit_test(both_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
