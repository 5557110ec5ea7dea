/* Inference against PyTorch's own results (golden/layouts.txt) and against extreme arguments: each gets its layout or
 * its code, and no arithmetic overflows on the way (run it under -fsanitize=undefined).
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "protocol/infer.h"

/* ---- one inference ---- */

struct trial {
    struct td_meta in[TD_PARAMS_MAX];
    int in_count;
    int64_t attrs[TD_ATTR_SLOTS];
    uint16_t list_counts[TD_PARAMS_MAX];
    struct td_failure failure;
    struct td_inference inference;
};

static int infer(struct trial *t, const struct td_op *op)
{
    t->failure = (struct td_failure){0};
    t->inference = (struct td_inference){.op = op,
                                         .in = t->in,
                                         .in_count = t->in_count,
                                         .list_counts = t->list_counts,
                                         .attrs = t->attrs,
                                         .failure = &t->failure};
    int code = td_infer(&t->inference);
    assert_int_equal(code, t->failure.code);
    if (code) { /* every refusal says whose it is */
        size_t length = strlen(op->name);
        assert_true(!strncmp(t->failure.message, op->name, length) && t->failure.message[length] == ':');
    }
    return code;
}

static struct td_meta meta_of(uint8_t dtype, int rank, const int64_t *shape)
{
    struct td_meta meta = {.dtype = dtype, .rank = (uint8_t)rank};
    if (rank)
        memcpy(meta.shape, shape, (size_t)rank * sizeof *shape);
    td_contiguous_strides(rank, meta.shape, meta.stride);
    return meta;
}
#define META(dtype, ...) meta_of(dtype, sizeof((int64_t[]){__VA_ARGS__}) / 8, (const int64_t[]){__VA_ARGS__})
#define DIMS(...) ((struct td_dims){sizeof((int64_t[]){__VA_ARGS__}) / 8, {__VA_ARGS__}})

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

static void describe(const struct trial *t, char *buffer, size_t bytes)
{
    char shape[TD_SHAPE_TEXT], stride[TD_SHAPE_TEXT];
    const struct td_meta *out = &t->inference.out[0];
    if (t->failure.code)
        snprintf(buffer, bytes, "error (%s)", t->failure.message);
    else
        snprintf(buffer, bytes, "%s%s/%s+%lld %s", td_dtype_name(out->dtype),
                 td_shape_text(out->rank, out->shape, shape, sizeof shape),
                 td_shape_text(out->rank, out->stride, stride, sizeof stride), (long long)out->offset,
                 t->inference.shares >= 0 ? "shares" : "new");
}

/* In the voice of the file: no spaces after commas. */
static bool as_expected(const struct trial *t, const char *expected)
{
    struct td_meta due;
    const struct td_meta *out = &t->inference.out[0];
    if (!strcmp(expected, "error") || t->failure.code)
        return !strcmp(expected, "error") && t->failure.code;
    due = parse_meta(expected);
    const char *storage = strchr(expected, ' ') + 1;
    return due.dtype == out->dtype && td_meta_same_shape(&due, out) && due.offset == out->offset &&
           !memcmp(due.stride, out->stride, out->rank * sizeof *out->stride) &&
           (t->inference.shares >= 0) == !strcmp(storage, "shares");
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
    for (const struct td_param *p = op->params; p->kind && word; p++, word = strtok_r(NULL, " ", &rest)) {
        if (td_param_is_tensor(p->kind))
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

/* ---- extremes ---- */

/* A call of name on tensors in, with attributes of type struct td_<name>_attrs. */
#define TRY(name, attributes, ...)                                                                      \
    ({                                                                                                  \
        struct trial t_ = {.in = {__VA_ARGS__}};                                                        \
        struct td_##name##_attrs attrs_ = attributes;                                                   \
        t_.in_count = (int)(sizeof((struct td_meta[]){{0}, __VA_ARGS__}) / sizeof(struct td_meta)) - 1; \
        memcpy(t_.attrs, &attrs_, sizeof attrs_);                                                       \
        infer(&t_, td_op_named(#name));                                                                 \
        t_;                                                                                             \
    })
#define A(...)      \
    {               \
        __VA_ARGS__ \
    }
#define I(n)                           \
    {                                  \
        .category = TD_INTEGER, .i = n \
    }
#define F(n)                            \
    {                                   \
        .category = TD_FLOATING, .f = n \
    }
#define REFUSED(code_, trial) assert_int_equal((trial).failure.code, code_)

static void test_sizes_overflow(void **state)
{
    (void)state;
    int64_t big = INT64_C(1) << 40, top = TD_ELEMENTS_MAX;
    struct trial t = TRY(zeros, A(DIMS(top), TD_F32));
    assert_int_equal(t.failure.code, TD_E_OK);
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(top, 2), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(top + 1), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(0, big, big), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(INT64_MAX, INT64_MAX), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(INT64_MIN, INT64_MIN), TD_F32)));
    REFUSED(TD_E_SHAPE, TRY(zeros, A(DIMS(3, -1), TD_F32)));
    struct td_meta one = META(TD_F32, 1), wide, tall;
    tall = TRY(expand, A(DIMS(big, 1)), META(TD_F32, 1, 1)).inference.out[0];
    wide = TRY(expand, A(DIMS(1, big)), META(TD_F32, 1, 1)).inference.out[0];
    REFUSED(TD_E_SHAPE, TRY(add, A(), tall, wide));
    REFUSED(TD_E_SHAPE, TRY(eq, A(), tall, wide));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), tall, wide));
    for (int64_t reduction = TD_NONE; reduction <= TD_SUM; reduction++)
        REFUSED(TD_E_SHAPE, TRY(mse_loss, A(reduction), tall, wide));
    REFUSED(TD_E_SHAPE, TRY(expand, A(DIMS(big, big)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(big, big, -1)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(INT64_MAX, INT64_MAX)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(INT64_MIN)), one));
    REFUSED(TD_E_SHAPE, TRY(reshape, A(DIMS(0, INT64_MAX, INT64_MAX)), META(TD_F32, 0)));
    struct td_meta many = TRY(expand, A(DIMS(big)), META(TD_I64, 1)).inference.out[0];
    REFUSED(TD_E_SHAPE, TRY(embedding, A(), META(TD_F32, 1, big), many));
    REFUSED(TD_E_SHAPE, TRY(index_select, A(0), META(TD_F32, 1, big), many));
}

static void test_rank_nine(void **state)
{
    (void)state;
    struct td_dims nine = {.count = 9, .v = {1, 1, 1, 1, 1, 1, 1, 1}};
    struct td_dims none = {.count = -1};
    struct td_meta one = META(TD_F32, 1), eight = META(TD_I64, 1, 1, 1, 1, 1, 1, 1, 1);
    REFUSED(TD_E_LIMIT, TRY(zeros, A(nine, 0)));
    REFUSED(TD_E_LIMIT, TRY(reshape, A(nine), one));
    REFUSED(TD_E_LIMIT, TRY(view, A(nine), one));
    REFUSED(TD_E_LIMIT, TRY(expand, A(nine), one));
    REFUSED(TD_E_LIMIT, TRY(sum, A(nine, 0), one));
    REFUSED(TD_E_LIMIT, TRY(strided_read, A(nine, nine, 0), one));
    REFUSED(TD_E_LIMIT, TRY(embedding, A(), META(TD_F32, 2, 2), eight));
    REFUSED(TD_E_ARGUMENT, TRY(zeros, A(none, 0)));
    REFUSED(TD_E_ARGUMENT, TRY(reshape, A(none), one));
    REFUSED(TD_E_ARGUMENT, TRY(expand, A(none), one));
    REFUSED(TD_E_DTYPE, TRY(zeros, A(DIMS(1), 256 + TD_F32)));
    REFUSED(TD_E_DTYPE, TRY(zeros, A(DIMS(1), -1)));
    REFUSED(TD_E_DTYPE, TRY(to, A(256 + TD_F32), one));
    REFUSED(TD_E_DTYPE, TRY(arange, A(I(0), I(1), I(1), 256 + TD_F32)));
}

static void test_slices_and_selects(void **state)
{
    (void)state;
    static const int64_t bounds[] = {INT64_MIN, INT64_MIN + 1, -6, -5, -1, 0, 1, 4, 5, 6, INT64_MAX - 1, INT64_MAX};
    static const int64_t steps[] = {1, 2, 5, INT64_MAX};
    struct td_meta x = META(TD_F32, 5, 1);
    for (size_t a = 0; a < sizeof bounds / 8; a++) {
        for (size_t b = 0; b < sizeof bounds / 8; b++) {
            for (size_t s = 0; s < sizeof steps / 8; s++) {
                struct trial t = TRY(slice, A(0, bounds[a], bounds[b], steps[s]), x);
                const struct td_meta *y = &t.inference.out[0];
                assert_int_equal(t.failure.code, TD_E_OK);
                assert_true(y->shape[0] >= 0 && y->shape[0] <= 5 && y->offset >= 0 && y->offset <= 5);
                assert_true(y->shape[0] <= 1 || y->offset + (y->shape[0] - 1) * y->stride[0] < 5);
            }
        }
        bool inside = bounds[a] >= -5 && bounds[a] < 5;
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(select, A(0, bounds[a]), x));
        inside = bounds[a] >= -2 && bounds[a] < 2;
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(transpose, A(bounds[a], 0), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(slice, A(bounds[a], 0, 1, 1), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(sum, A(DIMS(bounds[a]), 0), x));
        REFUSED(inside ? TD_E_OK : TD_E_INDEX, TRY(log_softmax, A(bounds[a]), x));
    }
    REFUSED(TD_E_ARGUMENT, TRY(slice, A(0, 0, 5, 0), x));
    REFUSED(TD_E_ARGUMENT, TRY(slice, A(0, 0, 5, INT64_MIN), x));
    REFUSED(TD_E_ARGUMENT, TRY(sum, A(DIMS(0, -2), 0), x));
}

/* Strides that no element uses can be as large as they like; nothing computed from them may overflow. */
static void test_strides_of_single_elements(void **state)
{
    (void)state;
    struct td_meta x = META(TD_F32, 2, 3, 4);
    for (int64_t d = 0; d < 3; d++)
        x = TRY(slice, A(d, 0, INT64_MAX, INT64_MAX), x).inference.out[0];
    struct td_meta y = x;
    for (int64_t d = 0; d < 3; d++)
        y = TRY(slice, A(d, 1, INT64_MAX, INT64_MAX), y).inference.out[0];
    assert_int_equal(td_meta_numel(&y), 0);
    REFUSED(TD_E_OK, TRY(reshape, A(DIMS(1, 1, 1, 1)), x));
    REFUSED(TD_E_OK, TRY(expand, A(DIMS(1, 1, 1, 1, 1)), x));
    REFUSED(TD_E_OK, TRY(expand, A(DIMS(5, 3, 2, 1)), x));
    REFUSED(TD_E_OK, TRY(select, A(0, 0), x));
    REFUSED(TD_E_OK, TRY(add, A(), x, META(TD_F32, 4, 4)));
    REFUSED(TD_E_OK, TRY(clone, A(), x));
    REFUSED(TD_E_OK, TRY(contiguous, A(), y));
    REFUSED(TD_E_OK, TRY(reshape, A(DIMS(0, 5)), y));
    REFUSED(TD_E_OK, TRY(fill_, A(), x, (struct td_meta){.dtype = TD_F32}));
}

static void test_windows(void **state)
{
    (void)state;
    struct td_meta x = META(TD_F32, 12), v = META(TD_F32, 2, 3), zero_d = {.dtype = TD_F32};
    REFUSED(TD_E_OK, TRY(strided_read, A(DIMS(3, 4), DIMS(1, 3), 0), x));
    REFUSED(TD_E_OK, TRY(strided_read, A(DIMS(12), DIMS(0), 11), x));
    REFUSED(TD_E_OK, TRY(strided_read, A(DIMS(0), DIMS(INT64_MAX), INT64_MAX), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(3, 4), DIMS(1, 3), 1), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(1), DIMS(1), 12), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(1), DIMS(1), -1), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(2), DIMS(-1), 5), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(-2), DIMS(1), 5), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(2, 2), DIMS(1), 5), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(3, 3), DIMS(INT64_MAX, INT64_MAX), INT64_MAX), x));
    REFUSED(TD_E_SHAPE, TRY(strided_read, A(DIMS(INT64_MAX, INT64_MAX), DIMS(0, 0), 0), x));
    REFUSED(TD_E_OK, TRY(strided_write, A(DIMS(2, 3), DIMS(6, 1), 2), x, v));
    REFUSED(TD_E_OK, TRY(strided_write, A(DIMS(2, 3), DIMS(6, 1), 2), x, zero_d));
    REFUSED(TD_E_SHAPE, TRY(strided_write, A(DIMS(3), DIMS(1), 0), x, v));
    REFUSED(TD_E_ARGUMENT, TRY(strided_write, A(DIMS(2, 3), DIMS(0, 1), 0), x, v));
    REFUSED(TD_E_OK, TRY(strided_add, A(DIMS(2, 3), DIMS(0, 1), 0), x, v));
    struct td_meta whole = {.dtype = TD_F64, .rank = 1, .shape = {3}, .stride = {1}};
    REFUSED(TD_E_DTYPE, TRY(strided_write, A(DIMS(3), DIMS(1), 0), META(TD_I64, 12), whole));
}

static void test_arange_and_randint(void **state)
{
    (void)state;
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(I(0), I(5), I(0), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(5), F(0), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(NAN), F(1), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(INFINITY), F(1), TD_I64)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(INFINITY), F(INFINITY), F(1), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(1), F(NAN), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0), F(1), F(1e-300), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(-1e308), F(1e308), F(1e-308), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(I(INT64_MIN), I(INT64_MAX), I(1), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(I(INT64_MAX), I(INT64_MIN), I(-1), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(I(INT64_MAX), I(INT64_MIN), I(INT64_MAX), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(arange, A(F(0.5), F(3.5), F(0.5), TD_I64))); /* a step of 0, once it is cut */
    REFUSED(TD_E_DTYPE, TRY(arange, A(I(0), I(3), I(1), TD_BOOL)));
    assert_int_equal(TRY(arange, A(I(INT64_MIN), I(INT64_MAX), I(INT64_MAX), 0)).inference.out[0].shape[0], 3);
    assert_int_equal(TRY(arange, A(I(INT64_MAX), I(INT64_MIN), I(INT64_MIN), 0)).inference.out[0].shape[0], 2);
    assert_int_equal(TRY(arange, A(I(0), I(TD_ELEMENTS_MAX), I(1), 0)).inference.out[0].shape[0], TD_ELEMENTS_MAX);
    REFUSED(TD_E_ARGUMENT, TRY(randint, A(0, 0, DIMS(2), 0)));
    REFUSED(TD_E_ARGUMENT, TRY(randint, A(INT64_MAX, INT64_MIN, DIMS(2), 0)));
    REFUSED(TD_E_OK, TRY(randint, A(INT64_MIN, INT64_MAX, DIMS(2), 0)));
    REFUSED(TD_E_DTYPE, TRY(randint, A(0, 2, DIMS(2), TD_BOOL)));
}

static void test_writes_and_losses(void **state)
{
    (void)state;
    struct td_meta x = META(TD_F32, 2, 3), row = META(TD_F32, 3), i64 = META(TD_I64, 2, 3);
    struct td_meta repeated = TRY(expand, A(DIMS(2, 3)), row).inference.out[0];
    struct td_meta half = {.dtype = TD_F32, .scalar = true};
    REFUSED(TD_E_ARGUMENT, TRY(add_, A(), repeated, row));
    REFUSED(TD_E_ARGUMENT, TRY(fill_, A(), repeated, half));
    REFUSED(TD_E_SHAPE, TRY(add_, A(), row, x));
    REFUSED(TD_E_SHAPE, TRY(fill_, A(), x, row));
    REFUSED(TD_E_DTYPE, TRY(add_, A(), i64, half));
    REFUSED(TD_E_OK, TRY(fill_, A(), i64, half));
    REFUSED(TD_E_ARGUMENT, TRY(mse_loss, A(3), x, x));
    REFUSED(TD_E_ARGUMENT, TRY(mse_loss, A(INT64_MIN), x, x));
    REFUSED(TD_E_ARGUMENT, TRY(cross_entropy, A(-1), x, META(TD_I64, 2)));
    REFUSED(TD_E_DTYPE, TRY(cross_entropy, A(TD_MEAN), x, META(TD_F32, 2)));
    REFUSED(TD_E_DTYPE, TRY(where, A(), x, x, x));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), x, x));
    REFUSED(TD_E_SHAPE, TRY(matmul, A(), x, row));
    REFUSED(TD_E_SHAPE, TRY(max, A(DIMS(1), 0), META(TD_F32, 2, 0)));
    REFUSED(TD_E_OK, TRY(max, A(DIMS(0), 0), META(TD_F32, 2, 0)));
}

/* Lists of many tensors: no position of an input may be shifted out of a mask. */
static void test_steps(void **state)
{
    (void)state;
    enum { PARAMS = TD_LIST_MAX };
    static struct td_meta in[2 * PARAMS + 1];
    struct td_failure failure = {0};
    struct td_sgd_step__attrs attrs = {.lr = 0.1, .momentum = 0.9};
    uint16_t counts[TD_PARAMS_MAX] = {PARAMS, PARAMS};
    struct td_inference i = {.op = td_op_named("sgd_step_"),
                             .in = in,
                             .in_count = 2 * PARAMS + 1,
                             .list_counts = counts,
                             .attrs = &attrs,
                             .failure = &failure};
    for (int k = 0; k < 2 * PARAMS; k++)
        in[k] = META(k % 2 ? TD_F32 : TD_F64, k % PARAMS, 2);
    in[2 * PARAMS] = META(TD_I64, PARAMS);
    assert_int_equal(td_infer(&i), TD_E_OK);
    assert_int_equal(i.out_count, 0);
    in[PARAMS + 40] = META(TD_F32, 41, 2);
    assert_int_equal(td_infer(&i), TD_E_SHAPE);
    in[PARAMS + 40] = in[40];
    failure = (struct td_failure){0};
    in[2 * PARAMS] = META(TD_I64, PARAMS - 1);
    assert_int_equal(td_infer(&i), TD_E_SHAPE);
    failure = (struct td_failure){0};
    i.in_count = PARAMS + 1;
    counts[1] = 0;
    in[PARAMS] = META(TD_I64, PARAMS);
    assert_int_equal(td_infer(&i), TD_E_ARGUMENT); /* momentum without states */
    failure = (struct td_failure){0};
    attrs.momentum = 0;
    assert_int_equal(td_infer(&i), TD_E_OK);
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
        cmocka_unit_test(test_sizes_overflow),
        cmocka_unit_test(test_rank_nine),
        cmocka_unit_test(test_slices_and_selects),
        cmocka_unit_test(test_strides_of_single_elements),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_arange_and_randint),
        cmocka_unit_test(test_writes_and_losses),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_dtypes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
