/* Other names that PyTorch has for functions of tensord.h, which includes this. SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORD_H
#include "tensord.h" /* which includes this file again */
#elif !defined TENSORD_NAMES_H
#define TENSORD_NAMES_H

#define td_absolute td_abs
#define td_arccos td_acos
#define td_arccosh td_acosh
#define td_arcsin td_asin
#define td_arcsinh td_asinh
#define td_arctan td_atan
#define td_arctan2 td_atan2
#define td_arctanh td_atanh
#define td_clip td_clamp
#define td_divide td_div
#define td_fix td_trunc
#define td_greater td_gt
#define td_greater_equal td_ge
#define td_less td_lt
#define td_less_equal td_le
#define td_multiply td_mul
#define td_negative td_neg
#define td_not_equal td_ne
#define td_subtract td_sub

#define td_absolute_ td_abs_
#define td_arccos_ td_acos_
#define td_arccosh_ td_acosh_
#define td_arcsin_ td_asin_
#define td_arcsinh_ td_asinh_
#define td_arctan_ td_atan_
#define td_arctan2_ td_atan2_
#define td_arctanh_ td_atanh_
#define td_clip_ td_clamp_
#define td_divide_ td_div_
#define td_fix_ td_trunc_
#define td_greater_ td_gt_
#define td_greater_equal_ td_ge_
#define td_less_ td_lt_
#define td_less_equal_ td_le_
#define td_multiply_ td_mul_
#define td_negative_ td_neg_
#define td_not_equal_ td_ne_
#define td_subtract_ td_sub_
#define td_requires_grad_ td_set_requires_grad

#define td_concat td_cat
#define td_fold td_col2im
#define td_moveaxis td_movedim
#define td_ravel td_flatten
#define td_row_stack td_vstack
#define td_upsample td_interpolate
/* What td_index_put_ writes, into a clone of x. */
#define td_index_put(x, value, ...) td_index_put_(td_clone(x), value, __VA_ARGS__)

#endif
