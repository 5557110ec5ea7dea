/* Shapes of linear algebra: matrices in the last two dimensions, dimensions before them in batches.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/rules.h"

/* LAPACK counts in 32 bits. */
static int check_matrix(struct td_inference *i, const struct td_meta *x)
{
    char xt[TD_SHAPE_TEXT];
    if (x->rank < 2) {
        td_fail(i->failure, TD_E_SHAPE, "%s: a tensor of shape %s holds no matrices", i->op->name, rule_text(x, xt));
        return td_hint(i->failure, "The last two dimensions are the rows and columns.");
    }
    if (x->shape[x->rank - 2] > INT32_MAX || x->shape[x->rank - 1] > INT32_MAX)
        return td_fail(i->failure, TD_E_LIMIT, "%s: a matrix of shape %s; the limit is %d rows and columns",
                       i->op->name, rule_text(x, xt), INT32_MAX);
    return TD_E_OK;
}

static int check_square(struct td_inference *i, const struct td_meta *x)
{
    char xt[TD_SHAPE_TEXT];
    int failed = check_matrix(i, x);
    if (failed || x->shape[x->rank - 2] == x->shape[x->rank - 1])
        return failed;
    td_fail(i->failure, TD_E_SHAPE, "%s: matrices of shape %s are not square", i->op->name, rule_text(x, xt));
    return td_hint(i->failure, "The last two dimensions must be equal.");
}

/* A result for each matrix of input 0, of its batch with rank more dimensions. */
static int in_batches(struct td_inference *i, int k, int rank, const int64_t *shape)
{
    struct td_meta *out = &i->out[0];
    int64_t sizes[TD_RANK_MAX + 2];
    int batch = i->in[0].rank - 2;
    uint8_t dtype = out->dtype;
    memcpy(sizes, i->in[0].shape, (size_t)batch * sizeof *sizes);
    for (int d = 0; d < rank; d++)
        sizes[batch + d] = shape[d];
    struct td_meta first = *out;
    int failed = rule_fresh(i, batch + rank, sizes);
    if (k) {
        i->out[k] = *out;
        i->out[k].dtype = dtype;
        *out = first;
    }
    return failed;
}

/* inverse, cholesky, cofactor */
int td_shape_inverse(struct td_inference *i)
{
    int failed = check_square(i, &i->in[0]);
    return failed ? failed : rule_fresh(i, i->in[0].rank, i->in[0].shape);
}
int td_shape_cholesky(struct td_inference *i)
{
    return td_shape_inverse(i);
}
int td_shape_cofactor(struct td_inference *i)
{
    return td_shape_inverse(i);
}

int td_shape_det(struct td_inference *i)
{
    int failed = check_square(i, &i->in[0]);
    return failed ? failed : in_batches(i, 0, 0, NULL);
}

int td_shape_slogdet(struct td_inference *i)
{
    int failed = check_square(i, &i->in[0]);
    return failed || (failed = in_batches(i, 0, 0, NULL)) ? failed : in_batches(i, 1, 0, NULL);
}

/* How a and b of an equation meet: left says on which side of the unknown a stands, 1 or 0. */
static int equation(struct td_inference *i, int64_t left, bool vectors)
{
    const struct td_meta *a = &i->in[0], *b = &i->in[1];
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    int64_t n, shape[TD_RANK_MAX + 2];
    int batch, failed = check_square(i, a);
    if (failed || (!vectors && (failed = check_matrix(i, b))))
        return failed;
    n = a->shape[a->rank - 1];
    int b_batch = b->rank - (vectors ? 1 : 2);
    if (b->shape[b_batch + (vectors || left ? 0 : 1)] != n || (vectors && !left)) {
        td_fail(i->failure, TD_E_SHAPE, "%s: shapes %s and %s do not fit together", i->op->name, rule_text(a, at),
                rule_text(b, bt));
        return vectors && !left
                   ? td_hint(i->failure, "A vector on the right of the equation needs left = 1.")
                   : td_hint(i->failure, "b must have %" PRId64 " %s, as a.", n, left ? "rows" : "columns");
    }
    if (!td_broadcast(a->rank - 2, a->shape, b_batch, b->shape, &batch, shape))
        return td_fail(i->failure, TD_E_SHAPE,
                       "%s: shapes %s and %s do not fit together: the dimensions before the matrices do not broadcast",
                       i->op->name, rule_text(a, at), rule_text(b, bt));
    memcpy(shape + batch, b->shape + b_batch, (vectors ? 1 : 2) * sizeof *shape);
    return rule_fresh(i, batch + (vectors ? 1 : 2), shape);
}

int td_shape_solve(struct td_inference *i)
{
    bool vectors = td_solves_vectors(i->in[0].rank, i->in[0].shape, i->in[1].rank, i->in[1].shape);
    if (i->in[1].rank == 0) {
        char at[TD_SHAPE_TEXT];
        return td_fail(i->failure, TD_E_SHAPE, "%s: b has no dimensions, and a the shape %s", i->op->name,
                       rule_text(&i->in[0], at));
    }
    return equation(i, ((const struct td_solve_attrs *)i->attrs)->left, vectors);
}

int td_shape_solve_triangular(struct td_inference *i)
{
    return equation(i, ((const struct td_solve_triangular_attrs *)i->attrs)->left, false);
}

int td_shape_qr(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0];
    int failed = check_matrix(i, x);
    if (failed)
        return failed;
    int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1], k = m < n ? m : n;
    failed = in_batches(i, 0, 2, (int64_t[]){m, k});
    return failed ? failed : in_batches(i, 1, 2, (int64_t[]){k, n});
}

int td_shape_eigh(struct td_inference *i)
{
    int failed = check_square(i, &i->in[0]);
    if (failed)
        return failed;
    int64_t n = i->in[0].shape[i->in[0].rank - 1];
    failed = in_batches(i, 0, 1, &n);
    return failed ? failed : in_batches(i, 1, 2, (int64_t[]){n, n});
}

int td_shape_svdvals(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0];
    int failed = check_matrix(i, x);
    if (failed)
        return failed;
    int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1], k = m < n ? m : n;
    return in_batches(i, 0, 1, &k);
}

int td_shape_svd(struct td_inference *i)
{
    const struct td_meta *x = &i->in[0];
    int failed = check_matrix(i, x);
    if (failed)
        return failed;
    int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1], k = m < n ? m : n;
    if ((failed = in_batches(i, 0, 2, (int64_t[]){m, k})) || (failed = in_batches(i, 1, 1, &k)))
        return failed;
    return in_batches(i, 2, 2, (int64_t[]){k, n});
}
