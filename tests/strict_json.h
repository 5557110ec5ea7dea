/* A reader of JSON that forgives nothing (RFC 8259), for tests of what
 * prints it. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_STRICT_JSON_H
#define TD_TESTS_STRICT_JSON_H

#include <stdbool.h>

/* Whether text is one JSON value and white space. */
bool json_is_strict(const char *text);
/* The value at a path, as it stands in text: "device.used_bytes", "sessions[2].id". NULL: there is none. text has to be
 * strict. */
const char *json_at(const char *text, const char *path);
/* The number there; NAN if there is none. */
double json_number(const char *text, const char *path);
/* Whether the text there is this one, which needs no escapes. */
bool json_says(const char *text, const char *path, const char *due);

#endif
