/* Gradient rules: the page that holds them all. g is the gradient of the output, y the output, x (or a, b) an input;
 * the formulas stand over each rule. Where a rule selects, it uses where and never a product with a mask, so that
 * infinities and NaN on the other side stay out. Broadcasting and dtypes are undone by give, for all rules alike.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/gradients.h"

#include <string.h>

#include "server/worker/session.h"

/* ---- noting down ---- */

static ref new_value(struct rule *r)
{
    if (r->value_count == RULE_VALUES) {
        td_fail(&r->failure, TD_E_INTERNAL, "gradient of %s: too many values", r->node->op->name);
        return 0;
    }
    r->values[r->value_count] = (struct rule_value){.last_step = -1};
    return r->value_count++;
}

/* tensor's reference is taken over; without memory (NULL) the rule fails. */
static ref tensor_value(struct rule *r, struct tensor *tensor)
{
    ref value = new_value(r);
    if (!tensor || r->failure.code) {
        td_fail(&r->failure, TD_E_MEMORY, "the daemon's host has no memory left");
        tensor_unref(r->session, tensor);
        return 0;
    }
    r->values[value].tensor = tensor;
    tensor_meta(tensor, &r->values[value].meta);
    return value;
}

static ref number(struct rule *r, struct td_number number)
{
    ref value = new_value(r);
    r->values[value].is_number = true;
    r->values[value].number = number;
    r->values[value].meta = (struct td_meta){.scalar = true, .dtype = td_dtype_of_number(number)};
    return value;
}

static ref real(struct rule *r, double value)
{
    return number(r, (struct td_number){.category = TD_FLOATING, .f = value});
}

/* One more op; the builders below carry the first failure along, so a rule needs no exits. */
static ref step(struct rule *r, enum td_op_id id, const void *attrs, int in_count, const ref *in)
{
    struct td_meta metas[RULE_INPUTS];
    if (r->failure.code)
        return 0;
    if (r->step_count == RULE_STEPS) {
        td_fail(&r->failure, TD_E_INTERNAL, "gradient of %s: too many steps", r->node->op->name);
        return 0;
    }
    struct rule_step *s = &r->steps[r->step_count];
    s->op = td_op_of(id);
    s->in_count = in_count;
    td_op_defaults(s->op, s->attrs);
    if (attrs)
        memcpy(s->attrs, attrs, (size_t)td_op_slots(s->op) * 8);
    for (int k = 0; k < in_count; k++) {
        s->in[k] = in[k];
        metas[k] = r->values[in[k]].meta;
        r->values[in[k]].last_step = r->step_count;
    }
    struct td_inference inference = {
        .op = s->op, .in = metas, .in_count = in_count, .attrs = s->attrs, .failure = &r->failure};
    if (td_infer(&inference))
        return 0;
    for (int k = 0; k < inference.out_count; k++) {
        ref out = new_value(r);
        s->out = k ? s->out : out;
        r->values[out].meta = inference.out[k];
    }
    r->step_count++;
    return s->out;
}

static ref unary(struct rule *r, enum td_op_id id, ref x)
{
    return step(r, id, NULL, 1, &x);
}
static ref binary(struct rule *r, enum td_op_id id, ref a, ref b)
{
    return step(r, id, NULL, 2, (ref[]){a, b});
}
static ref neg(struct rule *r, ref x)
{
    return unary(r, TD_OP_neg, x);
}
static ref mul(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_mul, a, b);
}
static ref sub(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_sub, a, b);
}
static ref divide(struct rule *r, ref a, ref b)
{
    return binary(r, TD_OP_div, a, b);
}
static ref one_minus(struct rule *r, ref x)
{
    return binary(r, TD_OP_rsub, x, real(r, 1));
}
static ref where(struct rule *r, ref condition, ref a, ref b)
{
    return step(r, TD_OP_where, NULL, 3, (ref[]){condition, a, b});
}
static ref reshape(struct rule *r, ref x, int rank, const int64_t *shape)
{
    struct td_reshape_attrs attrs = {.shape.count = rank};
    memcpy(attrs.shape.v, shape, (size_t)rank * sizeof *shape);
    return step(r, TD_OP_reshape, &attrs, 1, &x);
}
static ref expand(struct rule *r, ref x, const struct td_meta *like)
{
    struct td_expand_attrs attrs = {.shape.count = like->rank};
    memcpy(attrs.shape.v, like->shape, sizeof attrs.shape.v);
    return step(r, TD_OP_expand, &attrs, 1, &x);
}
static ref transpose(struct rule *r, ref x, int64_t dim0, int64_t dim1)
{
    return step(r, TD_OP_transpose, &(struct td_transpose_attrs){.dim0 = dim0, .dim1 = dim1}, 1, &x);
}
static ref sum(struct rule *r, ref x, const struct td_dims *dims)
{
    return step(r, TD_OP_sum, &(struct td_sum_attrs){.dims = *dims, .keepdim = true}, 1, &x);
}
static ref sum_one(struct rule *r, ref x, int64_t dim)
{
    return sum(r, x, &(struct td_dims){.count = 1, .v = {dim}});
}
static ref zeros(struct rule *r, const struct td_meta *like)
{
    struct td_zeros_attrs attrs = {.shape.count = like->rank, .dtype = like->dtype};
    memcpy(attrs.shape.v, like->shape, sizeof attrs.shape.v);
    return step(r, TD_OP_zeros, &attrs, 0, NULL);
}
static ref window(struct rule *r, enum td_op_id id, const struct td_meta *window, int in_count, const ref *in)
{
    struct td_strided_write_attrs attrs = {.offset = window->offset};
    attrs.shape.count = attrs.stride.count = window->rank;
    memcpy(attrs.shape.v, window->shape, sizeof attrs.shape.v);
    memcpy(attrs.stride.v, window->stride, sizeof attrs.stride.v);
    return step(r, id, &attrs, in_count, in);
}

/* ---- what a rule reads ---- */

static bool needs(const struct rule *r, int k)
{
    return r->node->in[k].node != NULL;
}

/* struct td_<op>_attrs of the node's op. */
static const void *attrs_of(const struct rule *r)
{
    return r->node->attrs;
}

static const struct td_meta *shape_of(const struct rule *r, int k)
{
    return &r->node->in[k].meta;
}

/* A saved tensor, tied to the graph where the rule is recorded itself. */
static ref saved(struct rule *r, struct saved *saved, struct node *edge, uint8_t output)
{
    struct tensor *tensor = saved ? saved_tensor(saved) : NULL;
    if (tensor && edge && r->create && td_dtype_category(tensor->dtype) == TD_FLOATING) {
        tensor_tie(r->session, tensor, node_ref(edge), output);
    }
    return tensor_value(r, tensor);
}

static ref in(struct rule *r, int k)
{
    struct node_input *input = &r->node->in[k];
    return input->saved ? saved(r, input->saved, input->node, input->output) : number(r, input->number);
}

static ref output(struct rule *r, int k)
{
    return saved(r, r->node->out[k].saved, r->node, (uint8_t)k);
}

static ref out(struct rule *r)
{
    return output(r, 0);
}

/* Sums the dimensions that broadcasting made, and casts. */
static ref undo_broadcast(struct rule *r, ref value, const struct td_meta *to)
{
    const struct td_meta *from = &r->values[value].meta;
    struct td_dims dims = {.count = 0};
    int added = from->rank - to->rank;
    for (int d = 0; d < from->rank; d++)
        if (d < added || (to->shape[d - added] == 1 && from->shape[d] != 1))
            dims.v[dims.count++] = d;
    if (dims.count)
        value = sum(r, value, &dims);
    if (added)
        value = reshape(r, value, to->rank, to->shape);
    if (r->values[value].meta.dtype != to->dtype && !r->failure.code)
        value = step(r, TD_OP_to, &(struct td_to_attrs){.dtype = to->dtype}, 1, &value);
    return value;
}

/* value is the gradient of input k. */
static void give(struct rule *r, int k, ref value)
{
    if (!r->failure.code && needs(r, k))
        r->gradients[k] = undo_broadcast(r, value, shape_of(r, k));
}

/* ---- the rules ---- */

typedef void grad_rule(struct rule *r, ref g);
#define RULE(name) static void grad_##name(struct rule *r, ref g)

/* g */
RULE(identity)
{
    give(r, 0, g);
}

/* g in x's shape */
RULE(reshape)
{
    give(r, 0, reshape(r, g, shape_of(r, 0)->rank, shape_of(r, 0)->shape));
}

RULE(transpose)
{
    const struct td_transpose_attrs *a = attrs_of(r);
    give(r, 0, transpose(r, g, a->dim0, a->dim1));
}

/* zeros with g written where the view looked: the view's window on a contiguous x */
static void give_part(struct rule *r, ref g)
{
    struct td_meta whole = *shape_of(r, 0);
    whole.offset = 0;
    td_contiguous_strides(whole.rank, whole.shape, whole.stride);
    struct td_inference view = {
        .op = r->node->op, .in = &whole, .in_count = 1, .attrs = r->node->attrs, .failure = &r->failure};
    if (td_infer(&view))
        return;
    give(r, 0, window(r, TD_OP_strided_write, &view.out[0], 2, (ref[]){zeros(r, &whole), g}));
}

RULE(select)
{
    give_part(r, g);
}

RULE(slice)
{
    give_part(r, g);
}

/* the sum over what was repeated: give does it */
RULE(expand)
{
    give(r, 0, g);
}

/* zeros, since nothing of x is left; value: sum of g, which give does */
RULE(fill_)
{
    if (needs(r, 0))
        give(r, 0, zeros(r, shape_of(r, 0)));
    give(r, 1, g);
}

RULE(add_)
{
    give(r, 0, g);
    give(r, 1, g);
}

RULE(neg)
{
    give(r, 0, neg(r, g));
}

/* g * y */
RULE(exp)
{
    give(r, 0, mul(r, g, out(r)));
}

/* g / x */
RULE(log)
{
    give(r, 0, divide(r, g, in(r, 0)));
}

/* g * (1 - y * y) */
RULE(tanh)
{
    give(r, 0, mul(r, g, one_minus(r, unary(r, TD_OP_square, out(r)))));
}

/* g where y > 0, 0 at 0 */
RULE(relu)
{
    give(r, 0, where(r, binary(r, TD_OP_gt, out(r), real(r, 0)), g, real(r, 0)));
}

/* 2 * g * x */
RULE(square)
{
    give(r, 0, mul(r, mul(r, g, real(r, 2)), in(r, 0)));
}

/* g * y * (1 - y) */
RULE(sigmoid)
{
    ref y = out(r);
    give(r, 0, mul(r, mul(r, g, y), one_minus(r, y)));
}

RULE(add)
{
    give(r, 0, g);
    give(r, 1, g);
}

RULE(sub)
{
    give(r, 0, g);
    if (needs(r, 1))
        give(r, 1, neg(r, g));
}

RULE(rsub)
{
    if (needs(r, 0))
        give(r, 0, neg(r, g));
    give(r, 1, g);
}

/* g * b, g * a */
RULE(mul)
{
    if (needs(r, 0))
        give(r, 0, mul(r, g, in(r, 1)));
    if (needs(r, 1))
        give(r, 1, mul(r, g, in(r, 0)));
}

/* g / b, -g * (y / b) */
RULE(div)
{
    ref b = in(r, 1);
    if (needs(r, 0))
        give(r, 0, divide(r, g, b));
    if (needs(r, 1))
        give(r, 1, neg(r, mul(r, g, divide(r, out(r), b))));
}

/* g where the condition chose it, else 0 */
RULE(where)
{
    ref condition = in(r, 0), zero = real(r, 0);
    if (needs(r, 1))
        give(r, 1, where(r, condition, g, zero));
    if (needs(r, 2))
        give(r, 2, where(r, condition, zero, g));
}

/* x's shape with 1 for each dimension that was reduced */
static struct td_meta kept_dims(const struct rule *r, const struct td_dims *dims)
{
    struct td_meta kept = *shape_of(r, 0);
    uint32_t mask = td_reduced_dims(dims, kept.rank);
    for (int d = 0; d < kept.rank; d++)
        if (mask >> d & 1)
            kept.shape[d] = 1;
    return kept;
}

/* g with the reduced dimensions put back as 1 */
static ref put_dims(struct rule *r, ref x, const struct td_dims *dims)
{
    struct td_meta kept = kept_dims(r, dims);
    return reshape(r, x, kept.rank, kept.shape);
}

RULE(sum)
{
    const struct td_sum_attrs *a = attrs_of(r);
    give(r, 0, expand(r, put_dims(r, g, &a->dims), shape_of(r, 0)));
}

/* g / n, n elements to each mean */
RULE(mean)
{
    const struct td_mean_attrs *a = attrs_of(r);
    struct td_meta kept = kept_dims(r, &a->dims);
    int64_t results = td_meta_numel(&kept), count = td_meta_numel(shape_of(r, 0));
    ref part = mul(r, g, real(r, results ? (double)results / (double)(count ? count : 1) : 0));
    give(r, 0, expand(r, put_dims(r, part, &a->dims), shape_of(r, 0)));
}

/* g shared evenly by all that are the greatest; if the greatest is nan, by all nan */
RULE(max)
{
    const struct td_max_attrs *a = attrs_of(r);
    ref x = in(r, 0), y = put_dims(r, out(r), &a->dims);
    ref nan = binary(r, TD_OP_ne, x, x);
    ref greatest = where(r, nan, nan, binary(r, TD_OP_eq, x, y));
    struct td_dims all = a->dims;
    if (all.count <= 0) {
        all.count = shape_of(r, 0)->rank;
        for (int d = 0; d < all.count; d++)
            all.v[d] = d;
    }
    ref share = divide(r, put_dims(r, g, &a->dims), sum(r, greatest, &all));
    give(r, 0, where(r, greatest, share, real(r, 0)));
}

/* g b^T, a^T g */
RULE(matmul)
{
    if (needs(r, 0))
        give(r, 0, binary(r, TD_OP_matmul, g, transpose(r, in(r, 1), 0, 1)));
    if (needs(r, 1))
        give(r, 1, binary(r, TD_OP_matmul, transpose(r, in(r, 0), 0, 1), g));
}

/* g - exp(y) * sum(g, dim) */
RULE(log_softmax)
{
    const struct td_log_softmax_attrs *a = attrs_of(r);
    give(r, 0, sub(r, g, mul(r, unary(r, TD_OP_exp, out(r)), sum_one(r, g, a->dim))));
}

/* What a loss of count elements hands down: g for a sum, g / count for a mean, g with trailing dimensions for none. */
static ref loss_share(struct rule *r, ref g, int64_t reduction, int64_t count)
{
    return reduction == TD_MEAN ? mul(r, g, real(r, 1.0 / (double)(count ? count : 1))) : g;
}

/* (softmax(x) - onehot(target)) * g */
RULE(cross_entropy)
{
    const struct td_cross_entropy_attrs *a = attrs_of(r);
    const struct td_meta *logits = shape_of(r, 0);
    int64_t n = logits->shape[0], classes = logits->shape[1], column[2] = {n, 1};
    ref x = in(r, 0), target = reshape(r, in(r, 1), 2, column);
    ref p = unary(r, TD_OP_exp, step(r, TD_OP_log_softmax, &(struct td_log_softmax_attrs){.dim = 1}, 1, &x));
    struct td_arange_attrs count = {.start.category = TD_INTEGER,
                                    .end = {.category = TD_INTEGER, .i = classes},
                                    .step = {.category = TD_INTEGER, .i = 1}};
    ref hot = binary(r, TD_OP_eq, target, step(r, TD_OP_arange, &count, 0, NULL));
    ref share = loss_share(r, g, a->reduction, n);
    if (a->reduction == TD_NONE)
        share = reshape(r, share, 2, column);
    give(r, 0, mul(r, where(r, hot, sub(r, p, real(r, 1)), p), share));
}

/* 2 * (x - target) * g and its opposite */
RULE(mse_loss)
{
    const struct td_mse_loss_attrs *a = attrs_of(r);
    ref difference = sub(r, in(r, 0), in(r, 1));
    int64_t count = td_meta_numel(&r->values[difference].meta);
    ref share = mul(r, loss_share(r, g, a->reduction, count), real(r, 2));
    ref value = mul(r, difference, share);
    give(r, 0, value);
    if (needs(r, 1))
        give(r, 1, neg(r, value));
}

static ref index_add(struct rule *r, const struct td_meta *like, int64_t dim, ref index, ref source)
{
    return step(r, TD_OP_index_add, &(struct td_index_add_attrs){.dim = dim}, 3,
                (ref[]){zeros(r, like), index, source});
}

/* zeros with the rows of g added at the index */
RULE(embedding)
{
    const struct td_meta *weight = shape_of(r, 0);
    ref index = in(r, 1);
    int64_t count = td_meta_numel(&r->values[index].meta);
    ref rows = reshape(r, g, 2, (int64_t[]){count, weight->shape[1]});
    give(r, 0, index_add(r, weight, 0, reshape(r, index, 1, &count), rows));
}

RULE(index_select)
{
    const struct td_index_select_attrs *a = attrs_of(r);
    give(r, 0, index_add(r, shape_of(r, 0), a->dim, in(r, 1), g));
}

/* g, and its slices at the index */
RULE(index_add)
{
    const struct td_index_add_attrs *a = attrs_of(r);
    give(r, 0, g);
    if (needs(r, 2))
        give(r, 2,
             step(r, TD_OP_index_select, &(struct td_index_select_attrs){.dim = a->dim}, 2, (ref[]){g, in(r, 1)}));
}

static struct td_meta window_of(const struct td_dims *shape, const struct td_dims *stride, int64_t offset)
{
    struct td_meta window = {.rank = (uint8_t)shape->count, .offset = offset};
    memcpy(window.shape, shape->v, sizeof window.shape);
    memcpy(window.stride, stride->v, sizeof window.stride);
    return window;
}

/* zeros with g in the window, added where the window meets itself */
RULE(strided_read)
{
    const struct td_strided_read_attrs *a = attrs_of(r);
    struct td_meta seen = window_of(&a->shape, &a->stride, a->offset);
    enum td_op_id id = td_meta_overlaps_itself(&seen) ? TD_OP_strided_add : TD_OP_strided_write;
    give(r, 0, window(r, id, &seen, 2, (ref[]){zeros(r, shape_of(r, 0)), g}));
}

/* g with 0 in the window; g's window */
RULE(strided_write)
{
    const struct td_strided_write_attrs *a = attrs_of(r);
    struct td_meta seen = window_of(&a->shape, &a->stride, a->offset);
    if (needs(r, 0))
        give(r, 0, window(r, TD_OP_strided_write, &seen, 2, (ref[]){g, real(r, 0)}));
    if (needs(r, 1))
        give(r, 1, window(r, TD_OP_strided_read, &seen, 1, &g));
}

/* g; g's window */
RULE(strided_add)
{
    const struct td_strided_add_attrs *a = attrs_of(r);
    struct td_meta seen = window_of(&a->shape, &a->stride, a->offset);
    give(r, 0, g);
    if (needs(r, 1))
        give(r, 1, window(r, TD_OP_strided_read, &seen, 1, &g));
}

/* ---- the table: a rule that a row names and nobody wrote does not compile ---- */

static grad_rule *const rules[TD_OP_LIMIT] = {
#define GRAD(rule, kept) grad_##rule
#define NOGRAD(reason) NULL
#define TD_OP(id, name, group, params, output, kind, shape, takes, gives, gradient, ...) [id] = gradient,
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
};

/* The gradient of an output; zeros where none came. */
static ref gradient_of(struct rule *r, int k)
{
    struct tensor *pending = r->node->out[k].pending;
    r->node->out[k].pending = NULL;
    return pending ? tensor_value(r, pending) : zeros(r, &r->node->out[k].meta);
}

int rule_write(struct rule *r, struct session *session, struct node *node, bool create)
{
    r->session = session;
    r->node = node;
    r->create = create;
    r->failure.code = TD_E_OK;
    r->value_count = r->step_count = 0;
    for (int k = 0; k < RULE_INPUTS; k++)
        r->gradients[k] = -1;
    rules[node->op->id](r, gradient_of(r, 0));
    return r->failure.code;
}

void rule_clear(struct rule *r)
{
    for (int k = 0; k < r->value_count; k++)
        tensor_unref(r->session, r->values[k].tensor);
    r->value_count = r->step_count = 0;
}
