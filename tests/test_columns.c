/* What goes over a dimension that is not the dense one goes another way than over rows, and gives the same bits: sizes
 * are such that blocks, tiles and vectors end in the middle. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include "kernels/kernels.h"
#include "tests/random.h"

static const int64_t shapes[][2] = {{1, 5}, {15, 33}, {16, 70}, {527, 1100}, {1100, 527}, {4200, 65}};

/* A matrix whose element (i, j) lies at i * rows + j * columns. */
static struct td_operand matrix(void *data, uint8_t dtype, const int64_t *shape, int64_t rows, int64_t columns)
{
    return (struct td_operand){
        .data = data, .dtype = dtype, .rank = 2, .shape = {shape[0], shape[1]}, .stride = {rows, columns}};
}

static void run(const struct td_device *device, const char *name, struct td_operand x, int64_t dim, struct td_operand y)
{
    struct td_sum_attrs over = {.dims = {.count = 1, .v = {dim}}};
    struct td_softmax_attrs along = {.dim = dim};
    bool reduces = strstr(name, "softmax") == NULL;
    struct td_launch launch = {.op = td_op_named(name),
                               .in_count = 1,
                               .in = &x,
                               .out = {y},
                               .attrs = reduces ? (const void *)&over : (const void *)&along};
    device->run(&launch);
    assert_int_equal(launch.fault.code, TD_E_OK);
}

/* y of rows by columns over its columns, and the same turned over its rows. */
static void compare(const struct td_device *device, const char *name, uint8_t dtype, const int64_t *shape, char *memory)
{
    const int64_t turned[2] = {shape[1], shape[0]}, count = shape[0] * shape[1], size = (int64_t)td_dtype_size(dtype);
    bool reduces = strstr(name, "softmax") == NULL;
    char *x = memory, *t = x + count * size, *y = t + count * size, *z = y + count * size;
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++)
            memcpy(t + (j * shape[0] + i) * size, x + (i * shape[1] + j) * size, (size_t)size);
    struct td_operand across = matrix(y, dtype, shape, shape[1], 1), along = matrix(z, dtype, turned, shape[0], 1);
    if (reduces) {
        across.rank = along.rank = 1;
        across.shape[0] = along.shape[0] = shape[1];
        across.stride[0] = along.stride[0] = 1;
    }
    run(device, name, matrix(x, dtype, shape, shape[1], 1), 0, across);
    run(device, name, matrix(t, dtype, turned, shape[0], 1), 1, along);
    for (int64_t j = 0; j < shape[1]; j++)
        for (int64_t i = 0; i < (reduces ? 1 : shape[0]); i++)
            if (memcmp(y + (i * shape[1] + j) * size, z + (reduces ? j : j * shape[0] + i) * size, (size_t)size))
                fail_msg("%s of %lld x %lld at (%lld, %lld)", name, (long long)shape[0], (long long)shape[1],
                         (long long)i, (long long)j);
}

static void test_columns_are_rows(void **state)
{
    static const char *const names[] = {"sum", "max", "min", "softmax", "log_softmax"}, *const isas[] = {"generic",
                                                                                                         "sse2", "avx2",
                                                                                                         "avx512"};
    struct random random = random_new();
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int64_t count = shapes[s][0] * shapes[s][1];
        char *memory = malloc((size_t)count * 4 * sizeof(double));
        assert_non_null(memory);
        for (uint8_t dtype = 0; dtype < TD_DTYPE_LIMIT; dtype++) {
            if (dtype != TD_F32 && dtype != TD_F64)
                continue;
            for (int64_t k = 0; k < count; k++) {
                double value = (double)random_below(&random, 20001) / 1000 - 10;
                if (dtype == TD_F64)
                    ((double *)(void *)memory)[k] = value;
                else
                    ((float *)(void *)memory)[k] = (float)value;
            }
            for (size_t v = 0; v < sizeof isas / sizeof *isas; v++)
                for (size_t n = 0; td_device_cpu_variant(isas[v]) && n < sizeof names / sizeof *names; n++)
                    compare(td_device_cpu_variant(isas[v]), names[n], dtype, shapes[s], memory);
        }
        free(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns_are_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
