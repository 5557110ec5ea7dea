/* Matrix products as all devices see them. Vectors are matrices of one row or column; the dimensions before the
 * matrices are products side by side. C and C++. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_KERNELS_PRODUCTS_H
#define TD_KERNELS_PRODUCTS_H

#include <string.h>

#include "kernels/kernels.h"

/* The matrices of the first product, and the way from each to those of the next. */
struct td_products {
    struct td_operand a, b, out; /* of rank 2 */
    int rank;
    int64_t shape[TD_RANK_MAX], a_stride[TD_RANK_MAX], b_stride[TD_RANK_MAX], out_stride[TD_RANK_MAX];
};

/* The last two dimensions; a vector is a row on the left and a column on the right. */
static inline struct td_operand td_product_matrix(const struct td_operand *x, bool left)
{
    struct td_operand matrix;
    int first = x->rank > 1 ? 0 : left;
    memset(&matrix, 0, sizeof matrix);
    matrix.data = x->data;
    matrix.dtype = x->dtype;
    matrix.rank = 2;
    matrix.shape[0] = matrix.shape[1] = 1;
    for (int d = first; d < first + (x->rank > 1 ? 2 : 1); d++) {
        int from = x->rank > 1 ? x->rank - 2 + d : 0;
        matrix.shape[d] = x->shape[from];
        matrix.stride[d] = x->stride[from];
    }
    return matrix;
}

/* Rows of the next product behind those of this one, times the same b: one product of more rows. */
static inline void td_products_fold(struct td_products *p)
{
    while (p->rank) {
        int last = p->rank - 1;
        bool one_row = p->a.shape[0] == 1;
        if (p->b_stride[last] != 0 || (!one_row && p->a_stride[last] != p->a.stride[0] * p->a.shape[0]))
            return;
        if (one_row)
            p->a.stride[0] = p->a_stride[last];
        p->a.shape[0] *= p->shape[last];
        p->out.shape[0] = p->a.shape[0];
        p->rank = last;
    }
}

/* out, whose elements lie in a row, of a b. */
static inline void td_products_of(struct td_products *p, const struct td_operand *a, const struct td_operand *b,
                                  const struct td_operand *out)
{
    int batch = out->rank - (a->rank > 1) - (b->rank > 1);
    memset(p, 0, sizeof *p);
    p->a = td_product_matrix(a, true);
    p->b = td_product_matrix(b, false);
    for (int d = 0; d < batch; d++) {
        int ad = d - (batch - (a->rank - 2)), bd = d - (batch - (b->rank - 2));
        if (out->shape[d] == 1)
            continue;
        p->shape[p->rank] = out->shape[d];
        p->a_stride[p->rank] = a->rank > 2 && ad >= 0 && a->shape[ad] > 1 ? a->stride[ad] : 0;
        p->b_stride[p->rank] = b->rank > 2 && bd >= 0 && b->shape[bd] > 1 ? b->stride[bd] : 0;
        p->out_stride[p->rank++] = out->stride[d];
    }
    p->out.data = out->data;
    p->out.dtype = out->dtype;
    p->out.rank = 2;
    p->out.shape[0] = p->a.shape[0];
    p->out.shape[1] = p->out.stride[0] = p->b.shape[1];
    p->out.stride[1] = 1;
    td_products_fold(p);
}

static inline int64_t td_products_count(const struct td_products *p)
{
    int64_t count = 1;
    for (int d = 0; d < p->rank; d++)
        count *= p->shape[d];
    return count;
}

/* linear's x times the turned weight; a weight that is a vector is turned already. */
static inline struct td_operand td_product_turned(const struct td_operand *x)
{
    struct td_operand y = *x;
    if (x->rank != 2)
        return y;
    y.shape[0] = x->shape[1], y.shape[1] = x->shape[0];
    y.stride[0] = x->stride[1], y.stride[1] = x->stride[0];
    return y;
}

#endif
