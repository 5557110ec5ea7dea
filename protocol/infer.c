/* Inference: dtypes by the row's words; shapes by one function a rule (rules_*.c). SPDX-License-Identifier: Apache-2.0
 */
#include "protocol/infer.h"

#include <inttypes.h>
#include <string.h>

#include "protocol/rules.h"

/* ---- dtypes ---- */

/* Dtypes of the promoted inputs so far, by standing. */
struct standing {
    uint8_t with_dims, without, numbers;
};

static void promote(struct standing *standing, const struct td_meta *in)
{
    if (in->dtype == TD_DTYPE_NONE)
        return;
    uint8_t *meets = in->scalar ? &standing->numbers : in->rank ? &standing->with_dims : &standing->without;
    if (*meets != in->dtype)
        *meets = td_dtype_promote(*meets, in->dtype);
}

/* What they meet in: tensors with dimensions decide, then those without, then numbers, the weaker ones only by a higher
 * category (torch.result_type). TD_DTYPE_NONE if there are none. */
static uint8_t promoted(const struct standing *standing)
{
    uint8_t result = standing->with_dims, without = standing->without, numbers = standing->numbers;
    if (without && (!result || td_dtype_category(without) > td_dtype_category(result)))
        result = result ? td_dtype_promote(result, without) : without;
    if (numbers && (!result || td_dtype_category(numbers) > td_dtype_category(result)))
        result = numbers;
    return result;
}

/* What makes of input k, called name, what is due: one dtype (a bit of takes) or any of several. */
static int hint_dtype(struct td_inference *i, int k, const char *name, uint32_t takes)
{
    uint8_t dtype = i->in[k].dtype;
    if (takes == TD_MASK(TD_BOOL))
        return td_hint(i->failure, "td_ne(%s, 0) makes a mask of it.", name);
    if (takes == TD_MASK(TD_I64) && dtype == TD_BOOL)
        return td_hint(i->failure, "td_nonzero gives the indices of a mask; td_masked_select and TD_PICK take masks.");
    if (takes == TD_MASK(TD_I64) && i->op->id == TD_OP_cross_entropy)
        return td_hint(i->failure, "Targets are the numbers of classes: td_to(%s, TD_I64) converts.", name);
    if (takes == TD_MASK(TD_I64))
        return td_hint(i->failure, "Indices are i64: td_to(%s, TD_I64) converts.", name);
    if (takes == TD_WHOLES)
        return td_hint(i->failure, "td_to(%s, TD_I64) cuts floats to integers; td_ne(%s, 0) makes truth of them.", name,
                       name);
    if (dtype == TD_BOOL && i->op->takes == TD_NUMBERS)
        return td_hint(i->failure, "td_logical_xor, _and, _or and _not work on truth; td_to(%s, TD_I64) makes numbers.",
                       name);
    return td_hint(i->failure, "td_to(%s, TD_F32) converts.", name);
}

static const char *mask_text(uint32_t takes)
{
    return takes == TD_FLOATS          ? "a floating type"
           : takes == TD_NUMBERS       ? "a number type"
           : takes == TD_WHOLES        ? "an integer type or bool"
           : takes == TD_MASK(TD_BOOL) ? "bool"
           : takes == TD_MASK(TD_I64)  ? "i64"
                                       : "another type";
}

static int refuse_dtype(struct td_inference *i, int k, uint32_t takes)
{
    char name[TD_INPUT_TEXT];
    td_input_name(i->op, i->list_counts, k, name);
    td_fail(i->failure, TD_E_DTYPE, "%s: %s is %s where %s is due", i->op->name, name, td_dtype_name(i->in[k].dtype),
            mask_text(takes));
    return hint_dtype(i, k, name, takes);
}

/* The promoted inputs meet in a dtype that the op does not take. Named is the first that has it. */
static int refuse_common(struct td_inference *i, uint8_t common)
{
    int k = 0, list = 0;
    for (const struct td_param *p = i->op->params; p->kind; p++) {
        int count = td_param_is_list(p->kind) ? i->list_counts[list++] : td_param_is_tensor(p->kind);
        for (; count > 0; count--, k++)
            if (td_param_is_promoted(p->kind) && i->in[k].dtype == common)
                return refuse_dtype(i, k, i->op->takes);
    }
    return td_fail(i->failure, TD_E_DTYPE, "%s: takes %s, not %s", i->op->name, mask_text(i->op->takes),
                   td_dtype_name(common));
}

static int check_size(struct td_inference *i, int k)
{
    if (i->in[k].dtype != TD_I64)
        return refuse_dtype(i, k, TD_MASK(TD_I64));
    char name[TD_INPUT_TEXT], shape[TD_SHAPE_TEXT];
    if (i->in[k].rank)
        return td_fail(i->failure, TD_E_SHAPE, "%s: %s, a size, has shape %s where no dimensions are due", i->op->name,
                       td_input_name(i->op, i->list_counts, k, name), rule_text(&i->in[k], shape));
    if (i->size < 0 || i->size > TD_ELEMENTS_MAX)
        return td_fail(i->failure, TD_E_ARGUMENT, "%s: %" PRId64 " is no size", i->op->name, i->size);
    return TD_E_OK;
}

static int check_rate(struct td_inference *i, int k)
{
    char name[TD_INPUT_TEXT], shape[TD_SHAPE_TEXT];
    if (i->in[k].dtype != TD_F64)
        return refuse_dtype(i, k, TD_MASK(TD_F64));
    if (i->in[k].rank)
        return td_fail(i->failure, TD_E_SHAPE, "%s: %s, a rate, has shape %s where no dimensions are due", i->op->name,
                       td_input_name(i->op, i->list_counts, k, name), rule_text(&i->in[k], shape));
    return TD_E_OK;
}

static int check_input(struct td_inference *i, int k, const struct td_param *p, struct standing *standing)
{
    const struct td_meta *in = &i->in[k];
    switch ((enum td_param_kind)p->kind) {
    case TD_PARAM_INDEX:
        return in->dtype == TD_I64 ? TD_E_OK : refuse_dtype(i, k, TD_MASK(TD_I64));
    case TD_PARAM_INDICES:
        return in->dtype == TD_I64 ? TD_E_OK : refuse_dtype(i, k, TD_MASK(TD_I64));
    case TD_PARAM_SIZE:
        return check_size(i, k);
    case TD_PARAM_MASK:
        return in->dtype == TD_BOOL ? TD_E_OK : refuse_dtype(i, k, TD_MASK(TD_BOOL));
    case TD_PARAM_RATE:
        return check_rate(i, k);
    case TD_PARAM_LIST:
        if (!(i->op->takes & TD_MASK(in->dtype)))
            return refuse_dtype(i, k, i->op->takes);
        if (i->op->kind != TD_STEP)
            promote(standing, in);
        return TD_E_OK;
    default:
        promote(standing, in);
        return TD_E_OK;
    }
}

/* Checks each input against its parameter, and gathers the promoted ones. */
static int check_inputs(struct td_inference *i, struct standing *standing)
{
    int k = 0, list = 0, failed;
    for (const struct td_param *p = i->op->params; p->kind; p++) {
        int count = td_param_is_list(p->kind) ? i->list_counts[list++] : td_param_is_tensor(p->kind);
        for (; count > 0; count--, k++) {
            if (k >= i->in_count)
                return td_fail(i->failure, TD_E_ARGUMENT, "%s: %d tensors are given, and none for %s", i->op->name,
                               i->in_count, p->name);
            if ((failed = check_input(i, k, p, standing)))
                return failed;
        }
    }
    return TD_E_OK;
}

static bool multiplies(const struct td_op *op)
{
    return op->id == TD_OP_matmul || op->id == TD_OP_linear || (op->id >= TD_OP_conv1d && op->id <= TD_OP_conv_weight);
}

/* Products are of one type, as in PyTorch: f64 data would make all of an f32 model compute in f64. */
static int check_factors(struct td_inference *i)
{
    char a[TD_INPUT_TEXT], b[TD_INPUT_TEXT];
    int k = 1;
    while (k < i->in_count && (i->in[k].dtype == i->in[0].dtype || i->in[k].dtype == TD_DTYPE_NONE))
        k++;
    if (k >= i->in_count)
        return TD_E_OK;
    uint8_t first = i->in[0].dtype, other = i->in[k].dtype;
    td_input_name(i->op, i->list_counts, 0, a);
    td_input_name(i->op, i->list_counts, k, b);
    td_fail(i->failure, TD_E_DTYPE, "%s: %s is %s and %s is %s, where all are of one type", i->op->name, a,
            td_dtype_name(first), b, td_dtype_name(other));
    /* Data are turned into what the model is of; of two factors what is wide, or no float, is the data. */
    bool turns_first =
        i->op->id != TD_OP_matmul ? k == 1 : first == TD_F64 || td_dtype_category(first) < td_dtype_category(other);
    return td_hint(i->failure, "td_to(%s, %s) converts.", turns_first ? a : b,
                   td_dtype_constant(turns_first ? other : first));
}

/* These convert as to does: PyTorch lets them put 1.5 into integers. */
static bool overwrites(const struct td_op *op)
{
    return op->id == TD_OP_fill_ || op->id == TD_OP_copy_ || op->id == TD_OP_masked_fill || op->id == TD_OP_full_like;
}

static int decide_dtypes(struct td_inference *i)
{
    struct standing standing = {0};
    int failed = check_inputs(i, &standing);
    if (!failed && multiplies(i->op))
        failed = check_factors(i);
    if (failed)
        return failed;
    uint8_t common = promoted(&standing);
    if (i->op->gives == TD_KEEP && i->in_count) {
        i->compute = i->op->kind == TD_STEP ? TD_DTYPE_NONE : i->in[0].dtype;
        i->out[0].dtype = i->in[0].dtype;
        if (common && !overwrites(i->op) && !td_dtype_can_cast(common, i->in[0].dtype)) {
            td_fail(i->failure, TD_E_DTYPE, "%s: a result of %s does not go into a tensor of %s", i->op->name,
                    td_dtype_name(common), td_dtype_name(i->in[0].dtype));
            return td_hint(i->failure, "td_to(%s, %s) makes a tensor that holds it.", i->op->params[0].name,
                           td_dtype_constant(common));
        }
        /* In place two numbers of a floating type meet as elsewhere, and what comes of them is rounded once. */
        if (i->op->kind == TD_INPLACE && !overwrites(i->op) && td_dtype_category(common) == TD_FLOATING)
            i->compute = common;
        common = common ? i->in[0].dtype : common;
    } else if (i->op->gives != TD_GIVEN) {
        bool floats = td_dtype_category(common) == TD_FLOATING;
        i->compute = common;
        if (i->op->gives == TD_FLOAT && !floats)
            i->compute = TD_F32;
        if ((i->op->gives == TD_TOTAL && !floats) || (i->op->gives == TD_WHOLE && common == TD_BOOL))
            i->compute = TD_I64;
        i->out[0].dtype = i->op->gives == TD_TRUTH ? TD_BOOL : i->op->gives == TD_PLACE ? TD_I64 : i->compute;
    }
    return common && !(i->op->takes & TD_MASK(common)) ? refuse_common(i, common) : TD_E_OK;
}

/* The result's dtype where an attribute gives it; creation functions have set theirs already. */
static int given_dtype(struct td_inference *i)
{
    if (i->op->gives == TD_GIVEN && i->op->id == TD_OP_to) {
        i->out[0].dtype = rule_dtype(((const struct td_to_attrs *)i->attrs)->dtype, TD_DTYPE_NONE);
    }
    if (i->out[0].dtype == TD_DTYPE_NONE)
        return td_fail(i->failure, TD_E_DTYPE, "%s: dtype is no element type that exists", i->op->name);
    if (i->op->gives == TD_GIVEN && (!td_dtype_known(i->out[0].dtype) || !(i->op->takes & TD_MASK(i->out[0].dtype))))
        return td_fail(i->failure, TD_E_DTYPE, "%s: dtype is %s where %s is due", i->op->name,
                       td_dtype_name(i->out[0].dtype), mask_text(i->op->takes));
    return TD_E_OK;
}

/* Shape rules walk these lists without looking at their length again. */
static int check_lists(struct td_inference *i)
{
    const char *slot = i->attrs;
    int64_t count;
    if (i->op->slots < sizeof(struct td_dims) / 8) /* most ops have none */
        return TD_E_OK;
    for (const struct td_param *p = i->op->params; p->kind; slot += td_param_slots(p++->kind) * 8) {
        if (p->kind != TD_PARAM_SHAPE && p->kind != TD_PARAM_DIMS)
            continue;
        memcpy(&count, slot, sizeof count);
        if (count > TD_RANK_MAX)
            return td_fail(i->failure, TD_E_LIMIT, "%s: %s has %" PRId64 " entries; the limit is %d", i->op->name,
                           p->name, count, TD_RANK_MAX);
        if (count < 0 && p->kind == TD_PARAM_SHAPE)
            return td_fail(i->failure, TD_E_ARGUMENT, "%s: %s is not given", i->op->name, p->name);
    }
    return TD_E_OK;
}

int td_infer(struct td_inference *i)
{
    i->compute = TD_DTYPE_NONE;
    i->shares = -1;
    i->broadcasts = false;
    i->out_count = i->op->output_count;
    for (int k = 0; k < i->out_count; k++) { /* of shape and stride only what rank says is read */
        i->out[k].dtype = TD_DTYPE_NONE;
        i->out[k].rank = 0;
        i->out[k].scalar = false;
        i->out[k].offset = 0;
    }
    int failed = check_lists(i);
    if (!failed)
        failed = decide_dtypes(i);
    if (!failed)
        failed = i->op->shape(i);
    if (!failed && i->out_count)
        failed = given_dtype(i);
    return failed;
}
