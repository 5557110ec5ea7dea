/* Images of a large batch are laid out side by side where that pays, and a convolution gives each the bits that it
 * gives the image by itself. SPDX-License-Identifier: Apache-2.0 */
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

#define IMAGES 61 /* the last ones do not fill a group */

struct shape {
    int64_t in, out, groups, size[2], kernel[2], padding;
};
static const struct shape shapes[] = {
    {6, 16, 1, {14, 14}, {5, 5}, 0},
    {3, 7, 1, {9, 6}, {3, 2}, 0},
    {4, 6, 2, {8, 11}, {4, 4}, 1},
};

static struct td_operand operand(void *data, uint8_t dtype, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (struct td_operand){
        .data = data, .dtype = dtype, .rank = 4, .shape = {a, b, c, d}, .stride = {b * c * d, c * d, d, 1}};
}

static void *drawn(struct random *random, uint8_t dtype, int64_t count)
{
    char *data = malloc((size_t)count * sizeof(double));
    assert_non_null(data);
    for (int64_t k = 0; k < count; k++) {
        double value = (double)random_below(random, 2001) / 1000 - 1;
        if (dtype == TD_F64)
            ((double *)(void *)data)[k] = value;
        else
            ((float *)(void *)data)[k] = (float)value;
    }
    return data;
}

/* in[0] and y hold so many images, of which the first is to be number first. */
static void run(const struct td_device *device, const char *name, const void *attrs, struct td_operand *in,
                struct td_operand y, int64_t first, int64_t images)
{
    struct td_operand some[] = {in[0], in[1], in[2]};
    int64_t size = (int64_t)td_dtype_size(y.dtype);
    some[0].shape[0] = y.shape[0] = images;
    some[0].data = (char *)some[0].data + first * some[0].stride[0] * size;
    y.data = (char *)y.data + first * y.stride[0] * size;
    struct td_launch launch = {.op = td_op_named(name), .in_count = 3, .in = some, .out = {y}, .attrs = attrs};
    device->run(&launch);
    assert_int_equal(launch.fault.code, TD_E_OK);
}

static void compare(const struct td_device *device, struct random *random, uint8_t dtype, const struct shape *s,
                    bool back)
{
    int64_t count[2];
    for (int d = 0; d < 2; d++)
        count[d] = s->size[d] + 2 * s->padding - s->kernel[d] + 1;
    int64_t pixels = IMAGES * s->in * s->size[0] * s->size[1], places = IMAGES * s->out * count[0] * count[1];
    int64_t gives = back ? places : pixels, given = back ? pixels : places;
    void *data[] = {drawn(random, dtype, gives), drawn(random, dtype, s->out * s->in * s->kernel[0] * s->kernel[1]),
                    drawn(random, dtype, s->in + s->out), drawn(random, dtype, given), drawn(random, dtype, given)};
    struct td_operand image = operand(NULL, dtype, IMAGES, s->in, s->size[0], s->size[1]);
    struct td_operand windows = operand(NULL, dtype, IMAGES, s->out, count[0], count[1]);
    struct td_operand in[] = {
        back ? windows : image,
        operand(data[1], dtype, s->out, s->in / s->groups, s->kernel[0], s->kernel[1]),
        {.data = data[2], .dtype = dtype, .rank = 1, .shape = {back ? s->in : s->out}, .stride = {1}}};
    struct td_operand together = back ? image : windows, alone = together;
    in[0].data = data[0], together.data = data[3], alone.data = data[4];
    struct td_conv2d_attrs slides;
    struct td_conv_transpose2d_attrs spreads;
    td_op_defaults(td_op_named("conv2d"), &slides);
    td_op_defaults(td_op_named("conv_transpose2d"), &spreads);
    slides.groups = spreads.groups = s->groups;
    slides.padding = spreads.padding = (struct td_dims){.count = 2, .v = {s->padding, s->padding}};
    const char *name = back ? "conv_transpose2d" : "conv2d";
    const void *attrs = back ? (const void *)&spreads : (const void *)&slides;
    run(device, name, attrs, in, together, 0, IMAGES);
    for (int64_t k = 0; k < IMAGES; k++)
        run(device, name, attrs, in, alone, k, 1);
    assert_memory_equal(together.data, alone.data, (size_t)given * td_dtype_size(dtype));
    for (size_t k = 0; k < sizeof data / sizeof *data; k++)
        free(data[k]);
}

static double element(const void *data, uint8_t dtype, int64_t k)
{
    return dtype == TD_F64 ? ((const double *)data)[k] : (double)((const float *)data)[k];
}

/* The gradient of a weight is added up in an order of its own: that of all images is near the sum of each one's.
 * Returns a number that is its bits'. */
static uint64_t compare_weights(const struct td_device *device, struct random *random, uint8_t dtype,
                                const struct shape *s)
{
    int64_t count[2], size = (int64_t)td_dtype_size(dtype), elements = s->out * s->in / s->groups;
    for (int d = 0; d < 2; d++) {
        count[d] = s->size[d] + 2 * s->padding - s->kernel[d] + 1;
        elements *= s->kernel[d];
    }
    struct td_operand all[] = {operand(NULL, dtype, IMAGES, s->in, s->size[0], s->size[1]),
                               operand(NULL, dtype, IMAGES, s->out, count[0], count[1])};
    struct td_operand weight =
        operand(drawn(random, dtype, elements), dtype, s->out, s->in / s->groups, s->kernel[0], s->kernel[1]);
    struct td_conv_weight_attrs attrs;
    td_op_defaults(td_op_named("conv_weight"), &attrs);
    attrs.kernel_size = (struct td_dims){.count = 2, .v = {s->kernel[0], s->kernel[1]}};
    attrs.padding = (struct td_dims){.count = 2, .v = {s->padding, s->padding}};
    attrs.groups = s->groups;
    double *sums = calloc((size_t)elements, sizeof *sums);
    assert_non_null(sums);
    for (int k = 0; k < 2; k++)
        all[k].data = drawn(random, dtype, IMAGES * all[k].stride[0]);
    for (int64_t image = 0; image <= IMAGES; image++) { /* each alone, then all */
        struct td_operand in[] = {all[0], all[1]};
        for (int k = 0; k < 2 && image < IMAGES; k++) {
            in[k].shape[0] = 1;
            in[k].data = (char *)in[k].data + image * in[k].stride[0] * size;
        }
        struct td_launch launch = {
            .op = td_op_named("conv_weight"), .in_count = 2, .in = in, .out = {weight}, .attrs = &attrs};
        device->run(&launch);
        assert_int_equal(launch.fault.code, TD_E_OK);
        for (int64_t k = 0; k < elements && image < IMAGES; k++)
            sums[k] += element(weight.data, dtype, k);
    }
    for (int64_t k = 0; k < elements; k++)
        assert_true(fabs(element(weight.data, dtype, k) - sums[k]) < (dtype == TD_F64 ? 1e-11 : 1e-3));
    uint64_t bits = 0;
    for (int64_t k = 0; k < elements * size; k++)
        bits = bits * 1099511628211u + ((const unsigned char *)weight.data)[k];
    free(sums);
    free(weight.data);
    free(all[0].data);
    free(all[1].data);
    return bits;
}

static void test_batches_are_images(void **state)
{
    static const char *const isas[] = {"generic", "sse2", "avx2", "avx512"};
    struct random random = random_new();
    (void)state;
    for (size_t v = 0; v < sizeof isas / sizeof *isas; v++)
        for (size_t k = 0; td_device_cpu_variant(isas[v]) && k < sizeof shapes / sizeof *shapes; k++)
            for (int back = 0; back < 2; back++) {
                compare(td_device_cpu_variant(isas[v]), &random, TD_F32, &shapes[k], back);
                compare(td_device_cpu_variant(isas[v]), &random, TD_F64, &shapes[k], back);
            }
}

static void test_weights_add_up(void **state)
{
    static const char *const isas[] = {"generic", "sse2", "avx2", "avx512"};
    struct random random = random_new();
    (void)state;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        for (int wide = 0; wide < 2; wide++) {
            uint64_t bits, first = 0;
            bool known = false;
            for (size_t v = 0; v < sizeof isas / sizeof *isas; v++) {
                struct random same = random;
                if (!td_device_cpu_variant(isas[v]))
                    continue;
                bits = compare_weights(td_device_cpu_variant(isas[v]), &same, wide ? TD_F64 : TD_F32, &shapes[k]);
                assert_true(!known || bits == first);
                first = bits;
                known = true;
            }
            random_next(&random);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_batches_are_images),
                                       cmocka_unit_test(test_weights_add_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
