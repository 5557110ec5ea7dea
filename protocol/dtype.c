/* Element types. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/dtype.h"

#include <string.h>

static const struct {
    const char *name, *torch_name;
} dtypes[TD_DTYPE_LIMIT] = {
#define TD_DTYPE(id, name, NAME, ctype, category, torch) [id] = {#name, torch},
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
    float f32 = (float)td_number_real(number);
    double f64 = td_number_real(number);
    int64_t i64 = td_number_integer(number);
    uint8_t truth = number.category == TD_FLOATING ? number.f != 0 : number.i != 0;
    switch ((enum td_dtype)dtype) {
    case TD_BOOL:
        memcpy(at, &truth, sizeof truth);
        return;
    case TD_I32: {
        int32_t i32 = (int32_t)i64;
        memcpy(at, &i32, sizeof i32);
        return;
    }
    case TD_I64:
        memcpy(at, &i64, sizeof i64);
        return;
    case TD_F32:
        memcpy(at, &f32, sizeof f32);
        return;
    case TD_F64:
        memcpy(at, &f64, sizeof f64);
        return;
    case TD_DTYPE_NONE:
        return;
    }
}
