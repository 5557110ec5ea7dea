/* Single ops on one thread, through the daemon, against what the machine can do at best in the same run: the bytes that
 * they cannot but move at memcpy's speed, or a vectorised loop. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "tests/bench/limits.h"
#include "client/tensord.h"

#define ROUNDS 40
/* Small ops are asked for several times before their end is awaited. */
#define IN_CACHE 8

static td_session *s;
static td_tensor small, table, wide, square, index_, mask; /* mask: half of it true */
static td_tensor weight, bias;
static td_tensor wide_half; /* wide's elements, half of them above 0 */

#define SMALL ((size_t)1 << 20)
#define ROWS 4096
#define COLUMNS 1024
#define TABLE 4194304
#define WIDE 10000000
#define PICKED 100000
#define WIDTH 64

struct row {
    const char *what;
    td_tensor (*op)(void);
    int calls;
    double (*limit)(size_t size);
    size_t size; /* elements, or bytes moved */
    double goal;
};

#define OP(name, call)               \
    static td_tensor op_##name(void) \
    {                                \
        return call;                 \
    }
OP(exp, td_exp(small))
OP(tanh, td_tanh(small))
OP(gelu, td_gelu(small, .tanh_form = true))
OP(sum_0, td_sum(table, .dims = TD_DIMS(0)))
OP(sum_1, td_sum(table, .dims = TD_DIMS(1)))
OP(softmax_0, td_softmax(table, 0))
OP(softmax_1, td_softmax(table, 1))
OP(where, td_where(mask, wide, wide_half))
OP(greater, td_gt(wide_half, 0))
OP(turned, td_contiguous(td_transpose(square, 0, 1)))
OP(index_select, td_index_select(table, 0, index_))
OP(nonzero, td_nonzero(mask))
OP(masked_select, td_masked_select(wide, mask))
OP(layer_norm, td_layer_norm(table, TD_SHAPE(COLUMNS), .weight = weight, .bias = bias))

static td_tensor op_max(void)
{
    td_indexed found = td_max_dim(table, 1);
    td_release(found.indices);
    return found.values;
}

static const struct row rows[] = {
    {"exp of 1M f32", op_exp, IN_CACHE, limit_exp, SMALL, 1.5},
    {"tanh of 1M f32", op_tanh, IN_CACHE, limit_tanh, SMALL, 1.5},
    {"gelu (tanh) of 1M f32", op_gelu, IN_CACHE, limit_gelu, SMALL, 1.5},
    {"sum over dim 1 of 4096 x 1024", op_sum_1, 1, limit_sum, TABLE, 1.5},
    {"sum over dim 0 of 4096 x 1024", op_sum_0, 1, limit_sum, TABLE, 1.5},
    {"max with index over dim 1 of 4096 x 1024", op_max, 1, limit_sum, TABLE, 2},
    {"softmax over dim 1 of 4096 x 1024", op_softmax_1, 1, limit_exp, TABLE, 2},
    {"softmax over dim 0 of 4096 x 1024", op_softmax_0, 1, limit_exp, TABLE, 2},
    {"layer_norm of 4096 x 1024", op_layer_norm, 1, limit_move, (size_t)TABLE * 8, 2},
    {"nonzero of 10M, half true", op_nonzero, 1, limit_move, (size_t)WIDE * 5, 3},
    {"masked_select of 10M f32, half true", op_masked_select, 1, limit_move, (size_t)WIDE * 7, 3},
    {"where of 10M f32", op_where, 1, limit_move, (size_t)WIDE * 13, 1.5},
    {"x > 0 of 10M f32", op_greater, 1, limit_move, (size_t)WIDE * 5, 1.5},
    {"transposed copy of 4096 x 4096 f32", op_turned, 1, limit_move, (size_t)4096 * 4096 * 8, 1.5},
    {"index_select of 100k rows of 64", op_index_select, 1, limit_move, (size_t)PICKED *WIDTH * 8, 1.5},
};

static double run_op(void *data)
{
    const struct row *row = data;
    double start = bench_now_s();
    for (int k = 0; k < row->calls; k++)
        td_release(row->op());
    td_sync(s);
    return (bench_now_s() - start) / row->calls;
}

static double run_limit(void *data)
{
    const struct row *row = data;
    return row->limit(row->size);
}

static void report(const struct row *row)
{
    const struct bench_side sides[] = {{"tensord", run_op, (void *)(uintptr_t)row},
                                       {"limit", run_limit, (void *)(uintptr_t)row}};
    struct bench_result r = bench_rounds(ROUNDS, 2, sides);
    bench_report(&(struct bench_row){row->what, "ms", r.median[0] * 1e3, row->limit == limit_move ? "memcpy" : "a loop",
                                     r.median[1] * 1e3, r.ratio[1], BENCH_AT_MOST, row->goal});
}

static void make_tensors(void)
{
    small = td_sub(td_mul(td_rand(s, TD_SHAPE(SMALL)), 6), 3);
    table = td_randn(s, TD_SHAPE(ROWS, COLUMNS));
    wide = td_rand(s, TD_SHAPE(WIDE));
    wide_half = td_randn(s, TD_SHAPE(WIDE));
    mask = td_gt(wide_half, 0);
    weight = td_rand(s, TD_SHAPE(COLUMNS));
    bias = td_rand(s, TD_SHAPE(COLUMNS));
    square = td_rand(s, TD_SHAPE(4096, 4096));
}

void bench_kernels(const struct test_daemon *unused)
{
    struct test_daemon daemon;
    (void)unused;
    if (daemon_start(&daemon, (const char *const[]){"--threads", "1", "--log-level", "warn", NULL})) {
        bench_skip("single ops", "a daemon did not start");
        return;
    }
    s = td_open(daemon.address);
    make_tensors();
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        if (rows[k].op == op_index_select) { /* in a table that no cache holds */
            td_release(table);
            table = td_rand(s, TD_SHAPE(1000000, WIDTH));
            index_ = td_randint(s, 0, 1000000, TD_SHAPE(PICKED));
        }
        report(&rows[k]);
    }
    td_close(s);
    daemon_stop(&daemon);
    bench_attention();
}
