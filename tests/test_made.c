/* Functions that the library makes of several ops, against what PyTorch prints of them; their gradients, their errors,
 * and that they leave nothing behind. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

static td_tensor x, y, row, m, i, i2, n, low, high, b, w, v;

/* result prints as text; it is released. */
static void expect_at(int line, td_tensor result, const char *text)
{
    char *found = td_text(result);
    if (strcmp(found, text))
        fail_msg("line %d: %s\nwhere %s is due", line, found, text);
    free(found);
    td_release(result);
}
#define expect(result, text) expect_at(__LINE__, result, text)

#define ROW(type, dtype, ...) \
    td_from(s, ((const type[]){__VA_ARGS__}), dtype, TD_SHAPE(sizeof((const type[]){__VA_ARGS__}) / sizeof(type)))

static void make_inputs(void)
{
    x = td_reshape(ROW(float, TD_F32, 1, -2, 3, 0.5f, 4, -1), TD_SHAPE(2, 3));
    y = td_reshape(ROW(float, TD_F32, 2, -2, 1, 0.5f, 8, NAN), TD_SHAPE(2, 3));
    row = ROW(float, TD_F32, 1, 4, 9, 16);
    m = td_reshape(td_arange(s, 0, 12, .dtype = TD_F32), TD_SHAPE(3, 4));
    i = ROW(int64_t, TD_I64, 0, -1, 3);
    i2 = td_reshape(ROW(int64_t, TD_I64, 1, 0, 2), TD_SHAPE(1, 3));
    n = ROW(int64_t, TD_I64, 3, 1, 2);
    low = ROW(float, TD_F32, 0, 0, 4);
    high = ROW(float, TD_F32, 2, 3, 4);
    b = ROW(uint8_t, TD_BOOL, 1, 0, 1);
    w = ROW(float, TD_F32, 5, 6, 7);
    v = ROW(float, TD_F32, 5, 6);
}

static void arithmetic_and_comparison(void **state)
{
    (void)state;
    make_inputs();
    int64_t held = td_tensor_count(s);
    expect(td_fliplr(x), "tensor([[ 3.0000, -2.0000,  1.0000],\n"
                         "        [-1.0000,  4.0000,  0.5000]])");
    expect(td_flipud(x), "tensor([[ 0.5000,  4.0000, -1.0000],\n"
                         "        [ 1.0000, -2.0000,  3.0000]])");
    expect(td_deg2rad(row), "tensor([0.0175, 0.0698, 0.1571, 0.2793])");
    expect(td_rad2deg(n), "tensor([171.8873,  57.2958, 114.5916])");
    expect(td_sgn(x), "tensor([[ 1., -1.,  1.],\n"
                      "        [ 1.,  1., -1.]])");
    expect(td_swapaxes(m, 0, -1), "tensor([[ 0.,  4.,  8.],\n"
                                  "        [ 1.,  5.,  9.],\n"
                                  "        [ 2.,  6., 10.],\n"
                                  "        [ 3.,  7., 11.]])");
    expect(td_swapdims(m, 0, 1), "tensor([[ 0.,  4.,  8.],\n"
                                 "        [ 1.,  5.,  9.],\n"
                                 "        [ 2.,  6., 10.],\n"
                                 "        [ 3.,  7., 11.]])");
    expect(td_diff(row), "tensor([3., 5., 7.])");
    expect(td_diff(row, .n = 2), "tensor([2., 2.])");
    expect(td_diff(row, .n = 9), "tensor([])");
    expect(td_diff(m, .dim = 0), "tensor([[4., 4., 4., 4.],\n"
                                 "        [4., 4., 4., 4.]])");
    expect(td_diff(b), "tensor([True, True])");
    expect(td_diff(m, .n = 0, .dim = 1), "tensor([[ 0.,  1.,  2.,  3.],\n"
                                         "        [ 4.,  5.,  6.,  7.],\n"
                                         "        [ 8.,  9., 10., 11.]])");
    expect(td_amax(x), "tensor(4.)");
    expect(td_amax(x, .dims = TD_DIMS(1), .keepdim = true), "tensor([[3.],\n"
                                                            "        [4.]])");
    expect(td_amin(x, .dims = TD_DIMS(0)), "tensor([ 0.5000, -2.0000, -1.0000])");
    expect(td_nansum(y), "tensor(9.5000)");
    expect(td_nansum(y, .dims = TD_DIMS(1)), "tensor([1.0000, 8.5000])");
    expect(td_nansum(b), "tensor(2)");
    expect(td_nanmean(y), "tensor(1.9000)");
    expect(td_nanmean(y, .dims = TD_DIMS(0), .keepdim = true), "tensor([[1.2500, 3.0000, 1.0000]])");
    expect(td_var_mean(x).spread, "tensor(5.2417)");
    expect(td_var_mean(x, .dims = TD_DIMS(1), .correction = 0).mean, "tensor([0.6667, 1.1667])");
    expect(td_std_mean(x, .dims = TD_DIMS(1), .keepdim = true).spread, "tensor([[2.5166],\n"
                                                                       "        [2.5658]])");
    expect(td_true_divide(n, 2), "tensor([1.5000, 0.5000, 1.0000])");
    expect(td_true_divide(x, w), "tensor([[ 0.2000, -0.3333,  0.4286],\n"
                                 "        [ 0.1000,  0.6667, -0.1429]])");
    expect(td_float_power(n, 2), "tensor([9., 1., 4.], dtype=torch.float64)");
    expect(td_float_power(row, 0.5), "tensor([1., 2., 3., 4.], dtype=torch.float64)");
    expect(td_float_power(n, n), "tensor([27.,  1.,  4.], dtype=torch.float64)");
    expect(td_ldexp(x, n), "tensor([[ 8., -4., 12.],\n"
                           "        [ 4.,  8., -4.]])");
    expect(td_ldexp(n, n), "tensor([24.,  2.,  8.])");
    expect(td_ldexp(x, 3), "tensor([[  8., -16.,  24.],\n"
                           "        [  4.,  32.,  -8.]])");
    expect(td_clamp_min(y, 1), "tensor([[2., 1., 1.],\n"
                               "        [1., 8., nan]])");
    expect(td_clamp_min(y, low), "tensor([[2.0000, 0.0000, 4.0000],\n"
                                 "        [0.5000, 8.0000,    nan]])");
    expect(td_clamp_max(x, high), "tensor([[ 1.0000, -2.0000,  3.0000],\n"
                                  "        [ 0.5000,  3.0000, -1.0000]])");
    expect(td_clamp_between(y, low, high), "tensor([[2.0000, 0.0000, 4.0000],\n"
                                           "        [0.5000, 3.0000,    nan]])");
    expect(td_clamp_between(x, high, low), "tensor([[0., 0., 4.],\n"
                                           "        [0., 0., 4.]])");
    expect(td_clamp_min(w, y), "tensor([[5., 6., 7.],\n"
                               "        [5., 8., nan]])");
    expect(td_isclose(x, y), "tensor([[False,  True, False],\n"
                             "        [ True, False, False]])");
    expect(td_isclose(y, y, .equal_nan = true), "tensor([[True, True, True],\n"
                                                "        [True, True, True]])");
    expect(td_isclose(x, y, .rtol = 0.5), "tensor([[ True,  True, False],\n"
                                          "        [ True,  True, False]])");
    expect(td_isclose(x, y, .rtol = 0, .atol = 2), "tensor([[ True,  True,  True],\n"
                                                   "        [ True, False, False]])");
    expect(td_isclose(n, n, .rtol = 0, .atol = 0), "tensor([True, True, True])");
    expect(td_dist(x, w), "tensor(13.5739)");
    expect(td_dist(x, w, .p = 1), "tensor(30.5000)");
    expect(td_dist(x, w, .p = INFINITY), "tensor(8.)");
    expect(td_cdist(x, x), "tensor([[0.0000, 7.2284],\n"
                           "        [7.2284, 0.0000]])");
    expect(td_cdist(x, td_reshape(m, TD_SHAPE(4, 3)), .p = 1), "tensor([[ 5.0000, 10.0000, 19.0000, 28.0000],\n"
                                                               "        [ 6.5000,  8.5000, 17.5000, 26.5000]])");
    expect(td_cdist(td_reshape(m, TD_SHAPE(2, 2, 3)), x, .p = 3), "tensor([[[ 3.0723,  3.7827],\n"
                                                                  "         [ 6.1446,  6.1413]],\n"
                                                                  "\n"
                                                                  "        [[ 9.9295,  9.7343],\n"
                                                                  "         [14.0136, 13.6765]]])");
    expect(td_pairwise_distance(x, w), "tensor([9.7980, 9.3941])");
    expect(td_pairwise_distance(x, w, .p = 1, .keepdim = true), "tensor([[16.0000],\n"
                                                                "        [14.5000]])");
    assert_true(td_allclose(x, x) && !td_allclose(x, y) && td_allclose(y, y, .equal_nan = true));
    assert_true(td_equal(x, x) && !td_equal(x, y) && !td_equal(x, w) && !td_equal(y, y));
    assert_true(td_equal(td_zeros(s, TD_SHAPE(0, 2)), td_ones(s, TD_SHAPE(0, 2))));
    assert_int_equal(td_sync(s), 0);
    assert_true(td_tensor_count(s) <= held + 3); /* the other halves of the pairs */
}

static void elements_and_lists(void **state)
{
    (void)state;
    make_inputs();
    int64_t held = td_tensor_count(s);
    expect(td_bucketize(x, row), "tensor([[0, 0, 1],\n"
                                 "        [0, 1, 0]])");
    expect(td_bucketize(row, row, .right = true), "tensor([1, 2, 3, 4])");
    expect(td_take_flat(m, i), "tensor([ 0., 11.,  3.])");
    expect(td_take_flat(m, i2), "tensor([[1., 0., 2.]])");
    expect(td_put(m, i, w), "tensor([[ 5.,  1.,  2.,  7.],\n"
                            "        [ 4.,  5.,  6.,  7.],\n"
                            "        [ 8.,  9., 10.,  6.]])");
    expect(td_put(m, i, w, .accumulate = true), "tensor([[ 5.,  1.,  2., 10.],\n"
                                                "        [ 4.,  5.,  6.,  7.],\n"
                                                "        [ 8.,  9., 10., 17.]])");
    expect(td_put(td_transpose(m, 0, 1), i2, w), "tensor([[ 6.,  5.,  7.],\n"
                                                 "        [ 1.,  5.,  9.],\n"
                                                 "        [ 2.,  6., 10.],\n"
                                                 "        [ 3.,  7., 11.]])");
    expect(td_put_(td_clone(m), i, w, .accumulate = true), "tensor([[ 5.,  1.,  2., 10.],\n"
                                                           "        [ 4.,  5.,  6.,  7.],\n"
                                                           "        [ 8.,  9., 10., 17.]])");
    expect(td_take_along_dim(x, i2, .dim = 1), "tensor([[-2.0000,  1.0000,  3.0000],\n"
                                               "        [ 4.0000,  0.5000, -1.0000]])");
    expect(td_take_along_dim(m, td_transpose(i2, 0, 1), .dim = 0), "tensor([[ 4.,  5.,  6.,  7.],\n"
                                                                   "        [ 0.,  1.,  2.,  3.],\n"
                                                                   "        [ 8.,  9., 10., 11.]])");
    expect(td_take_along_dim(m, i2), "tensor([1., 0., 2.])");
    expect(td_select_scatter(x, w, 0, -1), "tensor([[ 1., -2.,  3.],\n"
                                           "        [ 5.,  6.,  7.]])");
    expect(td_select_scatter(x, v, 1, 1), "tensor([[ 1.0000,  5.0000,  3.0000],\n"
                                          "        [ 0.5000,  6.0000, -1.0000]])");
    expect(td_slice_scatter(m, td_reshape(w, TD_SHAPE(3, 1)), 1, .start = 2, .end = 3),
           "tensor([[ 0.,  1.,  5.,  3.],\n"
           "        [ 4.,  5.,  6.,  7.],\n"
           "        [ 8.,  9.,  7., 11.]])");
    expect(td_slice_scatter(row, v, 0, .step = 2), "tensor([ 5.,  4.,  6., 16.])");
    expect(td_diagonal_scatter(m, w), "tensor([[ 5.,  1.,  2.,  3.],\n"
                                      "        [ 4.,  6.,  6.,  7.],\n"
                                      "        [ 8.,  9.,  7., 11.]])");
    expect(td_diagonal_scatter(x, v, .offset = 1), "tensor([[1.0000, 5.0000, 3.0000],\n"
                                                   "        [0.5000, 4.0000, 6.0000]])");
    expect(td_hstack(TD_LIST(row, w)), "tensor([ 1.,  4.,  9., 16.,  5.,  6.,  7.])");
    expect(td_hstack(TD_LIST(x, td_neg(x))), "tensor([[ 1.0000, -2.0000,  3.0000, -1.0000,  2.0000, -3.0000],\n"
                                             "        [ 0.5000,  4.0000, -1.0000, -0.5000, -4.0000,  1.0000]])");
    expect(td_vstack(TD_LIST(w, x)), "tensor([[ 5.0000,  6.0000,  7.0000],\n"
                                     "        [ 1.0000, -2.0000,  3.0000],\n"
                                     "        [ 0.5000,  4.0000, -1.0000]])");
    expect(td_dstack(TD_LIST(w, low)), "tensor([[[5., 0.],\n"
                                       "         [6., 0.],\n"
                                       "         [7., 4.]]])");
    expect(td_dstack(TD_LIST(x, td_neg(x))), "tensor([[[ 1.0000, -1.0000],\n"
                                             "         [-2.0000,  2.0000],\n"
                                             "         [ 3.0000, -3.0000]],\n"
                                             "\n"
                                             "        [[ 0.5000, -0.5000],\n"
                                             "         [ 4.0000, -4.0000],\n"
                                             "         [-1.0000,  1.0000]]])");
    expect(td_hstack(TD_LIST(td_sum(w), td_sum(w))), "tensor([18., 18.])");
    td_tensor grids[3] = {{0}};
    assert_int_equal(td_meshgrid(TD_LIST(v, w), grids), 2);
    expect(grids[0], "tensor([[5., 5., 5.],\n        [6., 6., 6.]])");
    expect(grids[1], "tensor([[5., 6., 7.],\n        [5., 6., 7.]])");
    assert_int_equal(td_meshgrid(TD_LIST(v, td_neg(w)), grids, .xy = true), 2);
    expect(grids[0], "tensor([[5., 6.],\n        [5., 6.],\n        [5., 6.]])");
    expect(grids[1], "tensor([[-5., -5.],\n        [-6., -6.],\n        [-7., -7.]])");
    td_tensor kept = td_clone(m);
    expect(td_neg(td_put_(kept, i, w)), "tensor([[ -5.,  -1.,  -2.,  -7.],\n        [ -4.,  -5.,  -6.,  -7.],\n        "
                                        "[ -8.,  -9., -10.,  -6.]])");
    assert_true(td_ok(kept)); /* it has a name */
    td_release(kept);
    assert_int_equal(td_sync(s), 0);
    assert_int_equal(td_tensor_count(s), held);
}

/* The gradients of a and c under a cotangent of 1, 2, 3, ... */
#define expect_gradients(call, of_a, of_c)                                                              \
    do {                                                                                                \
        td_tensor a = td_set_requires_grad(ROW(float, TD_F32, 1, -2, 3, 0.5f), true);                   \
        td_tensor c = td_set_requires_grad(ROW(float, TD_F32, 2, -2, 1, 4), true);                      \
        td_tensor i4 = td_arange(s, 0, 4), result = (call);                                             \
        td_tensor seed = td_reshape_as(td_arange(s, 1, td_numel(result) + 1, .dtype = TD_F32), result); \
        td_backward(td_add(td_sum(td_mul(result, seed)), td_mul(td_sum(td_add(a, c)), 0.0)));           \
        (void)i4;                                                                                       \
        expect(td_detach(td_grad(a)), of_a);                                                            \
        expect(td_detach(td_grad(c)), of_c);                                                            \
    } while (0)

static void gradients(void **state)
{
    (void)state;
    make_inputs();
    expect_gradients(td_diff(a, .n = 2), "tensor([ 1.,  0., -3.,  2.])", "tensor([0., 0., 0., 0.])");
    expect_gradients(td_nansum(td_div(a, c)), "tensor([ 0.5000, -0.5000,  1.0000,  0.2500])",
                     "tensor([-0.2500,  0.5000, -3.0000, -0.0312])");
    expect_gradients(td_clamp_min(a, c), "tensor([0., 2., 3., 0.])", "tensor([1., 0., 0., 4.])");
    expect_gradients(td_clamp_max(a, c), "tensor([1., 2., 0., 4.])", "tensor([0., 0., 3., 0.])");
    expect_gradients(td_dist(a, c), "tensor([-0.2408,  0.0000,  0.4815, -0.8427])",
                     "tensor([ 0.2408,  0.0000, -0.4815,  0.8427])");
    expect_gradients(td_cdist(td_unsqueeze(a, 0), td_unsqueeze(c, 0), .p = 1), "tensor([-1.,  0.,  1., -1.])",
                     "tensor([ 1.,  0., -1.,  1.])");
    expect_gradients(td_take_flat(a, i), "tensor([1., 0., 0., 5.])", "tensor([0., 0., 0., 0.])");
    expect_gradients(td_put(a, i, td_slice(c, 0, .start = 1)), "tensor([0., 2., 3., 0.])", "tensor([0., 1., 4., 4.])");
    expect_gradients(td_put(a, i, td_slice(c, 0, .start = 1), .accumulate = true), "tensor([1., 2., 3., 4.])",
                     "tensor([0., 1., 4., 4.])");
    expect_gradients(td_slice_scatter(a, td_slice(c, 0, .end = 2), 0, .step = 2), "tensor([0., 2., 0., 4.])",
                     "tensor([1., 3., 0., 0.])");
    expect_gradients(td_ldexp(a, i4), "tensor([ 1.,  4., 12., 32.])", "tensor([0., 0., 0., 0.])");
    expect_gradients(td_amax(td_maximum(a, c)), "tensor([0., 0., 0., 0.])", "tensor([0., 0., 0., 1.])");
    expect_gradients(td_std_mean(a).spread, "tensor([ 0.0608, -0.4255,  0.3850, -0.0203])", "tensor([0., 0., 0., 0.])");
    expect_gradients(td_vstack(TD_LIST(a, c)), "tensor([1., 2., 3., 4.])", "tensor([5., 6., 7., 8.])");
    /* A clamp's bound gets what x is not equal to. */
    expect_gradients(td_clamp_between(a, c, td_add(c, 1)), "tensor([0., 2., 0., 0.])", "tensor([1., 0., 3., 4.])");
    assert_int_equal(td_sync(s), 0);
}

static void errors_tell_what_was_called(void **state)
{
    (void)state;
    make_inputs();
    td_release(td_fliplr(w));
    expect_error(TD_E_INDEX, "fliplr: dimension 1 does not exist", __LINE__ - 1);
    td_release(td_diff(td_sum(x)));
    expect_error(TD_E_SHAPE, "diff: a tensor without dimensions", __LINE__ - 1);
    td_release(td_cdist(x, m));
    expect_error(TD_E_SHAPE, "cdist: shapes (2, 3) and (3, 4)", __LINE__ - 1);
    td_release(td_isclose(x, m));
    expect_error(TD_E_SHAPE, "isclose: shapes (2, 3) and (3, 4)", __LINE__ - 1);
    td_release(td_select_scatter(x, v, 0, 0));
    expect_error(TD_E_SHAPE, "select_scatter: a source of shape (2) for a part of shape (3)", __LINE__ - 1);
    td_release(td_select_scatter(x, w, 0, 2));
    expect_error(TD_E_INDEX, "index 2 is out of range", __LINE__ - 1);
    td_release(td_put(x, i, v));
    expect_error(TD_E_SHAPE, "put: a source of 2 elements for an index of 3", __LINE__ - 1);
    td_release(td_take_along_dim(x, i, .dim = 0));
    expect_error(TD_E_SHAPE, "take_along_dim: an index of 1 dimensions for a tensor of 2", __LINE__ - 1);
    td_release(td_bucketize(x, x));
    expect_error(TD_E_SHAPE, "bucketize: the boundaries have shape (2, 3)", __LINE__ - 1);
    td_release(td_hstack(TD_LIST(x, w)));
    expect_error(TD_E_SHAPE, "hstack", __LINE__ - 1);
    assert_int_equal(td_meshgrid(TD_LIST(x), &(td_tensor){0}), 0);
    expect_error(TD_E_SHAPE, "meshgrid: tensor 0 has 2 dimensions", __LINE__ - 1);
    assert_false(td_allclose(x, m));
    expect_error(TD_E_SHAPE, "allclose", __LINE__ - 1);
    td_release(td_take_flat(x, td_full(s, TD_SHAPE(1), 6)));
    expect_error(TD_E_INDEX, "index 6 is out of range for a dimension of size 6", __LINE__ - 1);
    td_tensor bad = td_matmul(x, x);
    td_clear_error(s);
    assert_false(td_ok(td_select_scatter(x, bad, 0, 0)) || td_equal(x, bad));
    td_clear_error(s);
    td_put_(x, td_full(s, TD_SHAPE(1), 9), td_ones(s, TD_SHAPE(1))); /* has no effect */
    expect_error(TD_E_INDEX, "index 9", __LINE__ - 1);
    expect(td_clone(x), "tensor([[ 1.0000, -2.0000,  3.0000],\n        [ 0.5000,  4.0000, -1.0000]])");
}

static void tensors_like_another(void **state)
{
    (void)state;
    td_tensor x = td_transpose(td_full(s, TD_SHAPE(2, 3), 7.5), 0, 1), y = td_zeros_like(x);
    td_layout layout = td_layout_of(y);
    assert_true(layout.shape[0] == 3 && layout.shape[1] == 2 && layout.stride[0] == 1 && layout.stride[1] == 3);
    assert_true(td_item(td_sum(y)) == 0 && td_item(td_sum(td_ones_like(x, .dtype = TD_I64))) == 6);
    assert_int_equal(td_dtype_of(td_ones_like(x, .dtype = TD_I64)), TD_I64);
    assert_true(td_item(td_sum(td_full_like(td_ones_like(x, .dtype = TD_I32), 0.5, .dtype = TD_F64))) == 3);
    td_tensor leaf = td_randn_like(x, .requires_grad = true);
    td_backward(td_sum(td_square(leaf)));
    assert_true(td_item(td_max(td_abs(td_sub(td_grad(leaf), td_mul(leaf, 2))))) == 0);
    td_tensor dice = td_randint_like(x, 1, 7);
    assert_true(td_item(td_min(dice)) >= 1 && td_item(td_max(dice)) <= 6 && td_dtype_of(dice) == TD_F32);
    td_rand_like(x, .dtype = TD_I32);
    expect_error(TD_E_DTYPE, "rand_like", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

static void made_of_nothing(void **state)
{
    (void)state;
    int64_t held = td_tensor_count(s);
    expect(td_empty(s, TD_SHAPE(2), .dtype = TD_I64), "tensor([0, 0])");
    td_tensor x = td_transpose(td_ones(s, TD_SHAPE(2, 3)), 0, 1), y = td_empty_like(x, .dtype = TD_F64);
    assert_true(td_layout_of(y).stride[1] == 3 && td_dtype_of(y) == TD_F64);
    td_release(x);
    td_release(y);
    expect(td_logspace(s, -1, 2, 4), "tensor([  0.1000,   1.0000,  10.0000, 100.0000])");
    expect(td_logspace(s, 0, 4, 3, .base = 2, .dtype = TD_F64), "tensor([ 1.,  4., 16.], dtype=torch.float64)");
    expect(td_tril_indices(s, 3, 4), "tensor([[0, 1, 1, 2, 2, 2],\n        [0, 0, 1, 0, 1, 2]])");
    expect(td_tril_indices(s, 4, 3, .offset = -2), "tensor([[2, 3, 3],\n        [0, 0, 1]])");
    expect(td_tril_indices(s, 2, 3, .offset = INT64_MAX), "tensor([[0, 0, 0, 1, 1, 1],\n        [0, 1, 2, 0, 1, 2]])");
    expect(td_triu_indices(s, 3, 4, .offset = 1), "tensor([[0, 0, 0, 1, 1, 2],\n        [1, 2, 3, 2, 3, 3]])");
    expect(td_triu_indices(s, 2, 2, .offset = INT64_MIN), "tensor([[0, 0, 1, 1],\n        [0, 1, 0, 1]])");
    expect(td_triu_indices(s, 0, 3), "tensor([], size=(2, 0), dtype=torch.int64)");
    assert_int_equal(td_sync(s), 0);
    assert_int_equal(td_tensor_count(s), held);
    td_release(td_tril_indices(s, -1, 3));
    expect_error(TD_E_SHAPE, "tril_indices: -1 rows and 3 columns", __LINE__ - 1);
    td_release(td_empty(s, TD_SHAPE(-2)));
    expect_error(TD_E_SHAPE, "empty: ", __LINE__ - 1);
    td_release(td_logspace(s, 0, 1, -3));
    expect_error(TD_E_ARGUMENT, "logspace: ", __LINE__ - 1);
}

/* What is written in place keeps its shape and its type, and only that is done that can be. */
static void in_place(void **state)
{
    (void)state;
    make_inputs();
    td_tensor whole = td_clone(n), narrow = td_reshape(td_clone(row), TD_SHAPE(4, 1));
    td_clamp_min_(whole, 2);
    expect(td_clone(whole), "tensor([3, 2, 2])");
    td_true_divide_(whole, 2);
    expect_error(TD_E_DTYPE, "true_divide_: a result of f32 does not go into a tensor of i64", __LINE__ - 1);
    td_float_power_(whole, 2);
    expect_error(TD_E_DTYPE, "float_power_: a result of f64 does not go", __LINE__ - 1);
    td_clamp_max_(narrow, row);
    expect_error(TD_E_SHAPE, "clamp_max_: a result of shape (4, 4) does not fit into the target's", __LINE__ - 1);
    td_zero_(td_expand(narrow, TD_SHAPE(4, 4)));
    expect_error(TD_E_ARGUMENT, "zero_: ", __LINE__ - 1);
    td_tensor leaf = td_set_requires_grad(td_clone(row), true);
    td_clamp_min_(leaf, 1);
    expect_error(TD_E_GRAD, "clamp_min_: ", __LINE__ - 1);
    td_fill_diagonal_(row, 1);
    expect_error(TD_E_SHAPE, "fill_diagonal_: x of shape (4) is no matrix", __LINE__ - 1);
    td_addmm_(narrow, m, x);
    expect_error(TD_E_SHAPE, "addmm_: ", __LINE__ - 1);
    td_index_add_(whole, 0, td_full(s, TD_SHAPE(1), 3), td_ones(s, TD_SHAPE(1), .dtype = TD_I64));
    expect_error(TD_E_INDEX, "index_add_: index 3 is out of range", __LINE__ - 1);
    td_scatter_add_(whole, 0, i2, n);
    expect_error(TD_E_SHAPE, "scatter_add_: ", __LINE__ - 1);
    expect(td_clone(whole), "tensor([3, 2, 2])");
    expect(td_clone(narrow), "tensor([[ 1.],\n        [ 4.],\n        [ 9.],\n        [16.]])");
    /* Through a view, whose base sees it. */
    td_cumsum_(td_select(m, 0, 1), 0);
    td_fill_diagonal_(td_slice(m, 1, .start = 1), -1);
    td_feature_dropout_(td_slice(m, 0, .start = 2), .p = 1);
    expect(td_clone(m), "tensor([[ 0., -1.,  2.,  3.],\n        [ 4.,  9., -1., 22.],\n        [ 0.,  0.,  0., -0.]])");
    assert_int_equal(td_sync(s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arithmetic_and_comparison, open_session, close_session),
        cmocka_unit_test_setup_teardown(elements_and_lists, open_session, close_session),
        cmocka_unit_test_setup_teardown(tensors_like_another, open_session, close_session),
        cmocka_unit_test_setup_teardown(made_of_nothing, open_session, close_session),
        cmocka_unit_test_setup_teardown(in_place, open_session, close_session),
        cmocka_unit_test_setup_teardown(gradients, open_session, close_session),
        cmocka_unit_test_setup_teardown(errors_tell_what_was_called, open_session, close_session),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
