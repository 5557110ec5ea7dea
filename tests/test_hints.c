/* What refusals say, against a real daemon: the op as it was called, the argument, both shapes or dtypes, the line; and
 * for the usual mistakes what to write instead. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

/* The error that stands was raised in this line, says these words, and hints at those. */
static void expect_hint_in(int line, int code, const char *words, const char *hint)
{
    const td_error_info *e = td_error(s);
    if (!strstr(e->hint, hint))
        fail_msg("line %d: \"%s\" hints \"%s\", not \"%s\"", line, e->message, e->hint, hint);
    expect_error(code, words, line);
}

#define REFUSED(call, code, words, hint)             \
    do {                                             \
        (void)(call);                                \
        expect_hint_in(__LINE__, code, words, hint); \
    } while (0)

static td_tensor ones(struct td_dims shape, enum td_dtype dtype)
{
    return td_ones(s, shape, .dtype = dtype);
}

static void matrices_that_are_turned(void **state)
{
    (void)state;
    td_tensor x = ones(TD_SHAPE(5, 3), TD_F32), w = ones(TD_SHAPE(4, 3), TD_F32), v = ones(TD_SHAPE(5, 4), TD_F32);
    REFUSED(td_matmul(x, w), TD_E_SHAPE, "matmul: shapes (5, 3) and (4, 3) do not fit together: 3 columns meet 4 rows",
            "td_transpose(b, -2, -1) would fit.");
    REFUSED(td_matmul(x, v), TD_E_SHAPE, "shapes (5, 3) and (5, 4)", "td_transpose(a, -2, -1) would fit.");
    REFUSED(td_mm(x, w), TD_E_SHAPE, "mm: shapes (5, 3) and (4, 3)", "td_transpose(b, -2, -1) would fit.");
    REFUSED(td_linear(x, td_t(w)), TD_E_SHAPE, "linear: x of shape (5, 3) and a weight of shape (3, 4)",
            "td_t(weight) would fit.");
    REFUSED(td_matmul(x, td_sum(w)), TD_E_SHAPE, "shapes (5, 3) and ()", "td_mul(a, b)");
    REFUSED(td_add(x, td_t(x)), TD_E_SHAPE,
            "add: shapes (5, 3) and (3, 5) do not fit together: 3 meets 5 in dimension -1",
            "td_transpose(b, -2, -1) would fit.");
    REFUSED(td_mul(x, ones(TD_SHAPE(5), TD_F32)), TD_E_SHAPE, "mul: shapes (5, 3) and (5)",
            "td_unsqueeze(b, -1) would fit.");
    REFUSED(td_mul(ones(TD_SHAPE(5), TD_F32), x), TD_E_SHAPE, "mul: shapes (5) and (5, 3)",
            "td_unsqueeze(a, -1) would fit.");
    REFUSED(td_sub(x, ones(TD_SHAPE(7), TD_F32)), TD_E_SHAPE, "3 meets 7 in dimension -1", "one of them is 1.");
}

static void masks_that_do_not_fit(void **state)
{
    (void)state;
    td_tensor x = ones(TD_SHAPE(4), TD_F32), few = ones(TD_SHAPE(3), TD_BOOL), floats = ones(TD_SHAPE(4), TD_F32);
    REFUSED(td_masked_fill(x, few, 0), TD_E_SHAPE, "masked_fill: shapes (4) and (3) do not fit together: 4 meets 3",
            "mask needs as many elements in each dimension as what it is for");
    REFUSED(td_masked_select(x, few), TD_E_SHAPE, "masked_select: shapes (4) and (3)", "mask needs as many elements");
    REFUSED(td_where(few, x, 0), TD_E_SHAPE, "where: shapes (3) and (4)", "condition needs as many elements");
    REFUSED(td_index(x, TD_PICK(few)), TD_E_SHAPE, "index: a mask of shape (3) does not fit a tensor of shape (4)",
            "A mask has the sizes of the dimensions");
    REFUSED(td_masked_fill(x, floats, 0), TD_E_DTYPE, "masked_fill: mask is f32 where bool is due",
            "td_ne(mask, 0) makes a mask of it.");
    REFUSED(td_masked_fill_(x, floats, 0), TD_E_DTYPE, "masked_fill_: mask is f32", "td_ne(mask, 0)");
    REFUSED(td_where(td_to(few, TD_U8), 1, 0), TD_E_DTYPE, "where: condition is u8 where bool is due",
            "td_ne(condition, 0)");
}

static void wrong_element_types(void **state)
{
    (void)state;
    td_tensor whole = ones(TD_SHAPE(2, 3), TD_I64), logits = ones(TD_SHAPE(2, 3), TD_F32);
    td_tensor truth = ones(TD_SHAPE(2), TD_BOOL), narrow = ones(TD_SHAPE(2), TD_I32),
              floats = ones(TD_SHAPE(2), TD_F32);
    REFUSED(td_cross_entropy(logits, floats), TD_E_DTYPE, "cross_entropy: target is f32 where i64 is due",
            "Targets are the numbers of classes: td_to(target, TD_I64) converts.");
    REFUSED(td_cross_entropy(logits, narrow), TD_E_DTYPE, "cross_entropy: target is i32", "td_to(target, TD_I64)");
    REFUSED(td_cross_entropy(logits, whole), TD_E_SHAPE, "logits of shape (2, 3) and targets of shape (2, 3)",
            "td_argmax(target, .dim = 1)");
    REFUSED(td_embedding(logits, narrow), TD_E_DTYPE, "embedding: index is i32 where i64 is due",
            "td_to(index, TD_I64) converts.");
    REFUSED(td_index_select(logits, 0, truth), TD_E_DTYPE, "index is bool", "td_nonzero");
    REFUSED(td_mean(whole), TD_E_DTYPE, "mean: x is i64 where a floating type is due", "td_to(x, TD_F32) converts.");
    REFUSED(td_softmax(whole, 0), TD_E_DTYPE, "softmax: x is i64", "td_to(x, TD_F32)");
    REFUSED(td_mse_loss(logits, logits, .reduction = 7), TD_E_ARGUMENT, "mse_loss: reduction is 7", "");
    REFUSED(td_sub(truth, truth), TD_E_DTYPE, "sub: a is bool where a number type is due", "td_logical_xor");
    REFUSED(td_bitwise_and(floats, truth), TD_E_DTYPE, "bitwise_and: a is f32", "td_to(a, TD_I64)");
    REFUSED(td_add_(narrow, 0.5), TD_E_DTYPE, "add_: a result of f32 does not go into a tensor of i32",
            "td_to(x, TD_F32) makes a tensor that holds it.");
    REFUSED(td_exp_(narrow), TD_E_DTYPE, "exp_: a result of f32", "td_to(x, TD_F32)");
}

/* f64 data are refused where they meet a model of f32, which would compute in f64 all along. */
static void doubles_in_a_model_of_floats(void **state)
{
    (void)state;
    td_tensor w = td_ones(s, TD_SHAPE(4, 3), .requires_grad = true), x = ones(TD_SHAPE(2, 3), TD_F64);
    REFUSED(td_linear(x, w), TD_E_DTYPE, "linear: x is f64 and weight is f32, where all are of one type",
            "td_to(x, TD_F32) converts.");
    REFUSED(td_linear(td_to(x, TD_F32), w, .bias = ones(TD_SHAPE(4), TD_F64)), TD_E_DTYPE,
            "linear: x is f32 and bias is f64", "td_to(bias, TD_F32) converts.");
    REFUSED(td_mm(x, td_t(w)), TD_E_DTYPE, "mm: a is f64 and b is f32", "td_to(a, TD_F32) converts.");
    REFUSED(td_matmul(w, td_t(x)), TD_E_DTYPE, "matmul: a is f32 and b is f64", "td_to(b, TD_F32) converts.");
    REFUSED(td_matmul(ones(TD_SHAPE(2, 3), TD_I64), td_t(w)), TD_E_DTYPE, "matmul: a is i64 and b is f32",
            "td_to(a, TD_F32) converts.");
    REFUSED(td_conv1d(ones(TD_SHAPE(1, 2, 5), TD_F64), ones(TD_SHAPE(3, 2, 2), TD_F32)), TD_E_DTYPE,
            "conv1d: x is f64 and weight is f32", "td_to(x, TD_F32) converts.");
    td_tensor z = td_linear(td_to(x, TD_F32), w);
    REFUSED(td_backward(z, .seed = ones(TD_SHAPE(2, 4), TD_F64)), TD_E_SHAPE,
            "backward: a root of f32 (2, 4) was given a gradient of f64 (2, 4)", "td_to(seed, TD_F32) converts.");
    REFUSED(td_backward(z), TD_E_GRAD, "backward: a root of shape (2, 4)", "td_backward(td_sum(y))");
}

static void shapes_and_views(void **state)
{
    (void)state;
    td_tensor x = ones(TD_SHAPE(2, 3), TD_F32);
    REFUSED(td_view(td_t(x), TD_SHAPE(6)), TD_E_SHAPE, "view: shape (3, 2) with strides (1, 3) cannot become (6)",
            "td_reshape(x, shape)");
    const int64_t huge = INT64_C(1) << 40;
    REFUSED(td_expand(td_sum(x), TD_SHAPE(huge, huge)), TD_E_SHAPE,
            "expand: shape (1099511627776, 1099511627776) has a negative size or more elements", "product is limited");
    REFUSED(td_arange(s, 0, INT64_C(1) << 62), TD_E_SHAPE, "arange: shape (72057594037927937) has",
            "product is limited");
    REFUSED(td_arange(s, 0, 1e300), TD_E_SHAPE, "arange: shape (72057594037927937) has", "product is limited");
    REFUSED(td_arange(s, 0, -1), TD_E_ARGUMENT, "arange: step 1 does not lead from 0 to -1", "step is positive where");
    REFUSED(td_embedding_bag(x, td_full(s, TD_SHAPE(1, 2), 2)), TD_E_INDEX, "embedding_bag: index 2 is out of range",
            "0 to 1");
    REFUSED(td_reshape(x, TD_SHAPE(4, 2)), TD_E_SHAPE, "reshape: shape (2, 3) cannot become (4, 2)", "multiply to 6");
    REFUSED(td_add_(td_expand(td_sum(x), TD_SHAPE(3)), 1), TD_E_ARGUMENT,
            "add_: the target's elements share memory with each other: shape (3) with strides (0)", "clone");
    REFUSED(td_sum(x, .dims = TD_DIMS(2)), TD_E_INDEX, "sum: dimension 2 does not exist in a tensor of shape (2, 3)",
            "from -2 to 1.");
    REFUSED(td_sum(x, .dims = TD_DIMS(0, -2)), TD_E_ARGUMENT, "sum: dimension 0 is given twice in dims", "");
    REFUSED(td_item(x), TD_E_SHAPE, "item: a tensor of shape (2, 3)", "td_read(x, ...)");
    REFUSED(td_cat(TD_LIST(x, td_t(x))), TD_E_SHAPE,
            "cat: tensor 1 of shape (3, 2) does not fit to one of shape (2, 3)", "All sizes must be equal but");
    REFUSED(td_cat(TD_LIST(td_sum(x), td_sum(x))), TD_E_SHAPE, "cat: tensor 0 has no dimensions", "td_stack");
    REFUSED(td_pad(x, TD_SHAPE(9, 0), .mode = TD_REFLECT), TD_E_SHAPE,
            "pad: a tensor of shape (2, 3) cannot be padded by (9, 0)", "has to lie in x");
    REFUSED(td_topk(x, 4), TD_E_ARGUMENT, "topk: k is 4 where 0 to 3 are due: dimension 1 of shape (2, 3)", "");
}

/* Its bytes are the base's, and no gradient goes through them: PyTorch's x.view(dtype). */
static void bytes_seen_as_another_type(void **state)
{
    (void)state;
    td_tensor w = td_ones(s, TD_SHAPE(2), .requires_grad = true), x = td_mul(w, 2), bits = td_view_dtype(x, TD_I32);
    assert_true(td_same_storage(bits, x) && !td_requires_grad(bits) && !td_requires_grad(td_view_dtype(w, TD_F32)));
    assert_true(td_item(td_select(bits, 0, 1)) == 0x40000000);
    td_fill_(td_select(bits, 0, 1), 0x40400000);
    assert_true(td_item(td_sum(x)) == 5);
    td_backward(td_sum(x)); /* as if nothing had been written */
    assert_true(td_item(td_sum(td_grad(w))) == 4);
    REFUSED(td_view_dtype(x, TD_F64), TD_E_DTYPE, "view_dtype: x is f32 of 4 bytes an element, and f64 has 8",
            "td_to(x, TD_F64) converts the values.");
    REFUSED(td_view_dtype(td_to(x, TD_U8), TD_BOOL), TD_E_DTYPE, "view_dtype: u8 cannot be seen as bool", "td_to");
}

/* Functions made of several ops go by their own name, whichever of them refuses. */
static void names_of_what_was_called(void **state)
{
    (void)state;
    td_tensor x = ones(TD_SHAPE(2, 3), TD_F32), v = ones(TD_SHAPE(3), TD_F32), parts[8], gone = td_neg(x);
    td_release(gone);
    REFUSED(td_select_scatter(x, v, 0, 5), TD_E_INDEX, "select_scatter: index 5 is out of range", "");
    REFUSED(td_slice_scatter(x, v, 0, .step = 0), TD_E_ARGUMENT, "slice_scatter: step 0", "");
    REFUSED(td_split(x, TD_SHAPE(1), parts, .dim = 2), TD_E_INDEX, "split: dimension 2", "");
    REFUSED(td_split(x, TD_SHAPE(2, 2), parts, .dim = 1), TD_E_ARGUMENT,
            "split: the sizes (2, 2) do not add up to dimension 1 of shape (2, 3)", "One size");
    REFUSED(td_tensor_split(x, 0, parts), TD_E_ARGUMENT, "tensor_split: sections is 0", "");
    REFUSED(td_tensor_split(x, 2, parts, .dim = 2), TD_E_INDEX, "tensor_split: dimension 2", "");
    REFUSED(td_chunk(x, 2, parts, .dim = 2), TD_E_INDEX, "chunk: dimension 2", "");
    REFUSED(td_unbind(x, parts, .dim = 2), TD_E_INDEX, "unbind: dimension 2", "");
    REFUSED(td_view_as(td_t(x), v), TD_E_SHAPE, "view_as: shape (3, 2) cannot become (3)", "");
    REFUSED(td_expand_as(x, v), TD_E_SHAPE, "expand_as: shape (2, 3) cannot be expanded to (3)", "");
    REFUSED(td_trace(v), TD_E_SHAPE, "trace: x of shape (3) is no matrix", "");
    REFUSED(td_diag(td_sum(x), 0), TD_E_SHAPE, "diag: x of shape () is neither a vector nor a matrix", "");
    REFUSED(td_rot90(x, 1, 0, 2), TD_E_INDEX, "rot90: dimension 2", "");
    REFUSED(td_tile(gone, TD_SHAPE(2)), TD_E_HANDLE, "tile: ", "TD_SCOPE");
    REFUSED(td_one_hot(td_zeros(s, TD_SHAPE(0, 2), .dtype = TD_I64), -1), TD_E_ARGUMENT,
            "one_hot: an index without elements does not tell how many classes there are", "A number of classes");
    REFUSED(td_one_hot(x, 3), TD_E_DTYPE, "one_hot: index is f32 where i64 is due", "td_to(index, TD_I64)");
    REFUSED(td_outer(gone, v), TD_E_HANDLE, "outer: x is used after it was released", "");
    REFUSED(td_logdet(x), TD_E_SHAPE, "logdet: matrices of shape (2, 3) are not square", "");
    REFUSED(td_matrix_power(td_to(td_eye(s, 2), TD_I64), -1), TD_E_DTYPE, "matrix_power: x is i64", "td_to(x, TD_F32)");
    REFUSED(td_einsum("ij,jk", TD_LIST(x, gone)), TD_E_HANDLE, "einsum: ", "");
    REFUSED(td_tensordot(x, gone), TD_E_HANDLE, "tensordot: b is used after it was released", "");
    REFUSED(td_nonzero(gone), TD_E_HANDLE, "nonzero: x is used after it was released", "");
    REFUSED(td_unique(gone), TD_E_HANDLE, "unique: x is used after it was released", "");
    REFUSED(td_index(x, TD_AT(7)), TD_E_INDEX, "index: index 7 is out of range for dimension 0", "");
    REFUSED(td_index_put_(x, 1, TD_AT(7)), TD_E_INDEX, "index_put_: index 7 is out of range", "");
    REFUSED(td_index_put_(x, v, TD_AT(0), TD_RANGE(0, 2, 1)), TD_E_SHAPE, "index_put_: shapes (2) and (3)", "");
    REFUSED(td_fmod_(x, ones(TD_SHAPE(2), TD_F32)), TD_E_SHAPE, "fmod_: shapes (2, 3) and (2)", "td_unsqueeze(b, -1)");
    assert_true(td_ok(td_neg(x))); /* and then by theirs again */
    REFUSED(td_neg(gone), TD_E_HANDLE, "neg: x is used after it was released", "");
}

int main(void)
{
#define WITH_SESSION(test) cmocka_unit_test_setup_teardown(test, open_session, close_session)
    const struct CMUnitTest tests[] = {
        WITH_SESSION(matrices_that_are_turned),   WITH_SESSION(masks_that_do_not_fit),
        WITH_SESSION(wrong_element_types),        WITH_SESSION(doubles_in_a_model_of_floats),
        WITH_SESSION(shapes_and_views),           WITH_SESSION(names_of_what_was_called),
        WITH_SESSION(bytes_seen_as_another_type),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
