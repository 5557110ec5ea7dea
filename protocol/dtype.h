/* Element types: names, sizes, categories and PyTorch's promotion between them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_DTYPE_H
#define TD_PROTOCOL_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* For a CUDA device too, where nvcc compiles it. */
#ifdef __CUDACC__
#define TD_HD __host__ __device__
#else
#define TD_HD
#endif

/* Halves by their bits: no compiler here computes with them. */
typedef uint16_t td_f16, td_bf16;

enum td_dtype {
    TD_DTYPE_NONE = 0, /* not given: the op's own default */
#define TD_DTYPE(id, name, NAME, ctype, category, torch, wide) TD_##NAME = id,
#include "protocol/dtypes.def"
};
#define TD_DTYPE_LIMIT 16

enum td_category { TD_BOOLEAN, TD_INTEGER, TD_FLOATING };

/* Masks for sets of dtypes. */
#define TD_MASK(dtype) (1u << (dtype))
#define TD_FLOATS (TD_MASK(TD_F16) | TD_MASK(TD_BF16) | TD_MASK(TD_F32) | TD_MASK(TD_F64))
#define TD_INTEGERS (TD_MASK(TD_U8) | TD_MASK(TD_I8) | TD_MASK(TD_I16) | TD_MASK(TD_I32) | TD_MASK(TD_I64))
#define TD_WHOLES (TD_INTEGERS | TD_MASK(TD_BOOL))
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
/* "TD_F32", as programs write it. */
const char *td_dtype_constant(uint8_t dtype);
const char *td_dtype_torch_name(uint8_t dtype);
/* Bytes of one element; 0 for an unknown id. Inline as the next ones are: each op asks for them a dozen times. */
TD_HD static inline size_t td_dtype_size(uint8_t dtype)
{
    switch (dtype) {
#define TD_DTYPE(id, name, NAME, ctype, category, torch, wide) \
    case id:                                                   \
        return sizeof(ctype);
#include "protocol/dtypes.def"
    }
    return 0;
}
TD_HD static inline enum td_category td_dtype_category(uint8_t dtype)
{
    switch (dtype) {
#define TD_DTYPE(id, name, NAME, ctype, category, torch, wide) \
    case id:                                                   \
        return category;
#include "protocol/dtypes.def"
    }
    return TD_BOOLEAN;
}
/* Those that have a wide one beside them. */
#define TD_NARROW (TD_MASK(TD_U8) | TD_MASK(TD_I8) | TD_MASK(TD_I16) | TD_MASK(TD_F16) | TD_MASK(TD_BF16))
static inline bool td_dtype_narrow(uint8_t dtype)
{
    return TD_NARROW >> dtype & 1;
}
/* The dtype that a narrow one is computed in; its own of any other. */
static inline uint8_t td_dtype_wide(uint8_t dtype)
{
    switch (dtype) {
#define TD_DTYPE(id, name, NAME, ctype, category, torch, wide) \
    case id:                                                   \
        return TD_##wide;
#include "protocol/dtypes.def"
    }
    return TD_DTYPE_NONE;
}
/* The dtype that two operands of equal standing meet in. Ids rise with category and with width inside one, so the
 * higher id wins, but for the two pairs that hold neither the other. */
static inline uint8_t td_dtype_promote(uint8_t a, uint8_t b)
{
    if (!td_dtype_narrow(a) || !td_dtype_narrow(b))
        return a > b ? a : b;
    if ((a == TD_U8 && b == TD_I8) || (a == TD_I8 && b == TD_U8))
        return TD_I16;
    if ((a == TD_F16 && b == TD_BF16) || (a == TD_BF16 && b == TD_F16))
        return TD_F32;
    return a > b ? a : b;
}
/* PyTorch's can_cast for in-place results: a higher category does not go into a lower one. */
static inline bool td_dtype_can_cast(uint8_t from, uint8_t to)
{
    return td_dtype_category(from) <= td_dtype_category(to);
}

/* Halves and floats, by IEEE 754: to the nearest, ties to even; too large becomes infinite, nan the quiet one with its
 * sign. All of it selects and shifts, so that loops of them are vectorised. */
TD_HD static inline uint32_t td_word_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
TD_HD static inline float td_float_of_word(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
TD_HD static inline float td_f32_of_f16(td_f16 x)
{
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, rest = (uint32_t)(x & 0x7fff) << 13;
    uint32_t scaled = td_word_of_float(td_float_of_word(rest) * 0x1p112f); /* subnormals become what they are */
    return td_float_of_word(sign | (rest >= 0x0f800000 ? rest + 0x70000000 : scaled));
}
TD_HD static inline td_f16 td_f16_of_f32(float x)
{
    uint32_t bits = td_word_of_float(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    /* Normal: add what rounds, and move the exponent. Subnormal: adding 1/2 puts the last place where it belongs. */
    uint32_t normal = (rest + 0xc8000fff + (rest >> 13 & 1)) >> 13;
    uint32_t subnormal = td_word_of_float(td_float_of_word(rest) + 0.5f) - 0x3f000000;
    uint32_t finite = rest < 0x38800000 ? subnormal : normal;
    uint32_t half = rest > 0x7f800000 ? 0x7e00 : rest >= 0x477ff000 ? 0x7c00 : finite;
    return (td_f16)(sign | half);
}
TD_HD static inline float td_f32_of_bf16(td_bf16 x)
{
    return td_float_of_word((uint32_t)x << 16);
}
TD_HD static inline td_bf16 td_bf16_of_f32(float x)
{
    uint32_t bits = td_word_of_float(x), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (td_bf16)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

/* What a C number becomes where nothing else decides: bool, i64, f32. */
uint8_t td_dtype_of_number(struct td_number number);

double td_number_real(struct td_number number);
/* Truncates towards 0; NaN and what does not fit give INT64_MIN, as x86 and PyTorch's CPU do. */
int64_t td_number_integer(struct td_number number);
/* Writes number as one element of dtype to at. */
void td_number_store(struct td_number number, uint8_t dtype, void *at);
/* One element of dtype as a number: bool and integers in i, reals in f. */
struct td_number td_number_load(uint8_t dtype, const void *at);

#endif
