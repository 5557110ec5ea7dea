/* More functions, each made of a few ops of tensord_ops.h; included by tensord.h, which says how calls are written.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORD_H
#include "tensord.h" /* which includes this file again */
#elif !defined TENSORD_MADE_H
#define TENSORD_MADE_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- made of nothing ---- */

/* td_zeros: no bytes of others are shown. */
TD_API td_tensor td_empty(td_session *s, struct td_dims shape,
                          const struct td_zeros_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_empty_at(td_origin origin, td_session *s, struct td_dims shape,
                             const struct td_zeros_keywords *keywords);
struct td_logspace_keywords {
    double base;
    enum td_dtype dtype;
    TD_KEYWORDS_END
};
/* steps powers of .base (10), whose exponents lie from start to end at equal distances. Keywords: .base, .dtype
 * (TD_F32). */
TD_API td_tensor td_logspace(td_session *s, double start, double end, int64_t steps,
                             const struct td_logspace_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_logspace_at(td_origin origin, td_session *s, double start, double end, int64_t steps,
                                const struct td_logspace_keywords *keywords);
struct td_triangle_keywords {
    int64_t offset;
    TD_KEYWORDS_END
};
/* The places (2, n) of what td_tril, or td_triu, leaves of a matrix (rows, columns), row by row: i64. Keyword: .offset
 * (0), the diagonal. */
TD_API td_tensor td_tril_indices(td_session *s, int64_t rows, int64_t columns,
                                 const struct td_triangle_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_tril_indices_at(td_origin origin, td_session *s, int64_t rows, int64_t columns,
                                    const struct td_triangle_keywords *keywords);
TD_API td_tensor td_triu_indices(td_session *s, int64_t rows, int64_t columns,
                                 const struct td_triangle_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_triu_indices_at(td_origin origin, td_session *s, int64_t rows, int64_t columns,
                                    const struct td_triangle_keywords *keywords);

/* ---- with the shape of another ---- */

/* Keywords of these: .dtype (that of x), .requires_grad (false). */
struct td_like_keywords {
    int dtype;
    bool requires_grad;
    TD_KEYWORDS_END
};
/* td_full_like with 0, with 1 and with anything (0): the shape and the dense strides of x. */
TD_API td_tensor td_empty_like(td_tensor x, const struct td_like_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_empty_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords);
TD_API td_tensor td_zeros_like(td_tensor x, const struct td_like_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_ones_like(td_tensor x, const struct td_like_keywords *keywords TD_DEFAULT(NULL));
/* The same, drawn as td_rand, td_randn and td_randint draw. */
TD_API td_tensor td_rand_like(td_tensor x, const struct td_like_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_randn_like(td_tensor x, const struct td_like_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_randint_like(td_tensor x, int64_t low, int64_t high,
                                 const struct td_like_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_zeros_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords);
TD_API td_tensor td_ones_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords);
TD_API td_tensor td_rand_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords);
TD_API td_tensor td_randn_like_at(td_origin origin, td_tensor x, const struct td_like_keywords *keywords);
TD_API td_tensor td_randint_like_at(td_origin origin, td_tensor x, int64_t low, int64_t high,
                                    const struct td_like_keywords *keywords);

/* ---- of one tensor ---- */

/* x with its columns (dimension 1), or its rows (dimension 0), in the opposite order. */
TD_API td_tensor td_fliplr(td_tensor x);
TD_API td_tensor td_flipud(td_tensor x);
/* Degrees as radians, and back. */
TD_API td_tensor td_deg2rad(td_tensor x);
TD_API td_tensor td_rad2deg(td_tensor x);
/* The logarithm of the multivariate gamma function of dimension p; and x so written. */
TD_API td_tensor td_mvlgamma(td_tensor x, int64_t p);
TD_API td_tensor td_mvlgamma_(td_tensor x, int64_t p);
/* td_sign. */
TD_API td_tensor td_sgn(td_tensor x);
/* td_expand. */
TD_API td_tensor td_broadcast_to(td_tensor x, struct td_dims shape);
/* td_transpose. */
TD_API td_tensor td_swapaxes(td_tensor x, int64_t dim0, int64_t dim1);
TD_API td_tensor td_swapdims(td_tensor x, int64_t dim0, int64_t dim1);

struct td_diff_keywords {
    int64_t n, dim;
    TD_KEYWORDS_END
};
/* Each element less the one before it along a dimension, n times over. Keywords: .n (1), .dim (-1). */
TD_API td_tensor td_diff(td_tensor x, const struct td_diff_keywords *keywords TD_DEFAULT(NULL));

/* Keywords of these: .dims (all), .keepdim (false). */
struct td_over_keywords {
    struct td_dims dims;
    bool keepdim;
    TD_KEYWORDS_END
};
/* td_max and td_min over dims: equal elements share the gradient. */
TD_API td_tensor td_amax(td_tensor x, const struct td_over_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_amin(td_tensor x, const struct td_over_keywords *keywords TD_DEFAULT(NULL));
/* Sum and mean of what is not nan. */
TD_API td_tensor td_nansum(td_tensor x, const struct td_over_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_nanmean(td_tensor x, const struct td_over_keywords *keywords TD_DEFAULT(NULL));

/* How elements spread: variance or standard deviation, and the mean. */
typedef struct td_spread {
    td_tensor spread, mean;
} td_spread;
struct td_spread_keywords {
    struct td_dims dims;
    bool keepdim;
    int64_t correction;
    TD_KEYWORDS_END
};
/* td_var or td_std, and td_mean. Keywords: .dims (all), .keepdim (false), .correction (1). */
TD_API td_spread td_var_mean(td_tensor x, const struct td_spread_keywords *keywords TD_DEFAULT(NULL));
TD_API td_spread td_std_mean(td_tensor x, const struct td_spread_keywords *keywords TD_DEFAULT(NULL));

/* Norms of matrices that are no number. */
enum td_matrix_ord { TD_FROBENIUS = 1000, TD_NUCLEAR };
struct td_matrix_norm_keywords {
    double ord;
    struct td_dims dims;
    bool keepdim;
    TD_KEYWORDS_END
};
/* The norm of the matrices in two dimensions of x. Keywords: .ord (TD_FROBENIUS, the root of the sum of squares;
 * TD_NUCLEAR, the sum of the singular values; 2 or -2, the greatest or the least of them; 1 or -1, of the sums of
 * magnitudes in columns, INFINITY or -INFINITY, in rows), .dims (TD_DIMS(-2, -1): that of the rows, that of the
 * columns), .keepdim (false). */
TD_API td_tensor td_matrix_norm(td_tensor x, const struct td_matrix_norm_keywords *keywords TD_DEFAULT(NULL));

/* x, each slice along dim, where its norm of power p is greater than maxnorm, made smaller to that; and x so written.
 */
TD_API td_tensor td_renorm(td_tensor x, double p, int64_t dim, double maxnorm);
TD_API td_tensor td_renorm_(td_tensor x, double p, int64_t dim, double maxnorm);

/* ---- of two tensors, or a tensor and a number ---- */

/* a / b. */
TD_API td_tensor td_true_divide(td_tensor a, td_operand b);
/* a to the power b in f64. */
TD_API td_tensor td_float_power(td_tensor a, td_operand b);
/* a * 2^b. */
TD_API td_tensor td_ldexp(td_tensor a, td_operand b);
/* x, but no less than low, no greater than high, or both, where high wins; nan wins over all. A bound that is a tensor
 * gets the gradient where it is the result and x is not equal to it. */
TD_API td_tensor td_clamp_min(td_tensor x, td_operand low);
TD_API td_tensor td_clamp_max(td_tensor x, td_operand high);
TD_API td_tensor td_clamp_between(td_tensor x, td_tensor low, td_tensor high);

struct td_isclose_keywords {
    double rtol, atol;
    bool equal_nan;
    TD_KEYWORDS_END
};
/* Whether |a - b| <= atol + rtol * |b|. Keywords: .rtol (1e-5), .atol (1e-8), .equal_nan (false). */
TD_API td_tensor td_isclose(td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords TD_DEFAULT(NULL));
/* Whether that is so of all elements; waits. False after an error. */
TD_API bool td_allclose(td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords TD_DEFAULT(NULL));
/* Whether shapes and all elements are equal; waits. False after an error. */
TD_API bool td_equal(td_tensor a, td_tensor b);

struct td_dist_keywords {
    double p;
    TD_KEYWORDS_END
};
/* The norm of a - b, which are broadcast. Keyword: .p (2). */
TD_API td_tensor td_dist(td_tensor a, td_tensor b, const struct td_dist_keywords *keywords TD_DEFAULT(NULL));
/* The norms of the differences of each row of a (..., m, width) and each row of b (..., n, width). Keyword: .p (2). */
TD_API td_tensor td_cdist(td_tensor a, td_tensor b, const struct td_dist_keywords *keywords TD_DEFAULT(NULL));
struct td_pairwise_distance_keywords {
    double p, eps;
    bool keepdim;
    TD_KEYWORDS_END
};
/* The norms of a - b + eps over the last dimension. Keywords: .p (2), .eps (1e-6), .keepdim (false). */
TD_API td_tensor td_pairwise_distance(td_tensor a, td_tensor b,
                                      const struct td_pairwise_distance_keywords *keywords TD_DEFAULT(NULL));

/* ---- elements by index ---- */

struct td_bucketize_keywords {
    bool right;
    TD_KEYWORDS_END
};
/* td_searchsorted with one row of boundaries. Keyword: .right (false). */
TD_API td_tensor td_bucketize(td_tensor x, td_tensor boundaries,
                              const struct td_bucketize_keywords *keywords TD_DEFAULT(NULL));
/* PyTorch's take: elements of x, taken as one row, at index, which may count from the end. */
TD_API td_tensor td_take_flat(td_tensor x, td_tensor index);
struct td_put_keywords {
    bool accumulate;
    TD_KEYWORDS_END
};
/* x, taken as one row, with source at index, which may count from the end: of equal indices the last one counts. With
 * .accumulate they are added. */
TD_API td_tensor td_put(td_tensor x, td_tensor index, td_tensor source,
                        const struct td_put_keywords *keywords TD_DEFAULT(NULL));
/* The same written into x, which it returns. */
TD_API td_tensor td_put_(td_tensor x, td_tensor index, td_tensor source,
                         const struct td_put_keywords *keywords TD_DEFAULT(NULL));
/* x with the slices of source along dim brought into those that index, of one dimension, names: by TD_BY_PROD,
 * TD_BY_MEAN, TD_BY_AMAX, TD_BY_AMIN or TD_BY_SUM. Keyword: .include_self (true): what stands there counts. The second
 * writes into x. */
TD_API td_tensor td_index_reduce(td_tensor x, int64_t dim, td_tensor index, td_tensor source, int64_t reduce,
                                 const struct td_scatter_reduce_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_index_reduce_(td_tensor x, int64_t dim, td_tensor index, td_tensor source, int64_t reduce,
                                  const struct td_scatter_reduce_keywords *keywords TD_DEFAULT(NULL));
struct td_take_along_dim_keywords {
    int64_t dim;
    TD_KEYWORDS_END
};
/* td_gather with x and index broadcast to each other. Keyword: .dim (both as one row). */
TD_API td_tensor td_take_along_dim(td_tensor x, td_tensor index,
                                   const struct td_take_along_dim_keywords *keywords TD_DEFAULT(NULL));

/* What td_repeat_interleave(x, repeats) is where repeats is a tensor, i64 or i32: each slice as often as its own entry
 * says, or all as often as the only one. Keyword: .dim (x as one row). */
TD_API td_tensor td_repeat_interleave_each(td_tensor x, td_tensor repeats,
                                           const struct td_repeat_interleave_keywords *keywords TD_DEFAULT(NULL));

/* A clone of x in which source stands where td_select, td_slice or td_diagonal look. */
TD_API td_tensor td_select_scatter(td_tensor x, td_tensor source, int64_t dim, int64_t index);
TD_API td_tensor td_slice_scatter(td_tensor x, td_tensor source, int64_t dim,
                                  const struct td_slice_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_diagonal_scatter(td_tensor x, td_tensor source,
                                     const struct td_diagonal_keywords *keywords TD_DEFAULT(NULL));

/* ---- of lists ---- */

/* Along the columns (dimension 1; 0 if the first has one dimension), the rows (0) and behind each other (2); what has
 * fewer dimensions gets them: rows become (1, n) and (1, n, 1). */
TD_API td_tensor td_hstack(td_list tensors);
TD_API td_tensor td_vstack(td_list tensors);
TD_API td_tensor td_dstack(td_list tensors);
struct td_meshgrid_keywords {
    bool xy;
    TD_KEYWORDS_END
};
/* Rows as the coordinates of a grid: views of them, in grids, each with a dimension for every row. Returns how many.
 * Keyword: .xy (false): the first two dimensions change places. */
TD_API int td_meshgrid(td_list tensors, td_tensor *grids, const struct td_meshgrid_keywords *keywords TD_DEFAULT(NULL));

/* ---- in place: x becomes the view of itself that these give without the _, as with td_t_, td_squeeze_, td_unsqueeze_,
 * td_transpose_, td_as_strided_ and td_detach_. All names of x see it; what was made of x before stays as it is.
 * Refused for leaves that require a gradient and views of them, of what requires one under TD_NO_GRAD, and while a
 * program is recorded. ---- */

TD_API td_tensor td_swapaxes_(td_tensor x, int64_t dim0, int64_t dim1);
TD_API td_tensor td_swapdims_(td_tensor x, int64_t dim0, int64_t dim1);
/* x with another shape, row by row from its first element on, of whatever its storage has there; of its own shape as it
 * is. A storage does not grow: refused where it has less elements, and for what requires a gradient. */
TD_API td_tensor td_resize_(td_tensor x, struct td_dims shape);
TD_API td_tensor td_resize_as_(td_tensor x, td_tensor other);

/* ---- in place: what these functions give without the _ is written into x, which is returned and keeps its shape and
 * its type. ---- */

TD_API td_tensor td_zero_(td_tensor x);
TD_API td_tensor td_sgn_(td_tensor x);
TD_API td_tensor td_deg2rad_(td_tensor x);
TD_API td_tensor td_rad2deg_(td_tensor x);
TD_API td_tensor td_true_divide_(td_tensor x, td_operand other);
TD_API td_tensor td_float_power_(td_tensor x, td_operand other);
TD_API td_tensor td_ldexp_(td_tensor x, td_operand other);
TD_API td_tensor td_clamp_min_(td_tensor x, td_operand low);
TD_API td_tensor td_clamp_max_(td_tensor x, td_operand high);
TD_API td_tensor td_clamp_between_(td_tensor x, td_tensor low, td_tensor high);
struct td_fill_diagonal__keywords {
    bool wrap;
    TD_KEYWORDS_END
};
/* value where all indices are equal: in a matrix, or a tensor of equal sizes. Keyword: .wrap (false): in a matrix that
 * is higher than wide the diagonal begins again one row below its end. */
TD_API td_tensor td_fill_diagonal_(td_tensor x, double value,
                                   const struct td_fill_diagonal__keywords *keywords TD_DEFAULT(NULL));

/* ---- random numbers ---- */

struct td_drawn_keywords {
    enum td_dtype dtype;
    TD_KEYWORDS_END
};
/* Normal numbers of a mean and a standard deviation, uniform ones from [low, high), and those between events that
 * happen rate times in a unit. Keyword of these: .dtype (TD_F32). */
TD_API td_tensor td_normal(td_session *s, double mean, double std, struct td_dims shape,
                           const struct td_drawn_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_uniform(td_session *s, double low, double high, struct td_dims shape,
                            const struct td_drawn_keywords *keywords TD_DEFAULT(NULL));
TD_API td_tensor td_exponential(td_session *s, double rate, struct td_dims shape,
                                const struct td_drawn_keywords *keywords TD_DEFAULT(NULL));
/* Normal numbers, each of its own mean and standard deviation: tensors, which are broadcast, or one of them a number.
 * No gradient goes to them, and a std below 0, which PyTorch waits to refuse, counts as its magnitude. */
TD_API td_tensor td_normal_of(td_operand mean, td_operand std);
/* The same with gradients to what they are drawn from, as the rsample of PyTorch's distributions: mean + std * e and
 * low + (high - low) * u, where e is normal and u uniform. */
TD_API td_tensor td_rsample_normal(td_operand mean, td_operand std);
TD_API td_tensor td_rsample_uniform(td_operand low, td_operand high);
/* The integers from 0 up to n in an order drawn at random, i64. */
TD_API td_tensor td_randperm(td_session *s, int64_t n);
/* All of x drawn anew, as those do and as td_bernoulli does; x itself is returned. */
TD_API td_tensor td_normal_(td_tensor x, double mean, double std);
TD_API td_tensor td_uniform_(td_tensor x, double low, double high);
TD_API td_tensor td_exponential_(td_tensor x, double rate);
TD_API td_tensor td_bernoulli_(td_tensor x, double p);
/* The same of e to normal numbers; of Cauchy's law around median, of width sigma; of how often something that happens
 * with probability p is tried until it does; and of integers from [low, high). */
TD_API td_tensor td_log_normal_(td_tensor x, double mean, double std);
TD_API td_tensor td_cauchy_(td_tensor x, double median, double sigma);
TD_API td_tensor td_geometric_(td_tensor x, double p);
TD_API td_tensor td_random_(td_tensor x, int64_t low, int64_t high);
/* td_dropout written into x. Keywords: .p (0.5), .training (1). */
TD_API td_tensor td_dropout_(td_tensor x, const struct td_dropout_keywords *keywords TD_DEFAULT(NULL));

/* ---- the functions behind the macros below ---- */

TD_API td_tensor td_rsample_normal_at(td_origin origin, td_operand mean, td_operand std);
TD_API td_tensor td_rsample_uniform_at(td_origin origin, td_operand low, td_operand high);
TD_API td_tensor td_log_normal__at(td_origin origin, td_tensor x, double mean, double std);
TD_API td_tensor td_cauchy__at(td_origin origin, td_tensor x, double median, double sigma);
TD_API td_tensor td_geometric__at(td_origin origin, td_tensor x, double p);
TD_API td_tensor td_random__at(td_origin origin, td_tensor x, int64_t low, int64_t high);
TD_API td_tensor td_mvlgamma_at(td_origin origin, td_tensor x, int64_t p);
TD_API td_tensor td_mvlgamma__at(td_origin origin, td_tensor x, int64_t p);
TD_API td_tensor td_index_reduce_at(td_origin origin, td_tensor x, int64_t dim, td_tensor index, td_tensor source,
                                    int64_t reduce, const struct td_scatter_reduce_keywords *keywords);
TD_API td_tensor td_index_reduce__at(td_origin origin, td_tensor x, int64_t dim, td_tensor index, td_tensor source,
                                     int64_t reduce, const struct td_scatter_reduce_keywords *keywords);
TD_API td_tensor td_swapaxes__at(td_origin origin, td_tensor x, int64_t dim0, int64_t dim1);
TD_API td_tensor td_swapdims__at(td_origin origin, td_tensor x, int64_t dim0, int64_t dim1);
TD_API td_tensor td_resize__at(td_origin origin, td_tensor x, struct td_dims shape);
TD_API td_tensor td_resize_as__at(td_origin origin, td_tensor x, td_tensor other);
TD_API td_tensor td_zero__at(td_origin origin, td_tensor x);
TD_API td_tensor td_sgn__at(td_origin origin, td_tensor x);
TD_API td_tensor td_deg2rad__at(td_origin origin, td_tensor x);
TD_API td_tensor td_rad2deg__at(td_origin origin, td_tensor x);
TD_API td_tensor td_true_divide__at(td_origin origin, td_tensor x, td_operand other);
TD_API td_tensor td_float_power__at(td_origin origin, td_tensor x, td_operand other);
TD_API td_tensor td_ldexp__at(td_origin origin, td_tensor x, td_operand other);
TD_API td_tensor td_clamp_min__at(td_origin origin, td_tensor x, td_operand low);
TD_API td_tensor td_clamp_max__at(td_origin origin, td_tensor x, td_operand high);
TD_API td_tensor td_clamp_between__at(td_origin origin, td_tensor x, td_tensor low, td_tensor high);
TD_API td_tensor td_fill_diagonal__at(td_origin origin, td_tensor x, double value,
                                      const struct td_fill_diagonal__keywords *keywords);

TD_API td_tensor td_renorm_at(td_origin origin, td_tensor x, double p, int64_t dim, double maxnorm);
TD_API td_tensor td_renorm__at(td_origin origin, td_tensor x, double p, int64_t dim, double maxnorm);
TD_API td_tensor td_repeat_interleave_each_at(td_origin origin, td_tensor x, td_tensor repeats,
                                              const struct td_repeat_interleave_keywords *keywords);

TD_API td_tensor td_fliplr_at(td_origin origin, td_tensor x);
TD_API td_tensor td_flipud_at(td_origin origin, td_tensor x);
TD_API td_tensor td_deg2rad_at(td_origin origin, td_tensor x);
TD_API td_tensor td_rad2deg_at(td_origin origin, td_tensor x);
TD_API td_tensor td_sgn_at(td_origin origin, td_tensor x);
TD_API td_tensor td_broadcast_to_at(td_origin origin, td_tensor x, struct td_dims shape);
TD_API td_tensor td_swapaxes_at(td_origin origin, td_tensor x, int64_t dim0, int64_t dim1);
TD_API td_tensor td_swapdims_at(td_origin origin, td_tensor x, int64_t dim0, int64_t dim1);
TD_API td_tensor td_diff_at(td_origin origin, td_tensor x, const struct td_diff_keywords *keywords);
TD_API td_tensor td_amax_at(td_origin origin, td_tensor x, const struct td_over_keywords *keywords);
TD_API td_tensor td_amin_at(td_origin origin, td_tensor x, const struct td_over_keywords *keywords);
TD_API td_tensor td_nansum_at(td_origin origin, td_tensor x, const struct td_over_keywords *keywords);
TD_API td_tensor td_nanmean_at(td_origin origin, td_tensor x, const struct td_over_keywords *keywords);
TD_API td_tensor td_matrix_norm_at(td_origin origin, td_tensor x, const struct td_matrix_norm_keywords *keywords);
TD_API td_spread td_var_mean_at(td_origin origin, td_tensor x, const struct td_spread_keywords *keywords);
TD_API td_spread td_std_mean_at(td_origin origin, td_tensor x, const struct td_spread_keywords *keywords);
TD_API td_tensor td_true_divide_at(td_origin origin, td_tensor a, td_operand b);
TD_API td_tensor td_float_power_at(td_origin origin, td_tensor a, td_operand b);
TD_API td_tensor td_ldexp_at(td_origin origin, td_tensor a, td_operand b);
TD_API td_tensor td_clamp_min_at(td_origin origin, td_tensor x, td_operand low);
TD_API td_tensor td_clamp_max_at(td_origin origin, td_tensor x, td_operand high);
TD_API td_tensor td_clamp_between_at(td_origin origin, td_tensor x, td_tensor low, td_tensor high);
TD_API td_tensor td_isclose_at(td_origin origin, td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords);
TD_API bool td_allclose_at(td_origin origin, td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords);
TD_API bool td_equal_at(td_origin origin, td_tensor a, td_tensor b);
TD_API td_tensor td_dist_at(td_origin origin, td_tensor a, td_tensor b, const struct td_dist_keywords *keywords);
TD_API td_tensor td_cdist_at(td_origin origin, td_tensor a, td_tensor b, const struct td_dist_keywords *keywords);
TD_API td_tensor td_pairwise_distance_at(td_origin origin, td_tensor a, td_tensor b,
                                         const struct td_pairwise_distance_keywords *keywords);
TD_API td_tensor td_bucketize_at(td_origin origin, td_tensor x, td_tensor boundaries,
                                 const struct td_bucketize_keywords *keywords);
TD_API td_tensor td_take_flat_at(td_origin origin, td_tensor x, td_tensor index);
TD_API td_tensor td_put_at(td_origin origin, td_tensor x, td_tensor index, td_tensor source,
                           const struct td_put_keywords *keywords);
TD_API td_tensor td_put__at(td_origin origin, td_tensor x, td_tensor index, td_tensor source,
                            const struct td_put_keywords *keywords);
TD_API td_tensor td_take_along_dim_at(td_origin origin, td_tensor x, td_tensor index,
                                      const struct td_take_along_dim_keywords *keywords);
TD_API td_tensor td_select_scatter_at(td_origin origin, td_tensor x, td_tensor source, int64_t dim, int64_t index);
TD_API td_tensor td_slice_scatter_at(td_origin origin, td_tensor x, td_tensor source, int64_t dim,
                                     const struct td_slice_keywords *keywords);
TD_API td_tensor td_diagonal_scatter_at(td_origin origin, td_tensor x, td_tensor source,
                                        const struct td_diagonal_keywords *keywords);
TD_API td_tensor td_hstack_at(td_origin origin, td_list tensors);
TD_API td_tensor td_vstack_at(td_origin origin, td_list tensors);
TD_API td_tensor td_dstack_at(td_origin origin, td_list tensors);
TD_API int td_meshgrid_at(td_origin origin, td_list tensors, td_tensor *grids,
                          const struct td_meshgrid_keywords *keywords);

TD_API td_tensor td_normal_at(td_origin origin, td_session *s, double mean, double std, struct td_dims shape,
                              const struct td_drawn_keywords *keywords);
TD_API td_tensor td_uniform_at(td_origin origin, td_session *s, double low, double high, struct td_dims shape,
                               const struct td_drawn_keywords *keywords);
TD_API td_tensor td_exponential_at(td_origin origin, td_session *s, double rate, struct td_dims shape,
                                   const struct td_drawn_keywords *keywords);
TD_API td_tensor td_normal_of_at(td_origin origin, td_operand mean, td_operand std);
TD_API td_tensor td_randperm_at(td_origin origin, td_session *s, int64_t n);
TD_API td_tensor td_normal__at(td_origin origin, td_tensor x, double mean, double std);
TD_API td_tensor td_uniform__at(td_origin origin, td_tensor x, double low, double high);
TD_API td_tensor td_exponential__at(td_origin origin, td_tensor x, double rate);
TD_API td_tensor td_bernoulli__at(td_origin origin, td_tensor x, double p);
TD_API td_tensor td_dropout__at(td_origin origin, td_tensor x, const struct td_dropout_keywords *keywords);

#ifdef __cplusplus
}
#else
#define td_fliplr(x) td_fliplr_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_flipud(x) td_flipud_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_deg2rad(x) td_deg2rad_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_rad2deg(x) td_rad2deg_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_sgn(x) td_sgn_at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_broadcast_to(x, shape) td_broadcast_to_at(TD_HERE(TD_FRESH(#x, 0)), x, shape)
#define td_swapaxes(x, dim0, dim1) td_swapaxes_at(TD_HERE(TD_FRESH(#x, 0)), x, dim0, dim1)
#define td_swapdims(x, dim0, dim1) td_swapdims_at(TD_HERE(TD_FRESH(#x, 0)), x, dim0, dim1)
#define td_diff(x, ...)                                      \
    TD_WITH_KEYWORDS(td_tensor,                              \
                     td_diff_at(TD_HERE(TD_FRESH(#x, 0)), x, \
                                TD_KEYWORDS(td_diff, .n = 1, .dim = -1, .td_keywords_only = 0, __VA_ARGS__)))
#define TD_OVER_KEYWORDS(...) \
    TD_KEYWORDS(td_over, .dims = {.count = -1}, .keepdim = false, .td_keywords_only = 0, __VA_ARGS__)
#define td_amax(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_amax_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_OVER_KEYWORDS(__VA_ARGS__)))
#define td_amin(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_amin_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_OVER_KEYWORDS(__VA_ARGS__)))
#define td_nansum(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_nansum_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_OVER_KEYWORDS(__VA_ARGS__)))
#define td_nanmean(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_nanmean_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_OVER_KEYWORDS(__VA_ARGS__)))
#define TD_SPREAD_KEYWORDS(...) \
    TD_KEYWORDS(td_spread, .dims = {.count = -1}, .keepdim = false, .correction = 1, .td_keywords_only = 0, __VA_ARGS__)
#define td_var_mean(x, ...) \
    TD_WITH_KEYWORDS(td_spread, td_var_mean_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_SPREAD_KEYWORDS(__VA_ARGS__)))
#define td_std_mean(x, ...) \
    TD_WITH_KEYWORDS(td_spread, td_std_mean_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_SPREAD_KEYWORDS(__VA_ARGS__)))
#define td_renorm(x, p, dim, maxnorm) td_renorm_at(TD_HERE(TD_FRESH(#x, 0)), x, p, dim, maxnorm)
#define td_renorm_(x, p, dim, maxnorm) td_renorm__at(TD_HERE(TD_FRESH(#x, 0)), x, p, dim, maxnorm)
#define td_matrix_norm(x, ...)                                                                                 \
    TD_WITH_KEYWORDS(td_tensor,                                                                                \
                     td_matrix_norm_at(TD_HERE(TD_FRESH(#x, 0)), x,                                            \
                                       TD_KEYWORDS(td_matrix_norm, .ord = TD_FROBENIUS, .dims = {2, {-2, -1}}, \
                                                   .keepdim = false, .td_keywords_only = 0, __VA_ARGS__)))
#define td_true_divide(a, b) td_true_divide_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, TD_OPERAND(b))
#define td_float_power(a, b) td_float_power_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, TD_OPERAND(b))
#define td_ldexp(a, b) td_ldexp_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, TD_OPERAND(b))
#define td_clamp_min(x, low) td_clamp_min_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#low, 1)), x, TD_OPERAND(low))
#define td_clamp_max(x, high) td_clamp_max_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#high, 1)), x, TD_OPERAND(high))
#define td_clamp_between(x, low, high) \
    td_clamp_between_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#low, 1) | TD_FRESH(#high, 2)), x, low, high)
#define TD_ISCLOSE_KEYWORDS(...) \
    TD_KEYWORDS(td_isclose, .rtol = 1e-5, .atol = 1e-8, .equal_nan = false, .td_keywords_only = 0, __VA_ARGS__)
#define td_mvlgamma(x, p) td_mvlgamma_at(TD_HERE(TD_FRESH(#x, 0)), x, p)
#define td_mvlgamma_(x, p) td_mvlgamma__at(TD_HERE(TD_FRESH(#x, 0)), x, p)
#define td_swapaxes_(x, dim0, dim1) td_swapaxes__at(TD_HERE(TD_FRESH(#x, 0)), x, dim0, dim1)
#define td_swapdims_(x, dim0, dim1) td_swapdims__at(TD_HERE(TD_FRESH(#x, 0)), x, dim0, dim1)
#define td_resize_(x, shape) td_resize__at(TD_HERE(TD_FRESH(#x, 0)), x, shape)
#define td_resize_as_(x, other) td_resize_as__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, other)
#define td_zero_(x) td_zero__at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_sgn_(x) td_sgn__at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_deg2rad_(x) td_deg2rad__at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_rad2deg_(x) td_rad2deg__at(TD_HERE(TD_FRESH(#x, 0)), x)
#define td_true_divide_(x, other) \
    td_true_divide__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, TD_OPERAND(other))
#define td_float_power_(x, other) \
    td_float_power__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, TD_OPERAND(other))
#define td_ldexp_(x, other) td_ldexp__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#other, 1)), x, TD_OPERAND(other))
#define td_clamp_min_(x, low) td_clamp_min__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#low, 1)), x, TD_OPERAND(low))
#define td_clamp_max_(x, high) td_clamp_max__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#high, 1)), x, TD_OPERAND(high))
#define td_clamp_between_(x, low, high) \
    td_clamp_between__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#low, 1) | TD_FRESH(#high, 2)), x, low, high)
#define td_fill_diagonal_(x, value, ...)                                                           \
    TD_WITH_KEYWORDS(td_tensor, td_fill_diagonal__at(TD_HERE(TD_FRESH(#x, 0)), x, value,           \
                                                     TD_KEYWORDS(td_fill_diagonal_, .wrap = false, \
                                                                 .td_keywords_only = 0, __VA_ARGS__)))

#define td_isclose(a, b, ...) \
    TD_WITH_KEYWORDS(         \
        td_tensor, td_isclose_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, b, TD_ISCLOSE_KEYWORDS(__VA_ARGS__)))
#define td_allclose(a, b, ...) \
    TD_WITH_KEYWORDS(          \
        bool, td_allclose_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, b, TD_ISCLOSE_KEYWORDS(__VA_ARGS__)))
#define td_equal(a, b) td_equal_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, b)
#define TD_DIST_KEYWORDS(...) TD_KEYWORDS(td_dist, .p = 2, .td_keywords_only = 0, __VA_ARGS__)
#define td_dist(a, b, ...)      \
    TD_WITH_KEYWORDS(td_tensor, \
                     td_dist_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, b, TD_DIST_KEYWORDS(__VA_ARGS__)))
#define td_cdist(a, b, ...)     \
    TD_WITH_KEYWORDS(td_tensor, \
                     td_cdist_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, b, TD_DIST_KEYWORDS(__VA_ARGS__)))
#define td_pairwise_distance(a, b, ...)                                                                               \
    TD_WITH_KEYWORDS(td_tensor,                                                                                       \
                     td_pairwise_distance_at(TD_HERE(TD_FRESH(#a, 0) | TD_FRESH(#b, 1)), a, b,                        \
                                             TD_KEYWORDS(td_pairwise_distance, .p = 2, .eps = 1e-6, .keepdim = false, \
                                                         .td_keywords_only = 0, __VA_ARGS__)))
#define td_bucketize(x, boundaries, ...)                                                                 \
    TD_WITH_KEYWORDS(td_tensor,                                                                          \
                     td_bucketize_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#boundaries, 1)), x, boundaries, \
                                     TD_KEYWORDS(td_bucketize, .right = false, .td_keywords_only = 0, __VA_ARGS__)))
#undef td_repeat_interleave /* that of ops knows numbers only */
#define td_repeat_interleave(x, repeats, ...)                                          \
    TD_WITH_KEYWORDS(td_tensor,                                                        \
                     _Generic((repeats), td_tensor                                     \
                              : td_repeat_interleave_each_at, default                  \
                              : td_repeat_interleave_at)(                              \
                         TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#repeats, 1)), x, repeats, \
                         TD_KEYWORDS(td_repeat_interleave, .dim = INT64_MIN, .td_keywords_only = 0, __VA_ARGS__)))
#define td_repeat_interleave_each(x, repeats, ...)                                     \
    TD_WITH_KEYWORDS(td_tensor,                                                        \
                     td_repeat_interleave_each_at(                                     \
                         TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#repeats, 1)), x, repeats, \
                         TD_KEYWORDS(td_repeat_interleave, .dim = INT64_MIN, .td_keywords_only = 0, __VA_ARGS__)))
#define td_take_flat(x, index) td_take_flat_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#index, 1)), x, index)
#define TD_PUT_KEYWORDS(...) TD_KEYWORDS(td_put, .accumulate = false, .td_keywords_only = 0, __VA_ARGS__)
#define td_put(x, index, source, ...)                                                                               \
    TD_WITH_KEYWORDS(td_tensor, td_put_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#index, 1) | TD_FRESH(#source, 2)), x, \
                                          index, source, TD_PUT_KEYWORDS(__VA_ARGS__)))
#define td_put_(x, index, source, ...)                                                                               \
    TD_WITH_KEYWORDS(td_tensor, td_put__at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#index, 1) | TD_FRESH(#source, 2)), x, \
                                           index, source, TD_PUT_KEYWORDS(__VA_ARGS__)))
#define TD_INDEX_REDUCE(at, x_text, index_text, source_text, x, dim, index, source, reduce, ...)                   \
    TD_WITH_KEYWORDS(td_tensor,                                                                                    \
                     at(TD_HERE(TD_FRESH(x_text, 0) | TD_FRESH(index_text, 1) | TD_FRESH(source_text, 2)), x, dim, \
                        index, source, reduce,                                                                     \
                        TD_KEYWORDS(td_scatter_reduce, .include_self = 1, .td_keywords_only = 0, __VA_ARGS__)))
#define td_index_reduce(x, dim, index, source, reduce, ...) \
    TD_INDEX_REDUCE(td_index_reduce_at, #x, #index, #source, x, dim, index, source, reduce, __VA_ARGS__)
#define td_index_reduce_(x, dim, index, source, reduce, ...) \
    TD_INDEX_REDUCE(td_index_reduce__at, #x, #index, #source, x, dim, index, source, reduce, __VA_ARGS__)
#define td_take_along_dim(x, index, ...)                                                                       \
    TD_WITH_KEYWORDS(td_tensor, td_take_along_dim_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#index, 1)), x, index, \
                                                     TD_KEYWORDS(td_take_along_dim, .dim = INT64_MIN,          \
                                                                 .td_keywords_only = 0, __VA_ARGS__)))
#define td_select_scatter(x, source, dim, index) \
    td_select_scatter_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#source, 1)), x, source, dim, index)
#define td_slice_scatter(x, source, dim, ...)                                                                        \
    TD_WITH_KEYWORDS(td_tensor, td_slice_scatter_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#source, 1)), x, source, dim, \
                                                    TD_KEYWORDS(td_slice, .start = 0, .end = INT64_MAX, .step = 1,   \
                                                                .td_keywords_only = 0, __VA_ARGS__)))
#define td_diagonal_scatter(x, source, ...)                                                                        \
    TD_WITH_KEYWORDS(td_tensor, td_diagonal_scatter_at(TD_HERE(TD_FRESH(#x, 0) | TD_FRESH(#source, 1)), x, source, \
                                                       TD_KEYWORDS(td_diagonal, .offset = 0, .dim0 = 0, .dim1 = 1, \
                                                                   .td_keywords_only = 0, __VA_ARGS__)))
#define td_hstack(tensors) td_hstack_at(TD_HERE(0), tensors)
#define td_vstack(tensors) td_vstack_at(TD_HERE(0), tensors)
#define td_dstack(tensors) td_dstack_at(TD_HERE(0), tensors)
#define td_meshgrid(tensors, grids, ...)                             \
    TD_WITH_KEYWORDS(int, td_meshgrid_at(TD_HERE(0), tensors, grids, \
                                         TD_KEYWORDS(td_meshgrid, .xy = false, .td_keywords_only = 0, __VA_ARGS__)))
#define TD_LIKE_KEYWORDS(...) TD_KEYWORDS(td_like, .dtype = TD_DTYPE_NONE, .td_keywords_only = 0, __VA_ARGS__)
#define td_empty(s, shape, ...)                                                                                   \
    TD_WITH_KEYWORDS(td_tensor, td_empty_at(TD_HERE(0), s, shape,                                                 \
                                            TD_KEYWORDS(td_zeros, .dtype = TD_DTYPE_NONE, .requires_grad = false, \
                                                        .td_keywords_only = 0, __VA_ARGS__)))
#define td_logspace(s, start, end, steps, ...)                                                       \
    TD_WITH_KEYWORDS(td_tensor, td_logspace_at(TD_HERE(0), s, start, end, steps,                     \
                                               TD_KEYWORDS(td_logspace, .base = 10, .dtype = TD_F32, \
                                                           .td_keywords_only = 0, __VA_ARGS__)))
#define TD_TRIANGLE_KEYWORDS(...) TD_KEYWORDS(td_triangle, .offset = 0, .td_keywords_only = 0, __VA_ARGS__)
#define td_tril_indices(s, rows, columns, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_tril_indices_at(TD_HERE(0), s, rows, columns, TD_TRIANGLE_KEYWORDS(__VA_ARGS__)))
#define td_triu_indices(s, rows, columns, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_triu_indices_at(TD_HERE(0), s, rows, columns, TD_TRIANGLE_KEYWORDS(__VA_ARGS__)))
#define td_empty_like(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_empty_like_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_LIKE_KEYWORDS(__VA_ARGS__)))
#define td_zeros_like(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_zeros_like_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_LIKE_KEYWORDS(__VA_ARGS__)))
#define td_ones_like(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_ones_like_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_LIKE_KEYWORDS(__VA_ARGS__)))
#define td_rand_like(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_rand_like_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_LIKE_KEYWORDS(__VA_ARGS__)))
#define td_randn_like(x, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_randn_like_at(TD_HERE(TD_FRESH(#x, 0)), x, TD_LIKE_KEYWORDS(__VA_ARGS__)))
#define td_randint_like(x, low, high, ...) \
    TD_WITH_KEYWORDS(td_tensor,            \
                     td_randint_like_at(TD_HERE(TD_FRESH(#x, 0)), x, low, high, TD_LIKE_KEYWORDS(__VA_ARGS__)))
#define TD_DRAWN_KEYWORDS(...) TD_KEYWORDS(td_drawn, .dtype = TD_F32, .td_keywords_only = 0, __VA_ARGS__)
#define td_normal(s, mean, std, shape, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_normal_at(TD_HERE(0), s, mean, std, shape, TD_DRAWN_KEYWORDS(__VA_ARGS__)))
#define td_uniform(s, low, high, shape, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_uniform_at(TD_HERE(0), s, low, high, shape, TD_DRAWN_KEYWORDS(__VA_ARGS__)))
#define td_exponential(s, rate, shape, ...) \
    TD_WITH_KEYWORDS(td_tensor, td_exponential_at(TD_HERE(0), s, rate, shape, TD_DRAWN_KEYWORDS(__VA_ARGS__)))
#define td_normal_of(mean, std) \
    td_normal_of_at(TD_HERE(TD_FRESH(#mean, 0) | TD_FRESH(#std, 1)), TD_OPERAND(mean), TD_OPERAND(std))
#define td_rsample_normal(mean, std) \
    td_rsample_normal_at(TD_HERE(TD_FRESH(#mean, 0) | TD_FRESH(#std, 1)), TD_OPERAND(mean), TD_OPERAND(std))
#define td_rsample_uniform(low, high) \
    td_rsample_uniform_at(TD_HERE(TD_FRESH(#low, 0) | TD_FRESH(#high, 1)), TD_OPERAND(low), TD_OPERAND(high))
#define td_log_normal_(x, mean, std) td_log_normal__at(TD_HERE(TD_FRESH(#x, 0)), x, mean, std)
#define td_cauchy_(x, median, sigma) td_cauchy__at(TD_HERE(TD_FRESH(#x, 0)), x, median, sigma)
#define td_geometric_(x, p) td_geometric__at(TD_HERE(TD_FRESH(#x, 0)), x, p)
#define td_random_(x, low, high) td_random__at(TD_HERE(TD_FRESH(#x, 0)), x, low, high)
#define td_randperm(s, n) td_randperm_at(TD_HERE(0), s, n)
#define td_normal_(x, mean, std) td_normal__at(TD_HERE(TD_FRESH(#x, 0)), x, mean, std)
#define td_uniform_(x, low, high) td_uniform__at(TD_HERE(TD_FRESH(#x, 0)), x, low, high)
#define td_exponential_(x, rate) td_exponential__at(TD_HERE(TD_FRESH(#x, 0)), x, rate)
#define td_bernoulli_(x, p) td_bernoulli__at(TD_HERE(TD_FRESH(#x, 0)), x, p)
#define td_dropout_(x, ...)                                                                                            \
    TD_WITH_KEYWORDS(td_tensor, td_dropout__at(TD_HERE(TD_FRESH(#x, 0)), x,                                            \
                                               TD_KEYWORDS(td_dropout, .p = 0.5, .training = 1, .td_keywords_only = 0, \
                                                           __VA_ARGS__)))
#endif

#endif
