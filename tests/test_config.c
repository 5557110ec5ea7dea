/* Where a daemon listens and a client looks, and what the command line and the configuration file may say.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/address.h"
#include "server/config.h"
#include "server/log.h"

/* ---- the addresses; in a child, since they depend on who asks ---- */

static int check_addresses(void)
{
    struct td_address address;
    struct td_failure failure = {0};
    char own[TD_PATH_BYTES], folder[64] = "/tmp/tensord-test-XXXXXX", long_text[256];
    unsetenv("TENSORD");
    unsetenv("XDG_RUNTIME_DIR");
    if (td_address_default_listen(&address, &failure) ||
        strcmp(address.path, getuid() ? (snprintf(own, sizeof own, "/tmp/tensord-%u/tensord.sock", getuid()), own)
                                      : "/run/tensord/tensord.sock"))
        return 1;
    if (!mkdtemp(folder))
        return 2;
    setenv("XDG_RUNTIME_DIR", folder, 1);
    snprintf(own, sizeof own, "%s/tensord.sock", folder);
    td_address_default_listen(&address, &failure);
    int status = strcmp(address.path, getuid() ? own : "/run/tensord/tensord.sock") ? 3 : 0;
    /* A client: the user's own socket if it is there, else the system's, and $TENSORD before both. */
    if (getuid()) {
        td_address_default_connect(NULL, &address, &failure);
        status = status ? status : strcmp(address.path, "/run/tensord/tensord.sock") ? 4 : 0;
        struct sockaddr_un bound = {.sun_family = AF_UNIX};
        snprintf(bound.sun_path, sizeof bound.sun_path, "%s", own);
        int listening = socket(AF_UNIX, SOCK_STREAM, 0);
        status = status ? status : bind(listening, (struct sockaddr *)&bound, sizeof bound) ? 5 : 0;
        td_address_default_connect("", &address, &failure);
        status = status ? status : strcmp(address.path, own) ? 6 : 0;
        close(listening);
        unlink(own);
    }
    rmdir(folder);
    setenv("TENSORD", "unix:relative/path", 1);
    td_address_default_connect(NULL, &address, &failure);
    status = status ? status : strcmp(address.path, "relative/path") ? 7 : 0;
    td_address_default_connect("unix:/given", &address, &failure);
    status = status ? status : strcmp(address.path, "/given") ? 8 : 0;
    snprintf(long_text, sizeof long_text, "unix:/%0200d", 0);
    status = status ? status : td_address_parse(long_text, &address, &failure) != TD_E_ARGUMENT ? 9 : 0;
    return status;
}

static void test_addresses(void **state)
{
    (void)state;
    struct td_address address;
    static const char *const wrong[] = {"", "unix:", "/a/path", "tcp:host:1", "ssh:host", "udp:x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct td_failure failure = {0};
        assert_int_equal(td_address_parse(wrong[i], &address, &failure), TD_E_ARGUMENT);
        assert_non_null(strstr(failure.message, wrong[i]));
    }
    for (int other = 0; other < 2; other++) {
        fflush(NULL);
        pid_t pid = fork();
        if (!pid)
            _exit(other && !getuid() && setuid(12345) ? 99 : check_addresses());
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* ---- the configuration ---- */

static int read_config(struct config *config, struct td_failure *failure, const char *option, const char *value)
{
    char *arguments[] = {"tensord", (char *)option, (char *)value, NULL};
    *failure = (struct td_failure){0};
    return config_read(value ? 3 : 1, arguments, config, failure);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_config_values(void **state)
{
    (void)state;
    struct config config;
    struct td_failure failure;
    static const struct {
        const char *option, *value, *says;
    } wrong[] = {
        {"--memory", "12Q", "12Q"},
        {"--memory", "-5", "-5"},
        {"--memory", "", "not a size"},
        {"--memory", "99999999999T", "999"},
        {"--memory", "5", "2M"},
        {"--device", "gpu", "gpu"},
        {"--device", "cuda:1x", "cuda:1x"},
        {"--device", "cuda:1000", "cuda:1000"},
        {"--device", "cuda:", "cuda:"},
        {"--device", "cuda:01", "cuda:01"},
        {"--device", "", "''"},
        {"--device", "cpu,", "''"},
        {"--device", ",cpu", "''"},
        {"--device", "cuda:0,cuda:1,cuda:0", "'cuda:0' is named twice"},
        {"--device", "cpu,cpu", "'cpu' is named twice"},
        {"--device", "cuda:0,auto", "'auto'"},
        {"--device", "cuda,cpu", "'cuda'"},
        {"--device", "cuda:0, cuda:1", "' cuda:1'"},
        {"--device", "cuda:12345678901234567890123456789012345", "cuda:1234"},
        {"--device",
         "cuda:0,cuda:1,cuda:2,cuda:3,cuda:4,cuda:5,cuda:6,cuda:7,cuda:8,cuda:9,cuda:10,cuda:11,cuda:12,cuda:13,"
         "cuda:14,cuda:15,cpu",
         "'cpu' is one device too many: 16"},
        {"--listen", "tcp:h:1", "tcp:h:1"},
        {"--web", "localhost", "HOST:PORT"},
        {"--web", ":80", ":80"},
        {"--web", "::1:80", "::1:80"},
        {"--web", "[::1]80", "[::1]80"},
        {"--web", "[a b]:80", "a b"},
        {"--web", "host:66666", "66666"},
        {"--web", "host:", "host:"},
        {"--web", "host:8x", "8x"},
        {"--web", "", "--web"},
        {"--log-level", "loud", "loud"},
        {"--config", "/nowhere", "/nowhere"},
        {"--threads", "0", "'0'"},
        {"--threads", "65", "1 to 64"},
        {"--threads", "2x", "2x"},
        {"--threads", "-1", "-1"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(read_config(&config, &failure, wrong[i].option, wrong[i].value), TD_E_ARGUMENT);
        assert_non_null(strstr(failure.message, wrong[i].option));
        assert_non_null(strstr(failure.message, wrong[i].says));
    }
    assert_int_equal(read_config(&config, &failure, NULL, NULL), TD_E_OK);
    assert_int_equal(config.device_count, 1);
    assert_string_equal(config.devices[0], "auto");
    assert_int_equal(read_config(&config, &failure, "--device", "cuda:12"), TD_E_OK);
    assert_int_equal(config.device_count, 1);
    assert_string_equal(config.devices[0], "cuda:12");
    assert_int_equal(read_config(&config, &failure, "--device", "cuda"), TD_E_OK);
    assert_string_equal(config.devices[0], "cuda");
    assert_int_equal(read_config(&config, &failure, "--device", "cuda:1,cpu,cuda:0"), TD_E_OK);
    assert_int_equal(config.device_count, 3);
    assert_string_equal(config.devices[0], "cuda:1");
    assert_string_equal(config.devices[1], "cpu");
    assert_string_equal(config.devices[2], "cuda:0");
    assert_int_equal(read_config(&config, &failure, NULL, NULL), TD_E_OK);
    assert_string_equal(config.web_host, CONFIG_WEB_HOST);
    assert_int_equal(config.web_port, CONFIG_WEB_PORT);
    assert_false(config.web_given);
    assert_int_equal(config.memory_bytes, 0);
    assert_int_equal(config.log_level, LOG_INFO);
    assert_in_range(config.threads, 1, 64);
    assert_int_equal(read_config(&config, &failure, "--threads", "7"), TD_E_OK);
    assert_int_equal(config.threads, 7);
    assert_int_equal(read_config(&config, &failure, "--memory", "3GiB"), TD_E_OK);
    assert_int_equal(config.memory_bytes, 3ull << 30);
    assert_int_equal(read_config(&config, &failure, "--web", "[fe80::1]:0"), TD_E_OK);
    assert_string_equal(config.web_host, "fe80::1");
    assert_int_equal(config.web_port, 0);
    assert_true(config.web_given);
    char address[96];
    assert_string_equal(config_web_address(&config, 8080, address, sizeof address), "[fe80::1]:8080");
    assert_int_equal(read_config(&config, &failure, "--web", "gpu.example.org:65535"), TD_E_OK);
    assert_string_equal(config_web_address(&config, config.web_port, address, sizeof address), "gpu.example.org:65535");
    assert_int_equal(read_config(&config, &failure, "--web", "off"), TD_E_OK);
    assert_string_equal(config.web_host, "");
}

static void test_config_file(void **state)
{
    (void)state;
    struct config config;
    struct td_failure failure;
    char path[] = "/tmp/tensord-test-XXXXXX", expected[64];
    close(mkstemp(path));
    write_file(
        path,
        "# a comment\n\n  memory = 64M   # another\nlisten=unix:/tmp/a#b\nlog-level = warn\nweb = off\nthreads = 3\n");
    assert_int_equal(read_config(&config, &failure, "--config", path), TD_E_OK);
    assert_int_equal(config.memory_bytes, 64 << 20);
    assert_int_equal(config.log_level, LOG_WARN);
    assert_int_equal(config.threads, 3);
    assert_string_equal(config.listen.path, "/tmp/a#b");
    char *both[] = {"tensord", "--memory", "8M", "--config", path, NULL}; /* the command line wins wherever it stands */
    assert_int_equal(config_read(5, both, &config, &failure), TD_E_OK);
    assert_int_equal(config.memory_bytes, 8 << 20);
    static const char *const wrong[] = {"memory = lots", "colour = red", "memory", "device = gpu", "config = x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[128];
        snprintf(text, sizeof text, "# first\nweb = off\n%s\n", wrong[i]);
        write_file(path, text);
        snprintf(expected, sizeof expected, "%s:3: ", path);
        assert_int_equal(read_config(&config, &failure, "--config", path), TD_E_ARGUMENT);
        assert_non_null(strstr(failure.message, expected));
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_config_values),
        cmocka_unit_test(test_config_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
