/* What a record in the black box costs. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "server/worker/execution.h"
#include "tests/bench/bench.h"

#define RECORDS 100000

static double write_records(void *data)
{
    struct execution *e = data;
    struct recorder *recorder = &e->session->worker->recorder;
    double start = bench_now_s();
    for (int k = 0; k < RECORDS; k++) {
        recorder->ops_left = 1;
        recorder_op(e, false);
    }
    return (bench_now_s() - start) / RECORDS;
}

void bench_record(void)
{
    static struct worker worker;
    static struct session session;
    static struct execution e;
    struct td_meta meta = {.dtype = TD_F32, .rank = 2, .shape = {64, 128}, .stride = {128, 1}};
    worker.device = &(struct td_device){.name = "cpu", .description = ""};
    session.worker = &worker;
    if (recorder_start(&worker, -1, -1))
        return;
    size_t bytes = sizeof(struct tensor) + 4 * sizeof(int64_t);
    struct tensor *a = calloc(1, bytes), *b = calloc(1, bytes);
    a->rank = b->rank = 2;
    memcpy(a->dims, meta.shape, 2 * sizeof *a->dims);
    memcpy(b->dims, meta.shape, 2 * sizeof *b->dims);
    e = (struct execution){.session = &session, .operation = {.op = td_op_of(TD_OP_add), .in_count = 2}};
    e.in = e.small_in;
    e.in[0].tensor = e.in[1].tensor = a;
    e.out[0] = b;
    e.inference.out[0] = meta;
    struct bench_result r = bench_rounds(40, 1, (const struct bench_side[]){{"record", write_records, &e}});
    bench_report(&(struct bench_row){.what = "a record in the black box, of an op of two inputs of rank 2",
                                     .unit = "ns",
                                     .value = r.median[0] * 1e9,
                                     .sense = BENCH_AT_MOST,
                                     .goal = 30});
    free(a);
    free(b);
    recorder_stop(&worker);
}
