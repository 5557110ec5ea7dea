/* Errors as both sides know them: a code, one line of what was wrong with the value in it, and what to do.
 * Voice of a message: lower case, no full stop, the value in it ("index 99 is out of range for a dimension of
 * size 64"). Voice of a hint: a whole sentence. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_PROTOCOL_ERROR_H
#define TD_PROTOCOL_ERROR_H

#include <stdint.h>

#include "protocol/limits.h"

enum td_error_code {
#define TD_ERROR(id, name, NAME, meaning) TD_E_##NAME = id,
#include "protocol/errors.def"
};

/* Filled by the function that fails; code is TD_E_OK until then, and the texts mean nothing. On the path of each op
 * only code is set beforehand (TD_NO_FAILURE): clearing the texts too costs 10 ns, several times an op. */
struct td_failure {
    int code; /* enum td_error_code */
    char message[TD_MESSAGE_BYTES];
    char hint[TD_HINT_BYTES]; /* may be empty */
};

#define TD_NO_FAILURE(name) \
    struct td_failure name; \
    (name).code = TD_E_OK

/* "shape"; "?" for an unknown code. */
const char *td_error_name(int code);

/* Sets code and message and clears the hint; returns code, so that a refusal is one statement. A failure that is
 * set already keeps its first cause. */
int td_fail(struct td_failure *failure, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Adds the hint; returns the code that stands. */
int td_hint(struct td_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
