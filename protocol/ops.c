/* The table of ops. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/ops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "protocol/infer.h"

#define TD_OP(id, name, group, params, output, kind, shape, ...) td_shape_rule td_shape_##shape;
#include "protocol/ops.def"
#include "protocol/ops_undef.h"

#define ANY TD_ANY
#define NUMBERS TD_NUMBERS
#define FLOATS TD_FLOATS
#define WHOLES TD_WHOLES
#define IN(x) {.name = #x, .kind = TD_PARAM_TENSOR},
#define NUM(x) {.name = #x, .kind = TD_PARAM_NUM},
#define INDEX(x) {.name = #x, .kind = TD_PARAM_INDEX},
#define MASK(x) {.name = #x, .kind = TD_PARAM_MASK},
#define RATE(x) {.name = #x, .kind = TD_PARAM_RATE},
#define OPT(x) {.name = #x, .kind = TD_PARAM_OPT, .keyword = true, .text = "none"},
#define INS(x) {.name = #x, .kind = TD_PARAM_LIST},
#define SIZE(x) {.name = #x, .kind = TD_PARAM_SIZE},
#define INDICES(x) {.name = #x, .kind = TD_PARAM_INDICES},
#define INT(x) {.name = #x, .kind = TD_PARAM_INT},
#define NUMBER(x) {.name = #x, .kind = TD_PARAM_NUMBER},
#define SHAPE(x) {.name = #x, .kind = TD_PARAM_SHAPE},
#define DTYPE(x) {.name = #x, .kind = TD_PARAM_DTYPE},
#define KINT(x, value) {.name = #x, .kind = TD_PARAM_INT, .keyword = true, .integer = value, .text = #value},
#define KREAL(x, value) {.name = #x, .kind = TD_PARAM_REAL, .keyword = true, .real = value, .text = #value},
#define KFLAG(x) {.name = #x, .kind = TD_PARAM_FLAG, .keyword = true, .text = "false"},
#define KDTYPE(x, value) {.name = #x, .kind = TD_PARAM_DTYPE, .keyword = true, .integer = value, .text = #value},
#define KDIMS(x) {.name = #x, .kind = TD_PARAM_DIMS, .keyword = true, .text = "all"},
#define KSIZES(x, value) {.name = #x, .kind = TD_PARAM_DIMS, .keyword = true, .text = #value},
#define KNUMBER(x, value) {.name = #x, .kind = TD_PARAM_NUMBER, .keyword = true, .integer = value, .text = #value},
#define OUT(x) #x,
#define NOOUT
#define GRAD(rule, kept) .keeps = (kept)
#define NOGRAD(reason) .no_gradient = reason
#define TD_OP(id_, name_, group_, params_, output_, kind_, shape_, takes_, gives_, gradient_, tried_, slack_, doc_) \
    [id_] = {.id = id_,                                                                                             \
             .name = #name_,                                                                                        \
             .group = #group_,                                                                                      \
             .doc = doc_,                                                                                           \
             .params = {params_},                                                                                   \
             .outputs = {output_},                                                                                  \
             .output_count = sizeof((const char *[]){output_}) / sizeof(char *),                                    \
             .param_count = sizeof((struct td_param[]){params_}) / sizeof(struct td_param),                         \
             .slots = sizeof(struct td_##name_##_attrs) / 8,                                                        \
             .kind = TD_##kind_,                                                                                    \
             .shape = td_shape_##shape_,                                                                            \
             .takes = takes_,                                                                                       \
             .gives = TD_##gives_,                                                                                  \
             .tried = TD_##tried_,                                                                                  \
             .slack = slack_,                                                                                       \
             gradient_},
static const struct td_op ops[TD_OP_LIMIT] = {
#include "protocol/ops.def"
};
#include "protocol/ops_undef.h"

const struct td_op *td_op_of(uint64_t id)
{
    return id < TD_OP_LIMIT && ops[id].name ? &ops[id] : NULL;
}

const struct td_op *td_op_named(const char *name)
{
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++)
        if (ops[id].name && !strcmp(ops[id].name, name))
            return &ops[id];
    return NULL;
}

int td_param_slots(uint8_t kind)
{
    switch ((enum td_param_kind)kind) {
    case TD_PARAM_END:
    case TD_PARAM_TENSOR:
    case TD_PARAM_NUM:
    case TD_PARAM_INDEX:
    case TD_PARAM_MASK:
    case TD_PARAM_RATE:
    case TD_PARAM_OPT:
    case TD_PARAM_SIZE:
    case TD_PARAM_LIST:
    case TD_PARAM_INDICES:
        return 0;
    case TD_PARAM_INT:
    case TD_PARAM_REAL:
    case TD_PARAM_FLAG:
    case TD_PARAM_DTYPE:
        return 1;
    case TD_PARAM_NUMBER:
        return sizeof(struct td_number) / 8;
    case TD_PARAM_SHAPE:
    case TD_PARAM_DIMS:
        return sizeof(struct td_dims) / 8;
    }
    return 0;
}

void td_op_defaults(const struct td_op *op, void *attrs)
{
    char *at = attrs;
    for (const struct td_param *p = op->params; p->kind; p++) {
        struct td_number number = {.category = TD_INTEGER, .i = p->integer};
        struct td_dims dims = {.count = -1};
        int64_t integer = p->integer;
        double real = p->real;
        size_t bytes = (size_t)td_param_slots(p->kind) * 8;
        if (p->kind == TD_PARAM_REAL)
            memcpy(at, &real, bytes);
        else if (p->kind == TD_PARAM_NUMBER)
            memcpy(at, &number, bytes);
        else if (p->kind == TD_PARAM_DIMS || p->kind == TD_PARAM_SHAPE)
            memcpy(at, &dims, bytes);
        else if (bytes)
            memcpy(at, &integer, bytes);
        at += bytes;
    }
}

bool td_op_creates(const struct td_op *op)
{
    for (const struct td_param *p = op->params; p->kind; p++)
        if (td_param_is_tensor(p->kind))
            return false;
    return true;
}

bool td_op_is_sized(const struct td_op *op)
{
    for (const struct td_param *p = op->params; p->kind; p++)
        if (p->kind == TD_PARAM_SIZE)
            return true;
    return false;
}

const char *td_input_name(const struct td_op *op, const uint16_t *list_counts, int k, char buffer[TD_INPUT_TEXT])
{
    int list = 0;
    for (const struct td_param *p = op->params; p->kind; p++) {
        int count = td_param_is_list(p->kind) ? list_counts ? list_counts[list++] : 0 : td_param_is_tensor(p->kind);
        if (k < count && td_param_is_list(p->kind))
            snprintf(buffer, TD_INPUT_TEXT, "%s[%d]", p->name, k);
        else if (k < count)
            snprintf(buffer, TD_INPUT_TEXT, "%s", p->name);
        if (k < count)
            return buffer;
        k -= count;
    }
    snprintf(buffer, TD_INPUT_TEXT, "input %d", k);
    return buffer;
}

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    for (const unsigned char *at = data; bytes--; at++)
        hash = (hash ^ *at) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t td_ops_hash(void)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int id = TD_OP_FIRST; id < TD_OP_LIMIT; id++) {
        const struct td_op *op = &ops[id];
        if (!op->name)
            continue;
        hash = hash_bytes(hash, &op->id, sizeof op->id);
        hash = hash_bytes(hash, op->name, strlen(op->name));
        /* These decide how many results a call names. */
        hash = hash_bytes(hash, &op->kind, sizeof op->kind);
        hash = hash_bytes(hash, &op->output_count, sizeof op->output_count);
        for (const struct td_param *p = op->params; p->kind; p++) {
            hash = hash_bytes(hash, &p->kind, sizeof p->kind);
            hash = hash_bytes(hash, &p->keyword, sizeof p->keyword);
            hash = hash_bytes(hash, &p->integer, sizeof p->integer);
            hash = hash_bytes(hash, &p->real, sizeof p->real);
        }
    }
    return hash;
}

uint32_t td_reduced_dims(const struct td_dims *dims, int rank)
{
    uint32_t mask = 0;
    for (int64_t d = 0; d < dims->count; d++)
        mask |= 1u << td_wrap_dim(dims->v[d], rank);
    return dims->count <= 0 ? (1u << rank) - 1 : mask;
}

enum td_stepping td_op_stepping(const struct td_op *op)
{
    int lists = 0;
    while (op->params[lists].kind == TD_PARAM_LIST)
        lists++;
    return lists == 1                                 ? TD_STEPS_GRADIENTS
           : op->params[lists].kind != TD_PARAM_INDEX ? TD_STEPS_STATES
                                                      : TD_STEPS_BY_GRADIENTS;
}

bool td_op_fails_for_data(const struct td_op *op)
{
    if (op->kind == TD_STEP) /* its counts are only raised */
        return false;
    for (const struct td_param *param = op->params; param->kind; param++)
        if (param->kind == TD_PARAM_INDEX || param->kind == TD_PARAM_INDICES || param->kind == TD_PARAM_SIZE)
            return true;
    switch (op->id) {
    case TD_OP_matmul:
    case TD_OP_linear:
        return false;
    case TD_OP_floor_divide:
    case TD_OP_trunc_divide:
    case TD_OP_fmod:
    case TD_OP_remainder:
    case TD_OP_bce:
    case TD_OP_masked_scatter:
    case TD_OP_histc:
    case TD_OP_bernoulli:
    case TD_OP_multinomial:
    case TD_OP_poisson:
        return true;
    default:
        return strcmp(op->group, "linalg") == 0; /* LAPACK's */
    }
}
