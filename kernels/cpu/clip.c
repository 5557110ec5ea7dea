/* Gradients made smaller, in place. The norm of all is the norm of their norms, each taken as the op norm does.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/cpu/iterate.h"

/* A gradient, and what is done to it. */
struct clip {
    void *grad;
    double bound; /* the factor, or the greatest magnitude */
};

#define CLIP_PARTS(type, word)                                           \
    static void scale_##word(const void *data, int64_t from, int64_t to) \
    {                                                                    \
        const struct clip *c = data;                                     \
        type *g = c->grad, factor = (type)c->bound;                      \
        TD_INDEPENDENT                                                   \
        for (int64_t i = from; i < to; i++)                              \
            g[i] *= factor;                                              \
    }                                                                    \
    static void bound_##word(const void *data, int64_t from, int64_t to) \
    {                                                                    \
        const struct clip *c = data;                                     \
        type *g = c->grad, most = (type)c->bound;                        \
        TD_INDEPENDENT                                                   \
        for (int64_t i = from; i < to; i++) {                            \
            type least = g[i] < -most ? -most : g[i]; /* nan stays */    \
            g[i] = least > most ? most : least;                          \
        }                                                                \
    }
CLIP_PARTS(float, f32)
CLIP_PARTS(double, f64)

static void clip_all(const struct td_launch *launch, double bound, td_part *f32, td_part *f64)
{
    for (int k = 0; k < launch->list_counts[0]; k++) {
        const struct td_operand *grad = &launch->grads[k];
        struct clip clip = {grad->data, bound};
        if (grad->data)
            td_parallel(td_operand_numel(grad), TD_GRAIN, 0, grad->dtype == TD_F32 ? f32 : f64, &clip);
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
        norm_of(grad, a->norm_type, &narrow);
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
        clip_all(launch, factor, scale_f32, scale_f64);
}

void TD_CPU(clip_grad_value_)(struct td_launch *launch)
{
    clip_all(launch, ((const struct td_clip_grad_value__attrs *)launch->attrs)->clip_value, bound_f32, bound_f64);
}
