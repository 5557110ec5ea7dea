/* Derivatives of a C function of one tensor: products with the Jacobian, the Jacobian itself, the Hessian. All of it is
 * td_grad_of and ops that wait for nothing. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "client/chain.h"

/* f called with an x of its own, in a scope that takes away what is made on the way. */
struct trial {
    struct chain chain;
    const struct td_derivative_keywords *keywords;
    td_guard scope, recording;
    td_tensor given, x, y;
};

static const struct td_derivative_keywords no_keywords;

static td_origin plainly(const struct trial *t)
{
    return (td_origin){t->chain.origin.where, 0};
}

/* An x for f: part of the program's graph where the result is to be, otherwise a leaf. */
static td_tensor own_x(const struct trial *t)
{
    td_tensor x = lasting(t->given).tensor;
    if (!t->keywords->create_graph || !td_requires_grad_at(plainly(t), x))
        return td_set_requires_grad_at(plainly(t), chain_unary(&t->chain, TD_OP_detach, lasting(x)), true);
    td_layout layout = chain_layout(&t->chain, x);
    struct td_view_attrs attrs = {.shape.count = layout.rank};
    memcpy(attrs.shape.v, layout.shape, sizeof attrs.shape.v);
    return chain_step(&t->chain, TD_OP_view, &attrs, 1, (td_operand[]){lasting(x)});
}

/* Nothing inside inference mode would be recorded, and all derivatives would be zeros. */
static int check_mode(const char *name, td_tensor x, struct td_failure *failure)
{
    if (!scope_inference_mode(x.session))
        return TD_E_OK;
    td_fail(failure, TD_E_GRAD, "%s: nothing is recorded in inference mode", name);
    return td_hint(failure, "Call it outside of TD_INFERENCE_MODE; of TD_NO_GRAD it is independent.");
}

/* False: refused, and y is what is to be returned. */
static bool begin(struct trial *t, const char *name, td_origin origin, td_mapping *f, td_tensor x,
                  const struct td_derivative_keywords *keywords)
{
    TD_NO_FAILURE(failure);
    t->chain = (struct chain){.name = name, .origin = origin, .session = x.session};
    t->keywords = keywords ? keywords : &no_keywords;
    t->given = x;
    if (!query_begin((td_origin){origin.where, 0}, x, name, false)) { /* which says why */
        t->y = x;
        return false;
    }
    check_mode(name, x, &failure);
    session_leave(x.session);
    if (failure.code) {
        t->y = chain_refuse(&t->chain, &failure);
        chain_used(&t->chain, x, 0);
        return false;
    }
    td_scope_begin(x.session, &t->scope);
    td_enable_grad_begin(x.session, &t->recording);
    t->x = own_x(t);
    t->y = lasting(f(lasting(t->x).tensor, t->keywords->data)).tensor;
    return true;
}

/* Out of the trial's scope, as the result of a call. Of what f did not make itself nothing changes. */
static td_tensor out_of(const struct trial *t, td_tensor y)
{
    session_enter(t->given.session);
    const struct entry *e = handles_find(t->given.session, y);
    bool ours = e && e->scope == &t->scope;
    session_leave(t->given.session);
    if (!ours)
        return y;
    y = td_keep_at(plainly(t), y);
    y.generation |= FRESH;
    return y;
}

static td_tensor end(struct trial *t, td_tensor result)
{
    result = out_of(t, result);
    if (t->keywords->value)
        *t->keywords->value =
            lasting(out_of(t, t->keywords->create_graph ? t->y : chain_unary(&t->chain, TD_OP_detach, lasting(t->y))))
                .tensor;
    td_guard_end(&t->recording);
    td_guard_end(&t->scope);
    chain_used(&t->chain, t->given, 0);
    return result;
}

/* d y / d x for the seed, which may be left out. What does not depend on x has a derivative of zeros. */
static td_tensor derive(const struct trial *t, td_tensor y, td_tensor x, td_tensor seed, uint32_t options)
{
    return grads_ask(t->chain.name, plainly(t), y, x, seed, options | TD_GRADS_ZEROS | TD_GRADS_CONSTANTS);
}

/* Options of the last derivation of a trial. */
static uint32_t last(const struct trial *t)
{
    return t->keywords->create_graph ? TD_GRADS_CREATE : 0;
}

/* ---- products ---- */

td_tensor td_vjp_at(td_origin origin, td_mapping *f, td_tensor x, td_tensor v,
                    const struct td_derivative_keywords *keywords)
{
    struct trial t;
    td_tensor result = begin(&t, "vjp", origin, f, x, keywords) ? end(&t, derive(&t, t.y, t.x, v, last(&t))) : t.y;
    chain_used(&t.chain, v, 1);
    return result;
}

td_tensor td_jvp_at(td_origin origin, td_mapping *f, td_tensor x, td_tensor v,
                    const struct td_derivative_keywords *keywords)
{
    /* The product with a seed is linear in the seed: its derivative by it, times v, is what is looked for. */
    struct trial t;
    td_tensor result = {0};
    if (begin(&t, "jvp", origin, f, x, keywords)) {
        td_tensor seed = td_zeros_like_at(plainly(&t), t.y, &(struct td_like_keywords){.requires_grad = true});
        td_tensor product = derive(&t, t.y, t.x, lasting(seed).tensor, TD_GRADS_CREATE);
        result = end(&t, derive(&t, product, seed, v, last(&t)));
    } else {
        result = t.y;
    }
    chain_used(&t.chain, v, 1);
    return result;
}

/* A failed result if f does not give one element. */
static bool gives_one(struct trial *t, td_tensor *refusal)
{
    td_layout layout = chain_layout(&t->chain, t->y);
    TD_NO_FAILURE(failure);
    char shape[TD_SHAPE_TEXT];
    if (!td_ok_at(plainly(t), t->y) || td_checked_numel(layout.rank, layout.shape) == 1)
        return true; /* what failed goes on to fail */
    td_fail(&failure, TD_E_SHAPE, "%s: f gives shape %s where one element is due", t->chain.name,
            td_shape_text(layout.rank, layout.shape, shape, sizeof shape));
    td_hint(&failure, "td_sum, or td_jacobian of the gradient, may be meant.");
    *refusal = chain_refuse(&t->chain, &failure);
    return false;
}

td_tensor td_hvp_at(td_origin origin, td_mapping *f, td_tensor x, td_tensor v,
                    const struct td_derivative_keywords *keywords)
{
    struct trial t;
    td_tensor result = {0};
    if (!begin(&t, "hvp", origin, f, x, keywords))
        result = t.y;
    else if (!gives_one(&t, &result))
        result = end(&t, result);
    else
        result = end(&t, derive(&t, derive(&t, t.y, t.x, (td_tensor){0}, TD_GRADS_CREATE), t.x, v, last(&t)));
    chain_used(&t.chain, v, 1);
    return result;
}

/* ---- whole matrices ---- */

/* One tensor of count tensors of one shape, along a new first dimension; a list has a limit. */
static td_tensor stack(const struct trial *t, int64_t count, td_tensor *rows)
{
    td_tensor pieces[TD_LIST_MAX], result;
    int64_t piece_count = 0;
    td_list list;
    struct client_op op = {.name = t->chain.name, .origin = plainly(t), .lists = &list};
    for (int64_t k = 0; k < count; k += TD_LIST_MAX) {
        list = TD_LIST_OF(count - k < TD_LIST_MAX ? count - k : TD_LIST_MAX, rows + k);
        op.id = TD_OP_stack;
        op.attrs = &(struct td_stack_attrs){.dim = 0};
        op.session = t->given.session;
        client_lists(&op, &pieces[piece_count++]);
    }
    if (piece_count == 1)
        return pieces[0];
    list = TD_LIST_OF(piece_count, pieces);
    op.id = TD_OP_cat;
    op.attrs = &(struct td_cat_attrs){.dim = 0};
    client_lists(&op, &result);
    return result;
}

static td_tensor shaped(const struct trial *t, td_tensor y, int64_t count, const td_layout *a, const td_layout *b)
{
    struct td_reshape_attrs attrs = {.shape = {1, {count}}};
    TD_NO_FAILURE(failure);
    if (a && a->rank + b->rank > TD_RANK_MAX) {
        td_fail(&failure, TD_E_LIMIT, "%s: the result would have %d dimensions; the limit is %d", t->chain.name,
                a->rank + b->rank, TD_RANK_MAX);
        td_hint(&failure, "Let f take or give flattened tensors.");
        return chain_refuse(&t->chain, &failure);
    }
    for (int d = 0; a && d < a->rank + b->rank; d++)
        attrs.shape.v[d] = d < a->rank ? a->shape[d] : b->shape[d - a->rank];
    attrs.shape.count = a ? a->rank + b->rank : 1;
    return chain_step(&t->chain, TD_OP_reshape, &attrs, 1, (td_operand[]){lasting(y)});
}

/* The derivatives of each element of y by x. */
static td_tensor jacobian(const struct trial *t, td_tensor y)
{
    td_layout of = chain_layout(&t->chain, y), by = chain_layout(&t->chain, t->x);
    int64_t count = td_checked_numel(of.rank, of.shape);
    TD_NO_FAILURE(failure);
    if (!td_ok_at(plainly(t), y) || !td_ok_at(plainly(t), t->x))
        return derive(t, y, t->x, (td_tensor){0}, 0); /* which is the same error value */
    if (count == 0) {
        struct td_zeros_attrs attrs = {.shape = {1, {0}}, .dtype = td_dtype_of_at(plainly(t), t->x)};
        return shaped(t, chain_step(&t->chain, TD_OP_zeros, &attrs, 0, NULL), 0, &of, &by);
    }
    td_tensor *rows = count > TD_LIST_MAX * TD_LIST_MAX ? NULL : malloc((size_t)count * sizeof *rows);
    if (!rows) {
        td_fail(&failure, TD_E_LIMIT, "%s: %lld elements have to be differentiated one by one; the limit is %d",
                t->chain.name, (long long)count, TD_LIST_MAX * TD_LIST_MAX);
        td_hint(&failure, "td_vjp and td_jvp give products without the matrix.");
        return chain_refuse(&t->chain, &failure);
    }
    td_tensor flat = shaped(t, y, count, NULL, NULL);
    for (int64_t k = 0; k < count; k++) {
        const struct td_select_attrs attrs = {.dim = 0, .index = k};
        td_tensor one = chain_step(&t->chain, TD_OP_select, &attrs, 1, (td_operand[]){lasting(flat)});
        rows[k] = derive(t, one, t->x, (td_tensor){0}, last(t) | (k + 1 < count ? TD_GRADS_RETAIN : 0));
        chain_drop(one);
    }
    td_tensor result = shaped(t, stack(t, count, rows), 0, &of, &by);
    free(rows);
    return result;
}

td_tensor td_jacobian_at(td_origin origin, td_mapping *f, td_tensor x, const struct td_derivative_keywords *keywords)
{
    struct trial t;
    return begin(&t, "jacobian", origin, f, x, keywords) ? end(&t, jacobian(&t, t.y)) : t.y;
}

td_tensor td_hessian_at(td_origin origin, td_mapping *f, td_tensor x, const struct td_derivative_keywords *keywords)
{
    struct trial t;
    td_tensor result = {0};
    if (!begin(&t, "hessian", origin, f, x, keywords))
        return t.y;
    if (gives_one(&t, &result))
        result = jacobian(&t, derive(&t, t.y, t.x, (td_tensor){0}, TD_GRADS_CREATE));
    return end(&t, result);
}

/* ---- the functions without a call site ---- */

#define PLAIN_PRODUCT(name)                                                                                       \
    td_tensor(td_##name)(td_mapping * f, td_tensor x, td_tensor v, const struct td_derivative_keywords *keywords) \
    {                                                                                                             \
        return td_##name##_at((td_origin){0}, f, x, v, keywords);                                                 \
    }
#define PLAIN_MATRIX(name)                                                                           \
    td_tensor(td_##name)(td_mapping * f, td_tensor x, const struct td_derivative_keywords *keywords) \
    {                                                                                                \
        return td_##name##_at((td_origin){0}, f, x, keywords);                                       \
    }

PLAIN_PRODUCT(vjp)
PLAIN_PRODUCT(jvp)
PLAIN_PRODUCT(hvp)
PLAIN_MATRIX(jacobian)
PLAIN_MATRIX(hessian)
