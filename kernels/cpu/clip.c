/* Gradients made smaller, in place. The norm of all is the norm of their norms, each taken as the op norm does.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"
#include "kernels/step.h"

/* A gradient, and what is done to it. */
struct clip {
    void *grad;
    double bound; /* the factor, or the greatest magnitude */
    int *found;   /* of unscaling: becomes 1 where an element is inf or nan */
};

#define CLIP_PARTS(word, type, real, load, save, bounded)                \
    static void scale_##word(const void *data, int64_t from, int64_t to) \
    {                                                                    \
        const struct clip *c = data;                                     \
        type *g = c->grad;                                               \
        real factor = (real)c->bound;                                    \
        TD_INDEPENDENT                                                   \
        for (int64_t i = from; i < to; i++)                              \
            g[i] = save(load(g[i]) * factor);                            \
    }                                                                    \
    static void bound_##word(const void *data, int64_t from, int64_t to) \
    {                                                                    \
        const struct clip *c = data;                                     \
        type *g = c->grad;                                               \
        real most = (real)c->bound;                                      \
        TD_INDEPENDENT                                                   \
        for (int64_t i = from; i < to; i++)                              \
            g[i] = save(bounded(load(g[i]), most));                      \
    }                                                                    \
    static void undo_##word(const void *data, int64_t from, int64_t to)  \
    {                                                                    \
        const struct clip *c = data;                                     \
        type *g = c->grad;                                               \
        real factor = (real)c->bound;                                    \
        int found = 0;                                                   \
        for (int64_t i = from; i < to; i++) {                            \
            real x = load(g[i]);                                         \
            found |= !(x - x == 0);                                      \
            g[i] = save(x * factor);                                     \
        }                                                                \
        if (found)                                                       \
            __atomic_store_n(c->found, 1, __ATOMIC_RELAXED);             \
    }
CLIP_PARTS(f16, td_f16, float, td_f32_of_f16, td_f16_of_f32, td_bounded_f32)
CLIP_PARTS(bf16, td_bf16, float, td_f32_of_bf16, td_bf16_of_f32, td_bounded_f32)
CLIP_PARTS(f32, float, float, , , td_bounded_f32)
CLIP_PARTS(f64, double, double, , , td_bounded_f64)

typedef td_part *const parts_of[TD_DTYPE_LIMIT];
static parts_of scale = {[TD_F16] = scale_f16, [TD_BF16] = scale_bf16, [TD_F32] = scale_f32, [TD_F64] = scale_f64};
static parts_of bound = {[TD_F16] = bound_f16, [TD_BF16] = bound_bf16, [TD_F32] = bound_f32, [TD_F64] = bound_f64};

static parts_of undo = {[TD_F16] = undo_f16, [TD_BF16] = undo_bf16, [TD_F32] = undo_f32, [TD_F64] = undo_f64};

static void clip_all(const struct td_launch *launch, double number, int *found, parts_of parts)
{
    for (int k = 0; k < launch->list_counts[0]; k++) {
        const struct td_operand *grad = &launch->grads[k];
        struct clip clip = {grad->data, number, found};
        if (grad->data)
            td_parallel(td_operand_numel(grad), TD_GRAIN, 0, parts[grad->dtype], &clip);
    }
}

/* The norm of x, in x's dtype, into *y. */
static void norm_of(const struct td_operand *x, double p, void *y)
{
    struct td_norm_attrs attrs = {.p = p, .dims.count = -1};
    struct td_launch launch = {.op = td_op_of(TD_OP_norm), .in_count = 1, .in = x, .attrs = &attrs};
    launch.out[0] = (struct td_operand){.data = y, .dtype = x->dtype};
    TD_CPU(norm)(&launch);
}

static float norm_of_row(const float *x, int64_t count, double p)
{
    float norm;
    const struct td_operand row = {.data = (void *)x, .dtype = TD_F32, .rank = 1, .shape = {count}, .stride = {1}};
    norm_of(&row, p, &norm);
    return norm;
}

#define PIECE 2048

/* The norm of halves, which lie behind each other, in f32: the norm of those of pieces. */
static float norm_of_halves(const struct td_operand *x, double p)
{
    const uint16_t *from = x->data;
    int64_t left = td_operand_numel(x);
    float piece[PIECE], norms[2] = {0};
    for (bool first = true; left > 0 || first; first = false) {
        int64_t count = left < PIECE ? left : PIECE;
        for (int64_t i = 0; i < count; i++)
            piece[i] = x->dtype == TD_F16 ? td_f32_of_f16(from[i]) : td_f32_of_bf16(from[i]);
        norms[1] = norm_of_row(piece, count, p);
        norms[0] = first ? norms[1] : p == 0 ? norms[0] + norms[1] : norm_of_row(norms, 2, p);
        from += count;
        left -= count;
    }
    return norms[0];
}

/* A norm of several types is taken in the widest. */
void TD_CPU(clip_grad_norm_)(struct td_launch *launch)
{
    const struct td_clip_grad_norm__attrs *a = launch->attrs;
    bool wide = launch->out[0].dtype == TD_F64;
    union {
        float f32[TD_LIST_MAX];
        double f64[TD_LIST_MAX];
    } norms;
    int64_t count = 0;
    for (int k = 0; k < launch->list_counts[0]; k++) {
        const struct td_operand *grad = &launch->grads[k];
        float narrow;
        if (!grad->data)
            continue;
        if (grad->dtype == TD_F64) {
            norm_of(grad, a->norm_type, &norms.f64[count++]);
            continue;
        }
        if (grad->dtype == TD_F32)
            norm_of(grad, a->norm_type, &narrow);
        else
            narrow = norm_of_halves(grad, a->norm_type);
        if (wide)
            norms.f64[count++] = (double)narrow;
        else
            norms.f32[count++] = narrow;
    }
    struct td_operand all = {.data = &norms, .dtype = launch->out[0].dtype, .rank = 1, .shape = {count}, .stride = {1}};
    norm_of(&all, count ? a->norm_type : 2, launch->out[0].data); /* of no gradients 0 */
    double norm = wide ? *(double *)launch->out[0].data : (double)*(float *)launch->out[0].data;
    double factor = wide ? a->max_norm / (norm + 1e-6) : (double)((float)a->max_norm / ((float)norm + 1e-6f));
    if (!(factor >= 1))
        clip_all(launch, factor, NULL, scale);
}

void TD_CPU(clip_grad_value_)(struct td_launch *launch)
{
    clip_all(launch, ((const struct td_clip_grad_value__attrs *)launch->attrs)->clip_value, NULL, bound);
}

void TD_CPU(unscale_grads_)(struct td_launch *launch)
{
    int found = 0;
    clip_all(launch, 1 / *(const double *)launch->in[launch->list_counts[0]].data, &found, undo);
    *(float *)launch->out[0].data = (float)found;
}
