/* End to end: the custom functions of client/examples/custom.h beside the built-in ops that they imitate, and what
 * functions may be applied to and in. SPDX-License-Identifier: Apache-2.0 */
#include "tests/sessions.h"
#include "tests/square.h"
#include "client/examples/custom.h"

/* ---- custom functions beside the ops ---- */

enum { INPUTS_MAX = 5 };

typedef td_tensor made(const struct custom *f, const td_tensor *in);

static td_tensor my_relu(const struct custom *f, const td_tensor *in)
{
    return td_apply(f->relu, in[0]);
}

static td_tensor relu(const struct custom *f, const td_tensor *in)
{
    (void)f;
    return td_relu(in[0]);
}

static td_tensor my_sigmoid(const struct custom *f, const td_tensor *in)
{
    return td_apply(f->sigmoid, in[0]);
}

static td_tensor sigmoid(const struct custom *f, const td_tensor *in)
{
    (void)f;
    return td_sigmoid(in[0]);
}

static td_tensor my_gelu(const struct custom *f, const td_tensor *in)
{
    return td_apply(f->gelu, in[0]);
}

static td_tensor gelu(const struct custom *f, const td_tensor *in)
{
    (void)f;
    return td_gelu(in[0]);
}

static td_tensor my_linear(const struct custom *f, const td_tensor *in)
{
    return td_apply(f->linear, in[0], in[1], in[2]);
}

static td_tensor linear(const struct custom *f, const td_tensor *in)
{
    (void)f;
    return td_linear(in[0], in[1], .bias = in[2]);
}

static td_tensor my_training(const struct custom *f, const td_tensor *in)
{
    return custom_batch_norm(f, TD_LIST_OF(5, in), true);
}

static td_tensor training(const struct custom *f, const td_tensor *in)
{
    (void)f;
    return td_batch_norm(in[0], .weight = in[1], .bias = in[2], .running_mean = in[3], .running_var = in[4],
                         .training = true);
}

static td_tensor my_evaluation(const struct custom *f, const td_tensor *in)
{
    return custom_batch_norm(f, TD_LIST_OF(5, in), false);
}

static td_tensor evaluation(const struct custom *f, const td_tensor *in)
{
    (void)f;
    return td_batch_norm(in[0], .weight = in[1], .bias = in[2], .running_mean = in[3], .running_var = in[4]);
}

/* How far a result may be from the op's, in units of the last place of the greatest element: 0 where custom.h computes
 * with the same ops in the same order, so that every bit is the same. td_sigmoid, td_gelu and td_linear are one kernel
 * that rounds once where a chain of ops rounds each step; the sums of batch_norm are taken in another order, and the
 * built-in gradient is that of each of its ops, added up. */
struct slack {
    double value, first, second;
};

static const struct layer {
    const char *name;
    made *mine, *built_in;
    int differentiable, constants; /* inputs */
    struct slack slack;
} layers[] = {
    {"relu", my_relu, relu, 1, 0, {0, 0, 0}},
    {"sigmoid", my_sigmoid, sigmoid, 1, 0, {4, 8, 16}},
    {"gelu", my_gelu, gelu, 1, 0, {4, 4, 16}},
    {"linear", my_linear, linear, 3, 0, {4, 4, 16}},
    {"batch_norm, training", my_training, training, 3, 2, {16, 64, 256}},
    {"batch_norm, evaluation", my_evaluation, evaluation, 3, 2, {8, 16, 64}},
};

enum which { RELU, SIGMOID, GELU, LINEAR, TRAINING, EVALUATION };

static double unit(enum td_dtype dtype)
{
    return dtype == TD_F64 ? 0x1p-52 : dtype == TD_F32 ? 0x1p-23 : 0x1p-10;
}

static void assert_close(td_tensor a, td_tensor b, double units, const char *what, const char *of)
{
    enum td_dtype dtype = td_dtype_of(b);
    td_layout x = td_layout_of(a), y = td_layout_of(b);
    if (td_dtype_of(a) != dtype || x.rank != y.rank || memcmp(x.shape, y.shape, (size_t)y.rank * sizeof *y.shape))
        fail_msg("%s: the %s is of another shape or type", of, what);
    if (td_numel(b) == 0)
        return;
    td_tensor p = td_to(a, TD_F64), q = td_to(b, TD_F64);
    double apart = td_item(td_max(td_abs(td_sub(p, q)))), greatest = td_item(td_max(td_abs(q)));
    if (!(units == 0 ? td_equal(a, b) : apart <= units * unit(dtype) * fmax(greatest, 1)))
        fail_msg("%s: the %s is %g away from %g, %.1f units", of, what, apart, greatest,
                 apart / unit(dtype) / fmax(greatest, 1));
}

/* The value, what became of the constants, the first gradients of everything and of the gradient given, and the second
 * ones of all that. Inputs are leaves of their own, or views of them by look. */
struct results {
    td_tensor value, constants[INPUTS_MAX], first[INPUTS_MAX], second[INPUTS_MAX + 1];
};

typedef td_tensor look(td_tensor x);

static td_tensor as_it_is(td_tensor x)
{
    return x;
}

static struct results derive(td_session *s, const struct custom *f, const struct layer *layer, made *make,
                             const td_tensor *given, look *look)
{
    struct results r = {0};
    td_tensor leaves[INPUTS_MAX + 1], in[INPUTS_MAX];
    int inputs = layer->differentiable + layer->constants;
    for (int k = 0; k < inputs; k++) {
        leaves[k] = td_set_requires_grad(td_clone(given[k]), k < layer->differentiable);
        in[k] = k == 0 ? look(leaves[k]) : leaves[k];
    }
    r.value = make(f, in);
    td_manual_seed(s, 18);
    td_tensor g = td_to(td_randn_like(r.value, .dtype = TD_F32), td_dtype_of(r.value));
    td_set_requires_grad(g, true);
    td_grads_of(TD_LIST(r.value), TD_LIST_OF(layer->differentiable, leaves), r.first, .grad_outputs = TD_LIST(g),
                .create_graph = true);
    td_tensor sum = td_sum(td_square(r.first[0]));
    for (int k = 1; k < layer->differentiable; k++)
        sum = td_add(sum, td_sum(td_mul(td_square(r.first[k]), 1.0 + k)));
    leaves[layer->differentiable] = g;
    td_grads_of(TD_LIST(sum), TD_LIST_OF(layer->differentiable + 1, leaves), r.second, .allow_unused = true);
    for (int k = 0; k < layer->constants; k++)
        r.constants[k] = in[layer->differentiable + k];
    return r;
}

static void check(td_session *s, const struct custom *f, enum which which, const td_tensor *in, look *look, double more)
{
    const struct layer *layer = &layers[which];
    struct slack slack = layer->slack;
    TD_SCOPE(s);
    struct results mine = derive(s, f, layer, layer->mine, in, look);
    struct results built_in = derive(s, f, layer, layer->built_in, in, look);
    assert_fine(s);
    assert_close(mine.value, built_in.value, slack.value * more, "value", layer->name);
    for (int k = 0; k < layer->constants; k++)
        assert_close(mine.constants[k], built_in.constants[k], slack.value * more, "running statistic", layer->name);
    for (int k = 0; k < layer->differentiable; k++)
        assert_close(mine.first[k], built_in.first[k], slack.first * more, "first gradient", layer->name);
    for (int k = 0; k <= layer->differentiable; k++)
        assert_close(mine.second[k], built_in.second[k], slack.second * more, "second gradient", layer->name);
    assert_fine(s);
}

static td_tensor drawn(td_session *s, enum td_dtype dtype, struct td_dims shape)
{
    return td_to(td_randn(s, shape), dtype);
}

/* x, weight, bias of outputs; x's last dimension is the weight's. */
static void check_linear(td_session *s, const struct custom *f, td_tensor x, int64_t inner, int64_t outputs, look *look,
                         double more)
{
    enum td_dtype dtype = td_dtype_of(x);
    const td_tensor in[] = {x, drawn(s, dtype, TD_SHAPE(outputs, inner)), drawn(s, dtype, TD_SHAPE(outputs))};
    check(s, f, LINEAR, in, look, more);
}

static void check_batch_norm(td_session *s, const struct custom *f, td_tensor x, int64_t channels, look *look,
                             double more)
{
    enum td_dtype dtype = td_dtype_of(x);
    const struct td_dims row = TD_SHAPE(channels);
    const td_tensor in[] = {x, drawn(s, dtype, row), drawn(s, dtype, row), drawn(s, dtype, row),
                            td_add(td_square(drawn(s, dtype, row)), 0.5)};
    check(s, f, TRAINING, in, look, more);
    check(s, f, EVALUATION, in, look, more);
}

static void check_elementwise(td_session *s, const struct custom *f, td_tensor x, look *look, double more)
{
    check(s, f, RELU, &x, look, more);
    check(s, f, SIGMOID, &x, look, more);
    check(s, f, GELU, &x, look, more);
}

static void check_dtype(enum td_dtype dtype)
{
    td_session *s = open_session();
    struct custom f = custom_new(s);
    check_elementwise(s, &f, drawn(s, dtype, TD_SHAPE(4, 7)), as_it_is, 1);
    check_elementwise(s, &f, td_mul(drawn(s, dtype, TD_SHAPE(1000)), 3.0), as_it_is, 1);
    check_elementwise(s, &f, drawn(s, dtype, TD_SHAPE()), as_it_is, 1);
    check_elementwise(s, &f, drawn(s, dtype, TD_SHAPE(0, 3)), as_it_is, 1);
    check_linear(s, &f, drawn(s, dtype, TD_SHAPE(6, 5)), 5, 3, as_it_is, 1);
    check_linear(s, &f, drawn(s, dtype, TD_SHAPE(2, 3, 4, 5)), 5, 3, as_it_is, 1);
    check_linear(s, &f, drawn(s, dtype, TD_SHAPE(5)), 5, 3, as_it_is, 1);
    check_linear(s, &f, drawn(s, dtype, TD_SHAPE(0, 5)), 5, 3, as_it_is, 1);
    check_linear(s, &f, drawn(s, dtype, TD_SHAPE(4, 0)), 0, 3, as_it_is, 1);
    check_batch_norm(s, &f, drawn(s, dtype, TD_SHAPE(8, 3)), 3, as_it_is, 1);
    check_batch_norm(s, &f, drawn(s, dtype, TD_SHAPE(4, 3, 2, 5)), 3, as_it_is, 1);
    custom_free(&f);
    close_session(s);
}

static void test_f32(void **state)
{
    (void)state;
    check_dtype(TD_F32);
}

static void test_f64(void **state)
{
    (void)state;
    check_dtype(TD_F64);
}

/* The built-in batch_norm computes halves in f32 and rounds at the end. */
static void test_f16(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct custom f = custom_new(s);
    check_elementwise(s, &f, drawn(s, TD_F16, TD_SHAPE(4, 7)), as_it_is, 1);
    check_linear(s, &f, drawn(s, TD_F16, TD_SHAPE(6, 5)), 5, 3, as_it_is, 1);
    check_batch_norm(s, &f, drawn(s, TD_F16, TD_SHAPE(8, 3)), 3, as_it_is, 4);
    custom_free(&f);
    close_session(s);
}

static td_tensor turned(td_tensor x)
{
    return td_transpose(x, 0, -1);
}

static td_tensor every_other(td_tensor x)
{
    return td_slice(x, 1, .start = 1, .step = 2);
}

static td_tensor broadcast(td_tensor x)
{
    return td_expand(x, TD_SHAPE(4, 6));
}

static void test_views(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct custom f = custom_new(s);
    static const struct {
        look *look;
        struct td_dims shape;
    } views[] = {{turned, {2, {6, 4}}}, {every_other, {2, {4, 12}}}, {broadcast, {1, {6}}}, {broadcast, {2, {4, 1}}}};
    for (size_t k = 0; k < sizeof views / sizeof *views; k++) { /* all are (4, 6) */
        td_tensor x = drawn(s, TD_F64, views[k].shape);
        check_elementwise(s, &f, x, views[k].look, 1);
        check_linear(s, &f, x, 6, 3, views[k].look, 1);
        if (views[k].shape.count == 1) /* rows that are all alike have no variance, and 1 / sqrt(eps) for a slope */
            continue;
        check_batch_norm(s, &f, x, 6, views[k].look, 1);
    }
    custom_free(&f);
    close_session(s);
}

static void test_values_that_are_none(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct custom f = custom_new(s);
    td_tensor x = td_from(s, ((const double[]){NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e308}), TD_F64, TD_SHAPE(6),
                          .requires_grad = true);
    td_tensor y = td_apply(f.relu, x), z = td_relu(x);
    td_tensor mine = td_grad_of(y, x, .grad_outputs = x), other = td_grad_of(z, x, .grad_outputs = x);
    assert_true(td_allclose(y, z, .rtol = 0, .atol = 0, .equal_nan = true));
    assert_true(td_allclose(mine, other, .rtol = 0, .atol = 0, .equal_nan = true));
    assert_fine(s);
    custom_free(&f);
    close_session(s);
}

/* ---- in programs and checkpoints ---- */

struct net {
    td_tensor w, b, scale, shift, mean, var;
    td_optimizer *optimizer;
};

static struct net net_new(td_session *s)
{
    td_manual_seed(s, 5);
    struct net n = {
        .w = td_randn(s, TD_SHAPE(6, 6), .requires_grad = true),
        .b = td_zeros(s, TD_SHAPE(6), .requires_grad = true),
        .scale = td_ones(s, TD_SHAPE(6), .requires_grad = true),
        .shift = td_zeros(s, TD_SHAPE(6), .requires_grad = true),
        .mean = td_zeros(s, TD_SHAPE(6)),
        .var = td_ones(s, TD_SHAPE(6)),
    };
    n.optimizer = td_sgd(s, TD_LIST(n.w, n.b, n.scale, n.shift), .lr = 0.1, .momentum = 0.9);
    return n;
}

static td_tensor net_run(const struct custom *f, const struct net *n, td_tensor x)
{
    td_tensor h = td_apply(f->linear, x, n->w, n->b);
    h = custom_batch_norm(f, TD_LIST(h, n->scale, n->shift, n->mean, n->var), true);
    h = td_apply(f->gelu, td_dropout(h, .p = 0.25));
    return td_apply(f->sigmoid, td_apply(f->relu, td_add(h, x)));
}

static td_tensor net_step(const struct custom *f, const struct net *n, td_tensor x, bool checkpoint)
{
    td_session *s = x.session;
    td_tensor y;
    if (checkpoint) {
        TD_CHECKPOINT(s);
        y = td_keep(net_run(f, n, x));
    } else {
        y = net_run(f, n, x);
    }
    td_tensor loss = td_mean(td_square(y));
    td_zero_grad(n->optimizer);
    td_backward(loss);
    td_step(n->optimizer);
    return loss;
}

/* Ten steps as they are written, in checkpoints, recorded, and both: the same bits. */
static void test_programs_and_checkpoints(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    td_session *s = open_session();
    struct custom f = custom_new(s);
    struct net nets[4];
    double losses[4][STEPS];
    td_tensor x[STEPS];
    for (int i = 0; i < STEPS; i++)
        x[i] = td_randn(s, TD_SHAPE(5, 6));
    for (int way = 0; way < 4; way++) {
        bool checkpoint = way & 1, recorded = way & 2;
        td_program *p = NULL;
        nets[way] = net_new(s);
        for (int i = 0; i < STEPS; i++) {
            TD_SCOPE(s);
            td_tensor loss;
            if (recorded && i > 0) {
                td_run(p, TD_LIST(x[i]), &loss);
            } else {
                if (recorded)
                    p = td_record(s, TD_LIST(x[i]));
                loss = net_step(&f, &nets[way], x[i], checkpoint);
                if (recorded)
                    td_record_end(p, TD_LIST(loss));
            }
            losses[way][i] = td_item(loss);
        }
        td_program_free(p);
        td_optimizer_free(nets[way].optimizer);
    }
    assert_fine(s);
    for (int way = 1; way < 4; way++) {
        assert_memory_equal(losses[way], losses[0], sizeof losses[0]);
        assert_true(td_equal(nets[way].w, nets[0].w));
        assert_true(td_equal(nets[way].scale, nets[0].scale));
        assert_true(td_equal(nets[way].mean, nets[0].mean));
        assert_true(td_equal(nets[way].var, nets[0].var));
    }
    assert_true(losses[0][STEPS - 1] < losses[0][0]);
    custom_free(&f);
    close_session(s);
}

/* ---- how often the C code runs ---- */

static void test_each_kind_is_traced_once(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *square = square_new(s);
    td_tensor kinds[] = {
        td_randn(s, TD_SHAPE(2, 3)),
        td_randn(s, TD_SHAPE(3, 2)),
        td_to(td_randn(s, TD_SHAPE(2, 3)), TD_F64),
        td_t(td_randn(s, TD_SHAPE(3, 2))), /* (2, 3) of other strides */
        td_randn(s, TD_SHAPE(2, 3), .requires_grad = true),
        td_arange(s, 0, 6),
        td_randn(s, TD_SHAPE()),
    };
    enum { KINDS = sizeof kinds / sizeof *kinds };
    forwards = backwards = 0;
    for (int turn = 0; turn < 3; turn++)
        for (int k = 0; k < KINDS; k++)
            assert_true(td_equal(td_apply(square, kinds[k]), td_square(kinds[k])));
    assert_int_equal(forwards, KINDS);
    assert_int_equal(backwards, 1);
    {
        TD_NO_GRAD(s);
        assert_false(td_requires_grad(td_apply(square, kinds[4])));
    }
    assert_int_equal(forwards, KINDS); /* is what kinds[0] is */
    td_function_free(square);
    close_session(s);
}

/* ---- a function within a function ---- */

static td_function *inner;

/* x^4, by square in forward and, for its slope of 4 x x^2, in backward. */
static void fourth_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, in[0]);
    out[0] = td_apply(inner, td_apply(inner, in[0]));
}

static void fourth_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    td_tensor x = td_saved(ctx, 0);
    grad_in[0] = td_mul(grad_out[0], td_mul(td_mul(x, 4.0), td_apply(inner, x)));
}

static void test_functions_nest(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *fourth =
        td_function_new(s, "fourth", .inputs = 1, .outputs = 1, .forward = fourth_forward, .backward = fourth_backward);
    inner = square_new(s);
    td_tensor x = td_full(s, TD_SHAPE(2), 3.0, .dtype = TD_F64, .requires_grad = true);
    td_tensor y = td_apply(fourth, x), first, second, third;
    first = td_grad_of(td_sum(y), x, .create_graph = true);
    second = td_grad_of(td_sum(first), x, .create_graph = true);
    third = td_grad_of(td_sum(second), x);
    assert_true(td_item(td_sum(y)) == 2 * 81);
    assert_true(td_item(td_sum(first)) == 2 * 108);
    assert_true(td_item(td_sum(second)) == 2 * 108);
    assert_true(td_item(td_sum(third)) == 2 * 72);
    td_function_free(inner);
    td_function_free(fourth);
    assert_fine(s);
    close_session(s);
}

/* ---- a backward that writes to what it is given ---- */

static void copy_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_mul(in[0], 1.0);
}

static void tripling_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    (void)ctx;
    td_mul_(grad_out[0], 3.0);
    grad_in[0] = grad_out[0];
}

static void test_gradients_are_written_to_by_one_only(void **state)
{
    (void)state;
    td_session *s = open_session();
    td_function *f =
        td_function_new(s, "copy", .inputs = 1, .outputs = 1, .forward = copy_forward, .backward = tripling_backward);
    td_tensor x = td_zeros(s, TD_SHAPE(2), .requires_grad = true), y = td_zeros(s, TD_SHAPE(2), .requires_grad = true);
    td_backward(td_sum(td_exp(td_add(td_apply(f, x), y)))); /* both are given the same gradient */
    assert_true(td_equal(td_grad(x), td_full(s, TD_SHAPE(2), 3.0)));
    assert_true(td_equal(td_grad(y), td_ones(s, TD_SHAPE(2))));
    td_function_free(f);
    assert_fine(s);
    close_session(s);
}

/* ---- the graph ---- */

static const td_graph_part *part_of(const td_graph *graph, const char *name)
{
    for (int64_t k = 0; k < graph->op_count; k++)
        if (!strcmp(graph->ops[k].name, name))
            return &graph->ops[k];
    fail_msg("the graph has no %s", name);
    return NULL;
}

static void test_the_graph_has_their_names(void **state)
{
    (void)state;
    enum { MANY = 70, BYTES = 64 * 64 * 4 };
    td_session *s = open_session();
    td_function *square = square_new(s), *many[MANY];
    td_tensor x = td_ones(s, TD_SHAPE(64, 64), .requires_grad = true), y;
    {
        TD_CHECKPOINT(s);
        y = td_keep(td_apply(square, td_mul(x, 2.0)));
    }
    y = td_apply(square, td_apply(square, td_take(y)));
    td_graph *graph = td_graph_info(y);
    assert_non_null(graph);
    assert_int_equal(graph->nodes, 3);
    assert_int_equal(part_of(graph, "square")->nodes, 2);
    assert_int_equal(part_of(graph, "square")->bytes, 2 * BYTES);
    assert_int_equal(part_of(graph, "checkpoint")->nodes, 1);
    assert_int_equal(part_of(graph, "checkpoint")->bytes, BYTES);
    free(graph);
    char *text = td_graph_text(y);
    assert_non_null(strstr(text, "square"));
    assert_non_null(strstr(text, "checkpoint"));
    free(text);
    for (int k = 0; k < MANY; k++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", k);
        many[k] =
            td_function_new(s, name, .inputs = 1, .outputs = 1, .forward = square_forward, .backward = square_backward);
        y = td_apply(many[k], td_take(y));
    }
    graph = td_graph_info(y);
    assert_int_equal(graph->nodes, 3 + MANY);
    assert_int_equal(graph->op_count, 64);
    free(graph);
    td_backward(td_sum(y));
    td_backward(td_sum(y));
    assert_error(s, TD_E_GRAD, "backward: the graph through f69 has been walked already");
    for (int k = 0; k < MANY; k++)
        td_function_free(many[k]);
    td_function_free(square);
    close_session(s);
}

/* ---- a function within itself ---- */

static void exp_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    td_save_for_backward(ctx, in[0]);
    out[0] = td_exp(in[0]);
}

static void exp_backward(td_context *ctx, const td_tensor *grad_out, td_tensor *grad_in)
{
    grad_in[0] = td_mul(grad_out[0], td_apply(inner, td_saved(ctx, 0)));
}

static void test_a_backward_may_apply_its_function(void **state)
{
    (void)state;
    td_session *s = open_session();
    inner = td_function_new(s, "my_exp", .inputs = 1, .outputs = 1, .forward = exp_forward, .backward = exp_backward);
    td_tensor x = td_full(s, TD_SHAPE(), 0.5, .dtype = TD_F64, .requires_grad = true), y = td_apply(inner, x);
    for (int order = 0; order <= 2; order++) {
        assert_true(td_item(y) == td_item(td_exp(x)));
        y = td_grad_of(y, x, .create_graph = true);
    }
    assert_true(isnan(td_item(y)));
    assert_error(s, TD_E_GRAD, "the function my_exp is marked as once differentiable");
    td_function_free(inner);
    close_session(s);
}

static void endless_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_apply(inner, in[0]);
}

static void growing_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    out[0] = td_apply(inner, td_cat(TD_LIST(in[0], td_slice(in[0], 0, .end = 1))));
}

/* Adds halves until one element is left. */
static void halves_forward(td_context *ctx, const td_tensor *in, td_tensor *out)
{
    (void)ctx;
    int64_t half = td_size(in[0], 0) / 2;
    out[0] = td_add(td_slice(in[0], 0, .end = half), td_slice(in[0], 0, .start = half));
    if (half > 1)
        out[0] = td_apply(inner, out[0]);
}

static void test_a_forward_may_apply_its_function_to_another_kind(void **state)
{
    (void)state;
    td_session *s = open_session();
    static const struct {
        td_function_forward *forward;
        int code;
        const char *part;
    } cases[] = {
        {halves_forward, TD_E_OK, ""},
        {endless_forward, TD_E_ARGUMENT, "self: applies itself to inputs of the same kind, which has no end"},
        {growing_forward, TD_E_LIMIT, "self: applies itself within itself 64 times"},
    };
    for (int k = 0; k < 3; k++) {
        inner = td_function_new(s, "self", .inputs = 1, .outputs = 1, .forward = cases[k].forward);
        for (int turn = 0; turn < 2; turn++) {
            td_tensor y = td_apply(inner, td_ones(s, TD_SHAPE(16)));
            if (k == 0)
                assert_true(td_item(y) == 16);
            else
                assert_error(s, cases[k].code, cases[k].part);
            td_release(y);
        }
        td_function_free(inner);
    }
    close_session(s);
}

/* ---- what is replayed with other inputs ---- */

static void test_replays_never_take_a_variable_for_a_constant(void **state)
{
    (void)state;
    td_session *s = open_session();
    struct custom f = custom_new(s);
    td_function *square = square_new(s);
    td_tensor plain = td_ones(s, TD_SHAPE(2, 3)), x = td_ones(s, TD_SHAPE(2, 3), .requires_grad = true), y;
    td_tensor w = td_ones(s, TD_SHAPE(1, 3), .requires_grad = true), b = td_zeros(s, TD_SHAPE(1));
    td_program *one = td_record(s, TD_LIST(plain));
    td_record_end(one, TD_LIST(td_apply(square, plain)));
    td_program *some = td_record(s, TD_LIST(plain));
    td_record_end(some, TD_LIST(td_apply(f.linear, plain, w, b)));
    td_run(one, TD_LIST(x), &y);
    assert_error(s, TD_E_GRAD, "square: input 0 requires a gradient, and did not where the call was recorded");
    td_run(some, TD_LIST(x), &y);
    assert_error(s, TD_E_GRAD, "my_linear: input 0 requires a gradient, and did not where the call was recorded");
    td_run(one, TD_LIST(td_detach(x)), &y);
    assert_true(td_item(td_sum(y)) == 6);
    td_run(some, TD_LIST(td_full(s, TD_SHAPE(2, 3), 2.0)), &y);
    td_backward(td_sum(y));
    assert_true(td_item(td_sum(td_grad(w))) == 12);
    td_program_free(one);
    td_program_free(some);
    td_function_free(square);
    custom_free(&f);
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_f64),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_values_that_are_none),
        cmocka_unit_test(test_programs_and_checkpoints),
        cmocka_unit_test(test_each_kind_is_traced_once),
        cmocka_unit_test(test_functions_nest),
        cmocka_unit_test(test_gradients_are_written_to_by_one_only),
        cmocka_unit_test(test_the_graph_has_their_names),
        cmocka_unit_test(test_a_backward_may_apply_its_function),
        cmocka_unit_test(test_a_forward_may_apply_its_function_to_another_kind),
        cmocka_unit_test(test_replays_never_take_a_variable_for_a_constant),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
