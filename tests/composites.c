/* Functions that the library makes of ops, by their names. The order of the arguments is that of oracle/made.py.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/composites.h"

#include <string.h>

#define T(k) a[k].operand.tensor
#define O(k) a[k].operand
#define L(k) a[k].list
#define D(k) a[k].dims
#define R(k) a[k].real
#define I(k) a[k].integer

#define HERE    \
    (td_origin) \
    {           \
        0       \
    }

struct three {
    td_tensor x[3];
};

/* The values, the inverse and the counts. */
static struct three unique_of(td_tensor x, int64_t dim, bool consecutive)
{
    struct three y;
    y.x[0] = consecutive ? td_unique_consecutive(x, .inverse = &y.x[1], .counts = &y.x[2], .dim = dim)
                         : td_unique(x, .inverse = &y.x[1], .counts = &y.x[2], .dim = dim);
    return y;
}

/* All of its arguments, in their order. */
static td_tensor instance_norm_of(const struct argument *a)
{
    return td_instance_norm(T(0), .running_mean = T(1), .running_var = T(2), .weight = T(3), .bias = T(4),
                            .use_input_stats = I(5), .eps = R(6));
}

/* CASE(name, call) of one result; PAIR(name, type, call, first, second) of two; TRIPLE(name, call) of three. */
#define COMPOSITES(CASE, PAIR, TRIPLE)                                                                                \
    CASE(l1_loss, td_l1_loss(T(0), T(1), .reduction = I(2)))                                                          \
    CASE(smooth_l1_loss, td_smooth_l1_loss(T(0), T(1), .reduction = I(2), .beta = R(3)))                              \
    CASE(huber_loss, td_huber_loss(T(0), T(1), .reduction = I(2), .delta = R(3)))                                     \
    CASE(binary_cross_entropy, td_binary_cross_entropy(T(0), T(1), .weight = T(2), .reduction = I(3)))                \
    CASE(bce_with_logits,                                                                                             \
         td_binary_cross_entropy_with_logits(T(0), T(1), .weight = T(2), .pos_weight = T(3), .reduction = I(4)))      \
    CASE(soft_cross_entropy,                                                                                          \
         td_soft_cross_entropy(T(0), T(1), .weight = T(2), .reduction = I(3), .label_smoothing = R(4)))               \
    CASE(kl_div, td_kl_div(T(0), T(1), .reduction = I(2) == 3 ? TD_BATCHMEAN : I(2), .log_target = I(3)))             \
    CASE(poisson_nll_loss, td_poisson_nll_loss(T(0), T(1), .log_input = I(2), .full = I(3), .reduction = I(4)))       \
    CASE(gaussian_nll_loss, td_gaussian_nll_loss(T(0), T(1), T(2), .full = I(3), .reduction = I(4)))                  \
    CASE(hinge_embedding_loss, td_hinge_embedding_loss(T(0), T(1), .margin = R(2), .reduction = I(3)))                \
    CASE(margin_ranking_loss, td_margin_ranking_loss(T(0), T(1), T(2), .margin = R(3), .reduction = I(4)))            \
    CASE(soft_margin_loss, td_soft_margin_loss(T(0), T(1), .reduction = I(2)))                                        \
    CASE(triplet_margin_loss,                                                                                         \
         td_triplet_margin_loss(T(0), T(1), T(2), .margin = R(3), .p = R(4), .swap = I(5), .reduction = I(6)))        \
    CASE(cosine_embedding_loss, td_cosine_embedding_loss(T(0), T(1), T(2), .margin = R(3), .reduction = I(4)))        \
    CASE(multi_margin_loss,                                                                                           \
         td_multi_margin_loss(T(0), T(1), .p = I(2), .margin = R(3), .weight = T(4), .reduction = I(5)))              \
    CASE(multilabel_margin_loss, td_multilabel_margin_loss(T(0), T(1), .reduction = I(2)))                            \
    CASE(multilabel_soft_margin_loss, td_multilabel_soft_margin_loss(T(0), T(1), .weight = T(2), .reduction = I(3)))  \
    CASE(renorm, td_renorm(T(0), R(1), I(2), R(3)))                                                                   \
    CASE(repeat_interleave_each, td_repeat_interleave(T(0), T(1), .dim = I(2)))                                       \
    TRIPLE(unique, unique_of(T(0), I(1), false))                                                                      \
    TRIPLE(unique_consecutive, unique_of(T(0), I(1), true))                                                           \
    CASE(sgn_, td_sgn_(T(0)))                                                                                         \
    CASE(deg2rad_, td_deg2rad_(T(0)))                                                                                 \
    CASE(rad2deg_, td_rad2deg_(T(0)))                                                                                 \
    CASE(true_divide_, td_true_divide__at(HERE, T(0), O(1)))                                                          \
    CASE(float_power_, td_float_power__at(HERE, T(0), O(1)))                                                          \
    CASE(ldexp_, td_ldexp__at(HERE, T(0), O(1)))                                                                      \
    CASE(clamp_min_, td_clamp_min__at(HERE, T(0), O(1)))                                                              \
    CASE(clamp_max_, td_clamp_max__at(HERE, T(0), O(1)))                                                              \
    CASE(mvlgamma, td_mvlgamma(T(0), I(1)))                                                                           \
    CASE(mvlgamma_, td_mvlgamma_(T(0), I(1)))                                                                         \
    CASE(index_reduce, td_index_reduce(T(0), I(1), T(2), T(3), I(4), .include_self = I(5)))                           \
    CASE(index_reduce_, td_index_reduce_(T(0), I(1), T(2), T(3), I(4), .include_self = I(5)))                         \
    CASE(clamp_between_, td_clamp_between_(T(0), T(1), T(2)))                                                         \
    CASE(put_, td_put_(T(0), T(1), T(2), .accumulate = I(3)))                                                         \
    CASE(addmm_, td_addmm_(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                            \
    CASE(baddbmm_, td_baddbmm_(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                        \
    CASE(addmv_, td_addmv_(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                            \
    CASE(addr_, td_addr_(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                              \
    CASE(addbmm_, td_addbmm_(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                          \
    CASE(renorm_, td_renorm_(T(0), R(1), I(2), R(3)))                                                                 \
    CASE(fliplr, td_fliplr(T(0)))                                                                                     \
    CASE(flipud, td_flipud(T(0)))                                                                                     \
    CASE(deg2rad, td_deg2rad(T(0)))                                                                                   \
    CASE(rad2deg, td_rad2deg(T(0)))                                                                                   \
    CASE(sgn, td_sgn(T(0)))                                                                                           \
    CASE(broadcast_to, td_broadcast_to(T(0), D(1)))                                                                   \
    CASE(swapaxes, td_swapaxes(T(0), I(1), I(2)))                                                                     \
    CASE(diff, td_diff(T(0), .n = I(1), .dim = I(2)))                                                                 \
    CASE(nansum, td_nansum(T(0), .dims = D(1), .keepdim = I(2)))                                                      \
    CASE(nanmean, td_nanmean(T(0), .dims = D(1), .keepdim = I(2)))                                                    \
    PAIR(var_mean, td_spread, td_var_mean(T(0), .dims = D(1), .keepdim = I(2), .correction = I(3)), spread, mean)     \
    PAIR(std_mean, td_spread, td_std_mean(T(0), .dims = D(1), .keepdim = I(2), .correction = I(3)), spread, mean)     \
    CASE(matrix_norm, td_matrix_norm(T(0), .ord = R(1), .dims = D(2), .keepdim = I(3)))                               \
    CASE(true_divide, td_true_divide_at(HERE, T(0), O(1)))                                                            \
    CASE(float_power, td_float_power_at(HERE, T(0), O(1)))                                                            \
    CASE(ldexp, td_ldexp_at(HERE, T(0), O(1)))                                                                        \
    CASE(clamp_min, td_clamp_min_at(HERE, T(0), O(1)))                                                                \
    CASE(clamp_max, td_clamp_max_at(HERE, T(0), O(1)))                                                                \
    CASE(clamp_between, td_clamp_between(T(0), T(1), T(2)))                                                           \
    CASE(isclose, td_isclose(T(0), T(1), .rtol = R(2), .atol = R(3), .equal_nan = I(4)))                              \
    CASE(dist, td_dist(T(0), T(1), .p = R(2)))                                                                        \
    CASE(cdist, td_cdist(T(0), T(1), .p = R(2)))                                                                      \
    CASE(pairwise_distance, td_pairwise_distance(T(0), T(1), .p = R(2), .eps = R(3), .keepdim = I(4)))                \
    CASE(bucketize, td_bucketize(T(1), T(0), .right = I(2)))                                                          \
    CASE(take_flat, td_take_flat(T(0), T(1)))                                                                         \
    CASE(put, td_put(T(0), T(1), T(2), .accumulate = I(3)))                                                           \
    CASE(take_along_dim, td_take_along_dim(T(0), T(1), .dim = I(2)))                                                  \
    CASE(select_scatter, td_select_scatter(T(0), T(1), I(2), I(3)))                                                   \
    CASE(slice_scatter, td_slice_scatter(T(0), T(1), I(2), .start = I(3), .end = I(4), .step = I(5)))                 \
    CASE(diagonal_scatter, td_diagonal_scatter(T(0), T(1), .offset = I(2), .dim0 = I(3), .dim1 = I(4)))               \
    CASE(hstack, td_hstack(L(0)))                                                                                     \
    CASE(vstack, td_vstack(L(0)))                                                                                     \
    CASE(dstack, td_dstack(L(0)))                                                                                     \
    CASE(mm, td_mm(T(0), T(1)))                                                                                       \
    CASE(bmm, td_bmm(T(0), T(1)))                                                                                     \
    CASE(mv, td_mv(T(0), T(1)))                                                                                       \
    CASE(dot, td_dot(T(0), T(1)))                                                                                     \
    CASE(outer, td_outer(T(0), T(1)))                                                                                 \
    CASE(vdot, td_vdot(T(0), T(1)))                                                                                   \
    CASE(inner, td_inner(T(0), T(1)))                                                                                 \
    CASE(kron, td_kron(T(0), T(1)))                                                                                   \
    CASE(cross, td_cross(T(0), T(1), I(2)))                                                                           \
    CASE(addmm, td_addmm(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                              \
    CASE(baddbmm, td_baddbmm(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                          \
    CASE(addmv, td_addmv(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                              \
    CASE(addr, td_addr(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                                \
    CASE(addbmm, td_addbmm(T(0), T(1), T(2), .beta = R(3), .alpha = R(4)))                                            \
    CASE(matrix_power, td_matrix_power(T(0), I(1)))                                                                   \
    CASE(logdet, td_logdet(T(0)))                                                                                     \
    CASE(tensordot, td_tensordot(T(0), T(1), .dims = (int)I(2)))                                                      \
    CASE(one_hot, td_one_hot(T(0), I(1)))                                                                             \
    CASE(tile, td_tile(T(0), D(1)))                                                                                   \
    CASE(rot90, td_rot90(T(0), I(1), I(2), I(3)))                                                                     \
    CASE(trace, td_trace(T(0)))                                                                                       \
    CASE(diag, td_diag(T(0), I(1)))                                                                                   \
    CASE(pixel_shuffle, td_pixel_shuffle(T(0), I(1)))                                                                 \
    CASE(pixel_unshuffle, td_pixel_unshuffle(T(0), I(1)))                                                             \
    CASE(normalize, td_normalize(T(0), .p = R(1), .dim = I(2)))                                                       \
    CASE(cosine_similarity, td_cosine_similarity(T(0), T(1), .dim = I(2)))                                            \
    CASE(batch_norm, td_batch_norm(T(0), .running_mean = T(1), .running_var = T(2), .weight = T(3), .bias = T(4),     \
                                   .training = I(5), .eps = R(6)))                                                    \
    CASE(group_norm, td_group_norm(T(0), I(1), .weight = T(2), .bias = T(3), .eps = R(4)))                            \
    CASE(instance_norm, instance_norm_of(a))                                                                          \
    CASE(glu, td_glu(T(0), .dim = I(1)))                                                                              \
    CASE(softmin, td_softmin(T(0), I(1)))                                                                             \
    CASE(prelu, td_prelu(T(0), T(1)))                                                                                 \
    CASE(scaled_dot_product_attention,                                                                                \
         td_scaled_dot_product_attention(T(0), T(1), T(2), .mask = T(3), .is_causal = I(4)))                          \
    CASE(embedding_bag, td_embedding_bag(T(0), T(1), .mode = I(2) == 3 ? TD_GREATEST : I(2), .padding_idx = I(3),     \
                                         .scale_grad_by_freq = I(4)))                                                 \
    CASE(embedding_bags, td_embedding_bag(T(0), T(1), .offsets = T(2), .mode = I(3) == 3 ? TD_GREATEST : I(3),        \
                                          .padding_idx = I(4), .include_last_offset = I(5)))                          \
    CASE(im2col, td_im2col(T(0), D(1), .stride = D(2), .padding = D(3), .dilation = D(4)))                            \
    CASE(interpolate, td_interpolate(T(0), .size = D(1), .mode = (enum td_interpolation)I(2), .align_corners = I(3))) \
    CASE(rnn_tanh_cell, td_rnn_tanh_cell(T(0), T(1), T(2), T(3), .b_ih = T(4), .b_hh = T(5)))                         \
    CASE(gru_cell, td_gru_cell(T(0), T(1), T(2), T(3), .b_ih = T(4), .b_hh = T(5)))                                   \
    PAIR(lstm_cell, td_lstm_state, td_lstm_cell(T(0), T(1), T(2), T(3), T(4), .b_ih = T(5), .b_hh = T(6)), h, c)

#define ONE(name, call)                                                  \
    static void run_##name(const struct argument *a, td_tensor *results) \
    {                                                                    \
        results[0] = call;                                               \
    }
#define TWO(name, type, call, first, second)                             \
    static void run_##name(const struct argument *a, td_tensor *results) \
    {                                                                    \
        type both = call;                                                \
        results[0] = both.first;                                         \
        results[1] = both.second;                                        \
    }
#define THREE(name, call)                                                \
    static void run_##name(const struct argument *a, td_tensor *results) \
    {                                                                    \
        struct three all = call;                                         \
        memcpy(results, all.x, sizeof all.x);                            \
    }
COMPOSITES(ONE, TWO, THREE)

#define ROW_OF_ONE(name, ...) {#name, run_##name, 1},
#define ROW_OF_TWO(name, ...) {#name, run_##name, 2},
#define ROW_OF_THREE(name, ...) {#name, run_##name, 3},
static const struct {
    const char *name;
    void (*run)(const struct argument *a, td_tensor *results);
    int results;
} composites[] = {COMPOSITES(ROW_OF_ONE, ROW_OF_TWO, ROW_OF_THREE)};

static int find(const char *name)
{
    for (int k = 0; k < (int)(sizeof composites / sizeof *composites); k++)
        if (!strcmp(composites[k].name, name))
            return k;
    return -1;
}

int composite_results(const char *name)
{
    int k = find(name);
    return k < 0 ? 0 : composites[k].results;
}

void composite_call(const char *name, const struct argument *arguments, td_tensor *results)
{
    composites[find(name)].run(arguments, results);
}
