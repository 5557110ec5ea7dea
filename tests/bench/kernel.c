/* A kernel called by itself: what of an op's time is not the daemon's. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/kernels.h"
#include "tests/bench/bench.h"

double bench_tiny_kernel(void *data)
{
    static float x[8], y[8], factor = 0.999f;
    const struct td_device *device = td_device_cpu();
    struct td_operand in[] = {{.data = x, .dtype = TD_F32, .rank = 1, .shape = {8}, .stride = {1}},
                              {.data = &factor, .dtype = TD_F32, .rank = 1, .shape = {8}, .stride = {0}}};
    struct td_launch launch = {.op = td_op_of(TD_OP_mul), .in = in, .in_count = 2, .out = {in[0]}};
    int count = *(const int *)data;
    launch.out[0].data = y;
    double start = bench_now_s();
    for (int k = 0; k < count; k++)
        device->run(&launch);
    return (bench_now_s() - start) / count;
}
