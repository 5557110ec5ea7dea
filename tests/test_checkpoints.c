/* End to end: checkpoints give the gradients of the same program without them, keep less, and say what they refuse.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sessions.h"
#include "tests/square.h"

/* ---- the same gradients ---- */

enum { WIDTH = 8, DEPTH = 6 };

struct blocks {
    td_tensor w[DEPTH], b[DEPTH], mean, variance, x;
};

static struct blocks blocks_new(td_session *s)
{
    struct blocks m;
    td_manual_seed(s, 31);
    for (int k = 0; k < DEPTH; k++) {
        m.w[k] = td_set_requires_grad(td_mul(td_randn(s, TD_SHAPE(WIDTH, WIDTH), .dtype = TD_F64), 0.4), true);
        m.b[k] = td_zeros(s, TD_SHAPE(WIDTH), .dtype = TD_F64, .requires_grad = true);
    }
    m.mean = td_zeros(s, TD_SHAPE(WIDTH), .dtype = TD_F64);
    m.variance = td_ones(s, TD_SHAPE(WIDTH), .dtype = TD_F64);
    m.x = td_randn(s, TD_SHAPE(16, WIDTH), .dtype = TD_F64, .requires_grad = true);
    td_manual_seed(s, 32);
    return m;
}

static td_tensor block(struct blocks m, int k, td_tensor h)
{
    td_tensor a = td_add(td_matmul(h, m.w[k]), m.b[k]);
    td_tensor n = td_batch_norm(a, .running_mean = m.mean, .running_var = m.variance, .training = true);
    td_tensor c = td_clone(n);
    td_mul_(c, a); /* a write inside, with a gradient */
    return td_add(td_dropout(td_gelu(c), .p = 0.3), h);
}

enum how { PLAIN, EACH, NESTED };

static td_tensor blocks_run(td_session *s, struct blocks m, enum how how)
{
    td_tensor h = m.x;
    for (int k = 0; k < DEPTH; k += 2) {
        if (how == PLAIN) {
            h = block(m, k + 1, block(m, k, h));
            continue;
        }
        TD_CHECKPOINT(s);
        td_tensor half = block(m, k, h);
        if (how == NESTED) {
            TD_CHECKPOINT(s);
            half = td_keep(block(m, k, h));
        } else {
            half = block(m, k, h);
        }
        h = td_keep(block(m, k + 1, half));
    }
    return td_sum(td_square(h));
}

static void check_checkpoints(enum how how, bool second)
{
    td_session *s = open_session();
    td_tensor gradients[2][2 * DEPTH + 3];
    for (int turn = 0; turn < 2; turn++) {
        struct blocks m = blocks_new(s);
        td_tensor h = m.x;
        if (turn == 0 && how != PLAIN) { /* the same draws: a block that is run and not used draws, too */
            for (int k = 0; k < DEPTH; k += 2) {
                td_release(block(m, k, h));
                h = block(m, k + 1, block(m, k, h));
            }
            h = td_sum(td_square(h));
        } else {
            h = blocks_run(s, m, turn == 0 ? PLAIN : how);
        }
        if (second) {
            td_backward(h, .create_graph = true);
            td_tensor g = td_sum(td_square(td_grad(m.w[0])));
            td_backward(g);
        } else {
            td_backward(h);
        }
        int count = 0;
        for (int k = 0; k < DEPTH; k++) {
            gradients[turn][count++] = td_clone(td_detach(td_grad(m.w[k])));
            gradients[turn][count++] = td_clone(td_detach(td_grad(m.b[k])));
        }
        gradients[turn][count++] = td_clone(td_detach(td_grad(m.x)));
        gradients[turn][count++] = m.mean;
        gradients[turn][count++] = m.variance;
    }
    assert_int_equal(td_error(s)->code, TD_E_OK);
    for (int k = 0; k < 2 * DEPTH + 3; k++)
        assert_true(second ? td_allclose(gradients[0][k], gradients[1][k])
                           : td_equal(gradients[0][k], gradients[1][k]));
    close_session(s);
}

static void test_checkpoints_give_the_same_gradients(void **state)
{
    (void)state;
    check_checkpoints(EACH, false);
}

static void test_checkpoints_nest(void **state)
{
    (void)state;
    check_checkpoints(NESTED, false);
}

static void test_checkpoints_have_second_derivatives(void **state)
{
    (void)state;
    check_checkpoints(EACH, true);
    check_checkpoints(NESTED, true);
}

/* Bytes of the device in use while the graph of a deep chain is held. */
static uint64_t held_bytes(bool checkpoints)
{
    td_session *s = open_session();
    struct raw raw = raw_open(&daemon_);
    td_tensor h = td_ones(s, TD_SHAPE(64, 64), .requires_grad = true);
    for (int k = 0; k < 8; k++) {
        if (checkpoints) {
            TD_CHECKPOINT(s);
            for (int j = 0; j < 8; j++)
                h = td_tanh(h);
            td_keep(h);
        } else {
            for (int j = 0; j < 8; j++) {
                td_tensor old = h;
                h = td_tanh(h);
                if (k || j)
                    td_release(old);
            }
        }
    }
    td_sync(s);
    uint64_t bytes = raw_status(&raw, "device.used_bytes");
    td_backward(td_sum(h));
    assert_int_equal(td_error(s)->code, TD_E_OK);
    raw_close(&raw);
    assert_int_equal(td_close(s), 0);
    return bytes;
}

static void test_checkpoints_keep_the_ends_of_blocks_only(void **state)
{
    (void)state;
    uint64_t all = held_bytes(false), ends = held_bytes(true), each = 64 * 64 * 4;
    assert_true(all >= 64 * each);
    assert_true(ends <= 11 * each);
    daemon_wait_empty(&daemon_);
}

static void test_what_a_checkpoint_refuses(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = td_ones(s, TD_SHAPE(2), .requires_grad = true), buffer = td_zeros(s, TD_SHAPE(2));
    td_optimizer *o = td_sgd(s, TD_LIST(w), .lr = 0.1);
    {
        TD_CHECKPOINT(s);
        {
            TD_NO_GRAD(s);
            td_add_(buffer, w);
        }
        td_backward(td_sum(td_mul(w, 2.0)));
        assert_error(s, TD_E_GRAD, "backward: cannot be inside of TD_CHECKPOINT");
        td_step(o);
        assert_error(s, TD_E_GRAD, "sgd_step_: cannot be inside of TD_CHECKPOINT");
    }
    assert_values(buffer, 2, (double[]){1, 1});
    td_tensor y;
    {
        TD_CHECKPOINT(s);
        y = td_keep(td_mul(w, 3.0));
        assert_true(td_item(td_sum(y)) == 6); /* values are there, unlike in a recording */
    }
    td_backward(td_sum(y));
    assert_values(td_grad(w), 2, (double[]){3, 3});
    td_backward(td_sum(y));
    assert_error(s, TD_E_GRAD, "backward: the graph through");
    {
        TD_CHECKPOINT(s);
        td_tensor places = td_to(td_reshape(td_nonzero(td_detach(w)), TD_SHAPE(2)), TD_F32);
        y = td_keep(td_sum(td_mul(w, places))); /* nor are sizes that depend on values forbidden */
    }
    assert_values(td_grad_of(y, w), 2, (double[]){0, 1});
    td_optimizer_free(o);
    close_session(s);
}

static void test_what_failed_inside_is_not_done_or_told_again(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = td_full(s, TD_SHAPE(2), 2.0, .requires_grad = true), y;
    td_tensor beyond = td_from(s, ((const int64_t[]){5}), TD_I64, TD_SHAPE(1)), outside = td_mul(w, 1.0);
    td_optimizer *o = td_sgd(s, TD_LIST(w), .lr = 0.1);
    {
        TD_CHECKPOINT(s);
        td_tensor h = td_mul(outside, 3.0);
        td_backward(td_sum(h));
        assert_error(s, TD_E_GRAD, "backward: cannot be inside of TD_CHECKPOINT");
        td_step(o);
        assert_error(s, TD_E_GRAD, "sgd_step_: cannot be inside of TD_CHECKPOINT");
        td_tensor picked = td_index_select(h, 0, beyond);
        assert_error(s, TD_E_INDEX, "index_select: index 5 is out of range");
        td_add_(h, td_sum(picked));
        td_clear_error(s);
        y = td_keep(td_square(h));
    }
    td_backward(td_sum(y));
    assert_fine(s);
    assert_values(td_grad(w), 2, (double[]){36, 36});
    assert_values(w, 2, (double[]){2, 2});
    td_optimizer_free(o);
    close_session(s);
}

static void test_checkpoints_in_programs_and_functions_in_checkpoints(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *square = square_new(s);
    td_tensor w = td_full(s, TD_SHAPE(1), 3.0, .requires_grad = true), x = td_ones(s, TD_SHAPE(1)), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y;
    {
        TD_CHECKPOINT(s);
        y = td_keep(td_apply(square, td_mul(w, x)));
    }
    td_backward(td_sum(y));
    td_record_end(p, TD_LIST(y));
    assert_values(td_grad(w), 1, (double[]){6});
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(1), 2.0)), out);
    assert_values(out[0], 1, (double[]){36});
    assert_values(td_grad(w), 1, (double[]){30});
    td_program *twice = td_record(s, TD_LIST(x));
    td_record_end(twice, TD_LIST(td_mul(w, td_square(x))));
    {
        TD_CHECKPOINT(s);
        td_run(twice, TD_LIST(td_full(s, TD_SHAPE(1), 2.0)), out);
        td_keep(out[0]);
    }
    td_backward(td_sum(out[0]));
    assert_values(td_grad(w), 1, (double[]){34});
    td_function_free(square);
    td_program_free(p);
    td_program_free(twice);
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoints_give_the_same_gradients),
        cmocka_unit_test(test_checkpoints_nest),
        cmocka_unit_test(test_checkpoints_have_second_derivatives),
        cmocka_unit_test(test_checkpoints_keep_the_ends_of_blocks_only),
        cmocka_unit_test(test_what_a_checkpoint_refuses),
        cmocka_unit_test(test_what_failed_inside_is_not_done_or_told_again),
        cmocka_unit_test(test_checkpoints_in_programs_and_functions_in_checkpoints),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
