/* End to end: functions that are called back, beside the ops that they imitate, with C code in the middle, and whatever
 * may come between a call and its answer. SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sessions.h"

static td_session *s;

static void begin(void)
{
    s = open_session();
}

static void finish(void)
{
    assert_fine(s);
    close_session(s);
}

static void assert_error_at(int code, const char *part, int line)
{
    const td_error_info *info = td_error(s);
    char where[32];
    snprintf(where, sizeof where, "test_called.c:%d", line);
    if (info->code != code || !strstr(info->message, part) || !strstr(info->where, where))
        fail_msg("%d %s: %s (%d at %d: %s)", info->code, info->where, info->message, code, line, part);
    td_clear_error(s);
}

static td_function *called(const char *name, int inputs, int outputs, td_function_forward *forward,
                           td_function_backward *backward)
{
    return td_function_new(s, name, .inputs = inputs, .outputs = outputs, .forward = forward, .backward = backward,
                           .called_back = true);
}

static void assert_item(td_tensor x, double value)
{
    double got = td_item(x);
    if (!(got == value))
        fail_msg("%.17g where %.17g is due", got, value);
}

/* ---- the same as the op, to the last bit ---- */

static int forwards, backwards;

static void relu_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    forwards++;
    out[0] = td_relu(in[0]);
    td_save_for_backward(ctx, out[0]);
}

static void relu_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    backwards++;
    grad_in[0] = td_where(td_le(td_saved(ctx, 0), 0.0), 0.0, grad_out[0]);
}

static void sigmoid_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    out[0] = td_sigmoid(in[0]);
    td_save_for_backward(ctx, out[0]);
}

static void sigmoid_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor y = td_saved(ctx, 0);
    grad_in[0] = td_mul(td_mul(grad_out[0], y), td_rsub(y, 1.0));
}

static void tanh_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    out[0] = td_tanh(in[0]);
    td_save_for_backward(ctx, out[0]);
}

static void tanh_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    grad_in[0] = td_mul(grad_out[0], td_rsub(td_square(td_saved(ctx, 0)), 1.0));
}

/* y, dy/dx for a given seed, and the second derivatives of that by x and by the seed. */
struct orders {
    td_tensor y, first, by_x, by_seed;
};

static struct orders derive(td_function *f, td_tensor (*op)(td_tensor), td_tensor data, td_tensor seed)
{
    td_tensor x = td_set_requires_grad(td_clone(data), true), g = td_set_requires_grad(td_clone(seed), true);
    struct orders r = {.y = f ? td_apply(f, x) : op(x)};
    r.first = td_grad_of(r.y, x, .grad_outputs = g, .create_graph = true);
    td_tensor second[2];
    td_grads_of(TD_LIST(td_sum(td_square(r.first))), TD_LIST(x, g), second, .allow_unused = true);
    r.by_x = second[0];
    r.by_seed = second[1];
    return r;
}

static td_tensor relu(td_tensor x)
{
    return td_relu(x);
}

static td_tensor sigmoid(td_tensor x)
{
    return td_sigmoid(x);
}

static td_tensor tangent(td_tensor x)
{
    return td_tanh(x);
}

static void assert_close(td_tensor a, td_tensor b, double slack, const char *what)
{
    if (slack == 0 ? !td_equal(a, b) : !td_allclose(a, b, .rtol = slack, .atol = slack))
        fail_msg("%s is not what the op gives", what);
}

static void test_orders_beside_the_op(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        td_function_forward *forward;
        td_function_backward *backward;
        td_tensor (*op)(td_tensor);
        double slack; /* of derivatives: a chain of ops rounds each step where the op's kernel rounds once */
    } cases[] = {{"relu", relu_forward, relu_backward, relu, 0},
                 {"sigmoid", sigmoid_forward, sigmoid_backward, sigmoid, 1e-14},
                 {"tanh", tanh_forward, tanh_backward, tangent, 1e-14}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        begin();
        td_function *f = called(cases[k].name, 1, 1, cases[k].forward, cases[k].backward);
        td_tensor data = td_randn(s, TD_SHAPE(3, 5), .dtype = TD_F64),
                  seed = td_randn(s, TD_SHAPE(3, 5), .dtype = TD_F64);
        struct orders mine = derive(f, NULL, data, seed), its = derive(NULL, cases[k].op, data, seed);
        assert_close(mine.y, its.y, 0, "the value");
        assert_close(mine.first, its.first, cases[k].slack, "the first derivative");
        assert_close(mine.by_x, its.by_x, cases[k].slack, "the second derivative");
        assert_close(mine.by_seed, its.by_seed, cases[k].slack, "that by the seed");
        td_function_free(f);
        finish();
    }
}

static void test_each_application_is_run(void **state)
{
    (void)state;
    begin();
    td_function *f = called("relu", 1, 1, relu_forward, relu_backward);
    td_tensor x = td_randn(s, TD_SHAPE(4), .requires_grad = true);
    forwards = backwards = 0;
    for (int k = 0; k < 3; k++) {
        TD_SCOPE(s);
        td_backward(td_sum(td_apply(f, td_apply(f, x))));
    }
    assert_int_equal(forwards, 6);
    assert_int_equal(backwards, 6);
    {
        TD_NO_GRAD(s);
        assert_false(td_requires_grad(td_apply(f, x)));
    }
    td_tensor want = td_mul(td_to(td_gt(x, 0.0), TD_F32), 3.0);
    assert_true(td_equal(td_grad(x), want));
    td_function_free(f);
    finish();
}

/* ---- C in the middle ---- */

enum { SORTED = 6 };

/* Sorts in C, and notes where each came from, as attributes cannot. */
static void sort_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    double x[SORTED];
    int64_t from[SORTED];
    assert_int_equal(td_read(in[0], x, TD_F64, SORTED), SORTED);
    for (int k = 0; k < SORTED; k++)
        from[k] = k;
    for (int k = 0; k < SORTED; k++)
        for (int j = k; j > 0 && x[from[j - 1]] > x[from[j]]; j--) {
            int64_t swapped = from[j];
            from[j] = from[j - 1];
            from[j - 1] = swapped;
        }
    double sorted[SORTED];
    for (int k = 0; k < SORTED; k++)
        sorted[k] = x[from[k]];
    td_session *own = td_context_session(ctx);
    out[0] = td_from(own, sorted, TD_F64, TD_SHAPE(SORTED));
    out[1] = td_from(own, from, TD_I64, TD_SHAPE(SORTED));
    td_save_for_backward(ctx, out[1]);
}

static void sort_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    double g[SORTED], to[SORTED];
    int64_t from[SORTED];
    td_read(grad_out[0], g, TD_F64, SORTED);
    td_read(td_saved(ctx, 0), from, TD_I64, SORTED);
    for (int k = 0; k < SORTED; k++)
        to[from[k]] = g[k];
    grad_in[0] = td_from(td_context_session(ctx), to, TD_F64, TD_SHAPE(SORTED));
}

static void test_values_pass_through_c(void **state)
{
    (void)state;
    begin();
    td_function *f = called("sort", 1, 2, sort_forward, sort_backward);
    td_tensor x = td_from(s, ((const double[]){3, 1, 2, 6, 5, 4}), TD_F64, TD_SHAPE(SORTED), .requires_grad = true);
    td_tensor out[2], weights = td_arange(s, 1, SORTED + 1, .dtype = TD_F64);
    td_apply_to(f, TD_LIST(td_square(x)), out);
    assert_false(td_requires_grad(out[1]));
    assert_true(td_equal(out[0], td_square(weights)));
    td_backward(td_sum(td_mul(out[0], weights)));
    /* the k-th smallest is k: d/dx of k x^2 is 2 k x = 2 x^2 */
    assert_true(td_equal(td_grad(x), td_mul(td_square(x), 2.0)));
    td_function_free(f);
    finish();
}

static void test_gradcheck_takes_them(void **state)
{
    (void)state;
    begin();
    td_function *f = called("tanh", 1, 1, tanh_forward, tanh_backward);
    td_tensor x = td_randn(s, TD_SHAPE(4), .dtype = TD_F64, .requires_grad = true);
    assert_true(td_gradcheck(f, TD_LIST(x)));
    assert_true(td_gradgradcheck(f, TD_LIST(x)));
    td_function_free(f);
    finish();
}

/* ---- several inputs and outputs, attributes, what is needed ---- */

struct scale {
    double by;
    char note[5];
};

static uint32_t needed;

/* (x y by, x + y) */
static void pair_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    const struct scale *a = td_attributes(ctx);
    assert_string_equal(a->note, "four");
    td_save_for_backward(ctx, in[0], in[1]);
    out[0] = td_mul(td_mul(in[0], in[1]), a->by);
    out[1] = td_add(in[0], in[1]);
}

static void pair_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    const struct scale *a = td_attributes(ctx);
    assert_string_equal(a->note, "four");
    needed = td_needs_input_grad(ctx, 0) | (uint32_t)td_needs_input_grad(ctx, 1) << 1;
    for (int k = 0; k < 2; k++)
        if (td_needs_input_grad(ctx, k))
            grad_in[k] = td_add(td_mul(td_mul(grad_out[0], td_saved(ctx, 1 - k)), a->by), grad_out[1]);
}

static void test_several(void **state)
{
    (void)state;
    begin();
    td_function *f =
        td_function_new(s, "pair", .inputs = 2, .outputs = 2, .forward = pair_forward, .backward = pair_backward,
                        .attributes = sizeof(struct scale), .called_back = true);
    td_tensor x = td_full(s, TD_SHAPE(), 3.0, .requires_grad = true), out[2];
    td_tensor y = td_full(s, TD_SHAPE(), 5.0, .requires_grad = true), constant = td_full(s, TD_SHAPE(), 7.0);
    struct scale scale = {2, "four"};
    td_apply_to(f, TD_LIST(x, y), out, .attributes = &scale);
    scale.by = 100; /* was copied */
    assert_item(out[0], 30);
    td_backward(td_add(out[0], td_mul(out[1], 10.0)));
    assert_int_equal(needed, 3);
    assert_item(td_grad(x), 20);
    assert_item(td_grad(y), 16);
    scale.by = 2;
    td_apply_to(f, TD_LIST(constant, y), out, .attributes = &scale);
    assert_item(td_grad_of(out[1], y), 1); /* no gradient of out[0] came: it is 0 */
    assert_int_equal(needed, 2);
    td_apply_to(f, TD_LIST(x, y), out, .attributes = &scale);
    assert_item(td_grad_of(out[0], x), 10); /* that of y is not asked for */
    assert_int_equal(needed, 1);
    td_apply_to(f, TD_LIST(td_mul(x, 2.0), x), out, .attributes = &scale);
    td_backward_all(TD_LIST(out[0], out[1]));
    assert_item(td_grad(x), 20 + 24 + 3);
    td_apply_to(f, TD_LIST(x, y), out);
    assert_error_at(TD_E_ARGUMENT, "pair: no .attributes were given", __LINE__ - 1);
    td_function_free(f);
    finish();
}

/* ---- inputs as outputs, writes, constants ---- */

static void same_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = in[0];
    out[1] = out[2] = td_add(in[0], 1.0);
    td_mark_non_differentiable(ctx, out[2]);
}

static void same_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    td_mul_(grad_out[0], 3.0); /* is this call's alone */
    grad_in[0] = grad_out[0];
}

static void test_outputs_that_are_inputs(void **state)
{
    (void)state;
    begin();
    td_function *f = called("same", 1, 3, same_forward, same_backward);
    td_tensor x = td_full(s, TD_SHAPE(2), 3.0, .requires_grad = true), out[3];
    td_tensor y = td_mul(x, 1.0);
    td_apply_to(f, TD_LIST(y), out);
    assert_true(td_equal(out[0], y));
    assert_false(td_requires_grad(out[1])); /* is out[2], which is marked */
    td_backward(td_sum(td_add(out[0], y))); /* both get the same gradient */
    assert_true(td_equal(td_grad(x), td_full(s, TD_SHAPE(2), 4.0)));
    td_function_free(f);
    finish();
}

/* ---- walks within walks ---- */

static td_function *inner;

/* y = sum(x^3); its slope is computed by a walk of backward's own, through another function that is called. */
static void cube_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, in[0]);
    out[0] = td_mul(td_square(in[0]), in[0]);
}

static void square_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, in[0]);
    out[0] = td_square(in[0]);
}

static void square_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    grad_in[0] = td_mul(grad_out[0], td_mul(td_saved(ctx, 0), 2.0));
}

static void cube_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    TD_ENABLE_GRAD(s);
    td_tensor x = td_set_requires_grad(td_detach(td_saved(ctx, 0)), true);
    td_tensor slope = td_grad_of(td_sum(td_mul(td_apply(inner, x), x)), x);
    grad_in[0] = td_mul(grad_out[0], td_detach(slope));
}

static void test_calls_nest(void **state)
{
    (void)state;
    begin();
    td_function *cube = called("cube", 1, 1, cube_forward, cube_backward);
    inner = called("square", 1, 1, square_forward, square_backward);
    td_tensor x = td_arange(s, 0, 4, .dtype = TD_F64), y = td_set_requires_grad(td_clone(x), true);
    td_backward(td_sum(td_apply(cube, y)));
    assert_true(td_equal(td_grad(y), td_mul(td_square(x), 3.0)));
    td_tensor z = td_apply(cube, td_apply(cube, y));
    assert_true(td_allclose(td_grad_of(td_sum(z), y), td_mul(td_pow(x, 8.0), 9.0)));
    td_function_free(cube);
    td_function_free(inner);
    finish();
}

static td_tensor outside, leaf;

/* Walks the same graph as the walk that calls: what waits at its nodes is another walk's. */
static void crossing_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    TD_ENABLE_GRAD(s);
    td_tensor other = td_grad_of(td_sum(outside), leaf, .retain_graph = true);
    td_backward(td_sum(outside), .retain_graph = true);
    td_graph_print(outside);
    grad_in[0] = td_add(td_mul(grad_out[0], td_mul(td_saved(ctx, 0), 2.0)), td_mul(other, 0.0));
}

static void test_walks_of_one_graph_cross(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        begin();
        td_function *f = called("square", 1, 1, square_forward, crossing_backward);
        leaf = td_full(s, TD_SHAPE(3), 2.0, .dtype = TD_F64, .requires_grad = true);
        td_tensor a = td_mul(leaf, 3.0), b = td_mul(a, 5.0), c = td_exp(td_mul(a, 0.0));
        outside = td_add(td_mul(b, 2.0), c);
        /* when the call comes gradients wait at a, b, c and leaf */
        td_tensor y = td_add(td_add(td_apply(f, td_add(a, b)), td_mul(outside, 7.0)), td_mul(leaf, 11.0));
        double due = 2 * 36 * 18 + 7 * 30 + 11; /* a + b = 18 leaf; c is flat */
        fflush(stdout);
        int kept = dup(1), none = open("/dev/null", O_WRONLY);
        dup2(none, 1);
        td_tensor got;
        if (way == 0) {
            got = td_grad_of(td_sum(y), leaf, .retain_graph = true);
        } else {
            td_backward(td_sum(y), .retain_graph = true);
            got = td_grad(leaf);
            due += 30; /* what the walk within has added */
        }
        fflush(stdout);
        dup2(kept, 1);
        close(kept);
        close(none);
        assert_true(td_equal(got, td_full(s, TD_SHAPE(3), due, .dtype = TD_F64)));
        td_function_free(f);
        finish();
    }
}

/* Its backward walks through itself, for ever. */
static void endless_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    (void)grad_out;
    TD_ENABLE_GRAD(s);
    td_tensor x = td_ones(s, TD_SHAPE(1), .requires_grad = true);
    grad_in[0] = td_grad_of(td_apply(inner, x), x);
}

static void test_calls_have_a_depth(void **state)
{
    (void)state;
    begin();
    inner = called("endless", 1, 1, square_forward, endless_backward);
    td_tensor x = td_ones(s, TD_SHAPE(1), .requires_grad = true);
    td_tensor g = td_grad_of(td_apply(inner, x), x);
    assert_int_equal(td_error(s)->code, TD_E_LIMIT);
    assert_non_null(strstr(td_error(s)->message, "endless is the backward of 16 functions within each other"));
    td_clear_error(s);
    assert_true(isnan(td_item(g)));
    td_clear_error(s);
    td_function_free(inner);
    finish();
}

/* ---- what may go wrong ---- */

static td_session *elsewhere;
static td_tensor far_away;
static td_program *open_program;

static void half_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_mul(in[0], 0.5);
}

static void none_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    (void)grad_out;
    (void)grad_in;
}

static void shape_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_sum(grad_out[0]);
}

static void dtype_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_to(grad_out[0], TD_F64);
}

static void far_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    (void)grad_out;
    grad_in[0] = far_away;
}

static void released_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_neg(grad_out[0]);
    td_release(grad_in[0]);
}

static void saved_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)td_saved(ctx, 3);
    grad_in[0] = grad_out[0];
}

static void recording_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    open_program = td_record(s, TD_LIST(grad_out[0]));
    grad_in[0] = grad_out[0];
}

static void test_gradients_that_are_none(void **state)
{
    (void)state;
    static const struct {
        td_function_backward *backward;
        int code;
        const char *part;
    } cases[] = {
        {none_backward, TD_E_GRAD, "backward: the backward of half gave no gradient for input 0, which requires one"},
        {shape_backward, TD_E_SHAPE, "the backward of half gave f32 () as the gradient of its input 0, f32 (2)"},
        {dtype_backward, TD_E_SHAPE, "the backward of half gave f64 (2) as the gradient of its input 0, f32 (2)"},
        {far_backward, TD_E_HANDLE, "half: the backward gave a gradient for input 0 that belongs to another session"},
        {released_backward, TD_E_HANDLE, "half: the backward gave a gradient for input 0 that was released"},
        {saved_backward, TD_E_INDEX, "half: saved: 3 of the 0 tensors that forward saved"},
        {recording_backward, TD_E_ARGUMENT, "a recording that was begun inside has not ended"},
    };
    elsewhere = td_open(daemon_.address);
    far_away = td_ones(elsewhere, TD_SHAPE(2));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        begin();
        td_function *f = called("half", 1, 1, half_forward, cases[k].backward);
        td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
        td_backward(td_sum(td_mul(x, 2.0)));
        td_tensor y = td_apply(f, x);
        int line = __LINE__ - 1;
        td_backward(td_sum(y));
        if (cases[k].backward == saved_backward) { /* the failed tensor was told at once, where there is no line */
            assert_int_equal(td_error(s)->code, cases[k].code);
            td_clear_error(s);
        } else if (cases[k].backward == recording_backward) {
            assert_non_null(strstr(td_error(s)->message, cases[k].part));
            td_clear_error(s);
            td_program_free(open_program);
            td_clear_error(s);
        } else {
            assert_error_at(cases[k].code, cases[k].part, line);
        }
        assert_true(td_equal(td_grad(x), td_full(s, TD_SHAPE(2), 2.0))); /* as before */
        td_function_free(f);
        assert_int_equal(td_error(s)->code, 0);
        assert_int_equal(td_close(s), 0);
    }
    assert_int_equal(td_close(elsewhere), 0);
    daemon_wait_empty(&daemon_);
}

/* An error value, the client's or the daemon's, spoils what it would have been handed on to, and says why. */
static void local_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_matmul(grad_out[0], td_ones(s, TD_SHAPE(7, 7)));
}

static void remote_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    grad_in[0] = td_mul(grad_out[0], td_index_select(td_ones(s, TD_SHAPE(2)), 0, td_full(s, TD_SHAPE(2), 9)));
}

static void test_errors_in_backward(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        begin();
        td_function *f = called("half", 1, 1, half_forward, k ? remote_backward : local_backward);
        td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true),
                  w = td_ones(s, TD_SHAPE(2), .requires_grad = true);
        td_tensor grads[2];
        td_tensor y = td_add(td_apply(f, x), w);
        td_grads_of(TD_LIST(td_sum(y)), TD_LIST(x, w), grads);
        assert_int_equal(td_error(s)->code, k ? TD_E_INDEX : TD_E_SHAPE);
        td_clear_error(s);
        assert_true(isnan(td_item(td_sum(grads[0]))));
        assert_int_equal(td_error(s)->code, k ? TD_E_INDEX : TD_E_SHAPE);
        td_clear_error(s);
        assert_true(isnan(td_item(td_sum(grads[1]))));
        td_clear_error(s);
        td_function_free(f);
        finish();
    }
}

static void no_output_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    (void)in;
    (void)out;
}

static void failed_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_matmul(in[0], td_ones(s, TD_SHAPE(7, 7)));
}

static void thief_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_neg(in[0]);
    td_release(in[0]);
}

static void test_forwards_that_fail(void **state)
{
    (void)state;
    static const struct {
        td_function_forward *forward;
        int code;
        const char *part;
    } cases[] = {{no_output_forward, TD_E_HANDLE, "wrong: gave no output 0"},
                 {thief_forward, TD_E_HANDLE, "wrong: forward released its input 0"},
                 {half_forward, TD_E_GRAD, "wrong: has no .backward, and an input requires a gradient"}};
    begin();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        td_function *f = called("wrong", 1, 1, cases[k].forward, k < 2 ? none_backward : NULL);
        td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
        td_tensor y = td_apply(f, x);
        assert_error_at(cases[k].code, cases[k].part, __LINE__ - 1);
        assert_false(td_ok(y));
        td_function_free(f);
    }
    td_function *f = called("wrong", 1, 1, failed_forward, none_backward);
    td_tensor y = td_apply(f, td_ones(s, TD_SHAPE(2), .requires_grad = true));
    assert_false(td_ok(y));
    assert_int_equal(td_error(s)->code, TD_E_SHAPE);
    td_clear_error(s);
    td_function_free(f);
    finish();
}

static void inside_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, td_exp(in[0]));
    out[0] = td_exp(in[0]);
}

static void inside_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    grad_in[0] = td_mul(grad_out[0], td_saved(ctx, 0));
}

static void test_second_derivatives_that_are_none(void **state)
{
    (void)state;
    begin();
    td_function *once = td_function_new(s, "once", .inputs = 1, .outputs = 1, .forward = square_forward,
                                        .backward = square_backward, .called_back = true, .once_differentiable = true);
    td_function *inside = called("inside", 1, 1, inside_forward, inside_backward);
    td_tensor x = td_full(s, TD_SHAPE(), 0.5, .dtype = TD_F64, .requires_grad = true);
    td_tensor g = td_grad_of(td_apply(once, x), x, .create_graph = true);
    assert_item(g, 1);
    td_grad_of(g, x);
    assert_int_equal(td_error(s)->code, TD_E_GRAD);
    assert_non_null(strstr(td_error(s)->message, "once is marked as once differentiable"));
    td_clear_error(s);
    g = td_grad_of(td_apply(inside, x), x, .create_graph = true);
    assert_item(g, td_item(td_exp(x)));
    td_grad_of(g, x);
    assert_int_equal(td_error(s)->code, TD_E_GRAD);
    assert_non_null(strstr(td_error(s)->message, "inside saved a value that is neither an input nor an output"));
    td_clear_error(s);
    td_function_free(once);
    td_function_free(inside);
    finish();
}

/* ---- recordings, traces, checkpoints ---- */

static void around_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_apply(inner, in[0]);
}

static td_tensor hook(td_tensor g, void *data)
{
    (void)data;
    return td_apply(inner, g);
}

static void test_what_is_recorded_cannot_call(void **state)
{
    (void)state;
    begin();
    inner = called("square", 1, 1, square_forward, square_backward);
    td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true), out;
    td_program *p = td_record(s, TD_LIST(x));
    td_tensor y = td_apply(inner, x);
    assert_error_at(TD_E_ARGUMENT, "square: is called back, and runs of what is recorded", __LINE__ - 1);
    td_record_end(p, TD_LIST(y));
    td_run(p, TD_LIST(x), &out);
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    td_clear_error(s);
    td_program_free(p);

    td_function *around = td_function_new(s, "around", .inputs = 1, .outputs = 1, .forward = around_forward);
    y = td_apply(around, td_detach(x));
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    assert_false(td_ok(y));
    td_clear_error(s);
    td_function_free(around);
    td_register_hook(x, hook);
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    td_clear_error(s);

    td_tensor z = td_apply(inner, x); /* of before: the walk is what is recorded */
    p = td_record(s, TD_LIST(x));
    td_backward(td_sum(z), .retain_graph = true);
    td_record_end(p, TD_LIST());
    assert_error_at(TD_E_GRAD, "square is run by the client, which a recorded program cannot ask", __LINE__ - 2);
    td_run(p, TD_LIST(x), &out);
    assert_int_equal(td_error(s)->code, TD_E_GRAD);
    td_clear_error(s);
    td_program_free(p);
    td_backward(td_sum(z));
    assert_true(td_equal(td_grad(x), td_full(s, TD_SHAPE(2), 2.0)));
    td_function_free(inner);
    finish();
}

static void test_checkpoints_repeat_forward(void **state)
{
    (void)state;
    begin();
    td_function *f = called("sort", 1, 2, sort_forward, sort_backward);
    td_tensor x = td_randn(s, TD_SHAPE(SORTED), .dtype = TD_F64, .requires_grad = true), out[2], y;
    td_tensor weights = td_arange(s, 1, SORTED + 1, .dtype = TD_F64);
    td_apply_to(f, TD_LIST(td_square(x)), out);
    td_tensor plain = td_grad_of(td_sum(td_mul(out[0], weights)), x);
    {
        TD_CHECKPOINT(s);
        td_apply_to(f, TD_LIST(td_square(x)), out);
        y = td_keep(td_sum(td_mul(out[0], weights)));
    }
    assert_true(td_equal(td_grad_of(y, x), plain));
    td_function_free(f);
    finish();
}

/* ---- derivatives of higher order, as td_hvp and others ask for them ---- */

static td_tensor cubes(td_tensor x, void *data)
{
    return td_sum(td_mul(td_apply(data, x), x));
}

static void test_derivatives(void **state)
{
    (void)state;
    begin();
    td_function *f = called("square", 1, 1, square_forward, square_backward);
    td_tensor x = td_arange(s, 1, 4, .dtype = TD_F64), v = td_ones(s, TD_SHAPE(3), .dtype = TD_F64);
    assert_true(td_equal(td_hvp(cubes, x, v, .data = f), td_mul(x, 6.0)));
    assert_true(td_equal(td_diagonal(td_hessian(cubes, x, .data = f)), td_mul(x, 6.0)));
    td_function_free(f);
    finish();
}

/* ---- names ---- */

static void test_the_graph_has_their_names(void **state)
{
    (void)state;
    begin();
    td_function *f = called("my square", 1, 1, square_forward, square_backward);
    td_tensor y = td_apply(f, td_ones(s, TD_SHAPE(2), .requires_grad = true));
    char *text = td_graph_text(y);
    assert_non_null(strstr(text, "my square"));
    free(text);
    td_backward(td_sum(y));
    td_backward(td_sum(y));
    assert_error_at(TD_E_GRAD, "backward: the graph through my square has been walked already", __LINE__ - 1);
    td_function_free(f);
    finish();
}

static void closing_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    assert_int_equal(td_close(s), TD_E_ARGUMENT);
    td_function_free(inner);
    grad_in[0] = td_mul(grad_out[0], 0.5);
}

static void test_a_session_is_not_closed_inside(void **state)
{
    (void)state;
    begin();
    inner = called("half", 1, 1, half_forward, closing_backward);
    td_tensor x = td_ones(s, TD_SHAPE(), .requires_grad = true);
    td_backward(td_apply(inner, x));
    assert_int_equal(td_error(s)->code, TD_E_ARGUMENT);
    assert_non_null(strstr(td_error(s)->message, "close: is inside of the forward or backward of half"));
    td_clear_error(s);
    assert_item(td_grad(x), 0.5);
    finish();
}

/* ---- credit ---- */

/* More than all credit has room for, in requests and in bytes, inside of one call. */
static void long_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    static float large[1 << 20];
    (void)ctx;
    td_tensor sum = grad_out[0];
    for (int k = 0; k < 100000; k++)
        sum = td_add(td_take(sum), 0.0);
    for (int k = 0; k < 5; k++) {
        TD_SCOPE(s);
        td_from(s, large, TD_F32, TD_SHAPE(1 << 20));
    }
    grad_in[0] = sum;
}

static void test_credit_within_a_call(void **state)
{
    (void)state;
    begin();
    td_function *f = called("half", 1, 1, half_forward, long_backward);
    td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
    td_backward(td_sum(td_apply(f, x)));
    assert_true(td_equal(td_grad(x), td_ones(s, TD_SHAPE(2))));
    td_function_free(f);
    finish();
}

/* ---- others, meanwhile ---- */

static double other_sum;

static void dawdling_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    td_session *other = td_open(daemon_.address);
    td_tensor w = td_ones(other, TD_SHAPE(100, 100), .requires_grad = true);
    td_backward(td_sum(td_matmul(w, w)));
    other_sum = td_item(td_sum(td_grad(w)));
    assert_int_equal(td_close(other), 0);
    grad_in[0] = td_neg(grad_out[0]);
}

static void test_other_sessions_go_on(void **state)
{
    (void)state;
    begin();
    td_function *f = called("half", 1, 1, half_forward, dawdling_backward);
    td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
    td_backward(td_sum(td_apply(f, x)));
    assert_true(other_sum == 2e6);
    assert_true(td_equal(td_grad(x), td_full(s, TD_SHAPE(2), -1.0)));
    td_function_free(f);
    finish();
}

static void *cancel(void *data)
{
    td_cancel(data);
    return NULL;
}

static void cancelled_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    pthread_t thread;
    (void)ctx;
    assert_int_equal(pthread_create(&thread, NULL, cancel, s), 0);
    pthread_join(thread, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    grad_in[0] = td_neg(grad_out[0]);
}

static void test_a_cancel_ends_the_walk(void **state)
{
    (void)state;
    begin();
    td_function *f = called("half", 1, 1, half_forward, cancelled_backward);
    td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
    td_backward(td_sum(td_apply(f, x)));
    assert_int_equal(td_error(s)->code, TD_E_CANCELLED);
    td_clear_error(s);
    td_backward(td_sum(td_mul(x, 2.0)));
    assert_true(td_equal(td_grad(x), td_full(s, TD_SHAPE(2), 2.0)));
    td_function_free(f);
    finish();
}

/* ---- ends in the middle of a call ---- */

static int told[2];

static void deadly_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    (void)grad_in;
    td_item(td_sum(grad_out[0]));
    (void)!write(told[1], "", 1);
    for (;;)
        pause();
}

static void test_a_client_dies_in_a_call(void **state)
{
    (void)state;
    char byte;
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    if (child == 0) {
        s = td_open(daemon_.address);
        td_function *f = called("half", 1, 1, half_forward, deadly_backward);
        td_tensor x = td_ones(s, TD_SHAPE(256, 256), .requires_grad = true);
        td_backward(td_sum(td_mul(td_apply(f, td_mul(td_apply(f, td_exp(x)), 2.0)), x)));
        _exit(1);
    }
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    struct raw raw = raw_open(&daemon_); /* is served meanwhile */
    assert_int_equal(raw_status(&raw, "sessions"), 2);
    raw_close(&raw);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(told[0]);
    daemon_wait_empty(&daemon_);
}

/* The daemon's worker, of which there is one. */
static pid_t worker(void)
{
    char command[64];
    snprintf(command, sizeof command, "pgrep -P %d -f worker", (int)daemon_.pid);
    FILE *children = popen(command, "r");
    int pid = -1;
    assert_non_null(children);
    assert_int_equal(fscanf(children, "%d", &pid), 1);
    pclose(children);
    return pid;
}

static void fatal_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    kill(worker(), SIGKILL);
    grad_in[0] = td_neg(grad_out[0]);
    td_item(td_sum(grad_in[0]));
}

static void test_the_daemon_dies_in_a_call(void **state)
{
    (void)state;
    begin();
    td_function *f = called("half", 1, 1, half_forward, fatal_backward);
    td_tensor x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
    td_backward(td_sum(td_apply(f, x)));
    assert_int_equal(td_error(s)->code, TD_E_LOST);
    td_clear_error(s);
    td_function *g = called("square", 1, 1, square_forward, square_backward);
    x = td_ones(s, TD_SHAPE(2), .requires_grad = true);
    td_backward(td_sum(td_apply(g, x)));
    assert_true(td_equal(td_grad(x), td_full(s, TD_SHAPE(2), 2.0)));
    td_function_free(f);
    td_function_free(g);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_beside_the_op),
        cmocka_unit_test(test_each_application_is_run),
        cmocka_unit_test(test_values_pass_through_c),
        cmocka_unit_test(test_gradcheck_takes_them),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_outputs_that_are_inputs),
        cmocka_unit_test(test_calls_nest),
        cmocka_unit_test(test_walks_of_one_graph_cross),
        cmocka_unit_test(test_calls_have_a_depth),
        cmocka_unit_test(test_gradients_that_are_none),
        cmocka_unit_test(test_errors_in_backward),
        cmocka_unit_test(test_forwards_that_fail),
        cmocka_unit_test(test_second_derivatives_that_are_none),
        cmocka_unit_test(test_what_is_recorded_cannot_call),
        cmocka_unit_test(test_checkpoints_repeat_forward),
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_the_graph_has_their_names),
        cmocka_unit_test(test_a_session_is_not_closed_inside),
        cmocka_unit_test(test_credit_within_a_call),
        cmocka_unit_test(test_other_sessions_go_on),
        cmocka_unit_test(test_a_cancel_ends_the_walk),
        cmocka_unit_test(test_a_client_dies_in_a_call),
        cmocka_unit_test(test_the_daemon_dies_in_a_call),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
