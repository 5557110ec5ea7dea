/* Matrix products: floats by BLAS, integers by a plain loop. Vectors are matrices of one row or column; the dimensions
 * before the matrices are walked, one product each. SPDX-License-Identifier: Apache-2.0 */
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

/* Products side by side, and how they are cut. */
struct batch {
    struct td_products all;
    bool by_columns; /* panels are columns of the result, not rows */
    int64_t width;   /* rows or columns of a panel; the last one of a product has up to that many more */
    int64_t panels;  /* of each product */
};

/* Multiply-adds of a panel at least: OpenBLAS takes another way for products of up to a million, and then the bits of
 * a panel would not be those of the whole. Where each element of a matrix is used once, and for integers, which go at a
 * fiftieth of the speed, it is a matter of time only. */
#define PANEL_WORK ((int64_t)1 << 22)
#define PANEL_WORK_SLOW ((int64_t)1 << 18)
/* Panels end where the blocks of BLAS's kernels do, or an element at the edge of one is added up in another order:
 * those of f64 are up to 24 wide (steps of 64 changed bits in half of all products tried, 192 in none). Narrow panels
 * are slower: by 4 % at 256 rows, not at 512. */
#define PANEL_STEP 192
#define PANEL_WIDE 576

static bool is_slow(const struct batch *t)
{
    return td_dtype_category(t->all.out.dtype) == TD_INTEGER || t->all.out.shape[0] == 1 || t->all.out.shape[1] == 1;
}

static void cut(struct batch *t)
{
    t->by_columns = t->all.out.shape[1] > t->all.out.shape[0];
    int64_t count = t->all.out.shape[t->by_columns], each = t->all.a.shape[1] * t->all.out.shape[!t->by_columns];
    int64_t work = is_slow(t) ? PANEL_WORK_SLOW : PANEL_WORK, share = count / (2 * td_threads());
    int64_t least = (work + each - 1) / each, wide = share < PANEL_WIDE ? share : PANEL_WIDE;
    t->width = ((least > wide ? least : wide) + PANEL_STEP - 1) / PANEL_STEP * PANEL_STEP;
    t->panels = count / t->width ? count / t->width : 1;
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
    int64_t panel = from % t->panels;
    td_seek_index(t->all.rank, t->all.shape, from / t->panels, index, 3, offset, stride);
    while (from < to) {
        int64_t end = t->panels - panel < to - from ? t->panels : panel + to - from, first = panel * t->width;
        int64_t last = end < t->panels ? end * t->width : t->all.out.shape[t->by_columns];
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
        from += end - panel;
        panel = 0;
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
    int64_t products = td_products_count(&t.all);
    int64_t work = td_operand_numel(&t.all.out) * t.all.a.shape[1] / t.panels;
    uint64_t ns = (uint64_t)work / (is_slow(&t) ? 8 : out->dtype == TD_F64 ? 25 : 50);
    td_parallel(products * t.panels, work < PANEL_WORK_SLOW ? PANEL_WORK_SLOW / work : 1, ns, matmul_part, &t);
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
