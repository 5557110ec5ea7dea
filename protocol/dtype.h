/* Element types: names, sizes, categories and PyTorch's promotion between them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_DTYPE_H
#define TD_PROTOCOL_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum td_dtype {
    TD_DTYPE_NONE = 0, /* not given: the op's own default */
#define TD_DTYPE(id, name, NAME, ctype, category, torch) TD_##NAME = id,
#include "protocol/dtypes.def"
};
#define TD_DTYPE_LIMIT 16

enum td_category { TD_BOOLEAN, TD_INTEGER, TD_FLOATING };

/* Masks for sets of dtypes. */
#define TD_MASK(dtype) (1u << (dtype))
#define TD_FLOATS (TD_MASK(TD_F32) | TD_MASK(TD_F64))
#define TD_INTEGERS (TD_MASK(TD_I32) | TD_MASK(TD_I64))
#define TD_NUMBERS (TD_FLOATS | TD_INTEGERS)
#define TD_ANY (TD_NUMBERS | TD_MASK(TD_BOOL))

/* A number from the wire or from C, with the category it was written in. A bool and an integer stand in i. */
struct td_number {
    int64_t category; /* enum td_category */
    union {
        int64_t i;
        double f;
    };
};

bool td_dtype_known(uint64_t id);
/* "f32" and "float32"; "?" for an unknown id. */
const char *td_dtype_name(uint8_t dtype);
const char *td_dtype_torch_name(uint8_t dtype);
/* Bytes of one element; 0 for an unknown id. Inline as the next ones are: each op asks for them a dozen times. */
static inline size_t td_dtype_size(uint8_t dtype)
{
    switch (dtype) {
#define TD_DTYPE(id, name, NAME, ctype, category, torch) \
    case id:                                             \
        return sizeof(ctype);
#include "protocol/dtypes.def"
    }
    return 0;
}
static inline enum td_category td_dtype_category(uint8_t dtype)
{
    switch (dtype) {
#define TD_DTYPE(id, name, NAME, ctype, category, torch) \
    case id:                                             \
        return category;
#include "protocol/dtypes.def"
    }
    return TD_BOOLEAN;
}
/* The dtype that two operands of equal standing meet in. Ids rise with category and with width inside one, so the
 * higher id wins; that stays true until u8 meets i8 or f16 meets bf16. */
static inline uint8_t td_dtype_promote(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}
/* PyTorch's can_cast for in-place results: a higher category does not go into a lower one. */
static inline bool td_dtype_can_cast(uint8_t from, uint8_t to)
{
    return td_dtype_category(from) <= td_dtype_category(to);
}
/* What a C number becomes where nothing else decides: bool, i64, f32. */
uint8_t td_dtype_of_number(struct td_number number);

double td_number_real(struct td_number number);
/* Truncates towards 0; NaN and what does not fit give INT64_MIN, as x86 and PyTorch's CPU do. */
int64_t td_number_integer(struct td_number number);
/* Writes number as one element of dtype to at. */
void td_number_store(struct td_number number, uint8_t dtype, void *at);

#endif
