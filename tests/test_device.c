/* A daemon that serves a CUDA device, here the emulated one (tests/cuda), or with TEST_PLUGIN=FILE another (on a GPU
 * not all tests have a meaning: TEST_ONLY=NAME picks): which device it takes and what it says where there is none; the
 * same results as on the CPU; a device that runs out of memory, and one that breaks. SPDX-License-Identifier:
 * Apache-2.0 */
#include <math.h>

#include "tests/emulated.h"

#define ON_CUDA                    \
    (const char *const[])          \
    {                              \
        "--device", "cuda:0", NULL \
    }
#define ON_ANY                   \
    (const char *const[])        \
    {                            \
        "--device", "auto", NULL \
    }
#define ON_CPU                  \
    (const char *const[])       \
    {                           \
        "--device", "cpu", NULL \
    }

/* Starts a daemon, and stops it after a client has seen which device it serves. */
static void assert_serves(const char *const *arguments, const char *line, const char *description)
{
    struct test_daemon daemon;
    assert_int_equal(daemon_start(&daemon, arguments), 0);
    assert_int_equal(td_close(td_open(daemon.address)), 0);
    assert_logged(&daemon, line, "unix:");
    assert_logged(&daemon, "ready device=", description);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* ---- which device it is ---- */

static void the_device_that_was_asked_for_is_served(void **state)
{
    (void)state;
    device_is(NULL);
    assert_serves(ON_CUDA, "serves cuda:0", "an emulated device");
    assert_serves(ON_ANY, "serves cuda:0", "an emulated device");
    assert_serves(ON_CPU, "serves cpu", "core");
}

static void without_one_auto_serves_the_cpu_and_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *device, *reason;
    } cases[] = {{"none", "the NVIDIA driver sees no GPU"}, {"old", "the NVIDIA driver is for CUDA 11.0 at most"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct test_daemon daemon;
        device_is(cases[k].device);
        assert_int_equal(daemon_start(&daemon, ON_ANY), 0);
        td_session *s = open_session(&daemon);
        assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(4)))) == 4);
        assert_int_equal(td_close(s), 0);
        assert_logged(&daemon, "serves from the CPU", cases[k].reason);
        assert_logged(&daemon, "serves cpu", "unix:");
        assert_int_equal(daemon_stop(&daemon), 0);
    }
}

/* Somebody who asked for a GPU is not served by something else. */
static void a_device_that_is_not_there_ends_the_daemon(void **state)
{
    (void)state;
    static const struct {
        const char *device, *asked, *reason;
    } cases[] = {{"none", "cuda:0", "the NVIDIA driver sees no GPU"},
                 {"old", "cuda:0", "Update the driver"},
                 {"", "cuda:3", "there is no cuda:3: CUDA sees 1 device"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char text[8192];
        device_is(cases[k].device);
        assert_int_equal(run_to_its_end(cases[k].asked, text, sizeof text), 1);
        if (!strstr(text, cases[k].reason))
            fail_msg("'%s' does not stand in: %s", cases[k].reason, text);
    }
    setenv("TENSORD_CUDA_PLUGIN", "/nowhere/tensord-cuda.so", 1);
    char text[8192];
    assert_int_equal(run_to_its_end("cuda:0", text, sizeof text), 1);
    assert_non_null(strstr(text, "/nowhere/tensord-cuda.so"));
}

/* ---- what it computes ---- */

static void results_are_those_of_the_cpu(void **state)
{
    (void)state;
    double found[2][COMPUTED];
    for (int cuda = 0; cuda < 2; cuda++) {
        struct test_daemon daemon;
        device_is(NULL);
        assert_int_equal(daemon_start(&daemon, cuda ? ON_CUDA : ON_CPU), 0);
        td_session *s = open_session(&daemon);
        compute(s, found[cuda]);
        assert_int_equal(td_close(s), 0);
        daemon_wait_empty(&daemon);
        assert_int_equal(daemon_stop(&daemon), 0);
    }
    for (int k = 0; k < COMPUTED; k++)
        if (!(found[0][k] - found[1][k] <= 1e-5 && found[1][k] - found[0][k] <= 1e-5))
            fail_msg("value %d is %.9g on the CPU and %.9g on the device", k, found[0][k], found[1][k]);
}

static void a_bad_index_is_an_error_value(void **state)
{
    (void)state;
    struct test_daemon daemon;
    device_is(NULL);
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    td_session *s = open_session(&daemon);
    td_tensor index = td_from(s, (const int64_t[]){0, 2, 9}, TD_I64, TD_SHAPE(3));
    td_tensor y = td_index_select(td_ones(s, TD_SHAPE(3, 2)), 0, index);
    assert_int_equal(td_error(s)->code, TD_E_INDEX);
    assert_non_null(strstr(td_error(s)->message, "index 9 is out of range for a dimension of size 3"));
    td_clear_error(s);
    assert_true(isnan(td_item(td_sum(y))));
    td_clear_error(s);
    assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(5)))) == 5);
    assert_int_equal(td_close(s), 0);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* ---- linear algebra ---- */

/* One of each, of a matrix of two dimensions and of batches. */
static double factor_all(td_session *s)
{
    td_tensor x = td_add(td_eye(s, 16), td_mul(td_ones(s, TD_SHAPE(16, 16)), 0.25)), many = td_stack(TD_LIST(x, x, x));
    td_tensor found[] = {
        td_inverse(x), td_inverse(many), td_solve(x, many), td_solve_triangular(many, x), td_cholesky(many),
        td_det(x),     td_cofactor(x),   td_qr(many).r,     td_slogdet(many).logabsdet,   td_eigh(x).eigenvalues,
        td_svdvals(x), td_svd(many).s};
    double sum = 0;
    for (size_t k = 0; k < sizeof found / sizeof *found; k++)
        sum += (double)(k + 1) * td_item(td_sum(found[k]));
    return sum;
}

/* What the device has no library for is the host's, and counted; else nothing travels. */
static void linear_algebra_is_the_devices_where_there_is_a_solver(void **state)
{
    (void)state;
    double sums[2];
    for (int lacking = 0; lacking < 2; lacking++) {
        struct test_daemon daemon;
        device_is(lacking ? "solverless" : NULL);
        assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
        struct raw raw = raw_open(&daemon);
        td_session *s = open_session(&daemon);
        td_tensor x = td_eye(s, 16);
        assert_true(td_item(td_sum(td_matmul(x, x))) == 16);
        assert_int_equal(raw_status(&raw, "device.carried_bytes"), 0);
        assert_true(td_item(td_sum(td_inverse(x))) == 16);
        assert_int_equal(raw_status(&raw, "device.carried_bytes"), lacking ? 3 * 16 * 16 * 4 : 0);
        sums[lacking] = factor_all(s);
        assert_true((raw_status(&raw, "device.carried_bytes") > 0) == lacking);
        td_tensor singular = td_ones(s, TD_SHAPE(3, 3));
        assert_true(fabs(td_item(td_sum(td_abs(td_cofactor(singular))))) < 1e-5);
        assert_true(raw_status(&raw, "device.carried_bytes") > 0); /* which is the host's anyway */
        assert_int_equal(td_error(s)->code, TD_E_OK);
        assert_int_equal(td_close(s), 0);
        raw_close(&raw);
        assert_int_equal(daemon_stop(&daemon), 0);
    }
    if (!(fabs(sums[0] - sums[1]) < 1e-3))
        fail_msg("%.9g by the solver, %.9g by the host", sums[0], sums[1]);
}

static void without_memory_to_solve_in_the_host_does(void **state)
{
    (void)state;
    struct test_daemon daemon;
    device_is("oom=7"); /* opening takes five, and tensors one */
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    struct raw raw = raw_open(&daemon);
    td_session *s = open_session(&daemon);
    assert_true(td_item(td_sum(td_inverse(td_eye(s, 16)))) == 16);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    assert_true(raw_status(&raw, "device.carried_bytes") > 0);
    assert_int_equal(td_close(s), 0);
    raw_close(&raw);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* More matrices than the libraries take at once, one of which is singular. */
static void many_small_matrices_go_in_steps(void **state)
{
    (void)state;
    enum { MANY = 33500, BAD = 33000 }; /* a step takes 32768 */
    static float elements[MANY][4], found[MANY][4];
    struct test_daemon daemon;
    device_is(NULL);
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    struct raw raw = raw_open(&daemon);
    td_session *s = open_session(&daemon);
    for (int k = 0; k < MANY; k++) {
        elements[k][0] = 1;
        elements[k][2] = (float)(k % 3) / 4;
        elements[k][3] = 1;
    }
    td_tensor x = td_from(s, elements, TD_F32, TD_SHAPE(MANY, 2, 2));
    assert_int_equal(td_read(td_inverse(x), found, TD_F32, MANY * 4), MANY * 4);
    for (int k = 0; k < MANY; k++)
        assert_true(found[k][0] == 1 && found[k][1] == 0 && found[k][2] == -elements[k][2] && found[k][3] == 1);
    td_tensor one = td_from(s, ((float[]){2, 0, 1, 1}), TD_F32, TD_SHAPE(2, 2)); /* other sides of one matrix */
    assert_int_equal(td_read(td_solve(one, x), found, TD_F32, MANY * 4), MANY * 4);
    for (int k = 0; k < MANY; k++)
        assert_true(found[k][0] == 0.5f && found[k][1] == 0 && found[k][2] == elements[k][2] - 0.5f &&
                    found[k][3] == 1);
    static float values[MANY][2];
    assert_int_equal(td_read(td_eigh(x).eigenvalues, values, TD_F32, MANY * 2), MANY * 2); /* the lower triangle's */
    assert_int_equal(td_read(td_qr(x).r, found, TD_F32, MANY * 4), MANY * 4);
    for (int k = 0; k < MANY; k++) {
        double c = (double)elements[k][2];
        assert_true(fabs((double)values[k][0] - 1 + c) < 1e-6 && fabs((double)values[k][1] - 1 - c) < 1e-6);
        assert_true(c == 0 ? found[k][0] == 1 : fabs((double)found[k][0] + sqrt(1 + c * c)) < 1e-6);
    }
    elements[BAD][3] = 0;
    td_inverse(td_from(s, elements, TD_F32, TD_SHAPE(MANY, 2, 2)));
    assert_int_equal(td_error(s)->code, TD_E_SINGULAR);
    assert_non_null(strstr(td_error(s)->message, "33000"));
    td_clear_error(s);
    assert_int_equal(raw_status(&raw, "device.carried_bytes"), 0);
    assert_int_equal(td_close(s), 0);
    raw_close(&raw);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* Ops that nobody waits for, more than a stream takes. */
static void a_flood_leaves_room_in_the_stream(void **state)
{
    (void)state;
    struct test_daemon daemon;
    device_is("narrow");
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    td_session *s = open_session(&daemon);
    td_tensor x = td_zeros(s, TD_SHAPE(4));
    for (int k = 0; k < 5000; k++)
        td_add_(x, 1.0);
    assert_true(td_item(td_sum(x)) == 4 * 5000);
    assert_int_equal(td_error(s)->code, TD_E_OK);
    assert_int_equal(td_close(s), 0);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* The device has no instrument for what it may draw; without the driver's library there is none at all. */
static void instruments_are_read(void **state)
{
    (void)state;
    struct test_daemon daemon;
    char folder[4096];
    const char *build = getenv("TENSORD_BUILD");
    device_is(NULL);
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    await_printed(&daemon, "status --json", "\"gauges\": null", "cuda:0");
    assert_int_equal(daemon_stop(&daemon), 0);
    snprintf(folder, sizeof folder, "%s/emulated", build ? build : "build/plain");
    setenv("LD_LIBRARY_PATH", folder, 1);
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    await_printed(&daemon, "status --json", "\"power_watts\": 71.5", "\"power_limit_watts\": null");
    await_printed(&daemon, "status", "an emulated device",
                  "72 W, 34 C, clock 1980 MHz, memory's 2619 MHz, 12 % busy, 5.0 GiB held by all");
    assert_int_equal(daemon_stop(&daemon), 0);
    unsetenv("LD_LIBRARY_PATH");
}

static void anomalies_are_seen_on_the_device(void **state)
{
    (void)state;
    struct test_daemon daemon;
    device_is(NULL);
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    td_session *s = open_session(&daemon);
    {
        TD_DETECT_ANOMALY(s);
        td_tensor x = td_full(s, TD_SHAPE(3), -1.0);
        td_log(x);
    }
    assert_non_null(strstr(td_error(s)->message, "nan"));
    td_clear_error(s);
    assert_int_equal(td_close(s), 0);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* ---- what goes wrong ---- */

static void a_device_without_memory_gives_error_values(void **state)
{
    (void)state;
    struct test_daemon daemon;
    device_is("oom=8");
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    td_session *s = open_session(&daemon);
    td_tensor x[8];
    for (int k = 0; k < 8; k++)
        x[k] = td_zeros(s, TD_SHAPE(5, 1 << 20));
    td_sync(s);
    assert_int_equal(td_error(s)->code, TD_E_MEMORY);
    assert_non_null(strstr(td_error(s)->hint, "The device does not give all"));
    td_clear_error(s);
    for (int k = 0; k < 8; k++)
        td_release(x[k]);
    assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(5)))) == 5);
    assert_int_equal(td_close(s), 0);
    assert_int_equal(daemon_stop(&daemon), 0);
}

/* The worker ends, the next one comes, and the program hears of it once. */
static void a_broken_device_is_a_lost_worker(void **state)
{
    (void)state;
    struct test_daemon daemon;
    device_is("fault=40");
    assert_int_equal(daemon_start(&daemon, ON_CUDA), 0);
    td_session *s = open_session(&daemon);
    td_tensor x = td_ones(s, TD_SHAPE(8));
    for (int k = 0; k < 60; k++)
        x = td_add(td_take(x), 1);
    td_sync(s);
    assert_int_equal(td_error(s)->code, TD_E_LOST);
    td_clear_error(s);
    assert_logged(&daemon, "the CUDA device does not work any more", "cudaErrorIllegalAddress");
    assert_logged(&daemon, "exited with status 70", "worker 1");
    assert_true(td_item(td_sum(td_ones(s, TD_SHAPE(4)))) == 4);
    assert_int_equal(td_close(s), 0);
    assert_int_equal(daemon_stop(&daemon), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_device_that_was_asked_for_is_served),
        cmocka_unit_test(without_one_auto_serves_the_cpu_and_says_why),
        cmocka_unit_test(a_device_that_is_not_there_ends_the_daemon),
        cmocka_unit_test(results_are_those_of_the_cpu),
        cmocka_unit_test(a_bad_index_is_an_error_value),
        cmocka_unit_test(linear_algebra_is_the_devices_where_there_is_a_solver),
        cmocka_unit_test(without_memory_to_solve_in_the_host_does),
        cmocka_unit_test(many_small_matrices_go_in_steps),
        cmocka_unit_test(a_flood_leaves_room_in_the_stream),
        cmocka_unit_test(instruments_are_read),
        cmocka_unit_test(anomalies_are_seen_on_the_device),
        cmocka_unit_test(a_device_without_memory_gives_error_values),
        cmocka_unit_test(a_broken_device_is_a_lost_worker),
    };
    cmocka_set_test_filter(getenv("TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
