/* Functions made of a few ops: arithmetic, reductions, comparison, distances. SPDX-License-Identifier: Apache-2.0 */
#include "client/chain.h"

#include <math.h>

#define CHAIN(called, x)                                         \
    {                                                            \
        .name = called, .origin = origin, .session = (x).session \
    }
#define KEYWORDS(called, ...)                                     \
    const struct td_##called##_keywords defaults = {__VA_ARGS__}; \
    const struct td_##called##_keywords *k = keywords ? keywords : &defaults

static const struct td_sum_attrs everywhere = {.dims = {.count = -1}};

/* ---- of one tensor ---- */

/* One op on x under another name. */
#define RENAMED(called, id, attributes, parameters)                                  \
    td_tensor td_##called##_at parameters                                            \
    {                                                                                \
        const struct chain c = CHAIN(#called, x);                                    \
        td_tensor y = chain_step(&c, id, attributes, 1, (td_operand[]){lasting(x)}); \
        return chain_end(&c, y, 1, &x);                                              \
    }
#define OF_ONE (td_origin origin, td_tensor x)
#define OF_SHAPE (td_origin origin, td_tensor x, struct td_dims shape)
#define OF_DIMS (td_origin origin, td_tensor x, int64_t dim0, int64_t dim1)
RENAMED(fliplr, TD_OP_flip, (&(struct td_flip_attrs){.dims = {1, {1}}}), OF_ONE)
static td_tensor flipud(const struct chain *c, td_tensor x)
{
    const struct td_flip_attrs rows = {.dims = {1, {0}}};
    struct td_failure failure = {0};
    if (chain_layout(c, x).rank > 0 || !td_ok_at((td_origin){c->origin.where, 0}, x))
        return chain_step(c, TD_OP_flip, &rows, 1, (td_operand[]){lasting(x)});
    td_fail(&failure, TD_E_SHAPE, "flipud: a tensor without dimensions has no rows");
    return chain_refuse(c, &failure);
}
td_tensor td_flipud_at(td_origin origin, td_tensor x)
{
    const struct chain c = CHAIN("flipud", x);
    return chain_end(&c, flipud(&c, x), 1, &x);
}
RENAMED(sgn, TD_OP_sign, NULL, OF_ONE)
RENAMED(broadcast_to, TD_OP_expand, (&(struct td_expand_attrs){.shape = shape}), OF_SHAPE)
RENAMED(swapaxes, TD_OP_transpose, (&(struct td_transpose_attrs){.dim0 = dim0, .dim1 = dim1}), OF_DIMS)
RENAMED(swapdims, TD_OP_transpose, (&(struct td_transpose_attrs){.dim0 = dim0, .dim1 = dim1}), OF_DIMS)

static td_tensor times(const struct chain *c, td_tensor x, double factor)
{
    return chain_end(c, chain_binary(c, TD_OP_mul, lasting(x), td_operand_of_real(factor)), 1, &x);
}
td_tensor td_deg2rad_at(td_origin origin, td_tensor x)
{
    const struct chain c = CHAIN("deg2rad", x);
    return times(&c, x, M_PI / 180);
}
td_tensor td_rad2deg_at(td_origin origin, td_tensor x)
{
    const struct chain c = CHAIN("rad2deg", x);
    return times(&c, x, 180 / M_PI);
}

/* log(pi) p (p - 1) / 4 and the sum of lgamma(x + (1 - j) / 2) for j from 1 to p. */
td_tensor td_mvlgamma_at(td_origin origin, td_tensor x, int64_t p)
{
    const struct chain c = CHAIN("mvlgamma", x);
    struct td_failure failure = {0};
    if (p < 1 || p > 1000) {
        td_fail(&failure, TD_E_ARGUMENT, "mvlgamma: p is %lld where 1 to 1000 is due", (long long)p);
        return chain_end(&c, chain_refuse(&c, &failure), 1, &x);
    }
    td_operand sum = td_operand_of_real((double)(p * (p - 1)) / 4 * log(M_PI));
    td_tensor rows = chain_unary(&c, TD_OP_contiguous, lasting(x));
    for (int64_t j = 1; j <= p; j++) {
        td_operand from = j < p ? lasting(rows) : passing(rows);
        td_tensor at = chain_binary(&c, TD_OP_add, from, td_operand_of_real((double)(1 - j) / 2));
        sum = passing(chain_binary(&c, TD_OP_add, passing(chain_unary(&c, TD_OP_lgamma, passing(at))), sum));
    }
    return chain_end(&c, sum.tensor, 1, &x);
}
td_tensor(td_mvlgamma)(td_tensor x, int64_t p)
{
    return td_mvlgamma_at((td_origin){0}, x, p);
}

static td_tensor part(const struct chain *c, td_operand x, int64_t dim, int64_t start, int64_t end)
{
    const struct td_slice_attrs attrs = {.dim = dim, .start = start, .end = end, .step = 1};
    return chain_step(c, TD_OP_slice, &attrs, 1, &x);
}

td_tensor td_diff_at(td_origin origin, td_tensor x, const struct td_diff_keywords *keywords)
{
    KEYWORDS(diff, .n = 1, .dim = -1);
    const struct chain c = CHAIN("diff", x);
    td_layout layout = chain_layout(&c, x);
    bool truth = td_dtype_of_at((td_origin){origin.where, 0}, x) == TD_BOOL;
    struct td_failure failure = {0};
    if (k->n < 0 || (layout.rank == 0 && td_ok_at((td_origin){origin.where, 0}, x))) {
        if (k->n < 0)
            td_fail(&failure, TD_E_ARGUMENT, "diff: n is %lld, less than 0", (long long)k->n);
        else
            td_fail(&failure, TD_E_SHAPE, "diff: a tensor without dimensions has no neighbours");
        return chain_end(&c, chain_refuse(&c, &failure), 1, &x);
    }
    int d = td_wrap_dim(k->dim, layout.rank);
    int64_t most = d < 0 ? 1 : layout.shape[d], times = k->n < most ? k->n : most;
    if (times == 0)
        return chain_end(&c, chain_unary(&c, TD_OP_clone, lasting(x)), 1, &x);
    td_operand y = lasting(x);
    for (int64_t turn = 0; turn < times; turn++) {
        td_operand both = lasting(y.tensor);
        td_tensor ahead = part(&c, both, k->dim, 1, INT64_MAX), behind = part(&c, y, k->dim, 0, -1);
        y = passing(chain_binary(&c, truth ? TD_OP_ne : TD_OP_sub, passing(ahead), passing(behind)));
    }
    return chain_end(&c, y.tensor, 1, &x);
}

/* ---- reductions ---- */

static td_tensor reduced(const struct chain *c, enum td_op_id id, const struct td_over_keywords *k, td_operand x)
{
    const struct td_sum_attrs attrs = {.dims = k->dims, .keepdim = k->keepdim};
    return chain_step(c, id, &attrs, 1, &x);
}

static td_tensor without_nans(const struct chain *c, const struct td_over_keywords *k, td_tensor x)
{
    td_tensor numbers = chain_where(c, chain_unary(c, TD_OP_isnan, lasting(x)), td_operand_of_integer(0), lasting(x));
    return reduced(c, TD_OP_sum, k, passing(numbers));
}

#define OVER(called, body)                                                                             \
    td_tensor td_##called##_at(td_origin origin, td_tensor x, const struct td_over_keywords *keywords) \
    {                                                                                                  \
        KEYWORDS(over, .dims = {.count = -1}, .keepdim = false);                                       \
        const struct chain c = CHAIN(#called, x);                                                      \
        td_tensor y = body;                                                                            \
        return chain_end(&c, y, 1, &x);                                                                \
    }                                                                                                  \
    td_tensor(td_##called)(td_tensor x, const struct td_over_keywords *keywords)                       \
    {                                                                                                  \
        return td_##called##_at((td_origin){0}, x, keywords);                                          \
    }
OVER(amax, reduced(&c, TD_OP_max, k, lasting(x)))
OVER(amin, reduced(&c, TD_OP_min, k, lasting(x)))
OVER(nansum, without_nans(&c, k, x))
OVER(nanmean, chain_binary(&c, TD_OP_div, passing(without_nans(&c, k, x)),
                           passing(reduced(&c, TD_OP_sum, k,
                                           passing(chain_unary(&c, TD_OP_logical_not,
                                                               passing(chain_unary(&c, TD_OP_isnan, lasting(x)))))))))

static td_spread spread(const struct chain *c, enum td_op_id id, td_tensor x, const struct td_spread_keywords *keywords)
{
    KEYWORDS(spread, .dims = {.count = -1}, .keepdim = false, .correction = 1);
    const struct td_var_attrs attrs = {.dims = k->dims, .keepdim = k->keepdim, .correction = k->correction};
    const struct td_mean_attrs mean = {.dims = k->dims, .keepdim = k->keepdim};
    td_spread y = {chain_step(c, id, &attrs, 1, (td_operand[]){lasting(x)}),
                   chain_step(c, TD_OP_mean, &mean, 1, (td_operand[]){lasting(x)})};
    chain_used(c, x, 0);
    return y;
}
td_spread td_var_mean_at(td_origin origin, td_tensor x, const struct td_spread_keywords *keywords)
{
    const struct chain c = CHAIN("var_mean", x);
    return spread(&c, TD_OP_var, x, keywords);
}
td_spread td_std_mean_at(td_origin origin, td_tensor x, const struct td_spread_keywords *keywords)
{
    const struct chain c = CHAIN("std_mean", x);
    return spread(&c, TD_OP_std, x, keywords);
}

/* ---- a tensor and a number or a tensor ---- */

static double number_of(td_operand operand)
{
    return operand.number.category == TD_FLOATING ? operand.number.f : (double)operand.number.i;
}
td_tensor td_true_divide_at(td_origin origin, td_tensor a, td_operand b)
{
    const struct chain c = CHAIN("true_divide", a);
    return chain_end_two(&c, chain_binary(&c, TD_OP_div, lasting(a), lasting_operand(b)), a, b);
}

td_tensor td_float_power_at(td_origin origin, td_tensor a, td_operand b)
{
    const struct chain c = CHAIN("float_power", a);
    const struct td_to_attrs wide = {.dtype = TD_F64};
    td_tensor base = chain_step(&c, TD_OP_to, &wide, 1, (td_operand[]){lasting(a)});
    td_operand power = is_tensor(b) ? passing(chain_step(&c, TD_OP_to, &wide, 1, (td_operand[]){lasting_operand(b)}))
                                    : td_operand_of_real(number_of(b));
    return chain_end_two(&c, chain_binary(&c, TD_OP_pow, passing(base), power), a, b);
}

td_tensor td_ldexp_at(td_origin origin, td_tensor a, td_operand b)
{
    const struct chain c = CHAIN("ldexp", a);
    td_operand factor = is_tensor(b) ? passing(chain_unary(&c, TD_OP_exp2, lasting_operand(b)))
                                     : td_operand_of_real(exp2(number_of(b)));
    return chain_end_two(&c, chain_binary(&c, TD_OP_mul, lasting(a), factor), a, b);
}

/* ---- comparison ---- */

static td_origin here_of(const struct chain *c)
{
    return (td_origin){c->origin.where, 0};
}
static bool is_floating(const struct chain *c, td_tensor x)
{
    return td_dtype_category((uint8_t)td_dtype_of_at(here_of(c), x)) == TD_FLOATING;
}

static td_tensor close_to(const struct chain *c, td_tensor x, td_tensor y, const struct td_isclose_keywords *keywords)
{
    KEYWORDS(isclose, .rtol = 1e-5, .atol = 1e-8, .equal_nan = false);
    td_operand a = lasting(x), b = lasting(y);
    struct td_failure failure = {0};
    if (!(k->rtol >= 0) || !(k->atol >= 0)) {
        td_fail(&failure, TD_E_ARGUMENT, "%s: tolerances of %g and %g where none is below 0", c->name, k->rtol,
                k->atol);
        return chain_refuse(c, &failure);
    }
    td_tensor close = chain_binary(c, TD_OP_eq, a, b);
    td_tensor real = {0};
    if (!is_floating(c, x) && (k->rtol != 0 || k->atol != 0)) { /* integers would wrap */
        const struct td_to_attrs single = {.dtype = is_floating(c, y) ? td_dtype_of_at(here_of(c), y) : TD_F32};
        real = chain_step(c, TD_OP_to, &single, 1, &b);
        b = lasting(real);
    }
    if (k->equal_nan) {
        td_tensor nans = chain_binary(c, TD_OP_logical_and, passing(chain_unary(c, TD_OP_isnan, a)),
                                      passing(chain_unary(c, TD_OP_isnan, b)));
        close = chain_binary(c, TD_OP_logical_or, passing(close), passing(nans));
    }
    if (k->rtol == 0 && k->atol == 0)
        return close;
    td_tensor scaled = chain_unary(c, TD_OP_abs, passing(chain_binary(c, TD_OP_mul, b, td_operand_of_real(k->rtol))));
    td_tensor allowed = chain_binary(c, TD_OP_add, passing(scaled), td_operand_of_real(k->atol));
    td_tensor apart = chain_unary(c, TD_OP_abs, passing(chain_binary(c, TD_OP_sub, a, b)));
    td_tensor finite = chain_unary(c, TD_OP_isfinite, lasting(apart));
    td_tensor near = chain_binary(c, TD_OP_le, passing(apart), passing(allowed));
    near = chain_binary(c, TD_OP_logical_and, passing(finite), passing(near));
    chain_drop(real);
    return chain_binary(c, TD_OP_logical_or, passing(close), passing(near));
}

td_tensor td_isclose_at(td_origin origin, td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords)
{
    const struct chain c = CHAIN("isclose", a);
    return chain_end(&c, close_to(&c, a, b, keywords), 2, (td_tensor[]){a, b});
}

/* Whether all of truth is true; waits. */
static bool is_all(const struct chain *c, td_tensor truth)
{
    td_tensor all = chain_step(c, TD_OP_all, &everywhere, 1, (td_operand[]){passing(truth)});
    return td_item_at((td_origin){c->origin.where, 1}, all) == 1;
}

bool td_allclose_at(td_origin origin, td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords)
{
    const struct chain c = CHAIN("allclose", a);
    bool all = is_all(&c, close_to(&c, a, b, keywords));
    chain_end(&c, a, 2, (td_tensor[]){a, b});
    return all;
}

static bool same_shape(const td_layout *a, const td_layout *b)
{
    bool same = a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++)
        same = a->shape[d] == b->shape[d];
    return same;
}

bool td_equal_at(td_origin origin, td_tensor a, td_tensor b)
{
    const struct chain c = CHAIN("equal", a);
    const td_layout of_a = chain_layout(&c, a), of_b = chain_layout(&c, b);
    td_origin here = {origin.where, 0};
    bool failed = !td_ok_at(here, a) || !td_ok_at(here, b);
    bool equal = (failed || same_shape(&of_a, &of_b)) && is_all(&c, chain_binary(&c, TD_OP_eq, lasting(a), lasting(b)));
    chain_end(&c, a, 2, (td_tensor[]){a, b});
    return equal;
}

/* ---- distances ---- */

static td_tensor norm_of(const struct chain *c, td_tensor x, double p, struct td_dims dims, bool keepdim)
{
    const struct td_norm_attrs attrs = {.dims = dims, .keepdim = keepdim, .p = p};
    return chain_step(c, TD_OP_norm, &attrs, 1, (td_operand[]){passing(x)});
}

td_tensor td_dist_at(td_origin origin, td_tensor a, td_tensor b, const struct td_dist_keywords *keywords)
{
    KEYWORDS(dist, .p = 2);
    const struct chain c = CHAIN("dist", a);
    td_tensor apart = chain_binary(&c, TD_OP_sub, lasting(a), lasting(b));
    return chain_end(&c, norm_of(&c, apart, k->p, everywhere.dims, false), 2, (td_tensor[]){a, b});
}

td_tensor td_pairwise_distance_at(td_origin origin, td_tensor a, td_tensor b,
                                  const struct td_pairwise_distance_keywords *keywords)
{
    KEYWORDS(pairwise_distance, .p = 2, .eps = 1e-6, .keepdim = false);
    const struct chain c = CHAIN("pairwise_distance", a);
    td_tensor apart = chain_binary(&c, TD_OP_sub, lasting(a), lasting(b));
    apart = chain_binary(&c, TD_OP_add, passing(apart), td_operand_of_real(k->eps));
    return chain_end(&c, norm_of(&c, apart, k->p, (struct td_dims){1, {-1}}, k->keepdim), 2, (td_tensor[]){a, b});
}

static td_tensor with_dim(const struct chain *c, td_tensor x, int64_t dim)
{
    const struct td_unsqueeze_attrs attrs = {.dim = dim};
    return chain_step(c, TD_OP_unsqueeze, &attrs, 1, (td_operand[]){lasting(x)});
}

/* Which rows have a nan in them. Counting what is not 0 would take it for a number. */
static td_tensor nan_rows(const struct chain *c, td_tensor x)
{
    const struct td_any_attrs last = {.dims = {1, {-1}}};
    td_tensor nans = chain_unary(c, TD_OP_isnan, lasting(x));
    return chain_step(c, TD_OP_any, &last, 1, (td_operand[]){passing(nans)});
}

td_tensor td_cdist_at(td_origin origin, td_tensor a, td_tensor b, const struct td_dist_keywords *keywords)
{
    KEYWORDS(dist, .p = 2);
    const struct chain c = CHAIN("cdist", a);
    const td_layout of_a = chain_layout(&c, a), of_b = chain_layout(&c, b);
    td_origin here = {origin.where, 0};
    bool rows = of_a.rank > 1 && of_b.rank > 1 && of_a.shape[of_a.rank - 1] == of_b.shape[of_b.rank - 1];
    struct td_failure failure = {0};
    char at[TD_SHAPE_TEXT], bt[TD_SHAPE_TEXT];
    td_tensor y;
    if (td_ok_at(here, a) && td_ok_at(here, b) && (!rows || !(k->p >= 0))) {
        if (rows)
            td_fail(&failure, TD_E_ARGUMENT, "cdist: p is %g where 0 or more is due", k->p);
        else
            td_fail(&failure, TD_E_SHAPE, "cdist: shapes %s and %s are not two sets of rows of one width",
                    td_shape_text(of_a.rank, of_a.shape, at, sizeof at),
                    td_shape_text(of_b.rank, of_b.shape, bt, sizeof bt));
        y = chain_refuse(&c, &failure);
    } else {
        td_tensor apart = chain_binary(&c, TD_OP_sub, passing(with_dim(&c, a, -2)), passing(with_dim(&c, b, -3)));
        td_tensor nans = k->p == 0 ? nan_rows(&c, apart) : (td_tensor){0};
        y = norm_of(&c, apart, k->p, (struct td_dims){1, {-1}}, false);
        if (k->p == 0)
            y = chain_where(&c, nans, td_operand_of_real(NAN), passing(y));
    }
    return chain_end(&c, y, 2, (td_tensor[]){a, b});
}

/* ---- the functions behind the macros ---- */

td_tensor(td_fliplr)(td_tensor x)
{
    return td_fliplr_at((td_origin){0}, x);
}
td_tensor(td_flipud)(td_tensor x)
{
    return td_flipud_at((td_origin){0}, x);
}
td_tensor(td_deg2rad)(td_tensor x)
{
    return td_deg2rad_at((td_origin){0}, x);
}
td_tensor(td_rad2deg)(td_tensor x)
{
    return td_rad2deg_at((td_origin){0}, x);
}
td_tensor(td_sgn)(td_tensor x)
{
    return td_sgn_at((td_origin){0}, x);
}
td_tensor(td_broadcast_to)(td_tensor x, struct td_dims shape)
{
    return td_broadcast_to_at((td_origin){0}, x, shape);
}
td_tensor(td_swapaxes)(td_tensor x, int64_t dim0, int64_t dim1)
{
    return td_swapaxes_at((td_origin){0}, x, dim0, dim1);
}
td_tensor(td_swapdims)(td_tensor x, int64_t dim0, int64_t dim1)
{
    return td_swapdims_at((td_origin){0}, x, dim0, dim1);
}
td_tensor(td_diff)(td_tensor x, const struct td_diff_keywords *keywords)
{
    return td_diff_at((td_origin){0}, x, keywords);
}
td_spread(td_var_mean)(td_tensor x, const struct td_spread_keywords *keywords)
{
    return td_var_mean_at((td_origin){0}, x, keywords);
}
td_spread(td_std_mean)(td_tensor x, const struct td_spread_keywords *keywords)
{
    return td_std_mean_at((td_origin){0}, x, keywords);
}
td_tensor(td_true_divide)(td_tensor a, td_operand b)
{
    return td_true_divide_at((td_origin){0}, a, b);
}
td_tensor(td_float_power)(td_tensor a, td_operand b)
{
    return td_float_power_at((td_origin){0}, a, b);
}
td_tensor(td_ldexp)(td_tensor a, td_operand b)
{
    return td_ldexp_at((td_origin){0}, a, b);
}
td_tensor(td_isclose)(td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords)
{
    return td_isclose_at((td_origin){0}, a, b, keywords);
}
bool(td_allclose)(td_tensor a, td_tensor b, const struct td_isclose_keywords *keywords)
{
    return td_allclose_at((td_origin){0}, a, b, keywords);
}
bool(td_equal)(td_tensor a, td_tensor b)
{
    return td_equal_at((td_origin){0}, a, b);
}
td_tensor(td_dist)(td_tensor a, td_tensor b, const struct td_dist_keywords *keywords)
{
    return td_dist_at((td_origin){0}, a, b, keywords);
}
td_tensor(td_cdist)(td_tensor a, td_tensor b, const struct td_dist_keywords *keywords)
{
    return td_cdist_at((td_origin){0}, a, b, keywords);
}
td_tensor(td_pairwise_distance)(td_tensor a, td_tensor b, const struct td_pairwise_distance_keywords *keywords)
{
    return td_pairwise_distance_at((td_origin){0}, a, b, keywords);
}
