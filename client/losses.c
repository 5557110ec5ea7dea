/* Losses made of ops. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/compose.h"

/* The keywords given, or their defaults; what goes wrong is told in the name. */
#define KEYWORDS(name, ...)                                                 \
    static const struct td_##name##_keywords defaults = {__VA_ARGS__};      \
    const struct td_##name##_keywords *k = keywords ? keywords : &defaults; \
    SPEAKS_FOR(#name)

static bool given(td_tensor x)
{
    return x.session != NULL;
}

static struct part minus(td_origin o, struct part a, struct part b)
{
    return part_two(o, TD_OP_sub, a, b);
}
static struct part plus(td_origin o, struct part a, struct part b)
{
    return part_two(o, TD_OP_add, a, b);
}
static struct part times(td_origin o, struct part a, struct part b)
{
    return part_two(o, TD_OP_mul, a, b);
}
static struct part scaled(td_origin o, struct part a, double factor)
{
    return part_two(o, TD_OP_mul, a, part_real(factor));
}
static struct part shifted(td_origin o, struct part a, double by)
{
    return part_two(o, TD_OP_add, a, part_real(by));
}
static struct part one_minus(td_origin o, struct part a)
{
    return part_two(o, TD_OP_rsub, a, part_real(1));
}
static struct part equals(td_origin o, struct part a, double value)
{
    return part_two(o, TD_OP_eq, a, part_real(value));
}

/* ---- of a difference ---- */

td_tensor td_l1_loss_at(td_origin o, td_tensor x, td_tensor target, const struct td_l1_loss_keywords *keywords)
{
    KEYWORDS(l1_loss, .reduction = TD_MEAN);
    struct part d = minus(o, part_given(o, 0, x), part_given(o, 1, target));
    return part_reduced(o, part_one(o, TD_OP_abs, d), k->reduction, "l1_loss");
}

/* scale * d * d below the bound, otherwise slope * (d - bound / 2), d being the magnitude of the difference. What is
 * squared goes no further than the bound, or the gradient of what is not chosen would be 0 times infinity. */
static struct part bent(td_origin o, td_tensor x, td_tensor target, double bound, double scale, double slope)
{
    struct part d = minus(o, part_given(o, 0, x), part_given(o, 1, target));
    d = part_one(o, TD_OP_abs, d);
    struct part below = part_two(o, TD_OP_lt, part_kept(d), part_real(bound));
    struct part near = part_op(o, TD_OP_clamp, &(struct td_clamp_attrs){.min = -INFINITY, .max = bound}, 1,
                               (struct part[]){part_kept(d)});
    struct part inner = scaled(o, part_one(o, TD_OP_square, near), scale);
    return part_where(o, below, inner, scaled(o, shifted(o, d, -bound / 2), slope));
}

td_tensor td_smooth_l1_loss_at(td_origin o, td_tensor x, td_tensor target,
                               const struct td_smooth_l1_loss_keywords *keywords)
{
    KEYWORDS(smooth_l1_loss, .reduction = TD_MEAN, .beta = 1);
    if (k->beta == 0)
        return td_l1_loss_at(o, x, target, &(struct td_l1_loss_keywords){.reduction = k->reduction});
    return part_reduced(o, bent(o, x, target, k->beta, 0.5 / k->beta, 1), k->reduction, "smooth_l1_loss");
}

td_tensor td_huber_loss_at(td_origin o, td_tensor x, td_tensor target, const struct td_huber_loss_keywords *keywords)
{
    KEYWORDS(huber_loss, .reduction = TD_MEAN, .delta = 1);
    return part_reduced(o, bent(o, x, target, k->delta, 0.5, k->delta), k->reduction, "huber_loss");
}

/* ---- of probabilities ---- */

static bool same_shape(const td_layout *a, const td_layout *b)
{
    bool same = a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++)
        same = a->shape[d] == b->shape[d];
    return same;
}

/* Whether x and target have one shape; otherwise what is put into *failed. */
static bool have_one_shape(td_origin o, td_tensor x, td_tensor target, const char *name, td_tensor *failed)
{
    td_layout a = part_layout(o, part_keyword(x)), b = part_layout(o, part_keyword(target));
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    struct td_failure failure = {0};
    if (same_shape(&a, &b) || !td_ok_at((td_origin){o.where, 0}, x) || !td_ok_at((td_origin){o.where, 0}, target))
        return true; /* or the ops say what failed */
    td_fail(&failure, TD_E_SHAPE, "%s: x has shape %s and the target %s", name,
            td_shape_text(a.rank, a.shape, at, sizeof at), td_shape_text(b.rank, b.shape, bt, sizeof bt));
    td_hint(&failure, a.rank == b.rank + 1 ? "td_unsqueeze(target, -1) or td_squeeze(x) makes one shape of them."
                                           : "They have one shape here, not only ones that broadcast.");
    *failed = part_used(o, 2, (td_tensor[]){x, target}, part_refuse(o, x.session, name, &failure));
    return false;
}

static struct part weighted(td_origin o, struct part loss, td_tensor weight)
{
    return given(weight) ? times(o, loss, part_keyword(weight)) : loss;
}

td_tensor td_binary_cross_entropy_at(td_origin o, td_tensor x, td_tensor target,
                                     const struct td_binary_cross_entropy_keywords *keywords)
{
    KEYWORDS(binary_cross_entropy, .reduction = TD_MEAN, .weight = {0});
    td_tensor failed;
    if (!have_one_shape(o, x, target, "binary_cross_entropy", &failed))
        return failed;
    struct part loss = part_two(o, TD_OP_bce, part_given(o, 0, x), part_given(o, 1, target));
    return part_reduced(o, weighted(o, loss, k->weight), k->reduction, "binary_cross_entropy");
}

/* (1 - t) x - (1 + (pos_weight - 1) t) log(sigmoid(x)) */
td_tensor td_binary_cross_entropy_with_logits_at(td_origin o, td_tensor x, td_tensor target,
                                                 const struct td_binary_cross_entropy_with_logits_keywords *keywords)
{
    KEYWORDS(binary_cross_entropy_with_logits, .reduction = TD_MEAN, .weight = {0}, .pos_weight = {0});
    td_tensor failed;
    if (!have_one_shape(o, x, target, "binary_cross_entropy_with_logits", &failed))
        return failed;
    struct part logits = part_given(o, 0, x), t = part_given(o, 1, target);
    struct part log = part_one(o, TD_OP_logsigmoid, part_kept(logits));
    if (given(k->pos_weight)) {
        struct part more = times(o, shifted(o, part_keyword(k->pos_weight), -1), part_kept(t));
        log = times(o, log, shifted(o, more, 1));
    }
    struct part loss = minus(o, times(o, one_minus(o, t), logits), log);
    return part_reduced(o, weighted(o, loss, k->weight), k->reduction, "binary_cross_entropy_with_logits");
}

/* Of x (n, classes, ...) classes are dimension 1, of (classes) the only one. */
static td_tensor soft_cross_entropy(td_origin o, const char *name, td_tensor x, td_tensor target,
                                    const struct td_soft_cross_entropy_keywords *k)
{
    td_tensor failed;
    if (!have_one_shape(o, x, target, name, &failed))
        return failed;
    td_layout layout = part_layout(o, part_keyword(x));
    int64_t dim = layout.rank > 1, shape[TD_RANKS], classes = layout.rank ? layout.shape[dim] : 1;
    struct part t = part_given(o, 1, target), logits = part_given(o, 0, x);
    if (k->label_smoothing != 0)
        t = shifted(o, scaled(o, t, 1 - k->label_smoothing), k->label_smoothing / (double)(classes ? classes : 1));
    if (given(k->weight)) {
        for (int d = 0; d < layout.rank; d++)
            shape[d] = d == dim ? classes : 1;
        t = times(o, t, part_reshape(o, part_keyword(k->weight), layout.rank, shape));
    }
    struct part log = part_op(o, TD_OP_log_softmax, &(struct td_log_softmax_attrs){.dim = dim}, 1, &logits);
    struct part loss = part_one(o, TD_OP_neg, part_sum(o, times(o, log, t), dim, false));
    return part_reduced(o, loss, k->reduction, name);
}

td_tensor td_soft_cross_entropy_at(td_origin o, td_tensor x, td_tensor target,
                                   const struct td_soft_cross_entropy_keywords *keywords)
{
    KEYWORDS(soft_cross_entropy, .reduction = TD_MEAN, .weight = {0}, .label_smoothing = 0);
    return soft_cross_entropy(o, "soft_cross_entropy", x, target, k);
}

/* Whether a target for x is probabilities: floats of its shape. What else it is the op of the table takes or refuses.
 */
static bool is_of_chances(td_origin o, td_tensor x, td_tensor target)
{
    enum td_dtype dtype = td_dtype_of_at((td_origin){o.where, 0}, target);
    if (!td_dtype_known(dtype) || td_dtype_category(dtype) != TD_FLOATING)
        return false;
    td_layout a = part_layout(o, part_keyword(x)), b = part_layout(o, part_keyword(target));
    return same_shape(&a, &b);
}

td_tensor td_cross_entropy_at(td_origin o, td_tensor x, td_tensor target,
                              const struct td_cross_entropy_keywords *keywords)
{
    KEYWORDS(cross_entropy, .weight = {0}, .ignore_index = -100, .reduction = TD_MEAN, .label_smoothing = 0);
    if (is_of_chances(o, x, target)) {
        struct td_failure failure = {0};
        if (k->ignore_index >= 0) {
            td_fail(&failure, TD_E_ARGUMENT,
                    "cross_entropy: ignore_index %" PRId64 " for targets that are probabilities", k->ignore_index);
            return part_used(o, 2, (td_tensor[]){x, target}, part_refuse(o, x.session, "cross_entropy", &failure));
        }
        return soft_cross_entropy(o, "cross_entropy", x, target,
                                  &(struct td_soft_cross_entropy_keywords){.reduction = k->reduction,
                                                                           .weight = k->weight,
                                                                           .label_smoothing = k->label_smoothing});
    }
    const struct td_cross_entropy_attrs attrs = {
        .ignore_index = k->ignore_index, .reduction = k->reduction, .label_smoothing = k->label_smoothing};
    const td_operand in[] = {td_operand_of_tensor(x), td_operand_of_tensor(target), td_operand_of_tensor(k->weight)};
    return client_op(
        &(struct client_op){.id = TD_OP_cross_entropy, .origin = o, .in = in, .in_count = 3, .attrs = &attrs});
}

td_tensor td_kl_div_at(td_origin o, td_tensor x, td_tensor target, const struct td_kl_div_keywords *keywords)
{
    KEYWORDS(kl_div, .reduction = TD_MEAN, .log_target = false);
    td_layout layout = part_layout(o, part_keyword(x));
    struct part log = part_given(o, 0, x), t = part_given(o, 1, target), loss;
    if (k->log_target) {
        struct part p = part_one(o, TD_OP_exp, part_kept(t));
        loss = times(o, p, minus(o, t, log));
    } else {
        struct part own = part_two(o, TD_OP_xlogy, part_kept(t), part_kept(t));
        loss = minus(o, own, times(o, t, log));
    }
    if (k->reduction != TD_BATCHMEAN)
        return part_reduced(o, loss, k->reduction, "kl_div");
    double batch = layout.rank ? (double)layout.shape[0] : 1;
    const struct td_sum_attrs all = {.dims.count = -1};
    return part_tensor(scaled(o, part_op(o, TD_OP_sum, &all, 1, &loss), 1 / batch));
}

td_tensor td_poisson_nll_loss_at(td_origin o, td_tensor x, td_tensor target,
                                 const struct td_poisson_nll_loss_keywords *keywords)
{
    KEYWORDS(poisson_nll_loss, .reduction = TD_MEAN, .log_input = true, .full = false, .eps = 1e-8);
    struct part rate = part_given(o, 0, x), t = part_given(o, 1, target), loss;
    if (k->log_input)
        loss = minus(o, part_one(o, TD_OP_exp, part_kept(rate)), times(o, part_kept(t), rate));
    else
        loss = minus(o, part_kept(rate),
                     times(o, part_kept(t), part_one(o, TD_OP_log, shifted(o, part_kept(rate), k->eps))));
    if (k->full) { /* t log(t) - t + log(2 pi t) / 2 of targets above 1 */
        struct part above = part_two(o, TD_OP_gt, part_kept(t), part_real(1));
        struct part safe = part_where(o, part_kept(above), part_kept(t), part_real(1));
        struct part stirling = minus(o, part_two(o, TD_OP_xlogy, part_kept(safe), part_kept(safe)), part_kept(safe));
        struct part root = scaled(o, part_one(o, TD_OP_log, scaled(o, safe, 6.283185307179586)), 0.5);
        loss = plus(o, loss, part_where(o, above, plus(o, stirling, root), part_real(0)));
    }
    return part_reduced(o, loss, k->reduction, "poisson_nll_loss");
}

/* The variance is raised to eps outside the graph, as PyTorch does: its gradient passes. */
td_tensor td_gaussian_nll_loss_at(td_origin o, td_tensor x, td_tensor target, td_tensor variance,
                                  const struct td_gaussian_nll_loss_keywords *keywords)
{
    KEYWORDS(gaussian_nll_loss, .reduction = TD_MEAN, .full = false, .eps = 1e-6);
    struct part d = minus(o, part_given(o, 0, x), part_given(o, 1, target)), v = part_given(o, 2, variance);
    struct part seen = part_one(o, TD_OP_detach, part_kept(v));
    struct part raised = minus(o, part_clamp(o, part_kept(seen), k->eps), seen);
    v = plus(o, v, raised);
    struct part ratio = part_two(o, TD_OP_div, part_one(o, TD_OP_square, d), part_kept(v));
    struct part loss = scaled(o, plus(o, part_one(o, TD_OP_log, v), ratio), 0.5);
    if (k->full)
        loss = shifted(o, loss, 0.9189385332046727);
    return part_reduced(o, loss, k->reduction, "gaussian_nll_loss");
}

/* ---- with margins ---- */

td_tensor td_hinge_embedding_loss_at(td_origin o, td_tensor x, td_tensor target,
                                     const struct td_hinge_embedding_loss_keywords *keywords)
{
    KEYWORDS(hinge_embedding_loss, .reduction = TD_MEAN, .margin = 1);
    struct part value = part_given(o, 0, x), t = part_given(o, 1, target), zero = part_real(0);
    struct part hinge = part_clamp(o, part_two(o, TD_OP_rsub, part_kept(value), part_real(k->margin)), 0);
    struct part apart = part_where(o, equals(o, part_kept(t), 1), zero, hinge);
    struct part together = part_where(o, equals(o, t, -1), zero, value);
    return part_reduced(o, plus(o, apart, together), k->reduction, "hinge_embedding_loss");
}

td_tensor td_margin_ranking_loss_at(td_origin o, td_tensor x, td_tensor other, td_tensor target,
                                    const struct td_margin_ranking_loss_keywords *keywords)
{
    KEYWORDS(margin_ranking_loss, .reduction = TD_MEAN, .margin = 0);
    struct part d = minus(o, part_given(o, 0, x), part_given(o, 1, other));
    d = part_two(o, TD_OP_rsub, times(o, part_given(o, 2, target), d), part_real(k->margin));
    return part_reduced(o, part_clamp(o, d, 0), k->reduction, "margin_ranking_loss");
}

td_tensor td_soft_margin_loss_at(td_origin o, td_tensor x, td_tensor target,
                                 const struct td_soft_margin_loss_keywords *keywords)
{
    KEYWORDS(soft_margin_loss, .reduction = TD_MEAN);
    struct part product = times(o, part_given(o, 0, x), part_given(o, 1, target));
    struct part loss = part_one(o, TD_OP_neg, part_one(o, TD_OP_logsigmoid, product));
    return part_reduced(o, loss, k->reduction, "soft_margin_loss");
}

/* The norm of a - b + eps over the last dimension. */
static struct part distance(td_origin o, struct part a, struct part b, double p, double eps)
{
    struct part d = shifted(o, minus(o, a, b), eps);
    return part_op(o, TD_OP_norm, &(struct td_norm_attrs){.dims = {1, {-1}}, .p = p}, 1, &d);
}

td_tensor td_triplet_margin_loss_at(td_origin o, td_tensor anchor, td_tensor positive, td_tensor negative,
                                    const struct td_triplet_margin_loss_keywords *keywords)
{
    KEYWORDS(triplet_margin_loss, .reduction = TD_MEAN, .margin = 1, .p = 2, .eps = 1e-6, .swap = false);
    struct part a = part_given(o, 0, anchor), p = part_given(o, 1, positive), n = part_given(o, 2, negative);
    struct part near = distance(o, part_kept(a), k->swap ? part_kept(p) : p, k->p, k->eps);
    struct part far = distance(o, a, k->swap ? part_kept(n) : n, k->p, k->eps);
    if (k->swap)
        far = part_two(o, TD_OP_minimum, far, distance(o, p, n, k->p, k->eps));
    struct part loss = part_clamp(o, shifted(o, minus(o, near, far), k->margin), 0);
    return part_reduced(o, loss, k->reduction, "triplet_margin_loss");
}

/* sum(a * b) over the last dimension */
static struct part inner(td_origin o, struct part a, struct part b)
{
    return part_sum(o, times(o, a, b), -1, false);
}

td_tensor td_cosine_embedding_loss_at(td_origin o, td_tensor x, td_tensor other, td_tensor target,
                                      const struct td_cosine_embedding_loss_keywords *keywords)
{
    KEYWORDS(cosine_embedding_loss, .reduction = TD_MEAN, .margin = 0);
    struct part a = part_given(o, 0, x), b = part_given(o, 1, other), t = part_given(o, 2, target);
    struct part product = inner(o, part_kept(a), part_kept(b));
    struct part a_size = shifted(o, part_sum(o, part_one(o, TD_OP_square, a), -1, false), 1e-12);
    struct part b_size = shifted(o, part_sum(o, part_one(o, TD_OP_square, b), -1, false), 1e-12);
    struct part cosine = part_two(o, TD_OP_div, product, part_one(o, TD_OP_sqrt, times(o, a_size, b_size)));
    struct part together = part_where(o, equals(o, part_kept(t), 1), one_minus(o, part_kept(cosine)), part_real(0));
    struct part hinge = part_clamp(o, shifted(o, cosine, -k->margin), 0);
    struct part apart = part_where(o, equals(o, t, -1), hinge, part_real(0));
    return part_reduced(o, plus(o, together, apart), k->reduction, "cosine_embedding_loss");
}

static struct part unsqueezed(td_origin o, struct part x)
{
    return part_op(o, TD_OP_unsqueeze, &(struct td_unsqueeze_attrs){.dim = 1}, 1, &x);
}

td_tensor td_multi_margin_loss_at(td_origin o, td_tensor x, td_tensor target,
                                  const struct td_multi_margin_loss_keywords *keywords)
{
    KEYWORDS(multi_margin_loss, .reduction = TD_MEAN, .p = 1, .margin = 1, .weight = {0});
    td_layout layout = part_layout(o, part_keyword(x));
    int64_t classes = layout.rank == 2 ? layout.shape[1] : 1;
    const struct td_arange_attrs numbers = {.end = {.category = TD_INTEGER, .i = classes},
                                            .start.category = TD_INTEGER,
                                            .step = {.category = TD_INTEGER, .i = 1}};
    struct part score = part_given(o, 0, x), t = part_given(o, 1, target), weight = part_real(1);
    if (given(k->weight))
        weight = unsqueezed(o, part_op(o, TD_OP_index_select, &(struct td_index_select_attrs){.dim = 0}, 2,
                                       (struct part[]){part_keyword(k->weight), part_kept(t)}));
    struct part column = unsqueezed(o, t);
    struct part own = part_op(o, TD_OP_gather, &(struct td_gather_attrs){.dim = 1}, 2,
                              (struct part[]){part_kept(score), part_kept(column)});
    struct part margins = part_clamp(o, shifted(o, minus(o, score, own), k->margin), 0);
    if (k->p == 2)
        margins = part_one(o, TD_OP_square, margins);
    if (given(k->weight))
        margins = times(o, margins, weight);
    struct part count = {td_operand_of_tensor(client_op(&(struct client_op){
                             .id = TD_OP_arange, .origin.where = o.where, .session = x.session, .attrs = &numbers})),
                         true};
    struct part others = part_where(o, part_two(o, TD_OP_eq, column, count), part_real(0), margins);
    struct part loss = scaled(o, part_sum(o, others, 1, false), 1 / (double)(classes ? classes : 1));
    return part_reduced(o, loss, k->reduction, "multi_margin_loss");
}

/* ---- the functions behind the macros ---- */

td_tensor(td_l1_loss)(td_tensor x, td_tensor target, const struct td_l1_loss_keywords *keywords)
{
    return td_l1_loss_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_smooth_l1_loss)(td_tensor x, td_tensor target, const struct td_smooth_l1_loss_keywords *keywords)
{
    return td_smooth_l1_loss_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_huber_loss)(td_tensor x, td_tensor target, const struct td_huber_loss_keywords *keywords)
{
    return td_huber_loss_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_binary_cross_entropy)(td_tensor x, td_tensor target,
                                   const struct td_binary_cross_entropy_keywords *keywords)
{
    return td_binary_cross_entropy_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_binary_cross_entropy_with_logits)(td_tensor x, td_tensor target,
                                               const struct td_binary_cross_entropy_with_logits_keywords *keywords)
{
    return td_binary_cross_entropy_with_logits_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_soft_cross_entropy)(td_tensor x, td_tensor target, const struct td_soft_cross_entropy_keywords *keywords)
{
    return td_soft_cross_entropy_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_kl_div)(td_tensor x, td_tensor target, const struct td_kl_div_keywords *keywords)
{
    return td_kl_div_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_poisson_nll_loss)(td_tensor x, td_tensor target, const struct td_poisson_nll_loss_keywords *keywords)
{
    return td_poisson_nll_loss_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_gaussian_nll_loss)(td_tensor x, td_tensor target, td_tensor variance,
                                const struct td_gaussian_nll_loss_keywords *keywords)
{
    return td_gaussian_nll_loss_at((td_origin){0}, x, target, variance, keywords);
}

td_tensor(td_hinge_embedding_loss)(td_tensor x, td_tensor target,
                                   const struct td_hinge_embedding_loss_keywords *keywords)
{
    return td_hinge_embedding_loss_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_margin_ranking_loss)(td_tensor x, td_tensor other, td_tensor target,
                                  const struct td_margin_ranking_loss_keywords *keywords)
{
    return td_margin_ranking_loss_at((td_origin){0}, x, other, target, keywords);
}

td_tensor(td_soft_margin_loss)(td_tensor x, td_tensor target, const struct td_soft_margin_loss_keywords *keywords)
{
    return td_soft_margin_loss_at((td_origin){0}, x, target, keywords);
}

td_tensor(td_triplet_margin_loss)(td_tensor anchor, td_tensor positive, td_tensor negative,
                                  const struct td_triplet_margin_loss_keywords *keywords)
{
    return td_triplet_margin_loss_at((td_origin){0}, anchor, positive, negative, keywords);
}

td_tensor(td_cosine_embedding_loss)(td_tensor x, td_tensor other, td_tensor target,
                                    const struct td_cosine_embedding_loss_keywords *keywords)
{
    return td_cosine_embedding_loss_at((td_origin){0}, x, other, target, keywords);
}

td_tensor(td_multi_margin_loss)(td_tensor x, td_tensor target, const struct td_multi_margin_loss_keywords *keywords)
{
    return td_multi_margin_loss_at((td_origin){0}, x, target, keywords);
}
