/* Functions made of rand and randn: other laws, and tensors drawn anew. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "client/chain.h"

/* What is drawn: a law and its two numbers. */
enum law { NORMAL, UNIFORM, EXPONENTIAL, COINS, LOG_NORMAL, CAUCHY, GEOMETRIC };

static bool refuses(const struct chain *c, enum law law, double a, double b, struct td_failure *failure)
{
    if ((law == NORMAL || law == LOG_NORMAL) && !(b >= 0))
        td_fail(failure, TD_E_ARGUMENT, "%s: std is %g, less than 0", c->name, b);
    else if (law == UNIFORM && !(a <= b))
        td_fail(failure, TD_E_ARGUMENT, "%s: from %g to %g is no range", c->name, a, b);
    else if (law == EXPONENTIAL && !(a > 0))
        td_fail(failure, TD_E_ARGUMENT, "%s: the rate is %g where more than 0 is due", c->name, a);
    else if (law == COINS && !(a >= 0 && a <= 1))
        td_fail(failure, TD_E_ARGUMENT, "%s: p is %g where a probability from 0 to 1 is due", c->name, a);
    else if (law == CAUCHY && !(b > 0))
        td_fail(failure, TD_E_ARGUMENT, "%s: sigma is %g where more than 0 is due", c->name, b);
    else if (law == GEOMETRIC && !(a > 0 && a < 1))
        td_fail(failure, TD_E_ARGUMENT, "%s: p is %g where a probability between 0 and 1 is due", c->name, a);
    return failure->code != TD_E_OK;
}

static td_tensor scaled(const struct chain *c, td_tensor x, double factor, double added)
{
    td_tensor y = chain_binary(c, TD_OP_mul, passing(x), td_operand_of_real(factor));
    return chain_binary(c, TD_OP_add, passing(y), td_operand_of_real(added));
}

static td_tensor drawn(const struct chain *c, enum law law, double a, double b, struct td_dims shape,
                       enum td_dtype dtype)
{
    const struct td_rand_attrs attrs = {.shape = shape, .dtype = (int64_t)dtype};
    struct td_failure failure = {0};
    if (refuses(c, law, a, b, &failure))
        return chain_refuse(c, &failure);
    bool normal = law == NORMAL || law == LOG_NORMAL;
    td_tensor x = chain_step(c, normal ? TD_OP_randn : TD_OP_rand, &attrs, 0, NULL);
    switch (law) {
    case NORMAL:
        return scaled(c, x, b, a);
    case LOG_NORMAL:
        return chain_unary(c, TD_OP_exp, passing(scaled(c, x, b, a)));
    case CAUCHY: /* tan(pi * (x - 1 / 2)) */
        return scaled(c, chain_unary(c, TD_OP_tan, passing(scaled(c, x, M_PI, -M_PI / 2))), b, a);
    case GEOMETRIC: /* log(1 - x) / log(1 - p), which is never the first whole number below */
        x = chain_unary(c, TD_OP_log1p, passing(chain_unary(c, TD_OP_neg, passing(x))));
        x = chain_binary(c, TD_OP_mul, passing(x), td_operand_of_real(1 / log1p(-a)));
        return scaled(c, chain_unary(c, TD_OP_floor, passing(x)), 1, 1);
    case UNIFORM:
        return scaled(c, x, b - a, a);
    case EXPONENTIAL: /* -log(1 - x) / rate */
        x = chain_unary(c, TD_OP_log1p, passing(chain_unary(c, TD_OP_neg, passing(x))));
        return chain_binary(c, TD_OP_mul, passing(x), td_operand_of_real(-1 / a));
    case COINS:
        return chain_binary(c, TD_OP_lt, passing(x), td_operand_of_real(a));
    }
    return x;
}

/* Coins and counts may fall into any type; what is continuous only into floats, as copy_ would cut it. */
static td_tensor drawn_into(const struct chain *c, enum law law, double a, double b, td_tensor x)
{
    td_layout layout = chain_layout(c, x);
    enum td_dtype dtype = td_dtype_of_at((td_origin){c->origin.where, 0}, x);
    bool floats = dtype == TD_F16 || dtype == TD_BF16 || dtype == TD_F32 || dtype == TD_F64;
    struct td_dims shape = {.count = layout.rank};
    for (int d = 0; d < layout.rank; d++)
        shape.v[d] = layout.shape[d];
    if (law == LOG_NORMAL || law == CAUCHY)
        return chain_write(c, x, drawn(c, law, a, b, shape, TD_F64));
    td_tensor y = drawn(c, law, a, b, shape, law == GEOMETRIC ? TD_F64 : law == COINS && !floats ? TD_F32 : dtype);
    chain_binary(c, TD_OP_copy_, lasting(x), passing(y));
    return chain_target(c, x);
}

static enum td_dtype dtype_of(const struct td_drawn_keywords *keywords)
{
    return keywords ? keywords->dtype : TD_F32;
}

#define MADE(called)                                   \
    {                                                  \
        .name = called, .origin = origin, .session = s \
    }
#define INTO(called)                                           \
    {                                                          \
        .name = called, .origin = origin, .session = x.session \
    }

td_tensor td_normal_at(td_origin origin, td_session *s, double mean, double std, struct td_dims shape,
                       const struct td_drawn_keywords *keywords)
{
    const struct chain c = MADE("normal");
    return drawn(&c, NORMAL, mean, std, shape, dtype_of(keywords));
}
td_tensor td_uniform_at(td_origin origin, td_session *s, double low, double high, struct td_dims shape,
                        const struct td_drawn_keywords *keywords)
{
    const struct chain c = MADE("uniform");
    return drawn(&c, UNIFORM, low, high, shape, dtype_of(keywords));
}
td_tensor td_exponential_at(td_origin origin, td_session *s, double rate, struct td_dims shape,
                            const struct td_drawn_keywords *keywords)
{
    const struct chain c = MADE("exponential");
    return drawn(&c, EXPONENTIAL, rate, 0, shape, dtype_of(keywords));
}

/* One of mean and std as an operand of a step, outside the graph; *made is for the caller to release. */
static td_operand constant(const struct chain *c, td_operand x, td_tensor *made)
{
    if (x.number.category >= 0)
        return x;
    *made = chain_unary(c, TD_OP_detach, lasting(x.tensor));
    return lasting(*made);
}

/* first + second * e, where e is drawn by the op id; the sum of both has the shape and the type of the result. */
static td_tensor around(const struct chain *c, td_operand first, td_operand second, enum td_op_id id)
{
    const bool leads = first.number.category < 0;
    td_tensor sum = chain_binary(c, TD_OP_add, leads ? first : second, leads ? second : first);
    td_layout layout = chain_layout(c, sum);
    struct td_randn_attrs attrs = {.shape.count = layout.rank,
                                   .dtype = td_dtype_of_at((td_origin){c->origin.where, 0}, sum)};
    for (int k = 0; k < layout.rank; k++)
        attrs.shape.v[k] = layout.shape[k];
    chain_drop(sum);
    td_tensor y = chain_binary(c, TD_OP_mul, passing(chain_step(c, id, &attrs, 0, NULL)), second);
    return chain_binary(c, TD_OP_add, passing(y), first);
}

static td_operand staying(td_operand x)
{
    return x.number.category < 0 ? lasting(x.tensor) : x;
}

static td_tensor end_two(const struct chain *c, td_tensor y, td_operand a, td_operand b)
{
    const td_operand given[] = {a, b};
    for (int k = 0; k < 2; k++)
        if (given[k].number.category < 0)
            chain_used(c, given[k].tensor, k);
    return y;
}

static td_session *session_of(td_operand a, td_operand b)
{
    return (a.number.category < 0 ? a : b).tensor.session;
}

td_tensor td_normal_of_at(td_origin origin, td_operand mean, td_operand std)
{
    const struct chain c = {.name = "normal_of", .origin = origin, .session = session_of(mean, std)};
    td_tensor made[2] = {0};
    if (!c.session)
        return (td_tensor){0};
    td_operand m = constant(&c, mean, &made[0]), d = constant(&c, std, &made[1]);
    td_tensor y = around(&c, m, d, TD_OP_randn);
    chain_drop(made[0]);
    chain_drop(made[1]);
    return end_two(&c, y, mean, std);
}

td_tensor td_rsample_normal_at(td_origin origin, td_operand mean, td_operand std)
{
    const struct chain c = {.name = "rsample_normal", .origin = origin, .session = session_of(mean, std)};
    if (!c.session)
        return (td_tensor){0};
    return end_two(&c, around(&c, staying(mean), staying(std), TD_OP_randn), mean, std);
}

td_tensor td_rsample_uniform_at(td_origin origin, td_operand low, td_operand high)
{
    const struct chain c = {.name = "rsample_uniform", .origin = origin, .session = session_of(low, high)};
    if (!c.session)
        return (td_tensor){0};
    bool turned = high.number.category >= 0; /* a number less a tensor */
    td_tensor width =
        chain_binary(&c, turned ? TD_OP_rsub : TD_OP_sub, staying(turned ? low : high), staying(turned ? high : low));
    td_tensor y = around(&c, staying(low), lasting(width), TD_OP_rand);
    chain_drop(width);
    return end_two(&c, y, low, high);
}

td_tensor td_randperm_at(td_origin origin, td_session *s, int64_t n)
{
    const struct chain c = MADE("randperm");
    const struct td_rand_attrs attrs = {.shape = {1, {n}}, .dtype = TD_F64};
    const struct td_argsort_attrs along = {.dim = 0};
    td_tensor keys = chain_step(&c, TD_OP_rand, &attrs, 0, NULL);
    return chain_step(&c, TD_OP_argsort, &along, 1, (td_operand[]){passing(keys)});
}

td_tensor td_normal__at(td_origin origin, td_tensor x, double mean, double std)
{
    const struct chain c = INTO("normal_");
    return drawn_into(&c, NORMAL, mean, std, x);
}
td_tensor td_uniform__at(td_origin origin, td_tensor x, double low, double high)
{
    const struct chain c = INTO("uniform_");
    return drawn_into(&c, UNIFORM, low, high, x);
}
td_tensor td_exponential__at(td_origin origin, td_tensor x, double rate)
{
    const struct chain c = INTO("exponential_");
    return drawn_into(&c, EXPONENTIAL, rate, 0, x);
}
td_tensor td_bernoulli__at(td_origin origin, td_tensor x, double p)
{
    const struct chain c = INTO("bernoulli_");
    return drawn_into(&c, COINS, p, 0, x);
}

td_tensor td_log_normal__at(td_origin origin, td_tensor x, double mean, double std)
{
    const struct chain c = INTO("log_normal_");
    return drawn_into(&c, LOG_NORMAL, mean, std, x);
}
td_tensor td_cauchy__at(td_origin origin, td_tensor x, double median, double sigma)
{
    const struct chain c = INTO("cauchy_");
    return drawn_into(&c, CAUCHY, median, sigma, x);
}
td_tensor td_geometric__at(td_origin origin, td_tensor x, double p)
{
    const struct chain c = INTO("geometric_");
    return drawn_into(&c, GEOMETRIC, p, 0, x);
}
td_tensor td_random__at(td_origin origin, td_tensor x, int64_t low, int64_t high)
{
    const struct chain c = INTO("random_");
    td_layout layout = chain_layout(&c, x);
    struct td_randint_attrs attrs = {.low = low, .high = high, .shape.count = layout.rank, .dtype = TD_I64};
    memcpy(attrs.shape.v, layout.shape, sizeof layout.shape);
    chain_binary(&c, TD_OP_copy_, lasting(x), passing(chain_step(&c, TD_OP_randint, &attrs, 0, NULL)));
    return chain_target(&c, x);
}

td_tensor td_dropout__at(td_origin origin, td_tensor x, const struct td_dropout_keywords *keywords)
{
    const struct td_dropout_attrs attrs = {.p = keywords ? keywords->p : 0.5,
                                           .training = keywords ? keywords->training : 1};
    const td_operand in = td_operand_of_tensor(x);
    return client_in_place(
        &(struct client_op){.id = TD_OP_dropout, .origin = origin, .in = &in, .in_count = 1, .attrs = &attrs});
}

/* ---- the functions behind the macros ---- */

td_tensor(td_normal)(td_session *s, double mean, double std, struct td_dims shape,
                     const struct td_drawn_keywords *keywords)
{
    return td_normal_at((td_origin){0}, s, mean, std, shape, keywords);
}
td_tensor(td_uniform)(td_session *s, double low, double high, struct td_dims shape,
                      const struct td_drawn_keywords *keywords)
{
    return td_uniform_at((td_origin){0}, s, low, high, shape, keywords);
}
td_tensor(td_exponential)(td_session *s, double rate, struct td_dims shape, const struct td_drawn_keywords *keywords)
{
    return td_exponential_at((td_origin){0}, s, rate, shape, keywords);
}
td_tensor(td_normal_of)(td_operand mean, td_operand std)
{
    return td_normal_of_at((td_origin){0}, mean, std);
}
td_tensor(td_rsample_normal)(td_operand mean, td_operand std)
{
    return td_rsample_normal_at((td_origin){0}, mean, std);
}
td_tensor(td_rsample_uniform)(td_operand low, td_operand high)
{
    return td_rsample_uniform_at((td_origin){0}, low, high);
}
td_tensor(td_log_normal_)(td_tensor x, double mean, double std)
{
    return td_log_normal__at((td_origin){0}, x, mean, std);
}
td_tensor(td_cauchy_)(td_tensor x, double median, double sigma)
{
    return td_cauchy__at((td_origin){0}, x, median, sigma);
}
td_tensor(td_geometric_)(td_tensor x, double p)
{
    return td_geometric__at((td_origin){0}, x, p);
}
td_tensor(td_random_)(td_tensor x, int64_t low, int64_t high)
{
    return td_random__at((td_origin){0}, x, low, high);
}
td_tensor(td_randperm)(td_session *s, int64_t n)
{
    return td_randperm_at((td_origin){0}, s, n);
}
td_tensor(td_normal_)(td_tensor x, double mean, double std)
{
    return td_normal__at((td_origin){0}, x, mean, std);
}
td_tensor(td_uniform_)(td_tensor x, double low, double high)
{
    return td_uniform__at((td_origin){0}, x, low, high);
}
td_tensor(td_exponential_)(td_tensor x, double rate)
{
    return td_exponential__at((td_origin){0}, x, rate);
}
td_tensor(td_bernoulli_)(td_tensor x, double p)
{
    return td_bernoulli__at((td_origin){0}, x, p);
}
td_tensor(td_dropout_)(td_tensor x, const struct td_dropout_keywords *keywords)
{
    return td_dropout__at((td_origin){0}, x, keywords);
}
