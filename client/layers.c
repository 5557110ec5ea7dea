/* Normalisation, activations and attention made of ops. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/compose.h"
#include "protocol/shape_attention.h"

/* The keywords given, or their defaults; what goes wrong is told in the name. */
#define KEYWORDS(name, ...)                                                 \
    static const struct td_##name##_keywords defaults = {__VA_ARGS__};      \
    const struct td_##name##_keywords *k = keywords ? keywords : &defaults; \
    SPEAKS_FOR(#name)

static bool given(td_tensor x)
{
    return x.session != NULL;
}

static struct part scaled(td_origin o, struct part a, double factor)
{
    return part_two(o, TD_OP_mul, a, part_real(factor));
}

static struct part converted(td_origin o, struct part x, uint8_t dtype)
{
    return part_op(o, TD_OP_to, &(struct td_to_attrs){.dtype = dtype}, 1, &x);
}

static bool has_failed(td_origin o, td_tensor x)
{
    return !td_ok_at((td_origin){o.where, 0}, x);
}

/* ---- normalisation ---- */

static struct part norm(td_origin o, struct part x, double p, int64_t dim)
{
    return part_op(o, TD_OP_norm, &(struct td_norm_attrs){.dims = {1, {dim}}, .p = p, .keepdim = true}, 1, &x);
}

td_tensor td_normalize_at(td_origin o, td_tensor x, const struct td_normalize_keywords *keywords)
{
    KEYWORDS(normalize, .p = 2, .dim = 1, .eps = 1e-12);
    struct part value = part_given(o, 0, x);
    struct part size = part_clamp(o, norm(o, part_kept(value), k->p, k->dim), k->eps);
    return part_tensor(part_two(o, TD_OP_div, value, size));
}

/* x over its norm, which is raised to eps outside the graph, as PyTorch does: its gradient passes. */
static struct part direction(td_origin o, struct part x, int64_t dim, double eps)
{
    struct part size = norm(o, part_kept(x), 2, dim), seen = part_one(o, TD_OP_detach, part_kept(size));
    struct part raised = part_two(o, TD_OP_sub, part_clamp(o, part_kept(seen), eps), seen);
    return part_two(o, TD_OP_div, x, part_two(o, TD_OP_add, size, raised));
}

/* x in that type and as it is broadcast to the shape of both, or as it is where they have none. */
static struct part expanded(td_origin o, struct part x, enum td_dtype dtype, const td_layout *a, const td_layout *b)
{
    struct td_expand_attrs attrs = {0};
    int rank;
    if (dtype != td_dtype_of_at((td_origin){o.where, 0}, part_tensor(x)))
        x = converted(o, x, (uint8_t)dtype);
    if (!td_broadcast(a->rank, a->shape, b->rank, b->shape, &rank, attrs.shape.v))
        return x;
    attrs.shape.count = rank;
    return part_op(o, TD_OP_expand, &attrs, 1, &x);
}

td_tensor td_cosine_similarity_at(td_origin o, td_tensor x, td_tensor other,
                                  const struct td_cosine_similarity_keywords *keywords)
{
    KEYWORDS(cosine_similarity, .dim = 1, .eps = 1e-8);
    td_layout of_x = part_layout(o, part_keyword(x)), of_other = part_layout(o, part_keyword(other));
    enum td_dtype both = td_result_type_at((td_origin){o.where, 0}, x, td_operand_of_tensor(other));
    struct part a = direction(o, expanded(o, part_given(o, 0, x), both, &of_x, &of_other), k->dim, k->eps);
    struct part b = direction(o, expanded(o, part_given(o, 1, other), both, &of_x, &of_other), k->dim, k->eps);
    return part_tensor(part_sum(o, part_two(o, TD_OP_mul, a, b), k->dim, false));
}

/* One entry for each channel, dimension 1 of x. */
static struct part by_channel(td_origin o, struct part row, const td_layout *x)
{
    int64_t shape[TD_RANKS];
    for (int d = 0; d < x->rank; d++)
        shape[d] = d == 1 ? x->shape[1] : 1;
    return part_reshape(o, row, x->rank, shape);
}

/* x * weight + bias by channel, either of which may be left out. */
static struct part affine(td_origin o, struct part x, td_tensor weight, td_tensor bias, const td_layout *layout)
{
    if (given(weight) && given(bias))
        return part_op(
            o, TD_OP_addcmul, &(struct td_addcmul_attrs){.value = 1}, 3,
            (struct part[]){by_channel(o, part_keyword(bias), layout), x, by_channel(o, part_keyword(weight), layout)});
    if (given(weight))
        return part_two(o, TD_OP_mul, x, by_channel(o, part_keyword(weight), layout));
    return given(bias) ? part_two(o, TD_OP_add, x, by_channel(o, part_keyword(bias), layout)) : x;
}

/* running = (1 - momentum) * running + momentum * value, outside the graph. */
static void run_on(td_origin o, td_tensor running, struct part value, double momentum)
{
    td_layout row = part_layout(o, part_keyword(running));
    struct part part = scaled(o, part_reshape(o, value, row.rank, row.shape), momentum);
    (void)part_two(o, TD_OP_mul_, part_keyword(running), part_real(1 - momentum));
    (void)part_two(o, TD_OP_add_, part_keyword(running), part);
}

/* The mean and the variance of each channel of x; the running ones follow. */
static void channel_statistics(td_origin o, struct part x, const td_layout *layout, int64_t count,
                               const struct td_batch_norm_keywords *k, struct part *mean, struct part *var)
{
    struct td_mean_attrs over = {.dims.count = 0, .keepdim = true};
    for (int d = 0; d < layout->rank; d++)
        if (d != 1)
            over.dims.v[over.dims.count++] = d;
    *mean = part_op(o, TD_OP_mean, &over, 1, (struct part[]){part_kept(x)});
    *var = part_op(o, TD_OP_var, &(struct td_var_attrs){.dims = over.dims, .keepdim = true}, 1,
                   (struct part[]){part_kept(x)});
    if (!k->training)
        return;
    td_guard guard;
    td_no_grad_begin(part_tensor(x).session, &guard);
    if (given(k->running_mean))
        run_on(o, k->running_mean, part_kept(*mean), k->momentum);
    if (given(k->running_var))
        run_on(o, k->running_var, scaled(o, part_kept(*var), (double)count / (double)(count - 1)), k->momentum);
    td_guard_end(&guard);
}

/* x * scale + shift by channel, scale being weight / sqrt(var + eps) and shift bias - mean * scale; halves in f32. */
td_tensor td_batch_norm_at(td_origin o, td_tensor x, const struct td_batch_norm_keywords *keywords)
{
    KEYWORDS(batch_norm, .running_mean = {0}, .running_var = {0}, .weight = {0}, .bias = {0}, .training = false,
             .momentum = 0.1, .eps = 1e-5);
    td_layout layout = part_layout(o, part_keyword(x));
    bool own = k->training || !given(k->running_mean) || !given(k->running_var);
    int64_t count = 1;
    for (int d = 0; d < layout.rank; d++)
        count *= d == 1 ? 1 : layout.shape[d];
    if (layout.rank < 2)
        return part_used(o, 1, &x,
                         part_refuse_shape(o, x, "batch_norm", &layout, "has no channels: it is (n, channels, ...)"));
    if (k->training && count == 1)
        return part_used(
            o, 1, &x,
            part_refuse_shape(o, x, "batch_norm", &layout, "has one element a channel, which has no variance"));
    uint8_t dtype = (uint8_t)td_dtype_of_at((td_origin){o.where, 0}, x), wide = td_dtype_wide(dtype);
    struct part value = part_given(o, 0, x), mean, var;
    value = part_one(o, TD_OP_contiguous, value); /* what comes of it is */
    if (wide != dtype)
        value = converted(o, value, wide);
    if (own) {
        channel_statistics(o, value, &layout, count, k, &mean, &var);
    } else {
        mean = by_channel(o, part_keyword(k->running_mean), &layout);
        var = by_channel(o, part_keyword(k->running_var), &layout);
    }
    struct part scale = part_one(o, TD_OP_rsqrt, part_two(o, TD_OP_add, var, part_real(k->eps)));
    if (given(k->weight))
        scale = part_two(o, TD_OP_mul, scale, by_channel(o, part_keyword(k->weight), &layout));
    struct part shift = part_one(o, TD_OP_neg, part_two(o, TD_OP_mul, mean, part_kept(scale)));
    if (given(k->bias))
        shift = part_two(o, TD_OP_add, shift, by_channel(o, part_keyword(k->bias), &layout));
    struct part y =
        part_op(o, TD_OP_addcmul, &(struct td_addcmul_attrs){.value = 1}, 3, (struct part[]){shift, value, scale});
    return part_tensor(wide != dtype ? converted(o, y, dtype) : y);
}

td_tensor td_group_norm_at(td_origin o, td_tensor x, int64_t groups, const struct td_group_norm_keywords *keywords)
{
    KEYWORDS(group_norm, .weight = {0}, .bias = {0}, .eps = 1e-5);
    td_layout layout = part_layout(o, part_keyword(x));
    if (layout.rank < 2)
        return part_used(o, 1, &x,
                         part_refuse_shape(o, x, "group_norm", &layout, "has no channels: it is (n, channels, ...)"));
    if (groups < 1 || layout.shape[1] % groups)
        return part_used(o, 1, &x,
                         part_refuse_shape(o, x, "group_norm", &layout, "has not as many channels in each group"));
    int64_t row[3] = {layout.shape[0], groups, layout.shape[1] / groups};
    for (int d = 2; d < layout.rank; d++)
        row[2] *= layout.shape[d];
    const struct td_layer_norm_attrs attrs = {.normalized_shape = {1, {row[2]}}, .eps = k->eps};
    struct part none = part_keyword((td_tensor){0});
    struct part y = part_op(o, TD_OP_layer_norm, &attrs, 3,
                            (struct part[]){part_reshape(o, part_given(o, 0, x), 3, row), none, none});
    y = part_reshape(o, y, layout.rank, layout.shape);
    return part_tensor(affine(o, y, k->weight, k->bias, &layout));
}

/* The means over n of each channel's mean and variance, of one n, go into the running ones. */
static void run_instances_on(td_origin o, td_tensor x, const td_layout *layout,
                             const struct td_instance_norm_keywords *k)
{
    uint8_t dtype = (uint8_t)td_dtype_of_at((td_origin){o.where, 0}, x), wide = td_dtype_wide(dtype);
    const struct td_mean_attrs over_n = {.dims = {1, {0}}};
    struct td_var_attrs inside = {.dims.count = 0, .correction = 1};
    td_guard guard;
    for (int d = 2; d < layout->rank; d++)
        inside.dims.v[inside.dims.count++] = d;
    td_no_grad_begin(x.session, &guard);
    struct part value = part_keyword(x);
    if (wide != dtype)
        value = converted(o, value, wide);
    if (given(k->running_mean)) {
        struct part mean =
            part_op(o, TD_OP_mean, &(struct td_mean_attrs){.dims = inside.dims}, 1, (struct part[]){part_kept(value)});
        run_on(o, k->running_mean, part_op(o, TD_OP_mean, &over_n, 1, &mean), k->momentum);
    }
    if (given(k->running_var)) {
        struct part var = part_op(o, TD_OP_var, &inside, 1, (struct part[]){part_kept(value)});
        run_on(o, k->running_var, part_op(o, TD_OP_mean, &over_n, 1, &var), k->momentum);
    }
    if (value.mine)
        td_release_at((td_origin){0}, part_tensor(value));
    td_guard_end(&guard);
}

td_tensor td_instance_norm_at(td_origin o, td_tensor x, const struct td_instance_norm_keywords *keywords)
{
    KEYWORDS(instance_norm, .running_mean = {0}, .running_var = {0}, .weight = {0}, .bias = {0},
             .use_input_stats = true, .momentum = 0.1, .eps = 1e-5);
    td_layout layout = part_layout(o, part_keyword(x));
    bool runs = given(k->running_mean) || given(k->running_var);
    int64_t count = 1;
    for (int d = 2; d < layout.rank; d++)
        count *= layout.shape[d];
    if (layout.rank < 2)
        return part_used(
            o, 1, &x, part_refuse_shape(o, x, "instance_norm", &layout, "has no channels: it is (n, channels, ...)"));
    if (k->use_input_stats && runs && count == 1)
        return part_used(
            o, 1, &x,
            part_refuse_shape(o, x, "instance_norm", &layout, "has one element a channel, which has no variance"));
    if (!k->use_input_stats && !(given(k->running_mean) && given(k->running_var)))
        return part_used(
            o, 1, &x,
            part_refuse_shape(o, x, "instance_norm", &layout, "without .use_input_stats needs running statistics"));
    if (!k->use_input_stats)
        return td_batch_norm_at(o, x,
                                &(struct td_batch_norm_keywords){.running_mean = k->running_mean,
                                                                 .running_var = k->running_var,
                                                                 .weight = k->weight,
                                                                 .bias = k->bias,
                                                                 .eps = k->eps});
    if (runs)
        run_instances_on(o, x, &layout, k);
    return td_group_norm_at(o, x, layout.shape[1] ? layout.shape[1] : 1,
                            &(struct td_group_norm_keywords){.weight = k->weight, .bias = k->bias, .eps = k->eps});
}

/* ---- activations and what drops ---- */

td_tensor td_glu_at(td_origin o, td_tensor x, const struct td_glu_keywords *keywords)
{
    KEYWORDS(glu, .dim = -1);
    td_layout layout = part_layout(o, part_keyword(x));
    int dim = td_wrap_dim(k->dim, layout.rank);
    if (layout.rank == 0 || (dim >= 0 && layout.shape[dim] % 2))
        return part_used(o, 1, &x, part_refuse_shape(o, x, "glu", &layout, "does not fall into two halves"));
    int64_t half = dim >= 0 ? layout.shape[dim] / 2 : 0;
    struct part value = part_given(o, 0, x);
    struct part first = part_op(o, TD_OP_narrow, &(struct td_narrow_attrs){.dim = k->dim, .length = half}, 1,
                                (struct part[]){part_kept(value)});
    struct part gate =
        part_op(o, TD_OP_narrow, &(struct td_narrow_attrs){.dim = k->dim, .start = half, .length = half}, 1, &value);
    return part_tensor(part_two(o, TD_OP_mul, first, part_one(o, TD_OP_sigmoid, gate)));
}

td_tensor td_softmin_at(td_origin o, td_tensor x, int64_t dim)
{
    SPEAKS_FOR("softmin");
    struct part value = part_one(o, TD_OP_neg, part_given(o, 0, x));
    return part_tensor(part_op(o, TD_OP_softmax, &(struct td_softmax_attrs){.dim = dim}, 1, &value));
}

td_tensor td_prelu_at(td_origin o, td_tensor x, td_tensor weight)
{
    SPEAKS_FOR("prelu");
    td_layout layout = part_layout(o, part_keyword(x)), slopes = part_layout(o, part_keyword(weight));
    struct part value = part_given(o, 0, x), slope = part_given(o, 1, weight);
    value = part_one(o, TD_OP_contiguous, value);
    if (slopes.rank == 1 && slopes.shape[0] == 1)
        slope = part_reshape(o, slope, 0, slopes.shape);
    else if (layout.rank > 1 && slopes.rank == 1)
        slope = by_channel(o, slope, &layout);
    struct part above = part_two(o, TD_OP_gt, part_kept(value), part_real(0));
    /* Not value itself, or the slope's gradient would be 0 times infinity. */
    struct part low = part_where(o, part_kept(above), part_real(0), part_kept(value));
    struct part below = part_two(o, TD_OP_mul, slope, low);
    return part_tensor(part_where(o, above, value, below));
}

/* Ones of the first rank sizes of layout, 1 behind them, of which dropout keeps some. */
static struct part kept_ones(td_origin o, td_tensor x, const td_layout *layout, int rank, double p, bool training)
{
    struct td_ones_attrs ones = {.shape.count = layout->rank, .dtype = td_dtype_of_at((td_origin){o.where, 0}, x)};
    for (int d = 0; d < layout->rank; d++)
        ones.shape.v[d] = d < rank ? layout->shape[d] : 1;
    struct part all = part_created(o, x.session, TD_OP_ones, &ones);
    return part_op(o, TD_OP_dropout, &(struct td_dropout_attrs){.p = p, .training = training}, 1, &all);
}

td_tensor td_feature_dropout_at(td_origin o, td_tensor x, const struct td_feature_dropout_keywords *keywords)
{
    KEYWORDS(feature_dropout, .p = 0.5, .training = true);
    td_layout layout = part_layout(o, part_keyword(x));
    if (layout.rank < 2)
        return part_used(
            o, 1, &x, part_refuse_shape(o, x, "feature_dropout", &layout, "has no channels: it is (n, channels, ...)"));
    struct part kept = kept_ones(o, x, &layout, 2, k->p, k->training);
    return part_tensor(part_two(o, TD_OP_mul, part_given(o, 0, x), kept));
}

/* What is dropped becomes the least that selu gives; then all is put back to mean 0 and variance 1. */
td_tensor td_alpha_dropout_at(td_origin o, td_tensor x, const struct td_alpha_dropout_keywords *keywords)
{
    KEYWORDS(alpha_dropout, .p = 0.5, .training = true);
    const double least = -1.7580993408473766, p = k->p;
    td_layout layout = part_layout(o, part_keyword(x));
    if (!k->training || p == 0 || has_failed(o, x))
        return part_tensor(part_one(o, TD_OP_clone, part_given(o, 0, x)));
    struct part kept = kept_ones(o, x, &layout, layout.rank, p, true);
    kept = part_two(o, TD_OP_ne, kept, part_real(0));
    struct part mixed = part_where(o, kept, part_given(o, 0, x), part_real(least));
    double scale = p < 1 ? 1 / sqrt((least * least * p + 1) * (1 - p)) : 0;
    return part_tensor(part_two(o, TD_OP_add, scaled(o, mixed, scale), part_real(-least * p * scale)));
}

/* ---- attention ---- */

/* What is added to scores where mask is false, or given: -inf, and 0 elsewhere. */
static struct part added(td_origin o, td_tensor mask, uint8_t dtype)
{
    td_origin plain = {o.where, 0};
    if (!given(mask) || td_dtype_of_at(plain, mask) != TD_BOOL)
        return part_keyword(mask);
    struct part added = part_where(o, part_keyword(mask), part_real(0), part_real(-INFINITY));
    return dtype == td_dtype_of_at(plain, part_tensor(added)) ? added : converted(o, added, dtype);
}

/* With dropout, for which all probabilities are made. */
static td_tensor attended_in_parts(td_origin o, td_tensor query, td_tensor key, td_tensor value, uint8_t dtype,
                                   const struct td_scaled_dot_product_attention_keywords *k)
{
    td_layout q = part_layout(o, part_keyword(query)), s = part_layout(o, part_keyword(key));
    if (q.rank < 2 || s.rank < 2)
        return part_used(o, 3, (td_tensor[]){query, key, value},
                         part_refuse_shape(o, q.rank < 2 ? query : key, "scaled_dot_product_attention",
                                           q.rank < 2 ? &q : &s, "is no query or key: they are (..., length, width)"));
    const struct td_transpose_attrs turned = {.dim0 = -2, .dim1 = -1};
    struct part keys = part_given(o, 1, key);
    keys = part_op(o, TD_OP_transpose, &turned, 1, &keys);
    double scale = td_attention_scale(k->scale, q.shape[q.rank - 1]);
    struct part scores = part_two(o, TD_OP_matmul, scaled(o, part_given(o, 0, query), scale), keys);
    if (given(k->mask))
        scores = part_two(o, TD_OP_add, scores, added(o, k->mask, dtype));
    if (k->is_causal) {
        const struct td_ones_attrs all = {.shape = {2, {q.shape[q.rank - 2], s.shape[s.rank - 2]}}, .dtype = TD_BOOL};
        struct part seen = part_created(o, query.session, TD_OP_ones, &all);
        seen = part_op(o, TD_OP_tril, &(struct td_tril_attrs){.diagonal = 0}, 1, &seen);
        scores = part_where(o, seen, scores, part_real(-INFINITY));
    }
    struct part p = part_op(o, TD_OP_softmax, &(struct td_softmax_attrs){.dim = -1}, 1, &scores);
    p = part_op(o, TD_OP_dropout, &(struct td_dropout_attrs){.p = k->dropout_p, .training = true}, 1, &p);
    return part_tensor(part_two(o, TD_OP_matmul, p, part_given(o, 2, value)));
}

td_tensor td_scaled_dot_product_attention_at(td_origin o, td_tensor query, td_tensor key, td_tensor value,
                                             const struct td_scaled_dot_product_attention_keywords *keywords)
{
    KEYWORDS(scaled_dot_product_attention, .mask = {0}, .is_causal = false, .dropout_p = 0, .scale = 0);
    const struct td_attention_attrs attrs = {.is_causal = k->is_causal, .scale = k->scale};
    uint8_t dtype = (uint8_t)td_result_type_at((td_origin){o.where, 0}, query, td_operand_of_tensor(key));
    dtype = td_dtype_category(dtype) == TD_FLOATING ? dtype : TD_F32;
    if (k->dropout_p != 0 && !has_failed(o, query) && !has_failed(o, key))
        return attended_in_parts(o, query, key, value, dtype, k);
    return part_tensor(part_op(o, TD_OP_attention, &attrs, 4,
                               (struct part[]){part_given(o, 0, query), part_given(o, 1, key), part_given(o, 2, value),
                                               added(o, k->mask, dtype)}));
}

/* ---- the functions behind the macros ---- */

td_tensor(td_normalize)(td_tensor x, const struct td_normalize_keywords *keywords)
{
    return td_normalize_at((td_origin){0}, x, keywords);
}

td_tensor(td_cosine_similarity)(td_tensor x, td_tensor other, const struct td_cosine_similarity_keywords *keywords)
{
    return td_cosine_similarity_at((td_origin){0}, x, other, keywords);
}

td_tensor(td_batch_norm)(td_tensor x, const struct td_batch_norm_keywords *keywords)
{
    return td_batch_norm_at((td_origin){0}, x, keywords);
}

td_tensor(td_group_norm)(td_tensor x, int64_t groups, const struct td_group_norm_keywords *keywords)
{
    return td_group_norm_at((td_origin){0}, x, groups, keywords);
}

td_tensor(td_instance_norm)(td_tensor x, const struct td_instance_norm_keywords *keywords)
{
    return td_instance_norm_at((td_origin){0}, x, keywords);
}

td_tensor(td_glu)(td_tensor x, const struct td_glu_keywords *keywords)
{
    return td_glu_at((td_origin){0}, x, keywords);
}

td_tensor(td_softmin)(td_tensor x, int64_t dim)
{
    return td_softmin_at((td_origin){0}, x, dim);
}

td_tensor(td_prelu)(td_tensor x, td_tensor weight)
{
    return td_prelu_at((td_origin){0}, x, weight);
}

td_tensor(td_feature_dropout)(td_tensor x, const struct td_feature_dropout_keywords *keywords)
{
    return td_feature_dropout_at((td_origin){0}, x, keywords);
}

td_tensor(td_alpha_dropout)(td_tensor x, const struct td_alpha_dropout_keywords *keywords)
{
    return td_alpha_dropout_at((td_origin){0}, x, keywords);
}

td_tensor(td_scaled_dot_product_attention)(td_tensor query, td_tensor key, td_tensor value,
                                           const struct td_scaled_dot_product_attention_keywords *keywords)
{
    return td_scaled_dot_product_attention_at((td_origin){0}, query, key, value, keywords);
}
