/* The client library against a real daemon, and against a fake one where a real one would never say such a thing.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/library.h"

/* ---- lifetimes ---- */

static td_tensor through(td_tensor (*act)(td_tensor), td_tensor x)
{
    return act(x);
}

static td_tensor kept_of(td_tensor x)
{
    TD_SCOPE(s);
    td_tensor y = td_mul(x, 2), z = td_add(y, 1);
    return td_keep(z);
}

static void scopes_end_with_their_block(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(3));
    for (int k = 0; k < 4; k++) {
        TD_SCOPE(s);
        td_tensor y = through(td_relu, x), z = td_add(y, 1);
        if (k == 1)
            continue;
        if (k == 2)
            goto out;
        (void)z;
    }
out:
    assert_int_equal(td_tensor_count(s), 1);
    {
        TD_SCOPE(s);
        td_tensor inner = kept_of(x); /* out of one scope, into this */
        assert_true(td_item(td_sum(inner)) == 9);
        assert_int_equal(td_tensor_count(s), 2);
    }
    assert_int_equal(td_tensor_count(s), 1);
    for (int k = 0; k < 3000; k++) { /* handles are used again */
        TD_SCOPE(s);
        td_mul(x, k);
    }
    assert_int_equal(td_tensor_count(s), 1);
    assert_int_equal(td_sync(s), 0);
}

static void a_session_may_close_inside_a_scope(void **state)
{
    (void)state;
    td_session *other = td_open(daemon_.address);
    td_optimizer *sgd;
    {
        TD_SCOPE(other);
        TD_NO_GRAD(other);
        sgd = td_sgd(other, TD_LIST(td_zeros(other, TD_SHAPE(2), .requires_grad = true)), .momentum = 0.5);
        assert_int_equal(td_close(other), 0);
    }
    td_step(sgd);
    td_optimizer_free(sgd);
}

/* ---- errors ---- */

static void errors_are_values(void **state)
{
    (void)state;
    td_tensor a = td_name(td_ones(s, TD_SHAPE(4, 2)), "weights"), kept = td_ones(s, TD_SHAPE(4, 2));
    td_tensor c = td_matmul(a, a);
    td_tensor d = td_add(td_relu(c), 1);
    assert_false(td_ok(c) || td_ok(d));
    td_add_(kept, td_mul(d, 2)); /* left out */
    assert_true(isnan(td_item(d)));
    char *text = td_text(d);
    assert_non_null(strstr(text, "failed: matmul: shapes (4, 2) and (4, 2)"));
    free(text);
    expect_error(TD_E_SHAPE, "a is weights", 0);
    assert_true(td_item(td_sum(kept)) == 8);
    float few[3] = {7, 7, 7};
    assert_int_equal(td_read(kept, few, TD_F32, 3), -1);
    assert_true(few[0] == 7);
    expect_error(TD_E_ARGUMENT, "8 elements do not fit", 0);
    assert_true(isnan(td_item(kept)));
    expect_error(TD_E_SHAPE, "item", 0);
    assert_int_equal(td_size(kept, 2), -1);
    expect_error(TD_E_INDEX, "size", 0);
    td_tensor nothing = td_from(s, NULL, TD_F32, TD_SHAPE(2));
    assert_false(td_ok(nothing));
    expect_error(TD_E_SHAPE, "from", 0);
    td_relu(d); /* known to have failed: raised again */
    expect_error(TD_E_SHAPE, "matmul", 0);
    td_session *other = td_open(daemon_.address);
    td_add(kept, td_ones(other, TD_SHAPE(1)));
    expect_error(TD_E_HANDLE, "belongs to another session", 0);
    assert_int_equal(td_close(other), 0);
}

static void the_first_error_stands(void **state)
{
    (void)state;
    td_tensor x = td_ones(s, TD_SHAPE(4)), bad = td_from(s, (const int64_t[]){0, 9}, TD_I64, TD_SHAPE(2));
    int line = __LINE__ + 1;
    td_index_select(x, 0, bad); /* only the daemon can know */
    td_matmul(x, bad);
    expect_error(TD_E_INDEX, "9", line);
    line = __LINE__ + 1;
    td_matmul(x, td_ones(s, TD_SHAPE(2)));
    td_index_select(x, 0, bad);
    expect_error(TD_E_SHAPE, "matmul", line);
    assert_int_equal(td_error(s)->code, TD_E_OK);
}

static void no_daemon_is_an_error_like_others(void **state)
{
    (void)state;
    td_session *dead = td_open("unix:/nonexistent/tensord.sock");
    TD_SCOPE(dead);
    td_tensor x = td_zeros(dead, TD_SHAPE(2), .requires_grad = true);
    td_optimizer *adam = td_adam(dead, TD_LIST(x));
    td_zero_grad(adam);
    td_backward(td_sum(td_mul(x, 2)));
    td_step(adam);
    assert_true(isnan(td_item(td_sum(td_grad(x)))));
    const td_error_info *e = td_error(dead);
    assert_int_equal(e->code, TD_E_CONNECT);
    assert_non_null(strstr(e->message, "/nonexistent/tensord.sock"));
    td_clear_error(dead);
    assert_int_equal(td_error(dead)->code, TD_E_CONNECT);
    td_optimizer_free(adam);
    assert_int_equal(td_close(dead), TD_E_CONNECT);
}

/* What a child process does, and how it ended: its exit code, or 128 and the signal. */
static int in_child(void (*act)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        act();
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static td_tensor of_parent;

static void use_after_fork(void)
{
    td_tensor y = td_relu(of_parent);
    if (td_ok(y) || td_ok(of_parent) || !isnan(td_item(y)) || td_error(s)->code != TD_E_FORKED)
        _exit(1);
    _exit(td_close(s) == TD_E_FORKED ? 0 : 2);
}

static void abort_on_error(void)
{
    td_session *own = td_open(daemon_.address);
    td_on_error(own, TD_ABORT);
    td_tensor x = td_ones(own, TD_SHAPE(2));
    signal(SIGABRT, SIG_DFL);
    td_matmul(x, td_zeros(own, TD_SHAPE(3)));
}

static void sync_finds_the_line(void)
{
    setenv("TENSORD_SYNC", "1", 1);
    td_session *own = td_open(daemon_.address);
    td_tensor x = td_ones(own, TD_SHAPE(2));
    td_on_error(own, TD_ABORT);
    td_index_select(x, 0, td_from(own, (const int64_t[]){7}, TD_I64, TD_SHAPE(1)));
    _exit(1);
}

static void a_fork_has_no_part_in_the_session(void **state)
{
    (void)state;
    of_parent = td_ones(s, TD_SHAPE(3));
    assert_int_equal(in_child(use_after_fork), 0);
    assert_true(td_item(td_sum(of_parent)) == 3);
    assert_int_equal(in_child(abort_on_error), 128 + SIGABRT);
    assert_int_equal(in_child(sync_finds_the_line), 128 + SIGABRT);
}

/* ---- autograd and optimisers ---- */

static void leaves_are_guarded(void **state)
{
    (void)state;
    td_tensor w = td_ones(s, TD_SHAPE(2, 2), .requires_grad = true), x = td_ones(s, TD_SHAPE(2, 2));
    td_tensor y = td_mul(w, x);
    assert_true(td_requires_grad(w) && td_is_leaf(w) && td_requires_grad(y) && !td_is_leaf(y));
    assert_false(td_requires_grad(td_detach(y)) || td_requires_grad(td_gt(y, 0)) || td_requires_grad(x));
    td_fill_(w, 2);
    expect_error(TD_E_GRAD, "fill_: the target is a leaf", 0);
    td_fill_(td_select(w, 0, 1), 2);
    expect_error(TD_E_GRAD, "a view of a leaf", 0);
    {
        TD_NO_GRAD(s);
        td_fill_(w, 3);
        assert_false(td_requires_grad(td_mul(w, 2)));
    }
    assert_true(td_item(td_sum(w)) == 12);
    td_tensor base = td_zeros(s, TD_SHAPE(2, 2)), row = td_select(base, 0, 0);
    td_add_(row, td_sum(w)); /* a recorded write: what shares the bytes knows */
    assert_true(td_requires_grad(base) && !td_is_leaf(base));
    td_backward(td_sum(base));
    td_tensor g = td_grad(w);
    assert_true(td_item(td_select(td_select(g, 0, 0), 0, 0)) == 2);
    td_tensor again = td_grad(w);
    assert_int_equal(again.handle, g.handle);
    td_tensor integers = td_arange(s, 0, 4);
    td_set_requires_grad(integers, true);
    expect_error(TD_E_DTYPE, "requires_grad", 0);
    td_ones(s, TD_SHAPE(1), .dtype = TD_I64, .requires_grad = true);
    expect_error(TD_E_DTYPE, "ones", 0);
    td_backward(td_ones(s, TD_SHAPE(1)));
    expect_error(TD_E_GRAD, NULL, 0);
}

static void optimisers_step(void **state)
{
    (void)state;
    td_tensor w = td_full(s, TD_SHAPE(2), 4.0, .requires_grad = true);
    td_optimizer *sgd = td_sgd(s, TD_LIST(w), .lr = 0.5, .momentum = 0.9);
    double expected = 4, momentum = 0;
    int64_t held = td_tensor_count(s);
    for (int k = 0; k < 5; k++) {
        TD_SCOPE(s);
        td_zero_grad(sgd);
        td_backward(td_sum(td_square(w)));
        td_step(sgd);
        momentum = k ? 0.9 * momentum + 2 * expected : 2 * expected;
        expected -= 0.5 * momentum;
    }
    float got[2];
    assert_int_equal(td_read(w, got, TD_F32, 2), 2);
    assert_true(fabs(got[1] - expected) < 1e-4);
    assert_int_equal(td_tensor_count(s), held);
    td_optimizer_free(sgd);
    assert_int_equal(td_tensor_count(s), 1);
    td_tensor no_leaf = td_mul(w, 2);
    td_optimizer *adam = td_adam(s, TD_LIST(no_leaf));
    expect_error(TD_E_GRAD, "parameter 0 is no leaf: it is the result of mul", 0);
    td_optimizer_free(adam);
}

/* ---- printing: what PyTorch 1.13 prints ---- */

static void expect_text(td_tensor x, const char *due)
{
    char *text = td_text(x);
    assert_string_equal(text, due);
    free(text);
}

static void prints_as_pytorch(void **state)
{
    (void)state;
    expect_text(td_from(s, (const float[]){0.001f, 1.5f, NAN}, TD_F32, TD_SHAPE(3)),
                "tensor([1.0000e-03, 1.5000e+00,        nan])");
    expect_text(td_from(s, (const float[]){1, -INFINITY, 1000}, TD_F32, TD_SHAPE(3, 1)),
                "tensor([[   1.],\n        [ -inf],\n        [1000.]])");
    expect_text(td_from(s, (const bool[]){true, false}, TD_BOOL, TD_SHAPE(2)), "tensor([ True, False])");
    expect_text(td_arange(s, 0, 2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])");
    expect_text(td_zeros(s, TD_SHAPE(0, 3), .dtype = TD_F64), "tensor([], size=(0, 3), dtype=torch.float64)");
    expect_text(td_full(s, TD_SHAPE(), 2.5, .requires_grad = true), "tensor(2.5000, requires_grad=True)");
    td_tensor w = td_ones(s, TD_SHAPE(2), .requires_grad = true);
    expect_text(td_tanh(w), "tensor([0.7616, 0.7616], grad_fn=<tanh>)");
    expect_text(td_reshape(td_arange(s, 0, 8, .dtype = TD_F32), TD_SHAPE(2, 2, 2)),
                "tensor([[[0., 1.],\n         [2., 3.]],\n\n        [[4., 5.],\n         [6., 7.]]])");
    expect_text(td_reshape(td_arange(s, 0, 4000), TD_SHAPE(2000, 2)),
                "tensor([[   0,    1],\n        [   2,    3],\n        [   4,    5],\n        ...,\n"
                "        [3994, 3995],\n        [3996, 3997],\n        [3998, 3999]])");
}

/* ---- threads ---- */

static void *work(void *argument)
{
    long own = (long)argument;
    TD_NO_GRAD(s);
    td_tensor x = td_full(s, TD_SHAPE(8), (double)own);
    for (int k = 0; k < 300; k++) {
        TD_SCOPE(s);
        td_tensor y = td_add(td_mul(x, 2), own);
        if (k % 30 == 0 && td_item(td_sum(y)) != 24.0 * (double)own)
            return (void *)1;
    }
    td_release(x);
    return NULL;
}

static void threads_share_a_session(void **state)
{
    (void)state;
    pthread_t threads[4];
    void *failed;
    for (long k = 0; k < 4; k++)
        pthread_create(&threads[k], NULL, work, (void *)(k + 1));
    for (int k = 0; k < 4; k++) {
        pthread_join(threads[k], &failed);
        assert_null(failed);
    }
    assert_int_equal(td_tensor_count(s), 0);
}

int main(void)
{
#define WITH_SESSION(test) cmocka_unit_test_setup_teardown(test, open_session, close_session)
    const struct CMUnitTest tests[] = {
        WITH_SESSION(scopes_end_with_their_block),
        WITH_SESSION(a_session_may_close_inside_a_scope),
        WITH_SESSION(errors_are_values),
        WITH_SESSION(the_first_error_stands),
        cmocka_unit_test(no_daemon_is_an_error_like_others),
        WITH_SESSION(a_fork_has_no_part_in_the_session),
        WITH_SESSION(leaves_are_guarded),
        WITH_SESSION(optimisers_step),
        WITH_SESSION(prints_as_pytorch),
        WITH_SESSION(threads_share_a_session),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
