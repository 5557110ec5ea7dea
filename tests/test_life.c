/* The Nth allocation fails, for every N, in a worker's whole life: its start, its real loop and sockets, a client that
 * comes and goes, its end. It ends as it should, or says that it could not start, and the client's stream always ends.
 * The linker puts the functions below in the way of malloc and its kin in the daemon's objects (Makefile).
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/log.h"
#include "server/worker/worker.h"

static int64_t left = -1; /* allocations until the one that fails; below 0: none does */
static bool failed;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *at, size_t bytes);

static bool fails(void)
{
    bool now = left == 0;
    left -= left >= 0;
    failed |= now;
    return now;
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *at, size_t bytes)
{
    return fails() ? NULL : __real_realloc(at, bytes);
}

/* A frame: a leaf, a product, its backward, reads, status, table, goodbye. */
static size_t stream(uint8_t *start)
{
    struct td_randn_attrs attrs = {.shape = {2, {100, 100}}};
    struct td_sum_attrs all = {.dims.count = -1};
    struct td_input in[2] = {{.kind = TD_INPUT_HANDLE}, {.kind = TD_INPUT_HANDLE}}, one = {TD_INPUT_HANDLE, 1, {0}};
    uint8_t *at = start + TD_FRAME_HEADER;
    *at++ = 0;
    at = td_call_encode(at, td_op_of(TD_OP_randn), TD_FLAG_REQUIRES_GRAD, 0, (uint32_t[]){0}, NULL, NULL, &attrs);
    at = td_call_encode(at, td_op_of(TD_OP_matmul), TD_FLAG_GRAD, 0, (uint32_t[]){1}, in, NULL, &attrs);
    at = td_call_encode(at, td_op_of(TD_OP_sum), TD_FLAG_GRAD, 0, (uint32_t[]){2}, &one, NULL, &all);
    static const uint8_t rest[] = {
        0, 0, 0x95, TD_R_BACKWARD, 2,         0xc0, 0xc2, 0xc2,       0, 0,    0x93,      TD_R_GRAD,   3,
        0, 0, 0,    0x93,          TD_R_READ, 3,    0,    0,          0, 0x93, TD_R_READ, 2,           0,
        0, 0, 0x91, TD_R_STATUS,   0,         0,    0x91, TD_R_TABLE, 0, 0,    0x91,      TD_R_GOODBYE};
    memcpy(at, rest, sizeof rest);
    at += sizeof rest;
    td_write_be32(start, (uint32_t)(at - start - TD_FRAME_HEADER));
    return (size_t)(at - start);
}

/* A worker with its real loop and sockets, in a process of its own: one client that says everything, and leaves. */
static int worker_with_fault(int channel, int64_t n)
{
    struct config config = {.memory_bytes = (size_t)64 << 20, .log_level = LOG_ERROR + 1, .devices = {"cpu"}};
    left = n;
    int status = worker_main(&config, channel, -1, -1);
    left = -1;
    return status == 0 ? failed : 2;
}

static int life_with_fault(int64_t n)
{
    int channel[2], client[2], status;
    struct handover handover = {.number = 1, .life = 1, .hello.program = "faults"};
    static uint8_t said[4096];
    char bytes[4096];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, client), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(channel[0]);
        close(client[0]);
        close(client[1]);
        _exit(worker_with_fault(channel[1], n));
    }
    close(channel[1]);
    assert_int_equal(handover_send(channel[0], &handover, client[1]), 0);
    close(client[1]);
    (void)!send(client[0], said, stream(said), MSG_NOSIGNAL);
    while (recv(client[0], bytes, sizeof bytes, 0) > 0) /* to the end of the stream, which must come */
        ;
    close(client[0]);
    close(channel[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void the_life_of_a_worker(void **state)
{
    (void)state;
    int64_t n = 0;
    for (int result; (result = life_with_fault(n)); n++)
        assert_true(result == 1 || (result == 2 && n < 6)); /* it ends as it should, or did not start */
    assert_true(n > 30);
    print_message("# %d faults\n", (int)n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_life_of_a_worker)};
    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
