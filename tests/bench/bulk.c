/* 64 MB to the daemon and back, from memory, from a file and from memory that both see, against a plain unix socket.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define COUNT ((int64_t)16 << 20)
#define BYTES ((size_t)COUNT * sizeof(float))

struct bulk {
    td_session *session;
    td_tensor x; /* of BYTES */
    struct bench_other other;
    float *data;
    char path[128]; /* of an npy file of them */
};

static double upload(void *data)
{
    struct bulk *bulk = data;
    double start = bench_now_s();
    td_tensor x = td_from(bulk->session, bulk->data, TD_F32, TD_SHAPE(COUNT));
    td_sync(bulk->session);
    double seconds = bench_now_s() - start;
    td_release(x);
    return seconds;
}

static double send_plainly(void *data)
{
    struct bulk *bulk = data;
    double start = bench_now_s();
    return bench_bulk_send(&bulk->other, bulk->data, BYTES) ? bench_now_s() - start : 0;
}

static double download(void *data)
{
    struct bulk *bulk = data;
    double start = bench_now_s();
    td_read(bulk->x, bulk->data, TD_F32, COUNT);
    return bench_now_s() - start;
}

static double receive_plainly(void *data)
{
    struct bulk *bulk = data;
    double start = bench_now_s();
    return bench_bulk_receive(&bulk->other, bulk->data, BYTES) ? bench_now_s() - start : 0;
}

static double load(void *data)
{
    struct bulk *bulk = data;
    double start = bench_now_s();
    td_tensor x = td_load_npy(bulk->session, bulk->path);
    td_sync(bulk->session);
    double seconds = bench_now_s() - start;
    td_release(x);
    return seconds;
}

static double load_plainly(void *data)
{
    struct bulk *bulk = data;
    double start = bench_now_s();
    int fd = open(bulk->path, O_RDONLY);
    bool fine = fd >= 0;
    for (size_t at = 0; fine && at < BYTES; at += 1 << 20)
        fine = read(fd, (char *)bulk->data + at, 1 << 20) == 1 << 20;
    if (fd >= 0)
        close(fd);
    return fine && bench_bulk_send(&bulk->other, bulk->data, BYTES) ? bench_now_s() - start : 0;
}

static void report(const char *what, struct bulk *bulk, double (*ours)(void *), double (*theirs)(void *),
                   const char *against, double goal)
{
    struct bench_result r =
        bench_rounds(40, 2, (const struct bench_side[]){{"tensord", ours, bulk}, {"socket", theirs, bulk}});
    bench_report(&(struct bench_row){what, "GB/s", (double)BYTES / r.median[0] * 1e-9, against,
                                     (double)BYTES / r.median[1] * 1e-9, 1 / r.ratio[1], BENCH_AT_LEAST, goal});
}

void bench_bulk(const struct test_daemon *daemon)
{
    struct bulk bulk = {.session = td_open(daemon->address), .other = bench_bulk_start(BYTES), .data = malloc(BYTES)};
    memset(bulk.data, 0, BYTES);
    bulk.x = td_ones(bulk.session, TD_SHAPE(COUNT));
    report("64 MB upload", &bulk, upload, send_plainly, "plain socket", 0.85);
    report("64 MB download", &bulk, download, receive_plainly, "plain socket", 0.85);
    snprintf(bulk.path, sizeof bulk.path, "%s/bulk.npy", daemon->folder);
    if (td_save_npy(bulk.x, bulk.path) == 0)
        report("64 MB from an npy file", &bulk, load, load_plainly, "read(), plain socket", 0.85);
    unlink(bulk.path);
    free(bulk.data);
    bulk.data = td_host_alloc(bulk.session, BYTES);
    memset(bulk.data, 0, BYTES);
    report("64 MB upload from memory that both see", &bulk, upload, send_plainly, "plain socket", 2);
    report("64 MB download into it", &bulk, download, receive_plainly, "plain socket", 2);
    td_close(bulk.session); /* with that memory */
    bench_other_stop(&bulk.other);
}
