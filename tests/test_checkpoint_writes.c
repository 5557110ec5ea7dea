/* End to end: what is written inside of a checkpoint to tensors from outside has the gradients of the same program
 * without the checkpoint, bit for bit. SPDX-License-Identifier: Apache-2.0 */
#include "tests/sessions.h"
#include "tests/square.h"

enum { ROWS = 3, COLUMNS = 4 };

/* What a case has to do with: w and x are leaves, base is computed from x, plain wants no gradient. */
struct tensors {
    td_session *s;
    bool on; /* its blocks are checkpoints, else only scopes */
    td_tensor w, x, base, plain;
    td_tensor row;  /* of base, made outside */
    td_tensor kept; /* of a block */
    td_program *program;
    td_function *square;
};

typedef void block(struct tensors *t);
typedef td_tensor loss(struct tensors *t);

static void run(struct tensors *t, block *inside)
{
    if (t->on) {
        TD_CHECKPOINT(t->s);
        inside(t);
    } else {
        TD_SCOPE(t->s);
        inside(t);
    }
}

static td_tensor over(td_tensor y)
{
    return td_sum(td_mul(td_tanh(y), y));
}

/* ---- cases: each a block or more, and what is made of what they leave ---- */

static void write_all(struct tensors *t)
{
    td_mul_(t->base, td_tanh(t->w));
}

static td_tensor all_of_a_base(struct tensors *t)
{
    run(t, write_all);
    return over(t->base);
}

static td_tensor a_view_of_what_was_written(struct tensors *t)
{
    run(t, write_all);
    return td_add(over(t->row), over(td_select(t->base, 0, 1)));
}

static void write_row(struct tensors *t)
{
    td_mul_(t->row, td_select(t->w, 0, 2));
}

static td_tensor through_a_view_from_outside(struct tensors *t)
{
    run(t, write_row);
    return td_add(over(t->base), over(t->row));
}

static void write_new_view(struct tensors *t)
{
    td_tensor column = td_select(t->base, 1, 2);
    td_mul_(column, td_select(t->w, 1, 0));
    td_add_(td_slice(t->base, 0, .start = 1), td_exp(td_slice(t->w, 0, .end = 2)));
}

static td_tensor through_views_made_inside(struct tensors *t)
{
    run(t, write_new_view);
    return td_add(over(t->base), over(t->row));
}

static void write_plain(struct tensors *t)
{
    td_add_(t->plain, td_mul(t->x, t->w));
}

static td_tensor what_wanted_no_gradient(struct tensors *t)
{
    run(t, write_plain);
    assert_true(td_requires_grad(t->plain));
    return over(t->plain);
}

static void write_plain_row(struct tensors *t)
{
    td_copy_(td_select(t->plain, 0, 1), td_select(t->w, 0, 0));
}

static td_tensor a_window_of_what_wanted_none(struct tensors *t)
{
    run(t, write_plain_row);
    return over(t->plain);
}

static void write_twice(struct tensors *t)
{
    td_mul_(t->base, t->w);
    td_add_(t->row, td_sin(t->row));
    t->kept = td_keep(td_mul(t->base, t->row));
}

static td_tensor twice_and_read_inside(struct tensors *t)
{
    run(t, write_twice);
    return td_add(over(t->kept), over(t->base));
}

static void write_whole_last(struct tensors *t)
{
    td_mul_(t->row, 2.0);
    td_mul_(t->base, t->w);
}

static td_tensor a_window_and_then_all(struct tensors *t)
{
    run(t, write_whole_last);
    return td_add(over(t->base), over(t->row));
}

static void read_row(struct tensors *t)
{
    t->kept = td_keep(td_mul(t->row, td_select(t->base, 0, 2)));
}

static td_tensor written_in_one_and_read_in_another(struct tensors *t)
{
    run(t, write_twice);
    td_release(t->kept);
    run(t, read_row);
    return td_add(over(t->kept), over(t->base));
}

static td_tensor written_again_outside(struct tensors *t)
{
    run(t, write_row);
    td_mul_(t->base, 1.5);
    run(t, write_new_view);
    td_add_(td_select(t->base, 0, 0), td_select(t->w, 0, 1));
    return td_add(over(t->base), over(t->row));
}

static void write_and_go_on(struct tensors *t)
{
    td_mul_(t->base, t->w);
    run(t, write_row);
    td_add_(td_select(t->base, 0, 2), td_sin(t->row));
    run(t, write_new_view);
}

static td_tensor in_checkpoints_within(struct tensors *t)
{
    run(t, write_and_go_on);
    return td_add(over(t->base), over(t->row));
}

static void keep_views(struct tensors *t)
{
    t->kept = td_keep(td_select(t->base, 0, 1));
    td_tensor other = td_mul(t->w, 2.0);
    td_mul_(td_select(other, 0, 0), td_select(other, 0, 1));
}

static td_tensor a_view_made_inside_and_written_outside(struct tensors *t)
{
    run(t, keep_views);
    td_tensor before = over(t->kept);
    td_mul_(t->base, t->w);
    td_mul_(t->kept, 0.5);
    return td_add(td_add(before, over(t->kept)), over(t->base));
}

static void keep_view_and_write(struct tensors *t)
{
    t->kept = td_keep(td_select(t->base, 0, 1));
    td_mul_(t->base, t->w);
}

static td_tensor a_view_made_inside_and_written_inside(struct tensors *t)
{
    run(t, keep_view_and_write);
    td_tensor before = over(t->kept);
    td_mul_(t->kept, 0.5);
    return td_add(td_add(before, over(t->kept)), over(t->base));
}

static void write_detached(struct tensors *t)
{
    td_tensor alias = td_detach(t->base);
    td_mul_(alias, 2.0);
    td_mul_(td_select(alias, 0, 1), td_select(t->w, 0, 0));
    t->kept = td_keep(td_mul(alias, t->base));
}

static td_tensor through_an_alias(struct tensors *t)
{
    run(t, write_detached);
    return td_add(over(t->kept), over(t->base));
}

static void write_without_grad(struct tensors *t)
{
    td_mul_(t->base, t->w);
    {
        TD_NO_GRAD(t->s);
        td_mul_(t->base, 0.5);
        td_add_(t->plain, 1.0);
    }
    td_add_(t->base, td_mul(t->base, t->plain));
}

static td_tensor with_and_without_grad(struct tensors *t)
{
    run(t, write_without_grad);
    {
        TD_NO_GRAD(t->s);
        td_fill_(t->plain, 7.0);
    }
    return over(t->base);
}

static void write_random(struct tensors *t)
{
    td_mul_(t->base, td_dropout(td_tanh(t->w), .p = 0.4));
}

static td_tensor with_random_numbers(struct tensors *t)
{
    run(t, write_random);
    td_tensor drawn = td_mul(t->base, td_randn(t->s, TD_SHAPE(COLUMNS), .dtype = TD_F64));
    run(t, write_random);
    return td_add(over(drawn), over(t->base));
}

static void consume(struct tensors *t)
{
    t->kept = td_keep(td_mul(td_mul_(td_take(td_keep(t->row)), td_select(t->w, 0, 0)), 2.0));
}

static td_tensor through_a_view_that_ends_inside(struct tensors *t)
{
    run(t, consume);
    return td_add(over(t->kept), over(t->base));
}

static void run_program(struct tensors *t)
{
    td_tensor out[1];
    td_run(t->program, TD_LIST(td_tanh(t->w)), out);
    t->kept = td_keep(td_mul(out[0], t->base));
}

static td_tensor by_a_program(struct tensors *t)
{
    td_tensor factor = td_sigmoid(t->x);
    t->program = td_record(t->s, TD_LIST(t->w));
    td_tensor grown = td_mul(t->w, t->plain);
    td_mul_(t->plain, factor);
    td_mul_(t->base, td_add(t->w, 1.0));
    td_record_end(t->program, TD_LIST(grown));
    run(t, run_program);
    run(t, write_all);
    td_tensor result = td_add(td_add(over(t->kept), over(t->base)), td_add(over(t->plain), over(grown)));
    {
        TD_NO_GRAD(t->s); /* what the program has as it is now is not what the checkpoint read */
        td_fill_(td_detach(factor), 3.0);
    }
    return result;
}

static void apply_function(struct tensors *t)
{
    td_mul_(t->base, td_apply(t->square, t->w));
    td_add_(t->row, td_apply(t->square, t->row));
}

static td_tensor by_a_function(struct tensors *t)
{
    t->square = square_new(t->s);
    run(t, apply_function);
    return td_add(over(t->base), over(t->row));
}

static void make_leaf(struct tensors *t)
{
    t->kept = td_keep(td_full(t->s, TD_SHAPE(ROWS, 1), 0.5, .dtype = TD_F64, .requires_grad = true));
    td_mul_(t->base, td_tanh(td_add(t->kept, t->w)));
}

static td_tensor a_leaf_made_inside(struct tensors *t)
{
    run(t, make_leaf);
    return over(td_mul(t->base, t->kept));
}

static const struct {
    const char *name;
    loss *loss;
} cases[] = {
#define CASE(name)  \
    {               \
#name, name \
    }
    CASE(all_of_a_base),
    CASE(a_view_of_what_was_written),
    CASE(through_a_view_from_outside),
    CASE(through_views_made_inside),
    CASE(what_wanted_no_gradient),
    CASE(a_window_of_what_wanted_none),
    CASE(twice_and_read_inside),
    CASE(a_window_and_then_all),
    CASE(written_in_one_and_read_in_another),
    CASE(written_again_outside),
    CASE(in_checkpoints_within),
    CASE(a_view_made_inside_and_written_outside),
    CASE(a_view_made_inside_and_written_inside),
    CASE(through_an_alias),
    CASE(with_and_without_grad),
    CASE(with_random_numbers),
    CASE(through_a_view_that_ends_inside),
    CASE(by_a_program),
    CASE(by_a_function),
    CASE(a_leaf_made_inside),
};

/* ---- what is compared ---- */

enum way { BACKWARD, NAMED, SECOND, TWICE, WAYS };

enum { RESULTS = 6 };

static struct tensors tensors_new(td_session *s, bool on)
{
    struct tensors t = {.s = s, .on = on};
    td_manual_seed(s, 5);
    t.w = td_randn(s, TD_SHAPE(ROWS, COLUMNS), .dtype = TD_F64, .requires_grad = true);
    t.x = td_randn(s, TD_SHAPE(ROWS, COLUMNS), .dtype = TD_F64, .requires_grad = true);
    t.plain = td_randn(s, TD_SHAPE(ROWS, COLUMNS), .dtype = TD_F64);
    t.base = td_exp(t.x);
    t.row = td_select(t.base, 0, 1);
    return t;
}

static int results_of(struct tensors *t, loss *loss, enum way way, td_tensor *results)
{
    td_retain_grad(t->base);
    td_tensor y = loss(t), leaves[] = {t->w, t->x}, first[2], second[2];
    results[0] = y;
    switch (way) {
    case BACKWARD:
        td_backward(y);
        break;
    case NAMED:
        td_grads_of(TD_LIST(y), TD_LIST_OF(2, leaves), first, .allow_unused = true);
        results[1] = first[0];
        results[2] = first[1];
        return 3;
    case SECOND:
        td_grads_of(TD_LIST(y), TD_LIST_OF(2, leaves), first, .create_graph = true, .allow_unused = true);
        y = td_add(over(first[0]), over(first[1]));
        td_grads_of(TD_LIST(y), TD_LIST_OF(2, leaves), second, .allow_unused = true);
        memcpy(results + 1, first, sizeof first);
        memcpy(results + 3, second, sizeof second);
        return 5;
    default:
        td_backward(y, .retain_graph = true);
        td_backward(y);
    }
    results[1] = td_grad(t->w);
    if (loss == a_window_of_what_wanted_none)
        return 2;
    results[2] = td_grad(t->x);
    if (loss == a_leaf_made_inside) {
        results[3] = td_grad(t->kept);
        return 4;
    }
    if (loss != all_of_a_base && loss != through_a_view_from_outside && loss != a_window_and_then_all)
        return 3;
    results[3] = td_grad(t->base); /* of its last version, which these use outside only */
    return 4;
}

static void check(const char *name, loss *loss, enum way way)
{
    td_session *s = open_session();
    td_tensor results[2][RESULTS];
    struct tensors t[2];
    int count = 0;
    for (int on = 0; on < 2; on++) {
        t[on] = tensors_new(s, on);
        count = results_of(&t[on], loss, way, results[on]);
        results[on][count] = t[on].base;
    }
    assert_fine(s);
    for (int k = 0; k <= count; k++) {
        td_tensor plain = results[0][k], other = results[1][k];
        /* The replay's nodes are younger, so that a second derivative may be added up in another order. */
        if (!(way == SECOND && k > 2 && k < count ? td_allclose(plain, other, .rtol = 1e-13, .atol = 1e-13)
                                                  : td_equal(plain, other))) {
            td_print(results[0][k]);
            td_print(results[1][k]);
            fail_msg("%s: result %d of way %d differs", name, k, way);
        }
    }
    for (int on = 0; on < 2; on++) {
        td_program_free(t[on].program);
        if (t[on].square)
            td_function_free(t[on].square);
    }
    close_session(s);
}

static void test_gradients_are_those_without_the_checkpoint(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int way = 0; way < WAYS; way++)
            check(cases[k].name, cases[k].loss, (enum way)way);
}

/* ---- in a program, and what is refused ---- */

enum { STEPS = 4 };

static td_tensor state_step(td_session *s, struct tensors *t, td_tensor x)
{
    (void)s;
    t->x = x;
    t->base = td_exp(x);
    t->row = td_select(t->base, 0, 0);
    run(t, write_and_go_on);
    td_tensor y = over(t->base);
    td_backward(y);
    return y;
}

static void test_a_program_writes_inside_of_checkpoints(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct tensors eager = tensors_new(s, false), recorded = tensors_new(s, true);
    td_tensor x[STEPS], out[1];
    for (int k = 0; k < STEPS; k++)
        x[k] = td_randn(s, TD_SHAPE(ROWS, COLUMNS), .dtype = TD_F64);
    td_program *p = NULL;
    for (int k = 0; k < STEPS; k++) {
        TD_SCOPE(s);
        td_tensor due = state_step(s, &eager, x[k]);
        if (k == 0) {
            p = td_record(s, TD_LIST(x[0]));
            out[0] = state_step(s, &recorded, x[0]);
            td_record_end(p, TD_LIST(out[0]));
        } else {
            td_run(p, TD_LIST(x[k]), out);
        }
        assert_true(td_equal(due, out[0]));
        assert_true(td_equal(td_grad(eager.w), td_grad(recorded.w)));
    }
    td_program_free(p);
    close_session(s);
}

static void test_rules_for_writes_hold_inside(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct tensors t = tensors_new(s, true);
    td_tensor of_leaf = td_select(t.w, 0, 0), apart, y, alias;
    {
        TD_NO_GRAD(s);
        apart = td_select(t.base, 0, 0);
    }
    {
        TD_CHECKPOINT(s);
        td_mul_(t.w, 2.0);
        assert_error(s, TD_E_GRAD, "mul_: the target is a leaf that requires a gradient");
        td_mul_(of_leaf, 2.0);
        assert_error(s, TD_E_GRAD, "mul_: the target is a view of a leaf that requires a gradient");
        td_mul_(td_select(t.w, 0, 1), 2.0);
        assert_error(s, TD_E_GRAD, "mul_: the target is a view of a leaf that requires a gradient");
        td_mul_(apart, 2.0);
        assert_error(s, TD_E_GRAD, "mul_: the target is a view made under TD_NO_GRAD");
        td_mul_(t.row, td_select(t.base, 1, 0));
        assert_error(s, TD_E_SHAPE, "mul_");
        alias = td_keep(td_detach(t.base));
        y = td_keep(td_mul(t.base, t.w));
    }
    assert_false(td_requires_grad(alias));
    td_backward(td_sum(y));
    assert_true(td_equal(td_grad(t.w), alias));
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_those_without_the_checkpoint),
        cmocka_unit_test(test_a_program_writes_inside_of_checkpoints),
        cmocka_unit_test(test_rules_for_writes_hold_inside),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
