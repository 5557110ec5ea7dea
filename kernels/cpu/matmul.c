/* Matrix products: floats by BLAS, integers by a plain loop. Vectors are matrices of one row or column; the dimensions
 * before the matrices are walked, one product each. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/iterate.h"
#include "kernels/products.h"

/* Row by row of b, so that the inner loop runs along both; wraps. */
#define MULTIPLY(name, type)                                                                               \
    static void name(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out) \
    {                                                                                                      \
        int64_t rows = out->shape[0], columns = out->shape[1], inner = a->shape[1], step = b->stride[1];   \
        for (int64_t i = 0; i < rows; i++) {                                                               \
            type *y = (type *)out->data + i * out->stride[0];                                              \
            memset(y, 0, (size_t)columns * sizeof(type));                                                  \
            for (int64_t k = 0; k < inner; k++) {                                                          \
                type factor = ((const type *)a->data)[i * a->stride[0] + k * a->stride[1]];                \
                const type *x = (const type *)b->data + k * b->stride[0];                                  \
                if (step == 1)                                                                             \
                    for (int64_t j = 0; j < columns; j++)                                                  \
                        y[j] += factor * x[j];                                                             \
                else                                                                                       \
                    for (int64_t j = 0; j < columns; j++)                                                  \
                        y[j] += factor * x[j * step];                                                      \
            }                                                                                              \
        }                                                                                                  \
    }
MULTIPLY(multiply_i32, uint32_t)
MULTIPLY(multiply_i64, uint64_t)

/* Products side by side, and how they are cut. Where an element is in its product decides in which order BLAS adds it
 * up, so that a panel is a call by itself, also on one thread, and the cut follows from shapes alone. */
struct batch {
    struct td_products all;
    bool by_columns; /* panels are columns of the result, not rows */
    int64_t panels;  /* of each product */
};

/* Multiply-adds of a panel at least, 80 us; and 30 us where each element of a matrix is used once, and for integers. */
#define PANEL_WORK ((int64_t)1 << 22)
#define PANEL_WORK_SLOW ((int64_t)1 << 18)
/* A panel lays out again what all of them share: so many rows for each more than the first one keep that below 3 % of
 * the time on one thread, so many columns, by which BLAS is slower, below 5 %. */
#define PANEL_ROWS 192
#define PANEL_COLUMNS 512
/* The blocks of BLAS's kernels are whole in panels that begin at multiples of it; elsewhere cache lines are. */
#define PANEL_STEP 24
#define PANEL_STEP_SLOW 64
#define PANELS_MAX 256

static bool is_slow(const struct batch *t)
{
    return td_dtype_category(t->all.out.dtype) == TD_INTEGER || t->all.out.shape[0] == 1 || t->all.out.shape[1] == 1;
}

/* The largest power of two that is not above x: so many panels end together on two, four or eight threads. */
static int64_t power_below(int64_t x)
{
    int64_t power = 1;
    while (power <= x / 2)
        power *= 2;
    return power;
}

static void cut(struct batch *t)
{
    bool slow = is_slow(t);
    int64_t rows = t->all.out.shape[0], columns = t->all.out.shape[1];
    int64_t row_panels = slow ? rows / PANEL_STEP_SLOW : 1 + rows / PANEL_ROWS;
    int64_t column_panels = slow ? columns / PANEL_STEP_SLOW : 1 + columns / PANEL_COLUMNS;
    t->by_columns = column_panels > row_panels;
    double most = (double)(t->by_columns ? column_panels : row_panels);
    double worth = (double)rows * (double)columns * (double)t->all.a.shape[1] / (slow ? PANEL_WORK_SLOW : PANEL_WORK);
    t->panels = power_below((int64_t)fmin(fmin(most, worth), PANELS_MAX));
}

/* Where a panel begins, or ends the one before. */
static int64_t panel_start(const struct batch *t, int64_t panel)
{
    int64_t count = t->all.out.shape[t->by_columns], step = is_slow(t) ? PANEL_STEP_SLOW : PANEL_STEP;
    return panel == t->panels ? count : count * panel / t->panels / step * step;
}

/* A copy of the operand that all panels of a product share, to be freed, where BLAS cannot read it as it lies: each
 * panel would make its own. NULL otherwise, and where there is no memory. */
static void *share_copy(struct batch *t)
{
    struct td_operand *shared = t->by_columns ? &t->all.a : &t->all.b, copy = *shared;
    if (t->panels == 1 || t->all.rank || td_dtype_category(shared->dtype) == TD_INTEGER ||
        td_cpu_multiply_reads(shared))
        return NULL;
    copy.stride[0] = copy.shape[1], copy.stride[1] = 1;
    copy.data = malloc((size_t)td_operand_numel(&copy) * td_dtype_size(copy.dtype));
    if (copy.data) {
        TD_CPU(copy_operand)(&copy, shared);
        *shared = copy;
    }
    return copy.data;
}

static void multiply(const struct td_operand *a, const struct td_operand *b, const struct td_operand *out)
{
    if (out->dtype == TD_I32)
        multiply_i32(a, b, out);
    else if (out->dtype == TD_I64)
        multiply_i64(a, b, out);
    else
        td_cpu_multiply(a, b, out, false);
}

/* Items are panels of one product, then those of the next. */
static void matmul_part(const void *data, int64_t from, int64_t to)
{
    const struct batch *t = data;
    int64_t index[TD_RANK_MAX] = {0}, offset[3] = {0}, size = (int64_t)td_dtype_size(t->all.out.dtype);
    const int64_t *stride[] = {t->all.a_stride, t->all.b_stride, t->all.out_stride};
    td_seek_index(t->all.rank, t->all.shape, from / t->panels, index, 3, offset, stride);
    for (; from < to; from++) {
        int64_t panel = from % t->panels, first = panel_start(t, panel), last = panel_start(t, panel + 1);
        struct td_operand a = t->all.a, b = t->all.b, out = t->all.out;
        a.data = (char *)a.data + offset[0] * size;
        b.data = (char *)b.data + offset[1] * size;
        out.data = (char *)out.data + offset[2] * size;
        if (t->by_columns)
            b = TD_CPU(slice)(&b, 1, first, last);
        else
            a = TD_CPU(slice)(&a, 0, first, last);
        out = TD_CPU(slice)(&out, t->by_columns, first, last);
        multiply(&a, &b, &out);
        if (panel + 1 == t->panels)
            td_step_index(t->all.rank, t->all.shape, index, 3, offset, stride);
    }
}

void TD_CPU(matmul)(struct td_launch *launch)
{
    const struct td_operand *out = &launch->out[0];
    struct batch t;
    if (td_operand_numel(out) == 0)
        return;
    td_products_of(&t.all, &launch->in[0], &launch->in[1], out);
    if (t.all.a.shape[1] == 0) {
        memset(out->data, 0, (size_t)td_operand_numel(out) * td_dtype_size(out->dtype));
        return;
    }
    cut(&t);
    void *copy = share_copy(&t);
    int64_t products = td_products_count(&t.all);
    int64_t work = td_operand_numel(&t.all.out) * t.all.a.shape[1] / t.panels;
    uint64_t ns = (uint64_t)work / (is_slow(&t) ? 8 : out->dtype == TD_F64 ? 25 : 50);
    td_parallel(products * t.panels, work < PANEL_WORK_SLOW ? PANEL_WORK_SLOW / work : 1, ns, matmul_part, &t);
    free(copy);
}

/* x times the turned weight, and then the bias added to each row in place. */
void TD_CPU(linear)(struct td_launch *launch)
{
    struct td_operand in[] = {launch->in[0], td_product_turned(&launch->in[1])},
                      sum[] = {launch->out[0], launch->in[2]};
    struct td_launch product = *launch, addition = *launch;
    product.in = in;
    product.in_count = addition.in_count = 2;
    TD_CPU(matmul)(&product);
    if (!sum[1].data)
        return;
    int64_t step = sum[1].rank ? sum[1].stride[0] : 0;
    sum[1].rank = sum[0].rank;
    memset(sum[1].stride, 0, sizeof sum[1].stride);
    memcpy(sum[1].shape, sum[0].shape, sizeof sum[1].shape);
    if (sum[1].rank)
        sum[1].stride[sum[1].rank - 1] = step;
    addition.in = sum;
    TD_CPU(add_)(&addition);
}
