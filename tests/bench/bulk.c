/* 64 MB to the daemon and back, against a plain unix socket. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "client/tensord.h"

#define COUNT ((int64_t)16 << 20)
#define BYTES ((size_t)COUNT * sizeof(float))

struct bulk {
    td_session *session;
    td_tensor x; /* of BYTES */
    struct bench_other other;
    float *data;
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

static void report(const char *what, struct bulk *bulk, double (*ours)(void *), double (*theirs)(void *))
{
    struct bench_result r =
        bench_rounds(40, 2, (const struct bench_side[]){{"tensord", ours, bulk}, {"socket", theirs, bulk}});
    bench_report(&(struct bench_row){what, "GB/s", (double)BYTES / r.median[0] * 1e-9, "plain socket",
                                     (double)BYTES / r.median[1] * 1e-9, 1 / r.ratio[1], BENCH_AT_LEAST, 0.85});
}

void bench_bulk(const struct test_daemon *daemon)
{
    struct bulk bulk = {.session = td_open(daemon->address), .other = bench_bulk_start(BYTES), .data = malloc(BYTES)};
    memset(bulk.data, 0, BYTES);
    bulk.x = td_ones(bulk.session, TD_SHAPE(COUNT));
    report("64 MB upload", &bulk, upload, send_plainly);
    report("64 MB download", &bulk, download, receive_plainly);
    td_close(bulk.session);
    bench_other_stop(&bulk.other);
    free(bulk.data);
}
