/* End to end: recorded programs give the bits of the calls they were recorded from, and fail as those would.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sessions.h"

/* ---- a training step with everything in it ---- */

enum { FEATURES = 6, HIDDEN = 5, CLASSES = 3, BATCH = 4, STEPS = 20 };

struct model {
    td_tensor w1, b1, w2, mean, variance;
    td_optimizer *optimizer;
};

static struct model model_new(td_session *s, bool adam)
{
    struct model m;
    td_manual_seed(s, 21);
    m.w1 = td_set_requires_grad(td_mul(td_randn(s, TD_SHAPE(FEATURES, HIDDEN)), 0.5), true);
    m.b1 = td_zeros(s, TD_SHAPE(HIDDEN), .requires_grad = true);
    m.w2 = td_set_requires_grad(td_mul(td_randn(s, TD_SHAPE(HIDDEN, CLASSES)), 0.5), true);
    m.mean = td_zeros(s, TD_SHAPE(HIDDEN));
    m.variance = td_ones(s, TD_SHAPE(HIDDEN));
    td_list all = TD_LIST(m.w1, m.b1, m.w2);
    m.optimizer = adam ? td_adam(s, all, .lr = 0.02) : td_sgd(s, all, .lr = 0.1, .momentum = 0.9);
    return m;
}

static td_tensor step(struct model m, td_tensor x, td_tensor t)
{
    td_tensor h = td_add(td_matmul(x, m.w1), m.b1);
    h = td_batch_norm(h, .running_mean = m.mean, .running_var = m.variance, .training = true);
    h = td_dropout(td_gelu(h), .p = 0.2);
    td_tensor loss = td_cross_entropy(td_matmul(h, m.w2), t);
    td_zero_grad(m.optimizer);
    td_backward(loss);
    td_step(m.optimizer);
    return loss;
}

static void check_step(bool adam)
{
    td_session *s = open_session();
    struct model eager = model_new(s, adam), replayed = model_new(s, adam);
    td_tensor xs[STEPS], ts[STEPS];
    double losses[STEPS];
    for (int i = 0; i < STEPS; i++) {
        xs[i] = td_randn(s, TD_SHAPE(BATCH, FEATURES));
        ts[i] = td_randint(s, 0, CLASSES, TD_SHAPE(BATCH));
    }
    td_manual_seed(s, 6);
    for (int i = 0; i < STEPS; i++) {
        TD_SCOPE(s);
        losses[i] = td_item(step(eager, xs[i], ts[i]));
    }
    td_manual_seed(s, 6);
    td_program *program = td_record(s, TD_LIST(xs[0], ts[0]));
    td_tensor first = step(replayed, xs[0], ts[0]);
    td_record_end(program, TD_LIST(first));
    assert_true(td_item(first) == losses[0]);
    int64_t tensors = td_tensor_count(s);
    for (int i = 1; i < STEPS; i++) {
        TD_SCOPE(s);
        td_tensor out[1];
        td_run(program, TD_LIST(xs[i], ts[i]), out);
        assert_true(td_item(out[0]) == losses[i]);
    }
    assert_int_equal(td_tensor_count(s), tensors);
    const td_tensor a[] = {eager.w1, eager.b1, eager.w2, eager.mean, eager.variance, td_grad(eager.w1)};
    const td_tensor b[] = {replayed.w1,   replayed.b1,       replayed.w2,
                           replayed.mean, replayed.variance, td_grad(replayed.w1)};
    for (int k = 0; k < 6; k++)
        assert_true(td_equal(a[k], b[k]));
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_program_free(program);
    td_optimizer_free(eager.optimizer);
    td_optimizer_free(replayed.optimizer);
    close_session(s);
}

static void test_replay_gives_the_bits_of_eager_sgd(void **state)
{
    (void)state;
    check_step(false);
}

static void test_replay_gives_the_bits_of_eager_adam(void **state)
{
    (void)state;
    check_step(true);
}

/* The rate is on the device: replays use the one that was set before them. */
static void test_a_schedule_goes_on_in_replays(void **state)
{
    (void)state;
    for (int adam = 0; adam < 2; adam++) {
        td_session *s = open_session();
        struct model eager = model_new(s, adam), replayed = model_new(s, adam), constant = model_new(s, adam);
        td_tensor x = td_randn(s, TD_SHAPE(BATCH, FEATURES)), t = td_randint(s, 0, CLASSES, TD_SHAPE(BATCH)), out[1];
        struct model *const models[] = {&eager, &replayed, &constant};
        for (int k = 0; k < 3; k++) {
            td_program *program = NULL;
            td_manual_seed(s, 6);
            for (int i = 0; i < STEPS; i++) {
                TD_SCOPE(s);
                if (k < 2)
                    td_set_lr(models[k]->optimizer, 0.1 / (i + 1));
                if (k == 0) {
                    step(eager, x, t);
                } else if (i == 0) {
                    program = td_record(s, TD_LIST(x, t));
                    td_record_end(program, TD_LIST(step(*models[k], x, t)));
                } else {
                    td_run(program, TD_LIST(x, t), out);
                }
            }
            td_program_free(program);
        }
        assert_true(td_equal(eager.w1, replayed.w1) && td_equal(eager.w2, replayed.w2));
        assert_false(td_equal(eager.w1, constant.w1));
        assert_int_equal(td_error(s)->code, TD_E_OK);
        for (int k = 0; k < 3; k++)
            td_optimizer_free(models[k]->optimizer);
        assert_int_equal(td_close(s), 0);
    }
    daemon_wait_empty(&daemon_);
}

/* ---- what a program means ---- */

static void test_captured_tensors_are_references(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_full(s, TD_SHAPE(2), 1.0), w = td_full(s, TD_SHAPE(2), 10.0), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_mul(x, w);
    td_add_(w, 1.0); /* a write to what was captured, each time again */
    td_record_end(p, TD_LIST(y));
    assert_values(w, 2, (double[]){11, 11});
    td_run(p, TD_LIST(x), out);
    assert_values(out[0], 2, (double[]){11, 11});
    td_fill_(w, 3.0);
    td_run(p, TD_LIST(x), out);
    assert_values(out[0], 2, (double[]){3, 3});
    assert_values(w, 2, (double[]){4, 4});
    td_release(w); /* the program keeps it */
    td_run(p, TD_LIST(x), out);
    assert_values(out[0], 2, (double[]){4, 4});
    assert_values(y, 2, (double[]){10, 10});
    td_program_free(p);
    close_session(s);
}

static void test_inputs_of_other_shapes_strides_and_sharing(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor a = td_ones(s, TD_SHAPE(2, 2)), b = td_full(s, TD_SHAPE(2, 2), 2.0), out[2];
    td_program *p = td_record(s, TD_LIST(a, b));
    td_add_(a, b);
    td_tensor c = td_mul(a, b);
    td_record_end(p, TD_LIST(c, a));
    td_tensor x = td_reshape(td_arange(s, 0, 3), TD_SHAPE(3, 1)), y = td_full(s, TD_SHAPE(3), 2);
    x = td_contiguous(td_expand(x, TD_SHAPE(3, 3)));
    td_run(p, TD_LIST(x, y), out);
    assert_int_equal(td_size(out[0], 0), 3); /* asks */
    assert_int_equal(td_dtype_of(td_to(out[0], TD_F64)), TD_F64);
    assert_values(out[0], 9, (double[]){4, 4, 4, 6, 6, 6, 8, 8, 8});
    assert_true(td_equal(out[1], x));
    td_tensor one = td_full(s, TD_SHAPE(2, 2), 3.0);
    td_run(p, TD_LIST(one, one), out); /* one tensor for two inputs */
    assert_values(out[0], 4, (double[]){36, 36, 36, 36});
    td_tensor turned = td_t(td_from(s, ((const float[]){1, 2, 3, 4}), TD_F32, TD_SHAPE(2, 2)));
    td_run(p, TD_LIST(turned, b), out);
    assert_values(out[0], 4, (double[]){6, 10, 8, 12});
    td_program_free(p);
    assert_int_equal(td_close(s), 0);
}

static void test_outputs_carry_a_graph(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = td_full(s, TD_SHAPE(2), 3.0, .requires_grad = true), x = td_full(s, TD_SHAPE(2), 2.0), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_mul(td_square(w), x);
    td_record_end(p, TD_LIST(y));
    td_run(p, TD_LIST(td_full(s, TD_SHAPE(2), 5.0)), out);
    assert_true(td_requires_grad(out[0]));
    td_backward(td_sum(out[0]));
    assert_values(td_grad(w), 2, (double[]){30, 30});
    td_backward(td_sum(y)); /* the recording's own graph is another one */
    assert_values(td_grad(w), 2, (double[]){42, 42});
    td_program_free(p);
    close_session(s);
}

static void test_outputs_require_gradients_as_the_inputs_do(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor plain = td_ones(s, TD_SHAPE(2)), leaf = td_full(s, TD_SHAPE(2), 3.0, .requires_grad = true), out[4];
    td_tensor computed = td_mul(leaf, 2.0);
    td_tensor recorded[] = {plain, leaf};
    for (int k = 0; k < 2; k++) {
        td_tensor x = recorded[k];
        td_program *p = td_record(s, TD_LIST(x));
        td_record_end(p, TD_LIST(td_square(x), td_detach(x), td_reshape(x, TD_SHAPE(2, 1)), td_gt(x, 0.0)));
        td_run(p, TD_LIST(plain), out);
        for (int j = 0; j < 4; j++)
            assert_true(!td_requires_grad(out[j]) && td_is_leaf(out[j]));
        td_mul_(out[2], 1.0);
        td_run(p, TD_LIST(leaf), out);
        assert_true(td_requires_grad(out[0]) && !td_is_leaf(out[0]));
        assert_false(td_requires_grad(out[1]) || td_requires_grad(out[3]));
        assert_true(td_requires_grad(out[2]) && !td_is_leaf(out[2]));
        td_mul_(out[2], 1.0);
        assert_error(s, TD_E_GRAD, "mul_: the target is a view of a leaf that requires a gradient");
        td_backward(td_sum(out[0]));
        assert_values(td_grad(leaf), 2, (double[]){6 * (k + 1), 6 * (k + 1)});
        td_run(p, TD_LIST(computed), out);
        assert_true(td_requires_grad(out[0]) && td_requires_grad(out[2]));
        assert_false(td_requires_grad(out[1]) || td_requires_grad(out[3]));
        td_program_free(p);
    }
    assert_fine(s);
    close_session(s);
}

static void test_programs_nest(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_full(s, TD_SHAPE(1), 2.0), out[1], inner[1];
    td_program *square = td_record(s, TD_LIST(x));
    td_record_end(square, TD_LIST(td_square(x)));
    td_program *both = td_record(s, TD_LIST(x));
    td_run(square, TD_LIST(x), inner);
    td_run(square, TD_LIST(inner[0]), inner);
    td_program *cube = td_record(s, TD_LIST(x)); /* recorded inside: what it does is part of both */
    td_tensor c = td_mul(td_square(x), x);
    td_record_end(cube, TD_LIST(c));
    td_record_end(both, TD_LIST(td_add(inner[0], c)));
    td_program_free(square); /* both keeps it */
    td_run(both, TD_LIST(td_full(s, TD_SHAPE(1), 3.0)), out);
    assert_values(out[0], 1, (double[]){81 + 27});
    td_run(cube, TD_LIST(td_full(s, TD_SHAPE(1), 3.0)), out);
    assert_values(out[0], 1, (double[]){27});
    td_program_free(cube);
    td_program_free(both);
    close_session(s);
}

static void test_random_numbers_and_uploads(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor eager[3], out[1];
    td_manual_seed(s, 9);
    for (int k = 0; k < 3; k++)
        eager[k] = td_add(td_randn(s, TD_SHAPE(3)), td_from(s, ((const float[]){1, 2, 3}), TD_F32, TD_SHAPE(3)));
    td_manual_seed(s, 9);
    td_program *p = td_record(s, TD_LIST_OF(0, NULL));
    td_tensor first = td_add(td_randn(s, TD_SHAPE(3)), td_from(s, ((const float[]){1, 2, 3}), TD_F32, TD_SHAPE(3)));
    td_record_end(p, TD_LIST(first));
    assert_true(td_equal(first, eager[0]));
    for (int k = 1; k < 3; k++) {
        td_run(p, TD_LIST_OF(0, NULL), out);
        assert_true(td_equal(out[0], eager[k]));
    }
    td_program_free(p);
    assert_int_equal(td_close(s), 0);
}

/* ---- errors ---- */

static void test_reading_inside_is_an_error(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2)), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_sum(x);
    assert_true(isnan(td_item(y)));
    assert_error(s, TD_E_ARGUMENT, "read: reads inside of what is recorded");
    td_record_end(p, TD_LIST(y));
    assert_true(td_item(y) == 2); /* it was carried out all the same */
    td_run(p, TD_LIST(x), out);
    assert_false(td_ok(out[0]));
    assert_error(s, TD_E_ARGUMENT, "read: reads inside");
    td_program_free(p);
    p = td_record(s, TD_LIST(x));
    y = td_nonzero(x);
    assert_false(td_ok(y));
    assert_error(s, TD_E_ARGUMENT, "nonzero: the size of its result depends on data");
    td_record_end(p, TD_LIST(x));
    td_run(p, TD_LIST(x), out);
    assert_false(td_ok(out[0]));
    td_clear_error(s);
    td_program_free(p);
    assert_int_equal(td_close(s), 0);
}

static void test_what_fails_in_the_middle_has_no_effect(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor table = td_ones(s, TD_SHAPE(4)), sum = td_zeros(s, TD_SHAPE(1)), out[1];
    const int64_t good[] = {1, 3}, bad[] = {1, 4};
    td_tensor index = td_from(s, good, TD_I64, TD_SHAPE(2));
    td_program *p = td_record(s, TD_LIST(index));
    td_add_(sum, 1.0);
    td_tensor picked = td_sum(td_index_select(table, 0, index));
    td_add_(sum, picked);
    td_record_end(p, TD_LIST(picked));
    td_run(p, TD_LIST(td_from(s, bad, TD_I64, TD_SHAPE(2))), out);
    assert_error(s, TD_E_INDEX, "index_select: index 4 is out of range");
    assert_true(isnan(td_item(out[0])));
    td_clear_error(s);
    assert_values(sum, 1, (double[]){4}); /* what came before the error has happened */
    td_run(p, TD_LIST(index), out);
    assert_values(sum, 1, (double[]){7});
    assert_values(out[0], 1, (double[]){2});
    td_program_free(p);
    assert_int_equal(td_close(s), 0);
}

/* How many runs of p were unlike what was recorded. */
static int differed(td_program *p)
{
    char *json = td_program_json(p);
    assert_non_null(json);
    const char *key = "\"runs_unlike_recorded\": ", *at = strstr(json, key);
    assert_non_null(at);
    int count = atoi(at + strlen(key));
    free(json);
    return count;
}

/* Whether gradients are there is found out by each run, and counted where it is not as it was. */
static void test_gradients_that_are_there_or_not(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = td_ones(s, TD_SHAPE(2), .requires_grad = true), v = td_ones(s, TD_SHAPE(2)), out[1];
    td_optimizer *sgd = td_sgd(s, TD_LIST(w));
    td_program *p = td_record(s, TD_LIST());
    td_tensor y = td_sum(td_mul(td_mul(w, v), 3.0));
    td_backward(y);
    td_record_end(p, TD_LIST(y));
    td_zero_grad(sgd);
    td_run(p, TD_LIST(), out); /* as when it was recorded: there was no gradient */
    assert_values(td_grad(w), 2, (double[]){3, 3});
    assert_int_equal(differed(p), 0);
    td_run(p, TD_LIST(), out);
    assert_values(td_grad(w), 2, (double[]){6, 6});
    assert_int_equal(differed(p), 1);
    td_zero_grad(sgd);
    td_run(p, TD_LIST(), out);
    assert_int_equal(differed(p), 1);
    td_zero_grad(sgd);
    td_set_requires_grad(v, true); /* what was captured wants a gradient now */
    td_run(p, TD_LIST(), out);
    assert_values(td_grad(v), 2, (double[]){3, 3});
    assert_int_equal(differed(p), 2);
    td_program_free(p);
    td_optimizer_free(sgd);
    close_session(s);
}

/* A step of an optimiser passes over what has no gradient. */
static void test_a_step_where_gradients_are_there_or_not(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor w = td_ones(s, TD_SHAPE(2), .requires_grad = true), out[1];
    td_optimizer *sgd = td_sgd(s, TD_LIST(w), .lr = 1.0);
    td_backward(td_sum(w));
    td_program *p = td_record(s, TD_LIST());
    td_step(sgd);
    td_record_end(p, TD_LIST());
    td_run(p, TD_LIST(), out);
    assert_values(w, 2, (double[]){-1, -1});
    assert_int_equal(differed(p), 0);
    td_zero_grad(sgd);
    td_run(p, TD_LIST(), out);
    assert_values(w, 2, (double[]){-1, -1});
    assert_int_equal(differed(p), 1);
    td_program_free(p);
    td_optimizer_free(sgd);
    close_session(s);
}

static void test_what_a_program_consists_of(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2)), out[1];
    td_tensor w = td_name(td_full(s, TD_SHAPE(2), 3.0, .requires_grad = true), "weight \"w\"");
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_sum(td_mul(x, w));
    td_backward(y);
    td_record_end(p, TD_LIST(y));
    td_optimizer *sgd = td_sgd(s, TD_LIST(w));
    td_zero_grad(sgd);
    td_optimizer_free(sgd);
    td_run(p, TD_LIST(x), out);
    td_run(p, TD_LIST(td_ones(s, TD_SHAPE(2), .dtype = TD_F64)), out);
    char *text = td_program_text(p), *json = td_program_json(p);
    assert_non_null(text);
    assert_non_null(strstr(text, "program of 3 requests"));
    assert_non_null(strstr(text, "1 tensors captured; run 2 times, 1 unlike what was recorded"));
    assert_non_null(strstr(text, "is weight \"w\"\n"));
    assert_non_null(strstr(text, "\n  mul "));
    assert_non_null(strstr(text, "\n  backward "));
    assert_non_null(strstr(text, "test_programs.c:"));
    assert_non_null(strstr(json, "\"runs\": 2, \"runs_unlike_recorded\": 1"));
    assert_non_null(strstr(json, "\"name\": \"weight \\u0022w\\u0022\""));
    free(text);
    free(json);
    td_program_free(p);
    close_session(s);
}

static void test_misuse(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_tensor x = td_ones(s, TD_SHAPE(2)), gone = td_ones(s, TD_SHAPE(2)), out[1];
    td_program *p = td_record(s, TD_LIST(x));
    td_run(p, TD_LIST(x), out);
    assert_error(s, TD_E_ARGUMENT, "run: the program is still being recorded");
    td_record_end(p, TD_LIST(td_mul(x, 2.0)));
    td_record_end(p, TD_LIST(x));
    assert_error(s, TD_E_ARGUMENT, "record_end: the program is complete already");
    td_run(p, TD_LIST(x, x), out);
    assert_error(s, TD_E_ARGUMENT, "run: 2 inputs for a program of 1");
    td_release(gone);
    td_run(p, TD_LIST(gone), out);
    assert_error(s, TD_E_HANDLE, "run: input 0 is used after it was released");
    assert_false(td_ok(out[0]));
    td_run(p, TD_LIST(td_matmul(x, td_ones(s, TD_SHAPE(3)))), out);
    assert_error(s, TD_E_SHAPE, "matmul");
    td_program_free(p);
    p = td_record(s, TD_LIST(x, x));
    assert_error(s, TD_E_ARGUMENT, "record: input 1 is input 0 again");
    td_record_end(p, TD_LIST(x));
    td_program_free(p);
    p = td_record(s, TD_LIST(x)); /* freed while it is recorded */
    td_program_free(p);
    td_clear_error(s);
    assert_values(td_add(x, 1.0), 2, (double[]){2, 2});
    p = td_record(s, TD_LIST(x));
    td_record_end(p, TD_LIST(x));
    assert_int_equal(td_close(s), 0);
    td_program_free(p);
    td_program_free(NULL);
    daemon_wait_empty(&daemon_);
}

static void test_programs_take_a_bounded_part_of_the_host(void **state)
{
    (void)state;
    enum { INPUTS = 1000, MANY = 600, LONG = 20000 };
    static td_tensor in[INPUTS], out[1];
    static td_program *programs[MANY];
    td_session *s = open_session();
    for (int k = 0; k < INPUTS; k++)
        in[k] = td_ones(s, TD_SHAPE(1));
    for (int k = 0; k < MANY; k++) {
        programs[k] = td_record(s, TD_LIST_OF(INPUTS, in));
        td_record_end(programs[k], TD_LIST(in[0]));
    }
    assert_error(s, TD_E_LIMIT, "all programs of the session take more than 64 MiB");
    td_run(programs[0], TD_LIST_OF(INPUTS, in), out);
    assert_values(out[0], 1, (double[]){1});
    td_program_free(programs[0]);
    programs[0] = td_record(s, TD_LIST_OF(0, NULL)); /* what fails is its requests, which only the daemon knows */
    for (int k = 0; k < LONG; k++)
        td_add_(in[0], 1.0);
    td_record_end(programs[0], TD_LIST(in[0]));
    assert_error(s, TD_E_MEMORY, "record: all programs of the session take more than 64 MiB");
    assert_fine(s);
    td_run(programs[0], TD_LIST_OF(0, NULL), out);
    assert_error(s, TD_E_MEMORY, "run: the program failed when it was recorded: record: all programs");
    assert_true(isnan(td_item(out[0])));
    for (int k = 0; k < MANY; k++)
        td_program_free(programs[k]);
    td_clear_error(s);
    td_program *p = td_record(s, TD_LIST_OF(INPUTS, in));
    td_record_end(p, TD_LIST(in[1]));
    td_run(p, TD_LIST_OF(INPUTS, in), out);
    assert_values(out[0], 1, (double[]){1});
    assert_int_equal(td_error(s)->code, TD_E_OK);
    td_program_free(p);
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_gives_the_bits_of_eager_sgd),
        cmocka_unit_test(test_replay_gives_the_bits_of_eager_adam),
        cmocka_unit_test(test_a_schedule_goes_on_in_replays),
        cmocka_unit_test(test_captured_tensors_are_references),
        cmocka_unit_test(test_inputs_of_other_shapes_strides_and_sharing),
        cmocka_unit_test(test_outputs_carry_a_graph),
        cmocka_unit_test(test_outputs_require_gradients_as_the_inputs_do),
        cmocka_unit_test(test_programs_nest),
        cmocka_unit_test(test_random_numbers_and_uploads),
        cmocka_unit_test(test_reading_inside_is_an_error),
        cmocka_unit_test(test_what_fails_in_the_middle_has_no_effect),
        cmocka_unit_test(test_gradients_that_are_there_or_not),
        cmocka_unit_test(test_a_step_where_gradients_are_there_or_not),
        cmocka_unit_test(test_what_a_program_consists_of),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_programs_take_a_bounded_part_of_the_host),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
