/* What TD_DETECT_ANOMALY looks for: the op that makes the first nan or infinity. Elements are looked at by their bits.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/worker/apply.h"
#include "server/worker/execution.h"

enum oddity { ODD_INFINITE = 1, ODD_NAN = 2 };

/* The first of both kinds in a tensor, row by row; an infinity behind a nan is not looked for. */
struct seen {
    unsigned what; /* enum oddity */
    bool negative; /* the infinity */
    int64_t infinity, nan;
};

/* ---- elements ---- */

/* A row of elements whose exponent has the bits of exponent: the whole of it first, in a loop that can be vectorised.
 */
#define LOOK_AT_ROW(type, name)                                                                        \
    static void name(const void *data, int64_t stride, int64_t count, type exponent, int64_t position, \
                     struct seen *seen)                                                                \
    {                                                                                                  \
        const type *at = data;                                                                         \
        const type sign = (type)1 << (8 * sizeof(type) - 1);                                           \
        type any = 0;                                                                                  \
        if (stride == 1)                                                                               \
            for (int64_t i = 0; i < count; i++)                                                        \
                any |= (at[i] & exponent) == exponent;                                                 \
        for (int64_t i = 0; i < count && (any || stride != 1); i++) {                                  \
            type bits = at[i * stride];                                                                \
            if ((bits & exponent) != exponent)                                                         \
                continue;                                                                              \
            if ((type)(bits & ~sign) != exponent) {                                                    \
                seen->what |= ODD_NAN;                                                                 \
                seen->nan = position + i;                                                              \
                return;                                                                                \
            }                                                                                          \
            if (seen->what & ODD_INFINITE)                                                             \
                continue;                                                                              \
            seen->what |= ODD_INFINITE;                                                                \
            seen->infinity = position + i;                                                             \
            seen->negative = bits & sign;                                                              \
        }                                                                                              \
    }
LOOK_AT_ROW(uint16_t, look_at_row_16)
LOOK_AT_ROW(uint32_t, look_at_row_32)
LOOK_AT_ROW(uint64_t, look_at_row_64)

static void look_at_row(const struct td_operand *x, int64_t offset, int64_t stride, int64_t count, int64_t position,
                        struct seen *seen)
{
    const char *at = (const char *)x->data + offset * (int64_t)td_dtype_size(x->dtype);
    switch (x->dtype) {
    case TD_F16:
        look_at_row_16(at, stride, count, 0x7c00, position, seen);
        break;
    case TD_BF16:
        look_at_row_16(at, stride, count, 0x7f80, position, seen);
        break;
    case TD_F32:
        look_at_row_32(at, stride, count, 0x7f800000, position, seen);
        break;
    case TD_F64:
        look_at_row_64(at, stride, count, UINT64_C(0x7ff0000000000000), position, seen);
        break;
    }
}

/* Elements that are shown several times are looked at once; nothing of that kind is ever a result. */
static struct seen look_at(const struct td_operand *x)
{
    struct seen seen = {0};
    int64_t index[TD_RANK_MAX] = {0}, shape[TD_RANK_MAX], offset = 0, position = 0, dense = 1;
    int rank = x->rank;
    bool gapless = true;
    if (!x->data || td_dtype_category(x->dtype) != TD_FLOATING)
        return seen;
    for (int d = rank - 1; d >= 0; d--) {
        shape[d] = x->stride[d] == 0 && x->shape[d] > 1 ? 1 : x->shape[d];
        gapless &= shape[d] == 1 || x->stride[d] == dense;
        dense *= shape[d];
    }
    if (dense == 0)
        return seen;
    if (gapless) {
        look_at_row(x, 0, 1, dense, 0, &seen);
        return seen;
    }
    for (int64_t row = shape[rank - 1]; position < dense && !(seen.what & ODD_NAN); position += row) {
        look_at_row(x, offset, x->stride[rank - 1], row, position, &seen);
        for (int d = rank - 2; d >= 0; d--) {
            offset += x->stride[d];
            if (++index[d] < shape[d])
                break;
            offset -= x->stride[d] * shape[d];
            index[d] = 0;
        }
    }
    return seen;
}

/* The same of what the device may keep from the host: then it is carried here first, and without memory for that it is
 * not looked at. */
static struct seen look_at_device(const struct td_device *device, int lane, const struct td_operand *x)
{
    struct td_operand here = *x;
    int64_t last = 0;
    for (int d = 0; d < x->rank; d++)
        last += x->shape[d] ? (x->shape[d] - 1) * x->stride[d] : 0;
    size_t bytes = (size_t)(last + 1) * td_dtype_size(x->dtype);
    if (device->host_memory || !x->data || td_dtype_category(x->dtype) != TD_FLOATING)
        return look_at(x);
    if (!(here.data = malloc(bytes)))
        return (struct seen){0};
    device->download(lane, here.data, x->data, bytes);
    struct seen seen = look_at(&here);
    free(here.data);
    return seen;
}

static struct seen look_at_tensor(const struct execution *e, const struct tensor *tensor)
{
    struct td_operand x;
    struct td_meta meta;
    tensor_meta(tensor, &meta);
    operand_of(&x, &meta, tensor_data(tensor));
    return look_at_device(e->session->worker->device, e->lane, &x);
}

static unsigned look_at_number(double value)
{
    return isnan(value) ? ODD_NAN : isinf(value) ? ODD_INFINITE : 0;
}

/* ---- what goes in ---- */

static int parameters(const struct execution *e)
{
    return e->operation.op->kind == TD_STEP ? e->list_counts[0] : 0;
}

static unsigned look_at_attrs(const struct execution *e)
{
    const int64_t *slot = e->attrs;
    int64_t usual[TD_ATTR_SLOTS] = {0}, *own = usual;
    unsigned what = 0;
    td_op_defaults(e->operation.op, usual);
    for (const struct td_param *p = e->operation.op->params; p->kind; p++) {
        struct td_number number;
        double real;
        if (td_param_is_tensor(p->kind))
            continue;
        if (p->kind == TD_PARAM_NUMBER) {
            memcpy(&number, slot, sizeof number);
            what |= number.category == TD_FLOATING ? look_at_number(number.f) : 0;
        } else if (p->kind == TD_PARAM_REAL && *slot != *own) { /* what a row begins with says nothing */
            memcpy(&real, slot, sizeof real);
            what |= look_at_number(real);
        }
        slot += td_param_slots(p->kind);
        own += td_param_slots(p->kind);
    }
    return what;
}

/* What stood in the inputs; what is written by now stood in before. */
static unsigned look_at_inputs(const struct execution *e)
{
    unsigned what = e->anomaly.before | look_at_attrs(e);
    int written = e->operation.op->kind == TD_INPLACE ? 1
                  : e->operation.op->kind == TD_STEP  ? e->operation.in_count
                                                      : 0;
    for (int k = written; k < e->operation.in_count; k++) {
        if (e->in[k].tensor)
            what |= look_at_tensor(e, e->in[k].tensor).what;
        else if (e->in[k].is_number && e->in[k].number.category == TD_FLOATING)
            what |= look_at_number(e->in[k].number.f);
    }
    return what;
}

void anomaly_before(struct execution *e)
{
    e->anomaly = (struct anomaly){0};
    int written = e->operation.op->kind == TD_INPLACE ? 1
                  : e->operation.op->kind == TD_STEP  ? e->operation.in_count
                                                      : 0;
    for (int k = 0; k < written; k++)
        if (e->in[k].tensor)
            e->anomaly.before |= look_at_tensor(e, e->in[k].tensor).what;
    for (int k = 0; k < parameters(e); k++)
        e->anomaly.before |= look_at_device(e->session->worker->device, e->lane, &e->grads[k]).what;
}

/* ---- what comes out ---- */

/* Whether result has something that cannot be the inputs', which are looked at once. */
static bool suspect(struct execution *e, const struct tensor *result, unsigned *inputs, bool *looked)
{
    struct seen seen = look_at_tensor(e, result);
    if (!seen.what)
        return false;
    if (!*looked)
        *inputs = look_at_inputs(e);
    *looked = true;
    bool nan = seen.what & ODD_NAN && !(*inputs & ODD_NAN), infinite = seen.what & ODD_INFINITE && !*inputs;
    if (nan && infinite)
        nan = seen.nan < seen.infinity;
    if (!nan && !infinite)
        return false;
    e->anomaly.found = result;
    e->anomaly.nan = nan;
    e->anomaly.negative = seen.negative;
    e->anomaly.position = nan ? seen.nan : seen.infinity;
    return true;
}

void anomaly_after(struct execution *e)
{
    const struct td_op *op = e->operation.op;
    int results = op->kind == TD_INPLACE ? 1 : op->kind == TD_STEP ? e->inference.out_count : td_op_named_outputs(op);
    unsigned inputs = 0;
    bool looked = false;
    for (int k = 0; k < results && !e->anomaly.found; k++)
        if (e->out[k] && suspect(e, e->out[k], &inputs, &looked))
            e->anomaly.which = k;
    for (int k = 0; k < parameters(e) && !e->anomaly.found; k++)
        if (suspect(e, e->in[k].tensor, &inputs, &looked))
            e->anomaly.which = k;
}

/* "[1, 2]" */
static const char *index_text(const struct tensor *tensor, int64_t position, char *text, size_t size)
{
    int64_t index[TD_RANK_MAX];
    size_t used = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        index[d] = position % tensor->dims[d];
        position /= tensor->dims[d];
    }
    snprintf(text, size, "[");
    for (int d = 0; d < tensor->rank; d++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, d ? ", " : "", index[d]);
    snprintf(text + used, size - used, "]");
    return text;
}

const char *anomaly_fail(struct execution *e)
{
    const struct anomaly *a = &e->anomaly;
    const struct td_op *op = e->operation.op;
    const struct node *walked = e->operation.walked;
    const char *value = a->nan ? "nan" : a->negative ? "-inf" : "inf";
    char index[24 * TD_RANK_MAX], which[32] = "the result";
    index_text(a->found, a->position, index, sizeof index);
    if (op->kind == TD_STEP && a->found != e->out[a->which])
        snprintf(which, sizeof which, "parameter %d", a->which);
    else if (op->kind == TD_INPLACE)
        snprintf(which, sizeof which, "the target");
    else if (td_op_named_outputs(op) > 1)
        snprintf(which, sizeof which, "result %d", a->which);
    if (!walked)
        td_fail(&e->failure, TD_E_NAN, "%s: element %s of %s is %s", op->name, index, which, value);
    else if (e->operation.gathers)
        td_fail(&e->failure, TD_E_NAN, "backward: the sum of a leaf's gradients has element %s %s", index, value);
    else
        td_fail(&e->failure, TD_E_NAN, "backward: the gradient of %s, called at %.128s, has element %s %s (of its %s)",
                walked->applied ? walked->applied->name : walked->op->name,
                *session_site(e->session, walked->site) ? session_site(e->session, walked->site) : "an unknown line",
                index, value, op->name);
    td_hint(&e->failure, "TD_DETECT_ANOMALY looked for it: none was in what went in.");
    return walked ? "backward" : op->name;
}
