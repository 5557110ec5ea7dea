/* How calls are written, against a real daemon: what is nested, lists, several results, parts, keywords by name.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

static void nested_calls_leave_nothing(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(2, 3)), w = td_ones(s, TD_SHAPE(3, 2));
    assert_int_equal(td_tensor_count(s), 2);
    td_tensor y = td_tanh(td_add(td_matmul(x, w), td_mul(td_sum(x), 0.5)));
    assert_int_equal(td_tensor_count(s), 3);
    assert_true(td_item(td_sum(td_relu(y))) > 0);
    assert_int_equal(td_rank(td_reshape(y, TD_SHAPE(-1))), 1);
    assert_false(td_same_storage(td_clone(y), td_clone(y)));
    assert_true(td_ok(td_view(y, TD_SHAPE(4))));
    free(td_text(td_neg(y)));
    assert_int_equal(td_tensor_count(s), 3);
    td_tensor z = td_add(td_take(y), td_take(y)); /* used up once */
    assert_int_equal(td_tensor_count(s), 3);
    assert_false(td_ok(y));
    td_relu(y);
    expect_error(TD_E_HANDLE, "relu: x is used after it was released", 0);
    td_tensor chosen = td_neg(td_ok(z) ? z : x); /* neither is used up */
    assert_true(td_ok(x) && td_ok(z) && td_ok(chosen));
    td_tensor filled = td_fill_(td_zeros(s, TD_SHAPE(2)), 3); /* the target goes on */
    assert_true(td_item(td_sum(filled)) == 6);
    td_release(filled);
    td_release(filled);
    expect_error(TD_E_HANDLE, "release", 0);
}

static void lists_use_up_what_is_written_inside(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(2)), y = td_zeros(s, TD_SHAPE(2)), array[] = {x, y, td_mul(x, 3)};
    td_tensor all = td_cat(TD_LIST(x, td_mul(x, 10), td_fill_(td_clone(y), 5), td_ok(x) ? x : y, td_take(array[2])));
    assert_int_equal(td_tensor_count(s), 3);
    assert_true(td_item(td_sum(all)) == 1 * 2 + 10 * 2 + 5 * 2 + 1 * 2 + 3 * 2);
    assert_true(td_ok(x) && td_ok(y) && !td_ok(array[2]));
    array[2] = td_mul(x, 3);
    td_tensor rows = td_stack(TD_LIST_OF(3, array), .dim = -1); /* an array keeps what it has */
    assert_int_equal(td_size(rows, 1), 3);
    assert_int_equal(td_tensor_count(s), 5);
    td_tensor nested = td_neg(td_cat(TD_LIST(td_stack(TD_LIST(td_neg(x), y)), rows), .dim = 1));
    assert_int_equal(td_tensor_count(s), 6);
    assert_int_equal(td_size(nested, 1), 5);
    td_cat(TD_LIST(td_neg(x), td_reshape(td_neg(y), TD_SHAPE(1, 2)))); /* refused, and used up all the same */
    expect_error(TD_E_SHAPE, "cat", __LINE__ - 1);
    assert_int_equal(td_tensor_count(s), 7); /* the failed result */
    td_tensor (*join)(td_list, const struct td_cat_keywords *) = td_cat;
    assert_int_equal(td_numel(join(TD_LIST(x, y), NULL)), 4);
    assert_int_equal(td_sync(s), 0);
}

#define FOUR(x) td_neg(x), td_neg(x), td_neg(x), td_neg(x)

static void long_lists(void **state)
{
    (void)state;
    static td_tensor many[1025];
    td_tensor x = td_full(s, TD_SHAPE(1), 2.0);
    for (int k = 0; k < 1025; k++)
        many[k] = x;
    assert_true(td_item(td_sum(td_cat(TD_LIST_OF(1024, many)))) == 2048);
    td_cat(TD_LIST_OF(1025, many));
    expect_error(TD_E_LIMIT, "more than 1024 tensors", 0);
    int64_t held = td_tensor_count(s);
    /* Beyond what one request can say is used up. */
    td_tensor all = td_cat(TD_LIST(td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x),
                                   td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x),
                                   td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x),
                                   td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x),
                                   td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x), td_neg(x)));
    assert_true(td_item(td_sum(all)) == -70);
    assert_int_equal(td_tensor_count(s), held + 1);
    assert_int_equal(td_numel(td_cat(TD_LIST(FOUR(x)))), 4); /* behind a macro of one's own: nothing can be told */
    assert_int_equal(td_tensor_count(s), held + 5);
    assert_int_equal(td_sync(s), 0);
}

static void ops_with_several_results(void **state)
{
    (void)state;
    td_tensor x = td_from(s, (const float[]){3, 1, 2, 9, 7, 8}, TD_F32, TD_SHAPE(2, 3), .requires_grad = true);
    td_indexed top = td_max_dim(x, 1, .keepdim = true);
    assert_int_equal(td_tensor_count(s), 3);
    assert_true(td_dtype_of(top.values) == TD_F32 && td_dtype_of(top.indices) == TD_I64);
    assert_true(td_requires_grad(top.values) && !td_requires_grad(top.indices));
    assert_true(td_item(td_sum(top.values)) == 12 && td_item(td_sum(top.indices)) == 0);
    td_indexed none = td_min_dim(x, 2);
    assert_false(td_ok(none.values) || td_ok(none.indices));
    expect_error(TD_E_INDEX, "min_dim", __LINE__ - 2);
    td_release(td_take(top.indices));
    assert_true(td_item(td_sum(td_gather(x, 1, td_argmax(x, .dim = 1, .keepdim = true)))) == 12);
    assert_true(td_item(td_argmin(x)) == 1);
}

static void chunks_are_views(void **state)
{
    (void)state;
    td_tensor x = td_arange(s, 0, 10, .dtype = TD_F32), parts[5] = {{0}};
    assert_int_equal(td_chunk(x, 4, parts), 4); /* 3, 3, 3, 1 */
    assert_true(td_size(parts[0], 0) == 3 && td_size(parts[3], 0) == 1 && td_same_storage(parts[2], x));
    assert_true(td_item(parts[3]) == 9);
    assert_null(parts[4].session);
    assert_int_equal(td_chunk(td_slice(x, 0, .end = 5), 4, parts), 3); /* 2, 2, 1 */
    assert_true(td_item(parts[2]) == 4);
    assert_int_equal(td_tensor_count(s), 1 + 4 + 3);
    td_tensor table = td_reshape(x, TD_SHAPE(2, 5));
    assert_int_equal(td_chunk(table, 2, parts, .dim = -1), 2);
    assert_int_equal(td_size(parts[1], 1), 2);
    assert_int_equal(td_chunk(td_zeros(s, TD_SHAPE(0, 2)), 3, parts), 3); /* as in PyTorch */
    assert_int_equal(td_size(parts[2], 0), 0);
    assert_int_equal(td_chunk(x, 0, parts), 0);
    expect_error(TD_E_ARGUMENT, "chunk: 0", __LINE__ - 1);
    assert_int_equal(td_chunk(x, 2, parts, .dim = 1), 2);
    expect_error(TD_E_INDEX, "dimension 1 does not exist", __LINE__ - 1);
    assert_false(td_ok(parts[0]) || td_ok(parts[1]));
    assert_int_equal(td_sync(s), 0);
}

static void parts_and_what_ops_make(void **state)
{
    (void)state;
    td_tensor x = td_reshape(td_arange(s, 0, 12, .dtype = TD_F32), TD_SHAPE(3, 4)), parts[5] = {{0}};
    assert_int_equal(td_split(x, TD_SHAPE(3), parts, .dim = 1), 2); /* 3, 1 */
    assert_true(td_size(parts[1], 1) == 1 && td_same_storage(parts[1], x));
    assert_int_equal(td_split(td_neg(x), TD_SHAPE(1, 2), parts), 2);
    assert_true(td_item(td_sum(parts[0])) == -6);
    assert_int_equal(td_split(x, TD_SHAPE(1, 1), parts), 0);
    expect_error(TD_E_ARGUMENT, "split: the sizes", __LINE__ - 1);
    assert_int_equal(td_tensor_split(x, TD_DIMS(1, -1, 9), parts, .dim = -1), 4);
    assert_int_equal(td_size(parts[0], 1), 1);
    assert_int_equal(td_size(parts[1], 1), 2);
    assert_int_equal(td_size(parts[2], 1), 1);
    assert_int_equal(td_size(parts[3], 1), 0);
    assert_true(td_same_storage(parts[1], x));
    assert_int_equal(td_tensor_split(x, 3, parts, .dim = -1), 3); /* 2, 1, 1 */
    assert_true(td_size(parts[0], 1) == 2 && td_item(td_sum(parts[2])) == 3 + 7 + 11);
    assert_int_equal(td_unbind(x, parts, .dim = 1), 4);
    assert_true(td_rank(parts[3]) == 1 && td_item(td_sum(parts[3])) == 21);
    int64_t before = td_tensor_count(s);
    assert_true(td_item(td_trace(x)) == 0 + 5 + 10);
    assert_true(td_item(td_sum(td_diag(x, 1))) == 1 + 6 + 11);
    assert_true(td_item(td_sum(td_diag(td_diag(x, -1), 0))) == 4 + 9);
    assert_true(td_item(td_select(td_select(td_rot90(x, 1, 0, 1), 0, 0), 0, 2)) == 11);
    assert_true(td_item(td_select(td_select(td_rot90(x, -1, 0, 1), 0, 0), 0, 0)) == 8);
    assert_int_equal(td_size(td_tile(x, TD_SHAPE(2)), 1), 8);
    assert_true(td_item(td_sum(td_reshape_as(x, td_zeros(s, TD_SHAPE(12))))) == 66);
    assert_int_equal(td_numel(td_expand_as(td_ones(s, TD_SHAPE(1, 4)), x)), 12);
    td_tensor hot = td_one_hot(td_from(s, (const int64_t[]){2, 0}, TD_I64, TD_SHAPE(2)), 3);
    assert_true(td_size(hot, 1) == 3 && td_item(td_select(td_select(hot, 0, 0), 0, 2)) == 1);
    td_release(hot);
    hot = td_one_hot(td_from(s, (const int64_t[]){2, 0, 4}, TD_I64, TD_SHAPE(3, 1)), -1);
    assert_true(td_rank(hot) == 3 && td_size(hot, 2) == 5);
    assert_true(td_item(td_sum(td_argmax(hot, .dim = 2))) == 6 && td_item(td_sum(hot)) == 3);
    td_release(hot);
    assert_int_equal(td_tensor_count(s), before);
    assert_int_equal(td_sync(s), 0);
}

static void integers_of_32_bits(void **state)
{
    (void)state;
    int32_t back[3];
    int64_t wide[3];
    td_tensor x = td_from(s, (const int32_t[]){1, -2, INT32_MAX}, TD_I32, TD_SHAPE(3));
    assert_int_equal(td_dtype_of(td_add(x, 1)), TD_I32);
    assert_int_equal(td_dtype_of(td_add(x, td_ones(s, TD_SHAPE(3), .dtype = TD_I64))), TD_I64);
    assert_int_equal(td_dtype_of(td_sum(x)), TD_I64);
    assert_int_equal(td_dtype_of(td_div(x, 2)), TD_F32);
    assert_int_equal(td_read(td_mul(x, 2), back, TD_I32, 3), 3);
    assert_true(back[0] == 2 && back[1] == -4 && back[2] == -2);
    assert_int_equal(td_read(x, wide, TD_I64, 3), 3);
    assert_true(wide[1] == -2 && wide[2] == INT32_MAX);
    assert_int_equal(td_read(td_from(s, (const double[]){1.9, -1.9}, TD_F64, TD_SHAPE(2)), back, TD_I32, 3), 2);
    assert_true(back[0] == 1 && back[1] == -1);
    char *text = td_text(x);
    assert_string_equal(text, "tensor([         1,         -2, 2147483647], dtype=torch.int32)");
    free(text);
    assert_int_equal(td_sync(s), 0);
}

/* ---- in place ---- */

static void ops_in_place(void **state)
{
    (void)state;
    td_tensor x = td_from(s, (const float[]){1, 4, 9, 16}, TD_F32, TD_SHAPE(2, 2)), row = td_select(x, 0, 1);
    td_sqrt_(x);
    assert_true(td_item(td_sum(row)) == 7); /* the storage is the same */
    assert_int_equal(td_tensor_count(s), 2);
    td_release(td_sub_(td_select(x, 0, 1), 1)); /* through a view, which the call returns */
    td_div_(row, td_full(s, TD_SHAPE(), 2.0));
    td_clamp_(x, .min = 1.25);
    assert_true(td_item(td_sum(x)) == 1.25 + 2 + 1.25 + 1.5);
    assert_true(td_item(td_sum(td_neg_(td_clone(x)))) == -6);
    td_masked_fill_(x, td_gt(x, 1.3), 0);
    assert_true(td_item(td_sum(x)) == 2.5);
    td_ge_(x, 1);
    assert_true(td_item(td_sum(x)) == 2 && td_dtype_of(x) == TD_F32);
    assert_int_equal(td_tensor_count(s), 2);
    assert_int_equal(td_sync(s), 0);
}

static void gradients_pass_what_is_in_place(void **state)
{
    (void)state;
    double g[4];
    td_tensor leaf = td_from(s, (const double[]){1, 2, 3, 4}, TD_F64, TD_SHAPE(2, 2), .requires_grad = true);
    td_tensor y = td_mul(leaf, 3), row = td_select(y, 0, 1);
    td_square_(row);                                             /* the second row: 9 x^2 */
    td_pow_(y, 2);                                               /* 9 x^2, 81 x^4 */
    td_backward(td_sum(td_addcmul_(y, leaf, leaf, .value = 2))); /* and 2 x^2 */
    assert_int_equal(td_read(td_grad(leaf), g, TD_F64, 4), 4);
    for (int k = 0; k < 4; k++) {
        double x = k + 1;
        assert_true(fabs(g[k] - (k < 2 ? 22 * x : 324 * x * x * x + 4 * x)) < 1e-9);
    }
    td_exp_(leaf);
    expect_error(TD_E_GRAD, "exp_: the target is a leaf that requires a gradient", __LINE__ - 1);
    {
        TD_NO_GRAD(s);
        td_exp_(leaf);
    }
    assert_int_equal(td_sync(s), 0);
}

static void refusals_in_place(void **state)
{
    (void)state;
    td_tensor whole = td_ones(s, TD_SHAPE(3), .dtype = TD_I64), x = td_ones(s, TD_SHAPE(3));
    td_exp_(whole);
    expect_error(TD_E_DTYPE, "exp_: a result of f32 does not go into a tensor of i64", __LINE__ - 1);
    td_sub_(x, td_ones(s, TD_SHAPE(2, 3)));
    expect_error(TD_E_SHAPE, "sub_: a result of shape (2, 3) does not fit into the target's shape (3)", __LINE__ - 1);
    td_release(td_relu_(td_expand(x, TD_SHAPE(2, 3))));
    expect_error(TD_E_ARGUMENT, "relu_: the target's elements share memory", __LINE__ - 1);
    td_fmod_(x, td_ones(s, TD_SHAPE(2)));
    expect_error(TD_E_SHAPE, "fmod", __LINE__ - 1);
    assert_true(td_item(td_sum(x)) == 3 && td_item(td_sum(whole)) == 3);
    assert_int_equal(td_tensor_count(s), 2);
    td_item(td_floor_divide(whole, 0));
    expect_error(TD_E_ARGUMENT, "floor_divide: an integer is divided by 0", __LINE__ - 1);
    assert_true(td_item(td_sum(td_remainder(td_neg(whole), 3))) == 6);
}

/* ---- the compiler's part ---- */

/* 0 if the compiler takes this body of a function of (td_session *s, td_tensor x). */
static int compile(const char *flags, const char *body)
{
    char command[1024];
    const char *root = getenv("TENSORD_ROOT"), *cc = getenv("CC");
    snprintf(command, sizeof command,
             "printf '#include <tensord.h>\\ntd_tensor f(td_session *s, td_tensor x); td_tensor f(td_session *s, "
             "td_tensor x) { (void)s; (void)x; %s }' | %s %s -I%s/client -c -o /dev/null -x c - 2>/dev/null",
             body, cc ? cc : "gcc", flags, root ? root : ".");
    return system(command);
}

static void keywords_are_given_by_name(void **state)
{
    (void)state;
    const char *const right[] = {"return td_sum(x);",
                                 "return td_sum(x, .keepdim = true, .dims = TD_DIMS(0, 1));",
                                 "return td_zeros(s, TD_SHAPE(), .requires_grad = true);",
                                 "return td_sum(td_sum(td_sum(x, .keepdim = 1), .dims = TD_DIMS(1)));",
                                 "return td_cat(TD_LIST(x, td_mul(x, td_item(td_sum(x)))), .dim = 0);",
                                 "td_tensor p[2]; td_chunk(td_relu(x), 2, p, .dim = 1); return td_stack(TD_LIST(*p));",
                                 "return td_max_dim(td_clamp(x, .min = 0), 1, .keepdim = true).values;",
                                 "return td_dropout(x, .p = 0.1, .training = false);",
                                 "td_backward(x, .create_graph = true); return td_argmax(x);",
                                 "const bool b = true; const float l = 1; return td_mul(td_mul(x, b), td_mul(x, l));",
                                 "return td_from(s, (const float[]){1, 2}, TD_F32, TD_SHAPE(2), .requires_grad = 1);"};
    const char *const wrong[] = {"return td_sum(x, 1);",
                                 "return td_sum(x, TD_DIMS(1));",
                                 "return td_sum(x, true);",
                                 "return td_zeros(s, TD_SHAPE(1), TD_F32);",
                                 "td_backward(x, true); return x;",
                                 "td_sgd(s, TD_LIST(x), 0.1); return x;",
                                 "return td_mul(x, x, x);",
                                 "return td_cat(TD_LIST(x, x), 1);",
                                 "return td_cat(x);",
                                 "return td_dropout(s, x);",
                                 "return td_max_dim(x, 1);",
                                 "return td_from(s, &x, TD_F32, TD_SHAPE(2), true);",
                                 "return td_mul(x, s);"};
    for (size_t k = 0; k < sizeof right / sizeof *right; k++) {
        if (compile("-std=gnu11 -O0 -Wall -Wextra -Werror -Wshadow", right[k]) ||
            compile("-std=gnu11 -O2 -Wall -Wextra -Werror", right[k]))
            fail_msg("does not compile: %s", right[k]);
    }
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
        if (!compile("-std=gnu11 -w", wrong[k]))
            fail_msg("compiles: %s", wrong[k]);
}

static void tensors_that_may_be_left_out(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(2, 3)), w = td_ones(s, TD_SHAPE(4, 3)), bias = td_full(s, TD_SHAPE(4), 0.5);
    assert_true(td_item(td_sum(td_linear(x, w))) == 24);
    assert_true(td_item(td_sum(td_linear(x, w, .bias = bias))) == 28);
    assert_int_equal(td_tensor_count(s), 3);
    td_linear(x, w, .bias = x);
    expect_error(TD_E_SHAPE, "linear: the bias has shape (2, 3) beside a weight of shape (4, 3)", __LINE__ - 1);
    td_release(bias);
    td_linear(x, w, .bias = bias); /* which is not the same as none */
    expect_error(TD_E_HANDLE, "linear: bias is used after it was released", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

static void pixels_are_shuffled(void **state)
{
    (void)state;
    static const float due[] = {0, 2, 1, 3, 4, 6, 5, 7}; /* torch.pixel_shuffle(torch.arange(8).view(4, 1, 2), 2) */
    float found[8];
    td_tensor x = td_reshape(td_arange(s, 0, 8, .dtype = TD_F32), TD_SHAPE(4, 1, 2));
    int64_t before = td_tensor_count(s);
    td_tensor y = td_pixel_shuffle(x, 2);
    assert_int_equal(td_tensor_count(s), before + 1);
    assert_true(td_size(y, 0) == 1 && td_size(y, 1) == 2 && td_size(y, 2) == 4);
    assert_int_equal(td_read(y, found, TD_F32, 8), 8);
    assert_memory_equal(found, due, sizeof due);
    assert_true(td_item(td_sum(td_abs(td_sub(td_pixel_unshuffle(td_take(y), 2), x)))) == 0);
    assert_int_equal(td_numel(td_pixel_shuffle(td_zeros(s, TD_SHAPE(0, 9, 2, 2)), 3)), 0);
    td_tensor wrong = td_pixel_shuffle(x, 3);
    expect_error(TD_E_SHAPE, "pixel_shuffle: x of shape (4, 1, 2) and a factor of 3", __LINE__ - 1);
    assert_false(td_ok(td_pixel_unshuffle(wrong, 2)));
    td_clear_error(s);
    td_pixel_unshuffle(x, 2);
    expect_error(TD_E_SHAPE, "pixel_unshuffle: x of shape (4, 1, 2) and a factor of 2", __LINE__ - 1);
    td_pixel_unshuffle(x, 0);
    expect_error(TD_E_SHAPE, "pixel_unshuffle: x of shape (4, 1, 2) and a factor of 0", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

/* Of a window's places only those are searched, and have memory, that lie in the image. */
static void windows_far_wider_than_the_image(void **state)
{
    (void)state;
    const int64_t half = 1 << 29;
    td_tensor x = td_reshape(td_arange(s, 0, 128, .dtype = TD_F32), TD_SHAPE(2, 8, 8));
    td_indexed small = td_max_pool2d(x, TD_SHAPE(16), .stride = TD_DIMS(1), .padding = TD_DIMS(8));
    td_indexed great = td_max_pool2d(x, TD_SHAPE(2 * half), .stride = TD_DIMS(1), .padding = TD_DIMS(half));
    td_indexed apart =
        td_max_pool2d(x, TD_SHAPE(2 * half), .stride = TD_DIMS(half), .padding = TD_DIMS(half), .ceil_mode = true);
    assert_true(td_size(great.values, 2) == 9 && td_item(td_all(td_eq(small.values, great.values))));
    assert_true(td_item(td_all(td_eq(small.indices, great.indices))));
    assert_true(td_numel(apart.indices) == 8 && td_item(td_all(td_eq(apart.indices, td_scalar(s, 63)))));
    assert_int_equal(td_sync(s), 0);
}

static void windows_and_their_refusals(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(2, 3, 8, 8)), w = td_ones(s, TD_SHAPE(4, 3, 3, 3));
    td_tensor y = td_conv2d(x, w, .stride = TD_DIMS(2), .padding = TD_DIMS(1, 0));
    assert_true(td_size(y, 2) == 4 && td_size(y, 3) == 3);
    assert_int_equal(td_size(td_conv2d(x, w, .same = true), 3), 8);
    td_indexed best = td_max_pool2d(td_neg(x), TD_SHAPE(2), .stride = TD_DIMS(1, 3));
    assert_true(td_size(best.indices, 3) == 3 && td_item(td_sum(best.values)) == -2 * 3 * 7 * 3);
    assert_true(td_item(td_mean(td_avg_pool2d(x, TD_SHAPE(3), .padding = TD_DIMS(1), .count_include_pad = false))) ==
                1);
    assert_int_equal(td_numel(td_adaptive_avg_pool2d(x, TD_SHAPE(1, 5))), 30);
    td_conv2d(x, w, .groups = 3);
    expect_error(TD_E_SHAPE, "a weight of shape (4, 3, 3, 3) in 3 groups", __LINE__ - 1);
    td_conv2d(x, td_ones(s, TD_SHAPE(1, 3, 9, 9)));
    expect_error(TD_E_SHAPE, "conv2d: filters of shape (1, 3, 9, 9) reach over 9", __LINE__ - 1);
    td_conv2d(x, w, .stride = TD_DIMS(1, 1, 1));
    expect_error(TD_E_ARGUMENT, "conv2d: stride has 3 entries for 2 dimensions", __LINE__ - 1);
    td_conv2d(x, w, .stride = TD_DIMS(0));
    expect_error(TD_E_ARGUMENT, "conv2d: stride 0 is not from 1", __LINE__ - 1);
    td_conv2d(x, w, .dilation = TD_DIMS(INT64_MAX));
    expect_error(TD_E_ARGUMENT, "conv2d: dilation", __LINE__ - 1);
    td_conv1d(x, w);
    expect_error(TD_E_SHAPE, "(batch, channels, length) or (channels, length)", __LINE__ - 1);
    td_max_pool2d(x, TD_SHAPE(2), .padding = TD_DIMS(2));
    expect_error(TD_E_ARGUMENT, "max_pool2d: padding 2 is more than half of the window of 2", __LINE__ - 1);
    td_max_pool2d(x, TD_SHAPE(9));
    expect_error(TD_E_SHAPE, "max_pool2d: a window over 9 elements does not", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

/* PyTorch's second names are the same functions, also where they are written inside others. */
static void second_names(void **state)
{
    (void)state;
    td_tensor x = td_from(s, ((const double[]){-0.5, 0.25, 0.75}), TD_F64, TD_SHAPE(3)), y = td_add(x, 1);
    int64_t held = td_tensor_count(s);
    assert_true(td_equal(td_absolute(x), td_abs(x)));
    assert_true(td_equal(td_arccos(x), td_acos(x)));
    assert_true(td_equal(td_arcsin(x), td_asin(x)));
    assert_true(td_equal(td_arctan(x), td_atan(x)));
    assert_true(td_equal(td_arctan2(x, y), td_atan2(x, y)));
    assert_true(td_equal(td_arcsinh(x), td_asinh(x)));
    assert_true(td_equal(td_arctanh(x), td_atanh(x)));
    assert_true(td_equal(td_arccosh(td_add(y, 1)), td_acosh(td_add(y, 1))));
    assert_true(td_equal(td_clip(x, .min = 0), td_clamp(x, .min = 0)));
    assert_true(td_equal(td_divide(td_multiply(x, y), td_subtract(x, y)), td_div(td_mul(x, y), td_sub(x, y))));
    assert_true(td_equal(td_negative(td_fix(td_mul(x, 4))), td_neg(td_trunc(td_mul(x, 4)))));
    assert_true(td_equal(td_logical_or(td_less(x, 0.5), td_greater(x, y)), td_logical_or(td_lt(x, 0.5), td_gt(x, y))));
    assert_true(td_equal(td_logical_or(td_less_equal(x, 0.25), td_greater_equal(x, y)), td_le(x, 0.25)));
    assert_true(td_equal(td_not_equal(x, 0.25), td_ne(x, 0.25)));
    assert_true(td_equal(td_concat(TD_LIST(x, y)), td_cat(TD_LIST(x, y))));
    assert_true(td_equal(td_row_stack(TD_LIST(x, y)), td_vstack(TD_LIST(x, y))));
    assert_true(td_equal(td_ravel(td_row_stack(TD_LIST(x, y))), td_cat(TD_LIST(x, y))));
    assert_true(
        td_equal(td_moveaxis(td_row_stack(TD_LIST(x, y)), TD_DIMS(0), TD_DIMS(1)), td_stack(TD_LIST(x, y), .dim = 1)));
    assert_true(td_equal(td_index_put(x, 9, TD_RANGE(1, TD_END, 1)), td_where(td_eq(x, -0.5), x, 9)));
    assert_true(td_item(td_select(x, 0, 1)) == 0.25);
    td_tensor z = td_clip_(td_negative_(td_multiply_(td_clone(x), 4)), .max = 1);
    assert_true(td_equal(z, td_clamp(td_mul(x, -4), .max = 1)));
    td_release(td_requires_grad_(z, true));
    assert_int_equal(td_tensor_count(s), held);
    assert_int_equal(td_sync(s), 0);
}

int main(void)
{
#define WITH_SESSION(test) cmocka_unit_test_setup_teardown(test, open_session, close_session)
    const struct CMUnitTest tests[] = {
        WITH_SESSION(nested_calls_leave_nothing),
        WITH_SESSION(lists_use_up_what_is_written_inside),
        WITH_SESSION(long_lists),
        WITH_SESSION(ops_with_several_results),
        WITH_SESSION(chunks_are_views),
        WITH_SESSION(parts_and_what_ops_make),
        WITH_SESSION(integers_of_32_bits),
        WITH_SESSION(ops_in_place),
        WITH_SESSION(gradients_pass_what_is_in_place),
        WITH_SESSION(refusals_in_place),
        WITH_SESSION(tensors_that_may_be_left_out),
        WITH_SESSION(windows_far_wider_than_the_image),
        WITH_SESSION(windows_and_their_refusals),
        WITH_SESSION(pixels_are_shuffled),
        WITH_SESSION(second_names),
        cmocka_unit_test(keywords_are_given_by_name),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
