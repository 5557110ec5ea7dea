/* Every row of the table that takes tensors: calls that inference accepts, and the same with one thing wrong, which it
 * has to refuse with the right code. The seed is printed and taken from TEST_SEED. SPDX-License-Identifier: Apache-2.0
 */
#include "tests/kernel_calls.h"

#include <inttypes.h>
#include <stdio.h>

#define TRIALS 10

static uint64_t seed;

/* The code of a call of op with these inputs and attributes. */
static int refusal(const struct call *c, const struct td_meta *metas, int in_count)
{
    struct td_failure failure = {0};
    struct td_inference i = {.op = c->op,
                             .in = metas,
                             .in_count = in_count,
                             .list_counts = c->lists,
                             .attrs = c->attrs,
                             .size = c->size,
                             .failure = &failure};
    int code = td_infer(&i);
    assert_int_equal(code, failure.code);
    /* A message names the op and says something; a hint is a sentence or absent. */
    if (code) {
        assert_memory_equal(failure.message, c->op->name, strlen(c->op->name));
        assert_true(!failure.hint[0] || failure.hint[strlen(failure.hint) - 1] == '.');
    }
    return code;
}

/* The kinds of the inputs, lists laid out flat. */
static void kinds_of(const struct call *c, uint8_t *kinds)
{
    int k = 0, list = 0;
    for (const struct td_param *p = c->op->params; p->kind; p++)
        for (int n = td_param_is_list(p->kind) ? c->lists[list++] : td_param_is_tensor(p->kind); n > 0; n--)
            kinds[k++] = p->kind;
}

/* Each dtype that the row does not take, in all promoted inputs together; f32 where an index or a mask is due. */
static void refuse_dtypes(const struct call *c, const struct td_meta *right)
{
    struct td_meta wrong[INPUTS];
    uint8_t kinds[INPUTS];
    kinds_of(c, kinds);
    for (int k = 0; k < c->in_count; k++) {
        memcpy(wrong, right, sizeof wrong);
        wrong[k].dtype = TD_F32;
        if (!td_param_is_promoted(kinds[k]))
            assert_int_equal(refusal(c, wrong, c->in_count), TD_E_DTYPE);
    }
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        bool any = false; /* a list may be empty */
        memcpy(wrong, right, sizeof wrong);
        for (int k = 0; k < c->in_count; k++) {
            if (!td_param_is_promoted(kinds[k]))
                continue;
            wrong[k].dtype = dtypes[d];
            any = true;
        }
        if (any && !(c->op->takes & TD_MASK(dtypes[d])))
            assert_int_equal(refusal(c, wrong, c->in_count), TD_E_DTYPE);
    }
}

/* A size that no other has: nothing with a second operand, an index or a window accepts all of them. */
static void refuse_shapes(const struct call *c, const struct td_meta *right)
{
    static const char *const pairs[] = {"binary", "compare", "loss", "linalg", "ternary"};
    struct td_meta wrong[INPUTS];
    bool pair = false;
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++)
        pair |= !strcmp(c->op->group, pairs[k]);
    if (!pair || c->in_count < 2 || right[0].rank == 0 || right[1].rank == 0 || right[0].scalar || right[1].scalar)
        return;
    memcpy(wrong, right, sizeof wrong);
    wrong[0].shape[right[0].rank - 1] = 9973;
    wrong[1].shape[right[1].rank - 1] = 9967;
    if (c->op->id == TD_OP_matmul)
        wrong[1].shape[right[1].rank > 1 ? right[1].rank - 2 : 0] = 9967;
    if (is_one_of(c->op, "cross_entropy nll_loss") && right[1].rank)
        wrong[1].shape[0] = right[0].shape[0] + 1;
    assert_int_equal(refusal(c, wrong, c->in_count), TD_E_SHAPE);
}

static void test_row(void **state)
{
    const struct td_op *op = *state;
    random_state = seed + op->id;
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        for (int trial = 0; trial < TRIALS && op->takes & TD_MASK(dtypes[d]); trial++) {
            struct td_meta metas[INPUTS] = {{0}};
            struct call c;
            draw_call(&c, op, dtypes[d]);
            for (int k = 0; k < c.in_count; k++)
                metas[k] = c.in[k].meta;
            assert_int_equal(refusal(&c, metas, c.in_count), TD_E_OK);
            if (c.in_count)
                assert_int_equal(refusal(&c, metas, c.in_count - 1), TD_E_ARGUMENT);
            refuse_dtypes(&c, metas);
            refuse_shapes(&c, metas);
            for (int k = 0; k < INPUTS; k++) {
                tensor_deinit(&c.in[k]);
                tensor_deinit(&c.grads[k]);
            }
        }
    }
}

int main(void)
{
    static char names[TD_OP_LIMIT][48];
    struct CMUnitTest tests[TD_OP_LIMIT];
    size_t count = 0;
    const char *given = getenv("TEST_SEED");
    seed = given ? strtoull(given, NULL, 0) : 20261123;
    print_message("TEST_SEED=%" PRIu64 "\n", seed);
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++) {
        const struct td_op *op = td_op_of((uint64_t)id);
        if (!op || op->kind == TD_VIEW || op->id == TD_OP_from)
            continue;
        snprintf(names[id], sizeof names[id], "refusals_of_%s", op->name);
        tests[count++] = (struct CMUnitTest){.name = names[id], .test_func = test_row, .initial_state = (void *)op};
    }
    return _cmocka_run_group_tests("refusals", tests, count, NULL, NULL);
}
