/* End to end: streams and events, time, memory of the device and of the host. On the CPU device, and with TEST_DEVICE
 * on another one (tests/cuda.sh), where streams are late on purpose. SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/sessions.h"
#include "tests/random.h"

#define ON_CUDA (getenv("TEST_DEVICE") && !strncmp(getenv("TEST_DEVICE"), "cuda", 4))

/* ---- streams ---- */

static void *current_elsewhere(void *data)
{
    return (void *)(uintptr_t)td_current_stream(data).number;
}

static void test_streams_are_each_threads_own(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_stream a = td_stream_new(s), b = td_stream_new(s);
    assert_int_not_equal(a.number, b.number);
    assert_int_equal(td_current_stream(s).number, 0);
    {
        TD_ON_STREAM(a);
        assert_int_equal(td_current_stream(s).number, a.number);
        for (int k = 0; k < 2; k++) {
            TD_ON_STREAM(b);
            TD_NO_GRAD(s);
            assert_int_equal(td_current_stream(s).number, b.number);
            if (k == 0)
                continue;
            pthread_t thread;
            void *elsewhere;
            assert_int_equal(pthread_create(&thread, NULL, current_elsewhere, s), 0);
            pthread_join(thread, &elsewhere);
            assert_int_equal((uintptr_t)elsewhere, 0);
        }
        assert_int_equal(td_current_stream(s).number, a.number);
    }
    assert_int_equal(td_current_stream(s).number, 0);
    for (int k = 0; k < 100; k++) /* they go round, and the first one is not among them */
        assert_in_range(td_stream_new(s).number, 1, TD_STREAMS_MAX - 1);
    close_session(s);
}

/* A producer on one stream, a consumer on another, no event in between. */
static void test_a_forgotten_wait_spoils_nothing(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_stream streams[] = {td_stream_new(s), td_stream_new(s), td_stream_new(s)};
    td_tensor x = td_zeros(s, TD_SHAPE(5000));
    for (int k = 0; k < 30; k++) {
        TD_ON_STREAM(streams[k % 3]);
        td_add_(x, td_ones(s, TD_SHAPE(5000)));
    }
    double sum = td_item(td_sum(x));
    assert_true(sum == 150000);
    assert_fine(s);
    close_session(s);
}

/* On the emulated device nothing is done before somebody waits for it, so here it shows what was waited for: a stream
 * that was told of an event waits for that alone, and temporaries of two streams do not tie them together. */
static void test_streams_are_independent(void **state)
{
    (void)state;
    const char *plugin = getenv("TENSORD_CUDA_PLUGIN");
    if (!ON_CUDA || !plugin || !strstr(plugin, "emulated")) {
        print_message("only the emulated device does nothing before somebody waits\n");
        skip();
    }
    td_session *s = open_session();
    td_stream side = td_stream_new(s);
    td_event done = td_event_new(s);
    for (int round = 0; round < 3; round++) {
        TD_SCOPE(s);
        td_tensor x = td_full(s, TD_SHAPE(3000), 2.0), y = td_clone(x), z = td_clone(x);
        td_stream_wait_stream(side, td_current_stream(s));
        for (int k = 0; k < 10; k++)
            y = td_add(td_mul(td_take(y), 0.5), x);
        td_event_record(done);
        {
            TD_ON_STREAM(side);
            for (int k = 0; k < 10; k++)
                z = td_add(td_mul(td_take(z), 0.25), x);
        }
        td_stream_synchronize(side);
        assert_false(td_event_query(done));
        td_event_synchronize(done);
        assert_true(td_event_query(done));
    }
    assert_fine(s);
    close_session(s);
}

/* ---- the same program on one stream and on many ---- */

enum { SLOTS = 6, ROUNDS = 300 };

static const int64_t sizes[] = {3, 700, 5000, 70000};

/* Draws the same for each of its runs; streams NULL: all on one. */
static double run_program(td_session *s, uint64_t seed, const td_stream *streams)
{
    static float numbers[70000];
    td_tensor slot[SLOTS];
    int64_t size[SLOTS];
    double sum = 0;
    struct random draws = {seed};
    for (int k = 0; k < SLOTS; k++) {
        size[k] = sizes[k % 4];
        slot[k] = td_full(s, TD_SHAPE(size[k]), (double)k);
    }
    for (int round = 0; round < ROUNDS; round++) {
        int a = (int)(random_next(&draws) % SLOTS), b = (int)(random_next(&draws) % SLOTS);
        uint64_t what = random_next(&draws) % 8, on = random_next(&draws) % 4;
        td_guard guard, *begun = streams ? td_on_stream_begin(streams[on], &guard) : NULL;
        td_tensor mean = td_mean(slot[b]), fresh = mean;
        switch (what) {
        case 0: /* bytes from the host, and the memory of what was there before */
            for (int64_t i = 0; i < size[a]; i++)
                numbers[i] = (float)((round + i) % 17) / 8;
            fresh = td_from(s, numbers, TD_F32, TD_SHAPE(size[a]));
            break;
        case 1:
            fresh = td_add(td_mul(slot[a], 0.5), td_sin(mean));
            break;
        case 2: /* read here, written there */
            td_add_(slot[a], td_tanh(mean));
            break;
        case 3:
            td_mul_(td_select(slot[a], 0, 1), 0.25);
            break;
        case 4: /* waits */
            fresh = td_index_select(slot[a], 0, td_from(s, (const int64_t[]){2, 0, 1}, TD_I64, TD_SHAPE(3)));
            fresh = td_expand(td_sum(td_take(fresh)), TD_SHAPE(size[a]));
            fresh = td_contiguous(td_take(fresh));
            break;
        case 5: /* a copy that a write makes */
            fresh = td_clone(slot[a]);
            td_fill_(slot[a], (double)round / 300);
            break;
        case 6:
            td_copy_(slot[a], td_to(td_to(slot[a], TD_F16), TD_F32));
            break;
        default:
            sum += td_item(td_sum(td_tanh(slot[a])));
        }
        if (what == 0 || what == 1 || what == 4 || what == 5) {
            td_release(slot[a]);
            slot[a] = fresh;
        }
        td_release(mean);
        if (begun)
            td_guard_end(begun);
    }
    for (int k = 0; k < SLOTS; k++) {
        sum += td_item(td_sum(slot[k]));
        td_release(slot[k]);
    }
    return sum;
}

static void test_values_do_not_depend_on_streams(void **state)
{
    (void)state;
    uint64_t seed = random_new().state;
    td_session *s = open_session();
    for (int k = 0; k < 4; k++, seed++) {
        td_stream streams[4] = {{s, 0}, td_stream_new(s), td_stream_new(s), td_stream_new(s)};
        double plain = run_program(s, seed, NULL), spread = run_program(s, seed, streams);
        assert_fine(s);
        if (plain != spread)
            fail_msg("%.17g on one stream, %.17g on four; seed %llu", plain, spread, (unsigned long long)seed);
    }
    close_session(s);
}

/* ---- events ---- */

static void test_events(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_stream side = td_stream_new(s);
    td_event first = td_event_new(s), second = td_event_new(s);
    assert_true(td_event_query(first)); /* never recorded */
    td_event_synchronize(first);
    td_stream_wait_event(side, first);
    td_event_record(first);
    td_tensor x = td_ones(s, TD_SHAPE(300, 300)), y = td_matmul(x, x);
    td_event_record(second);
    double ms = td_event_elapsed_time(first, second);
    assert_true(ms >= 0);
    assert_true(td_event_query(first) && td_event_query(second));
    assert_true(td_event_elapsed_time(second, first) == -ms);
    {
        TD_ON_STREAM(side);
        td_stream_wait_event(side, second);
        y = td_add(y, 1.0);
        td_event_record(second); /* again, and elsewhere */
    }
    while (!td_event_query(second)) /* it comes */
        ;
    td_stream_wait_stream(td_current_stream(s), side);
    td_stream_synchronize(side);
    assert_int_equal(td_synchronize(s), 0);
    assert_true(td_item(td_amax(y)) == 301);
    td_event_free(first);
    td_event_free(second);
    close_session(s);
}

static void test_events_that_cannot_be_used(void **state)
{
    (void)state;
    td_session *s = open_session(), *other = open_session();
    td_event e = td_event_new(s), never = td_event_new(s), stranger = td_event_new(other);
    td_event_record(e);
    td_event_record(stranger);
    assert_true(isnan(td_event_elapsed_time(e, never)));
    assert_error(s, TD_E_ARGUMENT, "the second event was not recorded");
    assert_true(isnan(td_event_elapsed_time(never, e)));
    assert_error(s, TD_E_ARGUMENT, "the first event was not recorded");
    assert_true(isnan(td_event_elapsed_time(e, stranger)));
    assert_error(s, TD_E_ARGUMENT, "different sessions");
    td_stream_wait_event(td_stream_new(other), e);
    assert_error(s, TD_E_ARGUMENT, "another session");
    td_event_free(e);
    td_event_record(e);
    assert_error(s, TD_E_HANDLE, "event_record: the event is used after it was freed");
    td_event again = td_event_new(s); /* in its place */
    td_event_record(again);
    assert_true(td_event_query(e));
    assert_error(s, TD_E_HANDLE, "freed");
    td_event nothing = {0};
    assert_true(td_event_query(nothing));
    for (uint32_t k = 2; k < TD_EVENTS_MAX; k++)
        td_event_new(s);
    td_event_new(s);
    assert_int_equal(td_error(s)->code, TD_E_LIMIT);
    td_clear_error(s);
    assert_int_equal(td_close(other), 0);
    close_session(s);
}

/* What is said of streams while a program is recorded is no part of it: it runs where it is called. */
static void test_recorded_programs(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_stream side = td_stream_new(s);
    td_event e = td_event_new(s);
    td_tensor x = td_full(s, TD_SHAPE(1000), 2.0), y, out;
    td_program *p = td_record(s, TD_LIST(x));
    {
        TD_ON_STREAM(side);
        y = td_mul(x, x);
        td_event_record(e);
    }
    td_record_end(p, TD_LIST(y));
    td_event_free(e);
    for (int k = 0; k < 3; k++) {
        TD_ON_STREAM(td_stream_new(s));
        td_run(p, TD_LIST(td_add(x, (double)k)), &out);
        assert_true(td_item(td_mean(out)) == (2 + k) * (2 + k));
        td_release(out);
    }
    td_program_free(p);
    assert_fine(s);
    close_session(s);
}

/* ---- time, memory, properties ---- */

static void test_time(void **state)
{
    (void)state;
    td_session *s = open_session();
    for (int k = 0; k < 3; k++) {
        td_time time = td_time_start(s);
        td_tensor x = td_rand(s, TD_SHAPE(200, 200));
        td_release(td_matmul(x, x));
        td_release(x);
        assert_true(td_time_stop(time) >= 0);
    }
    close_session(s);
}

static void test_memory(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_memory_info before = td_memory(s);
    assert_int_equal(before.allocated, 0);
    td_tensor w = td_zeros(s, TD_SHAPE(1000, 1000), .requires_grad = true), x = td_zeros(s, TD_SHAPE(500, 1000));
    td_memory_info held = td_memory(s);
    assert_true(held.params >= 4000000 && held.values >= 2000000);
    assert_int_equal(held.allocated, held.params + held.grads + held.saved + held.values);
    assert_true(held.peak >= held.allocated && held.reserved >= held.device_allocated && held.limit >= held.reserved);
    td_backward(td_sum(td_matmul(x, w)));
    assert_true(td_memory(s).grads >= 4000000);
    td_release(td_zeros(s, TD_SHAPE(2000, 1000)));
    td_memory_info after = td_memory(s);
    assert_true(after.peak >= after.allocated + 8000000 - 2000000);
    td_reset_peak_memory(s);
    assert_int_equal(td_memory(s).peak, td_memory(s).allocated);
    td_release(w);
    td_release(x);
    assert_fine(s);
    close_session(s);
}

static void test_properties(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_device_info device = td_device(s);
    assert_string_equal(device.kind, ON_CUDA ? "cuda" : "cpu");
    assert_string_equal(device.name, ON_CUDA ? "cuda:0" : "cpu");
    assert_true(device.description[0] && device.memory > 0 && device.units > 0);
    assert_true(device.streams == (ON_CUDA ? 4 : 1) && (device.capability[0] > 0) == ON_CUDA);
    close_session(s);
}

/* ---- memory of the host ---- */

static void test_host_memory(void **state)
{
    (void)state;
    td_session *s = open_session();
    enum { COUNT = 400000 };
    float *in = td_host_alloc(s, COUNT * sizeof *in);
    double *out = td_host_alloc(s, COUNT * sizeof *out);
    assert_non_null(in);
    assert_non_null(out);
    assert_int_equal(td_host_kind(s, in), ON_CUDA ? TD_HOST_PINNED : TD_HOST_SHARED);
    assert_int_equal(td_host_kind(s, in + COUNT - 1), td_host_kind(s, in));
    assert_int_equal(td_host_kind(s, &s), TD_HOST_NONE);
    for (int k = 0; k < COUNT; k++)
        in[k] = (float)(k % 1000);
    const int64_t starts[] = {0, 7, 1000}, counts[] = {COUNT - 1000, 100, 0}; /* by the device's thread, at once */
    for (int k = 0; k < 3; k++)
        for (int l = 0; l < 3; l++) {
            td_tensor x = td_from(s, in + starts[k], TD_F32, TD_SHAPE(counts[l]));
            memset(out, 0, COUNT * sizeof *out);
            assert_int_equal(td_read(x, out + starts[k], TD_F64, COUNT), counts[l]); /* converted on its way */
            for (int64_t i = 0; i < counts[l]; i++)
                if (out[starts[k] + i] != in[starts[k] + i])
                    fail_msg("element %d is %g", (int)i, out[starts[k] + i]);
            td_release(x);
        }
    td_tensor x = td_from(s, in, TD_F32, TD_SHAPE(COUNT / 8, 8));
    assert_int_equal(td_read(td_t(x), out, TD_F64, COUNT), COUNT); /* not as it lies */
    assert_true(out[1] == 8 && out[COUNT / 8] == 1);
    assert_int_equal(td_read(td_add(x, 1.0), in, TD_F32, COUNT), COUNT); /* used up */
    assert_true(in[5] == 6);
    td_release(x);
    assert_int_equal(td_tensor_count(s), 0);
    td_host_free(s, in);
    td_host_free(s, out);
    assert_fine(s);
    close_session(s);
}

/* Kernels count on bools to be 0 or 1. */
static void test_host_memory_of_bools(void **state)
{
    (void)state;
    td_session *s = open_session();
    enum { COUNT = 3 << 20 };
    uint8_t *in = td_host_alloc(s, COUNT);
    for (int k = 0; k < COUNT; k++)
        in[k] = (uint8_t)k;
    td_tensor x = td_from(s, in, TD_BOOL, TD_SHAPE(COUNT));
    assert_true(td_item(td_sum(x)) == COUNT / 256 * 255);
    assert_int_equal(td_read(x, in, TD_BOOL, COUNT), COUNT);
    assert_true(in[255] == 1 && in[256] == 0 && in[COUNT - 1] == 1);
    td_release(x);
    td_host_free(s, in);
    close_session(s);
}

static void test_non_blocking(void **state)
{
    (void)state;
    td_session *s = open_session();
    enum { COUNT = 100000, SLOTS_OF_HOST = 2 };
    float *slot[SLOTS_OF_HOST];
    td_event taken[SLOTS_OF_HOST];
    double sum = 0;
    for (int k = 0; k < SLOTS_OF_HOST; k++) {
        slot[k] = td_host_alloc(s, COUNT * sizeof **slot);
        taken[k] = td_event_new(s);
    }
    td_tensor total = td_zeros(s, TD_SHAPE(), .dtype = TD_F64);
    for (int batch = 0; batch < 20; batch++) {
        int k = batch % SLOTS_OF_HOST;
        td_event_synchronize(taken[k]); /* the one before has been taken */
        for (int i = 0; i < COUNT; i++)
            slot[k][i] = (float)batch;
        td_tensor x = td_from(s, slot[k], TD_F32, TD_SHAPE(COUNT), .non_blocking = true);
        td_event_record(taken[k]);
        td_add_(total, td_to(td_sum(td_take(x)), TD_F64));
        sum += (double)batch * COUNT;
    }
    assert_true(td_item(total) == sum);
    float plain[3] = {1, 2, 3}; /* of other memory it means nothing */
    td_tensor x = td_from(s, plain, TD_F32, TD_SHAPE(3), .non_blocking = true);
    memset(plain, 0, sizeof plain);
    assert_values(x, 3, (const double[]){1, 2, 3});
    td_release(x);
    td_release(total);
    for (int k = 0; k < SLOTS_OF_HOST; k++)
        td_host_free(s, slot[k]);
    assert_fine(s);
    close_session(s);
}

/* The bytes of td_from stay as they were recorded, wherever they came from; and a checkpoint's as they were. */
static void test_host_memory_in_recordings(void **state)
{
    (void)state;
    td_session *s = open_session();
    float *in = td_host_alloc(s, (3 << 20) + 4);
    enum { COUNT = 3 << 18 };
    for (int k = 0; k < COUNT; k++)
        in[k] = 1;
    td_tensor w = td_full(s, TD_SHAPE(), 2.0, .requires_grad = true), y, out;
    td_program *p = td_record(s, TD_LIST_OF(0, NULL));
    y = td_sum(td_from(s, in, TD_F32, TD_SHAPE(COUNT)));
    td_record_end(p, TD_LIST(y));
    in[0] = 100;
    td_run(p, TD_LIST_OF(0, NULL), &out);
    assert_true(td_item(out) == COUNT && td_item(y) == COUNT);
    td_tensor loss;
    {
        TD_CHECKPOINT(s);
        loss = td_keep(td_sum(td_mul(td_from(s, in, TD_F32, TD_SHAPE(4)), td_square(w))));
    }
    in[0] = 7;
    td_backward(loss);
    assert_true(td_item(td_grad(w)) == 2 * 2 * 103);
    td_program_free(p);
    assert_fine(s);
    assert_int_equal(td_close(s), 0); /* ends in */
    daemon_wait_empty(&daemon_);
}

static void test_host_memory_that_is_not_to_be_had(void **state)
{
    (void)state;
    td_session *s = open_session();
    void *pieces[TD_HOSTS_MAX];
    assert_null(td_host_alloc(s, 0));
    assert_error(s, TD_E_ARGUMENT, "0 bytes");
    assert_null(td_host_alloc(s, TD_HOST_BYTES + 1));
    assert_error(s, TD_E_LIMIT, "can be had");
    assert_null(td_host_alloc(s, SIZE_MAX));
    assert_error(s, TD_E_LIMIT, "can be had");
    for (int k = 0; k < TD_HOSTS_MAX; k++) {
        assert_non_null(pieces[k] = td_host_alloc(s, 100));
        memset(pieces[k], 1, 100);
    }
    assert_null(td_host_alloc(s, 100));
    assert_error(s, TD_E_LIMIT, "64 pieces");
    td_host_free(s, pieces[9]);
    assert_non_null(pieces[9] = td_host_alloc(s, 4097));
    td_host_free(s, (char *)pieces[9] + 1);
    assert_error(s, TD_E_ARGUMENT, "is not what td_host_alloc");
    td_host_free(s, NULL);
    td_host_free(s, pieces[3]);
    assert_null(td_host_alloc(s, TD_HOST_BYTES - 4096)); /* together */
    assert_error(s, TD_E_LIMIT, "bytes more");
    assert_int_equal(td_close(s), 0);
    daemon_wait_empty(&daemon_);
}

/* Events and streams begin anew with the next worker, and memory that both saw is the program's alone from then on. */
static void test_a_lost_daemon(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct raw raw = raw_open(&daemon_);
    pid_t worker = (pid_t)raw_status(&raw, "pid");
    raw_close(&raw);
    float *memory = td_host_alloc(s, 4000);
    td_stream side = td_stream_new(s);
    td_event before = td_event_new(s), after = td_event_new(s);
    td_event_record(before);
    TD_ON_STREAM(side);
    td_release(td_from(s, memory, TD_F32, TD_SHAPE(1000)));
    td_sync(s);
    assert_int_equal(kill(worker, SIGKILL), 0);
    td_sync(s);
    assert_int_equal(td_error(s)->code, TD_E_LOST);
    td_clear_error(s);
    assert_int_equal(td_host_kind(s, memory), TD_HOST_PLAIN);
    for (int k = 0; k < 1000; k++)
        memory[k] = 2;
    td_tensor x = td_from(s, memory, TD_F32, TD_SHAPE(1000), .non_blocking = true);
    memory[0] = 0;
    assert_true(td_item(td_sum(td_take(x))) == 2000);
    assert_true(td_event_query(before));
    td_event_record(after);
    assert_true(isnan(td_event_elapsed_time(before, after)));
    assert_error(s, TD_E_ARGUMENT, "the first event was not recorded");
    td_event_record(before);
    assert_true(td_event_elapsed_time(after, before) >= 0);
    void *more = td_host_alloc(s, 100);
    assert_true(td_host_kind(s, more) >= TD_HOST_SHARED);
    td_host_free(s, memory);
    assert_fine(s);
    close_session(s);
}

/* ---- a connection that passes nothing on but bytes, as a network does ---- */

struct relay {
    char path[128];
    int listener, near, far;
    pthread_t thread;
};

static bool pass_on(int from, int to)
{
    char bytes[65536];
    ssize_t got = read(from, bytes, sizeof bytes), sent = 0;
    for (ssize_t wrote; got > sent && (wrote = write(to, bytes + sent, (size_t)(got - sent))) > 0; sent += wrote)
        ;
    return got > 0 && sent == got;
}

static void *relay_main(void *data)
{
    struct relay *relay = data;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    relay->near = accept(relay->listener, NULL, NULL);
    relay->far = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", daemon_.path);
    if (connect(relay->far, (struct sockaddr *)&name, sizeof name))
        return NULL;
    struct pollfd ends[] = {{relay->near, POLLIN, 0}, {relay->far, POLLIN, 0}};
    while (poll(ends, 2, -1) > 0)
        for (int k = 0; k < 2; k++)
            if (ends[k].revents && !pass_on(ends[k].fd, ends[1 - k].fd)) {
                close(relay->near);
                close(relay->far);
                return NULL;
            }
    return NULL;
}

static void relay_start(struct relay *relay)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s/relay", daemon_.folder);
    snprintf(relay->path, sizeof relay->path, "unix:%s", name.sun_path);
    relay->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(relay->listener, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(relay->listener, 1), 0);
    assert_int_equal(pthread_create(&relay->thread, NULL, relay_main, relay), 0);
}

static void test_no_descriptor_comes_through(void **state)
{
    (void)state;
    struct relay relay;
    relay_start(&relay);
    td_session *s = td_open(relay.path);
    assert_fine(s);
    float *memory = td_host_alloc(s, 40000);
    assert_non_null(memory);
    assert_int_equal(td_host_kind(s, memory), TD_HOST_PLAIN);
    for (int k = 0; k < 10000; k++)
        memory[k] = (float)k;
    td_tensor x = td_from(s, memory, TD_F32, TD_SHAPE(10000), .non_blocking = true);
    memset(memory, 0, 40000);
    assert_int_equal(td_read(x, memory, TD_F32, 10000), 10000);
    assert_true(memory[9999] == 9999);
    td_release(x);
    assert_fine(s);
    td_host_free(s, memory);
    assert_int_equal(td_close(s), 0);
    pthread_join(relay.thread, NULL);
    close(relay.listener);
    unlink(relay.path + 5);
    daemon_wait_empty(&daemon_);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_are_each_threads_own),
        cmocka_unit_test(test_a_forgotten_wait_spoils_nothing),
        cmocka_unit_test(test_streams_are_independent),
        cmocka_unit_test(test_values_do_not_depend_on_streams),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_events_that_cannot_be_used),
        cmocka_unit_test(test_recorded_programs),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_host_memory),
        cmocka_unit_test(test_host_memory_of_bools),
        cmocka_unit_test(test_non_blocking),
        cmocka_unit_test(test_host_memory_in_recordings),
        cmocka_unit_test(test_host_memory_that_is_not_to_be_had),
        cmocka_unit_test(test_no_descriptor_comes_through),
        cmocka_unit_test(test_a_lost_daemon),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
