/* Errors. SPDX-License-Identifier: Apache-2.0 */
#include "protocol/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static const struct {
    int code;
    const char *name;
} errors[] = {
#define TD_ERROR(id, name, NAME, meaning) {id, #name},
#include "protocol/errors.def"
};

static const size_t error_count = sizeof errors / sizeof *errors;

const char *td_error_name(int code)
{
    for (size_t i = 0; i < error_count; i++)
        if (errors[i].code == code)
            return errors[i].name;
    return "?";
}

int td_fail(struct td_failure *failure, int code, const char *format, ...)
{
    if (failure->code != TD_E_OK)
        return failure->code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->message, sizeof failure->message, format, arguments);
    va_end(arguments);
    failure->hint[0] = 0;
    failure->code = code;
    return code;
}

int td_hint(struct td_failure *failure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->hint, sizeof failure->hint, format, arguments);
    va_end(arguments);
    return failure->code;
}
