/* Inference against PyTorch's own results (golden/layouts.txt), and the arithmetic of layouts.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "tests/inference.h"
#include "tests/wrong.h"

/* ---- golden file: a small reader, which trusts the file as far as a test may ---- */

static uint8_t dtype_named(const char *text, size_t length)
{
    for (uint8_t d = 0; d < TD_DTYPE_LIMIT; d++)
        if (td_dtype_known(d) && strlen(td_dtype_name(d)) == length && !strncmp(td_dtype_name(d), text, length))
            return d;
    return TD_DTYPE_NONE;
}

/* "(2,3)" or "[2,3]" into v; returns the count and moves *at behind it. */
static int64_t parse_list(const char **at, int64_t *v)
{
    int64_t count = 0;
    char *end;
    for ((*at)++; **at != ')' && **at != ']'; count++) {
        v[count] = strtoll(*at, &end, 10);
        *at = end + (*end == ',');
    }
    (*at)++;
    return count;
}

static struct td_number parse_number(const char *text)
{
    if (*text == 'f')
        return (struct td_number){.category = TD_FLOATING, .f = strtod(text + 1, NULL)};
    return (struct td_number){.category = *text == 'b' ? TD_BOOLEAN : TD_INTEGER, .i = strtoll(text + 1, NULL, 10)};
}

/* "f32(2,3)/(3,1)+0" or "#f2.5". */
static struct td_meta parse_meta(const char *text)
{
    struct td_meta meta = {0};
    if (!strcmp(text, "nil")) {
        meta.scalar = true;
        return meta;
    }
    if (*text == '#') {
        meta.scalar = true;
        meta.dtype = td_dtype_of_number(parse_number(text + 1));
        return meta;
    }
    const char *at = strchr(text, '(');
    meta.dtype = dtype_named(text, (size_t)(at - text));
    meta.rank = (uint8_t)parse_list(&at, meta.shape);
    at++;
    parse_list(&at, meta.stride);
    meta.offset = strtoll(at + 1, NULL, 10);
    return meta;
}

static void parse_attr(uint8_t kind, const char *text, void *slot)
{
    struct td_dims dims = {.count = -1};
    struct td_number number;
    int64_t integer;
    switch (kind) {
    case TD_PARAM_NUMBER:
        number = parse_number(text);
        memcpy(slot, &number, sizeof number);
        break;
    case TD_PARAM_SHAPE:
    case TD_PARAM_DIMS:
        if (*text == '[')
            dims.count = parse_list(&text, dims.v);
        memcpy(slot, &dims, sizeof dims);
        break;
    default:
        integer = kind == TD_PARAM_DTYPE ? dtype_named(text, strlen(text)) : strtoll(text, NULL, 10);
        memcpy(slot, &integer, sizeof integer);
    }
}

/* "{f32(2)/(1)+0;f32(3)/(1)+0}", or one of them without the braces; returns how many. */
static int parse_metas(const char *text, struct td_meta *metas)
{
    int count = 1;
    metas[0] = parse_meta(text + (*text == '{'));
    for (const char *end = *text == '{' ? text + strcspn(text, "}") : text; (text = strchr(text, ';')) && text < end;)
        metas[count++] = parse_meta(++text);
    return count;
}

static void describe(const struct trial *t, char *buffer, size_t bytes)
{
    char shape[TD_SHAPE_TEXT], stride[TD_SHAPE_TEXT];
    size_t used = 0;
    if (t->failure.code)
        snprintf(buffer, bytes, "error (%s)", t->failure.message);
    for (int k = 0; !t->failure.code && k < t->inference.out_count && used < bytes; k++) {
        const struct td_meta *out = &t->inference.out[k];
        used += (size_t)snprintf(buffer + used, bytes - used, "%s%s/%s+%lld %s ", td_dtype_name(out->dtype),
                                 td_shape_text(out->rank, out->shape, shape, sizeof shape),
                                 td_shape_text(out->rank, out->stride, stride, sizeof stride), (long long)out->offset,
                                 t->inference.shares >= 0 ? "shares" : "new");
    }
}

static bool same_layout(const struct td_meta *a, const struct td_meta *b)
{
    return a->dtype == b->dtype && td_meta_same_shape(a, b) && a->offset == b->offset &&
           !memcmp(a->stride, b->stride, a->rank * sizeof *a->stride);
}

/* In the voice of the file: no spaces after commas. */
static bool as_expected(const struct trial *t, const char *expected)
{
    struct td_meta due[TD_OUTPUTS_MAX];
    if (!strcmp(expected, "error") || t->failure.code)
        return !strcmp(expected, "error") && t->failure.code;
    bool right = parse_metas(expected, due) == t->inference.out_count;
    if (is_wrong(t->inference.op->name) && due[0].rank)
        due[0].stride[due[0].rank - 1]++;
    for (int k = 0; right && k < t->inference.out_count; k++)
        right = same_layout(&due[k], &t->inference.out[k]);
    return right && (t->inference.shares >= 0) == !strcmp(strchr(expected, ' ') + 1, "shares");
}

static bool run_line(char *line)
{
    struct trial t = {0};
    char *expected = strstr(line, " = "), *rest = NULL, found[512];
    char *copy = strdup(line);
    assert_non_null(expected);
    *expected = 0;
    expected += 3;
    const struct td_op *op = td_op_named(strtok_r(line, " ", &rest));
    assert_non_null(op);
    td_op_defaults(op, t.attrs);
    int64_t *slot = t.attrs;
    char *word = strtok_r(NULL, " ", &rest);
    int list = 0;
    for (const struct td_param *p = op->params; p->kind && word; p++, word = strtok_r(NULL, " ", &rest)) {
        if (td_param_is_list(p->kind))
            t.in_count += t.list_counts[list++] = (uint16_t)parse_metas(word, &t.in[t.in_count]);
        else if (td_param_is_tensor(p->kind))
            t.in[t.in_count++] = parse_meta(word);
        else
            parse_attr(p->kind, word, slot);
        slot += td_param_slots(p->kind);
    }
    infer(&t, op);
    bool right = as_expected(&t, expected);
    if (!right) {
        describe(&t, found, sizeof found);
        print_error("%s\n    found %s\n", copy, found);
    }
    free(copy);
    return right;
}

static void test_pytorch_layouts(void **state)
{
    (void)state;
    const char *path = getenv("TENSORD_GOLDEN");
    char name[512], line[1024];
    snprintf(name, sizeof name, "%s/layouts.txt", path ? path : "tests/golden");
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    int cases = 0, wrong = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!*line || *line == '#')
            continue;
        cases++;
        wrong += !run_line(line);
    }
    fclose(file);
    print_message("%d of %d cases differ\n", wrong, cases);
    assert_true(cases >= 500);
    assert_int_equal(wrong, 0);
}

/* ---- shape.h ---- */

static void test_meta(void **state)
{
    (void)state;
    char text[TD_SHAPE_TEXT];
    struct td_meta x = META(TD_F64, 2, 3, 4);
    int64_t first, end;
    assert_int_equal(td_meta_numel(&x), 24);
    assert_int_equal(td_meta_bytes(&x), 192);
    td_meta_extent(&x, &first, &end);
    assert_int_equal(end - first, 24);
    x = TRY(select, A(1, 2), x).inference.out[0];
    td_meta_extent(&x, &first, &end);
    assert_int_equal(first, 8);
    assert_int_equal(end, 24);
    assert_false(td_meta_is_contiguous(&x) || td_meta_is_dense(&x) || td_meta_overlaps_itself(&x));
    x = (struct td_meta){.dtype = TD_F32, .rank = 2, .shape = {3, 3}, .stride = {1, 1}};
    assert_true(td_meta_overlaps_itself(&x));
    assert_string_equal(td_shape_text(0, NULL, text, sizeof text), "()");
    assert_string_equal(td_shape_text(1, (int64_t[]){3}, text, sizeof text), "(3)");
    assert_string_equal(td_shape_text(2, (int64_t[]){64, 10}, text, sizeof text), "(64, 10)");
    int64_t worst[TD_RANK_MAX];
    for (int d = 0; d < TD_RANK_MAX; d++)
        worst[d] = INT64_MIN;
    assert_int_equal(strlen(td_shape_text(TD_RANK_MAX, worst, text, sizeof text)), 2 + 8 * 20 + 7 * 2);
    assert_string_equal(td_shape_text(2, worst, text, 6), "(-922");
}

static void test_dtypes(void **state)
{
    (void)state;
    static const double odd[] = {NAN, INFINITY, -INFINITY, 9223372036854775808.0, -9223372036854777856.0, 1e308};
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
        assert_true(td_number_integer((struct td_number)F(odd[k])) == INT64_MIN);
    assert_int_equal(td_number_integer((struct td_number)F(-1.9)), -1);
    assert_int_equal(td_number_integer((struct td_number)F(9223372036854774784.0)), INT64_C(9223372036854774784));
    uint8_t bytes[9] = {[8] = 0xee};
    for (uint8_t d = 0; d < TD_DTYPE_LIMIT; d++) {
        td_number_store((struct td_number)F(1e300), d, bytes);
        assert_int_equal(bytes[8], 0xee);
        assert_int_equal(td_dtype_known(d), td_dtype_size(d) > 0);
        assert_int_equal(td_dtype_known(d), strcmp(td_dtype_name(d), "?") != 0);
    }
    assert_false(td_dtype_known(UINT64_MAX));
    td_number_store((struct td_number)F(0.25), TD_BOOL, bytes);
    assert_int_equal(bytes[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pytorch_layouts),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_dtypes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
