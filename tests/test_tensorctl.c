/* tensorctl with a real daemon: what it prints is true, comes whatever the worker does, and harms no terminal.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <grp.h>
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "client/cli/blackbox.h"
#include "client/cli/measure.h"
#include "client/cli/observe.h"
#include "client/cli/sample.h"
#include "client/cli/text.h"
#include "tests/random.h"
#include "tests/strict_json.h"
#include "tests/support.h"

/* Long enough for a loaded machine and sanitizers; nothing waits for it in vain. */
#define PATIENCE_MS 20000
#define OUTPUT_BYTES (1 << 20)
/* Nobody's: another user than the daemon's. */
#define OTHER_UID 65534

static struct test_daemon daemon_;
static char output[OUTPUT_BYTES], complaint[OUTPUT_BYTES]; /* of the last run of the tool */

static int start(void **state)
{
    (void)state;
    return daemon_start(&daemon_, NULL);
}

static int stop(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static int64_t now_ms(void)
{
    return (int64_t)(now_ns() / 1000000);
}

static void wait_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* ---- running the tool ---- */

static void exec_tool(const char *const *arguments)
{
    const char *program = getenv("TENSORCTL_BIN");
    const char *argv[16] = {"tensorctl"};
    for (int k = 0; arguments[k] && k < 14; k++)
        argv[k + 1] = arguments[k];
    setenv("TENSORD", daemon_.address, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(program ? program : "build/plain/tensorctl", (char **)argv);
    _exit(127);
}

/* Reads both pipes to their ends. */
static void gather(int out, int err)
{
    struct pollfd ends[2] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
    char *to[2] = {output, complaint};
    size_t used[2] = {0, 0};
    int64_t end = now_ms() + PATIENCE_MS;
    while ((ends[0].fd >= 0 || ends[1].fd >= 0) && now_ms() < end) {
        poll(ends, 2, 1000);
        for (int k = 0; k < 2; k++) {
            if (ends[k].fd < 0 || !ends[k].revents)
                continue;
            ssize_t got = read(ends[k].fd, to[k] + used[k], OUTPUT_BYTES - 1 - used[k]);
            used[k] += got > 0 ? (size_t)got : 0;
            if (got <= 0)
                ends[k].fd = -1;
        }
    }
    output[used[0]] = complaint[used[1]] = 0;
    assert_true(ends[0].fd < 0 && ends[1].fd < 0);
}

/* Runs it; what it prints stands in output and complaint. Its exit status. */
static int run_tool(const char *const *arguments)
{
    int out[2], err[2], status;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        exec_tool(arguments);
    }
    close(out[1]);
    close(err[1]);
    gather(out[0], err[0]);
    close(out[0]);
    close(err[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RUN(...) run_tool((const char *const[]){__VA_ARGS__, NULL})

static void expect_word(const char *word)
{
    if (!strstr(output, word))
        fail_msg("'%s' is not in what tensorctl printed:\n%s%s", word, output, complaint);
}

/* Nothing but lines of printable characters. */
static void expect_harmless(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if ((*c < ' ' && *c != '\n') || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
            fail_msg("byte %#x stands in what was printed", *c);
}

/* Runs it with --json until the number at path is due; the JSON stands in output. */
static void await_number(const char *const *arguments, const char *path, double due)
{
    for (int64_t end = now_ms() + PATIENCE_MS;; wait_ms(10)) {
        assert_int_equal(run_tool(arguments), 0);
        assert_true(json_is_strict(output));
        if (json_number(output, path) == due)
            return;
        if (now_ms() > end)
            fail_msg("%s is not %.17g in\n%s", path, due, output);
    }
}

/* ---- sessions to be looked at ---- */

/* A tensor of this shape, filled. */
static void make(struct raw *raw, uint32_t handle, uint64_t rows, uint64_t columns)
{
    raw_request(raw, 0, 0, 5, TD_OP_full);
    raw->at = td_write_array(td_write_uint(raw->at, handle), 2);
    raw->at = td_write_uint(td_write_uint(raw->at, rows), columns);
    raw->at = td_write_uint(td_write_real(raw->at, 0.5), TD_F32);
}

static void site(struct raw *raw, uint32_t number, const char *text)
{
    raw_request(raw, 0, 0, 3, TD_R_SITE);
    raw->at = td_write_text(td_write_uint(raw->at, number), text, (uint32_t)strlen(text));
}

static void matmul(struct raw *raw, uint32_t at_site, uint32_t out, uint32_t a, uint32_t b)
{
    raw_request(raw, 0, at_site, 4, TD_OP_matmul);
    raw->at = td_write_uint(td_write_uint(td_write_uint(raw->at, out), a), b);
}

/* The worker as the supervisor knows it; waits until there is one that runs. */
static struct observation observe_running(void)
{
    struct observation observation;
    for (int64_t end = now_ms() + PATIENCE_MS;; wait_ms(5)) {
        struct td_failure failure = {0};
        if (observe(daemon_.address, &observation, &failure))
            fail_msg("%s", failure.message);
        if (observation.lives[0].state == TD_LIFE_RUNNING)
            return observation;
        observation_close(&observation);
        assert_true(now_ms() < end);
    }
}

static pid_t worker_pid(void)
{
    struct observation observation = observe_running();
    pid_t pid = (pid_t)observation.lives[0].box.tables->pid;
    observation_close(&observation);
    return pid;
}

/* Kills the worker and waits for the next one. */
static void kill_worker(void)
{
    struct observation observation = observe_running();
    uint64_t life = observation.lives[0].number;
    kill((pid_t)observation.lives[0].box.tables->pid, SIGKILL);
    do {
        observation_close(&observation);
        wait_ms(5);
        observation = observe_running();
    } while (observation.lives[0].number == life);
    observation_close(&observation);
}

/* ---- the command line ---- */

static void test_help_and_mistakes(void **state)
{
    (void)state;
    assert_int_equal(RUN("--help"), 0);
    expect_word("  status ");
    expect_word("  top ");
    expect_word("  blackbox ");
    expect_word("  dashboard ");
    assert_int_equal(RUN("--version"), 0);
    expect_word("tensorctl (tensord)");
    assert_int_equal(RUN("blackbox", "--help"), 0);
    expect_word("tensorctl blackbox");
    expect_word("--errors");
    assert_int_equal(RUN("statos"), 2);
    assert_non_null(strstr(complaint, "there is no command 'statos'; the nearest is 'status'"));
    assert_int_equal(RUN("blakcbox"), 2);
    assert_non_null(strstr(complaint, "'blackbox'"));
    static const char *const wrong[][4] = {{"top", "--interval=0"},  {"top", "--interval=nan"}, {"top", "--sort=up"},
                                           {"blackbox", "--life=0"}, {"blackbox", "--last=-1"}, {"status", "more"},
                                           {"status", "--once"},     {"blackbox", "--life=1x"}};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        assert_int_equal(run_tool(wrong[k]), 2);
        assert_true(strlen(complaint) > 0);
        assert_string_equal(output, "");
    }
    assert_int_equal(RUN("--address", daemon_.address, "status"), 0);
    assert_int_equal(RUN("status", "--address=unix:/nowhere/at/all"), 1);
    assert_non_null(strstr(complaint, "no daemon answers at unix:/nowhere/at/all"));
}

static void test_no_dashboard(void **state)
{
    (void)state;
    char address[128];
    struct td_failure failure = {0};
    int status = RUN("dashboard");
    if (!observe_dashboard(daemon_.address, address, sizeof address, &failure)) {
        assert_int_equal(status, 0);
        assert_true(!strncmp(output, "http", 4) && strchr(output, '\n') == output + strlen(output) - 1);
        return;
    }
    assert_int_equal(status, 1);
    assert_string_equal(output, "");
    assert_non_null(strstr(complaint, "dashboard"));
}

/* ---- figures ---- */

/* The place of this session in the "sessions" of output. */
static int place_of(uint64_t session)
{
    char path[64];
    for (int k = 0; k < 64; k++) {
        snprintf(path, sizeof path, "sessions[%d].id", k);
        if (json_number(output, path) == (double)session)
            return k;
    }
    fail_msg("session %llu is not in\n%s", (unsigned long long)session, output);
    return -1;
}

static void expect_figure(struct raw *raw, const char *key, const char *format, ...)
{
    char path[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    uint64_t due = raw_status(raw, key);
    if (json_number(output, path) != (double)due)
        fail_msg("%s is not %llu in\n%s", path, (unsigned long long)due, output);
}

/* The box and the answer to STATUS are of the same worker at rest: they have to agree to the byte. */
static void test_figures_are_those_of_status(void **state)
{
    (void)state;
    struct raw other = raw_open(&daemon_), raw = raw_open(&daemon_);
    char path[64];
    make(&other, 1, 300, 10);
    make(&raw, 1, 64, 784);
    make(&raw, 2, 784, 128);
    matmul(&raw, 0, 3, 1, 2);
    assert_int_equal(raw_barrier(&other, false).code, 0);
    assert_int_equal(raw_barrier(&raw, false).code, 0);
    static const char *const commands[][5] = {{"top", "--once", "--json", "--interval=0.1"}, {"status", "--json"}};
    for (size_t k = 0; k < 2; k++) {
        await_number(commands[k], "device.used_bytes", (double)raw_status(&raw, "device.used_bytes"));
        int place = place_of(raw.session);
        expect_figure(&raw, "device.used_bytes", "device.used_bytes");
        expect_figure(&raw, "device.pool_bytes", "device.pool_bytes");
        expect_figure(&raw, "device.peak_bytes", "device.peak_bytes");
        expect_figure(&raw, "device.limit_bytes", "device.limit_bytes");
        expect_figure(&raw, "device.copied_bytes", "device.copied_bytes");
        expect_figure(&raw, "device.carried_bytes", "device.carried_bytes");
        expect_figure(&raw, "life", "life");
        expect_figure(&raw, "pid", "pid");
        expect_figure(&raw, "mine.bytes", "sessions[%d].bytes", place);
        expect_figure(&raw, "mine.tensors", "sessions[%d].tensors", place);
        expect_figure(&raw, "mine.pid", "sessions[%d].pid", place);
        expect_figure(&raw, "mine.uid", "sessions[%d].uid", place);
        expect_figure(&raw, "mine.copied_bytes", "sessions[%d].copied_bytes", place);
        snprintf(path, sizeof path, "sessions[%d].program", place);
        assert_true(json_says(output, path, "raw"));
        snprintf(path, sizeof path, "sessions[%d].ops", place);
        assert_true(json_number(output, path) == 3);
        double sum = 0;
        for (int c = 0; c < BLACKBOX_CLASSES; c++) {
            snprintf(path, sizeof path, "device.%s_bytes", blackbox_class_names[c]);
            sum += json_number(output, path);
        }
        assert_true(sum == json_number(output, "device.used_bytes"));
    }
    uint64_t requests = raw.requests; /* the tool makes none */
    await_number(commands[1], "daemon_pid", (double)daemon_.pid);
    snprintf(path, sizeof path, "sessions[%d].requests", place_of(raw.session));
    assert_true(json_number(output, path) == (double)requests);
    assert_int_equal(RUN("status"), 0);
    expect_harmless(output);
    expect_word(daemon_.address);
    raw_close(&other);
    raw_close(&raw);
}

/* What top measures: nothing where nothing goes on, and as many as there were. */
static void test_rates(void **state)
{
    (void)state;
    struct sample *before = calloc(1, sizeof *before), *now = calloc(1, sizeof *now);
    before->life = now->life = 3;
    before->taken_ns = 1000000000;
    now->taken_ns = 3000000000;
    now->ops = 5000;
    before->ops = 1000;
    now->busy_ns = 500000000;
    now->session_count = 3;
    for (int k = 0; k < 3; k++)
        now->sessions[k] = (struct blackbox_session){.number = (uint64_t)k + 1, .ops = 100, .device_ns = 9000000000};
    before->session_count = 1;
    before->sessions[0] = (struct blackbox_session){.number = 1, .ops = 40, .latency = {[3] = 10, [20] = 1}};
    now->sessions[0].latency[3] = 10;
    now->sessions[0].latency[20] = 2;
    now->sessions[1].opened_ns = 500000000;  /* was there before, and could not be read */
    now->sessions[2].opened_ns = 2000000000; /* is new */
    struct measure *measure = measure_take(before, now);
    assert_true(measure->seconds == 2 && measure->ops_s == 2000 && measure->busy == 0.25);
    assert_true(measure->sessions[0].ops_s == 30 && measure->sessions[0].device == 1);
    assert_true(measure->sessions[0].latency50_us == 1 << 20); /* the one answer of this time */
    assert_true(measure->sessions[1].ops_s == 0 && measure->sessions[1].latency50_us == 0);
    assert_true(measure->sessions[2].ops_s == 50);
    measure_sort(measure->sessions, 3, 'o', false);
    assert_int_equal(measure->sessions[0].number, 3);
    measure_sort(measure->sessions, 3, 'o', true);
    assert_int_equal(measure->sessions[0].number, 2);
    measure_sort(measure->sessions, 3, 'n', false);
    assert_int_equal(measure->sessions[0].number, 1);
    char line[512];
    for (int width = 1; width < 200; width++) { /* narrow terminals get fewer columns, whole */
        row_line(&measure->sessions[0], false, width, 'm', line, sizeof line);
        assert_true((int)strlen(line) <= width);
    }
    free(measure);
    before->life = 2; /* of another worker: counted from this one's start */
    now->started_ns = 1000000000;
    measure = measure_take(before, now);
    assert_true(measure->ops_s == 2500);
    free(measure);
    free(before);
    free(now);
}

static void test_values_in_words(void **state)
{
    (void)state;
    char to[64];
    assert_string_equal(bytes_text(1536).s, "1.5 KiB");
    assert_string_equal(bytes_text(UINT64_MAX).s, "16.0 EiB");
    assert_string_equal(age_text(UINT64_C(432000000000)).s, "7 m 12 s");
    assert_string_equal(span_text(3200).s, "3.20 ms");
    assert_string_equal(rate_text(34100).s, "34.1k");
    assert_string_equal(text_clean(to, sizeof to, "a\x1b[2Jé\xc2\x9b\xe2\x80\xae\xffz", 64), "a?[2Jé???z");
    assert_string_equal(text_plain(to, sizeof to, "é.", 64), "??.");
    assert_string_equal(text_clean(to, 4, "aéé", 64), "aé"); /* no half of one */
    assert_string_equal(text_clean(to, sizeof to, "abc", 2), "ab");
    assert_string_equal(time_text(UINT64_MAX).s + 4, time_text(UINT64_MAX).s + 4);
}

/* ---- whatever the worker does ---- */

static void test_while_an_op_runs(void **state)
{
    (void)state;
    struct raw raw = raw_open(&daemon_);
    char path[64];
    make(&raw, 1, 3072, 3072);
    matmul(&raw, 0, 2, 1, 1);
    raw_request(&raw, 0, 0, 1, TD_R_BARRIER);
    assert_true(raw_flush(&raw));
    bool seen = false;
    for (int64_t end = now_ms() + PATIENCE_MS; !seen && now_ms() < end;) {
        assert_int_equal(RUN("status", "--json"), 0);
        assert_true(json_is_strict(output));
        snprintf(path, sizeof path, "sessions[%d].state", place_of(raw.session));
        seen = json_says(output, path, "device");
        if (!seen && raw_receive(&raw, 0) == TD_REPLY_DONE)
            break;
    }
    assert_true(seen);
    assert_int_equal(RUN("blackbox"), 0);
    snprintf(path, sizeof path, "session %llu, raw", (unsigned long long)raw.session);
    expect_word(path);
    expect_word("matmul");
    assert_int_equal(RUN("top", "--once", "-i", "0.1"), 0);
    expect_word("raw");
    raw_close(&raw);
}

/* Stops the worker in the middle of a turn, which needs a few attempts. */
static pid_t stop_in_a_turn(struct raw *raw)
{
    pid_t pid = worker_pid();
    struct observation observation = observe_running();
    const struct blackbox_tables *tables = observation.lives[0].box.tables;
    for (int64_t end = now_ms() + PATIENCE_MS;;) {
        for (int k = 0; k < 4000; k++)
            matmul(raw, 0, 100 + (uint32_t)k, 1, 1);
        assert_true(raw_flush(raw));
        for (int k = 0; k < 1000 && !atomic_load(&tables->turning); k++)
            ;
        kill(pid, SIGSTOP);
        wait_ms(20); /* it is told */
        if (atomic_load(&tables->turning))
            break;
        kill(pid, SIGCONT);
        assert_true(now_ms() < end);
        raw_close(raw);
        *raw = raw_open(&daemon_);
        make(raw, 1, 16, 16);
    }
    observation_close(&observation);
    return pid;
}

static void test_while_the_worker_hangs(void **state)
{
    (void)state;
    struct raw raw = raw_open(&daemon_);
    make(&raw, 1, 16, 16);
    pid_t pid = stop_in_a_turn(&raw);
    wait_ms(2100);
    assert_int_equal(RUN("status"), 0);
    expect_word("has been in one step for 2 s");
    assert_int_equal(RUN("status", "--json"), 0);
    assert_true(json_number(output, "step_s") > 2);
    assert_int_equal(RUN("top", "--once", "-i", "0.1"), 0);
    expect_word("has been in one step for");
    assert_int_equal(RUN("blackbox"), 0);
    expect_word("matmul");
    struct raw late = raw_connect(&daemon_); /* a program that comes now is not taken, and counted */
    struct td_hello hello = {.version_min = TD_PROTOCOL_MIN, .version_max = TD_PROTOCOL_MAX, .program = "late"};
    uint8_t bytes[TD_HELLO_MAX];
    assert_true(raw_frame(&late, bytes, td_hello_encode(&hello, bytes)));
    await_number((const char *const[]){"status", "--json", NULL}, "waiting", 1);
    kill(pid, SIGKILL);
    raw_close(&raw);
    assert_int_equal(raw_receive(&late, RAW_WAIT_MS), TD_REPLY_WELCOME); /* by the next worker */
    raw_close(&late);
    while (worker_pid() == pid)
        wait_ms(5);
    assert_int_equal(RUN("status"), 0);
    expect_word("was killed by signal 9 (Killed)");
}

/* What a dead worker did last is told by its box, as it is. */
static void test_the_last_of_a_worker(void **state)
{
    (void)state;
    struct raw raw = raw_open(&daemon_);
    char word[128], life[32];
    site(&raw, 1, "mlp.c:41");
    site(&raw, 2, "evil\x1b]0;x\x07\xc2\x9b.c:1");
    make(&raw, 1, 64, 784);
    make(&raw, 2, 784, 128);
    matmul(&raw, 1, 3, 1, 2);
    matmul(&raw, 2, 4, 2, 2);
    assert_int_equal(raw_barrier(&raw, false).code, TD_E_SHAPE);
    struct observation observation = observe_running();
    snprintf(life, sizeof life, "--life=%llu", (unsigned long long)observation.lives[0].number);
    observation_close(&observation);
    assert_int_equal(RUN("blackbox", life), 0); /* of one that lives */
    expect_word("matmul [64,784] x [784,128] -> [64,128] f32");
    kill_worker();
    assert_int_equal(RUN("blackbox"), 0);
    expect_harmless(output);
    expect_word("was killed by signal 9 (Killed)");
    expect_word("matmul [64,784] x [784,128] -> [64,128] f32");
    expect_word("mlp.c:41");
    expect_word("ERROR shape: matmul: ");
    expect_word("evil?]0;x??.c:1");
    assert_int_equal(RUN("blackbox", "--errors"), 0);
    expect_word("ERROR shape");
    assert_null(strstr(output, "-> [64,128]"));
    snprintf(word, sizeof word, "--session=%llu", (unsigned long long)raw.session);
    assert_int_equal(RUN("blackbox", word, life), 0);
    snprintf(word, sizeof word, "session %llu, raw (pid %d)", (unsigned long long)raw.session, (int)getpid());
    expect_word(word);
    expect_word("barrier");
    assert_int_equal(RUN("blackbox", "--session=999999"), 0);
    expect_word("no session 999999 is known");
    assert_int_equal(RUN("blackbox", "--last=1", "--json"), 0);
    assert_true(json_is_strict(output));
    assert_non_null(json_at(output, "records[0]"));
    assert_null(json_at(output, "records[1]"));
    assert_int_equal(RUN("blackbox", "--life=4711"), 1);
    assert_non_null(strstr(complaint, "no black box of life 4711 is kept"));
    assert_int_equal(RUN("status"), 0);
    expect_word("before  worker ");
    raw_close(&raw);
}

/* ---- what is handed out ---- */

static void test_descriptors_only_read(void **state)
{
    (void)state;
    struct td_address address;
    struct td_failure failure = {0};
    struct observed_answer answer;
    assert_int_equal(td_address_parse(daemon_.address, &address, &failure), 0);
    assert_int_equal(observed_ask(&address, TD_PURPOSE_OBSERVE, &answer, &failure), 0);
    assert_true(answer.count >= 2);
    for (int k = 0; k < answer.count; k++) {
        int fd = answer.descriptors[k];
        char path[64];
        struct stat stat;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        assert_int_equal(fstat(fd, &stat), 0);
        assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
        assert_int_equal(pwrite(fd, "x", 1, 0), -1);
        assert_int_equal(ftruncate(fd, 0), -1);
        void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        assert_int_equal(mprotect(map, 4096, PROT_READ | PROT_WRITE), -1);
        munmap(map, 4096);
        if (geteuid())
            continue;
        fflush(NULL);
        pid_t pid = fork();
        if (!pid) {
            bool left = !setgroups(0, NULL) && !setgid(OTHER_UID) && !setuid(OTHER_UID) && !prctl(PR_SET_DUMPABLE, 1);
            int own = open("/dev/null", O_RDONLY);
            char own_path[64];
            snprintf(own_path, sizeof own_path, "/proc/self/fd/%d", own);
            left = left && open(own_path, O_RDWR) >= 0; /* it is not /proc that refuses */
            _exit(!left ? 2 : open(path, O_RDWR) >= 0 ? 1 : 0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    observed_answer_close(&answer);
}

/* As another user: what is everybody's is there, what is not is not. Its exit status says what was wrong. */
static int look_as_other(void)
{
    struct observation observation;
    struct td_failure failure = {0};
    struct options options = {.last = 20};
    char address[128];
    if (setgroups(0, NULL) || setgid(OTHER_UID) || setuid(OTHER_UID))
        return 1;
    if (observe(daemon_.address, &observation, &failure) || observation.lives[0].has_trace ||
        observation.lives[0].box.trace || !observation.lives[0].box.tables)
        return 2;
    FILE *out = tmpfile();
    char text[4096] = "";
    if (!out)
        return 3;
    blackbox_print(out, &observation, &observation.lives[0], &options);
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = 0;
    fclose(out);
    observation_close(&observation);
    if (!strstr(text, "sudo tensorctl blackbox"))
        return 4;
    if (observe_dashboard(daemon_.address, address, sizeof address, &failure) != TD_E_ARGUMENT ||
        !strstr(failure.message, "only the daemon's user and root may open it"))
        return 5;
    return 0;
}

static void test_trace_is_not_for_others(void **state)
{
    (void)state;
    int status;
    if (geteuid()) {
        print_message("# only root can be somebody else\n");
        skip();
    }
    assert_int_equal(chmod(daemon_.folder, 0711), 0);
    assert_int_equal(chmod(daemon_.path, 0666), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (!pid)
        _exit(look_as_other());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- a box in which anything may stand ---- */

/* The memory that a box's writer has. */
struct writer {
    struct blackbox_made made;
    struct blackbox_trace *trace;
};

static void add_record(struct writer *writer, void *data, size_t bytes)
{
    struct blackbox_trace *trace = writer->trace;
    struct blackbox_record *record = data;
    uint64_t position = atomic_load(&trace->committed);
    record->stamp = (uint32_t)(position / 8);
    record->size = (uint16_t)(bytes / 8);
    record->time_ns = now_ns();
    memcpy(trace->ring + position % BLACKBOX_RING_BYTES, data, bytes);
    atomic_store(&trace->reserved, position + bytes);
    atomic_store(&trace->committed, position + bytes);
}

/* Something in every part of it, so that the scribbling meets what is printed. */
static void fill(struct writer *writer, struct random *random)
{
    struct blackbox_tables *tables = writer->made.map;
    struct blackbox_trace *trace = writer->trace;
    strcpy(trace->strings + 1, "mlp.c:41");
    atomic_store(&trace->string_bytes, 10);
    atomic_store(&trace->committed, 0);
    for (int k = 0; k < 40; k++) {
        tables->sessions[k] = (struct blackbox_session){
            .number = (uint64_t)k + 1, .state = (uint32_t)k % 4, .opened_ns = now_ns(), .program = "mlp"};
        for (uint32_t n = 1; n < 80; n++)
            trace->last[k][n % BLACKBOX_LAST] =
                (struct blackbox_request){.request = n, .site = 1, .id = (uint16_t)(n + 1), .outcome = n % 3};
    }
    tables->user_count = 3;
    for (int k = 0; k < 200; k++) {
        struct {
            struct blackbox_op op;
            uint32_t inputs[2];
            uint8_t ranks[4];
            uint32_t sizes[5];
        } op = {.op = {.record.kind = BLACKBOX_OP, .session = 1 + (uint32_t)k % 40, .site = 1, .op = TD_OP_matmul},
                .ranks = {2, 2, 1},
                .sizes = {64, 128, 64, 784, 128}};
        struct blackbox_error error = {.record.kind = BLACKBOX_ERROR, .site = 1, .code = 1, .message = "no"};
        struct blackbox_event event = {.record.kind = BLACKBOX_OPEN, .session = (uint64_t)k};
        op.op.in_count = 2;
        op.op.out = 7;
        op.op.flags = (uint16_t)random_next(random);
        op.op.dtype = TD_F32;
        add_record(writer, &op, sizeof op / 8 * 8);
        add_record(writer, &error, sizeof error);
        add_record(writer, &event, sizeof event);
    }
}

static void scribble(void *memory, size_t bytes, struct random *random, uint64_t places)
{
    for (; places > 0; places--) {
        uint64_t value = random_below(random, 4) ? random_next(random) : random_below(random, 2) ? 0 : UINT64_MAX;
        size_t length = 1 + random_below(random, 8), at = random_below(random, bytes - 8);
        memcpy((char *)memory + at, &value, length);
    }
}

static void print_all(const struct observation *observation, struct random *random)
{
    struct options options = {.last = 1 + (uint32_t)random_below(random, 300), .session = random_below(random, 4)};
    for (int k = 0; k < 4; k++) {
        char *text = NULL;
        size_t bytes;
        FILE *out = open_memstream(&text, &bytes);
        options.json = k % 2;
        options.errors = k / 2;
        blackbox_print(out, observation, &observation->lives[0], &options);
        fclose(out);
        assert_true(bytes > 0);
        expect_harmless(text);
        if (options.json && !json_is_strict(text))
            fail_msg("not JSON:\n%s", text);
        free(text);
    }
    struct sample *sample = sample_take(observation, &observation->lives[0]);
    struct measure *measure = measure_take(NULL, sample);
    char line[512];
    measure_sort(measure->sessions, measure->session_count, 'l', false);
    for (int k = 0; k < measure->session_count; k++) {
        row_line(&measure->sessions[k], false, (int)random_below(random, 200), 'm', line, sizeof line);
        expect_harmless(line);
    }
    for (int k = 0; k < measure->user_count; k++)
        row_line(&measure->users[k], true, 0, 'm', line, sizeof line);
    free(measure);
    free(sample);
}

static void test_scribbled_boxes(void **state)
{
    (void)state;
    struct random random = random_new();
    struct writer writer;
    struct td_failure failure = {0};
    assert_int_equal(blackbox_make(&writer.made, 1), 0);
    writer.trace = mmap(NULL, sizeof *writer.trace, PROT_READ | PROT_WRITE, MAP_SHARED, writer.made.trace, 0);
    assert_ptr_not_equal(writer.trace, MAP_FAILED);
    struct observation observation = {.count = 1, .version = "0", .taken_ns = now_ns()};
    struct observed_life *life = &observation.lives[0];
    *life = (struct observed_life){.number = 1, .has_trace = true};
    assert_int_equal(blackbox_open(&life->box, writer.made.tables_read, writer.made.trace_read, &failure), 0);
    alarm(120); /* a printer that hangs is a failure too */
    for (int round = 0; round < 60; round++) {
        life->state = (enum td_life_state)(round % 3);
        fill(&writer, &random);
        observation.taken_ns = now_ns();
        if (round) { /* in the first round it stands as it was written */
            scribble(writer.made.map, sizeof *writer.made.map, &random, random_below(&random, 20000));
            scribble(writer.made.map, offsetof(struct blackbox_tables, op_count), &random, random_below(&random, 20));
            scribble(writer.trace, sizeof *writer.trace, &random, random_below(&random, 20000));
            scribble(writer.trace->ring, 65536, &random, random_below(&random, 2000));
            scribble(writer.trace->last, sizeof *writer.trace->last * 40, &random, random_below(&random, 2000));
        }
        if (round % 3 == 2)
            scribble(writer.trace, offsetof(struct blackbox_trace, last), &random, random_below(&random, 12));
        print_all(&observation, &random);
    }
    alarm(0);
    blackbox_close(&life->box);
    munmap(writer.trace, sizeof *writer.trace);
    blackbox_unmake(&writer.made);
}

/* ---- top on a terminal ---- */

struct screen {
    int master;
    pid_t leader, pid; /* pid: of top */
    struct termios before;
    int told;           /* of a session leader that runs top as a shell does: how it stopped or ended */
    char seen[1 << 18]; /* since the last key */
    size_t used;
};

/* Runs top as a shell does: as a job of its own in the foreground, since nothing else can be stopped. Tells its pid and
 * each of its wait statuses. */
static void lead(int tell)
{
    int status = 0;
    signal(SIGTTOU, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pid_t pid = fork();
    if (!pid) {
        setpgid(0, 0);
        tcsetpgrp(STDIN_FILENO, getpid());
        signal(SIGTTOU, SIG_DFL);
        exec_tool((const char *const[]){"top", "--interval=0.1", NULL});
    }
    (void)!write(tell, &pid, sizeof pid);
    do {
        waitpid(pid, &status, WUNTRACED);
        (void)!write(tell, &status, sizeof status);
    } while (WIFSTOPPED(status));
    pause(); /* the terminal ends with its session's leader */
}

static int take_told(const struct screen *screen)
{
    struct pollfd ready = {screen->told, POLLIN, 0};
    int told;
    assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
    assert_int_equal(read(screen->told, &told, sizeof told), sizeof told);
    return told;
}

static struct screen *open_top(void)
{
    struct screen *screen = calloc(1, sizeof *screen);
    struct winsize size = {.ws_row = 40, .ws_col = 160};
    int tell[2];
    screen->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(screen->master >= 0 && !grantpt(screen->master) && !unlockpt(screen->master));
    assert_int_equal(ioctl(screen->master, TIOCSWINSZ, &size), 0);
    assert_int_equal(tcgetattr(screen->master, &screen->before), 0);
    assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
    fflush(NULL);
    screen->leader = fork();
    if (!screen->leader) {
        setsid();
        int slave = open(ptsname(screen->master), O_RDWR);
        ioctl(slave, TIOCSCTTY, 0);
        dup2(slave, STDIN_FILENO);
        dup2(slave, STDOUT_FILENO);
        dup2(slave, STDERR_FILENO);
        unsetenv("NO_COLOR");
        lead(tell[1]);
    }
    close(tell[1]);
    screen->told = tell[0];
    screen->pid = take_told(screen);
    return screen;
}

static void await_screen(struct screen *screen, const char *word)
{
    for (int64_t end = now_ms() + PATIENCE_MS; !strstr(screen->seen, word);) {
        struct pollfd ready = {screen->master, POLLIN, 0};
        if (screen->used > sizeof screen->seen / 2) { /* old screens go */
            memmove(screen->seen, screen->seen + screen->used / 2, screen->used - screen->used / 2);
            screen->used -= screen->used / 2;
        }
        if (poll(&ready, 1, 100) > 0) {
            ssize_t got = read(screen->master, screen->seen + screen->used, sizeof screen->seen - 1 - screen->used);
            screen->used += got > 0 ? (size_t)got : 0;
            screen->seen[screen->used] = 0;
        }
        if (now_ms() > end)
            fail_msg("'%s' never came on the screen:\n%s", word, screen->seen);
    }
}

/* Types; what was on the screen before counts no more. */
static void type(struct screen *screen, const char *key)
{
    screen->used = 0;
    screen->seen[0] = 0;
    assert_int_equal(write(screen->master, key, strlen(key)), (ssize_t)strlen(key));
}

static void expect_restored(struct screen *screen)
{
    struct termios after;
    assert_int_equal(tcgetattr(screen->master, &after), 0);
    assert_int_equal(after.c_lflag, screen->before.c_lflag);
    assert_int_equal(after.c_iflag, screen->before.c_iflag);
    assert_int_equal(after.c_oflag, screen->before.c_oflag);
    await_screen(screen, "\x1b[?25h"); /* the cursor is back, and the screen that was there */
    await_screen(screen, "\x1b[?1049l");
}

static void close_top(struct screen *screen)
{
    kill(screen->leader, SIGKILL);
    waitpid(screen->leader, NULL, 0);
    close(screen->master);
    close(screen->told);
    free(screen);
}

static void test_keys(void **state)
{
    (void)state;
    struct raw raw = raw_open(&daemon_);
    struct screen *screen = open_top();
    make(&raw, 1, 64, 784);
    assert_int_equal(raw_barrier(&raw, false).code, 0);
    await_screen(screen, ">MEM");
    await_screen(screen, "raw");
    await_screen(screen, "\x1b[7m"); /* colours: NO_COLOR is not set */
    type(screen, "n");
    await_screen(screen, ">ID");
    type(screen, "l");
    await_screen(screen, ">LAT99");
    type(screen, "\x1b[B"); /* no key, and not three */
    type(screen, "u");
    await_screen(screen, "SESSIONS");
    type(screen, "u");
    await_screen(screen, "PROGRAM");
    type(screen, "?");
    await_screen(screen, "turns the order round");
    type(screen, "h");
    await_screen(screen, "PROGRAM");
    type(screen, " ");
    await_screen(screen, "PAUSED");
    type(screen, "R");
    await_screen(screen, "PAUSED");
    type(screen, " ");
    await_screen(screen, ">LAT99");
    struct winsize narrow = {.ws_row = 12, .ws_col = 40};
    assert_int_equal(ioctl(screen->master, TIOCSWINSZ, &narrow), 0);
    type(screen, "m");
    await_screen(screen, "\x1b[J");
    type(screen, "m"); /* a whole screen behind the change */
    await_screen(screen, "\x1b[J");
    assert_null(strstr(screen->seen, "LAT50"));
    assert_non_null(strstr(screen->seen, ">MEM"));
    type(screen, "q");
    assert_int_equal(take_told(screen), 0);
    expect_restored(screen);
    close_top(screen);
    raw_close(&raw);
}

static void test_terminal_comes_back(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGHUP, SIGQUIT, SIGSEGV, SIGINT};
    for (size_t k = 0; k < sizeof signals / sizeof *signals; k++) {
        struct screen *screen = open_top();
        await_screen(screen, ">MEM");
        if (signals[k] == SIGINT)
            type(screen, "\x03"); /* Ctrl-C */
        else
            kill(screen->pid, signals[k]);
        int status = take_told(screen);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signals[k]);
        expect_restored(screen);
        close_top(screen);
    }
    struct screen *screen = open_top(); /* and while it is stopped */
    await_screen(screen, ">MEM");
    kill(screen->pid, SIGTSTP);
    int status = take_told(screen);
    assert_true(WIFSTOPPED(status));
    expect_restored(screen);
    screen->used = screen->seen[0] = 0;
    kill(screen->pid, SIGCONT);
    await_screen(screen, ">MEM");
    type(screen, "q");
    assert_int_equal(take_told(screen), 0);
    expect_restored(screen);
    close_top(screen);
}

static void test_top_goes_on_over_a_restart(void **state)
{
    (void)state;
    struct screen *screen = open_top();
    await_screen(screen, ">MEM");
    kill_worker();
    screen->used = screen->seen[0] = 0;
    await_screen(screen, "restart  worker ");
    await_screen(screen, "was killed by signal 9 (Killed)");
    await_screen(screen, ">MEM");
    type(screen, "q");
    assert_int_equal(take_told(screen), 0);
    close_top(screen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_and_mistakes),
        cmocka_unit_test(test_no_dashboard),
        cmocka_unit_test(test_figures_are_those_of_status),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_values_in_words),
        cmocka_unit_test(test_while_an_op_runs),
        cmocka_unit_test(test_while_the_worker_hangs),
        cmocka_unit_test(test_the_last_of_a_worker),
        cmocka_unit_test(test_descriptors_only_read),
        cmocka_unit_test(test_trace_is_not_for_others),
        cmocka_unit_test(test_scribbled_boxes),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_terminal_comes_back),
        cmocka_unit_test(test_top_goes_on_over_a_restart),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
