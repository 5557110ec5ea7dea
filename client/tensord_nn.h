/* Losses, normalisation and layers made of other ops: the third part of tensord.h. Called like ops; what they give is
 * differentiable as often as these are. Errors name the op of the chain that refused, at the caller's line.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORD_NN_H
#define TENSORD_NN_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- losses: .reduction is TD_MEAN, TD_SUM or TD_NONE, and tensors of different shapes broadcast, unless something
 * else is said ---- */

/* What only some functions take beside TD_MEAN and TD_SUM; they say so. */
enum { TD_BATCHMEAN = 16, TD_GREATEST };

struct td_l1_loss_keywords {
    int64_t reduction;
    TD_KEYWORDS_END
};
/* abs(x - target). */
TD_API td_tensor td_l1_loss(td_tensor x, td_tensor target, const struct td_l1_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_l1_loss_at(td_origin origin, td_tensor x, td_tensor target,
                               const struct td_l1_loss_keywords *keywords);
struct td_smooth_l1_loss_keywords {
    int64_t reduction;
    double beta;
    TD_KEYWORDS_END
};
/* The square of the difference / 2 / beta where that is less than .beta (1), otherwise abs(x - target) - beta / 2. */
TD_API td_tensor td_smooth_l1_loss(td_tensor x, td_tensor target,
                                   const struct td_smooth_l1_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_smooth_l1_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                      const struct td_smooth_l1_loss_keywords *keywords);
struct td_huber_loss_keywords {
    int64_t reduction;
    double delta;
    TD_KEYWORDS_END
};
/* The square of the difference / 2 where that is less than .delta (1), otherwise delta * (abs(x - target) - delta / 2).
 */
TD_API td_tensor td_huber_loss(td_tensor x, td_tensor target,
                               const struct td_huber_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_huber_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                  const struct td_huber_loss_keywords *keywords);
struct td_binary_cross_entropy_keywords {
    int64_t reduction;
    td_tensor weight;
    TD_KEYWORDS_END
};
/* td_bce of probabilities x and a target of the same shape, times .weight. */
TD_API td_tensor td_binary_cross_entropy(td_tensor x, td_tensor target,
                                         const struct td_binary_cross_entropy_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_binary_cross_entropy_at(td_origin origin, td_tensor x, td_tensor target,
                                            const struct td_binary_cross_entropy_keywords *keywords);
struct td_binary_cross_entropy_with_logits_keywords {
    int64_t reduction;
    td_tensor weight, pos_weight;
    TD_KEYWORDS_END
};
/* The same of sigmoid(x), computed without overflow; .pos_weight multiplies the part of targets of 1. */
TD_API td_tensor td_binary_cross_entropy_with_logits(td_tensor x, td_tensor target,
                                                     const struct td_binary_cross_entropy_with_logits_keywords *keywords
                                                         TD_DEFAULT(NULL));
TD_API td_tensor
td_binary_cross_entropy_with_logits_at(td_origin origin, td_tensor x, td_tensor target,
                                       const struct td_binary_cross_entropy_with_logits_keywords *keywords);
struct td_soft_cross_entropy_keywords {
    int64_t reduction;
    td_tensor weight;
    double label_smoothing;
    TD_KEYWORDS_END
};
/* td_cross_entropy of targets that are probabilities of every class, of x's shape; the mean is that over all but the
 * classes. */
TD_API td_tensor td_soft_cross_entropy(td_tensor x, td_tensor target,
                                       const struct td_soft_cross_entropy_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_soft_cross_entropy_at(td_origin origin, td_tensor x, td_tensor target,
                                          const struct td_soft_cross_entropy_keywords *keywords);
struct td_kl_div_keywords {
    int64_t reduction;
    bool log_target;
    TD_KEYWORDS_END
};
/* target * (log(target) - x) of logarithms x, 0 where target is 0; with .log_target the target is a logarithm, too.
 * TD_BATCHMEAN divides the sum by the size of x's first dimension. */
TD_API td_tensor td_kl_div(td_tensor x, td_tensor target, const struct td_kl_div_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_kl_div_at(td_origin origin, td_tensor x, td_tensor target,
                              const struct td_kl_div_keywords *keywords);
struct td_poisson_nll_loss_keywords {
    int64_t reduction;
    bool log_input, full;
    double eps;
    TD_KEYWORDS_END
};
/* exp(x) - target * x, or x - target * log(x + .eps) without .log_input; .full adds Stirling's terms for targets
 * above 1. */
TD_API td_tensor td_poisson_nll_loss(td_tensor x, td_tensor target,
                                     const struct td_poisson_nll_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_poisson_nll_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                        const struct td_poisson_nll_loss_keywords *keywords);
struct td_gaussian_nll_loss_keywords {
    int64_t reduction;
    bool full;
    double eps;
    TD_KEYWORDS_END
};
/* (log(variance) + (x - target) squared / variance) / 2, the variance being .eps or more; .full adds log(2 pi) / 2. */
TD_API td_tensor td_gaussian_nll_loss(td_tensor x, td_tensor target, td_tensor variance,
                                      const struct td_gaussian_nll_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_gaussian_nll_loss_at(td_origin origin, td_tensor x, td_tensor target, td_tensor variance,
                                         const struct td_gaussian_nll_loss_keywords *keywords);
struct td_hinge_embedding_loss_keywords {
    int64_t reduction;
    double margin;
    TD_KEYWORDS_END
};
/* x where target is 1, max(0, .margin - x) where it is -1. */
TD_API td_tensor td_hinge_embedding_loss(td_tensor x, td_tensor target,
                                         const struct td_hinge_embedding_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_hinge_embedding_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                            const struct td_hinge_embedding_loss_keywords *keywords);
struct td_margin_ranking_loss_keywords {
    int64_t reduction;
    double margin;
    TD_KEYWORDS_END
};
/* max(0, -target * (x - other) + .margin), the target being 1 or -1. */
TD_API td_tensor td_margin_ranking_loss(td_tensor x, td_tensor other, td_tensor target,
                                        const struct td_margin_ranking_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_margin_ranking_loss_at(td_origin origin, td_tensor x, td_tensor other, td_tensor target,
                                           const struct td_margin_ranking_loss_keywords *keywords);
struct td_soft_margin_loss_keywords {
    int64_t reduction;
    TD_KEYWORDS_END
};
/* log(1 + exp(-target * x)). */
TD_API td_tensor td_soft_margin_loss(td_tensor x, td_tensor target,
                                     const struct td_soft_margin_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_soft_margin_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                        const struct td_soft_margin_loss_keywords *keywords);
struct td_triplet_margin_loss_keywords {
    int64_t reduction;
    double margin, p, eps;
    bool swap;
    TD_KEYWORDS_END
};
/* max(0, d(anchor, positive) - d(anchor, negative) + .margin), d being the norm of power .p (2) of the difference +
 * .eps over the last dimension; .swap takes d(positive, negative) where that is less. */
TD_API td_tensor td_triplet_margin_loss(td_tensor anchor, td_tensor positive, td_tensor negative,
                                        const struct td_triplet_margin_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_triplet_margin_loss_at(td_origin origin, td_tensor anchor, td_tensor positive, td_tensor negative,
                                           const struct td_triplet_margin_loss_keywords *keywords);
struct td_cosine_embedding_loss_keywords {
    int64_t reduction;
    double margin;
    TD_KEYWORDS_END
};
/* Of rows of x and other with cosine c: 1 - c where target is 1, max(0, c - .margin) where it is -1. */
TD_API td_tensor td_cosine_embedding_loss(td_tensor x, td_tensor other, td_tensor target,
                                          const struct td_cosine_embedding_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_cosine_embedding_loss_at(td_origin origin, td_tensor x, td_tensor other, td_tensor target,
                                             const struct td_cosine_embedding_loss_keywords *keywords);
struct td_multi_margin_loss_keywords {
    int64_t reduction, p;
    double margin;
    td_tensor weight;
    TD_KEYWORDS_END
};
/* Of scores x (n, classes) and targets (n): the sum over the other classes of max(0, .margin - x[target] + x) to the
 * power .p (1 or 2), times .weight[target], divided by classes. */
TD_API td_tensor td_multi_margin_loss(td_tensor x, td_tensor target,
                                      const struct td_multi_margin_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_multi_margin_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                         const struct td_multi_margin_loss_keywords *keywords);

struct td_multilabel_margin_loss_keywords {
    int64_t reduction;
    TD_KEYWORDS_END
};
/* Of scores x (n, classes), or (classes), and a target of the same shape, i64, that names some classes of each row and
 * goes on with -1: the sum of max(0, 1 - x[named] + x[other]) over all pairs, divided by classes. */
TD_API td_tensor td_multilabel_margin_loss(td_tensor x, td_tensor target,
                                           const struct td_multilabel_margin_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_multilabel_margin_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                              const struct td_multilabel_margin_loss_keywords *keywords);
struct td_multilabel_soft_margin_loss_keywords {
    int64_t reduction;
    td_tensor weight;
    TD_KEYWORDS_END
};
/* -(target * logsigmoid(x) + (1 - target) * logsigmoid(-x)) times .weight, as the mean over the last dimension. */
TD_API td_tensor td_multilabel_soft_margin_loss(
    td_tensor x, td_tensor target, const struct td_multilabel_soft_margin_loss_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_multilabel_soft_margin_loss_at(td_origin origin, td_tensor x, td_tensor target,
                                                   const struct td_multilabel_soft_margin_loss_keywords *keywords);

/* ---- normalisation ---- */

struct td_normalize_keywords {
    double p, eps;
    int64_t dim;
    TD_KEYWORDS_END
};
/* x divided by its norm of power .p (2) over .dim (1), or by .eps where that is less. */
TD_API td_tensor td_normalize(td_tensor x, const struct td_normalize_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_normalize_at(td_origin origin, td_tensor x, const struct td_normalize_keywords *keywords);
struct td_cosine_similarity_keywords {
    int64_t dim;
    double eps;
    TD_KEYWORDS_END
};
/* The cosine of x and other over .dim (1), each norm counting as .eps or more. */
TD_API td_tensor td_cosine_similarity(td_tensor x, td_tensor other,
                                      const struct td_cosine_similarity_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_cosine_similarity_at(td_origin origin, td_tensor x, td_tensor other,
                                         const struct td_cosine_similarity_keywords *keywords);
struct td_batch_norm_keywords {
    td_tensor running_mean, running_var, weight, bias;
    bool training;
    double momentum, eps;
    TD_KEYWORDS_END
};
/* x (n, channels, ...) normalised for each channel: by .running_mean and .running_var, or with .training, or without
 * them, by its own, of which .momentum (0.1) goes into the running ones in place (of the unbiased variance). Then times
 * .weight, plus .bias. */
TD_API td_tensor td_batch_norm(td_tensor x, const struct td_batch_norm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_batch_norm_at(td_origin origin, td_tensor x, const struct td_batch_norm_keywords *keywords);
struct td_group_norm_keywords {
    td_tensor weight, bias;
    double eps;
    TD_KEYWORDS_END
};
/* x (n, channels, ...) normalised for each n and group of channels, then times .weight, plus .bias for each channel. */
TD_API td_tensor td_group_norm(td_tensor x, int64_t groups,
                               const struct td_group_norm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_group_norm_at(td_origin origin, td_tensor x, int64_t groups,
                                  const struct td_group_norm_keywords *keywords);
struct td_instance_norm_keywords {
    td_tensor running_mean, running_var, weight, bias;
    bool use_input_stats;
    double momentum, eps;
    TD_KEYWORDS_END
};
/* td_group_norm with groups of one channel. .momentum (0.1) of the means over n goes into .running_mean and
 * .running_var in place (of the unbiased variance); with .use_input_stats = false (true) these are what x is normalised
 * by, as td_batch_norm does. */
TD_API td_tensor td_instance_norm(td_tensor x, const struct td_instance_norm_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_instance_norm_at(td_origin origin, td_tensor x, const struct td_instance_norm_keywords *keywords);

/* ---- activations and what drops ---- */

struct td_glu_keywords {
    int64_t dim;
    TD_KEYWORDS_END
};
/* The first half of x along .dim (-1) times the sigmoid of the second. */
TD_API td_tensor td_glu(td_tensor x, const struct td_glu_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_glu_at(td_origin origin, td_tensor x, const struct td_glu_keywords *keywords);
/* td_softmax(-x). */
TD_API td_tensor td_softmin(td_tensor x, int64_t dim);
TD_API td_tensor td_softmin_at(td_origin origin, td_tensor x, int64_t dim);
/* x where x > 0, otherwise x times weight: of one element, or one for each channel (dimension 1). */
TD_API td_tensor td_prelu(td_tensor x, td_tensor weight);
TD_API td_tensor td_prelu_at(td_origin origin, td_tensor x, td_tensor weight);
struct td_feature_dropout_keywords {
    double p;
    bool training;
    TD_KEYWORDS_END
};
/* td_dropout of whole channels: x (n, channels, ...). */
TD_API td_tensor td_feature_dropout(td_tensor x, const struct td_feature_dropout_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_feature_dropout_at(td_origin origin, td_tensor x,
                                       const struct td_feature_dropout_keywords *keywords);
struct td_alpha_dropout_keywords {
    double p;
    bool training;
    TD_KEYWORDS_END
};
/* td_dropout that keeps mean 0 and variance 1, as td_selu wants. */
TD_API td_tensor td_alpha_dropout(td_tensor x, const struct td_alpha_dropout_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_alpha_dropout_at(td_origin origin, td_tensor x, const struct td_alpha_dropout_keywords *keywords);

/* Both written into x, which is returned. */
TD_API td_tensor td_feature_dropout_(td_tensor x, const struct td_feature_dropout_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_feature_dropout__at(td_origin origin, td_tensor x,
                                        const struct td_feature_dropout_keywords *keywords);
TD_API td_tensor td_alpha_dropout_(td_tensor x, const struct td_alpha_dropout_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_alpha_dropout__at(td_origin origin, td_tensor x, const struct td_alpha_dropout_keywords *keywords);

/* ---- attention and embeddings ---- */

struct td_scaled_dot_product_attention_keywords {
    td_tensor mask;
    bool is_causal;
    double dropout_p, scale;
    TD_KEYWORDS_END
};
/* softmax(query key^T * scale + mask) value over the last two dimensions. .mask is bool (false: not seen) or added;
 * .is_causal lets no query see a later key; .scale is 1 / sqrt(width) if not given. The scores are never in memory all
 * at once, unless .dropout_p is not 0, or .mask has a gradient, or a graph of the gradient is asked for. */
TD_API td_tensor
td_scaled_dot_product_attention(td_tensor query, td_tensor key, td_tensor value,
                                const struct td_scaled_dot_product_attention_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_scaled_dot_product_attention_at(td_origin origin, td_tensor query, td_tensor key, td_tensor value,
                                                    const struct td_scaled_dot_product_attention_keywords *keywords);
/* Each row of weight that index names, where its norm of power norm_type is greater than max_norm, made smaller to
 * that, outside the graph; returns weight. td_embedding(weight, index, .max_norm = ...) does it before it picks;
 * .norm_type (2). */
TD_API td_tensor td_embedding_renorm_(td_tensor weight, td_tensor index, double max_norm, double norm_type);
TD_API td_tensor td_embedding_renorm__at(td_origin origin, td_tensor weight, td_tensor index, double max_norm,
                                         double norm_type);
struct td_embedding_renormed_keywords {
    int64_t padding_idx;
    bool scale_grad_by_freq;
    double max_norm, norm_type;
    TD_KEYWORDS_END
};
TD_API td_tensor td_embedding_renormed_at(td_origin origin, td_tensor weight, td_tensor index,
                                          const struct td_embedding_renormed_keywords *keywords);
struct td_embedding_bag_keywords {
    int64_t mode;
    td_tensor offsets, per_sample_weights;
    int64_t padding_idx;
    bool scale_grad_by_freq, include_last_offset;
    double max_norm, norm_type;
    TD_KEYWORDS_END
};
/* The sum, the mean or the greatest elements (.mode TD_SUM, TD_MEAN, TD_GREATEST) of the rows of weight at the indices
 * of each bag: a row of index, or of an index of one dimension what lies between one of .offsets and the next.
 * .per_sample_weights, for sums, is of index's shape. Of equal greatest elements the first gets the gradient; nan wins.
 * A bag of nothing is 0. With .include_last_offset the last offset is where the last bag ends. Indices that are
 * .padding_idx, from the end if below 0, are in no bag. .scale_grad_by_freq divides the gradient of each row by how
 * often index names it, .max_norm and .norm_type (2) are td_embedding_renorm_'s. */
TD_API td_tensor td_embedding_bag(td_tensor weight, td_tensor index,
                                  const struct td_embedding_bag_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_embedding_bag_at(td_origin origin, td_tensor weight, td_tensor index,
                                     const struct td_embedding_bag_keywords *keywords);

/* ---- recurrent networks: a cell is one step of a sequence ---- */

struct td_cell_keywords {
    td_tensor b_ih, b_hh;
    TD_KEYWORDS_END
};
/* The next state of x (batch, in) and the state h (batch, hidden), both also without the batch: the activation of
 * x w_ih^T + h w_hh^T, or gates made of them, whose rows stand below each other in w_ih (gates * hidden, in) and w_hh
 * (gates * hidden, hidden). Keywords of all cells: .b_ih, .b_hh (gates * hidden) are added to the two products. */
TD_API td_tensor td_rnn_tanh_cell(td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                                  const struct td_cell_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_rnn_tanh_cell_at(td_origin origin, td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                                     const struct td_cell_keywords *keywords);
TD_API td_tensor td_rnn_relu_cell(td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                                  const struct td_cell_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_rnn_relu_cell_at(td_origin origin, td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                                     const struct td_cell_keywords *keywords);
/* Gates r, z, n: n + (h - n) * z, where n = tanh(xn + r * hn). */
TD_API td_tensor td_gru_cell(td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                             const struct td_cell_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_gru_cell_at(td_origin origin, td_tensor x, td_tensor h, td_tensor w_ih, td_tensor w_hh,
                                const struct td_cell_keywords *keywords);
typedef struct td_lstm_state {
    td_tensor h, c;
} td_lstm_state;
/* Gates i, f, g, o: c becomes f * c + i * g, and h becomes o * tanh(c). */
TD_API td_lstm_state td_lstm_cell(td_tensor x, td_tensor h, td_tensor c, td_tensor w_ih, td_tensor w_hh,
                                  const struct td_cell_keywords *keywords TD_DEFAULT(NULL));
TD_API td_lstm_state td_lstm_cell_at(td_origin origin, td_tensor x, td_tensor h, td_tensor c, td_tensor w_ih,
                                     td_tensor w_hh, const struct td_cell_keywords *keywords);

/* ---- images through windows, and in other sizes ---- */

struct td_im2col_keywords {
    struct td_dims stride, padding, dilation; /* one entry, or two */
    TD_KEYWORDS_END
};
/* What lies under each window of kernel_size that slides over x (batch, channels, height, width), or x without a
 * batch: (batch, channels * elements of a window, windows). PyTorch calls it nn.functional.unfold. */
TD_API td_tensor td_im2col(td_tensor x, struct td_dims kernel_size,
                           const struct td_im2col_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_im2col_at(td_origin origin, td_tensor x, struct td_dims kernel_size,
                              const struct td_im2col_keywords *keywords);
/* The way back: an image of output_size, what windows share added up. PyTorch calls it nn.functional.fold. */
TD_API td_tensor td_col2im(td_tensor x, struct td_dims output_size, struct td_dims kernel_size,
                           const struct td_im2col_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_col2im_at(td_origin origin, td_tensor x, struct td_dims output_size, struct td_dims kernel_size,
                              const struct td_im2col_keywords *keywords);

enum td_interpolation { TD_NEAREST, TD_NEAREST_EXACT, TD_LINEAR, TD_CUBIC, TD_AREA };
struct td_interpolate_keywords {
    struct td_dims size;     /* one entry, or one for each dimension of the image */
    double scale_factor;     /* of all dimensions, instead */
    double scale_factors[3]; /* or one for each: {2, 1.5} */
    enum td_interpolation mode;
    bool align_corners;
    TD_KEYWORDS_END
};
/* x (batch, channels, and 1 to 3 dimensions of an image) in another .size, or .scale_factor times as large: each
 * element is the .mode TD_NEAREST (before the exact place, as PyTorch's nearest; TD_NEAREST_EXACT: to the middle), or
 * between those around it, TD_LINEAR in each dimension or TD_CUBIC in both, or their mean, TD_AREA, as
 * td_adaptive_avg_pool2d's. .align_corners: the first and the last elements stay where they are. A .scale_factor is
 * taken as given, not recomputed from the sizes. */
TD_API td_tensor td_interpolate(td_tensor x, const struct td_interpolate_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_interpolate_at(td_origin origin, td_tensor x, const struct td_interpolate_keywords *keywords);

#ifdef __cplusplus
}
#else
#define td_l1_loss(x, target, ...)                                                             \
    TD_WITH_KEYWORDS(td_tensor,                                                                \
                     td_l1_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target, \
                                   TD_KEYWORDS(td_l1_loss, .reduction = TD_MEAN, .td_keywords_only = 0, __VA_ARGS__)))
#define td_smooth_l1_loss(x, target, ...)                                                                            \
    TD_WITH_KEYWORDS(td_tensor, td_smooth_l1_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target,     \
                                                     TD_KEYWORDS(td_smooth_l1_loss, .reduction = TD_MEAN, .beta = 1, \
                                                                 .td_keywords_only = 0, __VA_ARGS__)))
#define td_huber_loss(x, target, ...)                                                                         \
    TD_WITH_KEYWORDS(td_tensor, td_huber_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target,  \
                                                 TD_KEYWORDS(td_huber_loss, .reduction = TD_MEAN, .delta = 1, \
                                                             .td_keywords_only = 0, __VA_ARGS__)))
#define td_binary_cross_entropy(x, target, ...)                                                             \
    TD_WITH_KEYWORDS(td_tensor,                                                                             \
                     td_binary_cross_entropy_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target, \
                                                TD_KEYWORDS(td_binary_cross_entropy, .reduction = TD_MEAN,  \
                                                            .weight = {0}, .td_keywords_only = 0, __VA_ARGS__)))
#define td_binary_cross_entropy_with_logits(x, target, ...)                                                    \
    TD_WITH_KEYWORDS(td_tensor,                                                                                \
                     td_binary_cross_entropy_with_logits_at(                                                   \
                         TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target,                           \
                         TD_KEYWORDS(td_binary_cross_entropy_with_logits, .reduction = TD_MEAN, .weight = {0}, \
                                     .pos_weight = {0}, .td_keywords_only = 0, __VA_ARGS__)))
#define td_soft_cross_entropy(x, target, ...)                                                                         \
    TD_WITH_KEYWORDS(td_tensor,                                                                                       \
                     td_soft_cross_entropy_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target,             \
                                              TD_KEYWORDS(td_soft_cross_entropy, .reduction = TD_MEAN, .weight = {0}, \
                                                          .label_smoothing = 0, .td_keywords_only = 0, __VA_ARGS__)))
#define td_kl_div(x, target, ...)                                                                              \
    TD_WITH_KEYWORDS(td_tensor, td_kl_div_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target,       \
                                             TD_KEYWORDS(td_kl_div, .reduction = TD_MEAN, .log_target = false, \
                                                         .td_keywords_only = 0, __VA_ARGS__)))
#define td_poisson_nll_loss(x, target, ...)                                                                        \
    TD_WITH_KEYWORDS(td_tensor, td_poisson_nll_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target, \
                                                       TD_KEYWORDS(td_poisson_nll_loss, .reduction = TD_MEAN,      \
                                                                   .log_input = true, .full = false, .eps = 1e-8,  \
                                                                   .td_keywords_only = 0, __VA_ARGS__)))
#define td_gaussian_nll_loss(x, target, variance, ...)                                                                 \
    TD_WITH_KEYWORDS(td_tensor,                                                                                        \
                     td_gaussian_nll_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1) | TD_FRESH(#variance, 2)), \
                                             x, target, variance,                                                      \
                                             TD_KEYWORDS(td_gaussian_nll_loss, .reduction = TD_MEAN, .full = false,    \
                                                         .eps = 1e-6, .td_keywords_only = 0, __VA_ARGS__)))
#define td_hinge_embedding_loss(x, target, ...)                                                             \
    TD_WITH_KEYWORDS(td_tensor,                                                                             \
                     td_hinge_embedding_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target, \
                                                TD_KEYWORDS(td_hinge_embedding_loss, .reduction = TD_MEAN,  \
                                                            .margin = 1, .td_keywords_only = 0, __VA_ARGS__)))
#define td_margin_ranking_loss(x, other, target, ...)                                                                 \
    TD_WITH_KEYWORDS(td_tensor,                                                                                       \
                     td_margin_ranking_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1) | TD_FRESH(#target, 2)), \
                                               x, other, target,                                                      \
                                               TD_KEYWORDS(td_margin_ranking_loss, .reduction = TD_MEAN, .margin = 0, \
                                                           .td_keywords_only = 0, __VA_ARGS__)))
#define td_soft_margin_loss(x, target, ...)                                                                        \
    TD_WITH_KEYWORDS(td_tensor, td_soft_margin_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target, \
                                                       TD_KEYWORDS(td_soft_margin_loss, .reduction = TD_MEAN,      \
                                                                   .td_keywords_only = 0, __VA_ARGS__)))
#define td_triplet_margin_loss(anchor, positive, negative, ...)                                                      \
    TD_WITH_KEYWORDS(td_tensor, td_triplet_margin_loss_at(                                                           \
                                    TD_HERE(TD_FRESH(#anchor, 0) | TD_FRESH(#positive, 1) | TD_FRESH(#negative, 2)), \
                                    anchor, positive, negative,                                                      \
                                    TD_KEYWORDS(td_triplet_margin_loss, .reduction = TD_MEAN, .margin = 1, .p = 2,   \
                                                .eps = 1e-6, .swap = false, .td_keywords_only = 0, __VA_ARGS__)))
#define td_cosine_embedding_loss(x, other, target, ...)                                                               \
    TD_WITH_KEYWORDS(                                                                                                 \
        td_tensor, td_cosine_embedding_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1) | TD_FRESH(#target, 2)), \
                                               x, other, target,                                                      \
                                               TD_KEYWORDS(td_cosine_embedding_loss, .reduction = TD_MEAN,            \
                                                           .margin = 0, .td_keywords_only = 0, __VA_ARGS__)))
#define td_multi_margin_loss(x, target, ...)                                                                        \
    TD_WITH_KEYWORDS(td_tensor, td_multi_margin_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target, \
                                                        TD_KEYWORDS(td_multi_margin_loss, .reduction = TD_MEAN,     \
                                                                    .p = 1, .margin = 1, .weight = {0},             \
                                                                    .td_keywords_only = 0, __VA_ARGS__)))
#define td_multilabel_margin_loss(x, target, ...)                                                              \
    TD_WITH_KEYWORDS(td_tensor,                                                                                \
                     td_multilabel_margin_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target,  \
                                                  TD_KEYWORDS(td_multilabel_margin_loss, .reduction = TD_MEAN, \
                                                              .td_keywords_only = 0, __VA_ARGS__)))
#define td_multilabel_soft_margin_loss(x, target, ...)                                                                 \
    TD_WITH_KEYWORDS(                                                                                                  \
        td_tensor, td_multilabel_soft_margin_loss_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#target, 1)), x, target,       \
                                                     TD_KEYWORDS(td_multilabel_soft_margin_loss, .reduction = TD_MEAN, \
                                                                 .weight = {0}, .td_keywords_only = 0, __VA_ARGS__)))
#define td_normalize(x, ...)                                                                              \
    TD_WITH_KEYWORDS(td_tensor, td_normalize_at(TD_HERE(TD_FRESH(#x, 0)), x,                              \
                                                TD_KEYWORDS(td_normalize, .p = 2, .dim = 1, .eps = 1e-12, \
                                                            .td_keywords_only = 0, __VA_ARGS__)))
#define td_cosine_similarity(x, other, ...)                                                                       \
    TD_WITH_KEYWORDS(td_tensor, td_cosine_similarity_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, other, \
                                                        TD_KEYWORDS(td_cosine_similarity, .dim = 1, .eps = 1e-8,  \
                                                                    .td_keywords_only = 0, __VA_ARGS__)))
#define td_batch_norm(x, ...)                                                                                     \
    TD_WITH_KEYWORDS(td_tensor,                                                                                   \
                     td_batch_norm_at(TD_HERE(TD_FRESH(#x, 0)), x,                                                \
                                      TD_KEYWORDS(td_batch_norm, .running_mean = {0}, .running_var = {0},         \
                                                  .weight = {0}, .bias = {0}, .training = false, .momentum = 0.1, \
                                                  .eps = 1e-5, .td_keywords_only = 0, __VA_ARGS__)))
#define td_group_norm(x, groups, ...)                                                                                \
    TD_WITH_KEYWORDS(td_tensor, td_group_norm_at(TD_HERE(TD_FRESH(#x, 0)), x, groups,                                \
                                                 TD_KEYWORDS(td_group_norm, .weight = {0}, .bias = {0}, .eps = 1e-5, \
                                                             .td_keywords_only = 0, __VA_ARGS__)))
#define td_instance_norm(x, ...)                                                                              \
    TD_WITH_KEYWORDS(                                                                                         \
        td_tensor, td_instance_norm_at(TD_HERE(TD_FRESH(#x, 0)), x,                                           \
                                       TD_KEYWORDS(td_instance_norm, .running_mean = {0}, .running_var = {0}, \
                                                   .weight = {0}, .bias = {0}, .use_input_stats = true,       \
                                                   .momentum = 0.1, .eps = 1e-5, .td_keywords_only = 0, __VA_ARGS__)))
#define td_glu(x, ...)                                                 \
    TD_WITH_KEYWORDS(td_tensor, td_glu_at(TD_HERE(TD_FRESH(#x, 0)), x, \
                                          TD_KEYWORDS(td_glu, .dim = -1, .td_keywords_only = 0, __VA_ARGS__)))
#define td_softmin(x, dim) td_softmin_at(TD_HERE(TD_FRESH(#x, 0)), x, dim)
#define td_prelu(x, weight) td_prelu_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#weight, 1)), x, weight)
#define td_feature_dropout(x, ...)                                                                                \
    TD_WITH_KEYWORDS(td_tensor, td_feature_dropout_at(TD_HERE(TD_FRESH(#x, 0)), x,                                \
                                                      TD_KEYWORDS(td_feature_dropout, .p = 0.5, .training = true, \
                                                                  .td_keywords_only = 0, __VA_ARGS__)))
#define td_alpha_dropout(x, ...)                                                                              \
    TD_WITH_KEYWORDS(td_tensor, td_alpha_dropout_at(TD_HERE(TD_FRESH(#x, 0)), x,                              \
                                                    TD_KEYWORDS(td_alpha_dropout, .p = 0.5, .training = true, \
                                                                .td_keywords_only = 0, __VA_ARGS__)))
#define td_feature_dropout_(x, ...)                                                                                \
    TD_WITH_KEYWORDS(td_tensor, td_feature_dropout__at(TD_HERE(TD_FRESH(#x, 0)), x,                                \
                                                       TD_KEYWORDS(td_feature_dropout, .p = 0.5, .training = true, \
                                                                   .td_keywords_only = 0, __VA_ARGS__)))
#define td_alpha_dropout_(x, ...)                                                                              \
    TD_WITH_KEYWORDS(td_tensor, td_alpha_dropout__at(TD_HERE(TD_FRESH(#x, 0)), x,                              \
                                                     TD_KEYWORDS(td_alpha_dropout, .p = 0.5, .training = true, \
                                                                 .td_keywords_only = 0, __VA_ARGS__)))
#define td_scaled_dot_product_attention(query, key, value, ...)                                                        \
    TD_WITH_KEYWORDS(td_tensor,                                                                                        \
                     td_scaled_dot_product_attention_at(                                                               \
                         TD_HERE(TD_FRESH(#query, 0) | TD_FRESH(#key, 1) | TD_FRESH(#value, 2)), query, key, value,    \
                         TD_KEYWORDS(td_scaled_dot_product_attention, .mask = {0}, .is_causal = false, .dropout_p = 0, \
                                     .scale = 0, .td_keywords_only = 0, __VA_ARGS__)))
#define td_embedding_bag(weight, index, ...)                                                                          \
    TD_WITH_KEYWORDS(                                                                                                 \
        td_tensor,                                                                                                    \
        td_embedding_bag_at(TD_HERE(TD_FRESH(#weight, 0) | TD_FRESH(#index, 1)), weight, index,                       \
                            TD_KEYWORDS(td_embedding_bag, .mode = TD_MEAN, .offsets = {0}, .per_sample_weights = {0}, \
                                        .padding_idx = INT64_MIN, .scale_grad_by_freq = false,                        \
                                        .include_last_offset = false, .max_norm = __builtin_inf(), .norm_type = 2,    \
                                        .td_keywords_only = 0, __VA_ARGS__)))
#undef td_embedding /* that of ops has no rows brought back */
#define td_embedding(weight, index, ...)                                                                            \
    TD_WITH_KEYWORDS(td_tensor,                                                                                     \
                     td_embedding_renormed_at(TD_HERE(TD_FRESH(#weight, 0) | TD_FRESH(#index, 1)), weight, index,   \
                                              TD_KEYWORDS(td_embedding_renormed, .padding_idx = INT64_MIN,          \
                                                          .scale_grad_by_freq = false, .max_norm = __builtin_inf(), \
                                                          .norm_type = 2, .td_keywords_only = 0, __VA_ARGS__)))
#define td_embedding_renorm_(weight, index, max_norm, norm_type) \
    td_embedding_renorm__at(TD_HERE(TD_FRESH(#weight, 0) | TD_FRESH(#index, 1)), weight, index, max_norm, norm_type)
#define TD_CELL(at, x_text, h_text, x, h, w_ih, w_hh, ...)         \
    TD_WITH_KEYWORDS(td_tensor,                                    \
                     at(TD_PAIR(x_text, h_text), x, h, w_ih, w_hh, \
                        TD_KEYWORDS(td_cell, .b_ih = {0}, .b_hh = {0}, .td_keywords_only = 0, __VA_ARGS__)))
#define td_rnn_tanh_cell(x, h, w_ih, w_hh, ...) TD_CELL(td_rnn_tanh_cell_at, #x, #h, x, h, w_ih, w_hh, __VA_ARGS__)
#define td_rnn_relu_cell(x, h, w_ih, w_hh, ...) TD_CELL(td_rnn_relu_cell_at, #x, #h, x, h, w_ih, w_hh, __VA_ARGS__)
#define td_gru_cell(x, h, w_ih, w_hh, ...) TD_CELL(td_gru_cell_at, #x, #h, x, h, w_ih, w_hh, __VA_ARGS__)
#define td_lstm_cell(x, h, c, w_ih, w_hh, ...)                                                             \
    TD_WITH_KEYWORDS(                                                                                      \
        td_lstm_state,                                                                                     \
        td_lstm_cell_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#h, 1) | TD_FRESH(#c, 2)), x, h, c, w_ih, w_hh, \
                        TD_KEYWORDS(td_cell, .b_ih = {0}, .b_hh = {0}, .td_keywords_only = 0, __VA_ARGS__)))
#define td_im2col(x, kernel_size, ...)                                                                         \
    TD_WITH_KEYWORDS(td_tensor, td_im2col_at(TD_HERE(TD_FRESH(#x, 0)), x, kernel_size,                         \
                                             TD_KEYWORDS(td_im2col, .stride = {-1, {0}}, .padding = {-1, {0}}, \
                                                         .dilation = {-1, {0}}, .td_keywords_only = 0, __VA_ARGS__)))
#define td_col2im(x, output_size, kernel_size, ...)                                                            \
    TD_WITH_KEYWORDS(td_tensor, td_col2im_at(TD_HERE(TD_FRESH(#x, 0)), x, output_size, kernel_size,            \
                                             TD_KEYWORDS(td_im2col, .stride = {-1, {0}}, .padding = {-1, {0}}, \
                                                         .dilation = {-1, {0}}, .td_keywords_only = 0, __VA_ARGS__)))
#define td_interpolate(x, ...)                                                                                       \
    TD_WITH_KEYWORDS(td_tensor,                                                                                      \
                     td_interpolate_at(TD_HERE(TD_FRESH(#x, 0)), x,                                                  \
                                       TD_KEYWORDS(td_interpolate, .size = {-1, {0}}, .scale_factor = 0,             \
                                                   .scale_factors = {0}, .mode = TD_NEAREST, .align_corners = false, \
                                                   .td_keywords_only = 0, __VA_ARGS__)))
#endif

#endif
