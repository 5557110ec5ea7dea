/* Gradients, end to end through libtensord: every op of the table that has one against central finite differences, in
 * several shapes and layouts, and what autograd promises around them: accumulation, graphs kept and freed, no_grad,
 * writes in place through views. SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "client/internal.h"
#include "tests/support.h"

#define STEP 1e-6
#define TOLERANCE 1e-6
#define ELEMENTS 64

static struct test_daemon daemon_;
static td_session *s;
static uint64_t random_state = 20260131;

static double draw(double low, double high)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return low + (high - low) * (double)(random_state >> 11) / (double)(UINT64_C(1) << 53);
}

/* ---- one case of one op ----
 * "op parameter ...": a tensor is its sizes, "2,3", then t, s or e if the op gets it transposed, every second row of
 * it, or its first dimension (of size 1) expanded to 3; "()" has none; "=" is the first tensor again; "#2.5" a number;
 * "i2,2:0,1,1,0" an index and "m2,3" a mask. Attributes stand as in golden/layouts.txt. */
static const char *const cases[] = {
    "reshape 2,3 [3,2]",
    "reshape 3,2t [6]",
    "reshape 4,3s [-1]",
    "reshape () [1,1]",
    "view 2,3 [1,6]",
    "transpose 2,3 0 -1",
    "transpose 2,3,2 1 2",
    "select 3,2 0 1",
    "select 3,2t -1 -1",
    "slice 5,2 0 1 9223372036854775807 2",
    "slice 3,2 0 2 1 1",
    "slice 2,5 -1 -4 -1 1",
    "expand 1,3 [4,3]",
    "expand 3 [2,2,3]",
    "expand () [2,2]",
    "expand 2,1t [3,2]",
    "contiguous 3,2t",
    "contiguous 3,2",
    "clone 3,2t",
    "clone 1,3e",
    "to 2,3 f64",
    "fill_ 2,3 #0.5",
    "fill_ 2,3 ()",
    "add_ 2,3 3",
    "add_ 2,3 #2",
    "add_ 3,3 1,3e",
    "add_ 2,3t 3,1",
    "neg 2,3",
    "exp 2,3t",
    "log 2,3",
    "tanh 3",
    "relu 4,3",
    "square 2,2",
    "sigmoid 4,2s",
    "add 2,3 2,3",
    "add 2,3 =",
    "add 2,1 1,3",
    "add 2,3 ()",
    "add 3 #1.5",
    "sub 2,3 3",
    "sub 3 =",
    "mul 2,3 2,3",
    "mul 2,3 =",
    "mul 3,2t 3",
    "mul 1,3e 3,1",
    "mul 2,3 #-2",
    "div 2,3 2,3",
    "div 2,3 =",
    "div 3,1 1,2",
    "div 2,3 ()",
    "div 3 #4",
    "rsub 2,3 3",
    "rsub 2,3 #1",
    "where m2,3 2,3 2,3",
    "where m2,3 () 3",
    "where m2,3 2,3 #0",
    "where m2,3 2,3 =2",
    "sum 2,3 nil 0",
    "sum 2,3 [0] 0",
    "sum 2,3,2 [-1,0] 1",
    "sum () nil 0",
    "sum 0,3 [0] 0",
    "mean 2,3 nil 0",
    "mean 3,2t [1] 1",
    "mean 2,3,2 [0,2] 0",
    "max 2,3 nil 0",
    "max 2,3 [1] 0",
    "max 3,2t [0] 1",
    "matmul 2,3 3,4",
    "matmul 3,2t 3,4",
    "matmul 2,3 4,3t",
    "matmul 2,2 =",
    "matmul 2,0 0,3",
    "log_softmax 2,3 1",
    "log_softmax 2,3 0",
    "log_softmax 3,2t -1",
    "log_softmax 2,3,2 1",
    "cross_entropy 3,4 i3:0,3,1 1",
    "cross_entropy 4,3t i3:2,2,0 2",
    "cross_entropy 3,4 i3:1,1,1 0",
    "mse_loss 2,3 2,3 1",
    "mse_loss 2,3 3 2",
    "mse_loss 2,3 2,1 0",
    "embedding 4,2 i3:0,3,0",
    "embedding 4,2 i2,2:1,2,2,2",
    "embedding 4,2s i2:1,0",
    "index_select 3,4 0 i4:2,2,0,1",
    "index_select 3,4t -1 i2:2,0",
    "index_select 3,4 1 i0:",
    "index_add 3,4 0 i2:2,2 2,4",
    "index_add 3,4 1 i2:0,3 2,3t",
    "strided_read 2,3 [3,2] [1,3] 0",
    "strided_read 6 [3,3] [1,1] 1",
    "strided_read 3,2t [4] [1] 1",
    "strided_write 2,3 2,2 [2,2] [3,1] 1",
    "strided_write 2,3 () [2,2] [3,1] 0",
    "strided_write 6 2 [2,2] [1,3] 0",
    "strided_add 2,3 2,2 [2,2] [3,1] 1",
    "strided_add 4 3,2 [3,2] [1,1] 0",
};

#define FEW_INPUTS 4

struct input {
    td_tensor leaf, seen;
    double values[ELEMENTS];
    int count; /* elements of the leaf */
    bool is_leaf;
};

struct trial {
    const struct td_op *op;
    struct input in[FEW_INPUTS];
    td_operand operands[FEW_INPUTS];
    int in_count;
    int64_t attrs[TD_ATTR_SLOTS];
    double weights[ELEMENTS];
    bool drawn; /* values and weights are there: later runs take them again */
    td_tensor result;
};

static struct td_dims parse_dims(const char **at)
{
    struct td_dims dims = {0};
    char *end;
    if (**at == '(')
        *at += 2;
    while (**at >= '0' && **at <= '9') {
        dims.v[dims.count++] = strtoll(*at, &end, 10);
        *at = end + (*end == ',');
    }
    return dims;
}

static int64_t product(const struct td_dims *dims)
{
    int64_t count = 1;
    for (int64_t d = 0; d < dims->count; d++)
        count *= dims->v[d];
    return count;
}

static double value_for(const struct td_op *op)
{
    switch ((enum td_tried)op->tried) {
    case TD_POSITIVE:
        return draw(0.3, 2);
    case TD_AWAY:
        return draw(0.3, 2) * (draw(-1, 1) < 0 ? -1 : 1);
    case TD_NOTHING:
    case TD_REALS:
    case TD_STEPS:
        break;
    }
    return draw(-2, 2);
}

static td_tensor as_seen(td_tensor leaf, char view)
{
    switch (view) {
    case 't':
        return td_transpose(leaf, 0, 1);
    case 's':
        return td_slice(leaf, 0, .step = 2);
    case 'e':
        return td_expand(leaf, TD_SHAPE(3, td_size(leaf, 1)));
    default:
        return leaf;
    }
}

static td_tensor index_or_mask(const char *word)
{
    const char *at = word + 1;
    struct td_dims dims = parse_dims(&at);
    int64_t index[ELEMENTS] = {0};
    bool mask[ELEMENTS];
    char *end;
    for (int64_t k = 0; k < product(&dims); k++) {
        mask[k] = k % 3 != 1;
        if (*word == 'i') {
            index[k] = strtoll(at + 1, &end, 10);
            at = end;
        }
    }
    return *word == 'i' ? td_from(s, index, TD_I64, dims) : td_from(s, mask, TD_BOOL, dims);
}

static void make_input(struct trial *t, const char *word)
{
    struct input *in = &t->in[t->in_count];
    td_operand *operand = &t->operands[t->in_count++];
    in->is_leaf = *word == '(' || (*word >= '0' && *word <= '9');
    if (*word == '#') {
        *operand = td_operand_of_real(strtod(word + 1, NULL));
        return;
    }
    if (*word == '=') {
        *operand = t->operands[word[1] ? word[1] - '0' - 1 : 0];
        return;
    }
    if (*word == 'i' || *word == 'm') {
        *operand = td_operand_of_tensor(index_or_mask(word));
        return;
    }
    struct td_dims dims = parse_dims(&word);
    in->count = (int)product(&dims);
    for (int k = 0; k < in->count && !t->drawn; k++)
        in->values[k] = value_for(t->op);
    in->leaf = td_from(s, in->values, TD_F64, dims, .requires_grad = true);
    in->seen = as_seen(in->leaf, *word);
    if (td_op_writes(t->op) && t->in_count == 1)
        in->seen = td_clone(in->seen); /* a leaf cannot be written to */
    *operand = td_operand_of_tensor(in->seen);
}

static void parse_attr(uint8_t kind, const char *word, int64_t *slot)
{
    struct td_dims dims = {.count = -1};
    if (kind == TD_PARAM_DTYPE) {
        *slot = TD_F64;
        return;
    }
    if (kind != TD_PARAM_SHAPE && kind != TD_PARAM_DIMS) {
        *slot = strtoll(word, NULL, 10);
        return;
    }
    char *end;
    if (*word == '[')
        for (dims.count = 0, word++; *word != ']'; word = end + (*end == ','))
            dims.v[dims.count++] = strtoll(word, &end, 10);
    memcpy(slot, &dims, sizeof dims);
}

/* The sum of the op's result, each element by a weight of its own. */
static td_tensor run(struct trial *t, const char *text)
{
    char copy[128], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    t->op = td_op_named(strtok_r(copy, " ", &rest));
    assert_non_null(t->op);
    t->in_count = 0;
    td_op_defaults(t->op, t->attrs);
    int64_t *slot = t->attrs;
    for (const struct td_param *p = t->op->params; p->kind; slot += td_param_slots(p++->kind)) {
        const char *word = strtok_r(NULL, " ", &rest);
        if (!word)
            break;
        if (td_param_is_tensor(p->kind))
            make_input(t, word);
        else
            parse_attr(p->kind, word, slot);
    }
    t->result = client_op(&(struct client_op){.id = t->op->id,
                                              .origin = {text, 0},
                                              .session = s,
                                              .in = t->operands,
                                              .in_count = t->in_count,
                                              .attrs = t->attrs});
    if (td_op_writes(t->op))
        t->result = t->in[0].seen;
    td_layout layout = td_layout_of(t->result);
    struct td_dims shape = {.count = layout.rank};
    memcpy(shape.v, layout.shape, sizeof shape.v);
    assert_true(product(&shape) <= ELEMENTS);
    for (int64_t k = 0; k < product(&shape) && !t->drawn; k++)
        t->weights[k] = draw(-1, 1);
    t->drawn = true;
    return td_sum(td_mul(t->result, td_from(s, t->weights, TD_F64, shape)));
}

static double loss_at(struct trial *t, const char *text, double *value, double by)
{
    TD_SCOPE(s);
    double before = *value;
    *value += by;
    double loss = td_item(run(t, text));
    *value = before;
    return loss;
}

static void check_healthy(const char *text)
{
    const td_error_info *error = td_error(s);
    if (error->code)
        print_error("%s: %s: %s (%s)\n", text, td_code_name(error->code), error->message, error->hint);
    assert_int_equal(error->code, TD_E_OK);
}

/* Returns false, having said so, if an element of a gradient is wrong. */
static bool check_case(const char *text)
{
    struct trial t = {0};
    double gradients[FEW_INPUTS][ELEMENTS];
    bool right = true;
    td_backward(run(&t, text));
    for (int k = 0; k < t.in_count; k++)
        right &= !t.in[k].is_leaf || td_read(td_grad(t.in[k].leaf), gradients[k], TD_F64, ELEMENTS) == t.in[k].count;
    check_healthy(text);
    assert_true(right);
    for (int k = 0; k < t.in_count; k++) {
        for (int e = 0; t.in[k].is_leaf && e < t.in[k].count; e++) {
            double *value = &t.in[k].values[e], found = gradients[k][e];
            double due = (loss_at(&t, text, value, STEP) - loss_at(&t, text, value, -STEP)) / (2 * STEP);
            if (fabs(found - due) <= TOLERANCE * (1 + fabs(due)))
                continue;
            print_error("%s: element %d of input %d has gradient %.10g where %.10g is due\n", text, e, k, found, due);
            right = false;
        }
    }
    check_healthy(text);
    return right;
}

static void test_finite_differences(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        wrong += !check_case(cases[k]);
    assert_int_equal(wrong, 0);
}

static void test_every_rule_is_tried(void **state)
{
    (void)state;
    int missing = 0;
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++) {
        const struct td_op *op = td_op_of((uint64_t)id);
        bool tried = !op || op->no_gradient;
        for (size_t k = 0; k < sizeof cases / sizeof *cases && !tried; k++)
            tried = !strncmp(cases[k], op->name, strlen(op->name)) && cases[k][strlen(op->name)] == ' ';
        if (!tried)
            print_error("no case for %s\n", op->name);
        missing += !tried;
    }
    assert_int_equal(missing, 0);
}

/* ---- by hand ---- */

#define LEAF(...)                                                                                      \
    td_from(s, ((const double[]){__VA_ARGS__}), TD_F64, TD_SHAPE(sizeof((double[]){__VA_ARGS__}) / 8), \
            .requires_grad = true)

static void expect_values(td_tensor x, int64_t count, const double *due, int line)
{
    double found[ELEMENTS];
    int64_t got = td_read(x, found, TD_F64, ELEMENTS);
    check_healthy("by hand");
    assert_int_equal(got, count);
    for (int64_t k = 0; k < count; k++) {
        if (fabs(found[k] - due[k]) > 1e-12)
            print_error("line %d: element %d is %.17g where %.17g is due\n", line, (int)k, found[k], due[k]);
        assert_true(fabs(found[k] - due[k]) <= 1e-12);
    }
}
#define EXPECT(x, ...) expect_values(x, sizeof((double[]){__VA_ARGS__}) / 8, (const double[]){__VA_ARGS__}, __LINE__)

/* The error that stands has this code; then it is taken away. */
static void expect_error(int code)
{
    assert_int_equal(td_error(s)->code, code);
    td_clear_error(s);
}

static void test_known_values(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2, -3);
    td_backward(td_sum(td_mul(w, w)));
    EXPECT(td_grad(w), 2, 4, -6);
    w = LEAF(1, 2, -3);
    td_backward(td_mean(td_square(w)));
    EXPECT(td_grad(w), 2 / 3.0, 4 / 3.0, -2);
    w = LEAF(3, 1, 3, 3);
    td_backward(td_max(w));
    EXPECT(td_grad(w), 1 / 3.0, 0, 1 / 3.0, 1 / 3.0); /* equals share */
    w = LEAF(0, -1, 1);
    td_backward(td_sum(td_relu(w)));
    EXPECT(td_grad(w), 0, 0, 1);
    w = LEAF(2, 5);
    td_tensor half = td_to(w, TD_F32);
    td_backward(td_sum(td_mul(half, 3)));
    assert_int_equal(td_dtype_of(td_grad(w)), TD_F64);
    EXPECT(td_grad(w), 3, 3);
    td_tensor b = td_from(s, (const double[]){4}, TD_F64, TD_SHAPE(), .requires_grad = true);
    w = LEAF(1, 2);
    td_backward(td_sum(td_mul(w, b)));
    EXPECT(td_grad(w), 4, 4);
    EXPECT(td_grad(b), 3);
    assert_int_equal(td_rank(td_grad(b)), 0);
}

static void test_accumulation_and_graphs(void **state)
{
    (void)state;
    td_tensor w = LEAF(1, 2), loss = td_sum(td_square(w));
    td_backward(loss, .retain_graph = true);
    td_backward(loss);
    EXPECT(td_grad(w), 4, 8);
    td_backward(loss); /* the graph is gone now */
    expect_error(TD_E_GRAD);
    EXPECT(td_grad(w), 4, 8);
    td_backward(td_sum(td_mul(w, 10)));
    EXPECT(td_grad(w), 14, 18);
    td_tensor y = td_mul(w, td_from(s, (const double[]){3, 4}, TD_F64, TD_SHAPE(2)));
    td_backward(y); /* more than one element, and no seed */
    expect_error(TD_E_GRAD);
    td_tensor v = LEAF(1, 1);
    td_tensor z = td_mul(v, v);
    td_backward(z, .seed = td_from(s, (const double[]){10, 100}, TD_F64, TD_SHAPE(2)));
    EXPECT(td_grad(v), 20, 200);
    td_tensor never = LEAF(1, 2);
    td_grad(never);
    expect_error(TD_E_GRAD);
}

/* A diamond: what is used twice gets both parts, once each. */
static void test_shared_parts(void **state)
{
    (void)state;
    td_tensor x = LEAF(2, 3), a = td_mul(x, 2), b = td_square(a), c = td_mul(a, b), d = td_add(c, a);
    td_backward(td_sum(td_add(d, b)));
    /* a = 2x; a^3 + a + a^2: d/dx = 2 (3 a^2 + 1 + 2 a) */
    EXPECT(td_grad(x), 2 * (3 * 16 + 1 + 8), 2 * (3 * 36 + 1 + 12));
}

static void test_no_grad_and_detach(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y;
    {
        TD_NO_GRAD(s);
        y = td_mul(x, 5);
    }
    assert_false(td_requires_grad(y));
    td_backward(td_sum(td_mul(x, y)));
    EXPECT(td_grad(x), 5, 10); /* y is a constant */
    td_tensor v = LEAF(1, 2), cut = td_detach(td_square(v));
    assert_false(td_requires_grad(cut));
    td_backward(td_sum(td_mul(v, cut)));
    EXPECT(td_grad(v), 1, 4);
    {
        TD_NO_GRAD(s);
        td_add_(v, 10); /* as an optimiser does */
    }
    EXPECT(v, 11, 12);
    td_backward(td_sum(td_square(v)));
    EXPECT(td_grad(v), 1 + 22, 4 + 24);
    td_tensor frozen = td_set_requires_grad(LEAF(1, 2), false), u = LEAF(3, 4);
    td_backward(td_sum(td_mul(frozen, u)));
    EXPECT(td_grad(u), 1, 2);
    assert_false(td_requires_grad(frozen));
}

static void test_writes_are_refused_to_leaves(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2);
    td_add_(x, 1);
    expect_error(TD_E_GRAD);
    td_fill_(td_select(x, 0, 0), 9);
    expect_error(TD_E_GRAD);
    EXPECT(x, 1, 2);
}

static td_tensor grid(double first)
{
    double values[6];
    for (int k = 0; k < 6; k++)
        values[k] = first + k;
    return td_from(s, values, TD_F64, TD_SHAPE(3, 2), .requires_grad = true);
}

#define WEIGHTS td_from(s, ((const double[]){1, 2, 3, 4, 5, 6}), TD_F64, TD_SHAPE(3, 2))

static void test_writes_through_views(void **state)
{
    (void)state;
    td_tensor x = grid(1), y = td_clone(x), row = td_select(y, 0, 1);
    td_fill_(row, 9.0); /* what was overwritten gets nothing */
    EXPECT(y, 1, 2, 9, 9, 5, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 0, 0, 5, 6);

    x = grid(1), y = td_clone(x), row = td_select(y, 0, 1);
    td_tensor b = LEAF(10, 20);
    td_add_(row, b); /* the base and the value both get theirs */
    EXPECT(y, 1, 2, 13, 24, 5, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 3, 4, 5, 6);
    EXPECT(td_grad(b), 3, 4);

    x = grid(1), y = td_clone(x), row = td_select(y, 1, 0); /* a column */
    td_tensor t = td_from(s, (const double[]){7}, TD_F64, TD_SHAPE(), .requires_grad = true);
    td_fill_(row, t);
    EXPECT(y, 7, 2, 7, 4, 7, 6);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 0, 2, 0, 4, 0, 6);
    EXPECT(td_grad(t), 1 + 3 + 5);
}

static void test_views_see_writes(void **state)
{
    (void)state;
    td_tensor x = grid(1), y = td_clone(x), row = td_select(y, 0, 0), b = LEAF(10, 20);
    td_add_(y, b); /* broadcast over the rows; row is older than this write, and sees it */
    EXPECT(row, 11, 22);
    td_backward(td_sum(td_mul(row, td_from(s, (const double[]){2, 3}, TD_F64, TD_SHAPE(2)))));
    EXPECT(td_grad(x), 2, 3, 0, 0, 0, 0);
    EXPECT(td_grad(b), 2, 3);

    /* Two views that overlap in one element; a write through one, a read through the other. */
    x = grid(1), y = td_clone(x);
    td_tensor column = td_select(y, 1, 1), last = td_select(y, 0, 2);
    b = LEAF(10, 20);
    td_fill_(last, 0.0);
    td_add_(last, b);
    EXPECT(column, 2, 4, 20);
    td_backward(td_sum(td_square(column)));
    EXPECT(td_grad(x), 0, 4, 0, 8, 0, 0);
    EXPECT(td_grad(b), 0, 40);

    /* A view of a view, through a transposition. */
    x = grid(1), y = td_clone(x), b = LEAF(1, 1, 1);
    td_add_(td_select(td_transpose(y, 0, 1), 0, 1), b);
    EXPECT(y, 1, 3, 3, 5, 5, 7);
    td_backward(td_sum(td_mul(y, WEIGHTS)));
    EXPECT(td_grad(x), 1, 2, 3, 4, 5, 6);
    EXPECT(td_grad(b), 2, 4, 6);
}

/* What a gradient needs keeps the values it had: PyTorch refuses here, tensord does not need to. */
static void test_overwritten_after_use(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), y = td_mul(x, 3), z = td_mul(y, y);
    td_add_(y, 100);
    EXPECT(y, 103, 106);
    td_backward(td_sum(z));
    EXPECT(td_grad(x), 18, 36);
    x = LEAF(0.5, -0.5);
    td_tensor h = td_exp(x), twice = td_mul(h, 2);
    td_fill_(h, 0.0);
    td_backward(td_sum(twice));
    EXPECT(td_grad(x), 2 * exp(0.5), 2 * exp(-0.5));
    /* A loop that fills rows one after the other, each from the one before. */
    td_tensor w = td_from(s, (const double[]){2}, TD_F64, TD_SHAPE(), .requires_grad = true);
    td_tensor rows = td_zeros(s, TD_SHAPE(4), .dtype = TD_F64);
    td_fill_(td_select(rows, 0, 0), 1.0);
    for (int k = 1; k < 4; k++)
        td_add_(td_select(rows, 0, k), td_mul(td_select(rows, 0, k - 1), w));
    EXPECT(rows, 1, 2, 4, 8);
    td_backward(td_sum(rows)); /* 1 + w + w^2 + w^3 */
    EXPECT(td_grad(w), 1 + 2 * 2 + 3 * 4);
}

static void test_failed_operand_is_skipped(void **state)
{
    (void)state;
    td_tensor x = LEAF(1, 2), bad = td_matmul(x, x);
    td_backward(td_sum(bad));
    expect_error(TD_E_SHAPE);
    td_backward(td_sum(td_mul(x, 2)));
    EXPECT(td_grad(x), 2, 2); /* nothing of the failed one */
}

/* ---- all of it on one daemon, each test in a session of its own ----
 * No test holds a TD_SCOPE around its assertions: cmocka jumps out of a failed one, past the scope's end. */

static int setup_group(void **state)
{
    (void)state;
    return daemon_start(&daemon_, (const char *const[]){"--memory", "256M", "--log-level", "warn", NULL});
}

static int teardown_group(void **state)
{
    (void)state;
    return daemon_stop(&daemon_);
}

static int setup(void **state)
{
    (void)state;
    s = td_open(daemon_.address);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    td_clear_error(s);
    return td_close(s);
}

int main(void)
{
#define GRADIENTS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        GRADIENTS(test_every_rule_is_tried),     GRADIENTS(test_known_values),
        GRADIENTS(test_accumulation_and_graphs), GRADIENTS(test_shared_parts),
        GRADIENTS(test_no_grad_and_detach),      GRADIENTS(test_writes_are_refused_to_leaves),
        GRADIENTS(test_writes_through_views),    GRADIENTS(test_views_see_writes),
        GRADIENTS(test_overwritten_after_use),   GRADIENTS(test_failed_operand_is_skipped),
        GRADIENTS(test_finite_differences),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
