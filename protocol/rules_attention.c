/* Shapes of attention. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "protocol/rules.h"

/* What query, key and value are together: scores of shape (..., queries, keys), which weigh values of a width. */
struct attended {
    int rank;
    int64_t scores[TD_RANK_MAX], query_width, value_width;
};

static int refuse_pair(struct td_inference *i, const struct td_meta *a, const char *a_name, const struct td_meta *b,
                       const char *b_name, const char *what)
{
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    return td_fail(i->failure, TD_E_SHAPE, "%s: a %s of shape %s and a %s of shape %s %s", i->op->name, a_name,
                   rule_text(a, at), b_name, rule_text(b, bt), what);
}

/* The mask broadcasts to the scores, and not the other way round. */
static int check_mask(struct td_inference *i, const struct td_meta *mask, const struct attended *a)
{
    int64_t both[TD_RANK_MAX];
    int rank;
    char mt[TD_SHAPE_TEXT], st[TD_SHAPE_TEXT];
    if (mask->dtype == TD_DTYPE_NONE)
        return TD_E_OK;
    if (mask->dtype == TD_BOOL) {
        td_fail(i->failure, TD_E_DTYPE, "%s: mask is bool where what is added to the scores is due", i->op->name);
        return td_hint(i->failure, "td_scaled_dot_product_attention takes masks of truth.");
    }
    if (td_broadcast(mask->rank, mask->shape, a->rank, a->scores, &rank, both) && rank == a->rank &&
        !memcmp(both, a->scores, (size_t)rank * sizeof *both))
        return TD_E_OK;
    td_fail(i->failure, TD_E_SHAPE, "%s: a mask of shape %s does not broadcast to scores of shape %s", i->op->name,
            rule_text(mask, mt), td_shape_text(a->rank, a->scores, st, sizeof st));
    return td_hint(i->failure, "Scores are (..., queries, keys).");
}

/* Of query, key and value from input first on. */
static int attend(struct td_inference *i, int first, const struct td_meta *mask, struct attended *a)
{
    static const char *const names[] = {"query", "key", "value"};
    const struct td_meta *in = &i->in[first], *query = in, *key = in + 1, *value = in + 2;
    char text[TD_SHAPE_TEXT];
    memset(a, 0, sizeof *a);
    for (int k = 0; k < 3; k++) {
        if (in[k].rank < 2) {
            td_fail(i->failure, TD_E_SHAPE, "%s: the %s has shape %s, and is no matrix", i->op->name, names[k],
                    rule_text(&in[k], text));
            return td_hint(i->failure, "It is (..., length, width).");
        }
        int64_t before[TD_RANK_MAX];
        memcpy(before, a->scores, sizeof before);
        if (!td_broadcast(a->rank, before, in[k].rank - 2, in[k].shape, &a->rank, a->scores))
            return refuse_pair(i, query, names[0], &in[k], names[k],
                               "do not broadcast before their last two dimensions");
    }
    a->query_width = query->shape[query->rank - 1];
    a->value_width = value->shape[value->rank - 1];
    a->scores[a->rank++] = query->shape[query->rank - 2];
    a->scores[a->rank++] = key->shape[key->rank - 2];
    if (key->shape[key->rank - 1] != a->query_width)
        return refuse_pair(i, query, names[0], key, names[1], "are not of one width");
    if (value->shape[value->rank - 2] != key->shape[key->rank - 2])
        return refuse_pair(i, key, names[1], value, names[2], "are not of one length");
    return check_mask(i, mask, a);
}

/* Result k, by way of the first: a matrix (rows, width) for each that there are scores for. */
static int give_matrices(struct td_inference *i, int k, const struct attended *a, int64_t rows, int64_t width)
{
    int64_t shape[TD_RANK_MAX];
    memcpy(shape, a->scores, sizeof shape);
    shape[a->rank - 2] = rows;
    shape[a->rank - 1] = width;
    int failed = rule_fresh(i, a->rank, shape);
    i->out[k] = i->out[0];
    return failed;
}

int td_shape_attention(struct td_inference *i)
{
    struct attended a;
    int failed = attend(i, 0, &i->in[3], &a);
    if (failed || (failed = give_matrices(i, 0, &a, a.scores[a.rank - 2], a.value_width)))
        return failed;
    struct td_meta *logsumexp = &i->out[1];
    *logsumexp = i->out[0];
    logsumexp->dtype = td_dtype_wide(logsumexp->dtype);
    logsumexp->rank--;
    td_contiguous_strides(logsumexp->rank, logsumexp->shape, logsumexp->stride);
    return TD_E_OK;
}

int td_shape_attention_back(struct td_inference *i)
{
    struct attended a;
    int failed = attend(i, 1, &i->in[6], &a);
    if (failed)
        return failed;
    const struct td_meta *g = &i->in[0], *query = &i->in[1], *y = &i->in[4], *logsumexp = &i->in[5];
    int64_t queries = a.scores[a.rank - 2], keys = a.scores[a.rank - 1];
    if ((failed = give_matrices(i, 0, &a, queries, a.value_width)))
        return failed;
    if (!td_meta_same_shape(y, &i->out[0]))
        return refuse_pair(i, query, "query", y, "y", "are not those of one call");
    if (!td_meta_same_shape(g, y))
        return refuse_pair(i, g, "g", y, "y", "are not of one shape");
    if (logsumexp->rank != a.rank - 1 || memcmp(logsumexp->shape, a.scores, (size_t)logsumexp->rank * sizeof *a.scores))
        return refuse_pair(i, query, "query", logsumexp, "logsumexp", "are not those of one call");
    failed = give_matrices(i, 1, &a, keys, a.query_width);
    failed = failed ? failed : give_matrices(i, 2, &a, keys, a.value_width);
    return failed ? failed : give_matrices(i, 0, &a, queries, a.query_width);
}
