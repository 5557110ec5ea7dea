/* Element types. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/dtype.h"

#include <string.h>

static const struct {
    const char *name, *torch_name, *constant;
} dtypes[TD_DTYPE_LIMIT] = {
#define TD_DTYPE(id, name, NAME, ctype, category, torch, wide) [id] = {#name, torch, "TD_" #NAME},
#include "protocol/dtypes.def"
};

bool td_dtype_known(uint64_t id)
{
    return id < TD_DTYPE_LIMIT && dtypes[id].name;
}

const char *td_dtype_name(uint8_t dtype)
{
    return td_dtype_known(dtype) ? dtypes[dtype].name : "?";
}

const char *td_dtype_constant(uint8_t dtype)
{
    return td_dtype_known(dtype) ? dtypes[dtype].constant : "?";
}

const char *td_dtype_torch_name(uint8_t dtype)
{
    return td_dtype_known(dtype) ? dtypes[dtype].torch_name : "?";
}

uint8_t td_dtype_of_number(struct td_number number)
{
    switch ((enum td_category)number.category) {
    case TD_BOOLEAN:
        return TD_BOOL;
    case TD_INTEGER:
        return TD_I64;
    case TD_FLOATING:
        break;
    }
    return TD_F32;
}

double td_number_real(struct td_number number)
{
    return number.category == TD_FLOATING ? number.f : (double)number.i;
}

int64_t td_number_integer(struct td_number number)
{
    if (number.category != TD_FLOATING)
        return number.i;
    if (!(number.f >= -9223372036854775808.0 && number.f < 9223372036854775808.0))
        return INT64_MIN;
    return (int64_t)number.f;
}

void td_number_store(struct td_number number, uint8_t dtype, void *at)
{
    union {
        uint8_t truth;
        td_f16 f16;
        td_bf16 bf16;
        float f32;
        double f64;
        int64_t i64; /* narrow integers are its low bytes */
    } as;
    const void *from = &as;
    double real = td_number_real(number);
    switch ((enum td_dtype)dtype) {
    case TD_BOOL:
        as.truth = number.category == TD_FLOATING ? number.f != 0 : number.i != 0;
        break;
    case TD_F16:
        as.f16 = td_f16_of_f32((float)real);
        break;
    case TD_BF16:
        as.bf16 = td_bf16_of_f32((float)real);
        break;
    case TD_F32:
        as.f32 = (float)real;
        break;
    case TD_F64:
        as.f64 = real;
        break;
    case TD_U8:
    case TD_I8:
    case TD_I16:
    case TD_I32:
    case TD_I64:
    case TD_DTYPE_NONE:
        as.i64 = td_number_integer(number);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        from = (const char *)&as.i64 + sizeof as.i64 - td_dtype_size(dtype);
#endif
        break;
    }
    memcpy(at, from, td_dtype_size(dtype));
}

struct td_number td_number_load(uint8_t dtype, const void *at)
{
    struct td_number number = {.category = td_dtype_category(dtype)};
    union {
        uint8_t u8;
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        uint16_t half;
        float f32;
        double f64;
    } element = {0};
    memcpy(&element, at, td_dtype_size(dtype));
    switch ((enum td_dtype)dtype) {
    case TD_BOOL:
        number.i = element.u8 != 0;
        break;
    case TD_U8:
        number.i = element.u8;
        break;
    case TD_I8:
        number.i = element.i8;
        break;
    case TD_I16:
        number.i = element.i16;
        break;
    case TD_I32:
        number.i = element.i32;
        break;
    case TD_I64:
        number.i = element.i64;
        break;
    case TD_F16:
        number.f = (double)td_f32_of_f16(element.half);
        break;
    case TD_BF16:
        number.f = (double)td_f32_of_bf16(element.half);
        break;
    case TD_F32:
        number.f = (double)element.f32;
        break;
    case TD_F64:
        number.f = element.f64;
        break;
    case TD_DTYPE_NONE:
        break;
    }
    return number;
}
