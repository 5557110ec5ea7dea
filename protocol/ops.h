/* The table of ops, as data: one struct td_op per row of ops.def. Everything that is generic over ops (encoding,
 * decoding, inference, client functions, documentation, tests) reads it. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_OPS_H
#define TD_PROTOCOL_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/dtype.h"
#include "protocol/limits.h"

/* Ops have ids from TD_OP_FIRST to below TD_OP_LIMIT; other numbers are requests (requests.def). */
#define TD_OP_FIRST 32
#define TD_OP_LIMIT 512

enum td_op_id {
#define TD_OP(id, name, ...) TD_OP_##name = id,
#include "protocol/ops.def"
#include "protocol/ops_undef.h"
};

enum td_request_id {
#define TD_REQUEST(id, name, NAME, ...) TD_R_##NAME = id,
#include "protocol/requests.def"
};

enum td_param_kind {
    TD_PARAM_END,     /* closes the list */
    TD_PARAM_TENSOR,  /* a tensor that takes part in promotion */
    TD_PARAM_NUM,     /* a tensor or a scalar, in promotion */
    TD_PARAM_INDEX,   /* an i64 tensor */
    TD_PARAM_MASK,    /* a bool tensor */
    TD_PARAM_RATE,    /* an f64 tensor without dimensions */
    TD_PARAM_OPT,     /* a tensor or nothing, in promotion; a keyword in C */
    TD_PARAM_SIZE,    /* an i64 tensor without dimensions whose value the shape depends on; at most one */
    TD_PARAM_LIST,    /* a list of tensors, in promotion */
    TD_PARAM_INDICES, /* a list of i64 tensors */
    TD_PARAM_INT,     /* attributes from here on; int64_t */
    TD_PARAM_REAL,    /* double */
    TD_PARAM_FLAG,    /* bool, in an int64_t */
    TD_PARAM_DTYPE,   /* enum td_dtype, in an int64_t; 0: not given */
    TD_PARAM_NUMBER,  /* struct td_number */
    TD_PARAM_SHAPE,   /* struct td_dims, given */
    TD_PARAM_DIMS     /* struct td_dims, count -1 if not given */
};

/* A list of sizes or dimensions. */
struct td_dims {
    int64_t count; /* -1: none were given */
    int64_t v[TD_RANK_MAX];
};

struct td_param {
    const char *name;
    uint8_t kind;     /* enum td_param_kind */
    bool keyword;     /* has a default and is given by name in C */
    int64_t integer;  /* the default of an INT, FLAG, DTYPE or NUMBER keyword */
    double real;      /* the default of a REAL keyword */
    const char *text; /* the default as it stands in the table, for documentation */
};

enum td_op_kind { TD_CREATE, TD_RANDOM, TD_FRESH, TD_VIEW, TD_INPLACE, TD_STEP };
enum td_gives { TD_SAME, TD_FLOAT, TD_TRUTH, TD_TOTAL, TD_KEEP, TD_GIVEN, TD_PLACE, TD_WHOLE };
enum td_tried { TD_NOTHING, TD_REALS, TD_POSITIVE, TD_AWAY, TD_STEPS, TD_INSIDE, TD_ABOVE };
enum td_reduction { TD_NONE, TD_MEAN, TD_SUM };
enum td_padding { TD_CONSTANT, TD_REFLECT, TD_REPLICATE, TD_CIRCULAR };
enum td_bringing { TD_BY_SUM, TD_BY_PROD, TD_BY_MEAN, TD_BY_AMAX, TD_BY_AMIN };

/* What the gradient keeps of a call. */
#define TD_KEEP_NOTHING 0u
#define TD_KEEP_IN(i) (1u << (i))
#define TD_KEEP_INS(i) (((1u << TD_RANK_MAX) - 1) << (i)) /* a list of at most TD_RANK_MAX from i on */
#define TD_KEEP_IN_MAX (2 + TD_RANK_MAX)                  /* inputs that can be kept */
#define TD_KEEP_OUT(k) (1u << (31 - (k)))

struct td_inference;
typedef int td_shape_rule(struct td_inference *);

struct td_op {
    uint16_t id;
    const char *name, *group, *doc;
    struct td_param params[TD_PARAMS_MAX + 1];
    const char *outputs[TD_OUTPUTS_MAX]; /* their names; a step has none */
    uint8_t output_count;
    uint8_t param_count;
    uint8_t slots;           /* eight-byte slots of all attributes */
    uint8_t kind;            /* enum td_op_kind */
    uint8_t gives;           /* enum td_gives */
    uint8_t tried;           /* enum td_tried: how test inputs are drawn */
    uint8_t slack;           /* allowed multiple of the naive same-precision error; 0: exact */
    uint32_t takes;          /* mask of dtypes for the promoted inputs */
    uint32_t keeps;          /* TD_KEEP_ bits */
    const char *no_gradient; /* why it has none; NULL if it has */
    td_shape_rule *shape;
};

/* NULL if there is no op of that id. */
const struct td_op *td_op_of(uint64_t id);
/* NULL if there is no op of that name. */
const struct td_op *td_op_named(const char *name);

static inline bool td_param_is_tensor(uint8_t kind)
{
    return kind >= TD_PARAM_TENSOR && kind <= TD_PARAM_INDICES;
}
static inline bool td_param_is_list(uint8_t kind)
{
    return kind == TD_PARAM_LIST || kind == TD_PARAM_INDICES;
}
/* Takes part in promotion: the others are used as they are. */
static inline bool td_param_is_promoted(uint8_t kind)
{
    return kind == TD_PARAM_TENSOR || kind == TD_PARAM_NUM || kind == TD_PARAM_OPT || kind == TD_PARAM_LIST;
}
/* Eight-byte slots that an attribute of this kind takes; 0 for a tensor. */
int td_param_slots(uint8_t kind);
/* Fills attrs with the defaults of op's keywords and zeros elsewhere. */
void td_op_defaults(const struct td_op *op, void *attrs);
/* Whether op has no tensor among its parameters: in C it takes the session first. */
bool td_op_creates(const struct td_op *op);
/* Whether op takes a SIZE: what it gives is as large as data say. */
bool td_op_is_sized(const struct td_op *op);
/* What a STEP reads besides its lists, and which of all that it writes. */
enum td_stepping {
    TD_STEPS_BY_GRADIENTS, /* an optimiser: where parameters have gradients, all its lists and counts; not its rate */
    TD_STEPS_GRADIENTS,    /* of a single list of parameters the gradients */
    TD_STEPS_STATES        /* without gradients and counts all lists but the parameters */
};
enum td_stepping td_op_stepping(const struct td_op *op);
/* Whether op can fail for what its inputs hold, besides for what they are: an index out of range, a singular matrix.
 * Its kernels report a fault (kernels.h) other than a lack of memory. */
bool td_op_fails_for_data(const struct td_op *op);
/* How many new handles a call of op names: one for each result that is not its target. */
static inline int td_op_named_outputs(const struct td_op *op)
{
    return op->kind == TD_INPLACE ? 0 : op->output_count;
}

/* The dimensions that a reduction works on, as a mask; all if none were given. Only after inference accepted. */
uint32_t td_reduced_dims(const struct td_dims *dims, int rank);

/* What input k of a call is called: "mask", or "tensors[3]" of a list. list_counts is NULL for an op without lists. */
#define TD_INPUT_TEXT 64
const char *td_input_name(const struct td_op *op, const uint16_t *list_counts, int k, char buffer[TD_INPUT_TEXT]);

/* A number that is equal on both sides exactly if their tables are: rows, parameters, kinds and defaults. */
uint64_t td_ops_hash(void);

/* The attributes of each op under their names: struct td_slice_attrs { int64_t dim, start, end, step; }. Every
 * member is made of eight-byte slots in the row's order, so a struct can be filled slot by slot. */
#define IN(x)
#define NUM(x)
#define INDEX(x)
#define MASK(x)
#define RATE(x)
#define OPT(x)
#define INS(x)
#define SIZE(x)
#define INDICES(x)
#define INT(x) int64_t x;
#define NUMBER(x) struct td_number x;
#define SHAPE(x) struct td_dims x;
#define DTYPE(x) int64_t x;
#define KINT(x, value) int64_t x;
#define KREAL(x, value) double x;
#define KFLAG(x) int64_t x;
#define KDTYPE(x, value) int64_t x;
#define KDIMS(x) struct td_dims x;
#define KSIZES(x, value) struct td_dims x;
#define KNUMBER(x, value) struct td_number x;
#define TD_OP(id, name, group, params, ...) \
    struct td_##name##_attrs {              \
        params                              \
    };
#include "protocol/ops.def"
#include "protocol/ops_undef.h"

#endif
