/* The functions of client/tensord_nn.h against PyTorch (golden/composites.txt, by composites.py): results, and the
 * gradient of every tensor. SPDX-License-Identifier: Apache-2.0 */
#include "tests/library.h"

#include <math.h>

#define NUMBERS 256

/* A call's tensors, in the order in which their gradients stand in the file. */
static td_tensor drawn_[8];
static int drawn_count;

/* Thirteen numbers in turn between low and high. */
static td_tensor draw(struct td_dims shape, int k, double low, double high)
{
    double some[NUMBERS];
    int64_t count = 1;
    for (int64_t d = 0; d < shape.count; d++)
        count *= shape.v[d];
    for (int64_t i = 0; i < count; i++)
        some[i] = low + (high - low) * (double)((i * 7 + k * 5) % 13) / 13;
    return drawn_[drawn_count++] = td_from(s, some, TD_F64, shape, .requires_grad = true);
}

static td_tensor x(int k)
{
    return draw(TD_SHAPE(4, 3), k, -1.5, 1.5);
}
static td_tensor chances(int k)
{
    return draw(TD_SHAPE(4, 3), k, 0.0625, 0.9375);
}
static td_tensor image(void)
{
    return draw(TD_SHAPE(2, 4, 3), 1, -1.5, 1.5);
}
static td_tensor row(int k)
{
    return draw(TD_SHAPE(4), k, 0.25, 2);
}
static td_tensor constant(int64_t count, const double *values)
{
    return td_from(s, values, TD_F64, TD_SHAPE(count));
}
static td_tensor signs(bool column)
{
    td_tensor row = constant(4, (const double[]){1, -1, -1, 1});
    return column ? td_expand(td_reshape(row, TD_SHAPE(4, 1)), TD_SHAPE(4, 3)) : row;
}
static td_tensor places(void)
{
    return td_from(s, ((const int64_t[]){0, 2, 1, 2}), TD_I64, TD_SHAPE(4));
}
static td_tensor bags(struct td_dims shape)
{
    return td_from(s, ((const int64_t[]){0, 3, 1, 1, 2, 0}), TD_I64, shape);
}
static td_tensor count_up(void)
{
    return constant(3, (const double[]){0, 1, 2});
}
static td_tensor class_weights(void)
{
    return constant(3, (const double[]){1, 2, 0.5});
}

static td_tensor batch_norm(bool training)
{
    td_tensor mean = constant(4, (const double[]){0.5, -0.25, 0, 1}),
              var = constant(4, (const double[]){1, 0.5, 2, 0.25});
    td_tensor a = image(), w = row(1), b = row(2);
    td_tensor y = td_batch_norm(a, .running_mean = mean, .running_var = var, .weight = w, .bias = b,
                                .training = training, .momentum = 0.25);
    return td_cat(TD_LIST(td_reshape(y, TD_SHAPE(-1)), mean, var));
}

static td_tensor instance_norm(bool of_input)
{
    td_tensor mean = constant(4, (const double[]){0.5, -0.25, 0, 1}),
              var = constant(4, (const double[]){1, 0.5, 2, 0.25});
    td_tensor a = image(), w = row(1), b = row(2);
    td_tensor y = td_instance_norm(a, .running_mean = mean, .running_var = var, .weight = w, .bias = b,
                                   .use_input_stats = of_input, .momentum = 0.25);
    return td_cat(TD_LIST(td_reshape(y, TD_SHAPE(-1)), mean, var));
}
static td_tensor labels(void)
{
    return td_from(s, ((const int64_t[]){0, 2, -1, -1, 1, 2, 1, -1, 0, 0, 1, 2}), TD_I64, TD_SHAPE(4, 3));
}

/* A case's tensors are drawn first and in order: that of arguments is the compiler's. */
#define A a = x(0)
#define AB(k) a = x(0), b = x(k)
#define P a = chances(0), b = chances(1)
#define LP a = x(0), b = chances(1)
#define QKV                                                                               \
    q = draw(TD_SHAPE(2, 3, 5), 0, -1.5, 1.5), k = draw(TD_SHAPE(2, 4, 5), 1, -1.5, 1.5), \
    v = draw(TD_SHAPE(2, 4, 2), 2, -1.5, 1.5)

#define CASES(CASE)                                                                                                    \
    CASE(l1_loss, AB(2), td_l1_loss(a, b))                                                                             \
    CASE(l1_loss_none, AB(2), td_l1_loss(a, b, .reduction = TD_NONE))                                                  \
    CASE(smooth_l1_loss, AB(2), td_smooth_l1_loss(a, b, .beta = 0.5))                                                  \
    CASE(smooth_l1_loss_0, AB(2), td_smooth_l1_loss(a, b, .beta = 0))                                                  \
    CASE(huber_loss, AB(2), td_huber_loss(a, b, .delta = 0.75, .reduction = TD_SUM))                                   \
    CASE(binary_cross_entropy, P, td_binary_cross_entropy(a, b))                                                       \
    CASE(binary_cross_entropy_weight, P, td_binary_cross_entropy(a, b, .weight = count_up(), .reduction = TD_NONE))    \
    CASE(binary_cross_entropy_with_logits, LP, td_binary_cross_entropy_with_logits(a, b))                              \
    CASE(                                                                                                              \
        binary_cross_entropy_with_logits_weights, LP,                                                                  \
        td_binary_cross_entropy_with_logits(a, b, .weight = count_up(), .pos_weight = td_flip(flipped(), TD_DIMS(0)))) \
    CASE(binary_cross_entropy_with_logits_0, LP,                                                                       \
         td_binary_cross_entropy_with_logits(td_mul(a, 0), b, .reduction = TD_SUM))                                    \
    CASE(soft_cross_entropy, CLASSES, td_soft_cross_entropy(a, b, .weight = class_weights(), .label_smoothing = 0.25)) \
    CASE(kl_div, KL, td_kl_div(a, b))                                                                                  \
    CASE(kl_div_0, A, td_kl_div(a, td_eye(s, 4, .m = 3, .dtype = TD_F64), .reduction = TD_SUM))                        \
    CASE(kl_div_log_target, AB(4), td_kl_div(a, b, .log_target = true, .reduction = TD_NONE))                          \
    CASE(poisson_nll_loss, COUNTS, td_poisson_nll_loss(a, b))                                                          \
    CASE(poisson_nll_loss_full, C0, td_poisson_nll_loss(a, known_counts(), .log_input = false, .full = true))          \
    CASE(gaussian_nll_loss, ABV, td_gaussian_nll_loss(a, b, c, .full = true, .eps = 0.25))                             \
    CASE(hinge_embedding_loss, A, td_hinge_embedding_loss(a, signs(true), .margin = 0.75))                             \
    CASE(margin_ranking_loss, ROWS, td_margin_ranking_loss(a, b, signs(false), .margin = 0.25))                        \
    CASE(soft_margin_loss, A, td_soft_margin_loss(a, signs(true)))                                                     \
    CASE(triplet_margin_loss, ABC, td_triplet_margin_loss(a, b, c))                                                    \
    CASE(triplet_margin_loss_swap, ABC,                                                                                \
         td_triplet_margin_loss(a, b, c, .margin = 2, .p = 3, .swap = true, .reduction = TD_SUM))                      \
    CASE(cosine_embedding_loss, AB(2), td_cosine_embedding_loss(a, b, signs(false), .margin = 0.125))                  \
    CASE(multi_margin_loss, A, td_multi_margin_loss(a, places()))                                                      \
    CASE(multi_margin_loss_weight, A,                                                                                  \
         td_multi_margin_loss(a, places(), .p = 2, .margin = 0.5, .weight = class_weights(), .reduction = TD_NONE))    \
    CASE(multilabel_margin_loss, A, td_multilabel_margin_loss(a, labels()))                                            \
    CASE(multilabel_margin_loss_none, A, td_multilabel_margin_loss(a, labels(), .reduction = TD_NONE))                 \
    CASE(multilabel_soft_margin_loss, AP, td_multilabel_soft_margin_loss(a, b, .weight = class_weights()))             \
    CASE(normalize, A, td_normalize(a))                                                                                \
    CASE(normalize_0, A, td_normalize(td_mul(a, constant(3, (const double[]){1, 0, 1})), .p = 1, .dim = 0))            \
    CASE(cosine_similarity, AB(3), td_cosine_similarity(a, b))                                                         \
    CASE(cosine_similarity_0, AB(3), td_cosine_similarity(a, b, .dim = 0, .eps = 1.5))                                 \
    CASE(batch_norm, NOTHING, batch_norm(true))                                                                        \
    CASE(batch_norm_eval, NOTHING, batch_norm(false))                                                                  \
    CASE(batch_norm_plain, IMAGE, td_batch_norm(a, .training = true))                                                  \
    CASE(group_norm, IMAGE2, td_group_norm(a, 2, .weight = b, .bias = c))                                              \
    CASE(group_norm_weight, IMAGE1, td_group_norm(a, 4, .weight = b))                                                  \
    CASE(instance_norm, IMAGE2, td_instance_norm(a, .weight = b, .bias = c))                                           \
    CASE(instance_norm_running, NOTHING, instance_norm(true))                                                          \
    CASE(instance_norm_eval, NOTHING, instance_norm(false))                                                            \
    CASE(glu, HALVES, td_glu(a))                                                                                       \
    CASE(glu_0, A, td_glu(a, .dim = 0))                                                                                \
    CASE(softmin, A, td_softmin(a, 1))                                                                                 \
    CASE(prelu, IMAGE1B, td_prelu(a, b))                                                                               \
    CASE(prelu_one, SLOPE, td_prelu(a, b))                                                                             \
    CASE(attention, QKV, td_scaled_dot_product_attention(q, k, v))                                                     \
    CASE(attention_causal, QKV, td_scaled_dot_product_attention(q, k, v, .is_causal = true, .scale = 0.5))             \
    CASE(attention_bool, QKV, td_scaled_dot_product_attention(q, k, v, .mask = seen()))                                \
    CASE(attention_mask, QKVM, td_scaled_dot_product_attention(q, k, v, .mask = m))                                    \
    CASE(embedding_bag, A, td_embedding_bag(a, bags(TD_SHAPE(2, 3))))                                                  \
    CASE(embedding_bag_sum, SIX(2, 3),                                                                                 \
         td_embedding_bag(a, bags(TD_SHAPE(2, 3)), .mode = TD_SUM, .per_sample_weights = b))                           \
    CASE(embedding_bag_offsets, A,                                                                                     \
         td_embedding_bag(a, bags(TD_SHAPE(6)), .offsets = offsets(5, (const int64_t[]){0, 2, 2, 5, 6})))              \
    CASE(embedding_bag_weights, SIX(6),                                                                                \
         td_embedding_bag(a, bags(TD_SHAPE(6)), .offsets = offsets(2, (const int64_t[]){0, 4}), .mode = TD_SUM,        \
                          .per_sample_weights = b))                                                                    \
    CASE(im2col, PICTURE, td_im2col(a, TD_SHAPE(2)))                                                                   \
    CASE(im2col_sizes, PICTURE, td_im2col(a, TD_SHAPE(2, 3), UNEVEN))                                                  \
    CASE(col2im, COLUMNS(1, 8, 6), td_col2im(a, TD_SHAPE(3, 4), TD_SHAPE(2)))                                          \
    CASE(col2im_sizes, COLUMNS(1, 6, 8), td_col2im(a, TD_SHAPE(3, 4), TD_SHAPE(2, 3), UNEVEN))                         \
    CASE(col2im_plain, COLUMNS(4, 6), td_col2im(a, TD_SHAPE(3, 4), TD_SHAPE(2), .stride = TD_SHAPE(1)))                \
    CASE(nearest, PICTURE, td_interpolate(a, .size = TD_SHAPE(5, 3)))                                                  \
    CASE(nearest_scale, IMAGE, td_interpolate(a, .scale_factor = 1.7))                                                 \
    CASE(nearest_exact, PICTURE, td_interpolate(a, .size = TD_SHAPE(5, 3), .mode = TD_NEAREST_EXACT))                  \
    CASE(linear, IMAGE, td_interpolate(a, .size = TD_SHAPE(7), .mode = TD_LINEAR))                                     \
    CASE(linear_scale, LONG, td_interpolate(a, .scale_factor = 0.8, .mode = TD_LINEAR))                                \
    CASE(linear_corners, IMAGE, td_interpolate(a, .size = TD_SHAPE(7), .mode = TD_LINEAR, .align_corners = true))      \
    CASE(bilinear, PICTURE, td_interpolate(a, .size = TD_SHAPE(5, 3), .mode = TD_LINEAR))                              \
    CASE(bilinear_scale, PICTURE, td_interpolate(a, .scale_factor = 1.7, .mode = TD_LINEAR))                           \
    CASE(bilinear_corners, PICTURE,                                                                                    \
         td_interpolate(a, .size = TD_SHAPE(1, 6), .mode = TD_LINEAR, .align_corners = true))                          \
    CASE(trilinear, VOLUME, td_interpolate(a, .size = TD_SHAPE(3, 2, 4), .mode = TD_LINEAR))                           \
    CASE(bicubic, PICTURE, td_interpolate(a, .size = TD_SHAPE(5, 3), .mode = TD_CUBIC))                                \
    CASE(bicubic_scale, PICTURE, td_interpolate(a, .scale_factor = 1.7, .mode = TD_CUBIC))                             \
    CASE(bicubic_corners, PICTURE, td_interpolate(a, .size = TD_SHAPE(5, 7), .mode = TD_CUBIC, .align_corners = true)) \
    CASE(kl_div_batchmean, KL, td_kl_div(a, b, .reduction = TD_BATCHMEAN))                                             \
    CASE(cross_entropy_of_chances, CLASSES,                                                                            \
         td_cross_entropy(a, b, .weight = class_weights(), .label_smoothing = 0.25, .reduction = TD_SUM))              \
    CASE(cross_entropy_of_classes, A, td_cross_entropy(a, places(), .weight = class_weights()))                        \
    CASE(embedding_bag_max, A, td_embedding_bag(a, bags(TD_SHAPE(2, 3)), .mode = TD_GREATEST))                         \
    CASE(embedding_bag_max_offsets, A,                                                                                 \
         td_embedding_bag(a, bags(TD_SHAPE(6)), .offsets = offsets(5, (const int64_t[]){0, 2, 2, 5, 6}),               \
                          .mode = TD_GREATEST))                                                                        \
    CASE(area, PICTURE, td_interpolate(a, .size = TD_SHAPE(5, 3), .mode = TD_AREA))                                    \
    CASE(area_scale, LONG, td_interpolate(a, .scale_factor = 0.8, .mode = TD_AREA))                                    \
    CASE(area_3d, VOLUME, td_interpolate(a, .scale_factors = {1.5, 0.7, 2}, .mode = TD_AREA))                          \
    CASE(nearest_scales, PICTURE, td_interpolate(a, .scale_factors = {1.7, 0.6}))                                      \
    CASE(bilinear_scales, PICTURE, td_interpolate(a, .scale_factors = {1.7, 0.6}, .mode = TD_LINEAR))                  \
    CASE(bicubic_scales, PICTURE, td_interpolate(a, .scale_factors = {0.7, 1.6}, .mode = TD_CUBIC))                    \
    CASE(matrix_norm, IMAGE, td_matrix_norm(a))                                                                        \
    CASE(matrix_norm_nuclear, IMAGE, td_matrix_norm(a, .ord = TD_NUCLEAR))                                             \
    CASE(matrix_norm_1, IMAGE, td_matrix_norm(a, .ord = 1))                                                            \
    CASE(matrix_norm_less_1, IMAGE, td_matrix_norm(a, .ord = -1, .dims = TD_DIMS(0, 2)))                               \
    CASE(matrix_norm_2, IMAGE, td_matrix_norm(a, .ord = 2, .dims = TD_DIMS(2, 0)))                                     \
    CASE(matrix_norm_less_2, IMAGE, td_matrix_norm(a, .ord = -2))                                                      \
    CASE(matrix_norm_inf, IMAGE,                                                                                       \
         td_mul(td_matrix_norm(a, .ord = INFINITY, .dims = TD_DIMS(1, 0), .keepdim = true),                            \
                constant(3, (const double[]){1, 2, 3})))                                                               \
    CASE(matrix_norm_less_inf, IMAGE, td_matrix_norm(a, .ord = -INFINITY))                                             \
    CASE(masked_scatter_, NINE, td_mul(scattered(a, b), a))                                                            \
    CASE(rnn_tanh_cell, CELL(1), td_rnn_tanh_cell(a, h, w, u, .b_ih = p, .b_hh = q))                                   \
    CASE(rnn_relu_cell, CELL(1), td_rnn_relu_cell(a, h, w, u, .b_ih = p, .b_hh = q))                                   \
    CASE(gru_cell, CELL(3), td_gru_cell(a, h, w, u, .b_ih = p, .b_hh = q))                                             \
    CASE(gru_cell_plain, WEIGHTS(3), td_gru_cell(a, h, w, u))                                                          \
    CASE(lstm_cell, LSTM, both_of(td_lstm_cell(a, h, c, w, u, .b_ih = p, .b_hh = q)))                                  \
    CASE(lstm_cell_row, LSTM_ROW, both_of(td_lstm_cell(a, h, c, w, u, .b_ih = p)))                                     \
    CASE(index_add_, AB(2), td_index_add_(td_clone(a), 0, places(), b))                                                \
    CASE(index_copy_, AB(2), td_index_copy_(td_clone(a), 1, td_index(places(), TD_RANGE(0, 3, 1)), b))                 \
    CASE(index_fill_, A, td_index_fill_(td_clone(a), 0, places(), 2.5))                                                \
    CASE(scatter_, AB(2), td_scatter_(td_clone(a), 1, td_unsqueeze(places(), 1), td_narrow(b, 1, 0, 1)))               \
    CASE(scatter_add_, AB(2), td_scatter_add_(td_clone(a), 1, td_unsqueeze(places(), 1), td_narrow(b, 1, 0, 1)))       \
    CASE(scatter_reduce_, AB(2),                                                                                       \
         td_scatter_reduce_(td_clone(a), 1, td_unsqueeze(places(), 1), td_narrow(b, 1, 0, 1), TD_BY_MEAN))             \
    CASE(cumsum_, A, td_cumsum_(td_clone(a), 0))                                                                       \
    CASE(cumprod_, A, td_cumprod_(td_clone(a), 1))                                                                     \
    CASE(tril_, A, td_tril_(td_clone(a)))                                                                              \
    CASE(triu_, A, td_triu_(td_clone(a), .diagonal = -1))                                                              \
    CASE(polygamma_, C0, td_polygamma_(2, td_clone(a)))                                                                \
    CASE(zero_, A, td_add(td_zero_(td_clone(a)), a))                                                                   \
    CASE(true_divide_, AP, td_true_divide_(td_clone(a), b))                                                            \
    CASE(float_power_, P, td_float_power_(td_clone(a), b))                                                             \
    CASE(ldexp_, AB(2), td_ldexp_(td_clone(a), b))                                                                     \
    CASE(deg2rad_, A, td_deg2rad_(td_clone(a)))                                                                        \
    CASE(rad2deg_, A, td_rad2deg_(td_clone(a)))                                                                        \
    CASE(sgn_, A, td_mul(td_sgn_(td_clone(a)), a))                                                                     \
    CASE(clamp_min_, AB(2), td_clamp_min_(td_clone(a), b))                                                             \
    CASE(clamp_max_, A, td_clamp_max_(td_clone(a), 0.25))                                                              \
    CASE(clamp_between_, ABC, td_clamp_between_(td_clone(a), b, c))                                                    \
    CASE(addmm_, MATRICES, td_addmm_(td_clone(a), b, c, .beta = 0.5, .alpha = 2))                                      \
    CASE(baddbmm_, BATCHES, td_baddbmm_(td_clone(a), b, c))                                                            \
    CASE(addmv_, VECTOR, td_addmv_(td_clone(a), b, c, .beta = 0.5, .alpha = 2))                                        \
    CASE(addr_, VECTORS, td_addr_(td_clone(a), b, c, .beta = 0.5, .alpha = 2))                                         \
    CASE(addbmm_, BATCH, td_addbmm_(td_clone(a), b, c))                                                                \
    CASE(renorm_, A, td_renorm_(td_clone(a), 2, 1, 2))                                                                 \
    CASE(renorm_1, IMAGE, td_renorm(a, 1, 0, 1.5))                                                                     \
    CASE(repeat_interleave, A, td_repeat_interleave(a, places(), .dim = 0))                                            \
    CASE(repeat_interleave_all, A, td_repeat_interleave(a, td_from(s, ((const int64_t[]){2}), TD_I64, TD_SHAPE(1))))   \
    CASE(fill_diagonal_, TALL, td_fill_diagonal_(td_clone(a), 2))                                                      \
    CASE(fill_diagonal_wrap, TALL, td_fill_diagonal_(td_clone(a), 2, .wrap = true))                                    \
    CASE(fill_diagonal_cube, CUBE, td_fill_diagonal_(td_transpose(td_clone(a), 0, 1), -1))
#define WEIGHTS(gates)                                                                                  \
    a = x(0), h = draw(TD_SHAPE(4, 2), 1, -1.5, 1.5), w = draw(TD_SHAPE(2 * (gates), 3), 2, -1.5, 1.5), \
    u = draw(TD_SHAPE(2 * (gates), 2), 3, -1.5, 1.5)
#define BIAS(gates, k) draw(TD_SHAPE(2 * (gates)), k, -1.5, 1.5)
#define CELL(gates) WEIGHTS(gates), p = BIAS(gates, 4), q = BIAS(gates, 5)
#define LSTM CELL(4), c = draw(TD_SHAPE(4, 2), 6, -1.5, 1.5)
#define LSTM_ROW                                                                                                      \
    a = draw(TD_SHAPE(3), 0, -1.5, 1.5), h = draw(TD_SHAPE(2), 1, -1.5, 1.5), w = draw(TD_SHAPE(8, 3), 2, -1.5, 1.5), \
    u = draw(TD_SHAPE(8, 2), 3, -1.5, 1.5), p = BIAS(4, 4), c = draw(TD_SHAPE(2), 6, -1.5, 1.5)
#define AP a = x(0), b = chances(1)
#define MATRICES a = x(0), b = draw(TD_SHAPE(4, 2), 1, -1.5, 1.5), c = draw(TD_SHAPE(2, 3), 2, -1.5, 1.5)
#define BATCHES a = image(), b = draw(TD_SHAPE(2, 4, 5), 2, -1.5, 1.5), c = draw(TD_SHAPE(2, 5, 3), 3, -1.5, 1.5)
#define BATCH a = x(0), b = draw(TD_SHAPE(2, 4, 5), 2, -1.5, 1.5), c = draw(TD_SHAPE(2, 5, 3), 3, -1.5, 1.5)
#define VECTOR \
    a = draw(TD_SHAPE(4), 1, -1.5, 1.5), b = draw(TD_SHAPE(4, 2), 2, -1.5, 1.5), c = draw(TD_SHAPE(2), 3, -1.5, 1.5)
#define VECTORS a = x(0), b = draw(TD_SHAPE(4), 2, -1.5, 1.5), c = draw(TD_SHAPE(3), 3, -1.5, 1.5)
#define TALL a = draw(TD_SHAPE(9, 3), 1, -1.5, 1.5)
#define CUBE a = draw(TD_SHAPE(3, 3, 3), 1, -1.5, 1.5)
#define PICTURE a = draw(TD_SHAPE(1, 2, 3, 4), 1, -1.5, 1.5)
#define COLUMNS(...) a = draw(TD_SHAPE(__VA_ARGS__), 2, -1.5, 1.5)
#define LONG a = draw(TD_SHAPE(1, 2, 9), 1, -1.5, 1.5)
#define VOLUME a = draw(TD_SHAPE(1, 1, 2, 3, 3), 1, -1.5, 1.5)
#define UNEVEN .stride = TD_SHAPE(2, 1), .padding = TD_SHAPE(1, 2), .dilation = TD_SHAPE(1, 2)
#define NOTHING nothing __attribute__((unused))
#define CLASSES a = x(0), b = chances(3)
#define KL a = x(0), b = chances(0)
#define COUNTS a = x(0), b = draw(TD_SHAPE(4, 3), 2, 0, 4)
#define C0 a = chances(0)
#define ABV a = x(0), b = x(1), c = chances(0)
#define ABC a = x(0), b = x(1), c = x(2)
#define ROWS a = row(0), b = row(3)
#define IMAGE a = image()
#define IMAGE1 a = image(), b = row(1)
#define IMAGE1B a = image(), b = row(2)
#define IMAGE2 a = image(), b = row(1), c = row(2)
#define HALVES a = draw(TD_SHAPE(3, 4), 1, -1.5, 1.5)
#define SLOPE a = x(0), b = draw(TD_SHAPE(1), 2, -1.5, 1.5)
#define NINE a = x(0), b = draw(TD_SHAPE(9), 2, -1.5, 1.5)
#define QKVM QKV, m = draw(TD_SHAPE(3, 4), 3, -1.5, 1.5)
#define SIX(...) a = x(0), b = draw(TD_SHAPE(__VA_ARGS__), 1, -1.5, 1.5)

static td_tensor flipped(void)
{
    return constant(3, (const double[]){0.5, 1, 2});
}
static td_tensor known_counts(void)
{
    td_tensor counts = draw(TD_SHAPE(4, 3), 2, 0, 4);
    drawn_count--;
    return td_detach(counts);
}
static td_tensor seen(void)
{
    return td_from(s, ((const bool[]){true, false, true, true, true, true, false, true, false, true, true, true}),
                   TD_BOOL, TD_SHAPE(3, 4));
}
static td_tensor scattered(td_tensor a, td_tensor b)
{
    td_tensor y = td_clone(a), mask = td_from(s, ((const bool[]){true, false, true}), TD_BOOL, TD_SHAPE(3));
    td_masked_scatter_(y, mask, b);
    td_release(mask);
    return y;
}
static td_tensor both_of(td_lstm_state state)
{
    return td_stack(TD_LIST(td_take(state.h), td_take(state.c)));
}
static td_tensor offsets(int64_t count, const int64_t *values)
{
    return td_from(s, values, TD_I64, TD_SHAPE(count));
}

#define FUNCTION(name, tensors, call) \
    static td_tensor run_##name(void) \
    {                                 \
        td_tensor tensors;            \
        return call;                  \
    }
CASES(FUNCTION)

#define ROW(name, tensors, call) {#name, run_##name},
static const struct {
    const char *name;
    td_tensor (*run)(void);
} cases[] = {CASES(ROW)};

static void compare(const char *name, const char *what, td_tensor value, char **at)
{
    double found[NUMBERS];
    int64_t count = td_read(value, found, TD_F64, NUMBERS);
    if (count < 0)
        fail_msg("%s: %s: %s", name, what, td_error(s)->message);
    for (int64_t i = 0; i < count; i++) {
        double want = strtod(*at, at);
        if (!(fabs(found[i] - want) <= 1e-12 * (1 + fabs(want))))
            fail_msg("%s: %s[%d] is %.17g where %.17g is due", name, what, (int)i, found[i], want);
    }
}

static void check(int k, char *at)
{
    double seed[NUMBERS];
    drawn_count = 0;
    int64_t before = td_tensor_count(s);
    td_tensor y = cases[k].run();
    compare(cases[k].name, "result", y, &at);
    for (int i = 0; i < NUMBERS; i++)
        seed[i] = 1 + i / 8.0;
    td_layout layout = td_layout_of(y);
    struct td_dims shape = {.count = layout.rank};
    for (int d = 0; d < layout.rank; d++)
        shape.v[d] = layout.shape[d];
    td_backward(y, .seed = td_from(s, seed, TD_F64, shape));
    for (int g = 0; g < drawn_count; g++) {
        char what[32];
        snprintf(what, sizeof what, "gradient %d", g);
        compare(cases[k].name, what, td_grad(drawn_[g]), &at);
    }
    if (strspn(at, " \n") != strlen(at))
        fail_msg("%s: more is due: %s", cases[k].name, at);
    assert_true(td_tensor_count(s) - before <= 2 * drawn_count + 5); /* nothing made on the way is left */
}

static void as_pytorch(void **state)
{
    (void)state;
    char path[512], *line = NULL, *at;
    const char *folder = getenv("TENSORD_GOLDEN");
    size_t size = 0, known = 0;
    snprintf(path, sizeof path, "%s/composites.txt", folder ? folder : "tests/golden");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        char *name = strtok_r(line, " ", &at);
        int k = 0;
        while (k < (int)(sizeof cases / sizeof *cases) && strcmp(cases[k].name, name))
            k++;
        if (k == (int)(sizeof cases / sizeof *cases))
            fail_msg("%s: no such case here", name);
        check(k, at);
        known++;
    }
    fclose(file);
    free(line);
    assert_int_equal(known, sizeof cases / sizeof *cases);
}

static void refusals(void **state)
{
    (void)state;
    td_tensor a = td_ones(s, TD_SHAPE(4, 3)), target = td_zeros(s, TD_SHAPE(4)), column = td_zeros(s, TD_SHAPE(4, 1));
    td_l1_loss(a, a, .reduction = 7);
    expect_error(TD_E_ARGUMENT, "l1_loss: reduction 7", __LINE__ - 1);
    td_binary_cross_entropy_with_logits(column, target);
    expect_error(TD_E_SHAPE, "binary_cross_entropy_with_logits: x has shape (4, 1) and the target (4)", __LINE__ - 1);
    td_binary_cross_entropy(td_mul(a, 3), a);
    expect_error(TD_E_ARGUMENT, "binary_cross_entropy: element 0 does not lie between 0 and 1", __LINE__ - 1);
    td_one_hot(td_full(s, TD_SHAPE(2), 9, .dtype = TD_I64), 3);
    assert_string_equal(td_error(s)->op, "one_hot");
    expect_error(TD_E_INDEX, "index 9 is out of range for a dimension of size 3", __LINE__ - 2);
    td_cross_entropy(a, td_to(column, TD_I64));
    expect_error(TD_E_SHAPE, "cross_entropy: logits of shape (4, 3) and targets of shape (4, 1)", __LINE__ - 1);
    td_cross_entropy(a, target);
    expect_error(TD_E_DTYPE, "cross_entropy: target is f32 where i64 is due", __LINE__ - 1);
    td_cross_entropy(a, a, .ignore_index = 1);
    expect_error(TD_E_ARGUMENT, "cross_entropy: ignore_index 1 for targets that are probabilities", __LINE__ - 1);
    td_cross_entropy(a, a, .reduction = 9);
    expect_error(TD_E_ARGUMENT, "cross_entropy: reduction 9 is none of", __LINE__ - 1);
    td_cross_entropy(a, a, .weight = target);
    expect_error(TD_E_SHAPE, "cross_entropy: ", __LINE__ - 1);
    td_cross_entropy(a, td_to(target, TD_I32));
    expect_error(TD_E_DTYPE, "cross_entropy: target is i32 where i64 is due", __LINE__ - 1);
    td_matrix_norm(a, .ord = 3);
    expect_error(TD_E_ARGUMENT, "matrix_norm: ord 3 is none of", __LINE__ - 1);
    td_matrix_norm(a, .dims = TD_DIMS(1));
    expect_error(TD_E_ARGUMENT, "matrix_norm: dims are 1 where", __LINE__ - 1);
    td_matrix_norm(target);
    expect_error(TD_E_INDEX, "matrix_norm: dimension -2", __LINE__ - 1);
    td_embedding_bag(a, td_to(column, TD_I64), .mode = TD_GREATEST, .per_sample_weights = column);
    expect_error(TD_E_ARGUMENT, "embedding_bag: per_sample_weights are for .mode = TD_SUM", __LINE__ - 1);
    td_embedding_bag(a, td_to(column, TD_I64), .mode = TD_BATCHMEAN);
    expect_error(TD_E_ARGUMENT, "embedding_bag: mode 16 is none of TD_MEAN, TD_SUM, TD_GREATEST", __LINE__ - 1);
    td_l1_loss(a, a, .reduction = TD_BATCHMEAN);
    expect_error(TD_E_ARGUMENT, "l1_loss: reduction 16", __LINE__ - 1);
    td_batch_norm(target);
    expect_error(TD_E_SHAPE, "batch_norm: x of shape (4) has no channels", __LINE__ - 1);
    td_batch_norm(td_reshape(target, TD_SHAPE(1, 4)), .training = true);
    expect_error(TD_E_SHAPE, "has one element a channel", __LINE__ - 1);
    td_group_norm(a, 2);
    expect_error(TD_E_SHAPE, "group_norm: x of shape (4, 3) has not as many channels", __LINE__ - 1);
    td_glu(a);
    expect_error(TD_E_SHAPE, "glu: x of shape (4, 3) does not fall into two halves", __LINE__ - 1);
    td_embedding_bag(a, td_to(target, TD_I64));
    expect_error(TD_E_SHAPE, "embedding_bag: x of shape (4) has no bags", __LINE__ - 1);
    td_tensor image = td_ones(s, TD_SHAPE(1, 2, 3, 4)), whole = td_to(image, TD_I64);
    td_im2col(a, TD_SHAPE(2));
    expect_error(TD_E_SHAPE, "im2col: x has 2 dimensions", __LINE__ - 1);
    td_im2col(image, TD_SHAPE(4));
    expect_error(TD_E_SHAPE, "im2col: a window over 4 elements does not go into 3", __LINE__ - 1);
    td_im2col(image, TD_SHAPE(2, 2, 2));
    expect_error(TD_E_ARGUMENT, "im2col: kernel_size is not one or two sizes from 1", __LINE__ - 1);
    td_col2im(a, TD_SHAPE(3, 4), TD_SHAPE(2));
    expect_error(TD_E_SHAPE, "col2im: x of shape (4, 3) where (batch, channels * 4, 6) is due", __LINE__ - 1);
    td_interpolate(image, .size = TD_SHAPE(2), .scale_factor = 2);
    expect_error(TD_E_ARGUMENT, "interpolate: one of size", __LINE__ - 1);
    td_interpolate(image, .scale_factor = 2, .scale_factors = {2, 2});
    expect_error(TD_E_ARGUMENT, "interpolate: one of size", __LINE__ - 1);
    td_interpolate(image, .scale_factors = {2});
    expect_error(TD_E_ARGUMENT, "interpolate: one of size", __LINE__ - 1);
    td_interpolate(image, .scale_factors = {2, 2}, .mode = TD_AREA, .align_corners = true);
    expect_error(TD_E_ARGUMENT, "interpolate: align_corners goes with", __LINE__ - 1);
    td_interpolate(image, .size = TD_SHAPE(0));
    expect_error(TD_E_ARGUMENT, "interpolate: 3 elements in a size of 0", __LINE__ - 1);
    td_interpolate(image, .scale_factor = 2, .align_corners = true);
    expect_error(TD_E_ARGUMENT, "interpolate: align_corners goes with", __LINE__ - 1);
    td_interpolate(whole, .scale_factor = 2, .mode = TD_LINEAR);
    expect_error(TD_E_DTYPE, "interpolate: elements between those of i64", __LINE__ - 1);
    td_multilabel_margin_loss(a, column);
    expect_error(TD_E_SHAPE, "multilabel_margin_loss: x of shape (4, 3) and a target of shape (4, 1)", __LINE__ - 1);
    td_multilabel_margin_loss(a, td_full(s, TD_SHAPE(4, 3), 3));
    expect_error(TD_E_INDEX, "index 3 is out of range for a dimension of size 3", __LINE__ - 1);
    td_instance_norm(a, .use_input_stats = false);
    expect_error(TD_E_SHAPE, "instance_norm: x of shape (4, 3) without .use_input_stats needs", __LINE__ - 1);
    td_instance_norm(a, .running_mean = td_zeros(s, TD_SHAPE(3)));
    expect_error(TD_E_SHAPE, "instance_norm: x of shape (4, 3) has one element a channel", __LINE__ - 1);
    td_renorm(a, 0, 1, 1);
    expect_error(TD_E_ARGUMENT, "renorm: p is 0 where more than 0 is due", __LINE__ - 1);
    td_renorm(a, 2, 2, 1);
    expect_error(TD_E_INDEX, "renorm: dimension 2 does not exist", __LINE__ - 1);
    td_renorm(target, 2, 0, 1);
    expect_error(TD_E_SHAPE, "renorm: x of shape (4) has less than two dimensions", __LINE__ - 1);
    td_addmv(target, a, target);
    expect_error(TD_E_SHAPE, "addmv: ", __LINE__ - 1);
    td_addr(a, target, target);
    expect_error(TD_E_SHAPE, "addr: shapes (4, 3) and (4, 4)", __LINE__ - 1);
    td_addbmm(a, a, a);
    expect_error(TD_E_SHAPE, "addbmm: shapes (4, 3) and (4, 3): two batches are due", __LINE__ - 1);
    td_inner(a, target);
    expect_error(TD_E_SHAPE, "inner: shapes (4, 3) and (4): the last dimensions have different sizes", __LINE__ - 1);
    td_layer_norm(a, TD_SHAPE(4));
    expect_error(TD_E_SHAPE, "layer_norm: x of shape (4, 3) does not end in the normalized shape (4)", __LINE__ - 1);
    assert_int_equal(td_sync(s), 0);
}

/* What is written inside ends with a call, also with one that is refused. */
static void what_is_written_inside_ends(void **state)
{
    (void)state;
    td_tensor a = td_ones(s, TD_SHAPE(4, 3)), v = td_ones(s, TD_SHAPE(3)), y;
    int64_t before = td_tensor_count(s);
#define ENDS(call)                                \
    y = call;                                     \
    td_release(y);                                \
    assert_int_equal(td_tensor_count(s), before); \
    td_clear_error(s)
    ENDS(td_addmv(td_sum(a, .dims = TD_DIMS(1)), td_mul(a, 2), td_sum(a, .dims = TD_DIMS(0)), .beta = 2));
    ENDS(td_addbmm(td_zeros(s, TD_SHAPE(2, 2)), td_ones(s, TD_SHAPE(3, 2, 4)), td_ones(s, TD_SHAPE(3, 4, 2))));
    ENDS(td_inner(td_sum(a, .dims = TD_DIMS(0)), td_sum(a, .dims = TD_DIMS(0))));
    ENDS(td_inner(td_sum(a), td_mul(v, 3)));
    ENDS(td_inner(td_sum(a, .dims = TD_DIMS(1)), td_sum(a, .dims = TD_DIMS(0))));
    ENDS(td_unique(td_mul(a, 2), .dim = 7));
    ENDS(td_renorm(td_mul(a, 2), 0, 0, 1));
    ENDS(td_multilabel_margin_loss(td_mul(a, 2), td_to(v, TD_I64)));
    ENDS(td_batch_norm(td_mul(v, 2)));
    ENDS(td_instance_norm(td_mul(v, 2)));
    ENDS(td_group_norm(td_mul(a, 2), 2));
    ENDS(td_glu(td_mul(a, 2)));
    ENDS(td_im2col(td_mul(a, 2), TD_SHAPE(2)));
    ENDS(td_binary_cross_entropy(td_mul(a, 2), td_mul(v, 2)));
    ENDS(td_embedding_bag(td_mul(a, 2), td_to(v, TD_I64)));
    ENDS(td_matrix_norm(td_mul(a, 2), .ord = 3));
    ENDS(td_repeat_interleave(td_mul(a, 2), td_mul(v, 2), .dim = 0));
    ENDS(td_scaled_dot_product_attention(td_mul(v, 2), td_mul(a, 2), td_mul(a, 3), .dropout_p = 0.5));
    ENDS(td_scaled_dot_product_attention(td_mul(a, 2), td_mul(v, 2), td_mul(a, 3), .dropout_p = 0.5));
    ENDS(td_rnn_tanh_cell(td_mul(a, 2), td_mul(a, 3), a, v));
    ENDS(td_gru_cell(td_mul(a, 2), td_mul(a, 3), a, a));
    td_lstm_state state_of_two = td_lstm_cell(td_mul(a, 2), td_mul(a, 3), td_mul(a, 4), a, a);
    td_release(state_of_two.h);
    ENDS(state_of_two.c);
    ENDS(td_l1_loss(td_mul(a, 2), td_mul(a, 3), .reduction = 9));
    assert_int_equal(td_sync(s), 0);
}

/* Of equal elements in a bag the first gets the gradient, and nan wins. */
static void greatest_in_bags(void **state)
{
    (void)state;
    const float given[] = {1, NAN, 1, 2, 0, 3};
    double found[6];
    for (int flat = 0; flat < 2; flat++) {
        td_tensor w = td_from(s, given, TD_F32, TD_SHAPE(3, 2), .requires_grad = true);
        td_tensor index = td_from(s, ((const int64_t[]){2, 1, 0}), TD_I64, TD_SHAPE(3));
        td_tensor y =
            flat ? td_embedding_bag(w, index, .mode = TD_GREATEST, .offsets = td_zeros(s, TD_SHAPE(1), .dtype = TD_I64))
                 : td_embedding_bag(w, td_unsqueeze(index, 0), .mode = TD_GREATEST);
        td_read(y, found, TD_F64, 2);
        assert_true(found[0] == 1 && isnan(found[1]));
        td_backward(td_sum(y));
        assert_int_equal(td_read(td_grad(w), found, TD_F64, 6), 6);
        for (int k = 0; k < 6; k++)
            assert_true(found[k] == (k == 1 || k == 2));
    }
    td_tensor none = td_zeros(s, TD_SHAPE(2, 0), .dtype = TD_I64);
    assert_true(td_item(td_sum(td_embedding_bag(td_ones(s, TD_SHAPE(3, 2)), none, .mode = TD_GREATEST))) == 0);
    assert_int_equal(td_sync(s), 0);
}

/* Rows longer than max_norm are made that long first, as often as they are named, outside the graph. */
static void rows_of_embeddings_are_brought_back(void **state)
{
    (void)state;
    const double rows[] = {3, 4, 0.6, 0.8, 6, 8}, due[] = {1.2, 1.6, 0.6, 0.8, 1.2, 1.6};
    double found[6];
    td_tensor index = td_from(s, ((const int64_t[]){0, 2, 0}), TD_I64, TD_SHAPE(3));
    for (int way = 0; way < 4; way++) {
        td_tensor w = td_from(s, rows, TD_F64, TD_SHAPE(3, 2), .requires_grad = true), y = {0};
        int64_t held = td_tensor_count(s);
        if (way == 0)
            y = td_embedding(w, td_add(index, 0), .max_norm = 2);
        else if (way == 1)
            y = td_embedding_bag(w, td_unsqueeze(index, 0), .mode = TD_SUM, .max_norm = 2);
        else if (way == 2)
            y = td_embedding(td_embedding_renorm_(w, td_add(index, 0), 2, 2), index);
        else
            y = td_embedding(w, index, .max_norm = 2.8, .norm_type = 1, .scale_grad_by_freq = true);
        assert_int_equal(td_tensor_count(s), held + 1);
        assert_int_equal(td_read(w, found, TD_F64, 6), 6);
        for (int k = 0; k < 6; k++)
            assert_true(fabs(found[k] - due[k]) < 1e-6);
        td_backward(td_sum(y));
        assert_int_equal(td_read(td_grad(w), found, TD_F64, 6), 6);
        for (int k = 0; k < 6; k++)
            assert_true(found[k] == (k / 2 == 1 ? 0 : k / 2 == 0 && way < 3 ? 2 : 1));
        td_release(y);
    }
    td_tensor w = td_ones(s, TD_SHAPE(3, 2));
    td_embedding(w, td_add(index, 5), .max_norm = 0.5);
    expect_error(TD_E_INDEX, "index 5 is out of range", __LINE__ - 1);
    assert_true(td_item(td_sum(w)) == 6);
    td_embedding_bag(w, index, .mode = TD_GREATEST, .scale_grad_by_freq = true,
                     .offsets = td_zeros(s, TD_SHAPE(1), .dtype = TD_I64));
    expect_error(TD_E_ARGUMENT, "embedding_bag: scale_grad_by_freq is not for .mode = TD_GREATEST", __LINE__ - 2);
    assert_int_equal(td_sync(s), 0);
}

static void what_drops(void **state)
{
    (void)state;
    double found[4096], sum = 0, squares = 0;
    td_manual_seed(s, 5);
    td_tensor channels = td_feature_dropout(td_ones(s, TD_SHAPE(8, 8, 64)), .p = 0.25);
    assert_int_equal(td_read(channels, found, TD_F64, 4096), 4096);
    for (int i = 0; i < 4096; i++) {
        assert_true(found[i] == found[i / 64 * 64]); /* a channel goes as one */
        assert_true(found[i] == 0 || fabs(found[i] - 4.0 / 3) < 1e-6);
        sum += found[i] / 4096;
    }
    assert_true(sum > 0.6 && sum < 1.3);
    assert_int_equal(td_read(td_alpha_dropout(td_randn(s, TD_SHAPE(4096)), .p = 0.25), found, TD_F64, 4096), 4096);
    sum = 0;
    for (int i = 0; i < 4096; i++)
        sum += found[i] / 4096, squares += found[i] * found[i] / 4096;
    assert_true(fabs(sum) < 0.1 && fabs(squares - 1) < 0.1);
    assert_true(td_item(td_sum(td_alpha_dropout(td_ones(s, TD_SHAPE(8)), .training = false))) == 8);
}

int main(void)
{
#define WITH_SESSION(test) cmocka_unit_test_setup_teardown(test, open_session, close_session)
    const struct CMUnitTest tests[] = {WITH_SESSION(as_pytorch),
                                       WITH_SESSION(refusals),
                                       WITH_SESSION(greatest_in_bags),
                                       WITH_SESSION(what_drops),
                                       WITH_SESSION(rows_of_embeddings_are_brought_back),
                                       WITH_SESSION(what_is_written_inside_ends)};
    return cmocka_run_group_tests(tests, start, stop);
}
