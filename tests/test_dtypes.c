/* Element types: what two meet in, as PyTorch has it; and narrow ones, which are computed in a wide type and rounded:
 * each op on them gives what it gives on their wide values, rounded once. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

#include "protocol/infer.h"

static const enum td_dtype narrow[] = {TD_U8, TD_I8, TD_I16, TD_F16, TD_BF16};
#define NARROW ((int)(sizeof narrow / sizeof *narrow))

/* ---- promotion ---- */

static uint8_t dtype_named(const char *name)
{
    for (uint8_t id = 1; id < TD_DTYPE_LIMIT; id++)
        if (!strcmp(td_dtype_name(id), name))
            return id;
    fail_msg("there is no element type %s", name);
    return 0;
}

static struct td_meta operand(const char *word)
{
    struct td_meta meta = {.rank = *word == 't', .shape = {2}, .stride = {1}, .scalar = *word == 'n'};
    const char *number = word + 1;
    meta.dtype = *word != 'n'              ? dtype_named(number)
                 : !strcmp(number, "bool") ? TD_BOOL
                 : !strcmp(number, "int")  ? TD_I64
                                           : TD_F32;
    return meta;
}

static void meet_as_in_pytorch(void **state)
{
    (void)state;
    char path[512], line[128], a[16], b[16], result[16];
    int cases = 0, fits;
    snprintf(path, sizeof path, "%s/tests/golden/promotion.txt", getenv("TENSORD_ROOT") ? getenv("TENSORD_ROOT") : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (*line == '#')
            continue;
        cases++;
        if (sscanf(line, "cast %15s %15s %d", a, b, &fits) == 3) {
            /* PyTorch's table also lets a signed result into u8 */
            assert_int_equal(td_dtype_can_cast(dtype_named(a), dtype_named(b)), fits);
            continue;
        }
        assert_int_equal(sscanf(line, "%15s %15s %15s", a, b, result), 3);
        struct td_failure failure = {0};
        struct td_meta in[2] = {operand(a), operand(b)};
        struct td_inference inference = {
            .op = td_op_of(TD_OP_add), .in = in, .in_count = 2, .attrs = "", .failure = &failure};
        assert_int_equal(td_infer(&inference), TD_E_OK);
        if (strcmp(td_dtype_name(inference.out[0].dtype), result))
            fail_msg("%s and %s meet in %s, not in %s", a, b, result, td_dtype_name(inference.out[0].dtype));
    }
    fclose(file);
    assert_int_equal(cases, 560);
}

/* ---- narrow types ---- */

/* Values that each type rounds, wraps or holds exactly; no op here divides integers by 0. */
static td_tensor values(enum td_dtype dtype, int64_t seed)
{
    td_manual_seed(s, (uint64_t)seed);
    if (td_dtype_category(dtype) == TD_FLOATING)
        return td_to(td_mul(td_randn(s, TD_SHAPE(37, 29)), 3.0), dtype);
    return td_to(td_randint(s, -300, 300, TD_SHAPE(37, 29)), dtype);
}

static td_tensor wide(td_tensor x)
{
    return td_to(x, (enum td_dtype)td_dtype_wide((uint8_t)td_dtype_of(x)));
}

/* got is of dtype, and holds what exact, rounded to it, does: nan too. */
static void same(td_tensor got, td_tensor exact, const char *what)
{
    enum td_dtype dtype = td_dtype_of(got);
    td_tensor due = td_to(exact, dtype);
    int64_t count = td_numel(due);
    double *a = malloc((size_t)count * sizeof *a + 1), *b = malloc((size_t)count * sizeof *b + 1);
    assert_int_equal(td_read(got, a, TD_F64, count), count);
    assert_int_equal(td_read(due, b, TD_F64, count), count);
    for (int64_t k = 0; k < count; k++)
        if (!(a[k] == b[k] || (isnan(a[k]) && isnan(b[k]))))
            fail_msg("%s of %s: element %d is %g where %g is due", what, td_dtype_torch_name((uint8_t)dtype), (int)k,
                     a[k], b[k]);
    td_layout la = td_layout_of(got), lb = td_layout_of(exact);
    assert_memory_equal(la.stride, lb.stride, sizeof la.stride);
    td_release(due);
    free(a);
    free(b);
}

#define SAME(dtype_, call_narrow, call_wide)                \
    do {                                                    \
        td_tensor got_ = call_narrow;                       \
        assert_int_equal(td_dtype_of(got_), (int)(dtype_)); \
        same(got_, call_wide, #call_narrow);                \
        assert_int_equal(td_error(s)->code, 0);             \
    } while (0)

static void give_what_wide_ones_do_rounded(void **state)
{
    (void)state;
    for (int n = 0; n < NARROW; n++) {
        TD_SCOPE(s);
        enum td_dtype t = narrow[n];
        bool floats = td_dtype_category((uint8_t)t) == TD_FLOATING;
        td_tensor x = values(t, 1), y = values(t, 2), X = wide(x), Y = wide(y);
        td_tensor rows = td_from(s, ((int64_t[]){5, 0, 5}), TD_I64, TD_SHAPE(3));
        SAME(t, td_add(x, y), td_add(X, Y));
        SAME(t, td_sub(x, y), td_sub(X, Y));
        SAME(t, td_mul(x, y), td_mul(X, Y));
        SAME(t, td_add(td_transpose(x, 0, 1), td_transpose(y, 0, 1)),
             td_add(td_transpose(X, 0, 1), td_transpose(Y, 0, 1)));
        SAME(t, td_mul(x, td_select(y, 0, 3)), td_mul(X, td_select(Y, 0, 3)));
        SAME(t, td_neg(x), td_neg(X));
        SAME(t, td_relu(x), td_relu(X));
        SAME(t, td_maximum(x, y), td_maximum(X, Y));
        SAME(t, td_where(td_gt(x, y), x, y), td_where(td_gt(X, Y), X, Y));
        SAME(TD_BOOL, td_lt(x, y), td_lt(X, Y));
        SAME(t, td_matmul(x, td_transpose(y, 0, 1)), td_matmul(X, td_transpose(Y, 0, 1)));
        SAME(t, td_cat(TD_LIST(x, y), .dim = 1), td_cat(TD_LIST(X, Y), .dim = 1));
        SAME(t, td_index_select(x, 0, rows), td_index_select(X, 0, rows));
        SAME(t, td_reshape(td_transpose(x, 0, 1), TD_SHAPE(-1)), td_reshape(td_transpose(X, 0, 1), TD_SHAPE(-1)));
        SAME(t, td_clone(td_slice(x, 1, .step = 2)), td_clone(td_slice(X, 1, .step = 2)));
        SAME(t, td_max(x), td_max(X));
        SAME(TD_I64, td_argmax(x), td_argmax(X));
        SAME(floats ? t : TD_I64, td_sum(x, .dims = TD_DIMS(0)), td_sum(X, .dims = TD_DIMS(0)));
        SAME(floats ? t : TD_F32, td_exp(td_mul(x, 0)), td_exp(td_mul(X, 0)));
        SAME(floats ? t : TD_F32, td_div(x, td_add(td_square(y), 1)),
             td_div(X, td_to(td_add(td_square(y), 1), td_dtype_of(Y))));
        SAME(t, td_full(s, TD_SHAPE(3), 7, .dtype = t), td_full(s, TD_SHAPE(3), 7));
        SAME(t, td_eye(s, 3, .dtype = t), td_eye(s, 3));
        SAME(t, td_arange(s, 0, 100, .dtype = t), td_arange(s, 0, 100));
        if (!floats)
            continue;
        SAME(t, td_softmax(x, 1), td_softmax(X, 1));
        SAME(t, td_mean(x, .dims = TD_DIMS(1)), td_mean(X, .dims = TD_DIMS(1)));
        SAME(t, td_tanh(x), td_tanh(X));
        SAME(t, td_mse_loss(x, y), td_mse_loss(X, Y));
    }
}

static void are_written_in_place(void **state)
{
    (void)state;
    for (int n = 0; n < NARROW; n++) {
        TD_SCOPE(s);
        enum td_dtype t = narrow[n];
        td_tensor x = values(t, 1), y = values(t, 2), X = wide(x), Y = wide(y);
        td_add_(td_select(td_transpose(x, 0, 1), 0, 4), td_select(y, 1, 2)); /* through a view with strides */
        td_add_(td_select(td_transpose(X, 0, 1), 0, 4), td_select(Y, 1, 2));
        same(x, X, "add_");
        X = wide(x);
        td_mul_(x, y);
        td_mul_(X, Y);
        same(x, X, "mul_");
        td_copy_(td_select(x, 0, 1), td_select(td_to(y, TD_F64), 0, 2));
        td_fill_(td_select(x, 0, 3), 5);
        assert_true(td_item(td_select(td_select(x, 0, 3), 0, 0)) == 5);
        assert_int_equal(td_sync(s), 0);
    }
}

/* Not in the target's type: what it does not hold is rounded once, in the end. */
static void meet_in_place_as_elsewhere(void **state)
{
    (void)state;
    td_tensor x = td_full(s, TD_SHAPE(2), 1e30);
    td_mul_(x, td_full(s, TD_SHAPE(2), 1e-40, .dtype = TD_F64));
    assert_true(td_item(td_select(x, 0, 0)) == (double)(float)((double)1e30f * 1e-40));
    static const enum td_dtype finer[] = {TD_BF16, TD_F32, TD_F64};
    for (int k = 0; k < 3; k++) {
        x = td_full(s, TD_SHAPE(2, 2), 1024, .dtype = TD_F16);
        td_mul_(td_select(x, 1, 0), td_full(s, TD_SHAPE(2), 0x1p-30, .dtype = finer[k])); /* f16 has no 0x1p-30 */
        assert_true(td_item(td_select(td_select(x, 0, 1), 0, 0)) == 0x1p-20);
        assert_true(td_item(td_select(td_select(x, 0, 1), 0, 1)) == 1024);
        assert_int_equal(td_dtype_of(x), TD_F16);
    }
    x = td_full(s, TD_SHAPE(1), 2, .dtype = TD_I32);
    td_add_(x, td_full(s, TD_SHAPE(1), (INT64_C(1) << 32) + 3, .dtype = TD_I64));
    assert_true(td_item(x) == 5);
}

static void round_numbers_first(void **state)
{
    (void)state;
    td_tensor x = td_full(s, TD_SHAPE(1), 5, .dtype = TD_U8);
    assert_true(td_item(td_lt(x, -1)) == 1); /* -1 is 255 there, as in PyTorch 1.13 */
    assert_true(td_item(td_neg(x)) == 251);
    td_tensor h = td_full(s, TD_SHAPE(1), 1.0, .dtype = TD_F16);
    assert_true(td_item(td_mul(h, 0.1)) == (double)td_f32_of_f16(td_f16_of_f32(0.1f)));
    assert_int_equal(td_dtype_of(td_add(h, td_full(s, TD_SHAPE(1), 2049))), TD_F16);
    assert_true(td_item(td_add(td_mul(h, 0), td_full(s, TD_SHAPE(1), 2049))) == 2048); /* i64 meets f16 as f16 */
    assert_true(isinf(td_item(td_mul(h, 1e6))));
}

static void have_gradients(void **state)
{
    (void)state;
    for (int n = 0; n < NARROW; n++) {
        TD_SCOPE(s);
        if (td_dtype_category((uint8_t)narrow[n]) != TD_FLOATING)
            continue;
        td_tensor x = td_set_requires_grad(td_detach(values(narrow[n], 1)), true),
                  X = td_set_requires_grad(wide(td_detach(x)), true);
        td_backward(td_sum(td_mul(td_mul(x, 2.0), 0.5)));
        td_backward(td_sum(td_mul(td_mul(X, 2.0), 0.5)));
        assert_int_equal(td_dtype_of(td_grad(x)), narrow[n]);
        same(td_grad(x), td_grad(X), "gradient");
    }
}

/* f16 and bf16 are stepped in f32 and rounded once; a state is of their type. */
static void halves_are_trained(void **state)
{
    (void)state;
    for (int n = 0; n < 2; n++) {
        enum td_dtype half = n ? TD_BF16 : TD_F16;
        td_tensor w = td_full(s, TD_SHAPE(3), 1.5, .dtype = half), average = td_zeros(s, TD_SHAPE(3), .dtype = half);
        td_set_requires_grad(w, true);
        td_optimizer *adam = td_adam(s, TD_LIST(w), .lr = 0.25);
        for (int k = 0; k < 40; k++) {
            td_zero_grad(adam);
            td_backward(td_sum(td_square(w)));
            td_tensor norm = td_clip_grad_norm_(s, TD_LIST(w), 1);
            assert_int_equal(td_dtype_of(norm), half);
            assert_true(k || fabs(td_item(norm) - sqrt(27)) < 0.02);
            td_release(norm);
            td_clip_grad_value_(s, TD_LIST(w), 0.5);
            td_step(adam);
        }
        assert_true(td_item(td_max(td_abs(w))) < 0.25);
        td_ema_step_(s, TD_LIST(w), TD_LIST(average), 0);
        assert_true(td_equal(average, td_detach(w)));
        td_optimizer_free(adam);
    }
    assert_int_equal(td_sync(s), 0);
}

static void are_printed_as_in_pytorch(void **state)
{
    (void)state;
    char *text = td_text(td_from(s, ((uint8_t[]){1, 200}), TD_U8, TD_SHAPE(2)));
    assert_string_equal(text, "tensor([  1, 200], dtype=torch.uint8)");
    free(text);
    text = td_text(td_from(s, ((int16_t[]){-1, 200}), TD_I16, TD_SHAPE(2)));
    assert_string_equal(text, "tensor([ -1, 200], dtype=torch.int16)");
    free(text);
    text = td_text(td_to(td_from(s, ((float[]){0.1f, 1.5f}), TD_F32, TD_SHAPE(2)), TD_F16));
    assert_string_equal(text, "tensor([0.1000, 1.5000], dtype=torch.float16)");
    free(text);
}

/* The same, asked of the library. */
static void asked_for(void **state)
{
    (void)state;
    td_tensor whole = td_ones(s, TD_SHAPE(2), .dtype = TD_I16), none = td_ones(s, TD_SHAPE(), .dtype = TD_F64);
    assert_int_equal(td_result_type(whole, 1), TD_I16);
    assert_int_equal(td_result_type(whole, true), TD_I16);
    assert_int_equal(td_result_type(whole, 1.5), TD_F32);
    assert_int_equal(td_result_type(whole, none), TD_F64);
    assert_int_equal(td_result_type(td_to(whole, TD_F16), none), TD_F16);
    assert_int_equal(td_result_type(none, td_to(whole, TD_I64)), TD_F64);
    assert_int_equal(td_result_type(td_ones(s, TD_SHAPE(2, 3)), td_to(whole, TD_BF16)), TD_F32); /* of any shapes */
    assert_int_equal(td_promote_types(TD_U8, TD_I8), TD_I16);
    assert_int_equal(td_promote_types(TD_F16, TD_BF16), TD_F32);
    assert_int_equal(td_promote_types(TD_F16, (enum td_dtype)99), TD_DTYPE_NONE);
    assert_true(td_can_cast(TD_I64, TD_U8) && td_can_cast(TD_F64, TD_F16) && td_can_cast(TD_BOOL, TD_F32));
    assert_false(td_can_cast(TD_F32, TD_I64) || td_can_cast(TD_U8, TD_BOOL) || td_can_cast((enum td_dtype)99, TD_F32));
    assert_int_equal(td_sync(s), 0);
    td_tensor failed = td_matmul(td_ones(s, TD_SHAPE(2, 3)), td_ones(s, TD_SHAPE(2, 3)));
    td_clear_error(s);
    assert_int_equal(td_result_type(whole, failed), TD_DTYPE_NONE);
    td_clear_error(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meet_as_in_pytorch),
        cmocka_unit_test_setup_teardown(give_what_wide_ones_do_rounded, open_session, close_session),
        cmocka_unit_test_setup_teardown(are_written_in_place, open_session, close_session),
        cmocka_unit_test_setup_teardown(meet_in_place_as_elsewhere, open_session, close_session),
        cmocka_unit_test_setup_teardown(round_numbers_first, open_session, close_session),
        cmocka_unit_test_setup_teardown(have_gradients, open_session, close_session),
        cmocka_unit_test_setup_teardown(halves_are_trained, open_session, close_session),
        cmocka_unit_test_setup_teardown(asked_for, open_session, close_session),
        cmocka_unit_test_setup_teardown(are_printed_as_in_pytorch, open_session, close_session),
    };
    return cmocka_run_group_tests_name("dtypes", tests, start, stop);
}
