/* Gradients against central finite differences, end to end through libtensord: every op of the table that has one, in
 * several shapes and layouts, and once more the gradients of those gradients. SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "client/internal.h"
#include "tests/gradient_cases.h"
#include "tests/wrong.h"
#include "tests/support.h"

#define STEP 1e-6
#define TOLERANCE 1e-6
#define TOLERANCE_OF_SECOND 1e-4
#define ELEMENTS 64

static struct test_daemon daemon_;
static td_session *s;
static uint64_t random_state = 20260131;

static double draw(double low, double high)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return low + (high - low) * (double)(random_state >> 11) / (double)(UINT64_C(1) << 53);
}

/* ---- one case of one op ---- */

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
    uint16_t list_count; /* of the one list that an op with a gradient has */
    double weights[ELEMENTS], gradient_weights[FEW_INPUTS][ELEMENTS];
    bool drawn; /* values and weights are there: later runs take them again */
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
    case TD_INSIDE:
        return draw(0.1, 0.9);
    case TD_ABOVE:
        return draw(1.3, 3);
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
    case 'd': /* far from singular */
        return td_add(leaf, td_mul(td_eye(s, td_size(leaf, -1), .dtype = TD_F64), 5));
    case 'p': /* symmetric and positive definite */
        return td_add(td_matmul(leaf, td_transpose(leaf, -2, -1)), td_eye(s, td_size(leaf, -2), .dtype = TD_F64));
    case 'y': /* symmetric */
        return td_add(leaf, td_transpose(leaf, -2, -1));
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
    if (!strcmp(word, "nil")) {
        *operand = td_operand_of_tensor((td_tensor){0});
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
    for (int k = 0; k < in->count && !t->drawn; k++) {
        in->values[k] = value_for(t->op);
        t->gradient_weights[t->in_count - 1][k] = draw(-1, 1);
    }
    in->leaf = td_from(s, in->values, TD_F64, dims, .requires_grad = true);
    in->seen = as_seen(in->leaf, *word);
    if (t->op->kind == TD_INPLACE && t->in_count == 1)
        in->seen = td_clone(in->seen); /* a leaf cannot be written to */
    *operand = td_operand_of_tensor(in->seen);
}

static void make_list(struct trial *t, char *words)
{
    char *rest = NULL;
    int before = t->in_count;
    for (char *word = strtok_r(words, "{;}", &rest); word; word = strtok_r(NULL, "{;}", &rest))
        make_input(t, word);
    t->list_count = (uint16_t)(t->in_count - before);
}

static void parse_attr(uint8_t kind, const char *word, int64_t *slot)
{
    struct td_dims dims = {.count = -1};
    if (kind == TD_PARAM_DTYPE) {
        *slot = TD_F64;
        return;
    }
    if (kind == TD_PARAM_REAL) {
        double real = strtod(word, NULL);
        memcpy(slot, &real, sizeof real);
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

/* Each element of a result by a weight of its own, the next ones behind those used. */
static td_tensor weighted_sum(struct trial *t, td_tensor result, int *used)
{
    td_layout layout = td_layout_of(result);
    struct td_dims shape = {.count = layout.rank};
    memcpy(shape.v, layout.shape, sizeof shape.v);
    int first = *used;
    *used += (int)product(&shape);
    assert_true(*used <= ELEMENTS);
    for (int k = first; k < *used && !t->drawn; k++)
        t->weights[k] = draw(-1, 1);
    return td_sum(td_mul(result, td_from(s, t->weights + first, TD_F64, shape)));
}

/* The weighted sum of the op's results. */
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
        char *word = strtok_r(NULL, " ", &rest);
        if (!word)
            break;
        if (td_param_is_list(p->kind))
            make_list(t, word);
        else if (td_param_is_tensor(p->kind))
            make_input(t, word);
        else
            parse_attr(p->kind, word, slot);
    }
    if (t->op->kind == TD_RANDOM) /* the same numbers each time */
        td_manual_seed(s, 7);
    td_tensor results[TD_OUTPUTS_MAX] = {{0}};
    client_ops(&(struct client_op){.id = t->op->id,
                                   .origin = {text, 0},
                                   .session = s,
                                   .in = t->operands,
                                   .in_count = t->in_count,
                                   .list_counts = &t->list_count,
                                   .attrs = t->attrs},
               results);
    if (t->op->kind == TD_INPLACE)
        results[0] = t->in[0].seen;
    td_tensor total = td_zeros(s, TD_SHAPE(), .dtype = TD_F64);
    int used = 0;
    for (int k = 0; k < t->op->output_count; k++)
        if (td_dtype_of(results[k]) == TD_F64 || !td_ok(results[k]))
            total = td_add(total, weighted_sum(t, results[k], &used));
    t->drawn = true;
    return total;
}

/* Says which error stands, if one does, and takes it away. */
static bool healthy(const char *text)
{
    const td_error_info *error = td_error(s);
    bool none = error->code == TD_E_OK;
    if (!none)
        print_error("%s: %s: %s (%s)\n", text, td_code_name(error->code), error->message, error->hint);
    td_clear_error(s);
    return none;
}

/* The gradients of all leaves; false if one is not there. */
static bool read_gradients(const struct trial *t, double gradients[FEW_INPUTS][ELEMENTS])
{
    bool there = true;
    for (int k = 0; k < t->in_count; k++)
        there &= !t->in[k].is_leaf || td_read(td_grad(t->in[k].leaf), gradients[k], TD_F64, ELEMENTS) == t->in[k].count;
    if (is_wrong(t->op->name))
        gradients[0][0] += 0.01;
    return there;
}

/* What is differentiated first: the weighted sum of the result. */
static double first_scalar(struct trial *t, const char *text)
{
    return td_item(run(t, text));
}

/* What is differentiated then: the weighted sum of all gradients of that. */
static double second_scalar(struct trial *t, const char *text)
{
    double gradients[FEW_INPUTS][ELEMENTS], total = 0;
    td_backward(run(t, text));
    if (!read_gradients(t, gradients))
        return NAN;
    for (int k = 0; k < t->in_count; k++)
        for (int e = 0; t->in[k].is_leaf && e < t->in[k].count; e++)
            total += gradients[k][e] * t->gradient_weights[k][e];
    return total;
}

typedef double scalar_of(struct trial *t, const char *text);

static double scalar_at(struct trial *t, const char *text, scalar_of *scalar, double *value, double by)
{
    TD_SCOPE(s);
    double before = *value;
    *value += by;
    double found = scalar(t, text);
    *value = before;
    return found;
}

/* Returns false, having said so, if an element of a gradient of the scalar is wrong. */
static bool compare(struct trial *t, const char *text, double gradients[FEW_INPUTS][ELEMENTS], scalar_of *scalar,
                    double tolerance)
{
    bool right = true;
    for (int k = 0; k < t->in_count; k++) {
        for (int e = 0; t->in[k].is_leaf && e < t->in[k].count; e++) {
            double *value = &t->in[k].values[e], found = gradients[k][e];
            double above = scalar_at(t, text, scalar, value, STEP), below = scalar_at(t, text, scalar, value, -STEP);
            double due = (above - below) / (2 * STEP);
            if (fabs(found - due) <= tolerance * (1 + fabs(due)))
                continue;
            print_error("%s: element %d of input %d has %s gradient %.10g where %.10g is due\n", text, e, k,
                        scalar == first_scalar ? "first" : "second", found, due);
            right = false;
        }
    }
    return right;
}

static bool check_first(const char *text)
{
    struct trial t = {0};
    double gradients[FEW_INPUTS][ELEMENTS];
    td_backward(run(&t, text));
    bool there = read_gradients(&t, gradients), right = there;
    if (there)
        right = compare(&t, text, gradients, first_scalar, TOLERANCE);
    return healthy(text) && right;
}

/* The weighted sum of the gradients as a tensor, which then depends on the leaves. */
static td_tensor sum_of_gradients(struct trial *t)
{
    td_tensor total = td_zeros(s, TD_SHAPE(), .dtype = TD_F64);
    for (int k = 0; k < t->in_count; k++) {
        td_tensor leaf = t->in[k].leaf;
        if (!t->in[k].is_leaf)
            continue;
        td_layout layout = td_layout_of(leaf);
        struct td_dims shape = {.count = layout.rank};
        memcpy(shape.v, layout.shape, sizeof shape.v);
        td_tensor weights = td_from(s, t->gradient_weights[k], TD_F64, shape);
        total = td_add(total, td_sum(td_mul(td_grad(leaf), weights)));
        /* A gradient of what is linear depends on nothing; the scalar still has to. */
        total = td_add(total, td_sum(td_mul(leaf, 0)));
    }
    return total;
}

static bool check_second(const char *text)
{
    struct trial t = {0};
    double gradients[FEW_INPUTS][ELEMENTS];
    td_tensor leaves[FEW_INPUTS];
    int count = 0;
    td_backward(run(&t, text), .create_graph = true);
    td_tensor scalar = sum_of_gradients(&t);
    for (int k = 0; k < t.in_count; k++)
        if (t.in[k].is_leaf)
            leaves[count++] = t.in[k].leaf;
    td_optimizer *zero = td_sgd(s, TD_LIST_OF(count, leaves));
    td_zero_grad(zero);
    td_optimizer_free(zero);
    td_backward(scalar);
    bool there = read_gradients(&t, gradients), right = there;
    if (there)
        right = compare(&t, text, gradients, second_scalar, TOLERANCE_OF_SECOND);
    return healthy(text) && right;
}

static int count_wrong(bool (*check)(const char *text))
{
    int wrong = 0;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        wrong += !check(cases[k]);
    return wrong;
}

static void test_finite_differences(void **state)
{
    (void)state;
    assert_int_equal(count_wrong(check_first), 0);
}

static void test_second_finite_differences(void **state)
{
    (void)state;
    assert_int_equal(count_wrong(check_second), 0);
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

/* ---- on one daemon ---- */

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
        GRADIENTS(test_every_rule_is_tried),
        GRADIENTS(test_finite_differences),
        GRADIENTS(test_second_finite_differences),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
