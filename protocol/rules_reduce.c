/* Shapes of reductions, products, softmax and losses. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

static int empty_choice(struct td_inference *i, int d)
{
    char xt[TD_SHAPE_TEXT];
    return td_fail(i->failure, TD_E_SHAPE, "%s: dimension %d of shape %s has no elements to choose from", i->op->name,
                   d, rule_text(&i->in[0], xt));
}

static int reduced(struct td_inference *i, bool some)
{
    const struct td_sum_attrs *a = i->attrs;
    const struct td_meta *x = &i->in[0];
    int64_t shape[TD_RANK_MAX];
    int rank = 0, failed, d;
    uint32_t seen = 0;
    for (int64_t k = 0; k < a->dims.count; k++) {
        if ((failed = rule_wrap_dim(i, a->dims.v[k], x->rank, &d)))
            return failed;
        if (seen & 1u << d)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: dimension %d is given twice in dims", i->op->name, d);
        seen |= 1u << d;
    }
    uint32_t mask = td_reduced_dims(&a->dims, x->rank);
    for (d = 0; d < x->rank; d++) {
        if (!(mask & 1u << d))
            shape[rank++] = x->shape[d];
        else if (a->keepdim)
            shape[rank++] = 1;
        if (some && mask & 1u << d && x->shape[d] == 0)
            return empty_choice(i, d);
    }
    return rule_fresh(i, rank, shape);
}

int td_shape_reduce(struct td_inference *i)
{
    return reduced(i, false);
}

int td_shape_reduce_some(struct td_inference *i)
{
    return reduced(i, true);
}

/* The result of choosing one element along dim; all of x where dim is INT64_MIN. */
static int chosen(struct td_inference *i, int64_t dim, bool keepdim)
{
    const struct td_meta *x = &i->in[0];
    int64_t shape[TD_RANK_MAX];
    int d = -1, rank = 0, failed;
    if (dim != INT64_MIN && (failed = rule_wrap_dim(i, dim, x->rank, &d)))
        return failed;
    for (int k = 0; k < x->rank; k++) {
        bool chooses = d < 0 || k == d;
        if (chooses && x->shape[k] == 0)
            return empty_choice(i, k);
        if (!chooses || keepdim)
            shape[rank++] = chooses ? 1 : x->shape[k];
    }
    return rule_fresh(i, rank, shape);
}

int td_shape_arg(struct td_inference *i)
{
    const struct td_argmax_attrs *a = i->attrs;
    return chosen(i, a->dim, a->keepdim);
}

int td_shape_extreme(struct td_inference *i)
{
    const struct td_max_dim_attrs *a = i->attrs;
    int failed = a->dim == INT64_MIN ? td_fail(i->failure, TD_E_INDEX, "%s: no dim is given", i->op->name)
                                     : chosen(i, a->dim, a->keepdim);
    i->out[1] = i->out[0];
    i->out[1].dtype = TD_I64;
    return failed;
}

/* PyTorch says what is true in u8 of u8. */
int td_shape_truth(struct td_inference *i)
{
    if (i->in[0].dtype == TD_U8)
        i->out[0].dtype = TD_U8;
    return reduced(i, false);
}

int td_shape_norm(struct td_inference *i)
{
    if (isnan(((const struct td_norm_attrs *)i->attrs)->p))
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: p is not a number", i->op->name);
    return reduced(i, false);
}

/* ---- scans and sorting ---- */

int td_shape_scan(struct td_inference *i)
{
    int d, failed = rule_wrap_dim(i, ((const struct td_cumsum_attrs *)i->attrs)->dim, i->in[0].rank, &d);
    return failed ? failed : rule_fresh(i, i->in[0].rank, i->in[0].shape);
}

/* The second result has the first one's shape and holds indices. */
static int with_places(struct td_inference *i, int failed)
{
    i->out[1] = i->out[0];
    i->out[1].dtype = TD_I64;
    return failed;
}

/* Sorting keeps dense strides as they are, as PyTorch does. */
int td_shape_argsort(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0];
    int failed = td_shape_scan(i);
    if (!failed && td_meta_is_dense(x))
        memcpy(i->out[0].stride, x->stride, sizeof x->stride);
    else if (!failed)
        rule_follow_layout(i);
    return failed;
}

int td_shape_sort(struct td_inference *i)
{
    return with_places(i, td_shape_argsort(i));
}

int td_shape_scan_places(struct td_inference *i)
{
    return with_places(i, td_shape_scan(i));
}

/* Refuses a k that is not from least to the size of dim, which is 1 without dimensions. */
static int bad_k(struct td_inference *i, int64_t k, int64_t least, int64_t dim, int *wrapped)
{
    const struct td_meta *x = &i->in[0];
    int failed = rule_wrap_dim(i, dim, x->rank, wrapped);
    int64_t size = !failed && x->rank ? x->shape[*wrapped] : 1;
    if (failed || (k >= least && k <= size))
        return failed;
    char xt[TD_SHAPE_TEXT];
    return td_fail(i->failure, TD_E_ARGUMENT,
                   "%s: k is %" PRId64 " where %" PRId64 " to %" PRId64 " are due: dimension %d of shape %s",
                   i->op->name, k, least, size, *wrapped, rule_text(x, xt));
}

int td_shape_topk(struct td_inference *i)
{
    const struct td_topk_attrs *a = i->attrs;
    int64_t shape[TD_RANK_MAX];
    int d, failed = bad_k(i, a->k, 0, a->dim, &d);
    if (failed)
        return failed;
    memcpy(shape, i->in[0].shape, sizeof shape);
    if (i->in[0].rank)
        shape[d] = a->k;
    return with_places(i, rule_fresh(i, i->in[0].rank, shape));
}

int td_shape_kthvalue(struct td_inference *i)
{
    const struct td_kthvalue_attrs *a = i->attrs;
    int d, failed = bad_k(i, a->k, 1, a->dim, &d);
    return with_places(i, failed ? failed : chosen(i, a->dim, a->keepdim));
}

int td_shape_median(struct td_inference *i)
{
    return rule_fresh(i, 0, i->in[0].shape);
}

/* ---- products, softmax, losses ---- */

static int refuse_product(struct td_inference *i, const char *why)
{
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    return td_fail(i->failure, TD_E_SHAPE, "%s: shapes %s and %s do not fit together: %s", i->op->name,
                   rule_text(&i->in[0], at), rule_text(&i->in[1], bt), why);
}

/* torch.matmul: vectors gain a dimension for the product and lose it in the result. */
int td_shape_matmul(struct td_inference *i)
{
    const struct td_meta *a = &i->in[0], *b = &i->in[1];
    int64_t shape[TD_RANK_MAX + 2];
    int batch;
    if (a->rank == 0 || b->rank == 0) {
        refuse_product(i, "a tensor without dimensions is no matrix");
        return td_hint(i->failure, "td_mul(a, b) scales by a number.");
    }
    int a_batch = a->rank > 2 ? a->rank - 2 : 0, b_batch = b->rank > 2 ? b->rank - 2 : 0;
    int64_t columns = a->shape[a->rank - 1], rows = b->rank == 1 ? b->shape[0] : b->shape[b->rank - 2];
    if (columns != rows) {
        bool turned = b->rank > 1 && columns == b->shape[b->rank - 1];
        bool turned_a = a->rank > 1 && a->shape[a->rank - 2] == rows;
        char why[96];
        snprintf(why, sizeof why, "%" PRId64 " columns meet %" PRId64 " rows", columns, rows);
        refuse_product(i, why);
        if (turned || turned_a)
            return td_hint(i->failure, "td_transpose(%s, -2, -1) would fit.", turned ? "b" : "a");
        return td_hint(i->failure, "The columns of a must be as many as the rows of b.");
    }
    if (!td_broadcast(a_batch, a->shape, b_batch, b->shape, &batch, shape)) {
        refuse_product(i, "the dimensions before the matrices do not broadcast");
        return td_hint(i->failure, "From the last of them on, sizes are equal or one of them is 1.");
    }
    if (a->rank > 1)
        shape[batch++] = a->shape[a->rank - 2];
    if (b->rank > 1)
        shape[batch++] = b->shape[b->rank - 1];
    return rule_fresh(i, batch, shape);
}

int td_shape_linear(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0], *weight = &i->in[1], *bias = &i->in[2];
    char xt[TD_SHAPE_TEXT], wt[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    int64_t shape[TD_RANK_MAX];
    if (weight->rank != 1 && weight->rank != 2)
        return td_fail(i->failure, TD_E_SHAPE, "%s: the weight has shape %s where (out, in) or (in) is due",
                       i->op->name, rule_text(weight, wt));
    int64_t inner = weight->shape[weight->rank - 1];
    if (x->rank == 0 || x->shape[x->rank - 1] != inner) {
        td_fail(i->failure, TD_E_SHAPE, "%s: x of shape %s and a weight of shape %s do not fit together", i->op->name,
                rule_text(x, xt), rule_text(weight, wt));
        bool turned = x->rank && weight->rank == 2 && x->shape[x->rank - 1] == weight->shape[0];
        return td_hint(i->failure, turned ? "The weight is (out, in): td_t(weight) would fit."
                                          : "The last dimension of both is the number of inputs.");
    }
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank - 1] = weight->rank == 2 ? weight->shape[0] : 1;
    if (bias->dtype && (bias->rank != weight->rank - 1 || (bias->rank && bias->shape[0] != weight->shape[0])))
        return td_fail(i->failure, TD_E_SHAPE, "%s: the bias has shape %s beside a weight of shape %s", i->op->name,
                       rule_text(bias, bt), rule_text(weight, wt));
    return rule_fresh(i, x->rank - (weight->rank == 1), shape);
}

int td_shape_softmax(struct td_inference *i)
{
    int d, failed = rule_wrap_dim(i, ((const struct td_log_softmax_attrs *)i->attrs)->dim, i->in[0].rank, &d);
    return failed ? failed : rule_fresh(i, i->in[0].rank, i->in[0].shape);
}

int rule_bad_reduction(struct td_inference *i, int64_t reduction)
{
    if (reduction >= TD_NONE && reduction <= TD_SUM)
        return TD_E_OK;
    return td_fail(i->failure, TD_E_ARGUMENT, "%s: reduction is %" PRId64 ", none of TD_NONE, TD_MEAN, TD_SUM",
                   i->op->name, reduction);
}

int td_shape_pair_loss(struct td_inference *i)
{
    const struct td_mse_loss_attrs *a = i->attrs;
    int64_t shape[TD_RANK_MAX];
    int rank, failed = rule_broadcast(i, &rank, shape);
    /* The broadcast shape is checked also where the result has none of it: kernels walk it. */
    if (failed || (failed = rule_bad_reduction(i, a->reduction)) || (failed = rule_fresh(i, rank, shape)))
        return failed;
    if (a->reduction != TD_NONE)
        return rule_fresh(i, 0, shape);
    /* PyTorch expands the operands before it compares their layouts. */
    const struct td_meta *in = i->in;
    struct td_meta seen[2] = {i->out[0], i->out[0]};
    rule_expanded_strides(&in[0], rank, shape, seen[0].stride);
    rule_expanded_strides(&in[1], rank, shape, seen[1].stride);
    i->in = seen;
    rule_follow_layout(i);
    i->in = in;
    return TD_E_OK;
}
