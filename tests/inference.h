/* For the tests of inference: a call of td_infer in one line. To be included behind cmocka.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_INFERENCE_H
#define TD_TESTS_INFERENCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/infer.h"

/* One inference: what is given, and what comes of it. */
struct trial {
    struct td_meta in[TD_PARAMS_MAX];
    int in_count;
    int64_t attrs[TD_ATTR_SLOTS];
    uint16_t list_counts[TD_PARAMS_MAX];
    struct td_failure failure;
    struct td_inference inference;
};

static inline int infer(struct trial *t, const struct td_op *op)
{
    t->failure = (struct td_failure){0};
    t->inference = (struct td_inference){.op = op,
                                         .in = t->in,
                                         .in_count = t->in_count,
                                         .list_counts = t->list_counts,
                                         .attrs = t->attrs,
                                         .failure = &t->failure};
    int code = td_infer(&t->inference);
    assert_int_equal(code, t->failure.code);
    if (code) { /* every refusal says whose it is */
        size_t length = strlen(op->name);
        assert_true(!strncmp(t->failure.message, op->name, length) && t->failure.message[length] == ':');
    }
    return code;
}

static inline struct td_meta meta_of(uint8_t dtype, int rank, const int64_t *shape)
{
    struct td_meta meta = {.dtype = dtype, .rank = (uint8_t)rank};
    if (rank)
        memcpy(meta.shape, shape, (size_t)rank * sizeof *shape);
    td_contiguous_strides(rank, meta.shape, meta.stride);
    return meta;
}
#define META(dtype, ...) meta_of(dtype, sizeof((int64_t[]){__VA_ARGS__}) / 8, (const int64_t[]){__VA_ARGS__})
#define DIMS(...) ((struct td_dims){sizeof((int64_t[]){__VA_ARGS__}) / 8, {__VA_ARGS__}})

/* A call of name on tensors in, with attributes of type struct td_<name>_attrs. */
#define TRY(name, attributes, ...)                                                                      \
    ({                                                                                                  \
        struct trial t_ = {.in = {__VA_ARGS__}};                                                        \
        struct td_##name##_attrs attrs_ = attributes;                                                   \
        t_.in_count = (int)(sizeof((struct td_meta[]){{0}, __VA_ARGS__}) / sizeof(struct td_meta)) - 1; \
        memcpy(t_.attrs, &attrs_, sizeof attrs_);                                                       \
        infer(&t_, td_op_named(#name));                                                                 \
        t_;                                                                                             \
    })
#define A(...)      \
    {               \
        __VA_ARGS__ \
    }
#define I(n)                           \
    {                                  \
        .category = TD_INTEGER, .i = n \
    }
#define F(n)                            \
    {                                   \
        .category = TD_FLOATING, .f = n \
    }
#define REFUSED(code_, trial) assert_int_equal((trial).failure.code, code_)

#endif
