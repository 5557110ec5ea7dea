/* gradcheck: the gradients of a function against differences of its values, all of it ops in the daemon; only the
 * verdict is read. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/chain.h"

/* A function of several tensors that gives several: what is checked, or for gradgradcheck its gradients. */
struct subject {
    struct chain chain;
    td_function *function; /* NULL: mapping, of one tensor */
    td_mapping *mapping;
    bool gradients; /* the values are gradients; the inputs are followed by the seeds */
    int in_count, out_count;
    td_tensor in[2 * TD_FUNCTION_TENSORS];
    struct td_gradcheck_keywords keywords;
};

/* That a check's tensors are in: run's, check's and check_input's. */
#define SCOPES 3

static td_origin plainly(const struct subject *s)
{
    return (td_origin){s->chain.origin.where, 0};
}

static td_tensor op(const struct subject *s, enum td_op_id id, const void *attrs, td_tensor x)
{
    return chain_step(&s->chain, id, attrs, 1, (td_operand[]){td_operand_of_tensor(x)});
}

static td_tensor kept(td_tensor x)
{
    return lasting(x).tensor;
}

static int64_t numel(const struct subject *s, td_tensor x)
{
    td_layout layout = chain_layout(&s->chain, x);
    return td_checked_numel(layout.rank, layout.shape);
}

static td_tensor flat(const struct subject *s, td_tensor x)
{
    return op(s, TD_OP_reshape, &(struct td_reshape_attrs){.shape = {1, {-1}}}, x);
}

static td_tensor element(const struct subject *s, td_tensor x, int64_t index)
{
    return op(s, TD_OP_select, &(struct td_select_attrs){.dim = 0, .index = index}, kept(x));
}

static td_tensor binary(const struct subject *s, enum td_op_id id, td_operand a, td_operand b)
{
    return chain_binary(&s->chain, id, a, b);
}

/* ---- the subject's values ---- */

static int values(const struct subject *s, const td_tensor *in, td_tensor *out)
{
    if (!s->function) {
        out[0] =
            kept(s->mapping(kept(in[0]), (void *)(uintptr_t)s->keywords.data)); /* the program's own, as it gave it */
        return 1;
    }
    td_apply_to_at(plainly(s), s->function, TD_LIST_OF(function_inputs(s->function), in), out,
                   &(struct td_apply_keywords){.attributes = s->keywords.data});
    for (int k = 0; k < s->out_count; k++)
        out[k] = kept(out[k]);
    return s->out_count;
}

/* The gradients of the values by the inputs for given seeds: what gradgradcheck checks. */
static int gradients(const struct subject *s, const td_tensor *in, td_tensor *out)
{
    int count = s->in_count - s->out_count;
    td_tensor y[TD_FUNCTION_TENSORS];
    values(s, in, y);
    td_grads_of_at(plainly(s), TD_LIST_OF(s->out_count, y), TD_LIST_OF(count, in), out,
                   &(struct td_grads_of_keywords){.grad_outputs = TD_LIST_OF(s->out_count, in + count),
                                                  .create_graph = true,
                                                  .allow_unused = true});
    for (int k = 0; k < count; k++)
        out[k] = kept(out[k]);
    return count;
}

static int evaluate(const struct subject *s, const td_tensor *in, td_tensor *out)
{
    return s->gradients ? gradients(s, in, out) : values(s, in, out);
}

/* Copies of the inputs; wants: leaves that require a gradient. */
static void own_inputs(const struct subject *s, bool wants, td_tensor *in)
{
    for (int k = 0; k < s->in_count; k++) {
        in[k] = kept(op(s, TD_OP_clone, &(struct td_clone_attrs){}, op(s, TD_OP_detach, NULL, kept(s->in[k]))));
        if (wants)
            td_set_requires_grad_at(plainly(s), in[k], true);
    }
}

/* A view of one element of x, which may lie in memory as it likes. */
static td_tensor place_of(const struct subject *s, td_tensor x, int64_t index)
{
    td_layout layout = chain_layout(&s->chain, x);
    td_tensor place = kept(x);
    for (int d = layout.rank - 1; d >= 0; d--) {
        struct td_select_attrs attrs = {.dim = d, .index = index % layout.shape[d]};
        place = kept(op(s, TD_OP_select, &attrs, place));
        index /= layout.shape[d];
    }
    return place;
}

/* ---- Jacobians: a matrix for one output and one input, a row for each element of the output ---- */

static td_tensor matrix(const struct subject *s, int64_t rows, int64_t columns)
{
    return kept(chain_step(&s->chain, TD_OP_zeros,
                           &(struct td_zeros_attrs){.shape = {2, {rows, columns}}, .dtype = TD_F64}, 0, NULL));
}

/* x = value; both stay. */
static void put(const struct subject *s, td_tensor x, td_tensor value)
{
    binary(s, TD_OP_copy_, lasting(x), lasting(value));
}

static int evaluate_apart(const struct subject *s, const td_tensor *in, td_tensor *out)
{
    if (!s->gradients)
        return evaluate(s, in, out);
    TD_ENABLE_GRAD(s->chain.session); /* gradients are computed by a graph, if not for one */
    return evaluate(s, in, out);
}

/* Column of input i's element index: the difference of the values at both sides of it. */
static void put_column(const struct subject *s, td_tensor *in, int i, int64_t index, td_tensor *numeric,
                       const int64_t *rows)
{
    TD_SCOPE(s->chain.session);
    td_tensor up[TD_FUNCTION_TENSORS], down[TD_FUNCTION_TENSORS];
    td_tensor place = place_of(s, in[i], index);
    td_tensor middle = kept(op(s, TD_OP_clone, &(struct td_clone_attrs){}, place));
    put(s, place, binary(s, TD_OP_add, lasting(middle), td_operand_of_real(s->keywords.eps)));
    int count = evaluate_apart(s, in, up);
    for (int k = 0; k < count; k++) /* what it gave may be what it was given */
        up[k] = kept(op(s, TD_OP_clone, &(struct td_clone_attrs){}, op(s, TD_OP_detach, NULL, up[k])));
    put(s, place, binary(s, TD_OP_sub, lasting(middle), td_operand_of_real(s->keywords.eps)));
    evaluate_apart(s, in, down);
    for (int k = 0; k < count; k++) {
        if (!rows[k])
            continue;
        td_tensor change = binary(s, TD_OP_sub, lasting(up[k]), passing(op(s, TD_OP_detach, NULL, down[k])));
        td_tensor slope = binary(s, TD_OP_div, passing(change), td_operand_of_real(2 * s->keywords.eps));
        td_tensor column = op(s, TD_OP_select, &(struct td_select_attrs){.dim = 1, .index = index}, numeric[k]);
        put(s, column, flat(s, slope));
    }
    put(s, place, middle);
}

static void find_numeric(const struct subject *s, int i, int64_t columns, td_tensor *numeric, const int64_t *rows)
{
    TD_SCOPE(s->chain.session);
    TD_NO_GRAD(s->chain.session);
    td_tensor in[2 * TD_FUNCTION_TENSORS];
    own_inputs(s, s->gradients, in);
    for (int64_t index = 0; index < columns; index++)
        put_column(s, in, i, index, numeric, rows);
}

static void find_analytic(const struct subject *s, int i, td_tensor *analytic, const int64_t *rows)
{
    TD_SCOPE(s->chain.session);
    TD_ENABLE_GRAD(s->chain.session);
    td_tensor in[2 * TD_FUNCTION_TENSORS], out[TD_FUNCTION_TENSORS];
    own_inputs(s, true, in);
    int count = evaluate(s, in, out);
    for (int k = 0; k < count; k++) {
        td_tensor y = rows[k] ? kept(flat(s, out[k])) : out[k];
        for (int64_t row = 0; row < rows[k]; row++) {
            TD_SCOPE(s->chain.session);
            td_tensor one = kept(element(s, y, row));
            td_tensor gradient = grads_ask(s->chain.name, plainly(s), one, in[i], (td_tensor){0},
                                           TD_GRADS_RETAIN | TD_GRADS_ZEROS | TD_GRADS_CONSTANTS);
            TD_NO_GRAD(s->chain.session);
            put(s, element(s, analytic[k], row), flat(s, gradient));
        }
    }
}

/* ---- the verdict ---- */

static double read_at(const struct subject *s, td_tensor x, int64_t index)
{
    td_tensor one = element(s, flat(s, kept(x)), index);
    double value = td_item_at(plainly(s), one);
    chain_drop(one);
    return value;
}

/* The element of the matrices where they differ most, by what is allowed there, and by how much of that. */
static int64_t find_worst(const struct subject *s, td_tensor analytic, td_tensor numeric, double *excess)
{
    TD_SCOPE(s->chain.session);
    td_tensor apart =
        chain_unary(&s->chain, TD_OP_abs, passing(binary(s, TD_OP_sub, lasting(analytic), lasting(numeric))));
    td_tensor size = chain_unary(&s->chain, TD_OP_abs, lasting(numeric));
    td_tensor part = binary(s, TD_OP_mul, passing(size), td_operand_of_real(s->keywords.rtol));
    td_tensor allowed = binary(s, TD_OP_add, passing(part), td_operand_of_real(s->keywords.atol));
    td_tensor ratio = kept(flat(s, binary(s, TD_OP_div, passing(apart), passing(allowed))));
    td_tensor worst = kept(op(s, TD_OP_argmax, &(struct td_argmax_attrs){.dim = 0}, ratio)); /* nan counts as most */
    int64_t index = -1;
    if (td_read_at(plainly(s), worst, &index, TD_I64, 1) == 1)
        *excess = read_at(s, ratio, index);
    return index;
}

/* "[2, 0]": where element index of x is. */
static const char *place_text(const struct subject *s, td_tensor x, int64_t index, char *text, size_t room)
{
    td_layout layout = chain_layout(&s->chain, x);
    int64_t at[TD_RANK_MAX] = {0};
    size_t used = (size_t)snprintf(text, room, "[");
    for (int d = layout.rank - 1; d >= 0; d--) {
        at[d] = index % layout.shape[d];
        index /= layout.shape[d];
    }
    for (int d = 0; d < layout.rank && used < room; d++)
        used += (size_t)snprintf(text + used, room - used, "%s%" PRId64, d ? ", " : "", at[d]);
    if (used < room)
        snprintf(text + used, room - used, "]");
    return text;
}

static void refuse(const struct subject *s, const struct td_gradcheck_report *r, td_tensor output)
{
    TD_NO_FAILURE(failure);
    char of[TD_SHAPE_TEXT], by[TD_SHAPE_TEXT];
    const char *name = s->function ? function_name(s->function) : "the function";
    if (!r->deterministic)
        td_fail(&failure, TD_E_GRAD,
                "%s: %s gives other gradients the second time: it is random, or changes something outside",
                s->chain.name, name);
    else
        td_fail(
            &failure, TD_E_GRAD,
            "%s: d output %d %s / d input %d %s of %s is %.10g by backward and %.10g by differences (absolute error "
            "%.3g, relative %.3g)",
            s->chain.name, r->output, place_text(s, output, r->output_element, of, sizeof of), r->input,
            place_text(s, s->in[r->input], r->input_element, by, sizeof by), name, r->analytic, r->numeric,
            r->absolute_error, r->relative_error);
    td_hint(&failure, r->deterministic
                          ? "A kink nearby shows so, too: try other inputs before the backward is searched."
                          : "td_manual_seed inside makes random ops draw the same.");
    chain_drop(chain_refuse(&s->chain, &failure));
}

/* A tensor that outlives the check, for the program's report. */
static td_tensor given_out(const struct subject *s, td_tensor x)
{
    for (int scope = 0; scope < SCOPES; scope++)
        x = td_keep_at(plainly(s), x);
    return kept(x);
}

/* Checks the gradients by input i. False after an error, or where they differ: r says where. */
static bool check_input(const struct subject *s, int i, const td_tensor *out, const int64_t *rows,
                        struct td_gradcheck_report *r)
{
    TD_SCOPE(s->chain.session);
    td_tensor numeric[TD_FUNCTION_TENSORS], analytic[TD_FUNCTION_TENSORS], again[TD_FUNCTION_TENSORS];
    int64_t columns = numel(s, s->in[i]);
    bool deterministic = true, passed = true;
    if (columns <= 0)
        return columns == 0;
    for (int k = 0; k < s->out_count; k++) {
        numeric[k] = matrix(s, rows[k], columns);
        analytic[k] = matrix(s, rows[k], columns);
        again[k] = matrix(s, rows[k], columns);
    }
    find_numeric(s, i, columns, numeric, rows);
    find_analytic(s, i, analytic, rows);
    find_analytic(s, i, again, rows);
    for (int k = 0; k < s->out_count && passed; k++) {
        double excess = NAN;
        if (!rows[k])
            continue;
        int64_t worst = find_worst(s, analytic[k], numeric[k], &excess);
        if (worst < 0)
            return false; /* an error, which has been raised */
        deterministic = isnan(excess) || td_equal_at(plainly(s), analytic[k], again[k]);
        passed = deterministic && excess <= 1;
        if (passed && !(excess > r->excess))
            continue;
        double a = read_at(s, analytic[k], worst), n = read_at(s, numeric[k], worst);
        *r = (struct td_gradcheck_report){.passed = passed,
                                          .deterministic = deterministic,
                                          .excess = excess,
                                          .input = i,
                                          .output = k,
                                          .input_element = worst % columns,
                                          .output_element = worst / columns,
                                          .analytic = a,
                                          .numeric = n,
                                          .absolute_error = fabs(a - n),
                                          .relative_error = fabs(a - n) / fmax(fabs(a), fabs(n)),
                                          .analytic_matrix = r->analytic_matrix,
                                          .numeric_matrix = r->numeric_matrix};
        if (!passed)
            refuse(s, r, out[k]);
        if (s->keywords.report && !passed) {
            r->analytic_matrix = given_out(s, analytic[k]);
            r->numeric_matrix = given_out(s, numeric[k]);
        }
    }
    return passed;
}

static bool check_dtypes(const struct subject *s)
{
    TD_NO_FAILURE(failure);
    for (int k = 0; k < s->in_count; k++) {
        enum td_dtype dtype = td_dtype_of_at(plainly(s), s->in[k]);
        if (dtype == TD_F64)
            continue;
        if (dtype == TD_DTYPE_NONE)
            return false;
        td_fail(&failure, TD_E_DTYPE, "%s: input %d is %s; differences need f64", s->chain.name, k,
                td_dtype_name(dtype));
        td_hint(&failure, "td_to(x, TD_F64) converts.");
        chain_drop(chain_refuse(&s->chain, &failure));
        return false;
    }
    return true;
}

/* The outputs' sizes, of those that are checked; 0 of others. */
static bool look_at_outputs(struct subject *s, td_tensor *out, int64_t *rows)
{
    TD_ENABLE_GRAD(s->chain.session);
    td_tensor in[2 * TD_FUNCTION_TENSORS];
    TD_NO_FAILURE(failure);
    bool any = false;
    own_inputs(s, true, in);
    s->out_count = evaluate(s, in, out);
    for (int k = 0; k < s->out_count; k++) {
        if (!td_ok_at(plainly(s), out[k]))
            return false;
        bool wants = td_requires_grad_at(plainly(s), out[k]) && td_dtype_of_at(plainly(s), out[k]) == TD_F64;
        rows[k] = wants ? numel(s, out[k]) : 0;
        any |= wants;
    }
    if (any)
        return true;
    td_fail(&failure, TD_E_GRAD, "%s: no output depends on an input", s->chain.name);
    chain_drop(chain_refuse(&s->chain, &failure));
    return false;
}

static bool check(struct subject *s)
{
    struct td_gradcheck_report report = {.passed = true, .deterministic = true};
    int64_t rows[TD_FUNCTION_TENSORS];
    td_tensor out[TD_FUNCTION_TENSORS];
    TD_SCOPE(s->chain.session);
    bool passed = look_at_outputs(s, out, rows);
    for (int i = 0; i < s->in_count && passed; i++)
        passed = check_input(s, i, out, rows, &report);
    report.passed = passed;
    if (s->keywords.report)
        *s->keywords.report = report;
    return passed;
}

/* For gradgradcheck: a seed for each output, drawn without touching the session's numbers. */
static bool add_seeds(struct subject *s)
{
    td_tensor out[TD_FUNCTION_TENSORS];
    struct subject plain = *s;
    int64_t rows[TD_FUNCTION_TENSORS];
    plain.gradients = false;
    if (!look_at_outputs(&plain, out, rows))
        return false;
    s->out_count = plain.out_count;
    for (int k = 0; k < plain.out_count; k++) {
        td_layout layout = chain_layout(&s->chain, out[k]);
        struct td_reshape_attrs shape = {.shape.count = layout.rank};
        memcpy(shape.shape.v, layout.shape, sizeof shape.shape.v);
        int64_t count = td_checked_numel(layout.rank, layout.shape);
        td_tensor numbers = chain_step(&s->chain, TD_OP_arange,
                                       &(struct td_arange_attrs){.start = td_number_of_real(1),
                                                                 .end = td_number_of_real((double)count + 1),
                                                                 .step = td_number_of_real(1),
                                                                 .dtype = TD_F64},
                                       0, NULL);
        /* cos(1), cos(2), ...: of any size and sign */
        s->in[s->in_count++] = kept(op(s, TD_OP_reshape, &shape, op(s, TD_OP_cos, NULL, numbers)));
    }
    return true;
}

/* second: the gradients are what is checked. */
static bool run(td_origin origin, const char *name, const struct td_gradcheck_arguments *a, bool second)
{
    static const struct td_gradcheck_keywords defaults = {.eps = 1e-6, .atol = 1e-5, .rtol = 1e-3};
    struct subject s = {.chain = {.name = name, .origin = origin},
                        .keywords = a->keywords ? *a->keywords : defaults,
                        .function = a->function,
                        .mapping = a->mapping,
                        .in_count = (int)a->inputs.count};
    TD_NO_FAILURE(failure);
    int due = a->function ? function_inputs(a->function) : 1;
    s.chain.session = a->inputs.count > 0 ? a->inputs.items[0].session : NULL;
    if (!s.chain.session)
        return false;
    if (a->inputs.count != due)
        td_fail(&failure, TD_E_ARGUMENT, "%s: %lld inputs for a function of %d", name, (long long)a->inputs.count, due);
    if (s.chain.session->recording)
        td_fail(&failure, TD_E_ARGUMENT, "%s: cannot be part of a recording, since it reads", name);
    if (failure.code) {
        chain_drop(chain_refuse(&s.chain, &failure));
        return false;
    }
    TD_SCOPE(s.chain.session);
    for (int k = 0; k < s.in_count; k++)
        s.in[k] = kept(a->inputs.items[k]);
    bool passed = check_dtypes(&s);
    s.gradients = second;
    s.out_count = a->function ? function_outputs(a->function) : 1;
    if (passed && second)
        passed = add_seeds(&s);
    return passed && check(&s);
}

bool td_gradcheck_at(td_origin origin, const struct td_gradcheck_arguments *arguments)
{
    return run(origin, "gradcheck", arguments, false);
}

bool td_gradgradcheck_at(td_origin origin, const struct td_gradcheck_arguments *arguments)
{
    return run(origin, "gradgradcheck", arguments, true);
}
