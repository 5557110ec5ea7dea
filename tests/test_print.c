/* td_text against what PyTorch prints, byte for byte (golden/printed.py). SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <inttypes.h>
#include <math.h>

#include "protocol/dtype.h"
#include "protocol/shape.h"

#define TEXT_BYTES 65536

static uint64_t mix(uint64_t seed, uint64_t k)
{
    uint64_t z = seed * 0x9E3779B97F4A7C15 + (k + 1) * 0xD1B54A32D192ED03;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

static double real_element(const char *kind, uint64_t z)
{
    static const struct {
        const char *name;
        int bits, low, high;
    } kinds[] = {{"whole", 7, 0, 0},       {"large", 8, 8, 8},     {"huge", 8, 24, 24},    {"quarters", 7, -2, -2},
                 {"fine", 8, -5, -5},      {"units", 8, -8, -8},   {"small", 8, -14, -12}, {"tiny", 8, -22, -16},
                 {"wide", 8, -12, 2},      {"long", 23, -20, -20}, {"edge", 8, -9, -3},    {"far", 23, 60, 60},
                 {"enormous", 8, 300, 310}};
    static const double special[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0};
    bool odd = !strcmp(kind, "odd");
    if (!strcmp(kind, "special") || (odd && !(z & 7)))
        return special[(z >> 8) % 5];
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (!strcmp(kinds[k].name, odd ? "fine" : kind)) {
            int64_t value = (int64_t)(z >> (64 - kinds[k].bits)) - ((int64_t)1 << (kinds[k].bits - 1));
            uint64_t powers = (uint64_t)(kinds[k].high - kinds[k].low + 1);
            return ldexp((double)value, kinds[k].low + (int)((z >> 16) % powers));
        }
    fail_msg("there is no kind %s", kind);
    return 0;
}

static struct td_number element(uint8_t dtype, const char *kind, uint64_t seed, uint64_t k)
{
    uint64_t z = mix(seed, k);
    if (dtype == TD_BOOL)
        return (struct td_number){.category = TD_BOOLEAN, .i = (int64_t)(z >> 60 & 1)};
    if (td_dtype_category(dtype) == TD_FLOATING)
        return (struct td_number){.category = TD_FLOATING, .f = real_element(kind, z)};
    int bits = strcmp(kind, "bits") ? 4 : (int)(8 * td_dtype_size(dtype));
    uint64_t least = dtype == TD_U8 ? 0 : (uint64_t)1 << (bits - 1);
    return (struct td_number){.category = TD_INTEGER, .i = (int64_t)((z >> (64 - bits)) - least)};
}

/* The tensor that a line beginning with "= " tells of. */
static td_tensor tensor_of(const char *line)
{
    static unsigned char bytes[8 * 8192];
    char name[8], kind[16], flags[8];
    uint64_t seed;
    int behind;
    struct td_dims shape = {0};
    uint8_t dtype = 1;
    assert_int_equal(sscanf(line, "= %7s [%n", name, &behind), 1);
    for (const char *at = line + behind; *at != ']'; at += *at == ',') {
        shape.v[shape.count++] = strtol(at, (char **)&at, 10);
        assert_true(shape.count <= TD_RANK_MAX && (*at == ',' || *at == ']'));
    }
    assert_int_equal(sscanf(strchr(line, ']'), "] %15s %" SCNu64 " %7s", kind, &seed, flags), 3);
    while (dtype < TD_DTYPE_LIMIT && strcmp(td_dtype_name(dtype), name))
        dtype++;
    assert_true(dtype < TD_DTYPE_LIMIT);
    int64_t count = td_checked_numel((int)shape.count, shape.v);
    assert_in_range(count, 0, 8192);
    for (int64_t k = 0; k < count; k++)
        td_number_store(element(dtype, kind, seed, (uint64_t)k), dtype, bytes + (size_t)k * td_dtype_size(dtype));
    td_tensor x = td_from(s, bytes, dtype, shape, .requires_grad = strchr(flags, 'g'));
    if (strchr(flags, 't'))
        x = td_transpose(x, 0, -1);
    if (strchr(flags, 's'))
        x = td_slice(x, 0, .step = 2);
    return strchr(flags, 'n') ? td_neg(x) : x;
}

static void prints_as_pytorch(void **state)
{
    (void)state;
    static char expected[TEXT_BYTES], call[256];
    char path[512], line[256];
    size_t used = 0;
    int cases = 0;
    snprintf(path, sizeof path, "%s/tests/golden/printed.txt", getenv("TENSORD_ROOT") ? getenv("TENSORD_ROOT") : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (bool more = true; more;) {
        more = fgets(line, sizeof line, file);
        if (more && *line == '#')
            continue;
        if (more && strncmp(line, "= ", 2)) {
            assert_true(used + strlen(line) < sizeof expected);
            used += (size_t)sprintf(expected + used, "%s", line);
            continue;
        }
        if (used) {
            expected[used - 1] = 0; /* the line's end */
            char *text = td_text(tensor_of(call));
            if (strcmp(text, expected))
                fail_msg("%s%s\nis what PyTorch prints, and not\n%s", call, expected, text);
            free(text);
            cases++;
        }
        used = 0;
        memcpy(call, line, sizeof call);
    }
    fclose(file);
    assert_true(cases > 300);
    assert_int_equal(td_error(s)->code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prints_as_pytorch, open_session, close_session),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
