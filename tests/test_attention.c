/* End to end: attention and its gradients are those of the products that it stands for, over many tiles, and take no
 * memory for scores. SPDX-License-Identifier: Apache-2.0 */
#include "tests/sessions.h"

/* ---- the same values ---- */

struct problem {
    td_tensor query, key, value, mask; /* mask: none */
    bool is_causal;
    double scale;
};

static bool given(td_tensor x)
{
    return x.session != NULL;
}

/* Scores as products give them. */
static td_tensor scores(struct problem p)
{
    int64_t width = td_size(p.query, -1), rows = td_size(p.query, -2), keys = td_size(p.key, -2);
    double scale = p.scale != 0 ? p.scale : 1 / sqrt((double)width);
    td_tensor s = td_matmul(td_mul(p.query, scale), td_transpose(p.key, -2, -1));
    td_session *session = p.query.session;
    if (given(p.mask) && td_dtype_of(p.mask) == TD_BOOL)
        s = td_where(p.mask, s, -INFINITY);
    else if (given(p.mask))
        s = td_add(s, p.mask);
    return p.is_causal ? td_where(td_tril(td_ones(session, TD_SHAPE(rows, keys), .dtype = TD_BOOL)), s, -INFINITY) : s;
}

static td_tensor in_parts(struct problem p)
{
    return td_matmul(td_softmax(scores(p), -1), p.value);
}

static td_tensor whole(struct problem p)
{
    return td_scaled_dot_product_attention(p.query, p.key, p.value, .mask = p.mask, .is_causal = p.is_causal,
                                           .scale = p.scale);
}

static double distance(td_tensor a, td_tensor b)
{
    return td_item(td_max(td_abs(td_sub(td_to(a, TD_F64), td_to(b, TD_F64)))));
}

/* Results and all gradients of both forms; the gradients also as a graph is made of them. */
static void assert_same(td_session *s, struct problem p, double most)
{
    TD_SCOPE(s);
    td_tensor of[] = {p.query, p.key, p.value, p.mask}, parts = in_parts(p), y = whole(p);
    td_tensor weight = td_cos(td_mul(td_detach(parts), 7.0));
    td_tensor expected = td_sum(td_mul(parts, weight)), loss = td_sum(td_mul(y, weight));
    double off = distance(parts, y);
    assert_fine(s);
    if (!(off <= most))
        fail_msg("the result is off by %g", off);
    for (int n = 0; n < (given(p.mask) && td_requires_grad(p.mask) ? 4 : 3); n++)
        for (int graph = 0; graph < 2; graph++) {
            td_tensor found = td_grad_of(loss, of[n], .retain_graph = true, .create_graph = graph);
            off = distance(td_grad_of(expected, of[n], .retain_graph = true), found);
            assert_fine(s);
            if (!(off <= most))
                fail_msg("gradient %d is off by %g%s", n, off, graph ? ", with a graph" : "");
        }
}

static td_tensor leaf(td_session *s, enum td_dtype dtype, struct td_dims shape)
{
    return td_set_requires_grad(td_to(td_randn(s, shape), dtype), true);
}

/* Lengths that no tile divides: of 128 queries and 512 keys on the CPU, of 64 and 32 on CUDA. */
static void test_attention_is_what_its_products_are(void **state)
{
    (void)state;
    td_session *s = open_session();
    static const struct {
        enum td_dtype dtype;
        double most;
    } types[] = {{TD_F32, 1e-4}, {TD_F64, 1e-12}, {TD_BF16, 0.1}, {TD_F16, 0.02}};
    for (int k = 0; k < 4; k++)
        for (int causal = 0; causal < 2; causal++) {
            enum td_dtype dtype = types[k].dtype;
            struct problem p = {.query = leaf(s, dtype, TD_SHAPE(2, 3, 150, 12)),
                                .key = leaf(s, dtype, TD_SHAPE(2, 3, 531, 12)),
                                .value = leaf(s, dtype, TD_SHAPE(2, 3, 531, 9)),
                                .is_causal = causal};
            assert_same(s, p, types[k].most);
        }
    close_session(s);
}

static void test_masks_and_what_broadcasts(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct problem p = {.query = leaf(s, TD_F64, TD_SHAPE(3, 1, 70, 5)),
                        .key = leaf(s, TD_F64, TD_SHAPE(2, 300, 5)),
                        .value = leaf(s, TD_F64, TD_SHAPE(300, 4)),
                        .scale = 0.75};
    p.mask = td_gt(td_rand(s, TD_SHAPE(70, 300)), 0.3);
    td_fill_(td_select(p.mask, 1, 0), 1);
    assert_same(s, p, 1e-12);
    p.mask = td_randn(s, TD_SHAPE(2, 1, 300), .dtype = TD_F64);
    assert_same(s, p, 1e-12);
    p.mask = leaf(s, TD_F64, TD_SHAPE(3, 1, 70, 1));
    assert_same(s, p, 1e-12);
    p.mask = leaf(s, TD_F64, TD_SHAPE(2, 70, 300));
    p.is_causal = true;
    p.query = td_set_requires_grad(td_transpose(td_randn(s, TD_SHAPE(3, 2, 5, 70), .dtype = TD_F64), 2, 3), true);
    assert_same(s, p, 1e-12);
    close_session(s);
}

/* As in torch 1.13: a row that sees nothing is nan, and so are all values' gradients; other rows are not. */
static void test_a_row_that_sees_nothing(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor q = leaf(s, TD_F32, TD_SHAPE(3, 2)), k = leaf(s, TD_F32, TD_SHAPE(4, 2)),
              v = leaf(s, TD_F32, TD_SHAPE(4, 2));
    td_tensor mask = td_ones(s, TD_SHAPE(3, 4), .dtype = TD_BOOL);
    td_fill_(td_select(mask, 0, 1), 0);
    struct td_attention_results both =
        td_attention(q, k, v, .mask = td_where(mask, td_zeros(s, TD_SHAPE(3, 4)), -INFINITY));
    td_tensor y = td_scaled_dot_product_attention(q, k, v, .mask = mask);
    double nan_rows[6], logs[3];
    assert_int_equal(td_read(td_isnan(y), nan_rows, TD_F64, 6), 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(nan_rows[i], i / 2 == 1);
    assert_int_equal(td_read(both.logsumexp, logs, TD_F64, 3), 3);
    assert_true(isfinite(logs[0]) && logs[1] == -INFINITY && isfinite(logs[2]));
    td_backward(td_sum(y));
    assert_true(td_item(td_all(td_isnan(td_grad(v)))) == 1);
    assert_true(td_item(td_any(td_isnan(td_grad(q)))) == 0);
    td_tensor none = td_scaled_dot_product_attention(q, td_zeros(s, TD_SHAPE(0, 2)), td_zeros(s, TD_SHAPE(0, 3)));
    assert_true(td_item(td_sum(td_abs(none))) == 0);
    close_session(s);
}

static void test_the_logarithm_has_a_gradient(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct problem p = {.query = leaf(s, TD_F64, TD_SHAPE(2, 70, 3)),
                        .key = leaf(s, TD_F64, TD_SHAPE(2, 40, 3)),
                        .value = leaf(s, TD_F64, TD_SHAPE(2, 40, 2)),
                        .is_causal = true};
    td_tensor found = td_attention(p.query, p.key, p.value, .is_causal = true).logsumexp;
    td_tensor expected = td_logsumexp(scores(p), .dims = TD_DIMS(-1));
    assert_true(distance(found, expected) < 1e-12);
    td_tensor loss = td_sum(td_square(found)), other = td_sum(td_square(expected));
    assert_true(distance(td_grad_of(loss, p.query, .retain_graph = true),
                         td_grad_of(other, p.query, .retain_graph = true)) < 1e-10);
    assert_true(distance(td_grad_of(loss, p.key), td_grad_of(other, p.key)) < 1e-10);
    close_session(s);
}

/* ---- memory ---- */

enum { LENGTH = 1024, WIDTH = 8 };

/* The most that was in use, of a daemon of its own, when a forward and a backward are over. */
static uint64_t peak_bytes(double dropout_p)
{
    struct test_daemon own;
    assert_int_equal(daemon_start(&own, NULL), 0);
    struct raw raw = raw_open(&own);
    td_session *s = td_open(own.address);
    td_tensor of[3];
    for (int k = 0; k < 3; k++)
        of[k] = leaf(s, TD_F32, TD_SHAPE(2, LENGTH, WIDTH));
    td_tensor y = td_scaled_dot_product_attention(of[0], of[1], of[2], .is_causal = true, .dropout_p = dropout_p);
    td_backward(td_sum(td_square(y)));
    assert_true(td_item(td_sum(td_abs(td_grad(of[0])))) > 0);
    uint64_t bytes = raw_status(&raw, "device.peak_bytes");
    raw_close(&raw);
    assert_int_equal(td_close(s), 0);
    assert_int_equal(daemon_stop(&own), 0);
    return bytes;
}

static void test_scores_are_never_in_memory(void **state)
{
    (void)state;
    uint64_t of_one = (uint64_t)LENGTH * LENGTH * sizeof(float);
    assert_true(peak_bytes(0) < of_one / 2); /* of one head of two; a third of that are operands and gradients */
    assert_true(peak_bytes(0.5) > 4 * of_one);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor q = td_ones(s, TD_SHAPE(2, 3, 4)), row = td_ones(s, TD_SHAPE(4)), short_ = td_ones(s, TD_SHAPE(2, 5, 3));
    td_scaled_dot_product_attention(q, row, q);
    assert_error(s, TD_E_SHAPE, "scaled_dot_product_attention: the key has shape (4), and is no matrix");
    td_scaled_dot_product_attention(row, row, row, .dropout_p = 0.5);
    assert_error(s, TD_E_SHAPE, "scaled_dot_product_attention");
    td_scaled_dot_product_attention(q, short_, q);
    assert_error(s, TD_E_SHAPE, "a query of shape (2, 3, 4) and a key of shape (2, 5, 3) are not of one width");
    td_scaled_dot_product_attention(q, q, short_);
    assert_error(s, TD_E_SHAPE, "a key of shape (2, 3, 4) and a value of shape (2, 5, 3) are not of one length");
    td_scaled_dot_product_attention(q, td_ones(s, TD_SHAPE(3, 3, 4)), q);
    assert_error(s, TD_E_SHAPE, "do not broadcast");
    td_scaled_dot_product_attention(q, q, q, .mask = td_ones(s, TD_SHAPE(2, 2, 3, 3)));
    assert_error(s, TD_E_SHAPE, "a mask of shape (2, 2, 3, 3) does not broadcast to scores of shape (2, 3, 3)");
    td_attention(q, q, q, .mask = td_ones(s, TD_SHAPE(3, 3), .dtype = TD_BOOL));
    assert_error(s, TD_E_DTYPE, "attention: mask is bool");
    td_attention_back(q, q, q, q, q, td_ones(s, TD_SHAPE(2, 4)));
    assert_error(s, TD_E_SHAPE, "are not those of one call");
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_is_what_its_products_are),
        cmocka_unit_test(test_masks_and_what_broadcasts),
        cmocka_unit_test(test_a_row_that_sees_nothing),
        cmocka_unit_test(test_the_logarithm_has_a_gradient),
        cmocka_unit_test(test_scores_are_never_in_memory),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
